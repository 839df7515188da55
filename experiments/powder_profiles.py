"""Powder lines of known structures, and what a phase may look like when it is measured.

A structure's lines (2-theta for one wavelength, integrated intensity, hkl) become columns of a
linear model: one for each line width, lattice scale and strain along c that is allowed for.

    1/d**2   a quadratic form in hkl; its coefficients are fitted to the lines themselves, so that
             c may be changed alone (`lattice`)
    2 theta  2 asin(wavelength / 2d), K-alpha-1 and K-alpha-2 as 2 : 1
    profile  pseudo-Voigt of FWHM w/cos(theta), area as the line's intensity (`profile`)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sampler.errors import InputError

Array = NDArray[np.float64]
Row = tuple[int, float, float, tuple[int, ...]]
HEAD = "phase,space_group,two_theta_deg,intensity,hkl"
MEAN, ALPHA_1, ALPHA_2 = 1.54184, 1.54056, 1.54439      # Cu K-alpha (angstrom)
INDEX = re.compile(r"\((-?\d+)\)|(\d)")


@dataclass(frozen=True, eq=False)
class Lines:
    """The powder lines of one structure."""

    group: int          # number of the space group, 1 to 230
    two_theta: Array    # (lines,) degrees, for the mean K-alpha wavelength
    intensity: Array    # (lines,) integrated, relative
    hkl: Array          # (lines, 3)


@dataclass(frozen=True)
class Variant:
    """One way in which a structure may show itself."""

    width: float        # FWHM times cos(theta), degrees 2-theta
    scale: float        # relative change of all lattice constants
    strain: float       # relative change of c on top of it


def read_lines(path: Path) -> dict[str, Lines]:
    """Structures of a table of lines, named ``FORMULA_GROUP``, in the order of the file.

    Parameters
    ----------
    path : Path
        Comments (#), then ``phase,space_group,two_theta_deg,intensity,hkl``.

    Raises
    ------
    InputError
        With the line of the file, for anything that is no line of a powder pattern.
    """
    rows: dict[str, list[Row]] = {}
    head = False
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not text or text.startswith("#"):
            continue
        if not head:
            if text != HEAD:
                raise InputError(f"{path.name}, line {number}", repr(text), HEAD)
            head = True
            continue
        name, row = _row(text, f"{path.name}, line {number}")
        rows.setdefault(f"{name}_{row[0]}", []).append(row)
    if not rows:
        raise InputError(path.name, "no lines", "one line or more")
    return {name: Lines(of[0][0], *(np.array([r[k] for r in of], dtype=np.float64)
                                    for k in (1, 2, 3))) for name, of in rows.items()}


def _row(text: str, place: str) -> tuple[str, Row]:
    cells = text.split(",")
    if len(cells) != 5:
        raise InputError(place, f"{len(cells)} cells", f"5: {HEAD}")
    try:
        group, angle, intensity = int(cells[1]), float(cells[2]), float(cells[3])
    except ValueError:
        raise InputError(place, repr(text), "numbers in cells 2, 3 and 4") from None
    if not (cells[0] and 1 <= group <= 230 and 0.0 < angle < 180.0 and 0.0 < intensity < 1e9):
        raise InputError(place, repr(text), "a name, a space group from 1 to 230, an angle between "
                         "0 and 180 degrees and an intensity > 0")
    hkl = indices(cells[4], place)
    if 143 <= group <= 194 and len(hkl) == 3:       # rhombohedral axes; ours are hexagonal
        h, k, l = hkl      # noqa: E741
        hkl = (h - k, k - l, -(h - l), h + k + l)
    return cells[0], (group, angle, intensity, (*hkl[:2], hkl[-1]))


def indices(text: str, place: str = "hkl") -> tuple[int, ...]:
    """Miller indices from ``"20(-2)"``; four of them (hexagonal) if h + k + i = 0.

    Examples
    --------
    >>> indices("20(-2)"), indices("3(-1)(-2)(10)")
    ((2, 0, -2), (3, -1, -2, 10))
    """
    found = [int(a or b) for a, b in INDEX.findall(text)]
    if INDEX.sub("", text) or len(found) not in (3, 4) or not any(found):
        raise InputError(place, repr(text), "three or four Miller indices, not all 0")
    if len(found) == 4 and found[0] + found[1] + found[2] != 0:
        raise InputError(place, repr(text), "h + k + i = 0")
    return tuple(found)


def lattice(lines: Lines) -> tuple[Array, Array, Array]:
    """1/d**2 of every line as terms of its crystal system: terms, coefficients, powers of c.

    Returns
    -------
    terms : array (lines, t)
        Products of indices that the symmetry leaves.
    coefficients : array (t,)
        Least squares, 1/angstrom**2.
    powers : array (t,)
        A term goes as c to the minus this power.
    """
    h, k, l = lines.hkl.T      # noqa: E741
    zero, one, two = 0.0, 1.0, 2.0
    terms: list[tuple[Array, float]]
    if lines.group >= 195:
        terms = [(h * h + k * k + l * l, zero)]     # cubic: c is not a constant of its own
    elif lines.group >= 143:
        terms = [(h * h + h * k + k * k, zero), (l * l, two)]
    elif lines.group >= 75:
        terms = [(h * h + k * k, zero), (l * l, two)]
    else:
        terms = [(h * h, zero), (k * k, zero), (l * l, two)]
        if lines.group <= 15:       # monoclinic, whichever axis is unique, and triclinic
            terms += [(h * l, one), (k * l, one), (h * k, zero)]
    matrix = np.stack([t for t, _ in terms], axis=1)
    target = (2.0 * np.sin(np.radians(lines.two_theta / 2.0)) / MEAN) ** 2
    coefficients = np.asarray(np.linalg.lstsq(matrix, target, rcond=None)[0], dtype=np.float64)
    return matrix, coefficients, np.array([p for _, p in terms])


def variants(lines: Lines, grid: Mapping[float, tuple[Any, Any]]) -> list[Variant]:
    """All ways in which a structure may show itself; cubic ones have no c of their own.

    Parameters
    ----------
    lines : Lines
    grid : mapping from width to (scales, strains)
    """
    return [Variant(float(w), float(s), float(e)) for w, (scales, strains) in grid.items()
            for s in scales for e in ((0.0,) if lines.group >= 195 else strains)]


def profile(x: Array, lines: Lines, variant: Variant, mixing: float) -> Array:
    """Counts of a structure at every angle, its highest point 1.

    Parameters
    ----------
    x : array (n,)
        Angles, degrees 2-theta, ascending.
    lines : Lines
    variant : Variant
    mixing : float
        Lorentzian share of a line's height, 0 to 1.

    Returns
    -------
    array (n,)
    """
    matrix, coefficients, powers = lattice(lines)
    strained = matrix @ (coefficients * (1.0 + variant.strain) ** -powers)
    inverse = 2.0 * np.sin(np.radians(lines.two_theta / 2.0)) / MEAN      # 1/d
    inverse = inverse * np.sqrt(strained / (matrix @ coefficients)) / (1.0 + variant.scale)
    counts = np.zeros(len(x))
    for wavelength, share in ((ALPHA_1, 2.0 / 3.0), (ALPHA_2, 1.0 / 3.0)):
        sine = inverse * wavelength / 2.0
        seen = sine < 1.0
        theta = np.arcsin(sine[seen])
        _add_lines(counts, x, np.degrees(2.0 * theta), share * lines.intensity[seen],
                   variant.width / np.cos(theta), mixing)
    return np.asarray(counts / counts.max())


@njit
def _add_lines(counts, x, centers, areas, fwhm, mixing):
    """Pseudo-Voigt lines of given area; the Gaussian part ends where it is below 1e-16."""
    area = mixing * np.pi / 2.0 + (1.0 - mixing) * np.sqrt(np.pi / (4.0 * np.log(2.0)))
    for j in range(len(centers)):
        height = areas[j] / (fwhm[j] * area)
        for i in range(len(x)):
            u = 2.0 * (x[i] - centers[j]) / fwhm[j]
            v = u * u
            counts[i] += height * mixing / (1.0 + v)
            if v < 53.0:
                counts[i] += height * (1.0 - mixing) * 0.5**v


def columns(x: Array, structures: Mapping[str, Lines], grid: Mapping[float, tuple[Any, Any]],
            mixing: float, told: Callable[[int, int], None] | None = None
            ) -> tuple[Array, NDArray[np.int64], list[Variant]]:
    """Every variant of every structure.

    Returns
    -------
    columns : array (n, m)
    first : array (structures + 1,)
        Structure k has the columns ``first[k]`` to ``first[k + 1] - 1``.
    variants : list (m,)
    """
    every = [variants(lines, grid) for lines in structures.values()]
    first = np.concatenate([[0], np.cumsum([len(v) for v in every])])
    out = np.empty((int(first[-1]), len(x)))
    for k, (lines, ways) in enumerate(zip(structures.values(), every, strict=True)):
        for j, way in enumerate(ways):
            out[first[k] + j] = profile(x, lines, way, mixing)
        if told:
            told(k + 1, len(every))
    return out.T, first, [way for ways in every for way in ways]
