"""Noise and number of peaks together: the parts, the whole, broken twins."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.stats import invgamma

from experiments import results
from experiments import tokuda2017_noise_and_peaks as tokuda

# F(K, sigma^2) by a plain one-parameter exchange sampler, three seeds, written before this one;
# standard errors at most 0.05.
VARIANCES = (0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.016, 0.025, 0.046, 0.1, 0.2, 0.4, 1.0)
ANOTHER = {
    1: (797.77, 198.71, 25.00, -49.19, -86.18, -110.86, -123.39, -96.67, -22.23, 63.41, 157.75,
        288.51),
    2: (373.65, -7.66, -109.18, -147.49, -163.09, -169.20, -158.23, -113.22, -28.16, 60.97, 156.18,
        286.94),
    3: (-14.12, -201.28, -238.19, -244.24, -240.48, -229.65, -196.88, -134.11, -37.51, 56.63,
        154.36, 286.37)}


def fails(module: Any, result: Any) -> set[str]:
    """Claims that do not hold."""
    return {claim.claim for claim in module.check(result) if claim.holds is False}


def test_the_map_agrees_with_another_sampler() -> None:
    """36 free energies, each within 5 joint errors: a false alarm in 50,000 tables."""
    result = results.load("tokuda2017_noise_and_peaks")
    t = np.log(result.variance)
    for K, F in ANOTHER.items():
        row = int(np.flatnonzero(result.K == K)[0])
        # Between levels 5 % apart a cubic is right to 1e-3 nats.
        ours = CubicSpline(t, result.F[row])(np.log(VARIANCES))
        error = np.interp(np.log(VARIANCES), t, result.F_error[row])
        assert np.all(abs(ours - F) < 5 * np.hypot(error, 0.05)), K
        assert not np.all(abs(ours + 1.0 - F) < 5 * np.hypot(error, 0.05))
    four = int(np.flatnonzero(result.K == 4)[0])
    assert abs(result.F[four, 0] + 21.06) < 5 * math.hypot(0.05, result.F_error[four, 0])


def test_claims_on_noise_and_peaks_can_fail() -> None:
    """Broken twins: a map off by a nat, a noise a third too large, no edge mode, no trust."""
    result = results.load("tokuda2017_noise_and_peaks")
    assert not fails(tokuda, result)
    one, three = (result.K == k for k in (1, 3))
    assert len(fails(tokuda, replace(result, F=result.F + one[:, None] * 1.0))) >= 1
    assert len(fails(tokuda, replace(result, least=result.least + three * 2.0))) == 1
    assert len(fails(tokuda, replace(result, best=result.best * 1.33))) >= 1
    assert len(fails(tokuda, replace(result, probability=result.probability[::-1]))) == 1
    missed = result.F.copy()
    missed[result.K == 4] = result.F[three] - 0.6
    assert any("overfits" in claim.note for claim in tokuda.check(replace(result, F=missed))
               if claim.holds is False)
    assert len(fails(tokuda, replace(result, trusted=[False] * len(result.trusted)))) == 1


def test_two_parts_make_the_whole() -> None:
    """The prior's parts add up to 1, and densities of a part are those of the whole, rescaled."""
    for K in (1, 4):
        total = sum(math.exp(-tokuda.share_of_prior(K, k)) for k in range(K + 1))
        assert total == pytest.approx(1.0, abs=1e-12)
    whole, edge = tokuda.posterior(2, 0.01), tokuda.posterior(2, 0.01, 1)
    theta = {"a": (0.6, 1.5), "b": (90.0, 140.0), "mu": (1.4, -0.1)}

    def prior(posterior: Any) -> float:
        names = [n.rsplit("_", 1) for n in posterior.names]
        at = [theta[kind][int(stem.startswith("edge") or stem.endswith("2"))]
              for stem, kind in names]
        return float(posterior.log_prior(np.array(at)))

    # One of two ways to say which peak is the edge's.
    assert prior(edge) - tokuda.share_of_prior(2, 1) == pytest.approx(
        prior(whole) + math.log(2), abs=1e-9)


def test_the_least_noise_of_a_curve_of_residuals() -> None:
    """n/2 (ln v + s/v) has its minimum at s, with an inverse-gamma posterior in v."""
    v = np.geomspace(0.0025, 1.0, tokuda.LEVELS)
    n, s = 301, 0.0098
    best, interval, _, error, summed = tokuda.minimum(
        v, 0.5 * n * (np.log(v) + s / v), np.full(len(v), 0.02))
    assert best == pytest.approx(s, rel=1e-3)
    law = invgamma(0.5 * n, scale=0.5 * n * s)
    assert interval == pytest.approx(law.ppf([0.025, 0.975]), rel=2e-3)
    assert error == pytest.approx(0.02)
    exact = math.lgamma(0.5 * n) - 0.5 * n * math.log(0.5 * n * s)
    assert summed == pytest.approx(math.log(math.log(400)) - exact, abs=1e-3)
