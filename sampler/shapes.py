"""Formulas of spectral lines and relaxation curves, each typed once, in sympy.

The same expression makes the page of the book, the CPU kernel and (printed to CUDA) the GPU
kernel.  A new shape is one more entry here.  Width is always the full width at half maximum
(FWHM) unless the formula's own text says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter

from sampler.errors import InputError

x = sp.Symbol("x", real=True)


@dataclass(frozen=True)
class Formula:
    """A sympy expression in ``x`` and named parameters.

    Parameters
    ----------
    name : str
        How the formula is called in tables.
    expression : sympy expression
        In the symbol ``x`` and one symbol for each parameter.
    parameters : tuple of str, optional
        Their order; alphabetical if not given.

    Examples
    --------
    >>> a, t = sp.symbols("a t", real=True)
    >>> Formula("decay", a * sp.exp(-x / t)).parameters
    ('a', 't')
    """

    name: str
    expression: Any
    parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.expression, sp.Expr):
            raise InputError(f"formula {self.name}", repr(self.expression), "a sympy expression")
        by_name = {s.name: s for s in self.expression.free_symbols}
        # One symbol, one meaning: assumptions a user may have set must not split a name in two.
        if len(by_name) != len(self.expression.free_symbols):
            raise InputError(f"formula {self.name}", str(self.expression),
                             "each name used for one symbol only")
        tidy = self.expression.xreplace(
            {s: sp.Symbol(n, real=True) for n, s in by_name.items()})
        object.__setattr__(self, "expression", tidy)
        found = set(by_name) - {"x"}
        if "pi" in found:
            raise InputError(f"formula {self.name}", "a parameter called pi", "another name")
        if not self.parameters:
            object.__setattr__(self, "parameters", tuple(sorted(found)))
        if set(self.parameters) != found or len(set(self.parameters)) != len(self.parameters):
            raise InputError(f"formula {self.name}: parameters", repr(self.parameters),
                             f"the names in the expression, {sorted(found)}")

    def text(self) -> str:
        """Canonical text of the expression; `sampler.parsing` reads it back, bit for bit."""
        return str(_Text().doprint(self.expression))


class _Text(StrPrinter):  # type: ignore[misc]
    """sympy's text with every digit of a float, and exp(1) where a name E could be meant."""

    def _print_Float(self, e: Any) -> str:
        return repr(float(e))

    def _print_Exp1(self, _: Any) -> str:
        return "exp(1)"


def _formula(name: str, parameters: str, build: Any) -> Formula:
    symbols = sp.symbols(parameters, real=True, seq=True)
    return Formula(name, build(*symbols), tuple(parameters.split()))


def _lorentz(centre: Any, width: Any) -> Any:
    return 1 / (1 + 4 * ((x - centre) / width) ** 2)


def _gauss(centre: Any, width: Any) -> Any:
    return sp.exp(-4 * sp.log(2) * ((x - centre) / width) ** 2)


gaussian = _formula("gaussian", "height center width",
                    lambda a, c, w: a * _gauss(c, w))
lorentzian = _formula("lorentzian", "height center width",
                      lambda a, c, w: a * _lorentz(c, w))
pseudo_voigt = _formula(
    "pseudo_voigt", "height center width mixing",
    lambda a, c, w, m: a * (m * _lorentz(c, w) + (1 - m) * _gauss(c, w)))
exponential = _formula("exponential", "amplitude rate",
                       lambda a, r: a * sp.exp(-r * x))
stretched_exponential = _formula(
    "stretched_exponential", "amplitude rate stretching",
    lambda a, r, b: a * sp.exp(-((r * x) ** b)))
# The same two as a recovery: what is missing from the plateau.
recovery = _formula("recovery", "amplitude rate",
                    lambda a, r: -a * sp.exp(-r * x))
stretched_recovery = _formula(
    "stretched_recovery", "amplitude rate stretching",
    lambda a, r, b: -a * sp.exp(-((r * x) ** b)))
constant = _formula("constant", "offset", lambda c: c + 0 * x)
linear = _formula("linear", "offset slope", lambda c, s: c + s * x)


@cache
def polynomial(degree: int) -> Formula:
    """Polynomial background ``c0 + c1 x + ... + c_degree x**degree``.

    Examples
    --------
    >>> polynomial(2).parameters
    ('c0', 'c1', 'c2')
    """
    if not (isinstance(degree, int) and 0 <= degree <= 20):
        raise InputError("degree of the polynomial", repr(degree), "an integer from 0 to 20")
    names = " ".join(f"c{i}" for i in range(degree + 1))
    return _formula(f"polynomial{degree}", names,
                    lambda *c: sum(ck * x**k for k, ck in enumerate(c)))
