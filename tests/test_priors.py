"""Priors: normalised densities, draws that follow them, text that keeps every bit, refusals."""

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from sampler import (
    Bernoulli,
    Beta,
    Data,
    Formula,
    Gamma,
    InputError,
    InverseGamma,
    LogUniform,
    Model,
    Normal,
    Ordered,
    Posterior,
    Uniform,
    shapes,
)
from sampler.kernels import cpu, problem, reference
from sampler.philox import START, stream_key
from sampler.priors import (
    KIND,
    Fixed,
    as_prior,
    from_text,
    in_words,
    kernel_numbers,
    log_density,
    support,
    to_text,
    typical_width,
)

INF = math.inf


class Case(NamedTuple):
    prior: Any
    law: Any        # the same prior by scipy
    mistaken: Any   # what a usual mistake would make of it


CASES = {
    "uniform": Case(Uniform(-1, 3), stats.uniform(-1, 4), Uniform(-1, 4)),
    "log-uniform": Case(LogUniform(0.01, 100), stats.loguniform(0.01, 100), Uniform(0.01, 100)),
    "normal": Case(Normal(1, 2), stats.norm(1, 2), Normal(1, 4)),            # variance for sd
    "narrow normal": Case(Normal(1, 0.5), stats.norm(1, 0.5), Normal(1, 0.25)),
    "cut normal": Case(Normal(0, 1, 0.5, 4), stats.truncnorm(0.5, 4), Normal(0, 1)),
    "half normal": Case(Normal(0, 2, 0), stats.halfnorm(0, 2), Normal(0, 4, 0)),
    "lower half normal": Case(Normal(1, 2, hi=0), stats.truncnorm(-INF, -0.5, 1, 2),
                              Normal(0, 2, hi=0)),
    "normal cut to a sliver": Case(Normal(0, 1, -0.1, 0.3), stats.truncnorm(-0.1, 0.3),
                                   Normal(0.1, 0.1, -0.1, 0.3)),
    "far tail": Case(Normal(0, 1, 6, 9), stats.truncnorm(6, 9), Uniform(6, 9)),
    "gamma": Case(Gamma(5, 0.04), stats.gamma(5, scale=25), Gamma(5, 25)),   # scale for rate
    "steep gamma": Case(Gamma(0.5, 2), stats.gamma(0.5, scale=0.5), Gamma(1.5, 2)),
    "inverse gamma": Case(InverseGamma(3, 2), stats.invgamma(3, scale=2), InverseGamma(3, 0.5)),
    "beta": Case(Beta(2, 0.7), stats.beta(2, 0.7), Beta(0.7, 2)),
}
SWITCH = Bernoulli(0.06)
DRAWS = 20_000


# --- densities ---------------------------------------------------------------------------------


def mass(prior: Any, law: Any) -> float:
    """The integral of the density over its support, in pieces, all of it."""
    lo, hi = support(prior)
    cuts = [lo, *law.ppf([0.1, 0.5, 0.9]), hi]
    return sum(integrate.quad(lambda v: math.exp(log_density(prior, v)), a, b,
                              epsabs=1e-11, epsrel=1e-11)[0]
               for a, b in pairwise(cuts))


@pytest.mark.parametrize("name", CASES)
def test_density_integrates_to_one_over_its_support(name: str) -> None:
    assert mass(CASES[name].prior, CASES[name].law) == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_density_is_scipys_inside_and_zero_outside(name: str) -> None:
    prior, law, mistaken = CASES[name]
    points = law.ppf(np.linspace(0.001, 0.999, 101)).reshape(101, 1)
    ours = log_density(prior, points)
    assert ours.shape == (101, 1)
    assert ours == pytest.approx(law.logpdf(points), rel=1e-10, abs=1e-10)
    assert log_density(mistaken, points) != pytest.approx(ours, rel=1e-2, abs=1e-2)
    lo, hi = support(prior)
    outside = [v for v in (np.nextafter(lo, -INF), np.nextafter(hi, INF)) if math.isfinite(v)]
    assert np.all(log_density(prior, outside) == -INF)
    assert log_density(prior, math.nan) == -INF


positive = st.floats(0.05, 50.0)
LAWS = st.one_of(
    st.builds(lambda a, w: (Uniform(a, a + w), stats.uniform(a, w)),
              st.floats(-50.0, 50.0), positive),
    st.builds(lambda a, f: (LogUniform(a, a * (1 + f)), stats.loguniform(a, a * (1 + f))),
              positive, positive),
    st.builds(lambda m, s: (Normal(m, s), stats.norm(m, s)), st.floats(-50.0, 50.0), positive),
    st.builds(lambda m, s, a, w: (Normal(m, s, m + a * s, m + (a + w) * s),
                                  stats.truncnorm(a, a + w, m, s)),
              st.floats(-5.0, 5.0), positive, st.floats(-6.0, 6.0), st.floats(0.05, 5.0)),
    st.builds(lambda k, r: (Gamma(k, r), stats.gamma(k, scale=1 / r)), positive, positive),
    st.builds(lambda k, s: (InverseGamma(k, s), stats.invgamma(k, scale=s)), positive, positive),
    st.builds(lambda a, b: (Beta(a, b), stats.beta(a, b)), positive, positive))


@given(LAWS, st.floats(0.01, 0.99))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_density_is_scipys_whatever_the_numbers(pair: tuple[Any, Any], share: float) -> None:
    prior, law = pair
    at = law.ppf(share)
    assert float(log_density(prior, at)) == pytest.approx(law.logpdf(at), rel=1e-7, abs=1e-7)


def test_a_switch_has_two_values_and_no_other() -> None:
    both = np.exp(log_density(SWITCH, [0.0, 1.0]))
    assert both == pytest.approx([0.94, 0.06], rel=1e-14)
    assert np.all(log_density(SWITCH, [-1.0, 0.5, 2.0, math.nan]) == -INF)


@pytest.mark.parametrize(("prior", "at", "wanted"), [
    (Gamma(1, 2), 0.0, -INF), (Gamma(0.5, 2), 0.0, -INF), (Gamma(3, 2), 0.0, -INF),
    (InverseGamma(3, 2), 0.0, -INF), (Beta(1, 1), 0.0, 0.0), (Beta(1, 1), 1.0, 0.0),
    (Beta(2, 3), 0.0, -INF), (Beta(2, 3), 1.0, -INF), (Uniform(0, 2), 0.0, -math.log(2)),
    (Uniform(0, 2), 2.0, -math.log(2))])
def test_density_at_the_ends(prior: Any, at: float, wanted: float) -> None:
    assert float(log_density(prior, at)) == pytest.approx(wanted)


# --- draws -------------------------------------------------------------------------------------


def follows(draws: np.ndarray, law: Any) -> bool:
    """Kolmogorov-Smirnov with p > 1e-5: 20,000 draws see a distance of 0.017 between CDFs."""
    return bool(np.all(np.isfinite(draws)) and stats.kstest(draws, law.cdf).pvalue > 1e-5)


def alone(priors: list[Any]) -> tuple[np.ndarray, ...]:
    """The tables by which the kernels know independent priors."""
    none = np.full(len(priors), -1)
    return (np.array([KIND[type(p)] for p in priors]),
            np.array([kernel_numbers(p) for p in priors]), none, none)


def compiled_draws(priors: list[Any], seed: int) -> np.ndarray:
    theta, tables = np.empty((DRAWS, len(priors))), alone(priors)
    key = np.uint64(stream_key(seed, START))
    for sweep in range(DRAWS):
        cpu.draw_prior(*tables, sweep, 3, key, theta[sweep])
    return theta


@pytest.fixture(scope="module")
def right() -> np.ndarray:
    return compiled_draws([*(c.prior for c in CASES.values()), SWITCH], seed=11)


@pytest.fixture(scope="module")
def mistaken() -> np.ndarray:
    return compiled_draws([c.mistaken for c in CASES.values()], seed=11)


@pytest.mark.parametrize("name", CASES)
def test_compiled_draws_follow_the_law(name: str, right: np.ndarray,
                                       mistaken: np.ndarray) -> None:
    """False alarm 1e-5 each, 1.3e-4 for the thirteen; the mistaken twin of each is caught."""
    column = list(CASES).index(name)
    assert follows(right[:, column], CASES[name].law)
    assert not follows(mistaken[:, column], CASES[name].law)


@pytest.mark.parametrize("name", CASES)
def test_draws_by_inverse_distribution_follow_the_law(name: str) -> None:
    """The other route, of `Posterior.draw_prior`; false alarm as above, twin likewise."""

    def drawn(prior: Any) -> np.ndarray:
        level = Formula("level", shapes.constant.expression, ("offset",))
        posterior = Posterior(Model.single(level, offset=prior), Data([0.0], [0.0], noise=1.0))
        return posterior.draw_prior(DRAWS, seed=12)[:, 0]

    prior, law, wrong = CASES[name]
    assert follows(drawn(prior), law)
    assert not follows(drawn(wrong), law)


def test_compiled_draws_of_a_switch(right: np.ndarray) -> None:
    """20,000 draws, 4 standard errors of a binomial share: false alarm 6e-5; 1 - p is caught."""
    on = right[:, -1]
    assert set(np.unique(on)) == {0.0, 1.0}
    error = math.sqrt(0.06 * 0.94 / DRAWS)
    assert abs(on.mean() - 0.06) < 4 * error
    assert not abs((1.0 - on).mean() - 0.06) < 4 * error


def test_draws_are_independent_of_each_other(right: np.ndarray) -> None:
    """Ranks of 14 columns and of successive sweeps: correlations below 5 / sqrt(20,000); false
    alarm 6e-5 in all.  The twin, one column used twice, is caught."""

    def largest(columns: np.ndarray) -> float:
        ranks = stats.rankdata(columns, axis=0)
        table = np.corrcoef(np.hstack([ranks[1:], ranks[:-1]]), rowvar=False)
        return float(np.abs(table - np.eye(len(table))).max())

    continuous = right[:, :-1]
    assert largest(continuous) < 5 / math.sqrt(DRAWS)
    twice = continuous.copy()
    twice[:, 0] = twice[:, 1]
    assert largest(twice) > 0.9


def test_reference_draws_are_the_compiled_ones(right: np.ndarray) -> None:
    priors = [*(c.prior for c in CASES.values()), SWITCH]
    kind, numbers, below, above = alone(priors)
    level = Model.single(shapes.constant, offset=(0, 1))
    tables = problem.lower(Posterior(level, Data([0.0], [0.0], noise=1.0)))._replace(
        kind=kind, prior=numbers, below=below, above=above)
    for sweep in range(100):
        again = reference.draw_prior_at(tables, sweep, 3, stream_key(11, START))
        assert again == pytest.approx(right[sweep], rel=1e-12)


def ordered(base: Any) -> Posterior:
    model = Model.repeated(3, shapes.gaussian, height=(0, 1), center=Ordered(base), width=(0.1, 1))
    return Posterior(model, Data([0.0, 1.0], [0.0, 1.0], noise=1.0))


@pytest.mark.parametrize("base", [Uniform(0, 2), Normal(0, 1), Gamma(2, 1), Beta(2, 3),
                                  LogUniform(0.1, 10), InverseGamma(3, 2)], ids=repr)
def test_ordered_draws_are_order_statistics(base: Any) -> None:
    """Of three equal draws, number k has the law Beta(k, 4 - k) in the CDF: Kolmogorov-Smirnov
    as above, false alarm 2e-4 for all.  The twin, not sorted, is caught."""
    posterior = ordered(base)
    places = [posterior.names.index(f"peak{k}_center") for k in (1, 2, 3)]
    centers = posterior.draw_prior(DRAWS, seed=13)[:, places]
    assert np.all(np.diff(centers, axis=1) > 0.0)
    law = next(c.law for c in (
        Case(Uniform(0, 2), stats.uniform(0, 2), 0), Case(Normal(0, 1), stats.norm(), 0),
        Case(Gamma(2, 1), stats.gamma(2), 0), Case(Beta(2, 3), stats.beta(2, 3), 0),
        Case(LogUniform(0.1, 10), stats.loguniform(0.1, 10), 0),
        Case(InverseGamma(3, 2), stats.invgamma(3, scale=2), 0)) if c.prior == base)
    ranks = law.cdf(centers)
    mixed = np.random.default_rng(0).permuted(ranks, axis=1)
    for k in (1, 2, 3):
        assert follows(ranks[:, k - 1], stats.beta(k, 4 - k))
        assert not follows(mixed[:, k - 1], stats.beta(k, 4 - k))


def test_an_ordered_density_integrates_to_one() -> None:
    """Two ordered numbers in [0, 2]: density 2/4 over half of the square, zero over the rest."""
    model = Model.repeated(2, shapes.gaussian, height=1.0, center=Ordered(Uniform(0, 2)), width=1.0)
    posterior = Posterior(model, Data([0.0, 1.0], [0.0, 1.0], noise=1.0))
    middle = (np.arange(200) + 0.5) / 100.0
    square = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1)
    density = np.exp(posterior.log_prior(square))
    assert np.all(density[np.tril_indices(200)] == 0.0)
    # The 200 cells on the diagonal, half of each, are what a sum over cells misses: 1/200.
    assert density.sum() / 100.0**2 == pytest.approx(1.0 - 1.0 / 200, rel=1e-12)


# --- text --------------------------------------------------------------------------------------

real = st.floats(-1e300, 1e300)
above_zero = st.floats(1e-300, 1e300)


def built(make: Any, *numbers: float) -> Any:
    try:
        return make(*numbers)
    except InputError:
        return None


ANY_PRIOR = st.one_of(
    st.builds(lambda a, b: built(Uniform, a, b), real, real),
    st.builds(lambda a, b: built(LogUniform, a, b), above_zero, above_zero),
    st.builds(lambda m, s: built(Normal, m, s), real, above_zero),
    st.builds(lambda m, s, a, b: built(Normal, m, s, a, b), real, above_zero,
              st.one_of(real, st.just(-INF)), st.one_of(real, st.just(INF))),
    st.builds(lambda a, b: built(Gamma, a, b), above_zero, above_zero),
    st.builds(lambda a, b: built(InverseGamma, a, b), above_zero, above_zero),
    st.builds(lambda a, b: built(Beta, a, b), above_zero, above_zero),
    st.builds(lambda p: built(Bernoulli, p), st.floats(0.0, 1.0)),
    st.builds(Fixed, real)).filter(lambda prior: prior is not None)


@given(ANY_PRIOR)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_prior_that_was_accepted_is_usable_and_comes_back_from_text(prior: Any) -> None:
    assert from_text(to_text(prior)) == prior
    assert to_text(from_text(to_text(prior))) == to_text(prior)
    assert in_words(prior)
    if not isinstance(prior, Fixed):
        assert math.isfinite(kernel_numbers(prior)[4])
        assert typical_width(prior) > 0.0


@given(st.one_of(st.text(max_size=40), st.text("UniformNalBetaG(),:=.0123456789-+e ", max_size=30)))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_is_a_prior_or_refused(text: str) -> None:
    try:
        prior = from_text(text, "prior of width")
    except InputError as error:
        prior, field = None, error.field
    assert from_text(to_text(prior)) == prior if prior else field.startswith("prior of width")


@pytest.mark.parametrize(("text", "wanted"), [
    ("0.5", Fixed(0.5)), (" -3 ", Fixed(-3)), ("0:3", Uniform(0, 3)), ("-1e-3 : 1e3",
                                                                      Uniform(-1e-3, 1e3)),
    ("Normal(0, 1, lo=0)", Normal(0, 1, lo=0)), ("Normal(sd=2, mean=1)", Normal(1, 2)),
    ("Normal(0,1,-inf,inf)", Normal(0, 1)), ("Gamma(shape=5, rate=2)", Gamma(5, 2))])
def test_spellings(text: str, wanted: Any) -> None:
    assert from_text(text) == wanted


@pytest.mark.parametrize("text", [
    "", " ", ":", "0:", ":1", "0:1:2", "1:0", "nan", "inf", "Uniform", "Uniform(", "Uniform()",
    "Uniform(0)", "Uniform(0,1", "Uniform(0,1))", "Uniform((0,1))", "Uniform(0,,1)",
    "Uniform(,0,1)", "Uniform(0,1,)", "Uniform(0,1,2)", "Uniform(0,lo=1)", "Uniform(lo=0,lo=1)",
    "Uniform(lo=0,high=1)", "uniform(0,1)", "Normal(0,-1)", "Ordered(0,1)", "Data(0,1)",
    "Uniform(1+1,3)", "Uniform(0,1e999)", "Uniform(0;1)", "Uniform[0,1]", "0,1", "1j",
    "__import__('os').getcwd()", "Uniform(*(0,1))", "Uniform(0,1).lo", "Normal(_mass=1, sd=2)"])
def test_bad_texts_are_refused_by_field(text: str) -> None:
    with pytest.raises(InputError, match=r"^prior of width"):
        from_text(text, "prior of width")


# --- refusals ----------------------------------------------------------------------------------

NAMES = {Uniform: ("lo", "hi"), LogUniform: ("lo", "hi"), Normal: ("mean", "sd", "lo", "hi"),
         Gamma: ("shape", "rate"), InverseGamma: ("shape", "scale"), Beta: ("a", "b"),
         Bernoulli: ("p",), Fixed: ("value",)}
GOOD = {"lo": 0.5, "hi": 2.0, "mean": 1.0, "p": 0.5}
NOT_NUMBERS = [math.nan, None, "1", b"1", 1j, True, [1.0], {}, 10**400, -(10**400), object(),
               Uniform(0, 1)]


@pytest.mark.parametrize(("make", "name"), [(c, n) for c, names in NAMES.items() for n in names],
                         ids=lambda v: getattr(v, "__name__", v))
def test_what_is_no_finite_number_is_refused_by_name(make: Any, name: str) -> None:
    good = {n: GOOD.get(n, 1.0) for n in NAMES[make]}
    assert make(**good) == make(**{n: np.float32(v) for n, v in good.items()})
    infinite = [] if make is Normal and name in ("lo", "hi") else [INF, -INF]
    for bad in NOT_NUMBERS + infinite:
        with pytest.raises(InputError) as caught:
            make(**{**good, name: bad})
        assert caught.value.field == f"{make.__name__}.{name}", bad


@pytest.mark.parametrize(("make", "numbers", "field"), [
    (Uniform, (1, 1), "Uniform"), (Uniform, (2, 1), "Uniform"),
    (Uniform, (-1.7e308, 1.7e308), "Uniform"),                    # a width beyond 1.8e308
    (LogUniform, (0, 1), "LogUniform.lo"), (LogUniform, (-1, 1), "LogUniform.lo"),
    (LogUniform, (1, 1), "LogUniform"), (LogUniform, (3, 1), "LogUniform"),
    (LogUniform, (1e-320, 1e300), "LogUniform"),
    (Normal, (0, 0), "Normal.sd"), (Normal, (0, -1), "Normal.sd"),
    (Normal, (0, 1, 3, 2), "Normal"), (Normal, (0, 1, 2, 2), "Normal"),
    (Normal, (0, 1, INF, INF), "Normal"), (Normal, (0, 1, 60, 61), "Normal"),
    (Normal, (0, 1, -61, -60), "Normal"),
    (Gamma, (0, 1), "Gamma.shape"), (Gamma, (1, 0), "Gamma.rate"), (Gamma, (-1, 1), "Gamma.shape"),
    (Gamma, (1e307, 1), "Gamma"), (Gamma, (1e-200, 1e300), "Gamma"),
    (InverseGamma, (0, 1), "InverseGamma.shape"), (InverseGamma, (1, -2), "InverseGamma.scale"),
    (Beta, (0, 1), "Beta.a"),
    (Beta, (1, -1), "Beta.b"), (Bernoulli, (0,), "Bernoulli.p"), (Bernoulli, (1,), "Bernoulli.p"),
    (Bernoulli, (-0.1,), "Bernoulli.p"), (Bernoulli, (1.5,), "Bernoulli.p")])
def test_numbers_that_make_no_density_are_refused_by_name(
        make: Any, numbers: Any, field: str) -> None:
    with pytest.raises(InputError) as caught:
        make(*numbers)
    assert caught.value.field == field
    assert "received" in str(caught.value)


@pytest.mark.parametrize("base", [Bernoulli(0.5), Fixed(1.0), Ordered(Uniform(0, 1)), 1.0, "x",
                                  None, (1, 0), (1, 2, 3)])
def test_only_continuous_priors_can_be_ordered(base: Any) -> None:
    with pytest.raises(InputError):
        Ordered(base)


def test_a_pair_is_uniform_and_a_number_is_fixed() -> None:
    assert as_prior((0, 3), "f") == Uniform(0, 3)
    assert Ordered((0, 3)) == Ordered(Uniform(0, 3))  # type: ignore[arg-type]
    for two in (2, 2.0, np.int64(2), np.float32(2)):
        assert as_prior(two, "f") == Fixed(2)
    assert as_prior(Gamma(1, 2), "f") == Gamma(1, 2)
    for bad in (True, None, "0:3", [0, 3], (0, 1, 2), (0,), np.array([0, 3]), 1j, Uniform, 10**400):
        with pytest.raises(InputError):
            as_prior(bad, "prior of width")
