"""Can the sampler be relied on?  Campaigns of many runs, each with its expected window.

Table: what was asked, the window that correct software stays in, what was found, how often correct
software would fail.  No paper has this table; the windows follow from the number of runs.

Measured: everything, by `experiments.campaigns`; versions, commit, kind of machine and seeds are
stored.  ``make reliability`` runs what is not in its store yet, two runs at a time on two cores,
and writes the tracked result, failures included; ``make reproduce`` prints the stored verdict.

Ours: the choice of problems, numbers of seeds and windows, all fixed before looking at a result.

What may be claimed: what each row says for these problems.  A campaign whose runs are not all made
for the present sampler keeps its last verdict, with the version that it is of; one that was never
run whole is listed as not run, never as passed.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from experiments.campaigns import Campaign, Finding, Numbers, nothing
from experiments.claims import Claim, Claims
from experiments.figures import styled
from experiments.paths import ROOT
from experiments.run_store import Key, RunStore, machine

UNIT = "runs"              # what is counted in the line of progress
WRITES_FAILURES = True     # a campaign that fails is a result like any other
RUNS = ROOT / "build" / "reliability" / "runs.jsonl"
# These only read and print: a run does not depend on them.
APART = ("__init__", "__main__", "comparing", "derived", "files", "page", "report", "sensitivity",
         "svg", "tables")


def every_campaign() -> dict[str, Campaign]:
    """All campaigns by name, in the order of the table."""
    from experiments.campaigns import (
        choosing,
        constants,
        evidence,
        geweke,
        honesty,
        moves,
        mutation,
        repeating,
        reruns,
        sampling,
        stops,
        three_peaks,
    )

    modules = (choosing, constants, evidence, geweke, honesty, moves, mutation, repeating, reruns,
               sampling, stops, three_peaks)
    found = [c for module in modules for c in module.campaigns()]
    return {c.name: c for c in sorted(found, key=lambda c: c.name)}


SECONDS = 4 * 3600.0


@dataclass(frozen=True)
class Settings:
    """Ours."""

    campaigns: tuple[str, ...] = ()    # none: all
    most_seeds: int = 10**9            # fewer than the campaign's own: a wiring check
    workers: int = 0                   # processes at a time; 0: as many as cores


SETTINGS = Settings()
QUICK = Settings(("D5 spike",), most_seeds=1, workers=1)


@dataclass(frozen=True)
class Result:
    """Lists (findings,) unless said otherwise; the first four belong to all."""

    settings: dict[str, Any]
    # campaign -> date, machine, commit, versions of its verdict; sampler: digest of the sources
    # that its runs were made with
    origin: dict[str, dict[str, str]]
    runs: dict[str, list[float]]     # campaign -> runs made, runs wanted, first and last seed
    seconds: dict[str, float]        # campaign -> CPU seconds
    about: dict[str, str]            # campaign -> its question
    campaign: list[str]
    claim: list[str]
    expected: list[str]
    found: list[Any]
    error: list[float]
    holds: list[Any]
    alarm: list[str]

    @property
    def date(self) -> str:
        """Of the newest verdict."""
        return max(origin["date"] for origin in self.origin.values())


def compute(settings: Settings = SETTINGS, progress: Any = None, store: Path = RUNS) -> Result:
    """Run what is not in the store yet, and judge every campaign that is complete.  Those that are
    not, or were not asked for, keep their tracked verdict, if they have one.

    Parameters
    ----------
    settings : Settings
    progress : callable (done, total, words), optional
    store : path
        One line of JSON for each run.  Its key holds the digest of the sampler's sources and of
        the text of the run: after a change, what depends on it is run anew and nothing else.
    """
    chosen = _chosen(settings)
    known = RunStore(store)
    digest = sampler_digest()
    todo = _todo(chosen, digest, known, settings)
    _announce(chosen, todo, settings)
    _run_all(todo, known, settings, progress)
    if settings.most_seeds < SETTINGS.most_seeds:
        return _judged(chosen, digest, known, settings)
    return with_earlier(_judged(every_campaign(), digest, known, settings), _tracked())


def _chosen(settings: Settings) -> dict[str, Campaign]:
    every = every_campaign()
    return {name: every[name] for name in settings.campaigns or every}


def sampler_digest() -> str:
    """Digest of the sources that the numbers of a run depend on.

    Examples
    --------
    >>> len(sampler_digest())
    12
    """
    import sampler

    folder = Path(sampler.__file__).parent
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        if not {path.stem, *path.relative_to(folder).parts} & {*APART, "instruments"}:
            total.update(path.read_bytes())
    return total.hexdigest()[:12]


def _key(campaign: Campaign, problem: str, seed: int, digest: str) -> Key:
    text = inspect.getsource(campaign.run)
    return (campaign.run.__name__, problem, seed, digest,
            hashlib.sha256(text.encode()).hexdigest()[:12])


def _wanted(campaign: Campaign, settings: Settings) -> Iterator[tuple[str, int]]:
    """Problems and seeds; the first seeds of all problems come before the second."""
    for seed in campaign.seeds[:settings.most_seeds]:
        for problem in campaign.problems:
            yield problem, seed


def _todo(chosen: dict[str, Campaign], digest: str, known: RunStore,
          settings: Settings) -> dict[Key, tuple[Campaign, str, int]]:
    out: dict[Key, tuple[Campaign, str, int]] = {}
    for campaign in chosen.values():
        for problem, seed in _wanted(campaign, settings):
            key = _key(campaign, problem, seed, digest)
            if key not in known:
                out.setdefault(key, (campaign, problem, seed))
    return out


def _announce(chosen: dict[str, Campaign], todo: dict[Key, tuple[Campaign, str, int]],
              settings: Settings) -> None:
    """What is left, campaign by campaign, in CPU hours."""
    left: dict[str, list[float]] = {name: [0, 0.0] for name in chosen}
    for campaign, _, _ in todo.values():
        left[campaign.name][0] += 1
        left[campaign.name][1] += campaign.seconds
    total = sum(seconds for _, seconds in left.values())
    lines = [f"  {name:<9} {runs:>6.0f} runs, about {seconds / 60:.0f} CPU minutes: "
             f"{chosen[name].about}" for name, (runs, seconds) in left.items() if runs]
    print("\n".join([f"{len(todo)} runs to make, about {total / 3600:.1f} CPU hours, "
                     f"{_workers(settings)} at a time", *lines]), file=sys.stderr, flush=True)


def _workers(settings: Settings) -> int:
    return settings.workers or os.cpu_count() or 1


def _run_all(todo: dict[Key, tuple[Campaign, str, int]], known: RunStore, settings: Settings,
             progress: Any) -> None:
    """Runs in processes of their own, kept as they end; an interrupt loses those under way."""
    waiting = list(todo.items())[::-1]
    under_way: dict[Future[Numbers], Key] = {}
    pool = ProcessPoolExecutor(_workers(settings), mp_context=get_context("spawn"))
    try:
        while waiting or under_way:
            while waiting and len(under_way) < 2 * _workers(settings):
                key, (campaign, problem, seed) = waiting.pop()
                under_way[pool.submit(timed, campaign.name, problem, seed)] = key
            done, _ = wait(under_way, timeout=5.0, return_when=FIRST_COMPLETED)
            for future in done:
                key = under_way.pop(future)
                known.add(key, kept(future))
            if progress is not None:
                name = todo[next(iter(under_way.values()))][0].name if under_way else "judging"
                progress(len(todo) - len(waiting) - len(under_way), len(todo), name)
    finally:
        pool.shutdown(cancel_futures=True)


def timed(name: str, problem: str, seed: int) -> Numbers:
    """One run of a campaign, with the CPU seconds of this process and of those it started."""
    def cpu() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    begin = cpu()
    found = every_campaign()[name].run(problem, seed)
    return {"found": found, "cpu": round(cpu() - begin, 3)}


def kept(future: Future[Numbers]) -> Numbers:
    """What is kept of a run that ended: a run that ends in an error is a result like any other.

    Raises
    ------
    BrokenExecutor
        If its process was lost, which says nothing of the run.
    """
    error = future.exception()
    if isinstance(error, BrokenExecutor):
        raise error
    return future.result() if error is None else {
        "failed": f"{type(error).__name__}: {error}", "cpu": 0.0}


def _judged(chosen: dict[str, Campaign], digest: str, known: RunStore,
            settings: Settings) -> Result:
    findings: list[tuple[str, Finding]] = []
    runs, seconds = {}, {}
    for name, campaign in chosen.items():
        wanted = list(_wanted(campaign, settings))
        records: dict[str, list[Numbers]] = {problem: [] for problem in campaign.problems}
        cpu, crashed = 0.0, []
        for problem, seed in wanted:
            key = _key(campaign, problem, seed, digest)
            if key in known:
                cpu += known[key]["cpu"]
                if "failed" in known[key]:
                    crashed.append(f"{problem}, seed {seed} ({known[key]['failed']})")
                else:
                    records[problem].append(known[key]["found"])
        made = sum(map(len, records.values()))
        seeds = [seed for _, seed in wanted]
        runs[name] = [float(v) for v in (made + len(crashed), len(wanted), min(seeds), max(seeds))]
        seconds[name] = cpu
        if made + len(crashed) < len(wanted):
            findings.append((name, Finding(
                "not judged: not all runs are made for the present sampler", "-",
                f"{made + len(crashed)} of {len(wanted)}", 0.0, None, "-")))
            continue
        findings.append((name, nothing("runs that ended in an error", crashed, "0")))
        if min(map(len, records.values())) > 0:
            findings += [(name, f) for f in campaign.judge(records)]
    columns = {field: [getattr(f, field) for _, f in findings]
               for field in ("claim", "expected", "found", "holds", "alarm")}
    return Result(asdict(settings), dict.fromkeys(chosen, _origin(digest)), runs, seconds,
                  {name: c.about for name, c in chosen.items()}, [name for name, _ in findings],
                  error=[float(f.error) for _, f in findings], **columns)


def with_earlier(new: Result, old: Result | None) -> Result:
    """Where not all runs of a campaign are made, its earlier verdict instead, if it has one."""
    if old is None:
        return new
    source = {name: old if made < wanted and name in old.runs and old.runs[name][0] == wanted
              else new for name, (made, wanted, *_) in new.runs.items()}
    rows = [(part, i) for name, part in source.items()
            for i, campaign in enumerate(part.campaign) if campaign == name]
    by_campaign: dict[str, Any] = {
        field: {name: getattr(part, field)[name] for name, part in source.items()}
        for field in ("origin", "runs", "seconds", "about")}
    by_finding: dict[str, Any] = {
        field: [getattr(part, field)[i] for part, i in rows]
        for field in ("campaign", "claim", "expected", "found", "error", "holds", "alarm")}
    return Result(new.settings, **by_campaign, **by_finding)


def _tracked() -> Result | None:
    from experiments.results import load

    try:
        result: Result = load("reliability")
    except FileNotFoundError:
        return None
    return result


def _origin(digest: str) -> dict[str, str]:
    from importlib.metadata import version

    packages = ("bayesian-measurement", "numba", "numpy", "scipy", "sympy")
    return {"date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": machine(),
            "commit": _commit(), "sampler": digest,
            "versions": ", ".join(f"{name} {version(name)}" for name in packages)}


def _commit() -> str:
    """The commit, with a plus if sources differ from it; a wheel has none."""
    def git(*words: str) -> str:
        return subprocess.run(("git", *words), cwd=ROOT, capture_output=True, text=True,
                              check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain", "--", "sampler", "theory", "experiments/*.py",
                       "experiments/campaigns") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def check(result: Result) -> Claims:
    """Every finding as a claim."""
    claims = []
    for i, name in enumerate(result.campaign):
        found = result.found[i]
        claims.append(Claim(
            f"{name}: {result.claim[i]}", "-",
            found if isinstance(found, str) else float(found if found is not None else math.nan),
            result.error[i] or 0.0, result.holds[i],
            f"{result.expected[i]}; false alarm {result.alarm[i]}"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """What every campaign cost, and how it ended."""
    from experiments.figures import BLUE, RED, panels

    names = list(result.runs)
    verdicts: dict[str, list[bool]] = {name: [] for name in names}
    for name, holds in zip(result.campaign, result.holds, strict=True):
        if holds is not None:
            verdicts[name].append(holds)
    figure, axes = panels(1, 1, 6.4, 0.3 * len(names) + 1.2)
    ax = axes[0, 0]
    minutes = np.array([max(result.seconds[name], 0.6) / 60 for name in names])
    ax.barh(range(len(names)), minutes,
            color=[BLUE if all(v) and v else RED if v else "0.7" for v in verdicts.values()])
    for k, (name, judged) in enumerate(verdicts.items()):
        made, wanted = (f"{v:.0f}" for v in result.runs[name][:2])
        words = (f"{sum(judged)} of {len(judged)} hold, {made} runs" if judged
                 else f"not judged: {made} of {wanted} runs made")
        ax.annotate(words, (minutes[k], k), (4, 0), textcoords="offset points", va="center",
                    fontsize=7)
    ax.set(yticks=range(len(names)), yticklabels=names, xscale="log",
           xlabel="CPU minutes (red: something failed; grey: not judged)", title="Campaigns")
    ax.margins(x=0.6)
    ax.invert_yaxis()
    return {"reliability": figure}


def age(result: Result) -> str:
    """Which verdicts are of the sampler as it is now, in a sentence for the book."""
    present = sampler_digest()
    older = {name: origin for name, origin in result.origin.items() if origin["sampler"] != present}
    carried = [name for name, origin in older.items() if origin.get("same_as") == present]
    waiting = [name for name in older if name not in carried]
    if not older:
        return "The sampler has not changed since."
    parts = []
    if carried:
        runs = min(int(older[name]["same_runs"]) for name in carried)
        parts.append(f"The sampler has changed since these were run, and gives the same bits in "
                     f"{runs} or more runs of each that were made again: {', '.join(carried)}.")
    if waiting:
        parts.append(f"The sampler has changed since these were run: {', '.join(waiting)}. Their "
                     "verdicts are of that version, and wait for the next `make reliability`.")
    return " ".join(parts)


def table(result: Result) -> str:
    """The findings in Markdown, a table for each campaign, for the book."""
    from experiments.claims import markdown

    parts = []
    claims = check(result)
    for name, about in result.about.items():
        mine = [claim for claim, c in zip(claims, result.campaign, strict=True) if c == name]
        made, wanted, first, last = (int(v) for v in result.runs[name])
        plain, origin = about.replace("*", r"\*"), result.origin[name]
        ran = f", {origin['date']}, commit {origin['commit']}" if made else ""
        parts.append(f"**{name}:** {plain} {made} of {wanted} runs, seeds {first} to {last}, "
                     f"{result.seconds[name] / 60:.0f} CPU minutes{ran}.\n\n{markdown(mine)}")
    return "\n\n".join(parts)


__all__ = ["QUICK", "RUNS", "SECONDS", "SETTINGS", "Result", "Settings", "age", "check", "compute",
           "draw", "table", "with_earlier"]
