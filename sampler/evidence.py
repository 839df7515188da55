"""Free energy F = -ln Z from the energies of all rungs, with an error bar that is right.

Between neighbouring rungs three estimators share the same samples:

* stepping stone, forward (colder from hotter): unbiased for Z;
* stepping stone, reverse (hotter from colder): unbiased for 1/Z;
* BAR (Bennett, J. Comput. Phys. 22 (1976) 245), the best combination of both.

The error of BAR: neighbouring pairs share draws and slow modes, so pair errors must not be added
in quadrature.  The linearised influence of each sweep is summed over all pairs *first*; the error
is the larger of the autocorrelation estimate (Geyer, Stat. Sci. 7 (1992) 473) and the spread of
eight blocks of whole sweeps.  The larger of two is a cautious error bar, so its intervals use the
law of Z / max(1, sqrt(chi2_nu / nu)) instead of a normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.errors import InputError
from sampler.exchange import Run

Array = NDArray[np.float64]
BLOCKS = 8


@dataclass(frozen=True)
class FreeEnergy:
    """F = -ln Z in nats, with its error; the constant of the noise law included.

    Examples
    --------
    >>> f = FreeEnergy(12.0, 0.1, (11.9, 12.1), (11.8, 12.2), "BAR", 12.0, 12.0, 3.0, 0.1, 0.1, 7)
    >>> f.reduced, f.log_evidence
    (9.0, -12.0)
    """

    value: float                     # F (nats)
    error: float                     # standard error of F
    interval68: tuple[float, float]  # holds the truth in 68 % of runs
    interval95: tuple[float, float]  # holds the truth in 95 % of runs
    estimator: str                   # "BAR", or "exact" for a model without free parameters
    forward: float                   # stepping stone, colder from hotter; exp(-F) unbiased
    reverse: float                   # stepping stone, hotter from colder; exp(+F) unbiased
    constant: float                  # the untempered constant in F
    within: float                    # error by autocorrelation of the summed influence
    between: float                   # error by the spread of blocks of whole sweeps
    freedom: int                     # number of blocks minus 1 (nu); 0 if exact

    @property
    def reduced(self) -> float:
        """F without the constant."""
        return self.value - self.constant

    @property
    def log_evidence(self) -> float:
        """ln Z = -F."""
        return -self.value

    @property
    def log_evidence_error(self) -> float:
        """Standard error of ln Z."""
        return self.error

    def __str__(self) -> str:
        low, high = self.interval95
        return (f"F = {self.value:.3f} +- {self.error:.3f} nats "
                f"(95 %: {low:.3f} to {high:.3f}; {self.estimator})")


@dataclass(frozen=True, eq=False)
class AlongLadder:
    """What one run says at every inverse temperature; arrays (rungs,)."""

    betas: Array
    free_energy: Array        # F~(beta), without the constant (nats)
    free_energy_error: Array
    mean_energy: Array        # <U>
    mean_energy_error: Array
    heat_capacity: Array      # beta**2 Var U (dimensionless)
    heat_capacity_error: Array


def free_energy(run: Run) -> FreeEnergy:
    """The free energy of a run, pooled over its chains.

    Parameters
    ----------
    run : Run

    Returns
    -------
    FreeEnergy

    Raises
    ------
    InputError
        For a run of one temperature, which has no free energy.

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> line = Model.single(shapes.linear, offset=(-1, 1), slope=(-10, 10))
    >>> data = Data([0, 1, 2], [0.1, 0.9, 2.2], noise=0.5)
    >>> found = free_energy(sample(Posterior(line, data), sweeps=500, burn_in=500, seed=1))
    >>> found.interval95[0] < found.value < found.interval95[1]
    True
    """
    constant = run.posterior.constant
    if run.posterior.dimension == 0:
        value = float(run.energy[0, 0, 0]) + constant
        return FreeEnergy(value, 0.0, (value, value), (value, value), "exact", value, value,
                          constant, 0.0, 0.0, 0)
    _needs_ladder(run)
    total, influence, forward, reverse = constant, 0.0, constant, constant
    for pair in _pairs(run):
        total += pair.gap
        forward += pair.forward
        reverse += pair.reverse
        influence = influence + pair.influence
    within, between, freedom = series_errors(np.asarray(influence))
    error = max(within, between)
    w68, w95 = half_width(math.erf(math.sqrt(0.5)), freedom), half_width(0.95, freedom)
    return FreeEnergy(total, error, (total - w68 * error, total + w68 * error),
                      (total - w95 * error, total + w95 * error), "BAR", forward, reverse,
                      constant, within, between, freedom)


def free_energy_along(run: Run) -> AlongLadder:
    """F~, mean energy and heat capacity at every rung, each with its error.

    Parameters
    ----------
    run : Run

    Returns
    -------
    AlongLadder
    """
    _needs_ladder(run)
    values, errors, influence = [0.0], [0.0], 0.0
    for pair in _pairs(run):
        influence = influence + pair.influence
        values.append(values[-1] + pair.gap)
        errors.append(max(series_errors(np.asarray(influence))[:2]))
    mean, mean_error, heat, heat_error = [], [], [], []
    for level, beta in enumerate(run.betas):
        u = run.energy[..., level]
        with np.errstate(invalid="ignore"):
            square = beta**2 * (u - u.mean()) ** 2
        mean.append(float(u.mean()))
        heat.append(float(square.mean()))
        mean_error.append(max(series_errors(u)[:2]))
        heat_error.append(max(series_errors(square)[:2]))
    return AlongLadder(run.betas, *(np.array(v) for v in (
        values, errors, mean, mean_error, heat, heat_error)))


def thermodynamic_integration(run: Run) -> float:
    """F by the trapezoid rule over <U>(beta): a lesson, not an estimate to report.

    Its ladder bias (several tenths of a nat on usual ladders) is larger than its statistical
    error and does not fall with more sweeps; `free_energy` has no such bias.

    Parameters
    ----------
    run : Run

    Returns
    -------
    float
        F in nats, the constant included.
    """
    _needs_ladder(run)
    mean = run.energy.reshape(-1, len(run.betas)).mean(axis=0)
    return float(np.trapezoid(mean, run.betas)) + run.posterior.constant


@dataclass(frozen=True, eq=False)
class _Pair:
    gap: float        # F~ of the colder rung minus F~ of the hotter, by BAR
    forward: float
    reverse: float
    influence: Array  # (chains, sweeps)


def _pairs(run: Run) -> list[_Pair]:
    return [_bar((run.betas[k + 1] - run.betas[k]) * run.energy[..., k],
                 (run.betas[k + 1] - run.betas[k]) * run.energy[..., k + 1])
            for k in range(len(run.betas) - 1)]


def _bar(hot: Array, cold: Array) -> _Pair:
    """Bennett's acceptance ratio for reduced works (beta' - beta) U of both rungs.

    Solves mean f(hot - gap) = mean f(gap - cold) with f(t) = 1/(1 + e**t); the left side grows
    and the right side falls with the gap, so the root is unique.  U = +inf (a prior draw outside
    the support) has weight 0.
    """
    forward = -_log_mean_exp(-hot)
    reverse = _log_mean_exp(cold)
    gap = _root(hot, cold, min(forward, reverse), max(forward, reverse))
    p_hot, p_cold = _fermi(hot - gap), _fermi(gap - cold)
    slope = float(np.mean(p_hot * (1.0 - p_hot)) + np.mean(p_cold * (1.0 - p_cold)))
    influence = (p_cold - p_hot) / slope
    return _Pair(gap, forward, reverse, influence - influence.mean())


def _root(hot: Array, cold: Array, lo: float, hi: float) -> float:
    """Newton's steps, kept inside a bracket."""
    def off(gap: float) -> float:
        return float(np.mean(_fermi(hot - gap)) - np.mean(_fermi(gap - cold)))

    step = 1.0
    while off(lo) > 0.0:
        lo, step = lo - step, 2.0 * step
    step = 1.0
    while off(hi) < 0.0:
        hi, step = hi + step, 2.0 * step
    gap = 0.5 * (lo + hi)
    for _ in range(60):
        p, q = _fermi(hot - gap), _fermi(gap - cold)
        miss = float(p.mean() - q.mean())
        lo, hi = (lo, gap) if miss > 0.0 else (gap, hi)
        slope = float(np.mean(p * (1.0 - p)) + np.mean(q * (1.0 - q)))
        newton = gap - miss / slope if slope > 0.0 else math.nan
        previous, gap = gap, newton if lo <= newton <= hi else 0.5 * (lo + hi)
        if abs(gap - previous) < 1e-11 * (1.0 + abs(gap)):
            return gap
    return gap


def _fermi(t: Array) -> Array:
    """1/(1 + e**t) without overflow; 0 at +inf."""
    return np.asarray(0.5 * (1.0 - np.tanh(0.5 * t)))


def _log_mean_exp(t: Array) -> float:
    top = float(t.max())
    return top + math.log(float(np.exp(t - top).mean()))


def _needs_ladder(run: Run) -> None:
    if len(run.betas) < 2:
        raise InputError("run", "one temperature only", "a run with a ladder",
                         "use sample, not metropolis")


# ---- errors of means --------------------------------------------------------------------------


def series_errors(series: Array) -> tuple[float, float, int]:
    """Standard error of the mean of a correlated series, two ways.

    Parameters
    ----------
    series : array (chains, sweeps)

    Returns
    -------
    within, between, freedom
        By autocorrelation (Geyer's initial monotone sequence), by the spread of blocks of whole
        sweeps (two for each of four chains), and the number of blocks minus 1.

    Examples
    --------
    >>> white = np.random.default_rng(0).normal(size=(4, 10_000))
    >>> within, between, freedom = series_errors(white)
    >>> round(within, 3), freedom
    (0.005, 7)
    """
    chains, sweeps = series.shape
    variance = float(series.var())
    per_chain = max(1, round(BLOCKS / chains))
    freedom = chains * per_chain - 1
    if sweeps < 2 * per_chain or not math.isfinite(variance):
        return math.inf, math.inf, freedom
    within = math.sqrt(variance * autocorrelation_time(series) / series.size)
    length = sweeps // per_chain
    blocks = series[:, sweeps - per_chain * length:].reshape(chains, per_chain, length)
    means = blocks.mean(axis=2).ravel()
    between = float(means.std(ddof=1)) / math.sqrt(len(means)) if freedom else 0.0
    return within, between, freedom


def autocorrelation_time(series: Array) -> float:
    """Integrated autocorrelation time in sweeps: 1 for white noise (Geyer 1992).

    Parameters
    ----------
    series : array (chains, sweeps)
        Deviations are taken from the mean over all chains, so that chains that disagree count
        as correlation.

    Returns
    -------
    float
        1 + 2 * (sum of autocorrelations), never below 1/log10 of the number of sweeps.
    """
    chains, sweeps = series.shape
    centred = series - series.mean()
    variance = float((centred**2).mean())
    if variance == 0.0:
        return 1.0
    size = 1 << (2 * sweeps - 1).bit_length()
    total = np.zeros(size // 2 + 1)
    for chain in centred:
        total += np.abs(np.fft.rfft(chain, size)) ** 2
    covariance = np.fft.irfft(total, size)[:sweeps] / (chains * np.arange(sweeps, 0, -1))
    rho = covariance / variance
    pairs = rho[0 : 2 * (sweeps // 2) : 2] + rho[1 : 2 * (sweeps // 2) : 2]
    negative = np.flatnonzero(pairs <= 0.0)
    pairs = pairs[: negative[0]] if len(negative) else pairs
    tau = 2.0 * float(np.minimum.accumulate(pairs).sum()) - 1.0 if len(pairs) else 1.0
    return max(tau, 1.0 / math.log10(max(sweeps, 10)))


# ---- the law of the ratio ---------------------------------------------------------------------


def coverage(width: float, freedom: int) -> float:
    """P(|Z| <= width * max(1, sqrt(chi2_nu/nu))): how often ``width`` errors hold the truth.

    Examples
    --------
    >>> round(coverage(1.852, 7), 3)
    0.95
    """
    w, density = _chi_grid(freedom)
    from scipy.special import erf

    return float(np.sum(density * erf(width * np.maximum(1.0, w) / math.sqrt(2.0))))


@cache
def half_width(probability: float, freedom: int) -> float:
    """The width with that coverage, in units of the reported error.

    Examples
    --------
    >>> round(half_width(0.95, 7), 3)
    1.852
    """
    from scipy.optimize import brentq

    return float(brentq(lambda w: coverage(w, freedom) - probability, 1e-6, 50.0, xtol=1e-12))


def normal_score(z: Any, freedom: int) -> Any:
    """Map z = (F - truth) / error to a normal score, by the law of the reported error.

    Parameters
    ----------
    z : float or array
    freedom : int
        `FreeEnergy.freedom`.
    """
    from scipy.special import ndtri

    flat = np.atleast_1d(np.asarray(z, dtype=np.float64))
    tails = np.array([0.5 * (1.0 - coverage(abs(v), freedom)) for v in flat.ravel()])
    scores = np.where(flat.ravel() < 0.0, 1.0, -1.0) * ndtri(tails)
    return float(scores[0]) if np.ndim(z) == 0 else scores.reshape(np.shape(z))


@cache
def _chi_grid(freedom: int) -> tuple[Array, Array]:
    """Nodes and weights of sqrt(chi2_nu/nu), split at 1 where the max has its corner."""
    from scipy.special import gammaln

    nodes, weights = np.polynomial.legendre.leggauss(200)
    half = 0.5 * (nodes + 1.0)
    top = 1.0 + 12.0 / math.sqrt(max(freedom, 1))
    w = np.concatenate([half, 1.0 + (top - 1.0) * half])
    dw = np.concatenate([0.5 * weights, 0.5 * (top - 1.0) * weights])
    nu = float(freedom)
    log_density = (math.log(2.0) + 0.5 * nu * math.log(0.5 * nu) - gammaln(0.5 * nu)
                   + (nu - 1.0) * np.log(w) - 0.5 * nu * w**2)
    density = np.exp(log_density) * dw
    return w, density / density.sum()
