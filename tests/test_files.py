"""What is read from disk and written to it: tables of any layout, saved runs, and damage."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sampler import (
    Data,
    Gamma,
    InputError,
    LogUniform,
    Model,
    Normal,
    Ordered,
    Posterior,
    Run,
    free_energy,
    joint,
    load_run,
    resume,
    sample,
    save_run,
    shapes,
)
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
}


def write(folder: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_give_the_same_numbers(name: str, tmp_path: Path) -> None:
    table = read_table(write(tmp_path, LAYOUTS[name]))
    assert table.columns.tolist() == WANTED
    if "x" in LAYOUTS[name]:
        assert table.names == ("x", "y")
    if "decimal" in name:
        assert any("decimal commas" in note for note in table.notes)
    if name == "mark":
        assert any("byte-order mark" in note for note in table.notes)


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
    "empty": ("", "no lines of data"), "comments only": ("# a\n", "no lines of data"),
    "header only": ("x,y\n", "a header and no data"), "one column": ("x\n1\n2\n", "one column"),
    "ragged": ("x,y\n0,1\n1\n2,3\n3,4\n", "line 3"),
    "extra cell": ("x,y\n0,1\n1,2,3\n2,3\n", "line 3"),
    "text": ("x,y\n0,1\n1,two\n", "line 3, y: received 'two'"),
    "empty cell": ("x,y\n0,1\n1,\n", "line 3, y"),
    "binary": (b"\x00\x01\x02\x03" * 50, "a binary file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_by_line(name: str, tmp_path: Path) -> None:
    text, words = BAD[name]
    with pytest.raises(InputError, match=words):
        read_table(write(tmp_path, text))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.csv", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=words):
            read_table(path)


def test_not_a_number_matters_only_where_it_is_used(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y,z\n0,1,nan\n1,2,5\n2,nan,6\n")
    assert read_data(path, 0.1, range=(0, 1)).size == 2
    with pytest.raises(InputError, match=r"y\[2\]: received nan"):
        read_data(path, 0.1)


@pytest.mark.parametrize(("file", "noise", "points"), [
    ("nist_strd/Gauss1.dat", "unknown", 250), ("nist_strd/Gauss2.dat", "unknown", 250),
    ("nist_strd/BoxBOD.dat", "unknown", 6), ("nmr/t1_inversion_recovery_dnplab304.csv", 0.01, 8)])
def test_the_shipped_data_are_read(file: str, noise: Any, points: int) -> None:
    data = read_data(ROOT / "data" / file, noise)
    assert data.size == points
    if "nist" in file:
        assert any("NIST" in note for note in data.notes)


def test_every_tidy_table_is_read() -> None:
    tables = sorted((ROOT / "data/tidy").glob("*.csv"))
    assert len(tables) > 5
    for path in tables:
        assert read_data(path, "unknown").size > 20


# --- saved runs ----------------------------------------------------------------------------------


def problem() -> Posterior:
    x = np.linspace(0, 6, 30)
    model = Model.single(shapes.linear, offset=Normal(0, 1, -2, 2), slope=0.0) + Model.repeated(
        2, shapes.gaussian, height=Gamma(2, 3), center=Ordered(Normal(3, 2, 0, 6)), width="width",
        priors={"width": LogUniform(0.2, 3)})
    return Posterior(model, Data(x, np.sin(x), noise="unknown", x_label="energy (eV)"))


@pytest.fixture(scope="module")
def run() -> Run:
    return sample(problem(), 150, burn_in=100, seed=2**63 + 11)


def test_a_saved_run_comes_back_bit_for_bit_and_goes_on(run: Run, tmp_path: Path) -> None:
    again = load_run(save_run(run, tmp_path / "run.npz"))
    for name in ("betas", "energy", "replica", "draws", "steps"):
        assert np.array_equal(getattr(run, name), getattr(again, name))
    assert (again.seed, again.burn_in, again.stopped) == (run.seed, run.burn_in, run.stopped)
    assert again.posterior.names == run.posterior.names
    assert again.posterior.priors == run.posterior.priors
    assert again.posterior.blocks[0].data.x_label == "energy (eV)"
    assert free_energy(again).value == free_energy(run).value
    assert np.array_equal(resume(again, 70).energy, resume(run, 70).energy)


def test_joint_and_counts_and_own_formulas_come_back(tmp_path: Path) -> None:
    from sampler import parse_formula

    own = parse_formula("own", "a*exp(-x/t) + Piecewise((b, x < 2), (0, True))", ("a", "t", "b"))
    x = np.linspace(0.5, 4, 12)
    model = Model.single(own, a=(0, 3), t=(0.1, 3), b=(0.1, 1))
    both = joint(Posterior(model, Data(x, np.ones(12), noise="poisson")),
                 Posterior(model, Data(x, np.ones(12), noise=np.linspace(0.1, 1, 12))))
    run = sample(both, 40, burn_in=40)
    again = load_run(save_run(run, tmp_path / "run.npz"))
    assert np.array_equal(resume(again, 70).draws, resume(run, 70).draws)


def test_the_previous_generation_is_kept(run: Run, tmp_path: Path) -> None:
    path = save_run(run, tmp_path / "run.npz")
    first = path.read_bytes()
    save_run(resume(run, 5), path)
    assert (tmp_path / "run.npz.previous").read_bytes() == first
    assert load_run(path).sweeps == 155
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.npz", "run.npz.previous"]


@pytest.mark.parametrize("call", ["replace", "fsync", "link"])
def test_a_kill_while_writing_leaves_a_whole_run(
        call: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever call does not return, the file under its name is the old or the new one, whole."""
    path = save_run(run, tmp_path / "run.npz")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, call, die)
    with pytest.raises(KeyboardInterrupt):
        save_run(resume(run, 5), path)
    monkeypatch.undo()
    assert load_run(path).sweeps == 150
    assert not list(tmp_path.glob("*.tmp"))


def test_damage_is_noticed(run: Run, tmp_path: Path) -> None:
    path = save_run(run, tmp_path / "run.npz")
    whole = path.read_bytes()
    g = np.random.default_rng(0)
    for place in [*g.integers(200, len(whole) - 200, 12), len(whole) // 2]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1:])
        with pytest.raises(InputError):
            load_run(path)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            load_run(path)


def rewritten(path: Path, change: Any) -> Path:
    """The same file with its arrays changed and its checksum made right again."""
    from sampler.checkpoint import _digest

    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "sha256"}
    change(arrays)
    arrays["sha256"] = np.frombuffer(_digest(arrays).encode(), dtype=np.uint8)
    np.savez(path, **arrays)
    return path


def test_foreign_files_and_other_schemas_are_refused(run: Run, tmp_path: Path) -> None:
    path = save_run(run, tmp_path / "run.npz")

    def newer(arrays: dict[str, Any]) -> None:
        record = json.loads(bytes(arrays["record"]))
        record["schema"] += 1
        arrays["record"] = np.frombuffer(json.dumps(record).encode(), dtype=np.uint8)

    with pytest.raises(InputError, match="schema"):
        load_run(rewritten(path, newer))
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    with pytest.raises(InputError, match="no "):
        load_run(tmp_path / "other.npz")
    with pytest.raises(InputError, match="no such file"):
        load_run(tmp_path / "none.npz")
    with pytest.raises(InputError, match=r"\.npz"):
        save_run(run, tmp_path / "run.pkl")


def test_no_pickle_is_ever_loaded(tmp_path: Path) -> None:
    """An object array would run code on loading: refused, and the code did not run."""
    mark = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (mark,)

    held = io.BytesIO()
    np.save(held, np.array([Bomb()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("record.npy", held.getvalue())
    with pytest.raises(InputError):
        load_run(tmp_path / "bomb.npz")
    assert not mark.exists()


def test_a_formula_in_a_file_is_parsed_not_run(run: Run, tmp_path: Path) -> None:
    path = save_run(run, tmp_path / "run.npz")

    def attack(arrays: dict[str, Any]) -> None:
        record = json.loads(bytes(arrays["record"]))
        record["blocks"][0]["terms"][0]["text"] = "__import__('os').getcwd()"
        arrays["record"] = np.frombuffer(json.dumps(record).encode(), dtype=np.uint8)

    with pytest.raises(InputError):
        load_run(rewritten(path, attack))
