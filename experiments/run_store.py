"""Runs that are not made twice: one line of JSON for each, written as soon as it is known.

A campaign of hours that was stopped goes on where it was; a line that was cut while it was written
has no end and is ignored.  The key of a run holds everything that it depends on, so that lines of
other versions are simply not found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Key = tuple[Any, ...]


class RunStore:
    """The runs known so far, by key.

    Parameters
    ----------
    path : path
        One line of JSON for each run, ``{"key": [...], ...}``; made when the first is added.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     RunStore(Path(folder) / "runs.jsonl").add(("line", 1), {"seconds": 0.5})
    ...     again = RunStore(Path(folder) / "runs.jsonl")
    >>> ("line", 1) in again, ("line", 2) in again, again["line", 1]["seconds"]
    (True, False, 0.5)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[Key, dict[str, Any]] = {}
        self.cut = ""           # ends the line that a kill left without an end
        if path.exists():
            text = path.read_text(encoding="utf-8")
            self.cut = "" if text.endswith("\n") or not text else "\n"
            for line in text.splitlines():
                if line.endswith("}"):
                    record = json.loads(line)
                    self.known[_tuple(record["key"])] = record

    def __contains__(self, key: Key) -> bool:
        return _tuple(key) in self.known

    def __getitem__(self, key: Key) -> dict[str, Any]:
        return self.known[_tuple(key)]

    def add(self, key: Key, record: dict[str, Any]) -> None:
        """Keep a run, here and on disk."""
        line = json.dumps({"key": key, **record})
        self.known[_tuple(key)] = json.loads(line)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{self.cut}{line}\n")
        self.cut = ""


def _tuple(key: Iterable[Any]) -> Key:
    return tuple(key)


def machine() -> str:
    """The kind of machine, in words and without its name."""
    import os
    import platform

    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python " \
           f"{platform.python_version()}"
