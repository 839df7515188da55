"""How little noise do two peaks need?  Design before measuring where no formula knows the answer.

Figure: how often the free energy finds two overlapping peaks against the noise of the measurement,
first where the exact law is known (shapes fixed, heights sampled), then where only simulation can
tell (heights, centres and widths unknown).  In the manner of Katakami, Kashiwamura, Nagata,
Mizumaki and Okada, "Mesoscopic Bayesian Inference by Solvable Models", arXiv 2406.02869; the peak
is that of Nagata, Sugita and Okada, Neural Networks 28 (2012) 82: a exp(-b (x - mu)^2 / 2).

The paper's: the question of the first, the peak of the second.

Ours: all settings.  Two peaks of height 1/2 and b = 1 (a standard deviation of 1) at -0.8 and +0.8,
41 points on [-4, 4].  For each noise level 24 synthetic data sets, drawn before anything is looked
at; on each our sampler finds F of one peak and of two, and `sampler.choose` takes the lower F.
Fixed shapes: heights uniform on [-10, 10]; the law is `theory.choice` with the weight that the
second peak keeps beside the first.  Unknown shapes: a uniform on (0, 2), b on (0.2, 5), mu on
(-2, 2); and data of one single peak, for the false alarms.

What may be claimed: where the law is known, sampled F2 - F1 are the exact ones data set by data
set and the shares are the law's; so for unknown shapes the shares are what a measurement would see,
with binomial errors, for this pair of peaks and these priors and no others.  The noise for 95 % is
read off a normal curve in ln(noise) fitted to the shares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, farthest
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 260.0
HEIGHT = 0.5
WANTED = 0.95


@dataclass(frozen=True)
class Settings:
    """Ours."""

    half_distance: float = 0.8
    points: int = 41
    reach: float = 4.0
    half_width: float = 10.0           # of the heights' prior where the shapes are fixed
    known_noise: tuple[float, ...] = (0.6, 0.4, 0.28)
    noise: tuple[float, ...] = (0.045, 0.033, 0.025, 0.019, 0.015)
    single_noise: tuple[float, ...] = (0.033, 0.019)
    data_sets: int = 24
    burn_in: int = 1_500
    sweeps: int = 2_500
    chains: int = 4
    seed: int = 1959


SETTINGS = Settings()
QUICK = Settings(known_noise=(0.4,), noise=(0.06, 0.01), single_noise=(0.033,), data_sets=2,
                 burn_in=50, sweeps=60)


@dataclass(frozen=True)
class Result:
    """F2 - F1 of every data set (nats), and the law where it is known."""

    settings: dict[str, Any]
    known: Array          # (known noises, data sets) sampled F2 - F1, shapes fixed
    known_error: Array
    known_exact: Array    # (known noises, data sets) by theory
    law: Array            # (known noises,) exact P(two peaks)
    curve: Array          # (2, 80) noise and the law there
    needed: float         # the noise for 95 % where the shapes are fixed, exactly
    unknown: Array        # (noises, data sets) sampled F2 - F1, shapes unknown, two peaks true
    unknown_error: Array
    single: Array         # (single noises, data sets) the same, one peak true
    single_error: Array
    untrusted: Array      # (3,) data sets of each part with a run that matters and is doubted


def shapes(settings: Settings) -> tuple[Array, Array, Array]:
    """Positions, and the two unit peaks on them."""
    x, u = np.linspace(-settings.reach, settings.reach, settings.points), settings.half_distance
    return x, np.exp(-0.5 * (x + u) ** 2), np.exp(-0.5 * (x - u) ** 2)


def fixed(K: int, settings: Settings) -> Any:
    """The first peak, or both, with nothing unknown but their heights."""
    from experiments.nagata2012_number_of_peaks import peak
    from sampler import Model

    w, u = settings.half_width, settings.half_distance
    both = [Model.single(peak(), prefix, a=(-w, w), b=1.0, mu=at)
            for prefix, at in (("left", -u), ("right", u))]
    return both[0] if K == 1 else both[0] + both[1]


def free(K: int, settings: Settings) -> Any:
    """K peaks of unknown height, width and centre."""
    from experiments.nagata2012_number_of_peaks import peak
    from sampler import Model

    return Model.repeated(K, peak(), a=(0.0, 2.0), b=(0.2, 5.0), mu=(-2.0, 2.0))


def differences(models: Mapping[int, Any], data_sets: Array, noise: float, settings: Settings,
                seed: int, progress: Callable[[int], None] | None = None
                ) -> tuple[Array, Array, int]:
    """F2 - F1 of every data set by the sampler, its error, and how many choices are doubted.

    Parameters
    ----------
    models : mapping from K (1 and 2) to sampler.Model
    data_sets : array (data sets, points)
    noise : float
        Standard deviation, known to the models.
    """
    from sampler import Data, Posterior, choose, sample

    x, found, doubted = shapes(settings)[0], [], 0
    for k, y in enumerate(data_sets):
        runs = {K: sample(Posterior(model, Data(x, y, noise=noise)), settings.sweeps,
                          burn_in=settings.burn_in, chains=settings.chains, seed=seed + k)
                for K, model in models.items()}
        choice = choose(runs, within=0.0)
        one, two = (choice[K].free_energy for K in (1, 2))
        found.append((two.value - one.value, math.hypot(one.error, two.error)))
        doubted += not choice.certain
        if progress is not None:
            progress(k)
    values, errors = np.transpose(found)
    return values, errors, doubted


def simulated(settings: Settings, noises: tuple[float, ...], truth: Array, stream: int) -> Array:
    """(noises, data sets, points): synthetic data; every noise level has its own."""
    g = np.random.default_rng([settings.seed, stream])
    s = np.array(noises)[:, None, None]
    return truth + s * g.normal(size=(len(noises), settings.data_sets, settings.points))


def questions(settings: Settings, noises: Any) -> list[Any]:
    """`theory.choice` of the second height, at every noise: its weight is what the second peak
    keeps beside the first."""
    from theory.choice import Question

    _, left, right = shapes(settings)
    weight = float(right @ right - (left @ right) ** 2 / (left @ left))
    return [Question(weight, HEIGHT, settings.half_width, float(s)) for s in noises]


def exact_differences(settings: Settings, data_sets: Array, noise: float) -> Array:
    """F2 - F1 of fixed shapes: its upper bound less half of the squared score of the height."""
    (question,) = questions(settings, [noise])
    _, left, right = shapes(settings)
    beside = right - left * (left @ right) / (left @ left)
    score = data_sets @ beside / math.sqrt(question.weight) / noise
    return np.asarray(question.bound - 0.5 * score**2)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Draw the data, let the sampler choose on each, and set the exact law beside it."""
    from theory.choice import noise_needed, probability_of_offset

    _, left, right = shapes(settings)
    two, one = HEIGHT * (left + right), 2 * HEIGHT * np.exp(-0.5 * shapes(settings)[0] ** 2)
    parts = (("known", fixed, settings.known_noise, two), ("unknown", free, settings.noise, two),
             ("single", free, settings.single_noise, one))
    total = sum(len(noises) for _, _, noises, _ in parts) * settings.data_sets
    found: dict[str, Array] = {}
    done, untrusted = 0, []
    for stream, (name, model, noises, truth) in enumerate(parts):
        data, rows, doubts = simulated(settings, noises, truth, stream), [], 0
        for i, noise in enumerate(noises):
            values, errors, doubted = differences(
                {K: model(K, settings) for K in (1, 2)}, data[i], noise, settings,
                settings.seed + 100_000 * stream + 1_000 * i,
                progress and (lambda k, at=done, name=name, s=noise: progress(
                    at + k, total, f"{name}, noise {s}")))
            rows.append((values, errors))
            doubts, done = doubts + doubted, done + settings.data_sets
        found[name] = np.array(rows)
        untrusted.append(doubts)
    known = simulated(settings, settings.known_noise, two, 0)
    grid = np.geomspace(0.8 * min(settings.known_noise), 1.3 * max(settings.known_noise), 80)
    return Result(
        settings=asdict(settings), known=found["known"][:, 0], known_error=found["known"][:, 1],
        known_exact=np.array([exact_differences(settings, y, s)
                              for y, s in zip(known, settings.known_noise, strict=True)]),
        law=np.array([probability_of_offset(q) for q in questions(settings, settings.known_noise)]),
        curve=np.array([grid, [probability_of_offset(q) for q in questions(settings, grid)]]),
        needed=noise_needed(questions(settings, [1.0])[0].weight, HEIGHT, settings.half_width,
                            WANTED),
        unknown=found["unknown"][:, 0], unknown_error=found["unknown"][:, 1],
        single=found["single"][:, 0], single_error=found["single"][:, 1],
        untrusted=np.array(untrusted, dtype=float))


def fitted(noise: Any, chosen: Any, data_sets: int) -> tuple[float, float, Array]:
    """The noise at which 95 % choose two, by a normal curve in ln(noise), and its relative error.

    Maximum likelihood of the counts in p = Phi(m + k ln(noise)), a tenth of a data set of either
    kind added so that a clean jump has a slope; the error from the curvature.

    Examples
    --------
    >>> noise, error, _ = fitted([4.0, 2.0, 1.0, 0.5], [7, 50, 93, 100], 100)
    >>> round(noise, 2), round(error, 2)
    (0.92, 0.08)
    """
    from scipy.optimize import minimize
    from scipy.special import log_ndtr, ndtri

    t, n = np.log(np.asarray(noise, dtype=float)), np.asarray(chosen, dtype=float) + 0.1
    centre = float(t.mean())

    def negative(p: Array) -> float:
        z = p[0] + p[1] * (t - centre)
        return -float(n @ log_ndtr(z) + (data_sets + 0.2 - n) @ log_ndtr(-z))

    best = minimize(negative, [0.0, -3.0], method="Nelder-Mead",
                    options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}).x
    h = 1e-3
    steps = h * np.eye(2)
    curvature = np.array([[(negative(best + a + b) - negative(best + a - b)
                            - negative(best - a + b) + negative(best - a - b)) / (4 * h * h)
                           for b in steps] for a in steps])
    covariance = np.linalg.inv(curvature)
    z = float(ndtri(WANTED))
    at = (z - best[0]) / best[1]
    slope = np.array([-1.0, -at]) / best[1]
    return (math.exp(centre + at), math.sqrt(float(slope @ covariance @ slope)),
            np.array([best[0] - best[1] * centre, best[1]]))


def check(result: Result) -> Claims:
    """The sampler against the law where there is one; what simulation says where there is none."""
    s, n = result.settings, int(result.settings["data_sets"])
    labels = [f"noise {noise:g}" for noise in s["known_noise"]]
    claims = [farthest(
        "shapes fixed: F2 - F1 of a data set (nats)", result.known.ravel(),
        result.known_exact.ravel(), result.known_error.ravel(),
        [f"{label}, {k + 1}" for label in labels for k in range(n)], sigmas=5.0)]
    shares = np.mean(result.known < 0, axis=1)
    claims.append(farthest("shapes fixed: share that finds two", shares, result.law,
                           np.sqrt(result.law * (1 - result.law) / n), labels))
    found = np.sum(result.unknown < 0, axis=1)
    needed, relative, _ = fitted(s["noise"], found, n)
    # Shares at the ends with their binomial errors (Laplace's rule, so that none is zero).
    p = (found + 1) / (n + 2)
    error = np.sqrt(p * (1 - p) / (n + 3))
    for at, want, good in ((0, f"{n} data sets do not tell it from 1/2 with 3 errors"
                            if p[0] + 3 * error[0] >= 0.5 else "< 1/2, with 3 errors", None),
                           (-1, "> 1/2, with 3 errors", bool(p[-1] - 3 * error[-1] > 0.5))):
        claims.append(Claim(f"shapes unknown: share that finds two, noise {s['noise'][at]:g}", "-",
                            float(found[at] / n), float(error[at]), good, want))
    claims.append(Claim("shapes unknown: noise at which 95 % find two", "-", needed,
                        needed * relative, None, f"in units of y; heights {HEIGHT}"))
    claims.append(Claim("the same with the shapes fixed", "-", result.needed, 0.0,
                        bool(result.needed > needed * (1 + 4 * relative)),
                        "exact; more noise is allowed, by 4 errors"))
    for noise, row in zip(s["single_noise"], result.single, strict=True):
        alarm = float(np.sum(row < 0) + 1) / (n + 2)
        spread = math.sqrt(alarm * (1 - alarm) / (n + 3))
        claims.append(Claim(f"one peak true: share that finds two, noise {noise:g}", "-",
                            float(np.mean(row < 0)), spread, alarm - 3 * spread < 0.1,
                            "compatible with < 0.1, by 3 errors"))
    close = sum(int(np.sum(np.abs(F) < 3 * e)) for F, e in (
        (result.unknown, result.unknown_error), (result.single, result.single_error)))
    claims.append(Claim("shapes unknown: choices within 3 errors of a tie", "-", float(close), 0.0,
                        close <= 0.05 * (result.unknown.size + result.single.size),
                        f"of {result.unknown.size + result.single.size}, at most 5 %"))
    claims.append(Claim("shapes unknown: data sets with a run that is doubted", "-",
                        float(sum(result.untrusted[1:])), 0.0, None,
                        "short runs; largest error of F2 - F1 "
                        f"{max(result.unknown_error.max(), result.single_error.max()):.3f} nats"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """Shares over noise, shapes fixed and unknown; F of every data set."""
    from scipy.special import ndtr

    from experiments.figures import BLACK, BLUE, GREEN, ORANGE, RED, label_panels, panels

    s, n = result.settings, int(result.settings["data_sets"])

    def shares(ax: Any, noise: Any, F: Array, color: str, marker: str, label: str) -> None:
        k = np.sum(F < 0, axis=1)
        p = (k + 1) / (n + 2)
        ax.errorbar(noise, k / n, np.sqrt(p * (1 - p) / (n + 3)), fmt=marker, color=color, ms=4,
                    label=label)

    figure, axes = panels(1, 3, 7.4, 3.0)
    law, unknown, every = axes.flat
    law.plot(*result.curve, color=BLACK, lw=1.0, label="exact law")
    shares(law, s["known_noise"], result.known, BLUE, "o", "simulated, 68 %")
    law.axvline(result.needed, color=GREEN, lw=0.9, ls="--")
    law.set(title="Shapes fixed", ylabel="share that finds two peaks")
    needed, _, (m, k) = fitted(s["noise"], np.sum(result.unknown < 0, axis=1), n)
    grid = np.geomspace(0.8 * min(s["noise"]), 1.2 * max(s["noise"]), 100)
    unknown.plot(grid, ndtr(m + k * np.log(grid)), color=BLACK, lw=1.0, label="fitted")
    shares(unknown, s["noise"], result.unknown, RED, "o", "two true")
    shares(unknown, s["single_noise"], result.single, ORANGE, "s", "one true")
    unknown.axvline(needed, color=GREEN, lw=0.9, ls="--")
    unknown.set(title="Shapes unknown")
    for ax in (law, unknown):
        ax.axhline(WANTED, color=GREEN, lw=0.9, ls="--")
        ax.set(ylim=(-0.03, 1.05))
        ax.legend(loc="center left" if ax is unknown else "lower left")
    for noise, F, color in ((s["noise"], result.unknown, RED),
                            (s["single_noise"], result.single, ORANGE)):
        spread = np.exp(np.linspace(-0.05, 0.05, F.shape[1]))
        every.plot(np.array(noise)[:, None] * spread, -F, ".", color=color, ms=2.5)
    every.axhline(0.0, color=BLACK, lw=0.8, ls=":")
    every.set(title="Every data set", ylabel="F(1) - F(2) (nats)")
    for ax in axes.flat:
        ax.set(xscale="log", xlabel="noise (units of y)")
        ax.minorticks_off()
    for ax, ticks in ((law, s["known_noise"]), (unknown, s["noise"][::2]),
                      (every, s["noise"][::2])):
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    label_panels(axes)
    return {"design_by_simulation": figure}
