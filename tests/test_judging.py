"""The cases' exact answers by importance sampling, and the judge on honest and dishonest answers.

Every case: 200,000 independent draws of a proposal that has nothing to do with how the answers were
computed; evidence, means, second moments, quantiles and mode weights within 4.5 standard errors of
the exact ones (about 300 numbers: false alarm 0.2 %).
"""

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from theory import cases, judge, judge_many
from theory.cases import Case
from theory.errors import DomainError
from theory.judging import Line

DRAWS = 200_000


def proposal(case: Case, g: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws and their log density, wider than the posterior in every direction."""
    d = case.dimension
    if case.name in ("eggbox", "shell", "product", "product_of_three"):
        theta = case.prior_transform(g.random((DRAWS, d)))
        return theta, np.asarray(case.log_prior(theta))
    if case.name == "wall":                     # steeper towards the corner than uniform
        k = np.array([0.5, 1.5, 5.0, 15.0, 50.0])
        u = g.random((DRAWS, d))
        theta = -np.log1p(u * np.expm1(-k)) / k
        return theta, (np.log(k / -np.expm1(-k)) - k * theta).sum(axis=1)
    if case.modes:                              # hills by their centres, equally often
        centres, widths = _hills(case)
        which = g.integers(len(centres), size=DRAWS)
        theta = centres[which] + 1.2 * widths[which, None] * g.normal(size=(DRAWS, d))
        log_q = [stats.norm(c, 1.2 * w).logpdf(theta).sum(axis=1)
                 for c, w in zip(centres, widths, strict=True)]
        return theta, np.logaddexp.reduce(log_q, axis=0) - math.log(len(centres))
    law = stats.multivariate_t(case.mean, 1.2 * case.covariance, df=5)
    theta = law.rvs(DRAWS, random_state=g).reshape(DRAWS, d)
    return theta, law.logpdf(theta)


def _hills(case: Case) -> tuple[np.ndarray, np.ndarray]:
    known = {"two_modes": ([[-3.0, 1.0], [4.0, -2.0]], [0.3, 0.2]),
             "spike_and_slab": ([[2.0] * 8, [-1.0] * 8], [0.02, 0.5])}
    if case.name in known:
        centres, widths = known[case.name]
        return np.array(centres), np.array(widths)
    from itertools import permutations

    centres = np.array(list(permutations((0.0, 2.0, 5.0))))
    return centres, np.full(len(centres), 0.15)


def inside(found: float, exact: float, error: float, name: str) -> None:
    assert abs(found - exact) < 4.5 * error + 1e-9, f"{name}: {found} against {exact} +- {error}"


@pytest.mark.parametrize("name", cases.BUILDERS)
def test_exact_answers_by_importance_sampling(name: str) -> None:
    case = cases.named(name)
    g = np.random.default_rng([len(name), *name.encode()])
    theta, log_q = proposal(case, g)
    log_w = np.asarray(case.log_posterior(theta)) - log_q
    top = log_w.max()
    w = np.exp(log_w - top)
    share = w / w.sum()
    size = 1 / np.sum(share**2)
    assert size > 300
    found = top + math.log(w.mean())
    inside(found, case.log_evidence, w.std() / w.mean() / math.sqrt(DRAWS), "ln Z")

    def moment(values: np.ndarray, exact: float, label: str) -> None:
        mean = float(share @ values)
        inside(mean, exact, math.sqrt(float(share**2 @ (values - mean) ** 2)), label)

    heavy = case.name == "heavy_tails"          # its fourth moments do not exist without the box
    for i, parameter in enumerate(case.names):
        moment(theta[:, i], float(case.mean[i]), f"mean of {parameter}")
        for j in range(i + 1):
            product = (theta[:, i] - case.mean[i]) * (theta[:, j] - case.mean[j])
            if not heavy:
                moment(product, float(case.covariance[i, j]), f"covariance {i}, {j}")
    for mode in case.modes:
        moment(mode.contains(theta).astype(float), mode.weight, f"weight of {mode.name}")
    if case.quantile is not None:
        for p in (0.05, 0.5, 0.95):
            for i, limit in enumerate(case.quantile(p)):
                moment((theta[:, i] <= limit).astype(float), p, f"quantile {p} of {i}")
    if case.log_evidence_at is not None:
        assert case.log_evidence_at(1.0) == pytest.approx(case.log_evidence, abs=1e-12)
        assert case.log_evidence_at(0.0) == pytest.approx(0.0, abs=1e-9)
        # d ln Z / d beta is the mean log likelihood.
        slope = (case.log_evidence_at(1.0005) - case.log_evidence_at(0.9995)) / 0.001
        moment(np.where(share > 0, case.log_likelihood(theta), 0.0), slope, "mean log likelihood")


def test_a_wrong_evidence_is_caught_by_the_same_test() -> None:
    """Broken twin: 1 % off in Z."""
    case = cases.straight_line()
    theta, log_q = proposal(case, np.random.default_rng(1))
    w = np.exp(np.asarray(case.log_posterior(theta)) - log_q - case.log_evidence)
    error = w.std() / w.mean() / math.sqrt(DRAWS)
    assert abs(math.log(w.mean())) < 4.5 * error < 0.01


@pytest.mark.parametrize("name", cases.BUILDERS)
def test_the_callables_fit_any_sampler(name: str) -> None:
    """Single points and stacks, the unit cube, and the ends of the prior."""
    case = cases.named(name)
    many = case.prior_samples(7, seed=2)
    assert many.shape == (7, case.dimension)
    assert np.array_equal(many, case.prior_samples(7, seed=2))
    stack = case.log_posterior(many.reshape(7, 1, -1))
    single = [case.log_posterior(t) for t in many]
    assert np.shape(stack) == (7, 1)
    assert all(isinstance(v, float) for v in single)
    assert np.allclose(np.ravel(stack), single, rtol=1e-12)
    assert np.all(np.isfinite(case.log_prior(many)))
    with pytest.raises(DomainError, match="theta"):
        case.log_posterior(np.zeros(case.dimension + 1))
    with pytest.raises(DomainError, match="u: received"):
        case.prior_transform(np.full(case.dimension, 1.5))


def test_there_are_thirty_cases_and_they_differ() -> None:
    assert len(cases.BUILDERS) >= 30
    assert len({cases.named(name).name for name in cases.BUILDERS}) == len(cases.BUILDERS)
    with pytest.raises(DomainError, match="straight_line"):
        cases.named("no such case")


def test_formulas_are_the_models() -> None:
    """Where a case has a curve, sympy's formula gives its likelihood."""
    import sympy as sp

    for name in ("straight_line", "polynomial_3", "linear_peaks", "relaxation", "line_wall"):
        case = cases.named(name)
        expression = sp.sympify(case.formula)
        curve = sp.lambdify([sp.Symbol("x"), *map(sp.Symbol, case.names)], expression, "numpy")
        one, two = case.prior_samples(2, seed=1)
        rss = [np.sum((case.y - curve(case.x, *theta)) ** 2) for theta in (one, two)]
        gap = case.log_likelihood(one) - case.log_likelihood(two)
        noise = {"straight_line": 0.5, "polynomial_3": 0.1, "linear_peaks": 0.05,
                 "relaxation": 0.05, "line_wall": 0.5}[name]
        assert gap == pytest.approx((rss[1] - rss[0]) / (2 * noise**2), rel=1e-9)


# --- the judge ----------------------------------------------------------------------------------


def exact_draws(case: Case, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal(case.mean, case.covariance, n)


def test_an_honest_sampler_passes_and_a_table_says_so() -> None:
    case = cases.straight_line()
    verdict = judge(case, "exact", samples=exact_draws(case, 5000, 1), n_effective=5000,
                    log_evidence=case.log_evidence + 0.05, log_evidence_error=0.1)
    assert all(line.z is not None and abs(line.z) < 4 for line in verdict.lines)
    text = str(verdict)
    for words in ("log evidence", "mean of a", "sd of b", "a below 5%", "z +0.5"):
        assert words in text
    record = json.loads(verdict.to_json())
    assert record["lines"][0]["z"] == pytest.approx(0.5)
    assert verdict.to_html().count("<tr>") == len(verdict.lines) + 1


def test_what_is_not_given_is_said_and_not_scored() -> None:
    case = cases.two_modes()
    verdict = judge(case, "shy")
    assert all(line.z is None for line in verdict.lines)
    assert str(verdict).count("not given by this sampler") == len(verdict.lines)
    draws = case.prior_samples(100, seed=1)
    unscored = judge(case, "shy", samples=draws, log_evidence=1.0)
    assert all(line.z is None for line in unscored.lines)
    assert "no error given: not scored" in str(unscored)


def test_weights_count_by_kish() -> None:
    """Importance draws from a wider normal: the weighted answer is right, the plain one is not."""
    case = cases.straight_line()
    law = stats.multivariate_normal(case.mean, 2 * case.covariance)
    theta = law.rvs(20_000, random_state=3)
    w = np.exp(np.asarray(case.log_posterior(theta)) - law.logpdf(theta) - case.log_evidence)
    good = judge(case, "weighted", samples=theta, weights=w)
    assert all(abs(line.z) < 4 for line in good.lines if line.z is not None)
    plain = judge(case, "plain", samples=theta, n_effective=20_000)
    assert abs(plain["sd of a"].z or 0) > 10


def test_a_sampler_that_misses_a_mode_is_caught() -> None:
    case = cases.two_modes()
    left = np.array([-3.0, 1.0]) + 0.3 * np.random.default_rng(4).normal(size=(4000, 2))
    verdict = judge(case, "lost", samples=left, n_effective=4000)
    assert verdict["weight of right"].found == 0.0
    assert (verdict["weight of right"].z or 0) < -10


@pytest.mark.parametrize(("factor", "words"), [(1.0, "honest"), (0.4, "error too small"),
                                               (3.0, "error too large")])
def test_honesty_of_error_bars_over_seeds(factor: float, words: str) -> None:
    """60 runs whose answers scatter by 0.1 and who claim 0.1 times the factor."""
    case, g = cases.poisson_gamma(), np.random.default_rng(6)
    runs = [judge(case, "some", log_evidence=case.log_evidence + 0.1 * g.normal(),
                  log_evidence_error=0.1 * factor) for _ in range(60)]
    judgement = judge_many(runs)
    assert judgement["log evidence"].words == words
    assert (words == "honest") == ("nothing found against it" in judgement.verdict)
    assert json.loads(judgement.to_json())["records"][0]["words"] == words
    assert words in judgement.to_html()


def test_bias_is_caught_even_where_errors_are_large() -> None:
    case, g = cases.poisson_gamma(), np.random.default_rng(7)
    runs = [judge(case, "some", log_evidence=case.log_evidence + 0.2 + 0.1 * g.normal(),
                  log_evidence_error=0.3) for _ in range(40)]
    assert "log evidence: bias +0." in judge_many(runs).verdict


def test_our_own_sampler_is_judged_like_any_other() -> None:
    """The straight line by exchange Monte Carlo, 12 seeds: nothing is found against it."""
    from sampler import Data, Model, Normal, Posterior, free_energy, sample, shapes
    from sampler.diagnostics import effective_sample_size

    case = cases.straight_line()
    model = Model.single(shapes.linear, slope=Normal(0, 10), offset=Normal(0, 10))
    posterior = Posterior(model, Data(case.x, case.y, noise=0.5))
    runs = []
    for seed in range(12):
        run = sample(posterior, 2000, burn_in=1000, seed=seed)
        found = free_energy(run)
        draws = run.draws[..., [run.posterior.names.index(n) for n in ("slope", "offset")]]
        size = min(effective_sample_size(draws[..., i]) for i in (0, 1))
        runs.append(judge(case, "ours", samples=draws.reshape(-1, 2), n_effective=size,
                          log_evidence=found.log_evidence,
                          log_evidence_error=found.log_evidence_error))
    judgement = judge_many(runs)
    assert judgement["log evidence"].words == "honest"
    assert "nothing found against it" in judgement.verdict


@pytest.mark.parametrize(("make", "field"), [
    (lambda c: judge(c, "x", samples=np.zeros((5, 3))), "samples"),
    (lambda c: judge(c, "x", samples=np.full((5, 2), np.nan)), "samples"),
    (lambda c: judge(c, "x", samples=np.zeros((5, 2)), weights=[1, 1]), "weights"),
    (lambda c: judge(c, "x", samples=np.zeros((5, 2)), weights=[-1, 1, 1, 1, 1]), "weights"),
    (lambda c: judge(c, "x", samples=np.zeros((5, 2)), n_effective=0), "n_effective"),
    (lambda c: judge(c, "x", log_evidence=math.nan), "log_evidence"),
    (lambda c: judge(c, "x", log_evidence=1, log_evidence_error=-1), "log_evidence_error"),
    (lambda c: judge_many([judge(c, "x")]), "verdicts"),
    (lambda c: judge_many([judge(c, "x"), judge(c, "y")]), "verdicts"),
    (lambda _: cases.polynomial(9), "degree")])
def test_bad_answers_are_refused(make: Any, field: str) -> None:
    with pytest.raises(DomainError, match=field):
        make(cases.straight_line())


def test_a_line_without_an_error_has_no_score() -> None:
    assert Line("q", 1.0, 2.0, 0.0).z is None
    assert Line("q", 1.0, 2.0, 0.5).z == 2.0
