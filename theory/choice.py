r"""How often is the right model chosen?  The exact law of the difference of two free energies.

A straight line y = a x + b against a line through the origin y = a x, wide box prior of b.  Of a
whole data set only three numbers matter (`mesoscopic`): two standard normal ones and a
chi-square.  With the noise known the difference F2 - F1 is a constant minus half a noncentral
chi-square, so that the probability of a right choice at any N, noise and prior width is known
before anything is measured: `points_needed` answers "how many points?".

The mesoscopic variables are those of Katakami, Kashiwamura, Nagata, Mizumaki and Okada, "Mesoscopic
Bayesian Inference by Solvable Models", arXiv 2406.02869; the formulas are derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError, finite, positive

Array = NDArray[np.float64]


class Mesoscopic(NamedTuple):
    """The three numbers that a data set of any size is worth to the two lines."""

    tau_slope: float     # along x: N(0, 1)
    tau_offset: float    # along the part of 1 that is orthogonal to x: N(0, 1)
    upsilon: float       # the rest of the noise: chi-square with N - 2 degrees of freedom


def mesoscopic(x: ArrayLike, noise: ArrayLike, sigma: float) -> Mesoscopic:
    """Reduce the noise of a data set to its mesoscopic variables.

    Parameters
    ----------
    x : array (points,)
    noise : array (points,)
        The noise itself, y minus the truth.
    sigma : float
        Its true standard deviation.

    Returns
    -------
    Mesoscopic

    Raises
    ------
    DomainError
        If x cannot tell slope from offset.

    Examples
    --------
    >>> mesoscopic([-1.0, 0.0, 1.0], [1.0, 1.0, 1.0], 1.0).tau_slope
    0.0
    """
    positions, n = finite("x", x, 1), finite("noise", noise, 1)
    if len(positions) != len(n):
        raise DomainError("noise", f"{len(n)} values for {len(positions)} of x", "equal lengths")
    s = float(positive("sigma", finite("sigma", sigma, 0)))
    Sx, Sxx = float(positions.sum()), float(positions @ positions)
    Sb = offset_weight(positions)
    along = positions / math.sqrt(Sxx)
    across = (1.0 - positions * (Sx / Sxx)) / math.sqrt(Sb)
    t1, t2 = float(along @ n) / s, float(across @ n) / s
    return Mesoscopic(t1, t2, float(n @ n) / s**2 - t1**2 - t2**2)


def offset_weight(x: ArrayLike) -> float:
    """S_b = N (1 - mean(x)^2 / mean(x^2)): how many points the offset is worth.

    Parameters
    ----------
    x : array (points,)

    Returns
    -------
    float
        N if x is centred.

    Raises
    ------
    DomainError
        If all x are equal or zero.

    Examples
    --------
    >>> offset_weight([-2.0, -1.0, 0.0, 1.0, 2.0])
    5.0
    """
    positions = finite("x", x, 1)
    Sx, Sxx = float(positions.sum()), float(positions @ positions)
    weight = len(positions) - Sx**2 / Sxx if Sxx > 0.0 else 0.0
    if weight <= 1e-12 * len(positions):
        raise DomainError("x", "positions that cannot tell the slope from the offset",
                          "two different positions or more")
    return weight


@dataclass(frozen=True)
class Question:
    """Is there an offset?  Everything that the law of F2 - F1 depends on.

    Parameters
    ----------
    weight : float
        S_b of `offset_weight`; N for centred positions.
    offset : float
        The true b0.
    half_width : float
        xi_b: the prior of b is uniform on [-xi_b, xi_b], wide against its posterior.
    noise : float
        Standard deviation of the noise, known and true.
    assumed : float, optional
        Standard deviation that the free energies assume, if it is another one.

    Raises
    ------
    DomainError
        If weight, half_width or noise is not positive.

    Examples
    --------
    >>> question = Question(weight=100, offset=0.3, half_width=10, noise=1.0)
    >>> print(f"{probability_of_offset(question):.10f}")
    0.5161448403
    """

    weight: float
    offset: float
    half_width: float
    noise: float
    assumed: float | None = None

    def __post_init__(self) -> None:
        for name in ("weight", "half_width", "noise"):
            positive(name, finite(name, getattr(self, name), 0))
        finite("offset", self.offset, 0)
        if self.assumed is not None:
            positive("assumed", finite("assumed", self.assumed, 0))

    @property
    def ratio(self) -> float:
        """s^2 / s0^2, assumed over true noise variance."""
        return ((self.assumed or self.noise) / self.noise) ** 2

    @property
    def bound(self) -> float:
        """The largest value of F2 - F1, where the data show no offset at all, in nats."""
        s2 = (self.assumed or self.noise) ** 2
        return 0.5 * math.log(self.weight / (2 * math.pi * s2)) + math.log(2 * self.half_width)

    @property
    def threshold(self) -> float:
        """c: the offset is found where (tau + sqrt(delta))^2 passes it."""
        return self.ratio * max(2.0 * self.bound, 0.0)

    @property
    def delta(self) -> float:
        """S_b b0^2 / s0^2, the noncentrality."""
        return self.weight * self.offset**2 / self.noise**2


@cache
def derivation() -> tuple[Any, Any]:
    """F2 - F1 in sympy, from the wide limits of both lines, and its mean over data.

    Returns
    -------
    difference, mean : sympy.Expr
        In ``S_b, xi_b, s, T`` (T the noncentral chi-square) and ``delta``.

    Examples
    --------
    >>> derivation()[0]
    -T/2 + log(S_b)/2 - log(s) + log(2*xi_b) - log(pi)/2 - log(2)/2
    """
    import sympy as sp

    N, Sx, Sxx, s, xi_a, xi_b, s_b = sp.symbols("N S_x S_xx s xi_a xi_b S_b", positive=True)
    T, RSS2, delta = sp.symbols("T RSS_2 delta", positive=True)
    # Nested fits: RSS1 - RSS2 = s^2 T; det X^T X = N Sxx - Sx^2 = Sxx S_b.
    RSS1 = RSS2 + s**2 * T
    line = (RSS2 / (2 * s**2) + sp.log(4 * xi_a * xi_b)
            + sp.log(N * Sxx - Sx**2) / 2 - sp.log(2 * sp.pi * s**2))
    origin = RSS1 / (2 * s**2) + sp.log(2 * xi_a) + sp.log(Sxx) / 2 - sp.log(2 * sp.pi * s**2) / 2
    difference = (line - origin).subs(N, (s_b * Sxx + Sx**2) / Sxx)
    difference = sp.expand(sp.expand_log(sp.simplify(difference), force=True))
    difference = difference - sp.log(xi_b) - sp.log(2) + sp.log(2 * xi_b)
    difference = sp.expand(difference, log=False)
    # E T = 1 + delta for a noncentral chi-square of one degree.
    return difference, sp.expand(difference.subs(T, 1 + delta), log=False)


def moments(question: Question) -> tuple[float, float]:
    """Mean and variance of F2 - F1 over data sets.

    Parameters
    ----------
    question : Question

    Returns
    -------
    mean, variance : float

    Examples
    --------
    >>> mean, variance = moments(Question(100, 0.3, 10, 1.0))
    >>> print(f"{mean:.10f} {variance:.1f}")
    -0.6206211667 9.5
    """
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
    """
    from scipy.special import ndtr

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
    """
    d = finite("difference", difference, np.ndim(difference))
    x = 2.0 * question.ratio * (question.bound - d)
    root, shift = np.sqrt(np.maximum(x, 1e-300)), math.sqrt(question.delta)
    pair = np.exp(-0.5 * (root - shift) ** 2) + np.exp(-0.5 * (root + shift) ** 2)
    return np.where(x > 0.0, question.ratio * pair / (math.sqrt(2 * math.pi) * root), 0.0)


def probability_of_offset(question: Question) -> float:
    """P(F2 < F1): how often the line with an offset is chosen.

    Parameters
    ----------
    question : Question

    Returns
    -------
    float
        The false alarm rate where the true offset is 0, the power otherwise.

    Examples
    --------
    >>> print(f"{probability_of_offset(Question(100, 0.0, 10, 1.0)):.10f}")
    0.0030811886
    """
    from scipy.special import ndtr

    root, shift = math.sqrt(question.threshold), math.sqrt(question.delta)
    return float(ndtr(shift - root) + ndtr(-root - shift))


def even_points(offset: float, half_width: float, noise: float) -> float:
    """N*: the number of centred points at which an offset is as likely found as not.

    The root of N b0^2 / s0^2 = c(N); the point where the two models' mean evidence crosses.

    Parameters
    ----------
    offset : float
        The true b0, not 0.
    half_width, noise : float
        As in `Question`.

    Returns
    -------
    float

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

    if finite("offset", offset, 0) == 0.0:
        raise DomainError("offset", "0", "an offset that is there to be found")

    def gap(log_n: float) -> float:
        question = Question(math.exp(log_n), offset, half_width, noise)
        return question.delta - 2.0 * question.bound

    # gap has its minimum where N b0^2 / s0^2 = 1; the root beyond is the one that counts.
    low = math.log(noise**2 / offset**2)
    if gap(low) >= 0.0:
        return math.exp(low)
    high = low + 1.0
    while gap(high) < 0.0:
        high += 1.0
    return math.exp(brentq(gap, low, high, xtol=1e-14, rtol=1e-14))


def points_needed(offset: float, half_width: float, noise: float,
                  probability: float = 0.95) -> int:
    """The fewest centred points at which an offset of this size is found often enough.

    Found at this number and at every larger one.

    Parameters
    ----------
    offset, half_width, noise : float
        As in `Question`; the answer depends on half_width: a wider prior asks for more data.
    probability : float
        Wanted probability of choosing the line with the offset, in (0, 1).

    Returns
    -------
    int

    Raises
    ------
    DomainError
        If the offset is 0 or the probability is not between 0 and 1.

    Examples
    --------
    >>> points_needed(0.5, 10.0, 1.0), points_needed(0.5, 100.0, 1.0)
    (84, 114)
    """
    p = float(finite("probability", probability, 0))
    if not 0.0 < p < 1.0:
        raise DomainError("probability", str(p), "a number between 0 and 1")

    def found(points: int) -> bool:
        return probability_of_offset(Question(points, offset, half_width, noise)) >= p

    low = max(2, math.ceil(even_points(offset, half_width, noise) / 64))
    high = max(4, 2 * low)
    while not (found(high) and found(2 * high) and found(4 * high)):
        high *= 2
    # From here down to the first failure: the power grows with N beyond N*.
    low = 1
    while high - low > 1:
        middle = (low + high) // 2
        if found(middle):
            high = middle
        else:
            low = middle
    return high


def probability_with_box(points: int, offset: float, half_width: float, noise: float) -> float:
    """P(F2 < F1) with the walls of the offset's box, centred positions, noise known.

    F2 - F1 is even in the estimate of b and falls with its size (it is minus the logarithm of an
    average of hyperbolic cosines), so that there is one size at which it crosses zero.

    Parameters
    ----------
    points : int
        N; the variance of the estimate of b is noise^2 / N.
    offset, half_width, noise : float
        As in `Question`.

    Returns
    -------
    float

    Examples
    --------
    >>> print(f"{probability_with_box(5, 0.0, 1.0, 1.0):.10f}")
    0.2211648410
    """
    from scipy.special import ndtr

    crossing = critical_estimate(points, half_width, noise)
    root = math.sqrt(points) / noise
    return float(ndtr((offset - crossing) * root) + ndtr((-offset - crossing) * root))


def critical_estimate(points: int, half_width: float, noise: float) -> float:
    """The |b^| at which both models are equally probable, walls included, centred positions.

    Parameters
    ----------
    points : int
    half_width, noise : float
        As in `Question`.

    Returns
    -------
    float

    Examples
    --------
    >>> print(f"{critical_estimate(5, 1.0, 1.0):.10f}")
    0.5471374756
    """
    from scipy.optimize import brentq
    from scipy.special import log_ndtr

    N = float(positive("points", points))
    xi = float(positive("half_width", finite("half_width", half_width, 0)))
    s = float(positive("noise", finite("noise", noise, 0)))
    root = math.sqrt(N) / s

    def difference(b: float) -> float:
        """F2 - F1 at an estimate b >= 0: the integral over the box against its value at 0."""
        upper, lower = log_ndtr((xi - b) * root), log_ndtr((-xi - b) * root)
        mass = float(upper + math.log(-math.expm1(lower - upper)))
        wide = math.log(2 * xi * root / math.sqrt(2 * math.pi))
        return wide - mass - 0.5 * (b * root) ** 2

    high = 1.0 / root
    while difference(high) > 0.0:
        high *= 2.0
    return float(brentq(difference, 0.0, high, xtol=1e-15, rtol=1e-14))


def probability_with_estimated_noise(points: int, offset: float, half_width: float,
                                     noise: float) -> float:
    """P(F2 < F1) when each model estimates its own noise (empirical Bayes), centred positions.

    F2 - F1 is then a function of exactly two mesoscopic variables, upsilon and T; the
    probability is an integral over upsilon of a normal tail.

    Parameters
    ----------
    points : int
        N >= 3; at N of 5 or less the estimate of the noise runs away so often that the choice is
        erratic.
    offset, half_width, noise : float
        As in `Question`.

    Returns
    -------
    float

    Examples
    --------
    >>> print(f"{probability_with_estimated_noise(100, 0.0, 10.0, 1.0):.8f}")
    0.00315784
    """
    from scipy.integrate import quad
    from scipy.special import gammaln, ndtr

    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 3:
        raise DomainError("points", repr(points), "a whole number of 3 or more")
    question = Question(points, offset, half_width, noise)
    N, shift = int(points), math.sqrt(question.delta)
    fixed = math.log(2 * half_width) + 0.5 * math.log(N)
    two, one = 0.5 * (N - 2), 0.5 * (N - 1)

    def chosen(log_u: float) -> float:
        """Density of ln upsilon times the probability of the offset given it."""
        u = math.exp(log_u)
        # F2 - F1 = 0 gives upsilon + T in closed form.
        left = fixed + two * (1 + math.log(2 * math.pi * noise**2 * u / (N - 2))) - one
        total = (N - 1) / (2 * math.pi * noise**2) * math.exp(left / one)
        root = math.sqrt(max(total - u, 0.0))
        log_p = two * log_u - 0.5 * u - two * math.log(2.0) - gammaln(two)
        return math.exp(log_p) * float(ndtr(shift - root) + ndtr(-root - shift))

    middle, spread = math.log(N - 2), 1.0 / math.sqrt(two)
    ends = [middle + k * spread for k in (-60, -20, -8, -4, -2, 0, 2, 4, 8)]
    return math.fsum(float(quad(chosen, a, b, epsabs=1e-13, epsrel=1e-11, limit=200)[0])
                     for a, b in pairwise(ends))
