"""E: does every F that an experiment reports scatter as its error bar says?

Every experiment whose result holds F with an error is computed ten times more, with other seeds of
the sampler and the same data, and every such pair is taken as it stands: an error bar that one seed
happened to keep is none.  Not so sequential design, whose choices differ from seed to seed.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from experiments.campaigns import Campaign, Finding, Numbers, Records, inside, seed_of

Array = NDArray[np.float64]
Rows = list[list[float]]
SEEDS = range(1, 11)
LOW, HIGH = 0.7, 1.4
SAMPLED = (
    "straight_line", "nagata2012_number_of_peaks", "tokuda2017_noise_and_peaks", "noise_sweep",
    "peak_resolution", "gauss1_two_peaks", "t1_inversion_recovery", "ueda2023_nmr_relaxation",
    "crystal_phases", "xanes_pre_edge", "aot_three_contrasts", "sphere_populations",
    "measuring_time", "mossbauer_hamiltonian", "two_spectra", "muon_relaxation",
    "time_resolved_xrd")
ALONG = ("straight_line", "tokuda2017_noise_and_peaks")    # F at all rungs of each run


def free_energies(result: Any) -> tuple[Rows, Rows]:
    """Every F of a result that has an error beside it, wherever it lies, and these errors (nats):
    a row for each run.

    Parameters
    ----------
    result : an experiment's Result
        Fields or mappings with ``F`` and ``F_error``, each entry of another run.

    Examples
    --------
    >>> free_energies({"iron": {"F": [3.0, 4.0], "F_error": [0.1, 0.2]}, "x": [1.0]})
    ([[3.0], [4.0]], [[0.1], [0.2]])
    """
    parts: dict[Any, Any] = {}
    if is_dataclass(result):
        parts = {f.name: getattr(result, f.name) for f in fields(result)}
    elif isinstance(result, dict | list):
        parts = dict(result if isinstance(result, dict) else enumerate(result))
    found: tuple[Rows, Rows] = ([], [])
    if "F" in parts and "F_error" in parts:
        found = (np.reshape(parts.pop("F"), (-1, 1)).tolist(),
                 np.reshape(parts.pop("F_error"), (-1, 1)).tolist())
    for part in parts.values():
        more = free_energies(part)
        found = found[0] + more[0], found[1] + more[1]
    return found


def rerun(problem: str, seed: int) -> Numbers:
    """One experiment at full settings, with another seed of the sampler."""
    module = import_module(f"experiments.{problem}")
    result = module.compute(replace(module.SETTINGS, seed=seed_of(problem, seed)))
    if problem in ALONG:
        F, error = np.atleast_2d(result.F).tolist(), np.atleast_2d(result.F_error).tolist()
    else:
        F, error = free_energies(result)
    return {"F": F, "error": error}


def judge(records: Records) -> list[Finding]:
    """The scatter of all F of an experiment about their means, over their claimed errors."""
    return [_scatter(name, np.array([run["F"] for run in runs], dtype=float),
                     np.array([run["error"] for run in runs], dtype=float))
            for name, runs in records.items()]


def _scatter(name: str, F: Array, error: Array) -> Finding:
    """Arrays (seeds, runs, F of one run).  Errors of different runs are independent, so that the
    square of the ratio is chi-square over its freedom; along one ladder they are not, and count as
    one, though their mean scatters less."""
    claimed = np.sqrt(np.mean(error**2, axis=0))
    sampled = np.isfinite(claimed) & (claimed > 0.0)        # K = 0 and beta = 0 are exact
    z = (F - F.mean(axis=0)) / np.where(sampled, claimed, np.inf)
    runs = int(sampled.any(axis=1).sum())
    freedom = (len(F) - 1) * runs
    each = np.sum(z**2, axis=(0, 2)) / np.maximum(sampled.sum(axis=1), 1)
    ratio = float(np.sqrt(each.sum() / freedom))
    alarm = chi2.cdf(LOW**2 * freedom, freedom) + chi2.sf(HIGH**2 * freedom, freedom)
    return inside(f"scatter of F over claimed error, {name} ({runs} models)", ratio, LOW, HIGH,
                  f"{alarm:.1g}", float(ratio / np.sqrt(2.0 * freedom)))


def campaigns() -> tuple[Campaign, ...]:
    """Those of this module."""
    return (Campaign("E", "does F of every experiment scatter over seeds as its error bar says?",
                     SAMPLED, SEEDS, rerun, judge, 80.0),)


__all__ = ["campaigns", "free_energies", "rerun"]
