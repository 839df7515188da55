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
        To 1e-9, in boxes down to 1e-8 standard deviations of the broader estimate; to 1e-6 where
        one estimate is more than 1e4 times the sharper.

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

    def difference(self, J: Array, D: Array) -> tuple[Array, Array, Array]:
        """F_int - F_sep; its slope in D, which is the difference of the posterior means; and its
        curvature, which is the sum of their variances."""
        if 4 * self.half > self.sd.max():
            return self._by_shares(J, D)
        # In a box much smaller than the broader likelihood those terms cancel.  What is left is
        # how much larger it is, on average, where the other set puts the parameter than in the
        # whole box.
        broad = int(np.argmax(self.sd))
        m, s = self.estimates(J, D), self.sd
        near = np.abs(m[broad]) * self.half < 20.0 * s[broad] ** 2
        if not np.all(near):
            found = np.stack(self._by_shares(J, D))
            if np.any(near):
                found[:, near] = self.difference(J[near], D[near])
            return found[0], found[1], found[2]
        gain, apart, spread = _gain((m[broad], s[broad]), (m[1 - broad], s[1 - broad]), self.half)
        return -np.log1p(gain), apart if broad == 0 else -apart, spread

    def _by_shares(self, J: Array, D: Array) -> tuple[Array, Array, Array]:
        """By the shares of three normal laws in the box."""
        inner = float(np.prod(self.sd))
        log_share, mean, variance = _cut(np.stack([*self.estimates(J, D), J]),
                                         np.array([*self.sd, inner])[:, None], self.half)
        value = (0.5 * D * D + 0.5 * math.log(2 * math.pi) - math.log(2 * self.half)
                 + log_share[0] + log_share[1] - log_share[2])
        return value, mean[0] - mean[1], variance[0] + variance[1]


def _nodes(count: int) -> tuple[Array, Array]:
    """Gauss-Legendre on [-1, 1], weights of an average."""
    nodes, weights = legendre(count)
    return nodes, 0.5 * weights


def _posterior(m: Array, s: Any, half: float) -> tuple[Array, Array]:
    """Nodes and probabilities of N(m, s^2) cut to the box, where it counts."""
    nodes, weights = _nodes(40)
    mode = np.clip(m, -half, half)
    slope = np.abs(m - mode) / s**2
    reach = 72.0 / (slope + np.sqrt(slope**2 + 72.0 / s**2))          # down by exp(-36)
    low, high = np.maximum(mode - reach, -half), np.minimum(mode + reach, half)
    t = np.multiply.outer(low, 0.5 * (1 - nodes)) + np.multiply.outer(high, 0.5 * (1 + nodes))
    fall = (t - mode[..., None]) * (t + (mode - 2 * m)[..., None])
    p = np.exp(-fall / (2 * np.asarray(s)[..., None] ** 2)) * weights
    return t, p / p.sum(axis=-1, keepdims=True)


def _gain(broad: tuple[Array, float], sharp: tuple[Array, float], half: float
          ) -> tuple[Array, Array, Array]:
    """The mean of the broader likelihood under the other's posterior over that in the box, less
    one; how far the posterior means lie apart; the sum of the posterior variances.  Both
    likelihoods as (estimate, standard deviation)."""
    def growth(likelihood: tuple[Array, float], t: Array) -> Array:
        """Over its value in the middle of the box, less one."""
        m, s = likelihood
        return np.asarray(np.expm1(t * (m[:, None] - 0.5 * t) / s**2))

    def moments(growth: Array) -> tuple[Array, Array, Array]:
        """Mean of the likelihood over that in the middle, and the posterior's mean and variance;
        the odd powers of t that the growth does not multiply are gone."""
        whole = 1.0 + growth @ weights
        mean = growth @ (weights * t) / whole
        return whole, mean, (half * half / 3.0 + growth @ (weights * t * t)) / whole - mean * mean

    # How much the exponents change over half a box decides how many nodes they need.
    change, other_change = (half / s * (4.0 + float(np.max(np.abs(m))) / s)
                            for m, s in (broad, sharp))
    even = half < 4.0 * sharp[1] and other_change < 32.0
    nodes, weights = _nodes(8 + int(max(change, other_change) if even else change))
    t = half * nodes
    everywhere = growth(broad, t)
    whole, mean, variance = moments(everywhere)
    level = everywhere @ weights
    if even:
        # A covariance over the box, whose leading terms are gone.
        other = growth(sharp, t)
        other_whole, other_mean, other_variance = moments(other)
        more = ((everywhere - level[:, None]) * (other - (other @ weights)[:, None])
                ) @ weights / other_whole
    else:
        theta, p = _posterior(*sharp, half)
        more = np.sum(p * growth(broad, theta), axis=-1) - level
        _, other_mean, other_variance = _cut(*sharp, half)
    return more / whole, mean - other_mean, variance + other_variance


def _cut(m: Array, s: Any, half: float) -> tuple[Array, Array, Array]:
    """N(m, s^2) cut to the box: ln of its share there, its mean, and its variance, which only
    guides steps."""
    if np.max(s) >= 4 * half:
        inside, at = mass(1.0 / (s * math.sqrt(2.0)), m, -half, half)
        theta, p = _posterior(m, s, half)
        mean = np.sum(p * theta, axis=-1)
        return (np.log(inside / (s * math.sqrt(2 * math.pi))) - 0.5 * ((m - at) / s) ** 2,
                mean, np.sum(p * (theta - mean[..., None]) ** 2, axis=-1))
    from scipy.special import erfcx

    # The walls in standard deviations, mirrored so that the smaller tails count; the tails, and
    # beyond a wall the share, over exp(-near^2 / 2).
    near, far = (np.abs(m) - half) / s, (np.abs(m) + half) / s
    fall, further = np.exp(-0.5 * near * near), np.exp(-half / s * (near + far))
    tail, far_tail = 0.5 * erfcx(np.abs(near) / math.sqrt(2)), 0.5 * further * erfcx(
        far / math.sqrt(2))
    within, outside = near < 0.0, fall * (tail + far_tail)
    share = np.where(within, 1.0 - outside, tail - far_tail)
    log_share = np.where(within, np.log1p(-np.where(within, outside, 0.0)),
                         np.log(share) - 0.5 * near * near)
    pull = np.where(within, fall, 1.0) / (share * math.sqrt(2 * math.pi))
    mean = np.clip(np.sign(m) * (np.abs(m) - s * pull * (1.0 - further)), -half, half)
    # Beyond a wall it is below that of the wall's exponential, though the digits are gone.
    variance = np.clip(1.0 + pull * (near - far * further) - (pull * (1.0 - further)) ** 2, 0.0,
                       np.maximum(near, 1.0) ** -2)
    return log_share, mean, s * s * variance


def _below(pair: _Pair, level: float) -> float:
    """One integral over J of the chance that D lies where the difference is below the level."""
    inner = float(np.prod(pair.sd))
    J0, D0 = float(pair.at @ pair.sd[::-1] ** 2), float(pair.at[0] - pair.at[1])
    reach = 8.0 * inner
    layers = [np.linspace(J0 - reach, J0 + reach, 9)]
    # In a small box the interval of D nearly closes, or closes, about the middle.
    layers += [s * np.array([-3.0, -1.0, -0.3, 0.0, 0.3, 1.0, 3.0]) for s in (inner, pair.half)]
    # Where the weighted mean passes a wall, and an estimate does with D near its truth.
    layer = np.array([-4.0, -1.0, 1.0, 4.0])
    for s, follow in ((inner, 0.0), *zip(pair.sd, (-1.0, 1.0), strict=True)):
        walls = np.array([[-pair.half], [pair.half]] if pair.half > s else [[0.0]])
        layers += [walls + s * layer, walls + follow * s * s * (D0 + layer)]
    cuts = np.unique(np.clip(np.concatenate([c.ravel() for c in layers]), J0 - reach, J0 + reach))
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
    """Where between the cuts the least difference passes the level.

    It is never above 0.  With p_1 and p_2 the two posteriors, and the entropies taken against the
    prior, it is at most -KL(p_2) - (Var_2 - Var_1) / 2 s_2^2 where their means are equal (Jensen),
    and the same with 1 and 2 exchanged: one of the two is not above 0."""
    if level >= 0.0:
        return cuts[:0]
    J = np.append(cuts[:-1, None] + np.diff(cuts)[:, None] * np.arange(4) / 4, cuts[-1])
    # Its D far outside the box, and in a small box.
    sharper = 0.5 * (pair.sd[1] ** -2 - pair.sd[0] ** -2)
    least, D = _least(pair, J, sharper * (J - np.clip(J, -pair.half, pair.half)))
    sign = least > level
    k = np.flatnonzero(sign[1:] != sign[:-1])
    if not len(k):
        return cuts[:0]
    rising, D = np.where(sign[k], -1.0, 1.0), D[k]

    def above(J: Array) -> Array:
        least, D[:] = _least(pair, J, D)
        return rising * (least - level)

    return _root(above, J[k], J[k + 1], 1e-10)


def _least(pair: _Pair, J: Array, D: Array) -> tuple[Array, Array]:
    """The least difference and its D, where both posteriors have the same mean: Newton's steps from
    a first D, between the points known on either side."""
    D, found, todo = D.copy(), np.empty(J.shape), np.arange(len(J))
    low, high = np.full(J.shape, -math.inf), np.full(J.shape, math.inf)
    for _ in range(12):
        at = D[todo]
        value, slope, curvature = pair.difference(J[todo], at)
        low[todo] = left = np.where(slope < 0.0, at, low[todo])
        high[todo] = right = np.where(slope > 0.0, at, high[todo])
        most = 1.0 + np.abs(at)                     # where it is flat a step may be any
        new = at + np.clip(-slope / np.maximum(curvature, 1e-300), -most, most)
        found[todo] = value + 0.5 * slope * (new - at)
        D[todo] = np.where(new < left, 0.5 * (left + at),
                           np.where(new > right, 0.5 * (at + right), new))
        todo = todo[np.abs(D[todo] - at) > 1e-4 * np.maximum(np.abs(at), 0.1)]
        if not len(todo):
            break
    return found, D


def _interval(pair: _Pair, level: float, J: Array) -> Array:
    """P(difference <= level) given J."""
    from scipy.special import ndtr

    low, high = _ends(pair, level, J)
    return np.asarray(np.where(low < high, ndtr(high) - ndtr(low), 0.0))


def _ends(pair: _Pair, level: float, J: Array) -> Array:
    """Where the difference, from 10 standard deviations to either side of D's mean where nothing
    is left, falls to the level, from that mean (2, len(J)); NaN where it does not.

    Steps go to where a parabola would be at the level.  As the difference is convex Newton's steps
    never pass that point: one takes over where a parabola's passes the least value, and where
    Newton's does there is no such point."""
    side, D0 = np.repeat([-1.0, 1.0], len(J)), float(pair.at[0] - pair.at[1])
    J = np.concatenate([J, J])
    out, newton, todo = np.full(J.shape, 10.0), np.full(J.shape, 10.0), np.arange(len(J))
    for _ in range(40):
        at = out[todo]
        excess, slope, curvature = pair.difference(J[todo], D0 + side[todo] * at)
        excess, slope = excess - level, side[todo] * slope
        outside = (excess > 0.0) & (slope > 0.0)
        passed = (excess > 0.0) & ~outside
        newton[todo] = safe = np.where(outside, at - excess / np.where(outside, slope, 1.0),
                                       newton[todo])
        square = slope * slope - 2.0 * curvature * excess
        root = slope + np.sqrt(np.maximum(square, 0.0))
        parabola = at - 2.0 * excess / np.where(root > 0.0, root, 1.0)
        new = np.where(passed | (square < 0.0) | (root <= 0.0), safe,
                       np.clip(parabola, -10.0, 10.0))
        new[(safe < -10.0) | (passed & (at <= safe))] = math.nan
        out[todo] = new
        todo = todo[np.abs(new - at) > 1e-10 * np.maximum(np.abs(D0 + side[todo] * new), 0.1)]
        if not len(todo):
            break
    return np.asarray((side * out).reshape(2, -1))


def _root(function: Any, low: Array, high: Array, tolerance: float) -> Array:
    """The root of a growing function between two points: regula falsi, Illinois."""
    at_low, at_high, kept = function(low), function(high), np.zeros(low.shape)
    for _ in range(20):
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
