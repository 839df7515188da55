"""How often is the right model chosen?  The exact law of the difference of two free energies.

Figures: the histograms of F2 - F1 over data sets on their exact densities, with the noise known
and with the noise estimated by each model for itself; and the plan of a measurement: the
probability of choosing the line with an offset over the number of points and the size of the
offset, under five rules.  In the manner of Katakami, Kashiwamura, Nagata, Mizumaki and Okada,
"Mesoscopic Bayesian Inference by Solvable Models", arXiv 2406.02869.

The paper's: the idea (mesoscopic variables, the finite-N fluctuation of model selection).

Ours: all settings, because only the paper's abstract could be consulted.  x evenly on [-1, 1],
true slope 1, noise 1, priors of slope and offset uniform on [-10, 10] (and, in the plan, on
[-1, 1] and [-100, 100]), 100,000 synthetic data sets for each N, drawn whole and fitted by least
squares: the law has to come out of them.  The offsets of one N share their noise.

What may be claimed: both exact laws hold the histograms (Kolmogorov), the choice is right as often
as `theory.choice` says under every rule, and the penalty formula alone (BIC) raises ten times as
many false alarms at 100 points as the free energy.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, farthest, kolmogorov
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 15.0
BINS = 60
LAWS = ("known", "estimated")
# The rules of the plan: F under three widths of the offset's prior, and two formulas without one.
RULES = ("F, prior ±1", "F, prior ±10", "F, prior ±100", "BIC", "AIC")
WIDTHS = (1.0, 10.0, 100.0)


@dataclass(frozen=True)
class Settings:
    """Ours."""

    points: tuple[int, ...] = (5, 100, 1000)
    offsets: tuple[float, ...] = (0.0, 0.3, 1.0)
    half_width: float = 10.0
    noise: float = 1.0
    data_sets: int = 100_000
    knots: int = 400              # of the costly law, between which it is interpolated
    plan: tuple[int, int] = (60, 70)      # offsets and points of the map
    seed: int = 2406


SETTINGS = Settings()
QUICK = Settings(data_sets=2_000, knots=40, plan=(12, 10))


@dataclass(frozen=True)
class Result:
    """Histograms and shares of the data sets, exact values and the plan."""

    settings: dict[str, Any]
    cases: Array          # (panels, 2): N and b0
    edges: Array          # (laws, panels, bins + 1) of F2 - F1 (nats): noise known, estimated
    counts: Array         # (laws, panels, bins)
    expected: Array       # (laws, panels, bins) the exact law's share of each bin
    p_value: Array        # (laws, panels) Kolmogorov's, of the data sets under the exact law
    chosen: Array         # (laws, panels) share of data sets that choose the offset
    exact: Array          # (laws, panels) its exact value
    ruled: Array          # (rules, panels) share that chooses the offset, noise known
    ruled_exact: Array    # (rules, panels)
    map_points: Array     # N of the plan
    map_offsets: Array    # b0 of the plan
    map: Array            # (offsets, points) probability of choosing the offset, xi_b = 10
    even: Array           # (rules, offsets) N at which the offset is as likely found as not
    false_alarm: Array    # (rules, points) at b0 = 0
    needed: Array         # (widths, offsets) points for 95 % probability
    # NaN where the walls of the prior are within three errors of the offset.


def question(points: float, offset: float, settings: Settings,
             half_width: float | None = None) -> Any:
    """The exact side: the positions are centred, so that S_b = N."""
    from theory.choice import Question

    return Question(points, offset, half_width or settings.half_width, settings.noise)


def residuals(points: int, settings: Settings, generator: np.random.Generator) -> Array:
    """RSS of the line through the origin and of the line with an offset, least squares on whole
    data sets; (2, offsets, data sets)."""
    x = np.linspace(-1.0, 1.0, points)
    bases = [np.linalg.qr(A)[0] for A in (x[:, None], np.stack([x, np.ones(points)], axis=1))]
    out = []
    for begin in range(0, settings.data_sets, 10_000):
        size = min(10_000, settings.data_sets - begin)
        noise = settings.noise * generator.normal(size=(size, points))
        out.append([[np.einsum("ij,ij->i", y, y) - np.sum((y @ Q) ** 2, axis=1) for Q in bases]
                    for y in (noise + (x + b) for b in settings.offsets)])
    return np.swapaxes(np.concatenate(out, axis=2), 0, 1)


def differences(rss: Array, points: int, settings: Settings) -> Array:
    """F2 - F1 with the noise known and with each model's own estimate; (2, ...) from (2, ...)."""
    constant = math.log(2 * settings.half_width) + 0.5 * math.log(points)
    s2 = settings.noise**2
    known = (rss[1] - rss[0]) / (2 * s2) + constant - 0.5 * math.log(2 * math.pi * s2)
    two, one = (0.5 * nu * (1 + np.log(2 * np.pi * r / nu))
                for nu, r in ((points - 2, rss[1]), (points - 1, rss[0])))
    return np.stack([known, two - one + constant])


def law(kind: str, points: int, offset: float, settings: Settings, difference: Array) -> Array:
    """Exact P(F2 - F1 <= difference)."""
    from theory.choice import cumulative, cumulative_with_estimated_noise

    asked = question(points, offset, settings)
    if kind == "known":
        return np.asarray(cumulative(asked, difference))
    return np.asarray(cumulative_with_estimated_noise(asked, points, difference))


def p_value(kind: str, points: int, offset: float, settings: Settings, found: Array) -> float:
    """Kolmogorov's p-value; a costly law is computed at some quantiles and interpolated."""
    from scipy.interpolate import PchipInterpolator

    if kind == "known":
        return kolmogorov(law(kind, points, offset, settings, found))
    knots = np.unique(np.quantile(found, np.linspace(0.0, 1.0, settings.knots + 1)))
    return kolmogorov(PchipInterpolator(knots, law(kind, points, offset, settings, knots))(found))


def thresholds(points: Array) -> Array:
    """The (b^ / its error)**2 beyond which each of RULES chooses the offset; (rules, points)."""
    evidence = [np.maximum(2 * math.log(2 * xi) + np.log(points / (2 * np.pi)), 0.0)
                for xi in WIDTHS]
    return np.stack([*evidence, np.log(points), np.full_like(points, 2.0)])


def tail(threshold: Array, delta: Array) -> Array:
    """P of a noncentral chi-square with one degree of freedom beyond a threshold."""
    from scipy.special import ndtr

    root, shift = np.sqrt(threshold), np.sqrt(delta)
    return np.asarray(ndtr(shift - root) + ndtr(-root - shift))


def even_points(offset: float, settings: Settings) -> list[float]:
    """N at which each rule finds the offset as often as not: N b0^2 / s0^2 = threshold."""
    from scipy.optimize import brentq

    from theory.choice import even_points as exact

    delta = (offset / settings.noise) ** 2
    # n delta - ln n has its minimum at 1 / delta, and no root where that is positive.
    bic = (brentq(lambda n: n * delta - math.log(n), 1 / delta, 100 / delta**2)
           if delta < math.exp(-1) else math.nan)
    evidence = [exact(offset, xi, settings.noise) for xi in WIDTHS]
    return [*(n if wide(n, offset, xi, settings) else math.nan
              for n, xi in zip(evidence, WIDTHS, strict=True)), float(bic), 2.0 / delta]


def wide(points: Any, offset: float, half_width: float, settings: Settings) -> Any:
    """Is the prior's wall three standard errors away from the offset, or more?"""
    return half_width - abs(offset) >= 3 * settings.noise / np.sqrt(points)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Draw the data sets, and put the exact laws beside."""
    from theory.choice import (
        points_needed,
        probability_of_offset,
        probability_with_estimated_noise,
    )

    generator = np.random.default_rng(settings.seed)
    cases, exact, ruled, ruled_exact = [], [], [], []
    panels: dict[str, list[Any]] = {"edges": [], "counts": [], "expected": [], "p_value": [],
                                    "chosen": []}
    for points in settings.points:
        rss = residuals(points, settings, generator)
        limits = thresholds(np.array([float(points)]))[:, 0]
        for offset, found, signal in zip(
                settings.offsets, np.moveaxis(differences(rss, points, settings), 1, 0),
                ((rss[0] - rss[1]) / settings.noise**2), strict=True):
            edges = np.stack([_edges(f) for f in found])
            cases.append((float(points), offset))
            shares = [np.diff(law(kind, points, offset, settings, e))
                      for kind, e in zip(LAWS, edges, strict=True)]
            for name, value in (
                    ("edges", edges), ("expected", shares),
                    ("counts", [np.histogram(f, e)[0] for f, e in zip(found, edges, strict=True)]),
                    ("p_value", [p_value(kind, points, offset, settings, f)
                                 for kind, f in zip(LAWS, found, strict=True)]),
                    ("chosen", (found < 0).mean(axis=1))):
                panels[name].append(value)
            exact.append((probability_of_offset(question(points, offset, settings)),
                          probability_with_estimated_noise(points, offset, settings.half_width,
                                                           settings.noise)))
            ruled.append([np.mean(signal > c) for c in limits])
            ruled_exact.append(tail(limits, np.array(points * (offset / settings.noise) ** 2)))
    b, N = np.linspace(0.02, 2.0, settings.plan[0]), np.geomspace(2, 10_000, settings.plan[1])
    grid = np.array([[probability_of_offset(question(n, v, settings)) for n in N] for v in b])
    needed = np.array([[points_needed(v, xi, settings.noise) for v in b] for xi in WIDTHS],
                      dtype=float)
    alarm = tail(thresholds(N), np.zeros(1))
    for row, xi in enumerate(WIDTHS):
        alarm[row, ~wide(N, 0.0, xi, settings)] = np.nan
        needed[row, [not wide(n, v, xi, settings) for n, v in zip(needed[row], b, strict=True)]
               ] = np.nan
    stored = {name: np.swapaxes(np.array(v, dtype=float), 0, 1) for name, v in panels.items()}
    return Result(
        settings=asdict(settings), cases=np.array(cases), exact=np.array(exact).T,
        ruled=np.array(ruled).T, ruled_exact=np.array(ruled_exact).T, map_points=N,
        map_offsets=b, map=grid.round(4), false_alarm=alarm, needed=needed,
        even=np.array([even_points(v, settings) for v in b]).T, **stored)


def _edges(found: Array) -> Array:
    """Bins over all data sets; the topmost end just above, where the law ends."""
    low, high = float(found.min()), float(found.max())
    return np.linspace(low, high + 1e-6 * (high - low), BINS + 1)


def check(result: Result) -> Claims:
    """Kolmogorov's p, and every share within four standard errors."""
    n = result.settings["data_sets"]
    labels = [f"N = {N:.0f}, b0 = {b:g}" for N, b in result.cases]
    claims = []
    for kind, p in zip(LAWS, result.p_value, strict=True):
        least = int(np.argmin(p))
        claims.append(Claim(
            f"law of F2 - F1, noise {kind}: least Kolmogorov p of {len(p)} ({labels[least]})",
            "-", float(p[least]), 0.0, bool(p[least] > 0.001),
            f"> 0.001 on {n} data sets; false alarm {len(p) * 0.1:.1f} %"))
    for kind, found, exact in zip(LAWS, result.chosen, result.exact, strict=True):
        claims.append(farthest(f"share that chooses the offset, noise {kind}", found, exact,
                               _binomial(exact, n), labels))
    claims.append(farthest(
        "the same under AIC, BIC and three widths of the prior", result.ruled.ravel(),
        result.ruled_exact.ravel(), _binomial(result.ruled_exact.ravel(), n),
        [f"{rule}, {label}" for rule in RULES for label in labels]))
    at = next((i for i, (N, b) in enumerate(result.cases) if N == 100 and b == 0), None)
    if at is not None:
        bic, evidence = result.ruled[3, at], result.exact[0, at]
        ratio, error = float(bic / evidence), float(np.sqrt(bic / n) / evidence)
        claims.append(Claim("false alarms at N = 100: BIC (found) over F (exact)", "-", ratio,
                            error, bool(abs(ratio - 10) < 1), "10 ± 1"))
    half = int(np.argmin(np.abs(result.map_offsets - 0.5)))
    claims.append(Claim(
        f"points to find an offset of {result.map_offsets[half]:.3f} in 95 % of measurements, "
        "prior ±1, ±10, ±100", "-", ", ".join(
            f"{v:.0f}" if v > 0 else "beyond the prior" for v in result.needed[:, half]), 0.0, None,
        "exact; the prior is part of the plan"))
    return Claims(claims)


def _binomial(p: Array, draws: int) -> Array:
    """Standard error of a share; at least that of one event, where none is expected."""
    return np.asarray(np.sqrt(np.maximum(p * (1 - p), 1 / draws) / draws))


@styled
def draw(result: Result) -> dict[str, Any]:
    """Histograms on the exact densities for both laws, and the plan."""
    return {"law_of_the_choice": _histograms(result, 0),
            "law_of_the_choice_estimated": _histograms(result, 1),
            "law_of_the_choice_map": _plan(result)}


def _histograms(result: Result, kind: int) -> Any:
    from experiments.figures import BLUE, RED, label_panels, panels

    total = result.settings["data_sets"]
    rows = max(1, len(result.settings["points"]))
    figure, axes = panels(rows, len(result.cases) // rows, 7.2, 6.6)
    for k, ax in enumerate(axes.flat):
        N, b = result.cases[k]
        edges, counts = result.edges[kind, k], result.counts[kind, k]
        width = np.diff(edges)
        ax.stairs(counts / (total * width), edges, fill=True, color=BLUE, alpha=0.45,
                  label="data sets")
        ax.stairs(np.maximum(result.expected[kind, k], 1e-12) / width, edges, color=RED, lw=1.1,
                  baseline=None, label="exact")
        ax.axvline(0.0, color="0.3", lw=0.8, ls=":")
        ax.text(0.04, 0.96, f"P {_short(result.exact[kind, k])}", transform=ax.transAxes,
                fontsize=8, va="top")
        top = float((counts / width).max() / total)
        ax.set(title=f"N = {N:.0f}, $b_0$ = {b:g}", yscale="log",
               ylim=(0.3 / (total * width[0]), 12 * top))
    for ax in axes.flat:
        ax.set_xlabel("$F_2 - F_1$ (nats)")
    for ax in axes[:, 0]:
        ax.set_ylabel("density (1/nat)")
    label_panels(axes)
    words = "Noise known" if kind == 0 else "Noise estimated by each model for itself"
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2,
                  title=f"{words}; P: share of data sets that choose the offset (left of 0)",
                  alignment="left")
    return figure


def _short(p: float) -> str:
    return "> 0.9995" if p > 0.9995 else f"= {p:.2g}" if p < 0.1 else f"= {p:.3f}"


def _plan(result: Result) -> Any:
    from experiments.figures import BLACK, BLUE, GREEN, ORANGE, RED, label_panels, panels

    looks = list(zip((GREEN, RED, ORANGE, BLACK, BLUE), ("-", "-", "-", "--", ":"),
                     ("o", "s", "^", "", ""), strict=True))
    figure, axes = panels(1, 3, 7.4, 3.0)
    plane, alarm, needed = axes.flat
    mesh = plane.pcolormesh(result.map_points, result.map_offsets, result.map, cmap="Greys",
                            vmin=0, vmax=1.6, shading="gouraud", rasterized=True)
    for rule, even, rate, (color, line, mark) in zip(RULES, result.even, result.false_alarm,
                                                     looks, strict=True):
        plane.plot(even, result.map_offsets, color=color, ls=line, marker=mark, ms=3,
                   markevery=(5, 9), label=rule)
        alarm.plot(result.map_points, rate, color=color, ls=line, marker=mark, ms=3,
                   markevery=(5, 14))
    plane.set(xscale="log", xlabel="number of points N", xlim=(2, 10_000), ylim=(0.02, 2),
              ylabel="offset $b_0$ (units of the noise)", title="Even chances")
    inside = plane.inset_axes((0.45, 0.86, 0.42, 0.05))
    figure.colorbar(mesh, cax=inside, orientation="horizontal",
                    boundaries=np.linspace(0, 1, 101), ticks=[0, 0.5, 1])
    inside.set_xlabel("P(offset), prior ±10", fontsize=7.5, color="white", labelpad=1)
    inside.tick_params(labelsize=7.5, labelcolor="white")
    alarm.set(xscale="log", yscale="log", xlabel="number of points N", xlim=(2, 10_000),
              ylim=(1e-5, 1.3), ylabel="P(offset) where there is none", title="False alarms")
    for count, (color, line, mark) in zip(result.needed, looks, strict=False):
        needed.plot(result.map_offsets, count, color=color, ls=line, marker=mark, ms=3,
                    markevery=(3, 9))
    needed.set(xlabel="offset $b_0$ (units of the noise)", yscale="log", xlim=(0, 2),
               ylabel="points for P(offset) = 95 %", title="The plan")
    label_panels(axes)
    figure.legend(*plane.get_legend_handles_labels(), loc="outside lower center", ncols=5,
                  columnspacing=1.2, handlelength=2.2)
    return figure
