"""The bridge and its parts, each against another route; the whole against exact free energies.

Seeds are fixed, so that a failure is a change of the code; the false-alarm rates say how often
another choice of seeds would fail correct code.
"""

import dataclasses
import itertools
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import integrate, special
from statistics_helpers import Conjugate, as_run, conjugate_run, within

from sampler import (
    Bernoulli,
    Beta,
    Data,
    Gamma,
    InverseGamma,
    LogUniform,
    Model,
    Normal,
    Ordered,
    Posterior,
    Run,
    Uniform,
    bridge_sampling,
    diagnose,
    free_energy,
    joint,
    parse_formula,
    sample,
    shapes,
)
from sampler.bridge_sampling import _conditional, _Target, bridge, meng_wong
from sampler.cube import from_logit, log_normal_mass, log_prior, normal_between, to_logit
from sampler.evidence import normal_score
from sampler.labels import exchangeable, fold, is_folded
from sampler.mixture import fit_mixture
from sampler.priors import log_density

X = np.linspace(0.0, 4.0, 25)
DECAY = 1.2 * np.exp(-0.9 * X) + 0.05 * np.random.default_rng(9).normal(size=25)
PRIORS = (Uniform(1, 4), LogUniform(0.01, 10), Normal(1, 2), Normal(1, 2, lo=0),
          Normal(0, 0.1, lo=0.2, hi=0.5), Gamma(5, 0.04), Gamma(1, 2), InverseGamma(3, 2),
          Beta(2, 3))


# ---- the cube -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_the_logit_is_that_of_the_distribution_function(prior: Any) -> None:
    """Its derivative by quadrature: the share of the prior between two values."""
    t = np.array([-6.0, -1.0, 0.5, 4.0])
    v = from_logit(prior, t)
    assert to_logit(prior, v) == pytest.approx(t, abs=1e-6)
    for (a, b), (s, u) in zip(itertools.pairwise(v), itertools.pairwise(t), strict=True):
        share = integrate.quad(lambda w: math.exp(log_density(prior, w)), a, b, epsabs=1e-13)[0]
        assert share == pytest.approx(special.expit(u) - special.expit(s), abs=1e-9)


def test_density_in_the_logit() -> None:
    assert integrate.quad(lambda t: math.exp(log_prior(t)), -60, 60)[0] == pytest.approx(1.0)


@pytest.mark.parametrize(("a", "b"), [(-1.0, 2.0), (8.0, 9.0), (-40.0, -39.5), (30.0, np.inf)])
def test_a_cut_normal_in_its_tails(a: float, b: float) -> None:
    """Against mpmath with 50 digits."""
    import mpmath as mp

    with mp.workdps(50):
        low, high = (mp.ncdf(v) if v < 0 else 1 - mp.ncdf(-v) for v in (a, b))
        mass = mp.ncdf(-a) - mp.ncdf(-b) if a > 0 else high - low
        assert log_normal_mass(a, b) == pytest.approx(float(mp.log(mass)), rel=1e-12)
        for u in (1e-12, 0.3, 0.9):
            x = float(normal_between(a, b, math.log(u), math.log1p(-u)))
            below = (mp.ncdf(-a) - mp.ncdf(-x) if a > 0 else mp.ncdf(x) - mp.ncdf(a)) / mass
            assert float(below) == pytest.approx(u, rel=1e-6)


# ---- labels -------------------------------------------------------------------------------------


def two_peaks(**changes: Any) -> Model:
    return Model.repeated(2, shapes.gaussian, height=(0, 3), center=(0, 3),
                          width=(0.1, 2)).with_priors(changes)


def grouped(model: Model) -> list[tuple[str, int, str]]:
    return [(g.prefix, g.size, g.key) for g in exchangeable(Posterior(model, Data(X, DECAY, 0.1)))]


def test_only_what_may_be_renumbered_is_exchangeable() -> None:
    assert grouped(two_peaks()) == [("peak", 2, "center")]
    assert grouped(two_peaks(peak1_center=(0, 2))) == []
    assert grouped(two_peaks(peak1_center=1.0)) == []
    assert grouped(two_peaks(peak_center=1.0)) == [("peak", 2, "height")]
    three = Model.repeated(3, shapes.gaussian, height=(0, 3), center=(0, 3), width=(0.1, 2))
    assert grouped(three.with_priors({"peak2_width": 0.3})) == [("peak", 2, "center")]
    tied = Model.single(shapes.gaussian, "extra_", height="peak1_height", center=(0, 3),
                        width=(0.1, 2), priors={"peak1_height": (0, 3)})
    assert grouped(two_peaks() + tied) == []


def test_joint_components_move_together() -> None:
    data = Data(X, DECAY, 0.1)
    both = joint(Posterior(two_peaks(), data),
                 Posterior(two_peaks().renamed(height="height_b"), data))
    (group,) = exchangeable(both)
    assert set(group.columns) == {"height", "center", "width", "height_b"}
    g = np.random.default_rng(1)
    theta = g.random((50, both.dimension)) * 1.5 + 0.2
    again = fold((group,), theta)
    assert is_folded((group,), again).all() and not is_folded((group,), theta).all()
    assert both.energy(again) == pytest.approx(both.energy(theta), rel=1e-12)


# ---- the fitted density -----------------------------------------------------------------------


def test_mixture_is_a_density_and_draws_are_of_it() -> None:
    """Integral 1 by a sum over a grid; 20,000 draws fall below three lines as often as the
    density says (4 standard errors, false alarm 2e-4)."""
    g = np.random.default_rng(0)
    t = np.concatenate([g.normal([-4, 1], [1, 0.3], (900, 2)), g.normal([3, -2], 0.5, (300, 2))])
    q = fit_mixture(t, 4, g.random(4))
    grid = np.linspace(-60, 60, 1201)
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(q.log_density(points)).reshape(1201, 1201) * 0.01
    assert density.sum() == pytest.approx(1.0, abs=2e-3)
    drawn, hot = q.draw(g.random((20_000, 8)))
    assert within(hot.mean(), 0.05, math.sqrt(0.05 * 0.95 / 20_000))
    for axis, cut in ((0, -4.05), (0, 0.05), (1, -1.95)):
        share = density[grid < cut].sum() if axis == 0 else density[:, grid < cut].sum()
        seen = float(np.mean(drawn[:, axis] < cut))
        assert within(seen, share, math.sqrt(share * (1 - share) / 20_000))


def test_meng_wong_on_a_known_ratio() -> None:
    """100 seeds, ratio of a normal to a wider one: z normal (chi-square p in [0.001, 0.999], mean
    within 3.5 errors: false alarm 0.25 %); half the error is the broken twin."""
    z = []
    for seed in range(100):
        g = np.random.default_rng(seed)
        p, q = g.normal(size=(4, 500)), 2.0 * g.normal(size=3000)

        def log_ratio(x: np.ndarray) -> np.ndarray:
            return math.log(5.0 * 2.0) - 0.375 * x**2

        value, variance = meng_wong(log_ratio(p), log_ratio(q))
        z.append((value - math.log(5.0)) / math.sqrt(variance))
    assert 0.001 < special.gammaincc(50.0, 0.5 * np.sum(np.square(z))) < 0.999
    assert abs(np.mean(z)) < 0.35
    assert not 0.001 < special.gammaincc(50.0, 0.5 * np.sum(np.square(z) * 4)) < 0.999


# ---- amplitudes ---------------------------------------------------------------------------------


def quadratic_cases() -> dict[str, Posterior]:
    peaks = two_peaks() + Model.single(shapes.linear, offset=Normal(0, 1), slope=(-1, 1))
    known, unknown = Data(X, DECAY, 0.1 + 0.02 * X), Data(X, DECAY, "unknown")
    return {"known": Posterior(peaks, known), "unknown": Posterior(peaks, unknown),
            "joint": joint(Posterior(peaks, known), Posterior(
                peaks.renamed(height="height_b"), Data(X[:9], DECAY[:9], LogUniform(0.05, 1))))}


@pytest.mark.parametrize("name", ["known", "unknown", "joint"])
def test_energy_is_the_quadratic_form(name: str) -> None:
    posterior = quadratic_cases()[name]
    target = _Target(posterior, 0)
    assert {posterior.names[p] for p in target.linear} >= {"peak1_height", "offset", "slope"}
    theta = posterior.draw_prior(40, seed=3)
    from sampler.kernels import cpu
    from sampler.kernels.problem import aligned_zeros

    n, K = 40, len(target.linear)
    offset, pull, precision = np.empty(n), np.empty((n, K)), np.empty((n, K, K))
    cpu.quadratics(target.problem, *target._buffers, np.array(target.linear), theta,
                   aligned_zeros((K, int(target.problem.padded.max()))), offset, pull, precision)
    h = theta[:, target.linear]
    form = (offset - (pull * h).sum(1) + 0.5 * np.einsum("nk,nkm,nm->n", h, precision, h))
    assert form == pytest.approx(posterior.energy(theta), rel=1e-10)
    assert target._energies(theta) == pytest.approx(posterior.energy(theta), rel=1e-12)


def test_sequential_draws_have_their_density() -> None:
    """Two amplitudes, one boxed and one Gamma: the density integrates to 1 over its support, and
    20,000 draws have its mean (4 standard errors)."""
    priors = [Uniform(0, 1.5), Gamma(2, 1)]
    pull, precision = np.array([[8.0, 3.0]]), np.array([[[9.0, -4.0], [-4.0, 6.0]]])
    law = _conditional(priors, pull, precision)
    a, b = (np.arange(600) + 0.5) * 1.5 / 600, (np.arange(2400) + 0.5) * 8.0 / 2400
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)
    many = dataclasses.replace(law, mean=np.repeat(law.mean, len(grid), 0),
                               root=np.repeat(law.root, len(grid), 0))
    density = np.exp(many.log_density(grid)) * (1.5 / 600) * (8.0 / 2400)
    assert density.sum() == pytest.approx(1.0, abs=1e-4)
    some = dataclasses.replace(law, mean=np.repeat(law.mean, 20_000, 0),
                               root=np.repeat(law.root, 20_000, 0))
    h = some.draw(np.random.default_rng(2).random((20_000, 2)))
    assert within(h.mean(0), density @ grid, h.std(0) / math.sqrt(20_000))


# ---- the whole ----------------------------------------------------------------------------------


def quadrature(posterior: Posterior, edges: list[tuple[float, float]], count: int) -> float:
    """F by a tensor product of Gauss-Legendre rules: no sampler, no coordinates."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    axes = [0.5 * (b - a) * nodes + 0.5 * (a + b) for a, b in edges]
    logs = [np.log(0.5 * (b - a) * weights) for a, b in edges]
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(edges))
    total = np.stack(np.meshgrid(*logs, indexing="ij"), -1).reshape(-1, len(edges)).sum(1)
    total = total + np.concatenate([posterior.log_prior(part) - posterior.energy(part)
                                    for part in np.array_split(theta, 1 + len(theta) // 20_000)])
    return float(posterior.constant - np.logaddexp.reduce(total))


@cache
def problems() -> dict[str, tuple[Posterior, float]]:
    """Every way through the code: plain, amplitudes aside (box, Gamma), noise inferred, counts."""
    e = shapes.exponential
    known = Data(X, DECAY, 0.05)
    counts = np.random.default_rng(1).poisson(20.0 * np.exp(-0.9 * X))
    box = Posterior(Model.single(e, amplitude=(0, 3), rate=(0, 5)), known)
    gamma = Posterior(Model.single(e, amplitude=Gamma(3, 2), rate=Gamma(2, 1)), known)
    noise = Posterior(Model.single(e, amplitude=Normal(1, 1), rate=LogUniform(0.1, 10)),
                      Data(X, DECAY, LogUniform(0.01, 1)))
    poisson = Posterior(Model.single(e, amplitude=(0, 60), rate=LogUniform(0.05, 5)),
                        Data(X, counts, "poisson"))
    narrow = [(1.0, 1.4), (0.6, 1.3)]
    return {"box": (box, quadrature(box, narrow, 200)),
            "gamma": (gamma, quadrature(gamma, narrow, 200)),
            "noise": (noise, quadrature(noise, [*narrow, (0.02, 0.15)], 70)),
            "counts": (poisson, quadrature(poisson, [(8.0, 40.0), (0.4, 1.8)], 200))}


SEEDS = range(20)


@pytest.fixture(scope="module")
def campaign() -> dict[str, list[tuple[float, float, Run]]]:
    """F minus the truth, and its claimed error, of 20 short runs of each problem."""
    out = {}
    for name, (_, exact) in problems().items():
        out[name] = []
        for seed in SEEDS:
            run = run_of(name, seed)
            found = bridge(run)
            assert found is not None
            out[name].append((found.value - exact, found.error, run))
    return out


@cache
def run_of(name: str, seed: int = 0) -> Run:
    """A short run of one of the problems, as in the campaign."""
    known = problems()
    return sample(known[name][0], 400, burn_in=400, seed=100 * [*known].index(name) + seed)


def scores(campaign: dict[str, Any], factor: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return np.array([normal_score((off + shift * error) / (factor * error), 3)
                     for rows in campaign.values() for off, error, _ in rows])


def honest(z: np.ndarray) -> bool:
    """Chi-square p in [0.001, 0.999] and mean within 3.5 errors: false alarm 0.25 %."""
    p = special.gammaincc(0.5 * z.size, 0.5 * np.sum(z**2))
    return bool(0.001 < p < 0.999 and abs(z.mean()) < 3.5 / math.sqrt(z.size))


@pytest.mark.slow
def test_bridge_is_right_within_its_error(campaign: dict[str, Any]) -> None:
    """80 runs; errors half or twice as large, and F moved by half an error, are caught."""
    assert honest(scores(campaign)) and np.abs(scores(campaign)).max() < 4.5
    assert not honest(scores(campaign, 0.5)) and not honest(scores(campaign, 2.0))
    assert not honest(scores(campaign, shift=0.5))


@pytest.mark.slow
def test_bridge_beats_the_ladder(campaign: dict[str, Any]) -> None:
    """At the true number of components its error is less than a fifth of BAR's."""
    for rows in campaign.values():
        bar = np.median([free_energy(run).bar_error for *_, run in rows])
        assert np.median([error for _, error, _ in rows]) < 0.2 * bar


@pytest.mark.slow
@pytest.mark.parametrize("defect", ["no Jacobian", "box of an amplitude", "0.02 nats"])
def test_broken_twins(campaign: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
                      defect: str) -> None:
    """A term left out of the density is seen in the same runs."""
    if defect == "no Jacobian":
        monkeypatch.setattr(bridge_sampling, "log_prior", lambda t: np.zeros_like(t))
        rows = campaign["counts"]
    elif defect == "box of an amplitude":
        monkeypatch.setattr(bridge_sampling, "log_density", lambda prior, v: np.zeros(len(v)))
        rows = campaign["box"]
    else:       # the smallest shift of ln p at the draws of q that 20 short runs must see
        original = bridge_sampling._Target._log_integral
        monkeypatch.setattr(bridge_sampling._Target, "_log_integral",
                            lambda self, theta, way, first: original(self, theta, way, first)
                            + (0.0 if first is None else 0.02))
        rows = campaign["gamma"]
    z = []
    for off, _, run in rows:
        found = bridge_sampling._bridge(run)
        assert found is not None
        exact = free_energy(run).bridge - off       # type: ignore[operator]
        z.append(normal_score((found.value - exact) / found.error, 3))
    assert not honest(np.array(z))


def test_where_the_curve_has_no_value_the_likelihood_is_zero(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """a*log(x - b) + c with b up to beyond the first x, where the log has no value.

    F by quadrature over b of the normal law of the data (a and c have normal priors).  2 runs of
    1000 sweeps, each within 4 errors (false alarm 1.2e-4) and none without a bridge.  Twins: F of a
    prior without the part that is forbidden, 0.47 nats lower, and rows that are not left out, of
    which no bridge can be made.
    """
    x = np.linspace(0.5, 4.0, 20)
    y = 0.2 + np.log(x + 0.3) + 0.3 * np.random.default_rng(1).normal(size=20)     # synthetic
    posterior = Posterior(Model.single(parse_formula("log", "a*log(x - b) + c"), a=Normal(0, 2),
                                       c=Normal(0, 1), b=(-2, 2)), Data(x, y, noise=0.3))

    def density(b: float) -> float:
        spread = 0.3**2 * np.eye(20) + 4.0 * np.outer(*[np.log(x - b)] * 2) + 1.0
        return math.exp(-0.5 * float(y @ np.linalg.solve(spread, y))
                        - 0.5 * np.linalg.slogdet(2.0 * math.pi * spread)[1])

    exact = -math.log(integrate.quad(density, -2.0, 0.5, epsabs=0.0, epsrel=1e-9)[0] / 4.0)
    for seed in (20, 21):
        run = sample(posterior, sweeps=1000, seed=seed)
        assert 0.5 < np.isfinite(run.energy[..., 0]).mean() < 0.75
        found = bridge(run)
        assert found is not None and found.collapsed == ("a", "c")
        assert within(found.value, exact, found.error)
        assert not within(found.value, exact + math.log(2.5 / 4.0), found.error)
    monkeypatch.setattr(np, "isfinite", lambda v: np.ones(np.shape(v), dtype=bool))
    with np.errstate(all="ignore"):
        assert bridge_sampling._bridge(run) is None


def surplus(center: Any) -> Posterior:
    """Two peaks fitted to one: both labels matter, and the two may coincide."""
    x = np.linspace(0, 3, 60)
    y = 1.1 * np.exp(-4 * math.log(2) * ((x - 1.4) / 0.6) ** 2)
    y = y + 0.1 * np.random.default_rng(4).normal(size=60)
    return Posterior(Model.repeated(2, shapes.gaussian, height=(0, 3), center=center,
                                    width=(0.1, 2)), Data(x, y, 0.1))


@pytest.mark.slow
def test_ordered_and_free_labels_have_the_same_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """K! orderings of density 1 against one of density K!: |z| < 4.  Forgetting the K! of the
    folded labels, the broken twin, moves one of the two by ln 2."""
    runs = [sample(surplus(c), 1500, burn_in=800, seed=5)
            for c in ((0, 3), Ordered(Uniform(0, 3)))]
    free, ordered = (bridge(run) for run in runs)
    assert free is not None and ordered is not None
    joint_error = math.hypot(free.error, ordered.error)
    assert within(free.value, ordered.value, joint_error) and joint_error < 0.05
    assert free.collapsed == ("peak1_height", "peak2_height")
    made = bridge_sampling._Target.__init__

    def forgetful(self: Any, *arguments: Any) -> None:
        made(self, *arguments)
        self.log_orderings = 0.0

    monkeypatch.setattr(bridge_sampling._Target, "__init__", forgetful)
    lost = bridge_sampling._bridge(runs[0])
    assert lost is not None and not within(lost.value, ordered.value, joint_error)
    assert abs(lost.value - free.value - math.log(2)) < 0.1


@pytest.mark.long
def test_straight_line_from_exact_draws() -> None:
    """Independent draws of a known normal posterior, 40 seeds: no sampler in between."""
    line = Posterior(Model.single(shapes.linear, offset=Normal(0, 2), slope=Normal(0, 1)),
                     Data(X[:6], DECAY[:6], 0.3))
    exact = Conjugate(line).free_energy() + line.constant
    z = []
    for seed in range(40):
        run = conjugate_run(line, np.array([0.0, 0.1, 1.0]), 300, seed)
        found = bridge(dataclasses.replace(run, seed=seed))     # the seed draws from q
        assert found is not None
        z.append(normal_score((found.value - exact) / found.error, 3))
    assert honest(np.array(z))


def test_a_mode_found_by_one_half_only_is_flagged() -> None:
    """Two narrow hills, each seen by two of the four chains: the densities fitted on either half
    do not cover the other's draws, and the run is not trusted."""
    line = Posterior(Model.single(shapes.linear, offset=(-5, 5), slope=(-5, 5)),
                     Data(X[:6], DECAY[:6], 0.3))
    g = np.random.default_rng(3)
    draws = 0.05 * g.normal(size=(4, 800, 2))
    draws[2:] += 3.0
    energy = g.exponential(size=(4, 800, 3))
    run = as_run(line, np.array([0.0, 0.5, 1.0]), energy,
                 np.tile(np.arange(3), (4, 800, 1)), draws)
    found = bridge(run)
    assert found is not None and found.uncovered > 0.1
    assert "coverage" in diagnose(run).faults


def test_where_there_is_no_bridge() -> None:
    """Switches, too few draws: BAR stands alone and says so."""
    data = Data(X, DECAY, 0.05)
    switch = Model.single(shapes.Formula("switched", shapes.exponential.expression
                                         * shapes.sp.Symbol("on", real=True)),
                          amplitude=(0, 3), rate=(0, 5), on=Bernoulli(0.5))
    run = sample(Posterior(switch, data), 300, burn_in=300, seed=1)
    assert bridge(run) is None and free_energy(run).estimator == "bar"
    short = sample(problems()["box"][0], 20, burn_in=100, seed=1)
    assert bridge(short) is None and free_energy(short).bridge is None


def test_equal_bits_from_equal_runs() -> None:
    """The bridge depends on the run's numbers and its seed, on nothing else."""
    run = run_of("noise")
    again = dataclasses.replace(run)
    assert bridge_sampling._bridge(again) == bridge(run)


def test_both_are_kept_and_the_bridge_is_reported() -> None:
    found = free_energy(run_of("box"))
    assert found.estimator == "bridge" and found.value == found.bridge
    assert found.error == found.bridge_error < found.bar_error and found.bar != found.value
    assert found.freedom == 3 and "bridge" in str(found)


def test_a_bridge_far_from_the_ladder_is_not_believed() -> None:
    """Energies of another problem: BAR and bridge disagree, BAR is reported, nothing trusted."""
    run = run_of("box", 1)
    moved = dataclasses.replace(run, energy=run.energy + 5.0)
    found = free_energy(moved)
    assert found.estimator == "bar" and found.value == found.bar and found.apart > 3.0
    assert found.bridge is not None and found.bar_error < found.error
    assert found.error == pytest.approx(abs(found.bridge - found.bar))
    assert found.interval95[0] < found.bridge < found.interval95[1]
    assert "bridge" in diagnose(moved).faults


def test_a_density_that_nothing_meets_makes_no_bridge() -> None:
    """Draws moved by a thousand standard deviations of what the energies allow."""
    run = run_of("counts")
    assert bridge(run) is not None
    at = np.full((2, 100), 1e5)
    assert meng_wong(at, np.full(100, -1e5))[1] == math.inf


@pytest.mark.long
def test_more_is_drawn_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poor density of one part: with more of its draws the error falls; the first draws stay."""
    run, counts = run_of("gamma"), []
    original = bridge_sampling._Target.log_weights_drawn

    def counted(self: Any, q: Any, count: int, way: int, first: int = 0) -> np.ndarray:
        counts.append((first, count))
        return original(self, q, count, way, first)

    monkeypatch.setattr(bridge_sampling._Target, "log_weights_drawn", counted)
    monkeypatch.setattr(bridge_sampling, "DRAWN", 100)
    monkeypatch.setattr(bridge_sampling, "ENOUGH", 0.0)
    found = bridge_sampling._bridge(run)
    assert found is not None
    assert counts[:4] == [(0, 100), (0, 100), (100, 100), (200, 200)]     # two densities, then more
    counts.clear()
    monkeypatch.setattr(bridge_sampling, "ENOUGH", math.inf)
    fewer = bridge_sampling._bridge(run)
    assert counts == [(0, 100), (0, 100)]                                 # one, each way
    assert fewer is not None and found.within < 0.7 * fewer.within
    # In pieces the same draws as in one go.
    target = _Target(run.posterior, run.seed)
    q = target.fit(run.draws, 0)
    whole = original(target, q, 300, 0)
    pieces = np.append(original(target, q, 100, 0), original(target, q, 200, 0, 100))
    inside = np.isfinite(whole)
    np.testing.assert_array_equal(np.isfinite(pieces), inside)
    np.testing.assert_allclose(pieces[:100][inside[:100]], whole[:100][inside[:100]], atol=1e-12)
