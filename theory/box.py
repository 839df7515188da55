r"""Exact Bayes free energy of a straight line with box priors.

y = a x + n or y = a x + b + n, n_i ~ N(0, s_i^2), a and b uniform on boxes.  The walls turn normal
integrals into error functions: F~ of the slope alone is a logarithm of two of them, F~ of slope
and offset the logarithm of the probability that a correlated normal pair falls into a rectangle.
`derivation` lets sympy do the integral; the numbers come from the same integral in the coordinates
of `theory.walls`, which keep their digits where the estimate lies far outside the box (a test
proves the two equal).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import (
    DomainError,
    ValidityWarning,
    finite,
    positive,
    positive_number,
    squarable,
    two_rungs,
)
from theory.nodes import legendre
from theory.rounding import condition, error_bound, residual, tell
from theory.walls import Valley, log_integrals, moments, valley
from theory.walls import acceptance as acceptance_between_walls

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
    noise : float or array (points,)
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
    noise: Any           # as given: a float or (points,)
    slope: Interval
    offset: Interval | None
    estimate: Array      # least squares, (a,) or (a, b)
    hessian: Array       # of U: sum of x_i x_i^T / s_i^2
    minimum: float       # U at the least squares estimate
    ground: Valley       # U about the lowest point of the boxes

    def __init__(self, x: ArrayLike, y: ArrayLike, noise: ArrayLike, slope: Interval,
                 offset: Interval | None = None) -> None:
        columns, data = finite("x", x, 1), finite("y", y, 1)
        if len(columns) != len(data) or not len(data):
            raise DomainError("y", f"{len(data)} values for {len(columns)} of x", "equal lengths")
        given = positive("noise", noise)
        if given.shape not in ((), (len(data),)):
            raise DomainError("noise", f"an array of shape {given.shape}",
                              f"one number or {len(data)}")
        s = np.broadcast_to(given, (len(data),))
        boxes = [_interval("slope", slope)] + (
            [] if offset is None else [_interval("offset", offset)])
        X = np.stack([columns, np.ones(len(columns))][:len(boxes)], axis=1)
        A = X / s[:, None]
        for field, scaled in (("x", A), ("y", data / s),
                              ("slope", np.outer(A[:, 0], boxes[0])),
                              ("offset", np.outer(A[:, -1], boxes[-1]))):
            squarable(field, scaled)
        estimate, _, rank, _ = np.linalg.lstsq(A, data / s, rcond=None)
        if rank < len(boxes) or condition(A) > 1e14:
            raise DomainError("x", "positions that cannot determine the parameters",
                              f"{len(boxes)} different nonzero positions" if len(boxes) > 1
                              else "a nonzero position")
        estimate = estimate + np.linalg.lstsq(A, residual(X, data, estimate) / s, rcond=None)[0]
        r = residual(X, data, estimate) / s
        for name, value in (("x", columns), ("y", data),
                            ("noise", given if given.ndim else float(given)), ("slope", boxes[0]),
                            ("offset", boxes[1] if len(boxes) > 1 else None),
                            ("estimate", estimate), ("hessian", A.T @ A),
                            ("minimum", 0.5 * float(r @ r)),
                            ("ground", valley(X, data, s, *np.transpose(boxes)))):
            object.__setattr__(self, name, value)

    @property
    def boxes(self) -> list[Interval]:
        """The boxes of the parameters, in their order."""
        return [self.slope] + ([self.offset] if self.offset else [])

    @property
    def noises(self) -> Array:
        """The standard deviation of every point, (points,)."""
        return np.broadcast_to(self.noise, (len(self.y),))

    @property
    def curvatures(self) -> list[float]:
        """Of U along the valley and across it; their product is the determinant of ``hessian``,
        without the cancellation that positions far from zero bring."""
        return [part.curvature for part in (self.ground.slope, self.ground.offset) if part]

    @property
    def widths(self) -> list[float]:
        """Standard deviations of the parameters at beta = 1 if there were no walls."""
        along, *across = (1.0 / h for h in self.curvatures)
        return [math.sqrt(along), *(math.sqrt(v + self.ground.tilt**2 * along) for v in across)]

    @property
    def design(self) -> Array:
        """Columns x and, with an offset, 1."""
        return np.stack([self.x, np.ones(len(self.x))][:len(self.boxes)], axis=1)


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
    constant = np.log(line.noises * math.sqrt(2 * math.pi))
    return _reduced(line, 1.0, "free_energy", float(np.abs(constant).sum())) + float(constant.sum())


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
    return _reduced(line, positive_number("beta", beta, zero=True), "reduced_free_energy")


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
    return _moments(line, positive_number("beta", beta, zero=True))[0]


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
    b = positive_number("beta", beta, zero=True)
    return b**2 * _moments(line, b)[1]


def information(line: BoxLine, beta: float = 1.0) -> float:
    """KL divergence from the prior to the tempered posterior: F~ - beta <U>, in nats.

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
    >>> print(f"{information(BoxLine([1.0], [0.0], 1.0, (-10, 10))):.6f}")    # ln 20 - ln(2 pi e)/2
    1.576794
    """
    b = positive_number("beta", beta, zero=True)
    log_integral, mean, _ = moments(line.ground, b)
    # Measured from the lowest point of the box, whose energy goes out.
    found = sum(math.log(hi - lo) for lo, hi in line.boxes) - log_integral - b * mean
    if found > 1e-3:
        return found
    # dH / d beta = beta Var U: nearly the prior, H is a small difference, this integral is not.
    nodes, weights = legendre(5)
    rungs = 0.5 * b * (nodes + 1.0)
    return float(0.5 * b * weights @ [rung * moments(line.ground, rung)[2] for rung in rungs])


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
    ValidityWarning
        If a wall lies within four posterior standard deviations of the estimate, where the
        neglected part passes about 1e-4 nats and soon decides the answer.

    Examples
    --------
    >>> line = BoxLine([-1.0, 0.0, 2.0], [-1.2, 0.1, 1.9], 0.5, (-10, 10), (-10, 10))
    >>> abs(wide_limit(line) - reduced_free_energy(line)) < 1e-12
    True
    """
    b = positive_number("beta", beta)
    for name, (lo, hi), value, sd in zip(("slope", "offset"), line.boxes, line.estimate,
                                         line.widths, strict=False):
        sigmas = min(hi - value, value - lo) / sd * math.sqrt(b)
        if sigmas < 4:
            warnings.warn(f"wide_limit: the wall of the {name} is {sigmas:.1f} posterior standard "
                          "deviations from its estimate; reduced_free_energy is exact",
                          ValidityWarning, stacklevel=2)
    return _wide(line, b)


def _wide(line: BoxLine, beta: float) -> float:
    return (beta * line.minimum + sum(math.log(hi - lo) for lo, hi in line.boxes)
            + 0.5 * sum(math.log(beta * h / (2 * math.pi)) for h in line.curvatures))


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
    b = positive_number("beta", beta)
    return min(math.exp(_wide(line, b) - reduced_free_energy(line, b)), 1.0)


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
    return acceptance_between_walls(line.ground.slope, *two_rungs(beta1, beta2))


def _reduced(line: BoxLine, beta: float, function: str, constant: float = 0.0) -> float:
    """F~; the closed form of `derivation` loses all its digits where a box is small, or far from
    the estimate, in units of the posterior, and `theory.walls` does not."""
    if beta == 0.0:
        return 0.0
    log_integral = float(log_integrals(line.ground, np.array([beta]))[0])
    terms = (beta * line.ground.least, sum(math.log(hi - lo) for lo, hi in line.boxes),
             -log_integral)
    tell(function, error_bound(sum(map(abs, terms)) + constant,
                               float(np.max(np.abs(line.y) / line.noises)),
                               condition(line.design / line.noises[:, None])), level=4)
    return sum(terms)


def _moments(line: BoxLine, beta: float) -> tuple[float, float]:
    """<U> and Var U."""
    _, mean, variance = moments(line.ground, beta)
    return line.ground.least + mean, variance
