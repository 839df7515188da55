"""How far off are AIC, WAIC and leave-one-out?  Their exact biases, and the Pareto diagnostic.

Figure: the mean distance of AIC/2, WAIC and LOO from the loss on new data over the number of
points, and the tail index of the leave-one-out weights over the leverage of a point, in the manner
of Katakami, Kashiwamura, Nagata, Mizumaki and Okada, arXiv 2406.02869.  WAIC: Watanabe, JMLR 11
(2010) 3571; Pareto-smoothed weights: Vehtari, Gelman and Gabry, Stat. Comput. 27 (2017) 1413.

The paper's: solving linear regression exactly at a finite N; the criteria are not in its abstract.

Ours: all settings.  A line with offset, x evenly on [-1, 1], noise 1 and known, wide prior; N from
3 to 1000; 40,000 synthetic data sets at some N.  Leverages from 0.05 to 0.9, 400,000 posterior
draws for each, tail index by Hill's estimator from the largest 1 % of the weights.

What may be claimed: the closed forms of `theory.criteria` are the means over data sets.  All three
criteria lie above the loss on new data, by an amount that falls like 1/N; where the model is right
and the noise known AIC is the least biased from N = 7 on and LOO the most.  The weights' tail index
is the leverage itself, but no finite sample shows it: the exact value in the largest 1 %, which
Hill's estimate follows, is smaller for a point on the curve and larger for one that lies off it.
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
SECONDS = 3.0
NAMES = ("AIC/2", "WAIC", "LOO")


@dataclass(frozen=True)
class Settings:
    """Ours."""

    points: tuple[int, ...] = (3, 4, 5, 7, 10, 20, 50, 100)
    noise: float = 1.0
    data_sets: int = 40_000
    leverages: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    residuals: tuple[float, ...] = (0.0, 1.0)     # of the point left out, in its own sd
    draws: int = 400_000
    tail: float = 0.01
    seed: int = 2410


SETTINGS = Settings()
QUICK = Settings(points=(3, 5, 10), data_sets=1_000, draws=10_000)


@dataclass(frozen=True)
class Result:
    """Biases over N, and tail indices over the leverage."""

    settings: dict[str, Any]
    points: Array
    bias: Array           # (points, criteria) mean of criterion minus loss on new data (nats)
    bias_error: Array
    bias_exact: Array
    grid: Array           # N of the exact curves
    curve: Array          # (grid, criteria) (nats)
    reference: Array      # (3,) loss, WAIC and LOO of six printed positions, minus n S (nats)
    hill: Array           # (residuals, leverages) Hill's estimate of the tail index
    hill_error: Array
    hill_exact: Array     # its exact value at that tail


def design(N: int) -> Array:
    """Slope and offset, x evenly on [-1, 1]."""
    return np.stack([np.linspace(-1.0, 1.0, N), np.ones(N)], axis=1)


def exact(N: int) -> Array:
    """Bias of AIC/2, WAIC and LOO in closed form; (3,)."""
    from theory.criteria import expected

    means = expected(design(N))
    return np.array([means.aic, means.waic, means.loo]) - means.generalisation


def simulated(N: int, settings: Settings, generator: np.random.Generator) -> tuple[Array, Array]:
    """The same by fitting synthetic data sets; means and standard errors, (3,) each.

    The loss on new data is an integral over their noise, which is done exactly.
    """
    Q = np.linalg.qr(design(N))[0]
    h, s = np.sum(Q**2, axis=1), settings.noise
    noise = s * generator.normal(size=(settings.data_sets, N))
    wrong = noise @ Q @ Q.T                    # estimate minus truth, at each position
    r2 = (noise - wrong) ** 2
    constant = 0.5 * math.log(2 * math.pi * s**2)
    spread = constant + 0.5 * np.log1p(h)      # of the predictive law, variance s^2 (1 + h)
    loss = np.sum(spread + (s**2 + wrong**2) / (2 * s**2 * (1 + h)), axis=1)
    lppd = np.sum(spread + r2 / (2 * s**2 * (1 + h)), axis=1)
    waic = lppd + np.sum(r2 * h / s**2 + 0.5 * h**2, axis=1)
    loo = np.sum(constant - 0.5 * np.log1p(-h) + r2 / (2 * s**2 * (1 - h)), axis=1)
    aic = np.sum(constant + r2 / (2 * s**2), axis=1) + 2
    # Two numbers of known mean 0 that all criteria share; left in, they drown the bias.
    luck = (0.5 * np.sum(noise**2, axis=1) - np.sum(wrong**2, axis=1)) / s**2 - 0.5 * N + 2
    apart = np.stack([aic, waic, loo], axis=1) - (loss + luck)[:, None]
    return apart.mean(axis=0), apart.std(axis=0) / math.sqrt(settings.data_sets)


def hill(h: float, residual: float, settings: Settings,
         generator: np.random.Generator) -> tuple[float, float]:
    """Hill's estimate of the tail index of the weights 1 / p(y_i | theta), and its error.

    ln w = (r - sqrt(h) z)^2 / 2 + const in units of the noise, z standard normal over the
    posterior and r = residual sqrt(1 - h) the distance of the point from the fit.
    """
    z = generator.normal(size=settings.draws)
    # Measured from the exact quantile, so that the excesses are independent numbers.
    excess = (0.5 * (residual * math.sqrt(1 - h) - math.sqrt(h) * z) ** 2
              - tail_start(h, residual, settings))
    excess = excess[excess > 0]
    return float(excess.mean()), float(excess.std() / math.sqrt(len(excess)))


def tail_start(h: float, residual: float, settings: Settings) -> float:
    """The exact quantile of ln w at which the tail begins."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    r, s = residual * math.sqrt(1 - h), math.sqrt(h)

    def beyond(v: float) -> float:
        """P(ln w > v^2 / 2) - tail: |r - s z| > v."""
        return float(ndtr((r - v) / s) + ndtr((-r - v) / s)) - settings.tail

    return 0.5 * float(brentq(beyond, 0.0, r + 10 * s, xtol=1e-14)) ** 2


def hill_exact(h: float, residual: float, settings: Settings) -> float:
    """E[ln w - start | ln w > start]: what Hill's estimator tends to at this tail."""
    from scipy.integrate import quad

    r, s, start = residual * math.sqrt(1 - h), math.sqrt(h), tail_start(h, residual, settings)
    edge = math.sqrt(2 * start)

    def excess(v: float, sign: int) -> float:
        """(ln w - start) times the density of v = |r - s z| on one side."""
        return (0.5 * v**2 - start) * math.exp(-0.5 * ((v - sign * r) / s) ** 2) / (
            s * math.sqrt(2 * math.pi))

    both = sum(quad(excess, edge, edge + r + 12 * s, args=(sign,), epsabs=1e-13)[0]
               for sign in (-1, 1))
    return float(both / settings.tail)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Simulate both parts, and put the closed forms beside."""
    from theory.criteria import expected

    generator = np.random.default_rng(settings.seed)
    found = [simulated(N, settings, generator) for N in settings.points]
    grid = np.unique(np.geomspace(3, 1000, 60).astype(int))
    tails = [[(*hill(h, r, settings, generator), hill_exact(h, r, settings))
              for h in settings.leverages] for r in settings.residuals]
    value, error, limit = np.moveaxis(np.array(tails), 2, 0)
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
    printed = expected(np.stack([x, np.ones(6)], axis=1))
    return Result(
        settings=asdict(settings), points=np.array(settings.points, dtype=float),
        bias=np.array([b for b, _ in found]), bias_error=np.array([e for _, e in found]),
        bias_exact=np.array([exact(N) for N in settings.points]), grid=grid.astype(float),
        curve=np.array([exact(int(N)) for N in grid]),
        reference=np.array([printed.generalisation, printed.waic, printed.loo]), hill=value,
        hill_error=error, hill_exact=limit)


def check(result: Result) -> Claims:
    """Means within four standard errors, signs, powers of N, and the tail index."""
    claims = []
    for k, name in enumerate(NAMES):
        claims.append(farthest(f"bias of {name} (nats)", result.bias[:, k], result.bias_exact[:, k],
                               result.bias_error[:, k], [f"N = {N:.0f}" for N in result.points]))
    known = np.array([0.8399836542, 0.9876984663, 1.3376842587])
    apart = float(np.abs(result.reference - known).max())
    claims.append(Claim("loss, WAIC and LOO of six printed positions (nats), distance", "0 (exact)",
                        apart, 0.0, apart < 1e-6, "< 1e-6"))
    slope = np.diff(np.log(result.curve[-20::19]), axis=0)[0] / np.log(
        result.grid[-1] / result.grid[-20])
    claims.append(Claim(
        "power of N with which the bias falls: AIC/2, WAIC, LOO", "-1 each (limit)",
        ", ".join(f"{v:.3f}" for v in slope), 0.0, bool(np.all(np.abs(slope + 1.0) < 0.05)),
        "± 0.05, N to 1000"))
    large = result.grid >= 7
    least = result.curve[large].argmin(axis=1)
    claims.append(Claim("least biased from N = 7 on, right model and known noise", "-",
                        NAMES[least[0]], 0.0, bool(np.all(least == 0)), "AIC/2 (exact curves)"))
    labels = [f"h = {h:g}, residual {r:g} sd" for r in result.settings["residuals"]
              for h in result.settings["leverages"]]
    claims.append(farthest("tail index of the weights (Hill)", result.hill.ravel(),
                           result.hill_exact.ravel(), result.hill_error.ravel(), labels))
    h = np.array(result.settings["leverages"])
    for r, exact_ in zip(result.settings["residuals"], result.hill_exact, strict=True):
        claims.append(Claim(
            f"exact index of the largest {100 * result.settings['tail']:.0f} %, minus the "
            f"leverage, residual {r:g} sd", "0 (limit)",
            f"{(exact_ - h).min():+.3f} to {(exact_ - h).max():+.3f}", 0.0, None,
            "a diagnosed k is not the leverage"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """Bias over N, and the tail index over the leverage."""
    from experiments.figures import BLACK, BLUE, GREEN, ORANGE, RED, label_panels, panels

    figure, axes = panels(1, 2, 7.0, 3.1)
    bias, tail = axes.flat
    looks = tuple(zip((ORANGE, BLUE, GREEN), (":", "-", "--"), "^os", strict=True))
    for k, (color, line, mark) in enumerate(looks):
        bias.plot(result.grid, result.curve[:, k], color=color, ls=line)
        bias.errorbar(result.points, result.bias[:, k], 1.96 * result.bias_error[:, k],
                      fmt=mark, color=color, ms=4, elinewidth=1.0, label=NAMES[k])
    bias.set(xscale="log", yscale="log", xlabel="number of points N",
             ylabel="criterion - loss on new data (nats)", title="Bias (bars: 95 %)")
    bias.legend(loc="upper right")
    h = np.array(result.settings["leverages"])
    tail.plot([0, 1], [0, 1], color=BLACK, lw=1.0, ls="-.", label="k = leverage (infinite sample)")
    for r, found, error, exact_, (color, line, mark) in zip(
            result.settings["residuals"], result.hill, result.hill_error, result.hill_exact,
            ((BLUE, "-", "o"), (RED, "--", "s")), strict=False):
        tail.plot(h, exact_, color=color, ls=line)
        tail.errorbar(h, found, 1.96 * error, fmt=mark, color=color, ms=3.5, elinewidth=1.0,
                      label=f"Hill, residual {r:g} sd")
    tail.axhline(0.5, color="0.4", lw=0.8, ls=":")
    tail.text(0.02, 0.51, "variance\ninfinite", fontsize=7.5, color="0.3", va="bottom")
    tail.set(xlabel="leverage of the point (dimensionless)", xlim=(0, 1), ylim=(0, 1),
             ylabel="tail index k (dimensionless)", title="Weights of leave-one-out")
    tail.legend(loc="lower right")
    label_panels(axes)
    return {"criteria_biases": figure}
