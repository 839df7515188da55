"""Columns of numbers, and how a refusal names a place in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampler.errors import InputError

Array = NDArray[np.float64]
MOST_LISTED = 30


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of numbers with their names, and what is known of their roles."""

    path: str
    names: tuple[str, ...]    # with the unit where the file gives one: "energy (eV)"
    columns: Array            # (columns, rows)
    notes: tuple[str, ...]    # what was recognised while reading
    lines: tuple[int, ...]    # number of each row's line in the file, from 1
    x: int | None = 0         # index of the column, None where the file leaves a choice
    y: int | None = 1
    sigma: int | None = None  # of standard deviations; None: the file has none
    row: str = "line"         # what a row is counted in

    def column(self, which: str | int | None, role: str) -> int | None:
        """Index of the column for "x", "y" or "sigma": by name, with or without its unit, by
        number from 1, or the file's own; a name must be of one column."""
        own: int | None = getattr(self, role)
        if which is None and (own is None or self.names.count(self.names[own]) == 1):
            if own is None and role != "sigma":
                raise InputError(f"{self.path}: {role} column", "nothing",
                                 f"one of {', '.join(self.names)}", "the file leaves a choice: "
                                 f"say which, such as --{role} {self._suggestion()}")
            return own
        name = str(which) if which is not None else self.names[own or 0]
        for names in (self.names, [bare(n) for n in self.names]):
            found = [i for i, n in enumerate(names) if n == name]
            if len(found) > 1:
                raise InputError(f"{self.path}: {role} column", f"{name!r}, the name of "
                                 f"{len(found)} columns", "a name of one column",
                                 f"say which by its number, such as --{role} {found[0] + 1}")
            if found:
                return found[0]
        number = int(name) if name.isascii() and name.isdigit() else 0
        if not 1 <= number <= len(self.names):
            raise InputError(f"{self.path}: {role} column", repr(which),
                             f"one of {', '.join(self.names)} or a number from 1 to "
                             f"{len(self.names)}")
        return number - 1

    def place(self, i: int) -> str:
        """The file and the row, as a refusal names them."""
        return f"{self.path}, {self.row} {self.lines[i]}"

    def _suggestion(self) -> str:
        name = self.names[-1]
        return name if name.isidentifier() else str(len(self.names))


def bare(name: str) -> str:
    """A column's name without its unit.

    Examples
    --------
    >>> bare("energy (eV)"), bare("I(0) (1/cm)"), bare("I")
    ('energy', 'I(0)', 'I')
    """
    head, blank, unit = name.rpartition(" (")
    return head if blank and unit.endswith(")") else name


def labelled(name: str, unit: str) -> str:
    """A column's name with its unit, where there is one."""
    return f"{name} ({unit})" if unit else name


def number(cell: str, decimal_comma: bool = False) -> float:
    """A cell as a number; ValueError for what people do not write (``1_000``)."""
    if "_" in cell:
        raise ValueError(cell)
    return float(cell.replace(",", ".") if decimal_comma else cell)


def columns_of(path: str, names: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]],
               expected: str, decimal_comma: bool = False) -> Array:
    """Cells to numbers, (columns, rows); refused by line and column.

    Parameters
    ----------
    path : str
    names : sequence of str
        Of the columns: as many as every row must have cells.
    rows : sequence of (line, cells)
    expected : str
        Why a row should have that many cells, for the refusal.
    decimal_comma : bool, optional
    """
    out = np.empty((len(rows), len(names)))
    for k, (line, row) in enumerate(rows):
        if len(row) != len(names):
            raise InputError(f"{path}, line {line}", f"{len(row)} columns",
                             f"{len(names)}, {expected}")
        for j, cell in enumerate(row):
            try:
                out[k, j] = number(cell, decimal_comma)
            except ValueError:
                raise InputError(f"{path}, line {line}, {names[j]}", repr(cell[:40]),
                                 "a number") from None
    return out.T.copy()


def chosen(path: str, part: str, names: Sequence[str], what: str) -> int:
    """Index of the block, region or entry that FILE:PART names; the only one needs no name."""
    if not part and len(names) == 1:
        return 0
    found = [i for i, name in enumerate(names) if name.strip() == part]
    if part and len(found) == 1:
        return found[0]
    index = int(part) if part.isascii() and part.isdigit() and not found else 0
    if 1 <= index <= len(names):
        return index - 1
    listed = ", ".join(f"{i + 1} ({name.strip()})" for i, name in enumerate(names[:MOST_LISTED]))
    listed += ", ..." if len(names) > MOST_LISTED else ""
    received = (f"the name of {len(found)} {what}s, {part!r}" if found else repr(part) if part
                else f"a file of {len(names)} {what}s")
    raise InputError(f"{path}: {what}", received, f"one of {listed}",
                     f"say which by its number, such as FILE:{(found or [0])[0] + 1}")
