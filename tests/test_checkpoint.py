"""Saved runs: the same bits again, damage noticed, nothing in a file ever run."""

import fcntl
import io
import json
import math
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claims_of_others import another_process_claims

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
    Uniform,
    checkpoint,
    claimed,
    free_energy,
    joint,
    load_run,
    parse_formula,
    resume,
    sample,
    save_run,
    shapes,
)
from sampler.exchange import State

ARRAYS = ("betas", "energy", "replica", "draws", "steps")


def same_bits(a: Run, b: Run) -> bool:
    """Every array of two runs and of their states, type and bits."""
    pairs = [(getattr(a, n), getattr(b, n)) for n in ARRAYS]
    pairs += [(getattr(a.state, f.name), getattr(b.state, f.name)) for f in fields(State)]
    return all(np.asarray(u).dtype == np.asarray(v).dtype and np.shape(u) == np.shape(v)
               and np.asarray(u).tobytes() == np.asarray(v).tobytes() for u, v in pairs)


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
    assert same_bits(run, again)
    for name in ("seed", "burn_in", "stopped", "seconds", "versions"):
        assert getattr(again, name) == getattr(run, name)
    assert again.posterior.names == run.posterior.names
    assert again.posterior.priors == run.posterior.priors
    assert again.posterior.blocks[0].data.x_label == "energy (eV)"
    assert free_energy(again).value == free_energy(run).value
    assert np.array_equal(again.posterior.energy(run.draws), run.posterior.energy(run.draws))
    assert np.array_equal(again.posterior.log_prior(run.draws), run.posterior.log_prior(run.draws))


def test_saved_and_resumed_is_the_uncut_run_bit_for_bit(run: Run, tmp_path: Path) -> None:
    """Cut twice, at counts that are no multiple of anything; the twin, another seed, differs."""
    uncut = sample(problem(), 150 + 71 + 33, burn_in=100, seed=run.seed)
    once = resume(load_run(save_run(run, tmp_path / "run.npz")), 71)
    twice = resume(load_run(save_run(once, tmp_path / "run.npz")), 33)
    assert same_bits(uncut, twice)
    assert not same_bits(uncut, sample(problem(), 254, burn_in=100, seed=run.seed - 1))


def test_equal_runs_make_equal_files(run: Run, tmp_path: Path) -> None:
    first = load_run(save_run(run, tmp_path / "a.npz"))
    save_run(first, tmp_path / "b.npz")
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert set(a.files) == set(b.files)
        assert bytes(a["sha256"]) == bytes(b["sha256"])


def test_a_run_of_a_model_without_parameters_comes_back(tmp_path: Path) -> None:
    fixed = Posterior(Model.single(shapes.constant, offset=0.5), Data([0, 1], [0, 1], noise=0.5))
    exact = sample(fixed)
    again = load_run(save_run(exact, tmp_path / "run.npz"))
    assert same_bits(exact, again)
    assert free_energy(again).value == free_energy(exact).value


@pytest.mark.parametrize(("noise", "sigma"), [
    (0.3, None), (np.linspace(0.1, 0.5, 9), None), ("unknown", None), (Gamma(2, 3), None),
    ("unknown", np.linspace(0.1, 0.5, 9)), (LogUniform(0.5, 2), np.ones(9)), ("poisson", None)])
def test_every_noise_law_and_digit_comes_back(noise: Any, sigma: Any, tmp_path: Path) -> None:
    """Numbers of 17 digits in formula, prior and data: one digit fewer changes the energies."""
    own = parse_formula("own", "a*exp(-0.12345678901234567*x) + exp(1)*x*b")
    model = Model.single(own, "own_", a=(1 / 3, 2 / 3), b=Normal(0.1, 1 / 7, lo=0))
    x = np.linspace(0, 1, 9) / 3
    y = np.arange(9.0) if str(noise) == "poisson" else np.sqrt(x)
    data = Data(x, y, noise, sigma=sigma, x_label="t (µs)", y_label='"y", 1', name="näme.csv",
                notes=("one", "two"), noise_name="" if sigma is None else "scale")
    posterior = Posterior(model, data)
    made = sample(posterior, 5, burn_in=5, chains=1)
    again = load_run(save_run(made, tmp_path / "run.npz")).posterior
    theta = posterior.draw_prior(20, seed=1)
    assert again.names == posterior.names
    assert again.priors == posterior.priors
    assert again.constant == posterior.constant
    assert np.array_equal(again.energy(theta), posterior.energy(theta))
    kept = again.blocks[0].data
    for name in ("x_label", "y_label", "name", "notes", "noise_prior", "noise_name", "law"):
        assert getattr(kept, name) == getattr(data, name)


def test_joint_and_counts_and_own_formulas_come_back(tmp_path: Path) -> None:
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


def test_what_a_kill_left_unfinished_is_overwritten(run: Run, tmp_path: Path) -> None:
    """One fixed name for it, so that killed saves leave one file at most and the next save none."""
    (tmp_path / "run.npz.tmp").write_bytes(b"half a run")
    path = save_run(run, tmp_path / "run.npz")
    assert same_bits(load_run(path), run)
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


def test_threads_of_one_process_save_one_after_the_other(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(save_run, run, path) for _ in range(8)]:
            future.result()
    assert same_bits(load_run(path), run)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.npz", "run.npz.previous"]


def refused_or_the_same(path: Path, run: Run) -> None:
    """A bit of a zip file may mean nothing (a date): then, and only then, the run is whole."""
    try:
        again = load_run(path)
    except InputError:
        return
    assert same_bits(again, run)


def test_a_damaged_file_names_the_generation_before(run: Run, tmp_path: Path) -> None:
    path = save_run(run, tmp_path / "run.npz")
    save_run(resume(run, 5), path)
    place = array_place(path, "energy.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
    with pytest.raises(InputError, match="damaged"):
        load_run(path)
    before = tmp_path / "run.npz.previous"
    assert same_bits(load_run(before), run)


def array_place(path: Path, member: str) -> int:
    """A byte in the middle of one array of the file."""
    with zipfile.ZipFile(path) as archive:
        item = archive.getinfo(member)
        return item.header_offset + 200 + item.file_size // 2


def test_a_checksum_of_other_contents_is_refused(run: Run, tmp_path: Path) -> None:
    """One thing changed, the checksum left as it was: data, prior, formula, seed, energies."""
    path = save_run(run, tmp_path / "run.npz")

    def altered(name: str, arrays: dict[str, Any]) -> None:
        record = json.loads(bytes(arrays["record"]))
        block = record["blocks"][0]
        match name:
            case "y0" | "x0" | "energy" | "state_theta":
                arrays[name] = arrays[name].copy()
                arrays[name].flat[3] = np.nextafter(arrays[name].flat[3], 9.0)
            case "prior":
                block["priors"][0][1] = "Normal(0.0, 1.0, -2.0, 2.5)"
            case "formula":
                block["terms"][0]["text"] = "offset - slope*x"
            case "seed":
                record["seed"] = "5"
            case "new array":
                arrays["more"] = np.zeros(1)
        arrays["record"] = np.frombuffer(json.dumps(record, sort_keys=True).encode(), np.uint8)

    for name in ("y0", "x0", "energy", "state_theta", "prior", "formula", "seed", "new array"):
        with np.load(path) as file:
            arrays = {n: file[n] for n in file.files}
        altered(name, arrays)
        np.savez(tmp_path / "other.npz", **arrays)
        with pytest.raises(InputError, match=r"checksum differs.*; its previous generation"):
            load_run(tmp_path / "other.npz")


def test_damage_is_noticed(run: Run, tmp_path: Path) -> None:
    path = save_run(run, tmp_path / "run.npz")
    whole = path.read_bytes()
    g = np.random.default_rng(0)
    for place in [*g.integers(0, len(whole), 40), len(whole) // 2]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1:])
        refused_or_the_same(path, run)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            load_run(path)


def rewritten(path: Path, change: Any) -> Path:
    """The same file with its arrays changed and its checksum made right again."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "sha256"}
    change(arrays)
    arrays["sha256"] = np.frombuffer(checkpoint._digest(arrays).encode(), dtype=np.uint8)
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
    with pytest.raises(InputError, match="expected a run saved by this project"):
        load_run(tmp_path / "other.npz")
    with pytest.raises(InputError, match="no such file"):
        load_run(tmp_path)
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


@pytest.mark.parametrize(("name", "change"), [
    ("draws", lambda a: a[..., :-1]), ("betas", lambda a: a[:-1]), ("steps", lambda a: a[:-1]),
    ("energy", lambda a: a.astype(np.float32)), ("energy", lambda a: a[0]),
    ("energy", lambda a: a.astype(">f8")), ("replica", lambda a: a.astype(float)),
    ("state_rung", lambda a: a + 1), ("state_rung", lambda a: 0 * a),
    ("state_rung", lambda a: a.astype(float)), ("state_theta", lambda a: a[:, :-1]),
    ("state_theta", lambda a: a[:-1]), ("state_state", lambda a: a[..., :-8]),
    ("state_quad", lambda a: a[..., :0]), ("state_energy", lambda a: a.T.copy().T[..., 1:]),
    ("state_accepted", lambda a: a[:, 1:]), ("state_sweep", lambda a: np.array([1, 2])),
    ("x0", lambda a: a[:-1]), ("y0", lambda a: a * math.nan), ("deviation0", lambda a: -a),
    ("x0", None), ("record", lambda a: np.frombuffer(b"{}", np.uint8)),
    ("record", lambda a: np.frombuffer(b"\xff\xfe", np.uint8)),
    ("record", lambda a: np.frombuffer(b"[1]", np.uint8)),
    ("record", lambda a: np.frombuffer(b'{"schema": 1}', np.uint8))])
def test_parts_that_do_not_belong_together_are_refused(
        name: str, change: Any, run: Run, tmp_path: Path) -> None:
    """A right checksum does not make wrong shapes right: the kernels trust shapes and places."""

    def alter(arrays: dict[str, Any]) -> None:
        if change is None:
            del arrays[name]
        else:
            arrays[name] = change(arrays[name])

    path = rewritten(save_run(run, tmp_path / "run.npz"), alter)
    with pytest.raises(InputError):
        load_run(path)


def test_a_run_of_another_model_under_a_right_checksum_is_refused(
        run: Run, tmp_path: Path) -> None:
    """The record of one run with the arrays of another."""
    other = Posterior(Model.single(shapes.constant, offset=Uniform(0, 1)),
                      Data([0, 1], [0, 1], noise=0.5))
    with np.load(save_run(sample(other, 5, burn_in=5), tmp_path / "other.npz")) as file:
        record = {n: file[n] for n in ("record", "x0", "y0", "deviation0")}
    path = rewritten(save_run(run, tmp_path / "run.npz"), lambda arrays: arrays.update(record))
    with pytest.raises(InputError, match="do not belong together"):
        load_run(path)


def test_a_bomb_of_zeros_is_refused_before_it_is_unpacked(
        run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_run(run, tmp_path / "run.npz")
    monkeypatch.setattr(checkpoint, "LARGEST_ARRAY", 1000)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("was unpacked"))
    with pytest.raises(InputError, match="GiB"):
        load_run(path)


def test_no_place_to_write_leaves_no_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        save_run(run, tmp_path / "file" / "run.npz")
    made = save_run(run, tmp_path / "new" / "folder" / "run.npz")
    assert [p.name for p in made.parent.iterdir()] == ["run.npz"]


def test_a_file_system_without_hard_links_keeps_the_generation_before_too(
        run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    path = save_run(run, tmp_path / "run.npz")
    first = path.read_bytes()
    monkeypatch.setattr(os, "link", none)
    save_run(resume(run, 5), path)
    assert (tmp_path / "run.npz.previous").read_bytes() == first
    assert load_run(path).sweeps == 155


# ---- one process at a time ----------------------------------------------------------------------

def test_a_run_that_another_process_counts_is_left_alone(run: Run, tmp_path: Path) -> None:
    path = save_run(run, tmp_path / "run.npz")
    before = path.read_bytes()
    with another_process_claims(path):
        with pytest.raises(InputError, match="another process is counting, expected one process"):
            save_run(resume(run, 5), path)
        with pytest.raises(InputError, match="another process"), claimed(path):
            pass
        assert path.read_bytes() == before
        save_run(run, tmp_path / "other.npz")       # its neighbours are free
    save_run(resume(run, 5), path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "other.npz", "run.npz", "run.npz.previous"]


def test_a_killed_process_claims_nothing(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    with another_process_claims(path) as child:
        child.kill()
        child.wait()
        assert (tmp_path / "run.npz.lock").exists()
        save_run(run, path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


def test_a_claim_holds_until_its_last_owner_of_this_process_ends(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with claimed(tmp_path):
        with claimed(str(tmp_path)):
            assert lock.exists()
        assert lock.exists()
    assert not lock.exists()


def test_a_file_system_without_locks_is_said(run: Run, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.warns(UserWarning, match="cannot be kept from other processes"):
        save_run(run, tmp_path / "run.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
