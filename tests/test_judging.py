"""The cases' exact answers by importance sampling, and the judge on honest and dishonest answers.

Every case: 40,000 independent draws of a proposal that has nothing to do with how the answers were
computed; evidence (at three temperatures), means, second moments, quantiles and mode weights within
4.5 standard errors of the exact ones (about 700 numbers: false alarm 0.5 %).
"""

import json
import math
import re
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from theory import cases, judge, judge_many, judging
from theory.cases import Case
from theory.errors import DomainError
from theory.judging import Line, Verdict

DRAWS = 40_000


def narrow_proposal(case: Case, g: np.random.Generator, draws: int, beta: float
                    ) -> tuple[np.ndarray, Any]:
    """Draws about as wide as the posterior at beta, and their log density as a function."""
    d = case.dimension
    if case.name in ("shell", "product", "product_of_three"):
        return case.prior_transform(g.random((draws, d))), case.log_prior
    if case.name == "wall":                     # steeper towards the corner than uniform
        k = 0.5 * beta * np.array([1.0, 3.0, 10.0, 30.0, 100.0])
        theta = -np.log1p(g.random((draws, d)) * np.expm1(-k)) / k
        return theta, lambda t: np.where(np.all((t >= 0) & (t <= 1), axis=1), (
            np.log(k / -np.expm1(-k)) - k * t).sum(axis=1), -np.inf)
    if case.name in HILLS:                      # hills by their centres, equally often
        centres, widths = (np.array(v) for v in HILLS[case.name])
        widths = 1.2 * widths / math.sqrt(beta)
        which = g.integers(len(centres), size=draws)
        theta = centres[which] + widths[which, None] * g.normal(size=(draws, d))
        return theta, lambda t: np.logaddexp.reduce(
            [stats.norm(c, w).logpdf(t).sum(axis=1)
             for c, w in zip(centres, widths, strict=True)], axis=0) - math.log(len(centres))
    # Exact where the posterior is normal: only the data's part of the precision is tempered.
    own = np.diag([1 / p.sd**2 if isinstance(p, cases.Normal) else 0.0 for p in case.priors])
    posterior = np.linalg.inv(case.covariance)
    covariance = np.linalg.inv(own + beta * (posterior - own))
    centre = covariance @ (beta * posterior @ case.mean) if own.all(axis=1).any() else case.mean
    law = stats.multivariate_t(centre, 1.2 * covariance, df=5)
    return law.rvs(draws, random_state=g).reshape(draws, d), law.logpdf


HILLS = {"two_modes": ([[-3.0, 1.0], [4.0, -2.0]], [0.5, 0.1]),
         "spike_and_slab": ([[-1.0] * 8, [2.0] * 8], [0.5, 0.02]),
         "eggbox": (2 * math.pi * np.array([(i, j) for i in range(6) for j in range(6)
                                            if (i + j) % 2 == 0]), [0.1] * 18),
         "labels": (list(permutations((0.0, 2.0, 5.0))), [0.15] * 6)}


def proposal(case: Case, g: np.random.Generator, beta: float = 1.0
             ) -> tuple[np.ndarray, np.ndarray]:
    """Half of the draws near the posterior at beta, half from the prior, and the log density of
    the mixture: no weight exceeds 2 L**beta, and none 2 p / q."""
    half = DRAWS // 2
    near, log_q = narrow_proposal(case, g, half, beta)
    theta = np.concatenate([near, case.prior_transform(g.random((half, case.dimension)))])
    return theta, np.logaddexp(log_q(theta), case.log_prior(theta)) - math.log(2)


def log_weights(case: Case, theta: np.ndarray, log_q: np.ndarray, beta: float) -> np.ndarray:
    log_prior = np.asarray(case.log_prior(theta))
    inside = np.isfinite(log_prior)
    log_w = np.full(len(theta), -np.inf)
    log_w[inside] = (log_prior[inside] + beta * np.asarray(case.log_likelihood(theta[inside]))
                     - log_q[inside])
    return log_w


def inside(found: float, exact: float, error: float, name: str) -> None:
    assert abs(found - exact) < 4.5 * error + 1e-9, f"{name}: {found} against {exact} +- {error}"


@pytest.mark.parametrize("name", cases.BUILDERS)
def test_exact_answers_by_importance_sampling(name: str) -> None:
    case = cases.named(name)
    assert case.name == name
    g = np.random.default_rng([len(name), *name.encode()])
    theta, log_q = proposal(case, g)
    log_w = log_weights(case, theta, log_q, 1.0)
    top = log_w.max()
    w = np.exp(log_w - top)
    share = w / w.sum()
    size = 1 / np.sum(share**2)
    assert size > 200
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
    if case.modes:
        assert math.fsum(mode.weight for mode in case.modes) == pytest.approx(1.0, abs=1e-14)
        assert np.mean([mode.contains(theta) for mode in case.modes]) * len(case.modes) \
            == pytest.approx(1.0, abs=1e-12)
    if case.quantile is not None:
        for p in (0.05, 0.5, 0.95):
            for i, limit in enumerate(case.quantile(p)):
                moment((theta[:, i] <= limit).astype(float), p, f"quantile {p} of {i}")


@pytest.mark.parametrize("beta", [0.3, 0.01])
@pytest.mark.parametrize("name", cases.BUILDERS)
def test_tempered_evidence_by_importance_sampling(name: str, beta: float) -> None:
    """Also where the walls of the prior matter, and not only at beta = 1."""
    case = cases.named(name)
    g = np.random.default_rng([len(name), *name.encode(), 2])
    theta, log_q = proposal(case, g, beta)
    log_w = log_weights(case, theta, log_q, beta)
    w = np.exp(log_w - log_w.max())
    assert w.sum() ** 2 / np.sum(w**2) > 200
    inside(log_w.max() + math.log(w.mean()), case.log_evidence_at(beta),
           w.std() / w.mean() / math.sqrt(DRAWS), f"ln Z({beta})")


@pytest.mark.parametrize("name", cases.BUILDERS)
def test_tempered_evidence_is_one_smooth_curve(name: str) -> None:
    """From the prior to the posterior: ln Z(0) = 0, convex, and it starts with the prior's mean of
    the log likelihood (20,000 prior draws, 4.5 standard errors)."""
    case = cases.named(name)
    log_l = np.asarray(case.log_likelihood(case.prior_samples(20_000, seed=4)))
    small = 1e-4 / float(np.abs(log_l).max())
    betas = np.array([0.0, small, 1e-4, 0.01, 0.1, 0.5, 0.999, 1.0, 1.001, 2.0])
    found = case.log_evidence_at(betas)
    assert found.shape == betas.shape
    assert found[0] == 0.0 and found[7] == case.log_evidence
    slopes = np.diff(found) / np.diff(betas)
    assert np.all(np.diff(slopes) >= -1e-6 * np.abs(slopes[1:]))
    if np.isfinite(log_l).all() and name not in ("poisson_gamma", "funnel", "unknown_noise"):
        # The three have no finite variance of U, or hardly one, under the prior.
        inside(slopes[0], float(log_l.mean()), float(log_l.std()) / math.sqrt(20_000), "<ln L>")
    with pytest.raises(DomainError, match="beta"):
        case.log_evidence_at(-0.1)


def test_a_wrong_evidence_is_caught_by_the_same_test() -> None:
    """Broken twin: 3 % off in Z."""
    case = cases.straight_line()
    theta, log_q = proposal(case, np.random.default_rng(1))
    w = np.exp(log_weights(case, theta, log_q, 1.0) - case.log_evidence)
    error = w.std() / w.mean() / math.sqrt(DRAWS)
    assert abs(math.log(w.mean())) < 4.5 * error < 0.03


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
    assert len({cases.named(name).formulas for name in cases.BUILDERS}) >= 30
    with pytest.raises(DomainError, match="straight_line"):
        cases.named("no such case")
    with pytest.raises(DomainError, match="'bumps', 'waves'"):
        cases.select("line,bumps,waves")
    with pytest.raises(DomainError, match="nothing"):
        cases.select(" , ")
    assert cases.select("all") == tuple(cases.BUILDERS)


@pytest.mark.parametrize("name", cases.BUILDERS)
def test_formulas_and_data_are_the_whole_likelihood(name: str) -> None:
    """The likelihood again, from sympy's formulas, the data sets and their noise laws alone."""
    import sympy as sp

    case = cases.named(name)
    symbols = [sp.Symbol(n, real=True) for n in case.names]
    theta = case.prior_samples(5, seed=1)
    columns = theta.T[..., None]
    if case.density is not None:
        assert not case.data
        density = sp.lambdify(symbols, case.formulas[0], "numpy")
        again = density(*columns)[:, 0]
        assert np.all(again <= case.bound + 1e-12)
        again_at_mode = case.log_likelihood(np.array(case.mean))
        assert again_at_mode <= case.bound + 1e-12
    else:
        again = np.zeros(5)
        for one, formula in zip(case.data, case.formulas, strict=True):
            assert formula == one.formula
            curve = sp.lambdify([sp.Symbol("x", real=True), *symbols], formula, "numpy")
            mu = curve(one.x, *columns) + 0 * one.x
            if one.noise == "poisson":
                again += stats.poisson(mu).logpmf(one.y).sum(axis=1)
            else:
                sd = columns[case.names.index(one.noise)] if isinstance(one.noise, str) \
                    else one.noise
                again += stats.norm(mu, sd).logpdf(one.y).sum(axis=1)
    assert again == pytest.approx(case.log_likelihood(theta), rel=1e-9)


def test_two_data_sets_are_two() -> None:
    first, second = cases.shared_slope().data
    assert (len(first.x), len(second.x), first.noise, second.noise) == (9, 12, 0.1, 0.4)
    assert first.formula != second.formula
    assert {"slope"} == ({s.name for s in first.formula.free_symbols}
                         & {s.name for s in second.formula.free_symbols}) - {"x"}


def test_the_peak_of_the_cases_is_the_peak_of_the_sampler() -> None:
    """Typed twice, proven equal by sympy: width is the full width at half maximum there."""
    import sympy as sp

    from sampler import shapes

    height, center, sd, width, x = sp.symbols("height center sd width x", real=True)
    fwhm = 2 * sp.sqrt(2 * sp.log(2)) * sd
    theirs = shapes.gaussian.expression.subs(width, fwhm)
    ours = cases.one_peak().formulas[0]
    assert sp.simplify(theirs - ours) == 0
    assert sp.simplify(theirs.subs(sd, 2 * sd) - ours) != 0         # broken twin
    decay = shapes.exponential.expression.subs(
        dict(zip(sp.symbols("amplitude rate", real=True), sp.symbols("A r", real=True),
                 strict=True)))
    assert sp.simplify(decay - cases.relaxation().formulas[0]) == 0
    assert height in ours.free_symbols and {center, x} <= theirs.free_symbols


def test_the_condition_number_is_the_one_stated() -> None:
    covariance = cases.correlated_normal().covariance
    assert 7.5e3 < np.linalg.cond(covariance) < 8.5e3


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


@pytest.mark.long
def test_weights_that_go_with_the_answer() -> None:
    """An honest importance sampler whose draws lie to one side: 200 runs of 8000 draws, z rms of
    every share within 4 / sqrt(400) of one; Kish's number would call its errors wrong."""
    case, g = cases.straight_line(), np.random.default_rng(12)
    sd = np.sqrt(np.diag(case.covariance))
    law = stats.multivariate_normal(case.mean + sd, 1.5 * case.covariance)
    runs, kish = [], []
    for _ in range(200):
        theta = law.rvs(8000, random_state=g)
        w = np.exp(np.asarray(case.log_posterior(theta)) - law.logpdf(theta) - case.log_evidence)
        runs.append(judge(case, "aside", samples=theta, weights=w))
        kish.append(judge(case, "aside", samples=theta, weights=w,
                          n_effective=w.sum() ** 2 / (w @ w)))
    for quantity in ("a below 5%", "a below 50%", "b below 95%", "mean of a"):
        assert abs(judge_many(runs)[quantity].score_sd - 1.0) < 4 / math.sqrt(400)
    assert any(record.words == "error too small" for record in judge_many(kish).records)


def test_weights_are_used() -> None:
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


def honest_runs(case: Case, seeds: int, seed: int) -> list[Any]:
    """Independent draws of a normal posterior, and an evidence with the error it claims."""
    g = np.random.default_rng(seed)
    return [judge(case, "honest", samples=g.multivariate_normal(case.mean, case.covariance, 1000),
                  n_effective=1000, log_evidence=case.log_evidence + 0.1 * g.normal(),
                  log_evidence_error=0.1) for _ in range(seeds)]


@pytest.mark.slow
def test_an_honest_sampler_is_seldom_accused() -> None:
    """300 judgements of 20 honest runs each, 11 numbers: at most 1 % are promised to be accused
    (expected 3 or fewer; more than 9 has probability 0.1 %)."""
    case = cases.straight_line()
    accused = sum("nothing found" not in judge_many(honest_runs(case, 20, seed)).verdict
                  for seed in range(300))
    assert accused <= 9


def test_levels_and_p_values_are_those_of_student_and_chi_square() -> None:
    """Against scipy.stats, and Bonferroni's level counted by hand: 2 questions of 10 numbers."""
    case = cases.straight_line()
    runs = honest_runs(case, 20, 3)
    judgement = judge_many(runs, false_alarm=0.05)
    assert len(judgement.records) == 11
    for record in judgement.records:
        lines = [run[record.quantity] for run in runs]
        gap = np.array([line.found - line.exact for line in lines])  # type: ignore[operator]
        total = np.sum((gap / [line.error for line in lines]) ** 2)
        tail = stats.chi2(20).sf(total)
        assert record.level == pytest.approx(0.05 / 22, rel=1e-12)
        assert record.bias_p == pytest.approx(stats.ttest_1samp(gap, 0.0).pvalue, rel=1e-9)
        assert record.calibration == pytest.approx(2 * min(tail, 1 - tail), rel=1e-9)


def test_the_error_of_a_spread_is_that_of_its_fourth_moment() -> None:
    """Uniform draws: over 400 runs the claimed error of the sd is its scatter, to 15 % (4 standard
    errors, false alarm 6e-5); the formula for normal draws is off by 58 %."""
    case, g = cases.poisson_gamma(), np.random.default_rng(8)
    sd = math.sqrt(float(case.covariance[0, 0]))
    lines = [judge(case, "flat", samples=case.mean + math.sqrt(3.0) * sd * g.uniform(
        -1, 1, (1000, 1)), n_effective=1000)["sd of rate"] for _ in range(400)]
    scatter = np.std([line.found for line in lines])
    assert abs(np.mean([line.error for line in lines]) / scatter - 1.0) < 0.15
    assert abs(sd / math.sqrt(2000.0) / scatter - 1.0) > 0.4


def test_errors_that_rest_on_few_draws_are_not_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 judgements of 20 honest runs of 30 draws each: at most 1 % are promised to be accused
    (more than 5 has probability 6e-4); where everything is scored, the twin, it is far more."""
    case = cases.poisson_gamma()

    def accused(repeats: int) -> int:
        wrong = 0
        for seed in range(repeats):
            g = np.random.default_rng(seed)
            runs = [judge(case, "few", samples=g.gamma(42.0, 1 / 8.5, (30, 1)), n_effective=30)
                    for _ in range(20)]
            wrong += "nothing found" not in judge_many(runs).verdict
        return wrong

    assert accused(100) <= 5
    draws = np.random.default_rng(1).gamma(42.0, 1 / 8.5, (30, 1))
    verdict = judge(case, "few", samples=draws, n_effective=30)
    assert verdict["sd of rate"].z is None and "too few" in str(verdict["sd of rate"])
    # A claim of more independent draws than there are is scored, and caught.
    g = np.random.default_rng(2)
    bold = [judge(case, "bold", samples=g.gamma(42.0, 1 / 8.5, (30, 1)), n_effective=3000)
            for _ in range(20)]
    assert judge_many(bold)["mean of rate"].words == "error too small"
    monkeypatch.setattr(judging, "FEWEST", 0)
    assert accused(100) > 8


@pytest.mark.parametrize("runs", [2, 5, 20])
def test_the_power_that_is_said_is_there(runs: int) -> None:
    """300 judgements of error bars too small by the factor that is named: 90 % are found, within 4
    standard errors (false alarm 6e-5)."""
    case, g, found = cases.poisson_gamma(), np.random.default_rng(runs), 0
    factor = 1.0
    for _ in range(301):
        judgement = judge_many(judge(
            case, "some", log_evidence=case.log_evidence + factor * g.normal(),
            log_evidence_error=1.0) for _ in range(runs))
        found += factor > 1.0 and judgement["log evidence"].words == "error too small"
        sentence = judgement.power
        factor = float(sentence.split("factor ")[1].split()[0])
    assert abs(found / 300 - 0.9) < 4 * math.sqrt(0.09 / 300)
    assert sentence.startswith(f"{runs} runs")


def test_what_was_not_asked_for_is_named() -> None:
    verdict = judge(cases.poisson_gamma(), "none", log_evidence=1.0, log_evidence_error=1.0)
    for table in (verdict, judge_many(v for v in (verdict, verdict))):
        with pytest.raises(DomainError, match="log evidence"):
            table["typo"]


def test_a_constant_wrong_answer_is_caught_without_any_error_bar() -> None:
    case = cases.two_modes()
    left = np.array([-3.0, 1.0]) + 0.5 * np.random.default_rng(5).normal(size=(20, 500, 2))
    judgement = judge_many([judge(case, "lost", samples=draws) for draws in left])
    assert judgement["weight of right"].bias_p == 0.0
    assert "bias -0.2" in judgement["weight of right"].faults[0]
    assert "more numbers wrong" in judgement.verdict
    exact = [judge(case, "closed form", log_evidence=case.log_evidence) for _ in range(3)]
    assert "nothing found" in judge_many(exact).verdict


def test_an_error_bar_that_is_too_large_is_a_fault_of_the_evidence_only() -> None:
    """n_effective is one number for quantities that are not equally slow."""
    case, g = cases.straight_line(), np.random.default_rng(12)
    runs = [judge(case, "shy", samples=g.multivariate_normal(case.mean, case.covariance, 4000),
                  n_effective=100, log_evidence=case.log_evidence + 0.01 * g.normal(),
                  log_evidence_error=0.1) for _ in range(20)]
    judgement = judge_many(runs)
    assert judgement["mean of a"].words == judgement["log evidence"].words == "error too large"
    assert "log evidence: error too large" in judgement.verdict
    assert "mean of a" not in judgement.verdict


def test_effective_draws_may_differ_from_parameter_to_parameter() -> None:
    case = cases.straight_line()
    verdict = judge(case, "x", samples=exact_draws(case, 1000, 2), n_effective=[1000, 250])
    sd = np.sqrt(np.diag(case.covariance))
    assert verdict["mean of a"].error == pytest.approx(sd[0] / 1000**0.5)
    assert verdict["mean of b"].error == pytest.approx(sd[1] / 250**0.5)
    assert verdict["b below 50%"].error == pytest.approx(0.5 / 250**0.5)


def test_bias_is_caught_even_where_errors_are_large() -> None:
    case, g = cases.poisson_gamma(), np.random.default_rng(7)
    runs = [judge(case, "some", log_evidence=case.log_evidence + 0.2 + 0.1 * g.normal(),
                  log_evidence_error=0.3) for _ in range(40)]
    assert "log evidence: bias +0." in judge_many(runs).verdict


@pytest.mark.parametrize(("make", "field"), [
    (lambda c: judge(c, "x", samples=np.zeros((5, 3))), "samples"),
    (lambda c: judge(c, "x", samples=np.full((5, 2), np.nan)), "samples"),
    (lambda c: judge(c, "x", samples=np.zeros((5, 2)), weights=[1, 1]), "weights"),
    (lambda c: judge(c, "x", samples=np.zeros((5, 2)), weights=[-1, 1, 1, 1, 1]), "weights"),
    (lambda c: judge(c, "x", samples=np.zeros((5, 2)), n_effective=0), "n_effective"),
    (lambda c: judge(c, "x", samples=np.zeros((5, 2)), n_effective=[1, 2, 3]), "n_effective"),
    (lambda c: judge(c, "x", weights=[1, 1]), "samples"),
    (lambda c: judge(c, "x", n_effective=3), "samples"),
    (lambda c: judge(c, "x", log_evidence_error=0.1), "log_evidence: received only its error"),
    (lambda c: judge_many([judge(c, "x")] * 2, false_alarm=0), "false_alarm"),
    (lambda c: judge(c, "x", log_evidence=math.nan), "log_evidence"),
    (lambda c: judge(c, "x", log_evidence=1, log_evidence_error=-1), "log_evidence_error"),
    (lambda c: judge_many([judge(c, "x")]), "verdicts"),
    (lambda c: judge_many([judge(c, "x"), judge(c, "y")]), "verdicts"),
    (lambda _: cases.polynomial(9), "degree")])
def test_bad_answers_are_refused(make: Any, field: str) -> None:
    with pytest.raises(DomainError, match=field):
        make(cases.straight_line())


def test_an_error_of_0_claims_to_be_exact() -> None:
    """Exact but for rounding: nothing to score; off by 1e-6: accused, in one run and in many."""
    case = cases.straight_line()

    def runs(off: float) -> list[Verdict]:
        return [judge(case, "sure", log_evidence=case.log_evidence + off * seed,
                      log_evidence_error=0.0) for seed in (-1, 1, 2, -2)]

    right, wrong = runs(1e-15), runs(1e-6)
    assert "claimed to be exact, and is: not scored" in str(right[0])
    assert judge_many(right)["log evidence"].words == "claimed to be exact, and is"
    assert [v["log evidence"].z for v in wrong] == [-math.inf, math.inf, math.inf, -math.inf]
    assert judge_many(wrong).verdict.endswith("log evidence: error too small (z rms over 1000)")
    assert json.loads(wrong[0].to_json())["lines"][0]["z"] is None


def test_what_is_not_scored_says_why() -> None:
    """A thin run among many is not one without an error; a sampler that gives nothing is not
    acquitted; logarithms are not weights; one verdict is not many."""
    case, g = cases.straight_line(), np.random.default_rng(3)
    runs = [judge(case, "thin", samples=case.prior_samples(n, seed=n), n_effective=float(n))
            for n in (400, 10)]
    assert judge_many(runs)["sd of a"].words == "too few effective draws"
    empty = [judge(case, "mute") for _ in range(2)]
    assert judge_many(empty).verdict.endswith("it gives nothing that could be judged")
    theta = g.normal(size=(5, 2))
    for weights, words in (([-1.0] * 5, "weights[0]: received -1, expected a number >= 0; of log"),
                           ([0.0] * 5, "weights: received nothing but zeros"),
                           ([1.0] * 4, "weights: received 4 numbers, expected 5, one for each")):
        with pytest.raises(DomainError, match=re.escape(words)):
            judge(case, "w", samples=theta, weights=weights)
    with pytest.raises(DomainError, match="received one Verdict, expected a list of them"):
        judge_many(runs[0])     # type: ignore[arg-type]


def test_a_line_without_an_error_has_no_score() -> None:
    assert Line("q", 1.0, 2.0).z is None
    assert Line("q", 1.0, 2.0, 0.5).z == 2.0
