"""How many CPU seconds until ln Z is known to 0.1 nats?  Twelve estimates by nine samplers.

The problem is that of `experiments.campaigns.three_peaks`, K = 3: three peaks that overlap, 301
points, flat priors.  F is known to 0.0012 nats there, from long runs by two routes (bridge, and
BAR along the ladder); every error below is against it, none is a sampler's own word.

Measured, one sampler after the other, each in a process of its own on one core: CPU seconds of a
run once everything is compiled (`experiments.peer_adapters`: all guests have the same compiled
likelihood, each its library's defaults where its docstring says nothing else), its error, the error
it claims, evaluations, and what its draws are worth.  Then the cost of our sweep against the number
of points, peaks and temperatures.  ``make peers`` runs it, goes on where it stopped, and writes the
tracked result.

Ours: the settings and the number of seeds; few for what takes minutes, so that the rms error of
three runs is known to a factor of 0.76 to 1.9 only (68 %), and CPU seconds to its square.  A
library tuned by hand may do better than its defaults.

What may be claimed: CPU seconds to an rms error of 0.1 are scaled from a run, seconds (rms/0.1)**2.
That holds where the error is statistical, so that four times the work halves it: the mean error of
the runs must agree with none (t test, p > 0.01).  With three seeds only gross bias is seen.  Ours
errs by far less than 0.1 in its shortest runs, which burn-in and the fit of the bridge keep from
being shorter: scaled, its ratio to others is one at the error that it reaches.  Beside it stands
the ratio at 0.1 to a run of ours as it was, not scaled.

Our sampler knows the formula, guests see a black box; that is part of why it is fast, and no merit
of its proposals.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims
from experiments.figures import styled
from experiments.paths import ROOT
from experiments.run_store import Key, RunStore, machine

Array = NDArray[np.float64]
SECONDS = 3600.0
UNIT = "runs"
WRITES_FAILURES = True     # who is slow is a result like any other
RUNS = ROOT / "build" / "peers" / "three_peaks.jsonl"
WANTED = 0.1               # rms error of ln Z (nats)
STRAIGHT = 0.2             # a cost is linear if no point is farther from its line
HEADLINE = "ours, 4 x 1000, bridge"
DISTRIBUTIONS = {"nautilus": "nautilus-sampler", "ours, 4 x 1000": "bayesian-measurement",
                 "ours, 1 x 500": "bayesian-measurement"}
ONE_CORE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
            "NUMBA_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}


def _seeds() -> dict[str, int]:
    return {"ours, 4 x 1000": 20, "ours, 1 x 500": 20, "dynesty": 3, "blackjax": 3, "ultranest": 3,
            "nautilus": 3, "pymc": 3, "ptemcee": 3, "reddemcee": 3, "eryn": 3}


@dataclass(frozen=True)
class Settings:
    """Ours; seeds count from 1."""

    seeds: dict[str, int] = field(default_factory=_seeds)
    most_seconds: float = 300.0       # CPU seconds after which a sampler is given up
    points: tuple[int, ...] = (100, 200, 300, 500, 1000, 2000, 3000)
    peaks: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    rungs: tuple[int, ...] = (8, 16, 24, 32, 48, 64)
    rounds: int = 5                   # timings of which the median is taken
    updates: float = 4e5              # proposals of a timing at 300 points; fewer where more points


SETTINGS = Settings()
QUICK = Settings({"ours, 1 x 500": 2}, points=(200, 400), peaks=(1, 2), rungs=(8, 16), rounds=1,
                 updates=2e4)


@dataclass(frozen=True)
class Result:
    """One row for each estimate; arrays (rows,) unless said otherwise, nan where nothing is given.

    ``off`` and ``seconds`` hold every run that ended.
    """

    settings: dict[str, Any]
    date: str
    machine: str
    versions: dict[str, str]
    sampler_digest: str          # of the sources of ours
    reference: float             # F (nats, without the constant)
    reference_error: float
    likelihood: float            # microseconds of one evaluation by guests
    sampler: list[str]
    adapter: list[str]
    off: list[Any]               # found - true ln Z (nats) of every run
    seconds: list[Any]           # CPU seconds of every run
    claimed: Array               # rms of the claimed errors (nats)
    effective: Array             # draws that the log-likelihoods are worth, median
    evaluations: Array           # median
    unfinished: Array            # runs given up
    scaled: list[str]            # points, peaks or rungs
    size: Array                  # (timings,) how many of them
    update: Array                # (timings,) CPU microseconds of one proposal
    sweep: Array                 # (timings,) CPU microseconds of a sweep of all temperatures


# ---- runs ----------------------------------------------------------------------------------------


def compute(settings: Settings = SETTINGS, progress: Any = None, store: Path = RUNS) -> Result:
    """Run what is not in the store yet, one run after the other, and put it together.

    Parameters
    ----------
    settings : Settings
    progress : callable (done, total, words), optional
    store : path
        One line of JSON for each run; lines of other versions of a library, of other sources of
        our sampler or of another adapter are ignored.
    """
    known, done = RunStore(store), 0
    versions = {name: _version(name) for name in settings.seeds}
    total = sum(settings.seeds.values()) + 1
    for name, seeds in settings.seeds.items():
        keys = _keys(name, versions, settings)
        # Where one run was given up, others would be too.
        lost = any(key in known and not known[key]["estimates"] for key in keys)
        todo = [] if lost else [n for n, key in enumerate(keys, 1) if key not in known]
        done += seeds - len(todo)
        with own_process() as call:
            for seed in todo:
                if progress is not None:
                    progress(done, total, f"{name}, seed {seed}")
                found = call(timed, name, seed, settings.most_seconds)
                known.add(keys[seed - 1], found)
                done += 1
                if not found["estimates"]:
                    break
    if progress is not None:
        progress(total - 1, total, "cost of our sweep")
    key = ("scaling", _digest("ours, 1 x 500"), repr(_timings(settings)))
    if key not in known:
        with own_process() as call:
            known.add(key, call(scaling, settings))
    records = {name: [known[run] for run in _keys(name, versions, settings) if run in known]
               for name in settings.seeds}
    return _collected(settings, versions, records, known[key])


@contextmanager
def own_process() -> Iterator[Callable[..., Any]]:
    """A fresh process on one core that makes the calls; it starts with the first."""
    before = {name: os.environ.get(name) for name in ONE_CORE}
    os.environ.update(ONE_CORE)
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_stay)
    try:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _stay() -> None:
    """On one core, where the system can be told; Ctrl-C is for the process that waits."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


@cache
def _prepared(name: str) -> tuple[Any, Any]:
    from experiments.peer_adapters import ADAPTERS, three_peaks

    problem = three_peaks()
    return problem, ADAPTERS[name](problem)


class TooLong(Exception):
    """A run that is given up."""


def timed(name: str, seed: int, most_seconds: float) -> dict[str, Any]:
    """One run: its estimates, CPU seconds and evaluations; nothing but the seconds where it was
    not done in time."""
    problem, run = _prepared(name)
    likelihood = _likelihood_cost(problem)
    problem.calls, begin = 0, time.process_time()
    try:
        with _at_most(most_seconds):
            estimates = [asdict(e) for e in run(seed)]
    except TooLong:
        estimates = []
    return {"seconds": time.process_time() - begin, "estimates": estimates,
            "evaluations": problem.calls, "likelihood": likelihood}


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise `TooLong` after so many CPU seconds, where the system can."""
    import signal

    def stop(*_: object) -> None:
        raise TooLong

    if not hasattr(signal, "setitimer"):
        yield
        return
    old = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, old)


def _likelihood_cost(problem: Any, points: int = 5000) -> float:
    """CPU microseconds of one evaluation."""
    theta, begin = problem.prior_samples((points,), 1), time.process_time()
    problem.log_likelihood(theta)
    return (time.process_time() - begin) / points * 1e6


def _keys(name: str, versions: dict[str, str], settings: Settings) -> list[Key]:
    """Of every seed."""
    return [_key(name, n, versions, settings.most_seconds)
            for n in range(1, settings.seeds[name] + 1)]


def _key(name: str, seed: int, versions: dict[str, str], most_seconds: float) -> Key:
    return (name, seed, versions[name], _digest(name), most_seconds)


@cache
def _digest(name: str) -> str:
    """Of what a run depends on besides the library: the adapter, for ours all of our sampler."""
    from experiments import peer_adapters, reliability

    ours = name.startswith("ours")
    text = inspect.getsource(peer_adapters._ours if ours else peer_adapters.ADAPTERS[name])
    text += inspect.getsource(peer_adapters.Problem) + inspect.getsource(peer_adapters.compiled)
    text += repr((peer_adapters.TEMPERATURES, peer_adapters.WALKERS, peer_adapters.STEPS,
                  peer_adapters.LEFT_OUT))
    text += reliability.sampler_digest() if ours else ""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _version(name: str) -> str:
    from importlib.metadata import version

    from experiments.guests import MissingGuest

    distribution = DISTRIBUTIONS.get(name, name)
    try:
        return version(distribution)
    except ImportError:
        raise MissingGuest(f"{distribution} is not installed here; make peers installs it"
                           ) from None


def _collected(settings: Settings, versions: dict[str, str],
               records: dict[str, list[dict[str, Any]]], cost: dict[str, Any]) -> Result:
    from experiments import reliability
    from experiments.campaigns.three_peaks import REFERENCE

    truth, error = REFERENCE[3]
    rows = [row for name, made in records.items() for row in _rows(name, made, -truth)]
    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in rows[0]}
    for key in ("claimed", "effective", "evaluations", "unfinished"):
        columns[key] = np.array(columns[key], dtype=float)
    likelihood = [r["likelihood"] for made in records.values() for r in made]
    return Result(
        asdict(settings), time.strftime("%Y-%m-%d", time.gmtime()), machine(), versions,
        reliability.sampler_digest(), truth, error, float(np.median(likelihood)), **columns,
        scaled=list(cost["scaled"]), size=np.array(cost["size"], dtype=float),
        update=np.array(cost["update"], dtype=float), sweep=np.array(cost["sweep"], dtype=float))


def _rows(name: str, made: list[dict[str, Any]], truth: float) -> Iterator[dict[str, Any]]:
    """One for each estimator of an adapter; one without numbers where no run ended."""
    ended = [record for record in made if record["estimates"]]
    labels = dict.fromkeys(e["sampler"] for record in ended for e in record["estimates"])
    for label in labels or {name: None}:
        pairs = [(record, e) for record in ended for e in record["estimates"]
                 if e["sampler"] == label]
        claimed = [math.nan if e["error"] is None else e["error"] for _, e in pairs]
        size = [math.nan if e["effective"] is None else e["effective"] for _, e in pairs]
        yield {"sampler": label, "adapter": name,
               "off": [e["log_evidence"] - truth for _, e in pairs],
               "seconds": [record["seconds"] for record, _ in pairs],
               "claimed": math.sqrt(np.mean(np.square(claimed))) if pairs else math.nan,
               "effective": float(np.median(size)) if pairs else math.nan,
               "evaluations": float(np.median([r["evaluations"] for r in made])),
               "unfinished": len(made) - len(pairs)}


# ---- the cost of our sweep -----------------------------------------------------------------------


def _timings(settings: Settings) -> list[tuple[str, int, int, int]]:
    """What is varied, points, peaks, temperatures."""
    return [*(("points", n, 3, 24) for n in settings.points),
            *(("peaks", 300, K, 24) for K in settings.peaks),
            *(("rungs", 300, 3, L) for L in settings.rungs)]


def scaling(settings: Settings) -> dict[str, list[Any]]:
    """CPU seconds of our sweeps, jumps between modes left out: medians of alternating rounds."""
    timings = _timings(settings)
    prepared = [_sweeps(n, K, L, settings.updates) for _, n, K, L in timings]
    cost = np.median([[one() for one in prepared] for _ in range(settings.rounds)], axis=0)
    position = {"points": 1, "peaks": 2, "rungs": 3}
    return {"scaled": [t[0] for t in timings], "size": [t[position[t[0]]] for t in timings],
            "sweep": (1e6 * cost).tolist(),
            "update": [1e6 * c / (3 * K * L) for c, (_, _, K, L) in zip(cost, timings,
                                                                       strict=True)]}


def _sweeps(n: int, K: int, rungs: int, updates: float) -> Callable[[], float]:
    """CPU seconds of one sweep of one chain: the difference of two lengths, so that what a call
    costs besides its sweeps drops out.  The ladder reaches from 1e-4 to 1 whatever its rungs."""
    from dataclasses import replace

    from experiments import nagata2012_number_of_peaks as nagata
    from sampler import Data, Ladder, Model, Posterior, resume, sample

    settings = replace(nagata.SETTINGS, points=n)
    x, y = nagata.spectrum(settings)
    model = Posterior(Model.repeated(K, nagata.peak(), a=(0, 3), b=(1, 400), mu=(0, 3)),
                      Data(x, y, noise=settings.noise))
    run = sample(model, 50, burn_in=300, chains=1, seed=1, threads=1, jumps=False,
                 ladder=Ladder.geometric(rungs, 10.0 ** (4.0 / (rungs - 2))))
    sweeps = max(20, int(updates / (3 * K * rungs) * min(1.0, 300 / n)))

    def one() -> float:
        short, long = (_cpu(partial(resume, run, count, threads=1))
                       for count in (sweeps // 10, sweeps))
        return (long - short) / (sweeps - sweeps // 10)

    return one


def _cpu(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def straightness(size: Array, cost: Array) -> tuple[float, float]:
    """How far a cost is from a straight line in its size.

    Parameters
    ----------
    size, cost : array (timings,)

    Returns
    -------
    farthest : float
        Largest |cost / line - 1|, of the line that makes the squares of these smallest.
    fixed : float
        Share of the cost at the smallest size that does not depend on it.

    Examples
    --------
    >>> n = np.array([1.0, 2.0, 4.0, 8.0])
    >>> [round(v, 3) for v in straightness(n, 3.0 + 0.5 * n)]
    [0.0, 0.857]
    >>> straightness(n, n**2)[0] > 0.2
    True
    """
    design = np.stack([np.ones_like(size), size], axis=1) / cost[:, None]
    fixed, slope = np.linalg.lstsq(design, np.ones(len(size)), rcond=None)[0]
    line = fixed + slope * size
    return float(np.max(abs(cost / line - 1))), float(fixed / line[0])


def lines(result: Result) -> dict[str, tuple[Array, Array]]:
    """Sizes and costs that are to lie on a line: an update from 200 points on, a sweep in peaks and
    temperatures; CPU microseconds."""
    out = {}
    for name in ("points", "peaks", "rungs"):
        mine = np.array([s == name for s in result.scaled])
        mine &= (result.size >= 200) if name == "points" else True
        cost = result.update if name == "points" else result.sweep
        out[name] = (result.size[mine], cost[mine])
    return out


# ---- numbers -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Efficiency:
    """One row, in numbers that the table and the figure share.

    Parameters
    ----------
    seconds : float
        CPU seconds of a run, median.
    rms : float
        True error of ln Z (nats).
    low, high : float
        Factors to `rms`: it is known so well (68 %), by chi-square with as many degrees of freedom
        as runs.
    to_wanted : float
        CPU seconds to an rms error of 0.1, scaled.
    statistical : bool
        Whether the mean error agrees with none (t test, p > 0.01).
    """

    seconds: float
    rms: float
    low: float
    high: float
    to_wanted: float
    statistical: bool


def efficiency(off: Any, seconds: Any) -> Efficiency:
    """Of runs with these errors (nats) and CPU seconds.

    Examples
    --------
    >>> found = efficiency([0.2, -0.2, 0.2, -0.2], [10.0, 11.0, 9.0, 10.0])
    >>> found.to_wanted, found.statistical
    (40.0, True)
    >>> efficiency([0.21, 0.2, 0.19], [1.0, 1.0, 1.0]).statistical
    False
    """
    from scipy import stats

    off, median = np.asarray(off, dtype=float), float(np.median(seconds))
    n, rms = len(off), math.sqrt(float(np.mean(np.square(off))))
    low, high = (math.sqrt(n / stats.chi2.ppf(p, n)) for p in (0.84, 0.16))
    p = 1.0 if n < 2 or not off.std() else float(stats.ttest_1samp(off, 0.0).pvalue)
    return Efficiency(median, rms, low, high, round(median * (rms / WANTED) ** 2, 9), p > 0.01)


def efficiencies(result: Result) -> dict[str, Efficiency]:
    """By row; rows without a run that ended are left out."""
    return {name: efficiency(off, seconds) for name, off, seconds in
            zip(result.sampler, result.off, result.seconds, strict=True) if len(off)}


def check(result: Result) -> Claims:
    """A line for each estimate, listed; judged are the ratios to ours and the straight lines."""
    found = efficiencies(result)
    claims = [_listed(result, i, found.get(name)) for i, name in enumerate(result.sampler)]
    short = _shortest(found)
    for name, ratio, least, note in _ratios(found):
        claims.append(Claim(f"CPU seconds of {name} over ours for the same true error", "-", ratio,
                            0.0, bool(ratio >= least), f"at least {least:g}; {note}"))
        if short is not None:
            claims.append(Claim(
                f"CPU seconds of {name} to {WANTED:g} nats over a whole run of {short}", "-",
                found[name].to_wanted / found[short].seconds, 0.0, None,
                f"nothing of ours scaled; it reached {found[short].rms:.2g}"))
    words = {"points": "an update, from 200 points on", "peaks": "a sweep, in peaks",
             "rungs": "a sweep, in temperatures"}
    for name, (size, cost) in lines(result).items():
        if len(size) > 2:
            farthest, fixed = straightness(size, cost)
            claims.append(Claim(
                f"cost of {words[name]}: farthest from a straight line", "-", farthest, 0.0,
                bool(farthest <= STRAIGHT), f"at most {STRAIGHT:g}, {size[0]:.0f} to "
                f"{size[-1]:.0f}; share at {size[0]:.0f} that does not grow: {fixed:.2f}"))
    return Claims(claims)


def tracked() -> Result | None:
    """The tracked result; None before ``make peers`` has written one."""
    from experiments.results import load

    try:
        return load("peers")  # type: ignore[no-any-return]
    except FileNotFoundError:
        return None


def age(result: Result | None) -> str:
    """When, where and how completely it was run, in a sentence or two for the book.

    Examples
    --------
    >>> age(None)
    'Not run yet: `make peers` does.'
    """
    if result is None:
        return "Not run yet: `make peers` does."
    made = result.settings["seeds"]
    less = [f"{name} ({made.get(name, 0)} of {wanted})" for name, wanted in SETTINGS.seeds.items()
            if made.get(name, 0) < wanted]
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return (f"Run on {result.date} ({result.machine}); {versions}; one likelihood took "
            f"{result.likelihood:.1f} µs." + (
                f" Not run yet as often as planned: {', '.join(less)}." if less else ""))


def _ratios(found: dict[str, Efficiency]) -> Iterator[tuple[str, float, float, str]]:
    """Guest, ratio of CPU seconds to ours, wanted, how well the ratio is known."""
    guests = {n: e for n, e in found.items() if not n.startswith("ours")}
    if HEADLINE not in found or not guests:
        return
    ours = found[HEADLINE]
    best = min(guests, key=lambda n: guests[n].to_wanted)
    for name, least, words in (("dynesty", 100.0, ""), (best, 10.0, "the best guest here, ")):
        if name in guests:
            e = guests[name]
            # Widths of both in logarithms, which are near enough to normal for a note.
            spread = math.exp(math.hypot(*(math.log(one.high / one.low) for one in (e, ours))))
            yield (name, e.to_wanted / ours.to_wanted, least,
                   f"{words}known to a factor of {spread:.1f} (68 %)")


def _shortest(found: dict[str, Efficiency]) -> str | None:
    """Of the rows of ours whose rms error is within the wanted one, that of the shortest runs."""
    good = [n for n, e in found.items() if n.startswith("ours") and e.rms <= WANTED]
    return min(good, key=lambda n: found[n].seconds) if good else None


def _listed(result: Result, i: int, e: Efficiency | None) -> Claim:
    runs = len(result.off[i])
    left = int(result.unfinished[i])
    gave_up = f"{left} given up after {result.settings['most_seconds']:.0f} CPU s" if left else ""
    name = f"{result.sampler[i]}: CPU s to an rms error of {WANTED:g} nats"
    if e is None:
        return Claim(name, "-", "no run ended", 0.0, None, gave_up)
    claimed, size = result.claimed[i], result.effective[i]
    ours = result.sampler[i].startswith("ours")
    share = result.evaluations[i] * result.likelihood * 1e-6 / e.seconds
    note = [f"{runs} seeds, {e.seconds:.3g} CPU s a run, true rms error {e.rms:.2g} "
            f"({e.rms * e.low:.2g} to {e.rms * e.high:.2g})",
            f"claims {claimed:.2g}" if math.isfinite(claimed) else "claims no error",
            f"{size / e.seconds:.3g} effective draws/s" if math.isfinite(size) else "",
            "" if ours else f"{result.evaluations[i]:.2g} evaluations, {share:.0%} of its time",
            "" if e.statistical else "biased: more work of this kind does not get there", gave_up]
    return Claim(name, "-", f"{e.to_wanted:.3g}", 0.0, None, "; ".join(filter(None, note)))


# ---- figures -------------------------------------------------------------------------------------


@styled
def draw(result: Result) -> dict[str, Any]:
    """CPU seconds against the true error, and the cost of our sweep."""
    return {"peers": _draw_efficiency(result), "cost_of_a_sweep": _draw_cost(result)}


def _draw_efficiency(result: Result) -> Any:
    from experiments.figures import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY, panels

    found, markers = efficiencies(result), "osDv^<>pP*X"
    colors = (BLACK, ORANGE, SKY, GREEN, RED, PINK, "0.5")
    figure, axes = panels(1, 1, 7.0, 4.6)
    ax = axes[0, 0]
    seconds = np.array([e.seconds for e in found.values()])
    rms = np.array([e.rms for e in found.values()])
    ends = np.array([seconds.min() / 4, seconds.max() * 4])
    # Equal efficiency: seconds * rms**2 is the same.
    for decade in range(math.floor(math.log10(np.min(seconds * rms**2))) - 1,
                        math.ceil(math.log10(np.max(seconds * rms**2))) + 2):
        ax.plot(ends, np.sqrt(10.0**decade / ends), color="0.88", lw=0.8, zorder=0)
    ax.axhline(WANTED, color="0.6", lw=0.8, ls=":")
    guest = 0
    for k, (name, e) in enumerate(found.items()):
        color = BLUE if name.startswith("ours") else colors[guest % len(colors)]
        guest += not name.startswith("ours")
        ax.errorbar(e.seconds, e.rms, [[e.rms * (1 - e.low)], [e.rms * (e.high - 1)]],
                    fmt=markers[k % len(markers)], color=color, ms=6, lw=1.0,
                    label=name + ("" if e.statistical else " (biased)"))
        claimed = result.claimed[result.sampler.index(name)]
        if math.isfinite(claimed) and claimed > 0.0:
            ax.plot(e.seconds, claimed, markers[k % len(markers)], mfc="none", color=color, ms=6)
    ax.set(xscale="log", yscale="log", xlim=tuple(ends), ylim=(rms.min() / 3, rms.max() * 3),
           xlabel="CPU seconds of a run, one core", ylabel="rms error of ln Z (nats)",
           title="True error (filled) and claimed error (open)")
    figure.legend(loc="outside right upper")
    return figure


def _draw_cost(result: Result) -> Any:
    from experiments.figures import BLUE, label_panels, panels

    figure, axes = panels(1, 3, 7.4, 2.8)
    words = {"points": ("points", "µs an update"), "peaks": ("peaks", "µs a sweep"),
             "rungs": ("temperatures", "µs a sweep")}
    for ax, (name, (size, cost)) in zip(axes.flat, lines(result).items(), strict=True):
        mine = np.array([s == name for s in result.scaled])
        every = (result.update if name == "points" else result.sweep)[mine]
        if len(size) > 1:
            design = np.stack([np.ones_like(size), size], axis=1) / cost[:, None]
            line = (np.linalg.lstsq(design, np.ones(len(size)), rcond=None)[0]
                    @ np.stack([np.ones_like(size), size]))
            ax.fill_between(size, (1 - STRAIGHT) * line, (1 + STRAIGHT) * line, color="0.9", lw=0)
            ax.plot(size, line, color="0.6", lw=0.8)
        ax.plot(result.size[mine], every, "o", color=BLUE, ms=4)
        ax.set(xlabel=words[name][0], ylabel=words[name][1], xlim=(0, None), ylim=(0, None),
               title=f"in {words[name][0]}")
    label_panels(axes)
    return figure
