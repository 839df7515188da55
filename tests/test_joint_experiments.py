"""Joint against separate: the stored results, their exact parts, claims that can fail."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from experiments import muon_relaxation, results, time_resolved_xrd, two_spectra
from sampler import Data, Posterior, joint


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
    for off in (0.03, -0.03):
        moved = stored.shift + np.array([off, 0.0])
        assert len(fails(two_spectra, replace(stored, shift=moved))) >= 2, off
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
        total += (-0.5 * (r - q**2 / p) - 0.5 * np.log(p * s * t / prior))
    Z = np.trapezoid(np.exp(total), shift) / 0.2
    assert found == pytest.approx(-math.log(Z) + math.log(6), abs=0.02)


def _white(generator: np.random.Generator) -> Any:
    """4000 normal draws of three with mean 0 and covariance 1 to rounding."""
    z = generator.normal(size=(4000, 3))
    z -= z.mean(axis=0)
    return z @ np.linalg.inv(np.linalg.cholesky(np.cov(z, rowvar=False))).T


# --- muons -----------------------------------------------------------------------------------


def test_two_muon_models_by_quadrature() -> None:
    """Offset and amplitude in closed form (their box is 80 sds away), the rate on a grid."""
    data = muon_relaxation.relaxation_run()
    y = data.y / data.deviation
    curves = {"Gaussian": lambda t: np.exp(-(t**2)),
              "Kubo-Toyabe": lambda t: 1 / 3 + 2 / 3 * (1 - t**2) * np.exp(-(t**2) / 2)}
    log_rate = np.linspace(math.log(0.135), math.log(0.19), 81)
    for name, curve in curves.items():
        log_p = []
        for rate in np.exp(log_rate):
            X = np.stack([np.ones(data.size), curve(rate * data.x)], axis=1)
            X /= data.deviation[:, None]
            C = X.T @ X
            rest = y - X @ np.linalg.solve(C, X.T @ y)
            log_p.append(-0.5 * rest @ rest + math.log(2 * math.pi)
                         - 0.5 * np.linalg.slogdet(C)[1] - math.log(0.4 * 0.5))
        top = max(log_p)
        Z = np.trapezoid(np.exp(np.array(log_p) - top), log_rate) / math.log(300)
        assert -(top + math.log(Z)) == pytest.approx(muon_relaxation.QUADRATURE[name], abs=1e-4)


def test_models_of_a_muon_are_what_they_are_called() -> None:
    """At t = 0 all are offset + amplitude; the static law has its minimum at sqrt(3)/width and a
    third of the amplitude left."""
    t = np.array([0.0, math.sqrt(3) / 0.3, 200.0])
    for name in muon_relaxation.MODELS:
        posterior = Posterior(muon_relaxation.model(name), Data(t, np.zeros(3), noise=1.0))
        values = {"offset": 0.1, "amplitude": 0.2, "rate": 0.3, "width": 0.3, "stretching": 0.9}
        curve = posterior.predict([values[n] for n in posterior.names])
        assert curve[0] == pytest.approx(0.3), name
        if name == "Kubo-Toyabe":
            assert curve[1] == pytest.approx(0.1 + 0.2 * (1 - 4 * math.exp(-1.5)) / 3)
            assert curve[2] == pytest.approx(0.1 + 0.2 / 3)
        else:
            assert curve[2] == pytest.approx(0.1, abs=1e-6), name


def test_four_detectors_share_what_has_no_detector_in_its_name() -> None:
    parts = [muon_relaxation.precession(n, "Gaussian") for n in muon_relaxation.DETECTORS]
    whole = joint(*parts)
    assert whole.dimension == 4 * 3 + 2
    assert {"frequency", "rate"} <= set(whole.names)
    values = {"offset": 0.01, "cosine": 0.1, "sine": 0.2, "frequency": 1.37, "rate": 0.02}
    energies = [float(p.energy([values[n.split("_")[-1]] for n in p.names]))
                for p in (*parts, whole)]
    assert energies[-1] == pytest.approx(sum(energies[:-1]), rel=1e-12)


def test_channels_are_joined_with_their_noise() -> None:
    """The mean of the wave over eight channels, and sigma / sqrt(8) where it is even."""
    fine = muon_relaxation.detector("top", replace(muon_relaxation.SETTINGS, joined=1))
    coarse = muon_relaxation.detector("top")
    assert coarse.y[3] == pytest.approx(fine.y[24:32].mean())
    assert coarse.deviation[3] == pytest.approx(fine.deviation[24:32].mean() / 8**0.5, rel=1e-3)


def test_claims_on_muons_can_fail() -> None:
    """Broken twins: F off by a tenth, another winner, everything fits, no gain, no trust."""
    stored = results.load("muon_relaxation")
    assert not fails(muon_relaxation, stored)
    d = stored.decision
    assert len(fails(muon_relaxation, replace(stored, decision=d | {"F": d["F"] + 0.1}))) == 2
    assert len(fails(muon_relaxation, replace(stored, decision=d | {"F": 0 * d["F"]}))) >= 3
    assert len(fails(muon_relaxation, replace(stored, fits=0 * stored.fits + 0.5))) == 2
    assert len(fails(muon_relaxation, replace(stored, fits=0 * stored.fits))) == 1
    shared = stored.F.copy()
    shared[:, -1] = shared[:, :-1].sum(axis=1)
    assert len(fails(muon_relaxation, replace(stored, F=shared))) == 2
    apart = stored.frequency + np.array([[0.001, 0.0]] + [[0.0, 0.0]] * 4)
    assert len(fails(muon_relaxation, replace(stored, frequency=apart))) == 1
    assert len(fails(muon_relaxation, replace(
        stored, trusted=[[False, *row[1:]] for row in stored.trusted]))) == 1
    assert len(fails(muon_relaxation, replace(
        stored, decision=d | {"trusted": [False] * len(d["trusted"])}))) == 1


# --- a reaction in twenty frames -------------------------------------------------------------


def test_the_reaction_agrees_with_another_sampler() -> None:
    """F of one model and of 20 fits, tau and m by a plain exchange sampler, written before this
    one, on the same counts: within 4 joint errors; three nats off are not."""
    stored = results.load("time_resolved_xrd")
    apart, apart_error = stored.F[1:].sum(), np.linalg.norm(stored.F_error[1:])
    for (F, error), (other, other_error) in (
            ((stored.F[0], stored.F_error[0]), (3209.15, 0.30)),
            ((apart, apart_error), (3803.96, 0.86))):
        limit = 4 * math.hypot(error, other_error)
        assert abs(F - other) < limit
    assert abs(stored.F[0] + 3.0 - 3209.15) > 4 * math.hypot(stored.F_error[0], 0.30)
    for name, mean, sd in (("tau", 7.97, 0.15), ("order", 1.935, 0.072), ("width", 0.503, 0.010)):
        assert abs(stored.joint[name][0] - mean) < 0.3 * sd, name
        assert stored.joint[name][1] == pytest.approx(sd, rel=0.15), name


def test_a_frame_knows_its_time() -> None:
    """The joint model at the truth predicts each frame's mean; its counts are Poisson about it
    (sum over 300 points within 4.5 sds; false alarm 1e-4 for 20 frames)."""
    t, data = time_resolved_xrd.frames()
    whole = joint(*(time_resolved_xrd.posterior(f, time) for f, time in zip(data, t, strict=True)))
    assert (whole.dimension, whole.size) == (17, 6000)
    assert time_resolved_xrd.posterior(data[0]).dimension == 15
    truth = dict(time_resolved_xrd.TRUTH)
    for phase, (centers, heights) in time_resolved_xrd.PHASES.items():
        for k, center, height in zip("xyz", centers, heights, strict=True):
            truth |= {f"{phase}{k}_center": center, f"{phase}{k}_height": height}
    theta = np.array([truth[name] for name in whole.names])
    for k, frame in enumerate(data):
        mean = float(whole.predict(theta, block=k).sum())
        assert abs(frame.y.sum() - mean) < 4.5 * mean**0.5, k
    # Pure A before, pure B after: the shares are those of the summed heights.
    assert time_resolved_xrd.share_of_b(1e-6, 8.0, 2.0) == pytest.approx(0.0, abs=1e-9)
    assert time_resolved_xrd.share_of_b(8.0, 8.0, 2.0, 1.0) == pytest.approx(1 - math.exp(-1))


def test_two_steps_find_the_law_in_exact_shares() -> None:
    t = np.arange(1.0, 21.0)
    share = time_resolved_xrd.share_of_b(t, 8.0, 2.0)
    found = time_resolved_xrd.two_steps(t, np.stack([share, np.full(20, 0.02)], axis=1))
    assert found.shape == (2, 2, 2)
    for fit in found:
        assert fit[:, 0] == pytest.approx([8.0, 2.0], abs=1e-3)


def test_saturated_counts_are_the_least_energy() -> None:
    y = np.array([0.0, 1.0, 7.0])
    assert time_resolved_xrd.saturated(y) == pytest.approx(1.0 + 1.0 + 7.0 - 7 * math.log(7))


def test_claims_on_the_reaction_can_fail() -> None:
    """Broken twins: no gain, tau off, no narrower width, unbiased shares, no trust."""
    stored = results.load("time_resolved_xrd")
    assert not fails(time_resolved_xrd, stored)
    together = np.concatenate([[stored.F[1:].sum()], stored.F[1:]])
    assert len(fails(time_resolved_xrd, replace(stored, F=together))) == 1
    off = stored.joint | {"tau": [9.0, 0.15]}
    assert len(fails(time_resolved_xrd, replace(stored, joint=off))) == 1
    assert len(fails(time_resolved_xrd, replace(stored, width=stored.width / 4.5))) == 1
    walled = stored.share.copy()
    walled[0, 0], walled[-1, 0] = 0.0, 1.0
    assert len(fails(time_resolved_xrd, replace(stored, share=walled))) == 2
    assert len(fails(time_resolved_xrd, replace(stored, trusted=False))) == 1
