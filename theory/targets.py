r"""What a sampler must show on a solvable target: exact rates, volumes and ladder errors.

Acceptance rates of the common proposals on a normal target, the information and volume curve of
nested sampling, the relative variance of a stepping-stone increment, and the bias that a ladder of
temperatures alone gives to thermodynamic integration.  Derived here, each tested by quadrature or
simulation; the stretch move is Goodman and Weare's with a = 2.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.box import BoxLine
from theory.errors import DomainError, finite, positive, positive_number, whole
from theory.evidence import LinearRegression
from theory.nodes import legendre

Array = NDArray[np.float64]


class Derivation(NamedTuple):
    """What of this module sympy carries."""

    walk: Any            # acceptance of a random walk in d dimensions, an integral
    walk_one: Any        # that integral for d = 1
    flat: Any            # acceptance of a random walk in a box, per dimension
    leapfrog: Any        # matrix of one leapfrog step on (q, p) of a normal target
    stretch: Any         # the stretch move's |new|^2 - |old|^2 in (walker, partner), a matrix
    stretch_roots: Any   # its eigenvalues, of opposite sign
    increment: Any       # relative variance of a stepping-stone weight
    trapezoid: Any       # leading error of the trapezoid rule for <U> on one step
    volume: Any          # share of the prior below U in two dimensions


@cache
def derivation() -> Derivation:
    """The steps that sympy carries.

    A = 2 P(ratio > 1) for every proposal that is its own inverse.  Quoted: the integral over d
    dimensions as Student's t, Craig's form of the normal tail, and that a ratio of chi-squares
    (leapfrog) gives an incomplete beta function.

    Returns
    -------
    Derivation
        In ``s`` (step), ``d``, ``rho`` (length of the normal proposal), ``r`` (width of the box in
        steps), ``epsilon``, ``z``; ``Z, beta, Delta``; ``h, v_1, v_2`` (step in beta, Var U at its
        ends); ``U, U_0, H`` (det of the Hessian), ``V``.

    Examples
    --------
    >>> derivation().walk_one
    2*atan(2/s)/pi
    >>> derivation().trapezoid
    h**2*(v_1 - v_2)/12
    """
    import sympy as sp

    s, d, rho, r, z, h, epsilon = sp.symbols("s d rho r z h epsilon", positive=True)
    # Given its length the log ratio is normal, N(-s^2 rho^2 / 2, s^2 rho^2): A = 2 Q(s rho / 2).
    length = 2 ** (1 - d / 2) * rho ** (d - 1) * sp.exp(-(rho**2) / 2) / sp.gamma(d / 2)
    walk = sp.Integral(length * sp.erfc(s * rho / (2 * sp.sqrt(2))), (rho, 0, sp.oo))
    normal = sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)
    # A step of length z stays inside from a share 1 - z / r of all places.
    flat = sp.simplify(sp.integrate(2 * (1 - z / r) * normal, (z, 0, r)))
    kick, drift = sp.Matrix([[1, 0], [-epsilon / 2, 1]]), sp.Matrix([[1, epsilon], [0, 1]])
    leapfrog = sp.simplify(kick * drift * kick)
    x, o = sp.symbols("x o", real=True)
    stretch = sp.hessian(sp.expand((o + z * (x - o)) ** 2 - x**2), (x, o)) / 2
    roots = sp.Matrix([sp.factor(sp.simplify(v)) for v in stretch.eigenvals()])
    # Weights w = exp(-Delta U) on the rung beta: E w^k = Z(beta + k Delta) / Z(beta).
    Z = sp.Function("Z")
    beta, Delta = sp.symbols("beta Delta", positive=True)
    one, two = (Z(beta + k * Delta) / Z(beta) for k in (1, 2))
    increment = two / one**2 - 1
    # Exact for a cubic <U>(beta), whose slope is -Var U.
    a0, a1, a2, a3, v1, v2 = sp.symbols("a_0:4 v_1 v_2")
    cubic = a0 + a1 * beta + a2 * beta**2 + a3 * beta**3
    error = h * (cubic.subs(beta, 0) + cubic.subs(beta, h)) / 2 - sp.integrate(cubic, (beta, 0, h))
    slopes = sp.solve([sp.diff(cubic, beta).subs(beta, 0) + v1,
                       sp.diff(cubic, beta).subs(beta, h) + v2], [a1, a2], dict=True)[0]
    trapezoid = sp.factor(sp.simplify(error.subs(slopes)))
    U, U0, H, V = sp.symbols("U U_0 H V", positive=True)
    volume = sp.pi * 2 * (U - U0) / (sp.sqrt(H) * V)
    return Derivation(walk, walk.subs(d, 1).doit(), flat, leapfrog, stretch, roots, increment,
                      trapezoid, volume)


def random_walk_acceptance(dimension: int, step: ArrayLike, beta: float = 1.0) -> Any:
    """Acceptance of random-walk Metropolis on a standard normal target: 2 T_d(-s sqrt(d)/2).

    Parameters
    ----------
    dimension : int
        d.
    step : float or array
        Standard deviation of the normal proposal, in units of the target's.
    beta : float
        Inverse temperature; a rung at beta sees the step sqrt(beta) times as long.

    Returns
    -------
    float or array

    Examples
    --------
    >>> round(float(random_walk_acceptance(5, 1.0)), 10)
    0.3143726376
    """
    from scipy.special import betainc

    d = whole("dimension", dimension, 1)
    s = positive("step", step) * math.sqrt(positive_number("beta", beta))
    # Both tails of Student's t as an incomplete beta function, of the smaller of two arguments.
    x = 0.25 * s**2
    return np.where(x < 1.0, 1.0 - betainc(0.5, 0.5 * d, x / (1.0 + x)),
                    betainc(0.5 * d, 0.5, 1.0 / (1.0 + x)))[()]


def random_walk_acceptance_of(precision: ArrayLike, step: float) -> float:
    """Acceptance of an isotropic random walk on a normal target of any covariance.

    A = (2/pi) int_0^(pi/2) prod_j (1 + w_j / 4 sin^2 phi)^(-1/2) d phi, w_j = s^2 times the
    eigenvalues of the precision (Craig's form of the normal tail).

    Parameters
    ----------
    precision : array (parameters, parameters)
        Inverse covariance of the target.
    step : float
        Standard deviation of the proposal, the same for every parameter.

    Returns
    -------
    float

    Examples
    --------
    >>> round(random_walk_acceptance_of(np.eye(2), 1.7), 10)
    0.3523515799
    """
    matrix = finite("precision", precision, 2)
    s = positive_number("step", step)
    if (not matrix.size or matrix.shape[0] != matrix.shape[1]
            or not np.allclose(matrix, matrix.T, rtol=1e-10)):
        raise DomainError("precision", f"an array of shape {matrix.shape}",
                          "a symmetric matrix, one row for each parameter")
    w = np.linalg.eigvalsh(matrix)
    if w.min() <= 0.0:
        raise DomainError("precision", "a matrix that is not positive definite", "a precision")
    w = (s * np.sqrt(w)) ** 2
    # In u = ln tan phi, d phi = sin phi cos phi du, steps of all sizes are resolved alike: all
    # singularities lie half pi off the real axis, and the trapezoid rule converges geometrically.
    step = 0.1
    tangent = np.exp(np.arange(-45.0, 45.0, step))
    sine = tangent**2 / (1.0 + tangent**2)
    accepted = np.exp(-0.5 * np.sum(np.log1p(0.25 * w / sine[:, None]), axis=1))
    return float(2 / math.pi * step * (accepted @ (tangent / (1.0 + tangent**2))))


def flat_acceptance(width: ArrayLike) -> Any:
    """Acceptance of a random walk inside a box where the density is flat, per dimension.

    Parameters
    ----------
    width : float or array
        Width of the box in units of the proposal's standard deviation.

    Returns
    -------
    float or array

    Examples
    --------
    >>> round(float(flat_acceptance(4.0)), 10)
    0.8005324324
    """
    from scipy.special import erf

    r = positive("width", width)
    return erf(r / math.sqrt(2)) + (2 / r) * np.expm1(-0.5 * r**2) / math.sqrt(2 * math.pi)


def leapfrog_acceptance(dimension: int, step: float, steps: int) -> float:
    """Acceptance of Hamiltonian Monte Carlo on a standard normal target.

    A = 2 I_{1/(1+s^2)}(d/2, d/2), s the largest singular value of the trajectory's 2 x 2 matrix:
    the law of exchange between two temperatures with r = s^2.

    Parameters
    ----------
    dimension : int
    step : float
        Leapfrog step, below 2.
    steps : int
        Number of leapfrog steps.

    Returns
    -------
    float

    Examples
    --------
    >>> round(leapfrog_acceptance(10, 0.8, 5), 10)
    0.8240541038
    """
    from theory.exchange_rate import power_law

    d, count = whole("dimension", dimension, 1), whole("steps", steps, 1)
    eps = positive_number("step", step)
    if eps >= 2.0:
        raise DomainError("step", str(eps), "a step below 2, the limit of stability")
    one = np.array([[1 - eps**2 / 2, eps], [-eps * (1 - eps**2 / 4), 1 - eps**2 / 2]])
    s = float(np.linalg.norm(np.linalg.matrix_power(one, count), 2))
    return float(power_law(0.5 * d, max(s**2, 1.0)))


def stretch_acceptance(dimension: int) -> float:
    """Acceptance of the stretch move (a = 2) on any normal target, walkers in equilibrium.

    The move is affine invariant, so that the rate is the same for every covariance.

    Parameters
    ----------
    dimension : int

    Returns
    -------
    float

    Examples
    --------
    >>> round(stretch_acceptance(2), 8)
    0.71522015
    """
    d = whole("dimension", dimension, 1)
    # z with density 1/sqrt(z) on [1/2, 2]: uniform in its root.  z = 1 is no smooth point, and
    # 8 / sqrt(d) from it less than 1e-30 is accepted.
    nodes, weights = legendre(32)
    low, high, reach = math.sqrt(0.5), math.sqrt(2.0), 8.0 / math.sqrt(d)
    total = 0.0
    for end in (max(low, 1.0 - reach), min(high, 1.0 + reach)):
        root = 1.0 + 0.5 * (end - 1.0) * (nodes + 1.0)
        total += 0.5 * abs(end - 1.0) / (high - low) * float(weights @ _stretch_given(root**2, d))
    return total


def _stretch_given(z: Array, d: int) -> Array:
    """P of accepting, given z on one side of 1, averaged over min(1, .):
    E min(1, z^(d-1) p(new)/p(old)).

    In the plane of one walker and its partner the exponent is a quadratic form with eigenvalues
    of opposite sign; detailed balance of z with 1/z makes it twice the chance that the ratio
    exceeds one.
    """
    from scipy.special import gammainc, gammaincc

    root = np.abs(z - 1.0) * np.sqrt(z * z + 1.0)
    plus, minus = np.abs(z * (z - 1.0) + root), np.abs(z * (z - 1.0) - root)
    limit = 2.0 * (d - 1) * np.log(z)
    # 2 P(plus * A - minus * B < limit), A and B chi-square with d degrees of freedom: one of them
    # is t^2, that from which on the other is compared with positive numbers.
    nodes, weights = legendre(48)
    first, last = max(math.sqrt(d) - 7.0, 0.0), math.sqrt(d) + 9.0
    t = first + 0.5 * (last - first) * (nodes + 1.0)
    exponent = (d - 1) * np.log(t) - 0.5 * t * t
    density = weights * np.exp(exponent - exponent.max())
    if limit[0] > 0.0:
        level = (limit[:, None] + np.multiply.outer(minus, t * t)) / plus[:, None]
        share = gammainc(0.5 * d, 0.5 * level)
    else:
        level = (np.multiply.outer(plus, t * t) - limit[:, None]) / minus[:, None]
        share = gammaincc(0.5 * d, 0.5 * level)
    return np.asarray(2.0 * (share @ density) / density.sum())


def nested_information(line: BoxLine) -> float:
    """H, the information that nested sampling has to climb, for a straight line in a box.

    H = F~ - <U>, in nats; its error of ln Z is sqrt(H / live points).

    Parameters
    ----------
    line : theory.box.BoxLine

    Returns
    -------
    float

    Examples
    --------
    >>> line = BoxLine([-2, -1, 0, 1, 2], [-1.9, -0.8, 0.4, 0.9, 2.3], 0.5, (-10, 10), (-10, 10))
    >>> print(f"{nested_information(line):.10f}")
    6.4958933445
    """
    from theory.box import information

    return information(line)


def prior_volume(line: BoxLine, energy: ArrayLike) -> Any:
    """X(U): share of the prior where the energy is below U, while that ellipse is in the box.

    Parameters
    ----------
    line : theory.box.BoxLine
    energy : float or array
        U, at least the smallest.

    Returns
    -------
    float or array

    Raises
    ------
    DomainError
        If the ellipse of that energy reaches a wall.

    Examples
    --------
    >>> line = BoxLine([1.0], [0.0], 1.0, (-10, 10))
    >>> round(float(prior_volume(line, 0.5)), 12)            # |a| < 1 of 20
    0.1
    """
    U = finite("energy", energy, np.ndim(energy)) - line.minimum
    if np.any(U < 0.0):
        raise DomainError("energy", str(energy), f"at least {line.minimum}")
    reach = np.array(line.widths) * math.sqrt(2 * float(np.max(U, initial=0.0)))
    for (lo, hi), value, r in zip(line.boxes, line.estimate, reach, strict=True):
        if not lo <= value - r <= value + r <= hi:
            raise DomainError("energy", str(energy), "an ellipse inside the box")
    d = len(line.boxes)
    unit = math.pi ** (d / 2) / math.gamma(d / 2 + 1)
    volume = math.prod(hi - lo for lo, hi in line.boxes)
    return unit * (2 * U) ** (d / 2) / (volume * math.sqrt(math.prod(line.curvatures)))


def increment_variance(problem: LinearRegression, beta: float, step: float) -> float:
    """Relative variance of one stepping-stone increment from beta to beta + step.

    Z(beta) Z(beta + 2 step) / Z(beta + step)^2 - 1; independent draws of the hot rung.

    Parameters
    ----------
    problem : LinearRegression
    beta, step : float

    Returns
    -------
    float

    Examples
    --------
    >>> problem = LinearRegression([[1.0]], [0.0])
    >>> round(increment_variance(problem, 1.0, 1.0), 12) == round(3 / 8**0.5 - 1, 12)
    True
    """
    b, h = positive_number("beta", beta, zero=True), positive_number("step", step)
    # 2 F~(b + h) - F~(b) - F~(b + 2h) by modes: the small difference is left, by itself.
    k, c = problem.eigenvalues, problem.components
    p, middle, q = (1.0 + (b + j * h) * k for j in range(3))
    x = (h * k) ** 2 / (p * q)
    return float(np.expm1(np.sum(0.5 * np.log1p(x) + c**2 * h * (h * k) / (p * middle * q))))


def integration_bias(problem: LinearRegression, betas: ArrayLike, corrected: bool = False) -> float:
    """What a ladder alone adds to F by thermodynamic integration with the trapezoid rule.

    Without any sampling error: exact <U> on every rung.

    Parameters
    ----------
    problem : LinearRegression
    betas : array (rungs,)
        Increasing, from 0 to 1.
    corrected : bool
        Subtract the end-point variances, step^2 / 12 times the difference of Var U.

    Returns
    -------
    float
        In nats.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
    >>> y = [0.3, 1.1, 2.4, 2.7, 4.5, 6.2]
    >>> line = LinearRegression(np.stack([x, np.ones(6)], 1), y, 0.5, 0.0, [4.0, 1.0])
    >>> ladder = np.concatenate([[0.0], 1.5 ** np.arange(-30.0, 1.0)])
    >>> print(f"{integration_bias(line, ladder):+.10f}")
    +0.0924561316
    """
    from theory.evidence import mean_energy, reduced_free_energy

    b = positive("betas", finite("betas", betas, 1), zero=True)
    if len(b) < 2 or np.any(np.diff(b) <= 0) or b[0] != 0.0 or b[-1] != 1.0:
        raise DomainError("betas", str(b.tolist())[:60], "increasing numbers from 0 to 1")
    found = float(np.trapezoid(mean_energy(problem, b), b))
    if corrected:
        steps, variance = np.diff(b), _variances(problem, b)
        found -= float(np.sum(steps**2 / 12 * (variance[:-1] - variance[1:])))
    return found - float(reduced_free_energy(problem))


def _variances(problem: LinearRegression, betas: Array) -> Array:
    """Var U on every rung; the heat capacity divided by beta^2, and its limit at 0."""
    k, c2 = problem.eigenvalues, problem.components**2
    p = 1.0 + betas[:, None] * k
    return np.asarray(np.sum(0.5 * k**2 / p**2 + k * c2 / p**3, axis=1))
