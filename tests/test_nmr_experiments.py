"""NMR relaxation and certified fits: the exact side, other samplers, broken twins."""

import math
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from experiments import certified_fits as certified
from experiments import results
from experiments import ueda2023_nmr_relaxation as nmr
from experiments.paths import data_file
from theory.box import BoxLine, reduced_free_energy

# The single stretched curve by a plain one-parameter exchange sampler, three seeds, written before
# this one: F without its constant, and the parameters of one stretched component.
SINGLE = {"stretched 1": 66.48, "stretched 2": 67.69, "stretched 3": 69.54,
          "exponential 1": 1705.79, "exponential 2": 173.55, "exponential 3": 77.87}
PARAMETERS = {"amplitude": 0.948, "log10_rate": 0.297, "stretching": 0.705, "offset": 0.0204}
# The same for the temperatures, components in order of falling rate, and for the curve of three.
SERIES = {260: {"log10_rate": [1.305], "stretching": [0.698], "amplitude": [0.952]},
          200: {"log10_rate": [1.098], "stretching": [0.698], "amplitude": [0.952]},
          140: {"log10_rate": [0.818], "stretching": [0.703], "amplitude": [0.949]},
          100: {"log10_rate": [0.521], "stretching": [0.705], "amplitude": [0.947]},
          60: {"log10_rate": [0.692, -0.621], "stretching": [0.917, 0.854],
               "amplitude": [0.612, 0.336]},
          30: {"log10_rate": [0.528, -1.303], "stretching": [0.892, 0.798],
               "amplitude": [0.500, 0.454]}}
THREE = {"log10_rate": [1.739, 0.324, -1.111], "amplitude": [0.295, 0.415, 0.251],
         "stretching": [0.854, 0.860, 0.918], "offset": [0.0175]}


def fails(module: Any, result: Any) -> list[str]:
    """Claims that do not hold."""
    return [claim.claim for claim in module.check(result) if claim.holds is False]


# --- relaxation ------------------------------------------------------------------------------


def test_amplitude_and_offset_against_their_boxes() -> None:
    """The walls, hundreds of standard deviations away, are nothing: the normal integral over
    amplitude and offset is that over their box, by `theory.box`."""
    data = nmr.measured(nmr.SINGLE)
    volume = math.log(1.2 * 0.2)
    for rate, exponent in ((0.301, 0.7), (0.29, 0.71)):
        decay = np.exp(-((10**rate * data.x) ** exponent))
        box = reduced_free_energy(BoxLine(decay, data.y, 0.005, (0.0, 1.2), (-0.1, 0.1)))
        found = nmr.given_shape(data, np.array([[rate, exponent]]))[0] + volume
        assert found == pytest.approx(box, abs=1e-7)


def test_one_component_does_not_depend_on_the_grid() -> None:
    data = nmr.measured(nmr.SERIES[100])
    assert nmr.one_component(data, 25) == pytest.approx(nmr.one_component(data), abs=1e-6)


def test_another_sampler_finds_the_same() -> None:
    """F within 0.4 nats, the tolerance of those runs; means within half a standard deviation."""
    result = results.load("ueda2023_nmr_relaxation")
    for name, F, constant in zip(result.single["names"], result.single["F"],
                                 [result.single["constant"]] * 6, strict=True):
        assert abs(F - constant - SINGLE[name]) < 0.4
    for name, value in PARAMETERS.items():
        mean, sd = result.single_is[name][0, :2]
        assert abs(mean - value) < 0.5 * sd
    shown = dict(zip(result.settings["temperatures"], result.series_is, strict=True))
    for portrait, reference in [(shown[T], SERIES[T]) for T in SERIES] + [(result.three_is, THREE)]:
        for name, values in reference.items():
            mean, sd = portrait[name][:, 0], portrait[name][:, 1]
            assert np.all(abs(mean - values) < 0.5 * sd), name


def test_claims_on_relaxation_can_fail() -> None:
    """Broken twins: F off, the wrong K, priors that do not count, parameters off, no trust."""
    result = results.load("ueda2023_nmr_relaxation")
    assert not fails(nmr, result)
    assert len(fails(nmr, replace(result, ours=result.ours + 0.05))) == 1
    lower = result.three["F"] - 2.0 * np.array([0, 0, 0, 1])
    assert "three components: favoured" in fails(
        nmr, replace(result, three=dict(result.three, F=lower)))
    flat = [dict(d, F=base) for d, base in zip(
        result.series, [d["F"] * 0 + d["F"].min() for d in result.series], strict=True)]
    assert any("K favoured" in claim for claim in fails(nmr, replace(result, series=flat)))
    same = [dict(d, F=d["F"] + 0.1) for d in result.priors]
    assert len(fails(nmr, replace(result, priors=same))) == 1
    moved = [dict(p, stretching=p["stretching"] + [[0.3 * (k == 0), 0, 0, 0]])
             for k, p in enumerate(result.series_is)]
    assert len(fails(nmr, replace(result, series_is=moved))) == 1
    doubted = dict(result.wide, trusted=[False, True])
    assert len(fails(nmr, replace(result, wide=doubted))) == 1
    short = replace(result, round_trips=result.round_trips * 0 + 9)
    assert len(fails(nmr, short)) == 1


def test_a_portrait_puts_the_fastest_first() -> None:
    """Draws of two components in either order of labels give one portrait."""
    data = nmr.measured(nmr.SERIES[60])
    posterior = nmr.posterior(data, "stretched 2")
    truth = nmr.true_values(nmr.SERIES[60])
    fast, slow = ([truth["amplitude"][k], 10 ** truth["log10_rate"][k], truth["stretching"][k]]
                  for k in (0, 1))
    one, two = np.array([0.02, *fast, *slow]), np.array([0.02, *slow, *fast])
    g = np.random.default_rng(1)
    draws = np.where(np.arange(400)[:, None] % 3 == 0, one, two) * (
        1 + 1e-6 * g.standard_normal((400, 7)))
    found = nmr.portrait(SimpleNamespace(posterior=posterior, draws=draws[None]))
    for name, values in truth.items():
        assert found[name][:, 0] == pytest.approx(values, rel=1e-5, abs=1e-5)
        assert np.all(found[name][:, 1] < 1e-4)
    assert found["fit"] == pytest.approx(nmr.curve(data.x, nmr.SERIES[60]), abs=1e-5)


# --- certified fits --------------------------------------------------------------------------


@pytest.mark.parametrize("name", certified.CERTIFIED)
def test_certificates_are_those_of_the_files(name: str) -> None:
    """Values and standard deviations as the header of the data file prints them."""
    text = data_file(f"nist_strd/{name}.dat").read_text()
    rows = re.findall(r"^\s*b\d =\s+\S+\s+\S+\s+(\S+)\s+(\S+)", text, re.MULTILINE)
    printed = np.array(rows, dtype=float)
    assert certified.CERTIFIED[name] == pytest.approx(printed, rel=1e-9)


@pytest.mark.parametrize("name", certified.REGULAR)
def test_formulas_are_those_of_the_certificate(name: str) -> None:
    """The certified values in our formulas leave the certified sum of squares."""
    posterior = certified.posterior(name)
    theta = np.append(certified.CERTIFIED[name][:, 0], 1.0)
    assert len(posterior.names) == len(theta)
    data = posterior.blocks[0].data
    assert np.sum((posterior.predict(theta) - data.y) ** 2) == pytest.approx(
        sum_of_squares(name), rel=1e-6)


def sum_of_squares(name: str) -> float:
    """As the header of the data file prints it."""
    found = re.search(r"Residual Sum of Squares:\s+(\S+)",
                      data_file(f"nist_strd/{name}.dat").read_text())
    assert found
    return float(found[1])


def test_the_ridge_is_lanczos_problem() -> None:
    """The certified rates put into the coordinates of the ridge leave the certified sum of squares,
    and come back; the coordinates leave volumes alone."""
    posterior, line = certified.posterior("Lanczos3"), certified.ridge()
    value = certified.CERTIFIED["Lanczos3"][:, 0]
    zero = line.rates(value[1], 0.0, 0.0)
    second = value[3] - zero[1]
    point = (value[1], second, value[5] - zero[2] - line.slope * second)
    assert line.rates(*point) == pytest.approx(value[1::2], rel=1e-12)
    names = dict(zip(("slowest", "second", "third"), point, strict=True)) | {
        f"amplitude{k + 1}": a for k, a in enumerate(value[::2])} | {"sigma": 1.0}
    theta = np.array([names[n] for n in posterior.names])
    data = posterior.blocks[0].data
    assert np.sum((posterior.predict(theta) - data.y) ** 2) == pytest.approx(
        sum_of_squares("Lanczos3"), rel=1e-5)
    run = SimpleNamespace(posterior=posterior, draws=theta[None, None])
    assert certified.ordered(run)[0, 0] == pytest.approx(value, rel=1e-12)
    at, step = np.array([0.8, 0.02, 0.001]), 1e-5
    jacobian = [(np.array(line.rates(*(at + e))) - np.array(line.rates(*(at - e)))) / (2 * step)
                for e in step * np.eye(3)]
    assert np.linalg.det(jacobian) == pytest.approx(1.0, abs=1e-6)


def test_the_noise_integrated_out() -> None:
    """Density of two triples of rates: in closed form, and by a sum over the noise of the normal
    integrals over the amplitudes."""
    data = certified.posterior("Lanczos3").blocks[0].data
    rates = np.array([[0.95, 2.95, 4.98], [1.00, 3.006, 5.003]])
    log_noise = np.linspace(math.log(1e-6), math.log(1e-3), 4001)

    def by_hand(r: Any) -> float:
        basis = np.exp(-data.x[:, None] * r)
        gram = basis.T @ basis
        amplitudes = np.linalg.lstsq(basis, data.y, rcond=None)[0]
        rss = np.sum((data.y - basis @ amplitudes) ** 2)
        log_p = (-(data.size - 3) * log_noise - 0.5 * rss * np.exp(-2 * log_noise)
                 - 0.5 * np.linalg.slogdet(gram)[1])
        top = log_p.max()
        return float(top + np.log(np.exp(log_p - top).sum()) + np.log(r).sum())

    found = certified.given_rates(data.x, data.y, np.log(rates))[0]
    one, two = (by_hand(r) for r in rates)
    assert found[1] - found[0] == pytest.approx(two - one, abs=1e-5)


@pytest.mark.long
def test_three_exponentials_by_quadrature() -> None:
    """Two grids agree, and with runs before this one to 0.05 certified sd: rates and amplitudes by
    a Markov chain in the rates alone."""
    data = certified.posterior("Lanczos3").blocks[0].data
    coarse = certified.by_quadrature(data.x, data.y, 31, 17)
    fine = certified.by_quadrature(data.x, data.y)
    sd = certified.CERTIFIED["Lanczos3"][:, 1]
    assert np.all(abs(coarse - fine) < 1e-3 * sd)
    assert np.all(abs(fine[0] - certified.MEANS) < 0.05 * sd)
    with pytest.raises(ArithmeticError, match="at the ends"):
        certified.by_quadrature(data.x, data.y + 1e-3 * np.sin(40 * data.x), 5, 5)


def test_claims_on_certified_fits_can_fail() -> None:
    """Broken twins: a mean, a width, the mode, the second road, trust."""
    result = results.load("certified_fits")
    assert not fails(certified, result)
    sd = certified.CERTIFIED["Chwirut2"][:, 1]
    moved = result.means | {"Chwirut2": result.means["Chwirut2"] + 0.4 * sd}
    assert len(fails(certified, replace(result, means=moved))) == 1
    wide = result.sds | {"Misra1a": result.sds["Misra1a"] * 1.1}
    assert len(fails(certified, replace(result, sds=wide))) == 1
    found = fails(certified, replace(result, mode=result.means["Lanczos3"]))
    assert len(found) == 1 and "mode" in found[0]
    least_squares = result.means | {"Lanczos3": certified.CERTIFIED["Lanczos3"][:, 0]}
    assert len(fails(certified, replace(result, means=least_squares))) == 2
    assert len(fails(certified, replace(result, trusted=result.trusted | {"Gauss2": False}))) == 1
