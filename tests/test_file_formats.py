"""Instruments' own formats: every real file by its name, and damaged copies of each."""

import math
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy.optimize import curve_fit

from sampler import InputError
from sampler.__main__ import main
from sampler.files import Table, default_stem, read_data, read_table, relaxation
from sampler.files.contents import located

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
# Not measured curves: lines computed from structures, another program's results, a title.
NO_CURVES = {"xrd/reference_lines.csv": "line 3, phase: received 'Li2MnF5', expected a number",
             "xps/FeO_analyzed_casaxps_results.csv": "two columns or more",
             "nmr/dnplab_304/title": "lines of numbers"}


def xy(path: str | Path) -> tuple[Any, Any]:
    data = read_data(path, "unknown")
    return data.x, data.y


def tidy(name: str) -> Any:
    return np.loadtxt(DATA / f"tidy/{name}.csv", delimiter=",", skiprows=2).T


def text_of(name: str) -> str:
    return (DATA / name).read_bytes().decode("latin-1").replace("\r\n", "\n")


@pytest.mark.parametrize("path", sorted(
    p for p in DATA.rglob("*") if p.is_file() and "LICENSES" not in p.parts and p.suffix != ".md"),
    ids=lambda p: str(p.relative_to(DATA)))
def test_every_real_file_is_read_by_its_own_name(path: Path) -> None:
    """No option but the noise, which no file says."""
    name = str(path.relative_to(DATA))
    if name in NO_CURVES:
        with pytest.raises(InputError, match=re.escape(NO_CURVES[name])):
            read_table(path)
        return
    data = read_data(path, "unknown")
    assert data.size >= 6 and data.name == path.name
    assert len(np.unique(data.x)) >= 6 and np.ptp(data.y) > 0.0
    table = read_table(path)
    if table.sigma is not None and (table.columns[table.sigma] > 0.0).all():
        assert np.array_equal(read_data(path, "column").deviation, table.columns[table.sigma])


# --- the numbers, by a second route --------------------------------------------------------------


@pytest.mark.parametrize("name", ["Mn2O3", "MnO", "TiO2", "TiO2_MnO"])
def test_xy_files(name: str) -> None:
    wanted = np.loadtxt(DATA / f"xrd/{name}.xy").T
    assert wanted.shape == (2, 9001)
    assert np.array_equal(xy(DATA / f"xrd/{name}.xy"), wanted)


def test_a_csv_without_header() -> None:
    wanted = np.loadtxt(DATA / "sas/Alumina_usaxs.csv", delimiter=",").T
    data = read_data(DATA / "sas/Alumina_usaxs.csv", "column")
    assert np.array_equal([data.x, data.y, data.deviation], wanted) and data.size == 112


@pytest.mark.parametrize(("name", "rows"), [
    ("EMU_116891_long", 986), ("HIFI_160973_muon_count", 797), ("MUSR62260_bkwd", 2011),
    ("MUSR62260_bottom", 2011), ("MUSR62260_fwd", 2011), ("MUSR62260_top", 2011)])
def test_muon_files_have_the_names_of_their_comment(name: str, rows: int) -> None:
    table = read_table(DATA / f"musr/{name}.txt")
    assert np.array_equal(table.columns, np.loadtxt(DATA / f"musr/{name}.txt").T)
    assert (table.names, table.sigma, table.columns.shape) == (("X", "Y", "E"), 2, (3, rows))
    assert any("from the comment" in note for note in table.notes)


def test_muon_counts_are_whole_and_said_to_be_rounded() -> None:
    data = read_data(DATA / "musr/HIFI_160973_muon_count.txt", "poisson")
    assert np.array_equal(data.y, np.round(np.loadtxt(
        DATA / "musr/HIFI_160973_muon_count.txt")[:, 1]))
    assert any("rounded" in note for note in data.notes)
    with pytest.raises(InputError, match=r"line \d+, sigma: received 0, expected .* > 0"):
        read_data(DATA / "musr/HIFI_160973_muon_count.txt", "column")


@pytest.mark.parametrize("name", ["alpha_iron_calibration", "ferrihydrite_77.0K"])
def test_counts_per_channel(name: str) -> None:
    wanted = [int(word) for word in text_of(f"mossbauer/{name}.dat").split()]
    data = read_data(DATA / f"mossbauer/{name}.dat", "poisson")
    assert len(wanted) == 1023 and data.y.tolist() == wanted
    assert data.x.tolist() == list(range(1, 1024))
    assert (data.x_label, data.y_label) == ("channel", "counts")


def test_xdi_takes_the_absorption_that_the_file_names() -> None:
    for name, y, rows in (("cu_metal_rt", 3, 408), ("feo_rt1", 1, 412), ("fe3c_rt", 1, 348)):
        wanted = np.loadtxt(DATA / f"xas/{name}.xdi").T
        data = read_data(DATA / f"xas/{name}.xdi", "unknown")
        assert np.array_equal([data.x, data.y], wanted[[0, y]]) and data.size == rows
        assert (data.x_label, data.y_label) == ("energy (eV)", "mutrans")
    _, i0, transmitted, mu = np.loadtxt(DATA / "xas/cu_metal_rt.xdi").T
    assert np.abs(np.log(i0 / transmitted) - mu).max() < 1e-6      # the convention is the file's


def test_xdi_makes_mu_of_two_intensities() -> None:
    data = read_data(DATA / "xas/v_foil.xdi", "unknown")
    assert np.allclose([data.x, data.y], tidy("xas_v_foil"), rtol=1e-7, atol=1e-8)
    assert data.y_label == "mu (dimensionless)" and "mu = ln(i0/i1)" in data.notes
    raw = read_data(DATA / "xas/v_foil.xdi", "unknown", y="i1")
    assert np.array_equal(raw.y, np.loadtxt(DATA / "xas/v_foil.xdi")[:, 3])
    assert raw.y_label == "i1 (counts)"


def test_xmu() -> None:
    data = read_data(DATA / "xas/fe2o3_rt1.xmu", "unknown")
    assert np.array_equal([data.x, data.y], np.loadtxt(DATA / "xas/fe2o3_rt1.xmu").T[:2])
    assert (data.size, data.x_label, data.y_label) == (412, "energy", "mu")


def test_9809_gives_energy_and_fluorescence() -> None:
    """The tidy table has four and eight digits; its h c ends at 12398.42."""
    data = read_data(DATA / "xas/PF9A_2022.dat", "unknown")
    energy, ratio = tidy("xas_fe_pf9a")
    assert np.abs(data.x - energy).max() < 2e-4
    assert np.allclose(data.y, ratio, rtol=1e-7)
    assert abs(data.x[0] - 6606.20) < 0.05 and abs(data.x[-1] - 8211.20) < 0.15    # the header
    angle, time, i0, fluorescence = np.loadtxt(DATA / "xas/PF9A_2022.dat", skiprows=19)[700, 1:]
    assert data.x[700] == pytest.approx(
        12398.4198 / (2 * 3.13551 * math.sin(math.radians(angle))), rel=1e-8)
    assert data.y[700] == pytest.approx(
        (fluorescence - 7157.1 * time) / (i0 - 7753.7 * time), rel=1e-12)


def test_vamas_irregular() -> None:
    table = read_table(DATA / "xps/FeO_analyzed.vms")
    lines = text_of("xps/FeO_analyzed.vms").split("\n")
    start = lines.index("3363") + 7            # the count, then smallest and largest of three
    wanted = np.array(lines[start:start + 3363], dtype=float).reshape(-1, 3).T
    assert np.array_equal(table.columns[:3], wanted)
    assert table.names == ("Kinetic Energy (eV)", "Intensity", "transmission",
                           "binding energy (eV)")
    assert (table.sigma, lines[table.lines[-1] - 1]) == (None, "792.61")
    energy, intensity = xy(DATA / "xps/FeO_analyzed.vms")
    assert np.allclose([energy[::-1], intensity[::-1]], tidy("xps_feo_fe2p"), rtol=1e-8)
    # An expert's fit of the same file: the main line is at 709.03 eV, 3.86 eV wide.
    expert = float(text_of("xps/FeO_analyzed_casaxps_results.csv").split("\n")[3].split("\t")[1])
    assert abs(energy[intensity.argmax()] - expert) < 3.86 / 2


def test_vamas_regular() -> None:
    table = read_table(DATA / "xps/MgFe2O4_survey_regular.vms")
    lines = text_of("xps/MgFe2O4_survey_regular.vms").split("\n")
    start = lines.index("2702") + 5
    wanted = np.array(lines[start:start + 2702], dtype=float).reshape(-1, 2).T
    assert np.array_equal(table.columns[1:3], wanted) and wanted.shape == (2, 1351)
    assert lines[table.lines[0] - 1] == "1559.87" and lines[table.lines[-1] - 1] == "18.1529"
    energy, counts = xy(DATA / "xps/MgFe2O4_survey_regular.vms")
    assert np.allclose(energy, 1486.61 - (136.61 + np.arange(1351)), atol=1e-9)
    near = abs(energy - 530.0) < 8.0           # O 1s of an oxide, charging included
    assert counts[near].max() > 3 * np.median(counts)
    assert read_data(DATA / "xps/MgFe2O4_survey_regular.vms", "unknown",
                     x="kinetic energy").x[0] == 136.61


def test_scienta() -> None:
    energy, intensity = xy(DATA / "xps/Ag3d_scienta.txt")
    assert np.allclose([energy[::-1], intensity[::-1]], tidy("xps_ag3d"), rtol=1e-7)
    data = read_data(DATA / "xps/Ag3d_scienta.txt", "unknown")
    assert (data.size, data.x_label, data.y_label) == (361, "Binding Energy (eV)", "intensity")


@pytest.mark.parametrize("name", ["Core", "Drop", "Shell"])
def test_cansas(name: str) -> None:
    path = f"sas/AOT_Microemulsion-{name}_Contrast.xml"
    found = re.findall(r"<Q unit=\"1/A\">(.*?)</Q><I unit=\"1/cm\">(.*?)</I>"
                       r"<Idev unit=\"1/cm\">(.*?)</Idev>", text_of(path))
    wanted = np.array(found, dtype=float).T
    table = read_table(DATA / path)
    assert np.array_equal(table.columns[:3], wanted) and wanted.shape == (3, 137)
    assert table.names[:3] == ("Q (1/A)", "I (1/cm)", "Idev (1/cm)") and table.sigma == 2
    shipped = tidy(f"sans_aot_{name.lower()}_contrast")
    assert np.array_equal(wanted[:, wanted[2] > 0], shipped)


def test_pdh() -> None:
    data = read_data(DATA / "sas/Anton-Paar.pdh", "column")
    assert np.allclose([data.x, data.y, data.deviation], tidy("saxs_anton_paar"), rtol=1e-9)
    assert (data.size, data.x_label, data.y_label) == (673, "q (nm^-1)", "I (um^-2)")


def test_bruker_t1_agrees_with_the_derived_curve() -> None:
    """That one left out 72 points; 61 come before the signal.  The same recipe gives the same
    numbers, its default the T1 of PROVENANCE.md, 2.165 +- 0.042 s."""
    folder = DATA / "nmr/dnplab_304"
    delay, intensity, sigma = np.loadtxt(DATA / "nmr/t1_inversion_recovery_dnplab304.csv",
                                         delimiter=",", skiprows=3).T
    same = relaxation.read_relaxation(folder, skip=72).columns
    assert np.allclose(same[0], delay, rtol=1e-12)
    assert np.abs(same[1] - intensity).max() < 5e-4
    assert np.abs(same[2] / sigma - 1.0).max() < 0.2
    data = read_data(folder, "column")
    best, covariance = curve_fit(lambda t, c, a, T1: c - a * np.exp(-t / T1), data.x, data.y,
                                 (1.0, 2.0, 1.0), data.deviation, absolute_sigma=True)
    assert abs(best[2] - 2.165) < 0.042 and 0.02 < covariance[2, 2]**0.5 < 0.08
    assert any("61 points" in note for note in data.notes)
    for name in ("ser", "vdlist", "acqus"):
        assert np.array_equal(xy(folder / name), [data.x, data.y])


def test_bruker_by_hand() -> None:
    """Two traces by the definition of the transform, without FFT, from the bytes."""
    folder = DATA / "nmr/dnplab_304"
    raw, rate = (folder / "ser").read_bytes(), 9980.03992015968
    traces = []
    for k in (0, 7):
        numbers = struct.unpack(">15966i", raw[k * 64512:k * 64512 + 4 * 15966])
        traces.append(np.array(numbers[0::2]) + 1j * np.array(numbers[1::2]))
    short, longest = (trace[61:] for trace in traces)
    time = np.arange(len(short)) / rate
    window = np.exp(-math.pi * 5.0 * time)
    step = rate / len(short)
    bins = [(135 + k) * step for k in range(-119, 120) if abs(k * step) <= 150.0]
    spectra = [[complex((trace * window * np.exp(-2j * math.pi * f * time)).sum()) for f in bins]
               for trace in (short, longest)]
    assert np.abs(spectra[1]).argmax() == len(bins) // 2      # they lie about the strongest
    sums = [sum(spectrum) for spectrum in spectra]
    assert read_table(folder).columns[1][0] == pytest.approx((sums[0] / sums[1]).real, rel=1e-6)
    assert read_table(folder).columns[1][7] == pytest.approx(1.0, rel=1e-12)


# --- damaged copies ------------------------------------------------------------------------------

Damage = Callable[[str], str | bytes]


def cut(at: float, lines: bool = True) -> Damage:
    """The first part of the file: whole lines, or in the middle of one."""
    def damage(text: str) -> str:
        kept = text[:int(at * len(text))]
        return kept[:kept.rfind("\n") + 1] if lines else kept
    return damage


def swap(old: str, new: str) -> Damage:
    def damage(text: str) -> str:
        assert text.count(old) >= 1
        return text.replace(old, new, 1)
    return damage


def encoded(encoding: str) -> Damage:
    return lambda text: text.encode(encoding)


WIDE = encoded("utf-16-le")                    # without its mark
DAMAGES: list[tuple[str, str, Damage, str]] = [
    ("xrd/MnO.xy", "a word", swap("10.05\t2026", "10.05\tn/a"), "line 6, column 2: received 'n/a'"),
    ("xrd/MnO.xy", "a lost number", swap("10.05\t2026", "10.05"), "line 6: received 1 columns"),
    ("xrd/MnO.xy", "a number that is none", swap("10.05\t2026", "10.05\tnan"),
     "line 6, column 2: received nan"),
    ("xrd/MnO.xy", "wide characters", WIDE, "a binary file"),
    ("sas/Alumina_usaxs.csv", "cut off in a line", cut(0.5, lines=False), "columns, expected 3"),
    ("sas/Alumina_usaxs.csv", "two lines in one", swap("1.61065e+06\n", "1.61065e+06,"),
     "received 3 columns, expected 6"),
    ("sas/Alumina_usaxs.csv", "two points", swap("6.32676e+07", "6.32.676"), "'6.32.676'"),
    ("musr/MUSR62260_fwd.txt", "cut off in a line", cut(0.5, lines=False), "columns, expected 3"),
    ("musr/MUSR62260_fwd.txt", "a word", swap(" -0.03781944563533879", " -0.0378x"),
     "line 5, Y: received '-0.0378x'"),
    ("musr/MUSR62260_fwd.txt", "infinite", swap(" -0.03781944563533879", " -inf"),
     "line 5, Y: received -inf"),
    ("mossbauer/ferrihydrite_77.0K.dat", "cut off", cut(0.04), "received one column"),
    ("mossbauer/ferrihydrite_77.0K.dat", "half a count", swap("91468", "91468.5"),
     "line 3: received 91468.5 in one column"),
    ("mossbauer/ferrihydrite_77.0K.dat", "a word", swap("91468", "91a68"), "line 3, counts"),
    ("mossbauer/ferrihydrite_77.0K.dat", "negative", swap("91468", "-91468"), "line 3"),
    ("nist_strd/Gauss1.dat", "cut off", cut(0.6), "expected 250, as the header says"),
    ("nist_strd/Gauss1.dat", "wrong count", swap("250 Observations", "240 Observations"),
     "received 250 rows of data, expected 240"),
    ("nist_strd/Gauss1.dat", "a word", swap("97.62227", "97,62227"), "line 61, y"),
    ("nist_strd/Gauss1.dat", "wide characters", WIDE, "a binary file"),
    ("xas/cu_metal_rt.xdi", "a field lost", swap("# Column.3: itrans\n", ""),
     "Column fields: received 1, 2, 4"),
    ("xas/cu_metal_rt.xdi", "the last field lost", swap("# Column.4: mutrans\n", ""),
     "line 26: received 4 columns, expected 3"),
    ("xas/cu_metal_rt.xdi", "cut off in a line", cut(0.6, lines=False), "columns, expected 4"),
    ("xas/cu_metal_rt.xdi", "a word", swap("149013.7", "149O13.7"),
     "line 27, i0: received '149O13.7'"),
    ("xas/cu_metal_rt.xdi", "header only", cut(0.03), "a header and no data"),
    ("xas/v_foil.xdi", "no light", swap("1.9751400e+05", "0.0"),
     "line 50, mu (dimensionless): received inf"),
    ("xas/fe2o3_rt1.xmu", "cut off", cut(0.7), "expected 412, as '#%cols: 412 E XMU I0' says"),
    ("xas/fe2o3_rt1.xmu", "wrong count", swap("cols: 412", "cols: 421"), "received 412 rows"),
    ("xas/fe2o3_rt1.xmu", "a word", swap("0.80926541", "0.80926541?"), "line 16, mu"),
    ("xas/fe2o3_rt1.xmu", "wide characters", WIDE, "a binary file"),
    ("xas/PF9A_2022.dat", "cut off", cut(0.5), "expected 1426, as the header says"),
    ("xas/PF9A_2022.dat", "cut off in the header", cut(0.002), "header: received none of D="),
    ("xas/PF9A_2022.dat", "wrong count", swap("Points= 1426", "Points= 1425"), "received 1426"),
    ("xas/PF9A_2022.dat", "a word", swap("1792467", "*******"), "line 20, channel 2 (counts)"),
    ("xas/PF9A_2022.dat", "an impossible angle", swap("17.41440", "197.4144"),
     "line 20, Angle(o): received 197.414"),
    ("xas/PF9A_2022.dat", "no offsets", swap("    Offset ", "    Offset x"),
     "line 19: received 'Offset x"),
    ("xps/FeO_analyzed.vms", "cut off", cut(0.5), "the file is cut off"),
    ("xps/FeO_analyzed.vms", "cut off in the header", cut(0.03), "the file is cut off"),
    ("xps/FeO_analyzed.vms", "wrong count", swap("\n3363\n", "\n3360\n"),
     "received '792.61', expected 'end of experiment' after 1 blocks"),
    ("xps/FeO_analyzed.vms", "too large a count", swap("\n3363\n", "\n33630\n"),
     "number of ordinate values: received 33630"),
    ("xps/FeO_analyzed.vms", "a count of thirds", swap("\n3363\n", "\n3362\n"),
     "received 3362 of 3 variables"),
    ("xps/FeO_analyzed.vms", "a word", swap("\n12304.9\n", "\n12304,9\n"),
     "Intensity: received '12304,9'"),
    ("xps/FeO_analyzed.vms", "a line lost", swap("\nIRREGULAR\n", "\n"), "scan mode"),
    ("xps/FeO_analyzed.vms", "wide characters", WIDE, "a binary file"),
    ("xps/FeO_analyzed.vms", "another first line", swap("VAMAS Surface", "Vamos Surface"),
     "line 1: received 'Vamos Surface"),
    ("xps/MgFe2O4_survey_regular.vms", "cut off", cut(0.9), "number of ordinate values"),
    ("xps/MgFe2O4_survey_regular.vms", "wrong count", swap("\n2702\n", "\n2704\n"),
     "received 'end of experiment', expected a number"),
    ("xps/MgFe2O4_survey_regular.vms", "a word", swap("\n1559.87\n", "\n1.#IND\n"),
     "counts: received '1.#IND'"),
    ("xps/MgFe2O4_survey_regular.vms", "no step", swap("\n136.61\n1\n", "\n136.61\nnan\n"),
     "binding energy (eV): received nan"),
    ("xps/Ag3d_scienta.txt", "cut off", cut(0.8), "[Data 1]: received"),
    ("xps/Ag3d_scienta.txt", "no numbers", swap("[Data 1]", "[Date 1]"), "[Data 1]: received"),
    ("xps/Ag3d_scienta.txt", "wrong count", swap("size=361", "size=362"),
     "received 361 rows, expected 362"),
    ("xps/Ag3d_scienta.txt", "a region lost", swap("[Region 1]", "[Region]"),
     "0 [Region] sections"),
    ("xps/Ag3d_scienta.txt", "a word", swap("1.57494897842407E+0001", "1.57494897842407F+0001"),
     "line 47, intensity"),
    ("sas/AOT_Microemulsion-Core_Contrast.xml", "cut off", cut(0.5), "XML that breaks here"),
    ("sas/AOT_Microemulsion-Core_Contrast.xml", "a word", swap(">9.07765<", ">9.O7765<"),
     "Idata 2, I (1/cm): received '9.O7765'"),
    ("sas/AOT_Microemulsion-Core_Contrast.xml", "a point without I",
     swap('<I unit="1/cm">9.07765</I>', ""), "Idata 2, I: received nothing"),
    ("sas/AOT_Microemulsion-Core_Contrast.xml", "an empty cell", swap(">9.07765<", "><"),
     "Idata 2, I (1/cm): received ''"),
    ("sas/AOT_Microemulsion-Core_Contrast.xml", "mixed units",
     swap('<Q unit="1/A">0.011', '<Q unit="1/nm">0.011'), "Idata 2, Q: received the unit '1/nm'"),
    ("sas/AOT_Microemulsion-Core_Contrast.xml", "another root",
     lambda text: text.replace("SASentry", "Entry"), "and no SASdata"),
    ("sas/AOT_Microemulsion-Core_Contrast.xml", "a DOCTYPE", swap(
        "<SASroot", '<!DOCTYPE a [<!ENTITY b "c">]>\n<SASroot'), "a DOCTYPE in the XML"),
    ("sas/Anton-Paar.pdh", "cut off", cut(0.4), "expected 673, as line 3 says"),
    ("sas/Anton-Paar.pdh", "wrong count", swap("      673  ", "      672  "),
     "received 673 rows of data, expected 672"),
    ("sas/Anton-Paar.pdh", "a word", swap("1.976667E+00", "1.97666?E+00"), "line 7, I (um^-2)"),
    ("sas/Anton-Paar.pdh", "a line of two", swap("   6.073753E-02 ", ""), "line 7: received 2"),
    ("sas/Anton-Paar.pdh", "no header", swap("SAXS BOX", "BOX"), "as a .pdh file begins"),
]


@pytest.mark.parametrize(("name", "damage", "change", "words"), DAMAGES,
                         ids=[f"{Path(name).name}, {damage}" for name, damage, _, _ in DAMAGES])
def test_damaged_copies_are_refused_in_one_sentence(
        name: str, damage: str, change: Damage, words: str, tmp_path: Path) -> None:
    changed = change(text_of(name))
    path = tmp_path / Path(name).name
    path.write_bytes(changed if isinstance(changed, bytes) else changed.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        read_data(path, "unknown")
    sentence = str(caught.value)
    assert words in sentence and sentence.startswith(str(path))
    assert "\n" not in sentence and len(sentence) < len(str(path)) + 500


def test_every_format_has_three_damaged_copies() -> None:
    names = [name for name, _, _, _ in DAMAGES]
    for name in ("xrd/MnO.xy", "sas/Alumina_usaxs.csv", "musr/MUSR62260_fwd.txt",
                 "mossbauer/ferrihydrite_77.0K.dat", "nist_strd/Gauss1.dat", "xas/cu_metal_rt.xdi",
                 "xas/fe2o3_rt1.xmu", "xas/PF9A_2022.dat", "xps/FeO_analyzed.vms",
                 "xps/MgFe2O4_survey_regular.vms", "xps/Ag3d_scienta.txt",
                 "sas/AOT_Microemulsion-Core_Contrast.xml", "sas/Anton-Paar.pdh"):
        assert names.count(name) >= 3


def changed_file(name: str, change: Damage) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        text = (folder / name).read_bytes().decode("latin-1")
        changed = change(text)
        (folder / name).write_bytes(changed if isinstance(changed, bytes)
                                    else changed.encode("latin-1"))
    return damage


@pytest.mark.parametrize(("damage", "words"), [
    (changed_file("ser", lambda text: text[:400_000]), "received 400000 bytes, expected 516096"),
    (changed_file("ser", lambda text: "\0" * len(text)), "no signal at the longest delay"),
    (changed_file("vdlist", swap("10.553\n", "")), "received 7 delays, expected 8"),
    (changed_file("vdlist", swap("1.306", "1.3o6")), "line 5, delay: received '1.3o6'"),
    (changed_file("vdlist", swap("1.306", "-1.306")), "line 5, delay: received '-1.306'"),
    (changed_file("vdlist", WIDE), "a binary file"),
    (changed_file("vdlist", lambda text: ""), "received 0 delays"),
    (changed_file("acqus", swap("$TD= 15966", "$TD= 1596O")), "acqus: TD: received '1596O'"),
    (changed_file("acqus", swap("$TD= 15966", "$TD= 7000")), "8 traces of 28672 bytes"),
    (changed_file("acqus", swap("##$SW_h=", "##$SWh=")), "acqus: SW_h: received nothing"),
    (changed_file("acqus", swap("$AQ_mod= 1", "$AQ_mod= 2")), "1 or 3: complex points"),
    (changed_file("acqus", swap("$BYTORDA= 1", "$BYTORDA= 7")), "BYTORDA"),
    (changed_file("acqu2s", swap("$TD= 8", "$TD= 9")), "9 traces"),
    (lambda folder: (folder / "acqus").unlink(), "acqus: received no such file"),
    (lambda folder: (folder / "vdlist").unlink(), "vdlist: received no such file"),
    (lambda folder: (folder / "ser").unlink(), "received a folder, expected a file"),
])
def test_damaged_bruker_folders_are_refused(damage: Callable[[Path], None], words: str,
                                            tmp_path: Path) -> None:
    folder = tmp_path / "304"
    shutil.copytree(DATA / "nmr/dnplab_304", folder, copy_function=shutil.copyfile)
    assert read_data(folder, "unknown").size == 8
    damage(folder)
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        read_data(folder, "unknown")
    assert str(caught.value).startswith(str(folder))


def test_without_acqu2s_the_delays_say_how_many_traces(tmp_path: Path) -> None:
    folder = tmp_path / "304"
    shutil.copytree(DATA / "nmr/dnplab_304", folder, copy_function=shutil.copyfile)
    (folder / "acqu2s").unlink()
    assert np.array_equal(xy(folder), xy(DATA / "nmr/dnplab_304"))


FUZZED = ("musr/EMU_116891_long.txt", "mossbauer/ferrihydrite_77.0K.dat", "nist_strd/Misra1a.dat",
          "xas/v_foil.xdi", "xas/fe2o3_rt1.xmu", "xas/PF9A_2022.dat", "xps/FeO_analyzed.vms",
          "xps/MgFe2O4_survey_regular.vms", "xps/Ag3d_scienta.txt", "sas/Anton-Paar.pdh",
          "sas/AOT_Microemulsion-Core_Contrast.xml")


@pytest.mark.parametrize("name", FUZZED)
def test_whatever_happens_to_a_file_it_is_read_or_refused(name: str, tmp_path: Path) -> None:
    """Forty seeded mutations each: bytes changed, a stretch lost or doubled, an end cut off."""
    good, draw = (DATA / name).read_bytes()[:40_000], Random(name)
    refused = 0
    for _ in range(40):
        raw = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            at, length = draw.randrange(min(len(raw), 4_000)), draw.randrange(60)
            kind = draw.randrange(4)
            if kind == 0:
                raw[at] = draw.randrange(256)
            elif kind == 1:
                del raw[at:at + length]
            elif kind == 2:
                raw[at:at] = raw[at:at + length]
            else:
                del raw[draw.randrange(len(raw) // 2, len(raw)):]
        path = tmp_path / Path(name).name
        path.write_bytes(raw)
        try:
            assert isinstance(read_table(path), Table)
        except InputError:
            refused += 1
    assert refused >= 5                        # the mutations are felt


# --- one of several spectra ----------------------------------------------------------------------


def two_blocks(name: str) -> str:
    """FeO_analyzed with its block twice, the second one under another name."""
    text = text_of("xps/FeO_analyzed.vms")
    head, block = text.split("\n1\nFe 2p\n")
    block = block.removesuffix("end of experiment\n")
    return f"{head}\n2\nFe 2p\n{block}{name}\n{block.replace('12516.9', '1.5')}end of experiment\n"


def test_a_block_of_several_is_named_behind_the_file(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.vms"
    path.write_text(two_blocks("O 1s"))
    with pytest.raises(InputError, match=re.escape(
            "block: received a file of 2 blocks, expected one of 1 (Fe 2p), 2 (O 1s)")):
        read_table(path)
    first, second = (read_table(f"{path}:{part}") for part in ("Fe 2p", "O 1s"))
    assert (first.columns[1, 0], second.columns[1, 0]) == (12516.9, 1.5)
    assert np.array_equal(read_table(f"{path}:2").columns, second.columns)
    assert read_data(f"{path}:O 1s", "unknown").name == "two.vms:O 1s"
    assert main(["fit", f"{path}:O 1s"]) == 2
    assert "; two.vms:O 1s has the columns Kinetic" in capsys.readouterr().err
    assert default_stem(f"{path}:O 1s") == "two" and default_stem(str(path)) == "two"
    for part in ("C 1s", "3", "0", "-1", "2.0"):
        with pytest.raises(InputError, match=r"one of 1 \(Fe 2p\), 2 \(O 1s\)"):
            read_table(f"{path}:{part}")
    path.write_text(two_blocks("Fe 2p"))
    with pytest.raises(InputError, match=r"the name of 2 blocks.*such as FILE:1"):
        read_table(f"{path}:Fe 2p")
    assert read_table(f"{path}:2").columns[1, 0] == 1.5


def test_a_region_of_several(tmp_path: Path) -> None:
    text = text_of("xps/Ag3d_scienta.txt")
    second = text[text.index("[Region 1]"):].replace(" 1]", " 2]").replace("Ag3d", "Ag3p").replace(
        "1.57494897842407E+0001", "2.5")
    path = tmp_path / "two.txt"
    path.write_text(text.replace("Regions=0001", "Regions=0002") + second)
    with pytest.raises(InputError, match=re.escape("one of 1 (Ag3d), 2 (Ag3p)")):
        read_table(path)
    assert read_table(f"{path}:Ag3p").columns[1, 0] == 2.5
    assert np.array_equal(read_table(f"{path}:1").columns,
                          read_table(DATA / "xps/Ag3d_scienta.txt").columns)


def test_an_entry_of_several(tmp_path: Path) -> None:
    text = text_of("sas/AOT_Microemulsion-Core_Contrast.xml")
    entry = text[text.index("<SASentry"):text.index("</SASroot>")]
    path = tmp_path / "two.xml"
    path.write_text(text.replace("</SASroot>", entry.replace("core contrast", "half").replace(
        "8.66097", "2.5") + "</SASroot>"))
    with pytest.raises(InputError, match=re.escape("2 (half AOT me_SANS)")):
        read_table(path)
    assert read_table(f"{path}:half AOT me_SANS").columns[1, 0] == 2.5


@pytest.mark.parametrize("name", ["xrd/MnO.xy", "xas/v_foil.xdi", "xas/fe2o3_rt1.xmu",
                                  "xas/PF9A_2022.dat", "sas/Anton-Paar.pdh", "nmr/dnplab_304"])
def test_a_part_of_what_has_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected no part"):
        read_table(f"{DATA / name}:2")


def test_a_colon_in_a_name_is_no_part(tmp_path: Path) -> None:
    path = tmp_path / "run:2"
    path.write_text("0 1\n1 2\n")
    assert read_table(path).columns.shape == (2, 2) and located(path) == (path, "")
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "run:3")
    with pytest.raises(InputError, match="no such file"):
        read_table(":2")


# --- what a format leaves open -------------------------------------------------------------------


def xdi(columns: str, row: str) -> str:
    fields = "".join(f"# Column.{i + 1}: {c}\n" for i, c in enumerate(columns.split(", ")))
    return f"# XDI/1.0\n{fields}# ///\n#----\n{row}\n{row}\n"


def test_several_absorptions_are_a_choice(tmp_path: Path) -> None:
    path = tmp_path / "scan.xdi"
    for columns, row in (("energy eV, mutrans, mufluor", "1 2 3"),
                         ("energy eV, i0, itrans, ifluor", "1 2 3 4"),
                         ("energy eV, i0", "1 2")):
        path.write_text(xdi(columns, row))
        with pytest.raises(InputError, match=r"y column: received nothing, expected one of energy"):
            read_data(path, "unknown")
    path.write_text(xdi("energy eV, i0, itrans, ifluor", "1 2 4 3"))
    assert read_data(path, "unknown", y="mu").y[0] == pytest.approx(-math.log(2.0))
    assert read_data(path, "unknown", y="ifluor/i0").y[0] == 1.5
    assert read_data(path, "unknown", y=2).y[0] == 2.0
    path.write_text(xdi("i0, energy keV, ifluor counts", "2 7.1 3"))
    data = read_data(path, "unknown")
    assert (data.x[0], data.y[0], data.x_label) == (7.1, 1.5, "energy (keV)")


def test_9809_in_transmission_and_with_two_channels(tmp_path: Path) -> None:
    text = text_of("xas/PF9A_2022.dat")
    path = tmp_path / "scan.dat"
    mode = "      Mode         0         0         1         3"
    path.write_text(text.replace(mode, mode[:-1] + "2"))
    _, i0, i1 = 1.0, 1792467 - 7753.7, 14016 - 7157.1
    data = read_data(path, "unknown")
    assert data.y[0] == pytest.approx(math.log(i0 / i1), rel=1e-12)
    assert data.y_label == "mu of channel 3 (dimensionless)"
    path.write_text(text.replace(mode, mode[:-1] + "1"))
    with pytest.raises(InputError, match="y column: received nothing"):
        read_data(path, "unknown")
    assert read_data(path, "unknown", y="channel 3").y[0] == 14016.0


def test_xmu_of_unnamed_columns_takes_the_names_of_cols(tmp_path: Path) -> None:
    text = re.sub(r"#   energy.*\n", "", text_of("xas/fe2o3_rt1.xmu"))
    path = tmp_path / "scan.xmu"
    path.write_text(text)
    data = read_data(path, "unknown")
    assert (data.x_label, data.y_label) == ("E", "XMU")
    assert np.array_equal([data.x, data.y], xy(DATA / "xas/fe2o3_rt1.xmu"))


def test_vamas_of_another_kind(tmp_path: Path) -> None:
    """Maps and inclusion lists are refused by name; without a known photon energy the kinetic
    energy stays x; sputter profiles carry more items, and are followed."""
    text, path = text_of("xps/MgFe2O4_survey_regular.vms"), tmp_path / "a.vms"
    path.write_text(text.replace("\nREGULAR\n", "\nMAPPING\n"))
    with pytest.raises(InputError, match="received MAPPING"):
        read_table(path)
    path.write_text(text.replace("\nExp Variable\nd\n0\n", "\nExp Variable\nd\n2\n1\n2\n"))
    with pytest.raises(InputError, match="inclusion list: received 2, expected 0"):
        read_table(path)
    path.write_text(text.replace("\n1486.61\n", "\n1e+037\n"))
    assert read_data(path, "unknown").x_label == "kinetic energy (eV)"
    profile = text.replace("\nNORM\n", "\nSDP\n").replace("\nAl\n1486.61\n", "\nAl\n18\n1\n1\n"
                                                          "1486.61\n")
    signal = "\npulse counting\n0.1\n1\n0\n"
    assert signal in profile
    path.write_text(profile.replace(signal, signal + "500\n1\n1\n1\n45\n0\ncyclic\n"))
    assert np.array_equal(xy(path), xy(DATA / "xps/MgFe2O4_survey_regular.vms"))


def test_xml_is_never_expanded(tmp_path: Path) -> None:
    """Entities of entities; and the same, hidden by letters, an encoding or no declaration."""
    levels = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
    bomb = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "ha">{levels}]><SASroot>&e9;</SASroot>'
    path = tmp_path / "bomb.xml"
    for text in (bomb, bomb.replace("<?xml version=\"1.0\"?>", " \n"),
                 bomb.replace("DOCTYPE", "doctype")):
        for encoding in ("utf-8", "utf-16"):
            path.write_text(text, encoding=encoding)
            with pytest.raises(InputError, match="a DOCTYPE in the XML"):
                read_table(path)
    outside = bomb.replace('<!ENTITY e0 "ha">', '<!ENTITY e0 SYSTEM "file:///etc/passwd">')
    path.write_text(outside)
    with pytest.raises(InputError, match="a DOCTYPE in the XML"):
        read_table(path)
    path.write_text("<SASroot>&e9;</SASroot>")
    with pytest.raises(InputError, match="undefined entity"):
        read_table(path)
    path.write_text("<a>" * 100_000)
    with pytest.raises(InputError, match="XML that breaks here"):
        read_table(path)


def test_underscores_make_no_number(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y\n0,1\n1,1_000\n")
    with pytest.raises(InputError, match="line 3, y: received '1_000'"):
        read_table(path)


def test_a_single_column_needs_whole_counts_and_many_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_text("5\n" * 64)
    assert read_table(path).columns.shape == (2, 64)
    for text in ("5\n" * 63, "counts\n" + "5\n" * 64):
        path.write_text(text)
        with pytest.raises(InputError, match="received one column"):
            read_table(path)


def test_names_in_a_comment_must_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for comment, names in (("# q, I", ("q", "I")), ("% t(s) V", ("t(s)", "V")),
                           ("# a b c", ("column 1", "column 2")),
                           ("# 1 2", ("column 1", "column 2")),
                           ("# a b\n# longer than that", ("column 1", "column 2"))):
        path.write_text(f"{comment}\n0,1\n1,2\n")
        table = read_table(path)
        assert table.names == names and bool(table.notes) == (names[0] != "column 1")


# --- HDF5 and NeXus ------------------------------------------------------------------------------


def nexus(path: Path) -> Any:
    """The Fe 2p block as NeXus, and beside it what real files have, too."""
    h5py = pytest.importorskip("h5py")
    table = read_table(DATA / "xps/FeO_analyzed.vms")
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs.update({"NX_class": "NXentry", "default": "data"})
        data = entry.create_group("data")
        data.attrs.update({"NX_class": "NXdata", "signal": "counts", "axes": ["energy"]})
        data["energy"], data["counts"] = table.columns[0], table.columns[1].astype(">f4")
        data["energy"].attrs["units"] = "eV"
        data["counts_errors"] = np.sqrt(table.columns[1])
        data["label"], data["image"] = "Fe 2p", np.zeros((3, 4))
        entry["pairs"] = table.columns[:2].T
        entry["edges"] = entry.create_group("histogram")["time"] = np.arange(6.0)
        entry["histogram/counts"] = [4, 3, 2, 1, 1]
        entry["histogram"].attrs.update({"signal": "counts", "axes": "time"})
        entry["old/x"], entry["old/y"] = [1.0, 2.0], [3.0, 4.0]
        entry["old/x"].attrs["axis"], entry["old/y"].attrs["signal"] = 1, 1
        entry["plain/b"], entry["plain/a"] = [1.0, 2.0], [3.0, 4.0]
        entry["canSAS/Q"], entry["canSAS/I"] = [0.1, 0.2], [5.0, 4.0]
        entry["canSAS/Idev"] = [0.3, 0.2]
        entry["canSAS"].attrs.update({"signal": "I", "I_axes": "Q"})
        entry["canSAS/I"].attrs["uncertainties"] = "Idev"
        entry["linked"] = h5py.SoftLink("/entry/data")
        entry["away"] = h5py.ExternalLink("other.h5", "/")
        entry["broken"] = h5py.SoftLink("/nowhere")
    return table.columns


def test_hdf5_by_default_and_by_path(tmp_path: Path) -> None:
    path = tmp_path / "scan.nxs"
    columns = nexus(path)
    for part in ("", ":/entry/data", ":entry/data/", ":/entry/data/counts", ":/entry/linked"):
        data = read_data(f"{path}{part}", "column")
        assert np.array_equal(data.x, columns[0])
        assert np.array_equal(data.y, columns[1].astype("f4"))
        assert np.array_equal(data.deviation, np.sqrt(columns[1]))
        assert (data.x_label, data.y_label) == ("energy (eV)", "counts")
    assert np.array_equal(xy(f"{path}:/entry/pairs"), columns[:2])
    edges = read_data(f"{path}:/entry/histogram", "poisson")
    assert edges.x.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5] and edges.y.tolist() == [4, 3, 2, 1, 1]
    assert any("bin edges" in note for note in edges.notes)
    assert [v.tolist() for v in xy(f"{path}:/entry/old")] == [[1, 2], [3, 4]]
    small = read_data(f"{path}:/entry/canSAS", "column")
    assert (small.x_label, small.y_label, small.deviation.tolist()) == ("Q", "I", [0.3, 0.2])
    with pytest.raises(InputError, match="x column: received nothing, expected one of a, b"):
        read_data(f"{path}:/entry/plain", "unknown")
    assert read_data(f"{path}:/entry/plain", "unknown", x="b", y="a").y.tolist() == [3, 4]


@pytest.mark.parametrize(("part", "words"), [
    ("/entry/none", "no such group or data set, expected one of /entry/canSAS, /entry/data"),
    ("/entry/broken", "no such group"), ("/entry/data/counts/x", "no such group"),
    ("/entry/away", "a link to another file"), ("/entry/data/label", "received object of shape ()"),
    ("/entry/data/image", "received nan"), ("/entry", "x column: received nothing")])
def test_hdf5_paths_that_lead_nowhere(part: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "scan.nxs"
    nexus(path)
    if part.endswith("image"):                 # two columns or more would be a table: not this one
        part, words = "/entry/data/energy/", "x and y columns"
    with pytest.raises(InputError, match=re.escape(words)):
        read_data(f"{path}:{part}", "unknown")


def test_damaged_hdf5_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "scan.h5"
    nexus(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(InputError, match="HDF5 that cannot be read"):
        read_table(path)
    path.write_bytes(b"\x00" + whole[1:])
    with pytest.raises(InputError, match="a binary file"):
        read_table(path)
    path.write_text("0 1\n1 2\n")
    with pytest.raises(InputError, match=r"the eight bytes of an HDF5 file, as a \.h5 file begins"):
        read_table(path)
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = [1.0, 2.0], [1.0, math.nan]
    with pytest.raises(InputError, match="one of /a, /b"):
        read_table(path)
    with pytest.raises(InputError, match="point 2, b: received nan"):
        read_data(f"{path}:/", "unknown", x="a", y="b")
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = [1.0, 2.0, 3.0], [1.0, 2.0]
        file.attrs.update({"signal": "b", "axes": "c"})
        file["c"] = [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(InputError, match="c: received 4 values, expected 2, as in b"):
        read_table(f"{path}:/")
    with h5py.File(path, "w") as file:
        file.create_dataset("huge", shape=(10**12,), dtype="f8", chunks=(1000,))
    with pytest.raises(InputError, match="1000000000000 values, expected at most"):
        read_table(f"{path}:/huge")
    (tmp_path / "away").write_bytes(bytes(16))
    with h5py.File(path, "w") as file:
        file.create_dataset("a", shape=(2,), dtype="f8", external=[(str(tmp_path / "away"), 0, 16)])
    with pytest.raises(InputError, match="data that lie in other files"):
        read_table(f"{path}:/a")


def test_without_h5py_the_sentence_says_what_to_install(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scan.nxs"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(InputError, match=r"expected h5py; pip install h5py, or the extra io"):
        read_table(path)


# --- from the command line -----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "words"), [
    ("xps/FeO_analyzed.vms", "(x = binding energy (eV), y = Intensity): y has a hump"),
    ("xas/v_foil.xdi", "mu (dimensionless)"),
    ("nmr/dnplab_304", "as relaxation does"), ("sas/Anton-Paar.pdh", "q (nm^-1)")])
def test_a_fit_without_instrument_says_what_is_in_the_file(
        name: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(DATA / name)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.long
def test_a_fit_of_a_bruker_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    """A wiring check: sixty sweeps are no result."""
    monkeypatch.chdir(tmp_path)
    code = main(["fit", str(DATA / "nmr/dnplab_304"), "--instrument", "relaxation", "--K", "1",
                 "--noise", "column", "--sweeps", "60"])
    said = capsys.readouterr().out
    assert code in (0, 1) and (tmp_path / "dnplab_304_fit/table.json").exists()
    assert "8 points, x = delay (s), y = intensity" in said and "61 points" in said


def test_lines_are_counted_as_editors_do(tmp_path: Path) -> None:
    """An ellipsis of Windows, or a form feed, in a comment begins no new line."""
    text = text_of("xps/FeO_analyzed.vms").replace("CasaRowLabel:FeO", "CasaRowLabel:\x85\x0cFeO")
    path = tmp_path / "a.vms"
    path.write_bytes(text.encode("latin-1"))
    assert any("Latin-1" in note for note in read_table(path).notes)
    assert np.array_equal(xy(path), xy(DATA / "xps/FeO_analyzed.vms"))


def test_more_curves_than_columns_keep_their_roles(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        for i in range(80):
            file[f"a{i:02}"] = [1.0, 2.0]
        file["y"], file["x"] = [3.0, 4.0], [5.0, 6.0]
        file.attrs.update({"signal": "y", "axes": "x"})
    assert [v.tolist() for v in xy(f"{path}:/")] == [[5, 6], [3, 4]]
    assert any("82 curves" in note for note in read_table(f"{path}:/").notes)
