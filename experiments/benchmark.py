"""Speed, as ratios measured side by side in one run: ``make benchmark``.

Five things are timed: the sampler against plain numba that recomputes every peak with the C
library's exp (the same model, data, ladder and number of proposals, alternating on one core);
the search over combinations against a full solve for every flip; what an import costs; what
refusing bad input on the command line costs; what compiling costs, from empty caches to a first F,
for a formula never seen before, and with full caches (beyond the imports).  The machine may be
busy: medians of alternating rounds, and the ratio is taken round by round.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.nagata2012_number_of_peaks import SETTINGS, posterior, spectrum
from experiments.paths import RESULTS

WANTED = {"updates_per_second": 2e6, "ratio_to_naive": 10.0, "import_sampler": 0.3,
          "import_theory": 1.0, "refusal": 1.0,
          "compile_all": 9.0, "compile_formula": 2.0, "compiled": 0.6}

SEARCHES = ((50, 3), (50, 15), (200, 20))     # candidates, and how many are in the data


@cache
def naive_sweeps() -> Callable[..., float]:
    """Exchange Monte Carlo as one would write it in an afternoon: correct, and all in numba."""
    from numba import njit

    @njit(error_model="numpy")
    def energy(theta: Any, x: Any, y: Any, precision: float) -> float:
        total = 0.0
        for i in range(len(x)):
            r = -y[i]
            for k in range(len(theta) // 3):
                d = x[i] - theta[3 * k + 2]
                r += theta[3 * k] * math.exp(-0.5 * theta[3 * k + 1] * d * d)
            total += r * r
        return 0.5 * precision * total

    @njit
    def log_prior(theta: Any) -> float:
        total = 0.0
        for k in range(len(theta) // 3):
            a, b, mu = theta[3 * k], theta[3 * k + 1], theta[3 * k + 2]
            if a <= 0.0 or b <= 0.0:
                return -np.inf
            total += 4 * math.log(a) - 5 * a + 4 * math.log(b) - 0.04 * b - 2.5 * (mu - 1.5) ** 2
        return total

    @njit(error_model="numpy")
    def sweeps(theta: Any, U: Any, betas: Any, step: Any, x: Any, y: Any, precision: float,
               count: int) -> float:
        for t in range(count):
            for r in range(len(betas)):
                for p in range(theta.shape[1]):
                    old, prior = theta[r, p], log_prior(theta[r])
                    theta[r, p] = old + step[r, p] * (2.0 * np.random.random() - 1.0)
                    change = log_prior(theta[r]) - prior
                    if change > -np.inf:
                        new = energy(theta[r], x, y, precision)
                        if math.log(np.random.random()) < change - betas[r] * (new - U[r]):
                            U[r] = new
                            continue
                    theta[r, p] = old
            for r in range(t % 2, len(betas) - 1, 2):
                gap = (betas[r + 1] - betas[r]) * (U[r + 1] - U[r])
                if math.log(np.random.random()) < gap:
                    for p in range(theta.shape[1]):
                        theta[r, p], theta[r + 1, p] = theta[r + 1, p], theta[r, p]
                    U[r], U[r + 1] = U[r + 1], U[r]
        return float(U[-1])

    return sweeps  # type: ignore[no-any-return]


def against_naive(K: int, rounds: int, sweeps: int) -> dict[str, float]:
    """Updates per second of both, and their ratio, on one core."""
    from sampler import Ladder
    from sampler.exchange import resume, sample

    settings = replace(SETTINGS, chains=1)
    problem = posterior(K, settings)
    ladder = Ladder.geometric(settings.rungs, settings.ratio)
    x, y = spectrum(settings)
    # Jumps between modes are proposals of another kind, learnt or not by the seed of the burn-in.
    run = sample(problem, 200, burn_in=500, chains=1, seed=1, ladder=ladder, threads=1,
                 jumps=False)
    naive, betas = naive_sweeps(), run.betas
    theta = np.tile(run.draws[0, -1], (len(betas), 1))
    U = np.full(len(betas), run.energy[0, -1, -1])
    steps = run.steps * 1.0
    # An amplitude has no step of its own in our sampler (drawn exactly): a tenth of its size.
    steps[:, 0::3] = 0.1
    steps[steps == 0.0] = 0.1
    arguments = (theta, U, betas, steps, x, y, settings.noise**-2)
    naive(*arguments, 200)          # compiled, and away from the start
    few = max(1, sweeps // 20)
    updates = len(betas) * theta.shape[1]
    ours, theirs = [], []
    for _ in range(rounds):
        # The difference of two lengths: what a call costs besides its sweeps drops out.
        short, long = (_timed(partial(resume, run, n, threads=1))
                       for n in (sweeps // 10, sweeps))
        ours.append(updates * (sweeps - sweeps // 10) / (long - short))
        theirs.append(updates * few / _timed(partial(naive, *arguments, few)))
    return {"updates_per_second": float(np.median(ours)),
            "naive_updates_per_second": float(np.median(theirs)),
            "ratio_to_naive": float(np.median(np.array(ours) / np.array(theirs)))}


@cache
def full_solves() -> Callable[..., float]:
    """The search over combinations as one would write it: every flip by a Cholesky factor of the
    Gram matrix of what is in, from scratch."""
    from numba import njit

    @njit(error_model="numpy")
    def energy(inside: Any, gram: Any, pull: Any, root: Any, solved: Any, order: Any) -> float:
        k, total = 0, 0.0
        for j in range(len(inside)):
            if inside[j] == 1:
                order[k] = j
                for a in range(k + 1):
                    value = gram[j, order[a]] + (1.0 if a == k else 0.0)
                    for c in range(a):
                        value -= root[k, c] * root[a, c]
                    root[k, a] = math.sqrt(value) if a == k else value / root[a, a]
                value = pull[j]
                for c in range(k):
                    value -= root[k, c] * solved[c]
                solved[k] = value / root[k, k]
                total += math.log(root[k, k]) - 0.5 * solved[k] ** 2
                k += 1
        return total

    @njit(error_model="numpy")
    def sweeps(inside: Any, U: Any, betas: Any, gram: Any, pull: Any, odds: float, root: Any,
               solved: Any, order: Any, count: int) -> float:
        for r in range(len(betas)):
            U[r] = energy(inside[r], gram, pull, root, solved, order)
        for t in range(count):
            for r in range(1, len(betas)):
                for j in range(len(pull)):
                    inside[r, j] = 1 - inside[r, j]
                    new = energy(inside[r], gram, pull, root, solved, order)
                    gain = (2 * inside[r, j] - 1) * odds - betas[r] * (new - U[r])
                    if math.log(np.random.random()) < gain:
                        U[r] = new
                    else:
                        inside[r, j] = 1 - inside[r, j]
            for r in range(t % 2, len(betas) - 1, 2):
                gap = (betas[r + 1] - betas[r]) * (U[r + 1] - U[r])
                if math.log(np.random.random()) < gap:
                    for j in range(len(pull)):
                        inside[r, j], inside[r + 1, j] = inside[r + 1, j], inside[r, j]
                    U[r], U[r + 1] = U[r + 1], U[r]
        return float(U[-1])

    return sweeps  # type: ignore[no-any-return]


def searched(candidates: int, present: int, points: int = 400) -> tuple[Any, Any]:
    """Lines on a grid, some of them in the data: the posterior and the columns (n, candidates)."""
    from sampler import Data, Normal, Posterior
    from sampler.instruments.diffraction import phase_search

    x = np.linspace(0.0, candidates + 1.0, points)
    columns = 1.0 / (1.0 + (x[:, None] - np.arange(1.0, candidates + 1.0)) ** 2)
    chosen = np.linspace(0, candidates - 1, present).astype(int)
    y = columns[:, chosen].sum(axis=1) + 0.05 * np.random.default_rng(1).normal(size=points)
    model = phase_search({f"line{k}": ([k + 1.0], [1.0]) for k in range(candidates)}, 2.0, 1.0,
                         present / candidates, amount=Normal(0, 1))
    return Posterior(model, Data(x, y, noise=0.05)), columns


def against_full_solves(candidates: int, present: int, rounds: int, sweeps: int
                        ) -> dict[str, float]:
    """Proposals per second of the search over combinations and of full solves, on one core."""
    from sampler.exchange import resume, sample

    problem, columns = searched(candidates, present)
    run = sample(problem, 20, burn_in=500, chains=1, seed=1, threads=1,
                 integrate_out="amplitudes")
    naive, data = full_solves(), problem.blocks[0].data
    g = run.draws[0, -1, 0::2].astype(np.int64)
    weighted = columns / data.deviation[:, None] ** 2
    scratch = (np.zeros((candidates, candidates)), np.zeros(candidates),
               np.zeros(candidates, dtype=np.int64))
    arguments = (np.tile(g, (len(run.betas), 1)), np.zeros(len(run.betas)), run.betas,
                 columns.T @ weighted, weighted.T @ data.y,
                 math.log(present / (candidates - present)), *scratch)
    naive(*arguments, 20)
    few, rungs = max(1, sweeps // 20), len(run.betas) - 1
    proposals = rungs * (candidates + candidates // 2)      # flips, and trades of two
    ours, theirs = [], []
    for _ in range(rounds):
        short, long = (_timed(partial(resume, run, n, threads=1))
                       for n in (sweeps // 10, sweeps))
        ours.append(proposals * (sweeps - sweeps // 10) / (long - short))
        theirs.append(rungs * candidates * few / _timed(partial(naive, *arguments, few)))
    return {"proposals_per_second": float(np.median(ours)),
            "full_solves_per_second": float(np.median(theirs)),
            "ratio_to_full_solves": float(np.median(np.array(ours) / np.array(theirs)))}


def _timed(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    call()
    return float(time.process_time() - begin)


def cpu_seconds(arguments: list[str], tries: int = 3) -> float:
    """Least CPU time of a child process (the first try warms the caches)."""
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(arguments, check=False, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    once()
    return min(once() for _ in range(tries))


_COMPILING = """
import sys, time
import numba, numpy, scipy.special, sympy
from sampler import Data, Formula, Model, Posterior, bridge_sampling, exchange, free_energy, sample
from sampler.shapes import gaussian
points = numpy.linspace(0.0, 3.0, 100)
data = Data(points, numpy.exp(-(points - 1.0) ** 2), 0.1)
x, a, r, w = sympy.symbols("x a r w", real=True)
new = Formula("new", a * sympy.exp(-r * x) * sympy.cos(w * x + 1))
for formula, names in ((gaussian, ("height", "center", "width")), (new, ("a", "r", "w"))):
    begin = time.process_time()
    model = Model.single(formula, **{name: (0.1, 2.0) for name in names})
    free_energy(sample(Posterior(model, data), 100, burn_in=100, threads=1))
    print(time.process_time() - begin)
"""


def compiling(tries: int = 3) -> dict[str, float]:
    """Least CPU seconds from a model to its F: with empty caches, for a formula of another kind
    after that, and with full caches."""
    found = []
    for _ in range(tries):
        with tempfile.TemporaryDirectory() as empty:
            where = os.environ | {"XDG_CACHE_HOME": empty, "NUMBA_CACHE_DIR": empty}
            found.append([[float(v) for v in subprocess.run(
                [sys.executable, "-c", _COMPILING], env=where, check=True, capture_output=True,
                text=True).stdout.split()] for _ in range(2)])
    (cold, new), (warm, _) = np.min(found, axis=0).tolist()
    return {"compile_all": cold, "compile_formula": new, "compiled": warm}


def measure(rounds: int, sweeps: int) -> dict[str, Any]:
    """Everything, as a plain record."""
    import numba
    import sympy

    python = sys.executable
    record: dict[str, Any] = {"n": SETTINGS.points, "rungs": SETTINGS.rungs, "dtype": "float64"}
    for K in (1, 3, 6):
        record[f"K={K}"] = against_naive(K, rounds, sweeps)
    for candidates, present in SEARCHES:
        record[f"{present} of {candidates}"] = against_full_solves(candidates, present, rounds,
                                                                   max(sweeps // 10, 20))
    record["import_sampler"] = cpu_seconds([python, "-c", "import sampler"])
    record["import_theory"] = cpu_seconds([python, "-c", "import theory, theory.evidence"])
    record["refusal"] = cpu_seconds([python, "-m", "sampler", "fit", "no_such_file.csv",
                                     "--instrument", "peaks", "--noise", "1", "--K", "1"])
    record |= compiling()
    record["machine"] = {"processor": processor(), "cores": os.cpu_count(),
                         "system": platform.system()}
    record["versions"] = {"python": platform.python_version(), "numpy": np.__version__,
                          "numba": numba.__version__, "sympy": sympy.__version__}
    return record


def processor() -> str:
    """What the machine calls its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main(argv: list[str] | None = None) -> int:
    """Measure, print and store; 1 if a wanted number is missed."""
    parser = argparse.ArgumentParser(prog="benchmark", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sweeps", type=int, default=3_000, help="sweeps of one timing")
    parser.add_argument("--no-write", action="store_true", help="do not rewrite the tracked result")
    options = parser.parse_args(argv)
    record = measure(options.rounds, options.sweeps)
    print(f"one core, n = {record['n']}, {record['rungs']} temperatures, float64, "
          f"{record['machine']['processor']}")
    for K in (1, 3, 6):
        row = record[f"K={K}"]
        print(f"K = {K}: {row['updates_per_second'] / 1e6:.2f} M updates/s, "
              f"{row['ratio_to_naive']:.1f} times naive numba")
    for candidates, present in SEARCHES:
        row = record[f"{present} of {candidates}"]
        print(f"search, {present} of {candidates} components in: "
              f"{row['proposals_per_second'] / 1e6:.2f} M proposals/s, "
              f"{row['ratio_to_full_solves']:.1f} times full solves")
    children = [name for name in WANTED if name in record]
    for name in children:
        print(f"{name.replace('_', ' ')}: {record[name]:.2f} CPU s (wanted: {WANTED[name]})")
    missed = [name for name in children if record[name] > WANTED[name]]
    missed += [name for name in ("updates_per_second", "ratio_to_naive")
               if record["K=3"][name] < WANTED[name]]
    if not options.no_write:
        text = json.dumps(record, indent=1) + "\n"
        (RESULTS / "benchmark.json").write_text(text, encoding="utf-8")
    print("missed: " + ", ".join(missed) if missed else "every wanted number reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
