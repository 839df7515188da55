"""Formula text, read safely: an allow-list over Python's syntax tree, and nothing is evaluated.

Text from a command line or a saved run is parsed by `ast`, every node is checked against a short
list, and the sympy expression is built by constructors from that tree.  There are no attributes,
subscripts, lambdas, comprehensions or strings in the language, and names are letters, digits and
underscores.
"""

from __future__ import annotations

import ast
import keyword
import re
from typing import Any

import sympy as sp

from sampler.errors import InputError
from sampler.shapes import Formula

MOST_CHARACTERS, MOST_NODES, MOST_DEPTH = 2000, 500, 50
LARGEST_EXPONENT, LARGEST_NUMBER = 64, 1e300
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}\Z")
# A number is taken whole or not at all: 2b is a 2 and a b, 1e5 and 0x1f have no name in them.
_NUMBER = (r"(?<![A-Za-z0-9_.])(?>0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+"
           r"|(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_WORD = re.compile(rf"{_NUMBER}|[A-Za-z_][A-Za-z0-9_]*")
_NUMBER_AND_NAME = re.compile(rf"({_NUMBER})\s*([A-Za-z_][A-Za-z0-9_]*)")
_FUNCTIONS = {"exp": sp.exp, "log": sp.log, "sqrt": sp.sqrt, "sin": sp.sin, "cos": sp.cos,
              "tan": sp.tan, "atan": sp.atan, "erf": sp.erf, "Abs": sp.Abs, "abs": sp.Abs}
_RESERVED = {*_FUNCTIONS, "Piecewise"}
_CONSTANTS = {"pi": sp.pi}
_COMPARE = {ast.Lt: sp.Lt, ast.LtE: sp.Le, ast.Gt: sp.Gt, ast.GtE: sp.Ge}


def parse_formula(name: str, text: str, parameters: tuple[str, ...] = ()) -> Formula:
    """Read a formula in ``x`` and named parameters.

    Parameters
    ----------
    name : str
        What the formula is to be called.
    text : str
        For example ``"a*exp(-b*(x-m)**2/2)"``; functions exp, log, sqrt, sin, cos, tan, atan,
        erf, abs; the constant pi.
    parameters : tuple of str, optional
        Their order.

    Returns
    -------
    Formula

    Raises
    ------
    InputError
        If anything else is in the text; nothing of it has been evaluated.

    Examples
    --------
    >>> parse_formula("peak", "a*exp(-b*(x-m)**2/2)").parameters
    ('a', 'b', 'm')
    """
    return Formula(name, parse_expression(text, f"formula {name}"), parameters)


def parse_expression(text: str, field: str = "formula") -> Any:
    """The sympy expression of a text, built node by node; see `parse_formula`."""
    if not isinstance(text, str) or not text.strip():
        raise InputError(field, repr(text), "text such as a*exp(-x/t)")
    if len(text) > MOST_CHARACTERS:
        raise InputError(field, f"{len(text)} characters", f"at most {MOST_CHARACTERS}")
    if not text.isascii():
        # Python would take a superscript 2 for the digit: x squared would be a name, x2.
        bad = next(c for c in text if not c.isascii())
        raise InputError(field, f"the character {bad!a}", "plain letters, digits and signs")
    plain = text.strip()
    if _nesting(plain) > MOST_DEPTH:
        raise InputError(field, "deeply nested brackets", f"at most {MOST_DEPTH} levels")
    _unreserved(plain, field)
    try:
        tree = ast.parse(plain, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _unreadable(plain, field) from None
    if sum(1 for _ in ast.walk(tree)) > MOST_NODES:
        raise InputError(field, "a very long formula", f"at most {MOST_NODES} terms and signs")
    return _build(tree.body, field, 0)


def _unreserved(text: str, field: str) -> None:
    """Refuse Python's own words: none but True has a place in a formula."""
    for match in _WORD.finditer(text):
        word = match.group()
        if keyword.iskeyword(word) and word not in ("True", "False", "None"):
            raise InputError(field, f"{word}, a reserved word", "another name", {
                "lambda": "such as lam", "if": "Piecewise((a, x < c), (b, True)) is a choice"}.get(
                    word, f"such as {word}_"))


def _unreadable(text: str, field: str) -> InputError:
    """Where Python may have stumbled: over a name that begins with a digit."""
    found = _NUMBER_AND_NAME.search(text)
    if found is None:
        return InputError(field, _short(text), "a formula such as a*exp(-x/t)")
    number, name = (part[:40] for part in found.groups())
    return InputError(field, _short(found.group()), "a name that begins with a letter",
                      f"{number}*{name} is the product")


def _nesting(text: str) -> int:
    deepest = level = 0
    for character in text:
        level += (character in "([{") - (character in ")]}")
        deepest = max(deepest, level)
    return deepest


def _build(node: ast.AST, field: str, depth: int) -> Any:
    if depth > MOST_DEPTH:
        raise InputError(field, "a deeply nested formula", f"at most {MOST_DEPTH} levels")

    def build(child: ast.AST) -> Any:
        return _build(child, field, depth + 1)

    value = _node(node, build, field)
    if value.is_number and not _is_real(value):
        raise InputError(field, _short(ast.unparse(node)), "a real number within floating point")
    return value


def _is_real(value: Any) -> bool:
    try:
        number = complex(value)
    except (OverflowError, TypeError, ValueError):
        return False
    return number.imag == 0.0 and abs(number.real) <= LARGEST_NUMBER


def _node(node: ast.AST, build: Any, field: str) -> Any:
    match node:
        case ast.Constant(value=bool() | complex() | str() | bytes() | None):
            raise InputError(field, _short(ast.unparse(node)), "numbers, names and functions only")
        case ast.Constant(value=int() | float() as value):
            return _number(value, field)
        case ast.Name(id=name):
            return _name(name, field)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -build(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return build(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(build(left), build(right), field)
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, build(left), build(right), field)
        case ast.Call(func=ast.Name(id="Piecewise"), args=args, keywords=[]):
            return _piecewise(args, build, field)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](build(argument))
    raise InputError(field, _short(ast.unparse(node)),
                     f"+ - * / **, numbers, names and {', '.join(sorted(_FUNCTIONS))}")


def _number(value: float, field: str) -> Any:
    if not abs(value) <= LARGEST_NUMBER:
        raise InputError(field, "a number beyond 1e300", "a number within floating point")
    return sp.Integer(value) if isinstance(value, int) else sp.Float(value)


def _name(name: str, field: str) -> Any:
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    if name in _RESERVED:
        raise InputError(field, f"{name} without brackets", "another name",
                         "that is what a function is called")
    if not _NAME.match(name):
        raise InputError(field, repr(name[:40]), "names that begin with a letter, of letters, "
                         "digits and underscores, at most 31 long")
    return sp.Symbol(name, real=True)


def _power(base: Any, exponent: Any, field: str) -> Any:
    if base.is_number and exponent.is_number:
        size = abs(float(exponent)) * max(1.0, abs(float(sp.log(sp.Abs(base) + 1))))
        if not size < 700.0:
            raise InputError(field, "a constant power beyond floating point", "smaller numbers")
    elif exponent.is_number and not abs(float(exponent)) <= LARGEST_EXPONENT:
        raise InputError(field, f"the exponent {exponent}", f"at most {LARGEST_EXPONENT}")
    return base**exponent


def _binary(op: ast.operator, left: Any, right: Any, field: str) -> Any:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            if right.is_zero:
                raise InputError(field, "a division by zero", "a divisor that is not zero")
            return left / right
    raise InputError(field, type(op).__name__, "+ - * / **")


def _piecewise(args: list[ast.expr], build: Any, field: str) -> Any:
    """``Piecewise((value, x < c), (other, True))``, as saved runs write it."""
    pieces = []
    for arg in args:
        match arg:
            case ast.Tuple(elts=[value, ast.Constant(value=True)]):
                pieces.append((build(value), True))
            case ast.Tuple(elts=[value, ast.Compare(left=left, ops=[op], comparators=[right])]) \
                    if type(op) in _COMPARE:
                pieces.append((build(value), _COMPARE[type(op)](build(left), build(right))))
            case _:
                raise InputError(field, _short(ast.unparse(arg)), "(value, a < b) or (value, True)")
    return sp.Piecewise(*pieces)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
