"""The house's walls, by reading the code: who imports whom, and what nobody may do."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOUSES = ("theory", "sampler", "experiments")
MODULES = sorted(p for house in HOUSES for p in (ROOT / house).rglob("*.py"))
TREES = {p.relative_to(ROOT): ast.parse(p.read_text(encoding="utf-8")) for p in MODULES}
TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".cff", ".txt", ".in", ".sh", ".cfg", ".bib", ""}


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module a file may load: ``from a import b`` may mean a.b, a leading dot is relative,
    and `import_module` loads what its text says."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield ast.unparse(node.args[0]).lstrip("f").strip("'")


def offenders(rule: str, house: str, trees: dict[Path, ast.Module]) -> list[str]:
    return [f"{path}: {name}" for path, tree in trees.items() if path.parts[0] == house
            for name in imported(tree) if re.fullmatch(rule, name)]


@pytest.mark.parametrize(("house", "rule"), [
    ("theory", r"(sampler|experiments|numba|matplotlib)(\..*)?"),
    ("sampler", r"(theory|experiments)(\..*)?"),
    ("sampler", r"scipy\.stats(\..*)?"),
    *[(house, r"(tests|test_.*|statistics_helpers)(\..*)?") for house in HOUSES],
    *[(house, r"\..*") for house in HOUSES],       # no relative imports: the house is named
    *[(house, r"(pickle|cloudpickle|dill|marshal|shelve)(\..*)?") for house in HOUSES]])
def test_the_arrows(house: str, rule: str) -> None:
    assert offenders(rule, house, TREES) == []


def test_the_arrows_are_looked_at() -> None:
    """Broken twins: a planted import is found, at any depth and in any spelling."""
    for text in ("def f():\n    from sampler.data import Data", "import sampler.data as d",
                 "if x:\n    import os, sampler", "import_module('sampler.data')",
                 "importlib.import_module(f'sampler.{name}')"):
        planted = {Path("theory/x.py"): ast.parse(text)}
        assert offenders(r"(sampler|experiments)(\..*)?", "theory", planted)
    for text in ("from scipy import stats", "import scipy.stats", "from scipy.stats import norm"):
        planted = {Path("sampler/x.py"): ast.parse(text)}
        assert offenders(r"scipy\.stats(\..*)?", "sampler", planted)
    assert list(imported(ast.parse("from ..data import Data"))) == ["..data", "..data.Data"]


def calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


# Text that becomes code: by name, and sympy's own printers, which compile what they print.
CODE = re.compile(r"eval|exec|compile|__import__|os\.(system|popen)|(.*\.)?(S|sympify|parse_expr|"
                  r"parse_latex|lambdify|autowrap|exec_module|run_path|run_module)")


def makers_of_code(trees: dict[Path, ast.Module]) -> set[str]:
    """``file: function: call`` wherever text may become code."""
    return {f"{path}: {outer.name}: {name}" for path, tree in trees.items() for outer in tree.body
            if isinstance(outer, ast.FunctionDef | ast.ClassDef)
            for name in calls(ast.Module([outer], [])) if CODE.fullmatch(name)} | {
        f"{path}: {name}" for path, tree in trees.items()
        for name in calls(ast.Module([n for n in tree.body if not isinstance(
            n, ast.FunctionDef | ast.ClassDef)], [])) if CODE.fullmatch(name)}


def test_text_becomes_code_in_known_places_only() -> None:
    """Formulas that our own parser has read are printed by sympy, and by `printing` to the text of
    a column function: whoever adds a place must say so here."""
    assert {place for place in makers_of_code(TREES) if place.startswith("sampler")} == {
        "sampler/posterior.py: evaluator: sp.lambdify",
        "sampler/printing.py: _column_function: sp.lambdify",
        "sampler/printing.py: _compiled: spec.loader.exec_module"}
    elsewhere = {place for place in makers_of_code(TREES) if not place.startswith("sampler")}
    assert all(place.endswith("lambdify") for place in elsewhere)


@pytest.mark.parametrize("text", [
    "eval('1')", "def f():\n    exec(s)", "sympy.sympify(s)", "sp.S(s)", "parse_expr(s)",
    "class A:\n    def f(self):\n        return compile(s, 'x', 'eval')"])
def test_a_planted_maker_of_code_is_found(text: str) -> None:
    assert makers_of_code({Path("sampler/x.py"): ast.parse(text)})


def swallowed(trees: dict[Path, ast.Module]) -> list[str]:
    """Handlers of everything that neither raise nor print, and filters of warnings."""
    wrong = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or re.search(r"\b(Base)?Exception\b",
                                                       ast.unparse(node.type))
                handled = any(isinstance(n, ast.Raise) or (
                    isinstance(n, ast.Call) and "print_exc" in ast.unparse(n.func))
                    for n in ast.walk(node))
                if broad and not handled:
                    wrong.append(f"{path}:{node.lineno}")
        wrong += [f"{path}: {name}" for name in calls(tree)
                  if re.search(r"(simplefilter|filterwarnings|catch_warnings|suppress)$", name)]
    return wrong


def test_no_error_and_no_warning_is_swallowed() -> None:
    assert swallowed(TREES) == []


@pytest.mark.parametrize("text", [
    "try:\n    f()\nexcept:\n    pass", "try:\n    f()\nexcept Exception:\n    pass",
    "try:\n    f()\nexcept (ValueError, BaseException) as e:\n    x = e",
    "warnings.simplefilter('ignore')", "with contextlib.suppress(OSError):\n    f()"])
def test_a_planted_silence_is_found(text: str) -> None:
    assert swallowed({Path("sampler/x.py"): ast.parse(text)})
    raises = "try:\n    f()\nexcept BaseException:\n    clean()\n    raise"
    assert not swallowed({Path("sampler/x.py"): ast.parse(raises)})


def test_no_module_bears_the_name_of_a_public_function() -> None:
    """Importing the submodule would shadow the function."""
    for house in ("theory", "sampler"):
        public = set(importlib.import_module(house).__all__)
        modules = {p.stem for p in (ROOT / house).glob("*.py")}
        modules |= {p.name for p in (ROOT / house).iterdir() if p.is_dir()}
        callables = {n for n in public
                     if not inspect.ismodule(getattr(importlib.import_module(house), n))}
        assert not callables & modules
    assert not [p for p in MODULES if p.stem in ("utils", "helpers", "misc", "common")]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_public_things_say_what_they_are(path: Path) -> None:
    tree = TREES[path.relative_to(ROOT)]
    if tree.body:
        assert ast.get_docstring(tree)
    lacking = [node.name for node in tree.body
               if isinstance(node, ast.FunctionDef | ast.ClassDef)
               and not node.name.startswith("_") and not ast.get_docstring(node)]
    if path.name in ("cpu.py", "collapsed.py"):       # its twin in reference.py says it in words
        lacking = [n for n in lacking if n in ("Chain", "Work", "sweeps", "rebuild", "draw_prior")]
    assert lacking == []


def documented(house: str) -> list[tuple[str, object]]:
    package = importlib.import_module(house)
    return [(n, getattr(package, n)) for n in package.__all__
            if callable(getattr(package, n))]


@pytest.mark.parametrize(("name", "thing"), [p for h in ("theory", "sampler")
                                             for p in documented(h)])
def test_what_is_exported_is_explained(name: str, thing: object) -> None:
    text = inspect.getdoc(thing) or ""
    assert len(text.splitlines()[0]) < 100
    parameters = inspect.signature(thing).parameters          # type: ignore[arg-type]
    if len(parameters) > 1 and inspect.isfunction(thing):
        assert "Parameters" in text
    assert "Parameters" in text or ">>>" in text or len(text.splitlines()) > 1


def test_imports_are_light() -> None:
    """`import sampler` loads numpy at most, `import theory` no sampler; nothing loads
    matplotlib."""
    code = ("import sys, {}; print(sorted(m for m in ('numba', 'sympy', 'scipy', 'matplotlib', "
            "'cupy', 'sampler', 'theory') if m in sys.modules))")
    for house, wanted in (("sampler", "['sampler']"), ("theory", "['theory']")):
        found = subprocess.run([sys.executable, "-c", code.format(house)], capture_output=True,
                               text=True, check=True, cwd=ROOT).stdout.strip()
        assert found == wanted


@pytest.mark.long
def test_a_whole_analysis_never_loads_scipy_stats() -> None:
    """Half a second of import that nothing here needs, through whatever other package."""
    code = ("import sys; from sampler import *\n"
            "data = Data([0, 1, 2, 3], [0.1, 0.9, 2.2, 2.8], noise=0.3)\n"
            "line = Model.single(shapes.linear, offset=(-5, 5), slope=(-5, 5))\n"
            "run = sample(Posterior(line, data), sweeps=50, burn_in=50)\n"
            "choice = choose({1: run}); summary(run); str(choice), str(diagnose(run))\n"
            "draw(run), draw(choice), draw_ladder(run)\n"
            "print('scipy.special' in sys.modules, 'scipy.stats' in sys.modules)")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                           check=True, cwd=ROOT).stdout.strip()
    assert found == "True False"


def test_the_compiled_sampler_knows_the_numbers_of_its_tables() -> None:
    from sampler import data, priors
    from sampler.kernels import cpu, problem

    for name in ("UNIFORM", "LOG_UNIFORM", "NORMAL", "GAMMA", "INVERSE_GAMMA", "BETA",
                 "BERNOULLI"):
        assert getattr(cpu, name) == getattr(priors, name)
    for name in ("GAUSSIAN", "GAUSSIAN_SCALED", "POISSON"):
        assert getattr(cpu, name) == getattr(data, name)
    for name in ("WALK", "LINEAR", "FLIP"):
        assert getattr(cpu, name) == getattr(problem, name)


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], capture_output=True, cwd=ROOT, check=False)
    if done.returncode:
        pytest.skip("not a git clone")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def test_the_repository_speaks_of_no_machine() -> None:
    """No path of somebody's machine and no registry in a tracked text of ours."""
    rule = re.compile(r"/(work|home|root|tmp|opt|mnt|srv|Users)/|pypi\.org|files\.pythonhosted",
                      re.IGNORECASE)
    own = Path(__file__).resolve()
    wrong = [str(path.relative_to(ROOT)) for path in tracked()
             if path.suffix in TEXT and path.exists() and path != own
             and not path.is_relative_to(ROOT / "data")
             and not path.is_relative_to(ROOT / "book/_vendor")
             and rule.search(path.read_text(encoding="utf-8", errors="replace"))]
    assert wrong == []
    assert not [p for p in tracked() if p.suffix in (".nbi", ".nbc", ".pyc") or p.name == "uv.lock"]


def test_book_functions_are_short() -> None:
    """Pages draw from results: no function in them is longer than five lines."""
    for page in (ROOT / "book").glob("*.md"):
        for block in re.findall(r"```\{code-cell\}.*?\n(.*?)```", page.read_text(), re.DOTALL):
            code = re.sub(r"\A(---.*?---\n|(:[^\n]*\n)+)", "", block, flags=re.DOTALL)
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.FunctionDef):
                    assert node.end_lineno - node.lineno < 5    # type: ignore[operator]
