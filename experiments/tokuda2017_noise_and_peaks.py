"""Noise and number of peaks from one run each: Tokuda, Nagata and Okada (2017).

Figure: the free energy F(K, sigma^2) over the noise variance for every number of peaks K, its
distance from that of three peaks, the posterior of the noise, and p(K) with the noise summed over
beside p(K) at known noise.  J. Phys. Soc. Jpn. 86 (2017) 024001, arXiv 1607.07590.

The paper's: both K and the noise variance are chosen by the free energy, and a ladder that ends at
sigma_min^2 holds every larger noise, because the replica at beta sees sigma_min^2 / beta.  Its
data, priors and ladder are not printed where we could read them.

Ours: the spectrum and the priors of Nagata, Sugita and Okada (2012) as in
`nagata2012_number_of_peaks` (301 points, noise variance 0.01, generator seed 0); K = 1 ... 4;
sigma_min^2 = 0.0025, a quarter of the truth; noise log-uniform from there to 1; a tuned ladder,
4 chains, sweeps and seeds; reweighting between rungs.  The runs at known noise are those of
`nagata2012_number_of_peaks`.  The second step, the peaks at the chosen noise, is there too.

A trap: at a quarter of the true variance the best fourth peak sits *outside* the data, at
mu = -0.2, where the prior has 0.04 % of its mass and the tail fits the noise of a few points.  A
plain run meets it too seldom.  So the integral for K = 4 is taken in two parts, no centre
below 0.1 and one centre below, with a run for each; what is left out, two and more below, could
only lower F(4).

What may be claimed: the noise found is the true one, and with it p(K) is what it is at known
noise: K = 1 and 2 are excluded, 3 and 4 are not told apart.  Noise assumed too small overfits (more
peaks than there are), too large overlooks peaks.  A plain run with K = 4 is not to be believed at
a quarter of the true variance.
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
SECONDS = 61.0
CUT = 0.1             # centres below lie at the edge of the data
LEVELS = 121          # noise variances at which F is kept
EXACT = (0.0025, 0.005, 0.01, 0.025, 0.046, 0.1)   # variances of the quadrature


@dataclass(frozen=True)
class Settings:
    """Ours; the data and the priors are those of `nagata2012_number_of_peaks`."""

    K: tuple[int, ...] = (1, 2, 3, 4)
    parted: tuple[int, ...] = (4,)        # numbers of peaks whose integral is taken in two parts
    smallest: float = 0.0025
    largest: float = 1.0
    truth: float = 0.01
    sweeps: int = 2_000
    burn_in: int = 1_000
    chains: int = 4
    seed: int = 2017


SETTINGS = Settings()
QUICK = Settings(sweeps=60, burn_in=50)


@dataclass(frozen=True)
class Result:
    """F over the noise for every K, and what follows from it."""

    settings: dict[str, Any]
    K: Array
    variance: Array          # (levels,) noise variance
    F: Array                 # (models, levels), constant included (nats)
    F_error: Array
    plain: Array             # (parted, levels) of one plain run
    plain_error: Array
    edge: Array              # (parted, levels) of one centre below CUT
    best: Array              # (models,) variance of least F
    interval: Array          # (models, 2) 95 %, log-uniform
    least: Array             # (models,) F there
    least_error: Array
    summed: Array            # (models,) F with the noise summed over
    probability: Array       # (models,) with the noise summed over
    probability_error: Array
    known: Array             # (models,) F of other runs, at the true noise
    known_error: Array
    exact_at: Array          # variances of the quadrature
    exact: Array             # F of one peak there
    runs: list[str]          # "K = 1", ..., "K = 4, inside", "K = 4, edge", "K = 4, plain"
    trusted: list[bool]
    problems: list[list[str]]


def posterior(K: int, variance: float, edge: int | None = None) -> Any:
    """K peaks at a noise variance; of them ``edge`` have their centre below CUT, the others above
    (None: anywhere)."""
    from experiments.nagata2012_number_of_peaks import SETTINGS as PAPER
    from experiments.nagata2012_number_of_peaks import peak, spectrum
    from sampler import Data, Gamma, Model, Normal, Posterior

    x, y = spectrum(PAPER)
    height, narrowness = Gamma(5, 5), Gamma(5, 0.04)
    center, sd = 1.5, 5**-0.5
    inside = Normal(center, sd) if edge is None else Normal(center, sd, lo=CUT)
    model = Model.repeated(K - (edge or 0), peak(), a=height, b=narrowness, mu=inside)
    for k in range(edge or 0):
        model += Model.single(peak(), prefix=f"edge{k + 1}_", a=height, b=narrowness,
                              mu=Normal(center, sd, hi=CUT))
    return Posterior(model, Data(x, y, noise=math.sqrt(variance)))


def share_of_prior(K: int, edge: int) -> float:
    """-ln of the prior probability that exactly ``edge`` of K centres lie below CUT.

    Examples
    --------
    >>> round(sum(math.exp(-share_of_prior(4, k)) for k in range(5)), 12)
    1.0
    """
    from scipy.special import log_ndtr

    z = (CUT - 1.5) * 5**0.5
    return float(-math.log(math.comb(K, edge)) - edge * log_ndtr(z) - (K - edge) * log_ndtr(-z))


def levels(settings: Settings) -> Array:
    """Noise variances, even in their logarithm, the truth among them."""
    grid = np.geomspace(settings.smallest, settings.largest, LEVELS)
    return np.asarray(np.unique(np.append(grid, [settings.truth, *EXACT])))


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """A ladder for every K, and for each part where there are two."""
    from experiments import results
    from sampler import diagnose, free_energy_of_noise, sample
    from sampler.choice import probabilities

    variance = levels(settings)
    factors = np.clip(variance / settings.smallest, 1.0, settings.largest / settings.smallest)
    curves, diagnoses = {}, {}
    wanted = [(K, edge) for K in settings.K for edge in
              ((0, 1, None) if K in settings.parted else (None,))]
    for k, (K, edge) in enumerate(wanted):
        name = f"K = {K}" + (f", {PARTS[edge]}" if K in settings.parted else "")
        run = sample(posterior(K, settings.smallest, edge), settings.sweeps,
                     burn_in=settings.burn_in, chains=settings.chains, seed=settings.seed + k,
                     progress=progress and (lambda d, t, w, n=name: progress(d, t, f"{n}, {w}")))
        curve = free_energy_of_noise(run, 1.0, float(factors[-1]), also=factors)
        at = np.searchsorted(curve.factor, factors)
        prior = 0.0 if edge is None else share_of_prior(K, edge)
        curves[K, edge] = curve.free_energy[at] + prior, curve.free_energy_error[at]
        diagnoses[name] = diagnose(run)
    whole = [joined([curves[K, e] for e in (0, 1)] if K in settings.parted else [curves[K, None]])
             for K in settings.K]
    F, error = (np.array([w[i] for w in whole]) for i in (0, 1))
    best, interval, least, least_error, summed = map(np.array, zip(*(
        minimum(variance, f, e) for f, e in zip(F, error, strict=True)), strict=True))
    p, p_error = probabilities(summed, least_error)
    paper = results.load("nagata2012_number_of_peaks")
    rows = np.searchsorted(paper.K, settings.K)
    constant = 0.5 * len(paper.x) * math.log(2 * math.pi * settings.truth)
    return Result(
        settings=asdict(settings), K=np.array(settings.K, dtype=float), variance=variance,
        F=F, F_error=error, plain=np.array([curves[K, None][0] for K in settings.parted]),
        plain_error=np.array([curves[K, None][1] for K in settings.parted]),
        edge=np.array([curves[K, 1][0] for K in settings.parted]),
        best=best, interval=interval, least=least, least_error=least_error, summed=summed,
        probability=p, probability_error=p_error, known=paper.F[rows] + constant,
        known_error=paper.F_error[rows], exact_at=np.array(EXACT),
        exact=np.array([one_peak(posterior(1, v)) for v in EXACT]), runs=list(diagnoses),
        trusted=[d.trusted for d in diagnoses.values()],
        problems=[list(d.problems) for d in diagnoses.values()])


PARTS = {0: "inside", 1: "edge", None: "plain"}


def joined(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """-ln of the sum of the parts' integrals, and its error.

    Examples
    --------
    >>> F, error = joined([(np.array([1.0]), np.array([0.1])), (np.array([1.0]), np.array([0.1]))])
    >>> F.round(4), error.round(4)
    (array([0.3069]), array([0.0707]))
    """
    F, error = (np.array([part[i] for part in parts]) for i in (0, 1))
    total = -np.logaddexp.reduce(-F, axis=0)
    return total, np.sqrt(np.sum((np.exp(total - F) * error) ** 2, axis=0))


def minimum(variance: Array, F: Array, error: Array) -> tuple[float, Array, float, float, float]:
    """Variance of least F, its 95 % interval, F there and its error, F summed over ln sigma^2."""
    from scipy.interpolate import CubicSpline

    log = np.linspace(math.log(variance[0]), math.log(variance[-1]), 20_001)
    fine = CubicSpline(np.log(variance), F)(log)
    k = int(np.argmin(fine))
    density = np.exp(fine[k] - fine)
    mass = np.cumsum(density) * (log[1] - log[0])
    interval = np.exp(np.interp([0.025, 0.975], mass / mass[-1], log))
    at = float(np.interp(log[k], np.log(variance), error))
    return (math.exp(log[k]), interval, float(fine[k]), at,
            float(fine[k] - math.log(mass[-1] / (log[-1] - log[0]))))


def one_peak(one: Any, nodes: int = 31) -> float:
    """F of a posterior of one peak by the trapezoid rule over +-8 standard deviations around the
    mode, in the logarithms of height and precision (the integrand falls off on all sides)."""
    from scipy.optimize import minimize

    assert [n.rsplit("_", 1)[-1] for n in one.names] == ["a", "b", "mu"]

    def density(points: Array) -> Array:
        theta = points.copy()
        theta[:, :2] = np.exp(points[:, :2])
        return np.asarray(one.log_prior(theta) - one.energy(theta) + points[:, :2].sum(axis=1))

    start = [math.log(1.5), math.log(50.0), 1.5]
    mode = minimize(lambda p: -density(p[None])[0], start, method="Nelder-Mead",
                    options={"xatol": 1e-7, "fatol": 1e-9, "maxiter": 5000}).x
    step = 1e-4 * np.eye(3)
    curvature = np.array([[(density((mode + i - j)[None]) + density((mode - i + j)[None])
                            - density((mode + i + j)[None]) - density((mode - i - j)[None]))[0]
                           for i in step] for j in step]) / 4e-8
    root = np.linalg.cholesky(np.linalg.inv(curvature))
    axis = np.linspace(-8.0, 8.0, nodes)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    log_p = np.concatenate([density(mode + part @ root.T) for part in np.array_split(grid, 40)])
    volume = 3 * math.log(axis[1] - axis[0]) + float(np.log(np.diag(root)).sum())
    top = float(log_p.max())
    return float(one.constant - top - volume - math.log(np.exp(log_p - top).sum()))


def favoured(K: Array, F: Array) -> int:
    """The smallest K within 1 nat of the lowest F.

    Examples
    --------
    >>> favoured(np.array([2.0, 3.0, 4.0]), np.array([9.0, 1.2, 0.5]))
    3
    """
    return int(K[np.flatnonzero(F <= F.min() + 1.0)[0]])


def level(result: Result, variance: float) -> int:
    """Index of the noise variance nearest to one asked for."""
    return int(np.argmin(abs(np.log(result.variance / variance))))


def check(result: Result) -> Claims:
    """Against quadrature, the truth, runs at known noise, and both ends of the noise."""
    at = {int(k): i for i, k in enumerate(result.K)}
    one, three, four = at[1], at[3], at[4]
    truth = result.settings["truth"]
    exact = [level(result, v) for v in result.exact_at]
    small, large, true = (level(result, v) for v in (
        result.settings["smallest"], result.settings["largest"], truth))
    z = (result.F[:, true] - result.known) / np.hypot(result.F_error[:, true], result.known_error)
    worst = int(np.argmax(abs(z)))
    over, over_error = _gap(result, three, four, small)
    moved = float(np.max(abs(result.probability - _known(result))))
    plain = result.plain[result.settings["parted"].index(4)][small]
    doubted = {name for name, good in zip(result.runs, result.trusted, strict=True) if not good}
    decisive = {"K = 1", "K = 2", "K = 3", "K = 4, edge"}
    low, high = result.interval[three]
    return Claims([
        farthest("F(1) over the noise (nats)", result.F[one, exact], result.exact,
                 result.F_error[one, exact], [f"variance {v:g}" for v in result.exact_at]),
        Claim(f"F(K) at the true noise against runs that were told it (nats; farthest: "
              f"K = {result.K[worst]:.0f})", "-",
              float(result.F[worst, true]), float(result.F_error[worst, true]),
              bool(abs(z[worst]) < 4),
              f"theirs {result.known[worst]:.3f} ± {result.known_error[worst]:.3f}: "
              f"z = {z[worst]:+.1f}, 4 joint errors"),
        Claim("K favoured, noise found with it", "3 (truth)",
              float(favoured(result.K, result.least)), 0.0,
              favoured(result.K, result.least) == 3, "smallest K within 1 nat"),
        Claim("noise variance of least F, K = 3", f"{truth:g} (truth)", float(result.best[three]),
              0.0, bool(0.0085 < result.best[three] < 0.0115 and low < truth < high),
              f"0.0085 to 0.0115, and truth in the 95 % range, {low:.4f} to {high:.4f}"),
        Claim("the same, K = 2", "-", float(result.best[at[2]]), 0.0,
              bool(0.012 < result.best[at[2]] < result.best[one]),
              "> 0.012: what is not described is taken for noise"),
        Claim("the same, K = 1", "-", float(result.best[one]), 0.0,
              bool(result.best[one] > result.best[at[2]]), "> that of K = 2"),
        Claim("largest change of p(K) by not knowing the noise", "-", moved, 0.0, moved < 0.05,
              "< 0.05"),
        Claim(f"F(3) - F(4) at variance {result.variance[small]:g} (nats)", "-", over, over_error,
              over - 4 * over_error > 5, "> 5 with 4 errors: too small a noise overfits"),
        Claim(f"K favoured at variance {result.variance[large]:g}", "-",
              float(favoured(result.K, result.F[:, large])), 0.0,
              favoured(result.K, result.F[:, large]) < 3, "< 3: too large a noise overlooks"),
        Claim("runs of K = 1, 2, 3 and of the edge that are not trusted", "-",
              ", ".join(sorted(doubted & decisive)) or "none", 0.0, not doubted & decisive, "none"),
        Claim(f"plain run: F(4) there minus that of the two parts, variance "
              f"{result.variance[small]:g} (nats)", "-", float(plain - result.F[four, small]), 0.0,
              None, "listed: how far a plain run is off"),
        Claim("other runs that are not trusted at the smallest noise", "-",
              ", ".join(sorted(doubted - decisive)) or "none", 0.0, None,
              "listed; of K = 4 at larger noise see the second line")])


def _gap(result: Result, first: int, second: int, at: int) -> tuple[float, float]:
    return (float(result.F[first, at] - result.F[second, at]),
            float(np.hypot(result.F_error[first, at], result.F_error[second, at])))


def _known(result: Result) -> Array:
    """p(K) of the runs that were told the noise."""
    weight = np.exp(result.known.min() - result.known)
    return np.asarray(weight / weight.sum())


@styled
def draw(result: Result) -> dict[str, Any]:
    """F over the noise, its distance from three peaks, the noise, and p(K)."""
    from scipy.interpolate import CubicSpline

    from experiments.figures import (
        BLACK,
        BLUE,
        GREEN,
        ORANGE,
        PINK,
        RED,
        SKY,
        label_panels,
        panels,
        plain_ticks,
    )

    figure, axes = panels(2, 2, 7.4, 5.6)
    energy, apart, noise, peaks = axes.flat
    truth, v = result.settings["truth"], result.variance
    looks = dict(zip((1, 2, 3, 4, 5), ((ORANGE, ":"), (GREEN, "-."), (BLUE, "-"), (RED, "--"),
                                       (PINK, (0, (5, 1, 1, 1, 1, 1)))), strict=True))
    three = int(np.searchsorted(result.K, 3))
    for i, K in enumerate(result.K.astype(int)):
        color, style = looks[K]
        energy.plot(v, result.F[i], color=color, ls=style, label=f"K = {K}")
        energy.plot(result.best[i], result.least[i], "o", color=color, ms=4,
                    mfc="white" if K == 4 else color, zorder=4 if K == 4 else 3)
        if K != 3:
            gap = result.F[i] - result.F[three]
            error = 1.96 * np.hypot(result.F_error[i], result.F_error[three])
            apart.plot(v, gap, color=color, ls=style, label=f"K = {K}")
            apart.fill_between(v, gap - error, gap + error, color=color, alpha=0.25, lw=0)  # 95 %
        fine = np.geomspace(0.006, 0.04, 400)
        curve = CubicSpline(np.log(v), result.F[i])(np.log(fine))
        density = np.exp(result.summed[i] - curve) / math.log(v[-1] / v[0])
        noise.plot(fine, density, color=color, ls=style, label=f"K = {K}")
    energy.axvline(truth, color=BLACK, lw=0.8, ls=":")
    energy.set(xscale="log", xlabel=r"noise variance $\sigma^2$", ylabel="F (nats)",
               ylim=(-270, 320), title=r"$F(K, \sigma^2)$ (dots: minima)")
    energy.legend(loc="upper center")
    for i, K in enumerate(result.settings["parted"]):
        gap = result.plain[i] - result.F[three]
        apart.plot(v, gap, color=BLACK, lw=0.9, label=f"K = {K}, plain run")
    apart.axhspan(-1.0, 1.0, color="0.9", lw=0, zorder=0)
    apart.axvline(truth, color=BLACK, lw=0.8, ls=":")
    apart.set_yscale("symlog", linthresh=3.0)
    plain_ticks(apart.yaxis, [-10, -3, -1, 0, 1, 3, 10, 30, 100, 300, 1000])
    apart.set(xscale="log", xlabel=r"noise variance $\sigma^2$", ylabel="F(K) - F(3) (nats)",
              ylim=(-14, 8000), title="Fewer, or more? (grey: 1 nat)")
    apart.legend(loc="upper right", ncols=2)
    noise.axvline(truth, color=BLACK, lw=0.8, ls=":", label="truth")
    noise.set(xscale="log", xlim=(0.006, 0.04), ylim=(0, 7.4),
              xlabel=r"noise variance $\sigma^2$", ylabel=r"density (per unit of $\ln\sigma^2$)",
              title="Posterior of the noise")
    plain_ticks(noise.xaxis, [0.006, 0.01, 0.02, 0.04])
    noise.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    noise.legend(loc="upper right", ncols=3)
    for values, error, shift, color, words in (
            (result.probability, result.probability_error, -0.2, BLUE, "noise summed over"),
            (_known(result), None, 0.2, SKY, "noise known")):
        peaks.bar(result.K + shift, values, 0.36, yerr=None if error is None else 1.96 * error,
                  color=color, label=words)
    peaks.set(xlabel="number of peaks K", ylabel="p(K | data)", xticks=result.K, ylim=(0, 1),
              title="Number of peaks (bars: 95 %)")
    peaks.legend(loc="upper left")
    label_panels(axes)
    return {"noise_and_peaks": figure}
