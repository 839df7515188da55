"""Derived quantities and averages over models, against exact propagation."""

import math
import re
from typing import Any

import numpy as np
import pytest
from statistics_helpers import Conjugate, as_run, conjugate_run, within

from sampler import Choice, Data, InputError, Model, Posterior, Run, choose, shapes
from sampler.derived import average_of, averaged, common, derive, formula_of, known_in, standard
from sampler.diagnostics import effective_sample_size
from sampler.priors import Normal

BETAS = np.array([0.0, 0.003, 0.03, 0.3, 1.0])
X = np.linspace(-1.0, 1.0, 12)
LINE = Data(X, 0.4 + 0.9 * X + 0.3 * np.cos(9 * X), noise=0.5)
NORMAL = {"median": 0.0, "low68": -0.994458, "high68": 0.994458, "low95": -1.959964,
          "high95": 1.959964}      # quantiles 0.5, 0.16, 0.84, 0.025, 0.975 of a normal


def line_run(sweeps: int = 8000, seed: int = 5, slope: Any = None) -> Run:
    model = Model.single(shapes.linear, offset=Normal(0.2, 1.0),
                         slope=Normal(0.0, 1.5) if slope is None else slope)
    return conjugate_run(Posterior(model, LINE), BETAS, sweeps, seed)


@pytest.mark.parametrize(("text", "weights", "shift"), [
    ("a=offset", (1, 0), 0.0), ("end=offset + slope", (1, 1), 0.0),
    ("drop=3 - 2*slope + offset/4", (0.25, -2.0), 3.0)])
def test_linear_quantities_are_propagated_exactly(text: str, weights: tuple[float, float],
                                                  shift: float) -> None:
    """mean = a m + c, variance = a C a, and the quantiles of a normal: 4 x 8000 independent draws,
    4 standard errors, 21 numbers, false alarm 1 in 700."""
    run = line_run()
    mean, covariance = Conjugate(run.posterior).tempered(1.0)
    a = np.array(weights)
    exact, sd = float(a @ mean) + shift, math.sqrt(a @ covariance @ a)
    row = derive(run, text).row()
    n = run.draws[..., 0].size
    assert within(row["mean"], exact, sd / math.sqrt(n))
    assert within(row["sd"], sd, sd / math.sqrt(2 * n))
    for key, z in NORMAL.items():
        share = 0.5 * math.erfc(-z / math.sqrt(2))
        density = math.exp(-0.5 * z**2) / math.sqrt(2 * math.pi) / sd
        assert within(row[key], exact + z * sd, math.sqrt(share * (1 - share) / n) / density)
    # Broken twin: correlation forgotten.
    if all(weights):
        alone = math.sqrt(a**2 @ np.diag(covariance))
        assert abs(alone - sd) < 1e-9 or not within(row["sd"], alone, sd / math.sqrt(2 * n))
    assert row["undefined"] == 0.0 and row["rhat"] < 1.01
    assert row["ess"] == pytest.approx(effective_sample_size(derive(run, text).values))


def test_a_quantity_is_the_formula_of_each_draw() -> None:
    run = line_run(200)
    offset, slope = run.draws[..., 0], run.draws[..., 1]
    found = derive(run, "q = exp(offset)*slope**2/(1 + abs(slope)) - pi")
    assert found.values == pytest.approx(
        np.exp(offset) * slope**2 / (1 + np.abs(slope)) - math.pi, rel=1e-12)
    assert derive(run, "two=2").row()["median"] == 2.0
    fixed = line_run(50, slope=0.5)
    assert derive(fixed, "s=slope*4").values == pytest.approx(2.0)


def test_draws_without_a_value_are_counted_and_said() -> None:
    run = line_run(500)
    found = derive(run, "l=log(offset - 0.4)")
    below = float(np.mean(run.draws[..., 0] <= 0.4))
    assert 0.05 < below < 0.95
    assert found.undefined == pytest.approx(below)
    assert f"without a value in {below:.1%} of the draws" in str(found)
    known = np.log(run.draws[..., 0][run.draws[..., 0] > 0.4] - 0.4)
    assert found.row()["median"] == pytest.approx(np.median(known))
    assert math.isnan(found.row()["ess"])
    assert "in every draw" not in str(found)
    assert str(derive(run, "r=sqrt(-1 - offset**2)")).startswith(
        "r = sqrt(-1 - offset**2): without a value in every draw")
    assert math.isnan(derive(run, "never=log(-1 - offset**2)").row()["mean"])


# ---- components ---------------------------------------------------------------------------------


def peaks_run(K: int = 3, sweeps: int = 60, shape: Any = shapes.gaussian, **changes: Any) -> Run:
    """Peaks near 1, 2, ..., K of height 1, 2, ..., numbered at random in every draw."""
    generator = np.random.default_rng(3)
    priors = {"height": (0, 9), "center": (0, 9), "width": (0.1, 3), **changes}
    posterior = Posterior(Model.repeated(K, shape, **priors), Data(
        [0.0, 1, 2, 3, 4], [0.1, 0.9, 0.2, 0.4, 0.1], noise=0.1))
    per = posterior.dimension // K if K else 0
    peak = np.stack([np.arange(1.0, K + 1), np.arange(1.0, K + 1), np.full(K, 0.5)][:per], -1)
    draws = peak + 0.05 * generator.normal(size=(4, sweeps, K, per))
    draws = np.take_along_axis(draws, np.argsort(generator.random((4, sweeps, K)))[..., None], 2)
    draws = draws.reshape(4, sweeps, posterior.dimension)
    energy = np.zeros((4, sweeps, 2))
    return as_run(posterior, [0.0, 1.0], energy, energy, draws)


def test_numbers_of_components_mean_their_order_and_say_so() -> None:
    run = peaks_run()
    ratio = derive(run, "ratio=peak1_height/peak3_height")
    assert ratio.row()["high95"] < 0.5           # by the sampler's own numbers up to 3
    assert ratio.numbering == "components numbered in every draw: peak by center"
    naive = run.draws[..., 0] / run.draws[..., 6]
    assert np.quantile(naive, 0.975) > 2.0


def test_a_sum_over_all_components_is_free_of_labels() -> None:
    run = peaks_run()
    total = derive(run, "total=sum(peak_height*peak_width) + 1")
    by_hand = (run.draws[..., [0, 3, 6]] * run.draws[..., [2, 5, 8]]).sum(axis=-1) + 1
    assert total.values == pytest.approx(by_hand, rel=1e-12)
    free = "the same however the components are numbered"
    assert total.numbering == free
    assert derive(run, "t=peak1_height+peak2_height+peak3_height").numbering == free
    part = derive(run, "t=peak1_height+peak2_height")   # symmetric in two of three only
    assert part.numbering == "components numbered in every draw: peak by center"
    assert derive(peaks_run(2), "t=peak1_height+peak2_height").numbering == free
    told = peaks_run(2, center=(0, 9), height=(0, 9))
    pinned = told.posterior.blocks[0].model.with_priors({"peak1_height": (0, 8)})
    other = as_run(Posterior(pinned, told.posterior.blocks[0].data), told.betas, told.energy,
                   told.replica, told.draws)
    assert derive(other, "r=peak1_height/peak2_height").numbering == (
        "components told apart by their priors")


def test_a_sum_with_no_component_is_nothing() -> None:
    names = ["offset"]
    assert formula_of("t", "2 + sum(peak_height)", names).text() == "2"
    assert formula_of("t", "sum(a_b) - sum(a_b)/4", ["a1_b", "a2_b"]).text() == (
        "3*a1_b/4 + 3*a2_b/4")
    assert formula_of("t", "sum(peak_height*w)", ["peak1_height", "peak2_height", "w"]).text() == (
        "peak1_height*w + peak2_height*w")


@pytest.mark.parametrize(("text", "words"), [
    ("ratio", "NAME=FORMULA"), ("=3", "NAME=FORMULA"), ("r=", "NAME=FORMULA"),
    ("2r=peak1_height", "NAME=FORMULA"), ("<script>=1", "NAME=FORMULA"),
    ("r=peak4_height", "peak4_height, expected parameters of the model: peak1_height"),
    ("r=x*peak1_height", "received x"), ("peak1_height=1", "another name"),
    ("r=__import__('os').getcwd()", "derived r"), ("r=peak1_height.real", "derived r"),
    ("r=sum(peek_height)", "a name without its number, one of peak_height"),
    ("r=sum(peak_height", "bracket closed"), ("r=sum(sum(peak_height))", "no sum inside another"),
    ("r=sum(3)", "a name without its number"), ("r=1/0", "division by zero"),
    ("r=" + "+".join(["peak1_height"] * 300), "at most")])
def test_what_is_no_quantity_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        derive(peaks_run(), text)


@pytest.mark.parametrize(("shape", "extra"), [
    (shapes.gaussian, {}), (shapes.lorentzian, {}), (shapes.pseudo_voigt, {"mixing": 0.3})])
def test_areas_are_those_of_the_curves(shape: Any, extra: dict[str, float]) -> None:
    """By adding the curve up over 4000 half widths, and what a Lorentzian has beyond in closed
    form: its tail falls as (h w^2 / 4) / x^2."""
    run = peaks_run(1, 3, shape, **extra)
    (area,) = standard(run)
    assert area.name == "peak1_area"
    theta = run.draws[0, 0]
    height, center, width = theta[:3]
    x = center + width * 2000 * np.sinh(np.linspace(-9, 9, 400_001)) / math.sinh(9)
    curve = run.posterior.predict(theta, x=x)
    share = {"lorentzian": 1.0, "pseudo_voigt": 0.3}.get(shape.name, 0.0)
    tails = 2 * share * height * width**2 / 4 / (2000 * width)
    assert area.values[0, 0] == pytest.approx(np.trapezoid(curve, x) + tails, rel=1e-6)


def test_times_are_one_over_rates() -> None:
    from sampler.instruments.relaxation import default_priors, relaxation

    data = Data([1, 2, 4, 8], [0.4, 0.6, 0.9, 1.0], noise=0.05)
    posterior = Posterior(relaxation(2, direction="recovery", **default_priors(data)), data)
    draws = np.tile([1.0, 0.5, 2.0, 0.4, 0.5], (4, 5, 1))
    run = as_run(posterior, [0.0, 1.0], np.zeros((4, 5, 2)), np.zeros((4, 5, 2)), draws)
    assert {d.name: d.values[0, 0] for d in standard(run)} == {
        "component1_T1": 2.0, "component2_T1": 0.5}


def test_what_each_model_has_is_known_before_anything_runs() -> None:
    models = {0: ["offset"], 1: ["offset", "peak1_height"]}
    texts = ["r=peak1_height/offset", "t=sum(peak_height)"]
    assert known_in(texts, models) == {0: texts[1:], 1: texts}
    for wrong, words in ((["r=peak2_height"], "peak2_height"), ([*texts, "t=1"], "given twice"),
                         (["offset=1"], "another name")):
        with pytest.raises(InputError, match=words):
            known_in(wrong, models)
    assert known_in(["r=peak2_height"], models, partial=True) == {0: [], 1: []}


# ---- averages over models -----------------------------------------------------------------------


def two_lines() -> tuple[Choice, dict[Any, Run]]:
    """Slopes known to be 0.6, and unknown: neither is excluded."""
    runs = {"known": line_run(6000, 1, slope=0.6), "free": line_run(6000, 2)}
    return choose(runs), runs


def test_an_average_is_the_mixture_of_exact_posteriors() -> None:
    """Mean and variance of the mixture from exact F and exact normals; 4 standard errors, of which
    the error that is claimed for the mean is one."""
    choice, runs = two_lines()
    assert set(choice.not_excluded) == {"known", "free"}
    exact = {k: Conjugate(run.posterior) for k, run in runs.items()}
    F = np.array([exact[k].free_energy() for k in choice.not_excluded])
    p = np.exp(F.min() - F) / np.exp(F.min() - F).sum()
    at = [exact[k].tempered(1.0) for k in choice.not_excluded]
    for text, weights in (("offset", (1.0, 0.0)), ("end=offset+slope", (1.0, 1.0))):
        m = np.array([mean @ np.array(weights)[: len(mean)] + (
            0.6 * weights[1] if len(mean) == 1 else 0.0) for mean, _ in at])
        v = np.array([np.array(weights)[: len(mean)] @ C @ np.array(weights)[: len(mean)]
                      for mean, C in at])
        found = averaged(choice, runs, text)
        assert within(found.mean, p @ m, found.error)
        variance = p @ (v + (m - p @ m) ** 2)
        assert found.sd == pytest.approx(math.sqrt(variance), rel=0.03)
        assert list(found.weights.values()) == pytest.approx(p, abs=0.03)
        assert found.low95 < found.low68 < found.median < found.high68 < found.high95
    # Between models: one of them alone claims less than the mixture.
    assert variance > 1.05 * v.min()
    assert "averaged over" in str(found)


def test_an_average_needs_the_quantity_everywhere() -> None:
    choice, runs = two_lines()
    assert common(choice, runs) == ["offset", "slope"]
    with pytest.raises(InputError, match="no sigma in the model"):
        averaged(choice, runs, "sigma")
    assert average_of(choice, runs, "l=log(slope - 0.7)") is None      # slope = 0.6 has none
    with pytest.raises(InputError, match="a value in every draw"):
        averaged(choice, runs, "l=log(slope - 0.7)")


def test_one_model_alone_is_averaged_to_itself() -> None:
    runs = {"only": line_run(2000)}
    found, row = averaged(choose(runs), runs, "offset"), derive(runs["only"], "o=offset").row()
    for key in ("mean", "sd"):
        assert getattr(found, key) == pytest.approx(row[key], rel=1e-9)
    for key in ("low95", "low68", "median", "high68", "high95"):
        assert getattr(found, key) == pytest.approx(row[key], abs=0.003 * row["sd"])
