"""What F and the choice would be under other prior widths, read off the runs that there are.

F depends on every prior.  Under another prior phi' the free energy is

    F' = F - ln < phi'(theta) / phi(theta) >,

the mean over draws of the posterior under phi, as far as the draws reach where phi' is.  A narrower
prior lies inside the old one and is reweighted exactly.  A wider uniform prior has the old density
divided by the ratio of widths, so that F rises by its logarithm for each parameter, *if* nothing of
the posterior lies beyond the old bounds; where the draws lean on such a bound the run cannot know,
and a refit is asked for.  A posterior that presses on no bound may still have another mode outside:
no run with the narrower prior can see it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.choice import Choice, probabilities
from sampler.exchange import Run
from sampler.labels import COMPONENT
from sampler.priors import (
    Gamma,
    InverseGamma,
    LogUniform,
    Normal,
    Scalar,
    Uniform,
    in_words,
    log_density,
    support,
    to_text,
)
from sampler.series import series_errors

Array = NDArray[np.float64]
EDGE, LEANING = 0.02, 0.005    # more than this share of the draws in the last 2 %: no extrapolation
LARGEST_ERROR = 0.3            # nats; a reweighted F known less well than this is not given
SHARES = ("mixing",)           # between 0 and 1 by their meaning, whatever their prior
TOGETHER = "all of these"


@dataclass(frozen=True)
class Shift:
    """What another prior width does to F of one model."""

    change: float | None    # F' - F (nats); None where only a refit can tell
    error: float            # its standard error by the draws (nats)
    why: str                # why a refit is needed, else ""


@dataclass(frozen=True)
class Widening:
    """One prior (of each component) at another width, over all models of a choice."""

    prior: str                        # name without a number; `TOGETHER`: all at once
    factor: float                     # 0.5 or 2, of the width
    words: str                        # the prior that is meant
    option: str                       # the same for --prior
    shifts: Mapping[Any, Shift]       # by model
    favoured: Any                     # label of K* then; None where only a refit can tell
    probability: Mapping[Any, float]  # p(model | data) then, of the models that can be told
    refit: tuple[Any, ...]            # models that only a refit can tell


def scaled(prior: Scalar, factor: float) -> Scalar | None:
    """The prior at another width; None for one that has no width to change.

    About its middle (of ln x for `LogUniform`; the mean of `Normal`, `Gamma`); where a uniform
    prior on what cannot be negative would reach below zero, its lower bound stays instead.

    Examples
    --------
    >>> scaled(Uniform(280, 290), 2), scaled(Uniform(0, 3), 2), scaled(Uniform(0, 3), 0.5)
    (Uniform(lo=275.0, hi=295.0), Uniform(lo=0.0, hi=6.0), Uniform(lo=0.0, hi=1.5))
    >>> in_words(scaled(LogUniform(1, 100), 0.5))
    'log-uniform from 3.16228 to 31.6228'
    """
    match prior:
        case Uniform(lo=lo, hi=hi):
            if lo >= 0.0 > lo - 0.5 * (hi - lo):
                return Uniform(lo, lo + factor * (hi - lo))
            middle, half = 0.5 * (lo + hi), 0.5 * factor * (hi - lo)
            return Uniform(middle - half, middle + half)
        case LogUniform(lo=lo, hi=hi):
            half = math.exp(0.5 * factor * math.log(hi / lo))
            middle = math.sqrt(lo) * math.sqrt(hi)
            return LogUniform(middle / half, middle * half)
        case Normal(mean=mean, sd=sd, lo=lo, hi=hi):
            return Normal(mean, factor * sd, lo, hi)
        case Gamma(shape=shape, rate=rate):
            return Gamma(shape / factor**2, rate / factor**2)
        case InverseGamma(shape=shape, scale=scale):
            return InverseGamma(shape / factor**2, scale / factor**2)
        case _:
            return None


def families(run: Run) -> dict[str, list[str]]:
    """Parameters whose prior has a width, by their name without a number."""
    out: dict[str, list[str]] = {}
    for name, prior in run.posterior.priors.items():
        match = COMPONENT.match(name)
        short = f"{match.group(1)}_{match.group(3)}" if match else name
        if scaled(prior, 2.0) is not None and short.rpartition("_")[2] not in SHARES:
            out.setdefault(short, []).append(name)
    return out


def shift(run: Run, names: list[str], factor: float) -> Shift:
    """F of one run with the priors of some parameters at another width.

    Parameters
    ----------
    run : Run
    names : list of str
        Parameters of the run; none changes nothing.
    factor : float
        Of the width, see `scaled`.

    Returns
    -------
    Shift

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> level = Model.single(shapes.constant, offset=(-10, 10))
    >>> run = sample(Posterior(level, Data([0, 1], [0.1, 0.2], noise=0.5)), 500, seed=1)
    >>> round(shift(run, ["offset"], 2.0).change, 4), round(shift(run, ["offset"], 0.5).change, 4)
    (0.6931, -0.6931)
    """
    log_weight = np.zeros(run.draws.shape[:2])
    for name in names:
        old = run.posterior.priors[name]
        new = scaled(old, factor)
        assert new is not None
        values = run.draws[..., run.posterior.names.index(name)]
        leaning = _leaning(values, old, new)
        if leaning:
            return Shift(None, math.inf, f"{name} {leaning}")
        log_weight += log_density(new, values) - log_density(old, values)
    top = float(log_weight.max())
    if not math.isfinite(top):
        return Shift(None, math.inf, "no draw lies inside the narrower prior, which the data "
                     "speak against")
    weight = np.exp(log_weight - top)
    mean = float(weight.mean())
    error = max(series_errors(weight / mean)[:2]) if weight.min() < weight.max() else 0.0
    if not error <= LARGEST_ERROR:
        return Shift(None, error, "too few draws lie where that prior is")
    return Shift(-top - math.log(mean), error, "")


def _leaning(values: Array, old: Scalar, new: Scalar) -> str:
    """Why the draws cannot speak for a prior that reaches further, or nothing."""
    (lo, hi), (low, high) = support(old), support(new)
    place = (np.log(values / lo) / math.log(hi / lo) if isinstance(old, LogUniform)
             else (values - lo) / (hi - lo) if math.isfinite(hi - lo) else np.full(1, 0.5))
    for further, share, bound in ((low < lo, np.mean(place < EDGE), lo),
                                  (high > hi, np.mean(place > 1.0 - EDGE), hi)):
        if further and share > LEANING:
            return f"reaches its bound {bound:g} ({share:.1%} of the draws in the last 2 %)"
    return ""


def sensitivity(choice: Choice, runs: Mapping[Any, Run],
                factors: tuple[float, ...] = (0.5, 2.0)) -> list[Widening]:
    """Every prior at half and at double width, one after another and all at once.

    Parameters
    ----------
    choice : Choice
    runs : mapping from label to Run
        Those that were chosen from.
    factors : tuple of float

    Returns
    -------
    list of Widening
    """
    known = {label: families(run) for label, run in runs.items()}
    every = list(dict.fromkeys(short for names in known.values() for short in names))
    out = []
    for short in [*every, *([TOGETHER] if len(every) > 1 else [])]:
        for factor in factors:
            mine = {label: [name for group, members in names.items() for name in members
                            if short in (group, TOGETHER)] for label, names in known.items()}
            shifts = {label: shift(run, mine[label], factor) for label, run in runs.items()}
            words, option = _words(short, factor, runs, mine)
            out.append(Widening(short, factor, words, option, shifts, *_answer(choice, shifts)))
    return out


def _words(short: str, factor: float, runs: Mapping[Any, Run],
           mine: Mapping[Any, list[str]]) -> tuple[str, str]:
    if short == TOGETHER:
        return "", ""
    new = dict.fromkeys(scaled(runs[label].posterior.priors[name], factor)
                        for label, names in mine.items() for name in names)
    if len(new) > 1:
        return "each about its own middle", ""
    (prior,) = new
    assert prior is not None
    return in_words(prior), f"{short}={to_text(prior)}"


def _answer(choice: Choice, shifts: Mapping[Any, Shift]
            ) -> tuple[Any, dict[Any, float], tuple[Any, ...]]:
    """The choice under the other prior, as far as it is known without a refit: the favoured model
    only if every model that is not excluded could be told."""
    rows = [row for row in choice.rows if shifts[row.label].change is not None]
    refit = tuple(row.label for row in choice.rows if shifts[row.label].change is None)
    if not rows:
        return None, {}, refit
    moved = [float(shifts[row.label].change or 0.0) for row in rows]
    F = np.array([row.free_energy.value for row in rows]) + moved
    p, _ = probabilities(F, np.zeros(len(F)))
    near = [k for k in range(len(rows)) if F[k] <= F.min() + choice.within]
    best = min(near, key=lambda k: (rows[k].parameters, F[k]))
    told = not set(refit) & set(choice.not_excluded)
    return (rows[best].label if told else None,
            {row.label: float(v) for row, v in zip(rows, p, strict=True)} if told else {}, refit)
