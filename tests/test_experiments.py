"""The experiments: their wiring, their tracked results, their command, and one exact reference."""

import json
import math
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import EXPERIMENTS, claims, results
from experiments.__main__ import main
from experiments.claims import Claim, markdown, plain, trust, with_error

ROOT = Path(__file__).resolve().parent.parent


EXACT = ("law_of_the_choice", "estimated_noise", "posterior_of_the_line", "integration",
         "criteria_biases", "learning_coefficient", "straight_line", "design_by_simulation")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_module_says_what_is_the_papers_and_what_is_ours(name: str) -> None:
    module = import_module(f"experiments.{name}")
    for words in ("Ours", "What may be claimed"):
        assert words in module.__doc__
    assert any(words in module.__doc__ for words in ("The paper's", "Measured", "NIST's"))
    assert module.QUICK != module.SETTINGS
    assert module.SECONDS > 0


@pytest.mark.long
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_quick_run_goes_all_the_way(name: str, tmp_path: Path) -> None:
    """Compute, store, load, judge and draw at the settings of `make reproduce QUICK=1`, for which
    nothing in a check may ask for what only the full run has."""
    module = import_module(f"experiments.{name}")
    results.save(name, module.compute(module.QUICK), tmp_path)
    quick = results.load(name, tmp_path)
    assert vars(quick).keys() == vars(results.load(name)).keys()
    assert module.check(quick)
    if name in EXACT:       # no more than two claims ask for what only the full run has
        assert len(module.check(quick)) >= len(module.check(results.load(name))) - 2
    for stem, figure in module.draw(quick).items():
        figure.savefig(tmp_path / f"{stem}.png", dpi=40)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_tracked_results_support_their_claims(name: str, tmp_path: Path) -> None:
    """Every claim is judged anew from the stored numbers, which are written as they are read."""
    module = import_module(f"experiments.{name}")
    result = results.load(name)
    stored = json.loads((results.RESULTS / f"{name}.json").read_text())["settings"]
    assert stored == json.loads(json.dumps(vars(module.SETTINGS)))
    judged = module.check(result)
    assert judged
    assert not [claim.claim for claim in judged if claim.holds is False]
    again = results.save(name, result, tmp_path)
    assert again.read_bytes() == (results.RESULTS / again.name).read_bytes()
    assert again.stat().st_size < 200_000


@pytest.mark.slow          # the book draws them all when it is built
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_figure_is_drawn_from_the_tracked_result(name: str, tmp_path: Path) -> None:
    for stem, figure in import_module(f"experiments.{name}").draw(results.load(name)).items():
        figure.savefig(tmp_path / f"{stem}.png", dpi=40)
        for ax in figure.axes:
            assert ax.get_xlabel() or not ax.get_title(loc="left")
        assert (tmp_path / f"{stem}.png").stat().st_size > 3000


def test_claims_can_fail() -> None:
    """Broken twins: results moved off the truth turn their claim red."""
    from dataclasses import replace

    from experiments import gauss1_two_peaks, nagata2012_number_of_peaks, straight_line

    line = results.load("straight_line")
    halved = replace(line, F_error=line.F_error / 10, rate_error=line.rate_error / 10)
    assert sum(c.holds is False for c in straight_line.check(halved)) >= 2
    nagata = results.load("nagata2012_number_of_peaks")
    shifted = replace(nagata, F=nagata.F + np.where(nagata.K == 3, 2.0, 0.0))
    assert sum(c.holds is False for c in nagata2012_number_of_peaks.check(shifted)) >= 3
    doubted = replace(nagata, trusted=[False] * len(nagata.trusted))
    assert any(c.holds is False for c in nagata2012_number_of_peaks.check(doubted))
    gauss = results.load("gauss1_two_peaks")
    assert any(c.holds is False for c in gauss1_two_peaks.check(replace(gauss, sd=gauss.sd * 1.2)))


def test_one_exponential_by_quadrature() -> None:
    """F of the T1 curve's single exponential: offset and amplitude exactly by `theory.box`, rate
    and noise by the trapezoid rule on a grid that covers the posterior (the integrand and its
    slopes vanish at the grid's ends)."""
    from experiments.t1_inversion_recovery import QUADRATURE
    from theory.box import BoxLine, reduced_free_energy

    table = np.genfromtxt(ROOT / "data/nmr/t1_inversion_recovery_dnplab304.csv", delimiter=",",
                          comments="#", skip_header=0, usecols=(0, 1), invalid_raise=False)
    x, y = table[np.all(np.isfinite(table), axis=1)].T
    assert len(x) == 8
    log_rate = np.linspace(math.log10(0.38), math.log10(0.56), 41)
    log_noise = np.linspace(math.log(0.003), math.log(0.1), 41)
    log_p = np.array([[-reduced_free_energy(
        BoxLine(-np.exp(-x * 10**rate), y, math.exp(s), (0, 3), (0.5, 1.5)))
        - 8 * s - 4 * math.log(2 * math.pi) for s in log_noise] for rate in log_rate])
    top = log_p.max()
    inner = np.trapezoid(np.exp(log_p - top), log_noise, axis=1)
    Z = np.trapezoid(inner, log_rate) / 4.0 / math.log(50.0)
    # Noise below 0.003 holds 1e-4 of the mass at most; asked for to 2e-3.
    assert -(top + math.log(Z)) == pytest.approx(QUADRATURE, abs=2e-3)


def test_two_modes_by_brute_force() -> None:
    """The exact answer of the two-mode benchmark against a fine grid over the unit square."""
    from experiments.trapped_metropolis import bimodal_exact, bimodal_posterior

    F, left = bimodal_exact()
    assert (F, left) == (pytest.approx(9.02198, abs=6e-6), pytest.approx(0.86698, abs=6e-6))
    posterior = bimodal_posterior()
    s = (np.arange(4000) + 0.5) / 4000
    t = (np.arange(1000) + 0.5) / 1000
    mass = np.array([np.exp(-posterior.energy(np.stack([np.full(1000, v), t], 1))).sum()
                     for v in s])
    Z = mass.sum() / 4_000_000
    assert -math.log(Z) == pytest.approx(F, abs=1e-5)
    assert mass[s < 0.5].sum() / mass.sum() == pytest.approx(left, abs=1e-5)


def test_a_drawing_saves_itself(tmp_path: Path) -> None:
    """`paper.draw(result).savefig(name)`: the figure, and further ones beside it."""
    from experiments import integration

    integration.draw(results.load("integration")).savefig(tmp_path / "mine.pdf")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.pdf", "mine_integration_law.pdf"]


# --- the table -------------------------------------------------------------------------------


def test_errors_are_written_to_two_digits() -> None:
    assert with_error(1.23456, 0.0012) == "1.2346 ± 0.0012"
    assert with_error(-1234.5, 120.0) == "-1234 ± 120"
    assert with_error(0.5, 0.99) == "0.50 ± 0.99"
    assert with_error(9e-11, 6e-10) == "9.0e-11 ± 6e-10"
    assert with_error(2.0, 0.0) == "2"
    assert with_error("K=1", 3.0) == "K=1"


def test_tables_hold_any_text() -> None:
    rows = [Claim("|z| of <U>", "a|b", 1.0, 0.1, False, "note")]
    assert r"\|z\| of \<U>" in markdown(rows)
    assert markdown(rows).splitlines()[-1].count(" | ") == 4
    assert "FAILS" in plain(rows)
    assert claims.WIRING in plain(rows, judged=False)
    assert "FAILS" not in markdown(rows, judged=False)


def test_trust_covers_the_runs_that_the_answer_rests_on() -> None:
    F, error = [10.0, 12.0, 30.0], [0.1, 0.1, 0.1]
    assert trust("abc", F, error, [True, True, False]).holds
    assert not trust("abc", F, error, [True, False, True]).holds
    assert trust("abc", F, error, [True, False, True]).ours == "b"


# --- results on disk -------------------------------------------------------------------------


def test_results_survive_the_disk(tmp_path: Path) -> None:
    result = results.load("straight_line")
    results.save("straight_line", result, tmp_path)
    again = results.load("straight_line", tmp_path)
    for name, value in vars(result).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(again, name))


# --- the command -----------------------------------------------------------------------------


def test_quick_runs_everything_and_judges_nothing(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--quick", "straight_line", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "a wiring check, not a result" in out
    assert claims.WIRING in out
    assert "holds" not in out
    record = json.loads((tmp_path / "table.json").read_text())
    assert record["quick"] is True
    assert {row["verdict"] for row in record["claims"]} == {claims.WIRING}
    for name in ("straight_line.png", "straight_line.pdf", "straight_line.json", "table.md"):
        assert (tmp_path / name).stat().st_size > 500


@pytest.mark.long
def test_a_failed_claim_is_exit_code_1_and_is_not_written(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    from experiments import straight_line

    stored = results.load("straight_line")
    monkeypatch.setattr(straight_line, "compute", lambda *_, **__: stored)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    assert main(["run", "straight_line", "--out", str(tmp_path)]) == 0
    assert "claims hold" in capsys.readouterr().out
    monkeypatch.setattr(straight_line, "check",
                        lambda _: [Claim("the moon is made of cheese", "-", 1.0, 0.0, False)])
    before = (ROOT / "experiments/results/straight_line.json").read_bytes()
    assert main(["reproduce", "straight_line", "--out", str(tmp_path), "--write-results"]) == 1
    assert "FAILS: the moon is made of cheese" in capsys.readouterr().out
    assert (ROOT / "experiments/results/straight_line.json").read_bytes() == before


def test_comparison_with_the_tracked_results(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import straight_line
    from experiments.__main__ import _comparison

    rows = straight_line.check(results.load("straight_line"))
    assert _comparison("straight_line", rows) == "tracked results: the same numbers"
    near = [Claim(c.claim, c.paper, c.ours + c.error, c.error, c.holds, c.note)
            if not isinstance(c.ours, str) else c for c in rows]
    assert "agree within 4 joint errors" in _comparison("straight_line", near)
    far = [Claim(c.claim, c.paper, c.ours + 9 * c.error, c.error, c.holds, c.note)
           if not isinstance(c.ours, str) else c for c in rows]
    assert "differ" in _comparison("straight_line", far)


@pytest.mark.parametrize(("argv", "words"), [
    (["run", "no_such_paper"], "NAME: received 'no_such_paper', expected one of straight_line"),
    (["draw", "no_such_paper"], "NAME: received 'no_such_paper'"),
    ([], "VERB: received nothing, expected a value; see bayesmeas --help"),
    (["frobnicate"], "VERB: received 'frobnicate', expected one of 'fit'"),
    (["run"], "NAME: received nothing, expected a value; see bayesmeas run --help"),
    (["judge", "--seeds", "x"], "--seeds: received 'x', expected a whole number"),
    (["reproduce", "--quick", "--write-results"], "--write-results: received with --quick"),
    (["reproduce", "--out", "/dev/null/x"], "--out: received '/dev/null/x'"),
])
def test_bad_input_is_one_sentence_and_exit_code_2(
        argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_an_internal_error_shows_its_traceback(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    from experiments import straight_line

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(straight_line, "compute", broken)
    assert main(["run", "straight_line", "--out", str(tmp_path)]) == 70
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "ZeroDivisionError: planted" in error


def test_interrupted_is_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                            capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C while a run counts: the sampler returns what it has, the experiment stops all the
    same, and nothing is written as if it were a result."""
    import signal

    from experiments import straight_line
    from experiments.__main__ import _Progress

    seen = {"counting": 0}
    told = _Progress.__call__

    def press(self: Any, done: int, total: int, words: str) -> None:
        told(self, done, total, words)
        if words == "counting" and not seen["counting"]:
            seen["counting"] += 1
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_Progress, "__call__", press)
    monkeypatch.setattr(straight_line, "SETTINGS", straight_line.QUICK)
    before = signal.getsignal(signal.SIGINT)
    assert main(["run", "straight_line", "--out", str(tmp_path)]) == 130
    assert seen["counting"] == 1
    assert "interrupted" in capsys.readouterr().err
    assert not (tmp_path / "straight_line.json").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_list_draw_and_check_use_the_tracked_results(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert main(["check", "straight_line", "t1_inversion_recovery"]) == 0
    assert main(["draw", "straight_line", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in EXPERIMENTS)
    assert (tmp_path / "straight_line.png").exists()


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_a_reader_who_goes_away_loses_no_figure(tmp_path: Path) -> None:
    """`| head -1` at its worst: nobody ever reads, neither the answer nor the progress."""
    for argv in (["check"], ["draw", "straight_line", "integration", "--out", str(tmp_path)],
                 ["run", "posterior_of_the_line", "--quick", "--out", str(tmp_path)]):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([sys.executable, "-m", "experiments", *argv], stdout=writer,
                              stderr=writer, cwd=ROOT, check=False)
        os.close(writer)
        assert done.returncode == 141
    for name in ("straight_line.pdf", "integration_law.pdf", "posterior_of_the_line.pdf",
                 "table.json"):
        assert (tmp_path / name).stat().st_size > 100
