"""Do two measurements share their parameters?  The law of Bayesian integration.

Figures: how often two data sets are integrated (one line for both) or kept apart (a line each),
over the true difference of their slopes, and the histograms of F_int - F_sep on their exact
densities; in the manner of Katakami, Kashiwamura, Nagata, Mizumaki and Okada, "Mesoscopic Bayesian
Inference by Solvable Models", arXiv 2406.02869.

The paper's: the idea, and that the difference depends on two mesoscopic variables (abstract).

Ours: all settings, because only the paper's abstract could be consulted.  x evenly on [-1, 1] in
both sets, true slopes 1 and 1 + gap, offset 0, noise 1 in the first and 1, sqrt(10) or 10 in the
second (known), priors uniform on [-10, 10]; N = 5, 100, 1000 points in each set; 50,000 pairs of
synthetic data sets, each fitted three times by least squares (both together, each alone).

What may be claimed: F_int - F_sep follows a noncentral chi-square with two degrees of freedom
(Kolmogorov); sets are integrated as often as `theory.joint` says; and a second set ten times as
noisy is integrated at gaps that a good one would have shown to be real.
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
SECONDS = 12.0
BINS = 50


@dataclass(frozen=True)
class Settings:
    """Ours."""

    points: tuple[int, ...] = (5, 100, 1000)
    ratios: tuple[float, ...] = (1.0, 10.0, 100.0)      # s2^2 / s1^2
    # (N, ratio, gap) of the histograms.
    panels: tuple[tuple[float, float, float], ...] = (
        (5, 1, 0), (100, 1, 0), (1000, 1, 0), (5, 1, 1), (100, 1, 0.5), (1000, 1, 0.2),
        (100, 1, 1), (100, 10, 1), (100, 100, 1))
    half_width: float = 10.0
    noise: float = 1.0
    data_sets: int = 50_000
    knots: int = 400              # of the exact law, between which it is interpolated
    seed: int = 2409


SETTINGS = Settings()
QUICK = Settings(data_sets=1_000, knots=40)


@dataclass(frozen=True)
class Result:
    """Histograms, shares and exact curves."""

    settings: dict[str, Any]
    edges: Array          # (panels, bins + 1) of F_int - F_sep (nats)
    counts: Array         # (panels, bins)
    expected: Array       # (panels, bins) exact share of each bin
    p_value: Array        # (panels,) Kolmogorov's
    shared: Array         # (panels,) share of pairs that are integrated
    exact: Array          # (panels,)
    gaps: Array           # of the curves
    by_points: Array      # (points, gaps) P(integrate), equal noise
    by_ratio: Array       # (ratios, gaps) P(integrate), N of the middle
    narrowed: Array       # (ratios,) sd of the slope after integration over before, first set
    reference: float      # F_int - F_sep of two printed data sets, by three fits (nats)


def free_energy(rss: Array, designs: list[Array], noises: list[float], volume: float) -> Array:
    """F of one line through several sets, wide boxes; RSS in units of each set's noise."""
    weighted = np.concatenate([X / s for X, s in zip(designs, noises, strict=True)])
    d = weighted.shape[1]
    constant = sum(0.5 * len(X) * math.log(2 * math.pi * s**2)
                   for X, s in zip(designs, noises, strict=True))
    log_det = np.linalg.slogdet(weighted.T @ weighted)[1]
    return np.asarray(0.5 * rss + constant + math.log(volume) + 0.5 * log_det
                      - 0.5 * d * math.log(2 * math.pi))


def difference(ys: list[Array], designs: list[Array], noises: list[float],
               half_width: float) -> Array:
    """F_int - F_sep by least squares on both sets together and on each alone; (pairs,)."""
    volume = (2 * half_width) ** 2

    def fitted(index: list[int]) -> Array:
        Q = np.linalg.qr(np.concatenate([designs[m] / noises[m] for m in index]))[0]
        y = np.concatenate([ys[m] / noises[m] for m in index], axis=1)
        rss = np.einsum("ij,ij->i", y, y) - np.sum((y @ Q) ** 2, axis=1)
        return free_energy(rss, [designs[m] for m in index], [noises[m] for m in index], volume)

    return fitted([0, 1]) - fitted([0]) - fitted([1])


def pairs(N: int, ratio: float, gap: float, settings: Settings,
          generator: np.random.Generator) -> Array:
    """F_int - F_sep of many synthetic pairs of data sets."""
    x = np.linspace(-1.0, 1.0, N)
    X = np.stack([x, np.ones(N)], axis=1)
    noises = [settings.noise, settings.noise * math.sqrt(ratio)]
    out = []
    for begin in range(0, settings.data_sets, 5_000):
        size = min(5_000, settings.data_sets - begin)
        ys = [slope * x + s * generator.normal(size=(size, N))
              for slope, s in zip((1.0, 1.0 + gap), noises, strict=True)]
        out.append(difference(ys, [X, X], noises, settings.half_width))
    return np.concatenate(out)


def widths(N: float, ratio: float, settings: Settings) -> tuple[Array, Array]:
    """Covariances of the two estimates, centred positions."""
    Sxx = N * (N + 1) / (3 * (N - 1))
    one = settings.noise**2 * np.diag([1 / Sxx, 1 / N])
    return one, ratio * one


def law(N: float, ratio: float, gap: float, settings: Settings, value: Array) -> Array:
    """Exact P(F_int - F_sep <= value)."""
    from theory.joint import Estimate, law_of_difference
    from theory.quadratic import cumulative

    truths = [Estimate(np.array([slope, 0.0]), width)
              for slope, width in zip((1.0, 1.0 + gap), widths(N, ratio, settings), strict=True)]
    return np.asarray(cumulative(law_of_difference(truths, (2 * settings.half_width) ** 2), value))


def law_at_many(N: float, ratio: float, gap: float, settings: Settings, found: Array) -> Array:
    """`law` at thousands of values: exact at their quantiles, smooth and rising in between."""
    from scipy.interpolate import PchipInterpolator

    knots = np.unique(np.quantile(found, np.linspace(0, 1, settings.knots + 1)))
    return np.asarray(PchipInterpolator(knots, law(N, ratio, gap, settings, knots))(found))


def reference() -> float:
    """F_int - F_sep of five and six printed points (s^2 = 0.25 and 0.5), by three fits."""
    xs = [np.array([-2.0, -1, 0, 1, 2]), np.array([0.0, 1, 2, 3, 4, 6])]
    ys = [np.array([[-1.9, -0.8, 0.4, 0.9, 2.3]]), np.array([[0.3, 1.1, 2.4, 2.7, 4.5, 6.2]])]
    designs = [np.stack([x, np.ones(len(x))], axis=1) for x in xs]
    return float(difference(ys, designs, [0.5, math.sqrt(0.5)], 10.0)[0])


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Draw pairs of data sets, and put the exact law beside."""
    from theory.joint import Estimate, integrated

    generator = np.random.default_rng(settings.seed)
    rows: dict[str, list[Any]] = {name: [] for name in (
        "edges", "counts", "expected", "p_value", "shared", "exact")}
    for N, ratio, gap in settings.panels:
        found = pairs(int(N), ratio, gap, settings, generator)
        edges = np.linspace(found.min() - 1e-9, found.max() + 1e-9, BINS + 1)
        for name, value in (
                ("edges", edges), ("counts", np.histogram(found, edges)[0]),
                ("expected", np.diff(law(N, ratio, gap, settings, edges))),
                ("p_value", kolmogorov(law_at_many(
                    N, ratio, gap, settings, found))), ("shared", np.mean(found < 0)),
                ("exact", law(N, ratio, gap, settings, np.zeros(1))[0])):
            rows[name].append(value)
    gaps, middle = np.linspace(0.0, 8.0, 161), sorted(settings.points)[len(settings.points) // 2]
    narrowed = []
    for ratio in settings.ratios:
        one, two = (Estimate(np.zeros(2), c) for c in widths(middle, ratio, settings))
        narrowed.append(math.sqrt(integrated([one, two]).covariance[0, 0] / one.covariance[0, 0]))
    return Result(
        settings=asdict(settings), gaps=gaps, narrowed=np.array(narrowed), reference=reference(),
        by_points=np.array([[law(N, 1.0, g, settings, np.zeros(1))[0] for g in gaps]
                            for N in settings.points]),
        by_ratio=np.array([[law(middle, r, g, settings, np.zeros(1))[0] for g in gaps]
                           for r in settings.ratios]),
        **{name: np.array(value, dtype=float) for name, value in rows.items()})


def _labels(result: Result) -> list[str]:
    return [f"N = {N:g}, noise² ratio {r:g}, gap {g:g}" for N, r, g in result.settings["panels"]]


def check(result: Result) -> Claims:
    """Kolmogorov's p, the shares within four standard errors, and a reference to 10 digits."""
    n, labels = result.settings["data_sets"], _labels(result)
    least = int(result.p_value.argmin())
    error = np.sqrt(np.maximum(result.exact * (1 - result.exact), 1 / n) / n)
    claims = [
        Claim(f"law of F_int - F_sep: least Kolmogorov p of {len(labels)} ({labels[least]})", "-",
              float(result.p_value[least]), 0.0, bool(result.p_value[least] > 0.001),
              f"> 0.001 on {n} pairs; false alarm {len(labels) * 0.1:.1f} %"),
        farthest("share of pairs that are integrated", result.shared, result.exact, error, labels),
        Claim("F_int - F_sep of 5 and 6 printed points (nats)", "-6.454958 (exact)",
              result.reference, 0.0, bool(abs(result.reference + 6.4549582880) < 1e-5), "1e-5")]
    half = [float(result.gaps[int(np.argmax(row < 0.5))]) for row in result.by_ratio]
    claims.append(Claim(
        "gap of the slopes at which half of the pairs are integrated, noise² ratio "
        + ", ".join(f"{r:g}" for r in result.settings["ratios"]), "-",
        ", ".join(f"{g:.3g}" for g in half), 0.0, None, "exact, to 0.05"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """Histograms of F_int - F_sep, and P(integrate) over the gap."""
    from experiments.figures import BLUE, GREEN, RED, label_panels, panels

    n = result.settings["data_sets"]
    figure, axes = panels(math.ceil(len(result.counts) / 3), 3, 7.2, 6.6)
    for ax, (N, ratio, gap), edges, counts, expected, exact in zip(
            axes.flat, result.settings["panels"], result.edges, result.counts, result.expected,
            result.exact, strict=False):
        width = np.diff(edges)
        ax.stairs(counts / (n * width), edges, fill=True, color=BLUE, alpha=0.45,
                  label="pairs of data sets")
        ax.stairs(np.maximum(expected, 1e-12) / width, edges, baseline=None, color=RED, lw=1.1,
                  label="exact")
        ax.axvline(0.0, color="0.3", lw=0.8, ls=":")
        second = "" if ratio == 1 else f"\n$s_2^2/s_1^2$ = {ratio:g}"
        ax.text(0.96, 0.95, f"P {'> 0.9999' if exact > 0.9999 else f'= {exact:.3g}'}{second}",
                transform=ax.transAxes, fontsize=8, ha="right", va="top",
                bbox={"color": "white", "pad": 0.6})
        ax.set(title=f"N = {N:g}, $\\Delta a$ = {gap:g}", yscale="log",
               ylim=(0.3 / (n * width[0]), 8 * float((counts / width).max() / n)))
    for ax in axes.flat:
        ax.set_xlabel("$F_{int} - F_{sep}$ (nats)")
    for ax in axes[:, 0]:
        ax.set_ylabel("density (1/nat)")
    label_panels(axes)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2,
                  title="P: share of pairs that are integrated (left of 0)", alignment="left")
    rates, pair = panels(1, 2, 7.0, 3.0)
    points, ratios = result.settings["points"], result.settings["ratios"]
    middle = sorted(points)[len(points) // 2]
    at = {tuple(map(float, p)): i for i, p in enumerate(result.settings["panels"])}
    rows = ((pair[0, 0], result.by_points, [f"N = {N:g}" for N in points],
             [(float(N), 1.0) for N in points]),
            (pair[0, 1], result.by_ratio, [f"$s_2^2/s_1^2$ = {r:g}" for r in ratios],
             [(float(middle), float(r)) for r in ratios]))
    looks = tuple(zip((BLUE, RED, GREEN), ("-", "--", "-."), "os^", strict=True))
    for ax, curves, names, keys in rows:
        for curve, key, (color, line, mark) in zip(curves, keys, looks, strict=False):
            ax.plot(result.gaps, curve, color=color, ls=line)
            for g, share in [(g, result.shared[i]) for (N, r, g), i in at.items()
                             if (N, r) == key]:
                ax.errorbar(g, share, 1.96 * math.sqrt(max(share * (1 - share), 1 / n) / n),
                            fmt=mark, color=color, ms=4, clip_on=False)
        ax.set(xlabel="true difference of the slopes $\\Delta a$ (dimensionless)",
               ylabel="P(integrate)", ylim=(0, 1.02), xlim=(0, float(result.gaps[-1])))
        handles = [ax.plot([], [], color=c, ls=s, marker=m, ms=4)[0] for c, s, m in looks]
        ax.legend(handles, names, loc="upper right", handlelength=3)
    pair[0, 0].set_title("Equal noise")
    pair[0, 1].set_title(f"A noisier second set, N = {middle:g}")
    label_panels(pair)
    return {"integration": rates, "integration_law": figure}
