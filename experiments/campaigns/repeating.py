"""C: the same bits, whatever happens?  Threads, repeats, pieces, kills; the user's own state."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from experiments.campaigns import Campaign, Finding, Numbers, Records, nothing, seed_of
from experiments.paths import ROOT

SWEEPS, PIECE, BURN_IN = 600, 40, 300


def digest(run: Any) -> str:
    """Digest of every array of a run and of its state."""
    from dataclasses import fields

    total = hashlib.sha256()
    for name in ("betas", "energy", "replica", "draws", "steps"):
        total.update(np.ascontiguousarray(getattr(run, name)).tobytes())
    for field in fields(run.state):
        total.update(np.ascontiguousarray(getattr(run.state, field.name)).tobytes())
    return total.hexdigest()


@cache
def posterior(name: str) -> Any:
    """Three models that between them use every kind of move and noise."""
    from sampler import Data, Gamma, LogUniform, Model, Normal, Posterior, Uniform, shapes

    x = np.linspace(0.0, 6.0, 40)
    match name:
        case "two peaks":
            model = Model.single(shapes.linear, offset=Normal(0, 1), slope=0.0) + Model.repeated(
                2, shapes.gaussian, height=Gamma(2, 1), center=Uniform(0, 6),
                width=LogUniform(0.2, 3))
            return Posterior(model, Data(x, np.exp(-((x - 2.5) ** 2)), noise="unknown"))
        case "counts":
            model = Model.single(shapes.constant, offset=Gamma(2, 1)) + Model.single(
                shapes.exponential, amplitude=Gamma(2, 0.2), rate=(0.1, 3.0))
            return Posterior(model, Data(x, np.round(8 * np.exp(-x)), noise="poisson"))
        case _:
            model = Model.single(shapes.linear, offset=Normal(0, 2), slope=(-2, 2))
            return Posterior(model, Data(x, 0.3 * x, noise=0.5))


MODELS = ("two peaks", "counts", "line")


# ---- C1, C6, C7 ----------------------------------------------------------------------------------


def same_run(name: str, seed: int) -> Numbers:
    """Threads 1, 2, 4, 8, repeats, pieces of 1, 2 and 10; another seed must differ."""
    from sampler import free_energy, resume, sample

    model, number = posterior(name), seed_of(name, seed)
    first = sample(model, SWEEPS, burn_in=BURN_IN, seed=number, threads=1)
    wanted, wrong = digest(first), []
    for threads in (2, 4, 8):
        if digest(sample(model, SWEEPS, burn_in=BURN_IN, seed=number, threads=threads)) != wanted:
            wrong.append(f"{threads} threads")
    for pieces in (2, 10):
        run = sample(model, SWEEPS // pieces, burn_in=BURN_IN, seed=number, threads=2)
        for _ in range(pieces - 1):
            run = resume(run, SWEEPS // pieces, threads=1)
        if digest(run) != wanted or free_energy(run).value != free_energy(first).value:
            wrong.append(f"{pieces} pieces")
    if digest(sample(model, SWEEPS, burn_in=BURN_IN, seed=number + 1)) == wanted:
        wrong.append("another seed is the same")
    return {"wrong": wrong, "digest": wanted}


def judge_same(records: Records) -> list[Finding]:
    """C1 and C6."""
    wrong = [f"{name}: {w}" for name, rows in records.items() for r in rows for w in r["wrong"]]
    repeats = [name for name, rows in records.items()
               if len({r["digest"] for r in rows}) != len(rows)]
    n = sum(map(len, records.values()))
    return [nothing(f"differences over threads and pieces, {n} seeds", wrong, "0"),
            nothing("models on which two seeds gave the same run", repeats, "0")]


def repeated_run(name: str, seed: int) -> Numbers:
    """The same seed in this process, whichever it is: two work at a time."""
    from sampler import sample

    run = sample(posterior(name), SWEEPS, burn_in=BURN_IN, seed=seed_of(name, 1))
    return {"digest": digest(run), "process": os.getpid()}


def judge_repeats(records: Records) -> list[Finding]:
    """C1: repeats, spread over the processes that were running."""
    wrong = [name for name, rows in records.items() if len({r["digest"] for r in rows}) != 1]
    processes = {r["process"] for rows in records.values() for r in rows}
    return [nothing(f"models whose 20 repeats in {len(processes)} processes differ", wrong, "0")]


def counters_run(name: str, seed: int) -> Numbers:
    """Every counter that a small run uses, by the plain twin, which takes the same decisions."""
    from sampler import philox, sample
    from sampler.kernels import reference
    from sampler.kernels.problem import lower

    model = posterior(name)
    used: dict[tuple[int, int, int, int], int] = {}
    asked: list[tuple[Any, Any, Any, int]] = []

    def noted(sweep: Any, replica: Any, draw: Any, key: int) -> Any:
        # A normal prior asks for its first pair twice in a row, and uses it once.
        last = asked[-1] if asked else (0, 0, 0, 0)
        if any(map(np.ndim, (replica, last[1]))) or last != (sweep, replica, draw, key):
            asked.append((sweep, replica, draw, key))
        return philox.uniforms(sweep, replica, draw, key)

    run = sample(model, 5, burn_in=50, chains=2, seed=seed)
    problem = lower(model)
    twin: Any = reference
    twin.uniforms = noted
    try:
        for chain in range(2):
            theta, rung = run.state.theta[chain].copy(), run.state.rung[chain].copy()
            for number in range(56, 76):
                reference.sweep(model, problem, theta, rung, run.betas, run.steps, seed, chain,
                                number)
    finally:
        twin.uniforms = philox.uniforms
    for sweep, replica, draw, key in asked:
        for s, r, d in np.broadcast(sweep, replica, draw):
            place = (int(s), int(r), int(d), int(key))
            used[place] = used.get(place, 0) + 1
    return {"counters": len(used), "twice": sum(v > 1 for v in used.values())}


def judge_counters(records: Records) -> list[Finding]:
    """C1: no counter twice."""
    rows = [r for several in records.values() for r in several]
    return [nothing(f"counters used twice, of {sum(r['counters'] for r in rows)} in small runs",
                    [f"{name}: {r['twice']}" for name, several in records.items()
                     for r in several if r["twice"]], "0")]


def untouched_run(name: str, seed: int) -> Numbers:
    """Global state before and after a whole analysis; arrays read-only."""
    import locale
    import warnings

    # Whoever imports it first gets a filter for its own warnings; what comes after must add none.
    import scipy.special  # noqa: F401

    from sampler import Data, Posterior, choose, diagnose, free_energy, sample

    def state() -> list[str]:
        drawn = np.random.get_state(legacy=False)
        threads = {k: os.environ.get(k, "") for k in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
        return [repr(drawn), repr(warnings.filters), repr(locale.setlocale(locale.LC_ALL)),
                os.getcwd(), repr(threads), repr(np.geterr())]

    model = posterior(name)
    x, y = (np.array(v) for v in (model.blocks[0].data.x, model.blocks[0].data.y))
    before = x.tobytes() + y.tobytes()
    for array in (x, y):
        array.setflags(write=False)
    noise = {"two peaks": "unknown", "counts": "poisson"}.get(name, 0.5)
    was = state()
    run = sample(Posterior(model.blocks[0].model, Data(x, y, noise=noise)), 400, burn_in=200,
                 seed=seed)
    for verb in (free_energy, diagnose):
        verb(run)
    choose({"model": run})
    changed = [k for k, (a, b) in enumerate(zip(was, state(), strict=True)) if a != b]
    return {"changed": changed + ([99] if x.tobytes() + y.tobytes() != before else [])}


def judge_untouched(records: Records) -> list[Finding]:
    """C7."""
    words = ("random numbers", "warning filters", "locale", "folder", "threads", "error state")
    return [nothing("global state or arrays that a whole analysis changed",
                    [f"{name}: {words[k] if k < 6 else 'arrays'}" for name, rows in records.items()
                     for r in rows for k in r["changed"]], "0")]


# ---- C4: kill -9 ---------------------------------------------------------------------------------

# What a user writes whose runs take days: count a piece, save, go on from the file; Ctrl-C stops.
# Jobs that a shell runs in the background are deaf to Ctrl-C, and so would be their children.
LOOP = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from experiments.campaigns.repeating import BURN_IN, PIECE, SWEEPS, posterior
from sampler import claimed, load_run, resume, sample, save_run
name, seed, path, slow = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
true = os.fsync
os.fsync = lambda file: (time.sleep(slow), true(file))[1]      # a slow disk
with claimed(path):
    if path.exists():
        run = load_run(path)
    else:
        run = sample(posterior(name), PIECE, burn_in=BURN_IN, seed=seed)
        save_run(run, path)
    print("begun", flush=True)
    while run.sweeps < SWEEPS:
        run = resume(run, min(PIECE, SWEEPS - run.sweeps))
        save_run(run, path)
        if run.stopped == "interrupted":
            sys.exit(130)
"""


def killed_run(name: str, seed: int) -> Numbers:
    """Kill -9 at a random time up to three times, each time begun again; then the uncut run."""
    from sampler import load_run, sample

    generator = np.random.default_rng(seed_of(f"kills of {name}", seed))
    number = seed_of(name, seed)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with TemporaryDirectory() as folder:
        path, kills = Path(folder) / "run.npz", 0
        command = [sys.executable, "-c", LOOP, name, str(number), str(path), "0.05"]
        for _ in range(3):
            child = subprocess.Popen(command, env=environment, cwd=folder, text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert child.stdout is not None
            child.stdout.readline()                     # it has begun to count
            time.sleep(float(generator.uniform(0.0, 1.0)))
            kills += child.poll() is None
            child.kill()
            child.communicate()
            load_run(path)                              # whole at every instant
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            return {"kills": kills, "same": False, "words": done.stderr.strip()[-200:]}
        found = load_run(path)
        left = sorted(p.name for p in Path(folder).iterdir() if "tmp" in p.name)
    whole = sample(posterior(name), SWEEPS, burn_in=BURN_IN, seed=number)
    return {"kills": kills, "same": digest(found) == digest(whole), "left": len(left)}


def judge_kills(records: Records) -> list[Finding]:
    """C4: every killed run ends in the bits of the uncut one."""
    rows = [r for several in records.values() for r in several]
    wrong = [f"{name}, run {k + 1}" for name, several in records.items()
             for k, r in enumerate(several) if not r["same"]]
    return [nothing(f"runs of {len(rows)}, killed {sum(r['kills'] for r in rows)} times in all, "
                    "that did not end in the bits of the uncut run", wrong, "0")]


def campaigns() -> tuple[Campaign, ...]:
    """C1, C4, C6 and C7."""
    return (
        Campaign("C1", "the same bits over threads and pieces (C6 too), other seeds others?",
                 MODELS, range(1, 11), same_run, judge_same, 2.0),
        Campaign("C1 counters", "is any random number used twice?", MODELS, range(1, 3),
                 counters_run, judge_counters, 5.0),
        Campaign("C1 repeats", "20 repeats in several processes at a time", MODELS,
                 range(1, 21), repeated_run, judge_repeats, 0.4),
        Campaign("C4", "does a run killed at any instant go on to the same bits?",
                 ("two peaks", "counts"), range(1, 26), killed_run, judge_kills, 15.0),
        Campaign("C7", "is the user's own state left alone?", MODELS, range(1, 2),
                 untouched_run, judge_untouched, 1.0))
