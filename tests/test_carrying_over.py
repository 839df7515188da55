"""Verdicts of an earlier sampler: carried over where its runs come out again, and nowhere else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments import carrying_over, reliability, results
from experiments.paths import ROOT


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A1 and B3 of the version before, A3 of it too but never run whole, B5 of one before that."""
    result = results.load("reliability")
    names = ("A1", "B3", "A3", "B5")
    first = next(iter(result.origin.values()))
    origin = {name: {k: v for k, v in first.items() if not k.startswith("same")}
              | {"sampler": "older" if name == "B5" else "before"} for name in names}
    runs = {name: [9.0, 9.0, 1.0, 9.0] for name in names} | {"A3": [0.0, 9.0, 1.0, 9.0]}
    monkeypatch.setattr(carrying_over, "digest_of", lambda checkout: "before")
    return replace(result, origin=origin, runs=runs)


def made(wrong: str = "") -> Any:
    def run(checkout: Path, name: str, runs: int) -> list[str]:
        return [f"{name} {i} {i == 1 and name == wrong and checkout == ROOT}" for i in range(runs)]
    return run


@pytest.mark.parametrize("wrong", ["", "B3"])
def test_verdicts_are_carried_where_every_run_comes_out_again(
        wrong: str, stored: Any, tmp_path: Path) -> None:
    """One run of three that differs, a broken twin, leaves that verdict behind."""
    result, lines = carrying_over.carried_over(stored, tmp_path, run=made(wrong))
    carried = {name for name, origin in result.origin.items() if "same_as" in origin}
    assert carried == {"A1", "B3"} - {wrong}
    assert lines == ["A1: 3 of 3 runs equal", f"B3: {2 if wrong else 3} of 3 runs equal"]
    assert result.origin["A1"]["same_as"] == reliability.sampler_digest()
    said = reliability.age(result)
    assert ("same bits in 3 or more runs of each that were made again: "
            f"{'A1' if wrong else 'A1, B3'}.") in said
    assert f"{'B3, ' if wrong else ''}A3, B5. Their verdicts are of that version" in said
    # The next change: what is carried over already is carried on, from the version it is equal to.
    again, _ = carrying_over.carried_over(result, tmp_path, run=made())
    assert again.origin["A1"]["same_as"] == reliability.sampler_digest()


@pytest.mark.parametrize("argv", [[], ["no_such_folder"], [".", "."]])
def test_what_is_no_checkout_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]
                                        ) -> None:
    assert carrying_over.main(argv) == 2
    assert "expected the folder of one checkout" in capsys.readouterr().err


@pytest.mark.long
def test_runs_in_another_checkout_are_its_own(tmp_path: Path) -> None:
    """A run of B3 by this checkout, twice the same; by one whose sampler gives another number."""
    (one,) = carrying_over.made_by(ROOT, "B3", 1)
    assert carrying_over.made_by(ROOT, "B3", 1) == [one]
    assert carrying_over.digest_of(ROOT) == reliability.sampler_digest()
    for folder in ("sampler", "experiments", "theory"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "sampler").unlink()
    (tmp_path / "sampler").mkdir()
    for path in (ROOT / "sampler").iterdir():
        if path.name != "philox.py":
            (tmp_path / "sampler" / path.name).symlink_to(path)
    text = (ROOT / "sampler/philox.py").read_text(encoding="utf-8")
    assert "0x9E3779B9" in text
    (tmp_path / "sampler/philox.py").write_text(text.replace("0x9E3779B9", "0x9E3779BB"),
                                                encoding="utf-8")
    assert carrying_over.digest_of(tmp_path) != reliability.sampler_digest()
    assert carrying_over.made_by(tmp_path, "B3", 1) != [one]
