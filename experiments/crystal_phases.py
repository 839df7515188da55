"""Which crystal phases are in a powder pattern?  All 2**50 combinations, two ways.

Figure: a synthetic pattern of three phases with the fit, the probability of each of 50 candidates
by exchange Monte Carlo over combinations and by sparse variational inference, and a pair of
candidates that hardly differ.  After Murakami, Nagata, Matsushita and Demura (arXiv 2501.09308):
the posterior over combinations of phases from the whole profile, by variational inference within
seconds, in agreement with their Monte Carlo search that took hours.

The paper's: 50 candidates; Table 1 as shown in M. Okada's talk (2025-02-17): MCMC 10371.5 s, SVI on
a CPU 260.8 s, SVI on a GPU 7.2 s.  Their profile function, priors and hardware are not known to us.

Ours: everything else.  50 candidates of 8 to 20 pseudo-Voigt lines (mixing 0.5, FWHM 0.24 degrees)
uniform in 15 to 88 degrees, exponential intensities, strongest 1 (default_rng(1)); 2001 points from
10 to 90 degrees; phases 4, 17 and 33 with amounts 1, 0.4 and 0.15 on a background
0.3 + 0.004 (50 - x), noise 0.05 (known).  Prior: each phase present with probability 0.06, amounts
N(0, 1), background coefficients N(0, 10).  Amounts and background are integrated out exactly;
combinations move by flips and by trades of one phase for another.  The ladder is a geometric one of
32 rungs: on the tuned one of 16 every pair exchanges at 0.73, but a combination that lacks a weak
phase is never met on the colder rung of a pair although it counts there for the reverse stepping
stone, and the run says so.  Our variational inference is
mean-field coordinate ascent (`experiments.sparse_variational`).  The exact answer is the sum over
all combinations that hold the three phases and at most two more; what it leaves out is stated.
The pair: a 51st candidate with the lines of phase 33 moved by 0.01 degrees.

What may be claimed: both name the three phases, and agree, as long as no two candidates resemble
each other.  Where two do, the product of independent laws cannot say "one of the two": the
probabilities it gives for the pair are wrong, without a warning.  The times are of this problem on
the machine named in the result, one process; the paper's are of another problem on another one.
"""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, farthest
from experiments.figures import styled
from experiments.sparse_variational import Products, mean_field, products

Array = NDArray[np.float64]
SECONDS = 40.0
TABLE_1 = {"MCMC": 10371.5, "SVI, CPU": 260.8, "SVI, GPU": 7.2}     # the paper's (s)


@dataclass(frozen=True)
class Settings:
    """Ours, but for the number of candidates."""

    candidates: int = 50
    points: int = 2001
    fwhm: float = 0.24                      # degrees
    mixing: float = 0.5
    truth: tuple[int, ...] = (4, 17, 33)
    amounts: tuple[float, ...] = (1.0, 0.4, 0.15)
    noise: float = 0.05
    present: float = 0.06
    amount_sd: float = 1.0
    background_variance: float = 10.0
    twin_shift: float = 0.01                # degrees
    dictionary_seed: int = 1
    rungs: int = 32
    ratio: float = 1.3
    burn_in: int = 2_000
    sweeps: int = 10_000
    chains: int = 4
    seed: int = 50
    spectra: int = 64                       # measurements that the mean field fits at once


SETTINGS = Settings()
QUICK = Settings(burn_in=20, sweeps=50, spectra=2)


@dataclass(frozen=True)
class Result:
    """What the figure and the table need; index 0 the 50 candidates, index 1 those and the twin."""

    settings: dict[str, Any]
    x: Array
    y: Array
    fit: Array
    inclusion: list[Array]        # by exchange Monte Carlo
    inclusion_error: list[Array]
    exact: list[Array]            # by summation
    left_out: Array               # estimate of the probability that the sum leaves out
    mean_field: list[Array]
    twin_starts: Array            # (2, 2) mean field of phase 33 and its twin, two starts
    amount: Array                 # (3, 2) mean and sd of the true phases' amounts, Monte Carlo
    amount_mean_field: Array      # (3, 2)
    F: Array
    F_error: Array
    F_exact: Array
    bound: Array                  # upper bound of F by the mean field
    trusted: list[bool]
    problems: list[list[str]]
    lowest_swap_rate: Array
    round_trips: Array
    proposals: float              # flips and trades of the first run, all chains, counted sweeps
    seconds: dict[str, float]     # CPU seconds
    machine: str


def dictionary(settings: Settings, twin: bool = False) -> dict[str, tuple[Array, Array]]:
    """Lines of every candidate: positions (degrees 2-theta) and intensities (strongest 1)."""
    generator = np.random.default_rng(settings.dictionary_seed)
    out = {}
    for k in range(settings.candidates):
        lines = int(generator.integers(8, 21))
        positions = np.sort(generator.uniform(15.0, 88.0, lines))
        intensities = generator.exponential(size=lines)
        out[f"phase{k}"] = positions, intensities / intensities.max()
    if twin:
        positions, intensities = out[f"phase{settings.truth[-1]}"]
        out["twin"] = positions + settings.twin_shift, intensities
    return out


def posterior(y: Array, settings: Settings, twin: bool = False) -> Any:
    """Background and all candidates, given one pattern."""
    import sympy as sp

    from sampler import Data, Formula, Model, Normal, Posterior
    from sampler.instruments.diffraction import phase_search

    x, c0, c1 = sp.symbols("x c0 c1", real=True)
    sd = settings.background_variance**0.5
    background = Model.single(Formula("background", c0 + c1 * (x - 50) / 40, ("c0", "c1")),
                              c0=Normal(0, sd), c1=Normal(0, sd))
    phases = phase_search(dictionary(settings, twin), settings.fwhm, settings.mixing,
                          settings.present, amount=Normal(0, settings.amount_sd))
    return Posterior(background + phases, Data(grid(settings), y, settings.noise,
                                               x_label="2θ (degrees)", y_label="intensity"))


def grid(settings: Settings) -> Array:
    """The measured angles (degrees 2-theta)."""
    return np.linspace(10.0, 90.0, settings.points)


def columns(settings: Settings, twin: bool = False) -> tuple[Array, Array]:
    """Candidates (n, m) and background (n, 2) as columns, typed here a second time."""
    x = grid(settings)[:, None]
    shapes = []
    for positions, intensities in dictionary(settings, twin).values():
        u = ((x - positions) / (0.5 * settings.fwhm)) ** 2
        line = settings.mixing / (1.0 + u) + (1.0 - settings.mixing) * 0.5**u
        shapes.append(line @ intensities)
    return np.stack(shapes, axis=1), np.concatenate([np.ones_like(x), (x - 50.0) / 40.0], axis=1)


def patterns(settings: Settings, count: int) -> Array:
    """Measurements (count, n) of the same three phases, the first the one of the figure."""
    shapes, _ = columns(settings)
    clean = 0.3 + 0.004 * (50.0 - grid(settings)) + shapes[:, list(settings.truth)] @ np.array(
        settings.amounts)
    generator = np.random.default_rng([settings.dictionary_seed, 2])
    return np.asarray(clean + settings.noise * generator.normal(size=(count, len(clean))))


def summed(data: Products, cores: Sequence[Sequence[int]], rho: float, tau: float,
           more: int = 2) -> tuple[float, Array, float]:
    """F, inclusions, and an estimate of the probability left out, by summation over combinations.

    Parameters
    ----------
    data : Products
        Of one measurement.
    cores : sequence of sequences of columns
        Every combination that holds one of these exactly, and at most ``more`` of the columns in
        none of them.
    rho, tau : float
        Prior probability of a column, prior standard deviation of an amplitude.
    more : int

    Returns
    -------
    F, inclusion, left_out
        left_out: the probability of the combinations with ``more`` further columns times that
        with one, over that with none: what one more column would add, if they were independent.
    """
    m = data.gram.shape[0]
    others = sorted(set(range(m)) - {j for core in cores for j in core})
    sets, weights = [], []
    for core, extra in itertools.product(cores, range(more + 1)):
        for added in itertools.combinations(others, extra):
            chosen = [*core, *added]
            sets.append(chosen)
            weights.append(_log_weight(data, chosen, rho, tau))
    log_w = np.array(weights)
    top = log_w.max()
    p = np.exp(log_w - top)
    total = float(p.sum())
    inclusion, size = np.zeros(m), np.zeros(more + 1)
    for chosen, share in zip(sets, p / total, strict=True):
        inclusion[chosen] += share
        size[len([j for j in chosen if j in others])] += share
    return -float(top + np.log(total)), inclusion, float(size[-1] * size[1] / size[0])


def _log_weight(data: Products, chosen: list[int], rho: float, tau: float) -> float:
    """ln of prior times evidence of one combination, its amplitudes integrated out."""
    k, m = len(chosen), data.gram.shape[0]
    A = np.eye(k) / tau**2 + data.gram[np.ix_(chosen, chosen)]
    b = data.pull[0, chosen]
    log_prior = k * np.log(rho) + (m - k) * np.log1p(-rho)
    return float(log_prior + data.log_empty[0] + 0.5 * b @ np.linalg.solve(A, b)
                 - 0.5 * np.linalg.slogdet(A)[1] - k * np.log(tau))


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Both searches, with and without the twin, the sums, and the times."""
    from sampler import diagnose, free_energy

    y = patterns(settings, settings.spectra)
    sd, names = settings.background_variance**0.5, list(dictionary(settings, True))
    runs, data, found = [], [], []
    seconds: dict[str, float] = {}
    for twin in (False, True):
        runs.append(_searched(y[0], settings, twin, progress, seconds))
        begin = time.process_time()
        shapes, background = columns(settings, twin)
        data.append(products(shapes, y[:1], settings.noise, background, sd))
        found.append(mean_field(data[-1], settings.present, settings.amount_sd))
        seconds.setdefault("mean field", time.process_time() - begin)
    begin = time.process_time()
    shapes, background = columns(settings)
    mean_field(products(shapes, y, settings.noise, background, sd), settings.present,
               settings.amount_sd)
    seconds["mean field, each of many"] = (time.process_time() - begin) / settings.spectra
    truth, last = list(settings.truth), settings.truth[-1]
    begin = time.process_time()
    swapped = [*truth[:-1], settings.candidates]
    sums = [summed(data[0], [truth], settings.present, settings.amount_sd),
            summed(data[1], [truth, swapped, [*truth, settings.candidates]], settings.present,
                   settings.amount_sd)]
    seconds["summation"] = time.process_time() - begin
    shares = [_inclusion(run, names) for run in runs]
    diagnoses, free = [diagnose(run) for run in runs], [free_energy(run) for run in runs]
    return Result(
        settings=asdict(settings), x=grid(settings), y=y[0], fit=_fit(runs[0]),
        inclusion=[s[0] for s in shares], inclusion_error=[s[1] for s in shares],
        exact=[s[1] for s in sums], left_out=np.array([s[2] for s in sums]),
        mean_field=[f.inclusion[0] for f in found],
        twin_starts=_two_starts(data[1], last, settings),
        amount=np.array([_amount(runs[0], f"phase{k}") for k in truth]),
        amount_mean_field=np.stack([found[0].mean[0, truth], found[0].sd[truth]], axis=1),
        F=np.array([f.value for f in free]), F_error=np.array([f.error for f in free]),
        F_exact=np.array([s[0] for s in sums]),
        bound=np.array([-float(f.bound[0]) for f in found]), trusted=[d.trusted for d in diagnoses],
        problems=[list(d.problems) for d in diagnoses],
        lowest_swap_rate=np.array([d.lowest_swap_rate for d in diagnoses]),
        round_trips=np.array([float(d.round_trips) for d in diagnoses]),
        proposals=float(settings.candidates * 1.5 * (settings.rungs - 1) * settings.chains
                        * settings.sweeps),
        seconds=seconds, machine=_machine())


def _searched(y: Array, settings: Settings, twin: bool, progress: Any,
              seconds: dict[str, float]) -> Any:
    from sampler import Ladder, sample

    problem = posterior(y, settings, twin)
    # Compiled and tabulated before the clock starts: the paper's times are of the search alone.
    sample(problem, 1, burn_in=0, chains=1, seed=1, integrate_out="amplitudes")
    begin = time.process_time()
    label = "with the twin" if twin else "50 candidates"
    run = sample(problem, settings.sweeps, burn_in=settings.burn_in, chains=settings.chains,
                 seed=settings.seed + twin, integrate_out="amplitudes",
                 ladder=Ladder.geometric(settings.rungs, settings.ratio),
                 progress=progress and (lambda d, t, w: progress(d, t, f"{label}, {w}")))
    seconds.setdefault("exchange Monte Carlo", time.process_time() - begin)
    return run


def _inclusion(run: Any, names: list[str]) -> tuple[Array, Array]:
    """Share of the draws with each phase in, and its error; where nothing ever changed, as if one
    more draw had."""
    from sampler.series import autocorrelation_time

    places = [run.posterior.names.index(f"{n}_present") for n in names
              if f"{n}_present" in run.posterior.names]
    g = run.draws[..., places]
    p, size = g.mean(axis=(0, 1)), g.shape[0] * g.shape[1]
    tau = np.array([autocorrelation_time(g[..., k]) if 0.0 < p[k] < 1.0 else 1.0
                    for k in range(len(places))])
    return p, np.sqrt(np.maximum(p * (1.0 - p), 1.0 / size) * tau / size)


def _amount(run: Any, name: str) -> tuple[float, float]:
    place = run.posterior.names.index
    h = run.draws[..., place(f"{name}_amount")][run.draws[..., place(f"{name}_present")] == 1.0]
    return (float(h.mean()), float(h.std())) if h.size else (0.0, 0.0)


def _fit(run: Any) -> Array:
    theta = run.draws[:, :: max(1, run.sweeps // 25)].reshape(-1, run.posterior.dimension)
    return np.asarray(run.posterior.predict(theta).mean(axis=0))


def _two_starts(data: Products, last: int, settings: Settings) -> Array:
    """Mean field of the pair, started from the one and from the other."""
    out = []
    for one, other in ((last, -1), (-1, last)):
        start = np.full((1, data.gram.shape[0]), settings.present)
        start[0, one], start[0, other] = 1.0, 0.0
        pair = mean_field(data, settings.present, settings.amount_sd, start).inclusion[0]
        out.append([pair[last], pair[-1]])
    return np.array(out)


def _machine() -> str:
    from experiments.benchmark import processor

    return f"{processor()}, {platform.system()}"


def check(result: Result) -> Claims:
    """What must come out; the exact answer is the sum over combinations."""
    settings = replace(SETTINGS, **result.settings)
    truth = list(settings.truth)
    others = [k for k in range(settings.candidates) if k not in truth]
    names = [f"phase {k}" for k in range(settings.candidates)] + ["twin"]
    mc, field = result.inclusion[0], result.mean_field[0]
    pair = [settings.truth[-1], settings.candidates]
    claims = [
        Claim("lowest probability of the three phases, exchange Monte Carlo", "present",
              float(mc[truth].min()), float(result.inclusion_error[0][truth].min()),
              bool(mc[truth].min() > 0.99), "> 0.99"),
        Claim("lowest probability of the three phases, mean field", "present",
              float(field[truth].min()), 0.0, bool(field[truth].min() > 0.99), "> 0.99"),
        Claim("highest probability of any other phase, exchange Monte Carlo", "absent",
              float(mc[others].max()), float(result.inclusion_error[0][int(np.argmax(
                  np.where(np.isin(np.arange(len(mc)), others), mc, 0.0)))]),
              bool(mc[others].max() < 0.5), "< 0.5"),
        Claim("highest probability of any other phase, mean field", "absent",
              float(field[others].max()), 0.0, bool(field[others].max() < 0.5), "< 0.5"),
        farthest("probability of a phase", mc, result.exact[0], result.inclusion_error[0], names),
        farthest("probability of a phase, with the twin", result.inclusion[1], result.exact[1],
                 result.inclusion_error[1], names),
        farthest("F (nats)", result.F, result.F_exact, result.F_error, ["50 phases", "with twin"]),
        Claim("largest probability that the sums leave out", "-",
              float(max(result.left_out)), 0.0, bool(max(result.left_out) < 2e-3),
              "< 0.002, estimated"),
        Claim("mean field: lower bound of ln Z below the exact one (nats)", "-",
              float(result.bound[0] - result.F_exact[0]), 0.0,
              bool(0.0 < result.bound[0] - result.F_exact[0] < 1.0), "0 to 1"),
        Claim("largest |mean field - exact| probability, 50 phases", "agree",
              float(np.abs(field - result.exact[0]).max()), 0.0,
              bool(np.abs(field - result.exact[0]).max() < 0.05), "< 0.05"),
        Claim("the twin: |mean field - exact| probability", "-",
              float(np.abs(result.mean_field[1] - result.exact[1])[pair].max()), 0.0,
              bool(np.abs(result.mean_field[1] - result.exact[1])[pair].max() > 0.1),
              "> 0.1: independent laws cannot say 'one of the two'"),
        *[Claim(f"amount of phase {k}", f"{h:g}", float(m), float(sd), bool(abs(m - h) < 4 * sd),
                "4 posterior sd") for k, h, (m, sd) in zip(
                    truth, settings.amounts, result.amount, strict=True)],
        Claim("runs that are not trusted", "-", sum(not t for t in result.trusted), 0.0,
              all(result.trusted), "none"),
        Claim("lowest swap rate", "-", float(min(result.lowest_swap_rate)), 0.0,
              bool(min(result.lowest_swap_rate) > 0.1), "> 0.1 on every pair"),
        Claim("round trips between hot and cold", "-", float(min(result.round_trips)), 0.0,
              bool(min(result.round_trips) > 10), "> 10"),
    ]
    return Claims([*claims, *_times(result)])


def _times(result: Result) -> list[Claim]:
    """The paper's Table 1 beside our times, listed and not judged."""
    s = result.seconds
    rows = [("exchange Monte Carlo", "MCMC", f"{result.proposals:.2g} proposals"),
            ("mean field", "SVI, CPU", "Gram matrix and updates"),
            ("mean field, each of many", "SVI, GPU", "many measurements at once, on the CPU: no "
             "GPU was measured")]
    return [Claim(f"{ours}, CPU seconds", f"{TABLE_1[theirs]} s ({theirs})", s[ours], 0.0, None,
                  f"{note}; {result.machine}; the paper's is another problem")
            for ours, theirs, note in rows]


@styled
def draw(result: Result) -> dict[str, Any]:
    """Pattern and fit; probabilities; the pair; times."""
    from experiments.figures import BLUE, ORANGE, RED, label_panels, panels

    settings = replace(SETTINGS, **result.settings)
    figure, axes = panels(2, 2, 7.4, 5.6)
    measured, phases, twin, clock = axes.flat
    measured.plot(result.x, result.y, ".", ms=1.5, color="0.6", label="synthetic data")
    measured.plot(result.x, result.fit, color=BLUE, lw=0.8, label="posterior mean")
    measured.set(xlabel="2θ (degrees)", ylabel="intensity (arb. units)",
                 title="Three of 50 phases")
    measured.legend(loc="upper left")
    k = np.arange(settings.candidates)
    for t in settings.truth:
        phases.axvline(t, color="0.85", lw=4, zorder=0)
    phases.errorbar(k, result.inclusion[0], result.inclusion_error[0], fmt="o", ms=3, color=BLUE,
                    label="Monte Carlo (1 sd)")
    phases.plot(k, result.mean_field[0], "x", ms=4, color=ORANGE, label="mean field")
    phases.plot(k, result.exact[0], "_", ms=6, color="0.2", label="exact sum")
    phases.set(yscale="log", ylim=(1e-4, 300.0), xlabel="candidate (grey: in the data)",
               ylabel="p(present)", title="50 candidates")
    phases.legend(ncols=2, loc="upper left")
    pair = [settings.truth[-1], settings.candidates]
    rows = [("exact sum", result.exact[1][pair], "0.6", None),
            ("Monte Carlo", result.inclusion[1][pair], BLUE, result.inclusion_error[1][pair]),
            ("mean field", result.mean_field[1][pair], ORANGE, None),
            ("same, from the twin", result.twin_starts[1], RED, None)]
    for i, (label, values, color, error) in enumerate(rows):
        twin.bar(np.array([0.0, 1.2]) + 0.25 * i, values, 0.23, color=color, yerr=error,
                 label=label)
    twin.set(xticks=[0.37, 1.57], ylim=(0, 1.5), ylabel="p(present)",
             title="Two that hardly differ", xlabel="candidate")
    twin.set_xticklabels([f"phase {settings.truth[-1]}\n(in the data)",
                          f"its twin,\n{settings.twin_shift:g}° away"])
    twin.legend(ncols=2, loc="upper left")
    times = [("exchange Monte Carlo", "MCMC"), ("mean field", "SVI, CPU"),
             ("mean field, each of many", "SVI, GPU")]
    at = np.arange(3)
    clock.barh(at - 0.18, [result.seconds[ours] for ours, _ in times], 0.34, color=BLUE,
               label="ours (CPU seconds)")
    clock.barh(at + 0.18, [TABLE_1[theirs] for _, theirs in times], 0.34, color="0.75",
               label="Murakami et al., Table 1")
    clock.set(xscale="log", xlabel="seconds (other problem and machine)", yticks=at,
              title="Time for one pattern", xlim=(1e-4, 1e5), ylim=(4.2, -0.6))
    clock.set_yticklabels(["Monte\nCarlo", "varia-\ntional", "many at once\n(theirs: GPU)"])
    clock.legend(loc="lower left")
    label_panels(axes)
    return {"crystal_phases": figure}
