"""The crystal-phase search: mean field and sums against enumeration; diffraction lines."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp

from experiments import crystal_phases, sparse_variational
from experiments.crystal_phases import QUICK, summed
from experiments.sparse_variational import lower_bound, mean_field, products
from sampler import Data, InputError, Normal, Posterior
from sampler.instruments.diffraction import pattern, phase_search

RHO, TAU, SIGMA, WIDE = 0.2, 1.3, 0.3, 3.0
N, M = 40, 7


def problem(seed: int, spectra: int = 1) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """Correlated columns, two of them in the data, a sloping background."""
    g = np.random.default_rng(seed)
    columns = g.normal(size=(N, M)) + 0.5 * g.normal(size=(N, 1))
    background = np.stack([np.ones(N), np.linspace(-1, 1, N)], axis=1)
    y = 0.6 * columns[:, 2] - 0.3 * columns[:, 5] + 1.0 + SIGMA * g.normal(size=(spectra, N))
    return products(columns, y, SIGMA, background, WIDE), columns, background, y


def enumerated(columns: np.ndarray, background: np.ndarray, y: np.ndarray) -> tuple[float, Any]:
    """ln Z and inclusions from all 2**M combinations by the n x n law of the data."""
    weights, states = [], np.array(list(itertools.product([0, 1], repeat=columns.shape[1])))
    for state in states:
        X = columns[:, state == 1]
        C = (SIGMA**2 * np.eye(len(y)) + WIDE**2 * background @ background.T
             + TAU**2 * X @ X.T)
        weights.append(state.sum() * math.log(RHO) + (1 - state).sum() * math.log(1 - RHO)
                       - 0.5 * np.linalg.slogdet(2 * math.pi * C)[1]
                       - 0.5 * y @ np.linalg.solve(C, y))
    log_z = float(logsumexp(weights))
    return log_z, np.exp(np.array(weights) - log_z) @ states


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_is_one_and_rises_with_every_sweep(seed: int) -> None:
    data, columns, background, y = problem(seed)
    log_z, _ = enumerated(columns, background, y[0])
    bounds = [float(mean_field(data, RHO, TAU, most=k).bound[0]) for k in (1, 2, 3, 5, 10, 100)]
    assert np.all(np.diff(bounds) > -1e-9)
    assert log_z - 5.0 < bounds[-1] < log_z


def test_a_broken_update_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the products of different columns the bound is no longer climbed."""
    data, *_ = problem(0)
    good = mean_field(data, RHO, TAU)
    alone = replace(data, gram=np.diag(np.diagonal(data.gram)))
    wrong = mean_field(alone, RHO, TAU)
    variance = good.sd**2
    fallen = lower_bound(data, RHO, TAU, wrong.inclusion, wrong.mean, variance)
    assert float(fallen[0]) < float(good.bound[0]) - 1.0


def test_exact_where_columns_do_not_overlap() -> None:
    """Orthogonal columns, no background: the law of the combinations is a product."""
    columns = 2.0 * np.linalg.qr(np.random.default_rng(3).normal(size=(N, M)))[0]
    y = 0.5 * columns[:, 1] + 0.2 * columns[:, 4] + SIGMA * np.random.default_rng(4).normal(size=N)
    none = np.zeros((N, 1))
    found = mean_field(products(columns, y[None], SIGMA, none, WIDE), RHO, TAU)
    log_z, inclusion = enumerated(columns, none, y)
    assert float(found.bound[0]) == pytest.approx(log_z, abs=1e-9)
    np.testing.assert_allclose(found.inclusion[0], inclusion, atol=1e-9)


def test_many_at_once_are_each_alone() -> None:
    many, columns, background, y = problem(1, spectra=3)
    together = mean_field(many, RHO, TAU, tolerance=1e-13)
    for k in range(3):
        one = mean_field(products(columns, y[k:k + 1], SIGMA, background, WIDE), RHO, TAU,
                         tolerance=1e-13)
        np.testing.assert_allclose(together.inclusion[k], one.inclusion[0], atol=1e-10)
        assert float(together.bound[k]) == pytest.approx(float(one.bound[0]), abs=1e-9)


def test_functions_come_from_the_arrays() -> None:
    """NumPy in, NumPy functions; an array of another module names that module."""
    assert sparse_variational.array_module(np.zeros(1)) is np
    stranger = type("ndarray", (), {"__module__": "math.core"})()
    assert sparse_variational.array_module(stranger) is math


@pytest.mark.parametrize("seed", range(3))
def test_the_sum_over_combinations(seed: int) -> None:
    """With room for all of them the sum is the enumeration; cut short, it is less, by about what
    it says."""
    data, columns, background, y = problem(seed)
    log_z, inclusion = enumerated(columns, background, y[0])
    F, found, _ = summed(data, [[]], RHO, TAU, more=M)
    assert -log_z == pytest.approx(F, abs=1e-9)
    np.testing.assert_allclose(found, inclusion, atol=1e-9)
    by_core, again, _ = summed(data, [[2, 5], [2], [5], []], RHO, TAU, more=M - 2)
    assert by_core == pytest.approx(F, abs=1e-9)
    np.testing.assert_allclose(again, inclusion, atol=1e-9)
    rare = 0.01
    whole, short = (summed(data, [[2, 5]], rare, TAU, more=k) for k in (M - 2, 2))
    missed = 1.0 - math.exp(whole[0] - short[0])
    assert 0.0 < missed < short[2] < 30.0 * missed


def test_both_spellings_of_a_pattern_agree() -> None:
    """Columns typed in NumPy for the mean field, formulas for the sampler."""
    settings = replace(QUICK, candidates=8, truth=(1, 4, 6), points=101)
    shapes, background = crystal_phases.columns(settings, twin=True)
    posterior = crystal_phases.posterior(np.zeros(101), settings, twin=True)
    theta = np.zeros((posterior.dimension, posterior.dimension))
    names = list(posterior.names)
    rows = []
    for k, name in enumerate(crystal_phases.dictionary(settings, True)):
        theta[k, names.index(f"{name}_present")] = theta[k, names.index(f"{name}_amount")] = 1.0
        rows.append(k)
    np.testing.assert_allclose(posterior.predict(theta[rows]), shapes.T, atol=1e-12)
    theta = np.zeros((2, posterior.dimension))
    theta[0, names.index("c0")] = theta[1, names.index("c1")] = 1.0
    np.testing.assert_allclose(posterior.predict(theta), background.T, atol=1e-12)


def test_a_search_over_overlapping_phases_gives_the_exact_answer() -> None:
    """The experiment's own wiring at a small size: six candidates, all combinations summed."""
    from experiments.crystal_phases import _inclusion
    from sampler import free_energy, sample

    settings = replace(QUICK, candidates=6, truth=(1, 4), amounts=(0.3, 0.1), points=201)
    y = crystal_phases.patterns(settings, 1)
    run = sample(crystal_phases.posterior(y[0], settings), 4000, burn_in=500, seed=2,
                 integrate_out="amplitudes")
    shapes, background = crystal_phases.columns(settings)
    data = products(shapes, y, settings.noise, background, settings.background_variance**0.5)
    F, exact, _ = summed(data, [[]], settings.present, settings.amount_sd, more=6)
    found = free_energy(run)
    assert abs(found.value - F) < 4 * found.error < 0.2
    p, error = _inclusion(run, list(crystal_phases.dictionary(settings)))
    assert np.all(np.abs(p - exact) < 4 * error)


@pytest.mark.parametrize(("arguments", "words"), [
    (([1.0, 2.0], [1.0], 0.1, 0.5), "two lists of equal length"),
    (([1.0, math.nan], [1.0, 1.0], 0.1, 0.5), r"lines of salt\[1\]"),
    (([1.0], [-1.0], 0.1, 0.5), "an intensity >= 0"),
    (([1.0], [1.0], 0.0, 0.5), "a width > 0"),
    (([1.0], [1.0], 0.1, 1.5), "a mixing from 0 to 1")])
def test_lines_that_are_none_are_refused(arguments: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        pattern("salt", *arguments)


def test_a_phase_search_needs_candidates_and_a_prior() -> None:
    with pytest.raises(InputError, match="one phase or more"):
        phase_search({}, 0.1, amount=Normal(0, 1))
    with pytest.raises(InputError, match="amount="):
        phase_search({"salt": ([1.0], [1.0])}, 0.1)
    model = phase_search({"salt": ([1.0], [2.0])}, 0.5, mixing=1.0, amount=Normal(0, 1))
    one = Posterior(model, Data([1.0, 1.25], [0.0, 0.0], noise=1.0))
    np.testing.assert_allclose(one.predict([1.0, 3.0]), [6.0, 3.0])     # half way at half width
