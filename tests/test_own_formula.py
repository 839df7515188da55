"""``bayesmeas fit FILE --model FORMULA``: what it answers and what it refuses."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statistics_helpers import within
from test_fit_command import T1, refused, swapped, without

from sampler import (
    Data,
    InputError,
    LogUniform,
    Model,
    Posterior,
    Uniform,
    load_run,
    parse_formula,
    sample,
)
from sampler.__main__ import OURS, _own_seeds, main
from sampler.derived import derive
from sampler.exchange import buffers
from sampler.instruments.own_formula import formula_models
from sampler.instruments.relaxation import relaxation
from sampler.kernels import cpu
from sampler.kernels.problem import lower

pytestmark = pytest.mark.usefixtures("undrawn")

RECOVERY = "m - a*exp(-r*x)"
PRIORS = {"m": "Uniform(-1,3)", "a": "Uniform(0,5)", "r": "LogUniform(0.03,300)"}
FIT = ["fit", T1, "--noise", "unknown", "--model", RECOVERY,
       *(word for name, prior in PRIORS.items() for word in ("--prior", f"{name}={prior}"))]


@pytest.mark.long
@pytest.mark.parametrize("formula", ["x", "2"])
def test_a_formula_without_parameters_is_a_model(formula: str, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    """Of the noise alone."""
    code = main(["fit", T1, "--noise", "unknown", "--model", formula, "--sweeps", "100",
                 "--out", str(tmp_path)])
    assert code in (0, 1)
    assert "sigma" in capsys.readouterr().out


def test_a_formula_is_the_model_that_the_instrument_builds() -> None:
    """At 50 points of the prior, of data that neither has seen; the instrument's is a sum of two
    terms made by other code."""
    data = Data(np.linspace(0.0, 4.0, 30), np.linspace(-1.0, 1.0, 30), noise=0.3)
    level, height, rate = Uniform(-1, 3), Uniform(0, 5), LogUniform(0.03, 300)
    mine = Posterior(formula_models([RECOVERY], {"m": level, "a": height, "r": rate})["model1"],
                     data)
    theirs = Posterior(relaxation(1, direction="recovery", offset=level, amplitude=height,
                                  rate=rate), data)
    theta = theirs.draw_prior(50, seed=1)
    order = [1, 0, 2]
    assert mine.names == ("a", "m", "r")
    assert theirs.names == ("offset", "component1_amplitude", "component1_rate")
    assert mine.energy(theta[:, order]) == pytest.approx(theirs.energy(theta), rel=1e-12)
    assert mine.log_prior(theta[:, order]) == pytest.approx(theirs.log_prior(theta), rel=1e-12)
    wrong = Posterior(formula_models(["m + a*exp(-r*x)"], {"m": level, "a": height, "r": rate})
                      ["model1"], data)
    assert wrong.energy(theta[:, order]) != pytest.approx(theirs.energy(theta), rel=1e-3)


def test_a_shared_name_has_one_prior_and_numbers_fix() -> None:
    models = formula_models(["a*x", "b + a*x**2 + c"], {"a": (0, 1), "b": Uniform(0, 2), "c": 0.5})
    assert {label: model.free for label, model in models.items()} == {
        "model1": ("a",), "model2": ("a", "b")}
    assert models["model1"].priors["a"] == models["model2"].priors["a"] == Uniform(0, 1)


def test_the_seed_of_a_formula_does_not_depend_on_its_neighbours() -> None:
    one = formula_models(["a*x + b"], {"a": (0, 1), "b": (0, 1)})
    two = formula_models(["a*x**2", "b+x*a"], {"a": (0, 1), "b": (0, 1)})
    assert _own_seeds(one, 3)["model1"] == _own_seeds(two, 3)["model2"]
    assert len({*_own_seeds(two, 3).values(), *_own_seeds(two, 4).values()}) == 4


def step(text: str, x: Any, y: Any) -> Posterior:
    """The formula under Uniform(0.1, 3) for every parameter."""
    own = parse_formula("own", text)
    return Posterior(Model.single(own, **dict.fromkeys(own.parameters, (0.1, 3.0))),
                     Data(x, y, noise=0.3))


@pytest.mark.parametrize("text", [
    "h*erf((x - c)/w) + o", "a*(1 + erf((x - b)/c))*erf(x)", "a*erf(x) + erf(b)",
    "a*erf(b*x)**3*exp(-erf(x/3)*c)", "erf(a)*x + b"])
def test_the_error_function_is_the_same_to_the_kernels_and_to_numpy(text: str) -> None:
    """At 200 points of the prior: of x alone, of parameters alone, of both; the kernel's is the C
    library's, the twin's is scipy's.  Twin: erf of another argument."""
    x = np.linspace(-3.0, 7.0, 60)
    mine, other = step(text, x, np.cos(x)), step(text.replace("erf(", "erf(0.99*"), x, np.cos(x))
    theta, found = mine.draw_prior(200, seed=3), np.empty(200)
    problem = lower(mine, compiled=True)
    cpu.energies(problem, *buffers(problem, mine.dimension, 1), np.ascontiguousarray(theta), found)
    assert found == pytest.approx(mine.energy(theta), rel=1e-12)
    assert found != pytest.approx(other.energy(theta), rel=1e-6)


def test_an_error_function_step_is_fitted_and_derived_from() -> None:
    """Synthetic: a step of height 1.2 at 4, width 0.8, noise 0.05.  1000 sweeps; each parameter
    within 4 of its posterior sd (false alarm 2e-4); the derived share against `math.erf`."""
    x = np.linspace(0.0, 10.0, 60)
    y = np.array([1.2 * math.erf((v - 4.0) / 0.8) for v in x])
    y += 0.05 * np.random.default_rng(0).normal(size=60)
    own = parse_formula("own", "h*erf((x - c)/w)")
    run = sample(Posterior(Model.single(own, h=(0, 3), c=(0, 10), w=(0.1, 3)),
                           Data(x, y, noise=0.05)), 1000, seed=2)
    place = [run.posterior.names.index(n) for n in ("h", "c", "w")]
    draws = run.draws.reshape(-1, 3)[:, place]
    assert within(draws.mean(axis=0), [1.2, 4.0, 0.8], draws.std(axis=0))
    share = derive(run, "share=h*erf(1/w)").values.ravel()[:50]
    assert share == pytest.approx([h * math.erf(1.0 / w) for h, _, w in draws[:50]], rel=1e-12)


def test_what_a_formula_has_no_value_for_is_said(capsys: pytest.CaptureFixture[str],
                                                 tmp_path: Path) -> None:
    """Half of the priors; no raw warning, which would be an error here."""
    argv = swapped(FIT, "--model", "m + a*sqrt(x - r)")
    argv[argv.index("r=LogUniform(0.03,300)")] = "r=Uniform(-0.04,0.08)"
    assert main([*argv, "--sweeps", "300", "--out", str(tmp_path / "out")]) in (0, 1)
    said, errors = capsys.readouterr()
    line = next(line for line in said.splitlines() if "outside the support" in line)
    assert "(model1 has no real value at some x, most often at 0.02)" in line
    assert "mean count" not in said and "Warning" not in errors


@pytest.mark.long
def test_a_fit_of_two_formulas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A level and a recovery, 400 sweeps of 4 chains.  T1 = 2.165 s by independent runs of the
    instrument, sd 0.035: 4 standard errors of 3000 sweeps are 0.01, of 400 are 0.03."""
    out = tmp_path / "out"
    argv = [*FIT[:4], "--model", "-m + 2*m", *FIT[4:], "--sweeps", "400", "--out", str(out)]
    assert main(argv) in (0, 1)
    said = capsys.readouterr().out
    for words in ("model1: -m + 2*m\n", f"model2: {RECOVERY}\n", "model2 favoured",
                  "log-uniform from 0.03 to 300"):
        assert words in said
    table = json.loads((out / "table.json").read_text())
    rate = next(row for row in table["parameters"]["model2"] if row["name"] == "r")
    assert 1 / rate["mean"] == pytest.approx(2.165, abs=0.03)
    assert {"model1.npz", "model2.npz", "fit_model2.png"} <= {p.name for p in out.iterdir()}
    term, = load_run(out / "model2.npz").posterior.blocks[0].model.terms
    assert (term.formula.name, term.names) == ("model2", ("a", "m", "r"))
    assert main(["show", str(out / "model2.npz")]) in (0, 1)
    # Its own results are known as such: refused, and removed on request.
    refused([*FIT, "--out", str(out)], ["--out", "holds the results of another fit"], capsys)
    assert all(OURS.fullmatch(path.name) for path in out.iterdir())


def formula(text: str) -> list[str]:
    return swapped(FIT, "--model", text)


BAD = {
    "no prior": (FIT[:6], ["--prior: received nothing for a, m, r", "every parameter"]),
    "one prior missing": (FIT[:-2], ["--prior: received nothing for r,", '"r=Uniform(0,3)"']),
    "prior for nobody": ([*FIT, "--prior", "q=Uniform(0,1)"],
                         ["--prior: received q", "a, m, r, sigma"]),
    "prior for x": ([*FIT, "--prior", "x=Uniform(0,1)"], ["--prior: received x"]),
    "prior backwards": ([*FIT[:-1], "r=Uniform(3,1)"], ["--prior r", "lo < hi"]),
    "with an instrument": ([*FIT, "--instrument", "peaks"], ["--instrument", "without --model"]),
    "with K": ([*FIT, "--K", "0:2"], ["--K: received 0:2", "without --model"]),
    "with a shape": ([*FIT, "--shape", "gaussian"], ["--shape", "without --model"]),
    "with a direction": ([*FIT, "--direction", "decay"], ["--direction", "without --model"]),
    "with a background": ([*FIT, "--background", "linear"], ["--background", "without --model"]),
    "no noise": (without(FIT, "--noise"), ["--noise", "unknown", "poisson"]),
    "noise prior, noise known": ([*swapped(FIT, "--noise", "0.1"), "--prior",
                                  "sigma=Uniform(0.1,1)"], ["--prior sigma", "--noise unknown"]),
    "noise at 0": ([*FIT, "--prior", "sigma=Uniform(0,1)"], ["--prior sigma", "above 0"]),
    "twice": ([*FIT, "--model", "-exp(-r*x)*a + m"], ["--model", "each formula once"]),
    "a parameter called sigma": (formula("a*exp(-x/sigma)"), ["--model", "called sigma"]),
    "empty": (formula(""), ["formula model1", "a*exp(-x/t)"]),
    "nothing": ([*without(FIT, "--model"), "--model"], ["--model", "nothing"]),
    "no formula": (formula("a*exp(-r*x"), ["formula model1", "a*exp(-r*x"]),
    "second of two": ([*FIT, "--model", "a*/x"], ["formula model2"]),
    "code": (formula("__import__('os').system('true')"), ["formula model1"]),
    "an attribute": (formula("x.real*a"), ["formula model1", "x.real"]),
    "an unknown function": (formula("a*gamma(x)"), ["formula model1", "gamma(x)", "exp"]),
    "a reserved word": (formula("m - a*exp(-lambda*x)"), ["formula model1", "lambda", "lam."]),
    "a name of digits": (formula("m - 2a*x"), ["formula model1", "'2a'", "2*a is the product"]),
    "a name too long": (formula("a" * 40 + "*x"), ["formula model1", "at most 31"]),
    "a power of others": (formula("a*x^2"), ["formula model1: received 'a*x^2'", "**"]),
    "a curve with its y": (formula("y=a*x"), ["formula model1", "'y=a*x'"]),
    "another letter for x": (formula("m - a*exp(-r*X)"), ["--prior: received nothing for X"]),
    "not plain letters": (formula("a*x²"), ["formula model1", "xb2"]),
    "a division by zero": (formula("a/(x-x)"), ["formula model1", "division by zero"]),
    "nowhere a number": (formula("m + r*log(-a)"), ["formula model1", "no real value at some x",
                                                     "most often at x = 0.02,"]),
    "nowhere for small x": (formula("m + r*sqrt(a*x - 1)"), [
        "formula model1", "in all of 200 draws", "most often at x = 0.02,", "--mask"]),
    "x below 0": (swapped(formula("m + a*(x-1000)**r"), "--noise", "0.1"), ["x[", "is defined"]),
    "--model of resume": (["resume", "x.npz", "--sweeps", "1", "--model", "a"], ["--model"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(
        name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    argv, words = BAD[name]
    monkeypatch.chdir(tmp_path)
    refused(argv, words, capsys)


def test_from_python_the_same_is_refused() -> None:
    with pytest.raises(InputError, match="nothing for b"):
        formula_models(["a + b*x"], {"a": (0, 1)})
    with pytest.raises(InputError, match="they have none"):
        formula_models(["x"], {"a": (0, 1)})
