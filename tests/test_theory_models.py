"""Unknown noise, the law of a choice, several data sets, criteria, singular models: every closed
form against its reference value and by a second route.

Simulations fix their seeds, state their draws, and each has a broken twin.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy import integrate, optimize, stats

from theory import box, choice, criteria, evidence, joint, noise, quadratic, singular, targets
from theory.box import BoxLine
from theory.choice import Question
from theory.errors import DomainError, ValidityWarning
from theory.evidence import LinearRegression

X = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
Y = np.array([0.3, 1.1, 2.4, 2.7, 4.5, 6.2])
R5 = (np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), np.array([-1.9, -0.8, 0.4, 0.9, 2.3]))
T4 = (np.array([-1.0, 0.0, 1.0, 3.0]), np.array([-0.7, 0.1, 1.4, 3.0]))
TEN_DIGITS = {"rel": 0, "abs": 6e-11}


def design(x: Any) -> np.ndarray:
    return np.stack([x, np.ones(len(x))], axis=1)


LINE = design(X)

# --- unknown noise ------------------------------------------------------------------------------


@pytest.mark.long
def test_conjugate_noise_by_quadrature_over_the_variance() -> None:
    """F, and the mean and covariance of theta, as an integral over ln v of known-noise answers."""
    found = noise.normal_inverse_gamma(LINE, Y, 3.0, 1.0, 0.0, [4.0, 1.0])
    assert found.free_energy == pytest.approx(6.5429739530, **TEN_DIGITS)
    assert (found.shape, found.rate) == (6.0, pytest.approx(1.3414199760, abs=1e-10))
    t = np.linspace(math.log(1e-3), math.log(1e3), 1001)
    v = np.exp(t)
    known = [LinearRegression(LINE, Y, math.sqrt(s2), 0.0, np.array([4.0, 1.0]) * s2) for s2 in v]
    F = np.array([evidence.free_energy(p) for p in known])
    weight = np.exp(-F + stats.invgamma(3.0, scale=1.0).logpdf(v) + t)
    assert -math.log(np.trapezoid(weight, t)) == pytest.approx(found.free_energy, abs=1e-11)
    p = weight / weight.sum()
    moments = [evidence.posterior(problem) for problem in known]
    mean = sum(w * m for w, (m, _) in zip(p, moments, strict=True))
    second = sum(w * (C + np.outer(m, m)) for w, (m, C) in zip(p, moments, strict=True))
    assert mean == pytest.approx(found.mean, rel=1e-9)
    assert second - np.outer(mean, mean) == pytest.approx(
        found.scale * found.freedom / (found.freedom - 2), rel=1e-8)
    assert float(p @ v) == pytest.approx(found.rate / (found.shape - 1), rel=1e-8)


def test_the_integral_over_the_variance_is_sympys() -> None:
    steps = noise.derivation()
    at = {"alpha": 3, "gamma": 1, "N": 6, "Q": sp.Rational(7, 10), "D": 5}
    values = {s: at[s.name] for s in steps.partition.free_symbols}
    v = next(s for s in steps.integrand.free_symbols if s.name == "v")
    density = sp.lambdify(v, steps.integrand.subs(values), "numpy")
    total = integrate.quad(lambda u: density(math.exp(u)) * math.exp(u), -12, 12, epsabs=0)[0]
    assert float(steps.partition.subs(values)) == pytest.approx(total, rel=1e-9)
    assert float(steps.free_energy.subs(values)) == pytest.approx(-math.log(total), rel=1e-9)


@pytest.mark.parametrize(("K", "variance", "F", "F_log"), [
    (1, 0.0969696970, 6.3518604314, 8.4836963054), (2, 0.1, 9.5328697052, 11.5449560008)])
def test_wide_box_noise(K: int, variance: float, F: float, F_log: float) -> None:
    problem = noise.wide_box(LINE[:, :K], Y, 20.0**K)
    assert noise.empirical_bayes(problem) == pytest.approx((variance, F), **TEN_DIGITS)
    least = optimize.minimize_scalar(lambda u: float(noise.free_energy(problem, math.exp(u))),
                                     bracket=(-4, -2, 0), options={"xtol": 1e-10})
    assert math.exp(least.x) == pytest.approx(variance, rel=1e-6)
    assert noise.log_uniform(problem, 1e-3, 1e3) == pytest.approx(F_log, **TEN_DIGITS)
    t = np.linspace(math.log(1e-3), math.log(1e3), 20_001)
    # At the largest of these variances the walls would count, and that is said.
    with pytest.warns(ValidityWarning, match=r"^free_energy: at a noise variance of 1e\+03"):
        weight = np.exp(-noise.free_energy(problem, np.exp(t))) / math.log(1e6)
    assert -math.log(np.trapezoid(weight, t)) == pytest.approx(F_log, abs=2e-9)
    # The wide box at a known noise is the limit of the walls that are far.
    known = BoxLine(X, Y, 0.5, (-10, 10), (-10, 10) if K == 2 else None)
    assert noise.free_energy(problem, 0.25) == pytest.approx(box.free_energy(known), rel=1e-12)
    far = noise.log_uniform(problem, 1e-40, 1e-5)               # all of it in one tail
    t = math.log(1e-5) - np.linspace(0.003, 0.0, 400_001)      # within 70 decay lengths
    log_w = -noise.free_energy(problem, np.exp(t))
    total = log_w.max() + math.log(np.trapezoid(np.exp(log_w - log_w.max()), t))
    assert far == pytest.approx(-total + math.log(math.log(1e35)), rel=1e-8)


def test_a_real_box_at_large_noise_is_not_the_wide_one() -> None:
    """The trap of the log-uniform formula: at v = 1000 the posterior is wider than the box."""
    t = np.linspace(math.log(1e-3), math.log(1e3), 801)
    real = np.array([box.free_energy(BoxLine(X, Y, math.exp(u / 2), (-10, 10), (-10, 10)))
                     for u in t])
    walled = -math.log(np.trapezoid(np.exp(-real), t) / math.log(1e6))
    wide = noise.log_uniform(noise.wide_box(LINE, Y, 400.0), 1e-3, 1e3)
    assert walled == pytest.approx(wide, abs=1e-3)              # where the data decide: the same
    with pytest.warns(ValidityWarning, match=r"^free_energy: .* theory.box has its walls"):
        without = float(noise.free_energy(noise.wide_box(LINE, Y, 400.0), 1e3))
    assert abs(real[-1] - without) > 1.0
    # A box whose volume is eight posterior standard deviations for each parameter at that variance.
    narrow = noise.wide_box(LINE, Y, 64 / math.sqrt(np.linalg.det(LINE.T @ LINE)))
    assert narrow.largest_variance == pytest.approx(1.0, rel=1e-12)
    with pytest.warns(ValidityWarning, match="^empirical_bayes: at a noise variance of 0.1 "):
        noise.empirical_bayes(noise.wide_box(LINE, Y, 0.4))


def test_law_of_the_noise_estimate() -> None:
    """20,000 data sets, Kolmogorov-Smirnov p > 1e-3; RSS/N in place of RSS/(N - K) is caught."""
    g = np.random.default_rng(1)
    residual = np.eye(6) - LINE @ np.linalg.pinv(LINE)
    rss = np.sum((g.normal(size=(20_000, 6)) @ residual) ** 2, axis=1)
    law = stats.chi2(4, scale=1 / 4)
    assert stats.kstest(rss / 4, law.cdf).pvalue > 1e-3
    assert stats.kstest(rss / 6, law.cdf).pvalue < 1e-3
    p = [0.025, 0.3, 0.975]
    for excess in (3, 98):
        assert noise.estimate_quantile(p, excess) == pytest.approx(
            stats.chi2(excess, scale=1 / excess).ppf(p), rel=1e-10)
    assert noise.estimate_quantile([0.025, 0.975], 98) == pytest.approx(
        [0.7398055051, 1.2987966568], **TEN_DIGITS)


# --- several data sets --------------------------------------------------------------------------

SETS = [(*R5, 0.5), (X, Y, math.sqrt(0.5)), (*T4, math.sqrt(0.4))]
ESTIMATES = [joint.estimate(design(x), y, s) for x, y, s in SETS]


def flat_evidence(A: np.ndarray, b: np.ndarray) -> float:
    """-ln of the integral of exp(-|b - A theta|^2 / 2) over all theta: one determinant."""
    theta = np.linalg.lstsq(A, b, rcond=None)[0]
    return 0.5 * float(np.sum((b - A @ theta) ** 2)) + 0.5 * np.linalg.slogdet(
        A.T @ A / (2 * np.pi))[1]


def test_integration_of_two_and_three_sets() -> None:
    """Against the direct difference: one big regression minus the single ones."""
    parts = [(design(x) / s, y / s) for x, y, s in SETS]
    for M, wanted in ((2, -6.4549582880), (3, -13.0545801195)):
        found = joint.difference(ESTIMATES[:M], 400.0)
        assert found == pytest.approx(wanted, **TEN_DIGITS)
        whole = flat_evidence(np.concatenate([A for A, _ in parts[:M]]),
                              np.concatenate([b for _, b in parts[:M]]))
        direct = whole - sum(flat_evidence(A, b) for A, b in parts[:M]) - (M - 1) * math.log(400.0)
        assert found == pytest.approx(direct, rel=1e-11)
    assert joint.difference([ESTIMATES[0], ESTIMATES[0]], 400.0) < 0
    apart = [ESTIMATES[0], joint.Estimate(ESTIMATES[1].value + 3.0, ESTIMATES[1].covariance)]
    assert joint.difference(apart, 400.0) > 0


def test_integration_of_a_part() -> None:
    """The slope shared, each set with its own offset: a three-parameter regression."""
    found = joint.difference(ESTIMATES[:2], 20.0, [0])
    assert found == pytest.approx(-3.6106369401, **TEN_DIGITS)
    (x1, y1, s1), (x2, y2, s2) = SETS[:2]
    A = np.zeros((11, 3))
    A[:5, 0], A[5:, 0], A[:5, 1], A[5:, 2] = x1 / s1, x2 / s2, 1 / s1, 1 / s2
    whole = flat_evidence(A, np.concatenate([y1 / s1, y2 / s2]))
    single = sum(flat_evidence(design(x) / s, y / s) for x, y, s in SETS[:2])
    assert found == pytest.approx(whole - single - math.log(20.0), rel=1e-11)


def test_integration_with_real_walls() -> None:
    """Equal noise: `theory.box` on the concatenated data, half widths 10, with walls."""
    (x1, y1, _), (x2, y2, _) = SETS[:2]
    boxes = ((-10, 10), (-10, 10))
    F = [box.free_energy(BoxLine(x, y, 0.5, *boxes)) for x, y in (
        (np.concatenate([x1, x2]), np.concatenate([y1, y2])), (x1, y1), (x2, y2))]
    pair = [joint.estimate(design(x), y, 0.5) for x, y in ((x1, y1), (x2, y2))]
    assert joint.difference(pair, 400.0) == pytest.approx(F[0] - F[1] - F[2], rel=1e-10)


def test_integration_under_a_gaussian_prior() -> None:
    problems = [LinearRegression(design(x), y, s, 0.0, [4.0, 1.0]) for x, y, s in SETS[:2]]
    found = joint.gaussian_difference(problems)
    assert found == pytest.approx(-3.2530993830, **TEN_DIGITS)
    S0 = np.diag([4.0, 1.0])
    L = [np.linalg.inv(S0) + np.linalg.inv(e.covariance) for e in ESTIMATES[:2]]
    m = [np.linalg.solve(Lam, np.linalg.solve(e.covariance, e.value))
         for Lam, e in zip(L, ESTIMATES, strict=False)]
    L.append(L[0] + L[1] - np.linalg.inv(S0))
    m.append(np.linalg.solve(L[2], L[0] @ m[0] + L[1] @ m[1]))
    g = [0.5 * np.linalg.slogdet(Lam)[1] - 0.5 * v @ Lam @ v for Lam, v in zip(L, m, strict=True)]
    assert found == pytest.approx(g[2] - g[0] - g[1] - 0.5 * math.log(4.0), rel=1e-10)


@pytest.mark.parametrize(("N", "gap", "p"), [(5, 0.0, 0.9911142341), (5, 1.0, 0.9538958002),
                                             (100, 0.0, 0.9994612747), (100, 0.5, 0.9495592131)])
def test_probability_of_integration(N: int, gap: float, p: float) -> None:
    """100,000 pairs of estimates, 4 standard errors; doubling one variance is caught."""
    x = np.linspace(-1, 1, N)
    C = np.diag([1 / (x @ x), 1 / N])
    assert joint.probability_of_integration(C, C, [gap, 0.0], 400.0) == pytest.approx(
        p, **TEN_DIGITS)
    D = np.random.default_rng(N).multivariate_normal([gap, 0.0], 2 * C, 100_000)
    F = (0.5 * np.einsum("ni,ij,nj->n", D, np.linalg.inv(2 * C), D)
         + 0.5 * np.linalg.slogdet(4 * np.pi * C)[1] - math.log(400.0))
    error = math.sqrt(p * (1 - p) / 1e5)
    assert abs(np.mean(F < 0) - p) < 4 * error
    if gap:
        twin = joint.probability_of_integration(C, 3 * C, [gap, 0.0], 400.0)
        assert abs(np.mean(F < 0) - twin) > 4 * error
    both = joint.integrated([joint.Estimate(np.array([1.0]), np.array([[1.0]])),
                             joint.Estimate(np.array([4.0]), np.array([[0.5]]))])
    assert (both.value[0], both.covariance[0, 0]) == pytest.approx((3.0, 1 / 3), rel=1e-14)


# --- criteria -----------------------------------------------------------------------------------

TABLE = {
    "one": ((2.3244450856, 3.3244450856, 3.2203248202, 0.4289164371, 3.0798226782, 3.1240631519),
            X[:, None], None),
    "two": ((2.1547481159, 4.1547481159, 3.9465075851, 0.7388571429, 3.6018634355, 3.6976999514),
            LINE, None)}


@pytest.mark.parametrize("name", TABLE)
def test_criteria_reference_values(name: str) -> None:
    wanted, A, prior = TABLE[name]
    found = criteria.criteria(A, Y, 0.5, 0.0, prior)
    assert (-found.log_likelihood, found.aic, found.bic, found.p_waic, found.waic,
            found.loo) == pytest.approx(wanted, **TEN_DIGITS)
    assert found.wbic == pytest.approx(found.bic, rel=1e-13)
    assert found.p_dic == pytest.approx(A.shape[1], rel=1e-12)


@pytest.mark.parametrize("prior", [None, [4.0, 1.0]])
def test_criteria_by_definition(prior: Any) -> None:
    """Leave-one-out by refitting without each point; WAIC by quadrature over the posterior."""
    found = criteria.criteria(LINE, Y, 0.5, 0.0, prior)
    if prior:
        assert (found.waic, found.loo, found.wbic) == pytest.approx(
            (3.5190972058, 3.6020773280, 3.7897876745), **TEN_DIGITS)
    S0 = np.diag(prior or [1e7, 1e7])

    def predictive(i: int) -> float:
        keep = np.arange(6) != i
        mean, C = evidence.posterior(LinearRegression(LINE[keep], Y[keep], 0.5, 0.0, S0))
        spread = math.sqrt(0.25 + LINE[i] @ C @ LINE[i])
        return float(stats.norm(LINE[i] @ mean, spread).logpdf(Y[i]))

    assert found.loo == pytest.approx(-sum(predictive(i) for i in range(6)),
                                      rel=1e-11 if prior else 1e-6)
    mean, C = evidence.posterior(LinearRegression(LINE, Y, 0.5, 0.0, S0))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    waic = 0.0
    for i in range(6):
        log_p = stats.norm(LINE[i] @ mean + math.sqrt(LINE[i] @ C @ LINE[i]) * nodes,
                           0.5).logpdf(Y[i])
        w = weights / weights.sum()
        waic += -math.log(w @ np.exp(log_p)) + w @ log_p**2 - (w @ log_p) ** 2
    assert found.waic == pytest.approx(waic, rel=1e-10 if prior else 1e-6)


def test_expected_criteria_by_simulation() -> None:
    """200,000 data sets of a right model: 4 standard errors; AIC's penalty in place of WAIC's
    is caught."""
    bias = criteria.expected(LINE)
    assert (bias.generalisation, bias.waic, bias.loo) == pytest.approx(
        (0.8399836542, 0.9876984663, 1.3376842587), **TEN_DIGITS)
    Q, _ = np.linalg.qr(LINE)
    h, n = np.sum(Q**2, axis=1), np.random.default_rng(8).normal(size=(200_000, 6))
    fit = n @ Q @ Q.T
    r = n - fit
    entropy = 3.0 * (1 + math.log(2 * math.pi))
    constant = 3.0 * math.log(2 * math.pi)
    lppd = -constant - 0.5 * (np.log1p(h) + r**2 / (1 + h)).sum(axis=1)
    waic = -lppd + (r**2 * h + h**2 / 2).sum(axis=1)
    loo = constant + 0.5 * (-np.log1p(-h) + r**2 / (1 - h)).sum(axis=1)
    loss = constant + 0.5 * (np.log1p(h) + (1 + fit**2) / (1 + h)).sum(axis=1)
    for values, wanted, twin in ((waic, bias.waic, 1.0 + 0.1), (loo, bias.loo, bias.waic),
                                 (loss, bias.generalisation, 1.0)):
        error = values.std() / math.sqrt(200_000)
        assert abs(values.mean() - entropy - wanted) < 4 * error
        assert abs(values.mean() - entropy - twin) > 4 * error
    aic = constant + 0.5 * (r**2).sum(axis=1) + 2 - entropy
    assert abs(aic.mean() - bias.aic) < 4 * aic.std() / math.sqrt(200_000)


def test_importance_weights_have_the_leverage_as_tail_index() -> None:
    """The weight 1/p(y_i | theta) grows like exp(f^2 / 2 s^2) against a normal f of variance
    h s^2: P(weight > w) falls like w^(-1/h).  Slope of the exact tail, from 1e6 to 1e9."""
    h = criteria.criteria(LINE, Y, 0.5).pareto
    assert h[-1] == pytest.approx(0.642857142857, rel=1e-10)
    w = np.array([1e6, 1e9])
    for value in (h[0], h[-1]):
        tail = stats.norm.logsf(np.sqrt(2 * np.log(w) / value))
        slope = np.diff(tail) / np.diff(np.log(w))
        assert -1 / slope[0] == pytest.approx(value, rel=0.03)


# --- singular models ----------------------------------------------------------------------------


@pytest.mark.parametrize("c", [0.0, 0.3, 40.0, 1000.0, 1e6])
def test_product_partition_by_quadrature(c: float) -> None:
    """Density -ln t of |ab|, ln^2 t / 2 of |abc|; energy and heat capacity by their integrals."""
    densities = {1: lambda t: 1.0, 2: lambda t: -math.log(t), 3: lambda t: math.log(t) ** 2 / 2}
    for factors, p in densities.items():
        bends = (min(1.0, k / math.sqrt(c or 1.0)) for k in (0.01, 0.3, 1, 3, 9))
        cuts = sorted({0.0, 1.0, *bends})

        def moment(power: int, p: Any = p, cuts: list[float] = cuts) -> float:
            return math.fsum(integrate.quad(
                lambda t: p(t) * t ** (2 * power) * math.exp(-c * t * t) if t else 0.0, a, b,
                epsabs=0, epsrel=1e-11, limit=400)[0]
                for a, b in pairwise(cuts))

        Z, one, two = (moment(k) for k in (0, 1, 2))
        assert singular.product_partition(c, factors) == pytest.approx(Z, rel=1e-8)
        energy, heat = singular.product_energy(c, factors)
        assert energy == pytest.approx(c * one / Z, rel=1e-7, abs=1e-12)
        assert heat == pytest.approx(c**2 * two / Z - (c * one / Z) ** 2, rel=1e-6, abs=1e-12)


def test_product_asymptotics_and_reference_values() -> None:
    assert singular.product_partition(1000.0) == pytest.approx(0.1243084103, **TEN_DIGITS)
    assert singular.product_partition(1000.0, 3) == pytest.approx(0.2929804237, **TEN_DIGITS)
    assert singular.product_energy(1000.0) == pytest.approx((0.3872765084, 0.3745699229),
                                                           **TEN_DIGITS)
    leading = singular.derivation().leading
    (c,) = leading.free_symbols
    assert float(leading.subs(c, 10**6)) == pytest.approx(singular.product_partition(1e6), rel=1e-9)
    assert singular.product_energy(1e6)[0] == pytest.approx(0.4366, abs=5e-5)   # far from 1/2
    normal = integrate.quad(lambda a: stats.norm.pdf(a) / math.sqrt(1 + 2000 * a * a), -np.inf,
                            np.inf, points=None, epsabs=1e-14, limit=500)[0]
    assert singular.normal_product_partition(1000.0) == pytest.approx(0.0812157057, **TEN_DIGITS)
    assert normal == pytest.approx(0.0812157057, abs=1e-8)


def test_learning_coefficients() -> None:
    assert singular.normal_crossing([1, 2], [0, 3]) == (0.5, 1)
    assert singular.normal_crossing([1, 1, 1]) == (0.5, 3)
    quoted = {(1, 1, 1, 0): (0.5, 2), (2, 2, 1, 0): (1, 2), (2, 2, 1, 1): (1.5, 1),
              (2, 2, 2, 1): (2, 2), (2, 2, 2, 0): (1.5, 1), (3, 3, 2, 1): (3.5, 2)}
    for sizes, wanted in quoted.items():
        assert singular.reduced_rank(*sizes) == wanted
    assert [singular.tanh_network(H).multiplicity for H in (1, 2, 3, 4)] == [2, 1, 1, 2]
    assert singular.peaks_learning_coefficient(3, 3) == (4.5, 1)
    # The slope of F between c and 4c, its ln ln part taken out, for one, two and three factors.
    for m in (1, 2, 3):
        F = [-math.log(singular.product_partition(c, m)) for c in (1e10, 4e10)]
        logs = [(m - 1) * math.log(math.log(4 * c)) for c in (1e10, 4e10)]
        slope = (F[1] - F[0] + logs[1] - logs[0]) / math.log(4.0)
        assert slope == pytest.approx(0.5, abs=0.02)
        if m > 1:
            assert (F[1] - F[0]) / math.log(4.0) < 0.47      # without it the slope misleads


# --- what a sampler must show --------------------------------------------------------------------

PAIRS = 400_000


def agrees(values: np.ndarray, exact: float, twin: float) -> bool:
    """Mean of independent values within 4 standard errors of the exact one (6e-5), and not of
    the twin."""
    error = values.std() / math.sqrt(len(values))
    return abs(values.mean() - exact) < 4 * error < abs(values.mean() - twin)


@pytest.mark.parametrize(("d", "s", "A"), [(1, 2.4, 0.4422841232), (2, 1.7, 0.3523515799),
                                           (5, 1.0, 0.3143726376)])
def test_random_walk_acceptance_by_simulation(d: int, s: float, A: float) -> None:
    assert targets.random_walk_acceptance(d, s) == pytest.approx(A, **TEN_DIGITS)
    assert targets.random_walk_acceptance(d, s / 0.7, 0.49) == pytest.approx(A, **TEN_DIGITS)
    g = np.random.default_rng(d)
    x, step = g.normal(size=(2, PAIRS, d))
    ratio = np.minimum(1, np.exp(0.5 * (x**2).sum(1) - 0.5 * ((x + s * step) ** 2).sum(1)))
    assert agrees(ratio, A, float(targets.random_walk_acceptance(d, 1.05 * s)))


def test_random_walk_of_any_covariance_by_simulation() -> None:
    precision = LINE.T @ LINE / 0.25
    A = targets.random_walk_acceptance_of(precision, 0.1)
    assert A == pytest.approx(0.5381691268, **TEN_DIGITS)
    g = np.random.default_rng(2)
    x = g.multivariate_normal([0, 0], np.linalg.inv(precision), PAIRS)
    new = x + 0.1 * g.normal(size=(PAIRS, 2))
    U = [0.5 * np.einsum("ni,ij,nj->n", t, precision, t) for t in (x, new)]
    assert agrees(np.minimum(1, np.exp(U[0] - U[1])), A,
                  targets.random_walk_acceptance_of(np.diag(np.diag(precision)), 0.1))
    inside = g.random(PAIRS) * 4.0
    kept = np.abs(inside + g.normal(size=PAIRS) - 2.0) < 2.0
    assert agrees(kept.astype(float), float(targets.flat_acceptance(4.0)), 0.79)


@pytest.mark.parametrize(("d", "eps", "L", "A"), [(1, 1.0, 2, 0.9208331517),
                                                  (10, 0.8, 5, 0.8240541038)])
def test_leapfrog_acceptance_by_simulation(d: int, eps: float, L: int, A: float) -> None:
    assert targets.leapfrog_acceptance(d, eps, L) == pytest.approx(A, **TEN_DIGITS)
    g = np.random.default_rng(d)
    q, p = g.normal(size=(2, PAIRS // 4, d))
    H = 0.5 * (q**2 + p**2).sum(1)
    for _ in range(L):
        p = p - 0.5 * eps * q
        q = q + eps * p
        p = p - 0.5 * eps * q
    accept = np.minimum(1, np.exp(H - 0.5 * (q**2 + p**2).sum(1)))
    assert agrees(accept, A, targets.leapfrog_acceptance(d, eps, L + 1))


@pytest.mark.parametrize(("d", "A"), [(1, 0.8069805049), (2, 0.7152201475), (5, 0.5515478165)])
def test_stretch_acceptance_by_simulation(d: int, A: float) -> None:
    assert targets.stretch_acceptance(d) == pytest.approx(A, **TEN_DIGITS)
    g = np.random.default_rng(d)
    x, other = g.normal(size=(2, PAIRS, d))
    z = (math.sqrt(0.5) + (math.sqrt(2) - math.sqrt(0.5)) * g.random(PAIRS)) ** 2
    new = other + z[:, None] * (x - other)
    log_ratio = (d - 1) * np.log(z) + 0.5 * (x**2).sum(1) - 0.5 * (new**2).sum(1)
    accept = np.minimum(1, np.exp(np.minimum(log_ratio, 0)))
    assert agrees(accept, A, targets.stretch_acceptance(d + 1))


@pytest.mark.parametrize("d", [1, 3, 8, 40])
def test_stretch_acceptance_as_a_quadratic_form(d: int) -> None:
    """Given z, the log ratio is a constant less a quadratic form of 2d normal numbers, d of either
    eigenvalue: its law by the contour of `theory.quadratic`, to 1e-9.  One dimension: arc tangents.
    Broken twin: d of one eigenvalue, d - 1 of the other."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    total = np.zeros(2)
    ends, arcs = (math.sqrt(0.5), 1.0, math.sqrt(2.0)), 0.0
    roots = sp.lambdify("z", targets.derivation().stretch_roots)
    for low, high in pairwise(ends):
        for q, w in zip(low + 0.5 * (high - low) * (nodes + 1), weights, strict=True):
            z, share = q * q, 0.5 * (high - low) * w / (ends[2] - ends[0])
            one, two = (float(v) for v in np.ravel(roots(z)))
            limit = (d - 1) * math.log(z)
            total += [2 * share * float(quadratic.cumulative(quadratic.Quadratic(
                0.0, [one] * d + [two] * k, [0.0] * (d + k)), limit)) for k in (d, d + 1)]
            arcs += 4 * share / math.pi * math.atan(math.sqrt(-min(one, two) / max(one, two)))
    found = targets.stretch_acceptance(d)
    assert found == pytest.approx(total[0], abs=2e-9)
    assert abs(found - total[1]) > 1e-4
    if d == 1:
        assert found == pytest.approx(arcs, abs=1e-13)


def test_stretch_acceptance_of_many_dimensions() -> None:
    """The log ratio becomes normal with variance v = 3 d (z - 1)^2 and mean -v/2, accepted
    erfc(sqrt(v/8)) of the times: 4 / sqrt(3 pi d) over z, and a share of order 1/d more."""
    first = [d * (targets.stretch_acceptance(d) * math.sqrt(3 * math.pi * d) / 4 - 1)
             for d in (10_000, 1_000_000)]
    assert first[0] == pytest.approx(first[1], rel=1e-2)
    assert 0.1 < first[0] < 1.0


def test_information_and_volume_of_nested_sampling() -> None:
    line = BoxLine(*R5, 0.5, (-10, 10), (-10, 10))
    one = BoxLine(*R5, 0.5, (-10, 10))
    assert (targets.nested_information(one), targets.nested_information(line)) == pytest.approx(
        (3.4212334674, 6.4958933445), **TEN_DIGITS)
    # H by its definition, over a grid of the posterior, and X(U) by counting prior points.
    a, b = np.meshgrid(np.linspace(-1.5, 3.5, 1201), np.linspace(-3, 3.4, 1201))
    U = sum((y - a * x - b) ** 2 for x, y in zip(*R5, strict=True)) / 0.5
    p = np.exp(-U)
    p /= p.sum()
    cell = (5 / 1200) * (6.4 / 1200)
    assert float(np.sum(p * np.log(p / cell * 400))) == pytest.approx(6.4958933445, rel=1e-6)
    theta = np.random.default_rng(6).uniform(-10, 10, size=(1_000_000, 2))
    U = sum((y - theta[:, 0] * x - theta[:, 1]) ** 2 for x, y in zip(*R5, strict=True)) / 0.5
    share = float(targets.prior_volume(line, 200.0))
    assert agrees((U < 200.0).astype(float), share, float(targets.prior_volume(line, 210.0)))
    assert targets.prior_volume(line, line.minimum) == 0.0
    assert targets.prior_volume(line, []).shape == (0,)          # no energies, no volumes
    with pytest.raises(DomainError, match="inside the box"):
        targets.prior_volume(line, 1e6)
    with pytest.raises(DomainError, match=r"energy: received .* at least 0.29"):
        targets.prior_volume(line, [line.minimum - 0.1])


def test_stepping_stones_and_ladders() -> None:
    problem = LinearRegression(LINE, Y, 0.5, 0.0, [4.0, 1.0])
    found = targets.increment_variance(problem, 0.5, 0.5)
    assert found == pytest.approx(0.2909035318, **TEN_DIGITS)
    mean, covariance = evidence.posterior(problem, 0.5)
    theta = np.random.default_rng(7).multivariate_normal(mean, covariance, PAIRS)
    U = np.sum(((Y - theta @ LINE.T) / 0.5) ** 2, axis=1) / 2
    weight = np.exp(-0.5 * (U - U.min()))
    assert weight.var() / weight.mean() ** 2 == pytest.approx(found, rel=0.02)
    half = np.r_[0.0, 2.0 ** np.arange(-15, 1)]
    fine = np.r_[0.0, 1.5 ** np.arange(-30.0, 1)]
    assert targets.integration_bias(problem, fine) == pytest.approx(0.0924561316, **TEN_DIGITS)
    assert targets.integration_bias(problem, half) == pytest.approx(0.2733424266, **TEN_DIGITS)
    assert targets.integration_bias(problem, half, True) == pytest.approx(-0.0230953922,
                                                                         **TEN_DIGITS)
    # Halving every step divides the bias by about four.
    finer = np.sort(np.r_[fine, 0.5 * (fine[1:] + fine[:-1])])
    assert targets.integration_bias(problem, finer) == pytest.approx(
        targets.integration_bias(problem, fine) / 4, rel=0.1)


# --- the border ---------------------------------------------------------------------------------

BAD = {
    "shape": (lambda: noise.normal_inverse_gamma(LINE, Y, 0, 1), "shape: received 0"),
    "rate": (lambda: noise.normal_inverse_gamma(LINE, Y, 1, -1), "rate: received -1"),
    "too few": (lambda: noise.wide_box(LINE[:2], Y[:2], 1.0), "more points than parameters"),
    "perfect": (lambda: noise.wide_box(LINE, LINE @ [1, 2], 1.0), "fits perfectly"),
    "volume": (lambda: noise.wide_box(LINE, Y, 0.0), "volume"),
    "bounds": (lambda: noise.log_uniform(noise.wide_box(LINE, Y, 1.0), 2, 1), "lowest"),
    "probability": (lambda: noise.estimate_quantile(1.0, 3), "probability"),
    "weight": (lambda: Question(0, 0, 1, 1), "weight"),
    "width": (lambda: Question(5, 0, -1, 1), "half_width"),
    "no offset": (lambda: choice.even_points(0.0, 1, 1), "offset"),
    "never": (lambda: choice.points_needed(1.0, 1, 1, 1.0), "probability"),
    "equal x": (lambda: choice.offset_weight([2.0, 2.0]), "cannot tell"),
    "two points": (lambda: choice.probability_with_estimated_noise(2, 0, 1, 1), "points"),
    "one set": (lambda: joint.difference(ESTIMATES[:1], 1.0), "two data sets"),
    "which": (lambda: joint.difference(ESTIMATES, 1.0, [2]), "shared"),
    "priors": (lambda: joint.gaussian_difference(
        [LinearRegression(LINE, Y), LinearRegression(LINE, Y, 1, 1)]), "one prior"),
    "rank": (lambda: criteria.criteria(np.ones((3, 2)), [1, 2, 3], 1), "independent"),
    "leverage": (lambda: criteria.expected([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), r"design\[0\]"),
    "factors": (lambda: singular.product_partition(1.0, 0), "factors"),
    "crossing": (lambda: singular.normal_crossing([1], [-1]), "prior_powers"),
    "hidden": (lambda: singular.reduced_rank(2, 2, 1, 2), "rank"),
    "surplus": (lambda: singular.peaks_learning_coefficient(1, 3), "not known"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_its_field(name: str) -> None:
    call, pattern = BAD[name]
    with pytest.raises(DomainError, match=pattern):
        call()
