"""Every closed form of `theory` against its reference value and by a second, independent route.

Reference values were computed to ten digits; the second routes are quadrature with mpmath or
scipy, brute-force matrices, or a symbolic identity.  Nothing here is random but two checks of a
law by simulation, which state their draws and false-alarm rates.
"""

import math
import warnings

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from scipy import integrate, stats

from theory import box, evidence, exchange_rate, large_n
from theory.box import BoxLine
from theory.errors import DomainError
from theory.evidence import LinearRegression

R5 = ([-2.0, -1.0, 0.0, 1.0, 2.0], [-1.9, -0.8, 0.4, 0.9, 2.3])
Q6 = ([0.0, 1.0, 2.0, 3.0, 4.0, 6.0], [0.3, 1.1, 2.4, 2.7, 4.5, 6.2])
TEN_DIGITS = {"rel": 0, "abs": 6e-11}


def design(x: list[float]) -> np.ndarray:
    return np.stack([np.array(x), np.ones(len(x))], axis=1)


LINE = LinearRegression(design(Q6[0]), Q6[1], 0.5, 0.0, [4.0, 1.0])


# --- Gaussian prior -------------------------------------------------------------------------

def by_matrices(problem: LinearRegression, beta: float) -> float:
    """F~ from the marginal covariance of the data; no singular values."""
    X, s2 = problem.design, np.diag(problem.noise**2)
    r = problem.y - X @ problem.prior_mean
    spread = X @ problem.prior_covariance @ X.T
    C = np.eye(len(r)) + beta * np.linalg.solve(s2, spread)
    return 0.5 * np.linalg.slogdet(C)[1] + 0.5 * beta * r @ np.linalg.solve(s2 + beta * spread, r)


def by_brute_force(problem: LinearRegression, beta: float) -> tuple[float, float, float]:
    """F~, <U> and C by the trapezoid rule over both parameters, around the tempered posterior."""
    mean, covariance = evidence.posterior(problem, beta)
    L = np.linalg.cholesky(covariance)
    z = np.linspace(-9, 9, 361)
    grid = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2) @ L.T + mean
    U = np.sum(((problem.y - grid @ problem.design.T) / problem.noise) ** 2, axis=1) / 2
    prior = stats.multivariate_normal(problem.prior_mean, problem.prior_covariance).logpdf(grid)
    log_p = prior - beta * U
    top = log_p.max()
    w = np.exp(log_p - top)
    cell = (z[1] - z[0]) ** 2 * np.linalg.det(L)
    mean_U = np.average(U, weights=w)
    return (-top - math.log(w.sum() * cell), mean_U,
            beta**2 * np.average((U - mean_U) ** 2, weights=w))


@pytest.mark.parametrize(("beta", "F", "U", "C"), [
    (0.1, 2.8642163657, 8.0666011527, 0.5990839361),
    (1.0, 5.5510741764, 1.7471541233, 0.8998205474)])
def test_gaussian_prior_reference_values_by_three_routes(
        beta: float, F: float, U: float, C: float) -> None:
    ours = (evidence.reduced_free_energy(LINE, beta), evidence.mean_energy(LINE, beta),
            evidence.heat_capacity(LINE, beta))
    assert ours == pytest.approx((F, U, C), **TEN_DIGITS)
    assert by_matrices(LINE, beta) == pytest.approx(F, **TEN_DIGITS)
    assert by_brute_force(LINE, beta) == pytest.approx((F, U, C), rel=1e-9)


def test_gaussian_prior_totals() -> None:
    assert evidence.free_energy(LINE) == pytest.approx(6.9058222923, **TEN_DIGITS)
    assert evidence.information(LINE) == pytest.approx(3.8039200531, **TEN_DIGITS)
    assert evidence.mean_energy(LINE, 0.0) == pytest.approx(686.08, rel=1e-13)
    assert LINE.residual_energy == pytest.approx(0.8, rel=1e-12)
    assert sorted(LINE.eigenvalues) == pytest.approx([8.3610247546, 1071.6389752454], **TEN_DIGITS)
    assert sorted(abs(LINE.components)) == pytest.approx([0.3987002210, 17.0411571829],
                                                         **TEN_DIGITS)
    marginal = stats.multivariate_normal(np.zeros(6), 0.25 * np.eye(6)
                                         + LINE.design @ np.diag([4.0, 1.0]) @ LINE.design.T)
    assert evidence.free_energy(LINE) == pytest.approx(-marginal.logpdf(Q6[1]), rel=1e-12)
    # Var U at the prior, from C / beta^2 close to it.
    assert evidence.heat_capacity(LINE, 1e-9) / 1e-18 == pytest.approx(885446.4, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("points", "d"), [(1, 1), (3, 5), (8, 3), (40, 6)])
def test_any_design_any_covariance_any_temperature(points: int, d: int, seed: int) -> None:
    """Also with fewer points than parameters; F~ by matrices, the posterior by its equations,
    <U> and C by differences of F~."""
    g = np.random.default_rng([seed, points, d])
    root = g.normal(size=(d, d)) + 2 * np.eye(d)
    problem = LinearRegression(g.normal(size=(points, d)), g.normal(size=points) * 2,
                               g.uniform(0.3, 2, points), g.normal(size=d), root @ root.T)
    for beta in (0.0, 1e-3, 0.4, 1.0, 20.0):
        assert evidence.reduced_free_energy(problem, beta) == pytest.approx(
            by_matrices(problem, beta), rel=1e-9, abs=1e-11)
        mean, covariance = evidence.posterior(problem, beta)
        A = problem.design / problem.noise[:, None]
        precision = np.linalg.inv(problem.prior_covariance)
        assert covariance @ (precision + beta * A.T @ A) == pytest.approx(np.eye(d), abs=1e-8)
        pull = precision @ problem.prior_mean + beta * A.T @ (problem.y / problem.noise)
        assert mean == pytest.approx(covariance @ pull, rel=1e-7, abs=1e-8)
    h = 1e-4
    F = [by_matrices(problem, 0.4 + k * h) for k in (-1, 0, 1)]
    assert evidence.mean_energy(problem, 0.4) == pytest.approx((F[2] - F[0]) / (2 * h), rel=1e-6)
    assert evidence.heat_capacity(problem, 0.4) == pytest.approx(
        -0.16 * (F[2] - 2 * F[1] + F[0]) / h**2, rel=1e-4, abs=1e-6)


def test_the_derivation_is_the_integral() -> None:
    """Each step of the sympy derivation against mpmath quadrature at 25 digits."""
    steps = evidence.derivation()
    z, c = sp.symbols("z c", real=True)
    beta, kappa = sp.symbols("beta kappa", positive=True)
    exponent = -z**2 / 2 - beta * (sp.sqrt(kappa) * z - c) ** 2 / 2
    assert sp.simplify(steps.square - exponent) == 0
    with mp.workdps(25):
        for b, k, d in ((0.3, 7.0, 1.2), (1.0, 0.01, -3.0), (4.0, 100.0, 5.0)):
            at = {beta: b, kappa: k, c: d}
            density = sp.lambdify(z, steps.integrand.subs(at), "mpmath")
            Z = mp.quad(density, mp.linspace(-12, 12, 49))
            energy = sp.lambdify(z, ((sp.sqrt(kappa) * z - c) ** 2 / 2).subs(at), "mpmath")
            U, U2 = (mp.quad(lambda t, p=p, f=density, e=energy: f(t) * e(t) ** p,
                             mp.linspace(-12, 12, 49)) / Z for p in (1, 2))
            for expression, value in ((steps.partition, Z), (steps.free_energy, -mp.log(Z)),
                                      (steps.mean_energy, U),
                                      (steps.heat_capacity, b**2 * (U2 - U**2))):
                assert float(expression.subs(at).evalf(20)) == pytest.approx(float(value),
                                                                             rel=1e-14)


def test_one_ladder_holds_every_noise_level() -> None:
    for s in (0.2, 0.5, 1.3):
        direct = LinearRegression(LINE.design, LINE.y, s, 0.0, [4.0, 1.0])
        assert evidence.free_energy_of_noise(LINE, s) == pytest.approx(
            evidence.free_energy(direct), rel=1e-13)
    uneven = LinearRegression(LINE.design, LINE.y, np.arange(1, 7.0))
    with pytest.raises(DomainError, match="one noise level"):
        evidence.free_energy_of_noise(uneven, 1.0)


def test_a_tempered_normalisation_or_a_lost_determinant_is_caught() -> None:
    """Broken twins: the two commonest mistakes move F by far more than the tolerance."""
    F = evidence.reduced_free_energy(LINE, 0.1)
    tempered = F + (0.1 - 1.0) * LINE.normalisation
    no_volume = F - 0.5 * np.sum(np.log1p(0.1 * LINE.eigenvalues))
    for wrong in (tempered, no_volume):
        assert wrong != pytest.approx(2.8642163657, **TEN_DIGITS)


# --- box priors -----------------------------------------------------------------------------

BOXES = {(1, "R5", 10): 5.6681902306, (1, "R5", 1): 4.1104973239,
         (2, "R5", 10): 8.9188501078, (2, "R5", 1): 5.0586948149,
         (1, "Q6", 10): 7.1892133775, (1, "Q6", 1): 6.4218353627,
         (2, "Q6", 10): 10.1654511690, (2, "Q6", 1): 6.2734108688}


def line(K: int, name: str, xi: float, noise: float = 0.5) -> BoxLine:
    x, y = {"R5": R5, "Q6": Q6}[name]
    return BoxLine(x, y, noise, (-xi, xi), (-xi, xi) if K == 2 else None)


def by_mpmath(problem: BoxLine, beta: float) -> float:
    """F~ with the integral over b as error functions and over a by adaptive quadrature."""
    x, y = problem.x, problem.y
    s2 = mp.mpf(problem.noise) ** 2
    N, Sx, Sxx, Sy, Sxy, Syy = (mp.mpf(float(v)) for v in (
        len(x), x.sum(), x @ x, y.sum(), x @ y, y @ y))
    lo, hi = problem.slope

    def inner(a: mp.mpf) -> mp.mpf:
        rss = Syy - 2 * a * Sxy + a * a * Sxx
        if problem.offset is None:
            return mp.e ** (-beta * rss / (2 * s2))
        b_hat = (Sy - a * Sx) / N
        k = mp.sqrt(beta * N / (2 * s2))
        low, high = (k * (wall - b_hat) for wall in problem.offset)
        # The tail that does not cancel.
        part = mp.erfc(low) - mp.erfc(high) if low > 0 else mp.erfc(-high) - mp.erfc(-low)
        return mp.e ** (-beta * (rss - N * b_hat**2) / (2 * s2)) * mp.sqrt(mp.pi) / (2 * k) * part

    with mp.workdps(20):
        edges = mp.linspace(lo, hi, 25)
        top = max(inner(a) for a in edges)           # quad's tolerance is an absolute one
        volume = (hi - lo) * (1 if problem.offset is None else
                              problem.offset[1] - problem.offset[0])
        return float(-mp.log(mp.quad(lambda a: inner(a) / top, edges) * top / volume))


@pytest.mark.parametrize(("key", "F"), BOXES.items())
def test_box_reference_values_by_two_routes(key: tuple[int, str, float], F: float) -> None:
    problem = line(*key)
    constant = 0.5 * len(problem.y) * math.log(2 * math.pi * 0.25)
    assert box.free_energy(problem) == pytest.approx(F, **TEN_DIGITS)
    assert by_mpmath(problem, 1.0) + constant == pytest.approx(F, **TEN_DIGITS)


@pytest.mark.parametrize(("beta", "U", "C"), [
    (1.0, 1.118, 0.5), (0.01, 50.6179891635, 0.4999981939), (1e-4, 647.8091260639, 0.0038754441)])
def test_box_energy_and_heat_capacity(beta: float, U: float, C: float) -> None:
    problem = line(1, "R5", 10)
    assert box.mean_energy(problem, beta) == pytest.approx(U, **TEN_DIGITS)
    assert box.heat_capacity(problem, beta) == pytest.approx(C, **TEN_DIGITS)
    # Second route: the symbolic derivatives of the closed form, with 40 digits.
    steps = box.derivation()
    values = {"beta": beta, "xi": 10, "S": 10, "s": sp.Rational(1, 2),
              "RSS": sp.Rational(309, 1000), "a_hat": sp.Rational(101, 100)}
    assert float(values["RSS"]) == pytest.approx(2 * 0.25 * problem.minimum, rel=1e-12)
    for expression, value in ((steps.mean_energy, U), (steps.heat_capacity, C)):
        at = {q: values[q.name] for q in expression.free_symbols}
        assert float(expression.subs(at).evalf(40)) == pytest.approx(value, **TEN_DIGITS)


@pytest.mark.parametrize("xi", [0.02, 0.7, 1.0, 10.0])
@pytest.mark.parametrize("name", ["R5", "Q6"])
@pytest.mark.parametrize("K", [1, 2])
def test_box_at_any_temperature(K: int, name: str, xi: float) -> None:
    """Boxes smaller than the posterior, estimates outside the box, walls that cut it."""
    problem = line(K, name, xi)
    for beta in (0.003, 0.3, 7.0):
        assert box.reduced_free_energy(problem, beta) == pytest.approx(
            by_mpmath(problem, beta), rel=1e-11, abs=1e-11)
        h = beta * 1e-2
        F = [box.reduced_free_energy(problem, beta + k * h) for k in (-2, -1, 0, 1, 2)]
        slope = (8 * (F[3] - F[1]) - (F[4] - F[0])) / (12 * h)
        bend = (16 * (F[3] + F[1]) - (F[4] + F[0]) - 30 * F[2]) / (12 * h * h)
        assert box.mean_energy(problem, beta) == pytest.approx(slope, rel=1e-7)
        assert box.heat_capacity(problem, beta) == pytest.approx(-(beta**2) * bend, rel=1e-4,
                                                                abs=1e-7)
    assert box.reduced_free_energy(problem, 0.0) == pytest.approx(0.0, abs=1e-12)
    assert box.heat_capacity(problem, 0.0) == 0.0


def test_box_moments_at_the_prior_are_polynomials() -> None:
    """<U> and the limit of C / beta^2 at beta = 0, by exact moments of a uniform pair."""
    problem, a, b = line(2, "Q6", 1.0), *sp.symbols("a b")
    U = sum((sp.nsimplify(y) - a * sp.nsimplify(x) - b) ** 2
            for x, y in zip(*Q6, strict=True)) / (2 * sp.Rational(1, 4))
    mean, square = (float(sp.integrate(sp.integrate(sp.expand(u), (a, -1, 1)), (b, -1, 1)) / 4)
                    for u in (U, U**2))
    assert box.mean_energy(problem, 0.0) == pytest.approx(mean, rel=1e-12)
    assert box.heat_capacity(problem, 1e-8) / 1e-16 == pytest.approx(square - mean**2, rel=1e-4)


def test_correlated_rectangle_is_not_a_product() -> None:
    """P of the rectangle against scipy's bivariate normal; ignoring the correlation is caught."""
    problem = line(2, "Q6", 1.0)
    covariance = np.linalg.inv(problem.hessian)
    law = stats.multivariate_normal(problem.estimate, covariance)
    P = law.cdf([1, 1]) - law.cdf([-1, 1]) - law.cdf([1, -1]) + law.cdf([-1, -1])
    assert box.rectangle_probability(problem) == pytest.approx(P, rel=1e-6)
    sd = np.sqrt(np.diag(covariance))
    product = np.prod(stats.norm.cdf((1 - problem.estimate) / sd)
                      - stats.norm.cdf((-1 - problem.estimate) / sd))
    assert product != pytest.approx(P, rel=5e-3)


def test_wide_limit_is_the_penalty_and_says_where_it_ends() -> None:
    for K, name in ((1, "R5"), (2, "R5"), (1, "Q6"), (2, "Q6")):
        problem = line(K, name, 10)
        assert box.wide_limit(problem) == pytest.approx(box.reduced_free_energy(problem),
                                                        rel=1e-13)
    with pytest.warns(UserWarning, match="posterior standard deviations"):
        wrong = box.wide_limit(line(1, "Q6", 1))
    assert abs(wrong - box.reduced_free_energy(line(1, "Q6", 1))) > 0.1
    steps = box.derivation()
    difference = steps.wide - steps.free_energy
    values = {"beta": 1, "S": 10, "s": sp.Rational(1, 2), "RSS": 0, "a_hat": 1, "xi": 10}
    at = {q: values[q.name] for q in difference.free_symbols}
    assert abs(difference.subs(at).evalf(40)) < 1e-30


def test_far_outside_the_box_keeps_its_digits() -> None:
    """An estimate 60 posterior sd beyond the wall, where the error functions cancel to zero."""
    problem = BoxLine([1.0, 2.0], [40.0, 81.0], 1.0, (-1.0, 13.5))
    with mp.workdps(2000):
        k, a_hat = mp.sqrt(mp.mpf(5) / 2), mp.mpf(202) / 5
        part = mp.erf(k * (13.5 - a_hat)) - mp.erf(k * (-1 - a_hat))
        rss = 40**2 + 81**2 - mp.mpf(202) ** 2 / 5
        exact = rss / 2 - mp.log(mp.sqrt(mp.pi) / (2 * k) * part / 14.5)
    assert box.reduced_free_energy(problem) == pytest.approx(float(exact), rel=1e-13)


# --- exchange -------------------------------------------------------------------------------

POWER = {(0.5, 2.0): 0.7836531041, (1.0, 2.0): 0.6666666667, (1.5, 2.0): 0.5835828116,
         (2.0, 1.5): 0.704, (5.0, 1.2): 0.7787253962, (10.0, 1.5): 0.3721840428}


@pytest.mark.parametrize(("key", "A"), POWER.items())
def test_power_law_reference_values_by_three_routes(key: tuple[float, float], A: float) -> None:
    shape, ratio = key
    assert exchange_rate.power_law(shape, ratio) == pytest.approx(A, **TEN_DIGITS)
    overlap = integrate.quad(lambda u: stats.gamma.pdf(u, shape) * stats.gamma.sf(u * ratio, shape),
                             0, np.inf, epsabs=1e-13, epsrel=1e-12, limit=500)[0]
    assert 2 * overlap == pytest.approx(A, abs=1e-9)
    assert exchange_rate.acceptance(lambda b: -shape * np.log(b), 1.0, ratio) == pytest.approx(
        A, **TEN_DIGITS)


def test_power_law_closed_forms() -> None:
    law = exchange_rate.derivation().acceptance
    power, r = sp.symbols("lambda r", positive=True)
    assert sp.simplify(law.subs(power, 1).doit() - 2 / (1 + r)) == 0
    assert float(law.subs({power: sp.Rational(3, 2), r: 2}).evalf(20)) == pytest.approx(
        0.5835828116, **TEN_DIGITS)
    for ratio in (1.0, 1.3, 2.0, 40.0):
        assert exchange_rate.power_law(0.5, ratio) == pytest.approx(
            4 / math.pi * math.atan(ratio**-0.5), rel=1e-13)


def test_barrier_is_the_first_order_of_the_law() -> None:
    for shape, c in ((0.5, 1 / math.pi), (1, 0.5), (1.5, 2 / math.pi), (3, 0.9375)):
        assert exchange_rate.barrier_constant(shape) == pytest.approx(c, rel=1e-13)
        h = 1e-5
        rejected = 1 - exchange_rate.power_law(shape, 1 + h)
        assert rejected / h == pytest.approx(c, rel=1e-4)
        # The global barrier is the sum of rejections along an ever finer ladder.
        ladder = np.geomspace(0.01, 1, 20001)
        total = np.sum(1 - exchange_rate.power_law(shape, ladder[1:] / ladder[:-1]))
        assert exchange_rate.barrier(shape, 0.01, 1.0) == pytest.approx(total, rel=1e-3)
    assert exchange_rate.power_law_erfc(10, 1.5) == pytest.approx(0.3528697693, **TEN_DIGITS)
    assert exchange_rate.power_law_linear(10, 1.5) == pytest.approx(0.119, abs=5e-4)


def test_divergence_of_two_rungs() -> None:
    """1.35 at lambda = 1.5, r = 2.5, and both Kullback-Leibler integrals by quadrature."""
    p, q = stats.gamma(1.5), stats.gamma(1.5, scale=1 / 2.5)
    both = sum(integrate.quad(lambda u, a=a, b=b: a.pdf(u) * (a.logpdf(u) - b.logpdf(u)),
                              0, np.inf)[0] for a, b in ((p, q), (q, p)))
    assert exchange_rate.symmetrised_divergence(1.5, 2.5) == pytest.approx(1.35, rel=1e-13)
    assert both == pytest.approx(1.35, rel=1e-7)


@pytest.mark.parametrize(("hot", "cold", "A"), [
    (0.5, 1.0, 0.6887888008990), (0.01, 0.02, 0.7893655901728), (0.0, 0.001, 0.7329127935365)])
def test_gil_pelaez_by_two_quadratures_and_by_simulation(
        hot: float, cold: float, A: float) -> None:
    """A finite prior bends the power law; exact value by mpmath, and the meaning by simulation.

    400,000 pairs of exact draws; tolerance 4 standard errors; false alarm 6e-5 each.
    """
    ours = exchange_rate.acceptance(lambda b: evidence.log_partition(LINE, b), hot, cold)
    assert ours == pytest.approx(A, **TEN_DIGITS)
    with mp.workdps(20):
        def log_Z(b: mp.mpc) -> mp.mpc:
            return -sum(mp.log(1 + b * k) / 2 + b * c * c / (1 + b * k) / 2
                        for k, c in zip(map(float, LINE.eigenvalues),
                                        map(float, LINE.components), strict=True))

        rest = log_Z(hot) + log_Z(cold)
        integral = mp.quad(lambda u: mp.im(mp.exp(
            log_Z(hot - 1j * mp.e**u) + log_Z(cold + 1j * mp.e**u) - rest)),
            list(range(-60, 60, 3)))
    assert ours == pytest.approx(float(1 - 2 / mp.pi * integral), **TEN_DIGITS)
    g, pairs, energies = np.random.default_rng(20), 400_000, []
    for beta in (hot, cold):
        mean, covariance = evidence.posterior(LINE, beta)
        theta = g.multivariate_normal(mean, covariance, pairs)
        energies.append(np.sum(((LINE.y - theta @ LINE.design.T) / 0.5) ** 2, axis=1) / 2)
    ratio = np.minimum(1, np.exp((cold - hot) * np.minimum(energies[1] - energies[0], 0)))
    assert abs(ratio.mean() - ours) < 4 * ratio.std() / math.sqrt(pairs)
    twin = exchange_rate.power_law(1.0, cold / hot) if hot else 0.0       # the infinite prior
    assert abs(ratio.mean() - twin) > 4 * ratio.std() / math.sqrt(pairs)


@pytest.mark.parametrize(("hot", "cold"), [(0.0, 0.4), (0.02, 0.1), (0.3, 1.0), (1.0, 30.0)])
@pytest.mark.parametrize("xi", [0.9, 1.0, 1.3, 10.0])
def test_box_acceptance_is_the_double_integral(hot: float, cold: float, xi: float) -> None:
    """A = 2 P(U1 < U2) by a fine grid over both slopes, walls on either side of the estimate."""
    problem = line(1, "R5", xi)
    edges = np.linspace(-xi, xi, 400_001)
    a = 0.5 * (edges[1:] + edges[:-1])
    U = 5 * (a - problem.estimate[0]) ** 2 / 0.25
    order = np.argsort(U)
    p, q = (np.exp(-b * (U - U.min()))[order] for b in (hot, cold))
    above = 1 - (np.cumsum(q) - 0.5 * q) / q.sum()
    assert box.acceptance(problem, hot, cold) == pytest.approx(2 * (p / p.sum()) @ above, abs=2e-5)


def test_gil_pelaez_refuses_what_it_cannot_do() -> None:
    """A box prior at beta = 0: the characteristic function oscillates for ever."""
    from scipy.special import erf

    def uniform(beta: np.ndarray) -> np.ndarray:
        root = np.sqrt(np.where(beta == 0, 1e-30, beta))
        return np.log(math.sqrt(math.pi) * erf(20.0 * root) / (40.0 * root))

    with pytest.raises(ArithmeticError, match="bounded from above"):
        exchange_rate.acceptance(uniform, 0.0, 0.01)


def test_round_trip_rates_of_a_simulated_index_process() -> None:
    """Ideal exchanges at rejection 0.2 over 11 gaps, 200,000 sweeps, 12 replicas.

    The count of round trips is nearly Poisson: its error is taken from 20 blocks, tolerance 5
    standard errors (false alarm 1e-4 with 20 blocks).
    """
    def simulate(reversible: bool) -> tuple[float, float]:
        g, gaps, sweeps = np.random.default_rng(8), 11, 200_000
        at = list(range(gaps + 1))                # replica at each rung
        last = [0] * (gaps + 1)                   # 1: was cold last, 0: was hot last
        trips = np.zeros(20)
        swap = g.random((sweeps, gaps)) >= 0.2
        coin = g.random(sweeps) < 0.5
        for t in range(sweeps):
            first = int(coin[t]) if reversible else t % 2
            for i in range(first, gaps, 2):
                if swap[t, i]:
                    at[i], at[i + 1] = at[i + 1], at[i]
            last[at[-1]] = 1
            if last[at[0]]:
                last[at[0]] = 0
                trips[t * 20 // sweeps] += 1
        rate = trips / (sweeps / 20)
        return float(rate.mean()), float(rate.std(ddof=1) / math.sqrt(20))

    for reversible in (False, True):
        measured, error = simulate(reversible)
        exact = exchange_rate.round_trip_rate([0.2] * 11, reversible)
        other = exchange_rate.round_trip_rate([0.2] * 11, not reversible)
        assert abs(measured - exact) < 5 * error < abs(measured - other)


# --- large N --------------------------------------------------------------------------------

LARGE = {5: 5.0418373733, 10: 8.2603027138, 100: 53.4005885778, 1000: 483.9395527151,
         10_000: 4768.4842014220}


def growing(N: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(-1, 1, N)
    return design(list(x)), x + 0.5 * np.cos(np.arange(1, N + 1))


def terms(N: int) -> large_n.Expansion:
    return large_n.expansion(*growing(N), 0.5, lambda p: -0.5 * p @ p - math.log(2 * math.pi))


@pytest.mark.parametrize(("N", "F"), LARGE.items())
def test_large_n_reference_values_by_two_routes(N: int, F: float) -> None:
    problem = LinearRegression(*growing(N), 0.5)
    assert evidence.free_energy(problem) == pytest.approx(F, rel=0, abs=1e-9 if N > 5000 else 6e-11)
    if N <= 1000:
        assert by_matrices(problem, 1.0) + problem.normalisation == pytest.approx(F, abs=2e-10)


def test_penalty_constant_and_what_remains() -> None:
    gaps = {N: evidence.free_energy(LinearRegression(*growing(N), 0.5)) - terms(N).value
            for N in (100, 1000, 10_000, 100_000)}
    assert 100_000 * gaps[100_000] == pytest.approx(0.12494073, abs=2e-4)      # float64's rounding
    assert 1000 * gaps[1000] == pytest.approx(0.125, abs=2e-3)
    assert gaps[10_000] / gaps[1000] == pytest.approx(0.1, rel=0.02)
    # F - BIC/2 tends to the O(1) term, 1.33699: the penalty alone is off by that for ever.
    assert terms(10**6).constant == pytest.approx(1.33699, abs=2e-5)
    assert terms(100).penalty == pytest.approx(math.log(100), rel=1e-15)
    no_penalty = terms(10_000).value - terms(10_000).penalty
    assert abs(no_penalty - LARGE[10_000]) > 9


def test_the_expansion_is_the_limit_of_the_exact_mode() -> None:
    """ln(N)/2 + O(1) + (1 - z^2)/(2kN), with 30 digits at large N."""
    lead, remainder = large_n.derivation()
    N, k = sp.symbols("N k", positive=True)
    z = sp.Symbol("z", real=True)
    for kv, zv in ((sp.Rational(3, 10), sp.Rational(17, 10)), (sp.Integer(5), sp.Rational(-1, 5))):
        n = sp.Integer(10) ** 9
        exact = sp.log(1 + n * kv) / 2 + zv**2 * n * kv / (2 * (1 + n * kv))
        left = (exact - lead.subs({N: n, k: kv, z: zv})).evalf(40) * n
        assert float(left) == pytest.approx(float(remainder.subs({k: kv, z: zv})), rel=1e-8)


def test_expected_free_energy() -> None:
    """E[F] = N S + (d/2) ln N + O(1) - d/2: 4000 data sets, 4 standard errors, alarm 6e-5."""
    g, N, s = np.random.default_rng(5), 200, 0.7
    X = growing(N)[0]
    y = X @ [0.8, -0.3] + s * g.normal(size=(4000, N))
    covariance = s**2 * np.eye(N) + X @ X.T
    root = np.linalg.cholesky(covariance)
    z = np.linalg.solve(root, y.T)
    F = 0.5 * (z * z).sum(0) + np.log(np.diag(root)).sum() + 0.5 * N * math.log(2 * math.pi)
    at_truth = large_n.expansion(X, X @ [0.8, -0.3], s,
                                 lambda p: -0.5 * p @ p - math.log(2 * math.pi))
    expected = (N * large_n.entropy_rate(s) + at_truth.penalty + at_truth.constant - 1.0)
    error = F.std() / math.sqrt(4000)
    # The prior's mean over the posterior's spread adds O(1/N), a tenth of an error here.
    assert abs(F.mean() - expected) < 4 * error
    assert abs(F.mean() - (expected + 1.0)) > 4 * error        # without the -d/2


# --- the border -----------------------------------------------------------------------------

X2 = [[1.0, 0.0], [1.0, 1.0]]
BAD = {
    "NaN in the design": (lambda: LinearRegression([[1.0], [math.nan]], [1, 2]), r"design\[1, 0\]"),
    "NaN in y": (lambda: LinearRegression(X2, [1, math.nan]), r"y\[1\]: received nan"),
    "text": (lambda: LinearRegression(X2, ["a", "b"]), "y: .*numbers"),
    "lengths": (lambda: LinearRegression(X2, [1, 2, 3]), "one value per row"),
    "no columns": (lambda: LinearRegression(np.zeros((2, 0)), [1, 2]), "at least one column"),
    "flat design": (lambda: LinearRegression([1.0, 2.0], [1, 2]), "design: .*2 dimension"),
    "noise": (lambda: LinearRegression(X2, [1, 2], 0.0), "noise: received 0.0"),
    "one noise": (lambda: LinearRegression(X2, [1, 2], [0.1, -1.0]), r"noise\[1\]: received -1"),
    "three noises": (lambda: LinearRegression(X2, [1, 2], [1, 1, 1]), "noise: .*one number or 2"),
    "variance": (lambda: LinearRegression(X2, [1, 2], 1, 0, -1.0), "prior_covariance"),
    "asymmetric": (lambda: LinearRegression(X2, [1, 2], 1, 0, [[1, 1], [0, 1]]), "not symmetric"),
    "indefinite": (lambda: LinearRegression(X2, [1, 2], 1, 0, [[1, 2], [2, 1]]), "not positive"),
    "beta": (lambda: evidence.mean_energy(LINE, -0.1), "beta: received -0.1"),
    "infinite beta": (lambda: evidence.heat_capacity(LINE, math.inf), "beta: received inf"),
    "box": (lambda: BoxLine(*R5, 0.5, (1, -1)), r"slope: received \(1, -1\)"),
    "half a box": (lambda: BoxLine(*R5, 0.5, (0, 1), (0, math.nan)), r"offset\[1\]: received nan"),
    "one point": (lambda: BoxLine([1.0], [1.0], 0.5, (0, 1), (0, 1)), "cannot determine"),
    "all at zero": (lambda: BoxLine([0.0], [1.0], 0.5, (0, 1)), "nonzero position"),
    "line acceptance": (lambda: box.acceptance(line(2, "R5", 1), 0.1, 1), "a slope only"),
    "equal rungs": (lambda: box.acceptance(line(1, "R5", 1), 1, 1), "beta1 < beta2"),
    "ratio": (lambda: exchange_rate.power_law(1, 0.5), "ratio: received 0.5"),
    "shape": (lambda: exchange_rate.power_law(0, 2), "shape: received 0"),
    "order": (lambda: exchange_rate.acceptance(np.log, 2, 1), "beta1 < beta2"),
    "all refused": (lambda: exchange_rate.round_trip_rate([1.0]), "rejections"),
    "dependent": (lambda: large_n.expansion([[1, 1], [1, 1]], [1, 2], 1, sum), "independent"),
    "outside prior": (lambda: large_n.expansion(X2, [1, 2], 1, lambda p: -math.inf), "log_prior"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_its_field(name: str) -> None:
    call, pattern = BAD[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DomainError, match=pattern):
            call()
