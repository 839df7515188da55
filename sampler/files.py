"""Readers of measured tables: CSV, TSV, xy, dat, and the NIST StRD files.

What is recognised is said (`Data.notes`); what cannot be read is refused with the line and the
first bad value.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.data import Data
from sampler.errors import InputError

Array = NDArray[np.float64]
LARGEST_FILE = 512 * 2**20
_COMMENT = ("#", "%", ";", "!", "//")


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of numbers with their names."""

    path: str
    names: tuple[str, ...]
    columns: Array            # (columns, rows)
    notes: tuple[str, ...]    # what was recognised while reading
    lines: tuple[int, ...]    # number of each row's line in the file, from 1

    def column(self, which: str | int | None, default: int | None, field: str) -> int | None:
        """Index of a column given by name or by number from 1; a name must be of one column."""
        if which is None and default is None:
            return None
        name = str(which) if default is None or which is not None else self.names[default]
        if self.names.count(name) > 1:
            raise InputError(f"{self.path}: {field} column", f"{name!r}, the name of "
                             f"{self.names.count(name)} columns", "a name of one column",
                             f"say which by its number, such as --{field} "
                             f"{self.names.index(name) + 1}")
        if which is None:
            return default
        if name in self.names:
            return self.names.index(name)
        try:
            number = int(str(which))
        except ValueError:
            number = 0
        if not 1 <= number <= len(self.names):
            raise InputError(f"{self.path}: {field} column", repr(which),
                             f"one of {', '.join(self.names)} or a number from 1 to "
                             f"{len(self.names)}")
        return number - 1


def read_data(path: str | Path, noise: Any, *, x: str | int | None = None,
              y: str | int | None = None, sigma: str | int | None = None,
              range: tuple[float, float] | None = None) -> Data:
    """A measured curve from a text table.

    Parameters
    ----------
    path : str or Path
    noise : as for `sampler.Data`, or ``"column"``
        ``"column"``: standard deviations from the sigma column (the third if not named).
    x, y, sigma : str or int, optional
        Columns by name or by number from 1; the first two if not given.
    range : (lo, hi), optional
        Keep only points with lo <= x <= hi.

    Returns
    -------
    Data

    Raises
    ------
    InputError
        Naming the file, the line and the first bad value.
    """
    table = read_table(path)
    ix = table.column(x, 0, "x")
    iy = table.column(y, 1, "y")
    named = next((i for i, n in enumerate(table.names) if n.lower() in (
        "sigma", "error", "err", "dy", "e", "std")), None)
    default = named if named is not None else (2 if len(table.names) > 2 else None)
    assert ix is not None and iy is not None
    column = table.column(sigma, default, "sigma") if noise == "column" or sigma else None
    if isinstance(noise, str) and noise == "column" and column is None:
        raise InputError(f"{table.path}: sigma column", f"{len(table.names)} columns",
                         "a third column with standard deviations, or --sigma",
                         "or say noise unknown, poisson or a number")
    used = [ix, iy] + ([column] if column is not None else [])
    _distinct(table, used)
    keep = np.ones(table.columns.shape[1], dtype=bool)
    if range is not None:
        keep = (table.columns[ix] >= range[0]) & (table.columns[ix] <= range[1])
        if not keep.any():
            lo, hi = table.columns[ix].min(), table.columns[ix].max()
            raise InputError("range", f"{range[0]:g}:{range[1]:g}",
                             f"some of the x values, which go from {lo:g} to {hi:g}")
    _finite(table, used, keep)
    values = [table.columns[i][keep] for i in used]
    spread: dict[str, Any] = {}
    if column is not None and noise == "column":
        noise = values[2]
        bad = np.flatnonzero(noise <= 0.0)
        if len(bad):
            line = np.array(table.lines)[keep][bad[0]]
            raise InputError(f"{table.path}, line {line}, sigma", f"{noise[bad[0]]:g}",
                             "a standard deviation > 0",
                             "remove the point, or restrict --range if it lies at an end")
    elif column is not None:
        spread["sigma"] = values[2]
    notes = table.notes
    if np.any(np.diff(values[0]) < 0):
        notes += ("x is not in increasing order: used as it is",)
    return Data(values[0], values[1], noise, x_label=table.names[ix], y_label=table.names[iy],
                name=Path(table.path).name, notes=notes, **spread)


def read_table(path: str | Path) -> Table:
    """Columns of numbers from a text file.

    Delimiters (comma, semicolon, tab, blanks), a header line, comment lines, a byte-order mark,
    a decimal comma and the layout of NIST StRD files are recognised, and said.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Table

    Raises
    ------
    InputError
        For a missing, empty, binary or ragged file.
    """
    text, notes = _text(Path(path))
    name = str(path)
    lines = text.splitlines()
    nist = re.search(r"Data\s*\(lines\s+(\d+)\s+to\s+(\d+)\)", text)
    if nist and "StRD" in text[:400]:
        rows = [(i + 1, lines[i]) for i in range(int(nist.group(1)) - 1,
                                                  min(int(nist.group(2)), len(lines)))]
        return _nist(name, rows, notes)
    rows = [(i + 1, line) for i, line in enumerate(lines)
            if line.strip() and not line.lstrip().startswith(_COMMENT)]
    if not rows:
        raise InputError(name, "no lines of data", "a table of numbers")
    split, decimal_comma, more = _layout([line for _, line in rows])
    cells = [(number, [c.strip().strip('"') for c in split(line)]) for number, line in rows]
    if all(len(row) > 2 and not row[-1] for _, row in cells):
        cells = [(number, row[:-1]) for number, row in cells]
        more += ("a delimiter at the end of every line was left out",)
    header: list[str] = []
    number, first = cells[0]
    names = [c for c in first if not _is_number(c, decimal_comma)]
    if names and _is_number(first[0], decimal_comma):    # a damaged line of data, no header
        raise InputError(f"{name}, line {number}, column {first.index(names[0]) + 1}",
                         repr(names[0][:40]), "a number, or names in a whole header line")
    if names:
        header = first
        cells = cells[1:]
    return _table(name, header, cells, decimal_comma, (*notes, *more))


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    try:
        if path.is_dir():
            raise InputError(str(path), "a folder", "a file")
        if not path.exists():
            raise InputError(str(path), "no such file", "the path of a text table")
        if not path.is_file():
            raise InputError(str(path), "not a regular file", "a text table")
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(str(path), f"{path.stat().st_size / 2**20:.0f} MiB",
                             f"at most {LARGEST_FILE // 2**20} MiB")
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(str(path), str(error.strerror), "a readable file") from None
    notes: tuple[str, ...] = ()
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"),
                           (b"\xfe\xff", "utf-16")):
        if raw.startswith(mark):
            notes = (f"a byte-order mark was skipped ({encoding})",)
            break
    else:
        encoding = "utf-8"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text, notes = raw.decode("latin-1"), ("not UTF-8: read as Latin-1",)
    if "\0" in text:
        raise InputError(str(path), "a binary file", "a text table")
    return text, notes


def _nist(name: str, rows: list[tuple[int, str]], notes: tuple[str, ...]) -> Table:
    cells = [(number, line.split()) for number, line in rows if line.strip()]
    table = _table(name, ["y", "x"], cells, False,
                   (*notes, "a NIST StRD file: the columns are y, then x"))
    return replace(table, names=("x", "y"), columns=table.columns[::-1].copy())


def _layout(lines: list[str]) -> tuple[Any, bool, tuple[str, ...]]:
    """How to split a line, and whether the decimal sign is a comma."""
    sample = lines[1:6] or lines[:1]

    def most(mark: str) -> bool:
        """In more than half of the lines: one damaged line does not change the layout."""
        return 2 * sum(mark in line.strip() for line in sample) > len(sample)

    if most(";"):
        comma = any(re.search(r"\d,\d", line) for line in sample)
        return (lambda s: s.split(";")), comma, (
            ("semicolons between columns, decimal commas",) if comma else ())
    if most("\t"):
        comma = any(re.search(r"\d,\d", line) for line in sample)
        return (lambda s: s.strip().split("\t")), comma, (
            ("tabs between columns, decimal commas",) if comma else ())
    if most(","):
        blanks = [line.split() for line in sample]
        if all(len(parts) > 1 and all(re.fullmatch(r"[-+]?\d+(,\d+)?([eE][-+]?\d+)?", p)
                                      for p in parts) for parts in blanks):
            return str.split, True, ("blanks between columns, decimal commas",)
        comma = any(re.search(r'"[-+]?\d+,\d+"', line) for line in sample)
        return _commas, comma, (
            ("commas between columns, decimal commas in quotes",) if comma else ())
    return str.split, False, ()


def _commas(line: str) -> list[str]:
    """Cells between commas; a comma in quotes does not count."""
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], skipinitialspace=True))
    except csv.Error:                       # a cell beyond the reader's limit: no number anyway
        return line.split(",")


def _is_number(cell: str, decimal_comma: bool) -> bool:
    try:
        float(cell.replace(",", ".") if decimal_comma else cell)
    except ValueError:
        return False
    return True


def _table(name: str, header: list[str], cells: list[tuple[int, list[str]]], decimal_comma: bool,
           notes: tuple[str, ...]) -> Table:
    if not cells:
        raise InputError(name, "a header and no data", "lines of numbers")
    width = len(header) or len(cells[0][1])
    if width < 2:
        raise InputError(name, "one column", "two columns or more: x and y",
                         "between them a comma, a semicolon, a tab or blanks")
    out = np.empty((len(cells), width))
    names = tuple(header) if header else tuple(f"column {i + 1}" for i in range(width))
    for k, (number, row) in enumerate(cells):
        if len(row) != width:
            raise InputError(f"{name}, line {number}", f"{len(row)} columns",
                             f"{width}, as in the lines before")
        for j, cell in enumerate(row):
            try:
                out[k, j] = float(cell.replace(",", ".") if decimal_comma else cell)
            except ValueError:
                raise InputError(f"{name}, line {number}, {names[j]}",
                                 repr(cell[:40]), "a number") from None
    return Table(name, names, out.T.copy(), notes, tuple(number for number, _ in cells))


def _distinct(table: Table, used: list[int]) -> None:
    roles = ("x", "y", "sigma")
    for k, i in enumerate(used):
        if i in used[:k]:
            raise InputError(f"{table.path}: {roles[used.index(i)]} and {roles[k]} columns",
                             f"{table.names[i]!r} for both", "two columns",
                             "name them with --x, --y and --sigma")


def _finite(table: Table, used: list[int], keep: NDArray[np.bool_]) -> None:
    for i in used:
        bad = np.flatnonzero(~np.isfinite(table.columns[i]) & keep)
        if len(bad):
            raise InputError(f"{table.path}, line {table.lines[bad[0]]}, {table.names[i]}",
                             f"{table.columns[i][bad[0]]}", "a finite number",
                             "remove the point, or restrict --range if it lies at an end")
