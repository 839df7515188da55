"""What is (d/2) ln N worth at a finite N?  A regular model, and one that never becomes Gaussian.

Figure: what the expansion fit + (d/2) ln N + O(1) of a straight line's free energy leaves over;
and F, energy and exchange rate of the singular model y = a b x, where d/2 is wrong; exact
curves in the manner of Katakami, Kashiwamura, Nagata, Mizumaki and Okada, arXiv 2406.02869, and of
Watanabe's theory, with the sampler's points on them.

The paper's: solving regression exactly at a finite number of data.  That F = n S + lambda ln n -
(m - 1) ln ln n is Watanabe's; here lambda = 1/2, m = 2.

Ours: all settings.  Line: x evenly on [-1, 1], y_i = x_i + cos(i) / 2 (no random numbers), noise
0.5, priors N(0, 1) or uniform on [-2, 2], N from 5 to 100,000.  Product: one point x = 1, y = 0 and
a, b uniform on [-1, 1], so that U = c (ab)^2; one run whose coldest temperature has c = 10^6 gives
all smaller c (40 temperatures, ratio 1.5).

What may be claimed: N times the rest tends to 1/8 under the normal prior; under the box it dies
like the tail of a normal law.  The sampler's F, <U>, C and exchange rates lie on the exact curves
of the singular model.  At c = 10^6 the energy is still 13 % below lambda: a learning coefficient
cannot be read off a slope.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, farthest
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 5.0
# F of the line at five N, ten digits from an independent high-precision evaluation (nats).
KNOWN = {5: 5.0418373733, 10: 8.2603027138, 100: 53.4005885778, 1000: 483.9395527151,
         10_000: 4768.4842014220}


@dataclass(frozen=True)
class Settings:
    """Ours."""

    points: tuple[int, ...] = (5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1000, 3000, 10_000, 30_000,
                               100_000)
    noise: float = 0.5
    half_width: float = 2.0
    sharpness: float = 1e6
    rungs: int = 40
    ratio: float = 1.5
    burn_in: int = 2_000
    sweeps: int = 20_000
    chains: int = 4
    seed: int = 8


SETTINGS = Settings()
QUICK = Settings(points=(5, 10, 100, 1000), burn_in=200, sweeps=300)


@dataclass(frozen=True)
class Result:
    """The line's terms, and the product's exact and sampled values."""

    settings: dict[str, Any]
    points: Array
    F: Array              # of the line, normal prior (nats)
    rest: Array           # F - fit - (d/2) ln N - O(1), normal prior (nats)
    box_rest: Array       # the same under the box (nats)
    box_tail: Array       # what the walls cut off, from normal tails (nats)
    constant: Array       # O(1) (nats)
    sharpness: Array      # c at each rung but beta = 0
    F_product: Array      # F~ (nats)
    F_product_error: Array
    F_product_exact: Array
    energy: Array         # beta <U>
    energy_error: Array
    energy_exact: Array
    heat: Array           # C
    heat_error: Array
    heat_exact: Array
    rate: Array           # exchange rate of neighbours, the hottest at beta = 0 left out
    rate_error: Array
    rate_exact: Array


def line(N: int) -> tuple[Array, Array]:
    """Design and data: noise that is no random number, so that anyone gets the same F."""
    x = np.linspace(-1.0, 1.0, N)
    return np.stack([x, np.ones(N)], axis=1), x + 0.5 * np.cos(np.arange(1, N + 1))


def regular(N: int, settings: Settings) -> dict[str, float]:
    """F of the line under both priors against fit + (d/2) ln N + O(1)."""
    from scipy.special import log_ndtr

    from theory import box, evidence, large_n

    X, y = line(N)
    s, xi = settings.noise, settings.half_width
    F = evidence.free_energy(evidence.LinearRegression(X, y, s, prior_covariance=[1.0, 1.0]))
    terms = large_n.expansion(X, y, s, lambda p: float(-0.5 * p @ p - math.log(2 * math.pi)))
    flat = large_n.expansion(X, y, s, lambda p: -2 * math.log(2 * xi))
    walled = box.free_energy(box.BoxLine(X[:, 0], y, s, (-xi, xi), (-xi, xi)))
    theta = np.linalg.lstsq(X, y, rcond=None)[0]
    root = np.sqrt(np.diag(X.T @ X)) / s
    outside = np.exp(log_ndtr(-(xi - theta) * root)) + np.exp(log_ndtr(-(xi + theta) * root))
    return {"F": F, "rest": F - terms.value, "box_rest": walled - flat.value,
            "box_tail": float(-np.log1p(-outside).sum()), "constant": terms.constant}


def posterior(settings: Settings) -> Any:
    """y = a b x at one point: U = (ab)^2 / 2 s^2, c = beta / 2 s^2."""
    import sympy as sp

    from sampler import Data, Model, Posterior
    from sampler.shapes import Formula

    a, b, x = sp.symbols("a b x", real=True)
    model = Model.single(Formula("product", a * b * x, ("a", "b")), a=(-1, 1), b=(-1, 1))
    return Posterior(model, Data(np.ones(1), np.zeros(1), noise=(2 * settings.sharpness) ** -0.5))


def product_rate(hot: float, cold: float) -> float:
    """Exact exchange rate of two sharpnesses, A = 2 P(U1 < U2).

    U = (ab)^2 falls with u = -ln |ab|, whose density is u exp(-u) times the Boltzmann weight.
    """
    reach = 0.5 * math.log(max(cold, 1.0)) + 45.0
    u = np.linspace(0.0, reach, 40_001)
    p, q = (u * np.exp(-u - c * np.exp(-2 * u)) for c in (hot, cold))
    step = u[1]
    above = np.concatenate([[0.0], np.cumsum(0.5 * step * (q[1:] + q[:-1]))])
    mass = above[-1] * np.trapezoid(p, u)
    return float(2 * np.trapezoid(p * above, u) / mass)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Expand the line, sample the product, and put the exact values beside."""
    from experiments.straight_line import exchange_rates
    from sampler import Ladder, free_energy_along, sample
    from theory.singular import product_energy, product_partition

    terms = [regular(N, settings) for N in settings.points]
    run = sample(posterior(settings), settings.sweeps, burn_in=settings.burn_in,
                 chains=settings.chains, seed=settings.seed, progress=progress,
                 ladder=Ladder.geometric(settings.rungs, settings.ratio))
    along = free_energy_along(run)
    betas = along.betas[1:]
    c = betas * settings.sharpness
    rate, rate_error = exchange_rates(run)
    energy, heat = product_energy(c)
    return Result(
        settings=asdict(settings), points=np.array(settings.points, dtype=float),
        **{name: np.array([t[name] for t in terms]) for name in terms[0]},
        sharpness=c, F_product=along.free_energy[1:], F_product_error=along.free_energy_error[1:],
        F_product_exact=-np.log(product_partition(c)),
        energy=betas * along.mean_energy[1:], energy_error=betas * along.mean_energy_error[1:],
        energy_exact=energy, heat=along.heat_capacity[1:],
        heat_error=along.heat_capacity_error[1:], heat_exact=heat, rate=rate[1:],
        rate_error=rate_error[1:],
        rate_exact=np.array([product_rate(hot, cold) for hot, cold in pairwise(c)]))


def check(result: Result) -> Claims:
    """The line against printed digits and a limit; the product within four standard errors."""
    at = {int(N): k for k, N in enumerate(result.points)}
    worst = max(abs(result.F[at[N]] / F - 1.0) for N, F in KNOWN.items() if N in at)
    scaled = result.points * result.rest
    slope = float(np.log(result.rest[-1] / result.rest[-2])
                  / np.log(result.points[-1] / result.points[-2]))
    # Below 1e-9 nats the box's rest is the rounding of F itself.
    seen = result.box_tail > 1e-9
    tail = float(np.abs(result.box_rest[seen] / result.box_tail[seen] - 1.0).max())
    claims = [
        Claim("F of the line at N = 5 ... 10,000: largest relative distance from printed digits",
              "0 (exact)", float(worst), 0.0, bool(worst < 1e-6), "< 1e-6"),
        Claim(f"N (F - fit - ln N - O(1)) at N = {result.points[-1]:.0f}", "0.125 (limit)",
              float(scaled[-1]), 0.0, bool(abs(scaled[-1] - 0.125) < 5e-4), "± 0.0005"),
        Claim("slope of ln rest over ln N, last two N", "-1 (limit)", slope, 0.0,
              bool(abs(slope + 1.0) < 0.002), "± 0.002"),
        Claim("rest under the box over what the walls cut off: largest relative distance from 1",
              "0 (exact)", tail, 0.0, tail < 1e-3, f"< 1e-3, {int(seen.sum())} values of N")]
    c = [f"c = {v:.3g}" for v in result.sharpness]
    for name, found, exact, error, labels in (
            ("F~ (nats)", result.F_product, result.F_product_exact, result.F_product_error, c),
            ("beta <U>", result.energy, result.energy_exact, result.energy_error, c),
            ("C", result.heat, result.heat_exact, result.heat_error, c),
            ("exchange rate", result.rate, result.rate_exact, result.rate_error, c[1:])):
        claims.append(farthest(f"y = abx, sampled {name}", found, exact, error, labels))
    claims.append(Claim(
        f"y = abx: beta <U> at c = {result.sharpness[-1]:.0e}", "1/2 (limit)",
        float(result.energy[-1]), float(result.energy_error[-1]), None,
        f"exact {result.energy_exact[-1]:.4f}: 1/2 - 1/ln c, never to be seen as 1/2"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """The line's rest over N; F, energy and exchange rate of the product over c."""
    from experiments.figures import BLACK, BLUE, GREEN, ORANGE, RED, label_panels, panels
    from theory.exchange_rate import power_law

    figure, axes = panels(2, 2, 7.2, 5.6)
    rest, free, energy, rate = axes.flat
    rest.plot(result.points, result.rest, "o", color=BLUE, ms=4, label="normal prior")
    rest.plot(result.points, 0.125 / result.points, color=BLUE, ls="--", lw=1.0, label="1 / 8N")
    seen = result.box_tail > 1e-9
    rest.plot(result.points[seen], result.box_rest[seen], "s", color=ORANGE, ms=4,
              label="box prior")
    rest.plot(result.points[seen], result.box_tail[seen], color=ORANGE, ls=":",
              label="cut off by the walls")
    rest.set(xscale="log", yscale="log", xlabel="number of points N", ylim=(1e-7, 2),
             ylabel="F - fit - ln N - O(1) (nats)", title="The line: what is left")
    rest.legend(loc="upper right", ncols=1)
    c, fine = result.sharpness, result.sharpness > 3
    log_c = np.log(4 * c) + np.euler_gamma
    free.plot(c, result.F_product_exact - 0.5 * np.log(c), color=RED, label="exact")
    free.errorbar(c, result.F_product - 0.5 * np.log(c), 1.96 * result.F_product_error, fmt="o",
                  ms=2.8, color=BLUE, elinewidth=1.0, label="sampled, 95 %")
    free.plot(c[fine], math.log(4 / math.sqrt(math.pi)) - np.log(log_c[fine]), color=BLACK, ls=":",
              lw=1.0, zorder=5, label=r"$-\ln\ln c$ + O(1)")
    shown = c > 0.3
    free.set(xscale="log", xlabel="sharpness c (dimensionless)", xlim=(0.3, 2e6),
             ylim=(float((result.F_product_exact - 0.5 * np.log(c))[-1]) - 0.2, 0.8),
             ylabel=r"$\tilde F - \frac{1}{2}\ln c$ (nats)",
             title=r"y = abx: F without $\frac{1}{2}\ln c$")
    free.legend(loc="upper right")
    for exact, found, error, color, mark, line_, name in (
            (result.energy_exact, result.energy, result.energy_error, BLUE, "o", "-",
             r"$\beta\langle U\rangle$"),
            (result.heat_exact, result.heat, result.heat_error, GREEN, "^", "--", "C")):
        energy.plot(c[shown], exact[shown], color=color, ls=line_)
        energy.errorbar(c[shown], found[shown], 1.96 * error[shown], fmt=mark, ms=3, color=color,
                        elinewidth=1.0, label=f"{name}, 95 %")
    energy.axhline(0.5, color=BLACK, lw=0.8, ls=":")
    energy.text(0.4, 0.51, r"$\lambda$ = 1/2", fontsize=8, va="bottom")
    energy.axhline(1.0, color=BLACK, lw=0.8, ls="-.")
    energy.text(0.4, 1.01, "d/2 = 1", fontsize=8, va="bottom")
    energy.set(xscale="log", xlabel="sharpness c (dimensionless)", ylim=(0, 1.12),
               ylabel=r"$\beta\langle U\rangle$, C (dimensionless)",
               title="y = abx: still below 1/2")
    energy.legend(loc="upper right", bbox_to_anchor=(1.0, 0.85))
    middle = np.sqrt(c[1:] * c[:-1])
    pair = middle > 0.3
    rate.plot(middle[pair], result.rate_exact[pair], color=RED, label="exact")
    rate.errorbar(middle[pair], result.rate[pair], 1.96 * result.rate_error[pair], fmt="o", ms=2.8,
                  color=BLUE, elinewidth=1.0, label="sampled, 95 %")
    for power, look, name in ((0.5, "--", r"power law, $\lambda = 1/2$"),
                              (1.0, "-.", r"power law, d/2 = 1")):
        rate.axhline(float(power_law(power, result.settings["ratio"])), color=BLACK, lw=0.9,
                     ls=look, label=name)
    rate.set(xscale="log", xlabel="sharpness c (dimensionless)", ylabel="exchange rate",
             ylim=(0.77, 1.02), title="y = abx: exchange rate")
    rate.legend(loc="upper right")
    label_panels(axes)
    return {"learning_coefficient": figure}
