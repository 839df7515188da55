"""Models of lmfit as ours: the same curves, bounds as priors, and what is refused by name."""

import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lmfit import CompositeModel, Parameters
from lmfit import Model as LmfitModel
from lmfit import models as lm

from sampler import Data, InputError, Posterior, Uniform, load_run, sample, save_run
from sampler.instruments import lmfit_bridge
from sampler.instruments.lmfit_bridge import bounds_in_words, from_lmfit
from sampler.priors import Fixed

X = np.linspace(-3.0, 7.0, 201)
MODELS: dict[str, Any] = {
    "constant": lm.ConstantModel,
    "linear": lm.LinearModel,
    "quadratic": lm.QuadraticModel,
    "polynomial": lambda: lm.PolynomialModel(degree=5),
    "polynomial of degree 0": lambda: lm.PolynomialModel(degree=0, prefix="p_"),
    "exponential": lm.ExponentialModel,
    "gaussian": lambda: lm.GaussianModel(prefix="g_"),
    "lorentzian": lambda: lm.LorentzianModel(prefix="l1_"),
    "Voigt": lambda: lm.VoigtModel(prefix="v_"),
    "pseudo-Voigt": lm.PseudoVoigtModel,
    "linear step": lm.StepModel,
    "arctan step": lambda: lm.StepModel(form="arctan"),
    "atan step": lambda: lm.StepModel(form="atan", prefix="edge_"),
    "erf step": lambda: lm.StepModel(form="erf"),
    "logistic step": lambda: lm.StepModel(form="logistic"),
    "two lines on a slope": lambda: (lm.GaussianModel(prefix="p1_") + lm.GaussianModel(prefix="p2_")
                                     + lm.LinearModel()),
    "edge": lambda: (lm.StepModel(form="arctan", prefix="edge_") + lm.PseudoVoigtModel(prefix="w_")
                     + (lm.LorentzianModel(prefix="l_") + lm.PolynomialModel(3, prefix="bg_"))),
    "expression": lambda: lm.ExpressionModel("a*exp(-b*(x-m)**2/2) + c*sin(x)"),
}
RANGES = {"sigma": (0.05, 3.0), "decay": (0.5, 5.0), "fraction": (0.0, 1.0)}


def bounded(model: Any, **own: tuple[float, float]) -> Parameters:
    """The parameters of a model, all that vary between bounds."""
    params = model.make_params()
    for name, parameter in params.items():
        lo, hi = own.get(name) or RANGES.get(name.rpartition("_")[2], (-2.0, 4.0))
        if not parameter.expr:
            parameter.set(min=lo, max=hi)
    return params


def curves(model: Any, params: Parameters, seed: int, n: int = 30) -> tuple[Any, Any]:
    """Ours and lmfit's at the same n points of the prior, arrays (n, points)."""
    posterior = Posterior(from_lmfit(model, params), Data(X, np.zeros(len(X)), noise=1.0))
    theta = posterior.draw_prior(n, seed=seed)
    theirs = []
    for point in theta:
        for name, value in zip(posterior.names, point, strict=True):
            params[name].set(value=value)
        theirs.append(np.broadcast_to(model.eval(params, x=X), X.shape))
    return posterior.predict(theta), np.array(theirs)


@pytest.mark.parametrize("name", MODELS)
def test_the_curve_is_that_of_lmfit(name: str) -> None:
    """30 random points of each prior; to 1e-12 of the curve's largest value."""
    model = MODELS[name]()
    ours, theirs = curves(model, bounded(model), seed=11)
    scale = np.abs(theirs).max(axis=1, keepdims=True)
    assert np.all(np.abs(ours - theirs) <= 1e-12 * scale)


def test_the_voigt_line_from_its_top_to_its_far_tails() -> None:
    """lmfit's is scipy's wofz.  1e-12 of the top, and 1e-11 of the curve itself where all that is
    left is the Lorentzian tail, up to 1e5 sigma away."""
    model = lm.VoigtModel()
    params = model.make_params(amplitude=1.0, center=0.0, sigma=1.0)
    for name in ("amplitude", "center"):
        params[name].set(vary=False)
    params["sigma"].set(min=0.5, max=2.0)
    u = np.concatenate([np.linspace(0.0, 30.0, 3001), np.geomspace(30.0, 1e5, 100)])
    posterior = Posterior(from_lmfit(model, params), Data(u, np.zeros(len(u)), noise=1.0))
    ours, theirs = posterior.predict([1.0]), model.eval(params, x=u)
    assert np.abs(ours - theirs).max() <= 1e-12 * theirs[0]
    assert np.abs(ours / theirs - 1.0).max() <= 1e-11
    assert "gamma: the same as sigma" in bounds_in_words(model, params).splitlines()


def test_a_falling_step_has_a_negative_sigma() -> None:
    for form in ("linear", "arctan", "erf", "logistic"):
        model = lm.StepModel(form=form)
        ours, theirs = curves(model, bounded(model, sigma=(-2.0, -0.1), amplitude=(1, 2)), seed=3)
        assert np.abs(ours - theirs).max() <= 1e-12
        assert np.all(theirs[:, 0] >= theirs[:, -1])


def test_a_planted_mistake_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken twin: a width that is a FWHM instead of a standard deviation."""
    text, names = lmfit_bridge.FORMULAS["GaussianModel"]
    monkeypatch.setitem(lmfit_bridge.FORMULAS, "GaussianModel",
                        (text.replace("2*sigma**2", "sigma**2"), names))
    model = lm.GaussianModel()
    ours, theirs = curves(model, bounded(model), seed=11)
    assert np.abs(ours - theirs).max() > 1e-3 * np.abs(theirs).max()


@pytest.mark.parametrize("model", [
    lm.GaussianModel(prefix="g_") + lm.PseudoVoigtModel(prefix="v_") + lm.ExponentialModel()
    + lm.StepModel(form="arctan", prefix="s_") + lm.LinearModel(),
    lm.LorentzianModel(prefix="l_") + lm.QuadraticModel() + lm.VoigtModel(prefix="v_")
    + lm.StepModel(prefix="s_") + lm.StepModel(form="logistic", prefix="t_")
    + lm.StepModel(form="erf", prefix="e_") + lm.ConstantModel(prefix="k_")],
    ids=["first", "second"])
def test_the_compiled_kernels_carry_it_and_a_saved_run_brings_it_back(
        model: Any, tmp_path: Path) -> None:
    """The kernel's energy is that of lmfit's curve, which it never saw; 20 sweeps of 2 chains."""
    params = bounded(model)
    data = Data(X, np.cos(X), noise=0.5)
    run = sample(Posterior(from_lmfit(model, params), data), sweeps=20, burn_in=20, chains=2,
                 seed=5)
    for chain, sweep in ((0, 3), (1, 19)):
        for name, value in zip(run.posterior.names, run.draws[chain, sweep], strict=True):
            params[name].set(value=value)
        chi2 = np.sum(((model.eval(params, x=X) - data.y) / 0.5) ** 2)
        assert run.energy[chain, sweep, -1] == pytest.approx(0.5 * chi2, rel=1e-10)
    again = load_run(save_run(run, tmp_path / "run.npz")).posterior
    assert np.array_equal(again.predict(run.draws[0]), run.posterior.predict(run.draws[0]))


# --- bounds, fixed values, constraints ----------------------------------------------------------


def test_bounds_become_priors_in_words() -> None:
    model = lm.GaussianModel(prefix="a_") + lm.GaussianModel(prefix="b_") + lm.ConstantModel()
    params = bounded(model, c=(-1.5, 2.5))
    params["b_sigma"].set(expr="a_sigma")
    params["a_center"].set(value=1.25, vary=False)
    params.add("unused", value=3.0)
    ours = from_lmfit(model, params)
    assert ours.free == ("a_amplitude", "a_sigma", "b_amplitude", "b_center", "c")
    assert ours.priors["a_amplitude"] == Uniform(-2.0, 4.0)
    assert ours.priors["a_center"] == Fixed(1.25)
    assert bounds_in_words(model, params).splitlines() == [
        "a_amplitude: uniform from -2 to 4", "a_center: fixed at 1.25",
        "a_sigma: uniform from 0.05 to 3", "b_amplitude: uniform from -2 to 4",
        "b_center: uniform from -2 to 4", "b_sigma: the same as a_sigma",
        "c: uniform from -1.5 to 2.5",
        "left out (no curve depends on them): a_fwhm, a_height, b_fwhm, b_height, unused"]
    ours, theirs = curves(model, params, seed=2)
    assert np.abs(ours - theirs).max() <= 1e-12 * np.abs(theirs).max()


def test_a_parameter_of_the_users_own_is_shared_through_a_chain_of_names() -> None:
    model = lm.LorentzianModel(prefix="a_") + lm.LorentzianModel(prefix="b_")
    params = bounded(model)
    params.add("width", value=1.0, min=0.2, max=2.0)
    params["a_sigma"].set(expr="width")
    params["b_sigma"].set(expr="a_sigma ")
    assert from_lmfit(model, params).free == ("a_amplitude", "a_center", "width", "b_amplitude",
                                              "b_center")
    assert "width: uniform from 0.2 to 2" in bounds_in_words(model, params).splitlines()
    ours, theirs = curves(model, params, seed=4)
    assert np.abs(ours - theirs).max() <= 1e-12 * np.abs(theirs).max()
    params["width"].set(vary=False)
    assert from_lmfit(model, params).priors["width"] == Fixed(params["width"].value)


def test_the_parameters_are_the_models_own_by_default() -> None:
    model = lm.LinearModel()
    model.set_param_hint("slope", min=0.0, max=1.0)
    model.set_param_hint("intercept", value=0.5, vary=False)
    assert from_lmfit(model).priors == {"slope": Uniform(0.0, 1.0), "intercept": Fixed(0.5)}


def gaussian_params(**changes: dict[str, Any]) -> Any:
    model = lm.GaussianModel(prefix="g_")
    params = bounded(model)
    for name, change in changes.items():
        params[name].set(**change)
    return model, params


def own_function(x: Any, a: float, b: float) -> Any:
    return a * np.tanh(b * x)


class OwnLine(lm.GaussianModel):
    pass


def free_gamma() -> Any:
    model = lm.ConstantModel() + lm.VoigtModel(prefix="v_")
    params = bounded(model)
    params["v_gamma"].set(expr="", value=1.0, min=0.1, max=2.0, vary=True)
    return model, params


def cut_on_the_way() -> Any:
    model, params = gaussian_params()
    params.add("between", expr="g_amplitude", min=0.0)
    params["g_center"].set(expr="between")
    return model, params


def cyclic() -> Any:
    """lmfit itself never ends on this one, so that no value may be asked for."""
    model, params = gaussian_params()
    params._asteval = None
    for name, other in (("g_center", "g_sigma"), ("g_sigma", "g_center")):
        params[name]._expr = other
    return model, params


REFUSED: dict[str, tuple[Any, list[str]]] = {
    "unbounded": (lambda: (lm.GaussianModel(prefix="g_"), None),
                  ["g_amplitude from -inf to inf, g_center from -inf to inf, g_sigma from 0 to inf",
                   "finite min and max", "params['g_amplitude'].set(min=..., max=...)"]),
    "half bounded": (lambda: gaussian_params(g_center={"max": np.inf}),
                     ["g_center from -2 to inf", "params['g_center']"]),
    "expression": (lambda: gaussian_params(g_amplitude={"expr": "2*g_sigma"}),
                   ["params['g_amplitude']", "'2*g_sigma'", "ExpressionModel"]),
    "derived": (lambda: gaussian_params(g_center={"expr": "g_fwhm"}),
                ["params['g_fwhm']", "2.3548200*g_sigma"]),
    "cut": (lambda: gaussian_params(g_center={"expr": "g_amplitude", "max": 1.0}),
            ["params['g_center']", "g_amplitude cut to [-2, 1]"]),
    "cut on the way": (cut_on_the_way, ["params['between']", "g_amplitude cut to [0, inf]"]),
    "cycle": (cyclic, ["params['g_sigma']", "'g_center'"]),
    "width below 0": (lambda: gaussian_params(g_sigma={"min": -0.1}),
                      ["params['g_sigma']", "uniform from -0.1 to 3", "a width above 0"]),
    "width 0": (lambda: gaussian_params(g_sigma={"min": 0, "value": 0, "vary": False}),
                ["params['g_sigma']", "fixed at 0"]),
    "fixed at infinity": (lambda: gaussian_params(
        g_center={"value": np.inf, "max": np.inf, "vary": False}), ["params['g_center']", "inf"]),
    "product": (lambda: (lm.GaussianModel(prefix="g_") * lm.LinearModel(), None),
                ["(Model(gaussian, prefix='g_') * Model(linear))", "a sum of models"]),
    "product within": (lambda: (
        lm.ConstantModel() + lm.GaussianModel(prefix="g_") / lm.LinearModel(), None), [" / "]),
    "difference": (lambda: (lm.ConstantModel() - lm.LinearModel(), None), [" - "]),
    "other operator": (lambda: (CompositeModel(lm.ConstantModel(), lm.LinearModel(),
                                               operator.pow), None), ["a sum of models"]),
    "Voigt of two widths": (free_gamma, ["params['v_gamma']", "expr='v_sigma'",
                                         "PseudoVoigtModel"]),
    "expression with more": (lambda: (lm.ExpressionModel("a*arctan(x)"), None), ["arctan"]),
    "unknown line": (lambda: (lm.DoniachModel(), None), ["Model(doniach)", "GaussianModel"]),
    "own function": (lambda: (LmfitModel(own_function), None),
                     ["Model(own_function)", "ExpressionModel"]),
    "own class": (lambda: (OwnLine(), None), ["Model(gaussian)", "ExpressionModel"]),
    "plane": (lambda: (lm.Gaussian2dModel(), None), ["curves over x, y", "curves over x"]),
    "no model": (lambda: ("gaussian", None), ["model: received str", "lmfit.Model"]),
    "no parameters": (lambda: (lm.LinearModel(), {"slope": 1.0}), ["received dict"]),
    "of another model": (lambda: (lm.LinearModel(), lm.ConstantModel().make_params()),
                         ["no slope, intercept", "make_params"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(name: str) -> None:
    model, params = REFUSED[name][0]()
    with pytest.raises(InputError) as caught:
        from_lmfit(model, params)
    said = str(caught.value)
    assert "\n" not in said
    assert all(word in said for word in REFUSED[name][1]), said


def test_without_lmfit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(lmfit_bridge, "import_module", absent)
    with pytest.raises(InputError, match=r"bayesian-measurement\[lmfit\]"):
        from_lmfit(lm.LinearModel())
