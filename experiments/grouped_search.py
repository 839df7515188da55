"""Which groups of columns does a linear model need, and which column of each?  Two ways.

Group k is absent, or present as one of its columns x_v with an amount h >= 0:

    y = sum_k h_k x_v(k) + noise,  the noise normal, s times as large as the weights say

Prior: present with probability rho, every column of a group alike; h half-normal of scale tau; s
log-uniform on a grid.  The likelihood to the power f is the target of rung f: f = 0 is the prior,
f = 1 takes the noise to be white, f = 1/tau_int allows for a residual correlated over tau_int
points.

`exchange` is exchange Monte Carlo over groups, columns, amounts and noise.  A move redraws one
group from its law given all others, or trades one group for any other; the amount of the group
that moves is integrated out in closed form, the amounts of the others stay, so that none is ever
negative:

    odds of column v against absence = rho/(1 - rho)/size 2/(tau sqrt(a)) exp(z**2/2) Phi(z)
    a = f G_vv/s**2 + 1/tau**2,  z = f (b_v - sum_others h_j G_vj) / (s**2 sqrt(a))

`mean_field` is the best product of independent laws, one for each group and one for the noise, by
coordinate ascent.  Both need only the products G, b of columns and data (`products`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
SQRT_HALF, SQRT_2PI = math.sqrt(0.5), math.sqrt(2.0 * math.pi)


@dataclass(frozen=True, eq=False)
class Products:
    """What the data say, the background projected out of columns and data."""

    gram: Array         # (m, m)
    pull: Array         # (m,)
    square: float       # of the data
    points: int         # less those that the background took
    first: Integers     # (groups + 1,) group k has the columns first[k] to first[k + 1] - 1

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.first) - 1

    def group_of(self) -> Integers:
        """Group of every column, (m,)."""
        return np.repeat(np.arange(self.groups), np.diff(self.first))


@dataclass(frozen=True)
class Prior:
    """What is known before."""

    present: float              # probability of each group
    amount: float               # scale of the half-normal law of amounts, unit of the data
    noise: tuple[float, ...]    # the grid of s

    def log_slab(self, groups: int, first: Integers) -> Array:
        """ln of prior odds of each column against absence, but for its amount, (m,)."""
        sizes = np.diff(first)
        return np.repeat(math.log(self.present / (1.0 - self.present)) - np.log(sizes), sizes)


def products(columns: Array, y: Array, sd: Array, background: Array, first: Integers) -> Products:
    """Products of columns (n, m) and data (n,), each over sd (n,), without background (n, c)."""
    q = np.linalg.qr(background / sd[:, None])[0]
    X, z = columns / sd[:, None], y / sd
    X -= q @ (q.T @ X)
    z = z - q @ (q.T @ z)
    return Products(X.T @ X, X.T @ z, float(z @ z), len(y) - background.shape[1],
                    np.asarray(first, dtype=np.int64))


# ---- exchange Monte Carlo -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Search:
    """One run of exchange Monte Carlo, counted sweeps only."""

    ladder: Array           # (rungs,) powers f, from 0
    present: NDArray[np.uint8]  # (sweeps, kept, groups) at the rungs asked for
    amounts: Array          # (kept, m) mean amount of every column, 0 where absent
    noise: Array            # (kept, 2) mean and sd of s
    misfit: Array           # (sweeps, rungs) -ln likelihood at f = 1, without n/2 ln 2 pi
    swaps: Array            # (rungs - 1,) shares of swaps accepted
    round_trips: int        # cold to hot and back, all replicas


@njit
def _positive_normal(mean, sd, rng):
    """A normal number given that it is positive."""
    low = -mean / sd
    if low < 0.5:
        while True:
            z = rng.standard_normal()
            if z > low:
                return mean + sd * z
    rate = 0.5 * (low + math.sqrt(low * low + 4.0))     # exponential envelope
    while True:
        above = -math.log(1.0 - rng.random()) / rate
        if rng.random() < math.exp(-0.5 * (low + above - rate) ** 2):
            return sd * above


@njit
def _weigh(begin, end, skip, chosen, amount, gram, pull, scale, factor, weight):
    """Odds of columns begin .. end - 1 against absence, times exp(-top), given all groups but one.

    A column's odds are 2 slab exp(z**2/2) Phi(z) / (tau sqrt(a)), a the precision of its amount and
    z its mean over its standard deviation, were it not bounded.  Returns top.
    """
    for v in range(begin, end):
        weight[v] = pull[v]
    for j in range(len(chosen)):
        if chosen[j] >= 0 and j != skip:
            row = gram[chosen[j]]
            h = amount[j]
            for v in range(begin, end):
                weight[v] -= h * row[v]
    top = 0.0
    for v in range(begin, end):
        weight[v] *= scale[v]
        top = max(top, weight[v])
    top = 0.5 * top * top
    down = math.exp(-top)
    for v in range(begin, end):
        z = weight[v]
        if z > -8.0:
            lift = 0.5 * z * z - top
            tilted = 0.5 * math.exp(lift) * math.erfc(-z * SQRT_HALF) if lift > -100.0 else 0.0
        else:       # Mills' ratio, where exp(z**2/2) and Phi are huge and tiny
            t = 1.0 / (z * z)
            tilted = down * (1.0 - t * (1.0 - t * (3.0 - t * (15.0 - t * 105.0)))) / (
                -z * SQRT_2PI)
        weight[v] = factor[v] * tilted
    return top


@njit
def _draw_amount(v, skip, f, s2, chosen, amount, gram, pull, tau, rng):
    """Amount of column v given the other groups."""
    b = pull[v]
    for j in range(len(chosen)):
        if chosen[j] >= 0 and j != skip:
            b -= amount[j] * gram[chosen[j], v]
    a = f * gram[v, v] / s2 + 1.0 / (tau * tau)
    return _positive_normal(f * b / s2 / a, 1.0 / math.sqrt(a), rng)


@njit
def _residual(chosen, amount, gram, pull, square):
    """Sum of squares that is left."""
    left = square
    for j in range(len(chosen)):
        if chosen[j] >= 0:
            left -= 2.0 * amount[j] * pull[chosen[j]]
            for i in range(len(chosen)):
                if chosen[i] >= 0:
                    left += amount[i] * amount[j] * gram[chosen[i], chosen[j]]
    return left


@njit
def _pick(weight, begin, end, none, rng):
    """An index with odds ``weight``, or -1 with odds ``none``."""
    total = none
    for v in range(begin, end):
        total += weight[v]
    u = rng.random() * total - none
    if u < 0.0:
        return -1
    last = begin
    for v in range(begin, end):
        if weight[v] > 0.0:
            last = v
            u -= weight[v]
            if u < 0.0:
                break
    return last


@njit
def _sweep(f, chosen, amount, level, gram, pull, square, points, first, slab, tau, noise,
           trades, rng, weight, scale, factor):
    """One rung: every group, some trades, the noise; returns the new level and the misfit."""
    groups, s2 = len(chosen), noise[level] ** 2
    tops, totals = np.empty(groups), np.empty(groups)
    for v in range(len(pull)):
        root = math.sqrt(f * gram[v, v] / s2 + 1.0 / (tau * tau))
        scale[v], factor[v] = f / (s2 * root), 2.0 * slab[v] / (tau * root)
    for k in range(groups):
        begin, end = first[k], first[k + 1]
        top = _weigh(begin, end, k, chosen, amount, gram, pull, scale, factor, weight)
        v = _pick(weight, begin, end, math.exp(-top), rng)
        chosen[k] = v
        if v >= 0:
            amount[k] = _draw_amount(v, k, f, s2, chosen, amount, gram, pull, tau, rng)
    for _ in range(trades):
        # One present group leaves, and one of those now absent takes its place: given the others
        # and given that it is one, a draw from its exact law.
        on = 0
        for k in range(groups):
            on += chosen[k] >= 0
        if on == 0:
            break
        leaves, count = -1, rng.integers(0, on)
        for k in range(groups):
            if chosen[k] >= 0:
                if count == 0:
                    leaves = k
                count -= 1
        for k in range(groups):
            tops[k], totals[k] = -np.inf, 0.0
            if chosen[k] < 0 or k == leaves:
                begin, end = first[k], first[k + 1]
                tops[k] = _weigh(begin, end, leaves, chosen, amount, gram, pull, scale, factor,
                                 weight)
                totals[k] = weight[begin:end].sum()
        best = tops.max()
        for k in range(groups):
            totals[k] *= math.exp(tops[k] - best)
        chosen[leaves] = -1
        k = _pick(totals, 0, groups, 0.0, rng)
        v = _pick(weight, first[k], first[k + 1], 0.0, rng)
        chosen[k] = v
        amount[k] = _draw_amount(v, k, f, s2, chosen, amount, gram, pull, tau, rng)
    left = _residual(chosen, amount, gram, pull, square)
    top = -np.inf
    for i in range(len(noise)):
        weight[i] = -f * (points * math.log(noise[i]) + 0.5 * left / noise[i] ** 2)
        top = max(top, weight[i])
    for i in range(len(noise)):
        weight[i] = math.exp(weight[i] - top)
    level = _pick(weight, 0, len(noise), 0.0, rng)
    return level, points * math.log(noise[level]) + 0.5 * left / noise[level] ** 2


@njit
def _run(sweeps, ladder, keep, replica, chosen, amount, level, misfit, direction, gram, pull,
         square, points, first, slab, tau, noise, trades, rng, present, amounts, level_sums,
         misfits, swaps):
    """Sweeps of all rungs with exchanges between; states stay, rungs move between them."""
    rungs = len(ladder)
    weight = np.empty(max(len(pull), len(noise)))
    scale, factor = np.empty(len(pull)), np.empty(len(pull))
    trips = 0
    for t in range(sweeps):
        for r in range(rungs):
            i = replica[r]
            level[i], misfit[i] = _sweep(ladder[r], chosen[i], amount[i], level[i], gram, pull,
                                         square, points, first, slab, tau, noise, trades, rng,
                                         weight, scale, factor)
        for q in range(len(keep)):
            i = replica[keep[q]]
            for k in range(len(first) - 1):
                if chosen[i, k] >= 0:
                    present[t, q, k] = 1
                    amounts[q, chosen[i, k]] += amount[i, k]
            level_sums[q, 0] += noise[level[i]]
            level_sums[q, 1] += noise[level[i]] ** 2
        for r in range(rungs):
            misfits[t, r] = misfit[replica[r]]
        for r in range(t % 2, rungs - 1, 2):
            gain = (ladder[r + 1] - ladder[r]) * (misfit[replica[r + 1]] - misfit[replica[r]])
            if math.log(1.0 - rng.random()) < gain:
                replica[r], replica[r + 1] = replica[r + 1], replica[r]
                swaps[r] += 1.0
        cold, hot = replica[rungs - 1], replica[0]
        if direction[cold] == 2:
            trips += 1
        direction[cold] = 1
        if direction[hot] == 1:
            direction[hot] = 2
    return trips


class _State:
    """Replicas of one ladder, started from the prior's emptiest state: nothing present."""

    def __init__(self, rungs: int, groups: int, noise: int) -> None:
        self.replica = np.arange(rungs)
        self.chosen = np.full((rungs, groups), -1, dtype=np.int64)
        self.amount = np.zeros((rungs, groups))
        self.level = np.full(rungs, noise - 1, dtype=np.int64)
        self.misfit = np.zeros(rungs)
        self.direction = np.zeros(rungs, dtype=np.int64)


def exchange(data: Products, prior: Prior, powers: tuple[float, ...], rungs: int, sweeps: int,
             rounds: int, seed: int, trades: int = 1,
             progress: Callable[[int, int], None] | None = None) -> Search:
    """Exchange Monte Carlo from f = 0 to the largest of the powers asked for.

    Parameters
    ----------
    data : Products
    prior : Prior
    powers : tuple of float
        Of the likelihood, ascending: rungs that are kept and reported.
    rungs : int
    sweeps : int
        Counted.  As many go before in all, in rounds of doubling length, after each of which the
        other rungs are placed anew so that all pairs exchange alike.
    rounds : int
        How many of them.
    seed : int
    trades : int
        Trades of one group for another in each sweep.
    progress : callable, optional
        Sweeps done, of how many.
    """
    rng = np.random.default_rng(seed)
    noise = np.array(prior.noise)
    ladder = _first_ladder(np.array(powers), rungs)
    state = _State(rungs, data.groups, len(noise))
    slab = np.exp(prior.log_slab(data.groups, data.first))
    lengths = [max(1, sweeps // 2 ** (rounds - k)) for k in range(rounds)]

    def run(count: int) -> tuple[Any, ...]:
        keep = np.searchsorted(ladder, powers)
        present = np.zeros((count, len(powers), data.groups), dtype=np.uint8)
        amounts, sums = np.zeros((len(powers), len(data.pull))), np.zeros((len(powers), 2))
        misfits, swaps = np.zeros((count, rungs)), np.zeros(rungs - 1)
        trips = 0
        for begin in range(0, count, 100):
            part = min(100, count - begin)
            trips += _run(part, ladder, keep, state.replica, state.chosen, state.amount,
                          state.level, state.misfit, state.direction, data.gram, data.pull,
                          data.square, data.points, data.first, slab, prior.amount, noise,
                          trades, rng, present[begin:], amounts, sums, misfits[begin:], swaps)
            if progress:
                progress(done + begin + part, sum(lengths) + sweeps)
        tried = np.array([len(range(r % 2, count, 2)) for r in range(rungs - 1)])
        return present, amounts / count, sums / count, misfits, swaps / np.maximum(tried, 1), trips

    done = 0
    for length in lengths:
        *_, swaps, _ = run(length)
        done += length
        ladder = spaced(ladder, swaps, np.array(powers), rungs)
    state.direction[:] = 0
    present, amounts, sums, misfits, swaps, trips = run(sweeps)
    sd = np.sqrt(np.maximum(sums[:, 1] - sums[:, 0] ** 2, 0.0))
    return Search(ladder, present, amounts, np.stack([sums[:, 0], sd], axis=1), misfits, swaps,
                  trips)


def _first_ladder(powers: Array, rungs: int) -> Array:
    """0, then a geometric ladder whose nearest rungs are moved onto the powers asked for."""
    inner = np.geomspace(powers[-1] * 1e-4, powers[-1], rungs - 1)
    free = np.ones(len(inner), dtype=bool)
    for p in powers[::-1]:
        at = int(np.argmin(np.where(free, np.abs(np.log(inner / p)), np.inf)))
        inner[at], free[at] = p, False
    return np.concatenate([[0.0], np.sort(inner)])


def spaced(ladder: Array, swaps: Array, powers: Array, rungs: int) -> Array:
    """Rungs placed anew: the powers asked for stay, the barrier between them is shared out.

    The share of rejected swaps adds up along a ladder (Syed, Bouchard-Cote, Deligiannidis and
    Doucet, J. R. Stat. Soc. B 84 (2022) 321): rungs at equal distances of it exchange alike.
    """
    barrier = np.concatenate([[0.0], np.cumsum(np.maximum(1.0 - swaps, 1e-3))])
    pins = np.concatenate([[0.0], powers])
    at = np.interp(pins, ladder, barrier)
    gaps = np.ones(len(powers), dtype=np.int64)
    while gaps.sum() < rungs - 1:
        gaps[int(np.argmax(np.diff(at) / gaps))] += 1
    out = [np.zeros(1)]
    for k, gap in enumerate(gaps):
        levels = np.linspace(at[k], at[k + 1], gap + 1)[1:]
        inner = np.interp(levels, barrier, ladder)
        inner[-1] = powers[k]
        out.append(inner)
    return np.concatenate(out)


# ---- mean field ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class MeanField:
    """The best product law."""

    inclusion: Array    # (groups,) probability that a group is present
    amounts: Array      # (m,) mean amount of every column, 0 where absent
    noise: float        # mean of s
    sweeps: int


def mean_field(data: Products, prior: Prior, f: float, tolerance: float = 1e-6,
               most: int = 500) -> MeanField:
    """Coordinate ascent from nothing present until no probability moves by more than the tolerance.

    Parameters
    ----------
    data : Products
    prior : Prior
    f : float
        Power of the likelihood.
    tolerance : float
    most : int
        Sweeps at most.
    """
    gram, own, tau = data.gram, np.diagonal(data.gram), prior.amount
    noise, group = np.array(prior.noise), data.group_of()
    log_slab = prior.log_slab(data.groups, data.first)
    omega, second, alpha, fitted = np.zeros((4, len(data.pull)))
    sweeps, moved = 0, math.inf
    while sweeps < most and moved >= tolerance:
        sweeps, before = sweeps + 1, alpha.copy()
        weights = _noise_law(data, omega, second, fitted, noise, f)
        precision = f * float(weights @ noise**-2)
        for k in range(data.groups):
            part = slice(int(data.first[k]), int(data.first[k + 1]))
            block = gram[part, part]
            b = precision * (data.pull[part] - fitted[part] + block @ omega[part])
            a = precision * own[part] + tau**-2
            z = b / np.sqrt(a)
            log_w = log_slab[part] + np.log(2.0 / tau) - 0.5 * np.log(a) + _log_tilt(z)
            top = max(0.0, float(log_w.max()))
            w = np.exp(log_w - top)
            alpha[part] = w / (w.sum() + math.exp(-top))
            # Mean and mean square of a normal number given that it is positive.
            hazard = np.exp(-0.5 * z * z - log_ndtr(z)) / math.sqrt(2.0 * math.pi)
            mean = (z + hazard) / np.sqrt(a)
            changed = alpha[part] * mean - omega[part]
            second[part] = alpha[part] * (1.0 + z * (z + hazard)) / a
            omega[part] += changed
            rows = np.flatnonzero(np.abs(changed) > 1e-9 * tau)
            if len(rows):
                fitted += changed[rows] @ gram[rows + part.start]
        fitted = omega @ gram if sweeps % 20 == 0 else fitted
        moved = float(np.abs(alpha - before).max())
    weights = _noise_law(data, omega, second, fitted, noise, f)
    inclusion = np.array([alpha[group == k].sum() for k in range(data.groups)])
    return MeanField(inclusion, omega, float(weights @ noise), sweeps)


def _log_tilt(z: Array) -> Array:
    """z**2/2 + ln Phi(z), without overflow."""
    low = np.minimum(z, 5.0)
    return np.asarray(np.where(z < 5.0, np.log(0.5 * erfcx(-low / math.sqrt(2.0))),
                               0.5 * z * z + log_ndtr(z)))


def _noise_law(data: Products, omega: Array, second: Array, fitted: Array, noise: Array,
               f: float) -> Array:
    """Probabilities of the grid of s, given the product law of the groups.

    The mean sum of squares has each column's own mean square, and no products of two columns of one
    group: no more than one of them is present.
    """
    within = sum(omega[a:b] @ data.gram[a:b, a:b] @ omega[a:b]
                 for a, b in zip(data.first, data.first[1:], strict=False))
    left = (data.square - 2.0 * omega @ data.pull + omega @ fitted - within
            + second @ np.diagonal(data.gram))
    log_w = -f * (data.points * np.log(noise) + 0.5 * left / noise**2)
    w = np.exp(log_w - log_w.max())
    return np.asarray(w / w.sum())
