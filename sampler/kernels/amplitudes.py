"""Which amplitudes can be integrated out of a posterior exactly, and the tables for doing so.

The model is ``rest + sum_j h_j D_j``: h_j the amplitudes that are integrated out, D_j their
directions, made of all other parameters g.  For Gaussian noise and normal priors

    U_c(g) = -ln of the integral of prior(h) exp(-U(g, h)) dh

is a matter of a Cholesky factor.  In units of the priors' standard deviations, ``h = sd z``, with
G = D'WD (W: the weights 1/sigma_i**2), v = D'W(y - rest) and z0 = mean / sd,

    L L' = 1 + G,  L u = v + z0,
    U_c = |y - rest|_W**2 / 2 + sum ln L_ii - |u|**2 / 2 + |z0|**2 / 2,

and given g the amplitudes are ``L' z = u + e``, e standard normal: `collapsed` computes both.

One amplitude with bounds (Uniform, or a normal prior cut to an interval) has an integral in closed
form too.  Two or more have none (the mass of a normal law in a box), so that they are refused by
name: `sample` draws them exactly, one after the other, which measured cheaper anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sampler.data import POISSON, QUADRATIC
from sampler.errors import InputError
from sampler.kernels.problem import FLIP, WALK, Problem, lower
from sampler.posterior import Posterior
from sampler.priors import BERNOULLI, Normal, Uniform, in_words, kernel_numbers

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
AMPLITUDES = "amplitudes"  # every parameter that enters linearly
# How a parameter is moved in this engine, beside WALK and FLIP of `problem`.
INTEGRATED, SWITCH = 3, 4


class Amplitudes(NamedTuple):
    """m amplitudes that are integrated out, S summands, P free parameters."""

    linear: IntArray    # (m,) their places in theta; one with bounds comes last
    switch: IntArray    # (m,) the 0/1 parameter that puts the whole direction in or out, or -1
    scale: Array        # (m,) sd of the prior (width of a uniform one): h = scale * z
    centre: Array       # (m,) prior mean of z (0 of a uniform one)
    bounds: Array       # (2,) of z for the last one, if it has any
    log_norm: float     # ln of the density's factor of that last one
    own: float          # its prior precision in z: 1 (cut normal) or 0 (uniform)
    bounded: int        # 1 if the last one has bounds
    move: IntArray      # (P,) WALK, FLIP, INTEGRATED or SWITCH
    switched: IntArray  # (P,) which direction a SWITCH puts in or out, or -1
    holder: IntArray    # (S,) which direction the summand belongs to, or -1: the rest
    moving: int         # 0 if nothing but switches (and noise) moves: one Gram matrix for all
    trades: int         # proposals a sweep that put one direction in and another one out


class Tables(NamedTuple):
    """What the compiled functions of `collapsed` read."""

    problem: Problem
    amplitudes: Amplitudes


def integrable(posterior: Posterior, wanted: Any) -> tuple[str, ...]:
    """The amplitudes meant by ``integrate_out``, checked: every one of them exactly integrable.

    Parameters
    ----------
    posterior : Posterior
    wanted : ``"amplitudes"`` or a sequence of names
        Every parameter that enters linearly, or these.

    Returns
    -------
    tuple of str
        In the order of ``posterior.names``.

    Raises
    ------
    InputError
        For a parameter that is not linear, or whose integral has no closed form, and for data
        whose noise is not Gaussian, be they others of a joint posterior.

    Examples
    --------
    >>> from sampler import Data, Model, Normal, shapes
    >>> peak = Model.single(shapes.gaussian, height=Normal(0, 1), center=(0, 3), width=(0.1, 1))
    >>> integrable(Posterior(peak, Data([0, 1, 2], [0.1, 0.9, 0.2], noise=0.1)), "amplitudes")
    ('height',)
    """
    problem = lower(posterior)
    _gaussian(posterior)
    names = [n for p, n in enumerate(posterior.names) if _linear(problem, p)]
    if isinstance(wanted, str):
        if wanted != AMPLITUDES:
            raise InputError("integrate_out", repr(wanted),
                             f"{AMPLITUDES!r} or a sequence of parameter names")
        if not names:
            raise InputError("integrate_out", "a model without linear amplitudes",
                             "a parameter that enters linearly, under Gaussian noise")
    else:
        names = _named(posterior, names, wanted)
    _one_each(posterior, problem, names)
    bounded = [n for n in names if _has_bounds(posterior.priors[n])]
    other = [n for n in names if not isinstance(posterior.priors[n], Normal | Uniform)]
    if other:
        raise InputError(
            f"integrate_out: prior of {', '.join(other)}", in_words(posterior.priors[other[0]]),
            "a normal prior (or, for one amplitude, a uniform one)", _instead(names, other))
    if len(bounded) > 1:
        raise InputError(
            "integrate_out", f"bounds on {', '.join(bounded)}",
            "normal priors without bounds, for all but one: a box has no closed integral",
            _instead(names, bounded))
    return tuple(names)


def _gaussian(posterior: Posterior) -> None:
    """Refuse data, by their law, whose U is no sum of squares: this engine knows nothing else."""
    for block in posterior.blocks:
        if block.data.law not in QUADRATIC:
            law = "Poisson" if block.data.law == POISSON else "Student's t"
            raise InputError("integrate_out", f"data with {law} noise", "data under Gaussian noise",
                             "leave integrate_out away")


def _named(posterior: Posterior, linear: Sequence[str], wanted: Any) -> list[str]:
    if not isinstance(wanted, Sequence) or not all(isinstance(n, str) for n in wanted):
        raise InputError("integrate_out", repr(wanted),
                         f"{AMPLITUDES!r} or a sequence of parameter names")
    for name in wanted:
        if name not in posterior.names:
            raise InputError("integrate_out", repr(name),
                             f"a free parameter: {', '.join(posterior.names)}")
        if name not in linear:
            raise InputError(f"integrate_out: {name}", "a parameter that is not linear",
                             f"one of {', '.join(linear) or 'none'}, under Gaussian noise")
    return [n for n in posterior.names if n in set(wanted)]


def _instead(names: Sequence[str], without: Sequence[str]) -> str:
    left = [n for n in names if n not in without]
    return (f"give integrate_out={left!r}" if left
            else "leave integrate_out away: sample draws them exactly")


def _one_each(posterior: Posterior, problem: Problem, names: Sequence[str]) -> None:
    """Refuse products of two amplitudes: the model is not linear in both together."""
    taken: dict[int, str] = {}
    for name in names:
        for s in _summands(problem, posterior.names.index(name)):
            if s in taken:
                raise InputError(
                    "integrate_out", f"{taken[s]} and {name}, which multiply each other",
                    "one of the two", _instead(names, [name]))
            taken[s] = name


def _summands(problem: Problem, p: int) -> list[int]:
    return [int(s) for s in problem.touched[problem.first[p]:problem.first[p + 1], 0]]


def _linear(problem: Problem, p: int) -> bool:
    rows = problem.touched[problem.first[p]:problem.first[p + 1]]
    noisy = problem.noisy_first[p + 1] > problem.noisy_first[p]
    ordered = problem.below[p] >= 0 or problem.above[p] >= 0
    return bool(len(rows) and not rows[:, 1].any() and problem.kind[p] != BERNOULLI
                and not noisy and not ordered)


def _has_bounds(prior: Any) -> bool:
    return isinstance(prior, Uniform) or (
        isinstance(prior, Normal) and (math.isfinite(prior.lo) or math.isfinite(prior.hi)))


def tables(posterior: Posterior, names: Sequence[str]) -> Tables:
    """The compiled posterior with the tables of its amplitudes; ``names`` from `integrable`."""
    problem = lower(posterior, compiled=True)
    order = sorted(names, key=lambda n: _has_bounds(posterior.priors[n]))
    place = [posterior.names.index(n) for n in order]
    priors = [posterior.priors[n] for n in order]
    bounded = _has_bounds(priors[-1])
    holder = np.full(len(problem.block), -1)
    for j, p in enumerate(place):
        holder[_summands(problem, p)] = j
    switch = np.full(len(place), -1) if bounded else _switches(problem, place, holder)
    move = np.where(problem.kind == BERNOULLI, FLIP, WALK)
    move[place] = INTEGRATED
    move[switch[switch >= 0]] = SWITCH
    switched = np.full(len(move), -1)
    switched[switch[switch >= 0]] = np.flatnonzero(switch >= 0)
    count = int((switch >= 0).sum())
    still = [p for p in range(len(move)) if move[p] in (INTEGRATED, SWITCH)
             or not len(_summands(problem, p))]
    scale, centre = np.array([_unit(prior) for prior in priors]).T
    return Tables(problem, Amplitudes(
        _ints(place), _ints(switch), np.ascontiguousarray(scale), np.ascontiguousarray(centre),
        *_last(priors[-1], bounded), int(bounded), _ints(move), _ints(switched), _ints(holder),
        int(len(still) < len(move)), max(count // 2, 1) if count > 1 else 0))


def _switches(problem: Problem, place: list[int], holder: IntArray) -> IntArray:
    """For each direction the 0/1 parameter that multiplies all of it and nothing else."""
    out = np.full(len(place), -1)
    for q in np.flatnonzero(problem.kind == BERNOULLI):
        mine = problem.touched[problem.first[q]:problem.first[q + 1]]
        held = {int(holder[s]) for s in mine[:, 0]}
        if mine[:, 1].any() or len(held) != 1 or -1 in held:
            continue
        j = held.pop()
        if out[j] < 0 and set(_summands(problem, int(q))) == set(_summands(problem, place[j])):
            out[j] = q
    return out.astype(np.int64)


def _unit(prior: Any) -> tuple[float, float]:
    if isinstance(prior, Uniform):
        return prior.hi - prior.lo, 0.0
    return prior.sd, prior.mean / prior.sd


def _last(prior: Any, bounded: bool) -> tuple[Array, float, float]:
    """Bounds, log factor and own precision of an amplitude with bounds, in units of its scale."""
    if not bounded:
        return np.array([-np.inf, np.inf]), 0.0, 1.0
    scale, _ = _unit(prior)
    limits = np.array([prior.lo, prior.hi]) / scale
    if isinstance(prior, Uniform):
        return limits, 0.0, 0.0
    return limits, kernel_numbers(prior)[4] + math.log(prior.sd), 1.0


def _ints(values: Any) -> IntArray:
    return np.array(values, dtype=np.int64)
