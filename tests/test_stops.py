"""What stays behind when a run is stopped: the quick part of the campaigns, and their judges.

Nothing here is statistical: a file is whole or it is not, bits are the same or they are not.
"""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from experiments.campaigns import stops
from sampler import checkpoint

pytestmark = pytest.mark.usefixtures("undrawn")


def failing(findings: Any) -> list[str]:
    return [f.claim for f in findings if f.holds is False]


@pytest.mark.long
def test_ctrl_c_leaves_a_whole_run_that_goes_on_to_the_same_bits() -> None:
    """The campaign has SIGTERM too, and ten seeds.  On a busy machine a run may be over before the
    signal comes, which tells nothing: the next seed, of four at most."""
    for seed in range(1, 5):
        found = stops.signalled_run("SIGINT on counts", seed)
        wrong = failing(stops.judge_signals({"SIGINT on counts": [found]}))
        if not any("did not end the process" in claim for claim in wrong):
            break
    assert not wrong


@pytest.mark.parametrize("problem", ["calls", "sizes"])
def test_a_full_disk_leaves_the_saved_run(problem: str) -> None:
    assert not failing(stops.judge_full({problem: [stops.full_run(problem, 1)]}))


def test_a_file_that_is_written_in_place_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twin: no temporary file, the run is written over the one before."""
    def careless(path: Path, name: str) -> Path:
        return path.parent / ("run.npz" if name.endswith(".tmp") else name)

    monkeypatch.setattr(checkpoint.Path, "with_name", careless)
    assert stops.full_run("calls", 1)["changed"]


def test_an_error_that_is_swallowed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twin: whatever finds no space is said as something else."""
    true = stops.FullDisk._called

    def other(self: Any, name: str) -> None:
        try:
            true(self, name)
        except OSError:
            raise ValueError("writing handle") from None

    monkeypatch.setattr(stops.FullDisk, "_called", other)
    assert stops.full_run("calls", 1)["unsaid"]


def test_a_read_only_folder_is_refused_by_name() -> None:
    assert not failing(stops.judge_read_only({
        "read-only": [stops.read_only_run("read-only", 1)]}))


def test_the_disk_is_as_it_was_afterwards() -> None:
    before = os.fsync, os.link, os.replace
    with pytest.raises(OSError, match="No space") as caught, stops.space_for(0):
        os.replace("a", "b")
    assert caught.value.errno == errno.ENOSPC
    assert (os.fsync, os.link, os.replace) == before and not hasattr(checkpoint, "open")


SIGNALLED = {"codes": [-2, 130, -2], "broken": 0, "same": True, "left": 0}
FULL = {"tried": 40, "renamed": 1, "changed": [], "unsaid": [], "words": ["No space"]}
READ_ONLY = {"same": True, "said": True, "words": "13 run.npz"}
SHARED = {"together": True, "codes": [0, 1], "words": ["", "sampler.errors.InputError: in use"],
          "broken": 0, "looks": 50, "same": True, "left": 0}


@pytest.mark.parametrize(("judge", "problem", "right", "wrong"), [
    (stops.judge_signals, "SIGINT on counts", SIGNALLED, {"broken": 1}),
    (stops.judge_signals, "SIGINT on counts", SIGNALLED, {"same": False}),
    (stops.judge_signals, "SIGINT on counts", SIGNALLED, {"codes": [0, 0, 0]}),
    (stops.judge_signals, "SIGINT on counts", SIGNALLED, {"left": 1}),
    (stops.judge_full, "calls", FULL, {"changed": ["3: ['run.npz']"]}),
    (stops.judge_full, "calls", FULL, {"renamed": 2}),
    (stops.judge_full, "calls", FULL, {"unsaid": ["3: saved"]}),
    (stops.judge_full, "calls", FULL, {"tried": 0}),
    (stops.judge_read_only, "read-only", READ_ONLY, {"same": False}),
    (stops.judge_read_only, "read-only", READ_ONLY, {"said": False}),
    (stops.judge_shared, "counts", SHARED, {"broken": 1}),
    (stops.judge_shared, "counts", SHARED, {"codes": [1, 1]}),
    (stops.judge_shared, "counts", SHARED, {"same": False}),
    (stops.judge_shared, "counts", SHARED, {"codes": [0, 0]})])
def test_every_judge_sees_one_thing_wrong(judge: Any, problem: str, right: Any,
                                          wrong: Any) -> None:
    assert not failing(judge({problem: [right] * 3}))
    assert len(failing(judge({problem: [right, {**right, **wrong}]}))) == 1


def test_a_second_process_that_was_never_tried_is_said() -> None:
    assert failing(stops.judge_shared({"counts": [{**SHARED, "together": False}]}))
