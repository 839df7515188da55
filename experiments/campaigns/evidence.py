"""A: is F right, and is its error bar?  Runs against closed forms and quadrature.

The error bar is the larger of two estimates, so that (F - exact)/error is not normal; it is mapped
to a normal score by the law of the reported error (`sampler.evidence.normal_score`) first.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from experiments.campaigns import (
    Campaign,
    Finding,
    Numbers,
    Records,
    at_least,
    chi_square,
    inside,
    seed_of,
)

PROBLEMS = ("straight_line", "line_wall", "polynomial_2", "unknown_noise", "linear_peaks",
            "one_peak", "two_peaks", "relaxation", "counts_peak", "two_modes", "product",
            "rosenbrock")
LADDERED = ("straight_line", "one_peak", "line_wall")
SHORT = 250           # counted sweeps of a chain at 1x
JOINT = 2.0           # errors within which two estimates of one run are said to agree


@cache
def problem(name: str) -> tuple[Any, float]:
    """A case for the sampler, and its exact F."""
    from experiments.guests import posterior_of
    from theory.cases import named

    case = named(name)
    posterior, shift = posterior_of(case)
    return posterior, shift - case.log_evidence


def _f(found: Any, exact: float) -> Numbers:
    """What is kept of a free energy: distances from the exact value, and errors."""
    return {"value": found.value - exact, "error": found.error, "freedom": found.freedom,
            "bar": found.bar - exact, "bar_error": found.bar_error,
            "bridge": None if found.bridge is None else found.bridge - exact,
            "bridge_error": found.bridge_error, "estimator": found.estimator}


# ---- A1, A2, A4, B9: the default run -------------------------------------------------------------


def default_run(name: str, seed: int) -> Numbers:
    """What a user gets who sets nothing, against the exact answers."""
    from sampler import diagnose, free_energy, sample
    from sampler.series import series_errors
    from theory.cases import named

    posterior, exact = problem(name)
    run = sample(posterior, seed=seed_of(name, seed), threads=1)
    found, diagnosis, case = free_energy(run), diagnose(run), named(name)
    draws = run.draws[..., [posterior.names.index(n) for n in case.names]] - case.mean
    moments = []
    for i in range(case.dimension):
        for series, truth in ((draws[..., i], 0.0), (draws[..., i] ** 2, case.covariance[i, i])):
            within, between, freedom = series_errors(series)
            moments.append([float(series.mean()) - truth, max(within, between), freedom])
    return {**_f(found, exact), "gap": diagnosis.direction_gap, "apart": diagnosis.bridge_gap,
            "trusted": diagnosis.trusted, "sweeps": run.sweeps, "moments": moments}


def scores(records: Any, estimator: str) -> Any:
    """Normal scores of the distances from the exact F."""
    from sampler.evidence import normal_score

    if estimator == "BAR":
        return np.array([normal_score(r["bar"] / r["bar_error"], 7) for r in records])
    return np.array([normal_score(r["value"] / r["error"], int(r["freedom"])) for r in records])


def judge_scores(records: Records) -> list[Finding]:
    """A1: mean and spread of z for each model, and all together."""
    out = []
    for estimator in ("value", "BAR"):
        z = {name: scores(rows, estimator) for name, rows in records.items()}
        every, n = np.concatenate(list(z.values())), min(map(len, z.values()))
        mean = max(z, key=lambda k: abs(z[k].mean()))
        wide, narrow = (pick(z, key=lambda k: z[k].std(ddof=1)) for pick in (max, min))
        e, w = 1 / math.sqrt(n), 1 / math.sqrt(2 * n)
        word = "reported F" if estimator == "value" else "F by BAR"
        out += [
            inside(f"{word}: mean z, farthest of {len(z)} models ({mean})", z[mean].mean(),
                   -0.25, 0.25, "5e-3", e),
            inside(f"{word}: largest sd of z ({wide})", z[wide].std(ddof=1), 0.83, 1.18, "3e-3",
                   w),
            inside(f"{word}: smallest sd of z ({narrow})", z[narrow].std(ddof=1), 0.83, 1.18,
                   "4e-3", w),
            chi_square(f"{word}, all models", every),
            inside(f"{word}: mean z, all models", every.mean(), -0.08, 0.08, "1e-4",
                   1 / math.sqrt(len(every))),
            inside(f"{word}: largest |z|", float(np.abs(every).max()), 0.0, 4.5, "2e-2")]
    flagged = sum(not r["trusted"] for rows in records.values() for r in rows)
    total = sum(map(len, records.values()))
    out.append(Finding("runs that their own diagnosis did not trust (all are judged)", "-",
                       f"{flagged} of {total}", 0.0, None, "-"))
    return out


def judge_coverage(records: Records) -> list[Finding]:
    """A2: how often the intervals hold the truth."""
    out = []
    for estimator in ("value", "BAR"):
        z = {name: np.abs(scores(rows, estimator)) for name, rows in records.items()}
        every = np.concatenate(list(z.values()))
        n = len(every)
        each = {name: float(np.mean(v < 1.959964)) for name, v in z.items()}
        low, high = min(each, key=lambda k: each[k]), max(each, key=lambda k: each[k])
        word = "reported F" if estimator == "value" else "F by BAR"
        out += [
            inside(f"{word}: share of 68 % intervals that hold the truth",
                   float(np.mean(every < 1.0)), 0.652, 0.715, "8e-4", math.sqrt(0.216 / n)),
            inside(f"{word}: share of 95 % intervals", float(np.mean(every < 1.959964)), 0.936,
                   0.964, "2e-3", math.sqrt(0.0475 / n)),
            inside(f"{word}: lowest share of 95 % intervals of a model ({low})", each[low],
                   0.90, 0.99, "2e-2"),
            inside(f"{word}: highest ({high})", each[high], 0.90, 0.99, "5e-2")]
    return out


def judge_agreement(records: Records) -> list[Finding]:
    """A4: estimates of one run agree within their joint error."""
    rows = [r for several in records.values() for r in several]
    n = len(rows)
    e = math.sqrt(0.0475 / n)
    return [
        at_least(f"forward and reverse stepping stone within {JOINT:g} joint errors, share of runs",
                 float(np.mean([r["gap"] <= JOINT for r in rows])), 0.95, "1e-3", e),
        at_least(f"BAR and bridge within {JOINT:g} joint errors, share of runs",
                 float(np.mean([r["apart"] <= JOINT for r in rows])), 0.95, "1e-3", e)]


def judge_moments(records: Records) -> list[Finding]:
    """B9: exact means and variances of every parameter, with the run's own errors."""
    from sampler.evidence import normal_score

    z, labels = [], []
    for name, rows in records.items():
        table = np.array([r["moments"] for r in rows])          # (seeds, moments, 3)
        for k in range(table.shape[1]):
            z.append(normal_score(table[:, k, 0] / table[:, k, 1], int(table[0, k, 2])))
            labels.append(f"{name}, moment {k + 1}")
    mean = np.array([v.mean() * math.sqrt(len(v)) for v in z])
    spread = np.array([math.sqrt(float(np.mean(v**2))) for v in z])
    far, wide = int(np.argmax(np.abs(mean))), int(np.argmax(spread))
    n = min(map(len, z))
    return [
        inside(f"mean z of {len(z)} means and variances, in its errors; farthest: {labels[far]}",
               mean[far], -4.0, 4.0, f"{6e-5 * len(z):.0e}"),
        chi_square("mean z of all moments", mean),
        inside(f"rms of z, largest: {labels[wide]}", spread[wide], 0.0, 1 + 4 / math.sqrt(2 * n),
               f"{3e-5 * len(z):.0e}", 1 / math.sqrt(2 * n))]


# ---- A3: bias and scatter against sweeps ---------------------------------------------------------


def longer_run(name: str, seed: int) -> Numbers:
    """The same problem with 1, 4 and 16 times as many sweeps, of independent seeds."""
    from sampler import free_energy, sample

    posterior, exact = problem(name)
    out: Numbers = {}
    for factor in (1, 4, 16):
        run = sample(posterior, SHORT * factor, burn_in=1000, threads=1,
                     seed=seed_of(f"{name} {factor}x", seed))
        out[str(factor)] = _f(free_energy(run), exact)
    return out


def judge_bias(records: Records) -> list[Finding]:
    """A3: the bias vanishes and the scatter falls as sweeps**(-1/2)."""
    out = []
    for estimator in ("value", "bar"):
        word = "reported F" if estimator == "value" else "F by BAR"
        for name, rows in records.items():
            bias, error, sd = {}, {}, {}
            for factor in ("1", "4", "16"):
                off = np.array([r[factor][estimator] for r in rows])
                sd[factor] = float(off.std(ddof=1))
                bias[factor], error[factor] = float(off.mean()), sd[factor] / math.sqrt(len(off))
            small = all(abs(bias[f]) < max(3 * error[f], abs(bias[g]))
                        for f, g in (("4", "1"), ("16", "4")))
            words = ", ".join(f"{1000 * bias[f]:+.1f}({1000 * error[f]:.1f})" for f in bias)
            out += [
                Finding(f"{word}, {name}: bias at 1x, 4x, 16x (millinats)",
                        "falls, or within 3 errors of 0", words, 0.0, small, "5e-3"),
                inside(f"{word}, {name}: |bias| at 16x (nats)", abs(bias["16"]), 0.0, 0.01,
                       "1e-3", error["16"]),
                inside(f"{word}, {name}: sd at 16x over sd at 1x, times 4",
                       4 * sd["16"] / sd["1"], 0.85, 1.15, "2e-3", 1 / math.sqrt(len(rows)))]
    return out


# ---- A5: absolute accuracy -----------------------------------------------------------------------


def fine_run(name: str, seed: int) -> Numbers:
    """Until the error is 0.015 nats; nothing else is set."""
    import time

    from sampler import diagnose, free_energy, sample

    posterior, exact = problem(name)
    begin = time.process_time()
    run = sample(posterior, until=0.015, seed=seed_of(name, seed), threads=1)
    diagnosis = diagnose(run)
    return {**_f(free_energy(run), exact), "dimension": posterior.dimension,
            "trusted": diagnosis.trusted, "faults": list(diagnosis.faults), "sweeps": run.sweeps,
            "stopped": run.stopped, "seconds": time.process_time() - begin}


def judge_accuracy(records: Records) -> list[Finding]:
    """A5: the largest distance from the exact F over all cases."""
    rows = {name: r[0] for name, r in records.items()}
    out = []
    for words, limit, chosen in (
            ("d <= 6", 0.05, [k for k, r in rows.items() if r["dimension"] <= 6]),
            ("d = 7 to 9", 0.15, [k for k, r in rows.items() if 7 <= r["dimension"] <= 9]),
            ("d = 20", math.inf, [k for k, r in rows.items() if r["dimension"] > 9])):
        for trusted in (True, False):
            some = [k for k in chosen if rows[k]["trusted"] is trusted]
            if not some:
                continue
            worst = max(some, key=lambda k: abs(rows[k]["value"]))
            r = rows[worst]
            judged = trusted and math.isfinite(limit)
            out.append(Finding(
                f"largest |F - exact| (nats), {words}, {len(some)} cases that "
                f"{'are' if trusted else 'say they are not'} trusted: {worst}",
                f"at most {limit:g}" if judged else "-", abs(r["value"]), r["error"],
                abs(r["value"]) <= limit if judged else None, "1e-2"))
    slow = max(rows, key=lambda k: rows[k]["seconds"])
    out.append(Finding(f"CPU seconds of all {len(rows)} cases; slowest: {slow} "
                       f"{rows[slow]['seconds']:.0f} s", "-",
                       sum(r["seconds"] for r in rows.values()), 0.0, None, "-"))
    return out


def _cases() -> tuple[str, ...]:
    from theory.cases import BUILDERS

    return tuple(BUILDERS)


def campaigns() -> tuple[Campaign, ...]:
    """A1 to A5, and B9 that reads the same runs."""
    seeds = range(1, 201)
    return (
        Campaign("A1", "are F and its error bar right on 12 models?", PROBLEMS, seeds, default_run,
                 judge_scores, 0.4),
        Campaign("A2", "do intervals hold the truth as often as they say? (runs of A1)", PROBLEMS,
                 seeds, default_run, judge_coverage, 0.0),
        Campaign("A3", "does the bias vanish, and the scatter as sweeps**(-1/2)?", LADDERED,
                 range(1, 401), longer_run, judge_bias, 1.0),
        Campaign("A4", "do two estimates of one run agree? (runs of A1)", PROBLEMS, seeds,
                 default_run, judge_agreement, 0.0),
        Campaign("A5", "how far off is F at until=0.015, on every exact case?", _cases(),
                 range(1, 2), fine_run, judge_accuracy, 10.0),
        Campaign("B9", "are means and variances right within their errors? (runs of A1)", PROBLEMS,
                 seeds, default_run, judge_moments, 0.0))
