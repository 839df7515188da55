"""The free energy and its error bar against exactly known answers.

Seeds are fixed, so that a failure is a change of the code, not bad luck; the false-alarm rates
say how often *another* choice of seeds would fail correct code.
"""

import dataclasses
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import gammaincc
from statistics_helpers import Conjugate, ar1, conjugate_run, within

from sampler import bridge_sampling, evidence, shapes
from sampler.data import Data
from sampler.errors import InputError
from sampler.evidence import (
    FreeEnergy,
    _carried,
    coverage,
    free_energy,
    free_energy_along,
    half_width,
    normal_score,
    pairs,
    thermodynamic_integration,
)
from sampler.exchange import sample
from sampler.model import Model
from sampler.posterior import Posterior
from sampler.priors import Normal
from sampler.series import autocorrelation_time, series_errors

X = np.linspace(-1.0, 1.0, 12)
Y = 0.4 + 0.9 * X + 0.5 * np.sin(37.0 * X)
DATA = Data(X, Y, noise=0.5)
WIDE = Normal(0.0, 2.0)
FLAT = Posterior(Model.single(shapes.linear, offset=WIDE, slope=0.0), DATA)
LINE = Posterior(Model.single(shapes.linear, offset=WIDE, slope=WIDE), DATA)
CURVE = Posterior(
    Model.single(shapes.polynomial(2), **dict.fromkeys(shapes.polynomial(2).parameters, WIDE)),
    DATA)
# Ratios below 2: the reverse stepping stone has a finite variance.
BETAS = np.concatenate([[0.0], np.geomspace(0.004, 1.0, 11)])
SEEDS = 200
# The energies of sweeps and rungs: independent; correlated in time; and with a mode that all
# rungs share, where adding pair errors in quadrature goes most wrong.
CASES = {"independent": (LINE, 0.0, 0.0), "correlated": (CURVE, 0.6, 0.0),
         "shared mode": (FLAT, 0.5, 0.7)}


def truth(posterior: Posterior) -> float:
    return Conjugate(posterior).free_energy() + posterior.constant


@pytest.fixture(scope="module", autouse=True)
def along_the_ladder() -> Iterator[None]:
    """These are the tests of BAR; test_bridge has those of the bridge."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bridge_sampling, "bridge", lambda run: None)
        yield


@pytest.fixture(scope="module")
def campaign(along_the_ladder: None) -> dict[str, dict[str, np.ndarray]]:
    """200 runs of each case: what `free_energy` says, and the errors of a common mistake."""
    out = {}
    for case, (name, (posterior, phi, shared)) in enumerate(CASES.items()):
        rows = []
        for seed in range(SEEDS * case, SEEDS * (case + 1)):
            run = conjugate_run(posterior, BETAS, 400, seed, phi=phi, shared=shared)
            f = free_energy(run)
            quadrature = math.sqrt(sum(
                max(series_errors(pair.influence)[:2]) ** 2 for pair in pairs(run)))
            rows.append((f.value - truth(posterior), f.error, quadrature,
                         f.interval68[1] - f.value, f.interval95[1] - f.value))
        table = np.array(rows).T
        out[name] = dict(zip(("off", "error", "quadrature", "w68", "w95"), table, strict=True))
    return out


def chi_square_p(z: np.ndarray) -> float:
    return float(gammaincc(0.5 * z.size, 0.5 * np.sum(z**2)))


def honest(z: np.ndarray) -> bool:
    """Three gates at 3.5 standard errors of 200 normal scores; false alarm 0.3 % in all."""
    return bool(abs(z.mean()) < 0.25 and 0.83 < z.std() < 1.18
                and 0.001 < chi_square_p(z) < 0.999)


# ---- the truth itself ---------------------------------------------------------------------------


def test_truth_agrees_with_quadrature() -> None:
    """Conjugate.free_energy against a sum over a grid of the only parameter, d = 1."""
    theta = np.linspace(-30.0, 30.0, 400_001)
    log_weight = FLAT.log_prior(theta[:, None]) - FLAT.energy(theta[:, None])
    by_sum = -math.log(np.exp(log_weight).sum() * (theta[1] - theta[0]))
    assert abs(by_sum - Conjugate(FLAT).free_energy()) < 1e-9


# ---- error bars ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_error_bar_is_right(campaign: dict, case: str) -> None:
    """Mapped by the law of the reported error, 200 z-scores are normal; false alarm 0.3 %."""
    runs = campaign[case]
    assert honest(normal_score(runs["off"] / runs["error"], 7))


def test_all_cases_together(campaign: dict) -> None:
    """600 runs: no z beyond 4.5 (false alarm 0.4 %), mean within 3.5 errors (0.05 %), 68 and
    95 % intervals within 3.5 binomial errors of their promise (0.1 %)."""
    off, error, w68, w95 = (np.concatenate([runs[k] for runs in campaign.values()])
                            for k in ("off", "error", "w68", "w95"))
    z = normal_score(off / error, 7)
    assert np.abs(z).max() < 4.5
    assert abs(z.mean()) < 3.5 / math.sqrt(z.size)
    for width, promise in ((w68, 0.6827), (w95, 0.95)):
        held = np.abs(off) < width
        assert within(held.mean(), promise, math.sqrt(promise * (1 - promise) / z.size), 3.5)


@pytest.mark.parametrize("case", CASES)
def test_broken_twin_pair_errors_in_quadrature(campaign: dict, case: str) -> None:
    """Neighbouring pairs share a rung, so that their errors do not add in quadrature."""
    runs = campaign[case]
    assert not honest(normal_score(runs["off"] / runs["quadrature"], 7))


def test_broken_twin_sign(campaign: dict) -> None:
    """The sign of an exponent wrong in one of eleven pairs moves F by several errors."""
    run = conjugate_run(LINE, BETAS, 400, 0)
    step = BETAS[6] - BETAS[5]
    good = evidence._bar(step * run.energy[..., 5], step * run.energy[..., 6])
    bad = evidence._bar(-step * run.energy[..., 5], -step * run.energy[..., 6])
    runs = campaign["independent"]
    assert not honest(normal_score((runs["off"] + bad.gap - good.gap) / runs["error"], 7))


def ideal(count: int, freedom: int) -> np.ndarray:
    """z drawn from the very law: Z / max(1, sqrt(chi2_nu / nu))."""
    generator = np.random.default_rng(5)
    spread = np.sqrt(generator.chisquare(freedom, count) / freedom)
    return generator.normal(size=count) / np.maximum(1.0, spread)


@pytest.mark.parametrize("freedom", [3, 7, 15])
def test_law_of_the_error(freedom: int) -> None:
    """20,000 draws of the law become normal, and not without the map (false alarm 0.2 %)."""
    z = ideal(20_000, freedom)
    assert 0.001 < chi_square_p(normal_score(z, freedom)) < 0.999
    assert not 0.001 < chi_square_p(z) < 0.999
    assert within(np.mean(np.abs(z) < half_width(0.95, freedom)), 0.95, 0.00154)


def test_half_widths() -> None:
    assert abs(half_width(0.6827, 7) - 0.927) < 5e-4
    assert abs(half_width(0.95, 7) - 1.852) < 5e-4
    # With many blocks the spread is known, and the error is the usual one.
    assert abs(coverage(1.0, 100_000) - 0.6827) < 2e-3
    assert normal_score(0.0, 7) == 0.0
    assert np.allclose(normal_score([-2.0, 2.0], 7), np.array([-1, 1]) * normal_score(2.0, 7))


def test_chains_and_blocks() -> None:
    run = conjugate_run(LINE, BETAS, 800, 1)
    for chains, freedom in ((1, 7), (2, 3), (4, 7)):
        part = dataclasses.replace(run, energy=run.energy[:chains], replica=run.replica[:chains])
        assert free_energy(part).freedom == freedom


def test_autocorrelation_of_the_influence() -> None:
    """AR(1), phi = 0.9, exact tau = 19: the error of a mean within 10 % (4 sigmas at this
    length); the error without tau is the broken twin."""
    series = ar1(0.9, (4, 50_000), np.random.default_rng(2))
    exact = math.sqrt(19.0 / series.size)
    assert abs(series_errors(series)[0] / exact - 1.0) < 0.05
    assert abs(autocorrelation_time(series) / 19.0 - 1.0) < 0.10
    assert abs(series.std() / math.sqrt(series.size) / exact - 1.0) > 0.5


# ---- estimators ---------------------------------------------------------------------------------


def test_stepping_stones_are_unbiased_each_its_way() -> None:
    """1000 very short runs: <exp(-F)> of the forward and <exp(F)> of the reverse one are exact
    (4 standard errors, false alarm 1e-4); with the directions exchanged they are not."""
    betas = np.concatenate([[0.0], np.geomspace(0.03, 1.0, 7)])
    exact = truth(LINE)
    found = [free_energy(conjugate_run(LINE, betas, 8, seed)) for seed in range(1000)]
    forward = np.array([f.forward for f in found]) - exact
    reverse = np.array([f.reverse for f in found]) - exact

    def one(values: np.ndarray) -> bool:
        return within(values.mean(), 1.0, values.std() / math.sqrt(len(values)))

    assert one(np.exp(-forward))
    assert one(np.exp(reverse))
    assert not one(np.exp(forward))
    assert not one(np.exp(-reverse))


def test_bar_solves_bennetts_equation() -> None:
    generator = np.random.default_rng(3)
    hot, cold = generator.gamma(2.0, 3.0, (2, 500)), generator.gamma(2.0, 1.0, (2, 500))

    def off(gap: float) -> float:
        return float(np.mean(1 / (1 + np.exp(hot - gap))) - np.mean(1 / (1 + np.exp(gap - cold))))

    assert abs(evidence._bar(hot, cold).gap - brentq(off, -50.0, 50.0, xtol=1e-13)) < 1e-10


def test_shift_of_the_energy_is_exact() -> None:
    """Adding c to every energy adds c to F, whatever its size, and leaves the error alone."""
    run = conjugate_run(LINE, BETAS, 300, 4)
    plain = free_energy(run)
    for c in (-1e6, 3.0, 1e9):
        moved = free_energy(dataclasses.replace(run, energy=run.energy + c))
        assert abs(moved.value - plain.value - c) < 1e-9 * max(1.0, abs(c))
        assert abs(moved.error / plain.error - 1.0) < 1e-4


def test_prior_outside_the_support() -> None:
    """Where only a share q of the prior is allowed (U = +inf elsewhere), F grows by -ln q."""
    run, share = conjugate_run(LINE, BETAS, 4000, 6), 0.25
    allowed = np.random.default_rng(0).random(run.energy.shape[:2]) < share
    energy = run.energy.copy()
    energy[..., 0] = np.where(allowed, energy[..., 0], np.inf)
    f = free_energy(dataclasses.replace(run, energy=energy))
    assert within(f.value, truth(LINE) - math.log(share), f.error)
    assert math.isfinite(f.forward) and math.isfinite(f.reverse)
    along = free_energy_along(dataclasses.replace(run, energy=energy))
    assert along.mean_energy[0] == math.inf and along.heat_capacity[0] == 0.0


@pytest.mark.parametrize("size", [1e3, 1e12])
def test_huge_energies_neither_overflow_nor_claim(size: float) -> None:
    """Rungs that never met: a number comes out, its error says that nothing is known."""
    run = conjugate_run(LINE, BETAS, 100, 7)
    energy = run.energy.copy()
    energy[..., 0] = size / BETAS[1] + 1e-3 * size * energy[..., 0]
    f = free_energy(dataclasses.replace(run, energy=energy))
    assert math.isfinite(f.value)
    assert f.error == math.inf and f.interval95 == (-math.inf, math.inf)


def test_what_replicas_remember_is_counted_along_the_ladder(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each rung of a pair carries one nat, k pairs have 2 k of error, and so has BAR."""
    monkeypatch.setattr(evidence, "_carried", lambda run, rung, part: np.ones(1))
    run = conjugate_run(LINE, BETAS, 200, 9)
    along = free_energy_along(run)
    assert along.free_energy_error == pytest.approx(2.0 * np.arange(len(BETAS)))
    assert along.free_energy_error[-1] == pytest.approx(free_energy(run).bar_error)


def test_every_prior_draw_outside() -> None:
    run = conjugate_run(LINE, BETAS, 100, 7)
    energy = run.energy.copy()
    energy[..., 0] = np.inf
    f = free_energy(dataclasses.replace(run, energy=energy))
    assert f.value == math.inf and f.error == math.inf


def test_along_the_ladder() -> None:
    """F~, <U> and beta**2 Var U at every rung within 4.5 errors (34 numbers, false alarm 2e-4)."""
    run = conjugate_run(CURVE, BETAS, 5000, 8, phi=0.5, shared=0.3)
    along, exact = free_energy_along(run), Conjugate(CURVE)
    F = [exact.free_energy(beta) for beta in BETAS]
    mean, variance = np.array([exact.energy_moments(beta) for beta in BETAS]).T
    assert along.free_energy[0] == 0.0 and along.free_energy_error[0] == 0.0
    assert within(along.free_energy[1:], F[1:], along.free_energy_error[1:], 4.5)
    assert within(along.mean_energy, mean, along.mean_energy_error, 4.5)
    assert within(along.heat_capacity[1:], (BETAS**2 * variance)[1:],
                  along.heat_capacity_error[1:], 4.5)
    last = free_energy(run)
    assert abs(along.free_energy[-1] - last.reduced) < 1e-12
    assert abs(along.free_energy_error[-1] / last.error - 1.0) < 1e-9


def test_thermodynamic_integration_has_a_ladder_bias() -> None:
    """On a short ladder the trapezoid misses F by its exact bias, far outside the errors of BAR;
    doubling the sweeps does not help."""
    betas = np.concatenate([[0.0], np.geomspace(0.03, 1.0, 7)])
    exact = Conjugate(LINE)
    means = [exact.energy_moments(beta)[0] for beta in betas]
    bias = float(np.trapezoid(means, betas)) - exact.free_energy()
    for sweeps in (4000, 8000):
        run = conjugate_run(LINE, betas, sweeps, 9)
        errors = free_energy_along(run).mean_energy_error
        weights = np.convolve(np.diff(betas), [0.5, 0.5])
        off = thermodynamic_integration(run) - truth(LINE)
        assert within(off, bias, math.sqrt(np.sum((weights * errors) ** 2)))
        assert off > 10.0 * free_energy(run).error


# ---- the result ---------------------------------------------------------------------------------


def test_no_free_parameters_is_exact() -> None:
    fixed = Posterior(Model.single(shapes.linear, offset=0.4, slope=0.9), DATA)
    f = free_energy(sample(fixed))
    assert f.value == pytest.approx(0.5 * np.sum(((Y - 0.4 - 0.9 * X) / 0.5) ** 2) + DATA.constant)
    assert (f.error, f.estimator, f.interval95) == (0.0, "exact", (f.value, f.value))


def test_fields_and_words() -> None:
    f = free_energy(conjugate_run(LINE, BETAS, 400, 10))
    assert isinstance(f, FreeEnergy)
    assert f.estimator == "bar" and f.bar == f.value and f.bridge is None
    assert f.error == max(f.within, f.between)
    assert f.reduced == f.value - LINE.constant
    assert (f.log_evidence, f.log_evidence_error) == (-f.value, f.error)
    assert str(f).startswith("F = ") and "nats" in str(f) and "BAR" in str(f)


def test_too_few_sweeps_claim_nothing() -> None:
    run = conjugate_run(LINE, BETAS, 2, 10)
    assert free_energy(run).error == math.inf


def test_one_temperature_is_refused() -> None:
    run = conjugate_run(LINE, np.ones(1), 10, 0)
    with pytest.raises(InputError, match="one temperature"):
        free_energy(run)


def wandering(generator: np.random.Generator, rungs: int, sweeps: int) -> np.ndarray:
    """Replicas that walk up and down a ladder, neighbours exchanged at random; (sweeps, rungs)."""
    place, out = np.arange(rungs), np.empty((sweeps, rungs), dtype=int)
    for t in range(sweeps):
        low = np.arange(t % 2, rungs - 1, 2)
        low = low[generator.random(len(low)) < 0.5]
        place[low], place[low + 1] = place[low + 1], place[low].copy()
        out[t] = place
    return out


@pytest.mark.long
def test_what_replicas_remember_is_counted() -> None:
    """Every replica keeps a number of its own for 200 sweeps and adds it, with the sign of its
    rung, to a white noise ten times as large.  Over 300 repeats the error by replica is that of the
    scatter (to 15 %: 3.7 standard errors, false alarm 2e-4); with the replicas' names shuffled in
    every sweep, the broken twin, it is too small by a third or more."""
    g, rungs, sweeps = np.random.default_rng(12), 8, 2000
    sign = np.where(np.arange(rungs) < rungs // 2, -1.0, 1.0)
    means, squares, blind = [], [], []
    for _ in range(300):
        replica = wandering(g, rungs, sweeps)
        memory = np.repeat(g.normal(size=(sweeps // 200, rungs)), 200, axis=0)
        part = sign * np.take_along_axis(memory, replica, axis=1)
        part += 2.0 * g.normal(size=part.shape)
        means.append(part.sum(axis=1).mean())
        for names, out in ((replica, squares), (g.permuted(replica, axis=1), blind)):
            run: Any = SimpleNamespace(chains=1, sweeps=sweeps, betas=np.arange(rungs),
                                       replica=names[None])
            carried = sum(_carried(run, k, part[None, :, k]) for k in range(rungs))
            out.append(float(np.sum(carried**2)))
    scatter = np.std(means, ddof=1)
    assert abs(np.sqrt(np.mean(squares)) / scatter - 1.0) < 0.15
    assert np.sqrt(np.mean(blind)) / scatter < 0.67
