r"""The law of a choice where the two simplest assumptions do not hold: walls, and estimated noise.

`theory.choice` has the law of F2 - F1 for a known noise and a prior whose walls are far.  Here the
walls of the offset's box are kept (the difference is then still a function of the one estimate), or
each model estimates its own noise (empirical Bayes in a wide box, walls within reach are said; a
function of exactly two mesoscopic variables, upsilon and T).  `derivation` has both functions in
sympy; neither law has a closed form, one needs the root of a monotone function, the other a
one-dimensional integral.
"""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import ValidityWarning, finite, positive_number, squarable, whole
from theory.mesoscopic import Question
from theory.nodes import legendre

Array = NDArray[np.float64]

# Of `estimated_room`, for the choice.
ENOUGH = 2.5


class Derivation(NamedTuple):
    """F2 - F1 with walls, and with estimated noise, in sympy."""

    average: Any     # exp(F1 - F2): the likelihood ratio of b averaged over its box
    walls: Any       # F2 - F1 by error functions
    estimated: Any   # F2 - F1 with each model's own noise, in upsilon and T
    turning: Any     # the T at which that is d, in upsilon


@cache
def derivation() -> Derivation:
    """Both differences in sympy.

    Symbols: ``b_hat`` (estimate of the offset), ``S_b``, ``s``, ``xi`` (half width); ``upsilon``,
    ``T``, ``N``, ``s_0`` (true noise), ``d``.

    Returns
    -------
    Derivation

    Examples
    --------
    >>> sorted(str(q) for q in derivation().walls.free_symbols)
    ['S_b', 'b_hat', 's', 'xi']
    """
    import sympy as sp

    b, b_hat = sp.symbols("b b_hat", real=True)
    S, s, xi, k = sp.symbols("S_b s xi k", positive=True)
    # Against b = 0 the likelihood of b is exp(-S (b - b_hat)^2 / 2 s^2 + S b_hat^2 / 2 s^2).
    integral = sp.integrate(sp.exp(-(k**2) * (b - b_hat) ** 2), (b, -xi, xi))
    stiffness = sp.sqrt(S / 2) / s
    average = sp.exp(S * b_hat**2 / (2 * s**2)) * integral.subs(k, stiffness) / (2 * xi)
    walls = -S * b_hat**2 / (2 * s**2) - sp.log(integral.subs(k, stiffness) / (2 * xi))
    # Empirical Bayes: F = (N - K)/2 [1 + ln(2 pi RSS / (N - K))] + ln V + ln det(X^T X) / 2.
    N, s0, upsilon, T, d = sp.symbols("N s_0 upsilon T d", positive=True)

    def profile(rest: Any, rss: Any) -> Any:
        return rest / 2 * (1 + sp.log(2 * sp.pi * s0**2 * rss / rest))

    volume = sp.log(2 * xi) + sp.log(S) / 2
    estimated = profile(N - 2, upsilon) - profile(N - 1, upsilon + T) + volume
    left = (N / 2 - 1) * sp.log(2 * sp.pi * s0**2 * upsilon / (N - 2)) - sp.S.Half + volume - d
    turning = (N - 1) / (2 * sp.pi * s0**2) * sp.exp(2 * left / (N - 1)) - upsilon
    return Derivation(average, walls, estimated, turning)


def difference_with_box(question: Question, estimate: ArrayLike) -> Any:
    """F2 - F1 for an estimate of the offset, with the walls of its box, noise known.

    Minus the logarithm of an average of cosh(v z) exp(-v^2 / 2) over the box, z the estimate and v
    the offset in posterior standard deviations: even in the estimate, and falling with its size.

    Parameters
    ----------
    question : Question
        Its offset does not enter.
    estimate : float or array
        Least squares estimate of b.

    Returns
    -------
    float or array
        In nats.

    Examples
    --------
    >>> round(abs(float(difference_with_box(Question(5, 0.0, 1.0, 1.0), 0.5471374756))), 9)
    0.0
    """
    root = math.sqrt(question.weight) / (question.assumed or question.noise)
    z = np.abs(finite("estimate", estimate, np.ndim(estimate))) * root
    squarable("estimate", z)
    return _between_walls(z, question.half_width * root)


def _between_walls(z: Any, w: float) -> Any:
    """F2 - F1 in posterior standard deviations: estimate z >= 0, walls at -w and w."""
    from scipy.special import log_ndtr

    if w < 1.0:
        nodes, weights = legendre(40)
        v = w * nodes
        # exp(v z) of both signs, from its largest value: no overflow far outside the box.
        terms = np.exp(np.multiply.outer(z, v - w) - 0.5 * v * v)
        far = -w * z - np.log(0.5 * (terms @ weights))
        # In a box much smaller than the posterior the average is nearly one: what it differs by.
        vz = np.multiply.outer(np.minimum(z, 2.0 / w), v)
        less = np.expm1(-0.5 * v * v) * np.cosh(vz) + 2.0 * np.sinh(0.5 * vz) ** 2
        return np.where(w * z < 2.0, -np.log1p(0.5 * (less @ weights)), far)
    upper, lower = log_ndtr(w - z), log_ndtr(-w - z)
    return (math.log(2 * w / math.sqrt(2 * math.pi)) - 0.5 * z * z - upper
            - np.log(-np.expm1(lower - upper)))


def cumulative_with_box(question: Question, difference: ArrayLike) -> Any:
    """P(F2 - F1 <= difference) over data sets, with the walls of the offset's box, noise known.

    Parameters
    ----------
    question : Question
    difference : float or array
        In nats.

    Returns
    -------
    float or array

    Examples
    --------
    >>> print(f"{cumulative_with_box(Question(5, 0.0, 1.0, 1.0), 0.0):.10f}")
    0.2211648410
    """
    from scipy.special import ndtr

    d = finite("difference", difference, np.ndim(difference))
    turn = _estimate_at(question, d) * math.sqrt(question.weight) / question.noise
    shift = math.sqrt(question.delta)
    certain = d >= difference_with_box(question, 0.0)
    return np.where(certain, 1.0, ndtr(shift - turn) + ndtr(-shift - turn))


def density_with_box(question: Question, difference: ArrayLike) -> Any:
    """Density of F2 - F1 over data sets, with the walls of the offset's box, noise known, per nat.

    That of the estimate over the slope of F2 - F1 in it, which is the mean of v under the weights
    of `difference_with_box`.

    Parameters
    ----------
    question : Question
    difference : float or array
        In nats.

    Returns
    -------
    float or array
        0 from the largest difference on, that of an estimate of zero, before which it grows like
        one over a square root.

    Examples
    --------
    >>> from theory.choice import density
    >>> far = Question(100, 0.3, 10.0, 1.0)
    >>> abs(float(density_with_box(far, -1.0) - density(far, -1.0))) < 1e-12
    True
    """
    d = finite("difference", difference, np.ndim(difference))
    u = _estimate_at(question, d) * math.sqrt(question.weight) / question.noise
    shift, unit = math.sqrt(question.delta), math.sqrt(question.ratio)
    pair = np.exp(-0.5 * (u - shift) ** 2) + np.exp(-0.5 * (u + shift) ** 2)
    w = question.half_width * math.sqrt(question.weight) / question.noise / unit
    slope = _mean_between_walls(u / unit, w) / unit
    below = d < difference_with_box(question, 0.0)
    return np.where(below, pair / math.sqrt(2 * math.pi), 0.0) / np.where(below, slope, 1.0)


def _mean_between_walls(z: Array, w: float) -> Array:
    """Of a normal law about z >= 0 between -w and w."""
    from scipy.special import log_ndtr

    if w < 1.0:
        nodes, weights = legendre(40)
        v = w * nodes
        p = np.exp(np.multiply.outer(z, v - w) - 0.5 * v * v) * weights
        return np.asarray((p @ v) / p.sum(axis=-1))
    upper, lower = log_ndtr(w - z), log_ndtr(-w - z)
    log_share = upper + np.log(-np.expm1(lower - upper))
    return np.asarray(z - (np.exp(-0.5 * (w - z) ** 2 - log_share) - np.exp(
        -0.5 * (w + z) ** 2 - log_share)) / math.sqrt(2 * math.pi))


def _estimate_at(question: Question, d: Array) -> Array:
    """The size of the estimate at which F2 - F1 is d, 0 where d is never reached; bisection."""
    unit = (question.assumed or question.noise) / math.sqrt(question.weight)
    low, high = np.zeros(d.shape), np.full(d.shape, unit)
    while np.any(above := difference_with_box(question, high) > d):
        low, high = np.where(above, high, low), np.where(above, 2 * high, high)
    for _ in range(200):
        middle = 0.5 * (low + high)
        above = difference_with_box(question, middle) > d
        low, high = np.where(above, middle, low), np.where(above, high, middle)
        if np.all(high - low <= 1e-15 * high):
            break
    return np.asarray(0.5 * (low + high))


def critical_estimate(points: float, half_width: float, noise: float) -> float:
    """The |b^| at which both models are equally probable, walls included.

    Parameters
    ----------
    points : float
        N for centred positions, `theory.mesoscopic.offset_weight` for others.
    half_width, noise : float
        As in `theory.mesoscopic.Question`.

    Returns
    -------
    float

    Examples
    --------
    >>> print(f"{critical_estimate(5, 1.0, 1.0):.10f}")
    0.5471374756
    """
    question = Question(points, 0.0, half_width, noise)
    root = math.sqrt(question.weight) / noise
    return _turn(half_width * root) / root


def _turn(w: float) -> float:
    """The estimate at which F2 - F1 is zero, and the walls at -w and w, in standard deviations."""
    from scipy.optimize import brentq

    wide = math.sqrt(max(2.0 * math.log(2.0 * w / math.sqrt(2.0 * math.pi)), 0.0))
    if w - wide > 9.0:                          # both walls together hold back 1e-18
        return wide
    high = 1.0
    while _between_walls(high, w) > 0.0:
        high *= 2.0
    return float(brentq(_between_walls, 0.0, high, (w,), 1e-15, 1e-14))


def probability_with_box(points: float, offset: float, half_width: float, noise: float) -> float:
    """P(F2 < F1) with the walls of the offset's box, noise known.

    Parameters
    ----------
    points : float
        N for centred positions, `theory.mesoscopic.offset_weight` for others.
    offset, half_width, noise : float
        As in `theory.mesoscopic.Question`.

    Returns
    -------
    float

    Examples
    --------
    >>> print(f"{probability_with_box(2, 0.0, 0.5, 1.0):.10f}")
    0.3054598963
    """
    Question(points, offset, half_width, noise)         # refuses what is none
    return taken(points, offset, half_width, noise)


def taken(points: float, offset: float, half_width: float, noise: float) -> float:
    """`probability_with_box` of numbers that have been looked at."""
    from scipy.special import ndtr

    root = math.sqrt(points) / noise
    turn, shift = _turn(half_width * root), abs(offset) * root
    return float(ndtr(shift - turn) + ndtr(-shift - turn))


def cumulative_with_estimated_noise(question: Question, points: int, difference: ArrayLike, *,
                                    warn: bool = True) -> Any:
    """P(F2 - F1 <= difference) over data sets when each model estimates its own noise, wide box.

    Parameters
    ----------
    question : Question
    points : int
        N >= 3.
    difference : float or array
        In nats.
    warn : bool
        Whether walls within reach are said.

    Returns
    -------
    float or array

    Warns
    -----
    ValidityWarning
        If the walls of the offset's box are within reach (`estimated_room` below 4).

    Examples
    --------
    >>> found = cumulative_with_estimated_noise(Question(100, 0.0, 10.0, 1.0), 100, 0.0)
    >>> print(f"{found:.10f}")
    0.0031578417
    """
    from scipy.special import chdtrc, ndtr

    shift = math.sqrt(question.delta)

    def share(log_top: Array) -> Array:
        grown, weight, u = _nodes_below(log_top, points)
        r = np.sqrt(u * np.expm1(grown))
        inside = (weight * (ndtr(shift - r) + ndtr(-shift - r))).sum(axis=-1)
        top = (points - 2) * np.exp(np.minimum(log_top, 700.0))
        # The two parts meet at one, each with rounding errors of its own.
        return np.asarray(np.minimum(inside + chdtrc(float(points - 2), top), 1.0))

    if warn:
        _out_of_reach("cumulative_with_estimated_noise", question, points, law=True)
    return _over(share, question, points, difference)


def estimated_room(question: Question, points: int, law: bool = False) -> float:
    """Posterior standard deviations between the wall and what the formula of estimated noise needs
    free of it: the estimate that turns the choice or, for the law, the estimates to be expected.

    At the noise estimate that one data set in a hundred exceeds.  From 2.5 on the probability of a
    choice holds to about 2e-4; the law asks for 4.

    Parameters
    ----------
    question : Question
    points : int
        N >= 3.
    law : bool

    Returns
    -------
    float

    Examples
    --------
    >>> near, far = (estimated_room(Question(10, 0.0, xi, 1.0), 10) for xi in (0.3, 10.0))
    >>> print(f"{near:.1f} {far:.1f}")
    0.6 17.4
    """
    from scipy.special import chdtri

    k = whole("points", points, 3) - 2
    unit = question.noise * math.sqrt(chdtri(k, 0.01) / k) / math.sqrt(question.weight)
    room = question.half_width / unit - math.sqrt(question.threshold)
    if law:
        usual = abs(question.offset) + 3 * question.noise / math.sqrt(question.weight)
        room = min(room, (question.half_width - usual) / unit)
    return room


def _out_of_reach(function: str, question: Question, points: int, law: bool = False) -> None:
    """Warn where the walls of the offset's box would count."""
    room = estimated_room(question, points, law)
    if room < (4.0 if law else ENOUGH):
        warnings.warn(f"{function}: with {points} points the wall of the offset's box at "
                      f"{question.half_width:g} is {room:.1f} posterior standard deviations away "
                      "at a noise estimate that may well happen, and this formula has no walls; "
                      "probability_with_box keeps them where the noise is known",
                      ValidityWarning, stacklevel=3)


def density_with_estimated_noise(question: Question, points: int, difference: ArrayLike) -> Any:
    """Density of F2 - F1 over data sets when each model estimates its own noise, wide box, per nat.

    Parameters
    ----------
    question : Question
    points : int
        N >= 3.
    difference : float or array
        In nats.

    Returns
    -------
    float or array

    Warns
    -----
    ValidityWarning
        If the walls of the offset's box are within reach (`estimated_room` below 4).
    """
    _out_of_reach("density_with_estimated_noise", question, points, law=True)
    shift = math.sqrt(question.delta)

    def rate(log_top: Array) -> Array:
        grown, weight, u = _nodes_below(log_top, points)
        r = np.sqrt(u * np.expm1(grown))
        pair = np.exp(-0.5 * (r - shift) ** 2) + np.exp(-0.5 * (r + shift) ** 2)
        law_of_t = pair / (2 * math.sqrt(2 * math.pi) * np.where(r > 0.0, r, np.inf))
        slope = u * np.exp(grown) * 2 / (points - 1)                      # -dT / d difference
        return np.asarray((weight * law_of_t * slope).sum(axis=-1))

    return _over(rate, question, points, difference)


def _over(function: Any, question: Question, points: int, difference: ArrayLike) -> Any:
    """A function of ln u0 / (N - 2), in slices that fit into the cache, at every difference."""
    d = finite("difference", difference, np.ndim(difference))
    k = whole("points", points, 3) - 2
    # T = A upsilon^((N-2)/(N-1)) - upsilon (`derivation().turning`) is positive below u0 = A^(N-1),
    # u0 / k = e^(2 bound - 2 d) (1 + 1/k)^(1 + k) / e, k = N - 2: the powers of N taken together.
    bound = math.log(2 * question.half_width) + 0.5 * math.log(
        question.weight / (2 * math.pi * question.noise**2))
    log_top = 2 * (bound - d.ravel()) + (k + 1) * math.log1p(1 / k) - 1.0
    out = np.concatenate([function(part) for part in np.array_split(
        log_top, 1 + len(log_top) // 2000)])
    return out.reshape(d.shape) if d.ndim else float(out[0])


def _nodes_below(log_top: Array, points: int) -> tuple[Array, Array, Array]:
    """w^2 / (N - 1) at nodes with u = u0 exp(-w^2) < u0, weights with the density of upsilon in
    them, and u.

    At u0 the square root of T starts; in w it is smooth.  (differences, nodes) each.
    """
    half = 0.5 * (points - 2)
    spread = math.sqrt(80 / half)
    top = log_top[:, None]
    left = np.sqrt(np.maximum(top - spread, 0.0))
    right = np.sqrt(np.maximum(top + spread + 40 / half, 0.0))
    x, weight = _panels()
    w = left + (right - left) * x
    log_u = top - w * w                     # of u / (N - 2), of order 1 / sqrt(N)
    log_p = half * (log_u - np.expm1(log_u)) + _log_height(half)
    # Beyond e^600 nothing of the normal tails is left.
    grown = np.minimum(w * w / (points - 1), 600.0)
    return (grown, (right - left) * weight * np.exp(log_p) * 2 * w,
            (points - 2) * np.exp(log_u))


def _log_height(half: float) -> float:
    """a ln a - a - ln Gamma(a), which for large a is what is left of three large numbers."""
    if half < 30.0:
        return half * math.log(half) - half - math.lgamma(half)
    a2 = half * half                         # Stirling's series
    return 0.5 * math.log(half / (2 * math.pi)) - (
        1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * a2)) / a2) / a2) / half


@cache
def _panels() -> tuple[Array, Array]:
    """Gauss-Legendre on [0, 1] in 24 panels."""
    nodes, weights = legendre(16)
    x = (np.arange(24)[:, None] + 0.5 * (nodes + 1.0)) / 24
    return x.ravel(), np.tile(0.5 * weights / 24, 24)


def probability_with_estimated_noise(points: int, offset: float, half_width: float,
                                     noise: float, *, warn: bool = True) -> float:
    """P(F2 < F1) when each model estimates its own noise (empirical Bayes), wide box, centred
    positions.

    Parameters
    ----------
    points : int
        N >= 3; at N of 5 or less the estimate of the noise runs away so often that the choice is
        erratic.
    offset, half_width, noise : float
        As in `theory.mesoscopic.Question`.
    warn : bool
        Whether walls within reach are said.

    Returns
    -------
    float

    Warns
    -----
    ValidityWarning
        If the walls of the offset's box are within reach (`estimated_room` below 2.5).

    Examples
    --------
    >>> print(f"{probability_with_estimated_noise(5, 1.0, 10.0, 1.0):.10f}")
    0.2984376898
    """
    question = Question(positive_number("points", points), offset, half_width, noise)
    if warn:
        _out_of_reach("probability_with_estimated_noise", question, points)
    return float(cumulative_with_estimated_noise(question, points, 0.0, warn=False))
