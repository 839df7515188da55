"""Two peaks on an exponential background: the certified NIST problem Gauss1, fitted as data.

Figure: the fit of K = 2, F(K), and the eight posterior means against the certified values.
NIST StRD, nonlinear regression, Gauss1 (Rust 1996): generated data, 250 points, true K = 2.

NIST's: the data, the formula b1 exp(-b2 x) + sum b3 exp(-((x - b4)/b5)**2), the certified least
squares values and standard deviations.

Ours: the question "how many peaks?"; flat boxes as priors (amplitudes 0 to 200, centres 0 to 250,
widths 2 to 60, rate 0 to 0.1) and a log-uniform noise from 0.5 to 50; sweeps and seeds.

What may be claimed: fewer than two peaks are excluded, and with flat priors and inferred noise
the posterior means and standard deviations of K = 2 are the certified ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, trust
from experiments.decisions import draw_decision
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 17.0
CERTIFIED = {
    "b1": (98.778210871, 0.57527312730), "b2": (0.010497276517, 0.00011406289017),
    "b3": (100.48990633, 0.58831775752), "b4": (67.481111276, 0.10460593412),
    "b5": (23.129773360, 0.17439951146), "b6": (71.994503004, 0.62622793913),
    "b7": (178.99805021, 0.12436988217), "b8": (18.389389025, 0.20134312832),
}


@dataclass(frozen=True)
class Settings:
    """Ours."""

    K: tuple[int, ...] = (0, 1, 2, 3)
    burn_in: int = 6_000
    sweeps: int = 60_000
    chains: int = 4
    seed: int = 1996


SETTINGS = Settings()
QUICK = Settings(burn_in=50, sweeps=60)


@dataclass(frozen=True)
class Result:
    """What the figure and the table need."""

    settings: dict[str, Any]
    x: Array
    y: Array
    K: Array
    F: Array
    F_error: Array
    probability: Array
    probability_error: Array
    trusted: list[bool]
    problems: list[list[str]]
    best: int
    mean: Array           # b1 ... b8 of K = 2, peaks in order of their centre
    sd: Array
    mean_error: Array     # Monte Carlo error of the mean
    noise: Array          # mean and sd of sigma
    fit: Array
    parts: Array


def posterior(K: int) -> Any:
    """K of NIST's peaks on NIST's background, noise inferred."""
    import sympy as sp

    from experiments.paths import data_file
    from sampler import Data, Formula, LogUniform, Model, Posterior

    x, h, c, w, a, r = sp.symbols("x height center width amplitude rate", real=True)
    peak = Formula("nist_peak", h * sp.exp(-(((x - c) / w) ** 2)), ("height", "center", "width"))
    decay = Formula("background", a * sp.exp(-r * x), ("amplitude", "rate"))
    data = Data.from_csv(data_file("nist_strd/Gauss1.dat"), LogUniform(0.5, 50))
    model = Model.single(decay, amplitude=(0, 200), rate=(0, 0.1)) + Model.repeated(
        K, peak, height=(0, 200), center=(0, 250), width=(2, 60))
    return Posterior(model, data)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Every K, then the eight parameters of K = 2."""
    from sampler import choose, diagnose, free_energy, sample
    from sampler.diagnostics import effective_sample_size

    runs = {K: sample(posterior(K), settings.sweeps, burn_in=settings.burn_in,
                      chains=settings.chains, seed=settings.seed + K,
                      progress=progress and (lambda d, t, w, K=K: progress(d, t, f"K = {K}, {w}")))
            for K in settings.K}
    choice, two = choose(runs), runs[2]
    theta = certified_order(two.draws)
    flat = theta.reshape(-1, 8)
    ess = np.array([effective_sample_size(theta[..., j]) for j in range(8)])
    data = two.posterior.blocks[0].data
    parts = _parts(flat[:: max(1, len(flat) // 2000)], data.x)
    found = [free_energy(run) for run in runs.values()]
    return Result(
        settings=asdict(settings), x=data.x, y=data.y, K=np.array(settings.K, float),
        F=np.array([f.value for f in found]), F_error=np.array([f.error for f in found]),
        probability=np.array([row.probability for row in choice.rows]),
        probability_error=np.array([row.probability_error for row in choice.rows]),
        trusted=[diagnose(run).trusted for run in runs.values()],
        problems=[list(diagnose(run).problems) for run in runs.values()], best=int(choice.best),
        mean=flat.mean(axis=0), sd=flat.std(axis=0), mean_error=flat.std(axis=0) / ess**0.5,
        noise=np.array([two.draws[..., -1].mean(), two.draws[..., -1].std()]),
        fit=parts.sum(axis=0), parts=parts)


def certified_order(draws: Array) -> Array:
    """b1 ... b8: background, then the peaks sorted by centre in every draw, after sampling."""
    peaks = draws[..., 2:8].reshape(*draws.shape[:-1], 2, 3)
    order = np.argsort(peaks[..., 1], axis=-1)
    ordered = np.take_along_axis(peaks, order[..., None], axis=-2)
    return np.concatenate([draws[..., :2], ordered.reshape(*draws.shape[:-1], 6)], axis=-1)


def _parts(b: Array, x: Array) -> Array:
    b = b[..., None]
    return np.stack([
        (b[:, 0] * np.exp(-b[:, 1] * x)).mean(axis=0),
        (b[:, 2] * np.exp(-(((x - b[:, 3]) / b[:, 4]) ** 2))).mean(axis=0),
        (b[:, 5] * np.exp(-(((x - b[:, 6]) / b[:, 7]) ** 2))).mean(axis=0)])


def check(result: Result) -> Claims:
    """Against the certificate."""
    values = np.array(list(CERTIFIED.values()))
    bias = (result.mean - values[:, 0]) / values[:, 1]
    ratio = result.sd / values[:, 1]
    at = {int(k): i for i, k in enumerate(result.K)}
    gap = float(result.F[at[1]] - result.F[at[2]])
    error = float(np.hypot(result.F_error[at[1]], result.F_error[at[2]]))
    worst, widest = int(np.argmax(abs(bias))), int(np.argmax(abs(ratio - 1)))
    names = list(CERTIFIED)
    claims = [
        Claim("K of lowest F", "2 (truth)", float(result.K[int(np.argmin(result.F))]), 0.0,
              int(result.K[int(np.argmin(result.F))]) == 2, "exactly 2"),
        Claim("F(1) - F(2)", "-", gap, error, gap > 100, "> 100"),
        Claim(f"posterior mean against the certificate, worst ({names[worst]})", "0 (certified)",
              float(bias[worst]), float(result.mean_error[worst] / values[worst, 1]),
              bool(abs(bias[worst]) < 0.3), "certified sd, within 0.3"),
        Claim(f"posterior sd / certified sd, worst ({names[widest]})", "1 (certified)",
              float(ratio[widest]), 0.0, bool(abs(ratio[widest] - 1) < 0.15), "within 15 %"),
    ]
    if 3 in at:
        claims.append(Claim(
            "p(K = 3 | data), equal p(K)", "-", float(result.probability[at[3]]),
            float(result.probability_error[at[3]]), None, "listed: a surplus peak costs little"))
    claims.append(trust([f"K={k:.0f}" for k in result.K], result.F, result.F_error, result.trusted))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """Data and fit, residuals, F(K), and the certificate."""
    from experiments.figures import (
        BLUE,
        GREEN,
        ORANGE,
        PINK,
        RED,
        label_panels,
        panels,
    )

    figure, axes = panels(2, 2, 7.2, 5.4)
    fit, energy, residual, certificate = axes.flat
    fit.plot(result.x, result.y, ".", color="0.6", ms=3, label="Gauss1 (NIST)")
    names = ("background", "peak 1", "peak 2")
    for part, name, color in zip(result.parts, names, (PINK, ORANGE, GREEN), strict=True):
        fit.plot(result.x, part, color=color, lw=1.0, label=name)
    fit.plot(result.x, result.fit, color=BLUE, label="K = 2, posterior mean")
    fit.set(xlabel="x (dimensionless)", ylabel="y (dimensionless)", title="Fit", ylim=(-5, 215))
    fit.legend(loc="upper right", ncols=2)
    draw_decision(energy, {"names": [f"{K:.0f}" for K in result.K], "F": result.F,
                           "F_error": result.F_error}, "number of peaks K")
    energy.set_title("Free energy, 95 % bars")
    residual.plot(result.x, (result.y - result.fit) / result.noise[0], ".", color="0.4", ms=3)
    residual.axhline(0, color=BLUE, lw=1)
    residual.axhspan(-2, 2, color="0.93", lw=0, zorder=0)
    residual.set(xlabel="x (dimensionless)", ylabel=r"residual / $\langle\sigma\rangle$",
                 title="Residuals, K = 2")
    values = np.array(list(CERTIFIED.values()))
    position = np.arange(8)
    certificate.errorbar(position, (result.mean - values[:, 0]) / values[:, 1],
                         result.sd / values[:, 1], fmt="o", color=BLUE, ms=4,
                         label="posterior mean, bar: sd")
    certificate.axhline(0, color=RED, lw=1, ls="--", label="certified value")
    certificate.set(xticks=position, xticklabels=list(CERTIFIED), ylim=(-2.2, 2.2),
                    ylabel="distance / certified sd",
                    xlabel="parameter of the certificate",
                    title="Distance from the certificate, K = 2")
    certificate.legend(loc="upper right")
    label_panels(axes)
    return {"gauss1_two_peaks": figure}
