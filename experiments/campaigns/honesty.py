"""D5: is a bad run flagged, and a good one left alone?

Twelve hard problems are run far too short on purpose, twelve easy ones as long as they need.  The
flag is `diagnose(run).trusted`; none of its alarms looks at the number of sweeps.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from experiments.campaigns import Campaign, Finding, Numbers, Records, at_least, inside, seed_of
from experiments.campaigns.evidence import problem

HARD = ("polynomial_5", "polynomial_6", "polynomial_7", "polynomial_8", "correlated_normal",
        "two_peaks", "two_modes", "labels", "eggbox", "rosenbrock", "three_peaks", "four_peaks")
EASY = ("straight_line", "line_box", "line_wall", "polynomial_0", "polynomial_1", "polynomial_2",
        "unknown_noise", "linear_peaks", "one_peak", "relaxation", "poisson_gamma", "counts_peak")
TOO_SHORT, ENOUGH = 200, 4000     # counted sweeps of each of 4 chains


@cache
def _peaks(components: int) -> Any:
    """The three-peak problem of the papers, fitted with so many Gaussians."""
    from sampler import Data, Model, Posterior, Uniform, parse_formula

    x = np.linspace(0.0, 3.0, 301)
    peaks = ((0.587, 95.7, 1.210), (1.522, 146.8, 1.455), (1.183, 164.5, 1.703))
    y = sum(a * np.exp(-0.5 * b * (x - mu) ** 2) for a, b, mu in peaks)
    y = y + 0.1 * np.random.RandomState(0).normal(size=x.size)
    peak = parse_formula("peak", "a*exp(-b*(x - mu)**2/2)", ("a", "b", "mu"))
    model = Model.repeated(components, peak, a=Uniform(0, 3), b=Uniform(1, 400), mu=Uniform(0, 3))
    return Posterior(model, Data(x, y, noise=0.1))


def flagged_run(name: str, seed: int) -> Numbers:
    """One run, too short on the hard problems and long enough on the easy ones."""
    from sampler import diagnose, free_energy, sample

    if name.endswith("_peaks") and name in ("three_peaks", "four_peaks"):
        posterior, exact = _peaks({"three_peaks": 3, "four_peaks": 4}[name]), math.nan
    else:
        posterior, exact = problem(name)
    sweeps, burn_in = (TOO_SHORT, TOO_SHORT) if name in HARD else (ENOUGH, None)
    run = sample(posterior, sweeps, burn_in=burn_in, seed=seed_of(name, seed), threads=1)
    diagnosis, found = diagnose(run), free_energy(run)
    off = found.value - exact
    return {"trusted": diagnosis.trusted, "faults": list(diagnosis.faults),
            "off": off if math.isfinite(off) else None, "error": found.error}


def judge_flags(records: Records) -> list[Finding]:
    """Shares of flagged runs, and the problem where the flag does worst."""
    def share(names: tuple[str, ...]) -> tuple[float, int, dict[str, float]]:
        each = {k: float(np.mean([not r["trusted"] for r in records[k]])) for k in names}
        return float(np.mean(list(each.values()))), sum(len(records[k]) for k in names), each

    hard, n_hard, by_hard = share(HARD)
    easy, n_easy, by_easy = share(EASY)
    least, most = min(HARD, key=lambda k: by_hard[k]), max(EASY, key=lambda k: by_easy[k])
    return [
        at_least(f"share of {n_hard} runs flagged that were far too short (least on {least}: "
                 f"{by_hard[least]:.2f})", hard, 0.95, "0", math.sqrt(hard * (1 - hard) / n_hard)),
        inside(f"share of {n_easy} good runs flagged (most on {most}: {by_easy[most]:.2f})", easy,
               0.0, 0.02, "5e-4 at a true rate of 1 %", math.sqrt(easy * (1 - easy) / n_easy)),
        Finding("alarms of the too short runs", "-", _counted(records, HARD), 0.0, None, "-"),
        Finding("alarms of the good runs", "-", _counted(records, EASY) or "none", 0.0, None, "-")]


def _counted(records: Records, names: tuple[str, ...]) -> str:
    counts: dict[str, int] = {}
    for name in names:
        for record in records[name]:
            for fault in record["faults"]:
                counts[fault] = counts.get(fault, 0) + 1
    return ", ".join(f"{fault} {n}" for fault, n in sorted(counts.items(), key=lambda c: -c[1]))


def spike_run(name: str, seed: int) -> Numbers:
    """The default run where a narrow mode holds nine tenths of the posterior."""
    from sampler import diagnose, free_energy, sample

    posterior, exact = problem(name)
    run = sample(posterior, seed=seed_of(name, seed), max_sweeps=20_000, threads=1)
    found, diagnosis = free_energy(run), diagnose(run)
    return {"off": found.value - exact, "error": found.error, "trusted": diagnosis.trusted,
            "faults": list(diagnosis.faults)}


def judge_spike(records: Records) -> list[Finding]:
    """Either solved or flagged."""
    rows = records["spike_and_slab"]
    solved = sum(abs(r["off"]) < 4 * r["error"] + 0.05 for r in rows)
    silent = sum(abs(r["off"]) >= 4 * r["error"] + 0.05 and r["trusted"] for r in rows)
    return [Finding(f"spike and slab, {len(rows)} default runs: neither solved nor flagged",
                    "none", f"{silent} of {len(rows)} (solved: {solved})", 0.0, silent == 0,
                    "0")]


def campaigns() -> tuple[Campaign, ...]:
    """D5 and the documented limit of any statistic of a run."""
    return (
        Campaign("D5", "are runs flagged that are far too short, and only those?", HARD + EASY,
                 range(1, 51), flagged_run, judge_flags, 0.4),
        Campaign("D5 spike", "is the narrow mode found, or the run flagged?", ("spike_and_slab",),
                 range(1, 21), spike_run, judge_spike, 1.2))
