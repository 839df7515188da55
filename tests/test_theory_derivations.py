"""The sympy derivations are what the numbers come from, and each step follows from the last.

Where a number is computed by a stable rewriting, the two are proved equal here: symbolically, or at
points to the digits of float64.  The derivations of `evidence`, `box`, `large_n` and the laws of a
choice have their tests beside their numbers.
"""

import math
import re
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from scipy import integrate, stats

from theory import choice, criteria, derivations, exchange_rate, joint, noise, singular, targets
from theory.errors import DomainError

BOOK = Path(__file__).resolve().parent.parent / "book"


def at(expression: Any, **values: Any) -> float:
    """The number of an expression whose symbols are given by name."""
    return float(expression.subs({q: values[q.name] for q in expression.free_symbols}).evalf(30))


@pytest.mark.parametrize("source", [*derivations.MODULES, "law"])
def test_every_derivation_is_typeset(source: str) -> None:
    """Every step is an expression of named symbols, and its LaTeX has no Python in it."""
    steps = derivations.steps(choice.law if source == "law" else source)
    typeset = derivations.latex(choice.law if source == "law" else source)
    assert list(typeset) == list(steps) and len(steps) >= 2
    for name, text in typeset.items():
        assert steps[name].free_symbols or name == "constant", name
        assert text.count("{") == text.count("}") and "**" not in text and "sqrt(" not in text


@pytest.mark.parametrize("module", derivations.MODULES)
def test_the_book_prints_every_derivation(module: str) -> None:
    """A page typesets a step of the module; of one that does not exist none does."""
    pages = [page.read_text() for page in BOOK.glob("*.md")]

    def printed(name: str) -> bool:
        call = rf"(latex|formula)\(\"{name}\"|\b{name}\.derivation\(\)"
        return any(re.search(call, page) for page in pages)

    assert printed(module) and not printed(module + "_of_nothing")


def test_what_has_no_derivation_is_refused() -> None:
    with pytest.raises(DomainError, match="one of box, choice"):
        derivations.steps("os")
    with pytest.raises(DomainError, match="named steps"):
        derivations.steps(lambda: 3)


# --- unknown noise --------------------------------------------------------------------------------


def test_noise_steps() -> None:
    """F(v), its least, the incomplete gamma function and the Student-t law, against the numbers."""
    steps, box = noise.derivation(), noise.WideBox(9, 2, 1.7, math.log(3000.0), 2.3)
    given = {"N": 9, "K": 2, "RSS": 1.7, "V": 3000.0, "det": math.exp(2.3)}
    assert at(steps.of_variance, v=0.3, **given) == pytest.approx(noise.free_energy(box, 0.3),
                                                                  rel=1e-14)
    assert (at(steps.stationary, **given), at(steps.empirical, **given)) == pytest.approx(
        noise.empirical_bayes(box), rel=1e-14)
    for lo, hi in ((1e-2, 1e2), (1.0, 1.1), (1e-4, 1e-2)):
        F = -sp.log(steps.log_uniform)
        assert at(F, v_lo=lo, v_hi=hi, **given) == pytest.approx(
            noise.log_uniform(box, lo, hi), rel=1e-12)
        mass = integrate.quad(lambda u: math.exp(-float(noise.free_energy(box, math.exp(u)))),
                              math.log(lo), math.log(hi), epsabs=0, epsrel=1e-11)[0]
        assert -math.log(mass / math.log(hi / lo)) == pytest.approx(
            noise.log_uniform(box, lo, hi), rel=1e-9)
    # One parameter of the multivariate t: location, scale, 2a degrees of freedom.
    X = np.stack([np.arange(6.0), np.ones(6)], axis=1)
    found = noise.normal_inverse_gamma(X, X[:, 0] * 0.9 + np.cos(np.arange(6)), 3.0, 1.0)
    scale = float(found.scale[0, 0])
    law = stats.t(found.freedom, loc=found.mean[0], scale=math.sqrt(scale))
    for x in (0.01, 0.4, 3.0):
        density = at(steps.student, a=found.shape, g=found.rate, x=x,
                     C=scale * found.shape / found.rate)
        assert density == pytest.approx(law.pdf(found.mean[0] + x), rel=1e-12)


# --- several data sets ----------------------------------------------------------------------------


def test_joint_steps() -> None:
    """Symbolically: the difference is the ratio of its integrals, three sets contain two, a wide
    Gaussian prior is a box of volume sqrt(2 pi S0); and the numbers."""
    steps = joint.derivation()
    s1, s2, V, S0 = sp.symbols("s_1 s_2 V S_0", positive=True)
    separate = steps.separate * steps.separate.subs(s1, s2)
    ratio = steps.together / separate
    assert sp.simplify(ratio * sp.exp(steps.difference)) == 1
    p, t = sp.symbols("p_1:4", positive=True), sp.symbols("theta_1:4", real=True)
    # A third set that says nothing costs a factor of its own, evidence against evidence.
    D = sp.Symbol("D", real=True)
    pair = steps.difference.subs({D: t[0] - t[1], s1: 1 / sp.sqrt(p[0]), s2: 1 / sp.sqrt(p[1])})
    alone = (sp.log(2 * sp.pi / p[2]) / 2 - sp.log(V))
    rest = sp.limit(sp.simplify(steps.three - pair - alone), p[2], 0)
    assert sp.simplify(sp.expand_log(rest, force=True)) == 0
    wide = steps.gaussian - pair.subs(V, sp.sqrt(2 * sp.pi * S0))
    assert at(wide.subs(S0, sp.Integer(10) ** 14), p_1=2, p_2=3, theta_1=0.4, theta_2=1.1) == \
        pytest.approx(0.0, abs=1e-12)
    sets = [joint.Estimate(np.array([v]), np.array([[1 / q]]))
            for v, q in ((0.4, 2.0), (1.1, 3.0), (-0.2, 0.7))]
    numbers = {"p_1": 2.0, "p_2": 3.0, "p_3": 0.7, "theta_1": 0.4, "theta_2": 1.1, "theta_3": -0.2,
               "V": 50.0, "S_0": 1.6}
    assert at(pair, **numbers) == pytest.approx(joint.difference(sets[:2], 50.0), rel=1e-13)
    assert at(steps.three, **numbers) == pytest.approx(joint.difference(sets, 50.0), rel=1e-13)
    from theory.evidence import LinearRegression

    problems = [LinearRegression([[1.0]], [v], 1 / math.sqrt(q), 0.0, 1.6)
                for v, q in ((0.4, 2.0), (1.1, 3.0))]
    assert at(steps.gaussian, **numbers) == pytest.approx(joint.gaussian_difference(problems),
                                                          rel=1e-13)


@pytest.mark.long
def test_misfit_of_two_sets_for_general_covariances() -> None:
    """The sum of both sets' misfits to their mean is D^T (Sigma_1 + Sigma_2)^-1 D, symbolically for
    two parameters and any two covariances."""
    A = sp.Matrix(2, 2, sp.symbols("A_11 A_12 A_12 A_22", real=True))
    B = sp.Matrix(2, 2, sp.symbols("B_11 B_12 B_12 B_22", real=True))
    D = sp.Matrix(sp.symbols("D_1 D_2", real=True))
    P, Q = A.inv(), B.inv()
    mean = (P + Q).inv() * (P * D)                       # the other estimate at zero
    total = ((D - mean).T * P * (D - mean) + mean.T * Q * mean)[0]
    assert sp.cancel(total - joint.derivation().quadratic) == 0


# --- exchange -------------------------------------------------------------------------------------


@pytest.mark.long
def test_exchange_steps() -> None:
    """From P(U1 < U2) as a double integral to the law, its slope and the barrier."""
    steps = exchange_rate.derivation()
    power, r, U, v = sp.symbols("lambda r U v", positive=True)
    beta, low, high = sp.symbols("beta beta_1 beta_2", positive=True)
    # lambda = 2, by brute force: integrate both gamma densities over U1 < U2.
    W = sp.Symbol("W", positive=True)
    hot, cold = (steps.density.subs({power: 2, beta: b, U: u}) for b, u in ((low, U), (high, W)))
    below = sp.integrate(hot, (U, 0, W))
    chance = sp.integrate(sp.expand(cold * below), (W, 0, sp.oo)).subs(high, r * low)
    assert sp.simplify(2 * chance - steps.acceptance.subs(power, 2).doit()) == 0
    for shape in (0.5, 1.5, 4.0):
        A = steps.acceptance.subs({power: sp.nsimplify(shape), r: 2})
        assert float(A.evalf(20)) == pytest.approx(exchange_rate.power_law(shape, 2.0), rel=1e-12)
        constant = at(steps.constant, **{"lambda": shape})
        assert constant == pytest.approx(exchange_rate.barrier_constant(shape), rel=1e-13)
        assert at(steps.barrier, beta_1=0.01, beta_2=2.0, **{"lambda": shape}) == pytest.approx(
            exchange_rate.barrier(shape, 0.01, 2.0), rel=1e-13)
        assert at(steps.divergence, r=2.5, **{"lambda": shape}) == pytest.approx(
            exchange_rate.symmetrised_divergence(shape, 2.5), rel=1e-13)
    assert sp.simplify(sp.integrate(steps.share.subs(power, 3), (v, 0, 1))) == 1


# --- criteria -------------------------------------------------------------------------------------


def test_criteria_steps() -> None:
    """The numbers are sums of the derived terms; the means by sympy are those of `expected`."""
    steps = criteria.derivation()
    g = np.random.default_rng(1)
    x = g.normal(size=8)
    X, s = np.stack([x, np.ones(8), x**2], axis=1), 0.7
    y = X @ [1.0, 0.2, -0.4] + s * g.normal(size=8)
    found = criteria.criteria(X, y, s)
    residuals = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    given = [{"r": r, "h": h, "s": s} for r, h in zip(residuals, found.pareto, strict=True)]

    def total(expression: Any) -> float:
        return math.fsum(at(expression, **q) for q in given)

    assert total(steps.p_waic) == pytest.approx(found.p_waic, rel=1e-12)
    assert total(steps.p_waic - steps.lppd) == pytest.approx(found.waic, rel=1e-12)
    assert total(steps.loo) == pytest.approx(found.loo, rel=1e-12)
    assert total(sp.exp(steps.lppd) - steps.predictive) == pytest.approx(0.0, abs=1e-13)
    # DIC counts twice the mean excess of the deviance: p_D = sum of h.
    assert 2 * total(steps.deviance) == pytest.approx(found.p_dic, rel=1e-12)
    assert found.dic == pytest.approx(-found.log_likelihood + found.p_dic, rel=1e-12)
    assert at(steps.wbic, n=8, d=3) - found.log_likelihood == pytest.approx(found.wbic, rel=1e-12)
    bias = criteria.expected(X)
    for expression, value in ((steps.loss, bias.generalisation), (steps.waic_mean, bias.waic),
                              (steps.loo_mean, bias.loo)):
        assert total(expression) == pytest.approx(value, rel=1e-12)
    # What LOO and WAIC add to the loss they estimate.
    h = sp.Symbol("h", positive=True)
    assert sp.simplify(sp.expand_log(
        steps.waic_mean - steps.loss - h**2 * (1 - h) / (2 * (1 + h)), force=True)) == 0
    assert at(steps.loo_mean - steps.loss + sp.log(1 - h**2) / 2, h=0.3) == pytest.approx(
        0.0, abs=1e-14)


# --- singular models ------------------------------------------------------------------------------


def test_singular_steps() -> None:
    """Series against quadrature at small c, leading form at large c, its slopes, and K_0."""
    steps = singular.derivation()
    (c,) = steps.partition.free_symbols
    for value in (0.3, 5.0, 30.0):
        assert float(steps.partition.subs(c, value).evalf(25)) == pytest.approx(
            singular.product_partition(value), rel=1e-11)
    # Of d factors: 1/2 d times over 3/2 d times, by mpmath's series with hundreds of digits.
    for factors in (1, 2, 3, 5):
        for value in (0.3, 1000.0):
            series = mp.hyper([0.5] * factors, [1.5] * factors, -value)
            assert singular.product_partition(value, factors) == pytest.approx(float(series),
                                                                               rel=1e-11)
    L = math.log(4e6) + np.euler_gamma
    assert at(steps.energy, c=1e6) == pytest.approx(0.5 - 1 / L, rel=1e-12)
    assert at(steps.heat_capacity, c=1e6) == pytest.approx(0.5 - 1 / L - 1 / L**2, rel=1e-12)
    assert (at(steps.leading, c=1e6), at(steps.energy, c=1e6), at(steps.heat_capacity, c=1e6)) == \
        pytest.approx((singular.product_partition(1e6), *singular.product_energy(1e6)), rel=1e-8)
    for value in (0.2, 40.0, 1000.0):
        assert at(steps.normal, c=value) == pytest.approx(
            singular.normal_product_partition(value), rel=1e-10)


# --- what a sampler must show ---------------------------------------------------------------------


def test_targets_steps() -> None:
    steps = targets.derivation()
    s, d = sp.symbols("s d", positive=True)
    for dimension in (1, 2, 3, 4):
        exact = sp.lambdify(s, steps.walk.subs(d, dimension).doit())
        for step in (0.3, 2.4):
            assert exact(step) == pytest.approx(
                float(targets.random_walk_acceptance(dimension, step)), rel=1e-12)
            assert targets.random_walk_acceptance_of(np.eye(dimension), step) == pytest.approx(
                exact(step), rel=1e-12)
    assert at(steps.walk_one, s=2.4) == pytest.approx(0.4422841232, abs=6e-11)
    assert at(steps.flat, r=4) == pytest.approx(float(targets.flat_acceptance(4.0)), rel=1e-13)
    assert sp.simplify(steps.leapfrog.det()) == 1
    # The trajectory's largest singular value, from sympy's own matrix.
    epsilon = sp.Symbol("epsilon", positive=True)
    three = np.array((steps.leapfrog**3).subs(epsilon, 0.8), dtype=float)
    largest = np.linalg.svd(three, compute_uv=False)[0]
    assert targets.leapfrog_acceptance(4, 0.8, 3) == pytest.approx(
        exchange_rate.power_law(2.0, largest**2), rel=1e-12)
    z = sp.Symbol("z", positive=True)
    plus, minus = steps.stretch_roots
    assert sp.simplify(plus * minus - steps.stretch.det()) == 0
    assert sp.simplify(plus + minus - steps.stretch.trace()) == 0
    assert sp.simplify(steps.stretch.det() + (z - 1) ** 2) == 0       # of opposite sign
    # A power law: Z = beta^(-1/2), any step.
    Z, beta, Delta = sp.Function("Z"), *sp.symbols("beta Delta", positive=True)
    law = steps.increment.replace(Z, lambda b: b ** sp.Rational(-1, 2))
    assert float(law.subs({beta: 1, Delta: 1})) == pytest.approx(
        1 / math.sqrt(3) * 2 - 1, rel=1e-13)
