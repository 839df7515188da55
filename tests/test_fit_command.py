"""The verbs fit, resume and show: what they promise, what they refuse, how they end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from claims_of_others import another_process_claims

from sampler.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
T1 = str(ROOT / "data/nmr/t1_inversion_recovery_dnplab304.csv")
GAUSS1 = str(ROOT / "data/nist_strd/Gauss1.dat")
FIT = ["fit", T1, "--instrument", "relaxation", "--noise", "unknown", "--K", "1"]
PEAKS = ["fit", GAUSS1, "--instrument", "peaks", "--noise", "unknown", "--K", "1"]


def table(folder: Path, text: str, name: str = "data.csv") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def swapped(argv: list[str], option: str, value: str) -> list[str]:
    """The same command with another value for one option."""
    out = list(argv)
    if option in out:
        out[out.index(option) + 1] = value
        return out
    return [*out, option, value]


def without(argv: list[str], option: str) -> list[str]:
    at = argv.index(option)
    return argv[:at] + argv[at + 2:]


GOOD = "x,y,sigma\n0,1.0,0.1\n1,0.6,0.1\n2,0.4,0.1\n3,0.2,0.1\n"
BAD = {
    "missing file": (["fit", "no_such.csv", *FIT[2:]], ["no_such.csv"]),
    "a folder": (["fit", str(ROOT / "data"), *FIT[2:]], ["data"]),
    "no instrument": (without(FIT, "--instrument"), ["--instrument", "peaks", "relaxation",
                                                      "delay_s"]),
    "no noise": (without(FIT, "--noise"), ["--noise", "unknown", "poisson"]),
    "no K": (without(FIT, "--K"), ["--K"]),
    "K below zero": (swapped(FIT, "--K", "-1"), ["--K", "-1"]),
    "K backwards": (swapped(FIT, "--K", "3:1"), ["--K", "3:1", "first is larger than the last"]),
    "K in words": (swapped(FIT, "--K", "many"), ["--K", "many"]),
    "K twice": (swapped(FIT, "--K", "1,1"), ["--K", "1,1"]),
    "shape": (swapped(FIT, "--shape", "sawtooth"), ["--shape", "sawtooth", "exponential"]),
    "shape of the other": (swapped(FIT, "--shape", "gaussian"), ["--shape", "gaussian"]),
    "noise in words": (swapped(FIT, "--noise", "loud"), ["--noise", "loud"]),
    "noise zero": (swapped(FIT, "--noise", "0"), ["0"]),
    "noise below zero": (swapped(FIT, "--noise", "-0.5"), ["-0.5"]),
    "noise NaN": (swapped(FIT, "--noise", "nan"), ["nan"]),
    "prior backwards": (swapped(FIT, "--prior", "component_rate=Uniform(2,1)"),
                        ["component_rate", "2", "1"]),
    "prior unknown": (swapped(FIT, "--prior", "component_rate=Cauchy(0,1)"), ["Cauchy"]),
    "prior for nobody": (swapped(FIT, "--prior", "peak_hight=Uniform(0,1)"), ["peak_hight"]),
    "prior of another shape": (swapped(FIT, "--prior", "component_stretching=Uniform(0,1)"),
                               ["component_stretching", "component_rate"]),
    "K from below 0": (swapped(FIT, "--K", "-1:2"), ["--K", "-1:2", "from 0"]),
    "range below the data": (swapped(FIT, "--range", "-5:-1"), ["-5:-1"]),
    "prior without name": (swapped(FIT, "--prior", "Uniform(0,1)"), ["--prior"]),
    "prior with code": (swapped(FIT, "--prior", "component_rate=__import__('os').getcwd()"),
                        ["component_rate"]),
    "noise prior, noise known": ([*swapped(FIT, "--noise", "0.01"), "--prior",
                                  "sigma=Uniform(0.1,1)"], ["sigma"]),
    "sweeps": (swapped(FIT, "--sweeps", "0"), ["--sweeps", "0"]),
    "until": (swapped(FIT, "--until", "nan"), ["--until", "nan"]),
    "until zero": (swapped(FIT, "--until", "0"), ["--until"]),
    "seed": (swapped(FIT, "--seed", "-1"), ["--seed", "-1"]),
    "range": (swapped(FIT, "--range", "5:1"), ["--range", "5:1"]),
    "range outside": (swapped(FIT, "--range", "100:200"), ["range", "100:200"]),
    "x column": (swapped(FIT, "--x", "time"), ["x column", "time", "delay_s"]),
    "y column": (swapped(FIT, "--y", "9"), ["y column", "9"]),
    "sigma column": (swapped(FIT, "--sigma", "spread"), ["sigma column", "spread"]),
    "no sigma column": (swapped(PEAKS, "--noise", "column"), ["sigma column"]),
    "background": ([*FIT, "--background", "linear"], ["--background", "linear"]),
    "direction": ([*PEAKS, "--direction", "decay"], ["--direction"]),
    "out": (swapped(FIT, "--out", "/dev/null/x"), ["--out", "/dev/null/x"]),
    "show nothing": (["show", "no_such.npz"], ["no_such.npz"]),
    "show a folder": (["show", "."], [".: received a folder, expected a saved run"]),
    "show a figure of no kind": (["show", "x.npz", "--figure", "f.xyz"],
                                 ["--figure: received 'f.xyz'", ".pdf", ".png", ".svg"]),
    "resume into no run": (["resume", T1, "--sweeps", "5", "--out", "x.txt"], [Path(T1).name]),
    "show a table": (["show", T1], [Path(T1).name]),
    "resume none": (["resume", "no_such.npz", "--sweeps", "5"], ["no_such.npz"]),
}
FILES = {
    "NaN": ("x,y\n0,1\n1,nan\n2,3\n", ["y", "nan"]),
    "infinite": ("x,y\n0,1\n1,inf\n2,3\n", ["y", "inf"]),
    "text": ("x,y\n0,1\n1,two\n2,3\n", ["two"]),
    "ragged": ("x,y\n0,1\n1\n2,3\n", ["line 3"]),
    "empty": ("", ["data.csv"]),
    "header only": ("x,y\n", ["data.csv"]),
    "one column": ("x\n1\n2\n", ["data.csv"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_one_sentence_and_exit_code_2(
        name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    argv, words = BAD[name]
    monkeypatch.chdir(tmp_path)
    refused(argv, words, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FILES)
def test_bad_files_are_one_sentence_and_exit_code_2(
        name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text, words = FILES[name]
    argv = ["fit", table(tmp_path, text), *FIT[2:], "--out", str(tmp_path / "out")]
    refused(argv, words, capsys)


@pytest.mark.parametrize(("cell", "words"), [("0", "0"), ("-0.1", "-0.1"), ("nan", "nan")])
def test_bad_error_bars_are_named(cell: str, words: str, tmp_path: Path,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, GOOD.replace("2,0.4,0.1", f"2,0.4,{cell}"))
    argv = swapped(["fit", path, *FIT[2:], "--out", str(tmp_path / "out")], "--noise", "column")
    refused(argv, ["sigma", words], capsys)


def refused(argv: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(argv)
    except SystemExit as stop:                  # argparse's own refusal
        code = int(stop.code or 0)
    error = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in error
    last = error.strip().splitlines()[-1]
    for word in words:
        assert word in last
    if error.startswith("bayesmeas:"):
        assert error.count("\n") == 1


def test_an_internal_error_shows_its_traceback(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    import sampler.exchange

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(sampler.exchange, "sample", broken)
    assert main([*FIT, "--out", str(tmp_path)]) == 70
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "ZeroDivisionError: planted" in error


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """One small real fit, shared: K = 0, 1 of two shapes."""
    folder = tmp_path_factory.mktemp("fit")
    argv = [sys.executable, "-m", "sampler", *swapped(FIT, "--K", "0:1"),
            "--shape", "exponential,stretched", "--sweeps", "3000", "--seed", "7",
            "--prior", "component_rate=LogUniform(0.0316,316)", "--out", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)
    return folder, done.returncode, done.stdout


def test_a_fit_answers_with_errors_and_intervals(fitted: tuple[Path, int, str]) -> None:
    folder, code, out = fitted
    assert code == 0
    assert "exponential K=1 favoured" in out
    for words in ("+-", "p(model | data)", "68 % credible", "95 % credible", "component1_rate",
                  "x in 'delay_s'", "log-uniform from 0.0316 to 316"):
        assert words in out
    record = json.loads((folder / "table.json").read_text())
    assert record["best"] == "exponential K=1"
    labels = [row["model"] for row in record["models"]]
    assert labels == ["K=0", "exponential K=1", "stretched K=1"]
    rate = next(r for r in record["parameters"]["exponential K=1"]
                if r["name"] == "component1_rate")
    # T1 = 2.165 s by independent runs, sd 0.035: 4 standard errors of 3000 x 4 sweeps are 0.01.
    assert 1 / rate["mean"] == pytest.approx(2.165, abs=0.02)
    assert rate["low95"] < rate["low68"] < rate["mean"] < rate["high68"] < rate["high95"]
    for name in ("choice.png", "fit_exponential_K1.png", "fit_exponential_K1.pdf",
                 "ladder_exponential_K1.png", "exponential_K1.npz", "table.csv"):
        assert (folder / name).stat().st_size > 100


def test_show_and_resume_work_on_the_saved_run(
        fitted: tuple[Path, int, str], tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    folder = fitted[0]
    saved = folder / "exponential_K1.npz"
    assert main(["show", str(saved), "--figure", str(tmp_path / "fit.png")]) in (0, 1)
    out = capsys.readouterr().out
    assert "4 chains of 3000 sweeps" in out
    assert (tmp_path / "fit.png").stat().st_size > 5000
    longer = tmp_path / "longer.npz"
    assert main(["resume", str(saved), "--sweeps", "500", "--out", str(longer)]) in (0, 1)
    capsys.readouterr()
    assert main(["show", str(longer)]) in (0, 1)
    assert "4 chains of 3500 sweeps" in capsys.readouterr().out
    assert main(["resume", str(saved), "--sweeps", "0"]) == 2
    assert main(["resume", str(saved), "--sweeps", "9", "--out", "x.txt"]) == 2
    assert "a file that ends in .npz" in capsys.readouterr().err
    assert main(["show", str(saved), "--figure", str(saved / "fit.png")]) == 2
    assert "--figure: received" in capsys.readouterr().err
    assert main(["show", str(folder)]) == 2
    assert "K0.npz" in capsys.readouterr().err


@pytest.mark.long
def test_a_reader_who_goes_away_ends_it_quietly(fitted: tuple[Path, int, str],
                                                tmp_path: Path) -> None:
    """What `| head -1` does, at its worst: nobody ever reads.  Files come first."""
    out = tmp_path / "out"
    for argv in (["show", str(fitted[0] / "exponential_K1.npz")], ["fit", "--help"],
                 [*FIT, "--sweeps", "200", "--out", str(out)]):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([sys.executable, "-m", "sampler", *argv], stdout=writer, cwd=ROOT,
                              stderr=subprocess.PIPE, text=True, check=False)
        os.close(writer)
        # argparse itself forgives a help text that nobody reads.
        assert done.returncode == 141 or (argv[-1] == "--help" and done.returncode == 0)
        assert "Traceback" not in done.stderr
        assert "BrokenPipe" not in done.stderr
    for name in ("K1.npz", "table.json", "table.csv", "choice.png", "fit_K1.pdf"):
        assert (out / name).stat().st_size > 100


@pytest.mark.long
def test_a_model_is_the_same_run_whichever_others_are_asked_for(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sampler.checkpoint import load_run

    common = ["--sweeps", "50", "--seed", "3"]
    main([*FIT, *common, "--out", str(tmp_path / "one")])
    main([*swapped(FIT, "--K", "2,1"), *common, "--out", str(tmp_path / "two")])
    main([*FIT, *common, "--shape", "stretched,exponential", "--out", str(tmp_path / "shapes")])
    one, two, three = (load_run(tmp_path / name) for name in (
        "one/K1.npz", "two/K1.npz", "shapes/exponential_K1.npz"))
    assert one.seed == two.seed == three.seed
    for other in (two, three):                  # another seed differs in the first digit
        assert other.draws == pytest.approx(one.draws, rel=1e-9)
    seeds = {run.seed for run in (one, load_run(tmp_path / "two/K2.npz"),
                                  load_run(tmp_path / "shapes/stretched_K1.npz"))}
    assert len(seeds) == 3


@pytest.mark.long
def test_equal_seeds_print_equal_numbers(tmp_path: Path,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    answers = []
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        main([*FIT, "--sweeps", "300", "--seed", seed, "--out", str(tmp_path / name)])
        answers.append(capsys.readouterr().out.replace(f"{tmp_path}/{name}", ""))
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.long
def test_columns_by_name_and_number_and_error_bars(tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    """The same data however the columns lie: same numbers."""
    rows = [line.split(",") for line in GOOD.splitlines()[1:]]
    plain = table(tmp_path, GOOD, "plain.csv")
    turned = table(tmp_path, "e;t;a\n" + "".join(f"{s};{x};{y}\n" for x, y, s in rows), "turn.csv")
    common = ["--instrument", "relaxation", "--noise", "column", "--K", "1", "--sweeps", "300",
              "--seed", "1", "--direction", "decay"]
    answers = []
    for path, more in ((plain, []), (turned, ["--x", "t", "--y", "3", "--sigma", "e"]),
                       (turned, ["--x", "2", "--y", "a", "--sigma", "1"])):
        main(["fit", path, *common, *more, "--out", str(tmp_path / "out"), "--overwrite"])
        answers.append(json.loads((tmp_path / "out/table.json").read_text())["models"])
    capsys.readouterr()
    assert answers[0] == answers[1] == answers[2]


def test_a_prior_bound_that_matters_is_said_under_the_verdict(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """T1 is 2.2 s and the prior says 1 to 2 s: the fit leans on a rate of 0.5."""
    main([*swapped(FIT, "--K", "0:1"), "--sweeps", "1000", "--out", str(tmp_path), "--prior",
          "component_rate=Uniform(0.5,1)"])
    lines = capsys.readouterr().out.splitlines()
    verdict = next(i for i, line in enumerate(lines) if line.startswith("K=1 favoured"))
    table = next(i for i, line in enumerate(lines) if line.startswith("model "))
    assert any(line.startswith("K=1: component1_rate presses on its prior bound 0.5")
               for line in lines[verdict + 1:table])


@pytest.mark.long
def test_two_fits_never_share_a_folder(tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    short = [*FIT, "--sweeps", "50", "--out", str(out)]
    main(swapped(short, "--K", "1,2"))
    main(["resume", str(out / "K2.npz"), "--sweeps", "5"])
    assert "tables and figures of a fit are not rewritten" in capsys.readouterr().out
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert {"K1.npz", "K2.npz", "K2.npz.previous", "choice.pdf"} <= set(before)
    refused(short, ["--out", "holds the results of another fit", "--overwrite"], capsys)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    # A refused fit removes nothing, even with leave to do so.
    refused([*swapped(short, "--noise", "loud"), "--overwrite"], ["--noise"], capsys)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert main([*short, "--overwrite"]) in (0, 1)
    assert "K1.npz" in {p.name for p in out.iterdir()}
    assert not [p.name for p in out.iterdir() if "K2" in p.name]


def test_a_folder_or_run_of_another_process_is_refused(tmp_path: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    main([*swapped(FIT, "--K", "1"), "--sweeps", "50", "--out", str(out)])
    capsys.readouterr()
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert ".lock" not in before
    words = ["another process is counting", "expected one process at a time"]
    with another_process_claims(out):
        refused([*FIT, "--out", str(out), "--overwrite"], words, capsys)
    with another_process_claims(out / "K1.npz"):
        refused(["resume", str(out / "K1.npz"), "--sweeps", "5"], words, capsys)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


@pytest.mark.parametrize("name", ["notes.txt", "K1.txt", "sawtooth_K1.npz", "table.json/"])
def test_what_is_not_of_a_fit_is_never_removed(name: str, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "K0.npz").write_text("old")
    path = tmp_path / name.rstrip("/")
    path.mkdir() if name.endswith("/") else path.write_text("mine")
    refused([*FIT, "--out", str(tmp_path), "--overwrite"],
            [f"which holds {name.rstrip('/')}", "a new or empty folder"], capsys)
    assert path.exists()
    assert (tmp_path / "K0.npz").read_text() == "old"


def test_every_file_of_a_fit_is_known_as_one(fitted: tuple[Path, int, str]) -> None:
    from sampler.__main__ import OURS

    assert all(OURS.fullmatch(path.name) for path in fitted[0].iterdir())


def test_a_prior_with_a_number_concerns_one_component(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = swapped(FIT, "--K", "2")
    main([*argv, "--sweeps", "200", "--out", str(tmp_path), "--prior",
          "component1_rate=Uniform(0.1,1)", "--prior", "component2_rate=Uniform(2,3)"])
    capsys.readouterr()
    main(["show", str(tmp_path / "K2.npz")])
    out = capsys.readouterr().out
    assert "uniform from 0.1 to 1" in out
    assert "uniform from 2 to 3" in out


def test_what_json_cannot_say_is_null(tmp_path: Path,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    """Counts without a single peak or background: F is infinite, and JSON has no such number."""
    counts = table(tmp_path, "x,n\n" + "".join(f"{i},{n}\n" for i, n in enumerate(
        (1, 0, 2, 9, 14, 8, 1, 0, 1))))
    main(["fit", counts, "--instrument", "peaks", "--noise", "poisson", "--K", "0:1", "--sweeps",
          "300", "--out", str(tmp_path / "out")])
    assert "inf" in capsys.readouterr().out

    def refuse(word: str) -> float:
        raise ValueError(f"{word} is no JSON")

    record = json.loads((tmp_path / "out/table.json").read_text(), parse_constant=refuse)
    assert record["models"][0]["F"] is None
    assert record["models"][1]["F"] > 0.0


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_saves_what_was_counted(tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    argv = [sys.executable, "-m", "sampler", *swapped(FIT, "--K", "1"),
            "--sweeps", "100000000", "--out", str(tmp_path / "out")]
    child = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             cwd=ROOT, env={**os.environ, "BAYESMEAS_TEST": "1"})
    # A hundred million sweeps take half an hour; burn-in alone would be a quarter of it, so the
    # first signal falls into burn-in: nothing counted, nothing saved, and still a clean end.
    time.sleep(6)
    child.send_signal(signal.SIGINT)
    out, error = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in error
    assert "interrupted" in error + out


@pytest.mark.long
def test_ctrl_c_while_counting_leaves_a_run_that_show_reads(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    from sampler.__main__ import _Progress

    told = _Progress.__call__

    def press(self: object, done: int, total: int, words: str) -> None:
        told(self, done, total, words)          # type: ignore[arg-type]
        if words == "counting":
            raise KeyboardInterrupt

    monkeypatch.setattr(_Progress, "__call__", press)
    code = main([*swapped(FIT, "--K", "1,2"), "--sweeps", "60000", "--out", str(tmp_path)])
    assert code == 130
    out = capsys.readouterr().out
    assert "INTERRUPTED: K=1 counts " in out and " not compared: K=2\n" in out
    monkeypatch.setattr(_Progress, "__call__", told)
    assert (tmp_path / "K1.npz").exists()
    assert not (tmp_path / "K2.npz").exists()
    main(["show", str(tmp_path / "K1.npz")])
    out = capsys.readouterr().out
    assert "stopped by interrupted" in out
    assert main(["resume", str(tmp_path / "K1.npz"), "--sweeps", "100"]) in (0, 1)


def test_an_interrupt_that_was_swallowed_stops_the_fit_all_the_same(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the posterior is lowered, caught and ignored there (as a finaliser or a callback
    of the compiler would): the first report of progress ends a fit of half an hour."""
    from sampler.kernels import problem

    lowered, before = problem.lower, signal.getsignal(signal.SIGINT)

    def deaf(*arguments: Any, **options: Any) -> Any:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return lowered(*arguments, **options)

    monkeypatch.setattr(problem, "lower", deaf)
    code = main([*swapped(FIT, "--K", "1"), "--sweeps", "100000000", "--out", str(tmp_path)])
    assert code == 130
    assert signal.getsignal(signal.SIGINT) is before
