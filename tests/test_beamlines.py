"""Absorption edges, small-angle scattering, Moessbauer: formulas by hand, priors, experiments."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import special

from experiments import (
    decisions,
    mossbauer_hamiltonian,
    results,
    sphere_populations,
    xanes_pre_edge,
)
from sampler import Data, InputError, LogUniform, Model, Posterior
from sampler.instruments import mossbauer, scattering, xanes
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
    q = np.geomspace(1e-6, 3.0, 90)
    model = scattering.spheres(2, background=(0, 1), intensity=(0, 200), radius=(0.5, 10))
    found = evaluated(model, q, {
        "background_offset": 0.1, "population1_intensity": 100.0, "population1_radius": 5.0,
        "population2_intensity": 10.0, "population2_radius": 2.0})
    by_hand = 0.1 + sum(s * (3 * special.spherical_jn(1, q * r) / (q * r)) ** 2
                        for s, r in ((100.0, 5.0), (10.0, 2.0)))
    assert found == pytest.approx(by_hand, rel=1e-12, abs=0)
    guinier = 10 * np.exp(-((q * 2.0) ** 2) / 5)
    small = evaluated(scattering.spheres(1, background=0.0, intensity=(0, 20), radius=(0.5, 10)),
                      q[q < 0.1], {"population1_intensity": 10.0, "population1_radius": 2.0})
    assert small == pytest.approx(guinier[q < 0.1], rel=1e-4)


# In mm/s per tesla, line by line, from the positions of metallic iron's lines at 33 T.
SEXTET = np.array([-5.3279, -3.0852, -0.8424, 0.8424, 3.0852, 5.3279]) / 33


def dip(v: Any, centre: float, width: float) -> Any:
    return (width / 2) ** 2 / ((v - centre) ** 2 + (width / 2) ** 2)


def test_hamiltonians_are_the_lines_typed_by_hand() -> None:
    v = np.linspace(-10, 10, 81)
    lines = {
        "singlet": ([0.37], [1.0]), "doublet": ([-0.03, 0.77], [0.5, 0.5]),
        "sextet": (0.37 + 50 * SEXTET, np.array([3, 2, 1, 1, 2, 3]) / 12),
        "sextet_quadrupole": (0.37 + 50 * SEXTET - 0.1 * np.array([1, -1, -1, -1, -1, 1]),
                              np.array([3, 2, 1, 1, 2, 3]) / 12)}
    values = {"scale": 1.02, "depth": 0.25, "width": 0.3, "shift": 0.37, "splitting": 0.8,
              "field": 50.0, "quadrupole": -0.2}
    for name, (positions, weights) in lines.items():
        model = mossbauer.transmission(name, 1000, **{
            k: mossbauer_hamiltonian.PRIORS[k] for k in (
                "scale", "depth", "width", *mossbauer.HAMILTONIANS[name][0])})
        found = evaluated(model, v, {k: values[k] for k in model.free})
        absorbed = sum(w * dip(v, c, 0.3) for c, w in zip(positions, weights, strict=True))
        assert found == pytest.approx(1020 * (1 - 0.25 * absorbed), rel=1e-12)


@pytest.mark.parametrize("drive", ["triangle", "sinusoid"])
def test_a_drive_passes_every_velocity_twice(drive: str) -> None:
    """The raw spectrum is the folded one at the velocity of each channel, mirrored at its fold."""
    n, fold, top, channel = 256, 0.7, 11.0, np.arange(256.0)
    model = mossbauer.unfolded(["outer", "inner", "singlet"], n, drive, {
        "velocity": (8, 16), "fold": (-5, 5), "shift": (-1, 1), "field": 33.04, "width": (0.1, 1),
        "outer_depth": (0, 1e4), "inner_depth": (0, 1e4), "site3_depth": (0, 1e4),
        "site3_width": (0.1, 1), "site3_shift": (-1, 1)},
        level=(0, 1e5), cosine=(-1e3, 1e3), sine=(-1e3, 1e3))
    found = evaluated(model, channel, {
        "level": 9e4, "cosine": 100.0, "sine": -200.0, "outer_depth": 5e3, "inner_depth": 2e3,
        "site3_depth": 1e3, "site3_width": 0.5, "site3_shift": 0.4, "shift": -0.1, "width": 0.3,
        "velocity": top, "fold": fold})
    p = (channel + 0.5 + fold) / n
    v = top * (np.abs((4 * p) % 4 - 2) - 1 if drive == "triangle" else np.cos(2 * np.pi * p))
    still = 2 * np.pi * (channel + 0.5) / n
    by_hand = 9e4 + 100 * np.cos(still) - 200 * np.sin(still) - 1e3 * dip(v, 0.4, 0.5)
    for depth, k in ((5e3, 5), (2e3, 3)):
        by_hand -= depth * sum(dip(v, -0.1 + s * 33.04 * SEXTET[k], 0.3) for s in (-1, 1)) / 2
    inside = p < 1.0       # the one channel beyond the turning point is mirrored, not periodic
    assert found[inside] == pytest.approx(by_hand[inside], rel=1e-12)


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
    (lambda: mossbauer.absorption("octet"), "hamiltonian: received 'octet'"),
    (lambda: mossbauer.transmission("singlet", 0, scale=1.0), "positive number of counts"),
    (lambda: mossbauer.transmission("singlet", 10, scale=1.0, depth=0.1, width=1.0), "shift"),
    (lambda: mossbauer.unfolded(["singlet"], 1, priors={}), "channels: received 1"),
    (lambda: mossbauer.unfolded(["singlet"], 64, "square", {}), "triangle, sinusoid"),
    (lambda: mossbauer.unfolded(["singlet"], 64, level=1.0, cosine=0.0, sine=0.0),
     "prior of site1_depth: received nothing"),
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
    iron = results.load("mossbauer_hamiltonian")
    quoted = {"1000": [119.2, 118.9, 111.0, 112.1], "10000": [210.6, 210.4, 132.6, 112.7],
              "100000": [1223.2, 1208.1, 320.4, 124.6]}
    data = mossbauer_hamiltonian.synthetic()
    for name, F in quoted.items():
        y = data[name].y
        free = np.asarray(iron.decisions[name]["F"]) - special.gammaln(y + 1).sum() - np.sum(
            np.maximum(y, 1) - y * np.log(np.maximum(y, 1)))
        assert np.all(abs(free - F) < 0.6), name       # its errors: 0.2, printed to 0.1
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
    iron = results.load("mossbauer_hamiltonian")
    assert fails(mossbauer_hamiltonian, iron) == 0
    assert fails(mossbauer_hamiltonian, replace(iron, ratio=iron.ratio * 1.01)) == 1
    assert fails(mossbauer_hamiltonian, replace(iron, iron_fit=1.2)) == 1
    thin = {**iron.decisions["iron"], "F": np.sort(iron.decisions["iron"]["F"])}
    assert fails(mossbauer_hamiltonian, replace(
        iron, decisions={**iron.decisions, "iron": thin})) >= 2


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
