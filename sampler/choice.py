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

from sampler.data import POISSON, Data
from sampler.diagnostics import diagnose
from sampler.errors import InputError
from sampler.evidence import FreeEnergy, free_energy
from sampler.exchange import Run

Array = NDArray[np.float64]
SIGNIFICANT = 1e-3    # each test of the absolute fit
UNKNOWN = 1e3         # nats; stands for an error that a run could not tell
REPEATS = 10_000      # repeated measurements simulated, or orders shuffled, for a p-value


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
    """The verdict over several models of the same data; printing it gives the table.

    ``choice[label]`` is the `Row` of one model: its free energy, probability and doubts.
    """

    rows: tuple[Row, ...]
    best: Any                     # label of K*
    not_excluded: tuple[Any, ...]
    doubtful: tuple[Any, ...]     # untrusted runs that the answer rests on
    misfits: bool                 # no model that is not excluded describes the data
    within: float = 1.0           # the two rules, as in `choose`
    excluded: float = 0.05

    @property
    def certain(self) -> bool:
        """True if every run that the answer rests on is trusted."""
        return not self.doubtful

    def __getitem__(self, label: Any) -> Row:
        for row in self.rows:
            if row.label == label:
                return row
        raise KeyError(label)

    @property
    def verdict(self) -> str:
        """The answer in words."""
        return "\n".join(_verdict(self))

    @property
    def table(self) -> str:
        """One line for each model, the two rules, and what to doubt."""
        return "\n".join([*_table(self), *_rules(self), *_notes(self)])

    def __str__(self) -> str:
        return f"{self.verdict}\n\n{self.table}"


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

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> data = Data([0, 1, 2, 3], [0.1, 0.9, 2.2, 2.8], noise=0.3)
    >>> flat = Model.single(shapes.linear, offset=(-5, 5), slope=0.0)
    >>> line = Model.single(shapes.linear, offset=(-5, 5), slope=(-5, 5))
    >>> choose({name: sample(Posterior(model, data), sweeps=2000, seed=1)
    ...         for name, model in (("flat", flat), ("line", line))}).best
    'line'
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
    possible = highest_probabilities(F, error)
    open_rows = [row for i, row in enumerate(rows)
                 if possible[i] >= excluded or i in (best, lowest)]
    return Choice(
        rows, rows[best].label, tuple(row.label for row in open_rows),
        tuple(row.label for i, row in enumerate(rows) if not row.trusted and rests_on[i]),
        all(row.fit.failures for row in open_rows), within, excluded)


def probabilities(F: Array, error: Array) -> tuple[Array, Array]:
    """p(model | data) for equal prior probability, and its error to first order.

    Examples
    --------
    >>> p, e = probabilities(np.array([0.0, 0.0]), np.array([0.1, 0.1]))
    >>> p.tolist(), e.round(4).tolist()
    ([0.5, 0.5], [0.0354, 0.0354])
    """
    p = _shares(F)
    error = np.where(p > 0.0, np.minimum(error, UNKNOWN), 0.0)
    every = float(np.sum((p * error) ** 2))
    variance = p**2 * ((1.0 - 2.0 * p) * error**2 + every)
    return p, np.minimum(np.sqrt(np.maximum(variance, 0.0)), 1.0)


def highest_probabilities(F: Array, error: Array, errors: float = 1.96) -> Array:
    """The largest p(model | data) within so many errors, by the error of its log odds.

    F enters p exponentially, so that an error bar of p itself would be too short upwards.

    Examples
    --------
    >>> F, error = np.array([0.0, 4.0]), np.array([0.0, 1.0])
    >>> p, e = probabilities(F, error)
    >>> round(float(p[1] + 1.96 * e[1]), 3), highest_probabilities(F, error).round(3).tolist()
    (0.053, [0.997, 0.115])
    """
    p = _shares(F)
    error = np.where(p > 0.0, np.minimum(error, UNKNOWN), 0.0)
    apart = 1.0 - np.eye(len(p))
    others = np.maximum(apart @ p, 1e-100)
    rest = apart @ (p * error) ** 2 / others**2
    odds = np.log(np.maximum(p, 1e-300)) - np.log(others) + errors * np.sqrt(error**2 + rest)
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -700.0, 700.0))))


def _shares(F: Array) -> Array:
    weight = np.exp(F.min() - F) if np.isfinite(F).any() else np.ones_like(F)
    return np.asarray(weight / weight.sum())


def absolute_fit(run: Run) -> Fit:
    """Test whether the model describes the data, not only whether it beats others.

    Posterior predictive p-value of the sum of squares, runs test and lag-1 correlation of the
    residuals of the posterior mean curve, ordered by x; under Student's noise all three are of the
    residuals' normal scores.  Of a joint posterior the worst data set
    counts, its p-value multiplied by the number of data sets.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Fit

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> constant = Model.single(shapes.linear, offset=(-5, 5), slope=0.0)
    >>> data = Data([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], noise=0.1)
    >>> absolute_fit(sample(Posterior(constant, data), sweeps=2000, seed=1)).failures[0]
    'residuals too large (p = 5e-107)'
    """
    theta = run.draws.reshape(math.prod(run.draws.shape[:2]), run.posterior.dimension)
    theta = theta[:: max(1, len(theta) // 400)]
    fits = [_block_fit(run, theta, b) for b in range(len(run.posterior.blocks))]
    return Fit(*(min(1.0, len(fits) * min(p)) for p in zip(
        *((f.chi_square, f.runs, f.lag) for f in fits), strict=True)))


def _block_fit(run: Run, theta: Array, b: int) -> Fit:
    data = run.posterior.blocks[b].data
    order = np.argsort(data.x, kind="stable")
    mu, y = run.posterior.predict(theta, block=b)[:, order], data.y[order]
    if data.law == POISSON:
        return _poisson_fit(mu, y)
    scale = np.broadcast_to(data.deviation[order], mu.shape)
    if data.noise_prior is not None:
        scale = scale * run.posterior.values(theta)[data.noise_name]
    from scipy.special import gammaincc

    # Under the model the sum of squares is chi-square with n degrees, exactly.
    power = (_normal_scores((y - mu) / scale, data) ** 2).sum(axis=1)
    residual = _normal_scores((y - mu.mean(axis=0)) / scale.mean(axis=0), data)
    return Fit(float(np.mean(gammaincc(0.5 * data.size, 0.5 * power))),
               _too_few_runs(residual), _correlated(residual))


def _normal_scores(z: Array, data: Data) -> Array:
    """Residuals in units of their scale as they are under normal noise; under Student's those
    normal numbers that are exceeded as rarely."""
    if data.tails is None:
        return z
    from scipy.special import ndtri, stdtr

    return np.asarray(np.copysign(ndtri(np.maximum(stdtr(data.tails, -np.abs(z)), 1e-300)), z))


def _poisson_fit(mu: Array, y: Array) -> Fit:
    """All three tests against simulated counts: small counts are skew, and where nothing is
    expected every residual is negative, so that the laws of Gaussian residuals do not hold."""
    generator = np.random.default_rng(0)
    more = np.zeros(3)
    mean = np.maximum(mu.mean(axis=0), 1e-300)
    repeats = int(np.clip(20_000_000 // y.size, 2_000, REPEATS))
    for share in np.array_split(np.arange(repeats), math.ceil(repeats * y.size / 1_000_000)):
        curve = np.maximum(mu[share % len(mu)], 1e-300)
        again = generator.poisson(np.minimum(curve, 1e15))
        around = generator.poisson(np.minimum(np.broadcast_to(mean, curve.shape), 1e15))
        power = [((v - curve) ** 2 / curve).sum(axis=1) for v in (y, again)]
        runs, lag = zip(*(_order_numbers((v - mean) / np.sqrt(mean)) for v in (y, around)),
                        strict=True)
        more += [np.count_nonzero(power[1] >= power[0]), np.count_nonzero(runs[1] <= runs[0]),
                 np.count_nonzero(lag[1] >= lag[0])]
    return Fit(*((1.0 + more) / (1.0 + repeats)))


def _order_numbers(residual: Array) -> tuple[Array, Array]:
    """Number of runs of equal sign, and lag-1 correlation, of residuals (..., points)."""
    signs = residual > 0.0
    runs = 1 + np.count_nonzero(signs[..., 1:] != signs[..., :-1], axis=-1)
    centred = residual - residual.mean(axis=-1, keepdims=True)
    power = np.maximum((centred**2).sum(axis=-1), 1e-300)
    return np.asarray(runs), np.asarray((centred[..., 1:] * centred[..., :-1]).sum(axis=-1) / power)


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
    n = len(residual)
    centred = residual - residual.mean()
    power = float(np.sum(centred**2))
    if n < 3 or power == 0.0:
        return 1.0
    seen = float(np.sum(centred[1:] * centred[:-1])) / power
    if n > 60:
        return 0.5 * math.erfc((seen + 1.0 / n) * math.sqrt(0.5 * n))
    shuffled = np.random.default_rng(0).permuted(np.tile(centred, (REPEATS, 1)), axis=1)
    lags = np.sum(shuffled[:, 1:] * shuffled[:, :-1], axis=1) / power
    # Equal orders must count as equal in spite of rounding.
    return float((1 + np.count_nonzero(lags >= seen - 1e-12)) / (len(lags) + 1))


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
                     "p below is conditional on that. Try another shape, a background, more "
                     "components, a larger noise, or for outliers heavier tails (--tails 4).")
    others = [_name(label) for label in choice.not_excluded if label != choice.best]
    verdict = f"{_name(choice.best)} favoured"
    if others:
        verdict += f", {', '.join(others)} not excluded"
    elif len(choice.rows) > 1:
        verdict += ", all others excluded"
    else:
        verdict += ": the only model given"
    lines.append(verdict + ".")
    if choice.doubtful:
        names = ", ".join(_name(label) for label in choice.doubtful)
        lines.append(f"NOT CERTAIN: the answer rests on runs that cannot be trusted ({names}).")
    return lines


def _table(choice: Choice) -> list[str]:
    width = max(5, *(len(_name(row.label)) for row in choice.rows))
    lines = [f"{'model':<{width}}  parameters  {'F (nats)':>20}  {'by the ladder (BAR)':>20}  "
             f"{'without constant':>16}  {'p(model | data)':>17}"]
    for row in choice.rows:
        f = row.free_energy
        value = _with_error(f.value, f.error) if f.freedom else f"{f.value:.2f} (exact)"
        ladder = _with_error(f.bar, f.bar_error) if f.freedom else ""
        p = f"{row.probability:.3f} +- {row.probability_error:.3f}"
        mark = "" if row.trusted else "  not trusted"
        mark += "  misfit" if row.fit.failures else ""
        lines.append(f"{_name(row.label):<{width}}  {row.parameters:>10}  {value:>20}  "
                     f"{ladder:>20}  {f.reduced:>16.2f}  {p:>17}{mark}")
    return lines


def _with_error(value: float, error: float) -> str:
    """Two digits of the error, and at least two decimals."""
    if not 0.0 < error < math.inf:
        return f"{value:.2f} +- {error:.2f}"
    digits = min(max(2, 1 - math.floor(math.log10(error))), 5)
    return f"{value:.{digits}f} +- {error:.{digits}f}"


def _rules(choice: Choice) -> list[str]:
    """Two rules, not one: the favoured model need not be the most probable."""
    if len(choice.rows) < 2:
        return []
    return [f"favoured: the fewest parameters within {choice.within:g} nat of the lowest F; not "
            f"excluded: p >= {choice.excluded:g}, error included"]


def _notes(choice: Choice) -> list[str]:
    return [f"{_name(row.label)}: {problem}" for row in choice.rows for problem in row.problems]
