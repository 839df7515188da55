"""Exchange Monte Carlo: replicas at all temperatures of a ladder, neighbours exchanging.

`sample` reads like the algorithm: start from the prior, burn in by rounds (after each, steps
and ladder are tuned), freeze everything, count.  Exchange is deterministic even/odd, every sweep
(Syed et al. 2022); temperatures are swapped, not states (Hukushima and Nemoto, JPSJ 65 (1996)
1604).  Independent chains run in threads; results do not depend on how many.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.errors import InputError
from sampler.jumps import KEPT, Jumps, fit_jumps, nowhere, possible
from sampler.ladder import Ladder, equalised, first_ladder, swap_acceptance
from sampler.posterior import Posterior

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Progress = Callable[[int, int, str], None]

TARGET_ACCEPTANCE = 0.44  # of one-parameter random walks (Gelman, Roberts, Gilks 1996)
FIRST_COUNT = 2000        # sweeps of the first counted round of ``until``
SLICE_SECONDS = 0.3       # a running chain answers Ctrl-C and reports this often
FITTED = 1000             # draws of a rung, all chains together, that jumps are fitted to
SLOW = 10.0               # sweeps of autocorrelation from which jumps are worth a fit
_FROZEN = ("on", "edge", "height", "mean", "root")
_ATTEMPTS = 10_000        # draws from the prior until a start has a finite energy


@dataclass(frozen=True, eq=False)
class State:
    """All that the next sweep depends on; carried on by `resume`, not looked at.

    C chains, R replicas (= rungs), P parameters, N padded points, B data sets.
    """

    sweep: int          # number of the next sweep
    theta: Array        # (C, R, P)
    state: Array        # (C, R, N) model minus data, bit for bit
    quad: Array         # (C, R, B)
    energy: Array       # (C, R)
    rung: IntArray      # (C, R) which replica sits at each rung
    accepted: IntArray  # (R, P) counted so far, over all chains
    proposed: IntArray  # (R, P)
    jump_on: IntArray   # (R,) 1 where a frozen density of M parts is jumped to, see `sampler.jumps`
    jump_edge: Array    # (R, M)
    jump_height: Array  # (R, M)
    jump_mean: Array    # (R, M, P)
    jump_root: Array    # (R, M, P, P)
    jump_accepted: IntArray  # (R,) counted so far, over all chains
    jump_proposed: IntArray  # (R,)


@dataclass(frozen=True, eq=False)
class Run:
    """What happened: energies of all rungs, draws at beta = 1, and how it was run.

    `free_energy`, `diagnose`, `summary` and `choose` read it; `resume` counts on, to the same
    bits as if it had never stopped; `save_run` keeps it.

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, shapes
    >>> level = Model.single(shapes.constant, offset=(-1, 1))
    >>> run = sample(Posterior(level, Data([0, 1], [0.1, 0.2], noise=0.5)), 200, burn_in=100)
    >>> run.chains, run.sweeps, run.draws.shape, run.stopped
    (4, 200, (4, 200, 1), 'sweeps')
    """

    posterior: Posterior
    betas: Array            # (rungs,) inverse temperatures, 0 (prior) ... 1 (posterior)
    energy: Array           # (chains, sweeps, rungs) U before each exchange
    replica: NDArray[np.int16]  # (chains, sweeps, rungs) which replica sat at the rung
    draws: Array            # (chains, sweeps, parameters) at beta = 1
    steps: Array            # (rungs, parameters) step of the random walk, frozen
    burn_in: int            # sweeps per chain before counting
    seed: int
    stopped: str            # "sweeps", "until", "limit" or "interrupted"
    seconds: float          # wall time
    state: State
    versions: Mapping[str, str]
    integrated: tuple[str, ...] = ()  # amplitudes integrated out of U; drawn afterwards

    @property
    def chains(self) -> int:
        """Number of independent chains."""
        return int(self.energy.shape[0])

    @property
    def sweeps(self) -> int:
        """Counted sweeps per chain."""
        return int(self.energy.shape[1])

    @property
    def sampled(self) -> int:
        """Number of parameters that were moved: those not integrated out."""
        return self.posterior.dimension - len(self.integrated)

    @property
    def swap_rate(self) -> Array:
        """Mean exchange probability of each pair of neighbours, array (rungs - 1,); draws of the
        prior outside the support, which can go nowhere, are left out."""
        return swap_acceptance(self.betas, self.energy)

    @property
    def acceptance(self) -> Array:
        """Accepted share of the proposals, array (rungs, parameters); nan where draws are exact."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.state.accepted / self.state.proposed)

    @property
    def jump_acceptance(self) -> Array:
        """Accepted share of the jumps between modes, array (rungs,); nan where none is tried."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.state.jump_accepted / self.state.jump_proposed)

    def to_arviz(self, *, sort: bool = False, log_likelihood: bool = False) -> Any:
        """The draws for ArviZ: an InferenceData (0.x) or a DataTree (1.x); see
        `sampler.export.to_arviz`."""
        from sampler.export import to_arviz

        return to_arviz(self, sort=sort, log_likelihood=log_likelihood)


def sample(posterior: Posterior, sweeps: int | None = None, *, until: float = 0.1,
           burn_in: int | None = None, chains: int = 4, seed: int = 0,
           ladder: Ladder | None = None, jumps: bool = True, threads: int | None = None,
           progress: Progress | None = None, max_sweeps: int = 200_000,
           integrate_out: str | Sequence[str] = ()) -> Run:
    """Sample a posterior, and everything between it and the prior, by exchange Monte Carlo.

    Parameters
    ----------
    posterior : Posterior
    sweeps : int, optional
        Counted sweeps per chain.  If not given: until the error of F is ``until`` nats and the
        run is trusted, at most ``max_sweeps`` in all.

    Other Parameters
    ----------------
    until : float
        Wanted standard error of the free energy (nats).
    burn_in : int, optional
        Sweeps per chain in which steps and ladder are tuned; a quarter of ``sweeps``, at
        least 2000, if not given.
    chains : int
        Independent chains; their disagreement is the alarm.
    seed : int
        From 0 to 2**64 - 1; equal seeds give equal bits, on any number of threads.
    ladder : Ladder, optional
        Run exactly this ladder; tuned from the problem if not given.
    jumps : bool
        Fit densities to the burn-in and jump between modes with them (`sampler.jumps`) wherever
        the walk alone is slow and jumps are accepted.
    threads : int, optional
        As many as chains and cores if not given.
    progress : callable (done, total, words), optional
        Called now and then.
    max_sweeps : int
        Limit for ``until``.
    integrate_out : ``"amplitudes"`` or names
        Integrate the parameters that enter linearly (all of them, or these) out of the energy,
        exactly: U is then minus ln of the likelihood averaged over their priors.  F is the same;
        their draws at beta = 1 are made afterwards, from their exact law given the others.  For
        Gaussian noise and normal priors (and one amplitude with bounds).  With 0/1 parameters
        (`Bernoulli`) that put amplitudes in and out it is the search for sparse combinations:
        also pairs are exchanged, one in and one out, at a cost that does not grow with the points.

    Returns
    -------
    Run
        Also when it cannot be trusted: `sampler.diagnose` says so.

    Raises
    ------
    InputError
        For numbers out of range, a prior that has no point of finite energy, or an amplitude
        whose integral has no closed form.

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, shapes
    >>> line = Model.single(shapes.linear, offset=(-1, 1), slope=(-10, 10))
    >>> data = Data([0, 1, 2], [0.1, 0.9, 2.2], noise=0.5)
    >>> run = sample(Posterior(line, data), sweeps=500, burn_in=500, seed=1)
    >>> run.energy.shape == (4, 500, len(run.betas))
    True
    """
    begin = time.perf_counter()
    _check_numbers(sweeps, until, burn_in, chains, seed, threads, max_sweeps)
    if posterior.dimension == 0:
        return _exact(posterior, seed)
    if burn_in is None:
        burn_in = min(2000, max_sweeps // 2) if sweeps is None else max(2000, sweeps // 4)
    elif sweeps is None and burn_in >= max_sweeps:
        raise InputError("max_sweeps", str(max_sweeps), f"more than burn_in, {burn_in}")
    machine = _Machine(posterior, chains, seed, threads, progress, jumps,
                       _names(posterior, integrate_out))
    try:
        machine.start(None if ladder is None else ladder.betas)
        machine.expect(burn_in + (sweeps or FIRST_COUNT))
        machine.burn_in(burn_in)
        if sweeps is not None:
            machine.count(sweeps)
            return machine.run("sweeps", begin)
        return _until(machine, until, max_sweeps, begin)
    except KeyboardInterrupt:
        if machine.kept is None:
            raise
        return machine.run("interrupted", begin)
    finally:
        machine.close()


def _names(posterior: Posterior, integrate_out: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(integrate_out, tuple | list) and not integrate_out:
        return ()
    from sampler.kernels.amplitudes import integrable

    return integrable(posterior, integrate_out)


def _until(machine: _Machine, until: float, max_sweeps: int, begin: float) -> Run:
    """Count in rounds.  Trusted but too coarse, or only too short: go on.  Otherwise, and the
    first time in any case, all so far was burn-in: tune again and count anew, as long as the
    limit leaves room to count more than is thrown away."""
    from sampler.diagnostics import diagnose
    from sampler.evidence import free_energy

    size = min(FIRST_COUNT, max_sweeps - (machine.sweep - 1))
    tuned_again = False
    while True:
        machine.count(size)
        run = machine.run("until", begin)
        diagnosis = diagnose(run, bridged=False)
        if diagnosis.trusted:   # only now is the bridge worth its time
            diagnosis, error = diagnose(run), free_energy(run).error
            if diagnosis.trusted and error <= until:
                return run
        left = max_sweeps - (machine.sweep - 1)
        if left <= 0:
            return replace(run, stopped="limit")
        if diagnosis.trusted:
            # The error falls as 1/sqrt(sweeps); a tenth more spares a further round.
            wanted = math.ceil(run.sweeps * (1.1 * (error / until) ** 2 - 1.0))
            size = max(wanted, run.sweeps // 2)
        elif (tuned_again and diagnosis.only_short) or left < 2 * run.sweeps:
            size = run.sweeps
        else:
            size, tuned_again = 2 * run.sweeps, True
            machine.expect(machine.sweep + run.sweeps + size)
            try:
                machine.burn_in(run.sweeps)
            except KeyboardInterrupt:
                return replace(run, stopped="interrupted")
            left -= run.sweeps
        size = min(size, left)
        machine.expect(machine.sweep + size)


def resume(run: Run, sweeps: int, *, threads: int | None = None,
           progress: Progress | None = None) -> Run:
    """Count more sweeps of a run: the same bits as if it had never stopped.

    Parameters
    ----------
    run : Run
    sweeps : int
        Further counted sweeps per chain.
    threads, progress
        As in `sample`.

    Returns
    -------
    Run
        The old sweeps and the new ones.
    """
    begin = time.perf_counter()
    _whole("sweeps", sweeps, 1)
    if run.posterior.dimension == 0:
        return run
    machine = _Machine(run.posterior, run.chains, run.seed, threads, progress,
                       integrated=run.integrated)
    try:
        machine.restore(run)
        machine.expect(run.state.sweep + sweeps)
        machine.count(sweeps)
        stopped = "sweeps"
    except KeyboardInterrupt:
        if machine.kept is None:
            raise
        stopped = "interrupted"
    finally:
        machine.close()
    return machine.run(stopped, begin, run.seconds)


def metropolis(posterior: Posterior, sweeps: int, *, burn_in: int = 2000, chains: int = 4,
               seed: int = 0, threads: int | None = None,
               progress: Progress | None = None) -> Run:
    """Plain one-parameter Metropolis at beta = 1, started from the prior: the lesson's control.

    No exchange and no exact draws, so it shows what a single temperature does; it gives no
    free energy.

    Parameters
    ----------
    posterior : Posterior
    sweeps : int
        Counted sweeps per chain.
    burn_in, chains, seed, threads, progress
        As in `sample`; a seed's chains never share numbers with each other.

    Returns
    -------
    Run
        With one rung, beta = 1.
    """
    begin = time.perf_counter()
    _check_numbers(sweeps, 0.1, burn_in, chains, seed, threads, 1)
    machine = _Machine(posterior, chains, seed, threads, progress)
    try:
        moves = machine.engine.problem.move
        moves[moves == machine.cpu.LINEAR] = machine.cpu.WALK
        machine.start(np.ones(1))
        machine.expect(burn_in + sweeps)
        machine.burn_in(burn_in)
        machine.count(sweeps)
        return machine.run("sweeps", begin)
    except KeyboardInterrupt:
        if machine.kept is None:
            raise
        return machine.run("interrupted", begin)
    finally:
        machine.close()


@dataclass(frozen=True)
class _Engine:
    """A compiled sweep and what it reads: what the driver knows of it."""

    tables: Any    # first argument of the functions below
    problem: Any   # the posterior's own tables among them
    buffers: Any
    rebuild: Any
    sweeps: Any


def _plain(posterior: Posterior) -> _Engine:
    from sampler.kernels import cpu
    from sampler.kernels.problem import lower

    problem = lower(posterior, compiled=True)
    return _Engine(problem, problem, buffers, cpu.rebuild, cpu.sweeps)


def _collapsed(posterior: Posterior, integrated: tuple[str, ...]) -> _Engine:
    from sampler.kernels import collapsed
    from sampler.kernels.amplitudes import tables

    found = tables(posterior, integrated)
    return _Engine(found, found.problem, collapsed.buffers, collapsed.rebuild, collapsed.sweeps)


class _Machine:
    """The chains of one run: compiled kernel, buffers, and the records of the counted sweeps."""

    def __init__(self, posterior: Posterior, chains: int, seed: int, threads: int | None,
                 progress: Progress | None, jumps: bool = False,
                 integrated: tuple[str, ...] = ()) -> None:
        from sampler import philox
        from sampler.kernels import cpu
        from sampler.kernels.problem import step_limits

        self.cpu, self.posterior, self.seed, self.progress = cpu, posterior, seed, progress
        self.integrated = integrated
        self.engine = _collapsed(posterior, integrated) if integrated else _plain(posterior)
        self.limits = 4.0 * step_limits(posterior)
        streams = (philox.START, philox.PRIOR, philox.WALK, philox.SWAP, philox.JUMP,
                   philox.TRADE, philox.AMPLITUDE)
        self.keys = [np.array([philox.stream_key(seed, s, c) for s in streams], dtype=np.uint64)
                     for c in range(chains)]
        self.pool = ThreadPoolExecutor(threads or min(chains, os.cpu_count() or 1))
        self.sweep, self.total, self.burnt = 1, 0, 0
        self.records: list[list[tuple[Array, ...]]] = []
        # Slices counted, and the state after the last of them: an interrupt may fall anywhere.
        self.kept: tuple[int, State] | None = None
        self.pace = 20.0  # sweeps per slice, measured as we go
        self.interrupted = False
        self.jumps: Jumps | None = None
        self.may_jump = jumps and not integrated and possible(posterior)
        self.thin = int(np.iinfo(np.int64).max)
        self.thetas: list[list[Array]] = [[] for _ in self.keys]
        self.fits, self.address = 0, 0

    # -- buffers --------------------------------------------------------------------------------

    def _new_chain(self, replicas: int) -> Any:
        return self.engine.buffers(self.engine.tables, self.posterior.dimension, replicas)[0]

    def _new_work(self) -> Any:
        return self.engine.buffers(self.engine.tables, self.posterior.dimension, 1)[1]

    def _rebuild(self) -> None:
        for chain, work in zip(self.chains, self.work, strict=True):
            for r in range(len(chain.energy)):
                self.engine.rebuild(self.engine.tables, chain, work, r)

    # -- the life of a run ----------------------------------------------------------------------

    def start(self, betas: Array | None) -> None:
        """Every replica from the prior; the ladder from the prior's own energy spread."""
        self.fixed_ladder = betas is not None
        self.work = [self._new_work() for _ in self.keys]
        self.betas = first_ladder(self._prior_energies()) if betas is None else betas
        self.chains = [self._new_chain(len(self.betas)) for _ in self.keys]
        for c in range(len(self.chains)):
            self._draw_starts(c)
        second = self.betas[min(1, len(self.betas) - 1)]
        shrink = np.sqrt(second / np.maximum(self.betas, second))
        self.steps = np.clip(0.5 * shrink[:, None] * self.limits, 1e-6 * self.limits, self.limits)
        self._forget()

    def _draw(self, chain: Any, c: int, r: int, attempt: int, replica: int) -> float:
        p = self.engine.problem
        self.cpu.draw_prior(p.kind, p.prior, p.below, p.above, attempt, replica,
                            self.keys[c][0], chain.theta[r])
        self.engine.rebuild(self.engine.tables, chain, self.work[c], r)
        return float(chain.energy[r])

    def _prior_energies(self) -> Array:
        chain = self._new_chain(1)
        energies = np.array([self._draw(chain, 0, 0, 0, (1 << 20) + i) for i in range(256)])
        attempt = 0
        while not np.isfinite(energies).any():
            attempt += 1
            if attempt > _ATTEMPTS:
                raise InputError(
                    "prior", f"no finite energy in {attempt + 256} draws",
                    "a prior that the data allow somewhere",
                    "check units and ranges, and that a Poisson model cannot be negative")
            energies[0] = self._draw(chain, 0, 0, attempt, 1 << 20)
        return energies

    def _draw_starts(self, c: int) -> None:
        for r in range(len(self.betas)):
            for attempt in range(_ATTEMPTS + 1):
                if math.isfinite(self._draw(self.chains[c], c, r, attempt, r)):
                    break
            else:
                raise InputError("prior", f"no finite energy in {_ATTEMPTS} draws",
                                 "a prior that the data allow somewhere")

    def expect(self, total: int) -> None:
        """How many sweeps are planned, for the progress line."""
        self.total = total

    def burn_in(self, sweeps: int) -> None:
        """Rounds that grow; after each, steps and ladder are tuned.  Then rounds after which, where
        the walk is slow, jumps are fitted anew.  The rest runs with what will be counted with, so
        that it is forgotten too."""
        self._discard()
        begin, self.jumps = self.sweep, None
        tuning = sweeps - sweeps // 2
        sizes = [tuning // 20] * 4 + [tuning // 10] * 2
        sizes += [(tuning - sum(sizes)) // 4] * 2
        sizes.append(tuning - sum(sizes))
        energy = draws = np.zeros((0, 0, 0))
        for k, size in enumerate(sizes):
            if size:
                energy, draws = self._sweeps(size, "burn-in")
                self._tune_steps()
                if not self.fixed_ladder and k >= 3:
                    self._tune_ladder(energy)
        if self.may_jump:
            self._learn_jumps([sweeps // 8] * 3, is_slow(energy, draws))
        self._sweeps(begin + sweeps - self.sweep, "burn-in")
        if self.jumps is not None:
            self.jumps = self._kept(self.jumps, KEPT)
        self.burnt = self.sweep - 1
        self._forget()

    def count(self, sweeps: int) -> None:
        """Frozen steps and ladder: every sweep is kept."""
        self._sweeps(sweeps, "counting", keep=True)

    def run(self, stopped: str, begin: float, before: float = 0.0) -> Run:
        """The Run so far, up to the last whole slice."""
        assert self.kept is not None
        slices, state = self.kept
        energy, replica, draws = (
            np.stack([np.concatenate([record[k] for record in chain[:slices]])
                      for chain in self.records]) for k in range(3))
        return Run(self.posterior, self.betas.copy(), energy, replica, draws, self.steps.copy(),
                   self.burnt, self.seed, stopped, before + time.perf_counter() - begin, state,
                   _versions(), self.integrated)

    def _state(self) -> State:
        stack = {name: np.stack([getattr(chain, name) for chain in self.chains])
                 for name in ("theta", "state", "quad", "energy", "rung")}
        jumps = self.jumps or nowhere(self.posterior, self.engine.problem, len(self.betas))
        frozen = {f"jump_{name}": getattr(jumps, name) for name in _FROZEN}
        return State(sweep=self.sweep, accepted=self.accepted.copy(),
                     proposed=self.proposed.copy(), jump_accepted=self.jump_accepted.copy(),
                     jump_proposed=self.jump_proposed.copy(), **stack, **frozen)

    def restore(self, run: Run) -> None:
        """Buffers as they were; columns follow from the parameters, bit for bit."""
        state = run.state
        self.fixed_ladder, self.betas, self.steps = True, run.betas.copy(), run.steps.copy()
        self.work = [self._new_work() for _ in self.keys]
        self.chains = [self._new_chain(len(run.betas)) for _ in self.keys]
        for c, chain in enumerate(self.chains):
            chain.theta[...] = state.theta[c]
        self._rebuild()
        for c, chain in enumerate(self.chains):
            for name in ("state", "quad", "energy", "rung"):
                getattr(chain, name)[...] = getattr(state, name)[c]
        self.sweep, self.burnt = state.sweep, run.burn_in
        self.accepted, self.proposed = state.accepted.copy(), state.proposed.copy()
        self.jump_accepted = state.jump_accepted.copy()
        self.jump_proposed = state.jump_proposed.copy()
        if state.jump_on.any():
            self.jumps = nowhere(self.posterior, self.engine.problem, len(run.betas))._replace(
                **{name: getattr(state, f"jump_{name}") for name in _FROZEN})
        self.records = [[(run.energy[c], run.replica[c], run.draws[c])]
                        for c in range(run.chains)]
        self.kept = 1, state

    def close(self) -> None:
        """Let the threads go."""
        self.pool.shutdown()

    # -- sweeping -------------------------------------------------------------------------------

    def _sweeps(self, count: int, words: str, keep: bool = False) -> tuple[Array, Array]:
        """Advance all chains in slices; wall time decides only where the slices are cut.  Unless
        they are kept, energies (chains, sweeps, rungs) and draws (chains, sweeps, parameters)
        are returned."""
        passed: list[list[tuple[Array, ...]]] = []
        while count > 0:
            size = int(min(count, max(1.0, self.pace)))
            begin = time.perf_counter()
            slices = self._slice(size)
            seconds = time.perf_counter() - begin
            measured = size * SLICE_SECONDS / max(seconds, 1e-6)
            self.pace = min(4.0 * self.pace, max(0.25 * self.pace, measured))
            count -= size
            self.sweep += size
            if keep:
                for chain, record in zip(self.records, slices, strict=True):
                    chain.append(record)
                self.kept = len(self.records[0]), self._state()
            else:
                passed.append(slices)
            if self.progress is not None:
                self.progress(self.sweep - 1, max(self.total, self.sweep - 1), words)
            if self.interrupted:
                raise KeyboardInterrupt
        return tuple(np.concatenate([np.stack([record[k] for record in slices])   # type: ignore
                                     for slices in passed], axis=1) if passed
                     else np.zeros((0, 0, 0)) for k in (0, 2))

    def _slice(self, size: int) -> list[tuple[Array, ...]]:
        """The same number of sweeps of every chain; an interrupt waits for all of them."""
        jobs = [self.pool.submit(self._one, c, size) for c in range(len(self.chains))]
        try:
            wait(jobs)
        except KeyboardInterrupt:
            self.interrupted = True
            wait(jobs)
        return [self._counted(*job.result()) for job in jobs]

    def _one(self, c: int, size: int) -> tuple[Any, ...]:
        rungs, free = self.steps.shape
        energy = np.empty((size, rungs))
        replica = np.empty((size, rungs), dtype=np.int16)
        draws = np.empty((size, free))
        accepted = np.zeros((rungs, free), dtype=np.int64)
        proposed = np.zeros((rungs, free), dtype=np.int64)
        arguments = (self.chains[c], self.work[c], self.betas, self.steps, self.keys[c],
                     self.sweep, energy, replica, draws, accepted, proposed)
        jumped, tried = np.zeros(rungs, dtype=np.int64), np.zeros(rungs, dtype=np.int64)
        if self.jumps is None:
            self.engine.sweeps(self.engine.tables, *arguments)
        else:
            last = self.sweep + size - 1
            thetas = np.empty((last // self.thin - (self.sweep - 1) // self.thin, rungs, free))
            jumping = self.cpu.Jumping(self._new_chain(1), np.empty((5, 3 + 2 * free)), jumped,
                                       tried, thetas)
            if not self.address:
                self.address = self.cpu.address_of_sweeps(self.engine.problem, *arguments)
            self.cpu.jumping_sweeps(self.address, self.engine.problem, self.jumps, jumping,
                                    *arguments, self.thin)
            if len(thetas):
                self.thetas[c].append(thetas)
        return energy, replica, draws, accepted, proposed, jumped, tried

    def _counted(self, energy: Array, replica: Any, draws: Array, accepted: IntArray,
                 proposed: IntArray, jumped: IntArray, tried: IntArray) -> tuple[Array, ...]:
        self.accepted += accepted
        self.proposed += proposed
        self.jump_accepted += jumped
        self.jump_proposed += tried
        return energy, replica, draws

    # -- jumps ----------------------------------------------------------------------------------

    def _learn_jumps(self, sizes: list[int], slow: bool) -> None:
        """From where the walk is first slow: gather, fit every third rung, jump, fit all, jump,
        refit those where it pays.  A mode may be found, and the walk prove slow, at any time.  No
        jumps at all where they do not pay."""
        rungs = len(self.betas)
        fitted: Jumps | None = nowhere(self.posterior, self.engine.problem, rungs)
        colder = np.arange(rungs) >= rungs // 4
        probed = colder & (np.arange(rungs)[::-1] % 3 == 0)
        wanted = probed
        for size in sizes:
            self.jumps = fitted if slow else None
            self.thin = max(1, len(self.chains) * size // FITTED)
            self.thetas = [[] for _ in self.chains]
            self._forget_acceptance()
            energy, draws = self._sweeps(size, "burn-in")
            if self.jumps is None:
                slow = is_slow(energy, draws)
                continue
            if self.jumps.on.any():
                fitted = self._kept(self.jumps, 0.5 * KEPT)
                if fitted is not None:
                    wanted = colder if wanted is probed else fitted.on == 1
            thetas = np.concatenate([row for chain in self.thetas for row in chain] or [
                np.zeros((0, rungs, self.posterior.dimension))])
            if fitted is None or len(thetas) < 4 * (self.posterior.dimension + 1):
                self.jumps = None
                break
            self.fits += 1
            self.jumps = fitted = fit_jumps(self.posterior, fitted, thetas, wanted, self.seed,
                                            self.fits)
        self.thin = int(np.iinfo(np.int64).max)
        self._forget_acceptance()

    def _kept(self, jumps: Jumps, least: float) -> Jumps | None:
        """Only the rungs where more than this share of the tries is accepted; none at all where
        that is not even half of them: few such rungs shorten no round trip."""
        share = self.jump_accepted / np.maximum(self.jump_proposed, 1)
        on = (jumps.on == 1) & (share > least)
        few = 2 * on.sum() < jumps.on.sum()
        return None if few else jumps._replace(on=on.astype(np.int64))

    # -- tuning ---------------------------------------------------------------------------------

    def _tune_steps(self) -> None:
        """Scale each step by the law of a walk on a Gaussian: rate = (2/pi) arctan(2/step)."""
        seen = self.proposed > 0
        rate = (self.accepted + 0.5) / (self.proposed + 1.0)
        factor = np.tan(0.5 * np.pi * rate) / math.tan(0.5 * math.pi * TARGET_ACCEPTANCE)
        scaled = self.steps * np.clip(factor, 0.1, 10.0)
        self.steps = np.where(seen, np.clip(scaled, 1e-12 * self.limits, self.limits), self.steps)
        self._forget_acceptance()

    def _tune_ladder(self, energy: Array) -> None:
        old, oldest = self.betas, self.steps
        self.betas = equalised(old, swap_acceptance(old, energy))
        # Steps follow in log beta; the replicas come from the nearest old rung.
        place = np.log(np.maximum(self.betas, 0.5 * old[1]))
        grid = np.log(np.maximum(old, 0.5 * old[1]))
        self.steps = np.exp(np.stack(
            [np.interp(place, grid, np.log(oldest[:, p])) for p in range(oldest.shape[1])], axis=1))
        nearest = np.abs(place[:, None] - grid[None, :]).argmin(axis=1)
        if len(self.betas) != len(old):
            for c, chain in enumerate(self.chains):
                # A draw of the prior may lie outside the support, where no other rung may start:
                # the next colder replica that does not takes its place.
                inside = np.flatnonzero(np.isfinite(chain.energy[chain.rung]))
                start = inside[np.minimum(np.searchsorted(inside, nearest), len(inside) - 1)]
                theta = chain.theta[chain.rung[start]]
                self.chains[c] = self._new_chain(len(self.betas))
                self.chains[c].theta[...] = theta
            self._rebuild()
        self._forget_acceptance()

    def _forget_acceptance(self) -> None:
        self.accepted = np.zeros(self.steps.shape, dtype=np.int64)
        self.proposed = np.zeros(self.steps.shape, dtype=np.int64)
        self.jump_accepted = np.zeros(len(self.betas), dtype=np.int64)
        self.jump_proposed = np.zeros(len(self.betas), dtype=np.int64)

    def _forget(self) -> None:
        self._forget_acceptance()
        self._discard()

    def _discard(self) -> None:
        self.kept, self.records = None, [[] for _ in self.keys]


def is_slow(energy: Array, draws: Array) -> bool:
    """Whether the energy or any parameter takes many sweeps at beta = 1 to be forgotten."""
    from sampler.series import autocorrelation_time

    if draws.shape[1] < 2:
        return False
    series = [energy[..., -1], *np.moveaxis(draws, -1, 0)]
    return max(autocorrelation_time(values) for values in series) > SLOW


def buffers(problem: Any, parameters: int, replicas: int) -> tuple[Any, Any]:
    """Zeroed state of one chain, and scratch of one thread, for the compiled functions."""
    from sampler.kernels import cpu
    from sampler.kernels.problem import aligned_zeros

    columns, points = int(problem.padded[problem.block].sum()), len(problem.y)
    chain = cpu.Chain(
        np.zeros((replicas, parameters)), aligned_zeros((replicas, columns)),
        aligned_zeros((replicas, points)), np.zeros((replicas, len(problem.law))),
        np.zeros(replicas), np.arange(replicas))
    work = cpu.Work(
        aligned_zeros((columns,)), aligned_zeros((points,)), np.zeros(len(problem.law)),
        aligned_zeros((parameters + len(problem.fixed),)), aligned_zeros((64,)),
        aligned_zeros((parameters,)), aligned_zeros((parameters,)))
    return chain, work


def _exact(posterior: Posterior, seed: int) -> Run:
    """A model without free parameters: one energy, no run."""
    energy = posterior.energy(np.zeros((1, 1, 1, 0)))
    none = np.zeros((1, 1, 0))
    count = np.zeros((1, 0), dtype=np.int64)
    state = State(0, none, none, none, energy[0], np.zeros((1, 1), dtype=np.int64), count, count,
                  np.zeros(1, dtype=np.int64), np.zeros((1, 0)), np.zeros((1, 0)),
                  np.zeros((1, 0, 0)), np.zeros((1, 0, 0, 0)), np.zeros(1, dtype=np.int64),
                  np.zeros(1, dtype=np.int64))
    return Run(posterior, np.ones(1), energy, np.zeros((1, 1, 1), dtype=np.int16), none,
               np.zeros((1, 0)), 0, seed, "sweeps", 0.0, state, _versions())


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("bayesian-measurement", "numpy", "numba", "sympy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _check_numbers(sweeps: Any, until: Any, burn_in: Any, chains: Any, seed: Any, threads: Any,
                   max_sweeps: Any) -> None:
    for name, value, least in (("sweeps", sweeps, 1), ("burn_in", burn_in, 0),
                               ("threads", threads, 1)):
        if value is not None:
            _whole(name, value, least)
    _whole("chains", chains, 1, 1024)
    _whole("max_sweeps", max_sweeps, 1)
    _whole("seed", seed, 0, 2**64 - 1)
    if isinstance(until, bool) or not isinstance(until, int | float) or not 0 < until < math.inf:
        raise InputError("until", repr(until), "a wanted error of F in nats, > 0")


def _whole(name: str, value: Any, least: int, most: int = 10**12) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not (
            least <= value <= most):
        raise InputError(name, repr(value), f"a whole number from {least} to {most}")
