r"""Every derivation of this house as LaTeX: what a page prints is what the numbers come from.

A module's `derivation` (and `theory.choice.law`) returns its steps as a named tuple of sympy
expressions; here they are listed and typeset, in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from theory.errors import DomainError

MODULES = ("box", "choice", "choice_variants", "criteria", "evidence", "exchange_rate", "joint",
           "joint_box", "large_n", "noise", "quadratic", "singular", "targets")


def steps(source: str | ModuleType | Callable[[], Any]) -> dict[str, Any]:
    """The steps of a derivation by name, as sympy expressions.

    Parameters
    ----------
    source : str, module or function
        ``"evidence"``, ``theory.evidence`` or ``theory.choice.law``.

    Returns
    -------
    dict of str to sympy expression

    Raises
    ------
    DomainError
        If it is not one of `MODULES` or a function that returns steps.

    Examples
    --------
    >>> list(steps("large_n"))
    ['expansion', 'remainder']
    """
    found = _derivation(source)()
    if not hasattr(found, "_asdict"):
        raise DomainError("source", repr(source), "a function that returns named steps")
    return dict(found._asdict())


def _derivation(source: str | ModuleType | Callable[[], Any]) -> Callable[[], Any]:
    if isinstance(source, str):
        if source not in MODULES:
            raise DomainError("source", repr(source), "one of " + ", ".join(MODULES))
        source = import_module(f"theory.{source}")
    return source.derivation if isinstance(source, ModuleType) else source


def latex(source: str | ModuleType | Callable[[], Any]) -> dict[str, str]:
    """The same steps typeset.

    Parameters
    ----------
    source : str, module or function
        As in `steps`.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> print(latex("noise")["stationary"])
    \\frac{RSS}{- K + N}
    """
    return dict(_typeset(_derivation(source)))


@cache
def _typeset(derivation: Callable[[], Any]) -> dict[str, str]:
    import sympy as sp

    return {name: sp.latex(step) for name, step in steps(derivation).items()}
