"""Photoemission: VAMAS (ISO 14976) and the text export of Scienta analysers.

VAMAS: one item on each line, in the order of Dench, Hazell and Seah, Surf. Interface Anal. 13, 63
(1988).  REGULAR files give start and step of the abscissa; in IRREGULAR ones it is the first of
the corresponding variables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from sampler.errors import InputError
from sampler.files.contents import Source
from sampler.files.tables import Array, Table, chosen, columns_of, labelled, number

MAGIC = "VAMAS Surface Chemical Analysis Standard Data Transfer Format"
MODES = ("MAP", "MAPDP", "MAPSV", "MAPSVDP", "NORM", "SDP", "SDPSV", "SEM", "NOEXP")
SPUTTERED = ("FABMS", "FABMS energy spec", "ISS", "SIMS", "SIMS energy spec", "SNMS",
             "SNMS energy spec")
PROFILED = ("AES diff", "AES dir", "EDX", "ELS", "UPS", "XPS", "XRF")
NOT_GIVEN = 1e37
UNITLESS = ("", "d", "n", "none", "not specified")      # VAMAS: d dimensionless, n not defined


def is_vamas(text: str) -> bool:
    """Does the first line name the format?"""
    return text[:len(MAGIC)].lower() == MAGIC.lower()


class _Items:
    """The lines of a VAMAS file, taken one after the other."""

    def __init__(self, source: Source) -> None:
        self.path, self.lines, self.at = source.path, source.lines, 0

    def wrong(self, what: str, received: str, expected: str, remedy: str = "") -> InputError:
        return InputError(f"{self.path}, line {self.at}, {what}", received, expected, remedy)

    def text(self, what: str) -> str:
        self.at += 1
        if self.at > len(self.lines):
            raise self.wrong(what, "the end of the file", "this item", "the file is cut off")
        return self.lines[self.at - 1].strip()

    def skip(self, what: str, items: int) -> None:
        for _ in range(items):
            self.text(what)

    def number(self, what: str) -> float:
        text = self.text(what)
        try:
            return number(text)
        except ValueError:
            raise self.wrong(what, repr(text[:40]), "a number") from None

    def count(self, what: str) -> int:
        """A number of lines or items to come: no more than there are lines."""
        value, left = self.number(what), len(self.lines) - self.at
        if not 0 <= value <= left or value != round(value):
            raise self.wrong(what, f"{value:g}", f"a whole number from 0 to {left}, the lines left",
                             "the file is cut off or damaged")
        return int(value)

    def word(self, what: str, known: tuple[str, ...]) -> str:
        text = self.text(what)
        if text.upper() not in known:
            raise self.wrong(what, repr(text[:40]), f"one of {', '.join(known)}")
        return text.upper()


@dataclass(frozen=True, eq=False)
class _Block:
    name: str
    technique: str
    photon: float             # characteristic energy of the source, eV
    names: list[str]          # of the columns, the abscissa first
    columns: Array
    first: int                # line of the first ordinate value


def read_vamas(source: Source) -> Table:
    """One block of a VAMAS file, REGULAR or IRREGULAR.

    Parameters
    ----------
    source : Source
        Its part is the block's identifier or its number from 1.

    Returns
    -------
    Table
        The file's columns (abscissa first).  For XPS and UPS over a kinetic energy, x is the
        binding energy (eV) = source energy - kinetic energy, put behind them; no charge
        correction is made.  y is the first corresponding variable, usually the intensity.

    Raises
    ------
    InputError
        For several blocks and no part, listing them; for an item that is missing or no number,
        counts that do not fit, maps, and parameter inclusion lists.
    """
    items = _Items(source)
    mode, scan, variables, blocks = _header(items)
    found = [_block(items, mode, scan, variables, i + 1) for i in range(blocks)]
    end = items.text("end of experiment")
    if end.lower() != "end of experiment":
        raise items.wrong("end of experiment", repr(end[:40]),
                          f"'end of experiment' after {blocks} blocks",
                          "the numbers of values or of blocks are wrong")
    block = found[chosen(source.path, source.part, [b.name for b in found], "block")]
    names, columns, notes = block.names, block.columns, source.notes
    x = 0
    if (block.technique in ("XPS", "UPS") and names[0].lower().startswith("kinetic")
            and 0.0 < block.photon < NOT_GIVEN):
        x = len(names)
        names = [*names, "binding energy (eV)"]
        columns = np.array([*columns, block.photon - columns[0]])
        notes += (f"binding energy = {block.photon:g} eV - kinetic energy, no charge correction",)
    step = len(block.names) - (scan == "REGULAR")
    return Table(source.path, tuple(names), columns, notes,
                 tuple(block.first + step * i for i in range(columns.shape[1])), x=x, y=1)


def _header(items: _Items) -> tuple[str, str, int, int]:
    items.skip("header", 5)
    items.skip("comment", items.count("number of comment lines"))
    mode = items.word("experiment mode", MODES)
    scan = items.word("scan mode", ("REGULAR", "IRREGULAR", "MAPPING"))
    if scan == "MAPPING":
        raise items.wrong("scan mode", "MAPPING", "REGULAR or IRREGULAR",
                          "maps cannot be read, only spectra")
    if mode in ("MAP", "MAPDP", "NORM", "SDP"):
        items.number("number of spectral regions")
    if mode in ("MAP", "MAPDP"):
        items.skip("analysis positions", 3)
    variables = items.count("number of experimental variables")
    items.skip("experimental variable", 2 * variables)
    if items.number("entries in parameter inclusion list") != 0:
        raise items.wrong("entries in parameter inclusion list", items.lines[items.at - 1],
                          "0: every block with all its parameters",
                          "let the instrument's software write whole blocks")
    items.skip("manually entered item", items.count("manually entered items"))
    upgrades = items.count("future upgrade experiment entries")
    future = items.count("future upgrade block entries")
    items.skip("future upgrade experiment entry", upgrades)
    if future:
        raise items.wrong("future upgrade block entries", str(future), "0")
    blocks = items.count("number of blocks")
    if not blocks:
        raise items.wrong("number of blocks", "0", "at least one")
    return mode, scan, variables, blocks


def _block(items: _Items, mode: str, scan: str, variables: int, which: int) -> _Block:
    name = items.text(f"identifier of block {which}")
    items.text("sample identifier")
    for what in ("year", "month", "day", "hours", "minutes", "seconds", "GMT advance"):
        items.number(what)
    items.skip("block comment", items.count("number of block comment lines"))
    technique = items.text("technique")
    items.skip("map coordinate", 2 if mode in ("MAP", "MAPDP") else 0)
    items.skip("experimental variable", variables)
    items.text("source label")
    if mode in ("MAPDP", "MAPSVDP", "SDP", "SDPSV") or technique in SPUTTERED:
        items.skip("sputtering species", 3)
    photon = items.number("source energy")
    items.skip("source strength and width", 3)
    items.skip("field of view", 2 if mode in ("MAP", "MAPDP", "MAPSV", "MAPSVDP", "SEM") else 0)
    items.skip("line scan", 6 if mode in ("MAPSV", "MAPSVDP", "SEM") else 0)
    items.skip("source angles", 2)
    items.skip("analyser mode, pass energy", 2)
    items.skip("differential width", int(technique == "AES diff"))
    items.skip("analyser settings", 7)
    items.skip("species, transition, charge", 3)
    abscissa = _abscissa(items) if scan == "REGULAR" else None
    kinds = items.count("number of corresponding variables")
    names = [_labelled(items, "corresponding variable") for _ in range(kinds)]
    items.skip("signal mode, time, scans, time correction", 4)
    if technique in PROFILED and mode in ("MAPDP", "MAPSVDP", "SDP", "SDPSV"):
        items.skip("sputtering source", 7)
    items.skip("sample tilt and rotation", 3)
    items.skip("additional parameter", 3 * items.count("number of additional parameters"))
    return _values(items, name, technique, photon, abscissa, names)


def _abscissa(items: _Items) -> tuple[str, float, float]:
    return (_labelled(items, "abscissa"), items.number("abscissa start"),
            items.number("abscissa increment"))


def _labelled(items: _Items, what: str) -> str:
    label, unit = items.text(f"{what} label"), items.text(f"{what} units")
    return labelled(label, "" if unit.lower() in UNITLESS else unit)


def _values(items: _Items, name: str, technique: str, photon: float,
            abscissa: tuple[str, float, float] | None, names: list[str]) -> _Block:
    values, kinds = items.count("number of ordinate values"), len(names)
    if kinds < (1 if abscissa else 2) or not values or values % kinds:
        raise items.wrong("number of ordinate values", f"{values} of {kinds} variables",
                          "as many of each variable, and an abscissa")
    items.skip("smallest and largest value", 2 * kinds)
    first = items.at + 1
    data = np.array([items.number(names[i % kinds]) for i in range(values)]).reshape(-1, kinds).T
    if abscissa:
        label, start, step = abscissa
        names = [label, *names]
        data = np.array([start + step * np.arange(data.shape[1]), *data])
    return _Block(name, technique, photon, names, data, first)


def is_scienta(text: str) -> bool:
    """Does it begin with the section that Scienta's export begins with?"""
    return re.match(r"\s*\[Info\]\s*\n\s*Number of Regions=", text) is not None


def read_scienta(source: Source) -> Table:
    """One region of a Scienta text export.

    Parameters
    ----------
    source : Source
        Its part is the region's name or its number from 1.

    Returns
    -------
    Table
        x is the energy as the file names it; y the intensity where the region has one slice.

    Raises
    ------
    InputError
        For several regions and no part, listing them; for another number of regions or points
        than announced, or a cell that is no number.
    """
    lines = source.lines
    sections = [(i, m.group(1).strip()) for i, line in enumerate(lines)
                if (m := re.fullmatch(r"\s*\[(.+)\]\s*", line))]
    starts = {name: (i, sections[k + 1][0] if k + 1 < len(sections) else len(lines))
              for k, (i, name) in enumerate(sections)}
    regions = [name.split()[1] for name in starts if re.fullmatch(r"Region \d+", name)]
    said = _fields(lines, starts["Info"]).get("Number of Regions", "")
    if not said.isdigit() or int(said) != len(regions) or not regions:
        raise InputError(f"{source.path}, Number of Regions",
                         f"{said!r} with {len(regions)} [Region] sections",
                         "as many sections as said", "the file is cut off or damaged")
    fields = [_fields(lines, starts[f"Region {n}"]) for n in regions]
    k = chosen(source.path, source.part, [f.get("Region Name", "") for f in fields], "region")
    section = f"Data {regions[k]}"
    if section not in starts:
        raise InputError(f"{source.path}, [{section}]", "nothing", "the numbers of the region",
                         "the file is cut off")
    begin, end = starts[section]
    rows = [(i + 1, lines[i].split()) for i in range(begin + 1, end) if lines[i].strip()]
    size = fields[k].get("Dimension 1 size", "")
    if not size.isdigit() or len(rows) != int(size) or not rows:
        raise InputError(f"{source.path}, [{section}]", f"{len(rows)} rows",
                         f"{size}, the Dimension 1 size of the region")
    energy = re.sub(r"\s*\[(.*)\]$", r" (\1)", fields[k].get("Dimension 1 name", "energy"))
    slices = len(rows[0][1]) - 1
    names = [energy, *(["intensity"] if slices == 1 else
                       [f"slice {i + 1}" for i in range(slices)])]
    if slices < 1:
        raise InputError(f"{source.path}, line {rows[0][0]}", "one column", "energy and intensity")
    columns = columns_of(source.path, names, rows, "as in the lines before")
    return Table(source.path, tuple(names), columns, source.notes, tuple(at for at, _ in rows),
                 y=1 if slices == 1 else None)


def _fields(lines: list[str], section: tuple[int, int]) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines[section[0] + 1:section[1]])
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}
