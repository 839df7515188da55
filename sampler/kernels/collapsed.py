"""The second compiled sweep: amplitudes integrated out, components put in and out.

The same driver, random numbers and exchanges as `cpu`; the energy is U_c of `amplitudes`.  A
replica keeps the directions of its amplitudes, their Gram matrix and their products with the data;
a walk recomputes the rows it changes and the Cholesky factor.  A component that a 0/1 parameter
puts in or out changes one row and column of the factor: with k components in,

* in:    w = L^-1 a,    d**2 = 1 + a_jj - w w,    c = (b_j - w u) / d,
         U_c rises by  ln d - c**2/2 + z0**2/2;
* out:   t = L^-1 e_i,  alpha = t t, mu = t u,
         U_c rises by  ln(alpha)/2 + mu**2/(2 alpha) - z0**2/2;
* trade: i out and j in at once; w w falls by (t w)**2/alpha, w u by (t w)(t u)/alpha,

so that a proposal costs O(k**2) whatever the number of points or of candidates, and only an
accepted one changes the factor (a new last row, or Givens rotations that close the gap).  Its small
functions are inlined: to hand over all these arrays costs three times the arithmetic.

Nothing is carried from sweep to sweep but parameters and energies: the factor is made anew when a
replica's sweep begins, in the order of the candidates, so that rounding cannot add up and a run
that was cut goes on with the same bits.

This file may use `cpu`, although numba's disk cache does not see edits in imported files: what is
cached closes over the digest of that file, which is part of numba's key.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from sampler.errors import InputError
from sampler.kernels import cpu
from sampler.kernels.amplitudes import INTEGRATED, SWITCH, Tables
from sampler.kernels.cpu import (
    DRAWS,
    FLIP,
    GAUSSIAN_SCALED,
    INSIDE,
    INVERSE_GAMMA,
    LOG2E,
    LOG_UNIFORM,
    SCALAR,
    SUMMED,
    _add,
    _block,
    _column,
    _copy,
    _dot,
    _inlined,
    _inside,
    _load,
    _scaled,
    _squares,
    _walk_density,
    draw_prior,
    pair,
    truncated_normal,
    vexp2,
)
from sampler.kernels.problem import aligned_zeros

STAMP = int(hashlib.sha256(Path(cpu.__file__).read_bytes()).hexdigest()[:15], 16)
START, PRIOR, WALK, SWAP, JUMP, TRADE, AMPLITUDE = range(7)  # a chain's keys, in this order
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
MOST = 1e12            # largest 1/sigma**2 of an amplitude in units of its prior


class Chain(NamedTuple):
    """State of one chain; T is the number of replicas R, or 1 if nothing but switches moves."""

    theta: Any       # (R, P) free parameters; what is integrated out has no meaning here
    columns: Any     # (T, C) columns of all summands
    state: Any       # (R, N) the rest minus data
    quad: Any        # (R, B) half its weighted sum of squares
    energy: Any      # (R,) U_c
    rung: Any        # (L,) which replica sits at each rung
    directions: Any  # (T, m, N) in units of z
    gram: Any        # (T, B, m, m) directions times directions, weighted
    pull: Any        # (T, B, m) directions times (data minus the rest), weighted
    built: Any       # (T,) 1 where all but theta and energy is what theta says


class Factor(NamedTuple):
    """Cholesky factor of ``1 + G`` over the k directions that are in."""

    root: Any     # (m, m) L, row by row
    inverse: Any  # (m,) 1 / L_ii
    solved: Any   # (m,) u
    order: Any    # (m,) which direction each row is
    last: Any     # (2,) precision and pull of the amplitude with bounds, given the others


class Work(NamedTuple):
    """Scratch of one thread."""

    columns: Any     # (C,)
    state: Any       # (N,)
    directions: Any  # (m, N)
    gram: Any        # (B, m, m)
    pull: Any        # (B, m)
    quad: Any        # (B,)
    unit: Any        # (B,) 1/s**2 of each data set
    values: Any      # (P + F,)
    shape: Any       # (64,)
    u: Any           # (P,)
    log_u: Any       # (P,)
    now: Factor
    next: Factor
    place: Any       # (m,) the row of a direction, or its place among those that are out
    out: Any         # (m,) the directions that are out
    w: Any           # (m,)
    t: Any           # (m,)
    z: Any           # (m,)
    new: Any         # (S,) 1 where a proposal has a new column
    changed: Any     # (m,) 1 where it has a new direction


def buffers(tables: Tables, parameters: int, replicas: int) -> tuple[Chain, Work]:
    """Zeroed state of one chain, and scratch of one thread."""
    p, a = tables
    m, data_sets, points = len(a.linear), len(p.law), len(p.y)
    kept = replicas if a.moving else 1
    columns = int(p.padded[p.block].sum())
    chain = Chain(
        np.zeros((replicas, parameters)), aligned_zeros((kept, columns)),
        aligned_zeros((replicas, points)), np.zeros((replicas, data_sets)), np.zeros(replicas),
        np.arange(replicas), aligned_zeros((kept, m, points)),
        aligned_zeros((kept, data_sets, m, m)), aligned_zeros((kept, data_sets, m)),
        np.zeros(kept, dtype=np.int64))
    work = Work(
        aligned_zeros((columns,)), aligned_zeros((points,)), aligned_zeros((m, points)),
        aligned_zeros((data_sets, m, m)), aligned_zeros((data_sets, m)), np.zeros(data_sets),
        np.ones(data_sets), aligned_zeros((parameters + len(p.fixed),)), aligned_zeros((64,)),
        aligned_zeros((parameters,)), aligned_zeros((parameters,)), _factor(m), _factor(m),
        np.zeros(m, dtype=np.int64), np.zeros(m, dtype=np.int64), aligned_zeros((m,)),
        aligned_zeros((m,)), aligned_zeros((m,)), np.zeros(len(p.block), dtype=np.int64),
        np.zeros(m, dtype=np.int64))
    return chain, work


def _factor(m: int) -> Factor:
    return Factor(aligned_zeros((m, m)), aligned_zeros((m,)), aligned_zeros((m,)),
                  np.zeros(m, dtype=np.int64), np.zeros(2))


# ---- an interval under a parabola -------------------------------------------------------------


@njit(**INSIDE)
def _decay(precision, slope):
    """The integral of exp(-slope t - precision t**2 / 2) from 0 on, slope > 0."""
    if slope * slope > 1250.0 * precision:
        q = precision / (slope * slope)
        return (1.0 - q * (1.0 - q * (3.0 - q * (15.0 - q * (105.0 - q * 945.0))))) / slope
    x = slope * math.sqrt(0.5 / precision)
    return math.sqrt(0.5 * math.pi / precision) * math.exp(x * x) * math.erfc(x)


@njit(error_model="numpy", _nrt=False)
def log_interval(precision, pull, lo, hi):
    """ln of the integral of exp(pull z - precision z**2 / 2) from lo to hi."""
    half = 0.5 * (hi - lo)
    if half < np.inf:
        middle = 0.5 * (lo + hi)
        slope = pull - precision * middle
        if precision * half * half < 4.0 and abs(slope) * half < 30.0:
            total = 0.0
            for i in range(_NODES.shape[0]):
                d = half * _NODES[i]
                total += _WEIGHTS[i] * math.exp(slope * d - 0.5 * precision * d * d)
            return (pull - 0.5 * precision * middle) * middle + math.log(half * total)
    if pull < precision * lo or pull > precision * hi:      # the mode is outside: from that end
        end = lo if pull < precision * lo else hi
        width = hi - lo
        slope = abs(pull - precision * end)
        total = _decay(precision, slope)
        if width < np.inf:
            fall = (slope + 0.5 * precision * width) * width
            total -= math.exp(-fall) * _decay(precision, slope + precision * width)
        return (pull - 0.5 * precision * end) * end + math.log(total)
    mean = pull / precision
    root = math.sqrt(0.5 * precision)
    mass = 1.0 - 0.5 * math.erfc((mean - lo) * root) - 0.5 * math.erfc((hi - mean) * root)
    return 0.5 * pull * mean + 0.5 * math.log(2.0 * math.pi / precision) + math.log(mass)


# ---- directions and their products -------------------------------------------------------------


@njit(**INSIDE)
def _share(problem, a, s, values):
    """What a summand's column is multiplied by, besides its amplitude and its switch."""
    _inlined()
    j = a.holder[s]
    f = 1.0
    for c in range(2):
        k = problem.factor[s, c]
        if k >= 0 and not (j >= 0 and (k == a.linear[j] or k == a.switch[j])):
            f *= values[k]
    return f


@njit(**INSIDE)
def _direction(tables, work, old, j, out):
    """Direction j from the columns, new ones where the proposal has them."""
    _inlined()
    problem, a = tables.problem, tables.amplitudes
    _scaled(out, 0.0, problem.y)
    p = a.linear[j]
    for row in range(problem.first[p], problem.first[p + 1]):
        s = problem.touched[row, 0]
        b, o = problem.block[s], problem.out[s]
        first, n = problem.start[b], problem.padded[b]
        column = old[o:o + n]
        if work.new[s] == 1:
            column = work.columns[o:o + n]
        _add(out[first:first + n], a.scale[j] * _share(problem, a, s, work.values), column)


@njit(**INSIDE)
def _rest(tables, work, old, out, quad):
    """The summands without an integrated amplitude, minus data; half its sum of squares."""
    _inlined()
    problem, a = tables.problem, tables.amplitudes
    _scaled(out, -1.0, problem.y)
    for s in range(problem.block.shape[0]):
        if a.holder[s] >= 0:
            continue
        b, o = problem.block[s], problem.out[s]
        first, n = problem.start[b], problem.padded[b]
        column = old[o:o + n]
        if work.new[s] == 1:
            column = work.columns[o:o + n]
        _add(out[first:first + n], _share(problem, a, s, work.values), column)
    for b in range(problem.law.shape[0]):
        first, n = problem.start[b], problem.padded[b]
        quad[b] = _squares(out[first:first + n], problem.weight[first:first + n])


@njit(**INSIDE)
def _products(tables, i, one, j, other, gram):
    """Write the Gram matrix at (i, j) and (j, i), i >= j so that the bits depend on no history."""
    _inlined()
    problem = tables.problem
    for b in range(problem.law.shape[0]):
        first, n = problem.start[b], problem.padded[b]
        value = _dot(one[first:first + n], other[first:first + n], problem.weight[first:first + n])
        gram[b, i, j] = value
        gram[b, j, i] = value


@njit(**INSIDE)
def _pulls(tables, j, direction, state, pull):
    _inlined()
    problem = tables.problem
    for b in range(problem.law.shape[0]):
        first, n = problem.start[b], problem.padded[b]
        pull[b, j] = -_dot(direction[first:first + n], state[first:first + n],
                           problem.weight[first:first + n])


@njit(**INSIDE)
def _build(tables, chain, work, r):
    """Columns, rest, directions and products of replica r from its parameters alone."""
    problem, a = tables.problem, tables.amplitudes
    t = r * a.moving
    _load(problem, chain.theta[r], work.values)
    for s in range(problem.block.shape[0]):
        n, o = problem.padded[problem.block[s]], problem.out[s]
        column = chain.columns[t, o:o + n]
        if _column(problem, s, work.values, -1, 0.0, work, column) == 0:
            _scaled(column, np.nan, column)
    _rest(tables, work, chain.columns[t], chain.state[t], chain.quad[t])
    for j in range(a.linear.shape[0]):
        _direction(tables, work, chain.columns[t], j, chain.directions[t, j])
        _pulls(tables, j, chain.directions[t, j], chain.state[t], chain.pull[t])
        for i in range(j + 1):
            _products(tables, j, chain.directions[t, j], i, chain.directions[t, i], chain.gram[t])
    chain.built[t] = 1


# ---- the factor ---------------------------------------------------------------------------------


@njit(**SUMMED)
def _inner(a, b):
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@njit(**INSIDE)
def _units(tables, values, unit):
    _inlined()
    problem = tables.problem
    for b in range(problem.law.shape[0]):
        if problem.law[b] == GAUSSIAN_SCALED:
            unit[b] = 1.0 / (values[problem.scale[b]] * values[problem.scale[b]])


@njit(**INSIDE)
def _entry(gram, unit, i, j):
    _inlined()
    total = 0.0
    for b in range(unit.shape[0]):
        total += unit[b] * gram[b, i, j]
    return total


@njit(**INSIDE)
def _linear(a, pull, unit, j):
    _inlined()
    total = a.centre[j]
    for b in range(unit.shape[0]):
        total += unit[b] * pull[b, j]
    return total


@njit(**INSIDE)
def _solve_row(gram, unit, j, factor, k, w):
    """w = L^-1 a for direction j against the k that are in."""
    _inlined()
    for c in range(k):
        value = _entry(gram, unit, j, factor.order[c])
        w[c] = (value - _inner(factor.root[c, :c], w[:c])) * factor.inverse[c]


@njit(**INSIDE)
def _append(j, w, d2, linear, factor, k):
    """Direction j becomes row k; w = L^-1 a, d2 its pivot, linear its right-hand side."""
    _inlined()
    for c in range(k):
        factor.root[k, c] = w[c]
    d = math.sqrt(d2)
    factor.root[k, k] = d
    factor.inverse[k] = 1.0 / d
    factor.solved[k] = (linear - _inner(w[:k], factor.solved[:k])) / d
    factor.order[k] = j


@njit(**INSIDE)
def _factorise(tables, gram, pull, quad, work, factor):
    """The factor over all directions that are in; their number and U_c."""
    problem, a = tables.problem, tables.amplitudes
    unit, values = work.unit, work.values
    energy = 0.0
    for b in range(problem.law.shape[0]):
        energy += unit[b] * quad[b]
        if problem.law[b] == GAUSSIAN_SCALED:
            energy += problem.points[b] * math.log(values[problem.scale[b]])
    m, k = a.linear.shape[0] - a.bounded, 0
    for fixed in range(2):          # those that are always in come first
        for j in range(m):
            q = a.switch[j]
            if (fixed == 0) != (q < 0) or (q >= 0 and values[q] == 0.0):
                continue
            _solve_row(gram, unit, j, factor, k, work.w)
            d2 = 1.0 + _entry(gram, unit, j, j) - _inner(work.w[:k], work.w[:k])
            if not d2 > 0.0:
                return k, np.inf
            _append(j, work.w, d2, _linear(a, pull, unit, j), factor, k)
            energy += 0.5 * (math.log(d2) - factor.solved[k] ** 2 + a.centre[j] ** 2)
            k += 1
    if a.bounded == 1:
        _solve_row(gram, unit, m, factor, k, work.w)
        _copy(factor.root[m, :k], work.w[:k])
        d2 = a.own + _entry(gram, unit, m, m) - _inner(work.w[:k], work.w[:k])
        factor.last[0] = d2 if not d2 < 0.0 else 0.0
        factor.last[1] = _linear(a, pull, unit, m) - _inner(work.w[:k], factor.solved[:k])
        energy += 0.5 * a.centre[m] ** 2 - a.log_norm - log_interval(
            factor.last[0], factor.last[1], a.bounds[0], a.bounds[1])
    return k, energy if energy == energy else np.inf


@njit(**INSIDE)
def _remove(factor, k, q):
    """Row q leaves; Givens rotations of neighbouring columns close the gap."""
    root, solved = factor.root, factor.solved
    for i in range(q + 1, k):
        for c in range(i + 1):
            root[i - 1, c] = root[i, c]
        factor.order[i - 1] = factor.order[i]
    for p in range(q, k - 1):
        r = math.sqrt(root[p, p] ** 2 + root[p, p + 1] ** 2)
        cosine, sine = root[p, p] / r, root[p, p + 1] / r
        root[p, p] = r
        factor.inverse[p] = 1.0 / r
        for i in range(p + 1, k - 1):
            one, two = root[i, p], root[i, p + 1]
            root[i, p] = cosine * one + sine * two
            root[i, p + 1] = cosine * two - sine * one
        one, two = solved[p], solved[p + 1]
        solved[p] = cosine * one + sine * two
        solved[p + 1] = cosine * two - sine * one


@njit(**INSIDE)
def _unit_row(factor, k, q, t):
    """t = L^-1 e_q, and alpha = (A^-1)_qq, mu = (A^-1 b)_q."""
    _inlined()
    t[q] = factor.inverse[q]
    for c in range(q + 1, k):
        t[c] = -_inner(factor.root[c, q:c], t[q:c]) * factor.inverse[c]
    return _inner(t[q:k], t[q:k]), _inner(t[q:k], factor.solved[q:k])


# ---- moves --------------------------------------------------------------------------------------


@njit(**INSIDE)
def _list_places(tables, work, k):
    """Where every direction is: its row if it is in, else its place among those that are out."""
    a = tables.amplitudes
    outside = 0
    for c in range(k):
        work.place[work.now.order[c]] = c
    for j in range(a.linear.shape[0]):
        q = a.switch[j]
        if q >= 0 and work.values[q] == 0.0:
            work.place[j] = outside
            work.out[outside] = j
            outside += 1
    return outside


@njit(**INSIDE)
def _leave(work, k, q):
    """Row q leaves the factor, and the places of those after it."""
    _remove(work.now, k, q)
    for c in range(q, k - 1):
        work.place[work.now.order[c]] = c


@njit(**INSIDE)
def _flip(tables, gram, pull, work, p, beta, log_u, k, outside, energy):
    """Put a direction in, or out; the new k, number out, and energy."""
    _inlined()
    a, now = tables.amplitudes, work.now
    j = a.switched[p]
    present, absent = tables.problem.prior[p, 0], tables.problem.prior[p, 1]
    half = 0.5 * a.centre[j] ** 2
    if work.values[p] == 0.0:
        _solve_row(gram, work.unit, j, now, k, work.w)
        linear = _linear(a, pull, work.unit, j)
        d2 = 1.0 + _entry(gram, work.unit, j, j) - _inner(work.w[:k], work.w[:k])
        c = linear - _inner(work.w[:k], now.solved[:k])
        rise = 0.5 * (math.log(d2) - c * c / d2) + half
        if log_u < present - absent - beta * rise:
            _append(j, work.w, d2, linear, now, k)
            gap = work.place[j]
            filler = work.out[outside - 1]
            work.out[gap] = filler
            work.place[filler] = gap
            work.place[j] = k
            work.values[p] = 1.0
            return k + 1, outside - 1, energy + rise, 1
        return k, outside, energy, 0
    q = work.place[j]
    alpha, mu = _unit_row(now, k, q, work.t)
    rise = 0.5 * (math.log(alpha) + mu * mu / alpha) - half
    if log_u < absent - present - beta * rise:
        _leave(work, k, q)
        work.out[outside] = j
        work.place[j] = outside
        work.values[p] = 0.0
        return k - 1, outside + 1, energy + rise, 1
    return k, outside, energy, 0


@njit(**INSIDE)
def _trade(tables, gram, pull, work, beta, u, v, k, outside, energy):
    """One direction out and another one in, both chosen evenly; the new energy."""
    _inlined()
    prior, a, now = tables.problem.prior, tables.amplitudes, work.now
    switches = 0
    for j in range(a.switch.shape[0]):
        switches += a.switch[j] >= 0
    inside = switches - outside
    if inside == 0 or outside == 0:
        return energy
    choice = min(int(u * (inside * outside)), inside * outside - 1)
    q = k - inside + choice // outside
    i, j = now.order[q], work.out[choice % outside]
    alpha, mu = _unit_row(now, k, q, work.t)
    _solve_row(gram, work.unit, j, now, k, work.w)
    linear = _linear(a, pull, work.unit, j)
    tw = _inner(work.t[q:k], work.w[q:k])
    d2 = 1.0 + _entry(gram, work.unit, j, j) - _inner(work.w[:k], work.w[:k]) + tw * tw / alpha
    c = linear - _inner(work.w[:k], now.solved[:k]) + tw * mu / alpha
    rise = 0.5 * (math.log(alpha) + mu * mu / alpha + math.log(d2) - c * c / d2
                  + a.centre[j] ** 2 - a.centre[i] ** 2)
    one, other = a.switch[i], a.switch[j]
    odds = prior[other, 0] - prior[other, 1] - prior[one, 0] + prior[one, 1]
    if math.log(v) < odds - beta * rise:
        _leave(work, k, q)
        _solve_row(gram, work.unit, j, now, k - 1, work.w)
        _append(j, work.w, d2, linear, now, k - 1)
        gap = work.place[j]
        work.out[gap] = i
        work.place[i] = gap
        work.place[j] = k - 1
        work.values[one] = 0.0
        work.values[other] = 1.0
        return energy + rise
    return energy


@njit(**INSIDE)
def _propose(tables, chain, work, t, p):
    """New columns, directions and products for values[p]; 2 if the rest changes too, 1 if not,
    0 if only the noise, -1 if a formula has no value."""
    _inlined()
    problem, a = tables.problem, tables.amplitudes
    verdict = 0
    for row in range(problem.first[p], problem.first[p + 1]):
        s = problem.touched[row, 0]
        if problem.touched[row, 1] == 1:
            n, o = problem.padded[problem.block[s]], problem.out[s]
            if _column(problem, s, work.values, -1, 0.0, work, work.columns[o:o + n]) == 0:
                return -1
            work.new[s] = 1
        if a.holder[s] < 0:
            verdict = 2
        else:
            work.changed[a.holder[s]] = 1
            verdict = max(verdict, 1)
    if verdict == 0:
        return verdict
    state = chain.state[t]
    for b in range(problem.law.shape[0]):
        work.quad[b] = chain.quad[t, b]
    if verdict == 2:
        state = work.state
        _rest(tables, work, chain.columns[t], work.state, work.quad)
    m = a.linear.shape[0]
    for b in range(problem.law.shape[0]):
        _copy(work.pull[b], chain.pull[t, b])
        for i in range(m):
            _copy(work.gram[b, i], chain.gram[t, b, i])
    for j in range(m):
        if work.changed[j] == 1:
            _direction(tables, work, chain.columns[t], j, work.directions[j])
        if work.changed[j] == 1 or verdict == 2:
            here = work.directions[j] if work.changed[j] == 1 else chain.directions[t, j]
            _pulls(tables, j, here, state, work.pull)
    for j in range(m):
        one = work.directions[j] if work.changed[j] == 1 else chain.directions[t, j]
        for i in range(j + 1):
            if work.changed[i] == 1 or work.changed[j] == 1:
                other = work.directions[i] if work.changed[i] == 1 else chain.directions[t, i]
                _products(tables, j, one, i, other, work.gram)
    return verdict


@njit(**INSIDE)
def _forget(tables, work, p):
    _inlined()
    problem, a = tables.problem, tables.amplitudes
    for row in range(problem.first[p], problem.first[p + 1]):
        s = problem.touched[row, 0]
        work.new[s] = 0
        if a.holder[s] >= 0:
            work.changed[a.holder[s]] = 0


@njit(**INSIDE)
def _keep(tables, chain, work, t, p, verdict):
    """The proposal's columns, rest, directions and products become those of the replica."""
    _inlined()
    problem, a = tables.problem, tables.amplitudes
    for row in range(problem.first[p], problem.first[p + 1]):
        s = problem.touched[row, 0]
        if work.new[s] == 1:
            n, o = problem.padded[problem.block[s]], problem.out[s]
            _copy(chain.columns[t, o:o + n], work.columns[o:o + n])
    if verdict == 2:
        _copy(chain.state[t], work.state)
    for j in range(a.linear.shape[0]):
        if work.changed[j] == 1:
            _copy(chain.directions[t, j], work.directions[j])
    for b in range(problem.law.shape[0]):
        chain.quad[t, b] = work.quad[b]
        _copy(chain.pull[t, b], work.pull[b])
        for i in range(a.linear.shape[0]):
            _copy(chain.gram[t, b, i], work.gram[b, i])


@njit(**INSIDE)
def _take(factor, other, k, m):
    """The first k rows of the other factor, and what belongs to the amplitude with bounds."""
    _inlined()
    for i in range(k):
        _copy(factor.root[i, :i + 1], other.root[i, :i + 1])
        factor.inverse[i] = other.inverse[i]
        factor.solved[i] = other.solved[i]
        factor.order[i] = other.order[i]
    _copy(factor.root[m - 1, :k], other.root[m - 1, :k])
    _copy(factor.last, other.last)


@njit(**INSIDE)
def _walk(tables, chain, work, t, p, beta, step, u, log_u, k, energy):
    """One random-walk proposal of a parameter that is not integrated out; k, energy, accepted."""
    _inlined()
    problem, a = tables.problem, tables.amplitudes
    old = work.values[p]
    kind = problem.kind[p]
    if a.move[p] == FLIP:
        value = 1.0 - old
    elif kind == LOG_UNIFORM or kind == INVERSE_GAMMA:
        value = old * vexp2(LOG2E * step * (2.0 * u - 1.0))
    else:
        value = old + step * (2.0 * u - 1.0)
    if not _inside(problem, p, work.values, value):
        return k, energy, 0
    work.values[p] = value
    verdict = _propose(tables, chain, work, t, p)
    _units(tables, work.values, work.unit)
    size, new = k, np.inf
    if verdict > 0:
        size, new = _factorise(tables, work.gram, work.pull, work.quad, work, work.next)
    elif verdict == 0:
        size, new = _factorise(tables, chain.gram[t], chain.pull[t], chain.quad[t], work, work.next)
    one, two = problem.prior[p, 0], problem.prior[p, 1]
    gain = (_walk_density(kind, one, two, value) - _walk_density(kind, one, two, old)
            - beta * (new - energy))
    accepted = log_u < gain
    if accepted:
        if verdict > 0:
            _keep(tables, chain, work, t, p, verdict)
        _take(work.now, work.next, size, a.linear.shape[0])
        k, energy = size, new
    else:
        work.values[p] = old
        _units(tables, work.values, work.unit)
    _forget(tables, work, p)
    return k, energy, int(accepted)


@njit(**INSIDE)
def _draw_amplitudes(tables, chain, work, r, sweep, key, out):
    """The amplitudes given all else, L' z = u + e, into their places in ``out``; the prior for
    those that are out."""
    a, factor = tables.amplitudes, work.next
    t = r * a.moving
    k, _ = _factorise(tables, chain.gram[t], chain.pull[t], chain.quad[t], work, factor)
    m = a.linear.shape[0]
    for j in range(m):
        u, v = pair(sweep, r, a.linear[j] * DRAWS, key)
        work.z[j] = math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)
        out[a.linear[j]] = a.scale[j] * (a.centre[j] + work.z[j])
    if a.bounded == 1:
        value = _last_amplitude(a, factor.last, sweep, r, key)
        out[a.linear[m - 1]] = a.scale[m - 1] * value
        for c in range(k):
            factor.solved[c] -= factor.root[m - 1, c] * value
    for c in range(k - 1, -1, -1):
        j = factor.order[c]
        value = (factor.solved[c] + work.z[j]) * factor.inverse[c]
        out[a.linear[j]] = a.scale[j] * value
        for i in range(c):
            factor.solved[i] -= factor.root[c, i] * value


@njit(**INSIDE)
def _last_amplitude(a, last, sweep, r, key):
    """The amplitude with bounds given g alone: a cut normal, or flat where nothing is known."""
    lo, hi, draw = a.bounds[0], a.bounds[1], a.linear[a.linear.shape[0] - 1] * DRAWS
    if hi - lo < np.inf and last[0] * (hi - lo) ** 2 + abs(last[1]) * (hi - lo) < 1e-16:
        u, _ = pair(sweep, r, draw, key)
        return lo + (hi - lo) * u
    return truncated_normal(last[1] / last[0], 1.0 / math.sqrt(last[0]), lo, hi, sweep, r, draw,
                            key, np.nan)


@njit(**INSIDE)
def _start(tables, chain, work, r):
    """The factor of replica r and its energy; how many directions are in."""
    a = tables.amplitudes
    t = r * a.moving
    if chain.built[t] == 0:
        _build(tables, chain, work, r)
    _load(tables.problem, chain.theta[r], work.values)
    _units(tables, work.values, work.unit)
    k, chain.energy[r] = _factorise(tables, chain.gram[t], chain.pull[t], chain.quad[t], work,
                                    work.now)
    return k


def _compiled(stamp: int) -> Any:
    """The one entry into this file; the stamp is part of the key under which numba caches it.

    One function and few calls inside it: every function that is compiled on the way is optimised
    anew in each that calls it."""

    @njit(**SCALAR)
    def advance(tables, chain, work, betas, steps, keys, start, energies, replicas, draws,
                accepted, proposed, rebuilt):
        problem, a, rungs = tables.problem, tables.amplitudes, betas.shape[0]
        for t in range(-1 if rebuilt >= 0 and stamp >= 0 else 0, energies.shape[0]):
            sweep = start + t
            for level in range(rungs if t >= 0 else 1):
                r = chain.rung[level] if t >= 0 else rebuilt
                if t >= 0 and betas[level] == 0.0:
                    draw_prior(problem.kind, problem.prior, problem.below, problem.above, sweep, r,
                               keys[PRIOR], chain.theta[r])
                if a.moving == 1 and (t < 0 or betas[level] == 0.0):
                    chain.built[r] = 0
                k = _start(tables, chain, work, r)
                if t < 0:
                    break
                if betas[level] > 0.0:
                    own = r * a.moving
                    energy = chain.energy[r]
                    outside = _list_places(tables, work, k)
                    _block(sweep, r, keys[WALK], work.u, work.log_u)
                    for p in range(a.move.shape[0]):
                        if a.move[p] == INTEGRATED:
                            continue
                        if a.move[p] == SWITCH:
                            k, outside, energy, taken = _flip(
                                tables, chain.gram[own], chain.pull[own], work, p, betas[level],
                                work.log_u[p], k, outside, energy)
                        else:
                            k, energy, taken = _walk(
                                tables, chain, work, own, p, betas[level], steps[level, p],
                                work.u[p], work.log_u[p], k, energy)
                            if taken:
                                outside = _list_places(tables, work, k)
                        proposed[level, p] += 1
                        accepted[level, p] += taken
                    for i in range(a.trades):
                        u, v = pair(sweep, r, i, keys[TRADE])
                        energy = _trade(tables, chain.gram[own], chain.pull[own], work,
                                        betas[level], u, v, k, outside, energy)
                    for p in range(a.move.shape[0]):
                        if a.move[p] != INTEGRATED:
                            chain.theta[r, p] = work.values[p]
                    chain.energy[r] = energy
                if level == rungs - 1:
                    _copy(draws[t], chain.theta[r])
                    _draw_amplitudes(tables, chain, work, r, sweep, keys[AMPLITUDE], draws[t])
            if t < 0:
                continue
            for level in range(rungs):
                energies[t, level] = chain.energy[chain.rung[level]]
                replicas[t, level] = chain.rung[level]
            for level in range(sweep % 2, rungs - 1, 2):
                hot, cold = chain.rung[level], chain.rung[level + 1]
                u, _ = pair(sweep, level, 0, keys[SWAP])
                gain = (betas[level + 1] - betas[level]) * (chain.energy[cold] - chain.energy[hot])
                if math.log(u) < gain:
                    chain.rung[level], chain.rung[level + 1] = cold, hot

    return advance


_advance = _compiled(STAMP)


def sweeps(tables: Tables, chain: Chain, work: Work, *rest: Any) -> None:
    """Sweeps start, start + 1, ...; the other arguments are those of `cpu.sweeps`."""
    _advance(tables, chain, work, *rest, -1)


def rebuild(tables: Tables, chain: Chain, work: Work, r: int) -> None:
    """Everything about replica r from its parameters alone.

    Through the same compiled function, with no sweeps to do: a second one would cost a third of
    the compile."""
    none, few = np.zeros((0, 0)), np.zeros((0, 0), dtype=np.int64)
    _advance(tables, chain, work, np.zeros(0), none, np.zeros(0, dtype=np.uint64), 1, none,
             np.zeros((0, 0), dtype=np.int16), none, few, few, r)
    _within_rounding(tables, chain, work, r)


def _within_rounding(tables: Tables, chain: Chain, work: Work, r: int) -> None:
    """Two directions that are nearly alike differ by what rounding leaves of ``1 + G``."""
    gram = chain.gram[r * tables.amplitudes.moving]
    known = np.einsum("b,bjj->j", work.unit, gram)
    j = int(np.argmax(known)) if np.isfinite(known).all() else 0
    if MOST < known[j] < np.inf:
        raise InputError(
            "integrate_out", f"an amplitude known to {known[j]**-0.5:.1g} of its prior's width",
            f"no better than {MOST**-0.5:.0g}, where rounding takes over",
            "narrow its prior, or leave integrate_out away")
