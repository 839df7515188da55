"""How many digits the exact free energies keep in float64, and that the functions say where not.

The bound is 1e-12 S max(1, 1e-5 max|y|/s) with S = 1 + the sum of |terms of F|, against exact sums
and mpmath (`exact_references`), over random designs: N from 2, noise from 1e-8 to 1e8, inverse
temperatures from 0 to 1e6, estimates far outside their boxes.  Seeds fixed before looking.
"""

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import exact_references as exact
import mpmath as mp
import numpy as np
import pytest

from theory import box, evidence, noise, walls
from theory.box import BoxLine
from theory.errors import DomainError, PrecisionWarning, ValidityWarning
from theory.evidence import LinearRegression
from theory.rounding import condition, error_bound, residual

BETAS = (0.0, 1e-6, 1e-3, 0.5, 1.0, 30.0, 1e6)
Problem = tuple[np.ndarray, np.ndarray, float, np.ndarray, np.ndarray]


def bound(terms: Any, y: np.ndarray, s: float) -> float:
    return 1e-12 * (1.0 + float(terms)) * max(1.0, 1e-5 * float(np.abs(y).max()) / s)


def off(found: Any, wanted: Any) -> float:
    return abs(float(mp.mpf(float(found)) - wanted))


def quiet(call: Any, *arguments: Any) -> Any:
    """The value where a PrecisionWarning is right: the bound is tested with it, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrecisionWarning)
        warnings.simplefilter("ignore", ValidityWarning)         # the arithmetic is what is tested
        return call(*arguments)


def regressions(seed: int, count: int, most: float) -> Iterator[Problem]:
    """Lines, polynomials and random columns of very different scales; priors of 12 decades."""
    g = np.random.default_rng(seed)
    for _ in range(count):
        N = round(10 ** g.uniform(math.log10(2), most))
        x, d = np.linspace(-1, 1, N), min(N, int(g.integers(1, 6)))
        X = [lambda x=x, N=N: np.stack([x + g.uniform(-3, 3), np.ones(N)], axis=1),
             lambda x=x, d=d: np.stack([x**j for j in range(d)], axis=1),
             lambda N=N, d=d: g.normal(size=(N, d)) * 10 ** g.uniform(-3, 3, d)][g.integers(3)]()
        s, d = 10 ** g.uniform(-8, 8), X.shape[1]
        variance = 10 ** g.uniform(-6, 6, d)
        mean = g.normal(size=d) * np.sqrt(variance) * g.integers(2)
        y = (X @ g.normal(size=d) * 10 ** g.uniform(-3, 3) + s * g.normal(size=N)
             if g.random() < 0.5 else g.normal(size=N) * 10 ** g.uniform(-4, 4))
        yield X, y, s, mean, variance


def worst_regression(problems: Iterator[Problem]) -> float:
    """Largest error of F~ at any beta, in units of the bound."""
    worst = 0.0
    for X, y, s, mean, variance in problems:
        problem = LinearRegression(X, y, s, mean, variance)
        # The covariance as it is stored: what is tested is the arithmetic behind it.
        wanted = exact.gaussian(X, y, s, mean, np.diag(problem.prior_covariance), BETAS)
        for beta, (F, terms) in zip(BETAS, wanted, strict=True):
            found = quiet(evidence.reduced_free_energy, problem, beta)
            worst = max(worst, off(found, F) / bound(terms, y, s))
    return worst


def test_gaussian_prior_keeps_its_digits() -> None:
    """100 regressions at 7 temperatures."""
    assert worst_regression(regressions(11, 100, 2.7)) < 1.0


@pytest.mark.slow
def test_gaussian_prior_keeps_its_digits_everywhere() -> None:
    """10,000 regressions of up to 10,000 points, and lines of a million."""
    assert worst_regression(regressions(12, 10_000, 4.0)) < 1.0
    g, N = np.random.default_rng(13), 10**6
    X = np.stack([np.linspace(-0.5, 1.5, N), np.ones(N)], axis=1)
    lines = [(X, X @ [1.0, 0.3] + s * g.normal(size=N), s, np.zeros(2), np.array([4.0, 1.0]))
             for s in (1e-8, 1.0, 1e8)]
    assert worst_regression(iter(lines)) < 1.0


def test_a_million_points() -> None:
    """F with its constant, of which float64 warns: a million points are a million terms."""
    g, N = np.random.default_rng(14), 10**6
    X, mean, variance = np.linspace(-0.5, 1.5, N)[:, None], np.zeros(1), np.array([4.0])
    y = X[:, 0] + 0.01 * g.normal(size=N)
    ((F, terms),) = exact.gaussian(X, y, 0.01, mean, variance, [1.0])
    constant = N * mp.log(mp.mpf(0.01) * mp.sqrt(2 * mp.pi))
    with pytest.warns(PrecisionWarning, match="free_energy: float64 holds"):
        found = evidence.free_energy(LinearRegression(X, y, 0.01, mean, variance))
    assert off(found, F + constant) < bound(terms + abs(constant), y, 0.01)


@pytest.mark.parametrize("shift", [10.0, 1e3, 1e5])
def test_positions_far_from_zero(shift: float) -> None:
    """Columns that are nearly parallel: lost by X^T X, whose condition is the square."""
    g, X = np.random.default_rng(15), np.ones((50, 2))
    X[:, 0] = shift + np.linspace(-1, 1, 50)
    for s in (1e-8, 1.0, 1e8):
        y = X @ [1.0, 0.3] + s * g.normal(size=50)
        assert worst_regression(iter([(X, y, s, np.zeros(2), np.array([4.0, 1.0]))])) < 1.0
    by_normal_equations = np.linalg.slogdet(np.eye(2) + X.T @ X / 1e-8)[1]
    with mp.workdps(50):
        G = mp.matrix(X.tolist())
        wanted = mp.log(mp.det(mp.eye(2) + G.T * G / mp.mpf(1e-8)))
    # Broken twin: the textbook's determinant.
    if shift == 1e5:
        assert off(by_normal_equations, wanted) > 1e-12 * (1 + float(wanted))


def test_a_fit_without_refinement_is_caught() -> None:
    """Broken twin: residuals by plain subtraction, data 1e9 times their noise.  How far off it is
    depends on the machine's linear algebra, so the worst of 40 data sets is looked at."""
    g, x = np.random.default_rng(16), np.linspace(0, 1, 20)
    X = np.stack([x, np.ones(20)], axis=1)
    left = np.linalg.svd(X / 1e-9, full_matrices=False)[0]
    broken = []
    for _ in range(40):
        y = X @ [1.0, 0.3] + 1e-9 * g.normal(size=20)
        problem = LinearRegression(X, y, 1e-9)
        ((F, terms),) = exact.gaussian(X, y, 1e-9, np.zeros(2), np.ones(2), [1.0])
        assert off(quiet(evidence.reduced_free_energy, problem), F) < bound(terms, y, 1e-9)
        plain = y / 1e-9 - left @ (left.T @ (y / 1e-9))
        broken.append(abs(0.5 * plain @ plain - problem.residual_energy) / bound(terms, y, 1e-9))
    assert max(broken) > 1.5


def test_dependent_columns_are_one() -> None:
    """The same column twice: a prior of the sum, exactly, and no warning."""
    g = np.random.default_rng(17)
    x, y = g.normal(size=30), g.normal(size=30)
    twice = LinearRegression(np.stack([x, x], axis=1), y, 0.1, 0.0, [1.0, 3.0])
    once = LinearRegression(x[:, None], y, 0.1, 0.0, 4.0)
    assert evidence.free_energy(twice) == pytest.approx(evidence.free_energy(once), rel=1e-13)


# --- walls ----------------------------------------------------------------------------------------


def boxes(seed: int, count: int, most: float) -> Iterator[tuple[Any, ...]]:
    """Boxes from a hundredth to a thousand posterior widths, walls up to 30 widths from the
    estimate, or far outside all data."""
    g = np.random.default_rng(seed)
    for _ in range(count):
        N = round(10 ** g.uniform(math.log10(2), most))
        s, beta = 10 ** g.uniform(-8, 8), 10 ** g.uniform(-6, 6)
        x = np.sort(g.normal(size=N)) + g.choice([0.0, g.uniform(-5, 5)])
        K, true = int(g.integers(1, 3)), g.normal(size=2) * 10 ** g.uniform(-2, 2)
        y = true[0] * x + true[1] * (K - 1) + s * g.normal(size=N)
        X = np.stack([x, np.ones(N)][:K], axis=1)
        width = s / math.sqrt(beta) * np.sqrt(np.diag(np.linalg.inv(X.T @ X)))
        if g.random() < 0.7:
            half = width * 10 ** g.uniform(-2, 3, K)
            middle = np.linalg.lstsq(X, y, rcond=None)[0] + width * g.uniform(-30, 30, K)
        else:
            half = 10 ** g.uniform(-3, 3, K)
            middle = true[:K] + half * g.normal(size=K) * 10 ** g.uniform(-1, 2)
        walls = [(float(m - h), float(m + h)) for m, h in zip(middle, half, strict=True)]
        if all(lo < hi for lo, hi in walls):
            yield x, y, s, walls[0], walls[1] if K == 2 else None, beta


def worst_box(problems: Iterator[tuple[Any, ...]]) -> float:
    worst = 0.0
    for x, y, s, slope, offset, beta in problems:
        F, terms = exact.line_in_a_box(x, y, s, slope, offset, beta)
        found = quiet(box.reduced_free_energy, BoxLine(x, y, s, slope, offset), beta)
        worst = max(worst, off(found, F) / bound(terms, y, s))
    return worst


def test_walls_keep_their_digits() -> None:
    """2 lines in boxes."""
    assert worst_box(boxes(21, 2, 2.7)) < 1.0


@pytest.mark.slow
def test_walls_keep_their_digits_everywhere() -> None:
    """2000 lines in boxes of up to 10,000 points."""
    assert worst_box(boxes(22, 2000, 4.0)) < 1.0


def test_error_functions_without_their_tails_are_caught() -> None:
    """Broken twin: the closed form with plain error functions, 8 widths outside the box."""
    line = BoxLine([1.0], [9.0], 1.0, (-1.0, 1.0))
    F, terms = exact.line_in_a_box(line.x, line.y, 1.0, (-1.0, 1.0), None, 1.0)
    assert off(box.reduced_free_energy(line), F) < bound(terms, line.y, 1.0)
    plain = -math.log(math.sqrt(math.pi / 2) * (math.erf(10 / math.sqrt(2))
                                                - math.erf(8 / math.sqrt(2))) / 2)
    assert off(plain, F) > bound(terms, line.y, 1.0)


# --- unknown noise --------------------------------------------------------------------------------


def test_wide_boxes_keep_their_digits() -> None:
    """F(v), empirical Bayes and log-uniform noise of 100 regressions: RSS, det from exact sums."""
    worst = 0.0
    for X, y, s, *_ in regressions(31, 100, 2.7):
        if X.shape[0] <= X.shape[1] + 2:
            continue
        problem = noise.wide_box(X, y, 7.0)
        rss, log_det = exact.least_squares(X, y)
        n = problem.excess
        with mp.workdps(40):
            v = mp.mpf(s) ** 2
            volume = mp.log(7) + log_det / 2
            known = n * mp.log(2 * mp.pi * v) / 2 + rss / (2 * v) + volume
            best = n * (1 + mp.log(2 * mp.pi * rss / n)) / 2 + volume
            size = abs(n * mp.log(2 * mp.pi * v)) + rss / (2 * v) + abs(log_det)
            sd = mp.sqrt(rss / n)
            worst = max(worst,
                        off(quiet(noise.free_energy, problem, s**2), known) / bound(size, y, s),
                        off(quiet(noise.empirical_bayes, problem)[1], best)
                        / bound(n + abs(n * mp.log(rss / n)) + abs(log_det), y, float(sd)))
    assert worst < 1.0


def test_conjugate_noise_keeps_its_digits() -> None:
    """100 regressions: Q from the exact Gaussian free energy at unit noise."""
    worst = 0.0
    for X, y, _, mean, variance in regressions(32, 100, 2.7):
        a, g = 2.5, float(np.var(y) + 1e-3)
        stored = np.diag(LinearRegression(X, y, 1.0, mean, variance).prior_covariance)
        ((F, _terms),) = exact.gaussian(X, y, 1.0, mean, stored, [1.0])
        with mp.workdps(60):
            G = mp.matrix(exact.exact_sums(list(X.T)))
            log_det = mp.log(mp.det(mp.eye(len(stored)) + G * mp.diag(
                [mp.mpf(float(p)) for p in stored])))
            half_n, q = mp.mpf(len(y)) / 2, F - log_det / 2
            pieces = [half_n * mp.log(2 * mp.pi), log_det / 2, -a * mp.log(mp.mpf(g)),
                      (a + half_n) * mp.log(g + q), -mp.loggamma(a + half_n), mp.loggamma(a)]
            found = quiet(noise.normal_inverse_gamma, X, y, a, g, mean, variance).free_energy
            sd = float(mp.sqrt((g + q) / (a + half_n)))
            worst = max(worst, off(found, mp.fsum(pieces))
                        / bound(mp.fsum(map(abs, pieces)), y, sd))
    assert worst < 1.0


@pytest.mark.parametrize(("low", "high"), [(1e-2, 1e-1), (1e-3, 2.0), (1.0, 4.0)])
def test_noise_between_bounds_far_from_its_estimate(low: float, high: float) -> None:
    """200 points whose residuals are about 0.5: between 0.01 and 0.1 all weight is at the upper
    bound, where it falls by e^400 within one unit of ln v.  Walls far off: an incomplete gamma
    function.  Broken twin: panels that know the number of points only."""
    x = np.linspace(-1.0, 1.0, 200)
    y = np.sin(np.arange(200.0))
    line = BoxLine(x, y, 0.5, (-10.0, 20.0), (-30.0, 10.0))
    wide = noise.wide_box(np.stack([x, np.ones(200)], axis=1), y, 1200.0)
    wanted = noise.log_uniform(wide, low, high)
    assert noise.log_uniform_with_walls(line, low, high) == pytest.approx(wanted, abs=1e-11)
    if high == 0.1:
        u = math.log(high) - np.array([0.4, 0.2, 0.0])
        nodes, weights = np.polynomial.legendre.leggauss(16)
        at = (u[:-1, None] + 0.1 * (nodes + 1.0)).ravel()
        F = np.array([noise.free_energy(wide, math.exp(v)) for v in at])
        total = float(0.1 * np.tile(weights, 2) @ np.exp(F.min() - F))
        twin = F.min() - math.log(total) + math.log(math.log(high / low))
        assert abs(twin - wanted) > 1e-10


def worst_unknown_noise(seed: int, count: int, most: float) -> float:
    """Largest error in units of the bound: bounds of the noise up to 10,000 times off the noise
    that there is, walls up to 30 posterior widths from the estimate or far outside all data."""
    g, worst = np.random.default_rng(seed), 0.0
    for x, y, s, slope, _, _ in boxes(seed, count, most):
        centre = s**2 * 10 ** g.uniform(-4, 4)
        bounds = centre * 10 ** -g.uniform(0, 6), centre * 10 ** g.uniform(0.01, 6)
        F, terms, sd = exact.unknown_noise(x, y, slope, *bounds)
        found = quiet(noise.log_uniform_with_walls, BoxLine(x, y, s, slope), *bounds)
        worst = max(worst, off(found, F) / bound(terms, y, sd))
    return worst


@pytest.mark.long
def test_unknown_noise_between_walls_keeps_its_digits() -> None:
    """8 slopes in boxes."""
    assert worst_unknown_noise(33, 8, 2.7) < 1.0


@pytest.mark.slow
def test_unknown_noise_between_walls_keeps_its_digits_everywhere() -> None:
    """300 slopes in boxes of up to 10,000 points."""
    assert worst_unknown_noise(34, 300, 4.0) < 1.0


def test_integrals_at_many_temperatures_are_those_at_one() -> None:
    """60 lines in boxes, 8 temperatures each: error functions against the quadrature over both
    parameters that <U> and C come from.  Broken twin: the walls a thousandth off."""
    caught = 0
    for x, y, s, slope, offset, beta in boxes(35, 60, 2.0):
        line = BoxLine(x, y, s, slope, offset)
        betas = beta * np.geomspace(1e-4, 1e4, 8)
        wanted = np.array([walls.moments(line.ground, b)[0] for b in betas])
        found = walls.log_integrals(line.ground, betas)
        # Far outside its box the energy that both leave out is large.
        size = 1.0 + np.abs(wanted) + 1e-3 * betas * line.ground.least
        assert np.max(np.abs(found - wanted) / size) < 1e-12
        (lo, hi), step = slope, 1e-3 * (slope[1] - slope[0])
        twin = BoxLine(x, y, s, (lo - step, hi + step), offset)
        caught += np.max(np.abs(walls.log_integrals(twin.ground, betas) - wanted) / size) > 1e-12
    assert caught > 40


def test_noise_whose_posterior_is_at_a_bound() -> None:
    """Two points and two parameters, 200 points and two: F falls by thousands of nats within one
    e-fold of ln v.  By the quadrature over both parameters, in panels that halve towards the upper
    bound; broken twin: panels of equal length."""
    for N, box_of_offset in ((2, (5.0, 6.0)), (200, (-0.1, 0.1))):
        x = np.linspace(-1.0, 1.0, N)
        y = 0.3 * x + np.sin(np.arange(N))
        line = BoxLine(x, y, 0.5, (-1.0, 1.0), box_of_offset)
        high = 1e-3
        ends = math.log(high) - 2.0 ** -np.arange(0.0, 20.0)
        found = []
        for edges in (np.append(ends, math.log(high)), np.linspace(ends[0], math.log(high), 5)):
            nodes, weights = np.polynomial.legendre.leggauss(16)
            half = 0.5 * np.diff(edges)[:, None]
            u = (edges[:-1, None] + half * (nodes + 1.0)).ravel()
            F = np.array([0.5 * N * (math.log(2 * math.pi) + v) + b * line.ground.least
                          + sum(math.log(hi - lo) for lo, hi in line.boxes)
                          - walls.moments(line.ground, b)[0]
                          for v, b in ((v, 0.25 * math.exp(-v)) for v in u)])
            total = float((half * weights).ravel() @ np.exp(F.min() - F))
            found.append(F.min() - math.log(total) + math.log(math.log(high / 1e-9)))
        assert noise.log_uniform_with_walls(line, 1e-9, high) == pytest.approx(found[0], rel=1e-13)
        assert abs(found[1] - found[0]) > 1e-3


# --- what is said ---------------------------------------------------------------------------------


@pytest.mark.parametrize("near", [1e-4, 1e-8, 1e-10])
def test_columns_that_are_nearly_dependent(near: float) -> None:
    """Six designs each whose two columns differ by this share, under a wide prior: within the bound
    with their condition in it, and for 1e-8 beyond the one without.  What passes 1e-6 nats is said,
    and only where a prior or box lets the data see the difference."""
    x0, beyond = np.linspace(-1.0, 1.0, 20), 0
    for seed in range(6):
        g = np.random.default_rng(seed)
        x, y = g.normal(size=20), g.normal(size=20)
        X = np.stack([x, x + near * g.normal(size=20)], axis=1)
        problem = LinearRegression(X, y, 1.0, 0.0, 1e20)
        ((F, terms),) = exact.gaussian(X, y, 1.0, np.zeros(2), np.diag(problem.prior_covariance),
                                       [1.0])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            off_by = off(evidence.reduced_free_energy(problem), F)
        assert bool(caught) == (near == 1e-10)
        with_condition = error_bound(float(terms), float(np.abs(y).max()), condition(X))
        assert off_by < with_condition
        assert (with_condition > 2 * bound(terms, y, 1.0)) == (near < 1e-5)
        beyond += off_by > bound(terms, y, 1.0)
        # A prior that holds the difference near zero: the data do not see it.
        evidence.reduced_free_energy(LinearRegression(X, y, 1.0))
        if near == 1e-10:
            with pytest.warns(PrecisionWarning, match="^free_energy: "):
                noise.free_energy(noise.wide_box(X, y, 1e30), 1.0)
    assert beyond >= 3 or near != 1e-8
    assert error_bound(0.0, 0.0, 1e8) == pytest.approx(1e-9) == error_bound(0.0, 1e8)
    assert condition(np.stack([x0, 1e9 * (x0**2 - 1.0)], axis=1)) < 2.0       # scale is none


def test_where_float64_does_not_hold_f_the_function_says_so() -> None:
    X = np.stack([np.linspace(0, 1, 20), np.ones(20)], axis=1)
    y = X @ [1e4, -3e3] + np.cos(np.arange(20))
    loud = (("reduced_free_energy", lambda: evidence.reduced_free_energy(
                LinearRegression(X, y, 1e-3), 1.0)),
            ("free_energy", lambda: evidence.free_energy(LinearRegression(X, y, 1e-3))),
            ("reduced_free_energy", lambda: box.reduced_free_energy(
                BoxLine(X[:, 0], y, 1e-3, (-1, 1), (-1, 1)))),
            ("free_energy", lambda: box.free_energy(BoxLine(X[:, 0], y, 1e-3, (-1, 1), (-1, 1)))),
            ("free_energy", lambda: noise.free_energy(noise.wide_box(X, y, 1.0), 1e-7)))
    for name, call in loud:
        with pytest.warns(PrecisionWarning, match=f"^{name}: float64 holds"):
            call()
    # Nothing is said where nothing is lost (a warning is an error in these tests).
    evidence.free_energy(LinearRegression(X, 1e-4 * y, 1.0))
    assert error_bound(0.0, 0.0) == 1e-12
    with pytest.raises(DomainError, match="choose other units"):
        LinearRegression(X, 1e200 * y, 1.0)
    with pytest.raises(DomainError, match="choose other units"):
        BoxLine(X[:, 0], 1e200 * y, 1.0, (-1, 1))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_limit_formulas_say_where_they_end(which: int, beta: float) -> None:
    """Either wall of either parameter, just within and just beyond four standard deviations of its
    marginal: beyond, nothing is said and the limit is off by less than 1e-4; at two it is not."""
    x, y = np.array([-1.0, 0.0, 2.0, 3.0]), np.array([-1.2, 0.1, 1.9, 3.2])
    far = BoxLine(x, y, 0.5, (-100, 100), (-100, 100))
    for sigmas, side in itertools.product((2.0, 3.9, 4.1), (-1, 1)):
        walls = [(-100.0, 100.0), (-100.0, 100.0)]
        wall = far.estimate[which] + side * sigmas * far.widths[which] / math.sqrt(beta)
        walls[which] = (wall, 100.0) if side < 0 else (-100.0, wall)
        line = BoxLine(x, y, 0.5, *walls)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            limit = box.wide_limit(line, beta)
        said = [str(w.message) for w in caught]
        assert len(said) == (sigmas < 4.0)
        start = f"wide_limit: the wall of the {('slope', 'offset')[which]} is {sigmas:.1f}"
        assert all(s.startswith(start) for s in said)
        missing = abs(limit - box.reduced_free_energy(line, beta))
        assert missing < 1e-4 if sigmas > 3.0 else missing > 0.01


def test_residuals_are_rounded_once() -> None:
    """Against exact fractions, where subtraction cancels all but the last bits."""
    from fractions import Fraction

    g = np.random.default_rng(18)
    X, theta = g.normal(size=(200, 3)), g.normal(size=3)
    y = X @ theta + 1e-15 * g.normal(size=200)
    found = residual(X, y, theta)
    for row, value, r in zip(X, y, found, strict=True):
        wanted = Fraction(value) - sum(Fraction(a) * Fraction(b)
                                       for a, b in zip(row, theta, strict=True))
        assert abs(Fraction(float(r)) - wanted) <= abs(wanted) * Fraction(1, 2**52) + \
            Fraction(1, 2**100)
    plain = y - X @ theta
    assert np.max(np.abs(plain - found) / np.abs(found)) > 0.01
    assert condition(np.ones((3, 2))) > 1e15
