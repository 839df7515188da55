r"""Integration of measurements with the walls of the prior's boxes kept.

`theory.joint` has the difference F_int - F_sep of a box that is wide against every posterior.  With
walls it is still exact, data by data (`difference_with_box`).  Its law over data sets is exact for
two sets that share one parameter: with D the difference of the two estimates and J their weighted
mean, which are independent normal numbers, and S = s_1^2 + s_2^2,

    F_int - F_sep = D^2 / 2S + ln(2 pi S) / 2 - ln V + ln P_1 + ln P_2 - ln P_J,

where each P is the share of a likelihood inside the box.  Its slope in D is the difference of the
two sets' posterior means over S (`derivation`), which both only grow apart: at given J the
difference is a convex function of D, the sets are integrated in an interval of D, and one integral
over J is left (`cumulative_with_box`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.box import BoxLine, free_energy
from theory.errors import DomainError, finite, squarable
from theory.joint import Estimate
from theory.nodes import legendre
from theory.walls import mass

Array = NDArray[np.float64]


class Derivation(NamedTuple):
    """Two sets and one shared parameter in a box, in sympy."""

    share: Any           # P(m, s): what of a normal law lies between the walls
    together: Any        # the evidence of both, the parameter shared
    separate: Any        # the evidence of one set
    difference: Any      # F_int - F_sep in J and D
    slope: Any           # its derivative in D
    mean: Any            # the posterior mean of one set, walls included


@cache
def derivation() -> Derivation:
    """The steps in ``J, D`` (weighted mean and difference of the estimates), ``s_1, s_2`` and the
    walls ``lo, hi``; ``m, s`` are one set's estimate and its standard deviation.

    Returns
    -------
    Derivation

    Examples
    --------
    >>> sorted(str(symbol) for symbol in derivation().share.free_symbols)
    ['hi', 'lo', 'm', 's']
    """
    import sympy as sp

    m, lo, hi, J, D = sp.symbols("m lo hi J D", real=True)
    s, s1, s2 = sp.symbols("s s_1 s_2", positive=True)
    t = sp.Symbol("t", real=True)
    normal = sp.exp(-(t**2) / 2) / sp.sqrt(2 * sp.pi)
    share = sp.integrate(normal, (t, (lo - m) / s, (hi - m) / s))
    separate = sp.sqrt(2 * sp.pi) * s * share / (hi - lo)
    S = s1**2 + s2**2
    one, two = J + D * s1**2 / S, J - D * s2**2 / S
    # Both squares are one about J, and D^2 / S is left.
    inside = s1 * s2 / sp.sqrt(S)
    together = sp.exp(-(D**2) / (2 * S)) * separate.subs({m: J, s: inside}, simultaneous=True)
    difference = (D**2 / (2 * S) + sp.log(2 * sp.pi * S) / 2 - sp.log(hi - lo)
                  + sp.log(share.subs({m: one, s: s1})) + sp.log(share.subs({m: two, s: s2}))
                  - sp.log(share.subs({m: J, s: inside}, simultaneous=True)))
    mean = m + s**2 * sp.diff(sp.log(share), m)
    return Derivation(share, together, separate, difference, sp.diff(difference, D), mean)


def difference_with_box(lines: Sequence[BoxLine]) -> float:
    """F_int - F_sep of several sets that share all parameters, walls and unequal noise included.

    Parameters
    ----------
    lines : sequence of theory.box.BoxLine
        Two or more, with the same boxes.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    DomainError
        For fewer than two sets, or different boxes.

    Examples
    --------
    >>> one = BoxLine([1.0, 2.0], [1.1, 1.9], 0.5, (-10, 10))
    >>> two = BoxLine([1.0, 3.0], [1.2, 3.1], 0.2, (-10, 10))
    >>> from theory.joint import difference, estimate
    >>> pair = [estimate([[1], [2]], [1.1, 1.9], 0.5), estimate([[1], [3]], [1.2, 3.1], 0.2)]
    >>> abs(difference_with_box([one, two]) - difference(pair, 20.0)) < 1e-12
    True
    """
    if len(lines) < 2:
        raise DomainError("lines", f"{len(lines)}", "two data sets or more")
    first = lines[0]
    for other in lines[1:]:
        if other.boxes != first.boxes:
            raise DomainError("lines", "different boxes", "one prior of the shared parameters")
    whole = BoxLine(np.concatenate([line.x for line in lines]),
                    np.concatenate([line.y for line in lines]),
                    np.concatenate([line.noises for line in lines]), first.slope, first.offset)
    return free_energy(whole) - sum(free_energy(line) for line in lines)


def cumulative_with_box(truths: Sequence[Estimate], box: tuple[float, float],
                        difference: ArrayLike = 0.0) -> Any:
    """P(F_int - F_sep <= difference) over data sets, walls included.

    Two data sets that share one parameter; parameters of their own do not matter where their boxes
    are wide.  At ``difference`` 0 it is how often the sets are integrated.

    Parameters
    ----------
    truths : sequence of theory.joint.Estimate
        Two, of one parameter: its *true* value in each set, and the variance that its estimate
        will have.
    box : (lo, hi)
        The prior of the shared parameter is uniform there.
    difference : float or array
        In nats.

    Returns
    -------
    float or array
        To 1e-9, in boxes down to 1e-8 standard deviations of the broader estimate.

    Raises
    ------
    DomainError
        For other than two sets, more than one parameter, or lo >= hi.

    Examples
    --------
    >>> one = Estimate(np.array([0.9]), np.array([[0.04]]))
    >>> round(cumulative_with_box([one, one], (-1.0, 1.0)), 6)          # equal truths, near a wall
    0.973403
    """
    d = finite("difference", difference, np.ndim(difference))
    if len(truths) != 2:
        raise DomainError("truths", f"{len(truths)}", "two data sets")
    values, variances = zip(*(_one(m, e) for m, e in enumerate(truths)), strict=True)
    lo, hi = finite("box", box, 1) if np.shape(box) == (2,) else (math.nan, math.nan)
    if not lo < hi:
        raise DomainError("box", repr(box), "(lo, hi) with lo < hi")
    # In units of the standard deviation of D, from the middle of the box.
    unit, middle = math.hypot(*np.sqrt(variances)), 0.5 * (lo + hi)
    at = (np.array(values) - middle) / unit
    pair = _Pair(at, np.sqrt(variances) / unit, 0.5 * (hi - lo) / unit)
    squarable("truths", at)
    if pair.half < 1e-100:
        raise DomainError("box", f"{pair.half:.1g} standard deviations", "1e-100 or more",
                          "choose other units")
    found = np.array([_below(pair, float(v)) for v in d.ravel()])
    return found.reshape(d.shape) if d.ndim else float(found[0])


def _one(m: int, estimate: Any) -> tuple[float, float]:
    """Value and variance of one set's only parameter."""
    field = f"truths[{m}]"
    if not isinstance(estimate, Estimate):
        raise DomainError(field, f"a {type(estimate).__name__}", "a theory.joint.Estimate")
    value = finite(f"{field}.value", estimate.value, 1)
    C = finite(f"{field}.covariance", estimate.covariance, 2)
    if value.shape != (1,) or C.shape != (1, 1) or C[0, 0] <= 0.0:
        raise DomainError(field, f"shapes {value.shape} and {C.shape}",
                          "one parameter and its variance, (1,) and (1, 1)")
    return float(value[0]), float(C[0, 0])


class _Pair(NamedTuple):
    """Two sets, with S = 1 and the box from -half to half."""

    at: Array            # (2,) true values
    sd: Array            # (2,) of the estimates
    half: float

    def estimates(self, J: Array, D: Array) -> tuple[Array, Array]:
        """Both, from their weighted mean and their difference."""
        return J + D * self.sd[0] ** 2, J - D * self.sd[1] ** 2

    def by_shares(self, J: Array, D: Array) -> Array:
        """F_int - F_sep by the shares of three normal laws in the box."""
        (one, two), (s1, s2) = self.estimates(J, D), self.sd
        return np.asarray(
            0.5 * D * D + 0.5 * math.log(2 * math.pi) - math.log(2 * self.half)
            + _log_share(one, s1, self.half) + _log_share(two, s2, self.half)
            - _log_share(J, s1 * s2, self.half))

    def difference(self, J: Array, D: Array) -> Array:
        """F_int - F_sep."""
        if 2 * self.half > self.sd.max():
            return self.by_shares(J, D)
        # In a box smaller than the broader likelihood those terms cancel.  What is left is how much
        # larger it is, on average, where the other set puts the parameter than in the whole box.
        broad, sharp = sorted(zip(self.estimates(J, D), self.sd, strict=True), key=lambda p: -p[1])
        near = np.abs(broad[0]) * self.half < 20.0 * broad[1] ** 2
        found = np.empty(J.shape)
        found[near] = -np.log1p(_gain((broad[0][near], broad[1]), (sharp[0][near], sharp[1]),
                                      self.half))
        if not np.all(near):
            found[~near] = self.by_shares(J[~near], D[~near])
        return found

    def apart(self, J: Array, D: Array) -> Array:
        """Posterior mean of the first set minus that of the second: the slope in D."""
        return np.asarray(np.subtract(*(_mean(m, s, self.half) for m, s in zip(
            self.estimates(J, D), self.sd, strict=True))))


def _nodes(count: int = 24) -> tuple[Array, Array]:
    """Gauss-Legendre on [-1, 1], weights of an average."""
    nodes, weights = legendre(count)
    return nodes, 0.5 * weights


def _posterior(m: Array, s: float, half: float) -> tuple[Array, Array]:
    """Nodes and probabilities of N(m, s^2) cut to the box, where it counts."""
    nodes, weights = _nodes(24 if 2 * half < s else 40)
    mode = np.clip(m, -half, half)
    slope = np.abs(m - mode) / s**2
    reach = 72.0 / (slope + np.sqrt(slope**2 + 72.0 / s**2))          # down by exp(-36)
    low, high = np.maximum(mode - reach, -half), np.minimum(mode + reach, half)
    t = np.multiply.outer(low, 0.5 * (1 - nodes)) + np.multiply.outer(high, 0.5 * (1 + nodes))
    fall = (t - mode[..., None]) * (t + (mode - 2 * m)[..., None]) / (2 * s**2)
    p = np.exp(-fall) * weights
    return t, p / p.sum(axis=-1, keepdims=True)


def _gain(broad: tuple[Array, float], sharp: tuple[Array, float], half: float) -> Array:
    """The mean of the broader likelihood under the other's posterior over that in the box, less
    one; both likelihoods as (estimate, standard deviation)."""
    def growth(likelihood: tuple[Array, float], t: Array) -> Array:
        """Over its value in the middle of the box, less one."""
        m, s = likelihood
        return np.asarray(np.expm1(t * (m[:, None] - 0.5 * t) / s**2))

    nodes, weights = _nodes()
    everywhere = growth(broad, half * nodes)
    whole = everywhere @ weights
    m, s = sharp
    if 2 * half < s and np.all(np.abs(m) * half < 20.0 * s**2):
        # Nearly even, too: a covariance over the box, whose leading terms are gone.
        other = growth(sharp, half * nodes)
        mean = (other @ weights)[:, None]
        more = ((everywhere - whole[:, None]) * (other - mean) / (1.0 + mean)) @ weights
    else:
        theta, p = _posterior(m, s, half)
        more = np.sum(p * growth(broad, theta), axis=-1) - whole
    return np.asarray(more / (1.0 + whole))


def _edges(m: Array, s: float, half: float) -> tuple[Array, Array]:
    """The walls in standard deviations, mirrored so that the smaller tails count."""
    m = np.abs(m)
    return (m - half) / s, (m + half) / s


def _log_share(m: Array, s: float, half: float) -> Array:
    """ln of the share of N(m, s^2) in the box."""
    from scipy.special import log_ndtr

    if 2 * half / s > 0.5:
        near, far = _edges(m, s, half)
        top = log_ndtr(-near)
        return np.asarray(top + np.log(-np.expm1(log_ndtr(-far) - top)))
    inside, at = mass(1.0 / (s * math.sqrt(2.0)), m, -half, half)
    return np.asarray(np.log(inside / (s * math.sqrt(2 * math.pi))) - 0.5 * ((m - at) / s) ** 2)


def _mean(m: Array, s: float, half: float) -> Array:
    """Mean of N(m, s^2) cut to the box."""
    if 2 * half / s > 0.5:
        near, far = _edges(m, s, half)
        log_share = _log_share(m, s, half)
        pull = (np.exp(-0.5 * near**2 - log_share) - np.exp(-0.5 * far**2 - log_share)
                ) / math.sqrt(2 * math.pi)
        return np.asarray(np.clip(np.sign(m) * (np.abs(m) - s * pull), -half, half))
    theta, p = _posterior(m, s, half)
    return np.asarray(np.sum(p * theta, axis=-1))


def _below(pair: _Pair, level: float) -> float:
    """One integral over J of the chance that D lies where the difference is below the level."""
    inner = float(np.prod(pair.sd))
    J0 = float(pair.at @ pair.sd[::-1] ** 2)
    walls = [w + k * s for w in (-pair.half, pair.half) for s in (inner, *pair.sd)
             for k in (-4.0, -1.0, 1.0, 4.0)]
    # In a small box the interval of D nearly closes, or closes, about the middle.
    walls += [f * s for s in (inner, pair.half) for f in (-3.0, -1.0, -0.3, 0.0, 0.3, 1.0, 3.0)]
    reach = 8.0 * inner
    cuts = np.unique(np.clip([*walls, *np.linspace(J0 - reach, J0 + reach, 9)],
                             J0 - reach, J0 + reach))
    cuts = np.union1d(cuts, _turns(pair, level, cuts))
    # Smooth steps from cut to cut: where the interval of D opens, like a square root, it is smooth
    # in the step.
    nodes, weights = _nodes(16)
    t, width = 0.5 * (nodes + 1.0), np.diff(cuts)[:, None]
    J = (cuts[:-1, None] + width * t * t * (3 - 2 * t)).ravel()
    dJ = (width * weights * 6 * t * (1 - t)).ravel()
    z = (J - J0) / inner
    chance = _interval(pair, level, J)
    total = dJ @ (chance * np.exp(-0.5 * z * z)) / (inner * math.sqrt(2 * math.pi))
    return min(float(total), 1.0)


def _turns(pair: _Pair, level: float, cuts: Array) -> Array:
    """Where between the cuts the least difference passes the level."""
    J = np.concatenate([*(np.linspace(a, b, 5)[:-1] for a, b in pairwise(cuts)), cuts[-1:]])

    def above(J: Array) -> Array:
        return pair.difference(J, _lowest(pair, J)) - level

    sign = above(J) > 0.0
    k = np.flatnonzero(sign[1:] != sign[:-1])
    return _root(lambda J: np.where(sign[k], -1.0, 1.0) * above(J), J[k], J[k + 1], 1e-10)


def _lowest(pair: _Pair, J: Array) -> Array:
    """The D of the least difference: there both posteriors have the same mean."""
    low, high = np.full(J.shape, -1.0), np.ones(J.shape)
    while np.any(early := pair.apart(J, low) > 0.0):
        low, high = np.where(early, 2.0 * low, low), np.where(early, low, high)
    while np.any(late := pair.apart(J, high) < 0.0):
        low, high = np.where(late, high, low), np.where(late, 2.0 * high, high)
    return _root(lambda D: pair.apart(J, D), low, high, 1e-12)


def _interval(pair: _Pair, level: float, J: Array) -> Array:
    """P(difference <= level) given J."""
    from scipy.special import ndtr

    D0 = pair.at[0] - pair.at[1]
    low, high = (_end(pair, level, J, side) - D0 for side in (-1.0, 1.0))
    return np.where(low < high, ndtr(high) - ndtr(low), 0.0)


def _end(pair: _Pair, level: float, J: Array, side: float) -> Array:
    """The D at which the difference, from 10 standard deviations away where nothing is left, falls
    to the level; NaN where it does not.  It is convex: Newton's steps never pass that point, and
    where they pass the least value there is none."""
    D, todo = np.full(J.shape, pair.at[0] - pair.at[1] + 10.0 * side), np.arange(len(J))
    while len(todo):
        excess = pair.difference(J[todo], D[todo]) - level
        slope = side * pair.apart(J[todo], D[todo])
        D[todo[(excess > 0.0) & (slope <= 0.0)]] = math.nan
        step = np.where((excess > 0.0) & (slope > 0.0), excess, 0.0) / np.where(
            slope > 0.0, slope, 1.0)
        D[todo] -= side * step
        todo = todo[step > 1e-14 * np.maximum(np.abs(D[todo]), 0.1)]
    return D


def _root(function: Any, low: Array, high: Array, tolerance: float) -> Array:
    """The root of a growing function between two points: regula falsi, Illinois."""
    at_low, at_high, kept = function(low), function(high), np.zeros(low.shape)
    for _ in range(100):
        fall = at_high - at_low
        x = high - (high - low) * at_high / np.where(fall > 0.0, fall, 1.0)
        at = function(x)
        # An end that stays twice counts half.
        at_low, at_high = (
            np.where(at < 0.0, at, np.where(kept < 0.0, 0.5 * at_low, at_low)),
            np.where(at < 0.0, np.where(kept > 0.0, 0.5 * at_high, at_high), at))
        low, high = np.where(at < 0.0, x, low), np.where(at < 0.0, high, x)
        kept = np.where(at < 0.0, 1.0, -1.0)
        if np.all((at == 0.0) | (high - low <= tolerance)):
            break
    return np.asarray(x)
