"""C4: what stays behind when a run is stopped, the disk is full, or another process writes too?

Kill -9 is `repeating.killed_run`.  Here: SIGTERM and Ctrl-C, no space at any call that writes, a
folder that may not be written to, and two processes on one file.  Always asked: is there a whole
run under its name, and does it go on to the bits of the uncut one?
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock
from zipfile import BadZipFile

import numpy as np

from experiments.campaigns import Campaign, Finding, Numbers, Records, nothing, seed_of
from experiments.campaigns.repeating import BURN_IN, LOOP, SWEEPS, digest, posterior
from experiments.paths import ROOT


def begun(name: str, seed: int, path: Path) -> subprocess.Popen[str]:
    """A process that counts and saves, as soon as there is a run under its name."""
    child = subprocess.Popen([sys.executable, "-c", LOOP, name, str(seed), str(path), "0.05"],
                             env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=path.parent,
                             text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


def whole(path: Path) -> bool:
    """Whether a run can be read from a file."""
    from sampler import InputError, load_run

    try:
        load_run(path)
    except InputError:
        return False
    return True


def uncut(name: str, number: int) -> str:
    """Digest of the run that nobody stopped."""
    from sampler import sample

    return digest(sample(posterior(name), SWEEPS, burn_in=BURN_IN, seed=number))


# ---- SIGTERM and Ctrl-C --------------------------------------------------------------------------


def signalled_run(problem: str, seed: int) -> Numbers:
    """The signal at a random time, up to three times, each time begun again; then to the end."""
    from sampler import load_run

    kind, _, name = problem.partition(" on ")
    generator = np.random.default_rng(seed_of(f"times of {problem}", seed))
    number, codes, broken = seed_of(name, seed), [], 0
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.npz"
        for _ in range(3):
            child = begun(name, number, path)
            time.sleep(float(generator.uniform(0.0, 1.0)))
            sent = child.poll() is None
            child.send_signal(getattr(signal, kind))
            child.communicate()
            codes += [child.returncode] * sent
            broken += not whole(path)
        done = begun(name, number, path)
        words = done.communicate()[1]
        if done.returncode or not whole(path):
            return {"codes": codes, "broken": broken, "same": False, "left": 0,
                    "words": words.strip()[-200:]}
        same = digest(load_run(path)) == uncut(name, number)
        left = sum("tmp" in p.name for p in Path(folder).iterdir())
    return {"codes": codes, "broken": broken, "same": same, "left": left}


def judge_signals(records: Records) -> list[Finding]:
    """C4: stopped when asked, a whole run left each time, the same bits in the end; Ctrl-C, which
    Python hears, also leaves nothing else behind."""
    def rows(kind: str = "") -> Iterator[tuple[str, Numbers]]:
        for name, several in records.items():
            if name.startswith(kind):
                yield from ((f"{name}, run {k + 1}", r) for k, r in enumerate(several))

    sent = sum(len(r["codes"]) for _, r in rows())
    return [
        nothing(f"signals of {sent} after which no whole run was left",
                [k for k, r in rows() if r["broken"]], "0"),
        nothing(f"runs of {len(list(rows()))}, stopped {sent} times in all, that did not end in "
                "the bits of the uncut run", [k for k, r in rows() if not r["same"]], "0"),
        nothing("signals that did not end the process (it may have been at its end)",
                [k for k, r in rows() if r["codes"].count(0) > 1], "0"),
        nothing("temporary files that Ctrl-C left behind",
                [k for k, r in rows("SIGINT") if r["left"]], "0"),
        Finding("temporary files that SIGTERM left behind, as kill -9 does", "any number",
                str(sum(r["left"] for _, r in rows("SIGTERM"))), 0.0, None, "-")]


# ---- no space, no right to write -----------------------------------------------------------------


class FullDisk:
    """A file on which every call from a certain one on finds no space left."""

    def __init__(self, file: Any, calls: list[str], space: int) -> None:
        self.file, self.calls, self.space = file, calls, space

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) > self.space:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, data: Any) -> Any:
        """As of a file, while there is space."""
        self._called("write")
        return self.file.write(data)

    def flush(self) -> None:
        """As of a file, while there is space."""
        self._called("flush")
        self.file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


@contextmanager
def space_for(space: int) -> Iterator[None]:
    """`save_run` finds a disk with space for so many calls that write."""
    from sampler import checkpoint

    calls: list[str] = []

    def opened(*arguments: Any) -> FullDisk:
        return FullDisk(open(*arguments), calls, space)

    def called(name: str, true: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            FullDisk(None, calls, space)._called(name)
            return true(*arguments, **named)
        return call

    with (mock.patch.object(checkpoint, "open", opened, create=True),
          mock.patch.object(os, "fsync", called("fsync", os.fsync)),
          mock.patch.object(os, "link", called("link", os.link)),
          mock.patch.object(shutil, "copy2", called("copy2", shutil.copy2)),
          mock.patch.object(os, "replace", called("replace", os.replace))):
        yield


@contextmanager
def bytes_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow beyond a size: a real write that fails half-way."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def full_run(problem: str, seed: int) -> Numbers:
    """Saving fails at every call that writes, one after the other; or at 40 sizes of a file."""
    from sampler import resume, sample, save_run

    run = sample(posterior("counts"), 60, burn_in=60, chains=2, seed=seed_of(problem, seed))
    found: dict[str, Any] = {"tried": 0, "renamed": 0, "changed": [], "unsaid": [], "words": []}
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = save_run(run, folder / "run.npz")
        run = resume(run, 10)
        save_run(run, path)                     # two generations
        before, run = contents(folder), resume(run, 10)
        size = len(before["run.npz"])           # the next one is not smaller
        generator = np.random.default_rng(seed_of("sizes", seed))
        places = (generator.integers(0, int(0.9 * size), 40).tolist() if problem == "sizes"
                  else range(10**6))
        for place in places:
            limit = bytes_at_most(place) if problem == "sizes" else space_for(place)
            try:
                with limit:
                    save_run(run, path)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EFBIG):
                    found["unsaid"].append(f"{place}: {error}")
                found["words"] = sorted({*found["words"], str(error)})
            except (ValueError, RuntimeError, BadZipFile) as error:
                found["unsaid"].append(f"{place}: {type(error).__name__}: {error}")
            else:
                if problem == "sizes":
                    found["unsaid"].append(f"{place}: saved")
                break                           # there was space for all of it
            found["tried"] += 1
            now = contents(folder)
            # The last call but one gives the present run its second name, of the one before.
            kept = before | {"run.npz.previous": before["run.npz"]}
            if now not in (before, kept):
                found["changed"].append(f"{place}: {sorted(now)}")
                break
            found["renamed"] += now == kept
    return found


def judge_full(records: Records) -> list[Finding]:
    """C4: whatever call finds no space, the present run stays as it was, and it is said.  The one
    before may go only where the very last call fails, when the present run has its name too."""
    rows = [(name, r) for name, several in records.items() for r in several]
    return [
        nothing(f"saves of {sum(r['tried'] for _, r in rows)} without space after which a file had "
                "changed, or another was left",
                [f"{name} {v}" for name, r in rows for v in r["changed"]], "0"),
        nothing("files on which more than the last call cost the generation before",
                [name for name, r in rows if r["renamed"] > 1], "0"),
        nothing("saves without space that did not say so",
                [f"{name} {v}" for name, r in rows for v in r["unsaid"]], "0"),
        nothing("kinds of failure that were never met",
                [name for name, r in rows if r["tried"] < 20], "0")]


# The rights are taken away only when all is read: whoever is the super-user may write anywhere.
READ_ONLY = """
import os, sys
from pathlib import Path
from sampler import load_run, resume, save_run
path = Path(sys.argv[1])
run = resume(load_run(path), 10)
if os.geteuid() == 0:
    os.setuid(65534)
try:
    save_run(run, path)
except OSError as error:
    print(error.errno, error.filename, error)
"""


def read_only_run(problem: str, seed: int) -> Numbers:
    """A folder that may be read and not written to."""
    from sampler import sample, save_run

    run = sample(posterior("counts"), 60, burn_in=60, chains=2, seed=seed_of(problem, seed))
    with TemporaryDirectory() as name:
        folder = Path(name) / "kept"
        path = save_run(run, folder / "run.npz")
        before = contents(folder)
        for place, rights in ((path, 0o644), (folder, 0o555), (Path(name), 0o755)):
            place.chmod(rights)
        done = subprocess.run([sys.executable, "-c", READ_ONLY, str(path)], cwd=name, text=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
        same = contents(folder) == before and whole(path)
        folder.chmod(0o755)
    said = done.stdout.strip()
    return {"same": same, "words": said or done.stderr.strip()[-200:],
            "said": said.startswith(str(errno.EACCES)) and "run.npz" in said}


def judge_read_only(records: Records) -> list[Finding]:
    """C4: refused with the name of the file, and nothing has changed."""
    rows = [r for several in records.values() for r in several]
    return [nothing(f"saves of {len(rows)} into a read-only folder that changed something",
                    [r["words"] for r in rows if not r["same"]], "0"),
            nothing("saves that were not refused with the file's name",
                    [r["words"] or "saved" for r in rows if not r["said"]], "0")]


# ---- two processes on one file -------------------------------------------------------------------


def shared_run(name: str, seed: int) -> Numbers:
    """A second process begins on the file of a first one that is still counting."""
    from sampler import load_run

    number, broken, looks = seed_of(name, seed), 0, 0
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.npz"
        first = begun(name, number, path)
        second = begun(name, number, path)
        together = first.poll() is None
        while first.poll() is None or second.poll() is None:
            broken, looks = broken + (not whole(path)), looks + 1
        words = [child.communicate()[1].strip()[-200:] for child in (first, second)]
        same = whole(path) and digest(load_run(path)) == uncut(name, number)
        left = sum("tmp" in p.name for p in Path(folder).iterdir())
    return {"together": together, "codes": [first.returncode, second.returncode],
            "words": words, "broken": broken, "looks": looks, "same": same, "left": left}


def judge_shared(records: Records) -> list[Finding]:
    """C4: the second of two processes on one file is refused, the first goes on undisturbed, and
    whoever looks finds a whole run."""
    rows = [(f"{name}, run {k + 1}", r) for name, several in records.items()
            for k, r in enumerate(several)]

    def refused(row: Numbers) -> bool:
        return row["codes"][1] != 0 and "InputError" in row["words"][1]

    met = [(k, r) for k, r in rows if r["together"]]
    return [
        nothing(f"looks of {sum(r['looks'] for _, r in rows)} at a file of two processes that "
                "found no whole run", [k for k, r in rows if r["broken"]], "0"),
        nothing("first processes that a second one disturbed",
                [f"{k} ({r['words'][0].splitlines()[-1:]})" for k, r in rows if r["codes"][0]],
                "0"),
        nothing("files that do not hold the bits of the uncut run in the end",
                [k for k, r in rows if not r["same"]], "0"),
        nothing(f"second processes of {len(met)} that were not refused",
                [k for k, r in met if not refused(r)] or ["none was tried"] * (not met), "0")]


def campaigns() -> tuple[Campaign, ...]:
    """The rest of C4."""
    signals = tuple(f"{s} on {name}" for s in ("SIGTERM", "SIGINT")
                    for name in ("two peaks", "counts"))
    return (
        Campaign("C4 signals", "does a run that is asked to stop leave a whole file to go on from?",
                 signals, range(1, 11), signalled_run, judge_signals, 15.0),
        Campaign("C4 full disk", "does a disk without space leave the run that was saved?",
                 ("calls", "sizes"), range(1, 4), full_run, judge_full, 5.0),
        Campaign("C4 read-only", "is a folder that may not be written to refused?",
                 ("read-only",), range(1, 4), read_only_run, judge_read_only, 8.0),
        Campaign("C4 shared", "is the second of two processes on one file refused?",
                 ("counts",), range(1, 11), shared_run, judge_shared, 12.0))
