"""What do N points say about slope and offset?  Posterior, its width, and its coverage.

Figure: the posterior of (a, b) for one data set of each size; its width over N; and how often
credible intervals hold the truth, in the manner of Katakami, Kashiwamura, Nagata, Mizumaki and
Okada, "Mesoscopic Bayesian Inference by Solvable Models", arXiv 2406.02869.

The paper's: the idea (parameter estimation at a finite N, data set by data set).

Ours: all settings, because only the paper's abstract could be consulted.  x evenly on [-1, 1], true
slope 1 and offset 1, noise 1, priors uniform on [-10, 10]; N = 5, 100, 1000; one synthetic data set
of each size in the first panel, 100,000 in the others, fitted by least squares.

What may be claimed: the posterior is normal with widths s / sqrt(Sxx) and s / sqrt(N), as a sum
over a fine grid of (a, b) says too; with the noise known its intervals cover as often as they
say at any N; with the estimated noise plugged in they do not (85.5 % in place of 95 % at N = 5),
and integrating the noise out repairs it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, farthest
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 6.0
LEVELS = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99)
# How the noise is treated, and the joint region of both parameters.
KINDS = ("known", "plugged in", "integrated out", "known, ellipse of (a, b)")


@dataclass(frozen=True)
class Settings:
    """Ours."""

    points: tuple[int, ...] = (5, 100, 1000)
    slope: float = 1.0
    offset: float = 1.0
    half_width: float = 10.0
    noise: float = 1.0
    data_sets: int = 100_000
    seed: int = 2408


SETTINGS = Settings()
QUICK = Settings(data_sets=2_000)


@dataclass(frozen=True)
class Result:
    """Estimates, widths and coverage."""

    settings: dict[str, Any]
    first: Array          # (points, 2) posterior mean of (a, b), the first data set of each N
    sd: Array             # (points, 2) its posterior sd, exact
    grid: Array           # (points, 2) distance of mean and sd from a sum over a grid, in sd
    spread: Array         # (points, 2) sd of the estimates over data sets
    levels: Array         # nominal coverage
    covered: Array        # (points, kinds, levels) of the slope; of both in the last kind
    exact: Array          # (points, kinds, levels)


def fits(points: int, settings: Settings, generator: np.random.Generator) -> tuple[
        Array, Array, Array]:
    """Least squares on whole data sets: estimates (data sets, 2), RSS, and the first y."""
    x = np.linspace(-1.0, 1.0, points)
    X = np.stack([x, np.ones(points)], axis=1)
    inverse = np.linalg.pinv(X)
    theta, rss, first = [], [], np.empty(0)
    for begin in range(0, settings.data_sets, 10_000):
        size = min(10_000, settings.data_sets - begin)
        y = generator.normal(X @ [settings.slope, settings.offset], settings.noise,
                             size=(size, points))
        first = first if begin else y[0].copy()
        found = y @ inverse.T
        y -= found @ X.T
        theta.append(found)
        rss.append(np.einsum("ij,ij->i", y, y))
    return np.concatenate(theta), np.concatenate(rss), first


def widths(points: float, settings: Settings) -> Array:
    """Exact posterior sd of (a, b): s / sqrt(Sxx) with Sxx = N (N + 1) / 3 (N - 1), s / sqrt(N)."""
    Sxx = points * (points + 1) / (3 * (points - 1))
    return np.asarray(settings.noise / np.sqrt([Sxx, float(points)]))


def on_a_grid(y: Array, settings: Settings, nodes: int = 401) -> tuple[Array, Array]:
    """Mean and sd of (a, b) by summing exp(-U) over a grid inside the prior's box."""
    x = np.linspace(-1.0, 1.0, len(y))
    reach = 8 * widths(len(y), settings)
    centre = np.array([x @ y / (x @ x), y.mean()])
    axes = [np.linspace(max(c - r, -settings.half_width), min(c + r, settings.half_width), nodes)
            for c, r in zip(centre, reach, strict=True)]
    a, b = axes[0][:, None], axes[1][None, :]
    # U without the part that no parameter moves, written out: nothing is assumed of its form.
    U = (a**2 * (x @ x) + b**2 * len(y) + 2 * a * b * x.sum() - 2 * a * (x @ y)
         - 2 * b * y.sum()) / (2 * settings.noise**2)
    ends = np.ones(nodes)
    ends[[0, -1]] = 0.5                      # the trapezoid rule: a wall may be an end
    p = np.exp(U.min() - U) * np.outer(ends, ends)
    weights = [p.sum(axis=1) / p.sum(), p.sum(axis=0) / p.sum()]
    mean = np.array([w @ v for w, v in zip(weights, axes, strict=True)])
    var = [w @ (v - m) ** 2 for w, v, m in zip(weights, axes, mean, strict=True)]
    return mean, np.sqrt(var)


def coverage(theta: Array, rss: Array, points: int, settings: Settings) -> tuple[Array, Array]:
    """Share of data sets whose regions hold the truth, and its exact value; (kinds, levels)."""
    from scipy.special import chdtri, ndtri, stdtr, stdtrit

    z = (theta - [settings.slope, settings.offset]) / widths(points, settings)
    t = z[:, 0] / np.sqrt(rss / (points - 2)) * settings.noise
    level = np.array(LEVELS)
    normal, student = ndtri(0.5 + 0.5 * level), stdtrit(points - 2, 0.5 + 0.5 * level)
    covered = [np.mean(np.abs(v)[:, None] <= q, axis=0)
               for v, q in ((z[:, 0], normal), (t, normal), (t, student))]
    covered.append(np.mean(np.sum(z**2, axis=1)[:, None] <= chdtri(2, 1 - level), axis=0))
    # The plugged-in interval is a normal one for a Student variable.
    exact = [level, 2 * stdtr(points - 2, normal) - 1, level, level]
    return np.array(covered), np.array(exact)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Fit the data sets, and put the exact widths and coverages beside."""
    generator = np.random.default_rng(settings.seed)
    rows: dict[str, list[Any]] = {name: [] for name in (
        "first", "sd", "grid", "spread", "covered", "exact")}
    for points in settings.points:
        theta, rss, first = fits(points, settings, generator)
        sd = widths(points, settings)
        mean, width = on_a_grid(first, settings)
        covered, exact = coverage(theta, rss, points, settings)
        for name, value in (
                ("first", theta[0]), ("sd", sd), ("spread", theta.std(axis=0)),
                ("grid", np.maximum(np.abs(mean - theta[0]) / sd, np.abs(width / sd - 1))),
                ("covered", covered), ("exact", exact)):
            rows[name].append(value)
    return Result(settings=asdict(settings), levels=np.array(LEVELS),
                  **{name: np.array(value, dtype=float) for name, value in rows.items()})


def check(result: Result) -> Claims:
    """The normal law against the grid, the widths and coverages within four standard errors."""
    n, points = result.settings["data_sets"], result.settings["points"]
    apart = float(result.grid.max())
    claims = [
        Claim("mean and sd of (a, b): exact against the sum over a grid, in sd", "0 (exact)", apart,
              0.0, apart < 1e-8, "< 1e-8, all N"),
        farthest("sd of the estimates over data sets", result.spread.ravel(), result.sd.ravel(),
                 result.sd.ravel() / math.sqrt(2 * n),
                 [f"{p}, N = {N}" for N in points for p in ("a", "b")])]
    for k, kind in enumerate(KINDS):
        exact = result.exact[:, k].ravel()
        claims.append(farthest(
            f"coverage, noise {kind}", result.covered[:, k].ravel(), exact,
            np.sqrt(exact * (1 - exact) / n),
            [f"{100 * p:.0f} %, N = {N}" for N in points for p in LEVELS]))
    if points[0] == 5:
        found = float(result.covered[0, 1, LEVELS.index(0.95)])
        claims.append(Claim("coverage of a 95 % interval at N = 5, estimated noise plugged in",
                            "0.95 (nominal)", found, math.sqrt(found * (1 - found) / n),
                            found < 0.9, "< 0.9: five points do not know their own noise"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """Ellipses of one data set per N, width over N, coverage at the smallest N."""
    from scipy.special import ndtri, stdtr

    from experiments.figures import BLACK, BLUE, GREEN, ORANGE, RED, label_panels, panels

    settings = Settings(**result.settings)
    figure, axes = panels(1, 3, 7.4, 3.1)
    plane, width, cover = axes.flat
    turn = np.linspace(0, 2 * np.pi, 200)
    for N, mean, sd, color, line in zip(settings.points, result.first, result.sd,
                                        (BLUE, ORANGE, GREEN), ("-", "--", "-."), strict=False):
        for k, p in enumerate((0.68, 0.95)):
            size = math.sqrt(-2 * math.log(1 - p))
            plane.plot(mean[0] + size * sd[0] * np.cos(turn), mean[1] + size * sd[1] * np.sin(turn),
                       color=color, ls=line, lw=1.5 - 0.6 * k, label=None if k else f"N = {N:.0f}")
    plane.plot(settings.slope, settings.offset, "+", color=BLACK, ms=6, mew=1.1, label="truth",
               ls="none")
    plane.set(xlabel="slope a (dimensionless)", ylabel="offset b (dimensionless)",
              title="Posterior, 68 and 95 %")
    plane.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, columnspacing=1.0)
    grid = np.unique(np.geomspace(3, 3000, 60).astype(int))
    curves = np.array([widths(N, settings) for N in grid])
    for k, (color, mark, name) in enumerate(((BLUE, "o", "a"), (RED, "s", "b"))):
        width.plot(grid, curves[:, k], color=color, ls=("-", "--")[k], label=f"exact sd of {name}")
        width.errorbar(settings.points, result.spread[:, k],
                       1.96 * result.spread[:, k] / math.sqrt(2 * settings.data_sets), fmt=mark,
                       color=color, ms=4, label=f"{name} over data sets")
    width.set(xscale="log", yscale="log", xlabel="number of points N",
              ylabel="sd (dimensionless)", title="Width", ylim=(0.01, 1.2))
    width.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, columnspacing=0.8,
                 handlelength=1.4)
    level = np.linspace(0.001, 0.999, 300)
    plugged = 2 * stdtr(settings.points[0] - 2, ndtri(0.5 + 0.5 * level)) - 1
    cover.plot(100 * level, 100 * (plugged - level), color=RED, ls="--", label="plugged in, exact")
    cover.axhline(0.0, color=BLUE)
    for k, (color, mark) in enumerate(((BLUE, "o"), (RED, "s"), (GREEN, "^"))):
        error = np.sqrt(result.exact[0, k] * (1 - result.exact[0, k]) / settings.data_sets)
        cover.errorbar(100 * result.levels + (k - 1), 100 * (result.covered[0, k] - result.levels),
                       196 * error, fmt=mark, color=color, ms=3.5, label=KINDS[k])
    cover.set(xlabel="nominal coverage (%)", ylabel="actual - nominal (%)",
              title=f"Coverage of a, N = {settings.points[0]}", xlim=(0, 102))
    cover.legend(loc="upper center", bbox_to_anchor=(0.45, -0.22), ncols=2, columnspacing=0.8,
                 handlelength=1.4, title="noise", alignment="left")
    label_panels(axes)
    return {"posterior_of_the_line": figure}
