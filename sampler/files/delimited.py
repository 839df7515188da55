"""Plain tables: CSV, TSV, xy, dat, muon text, counts per channel, and the NIST StRD files.

A muon or other text table may have its names in a comment just before the numbers
(``# X Y E``); a single column of many whole numbers is a spectrum of counts per channel, as
Moessbauer spectrometers and multichannel analysers write it.  NIST's files
(https://www.itl.nist.gov/div898/strd/) say in which lines their data are, y before x.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence

import numpy as np

from sampler.errors import InputError
from sampler.files.contents import Source
from sampler.files.tables import Table, columns_of, number

Cells = list[tuple[int, list[str]]]      # line in the file, from 1, and its cells
COMMENT = ("#", "%", ";", "!", "//")
DEVIATIONS = ("sigma", "error", "err", "dy", "e", "std")
FEWEST_CHANNELS = 64                     # a shorter single column may be anything


def read_delimited(source: Source) -> Table:
    """A table of numbers between commas, semicolons, tabs or blanks.

    Parameters
    ----------
    source : Source

    Returns
    -------
    Table
        The first two columns are x and y; standard deviations are in the column of that name
        (sigma, error, err, dy, e, std), else in the third.  A single column of whole numbers
        >= 0, at least 64 of them, is read as counts over the channels 1, 2, ...

    Raises
    ------
    InputError
        For an empty or ragged table, or a cell that is no number, by line.
    """
    name = source.path
    if source.part:
        raise InputError(f"{name}: part", repr(source.part), "no part: this is a single table",
                         "say columns by --x, --y and --sigma")
    lines = source.lines
    rows = [(i + 1, line) for i, line in enumerate(lines)
            if line.strip() and not line.lstrip().startswith(COMMENT)]
    if not rows:
        raise InputError(name, "no lines of data", "a table of numbers")
    split, decimal_comma, more = _layout([line for _, line in rows])
    cells: Cells = [(at, [c.strip().strip('"') for c in split(line)]) for at, line in rows]
    if all(len(row) > 2 and not row[-1] for _, row in cells):
        cells = [(at, row[:-1]) for at, row in cells]
        more += ("a delimiter at the end of every line was left out",)
    header: Sequence[str] = []
    at, first = cells[0]
    words = [c for c in first if not _is_number(c, decimal_comma)]
    if words and _is_number(first[0], decimal_comma):    # a damaged line of data, no header
        raise InputError(f"{name}, line {at}, column {first.index(words[0]) + 1}",
                         repr(words[0][:40]), "a number, or names in a whole header line")
    if words:
        header, cells = first, cells[1:]
    else:
        header = commented_names(lines[:at - 1], len(first), split)
        if header:
            more += ("column names from the comment before the numbers",)
    notes = (*source.notes, *more)
    if not words and len(first) == 1:
        return _channels(name, cells, notes)
    return _table(name, header, cells, decimal_comma, notes)


def commented_names(before: Sequence[str], width: int,
                    split: Callable[[str], list[str]] = str.split) -> list[str]:
    """The names in the last comment of the lines before the numbers, if it has just as many words
    as the numbers have columns and none is a number.

    Examples
    --------
    >>> commented_names(["# measured at night", "# X  Y  E", ""], 3)
    ['X', 'Y', 'E']
    """
    last = next((line.strip() for line in reversed(before) if line.strip()), "")
    last = last.lstrip("#%;!/ \t")
    for names in ([c.strip() for c in split(last)], last.split()):
        if len(names) == width > 1 and not any(_is_number(n, False) or not n for n in names):
            return names
    return []


def is_nist(text: str) -> bool:
    """Does the text say that it is one of NIST's StRD files, and where its data are?"""
    return "StRD" in text[:400] and _NIST_DATA.search(text) is not None


_NIST_DATA = re.compile(r"Data\s*\(lines\s+(\d+)\s+to\s+(\d+)\)")
_NIST_COUNT = re.compile(r"(\d+)\s+Observations")


def read_nist(source: Source) -> Table:
    """A NIST StRD file of one predictor: x, then y, as many points as its header says.

    Parameters
    ----------
    source : Source

    Returns
    -------
    Table

    Raises
    ------
    InputError
        For fewer or more rows than the header announces, or a cell that is no number.
    """
    found = _NIST_DATA.search(source.text)
    assert found is not None
    first, last = int(found.group(1)), int(found.group(2))
    lines = source.lines
    rows: Cells = [(i + 1, lines[i].split()) for i in range(first - 1, min(last, len(lines)))
                   if lines[i].strip()]
    count = _NIST_COUNT.search(source.text)
    wanted = int(count.group(1)) if count else last - first + 1
    if len(rows) != wanted:
        raise InputError(f"{source.path}, lines {first} to {last}", f"{len(rows)} rows of data",
                         f"{wanted}, as the header says")
    columns = columns_of(source.path, ("y", "x"), rows, "y and x")
    return Table(source.path, ("x", "y"), columns[::-1].copy(), (
        *source.notes, "a NIST StRD file: the columns are y, then x"),
        tuple(at for at, _ in rows))


def _layout(lines: list[str]) -> tuple[Callable[[str], list[str]], bool, tuple[str, ...]]:
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
        number(cell, decimal_comma)
    except ValueError:
        return False
    return True


def _table(name: str, header: Sequence[str], cells: Cells, decimal_comma: bool,
           notes: tuple[str, ...]) -> Table:
    if not cells:
        raise InputError(name, "a header and no data", "lines of numbers")
    width = len(header) or len(cells[0][1])
    if width < 2:
        raise InputError(name, "one column", "two columns or more: x and y",
                         "between them a comma, a semicolon, a tab or blanks")
    names = tuple(header) if header else tuple(f"column {i + 1}" for i in range(width))
    columns = columns_of(name, names, cells, "as in the lines before", decimal_comma)
    sigma = next((i for i, n in enumerate(names) if n.lower() in DEVIATIONS),
                 2 if width > 2 else None)
    return Table(name, names, columns, notes, tuple(at for at, _ in cells), sigma=sigma)


def _channels(name: str, cells: Cells, notes: tuple[str, ...]) -> Table:
    if len(cells) < FEWEST_CHANNELS:
        raise InputError(name, "one column", "two columns or more: x and y",
                         "between them a comma, a semicolon, a tab or blanks (a single column "
                         f"is read as counts per channel from {FEWEST_CHANNELS} channels on)")
    counts = columns_of(name, ("counts",), cells, "counts per channel, as in the lines before")[0]
    bad = np.flatnonzero((counts < 0) | (counts != np.round(counts)))
    if len(bad):
        raise InputError(f"{name}, line {cells[bad[0]][0]}", f"{counts[bad[0]]:g} in one column",
                         "a count (a whole number >= 0), as in a spectrum over channels, or two "
                         "columns, x and y")
    channels = np.arange(1.0, len(counts) + 1)
    return Table(name, ("channel", "counts"), np.array([channels, counts]), (
        *notes, f"one column: counts over the channels 1 to {len(counts)}"),
        tuple(at for at, _ in cells))
