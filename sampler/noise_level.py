"""One run gives the free energy of every noise level: the ladder read as a noise scale.

Gaussian noise of known sigma: dividing the energy by f is the same as multiplying every
sigma_i**2 by f, so that with n points

    F(f) = constant + (n/2) ln f + F~(beta = 1/f),

and for one sigma for all points F(s^2) = (n/2) ln 2 pi s^2 + F~(sigma^2 / s^2) (Tokuda, Nagata and
Okada, JPSJ 86 (2017) 024001).  Its minimum is the empirical-Bayes noise, where beta <U> = n/2;
summed over ln s^2 it is the evidence under a log-uniform noise.  The run's own sigma is the
*smallest* noise that can be asked about.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sampler.choice import probabilities
from sampler.data import GAUSSIAN, STUDENT
from sampler.errors import InputError
from sampler.evidence import free_energy
from sampler.exchange import Run
from sampler.reweighting import Tempered, standard_error, tempered

Array = NDArray[np.float64]
FINE = 0.25        # steps of the grid in ln s^2, in units of sqrt(2/n), near the minimum
NEGLIGIBLE = 40.0  # nats above the minimum at which the density of the noise counts as zero


@dataclass(frozen=True, eq=False)
class NoiseCurve:
    """F of every noise level, its minimum, and the evidence with the noise summed over.

    ``factor`` multiplies the variances of the data's own sigma; ``variance`` is the noise
    variance itself (unit of y squared) where all points have the same sigma, else None.
    """

    factor: Array                # (levels,) f, increasing
    variance: Array | None       # (levels,) f sigma^2
    free_energy: Array           # (levels,) F(f), all constants included (nats)
    free_energy_error: Array     # (levels,) standard error (nats)
    best: float                  # f of least F
    best_error: float            # standard error of ln(best): of the run, not of the data
    best_inside: bool            # False if the least F lies at an end of the range
    least: float                 # F there (nats)
    least_error: float
    interval68: tuple[float, float]   # credible intervals of f, density uniform in ln f
    interval95: tuple[float, float]
    summed: float                # F with the noise log-uniform over the whole range (nats)
    summed_error: float

    def __str__(self) -> str:
        unit = 1.0 if self.variance is None else float(self.variance[0] / self.factor[0])
        name = "noise factor f" if self.variance is None else "noise variance s^2"
        low, high = (unit * v for v in self.interval95)
        where = "" if self.best_inside else " (at the end of the range: extend it)"
        return (f"{name} of least F: {unit * self.best:.4g} (95 % credible {low:.4g} to "
                f"{high:.4g}; error of the run {self.best_error:.1%}){where}\n"
                f"least F = {self.least:.3f} +- {self.least_error:.3f} nats; summed over the noise "
                f"F = {self.summed:.3f} +- {self.summed_error:.3f} nats")


def free_energy_of_noise(run: Run, lowest: float = 1.0, highest: float | None = None,
                         also: ArrayLike = ()) -> NoiseCurve:
    """F of every noise level between two factors of the data's own noise variance.

    Parameters
    ----------
    run : Run
        Of data with known Gaussian sigma, which must be the *least* noise thought possible.
    lowest, highest : float
        Range of the factor f of the noise variance; from 1 to 1/beta of the second rung if not
        given.
    also : array (levels,), optional
        Factors that the curve shall contain.

    Returns
    -------
    NoiseCurve

    Raises
    ------
    InputError
        For Poisson counts, Student's noise, unknown noise (it is a parameter already), a run
        without a ladder, or a range outside the ladder.

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> x = np.linspace(0, 1, 20)
    >>> y = x + 0.1 * np.sin(40 * x)
    >>> line = Model.single(shapes.linear, offset=(-1, 1), slope=(-10, 10))
    >>> run = sample(Posterior(line, Data(x, y, noise=0.02)), sweeps=1000, seed=1)
    >>> curve = free_energy_of_noise(run, 1.0, 100.0)
    >>> 0.05 < 0.02 * curve.best**0.5 < 0.09
    True
    """
    _refuse(run)
    top = 1.0 / float(run.betas[1])
    highest = top if highest is None else highest
    if not 1.0 <= lowest < highest <= top * (1 + 1e-9):
        raise InputError("range of the noise factor", f"{lowest:g} to {highest:g}",
                         f"between 1 and {top:.4g}, what this ladder reaches",
                         "a smaller noise needs a run with a smaller sigma")
    n = run.posterior.size
    factors = _grid(run, lowest, highest, n, np.asarray(also, dtype=np.float64))
    points = tempered(run, 1.0 / factors)
    anchor = _Anchor(run)
    values = np.array([anchor.value(p) for p in points]) + 0.5 * n * np.log(factors)
    errors = np.array([anchor.error(p.free_influence) for p in points])
    best, best_error, inside = _minimum(run, factors, values, n)
    (at_best,) = tempered(run, np.array([1.0 / best]))
    weight = _trapezoid(np.log(factors)) * np.exp(values.min() - values)
    share = weight / weight.sum()
    mixed = np.zeros(run.energy.shape[:2])
    for s, p in zip(share, points, strict=True):
        if s > 1e-12:
            mixed += s * p.free_influence
    summed = values.min() - math.log(weight.sum() / math.log(highest / lowest))
    sigma = np.concatenate([b.data.deviation for b in run.posterior.blocks])
    variance = factors * sigma[0] ** 2 if np.all(sigma == sigma[0]) else None
    return NoiseCurve(
        factors, variance, values, errors, best, best_error, inside,
        anchor.value(at_best) + 0.5 * n * math.log(best), anchor.error(at_best.free_influence),
        _credible(factors, values, 0.6827), _credible(factors, values, 0.95),
        summed, anchor.error(mixed))


def _refuse(run: Run) -> None:
    for block in run.posterior.blocks:
        if block.data.law == STUDENT:
            raise InputError("run", "a run with Student's t noise",
                             "data with a known Gaussian sigma",
                             "its temperature is no noise level: infer the scale instead, "
                             "noise='unknown'")
        if block.data.law != GAUSSIAN:
            law = "unknown noise" if block.data.noise_prior is not None else "Poisson counts"
            raise InputError("run", f"a run with {law}", "data with a known Gaussian sigma",
                             "the noise is a parameter of this run already: see summary"
                             if block.data.noise_prior is not None else
                             "counts have no noise level of their own")
    if run.integrated:
        raise InputError("run", f"{', '.join(run.integrated)} integrated out of U",
                         "a run that tempers the likelihood itself: its temperature is a noise",
                         "sample without integrate_out, or give the noise a prior")
    if run.posterior.dimension == 0 or len(run.betas) < 2:
        raise InputError("run", "a run without a ladder", "a run of a model with parameters",
                         "use sample, not metropolis")


class _Anchor:
    """F from the hot end by BAR, or from the cold end by the bridge: whichever errs less.

    Near beta = 1 the bridge's error is some ten times smaller, and only the short way from there
    is BAR's.
    """

    def __init__(self, run: Run) -> None:
        self.constant, self.found = run.posterior.constant, free_energy(run)
        (self.cold,) = tempered(run, np.ones(1))

    def error(self, influence: Array) -> float:
        return min(self._errors(influence))

    def value(self, point: Tempered) -> float:
        hot = point.free_energy + self.constant
        by_bar, by_bridge = self._errors(point.free_influence)
        return hot + (self.found.value - self.found.bar if by_bridge < by_bar else 0.0)

    def _errors(self, influence: Array) -> tuple[float, float]:
        by_bar = standard_error(influence)
        if self.found.estimator != "bridge":
            return by_bar, math.inf
        away = influence - self.cold.free_influence
        rest = standard_error(away) if np.any(away != 0.0) else 0.0
        return by_bar, math.hypot(self.found.error, rest)


def _grid(run: Run, lowest: float, highest: float, n: int, also: Array) -> Array:
    """Steps in ln f: the rungs, and a fine grid where the noise may be."""
    outside = np.flatnonzero(~((also >= lowest) & (also <= highest)))
    if len(outside):
        raise InputError(f"also[{outside[0]}]", f"{also[outside[0]]:g}",
                         f"from {lowest:g} to {highest:g}")
    rungs = 1.0 / run.betas[1:]
    coarse = np.unique(np.concatenate([
        np.geomspace(lowest, highest, 50), rungs[(rungs > lowest) & (rungs < highest)], also]))
    coarse[[0, -1]] = lowest, highest
    values = np.array([p.free_energy for p in tempered(run, 1.0 / coarse)])
    values += 0.5 * n * np.log(coarse)
    near = np.flatnonzero(values < values.min() + NEGLIGIBLE)
    low = coarse[max(near[0] - 1, 0)]
    high = coarse[min(near[-1] + 1, len(coarse) - 1)]
    steps = math.ceil(math.log(high / low) / (FINE * math.sqrt(2.0 / n))) + 1
    fine = np.geomspace(low, high, min(max(steps, 50), 2000))
    fine[[0, -1]] = low, high
    return np.unique(np.concatenate([coarse, fine]))


def _minimum(run: Run, factors: Array, values: Array, n: int) -> tuple[float, float, bool]:
    """Where beta <U> = n/2, the error of its logarithm, and whether it lies inside the range."""
    from scipy.optimize import brentq

    k = int(np.argmin(values))
    if k in (0, len(factors) - 1):
        return float(factors[k]), math.inf, False

    def at(log_f: float) -> Tempered:
        return tempered(run, np.array([math.exp(-log_f)]))[0]

    def slope(log_f: float) -> float:
        point = at(log_f)
        return 0.5 * n - point.beta * point.mean_energy

    low, high = math.log(factors[k - 1]), math.log(factors[k + 1])
    if slope(low) >= 0.0 or slope(high) <= 0.0:     # noise of the run between two grid points
        root = math.log(factors[k])
    else:
        root = float(brentq(slope, low, high, xtol=1e-8))
    point = at(root)
    curvature = point.beta * point.mean_energy - point.heat_capacity
    error = point.beta * point.mean_energy_error / curvature if curvature > 0.0 else math.inf
    return math.exp(root), error, True


def _trapezoid(t: Array) -> Array:
    weight = np.zeros(len(t))
    weight[1:] += 0.5 * np.diff(t)
    weight[:-1] += 0.5 * np.diff(t)
    return weight


def _credible(factors: Array, values: Array, probability: float) -> tuple[float, float]:
    t, density = np.log(factors), np.exp(values.min() - values)
    mass = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(t))])
    mass /= mass[-1]
    tail = 0.5 * (1.0 - probability)
    low, high = np.exp(np.interp([tail, 1.0 - tail], mass, t))
    return float(low), float(high)


@dataclass(frozen=True)
class NoiseChoice:
    """Models compared with the noise summed over; printing it gives the table.

    Every mapping has the labels that `choose_with_noise` was given.
    """

    curves: Mapping[Hashable, NoiseCurve]
    probability: Mapping[Hashable, float]         # p(model | data), noise log-uniform
    probability_error: Mapping[Hashable, float]
    best: Any                                     # model of the least F over model and noise

    def __str__(self) -> str:
        lines = [f"{'model':>8}  {'noise of least F':>16}  {'least F (nats)':>20}  "
                 f"{'F, noise summed':>20}  {'p(model | data)':>17}"]
        for label, c in self.curves.items():
            unit = 1.0 if c.variance is None else float(c.variance[0] / c.factor[0])
            lines.append(
                f"{label!s:>8}  {unit * c.best:>16.5g}  {c.least:>11.3f} +- {c.least_error:.3f}  "
                f"{c.summed:>11.3f} +- {c.summed_error:.3f}  "
                f"{self.probability[label]:.3f} +- {self.probability_error[label]:.3f}")
        return "\n".join(lines)


def choose_with_noise(runs: Mapping[Any, Run], lowest: float = 1.0,
                      highest: float | None = None) -> NoiseChoice:
    """Compare models while the noise level is unknown: p(K) summed over ln s^2.

    Parameters
    ----------
    runs : mapping from label to Run
        Of the same data with the same sigma, the least noise thought possible.
    lowest, highest : float
        Range of the factor of the noise variance, the same for all models; up to what every
        ladder reaches if not given.

    Returns
    -------
    NoiseChoice

    Raises
    ------
    InputError
        As `free_energy_of_noise`; and if there is no run, or their data differ.

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> x = np.linspace(0, 1, 20)
    >>> data = Data(x, x + 0.1 * np.sin(40 * x), noise=0.02)
    >>> models = {"flat": 0.0, "line": (-10, 10)}
    >>> runs = {name: sample(Posterior(Model.single(shapes.linear, offset=(-1, 1), slope=slope),
    ...                                data), sweeps=1000, seed=1)
    ...         for name, slope in models.items()}
    >>> choose_with_noise(runs, 1.0, 200.0).best
    'line'
    """
    if not runs:
        raise InputError("runs", "none", "at least one run")
    for run in runs.values():
        _refuse(run)
    first = next(iter(runs.values())).posterior.blocks
    for label, run in runs.items():
        blocks = run.posterior.blocks
        if len(blocks) != len(first) or any(
                not np.array_equal(getattr(a.data, field), getattr(b.data, field))
                for a, b in zip(blocks, first, strict=True) for field in ("x", "y", "deviation")):
            raise InputError(f"runs[{label!r}]", "other data or another sigma",
                             "runs of the same data with the same sigma")
    if highest is None:
        highest = min(1.0 / float(run.betas[1]) for run in runs.values())
    curves = {label: free_energy_of_noise(run, lowest, highest) for label, run in runs.items()}
    p, error = probabilities(np.array([c.summed for c in curves.values()]),
                             np.array([c.summed_error for c in curves.values()]))
    return NoiseChoice(curves, dict(zip(curves, map(float, p), strict=True)),
                       dict(zip(curves, map(float, error), strict=True)),
                       min(curves, key=lambda label: curves[label].least))
