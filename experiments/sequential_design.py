"""Where to measure next, if the question is two peaks or three?  A sequential design.

Figure: what was measured where, and F(2) - F(3) against the dose, for three designs.

The paper's: the theme, active learning with the choice of a model, of Nabika et al. (arXiv
2305.07040); the three peaks of Nagata, Sugita and Okada (Neural Networks 28 (2012) 82).  The
settings and numbers of the former are not used: only its abstract could be consulted.

Ours: everything else, and the counts are synthetic.  Three peaks on a background of 0.1; 40 even
points of exposure 5, then rounds of ten points of exposure 10 out of 151.  A round measures where
two and three peaks, as known so far, predict most differently (`worth`), a pick and its neighbours
counting 0.3 for the next.  Beside it the same dose spread evenly, over the whole range and over
the window 0.9 to 2.1 where the peaks are (an oracle: nobody knows it beforehand).  Points of equal
exposure are one data set, start and picks are integrated.  Priors flat as in `measuring_time`.
The runs between the rounds are short, F by BAR alone: good enough to choose points by.  At the end
of the design longer ones of one to four peaks.  Sweeps and seeds.

What may be claimed: at a dose of 1000 the design tells three peaks from two, even spreading as a
rule does not.  About half of the gain is only that no counts are wasted on the empty
background: the oracle's window has that part, too, and ten seeds do not prove the rest.  Three
against four is not settled.  Where there are two peaks, no third is found.  A design asks between
the models that it is given: here the truth is one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims
from experiments.figures import styled

Array = NDArray[np.float64]
Batch = tuple[Array, Array, float]      # points, counts, exposure of each point
SECONDS = 110.0
BACKGROUND = 0.1
EVEN = ("even", "window")
K = (1, 2, 3, 4)                        # asked at the end; between the rounds only 2 and 3


@dataclass(frozen=True)
class Settings:
    """Ours."""

    data_seeds: tuple[int, ...] = tuple(range(100, 110))
    control_seeds: tuple[int, ...] = tuple(range(100, 105))     # the truth has two peaks only
    start: int = 40
    start_exposure: float = 5.0
    candidates: int = 151
    rounds: int = 8
    picks: int = 10
    exposure: float = 10.0
    even_rounds: tuple[int, ...] = (4, 8)       # after which the even designs are looked at
    window: tuple[float, float] = (0.9, 2.1)
    chains: int = 2
    sweeps: int = 600
    burn_in: int = 500
    last_sweeps: int = 2_000
    seed: int = 3680


SETTINGS = Settings()
QUICK = Settings(data_seeds=(100,), control_seeds=(100,), rounds=2, even_rounds=(2,), sweeps=60,
                 burn_in=60, last_sweeps=60)


@dataclass(frozen=True)
class Result:
    """F(2) - F(3) of every design on the way, F(K) at the end, and what was measured."""

    settings: dict[str, Any]
    dose: Array              # (rounds + 1,) points times exposure
    gap: Array               # (seeds, rounds + 1) F(2) - F(3) of the design (nats)
    gap_error: Array
    even_dose: Array         # (even rounds,)
    even_gap: Array          # (2 designs, seeds, even rounds)
    even_error: Array
    F: Array                 # (seeds, K) at the end of the design, constant left out
    F_error: Array
    trusted: Array           # (seeds, K) 1 or 0
    control: Array           # (control seeds, K) the same where the truth has two peaks
    control_error: Array
    grid: Array              # (candidates,)
    picked: Array            # (candidates,) how often each was picked, all seeds together
    curves: Array            # (3, candidates): truth, mean of two and of three peaks, first seed
    measured: Array          # (2, points) of the first seed: place and counts per exposure


def curve(x: Any, peaks: Sequence[int] = (0, 1, 2)) -> Array:
    """The true intensity for one unit of exposure."""
    from experiments.nagata2012_number_of_peaks import SETTINGS as TRUE

    total = np.full(np.shape(x), BACKGROUND)
    for k in peaks:
        total += TRUE.heights[k] * np.exp(
            -0.5 * TRUE.precisions[k] * (np.asarray(x) - TRUE.centers[k]) ** 2)
    return total


def posterior(peaks: int, batches: Sequence[Batch]) -> Any:
    """So many peaks for all batches together; an exposure is a fixed parameter of its batch."""
    import sympy as sp

    from sampler import Data, Formula, Gamma, Model, Posterior, Uniform, joint

    a, b, mu, offset, exposure, x = sp.symbols("a b mu offset exposure x", real=True)
    peak = Formula("counted_peak", a * exposure * sp.exp(-b * (x - mu) ** 2 / 2),
                   ("a", "b", "mu", "exposure"))
    level = Formula("counted_level", offset * exposure + 0 * x, ("offset", "exposure"))
    parts = []
    for k, (points, counts, each) in enumerate(batches, start=1):
        name = f"exposure{k}"
        model = Model.single(level, "background_", offset=Uniform(0.01, 0.5), exposure=name,
                             priors={name: each}) + Model.repeated(
            peaks, peak, a=Uniform(0, 3), b=Gamma(5, 0.04), mu=Uniform(0, 3), exposure=name,
            priors={name: each})
        parts.append(Posterior(model, Data(points, counts, noise="poisson")))
    return joint(*parts)


def worth(one: Array, other: Array) -> Array:
    """About the nats that a unit of exposure brings if one curve is the truth, not the other.

    The Kullback-Leibler divergence of two Poisson laws, for curves that are close.

    Examples
    --------
    >>> float(worth(np.array([1.0]), np.array([1.2]))[0].round(5))
    0.01818
    """
    return np.asarray((one - other) ** 2 / (one + other))


def greedy(score: Array, picks: int) -> list[int]:
    """The best points one after the other; a pick and its neighbours then count 0.3.

    Examples
    --------
    >>> greedy(np.array([0.0, 9.0, 8.0, 0.0, 5.0]), 3)
    [1, 4, 1]
    """
    score, chosen = score.copy(), []
    for _ in range(picks):
        k = int(np.argmax(score))
        chosen.append(k)
        score[max(0, k - 1): k + 2] *= 0.3
    return chosen


class _Runs:
    """Runs one after the other, each with the next seed."""

    def __init__(self, settings: Settings, progress: Any) -> None:
        self.settings, self.progress, self.seed = settings, progress, settings.seed

    def run(self, peaks: int, batches: Sequence[Batch], label: str, sweeps: int = 0) -> Any:
        from sampler import sample

        self.seed += 1
        return sample(posterior(peaks, batches), sweeps or self.settings.sweeps,
                      burn_in=self.settings.burn_in, chains=self.settings.chains, seed=self.seed,
                      progress=self.progress and (
                          lambda d, t, w: self.progress(d, t, f"{label}, K = {peaks}, {w}")))

    def short(self, asked: Sequence[int], batches: Sequence[Batch], label: str
              ) -> tuple[list[Any], Array]:
        """The runs, and F with its error by BAR along the ladder, (asked, 2)."""
        from sampler import free_energy_along

        runs = [self.run(peaks, batches, label) for peaks in asked]
        found = [free_energy_along(run) for run in runs]
        return runs, np.array([[f.free_energy[-1], f.free_energy_error[-1]] for f in found])

    def last(self, batches: Sequence[Batch], label: str) -> tuple[Array, Array]:
        """F and its error for every K, (K, 2), and which runs are trusted."""
        from sampler import diagnose, free_energy

        runs = [self.run(peaks, batches, label, self.settings.last_sweeps) for peaks in K]
        found = [free_energy(run) for run in runs]
        return (np.array([[f.reduced, f.error] for f in found]),
                np.array([float(diagnose(run).trusted) for run in runs]))


def gap_of(F: Array) -> Array:
    """F(first) - F(second) and its error, from values and errors (2, 2)."""
    return np.array([F[0, 0] - F[1, 0], np.hypot(F[0, 1], F[1, 1])])


def first_batch(generator: np.random.Generator, settings: Settings, peaks: Sequence[int]) -> Batch:
    """What every design starts from: few even points."""
    x = np.linspace(0.0, 3.0, settings.start)
    counts = generator.poisson(settings.start_exposure * curve(x, peaks))
    return x, counts.astype(float), settings.start_exposure


def designed(runs: _Runs, seed: int, peaks: Sequence[int], label: str
             ) -> tuple[list[Array], list[int], list[Batch], Array]:
    """Round by round: the gap before each, all picks, what was measured in the end, and the mean
    curves of two and three peaks that the last picks were chosen by."""
    settings, generator = runs.settings, np.random.default_rng(seed)
    grid = np.linspace(0.0, 3.0, settings.candidates)
    batches = [first_batch(generator, settings, peaks)]
    gaps, picked, means = [], [], np.zeros((2, len(grid)))
    x = y = np.zeros(0)
    for k in range(settings.rounds):
        found, F = runs.short((2, 3), batches, f"{label}, round {k}")
        gaps.append(gap_of(F))
        means = np.array([
            run.posterior.predict(run.draws.reshape(-1, run.draws.shape[-1])[::6], x=grid)
            .mean(axis=0) / settings.start_exposure for run in found])
        chosen = greedy(worth(*means), settings.picks)
        counts = generator.poisson(settings.exposure * curve(grid[chosen], peaks))
        picked += chosen
        x, y = np.append(x, grid[chosen]), np.append(y, counts)
        batches = [batches[0], (x, y, settings.exposure)]
    return gaps, picked, batches, means


def spread(runs: _Runs, seed: int, where: Array, label: str) -> Array:
    """The same start and the same dose, evenly: gap and error at each look, (looks, 2)."""
    settings, generator = runs.settings, np.random.default_rng(seed)
    first, gaps = first_batch(generator, settings, (0, 1, 2)), []
    counts, before = np.zeros(len(where)), 0.0
    for k in settings.even_rounds:
        each = k * settings.picks * settings.exposure / len(where)
        counts = counts + generator.poisson((each - before) * curve(where))
        before = each
        gaps.append(gap_of(runs.short((2, 3), [first, (where, counts, each)],
                                      f"{label}, round {k}")[1]))
    return np.array(gaps)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Every seed by the design, then evenly; and the control."""
    runs, grid = _Runs(settings, progress), np.linspace(0.0, 3.0, settings.candidates)
    gaps, F, trusted, picks, shown = [], [], [], [], []
    for seed in settings.data_seeds:
        label = f"design, seed {seed}"
        on_the_way, picked, batches, means = designed(runs, seed, (0, 1, 2), label)
        found, good = runs.last(batches, label)
        gaps.append([*on_the_way, gap_of(found[1:3])])
        F.append(found)
        trusted.append(good)
        picks += picked
        shown.append((batches, means))
    inside = grid[(grid >= settings.window[0]) & (grid <= settings.window[1])]
    even = np.array([[spread(runs, seed, where, f"{name}, seed {seed}")
                      for seed in settings.data_seeds]
                     for name, where in zip(EVEN, (grid, inside), strict=True)])
    control = []
    for seed in settings.control_seeds:
        label = f"two true peaks, seed {seed}"
        control.append(runs.short(K, designed(runs, seed, (1, 2), label)[2], label)[1])
    way, ends, controls = np.array(gaps), np.array(F), np.array(control)
    begin, step = settings.start * settings.start_exposure, settings.picks * settings.exposure
    batches, means = shown[0]
    return Result(
        settings=asdict(settings), dose=begin + step * np.arange(settings.rounds + 1.0),
        gap=way[..., 0], gap_error=way[..., 1],
        even_dose=begin + step * np.array(settings.even_rounds, dtype=float),
        even_gap=even[..., 0], even_error=even[..., 1], F=ends[..., 0], F_error=ends[..., 1],
        trusted=np.array(trusted), control=controls[..., 0], control_error=controls[..., 1],
        grid=grid, picked=np.bincount(picks, minlength=len(grid)).astype(float),
        curves=np.stack([curve(grid), *means]),
        measured=np.concatenate([np.stack([x, y / each]) for x, y, each in batches], axis=1))


def favoured(F: Array) -> Array:
    """The smallest K with F within a nat of the lowest, for F (..., K)."""
    near = F <= F.min(axis=-1, keepdims=True) + 1.0
    return np.asarray(np.array(K, dtype=float)[np.argmax(near, axis=-1)])


def middle(values: Array) -> tuple[float, float]:
    """Median over the data seeds, and its standard error if they are about normal."""
    n = len(values)
    spread_of = float(np.std(values, ddof=1)) if n > 1 else 0.0
    return float(np.median(values)), 1.2533 * spread_of / n**0.5


def by_chance(ahead: NDArray[np.bool_]) -> float:
    """The sign test: so many ahead, or more, if either were as likely.

    Examples
    --------
    >>> by_chance(np.array([True, True, False]))
    0.5
    """
    from math import comb

    n = len(ahead)
    return float(sum(comb(n, k) for k in range(int(np.sum(ahead)), n + 1)) / 2**n)


def check(result: Result) -> Claims:
    """The design against even spreading at the last dose, K at the end, and the control."""
    last, (even, window) = result.gap[:, -1], result.even_gap[:, :, -1]
    n, dose = len(last), result.dose[-1]
    at = f"F(2) - F(3) at dose {dose:g}"
    design, plain, oracle = middle(last), middle(even), middle(window)
    over = result.gap > 3.0
    first = np.where(over.any(axis=1), result.dose[np.argmax(over, axis=1)], np.inf)
    weight = np.exp(result.F.min(axis=1, keepdims=True) - result.F)
    three = weight[:, K.index(3)] / weight.sum(axis=1)
    false_gap = result.control[:, K.index(2)] - result.control[:, K.index(3)]
    worst = float(max(result.gap_error.max(), result.even_error.max()))
    stars, control = favoured(result.F), favoured(result.control)
    doubtful = ", ".join(f"K = {k}: {int(wrong)}" for k, wrong in
                         zip(K, np.sum(result.trusted == 0, axis=0), strict=True) if wrong)
    return Claims([
        Claim(f"{at}, design: median of {n} (nats)", "-", *design, design[0] > 6,
              "> 6; error: spread of the data seeds"),
        Claim(f"{at}, even: median (nats)", "-", *plain, plain[0] < 3, "< 3"),
        Claim(f"{at}, even in the oracle's window: median (nats)", "-", *oracle,
              plain[0] < oracle[0] < design[0], "between the two"),
        Claim(f"seeds of {n} in which the design is ahead of even", "-", float(np.sum(last > even)),
              0.0, bool(np.sum(last > even) >= n - 1), f"at least {n - 1}"),
        Claim(f"seeds of {n} in which it is ahead of the oracle's window", "-",
              float(np.sum(last > window)), 0.0, None,
              f"listed: as many or more by chance with p = {by_chance(last > window):.2f}"),
        Claim(f"seeds of {n} with F(2) - F(3) > 3 at the end: design, even, window", "-",
              ", ".join(str(int(np.sum(v > 3))) for v in (last, even, window)), 0.0, None,
              "listed"),
        Claim("dose at which the design first has F(2) - F(3) > 3: lowest, median, highest", "-",
              ", ".join(f"{v:g}" for v in (first.min(), np.median(first), first.max())), 0.0,
              None, "listed"),
        Claim(f"design: seeds of {n} with K* = 3 among one to four", "-",
              float(np.sum(stars == 3)), 0.0, bool(np.sum(stars == 3) >= n - 1),
              f"at least {n - 1}"),
        Claim("design: p(3) among one to four at the end, largest", "-", float(three.max()), 0.0,
              bool(three.max() < 0.9), "< 0.9: three against four stays open"),
        Claim("two true peaks: F(2) - F(3) at the end, largest (nats)", "-",
              float(false_gap.max()),
              float(np.hypot(*result.control_error[np.argmax(false_gap), 1:3])),
              bool(false_gap.max() < 0), "< 0: no third peak is found"),
        Claim(f"two true peaks: seeds of {len(control)} with K* = 2", "-",
              float(np.sum(control == 2)), 0.0, bool(np.all(control == 2)), "all"),
        Claim("error of F(2) - F(3), largest of all (nats)", "-", worst, 0.0, worst < 1, "< 1"),
        Claim(f"of the {result.trusted.size} runs at the end, not trusted", "-",
              doubtful or "none", 0.0, None, "listed: no claim hangs on a tenth of a nat")])


@styled
def draw(result: Result) -> dict[str, Any]:
    """Where it measured, and the gap against the dose."""
    from experiments.figures import BLUE, GREEN, ORANGE, PINK, RED, label_panels, panels

    figure, axes = panels(1, 3, 9.6, 3.3)
    spectrum, where, gaps = axes.flat
    first = result.settings["start"]
    x, y = result.measured
    spectrum.plot(x[:first], y[:first], ".", color="0.6", ms=4, label="start, exposure 5")
    spectrum.plot(x[first:], y[first:], "x", color=BLUE, ms=3.5, mew=0.8,
                  label="picked, exposure 10")
    for row, color, style, name in zip(result.curves[1:], (ORANGE, GREEN), ("--", "-"),
                                       ("two peaks", "three peaks"), strict=True):
        spectrum.plot(result.grid, row, color=color, ls=style, lw=1.1, label=name)
    spectrum.set(xlabel="x", ylabel="counts per unit of exposure", ylim=(0, 3.2),
                 title="Synthetic counts, first seed")
    spectrum.legend(fontsize=7.5, loc="upper right")
    where.bar(result.grid, result.picked, 0.02, color=BLUE)
    shape = where.twinx()
    shape.plot(result.grid, result.curves[0], color="0.4", lw=1.0, ls="--")
    shape.set(yticks=[], ylim=(0, 2.2), xlabel="")
    shape.spines["right"].set_visible(False)
    where.set(xlabel="x", ylabel=f"times picked, {len(result.gap)} seeds together",
              title="Where it measures")
    where.text(0.98, 0.95, "dashed: truth", transform=where.transAxes, ha="right", fontsize=8)
    gaps.plot(result.dose, result.gap.T, color=BLUE, lw=0.6, alpha=0.5)
    gaps.plot(result.dose, np.median(result.gap, axis=0), "o-", color=BLUE, ms=4,
              label="design: median (thin: each seed)")
    for row, color, mark, aside, name in zip(
            result.even_gap, (RED, PINK), "sD", (8, -8), ("even", "even in the window"),
            strict=True):
        at = result.even_dose + aside           # beside one another, to be seen
        gaps.plot(at, row.T, mark, color=color, ms=3, alpha=0.5)
        gaps.plot(at, np.median(row, axis=0), f"{mark}:", color=color, ms=6, mfc="none",
                  label=f"{name} (large: median)")
    gaps.axhline(3.0, color="0.4", lw=0.8, ls="--", label="3 nats: odds 20 to 1")
    gaps.set(xlabel="dose (points x exposure)", ylabel="F(2) - F(3) (nats)",
             title="Three or two?")
    low, high = gaps.get_ylim()
    gaps.set_ylim(low, high + 0.45 * (high - low))
    gaps.legend(fontsize=7, loc="upper left")
    label_panels(axes)
    return {"sequential_design": figure}
