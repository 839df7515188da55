"""Joint against separate: the stored results, their exact parts, claims that can fail."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from experiments import results, two_spectra


def fails(module: Any, result: Any) -> list[str]:
    """Claims that do not hold."""
    return [claim.claim for claim in module.check(result) if claim.holds is False]


# --- two spectra -----------------------------------------------------------------------------

# F of the three models by a plain exchange sampler, written before this one, and its errors.
ANOTHER = {
    0.0: ((338.90, 332.41, 323.69), (0.09, 0.10, 0.21)),
    0.02: ((339.17, 336.79, 330.48), (0.09, 0.14, 0.20)),
    0.03: ((339.39, 341.61, 337.40), (0.09, 0.20, 0.18)),
    0.04: ((339.32, 347.28, 346.63), (0.11, 0.22, 0.14)),
    0.08: ((339.61, 384.82, 403.54), (0.10, 0.18, 0.16))}


def test_the_spectra_agree_with_another_sampler() -> None:
    """15 free energies, each within 4 joint errors (false alarm 1e-3); one nat off is not."""
    stored = results.load("two_spectra")
    assert len(stored.F) == len(ANOTHER)
    for k, d in enumerate(stored.settings["moved"]):
        F, error = ANOTHER[d]
        limit = 4 * np.hypot(stored.F_error[k], error)
        assert np.all(abs(stored.F[k] - F) < limit), d
        assert not np.all(abs(stored.F[k] + 1.0 - F) < limit), d


def test_claims_on_two_spectra_can_fail() -> None:
    """Broken twins: no gain, no loss, labels forgotten, a shift off, no trust."""
    stored = results.load("two_spectra")
    assert not fails(two_spectra, stored)
    same = np.repeat(stored.F[:, :1], 3, axis=1)
    assert len(fails(two_spectra, replace(stored, F=same))) >= 6
    unlabelled = stored.gaussian - math.log(6)
    assert len(fails(two_spectra, replace(stored, gaussian=unlabelled))) == 1
    assert len(fails(two_spectra, replace(stored, shift=stored.shift + 0.03))) == 2
    assert len(fails(two_spectra, replace(stored, shift=stored.shift - 0.03))) == 3
    doubted = [[False, *row[1:]] for row in stored.trusted]
    assert len(fails(two_spectra, replace(stored, trusted=doubted))) == 1


def test_a_joint_model_of_two_spectra_is_the_sum_of_its_parts() -> None:
    """Energies add, priors of shared parameters enter once, and a shifted axis is undone."""
    data = two_spectra.spectra(0.0)
    asked = two_spectra.posteriors(data)
    assert [p.dimension for p in asked.values()] == [9, 9, 16, 10]
    value = {"a": (0.6, 1.5, 1.2), "b": (90.0, 140.0, 160.0), "mu": (1.2, 1.45, 1.7)}

    def theta(posterior: Any, further: float = 0.0) -> Any:
        out = []
        for name in posterior.names:
            number, kind = name.removeprefix("peak").split("_")[:2] if "_" in name else ("1", name)
            out.append(0.02 if kind == "shift"
                       else value[kind][int(number) - 1] + further * (kind == "mu"))
        return np.array(out)

    parts = float(asked["first"].energy(theta(asked["first"]))
                  + asked["second"].energy(theta(asked["second"], 0.02)))
    for name in ("positions", "shared"):
        assert float(asked[name].energy(theta(asked[name]))) == pytest.approx(parts, rel=1e-12)
    once = float(asked["shared"].log_prior(theta(asked["shared"])))
    assert once == pytest.approx(
        float(asked["first"].log_prior(theta(asked["first"]))) - math.log(0.2), abs=1e-9)


def test_the_gaussian_estimate_is_exact_for_normal_posteriors() -> None:
    """Two normal posteriors with prior N(1.5, 1/5) each: the joint integral by quadrature over
    the shift, against the formula; labels count ln 3!."""
    generator = np.random.default_rng(7)
    sd1, sd2 = np.array([0.02, 0.01, 0.015]), np.array([0.03, 0.02, 0.025])
    m1, m2 = np.array([1.2, 1.45, 1.7]), np.array([1.24, 1.47, 1.75])
    draws = [m + sd * _white(generator) for m, sd in ((m1, sd1), (m2, sd2))]
    found = two_spectra.gaussian_estimate({"mu": draws[0]}, {"mu": draws[1]}, 0.1, ("mu",))
    shift = np.linspace(-0.1, 0.1, 4001)
    v1, v2, prior = sd1**2, sd2**2, 0.2
    total = np.zeros_like(shift)
    for a, b, s, t in zip(m1, m2, v1, v2, strict=True):
        # integral of N(mu; a, s) N(mu + shift; b, t) / N(mu + shift; 1.5, 1/5) over mu
        p = 1 / s + 1 / t - 1 / prior
        q = a / s + (b - shift) / t - (1.5 - shift) / prior
        r = a**2 / s + (b - shift) ** 2 / t - (1.5 - shift) ** 2 / prior
        total += (-0.5 * (r - q**2 / p) - 0.5 * np.log(2 * np.pi * p * s * t / prior))
    Z = np.trapezoid(np.exp(total), shift) / 0.2
    assert found == pytest.approx(-math.log(Z) + math.log(6), abs=0.02)


def _white(generator: np.random.Generator) -> Any:
    """4000 normal draws of three with mean 0 and covariance 1 to rounding."""
    z = generator.normal(size=(4000, 3))
    z -= z.mean(axis=0)
    return z @ np.linalg.inv(np.linalg.cholesky(np.cov(z, rowvar=False))).T
