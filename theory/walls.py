r"""A quadratic energy inside a box: the integrals behind `theory.box`, at any temperature.

Everything is measured from the lowest point of the box, where the least energy, the gradient and
the residuals keep their digits even if the estimate lies a million standard deviations outside.
For a slope and an offset the offset follows the valley of the energy, t = db + tilt da, which makes
the energy a sum and leaves the correlation to the limits of t:

    U = least + (g_a da + h_a da^2 / 2) + (g_t t + h_t t^2 / 2), low + tilt da < t < high + tilt da.

The quadratures sum positive terms over the part of the box that counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.nodes import legendre
from theory.rounding import residual

Array = NDArray[np.float64]

# exp(-BAR) of the largest density is left out along the slope, exp(-bar) along the offset.
BAR, INNER_BAR = 90.0, 50.0


@dataclass(frozen=True)
class Parabola:
    """g u + h u^2 / 2 between two walls that include 0."""

    gradient: float
    curvature: float
    low: float
    high: float

    def __call__(self, u: Any) -> Any:
        return (self.gradient + 0.5 * self.curvature * u) * u

    @property
    def centre(self) -> float:
        """Where it would be least without walls; infinite without curvature."""
        return -self.gradient / self.curvature


@dataclass(frozen=True)
class Valley:
    """The energy of a straight line about the lowest point of its box.

    Parameters
    ----------
    point : array (parameters,)
        That point.
    least : float
        U there.
    slope : Parabola
        Energy along the slope, the offset following.
    offset : Parabola or None
        Energy along the offset beside the valley.
    tilt : float
        How far the valley moves down in the offset for a unit of the slope: the mean of x, each
        weighted with its precision.
    """

    point: Array
    least: float
    slope: Parabola
    offset: Parabola | None
    tilt: float


def valley(X: Array, y: Array, noise: Array, low: Array, high: Array) -> Valley:
    """Find the lowest point of the box and expand the energy there.

    Parameters
    ----------
    X : array (points, parameters)
        Columns x, or x and 1.
    y : array (points,)
    noise : array (points,)
    low, high : array (parameters,)
        Walls.

    Returns
    -------
    Valley
    """
    A = X / noise[:, None]
    hessian = A.T @ A
    theta = np.clip(np.linalg.lstsq(A, y / noise, rcond=None)[0], low, high)
    for _ in range(4):                  # each round has the residuals of the last one's point
        gradient = -(A.T @ (residual(X, y, theta) / noise))
        step = _lowest(hessian, gradient, low - theta, high - theta)
        theta = np.where(step <= low - theta, low,
                         np.where(step >= high - theta, high, np.clip(theta + step, low, high)))
    r = residual(X, y, theta) / noise
    two = X.shape[1] == 2
    tilt = float(np.average(X[:, 0], weights=(noise.min() / noise) ** 2)) if two else 0.0
    along = (X[:, 0] - tilt) / noise
    walls = list(zip((low - theta).tolist(), (high - theta).tolist(), strict=True))
    slope = Parabola(-float(along @ r), float(along @ along), *walls[0])
    one = 1.0 / noise
    offset = Parabola(-float(one @ r), float(one @ one), *walls[1]) if two else None
    return Valley(theta, 0.5 * float(r @ r), slope, offset, tilt)


def _lowest(hessian: Array, gradient: Array, low: Array, high: Array) -> Array:
    """The step to the least of g d + d H d / 2 in a box of one or two dimensions."""
    free = -np.linalg.solve(hessian, gradient)
    if np.all((low <= free) & (free <= high)):
        return np.asarray(free)
    if len(free) == 1:
        return np.clip(free, low, high)
    edges = []
    for i, j in ((0, 1), (1, 0)):
        for wall in (low[i], high[i]):
            step = np.empty(2)
            step[i] = wall
            step[j] = np.clip(-(gradient[j] + hessian[i, j] * wall) / hessian[j, j],
                              low[j], high[j])
            edges.append(step)
    return min(edges, key=lambda d: float(gradient @ d + 0.5 * d @ hessian @ d))


def moments(ground: Valley, beta: float) -> tuple[float, float, float]:
    """ln of the integral of exp(-beta (U - least)) over the box, mean and variance of U - least.

    Parameters
    ----------
    ground : Valley
    beta : float

    Returns
    -------
    log_integral, mean, variance : float
    """
    left, right = _reach_along(ground, beta)
    a, weight = grid(left, right, [0.0, *_bends(ground, beta)])
    energy = ground.slope(a)
    if ground.offset is not None:
        low, high = ground.offset.low + ground.tilt * a, ground.offset.high + ground.tilt * a
        t, inner = _across(ground.offset, beta, low, high)
        energy, weight = energy[:, None] + ground.offset(t), weight[:, None] * inner
    p = weight * np.exp(-beta * energy)
    total = float(p.sum())
    mean = float((p * energy).sum()) / total
    return math.log(total), mean, float((p * (energy - mean) ** 2).sum()) / total


def log_integrals(ground: Valley, beta: Array) -> Array:
    """The first of `moments` at many temperatures at once, the offset's integral in closed form.

    Parameters
    ----------
    ground : Valley
    beta : array (rungs,)
        All > 0.

    Returns
    -------
    array (rungs,)
    """
    slope, offset, tilt = ground.slope, ground.offset, ground.tilt
    if offset is None:
        inside, at = mass(np.sqrt(0.5 * beta * slope.curvature), slope.centre, slope.low,
                          slope.high)
        return np.asarray(np.log(inside) - beta * slope(at))
    left, right = _reach_along(ground, beta, INNER_BAR)
    cuts = [np.zeros_like(beta), *np.linspace(left, right, 9), *_bends(ground, beta)]
    edges = np.sort(np.clip(cuts, left, right), axis=0).T
    rung, panel = np.nonzero(np.diff(edges) > 0.0)
    low, high = edges[rung, panel][:, None], edges[rung, panel + 1][:, None]
    nodes, weights = legendre(16)
    half, b = 0.5 * (high - low), beta[rung][:, None]
    a = low + half * (nodes + 1.0)
    inside, at = mass(np.sqrt(0.5 * b * offset.curvature), offset.centre, offset.low + tilt * a,
                      offset.high + tilt * a)
    parts = (half * inside * np.exp(-b * (slope(a) + offset(at)))) @ weights
    return np.asarray(np.log(np.bincount(rung, parts, len(beta))))


def mass(root: Any, centre: Any, low: Any, high: Any) -> tuple[Array, Array]:
    """The integral of exp(-root^2 (t - centre)^2) between two walls, in units of its largest value
    there, and where that is.

    Error functions; the scaled ones where the centre is beyond a wall.

    Parameters
    ----------
    root, centre, low, high : float or array
        Of shapes that fit, low < high.

    Returns
    -------
    mass, largest : array
    """
    from scipy.special import erf, erfcx

    at = np.clip(centre, low, high)
    k, left, right, past = np.broadcast_arrays(root, at - low, high - at, at - centre)
    width, beyond = k * (left + right), k * np.abs(past)
    rise = width * (2.0 * beyond + width)
    # Where the density hardly changes from wall to wall two error functions are nearly equal.
    even = rise < 0.5
    inside, outside = ~even & (beyond == 0.0), ~even & (beyond > 0.0)
    found = np.empty(k.shape)
    found[inside] = erf((k * left)[inside]) + erf((k * right)[inside])
    near, far = beyond[outside], (beyond + width)[outside]
    found[outside] = erfcx(near) - np.exp(-rise[outside]) * erfcx(far)
    found = np.asarray(0.5 * math.sqrt(math.pi) * found / k)
    if np.any(even):
        nodes, weights = legendre(8)
        t = (np.multiply.outer(right[even], 0.5 * (1.0 + nodes))
             - np.multiply.outer(left[even], 0.5 * (1.0 - nodes)))
        growth = k[even][:, None] ** 2 * t * (t + 2.0 * past[even][:, None])
        found[even] = (left + right)[even] * (np.exp(-growth) @ (0.5 * weights))
    return found, at


def _across(parabola: Parabola, beta: float, low: Array, high: Array) -> tuple[Array, Array]:
    """Nodes and weights between two walls, where the density of one dimension counts."""
    if beta > 0.0:
        mode = np.clip(parabola.centre, low, high)
        r = _fall(INNER_BAR / beta, np.abs(parabola.gradient + parabola.curvature * mode),
                  parabola.curvature)
        low, high = np.maximum(low, mode - r), np.minimum(high, mode + r)
    nodes, weights = legendre(64)
    half = 0.5 * (high - low)[:, None]
    return low[:, None] + half * (nodes + 1.0), half * weights


def _fall(height: Any, slope: Any, curvature: Any) -> Any:
    """How far a parabola goes until it has risen by this height (positive slope)."""
    return 2.0 * height / (slope + np.sqrt(slope**2 + 2.0 * curvature * height))


def _bends(ground: Valley, beta: Any) -> list[Any]:
    """Where a wall of the offset starts to cut the valley: cuts on its own scale."""
    if ground.offset is None or not ground.tilt or not np.all(beta):
        return []
    bottom = ground.offset.centre
    layer = 1.0 / (abs(ground.tilt) * np.sqrt(beta * ground.offset.curvature))
    return [(bottom - wall) / ground.tilt + f * layer
            for wall in (ground.offset.low, ground.offset.high) for f in (-6, -2, 0, 2, 6)]


def _reach_along(ground: Valley, beta: Any, bar: float = BAR) -> tuple[Any, Any]:
    """The part of the slope's box where the energy, least over the offset, is within reach."""
    if not np.all(beta):
        return ground.slope.low, ground.slope.high
    return (-_reach(ground, bar / beta, -1, -ground.slope.low),
            _reach(ground, bar / beta, 1, ground.slope.high))


def _reach(ground: Valley, height: Any, sign: int, end: float) -> Any:
    """March outwards over the pieces of the profile, each a parabola, up to a height."""
    stops = [end]
    if ground.offset is not None and ground.tilt:
        bends = (sign * (ground.offset.centre - wall) / ground.tilt
                 for wall in (ground.offset.low, ground.offset.high))
        stops = sorted(b for b in bends if 0.0 < b < end) + stops
    at, reach = 0.0, 0.0
    for stop in stops:
        slope, curvature = _profile(ground, sign * at, sign * 0.5 * (at + stop))
        r = _fall(np.maximum(height, 0.0), max(sign * slope, 0.0), curvature)
        reach = reach + np.minimum(r, stop - at)
        height = height - (sign * slope + 0.5 * curvature * (stop - at)) * (stop - at)
        at = stop
    return reach


def _profile(ground: Valley, a: float, inside: float) -> tuple[float, float]:
    """Slope at a, and curvature, of the energy that is least over the offset, on one piece."""
    slope, curvature = ground.slope.gradient + ground.slope.curvature * a, ground.slope.curvature
    if ground.offset is not None:
        offset, tilt = ground.offset, ground.tilt
        for wall, cut in ((offset.low, offset.centre < offset.low + tilt * inside),
                          (offset.high, offset.centre > offset.high + tilt * inside)):
            if cut:
                t = wall + tilt * a
                slope += tilt * (offset.gradient + offset.curvature * t)
                curvature += tilt**2 * offset.curvature
    return slope, curvature


def acceptance(slope: Parabola, hot: float, cold: float) -> float:
    """A = 2 P(U1 < U2) of two rungs of one parameter: what lies lower than a state of the hot
    rung is the interval between it and its mirror image.

    Parameters
    ----------
    slope : Parabola
    hot, cold : float
        Inverse temperatures, hot < cold.

    Returns
    -------
    float
    """
    ground = Valley(np.zeros(1), 0.0, slope, None, 0.0)
    left, right = _reach_along(ground, hot)
    near = _reach_along(ground, cold)
    mirrors = [2 * slope.centre - wall for wall in (slope.low, slope.high)]
    a, weight = grid(left, right, [0.0, *mirrors, *(f * r for r in near for f in (
        0.01, 0.05, 0.2, 0.5, 1.0))])
    weight = weight * np.exp(-hot * slope(a))
    other = 2 * slope.centre - a
    lower = np.maximum(np.minimum(a, other), slope.low)
    upper = np.minimum(np.maximum(a, other), slope.high)

    def weighed(low: Any, high: Any) -> Array:
        inside, at = mass(math.sqrt(0.5 * cold * slope.curvature), slope.centre, low, high)
        return np.asarray(inside * np.exp(-cold * slope(at)))

    share = weighed(lower, upper) / weighed(slope.low, slope.high)
    return float(2.0 * (weight @ (1.0 - share)) / weight.sum())


def grid(low: float, high: float, cuts: Any = (), panels: int = 32) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on [low, high], in panels that end at every cut.

    Parameters
    ----------
    low, high : float
    cuts : sequence of float
    panels : int

    Returns
    -------
    nodes, weights : array
    """
    inner = np.unique(np.clip(np.asarray([low, *cuts, high], dtype=float), low, high))
    parts = [np.linspace(a, b, panels // 2 + 1) if b - a > 0.1 * (high - low) else
             np.linspace(a, b, 5) for a, b in pairwise(inner)]
    edges = np.unique(np.concatenate(parts))
    nodes, weights = legendre(32)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (nodes + 1.0)).ravel(), (half * weights).ravel()
