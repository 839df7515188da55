"""Free energy F = -ln Z from the energies of all rungs, with an error bar that is right.

Between neighbouring rungs three estimators share the same samples:

* stepping stone, forward (colder from hotter): unbiased for Z;
* stepping stone, reverse (hotter from colder): unbiased for 1/Z;
* BAR (Bennett, J. Comput. Phys. 22 (1976) 245), the best combination of both.

The error of BAR: neighbouring pairs share draws and slow modes, so pair errors must not be added
in quadrature.  The linearised influence of each sweep is summed over all pairs *first*; the error
is the largest of three estimates: by its autocorrelation (Geyer, Stat. Sci. 7 (1992) 473), by what
each replica carried through the ladder, and by the spread of blocks of whole sweeps, two in each
chain.  The largest of several is a cautious error bar, so its intervals use the law of
Z / max(1, sqrt(chi2_nu / nu)) instead of a normal.

The value reported is that of the bridge (`sampler.bridge_sampling`) where it was made and agrees
with BAR; both are kept, with their errors.  Where they disagree the run is not trusted, and the
error of what is reported covers both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from sampler.errors import InputError
from sampler.exchange import Run
from sampler.series import block_count, series_errors

Array = NDArray[np.float64]
NO_OVERLAP = 1e-100    # mean Fermi weight below which two rungs never met
APART = 3.0            # joint errors between bridge and BAR beyond which neither is believed
ONE_SIGMA = math.erf(math.sqrt(0.5))
NAMES = {"bridge": "bridge", "bar": "BAR", "exact": "exact"}


@dataclass(frozen=True)
class FreeEnergy:
    """F = -ln Z in nats, with its error; the constant of the noise law included.

    Examples
    --------
    >>> f = FreeEnergy(12.0, 0.1, (11.9, 12.1), (11.8, 12.2), "bar", 3.0, 0.1, 0.1, 7, 12.1, 11.9,
    ...                12.0, 0.1)
    >>> f.reduced, f.log_evidence
    (9.0, -12.0)
    >>> print(f)
    F = 12.000 +- 0.100 nats (95 %: 11.800 to 12.200; BAR)
    """

    value: float                     # F (nats)
    error: float                     # standard error of F (nats)
    interval68: tuple[float, float]  # holds the truth in 68 % of runs (nats)
    interval95: tuple[float, float]  # holds the truth in 95 % of runs (nats)
    estimator: str                   # "bridge", "bar", or "exact" where nothing is sampled
    constant: float                  # the untempered constant in F (nats)
    within: float                    # error by autocorrelation and, of BAR, by replica
    between: float                   # error of the value by the spread of parts of the run
    freedom: int                     # number of those parts minus 1 (nu); 0 if exact
    forward: float                   # stepping stone, colder from hotter: exp(-F) unbiased for Z
    reverse: float                   # stepping stone, hotter from colder: exp(F) unbiased for 1/Z
    bar: float                       # Bennett's estimate along the ladder, of both directions
    bar_error: float                 # its standard error
    bridge: float | None = None      # bridge-sampling estimate, where one was made
    bridge_error: float | None = None

    @property
    def apart(self) -> float:
        """|bridge - BAR| in joint standard errors; 0 where there is no bridge."""
        if self.bridge is None or self.bridge_error is None:
            return 0.0
        joint = math.hypot(self.bridge_error, self.bar_error)
        return abs(self.bridge - self.bar) / joint if math.isfinite(joint) and joint else 0.0

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
                f"(95 %: {low:.3f} to {high:.3f}; {NAMES[self.estimator]})")


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
    """The free energy of a run, pooled over its chains: by the bridge where it can be made and
    agrees with BAR, else by BAR, with an error that covers both where they disagree.

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
    if run not in _FREE:
        _FREE[run] = _free_energy(run)
    return _FREE[run]


_FREE: WeakKeyDictionary[Run, FreeEnergy] = WeakKeyDictionary()


def _free_energy(run: Run) -> FreeEnergy:
    constant = run.posterior.constant
    if run.sampled == 0:    # no free parameters, or all of them integrated out: U is one number
        value = float(run.energy[0, 0, -1]) + constant
        return FreeEnergy(value, 0.0, (value, value), (value, value), "exact", constant, 0.0, 0.0,
                          0, value, value, value, 0.0)
    from sampler.bridge_sampling import FREEDOM, bridge

    sums = summed(run)
    bar = sums.gap + constant
    within, between, freedom = series_errors(sums.influence)
    errors = max(within, sums.by_replica), between, freedom
    by_bar = _estimate(bar, *errors, "bar", sums, constant)
    found = bridge(run)
    if found is None:
        return by_bar
    by_bridge = _estimate(found.value, found.within, found.between, FREEDOM, "bridge", sums,
                          constant, bar_error=by_bar.error, bridge=found.value,
                          bridge_error=found.error)
    if by_bridge.apart <= APART:
        return by_bridge
    # One of the two is wrong, and the run cannot tell which: the error covers both.
    error = max(by_bar.error, abs(found.value - bar))
    return replace(by_bar, error=error, bridge=found.value, bridge_error=found.error,
                   interval68=_interval(bar, error, ONE_SIGMA, by_bar.freedom),
                   interval95=_interval(bar, error, 0.95, by_bar.freedom))


def _estimate(value: float, within: float, between: float, freedom: int, estimator: str,
              sums: Sums, constant: float, **more: Any) -> FreeEnergy:
    error = max(within, between)
    return FreeEnergy(
        value, error, _interval(value, error, ONE_SIGMA, freedom),
        _interval(value, error, 0.95, freedom), estimator, constant, within, between, freedom,
        sums.forward + constant, sums.reverse + constant, sums.gap + constant,
        **{"bar_error": error, **more})


def _interval(value: float, error: float, probability: float, freedom: int) -> tuple[float, float]:
    if not math.isfinite(error):
        return -math.inf, math.inf
    half = half_width(probability, freedom) * error
    return value - half, value + half


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
    values, errors, influence = [0.0], [0.0], np.zeros(run.energy.shape[:2])
    carried = np.zeros(1)
    for k, pair in enumerate(pairs(run)):
        influence += pair.influence
        carried = carried + _carried(run, k, pair.hot) + _carried(run, k + 1, pair.cold)
        values.append(values[-1] + pair.gap)
        errors.append(max(*series_errors(influence)[:2], math.sqrt(float(carried @ carried))))
    mean, mean_error, heat, heat_error = [], [], [], []
    for level, beta in enumerate(run.betas):
        u = run.energy[..., level]
        # At beta = 0 prior draws may lie outside the support (U = inf); the heat capacity is 0.
        square = (beta * (u - u.mean())) ** 2 if beta > 0.0 else np.zeros_like(u)
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
    gap: float         # F~ of the colder rung minus F~ of the hotter, by BAR
    forward: float
    reverse: float
    hot: Array         # (chains, sweeps) what each sweep of the hotter rung adds to the gap's error
    cold: Array        # ... of the colder rung
    difference: Array  # (chains, sweeps) of forward minus reverse

    @property
    def influence(self) -> Array:
        """Of the gap; its mean is the linearised error."""
        return self.hot + self.cold


def pairs(run: Run) -> Iterator[_Pair]:
    """The estimates of every pair of neighbours, hot to cold."""
    for k, step in enumerate(np.diff(run.betas)):
        yield _bar(step * run.energy[..., k], step * run.energy[..., k + 1])


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the pairs of a ladder, all without the constant."""

    gap: float               # F~ by BAR
    forward: float
    reverse: float
    influence: Array         # (chains, sweeps) of BAR; its mean is the linearised error
    by_replica: float        # standard error by what each replica carried through the ladder
    cold_difference: float   # forward minus reverse over the colder two thirds
    cold_influence: Array    # (chains, sweeps) of that difference


_SUMS: WeakKeyDictionary[Run, Sums] = WeakKeyDictionary()


def summed(run: Run) -> Sums:
    """The sums over all pairs, worked out once for each run."""
    _needs_ladder(run)
    if run not in _SUMS:
        gap, forward, reverse, difference = 0.0, 0.0, 0.0, 0.0
        influence, cold = np.zeros(run.energy.shape[:2]), np.zeros(run.energy.shape[:2])
        carried = np.zeros(1)
        for k, pair in enumerate(pairs(run)):
            carried = carried + _carried(run, k, pair.hot) + _carried(run, k + 1, pair.cold)
            gap, forward, reverse = gap + pair.gap, forward + pair.forward, reverse + pair.reverse
            influence += pair.influence
            if k in colder(run):
                cold += pair.difference
                difference += pair.forward - pair.reverse
        error = math.sqrt(float(carried @ carried))
        _SUMS[run] = Sums(gap, forward, reverse, influence, error, difference, cold)
    return _SUMS[run]


def _carried(run: Run, rung: int, part: Array) -> Array:
    """What each replica added to the mean of a rung's ``part`` (chains, sweeps) while it sat there,
    block by block of whole sweeps.

    Replicas hardly know of one another, so that the sum of the squares is the variance of
    the whole.  It counts what a replica remembers on its way through the ladder, which is spread
    over many sweeps and lost among the noise in the autocorrelation of all replicas together.
    """
    blocks = block_count(run.chains)
    length = run.sweeps // blocks
    if length < 2:
        return np.full(1, math.inf)
    counted = slice(run.sweeps - blocks * length, None)
    block = np.repeat(np.arange(run.chains * blocks), length).reshape(run.chains, -1)
    place = block * len(run.betas) + run.replica[:, counted, rung]
    return np.asarray(np.bincount(place.ravel(), part[:, counted].ravel() / place.size,
                                  run.chains * blocks * len(run.betas)), dtype=np.float64)


def colder(run: Run) -> range:
    """The rungs of the colder two thirds.  Hotter ones see the tails of the prior, where energies
    of any size make variances and reverse stepping stones (not BAR) meaningless."""
    rungs = len(run.betas)
    return range(min(max(1, rungs // 3), rungs - 1), rungs)


def _bar(hot: Array, cold: Array) -> _Pair:
    """Bennett's acceptance ratio for reduced works (beta' - beta) U of both rungs.

    Solves mean f(hot - gap) = mean f(gap - cold) with f(t) = 1/(1 + e**t); the left side grows
    and the right side falls with the gap, so the root is unique.  U = +inf (a prior draw outside
    the support) has weight 0.
    """
    reverse, heavy = _log_mean_exp(cold)
    if not np.isfinite(hot).any():
        nothing = np.full(hot.shape, math.inf)
        return _Pair(math.inf, math.inf, reverse, nothing, nothing, nothing)
    forward, light = _log_mean_exp(-hot)
    forward = -forward
    gap = bennett_gap(hot, cold, 0.5 * (forward + reverse))
    p, q = _fermi(hot - gap), _fermi(gap - cold)
    height = float(p.mean())
    # Everything in units of the mean weight, which may be tiny.
    p /= height
    q /= height
    slope = float(p.mean() + q.mean() - height * (_squares(p) + _squares(q)) / p.size)
    if height < NO_OVERLAP:
        p = q = np.full(hot.shape, math.inf)
    else:
        p -= p.mean()
        p /= -slope
        q -= q.mean()
        q /= slope
    return _Pair(gap, forward, reverse, p, q, 2.0 - light - heavy)


def bennett_gap(hot: Array, cold: Array, start: float, log_odds: float = 0.0) -> float:
    """Solve odds * mean f(hot - gap) = mean f(gap - cold) with f(t) = 1/(1 + e**t).

    Newton's steps on the difference of the logarithms, inside the bracket known so far: in the
    logarithm the slope is near 1 on both sides, however far the start.

    Parameters
    ----------
    hot, cold : array (chains, sweeps), each of its own size
        Reduced works at draws of the one law and of the other.
    start : float
        A first guess of the gap.
    log_odds : float
        ln of how much more the draws of ``hot`` count.
    """
    if hot.size > 20_000:  # a share of the sweeps brings the start close, at a small cost
        share = slice(None, None, 16)
        start = bennett_gap(hot[:, share], cold[:, share], start, log_odds)
    lo, hi, gap = -math.inf, math.inf, start
    log_sizes = log_odds + math.log(cold.size / hot.size)
    for _ in range(200):
        p, q = _fermi(hot - gap), _fermi(gap - cold)
        sum_p, sum_q = float(p.sum()), float(q.sum())
        miss = math.log(sum_p) - math.log(sum_q) + log_sizes
        lo, hi = (lo, gap) if miss > 0.0 else (gap, hi)
        slope = 2.0 - _squares(p) / sum_p - _squares(q) / sum_q
        previous, gap = gap, _inside(gap - miss / max(slope, 1e-3), gap, lo, hi)
        if abs(gap - previous) < 1e-11 * (1.0 + abs(gap)):
            break
    return gap


def _inside(newton: float, gap: float, lo: float, hi: float) -> float:
    """Newton's step if it stays in the bracket, else its middle."""
    if lo <= newton <= hi:
        return newton
    return 0.5 * (lo + hi) if math.isfinite(lo) and math.isfinite(hi) else gap


def _fermi(t: Array) -> Array:
    """1/(1 + e**t) without overflow; 1e-304 stands for anything smaller."""
    out = np.minimum(t, 700.0)
    np.exp(out, out=out)
    out += 1.0
    return np.reciprocal(out, out=out)


def _squares(t: Array) -> float:
    """Sum of squares; not by BLAS, whose threads would change the last digits."""
    return float(np.einsum("ct,ct->", t, t))


def _log_mean_exp(t: Array) -> tuple[float, Array]:
    """ln mean e**t, and the weights e**t / mean e**t."""
    top = float(t.max())
    weight = t - top
    np.exp(weight, out=weight)
    mean = float(weight.mean())
    weight /= mean
    return top + math.log(mean), weight


def _needs_ladder(run: Run) -> None:
    if len(run.betas) < 2:
        raise InputError("run", "one temperature only", "a run with a ladder",
                         "use sample, not metropolis")


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
    w, density = _chi_grid(freedom)
    scale = np.maximum(1.0, w)
    width = 0.0
    while True:     # the coverage is concave: Newton's steps come from below and never pass
        slope = math.sqrt(2.0 / math.pi) * float(
            np.sum(density * scale * np.exp(-0.5 * (width * scale) ** 2)))
        step = (probability - coverage(width, freedom)) / slope
        width += step
        if step < 1e-12:
            return width


def normal_score(z: Any, freedom: int) -> Any:
    """Map z = (F - truth) / error to a normal score, by the law of the reported error.

    Parameters
    ----------
    z : float or array
    freedom : int
        `FreeEnergy.freedom`.

    Examples
    --------
    >>> round(normal_score(1.852, 7), 2)
    1.96
    """
    from scipy.special import ndtr, ndtri

    w, density = _chi_grid(freedom)
    z = np.asarray(z, dtype=np.float64)
    tail = ndtr(-np.abs(z)[..., None] * np.maximum(1.0, w)) @ density
    score = -np.sign(z) * ndtri(tail)
    return float(score) if z.ndim == 0 else score


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
