"""Droplets with a shell and neighbours, and the experiment on three contrasts of real data."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy import integrate
from test_kernels import SWEEPS, Pair

from experiments import aot_three_contrasts as aot
from experiments.results import load
from sampler import Data, InputError, Model, Posterior, Uniform
from sampler.instruments import scattering

AT = {"intensity": 12.0, "radius": 31.0, "spread": 0.2, "shell": 8.0, "reach": 36.0,
      "fraction": 0.06}
Q = np.array([0.009, 0.05, 0.12, 0.28])


def curve(contrast: str, **changed: float) -> Any:
    formula = scattering.droplets(contrast)
    model = Model.single(formula, **dict.fromkeys(formula.parameters, (0.0, 1e6)))
    posterior = Posterior(model, Data(Q, np.zeros(4), noise=1.0))
    return posterior.predict([{**AT, **changed}[n] for n in posterior.names])


def by_quadrature(contrast: str) -> Any:
    """The average over sizes by an adaptive rule, neighbours by the printed formula."""
    def wave(u: float) -> float:
        return 3.0 * (np.sin(u) - u * np.cos(u)) / u**3

    def seen(q: float, r: float) -> float:
        out = r + AT["shell"]
        inner, outer = (wave(q * r), (out / r) ** 3 * wave(q * out)) if q else (1, (out / r) ** 3)
        return {"core": inner, "drop": outer, "shell": outer - inner}[contrast]

    def mean(q: float) -> float:
        return integrate.quad(
            lambda z: np.exp(-z * z / 2) * seen(q, AT["radius"] * np.exp(AT["spread"] * z)) ** 2,
            -8, 8, epsabs=1e-13, limit=400)[0]

    def neighbours(q: float) -> float:
        f, u = AT["fraction"], 2 * q * AT["reach"]
        s, c = np.sin(u), np.cos(u)
        a, b = (1 + 2 * f) ** 2 / (1 - f) ** 4, -6 * f * (1 + f / 2) ** 2 / (1 - f) ** 4
        g = (a * (s - u * c) / u**2 + b * (2 * u * s + (2 - u**2) * c - 2) / u**3
             + f * a / 2 * (-u**4 * c + 4 * ((3 * u**2 - 6) * c + (u**3 - 6 * u) * s + 6)) / u**5)
        return 1 / (1 + 24 * f * g / u)

    still = (1 - AT["fraction"]) ** 4 / (1 + 2 * AT["fraction"]) ** 2
    return np.array([AT["intensity"] * mean(q) / mean(0.0) * neighbours(q) / still for q in Q])


@pytest.mark.parametrize("contrast", scattering.CONTRASTS)
def test_seven_sizes_are_the_average_over_all(contrast: str) -> None:
    """To 0.001 of what is measured near q = 0: a third of the data's errors at most."""
    assert curve(contrast) == pytest.approx(by_quadrature(contrast), abs=1e-3 * AT["intensity"])
    assert curve(contrast)[:2] == pytest.approx(by_quadrature(contrast)[:2], rel=1e-5)


def test_neighbours_in_their_limits() -> None:
    """Compressibility of Percus and Yevick at q = 0; none far out; the series meets the closed
    form where it hands over."""
    u, f = sp.symbols("u f", positive=True)
    factor = sp.lambdify((u, f), scattering.structure_factor(u, f))
    for fraction in (0.01, 0.1, 0.4):
        assert factor(1e-9, fraction) == pytest.approx(
            (1 - fraction) ** 4 / (1 + 2 * fraction) ** 2, rel=1e-12)
        assert factor(2e4, fraction) == pytest.approx(1.0, abs=1e-3)
        assert factor(2.0 - 1e-9, fraction) == pytest.approx(factor(2.0 + 1e-9, fraction), rel=1e-9)
    assert curve("core", fraction=1e-12) == pytest.approx(
        curve("core", fraction=1e-12, reach=1.0), rel=1e-9)


def test_a_drop_without_shell_is_its_core_and_the_shell_is_the_difference() -> None:
    assert curve("drop", shell=0.0) == pytest.approx(curve("core"), rel=1e-12)
    # A thin shell scatters as a hollow sphere: sin(q r)/(q r), of one size.
    thin = curve("shell", shell=1e-4, spread=0.0, fraction=1e-12)
    assert thin == pytest.approx(12.0 * np.sinc(Q * 31.0 / np.pi) ** 2, rel=1e-4, abs=1e-8)


def test_an_unknown_contrast_is_refused() -> None:
    with pytest.raises(InputError, match="core or shell or drop"):
        scattering.droplets("oil")


@pytest.mark.long
@pytest.mark.parametrize("contrast", ["core", "shell"])
def test_both_kernels_take_the_same_decisions(contrast: str) -> None:
    formula = scattering.droplets(contrast)
    priors = {n: Uniform(*aot.PRIORS[n]) for n in formula.parameters}
    posterior = Posterior(Model.single(formula, **priors), aot.measured(contrast))
    assert Pair(posterior).locked(SWEEPS) > SWEEPS - 5


def test_points_are_averaged_with_their_weights() -> None:
    table = np.loadtxt(aot.ROOT / "data/tidy/sans_aot_core_contrast.csv", delimiter=",", skiprows=2)
    data = aot.measured("core")
    w = table[5:10, 2] ** -2
    assert len(data.x) == len(table) // 5
    assert data.y[1] == pytest.approx(np.average(table[5:10, 1], weights=w))
    assert data.deviation[1] == pytest.approx(w.sum() ** -0.5)


def test_readings_share_what_they_say() -> None:
    every = aot.readings()
    assert [sum(p.dimension for p in every["separate"]),
            *(every[name].dimension for name in aot.READINGS[1:])] == [19, 16, 15, 11]
    assert {"radius", "spread", "shell", "core_reach"} <= set(every["one geometry"].names)
    assert "core_shell" not in every["own shells"].names


def test_the_stored_result_supports_its_claims_and_wrong_ones_do_not() -> None:
    result = load("aot_three_contrasts")

    def fails(changed: Any) -> int:
        return sum(claim.holds is False for claim in aot.check(changed))

    assert fails(result) == 0
    assert fails(replace(result, F=np.full(4, result.F[0]))) == 3
    assert fails(replace(result, fits=result.fits[[2, 1, 0]])) == 1
    assert fails(replace(result, shell=result.shell[[1, 0, 2, 3]])) == 1
    assert fails(replace(result, trusted=[False, *result.trusted[1:]])) == 1
    assert set(aot.draw(result)) == {"aot_three_contrasts"}
