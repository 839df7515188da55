"""Saved runs side by side, and what a fit leaves: report, tables, derived quantities."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statistics_helpers import conjugate_run

from sampler import (
    Data,
    InputError,
    Model,
    Posterior,
    Run,
    choose,
    free_energy,
    load_run,
    save_run,
    shapes,
    write_report,
)
from sampler import sample as sampled
from sampler.__main__ import main
from sampler.comparing import compare, labels_of, load_runs, model_text, same_data
from sampler.priors import Normal, Ordered, Uniform
from sampler.tables import data_hash

pytestmark = pytest.mark.usefixtures("undrawn")

ROOT = Path(__file__).resolve().parent.parent
T1 = str(ROOT / "data/nmr/t1_inversion_recovery_dnplab304.csv")
FIT = ["fit", T1, "--instrument", "relaxation", "--noise", "unknown"]
X = np.linspace(-1.0, 1.0, 12)
LINE = Data(X, 0.4 + 0.9 * X, noise=0.5, name="line.csv")
BETAS = np.array([0.0, 0.01, 0.1, 1.0])


def run_of(data: Data, slope: Any, seed: int = 1) -> Run:
    model = Model.single(shapes.linear, offset=Normal(0, 1), slope=slope)
    return replace(conjugate_run(Posterior(model, data), BETAS, 400, seed), seed=seed)


def with_y(change: float) -> Data:
    y = LINE.y.copy()
    y[7] += change
    return Data(X, y, noise=0.5, name="line.csv")


def test_different_data_are_refused_whatever_they_are_called() -> None:
    """One point moved by a rounding error: same name, same length, another hash."""
    same = {"a": run_of(LINE, 0.0), "b": run_of(with_y(0.0), Normal(0, 1))}
    same_data(same)
    other = {"a": run_of(LINE, 0.0), "b": run_of(with_y(1e-13), Normal(0, 1))}
    with pytest.raises(InputError, match=r"different data: a .* evidences of different data"):
        compare(other)
    assert data_hash(other["a"].posterior) != data_hash(other["b"].posterior)
    shifted = Data(X + 1e-13, LINE.y, noise=0.5)
    counts = Data(X, np.arange(12.0), noise="poisson")
    numbers = Data(X, np.arange(12.0), noise=1.0)
    hashes = [data_hash(Posterior(Model(), d)) for d in (LINE, shifted, counts, numbers)]
    assert len(set(hashes)) == 4
    # Not the noise, which belongs to the model: it may be compared.
    assert data_hash(Posterior(Model(), Data(X, LINE.y, noise="unknown"))) == hashes[0]


def test_differences_are_those_of_f_with_joint_errors() -> None:
    runs = {"flat": run_of(LINE, 0.0, 1), "line": run_of(LINE, Normal(0, 1), 2)}
    choice, text = compare(runs)
    F = {k: free_energy(run) for k, run in runs.items()}
    found = re.search(r"^  flat +([+-][\d.]+) \+- ([\d.]+)  \(odds ([\d.e-]+) to 1\)", text, re.M)
    assert choice.best == "line" and found
    gap = F["flat"].value - F["line"].value
    assert float(found.group(1)) == pytest.approx(gap, abs=6e-4)
    assert float(found.group(2)) == pytest.approx(
        math.hypot(F["flat"].error, F["line"].error), abs=6e-4)
    assert float(found.group(3)) == pytest.approx(math.exp(-gap), rel=0.01)
    assert choose(runs).verdict in text and choose(runs).table in text
    assert "note" not in text


def test_one_model_twice_and_another_noise_are_said() -> None:
    text = compare({"a": run_of(LINE, Normal(0, 1), 1), "b": run_of(LINE, Normal(0, 1), 2)})[1]
    assert "a, b are runs of the same model" in text and "same seed" not in text
    one = run_of(LINE, Normal(0, 1), 1)
    assert "not independent" in compare({"a": one, "more": one})[1]
    free = sampled(Posterior(Model.single(shapes.linear, offset=Normal(0, 1), slope=0.9),
                             Data(X, LINE.y, noise="unknown")), 300, burn_in=300)
    text = compare({"a": run_of(LINE, 0.9), "b": free})[1]
    assert "the noise is part of the model here" in text
    assert "same model" not in text


def test_equal_models_are_known_as_equal() -> None:
    def peaks(**changes: Any) -> str:
        priors = {"height": (0, 1), "center": (0, 2), "width": (0.1, 1), **changes}
        return model_text(Posterior(Model.repeated(2, shapes.gaussian, **priors), LINE))

    assert peaks() == peaks()
    others = [peaks(height=(0, 2)), peaks(height=0.5), peaks(center=Ordered(Uniform(0, 2))),
              model_text(Posterior(Model(), LINE)),
              model_text(Posterior(Model(), Data(X, LINE.y, noise=0.6)))]
    assert len({peaks(), *others}) == 6


def test_labels_tell_files_apart() -> None:
    assert labels_of(["x/fit/K1.npz", "y/fit/K1.npz"]) == ["x/fit/K1", "y/fit/K1"]
    with pytest.raises(InputError, match="twice"):
        labels_of(["fit/K1.npz", "fit/../fit/K1.npz"])
    with pytest.raises(InputError, match="two or more"):
        load_runs(["K1.npz"])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit") / "out"
    assert main([*FIT, "--K", "0:1", "--sweeps", "800", "--derive", "T1=1/component1_rate",
                 "--out", str(folder)]) in (0, 1)
    return folder


def test_a_fit_leaves_a_report_and_tables_of_the_same_numbers(fitted: Path) -> None:
    record = json.loads((fitted / "table.json").read_text(encoding="utf-8"))
    page = (fitted / "report.html").read_text(encoding="utf-8")
    (row,) = [r for r in record["derived"]["K=1"] if r["name"] == "T1"]
    run = load_run(fitted / "K1.npz")
    T = 1 / run.draws[..., run.posterior.names.index("component1_rate")]
    assert row["median"] == pytest.approx(np.median(T), rel=1e-12)
    assert f'<data value="{row["median"]!r}">' in page
    for model in record["models"]:
        assert f'<data value="{model["F"]!r}">' in page
    assert {"models.csv", "fit_K1.csv"} <= {p.name for p in fitted.iterdir()}
    assert "bayesmeas fit" in record["command"]
    assert ",T1," in (fitted / "table.csv").read_text(encoding="utf-8")


def test_compare_on_the_command_line(fitted: Path, tmp_path: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(fitted / "K0.npz"), str(fitted / "K1.npz")]
    out = tmp_path / "both.html"
    assert main(["compare", *paths, "--report", str(out), "--derive",
                 "T1=1/component1_rate"]) in (0, 1)
    said = capsys.readouterr().out
    for words in ("hash ", "K1 favoured", "difference of F from K1", "K1: T1 = 1/component1_rate"):
        assert words in said
    assert "K1 favoured" in out.read_text(encoding="utf-8")
    save_run(sampled(Posterior(Model.single(shapes.constant, offset=(-1, 1)), LINE), 50,
                     burn_in=50), tmp_path / "other.npz")
    for argv, words in ((["compare", paths[0], str(tmp_path / "other.npz")], "different data"),
                        (["compare", paths[0]], "two or more"),
                        (["compare", paths[0], paths[0]], "each file once"),
                        (["compare", *paths, "--report", "x.txt"], ".html"),
                        (["compare", *paths, "--derive", "r=peak1_height"], "peak1_height"),
                        (["show", paths[1], "--derive", "r=nothing"], "nothing"),
                        ([*FIT, "--K", "1", "--derive", "r=peak1_height", "--out",
                          str(tmp_path / "none")], "peak1_height")):
        assert main(argv) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    assert not (tmp_path / "none").exists()


@pytest.mark.long
def test_ctrl_c_before_a_model_is_counted_leaves_a_report_of_the_others(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    """K = 0 is whole, K = 1 stopped in its burn-in: nothing of it is counted or saved."""
    from sampler import exchange

    whole = exchange.sample

    def stopped(posterior: Posterior, *args: Any, **options: Any) -> Run:
        if "component1_rate" in posterior.names:
            raise KeyboardInterrupt
        return whole(posterior, *args, **options)

    monkeypatch.setattr(exchange, "sample", stopped)
    argv = [*FIT, "--K", "0:2", "--sweeps", "300", "--derive", "T1=1/component1_rate"]
    assert main([*argv, "--out", str(tmp_path)]) == 130
    record = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert record["not_run"] == ["K=1", "K=2"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "not run, and so not compared, are K=1, K=2" in page
    assert page.endswith("</html>\n")
    capsys.readouterr()
    empty = tmp_path / "empty"
    assert main([*FIT, "--K", "1", "--sweeps", "300", "--out", str(empty)]) == 130
    assert not list(empty.iterdir())


def test_a_report_from_python(tmp_path: Path) -> None:
    runs = {"line": run_of(LINE, Normal(0, 1))}
    path = write_report(choose(runs), runs, tmp_path / "r.html", derived=["end=offset+slope"])
    assert "offset+slope" in path.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="nobody"):
        write_report(choose(runs), runs, tmp_path / "r.html", derived=["e=nobody"])
