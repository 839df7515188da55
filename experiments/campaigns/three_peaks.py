"""P: how little work for how small a true error?  Three peaks that overlap, by both estimators.

The reported error is the larger of two estimates; (F - truth)/error is mapped to a normal score by
the law of that, whose sd is 1 for an honest error bar.

The spectrum is that of `experiments.nagata2012_number_of_peaks` with flat priors: heights from 0 to
3, precisions from 1 to 400, centres from 0 to 3.
"""

from __future__ import annotations

import math
import time
from functools import cache
from typing import Any

import numpy as np

from experiments.campaigns import Campaign, Finding, Numbers, Records, at_least, inside, seed_of

# name: (K, chains, counted sweeps, burn-in or the default, largest rms error by bridge, by BAR)
SETTINGS: dict[str, tuple[int, int, int, int | None, float, float]] = {
    "K=3, 4 x 1000": (3, 4, 1_000, None, 0.02, 0.15),
    "K=3, 1 x 500": (3, 1, 500, 500, 0.07, math.inf),
    "K=4, 4 x 4000": (4, 4, 4_000, None, 0.04, math.inf),
    "K=5, 4 x 4000": (5, 4, 4_000, None, 0.06, math.inf),
}
LONG = {"K=3": (3, 40_000), "K=4": (4, 100_000), "K=5": (5, 100_000)}
# F (nats, without the constant) and its error: six runs of four such long chains, by the bridge;
# BAR of the same runs says 178.323(8), 178.964(9), 180.285(9).  Campaign P1 makes them anew.
REFERENCE = {3: (178.3276, 0.0012), 4: (178.9595, 0.0045), 5: (180.2940, 0.0104)}


@cache
def posterior(K: int) -> Any:
    """K peaks on the spectrum of three."""
    from experiments import nagata2012_number_of_peaks as nagata
    from sampler import Data, Model, Posterior

    x, y = nagata.spectrum(nagata.SETTINGS)
    return Posterior(Model.repeated(K, nagata.peak(), a=(0, 3), b=(1, 400), mu=(0, 3)),
                     Data(x, y, noise=nagata.SETTINGS.noise))


def _both(K: int, sweeps: int, **options: Any) -> Numbers:
    """One run: both estimates, their errors, CPU seconds of the run and of the estimates."""
    from sampler import free_energy, sample

    model = posterior(K)
    sample(model, 20, burn_in=20, seed=0, threads=1)      # compiled before the clock starts
    begin = time.process_time()
    run = sample(model, sweeps, threads=1, **options)
    done = time.process_time()
    found = free_energy(run)
    return {"bridge": None if found.bridge is None else found.bridge - found.constant,
            "bridge_error": found.bridge_error, "bar": found.bar - found.constant,
            "bar_error": found.bar_error, "estimator": found.estimator,
            "seconds": done - begin, "estimate_seconds": time.process_time() - done}


# ---- P1 ------------------------------------------------------------------------------------------


def long_run(name: str, seed: int) -> Numbers:
    """Four long chains."""
    K, sweeps = LONG[name]
    return _both(K, sweeps, seed=seed_of(f"long {name}", seed))


def mean(values: Any, errors: Any) -> tuple[float, float]:
    """Weighted by the errors.

    Examples
    --------
    >>> mean([1.0, 3.0], [1.0, 1.0])
    (2.0, 0.7071067811865476)
    """
    weights = 1.0 / np.asarray(errors, dtype=float) ** 2
    return float(weights @ np.asarray(values) / weights.sum()), float(weights.sum() ** -0.5)


def judge_reference(records: Records) -> list[Finding]:
    """Two routes to one number, and the number that P2 compares with."""
    out = []
    for name, rows in records.items():
        bridge, bar = (mean([r[key] for r in rows], [r[f"{key}_error"] for r in rows])
                       for key in ("bridge", "bar"))
        kept, kept_error = REFERENCE[LONG[name][0]]
        out += [Finding(f"F by the bridge (nats), {name}, {len(rows)} long runs", "-", *bridge,
                        None, "-"),
                inside(f"bridge - BAR in joint errors, {name}",
                       (bridge[0] - bar[0]) / math.hypot(bridge[1], bar[1]), -3.5, 3.5, "5e-4"),
                inside(f"bridge - reference of P2 in joint errors, {name}",
                       (bridge[0] - kept) / math.hypot(bridge[1], kept_error), -3.5, 3.5, "5e-4")]
    return out


# ---- P2 ------------------------------------------------------------------------------------------


def short_run(name: str, seed: int) -> Numbers:
    """One of the settings above."""
    K, chains, sweeps, burn_in, *_ = SETTINGS[name]
    return _both(K, sweeps, chains=chains, burn_in=burn_in, seed=seed_of(f"short {name}", seed))


def judge_short(records: Records) -> list[Finding]:
    """True error of each setting; honesty of the claimed one, over all settings, by estimator (40
    scores of one setting leave a window of a fifth by chance too often); CPU seconds."""
    from sampler.bridge_sampling import FREEDOM

    out: list[Finding] = []
    pooled: dict[str, list[Any]] = {"bridge": [], "BAR": []}
    for name, rows in records.items():
        K, chains, *_, most_bridge, most_bar = SETTINGS[name]
        for words, key, most in (("bridge", "bridge", most_bridge), ("BAR", "bar", most_bar)):
            off = np.array([math.inf if r[key] is None else r[key] - REFERENCE[K][0]
                            for r in rows])
            rms = math.sqrt(float(np.mean(off**2)))
            error = rms / math.sqrt(2 * len(rows))
            claim = f"rms error of F (nats), {words}, {name}"
            out.append(inside(claim, rms, -math.inf, most, "-", error) if math.isfinite(most)
                       else Finding(claim, "-", rms, error, None, "-"))
            if words == "bridge" or chains == 4:     # the error bar of BAR is made for four chains
                pooled[words].append(off / [r[f"{key}_error"] or math.nan for r in rows])
        out.append(Finding(
            f"CPU seconds (median): run and both estimates, {name}", "-",
            float(np.median([r["seconds"] + r["estimate_seconds"] for r in rows])), 0.0, None, "-"))
    for (words, z), freedom in zip(pooled.items(), (FREEDOM, 7), strict=True):
        out += _honest(words, np.concatenate(z), freedom)
    return out


def _honest(words: str, z: Any, freedom: int) -> list[Finding]:
    """160 scores of the bridge, 120 of BAR: sd to 6 %."""
    from sampler.evidence import half_width, normal_score

    covered = float(np.mean(abs(z) <= half_width(0.95, freedom)))
    return [inside(f"sd of {len(z)} normal scores, {words}",
                   float(np.std(normal_score(z, freedom), ddof=1)), 0.8, 1.25, "2e-3",
                   1.0 / math.sqrt(2 * len(z))),
            at_least(f"95 % intervals that hold the truth, {words}", covered, 0.90, "1e-2",
                     math.sqrt(0.95 * 0.05 / len(z)))]


def campaigns() -> tuple[Campaign, ...]:
    """P1 and P2."""
    return (
        Campaign("P1", "what is F of three overlapping peaks, by two routes?", tuple(LONG),
                 range(1, 7), long_run, judge_reference, 20.0),
        Campaign("P2", "how small is the true error of a short run, on three overlapping peaks?",
                 tuple(SETTINGS), range(1, 41), short_run, judge_short, 1.2))
