"""Energies of three short runs, stored: another Python, numpy or numba takes the same decisions.

Versions round differently, and one decision that hangs on the last digits would make two correct
runs part.  So what is stored holds no such decision: ``python tests/golden_decisions.py`` writes
the file only if every |ln u - gain| that the plain kernel met was above 1e-6, and if runs whose
start and priors were disturbed by 1e-8 of their size took the same decisions too (which covers
those inside the exact draws).  A run of one chain on a given ladder, neither steps nor ladder
tuned; compared from the second sweep on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from experiments.campaigns import seed_of
from experiments.campaigns.repeating import MODELS, posterior
from sampler import Ladder, Run, sample
from sampler.kernels import reference
from sampler.kernels.problem import lower

FILE = Path(__file__).with_name("golden_decisions.json")
SWEEPS, RUNGS, TIE, DISTURBED, DIGITS = 40, 6, 1e-6, 1e-8, 10


def run_of(name: str, sweeps: int = SWEEPS) -> Run:
    """The compiled kernel, by the way that users take."""
    return sample(posterior(name), sweeps, burn_in=0, chains=1, threads=1, jumps=False,
                  seed=seed_of(f"golden {name}", 1), ladder=Ladder.geometric(RUNGS, 4.0))


def energies(name: str) -> Any:
    """U at every rung of sweeps 2, 3, ..., array (sweeps - 1, rungs)."""
    return run_of(name).energy[0, 1:]


def decided(name: str, disturbed: float = 0.0) -> tuple[Any, list[Any], float]:
    """The same sweeps by the plain kernel: energies, decisions, the smallest |ln u - gain|."""
    one, first = posterior(name), run_of(name, 1)
    problem = lower(one)
    problem.prior[:, :4] *= 1.0 + disturbed
    theta = first.state.theta[0] * (1.0 + disturbed)
    rung = first.state.rung[0].copy()
    found, decisions, margin = [], [], np.inf
    for number in range(first.state.sweep, first.state.sweep + SWEEPS - 1):
        trace = reference.sweep(one, problem, theta, rung, first.betas, first.steps, first.seed,
                                0, number)
        found.append(trace.energy)
        decisions.append((trace.accepted.tolist(), rung.tolist()))
        margin = min(margin, trace.margin)
    return np.array(found), decisions, margin


def ties(name: str) -> list[str]:
    """Why a run must not be stored."""
    found, decisions, margin = decided(name)
    faults = [] if margin > TIE else [f"|ln u - gain| = {margin:.1e}"]
    for sign in (-1.0, 1.0):
        moved, others, _ = decided(name, sign * DISTURBED)
        if others != decisions or not np.allclose(moved, found, rtol=1e-4, atol=1e-4):
            faults.append(f"another decision when disturbed by {sign * DISTURBED:g}")
    return faults


def write(path: Path = FILE) -> list[str]:
    """Write the energies of all models, or nothing at all and why."""
    faults = [f"{name}: {fault}" for name in MODELS for fault in ties(name)]
    if not faults:
        rows = {name: [[float(f"{v:.{DIGITS}g}") for v in row] for row in energies(name)]
                for name in MODELS}
        path.write_text(json.dumps(rows).replace("]], ", "]],\n") + "\n", encoding="utf-8")
    return faults


if __name__ == "__main__":
    sys.exit("\n".join(write()) or 0)
