"""Formula text: what is legal means what it says; everything else is refused, and never run."""

import builtins
import math
import os
import time
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sampler import Data, Formula, InputError, Model, Posterior, parse_formula, shapes
from sampler.parsing import (
    LARGEST_EXPONENT,
    MOST_CHARACTERS,
    MOST_DEPTH,
    parse_expression,
)

SYMBOLS = dict(zip("xabcdst", sp.symbols("x a b c d s t", real=True), strict=True))
POINTS = [{SYMBOLS[n]: v for n, v in zip("xabcdst", row, strict=True)}
          for row in np.random.default_rng(2).uniform(0.3, 1.9, size=(4, 7)).tolist()]
X, A, B, C, D, S, T = SYMBOLS.values()

# Text, and the same by sympy's own constructors.
LEGAL: dict[str, Any] = {
    "a*exp(-x/t)": A * sp.exp(-X / T),
    "a*(x-c)**2 + b": A * (X - C) ** 2 + B,
    "-a**2": -(A**2), "(-a)**2": A**2, "2**-a": 2 ** (-A), "-x": -X, "+x": X, "--x": X,
    "a**b**c": A ** (B**C), "a/b/c": A / (B * C), "a-b-c": A - B - C, "a/b*c": A * C / B,
    "a - -b": A + B, "1/3*x": X / 3, "1e-3*x + .5": X / 1000 + sp.Rational(1, 2),
    "sqrt(a*x) - log(b)/3": sp.sqrt(A * X) - sp.log(B) / 3,
    "sin(a)*cos(b)*tan(c) + atan(d)": sp.sin(A) * sp.cos(B) * sp.tan(C) + sp.atan(D),
    "erf((x-a)/s) + abs(x-a) + Abs(b)": sp.erf((X - A) / S) + sp.Abs(X - A) + sp.Abs(B),
    "pi*a": sp.pi * A, "exp(1)*x": sp.E * X, "x**0.5": sp.sqrt(X), "x**64": X**64,
    "x**-64": X**-64, "(x + 1) ** (a + b)": (X + 1) ** (A + B), "10**20*x": 10**20 * X,
    "a if_": None, "Piecewise((a, x < b), (c, True))": sp.Piecewise((A, X < B), (C, True)),
    "Piecewise((a, x >= b), (c*x, x <= d), (0, True))":
        sp.Piecewise((A, X >= B), (C * X, X <= D), (0, True)),
    "\n a *\t(x)\n": A * X, "1_000*x": 1000 * X, "0x10*x": 16 * X, "sqrt(2)*x": sp.sqrt(2) * X,
}
del LEGAL["a if_"]


@pytest.mark.parametrize("text", LEGAL)
def test_legal_text_means_what_sympy_means(text: str) -> None:
    ours, wanted = parse_expression(text), LEGAL[text]
    assert ours.free_symbols == wanted.free_symbols
    for point in POINTS:
        assert complex(ours.subs(point)) == pytest.approx(complex(wanted.subs(point)), rel=1e-13)


leaves = st.sampled_from(["x", "a", "b", "2", "0.5", "pi", "1e-3"])
texts = st.recursive(leaves, lambda inner: st.one_of(
    st.builds("({}){}({})".format, inner, st.sampled_from("+-*"), inner),
    st.builds("({})/(1+({})**2)".format, inner, inner),
    st.builds("-{}**2".format, leaves),
    st.builds("{}({})".format, st.sampled_from(["sin", "cos", "atan", "erf"]), inner),
    st.builds("exp(-({})**2)".format, inner)), max_leaves=12)


@given(texts)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_legal_text_means_what_python_means(text: str) -> None:
    """Python itself is the second route: the very text, with functions of numbers in it."""
    functions = {n: getattr(math, n) for n in ("sin", "cos", "atan", "erf", "exp", "pi")}
    values = {"x": 0.7, "a": 1.3, "b": -0.4}
    wanted = eval(text, {"__builtins__": {}}, functions | values)
    ours = parse_expression(text).evalf(30, subs={SYMBOLS[n]: v for n, v in values.items()})
    assert float(ours) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("formula", [
    shapes.gaussian, shapes.lorentzian, shapes.pseudo_voigt, shapes.exponential,
    shapes.stretched_exponential, shapes.recovery, shapes.stretched_recovery, shapes.constant,
    shapes.linear, shapes.polynomial(5)], ids=lambda f: f.name)
def test_our_own_shapes_are_read_back_as_they_are(formula: Formula) -> None:
    again = parse_formula(formula.name, formula.text(), formula.parameters)
    assert again == formula
    assert again.text() == formula.text()


@pytest.mark.parametrize("text", [
    *LEGAL, "exp(1)**2*x", "0.12345678901234567*x", "x**(1/3)*0.1", "-1.1e-300*x", "x - 1e-5*a",
    "(x*1e22 - 2.5)**2", "x**-0.30000000000000004", "a*exp(-0.1*x)**3", "exp(x)**a", "x/(-0.7)",
    "sqrt(x/7)/3", "E*x*exp(1)", "I*x", "S*N*x",
    "Piecewise((0.30000000000000004, x < 1/3), (a, True))"])
def test_the_saved_text_of_a_formula_is_read_back_bit_for_bit(text: str) -> None:
    expression = parse_expression(text)
    assert parse_expression(Formula("f", expression).text()) == expression


@given(texts, st.floats(-1e6, 1e6))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_saved_text_of_any_formula_is_read_back(text: str, number: float) -> None:
    expression = parse_expression(f"({text})*({number!r})*x + exp(1)")
    assert parse_expression(Formula("f", expression).text()) == expression


def test_a_parsed_formula_makes_a_curve() -> None:
    own = parse_formula("own", "a*exp(-x/t) + Piecewise((b, x < 2), (0, True))", ("t", "a", "b"))
    assert own.parameters == ("t", "a", "b")
    x = np.linspace(0, 4, 9)
    posterior = Posterior(Model.single(own, a=(0, 3), t=(0.1, 3), b=(0, 1)),
                          Data(x, x, noise=1.0))
    theta = {"t": 0.7, "a": 1.5, "b": 0.25}
    found = posterior.predict([theta[n] for n in posterior.names])
    assert found == pytest.approx(1.5 * np.exp(-x / 0.7) + 0.25 * (x < 2), rel=1e-13)


@pytest.mark.parametrize("parameters", [("a",), ("a", "t", "u"), ("a", "a", "t"), ("a", "x", "t")])
def test_parameters_are_the_names_in_the_text(parameters: Any) -> None:
    assert parse_formula("f", "a*exp(-x/t)").parameters == ("a", "t")
    with pytest.raises(InputError, match="parameters"):
        parse_formula("f", "a*exp(-x/t)", parameters)


# --- refused -----------------------------------------------------------------------------------

ATTACKS: dict[str, list[Any]] = {
    "calls": [
        "__import__('os').system('true')", "open('/etc/passwd')", "exec('1')", "eval('1')",
        "print(x)", "getattr(x, a)", "vars()", "globals()", "exp()", "exp(x, 2)", "exp(*x)",
        "exp(**x)", "exp(x=1)", "x(1)", "exp(x)(1)", "(exp)(x)(1)", "sin", "exp", "Piecewise",
        "Integral(x, x)", "Symbol(x)", "S(x)", "Lambda(x, x)", "factorial(9999999)", "gamma(x)",
        "zeta(2)", "summation(x, (x, 1, 10**9))", "Max(x, a)"],
    "attributes and subscripts": [
        "x.__class__", "x.subs", "exp.__globals__", "x.real", "().__class__.__bases__[0]", "x[0]",
        "(1).bit_length()", "x.a(1)", "exp(x).diff(x)", "x[a:b]"],
    "dunder": ["__builtins__", "__name__", "_", "_x", "__", "x*__debug__", "_private*x"],
    "other syntax": [
        "lambda: 1", "(lambda: 1)()", "lambda x: x", "[x for x in (1,)]", "{x for x in a}",
        "{a: x for x in b}", "(x for x in a)", "[x]", "(x,)", "x, a", "()", "{}", "{x}", "{a: x}",
        "a if b else c", "a and b", "a or b", "not a", "~a", "a := 3", "(a := 3)", "*x", "await x",
        "yield x", "(yield)", "x; a", "x\na", "import os", "del x", "a = x", "a == x", "a < x",
        "a < b < x", "a is b", "a in b", "a @ b", "a // b", "a % b", "a << b", "a >> b", "a | b",
        "a & b", "a ^ b", "x!", "x'", "`x`", "$x", "x # a\n+", "a?x", "2x", "2 x", "x y", "x**",
        "(x", "x)", "..", "...", "Ellipsis.x", "", " ", "\n", "lambda", "None", "True", "False",
        "NotImplemented.x", "class", "for"],
    "text": ["'x'", '"x"', "b'x'", "f'{x}'", "f'{__import__(\"os\")}'", "r'x'", "'a' 'b'",
             "'x' * 10**9", "\"\"\"x\"\"\""],
    "numbers": ["1j", "1j*x", "1e999", "-1e999", "1e301*x", "10**400*x", "9" * 400,
                "0x" + "f" * 300, "sqrt(-2)*x", "log(-1)*x", "log(0)*x",
                "x/0", "x/(1-1)", "a/0.0", "1/0", "0/0", "0**-1*x", "x + 1/(2-2)"],
    "powers": ["9**9**9", "9**9**9**9", "9**(9**9)", "(9**9)**9**9", "2**100000", "2**1000*x",
               "10**-99999", "x**1e9", "x**65", "x**-65", "x**(2**10)", "(x + a)**9999",
               "x**(9**9)", "(-2)**0.5*x", "(1.5**999)**999", "exp(9999)", "exp(exp(99))*x",
               "exp(9**9)*x", "exp(1e9)*x", "0.1**(9**9)", "exp(800)**2*x", "x**exp(9)"],
    "sizes": ["(" * 300 + "x" + ")" * 300, "[" * 99, "x" + "+x" * 20_000, "x" * 5000,
              "-" * 60 + "x", "-" * 1500 + "x", "exp(" * 60 + "x" + ")" * 60, "a**" * 80 + "x",
              "+".join(["x"] * 400), "x" + " " * 3000, "(" * 90_000, "1" * 100_000,
              "a" + "_" * 40, "a" * 32],
    "unicode": ["\u202eexp(x)", "x\u200b", "x\u0000", "\u0430*x", "x²", "µ*x", "α*x", "ℯ**x·2",
                "x \u2212 a", "x×a", "\ud800*x", "x\ufe0f", "＿＿import＿＿(x)", "ｅｖａｌ(x)",
                "𝓮𝓿𝓪𝓵(x)", "ªx.real", "e\u0301*x", "İ*x", "x₂", "½*x", "０.５*ｘ", "x\u00a0*a"],
    "no text": [None, 5, 1.0, b"x", ["x"], X, lambda: 1],
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_attacks_are_refused_at_once_and_nothing_runs(
        kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each within 0.5 CPU seconds (the slowest takes some milliseconds)."""
    ran: list[str] = []
    for name in ("eval", "exec", "open", "__import__"):
        real = getattr(builtins, name)

        def spy(*args: Any, _real: Any = real, _name: str = name, **keywords: Any) -> Any:
            if args and isinstance(args[0], str) and args[0] in ("1", "os", "/etc/passwd"):
                ran.append(_name)
            return _real(*args, **keywords)

        monkeypatch.setattr(builtins, name, spy)
    monkeypatch.setattr(os, "system", lambda *_: ran.append("system"))
    for text in ATTACKS[kind]:
        begin = time.process_time()
        try:
            parse_formula("mine", text)
        except InputError as error:
            field, words = error.field, str(error)
        else:
            pytest.fail(f"accepted {text!r:.60}")
        assert time.process_time() - begin < 0.5, text
        assert field == "formula mine"
        assert len(words) < 400                    # a long text is not thrown back whole
        assert words.isprintable(), words
    assert not ran


@given(st.one_of(st.text(max_size=60), st.text("xab01.+-*/()eE ,<_[]'\"{}:=\n", max_size=60)))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_is_a_formula_or_refused(text: str) -> None:
    """Never another exception; and what is accepted has only plain names in it."""
    try:
        expression = parse_expression(text)
    except InputError:
        return
    assert isinstance(expression, sp.Expr)
    assert all(s.name.isascii() and s.name.isidentifier() for s in expression.free_symbols)


@pytest.mark.parametrize(("inside", "beyond"), [
    ("x**64", f"x**{LARGEST_EXPONENT + 1}"), ("a" * 31, "a" * 32), ("1e300*x", "1.01e300*x"),
    ("x".ljust(MOST_CHARACTERS), "x".ljust(MOST_CHARACTERS + 1)),
    ("(" * MOST_DEPTH + "x" + ")" * MOST_DEPTH, "(" * (MOST_DEPTH + 1) + "x" + ")" * (
        MOST_DEPTH + 1)),
    ("-" * MOST_DEPTH + "x", "-" * (MOST_DEPTH + 1) + "x")])
def test_limits_are_where_they_are_said(inside: str, beyond: str) -> None:
    assert parse_expression(inside).free_symbols
    with pytest.raises(InputError):
        parse_expression(beyond)


@pytest.mark.parametrize(("text", "words"), [
    ("a*exp(-x*lambda)", ["lambda, a reserved word", "such as lam."]),
    ("in*x", ["in, a reserved word", "such as in_."]),
    ("a if x < b else c", ["if, a reserved word", "Piecewise"]),
    ("2or x", ["or, a reserved word"]),
    ("a + 2b*x", ["received '2b'", "begins with a letter", "2*b is the product"]),
    ("1e-3x", ["received '1e-3x'", "1e-3*x is the product"]),
    ("2 b", ["received '2 b'", "2*b is the product"]),
    ("0x1fg*x", ["received '0x1fg'", "0x1f*g is the product"]),
    ("_a*x", ["'_a'", "begin with a letter"]),
    ("erf*x", ["erf without brackets", "a function"]),
    ("1e5*(x", ["received '1e5*(x'", "such as a*exp(-x/t)"]),
    ("Piecewise((a, x < b), (c, True)", ["a formula such as"])])
def test_the_word_that_is_the_trouble_is_named(text: str, words: list[str]) -> None:
    """Refused before Python's parser can warn of it (warnings are errors here)."""
    with pytest.raises(InputError) as caught:
        parse_expression(text)
    for word in words:
        assert word in str(caught.value)
