"""Models: a sum of formulas, some of them K times, with a prior for every parameter.

One sharing mechanism: a parameter *name* used twice is one parameter.  So a string instead of
a prior shares a parameter, and `Model.renamed` takes it out of the sharing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sampler.errors import InputError
from sampler.priors import Fixed, Ordered, Prior, Scalar, as_prior
from sampler.shapes import Formula

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Term:
    """One formula of the sum and the full names of its parameters, in the formula's order."""

    formula: Formula
    prefix: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """A sum of terms with priors; build it with `Model.single`, `Model.repeated` and ``+``.

    Parameters
    ----------
    terms : tuple of Term
    priors : mapping from parameter name to prior (or Fixed)
    orderings : tuple of tuples of names that increase in this order

    Examples
    --------
    >>> from sampler.shapes import gaussian, linear
    >>> peaks = Model.repeated(2, gaussian, height=(0, 3), center=(0, 3), width="width",
    ...                        priors={"width": (0.05, 1)})
    >>> model = Model.single(linear, offset=(0, 1), slope=0.0) + peaks
    >>> model.free
    ('offset', 'peak1_height', 'peak1_center', 'width', 'peak2_height', 'peak2_center')
    """

    terms: tuple[Term, ...] = ()
    priors: Mapping[str, Prior] = field(default_factory=dict)
    orderings: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        for name in (n for term in self.terms for n in term.names):
            if name not in self.priors:
                raise InputError(f"prior of {name}", "nothing", "a prior, (lo, hi) or a number")
        if not all(_NAME.match(name) for name in self.priors):
            bad = next(name for name in self.priors if not _NAME.match(name))
            raise InputError("parameter name", repr(bad), "letters, digits and underscores")

    @property
    def names(self) -> tuple[str, ...]:
        """Every parameter, in the order of first appearance."""
        used = dict.fromkeys(n for term in self.terms for n in term.names)
        return tuple(used)

    @property
    def free(self) -> tuple[str, ...]:
        """The parameters that are not fixed."""
        return tuple(n for n in self.names if not isinstance(self.priors[n], Fixed))

    @staticmethod
    def single(formula: Formula, prefix: str = "", priors: Mapping[str, Any] | None = None,
               **by_parameter: Any) -> Model:
        """One formula; each keyword is a prior, ``(lo, hi)``, a number or a name to share.

        Examples
        --------
        >>> from sampler.shapes import exponential
        >>> Model.single(exponential, amplitude=(0, 2), rate=1.0).free
        ('amplitude',)
        """
        return _build(1, formula, [prefix], priors or {}, by_parameter)

    @staticmethod
    def repeated(K: int, formula: Formula, prefix: str = "peak",
                 priors: Mapping[str, Any] | None = None, **by_parameter: Any) -> Model:
        """K exchangeable components named ``peak1_height``, ``peak2_height``, and so on.

        Parameters
        ----------
        K : int
            Number of components; 0 gives the empty model.
        formula : Formula
        prefix : str
            What one component is called.
        priors : mapping, optional
            Priors of the names that are shared (given as strings below).
        **by_parameter
            One entry for each parameter of the formula: a prior, ``(lo, hi)``, a number
            (fixed), a string (the name of a shared parameter) or `Ordered`.

        Raises
        ------
        InputError
            If K is not a whole number >= 0, or a parameter is missing or unknown.

        Examples
        --------
        >>> from sampler.shapes import gaussian
        >>> Model.repeated(0, gaussian, height=(0, 1), center=(0, 1), width=(0, 1)).free
        ()
        """
        if isinstance(K, bool) or not isinstance(K, int) or K < 0:
            raise InputError("K", repr(K), "a whole number of components, 0 or more")
        prefixes = [f"{prefix}{k}_" for k in range(1, K + 1)]
        return _build(K, formula, prefixes, priors or {}, by_parameter)

    def __add__(self, other: Model) -> Model:
        if not isinstance(other, Model):
            return NotImplemented
        merged = dict(self.priors)
        for name, prior in other.priors.items():
            if name in merged and merged[name] != prior:
                raise InputError(f"prior of {name}", f"{merged[name]} and {prior}",
                                 "one prior for a shared parameter", "rename one of the two")
            merged[name] = prior
        return Model(self.terms + other.terms, merged,
                     tuple(dict.fromkeys(self.orderings + other.orderings)))

    def renamed(self, **new_names: str) -> Model:
        """Rename a parameter everywhere: ``height="height_b"`` makes ``peak1_height_b``.

        Examples
        --------
        >>> from sampler.shapes import gaussian
        >>> model = Model.repeated(1, gaussian, height=(0, 1), center=(0, 1), width=(0, 1))
        >>> model.renamed(height="height_b").free
        ('peak1_height_b', 'peak1_center', 'peak1_width')
        """
        table: dict[str, str] = {}
        for old, new in new_names.items():
            if not isinstance(new, str) or not _NAME.match(new):
                raise InputError("renamed", f"{old}={new!r}", "letters, digits and underscores")
            hits = {n: n[: len(n) - len(old)] + new for n in self.priors
                    if n == old or re.fullmatch(rf"[A-Za-z]+\d*_{re.escape(old)}", n)}
            if not hits:
                raise InputError("renamed", old, f"a parameter of the model, {self.names}")
            table |= hits
        names = [table.get(n, n) for n in self.priors]
        if len(set(names)) != len(names):
            raise InputError("renamed", repr(new_names), "names that are not in use already")

        def changed(group: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(table.get(n, n) for n in group)

        return Model(
            tuple(Term(t.formula, t.prefix, changed(t.names)) for t in self.terms),
            {table.get(n, n): p for n, p in self.priors.items()},
            tuple(changed(group) for group in self.orderings))

    def with_priors(self, changes: Mapping[str, Any]) -> Model:
        """The same model with other priors; a name without its number means every component,
        but those that are named with their number, in whichever order they are given.

        Examples
        --------
        >>> from sampler.shapes import gaussian
        >>> model = Model.repeated(2, gaussian, height=(0, 1), center=(0, 1), width=(0, 1))
        >>> model.with_priors({"peak_width": 0.5}).free
        ('peak1_height', 'peak1_center', 'peak2_height', 'peak2_center')
        >>> both = model.with_priors({"peak1_width": (0.2, 0.3), "peak_width": (0.4, 0.5)})
        >>> both.priors["peak1_width"], both.priors["peak2_width"]
        (Uniform(lo=0.2, hi=0.3), Uniform(lo=0.4, hi=0.5))
        """
        priors = dict(self.priors)
        orderings = self.orderings
        for key, value in sorted(changes.items(), key=lambda change: change[0] in self.priors):
            hits = [n for n in priors if n == key] or [
                n for n in priors if re.sub(r"\d+_", "_", n, count=1) == key]
            if not hits and self.terms:
                raise InputError("prior", key, f"a parameter of the model: {', '.join(priors)}")
            orderings = tuple(g for g in orderings if not set(g) & set(hits))
            base = value
            if isinstance(value, Ordered):
                base = value.base
                if len(hits) > 1:
                    orderings += (tuple(hits),)
            for name in hits:
                priors[name] = as_prior(base, f"prior of {name}")
        return Model(self.terms, priors, orderings)


def _build(K: int, formula: Formula, prefixes: list[str], shared: Mapping[str, Any],
           by_parameter: Mapping[str, Any]) -> Model:
    if not isinstance(formula, Formula):
        raise InputError("formula", repr(formula), "a sampler.shapes.Formula")
    wrong = set(by_parameter) ^ set(formula.parameters)
    if wrong:
        name = sorted(wrong)[0]
        state = "missing" if name in formula.parameters else "unknown"
        raise InputError(f"parameter {name} of {formula.name}", state,
                         f"one entry for each of {', '.join(formula.parameters)}")
    priors: dict[str, Prior] = {}
    orderings: list[tuple[str, ...]] = []
    named: dict[str, list[str]] = {}
    for parameter in formula.parameters:
        value = by_parameter[parameter]
        if isinstance(value, str):
            named[parameter] = [value] * K
            continue
        named[parameter] = [p + parameter for p in prefixes]
        if isinstance(value, Ordered):
            if K > 1:
                orderings.append(tuple(named[parameter]))
            value = value.base
        for name in named[parameter]:
            priors[name] = as_prior(value, f"prior of {name}")
    if K:
        priors |= {n: as_prior(v, f"prior of {n}") for n, v in shared.items()}
    # A string may also name a parameter of a component of this very model ("peak1_width").
    terms = tuple(Term(formula, prefixes[k], tuple(named[p][k] for p in formula.parameters))
                  for k in range(K))
    return Model(terms, priors, tuple(orderings))


__all__ = ["Model", "Scalar", "Term"]
