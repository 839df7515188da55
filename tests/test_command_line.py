"""The edges of fit, resume and show: what `test_fit_command` leaves open.

Refusals name the field *and* the first bad value; a signal at any time ends in a run that can be
read and continued to the very bits of an uncut one; options reach what they name and no more.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sampler.__main__ import _Progress, main
from sampler.checkpoint import load_run

pytestmark = pytest.mark.usefixtures("undrawn")

ROOT = Path(__file__).resolve().parent.parent
T1 = str(ROOT / "data/nmr/t1_inversion_recovery_dnplab304.csv")
FIT = ["fit", T1, "--instrument", "relaxation", "--noise", "column", "--K", "1"]
COLUMNS = "t,m,dm\n0.1,-0.8,0.01\n0.5,-0.4,0.01\n1,0.1,0.02\n3,0.6,0.01\n10,1,0.01\n"
Capture = pytest.CaptureFixture[str]


def refusal(argv: list[str], capsys: Capture) -> str:
    """The one sentence of a refusal."""
    assert main(argv) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("bayesmeas: ")
    assert error.count("\n") == 1 and error.endswith(".\n") and "received" in error
    return error


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "sentence"), [
    (["--K", "0,2.5"], "--K: received '0,2.5', expected whole numbers"),
    (["--K", "0:"], "--K: received '0:', expected whole numbers"),
    (["--shape", "exponential,square"],
     "--shape: received 'square', expected one of exponential, stretched"),
    (["--shape", "stretched,stretched"], "expected each shape once"),
    (["--until", "inf"], "--until: received inf"),
    (["--sweeps", "many"], "--sweeps: received 'many', expected a whole number"),
    (["--sweeps", "9", "--until", "1"], "received given, expected it without"),
    (["--seed", str(2**63)], f"--seed: received {2**63}"),
    (["--range", "1"], "--range: received '1', expected LO:HI"),
    (["--range", "nan:3"], "--range: received 'nan:3', expected LO:HI, two numbers; nan"),
    (["--range", "a:3"], "--range: received 'a:3', expected LO:HI, two numbers"),
    (["--until", "soon"], "--until: received 'soon', expected a number"),
    (["--sweeps"], "--sweeps: received nothing, expected a value"),
    (["--colour", "red"], "unrecognized arguments: received --colour red, expected known options"),
    (["--K", "4:0"], "--K: received '4:0', expected FIRST:LAST such as 0:4; the first is larger"),
    (["--range", "3:3"], "--range: received '3:3', expected LO:HI with LO < HI"),
    (["--prior", "component_rate=LogUniform(0,1)"], "LogUniform.lo: received 0"),
    (["--prior", "component_rate=Uniform(1,nan)"], "Uniform.hi: received nan"),
    (["--prior", "component_rate=5:2"], "component_rate: Uniform: received lo = 5, hi = 2"),
    (["--prior", "component_rate=Uniform(1,2"], "received 'Uniform(1,2'"),
    (["--prior", "component_size=1:2"], "received component_size, expected a parameter of the"),
    (["--prior", "component3_rate=1:2"], "--prior: received component3_rate, expected a"),
    (["--prior", "component1_size=1:2"], "--prior: received component1_size, expected a"),
    (["--prior", "component_rate=1:2", "--prior", "component_rate=1:3"],
     "--prior component_rate: received given twice, expected each name once"),
    (["--prior", "component_rate=Uniform(0,2)"],
     "--prior component_rate: received Uniform(0,2), expected a prior on positive values"),
    (["--prior", "component1_rate=Normal(1,1)"], "expected a prior on positive values"),
    (["--prior", "component_rate=-2"], "received -2, expected a prior on positive values"),
    (["--noise", "unknown", "--prior", "sigma=-1:2"], "expected a prior on positive values"),
    (["--noise", "unknown", "--prior", "noise_factor=0"], "expected a prior on positive values"),
    (["--instrument", "peaks", "--prior", "peak1_width=0:1"],
     "--prior peak1_width: received 0:1, expected a prior on positive values"),
    (["--x", "2"], "x and y columns: received 'intensity' for both, expected two columns"),
    (["--sigma", "delay_s"], "x and sigma columns: received 'delay_s' for both"),
    (["--y", "3"], "y and sigma columns: received 'sigma' for both, expected two columns"),
    (["--out", ""], "--out: received '', expected the name of a folder"),
    (["--x", "0"], "x column: received '0', expected one of delay_s, intensity, sigma"),
    (["--instrument", "spectrograph"], "--instrument: received 'spectrograph', expected one of"),
])
def test_the_refusal_names_the_field_and_the_value(
        more: list[str], sentence: str, capsys: Capture, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in refusal([*FIT, *more], capsys)
    assert not list(tmp_path.iterdir())     # refused before anything is written


@pytest.mark.parametrize(("old", "new", "sentence"), [
    ("1,0.1,", "1,nan,", "line 4, m: received nan, expected a finite number"),
    ("0.5,-0.4", "inf,-0.4", "line 3, t: received inf, expected a finite number"),
    ("0.1,0.02", "0.1,0", "line 4, sigma: received 0, expected a standard deviation > 0"),
    ("0.1,0.02", "0.1,-3", "line 4, sigma: received -3, expected a standard deviation > 0"),
    ("3,0.6", "3,O.6", "line 5, m: received 'O.6', expected a number"),
    ("3,0.6,0.01", "3,0.6", "line 5: received 2 columns, expected 3"),
])
def test_the_first_bad_value_of_a_file_is_named(
        old: str, new: str, sentence: str, capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(COLUMNS.replace(old, new), encoding="utf-8")
    out = tmp_path / "out"
    assert sentence in refusal(["fit", str(path), *FIT[2:], "--out", str(out)], capsys)
    assert not out.exists()


@pytest.mark.parametrize(("header", "more", "sentence"), [
    ("t,t,dm", [], "x column: received 't', the name of 2 columns, expected a name of one column"),
    ("t,m,m", ["--y", "m"], "y column: received 'm', the name of 2 columns, expected a name of"),
    ("t,m,m", [], "such as --y 2"),
])
def test_a_name_of_two_columns_is_no_name(
        header: str, more: list[str], sentence: str, capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(COLUMNS.replace("t,m,dm", header), encoding="utf-8")
    argv = ["fit", str(path), *FIT[2:], "--out", str(tmp_path / "out"), *more]
    assert sentence in refusal(argv, capsys)
    # By their numbers all three can be told apart; what is not used may be called anything.
    assert main([*argv, "--x", "1", "--y", "2", "--sigma", "3", "--sweeps", "9"]) in (0, 1)


@pytest.mark.long
def test_priors_on_positive_values_pass(capsys: Capture, tmp_path: Path) -> None:
    for number, prior in enumerate(("LogUniform(0.1,9)", "Gamma(2,3)", "Normal(1,1,lo=0.01)",
                                    "0.5")):
        assert main([*FIT, "--sweeps", "9", "--prior", f"component_rate={prior}",
                     "--out", str(tmp_path / str(number))]) in (0, 1)


def test_many_components_are_warned_of(capsys: Capture, tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampler.__main__._run_all", lambda *_: 0)
    for K, warned in (("0:12", False), ("13", True)):
        assert main([*FIT, "--K", K, "--out", str(tmp_path / K[:2].strip(":"))]) == 0
        assert ("warning: K up to 13" in capsys.readouterr().err) is warned


def test_the_output_is_never_written_over_a_file(capsys: Capture, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    assert "--out: received" in refusal([*FIT, "--out", str(precious)], capsys)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(("content", "sentence"), [
    (b"x,y\n1,2\n", "a damaged or foreign file"), (b"", "a damaged or foreign file"),
    (None, "no betas in it")])
def test_what_is_not_a_run_is_refused(content: bytes | None, sentence: str, capsys: Capture,
                                      tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    if content is None:
        np.savez(path, draws=np.zeros(3))
    else:
        path.write_bytes(content)
    for argv in (["show", str(path)], ["resume", str(path), "--sweeps", "5"]):
        assert sentence in refusal(argv, capsys)


def test_bits_flipped_in_a_run_are_noticed(small: Path, capsys: Capture, tmp_path: Path) -> None:
    """One energy changed, everything else intact: only the checksum can tell."""
    with np.load(small / "K1.npz") as file:
        arrays = dict(file)
    arrays["energy"] = np.nextafter(arrays["energy"], np.inf)
    np.savez(tmp_path / "run.npz", **arrays)
    assert "checksum differs" in refusal(["show", str(tmp_path / "run.npz")], capsys)


@pytest.mark.parametrize(("table", "hint"), [
    (COLUMNS, "the columns t, m, dm: dm may be standard deviations (--noise column)"),
    ("t,n\n0,5\n1,3\n2,0\n", "y are whole numbers >= 0, which may be counts (--noise poisson)"),
    ("t,m\n0,5\n1,3\n2,-1\n", "nothing says how large the noise is (--noise unknown"),
])
def test_a_missing_noise_is_answered_with_what_the_file_suggests(
        table: str, hint: str, capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(table, encoding="utf-8")
    sentence = refusal(["fit", str(path), "--instrument", "relaxation", "--K", "1"], capsys)
    assert "column, a number, unknown or poisson" in sentence and hint in sentence


HUMP = "t,m\n0,0.1\n1,0.2\n2,3\n3,0.3\n4,0.2\n"


@pytest.mark.parametrize(("table", "hint"), [
    (COLUMNS, "t, m, dm: y rises from end to end over x >= 0, as relaxation does (--instrument "),
    ("t,m\n3,0.1\n0,5\n1,2\n2,0.5\n", "y falls from end to end over x >= 0, as relaxation does"),
    (HUMP, "y has a hump between the ends, as a spectrum has (--instrument peaks)"),
    ("t,m\n-1,5\n0,3\n1,1\n", "has the columns t, m."),
    ("t,m\n0,1\n1,1\n", "has the columns t, m."),
    ("t,m\n0,1\n1,nan\n", "has the columns t, m."),
])
def test_a_missing_instrument_is_answered_with_what_the_curve_looks_like(
        table: str, hint: str, capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(table, encoding="utf-8")
    sentence = refusal(["fit", str(path), "--noise", "unknown", "--K", "1"], capsys)
    assert "expected one of peaks, relaxation" in sentence and hint in sentence


def test_help_and_nothing_at_all(capsys: Capture) -> None:
    for argv in (["--help"], ["fit", "--help"], ["show", "--help"], ["resume", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 0
        assert "usage: bayesmeas" in capsys.readouterr().out
    assert "verb: received nothing, expected a value; see bayesmeas --help" in refusal([], capsys)
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert re.fullmatch(r"bayesmeas \d+\.\d+\.\d+\n", capsys.readouterr().out)


# ---- a fit --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit of few sweeps, K = 0, 1, 2, with a prior for every component and one for the first."""
    folder = tmp_path_factory.mktemp("small")
    main([*FIT[:-1], "0:2", "--sweeps", "1500", "--seed", "2", "--out", str(folder), "--prior",
          "component_rate=LogUniform(0.05,50)", "--prior", "component1_amplitude=Uniform(0,2.5)",
          "--prior", "component_amplitude=Uniform(0,3)"])
    return folder


def test_priors_reach_the_components_they_name(small: Path) -> None:
    priors = load_run(small / "K2.npz").posterior.priors
    rates = {repr(priors[f"component{k}_rate"]) for k in (1, 2)}
    assert rates == {"LogUniform(lo=0.05, hi=50.0)"}
    assert repr(priors["component1_amplitude"]) == "Uniform(lo=0.0, hi=2.5)"
    # The first one's own, although that of every component was given after it.
    assert repr(priors["component2_amplitude"]) == "Uniform(lo=0.0, hi=3.0)"
    # A component that K = 0 and K = 1 do not have is no mistake.
    assert load_run(small / "K0.npz").posterior.names == ("offset",)


def test_tables_agree_with_the_saved_runs(small: Path) -> None:
    """JSON and CSV say what the runs say: F, p, means and quantiles."""
    from sampler.choice import choose

    record = json.loads((small / "table.json").read_text())
    runs = {K: load_run(small / f"K{K}.npz") for K in range(3)}
    choice = choose(runs)
    assert record["best"] == f"K={choice.best}"
    for row, found in zip(choice.rows, record["models"], strict=True):
        assert found["F"] == row.free_energy.value and found["F_error"] == row.free_energy.error
        assert found["probability"] == row.probability
    assert sum(row["probability"] for row in record["models"]) == pytest.approx(1.0)
    lines = [line.split(",") for line in (small / "table.csv").read_text().splitlines()]
    assert lines[0][:4] == ["model", "parameter", "mean", "sd"]
    assert lines[0][4:] == ["low68", "high68", "low95", "high95", "ess", "rhat"]
    rate = next(row for row in lines if row[:2] == ["K=1", "component1_rate"])
    draws = runs[1].draws[..., runs[1].posterior.names.index("component1_rate")]
    expected = [draws.mean(), draws.std(), *np.quantile(draws, [0.16, 0.84, 0.025, 0.975])]
    assert [float(v) for v in rate[2:8]] == pytest.approx(expected, rel=1e-7)


def test_every_promised_file_is_there_and_no_other(small: Path) -> None:
    names = {path.name for path in small.iterdir()}
    promised = {"K0.npz", "K1.npz", "K2.npz", "report.html", "table.json", "table.csv",
                "models.csv", "choice.png", "choice.pdf", "fit_K1.png", "fit_K1.pdf", "fit_K1.csv",
                "ladder_K1.png", "ladder_K1.pdf"}
    assert promised <= names
    # If K = 2 is not excluded:
    assert names - promised <= {"fit_K2.png", "fit_K2.pdf", "fit_K2.csv"}
    assert (small / "fit_K1.png").read_bytes()[:4] == b"\x89PNG"
    assert (small / "fit_K1.pdf").read_bytes()[:5] == b"%PDF-"


def test_show_prints_numbers_with_errors_and_units(small: Path, capsys: Capture) -> None:
    main(["show", str(small / "K1.npz")])
    out = capsys.readouterr().out
    for words in ("4 chains of 1500 sweeps after 2000 of burn-in, seed ", " +- ", "nats",
                  "68 % credible", "95 % credible", "x in 'delay_s', y in 'intensity'",
                  "component_rate (each): log-uniform from 0.05 to 50"):
        assert words in out


def test_sweeps_and_range_are_exactly_what_was_asked(capsys: Capture, tmp_path: Path) -> None:
    main([*FIT, "--sweeps", "7", "--range", "0.05:11", "--out", str(tmp_path)])
    run = load_run(tmp_path / "K1.npz")
    assert (run.sweeps, run.chains, run.stopped) == (7, 4, "sweeps")
    x = run.posterior.blocks[0].data.x
    assert (x.min(), x.max(), len(x)) == (0.056854, 10.553, 6)
    assert "6 points" in capsys.readouterr().out


# ---- errors of ours, and Ctrl-C -----------------------------------------------------------------


def test_an_internal_error_is_not_taken_for_bad_input(
        monkeypatch: pytest.MonkeyPatch, capsys: Capture, small: Path) -> None:
    """ValueError is the parent of our refusal, and still an internal error."""
    def broken(*_: object) -> str:
        raise ValueError("planted")

    monkeypatch.setattr("sampler.report.summary", broken)
    assert main(["show", str(small / "K1.npz")]) == 70
    error = capsys.readouterr().err
    assert "Traceback" in error and "ValueError: planted" in error and "internal error" in error


@pytest.mark.long
@pytest.mark.parametrize("words", ["burn-in", "counting"])
def test_an_interrupt_loses_only_what_was_not_counted(
        words: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path) -> None:
    """Ctrl-C in the second of two models: 130; the first is saved, the second as far as it got
    (nothing in burn-in)."""
    plain = _Progress.__call__
    argv = [*FIT[:-1], "1,2", "--sweeps", "20000"]

    def press(self: _Progress, done: int, total: int, what: str) -> None:
        plain(self, done, total, what)
        if what == words and "2 of 2" in self.title:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_Progress, "__call__", press)
        assert main([*argv, "--out", str(tmp_path)]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert load_run(tmp_path / "K1.npz").stopped == "sweeps"
    assert (tmp_path / "K2.npz").exists() is (words == "counting")
    if words == "counting":
        cut = load_run(tmp_path / "K2.npz")
        assert cut.stopped == "interrupted" and 0 < cut.sweeps < 20_000
        assert json.loads((tmp_path / "table.json").read_text())["models"][1]["F"] > -100


@pytest.mark.long
def test_a_signal_while_counting_saves_a_run_that_resumes_to_the_same_bits(
        tmp_path: Path, capsys: Capture) -> None:
    """SIGINT to a process, sent once it says that it counts."""
    code = ("import signal, sys; from sampler import __main__ as m\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "plain = m._Progress.__call__\n"
            "def told(self, done, total, words):\n"
            "    plain(self, done, total, words); print(words, flush=True)\n"
            "m._Progress.__call__ = told\n"
            "sys.exit(m.main(sys.argv[1:]))\n")
    out = tmp_path / "out"
    # Counting takes several seconds, in slices of 0.3 s: the signal falls into it.
    child = subprocess.Popen(
        [sys.executable, "-c", code, *FIT, "--sweeps", "200000", "--out", str(out)], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == "counting":
                child.send_signal(2)
                break
        error = child.communicate(timeout=60)[1]
    finally:
        child.kill()
    assert child.returncode == 130 and "Traceback" not in error
    main(["show", str(out / "K1.npz")])
    assert "stopped by interrupted" in capsys.readouterr().out
    cut = load_run(out / "K1.npz")
    main(["resume", str(out / "K1.npz"), "--sweeps", "500", "--out", str(out / "more.npz")])
    more = load_run(out / "more.npz")
    assert more.sweeps == cut.sweeps + 500
    main(["resume", str(out / "K1.npz"), "--sweeps", "200"])
    main(["resume", str(out / "K1.npz"), "--sweeps", "300"])
    assert load_run(out / "K1.npz").energy.tobytes() == more.energy.tobytes()
    assert load_run(out / "K1.npz").draws.tobytes() == more.draws.tobytes()
