"""Shapes by hand, what their widths mean, and the models that the instruments build."""

import math
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy import integrate, optimize

from sampler import Data, Formula, InputError, LogUniform, Model, Posterior, Uniform, shapes
from sampler.instruments import peaks, relaxation
from sampler.priors import in_words

X = np.linspace(0.0, 5.0, 41)
LN2 = math.log(2)
# Typed independently of sympy, with the argument order that `parameters` promises.
BY_HAND: dict[str, Any] = {
    "gaussian": lambda x, h, c, w: h * 0.5 ** ((2 * (x - c) / w) ** 2),
    "lorentzian": lambda x, h, c, w: h * (w / 2) ** 2 / ((x - c) ** 2 + (w / 2) ** 2),
    "pseudo_voigt": lambda x, h, c, w, m: h * (
        m * (w / 2) ** 2 / ((x - c) ** 2 + (w / 2) ** 2)
        + (1 - m) * np.exp(-((x - c) ** 2) / (2 * (w / math.sqrt(8 * LN2)) ** 2))),
    "exponential": lambda x, a, r: a / np.exp(r * x),
    "stretched_exponential": lambda x, a, r, b: a * np.exp(-np.power(r * x, b)),
    "recovery": lambda x, a, r: -a / np.exp(r * x),
    "stretched_recovery": lambda x, a, r, b: -a * np.exp(-np.power(r * x, b)),
    "constant": lambda x, c: np.full_like(x, 1.0) * c,
    "linear": lambda x, c, s: c + s * x}
PARAMETERS = {
    "gaussian": "height center width", "lorentzian": "height center width",
    "pseudo_voigt": "height center width mixing", "exponential": "amplitude rate",
    "stretched_exponential": "amplitude rate stretching", "recovery": "amplitude rate",
    "stretched_recovery": "amplitude rate stretching", "constant": "offset",
    "linear": "offset slope"}
LINES = ("gaussian", "lorentzian", "pseudo_voigt")


def evaluated(model: Model, values: dict[str, Any], x: Any = X) -> np.ndarray:
    """The curve of a model at named values."""
    posterior = Posterior(model, Data(x, np.zeros(len(x)), noise=1.0))
    assert set(values) == set(posterior.names)
    return posterior.predict([values[n] for n in posterior.names])


# --- shapes ------------------------------------------------------------------------------------


def test_every_shape_has_a_twin_by_hand() -> None:
    ours = {n for n, v in vars(shapes).items() if isinstance(v, Formula)}
    assert ours == set(BY_HAND) == set(PARAMETERS)


@pytest.mark.parametrize("name", BY_HAND)
def test_shapes_are_the_formulas_typed_by_hand(name: str) -> None:
    """60 random parameter sets and 41 positions each, x = 0 included."""
    formula = getattr(shapes, name)
    assert " ".join(formula.parameters) == PARAMETERS[name]
    assert formula.name == name
    g = np.random.default_rng(7)
    for _ in range(60):
        values = g.uniform(0.05, 3.0, size=len(formula.parameters))
        if "mixing" in formula.parameters:
            values[-1] /= 3.0
        model = Model.single(formula, **dict.fromkeys(formula.parameters, (0, 3)))
        found = evaluated(model, dict(zip(formula.parameters, values, strict=True)))
        assert found == pytest.approx(BY_HAND[name](X, *values), rel=1e-11, abs=1e-13)


def curve(name: str, *values: float) -> Any:
    """A shape as a function of one number."""
    formula = getattr(shapes, name)
    at = {sp.Symbol(n, real=True): v for n, v in zip(formula.parameters, values, strict=True)}
    return sp.lambdify(shapes.x, formula.expression.subs(at), modules="math")


@pytest.mark.parametrize("mixing", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("name", LINES)
def test_width_is_the_full_width_at_half_maximum(name: str, mixing: float) -> None:
    """Found by root finding on either side; a width that is a standard deviation or a half width
    would be off by 2.35 or 2."""
    height, center, width = 2.5, 0.7, 1.3
    line = curve(name, height, center, width, *([mixing] if name == "pseudo_voigt" else []))
    assert line(center) == pytest.approx(height, rel=1e-14)
    right = optimize.brentq(lambda v: line(v) - height / 2, center, center + 3 * width, xtol=1e-14)
    left = optimize.brentq(lambda v: line(v) - height / 2, center - 3 * width, center, xtol=1e-14)
    assert right - left == pytest.approx(width, rel=1e-12)
    assert (right + left) / 2 == pytest.approx(center, rel=1e-12)


AREA = {"gaussian": math.sqrt(math.pi / LN2) / 2, "lorentzian": math.pi / 2}


@pytest.mark.parametrize("name", AREA)
def test_area_is_height_times_width_times_a_known_number(name: str) -> None:
    line = curve(name, 2.5, 0.7, 1.3)
    area = 2 * integrate.quad(line, 0.7, math.inf, epsrel=1e-10)[0]
    assert area == pytest.approx(2.5 * 1.3 * AREA[name], rel=1e-9)


def test_a_pseudo_voigt_mixes_curves_of_equal_height_and_width() -> None:
    both = BY_HAND["gaussian"](X, 2.0, 1.5, 0.8), BY_HAND["lorentzian"](X, 2.0, 1.5, 0.8)
    model = Model.single(shapes.pseudo_voigt, height=(0, 3), center=(0, 3), width=(0, 3),
                         mixing=(0, 1))
    for mixing, wanted in ((0.0, both[0]), (1.0, both[1]), (0.25, 0.75 * both[0] + 0.25 * both[1])):
        found = evaluated(model, {"height": 2.0, "center": 1.5, "width": 0.8, "mixing": mixing})
        assert found == pytest.approx(wanted, rel=1e-12)


def test_the_standard_deviation_of_a_gaussian_line() -> None:
    line, s = curve("gaussian", 1.0, 0.0, 1.3), 1.3 / math.sqrt(8 * LN2)
    zero, two = (integrate.quad(lambda v, k=k: v**k * line(v), -8 * s, 8 * s, epsabs=1e-13)[0]
                 for k in (0, 2))
    assert math.sqrt(two / zero) == pytest.approx(s, rel=1e-9)


def test_stretching_one_is_the_plain_exponential_and_a_rate_is_where_it_falls_to_one_over_e(
        ) -> None:
    for b in (0.4, 1.0, 1.7):
        line = curve("stretched_exponential", 3.0, 0.5, b)
        assert line(2.0) == pytest.approx(3.0 / math.e, rel=1e-13)
        assert line(0.0) == 3.0
        assert (line(1.0) == pytest.approx(curve("exponential", 3.0, 0.5)(1.0))) == (b == 1.0)


@pytest.mark.parametrize("degree", [0, 1, 2, 5])
def test_a_polynomial_has_one_coefficient_a_power(degree: int) -> None:
    formula = shapes.polynomial(degree)
    names = tuple(f"c{k}" for k in range(degree + 1))
    assert formula.parameters == names
    values = np.random.default_rng(1).normal(size=degree + 1)
    found = evaluated(Model.single(formula, **dict.fromkeys(names, (-9, 9))),
                      dict(zip(names, values, strict=True)))
    assert found == pytest.approx(np.polynomial.polynomial.polyval(X, values), rel=1e-12)
    assert shapes.polynomial(degree) is formula


@pytest.mark.parametrize("degree", [-1, 21, 1.0, "2", None])
def test_degrees_that_make_no_sense_are_refused(degree: Any) -> None:
    with pytest.raises(InputError, match="0 to 20"):
        shapes.polynomial(degree)


a, x, real_a = sp.Symbol("a"), sp.Symbol("x"), sp.Symbol("a", real=True)


@pytest.mark.parametrize(("expression", "parameters", "words"), [
    ("a*x", (), "a sympy expression"), (None, (), "a sympy expression"), (a < x, (), "expression"),
    (2.0, (), "a sympy expression"), (a * x + real_a, (), "one symbol only"),
    (a * x, ("b",), "names in the expression"), (a * x, ("a", "a"), "names in the expression"),
    (a * x, ("a", "x"), "names in the expression"), (sp.Symbol("pi") * x, (), "pi")])
def test_bad_formulas_are_refused(expression: Any, parameters: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Formula("mine", expression, parameters)


def test_assumptions_of_a_users_symbols_do_not_matter() -> None:
    ours = Formula("f", a * x)
    assert ours == Formula("f", real_a * shapes.x)
    assert ours == Formula("f", sp.Symbol("a", positive=True) * sp.Symbol("x", positive=True))


# --- spectra -----------------------------------------------------------------------------------

LINE_PRIORS: dict[str, Any] = {"height": (0, 3), "center": (0, 5), "width": (0.1, 1)}
MEASURED = Data(X, np.sin(X) + 1.5, noise=0.1)


def line_priors(shape: str) -> dict[str, Any]:
    return LINE_PRIORS | ({"mixing": (0, 1)} if shape == "pseudo_voigt" else {})


@pytest.mark.parametrize("shape", LINES)
@pytest.mark.parametrize("K", [0, 1, 3])
def test_peaks_are_k_lines_of_one_shape(shape: str, K: int) -> None:
    model = peaks.peaks(K, shape, **line_priors(shape))
    each = PARAMETERS[shape].split()
    assert model.free == tuple(f"peak{k}_{n}" for k in range(1, K + 1) for n in each)
    values = dict(zip(model.free, np.random.default_rng(2).uniform(
        0.2, 0.9, len(model.free)), strict=True))
    wanted = sum((BY_HAND[shape](X, *(values[f"peak{k}_{n}"] for n in each))
                  for k in range(1, K + 1)), start=np.zeros(len(X)))
    assert evaluated(model, values) == pytest.approx(wanted, rel=1e-11, abs=1e-13)


def test_peaks_share_fix_and_take_another_prefix() -> None:
    model = peaks.peaks(2, prefix="line", height=(0, 3), center=(0, 5), width="width",
                        priors={"width": 0.5})
    assert model.free == ("line1_height", "line1_center", "line2_height", "line2_center")
    assert peaks.peaks(1, **LINE_PRIORS) == peaks.peaks(1, "gaussian", **LINE_PRIORS)


@pytest.mark.parametrize("shape", ["sawtooth", "Gaussian", "", None, 3, "voigt"])
def test_unknown_lines_are_refused_with_the_choices(shape: Any) -> None:
    with pytest.raises(InputError, match="gaussian, lorentzian, pseudo_voigt") as caught:
        peaks.peaks(1, shape, **LINE_PRIORS)
    assert caught.value.field == "shape"


@pytest.mark.parametrize(("K", "changes", "words"), [
    (-1, {}, "K"), (1.0, {}, "K"), (1, {"mixing": (0, 1)}, "mixing"), (1, {"hight": 1.0}, "hight"),
    (1, {"width": (1, 0)}, "Uniform"), (1, {"prefix": "my peak"}, "parameter name")])
def test_bad_peaks_are_refused(K: Any, changes: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        peaks.peaks(K, **{**LINE_PRIORS, **changes})


def test_default_priors_of_peaks_follow_the_data() -> None:
    data = Data([0, 1, 3, 5, 10, 20], [-1, 2, 3, 1, 0, 0], noise=1.0)    # median spacing 2
    found = peaks.default_priors(data, "pseudo_voigt")
    assert found == {"height": Uniform(0, 1.2 * 4), "center": Uniform(0, 20),
                     "width": Uniform(4, 10), "mixing": Uniform(0, 1)}
    assert set(peaks.default_priors(data)) == {"height", "center", "width"}
    turned = Data(data.x[::-1], data.y[::-1], noise=1.0)
    assert peaks.default_priors(turned) == peaks.default_priors(data)
    # A unit is only a unit: x in other units changes the priors by the same factor.
    scaled = peaks.default_priors(Data(1000 * data.x, data.y, noise=1.0))
    assert scaled["width"] == Uniform(4000, 10_000) and scaled["center"] == Uniform(0, 20_000)
    few = peaks.default_priors(Data([0, 4, 8], [0, 1, 0], noise=1.0))
    assert few["width"] == Uniform(2, 4)                 # two spacings would be the whole range


@pytest.mark.parametrize(("x", "y"), [
    ([0, 1], [0, 1]), ([0, 1, 1, 1, 2], [1, 2, 3, 2, 1]), ([0, 1, 2], [0, 0, 0]),
    ([0, 1, 2], [-5, -5, -5]), ([-3, -2, -1], [-1, -4, -2]), ([0, 1e-9], [1e9, 2e9])])
def test_default_priors_exist_for_every_curve(x: Any, y: Any) -> None:
    """Flat, negative, of two points: the priors are proper, and said in words."""
    data = Data(x, y, noise=1.0)
    for shape in LINES:
        for kind in peaks.BACKGROUNDS:
            found = peaks.default_priors(data, shape)
            model = peaks.background(kind, data) + peaks.peaks(1, shape, **found)
            posterior = Posterior(model, data)
            draws = posterior.draw_prior(20, seed=0)
            assert np.all(np.isfinite(posterior.log_prior(draws)))
            assert np.all(np.isfinite(posterior.energy(draws)))
            assert all(in_words(p).startswith("uniform from") for p in posterior.priors.values())


def test_peaks_need_two_positions() -> None:
    for data in (Data([1.0], [1.0], noise=1.0), Data([2, 2, 2], [1, 2, 3], noise=1.0)):
        with pytest.raises(InputError, match="two positions"):
            peaks.default_priors(data)


# --- backgrounds -------------------------------------------------------------------------------

BACKGROUND = {"none": (), "constant": ("background_offset",),
              "linear": ("background_offset", "background_slope"),
              "exponential": ("background_amplitude", "background_rate")}


@pytest.mark.parametrize("kind", BACKGROUND)
def test_backgrounds_have_the_names_and_the_curve_they_promise(kind: str) -> None:
    model = peaks.background(kind, MEASURED)
    assert model.free == BACKGROUND[kind]
    values = dict(zip(model.free, (0.7, 0.3), strict=False))
    by_hand = {"none": 0 * X, "constant": 0.7 + 0 * X, "linear": 0.7 + 0.3 * X,
               "exponential": 0.7 * np.exp(-0.3 * X)}
    assert evaluated(model, values) == pytest.approx(by_hand[kind], rel=1e-13)
    assert set(peaks.BACKGROUNDS) == set(BACKGROUND)


@pytest.mark.parametrize("kind", ["cubic", "", None, "Linear", 1])
def test_unknown_backgrounds_are_refused_with_the_choices(kind: Any) -> None:
    with pytest.raises(InputError, match="none, constant, linear, exponential"):
        peaks.background(kind, MEASURED)


DATA = Data([10, 12, 14], [1.0, 3.0, 2.0], noise=1.0)      # spread 2, a tenth beyond: 0.8 to 3.2


def test_background_priors_are_those_of_the_docstrings() -> None:
    assert peaks.constant_background(DATA).priors["background_offset"] == Uniform(0.8, 3.2)
    slope = peaks.linear_background(DATA).priors["background_slope"]
    assert isinstance(slope, Uniform)
    assert (slope.lo, slope.hi) == pytest.approx((-2.4 / 4, 2.4 / 4))
    decay = peaks.exponential_background(DATA).priors
    assert decay["background_amplitude"] == Uniform(0, 6.0)
    assert decay["background_rate"] == Uniform(0, 2.5)


@pytest.mark.parametrize("shift", [-20.0, -12.0, 0.0, 1000.0])
def test_any_line_that_meets_the_data_is_in_the_prior(shift: float) -> None:
    """A line of a permitted slope through any point of the box of the data, wherever x = 0 is."""
    data = Data(DATA.x + shift, DATA.y, noise=1.0)
    priors = peaks.linear_background(data).priors
    slope, offset = priors["background_slope"], priors["background_offset"]
    assert isinstance(slope, Uniform) and isinstance(offset, Uniform)
    corners = [y - s * x for s in (slope.lo, slope.hi) for x in data.x_range for y in (0.8, 3.2)]
    assert offset.lo <= min(corners) + 1e-9
    assert offset.hi >= max(corners) - 1e-9


# --- relaxation --------------------------------------------------------------------------------

RATES: dict[str, Any] = {"offset": (0, 1), "amplitude": (0, 2), "rate": LogUniform(0.1, 10)}


@pytest.mark.parametrize("direction", relaxation.DIRECTIONS)
@pytest.mark.parametrize("shape", relaxation.SHAPES)
@pytest.mark.parametrize("K", [0, 1, 2])
def test_relaxation_is_an_offset_and_k_components(shape: str, direction: str, K: int) -> None:
    stretched = shape == "stretched"
    priors = RATES | ({"stretching": (0.1, 1)} if stretched else {})
    model = relaxation.relaxation(K, shape, direction, **priors)
    each = ("amplitude", "rate", "stretching")[:3 if stretched else 2]
    assert model.free == ("offset", *(f"component{k}_{n}" for k in range(1, K + 1) for n in each))
    values = dict(zip(model.free, np.random.default_rng(4).uniform(
        0.2, 1.0, len(model.free)), strict=True))
    wanted, sign = np.full(len(X), values["offset"]), {"decay": 1.0, "recovery": -1.0}[direction]
    for k in range(1, K + 1):
        b = values.get(f"component{k}_stretching", 1.0)
        wanted += sign * values[f"component{k}_amplitude"] * np.exp(
            -((values[f"component{k}_rate"] * X) ** b))
    assert evaluated(model, values) == pytest.approx(wanted, rel=1e-12)


def test_components_of_another_prefix_share_what_is_named() -> None:
    model = relaxation.relaxation(2, "stretched", "recovery", prefix="spin", **RATES,
                                  stretching="b", priors={"b": (0, 1)})
    assert model.free == ("offset", "spin1_amplitude", "spin1_rate", "b",
                          "spin2_amplitude", "spin2_rate")


@pytest.mark.parametrize(("arguments", "changes", "field", "words"), [
    ((1, "gaussian"), {}, "shape", "exponential, stretched"),
    ((1, None), {}, "shape", "exponential, stretched"),
    ((1, "exponential", "sideways"), {}, "direction", "decay, recovery"),
    ((1, "exponential", "Decay"), {}, "direction", "decay, recovery"),
    ((1, "exponential"), {"stretching": (0, 1)}, "parameter stretching of exponential", "unknown"),
    ((1, "stretched"), {}, "parameter stretching of stretched_exponential", "missing"),
    ((-1,), {}, "K", "whole number"), ((1,), {"rate": (1, 0)}, "Uniform", "lo < hi")])
def test_bad_relaxations_are_refused_with_the_choices(
        arguments: Any, changes: Any, field: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        relaxation.relaxation(*arguments, **{**RATES, **changes})
    assert caught.value.field == field


def test_a_relaxation_needs_an_offset() -> None:
    given = {n: p for n, p in RATES.items() if n != "offset"}
    with pytest.raises(InputError, match="prior of offset"):
        relaxation.relaxation(1, **given)


def test_default_priors_of_relaxation_follow_the_data() -> None:
    data = Data([0, 0.1, 2, 10], [-1.0, 0.5, 2.0, 3.0], noise=0.1)
    found = relaxation.default_priors(data, "stretched")
    assert found == {"offset": Uniform(-17, 19), "amplitude": Uniform(0, 20),
                     "rate": LogUniform(1 / 30, 30.0), "stretching": Uniform(0, 1)}
    assert set(relaxation.default_priors(data)) == {"offset", "amplitude", "rate"}
    for shape in relaxation.SHAPES:
        for direction in relaxation.DIRECTIONS:
            posterior = Posterior(relaxation.relaxation(
                2, shape, direction, **relaxation.default_priors(data, shape)), data)
            draws = posterior.draw_prior(30, seed=0)
            assert np.all(np.isfinite(posterior.energy(draws) + posterior.log_prior(draws)))
            assert all("from" in in_words(p) for p in posterior.priors.values())


@pytest.mark.parametrize("times", [[-1.0, 1.0], [0.0, 0.0], [-1e-9, 5.0], [-2.0, -1.0]])
def test_relaxation_needs_times_that_are_not_negative(times: list[float]) -> None:
    with pytest.raises(InputError, match="times >= 0") as caught:
        relaxation.default_priors(Data(times, [0, 1], noise=1.0))
    assert caught.value.field == "x"


@pytest.mark.parametrize("y", [[2.0, 2.0], [0.0, 0.0], [-3.0, -3.0]])
def test_a_flat_relaxation_still_has_proper_priors(y: list[float]) -> None:
    found = relaxation.default_priors(Data([1, 2], y, noise=1.0))
    assert found["amplitude"].hi == 5.0 * (abs(y[0]) or 1.0)
    assert found["offset"].lo < y[0] < found["offset"].hi
