"""Laws over data sets as quadratic forms of normal numbers, and partition functions off the real
axis: reference values, second routes, limits.

Simulations fix their seeds, state their draws, and have a broken twin.
"""

import math
import warnings
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from scipy import integrate, interpolate, stats

from theory import (
    box,
    choice,
    criteria,
    energies,
    evidence,
    exchange_rate,
    joint,
    quadratic,
    singular,
)
from theory.box import BoxLine
from theory.errors import DomainError, ValidityWarning
from theory.evidence import LinearRegression
from theory.quadratic import Quadratic

X = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
Y = np.array([0.3, 1.1, 2.4, 2.7, 4.5, 6.2])
TEN_DIGITS = {"rel": 0, "abs": 6e-11}


def design(x: Any) -> np.ndarray:
    return np.stack([x, np.ones(len(x))], axis=1)


# --- half a weighted sum of squares ---------------------------------------------------------------


@pytest.mark.parametrize(("k", "delta"), [(1, 0.0), (1, 9.0), (2, 30.0), (6, 2000.0), (3, 1e5)])
def test_equal_weights_are_a_noncentral_chi_square(k: int, delta: float) -> None:
    """Cumulative to 1e-12 and density to 1e-11, from probabilities of 1e-6 to 0.9999; negative
    weights are the mirror image."""
    shifts = np.r_[math.sqrt(delta), np.zeros(k - 1)]
    law, mirror = Quadratic(0.7, np.ones(k), shifts), Quadratic(-0.7, -np.ones(k), shifts)
    exact = stats.ncx2(k, delta) if delta else stats.chi2(k)
    x = 2 * (0.7 + exact.ppf([1e-6, 0.01, 0.3, 0.5, 0.9, 0.9999]) / 2 - 0.7)
    assert quadratic.cumulative(law, 0.7 + x / 2) == pytest.approx(exact.cdf(x), abs=1e-12)
    assert quadratic.density(law, 0.7 + x / 2) == pytest.approx(2 * exact.pdf(x), rel=1e-11)
    assert quadratic.cumulative(mirror, -0.7 - x / 2) == pytest.approx(exact.sf(x), abs=1e-12)
    assert (law.mean, law.variance) == pytest.approx((0.7 + exact.mean() / 2, exact.var() / 4))
    assert quadratic.cumulative(law, [0.0, 0.69]) == pytest.approx([0.0, 0.0])


def test_tails_below_all_floats_are_zero_or_one() -> None:
    """Where the density itself is smaller than the smallest float; and just before that, at 600
    nats on the exponential law of two equal squares and on its mirror image."""
    for shift in (43.0, 100.0, 1000.0):
        law = Quadratic(0.0, [1.0, 1.0], [shift, 0.0])
        for q in (1e-8, 1.0, 0.02 * shift):
            assert quadratic.cumulative(law, q) == pytest.approx(0.0, abs=1e-150)
            assert quadratic.density(law, q) == pytest.approx(0.0, abs=1e-150)
        assert quadratic.cumulative(law, 10 * shift**2) == 1.0
    law = Quadratic(0.0, [1.0, 1.0], [0.0, 0.0])                  # exponential: density exp(-q)
    assert quadratic.density(law, 600.0) == pytest.approx(math.exp(-600.0), rel=1e-9)
    law = Quadratic(0.0, [-1.0, -1.0], [0.0, 0.0])
    assert quadratic.cumulative(law, -600.0) == pytest.approx(math.exp(-600.0), rel=1e-9)


def test_weights_of_both_signs() -> None:
    """One of each sign by a double integral, and at the kink between them; both ends of the law."""
    law = Quadratic(0.0, [1.3, -0.4], [0.5, -1.0])
    one, two = stats.ncx2(1, 0.25), stats.ncx2(1, 1.0)
    for q in (-1.5, -0.1, 0.0, 1e-6, 0.6, 4.0):
        direct = integrate.quad(lambda z, q=q: stats.norm.pdf(z + 1.0) * one.cdf(
            max(2 * q + 0.4 * z * z, 0.0) / 1.3), -12, 10, epsabs=1e-12, limit=400,
            points=[-math.sqrt(max(-5 * q, 0)), math.sqrt(max(-5 * q, 0))])[0]
        assert quadratic.cumulative(law, q) == pytest.approx(direct, abs=1e-9)
    assert two.mean() == 2.0 and law.mean == pytest.approx(0.5 * (1.3 * 1.25 - 0.4 * 2.0))
    mass = integrate.quad(lambda q: quadratic.density(law, q), 0.2, 1.7, epsabs=1e-10)[0]
    assert mass == pytest.approx(np.diff(quadratic.cumulative(law, [0.2, 1.7]))[0], abs=1e-9)
    assert quadratic.cumulative(law, [-80.0, 200.0]) == pytest.approx([0.0, 1.0], abs=1e-12)
    with pytest.raises(DomainError, match="shifts: received 1 numbers"):
        Quadratic(0.0, [1.0, 1.0], [0.0])
    with pytest.raises(DomainError, match="one that is not zero"):
        Quadratic(0.0, [0.0], [1.0])


def test_the_transform_is_sympys() -> None:
    steps = quadratic.derivation()
    s, w, v = sp.symbols("s w v", real=True)
    assert sp.simplify(sp.log(steps.transform.subs({s: sp.Rational(1, 5), w: 2, v: 3}))
                       - steps.cumulant.subs({s: sp.Rational(1, 5), w: 2, v: 3})).evalf() == \
        pytest.approx(0.0, abs=1e-14)
    law = Quadratic(0.0, [1.3, -0.4], [0.5, -1.0])
    at = 0.21 + 0.4j
    total = sum(complex(steps.cumulant.subs({s: at, w: a, v: b})) for a, b in zip(
        law.weights, law.shifts, strict=True))
    assert complex(law.log_transform(at)) == pytest.approx(total, rel=1e-13)
    assert sum(float(steps.variance.subs({w: a, v: b})) for a, b in zip(
        law.weights, law.shifts, strict=True)) == pytest.approx(law.variance, rel=1e-13)


# --- integration over data sets -------------------------------------------------------------------

POSITIONS = (np.linspace(-1, 1, 7), np.linspace(0, 2, 12), np.linspace(-0.5, 3, 9))
NOISES = (1.0, 0.4, 2.0)
TRUTHS = np.array([[1.0, 0.0], [1.3, 0.1], [0.4, -0.6]])


def simulated(M: int, shared: list[int] | None, prior: bool, count: int) -> np.ndarray:
    """F_int - F_sep of many synthetic groups of M sets, by regressions only."""
    g, out = np.random.default_rng([M, count, prior]), []
    for _ in range(count):
        ys = [design(x) @ t + s * g.normal(size=len(x)) for x, t, s in zip(
            POSITIONS[:M], TRUTHS, NOISES, strict=False)]
        if prior:
            out.append(joint.gaussian_difference([
                LinearRegression(design(x), y, s, 0.2, [1.0, 0.3]) for x, y, s in zip(
                    POSITIONS[:M], ys, NOISES, strict=False)]))
        else:
            out.append(joint.difference([joint.estimate(design(x), y, s) for x, y, s in zip(
                POSITIONS[:M], ys, NOISES, strict=False)], 400.0, shared))
    return np.array(out)


def fits(law: Quadratic, found: np.ndarray) -> bool:
    """Kolmogorov-Smirnov p > 1e-3; the law between 120 of its values by monotone cubics."""
    knots = np.unique(np.quantile(found, np.linspace(0, 1, 121)))
    exact = interpolate.PchipInterpolator(knots, quadratic.cumulative(law, knots))
    return bool(stats.kstest(exact(found), "uniform").pvalue > 1e-3)


@pytest.mark.parametrize(("M", "shared"), [(2, None), (3, None), (3, [0])])
def test_law_of_integration_under_a_wide_box(M: int, shared: list[int] | None) -> None:
    """2000 groups of data sets of unequal noise, two or three sets, all or one parameter shared:
    Kolmogorov-Smirnov p > 1e-3; the law of equal truths is caught."""
    covariances = [joint.estimate(design(x), x, s).covariance for x, s in zip(
        POSITIONS, NOISES, strict=True)]
    truths = [joint.Estimate(t, C) for t, C in zip(TRUTHS[:M], covariances, strict=False)]
    equal = [joint.Estimate(TRUTHS[0], C) for C in covariances[:M]]
    found = simulated(M, shared, False, 2000)
    for group, right in ((truths, True), (equal, False)):
        assert fits(joint.law_of_difference(group, 400.0, shared), found) == right
    law = joint.law_of_difference(truths, 400.0, shared)
    assert abs(found.mean() - law.mean) < 4 * math.sqrt(law.variance / 2000)
    # With the truth as data the difference is the misfit plus the same constant.
    assert joint.difference(truths, 400.0, shared) == pytest.approx(
        law.mean - 0.5 * len(law.weights), rel=1e-12)


def test_law_of_integration_under_a_gaussian_prior() -> None:
    """1000 groups of three sets, prior of a mean that is not zero: Kolmogorov-Smirnov p > 1e-3,
    exact mean; equal truths are caught."""
    problems = [LinearRegression(design(x), 0 * x, s, 0.2, [1.0, 0.3]) for x, s in zip(
        POSITIONS, NOISES, strict=True)]
    found = simulated(3, None, True, 1000)
    law = joint.law_of_gaussian_difference(problems, TRUTHS)
    assert np.any(law.weights < 0) and np.any(law.weights > 0)
    assert fits(law, found)
    assert abs(found.mean() - law.mean) < 4 * math.sqrt(law.variance / 1000)
    equal = joint.law_of_gaussian_difference(problems, [TRUTHS[0]] * 3)
    assert not fits(equal, found)
    # A prior that grows is a box of its own volume.
    wide = [LinearRegression(design(x), 0 * x, s, 0.0, 1e6) for x, s in zip(
        POSITIONS[:2], NOISES, strict=False)]
    boxed = joint.law_of_difference([joint.Estimate(
        t, joint.estimate(design(x), x, s).covariance) for t, x, s in zip(
            TRUTHS, POSITIONS[:2], NOISES, strict=False)], 2 * math.pi * 1e6)
    law = joint.law_of_gaussian_difference(wide, TRUTHS[:2])
    assert quadratic.cumulative(law, boxed.mean) == pytest.approx(
        quadratic.cumulative(boxed, boxed.mean), abs=1e-5)


def test_a_law_whose_box_is_not_wide_is_said() -> None:
    C = np.eye(2)
    with pytest.warns(ValidityWarning, match="^probability_of_integration: the box is 2.0"):
        joint.probability_of_integration(C, C, [0.0, 0.0], 4.0)
    with pytest.raises(DomainError, match=r"second: .*covariance, \(2, 2\)"):
        joint.probability_of_integration(C, np.eye(3), [0.0, 0.0], 400.0)
    with pytest.raises(DomainError, match=r"first: .*covariance"):
        joint.probability_of_integration(-C, C, [0.0, 0.0], 400.0)
    with pytest.raises(DomainError, match=r"truths: .*parameters of each set"):
        joint.law_of_gaussian_difference([LinearRegression([[1.0]], [1.0])] * 2, [[1.0]])


# --- the product off the real axis ----------------------------------------------------------------


@pytest.mark.parametrize("factors", [1, 2, 3, 5])
def test_product_at_complex_sharpness(factors: int) -> None:
    """By mpmath's quadrature in u = -ln t, 20 digits, along a path that turns the phase off."""
    for c in (0.3 + 2j, 39 - 5j, 39.9j, 40.1j, 1000 + 300j, 2e5j):
        with mp.workdps(20):
            # t = exp(-u) turned by the half argument of c: c t^2 is positive on the outer part.
            C = mp.mpc(c)

            def density(t: mp.mpc) -> mp.mpc:
                return (-mp.log(t)) ** (factors - 1) / mp.factorial(factors - 1)

            turn = mp.exp(-0.5j * mp.arg(C))
            inner = mp.quad(lambda u, a=turn, f=density, C=C: f(a * mp.exp(-u)) * a * mp.exp(
                -u - C * (a * mp.exp(-u)) ** 2), mp.linspace(0, 80, 81))
            arc = mp.quad(lambda w, f=density, C=C: f(mp.exp(1j * w)) * 1j * mp.exp(
                1j * w - C * mp.exp(2j * w)), mp.linspace(-mp.arg(C) / 2, 0, 9))
            wanted = complex(inner + arc)
        assert singular.product_partition(c, factors) == pytest.approx(wanted, rel=1e-11, abs=1e-13)
    grid = singular.product_partition(np.array([1000.0 + 0j, 3.0 + 0j]), factors)
    assert grid == pytest.approx(singular.product_partition([1000.0, 3.0], factors), rel=1e-12)


def test_exchange_of_the_products_by_two_routes() -> None:
    """Gil-Pelaez from Z, and the double integral over u = -ln |ab|; the printed value."""
    from experiments.learning_coefficient import product_rate

    def log_z(c: Any) -> Any:
        return np.log(singular.product_partition(c))

    assert exchange_rate.acceptance(log_z, 1000.0, 2000.0) == pytest.approx(0.8192929600,
                                                                           **TEN_DIGITS)
    for hot, cold in ((50.0, 100.0), (1e6 / 1.5, 1e6)):
        assert exchange_rate.acceptance(log_z, hot, cold) == pytest.approx(
            product_rate(hot, cold), abs=2e-7)
    with pytest.raises(ArithmeticError, match="bounded from above"):     # c small: the walls
        exchange_rate.acceptance(log_z, 5.0, 10.0)
    # Normal priors: 400,000 weighted pairs; b given a is normal, so c (ab)^2 needs no rejection.
    normal = exchange_rate.acceptance(
        lambda c: np.log(singular.normal_product_partition(c)), 2.0, 5.0)
    a, U = np.random.default_rng(3).normal(size=(2, 400_000)), []
    for row, c, seed in zip(a, (2.0, 5.0), (4, 5), strict=True):
        p = (1 + 2 * c * row**2) ** -0.5
        row = np.random.default_rng(seed).choice(row, 400_000, p=p / p.sum())
        b = np.random.default_rng(seed + 9).normal(size=400_000) / np.sqrt(1 + 2 * c * row**2)
        U.append((row * b) ** 2)
    share = 2 * np.mean(U[0] < U[1])
    # Resampling repeats some draws: twice the binomial error covers it, tolerance 4.
    assert abs(share - normal) < 4 * 2 * math.sqrt(1 / 4e5)
    for bad in (-1.0 + 1j, complex(math.nan, 0.0)):
        with pytest.raises(DomainError, match="sharpness"):
            singular.product_partition(bad)
    with pytest.raises(DomainError, match="sharpness"):
        singular.normal_product_partition(0.0)


@pytest.mark.parametrize(("hot", "cold"), [(0.5, 1.0), (0.01, 0.02), (0.0, 0.001), (0.2, 3.0)])
def test_exchange_as_a_quadratic_form(hot: float, cold: float) -> None:
    """The law of U1 - U2 at zero against Gil-Pelaez from Z; and far from the prior, where that
    gives up, against the mean of min(1, exp(...)) over 100,000 exact draws of both rungs."""
    line = LinearRegression(design(X), Y, 0.5, 0.0, [4.0, 1.0])
    assert energies.exchange_acceptance(line, hot, cold) == pytest.approx(
        exchange_rate.acceptance(lambda b: evidence.log_partition(line, b), hot, cold), abs=1e-10)
    far = LinearRegression([[1.0], [1.0]], [5.0, 6.0])
    g, U = np.random.default_rng(1), []
    for beta in (hot, cold):
        mean, C = evidence.posterior(far, beta)
        theta = mean[0] + math.sqrt(C[0, 0]) * g.normal(size=100_000)
        U.append(((5.0 - theta) ** 2 + (6.0 - theta) ** 2) / 2)
    accept = np.minimum(1.0, np.exp((cold - hot) * (U[1] - U[0])))
    error = accept.std() / math.sqrt(100_000)
    assert abs(accept.mean() - energies.exchange_acceptance(far, hot, cold)) < 4 * error
    assert abs(accept.mean() - energies.exchange_acceptance(far, hot, 1.5 * cold)) > 4 * error


REFUSED = {
    "text": (lambda: choice.Question("5", 0, 1, 1), "weight: received '5', expected numbers"),
    "no covariance": (lambda: joint.difference([joint.Estimate([0.0], [[0.0]])] * 2, 9.0),
                      r"estimates\[0\].covariance"),
    "NaN": (lambda: joint.difference([joint.Estimate([math.nan], [[1.0]])] * 2, 9.0),
            r"estimates\[0\].value\[0\]: received nan"),
    "no column": (lambda: joint.estimate(np.zeros((3, 0)), [1, 2, 3], 1.0), "at least one column"),
    "leverage 1": (lambda: criteria.criteria(np.eye(2), [1.0, 2.0], 1.0), r"design\[0\]: .*prior"),
    "noises": (lambda: criteria.criteria(design(X), Y, [1.0, 2.0]), "one number or 6"),
    "no box": (lambda: BoxLine(X, Y, 1.0, (-1, 1), ()), "offset: received"),
    "rungs": (lambda: energies.exchange_acceptance(LinearRegression([[1.0]], [1.0]), 1.0, 1.0),
              "beta1 < beta2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_used_to_pass_or_crash_is_refused(name: str) -> None:
    call, pattern = REFUSED[name]
    with pytest.raises(DomainError, match=pattern):
        call()


# --- numbers that no other test held --------------------------------------------------------------


def test_temperature_at_which_wbic_would_be_exact() -> None:
    """beta* = 0.1666 at n = 6, far from 1/ln n = 0.5581; and at a million points near it."""
    line = LinearRegression(design(X), Y, 0.5, 0.0, [4.0, 1.0])
    beta = criteria.matching_temperature(line)
    assert beta == pytest.approx(0.1665505374, **TEN_DIGITS)
    assert evidence.mean_energy(line, beta) == pytest.approx(evidence.reduced_free_energy(line),
                                                             rel=1e-12)
    assert abs(beta - 1 / math.log(6)) > 0.3


def test_peaks_merge_as_the_heat_equation_says() -> None:
    """What makes two peaks nearly one: d^2 g / d mu^2 = -2 b^2 dg/db - b g, so that two peaks at
    -u and +u change the shape at fourth order only; the third and fourth moments of a lopsided
    pair (amplitudes 1 : alpha)."""
    x, mu = sp.symbols("x mu", real=True)
    b, u, alpha = sp.symbols("b u alpha", positive=True)
    g = sp.exp(-b * (x - mu) ** 2 / 2)
    assert sp.simplify(sp.diff(g, mu, 2) + 2 * b**2 * sp.diff(g, b) + b * g) == 0
    # Centred pair: at alpha u and -u, weights 1 and alpha over 1 + alpha; cumulants beyond the
    # second are what a width cannot mend.
    places = ((alpha * u, 1 / (1 + alpha)), (-u, alpha / (1 + alpha)))
    moment = [sp.factor(sp.simplify(sum(w * p**k for p, w in places))) for k in range(5)]
    assert moment[1] == 0
    fourth = sp.factor(moment[4] - 3 * moment[2] ** 2)
    assert sp.simplify(fourth.subs(alpha, 1) + 2 * u**4) == 0


@pytest.mark.parametrize("xi", [3.0, 30.0])
def test_a_wider_prior_costs_its_logarithm(xi: float) -> None:
    """Change the box and F moves by exactly the logarithm of the ratio: how a prior that is not
    normalised is found out."""
    F = [box.free_energy(BoxLine(X, Y, 0.5, (-w, w), (-w, w))) for w in (10.0, xi * 10)]
    assert F[1] - F[0] == pytest.approx(2 * math.log(xi), rel=1e-12)


def test_false_alarms_fall_like_the_root_of_n_ln_n() -> None:
    """erfc sqrt(c/2) with c ~ ln N + const: times sqrt(N ln N) it settles, slowly."""
    N = np.array([1e8, 1e16, 1e32])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = np.array([choice.probability_of_offset(choice.Question(n, 0.0, 10.0, 1.0)) for n in N])
    scaled = p * np.sqrt(N * np.log(N))
    limit = math.sqrt(2 / math.pi) * math.sqrt(2 * math.pi) / 20.0
    assert np.all(np.diff(np.abs(scaled / limit - 1)) < 0) and scaled[-1] == pytest.approx(
        limit, rel=0.06)
