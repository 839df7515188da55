"""From lmfit: a model and its parameters as a `Model`, the bounds as priors.

Parameters keep the names and the meaning that lmfit gives them: the ``amplitude`` of a line is its
*area* (x unit times y unit), ``sigma`` is half its FWHM for Lorentzian and pseudo-Voigt lines,
FWHM / 2.3548 for Gaussian and FWHM / 3.6011 for Voigt ones (x unit), ``decay`` is a time (x unit).
The curves are those of lmfit but for its guards against division by zero, which priors on
sigma > 0 replace.

What limits lmfit's search is a prior here, uniform from ``min`` to ``max``, and F depends on it: a
parameter that varies needs both.  Its start value means nothing.  ``vary=False`` holds a parameter
at its value; an ``expr`` that names another parameter shares that one.  ``fwhm`` and ``height``,
which lmfit computes for its reports, enter no curve and are left out.  lmfit is an extra
(``pip install bayesian-measurement[lmfit]``) and is loaded here only.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from sampler import shapes
from sampler.errors import InputError
from sampler.model import Model, Term
from sampler.parsing import parse_formula
from sampler.priors import Fixed, Prior, Uniform, in_words, support
from sampler.shapes import Formula

_LINE = ("amplitude", "center", "sigma")
# Re w((u + i) / sqrt 2), the Voigt curve of gamma = sigma, as sum (a + b V) / ((V + p)**2 + q) with
# V = u**2: poles by the AAA algorithm in 1 / (1 + V), numerators by least squares.  Against
# scipy's wofz it is off by 8e-15 of the top at most, and by 4e-13 of itself up to a million sigma.
_VOIGT = (                                                              # p, q, a, b
    (14.91971549907501, 8.060299545298621, 930.8497685705523, 43.70523010620694),
    (13.78881685913066, 72.90727177016062, -1013.601057577194, -61.13582568038044),
    (11.4669710483608, 204.6732701933563, 66.11344848991406, 19.42802818184665),
    (7.815897847588348, 408.2209730146137, 73.69593647506066, -1.030028405540297),
    (2.567161389488024, 693.279179215249, -8.98394534136356, -0.1805113985502084),
    (-4.82831678027698, 1080.484241437402, 0.1071725308284241, 0.01106886647606823),
    (-15.80802560803222, 1626.237386726188, 0.001062209437364863, -7.710925607621164e-05))
_V = "((x - center)/sigma)**2"
_LORENTZ = "amplitude/(pi*sigma*(1 + ((x - center)/sigma)**2))"
# lmfit's class -> the formula of its documentation, and its parameters without prefix.
FORMULAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ConstantModel": ("c", ("c",)),
    "LinearModel": ("slope*x + intercept", ("slope", "intercept")),
    "QuadraticModel": ("a*x**2 + b*x + c", ("a", "b", "c")),
    "ExponentialModel": ("amplitude*exp(-x/decay)", ("amplitude", "decay")),
    "GaussianModel": (
        "amplitude/(sqrt(2*pi)*sigma)*exp(-(x - center)**2/(2*sigma**2))", _LINE),
    "LorentzianModel": (_LORENTZ, _LINE),
    # Both shares have the FWHM 2 sigma: the Gaussian's own sigma is sigma / sqrt(2 log 2).
    "PseudoVoigtModel": (
        "amplitude*((1 - fraction)*sqrt(log(2)/pi)/sigma*exp(-log(2)*((x - center)/sigma)**2)"
        " + fraction/(pi*sigma*(1 + ((x - center)/sigma)**2)))", (*_LINE, "fraction")),
    "VoigtModel": ("amplitude/(sqrt(2*pi)*sigma)*(" + " + ".join(
        f"({a!r} + {b!r}*{_V})/(({_V} + {p!r})**2 + {q!r})" for p, q, a, b in _VOIGT) + ")", _LINE),
}
STEPS = {
    "linear": "amplitude*Piecewise((0, (x - center)/sigma < -1/2), (1, (x - center)/sigma > 1/2), "
              "((x - center)/sigma + 1/2, True))",
    "arctan": "amplitude*(1/2 + atan((x - center)/sigma)/pi)",
    "atan": "amplitude*(1/2 + atan((x - center)/sigma)/pi)",
    "erf": "amplitude*(1 + erf((x - center)/sigma))/2",
    "logistic": "amplitude/(1 + exp(-(x - center)/sigma))",
}
LINES = ("lmfit_gaussian", "lmfit_lorentzian", "lmfit_pseudovoigt", "lmfit_voigt")
KNOWN = (*FORMULAS, "PolynomialModel", "StepModel", "ExpressionModel")


def from_lmfit(model: Any, params: Any = None) -> Model:
    """An lmfit model as ours, with a uniform prior between the bounds of every parameter.

    Parameters
    ----------
    model : lmfit.Model
        ConstantModel, LinearModel, QuadraticModel, PolynomialModel, ExponentialModel,
        GaussianModel, LorentzianModel, VoigtModel (of gamma = sigma, as lmfit has it by default),
        PseudoVoigtModel, StepModel or ExpressionModel, or a sum of them.
    params : lmfit.Parameters, optional
        The model's own by default.

    Returns
    -------
    Model
        With lmfit's parameter names; `bounds_in_words` says what became of each of them.

    Raises
    ------
    InputError
        Without lmfit; for another kind of model, a product or difference of models, parameters
        that vary without finite bounds, widths that may be below 0, and an ``expr`` that is more
        than the name of a parameter.

    Examples
    --------
    >>> from lmfit.models import GaussianModel, LinearModel
    >>> lines = GaussianModel(prefix="line_") + LinearModel()
    >>> params = lines.make_params(
    ...     line_amplitude=dict(value=3, min=0, max=10), line_center=dict(value=5, min=4, max=6),
    ...     line_sigma=dict(value=0.5, min=0.1, max=2), slope=dict(value=0, vary=False),
    ...     intercept=dict(value=0, min=-1, max=1))
    >>> from_lmfit(lines, params).free
    ('line_amplitude', 'line_center', 'line_sigma', 'intercept')
    >>> print(bounds_in_words(lines, params))
    line_amplitude: uniform from 0 to 10
    line_center: uniform from 4 to 6
    line_sigma: uniform from 0.1 to 2
    slope: fixed at 0
    intercept: uniform from -1 to 1
    left out (no curve depends on them): line_fwhm, line_height
    """
    params, parts = _parts(model, params)
    terms = tuple(Term(formula, prefix, tuple(
        target for _, target in names[:len(formula.parameters)]))
        for formula, prefix, names in parts)
    used = dict.fromkeys(name for term in terms for name in term.names)
    _bounded(params, [name for name in used if params[name].vary])
    for _, _, names in parts:
        for name, target in names:
            _not_cut(params, name, target)
    priors = {name: _prior(params[name]) for name in used}
    for term in terms:
        if term.formula.name in LINES:
            _above_zero(priors, term.names[term.formula.parameters.index("sigma")])
    return Model(terms, priors)


def bounds_in_words(model: Any, params: Any = None) -> str:
    """What becomes of lmfit's parameters: a line for each that enters the curve.

    Parameters
    ----------
    model : lmfit.Model
    params : lmfit.Parameters, optional
        The model's own by default.

    Returns
    -------
    str

    Raises
    ------
    InputError
        As `from_lmfit`.
    """
    ours = from_lmfit(model, params)
    params, parts = _parts(model, params)
    words = {name: in_words(ours.priors[name]) for name in ours.names}
    words |= {name: f"the same as {target}"
              for _, _, names in parts for name, target in names if name != target}
    lines = [f"{name}: {words[name]}" for name in params if name in words]
    left = [name for name in params if name not in words]
    if left:
        lines.append(f"left out (no curve depends on them): {', '.join(left)}")
    return "\n".join(lines)


# A formula, its prefix, and for each of its parameters lmfit's name and that of the one it shares;
# after them what enters the curve without being in the formula (gamma).
_Part = tuple[Formula, str, list[tuple[str, str]]]


def _parts(model: Any, params: Any) -> tuple[Any, list[_Part]]:
    try:
        lmfit = import_module("lmfit")
    except ImportError:
        raise InputError("lmfit", "not installed", "the extra lmfit",
                         "pip install bayesian-measurement[lmfit]") from None
    if not isinstance(model, lmfit.Model):
        raise InputError("model", type(model).__name__, "an lmfit.Model")
    params = model.make_params() if params is None else params
    if not isinstance(params, lmfit.Parameters):
        raise InputError("params", type(params).__name__, "lmfit.Parameters",
                         "model.make_params() makes them")
    parts = []
    for part in _summands(model, lmfit):
        formula = _formula(part, lmfit)
        voigt = formula.name == "lmfit_voigt"
        names = [f"{part.prefix}{name}" for name in (*formula.parameters, *["gamma"] * voigt)]
        missing = [name for name in names if name not in params]
        if missing:
            raise InputError("params", f"no {', '.join(missing)}", "every parameter of the model",
                             "model.make_params() makes them all")
        parts.append((formula, part.prefix, [(name, _target(params, name)) for name in names]))
        if voigt and _target(params, names[-1]) != _target(params, names[2]):
            raise InputError(f"params[{names[-1]!r}]", "a width of its own",
                             f"expr={names[2]!r}, which is lmfit's default",
                             "a PseudoVoigtModel of free fraction comes near to a Voigt line whose "
                             "shares vary")
    return params, parts


def _summands(model: Any, lmfit: Any) -> Iterator[Any]:
    if not isinstance(model, lmfit.model.CompositeModel):
        yield model
        return
    if model.op is not operator.add:
        raise InputError("model", model.name, "a sum of models",
                         "write what is not a sum as one ExpressionModel")
    yield from _summands(model.left, lmfit)
    yield from _summands(model.right, lmfit)


def _formula(part: Any, lmfit: Any) -> Formula:
    kind = type(part).__name__
    if getattr(lmfit.models, kind, None) is not type(part):     # a function or a class of the user
        kind = ""
    if not {"x"} <= set(part.independent_vars) <= {"x", "form"}:
        raise InputError(f"model {part.name}", f"curves over {', '.join(part.independent_vars)}",
                         "curves over x")
    if kind in FORMULAS:
        text, names = FORMULAS[kind]
        return parse_formula(f"lmfit_{kind.removesuffix('Model').lower()}", text, names)
    if kind == "PolynomialModel":
        return shapes.polynomial(part.poly_degree)
    if kind == "StepModel" and _form(part) in STEPS:
        return parse_formula(f"lmfit_step_{_form(part)}", STEPS[_form(part)], _LINE)
    if kind == "ExpressionModel":
        return parse_formula("lmfit_expression", part.expr)
    raise InputError("model", part.name, f"a sum of {', '.join(KNOWN)}",
                     "write its formula as an ExpressionModel")


def _form(part: Any) -> str:
    return str({**part.independent_vars_defvals, **part.opts}.get("form", "linear"))


def _target(params: Any, name: str) -> str:
    """The parameter itself, or the one that its expression names."""
    chain = [name]
    while params[chain[-1]].expr:
        named = params[chain[-1]].expr.strip()
        if named not in params or named in chain:
            raise InputError(f"params[{chain[-1]!r}]", f"the expression {named!r}",
                             "the name of another parameter",
                             "put the constraint into the formula of an ExpressionModel")
        chain.append(named)
    return chain[-1]


def _bounded(params: Any, varying: list[str]) -> None:
    open_ended = [name for name in varying
                  if not (math.isfinite(params[name].min) and math.isfinite(params[name].max))]
    if open_ended:
        name = open_ended[0]
        raise InputError(
            "params", ", ".join(f"{n} from {params[n].min:g} to {params[n].max:g}"
                                for n in open_ended),
            "a finite min and max for every parameter that varies",
            f"params[{name!r}].set(min=..., max=...): all values between them count as equally "
            "plausible before the measurement, and F depends on them")


def _not_cut(params: Any, name: str, target: str) -> None:
    """lmfit cuts the value of an expression to the bounds of the parameter that has it."""
    named = params[target]
    lo, hi = (named.min, named.max) if named.vary else (named.value, named.value)
    while name != target:
        own = params[name]
        if own.min > lo or own.max < hi:
            raise InputError(f"params[{name!r}]", f"{target} cut to [{own.min:g}, {own.max:g}]",
                             f"no bounds, or none within those of {target}")
        name = own.expr.strip()


def _prior(parameter: Any) -> Prior:
    if parameter.vary:
        return Uniform(parameter.min, parameter.max)
    if not math.isfinite(parameter.value):
        raise InputError(f"params[{parameter.name!r}]", f"{parameter.value}", "a finite value")
    return Fixed(parameter.value)


def _above_zero(priors: dict[str, Prior], name: str) -> None:
    prior = priors[name]
    if prior.value <= 0.0 if isinstance(prior, Fixed) else support(prior)[0] < 0.0:
        raise InputError(f"params[{name!r}]", in_words(prior), "a width above 0",
                         f"params[{name!r}].set(min=...): a smallest width that could be told "
                         "from the point spacing")
