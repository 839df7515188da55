"""How does the noise decide the number of peaks, and what do the criteria say?  A sweep of both.

Figure: the number of peaks that the free energy favours, and p(K), over the noise of the data;
which K each criterion picks, and Laplace's approximation against F.  The problem is that of Nagata,
Sugita and Okada, Neural Networks 28 (2012) 82-89.  BIC beside exchange Monte Carlo is a theme of
Shinotsuka et al., STAM 21 (2020) 402, on peaks of another shape; no number of theirs is used.

The paper's: the model, the priors, the true peaks, the 301 points, noise 0.1 (see
`nagata2012_number_of_peaks`), known to the model.

Ours: noise 0.05, 0.3 and 1 beside it; three realisations, each the same numbers at every noise,
only scaled, the first being that of `nagata2012_number_of_peaks` (all synthetic); K = 1 ... 4;
sweeps and seeds; the criteria, all of them from the same runs.

What may be claimed: with noise up to 0.3 three peaks are found, and a fourth is not excluded, even
at noise 0.05.  BIC is on average surer of three than the free energy.  WAIC, made for prediction,
takes less than a nat for a peak too many.  Laplace's approximation is right up to three peaks and
noise 0.1, where every peak has its place.  With four peaks, or more noise, the posterior is not
that of a regular model: the highest mode with four has one peak twice, and what Laplace gives is
listed only.

What may not: that with noise 1 three peaks cannot be told from fewer; that differs from one
realisation to the next, and is listed.  Nor that WBIC picks what F does.  AIC and BIC rest on the
lowest valley that is found, which with a surplus peak is a spike on few points that draws of the
run seldom see; it is searched for where the residuals ask for a peak, too.  Picks within 1 nat are
left open, and BIC's certainty is claimed with a nat granted to a valley that was missed.  Three
realisations show what happens, not how often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, farthest
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 150.0
POINTS = 301          # of the paper
CRITERIA = ("F, rule", "F, lowest", "WBIC", "BIC", "AIC", "WAIC")
STARTS = 12           # points from which a mode or a valley is searched
FINE = 0.3            # noise up to which the third peak is to be found
SHARP = 0.1           # noise up to which three peaks have one mode, but for their order
VALLEY = 1.0          # nats by which the lowest valley may have been missed


@dataclass(frozen=True)
class Settings:
    """Ours, but for the noise 0.1; ``sweeps`` and ``burn_in`` by number of peaks."""

    noises: tuple[float, ...] = (0.05, 0.1, 0.3, 1.0)
    realisations: int = 3
    K: tuple[int, ...] = (1, 2, 3, 4)       # from 1, each one more than the last
    sweeps: tuple[int, ...] = (2_000, 2_000, 2_000, 6_000)     # a surplus peak wanders
    burn_in: tuple[int, ...] = (1_000, 1_000, 1_000, 2_000)
    chains: int = 4
    seed: int = 402


SETTINGS = Settings()
QUICK = Settings(noises=(0.1, 0.3, 1.0), realisations=1, sweeps=(40,) * 4, burn_in=(40,) * 4)


@dataclass(frozen=True)
class Result:
    """Criteria in nats, without the constant; arrays (noises, realisations, models)."""

    settings: dict[str, Any]
    F: Array
    F_error: Array
    least: Array          # lowest valley of U that was found
    waic: Array
    waic_error: Array
    wbic: Array           # <U> at beta = 1 / ln n
    wbic_error: Array
    heat: Array           # Var U at beta = 1: half the number of parameters, if regular
    heat_error: Array
    laplace: Array        # minus ln K!; None where the highest mode found is no maximum
    doubts: Array         # 1 where a run is not trusted
    exact: Array          # (noises up to FINE, realisations) F(1) by quadrature


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Every K at every noise, for every realisation."""
    from experiments.nagata2012_number_of_peaks import SETTINGS as PAPER
    from experiments.nagata2012_number_of_peaks import posterior
    from experiments.tokuda2017_noise_and_peaks import one_peak
    from sampler import criteria, diagnose, sample

    shape = (len(settings.noises), settings.realisations, len(settings.K))
    keys = ("F", "F_error", "least", "waic", "waic_error", "wbic", "wbic_error", "heat",
            "heat_error", "laplace", "doubts")
    out = {key: np.zeros(shape) for key in keys}
    exact: list[list[float]] = []
    fit = np.zeros(0)     # lowest valley of one peak fewer
    for cell in np.ndindex(*shape):
        noise, K = settings.noises[cell[0]], settings.K[cell[2]]
        problem = posterior(K, replace(PAPER, noise=noise, data_seed=cell[1]))
        words = f"noise {noise:g}, realisation {cell[1] + 1}, K = {K}"
        run = sample(problem, settings.sweeps[cell[2]], burn_in=settings.burn_in[cell[2]],
                     chains=settings.chains,
                     seed=settings.seed + int(np.ravel_multi_index(cell, shape)),
                     progress=progress and (lambda d, t, w, n=words: progress(d, t, f"{n}, {w}")))
        found, c, draws = criteria(run), problem.constant, starts_of(run)
        least, fit = lowest_valley(
            problem, [*draws, *one_more(problem, fit if cell[2] else np.zeros(0))])
        values = (found.free_energy.reduced, found.free_energy.error,
                  min(least, found.least - c), found.waic - c, found.waic_error, found.wbic - c,
                  found.wbic_error, found.specific_heat, found.specific_heat_error,
                  laplace(problem, draws), float(not diagnose(run).trusted))
        for key, value in zip(keys, values, strict=True):
            out[key][cell] = value
        if K == 1 and noise <= FINE:
            exact += [[]] if cell[1] == 0 else []
            exact[-1].append(one_peak(problem) - c)
    return Result(settings=asdict(settings), exact=np.array(exact), **out)


def starts_of(run: Any) -> Array:
    """Draws at beta = 1 from which modes are searched, in u: the lowest one, and others evenly."""
    theta = run.draws.reshape(-1, run.draws.shape[-1])
    lowest = theta[np.argmin(run.energy[..., -1].ravel())]
    u = np.vstack([lowest, theta[:: max(1, len(theta) // (STARTS - 1))][:STARTS - 1]])
    u[:, 0::3], u[:, 1::3] = np.log(u[:, 0::3]), np.log(u[:, 1::3])
    return u


def one_more(problem: Any, fit: Array) -> Array:
    """Starts with one peak more than a fit, array (STARTS, 3 K): where a peak of the best width,
    down to a single point's, would take most from the residuals."""
    data = problem.blocks[0].data
    off = -residuals(problem, fit)[0] if len(fit) else data.y / data.deviation
    mu, log_b = np.linspace(-0.5, 3.5, 801), np.log(np.geomspace(10.0, 3e5, 24))
    away = (data.x - mu[:, None]) ** 2
    shapes = [np.exp(-0.5 * math.exp(v) * away) / data.deviation for v in log_b]
    # A template in the gap between two points, or outside of them, has no height of its own.
    heights = np.array([(g @ off) / np.maximum((g**2).sum(axis=1), 1.0) for g in shapes])
    gain = np.array([(g @ off) * h for g, h in zip(shapes, heights, strict=True)])
    gain[heights <= 0.0] = 0.0
    width = gain.argmax(axis=0)
    best = gain.max(axis=0)
    inner = np.flatnonzero((best[1:-1] >= best[:-2]) & (best[1:-1] > best[2:])) + 1
    top = inner[np.argsort(-best[inner])[:STARTS]]
    return np.array([[*fit, math.log(heights[width[t], t]), log_b[width[t]], mu[t]] for t in top])


def lowest_valley(problem: Any, starts: Sequence[Array]) -> tuple[float, Array]:
    """The least U that descents from the starts lead to, and where."""
    from scipy.optimize import least_squares

    found = []
    for u in starts:
        with np.errstate(over="ignore", invalid="ignore"):
            fit = least_squares(lambda v: residuals(problem, v)[0], u, method="trf", max_nfev=100,
                                jac=lambda v: residuals(problem, v)[1],
                                bounds=(u - 8.0, u + 8.0), x_scale="jac")
        found.append((float(fit.cost), fit.x))
    return min(found, key=lambda pair: pair[0])


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
    out = np.empty_like(u)
    out[0::3] = 5.0 * np.exp(u[0::3]) - 4.0
    out[1::3] = 0.04 * np.exp(u[1::3]) - 4.0
    out[2::3] = 5.0 * (u[2::3] - 1.5)
    return out


def in_units(u: Array) -> Array:
    """theta = (a, b, mu) of every peak from u."""
    theta = u.copy()
    theta[0::3], theta[1::3] = np.exp(u[0::3]), np.exp(u[1::3])
    return theta


def laplace(problem: Any, starts: Array) -> float:
    """Laplace's approximation of F around the highest mode of the posterior that the starts lead
    to, without the constant and with ln K! taken off for the orderings of the peaks; nan if it is
    no maximum."""
    from scipy.optimize import minimize

    def height(u: Array) -> tuple[float, Array]:
        r, slopes = residuals(problem, u)
        return (float(0.5 * r @ r - problem.log_prior(in_units(u))),
                r @ slopes + prior_slope(u))

    best, u = math.inf, np.zeros(0)
    for start in starts:
        with np.errstate(over="ignore", invalid="ignore"):
            found = minimize(height, start, jac=True, method="BFGS", options={"maxiter": 300})
        if found.fun < best:
            best, u = float(found.fun), found.x
    scale = in_units(u)
    scale[2::3] = 1.0                       # du / dtheta = 1 / scale
    bent = np.array([(height(u + s)[1] - height(u - s)[1]) / 2e-5 for s in 1e-5 * np.eye(len(u))])
    # At a stationary point the second derivatives by theta are those by u, rescaled.
    curvature = 0.5 * (bent + bent.T) / np.outer(scale, scale)
    # Relative to the diagonal, because heights and precisions are numbers of other sizes.
    width = np.sqrt(abs(np.diag(curvature)))
    values = np.linalg.eigvalsh(curvature / np.outer(width, width))
    if values[0] <= 0.0:
        return math.nan
    log_det = float(np.sum(np.log(values)) + 2.0 * np.sum(np.log(width)))
    return (best + 0.5 * log_det - 0.5 * len(u) * math.log(2 * math.pi)
            - math.lgamma(len(u) // 3 + 1))


def values_of(result: Result) -> dict[str, tuple[Array, Array]]:
    """Every criterion, and how far two values of it must lie apart to be told apart (nats); arrays
    (noises, realisations, models), the second one for each model against the favoured one."""
    K = np.array(result.settings["K"])
    out = {}
    for name, value, error in (
            ("F, lowest", result.F, result.F_error), ("WBIC", result.wbic, result.wbic_error),
            ("WAIC", result.waic, result.waic_error),
            ("BIC", result.least + 1.5 * K * math.log(POINTS), None),
            ("AIC", result.least + 3 * K, None)):
        if error is None:
            out[name] = value, np.full_like(value, VALLEY)
        else:
            best = np.take_along_axis(error, value.argmin(axis=-1)[..., None], axis=-1)
            out[name] = value, 2.0 * np.hypot(error, best)
    return out


def picked(result: Result) -> dict[str, Array]:
    """The K that each criterion picks, array (noises, realisations) for each of CRITERIA."""
    K = np.array(result.settings["K"])
    near = result.F <= result.F.min(axis=-1, keepdims=True) + 1.0
    return {"F, rule": K[np.argmax(near, axis=-1)],
            **{name: K[value.argmin(axis=-1)] for name, (value, _) in values_of(result).items()}}


def left_open(result: Result) -> dict[str, NDArray[np.bool_]]:
    """Which K a criterion cannot tell from the one it picks: within 2 joint errors, AIC and BIC
    within 1 nat; arrays (noises, realisations, models), the pick itself included."""
    out = {name: value - value.min(axis=-1, keepdims=True) <= apart
           for name, (value, apart) in values_of(result).items()}
    apart = values_of(result)["F, lowest"][1]
    over = result.F - result.F.min(axis=-1, keepdims=True) - 1.0
    # The rule: the first K that is surely within 1 nat, and those before it that may be.
    first = np.argmax(over <= -apart, axis=-1)[..., None]
    K = np.arange(result.F.shape[-1])
    return {"F, rule": (K == first) | ((K < first) & (over <= apart)), **out}


def probability(F: Array) -> Array:
    """p(K) of equal prior probability, along the last axis."""
    weight = np.exp(F.min(axis=-1, keepdims=True) - F)
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def check(result: Result) -> Claims:
    """Against quadrature, the truth, and what is known of the criteria."""
    noises = np.array(result.settings["noises"])
    two, three, four = (result.settings["K"].index(k) for k in (2, 3, 4))
    fine, sharp = noises <= FINE, noises <= SHARP
    sets = int(fine.sum()) * result.F.shape[1]
    same = f"noise up to {FINE:g}"
    names = [f"noise {v:g}, realisation {r + 1}" for v in noises[fine]
             for r in range(result.F.shape[1])]
    kept = int(np.sum(picked(result)["F, rule"][fine] == 3))
    p = probability(result.F)
    p_error = p[..., four] * (1 - p[..., four]) * np.hypot(result.F_error[..., three],
                                                           result.F_error[..., four])
    at = np.unravel_index(int(np.argmin(p[fine][..., four])), p[fine].shape[:2])
    first = (result.F[..., four] - result.F[..., three])[fine, 0]
    scaled = ((result.F[..., two] - result.F[..., three]) * noises[:, None] ** 2).mean(axis=1)
    ratio = scaled / scaled[0]
    missed = result.least - VALLEY * (np.arange(result.F.shape[-1]) == four)
    bic = missed + 1.5 * np.array(result.settings["K"]) * math.log(POINTS)
    sure = float((probability(bic) - p)[fine][..., three].mean())
    waic = (result.waic[..., four] - result.waic[..., three])[fine]
    waic_error = float(np.sqrt(np.sum(result.waic_error[fine][..., [three, four]] ** 2))) / sets
    off = np.abs(result.laplace - result.F)
    coarse = (result.wbic - result.F)[fine]
    coarse = coarse[..., four] - coarse[..., three]
    heat, law = result.heat[fine][..., four], 1.5 * result.settings["K"][four]
    heat_error = float(np.sqrt(np.sum(result.heat_error[fine][..., four] ** 2))) / sets
    doubted = int(result.doubts[fine].sum())
    return Claims([
        farthest("F(1) (nats)", result.F[fine][..., 0].ravel(), result.exact.ravel(),
                 result.F_error[fine][..., 0].ravel(), names),
        Claim(f"data sets with {same} in which the rule finds K = 3, of {sets}",
              f"{sets} (truth)", float(kept), 0.0, kept >= sets - 1, "all but one at most"),
        Claim(f"smallest p(K = 4), {same}", "-", float(p[fine][..., four][at]),
              float(p_error[fine][at]), bool(p[fine][..., four].min() > 0.05),
              "> 0.05: not excluded"),
        Claim(f"|F(4) - F(3)|, {same}, first realisation, largest (nats)", "-",
              float(np.max(abs(first))), 0.0, bool(np.max(abs(first)) < 1.0), "< 1"),
        Claim(f"(F(2) - F(3)) sigma^2, noise {noises[1]:g} over noise {noises[0]:g}, mean",
              "1 (limit)", float(ratio[1]), 0.0, bool(0.7 < ratio[1] < 1.4), "0.7 to 1.4"),
        *(Claim(f"the same, noise {noises[k]:g} over noise {noises[0]:g}", "1 (limit)",
                float(ratio[k]), 0.0, None, "listed: far from the limit")
          for k in range(2, len(noises))),
        Claim(f"p(K = 3) by BIC minus that by F, mean, {same}", "-", sure, 0.0, sure > 0.2,
              f"> 0.2, a valley of K = 4 lower by {VALLEY:g} nat granted"),
        Claim(f"WAIC(4) - WAIC(3), mean, {same} (nats)", "-", float(waic.mean()), waic_error,
              bool(abs(waic.mean()) < 1.0), "within 1: little penalty for the surplus peak"),
        Claim(f"WBIC(4) - WBIC(3) minus F(4) - F(3), largest, {same} (nats)", "-",
              float(coarse.ravel()[np.argmax(abs(coarse))]), 0.0, None,
              "listed: WBIC follows F, but not to a nat"),
        Claim(f"Var U at beta = 1, K = 4, mean, {same}", "-", float(heat.mean()), heat_error,
              bool(heat.mean() + 4 * heat_error < law),
              f"< {law:g} with 4 errors: {law:g} if the data told all {2 * law:g} parameters"),
        Claim(f"|Laplace - F|, K up to 3, noise up to {SHARP:g}, largest (nats)", "0 (limit)",
              float(np.max(off[sharp][..., :three + 1])), 0.0,
              bool(np.max(off[sharp][..., :three + 1]) < 0.1), "< 0.1"),
        Claim(f"the same, noise {FINE:g}", "-",
              float(np.nanmax(off[fine & ~sharp][..., :three + 1])), 0.0, None,
              "listed: the posterior is no longer near a normal one"),
        Claim(f"the same, K = 4, {same}", "-", float(np.nanmax(off[fine][..., four])), 0.0, None,
              "listed: not regular, one peak is there twice"),
        Claim(f"K found with noise {noises[-1]:g}, by realisation", "3 (truth)",
              ", ".join(f"{k}" for k in picked(result)["F, rule"][-1]), 0.0, None,
              "listed, not claimed: it depends on the realisation"),
        Claim("F(2) - F(3) there (nats), by realisation", "-",
              ", ".join(f"{v:.2f}" for v in (result.F[-1, :, two] - result.F[-1, :, three])), 0.0,
              None, "listed, not claimed: on both sides of the rule's 1 nat"),
        Claim(f"runs with {same} that are not trusted, of {result.doubts[fine].size}", "-",
              float(doubted), 0.0, doubted == 0, "none"),
        Claim(f"runs with noise {noises[-1]:g} that are not trusted, of {result.doubts[-1].size}",
              "-", float(result.doubts[-1].sum()), 0.0, None, "listed, as all there"),
        Claim("largest error of F (nats)", "-", float(result.F_error.max()), 0.0,
              bool(result.F_error.max() <= 0.05), "at most 0.05, the rule asks for 1 nat")])


@styled
def draw(result: Result) -> dict[str, Any]:
    """F against the number of peaks, p(K) over the noise, what each criterion picks, Laplace."""
    from experiments.figures import BLUE, GREEN, ORANGE, RED, label_panels, panels, plain_ticks

    figure, axes = panels(2, 2, 9.0, 6.6)
    gaps, shares, picks, approximate = axes.flat
    noises, K = np.array(result.settings["noises"]), np.array(result.settings["K"])
    three = int(np.flatnonzero(K == 3)[0])
    spread = np.exp(np.linspace(-0.09, 0.09, result.F.shape[1]))
    looks = {1: (ORANGE, ":", "v"), 2: (GREEN, "-.", "s"), 3: (BLUE, "-", "o"),
             4: (RED, "--", "D")}
    p = probability(result.F)
    for k, number in enumerate(K):
        color, style, marker = looks[int(number)]
        shares.plot(noises, p[..., k].mean(axis=1), color=color, ls=style, label=f"K = {number}")
        for r, shift in enumerate(spread):
            shares.plot(noises * shift, p[:, r, k], marker, color=color, ms=3.5)
            approximate.plot(noises * shift, (result.laplace - result.F)[:, r, k].astype(float),
                             marker, color=color, ms=3.5, label=None if r else
                             f"K = {number}" + (", not judged" if number > 3 else ""))
            if number != 3:
                gap = result.F[:, r, k] - result.F[:, r, three]
                error = 1.96 * np.hypot(result.F_error[:, r, k], result.F_error[:, r, three])
                gaps.errorbar(noises * shift, gap, error, fmt=marker, color=color, ms=3.5,
                              label=f"K = {number}" if r == 0 else None)
    gaps.axhspan(-1.0, 1.0, color="0.9", lw=0, zorder=0)
    gaps.set_yscale("symlog", linthresh=3.0)
    plain_ticks(gaps.yaxis, [-3, -1, 0, 1, 3, 10, 30, 100, 300, 1000])
    gaps.set(xscale="log", ylabel="F(K) - F(3) (nats)", ylim=(-3, 2500),
             title="Free energy (grey: 1 nat; bars: 95 %)")
    gaps.legend(loc="upper right")
    shares.set(xscale="log", ylabel="p(K | data)", ylim=(-0.02, 1),
               title="Probability (lines: mean)")
    shares.legend(loc="upper left", ncols=2)
    approximate.axhspan(-0.1, 0.1, color="0.9", lw=0, zorder=0)
    approximate.axvspan(1.6 * SHARP, 2 * noises[-1], color="0.96", lw=0, zorder=-1)
    approximate.set(xscale="log", ylabel="Laplace - F (nats)", xlim=gaps.get_xlim(),
                    title="Laplace (band: 0.1 nat; shaded: not judged)")
    approximate.legend(loc="upper left")
    for ax in (gaps, shares, approximate):
        ax.set_xlabel(r"noise $\sigma$ (dimensionless)")
        ax.set_xticks(noises, [f"{v:g}" for v in noises])
        ax.minorticks_off()
    _draw_picks(picks, result, {k: color for k, (color, _, _) in looks.items()})
    label_panels(axes)
    return {"noise_sweep": figure}


def _draw_picks(ax: Any, result: Result, colors: dict[int, str]) -> None:
    """One square for each criterion and data set: the K picked, and those that it cannot tell from
    it."""
    from matplotlib.patches import Rectangle

    noises, K = result.settings["noises"], result.settings["K"]
    realisations, picks, others = result.F.shape[1], picked(result), left_open(result)
    wide = realisations + 0.5
    for row, name in enumerate(CRITERIA):
        for i, r in np.ndindex(*result.F.shape[:2]):
            k, at = int(picks[name][i, r]), i * wide + r
            ax.add_patch(Rectangle((at + 0.04, row + 0.06), 0.92, 0.88, facecolor=colors[k],
                                   alpha=0.4, lw=0))
            also = [v for v, within in zip(K, others[name][i, r], strict=True) if within]
            ax.text(at + 0.5, row + 0.5, "/".join(map(str, sorted({k, *also}))), ha="center",
                    va="center", fontsize=7)
    ax.set(xlim=(-0.2, wide * len(noises) - 0.3), ylim=(len(CRITERIA) + 0.1, -0.1),
           xlabel=r"noise $\sigma$, each realisation",
           title="K picked (colour; 3/4: not told apart; truth: 3)")
    ax.set_xticks([i * wide + realisations / 2 for i in range(len(noises))],
                  [f"{v:g}" for v in noises])
    ax.set_yticks(np.arange(len(CRITERIA)) + 0.5, CRITERIA)
    ax.tick_params(length=0)
