"""Results of experiments as small JSON files, tracked, so that the book draws without computing.

A result is a frozen dataclass of numbers, strings, lists, mappings and arrays.  Arrays are
stored with seven digits: enough for every figure, small enough for git.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from experiments.paths import RESULTS


def save(name: str, result: Any, folder: Path = RESULTS) -> Path:
    """Write a result to ``folder/name.json`` and return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps({f.name: _plain(getattr(result, f.name)) for f in fields(result)},
                      allow_nan=False, indent=None, separators=(", ", ": "))
    path.write_text(text.replace('], "', '],\n"') + "\n", encoding="utf-8")
    return path


def load(name: str, folder: Path = RESULTS) -> Any:
    """Read ``folder/name.json`` back into the Result of the experiment of that name."""
    result_class = import_module(f"experiments.{name}").Result
    record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return result_class(**{key: value if key == "settings" else _rich(value)
                           for key, value in record.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value] if value.ndim else _plain(value.item())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _rich(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rich(v) for k, v in value.items()}
    if isinstance(value, list) and value and _numeric(value):
        return np.array(value, dtype=np.float64)
    return [_rich(v) for v in value] if isinstance(value, list) else value


def _numeric(value: Any) -> bool:
    """A rectangular nest of numbers (None stands for a missing one)."""
    if not isinstance(value, list):
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if not all(_numeric(v) for v in value):
        return False
    lengths = {len(v) if isinstance(v, list) else -1 for v in value}
    return len(lengths) == 1
