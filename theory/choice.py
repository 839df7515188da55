r"""How often is the right model chosen?  The exact law of the difference of two free energies.

A straight line y = a x + b against a line through the origin y = a x, wide box prior of b.  Of a
whole data set only three numbers matter (`theory.mesoscopic`): two standard normal ones and a
chi-square.  With the noise known the difference F2 - F1 is a constant minus half a noncentral
chi-square, so that the probability of a right choice at any N, noise and prior width is known
before anything is measured: `plan` answers "how many points, at which noise?" and says what the
width of the prior has to do with it.  Walls, and noise that is estimated: `theory.choice_variants`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.choice_variants import ENOUGH, taken
from theory.choice_variants import critical_estimate as critical_estimate
from theory.choice_variants import cumulative_with_box as cumulative_with_box
from theory.choice_variants import (
    cumulative_with_estimated_noise as cumulative_with_estimated_noise,
)
from theory.choice_variants import density_with_box as density_with_box
from theory.choice_variants import density_with_estimated_noise as density_with_estimated_noise
from theory.choice_variants import difference_with_box as difference_with_box
from theory.choice_variants import estimated_room as estimated_room
from theory.choice_variants import probability_with_box as probability_with_box
from theory.choice_variants import (
    probability_with_estimated_noise as probability_with_estimated_noise,
)
from theory.errors import DomainError, ValidityWarning, finite, positive_number
from theory.mesoscopic import Mesoscopic as Mesoscopic
from theory.mesoscopic import Question as Question
from theory.mesoscopic import mesoscopic as mesoscopic
from theory.mesoscopic import offset_weight as offset_weight

Array = NDArray[np.float64]


class Derivation(NamedTuple):
    """F2 - F1 over data sets."""

    difference: Any      # in S_b, xi_b, s and T
    mean: Any            # over data, in delta


@cache
def derivation() -> Derivation:
    """F2 - F1 in sympy, from the wide limits of both lines, and its mean over data.

    Returns
    -------
    Derivation
        In ``S_b, xi_b, s, T`` (T the noncentral chi-square) and ``delta``.

    Examples
    --------
    >>> derivation().difference
    -T/2 + log(S_b)/2 - log(s) + log(2*xi_b) - log(pi)/2 - log(2)/2
    """
    import sympy as sp

    N, Sx, Sxx, s, xi_a, xi_b, s_b = sp.symbols("N S_x S_xx s xi_a xi_b S_b", positive=True)
    T, RSS2, delta = sp.symbols("T RSS_2 delta", positive=True)
    # Nested fits: RSS1 - RSS2 = s^2 T (`law().gain`); det X^T X = N Sxx - Sx^2 = Sxx S_b.
    RSS1 = RSS2 + s**2 * T
    line = (RSS2 / (2 * s**2) + sp.log(4 * xi_a * xi_b)
            + sp.log(N * Sxx - Sx**2) / 2 - sp.log(2 * sp.pi * s**2))
    origin = RSS1 / (2 * s**2) + sp.log(2 * xi_a) + sp.log(Sxx) / 2 - sp.log(2 * sp.pi * s**2) / 2
    difference = (line - origin).subs(N, (s_b * Sxx + Sx**2) / Sxx)
    difference = sp.expand(sp.expand_log(sp.simplify(difference), force=True))
    difference = difference - sp.log(xi_b) - sp.log(2) + sp.log(2 * xi_b)
    difference = sp.expand(difference, log=False)
    return Derivation(difference, sp.expand(difference.subs(T, 1 + delta), log=False))


class Law(NamedTuple):
    """From the noise of a data set to the law of F2 - F1, in sympy."""

    weight: Any          # S_b in N, Sx and Sxx, for any positions
    estimate: Any        # b_hat in the sums of the data
    gain: Any            # RSS1 - RSS2 = S_b b_hat^2
    mean_t: Any          # E T of T = (tau + sqrt(delta))^2
    variance_t: Any      # Var T
    density_t: Any       # density of T
    density: Any         # density of F2 - F1 below its bound, s = s0
    probability: Any     # P(T > c): the offset is chosen
    false_alarm: Any     # the same without an offset
    rare: Any            # its leading form for large c


@cache
def law() -> Law:
    """The law of F2 - F1 in sympy, step by step, for positions that need not be centred.

    Symbols: ``N, S_x, S_xx, S_y, S_xy, S_yy`` (sums over the data); ``tau`` (standard normal),
    ``delta``, ``T``, ``c``; ``d`` (F2 - F1) and ``B`` (its bound).

    Returns
    -------
    Law

    Examples
    --------
    >>> law().mean_t, law().variance_t
    (delta + 1, 4*delta + 2)
    >>> law().false_alarm
    erfc(sqrt(2)*sqrt(c)/2)
    """
    import sympy as sp

    N, Sxx, Syy = sp.symbols("N S_xx S_yy", positive=True)
    Sx, Sy, Sxy = sp.symbols("S_x S_y S_xy", real=True)
    weight = N - Sx**2 / Sxx
    normal_equations = sp.Matrix([[Sxx, Sx], [Sx, N]])
    both = normal_equations.LUsolve(sp.Matrix([Sxy, Sy]))
    estimate = sp.factor(both[1])
    rss2 = Syy - both[0] * Sxy - both[1] * Sy
    rss1 = Syy - Sxy**2 / Sxx
    gain = sp.factor(sp.simplify(rss1 - rss2))

    tau, d, B = sp.symbols("tau d B", real=True)
    T, delta, c = sp.symbols("T delta c", positive=True)
    normal = sp.exp(-(tau**2) / 2) / sp.sqrt(2 * sp.pi)

    def mean(value: Any) -> Any:
        return sp.integrate(sp.expand(value) * normal, (tau, -sp.oo, sp.oo))

    square = (tau + sp.sqrt(delta)) ** 2
    first = sp.expand(mean(square))
    variance = sp.expand(mean(square**2) - first**2)
    # tau = +-sqrt(T) - sqrt(delta), and |d tau / dT| = 1 / (2 sqrt(T)) on both branches.
    density_t = sum(normal.subs(tau, sign * sp.sqrt(T) - sp.sqrt(delta)) for sign in (1, -1)) / (
        2 * sp.sqrt(T))
    density = 2 * density_t.subs(T, 2 * (B - d))
    upper = sp.Symbol("upper", real=True)
    tail = sp.simplify(sp.integrate(normal, (tau, upper, sp.oo)))
    probability = (tail.subs(upper, sp.sqrt(c) - sp.sqrt(delta))
                   + tail.subs(upper, sp.sqrt(c) + sp.sqrt(delta)))
    alarm = sp.simplify(sp.erfc(sp.sqrt(c / 2)))
    rare = sp.sqrt(2 / (sp.pi * c)) * sp.exp(-c / 2)
    return Law(weight, estimate, gain, first, variance, density_t, density,
               probability.rewrite(sp.erfc), alarm, rare)


def moments(question: Question) -> tuple[float, float]:
    """Mean and variance of F2 - F1 over data sets.

    Parameters
    ----------
    question : Question

    Returns
    -------
    mean, variance : float

    Warns
    -----
    ValidityWarning
        If the walls of the offset's box are within reach; `cumulative_with_box` is exact.

    Examples
    --------
    >>> mean, variance = moments(Question(100, 0.3, 10, 1.0))
    >>> print(f"{mean:.10f} {variance:.1f}")
    -0.6206211667 9.5
    """
    _wide("moments", question, law=True)
    half = 0.5 / question.ratio
    mean = question.bound - half * (1.0 + question.delta)
    return mean, half**2 * (2.0 + 4.0 * question.delta)


def cumulative(question: Question, difference: ArrayLike) -> Any:
    """P(F2 - F1 <= difference) over data sets.

    Parameters
    ----------
    question : Question
    difference : float or array
        In nats.

    Returns
    -------
    float or array

    Warns
    -----
    ValidityWarning
        If the walls of the offset's box are within reach; `cumulative_with_box` is exact.
    """
    from scipy.special import ndtr

    _wide("cumulative", question, law=True)
    d = finite("difference", difference, np.ndim(difference))
    root = np.sqrt(np.maximum(2.0 * question.ratio * (question.bound - d), 0.0))
    shift = math.sqrt(question.delta)
    return np.where(d >= question.bound, 1.0, ndtr(shift - root) + ndtr(-root - shift))


def density(question: Question, difference: ArrayLike) -> Any:
    """Density of F2 - F1 over data sets, per nat.

    It ends with an inverse square root at `Question.bound`: evidence for the smaller model is
    bounded, evidence for the larger is not.

    Parameters
    ----------
    question : Question
    difference : float or array
        In nats.

    Returns
    -------
    float or array

    Warns
    -----
    ValidityWarning
        If the walls of the offset's box are within reach; `cumulative_with_box` is exact.
    """
    _wide("density", question, law=True)
    d = finite("difference", difference, np.ndim(difference))
    x = 2.0 * question.ratio * (question.bound - d)
    root, shift = np.sqrt(np.maximum(x, 1e-300)), math.sqrt(question.delta)
    pair = np.exp(-0.5 * (root - shift) ** 2) + np.exp(-0.5 * (root + shift) ** 2)
    return np.where(x > 0.0, question.ratio * pair / (math.sqrt(2 * math.pi) * root), 0.0)


def _wide(function: str, question: Question, law: bool = False) -> None:
    """Warn where the formula without walls does not hold, at the turn of the choice or, for the
    law, at estimates that are to be expected."""
    unit = (question.assumed or question.noise) / math.sqrt(question.weight)
    usual = abs(question.offset) + 3 * question.noise / math.sqrt(question.weight)
    room = min(question.room, (question.half_width - usual) / unit) if law else question.room
    if room < 4.0:
        exact = "cumulative_with_box" if law else "probability_with_box"
        warnings.warn(f"{function}: the wall of the offset's box at {question.half_width:g} is "
                      f"{room:.1f} posterior standard deviations away; {exact} is exact",
                      ValidityWarning, stacklevel=3)


def probability_of_offset(question: Question) -> float:
    """P(F2 < F1): how often the line with an offset is chosen.

    Parameters
    ----------
    question : Question

    Returns
    -------
    float
        The false alarm rate where the true offset is 0, the power otherwise.

    Warns
    -----
    ValidityWarning
        If the walls of the offset's box are within reach; `probability_with_box` is exact.

    Examples
    --------
    >>> print(f"{probability_of_offset(Question(100, 0.0, 10, 1.0)):.10f}")
    0.0030811886
    """
    _wide("probability_of_offset", question)
    return _beyond(question.threshold, question.delta)


def probability_by_penalty(points: float, offset: float, noise: float, penalty: float) -> float:
    """How often a criterion takes the offset that asks for this gain in log likelihood.

    AIC asks for 1, BIC for ln(N) / 2, whatever the prior says.

    Parameters
    ----------
    points : float
        N for centred positions, `offset_weight` for others.
    offset, noise : float
        As in `Question`.
    penalty : float
        In nats, for the one parameter more.

    Returns
    -------
    float

    Examples
    --------
    >>> print(f"{probability_by_penalty(100, 0.0, 1.0, 1.0):.10f}")              # AIC, at any N
    0.1572992071
    >>> print(f"{probability_by_penalty(100, 0.0, 1.0, math.log(100) / 2):.10f}")         # BIC
    0.0318756893
    """
    question = Question(points, offset, 1.0, noise)
    return _beyond(2.0 * positive_number("penalty", penalty, zero=True),
                   question.delta)


def _beyond(threshold: float, delta: float) -> float:
    """`law().probability`: P(T > threshold), by normal tails that keep their digits."""
    from scipy.special import ndtr

    root, shift = math.sqrt(threshold), math.sqrt(delta)
    return float(ndtr(shift - root) + ndtr(-root - shift))


def even_points(offset: float, half_width: float, noise: float) -> float:
    """N*: the number of centred points at which an offset is as likely found as not.

    The root of N b0^2 / s0^2 = c(N): data without any noise would leave the models even.  With it
    P = 1/2 + Q(2 sqrt c), and the median of F2 - F1 is 0 but for that; its mean is -1/2 (noise is
    worth half a nat to the second parameter) and crosses zero where N b0^2 / s0^2 = c(N) - 1.

    Parameters
    ----------
    offset : float
        The true b0, not 0.
    half_width, noise : float
        As in `Question`.

    Returns
    -------
    float
        NaN where the prior is so narrow (half_width below 2.07 |offset|, about) that the formula
        has the offset found more often than not at every N.

    Raises
    ------
    DomainError
        If the offset is 0.

    Examples
    --------
    >>> print(f"{even_points(0.5, 10, 1.0):.10f}")
    30.2526904003
    """
    from scipy.optimize import brentq

    b0, s = _to_be_found(offset, noise), noise

    def gap(log_n: float) -> float:
        question = Question(math.exp(log_n), b0, half_width, s)
        return question.delta - 2.0 * question.bound

    # gap has its minimum where N b0^2 / s0^2 = 1; the root beyond is the one that counts.
    low = math.log(s**2 / b0**2)
    if gap(low) >= 0.0:
        return math.nan
    high = low + 1.0
    while gap(high) < 0.0:
        high += 1.0
    return math.exp(brentq(gap, low, high, xtol=1e-14, rtol=1e-14))


def _even_with_box(offset: float, half_width: float, noise: float) -> float:
    """`even_points` with walls: the largest N at which the probability of the offset is 1/2."""
    from scipy.optimize import brentq

    wide = even_points(offset, half_width, noise)
    if wide > 0.0 and Question(wide, offset, half_width, noise).room > 9.0:
        return wide

    def excess(log_n: float) -> float:
        return taken(math.exp(log_n), offset, half_width, noise) - 0.5

    high = 2 * math.log(noise / abs(offset)) + 8.0          # e^4 standard deviations
    while excess(high) < 0.0:
        high += 2.0
    while excess(low := high - 0.1) > 0.0:                  # down to 32 % where walls are near
        high = low
    return math.exp(brentq(excess, low, high, xtol=1e-14, rtol=1e-14))


def points_needed(offset: float, half_width: float, noise: float, probability: float = 0.95, *,
                  noise_known: bool = True) -> int:
    """The fewest centred points at which an offset of this size is found often enough.

    Found at this number and at every larger one.  For known noise the walls of the prior's box are
    kept; for estimated noise there is no formula with walls, and a box that would need one is
    refused.

    Parameters
    ----------
    offset, half_width, noise : float
        As in `Question`; the answer depends on half_width: a wider prior asks for more data.
    probability : float
        Wanted probability of choosing the line with the offset, in (0, 1).
    noise_known : bool
        False if each model estimates its own noise (empirical Bayes, wide box, 3 points or more).

    Returns
    -------
    int

    Raises
    ------
    DomainError
        If the offset is 0, the probability is not between 0 and 1, or, for estimated noise, the
        offset is found while walls still count.

    Examples
    --------
    >>> points_needed(0.5, 10.0, 1.0), points_needed(0.5, 100.0, 1.0)
    (84, 114)
    """
    p = _wanted(offset, probability, noise)
    found = _power(offset, half_width, noise_known)
    least = 1 if noise_known else _wide_from(offset, half_width, noise)
    # From one standard deviation on, N b0^2 >= s^2, the power only grows with N.
    high = max(4, least, math.ceil((noise / offset) ** 2))
    while found(high, noise) < p:
        high *= 2
    top = low = high
    while low > least and found(low, noise) >= p:
        high, low = low, max(low // 2, least)
    if found(low, noise) >= p:          # no failure on the way down: none, or a dip passed over
        low, high = _lowest(lambda n: found(n, noise), least, top), top
    if found(low, noise) >= p:
        if least > 3:
            raise _walls_count(f"{half_width:g}, which {least} points or more make wide", least)
        return least
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle, noise) >= p else (middle, high)
    return high


def _lowest(power: Callable[[int], float], low: int, high: int) -> int:
    """Where a power that falls and then grows is least; whole numbers."""
    while high - low > 2:
        third = (high - low) // 3
        if power(low + third) < power(high - third):
            high -= third
        else:
            low += third
    return min(range(low, high + 1), key=power)


def _wide_from(offset: float, half_width: float, noise: float) -> int:
    """The fewest points at which the law of estimated noise needs no walls; it has more and more
    room from there on."""
    def wide(points: int) -> bool:
        return estimated_room(Question(points, offset, half_width, noise), points) >= ENOUGH

    low, high = 2, 3
    while not wide(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if wide(middle) else (middle, high)
    return high


def _walls_count(received: str, points: int) -> DomainError:
    return DomainError("half_width", received, "a box whose walls are out of reach of estimated "
                       f"noise before the offset is found ({points} points find it)",
                       "noise_known=True keeps the walls")


def noise_needed(points: int, offset: float, half_width: float, probability: float = 0.95, *,
                 noise_known: bool = True) -> float:
    """The largest noise at which this many centred points find an offset often enough.

    Found at this noise and at every smaller one.

    Parameters
    ----------
    points : int
        N.
    offset, half_width, probability, noise_known
        As in `points_needed`.

    Returns
    -------
    float
        Standard deviation, in the units of the offset.

    Raises
    ------
    DomainError
        If the offset is 0, the probability is not between 0 and 1, or no noise is the largest: in
        a box that the noise makes narrow the offset is taken in erfc(1/sqrt 2) = 32 % of all data
        sets whatever it is.  For estimated noise, if walls count before.

    Examples
    --------
    >>> noise = noise_needed(84, 0.5, 10.0)
    >>> print(f"{noise:.4f}: {probability_with_box(84, 0.5, 10.0, noise):.4f}")
    1.0018: 0.9500
    """
    from scipy.optimize import brentq

    p, N = _wanted(offset, probability), positive_number("points", points)
    found = _power(offset, half_width, noise_known)

    def excess(log_noise: float) -> float:
        return found(points, math.exp(log_noise)) - p

    unit = math.log(abs(offset) * math.sqrt(N))            # one standard deviation
    low = unit - 3.0
    while excess(low) < 0.0:
        low -= 2.0
    # Beyond a noise a thousand times the box and the offset nothing changes any more.
    last = max(unit, math.log(half_width * math.sqrt(N))) + 7.0
    while excess(high := low + 0.1) >= 0.0:
        if not noise_known and estimated_room(
                Question(N, offset, half_width, math.exp(high)), points) < ENOUGH:
            raise _walls_count(f"{half_width:g} at a noise of {math.exp(high):.3g}", points)
        if high > last:
            raise DomainError("probability", str(p), "more than is left under any noise: a box "
                              "narrower than the posterior has the offset chosen in 32 % of all "
                              "data sets", "there is no largest noise")
        low = high
    return float(math.exp(brentq(excess, low, high, xtol=1e-13)))


def _to_be_found(offset: float, noise: float = 1.0) -> float:
    """The offset, not 0 and not so small that its square is."""
    b0, s = float(finite("offset", offset, 0)), positive_number("noise", noise)
    if b0 == 0.0:
        raise DomainError("offset", "0", "an offset that is there to be found")
    if not (1e-100 < abs(b0) < 1e100 and 1e-100 < s < 1e100):
        raise DomainError("offset", f"{b0:g} under noise {s:g}", "both between 1e-100 and 1e100",
                          "choose other units")
    return b0


def _wanted(offset: float, probability: float, noise: float = 1.0) -> float:
    _to_be_found(offset, noise)
    p = float(finite("probability", probability, 0))
    if not 0.0 < p < 1.0:
        raise DomainError("probability", str(p), "a number between 0 and 1")
    return p


def _power(offset: float, half_width: float, noise_known: bool) -> Callable[[int, float], float]:
    """P(F2 < F1) as a function of points and noise."""
    Question(1.0, offset, half_width, 1.0)              # refuses what is none

    def power(points: int, noise: float) -> float:
        if noise_known:
            return taken(points, offset, half_width, noise)
        return probability_with_estimated_noise(points, offset, half_width, noise, warn=False)
    return power


@dataclass(frozen=True)
class Plan:
    """A measurement before it is made; print it.

    Parameters
    ----------
    points : int
        Fewest centred points.
    offset, noise, half_width : float
        What was asked: the offset to be found, the noise, the prior [-half_width, half_width].
    probability : float
        Of choosing the offset at ``points``, where it is there.
    false_alarm : float
        Of choosing it where it is not.
    prior_cost : float
        What the width of the prior adds to F2 - F1, ln(2 half_width / noise), in nats.
    if_wider, if_narrower : int
        Points needed with a prior ten times as wide, and ten times narrower; None for the latter
        where its walls count and the noise is estimated.
    noise_known : bool
        False if each model estimates its own noise.
    """

    points: int
    offset: float
    noise: float
    half_width: float
    probability: float
    false_alarm: float
    prior_cost: float
    if_wider: int
    if_narrower: int | None
    noise_known: bool

    def __str__(self) -> str:
        narrower = (f"ten times narrower for {self.if_narrower}." if self.if_narrower is not None
                    else "ten times narrower its walls count, for which the noise has to be known.")
        return (
            f"{self.points} points find an offset of {self.offset:g} under "
            f"{'known' if self.noise_known else 'estimated'} noise {self.noise:g} in "
            f"{100 * self.probability:.1f} % of all measurements; one that is not there in "
            f"{100 * self.false_alarm:.2g} %.\n"
            f"The prior is part of this: uniform on +-{self.half_width:g}, it costs the offset "
            f"{self.prior_cost:.2f} nats; ten times as wide it asks for {self.if_wider} points, "
            f"{narrower}")


def plan(offset: float, half_width: float, noise: float, probability: float = 0.95, *,
         noise_known: bool = True) -> Plan:
    """How many points find an offset of this size, and what the prior has to do with it.

    Parameters
    ----------
    offset, half_width, noise, probability, noise_known
        As in `points_needed`.

    Returns
    -------
    Plan

    Raises
    ------
    DomainError
        As `points_needed`, for the prior that was asked for.

    Examples
    --------
    >>> print(plan(0.5, 10.0, 1.0))
    84 points find an offset of 0.5 under known noise 1 in 95.1 % of all measurements; one that is not there in 0.34 %.
    The prior is part of this: uniform on +-10, it costs the offset 3.00 nats; ten times as wide it asks for 114 points, ten times narrower for 49.
    """  # noqa: E501
    def needed(width: float) -> int:
        return points_needed(offset, width, noise, probability, noise_known=noise_known)

    def narrower() -> int | None:
        try:
            return needed(half_width / 10)
        except DomainError:
            if noise_known:
                raise
            return None

    points = needed(half_width)
    chosen, alarm = (_power(b, half_width, noise_known)(points, noise) for b in (offset, 0.0))
    return Plan(points, offset, noise, half_width, chosen, alarm, math.log(2 * half_width / noise),
                needed(10 * half_width), narrower(), noise_known)


@dataclass(frozen=True)
class PowerMap:
    """How often an offset is chosen, over the number of points and its size.

    Parameters
    ----------
    points : array (points,)
    offsets : array (offsets,)
    probability : array (offsets, points)
        P(F2 < F1).
    even : array (offsets,)
        Number of points from which on the offset is found more often than not, noise known and
        walls kept; `even_points` where they are far.  NaN for an offset of zero.
    """

    points: Array
    offsets: Array
    probability: Array
    even: Array


def power_map(points: ArrayLike, offsets: ArrayLike, half_width: float, noise: float, *,
              noise_known: bool = True) -> PowerMap:
    """The map of right choices as data: probability over (offset, points); walls are kept for known
    noise, and said where they count for estimated noise.

    Parameters
    ----------
    points : array (points,)
        Whole numbers if the noise is estimated.
    offsets : array (offsets,)
    half_width, noise, noise_known
        As in `points_needed`.

    Returns
    -------
    PowerMap

    Warns
    -----
    ValidityWarning
        If the noise is estimated and walls are within reach at one of the numbers of points.

    Examples
    --------
    >>> found = power_map([10, 100], [0.0, 0.5], 10.0, 1.0)
    >>> print(np.array2string(found.probability, precision=4, suppress_small=True))
    [[0.0111 0.0031]
     [0.1686 0.9793]]
    """
    N, b = (finite(n, v, 1) for n, v in (("points", points), ("offsets", offsets)))
    if not noise_known and np.any(N != np.round(N)):
        raise DomainError("points", str(N[N != np.round(N)][0]), "whole numbers")
    table = np.empty((len(b), len(N)))
    for j, n in enumerate(N):
        if noise_known:
            # The turn of the choice does not depend on the true offset.
            turn = critical_estimate(float(n), half_width, noise) * math.sqrt(n) / noise
            table[:, j] = [_beyond(turn**2, n * v**2 / noise**2) for v in b]
        else:
            table[:, j] = [probability_with_estimated_noise(int(n), float(v), half_width, noise,
                                                            warn=False) for v in b]
    if not noise_known and len(N):
        few = int(N.min())
        room = estimated_room(Question(few, 0.0, half_width, noise), few)
        if room < ENOUGH:
            warnings.warn(f"power_map: with {few} points and estimated noise the wall of the "
                          f"offset's box at {half_width:g} is {room:.1f} posterior standard "
                          "deviations away, and is not in this map; noise_known=True keeps it",
                          ValidityWarning, stacklevel=2)
    even = [_even_with_box(float(v), half_width, noise) if v else math.nan for v in b]
    return PowerMap(N, b, table, np.array(even))
