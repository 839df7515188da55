"""Stored verdicts for a sampler that has changed: some runs of each campaign, made with both.

Every change of the sampler's sources leaves the verdicts of `experiments.reliability` behind, also
one that adds a noise law and moves no number of a run.  To make hours of runs again would show
nothing else than the same bits.  So a few runs of each campaign are made
twice on one machine, with a checkout of the version that the verdicts are of and with the present
one, and a verdict is carried over where all of them are equal to the last bit.  What was carried
over, and by how many runs, is stored and printed: it is less than a campaign that was run again.

``python -m experiments.carrying_over CHECKOUT`` does it and rewrites the tracked result.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.paths import ROOT
from experiments.reliability import Result, every_campaign, sampler_digest

RUNS = 3
# Of no version: how long it took, and by whom.
PASSING = ("seconds", "estimate_seconds", "process")
Records = list[Any]
Runner = Callable[[Path, str, int], Records]


def carried_over(result: Result, checkout: Path, runs: int = RUNS, *,
                 run: Runner | None = None) -> tuple[Result, list[str]]:
    """The result with those verdicts carried over that the present sampler repeats.

    Parameters
    ----------
    result : Result
        Of `experiments.reliability`.
    checkout : path
        The repository at the version that older verdicts are of.
    runs : int
        How many of each campaign, spread over its problems and seeds.
    run : callable (checkout, campaign, runs) -> records, optional
        How they are made; by default in a process of that checkout.

    Returns
    -------
    Result, and what was found in a line for each campaign
    """
    run = run or made_by
    before, present = digest_of(checkout), sampler_digest()
    origins, lines = dict(result.origin), []
    for name, origin in result.origin.items():
        made, wanted, *_ = result.runs[name]
        if before == present or made < wanted or before not in {
                origin["sampler"], origin.get("same_as")}:
            continue
        old, new = run(checkout, name, runs), run(ROOT, name, runs)
        same = sum(a == b for a, b in zip(old, new, strict=True))
        lines.append(f"{name}: {same} of {len(old)} runs equal")
        if same == len(old) > 0:
            origins[name] = origin | {"same_as": present, "same_runs": str(len(old))}
    return replace(result, origin=origins), lines


def some(name: str, runs: int) -> list[tuple[str, int]]:
    """Problems and seeds of a campaign, evenly spread.

    Examples
    --------
    >>> len(some("A1", 3)), len(some("D5 spike", 100))
    (3, 20)
    """
    campaign = every_campaign()[name]
    every = [(problem, seed) for seed in campaign.seeds for problem in campaign.problems]
    at = np.unique(np.linspace(0, len(every) - 1, runs).astype(int))
    return [every[i] for i in at]


def made_by(checkout: Path, name: str, runs: int) -> Records:
    """What the sampler of a checkout finds in them, as text: equal bits are equal text."""
    out: Records = _asked(checkout, f"[found({name!r}, *one) for one in {some(name, runs)!r}]")
    return out


def digest_of(checkout: Path) -> str:
    """The digest of the sampler's sources in a checkout."""
    out: str = _asked(checkout, "sampler_digest()")
    return out


_BEGIN = f"""
import json
from experiments.reliability import every_campaign, sampler_digest

def lasting(part):
    if isinstance(part, dict):
        return {{k: lasting(v) for k, v in part.items() if k not in {PASSING}}}
    return [lasting(v) for v in part] if isinstance(part, (list, tuple)) else part

def found(name, problem, seed):
    return json.dumps(lasting(every_campaign()[name].run(problem, seed)), sort_keys=True)

"""


def _asked(checkout: Path, question: str) -> Any:
    """What a Python of this environment answers inside a checkout."""
    answer = subprocess.run(
        [sys.executable, "-c", f"{_BEGIN}print('\\n' + json.dumps({question}))"], cwd=checkout,
        check=True, text=True, stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(checkout)}).stdout
    return json.loads(answer.splitlines()[-1])


def main(argv: list[str]) -> int:
    """Carry over, print and rewrite the tracked result; 2 if there is no such checkout."""
    from experiments.results import load, save

    if len(argv) != 1 or not (Path(argv[0]) / "experiments/reliability.py").exists():
        print(f"carrying_over: received {' '.join(argv) or 'nothing'}, expected the folder of one "
              "checkout of this repository.", file=sys.stderr)
        return 2
    result, lines = carried_over(load("reliability"), Path(argv[0]).resolve())
    save("reliability", result)
    print("\n".join(lines) or "nothing to carry over: no verdict is of that version")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
