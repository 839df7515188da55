"""How well is the noise known from the residuals?  The law of the estimated noise variance.

Figure: the histogram of the noise variance that minimises the free energy, for a line through
the origin (K = 1) and a line with an offset (K = 2), on its exact law; from whole data sets and
from two random numbers for each; in the manner of Katakami, Kashiwamura, Nagata, Mizumaki and
Okada, "Mesoscopic Bayesian Inference by Solvable Models", arXiv 2406.02869.

The paper's: the idea (a data set of any size acts through a few mesoscopic variables).

Ours: all settings, because only the paper's abstract could be consulted.  x evenly on [-1, 1],
true slope 1, noise 1, offset 0 or 1; N = 5, 100, 1000; 100,000 synthetic data sets for each N,
fitted by least squares ("microscopic"), and as many draws of the mesoscopic variables.

What may be claimed: the estimate is RSS / (N - K), not the maximum of the likelihood; it follows a
chi-square with N - K degrees of freedom, a noncentral one where the model lacks the offset; and
two numbers for each data set, tau and upsilon, give the same law as all its points.
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
SECONDS = 6.0
ROUTES = ("microscopic", "mesoscopic")
# What is fitted, and the true offset.
FITS = ((1, 0.0), (1, 1.0), (2, 1.0))
BINS = 50


@dataclass(frozen=True)
class Settings:
    """Ours."""

    points: tuple[int, ...] = (5, 100, 1000)
    noise: float = 1.0
    data_sets: int = 100_000
    seed: int = 2407


SETTINGS = Settings()
QUICK = Settings(data_sets=2_000)


@dataclass(frozen=True)
class Result:
    """Histograms of the estimate over the true variance, and their exact laws."""

    settings: dict[str, Any]
    edges: Array          # (points, fits, bins + 1) of s^2 / s0^2
    counts: Array         # (points, fits, routes, bins)
    expected: Array       # (points, fits, bins) exact share of each bin
    p_value: Array        # (points, fits, routes) Kolmogorov's
    mean: Array           # (points, fits, routes) of s^2 / s0^2
    mean_exact: Array     # (points, fits)
    sd_exact: Array       # (points, fits)
    outside: Array        # (points, routes) share outside the exact 95 % range, K = 2
    range: Array          # (points, 2) that range
    minimum: float        # largest relative distance of RSS / (N - K) from a numerical minimum


def estimates(points: int, settings: Settings, generator: np.random.Generator) -> Array:
    """RSS / (N - K) / s0^2 of whole data sets, least squares; (fits, data sets)."""
    x = np.linspace(-1.0, 1.0, points)
    bases = {K: np.linalg.qr(np.stack([x, np.ones(points)][:K], axis=1))[0] for K in (1, 2)}
    out = []
    for begin in range(0, settings.data_sets, 10_000):
        noise = generator.normal(size=(min(10_000, settings.data_sets - begin), points))
        row = []
        for K, offset in FITS:
            y = settings.noise * noise + (x + offset)
            rss = np.einsum("ij,ij->i", y, y) - np.sum((y @ bases[K]) ** 2, axis=1)
            row.append(rss / (points - K) / settings.noise**2)
        out.append(row)
    return np.concatenate(out, axis=1)


def mesoscopic(points: int, settings: Settings, generator: np.random.Generator) -> Array:
    """The same from the two numbers that matter; (fits, data sets)."""
    upsilon = generator.chisquare(points - 2, settings.data_sets)
    tau = generator.normal(size=settings.data_sets)
    return np.stack([(upsilon + (K == 1) * (tau + math.sqrt(points) * b / settings.noise) ** 2)
                     / (points - K) for K, b in FITS])


def law(points: int, K: int, offset: float, settings: Settings, ratio: Array) -> Array:
    """Exact P(s^2 / s0^2 <= ratio): chi-square, noncentral where an offset is not fitted."""
    from scipy.special import chdtr, chndtr

    excess = points - K
    if K == 2 or offset == 0.0:
        return np.asarray(chdtr(excess, excess * ratio))
    return np.asarray(chndtr(excess * ratio, excess, points * (offset / settings.noise) ** 2))


def minimum(settings: Settings, generator: np.random.Generator, count: int = 20) -> float:
    """Largest relative distance of `theory.noise.empirical_bayes` from the minimum of F(s^2)
    found numerically, over some data sets."""
    from scipy.optimize import minimize_scalar

    from theory.noise import empirical_bayes, free_energy, wide_box

    worst = 0.0
    for k in range(count):
        x = np.linspace(-1.0, 1.0, 5 + k)
        box = wide_box(np.stack([x, np.ones_like(x)], axis=1),
                       x + settings.noise * generator.normal(size=len(x)), 400.0)
        value, _ = empirical_bayes(box)
        found = minimize_scalar(lambda t, box=box: float(free_energy(box, math.exp(t))),
                                bounds=(-8.0, 3.0), method="bounded", options={"xatol": 1e-10})
        worst = max(worst, abs(math.exp(found.x) / value - 1.0))
    return worst


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Draw both kinds of data sets, and put the exact law beside."""
    from theory.noise import estimate_quantile

    generator = np.random.default_rng(settings.seed)
    rows: dict[str, list[Any]] = {name: [] for name in (
        "edges", "counts", "expected", "p_value", "mean", "mean_exact", "sd_exact", "outside",
        "range")}
    for points in settings.points:
        found = np.stack([estimates(points, settings, generator),
                          mesoscopic(points, settings, generator)], axis=1)
        edges = np.stack([np.linspace(f.min(), f.max() * (1 + 1e-9), BINS + 1) for f in found])
        limits = estimate_quantile([0.025, 0.975], points - 2)
        delta = np.array([(K == 1) * points * (b / settings.noise) ** 2 for K, b in FITS])
        nu = points - np.array([K for K, _ in FITS])
        for name, value in (
                ("edges", edges),
                ("counts", [[np.histogram(f, e)[0] for f in pair]
                            for pair, e in zip(found, edges, strict=True)]),
                ("expected", [np.diff(law(points, K, b, settings, e))
                              for (K, b), e in zip(FITS, edges, strict=True)]),
                ("p_value", [[kolmogorov(law(points, K, b, settings, f)) for f in pair]
                             for (K, b), pair in zip(FITS, found, strict=True)]),
                ("mean", found.mean(axis=2)), ("mean_exact", (nu + delta) / nu),
                ("sd_exact", np.sqrt(2 * (nu + 2 * delta)) / nu),
                ("outside", np.mean((found[2] < limits[0]) | (found[2] > limits[1]), axis=1)),
                ("range", limits)):
            rows[name].append(value)
    return Result(settings=asdict(settings), minimum=minimum(settings, generator),
                  **{name: np.array(value, dtype=float) for name, value in rows.items()})


def check(result: Result) -> Claims:
    """Kolmogorov's p for both routes; means and 95 % ranges within four standard errors."""
    n, points = result.settings["data_sets"], result.settings["points"]
    names = [[f"N = {N}, K = {K}, b0 = {b:g}" for K, b in FITS] for N in points]
    flat = [name for row in names for name in row]
    claims = []
    for k, route in enumerate(ROUTES):
        p = result.p_value[..., k].ravel()
        claims.append(Claim(
            f"law of the estimate, {route}: least Kolmogorov p of {len(p)} ({flat[p.argmin()]})",
            "-", float(p.min()), 0.0, bool(p.min() > 0.001),
            f"> 0.001 on {n} data sets; false alarm {len(p) * 0.1:.1f} %"))
        claims.append(farthest(f"mean of s²/s0², {route}", result.mean[..., k].ravel(),
                               result.mean_exact.ravel(), result.sd_exact.ravel() / math.sqrt(n),
                               flat))
    claims.append(farthest(
        "share outside the exact 95 % range, K = 2", result.outside.ravel(),
        np.full(result.outside.size, 0.05), np.full(result.outside.size, math.sqrt(0.0475 / n)),
        [f"N = {N}, {route}" for N in points for route in ROUTES]))
    claims.append(Claim("RSS / (N - K) against the numerical minimum of F(s²), relative",
                        "0 (exact)", result.minimum, 0.0, result.minimum < 1e-6,
                        "< 1e-6, 20 data sets"))
    for N, (low, high) in zip(points, result.range, strict=True):
        claims.append(Claim(f"95 % range of s²/s0², K = 2, N = {N:.0f}", "-",
                            f"{low:.4f} to {high:.4f}", 0.0, None, "exact"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """Filled: whole data sets; points: two random numbers each; line: exact."""
    from experiments.figures import BLACK, BLUE, RED, label_panels, panels

    n, points = result.settings["data_sets"], result.settings["points"]
    figure, axes = panels(len(FITS), len(points), 7.2, 6.2)
    for i, (K, b) in enumerate(FITS):
        for j, N in enumerate(points):
            ax, edges = axes[i, j], result.edges[j, i]
            width = np.diff(edges)
            micro, meso = result.counts[j, i]
            ax.stairs(micro / (n * width), edges, fill=True, color=BLUE, alpha=0.45,
                      label="whole data sets")
            shown = meso > 0
            ax.errorbar((0.5 * (edges[1:] + edges[:-1]))[shown], (meso / (n * width))[shown],
                        (np.sqrt(meso) / (n * width))[shown], fmt=".", ms=3, color=BLACK,
                        elinewidth=0.7, capsize=0, label="mesoscopic variables, ± 1 sd")
            ax.stairs(result.expected[j, i] / width, edges, baseline=None, color=RED, lw=1.1,
                      label="exact")
            ax.axvline(1.0, color="0.3", lw=0.8, ls=":")
            ax.set(title=f"N = {N:.0f}, K = {K}, $b_0$ = {b:g}", ylim=(0, None))
    for ax in axes.flat:
        ax.set_xlabel("$\\hat s^2/s_0^2$ (dimensionless)")
    for ax in axes[:, 0]:
        ax.set_ylabel("density (dimensionless)")
    label_panels(axes)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return {"estimated_noise": figure}
