"""How close may two peaks be and still be two?  The misfit of one peak grows like the eighth power.

Figure: the least misfit K of one Gaussian peak to two equal ones at -u and +u, its local power, and
the free energies that choose between one peak and two, in the manner of the solvable models of
Katakami et al., arXiv 2406.02869.  The peak is that of Nagata, Sugita and Okada, Neural Networks 28
(2012) 82: a exp(-b (x - mu)^2 / 2).

The paper's: nothing of this; that peaks which coalesce are a singular model is known (Watanabe).

Ours: all of it.  Resolution: two peaks of height 1/2 and b = 1 (a standard deviation of 1) at -u
and +u, one peak fitted, K = integral of the squared difference / 2.  Coalescence: the same the
other way round, two peaks at -u and +u of one height and width fitted to a single one.  Both in 50
digits.  Then 201 points on [-6, 6] with the two peaks, no noise in the data but 0.01 assumed by
the model, and our sampler's F for one peak and for two; priors a uniform on (0, 2), b on (0.2, 5),
mu on (-2, 2).

What may be claimed: both misfits grow like sqrt(pi) u^8 / 192 (a series), the coalescence with
local powers 8.04, 8.10 and 8.20 around u = 0.073, 0.108 and 0.153.  F asks for a misfit of several
nats before it says two; with u^8, halving the distance takes 256 times the exposure.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, farthest, trust
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 30.0
# The local power of the coalescence between neighbouring u, to the digits known beforehand.
STEPS = (0.06, 0.09, 0.13, 0.18)
POWERS = (8.04, 8.10, 8.20)
BOX = {"a": (0.0, 2.0), "b": (0.2, 5.0), "mu": (-2.0, 2.0)}


@dataclass(frozen=True)
class Settings:
    """Ours."""

    grid: int = 120
    distances: tuple[float, ...] = (0.3, 0.45, 0.55, 0.65)
    noise: float = 0.01
    points: int = 201
    reach: float = 6.0
    rungs: int = 24
    ratio: float = 1.7
    burn_in: int = 3_000
    sweeps: tuple[int, int] = (10_000, 40_000)     # of one peak and of two
    chains: int = 4
    seed: int = 88


SETTINGS = Settings()
QUICK = Settings(grid=12, distances=(0.3, 0.65), burn_in=50, sweeps=(60, 60))


@dataclass(frozen=True)
class Result:
    """The misfits over u, and the free energies."""

    settings: dict[str, Any]
    u: Array              # half the distance of the two peaks, in their standard deviation
    misfit: Array         # K of one peak fitted to two
    power: Array          # d ln K / d ln u
    small: Array          # u of the coalescence
    small_power: Array    # its d ln K / d ln u
    between: Array        # its power between STEPS
    series: Array         # K / u^8 at u = 0.01: resolution, coalescence, and the series' value
    fitted: float         # largest relative distance of K from a least squares fit on a grid
    F: Array              # (distances, 2) of one and of two peaks (nats)
    F_error: Array
    F_one: Array          # (distances,) of one peak, by quadrature
    F_seen: Array         # (distances,) misfit of the data in nats, K / spacing / noise^2
    trusted: list[bool]   # one peak, two peaks, for each distance


def misfit(u: Any) -> Any:
    """K of one peak fitted to two, in mpmath.

    With g_b = exp(-b x^2 / 2): <g_b, g_c> = sqrt(2 pi / (b + c)), and moving one by u multiplies
    it by exp(-b c u^2 / 2 (b + c)).  The height is linear; the best b solves b^2 + 2 u^2 b = 1.
    """
    import mpmath as mp

    with mp.workdps(50):
        v = mp.mpf(u) ** 2
        b = mp.sqrt(1 + v**2) - v
        norm = mp.sqrt(mp.pi) * (1 + mp.exp(-v)) / 2
        overlap = mp.sqrt(2 * mp.pi / (1 + b)) * mp.exp(-b * v / (2 * (1 + b)))
        return (norm - overlap**2 / mp.sqrt(mp.pi / b)) / 2


def coalescence(u: Any) -> Any:
    """K of two peaks at -u and +u, of one height and width, fitted to a single one; mpmath."""
    import mpmath as mp

    with mp.workdps(50):
        v = mp.mpf(u) ** 2

        def slope(b: Any) -> Any:
            """Derivative of ln(gain) by b."""
            return (1 / (2 * b) - 1 / (1 + b) - v / (1 + b) ** 2 + v / (1 + mp.exp(b * v)))

        b = mp.findroot(slope, 1 + v)
        overlap = 2 * mp.sqrt(2 * mp.pi / (1 + b)) * mp.exp(-b * v / (2 * (1 + b)))
        norm = 2 * mp.sqrt(mp.pi / b) * (1 + mp.exp(-b * v))
        return (mp.sqrt(mp.pi) - overlap**2 / norm) / 2


def power_between(K: Any, low: Any, high: Any) -> float:
    """Slope of ln K over ln u between two u."""
    import mpmath as mp

    with mp.workdps(50):
        return float(mp.log(K(high) / K(low)) / mp.log(mp.mpf(high) / mp.mpf(low)))


@cache
def leading() -> Any:
    """K / u^8 for u to 0, by the series of `misfit` in sympy.

    Examples
    --------
    >>> leading()
    sqrt(pi)/192
    """
    import sympy as sp

    v = sp.Symbol("v", positive=True)
    b = sp.sqrt(1 + v**2) - v
    norm = sp.sqrt(sp.pi) * (1 + sp.exp(-v)) / 2
    gain = 2 * sp.sqrt(sp.pi) * sp.sqrt(b) / (1 + b) * sp.exp(-b * v / (1 + b))
    return sp.simplify(sp.series((norm - gain) / 2, v, 0, 5).removeO().coeff(v, 4))


def two_peaks(u: float, x: Array) -> Array:
    """The truth: heights 1/2, b = 1, at -u and +u."""
    return np.asarray(0.5 * (np.exp(-0.5 * (x - u) ** 2) + np.exp(-0.5 * (x + u) ** 2)))


def fitted(u: float) -> float:
    """K of one peak by a least squares fit on a fine grid: a second route to `misfit`."""
    from scipy.optimize import least_squares

    x = np.linspace(-12.0, 12.0, 4001)
    y = two_peaks(u, x)
    found = least_squares(lambda p: p[0] * np.exp(-0.5 * p[1] * (x - p[2]) ** 2) - y,
                          [0.9, 0.8, 0.01], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    return float(found.cost * (x[1] - x[0]))


def positions(settings: Settings) -> Array:
    """x of the synthetic data."""
    return np.linspace(-settings.reach, settings.reach, settings.points)


def posterior(u: float, K: int, settings: Settings) -> Any:
    """K peaks on the noise-free sum of two, with the noise that the model assumes."""
    from experiments.nagata2012_number_of_peaks import peak
    from sampler import Data, Model, Posterior

    x = positions(settings)
    return Posterior(Model.repeated(K, peak(), a=BOX["a"], b=BOX["b"], mu=BOX["mu"]),
                     Data(x, two_peaks(u, x), noise=settings.noise))


def one_peak(u: float, settings: Settings) -> float:
    """F of one peak: the amplitude exactly, centre and width by the trapezoid rule over the
    eight standard deviations around the best fit."""
    from scipy.special import ndtr

    x, s = positions(settings), settings.noise
    y = two_peaks(u, x)

    def energy(b: Array, mu: Array) -> Array:
        """-ln of the integral over the amplitude, uniform on BOX, without the constant."""
        g = np.exp(-0.5 * b[..., None] * (x - mu[..., None]) ** 2)
        gg, gy = np.sum(g**2, axis=-1), g @ y
        a, root = gy / gg, np.sqrt(gg) / s
        inside = ndtr((BOX["a"][1] - a) * root) - ndtr((BOX["a"][0] - a) * root)
        mass = np.sqrt(2 * np.pi) / root * inside / (BOX["a"][1] - BOX["a"][0])
        return np.asarray((y @ y - gy**2 / gg) / (2 * s**2) - np.log(mass))

    best, zero, h = np.array(math.sqrt(1 + u**4) - u**2), np.array(0.0), 1e-3
    at = energy(best, zero)
    sd_b, sd_mu = (h / math.sqrt(float(up + down - 2 * at)) for up, down in (
        (energy(best + h, zero), energy(best - h, zero)),
        (energy(best, zero + h), energy(best, zero - h))))
    b = float(best) + sd_b * np.linspace(-8, 8, 161)
    mu = sd_mu * np.linspace(-8, 8, 81)
    weight = np.exp(at - energy(b[:, None], mu[None, :]))
    volume = math.prod(BOX[name][1] - BOX[name][0] for name in ("b", "mu"))
    Z = np.trapezoid(np.trapezoid(weight, mu, axis=1), b) / volume
    return float(at - np.log(Z) + 0.5 * len(x) * np.log(2 * np.pi * s**2))


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """The misfits in 50 digits, and the sampler's choice between one peak and two."""
    from sampler import Ladder, diagnose, free_energy, sample

    u, small = np.geomspace(0.05, 2.0, settings.grid), np.geomspace(0.02, 0.25, 30)
    F, error, trusted = [], [], []
    for k, distance in enumerate(settings.distances):
        runs = [sample(posterior(distance, K, settings), settings.sweeps[K - 1],
                       burn_in=settings.burn_in, chains=settings.chains,
                       seed=settings.seed + 10 * k + K,
                       ladder=Ladder.geometric(settings.rungs, settings.ratio),
                       progress=progress and (lambda d, t, w, v=distance, K=K: progress(
                           d, t, f"u = {v}, K = {K}, {w}"))) for K in (1, 2)]
        found = [free_energy(run) for run in runs]
        F.append([f.value for f in found])
        error.append([f.error for f in found])
        trusted += [diagnose(run).trusted for run in runs]
    x = positions(settings)
    return Result(
        settings=asdict(settings), u=u, misfit=np.array([float(misfit(v)) for v in u]),
        power=np.array([power_between(misfit, v, v * (1 + 1e-8)) for v in u]), small=small,
        small_power=np.array([power_between(coalescence, v, v * (1 + 1e-8)) for v in small]),
        between=np.array([power_between(coalescence, *pair) for pair in pairwise(STEPS)]),
        series=np.array([float(misfit(0.01)) / 1e-16, float(coalescence(0.01)) / 1e-16,
                         float(leading())]),
        fitted=max(abs(fitted(v) / float(misfit(v)) - 1.0) for v in (0.5, 1.0, 2.0)),
        F=np.array(F), F_error=np.array(error),
        F_one=np.array([one_peak(v, settings) for v in settings.distances]),
        F_seen=np.array([float(misfit(v)) / (x[1] - x[0]) / settings.noise**2
                         for v in settings.distances]), trusted=trusted)


def check(result: Result) -> Claims:
    """Powers and coefficient by two routes; F of one peak against quadrature; the choice."""
    claims = []
    for k, wanted in enumerate(POWERS):
        found = float(result.between[k])
        claims.append(Claim(
            f"coalescence: power of u between {STEPS[k]} and {STEPS[k + 1]}",
            f"{wanted:.2f} (exact)", found, 0.0, abs(found - wanted) < 0.0051,
            "± 0.005, the digits given"))
    for name, found in zip(("resolution", "coalescence"), result.series, strict=False):
        ratio = float(found / result.series[2])
        claims.append(Claim(f"{name}: K / u^8 at u = 0.01 over sqrt(pi)/192", "1 (series)", ratio,
                            0.0, abs(ratio - 1) < 1e-3, "± 0.001"))
    claims.append(Claim("K against a least squares fit on a grid, largest relative distance",
                        "0 (exact)", result.fitted, 0.0, result.fitted < 1e-6,
                        "< 1e-6 at u = 0.5, 1, 2"))
    u = result.settings["distances"]
    labels = [f"u = {v:g}" for v in u]
    claims.append(farthest("F of one peak (nats), quadrature against sampled", result.F[:, 0],
                           result.F_one, result.F_error[:, 0], labels))
    gap = result.F[:, 0] - result.F[:, 1]
    error = np.hypot(*result.F_error.T)
    for at, want in ((0, "< 0: one peak"), (-1, "> 10: two peaks")):
        good = gap[at] + 4 * error[at] < 0 if at == 0 else gap[at] - 4 * error[at] > 10
        claims.append(Claim(f"F(1) - F(2) at {labels[at]} (nats)", "-", float(gap[at]),
                            float(error[at]), bool(good), f"{want}, with 4 errors"))
    claims.append(Claim(
        "misfit in nats at which F turns to two peaks", "-",
        float(np.exp(np.interp(0.0, gap, np.log(result.F_seen)))), 0.0, None,
        "interpolated; u there: " f"{float(np.interp(0.0, gap, u)):.2f}"))
    names = [f"{label}, K = {K}" for label in labels for K in (1, 2)]
    claims.append(trust(names, np.zeros(len(names)), np.zeros(len(names)), result.trusted))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """Misfit, local power, and the choice over u."""
    from experiments.figures import BLACK, BLUE, ORANGE, RED, label_panels, panels

    figure, axes = panels(1, 3, 7.4, 3.0)
    size, power, choice = axes.flat
    size.plot(result.u, result.misfit, color=BLUE, label="one peak on two")
    size.plot(result.u, result.series[2] * result.u**8, color=BLACK, ls="--", lw=1.0,
              label=r"$\sqrt{\pi}\,u^8/192$")
    size.set(xscale="log", yscale="log", xlabel="half distance u (sd of a peak)",
             ylabel="least misfit K (dimensionless)", title="Misfit", xlim=(0.05, 2))
    size.legend(loc="upper left")
    power.plot(result.u, result.power, color=BLUE, label="one peak on two")
    power.plot(result.small, result.small_power, color=ORANGE, ls="-.",
               label="two peaks on one")
    middle = [math.sqrt(a * b) for a, b in pairwise(STEPS)]
    power.plot(middle, result.between, "s", color=ORANGE, ms=4)
    power.axhline(8.0, color=BLACK, ls="--", lw=1.0)
    power.set(xscale="log", xlabel="half distance u (sd of a peak)", xlim=(0.02, 2),
              ylabel="local power of u", title="Power", ylim=(2, 9.2))
    power.legend(loc="lower left")
    u, gap = np.array(result.settings["distances"]), result.F[:, 0] - result.F[:, 1]
    near = (result.u > 0.7 * u[0]) & (result.u < 1.02 * u[-1])
    scale = result.F_seen[-1] / float(np.exp(np.interp(np.log(u[-1]), np.log(result.u),
                                                       np.log(result.misfit))))
    choice.plot(result.u[near], scale * result.misfit[near], color=BLUE, label="misfit of one peak")
    choice.errorbar(u, gap, 1.96 * np.hypot(*result.F_error.T), fmt="o", color=RED, ms=4,
                    label="F(1) - F(2), 95 %")
    choice.axhline(0.0, color=BLACK, lw=0.8, ls=":")
    choice.set(xlabel="half distance u (sd of a peak)", ylabel="nats", title="One peak or two?")
    choice.legend(loc="upper left")
    label_panels(axes)
    return {"peak_resolution": figure}
