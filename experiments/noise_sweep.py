"""How does the noise decide the number of peaks, and what do the criteria say?  A sweep of both.

Figure: the number of peaks that the free energy favours, and p(K), over the noise of the data;
how often each criterion picks which K.  The problem is that of Nagata, Sugita and Okada, Neural
Networks 28 (2012) 82-89; criteria beside the free energy are the theme of Shinotsuka et al., STAM
21 (2020) 402.

The paper's: the model, the priors, the true peaks, the 301 points (see
`nagata2012_number_of_peaks`), known noise.

Ours: noise 0.05, 0.2 and 1 (the paper's is 0.1), three realisations of it, the same ones
scaled; K = 1 ... 4; sweeps and seeds; the criteria, all of them from the same runs.  AIC, BIC and
Laplace's approximation around the best mode (with ln K! for the orderings) start their searches
from draws of the run; WBIC is <U> at beta = 1/ln n; WAIC is computed from the draws.

What may be claimed: with noise up to 0.2 three peaks are found, and a fourth is not excluded, no
matter how small the noise; with noise 1 three peaks cannot be told from fewer.  BIC is sure of
three where the free energy is not.  WAIC, made for prediction, does not mind a peak too many.
Three realisations show what happens, not how often to a few per cent.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, farthest
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 80.0
CRITERIA = ("F, rule", "F, lowest", "Laplace", "WBIC", "BIC", "AIC", "WAIC")
DRAWS = 2_000         # at which the likelihood of every point is computed
STARTS = 12           # draws from which a mode is searched
FINE = 0.2            # noise up to which the third peak is to be found


@dataclass(frozen=True)
class Settings:
    """Noise levels and realisations are ours."""

    noises: tuple[float, ...] = (0.05, 0.2, 1.0)
    realisations: int = 3
    K: tuple[int, ...] = (1, 2, 3, 4)
    sweeps: int = 300
    burn_in: int = 600
    chains: int = 4
    seed: int = 402


SETTINGS = Settings()
QUICK = Settings(noises=(0.2, 1.0), realisations=1, sweeps=100, burn_in=100)


@dataclass(frozen=True)
class Result:
    """Criteria in nats, without the constant; arrays (noises, realisations, models)."""

    settings: dict[str, Any]
    F: Array
    F_error: Array
    least: Array          # smallest U found
    waic: Array
    waic_error: Array
    wbic: Array
    wbic_error: Array
    laplace: Array        # minus ln K!; None where the best mode is no minimum
    exact: Array          # (noises up to FINE, realisations) F(1) by quadrature
    doubts: Array         # 1 where a run is not trusted


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Every K at every noise, for every realisation."""
    from experiments.nagata2012_number_of_peaks import SETTINGS as PAPER
    from experiments.nagata2012_number_of_peaks import posterior
    from experiments.tokuda2017_noise_and_peaks import one_peak
    from sampler import diagnose, free_energy, sample
    from sampler.reweighting import tempered

    shape = (len(settings.noises), settings.realisations, len(settings.K))
    keys = ("F", "F_error", "least", "waic", "waic_error", "wbic", "wbic_error", "laplace",
            "doubts")
    out = {key: np.zeros(shape) for key in keys}
    exact: list[list[float]] = []
    for cell in np.ndindex(*shape):
        noise, K = settings.noises[cell[0]], settings.K[cell[2]]
        problem = posterior(K, replace(PAPER, noise=noise, data_seed=cell[1]))
        words = f"noise {noise:g}, realisation {cell[1] + 1}, K = {K}"
        run = sample(problem, settings.sweeps, burn_in=settings.burn_in, chains=settings.chains,
                     seed=settings.seed + int(np.ravel_multi_index(cell, shape)),
                     progress=progress and (lambda d, t, w, n=words: progress(d, t, f"{n}, {w}")))
        found = free_energy(run)
        (warm,) = tempered(run, np.array([1.0 / math.log(problem.size)]))
        waic, waic_error = waic_of(run)
        least, laplace = modes(problem, starts_of(run))
        values = (found.reduced, found.error, least, waic, waic_error, warm.mean_energy,
                  warm.mean_energy_error, laplace, float(not diagnose(run).trusted))
        for key, value in zip(keys, values, strict=True):
            out[key][cell] = value
        if K == 1 and noise <= FINE:
            exact += [[]] if cell[1] == 0 else []
            exact[-1].append(one_peak(problem) - problem.constant)
    return Result(settings=asdict(settings), exact=np.array(exact), **out)


def waic_of(run: Any) -> tuple[float, float]:
    """WAIC without the constant, and its Monte Carlo error, from at most DRAWS draws."""
    from sampler.information import log_likelihoods
    from sampler.reweighting import standard_error

    step = max(1, math.ceil(run.chains * run.sweeps / DRAWS))
    draws = run.draws[:, run.sweeps % step::step]
    log_p = log_likelihoods(run.posterior, draws)
    top = log_p.max(axis=(0, 1))
    likelihood = np.exp(log_p - top)
    mean, away = likelihood.mean(axis=(0, 1)), log_p - log_p.mean(axis=(0, 1))
    variance = (away**2).sum(axis=(0, 1)) / (away[..., 0].size - 1)
    value = float(np.sum(variance - top - np.log(mean)))
    influence = np.sum(away**2 - variance - (likelihood / mean - 1.0), axis=-1)
    return value - run.posterior.constant, standard_error(influence)


def starts_of(run: Any) -> Array:
    """Draws at beta = 1 from which modes are searched: the lowest one, and others evenly."""
    theta = run.draws.reshape(-1, run.draws.shape[-1])
    lowest = theta[np.argmin(run.energy[..., -1].ravel())]
    return np.vstack([lowest, theta[:: max(1, len(theta) // (STARTS - 1))][:STARTS - 1]])


def residuals(problem: Any, u: Array) -> tuple[Array, Array]:
    """(f - y) / sigma and its derivatives by u = (ln a, ln b, mu) of every peak.

    Parameters
    ----------
    problem : Posterior
    u : array (3 K,)

    Returns
    -------
    array (points,), array (points, 3 K)
    """
    data = problem.blocks[0].data
    log_a, log_b, mu = (u[k::3, None] for k in range(3))
    away = data.x - mu
    bend = np.exp(log_b) * away
    peaks = np.exp(log_a - 0.5 * bend * away) / data.deviation
    slopes = np.stack([peaks, -0.5 * bend * away * peaks, bend * peaks], axis=1)
    return peaks.sum(axis=0) - data.y / data.deviation, slopes.reshape(len(u), -1).T


def prior_slope(u: Array) -> Array:
    """Derivative of -ln prior(a, b, mu) by u, of the paper's priors."""
    slope = np.empty_like(u)
    slope[0::3] = 5.0 * np.exp(u[0::3]) - 4.0
    slope[1::3] = 0.04 * np.exp(u[1::3]) - 4.0
    slope[2::3] = 5.0 * (u[2::3] - 1.5)
    return slope


def modes(problem: Any, starts: Array) -> tuple[float, float]:
    """The least U, and Laplace's approximation of F around the posterior's highest mode, without
    the constant and with ln K! taken off for the orderings of the peaks; nan if it is no minimum.
    """
    from scipy.optimize import least_squares, minimize

    def theta(u: Array) -> Array:
        values = u.copy()
        values[0::3], values[1::3] = np.exp(u[0::3]), np.exp(u[1::3])
        return values

    def height(u: Array) -> tuple[float, Array]:
        r, slopes = residuals(problem, u)
        return (float(0.5 * r @ r - problem.log_prior(theta(u))), r @ slopes + prior_slope(u))

    least, best = math.inf, (math.inf, np.zeros(0))
    for start in starts:
        u = start.copy()
        u[0::3], u[1::3] = np.log(start[0::3]), np.log(start[1::3])
        with np.errstate(over="ignore", invalid="ignore"):
            fit = least_squares(lambda v: residuals(problem, v)[0], u, method="trf", max_nfev=100,
                                jac=lambda v: residuals(problem, v)[1],
                                bounds=(u - 8.0, u + 8.0))
            top = minimize(height, u, jac=True, method="BFGS", options={"maxiter": 300})
        least, best = min(least, float(fit.cost)), min(best, (float(top.fun), top.x),
                                                       key=lambda pair: pair[0])
    at = theta(best[1])
    scale = at.copy()
    scale[2::3] = 1.0                       # du / dtheta = 1 / scale
    step = 1e-5 * np.eye(len(at))
    bent = np.array([(height(best[1] + s)[1] - height(best[1] - s)[1]) / 2e-5 for s in step])
    # At a stationary point the second derivatives by theta are those by u, rescaled.
    curvature = 0.5 * (bent + bent.T) / np.outer(scale, scale)
    sign, log_det = np.linalg.slogdet(curvature)
    if sign <= 0 or np.linalg.eigvalsh(curvature / np.sqrt(np.outer(
            abs(np.diag(curvature)), abs(np.diag(curvature)))))[0] <= 0:
        return least, math.nan
    return least, (best[0] - 0.5 * len(at) * math.log(2 * math.pi) + 0.5 * float(log_det)
                   - math.lgamma(len(at) // 3 + 1))


def chosen(result: Result) -> dict[str, Array]:
    """The K that each criterion picks, array (noises, realisations) for each of CRITERIA."""
    K = np.array(result.settings["K"])
    n = 301
    values = {"F, lowest": result.F, "Laplace": result.laplace, "WBIC": result.wbic,
              "BIC": result.least + 1.5 * K * math.log(n), "AIC": result.least + 3 * K,
              "WAIC": result.waic}
    picks = {name: K[np.nanargmin(v.astype(float), axis=-1)] for name, v in values.items()}
    near = result.F <= result.F.min(axis=-1, keepdims=True) + 1.0
    return {"F, rule": K[np.argmax(near, axis=-1)], **picks}


def probability(F: Array) -> Array:
    """p(K) of equal prior probability, along the last axis."""
    weight = np.exp(F.min(axis=-1, keepdims=True) - F)
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def check(result: Result) -> Claims:
    """Against quadrature, the truth, and what is known of the criteria."""
    noises = np.array(result.settings["noises"])
    K = np.array(result.settings["K"])
    two, three, four = (int(np.flatnonzero(K == k)[0]) for k in (2, 3, 4))
    fine = noises <= FINE
    picks, count = chosen(result), int(fine.sum()) * result.F.shape[1]
    kept = int(np.sum(picks["F, rule"][fine] == 3))
    coarse = picks["F, rule"][np.argmax(noises)]
    p_fourth = probability(result.F)[fine][..., four]
    gap = result.F[..., two] - result.F[..., three]
    scaled = (gap * noises[:, None] ** 2)[fine].mean(axis=1)
    bic = result.least + 1.5 * K * math.log(301)
    sure = float((probability(bic) - probability(result.F))[fine][..., three].mean())
    waic = (result.waic[..., four] - result.waic[..., three])[fine]
    waic_error = float(np.sqrt(np.sum(result.waic_error[fine][:, :, [three, four]] ** 2))) / count
    off = np.abs(result.laplace - result.F)[fine]
    found = float(np.max(off[..., :three + 1]))
    below = [f"noise {v:g}, realisation {r + 1}" for v in noises[fine]
             for r in range(result.F.shape[1])]
    decided = result.doubts[fine][..., :three + 1]
    return Claims([
        farthest("F(1) (nats)", result.F[fine][..., 0].ravel(), result.exact.ravel(),
                 result.F_error[fine][..., 0].ravel(), below),
        Claim(f"data sets with noise up to {FINE:g} in which the rule finds K = 3, of {count}",
              f"{count} (truth)", float(kept), 0.0, kept >= count - 1, "all but one at most"),
        Claim(f"data sets with noise {noises.max():g} in which it finds fewer, of {len(coarse)}",
              "-", float(np.sum(coarse < 3)), 0.0, bool(np.sum(coarse < 3) >= len(coarse) - 1),
              "all but one at most"),
        Claim(f"smallest p(K = 4), noise up to {FINE:g}", "-", float(p_fourth.min()), 0.0,
              bool(p_fourth.min() > 0.05), "> 0.05: not excluded, however small the noise"),
        Claim(f"(F(2) - F(3)) sigma^2, noise {noises[fine][-1]:g} over noise {noises[0]:g}",
              "1 (limit)", float(scaled[-1] / scaled[0]), 0.0,
              bool(0.7 < scaled[-1] / scaled[0] < 1.4), "0.7 to 1.4"),
        Claim("p(K = 3) by BIC minus that by F, mean, same data sets", "-", sure, 0.0, sure > 0.2,
              "> 0.2: sure of what is open"),
        Claim("WAIC(4) - WAIC(3), mean, same data sets (nats)", "-", float(waic.mean()), waic_error,
              bool(abs(waic.mean()) < 1.0), "within 1: no penalty for the surplus peak"),
        Claim("|Laplace - F|, K up to 3, same data sets, largest (nats)", "0 (limit)", found, 0.0,
              found < 0.5, "< 0.5"),
        Claim("the same, K = 4 (nats)", "-", float(np.nanmax(off[..., four])), 0.0, None,
              "listed: a surplus peak has no single mode"),
        Claim("runs of K up to 3 that are not trusted, same data sets, of "
              f"{decided.size}", "-", float(decided.sum()), 0.0, bool(decided.mean() < 0.2),
              "fewer than a fifth: the runs are short"),
        Claim("largest error of F (nats)", "-", float(result.F_error.max()), 0.0,
              bool(result.F_error.max() < 0.3), "< 0.3, the rule asks for 1 nat")])


@styled
def draw(result: Result) -> dict[str, Any]:
    """F against the number of peaks, p(K) over the noise, and what each criterion picks."""
    from experiments.figures import (
        BLUE,
        GREEN,
        ORANGE,
        PINK,
        RED,
        label_panels,
        panels,
        plain_ticks,
    )

    figure, axes = panels(1, 3, 9.6, 3.4)
    gaps, shares, picks = axes.flat
    noises, K = np.array(result.settings["noises"]), np.array(result.settings["K"])
    three = int(np.flatnonzero(K == 3)[0])
    spread = np.exp(np.linspace(-0.06, 0.06, result.F.shape[1]))
    looks = {1: (ORANGE, ":", "v"), 2: (GREEN, "-.", "s"), 3: (BLUE, "-", "o"),
             4: (RED, "--", "D")}
    p = probability(result.F)
    for k, number in enumerate(K):
        color, style, marker = looks[int(number)]
        shares.plot(noises, p[..., k].mean(axis=1), color=color, ls=style, label=f"K = {number}")
        for r, shift in enumerate(spread):
            shares.plot(noises * shift, p[:, r, k], marker, color=color, ms=3.5)
            if number != 3:
                gap = result.F[:, r, k] - result.F[:, r, three]
                error = 1.96 * np.hypot(result.F_error[:, r, k], result.F_error[:, r, three])
                gaps.errorbar(noises * shift, gap, error, fmt=marker, color=color, ms=3.5,
                              label=f"K = {number}" if r == 0 else None)
    gaps.axhspan(-1.0, 1.0, color="0.9", lw=0, zorder=0)
    gaps.set_yscale("symlog", linthresh=3.0)
    plain_ticks(gaps.yaxis, [-3, -1, 0, 1, 3, 10, 30, 100, 300, 1000])
    gaps.set(xscale="log", xlabel=r"noise $\sigma$ (dimensionless)", ylabel="F(K) - F(3) (nats)",
             title="Free energy (grey: 1 nat)", ylim=(-4, 2500))
    gaps.legend(loc="upper right")
    shares.set(xscale="log", xlabel=r"noise $\sigma$ (dimensionless)", ylabel="p(K | data)",
               ylim=(0, 1), title="Probability (lines: mean)")
    shares.legend(loc="upper left", ncols=2)
    for ax in (gaps, shares):
        ax.set_xticks(noises, [f"{v:g}" for v in noises])
        ax.minorticks_off()
    _draw_picks(picks, chosen(result), noises, K, {1: ORANGE, 2: GREEN, 3: BLUE, 4: PINK})
    label_panels(axes)
    return {"noise_sweep": figure}


def _draw_picks(ax: Any, picks: dict[str, Array], noises: Array, K: Array,
                colors: dict[int, str]) -> None:
    """One square for each criterion and data set, with the K picked written in it."""
    realisations = next(iter(picks.values())).shape[1]
    for row, name in enumerate(CRITERIA):
        for i in range(len(noises)):
            for r in range(realisations):
                k = int(picks[name][i, r])
                at = i * (realisations + 0.6) + r
                ax.add_patch(_square(at, row, colors[k]))
                ax.text(at + 0.5, row + 0.5, f"{k}", ha="center", va="center", fontsize=7)
    wide = realisations + 0.6
    ax.set(xlim=(-0.2, wide * len(noises) - 0.4), ylim=(len(CRITERIA) + 0.1, -0.1),
           xlabel=r"noise $\sigma$, each realisation", title="K picked (truth: 3)")
    ax.set_xticks([i * wide + realisations / 2 for i in range(len(noises))],
                  [f"{v:g}" for v in noises])
    ax.set_yticks(np.arange(len(CRITERIA)) + 0.5, CRITERIA)
    ax.tick_params(length=0)


def _square(x: float, y: float, color: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x + 0.04, y + 0.06), 0.92, 0.88, facecolor=color, alpha=0.45, lw=0)
