"""Absorption edges and small-angle scattering: formulas by hand, priors, the two experiments."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import special

from experiments import decisions, results, sphere_populations, xanes_pre_edge
from sampler import Data, InputError, LogUniform, Model, Posterior
from sampler.instruments import scattering, xanes
from sampler.priors import in_words

ENERGY = np.linspace(-12.0, 20.0, 65)
LINES: dict[str, Any] = {"height": (0, 1), "center": (-10, 0), "width": (0.5, 4)}


def evaluated(model: Model, x: Any, values: dict[str, Any]) -> np.ndarray:
    """The curve of a model at named values."""
    posterior = Posterior(model, Data(x, np.zeros(len(x)), noise=1.0))
    assert set(values) == set(posterior.names)
    return posterior.predict([values[n] for n in posterior.names])


def test_an_edge_is_the_formula_typed_by_hand() -> None:
    """A Lorentzian integrated from below is the step; the white line moves with it."""
    step, where, wide, line, shift, narrow = 1.3, 4.0, 2.5, 0.4, 3.0, 5.0
    model = xanes.xanes(1, edge_height=(0, 2), edge_position=(0, 9), edge_width=(1, 5),
                        line_amplitude=(0, 1), line_shift=(0, 9), line_width=(1, 9), **LINES)
    found = evaluated(model, ENERGY, {
        "edge_height": step, "edge_position": where, "edge_width": wide, "line_amplitude": line,
        "line_shift": shift, "line_width": narrow, "transition1_height": 0.2,
        "transition1_center": -3.0, "transition1_width": 1.5})
    by_hand = step * np.array([0.5 + math.atan2(e - where, wide / 2) / math.pi for e in ENERGY])
    for height, center, width in ((line, where + shift, narrow), (0.2, -3.0, 1.5)):
        by_hand += height * 0.5 ** ((2 * (ENERGY - center) / width) ** 2)
    assert found == pytest.approx(by_hand, rel=1e-12, abs=1e-14)


def test_a_sphere_scatters_as_its_bessel_function() -> None:
    """3 (sin u - u cos u) / u**3 is 3 j1(u)/u; small spheres follow Guinier's law."""
    q = np.geomspace(0.01, 3.0, 60)
    model = scattering.spheres(2, background=(0, 1), intensity=(0, 200), radius=(0.5, 10))
    found = evaluated(model, q, {
        "background_offset": 0.1, "population1_intensity": 100.0, "population1_radius": 5.0,
        "population2_intensity": 10.0, "population2_radius": 2.0})
    by_hand = 0.1 + sum(s * (3 * special.spherical_jn(1, q * r) / (q * r)) ** 2
                        for s, r in ((100.0, 5.0), (10.0, 2.0)))
    assert found == pytest.approx(by_hand, rel=1e-7, abs=0)    # u**3 at u = 0.02 costs digits
    assert sphere_populations.form_factor(q, 5.0) == pytest.approx(
        (3 * special.spherical_jn(1, 5 * q) / (5 * q)) ** 2, rel=1e-7)
    guinier = 10 * np.exp(-((q * 2.0) ** 2) / 5)
    small = evaluated(scattering.spheres(1, background=0.0, intensity=(0, 20), radius=(0.5, 10)),
                      q[q < 0.1], {"population1_intensity": 10.0, "population1_radius": 2.0})
    assert small == pytest.approx(guinier[q < 0.1], rel=1e-4)


def test_priors_follow_the_data_and_are_said_in_words() -> None:
    data = Data([0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 0.1, 0, 0, 0.5, 1, 1, 1], noise=0.1)
    model = xanes.xanes(2, "pseudo_voigt", **xanes.default_priors(data, "pseudo_voigt"))
    assert len(Posterior(model, data).names) == 6 + 8
    assert in_words(xanes.default_priors(data)["edge_height"]) == "uniform from 0.5 to 1.5"
    priors = scattering.default_priors(Data([0.1, 1.0, 2.0], [50.0, 10.0, 1.0], noise=1.0))
    assert priors["intensity"] == LogUniform(0.05, 500.0)
    assert Posterior(scattering.spheres(3, **priors), Data([0.1], [1.0], noise=1.0)).dimension == 7


@pytest.mark.parametrize(("call", "words"), [
    (lambda: xanes.xanes(1, **LINES), "prior of edge_height: received nothing"),
    (lambda: xanes.default_priors(Data([0, 1, 2], [1, 0.5, 0], noise=1)), "rises over an edge"),
    (lambda: scattering.spheres(1, intensity=(0, 1), radius=(1, 2)), "prior of background"),
    (lambda: scattering.default_priors(Data([0, 1], [1, 2], noise=1)), "scattering vectors q > 0"),
    (lambda: scattering.default_priors(Data([1, 2], [0, 0], noise=1)), "above 0 somewhere"),
    (lambda: scattering.spheres(-1, background=1.0, intensity=(0, 1), radius=(1, 2)), "K: "),
])
def test_bad_input_is_refused(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_the_stored_free_energies_agree_with_another_sampler() -> None:
    """Numbers of a plain one-parameter Metropolis exchange sampler, each with its own error, before
    this one was written; relative to saturated counts, and without ln 2 pi sigma**2."""
    spheres = results.load("sphere_populations")
    y = spheres.counts
    free = np.asarray(spheres.decision["F"]) - special.gammaln(y + 1).sum() - np.sum(
        np.maximum(y, 1) - y * np.log(np.maximum(y, 1)))
    assert np.all(abs(free - [834.56, 128.82, 128.85]) < 3 * np.array([0.07, 0.16, 0.22]))
    edge = results.load("xanes_pre_edge").synthetic
    free = np.asarray(edge["F"]) - edge["constant"]
    assert np.all(abs(free - [377.56, 179.5, 135.9, 137.9]) < [0.45, 0.9, 0.9, 0.7])


def test_the_claims_can_fail() -> None:
    """Broken twins: a free energy off by 0.01 nats, a width that does not fall, a run not trusted,
    a transition half an electronvolt away."""
    spheres = results.load("sphere_populations")

    def fails(module: Any, result: Any) -> int:
        return sum(claim.holds is False for claim in module.check(result))

    off = {**spheres.decision, "F": np.add(spheres.decision["F"], [0.01, 0.0, 0.0])}
    assert fails(sphere_populations, replace(spheres, decision=off)) == 1
    assert fails(sphere_populations, replace(spheres, width=spheres.width[::-1])) == 1
    doubted = {**spheres.decision, "trusted": [True, False, True]}
    assert fails(sphere_populations, replace(spheres, decision=doubted)) == 1
    edge = results.load("xanes_pre_edge")
    centre = edge.names.index("transition2_center")
    moved = replace(edge, mean=edge.mean + 0.5 * (np.arange(len(edge.mean)) == centre))
    assert fails(xanes_pre_edge, moved) == 2        # its position, and its distance in sd
    content = {**edge.foil, "fits": 0.5}
    assert fails(xanes_pre_edge, replace(edge, foil=content)) == 1


def test_a_power_is_read_off_with_its_error() -> None:
    times = np.array([1.0, 3.0, 10.0, 30.0])
    slope, error = sphere_populations.falls_as(times, times**-0.5, 3.0)
    assert slope == pytest.approx(-0.5) and error == pytest.approx(0.0, abs=1e-12)
    bent = sphere_populations.falls_as(times, times**-0.5 * [1, 1, 1.2, 1], 1.0)
    assert bent[1] > 0.02


def test_components_are_ordered_after_sampling() -> None:
    """Every draw keeps its pairs of intensity and radius; only their order changes."""
    posterior = sphere_populations.posterior(2, sphere_populations.counts(1.0), 1.0)
    draws = np.random.default_rng(1).uniform(1, 9, size=(1, 50, posterior.dimension))
    run = SimpleNamespace(posterior=posterior, draws=draws)
    ordered = sphere_populations.by_radius(run)
    assert np.all(ordered[:, 1] <= ordered[:, 3])
    assert np.sort(ordered, axis=1) == pytest.approx(np.sort(run.draws[0], axis=1))
    names = run.posterior.names
    for row, draw in zip(ordered, run.draws[0], strict=True):
        pairs = {(draw[names.index(f"population{k}_intensity")],
                  draw[names.index(f"population{k}_radius")]) for k in (1, 2)}
        assert {(row[0], row[1]), (row[2], row[3])} == pairs


def test_a_decision_knows_its_differences() -> None:
    decision = {"names": ["a", "b"], "F": np.array([3.0, 1.0]), "F_error": np.array([0.3, 0.4])}
    assert decisions.difference(decision, "a", "b") == pytest.approx((2.0, 0.5))
