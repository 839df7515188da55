"""Saved runs: one ``.npz`` of plain arrays, no pickle, checked before it is believed.

The file is written beside the target and moved into place; the generation before is kept as
``NAME.previous``.  Schema 4, for C chains of S counted sweeps, R rungs, P free parameters, data
sets b of n points, N of them padded in all:

========================  ================  ======================================================
entry                     type, shape       what
========================  ================  ======================================================
``betas``                 f8 (R)            inverse temperatures
``energy``                u1 (8, C, R, S)   U before each exchange: byte planes of f8, lowest first
``replica``               u1 (2, C, R, S)   which replica sat at the rung: byte planes of i2
``draws``                 u1 (8, C, P, S)   parameters at beta = 1: byte planes of f8
``steps``                 f8 (R, P)         steps of the random walk, frozen
``state_*``               see `State`       all that the next sweep depends on, bit for bit
``x{b}``, ``y{b}``        f8 (n)            data set b
``deviation{b}``          f8 (n)            its standard deviations (1 where they are unknown)
``record``                u1, JSON text     schema, burn_in, seed, stopped, seconds, versions, and
                                            the formulas, priors and noise law of every data set
``sha256``                u1, 64 letters    over name, type, shape and bytes of all the others
========================  ================  ======================================================

What makes a file large is one energy for each sweep *and rung*, all of which F needs, bit for bit;
of these the leading bytes are compressed away, the trailing ones are noise.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from sampler.data import POISSON, Data
from sampler.errors import InputError
from sampler.exchange import Run, State
from sampler.kernels.amplitudes import integrable
from sampler.kernels.problem import LANES
from sampler.model import Model, Term
from sampler.parsing import parse_formula
from sampler.posterior import Posterior, joint
from sampler.priors import from_text, to_text

SCHEMA = 4
READABLE = (3, SCHEMA)     # before 4 all noise was normal or Poisson
LARGEST_ARRAY = 8 * 2**30
_ARRAYS = ("betas", "energy", "replica", "draws", "steps")
_PACKED = ("energy", "draws", "replica")    # one row for each sweep: all that is large
_WRITING = threading.Lock()                 # threads share the claim of their process


def save_run(run: Run, path: str | Path) -> Path:
    """Write a run to one file, atomically; an older file of that name becomes ``.previous``.

    Parameters
    ----------
    run : Run
    path : str or Path
        Ending ``.npz``.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        For another ending, or while another process has `claimed` the file.
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise InputError("path", str(path), "a name ending in .npz")
    arrays = {name: np.asarray(getattr(run, name)) for name in _ARRAYS}
    arrays |= {f"state_{f.name}": np.asarray(getattr(run.state, f.name)) for f in fields(State)}
    record = {
        "schema": SCHEMA, "burn_in": run.burn_in, "seed": str(run.seed), "stopped": run.stopped,
        "seconds": run.seconds, "versions": dict(run.versions),
        "integrated": list(run.integrated),
        "blocks": [_describe(block, b, arrays) for b, block in enumerate(run.posterior.blocks)]}
    text = json.dumps(record, sort_keys=True)
    arrays["record"] = np.frombuffer(text.encode(), dtype=np.uint8)
    arrays = _packed(arrays)
    arrays["sha256"] = np.frombuffer(_digest(arrays).encode(), dtype=np.uint8)
    target.parent.mkdir(parents=True, exist_ok=True)
    with claimed(target), _WRITING:
        _replace(target, arrays)
    return target


def _replace(target: Path, arrays: dict[str, Any]) -> None:
    """Under its claim nobody else writes the target, so that one fixed name serves for what is
    unfinished: what a kill left behind is overwritten by the next."""
    temporary = target.with_name(f"{target.name}.tmp")
    try:
        with open(temporary, "wb") as file:     # with the user's own permissions
            np.savez_compressed(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            _keep(target, target.with_suffix(".npz.previous"))
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _packed(arrays: dict[str, Any]) -> dict[str, Any]:
    """Byte planes of the large arrays, sweep after sweep: the leading bytes of a number hardly
    change from sweep to sweep, so that they compress, which the number as a whole does not."""
    out = dict(arrays)
    for name in _PACKED:
        value = np.ascontiguousarray(np.moveaxis(arrays[name], 1, 2), dtype=arrays[name].dtype)
        planes = value.view(np.uint8).reshape(*value.shape, value.dtype.itemsize)
        out[name] = np.ascontiguousarray(np.moveaxis(planes, -1, 0))
    return out


def _unpacked(arrays: dict[str, Any]) -> dict[str, Any]:
    """The inverse, bit for bit; `_belongs_together` judges what comes out."""
    out = dict(arrays)
    for name, kind in zip(_PACKED, (np.float64, np.float64, np.int16), strict=True):
        planes = arrays[name]
        if planes.dtype != np.uint8 or planes.ndim != 4 or len(planes) != np.dtype(kind).itemsize:
            raise ValueError(name)
        value = np.ascontiguousarray(np.moveaxis(planes, 0, -1)).view(kind)[..., 0]
        out[name] = np.ascontiguousarray(np.moveaxis(value, 2, 1))
    return out


def _keep(target: Path, previous: Path) -> None:
    """A second name for the present file, so that at no instant the run has none."""
    beside = previous.with_suffix(".previous.tmp")
    beside.unlink(missing_ok=True)
    try:
        try:
            os.link(target, beside)
        except OSError:                     # a file system without hard links
            shutil.copy2(target, beside)
        os.replace(beside, previous)
    finally:
        beside.unlink(missing_ok=True)


# ---- one process at a time ----------------------------------------------------------------------

_CLAIMS: dict[Path, tuple[int, int]] = {}    # lock -> its handle, and how often it is held here
_CLAIMING = threading.Lock()


@contextmanager
def claimed(path: str | Path) -> Iterator[None]:
    """Keep a file of a run, or a folder of them, for this process alone while it counts.

    What ends the process, a kill too, ends the claim.  The lock is a file beside the run, or in
    the folder; it is removed at the end, and means nothing where it was left behind.

    Parameters
    ----------
    path : str or Path
        What will be written; its folder must exist.

    Raises
    ------
    InputError
        While another process has claimed it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, claimed(f"{folder}/run.npz"):
    ...     os.listdir(folder)      # load, resume and save as often as you like
    ['run.npz.lock']
    """
    target = Path(path).resolve()
    lock = target / ".lock" if target.is_dir() else target.with_name(f"{target.name}.lock")
    with _CLAIMING:
        handle, held = _CLAIMS.get(lock, (-1, 0))
        _CLAIMS[lock] = (_locked(lock, path) if held == 0 else handle), held + 1
    try:
        yield
    finally:
        with _CLAIMING:
            handle, held = _CLAIMS.pop(lock)
            if held > 1:
                _CLAIMS[lock] = handle, held - 1
            elif handle >= 0:
                lock.unlink(missing_ok=True)
                os.close(handle)


def _locked(lock: Path, path: str | Path) -> int:
    try:
        import fcntl
    except ImportError:             # Windows: nothing is claimed, nothing refused
        return -1
    while True:
        handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if lock.exists() and os.path.samestat(os.stat(lock), os.fstat(handle)):
                return handle
            os.close(handle)        # its owner removed it while we came: once more
        except BlockingIOError:
            os.close(handle)
            raise InputError(str(path), "a run that another process is counting",
                             "one process at a time",
                             "wait for it to end, or write to another place") from None
        except OSError as error:
            os.close(handle)
            lock.unlink(missing_ok=True)
            warnings.warn(f"{path} cannot be kept from other processes ({error.strerror}): see "
                          "that no other writes it", stacklevel=4)
            return -1


def load_run(path: str | Path) -> Run:
    """Read a run back, bit for bit.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Run

    Raises
    ------
    InputError
        For a missing, damaged or foreign file, or one of another version.
    """
    arrays = _read(Path(path))
    stored = bytes(arrays.pop("sha256")).decode("ascii", "replace")
    if stored != _digest(arrays):
        raise InputError(str(path), "a damaged file (checksum differs)", "an intact saved run",
                         "its previous generation may be beside it, as .npz.previous")
    try:
        run = _run(_unpacked(arrays), str(path))
        belongs = _belongs_together(run)
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
        belongs = False
    if not belongs:
        raise InputError(str(path), "a file whose parts do not belong together",
                         "a run saved by this project")
    return run


def _run(arrays: dict[str, Any], path: str) -> Run:
    record = json.loads(bytes(arrays["record"]))
    if record.get("schema") not in READABLE:
        raise InputError(path, f"schema {record.get('schema')}",
                         f"schema {' or '.join(map(str, READABLE))}",
                         "it was written by another version")
    parts = [_rebuild(block, b, arrays, path) for b, block in enumerate(record["blocks"])]
    posterior = parts[0] if len(parts) == 1 else joint(*parts)
    kept: dict[str, Any] = {f.name: arrays[f"state_{f.name}"] for f in fields(State)}
    kept["sweep"] = int(kept["sweep"])
    result: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
    return Run(posterior=posterior, **result, burn_in=record["burn_in"],
               seed=int(record["seed"]), stopped=record["stopped"], seconds=record["seconds"],
               state=State(**kept), versions=record["versions"],
               integrated=tuple(record.get("integrated", ())))


def _belongs_together(run: Run) -> bool:
    """Whether shapes, types and places are those that the compiled kernels trust."""
    chains, sweeps, rungs = run.energy.shape
    free, state = run.posterior.dimension, run.state
    points = sum(-(-block.data.size // LANES) * LANES for block in run.posterior.blocks)
    per_chain = {"theta": free, "state": points, "quad": len(run.posterior.blocks)}
    wanted: list[tuple[Any, tuple[int, ...], type]] = [
        (run.betas, (rungs,), np.float64), (run.energy, (chains, sweeps, rungs), np.float64),
        (run.replica, (chains, sweeps, rungs), np.int16),
        (run.draws, (chains, sweeps, free), np.float64), (run.steps, (rungs, free), np.float64),
        (state.energy, (chains, rungs), np.float64), (state.rung, (chains, rungs), np.int64),
        (state.accepted, (rungs, free), np.int64), (state.proposed, (rungs, free), np.int64),
        *((getattr(state, f"jump_{name}"), (rungs,), np.int64)
          for name in ("on", "accepted", "proposed")),
        *((getattr(state, f"jump_{name}"), (rungs, state.jump_edge.shape[-1], *more), np.float64)
          for name, more in (("edge", ()), ("height", ()), ("mean", (free,)),
                             ("root", (free, free))))]
    if free:                                # a model without parameters has no state
        wanted += [(getattr(state, name), (chains, rungs, size), np.float64)
                   for name, size in per_chain.items()]
    if run.integrated and integrable(run.posterior, run.integrated) != run.integrated:
        return False
    return (all(a.shape == shape and a.dtype == kind for a, shape, kind in wanted)
            and bool(np.all(np.sort(state.rung, axis=1) == np.arange(rungs)))
            and min(chains, sweeps, rungs) > 0)


def _describe(block: Any, b: int, arrays: dict[str, Any]) -> dict[str, Any]:
    model, data = block.model, block.data
    arrays[f"x{b}"], arrays[f"y{b}"], arrays[f"deviation{b}"] = data.x, data.y, data.deviation
    return {
        "terms": [{"formula": t.formula.name, "text": t.formula.text(), "prefix": t.prefix,
                   "parameters": list(t.formula.parameters), "names": list(t.names)}
                  for t in model.terms],
        "priors": [[name, to_text(prior)] for name, prior in model.priors.items()],
        "orderings": [list(group) for group in model.orderings],
        "poisson": data.law == POISSON, "tails": data.tails, "noise_name": data.noise_name,
        "noise_prior": data.noise_prior and to_text(data.noise_prior),
        "x_label": data.x_label, "y_label": data.y_label, "name": data.name,
        "notes": list(data.notes)}


def _rebuild(block: dict[str, Any], b: int, arrays: dict[str, Any], path: str) -> Posterior:
    terms = tuple(Term(parse_formula(t["formula"], t["text"], tuple(t["parameters"])),
                       t["prefix"], tuple(t["names"])) for t in block["terms"])
    model = Model(terms, {n: from_text(text, f"{path}: prior of {n}")
                          for n, text in block["priors"]},
                  tuple(tuple(group) for group in block["orderings"]))
    labels = {k: block[k] for k in ("x_label", "y_label", "name")}
    labels |= {"notes": tuple(block["notes"]), "tails": block.get("tails")}
    x, y, deviation = (arrays[f"{k}{b}"] for k in ("x", "y", "deviation"))
    if block["poisson"]:
        data = Data(x, y, "poisson", **labels)
    elif block["noise_prior"]:
        one = np.all(deviation == 1.0)
        data = Data(x, y, from_text(block["noise_prior"]), sigma=None if one else deviation,
                    noise_name=block["noise_name"], **labels)
    else:
        data = Data(x, y, deviation, **labels)
    return Posterior(model, data)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(str(path), "no such file", "a saved run (.npz)")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > LARGEST_ARRAY:
            raise InputError(str(path), f"{size / 2**30:.1f} GiB of arrays",
                             f"at most {LARGEST_ARRAY // 2**30} GiB")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except InputError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError, zlib.error,
            NotImplementedError):
        raise InputError(str(path), "a damaged or foreign file", "a saved run (.npz)") from None
    needed = {"record", "sha256", *_ARRAYS, *(f"state_{f.name}" for f in fields(State))}
    if not needed <= set(arrays):
        raise InputError(str(path), f"no {sorted(needed - set(arrays))[0]} in it",
                         "a run saved by this project")
    return arrays


def _digest(arrays: dict[str, Any]) -> str:
    total = hashlib.sha256()
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {value.dtype.str} {value.shape} ".encode())
        total.update(value.tobytes())
    return total.hexdigest()
