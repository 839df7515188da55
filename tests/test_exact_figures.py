"""The figures on exact curves: their formulas by a second route, and claims that can fail.

The data sets of each figure are drawn with its own seed, fixed before looking; Kolmogorov's
p-values here are asked to be above 1e-4 where the law is right (false alarm 1e-4 each) and below
1e-4 for the broken twin.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from experiments import (
    criteria_biases,
    design_by_simulation,
    estimated_noise,
    integration,
    law_of_the_choice,
    learning_coefficient,
    peak_resolution,
    posterior_of_the_line,
    results,
    straight_line,
)
from experiments.claims import Claim, farthest, kolmogorov


def failed(claims: Iterable[Claim]) -> list[str]:
    return [claim.claim for claim in claims if claim.holds is False]


# --- the law of the choice -----------------------------------------------------------------------


@pytest.mark.parametrize(("points", "offset", "value"), [
    (5, 0.0, 0.0251928461), (5, 1.0, 0.2984376898), (100, 0.0, 0.0031578417),
    (100, 0.3, 0.4984393800)])
def test_the_law_with_estimated_noise_at_zero(points: int, offset: float, value: float) -> None:
    """A choice is F2 - F1 < 0; ten digits from quadrature elsewhere."""
    found = law_of_the_choice.law("estimated", points, offset, law_of_the_choice.SETTINGS,
                                  np.zeros(1))
    assert found[0] == pytest.approx(value, abs=2e-9)


def test_the_laws_hold_their_data_and_no_others() -> None:
    """20,000 data sets of 5 points: each law holds its own differences; broken twins: the law of
    the other noise, and an offset of 0.1 forgotten at 100 points."""
    settings = replace(law_of_the_choice.SETTINGS, data_sets=20_000, offsets=(0.0, 0.1))
    generator = np.random.default_rng(settings.seed)
    five, hundred = (law_of_the_choice.differences(
        law_of_the_choice.residuals(N, settings, generator), N, settings) for N in (5, 100))
    for k, kind in enumerate(law_of_the_choice.LAWS):
        other = law_of_the_choice.LAWS[1 - k]
        assert law_of_the_choice.p_value(kind, 5, 0.0, settings, five[k, 0]) > 1e-4
        assert law_of_the_choice.p_value(other, 5, 0.0, settings, five[k, 0]) < 1e-4
        assert law_of_the_choice.p_value(kind, 100, 0.1, settings, hundred[k, 1]) > 1e-4
        assert law_of_the_choice.p_value(kind, 100, 0.0, settings, hundred[k, 1]) < 1e-4


def test_the_rules_of_the_plan() -> None:
    """False alarms at 100 points, to ten digits; even chances against the tail itself."""
    alarm = law_of_the_choice.tail(law_of_the_choice.thresholds(np.array([100.0])), np.zeros(1))
    assert alarm[[1, 3, 4], 0] == pytest.approx([0.0030811886, 0.0318756893, 0.1572992071],
                                                abs=1e-10)
    for offset in (0.1, 0.3, 0.5):
        even = law_of_the_choice.even_points(offset, law_of_the_choice.SETTINGS)
        for rule, N in enumerate(even):
            if math.isnan(N):       # the prior's wall is too near for the wide law
                assert (rule, offset) == (0, 0.5)
                continue
            c = law_of_the_choice.thresholds(np.array([N]))[rule]
            # At N* the far tail adds Q(2 sqrt(c)), less than 3e-3 for c > 1.9.
            assert law_of_the_choice.tail(c, np.array([N * offset**2]))[0] == pytest.approx(
                0.5, abs=3e-3)
    assert even[1] == pytest.approx(30.2526904003, rel=1e-10)
    # BIC finds an offset above exp(-1/2) at any N: there is no line of even chances.
    assert math.isnan(law_of_the_choice.even_points(0.7, law_of_the_choice.SETTINGS)[3])


def test_claims_on_the_choice_can_fail() -> None:
    result = results.load("law_of_the_choice")
    assert not failed(law_of_the_choice.check(result))
    for name in ("exact", "ruled_exact"):
        broken = replace(result, **{name: getattr(result, name) * 1.1})
        assert failed(law_of_the_choice.check(broken))
    assert len(failed(law_of_the_choice.check(replace(result, p_value=result.p_value / 100)))) == 2


# --- estimated noise and posterior ---------------------------------------------------------------


def test_the_estimate_of_the_noise_is_unbiased_and_no_maximum_of_the_likelihood() -> None:
    """20,000 data sets of 20 points: RSS / (N - K) follows its law; broken twin: RSS / N."""
    settings = replace(estimated_noise.SETTINGS, data_sets=20_000)
    generator = np.random.default_rng(settings.seed)
    micro, meso = (route(20, settings, generator) for route in (
        estimated_noise.estimates, estimated_noise.mesoscopic))
    for k, (K, b) in enumerate(estimated_noise.FITS):
        for found in (micro[k], meso[k]):
            assert kolmogorov(estimated_noise.law(20, K, b, settings, found)) > 1e-4
            largest = found * (20 - K) / 20
            assert kolmogorov(estimated_noise.law(20, K, b, settings, largest)) < 1e-4
    assert estimated_noise.law(5, 2, 0.0, settings, np.array([0.0719317609, 3.1161345348])
                               ) == pytest.approx([0.025, 0.975], abs=1e-9)


def test_claims_on_noise_and_posterior_can_fail() -> None:
    noise = results.load("estimated_noise")
    assert not failed(estimated_noise.check(noise))
    for change in ({"mean": noise.mean * 1.01}, {"outside": noise.outside * 1.1},
                   {"p_value": noise.p_value * 0.001}, {"minimum": 0.2}):
        assert failed(estimated_noise.check(replace(noise, **change)))
    line = results.load("posterior_of_the_line")
    assert not failed(posterior_of_the_line.check(line))
    # The plugged-in noise judged by its nominal coverage.
    nominal = line.exact.copy()
    nominal[:, 1] = line.levels
    for change in ({"exact": nominal}, {"spread": line.spread * 1.02}, {"grid": line.grid + 0.01}):
        assert failed(posterior_of_the_line.check(replace(line, **change)))


def test_the_posterior_on_a_grid_knows_the_walls() -> None:
    """A second route that can disagree: with the wall of the prior at the truth the posterior is
    cut in half, and no longer normal."""
    settings = replace(posterior_of_the_line.SETTINGS, half_width=1.0)
    y = np.linspace(-1.0, 1.0, 100) + 1.0
    mean, sd = posterior_of_the_line.on_a_grid(y, settings)
    normal = posterior_of_the_line.widths(100, settings)
    half = math.sqrt(1 - 2 / math.pi)
    assert sd == pytest.approx(half * normal, rel=1e-3)
    assert mean == pytest.approx(1 - math.sqrt(2 / math.pi) * normal, rel=1e-3)


# --- integration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("N", "gap", "value"), [
    (5, 0.0, 0.9911142341), (5, 1.0, 0.9538958002), (100, 0.0, 0.9994612747),
    (100, 0.5, 0.9495592131)])
def test_how_often_two_sets_are_integrated(N: int, gap: float, value: float) -> None:
    found = integration.law(N, 1.0, gap, integration.SETTINGS, np.zeros(1))
    assert found[0] == pytest.approx(value, abs=2e-10)


def test_integration_by_three_fits() -> None:
    """Ten digits from elsewhere, and `theory.joint` on random data with unequal noise."""
    from theory import joint

    assert integration.reference() == pytest.approx(-6.4549582880, abs=1e-10)
    generator = np.random.default_rng(7)
    designs = [generator.normal(size=(n, 2)) for n in (6, 9)]
    ys = [generator.normal(size=(1, n)) for n in (6, 9)]
    found = integration.difference(ys, designs, [0.7, 1.9], 10.0)[0]
    exact = joint.difference([joint.estimate(X, y[0], s) for X, y, s in zip(
        designs, ys, (0.7, 1.9), strict=True)], 400.0)
    assert found == pytest.approx(exact, abs=1e-10)


@pytest.mark.long
def test_the_law_of_integration_has_two_degrees_of_freedom() -> None:
    """10,000 pairs of sets of ten points, the second noisier; broken twins: half the noise
    forgotten, and a gap of 0.2 forgotten."""
    settings = replace(integration.SETTINGS, data_sets=10_000)
    found = integration.pairs(10, 4.0, 0.5, settings, np.random.default_rng(settings.seed))
    few = found[::100]      # the interpolation is exact to a hundredth of what Kolmogorov sees
    assert np.allclose(integration.law_at_many(10, 4.0, 0.5, settings, found)[::100],
                       integration.law(10, 4.0, 0.5, settings, few), atol=1e-4)
    assert kolmogorov(integration.law_at_many(10, 4.0, 0.5, settings, found)) > 1e-4
    assert kolmogorov(integration.law_at_many(10, 2.0, 0.5, settings, found)) < 1e-4
    assert kolmogorov(integration.law_at_many(10, 4.0, 0.2, settings, found)) < 1e-4
    result = results.load("integration")
    assert not failed(integration.check(result))
    for change in ({"exact": 0.99 * result.exact}, {"reference": -6.4539},
                   {"p_value": result.p_value * 0.001}):
        assert failed(integration.check(replace(result, **change)))


# --- large N, singular, criteria -----------------------------------------------------------------


def test_the_exchange_rate_of_the_product() -> None:
    """One value from elsewhere; the limit of equal temperatures; and 200,000 pairs of exact draws
    by rejection (4 standard errors, false alarm 6e-5), which the power law misses by 20."""
    rate = learning_coefficient.product_rate(1000.0, 2000.0)
    assert rate == pytest.approx(0.8192929600, abs=1e-7)
    assert learning_coefficient.product_rate(50.0, 50.0) == pytest.approx(1.0, abs=1e-7)
    generator = np.random.default_rng(10)

    def energies(c: float) -> Any:
        t = np.prod(generator.uniform(-1, 1, size=(2, 1_500_000)), axis=0)
        return t[generator.random(len(t)) < np.exp(-c * t**2)][:200_000] ** 2

    hot, cold = energies(5.0), energies(10.0)
    n = min(len(hot), len(cold))
    share = 2 * np.mean(hot[:n] < cold[:n])
    error = 2 * math.sqrt(0.25 / n)
    assert n > 150_000
    assert abs(share - learning_coefficient.product_rate(5.0, 10.0)) < 4 * error
    assert abs(share - 0.7836531041) > 20 * error


def test_claims_on_the_learning_coefficient_can_fail() -> None:
    result = results.load("learning_coefficient")
    assert not failed(learning_coefficient.check(result))
    # The rates that lambda = 1/2 without its logarithm would give, at r = 1.5.
    power_law = np.full(len(result.rate), 4 / math.pi * math.atan(1.5**-0.5))
    for change in ({"F": result.F * (1 + 1e-5)}, {"rest": result.rest * 1.01},
                   {"rest": result.rest * result.points ** 0.01},
                   {"box_tail": result.box_tail * 1.01}, {"rate_exact": power_law},
                   {"energy_exact": np.full(len(result.energy), 0.5)},
                   {"F_product_exact": result.F_product_exact + 0.02}):
        assert failed(learning_coefficient.check(replace(result, **change)))


def test_the_index_of_a_finite_tail() -> None:
    """On the curve (residual 0) it is h/2 (1 + z phi(z) / Q(z) - z^2), z the normal quantile; and
    it creeps to h as the tail shrinks."""
    from scipy.special import ndtri

    for h in (0.1, 0.5, 0.9):
        z = float(-ndtri(0.005))
        closed = 0.5 * h * (1 + z * math.exp(-0.5 * z**2) / math.sqrt(2 * math.pi) / 0.005 - z**2)
        assert criteria_biases.hill_exact(h, 0.0, criteria_biases.SETTINGS) == pytest.approx(
            closed, rel=1e-9)
    apart = [h - criteria_biases.hill_exact(h, 0.0, replace(criteria_biases.SETTINGS, tail=tail))
             for tail in (1e-2, 1e-4, 1e-6)]
    assert apart[0] > apart[1] > apart[2] > 0


def test_claims_on_criteria_can_fail() -> None:
    result = results.load("criteria_biases")
    assert not failed(criteria_biases.check(result))
    leverage = np.broadcast_to(result.settings["leverages"], result.hill.shape)
    for change in ({"bias_exact": result.bias_exact * 1.05}, {"hill_exact": leverage},
                   {"reference": result.reference + 1e-5},
                   {"curve": result.curve * result.grid[:, None] ** 0.1},
                   {"curve": result.curve[:, ::-1]}):
        assert failed(criteria_biases.check(replace(result, **change)))


# --- two peaks, and the straight line ------------------------------------------------------------


def test_the_misfit_of_coalescing_peaks_by_least_squares() -> None:
    """Two peaks of one height and width at -u and +u, fitted to a single one on a fine grid."""
    from scipy.optimize import least_squares

    x = np.linspace(-12.0, 12.0, 2001)
    u, truth = 0.5, np.exp(-0.5 * x**2)
    found = least_squares(lambda p: p[0] * (np.exp(-0.5 * p[1] * (x - u) ** 2)
                                            + np.exp(-0.5 * p[1] * (x + u) ** 2)) - truth,
                          [0.5, 1.2], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    K = float(peak_resolution.coalescence(u))
    assert found.cost * (x[1] - x[0]) == pytest.approx(K, rel=1e-7)
    assert peak_resolution.fitted(1.0) == pytest.approx(float(peak_resolution.misfit(1.0)),
                                                        rel=1e-7)
    powers = [peak_resolution.power_between(peak_resolution.coalescence, *pair)
              for pair in pairwise(peak_resolution.STEPS)]
    assert powers == pytest.approx(peak_resolution.POWERS, abs=0.005)


def test_one_peak_by_quadrature_is_the_laplace_value_where_it_must_be() -> None:
    """At u = 0 the fit is perfect and its curvature is J^T J in all three parameters; noise 0.01
    leaves 1e-4 of what is not normal."""
    settings = peak_resolution.SETTINGS
    x = peak_resolution.positions(settings)
    g = peak_resolution.two_peaks(0.0, x)
    J = np.stack([g, -0.5 * x**2 * g, x * g], axis=1) / settings.noise
    volume = math.prod(hi - lo for lo, hi in peak_resolution.BOX.values())
    laplace = (math.log(volume) + 0.5 * np.linalg.slogdet(J.T @ J)[1] - 1.5 * math.log(2 * math.pi)
               + 0.5 * len(x) * math.log(2 * math.pi * settings.noise**2))
    assert peak_resolution.one_peak(0.0, settings) == pytest.approx(laplace, abs=1e-3)


def test_claims_on_two_peaks_can_fail() -> None:
    result = results.load("peak_resolution")
    assert not failed(peak_resolution.check(result))
    for change in ({"between": result.between - 0.05}, {"series": result.series * [1.01, 1, 1]},
                   {"F_one": result.F_one + 0.2}, {"F": result.F[:, ::-1]}, {"fitted": 1e-3},
                   {"trusted": [False] * len(result.trusted)}):
        assert failed(peak_resolution.check(replace(result, **change)))


def test_the_law_of_a_second_height() -> None:
    """20,000 data sets of two fixed peaks: F2 - F1 by two least squares fits is the exact one, and
    the share below zero the law's (4 binomial errors, false alarm 6e-5); a weight that forgets the
    overlap is caught."""
    from theory.choice import probability_of_offset

    settings = replace(design_by_simulation.SETTINGS, data_sets=20_000)
    x, left, right = design_by_simulation.shapes(settings)
    y = design_by_simulation.simulated(settings, (0.4,), 0.5 * (left + right), 0)[0]
    exact = design_by_simulation.exact_differences(settings, y, 0.4)
    F = []
    for A in (left[:, None], np.stack([left, right], axis=1)):
        rss = np.sum((y - y @ np.linalg.pinv(A).T @ A.T) ** 2, axis=1)
        F.append(rss / 0.32 + A.shape[1] * math.log(20.0)
                 + 0.5 * np.linalg.slogdet(A.T @ A / (2 * math.pi * 0.16))[1])
    assert exact == pytest.approx(F[1] - F[0], abs=1e-9)
    (question,) = design_by_simulation.questions(settings, [0.4])
    p = probability_of_offset(question)
    error = math.sqrt(p * (1 - p) / 20_000)
    assert abs(np.mean(exact < 0) - p) < 4 * error
    apart = probability_of_offset(replace(question, weight=float(right @ right)))
    assert abs(np.mean(exact < 0) - apart) > 4 * error
    assert len(x) == settings.points


@pytest.mark.long
def test_the_noise_that_is_read_off_a_fitted_curve() -> None:
    """200 campaigns of 24 data sets on a known curve: the spread of ln(noise at 95 %) is the error
    claimed, within a quarter, and its bias below a third of it; half the error is caught."""
    from scipy.special import ndtr

    noise, found = np.array(design_by_simulation.SETTINGS.noise), []
    p = ndtr(-3.0 * np.log(noise / 0.03))
    counts = np.random.default_rng(11).binomial(24, p, size=(200, len(noise)))
    for row in counts:
        value, error, _ = design_by_simulation.fitted(noise, row, 24)
        found.append((math.log(value), error))
    values, errors = np.transpose(found)
    truth = math.log(0.03) - 1.6448536 / 3.0
    claimed = float(np.median(errors))
    assert values.std() == pytest.approx(claimed, rel=0.25)
    assert values.std() != pytest.approx(claimed / 2, rel=0.25)
    assert abs(np.median(values) - truth) < claimed / 3


def test_claims_on_design_by_simulation_can_fail() -> None:
    result = results.load("design_by_simulation")
    assert not failed(design_by_simulation.check(result))
    for change in ({"known_exact": result.known_exact + 0.1}, {"law": 0.5 * result.law},
                   {"unknown": result.unknown[::-1]}, {"unknown": -result.unknown},
                   {"single": -result.single}, {"needed": 0.01},
                   {"unknown_error": np.full_like(result.unknown, 30.0)}):
        assert failed(design_by_simulation.check(replace(result, **change)))


def test_claims_on_the_line_can_fail() -> None:
    """Broken twins: noise levels read with the wrong constant, and the first-order exchange law."""
    from theory.exchange_rate import power_law_linear

    result = results.load("straight_line")
    assert not failed(straight_line.check(result))
    wrong = result.F_variance - 0.5 * 6 * np.log(result.variance / 0.01)
    assert failed(straight_line.check(replace(result, F_variance=wrong)))
    linear = power_law_linear(1.0, result.apart_ratio)
    assert failed(straight_line.check(replace(result, apart_exact=linear)))


def test_the_farthest_number_is_judged_by_its_own_error() -> None:
    assert farthest("x", [1.0, 2.0], [1.0, 2.3], [0.1, 0.1], "ab").holds
    assert not farthest("x", [1.0, 2.0], [1.0, 2.5], [0.1, 0.1], "ab").holds
    for error in (0.0, math.nan, -1.0):
        assert not farthest("x", [1.0, 2.0], [1.0, 2.0], [0.1, error], "ab").holds
    assert not farthest("x", [1.0, math.nan], [1.0, 2.0], [0.1, 0.1], "ab").holds
