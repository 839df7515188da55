"""X-ray absorption: XDI, the ``#%`` headers that came before it (.xmu), and KEK-PF 9809.

XDI (Ravel and Newville, J. Phys. Conf. Ser. 712, 012148 (2016); specification 1.0, XAS data
interchange): lines of ``# Family.name: value`` first, of which ``Column.N: name units`` name the
columns, then numbers between blanks.

9809: the text format of the Photon Factory's XAFS beamlines and others in Japan: D spacing and
number of points in the header, then ``Angle(c) Angle(o) time/s`` and one column for each channel,
a ``Mode`` line (1 incoming intensity, 2 transmitted, 3 fluorescence) and an ``Offset`` line
(counts per second).
"""

from __future__ import annotations

import re

import numpy as np

from sampler.errors import InputError
from sampler.files.contents import Source
from sampler.files.delimited import commented_names
from sampler.files.tables import Array, Table, bare, columns_of, number

HC = 12398.419843320026      # h c in eV Angstrom (exact in the SI of 2019)
ABSORPTION = ("mu", "xmu", "mutrans", "mufluor", "murefer", "normtrans", "normfluor", "normrefer")
INCOMING = ("i0",)
TRANSMITTED = ("itrans", "i1", "it")
FLUORESCENCE = ("ifluor", "if", "iff")


def is_xdi(text: str) -> bool:
    """Does the first line name the format?"""
    return re.match(r"#\s*XDI/\d", text) is not None


def read_xdi(source: Source) -> Table:
    """An XDI file: energy, and the absorption that its own column names give.

    Parameters
    ----------
    source : Source

    Returns
    -------
    Table
        x is the energy; y the one column of absorption (mutrans, mufluor, ...), or else
        ln(i0/itrans) or ifluor/i0, put behind the file's own columns; where there are several of
        them the file leaves a choice.

    Raises
    ------
    InputError
        For columns that are missing in the header or in a line, or a cell that is no number.
    """
    _no_part(source)
    lines = source.lines
    names, rows = _commented(lines)
    fields = [m for m in (re.match(r"#\s*Column\.(\d+):\s*([^|]*)", line, re.IGNORECASE)
                          for line in lines) if m]
    if fields:
        numbers = [int(m.group(1)) for m in fields]
        if numbers != list(range(1, len(numbers) + 1)):
            raise InputError(f"{source.path}: Column fields", ", ".join(map(str, numbers)),
                             f"1 to {len(numbers)}, each once and in order")
        names = [re.sub(r"^(\S+)\s+(.+)$", r"\1 (\2)", m.group(2).strip()) for m in fields]
    return _absorption(source, names, rows, f"one for each Column field ({', '.join(names)})")


def is_xmu(text: str) -> bool:
    """Does it begin with the ``#%name: value`` lines of the older format?"""
    return re.match(r"#%\w+\s*:", text) is not None


def read_xmu(source: Source) -> Table:
    """A file with ``#%`` header lines, such as .xmu: energy and absorption.

    Parameters
    ----------
    source : Source

    Returns
    -------
    Table
        As for `read_xdi`; the number of rows is checked against ``#%cols: N ...`` if it is there.

    Raises
    ------
    InputError
        For another number of rows than announced, a ragged line or a cell that is no number.
    """
    _no_part(source)
    lines = source.lines
    names, rows = _commented(lines)
    said = re.search(r"^#%cols\s*:\s*(\d+)((?:\s+\w+)*)", source.text, re.MULTILINE)
    if said:
        names = names or said.group(2).split()
        if len(rows) != int(said.group(1)):
            raise InputError(f"{source.path}, after the header", f"{len(rows)} rows of data",
                             f"{said.group(1)}, as {said.group(0).strip()!r} says")
    return _absorption(source, names, rows, "as the header names")


def _no_part(source: Source) -> None:
    if source.part:
        raise InputError(f"{source.path}: part", repr(source.part),
                         "no part: this is a single scan")


def _commented(lines: list[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names from the comment before the numbers, and the rows of cells."""
    rows = [(i + 1, line.split()) for i, line in enumerate(lines)
            if line.strip() and not line.lstrip().startswith("#")]
    return (commented_names(lines[:rows[0][0] - 1], len(rows[0][1])) if rows else []), rows


def _absorption(source: Source, names: list[str], rows: list[tuple[int, list[str]]],
                expected: str) -> Table:
    if not rows:
        raise InputError(source.path, "a header and no data", "lines of numbers")
    if len(names) < 2:
        raise InputError(f"{source.path}: names of the columns", f"{len(names)} of them",
                         "two or more, in Column fields or the last comment before the numbers")
    columns = columns_of(source.path, names, rows, expected)
    keys = [bare(name).lower() for name in names]
    x = keys.index("energy") if "energy" in keys else 0
    found = [i for i, key in enumerate(keys) if key in ABSORPTION]
    notes = source.notes
    if not found:
        made = list(_ratios(keys, columns))
        found = [len(names) + i for i in range(len(made))]
        names = [*names, *(name for name, _, _ in made)]
        columns = np.array([*columns, *(values for _, _, values in made)])
        notes += tuple(f"{bare(name)} = {how}" for name, how, _ in made)
    return Table(source.path, tuple(names), columns, notes, tuple(at for at, _ in rows), x=x,
                 y=found[0] if len(found) == 1 else None)


def _ratios(keys: list[str], columns: Array) -> list[tuple[str, str, Array]]:
    """What the intensities make: name, formula and values; no number where it has none."""
    out = []
    for kind, formula in ((TRANSMITTED, "mu"), (FLUORESCENCE, "fluorescence")):
        for i in (i for i, key in enumerate(keys) if key in kind):
            for j in (j for j, key in enumerate(keys) if key in INCOMING):
                # A zero is refused later, by its line, and only where it is used.
                with np.errstate(divide="ignore", invalid="ignore"):
                    if formula == "mu":
                        out.append(("mu (dimensionless)", f"ln({keys[j]}/{keys[i]})",
                                    np.log(columns[j] / columns[i])))
                    else:
                        out.append((f"{keys[i]}/{keys[j]} (dimensionless)",
                                    f"{keys[i]}/{keys[j]}", columns[i] / columns[j]))
    return out


def is_9809(text: str) -> bool:
    """Does the first line begin with the name of the format?"""
    return re.match(r"\s*9809\s", text) is not None


def read_9809(source: Source) -> Table:
    """A 9809 file: the energy from the measured angle, and what the modes of the channels give.

    Parameters
    ----------
    source : Source

    Returns
    -------
    Table
        The file's own columns, then the energy (eV) = h c / (2 D sin Angle(o)), then, less
        offset times time, ln(I0/I) for the transmitted or fluorescence/I0 for the fluorescence
        channel; where there are several such channels the file leaves a choice.

    Raises
    ------
    InputError
        For a header without spacing or channels, another number of points than announced, or a
        cell that is no number.
    """
    _no_part(source)
    path, lines = source.path, source.lines
    spacing = re.search(r"\bD=\s*([\d.]+)\s*A\b", source.text)
    points = re.search(r"\bPoints=\s*(\d+)", source.text)
    head = next((i for i, line in enumerate(lines) if line.split()[:1] == ["Angle(c)"]), None)
    if spacing is None or points is None or head is None or len(lines) < head + 3:
        lacking = ("D=" if spacing is None else "Points=" if points is None
                   else "the line Angle(c) Angle(o) with Mode and Offset after it")
        raise InputError(f"{path}: header", f"none of {lacking}", "a whole 9809 header",
                         "the file is cut off or damaged")
    labels = lines[head].split()
    names = [{"Angle(c)": "Angle(c) (deg)", "Angle(o)": "Angle(o) (deg)",
              "time/s": "time (s)"}.get(n, f"channel {n} (counts)") for n in labels]
    mode = _header_numbers(path, lines, head + 1, "Mode", len(labels))
    offset = _header_numbers(path, lines, head + 2, "Offset", len(labels))
    rows = [(i + 1, line.split()) for i, line in enumerate(lines) if i > head + 2 and line.strip()]
    if len(rows) != int(points.group(1)):
        raise InputError(f"{path}, after line {head + 3}", f"{len(rows)} rows of data",
                         f"{points.group(1)}, as the header says")
    columns = columns_of(path, names, rows, "as line " + str(head + 1) + " names")
    angle = np.deg2rad(columns[1])
    bad = np.flatnonzero(~((angle > 0.0) & (angle < np.pi / 2)))
    if len(bad):
        raise InputError(f"{path}, line {rows[bad[0]][0]}, Angle(o)", f"{columns[1][bad[0]]:g}",
                         "an angle between 0 and 90 degrees")
    energy = HC / (2.0 * float(spacing.group(1)) * np.sin(angle))
    made = _channels(names, mode, columns - np.outer(offset, columns[2]))
    notes = (*source.notes, f"energy from Angle(o) with D = {spacing.group(1)} Angstrom",
             *(f"{bare(name)} = {how}, less the offsets" for name, how, _ in made))
    return Table(path, (*names, "energy (eV)", *(name for name, _, _ in made)),
                 np.array([*columns, energy, *(values for _, _, values in made)]), notes,
                 tuple(at for at, _ in rows), x=len(names),
                 y=len(names) + 1 if len(made) == 1 else None)


def _header_numbers(path: str, lines: list[str], at: int, word: str, width: int) -> Array:
    parts = lines[at].split()
    if parts[:1] != [word] or len(parts) != width:     # the first column has the word instead
        raise InputError(f"{path}, line {at + 1}", repr(lines[at].strip()[:40]),
                         f"{word} and {width - 1} numbers")
    try:
        return np.array([0.0, *(number(part) for part in parts[1:])])
    except ValueError:
        raise InputError(f"{path}, line {at + 1}", repr(lines[at].strip()[:40]),
                         f"{word} and {width - 1} numbers") from None


def _channels(names: list[str], mode: Array, counts: Array) -> list[tuple[str, str, Array]]:
    """One curve for each transmitted and each fluorescence channel, if one channel is I0."""
    incoming = np.flatnonzero(mode == 1)
    if len(incoming) != 1:
        return []
    i0, out = incoming[0], []
    with np.errstate(divide="ignore", invalid="ignore"):
        for i in np.flatnonzero(mode == 2):
            out.append((f"mu of {bare(names[i])} (dimensionless)",
                        f"ln({bare(names[i0])} / {bare(names[i])})",
                        np.log(counts[i0] / counts[i])))
        for i in np.flatnonzero(mode == 3):
            out.append((f"fluorescence of {bare(names[i])} (dimensionless)",
                        f"{bare(names[i])} / {bare(names[i0])}", counts[i] / counts[i0]))
    return out
