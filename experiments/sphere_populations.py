"""How many sizes of spheres, and how long must one measure?  Small-angle scattering by counts.

Figure: a curve of two populations with its fit, F(K), and the posterior of the smaller radius
against the measuring time.
The question is that of Hayashi et al., arXiv 2303.04983 and 2401.10466 (J. Appl. Cryst. 2024):
spheres, several sizes, and a measuring time below which nothing can be told.

The paper's: the question, the form factor.  Its numbers are not printed where we could read them.

Ours: radii 5 and 2 nm with forward intensities 100 and 10 on a background of 0.1 (counts per unit
of time), 200 points from q = 0.1 to 3 per nm, Poisson counts for a time T = 10; log-uniform
intensities from 1 to 1000 and background from 0.001 to 10, radii uniform from 0.5 to 10 nm; sweeps
and seeds.

What may be claimed: one population is excluded, and K = 2 by the rule; F(3) equals F(2) within a
fraction of a nat, because a third population of negligible intensity costs nothing: K = 3 is not
excluded.  The width of the posterior falls as 1/sqrt(T) from some time on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, trust
from experiments.decisions import decide, difference, draw_decision, in_order
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 38.0
RADII, INTENSITIES, BACKGROUND = (2.0, 5.0), (10.0, 100.0), 0.1


@dataclass(frozen=True)
class Settings:
    """Ours."""

    K: tuple[int, ...] = (1, 2, 3)
    time: float = 10.0
    times: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    points: int = 200
    sweeps: int = 5_000
    burn_in: int = 3_000
    data_seed: int = 0
    seed: int = 4983


SETTINGS = Settings()
QUICK = Settings(times=(1.0, 10.0, 30.0), sweeps=60, burn_in=50)


@dataclass(frozen=True)
class Result:
    """The decision at one time, and the radius of the smaller spheres at all of them."""

    settings: dict[str, Any]
    decision: dict[str, Any]
    quadrature: float          # F(1) by the trapezoid rule (nats)
    q: Array
    counts: Array
    fit: Array                 # of K = 2, posterior mean of the expected counts
    parts: Array               # of its populations, (2, points)
    mean: Array                # log10 intensity, radius of both, smaller radius first
    sd: Array
    times: Array
    radius: Array              # (times, 5) of the smaller spheres, K = 2: 2.5, 16, 50, 84, 97.5 %
    width: Array               # (times,) posterior sd (nm)
    trusted: list[bool]        # (times,)
    gain: Array                # (times, 2): F(1) - F(2) and its error (nats)


def counts(time: float, settings: Settings = SETTINGS) -> Any:
    """Synthetic counts of the truth above in a measuring time."""
    from sampler import Data

    q = np.geomspace(0.1, 3.0, settings.points)
    sharp = posterior(2, Data(q, np.ones(len(q)), noise="poisson"), time)
    truth = {"background_offset": BACKGROUND} | {
        f"population{k}_{kind}": values[k - 1] for k in (1, 2)
        for kind, values in (("intensity", INTENSITIES), ("radius", RADII))}
    expected = time * sharp.predict([truth[name] for name in sharp.names])
    return Data(q, np.random.default_rng(settings.data_seed).poisson(expected).astype(float),
                noise="poisson")


def posterior(K: int, data: Any, time: float) -> Any:
    """K populations; intensities and background in counts, so the priors move with the time."""
    from sampler import LogUniform, Posterior
    from sampler.instruments.scattering import spheres

    return Posterior(spheres(
        K, background=LogUniform(1e-3 * time, 10 * time), intensity=LogUniform(time, 1e3 * time),
        radius=(0.5, 10.0)), data)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Every K at one time; K = 1 and 2 at all times."""
    data = counts(settings.time, settings)
    runs, decision = decide({K: posterior(K, data, settings.time) for K in settings.K},
                            settings.sweeps, settings.burn_in, settings.seed, progress, "K = ")
    two = by_radius(runs[2])
    some = two[:: max(1, len(two) // 500)]
    alone = posterior(1, data, settings.time)       # background, intensity, radius
    nothing = np.zeros((len(some), 1))
    parts = np.stack([alone.predict(np.hstack([nothing, some[:, k:k + 2]])).mean(axis=0)
                      for k in (0, 2)])
    radius, width, trusted, gain = [], [], [], []
    for k, time in enumerate(settings.times):
        measured = counts(time, settings)
        each, found = decide(
            {K: posterior(K, measured, time) for K in (1, 2)}, settings.sweeps, settings.burn_in,
            settings.seed + 100 * (k + 1), progress, f"T = {time:g}, K = ")
        small = by_radius(each[2])[:, 1]
        radius.append(np.quantile(small, (0.025, 0.16, 0.5, 0.84, 0.975)))
        width.append(small.std())
        trusted.append(found["trusted"][1])
        gain.append(difference(found, "1", "2"))
    return Result(
        settings=asdict(settings), decision=decision,
        quadrature=by_quadrature(posterior(1, data, settings.time), runs[1]),
        q=data.x, counts=np.asarray(data.y), fit=parts.sum(axis=0) + some[:, 4].mean(), parts=parts,
        mean=_logged(two).mean(axis=0), sd=_logged(two).std(axis=0),
        times=np.array(settings.times), radius=np.array(radius), width=np.array(width),
        trusted=trusted, gain=np.array(gain))


def by_radius(run: Any) -> Array:
    """Draws of K = 2 as (intensity, radius) of the smaller, of the larger spheres, background."""
    names = list(run.posterior.names)
    columns = [names.index(f"population{k}_{kind}") for k in (1, 2)
               for kind in ("intensity", "radius")]
    return np.asarray(in_order(run, "radius")[:, [*columns, names.index("background_offset")]])


def _logged(two: Array) -> Array:
    """log10 of the intensities; radii as they are; background left out."""
    return np.stack([np.log10(two[:, 0]), two[:, 1], np.log10(two[:, 2]), two[:, 3]], axis=1)


def by_quadrature(one: Any, run: Any, nodes: int = 41) -> float:
    """F of one population by the trapezoid rule in the posterior's own coordinates, 7 sd either way
    (it falls off on all sides, so the rule converges faster than any power)."""
    theta = run.draws.reshape(-1, run.draws.shape[-1])
    assert one.names == ("background_offset", "population1_intensity", "population1_radius")
    shift, root = theta.mean(axis=0), np.linalg.cholesky(np.cov(theta.T))
    axis = np.linspace(-7.0, 7.0, nodes)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    points = shift + grid @ root.T
    log_density = one.log_prior(points)
    inside = np.isfinite(log_density)
    log_density[inside] -= one.energy(points[inside])
    top = log_density.max()
    volume = np.log(axis[1] - axis[0]) * 3 + np.log(np.diag(root)).sum()
    return float(one.constant - top - volume - np.log(np.sum(np.exp(log_density - top))))


def falls_as(times: Array, width: Array, start: float) -> tuple[float, float]:
    """The power of T with which the width falls from a time on, and its standard error."""
    late = times >= start
    logs = np.log(times[late])
    slope, rest = np.polyfit(logs, np.log(width[late]), 1, full=True)[:2]
    spread = float(rest[0]) if len(rest) else 0.0
    error = (spread / max(1, late.sum() - 2) / np.sum((logs - logs.mean()) ** 2)) ** 0.5
    return float(slope[0]), float(error)


def check(result: Result) -> Claims:
    """Against a quadrature, the truth, and the law of counting."""
    time = result.settings["time"]
    truth = np.array([np.log10(INTENSITIES[0] * time), RADII[0],
                      np.log10(INTENSITIES[1] * time), RADII[1]])
    z = (result.mean - truth) / result.sd
    gap, error = difference(result.decision, "1", "2")
    more, more_error = difference(result.decision, "3", "2")
    power, power_error = falls_as(result.times, result.width, 3.0)
    one, one_error = result.decision["F"][0], result.decision["F_error"][0]
    return Claims([
        Claim("F(1) (nats)", f"{result.quadrature:.4f} (exact)", float(one), float(one_error),
              bool(abs(one - result.quadrature) < 4 * one_error), "by quadrature; 4 errors"),
        Claim("K favoured by the rule", "2 (truth)", float(result.decision["best"]), 0.0,
              result.decision["best"] == "2", "exactly 2"),
        Claim("F(1) - F(2) (nats)", "-", gap, error, gap > 100, "> 100"),
        Claim("F(3) - F(2) (nats)", "-", more, more_error, None,
              "listed: a third population may be as good as absent"),
        Claim("parameter of K = 2 farthest from the truth (posterior sd)", "0 (truth)",
              float(z[np.argmax(abs(z))]), 0.0, bool(np.max(abs(z)) < 3), "|z| < 3 for all 4"),
        Claim("power of T with which the width of R = 2 nm falls, T >= 3", "-0.5 (limit)", power,
              power_error, bool(abs(power + 0.5) < 0.1), "within 0.1"),
        Claim(f"width at T = {result.times[0]:g} over that law's", "-",
              float(result.width[0] / (result.width[-1]
                                       * (result.times[0] / result.times[-1]) ** -0.5)), 0.0,
              None, "listed: below the threshold the prior gives the width"),
        trust(result.decision["names"], result.decision["F"], result.decision["F_error"],
              result.decision["trusted"]),
        Claim("times at which the run of K = 2 is not trusted", "-",
              ", ".join(f"{t:g}" for t, good in zip(result.times, result.trusted, strict=True)
                        if not good) or "none", 0.0, all(result.trusted), "none")])


@styled
def draw(result: Result) -> dict[str, Any]:
    """Counts and fit, F(K), and the radius against the measuring time."""
    from experiments.figures import (
        BLUE,
        GREEN,
        ORANGE,
        RED,
        label_panels,
        panels,
    )

    figure, axes = panels(1, 3, 9.6, 3.2)
    curve, energy, radius = axes.flat
    curve.errorbar(result.q, result.counts, np.sqrt(np.maximum(result.counts, 1)), fmt=".",
                   color="0.6", ms=3, lw=0.6, label=f"synthetic, T = {result.settings['time']:g}")
    curve.plot(result.q, result.fit, color=BLUE, label="K = 2, posterior mean")
    for part, color, style, name in zip(result.parts, (ORANGE, GREEN), ("--", "-."),
                                        ("smaller", "larger"), strict=True):
        curve.plot(result.q, part, color=color, ls=style, lw=1.0, label=f"{name} spheres")
    curve.set(xscale="log", yscale="log", ylim=(0.1, 6000), xlabel="q (1/nm)",
              ylabel="counts", title="Two populations")
    curve.legend(loc="lower left", fontsize=7)
    draw_decision(energy, result.decision, "number of populations K")
    energy.set_title(f"Free energy, T = {result.settings['time']:g}")
    low, mid, high = result.radius[:, 0], result.radius[:, 2], result.radius[:, 4]
    radius.errorbar(result.times, mid, [mid - low, high - mid], fmt="o", color=BLUE, ms=4,
                    label="smaller radius, median and 95 %")
    radius.axhline(RADII[0], color=RED, ls="--", lw=1.0, label="truth")
    law = 1.96 * result.width[-1] * (result.times / result.times[-1]) ** -0.5
    radius.fill_between(result.times, RADII[0] - law, RADII[0] + law, color="0.88", lw=0, zorder=0,
                        label=r"truth ± 1.96 c T$^{-1/2}$")
    radius.set(xscale="log", ylim=(0, 6), xlabel="measuring time T", ylabel="R (nm)",
               title="What the time buys")
    radius.legend(loc="upper right", fontsize=7)
    label_panels(axes)
    return {"sphere_populations": figure}
