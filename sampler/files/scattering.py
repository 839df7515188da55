"""Small-angle scattering: canSAS 1D XML and the PDH files of Anton Paar and others.

canSAS 1D (https://www.cansas.org/formats/canSAS1d/1.1/doc/): a SASentry holds SASdata of Idata
with Q, I and perhaps Idev, each with its unit.  PDH (PCG suite, Graz): five header lines, of which
the third begins with the number of points, then q, I and its standard deviation; Anton Paar
appends the units as XML.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from sampler.errors import InputError
from sampler.files.contents import Source
from sampler.files.tables import Table, chosen, columns_of, labelled

LARGEST_XML = 64 * 2**20      # the tree takes some twenty times as much


def is_xml(text: str) -> bool:
    """Does it begin as XML does?"""
    return re.match(r"\s*<(\?xml|!DOCTYPE|!--|[A-Za-z])", text, re.IGNORECASE) is not None


def read_cansas(source: Source) -> Table:
    """One data set of a canSAS 1D file: Q, I and what else each point has.

    Parameters
    ----------
    source : Source
        Its part is the name (title) of the entry or its number from 1.

    Returns
    -------
    Table
        x is Q, y is I, the standard deviations are Idev where the file has them; units in the
        names.

    Raises
    ------
    InputError
        For XML that breaks off or declares a DOCTYPE (never expanded), for several data sets and
        no part, listing them, for points without Q or I, mixed units, or a cell that is no
        number.
    """
    root = _root(source)
    found = [(entry, data) for entry in _all(root, "SASentry") for data in _all(entry, "SASdata")]
    if not found:
        raise InputError(source.path, f"XML with the root <{_tag(root)[:40]}> and no SASdata",
                         "canSAS 1D: SASroot, SASentry, SASdata, Idata")
    names = [" ".join((_text(entry, "Title"), data.get("name", ""))).strip()
             for entry, data in found]
    _, data = found[chosen(source.path, source.part, names, "entry")]
    points = _all(data, "Idata")
    if not points:
        raise InputError(f"{source.path}, SASdata", "no Idata", "points with Q and I")
    kinds = [_tag(child) for child in points[0]]
    for needed in ("Q", "I"):
        if needed not in kinds:
            raise InputError(f"{source.path}, Idata 1, {needed}", "nothing", "a number")
    kinds = ["Q", "I", *(k for k in kinds if k not in ("Q", "I"))]
    rows, units = [], dict[str, str]()
    for i, point in enumerate(points, start=1):
        here = {_tag(child): child for child in point}
        for kind in kinds:
            if kind not in here:
                raise InputError(f"{source.path}, Idata {i}, {kind}", "nothing", "a number")
            unit = here[kind].get("unit", "")
            if units.setdefault(kind, unit) != unit:
                raise InputError(f"{source.path}, Idata {i}, {kind}", f"the unit {unit!r}",
                                 f"{units[kind]!r}, as in the points before")
        rows.append((i, [(here[kind].text or "").strip() for kind in kinds]))
    labels = [labelled(k, "" if units[k] == "none" else units[k]) for k in kinds]
    try:
        columns = columns_of(source.path, labels, rows, "as in the points before")
    except InputError as error:      # a point of XML has no line of its own
        raise InputError(error.field.replace(", line ", ", Idata "), error.received,
                         error.expected) from None
    return Table(source.path, tuple(labels), columns, source.notes, tuple(at for at, _ in rows),
                 sigma=kinds.index("Idev") if "Idev" in kinds else None, row="Idata")


def _root(source: Source) -> ElementTree.Element:
    # Entities are only ever declared in a DOCTYPE; text that was decoded here hides none.
    if "<!doctype" in source.text.lower() or "<!entity" in source.text.lower():
        raise InputError(source.path, "a DOCTYPE in the XML", "XML without one",
                         "canSAS files have none: it could make the file grow without bounds")
    if len(source.text) > LARGEST_XML:
        raise InputError(source.path, f"{len(source.text) / 2**20:.0f} MiB of XML",
                         f"at most {LARGEST_XML // 2**20} MiB")
    try:
        return ElementTree.fromstring(source.text)
    except ElementTree.ParseError as error:
        raise InputError(f"{source.path}, line {error.position[0]}",
                         f"XML that breaks here ({str(error).partition(':')[0]})",
                         "a whole XML file") from None


def _tag(element: ElementTree.Element) -> str:
    """Its name without the namespace: the versions of canSAS differ in it."""
    return str(element.tag).rpartition("}")[2]


def _all(element: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return [child for child in element if _tag(child) == tag]


def _text(element: ElementTree.Element, tag: str) -> str:
    return next(((child.text or "").strip() for child in _all(element, tag)), "")


def is_pdh(text: str) -> bool:
    """Are there a keyword line SAXS, a line of whole numbers, and two lines of five numbers?"""
    lines = text.split("\n", 5)[:5]
    return (len(lines) == 5 and lines[1].split()[:1] == ["SAXS"]
            and re.fullmatch(r"(\s*-?\d+){8}\s*", lines[2]) is not None)


def read_pdh(source: Source) -> Table:
    """A PDH file: q, I and its standard deviation, as many points as the third line says.

    Parameters
    ----------
    source : Source

    Returns
    -------
    Table
        Units in the names where an XML trailer gives them.

    Raises
    ------
    InputError
        For more or fewer points than announced, or a cell that is no number.
    """
    if source.part:
        raise InputError(f"{source.path}: part", repr(source.part),
                         "no part: this is a single curve")
    lines = source.lines
    points = int(lines[2].split()[0])
    end = next((i for i in range(5, len(lines)) if lines[i].lstrip().startswith("<")), len(lines))
    rows = [(i + 1, lines[i].split()) for i in range(5, end) if lines[i].strip()]
    if len(rows) != points or not rows:
        raise InputError(f"{source.path}, after line 5", f"{len(rows)} rows of data",
                         f"{points}, as line 3 says")
    units = dict(re.findall(r'<column key="([XY])">\s*<value key="unit">([^<]*)</value>',
                            source.text))
    names = [labelled("q", _plain(units.get("X", ""))), labelled("I", _plain(units.get("Y", ""))),
             "sigma"]
    columns = columns_of(source.path, names, rows, "q, I and its standard deviation")
    return Table(source.path, tuple(names), columns, source.notes, tuple(at for at, _ in rows),
                 sigma=2)


def _plain(unit: str) -> str:
    """``n_m^-1`` as ``nm^-1``: Anton Paar sets an underscore behind the prefix."""
    return re.sub(r"\b([a-zA-Z])_(?=[a-zA-Z])", r"\1", unit)
