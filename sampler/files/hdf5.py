"""HDF5 and NeXus: by path, or by the file's own default plot (h5py, the extra ``io``).

NeXus (https://manual.nexusformat.org/datarules.html): an NXdata group names its signal and axes in
attributes; ``default`` leads to it from the root.  NXcanSAS names errors by ``uncertainties``.

A damaged file is refused, but a file with wrong bytes in the right places can make the HDF5
library itself crash or hang: open only files from where you would take a program.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from sampler.errors import InputError
from sampler.files.contents import checked
from sampler.files.tables import MOST_LISTED, Array, Table, labelled

MAGIC = b"\x89HDF\r\n\x1a\n"
BEGINNING = "the eight bytes of an HDF5 file"
MOST_VALUES = 1_000_000
MOST_COLUMNS = 64


def is_hdf5(path: Path) -> bool:
    """Does the file begin as HDF5 files do (perhaps after a user block)?"""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            for at in (0, 512, 1024, 2048):
                file.seek(at)
                if file.read(len(MAGIC)) == MAGIC:
                    return True
    except OSError:
        return False      # whoever reads it next says what is wrong
    return False


def read_hdf5(path: Path, part: str) -> Table:
    """One-dimensional data sets of an HDF5 file, as columns.

    Parameters
    ----------
    path : Path
    part : str
        Path inside the file to a group or a data set; if empty, the file's default plot.

    Returns
    -------
    Table
        The data sets of the group that are as long as the signal; x, y and standard deviations
        where NeXus attributes name them, else the file leaves a choice.  Bin edges are replaced
        by their middles, and said.

    Raises
    ------
    InputError
        Without h5py; for a damaged file, a path that is not there (listing those that are), links
        to other files, and data that are not one-dimensional numbers.
    """
    checked(path, limit=None)
    try:
        h5py = import_module("h5py")
    except ImportError:
        raise InputError(str(path), "an HDF5 file, without h5py to read it", "h5py",
                         "pip install h5py, or the extra io of this package") from None
    try:
        with h5py.File(path, "r") as file:
            return _read(_Tree(h5py, file, str(path)), part)
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:     # all h5py's
        raise InputError(str(path), f"HDF5 that cannot be read ({str(error)[:120]})",
                         "a whole HDF5 file", "is it cut off, or still being written?") from None


class _Tree:
    """The file, and walking in it without leaving it."""

    def __init__(self, h5py: Any, file: Any, path: str) -> None:
        self.h5py, self.file, self.path = h5py, file, path

    def node(self, inside: str) -> Any:
        """The group or data set at a path, none of whose steps leads to another file."""
        at = self.file
        for step in (s for s in inside.split("/") if s):
            link = at.get(step, getlink=True) if self.is_group(at) else None
            if isinstance(link, self.h5py.ExternalLink):
                raise InputError(f"{self.path}:{inside}", "a link to another file",
                                 "data in this file", "open that file instead")
            at = at.get(step) if link is not None else None
            if at is None or at.file.filename != self.file.filename:
                raise InputError(f"{self.path}:{inside}", "no such group or data set",
                                 f"one of {self.listed()}")
        return at

    def is_group(self, node: Any) -> bool:
        return isinstance(node, self.h5py.Group)

    def listed(self) -> str:
        """The groups to plot, or else the curves, of the file."""
        found: list[str] = []
        plots: list[str] = []

        def look(name: str, node: Any) -> bool | None:
            if self.is_group(node) and _is_plot(node):
                plots.append(f"/{name}")
            elif not self.is_group(node) and _is_curve(node):
                found.append(f"/{name}")
            return True if len(found) + len(plots) > 100 * MOST_LISTED else None

        self.file.visititems(look)
        names = plots or found
        return ", ".join(names[:MOST_LISTED]) + (", ..." if len(names) > MOST_LISTED else "") or (
            "none: the file has no one-dimensional numbers")

    def plots(self) -> list[str]:
        out: list[str] = []
        self.file.visititems(lambda name, node: out.append(f"/{name}") if self.is_group(node)
                             and _is_plot(node) else None)
        return out


def _read(tree: _Tree, part: str) -> Table:
    inside = part or _default(tree)
    node = tree.node(inside)
    if tree.is_group(node):
        return _group(tree, node, inside, _text(node.attrs.get("signal")))
    _usable(tree, node, inside, 2)
    if node.ndim == 2:
        return _columns(tree, node, inside)
    return _group(tree, node.parent, inside, node.name.rpartition("/")[2])


def _default(tree: _Tree) -> str:
    """Where `default` leads, or the only group to plot."""
    at, inside = tree.file, ""
    for _ in range(8):
        step = _text(at.attrs.get("default")) if tree.is_group(at) else ""
        if not step:
            break
        inside = f"{inside}/{step}"
        at = tree.node(inside)
    if inside:
        return inside
    plots = tree.plots()
    if len(plots) == 1:
        return plots[0]
    raise InputError(f"{tree.path}: path", "nothing", f"one of {tree.listed()}",
                     "say which, such as FILE:/entry/data")


def _group(tree: _Tree, group: Any, inside: str, signal: str) -> Table:
    attributes = group.attrs
    found = {name: node for name, node in _members(tree, group) if _is_curve(node)}
    signal = signal or _marked(found, "signal")
    if signal and signal not in found:
        raise InputError(f"{tree.path}:{inside}", f"the signal {signal}, which is no curve",
                         f"one-dimensional numbers, such as one of {tree.listed()}")
    if not found:
        raise InputError(f"{tree.path}:{inside}", "no one-dimensional numbers",
                         f"one of {tree.listed()}")
    sizes = [len(node) for node in found.values()]
    length = len(found[signal]) if signal else max(sizes, key=sizes.count)
    axis, notes = _axis(attributes, found, signal), [f"HDF5: {inside}"]
    roles = {"x": axis, "y": signal, "sigma": _errors(found, signal)}
    names = [n for n in found if len(found[n]) == length or (n == axis and signal)]
    if len(names) > MOST_COLUMNS:
        notes.append(f"{len(names)} curves, of which the first {MOST_COLUMNS} were read")
        names = sorted(names, key=lambda n: n not in roles.values())[:MOST_COLUMNS]
    if axis in names and len(found[axis]) not in (length, length + 1):
        raise InputError(f"{tree.path}:{inside}, {axis}", f"{len(found[axis])} values",
                         f"{length}, as in {signal}")
    columns = []
    for name in names:
        _usable(tree, found[name], f"{inside}/{name}", 1)
        values = np.asarray(found[name][()], dtype=np.float64)
        if len(values) == length + 1:
            values = 0.5 * (values[1:] + values[:-1])
            notes.append(f"{name}: bin edges, replaced by their middles")
        columns.append(values)
    return _table(tree, [labelled(n, _text(found[n].attrs.get("units"))) for n in names],
                  np.array(columns), notes,
                  {role: names.index(n) if n in names else None for role, n in roles.items()})


def _columns(tree: _Tree, node: Any, inside: str) -> Table:
    if node.shape[1] > MOST_COLUMNS or node.shape[1] < 2:
        raise InputError(f"{tree.path}:{inside}", f"the shape {node.shape}",
                         f"(points,) or (points, columns), 2 to {MOST_COLUMNS} columns")
    return _table(tree, [f"column {i + 1}" for i in range(node.shape[1])],
                  np.asarray(node[()], dtype=np.float64).T.copy(), [f"HDF5: {inside}"],
                  {"x": 0, "y": 1, "sigma": None})


def _table(tree: _Tree, names: list[str], columns: Array, notes: list[str],
           roles: dict[str, int | None]) -> Table:
    return Table(tree.path, tuple(names), columns, tuple(notes),
                 tuple(range(1, columns.shape[1] + 1)), **roles, row="point")


def _members(tree: _Tree, group: Any) -> Iterator[tuple[str, Any]]:
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, tree.h5py.ExternalLink):
            node = group.get(name)
            if node is not None and node.file.filename == tree.file.filename:
                yield name, node


def _axis(attributes: Any, found: dict[str, Any], signal: str) -> str:
    """The name of x: an attribute of the group, of the signal (also the old way), or nothing."""
    if not signal:
        return ""
    own = found[signal].attrs
    said = next((_text(v) for v in (attributes.get("axes"), attributes.get(f"{signal}_axes"),
                                    own.get("axes")) if v is not None), "")
    return said if said in found else _marked(found, "axis")


def _errors(found: dict[str, Any], signal: str) -> str:
    if not signal:
        return ""
    said = _text(found[signal].attrs.get("uncertainties"))
    return next((n for n in (said, f"{signal}_errors", "errors") if n in found), "")


def _marked(found: dict[str, Any], role: str) -> str:
    """NeXus before 2014 marked the data sets themselves: ``signal = 1``, ``axis = 1``."""
    return next((n for n, node in found.items() if _text(node.attrs.get(role)) == "1"), "")


def _is_plot(node: Any) -> bool:
    return "signal" in node.attrs or _text(node.attrs.get("NX_class")) == "NXdata"


def _is_curve(node: Any) -> bool:
    return getattr(node, "ndim", 0) == 1 and node.dtype.kind in "iuf" and len(node) > 0


def _usable(tree: _Tree, node: Any, inside: str, dimensions: int) -> None:
    where = f"{tree.path}:{inside}"
    if node.dtype.kind not in "iuf" or not 1 <= node.ndim <= dimensions or not node.size:
        raise InputError(where, f"{node.dtype} of shape {node.shape}",
                         "numbers of shape (points,)", f"there are {tree.listed()}")
    if node.is_virtual or node.external:
        raise InputError(where, "data that lie in other files", "data in this file")
    if node.size > MOST_VALUES:
        raise InputError(where, f"{node.size} values", f"at most {MOST_VALUES}")


def _text(value: Any) -> str:
    """An attribute as text; of several the first."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else (
        "" if value is None else str(value))
