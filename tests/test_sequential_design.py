"""Where to measure next: the parts against second routes, and claims that can fail."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from experiments import measuring_time, results
from experiments import sequential_design as design
from sampler import Data


@pytest.fixture(scope="module")
def stored() -> Any:
    return results.load("sequential_design")


def test_the_truth_is_that_of_the_measuring_times() -> None:
    """The same curve as the predictions of `measuring_time` at its true parameters."""
    x = np.linspace(0.0, 3.0, 301)
    whole = measuring_time.posterior(3, Data(x, np.zeros(301), noise="poisson"), 1.0)
    truth = {"background_offset": 0.1}
    for k, (a, b, mu) in enumerate(((0.587, 95.689, 1.210), (1.522, 146.837, 1.455),
                                    (1.183, 164.469, 1.703)), start=1):
        truth |= {f"peak{k}_a": a, f"peak{k}_b": b, f"peak{k}_mu": mu}
    assert design.curve(x) == pytest.approx(whole.predict([truth[n] for n in whole.names]))
    assert design.curve(1.21, (1, 2)) == pytest.approx(design.curve(1.21) - 0.587)


def test_an_exposure_multiplies_the_counts() -> None:
    """The energy of two batches against SciPy's Poisson law; a point may be measured twice."""
    one = (np.array([1.2, 1.5]), np.array([2.0, 9.0]), 5.0)
    two = (np.array([1.3, 1.3, 2.0]), np.array([7.0, 4.0, 1.0]), 10.0)
    whole = design.posterior(1, [one, two])
    values = {"offset": 0.2, "_a": 1.5, "_b": 100.0, "_mu": 1.4}
    theta = [next(v for end, v in values.items() if name.endswith(end)) for name in whole.names]

    def log_likelihood(off: float) -> float:
        return float(sum(stats.poisson.logpmf(y, each * off * (
            0.2 + 1.5 * np.exp(-50.0 * (x - 1.4) ** 2))).sum() for x, y, each in (one, two)))

    constant = sum(stats.poisson.logpmf(y, np.maximum(y, 1e-300)).sum()
                   + (y - y * np.log(y)).sum() for _, y, _ in (one, two))
    assert -whole.energy(theta) + constant == pytest.approx(log_likelihood(1.0))
    assert -whole.energy(theta) + constant != pytest.approx(log_likelihood(1.1))


def test_the_worth_of_a_point_is_a_divergence() -> None:
    """Kullback-Leibler between Poisson laws by their definition, of curves a few per cent apart:
    to second order in the difference, both ways round on average."""
    def divergence(p: float, q: float) -> float:
        y = np.arange(200)
        return float(np.sum(stats.poisson.pmf(y, p) * (stats.poisson.logpmf(y, p)
                                                       - stats.poisson.logpmf(y, q))))

    for rate in (0.1, 1.0, 10.0):
        one, other = np.array([rate]), np.array([1.05 * rate])
        both = (divergence(rate, 1.05 * rate) + divergence(1.05 * rate, rate)) / 2
        assert design.worth(one, other)[0] == pytest.approx(both, rel=1e-3)
        # Dividing by nothing, or by the square of the intensity, is not that.
        if rate != 1.0:
            assert (one - other)[0] ** 2 / 2 != pytest.approx(both, rel=0.5)


def test_picks_shun_their_neighbours() -> None:
    score = np.zeros(20)
    score[[5, 6, 12]] = 10.0, 9.0, 4.0
    assert design.greedy(score, 3) == [5, 12, 5]
    assert score[5] == 10.0                         # what was asked is not changed
    assert sorted(design.greedy(np.ones(9), 3)) == [0, 2, 4]
    edge = np.zeros(5)
    edge[0] = 1.0
    assert design.greedy(edge, 2) == [0, 0]         # no wrapping to the other end


def test_the_even_design_measures_the_same_dose(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is counted in `spread`, within 4 sd (false alarm 6e-5 each); later looks keep
    what was counted before."""
    settings, seen = replace(design.SETTINGS, even_rounds=(2, 8)), []

    class Dry(design._Runs):
        def short(self, asked: Any, batches: Any, label: str) -> Any:
            seen.append(batches)
            return [], np.zeros((2, 2))

    where = np.linspace(0.0, 3.0, 151)
    design.spread(Dry(settings, None), 100, where, "")
    (start, two), (_, eight) = seen
    assert start[2] * len(start[0]) == 200.0
    for (_, counts, each), dose in ((two, 200.0), (eight, 800.0)):
        assert each * len(where) == pytest.approx(dose)
        expected = each * design.curve(where).sum()
        assert abs(counts.sum() - expected) < 4 * expected**0.5
    assert np.all(eight[1] >= two[1])


def test_the_fewest_peaks_within_a_nat() -> None:
    F = np.array([[9.0, 4.0, 1.0, 0.5], [9.0, 1.4, 1.0, 0.5], [9.0, 4.0, 1.6, 0.5]])
    assert design.favoured(F).tolist() == [3, 2, 4]


def test_the_stored_run_is_whole(stored: Any) -> None:
    """Doses, picks and the gap at the end agree with one another."""
    settings = stored.settings
    assert stored.dose[-1] == stored.even_dose[-1] == 1000.0
    assert stored.picked.sum() == len(settings["data_seeds"]) * settings["rounds"] * 10
    assert stored.measured.shape[1] == 40 + 80
    # Seven digits are stored, of F above 1000 three behind the point.
    assert stored.gap[:, -1] == pytest.approx(stored.F[:, 1] - stored.F[:, 2], abs=1.1e-3)
    assert len(set(map(tuple, stored.even_gap.reshape(2, -1)))) == 2
    # Few of its points lie where there is nothing to be seen but background.
    empty = design.curve(stored.grid) < 0.11
    assert stored.picked[empty].sum() < 0.5 * empty.mean() * stored.picked.sum()


def test_the_claims_can_fail(stored: Any) -> None:
    """Broken twins, each with the claims that it must turn over."""
    def fails(**changed: Any) -> list[str]:
        return [claim.claim for claim in design.check(replace(stored, **changed))
                if claim.holds is False]

    assert fails() == []
    gap, even, window = stored.gap, *stored.even_gap
    weak = gap.copy()
    weak[:, -1] = np.minimum(weak[:, -1], 5.9)
    assert any("design: median" in c for c in fails(gap=weak))
    assert any("even: median" in c for c in fails(even_gap=np.stack([even + 2, window])))
    assert any("oracle" in c for c in fails(even_gap=np.stack([even, gap[:, -2:] + 1])))
    assert any("oracle" in c for c in fails(even_gap=np.stack([even, even - 0.1])))
    behind = even.copy()
    behind[:2, -1] = gap[:2, -1] + 1
    assert any("ahead of even" in c for c in fails(even_gap=np.stack([behind, window])))
    two = stored.F.copy()
    two[:2, 1] = two[:2].min(axis=1)
    assert fails(F=two) == [f"design: seeds of {len(gap)} with K* = 3 among one to four"]
    sure = stored.F.copy()
    sure[0, 3] += 5
    assert any("p(3)" in c for c in fails(F=sure))
    false = stored.control.copy()
    false[0, 2] = false[0, 1] - 0.1
    assert any("two true peaks: F(2)" in c for c in fails(control=false))
    false[0, 2] = false[0, 1] - 2
    assert len(fails(control=false)) == 2
    assert fails(gap_error=gap * 0 + 1.1) == ["error of F(2) - F(3), largest of all (nats)"]
