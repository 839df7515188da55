"""Plain Metropolis gets trapped, exchange Monte Carlo does not: what is true of it, measured.

Figure: orderings visited and energies reached by both samplers on the spectrum of Nagata, Sugita
and Okada (Neural Networks 28 (2012) 82, the figure that contrasts the two trajectories), and a
two-mode benchmark with known answer (benchmark I of Nabika et al., arXiv 2502.17858).

The paper's: the spectral problem and the qualitative claim that Metropolis stays in one mode while
exchange mixes; the energy of the two-mode benchmark.

Ours: chains, sweeps and seeds; the quieter spectrum (noise 0.02); the exact answers of the
benchmark by error functions; the comparison of the exchange rate with the exact law.

What may be claimed: at noise 0.1 most plain Metropolis chains do *not* fail in energy.  They find
the right energy in one of the 3! = 6 equivalent orderings and stay there; some stay where two of
their peaks share one of the spectrum's.  At noise 0.02 they are really trapped: many end thousands
of nats too high.  Each chain is tuned by itself, as it would be if it were the only one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments import nagata2012_number_of_peaks as nagata
from experiments.claims import Claim, Claims
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 12.0
THINNED = 10      # of the traces every tenth sweep is kept


@dataclass(frozen=True)
class Settings:
    """Ours throughout; the problem itself is Nagata's."""

    metropolis_chains: int = 20
    metropolis_burn_in: int = 5_000
    metropolis_sweeps: int = 15_000
    exchange_burn_in: int = 2_000
    exchange_sweeps: int = 8_000
    quiet_noise: float = 0.02
    quiet_chains: int = 16
    quiet_burn_in: int = 1_500
    quiet_sweeps: int = 3_000
    quiet_rungs: int = 32
    law_sweeps: int = 20_000
    bimodal_sweeps: int = 20_000
    seed: int = 1996


SETTINGS = Settings()
QUICK = Settings(metropolis_chains=4, metropolis_burn_in=100, metropolis_sweeps=200,
                 exchange_burn_in=200, exchange_sweeps=300, quiet_chains=4, quiet_burn_in=100,
                 quiet_sweeps=200, law_sweeps=300, bimodal_sweeps=500)


@dataclass(frozen=True)
class Result:
    """What the figure and the table need."""

    settings: dict[str, Any]
    metropolis_energy: Array     # mean U of each Metropolis chain, noise 0.1
    loud_exchange: float         # mean U of the exchange run, noise 0.1
    metropolis_orderings: Array  # how many of the six orderings each visited
    exchange_orderings: Array    # share of sweeps in each of the six orderings
    orderings_error: Array       # its standard error
    exchange_round_trips: int
    trace_metropolis: Array      # centre of the first peak along one chain
    trace_exchange: Array
    quiet_metropolis: Array      # mean U over the last half of each chain, noise 0.02
    quiet_exchange: Array        # of the exchange run's chains, all sweeps
    quiet_round_trips: int
    swap_rate: Array             # K = 3, ratio 1.5
    law: float
    bimodal_F: float
    bimodal_error: float
    bimodal_exact: float
    bimodal_left: float
    bimodal_left_error: float
    bimodal_left_exact: float


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Metropolis and exchange on the same posteriors."""
    from sampler import Ladder, diagnose, metropolis, sample
    from sampler.diagnostics import round_trips

    loud = nagata.posterior(3, nagata.SETTINGS)
    plain = [metropolis(loud, settings.metropolis_sweeps, burn_in=settings.metropolis_burn_in,
                        chains=1, seed=settings.seed + i, progress=progress)
             for i in range(settings.metropolis_chains)]
    mixed = sample(loud, settings.exchange_sweeps, burn_in=settings.exchange_burn_in, chains=1,
                   seed=settings.seed, ladder=Ladder.geometric(24, 1.5), progress=progress)
    quiet = nagata.posterior(3, replace(nagata.SETTINGS, noise=settings.quiet_noise))
    stuck = [metropolis(quiet, settings.quiet_sweeps, burn_in=settings.quiet_burn_in, chains=1,
                        seed=settings.seed + i, progress=progress)
             for i in range(settings.quiet_chains)]
    free = sample(quiet, settings.quiet_sweeps, burn_in=settings.quiet_burn_in, chains=4,
                  seed=settings.seed + 1, ladder=Ladder.geometric(settings.quiet_rungs, 1.5),
                  progress=progress)
    law_run = sample(loud, settings.law_sweeps, burn_in=settings.metropolis_burn_in,
                     seed=settings.seed + 2, ladder=Ladder.geometric(24, 1.5), progress=progress)
    half = settings.quiet_sweeps // 2
    return Result(
        settings=asdict(settings),
        metropolis_energy=np.array([run.energy.mean() for run in plain]),
        metropolis_orderings=np.array([np.count_nonzero(_shares(run.draws[0])) for run in plain],
                                      float),
        loud_exchange=float(mixed.energy[..., -1].mean()),
        exchange_orderings=_shares(mixed.draws[0]), orderings_error=_errors(mixed.draws[0]),
        exchange_round_trips=int(diagnose(mixed).round_trips),
        trace_metropolis=plain[0].draws[0, ::THINNED, 2],
        trace_exchange=mixed.draws[0, ::THINNED, 2],
        quiet_metropolis=np.array([run.energy[:, half:].mean() for run in stuck]),
        quiet_exchange=free.energy[..., -1].mean(axis=1),
        quiet_round_trips=int(round_trips(free.replica)), swap_rate=law_run.swap_rate,
        law=nagata.exchange_law(1.5), **_bimodal(settings, progress))


def _orderings(draws: Array) -> Array:
    """Which of the six orderings of the three centres each sweep is in, 0 or 1, (6, sweeps)."""
    order = np.argsort(draws[:, 2::3], axis=1)
    return np.array([np.all(order == p, axis=1) for p in permutations(range(3))], dtype=float)


def _shares(draws: Array) -> Array:
    """Share of the sweeps in each of the six orderings, (6,)."""
    return np.asarray(_orderings(draws).mean(axis=1))


def _errors(draws: Array) -> Array:
    """Standard errors of those shares: the larger of both routes, as for a free energy."""
    from sampler.series import series_errors

    return np.array([max(series_errors(one[None])[:2]) for one in _orderings(draws)])


def bimodal_posterior() -> Any:
    """Two modes on the unit square, written as two data points with piecewise residuals."""
    import sympy as sp

    from sampler import Data, Formula, Model, Posterior

    x, s, t = sp.symbols("x s t", real=True)
    half, quarter = sp.Rational(1, 2), sp.Rational(1, 4)
    across = sp.Piecewise((sp.sqrt(sp.Rational(1001, 1000)) * (s - quarter), s < half),
                          (sp.sqrt((s - 3 * quarter) ** 2 + sp.Rational(1, 16000)), True))
    formula = Formula("two_modes", (1 - x) * (t - half) + x * across, ("s", "t"))
    # U = 300 * 100 * r**2 = r**2 / (2 sigma**2).
    data = Data(np.array([0.0, 1.0]), np.zeros(2), noise=60_000.0**-0.5)
    return Posterior(Model.single(formula, s=(0, 1), t=(0, 1)), data)


def bimodal_exact() -> tuple[float, float]:
    """F~ and the mass of the left mode, by error functions."""
    from scipy.special import erf

    def gauss(precision: float, lo: float, hi: float) -> float:
        root = np.sqrt(precision)
        return float(np.sqrt(np.pi) / (2 * root) * (erf(root * hi) - erf(root * lo)))

    c = 30_000.0
    up = gauss(c, -0.5, 0.5)
    left = gauss(1.001 * c, -0.25, 0.25) * up
    right = gauss(c, -0.25, 0.25) * up * np.exp(-c * 0.001 / 16)
    return float(-np.log(left + right)), float(left / (left + right))


def _bimodal(settings: Settings, progress: Any) -> dict[str, float]:
    from sampler import free_energy, sample
    from sampler.diagnostics import effective_sample_size

    run = sample(bimodal_posterior(), settings.bimodal_sweeps, seed=settings.seed + 3,
                 progress=progress)
    found, left = free_energy(run), (run.draws[..., 0] < 0.5).astype(float)
    exact, mass = bimodal_exact()
    error = float(left.std() / effective_sample_size(left) ** 0.5)
    return {"bimodal_F": found.reduced, "bimodal_error": found.error, "bimodal_exact": exact,
            "bimodal_left": float(left.mean()), "bimodal_left_error": error,
            "bimodal_left_exact": mass}


def check(result: Result) -> Claims:
    """What must come out."""
    right = float(np.mean(result.quiet_metropolis < result.quiet_exchange.mean() + 10.0))
    z_f = (result.bimodal_F - result.bimodal_exact) / result.bimodal_error
    z_m = (result.bimodal_left - result.bimodal_left_exact) / result.bimodal_left_error
    low, high = result.metropolis_energy.min(), result.metropolis_energy.max()
    chains = len(result.metropolis_energy)
    found = int(np.sum(abs(result.metropolis_energy - result.loud_exchange) < 1.0))
    worst = float(result.swap_rate[-10:][np.argmax(abs(result.swap_rate[-10:] - result.law))])
    return Claims([
        Claim("noise 0.1: orderings visited by a Metropolis chain (largest)", "stays in one",
              float(result.metropolis_orderings.max()), 0.0,
              bool(result.metropolis_orderings.max() == 1), "exactly 1 of 6"),
        Claim("noise 0.1: lowest <U> of the Metropolis chains", "-", float(low), 0.0,
              bool(low > 148.1), "> 148.1"),
        Claim("noise 0.1: Metropolis chains at the energy of exchange", "-", f"{found} of {chains}",
              0.0, bool(found > chains / 2), f"most; the highest has <U> = {high:.0f}"),
        Claim("noise 0.1: smallest share of an ordering under exchange", "mixes",
              float(result.exchange_orderings.min()),
              float(result.orderings_error[result.exchange_orderings.argmin()]),
              bool(result.exchange_orderings.min() > 0.05), "> 0.05 (1/6 expected)"),
        Claim("noise 0.02: share of Metropolis chains at the right energy", "stays in a mode",
              right, 0.0, right <= 0.7, "<= 0.7"),
        Claim("noise 0.02: <U> under exchange", "-", float(result.quiet_exchange.mean()),
              float(result.quiet_exchange.std(ddof=1) / len(result.quiet_exchange) ** 0.5),
              bool(abs(result.quiet_exchange.mean() - 148.7) < 1.5), "148.7 +- 1.5"),
        Claim("exchange rate of the ten coldest pairs, the one farthest from the law",
              f"{result.law:.4f} (law)", worst, 0.0, abs(worst - result.law) < 0.04,
              "within 0.04"),
        Claim("two modes: F", f"{result.bimodal_exact:.5f} (exact)", result.bimodal_F,
              result.bimodal_error, abs(z_f) < 4, f"z = {z_f:+.2f}, |z| < 4"),
        Claim("two modes: mass of the left mode", f"{result.bimodal_left_exact:.5f} (exact)",
              result.bimodal_left, result.bimodal_left_error, abs(z_m) < 4,
              f"z = {z_m:+.2f}, |z| < 4"),
    ])


@styled
def draw(result: Result) -> dict[str, Any]:
    """Traces, orderings, energies and exchange rates in one figure."""
    from experiments.figures import BLUE, ORANGE, RED, label_panels, panels, plain_ticks
    from sampler.evidence import half_width

    figure, axes = panels(2, 2, 7.2, 5.4)
    trace, orderings, energies, rates = axes.flat
    s = result.settings
    shown = min(s["exchange_sweeps"], s["metropolis_sweeps"]) // THINNED
    sweep = THINNED * np.arange(shown)
    trace.plot(sweep, result.trace_exchange[:shown], ".", ms=1.5, color=BLUE, label="exchange")
    trace.plot(sweep, result.trace_metropolis[:shown], ".", ms=2, color=ORANGE,
               label="Metropolis")
    trace.set(xlabel="counted sweep", ylabel=r"$\mu_1$ (dimensionless)", ylim=(1.05, 2.05),
              title="Centre of the first peak, noise 0.1")
    trace.legend(loc="upper right", markerscale=4, ncols=2)
    names = ["".join(str(i + 1) for i in p) for p in permutations(range(3))]
    orderings.bar(names, result.exchange_orderings, color=BLUE,
                  yerr=half_width(0.95, 7) * result.orderings_error, ecolor="0.25")
    orderings.axhline(1 / 6, color=RED, ls="--", lw=1.2, label="1/6")
    orderings.set(xlabel="ordering of the three centres", ylabel="share of sweeps",
                  title="Exchange visits all orderings (bars: 95 %)")
    orderings.set_ylim(0.0, 1.25 * orderings.get_ylim()[1])
    orderings.legend(loc="upper right")
    order = np.sort(result.quiet_metropolis)
    energies.plot(np.arange(1, len(order) + 1), order, "o", color=ORANGE, ms=4)
    energies.axhline(result.quiet_exchange.mean(), color=BLUE, lw=1.4)
    energies.set(xlabel="chain (sorted)", ylabel=r"$\langle U \rangle$ (nats)", yscale="log",
                 title="Trapped at noise 0.02", xticks=range(2, len(order) + 1, 2))
    # Words instead of a legend, whose sample point would look like one of the chains.
    energies.annotate("Metropolis, a point for each chain", (1, order[0]), (0.03, 0.5),
                      textcoords="axes fraction", color=ORANGE, fontsize=8,
                      arrowprops={"arrowstyle": "-", "color": ORANGE, "lw": 0.6})
    energies.annotate("exchange", (len(order), result.quiet_exchange.mean()), (0, 5),
                      textcoords="offset points", color=BLUE, fontsize=8, ha="right")
    plain_ticks(energies.yaxis, (100, 200, 500, 1000, 2000, 5000))
    rates.plot(np.arange(1, len(result.swap_rate) + 1), result.swap_rate, "o", color=BLUE, ms=4,
               label="measured")
    rates.axhline(result.law, color=RED, ls="--", lw=1.2, label="law of 9 regular parameters")
    rates.set(xlabel="pair of neighbours (hot to cold)", ylabel="exchange rate", ylim=(0, 1),
              title="Flat at the cold end")
    rates.legend(loc="lower left")
    label_panels(axes)
    return {"trapped_metropolis": figure}
