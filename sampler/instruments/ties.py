"""Parameters tied to others: ``peak2_height = 0.5*peak1_height`` makes a doublet of known ratio.

A tied parameter has no prior and is not sampled: wherever it stands in a formula, the expression
that it is tied to takes its place.  The right hand side is read by `sampler.parsing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp

from sampler.errors import InputError
from sampler.model import Model, Term
from sampler.parsing import MOST_NODES, parse_formula
from sampler.shapes import Formula

_OPTION = "--tie"


def read_ties(texts: Sequence[str]) -> dict[str, Formula]:
    """What is tied to what.

    Parameters
    ----------
    texts : sequence of str
        ``NAME=FORMULA`` in the names of parameters, each NAME once.

    Returns
    -------
    dict from name to Formula
        Ties among tied parameters are followed to the parameters that are free.

    Raises
    ------
    InputError
        If a text is no tie, ties a parameter to nothing or in a circle.

    Examples
    --------
    >>> read_ties(["b=2*a", "c=b+1"])["c"].text()
    '2*a + 1'
    """
    ties: dict[str, Formula] = {}
    for text in texts:
        name, equals, right = (part.strip() for part in text.partition("="))
        if not equals or not name.isidentifier() or not right:
            raise InputError(_OPTION, repr(text), "NAME=FORMULA",
                             'such as "peak2_height=0.5*peak1_height"')
        if name in ties:
            raise InputError(f"{_OPTION} {name}", "given twice", "each name once")
        ties[name] = _right_side(name, right)
    return _followed(ties)


def _followed(ties: Mapping[str, Formula]) -> dict[str, Formula]:
    """Right sides in free parameters only."""
    out: dict[str, Formula] = {}
    while len(out) < len(ties):
        ready = [name for name, formula in ties.items()
                 if name not in out and not ({*ties} - {*out}) & {*formula.parameters}]
        if not ready:
            name = next(name for name in ties if name not in out)
            raise InputError(f"{_OPTION} {name}", "a circle of ties",
                             "one that ends at parameters which are not tied")
        for name in ready:
            out[name] = _in_place(ties[name].name, ties[name].expression,
                                  {n: formula.expression for n, formula in out.items()})
            if sum(1 for _ in sp.preorder_traversal(out[name].expression)) > MOST_NODES:
                raise InputError(f"{_OPTION} {name}", "a very long formula",
                                 f"at most {MOST_NODES} terms and signs")
    return out


def _right_side(name: str, text: str) -> Formula:
    formula = parse_formula(f"of {_OPTION} {name}", text)
    if "x" in {s.name for s in formula.expression.free_symbols}:
        raise InputError(f"{_OPTION} {name}", text, "parameters and numbers only",
                         "x is not the same for all points")
    if not formula.parameters:
        raise InputError(f"{_OPTION} {name}", text, "a formula with another parameter in it",
                         f"--fix {name}=VALUE holds a parameter at a number")
    return formula


def _in_place(name: str, expression: Any, values: Mapping[str, Any]) -> Formula:
    return Formula(name, expression.xreplace(
        {sp.Symbol(n, real=True): value for n, value in values.items()}))


def tied(model: Model, ties: Mapping[str, Formula]) -> Model:
    """The model with those of its parameters tied that are named; the others are left alone.

    Parameters
    ----------
    model : Model
    ties : mapping from parameter name to Formula
        As `read_ties` gives it.

    Returns
    -------
    Model

    Raises
    ------
    InputError
        If a parameter of the model is tied to one that it does not have, or if a formula does not
        depend on any parameter any more.

    Examples
    --------
    >>> from sampler.shapes import gaussian
    >>> two = Model.repeated(2, gaussian, height=(0, 3), center=(0, 3), width=(0.1, 1))
    >>> doublet = tied(two, read_ties(["peak2_height=peak1_height/2", "peak2_width=peak1_width"]))
    >>> doublet.free
    ('peak1_height', 'peak1_center', 'peak1_width', 'peak2_center')
    """
    mine = {name: formula for name, formula in ties.items() if name in model.names}
    for name, formula in mine.items():
        missing = [n for n in formula.parameters if n not in model.names]
        if missing:
            raise InputError(f"{_OPTION} {name}", missing[0],
                             f"parameters of the model: {', '.join(model.names)}")
    terms = tuple(_tied_term(term, mine) if {*mine} & {*term.names} else term
                  for term in model.terms)
    orderings = (tuple(n for n in group if n not in mine) for group in model.orderings)
    return Model(terms, {n: prior for n, prior in model.priors.items() if n not in mine},
                 tuple(group for group in orderings if len(group) > 1))


def _tied_term(term: Term, ties: Mapping[str, Formula]) -> Term:
    """In full names, so that a parameter of another component is one of this term, too."""
    values = {own: ties[full].expression if full in ties else sp.Symbol(full, real=True)
              for own, full in zip(term.formula.parameters, term.names, strict=True)}
    formula = _in_place(f"{term.formula.name}_tied", term.formula.expression, values)
    if not formula.parameters:
        raise InputError(_OPTION, ", ".join(ties), "a formula that still depends on a parameter")
    return Term(formula, term.prefix, formula.parameters)


__all__ = ["read_ties", "tied"]
