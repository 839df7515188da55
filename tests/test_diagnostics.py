"""Every alarm has a run that must raise it and a clean run that must not.

Seeds are fixed; the rates in the docstrings say how often other seeds would fail correct code.
"""

import dataclasses
import math

import numpy as np
import pytest
from scipy.special import ndtri
from statistics_helpers import ar1, as_run, conjugate_run, within

from sampler import bridge_sampling, diagnostics, shapes
from sampler.data import Data
from sampler.diagnostics import (
    diagnose,
    effective_sample_size,
    label_free,
    rank_normalised_rhat,
    replica_memory,
    round_trips,
)
from sampler.evidence import free_energy
from sampler.exchange import Run, sample
from sampler.model import Model
from sampler.posterior import Posterior
from sampler.priors import Normal
from sampler.report import summary

X = np.linspace(-1.0, 1.0, 12)
DATA = Data(X, 0.4 + 0.9 * X + 0.5 * np.sin(37.0 * X), noise=0.5)
WIDE = Normal(0.0, 2.0)
LINE = Posterior(Model.single(shapes.linear, offset=WIDE, slope=WIDE), DATA)
FLAT = Posterior(Model.single(shapes.linear, offset=WIDE, slope=0.0), DATA)
BETAS = np.concatenate([[0.0], np.geomspace(0.004, 1.0, 11)])
RUNGS = len(BETAS)


@pytest.fixture(scope="module")
def clean() -> Run:
    return conjugate_run(LINE, BETAS, 2000, 1, phi=0.5)


def changed(run: Run, **arrays: np.ndarray) -> Run:
    return dataclasses.replace(run, **arrays)


# ---- known answers ------------------------------------------------------------------------------


def test_effective_sample_size_of_ar1() -> None:
    """phi = 0.9 has tau = (1 + phi) / (1 - phi) = 19 exactly; within 10 % (4 standard errors of
    an estimate from 200,000 sweeps).  Counting sweeps is the broken twin."""
    series = ar1(0.9, (4, 50_000), np.random.default_rng(0))
    assert abs(series.size / effective_sample_size(series) / 19.0 - 1.0) < 0.10
    white = np.random.default_rng(1).normal(size=(4, 50_000))
    assert abs(effective_sample_size(white) / white.size - 1.0) < 0.05


def test_effective_sample_size_of_anticorrelated_draws() -> None:
    """phi = -0.5 has tau = 1/3: a mean better than that of independent draws."""
    series = ar1(-0.5, (4, 50_000), np.random.default_rng(0))
    assert abs(series.size / effective_sample_size(series) * 3.0 - 1.0) < 0.10


def test_effective_sample_size_ignores_units() -> None:
    series = ar1(0.5, (2, 1000), np.random.default_rng(2))
    assert effective_sample_size(1e6 - 3.0 * series) == pytest.approx(
        effective_sample_size(series), rel=1e-6)


def test_chains_that_disagree_have_few_draws() -> None:
    """Two chains in two places, each of them white: worth a handful of draws, not thousands."""
    series = np.random.default_rng(3).normal(size=(2, 2000)) + np.array([[0.0], [10.0]])
    assert effective_sample_size(series) < 20


def test_rhat_of_equal_chains() -> None:
    """1 up to 1/n whatever the shape of the law; the ranks do not see infinite variance."""
    generator = np.random.default_rng(4)
    assert rank_normalised_rhat(generator.normal(size=(4, 4000))) < 1.003
    assert rank_normalised_rhat(generator.standard_cauchy(size=(4, 4000))) < 1.003
    assert rank_normalised_rhat(np.ones((4, 100))) == 1.0


def test_rhat_sees_place_and_spread() -> None:
    """One chain shifted, one chain wider (only the folded ranks see it), one chain that drifts
    (only splitting sees it)."""
    white = np.random.default_rng(5).normal(size=(4, 4000))
    for factor, shift in ((1.0, 0.5), (2.0, 0.0)):
        broken = white.copy()
        broken[0] = factor * broken[0] + shift
        assert rank_normalised_rhat(broken) > 1.01
    drift = np.linspace(-1.0, 1.0, 4000)
    assert rank_normalised_rhat(white + drift) > 1.1
    assert diagnostics._rhat(white + drift) < 1.003  # the twin without splitting


def test_rhat_by_hand() -> None:
    """W = 1/2 and B/n = 1/2 by hand: R-hat**2 = 1/2 + (1/2)/(1/2)."""
    assert diagnostics._rhat(np.array([[0.0, 1.0], [1.0, 2.0]])) == pytest.approx(math.sqrt(1.5))


def test_normal_scores_share_ties() -> None:
    """Ranks 1, 2.5, 2.5, 4 of four values (Blom's offset 3/8)."""
    scores = diagnostics._normal_scores(np.array([[3.0, 5.0, 5.0, 9.0]]))
    assert np.allclose(scores, ndtri((np.array([1.0, 2.5, 2.5, 4.0]) - 0.375) / 4.25))


# ---- round trips --------------------------------------------------------------------------------


def always_swapping(rungs: int, sweeps: int) -> np.ndarray:
    """Even and odd pairs in turn, every exchange accepted: array (sweeps, rungs)."""
    at, history = np.arange(rungs), []
    for sweep in range(sweeps):
        history.append(at.copy())
        for low in range(sweep % 2, rungs - 1, 2):
            at[[low, low + 1]] = at[[low + 1, low]]
    return np.array(history)


def counted_slowly(replica: np.ndarray) -> int:
    """The definition, replica by replica: hot end, then cold end, then hot end again."""
    total, rungs = 0, replica.shape[2]
    for chain in replica:
        for who in range(rungs):
            stage = ""
            for place in np.argmax(chain == who, axis=1):
                if place == 0:
                    total += stage == "cold"
                    stage = "hot"
                elif place == rungs - 1 and stage == "hot":
                    stage = "cold"
    return total


def test_round_trips_of_the_always_accepting_swapper() -> None:
    """A replica that is never refused needs 2 * rungs sweeps from the hot end to the hot end
    (one sweep is spent waiting at each end), so that the hot end receives one every other
    sweep once the first are back."""
    rungs = 6
    history = always_swapping(rungs, 2 * rungs + 1)
    assert np.array_equal(history[-1], history[0])
    assert round_trips(history[None]) == counted_slowly(history[None])
    long = [round_trips(always_swapping(rungs, 1 + 2 * rungs * m)[None]) for m in (5, 6, 7)]
    assert np.diff(long).tolist() == [rungs, rungs]  # every replica, once a period


def test_round_trips_against_the_definition() -> None:
    """Random exchanges, two chains: no seed can fail this."""
    generator = np.random.default_rng(6)
    replica = np.empty((2, 400, 5), dtype=np.int16)
    for chain in replica:
        at = np.arange(5)
        for sweep in range(400):
            chain[sweep] = at
            low = generator.integers(4)
            at[[low, low + 1]] = at[[low + 1, low]]
    assert round_trips(replica) == counted_slowly(replica) > 0


def test_no_exchange_no_trips() -> None:
    assert round_trips(np.broadcast_to(np.arange(4), (2, 50, 4))) == 0
    assert round_trips(np.zeros((2, 50, 1), dtype=np.int16)) == 0


# ---- replica memory -----------------------------------------------------------------------------


def frozen(run: Run, who: int = 3) -> Run:
    """One replica of each chain keeps a deep mode: at every rung its energy is 8 sd lower."""
    depth = 8.0 * run.energy[..., -1].std()
    return changed(run, energy=run.energy - depth * (run.replica == who))


def test_memory_of_a_frozen_replica(clean: Run) -> None:
    assert replica_memory(frozen(clean)) > 0.3
    assert "memory" in diagnose(frozen(clean)).faults


@pytest.mark.parametrize("sweeps", [100, 400, 2000])
def test_no_memory_in_clean_runs(sweeps: int) -> None:
    """20 runs each, also very short ones: the noise of few visits is not memory."""
    found = [replica_memory(conjugate_run(LINE, BETAS, sweeps, seed)) for seed in range(20)]
    assert max(found) < 0.3 * (1.0 if sweeps < 400 else 0.5)


def test_the_uncorrected_memory_is_the_broken_twin() -> None:
    """Without two halves the noise of few visits reads as memory: here each replica visits a
    rung 2 or 3 times, so that 1/visits of the variance is left."""
    run = conjugate_run(LINE, BETAS, 30, 0)
    u, who = run.energy[..., -1], run.replica[..., -1] + RUNGS * np.arange(4)[:, None]
    means = [u[who == r].mean() for r in np.unique(who)]
    assert np.var(means) / u.var() > 0.3
    assert replica_memory(run) < 0.3


def test_modes_that_mix_leave_no_memory(clean: Run) -> None:
    """The same two modes, but every replica changes sides at random: energies as wide, no
    memory."""
    depth = 8.0 * clean.energy[..., -1].std()
    deep = np.random.default_rng(0).random(clean.energy.shape) < 1.0 / RUNGS
    assert replica_memory(changed(clean, energy=clean.energy - depth * deep)) < 0.1


# ---- the verdict --------------------------------------------------------------------------------


def test_clean_run_is_trusted(clean: Run) -> None:
    found = diagnose(clean)
    assert found.trusted and found.problems == () and str(found).startswith("trusted")
    assert found.heat_capacity_ratio == pytest.approx(1.0, abs=0.1)
    assert found.barrier == pytest.approx(float((1.0 - clean.swap_rate).sum()))


@pytest.mark.slow
def test_false_alarms() -> None:
    """40 clean runs of three kinds: not one alarm (each true rate is below 0.3 %)."""
    for seed in range(20):
        for posterior, shared in ((LINE, 0.0), (FLAT, 0.3)):
            run = conjugate_run(posterior, BETAS, 1000, seed, phi=0.3, shared=shared)
            assert diagnose(run).faults == ()


def separated(run: Run) -> Run:
    """Chains 3 sd apart at every rung."""
    move = 3.0 * run.energy.std(axis=(0, 1)) * np.array([0.0, 0.0, 0.0, 1.0])[:, None, None]
    return changed(run, energy=run.energy + move)


def thinned_ladder(run: Run) -> Run:
    keep = [0, 1, 2, 11]
    return changed(run, betas=run.betas[keep], energy=run.energy[..., keep],
                   replica=np.argsort(run.replica[..., keep], axis=-1).astype(np.int16))


def rare_transition(run: Run) -> Run:
    """One stretch of the run in a mode 60 nats deeper, at a rung in the middle."""
    energy = run.energy.copy()
    energy[0, :200, 7] -= 60.0 / BETAS[7]
    return changed(run, energy=energy)


def stuck(run: Run) -> Run:
    return changed(run, replica=np.broadcast_to(
        np.arange(RUNGS, dtype=np.int16), run.replica.shape))


BROKEN = {
    "memory": frozen, "between": separated, "rhat": separated, "ess": separated,
    "swap rate": thinned_ladder, "gap": thinned_ladder, "heat capacity": rare_transition,
    "trips": stuck,
}


@pytest.mark.parametrize("fault", BROKEN)
def test_each_alarm_rings(clean: Run, fault: str) -> None:
    """With the name of the fault, and a sentence that says what to do."""
    found = diagnose(BROKEN[fault](clean))
    assert not found.trusted and fault in found.faults
    assert len(found.problems) == len(found.faults)
    assert all("run longer" in text or "add rungs" in text for text in found.problems)
    assert str(found).startswith("NOT TRUSTED")


def test_limits_are_keywords(clean: Run) -> None:
    assert diagnose(clean, ess=1e9, rhat=1.0).faults == ("rhat", "ess")
    assert diagnose(stuck(clean), trips=0).trusted
    assert diagnose(stuck(clean)).only_short and not diagnose(frozen(clean)).only_short


def test_one_temperature_is_not_trusted() -> None:
    run = conjugate_run(LINE, np.ones(1), 2000, 0)
    assert diagnose(run).faults == ("one temperature",)


def test_no_free_parameters() -> None:
    fixed = Posterior(Model.single(shapes.linear, offset=0.4, slope=0.9), DATA)
    found = diagnose(sample(fixed))
    assert found.trusted and found.ess == math.inf


def test_a_narrow_line_in_a_wide_range_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """d = 1: U = 20 outside a line that fills 1e-3 of the range.  Its heat capacity peaks far
    above 3 * d/2, which is ordinary; the ladder crosses it all the time, so the run is trusted."""
    generator, betas = np.random.default_rng(7), np.linspace(0.0, 1.0, 20)
    inside = 1e-3 * np.exp(20.0 * betas)
    share = inside / (1.0 - 1e-3 + inside)
    noise = 0.5 * generator.normal(size=(4, 4000, 20)) ** 2 / np.maximum(betas, 0.1)
    energy = np.where(generator.random(noise.shape) < share, 0.0, 20.0) + noise
    order = np.argsort(generator.random(energy.shape), axis=-1)
    run = as_run(FLAT, betas, energy, order, generator.normal(size=(4, 4000, 1)))
    # Planted energies; the draws beside them are not of this law, so there is nothing to bridge.
    monkeypatch.setattr(bridge_sampling, "bridge", lambda run: None)
    monkeypatch.setattr(diagnostics, "bridge", lambda run: None)
    found = diagnose(run)
    assert found.heat_capacity_ratio > 3.0 and found.trusted
    assert "heat capacity" in diagnose(run, crossed=0.0).faults


def test_rungs_that_never_met() -> None:
    """A first rung of infinite energies: not trusted, no warning, no crash."""
    run = conjugate_run(LINE, BETAS, 500, 0)
    energy = run.energy.copy()
    energy[..., 0] = np.inf
    assert {"between", "gap", "swap rate"} <= set(diagnose(changed(run, energy=energy)).faults)


# ---- label-free quantities ----------------------------------------------------------------------


def two_peaks() -> Posterior:
    model = Model.repeated(2, shapes.gaussian, height=(0, 2), center=(-1, 1), width="width",
                           priors={"width": (0.1, 1)})
    return Posterior(Model.single(shapes.linear, offset=(0, 1), slope=0.0) + model, DATA)


def test_numbering_of_components_does_not_matter() -> None:
    """Exchanging the names of the two peaks at random leaves every quantity as it was; the raw
    parameters (the twin) see one mode in each chain."""
    posterior, generator = two_peaks(), np.random.default_rng(8)
    names = posterior.names
    draws = generator.normal(size=(4, 1000, len(names)))
    draws[..., names.index("peak2_center")] += 10.0
    other = [names.index(n.translate(str.maketrans("12", "21"))) for n in names]
    relabelled = draws.copy()
    relabelled[:2] = draws[:2][..., other]
    runs = [as_run(posterior, np.ones(1), np.zeros((4, 1000, 1)), np.zeros((4, 1000, 1)), d)
            for d in (draws, relabelled)]
    one, two = (dict(label_free(run)) for run in runs)
    assert set(one) == {"offset", "width", "mean peak_height", "mean peak_center"}
    assert all(np.allclose(one[key], two[key]) for key in one)
    assert max(rank_normalised_rhat(q) for q in two.values()) < 1.01
    assert rank_normalised_rhat(relabelled[..., names.index("peak1_center")]) > 1.5


# ---- a support smaller than the prior -----------------------------------------------------------


@pytest.mark.long
def test_a_prior_mostly_outside_the_support_is_no_fault() -> None:
    """Counts on a line whose prior is at least 0 at all eight points in 8.9 % of its volume:
    the prior's other draws can go nowhere, whatever the ladder, and F is right.

    F by a sum over a grid of 3001**2 points (1501**2 and 6001**2 give the same to 4e-5).  Ten
    seeds, each trusted and within 4 errors of it, bridge and BAR (false alarm 1e-3; 40 other
    seeds: rms of z 0.86 and 0.90).  Twins: F that leaves the forbidden part out, and the alarm
    that counts its draws as exchanges refused.
    """
    x, y = np.arange(8.0), np.array([1.0, 3.0, 2.0, 4.0, 4.0, 6.0, 5.0, 9.0])
    wide = Model.single(shapes.linear, offset=(-40, 8), slope=(-8, 8))
    exact, inside = 20.0456, 0.0893
    for seed in range(10):
        run = sample(Posterior(wide, Data(x, y, noise="poisson")), sweeps=1000, seed=seed)
        assert diagnose(run).trusted
        found = free_energy(run)
        assert within(found.value, exact, max(found.error, 1e-4))
        assert within(found.bar, exact, found.bar_error)
        assert not within(found.value, exact + math.log(inside), found.error)
        share = np.isfinite(run.energy[..., 0]).mean()
        assert within(share, inside, math.sqrt(inside * (1.0 - inside) / run.energy[..., 0].size))
        assert share * run.swap_rate[0] < 0.1 < run.swap_rate[0]
    assert f"{1.0 - share:.1%} lies outside the support" in summary(run)
