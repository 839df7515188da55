"""F of every noise level from one ladder, against exact answers.

For a linear model with normal priors F~(beta) is known at every beta, hence F of every noise, its
minimum and its sum.  Runs are drawn from the exact law of each rung, correlated in time and over
rungs, so that only the estimator is judged.  60 fixed seeds; the windows are 3.5 standard errors
of 60 normal scores (sd 0.68 to 1.32, mean 0.45): false alarm below 0.1 % each.
"""

import dataclasses
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from statistics_helpers import Conjugate, conjugate_run, within

from sampler import Data, InputError, Model, Posterior, bridge_sampling, sample, shapes
from sampler.evidence import free_energy_along, normal_score
from sampler.noise_level import choose_with_noise, free_energy_of_noise
from sampler.priors import Normal
from sampler.reweighting import tempered

X = np.linspace(-1.0, 1.0, 12)
Y = 0.4 + 0.9 * X + 0.5 * np.sin(37.0 * X)
DATA = Data(X, Y, noise=0.05)
WIDE = Normal(0.0, 2.0)
LINE = Posterior(Model.single(shapes.linear, offset=WIDE, slope=WIDE), DATA)
FLAT = Posterior(Model.single(shapes.linear, offset=WIDE, slope=0.0), DATA)
BETAS = np.concatenate([[0.0], np.geomspace(3e-4, 1.0, 14)])
LEVELS = np.array([1.0, 2.0, 5.0, 20.0, 100.0])
HIGHEST = 3000.0
SEEDS = 60


def exact(posterior: Posterior, log_f: float) -> float:
    return (Conjugate(posterior).free_energy(math.exp(-log_f)) + posterior.constant
            + 0.5 * posterior.size * log_f)


def exact_summed(posterior: Posterior) -> float:
    low = minimize_scalar(lambda t: exact(posterior, t), bounds=(0.0, math.log(HIGHEST)),
                          method="bounded").fun
    mass = quad(lambda t: math.exp(low - exact(posterior, t)), 0.0, math.log(HIGHEST),
                epsabs=1e-12)[0]
    return low - math.log(mass / math.log(HIGHEST))


@pytest.fixture
def by_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the bridge, whose own tests are elsewhere."""
    monkeypatch.setattr(bridge_sampling, "bridge", lambda run: None)


@pytest.fixture(scope="module")
def campaign() -> dict[str, np.ndarray]:
    """(what was found - exact) and its error, for each quantity, arrays (2, seeds)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bridge_sampling, "bridge", lambda run: None)
        return measured()


def measured() -> dict[str, np.ndarray]:
    truth = Conjugate(LINE)
    best = minimize_scalar(lambda t: exact(LINE, t), bounds=(0.5, 5.0), method="bounded",
                           options={"xatol": 1e-10})
    rows = []
    for seed in range(SEEDS):
        run = conjugate_run(LINE, BETAS, 300, seed, phi=0.5, shared=0.4)
        curve = free_energy_of_noise(run, 1.0, HIGHEST, also=LEVELS)
        at = np.searchsorted(curve.factor, LEVELS)
        (point,) = tempered(run, np.array([0.3]))
        mean, variance = truth.energy_moments(0.3)
        rows.append([
            *((curve.free_energy[i] - exact(LINE, math.log(f)), curve.free_energy_error[i])
              for i, f in zip(at, LEVELS, strict=True)),
            (math.log(curve.best) - best.x, curve.best_error),
            (curve.least - best.fun, curve.least_error),
            (curve.summed - exact_summed(LINE), curve.summed_error),
            (point.mean_energy - mean, point.mean_energy_error),
            (point.heat_capacity - 0.09 * variance, point.heat_capacity_error)])
    names = [f"F({f:g})" for f in LEVELS] + ["best", "least", "summed", "<U>", "heat"]
    return dict(zip(names, np.array(rows).transpose(1, 2, 0), strict=True))


def honest(z: np.ndarray) -> bool:
    return bool(abs(z.mean()) < 0.45 and 0.68 < z.std() < 1.32)


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"F({f:g})" for f in LEVELS] + [
    "best", "least", "summed", "<U>", "heat"])
def test_error_bars_are_right(campaign: dict, name: str) -> None:
    off, error = campaign[name]
    assert honest(normal_score(off / error, 7))


@pytest.mark.slow
def test_broken_twin_without_the_constant_of_the_noise(campaign: dict) -> None:
    """(n/2) ln f forgotten moves F(5) by 9.7 nats; half an error too small is noticed, too."""
    off, error = campaign["F(5)"]
    assert not honest(normal_score((off - 6.0 * math.log(5.0)) / error, 7))
    for name in ("summed", "<U>", "best"):
        off, error = campaign[name]
        assert not honest(normal_score(off / (0.5 * error), 7))


def test_at_a_rung_it_is_the_ladder(by_ladder: None) -> None:
    """No estimate of its own where BAR has one: F, and its influence, to rounding."""
    run = conjugate_run(LINE, BETAS, 400, 3, phi=0.5)
    along = free_energy_along(run)
    for k, point in enumerate(tempered(run, BETAS[1:]), start=1):
        assert abs(point.free_energy - along.free_energy[k]) < 1e-8
        assert abs(point.free_energy_error / along.free_energy_error[k] - 1.0) < 1e-6


def test_linear_interpolation_would_not_do(by_ladder: None) -> None:
    """The twin of a lazy curve: straight lines between rungs miss F by more than 4 errors."""
    run = conjugate_run(LINE, BETAS, 20_000, 3)
    along = free_energy_along(run)
    (point,) = tempered(run, np.array([0.8]))
    truth = Conjugate(LINE).free_energy(0.8)
    assert within(point.free_energy, truth, point.free_energy_error)
    straight = float(np.interp(0.8, run.betas, along.free_energy))
    assert not within(straight, truth, point.free_energy_error)


@pytest.mark.slow
def test_the_bridge_holds_the_cold_end() -> None:
    """Sampled, not drawn: with the bridge as anchor the error near beta = 1 falls, and F stays
    within 4 errors at every level (5 numbers; false alarm 3e-4)."""
    run = sample(LINE, sweeps=2000, burn_in=1000, seed=7)
    curve = free_energy_of_noise(run, 1.0, HIGHEST, also=LEVELS)
    at = np.searchsorted(curve.factor, LEVELS)
    truth = [exact(LINE, math.log(f)) for f in LEVELS]
    assert within(curve.free_energy[at], truth, curve.free_energy_error[at])
    (cold,) = tempered(run, np.ones(1))
    assert curve.free_energy_error[0] < 0.5 * cold.free_energy_error


def test_models_are_compared_with_the_noise_summed_over(by_ladder: None) -> None:
    runs = {name: conjugate_run(posterior, BETAS, 2000, seed)
            for seed, (name, posterior) in enumerate((("flat", FLAT), ("line", LINE)))}
    found = choose_with_noise(runs, 1.0, HIGHEST)
    difference = exact_summed(FLAT) - exact_summed(LINE)
    p = 1.0 / (1.0 + math.exp(-difference))
    assert within(found.probability["line"], p, found.probability_error["line"])
    assert found.best == min(runs, key=lambda k: found.curves[k].least)
    assert "noise summed" in str(found)


def test_the_minimum_at_an_end_is_said(by_ladder: None) -> None:
    curve = free_energy_of_noise(conjugate_run(LINE, BETAS, 400, 3), 60.0, HIGHEST)
    assert not curve.best_inside and curve.best == 60.0 and "extend it" in str(curve)


def refused(posterior: Posterior) -> str:
    run = sample(posterior, sweeps=20, burn_in=20)
    with pytest.raises(InputError) as caught:
        free_energy_of_noise(run)
    return str(caught.value)


def test_what_has_no_noise_level_is_refused_by_name() -> None:
    counts = Data(X, np.arange(12), noise="poisson")
    model = Model.single(shapes.linear, offset=(5, 20), slope=(-2, 2))
    assert "Poisson counts" in refused(Posterior(model, counts))
    assert "unknown noise" in refused(Posterior(model, Data(X, Y, noise="unknown")))
    with pytest.raises(InputError, match="between 1 and 3333"):
        free_energy_of_noise(conjugate_run(LINE, BETAS, 50, 0), 0.5, 2.0)
    other = dataclasses.replace(conjugate_run(LINE, BETAS, 50, 0), posterior=Posterior(
        LINE.blocks[0].model, Data(X, Y, noise=0.3)))
    with pytest.raises(InputError, match="another sigma"):
        choose_with_noise({1: conjugate_run(LINE, BETAS, 50, 0), 2: other})
