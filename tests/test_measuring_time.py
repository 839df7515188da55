"""Counting and the number of peaks: the stored result, its exact parts, claims that can fail."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import integrate, special, stats

from experiments import measuring_time, results
from sampler import Data


@pytest.fixture(scope="module")
def stored() -> Any:
    return results.load("measuring_time")


def test_the_background_alone_by_quadrature() -> None:
    """The incomplete Gamma function against an integral over the only parameter."""
    y = np.array([1.0, 0.0, 3.0])
    data = Data(np.arange(3.0), y, noise="poisson")

    def likelihood(b: float) -> float:
        return float(np.prod(stats.poisson.pmf(y, b)))

    for time in (3.0, 10.0):
        whole = integrate.quad(likelihood, 0.01 * time, 0.5 * time, epsabs=1e-14)[0]
        assert measuring_time.background_alone(data, time) == pytest.approx(
            -math.log(whole / (0.49 * time)), abs=1e-9)


def test_the_counts_are_the_truth_times_the_time() -> None:
    """Their sum over 301 points within 4 standard deviations (false alarm 6e-5 a time)."""
    for time in measuring_time.SETTINGS.times:
        data = measuring_time.counts(time)
        sharp = measuring_time.posterior(3, data, time)
        truth = {"background_offset": 0.1 * time}
        for k, (a, b, mu) in enumerate(((0.587, 95.689, 1.210), (1.522, 146.837, 1.455),
                                        (1.183, 164.469, 1.703)), start=1):
            truth |= {f"peak{k}_a": a * time, f"peak{k}_b": b, f"peak{k}_mu": mu}
        expected = sharp.predict([truth[name] for name in sharp.names]).sum()
        assert abs(data.y.sum() - expected) < 4 * math.sqrt(expected)


def test_the_stored_free_energies_agree_with_another_sampler(stored: Any) -> None:
    """Numbers of a plain exchange sampler written before this one, relative to saturated counts;
    their errors are 0.02 to 0.2, or were not noted (0.3 is taken)."""
    quoted = {10.0: ([122.5, 118.6, 111.04, 112.60], [0.3, 0.3, 0.15, 0.15]),
              30.0: ([205.04, 182.78, 159.70, 161.12], [0.03, 0.11, 0.02, 0.04])}
    for time, (F, error) in quoted.items():
        k = stored.settings["times"].index(time)
        y = stored.counts[k]
        saturated = special.gammaln(y + 1).sum() + np.sum(
            np.maximum(y, 1) - y * np.log(np.maximum(y, 1)))
        ours = np.asarray(stored.flat[k]["F"])[1:] - saturated
        joint = np.hypot(stored.flat[k]["F_error"][1:], error)
        assert np.all(abs(ours - F) < 4 * joint), time


def test_the_claims_can_fail(stored: Any) -> None:
    """Broken twins: F(0) off by 0.05 nats, a number of peaks that does not grow, a doubtful run."""
    def fails(result: Any) -> int:
        return sum(claim.holds is False for claim in measuring_time.check(result))

    assert fails(stored) == 0
    assert fails(replace(stored, nothing=stored.nothing + 0.05)) == 1
    stuck = [{**d, "best": "1"} for d in stored.flat]
    assert fails(replace(stored, flat=stuck)) == len(stuck) - 1
    doubted = [{**d, "trusted": [False] * len(d["trusted"])} for d in stored.flat]
    assert fails(replace(stored, flat=doubted)) == 1
    assert fails(replace(stored, informed=[
        {**d, "F": np.asarray(d["F"]) * 0.0} for d in stored.informed])) == 1
