"""The ends of the stated ranges: positions far from zero, boxes and steps far below the posterior,
many points, data far above their noise, cold rungs.

Second routes are exact fractions and mpmath; each broken twin is the textbook's formula, whose
digits are gone there.
"""

import math
import warnings
from fractions import Fraction
from typing import Any

import exact_references as exact
import mpmath as mp
import numpy as np
import pytest
from scipy import special

from theory import (
    box,
    cases,
    choice,
    criteria,
    energies,
    evidence,
    exchange_rate,
    joint,
    judge,
    large_n,
    noise,
    singular,
    targets,
)
from theory.box import BoxLine
from theory.cases import densities, grids, measured
from theory.choice import Question
from theory.errors import DomainError, PrecisionWarning, ValidityWarning
from theory.evidence import LinearRegression


def design(x: Any) -> np.ndarray:
    return np.stack([x, np.ones(len(x))], axis=1)


# --- positions far from zero ----------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 1e3, 1e7, 1e12])
def test_what_an_offset_is_worth_far_from_zero(shift: float) -> None:
    """S_b = N - Sx^2 / Sxx in exact fractions, for the positions as they are stored."""
    x = shift + np.linspace(-1.0, 1.0, 9)
    one, two = sum(map(Fraction, x)), sum(Fraction(v) ** 2 for v in x)
    assert choice.offset_weight(x) == pytest.approx(float(9 - one * one / two), rel=1e-14, abs=0)
    if shift >= 1e7:                       # the difference of two large numbers
        plain = 9 - x.sum() ** 2 / (x @ x)
        assert abs(plain / choice.offset_weight(x) - 1) > 1e-3
    assert choice.offset_weight(2.0**-800 * x) == choice.offset_weight(x)
    for alike in ([5.0], [2.0, 2.0], [0.1 + 0.2, 0.3]):      # the last two differ by rounding
        with pytest.raises(DomainError, match="cannot tell"):
            choice.offset_weight(alike)


@pytest.mark.parametrize("shift", [0.4, 1e5])
def test_mesoscopic_variables_far_from_zero(shift: float) -> None:
    x, n = shift + np.linspace(-1.0, 1.0, 9), np.random.default_rng(1).normal(size=9)
    with mp.workdps(60):
        X, noise_ = mp.matrix(x.tolist()), mp.matrix(n.tolist())
        one = mp.matrix([1] * 9)
        along = X / mp.norm(X)
        across = one - along * (along.T * one)[0]
        wanted = [float((v.T * noise_)[0]) for v in (along, across / mp.norm(across))]
    found = choice.mesoscopic(x, n, 1.0)
    assert found[:2] == pytest.approx(wanted, rel=1e-9)
    assert np.sum(np.square(found[:2])) + found.upsilon == pytest.approx(n @ n, rel=1e-12)


def test_volume_and_widths_far_from_zero() -> None:
    """det X^T X and (X^T X)^-1 in exact fractions, x around a million."""
    x = 1e6 + np.linspace(-1.0, 1.0, 9)
    line = BoxLine(x, 0.3 * x, 0.5, (-20, 20), (-1e9, 1e9))
    one, two = sum(map(Fraction, x)), sum(Fraction(v) ** 2 for v in x)
    det = 9 * two - one * one
    assert line.widths == pytest.approx(
        [0.5 * math.sqrt(9 / det), 0.5 * math.sqrt(two / det)], rel=1e-12)
    share = math.pi * 2 * 3.0 / (40 * 2e9 * math.sqrt(det) / 0.25)
    assert targets.prior_volume(line, line.minimum + 3.0) == pytest.approx(share, rel=1e-9, abs=0)
    assert np.sqrt(np.linalg.det(line.hessian)) != pytest.approx(math.sqrt(det) / 0.25, rel=1e-6)


def integration(values: list[Any], covariances: list[Any], volume: float) -> tuple[Any, Any]:
    """F_int - F_sep by its definition in mpmath, and the mean of all sets."""
    precisions = [C**-1 for C in covariances]
    total = sum(precisions[1:], precisions[0])
    mean = total**-1 * sum((P * v for P, v in zip(precisions[1:], values[1:], strict=True)),
                           precisions[0] * values[0])
    misfit = sum(((v - mean).T * P * (v - mean))[0]
                 for P, v in zip(precisions, values, strict=True)) / 2
    log_det = mp.log(mp.det(total)) + sum(mp.log(mp.det(C)) for C in covariances)
    return misfit + log_det / 2 + (len(values) - 1) * (
        mp.mpf(len(mean)) / 2 * mp.log(2 * mp.pi) - mp.log(volume)), mean


def fitted(X: np.ndarray, y: np.ndarray, s: float) -> tuple[Any, Any]:
    A = mp.matrix(X.tolist())
    C = (A.T * A / mp.mpf(s) ** 2) ** -1
    return C * (A.T * mp.matrix(y.tolist())) / mp.mpf(s) ** 2, C


def part(matrix: Any, index: list[int]) -> Any:
    columns = index if matrix.cols > 1 else [0]
    return mp.matrix([[matrix[i, j] for j in columns] for i in index])


def bound_said(caught: list[Any], least: float = 1e-6) -> float:
    said = [str(w.message) for w in caught if w.category is PrecisionWarning]
    return float(said[0].split(" to ")[1].split()[0]) if said else least


def test_integration_of_sets_far_from_zero() -> None:
    """120 sets of two or three polynomials up to x^2 and x of 1e6, shared in full or in part, by
    mpmath with 80 digits: no farther off than 1e-6 or than the warning says.  Lines are never
    worth a warning up to there; by the inverse of the inverse of a covariance the choice flips."""
    g, flipped = np.random.default_rng(31), 0
    for k in range(120):
        x0, degree, M = 10 ** g.uniform(0, 6), int(g.integers(0, 3)), int(g.integers(2, 4))
        X = [np.stack([(x0 + g.uniform(-1, 1, 12)) ** j for j in range(degree + 1)], axis=1)
             for _ in range(M)]
        s = 10 ** g.uniform(-2, 2, M)
        y = [A @ np.ones(degree + 1) + q * g.normal(size=12) for A, q in zip(X, s, strict=True)]
        index = [int(g.integers(degree + 1))] if k % 3 == 0 else list(range(degree + 1))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                sets = [joint.estimate(A, v, q) for A, v, q in zip(X, y, s, strict=True)]
            except DomainError:                # parabolas that float64 cannot tell from lines
                assert degree == 2 and x0 > 1e5
                continue
            found = joint.difference(sets, 1e20, index)
        with mp.workdps(80):
            values, widths = zip(*(fitted(A, v, q) for A, v, q in zip(X, y, s, strict=True)),
                                 strict=True)
            wanted = float(integration([part(v, index) for v in values],
                                       [part(C, index) for C in widths], 1e20)[0])
        assert abs(found - wanted) <= bound_said(caught)
        assert degree == 2 or not caught
        if degree == 1 and len(index) == 2:
            P = np.linalg.inv([e.covariance for e in sets])
            mean = np.linalg.inv(P.sum(axis=0)) @ sum(
                p @ e.value for p, e in zip(P, sets, strict=True))
            twin = found + sum(0.5 * (e.value - mean) @ p @ (e.value - mean)
                               for p, e in zip(P, sets, strict=True))
            flipped += not abs(twin) < 2 * abs(found)
    assert flipped > 0


@pytest.mark.parametrize("shift", [1e4, 1e5, 1e6])
def test_two_lines_far_from_zero(shift: float) -> None:
    """What the covariances no longer hold, their triangles do; without them it is said."""
    g = np.random.default_rng(7)
    x = shift + np.linspace(-1.0, 1.0, 20)
    y = [x + 0.3 + 0.1 * g.normal(size=20) for _ in range(2)]
    sets = [joint.estimate(design(x), v, 0.1) for v in y]
    with mp.workdps(60):
        values, widths = zip(*(fitted(design(x), v, 0.1) for v in y), strict=True)
        wanted, mean = integration(list(values), list(widths), 4e9)
        root = mp.cholesky((widths[0] / 2) ** -1).T          # both sets are equally precise
    assert joint.difference(sets, 4e9) == pytest.approx(float(wanted), abs=1e-6)
    both = joint.integrated(sets)
    with mp.workdps(60):
        assert mp.norm(root * (mp.matrix(both.value.tolist()) - mean)) < 1e-6
    assert both.triangle is not None and np.abs(both.triangle[0]) == pytest.approx(
        np.abs(np.array(root.tolist(), dtype=float)[0]), rel=1e-9)
    # A law of lines that agree: no misfit, only the constant.
    law = joint.law_of_difference([joint.Estimate(np.array([1.0, 0.3]), e.covariance, e.triangle)
                                   for e in sets], 4e9)
    with mp.workdps(60):
        constant = mp.log(mp.det(2 * widths[0])) / 2 + mp.log(2 * mp.pi) - mp.log(4e9)
    assert law.constant == pytest.approx(float(constant), abs=1e-7)
    bare = [joint.Estimate(e.value, e.covariance) for e in sets]
    with pytest.warns(PrecisionWarning, match="^difference: float64 holds") as caught:
        off = abs(joint.difference(bare, 4e9) - float(wanted))
    assert off <= bound_said(list(caught))
    with pytest.warns(PrecisionWarning, match="^integrated: float64 holds the estimate"):
        joint.integrated(bare)
    with pytest.warns(PrecisionWarning, match="^probability_of_integration: "):
        joint.probability_of_integration(bare[0].covariance, bare[1].covariance, [0.0, 0.0], 4e9)


@pytest.mark.parametrize("rest", [1e-3, 1e-9, 1e-12])
def test_integration_of_correlated_estimates(rest: float) -> None:
    """Correlations of 1 - rest, as they are stored; values a million apart, precise or not."""
    one = joint.Estimate(np.array([0.3, 0.1]), np.array([[1.0, 1 - rest], [1 - rest, 1.0]]))
    two = joint.Estimate(np.array([0.1, 0.25]), np.array([[2.0, 0.3], [0.3, 0.1]]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = joint.difference([one, two], 1e4)
    with mp.workdps(60):
        wanted = integration([mp.matrix(e.value.tolist()) for e in (one, two)],
                             [mp.matrix(e.covariance.tolist()) for e in (one, two)], 1e4)[0]
    assert abs(found - float(wanted)) <= bound_said(caught, 1e-9)
    assert bool(caught) == (rest < 1e-8)
    # A vague first set far away must not cost the others their digits.
    sets = [joint.Estimate(np.array([v]), np.array([[c]])) for v, c in (
        (1e3, 1e6), (1.0, 1e-12), (1.0 + 3e-6, 1e-12))]
    with mp.workdps(60):
        wanted = integration([mp.matrix(e.value.tolist()) for e in sets],
                             [mp.matrix(e.covariance.tolist()) for e in sets], 1e6)[0]
    assert joint.difference(sets, 1e6) == pytest.approx(float(wanted), abs=1e-8)


def test_a_triangle_that_is_none_is_refused() -> None:
    good = joint.Estimate(np.zeros(2), np.eye(2))
    for bad in (np.eye(3), np.diag([1.0, 0.0])):
        with pytest.raises(DomainError, match=r"estimates\[1\].triangle"):
            joint.difference([good, joint.Estimate(np.zeros(2), np.eye(2), bad)], 1e3)


def law_under_a_prior(problems: list[LinearRegression], truths: np.ndarray) -> tuple[float, ...]:
    """Mean and variance of F_int - F_sep with 90 digits, from inverses of whole covariances."""
    with mp.workdps(90):
        A = [mp.matrix(p.design.tolist()) / mp.mpf(float(p.noise[0])) for p in problems]
        S, n = mp.matrix(problems[0].prior_covariance.tolist()), A[0].rows
        tall = mp.matrix([a.tolist()[i] for a in A for i in range(n)])
        centre = mp.matrix([v for a, t in zip(A, truths, strict=True)
                            for v in a * mp.matrix(t.tolist())])
        form = (mp.eye(tall.rows) + tall * S * tall.T) ** -1
        log_det = mp.log(mp.det(mp.eye(S.rows) + S * (tall.T * tall)))
        for k, a in enumerate(A):
            alone = (mp.eye(n) + a * S * a.T) ** -1
            log_det -= mp.log(mp.det(mp.eye(S.rows) + S * (a.T * a)))
            for i in range(n):
                for j in range(n):
                    form[k * n + i, k * n + j] -= alone[i, j]
        pull = form * centre
        trace = sum(form[i, i] for i in range(form.rows))
        squares = sum(form[i, j] ** 2 for i in range(form.rows) for j in range(form.rows))
        return (float((log_det + (centre.T * pull)[0] + trace) / 2),
                float(squares / 2 + (pull.T * pull)[0]))


@pytest.mark.parametrize(("shift", "variance", "gap"), [
    (0.0, 1e16, 0.0), (1e3, 1e12, 0.0), (1e5, 1e6, 0.0), (1e5, 1.0, 0.0), (1e6, 1e16, 1e-7),
    (0.0, 1e-8, 0.3)])
def test_law_under_a_prior_of_any_width(shift: float, variance: float, gap: float) -> None:
    """Two and three lines; where F_int is at truths without noise, gaussian_difference is a second
    route.  The variance from the covariance of the data themselves is singular here."""
    for M in (2, 3):
        x = shift + np.linspace(-1.0, 1.0, 6)
        truths = np.array([[1.0, 0.3], [1.0, 0.3 + gap], [1.0 - gap, 0.3]])[:M]
        sets = [LinearRegression(design(x), design(x) @ t, s, 0.0, variance)
                for t, s in zip(truths, (0.1, 0.1, 2.0), strict=False)]
        law = joint.law_of_gaussian_difference(sets, truths)
        mean, var = law_under_a_prior(sets, truths)
        assert law.mean == pytest.approx(mean, abs=1e-8)
        assert law.variance == pytest.approx(var, rel=1e-8)
        if not gap:
            value = law.constant + 0.5 * float(law.weights @ law.shifts**2)
            assert value == pytest.approx(joint.gaussian_difference(sets), abs=1e-8)


def test_law_under_a_prior_that_its_entries_do_not_hold_is_said() -> None:
    S = np.array([[1.0, 1 - 1e-12], [1 - 1e-12, 1.0]])
    one = LinearRegression(design(np.arange(3.0)), [0.0, 1.0, 2.0], 0.1, 0.0, S)
    with pytest.warns(PrecisionWarning, match="^law_of_gaussian_difference: "):
        joint.law_of_gaussian_difference([one, one], np.zeros((2, 2)))


# --- data far above their noise -------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "s", "beta"), [
    (0.0, 1e-8, 1.0), (0.0, 1e-8, 1e6), (1e3, 1e-4, 1.0), (1e5, 1e-8, 1.0)])
def test_posterior_mean_and_covariance_keep_their_digits(shift: float, s: float, beta: float
                                                         ) -> None:
    """In posterior standard deviations, by the normal equations with 60 digits; in one step with
    float64 the mean is off by up to hundreds of them."""
    x = shift + np.linspace(-1.0, 1.0, 12)
    y = design(x) @ [1.0, 0.3] + s * np.random.default_rng(2).normal(size=12)
    problem = LinearRegression(design(x), y, s, 0.0, [4.0, 1.0])
    mean, covariance = evidence.posterior(problem, beta)
    with mp.workdps(60):
        A, v = mp.matrix(design(x).tolist()), mp.mpf(s) ** 2 / mp.mpf(beta)
        C = (A.T * A / v + mp.diag([1 / mp.mpf(float(p)) for p in np.diag(
            problem.prior_covariance)])) ** -1
        m = C * (A.T * mp.matrix(y.tolist())) / v
        wanted, width = (np.array(q.tolist(), dtype=float) for q in (m, C))
    sd = np.sqrt(np.diag(width))
    assert np.abs(mean - wanted[:, 0]) / sd == pytest.approx(0.0, abs=1e-9)
    assert (covariance - width) / np.outer(sd, sd) == pytest.approx(0.0, abs=1e-9)
    if shift == 1e5:
        L = np.sqrt([4.0, 1.0])
        _, w, right = np.linalg.svd(design(x) * L / s, full_matrices=False)
        once = L * (right.T @ (right @ ((design(x) * L / s).T @ (y / s)) / (1 + w**2)))
        assert np.max(np.abs(once - wanted[:, 0]) / sd) > 10


def hard_regressions(seed: int, count: int) -> Any:
    """Lines and parabolas far from zero, columns of ten scales, columns that are nearly one, fewer
    points than parameters; noise of eleven decades, uneven or not, priors of sixteen, correlated
    or not; temperatures of twelve."""
    g = np.random.default_rng(seed)
    for k in range(count):
        n, d = int(g.integers(1, 25)), int(g.integers(1, 6))
        x, scale = 10 ** g.uniform(0, 6) + g.uniform(-1, 1, n), 10 ** g.uniform(-4, 4, d)
        X = [lambda x=x, d=d: np.stack([x**j for j in range(min(d, 3))], axis=1),
             lambda n=n, d=d, scale=scale: g.normal(size=(n, d)) * scale,
             lambda n=n, d=d, scale=scale: g.normal(size=(n, 1)) * scale * (
                 1 + 1e-9 * g.normal(size=(n, d)))][g.integers(3)]()
        d, s = X.shape[1], np.broadcast_to(10 ** g.uniform(-8, 3, n if k % 2 else 1), n)
        S, B = np.diag(10 ** g.uniform(-8, 8, d)), g.normal(size=(d, d))
        if k % 4 == 0:
            S = np.sqrt(S) @ (B @ B.T + 0.01 * np.eye(d)) @ np.sqrt(S)
            S = (S + S.T) / 2
        y = X @ g.normal(size=d) * 10 ** g.uniform(-2, 2) + s * g.normal(size=n)
        mean = g.normal(size=d) * 10 ** g.uniform(-3, 3)
        yield LinearRegression(X, y, s, mean, S), 10 ** g.uniform(-6, 6)


def normal_equations(problem: LinearRegression, beta: float) -> tuple[Any, Any]:
    """Mean and covariance with 90 digits."""
    A, m0 = mp.matrix(problem.design.tolist()), mp.matrix(problem.prior_mean.tolist())
    W = mp.diag([mp.mpf(beta) / mp.mpf(float(s)) ** 2 for s in problem.noise])
    C = (A.T * W * A + mp.matrix(problem.prior_covariance.tolist()) ** -1) ** -1
    return m0 + C * (A.T * W * (mp.matrix(problem.y.tolist()) - A * m0)), C


def off_in_widths(found: tuple[Any, Any], wanted: tuple[Any, Any]) -> float:
    """Of the mean, beyond the last place of each number, and of the standard deviations."""
    (m, C), (mean, covariance) = wanted, found
    worst = 0.0
    for j, value in enumerate(mean):
        sd = mp.sqrt(C[j, j])
        off = (abs(mp.mpf(float(value)) - m[j]) - 3e-16 * abs(m[j])) / sd
        worst = max(worst, float(off),
                    abs(float(mp.sqrt(mp.mpf(float(covariance[j, j]))) / sd) - 1))
    return worst


@pytest.mark.long
def test_posterior_of_any_regression_keeps_its_digits_or_says_so() -> None:
    """200 hard regressions; nine in ten of them are worth no warning."""
    said = 0
    for problem, beta in hard_regressions(41, 200):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = evidence.posterior(problem, beta)
        with mp.workdps(90):
            off = off_in_widths(found, normal_equations(problem, beta))
        assert off <= bound_said(caught)
        assert all("posterior: float64 holds this mean" in str(w.message) for w in caught)
        said += bool(caught)
    assert 0 < said < 40


def powers(degree: int, top: float, s: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    g, x = np.random.default_rng(seed), np.linspace(0.0, top, 30)
    X = np.stack([x**k for k in range(degree + 1)], axis=1)
    return X, X @ (g.normal(size=degree + 1) / top ** np.arange(degree + 1.0)) + s * g.normal(
        size=30)


@pytest.mark.parametrize(("s", "beta"), [(1e-8, 1.0), (1e-6, 1e6), (1e-8, 1e6), (1e-12, 1e3)])
def test_two_parameters_that_are_seen_as_one(s: float, beta: float) -> None:
    """[[1, 1]] and y = 1: half each.  Broken twin: the covariance by modes, and steps along it."""
    problem = LinearRegression([[1.0, 1.0]], [1.0], s)
    mean, covariance = evidence.posterior(problem, beta)
    assert mean == pytest.approx([0.5, 0.5], rel=1e-14)
    assert covariance == pytest.approx(np.array([[0.5, -0.5], [-0.5, 0.5]]), abs=1e-14)
    A, step = problem.design / s, np.zeros(2)
    _, w, right = np.linalg.svd(A, full_matrices=True)
    twin = (right.T / (1 + beta * np.array([w[0] ** 2, 0.0]))) @ right
    for _ in range(4):
        step = step + twin @ (beta * (A.T @ ((1.0 - problem.design @ step) / s)) - step)
    assert np.max(np.abs(step - 0.5)) > 0.01


def test_powers_of_large_positions() -> None:
    """Degree 8 on [0, 100], where columns differ by 1e16: posterior and criteria; and conjugate
    noise of the same column twice under a variance of 1e20."""
    X, y = powers(8, 100.0, 1.0, 3)
    problem = LinearRegression(X, y, 1.0)
    with mp.workdps(90):
        wanted = normal_equations(problem, 1.0)
    assert off_in_widths(evidence.posterior(problem), wanted) < 1e-9
    L = np.linalg.svd(X, full_matrices=True)
    twin = (L[2].T / (1 + L[1] ** 2)) @ L[2]
    assert off_in_widths((wanted[0], twin), wanted) > 0.01
    x = np.random.default_rng(5).normal(size=10)
    y = 0.28 * x + np.random.default_rng(6).normal(size=10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = noise.normal_inverse_gamma(np.stack([x, x], axis=1), y, 1.0, 1.0, 0.0, 1e20)
        one = noise.normal_inverse_gamma(x[:, None], y, 1.0, 1.0, 0.0, 2e20)
    assert {str(w.message).split(" to ")[0] for w in caught} == {
        f"normal_inverse_gamma: float64 holds this {what}"
        for what in ("free energy", "mean and scale")}
    off = np.abs(found.mean - one.mean[0] / 2) / np.sqrt(np.diag(found.scale))
    assert np.max(off) <= bound_said([w for w in caught if "mean" in str(w.message)])
    assert np.sum(found.mean) == pytest.approx(one.mean[0], abs=1e-8)
    assert np.sum(found.scale) == pytest.approx(one.scale[0, 0], abs=1e-12 * found.scale[0, 0])


def exact_criteria(X: np.ndarray, y: np.ndarray, s: float, variance: float) -> tuple[float, ...]:
    """WAIC, LOO and DIC from their formulas with 90 digits."""
    with mp.workdps(90):
        A, Y = mp.matrix(X.tolist()) / mp.mpf(s), mp.matrix(y.tolist()) / mp.mpf(s)
        C = (A.T * A + mp.eye(A.cols) / mp.mpf(variance)) ** -1
        r = list(Y - A * (C * (A.T * Y)))
        h = [(A[i, :] * C * A[i, :].T)[0] for i in range(A.rows)]
        k, pairs = len(y) * mp.log(2 * mp.pi * mp.mpf(s) ** 2) / 2, list(zip(r, h, strict=True))
        waic = sum(mp.log(1 + q) + v * v / (1 + q) + 2 * v * v * q + q * q for v, q in pairs)
        loo = sum(v * v / (1 - q) - mp.log(1 - q) for v, q in pairs)
        dic = sum(v * v for v in r) / 2 + sum(h)
        return float(k + waic / 2), float(k + loo / 2), float(k + dic)


@pytest.mark.parametrize("s", [1e-4, 1e-6, 1e-8])
def test_criteria_of_the_same_column_twice(s: float) -> None:
    x = np.linspace(0.1, 1.0, 10)
    y = 1.3 * x + s * np.random.default_rng(1).normal(size=10)
    X = np.stack([x, x], axis=1)
    found = criteria.criteria(X, y, s, 0.0, 1.0)
    assert (found.waic, found.loo, found.dic) == pytest.approx(
        exact_criteria(X, y, s, 1.0), abs=1e-9)
    once = criteria.criteria(x[:, None], y, s, 0.0, 2.0)
    assert (found.waic, found.p_dic, found.log_likelihood) == pytest.approx(
        (once.waic, once.p_dic, once.log_likelihood), abs=1e-9)


@pytest.mark.parametrize(("degree", "top", "s"), [(6, 100.0, 0.1), (8, 30.0, 0.1), (8, 100.0, 1.0),
                                                  (10, 100.0, 1e-3)])
def test_criteria_of_high_powers(degree: int, top: float, s: float) -> None:
    X, y = powers(degree, top, s, degree)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = criteria.criteria(X, y, s, 0.0, 1.0)
    off = np.abs(np.subtract((found.waic, found.loo, found.dic), exact_criteria(X, y, s, 1.0)))
    assert np.max(off) <= bound_said(caught)


def test_a_leverage_that_only_a_prior_keeps_from_one() -> None:
    """Two points for two parameters: 1 - h is 1e-16 under this prior, and the refusal does not ask
    for the prior that was given."""
    X = np.eye(2)
    with pytest.raises(DomainError, match="too wide beside the noise for float64") as refused:
        criteria.criteria(X, [1.0, 2.0], 1e-8, 0.0, 1.0)
    assert "give a prior_covariance" not in str(refused.value)
    with pytest.raises(DomainError, match="give a prior_covariance"):
        criteria.criteria(X, [1.0, 2.0], 1.0)
    assert criteria.criteria(X, [1.0, 2.0], 1e-3, 0.0, 1.0).loo == pytest.approx(
        exact_criteria(X, np.array([1.0, 2.0]), 1e-3, 1.0)[1], rel=1e-9)


def test_information_does_not_see_the_misfit() -> None:
    """H = F~ - <U> where both are 1e23: by modes, and in a box from its lowest point."""
    x = np.linspace(-1.0, 1.0, 20)
    y = design(x) @ [1e5, 3e4] + 100 * np.cos(7 * x)
    problem = LinearRegression(design(x), y, 1e-6, 0.0, 1e12)
    lower = LinearRegression(design(x), np.zeros(20), 1e-6, 0.0, 1e12)
    # The same spread of both posteriors; the mean's share is (m - m0)^2 / 2 S0.
    mean = evidence.posterior(problem)[0]
    found = evidence.information(problem)
    assert found == pytest.approx(evidence.information(lower) + mean @ mean / 2e12, rel=1e-9)
    with pytest.warns(PrecisionWarning):
        lost = evidence.reduced_free_energy(problem) - evidence.mean_energy(problem)
    assert abs(lost - found) > 0.1
    walls = [(-1e6, 1e6)] * 2
    line, low = BoxLine(x, y, 1e-6, *walls), BoxLine(x, 0 * x, 1e-6, *walls)
    assert targets.nested_information(line) == pytest.approx(box.information(low), rel=1e-9)
    # ln(volume) - ln(2 pi e / sqrt(det H)): the entropy of a normal law.
    entropy = math.log(2 * math.pi * math.e) - 0.5 * math.log(math.prod(low.curvatures))
    assert box.information(low) == pytest.approx(math.log(4e12) - entropy, rel=1e-12)


def test_criteria_and_expansion_keep_the_residuals() -> None:
    """Data 1e11 times their noise: RSS from exact sums; by y - X theta in float64 it is lost."""
    x, g = np.linspace(-1.0, 1.0, 20), np.random.default_rng(0)
    y = design(x) @ [1e5, 3e4] + 1e-6 * g.normal(size=20)
    rss, log_det = exact.least_squares(design(x), y)
    wanted = 10 * math.log(2 * math.pi * 1e-12) + float(rss) / 2e-12
    with pytest.warns(PrecisionWarning, match="^criteria: "):
        found = criteria.criteria(design(x), y, 1e-6)
    assert -found.log_likelihood == pytest.approx(wanted, abs=1e-8)
    with pytest.warns(PrecisionWarning, match="^expansion: "):
        terms = large_n.expansion(design(x), y, 1e-6, lambda _: 0.0)
    assert terms.fit == pytest.approx(wanted, abs=1e-8)
    assert terms.constant == pytest.approx(
        float(log_det) / 2 - math.log(2 * math.pi * 1e-12 * 20), rel=1e-12)
    theta = np.linalg.lstsq(design(x), y, rcond=None)[0]
    plain = 10 * math.log(2 * math.pi * 1e-12) + np.sum((y - design(x) @ theta) ** 2) / 2e-12
    assert abs(plain - wanted) > 1e-7
    with mp.workdps(40):                    # the estimate, in units of its last place
        A, Y = mp.matrix(design(x).tolist()), mp.matrix(y.tolist())
        best = np.array(mp.lu_solve(A.T * A, A.T * Y).tolist(), dtype=float)[:, 0]
    assert joint.estimate(design(x), y, 1e-6).value == pytest.approx(best, rel=3e-16)


# --- boxes and steps far below the posterior ------------------------------------------------------


@pytest.mark.parametrize("w", [1e-10, 1e-6, 1e-3, 0.3, 0.99])
def test_difference_in_a_box_much_smaller_than_the_posterior(w: float) -> None:
    """-ln of the average of exp(v z - v^2 / 2), 40 digits, on both sides of its root z = 1."""
    for z in (0.0, 0.5, 1.0001, 3.0, 1.9 / w):
        with mp.workdps(40):
            average = mp.quad(lambda v, z=z: mp.exp(v * z - v * v / 2),
                              mp.linspace(-mp.mpf(w), w, 9)) / (2 * mp.mpf(w))
            wanted = float(-mp.log(average))
        assert choice.difference_with_box(Question(1, 0, w, 1), z) == pytest.approx(
            wanted, rel=1e-9, abs=0)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    plain = -math.log(0.5 * weights @ np.exp(w * nodes * 0.5 - 0.5 * (w * nodes) ** 2))
    if w == 1e-10:                          # 1e-21 in units of 1e-16
        assert abs(plain / choice.difference_with_box(Question(1, 0, w, 1), 0.5) - 1) > 0.5


@pytest.mark.parametrize("xi", [1e-2, 1e-6, 1e-10, 1e-100])
def test_choice_in_a_box_much_smaller_than_the_posterior(xi: float) -> None:
    """The turn is one standard deviation, up to 1/12 of the box squared: an offset that hardly
    moves is taken in erfc(1/sqrt 2) = 32 % of all data sets."""
    turn = choice.critical_estimate(5, xi, 1.0) * math.sqrt(5)
    assert turn == pytest.approx(1.0, abs=5 * xi**2 / 12 + 1e-15)
    wanted = special.erfc(turn / math.sqrt(2))
    assert choice.probability_with_box(5, 0.0, xi, 1.0) == pytest.approx(wanted, rel=1e-12)
    assert choice.cumulative_with_box(Question(5, 0.0, xi, 1.0), 0.0) == pytest.approx(
        wanted, rel=1e-12)


@pytest.mark.parametrize("s", [1e-6, 1e-4, 0.01, 1.0, 100.0, 1e6])
def test_random_walk_of_any_step(s: float) -> None:
    """The spherical law (Student's t) and, in one dimension, an arc tangent."""
    for d in (1, 4, 20):
        assert targets.random_walk_acceptance_of(np.eye(d), s) == pytest.approx(
            float(targets.random_walk_acceptance(d, s)), rel=1e-12, abs=0)
    assert targets.random_walk_acceptance_of([[4.0]], s / 2) == pytest.approx(
        2 / math.pi * math.atan(2 / s), rel=1e-13, abs=0)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    square = np.sin(0.25 * math.pi * (nodes + 1)) ** 2
    twin = 0.5 * weights @ np.sqrt(square / (square + 0.25 * s * s))
    if s == 1e-4:                           # the layer at phi = 0 is between the nodes
        assert abs(twin - targets.random_walk_acceptance_of([[1.0]], s)) > 1e-6


@pytest.mark.parametrize("r", [1e-9, 1e-5, 0.1, 40.0])
def test_random_walk_in_a_box_of_any_width(r: float) -> None:
    with mp.workdps(40):
        R = mp.mpf(r)
        wanted = mp.erf(R / mp.sqrt(2)) - 2 / R * (1 - mp.exp(-R * R / 2)) / mp.sqrt(2 * mp.pi)
    assert targets.flat_acceptance(r) == pytest.approx(float(wanted), rel=1e-13, abs=0)
    plain = 2 * special.ndtr(r) - 1 - 2 / r * (1 - np.exp(-r * r / 2)) / math.sqrt(2 * math.pi)
    if r == 1e-9:                           # twice the truth
        assert plain == pytest.approx(2 * float(wanted), rel=0.01, abs=0)


@pytest.mark.parametrize("step", [1e-9, 1e-4, 0.5, 1e3])
def test_increments_of_any_step(step: float) -> None:
    """Z(b) Z(b + 2h) / Z(b + h)^2 - 1 with 60 digits; by differences of F~ in float64 it is lost
    for small steps."""
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
    line = LinearRegression(design(x), [0.3, 1.1, 2.4, 2.7, 4.5, 6.2], 0.5, 0.0, [4.0, 1.0])
    with mp.workdps(60):
        def free(beta: mp.mpf) -> mp.mpf:
            return sum(mp.log(1 + beta * k) / 2 + beta * c * c / (2 * (1 + beta * k))
                       for k, c in zip(map(mp.mpf, map(float, line.eigenvalues)),
                                       map(mp.mpf, map(float, line.components)), strict=True))

        b, h = mp.mpf(0.5), mp.mpf(step)
        wanted = float(mp.expm1(2 * free(b + h) - free(b) - free(b + 2 * h)))
    assert targets.increment_variance(line, 0.5, step) == pytest.approx(wanted, rel=1e-9, abs=0)
    F = evidence.reduced_free_energy(line, 0.5 + step * np.arange(3))
    if step == 1e-9:
        assert abs(math.expm1(2 * F[1] - F[0] - F[2]) / wanted - 1) > 0.5


# --- many points ----------------------------------------------------------------------------------


@pytest.mark.parametrize("N", [10**4, 10**8, 10**12])
def test_estimated_noise_of_many_points(N: int) -> None:
    """P = E Q(sqrt(q(upsilon)) - sqrt(delta)) + ..., 40 digits around upsilon = N - 2; and the
    noise might as well be known, up to 1/N."""
    offset = 3 / math.sqrt(N)
    with mp.workdps(40):
        k = mp.mpf(N - 2)
        volume = mp.log(20) + mp.log(N) / 2

        def integrand(t: mp.mpf) -> mp.mpf:
            u = k * (1 + t * mp.sqrt(2 / k))
            log_p = (k / 2 - 1) * mp.log(u) - u / 2 - k / 2 * mp.log(2) - mp.loggamma(k / 2)
            # F2 = F1 where (N - 1) ln((u + T) / (N - 1)) = (N - 2) ln(u / (N - 2)) + ...
            log_rss = (k * mp.log(2 * mp.pi * u / k) - 1 + 2 * volume) / (k + 1)
            q = (k + 1) / (2 * mp.pi) * mp.exp(log_rss) - u
            root, shift = mp.sqrt(max(q, 0)), mp.mpf(3)
            return mp.exp(log_p) * mp.sqrt(2 * k) * (mp.ncdf(shift - root) + mp.ncdf(-shift - root))

        wanted = float(mp.quad(integrand, mp.linspace(-10, 11, 9)))
    found = choice.probability_with_estimated_noise(N, offset, 10.0, 1.0)
    assert found == pytest.approx(wanted, rel=1e-9)
    known = choice.probability_of_offset(Question(N, offset, 10.0, 1.0))
    assert found == pytest.approx(known, rel=50 / N + 1e-9)
    # ln u0 by powers of N: what rounds by 1e-16 is multiplied by N.
    log_a = math.log((N - 1) / (2 * math.pi)) + 2 / (N - 1) * (
        (0.5 * N - 1) * math.log(2 * math.pi / (N - 2)) - 0.5 + math.log(20) + 0.5 * math.log(N))
    twin = (N - 1) * log_a - math.log(N - 2)
    right = 2 * math.log(20) + math.log(N / (2 * math.pi)) + (N - 1) * math.log1p(1 / (N - 2)) - 1
    assert (abs(twin - right) > 1e-5) == (N == 10**12)


def test_estimated_noise_at_differences_that_do_not_happen() -> None:
    question = Question(3, 0.0, 10.0, 1.0)
    d = [-1e3, -100.0, 100.0, 1e3, 1e6]
    assert choice.cumulative_with_estimated_noise(question, 3, d) == pytest.approx(
        [0, 0, 1, 1, 1], abs=1e-12)
    assert choice.density_with_estimated_noise(question, 3, d) == pytest.approx(0.0, abs=1e-12)


# --- noise of its own for every point -------------------------------------------------------------


@pytest.mark.parametrize("walls", [((-1.0, 1.0), None), ((-10.0, 10.0), (-10.0, 10.0)),
                                   ((1.5, 2.0), (-3.0, -1.0))])
def test_uneven_noise_in_a_box(walls: tuple[Any, Any]) -> None:
    """Noise levels that are powers of two, so that the data divided by them are exact; the mean
    noise for all is caught."""
    x = np.array([0.25, 1.0, 1.5, 2.0, 3.5, 4.0])
    s = np.array([0.5, 0.25, 1.0, 2.0, 0.5, 0.125])
    y = np.array([0.3, 1.1, 2.4, 1.7, 2.5, 3.2])
    line = BoxLine(x, y, s, *walls)
    for beta in (1e-3, 1.0, 100.0):
        F, _ = exact.line_in_a_box(x / s, y / s, 1.0, *walls, beta, one=1 / s)
        assert box.reduced_free_energy(line, beta) == pytest.approx(float(F), rel=1e-12)
        even = BoxLine(x, y, float(s.mean()), *walls)
        assert box.reduced_free_energy(even, beta) != pytest.approx(float(F), rel=1e-3)
    assert box.free_energy(line) == pytest.approx(
        box.reduced_free_energy(line) + np.sum(np.log(s * math.sqrt(2 * math.pi))), rel=1e-13)
    # A box that grows is a normal prior that grows.
    if walls[0] == (-10.0, 10.0):
        wide = LinearRegression(design(x), y, s, 0.0, 1e12)
        F = evidence.free_energy(wide) - math.log(2 * math.pi * 1e12) + math.log(400.0)
        assert box.free_energy(line) == pytest.approx(F, abs=1e-8)
    with pytest.raises(DomainError, match=r"noise: .*one number or 6"):
        BoxLine(x, y, s[:2], *walls)
    with pytest.raises(DomainError, match=r"line.noise: .*one noise level"):
        noise.log_uniform_with_walls(line, 0.1, 1.0)


# --- singular models and exchange -----------------------------------------------------------------


def test_products_of_any_sharpness() -> None:
    """Moments of ab: E (ab)^2 = 1/9, Var = 1/25 - 1/81 on a box, 1 and 8 under normal priors; the
    leading form at the largest floats."""
    for c in (1e-300, 1e-9):
        energy, heat = singular.product_energy(c)
        assert energy == pytest.approx(c / 9, rel=1e-8, abs=0)
        assert heat == pytest.approx(c**2 * (1 / 25 - 1 / 81), rel=1e-6, abs=0)
        assert singular.normal_product_partition(c) == pytest.approx(1 - c, rel=1e-15)
    L = math.log(4e300) + np.euler_gamma
    assert singular.product_energy(1e300) == pytest.approx(
        (0.5 - 1 / L, 0.5 - 1 / L - 1 / L**2), rel=1e-9)
    for c in (0.9e-5, 1.1e-5):              # on both sides of where the series takes over
        with mp.workdps(40):
            z = 1 / (8 * mp.mpf(c))
            wanted = mp.besselk(0, z) * mp.exp(z) / mp.sqrt(4 * mp.pi * c)
        assert singular.normal_product_partition(c) == pytest.approx(float(wanted), rel=1e-14)


def test_no_law_at_a_rung_is_no_exchange_rate() -> None:
    with pytest.raises(DomainError, match=r"log_partition: .* beta = 0 and 1"):
        exchange_rate.acceptance(lambda b: -1.5 * np.log(b), 0.0, 1.0)
    problem = LinearRegression([[1.0], [1.0]], [0.2, 0.4])
    for beta in (-5.0, complex(-1.0, 3.0), math.nan, "a", None):
        with pytest.raises(DomainError, match="beta: "):
            evidence.log_partition(problem, beta)


# --- cold rungs of the cases ----------------------------------------------------------------------

QUADRATURE = ["unknown_noise", "one_peak", "two_peaks", "relaxation", "counts_peak", "two_modes",
              "labels", "spike_and_slab", "eggbox", "product", "product_of_three", "rosenbrock",
              "shell", "funnel", "heavy_tails"]


SLOW = ("one_peak", "two_peaks", "eggbox")


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in QUADRATURE])
def test_evidence_holds_down_to_the_coldest_rung(name: str, monkeypatch: pytest.MonkeyPatch
                                                 ) -> None:
    """Panels cut in two change nothing there, and mean and covariance by less than 1e-9; beyond,
    the case says that they would."""
    case = cases.named(name)
    betas = np.array([1e-6, 1.0, case.coldest])
    found = case.log_evidence_at(betas)
    with pytest.warns(ValidityWarning, match=f"^log_evidence_at: {name} is known to 1e-8"):
        beyond = case.log_evidence_at(100 * case.coldest)
    plain = grids.panels

    def halved(edges: Any, count: int = 24) -> Any:
        e = np.asarray(edges, dtype=float)
        return plain(np.sort(np.r_[e, 0.5 * (e[1:] + e[:-1])]), count)

    for module in (grids, densities, measured):
        monkeypatch.setattr(module, "panels", halved)
    finer = cases.named(name)
    # ln Z of the coldest rungs is large, and rounded.
    assert finer.log_evidence_at(betas) == pytest.approx(found, abs=1e-8, rel=1e-14)
    assert finer.mean == pytest.approx(case.mean, abs=1e-9)
    assert finer.covariance == pytest.approx(case.covariance, abs=1e-9)
    if name in ("one_peak", "eggbox", "labels"):
        assert abs(finer.tempered(100 * case.coldest) - beyond) > 1e-3


# --- the border -----------------------------------------------------------------------------------

REFUSED = {
    "no noise": (lambda: choice.points_needed(0.5, 10.0, None), "noise: received None"),
    "NaN noise": (lambda: choice.plan(0.5, 10.0, math.nan), "noise: received nan"),
    "tiny offset": (lambda: choice.points_needed(1e-200, 10.0, 1.0), "choose other units"),
    "tiny offset, N*": (lambda: choice.even_points(1e-170, 10.0, 1.0), "choose other units"),
    "tiny offset, noise": (lambda: choice.noise_needed(9, 1e-300, 1.0), "choose other units"),
    "offset": (lambda: Question(100, 1e160, 1.0, 1.0), "offset: received .* choose other units"),
    "no box": (lambda: Question(100, 0.0, 1e-200, 1.0), "half_width: .* choose other units"),
    "estimate": (lambda: choice.difference_with_box(Question(5, 0, 1, 1), 1e300), "estimate: "),
    "half an index": (lambda: joint.difference([joint.Estimate(np.zeros(1), np.eye(1))] * 2, 9.0,
                                               [0.5]), "shared: received 0.5"),
    "one index": (lambda: joint.difference([joint.Estimate(np.zeros(1), np.eye(1))] * 2, 9.0, 0),
                  "shared: received 0, expected a sequence"),
    "no estimate": (lambda: joint.difference([1.0, 2.0], 9.0), r"estimates\[0\]: received a float"),
    "skew": (lambda: joint.difference([joint.Estimate(np.zeros(2), 1e-12 * np.array(
        [[1.0, 0.9], [0.0, 1.0]]))] * 2, 9.0), r"estimates\[0\].covariance"),
    "text for c": (lambda: singular.normal_product_partition("a"), "sharpness: received 'a'"),
    "no design": (lambda: energies.energy_law(LinearRegression([[0.0]], [1.0])), "design of zeros"),
    "no beta": (lambda: criteria.matching_temperature(LinearRegression([[0.0]], [1.0])),
                "design of zeros"),
    "half a peak": (lambda: singular.peaks_learning_coefficient(1.5, 1.5), "true: received 1.5"),
    "a name": (lambda: judge("wall", "x"), "case: received 'wall', expected a Case; .*named"),
    "NaN cube": (lambda: cases.straight_line().prior_transform([math.nan, 0.5]), "u: received nan"),
    "half a point": (lambda: cases.straight_line(points=2.5), "points: received 2.5"),
    "no width": (lambda: cases.straight_line(prior_width=-1), "prior_width: received -1"),
    "half a degree": (lambda: cases.polynomial(2.5), "degree: received 2.5"),
}


def test_every_other_case_is_known_at_any_temperature() -> None:
    for name, build in cases.BUILDERS.items():
        if name not in QUADRATURE:
            assert build().coldest == math.inf


@pytest.mark.parametrize("name", REFUSED)
def test_what_used_to_pass_or_crash_is_refused(name: str) -> None:
    call, pattern = REFUSED[name]
    with pytest.raises(DomainError, match=pattern):
        call()
