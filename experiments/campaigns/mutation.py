"""B10: would the tests notice?  Defects planted in a copy of the sources, one at a time.

Two kinds: the mistakes that samplers really had (a wrong sign in the exchange, a missing Jacobian,
a cached energy that went stale, ...), each by hand; and one for every public function of the
kernels, of ``exchange`` and of ``evidence``, drawn by a seeded generator.  Each is applied to a
copy of the repository and the tests that belong to the file are run until the first failure.

The control, a copy without any defect, must pass: otherwise everything would count as noticed.
"""

from __future__ import annotations

import ast
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import numpy as np

from experiments.campaigns import Campaign, Finding, Numbers, Records, at_least, inside
from experiments.paths import ROOT

MINUTES = 15               # after which a run that hangs counts as noticed
CONTROL = "nothing changed"
TESTS = {
    "kernels/cpu.py": ("kernels", "priors", "straight_line", "runs", "bridge"),
    "kernels/problem.py": ("kernels", "problem", "straight_line", "bridge"),
    "kernels/reference.py": ("kernels", "priors"),
    "exchange.py": ("exchange", "runs", "straight_line", "checkpoint"),
    "evidence.py": ("evidence", "runs"),
    "ladder.py": ("exchange", "runs"),
    "series.py": ("evidence", "diagnostics", "bridge"),
    "bridge_sampling.py": ("bridge", "runs"),
    "diagnostics.py": ("diagnostics",),
    "philox.py": ("kernels",)}


@dataclass(frozen=True)
class Defect:
    """A text of one file that is replaced; ``target`` says whether it changes what is sampled or
    reported (else only how fast, or how soon somebody notices)."""

    name: str
    file: str
    old: str
    new: str
    target: bool = True


def _cpu(name: str, old: str, new: str, target: bool = True) -> Defect:
    return Defect(name, "kernels/cpu.py", old, new, target)


PLANTED = (
    _cpu("sign of the exchange", "(chain.energy[cold] - chain.energy[hot])",
         "(chain.energy[hot] - chain.energy[cold])"),
    _cpu("Jacobian of the inverse gamma missing", "return -one * _log(value) - two / value",
         "return -(one + 1.0) * _log(value) - two / value"),
    _cpu("log-uniform walks without its logarithm",
         "elif kind == LOG_UNIFORM or kind == INVERSE_GAMMA:\n        value = old",
         "elif kind == INVERSE_GAMMA:\n        value = old"),
    _cpu("proposal not symmetric", "value = old + step * (2.0 * u - 1.0)",
         "value = old + step * (2.0 * u - 0.97)"),
    _cpu("beta applied to the prior too",
         "gain = (_walk_density(kind, one, two, value) - _walk_density(kind, one, two, old)\n"
         "            - beta * (energy - chain.energy[r]))",
         "gain = beta * (_walk_density(kind, one, two, value) - _walk_density(kind, one, two, old)"
         "\n            - (energy - chain.energy[r]))"),
    _cpu("prior dropped from the acceptance",
         "gain = (_walk_density(kind, one, two, value) - _walk_density(kind, one, two, old)\n"
         "            - beta * (energy - chain.energy[r]))",
         "gain = -beta * (energy - chain.energy[r])"),
    _cpu("walk off by one rung", "work, r, p, betas[level], steps[level, p],",
         "work, r, p, betas[level - 1], steps[level, p],"),
    _cpu("exact draw off by one rung", "work, r, p, betas[level], sweep, keys[2])",
         "work, r, p, betas[level - 1], sweep, keys[2])"),
    _cpu("sigma for sigma squared in the exact draw", "beta / (work.values[k] * work.values[k])",
         "beta / work.values[k]"),
    _cpu("sigma for sigma squared in the energy", "quad[b] / (s * s)", "quad[b] / s"),
    _cpu("half of n ln sigma", "problem.points[b] * math.log(s)",
         "0.5 * problem.points[b] * math.log(s)"),
    _cpu("exchange and walk share a stream", "pair(sweep, level, 0, keys[3])",
         "pair(sweep, level, 0, keys[2])"),
    _cpu("all replicas share a stream", "_block(sweep, r, keys[2],",
         "_block(sweep, np.int64(0), keys[2],"),
    _cpu("the coldest replica is never swapped", "range(sweep % 2, rungs - 1, 2)",
         "range(sweep % 2, rungs - 2, 2)"),
    _cpu("only even pairs are swapped", "range(sweep % 2, rungs - 1, 2)",
         "range(0, rungs - 1, 2)"),
    _cpu("upper wall forgotten", "if not lo <= value <= hi:\n        return False",
         "if not lo <= value:\n        return False"),
    _cpu("lower wall forgotten", "if not lo <= value <= hi:\n        return False",
         "if not value <= hi:\n        return False"),
    _cpu("order the wrong way round", "not values[problem.below[p]] < value",
         "not values[problem.below[p]] > value"),
    _cpu("sums of squares in single precision", "total += weight[i] * s[i] * s[i]",
         "total += np.float32(weight[i] * s[i] * s[i])"),
    _cpu("energy stale after a walk",
         "work.values[p] = value\n    chain.energy[r] = energy", "work.values[p] = value"),
    _cpu("energy stale after an exact draw",
         "work.values[p] = value\n    chain.energy[r] = _energy(",
         "work.values[p] = value\n    _energy("),
    _cpu("sum of squares stale after a walk",
         "            chain.quad[r, b] = work.quad[b]\n        last = b", "        last = b"),
    _cpu("column stale after a walk", "_copy(chain.columns[r, o:o + n], work.columns[o:o + n])",
         "pass"),
    _cpu("tail of the cut normal", "v < math.exp(-0.5 * (near + z - rate) ** 2)",
         "v < math.exp(-0.5 * (z - rate) ** 2)"),
    _cpu("variance of the normal prior", "precision += 1.0 / (two * two)",
         "precision += 1.0 / two"),
    _cpu("mean of the normal prior forgotten", "linear += one / (two * two)", "linear += 0.0"),
    _cpu("rate of the gamma prior with the wrong sign", "linear -= two", "linear += two"),
    _cpu("gamma draws by a wrong constant", "d = shape - 1.0 / 3.0", "d = shape - 1.0 / 4.0"),
    _cpu("gamma draws of small shape", "boost = u ** (1.0 / shape)", "boost = u ** shape"),
    _cpu("beta draws from one stream", "replica, draw + DRAWS // 2, key))",
         "replica, draw, key))"),
    _cpu("switch with its probabilities exchanged", "return one if value == 1.0 else two",
         "return two if value == 1.0 else one"),
    _cpu("sign of the counts", "(m - counted)", "(m + counted)"),
    _cpu("negative rates allowed", "(np.inf if m < 0.0 else 0.0)", "0.0"),
    _cpu("sign of the data", "_scaled(s, -1.0, problem.y[first:first + n])",
         "_scaled(s, 1.0, problem.y[first:first + n])"),
    _cpu("energies recorded by replica, not by rung",
         "energies[t, level] = chain.energy[chain.rung[level]]",
         "energies[t, level] = chain.energy[level]"),
    _cpu("draws of the rung next to the coldest", "chain.theta[chain.rung[rungs - 1]]",
         "chain.theta[chain.rung[rungs - 2]]"),
    _cpu("exp good to ten digits only", "0.69314718055994530925", "0.69314718050"),
    _cpu("another random generator", "np.uint64(0xBB67AE85)", "np.uint64(0xBB67AE84)"),
    Defect("steps tuned while counting", "exchange.py",
           'self._sweeps(sweeps, "counting", keep=True)',
           'self._tune_steps()\n        self._sweeps(sweeps, "counting", keep=True)'),
    Defect("chains share their numbers", "exchange.py", "philox.stream_key(seed, s, c)",
           "philox.stream_key(seed, s, 0)"),
    Defect("resumed one sweep late", "exchange.py", "self.sweep, self.burnt = state.sweep,",
           "self.sweep, self.burnt = state.sweep + 1,"),
    Defect("accepted counts kept over the burn-in", "exchange.py",
           "        self.burnt = self.sweep - 1\n        self._forget()",
           "        self.burnt = self.sweep - 1\n        self._discard()", False),
    Defect("both energies of a pair from one rung", "evidence.py",
           "step * run.energy[..., k + 1]", "step * run.energy[..., k]"),
    Defect("constant dropped from F", "evidence.py", "bar = sums.gap + constant",
           "bar = sums.gap"),
    Defect("the smaller of two error bars", "evidence.py", "error = max(within, between)",
           "error = min(within, between)"),
    Defect("influence of the last pair only", "evidence.py",
           "            influence += pair.influence\n            if k in",
           "            influence = pair.influence\n            if k in"),
    Defect("correlations read once, not twice", "series.py",
           "tau = 2.0 * float(np.minimum", "tau = 1.0 + 0.5 * float(np.minimum"),
    Defect("spread of blocks not divided", "series.py",
           "between = float(means.std(ddof=1)) / math.sqrt(len(means))",
           "between = float(means.std(ddof=1))"),
    Defect("sign of the swap rate", "ladder.py",
           "np.diff(betas) * (cold - np.where", "-np.diff(betas) * (cold - np.where", False),
    Defect("number of orderings forgotten", "bridge_sampling.py",
           "log_prior(t).sum(axis=1) + self.log_orderings", "log_prior(t).sum(axis=1)"),
    Defect("judged by a density that has seen the draws", "bridge_sampling.py",
           "_one_way(target, first, second, 0)", "_one_way(target, second, second, 0)", False),
    Defect("weights without the square", "kernels/problem.py", "1.0 / data.deviation**2",
           "1.0 / data.deviation"),
    Defect("a parameter's own column is not recomputed", "kernels/problem.py",
           "(s, int(p in summand.where))", "(s, 0)"),
    Defect("memory alarm the wrong way round", "diagnostics.py",
           'found["replica_memory"] > memory', 'found["replica_memory"] < memory', False))

DRAWN_FROM = ("kernels/cpu.py", "kernels/problem.py", "kernels/reference.py", "exchange.py",
              "evidence.py")
SWAPS = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
         ast.Lt: ("<", ">="), ast.LtE: ("<=", ">"), ast.Gt: (">", "<="), ast.GtE: (">=", "<"),
         ast.Eq: ("==", "!="), ast.NotEq: ("!=", "==")}


@cache
def drawn() -> dict[str, Defect]:
    """One defect for each public function, drawn by a generator seeded with its name."""
    out = {}
    for file in DRAWN_FROM:
        text = (ROOT / "sampler" / file).read_text(encoding="utf-8")
        for function in ast.parse(text).body:
            if isinstance(function, ast.FunctionDef) and not function.name.startswith("_"):
                choices = list(changes(function, text))
                if choices:
                    chance = np.random.default_rng(crc32(f"{file} {function.name}".encode()))
                    old, new = choices[int(chance.integers(len(choices)))]
                    name = f"{file.removesuffix('.py')}: {function.name}"
                    out[name] = Defect(name, file, old, new)
    return out


def changes(function: ast.FunctionDef, text: str) -> Iterator[tuple[str, str]]:
    """Every single change of an operator, a comparison or a number, as (function's text before,
    after).

    Examples
    --------
    >>> text = "def f(x):\\n    return x + 2\\n"
    >>> [new for _, new in changes(ast.parse(text).body[0], text)]
    ['def f(x):\\n    return x - 2', 'def f(x):\\n    return x + 3']
    """
    lines = text.splitlines(keepends=True)
    starts = np.concatenate([[0], np.cumsum([len(line) for line in lines])])

    def place(line: int, column: int) -> int:
        return int(starts[line - 1]) + len(lines[line - 1].encode()[:column].decode())

    begin = place(function.lineno, 0)
    whole = text[begin:place(function.end_lineno or 0, function.end_col_offset or 0)]
    body = [node for statement in function.body for node in ast.walk(statement)]
    for node in body:
        pair: tuple[Any, Any, Any] | None = None
        if isinstance(node, ast.BinOp):
            pair = node.left, node.op, node.right
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            pair = node.left, node.ops[0], node.comparators[0]
        if pair and type(pair[1]) in SWAPS:
            left, operator, right = pair
            here = place(left.end_lineno, left.end_col_offset) - begin
            there = place(right.lineno, right.col_offset) - begin
            old, new = SWAPS[type(operator)]
            if whole[here:there].count(old) == 1:
                yield whole, whole[:here] + whole[here:there].replace(old, new) + whole[there:]
        if (isinstance(node, ast.Constant) and isinstance(node.value, int | float)
                and not isinstance(node.value, bool)):
            here = place(node.lineno, node.col_offset) - begin
            there = place(node.end_lineno or 0, node.end_col_offset or 0) - begin
            number = node.value + 1 if isinstance(node.value, int) else node.value * 1.1 + 0.1
            if math.isfinite(number):
                yield whole, whole[:here] + repr(number) + whole[there:]


def defect(name: str) -> Defect:
    """A planted or drawn defect by its name."""
    for one in PLANTED:
        if one.name == name:
            return one
    return drawn()[name]


def mutated_run(name: str, seed: int) -> Numbers:
    """Plant one defect in a copy and run the tests of its file until the first failure."""
    with TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("sampler", "theory", "experiments", "tests"):
            shutil.copytree(ROOT / part, copy / part,
                            ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("pyproject.toml", "data"):
            (copy / part).symlink_to(ROOT / part)
        tests = sorted({t for several in TESTS.values() for t in several})
        if name != CONTROL:
            one = defect(name)
            path = copy / "sampler" / one.file
            text = path.read_text(encoding="utf-8")
            if text.count(one.old) != 1:
                raise LookupError(f"the text to be replaced stands {text.count(one.old)} times in "
                                  f"{one.file}")
            path.write_text(text.replace(one.old, one.new), encoding="utf-8")
            tests = list(TESTS[one.file])
        return _tested(copy, tests)


def _tested(copy: Path, tests: list[str]) -> Numbers:
    environment = {**os.environ, "PYTHONPATH": str(copy), "XDG_CACHE_HOME": str(copy / "cache"),
                   "HOME": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no",
               *(f"tests/test_{t}.py" for t in tests)]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True,
                              timeout=60 * MINUTES)
    except subprocess.TimeoutExpired:
        return {"noticed": True, "by": f"hung for {MINUTES} minutes"}
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    by = failed[0].split(" - ")[0].split("/")[-1] if failed else f"exit code {done.returncode}"
    return {"noticed": done.returncode != 0, "by": by if done.returncode else ""}


def judge_mutants(records: Records) -> list[Finding]:
    """B10: shares of defects noticed, and the survivors by name."""
    rows = {name: r[0] for name, r in records.items()}
    control = rows.pop(CONTROL)
    missed = [name for name, r in rows.items() if not r["noticed"]]
    planted = {d.name: d for d in PLANTED}
    target = [name for name in rows if name not in planted or planted[name].target]
    by_hand = [name for name in target if name in planted]
    share = 1.0 - len(missed) / len(rows)
    noticed = sum(rows[name]["noticed"] for name in by_hand) / len(by_hand)
    return [
        inside("tests that fail without any defect", float(control["noticed"]), 0.0, 0.0, "0",
               source=control["by"] or "control"),
        at_least(f"share of {len(rows)} defects noticed", share, 0.95, "0"),
        at_least(f"share of {len(by_hand)} planted defects noticed that change the target",
                 noticed, 1.0, "0"),
        Finding("survivors", "-", "; ".join(missed) or "none", 0.0, None, "-")]


def campaigns() -> tuple[Campaign, ...]:
    """B10; it needs a clone of the repository, whose tests it runs."""
    names = (CONTROL, *(d.name for d in PLANTED), *drawn())
    return (Campaign("B10", "would the tests notice a defect?", names, range(1, 2), mutated_run,
                     judge_mutants, 20.0),)
