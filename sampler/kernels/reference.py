"""One sweep in plain NumPy: slow, and obviously right.

It evaluates the whole model anew for every proposal, straight from the formulas (never from the
split into columns), and takes its random numbers from the same counters as `cpu`.  So from the
same state both take the same decisions, except where a decision hangs on the last digits
(``|ln u - gain| < 1e-9``); `Trace.margin` tells how near a sweep came to that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.data import QUADRATIC
from sampler.jumps import Jumps
from sampler.kernels.problem import FLIP, LINEAR, Problem
from sampler.mixture import FREEDOM
from sampler.philox import DRAWS, PRIOR, START, stream_key, uniforms
from sampler.philox import JUMP as JUMP_STREAM
from sampler.philox import SWAP as SWAP_STREAM
from sampler.philox import WALK as WALK_STREAM
from sampler.posterior import Posterior
from sampler.priors import (
    BERNOULLI,
    BETA,
    GAMMA,
    INVERSE_GAMMA,
    LOG_UNIFORM,
    NORMAL,
    UNIFORM,
)

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass
class Trace:
    """What one sweep did, and how near its nearest decision came to a tie."""

    energy: Array     # (L,) at each rung, before the exchange
    replica: IntArray  # (L,)
    draw: Array       # (P,) parameters at the last rung
    accepted: IntArray  # (L, P)
    margin: float     # smallest |ln u - gain| of all decisions


def sweep(posterior: Posterior, problem: Problem, theta: Array, rung: IntArray, betas: Array,
          steps: Array, seed: int, chain: int, number: int) -> Trace:
    """Sweep ``number`` of one chain; ``theta`` (R, P) and ``rung`` (L,) are updated in place."""
    betas_of = np.empty(len(betas))
    betas_of[rung] = betas
    level_of = np.argsort(rung)
    accepted = np.zeros((len(betas), theta.shape[1]), dtype=np.int64)
    margin = np.inf
    hot = betas_of == 0.0
    for r in np.flatnonzero(hot):
        theta[r] = draw_prior_at(problem, number, int(r), stream_key(seed, PRIOR, chain))
    key = stream_key(seed, WALK_STREAM, chain)
    energy = posterior.energy(theta)
    for p in range(theta.shape[1]):
        if problem.move[p] == LINEAR:
            _linear_draw(posterior, problem, theta, p, betas_of, number, key)
            energy = posterior.energy(theta)
            continue
        u, v = uniforms(number, np.arange(len(theta)), p * DRAWS, key)
        proposal = theta.copy()
        proposal[:, p] = _step(problem, p, theta[:, p], steps[level_of, p], u)
        inside = _inside(problem, p, proposal) & ~hot
        proposal[~inside] = theta[~inside]
        new = posterior.energy(proposal)
        gain = (_walk_density(problem, p, proposal[:, p]) - _walk_density(problem, p, theta[:, p])
                - betas_of * (np.where(inside, new, 0.0) - np.where(inside, energy, 0.0)))
        take = inside & (np.log(v) < gain)
        if inside.any():
            margin = min(margin, float(np.abs(np.log(v) - gain)[inside].min()))
        theta[take], energy = proposal[take], np.where(take, new, energy)
        accepted[level_of[take], p] += 1
    trace = Trace(energy[rung], rung.copy(), theta[rung[-1]].copy(), accepted, margin)
    trace.margin = min(margin, _exchange(rung, energy, betas, number, seed, chain))
    return trace


def jump(posterior: Posterior, problem: Problem, jumps: Jumps, theta: Array, rung: IntArray,
         betas: Array, seed: int, chain: int, number: int) -> tuple[IntArray, float]:
    """The tries before sweep ``number``, one on every rung that jumps; ``theta`` in place.

    Returns which rungs accepted, and the smallest margin of a decision.
    """
    key = stream_key(seed, JUMP_STREAM, chain)
    accepted, margin = np.zeros(len(betas), dtype=np.int64), np.inf
    for level in map(int, np.flatnonzero(jumps.on)):
        r = int(rung[level])
        u, v = (np.asarray(w) for w in uniforms(
            number, r, np.arange(3 + 2 * theta.shape[1]), key))
        new = _draw_jump(jumps, level, u, v)
        if not _in_order(problem, jumps, new):
            continue
        old = _folded(jumps, theta[r])
        gain = _log_share(problem, jumps, level, new) - _log_share(problem, jumps, level, old)
        new = _shuffled(jumps, new, u)
        gain -= betas[level] * float(np.diff(posterior.energy(np.stack([theta[r], new])))[0])
        log_v = math.log(v[0])
        margin = min(margin, abs(log_v - gain))
        if log_v < gain:
            theta[r], accepted[level] = new, 1
    return accepted, margin


def _draw_jump(jumps: Jumps, level: int, u: Array, v: Array) -> Array:
    """A draw of the rung's mixture: a part, a normal step, one chi-square of six degrees."""
    d = len(jumps.bounds)
    part = int(np.sum(u[0] >= jumps.edge[level, :-1]))
    normal = np.sqrt(-2.0 * np.log(u[3:3 + d])) * np.cos(2.0 * np.pi * v[3:3 + d])
    chi2 = -2.0 * math.log(u[1] * v[1] * u[2])
    t = jumps.mean[level, part] + jumps.root[level, part] @ normal * math.sqrt(FREEDOM / chi2)
    out = np.empty(d)
    with np.errstate(over="ignore"):
        for p, (lo, hi) in enumerate(jumps.bounds):
            match bool(lo > -np.inf), bool(hi < np.inf):
                case True, True:
                    out[p] = lo + (hi - lo) / (1.0 + np.exp(-t[p]))
                case True, False:
                    out[p] = lo + np.exp(t[p])
                case False, True:
                    out[p] = hi - np.exp(-t[p])
                case _:
                    out[p] = t[p]
        return np.where(jumps.logarithmic == 1, np.exp(out), out)


def _log_share(problem: Problem, jumps: Jumps, level: int, theta: Array) -> float:
    """ln of prior over mixture in the coordinates of the fit."""
    d = len(theta)
    x = np.where(jumps.logarithmic == 1, np.log(np.abs(theta)), theta)
    lo, hi = jumps.bounds.T
    below = np.log(np.where(np.isfinite(lo), x - lo, 1.0))
    above = np.log(np.where(np.isfinite(hi), hi - x, 1.0))
    free = np.isinf(lo) & np.isinf(hi)
    t = np.where(free, x, below - above)
    prior = sum(float(_walk_density(problem, p, theta[p:p + 1])[0]) for p in range(d))
    parts = np.flatnonzero(jumps.height[level] > -np.inf)
    z = np.stack([np.linalg.solve(jumps.root[level, k], t - jumps.mean[level, k]) for k in parts])
    log_t = jumps.height[level, parts] - 0.5 * (FREEDOM + d) * np.log1p((z**2).sum(1) / FREEDOM)
    return prior + float((below + above).sum() - np.logaddexp.reduce(log_t))


def _in_order(problem: Problem, jumps: Jumps, theta: Array) -> bool:
    """Strictly inside the support, ordered priors and exchangeable components in order."""
    inside = (theta > problem.prior[:, 2]) & (theta < problem.prior[:, 3])
    below = problem.below
    inside &= (below < 0) | (theta[below] < theta)
    return bool(inside.all()) and all(
        bool(np.all(np.diff(theta[rows[0]]) > 0.0)) for rows in _groups(jumps))


def _folded(jumps: Jumps, theta: Array) -> Array:
    out = theta.copy()
    for rows in _groups(jumps):
        out[rows] = out[rows][:, np.argsort(out[rows[0]], kind="stable")]
    return out


def _shuffled(jumps: Jumps, theta: Array, u: Array) -> Array:
    out, draw = theta.copy(), 3 + len(theta)
    for rows in _groups(jumps):
        for k in range(rows.shape[1] - 1, 0, -1):
            m = int(u[draw] * (k + 1))
            out[rows[:, [k, m]]] = out[rows[:, [m, k]]]
            draw += 1
    return out


def _groups(jumps: Jumps) -> list[IntArray]:
    """Places in theta of each group, (parameters of a component, components), the key first."""
    return [jumps.members[first:first + size * width].reshape(width, size)
            for size, width, first in jumps.groups]


def _exchange(rung: IntArray, energy: Array, betas: Array, number: int, seed: int,
              chain: int) -> float:
    """Neighbours swap with probability min(1, exp((b' - b)(U' - U))); even and odd pairs take
    turns.  Returns the smallest margin."""
    key = stream_key(seed, SWAP_STREAM, chain)
    nearest = np.inf
    levels = np.arange(number % 2, len(betas) - 1, 2)
    for level, u in zip(levels, uniforms(number, levels, 0, key)[0].tolist(), strict=True):
        hot, cold = rung[level], rung[level + 1]
        gain = (betas[level + 1] - betas[level]) * (energy[cold] - energy[hot])
        nearest = min(nearest, abs(math.log(u) - gain))
        if math.log(u) < gain:
            rung[level], rung[level + 1] = cold, hot
    return float(nearest)


def _step(problem: Problem, p: int, old: Array, step: Array, u: Array) -> Array:
    if problem.move[p] == FLIP:
        return 1.0 - old
    if problem.kind[p] in (LOG_UNIFORM, INVERSE_GAMMA):
        return np.asarray(old * np.exp(step * (2.0 * u - 1.0)))
    return np.asarray(old + step * (2.0 * u - 1.0))


def _inside(problem: Problem, p: int, theta: Array) -> Any:
    value = theta[:, p]
    inside = (value >= problem.prior[p, 2]) & (value <= problem.prior[p, 3])
    if problem.kind[p] in (GAMMA, INVERSE_GAMMA):
        inside &= value > 0.0
    if problem.below[p] >= 0:
        inside &= theta[:, problem.below[p]] < value
    if problem.above[p] >= 0:
        inside &= value < theta[:, problem.above[p]]
    return inside


def _walk_density(problem: Problem, p: int, value: Array) -> Array:
    """Log prior in the coordinate of the walk (the log for LogUniform and InverseGamma)."""
    one, two = problem.prior[p, :2]
    with np.errstate(all="ignore"):
        match int(problem.kind[p]):
            case k if k == NORMAL:
                return np.asarray(-0.5 * ((value - one) / two) ** 2)
            case k if k == GAMMA:
                return np.asarray((one - 1.0) * np.log(value) - two * value)
            case k if k == INVERSE_GAMMA:
                return np.asarray(-one * np.log(value) - two / value)
            case k if k == BETA:
                return np.asarray((one - 1.0) * np.log(value) + (two - 1.0) * np.log1p(-value))
            case k if k == BERNOULLI:
                return np.asarray(np.where(value == 1.0, one, two))
    return np.zeros(len(value))


def _linear_draw(posterior: Posterior, problem: Problem, theta: Array, p: int, betas: Array,
                 number: int, key: int) -> None:
    """Exact conditional of a linear parameter; the slope of the model is f(1) - f(0)."""
    one, zero = theta.copy(), theta.copy()
    one[:, p], zero[:, p] = 1.0, 0.0
    precision, slope = np.zeros(len(theta)), np.zeros(len(theta))
    for b, block in enumerate(posterior.blocks):
        data = block.data
        if data.law not in QUADRATIC:
            continue
        g = (posterior.predict(one, block=b) - posterior.predict(zero, block=b)) / data.deviation
        gap = (posterior.predict(theta, block=b) - data.y) / data.deviation
        s = 1.0 if data.noise_prior is None else posterior.values(theta)[data.noise_name][..., 0]
        precision += np.sum(g * g, axis=1) / s**2
        slope += np.sum(g * gap, axis=1) / s**2
    draws = _draws(number, len(theta), p, key)
    for r in np.flatnonzero(betas > 0.0):
        lam = betas[r] * precision[r]
        theta[r, p] = _conditional(problem, p, lam, lam * theta[r, p] - betas[r] * slope[r],
                                   draws[r], theta[r, p])


@dataclass
class _Draws:
    """The pairs of uniforms of one parameter in one sweep, by number."""

    place: tuple[int, int, int, int]            # sweep, replica, first draw, key
    begun: tuple[tuple[float, float], ...] = ()    # the first pairs, where they are known already

    def __call__(self, j: int) -> tuple[float, float]:
        if j < len(self.begun):
            return self.begun[j]
        number, replica, first, key = self.place
        u, v = uniforms(number, replica, first + j, key)
        return float(u), float(v)

    def later(self, shift: int) -> _Draws:
        number, replica, first, key = self.place
        return _Draws((number, replica, first + shift, key))


def _draws(number: int, replicas: int, p: int, key: int) -> list[_Draws]:
    """Of every replica; the first pairs of all are made at once, which is faster."""
    u, v = uniforms(number, np.arange(replicas)[:, None], p * DRAWS + np.arange(3), key)
    return [_Draws((number, r, p * DRAWS, key), tuple(zip(u[r].tolist(), v[r].tolist(),
                                                           strict=True)))
            for r in range(replicas)]


def _conditional(problem: Problem, p: int, precision: float, linear: float, draws: _Draws,
                 now: float) -> float:
    """Draw from prior(v) exp(linear * v - precision * v**2 / 2)."""
    one, two, lo, hi = (float(v) for v in problem.prior[p, :4])
    kind = int(problem.kind[p])
    if not (0.0 <= precision < np.inf and math.isfinite(linear)):
        return now
    if kind == NORMAL:
        precision, linear = precision + 1.0 / two**2, linear + one / two**2
    elif kind == GAMMA:
        linear -= two
        if one > 1.0:
            return log_concave_gamma(one, linear, precision, draws, now)
    # Where the likelihood says nothing to rounding, the prior alone is drawn from.
    if kind == UNIFORM and precision * (hi - lo) ** 2 + abs(linear) * (hi - lo) < 1e-16:
        return lo + (hi - lo) * draws(0)[0]
    if kind == GAMMA and linear < 0.0 and precision < 1e-16 * linear * linear:
        return math.log(draws(0)[0]) / linear
    return truncated_normal(linear / precision, precision**-0.5, lo, hi, draws, now)


def truncated_normal(mean: float, sd: float, lo: float, hi: float,
                     draws: Callable[[int], tuple[float, float]], now: float) -> float:
    """Normal cut to [lo, hi]: uniform, normal or exponential rejection (Robert 1995)."""
    alpha, omega = (lo - mean) / sd, (hi - mean) / sd
    inside = alpha <= 0.0 <= omega
    near = alpha if alpha > 0.0 else (-omega if omega < 0.0 else 0.0)
    width, rate = omega - alpha, 0.5 * (near + math.sqrt(near**2 + 4.0))
    flat = width < 2.0 if inside else width * rate < 2.0
    for j in range(DRAWS):
        u, v = draws(j)
        if flat:
            value, z = lo + (hi - lo) * u, alpha + width * u
            accept = v < math.exp(0.5 * (near**2 - z**2))
        elif inside:
            value = mean + sd * math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)
            accept = True
        else:
            z = -math.log1p(u * math.expm1(-rate * width)) / rate
            accept = v < math.exp(-0.5 * (near + z - rate) ** 2)
            value = lo + sd * z if alpha > 0.0 else hi - sd * z
        if accept and lo <= value <= hi:
            return value
    return now


def log_concave_gamma(shape: float, slope: float, precision: float,
                      draws: Callable[[int], tuple[float, float]], now: float) -> float:
    """v**(shape-1) exp(slope v - precision v**2/2), v > 0, from two tangents and a flat top."""
    k = shape - 1.0
    root = math.sqrt(slope**2 + 4.0 * precision * k)
    mode = 2.0 * k / (root - slope) if slope < 0.0 else (slope + root) / (2.0 * precision)
    if not 0.0 < mode < np.inf:
        return now

    def height(v: float) -> float:
        return k * math.log(v) + (slope - 0.5 * precision * v) * v

    def tangent(v: float) -> float:
        return k / v + slope - precision * v

    spread = 1.0 / math.sqrt(precision + k / mode**2)
    left, right = max(mode - 1.4142 * spread, 0.25 * mode), mode + 1.4142 * spread
    rise, fall, top = tangent(left), -tangent(right), height(mode)
    a = left - (height(left) - top) / rise
    b = right + (height(right) - top) / fall
    areas = -math.expm1(-rise * a) / rise, b - a, 1.0 / fall
    for j in range(DRAWS // 2):
        (u, v), (w, _) = draws(2 * j), draws(2 * j + 1)
        area = u * sum(areas)
        if area < areas[0]:
            value = a + math.log1p(v * math.expm1(-rise * a)) / rise
            bound = rise * (value - a)
        elif area < areas[0] + areas[1]:
            value, bound = a + v * areas[1], 0.0
        else:
            value = b - math.log(v) / fall
            bound = -fall * (value - b)
        if value > 0.0 and math.log(w) < height(value) - top - bound:
            return value
    return now


def draw_prior_at(problem: Problem, number: int, replica: int, key: int) -> Array:
    """The prior draw of one replica in one sweep, as the compiled kernel makes it."""
    theta = np.empty(len(problem.kind))
    for p, kind in enumerate(problem.kind):
        one, two, lo, hi = (float(v) for v in problem.prior[p, :4])
        draws = _Draws((number, replica, p * DRAWS, key))
        u = draws(0)[0]
        match int(kind):
            case k if k == UNIFORM:
                theta[p] = lo + (hi - lo) * u
            case k if k == LOG_UNIFORM:
                theta[p] = min(max(lo * math.exp(u * math.log(hi / lo)), lo), hi)
            case k if k == NORMAL:
                theta[p] = truncated_normal(one, two, lo, hi, draws, np.nan)
            case k if k == GAMMA:
                theta[p] = _gamma(one, draws) / two
            case k if k == INVERSE_GAMMA:
                theta[p] = two / _gamma(one, draws)
            case k if k == BETA:
                a = _gamma(one, draws)
                theta[p] = a / (a + _gamma(two, draws.later(DRAWS // 2)))
            case _:
                theta[p] = float(math.log(u) < one)
    return np.asarray(_ordered(problem, theta[None])[0])


def _gamma(shape: float, draws: Callable[[int], tuple[float, float]]) -> float:
    """Gamma(shape, rate 1) by Marsaglia and Tsang (2000)."""
    boost = 1.0
    if shape < 1.0:
        boost, shape = draws(0)[0] ** (1.0 / shape), shape + 1.0
    d = shape - 1.0 / 3.0
    for j in range(500):
        (u, v), (w, _) = draws(1 + 2 * j), draws(2 + 2 * j)
        z = math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)
        cube = (1.0 + z / math.sqrt(9.0 * d)) ** 3
        if cube > 0.0 and math.log(w) < 0.5 * z * z + d - d * cube + d * math.log(cube):
            return boost * d * cube
    return float("nan")


def draw_prior(problem: Problem, n: int, seed: int) -> Array:
    """n prior draws (n, P) by inverse distribution functions: another route than the kernels."""
    from scipy import special

    theta = np.empty((n, len(problem.kind)))
    key = stream_key(seed, START, 1 << 32)
    for p, kind in enumerate(problem.kind):
        one, two, lo, hi = (float(v) for v in problem.prior[p, :4])
        u = uniforms(np.arange(n), 0, p, key)[0]
        match int(kind):
            case k if k == UNIFORM:
                theta[:, p] = lo + (hi - lo) * u
            case k if k == LOG_UNIFORM:
                theta[:, p] = lo * np.exp(u * math.log(hi / lo))
            case k if k == NORMAL:
                theta[:, p] = _normal_inverse(one, two, lo, hi, u)
            case k if k == GAMMA:
                theta[:, p] = special.gammaincinv(one, u) / two
            case k if k == INVERSE_GAMMA:
                theta[:, p] = two / special.gammainccinv(one, u)
            case k if k == BETA:
                theta[:, p] = special.betaincinv(one, two, u)
            case _:
                theta[:, p] = np.log(u) < one
    return _ordered(problem, theta)


def _normal_inverse(mean: float, sd: float, lo: float, hi: float, u: Array) -> Array:
    """Inverse distribution function of a cut normal, from the nearer tail."""
    from scipy import special

    a, b = (lo - mean) / sd, (hi - mean) / sd
    sign = 1.0
    if a > 0.0:
        a, b, sign, u = -b, -a, -1.0, 1.0 - u
    low, high = special.ndtr(a), special.ndtr(b)
    inside = mean + sign * sd * special.ndtri(low + u * (high - low))
    return np.asarray(np.clip(inside, lo, hi))


def _ordered(problem: Problem, theta: Array) -> Array:
    """Sort each ordered group."""
    for p in np.flatnonzero((problem.below < 0) & (problem.above >= 0)):
        group = [int(p)]
        while problem.above[group[-1]] >= 0:
            group.append(int(problem.above[group[-1]]))
        theta[:, group] = np.sort(theta[:, group], axis=1)
    return theta
