"""Choosing between models: F with its error, p(model | data), and what the data leave open.

``best`` is the model with the fewest parameters among those within 1 nat of the lowest F, then
the one of lowest F: a surplus component costs little once the data are described, so the bare
minimum is no rule.  "Not excluded" means p >= 0.05 under equal prior probability, error included.
No winner is called certain where the data give none.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.data import POISSON
from sampler.diagnostics import diagnose
from sampler.errors import InputError
from sampler.evidence import FreeEnergy, free_energy
from sampler.exchange import Run

Array = NDArray[np.float64]
SIGNIFICANT = 1e-3  # each test of the absolute fit


@dataclass(frozen=True)
class Fit:
    """Does the model describe the data at all?  Three p-values; small means no."""

    chi_square: float  # posterior predictive, of the sum of squared residuals
    runs: float        # too few runs of equal sign, residuals ordered by x
    lag: float         # positive correlation of neighbouring residuals

    @property
    def failures(self) -> tuple[str, ...]:
        """The tests below 0.001, in words."""
        words = (("residuals too large", self.chi_square), ("residuals of equal sign in runs",
                 self.runs), ("neighbouring residuals correlated", self.lag))
        return tuple(f"{text} (p = {p:.1g})" for text, p in words if p < SIGNIFICANT)


@dataclass(frozen=True)
class Row:
    """One model of a choice."""

    label: Hashable
    parameters: int
    free_energy: FreeEnergy
    probability: float        # p(model | data), equal prior probability
    probability_error: float
    trusted: bool
    problems: tuple[str, ...]
    fit: Fit


@dataclass(frozen=True)
class Choice:
    """The verdict over several models of the same data."""

    rows: tuple[Row, ...]
    best: Any                     # label of K*
    not_excluded: tuple[Any, ...]
    doubtful: tuple[Any, ...]     # untrusted runs that the answer rests on
    misfits: bool                 # no model that is not excluded describes the data

    @property
    def certain(self) -> bool:
        """True if every run that the answer rests on is trusted."""
        return not self.doubtful

    def __getitem__(self, label: Any) -> Row:
        for row in self.rows:
            if row.label == label:
                return row
        raise KeyError(label)

    def __str__(self) -> str:
        return "\n".join([*_verdict(self), "", *_table(self), *_notes(self)])


def choose(runs: Mapping[Any, Run], *, within: float = 1.0, excluded: float = 0.05,
           relevant: float = 5.0, **limits: Any) -> Choice:
    """Compare models of the same data by their free energies.

    Parameters
    ----------
    runs : mapping from label (K, or a name) to Run
    within : float
        ``best`` has the fewest parameters among models with F within this of the lowest (nats).
    excluded : float
        A model is excluded when its probability, error included, is below this.
    relevant : float
        An untrusted run counts against the answer unless its F is more than this plus three
        errors above the lowest.
    **limits
        Limits of `sampler.diagnose`.

    Returns
    -------
    Choice

    Raises
    ------
    InputError
        If there is no run, or the runs are of different data.
    """
    if not runs:
        raise InputError("runs", "none", "at least one run")
    _same_data(runs)
    found = [free_energy(run) for run in runs.values()]
    diagnoses = [diagnose(run, **limits) for run in runs.values()]
    F, error = np.array([f.value for f in found]), np.array([f.error for f in found])
    p, p_error = probabilities(F, error)
    rows = tuple(
        Row(label, run.posterior.dimension, f, float(p[i]), float(p_error[i]),
            diagnoses[i].trusted, diagnoses[i].problems, absolute_fit(run))
        for i, ((label, run), f) in enumerate(zip(runs.items(), found, strict=True)))
    near = [i for i in range(len(rows)) if F[i] <= F.min() + within]
    best = min(near, key=lambda i: (rows[i].parameters, F[i]))
    lowest = int(np.argmin(F))
    rests_on = F <= F.min() + relevant + 3.0 * np.hypot(error, error[lowest])
    open_rows = [row for row in rows if row.probability + 1.96 * row.probability_error >= excluded]
    return Choice(
        rows, rows[best].label, tuple(row.label for row in open_rows),
        tuple(row.label for i, row in enumerate(rows) if not row.trusted and rests_on[i]),
        all(row.fit.failures for row in open_rows))


def probabilities(F: Array, error: Array) -> tuple[Array, Array]:
    """p(model | data) for equal prior probability, and its error to first order.

    Examples
    --------
    >>> p, e = probabilities(np.array([0.0, 0.0]), np.array([0.1, 0.1]))
    >>> p.tolist(), e.round(4).tolist()
    ([0.5, 0.5], [0.0354, 0.0354])
    """
    weight = np.exp(-(F - F.min()))
    p = weight / weight.sum()
    every = float(np.sum((p * error) ** 2))
    variance = p**2 * ((1.0 - 2.0 * p) * error**2 + every)
    return p, np.sqrt(np.maximum(variance, 0.0))


def absolute_fit(run: Run) -> Fit:
    """Test whether the model describes the data, not only whether it beats others.

    Posterior predictive p-value of the sum of squares, runs test and lag-1 correlation of the
    residuals of the posterior mean curve, ordered by x.  A joint posterior counts its worst
    data set.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Fit
    """
    flat = run.draws.reshape(-1, run.posterior.dimension)
    theta = flat[:: max(1, len(flat) // 400)]
    fits = [_block_fit(run, theta, b) for b in range(len(run.posterior.blocks))]
    return Fit(min(f.chi_square for f in fits), min(f.runs for f in fits),
               min(f.lag for f in fits))


def _block_fit(run: Run, theta: Array, b: int) -> Fit:
    from scipy.special import gammaincc

    data = run.posterior.blocks[b].data
    mu = run.posterior.predict(theta, block=b)
    if data.law == POISSON:
        scale = np.sqrt(np.maximum(mu, 1e-300))
        replica = np.random.default_rng(0).poisson(np.minimum(np.maximum(mu, 0.0), 1e15))
        seen = (((data.y - mu) / scale) ** 2).sum(axis=1)
        p = float(np.mean((((replica - mu) / scale) ** 2).sum(axis=1) >= seen))
    else:
        scale = np.broadcast_to(data.deviation, mu.shape)
        if data.noise_prior is not None:
            scale = scale * run.posterior.values(theta)[data.noise_name]
        # Under the model the sum of squares is chi-square with n degrees, exactly.
        p = float(np.mean(gammaincc(0.5 * data.size,
                                    0.5 * (((data.y - mu) / scale) ** 2).sum(axis=1))))
    order = np.argsort(data.x, kind="stable")
    residual = ((data.y - mu.mean(axis=0)) / scale.mean(axis=0))[order]
    return Fit(p, _too_few_runs(residual), _correlated(residual))


def _too_few_runs(residual: Array) -> float:
    """P(runs <= seen) given the numbers of plus and minus signs (Wald and Wolfowitz 1940)."""
    signs = residual > 0.0
    plus, minus = int(signs.sum()), int((~signs).sum())
    if plus == 0 or minus == 0:
        return float(min(1.0, 2.0 ** (1 - len(signs))))
    seen = 1 + int(np.count_nonzero(signs[1:] != signs[:-1]))
    total = _log_choose(plus + minus, plus)
    p = 0.0
    for runs in range(2, seen + 1):
        k = runs // 2
        if runs % 2 == 0:
            ways = math.log(2.0) + _log_choose(plus - 1, k - 1) + _log_choose(minus - 1, k - 1)
        else:
            a = _log_choose(plus - 1, k) + _log_choose(minus - 1, k - 1)
            c = _log_choose(plus - 1, k - 1) + _log_choose(minus - 1, k)
            ways = float(np.logaddexp(a, c))
        p += math.exp(ways - total)
    return min(p, 1.0)


def _log_choose(n: int, k: int) -> float:
    if not 0 <= k <= n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _correlated(residual: Array) -> float:
    """P(lag-1 correlation >= seen) if the order of the residuals meant nothing."""
    centred = residual - residual.mean()
    power = float(np.sum(centred**2))
    n = len(centred)
    if n < 3 or power == 0.0:
        return 1.0
    seen = float(np.sum(centred[1:] * centred[:-1])) / power
    if n > 60:
        return 0.5 * math.erfc((seen + 1.0 / n) * math.sqrt(0.5 * n))
    shuffled = np.random.default_rng(0).permuted(np.tile(centred, (20_000, 1)), axis=1)
    lags = np.sum(shuffled[:, 1:] * shuffled[:, :-1], axis=1) / power
    return float((1 + np.count_nonzero(lags >= seen)) / (len(lags) + 1))


def _same_data(runs: Mapping[Any, Run]) -> None:
    (first, reference), *others = runs.items()
    for label, run in others:
        one, two = reference.posterior.blocks, run.posterior.blocks
        same = len(one) == len(two) and all(
            np.array_equal(a.data.x, b.data.x) and np.array_equal(a.data.y, b.data.y)
            and (a.data.law == POISSON) == (b.data.law == POISSON)
            for a, b in zip(one, two, strict=True))
        if not same:
            raise InputError("runs", f"{_name(first)} and {_name(label)} of different data",
                             "runs of the same data", "evidences of different data do not compare")


def _name(label: Any) -> str:
    return f"K={label}" if isinstance(label, int) else str(label)


def _verdict(choice: Choice) -> list[str]:
    lines = []
    if choice.misfits:
        why = "; ".join(choice[choice.best].fit.failures)
        lines.append(f"None of these models describes the data ({why}); "
                     "p below is conditional on that.")
    others = [_name(label) for label in choice.not_excluded if label != choice.best]
    verdict = f"{_name(choice.best)} favoured"
    verdict += f", {', '.join(others)} not excluded" if others else ", all others excluded"
    lines.append(verdict + ".")
    if choice.doubtful:
        names = ", ".join(_name(label) for label in choice.doubtful)
        lines.append(f"NOT CERTAIN: the answer rests on runs that cannot be trusted ({names}).")
    return lines


def _table(choice: Choice) -> list[str]:
    width = max(5, *(len(_name(row.label)) for row in choice.rows))
    lines = [f"{'model':<{width}}  parameters  {'F (nats)':>20}  {'p(model | data)':>17}"]
    for row in choice.rows:
        f = row.free_energy
        value = f"{f.value:.2f} +- {f.error:.2f}" if f.freedom else f"{f.value:.2f} (exact)"
        p = f"{row.probability:.3f} +- {row.probability_error:.3f}"
        mark = "" if row.trusted else "  not trusted"
        mark += "  misfit" if row.fit.failures else ""
        lines.append(f"{_name(row.label):<{width}}  {row.parameters:>10}  {value:>20}  "
                     f"{p:>17}{mark}")
    return lines


def _notes(choice: Choice) -> list[str]:
    return [f"{_name(row.label)}: {problem}" for row in choice.rows for problem in row.problems]
