"""The comparison of cost: adapters where they are installed, the numbers, the claims, the figures.

The runs themselves take hours (``make peers``); here a small result made up for the purpose shows
that every judged claim can hold and can fail.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from experiments import peer_adapters, peers, results
from experiments.__main__ import main
from experiments.campaigns import three_peaks
from experiments.guests import MissingGuest
from experiments.paths import RESULTS

GUESTS = {"dynesty": "dynesty", "ultranest": "ultranest", "nautilus": "nautilus", "pymc": "pymc",
          "blackjax": "blackjax", "ptemcee": "ptemcee", "reddemcee": "reddemcee", "eryn": "eryn"}


def made_up(slow: float = 1.0, bend: float = 0.0) -> peers.Result:
    """Ours: 2 CPU s for 0.01; dynesty 200 for 0.2, a guest 30 for 0.1, one that never ends.  The
    guests take `slow` times as long, and costs of ours bend upwards by `bend`."""
    n = {"points": (100.0, 200.0, 1000.0, 3000.0), "peaks": (1.0, 2.0, 4.0, 8.0),
         "rungs": (8.0, 16.0, 32.0, 64.0)}
    size = np.concatenate([n[key] for key in n])
    cost = 1.0 + 0.01 * size + bend * size**2
    return peers.Result(
        {"most_seconds": 900.0}, "2026-01-01", "a machine", {"dynesty": "0"}, "digest", 178.3,
        0.001, 7.0, ["ours, 4 x 1000, bridge", "dynesty", "best", "endless"],
        ["ours, 4 x 1000", "dynesty", "best", "endless"],
        [[0.01, -0.01, 0.01, -0.01], [0.2, -0.2, 0.2], [0.1, -0.1, 0.1], []],
        [[2.0] * 4, [200.0 * slow] * 3, [30.0 * slow] * 3, []],
        np.array([0.01, 0.15, math.nan, math.nan]), np.array([2000.0, 5000.0, math.nan, math.nan]),
        np.array([2e6, 1e6, 3e6, 9e6]), np.array([0.0, 0.0, 0.0, 3.0]),
        [key for key in n for _ in n[key]], size, cost, 100 * cost)


def test_the_guests_likelihood_is_the_problem() -> None:
    """ln L of guests is minus the energy of the posterior whose F is the reference, and their prior
    is its prior: the same integral."""
    problem, model = peer_adapters.three_peaks(), three_peaks.posterior(3)
    theta = problem.prior_samples((50,), seed=2)
    assert problem.log_likelihood(theta) == pytest.approx(-model.energy(theta), rel=1e-12)
    assert problem.log_prior(theta) == pytest.approx(model.log_prior(theta), rel=1e-12)
    assert problem.log_likelihood(theta[0]) == pytest.approx(-float(model.energy(theta[0])))
    assert problem.calls == 51
    assert np.isneginf(problem.log_prior(theta + np.tile([0, 0, 3.0], 3))).all()


def test_efficiency_is_the_square_of_the_error_ratio() -> None:
    """Cost grows as 1/error**2: half the error of the same seconds is a quarter of the cost; the
    window of the rms is that of chi-square, here by a million normal draws (0.2 %, 5 sigma)."""
    one = peers.efficiency([0.2, -0.1, 0.15, -0.2], [4.0, 5.0, 6.0, 5.0])
    half = peers.efficiency([0.1, -0.05, 0.075, -0.1], [4.0, 5.0, 6.0, 5.0])
    assert one.to_wanted / half.to_wanted == pytest.approx(4.0)
    assert one.to_wanted == pytest.approx(5.0 * np.mean(np.square([2, 1, 1.5, 2])))
    g = np.random.default_rng(5)
    ratio = 1 / np.sqrt(np.mean(g.normal(size=(250_000, 4)) ** 2, axis=1))
    assert np.quantile(ratio, [0.16, 0.84]) == pytest.approx([one.low, one.high], rel=0.01)
    assert one.statistical
    assert not peers.efficiency([0.2, 0.21, 0.19, 0.2], [1.0] * 4).statistical


def test_claims_hold_and_fail() -> None:
    """dynesty at 800 and the best guest at 30 CPU s against 0.02 of ours; guests 20,000 times as
    fast, or a cost with a quadratic part, are told."""
    def holds(result: peers.Result) -> list[bool]:
        return [c.holds for c in peers.check(result) if c.holds is not None]

    assert holds(made_up()) == [True] * 5
    assert holds(made_up(slow=1 / 200)) == [True, False, True, True, True]
    assert holds(made_up(slow=1 / 20_000))[:2] == [False, False]
    assert holds(made_up(bend=1.0)) == [True, True, False, False, False]
    told = {c.claim: c for c in peers.check(made_up())}
    endless, best, dynesty = (told[f"{name}: CPU s to an rms error of 0.1 nats"]
                              for name in ("endless", "best", "dynesty"))
    assert endless.ours == "no run ended" and endless.note == "3 given up after 900 CPU s"
    assert best.ours == "30" and "claims no error" in best.note
    assert dynesty.ours == "800" and "claims 0.15" in dynesty.note and "biased" not in dynesty.note
    assert told["CPU seconds of dynesty to 0.1 nats over a whole run of ours, 4 x 1000, bridge"
                ].ours == pytest.approx(400.0)
    [leaning] = [c for c in peers.check(replace(made_up(), off=[
        [0.01, -0.01, 0.01, -0.01], [0.2, 0.21, 0.19], [0.1, -0.1, 0.1], []]))
        if c.claim.startswith("dynesty:")]
    assert "biased: more work of this kind does not get there" in leaning.note


def test_figures_show_what_is_stored(tmp_path: Path) -> None:
    """Every row that has runs has its point, at its seconds and its rms error."""
    result = made_up()
    results.save("peers", result, tmp_path)
    figures = peers.draw(results.load("peers", tmp_path))
    for stem, figure in figures.items():
        figure.savefig(tmp_path / f"{stem}.png", dpi=40)
        assert (tmp_path / f"{stem}.png").stat().st_size > 3000
    points = {tuple(float(v[0]) for v in line.get_data())
              for line in figures["peers"].axes[0].lines if len(line.get_xdata()) == 1}
    expected = {(2.0, 0.01), (200.0, 0.2), (30.0, 0.1)}
    for seconds, rms in expected:
        assert any(math.isclose(s, seconds) and math.isclose(e, rms, rel_tol=1e-9)
                   for s, e in points)
    assert [line.get_data()[1].tolist() for line in figures["cost_of_a_sweep"].axes[1].lines][-1] \
        == result.sweep[4:8].tolist()


def fake(name: str) -> Callable[[Any], peer_adapters.Timed]:
    def prepared(problem: Any) -> peer_adapters.Timed:
        def run(seed: int) -> list[peer_adapters.Estimate]:
            problem.log_likelihood(problem.prior_samples((7,), seed))
            until = time.process_time() + (0.5 if name == "slow" else 0.0)
            while time.process_time() < until:
                pass
            return [peer_adapters.Estimate(name, -178.3 + 0.1 * (-1) ** seed, 0.1)]

        return run

    return prepared


def test_a_run_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second of work under a limit of 0.1 gives seconds and nothing else; the quick one its
    estimate and 7 evaluations."""
    monkeypatch.setitem(peer_adapters.ADAPTERS, "slow", fake("slow"))
    monkeypatch.setitem(peer_adapters.ADAPTERS, "quick", fake("quick"))
    late, done = peers.timed("slow", 1, 0.1), peers.timed("quick", 1, 60.0)
    assert late["estimates"] == [] and 0.09 < late["seconds"] < 0.45
    assert done["evaluations"] == 7
    assert done["estimates"][0]["log_evidence"] == pytest.approx(-178.4)
    rows = list(peers._rows("slow", [late], -178.3))
    assert rows[0]["unfinished"] == 1 and rows[0]["off"] == []


def test_a_comparison_goes_on_where_it_stopped(tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Three runs, the last cut in the middle of its line: the second start makes one run only."""
    made: list[Any] = []

    def counted(function: Callable[..., Any], *arguments: Any) -> Any:
        made.append(arguments[:2] if len(arguments) > 1 else "cost")
        return function(*arguments)

    from contextlib import contextmanager

    @contextmanager
    def here() -> Any:
        yield counted

    monkeypatch.setattr(peers, "own_process", here)
    monkeypatch.setattr(peers, "_version", lambda name: "1")
    monkeypatch.setitem(peer_adapters.ADAPTERS, "quick", fake("quick"))
    monkeypatch.setattr(peers, "scaling", lambda _: {
        "scaled": ["points"] * 3, "size": [200, 400, 800], "update": [1, 2, 4],
        "sweep": [72, 144, 288]})
    settings = peers.Settings({"quick": 3})
    store = tmp_path / "runs.jsonl"
    first = peers.compute(settings, store=store)
    kept = store.read_text().splitlines()
    store.write_text("\n".join([*kept[:2], kept[2][:40]]) + "\n")
    again = peers.compute(settings, store=store)
    three = [("quick", 1), ("quick", 2), ("quick", 3), "cost"]
    assert made == [*three, ("quick", 3), "cost"]     # the cost came after the line that was cut
    assert again.off == first.off and again.sampler == ["quick"]
    # A sampler that is not done in time is not tried again, now or later.
    monkeypatch.setitem(peer_adapters.ADAPTERS, "slow", fake("slow"))
    true = peers.timed
    monkeypatch.setattr(peers, "timed", lambda name, *rest: {
        **true(name, *rest), **({"estimates": []} if name == "slow" else {})})
    for _ in range(2):
        lost = peers.compute(peers.Settings({"quick": 3, "slow": 3}), store=store)
        assert list(lost.unfinished) == [0, 1]
    assert made.count(("slow", 1)) == 1 and ("slow", 2) not in made


def test_one_process_makes_the_calls() -> None:
    """In another process than this one, with one thread for each library, and the environment of
    this one is put back."""
    import os

    before = dict(os.environ)
    with peers.own_process() as call:
        assert call(os.getpid) != os.getpid()
        assert call(os.getenv, "OMP_NUM_THREADS") == "1"
    assert dict(os.environ) == before


@pytest.mark.long
def test_ours_gives_both_estimates() -> None:
    """One chain of 500: the bridge within 0.5 nats of the long runs (its rms error there is below
    0.07: 7 sigma), BAR beside it with a larger error."""
    problem = peer_adapters.three_peaks()
    bridge, bar = peer_adapters.ADAPTERS["ours, 1 x 500"](problem)(3)
    assert bridge.sampler == "ours, 1 x 500, bridge" and bar.sampler == "ours, 1 x 500, BAR"
    assert bridge.log_evidence == pytest.approx(-three_peaks.REFERENCE[3][0], abs=0.5)
    assert bar.error is not None and bridge.error is not None and bar.error > bridge.error
    assert problem.calls > 500 * 9 * 16


@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_is_prepared_or_said_to_be_missing(name: str) -> None:
    """Where it is installed it is imported and compiled; elsewhere the way to get it is said."""
    problem = peer_adapters.three_peaks()
    if find_spec(GUESTS[name]) is None:
        with pytest.raises(MissingGuest, match="make peers"):
            peer_adapters.ADAPTERS[name](problem)
        return
    assert callable(peer_adapters.ADAPTERS[name](problem))


@pytest.mark.parametrize("name", ["ptemcee", "reddemcee", "eryn"])
def test_a_tempered_guest_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of 30 steps, where installed: numbers come, the temporary names of NumPy go."""
    if find_spec(GUESTS[name]) is None:
        pytest.skip(f"{name} is not installed")
    for key, value in (("TEMPERATURES", 6), ("WALKERS", 20), ("STEPS", 90), ("LEFT_OUT", 10)):
        monkeypatch.setattr(peer_adapters, key, value)
    [found] = peer_adapters.ADAPTERS[name](peer_adapters.three_peaks())(1)
    assert math.isfinite(found.log_evidence) and found.effective is not None
    assert not hasattr(np, "float") and not hasattr(np, "trapz")


def test_kish_counts_equal_weights() -> None:
    """Against the plain formula on weights that do not overflow."""
    w = stats.gamma(2.0).rvs(100, random_state=3)
    assert peer_adapters.kish(np.log(w) + 800.0) == pytest.approx(w.sum() ** 2 / (w**2).sum(),
                                                                 rel=1e-6)


def test_what_was_never_run_is_said_and_left_out(monkeypatch: pytest.MonkeyPatch,
                                                 tmp_path: Path) -> None:
    """Without a tracked result the book says so, and what shows all results leaves it out; a
    result with fewer seeds than planned names them."""
    from experiments.__main__ import _with_result

    names = ("straight_line", "peers")
    monkeypatch.setattr("experiments.paths.RESULTS", tmp_path)
    assert _with_result(names, "check") == ("straight_line",)
    assert _with_result(names, "reproduce") == names
    (tmp_path / "peers.json").write_text("{}")
    assert _with_result(names, "check") == names
    few = replace(made_up(), settings={"most_seconds": 900.0, "seeds": dict(
        peers.SETTINGS.seeds, dynesty=1, eryn=0)})
    assert "often as planned: dynesty (1 of 3), eryn (0 of 3)." in peers.age(few)
    full = replace(few, settings={"seeds": peers.SETTINGS.seeds})
    assert "planned" not in peers.age(full) and "Run on 2026-01-01" in peers.age(full)


def test_the_stored_comparison_is_shown(tmp_path: Path) -> None:
    """Whatever was found, its figures are drawn, its text says which claims fail, and saving it
    again gives the same bytes."""
    if not (RESULTS / "peers.json").exists():
        pytest.skip("no tracked result yet")
    result = results.load("peers")
    failed = [c.claim for c in peers.check(result) if c.holds is False]
    assert main(["check", "peers"]) == (1 if failed else 0)
    for stem, figure in peers.draw(result).items():
        figure.savefig(tmp_path / f"{stem}.png", dpi=40)
    again = results.save("peers", result, tmp_path)
    assert again.read_bytes() == (RESULTS / again.name).read_bytes()
    assert set(json.loads(again.read_text())["settings"]["seeds"]) <= set(peer_adapters.ADAPTERS)
