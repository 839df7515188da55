"""Models, data and posteriors: names and sharing, what is refused, and every energy by hand."""

import math
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from sampler import (
    Bernoulli,
    Beta,
    Data,
    Formula,
    Gamma,
    InputError,
    InverseGamma,
    LogUniform,
    Model,
    Normal,
    Ordered,
    Posterior,
    Uniform,
    joint,
    shapes,
)
from sampler.printing import pieces
from sampler.priors import Fixed

BOXES: dict[str, Any] = {"height": (0, 3), "center": (0, 5), "width": (0.1, 1)}
X = np.linspace(0.0, 4.0, 9)
Y = np.array([1.0, 0.5, 0.7, 2.0, 1.0, 0.1, 0.3, 0.2, 0.0])


def refused(field: str, make: Any, *args: Any, **keywords: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        make(*args, **keywords)
    assert caught.value.field == field, caught.value
    return caught.value


# --- names and sharing -------------------------------------------------------------------------


def two(**changes: Any) -> Model:
    shared = changes.pop("priors", None)
    return Model.repeated(2, shapes.gaussian, priors=shared, **{**BOXES, **changes})


def test_components_are_numbered_and_named_by_parameter() -> None:
    assert two().names == two().free == (
        "peak1_height", "peak1_center", "peak1_width",
        "peak2_height", "peak2_center", "peak2_width")
    assert Model.repeated(1, shapes.exponential, "component", amplitude=(0, 1),
                          rate=(0, 1)).free == ("component1_amplitude", "component1_rate")
    assert Model.single(shapes.linear, "background_", offset=(0, 1), slope=(0, 1)).free == (
        "background_offset", "background_slope")
    assert Model.repeated(0, shapes.gaussian, **BOXES) == Model()


@pytest.mark.parametrize(("model", "free", "fixed"), [
    (two(width="w", priors={"w": (0.1, 1)}),
     ("peak1_height", "peak1_center", "w", "peak2_height", "peak2_center"), {}),
    (two(width=0.5), ("peak1_height", "peak1_center", "peak2_height", "peak2_center"),
     {"peak1_width": 0.5, "peak2_width": 0.5}),
    (two(width="w", priors={"w": 0.5}),
     ("peak1_height", "peak1_center", "peak2_height", "peak2_center"), {"w": 0.5}),
    (two(width="w", height="w", priors={"w": (0.1, 1)}), ("w", "peak1_center", "peak2_center"), {}),
    (Model.single(shapes.linear, offset=1.0, slope=-2), (), {"offset": 1.0, "slope": -2.0}),
    (two() + Model.single(shapes.constant, offset="peak1_height",
                          priors={"peak1_height": (0, 3)}), two().free, {}),
    (Model.single(shapes.constant, offset=(0, 1)) + Model.single(shapes.constant, offset=(0, 1)),
     ("offset",), {})])
def test_numbers_fix_and_strings_share(model: Model, free: Any, fixed: Any) -> None:
    posterior = Posterior(model, Data(X, Y, noise=1.0))
    assert model.free == posterior.names == free
    assert posterior.fixed == fixed
    assert posterior.dimension == len(free)


def test_a_shared_parameter_moves_every_term_it_is_in() -> None:
    model = two(width="w", priors={"w": (0.1, 1)})
    posterior = Posterior(model, Data(X, Y, noise=1.0))
    theta = np.array([2.0, 1.0, 0.7, 0.5, 3.0])       # height, center, w, height, center
    parts = posterior.terms(theta)
    assert list(parts) == ["peak1", "peak2"]
    for (height, center), curve in zip([(2.0, 1.0), (0.5, 3.0)], parts.values(), strict=True):
        assert curve == pytest.approx(
            height * 2.0 ** (-4 * ((X - center) / 0.7) ** 2), rel=1e-12)
    assert posterior.predict(theta) == pytest.approx(parts["peak1"] + parts["peak2"], rel=1e-14)


@pytest.mark.parametrize(("change", "free"), [
    ({"height": "h"}, ("peak1_h", "peak1_center", "peak1_width",
                       "peak2_h", "peak2_center", "peak2_width")),
    ({"peak1_height": "top"}, ("top", "peak1_center", "peak1_width",
                               "peak2_height", "peak2_center", "peak2_width")),
    ({"height": "h", "center": "c", "width": "w"},
     ("peak1_h", "peak1_c", "peak1_w", "peak2_h", "peak2_c", "peak2_w"))])
def test_renaming_reaches_every_component_and_keeps_priors(change: Any, free: Any) -> None:
    model = two(center=Ordered(Uniform(0, 5)))
    new = model.renamed(**change)
    assert new.free == free
    assert list(new.priors.values()) == list(model.priors.values())
    assert len(new.orderings[0]) == 2 and set(new.orderings[0]) <= set(free)
    assert model.free == two().free                      # the old one is as it was
    before, after = (Posterior(m, Data(X, Y, noise=1.0)) for m in (model, new))
    theta = before.draw_prior(5, seed=1)
    assert np.array_equal(after.predict(theta), before.predict(theta))


def test_renaming_takes_only_whole_names() -> None:
    model = Model.single(shapes.linear, offset=(0, 1), slope=(0, 1)) + Model.single(
        Formula("far", sp.Symbol("faroffset") * sp.Symbol("x")), faroffset=(0, 1))
    assert model.renamed(offset="level").free == ("level", "slope", "faroffset")


@pytest.mark.parametrize("change", [
    {"hight": "h"}, {"height": "center"}, {"peak1_height": "peak2_height"},
    {"height": "h h"}, {"height": "1"}, {"height": ""}])
def test_bad_renamings_are_refused(change: Any) -> None:
    with pytest.raises(InputError):
        two().renamed(**change)


def test_other_priors_by_full_name_or_for_every_component() -> None:
    model = two().with_priors({"peak_width": Gamma(2, 3), "peak2_height": 1.5,
                               "peak1_center": (1, 2)})
    assert model.priors["peak1_width"] == model.priors["peak2_width"] == Gamma(2, 3)
    assert model.priors["peak2_height"] == Fixed(1.5)
    assert model.priors["peak1_center"] == Uniform(1, 2)
    assert model.priors["peak2_center"] == two().priors["peak2_center"]
    assert model.terms == two().terms
    assert two().with_priors({}) == two()


def test_orderings_come_and_go_with_the_prior() -> None:
    pair = ("peak1_center", "peak2_center")
    ordered = two().with_priors({"peak_center": Ordered(Uniform(0, 4))})
    assert ordered == two(center=Ordered(Uniform(0, 4)))
    assert ordered.orderings == (pair,)
    assert ordered.with_priors({"peak_center": (0, 4)}).orderings == ()
    assert ordered.with_priors({"peak1_center": 1.0}).orderings == ()
    assert ordered.with_priors({"peak_width": 1.0}).orderings == (pair,)
    posterior = Posterior(ordered, Data(X, Y, noise=1.0))
    theta = np.array([1, 1, 0.5, 1, 2, 0.5])
    places = [posterior.names.index(n) for n in pair]
    plain = posterior.log_prior(theta) - math.log(2)
    assert plain == pytest.approx(-2 * math.log(3) - 2 * math.log(4) - 2 * math.log(0.9))
    theta[places] = theta[places[::-1]]
    assert posterior.log_prior(theta) == -math.inf
    theta[places] = 1.0
    assert posterior.log_prior(theta) == -math.inf


@pytest.mark.parametrize(("make", "field"), [
    (lambda: Model.repeated(-1, shapes.gaussian, **BOXES), "K"),
    (lambda: Model.repeated(True, shapes.gaussian, **BOXES), "K"),
    (lambda: Model.repeated(2.0, shapes.gaussian, **BOXES), "K"),  # type: ignore[arg-type]
    (lambda: Model.repeated(1, "gaussian", **BOXES), "formula"),  # type: ignore[arg-type]
    (lambda: Model.single(None), "formula"),  # type: ignore[arg-type]
    (lambda: Model.single(shapes.linear, offset=(0, 1)), "parameter slope of linear"),
    (lambda: Model.single(shapes.constant, offset=(0, 1), slope=(0, 1)),
     "parameter slope of constant"),
    (lambda: two(width=(1, 0)), "Uniform"), (lambda: two(width=math.nan), "Fixed.value"),
    (lambda: two(width=None), "prior of peak1_width"),
    (lambda: two(width=[0, 1]), "prior of peak1_width"),
    (lambda: two(width=True), "prior of peak1_width"),
    (lambda: two(width="nobody"), "prior of nobody"),
    (lambda: two(width="w w", priors={"w w": (0, 1)}), "parameter name"),
    (lambda: two(width="2w", priors={"2w": (0, 1)}), "parameter name"),
    (lambda: two(width="w", priors={"w": "v"}), "prior of w"),
    (lambda: two() + Model.single(shapes.constant, offset="peak1_height",
                                  priors={"peak1_height": (0, 4)}), "prior of peak1_height"),
    (lambda: two().with_priors({"peak3_width": 1.0}), "prior"),
    (lambda: two().with_priors({"width": 1.0}), "prior"),
    (lambda: two().with_priors({"peak1_width": "w"}), "prior of peak1_width")])
def test_bad_models_are_refused_by_field(make: Any, field: str) -> None:
    refused(field, make)


def test_models_are_frozen_and_add_only_to_models() -> None:
    with pytest.raises(FrozenInstanceError):
        two().terms = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        two() + 1  # type: ignore[operator]
    assert two() + Model() == two() == Model() + two()


@pytest.mark.parametrize(("formula", "wanted"), [
    (shapes.gaussian, {"height"}), (shapes.lorentzian, {"height"}),
    (shapes.pseudo_voigt, {"height"}), (shapes.exponential, {"amplitude"}),
    (shapes.stretched_recovery, {"amplitude"}), (shapes.constant, {"offset"}),
    (shapes.linear, {"offset", "slope"}), (shapes.polynomial(3), {"c0", "c1", "c2", "c3"}),
    (Formula("square", sp.Symbol("a") ** 2 * sp.Symbol("x")), set()),
    (Formula("switched", sp.Symbol("a") * sp.Symbol("s") * sp.exp(-sp.Symbol("x"))), {"a", "s"}),
    (Formula("twice", sp.Symbol("a") * sp.exp(-sp.Symbol("a") * sp.Symbol("x"))), set())],
    ids=lambda v: getattr(v, "name", None))
def test_linear_parameters_are_found_and_only_those(formula: Formula, wanted: Any) -> None:
    """By definition: in a linear parameter f(1) - f(0) = f(2) - f(1), everything else held."""
    assert {n for piece in pieces(formula) for n in piece.amplitudes} == wanted
    g = np.random.default_rng(3)
    names = formula.parameters
    posterior = Posterior(Model.single(formula, **dict.fromkeys(names, (0.1, 3.0))),
                          Data(X + 0.5, Y, noise=1.0))
    base = g.uniform(0.3, 0.9, size=len(names))
    for name in names:
        rows = np.stack([base] * 3)
        rows[:, posterior.names.index(name)] = [0.25, 0.5, 0.75]
        low, middle, high = posterior.predict(rows)
        straight = np.allclose(high - middle, middle - low, rtol=1e-9, atol=1e-12)
        assert straight or name not in wanted
        assert straight == (name in wanted) or name == "mixing"  # linear, but in two summands


# --- data: refused -----------------------------------------------------------------------------

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(("x", "y", "noise", "field"), [
    ([0, 1, 2], [1, NAN, NAN], 1.0, "y[1]"), ([0, 1, INF], [1, 2, 3], 1.0, "x[2]"),
    ([0, -INF], [1, NAN], 1.0, "x[1]"), ([], [], 1.0, "x"), ([0, 1], [1], 1.0, "y"),
    ([0], [1, 2], 1.0, "y"), (0.0, 1.0, 1.0, "x"), ([[0, 1]], [1, 2], 1.0, "x"),
    ([0, 1], [[1], [2]], 1.0, "y"), (["a", "b"], [1, 2], 1.0, "x"), ([0, 1], None, 1.0, "y"),
    ([0, 1], [1 + 1j, 2], 1.0, "y"), ([0, 1], {0: 1, 1: 2}, 1.0, "y"), ("01", [1, 2], 1.0, "x"),
    ([0, 1], [None, 1], 1.0, "y[0]"), ([True, False], [1, 2], 1.0, "x"),
    ([0, 1], np.ma.masked_array([1, 2], [False, True]), 1.0, "y"),
    (np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]"), [1, 2], 1.0, "x"),
    ([0, 1], [1, 2], 0.0, "noise"), ([0, 1], [1, 2], -0.5, "noise"), ([0, 1], [1, 2], NAN,
                                                                      "noise"),
    ([0, 1], [1, 2], INF, "noise"), ([0, 1], [1, 2], [0.1, 0.0], "noise[1]"),
    ([0, 1], [1, 2], [0.1, -1.0], "noise[1]"), ([0, 1], [1, 2], [0.1, NAN], "noise[1]"),
    ([0, 1], [1, 2], [0.1], "noise"), ([0, 1], [1, 2], [0.1] * 3, "noise"),
    ([0, 1], [1, 2], "loud", "noise"), ([0, 1], [1, 2], None, "noise"),
    ([0, 1], [1, 2], (0.1, 1.0), "noise"), ([0, 1], [1, 2], True, "noise"),
    ([0, 1], [1, 2], Normal(0, 1), "prior of the noise"),
    ([0, 1], [1, 2], Uniform(-1, 1), "prior of the noise"),
    ([0, 1], [1, -2e150], 0.1, "y[1]"), ([1e200, 1], [1, 2], 0.1, "x[0]"),
    ([0, 1], [1, -2], "poisson", "y[1]"), ([0, 1], [1.5, 2], "poisson", "y[0]"),
    ([0, 1], [1, 1e-2], "poisson", "y[1]")])
def test_bad_data_are_refused_by_field_and_first_index(
        x: Any, y: Any, noise: Any, field: str) -> None:
    refused(field, Data, x, y, noise=noise)


@pytest.mark.parametrize(("sigma", "field"), [
    ([0.1], "sigma"), ([0.1, 0.0], "sigma[1]"), ([NAN, 0.1], "sigma[0]"), ("big", "sigma"),
    (-1.0, "sigma"), ([[0.1, 0.1]], "sigma")])
def test_bad_sigma_is_refused_by_index(sigma: Any, field: str) -> None:
    refused(field, Data, [0, 1], [1, 2], noise="unknown", sigma=sigma)


def test_noise_and_sigma_are_not_both_given() -> None:
    refused("sigma", Data, [0, 1], [1, 2], noise=0.1, sigma=[0.1, 0.2])
    refused("sigma", Data, [0, 1], [1, 2], noise="poisson", sigma=[0.1, 0.2])


# --- data: simply right ------------------------------------------------------------------------


@pytest.mark.parametrize("form", [
    lambda v: np.repeat(v, 3)[::3], lambda v: v[::-1].copy()[::-1], lambda v: v.astype(">f8"),
    lambda v: v.astype("<f8"), list, tuple, lambda v: np.stack([v, v], axis=1)[:, 0],
    lambda v: v.astype(object), lambda v: np.ma.masked_array(v, np.zeros(len(v), bool)),
    memoryview])
@pytest.mark.parametrize("law", ["known", "each", "factor"])
def test_any_layout_of_an_array_gives_the_same_numbers(form: Any, law: str) -> None:
    each = np.linspace(0.1, 0.5, 9)

    def made(shaped: Any) -> Posterior:
        noise: Any = {"known": 0.3, "each": shaped(each), "factor": "unknown"}[law]
        data = Data(shaped(X), shaped(Y), noise, sigma=shaped(each) if law == "factor" else None)
        return Posterior(Model.single(shapes.linear, offset=(0, 1), slope=(0, 1)), data)

    plain, other = made(np.copy), made(form)
    theta = plain.draw_prior(7, seed=1)
    assert np.array_equal(plain.energy(theta), other.energy(theta))
    assert plain.constant == other.constant
    for block in other.blocks:
        for column in (block.data.x, block.data.y, block.data.deviation):
            assert column.dtype == np.float64 and column.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["i1", "u2", ">i4", "i8", "f2", ">f4", "f8"])
def test_any_real_type_gives_the_same_numbers(dtype: str) -> None:
    y = np.array([0, 3, 7, 120])
    assert Data(np.arange(4), y.astype(dtype), noise="poisson").y.tolist() == y.tolist()


def test_the_users_arrays_are_neither_changed_nor_kept() -> None:
    x, y, each = X.copy(), Y.copy(), np.linspace(0.1, 0.5, 9)
    data = Data(x, y, noise=each)
    assert x.flags.writeable and y.flags.writeable and each.flags.writeable
    x[0] = y[0] = each[0] = 77.0
    assert (data.x[0], data.y[0], data.deviation[0]) == (X[0], Y[0], 0.1)
    for column in (data.x, data.y, data.deviation):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1.0
    nearly = np.array([1.0, 2.0004])
    counts = Data([0, 1], nearly, noise="poisson")
    assert counts.y.tolist() == [1.0, 2.0]
    assert nearly[1] == 2.0004
    assert any("rounded" in note for note in counts.notes)


@pytest.mark.parametrize(("keywords", "name", "prior"), [
    ({"noise": "unknown"}, "sigma", LogUniform(2e-4, 2.0)),       # the spread of Y is 2
    ({"noise": Gamma(2, 3)}, "sigma", Gamma(2, 3)),
    ({"noise": "unknown", "noise_name": "s"}, "s", LogUniform(2e-4, 2.0)),
    ({"noise": "unknown", "sigma": 0.1 + X}, "noise_factor", LogUniform(0.1, 10)),
    ({"noise": InverseGamma(2, 3), "sigma": 0.1 + X}, "noise_factor", InverseGamma(2, 3))])
def test_an_inferred_noise_is_a_parameter(keywords: Any, name: str, prior: Any) -> None:
    data = Data(X, Y, **keywords)
    assert (data.noise_name, data.noise_prior) == (name, prior)
    assert Posterior(Model.single(shapes.constant, offset=(0, 1)), data).names == ("offset", name)


def test_an_inferred_noise_needs_a_name_of_its_own() -> None:
    line = Model.single(shapes.constant, offset=(0, 1))
    refused("parameter offset", Posterior, line, Data(X, Y, noise="unknown", noise_name="offset"))
    refused("noise_name", Data, X, Y, noise="unknown", noise_name="the noise")


@pytest.mark.parametrize("y", [[2.0, 2.0], [0.0, 0.0], [5.0]])
def test_flat_data_still_have_a_noise_range(y: list[float]) -> None:
    prior = Data(range(len(y)), y, noise="unknown").noise_prior
    assert isinstance(prior, LogUniform) and prior.hi == (y[0] or 1.0)


def test_size_and_range() -> None:
    data = Data([3, -1, 2], [0, 0, 0], noise=1.0)
    assert (data.size, data.x_range) == (3, (-1.0, 3.0))


# --- energies ----------------------------------------------------------------------------------

THETA = np.random.default_rng(5).uniform(0.3, 2.0, size=(40, 3))   # amplitude, rate, noise
EACH = np.linspace(0.1, 0.5, 9)
COUNTS = np.array([3, 1, 2, 0, 1, 0, 0, 1, 0])
LOG2PI = math.log(2 * math.pi)


def decay(data: Data) -> Posterior:
    return Posterior(Model.single(shapes.exponential, amplitude=(0.1, 3), rate=(0.1, 3)), data)


def mean(theta: Any, x: Any) -> float:
    return float(theta[0] * math.exp(-theta[1] * x))


def squares(theta: Any, sigma: Any) -> float:
    return math.fsum(((y - mean(theta, x)) / s) ** 2 for x, y, s in zip(X, Y, sigma, strict=True))


# Data; the energy by hand; the constant by hand; scipy's log likelihood.
LAWS: dict[str, tuple[Data, Any, float, Any]] = {
    "sigma known": (
        Data(X, Y, noise=0.3), lambda t: squares(t, [0.3] * 9) / 2,
        9 * (LOG2PI / 2 + math.log(0.3)),
        lambda mu, s: stats.norm(mu, 0.3).logpdf(Y)),
    "sigma known of each point": (
        Data(X, Y, noise=EACH), lambda t: squares(t, EACH) / 2,
        sum(LOG2PI / 2 + math.log(v) for v in EACH),
        lambda mu, s: stats.norm(mu, EACH).logpdf(Y)),
    "sigma a parameter": (
        Data(X, Y, noise=LogUniform(0.1, 3)),
        lambda t: 9 * math.log(t[2]) + squares(t, [t[2]] * 9) / 2,
        4.5 * LOG2PI,
        lambda mu, s: stats.norm(mu, s).logpdf(Y)),
    "sigma up to a factor": (
        Data(X, Y, noise=LogUniform(0.1, 3), sigma=EACH),
        lambda t: 9 * math.log(t[2]) + squares(t, t[2] * EACH) / 2,
        sum(LOG2PI / 2 + math.log(v) for v in EACH),
        lambda mu, s: stats.norm(mu, s * EACH).logpdf(Y)),
    "counts": (
        Data(X, COUNTS, noise="poisson"),
        lambda t: math.fsum(mean(t, x) - n * math.log(mean(t, x))
                            for x, n in zip(X, COUNTS, strict=True)),
        sum(math.log(math.factorial(n)) for n in COUNTS),
        lambda mu, s: stats.poisson(mu).logpmf(COUNTS))}


@pytest.mark.parametrize("law", LAWS)
def test_energy_and_constant_by_hand(law: str) -> None:
    data, energy, constant, _ = LAWS[law]
    posterior = decay(data)
    theta = THETA[:, :posterior.dimension]
    assert posterior.energy(theta) == pytest.approx([energy(t) for t in THETA], rel=1e-12)
    assert posterior.constant == data.constant == pytest.approx(constant, rel=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_energy_and_constant_are_minus_the_log_likelihood(law: str) -> None:
    """To 1e-10; and the constant is needed: without it the two differ."""
    data, _, constant, log_p = LAWS[law]
    posterior = decay(data)
    mu = THETA[:, :1] * np.exp(-THETA[:, 1:2] * X)
    wanted = -log_p(mu, THETA[:, 2:]).sum(axis=1)
    found = posterior.energy(THETA[:, :posterior.dimension])
    assert found + posterior.constant == pytest.approx(wanted, rel=0, abs=1e-10)
    assert abs(constant) > 1e-3
    assert found != pytest.approx(wanted, rel=0, abs=1e-4)


@pytest.mark.parametrize(("counts", "level", "energy"), [
    ([0, 2], -1.0, INF), ([0, 0], -1.0, INF), ([0, 0], -1e-300, INF), ([0, 2], 0.0, INF),
    ([1, 0], 0.0, INF), ([0, 0], 0.0, 0.0), ([0, 0], 1.0, 2.0), ([0, 2], 1.0, 2.0),
    ([0, 1], 1e-300, -math.log(1e-300))])
def test_counts_outside_the_support_cost_infinity(counts: Any, level: float, energy: float) -> None:
    """mu < 0, or mu = 0 under a count, is impossible; mu = 0 under no count is certain."""
    posterior = Posterior(Model.single(shapes.constant, offset=(-5, 5)),
                          Data([0, 1], counts, noise="poisson"))
    assert float(posterior.energy([level])) == pytest.approx(energy, rel=1e-12)


def test_one_impossible_point_is_enough() -> None:
    line = Posterior(Model.single(shapes.linear, offset=(-5, 5), slope=(-5, 5)),
                     Data([0, 1, 2], [5, 3, 0], noise="poisson"))
    assert math.isfinite(line.energy([5.0, -2.4]))
    assert line.energy([5.0, -2.6]) == INF                # the last point alone is below zero


def test_a_curve_that_overflows_costs_infinity() -> None:
    posterior = Posterior(Model.single(shapes.exponential, amplitude=(0, 2), rate=(-1e4, 1)),
                          Data(X, Y, noise=1.0))
    assert posterior.energy([[1.0, -1e4], [0.0, -1e4]]).tolist() == [INF, INF]
    assert math.isfinite(posterior.energy([1.0, 0.5]))


# --- shapes of arrays --------------------------------------------------------------------------


def test_every_array_of_theta_keeps_its_shape() -> None:
    posterior = decay(LAWS["sigma a parameter"][0])
    flat = posterior.draw_prior(12, seed=3)
    deep = flat.reshape(2, 3, 2, 3)
    assert posterior.names == ("amplitude", "rate", "sigma")
    for f in (posterior.energy, posterior.log_prior):
        assert f(deep).shape == (2, 3, 2)
        assert np.array_equal(f(deep).ravel(), f(flat))
        assert f(flat[0]).shape == ()
    assert posterior.predict(deep, [0.0, 1.0]).shape == (2, 3, 2, 2)
    for bad in (flat[:, :2], 1.0, [1.0], np.zeros((3, 4))):
        refused("theta", posterior.energy, bad)
        refused("theta", posterior.log_prior, bad)
        refused("theta", posterior.predict, bad)


def test_log_prior_is_the_sum_of_the_priors() -> None:
    model = Model.single(shapes.stretched_exponential, amplitude=Normal(1, 0.5, 0, 3),
                         rate=Gamma(2, 3), stretching=Beta(2, 3))
    posterior = Posterior(model, Data(X, Y, noise=LogUniform(0.1, 3)))
    theta = posterior.draw_prior(30, seed=4)
    a, b = (0 - 1) / 0.5, (3 - 1) / 0.5
    by_name = dict(zip(posterior.names, theta.T, strict=True))
    wanted = (stats.truncnorm(a, b, 1, 0.5).logpdf(by_name["amplitude"])
              + stats.gamma(2, scale=1 / 3).logpdf(by_name["rate"])
              + stats.beta(2, 3).logpdf(by_name["stretching"])
              + stats.loguniform(0.1, 3).logpdf(by_name["sigma"]))
    assert posterior.log_prior(theta) == pytest.approx(wanted, rel=1e-11)
    theta[:, posterior.names.index("rate")] *= -1.0
    assert np.all(posterior.log_prior(theta) == -INF)


def test_a_model_without_parameters_and_one_without_terms() -> None:
    for model, level in ((Model.single(shapes.constant, offset=0.5), 0.5), (Model(), 0.0)):
        posterior = Posterior(model, Data(X, Y, noise=0.5))
        assert posterior.names == ()
        assert float(posterior.energy([])) == pytest.approx(2 * np.sum((Y - level) ** 2))
        assert posterior.energy(np.zeros((4, 0))).shape == (4,)
        assert float(posterior.log_prior([])) == 0.0


# --- joint -------------------------------------------------------------------------------------


def peak(n: int, noise: Any, **changes: Any) -> Posterior:
    model = Model.repeated(1, shapes.gaussian, **{**BOXES, **changes})
    return Posterior(model, Data(X[:n], Y[:n], noise=noise))


def test_joint_shares_by_name_and_adds() -> None:
    a, b = peak(9, 0.3), peak(5, 0.2)
    apart = Posterior(b.blocks[0].model.renamed(height="height_b"), b.blocks[0].data)
    both, split = joint(a, b), joint(a, apart)
    assert both.names == a.names
    assert split.names == (*a.names, "peak1_height_b")
    assert both.size == split.size == 14
    theta = split.draw_prior(20, seed=1)
    own, other = theta[:, :3], theta[:, [3, 1, 2]]
    assert split.energy(theta) == pytest.approx(a.energy(own) + b.energy(other), rel=1e-13)
    assert both.energy(own) == pytest.approx(a.energy(own) + b.energy(own), rel=1e-13)
    assert split.constant == pytest.approx(a.constant + b.constant, rel=1e-14)
    assert split.log_prior(theta) == pytest.approx(
        a.log_prior(own) - math.log(3), rel=1e-13)         # a shared prior counts once
    assert np.array_equal(split.predict(theta, block=1), b.predict(other))
    assert np.array_equal(joint(a).energy(own), a.energy(own))


def test_joint_shares_noise_and_keeps_every_law() -> None:
    unknown = LogUniform(0.1, 3)
    a, b, c = peak(9, unknown), peak(5, unknown), peak(4, 0.5)
    counts = Posterior(a.blocks[0].model, Data(X, COUNTS, noise="poisson"))
    every = joint(a, b, c, counts)
    assert every.names == (*c.names, "sigma")
    theta = every.draw_prior(20, seed=2)
    parts = a.energy(theta) + b.energy(theta) + c.energy(theta[:, :3]) + counts.energy(theta[:, :3])
    assert every.energy(theta) == pytest.approx(parts, rel=1e-13)
    assert joint(joint(a, b), joint(c, counts)).energy(theta) == pytest.approx(parts, rel=1e-13)


def test_joint_refuses_one_name_in_two_senses() -> None:
    refused("joint", joint)
    refused("prior of peak1_height", joint, peak(9, 0.3), peak(5, 0.2, height=(0, 4)))
    refused("prior of peak1_height", joint, peak(9, 0.3), peak(5, 0.2, height=1.0))
    refused("prior of sigma", joint, peak(9, LogUniform(0.1, 3)), peak(9, LogUniform(0.1, 2)))


@pytest.mark.parametrize(("model", "data", "field"), [
    (shapes.gaussian, Data(X, Y, noise=1.0), "model"), (two(), (X, Y), "data"),
    (None, None, "model"), (Data(X, Y, noise=1.0), two(), "model")])
def test_a_posterior_is_of_a_model_and_data(model: Any, data: Any, field: str) -> None:
    refused(field, Posterior, model, data)


def test_where_a_formula_has_no_value_is_refused_by_index() -> None:
    stretched = Model.single(shapes.stretched_exponential, amplitude=(0, 1), rate=(0.1, 1),
                             stretching=(0, 1))
    refused("x[1]", Posterior, stretched, Data([1.0, -1.0], [0, 1], noise=1.0))
    at_zero = Posterior(stretched, Data([0.0, 1.0], [0, 1], noise=1.0))
    assert at_zero.predict([0.5, 0.7, 0.5])[0] == 0.5


def test_a_switch_turns_a_term_off() -> None:
    a, s, x = sp.symbols("a s x")
    switched = Model.single(Formula("line", a * s * x), a=(0, 1), s=Bernoulli(0.3))
    posterior = Posterior(switched, Data(X, Y, noise=1.0))
    on, off = np.array([0.5, 1.0]), np.array([0.5, 0.0])
    assert posterior.predict(on) == pytest.approx(0.5 * X)
    assert not posterior.predict(off).any()
    assert posterior.log_prior(on) == pytest.approx(math.log(0.3))
    assert posterior.log_prior(off) == pytest.approx(math.log(0.7))
    assert posterior.log_prior([0.5, 0.5]) == -INF
