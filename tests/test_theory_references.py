"""Reference numbers that no other test holds, and second routes to closed forms beside the first.

Simulations fix their seeds, state their draws, and have a broken twin.
"""

import math

import mpmath as mp
import numpy as np
import pytest
from scipy import integrate, interpolate, stats

from theory import box, choice, criteria, energies, evidence, joint, noise, targets
from theory.box import BoxLine
from theory.choice import Question
from theory.errors import ValidityWarning
from theory.evidence import LinearRegression

R5 = (np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), np.array([-1.9, -0.8, 0.4, 0.9, 2.3]))
X = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
Y = np.array([0.3, 1.1, 2.4, 2.7, 4.5, 6.2])
DESIGN = np.stack([X, np.ones(6)], axis=1)
LINE = LinearRegression(DESIGN, Y, 0.5, 0.0, [4.0, 1.0])
TEN_DIGITS = {"rel": 0, "abs": 6e-11}


def test_least_squares_of_the_two_data_sets() -> None:
    """By hand: the estimates, sums of squares and widths that everything else is made of."""
    two, one = BoxLine(*R5, 0.5, (-10, 10), (-10, 10)), BoxLine(X, Y, 0.5, (-10, 10))
    assert two.estimate == pytest.approx([1.01, 0.18], rel=1e-14)
    assert one.estimate[0] == pytest.approx(1.0484848484848, rel=1e-12)
    assert one.minimum * 0.5 == pytest.approx(16 / 33, rel=1e-13)
    both = BoxLine(X, Y, 0.5, (-10, 10), (-10, 10))
    assert both.estimate == pytest.approx([1.0, 0.2], rel=1e-13)
    assert both.minimum * 0.5 == pytest.approx(0.4, rel=1e-13)
    covariance = joint.estimate(DESIGN, Y, 0.5).covariance
    N, Sx, Sxx = 6, 16.0, 66.0
    assert covariance[0, 0] == pytest.approx(0.25 * N / (N * Sxx - Sx**2), rel=1e-13)
    rho = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
    assert rho == pytest.approx(-Sx / math.sqrt(N * Sxx), rel=1e-13) == pytest.approx(-0.804,
                                                                                     abs=5e-4)


def test_what_the_penalty_alone_says_of_the_five_points() -> None:
    """F2 - F1 = 3.25; half a ln N and the gain of the fit say 0.48, and choose more easily."""
    F = [box.free_energy(BoxLine(*R5, 0.5, (-10, 10), b)) for b in (None, (-10, 10))]
    gain = (BoxLine(*R5, 0.5, (-10, 10)).minimum
            - BoxLine(*R5, 0.5, (-10, 10), (-10, 10)).minimum)
    assert F[1] - F[0] == pytest.approx(3.2506598771, **TEN_DIGITS)
    assert 0.5 * math.log(5) - gain == pytest.approx(0.4807189562, **TEN_DIGITS)
    difference = choice.derivation().difference
    at = {"T": 2 * gain, "S_b": 5, "s": 0.5, "xi_b": 10}
    value = float(difference.subs({q: at[q.name] for q in difference.free_symbols}))
    assert value == pytest.approx(F[1] - F[0], rel=1e-12)


def test_power_at_hundred_points() -> None:
    assert choice.probability_of_offset(Question(100, 0.3, 10.0, 1.0)) == pytest.approx(
        0.5161448403, **TEN_DIGITS)
    assert choice.moments(Question(100, 0.3, 10.0, 1.0)) == pytest.approx(
        (-0.6206211667, 9.5), **TEN_DIGITS)


def test_disagreement_of_the_two_sets() -> None:
    """17/7000, and misfit plus volume give the difference; the exchange of evidence by both."""
    one, two = (joint.estimate(np.stack([x, np.ones(len(x))], axis=1), y, s)
                for x, y, s in ((*R5, 0.5), (X, Y, math.sqrt(0.5))))
    D, total = one.value - two.value, one.covariance + two.covariance
    square = D @ np.linalg.solve(total, D)
    assert square == pytest.approx(17 / 7000, rel=1e-10) == pytest.approx(0.0024285714, abs=6e-11)
    density = stats.multivariate_normal(np.zeros(2), total).pdf(D)
    assert joint.difference([one, two], 400.0) == pytest.approx(-math.log(400 * density), rel=1e-12)


def test_a_box_that_is_not_wide_is_said() -> None:
    narrow = joint.Estimate(np.array([0.0]), np.array([[1.0]]))
    with pytest.warns(ValidityWarning, match="^difference: the box is 3.0 .* gaussian_difference"):
        joint.difference([narrow, narrow], 3.0)


def plackett(h: float, k: float, rho: float) -> mp.mpf:
    """P(Z1 < h, Z2 < k) from independence: the derivative in rho is the density (Plackett 1954)."""
    def density(r: mp.mpf) -> mp.mpf:
        return mp.exp(-(h * h - 2 * r * h * k + k * k) / (2 * (1 - r * r))) / (
            2 * mp.pi * mp.sqrt(1 - r * r))

    return mp.ncdf(h) * mp.ncdf(k) + mp.quad(density, mp.linspace(0, rho, 6))


@pytest.mark.parametrize(("x", "y", "xi"), [(X, Y, 1.0), (X, Y, 1.4), (*R5, 1.0), (X + 2, Y, 3.0)])
def test_rectangles_by_placketts_derivative(x: np.ndarray, y: np.ndarray, xi: float) -> None:
    """The third route to a correlated rectangle; without the correlation it is caught."""
    line = BoxLine(x, y, 0.5, (-xi, xi), (-xi, xi))
    sd = np.sqrt(np.diag(np.linalg.inv(line.hessian)))
    rho = -x.sum() / math.sqrt(len(x) * (x @ x))
    low, high = (-xi - line.estimate) / sd, (xi - line.estimate) / sd
    with mp.workdps(30):
        P = (plackett(high[0], high[1], rho) - plackett(low[0], high[1], rho)
             - plackett(high[0], low[1], rho) + plackett(low[0], low[1], rho))
        product = ((mp.ncdf(high[0]) - mp.ncdf(low[0])) * (mp.ncdf(high[1]) - mp.ncdf(low[1])))
    assert box.rectangle_probability(line) == pytest.approx(float(P), rel=1e-10)
    if xi == 1.0 and rho:
        assert float(product) != pytest.approx(float(P), rel=5e-3)


@pytest.mark.parametrize("beta", [1.0, 0.01, 1e-4, 30.0])
def test_moments_of_a_truncated_normal(beta: float) -> None:
    """<U> = U_min + m2 / 2 beta and C = (m4 - m2^2) / 4, from the normal moments between walls."""
    line = BoxLine(*R5, 0.5, (-1.3, 10))
    root = math.sqrt(beta * line.hessian[0, 0])
    low, high = ((wall - line.estimate[0]) * root for wall in line.slope)
    P = stats.norm.cdf(high) - stats.norm.cdf(low)
    edge = [z * stats.norm.pdf(z) for z in (low, high)], [z**3 * stats.norm.pdf(z)
                                                          for z in (low, high)]
    m2 = 1 - (edge[0][1] - edge[0][0]) / P
    m4 = 3 * m2 - (edge[1][1] - edge[1][0]) / P
    assert box.mean_energy(line, beta) == pytest.approx(line.minimum + m2 / (2 * beta), rel=1e-9)
    assert box.heat_capacity(line, beta) == pytest.approx((m4 - m2**2) / 4, rel=1e-6)


def test_log_uniform_noise_with_walls() -> None:
    """By the trapezoid over 4001 noise levels; where the box is narrow the wide value is wrong, and
    says so."""
    for slope, offset in (((-10, 10), (-10, 10)), ((-1, 1), None), ((0.5, 0.9), (-0.2, 0.1))):
        line = BoxLine(X, Y, 0.5, slope, offset)
        t = np.linspace(math.log(1e-3), math.log(1e3), 4001)
        F = np.array([3 * (math.log(2 * math.pi) + u)
                      + box.reduced_free_energy(line, 0.25 * math.exp(-u)) for u in t[::8]])
        average = integrate.simpson(np.exp(-F), x=t[::8]) / math.log(1e6)
        found = noise.log_uniform_with_walls(line, 1e-3, 1e3)
        assert found == pytest.approx(-math.log(average), rel=1e-7)
    narrow = noise.wide_box(DESIGN, Y, 0.12)
    with pytest.warns(ValidityWarning, match="^log_uniform: .*log_uniform_with_walls is exact"):
        wide = noise.log_uniform(narrow, 1e-3, 1e3)
    assert abs(wide - found) > 0.5


def test_empirical_bayes_says_when_it_runs_away() -> None:
    with pytest.warns(ValidityWarning, match="^empirical_bayes: 3 points for 2 parameters"):
        noise.empirical_bayes(noise.wide_box(DESIGN[:3], Y[:3], 400.0))


# --- the law of the energy ------------------------------------------------------------------------


def by_imhof(problem: LinearRegression, energy: float, beta: float) -> float:
    """P(U <= energy) by Gil-Pelaez in real t (Imhof 1961), 15 digits: another contour."""
    k, c = problem.eigenvalues, problem.components
    with mp.workdps(20):
        p = [1 + mp.mpf(beta) * mp.mpf(float(q)) for q in k]
        w = [mp.mpf(float(q)) / v for q, v in zip(k, p, strict=True)]
        shift = [mp.mpf(float(v)) / q for v, q in zip(c, p, strict=True)]
        rest = mp.mpf(energy - problem.residual_energy)

        def integrand(t: mp.mpf) -> mp.mpf:
            # U - U_min = sum (sqrt(w) e - shift)^2 / 2.
            log_phi = mp.fsum(-mp.log(1 - 1j * t * a) / 2 + 1j * t * m * m / (2 * (1 - 1j * t * a))
                              for a, m in zip(w, shift, strict=True))
            return mp.im(mp.exp(log_phi - 1j * t * rest)) / t

        period = 2 * mp.pi / rest
        edges = [period * mp.mpf(j) / 2 for j in range(41)]
        start = mp.quad(integrand, edges)
        tail = mp.quadosc(integrand, [edges[-1], mp.inf], period=period)
        return float(mp.mpf(1) / 2 - (start + tail) / mp.pi)


@pytest.mark.parametrize(("energy", "beta"), [
    *(pytest.param(*at, marks=pytest.mark.long) for at in ((1.2, 1.0), (2.5, 1.0), (1.0, 5.0))),
    (9.0, 0.1)])
def test_energy_law_by_another_contour(energy: float, beta: float) -> None:
    assert energies.energy_cumulative(LINE, energy, beta) == pytest.approx(
        by_imhof(LINE, energy, beta), abs=1e-7)


def test_energy_law_starts_at_zero() -> None:
    assert energies.energy_cumulative(LINE, [0.0, 0.79]) == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("beta", [0.0, 0.01, 1.0, 30.0])
def test_energy_law_of_exact_draws(beta: float) -> None:
    """20,000 draws of the tempered posterior: Kolmogorov-Smirnov p > 1e-3, and mean energies within
    4 exact errors; the law of a temperature 5 % off is caught."""
    mean, covariance = evidence.posterior(LINE, beta)
    theta = np.random.default_rng(3).multivariate_normal(mean, covariance, 20_000)
    U = np.sort(np.sum(((Y - theta @ DESIGN.T) / 0.5) ** 2, axis=1) / 2)
    knots = np.quantile(U, np.linspace(0, 1, 201))

    def p_value(b: float) -> float:                       # the law between 201 of its values
        law = interpolate.PchipInterpolator(knots, energies.energy_cumulative(LINE, knots, b))
        return float(stats.kstest(law(U), "uniform").pvalue)

    assert p_value(beta) > 1e-3
    assert p_value(1.05 * beta or 1e-3) < 1e-3
    law = energies.energy_law(LINE, beta)
    assert law.mean == pytest.approx(evidence.mean_energy(LINE, beta), rel=1e-13)
    if beta:
        assert abs(energies.energy_score(LINE, float(U.mean()), 20_000, beta)) < 4
        assert abs(energies.energy_score(LINE, float(U.mean()), 20_000, 1.1 * beta)) > 4


def test_energy_law_of_a_wide_prior_is_a_gamma_law() -> None:
    wide = LinearRegression(DESIGN, Y, 0.5, 0.0, 1e10)
    U = wide.residual_energy + np.array([1e-3, 0.4, 2.0, 9.0])
    for beta in (0.3, 4.0):
        exact = energies.wide_energy_cumulative(2, U, wide.residual_energy, beta)
        assert exact == pytest.approx(stats.gamma(1.0, scale=1 / beta).cdf(
            U - wide.residual_energy), rel=1e-12)
        assert energies.energy_cumulative(wide, U, beta) == pytest.approx(exact, abs=2e-8)


# --- criteria and samplers ------------------------------------------------------------------------


def test_leverages_and_what_a_finite_sample_sees_of_them() -> None:
    """The tail index of leave-one-out weights is the leverage; Hill's estimate from 1e6 weights
    lies below it, because the tail of exp(normal^2) is a power law with a logarithm.

    0.284 for 0.3 and 0.500 for 0.545, from the largest 0.1 % of 1e6 weights; the scatter of Hill's
    estimate is k / sqrt(1000) = 3 %, tolerance 4 of it; the exact index is caught.
    """
    one, two = criteria.criteria(X[:, None], Y, 0.5), criteria.criteria(DESIGN, Y, 0.5)
    assert (one.pareto[-1], two.pareto[-1]) == pytest.approx((36 / 66, 9 / 14), rel=1e-12)
    assert one.pareto[-1] == pytest.approx(0.545455, abs=5e-7)
    assert criteria.criteria(DESIGN, Y, 0.5, 0.0, [4.0, 1.0]).wbic == pytest.approx(
        float(evidence.mean_energy(LINE, 0.5581106266)) + LINE.normalisation, rel=1e-10)
    assert 1 / math.log(6) == pytest.approx(0.5581106266, **TEN_DIGITS)
    found = []
    for seed in range(10):
        z = np.sort(np.random.default_rng(seed).normal(size=1_000_000) ** 2)[-1001:]
        found.append(float(np.mean(z[1:] - z[0])) / 2)       # Hill, for index 1: scales with h
    hill = np.array([0.3, 36 / 66]) * np.mean(found)
    error = hill / math.sqrt(10_000)
    assert np.all(np.abs(hill - [0.284, 0.500]) < 4 * error + 0.0005)
    assert np.all(hill + 4 * error < [0.3, 36 / 66])


def test_effective_share_of_a_stepping_stone() -> None:
    """Independent draws keep 1 / (1 + relative variance) of their number: 400,000 draws, 2 %; the
    share of twice the step is caught."""
    mean, covariance = evidence.posterior(LINE, 0.5)
    theta = np.random.default_rng(5).multivariate_normal(mean, covariance, 400_000)
    U = np.sum(((Y - theta @ DESIGN.T) / 0.5) ** 2, axis=1) / 2
    w = np.exp(-0.5 * (U - U.min()))
    share = w.sum() ** 2 / (w @ w) / len(w)
    assert share == pytest.approx(1 / (1 + targets.increment_variance(LINE, 0.5, 0.5)), rel=0.02)
    assert share != pytest.approx(1 / (1 + targets.increment_variance(LINE, 0.5, 1.0)), rel=0.02)


def test_error_of_nested_sampling_by_its_own_shrinkage() -> None:
    """ln Z of a run on the exact volume curve: 200 runs of 100 live points for the five points.

    The scatter is sqrt(H / live) to leading order: ratio within 4 / sqrt(2 * 200) of one and 5 %
    for the order (false alarm 1e-4); sqrt(2 H / live) is caught.
    """
    line = BoxLine(*R5, 0.5, (-10, 10), (-10, 10))
    live, g, found = 100, np.random.default_rng(7), []
    scale = float(targets.prior_volume(line, line.minimum + 1.0))        # X = scale (U - U_min)
    for _ in range(200):
        log_x = np.concatenate([[0.0], np.cumsum(np.log(g.random(3000)) / live)])
        # The next point lies at the top of what is left; energies of the ellipse, exactly.
        log_l = -line.minimum - np.exp(log_x[1:]) / scale
        log_w = log_l - np.arange(3000) / live + np.log1p(-math.exp(-1 / live))
        found.append(np.logaddexp.reduce(log_w))
    ratio = np.std(found) / math.sqrt(targets.nested_information(line) / live)
    assert abs(ratio - 1) < 0.2 + 0.05
    assert abs(ratio / math.sqrt(2) - 1) > 0.25
