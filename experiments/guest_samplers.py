"""Who is right, and who knows how wrong he is?  Seven samplers on problems with exact answers.

Table: sampler by case, over several seeds: bias of ln Z, honesty of its error bar (rms of z),
CPU seconds, evaluations of the likelihood; what else the judge found.  No paper has this table.

Measured: everything, with `experiments.guests` and the versions, the date and the kind of machine
that are stored.  It needs the guests: ``make peers`` runs it, goes on where it stopped, and writes
the tracked result; ``make reproduce`` only prints the stored verdict.

Ours: the choice of cases and seeds, and the settings of every adapter (library defaults where its
docstring says nothing else).  Our own sampler runs on every case, guests on the twelve that all of
them can afford, and both nested samplers with ours on the first-order transition too.

What may be claimed: for each pair what the judge's verdict says (it accuses an honest sampler in 1
of 100 pairs at most), for these versions and settings.  Few seeds see gross faults only: twenty
find an error bar that is half as large as it should be nine times out of ten, four one that is a
quarter.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims
from experiments.figures import styled
from experiments.paths import ROOT
from experiments.run_store import RunStore, machine

Array = NDArray[np.float64]
SECONDS = 3600.0
UNIT = "runs"             # what is counted in the line of progress
RUNS = ROOT / "build" / "peers" / "runs.jsonl"
SHARED = ("straight_line", "line_wall", "polynomial_2", "unknown_noise", "one_peak", "two_peaks",
          "counts_peak", "two_modes", "labels", "product", "rosenbrock", "heavy_tails")


def _seeds() -> dict[str, int]:
    return {"ours": 20, "emcee": 5, "dynesty": 4, "ultranest": 4, "nautilus": 3, "pymc": 4,
            "blackjax": 4}


@dataclass(frozen=True)
class Settings:
    """Ours; seeds count from 1."""

    seeds: dict[str, int] = field(default_factory=_seeds)
    shared: tuple[str, ...] = SHARED
    transition_seeds: dict[str, int] = field(
        default_factory=lambda: {"dynesty": 2, "ultranest": 2})


SETTINGS = Settings()
QUICK = Settings({"ours": 2}, ("straight_line",), {})


@dataclass(frozen=True)
class Result:
    """One row for each pair of sampler and case; arrays (rows,), nan where nothing is given."""

    settings: dict[str, Any]
    date: str
    machine: str
    versions: dict[str, str]
    rule: str                # of the judge that scored the runs, `theory.judging.RULE` of its day
    sampler: list[str]
    case: list[str]
    dimension: Array
    runs: Array
    exact: Array             # ln Z (nats)
    bias: Array              # of ln Z (nats)
    bias_error: Array
    bias_p: Array
    scatter: Array           # sd of ln Z over the runs (nats)
    claimed: Array           # rms of the claimed errors (nats)
    score_sd: Array          # rms of z of ln Z
    calibration: Array
    untrusted: Array         # runs that the sampler itself did not trust
    seconds: Array           # CPU seconds, median over runs
    evaluations: Array       # median over runs
    evidence: list[str]      # the judge's words on ln Z
    others: list[str]        # what it says of the other quantities


def pairs(settings: Settings) -> Iterator[tuple[str, str, int]]:
    """Sampler, case, number of seeds; the first seeds of all come before the second (`compute`)."""
    from theory.cases import BUILDERS

    for sampler, seeds in settings.seeds.items():
        everything = sampler == "ours" and settings.shared == SHARED
        for case in BUILDERS if everything else settings.shared:
            yield sampler, case, seeds
    for sampler, seeds in settings.transition_seeds.items():
        yield sampler, "spike_and_slab", seeds


def compute(settings: Settings = SETTINGS, progress: Any = None, store: Path = RUNS) -> Result:
    """Run what is not in the store yet, one run after the other, and judge all of it.

    Parameters
    ----------
    settings : Settings
    progress : callable (done, total, words), optional
    store : path
        One line of JSON for each run; lines of other versions of a sampler, of a case whose exact
        answers were others, or of a judge with another rule are ignored.
    """
    from experiments import guests
    from theory.cases import named
    from theory.judging import RULE

    asked = list(pairs(settings))
    versions = {name: _version(name) for name in settings.seeds}
    known = RunStore(store)
    rounds = max(seeds for _, _, seeds in asked)
    todo = [(s, c, n) for n in range(1, rounds + 1) for s, c, seeds in asked if n <= seeds]
    cases = {name: named(name) for name in dict.fromkeys(c for _, c, _ in asked)}
    for k, (sampler, name, seed) in enumerate(todo):
        if progress is not None:
            progress(k, len(todo), f"{sampler} on {name}")
        key = (sampler, name, seed, versions[sampler], _stamp(cases[name]), RULE)
        if key not in known:
            run = guests.run(sampler, cases[name], seed)
            known.add(key, {"seconds": run.seconds, "evaluations": run.evaluations,
                            "trusted": run.trusted, "verdict": json.loads(run.verdict.to_json())})
    rows = [_row(cases[name], sampler, [
        known[sampler, name, n, versions[sampler], _stamp(cases[name]), RULE]
        for n in range(1, seeds + 1)]) for sampler, name, seeds in asked]
    lists = {key: [row[key] for row in rows] for key in rows[0]}
    columns: dict[str, Any] = {key: values if isinstance(values[0], str) else
                               np.array(values, dtype=float) for key, values in lists.items()}
    return Result(asdict(settings), time.strftime("%Y-%m-%d", time.gmtime()), machine(), versions,
                  RULE, **columns)


def _stamp(case: Any) -> str:
    """What a stored run was judged against."""
    return " ".join(f"{v:.9g}" for v in (case.log_evidence, *case.mean[:3],
                                         *np.diag(case.covariance)[:3]))


def _version(sampler: str) -> str:
    from importlib.metadata import version

    from experiments.guests import MissingGuest

    distribution = {"ours": "bayesian-measurement", "nautilus": "nautilus-sampler"}
    name = distribution.get(sampler, sampler)
    try:
        return version(name)
    except ImportError:
        raise MissingGuest(f"{name} is not installed here; make peers installs it") from None


def _row(case: Any, sampler: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    from theory.judging import Line, Verdict, judge_many

    verdicts = [Verdict(sampler, case.name, tuple(
        Line(line["quantity"], line["exact"], line["found"], line["error"])
        for line in record["verdict"]["lines"])) for record in records]
    judgement = judge_many(verdicts)
    nan, words, row = math.nan, "not given", {}
    for record in judgement.records:
        if record.quantity == "log evidence":
            row, words = asdict(record), record.words
            if record.biased:
                words = "biased" if words == "honest" else f"biased, {words}"
    others = [f"{r.quantity}: " + ", ".join([*(["biased"] if r.biased else []),
                                             *([r.words] if r.dishonest else [])])
              for r in judgement.records if r.quantity != "log evidence"
              and (r.biased or r.dishonest)]
    numbers = {key: nan if row.get(key) is None else row[key] for key in (
        "bias", "bias_error", "bias_p", "scatter", "claimed", "score_sd", "calibration")}
    return {"sampler": sampler, "case": case.name, "dimension": case.dimension,
            "runs": len(records), "exact": case.log_evidence, **numbers,
            "untrusted": sum(record["trusted"] is False for record in records),
            "seconds": float(np.median([record["seconds"] for record in records])),
            "evaluations": float(np.median([record["evaluations"] for record in records])),
            "evidence": words, "others": "; ".join(others) or "nothing found"}


def check(result: Result) -> Claims:
    """What the table says; the only judgement is on our own sampler."""
    rows = range(len(result.case))
    wrong = [i for i in rows if not _right(result, i)]
    claims = []
    for sampler in dict.fromkeys(result.sampler):
        mine = [i for i in rows if result.sampler[i] == sampler]
        faults = [f"{result.case[i]} ({result.evidence[i]})" for i in mine if i in wrong]
        given = sum(np.isfinite(result.bias[i]) for i in mine)
        errors = sum(np.isfinite(result.score_sd[i]) for i in mine)
        says = "ln Z not given" if not given else (
            f"ln Z unbiased{' and its error honest' if errors else ''} on "
            f"{given - len(faults)} of {given} cases")
        others = [result.case[i] for i in mine if result.others[i] != "nothing found"]
        runs = sorted({int(result.runs[i]) for i in mine})
        claims.append(Claim(
            f"{sampler} {result.versions.get(sampler, '')}, {' or '.join(map(str, runs))} seeds",
            "-", says, 0.0, None, "; ".join([
                *(["not so: " + ", ".join(faults)] if faults else []),
                *(["other numbers wrong: " + ", ".join(others)] if others else []),
                *([] if errors or not given else ["claims no error of ln Z"])])))
    ours = [i for i in rows if result.sampler[i] == "ours"]
    silent = [result.case[i] for i in ours if not result.untrusted[i]
              and _surely_wrong(result, i, 2 * len(ours))]
    claims.append(Claim(
        "ours: cases with a wrong ln Z or error bar (1 false alarm in 100 such tables) of which "
        "no run was flagged", "-",
        ", ".join(silent) or "none", 0.0, set(silent) <= {"spike_and_slab"},
        "none but spike_and_slab, a mode that no replica meets"))
    return Claims(claims)


def _right(result: Result, i: int) -> bool:
    return result.evidence[i] in ("honest", "no error given", "claimed to be exact, and is",
                                  "not given")


def _surely_wrong(result: Result, i: int, tests: int) -> bool:
    """By Bonferroni: among so many tests at 1 in 100 each, some accuse an honest sampler."""
    p = min(result.bias_p[i], result.calibration[i])
    return bool(not p >= 0.01 / tests)


def _signed(nats: float) -> str:
    return f"{nats:+.2f}".replace("-0.00", "0.00").replace("+0.00", "0.00")


def _counted(evaluations: float) -> str:
    """Three digits at most: 5k, 512k, 8.3M."""
    return (f"{evaluations / 1e3:.0f}k" if evaluations < 999_500 else f"{evaluations / 1e6:.1f}M")


@styled
def draw(result: Result) -> dict[str, Any]:
    """The table sampler by case as four coloured grids, and ours on all cases."""
    from matplotlib.colors import LogNorm, SymLogNorm

    from experiments.figures import BLUE, GREEN, RED, label_panels, panels

    samplers = list(dict.fromkeys(result.sampler))
    cases = [c for c in dict.fromkeys(result.case)
             if sum(case == c for case in result.case) > 1]
    where = {(s, c): i for i, (s, c) in enumerate(zip(result.sampler, result.case, strict=True))}

    def grid(values: Array) -> Array:
        return np.array([[values[where[s, c]] if (s, c) in where else math.nan for s in samplers]
                         for c in cases])

    figure, axes = panels(2, 2, 8.0, 0.5 * len(cases) + 2.6)
    for ax, values, title, norm, colors, words in (
            (axes[0, 0], grid(result.bias), "bias of ln Z (nats)",
             SymLogNorm(0.03, vmin=-3, vmax=3), "RdBu_r", _signed),
            (axes[0, 1], grid(result.score_sd), "rms of z of ln Z", LogNorm(0.2, 5), "RdBu_r",
             "{:.1f}".format),
            (axes[1, 0], grid(result.seconds), "CPU seconds a run", LogNorm(0.05, 50), "YlGn",
             "{:.1f}".format),
            (axes[1, 1], grid(result.evaluations), "likelihood evaluations a run",
             LogNorm(3e3, 3e7), "YlGn", _counted)):
        ax.imshow(values, norm=norm, cmap=colors, aspect="auto")
        for row, column in np.ndindex(values.shape):
            i = where.get((samplers[column], cases[row]))
            number = values[row, column]
            text = "" if i is None else "–" if math.isnan(number) else words(float(number))
            accused = i is not None and ax in axes[0] and not _right(result, i)
            depth = 0.5 if math.isnan(number) else float(norm(number))
            dark = depth > 0.85 or (depth < 0.15 and colors == "RdBu_r")
            ax.text(column, row, text, ha="center", va="center", fontsize=7,
                    color="white" if dark else "black",
                    weight="bold" if accused else "normal")
        ax.set(title=title, xticks=range(len(samplers)), yticks=range(len(cases)),
               xlabel="sampler")
        ax.set_xticklabels(samplers, rotation=45, ha="right")
        ax.set_yticklabels(cases if ax in axes[:, 0] else [])
        ax.spines[:].set_visible(False)
    label_panels(axes)
    ours = [i for i, sampler in enumerate(result.sampler) if sampler == "ours"]
    place = np.arange(len(ours))
    all_cases, two = panels(1, 2, 7.4, 0.19 * len(ours) + 1.2)
    left, right = two.flat
    marks = [RED if not _right(result, i) else BLUE for i in ours]
    left.axvline(0.0, color="0.6", lw=0.8)
    reach = 2 * result.bias_error[ours]
    left.hlines(place, result.bias[ours] - reach, result.bias[ours] + reach, colors=marks, lw=1.2)
    left.scatter(result.bias[ours], place, c=marks, s=12, zorder=3)
    left.set(xlabel="bias of ln Z, 2 standard errors (nats)",
             title="Our sampler against exact ln Z", yticks=place)
    left.set_xscale("symlog", linthresh=0.01)
    left.set_xlim(*(1.5 * side for side in (-np.max(abs(result.bias[ours]) + reach),
                                            np.max(abs(result.bias[ours]) + reach))))
    left.set_yticklabels([result.case[i] for i in ours], fontsize=7)
    right.axvline(1.0, color="0.6", lw=0.8)
    right.scatter(result.score_sd[ours], place, c=marks, s=12)
    for k, i in enumerate(ours):
        if result.untrusted[i]:
            right.annotate(f"{result.untrusted[i]:.0f} of {result.runs[i]:.0f} runs flagged",
                           (result.score_sd[i], k), (6, 0), textcoords="offset points",
                           fontsize=6.5, color=GREEN, va="center")
    right.set(xscale="log", xlabel="rms of z of ln Z", title="Honesty of its error bar",
              yticks=place, yticklabels=[])
    for ax in two.flat:
        ax.invert_yaxis()
    label_panels(two)
    return {"guest_samplers": figure, "our_sampler_on_all_cases": all_cases}
