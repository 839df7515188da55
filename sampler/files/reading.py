"""From a path to a table, and from a table to `sampler.Data`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.data import Data
from sampler.errors import InputError
from sampler.files import delimited, hdf5, photoemission, relaxation, scattering, xafs
from sampler.files.contents import Source, located, short_name, source
from sampler.files.tables import Table

# By content; the first that recognises the text reads it, `delimited` what nobody claims.
FORMATS: tuple[tuple[Callable[[str], bool], Callable[[Source], Table]], ...] = (
    (photoemission.is_vamas, photoemission.read_vamas),
    (photoemission.is_scienta, photoemission.read_scienta),
    (xafs.is_xdi, xafs.read_xdi),
    (xafs.is_xmu, xafs.read_xmu),
    (xafs.is_9809, xafs.read_9809),
    (scattering.is_xml, scattering.read_cansas),
    (scattering.is_pdh, scattering.read_pdh),
    (delimited.is_nist, delimited.read_nist),
)
# By ending: what such a file must begin with, for a refusal that says more than "no number".
BEGINNINGS = {
    ".vms": "VAMAS Surface Chemical Analysis Standard Data Transfer Format 1988 May 4",
    ".xdi": "# XDI/1.0", ".xml": "<?xml or <SASroot", ".pdh": "three lines, the second SAXS, the "
    "third with 8 whole numbers", ".nxs": hdf5.BEGINNING, ".h5": hdf5.BEGINNING,
    ".hdf5": hdf5.BEGINNING, ".hdf": hdf5.BEGINNING,
}


def read_table(path: str | Path) -> Table:
    """Columns of numbers from a measured file, whatever its format.

    CSV, TSV, xy and dat tables (delimiter, header, decimal comma, comments and byte-order mark
    recognised, and said), NIST StRD, XDI, .xmu, KEK-PF 9809, VAMAS, Scienta text, canSAS 1D XML,
    PDH, Bruker folders with ser and vdlist, and HDF5 or NeXus (with h5py).

    Parameters
    ----------
    path : str or Path
        ``FILE``, or ``FILE:PART`` for one of several spectra: the name or number of a VAMAS
        block, a Scienta region or a canSAS entry, the path inside an HDF5 file
        (``scan.nxs:/entry/data``).

    Returns
    -------
    Table

    Raises
    ------
    InputError
        For a missing, empty, binary, ragged or damaged file, naming the line and what was
        expected; where the file leaves a choice, listing the choices.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "run.txt"
    ...     _ = file.write_text("# t (us), asymmetry, E\\n0.1,0.25,0.01\\n0.2,0.24,0.01\\n")
    ...     table = read_table(file)
    >>> table.names, table.sigma, table.columns.shape
    (('t (us)', 'asymmetry', 'E'), 2, (3, 2))
    """
    file, part = located(path)
    folder = relaxation.experiment(file)
    if folder is not None:
        return relaxation.read_relaxation(folder, part=part)
    if hdf5.is_hdf5(file):
        return hdf5.read_hdf5(file, part)
    found = source(file, part)
    reader = next((read for recognised, read in FORMATS if recognised(found.text)), None)
    if reader is not None:
        return reader(found)
    if found.ending in BEGINNINGS:
        first = next((line for line in found.lines if line.strip()), "")
        raise InputError(f"{found.path}, line 1", repr(first[:40]),
                         f"{BEGINNINGS[found.ending]}, as a {found.ending} file begins",
                         "a plain table may bear the ending .txt")
    return delimited.read_delimited(found)


def read_data(path: str | Path, noise: Any, *, x: str | int | None = None,
              y: str | int | None = None, sigma: str | int | None = None,
              range: tuple[float, float] | None = None,
              mask: Sequence[tuple[float, float]] = (), tails: float | None = None) -> Data:
    """A measured curve from a file of any format that `read_table` knows.

    Parameters
    ----------
    path : str or Path
        ``FILE``, or ``FILE:PART`` for one of several spectra (see `read_table`).
    noise : as for `sampler.Data`, or ``"column"``
        ``"column"``: standard deviations from the sigma column (of a plain table the third, if
        none is named so).
    x, y, sigma : str or int, optional
        Columns by name (with or without its unit) or by number from 1; if not given, those that
        the file names, or the first two.
    range : (lo, hi), optional
        Keep only points with lo <= x <= hi.
    mask : sequence of (lo, hi), optional
        Leave out points with lo <= x <= hi: a glitch, a line of the substrate.
    tails : float, optional
        As for `sampler.Data`.

    Returns
    -------
    Data

    Raises
    ------
    InputError
        Naming the file, the line and the first bad value.
    """
    table = read_table(path)
    ix, iy = table.column(x, "x"), table.column(y, "y")
    assert ix is not None and iy is not None
    column = table.column(sigma, "sigma") if noise == "column" or sigma else None
    if isinstance(noise, str) and noise == "column" and column is None:
        raise InputError(f"{table.path}: sigma column", f"the columns {', '.join(table.names)}"
                         if table.names else "none", "one with standard deviations, or --sigma",
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
    notes = table.notes + _masked(table.columns[ix], keep, mask)
    _finite(table, used, keep)
    values = [table.columns[i][keep] for i in used]
    spread: dict[str, Any] = {}
    if column is not None and noise == "column":
        noise = values[2]
        bad = np.flatnonzero(noise <= 0.0)
        if len(bad):
            raise InputError(f"{table.place(np.flatnonzero(keep)[bad[0]])}, sigma",
                             f"{noise[bad[0]]:g}", "a standard deviation > 0",
                             "remove the point, restrict --range if it lies at an end, or say "
                             "noise poisson if y are counts")
    elif column is not None:
        spread["sigma"] = values[2]
    elif table.sigma is not None and isinstance(noise, str) and noise == "unknown":
        notes += (f"the column {table.names[table.sigma]}, which may be standard deviations, is "
                  "not used",)
    if np.any(np.diff(values[0]) < 0):
        notes += ("x is not in increasing order: used as it is",)
    return Data(values[0], values[1], noise, x_label=table.names[ix], y_label=table.names[iy],
                name=short_name(path), notes=notes, tails=tails, **spread)


def _masked(x: NDArray[np.float64], keep: NDArray[np.bool_],
            mask: Sequence[tuple[float, float]]) -> tuple[str, ...]:
    """Take what is masked out of `keep`; a note for each mask."""
    notes = []
    for lo, hi in mask:
        out = keep & (x >= lo) & (x <= hi)
        if not out.any():
            raise InputError("mask", f"{lo:g}:{hi:g}", "a range in which there are points",
                             f"x goes from {x[keep].min():g} to {x[keep].max():g}")
        keep &= ~out
        notes.append(f"masked: {out.sum()} points with x from {lo:g} to {hi:g}")
        if not keep.any():
            raise InputError("mask", f"{lo:g}:{hi:g}", "a range that leaves some points")
    return tuple(notes)


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
            raise InputError(f"{table.place(bad[0])}, {table.names[i]}",
                             f"{table.columns[i][bad[0]]}", "a finite number",
                             "remove the point, or restrict --range if it lies at an end")
