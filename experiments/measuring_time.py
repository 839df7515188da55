"""How long must one count before the peaks can be told apart?  Counts and the number of peaks.

Figure: F(K) and p(K) of the same three peaks for measuring times from 0.3 to 30, and the same under
priors that know what to expect.

The paper's: the three peaks of Nagata, Sugita and Okada (Neural Networks 28 (2012) 82), and their
priors in the contrast.  That the measuring time sets how much can be told is the theme of the
group's work on counting noise (Tokuda, Nagata and Okada for spectra; Hayashi et al., arXiv
2303.04983, for scattering); the numbers here are not theirs.

Ours: a flat background of 0.1, Poisson counts y ~ P(T f(x)) at 301 points (synthetic, one seed for
all times), flat priors (heights 0 to 3 and background 0.01 to 0.5 per unit of time, centres 0 to 3,
b ~ Gamma(5, rate 0.04)), sweeps and seeds.

What may be claimed: under flat priors K* grows from one to three with the time, and at T = 3 three
and four are within a nat.  Under the paper's informative priors this does *not* appear: a prior
that expects three peaks of height one finds them at T = 0.3, where the counts alone do not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, trust
from experiments.decisions import decide, difference
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 75.0
BACKGROUND = 0.1


@dataclass(frozen=True)
class Settings:
    """Ours; ``informed`` are the times at which the paper's priors are tried, too."""

    K: tuple[int, ...] = (0, 1, 2, 3, 4)
    times: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0, 30.0)
    informed: tuple[float, ...] = (0.3, 1.0, 10.0)
    sweeps: int = 4_000
    burn_in: int = 3_000
    data_seed: int = 0
    seed: int = 5920


SETTINGS = Settings()
QUICK = Settings(times=(0.3, 10.0), informed=(0.3,), sweeps=60, burn_in=50)


@dataclass(frozen=True)
class Result:
    """A decision for each time, under flat and under informative priors."""

    settings: dict[str, Any]
    x: Array
    counts: Array                    # (times, points)
    fits: Array                      # (times, points) posterior mean of the favoured K
    flat: list[dict[str, Any]]       # one decision for each time
    informed: list[dict[str, Any]]
    nothing: Array                   # (times,) F(0) of the flat priors by quadrature (nats)


def counts(time: float, settings: Settings = SETTINGS) -> Any:
    """Synthetic counts of three peaks and a background in a measuring time."""
    from experiments import nagata2012_number_of_peaks as nagata
    from sampler import Data

    true = nagata.SETTINGS
    x = np.linspace(0.0, 3.0, true.points)
    curve = BACKGROUND + sum(
        a * np.exp(-0.5 * b * (x - mu) ** 2)
        for a, b, mu in zip(true.heights, true.precisions, true.centers, strict=True))
    generator = np.random.default_rng(settings.data_seed)
    return Data(x, generator.poisson(time * curve).astype(float), noise="poisson")


def posterior(K: int, data: Any, time: float, informed: bool = False) -> Any:
    """K peaks on a background, heights in counts: the priors move with the time."""
    from experiments.nagata2012_number_of_peaks import peak
    from sampler import Gamma, Model, Normal, Posterior, Uniform, shapes

    height: Any = Gamma(5, 5 / time) if informed else Uniform(0, 3 * time)
    center: Any = Normal(1.5, 5**-0.5) if informed else Uniform(0, 3)
    model = Model.single(shapes.constant, "background_",
                         offset=Uniform(0.01 * time, 0.5 * time)) + Model.repeated(
        K, peak(), a=height, b=Gamma(5, 0.04), mu=center)
    return Posterior(model, data)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Every K at every time."""
    flat, informed, measured, fits, nothing = [], [], [], [], []
    for k, time in enumerate(settings.times):
        data = counts(time, settings)
        asked = {K: posterior(K, data, time) for K in settings.K}
        runs, found = decide(asked, settings.sweeps, settings.burn_in, settings.seed + 100 * k,
                             progress, f"T = {time:g}, K = ")
        best = runs[int(found["best"])]
        theta = best.draws.reshape(-1, best.posterior.dimension)
        flat.append(found)
        measured.append(data.y)
        fits.append(best.posterior.predict(theta[:: max(1, len(theta) // 500)]).mean(axis=0))
        nothing.append(background_alone(data, time))
    for k, time in enumerate(settings.informed):
        data = counts(time, settings)
        informed.append(decide(
            {K: posterior(K, data, time, True) for K in settings.K if K}, settings.sweeps,
            settings.burn_in, settings.seed + 100 * k + 50, progress,
            f"the paper's priors, T = {time:g}, K = ")[1])
    return Result(asdict(settings), data.x, np.array(measured), np.array(fits), flat, informed,
                  np.array(nothing))


def background_alone(data: Any, time: float) -> float:
    """F(0): a flat background alone, whose integral is an incomplete Gamma function.

    Examples
    --------
    >>> from sampler import Data
    >>> round(background_alone(Data([0.0], [3.0], noise="poisson"), 10.0), 6)
    1.89716
    """
    from scipy.special import gammainc, gammaln

    low, high, total, points = 0.01 * time, 0.5 * time, float(data.y.sum()), data.size
    share = gammainc(total + 1, points * high) - gammainc(total + 1, points * low)
    log_integral = gammaln(total + 1) - (total + 1) * np.log(points) + np.log(share)
    return float(np.log(high - low) - log_integral + gammaln(data.y + 1).sum())


def best_number(decision: dict[str, Any]) -> int:
    """K* of a decision."""
    return int(decision["best"])


def check(result: Result) -> Claims:
    """F(0) exactly; K* against the time; the contrast of the priors."""
    times, claims = result.settings["times"], []
    off = np.array([d["F"][0] - exact for d, exact in zip(result.flat, result.nothing,
                                                        strict=True)])
    z = off / np.array([d["F_error"][0] for d in result.flat])
    claims.append(Claim("F(0), farthest of all times (errors)", "0 (exact)",
                        float(z[np.argmax(abs(z))]), 1.0, bool(np.all(abs(z) < 4)),
                        "background alone, by an incomplete Gamma function; 4 errors"))
    may = {0.3: (1,), 1.0: (2, 3), 3.0: (3, 4), 10.0: (3,), 30.0: (3,)}
    for time, decision in zip(times, result.flat, strict=True):
        if time in may:
            best = best_number(decision)
            claims.append(Claim(
                f"K* at T = {time:g}", "-", float(best), 0.0, best in may[time],
                " or ".join(map(str, may[time])) + ", of independent runs"))
    first, last = result.flat[0], result.flat[-1]
    gain, error = difference(last, "2", "3")
    early, early_error = difference(first, "2", "3")
    claims += [
        Claim(f"F(2) - F(3) at T = {times[-1]:g} (nats)", "-", gain, error, gain > 10, "> 10"),
        Claim(f"F(2) - F(3) at T = {times[0]:g} (nats)", "-", early, early_error,
              abs(early) < 2, "within 2: nothing can be told")]
    if result.informed[0] and "3" in result.informed[0]["names"]:
        known, known_error = difference(result.informed[0], "1", "3")
        flat, _ = difference(first, "1", "3")
        claims.append(Claim(
            f"F(1) - F(3) at T = {result.settings['informed'][0]:g} under the paper's priors "
            "(nats)", "-", known, known_error, known > flat + 1,
            f"at least 1 more than under flat ones, {flat:.2f}"))
    decisions = [*result.flat, *result.informed]
    claims.append(trust(
        [f"{name} ({k + 1}. decision)" for k, d in enumerate(decisions) for name in d["names"]],
        np.concatenate([d["F"] - d["F"].min() for d in decisions]),
        np.concatenate([d["F_error"] for d in decisions]),
        [good for d in decisions for good in d["trusted"]]))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """Counts of three times with the favoured fit, F(K) of all times, p(K) under both priors."""
    from experiments.figures import BLUE, label_panels, panels

    figure, axes = panels(1, 3, 9.6, 3.2)
    spectra, energy, chance = axes.flat
    times = result.settings["times"]
    for row, k in enumerate(sorted({0, len(times) // 2, len(times) - 1})):
        most = float(result.counts[k].max())
        spectra.plot(result.x, 1.2 * row + result.counts[k] / most, ".", color="0.6", ms=2.5)
        spectra.plot(result.x, 1.2 * row + result.fits[k] / most, color=BLUE, lw=1.2)
        spectra.text(0.03, 1.2 * row + 0.65,
                     f"T = {times[k]:g}, K* = {best_number(result.flat[k])}\n"
                     f"at most {most:.0f} counts", fontsize=7)
    spectra.set(xlabel="x", ylabel="counts over their maximum, shifted", yticks=[],
                title="The same peaks, longer counted")
    shades = [f"C{k}" for k in range(len(times))]
    for color, time, decision in zip(shades, times, result.flat, strict=True):
        K = [int(name) for name in decision["names"]]
        energy.errorbar(K, decision["F"] - decision["F"].min(), 1.96 * decision["F_error"],
                        fmt="o-", ms=3.5, lw=1.0, color=color, label=f"T = {time:g}")
    energy.axhline(1.0, color="0.4", ls="--", lw=0.8)
    energy.set_yscale("symlog", linthresh=3.0)
    energy.set(xlabel="number of peaks K", ylabel="F above its minimum (nats)", ylim=(-0.3, None),
               xticks=result.settings["K"], title="Free energy (dashed: 1 nat)")
    energy.legend(fontsize=7)
    _shares(chance, times, result.flat, "-", "flat")
    _shares(chance, result.settings["informed"], result.informed, "--", "the paper's")
    chance.set(xscale="log", ylim=(0, 1), xlabel="measuring time T", ylabel="p(K | counts)",
               title="What is believed")
    chance.legend(fontsize=7, title="K, priors", title_fontsize=7, ncols=2)
    label_panels(axes)
    return {"measuring_time": figure}


def _shares(ax: Any, times: Any, decisions: list[dict[str, Any]], style: str, words: str) -> None:
    for K, color in ((1, "#0072B2"), (2, "#E69F00"), (3, "#009E73"), (4, "#CC79A7")):
        share = [d["probability"][d["names"].index(str(K))] for d in decisions]
        ax.plot(times, share, style, marker="o", ms=3, lw=1.1, color=color, label=f"{K}, {words}")
