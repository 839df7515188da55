"""How often is the right model chosen?  The exact law of the difference of two free energies.

Figures: the histogram of F2 - F1 over data sets on its exact density, and the probability of
choosing the line with an offset over the number of points and the size of the offset; in the manner
of Katakami, Kashiwamura, Nagata, Mizumaki and Okada, "Mesoscopic Bayesian Inference by Solvable
Models", arXiv 2406.02869.

The paper's: the idea (mesoscopic variables, the finite-N fluctuation of model selection).

Ours: all settings, because only the paper's abstract could be consulted.  x evenly on [-1, 1],
noise 1 (known), priors of slope and offset uniform on [-10, 10], 100,000 synthetic data sets for
each panel, drawn whole and fitted by least squares: the law has to come out of them.

What may be claimed: the exact density holds the histograms (Kolmogorov-Smirnov), the choice is
right as often as `theory.choice` says, and the penalty formula alone (BIC) raises ten times as
many false alarms at 100 points.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 5.0


@dataclass(frozen=True)
class Settings:
    """Ours."""

    points: tuple[int, ...] = (5, 100)
    offsets: tuple[float, ...] = (0.0, 0.3, 1.0)
    half_width: float = 10.0
    noise: float = 1.0
    data_sets: int = 100_000
    seed: int = 2406


SETTINGS = Settings()
QUICK = Settings(data_sets=2_000)


@dataclass(frozen=True)
class Result:
    """Histograms and shares of the data sets, exact values and the map."""

    settings: dict[str, Any]
    cases: Array          # (panels, 2): N and b0
    edges: Array          # (panels, bins + 1) of F2 - F1 (nats)
    counts: Array         # (panels, bins)
    distance: Array       # largest gap of the empirical and the exact distribution
    chosen: Array         # share of data sets that choose the offset
    exact: Array          # its exact value
    bic: Array            # share that BIC chooses
    map_points: Array     # N of the map
    map_offsets: Array    # b0 of the map
    map: Array            # (offsets, points) probability of choosing the offset
    even: Array           # N* for each offset of the map


def question(points: int, offset: float, settings: Settings) -> Any:
    """The exact side: the positions are centred, so that S_b = N."""
    from theory.choice import Question

    return Question(points, offset, settings.half_width, settings.noise)


def differences(points: int, offset: float, settings: Settings,
                generator: np.random.Generator) -> Array:
    """F2 - F1 of every data set by least squares on both models, wide boxes."""
    x = np.linspace(-1.0, 1.0, points)
    out = []
    for size in [10_000] * (settings.data_sets // 10_000) or [settings.data_sets]:
        y = x + offset + settings.noise * generator.normal(size=(size, points))
        rss = [np.sum((y - y @ np.linalg.pinv(A).T @ A.T) ** 2, axis=1)
               for A in (x[:, None], np.stack([x, np.ones(points)], axis=1))]
        out.append((rss[1] - rss[0]) / (2 * settings.noise**2))
    gain = np.concatenate(out)
    constant = (math.log(2 * settings.half_width) + 0.5 * math.log(points)
                - 0.5 * math.log(2 * math.pi * settings.noise**2))
    return np.asarray(gain + constant)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Draw the data sets, and put the exact law beside."""
    from theory.choice import cumulative, even_points, probability_of_offset

    generator = np.random.default_rng(settings.seed)
    cases, edges, counts, distance, chosen, exact, bic = [], [], [], [], [], [], []
    for points in settings.points:
        for offset in settings.offsets:
            ask = question(points, offset, settings)
            found = np.sort(differences(points, offset, settings, generator))
            low = max(found[0], ask.bound - 25.0 - 4 * ask.delta)
            bins = np.linspace(low, ask.bound, 61)
            law = cumulative(ask, found)
            steps = np.arange(len(found) + 1) / len(found)
            cases.append((float(points), offset))
            edges.append(bins)
            counts.append(np.histogram(found, bins)[0].astype(float))
            distance.append(float(max(np.abs(law - steps[1:]).max(),
                                      np.abs(law - steps[:-1]).max())))
            chosen.append(float(np.mean(found < 0)))
            exact.append(probability_of_offset(ask))
            penalty_only = found - ask.bound + 0.5 * math.log(points)
            bic.append(float(np.mean(penalty_only < 0)))
    N, b = np.geomspace(2, 10_000, 90), np.linspace(0.02, 2.0, 80)
    grid = np.array([[probability_of_offset(question(n, v, settings)) for n in N] for v in b])
    return Result(asdict(settings), np.array(cases), np.array(edges), np.array(counts),
                  np.array(distance), np.array(chosen), np.array(exact), np.array(bic), N, b, grid,
                  np.array([even_points(v, settings.half_width, settings.noise) for v in b]))


def check(result: Result) -> Claims:
    """Kolmogorov's distance, and every share within four standard errors."""
    n = result.settings["data_sets"]
    # P(distance > 2.2 / sqrt(n)) = 1.2e-4 for each panel.
    worst = int(np.argmax(result.distance))
    error = np.sqrt(np.maximum(result.exact * (1 - result.exact), 1 / n) / n)
    z = (result.chosen - result.exact) / error
    far = int(np.argmax(np.abs(z)))

    def label(i: int) -> str:
        return f"N = {result.cases[i, 0]:.0f}, b0 = {result.cases[i, 1]:g}"

    claims = [
        Claim(f"law of F2 - F1: largest distance to the exact one ({label(worst)})", "0 (exact)",
              float(result.distance[worst]), 0.0,
              bool(result.distance[worst] < 2.2 / math.sqrt(n)), f"< {2.2 / math.sqrt(n):.4f}"),
        Claim(f"share of data sets that choose the offset, farthest ({label(far)})",
              f"{result.exact[far]:.4f} (exact)", float(result.chosen[far]), float(error[far]),
              bool(abs(z[far]) < 4), f"z = {z[far]:+.1f}, |z| < 4")]
    at = next((i for i, (N, b) in enumerate(result.cases) if N == 100 and b == 0), None)
    if at is not None:
        ratio = float(result.bic[at] / result.exact[at])
        claims.append(Claim("false alarms at N = 100: BIC against F", "10.3 (exact)", ratio,
                            float(np.sqrt(result.bic[at] / n) / result.exact[at]),
                            bool(8.0 < ratio < 13.0), "[8, 13]"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """Histograms on the exact densities, and the map of P(offset chosen)."""
    from experiments.figures import BLUE, RED, label_panels, panels
    from theory.choice import density

    settings = Settings(**{**result.settings, "points": (), "offsets": ()})
    figure, axes = panels(2, 3, 7.4, 4.4)
    for ax, (N, b), edges, counts, exact in zip(axes.flat, result.cases, result.edges,
                                                result.counts, result.exact, strict=False):
        total = result.settings["data_sets"]
        ax.stairs(counts / (total * np.diff(edges)), edges, fill=True, color=BLUE, alpha=0.5,
                  label="data sets")
        grid = np.linspace(edges[0], edges[-1], 801)[:-1]
        ax.plot(grid, density(question(N, b, settings), grid), color=RED, lw=1.1, label="exact")
        ax.axvline(0.0, color="0.3", lw=0.8, ls=":")
        ax.text(0.05, 0.72, f"p = {exact:.3f}", transform=ax.transAxes, fontsize=8)
        ax.set(title=f"N = {N:.0f}, $b_0$ = {b:g}", xlabel="$F_2 - F_1$ (nats)",
               ylabel="density (1/nat)", yscale="log", ylim=(1e-4, 20))
    axes[0, 0].legend(loc="upper left", ncols=2)
    label_panels(axes)
    plane, one = panels(1, 1, 4.6, 3.4)
    ax = one[0, 0]
    mesh = ax.pcolormesh(result.map_points, result.map_offsets, result.map, cmap="Blues",
                         vmin=0, vmax=1, shading="gouraud", rasterized=True)
    ax.plot(result.even, result.map_offsets, color=RED, label="$N^*$: even chances")
    ax.set(xscale="log", xlabel="number of points N", ylabel="offset $b_0$ (units of the noise)",
           title="Probability of choosing the offset", xlim=(2, 10_000), ylim=(0.02, 2))
    ax.legend(loc="upper right", labelcolor="white")
    plane.colorbar(mesh, ax=ax, label="probability")
    return {"law_of_the_choice": figure, "law_of_the_choice_map": plane}
