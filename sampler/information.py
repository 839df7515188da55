"""Information criteria from one run: WAIC, LOO, WBIC, AIC, BIC, each with the error of the run.

All are sums over the data in nats, of the size of a free energy (multiply by two for the deviance
scale), the noise's constant included.  F, BIC and WBIC ask which model made these data; AIC, WAIC
and LOO which one predicts the next best: they may differ, and both be right.

WAIC: Watanabe, JMLR 11 (2010) 3571; WBIC, <U> at beta = 1/ln n: Watanabe, JMLR 14 (2013) 867;
LOO by Pareto-smoothed importance sampling: Vehtari, Gelman and Gabry, Stat. Comput. 27 (2017)
1413, with the tail fitted as Zhang and Stephens, Technometrics 51 (2009) 316; Bayes specific heat
beta**2 Var U at beta = 1: half the number of parameters where all of them are regular.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.data import POISSON
from sampler.errors import InputError
from sampler.evidence import FreeEnergy, free_energy
from sampler.exchange import Run
from sampler.posterior import Posterior
from sampler.priors import Bernoulli, support
from sampler.reweighting import standard_error, tempered

Array = NDArray[np.float64]
DRAWS = 8000          # draws at which the likelihood of every point is computed
LARGEST = 20_000_000  # most draws times points held at once
ALIKE = 0.01          # range of the tail of ln weights below which smoothing could change nothing
UNSAFE = 0.7          # Pareto k above which the importance weights of a point are not believed


@dataclass(frozen=True, eq=False)
class Criteria:
    """The criteria of one model (nats); ``_error`` is the Monte Carlo error of the run.

    AIC and BIC rest on the largest likelihood, which has no error bar: surplus components have many
    valleys, and it is the lowest of those that two dozen draws of the run lead to; a spike on a few
    points that no draw has seen is missed.
    Where the run itself does not know a number (no ladder for WBIC) it is nan.
    """

    free_energy: FreeEnergy
    least: float           # -ln of the largest likelihood that the run's valleys lead to
    aic: float             # least + d
    bic: float             # least + (d/2) ln n
    waic: float            # -lppd + p_waic
    waic_error: float
    p_waic: float          # summed posterior variance of the log likelihood of each point
    loo: float             # -sum of ln p(y_i | the other data)
    loo_error: float
    pareto: Array          # (points,) tail index k of the weights of each point
    wbic: float            # <U> at beta = 1/ln n, with the noise's constant
    wbic_error: float
    specific_heat: float   # Var U at beta = 1
    specific_heat_error: float

    @property
    def unsafe(self) -> int:
        """Number of points whose leave-one-out weights are not to be believed (k > 0.7)."""
        return int(np.count_nonzero(self.pareto > UNSAFE))


def criteria(run: Run) -> Criteria:
    """Every information criterion of a run, with its Monte Carlo error.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Criteria

    Raises
    ------
    InputError
        For a model without free parameters, a run without a ladder, or one with amplitudes
        integrated out.

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> line = Model.single(shapes.linear, offset=(-1, 1), slope=(-10, 10))
    >>> x = [0.1 * i for i in range(21)]
    >>> data = Data(x, [0.1 + 1.1 * v for v in x], noise=0.5)
    >>> found = criteria(sample(Posterior(line, data), sweeps=1000, seed=1))
    >>> found.unsafe, abs(found.loo - found.waic) < 1.0
    (0, True)
    """
    posterior = run.posterior
    if not posterior.dimension or len(run.betas) < 2:
        raise InputError("run", "no free parameters or no ladder", "a run with a ladder")
    if run.integrated:
        raise InputError("run", f"{', '.join(run.integrated)} integrated out of U",
                         "a run that tempers the likelihood itself: WBIC and Var U are of it",
                         "sample without integrate_out")
    step = max(1, math.ceil(run.chains * run.sweeps / DRAWS))
    draws = run.draws[:, run.sweeps % step::step]
    sums = _over_points(posterior, draws)
    wbic, wbic_error = _wbic(run)
    (cold,) = tempered(run, np.ones(1))
    least = _least(run) + posterior.constant
    d, n = posterior.dimension, posterior.size
    return Criteria(
        free_energy(run), least, least + d, least + 0.5 * d * math.log(n),
        sums.p_waic - sums.lppd, standard_error(sums.of_waic), sums.p_waic,
        sums.loo, standard_error(sums.of_loo), sums.pareto, wbic, wbic_error,
        cold.heat_capacity, cold.heat_capacity_error)


def _wbic(run: Run) -> tuple[float, float]:
    """<U> at beta = 1/ln n; not defined below three points, nor below the second rung."""
    n = run.posterior.size
    if n < 3 or 1.0 / math.log(n) < run.betas[1]:
        return math.nan, math.nan
    (warm,) = tempered(run, np.array([1.0 / math.log(n)]))
    return warm.mean_energy + run.posterior.constant, warm.mean_energy_error


# ---- point by point -----------------------------------------------------------------------------


def log_likelihoods(posterior: Posterior, theta: Array, block: int = 0) -> Array:
    """ln p(y_i | theta) of every point of one data set, constants included.

    Parameters
    ----------
    posterior : Posterior
    theta : array (..., parameters)
    block : int
        Which data set of a joint posterior.

    Returns
    -------
    array (..., points)

    Examples
    --------
    >>> from sampler import Data, Model, shapes
    >>> level = Model.single(shapes.constant, offset=(-1, 1))
    >>> p = Posterior(level, Data([0, 1], [0.1, 0.2], noise=0.5))
    >>> theta = np.array([0.3])
    >>> bool(np.isclose(-log_likelihoods(p, theta).sum(), p.energy(theta) + p.constant))
    True
    """
    data, mu = posterior.blocks[block].data, posterior.predict(theta, block=block)
    if data.law == POISSON:
        from scipy.special import gammaln, xlogy

        return np.asarray(xlogy(data.y, mu) - mu - gammaln(data.y + 1.0))
    scale = np.broadcast_to(data.deviation, mu.shape)
    if data.noise_prior is not None:
        scale = scale * posterior.values(theta)[data.noise_name]
    square = ((data.y - mu) / scale) ** 2
    if data.tails is None:
        return np.asarray(-0.5 * square - np.log(scale) - data.log_norm)
    return np.asarray(-0.5 * (data.tails + 1.0) * np.log1p(square / data.tails) - np.log(scale)
                      - data.log_norm)


@dataclass(eq=False)
class _Sums:
    lppd: float
    p_waic: float
    loo: float
    of_waic: Array    # (chains, draws) influence
    of_loo: Array
    pareto: Array


def _over_points(posterior: Posterior, draws: Array) -> _Sums:
    shape = draws.shape[:2]
    theta = draws.reshape(-1, draws.shape[2])
    out = _Sums(0.0, 0.0, 0.0, np.zeros(len(theta)), np.zeros(len(theta)), np.zeros(0))
    tails: list[float] = []
    for b in range(len(posterior.blocks)):
        # The curves of all draws at once where they fit; otherwise in shares of the draws.
        shares = math.ceil(len(theta) * posterior.blocks[b].data.size / LARGEST)
        log_p = np.concatenate([log_likelihoods(posterior, t, b)
                                for t in np.array_split(theta, shares)])
        for column in log_p.T:
            _add_point(out, column, tails)
    out.of_waic, out.of_loo = (s.reshape(shape) - s.mean() for s in (out.of_waic, out.of_loo))
    out.pareto = np.array(tails)
    return out


def _add_point(out: _Sums, log_p: Array, tails: list[float]) -> None:
    top = float(log_p.max())
    likelihood = np.exp(log_p - top)
    mean = float(likelihood.mean())
    away = log_p - log_p.mean()
    variance = float(np.sum(away**2)) / (len(away) - 1)
    out.lppd += top + math.log(mean)
    out.p_waic += variance
    out.of_waic += away**2 - variance - (likelihood / mean - 1.0)
    log_weight, k = smoothed(-log_p)
    weight = np.exp(log_weight - log_weight.max())
    joint = weight * likelihood
    out.loo -= math.log(float(joint.sum()) / float(weight.sum())) + top
    out.of_loo -= joint / joint.mean() - weight / weight.mean()
    tails.append(k)


def smoothed(log_ratios: Array) -> tuple[Array, float]:
    """Importance weights with their largest ones replaced by quantiles of a fitted Pareto law.

    Parameters
    ----------
    log_ratios : array (draws,)

    Returns
    -------
    log_weights, k
        And the tail index: above 0.7 the weights are not to be believed.

    Examples
    --------
    >>> g = np.random.default_rng(0)
    >>> log_w, k = smoothed(0.4 * g.exponential(size=20_000))    # Pareto of k = 0.4
    >>> 0.3 < k < 0.5
    True
    """
    n = len(log_ratios)
    tail = math.ceil(min(0.2 * n, 3.0 * math.sqrt(n)))
    log_w = log_ratios - log_ratios.max()
    if tail < 5:
        return log_w, math.inf
    order = np.argsort(log_w, kind="stable")
    cut = float(log_w[order[-tail - 1]])
    # Draws repeat, so that weights equal to the cut are no part of the tail.
    above = order[-tail:][log_w[order[-tail:]] > cut]
    tail = len(above)
    if tail < 5 or log_w[above[-1]] - cut < ALIKE:
        return log_w, 0.0
    excess = math.exp(cut) * np.expm1(log_w[above] - cut)
    k, scale = _pareto(excess)
    if k != 0.0:
        place = (np.arange(tail) + 0.5) / tail
        quantile = scale * np.expm1(-k * np.log1p(-place)) / k
        log_w = log_w.copy()
        log_w[above] = np.minimum(np.log(quantile + math.exp(cut)), 0.0)
    return log_w, k


def _pareto(excess: Array) -> tuple[float, float]:
    """Index and scale of a generalised Pareto law from sorted excesses (Zhang and Stephens), the
    index drawn towards 1/2 by ten observations' weight (Vehtari et al.)."""
    n = len(excess)
    grid = 30 + int(math.sqrt(n))
    j = np.arange(1, grid + 1)
    quartile = excess[int(n / 4 + 0.5) - 1]
    b = 1.0 / excess[-1] + (1.0 - np.sqrt(grid / (j - 0.5))) / (3.0 * quartile)
    k = np.log1p(-b[:, None] * excess).mean(axis=1)
    profile = n * (np.log(-b / k) - k - 1.0)
    weight = np.exp(profile - profile.max())
    mean = float(np.sum(b * weight) / weight.sum())
    index = float(np.log1p(-mean * excess).mean())
    return (n * index + 5.0) / (n + 10.0), -index / mean


# ---- the largest likelihood ---------------------------------------------------------------------


def _least(run: Run, starts: int = 24) -> float:
    """Least U inside the prior's bounds: least squares from the lowest draw of each of so many
    pieces of the run (the lowest of all lie in one valley, which may be a local one), then bounded
    quasi-Newton steps from the best, which see the noise law as it is."""
    posterior = run.posterior
    theta, energy = run.draws.reshape(-1, posterior.dimension), run.energy[..., -1].ravel()
    pieces = np.array_split(np.arange(len(energy)), min(starts, len(energy)))
    lowest = theta[[piece[np.argmin(energy[piece])] for piece in pieces]]
    # What takes two values only stays as it was drawn.
    moving = np.array([not isinstance(p, Bernoulli) for p in posterior.priors.values()])
    if not moving.any():
        return float(energy.min())
    valley = _Valley(posterior, moving, np.maximum(theta.std(axis=0), 1e-300))
    fitted = np.stack([valley.squares(start) for start in lowest])
    return min(float(energy.min()), valley.descent(fitted[np.argmin(posterior.energy(fitted))]))


@dataclass
class _Valley:
    """Descents of U inside the prior's bounds, in units of the posterior's widths."""

    posterior: Posterior
    moving: NDArray[np.bool_]     # (P,)
    scale: Array                  # (P,)

    def __post_init__(self) -> None:
        self.low, self.high = np.array([support(p) for p in self.posterior.priors.values()]).T

    def squares(self, start: Array) -> Array:
        """Weighted least squares, each point's noise as it is at the start (of an outlier under
        Student's law as large as it seems from there)."""
        from scipy.optimize import least_squares

        width = [self._noise(start, b) for b in range(len(self.posterior.blocks))]

        def residuals(theta: Array) -> Array:
            return np.concatenate([
                (self.posterior.predict(theta, block=b) - block.data.y) / width[b]
                for b, block in enumerate(self.posterior.blocks)], axis=-1)

        def slopes(z: Array) -> Array:
            above, below, moved = self._beside(z, start)
            with np.errstate(invalid="ignore"):     # inf - inf beside a pole: no slope to follow
                found = (residuals(above) - residuals(below)) / moved[:, None]
            return np.where(np.isfinite(found), found, 0.0).T

        scale = self.scale[self.moving]
        bounds = np.stack([self.low[self.moving], self.high[self.moving]]) / scale
        found = least_squares(lambda z: residuals(self._whole(z, start)),
                              start[self.moving] / scale, slopes, bounds, x_scale="jac",
                              max_nfev=60)
        return self._whole(found.x, start)

    def descent(self, start: Array) -> float:
        """Least U from here."""
        from scipy.optimize import minimize

        def value(z: Array) -> tuple[float, Array]:
            above, below, moved = self._beside(z, start)
            u = self.posterior.energy(np.concatenate([[self._whole(z, start)], above, below]))
            u = np.where(np.isfinite(u), u, 1e300)
            return float(u[0]), (u[1:len(z) + 1] - u[len(z) + 1:]) / moved

        scale = self.scale[self.moving]
        bounds = np.stack([self.low[self.moving], self.high[self.moving]], axis=1)
        found = minimize(value, start[self.moving] / scale, jac=True, method="L-BFGS-B",
                         bounds=bounds / scale[:, None])
        return float(found.fun)

    def _noise(self, theta: Array, b: int) -> Array:
        data = self.posterior.blocks[b].data
        if data.law == POISSON:
            mu = self.posterior.predict(theta, block=b)
            return np.sqrt(np.maximum(mu, 1e-3 * max(float(mu.max()), 1e-300)))
        scale = np.asarray(data.deviation)
        if data.noise_prior is not None:
            scale = scale * self.posterior.values(theta)[data.noise_name]
        if data.tails is None:
            return scale
        z = (data.y - self.posterior.predict(theta, block=b)) / scale
        return np.asarray(scale * np.sqrt((data.tails + z**2) / (data.tails + 1.0)))

    def _whole(self, z: Array, start: Array) -> Array:
        """All parameters where those that move are ``z`` of their units, inside the bounds."""
        theta = start.copy()
        theta[self.moving] = z * self.scale[self.moving]
        return np.clip(theta, self.low, self.high)

    def _beside(self, z: Array, start: Array) -> tuple[Array, Array, Array]:
        """The points a little above and below, and how far apart they are, in those units."""
        steps = 1e-5 * np.eye(len(z))
        above, below = (np.stack([self._whole(z + s, start) for s in sign * steps])
                        for sign in (1.0, -1.0))
        moved = np.diag((above - below)[:, self.moving]) / self.scale[self.moving]
        return above, below, np.where(moved > 0.0, moved, 1.0)


# ---- the table ----------------------------------------------------------------------------------


def criteria_table(runs: Mapping[Any, Run]) -> str:
    """One line for each model, every criterion with the error of the run (nats).

    Parameters
    ----------
    runs : mapping from label to Run
        Of the same data.

    Returns
    -------
    str

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> line = Model.single(shapes.linear, offset=(-1, 1), slope=(-10, 10))
    >>> data = Data([0, 1, 2, 3], [0.1, 0.9, 2.2, 2.7], noise=0.5)
    >>> table = criteria_table({"line": sample(Posterior(line, data), sweeps=500, seed=1)})
    >>> table.split()[:5]
    ['model', 'F', 'WBIC', 'BIC/2', 'AIC/2']
    """
    lines = [f"{'model':>8}  {'F':>18}  {'WBIC':>18}  {'BIC/2':>9}  {'AIC/2':>9}  "
             f"{'WAIC':>18}  {'p_waic':>6}  {'LOO':>18}  {'k > 0.7':>7}  {'Var U':>12}"]
    for label, run in runs.items():
        c = criteria(run)
        lines.append(
            f"{label!s:>8}  {_pm(c.free_energy.value, c.free_energy.error)}  "
            f"{_pm(c.wbic, c.wbic_error)}  {c.bic:>9.2f}  {c.aic:>9.2f}  "
            f"{_pm(c.waic, c.waic_error)}  {c.p_waic:>6.2f}  {_pm(c.loo, c.loo_error)}  "
            f"{c.unsafe:>7}  {c.specific_heat:>5.2f} +- {c.specific_heat_error:.2f}")
    return "\n".join([*lines, "all in nats, of the size of F, the noise's constant included; +- is "
                              "the standard error of the run, not of the data"])


def _pm(value: float, error: float) -> str:
    return f"{value:>10.3f} +- {error:<.3f}".rjust(18)
