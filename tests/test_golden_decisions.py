"""The stored energies of three short runs, on whatever versions these tests run.

Equal to 1e-8 relative, of ten stored digits, sweep by sweep and rung by rung.  No statistics: no
decision in them is nearer to a tie than 1e-6, so correct software never fails.
"""

import json
from pathlib import Path

import golden_decisions as golden
import numpy as np
import pytest

from sampler import Ladder, sample
from sampler.kernels import reference


def off(name: str, found: np.ndarray) -> float:
    """Largest relative distance from what is stored."""
    stored = np.array(json.loads(golden.FILE.read_text(encoding="utf-8"))[name])
    assert stored.shape == found.shape == (golden.SWEEPS - 1, golden.RUNGS)
    return float(np.max(np.abs(found - stored) / (1.0 + np.abs(stored))))


@pytest.mark.parametrize("name", golden.MODELS)
def test_the_compiled_and_the_plain_kernel_take_the_stored_decisions(name: str) -> None:
    found, _, margin = golden.decided(name)
    assert off(name, golden.energies(name)) < 1e-8
    assert off(name, found) < 1e-8
    assert margin > golden.TIE


@pytest.mark.parametrize("name", golden.MODELS)
def test_another_seed_or_step_is_seen(name: str) -> None:
    """Twins: the next seed, and steps that differ in the seventh digit."""
    run = golden.run_of(name)
    other = sample(run.posterior, golden.SWEEPS, burn_in=0, chains=1, threads=1, jumps=False,
                   seed=run.seed + 1, ladder=Ladder.geometric(golden.RUNGS, 4.0))
    assert off(name, other.energy[0, 1:]) > 1e-3
    moved, _, _ = golden.decided(name, 1e-7)
    assert off(name, moved) > 1e-8


@pytest.mark.long
def test_a_run_with_a_near_tie_is_not_stored(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two twins: a tie in an exchange, and one that only a disturbed run meets."""
    path = tmp_path / "golden.json"
    true = reference._exchange
    monkeypatch.setattr(reference, "_exchange", lambda *a: min(true(*a), 5e-7))
    assert len(golden.write(path)) == 3 and not path.exists()
    monkeypatch.undo()
    monkeypatch.setattr(golden, "DISTURBED", 0.05)
    assert golden.write(path) and not path.exists()


def test_what_is_stored_is_what_would_be_written(tmp_path: Path) -> None:
    """To the 1e-8 of the test above: the last stored digit may round either way."""
    path = tmp_path / "golden.json"
    assert golden.write(path) == []
    for name, rows in json.loads(path.read_text(encoding="utf-8")).items():
        assert off(name, np.array(rows)) < 1e-8
