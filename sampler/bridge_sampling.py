"""The free energy from the draws at beta = 1 alone: bridge sampling to a fitted density.

A density q of known integral is fitted to one part of the posterior's draws (`sampler.mixture`);
the other part and draws of q give the ratio of the two integrals by the optimal bridge of Meng
and Wong (Statistica Sinica 6 (1996) 831), which is Bennett's acceptance ratio between q and the
posterior.  Fitting and evaluating change places and the two results are averaged, so that no draw
is judged by a density that has seen it.  The bridge needs q to overlap with the posterior, not to
cover it, and it skips the ladder's transition: at the true number of components its variance is
some hundred times below that of BAR along the ladder.

Two reductions make q's task easy.  Labels are folded: the components of a group are put in order,
and the density of one ordering is K! times as high.  And amplitudes that enter linearly under
Gaussian noise are integrated out: each is drawn from its conditional, one after the other, cut to
its bounds (Geweke, Hajivassiliou and Keane); the ratio of true to drawn density is an unbiased
estimate of the integral over them, and the bridge between the densities so extended is exact.

What it cannot know is a mode that no chain has met; it is as blind there as the draws are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from sampler import philox
from sampler.cube import from_logit, log_normal_mass, log_prior, normal_between, to_logit
from sampler.evidence import NO_OVERLAP, bennett_gap
from sampler.exchange import Run, buffers
from sampler.kernels.problem import LINEAR, aligned_zeros, lower
from sampler.labels import Group, exchangeable, fold
from sampler.mixture import Mixture, fit_mixture
from sampler.posterior import Posterior
from sampler.priors import Bernoulli, Gamma, Normal, log_density, support
from sampler.series import autocorrelation_time

Array = NDArray[np.float64]
PARTS = (10, 20)      # most parts of the fitted density; the second where the first is not enough
FITTED = 3000         # draws that are fitted
EVALUATED = 8000      # draws at which the two densities are compared, each way
DRAWN = 16000         # draws of q, each way, to begin with
MOST_DRAWN = 128_000  # ... and where they pay: down to
ENOUGH = 0.03         # nats, or until
GAIN = 0.9            # is the least factor by which twice as many lower the variance
FAR = 9.0             # nats of ln p/q above its median: the fitted density misses that place
FREEDOM = 3           # four half-bridges
FEWEST = 200          # draws in all below which nothing is fitted
_FIT, _AMPLITUDES, _KEPT, _DRAWS = range(4)


@dataclass(frozen=True)
class Bridge:
    """F by bridge sampling, and how well the fitted density serves."""

    value: float       # F (nats), the constant included
    error: float       # the larger of the two below
    within: float      # by the autocorrelation of the bridge function (nats)
    between: float     # by the spread of four half-bridges (nats)
    overlap: float     # share of q's draws that count as draws of the posterior, 0 to 1
    uncovered: float   # share of the posterior's draws in places that q hardly reaches
    collapsed: tuple[str, ...]  # amplitudes that were integrated out


_KNOWN: WeakKeyDictionary[Run, Bridge | None] = WeakKeyDictionary()


def bridge(run: Run) -> Bridge | None:
    """F by bridge sampling between the posterior's draws and a density fitted to them.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Bridge or None
        None where there is nothing to fit: no free parameters, parameters that only take the
        values 0 and 1, or too few draws; and where the fitted density and the posterior have
        nothing in common.

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> line = Model.single(shapes.linear, offset=(-1, 1), slope=(-10, 10))
    >>> data = Data([0, 1, 2], [0.1, 0.9, 2.2], noise=0.5)
    >>> found = bridge(sample(Posterior(line, data), sweeps=1000, burn_in=500, seed=1))
    >>> found.error < 0.02
    True
    """
    if run not in _KNOWN:
        _KNOWN[run] = _bridge(run)
    return _KNOWN[run]


def _bridge(run: Run) -> Bridge | None:
    posterior = run.posterior
    discrete = any(isinstance(p, Bernoulli) for p in posterior.priors.values())
    draws = run.draws.shape[0] * run.draws.shape[1]
    if not posterior.dimension or discrete or draws < max(FEWEST, 20 * (posterior.dimension + 1)):
        return None
    target = _Target(posterior, run.seed)
    first, second = _halves(run.draws)
    results = [_one_way(target, first, second, 0), _one_way(target, second, first, 1)]
    log_z = np.array([r.log_ratio for r in results])
    within = 0.5 * math.sqrt(sum(r.variance for r in results))
    if not math.isfinite(within):
        return None
    half = np.array([r.half_bridges for r in results])
    between = float(half.std(ddof=1)) / math.sqrt(half.size)
    return Bridge(posterior.constant - float(log_z.mean()), max(within, between), within, between,
                  min(r.overlap for r in results), max(r.uncovered for r in results),
                  tuple(posterior.names[p] for p in target.linear))


def _halves(draws: Array) -> tuple[Array, Array]:
    """Two halves of the chains, or of the sweeps of a single one; arrays (chains, sweeps, P)."""
    chains, sweeps, _ = draws.shape
    if chains > 1:
        return draws[: chains // 2], draws[chains // 2:]
    return draws[:, : sweeps // 2], draws[:, sweeps // 2:]


@dataclass(frozen=True)
class _OneWay:
    log_ratio: float
    variance: float
    half_bridges: tuple[float, float]
    overlap: float
    uncovered: float


def _one_way(target: _Target, fitted: Array, evaluated: Array, way: int) -> _OneWay:
    """Fit on one half, evaluate on the other."""
    theta = _thinned(evaluated, EVALUATED)
    for parts in PARTS:
        q = target.fit(_thinned(fitted, FITTED), way, parts)
        at_p = target.log_weights(theta.reshape(-1, theta.shape[2]), q, way)
        at_p = at_p.reshape(theta.shape[:2])
        at_q = target.log_weights_drawn(q, DRAWN, way)
        log_ratio, variance = meng_wong(at_p, at_q)
        if variance < ENOUGH**2:
            break
    before = math.inf
    while ENOUGH**2 < variance < GAIN * before and len(at_q) < MOST_DRAWN:
        at_q = np.append(at_q, target.log_weights_drawn(q, len(at_q), way, len(at_q)))
        before, (log_ratio, variance) = variance, meng_wong(at_p, at_q)
    halves = [meng_wong(p, w)[0] for p, w in zip(_halves(at_p[..., None]),
                                                 np.array_split(at_q, 2), strict=True)]
    weight = np.exp(at_q - at_q.max())
    overlap = float(weight.sum() ** 2 / (weight**2).sum()) / len(weight)
    far = float(np.mean(at_p > np.median(at_p) + FAR))
    return _OneWay(log_ratio, variance, (halves[0], halves[1]), overlap, far)


def _thinned(draws: Array, most: int) -> Array:
    chains, sweeps, _ = draws.shape
    step = max(1, math.ceil(chains * sweeps / most))
    return draws[:, sweeps % step:][:, ::step] if step > 1 else draws


def meng_wong(at_p: Array, at_q: Array) -> tuple[float, float]:
    """ln of the integral of p, from ln p/q at draws of p and of q (integral 1).

    Parameters
    ----------
    at_p : array (chains, sweeps) or (chains, sweeps, 1)
        ln p/q along chains that draw from p, correlated in time.
    at_q : array (draws,)
        ln p/q at independent draws of q; -inf where p is 0.

    Returns
    -------
    log_ratio, variance
        The variance counts the correlation of the bridge function in time; it is infinite where
        no draw of either comes near those of the other.

    Examples
    --------
    >>> g = np.random.default_rng(0)
    >>> wide, narrow = 2.0 * g.normal(size=4000), g.normal(size=(2, 2000))
    >>> def log_ratio(x):               # 3 N(0, 1) over N(0, 2)
    ...     return math.log(3.0 * 2.0) - 0.375 * x**2
    >>> value, variance = meng_wong(log_ratio(narrow), log_ratio(wide))
    >>> abs(value - math.log(3.0)) < 4 * variance**0.5 < 0.1
    True
    """
    from scipy.special import expit

    series = at_p.reshape(at_p.shape[0], -1)
    middle = float(np.median(series))
    tau = autocorrelation_time(expit(middle - series))
    effective = series.size / tau
    log_odds = math.log(effective / len(at_q))       # ln n_p/n_q: who is better known counts more
    x = bennett_gap(series, at_q[None], middle - log_odds, log_odds)
    log_ratio = x + log_odds
    p, q = expit(x - series), expit(at_q - x)
    if min(p.mean(), q.mean()) < NO_OVERLAP:
        return log_ratio, math.inf
    slope = 2.0 - float((p**2).mean()) / float(p.mean()) - float((q**2).mean()) / float(q.mean())
    variance_p = float(p.var()) * autocorrelation_time(p) / p.size / float(p.mean()) ** 2
    variance_q = float(q.var()) / q.size / float(q.mean()) ** 2
    return log_ratio, (variance_p + variance_q) / slope**2


class _Target:
    """The posterior as the bridge sees it: folded, in logit coordinates, amplitudes aside."""

    def __init__(self, posterior: Posterior, seed: int) -> None:
        self.posterior, self.seed = posterior, seed
        self.problem = lower(posterior, compiled=True)
        self.priors = list(posterior.priors.values())
        place = {n: i for i, n in enumerate(posterior.names)}
        ordered = [tuple(place[n] for n in group) for group in posterior.orderings]
        self.groups: tuple[Group, ...] = exchangeable(posterior)
        keys = [g.columns[g.key] for g in self.groups]
        self.regions = ordered + [k for k in keys if not any(set(k) <= set(o) for o in ordered)]
        self.log_orderings = math.fsum(math.lgamma(len(r) + 1) for r in self.regions)
        sorted_by = {p for region in self.regions for p in region}
        self.linear = _jointly_linear(self.problem, sorted_by)
        self.kept = [p for p in range(posterior.dimension) if p not in self.linear]
        if not self.kept:       # all of it linear: nothing would be left to fit
            self.linear, self.kept = [], list(range(posterior.dimension))

    # -- coordinates --------------------------------------------------------------------------

    def _logit(self, theta: Array) -> Array:
        t = np.stack([to_logit(self.priors[p], theta[:, p]) for p in self.kept], axis=1)
        return np.asarray(np.nan_to_num(t, posinf=700.0, neginf=-700.0))

    def _theta(self, t: Array) -> Array:
        theta = np.zeros((len(t), self.posterior.dimension))
        for k, p in enumerate(self.kept):
            theta[:, p] = from_logit(self.priors[p], t[:, k])
        return theta

    def _uniform(self, count: int, width: int, way: int, purpose: int, first: int = 0) -> Array:
        """(count, width) numbers of the polish stream; a purpose never shares another's."""
        key = philox.stream_key(self.seed, philox.POLISH, way)
        pairs = philox.uniforms(np.arange(first, first + count)[:, None], purpose,
                                np.arange((width + 1) // 2)[None, :], key)
        return np.concatenate(pairs, axis=1)[:, :width]

    # -- the two densities ----------------------------------------------------------------------

    def fit(self, draws: Array, way: int, parts: int = PARTS[0]) -> Mixture:
        """q of the folded draws (chains, sweeps, P)."""
        theta = fold(self.groups, draws.reshape(-1, draws.shape[2]))
        uniform = self._uniform(parts, 1, way, _FIT)[:, 0]
        return fit_mixture(self._logit(theta), parts, uniform, math.exp(self.log_orderings))

    def log_weights(self, theta: Array, q: Mixture, way: int) -> Array:
        """ln p/q at draws of the posterior, theta (n, P)."""
        theta = fold(self.groups, theta)
        t = self._logit(theta)
        return np.asarray(self._log_p(theta, t, way) - q.log_density(t))

    def log_weights_drawn(self, q: Mixture, count: int, way: int, first: int = 0) -> Array:
        """ln p/q at the draws of q from number ``first`` on, array (count,); -inf where the
        components are out of order."""
        t, hot = q.draw(self._uniform(count, 2 * len(self.kept) + 4, way, _DRAWS, first))
        theta = self._theta(t)
        theta[hot] = self._sorted(theta[hot])
        t[hot] = self._logit(theta[hot])
        inside = np.ones(count, dtype=bool)
        for region in self.regions:
            inside &= np.all(np.diff(theta[:, list(region)], axis=1) > 0.0, axis=1)
        out = np.full(count, -np.inf)
        out[inside] = (self._log_p(theta[inside], t[inside], way, first)
                       - q.log_density(t[inside]))
        return out

    def _sorted(self, theta: Array) -> Array:
        """Draws of the prior in the one ordering that is kept."""
        theta = fold(self.groups, theta)
        folded = {g.columns[g.key] for g in self.groups}
        for region in self.regions:
            if region not in folded:
                theta[:, list(region)] = np.sort(theta[:, list(region)], axis=1)
        return theta

    def _log_p(self, theta: Array, t: Array, way: int, first: int | None = None) -> Array:
        """ln of prior times likelihood in the logit coordinate, of one ordering; ``first`` is the
        number of the first draw of q, None for draws of the posterior."""
        log_p = log_prior(t).sum(axis=1) + self.log_orderings
        if not self.linear:
            return np.asarray(log_p - self._energies(theta))
        return np.asarray(log_p + self._log_integral(theta, way, first))

    # -- energies and amplitudes ------------------------------------------------------------------

    @cached_property
    def _buffers(self) -> tuple[Any, Any]:
        return buffers(self.problem, self.posterior.dimension, 1)

    def _energies(self, theta: Array) -> Array:
        from sampler.kernels import cpu

        out = np.empty(len(theta))
        cpu.energies(self.problem, *self._buffers, np.ascontiguousarray(theta), out)
        return out

    def _log_integral(self, theta: Array, way: int, first: int | None) -> Array:
        """ln of an unbiased estimate of the integral over the amplitudes, from two draws of
        them; at a draw of the posterior one of the two is the posterior's own."""
        from sampler.kernels import cpu

        n, K = len(theta), len(self.linear)
        offset, pull, precision = np.empty(n), np.empty((n, K)), np.empty((n, K, K))
        cpu.quadratics(self.problem, *self._buffers, np.array(self.linear),
                       np.ascontiguousarray(theta),
                       aligned_zeros((K, int(self.problem.padded.max()))), offset, pull, precision)
        # Where the curve has no value the likelihood is 0, whatever the amplitudes: the row is left
        # out by numbers that say nothing.
        inside = (np.isfinite(offset) & np.isfinite(pull).all(axis=1)
                  & np.isfinite(precision).all(axis=(1, 2)))
        offset[~inside], pull[~inside], precision[~inside] = 0.0, 0.0, 0.0
        priors = [self.priors[p] for p in self.linear]
        proposal = _conditional(priors, pull, precision)
        uniform = self._uniform(n, 2 * K, way, *((_KEPT, 0) if first is None
                                                 else (_AMPLITUDES, first)))
        draws = [theta[:, self.linear] if first is None else proposal.draw(uniform[:, :K]),
                 proposal.draw(uniform[:, K:])]
        logs = []
        for h in draws:
            energy = (offset - np.einsum("nk,nk->n", pull, h)
                      + 0.5 * np.einsum("nk,nkm,nm->n", h, precision, h))
            density = sum(log_density(prior, h[:, k]) for k, prior in enumerate(priors))
            logs.append(density - energy - proposal.log_density(h))
        return np.where(inside, np.logaddexp(*logs) - math.log(2.0), -np.inf)


def _jointly_linear(problem: Any, sorted_by: set[int]) -> list[int]:
    """Amplitudes in which the model is linear all together: no two in one summand."""
    chosen: list[int] = []
    taken: set[int] = set()
    for p in np.flatnonzero(problem.move == LINEAR):
        rows = problem.touched[problem.first[p]:problem.first[p + 1]]
        summands = {int(s) for s in rows[:, 0]}
        if p not in sorted_by and not summands & taken:
            chosen.append(int(p))
            taken |= summands
    return chosen


# ---- drawing amplitudes one after the other -----------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Sequential:
    """Normals of the amplitudes, each given those after it, cut to the bounds of its prior."""

    mean: Array   # (n, K)
    root: Array   # (n, K, K) lower Cholesky factor of the precision
    low: Array    # (K,)
    high: Array   # (K,)

    def draw(self, uniform: Array) -> Array:
        """One draw for each row, from uniforms (n, K)."""
        h = np.empty_like(self.mean)
        for k in reversed(range(h.shape[1])):
            centre, sd = self._given(h, k)
            low, high = (self.low[k] - centre) / sd, (self.high[k] - centre) / sd
            u = uniform[:, k]
            h[:, k] = np.clip(centre + sd * normal_between(low, high, np.log(u), np.log1p(-u)),
                              self.low[k], self.high[k])
        return h

    def log_density(self, h: Array) -> Array:
        """ln of the density that `draw` has at h (n, K)."""
        out = np.zeros(len(h))
        for k in range(h.shape[1]):
            centre, sd = self._given(h, k)
            low, high = (self.low[k] - centre) / sd, (self.high[k] - centre) / sd
            out -= (0.5 * ((h[:, k] - centre) / sd) ** 2 + np.log(sd)
                    + 0.5 * math.log(2.0 * math.pi) + log_normal_mass(low, high))
        return out

    def _given(self, h: Array, k: int) -> tuple[Array, Array]:
        pull = np.einsum("nm,nm->n", self.root[:, k + 1:, k], h[:, k + 1:] - self.mean[:, k + 1:])
        sd = 1.0 / self.root[:, k, k]
        return self.mean[:, k] - pull * sd, sd


def _conditional(priors: list[Any], pull: Array, precision: Array) -> _Sequential:
    """A normal law near that of the amplitudes given all else: exact up to the bounds for Uniform
    and Normal priors, matched at the mode for Gamma."""
    bounds = np.array([support(p) for p in priors])
    precision, pull = precision.copy(), pull.copy()
    for k, prior in enumerate(priors):
        match prior:
            case Normal():
                own, at = 1.0 / prior.sd**2, prior.mean
            case Gamma():
                own, at = 0.0, 0.0
                pull[:, k] -= prior.rate
            case _:     # a hint of curvature, so that an amplitude without data stays in its box
                own, at = 1.0 / (prior.hi - prior.lo) ** 2, 0.5 * (prior.lo + prior.hi)
        precision[:, k, k] += own
        pull[:, k] += own * at
    mean = _mode(priors, pull, precision)
    for k, prior in enumerate(priors):
        if isinstance(prior, Gamma):
            extra = np.maximum((prior.shape - 1.0) / mean[:, k] ** 2, prior.rate**2 / 16.0)
            precision[:, k, k] += extra
    return _Sequential(mean, np.asarray(np.linalg.cholesky(precision)),
                       bounds[:, 0], bounds[:, 1])


def _mode(priors: list[Any], pull: Array, precision: Array) -> Array:
    """Where pull h - h precision h / 2 + sum of (shape - 1) ln h is largest (concave)."""
    power = np.array([p.shape - 1.0 if isinstance(p, Gamma) else 0.0 for p in priors])
    if not any(isinstance(p, Gamma) for p in priors):
        return np.asarray(np.linalg.solve(precision, pull[..., None])[..., 0])
    positive = np.array([isinstance(p, Gamma) for p in priors])
    scale = np.array([p.shape / p.rate if isinstance(p, Gamma) else 1.0 for p in priors])
    h = np.broadcast_to(np.where(positive, scale, 0.0), pull.shape).copy()
    floor = np.where(positive, 1e-3 * scale, -np.inf)
    for _ in range(25):
        safe = np.where(positive, h, 1.0)
        slope = pull - np.einsum("nkm,nm->nk", precision, h) + power / safe
        curve = precision + np.eye(len(priors)) * (
            np.where(positive, power / safe**2 + (1.0 / scale) ** 2 / 16.0, 0.0))[:, None, :]
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        # Never more than nine tenths of the way to zero.
        h = np.maximum(np.maximum(h + step, np.where(positive, 0.1 * h, -np.inf)), floor)
    return h
