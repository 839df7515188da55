"""Samplers on three overlapping peaks, all with one compiled likelihood, on one core.

An adapter takes the `Problem`, imports and compiles all it needs, and returns a function of the
seed: that function is what is timed.  Guests get the likelihood, vectorised over points, and the
prior; ours gets the formula and the data, from which it makes its own (it moves one peak at a time
and draws heights exactly, which no black box allows).  Settings are each library's defaults except
where the adapter says otherwise.

>>> problem = three_peaks()
>>> truth = [0.587, 95.689, 1.210, 1.522, 146.837, 1.455, 1.183, 164.469, 1.703]
>>> bool(problem.log_likelihood(truth) > -160.0)
True
>>> problem.log_likelihood([truth, truth]).shape, problem.log_prior([9.0] * 9)
((2,), -inf)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.guests import _guest, _numpy_seed, last_of_chains, populations

Array = NDArray[np.float64]
Timed = Callable[[int], "list[Estimate]"]


@dataclass(frozen=True)
class Estimate:
    """ln Z (nats, without the constant of the noise) as one sampler gives it.

    Parameters
    ----------
    sampler : str
        Its row in the table; one run may have two estimators.
    log_evidence : float
    error : float or None
        What it claims; None where it claims nothing.
    effective : float or None
        How many independent draws the log-likelihoods of its draws are worth; None where it does
        not say which of its draws are independent.
    """

    sampler: str
    log_evidence: float
    error: float | None = None
    effective: float | None = None


@cache
def compiled() -> Callable[..., Array]:
    """ln L of many points: every peak at every datum, with the C library's exp."""
    from numba import njit

    @njit(error_model="numpy")
    def log_likelihood(theta: Any, x: Any, y: Any, precision: float) -> Any:
        out = np.empty(len(theta))
        for point in range(len(theta)):
            total = 0.0
            for i in range(len(x)):
                r = -y[i]
                for k in range(theta.shape[1] // 3):
                    d = x[i] - theta[point, 3 * k + 2]
                    r += theta[point, 3 * k] * math.exp(-0.5 * theta[point, 3 * k + 1] * d * d)
                total += r * r
            out[point] = -0.5 * precision * total
        return out

    return log_likelihood  # type: ignore[no-any-return]


class Problem:
    """Three peaks, heights, precisions and centres uniform in a box; counts its evaluations.

    Parameters
    ----------
    x, y : array (n,)
    noise : float
        Standard deviation.
    lower, upper : array (9,)
        The box: a, b, mu of every peak.
    """

    def __init__(self, x: Array, y: Array, noise: float, lower: Array, upper: Array) -> None:
        self.x, self.y, self.precision = x, y, noise**-2
        self.lower, self.upper, self.width = lower, upper, upper - lower
        self.dimension, self.calls = len(upper), 0
        self.compiled = compiled()
        self.compiled(upper[None], x, y, self.precision)

    def log_likelihood(self, theta: Any) -> Any:
        """Without the constant; (..., 9) to (...), a float for one point."""
        points = np.asarray(theta, dtype=float)
        flat = np.ascontiguousarray(points.reshape(-1, self.dimension))
        self.calls += len(flat)
        found = self.compiled(flat, self.x, self.y, self.precision)
        return float(found[0]) if points.ndim == 1 else found.reshape(points.shape[:-1])

    def prior_transform(self, u: Any) -> Array:
        """From the unit cube, (..., 9)."""
        return self.lower + np.asarray(u) * self.width

    def log_prior(self, theta: Any) -> Any:
        """(..., 9) to (...), -inf outside."""
        inside = np.all((theta >= self.lower) & (theta <= self.upper), axis=-1)
        found = np.where(inside, -np.log(self.width).sum(), -np.inf)
        return float(found) if found.ndim == 0 else found

    def prior_samples(self, shape: tuple[int, ...], seed: int) -> Array:
        """(\\*shape, 9)."""
        return self.prior_transform(np.random.default_rng(seed).random((*shape, self.dimension)))


def three_peaks() -> Problem:
    """The problem of `experiments.campaigns.three_peaks`, K = 3, for guests."""
    from experiments import nagata2012_number_of_peaks as nagata

    return Problem(*nagata.spectrum(nagata.SETTINGS), nagata.SETTINGS.noise,
                   np.tile([0.0, 1.0, 0.0], 3), np.tile([3.0, 400.0, 3.0], 3))


def kish(log_w: Any) -> float:
    """Draws that weighted ones are worth, (sum w)**2 / sum w**2.

    Examples
    --------
    >>> kish([0.0, 0.0, -50.0])
    2.0
    """
    w = np.exp(np.asarray(log_w) - np.max(log_w))
    return round(float(w.sum() ** 2 / np.sum(w**2)), 6)


def _of_chains(log_likelihoods: Any) -> float:
    """(chains or walkers, steps): the same estimate for all that walk."""
    from sampler.diagnostics import effective_sample_size

    return float(effective_sample_size(np.asarray(log_likelihoods)))


# ---- ours ----------------------------------------------------------------------------------------


def _ours(chains: int, sweeps: int, burn_in: int | None) -> Callable[[Problem], Timed]:
    def prepared(problem: Problem) -> Timed:
        from experiments.campaigns.three_peaks import posterior
        from sampler import free_energy, sample

        model, name = posterior(3), f"ours, {chains} x {sweeps}"
        free_energy(sample(model, 200, burn_in=500, seed=0, threads=1))     # compiles all parts

        def run(seed: int) -> list[Estimate]:
            done = sample(model, sweeps, chains=chains, burn_in=burn_in, seed=seed, threads=1)
            found = free_energy(done)
            problem.calls += (chains * (done.burn_in + sweeps) * len(done.betas)
                              * model.dimension)
            size, shift = _of_chains(done.energy[..., -1]), found.constant
            out = [Estimate(f"{name}, BAR", shift - found.bar, found.bar_error, size)]
            if found.bridge is not None:
                out.insert(0, Estimate(f"{name}, bridge", shift - found.bridge,
                                       found.bridge_error, size))
            return out

        return run

    prepared.__doc__ = (f"{chains} chains of {sweeps} counted sweeps; one run, both estimators "
                        "(each pays for the other too); evaluations are single-parameter proposals "
                        "at all temperatures.")
    return prepared


# ---- nested sampling -----------------------------------------------------------------------------


def dynesty(problem: Problem) -> Timed:
    """Static nested sampling, library defaults (500 live points), with the random-walk proposals
    that are its default from ten dimensions on."""
    guest = _guest("dynesty")

    def run(seed: int) -> list[Estimate]:
        sampler = guest.NestedSampler(problem.log_likelihood, problem.prior_transform,
                                      problem.dimension, sample="rwalk",
                                      rstate=np.random.default_rng(seed))
        sampler.run_nested(print_progress=False)
        found = sampler.results
        return [Estimate("dynesty", float(found.logz[-1]), float(found.logzerr[-1]),
                         kish(found.logwt))]

    return run


def ultranest(problem: Problem) -> Timed:
    """Reactive nested sampling, 400 live points, vectorised; library defaults."""
    from logging import WARNING, getLogger

    guest = _guest("ultranest")
    getLogger("ultranest").setLevel(WARNING)

    def run(seed: int) -> list[Estimate]:
        with _numpy_seed(seed):
            sampler = guest.ReactiveNestedSampler(
                [f"p{k}" for k in range(problem.dimension)], problem.log_likelihood,
                problem.prior_transform, vectorized=True)
            found = sampler.run(show_status=False, viz_callback=False)
        with np.errstate(divide="ignore"):
            log_w = np.log(np.asarray(found["weighted_samples"]["weights"]))
        return [Estimate("UltraNest", float(found["logz"]), float(found["logzerr"]), kish(log_w))]

    return run


def nautilus(problem: Problem) -> Timed:
    """Importance nested sampling: 1000 live points and one neural network (the defaults are 2000
    and four), vectorised.  The error of ln Z is ours: 1/sqrt(its effective sample size)."""
    guest = _guest("nautilus")

    def run(seed: int) -> list[Estimate]:
        sampler = guest.Sampler(problem.prior_transform, problem.log_likelihood,
                                n_dim=problem.dimension, n_live=1000, n_networks=1,
                                vectorized=True, pass_dict=False, seed=seed)
        sampler.run(verbose=False)
        size = float(sampler.n_eff)
        return [Estimate("nautilus", float(sampler.log_z), size**-0.5, size)]

    return run


# ---- sequential Monte Carlo ----------------------------------------------------------------------


def pymc(problem: Problem) -> Timed:
    """`sample_smc`, library defaults (2000 draws, independent Metropolis), two chains; ln Z is
    their mean, without an error.  Its own compilation, a second or two, is in every run."""
    from logging import WARNING, getLogger

    getLogger("pymc").setLevel(WARNING)
    guest, tensor = _guest("pymc"), _guest("pytensor.tensor")

    def on_cube(u: Any) -> Any:
        return np.asarray(problem.log_likelihood(problem.prior_transform(u)))

    black_box = _guest("pytensor.compile.ops").wrap_py(
        itypes=[tensor.dvector], otypes=[tensor.dscalar])(on_cube)

    def run(seed: int) -> list[Estimate]:
        with guest.Model():
            u = guest.Uniform("u", 0.0, 1.0, shape=problem.dimension)
            guest.Potential("likelihood", black_box(u))
            trace = guest.sample_smc(draws=2000, chains=2, cores=1, random_seed=seed,
                                     progressbar=False, compute_convergence_checks=False)
        log_z = last_of_chains(trace.sample_stats["log_marginal_likelihood"].values)
        return [Estimate("PyMC SMC", float(log_z.mean()))]

    return run


def blackjax(problem: Problem) -> Timed:
    """Adaptive tempered SMC, two `experiments.guests.populations` of 2000; ln Z is the mean over
    them, without an error."""
    draw = populations(problem.log_likelihood, problem.prior_transform, problem.dimension)
    draw(0, 2)      # compiles

    def run(seed: int) -> list[Estimate]:
        return [Estimate("BlackJAX SMC", float(np.mean([log_z for log_z, _ in draw(seed)])))]

    return run


# ---- tempered ensembles --------------------------------------------------------------------------

TEMPERATURES, WALKERS, STEPS, LEFT_OUT = 20, 100, 1500, 500


class _AtOnce:
    """The `pool` of an ensemble sampler: instead of one point after the other, all in one call."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def values(self, points: Array) -> tuple[Array, Array]:
        """ln L (n,), 0 outside the box, and the log prior (n,)."""
        prior = self.problem.log_prior(points)
        inside, found = np.isfinite(prior), np.zeros(len(points))
        found[inside] = self.problem.log_likelihood(points[inside])
        return found, prior


def ptemcee(problem: Problem) -> Timed:
    """20 temperatures, the hottest infinite, adapted in the 500 steps that are left out; 100
    walkers from the prior, 1000 counted steps; ln Z by thermodynamic integration, the error its
    own (of the quadrature).  Version 1.0.0 wants names that NumPy has dropped; they are lent."""
    guest = _guest("ptemcee")

    class Pool(_AtOnce):
        def map(self, _: Any, points: Any) -> Any:
            return zip(*self.values(np.asarray(points)), strict=True)

    def run(seed: int) -> list[Estimate]:
        with _old_numpy():
            sampler = guest.Sampler(
                WALKERS, problem.dimension, problem.log_likelihood, problem.log_prior,
                ntemps=TEMPERATURES, Tmax=np.inf, pool=Pool(problem),
                random=np.random.RandomState(seed))
            *_, last = sampler.sample(
                problem.prior_samples((TEMPERATURES, WALKERS), seed), LEFT_OUT, adapt=True)
            sampler.reset()
            sampler.run_mcmc(last[0], STEPS - LEFT_OUT)
            value, error = sampler.log_evidence_estimate(fburnin=0.0)
        return [Estimate("ptemcee", float(value), float(error),
                         _of_chains(sampler.loglikelihood[0]))]

    return run


def reddemcee(problem: Problem) -> Timed:
    """The ladder, walkers and steps of ptemcee; ln Z by its stepping stones with a geometric
    bridge, and its error by overlapping batches."""
    guest, ladder = _guest("reddemcee"), _guest("ptemcee").default_beta_ladder

    class Pool(_AtOnce):
        def map(self, _: Any, pairs: Any) -> Any:
            points, betas = (np.array(part) for part in zip(*pairs, strict=True))
            found, prior = self.values(points)
            found[np.isinf(prior)] = -np.inf
            with np.errstate(invalid="ignore"):
                total = np.where(np.isfinite(prior), prior + betas * found, -np.inf)
            return zip(total, found, strict=True)

    def run(seed: int) -> list[Estimate]:
        with _numpy_seed(seed):
            sampler = guest.PTSampler(
                WALKERS, problem.dimension, problem.log_likelihood, problem.log_prior,
                betas=ladder(problem.dimension, ntemps=TEMPERATURES, Tmax=np.inf),
                pool=Pool(problem))
            state = sampler.run_mcmc(
                list(problem.prior_samples((TEMPERATURES, WALKERS), seed)), LEFT_OUT)
            sampler.reset()
            sampler.select_adjustment("NONE")
            sampler.run_mcmc(state, STEPS - LEFT_OUT)
            value, error = sampler.get_evidence_ss()
        cold = np.asarray(sampler.get_log_like())[0]
        return [Estimate("reddemcee", float(value), float(error), _of_chains(cold.T))]

    return run


def eryn(problem: Problem) -> Timed:
    """The ladder, walkers and steps of ptemcee; ln Z by its stepping stones, the error by its block
    bootstrap of every tenth step (10 repeats, its default of 100 takes as long as the run).  Its
    estimator is called with temperatures on the last axis: its backend hands it walkers there.  In
    version 1.2.6 it takes ln n off once for every pair of its T - 1 steps, so that ln Z is
    (T - 1)(T - 2) ln n too low, thousands of nats: that much is put back."""
    # Eryn 1.2 calls it, NumPy 2.4 has it no more.
    vars(np).setdefault("in1d", lambda a, b, **how: np.isin(a, b, **how).ravel())
    guest, prior = _guest("eryn.ensemble"), _guest("eryn.prior")
    evidence = _guest("eryn.utils.utility").stepping_stone_log_evidence

    def run(seed: int) -> list[Estimate]:
        priors = prior.ProbDistContainer({
            k: prior.uniform_dist(float(low), float(high))
            for k, (low, high) in enumerate(zip(problem.lower, problem.upper, strict=True))})
        with _numpy_seed(seed):
            sampler = guest.EnsembleSampler(
                WALKERS, problem.dimension, problem.log_likelihood, priors, vectorize=True,
                tempering_kwargs={"ntemps": TEMPERATURES, "Tmax": np.inf,
                                  "stop_adaptation": LEFT_OUT})
            start = problem.prior_samples((TEMPERATURES, WALKERS), seed)
            sampler.run_mcmc(start, STEPS - LEFT_OUT, burn=LEFT_OUT, progress=False)
            all_steps, betas = sampler.get_log_like(), sampler.get_betas()
            (value, _), (_, error) = (
                evidence(betas[-1], _last_axis(all_steps[::thin]), repeats=repeats)
                for thin, repeats in ((1, 1), (10, 10)))
            value += (TEMPERATURES - 1) * (TEMPERATURES - 2) * math.log(all_steps[:, 0].size)
        return [Estimate("Eryn", float(value), float(error), _of_chains(all_steps[:, 0].T))]

    return run


def _last_axis(log_likelihoods: Array) -> Array:
    """(steps, temperatures, walkers) to (steps * walkers, temperatures, 1)."""
    return np.moveaxis(log_likelihoods, 1, -1).reshape(-1, log_likelihoods.shape[1])[..., None]


@contextmanager
def _old_numpy() -> Iterator[None]:
    """`np.float` and `np.trapz`, which NumPy had once, for the time of a run."""
    lent = {name: value for name, value in (("float", float), ("trapz", np.trapezoid))
            if not hasattr(np, name)}
    for name, value in lent.items():
        setattr(np, name, value)
    try:
        yield
    finally:
        for name in lent:
            delattr(np, name)


ADAPTERS: dict[str, Callable[[Problem], Timed]] = {
    "ours, 4 x 1000": _ours(4, 1000, None), "ours, 1 x 500": _ours(1, 500, 500),
    "dynesty": dynesty, "ultranest": ultranest, "nautilus": nautilus, "pymc": pymc,
    "blackjax": blackjax, "ptemcee": ptemcee, "reddemcee": reddemcee, "eryn": eryn}
