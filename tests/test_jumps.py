"""Jumps between modes: found, fitted, frozen; what they mend and what they cannot.

That both kernels take the same decisions is in `test_kernels`, that the move is reversible in
`test_reliability` (campaign B3).
"""

import dataclasses
import math

import numpy as np
import pytest

from experiments.campaigns import honesty
from experiments.guests import posterior_of
from sampler import (
    Bernoulli,
    Data,
    Gamma,
    Ladder,
    LogUniform,
    Model,
    Normal,
    Ordered,
    Posterior,
    Run,
    Uniform,
    diagnose,
    diagnostics,
    exchange,
    free_energy,
    jumps,
    load_run,
    resume,
    sample,
    save_run,
    shapes,
)
from sampler.kernels.problem import lower
from theory import cases

X = np.linspace(0.0, 4.0, 24)
PEAKS = Posterior(
    Model.repeated(2, shapes.gaussian, height=(0, 3), center=(0, 4), width=(0.2, 2)),
    Data(X, np.exp(-6 * (X - 1.0) ** 2) + 0.7 * np.exp(-6 * (X - 2.6) ** 2), noise=0.1))
SHORT = {"burn_in": 600, "seed": 3, "ladder": Ladder.geometric(8, 2.5)}


def same(a: Run, b: Run) -> bool:
    return np.array_equal(a.energy, b.energy) and np.array_equal(a.draws, b.draws) and all(
        np.array_equal(getattr(a.state, f.name), getattr(b.state, f.name))
        for f in dataclasses.fields(exchange.State))


def test_coordinates_have_no_bounds_and_fold_what_is_exchangeable() -> None:
    """Draws of the prior come out finite; the midpoint of a box is 0; an ordered group is none."""
    model = (Model.single(shapes.linear, offset=Normal(0, 1), slope=Gamma(2, 3))
             + Model.repeated(3, shapes.gaussian, height=(0, 4), center=(0, 4),
                              width=LogUniform(0.1, 1))
             + Model.repeated(2, shapes.exponential, "decay", amplitude=(0, 4),
                              rate=Ordered(Uniform(0, 3))))
    posterior = Posterior(model, Data(X, np.sin(X), noise=0.1))
    problem = lower(posterior)
    tables = jumps.nowhere(posterior, problem, 5)
    t = jumps.coordinates(tables, posterior.draw_prior(500))
    assert np.isfinite(t).all() and not tables.on.any()
    middle = posterior.draw_prior(1)
    middle[0, posterior.names.index("peak1_center")] = 2.0
    middle[0, posterior.names.index("peak2_width")] = math.sqrt(0.1)
    at = jumps.coordinates(tables, middle)[0]
    assert at[posterior.names.index("peak1_center")] == pytest.approx(0.0, abs=1e-12)
    assert at[posterior.names.index("peak2_width")] == pytest.approx(0.0, abs=1e-12)
    assert tables.groups.tolist() == [[3, 3, 0]]
    keys = [posterior.names[p] for p in tables.members[:3]]
    assert keys == ["peak1_center", "peak2_center", "peak3_center"]


def test_a_fit_weighs_modes_and_keeps_one_part_in_twenty_broad() -> None:
    """1000 draws of two hills with weights 0.3 and 0.7: sd of a share 0.015, four of them."""
    level = Posterior(Model.single(shapes.constant, offset=(-10, 10)), Data([0.0], [0.0], noise=1))
    g = np.random.default_rng(1)
    draws = np.where(g.random(1000) < 0.3, -5.0, 4.0) + 0.2 * g.normal(size=1000)
    tables = jumps.nowhere(level, lower(level), 2)
    found = jumps.fit_jumps(level, tables, np.stack([draws, draws], axis=1)[..., None],
                            np.array([False, True]), 0, 1)
    assert found.on.tolist() == [0, 1] and np.all(found.height[0] == -np.inf)
    weight = np.diff(found.edge[1], prepend=0.0)
    assert weight[found.mean[1, :, 0] < -0.5].sum() == pytest.approx(0.95 * 0.3, abs=0.06)
    used = np.flatnonzero(weight > 0)
    assert weight[used[-1]] == pytest.approx(0.05) and found.root[1, used[-1], 0, 0] > 1.0


def test_zero_one_parameters_never_jump() -> None:
    switch = Posterior(Model.single(shapes.linear, offset=(-1, 1), slope=Bernoulli(0.5)),
                       Data(X, X, noise=0.5))
    assert jumps.possible(PEAKS) and not jumps.possible(switch)
    assert not sample(switch, 20, burn_in=200).state.jump_on.any()


def test_jumps_are_frozen_and_equal_to_the_bit_however_a_run_is_cut(tmp_path, monkeypatch) -> None:
    whole = sample(PEAKS, 90, **SHORT)
    assert whole.state.jump_on.any() and np.nanmax(whole.jump_acceptance) > 0.1
    assert same(whole, sample(PEAKS, 90, threads=1, **SHORT))
    part = load_run(save_run(sample(PEAKS, 31, **SHORT), tmp_path / "run.npz"))
    assert np.array_equal(part.state.jump_root, whole.state.jump_root)
    assert same(resume(part, 59), whole)
    monkeypatch.setattr(exchange, "SLICE_SECONDS", 0.0)       # slices of one sweep
    assert same(sample(PEAKS, 90, **SHORT), whole)
    # Broken twins: without jumps, and with jumps of another density.
    off = sample(PEAKS, 90, jumps=False, **SHORT)
    assert not off.state.jump_on.any() and not same(off, whole)
    shifted = dataclasses.replace(part.state, jump_mean=part.state.jump_mean + 0.01)
    assert not same(resume(dataclasses.replace(part, state=shifted), 59), whole)


def test_an_interrupt_among_jumps_leaves_a_run_that_goes_on_to_the_same_bits(monkeypatch) -> None:
    monkeypatch.setattr(exchange, "SLICE_SECONDS", 0.0)
    told: list[str] = []

    def press(done: int, total: int, words: str) -> None:
        told.append(words)
        if told.count("counting") == 7:
            raise KeyboardInterrupt

    part = sample(PEAKS, 90, progress=press, **SHORT)
    assert part.stopped == "interrupted" and 0 < part.sweeps < 90 and part.state.jump_on.any()
    assert same(resume(part, 90 - part.sweeps), sample(PEAKS, 90, **SHORT))


def test_until_learns_jumps_anew_and_stops_on_the_bridge(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A burn-in too short to fit anything, and a count too short to be trusted: all of it becomes
    burn-in, jumps are learnt, and the run stops at the wanted error of the value it reports."""
    monkeypatch.setattr(exchange, "FIRST_COUNT", 300)
    assert not sample(PEAKS, 300, burn_in=60, seed=3).state.jump_on.any()
    run = sample(PEAKS, until=0.02, burn_in=60, seed=3)
    found = free_energy(run)
    assert run.stopped == "until" and diagnose(run).trusted and run.burn_in >= 360
    assert found.estimator == "bridge" and found.error <= 0.02 < found.bar_error
    assert run.state.jump_on.any()


@pytest.mark.slow
def test_jumps_cure_directions_along_which_a_walk_crawls() -> None:
    """A polynomial of degree 6, exact ln Z known: with jumps 4 x 2000 sweeps are trusted and right;
    without them R-hat sees that the chains have not mixed."""
    case = cases.named("polynomial_6")
    posterior, shift = posterior_of(case)
    run = sample(posterior, 2000, burn_in=2000, seed=1)
    found = free_energy(run)
    assert diagnose(run).trusted and np.sum(run.state.jump_on) > len(run.betas) // 2
    assert abs(-found.value + shift - case.log_evidence) < 4.5 * found.error
    crawling = diagnose(sample(posterior, 2000, burn_in=2000, seed=1, jumps=False))
    assert "rhat" in crawling.faults


@pytest.mark.slow
def test_a_narrow_mode_that_one_chain_finds_is_weighed_by_all() -> None:
    """ln Z = -10 ln 20.  Measured over 30 seeds: rms 0.005, weight 0.499 +- 0.006, 4200 effective
    draws of the mode in 10,000; without jumps 7, and a weight of 0.57 +- 0.17.  Over 120 others two
    runs met it late: they were 0.1 and 0.4 off, and not trusted (campaign D5 modes)."""
    posterior, exact, _ = honesty.modes("two hills")
    run = sample(posterior, 2500, burn_in=4000, seed=1)
    narrow = run.draws[..., 0] < 0.0
    assert 0.46 < narrow.mean() < 0.54 and np.ptp(narrow.mean(axis=1)) < 0.12
    assert diagnostics.effective_sample_size(narrow.astype(float)) > 1000
    assert run.swap_rate.min() > 0.4        # rungs are where the transition is, untold
    bound = posterior.energy(np.full(10, 5.0)) + math.log(0.5) - 5 * math.log(2 * math.pi)
    assert exact == pytest.approx(float(bound) + 10 * math.log(20), abs=1e-9)
    assert free_energy(run).value == pytest.approx(exact, abs=0.08)


@pytest.mark.long
def test_documented_failure_a_mode_that_no_replica_met_is_not_seen() -> None:
    """The spike's volume is e**-26 of the slab's: nothing finds it, nothing can flag it, and the
    documentation says so."""
    case = cases.named("spike_and_slab")
    posterior, shift = posterior_of(case)
    run = sample(posterior, 2000, burn_in=1000, seed=1)
    assert -free_energy(run).value + shift == pytest.approx(case.log_evidence + math.log(0.1),
                                                            abs=0.1)
    assert diagnose(run).trusted
    assert "e**8" in str(diagnostics.__doc__) and "no replica ever met" in str(jumps.__doc__)
