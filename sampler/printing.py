"""Printing: from a formula to the text of a fast numba kernel.

A formula is a sum of *pieces* ``amplitude(s) * g(x; other parameters)``: `pieces` finds which
parameters enter linearly.  Each g becomes one compiled column function.  The printer sorts every
subexpression by what it depends on:

* parameters only: computed once per call, a scalar;
* x only (``log x``): computed once per data set, a column (`x_only_columns`), with its limit
  at x = 0;
* both: evaluated at each point, powers expanded and ``u**p`` written ``exp2(p * log2 u)`` so
  that the loop vectorises.

Parameters appear by position (``p[0]``): the names a user chose never reach generated source.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import stat
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from sampler.errors import InputError
from sampler.shapes import Formula, x

Array = NDArray[np.float64]
_MAX_POWER = 12


@dataclass(frozen=True)
class Piece:
    """One summand of a formula: the product of its amplitudes times ``shape``.

    Examples
    --------
    >>> from sampler.shapes import linear
    >>> [(piece.amplitudes, piece.shape) for piece in pieces(linear)]
    [(('offset',), 1), (('slope',), x)]
    """

    amplitudes: tuple[str, ...]
    shape: Any
    parameters: tuple[str, ...]


@cache
def pieces(formula: Formula) -> tuple[Piece, ...]:
    """Split a formula into summands and find the parameters that enter linearly (at most two
    a summand: an amplitude and a switch)."""
    out = []
    for summand in sp.Add.make_args(formula.expression):
        factors = sp.Mul.make_args(summand)
        rest_symbols = [f.free_symbols for f in factors if not f.is_Symbol]
        linear = [f for f in factors if f.is_Symbol and f != x
                  and not any(f in symbols for symbols in rest_symbols)][:2]
        shape = sp.Mul(*(f for f in factors if f not in linear))
        used = {s.name for s in shape.free_symbols}
        order = formula.parameters
        out.append(Piece(tuple(n for n in order if sp.Symbol(n, real=True) in linear), shape,
                         tuple(n for n in order if n in used)))
    return tuple(sorted(out, key=lambda piece: [formula.parameters.index(a)
                                                for a in piece.amplitudes]))


@dataclass(frozen=True)
class Source:
    """The text of one column function and the x-only expressions it wants as columns."""

    text: str
    columns: tuple[Any, ...]


@cache
def column_source(piece: Piece) -> Source:
    """Numba source of ``out[i] = g(x[i]; p)`` for one piece."""
    printer = _Printer(piece.parameters)
    result = printer.visit(piece.shape)
    loop = [f"        {line}" for line in printer.point]
    body = "\n".join([
        *(f"    {line}" for line in printer.scalar),
        *(f"    c{k} = cols[{k}]" for k in range(len(printer.columns))),
        "    for i in range(out.shape[0]):", *loop, f"        out[i] = {result}"])
    return Source(_TEMPLATE.format(body=body), tuple(printer.columns))


_TEMPLATE = '''\
import math

from numba import carray, cfunc, njit

from sampler.kernels.cpu import vexp2, vlog2, wide


@njit(error_model="numpy", _nrt=False, fastmath={{"nsz", "contract"}})
def fill(p, cols, out):
    wide()
{body}


@cfunc("int64(CPointer(float64), CPointer(float64), int64, int64, CPointer(float64))",
       error_model="numpy", cache=True)
def column(p, cols, ncols, n, out):
    fill(carray(p, (64,)), carray(cols, (ncols, n)), carray(out, (n,)))
    return 1
'''

_SCALAR_CALL = {sp.sin: "math.sin", sp.cos: "math.cos", sp.tan: "math.tan", sp.atan: "math.atan",
                sp.exp: "math.exp", sp.log: "math.log", sp.Abs: "abs", sp.erf: "math.erf"}


class _Printer:
    """Walks an expression once; equal subexpressions share one temporary."""

    def __init__(self, parameters: tuple[str, ...]) -> None:
        self.position = {n: k for k, n in enumerate(parameters)}
        self.columns: list[Any] = []
        self.scalar: list[str] = []
        self.point: list[str] = []
        self.seen: dict[Any, str] = {}

    def visit(self, e: Any) -> str:
        """Code of e inside the loop over points."""
        if e not in self.seen:
            self.seen[e] = self._code(e)
        return self.seen[e]

    def _code(self, e: Any) -> str:
        if x not in e.free_symbols:
            return self._keep(self.scalar, "q", self._parameters_only(e))
        if e.free_symbols == {x}:
            self.columns.append(e)
            return f"c{len(self.columns) - 1}[i]"
        return self._keep(self.point, "t", self._mixed(e))

    def _keep(self, lines: list[str], letter: str, code: str) -> str:
        name = f"{letter}{len(lines)}"
        lines.append(f"{name} = {code}")
        return name

    def _parameters_only(self, e: Any) -> str:
        if e.is_Symbol:
            return f"p[{self.position[e.name]}]"
        if not e.free_symbols:
            return repr(float(e))
        if e.is_Add or e.is_Mul:
            return (" + " if e.is_Add else " * ").join(self.visit(a) for a in e.args)
        if e.is_Pow and e.exp.is_Integer and abs(e.exp) <= _MAX_POWER:
            return _power(self.visit(e.base), int(e.exp))
        if e.is_Pow and e.base is not sp.E:
            if e.exp == sp.Rational(1, 2):
                return f"math.sqrt({self.visit(e.base)})"
            return f"{self.visit(e.base)} ** {self.visit(e.exp)}"
        return self._call(e)

    def _mixed(self, e: Any) -> str:
        if e.is_Add or e.is_Mul:
            return self._by_dependence(e)
        if isinstance(e, sp.exp):
            # 2**u needs no two-part constant; sympy cancels log 2 where the formula has it.
            return f"vexp2({self.visit(_distribute(e.args[0] / sp.log(2)))})"
        if isinstance(e, sp.log):
            return self.visit(_expanded_log2(e.args[0]) * sp.log(2))
        if e.is_Pow and e.exp.is_Integer and abs(e.exp) <= _MAX_POWER:
            return _power(self.visit(e.base), int(e.exp))
        if e.is_Pow and e.exp == sp.Rational(1, 2):
            return f"math.sqrt({self.visit(e.base)})"
        if e.is_Pow:
            return f"vexp2({self.visit(_distribute(e.exp * _expanded_log2(e.base)))})"
        if isinstance(e, _Log2):
            return f"vlog2({self.visit(e.args[0])})"
        return self._call(e)

    def _by_dependence(self, e: Any) -> str:
        """Group the arguments of a sum or product: scalars first, then columns, then the rest."""
        scalars = [a for a in e.args if x not in a.free_symbols]
        columns = [a for a in e.args if a.free_symbols == {x}]
        rest = [a for a in e.args if a not in scalars and a not in columns]
        groups = [e.func(*group) for group in (scalars, columns) if group]
        return (" + " if e.is_Add else " * ").join(self.visit(a) for a in [*groups, *rest])

    def _call(self, e: Any) -> str:
        if isinstance(e, sp.Piecewise):
            return self._piecewise(e)
        name = _SCALAR_CALL.get(e.func)
        if name is None:
            known = ", ".join(sorted(f.__name__ for f in _SCALAR_CALL))
            raise InputError("formula", f"the function {e.func}", f"one of {known}")
        return f"{name}({self.visit(e.args[0])})"


    def _piecewise(self, e: Any) -> str:
        code = "math.nan"
        for value, condition in reversed(e.args):
            if condition is sp.true:
                code = self.visit(value)
            elif isinstance(condition, sp.StrictLessThan | sp.LessThan
                            | sp.StrictGreaterThan | sp.GreaterThan):
                test = f"{self.visit(condition.lhs)} {condition.rel_op} {self.visit(condition.rhs)}"
                code = f"({self.visit(value)} if {test} else {code})"
            else:
                raise InputError("formula", f"the condition {condition}",
                                 "a comparison with < or >")
        return code


class _Log2(sp.Function):  # type: ignore[misc]
    """log2 u of a mixed expression, kept whole for the printer."""


def _expanded_log2(u: Any) -> Any:
    """log2 of a product of positive factors as a sum, so that log x becomes a column."""
    total = sp.Integer(0)
    for factor in sp.Mul.make_args(u):
        base, power = factor.as_base_exp()
        mixed = x in base.free_symbols and base.free_symbols != {x}
        total += power * (_Log2(base) if mixed else sp.log(base) / sp.log(2))
    return total


def _distribute(e: Any) -> Any:
    """c * (a + b) -> c a + c b, so that parameter-only factors meet."""
    return sp.expand_mul(e, deep=False)


def _power(u: str, n: int) -> str:
    product = " * ".join([u] * abs(n))
    return product if n > 0 else f"1.0 / ({product})"


def numpy_functions(expression: Any) -> Any:
    """The ``modules`` of sympy's lambdify: NumPy, and scipy's erf for a formula that has one."""
    if not expression.has(sp.erf):
        return "numpy"
    from scipy.special import erf

    return [{"erf": erf}, "numpy"]


@cache
def _column_function(expression: Any) -> Any:
    return sp.lambdify([x], expression, modules=numpy_functions(expression))


def x_only_columns(formula: Formula, grid: Array) -> list[tuple[str, Array]]:
    """The x-only columns of every piece of a formula, with their text, for checking."""
    return [(str(e), column_values(e, grid))
            for piece in pieces(formula) for e in column_source(piece).columns]


def column_values(expression: Any, grid: Array) -> Array:
    """An x-only expression on the grid; where it is 0/0 at x = 0, its limit."""
    with np.errstate(all="ignore"):
        values = np.broadcast_to(
            np.asarray(_column_function(expression)(grid), dtype=np.float64), grid.shape).copy()
    hole = np.isnan(values) & (grid == 0.0)
    if hole.any():
        limit = sp.limit(expression, x, 0, "+")
        values[hole] = float(limit) if limit.is_extended_real else np.nan
    if expression == sp.log(x):
        # As good as -inf in every power of x, and 0 * log 0 stays 0: x**0 = 1 at x = 0 too.
        values[values == -np.inf] = -1e300
    return values


_ALIVE: dict[str, Any] = {}


def column_address(source: Source) -> int:
    """Compile a column function (once per installation) and return its machine address."""
    if source.text not in _ALIVE:
        _ALIVE[source.text] = _compiled(source.text)
    return int(_ALIVE[source.text].address)


def _compiled(text: str) -> Any:
    """Import the generated text from the private cache; its name hashes all it depends on."""
    import numba

    from sampler.kernels import cpu

    stamp = hashlib.sha256("\0".join(
        [text, numba.__version__, Path(cpu.__file__).read_text("utf-8")]).encode()).hexdigest()
    name = f"column_{stamp[:32]}"
    path = cache_folder() / f"{name}.py"
    if not path.exists():
        # Written once and moved into place: numba's own cache is keyed on the file's time.
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module.column


@cache
def cache_folder() -> Path:
    """The private folder of generated code: mode 0700 and owned by this user, or a fresh one.

    Compiled code is trusted like the program itself, so a folder that others can write to is
    never used.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "bayesian-measurement"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.stat()
        private = info.st_uid == os.getuid() and not stat.S_IMODE(info.st_mode) & 0o077
        if private and os.access(folder, os.W_OK):
            return folder
    except OSError as error:
        print(f"cache folder {folder} not usable ({error.strerror}): compiling for this "
              "process only", file=sys.stderr)
    return Path(tempfile.mkdtemp(prefix="bayesian-measurement-"))
