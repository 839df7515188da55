"""``--tie``, ``--fix`` and ``--mask``: what follows others, what is held and what is left out."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from statistics_helpers import within
from test_fit_command import refused, swapped, table

from sampler import (
    Data,
    InputError,
    Model,
    Normal,
    Posterior,
    free_energy,
    load_run,
    sample,
    save_run,
)
from sampler.__main__ import main
from sampler.instruments.peaks import background, default_priors, peaks
from sampler.instruments.ties import read_ties, tied
from sampler.shapes import gaussian
from theory import evidence

pytestmark = pytest.mark.usefixtures("undrawn")

X = np.linspace(0.0, 3.0, 61)
CENTERS, WIDTH, NOISE, SD = (0.8, 2.0), 0.4, 0.1, 4.0
# Typed anew, not taken from the shapes.
COLUMNS = np.exp(-np.log(2.0) * ((X[:, None] - CENTERS) / (WIDTH / 2.0)) ** 2)
Y = COLUMNS @ [3.0, 2.0] + NOISE * np.random.default_rng(5).normal(size=len(X))      # synthetic
SPECTRUM = Data(X, Y, noise=NOISE)
DOUBLET = Model.repeated(2, gaussian, height=Normal(0.0, SD), center=1.0, width=WIDTH).with_priors(
    {"peak1_center": CENTERS[0], "peak2_center": CENTERS[1]})
RATIO = "peak2_height=2*peak1_height/3"


def exact(columns: np.ndarray) -> float:
    return evidence.free_energy(evidence.LinearRegression(columns, Y, NOISE, 0.0, SD**2))


@pytest.mark.parametrize("ties", [[RATIO], ["peak2_height=half*2", "half=peak1_height/3"]])
def test_a_tied_doublet_has_the_evidence_of_one_column(ties: list[str]) -> None:
    """Against the law of the data under hand-typed columns: 4 standard errors (false alarm 6e-5);
    a ratio of 1/2, a broken twin, is 40 standard errors away."""
    three = DOUBLET + Model.single(gaussian, "half_", height=0.0, center=1.0, width=1.0)
    model = DOUBLET if len(ties) == 1 else three.renamed(half_height="half")
    one = tied(model, read_ties(ties))
    assert one.free == ("peak1_height",)
    found = free_energy(sample(Posterior(one, SPECTRUM), 1000, seed=3))
    column = COLUMNS @ [1.0, 2.0 / 3.0]
    if len(ties) == 2:      # the third line, at 1 with a width of 1, is as high as what follows it
        column = column + np.exp(-4.0 * np.log(2.0) * (X - 1.0) ** 2) / 3.0
    assert within(found.value, exact(column[:, None]), found.error)
    assert not within(found.value, exact(COLUMNS @ [[1.0], [0.5]]), found.error, 40)


def test_a_spin_orbit_doublet_recovers_its_ratio() -> None:
    """Free, the ratio of heights lies within 4 sd of the true 2/3; tied to it, F is lower by what
    theory says (4 standard errors), tied to 1/2 it is higher."""
    both = sample(Posterior(DOUBLET, SPECTRUM), 1000, seed=4)
    ratio = both.draws[..., 1] / both.draws[..., 0]
    assert abs(ratio.mean() - 2.0 / 3.0) < 4.0 * ratio.std() < 0.2
    F = {text: free_energy(sample(Posterior(tied(DOUBLET, read_ties([text])), SPECTRUM), 1000,
                                  seed=5)) for text in (RATIO, "peak2_height=0.5*peak1_height")}
    free = free_energy(both)
    right, wrong = F.values()
    gain = exact(COLUMNS) - exact(COLUMNS @ [[1.0], [2.0 / 3.0]])
    assert within(free.value - right.value, gain, np.hypot(free.error, right.error))
    assert gain > 2.0 and wrong.value > free.value + 10.0


def test_whatever_follows_is_put_in_place() -> None:
    """At 50 points of the prior, against the free model at the tied values; a name that stands in
    two terms, centres at a distance, ties of ties and a shared background."""
    plain = background("linear", SPECTRUM) + peaks(3, "pseudo_voigt",
                                                   **default_priors(SPECTRUM, "pseudo_voigt"))
    ties = read_ties(["peak2_center=peak1_center + 1.2", "peak3_width=peak2_width",
                      "peak2_width=2*peak1_width*exp(-peak1_mixing)", "peak3_mixing=peak1_mixing",
                      "peak3_height=peak1_height*erf(peak1_mixing)"])
    free, bound = Posterior(plain, SPECTRUM), Posterior(tied(plain, ties), SPECTRUM)
    assert len(free.names) - len(bound.names) == 5
    theta = bound.draw_prior(50, seed=1)
    at = dict(zip(bound.names, theta.T, strict=True))
    at["peak2_center"] = at["peak1_center"] + 1.2
    at["peak2_width"] = at["peak3_width"] = 2.0 * at["peak1_width"] * np.exp(-at["peak1_mixing"])
    at["peak3_mixing"] = at["peak1_mixing"]
    at["peak3_height"] = at["peak1_height"] * np.vectorize(math.erf)(at["peak1_mixing"])
    values = np.stack([at[name] for name in free.names], axis=1)
    assert bound.energy(theta) == pytest.approx(free.energy(values), rel=1e-12)
    at["peak2_center"] = at["peak1_center"] + 1.3
    values = np.stack([at[name] for name in free.names], axis=1)
    assert bound.energy(theta) != pytest.approx(free.energy(values), rel=1e-3)


def test_a_saved_run_keeps_its_ties(tmp_path: Path) -> None:
    run = sample(Posterior(tied(DOUBLET, read_ties([RATIO])), SPECTRUM), 50, seed=6)
    again = load_run(save_run(run, tmp_path / "tied.npz"))
    assert again.posterior.names == ("peak1_height",)
    theta = run.draws[0]
    assert np.array_equal(again.posterior.energy(theta), run.posterior.energy(theta))


def test_a_model_without_that_parameter_is_left_alone() -> None:
    one = Model.repeated(1, gaussian, height=(0, 3), center=(0, 3), width=(0.1, 1))
    assert tied(one, read_ties([RATIO])) == one
    with pytest.raises(InputError, match="parameters of the model: peak1_height"):
        tied(one, read_ties(["peak1_height=peak2_height"]))


def test_formulas_that_grow_without_end_are_refused() -> None:
    chain = [f"a{i + 1}=a{i}*sin(a{i}) + a{i}**2" for i in range(40)]
    with pytest.raises(InputError, match="very long"):
        read_ties(chain)


FIT = ["fit", "DATA", "--instrument", "peaks", "--noise", "column", "--K", "2"]
BAD = {
    "no tie": (["--tie", "peak1_height"], ["--tie", "NAME=FORMULA"]),
    "twice": (["--tie", "peak1_height=peak2_height", "--tie", "peak1_height=peak2_height/2"],
              ["--tie peak1_height", "given twice"]),
    "itself": (["--tie", "peak1_height=2*peak1_height"], ["circle"]),
    "each other": (["--tie", "peak1_height=peak2_height", "--tie", "peak2_height=peak1_height"],
                   ["circle"]),
    "a number": (["--tie", "peak1_height=2"], ["--fix peak1_height=VALUE"]),
    "with x": (["--tie", "peak1_height=x*peak2_height"], ["x is not the same"]),
    "nobody": (["--tie", "peak3_height=peak1_height"], ["--tie peak3_height", "peak2_width"]),
    "to nobody": (["--tie", "peak2_height=peak3_height"], ["peak3_height", "peak2_width"]),
    "code": (["--tie", "peak2_height=__import__('os')"], ["--tie peak2_height"]),
    "prior of the tied": (["--tie", "peak2_height=peak1_height", "--prior", "peak2_height=0:1"],
                          ["--tie peak2_height", "one of them"]),
    "fix without value": (["--fix", "peak1_center"], ["--fix", "NAME=VALUE"]),
    "fix in words": (["--fix", "peak1_center=left"], ["--fix peak1_center", "a number"]),
    "fix NaN": (["--fix", "peak1_center=nan"], ["--fix peak1_center"]),
    "fix below 0": (["--fix", "peak_width=-1"], ["--fix peak_width", "above 0"]),
    "fix nobody": (["--fix", "peak_hight=1"], ["--fix", "peak_hight"]),
    "fix and prior": (["--fix", "peak_height=1", "--prior", "peak_height=0:1"],
                      ["--fix peak_height", "given twice"]),
    "fix the noise": (["--fix", "sigma=1"], ["--fix sigma", "--noise"]),
    "mask backwards": (["--mask", "2:1"], ["--mask", "LO < HI"]),
    "mask of nothing": (["--mask", "5:6"], ["mask", "0 to 3"]),
    "mask of all": (["--mask=-1:2", "--mask", "2:4"], ["mask", "leaves some points"]),
}


@pytest.fixture
def spectrum(tmp_path: Path) -> str:
    rows = "\n".join(f"{x:.6g},{y:.6g},{NOISE}" for x, y in zip(X, Y, strict=True))
    return table(tmp_path, f"energy,counts,sigma\n{rows}\n")


@pytest.mark.parametrize("name", BAD)
def test_bad_ties_are_refused(name: str, spectrum: str, tmp_path: Path,
                              capsys: pytest.CaptureFixture[str]) -> None:
    argv, words = BAD[name]
    out = tmp_path / "out"
    refused([*FIT[:1], spectrum, *FIT[2:], *argv, "--out", str(out)], words, capsys)
    assert not out.exists()


def test_a_fit_with_ties_masks_and_values_held(spectrum: str, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    """K = 1 has no second peak to tie; what is tied, held and left out is said."""
    out = tmp_path / "out"
    argv = [*swapped([*FIT[:1], spectrum, *FIT[2:]], "--K", "1,2"), "--tie", RATIO, "--fix",
            "peak_width=0.4", "--mask", "1.2:1.6", "--derive", "second=2*peak1_height/3",
            "--sweeps", "400", "--out", str(out)]
    assert main(argv) in (0, 1)
    said = capsys.readouterr().out
    for words in ("masked: 9 points with x from 1.2 to 1.6",
                  "tied: peak2_height = 2*peak1_height/3", "peak2_width: fixed at 0.4",
                  "K=2 favoured"):
        assert words in said
    run = load_run(out / "K2.npz")
    assert run.posterior.names == ("peak1_height", "peak1_center", "peak2_center")
    assert run.posterior.size == 52
    answer = json.loads((out / "table.json").read_text())
    second = next(row for row in answer["derived"]["K=2"] if row["name"] == "second")
    assert abs(second["mean"] - 2.0) < 4.0 * second["sd"] < 0.4


def test_a_formula_of_ones_own_can_be_tied(spectrum: str, tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    """c needs no prior; where it may follow nothing, or is none of the formula, it is refused."""
    argv = ["fit", spectrum, "--noise", "column", "--model", "a*x + c", "--prior", "a=-5:5"]
    out = tmp_path / "out"
    assert main([*argv, "--tie", "c=2*a", "--sweeps", "50", "--out", str(out)]) in (0, 1)
    posterior = load_run(out / "model1.npz").posterior
    assert posterior.names == ("a",)
    assert posterior.predict([0.5]) == pytest.approx(0.5 * X + 1.0, abs=1e-12)
    capsys.readouterr()
    refused([*argv, "--out", str(out)], ["--prior", "nothing for c"], capsys)
    refused([*argv, "--prior", "c=0:1", "--tie", "q=2*a", "--out", str(out)], ["--tie q", "a, c"],
            capsys)


def test_an_unused_column_is_named(spectrum: str) -> None:
    from sampler.files import read_data

    assert any("sigma, which may be standard deviations, is not used" in note
               for note in read_data(spectrum, "unknown").notes)
    for noise, column in (("column", None), ("unknown", "sigma"), (0.1, None)):
        assert not any("not used" in note
                       for note in read_data(spectrum, noise, sigma=column).notes)
