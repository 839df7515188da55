"""A formula of one's own in place of an instrument: ``--model "a*exp(-b*(x-m)**2/2) + c"``.

The text is read by `sampler.parsing`, which evaluates nothing: x, names of parameters, numbers, pi,
+ - * / **, and a few functions.  There is no range of the data that would suggest priors for it, so
that every parameter needs one.  A name that occurs in several formulas has one prior in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampler.data import Data
from sampler.errors import InputError
from sampler.model import Model, Term
from sampler.parsing import parse_formula
from sampler.priors import as_prior

NOISE_NAMES = ("sigma", "noise_factor")


def formula_models(texts: Sequence[str], priors: Mapping[str, Any],
                   data: Data | None = None) -> dict[str, Model]:
    """One model for each formula: ``model1``, ``model2``, ... in the order given.

    Parameters
    ----------
    texts : sequence of str
        Formulas in x, each one once.
    priors : mapping from parameter name to prior, ``(lo, hi)`` or number
        For every parameter of every formula.
    data : Data, optional
        To name their noise parameter among what may be given, too.

    Returns
    -------
    dict from label to Model

    Raises
    ------
    InputError
        For a text that is no formula or is there twice, a parameter without a prior, and a prior
        that no formula has a use for.

    Examples
    --------
    >>> models = formula_models(["a*exp(-b*x)", "a + c*x"], {"a": (0, 3), "b": (0, 1), "c": -1})
    >>> {label: model.free for label, model in models.items()}
    {'model1': ('a', 'b'), 'model2': ('a',)}
    """
    for i, text in enumerate(texts, start=1):
        if "^" in text:
            raise InputError(f"formula model{i}", repr(text), "a power written as **")
    formulas = [parse_formula(f"model{i}", text) for i, text in enumerate(texts, start=1)]
    for i, formula in enumerate(formulas):
        taken = next((name for name in NOISE_NAMES if name in formula.parameters), "")
        if taken:
            raise InputError("--model", f"a parameter called {taken}", "another name",
                             "that is what the noise is called")
        if any(formula.expression == earlier.expression for earlier in formulas[:i]):
            raise InputError("--model", repr(texts[i]), "each formula once")
    names = list(dict.fromkeys(n for formula in formulas for n in formula.parameters))
    noise = [data.noise_name] if data is not None and data.noise_prior is not None else []
    for name in priors:
        if name not in names:
            raise InputError("--prior", name, "a parameter of the formulas: "
                             + (", ".join([*names, *noise]) or "they have none"))
    missing = [name for name in names if name not in priors]
    if missing:
        raise InputError("--prior", f"nothing for {', '.join(missing)}",
                         "a prior for every parameter of a formula",
                         f'such as --prior "{missing[0]}=Uniform(0,3)"; F depends on it')
    return {formula.name: Model((Term(formula, "", formula.parameters),),
                                {n: as_prior(priors[n], f"prior of {n}")
                                 for n in formula.parameters})
            for formula in formulas}
