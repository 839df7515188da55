r"""Exact Bayes free energy of a straight line with box priors.

y = a x + n or y = a x + b + n, n_i ~ N(0, s^2), a and b uniform on boxes.  The walls turn normal
integrals into error functions: F~ of the slope alone is a logarithm of two of them, F~ of slope
and offset the logarithm of the probability that a correlated normal pair falls into a rectangle.
`derivation` lets sympy do the integral; the numbers are a rewriting of the same result that keeps
its digits where the estimate lies outside the box (a test proves the two equal).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError, finite, positive

Array = NDArray[np.float64]
Interval = tuple[float, float]


class Derivation(NamedTuple):
    """The steps from the slope's integral over its box to its free energy, in sympy."""

    integrand: Any       # exp(-beta U) without the residual part, times the prior density
    integral: Any        # over the box: error functions of k
    stiffness: Any       # k in terms of beta, S and s
    partition: Any       # the integral with k inserted
    free_energy: Any     # F~ = beta RSS / 2 s^2 - ln of that
    mean_energy: Any     # d F~ / d beta
    heat_capacity: Any   # -beta^2 d^2 F~ / d beta^2
    wide: Any            # what is left of F~ when the walls move away


@cache
def derivation() -> Derivation:
    """Integrate a straight line through the origin over its box prior [-xi, xi] in sympy.

    Returns
    -------
    Derivation
        Expressions in ``beta``, ``xi``, ``S`` (sum of x^2), ``s``, ``RSS`` and ``a_hat``.

    Examples
    --------
    >>> derivation().wide
    RSS*beta/(2*s**2) + log(2*xi) - log(sqrt(2)*sqrt(pi)*s/(sqrt(S)*sqrt(beta)))
    """
    import sympy as sp

    beta, xi, S, s, k = sp.symbols("beta xi S s k", positive=True)
    RSS = sp.Symbol("RSS", nonnegative=True)
    a, a_hat = sp.symbols("a a_hat", real=True)
    # U = RSS / 2 s^2 + S (a - a_hat)^2 / 2 s^2, and k^2 = beta S / 2 s^2.
    integrand = sp.exp(-(k**2) * (a - a_hat) ** 2) / (2 * xi)
    integral = sp.simplify(sp.integrate(integrand, (a, -xi, xi)))
    stiffness = sp.sqrt(beta * S / (2 * s**2))
    partition = integral.subs(k, stiffness)
    energy = beta * RSS / (2 * s**2)
    free = energy - sp.log(partition)
    whole = sp.integrate(sp.exp(-(k**2) * a**2), (a, -sp.oo, sp.oo)).subs(k, stiffness)
    return Derivation(integrand, integral, stiffness, partition, free, sp.diff(free, beta),
                      -(beta**2) * sp.diff(free, beta, 2),
                      energy + sp.log(2 * xi) - sp.log(whole))


@dataclass(frozen=True, eq=False)
class BoxLine:
    """A straight line with uniform priors, and its data.

    Parameters
    ----------
    x, y : array (points,)
        The data.
    noise : float
        Standard deviation of the noise, in the units of y.
    slope : (lo, hi)
        Box of the slope a.
    offset : (lo, hi), optional
        Box of the offset b; without it the line passes through the origin.

    Raises
    ------
    DomainError
        For unequal lengths, NaN, noise <= 0, lo >= hi, or x that cannot tell a from b.

    Examples
    --------
    >>> line = BoxLine([-2, -1, 0, 1, 2], [-1.9, -0.8, 0.4, 0.9, 2.3], 0.5, (-10, 10), (-10, 10))
    >>> print(f"{free_energy(line):.10f}")
    8.9188501078
    """

    x: Array
    y: Array
    noise: float
    slope: Interval
    offset: Interval | None
    estimate: Array      # least squares, (a,) or (a, b)
    hessian: Array       # of U: X^T X / s^2
    minimum: float       # U at the least squares estimate

    def __init__(self, x: ArrayLike, y: ArrayLike, noise: float, slope: Interval,
                 offset: Interval | None = None) -> None:
        columns, data = finite("x", x, 1), finite("y", y, 1)
        if len(columns) != len(data) or not len(data):
            raise DomainError("y", f"{len(data)} values for {len(columns)} of x", "equal lengths")
        s = float(positive("noise", finite("noise", noise, 0)))
        boxes = [_interval("slope", slope)] + ([_interval("offset", offset)] if offset else [])
        X = np.stack([columns, np.ones(len(columns))][:len(boxes)], axis=1)
        estimate, _, rank, _ = np.linalg.lstsq(X, data, rcond=None)
        if rank < len(boxes):
            raise DomainError("x", "positions that cannot determine the parameters",
                              f"{len(boxes)} different nonzero positions" if len(boxes) > 1
                              else "a nonzero position")
        r = data - X @ estimate
        for name, value in (("x", columns), ("y", data), ("noise", s), ("slope", boxes[0]),
                            ("offset", boxes[1] if offset else None), ("estimate", estimate),
                            ("hessian", X.T @ X / s**2), ("minimum", float(r @ r) / (2 * s**2))):
            object.__setattr__(self, name, value)


def _interval(field: str, box: Any) -> Interval:
    lo, hi = finite(field, box, 1) if np.shape(box) == (2,) else (math.nan, math.nan)
    if not lo < hi:
        raise DomainError(field, repr(box), "(lo, hi) with lo < hi")
    return float(lo), float(hi)


def free_energy(line: BoxLine) -> float:
    """F = -ln p(y), exactly, walls included, in nats.

    Parameters
    ----------
    line : BoxLine

    Returns
    -------
    float
    """
    return reduced_free_energy(line) + 0.5 * len(line.y) * math.log(2 * math.pi * line.noise**2)


def reduced_free_energy(line: BoxLine, beta: float = 1.0) -> float:
    """F~(beta) = -ln Z(beta), exactly, walls included, in nats.

    Parameters
    ----------
    line : BoxLine
    beta : float
        Inverse temperature, >= 0.

    Returns
    -------
    float

    Examples
    --------
    >>> line = BoxLine([1.0], [0.0], 1.0, (-1, 1))
    >>> round(reduced_free_energy(line), 12) == round(-math.log(math.sqrt(math.pi / 2)
    ...     * math.erf(math.sqrt(0.5))), 12)
    True
    """
    return _moments(line, _beta(beta))[0]


def mean_energy(line: BoxLine, beta: float = 1.0) -> float:
    """<U> on a rung, dimensionless.

    Parameters
    ----------
    line : BoxLine
    beta : float
        Inverse temperature, >= 0.

    Returns
    -------
    float
    """
    return _moments(line, _beta(beta))[1]


def heat_capacity(line: BoxLine, beta: float = 1.0) -> float:
    """C = beta^2 Var U on a rung; 1/2 per parameter once the walls are far in posterior widths.

    Parameters
    ----------
    line : BoxLine
    beta : float
        Inverse temperature, >= 0.

    Returns
    -------
    float
    """
    b = _beta(beta)
    return b**2 * _moments(line, b)[2]


def wide_limit(line: BoxLine, beta: float = 1.0) -> float:
    """F~(beta) without its walls: what is left when the boxes reach far beyond the posterior.

    Parameters
    ----------
    line : BoxLine
    beta : float
        Inverse temperature, > 0.

    Returns
    -------
    float

    Warns
    -----
    UserWarning
        If a wall lies within four posterior standard deviations of the estimate, where the
        neglected part passes about 1e-4 nats and soon decides the answer.

    Examples
    --------
    >>> line = BoxLine([-1.0, 0.0, 2.0], [-1.2, 0.1, 1.9], 0.5, (-10, 10), (-10, 10))
    >>> abs(wide_limit(line) - reduced_free_energy(line)) < 1e-12
    True
    """
    b = float(positive("beta", finite("beta", beta, 0)))
    covariance = np.linalg.inv(b * line.hessian)
    boxes = [line.slope] + ([line.offset] if line.offset else [])
    for name, (lo, hi), value, variance in zip(("slope", "offset"), boxes, line.estimate,
                                               np.diag(covariance), strict=False):
        sigmas = min(hi - value, value - lo) / math.sqrt(variance)
        if sigmas < 4:
            warnings.warn(f"the wall of the {name} is {sigmas:.1f} posterior standard deviations "
                          "from its estimate: the wide limit does not hold", stacklevel=2)
    return _wide(line, b)


def _wide(line: BoxLine, beta: float) -> float:
    boxes = [line.slope] + ([line.offset] if line.offset else [])
    return (beta * line.minimum + sum(math.log(hi - lo) for lo, hi in boxes)
            + 0.5 * float(np.linalg.slogdet(beta * line.hessian / (2 * math.pi))[1]))


def rectangle_probability(line: BoxLine, beta: float = 1.0) -> float:
    """Probability that the unbounded normal posterior lies inside the boxes.

    exp of the difference between the wide limit and the exact free energy.

    Parameters
    ----------
    line : BoxLine
    beta : float
        Inverse temperature, > 0.

    Returns
    -------
    float

    Examples
    --------
    >>> line = BoxLine([1.0], [0.0], 1.0, (-1, 1))
    >>> round(rectangle_probability(line), 10)           # 68 % of a normal law
    0.6826894921
    """
    b = float(positive("beta", finite("beta", beta, 0)))
    return math.exp(_wide(line, b) - reduced_free_energy(line, b))


def acceptance(line: BoxLine, beta1: float, beta2: float) -> float:
    """Exact exchange acceptance between two rungs of a slope-only line, A = 2 P(U1 < U2).

    On every rung U is the same increasing function of |a - a_hat|, so that the two energies
    compare as two distances do.

    Parameters
    ----------
    line : BoxLine
        Without an offset.
    beta1, beta2 : float
        Inverse temperatures, 0 <= beta1 < beta2.

    Returns
    -------
    float

    Raises
    ------
    DomainError
        If the line has an offset, or beta1 >= beta2.

    Examples
    --------
    >>> line = BoxLine([1.0, 2.0], [1.1, 1.9], 0.01, (-10, 10))
    >>> round(acceptance(line, 0.5, 1.0), 10)            # far from the walls: the power law
    0.7836531041
    """
    if line.offset is not None:
        raise DomainError("line", "a slope and an offset", "a slope only")
    hot, cold = _beta(beta1, "beta1"), _beta(beta2, "beta2")
    if not hot < cold:
        raise DomainError("beta1", f"{hot} with beta2 = {cold}", "beta1 < beta2")
    centre, (lo, hi) = float(line.estimate[0]), line.slope
    root = math.sqrt(cold * line.hessian[0, 0])
    # Where the tail of the cold rung bends: at the estimate, on its own scale, at the near wall.
    near = min(abs(lo - centre), abs(hi - centre))
    bends = [0.0, *(sign * r for r in (near, 1 / root, 3 / root, 9 / root) for sign in (-1, 1))]
    a, weight = _grid(lo, hi, [centre + r for r in bends])
    energy = 0.5 * line.hessian[0, 0] * (a - centre) ** 2
    weight = weight * np.exp(-hot * (energy - energy.min()))
    r = np.abs(a - centre)
    inside = _log_mass(root * (np.maximum(centre - r, lo) - centre),
                       root * (np.minimum(centre + r, hi) - centre))
    everything = _log_mass(np.array(root * (lo - centre)), np.array(root * (hi - centre)))
    return float(2.0 * (weight @ -np.expm1(inside - everything)) / weight.sum())


def _beta(beta: float, name: str = "beta") -> float:
    return float(positive(name, finite(name, beta, 0), zero=True))


def _moments(line: BoxLine, beta: float) -> tuple[float, float, float]:
    """F~, <U> and Var U by Gauss-Legendre quadrature over the part of the boxes that counts.

    The closed form loses all its digits where a box is small, or far from the estimate, in
    units of the posterior; a sum of positive terms does not.
    """
    h, centre = line.hessian, line.estimate
    lo, hi = line.slope
    if line.offset is None:
        a, weight = _grid(*_reach(lo, hi, centre[0], beta * h[0, 0]))
        energy = 0.5 * h[0, 0] * (a - centre[0]) ** 2
        volume = hi - lo
    else:
        # Outer a, inner b; the inner interval follows the conditional posterior of b.
        low, high = line.offset
        tilt = h[0, 1] / h[1, 1]
        rest = h[0, 0] - h[0, 1] * tilt          # precision of a once b is free to follow
        bends = [centre[0] + (centre[1] - wall) / tilt for wall in line.offset if tilt]
        layer = 1.0 / (abs(tilt) * math.sqrt(beta * h[1, 1])) if tilt and beta else math.inf
        cuts = [bend + f * layer for bend in bends for f in (-6, -2, 0, 2, 6)
                if math.isfinite(layer)]
        first = _profile_reach(line, beta)
        a, outer = _grid(*first, cuts)
        follow = centre[1] - tilt * (a - centre[0])
        left, right = _reach(low, high, follow, beta * h[1, 1])
        nodes, weights = _nodes(96)
        half = 0.5 * (right - left)[:, None]
        b = left[:, None] + half * (nodes + 1.0)
        energy = (0.5 * rest * (a[:, None] - centre[0]) ** 2
                  + 0.5 * h[1, 1] * (b - follow[:, None]) ** 2)
        weight = outer[:, None] * half * weights
        volume = (hi - lo) * (high - low)
    least = float(energy.min())
    p = weight * np.exp(-beta * (energy - least))
    total = float(p.sum())
    mean = float((p * energy).sum()) / total
    variance = float((p * (energy - mean) ** 2).sum()) / total
    return (beta * (line.minimum + least) + math.log(volume) - math.log(total),
            line.minimum + mean, variance)


def _reach(lo: Any, hi: Any, centre: Any, precision: float) -> tuple[Any, Any]:
    """The part of [lo, hi] where a normal density is above e^-50 of its largest value there."""
    if precision == 0.0:
        lo, hi, _ = np.broadcast_arrays(lo, hi, centre)
        return lo, hi
    mode = np.clip(centre, lo, hi)
    r = np.sqrt((mode - centre) ** 2 + 100.0 / precision)
    return np.maximum(lo, centre - r), np.minimum(hi, centre + r)


def _profile_reach(line: BoxLine, beta: float) -> tuple[float, float]:
    """The part of the slope's box where the energy, least over the offset, is within reach."""
    lo, hi = line.slope
    if beta == 0.0:
        return lo, hi
    h, centre = line.hessian, line.estimate

    def energy(a: Array) -> Array:
        """U - U_min at the best offset within its box; convex in a."""
        assert line.offset is not None
        b = np.clip(centre[1] - h[0, 1] / h[1, 1] * (a - centre[0]), *line.offset) - centre[1]
        d = a - centre[0]
        return np.asarray(0.5 * (h[0, 0] * d * d + 2 * h[0, 1] * d * b + h[1, 1] * b * b))

    for _ in range(60):                 # shrink onto the part below the bar, a tenth at most
        a = np.linspace(lo, hi, 1001)
        u = beta * energy(a)
        kept = np.flatnonzero(u < u.min() + 50.0)
        left, right = a[max(kept[0] - 1, 0)], a[min(kept[-1] + 1, 1000)]
        if right - left > 0.9 * (hi - lo):
            break
        lo, hi = left, right
    return float(lo), float(hi)


def _grid(lo: Any, hi: Any, cuts: Any = (), panels: int = 24) -> tuple[Array, Array]:
    """Nodes and weights on [lo, hi], in panels that end at every cut."""
    edges = np.union1d(np.linspace(float(lo), float(hi), panels + 1),
                       np.clip(np.asarray(cuts, dtype=float), float(lo), float(hi)))
    nodes, weights = _nodes(32)
    half = 0.5 * np.diff(edges)[:, None]
    return ((edges[:-1, None] + half * (nodes + 1.0)).ravel(), (half * weights).ravel())


@cache
def _nodes(count: int) -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(count)


def _log_mass(left: Array, right: Array) -> Array:
    """ln P(left < z < right) of a standard normal, from the tail that keeps its digits."""
    from scipy.special import log_ndtr

    flip = left > 0.0
    low, high = np.where(flip, -right, left), np.where(flip, -left, right)
    with np.errstate(divide="ignore"):
        upper, lower = log_ndtr(high), log_ndtr(low)
        return np.asarray(upper + np.log(-np.expm1(np.minimum(lower - upper, 0.0))))
