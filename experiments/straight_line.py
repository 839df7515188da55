"""A straight line, where everything is known exactly: the sampler's points on the exact curves.

Figure: free energy, mean energy, heat capacity and exchange rate of y = a x + b along the ladder
of temperatures, in the manner of the solvable models of Katakami, Kashiwamura, Nagata, Mizumaki
and Okada, "Mesoscopic Bayesian Inference by Solvable Models", arXiv 2406.02869.

The paper's: the idea of solving linear regression exactly at a finite number of data.

Ours: everything else, because only the paper's abstract could be consulted.  Six points
(x = 0, 1, 2, 3, 4, 6), noise 0.5, prior a ~ N(0, 2**2) and b ~ N(0, 1); 40 temperatures, beta = 0
and 1.5**-k; sweeps and seeds.  The exact curves come from `theory.evidence`, the exact exchange
rates from `theory.exchange_rate.acceptance`.

A second run that assumes noise 0.1 gives the free energy at every larger noise level too: its
temperatures *are* noise levels, s^2 = 0.01 / beta (the exact values come from one regression for
each level).

What may be claimed: at 40 temperatures F~, <U>, C and 39 exchange rates agree with the exact
values within four of their own standard errors, so that the error bars mean what they say; so
do F at 39 noise levels from one run, and the rates between cold temperatures up to a ratio of 11,
where the first-order law of Nagata and Watanabe, Neural Networks 21 (2008) 980, is far off (the
incomplete beta function of which it is the limit is not).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 8.0
X = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)
Y = (0.3, 1.1, 2.4, 2.7, 4.5, 6.2)
MARKERS = "os^"


@dataclass(frozen=True)
class Settings:
    """Ours."""

    noise: float = 0.5
    least_noise: float = 0.1      # of the run whose temperatures are read as noise levels
    slope_sd: float = 2.0
    offset_sd: float = 1.0
    rungs: int = 40
    ratio: float = 1.5
    burn_in: int = 2_000
    sweeps: int = 20_000
    chains: int = 4
    seed: int = 6


SETTINGS = Settings()
QUICK = Settings(burn_in=50, sweeps=60)


@dataclass(frozen=True)
class Result:
    """The sampler's values with their errors, and the exact ones."""

    settings: dict[str, Any]
    betas: Array
    F: Array              # F~ along the ladder (nats)
    F_error: Array
    F_exact: Array
    energy: Array         # <U>
    energy_error: Array
    energy_exact: Array
    heat: Array           # C
    heat_error: Array
    heat_exact: Array
    rate: Array           # exchange rate of each pair of neighbours
    rate_error: Array
    rate_exact: Array
    apart_ratio: Array    # beta2 / beta1 of the coldest rung and others
    apart: Array          # their exchange rate
    apart_error: Array
    apart_exact: Array
    variance: Array       # s^2 of each rung of the run with the least noise, units of y^2
    F_variance: Array     # full F there (nats)
    F_variance_error: Array
    F_variance_exact: Array
    total: Array          # F of line and of constant: ours, error, exact; (2, 3)
    expansion: Array      # fit, penalty, constant of the line (nats)
    grid: Array           # beta of the exact curves
    F_curve: Array
    energy_curve: Array
    heat_curve: Array


def problem(settings: Settings, slope: bool = True) -> Any:
    """The exact side: the line, or the constant alone."""
    from theory.evidence import LinearRegression

    columns = [np.array(X), np.ones(len(X))]
    variances = [settings.slope_sd**2, settings.offset_sd**2]
    first = 0 if slope else 1
    return LinearRegression(np.stack(columns[first:], axis=1), Y, settings.noise,
                            prior_covariance=variances[first:])


def posterior(settings: Settings, slope: bool = True) -> Any:
    """The sampler's side of the same problem."""
    from sampler import Data, Model, Normal, Posterior, shapes

    model = Model.single(shapes.linear, offset=Normal(0, settings.offset_sd),
                         slope=Normal(0, settings.slope_sd) if slope else 0.0)
    return Posterior(model, Data(np.array(X), np.array(Y), noise=settings.noise))


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Sample the line and the constant, and put the exact values beside."""
    from sampler import Ladder, free_energy, free_energy_along, sample
    from theory import evidence, large_n
    from theory.exchange_rate import acceptance

    quiet = replace(settings, noise=settings.least_noise)
    runs = [sample(of, settings.sweeps, burn_in=settings.burn_in,
                   chains=settings.chains, seed=settings.seed + i, progress=progress,
                   ladder=Ladder.geometric(settings.rungs, settings.ratio))
            for i, of in enumerate((posterior(settings), posterior(settings, slope=False),
                                    posterior(quiet)))]
    line, constant = problem(settings), problem(settings, slope=False)
    along = free_energy_along(runs[0])
    betas = along.betas
    rate, rate_error = exchange_rates(runs[0])
    exact = [acceptance(lambda b: evidence.log_partition(line, b), hot, cold)
             for hot, cold in pairwise(betas)]
    colder = range(len(betas) - 2, len(betas) - 8, -1)
    apart = [rate_between(runs[0], k, -1) for k in colder]
    levels = free_energy_along(runs[2])
    variance = settings.least_noise**2 / levels.betas[1:]
    found = [free_energy(run) for run in runs[:2]]
    terms = large_n.expansion(line.design, line.y, settings.noise, lambda theta: float(
        -0.5 * theta @ np.linalg.solve(line.prior_covariance, theta)
        - 0.5 * np.linalg.slogdet(2 * np.pi * line.prior_covariance)[1]))
    grid = np.geomspace(betas[1] / settings.ratio, 1.0, 300)
    return Result(
        settings=asdict(settings), betas=betas,
        F=along.free_energy, F_error=along.free_energy_error,
        F_exact=evidence.reduced_free_energy(line, betas),
        energy=along.mean_energy, energy_error=along.mean_energy_error,
        energy_exact=evidence.mean_energy(line, betas),
        heat=along.heat_capacity, heat_error=along.heat_capacity_error,
        heat_exact=evidence.heat_capacity(line, betas),
        rate=rate, rate_error=rate_error, rate_exact=np.array(exact),
        apart_ratio=np.array([betas[-1] / betas[k] for k in colder]),
        apart=np.array([a for a, _ in apart]), apart_error=np.array([e for _, e in apart]),
        apart_exact=np.array([acceptance(lambda b: evidence.log_partition(line, b), betas[k],
                                         betas[-1]) for k in colder]),
        variance=variance, F_variance_error=levels.free_energy_error[1:],
        F_variance=levels.free_energy[1:] + 0.5 * len(X) * np.log(2 * np.pi * variance),
        F_variance_exact=np.array([evidence.free_energy(problem(replace(settings, noise=v**0.5)))
                                   for v in variance]),
        total=np.array([[f.value, f.error, evidence.free_energy(p)]
                        for f, p in zip(found, (line, constant), strict=True)]),
        expansion=np.array([terms.fit, terms.penalty, terms.constant]), grid=grid,
        F_curve=evidence.reduced_free_energy(line, grid),
        energy_curve=evidence.mean_energy(line, grid),
        heat_curve=evidence.heat_capacity(line, grid))


def exchange_rates(run: Any) -> tuple[Array, Array]:
    """Mean acceptance min(1, exp(...)) of every pair of neighbours, and its standard error."""
    found = [rate_between(run, k, k + 1) for k in range(len(run.betas) - 1)]
    return np.array([rate for rate, _ in found]), np.array([error for _, error in found])


def rate_between(run: Any, hot: int, cold: int) -> tuple[float, float]:
    """The acceptance that an exchange of any two rungs would have, and its standard error."""
    from sampler.diagnostics import effective_sample_size

    gap = (run.betas[cold] - run.betas[hot]) * (run.energy[..., cold] - run.energy[..., hot])
    accept = np.exp(np.minimum(gap, 0.0))
    return (float(accept.mean()),
            float(accept.std() / np.sqrt(effective_sample_size(accept))))


def scores(result: Result) -> dict[str, Array]:
    """(found - exact) / error of the four quantities, rung by rung; F~ and C without beta = 0."""
    return {
        "F~": (result.F - result.F_exact)[1:] / result.F_error[1:],
        "<U>": (result.energy - result.energy_exact) / result.energy_error,
        "C": (result.heat - result.heat_exact)[1:] / result.heat_error[1:],
        "exchange rate": (result.rate - result.rate_exact) / result.rate_error,
        "exchange rate of distant rungs": (result.apart - result.apart_exact)
        / result.apart_error,
        "F at other noise levels": (result.F_variance - result.F_variance_exact)
        / result.F_variance_error}


def check(result: Result) -> Claims:
    """Every z below 4: 202 numbers, strongly correlated along the ladder; false alarm below 2 %."""
    from theory.exchange_rate import power_law, power_law_linear

    claims = []
    for name, z in scores(result).items():
        worst = float(z[np.argmax(np.abs(z))])
        claims.append(Claim(f"{name}: the rung farthest from the exact value", "0 (exact)", worst,
                            1.0, abs(worst) < 4.0, f"{len(z)} rungs, |z| < 4"))
    for name, (value, error, exact) in zip(("line", "constant"), result.total, strict=True):
        claims.append(Claim(f"F, {name} (nats)", f"{exact:.4f} (exact)", float(value),
                            float(error), bool(abs(value - exact) < 4 * error), "4 errors"))
    r = float(result.settings["ratio"])
    claims.append(Claim(
        f"exact exchange rate at r = {r:g}, lambda = 1; the first-order law says "
        f"{power_law_linear(1.0, r):.3f}", "-", float(power_law_rate(result)), 0.0, None,
        f"at r = {r**6:.1f}: {power_law(1.0, r**6):.3f} against {power_law_linear(1.0, r**6):.2f}"))
    gap = float(result.total[1, 2] - result.total[0, 2])
    claims.append(Claim("exact F(constant) - F(line) (nats)", "-", gap, 0.0, None,
                        "the line wins"))
    left = float(result.total[0, 2] - result.expansion.sum())
    claims.append(Claim("exact F - (fit + penalty + constant) (nats)", "O(1/N) (exact)", left, 0.0,
                        None, f"the constant is {result.expansion[2]:.2f} nats, and BIC drops it"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """F~, <U>, C and the exchange rate: exact curves, the sampler's points with error bars."""
    from experiments.figures import BLACK, BLUE, GREEN, ORANGE, RED, label_panels, panels
    from theory.exchange_rate import power_law, power_law_linear

    figure, axes = panels(4, 2, 7.2, 9.0)
    free, energy, heat, level, rate, distant, first, second = axes.flat
    exact_and_sampled = (
        (free, result.F_curve, result.F, result.F_error, r"$\tilde F(\beta)$ (nats)",
         "Free energy"),
        (energy, result.energy_curve, result.energy, result.energy_error,
         r"$\langle U\rangle_\beta$ (nats)", "Mean energy"),
        (heat, result.heat_curve, result.heat, result.heat_error, r"$C(\beta)$ (dimensionless)",
         "Heat capacity"))
    for ax, curve, found, error, label, title in exact_and_sampled:
        ax.plot(result.grid, curve, color=RED, label="exact")
        ax.errorbar(result.betas[1:], found[1:], 1.96 * error[1:], fmt="o", ms=2.8, color=BLUE,
                    elinewidth=1.0, label="sampled (95 % bars)")
        ax.set(xscale="log", xlabel=r"inverse temperature $\beta$ (dimensionless)", ylabel=label,
               title=title)
    energy.set_yscale("log")
    heat.set_ylim(-0.05, 1.18)
    heat.axhline(1.0, color="0.6", lw=0.8, ls=":")
    heat.text(result.betas[1], 1.02, "d/2", fontsize=7.5, color="0.4", va="bottom")
    free.legend(loc="upper left")
    from theory.evidence import free_energy

    shown = result.variance < 20
    settings = Settings(**result.settings)
    fine = np.geomspace(0.8 * result.variance.min(), 1.2 * result.variance[shown].max(), 120)
    level.plot(fine, [free_energy(problem(replace(settings, noise=v**0.5))) for v in fine],
               color=RED)
    level.errorbar(result.variance[shown], result.F_variance[shown],
                   1.96 * result.F_variance_error[shown], fmt="o", ms=2.8, color=BLUE,
                   elinewidth=1.0)
    level.set(xscale="log", xlabel="noise variance $s^2$ (dimensionless)", ylabel="F (nats)",
              title="Free energy of every noise level")
    pair = np.arange(1, len(result.rate) + 1)
    law, line = (float(f(1.0, result.settings["ratio"])) for f in (power_law, power_law_linear))
    rate.plot(pair, result.rate_exact, color=RED)
    rate.errorbar(pair, result.rate, 1.96 * result.rate_error, fmt="o", ms=2.8, color=BLUE,
                  elinewidth=1.0)
    rate.axhline(law, color=GREEN, lw=1.0, ls="--", label=r"incomplete beta, $\lambda = 1$")
    rate.axhline(line, color=BLACK, lw=1.0, ls=":", label="its first order")
    rate.set(xlabel="pair of neighbours (hot to cold)", ylabel="exchange rate", ylim=(0.6, 1.02),
             title="Exchange rate of neighbours")
    rate.legend(loc="lower left")
    r = np.linspace(1.0, 1.1 * float(result.apart_ratio.max()), 200)
    distant.plot(r, power_law(1.0, r), color=GREEN, ls="--")
    distant.plot(r[r < 3], power_law_linear(1.0, r[r < 3]), color=BLACK, ls=":")
    distant.errorbar(result.apart_ratio, result.apart, 1.96 * result.apart_error, fmt="o", ms=3,
                     color=BLUE, elinewidth=1.0)
    distant.plot(result.apart_ratio, result.apart_exact, "_", color=RED, ms=9, mew=1.3,
                 label="exact, prior of finite width")
    distant.legend(loc="upper right")
    distant.set(xlabel=r"ratio of temperatures $\beta_2/\beta_1$, cold end", ylim=(0, 1.02),
                ylabel="exchange rate", title="Exchange rate over the ratio", xlim=(1, None))
    z = scores(result)
    for k, name in enumerate(("F~", "<U>", "C")):
        found = z[name][-len(result.betas) + 1:]
        first.plot(result.betas[1:], found, MARKERS[k], ms=3.2, color=(BLUE, ORANGE, GREEN)[k],
                   label=(r"$\tilde F$", r"$\langle U\rangle$", r"$C$")[k])
    first.set(xscale="log", xlabel=r"inverse temperature $\beta$ (dimensionless)",
              title="Sampled - exact, in errors")
    first.legend(loc="lower left", ncols=3)
    second.plot(pair, z["exchange rate"], "o", ms=3.2, color=BLUE)
    second.set(xlabel="pair of neighbours (hot to cold)", title="The same, exchange rate")
    for ax in (first, second):
        ax.axhspan(-2, 2, color="0.92", lw=0)
        ax.set(ylim=(-4.5, 4.5), ylabel="difference / error")
    label_panels(axes)
    return {"straight_line": figure}


def power_law_rate(result: Result) -> float:
    """The rate of a geometric ladder when the prior is infinitely wide (lambda = d/2 = 1)."""
    from theory.exchange_rate import power_law

    return float(power_law(1.0, result.settings["ratio"]))
