"""Tables read from disk: of any layout, damaged, and the files that are shipped."""

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sampler import Data, InputError
from sampler.files import read_data, read_table

ROOT = Path(__file__).resolve().parent.parent
WANTED = [[0.0, 1.5, 3.0], [1.0, -2.5, 1e-3]]
LAYOUTS = {
    "comma": "x,y\n0,1\n1.5,-2.5\n3,1e-3\n",
    "comma and blanks": "x , y\n0 , 1\n1.5 , -2.5\n3 , 1e-3\n",
    "no header": "0,1\n1.5,-2.5\n3,1e-3\n",
    "semicolon": "x;y\n0;1\n1.5;-2.5\n3;1e-3\n",
    "tab": "x\ty\n0\t1\n1.5\t-2.5\n3\t1e-3\n",
    "blanks": "x y\n0 1\n1.5   -2.5\n  3 1e-3\n",
    "decimal comma": "x;y\n0;1\n1,5;-2,5\n3,0;0,001\n",
    "decimal comma, blanks": "0,0 1,0\n1,5 -2,5\n3,0 0,001\n",
    "windows": "x,y\r\n0,1\r\n1.5,-2.5\r\n3,1e-3\r\n",
    "old mac": "x,y\r0,1\r1.5,-2.5\r3,1e-3\r",
    "mark": "\ufeffx,y\n0,1\n1.5,-2.5\n3,1e-3\n",
    "comments": "# a\n% b\n! c\n// d\nx,y\n\n0,1\n# e\n1.5,-2.5\n\n3,1e-3\n\n",
    "quotes": '"x","y"\n"0","1"\n"1.5","-2.5"\n"3","1e-3"\n',
    "no last newline": "x,y\n0,1\n1.5,-2.5\n3,1e-3",
    "plus signs": "x,y\n+0,+1\n+1.5,-2.5\n3.,+.001\n",
    "trailing comma": "x,y,\n0,1,\n1.5,-2.5,\n3,1e-3,\n",
    "trailing comma, no header": "0,1,\n1.5,-2.5,\n3,1e-3,\n",
    "trailing semicolon, decimal comma": "x;y;\n0;1;\n1,5;-2,5;\n3,0;0,001;\n",
    "trailing tab": "x\ty\t\n0\t1\t\n1.5\t-2.5\t\n3\t1e-3\t\n",
    "trailing blanks": "x y  \n0 1 \n1.5 -2.5  \n3 1e-3\t\n",
    "tab, decimal comma": "x\ty\n0\t1\n1,5\t-2,5\n3\t1e-3\n",
    "quotes, decimal comma": '"x","y"\n"0","1"\n"1,5","-2,5"\n"3","0,001"\n',
    "decimal comma, windows, mark": "\ufeffx;y\r\n0;1\r\n1,5;-2,5\r\n3;1e-3\r\n",
    "comment after the header": "x,y\n# units: s, V\n0,1\n1.5,-2.5\n3,1e-3\n",
    "blank lines at both ends": "\n \n\t\nx,y\n0,1\n1.5,-2.5\n\n3,1e-3\n\n\n",
    "a third column": "x,y,z\n0,1,7\n1.5,-2.5,8\n3,1e-3,9\n",
}
def write(folder: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_give_the_same_numbers(name: str, tmp_path: Path) -> None:
    table = read_table(write(tmp_path, LAYOUTS[name]))
    assert table.columns[:2].tolist() == WANTED
    if "x" in LAYOUTS[name]:
        assert table.names[:2] == ("x", "y")
    said = " ".join(table.notes)
    assert ("decimal commas" in said) == ("decimal" in name)
    assert ("byte-order mark" in said) == ("mark" in name)
    assert ("end of every line" in said) == (name.startswith("trailing") and name not in (
        "trailing tab", "trailing blanks"))
    if name in ("comma", "semicolon", "tab", "blanks", "windows"):
        assert not table.notes                       # nothing unusual, nothing said


def test_utf16_and_latin1_are_read_and_said(tmp_path: Path) -> None:
    text = "T (\u00b5s),y\n0,1\n1.5,-2.5\n3,1e-3\n"
    for encoding, word in (("utf-16", "byte-order"), ("latin-1", "Latin-1")):
        table = read_table(write(tmp_path, text.encode(encoding)))
        assert table.columns.tolist() == WANTED
        assert table.names[0] == "T (\u00b5s)"
        assert any(word in note for note in table.notes)


def test_unsorted_x_is_used_as_it_is_and_said(tmp_path: Path) -> None:
    data = read_data(write(tmp_path, "x,y\n2,1\n0,2\n1,3\n"), 0.1)
    assert data.x.tolist() == [2, 0, 1]
    assert any("not in increasing order" in note for note in data.notes)


BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "no lines of data"), "blank": (" \n\t\n\n", "no lines of data"),
    "mark only": ("\ufeff", "no lines of data"), "comments only": ("# a\n", "no lines of data"),
    "header only": ("x,y\n", "a header and no data"), "one column": ("x\n1\n2\n", "one column"),
    "ragged": ("x,y\n0,1\n1\n2,3\n3,4\n", "line 3"),
    "extra cell": ("x,y\n0,1\n1,2,3\n2,3\n", "line 3"),
    "text": ("x,y\n0,1\n1,two\n", "line 3, y: received 'two'"),
    "empty cell": ("x,y\n0,1\n1,\n", "line 3, y"),
    "empty cells": ("x,y\n0,\n1,\n", "line 2, y"),
    "no header, one column": ("1\n2\n", "one column"),
    "one column, trailing comma": ("x,\n1,\n2,\n", "line 2"),
    "after comments": ("# a\n\n# b\nx,y\n0,1\n# c\n1,two\n", "line 7, y: received 'two'"),
    "windows": ("x,y\r\n0,1\r\n1,two\r\n", "line 3, y: received 'two'"),
    "damaged first line": ("0,n/a\n1,2\n2,3\n3,4\n", "line 1, column 2: received 'n/a'"),
    "two decimal points": ("x,y\n0,1\n1,2.3.4\n", "line 3, y: received '2.3.4'"),
    "thousands": ("x;y\n0;1\n1;1,234,567\n", "line 3, y: received '1,234,567'"),
    "footer": ("x,y\n0,1\n1,2\nend\n", "line 4: received 1 columns"),
    "header cells with blanks": ("T (K) y\n0 1\n1 2\n", "line 2: received 2 columns"),
    "other delimiter": ("x|y\n1|2\n2|3\n", "one column"),
    "hexadecimal": ("x,y\n0,1\n0x10,2\n", "line 3, x: received '0x10'"),
    "binary": (b"\x00\x01\x02\x03" * 50, "a binary file"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "a binary file"),
    "half a character": (b"\xff\xfex", "a header and no data"),
    "a long quoted cell": ('"' + "9" * 200_000 + "\n1,2\n", "column"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_by_line(name: str, tmp_path: Path) -> None:
    text, words = BAD[name]
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < len(str(path)) + 200


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "gone.csv")
    for path, words in ((tmp_path / "none.csv", "no such file"), (tmp_path, "a folder"),
                        (link, "no such file"), (Path("/dev/null"), "not a regular file"),
                        (tmp_path / "none" / "x.csv", "no such file"), (Path(""), "a folder"),
                        (tmp_path / ("a" * 5000), "File name too long")):
        with pytest.raises(InputError, match=words) as caught:
            read_table(path)
        assert caught.value.field == str(path)


def test_a_file_that_may_not_be_read_is_refused(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "x,y\n0,1\n")

    def forbidden(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(InputError, match="Permission denied"):
        read_table(path)


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 2**40)          # sparse: takes no room
    with pytest.raises(InputError, match="at most 512 MiB"):
        read_table(path)


# --- columns and ranges --------------------------------------------------------------------------

SPECTRUM = "Energy (eV),counts,err,flag\n3,30,0.3,1\n1,10,0.1,nan\n2,20,0.2,1\n4,40,0.4,1\n"


def test_columns_by_name_or_number(tmp_path: Path) -> None:
    path = write(tmp_path, SPECTRUM)
    wanted = Data([3, 1, 2, 4], [30, 10, 20, 40], [0.3, 0.1, 0.2, 0.4])
    for keywords in ({}, {"x": 1, "y": 2}, {"x": "Energy (eV)", "y": "counts", "sigma": "err"},
                     {"x": "1", "sigma": "3"}):
        data = read_data(path, "column", **keywords)     # the column err is found by its name
        for name in ("x", "y", "deviation"):
            assert np.array_equal(getattr(data, name), getattr(wanted, name))
        assert (data.x_label, data.y_label, data.name) == ("Energy (eV)", "counts", "data.csv")
    turned = read_data(path, 0.5, x="counts", y="Energy (eV)")
    assert turned.x.tolist() == [30, 10, 20, 40]
    assert (turned.x_label, turned.y_label) == ("counts", "Energy (eV)")
    factor = read_data(path, "unknown", sigma="err")
    assert (factor.noise_name, factor.deviation.tolist()) == ("noise_factor", [0.3, 0.1, 0.2, 0.4])


@pytest.mark.parametrize("header", ["sigma", "Error", "ERR", "dy", "e", "std"])
def test_a_column_of_errors_is_known_by_its_name(header: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"x,y,z,{header}\n0,1,5,0.1\n1,2,6,0.2\n")
    assert read_data(path, "column").deviation.tolist() == [0.1, 0.2]
    path = write(tmp_path, "x,y,z,w\n0,1,5,0.1\n1,2,6,0.2\n")
    assert read_data(path, "column").deviation.tolist() == [5.0, 6.0]      # else the third


@pytest.mark.parametrize("noise", ["unknown", "poisson", 0.5])
def test_a_column_of_errors_is_used_only_when_asked_for(noise: Any, tmp_path: Path) -> None:
    assert set(read_data(write(tmp_path, SPECTRUM), noise).deviation) <= {1.0, 0.5}


@pytest.mark.parametrize(("keywords", "field"), [
    ({"x": "energy"}, "x column"), ({"y": 5}, "y column"), ({"y": 0}, "y column"),
    ({"y": -1}, "y column"), ({"x": "1.0"}, "x column"), ({"x": ""}, "x column"),
    ({"sigma": "dy"}, "sigma column"), ({"sigma": 9}, "sigma column"), ({"y": 1.7}, "y column")])
def test_missing_columns_are_refused_with_what_is_there(
        keywords: Any, field: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape("Energy (eV), counts, err, flag")) as caught:
        read_data(write(tmp_path, SPECTRUM), "column", **keywords)
    assert caught.value.field.endswith(field)


def test_noise_from_a_column_needs_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sigma column"):
        read_data(write(tmp_path, "x,y\n0,1\n1,2\n"), "column")
    with pytest.raises(InputError, match="line 3, sigma: received 0"):
        read_data(write(tmp_path, "x,y,s\n0,1,1\n1,2,0\n"), "column")
    assert read_data(write(tmp_path, "x,y,s\n0,1,1\n1,2,0\n"), "column", range=(0, 0)).size == 1


@pytest.mark.parametrize(("bounds", "kept"), [
    ((1, 3), [3, 1, 2]), ((1, 2.999), [1, 2]), ((-math.inf, 2), [1, 2]), ((4, 4), [4]),
    ((0, 100), [3, 1, 2, 4])])
def test_a_range_keeps_its_ends_and_the_order(bounds: Any, kept: list[float],
                                              tmp_path: Path) -> None:
    data = read_data(write(tmp_path, SPECTRUM), "column", range=bounds)
    assert data.x.tolist() == kept
    assert data.y.tolist() == [10 * v for v in kept]
    assert data.deviation.tolist() == [v / 10 for v in kept]


@pytest.mark.parametrize("bounds", [(5, 9), (1.2, 1.8), (3, 1), (math.nan, 2)])
def test_a_range_without_points_is_refused_with_where_they_are(
        bounds: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="from 1 to 4") as caught:
        read_data(write(tmp_path, SPECTRUM), 0.1, range=bounds)
    assert caught.value.field == "range"


def test_order_is_said_of_the_points_that_are_used(tmp_path: Path) -> None:
    path = write(tmp_path, SPECTRUM)
    assert any("not in increasing order" in n for n in read_data(path, 0.1).notes)
    assert not read_data(path, 0.1, range=(1, 2)).notes
    again = Data.from_csv(path, noise=0.1, range=(1, 2))
    assert again.x.tolist() == [1, 2]


def test_not_a_number_matters_only_where_it_is_used(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y,z\n0,1,nan\n1,2,5\n2,nan,6\n")
    assert read_data(path, 0.1, range=(0, 1)).size == 2
    with pytest.raises(InputError, match="line 4, y: received nan"):
        read_data(path, 0.1)


@pytest.mark.parametrize("cell", ["nan", "NaN", "inf", "-inf", "1e400"])
def test_cells_that_are_not_finite_are_refused_by_line(cell: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 3, counts"):
        read_data(write(tmp_path, f"x,counts\n0,1\n1,{cell}\n"), 0.1)


# --- the files that are shipped ------------------------------------------------------------------

NIST = {"Gauss1": 250, "Gauss2": 250, "Lanczos1": 24, "Lanczos2": 24, "Lanczos3": 24, "BoxBOD": 6,
        "Misra1a": 14, "Chwirut2": 54}


@pytest.mark.parametrize("name", NIST)
def test_nist_files_are_x_and_y_whatever_their_order(name: str) -> None:
    """Second route: the data start at line 61 of every file, y first."""
    path = ROOT / f"data/nist_strd/{name}.dat"
    data = read_data(path, "unknown")
    y, x = np.loadtxt(path, skiprows=60).T
    assert data.size == NIST[name]
    assert np.array_equal(data.x, x)
    assert np.array_equal(data.y, y)
    assert any("NIST" in note for note in data.notes)


# Points, without the header line and the comments.
DERIVED = {"tidy/musr_emu_relaxation.csv": 986, "tidy/sans_aot_core_contrast.csv": 137,
           "tidy/sans_aot_drop_contrast.csv": 136, "tidy/sans_aot_shell_contrast.csv": 137,
           "tidy/saxs_anton_paar.csv": 673, "tidy/xas_fe_pf9a.csv": 1426,
           "tidy/xas_v_foil.csv": 463, "tidy/xps_ag3d.csv": 361, "tidy/xps_feo_fe2p.csv": 1121,
           "nmr/t1_inversion_recovery_dnplab304.csv": 8}


def test_every_tidy_table_is_listed_here() -> None:
    assert {f"tidy/{p.name}" for p in (ROOT / "data/tidy").glob("*.csv")} <= set(DERIVED)


@pytest.mark.parametrize("name", DERIVED)
def test_derived_tables_are_read_as_numpy_reads_them(name: str) -> None:
    path = ROOT / "data" / name
    table = read_table(path)
    with path.open(encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    assert np.array_equal(table.columns, np.loadtxt(lines[1:], delimiter=",").T)
    assert list(table.names) == lines[0].strip().split(",")
    assert not table.notes
    data = read_data(path, "column" if len(table.names) > 2 else "unknown")
    assert data.size == DERIVED[name]
    assert data.x_label == table.names[0]


@pytest.mark.parametrize(("file", "shape"), [
    ("xrd/MnO.xy", (2, 9001)), ("xas/fe3c_rt.xdi", (3, 348)), ("musr/MUSR62260_top.txt", (3, 2011)),
    ("sas/Alumina_usaxs.csv", (3, 112))])
def test_instrument_files_are_read_as_they_came(file: str, shape: tuple[int, int]) -> None:
    table = read_table(ROOT / "data" / file)
    assert table.columns.shape == shape
    assert np.isfinite(table.columns).all()
