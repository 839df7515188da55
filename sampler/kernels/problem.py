"""A posterior as the kernels see it: tables of integers and rows of floats.

Only `Problem.address` knows a formula (the machine address of its column function), so the
number of components, sharing and fixing never recompile anything.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sampler.data import QUADRATIC
from sampler.errors import InputError
from sampler.posterior import Posterior
from sampler.printing import Source, column_source, column_values, pieces
from sampler.priors import (
    BERNOULLI,
    GAMMA,
    KIND,
    NORMAL,
    UNIFORM,
    kernel_numbers,
)

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
APART = 128  # doubles between any two arrays of the kernels
LANES = 8  # points are padded to full vectors of doubles (64 bytes)
# How a parameter is moved.
WALK, LINEAR, FLIP = range(3)
MAX_PARAMETERS = 16  # of one formula


class Problem(NamedTuple):
    """P free parameters, S summands, B data sets, N padded points in all.

    ``values`` below means the free parameters followed by the fixed ones.
    """

    fixed: Array          # (F,) values of the fixed parameters
    move: IntArray        # (P,) WALK, LINEAR or FLIP
    kind: IntArray        # (P,) kind of prior
    prior: Array          # (P, 5) its two numbers, two bounds, minus log normaliser
    below: IntArray       # (P,) the parameter that must stay smaller (ordered prior), or -1
    above: IntArray       # (P,) the one that must stay larger, or -1
    address: IntArray     # (S,) machine address of the column function
    block: IntArray       # (S,) data set of the summand
    where: IntArray       # (S, 16) places of its shape parameters in values, -1 at the end
    factor: IntArray      # (S, 2) places of its amplitudes in values, or -1
    out: IntArray         # (S,) offset of its column in a replica's buffer
    table: IntArray       # (S,) offset of its x-only columns in `columns`
    tables: IntArray      # (S,) how many of them
    columns: Array        # x-only columns, one after the other
    law: IntArray         # (B,) noise law
    scale: IntArray       # (B,) place of the noise parameter in values, or -1
    tails: Array          # (B,) degrees of freedom of Student's law, or 0
    points: IntArray      # (B,) n
    padded: IntArray      # (B,) n padded
    start: IntArray       # (B,) offset of the data set in rows of N
    y: Array              # (N,) data, 0 where padded
    weight: Array         # (N,) 1/sigma_i**2 (1 for counts), 0 where padded
    first: IntArray       # (P+1,) rows of `touched` that belong to a parameter
    touched: IntArray     # (T, 2) summand, and 1 if its column changes (0: amplitude only)
    noisy_first: IntArray  # (P+1,) rows of `noisy`
    noisy: IntArray       # data sets whose noise scale the parameter is


def lower(posterior: Posterior, compiled: bool = False) -> Problem:
    """Tables of a posterior; with ``compiled`` also the addresses of its column functions."""
    free = {n: i for i, n in enumerate(posterior.names)}
    place = free | {n: len(free) + i for i, n in enumerate(posterior.fixed)}
    summands = _summands(posterior, place)
    blocks = _blocks(posterior, place)
    touched, first = _touched(summands, len(free))
    noisy = [[b for b, s in enumerate(blocks["scale"]) if s == p] for p in range(len(free))]
    below, above = _neighbours(posterior, free)
    columns = np.concatenate([np.ravel(s.columns) for s in summands] or [np.zeros(0)])
    sizes = [s.columns.size for s in summands]
    widths = [blocks["padded"][s.block] for s in summands]
    problem = Problem(
        fixed=np.array(list(posterior.fixed.values()), dtype=np.float64),
        move=np.zeros(len(free), dtype=np.int64),
        kind=_ints(KIND[type(p)] for p in posterior.priors.values()),
        prior=np.array([kernel_numbers(p) for p in posterior.priors.values()],
                       dtype=np.float64).reshape(-1, 5),
        below=below, above=above,
        address=np.zeros(len(summands), dtype=np.int64),
        block=_ints(s.block for s in summands),
        where=_ints(s.where for s in summands).reshape(-1, MAX_PARAMETERS),
        factor=_ints(s.factor for s in summands).reshape(-1, 2),
        out=_ints(_offsets(widths)), table=_ints(_offsets(sizes)),
        tables=_ints(len(s.columns) for s in summands), columns=_aligned(columns),
        law=_ints(blocks["law"]), scale=_ints(blocks["scale"]),
        tails=np.array(blocks["tails"]), points=_ints(blocks["points"]),
        padded=_ints(blocks["padded"]), start=_ints(_offsets(blocks["padded"])),
        y=_aligned(np.concatenate(blocks["y"])), weight=_aligned(np.concatenate(blocks["weight"])),
        first=first, touched=touched,
        noisy_first=_ints([0, *itertools.accumulate(len(n) for n in noisy)]),
        noisy=_ints(itertools.chain.from_iterable(noisy)))
    problem.move[:] = [_move(problem, p) for p in range(len(free))]
    if compiled:
        from sampler.printing import column_address

        problem.address[:] = [column_address(s.source) for s in summands]
    return problem


class _Summand(NamedTuple):
    block: int
    source: Source
    where: list[int]
    factor: list[int]
    columns: Array


def _summands(posterior: Posterior, place: dict[str, int]) -> list[_Summand]:
    out = []
    for b, block in enumerate(posterior.blocks):
        grid = _pad(block.data.x, edge=True)
        for term in block.model.terms:
            full = dict(zip(term.formula.parameters, term.names, strict=True))
            for piece in pieces(term.formula):
                if len(piece.parameters) > MAX_PARAMETERS:
                    raise InputError(f"formula {term.formula.name}",
                                     f"{len(piece.parameters)} parameters in one summand",
                                     f"at most {MAX_PARAMETERS}")
                source = column_source(piece)
                where = [place[full[n]] for n in piece.parameters]
                factor = [place[full[n]] for n in piece.amplitudes]
                if len(set(factor)) != len(factor) or set(factor) & set(where):
                    raise InputError(f"formula {term.formula.name}",
                                     "one name for two parameters of the same component",
                                     "different names")
                columns = np.array([column_values(e, grid) for e in source.columns])
                out.append(_Summand(
                    b, source, where + [-1] * (MAX_PARAMETERS - len(where)),
                    factor + [-1] * (2 - len(factor)), columns.reshape(-1, len(grid))))
    return out


def _blocks(posterior: Posterior, place: dict[str, int]) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {
        k: [] for k in ("law", "scale", "tails", "points", "padded", "y", "weight")}
    for block in posterior.blocks:
        data = block.data
        y, weight = _pad(data.y), _pad(1.0 / data.deviation**2)
        rows["law"].append(data.law)
        rows["scale"].append(-1 if data.noise_prior is None else place[data.noise_name])
        rows["tails"].append(data.tails or 0.0)
        rows["points"].append(data.size)
        rows["padded"].append(len(y))
        rows["y"].append(y)
        rows["weight"].append(weight)
    return rows


def _touched(summands: list[_Summand], free: int) -> tuple[IntArray, IntArray]:
    """The 0/1 table parameter x summand as rows: what a proposal must recompute."""
    rows = [[(s, int(p in summand.where)) for s, summand in enumerate(summands)
             if p in summand.where or p in summand.factor] for p in range(free)]
    first = _ints([0, *itertools.accumulate(len(r) for r in rows)])
    return _ints(itertools.chain.from_iterable(rows)).reshape(-1, 2), first


def _neighbours(posterior: Posterior, free: dict[str, int]) -> tuple[IntArray, IntArray]:
    below, above = np.full(len(free), -1), np.full(len(free), -1)
    for group in posterior.orderings:
        for smaller, larger in itertools.pairwise(group):
            if below[free[larger]] >= 0 or above[free[smaller]] >= 0:
                raise InputError(f"ordered prior of {smaller}", "two orderings", "one at most")
            below[free[larger]], above[free[smaller]] = free[smaller], free[larger]
    return below.astype(np.int64), above.astype(np.int64)


def _move(problem: Problem, p: int) -> int:
    """Exact draw where the likelihood is Gaussian in the parameter and the prior log-concave."""
    kind, one = problem.kind[p], problem.prior[p, 0]
    if kind == BERNOULLI:
        return FLIP
    rows = problem.touched[problem.first[p]:problem.first[p + 1]]
    laws = problem.law[problem.block[rows[:, 0]]]
    noisy = problem.noisy_first[p + 1] > problem.noisy_first[p]
    ordered = problem.below[p] >= 0 or problem.above[p] >= 0
    drawable = kind in (UNIFORM, NORMAL) or (kind == GAMMA and one >= 1.0)
    linear = len(rows) and not rows[:, 1].any() and np.isin(laws, QUADRATIC).all()
    return LINEAR if linear and drawable and not ordered and not noisy else WALK


def step_limits(posterior: Posterior) -> Array:
    """Largest sensible step of each parameter: the spread of its prior."""
    from sampler.priors import typical_width

    return np.array([typical_width(p) for p in posterior.priors.values()]).reshape(-1)


def _pad(values: Array, edge: bool = False) -> Array:
    short = -len(values) % LANES
    return np.pad(values, (0, short), mode="edge") if edge else np.pad(values, (0, short))


def _offsets(sizes: Iterable[int]) -> list[int]:
    return [0, *itertools.accumulate(sizes)][:-1]


def _ints(values: object) -> IntArray:
    return np.array(list(values), dtype=np.int64)  # type: ignore[call-overload]


def _aligned(values: Array) -> Array:
    """The same numbers from an address that is a multiple of 64 bytes."""
    return aligned_zeros(values.shape, values)


def aligned_zeros(shape: tuple[int, ...], values: Array | None = None) -> Array:
    """A zeroed array (or a copy of ``values``) whose first element is aligned to 64 bytes.

    Unused memory lies on both sides: where two arrays are nearer than a few vectors, a compiled
    loop takes them for overlapping and runs point by point, with other last digits, so that equal
    runs would differ by where their memory happens to lie.
    """
    size = math.prod(shape)
    raw = np.zeros(size + LANES + 2 * APART)
    skip = APART + (-raw.ctypes.data % 64) // 8
    out = raw[skip:skip + size].reshape(shape)
    if values is not None:
        out[...] = values
    return out
