"""One spectrum measured twice: one set of parameters, or two?  Integration of two spectra.

Figure: two spectra of the same three peaks, the second noisier and on a shifted axis; the free
energies of three ways to read them, against how far one peak of the second spectrum really moved;
and what the integration buys.  The exact case of two lines is `experiments.integration`.

The paper's: the three peaks and their priors (Nagata, Sugita and Okada, Neural Networks 28 (2012)
82).  That Bayesian measurement has three instruments, the posterior, the choice of a model and the
integration of several measurements, and that a free energy says whether to integrate, is from the
talks of M. Okada; Katakami et al. (arXiv 2406.02869) solve it for lines.

Ours: everything else.  Synthetic data: noise 0.1 in the first spectrum, 0.2 in the second (known),
the axis of the second shifted by 0.03, its third peak moved by a further d; the shift uniform
between -0.1 and 0.1; sweeps, seeds, and the three models:

* separate: three peaks for each spectrum, nothing in common (18 parameters);
* positions: the same positions up to the shift, heights and widths of their own (16);
* shared: the same peaks, only the axis shifted (10).

What may be claimed: at d = 0 integration wins by many nats; at d = 0.08 it loses by many more; it
turns where the third peak has moved by three to four standard deviations of what both spectra
together can tell.  Two separate fits carry 3! x 3! equivalent labellings and a joint one 3!: the
separate model has ln 6 nats for nothing, because which peak is which it need not say.  A Gaussian
estimate of F from the two separate posteriors must count that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, trust
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 110.0
MODELS = ("separate", "positions", "shared")
PEAKS = 3


@dataclass(frozen=True)
class Settings:
    """Ours; the peaks are those of `nagata2012_number_of_peaks`."""

    moved: tuple[float, ...] = (0.0, 0.02, 0.03, 0.04, 0.08)   # d, of the third peak of set 2
    noises: tuple[float, float] = (0.1, 0.2)
    shift: float = 0.03
    reach: float = 0.1            # the shift is uniform between -reach and reach
    sweeps: int = 3_000
    burn_in: int = 2_000
    data_seed: int = 0
    seed: int = 1100


SETTINGS = Settings()
QUICK = Settings(moved=(0.0, 0.04, 0.08), sweeps=60, burn_in=50)


@dataclass(frozen=True)
class Result:
    """Of every d: F of the three models, the shift, and the Gaussian estimate beside."""

    settings: dict[str, Any]
    x: Array
    y: Array               # (2, points) at the first d
    fit: Array             # (2, points) posterior mean of the shared model there
    F: Array               # (moved, models) nats, without the constant
    F_error: Array
    gaussian: Array        # (moved, 2) estimate of F(positions), F(shared) less F(separate)
    shift: Array           # (moved, 2 models, 2) mean and sd
    apart: Array           # (moved,) d in sds of what both spectra can tell of it
    center_sd: Array       # (sets + 2 models, peaks) at the first d
    trusted: list[list[bool]]   # (moved, runs)


def spectra(moved: float, settings: Settings = SETTINGS) -> tuple[Any, Any]:
    """Both synthetic spectra; the same noise for every d."""
    from experiments.nagata2012_number_of_peaks import SETTINGS as TRUE
    from sampler import Data

    x, generator = np.linspace(0.0, 3.0, TRUE.points), np.random.default_rng(settings.data_seed)
    first = np.array(TRUE.centers)
    second = first + settings.shift + np.array([0.0, 0.0, moved])

    def measured(centers: Array, noise: float) -> Any:
        curve = sum(a * np.exp(-0.5 * b * (x - mu) ** 2)
                    for a, b, mu in zip(TRUE.heights, TRUE.precisions, centers, strict=True))
        return Data(x, curve + noise * generator.normal(size=len(x)), noise=noise)

    return measured(first, settings.noises[0]), measured(second, settings.noises[1])


def posteriors(data: tuple[Any, Any], settings: Settings = SETTINGS) -> dict[str, Any]:
    """Each spectrum alone, and the two joint models.  A name used twice is one parameter."""
    import sympy as sp

    from experiments.nagata2012_number_of_peaks import peak
    from sampler import Formula, Gamma, Model, Normal, Posterior, Uniform, joint

    a, b, mu, shift, x = sp.symbols("a b mu shift x", real=True)
    moved = Formula("shifted_peak", a * sp.exp(-b * (x - mu - shift) ** 2 / 2),
                    ("a", "b", "mu", "shift"))
    priors: dict[str, Any] = {"a": Gamma(5, 5), "b": Gamma(5, 0.04), "mu": Normal(1.5, 5**-0.5)}
    here = Model.repeated(PEAKS, peak(), **priors)
    there = Model.repeated(PEAKS, moved, **priors, shift="shift",
                           priors={"shift": Uniform(-settings.reach, settings.reach)})
    first, second = Posterior(here, data[0]), Posterior(here, data[1])
    own = there.renamed(a="a_second", b="b_second")
    return {"first": first, "second": second,
            "positions": joint(first, Posterior(own, data[1])),
            "shared": joint(first, Posterior(there, data[1]))}


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Every model at every d; the first spectrum is the same for all of them."""
    from sampler import diagnose, free_energy, sample

    rows: dict[str, list[Any]] = {name: [] for name in (
        "F", "F_error", "gaussian", "shift", "apart", "trusted")}
    kept: dict[str, Any] = {}
    for k, moved in enumerate(settings.moved):
        asked = posteriors(spectra(moved, settings), settings)
        runs: dict[str, Any] = {name: kept["first"] if name == "first" and kept else sample(
            posterior, settings.sweeps, burn_in=settings.burn_in,
            seed=settings.seed + 10 * k + i,
            progress=progress and (lambda d, t, w, label=f"d = {moved:g}, {name}":
                                   progress(d, t, f"{label}, {w}")))
            for i, (name, posterior) in enumerate(asked.items())}
        kept = kept or runs
        found = {name: free_energy(run) for name, run in runs.items()}
        ordered = {name: by_center(run) for name, run in runs.items()}
        rows["F"].append([found["first"].reduced + found["second"].reduced,
                          found["positions"].reduced, found["shared"].reduced])
        rows["F_error"].append([math.hypot(found["first"].error, found["second"].error),
                                found["positions"].error, found["shared"].error])
        rows["gaussian"].append([
            gaussian_estimate(ordered["first"], ordered["second"], settings.reach, names)
            for names in (("mu",), ("a", "b", "mu"))])
        rows["shift"].append([[ordered[name]["shift"].mean(), ordered[name]["shift"].std()]
                              for name in MODELS[1:]])
        rows["apart"].append(moved / contrast_sd(ordered["first"]["mu"], ordered["second"]["mu"]))
        rows["trusted"].append([diagnose(run).trusted for run in runs.values()])
    shared, data = kept["shared"], kept["shared"].posterior.blocks
    theta = shared.draws.reshape(-1, shared.draws.shape[-1])[::20]
    return Result(
        asdict(settings), data[0].data.x, np.stack([block.data.y for block in data]),
        np.stack([shared.posterior.predict(theta, block=k).mean(axis=0) for k in (0, 1)]),
        center_sd=np.stack([by_center(run)["mu"].std(axis=0) for run in kept.values()]),
        trusted=rows.pop("trusted"),
        **{name: np.array(value, dtype=float) for name, value in rows.items()})


def by_center(run: Any) -> dict[str, Array]:
    """Draws by parameter: a, b, mu (draws, peaks) in order of mu, and the shift (draws,)."""
    theta = run.draws.reshape(-1, run.draws.shape[-1])
    names = run.posterior.names
    table = {name: theta[:, k] for k, name in enumerate(names)}
    out = {p: np.stack([table[f"peak{k}_{p}"] for k in range(1, PEAKS + 1)], axis=1)
           for p in ("a", "b", "mu")}
    order = np.argsort(out["mu"], axis=1)
    return ({p: np.take_along_axis(v, order, axis=1) for p, v in out.items()}
            | {name: table[name] for name in ("shift",) if name in table})


def gaussian_estimate(first: Mapping[str, Array], second: Mapping[str, Array], reach: float,
                      names: tuple[str, ...]) -> float:
    """F(joint) - F(separate), if both separate posteriors were normal about one labelling.

    With m and S the difference of their means and the sum of their covariances over the shared
    parameters, e the direction in which the shift moves them, and pi the prior at the joint
    estimate (it enters once instead of twice),

        chi2/2 + ln det(2 pi S)/2 - ln(2 pi/e'S^-1 e)/2 + ln(2 reach) + ln pi + ln 3!

    where chi2 is the least of (m - s e)'S^-1(m - s e) over the shift s.  The last term is the
    labels': 3! of the 3! x 3! pairs of them have equal numbers on equal peaks.
    """
    from sampler import Gamma, Normal
    from sampler.priors import log_density

    one, two = (np.concatenate([draws[name] for name in names], axis=1)
                for draws in (first, second))
    C1, C2 = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    direction = np.concatenate([np.full(PEAKS, float(name == "mu")) for name in names])
    difference, S = two.mean(axis=0) - one.mean(axis=0), C1 + C2
    weighted = np.linalg.solve(S, np.stack([difference, direction], axis=1))
    precision = float(direction @ weighted[:, 1])
    shift = float(direction @ weighted[:, 0]) / precision
    rest = difference - shift * direction
    chi2 = float(rest @ np.linalg.solve(S, rest))
    estimate = one.mean(axis=0) + C1 @ np.linalg.solve(S, rest)
    law: dict[str, Any] = {"a": Gamma(5, 5), "b": Gamma(5, 0.04), "mu": Normal(1.5, 5**-0.5)}
    prior = sum(float(log_density(law[name], v).sum()) for name, v in zip(
        names, np.split(estimate, len(names)), strict=True))
    log_det = float(np.linalg.slogdet(2 * math.pi * S)[1])
    return (0.5 * chi2 + 0.5 * log_det - 0.5 * math.log(2 * math.pi / precision)
            + math.log(2 * reach) + prior + math.lgamma(PEAKS + 1))


def contrast_sd(first: Array, second: Array) -> float:
    """Sd of the further move of the third peak, its estimate free of the shift; mu (draws, 3)."""
    S = np.cov(first, rowvar=False) + np.cov(second, rowvar=False)
    design = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])      # the shift, the further move
    return float(np.linalg.inv(design.T @ np.linalg.solve(S, design))[1, 1] ** 0.5)


def turning_point(z: Array, gain: Array) -> float:
    """Where a rising curve crosses zero, linear between its points."""
    k = int(np.argmax(gain > 0))
    if gain[k] <= 0 or k == 0:
        return math.nan
    return float(z[k - 1] - gain[k - 1] * (z[k] - z[k - 1]) / (gain[k] - gain[k - 1]))


def check(result: Result) -> Claims:
    """What integration gains, where it turns, and what it does to the shift."""
    moved = list(result.settings["moved"])
    gain = result.F[:, 1:] - result.F[:, :1]
    error = np.hypot(result.F_error[:, 1:], result.F_error[:, :1])
    claims = []
    for d, bounds in ((0.0, (-4.0, -12.0)), (0.08, (30.0, 30.0))):
        k = moved.index(d)
        for i, bound in enumerate(bounds):
            claims.append(Claim(
                f"F({MODELS[i + 1]}) - F(separate) at d = {d:g} (nats)", "-", float(gain[k, i]),
                float(error[k, i]), bool(gain[k, i] < bound if bound < 0 else gain[k, i] > bound),
                f"{'<' if bound < 0 else '>'} {bound:g}"))
    for i, name in enumerate(MODELS[1:]):
        turn = turning_point(result.apart, gain[:, i])
        claims.append(Claim(f"{name} or separate: it turns at a move of (sds)", "-", turn, 0.0,
                            bool(2.5 < turn < 4.5), "2.5 to 4.5, in this one noise"))
    best = [MODELS[int(k)] for k in np.argmin(result.F, axis=1)]
    claims.append(Claim("lowest F at d = " + ", ".join(f"{d:g}" for d in moved), "-",
                        ", ".join(best), 0.0, best[0] == "shared" and best[-1] == "separate",
                        "shared first, separate last"))
    # The estimate takes both posteriors for normal; 0.3 nats are allowed where they agree.
    off = gain[0, 0] - result.gaussian[0, 0]
    claims.append(Claim("F(positions) - F(separate) at d = 0, less the Gaussian estimate (nats)",
                        "-", float(off), float(error[0, 0]), bool(abs(off) < 0.3),
                        "within 0.3; without ln 3! it would be off by 1.8"))
    for i, name in enumerate(MODELS[1:]):
        mean, sd = result.shift[0, i]
        claims.append(Claim(f"shift at d = 0, {name}", f"{result.settings['shift']:g} (truth)",
                            float(mean), float(sd),
                            bool(abs(mean - result.settings["shift"]) < 3 * sd),
                            "within 3; error: posterior sd"))
    mean, sd = result.shift[moved.index(0.04), 1]
    claims.append(Claim("shift at d = 0.04 if integrated all the same, shared",
                        f"{result.settings['shift']:g} (truth)", float(mean), float(sd),
                        bool(mean - result.settings["shift"] > 2 * sd),
                        "biased, by more than 2; error: posterior sd; F has advised against it"))
    for row, name in enumerate(("first", "second")):
        ratio = result.center_sd[3] / result.center_sd[row]
        claims.append(Claim(f"sd of the positions, shared over {name} spectrum alone, d = 0", "-",
                            ", ".join(f"{r:.2f}" for r in ratio), 0.0, bool(np.all(ratio < 1)),
                            "all below 1"))
    labels = [f"d = {d:g}, {name}" for d in moved
              for name in ("first", "second", *MODELS[1:])]
    flat = [good for row in result.trusted for good in row]
    claims.append(trust(labels, np.zeros(len(flat)), np.zeros(len(flat)),
                        [bool(good) for good in flat]))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """The spectra, the gain of integration over d, and the sd of the positions."""
    from experiments.figures import BLUE, GREEN, ORANGE, RED, label_panels, panels, plain_ticks

    figure, axes = panels(1, 3, 9.6, 3.3)
    both, gains, sds = axes.flat
    for k, (color, name) in enumerate(((BLUE, "first"), (RED, "second, its\naxis shifted"))):
        both.plot(result.x, result.y[k] + 2.2 * (1 - k), ".", color="0.6", ms=2.5)
        both.plot(result.x, result.fit[k] + 2.2 * (1 - k), color=color, lw=1.2)
        both.text(3.0, 0.7 + 2.2 * (1 - k), f"{name}\nσ = {result.settings['noises'][k]:g}",
                  fontsize=8, va="bottom", ha="right")
    both.set(xlabel="x", ylabel="intensity (shifted)", yticks=[],
             title="Two spectra, d = 0", ylim=(-1.0, 4.5))
    both.text(0.02, 0.97, "synthetic; curves: shared model", transform=both.transAxes, va="top",
              fontsize=8)
    gain = result.F[:, 1:] - result.F[:, :1]
    error = 1.96 * np.hypot(result.F_error[:, 1:], result.F_error[:, :1])
    for i, (color, mark, name) in enumerate(((GREEN, "o", "positions"), (BLUE, "s", "shared"))):
        gains.errorbar(result.apart, gain[:, i], error[:, i], fmt=f"{mark}-", ms=4, color=color,
                       lw=1.2, label=name)
    gains.plot(result.apart, result.gaussian[:, 0], "x:", color="0.2", ms=5, lw=1.0,
               label="positions, Gaussian\nestimate")
    gains.axhline(0.0, color="0.4", lw=0.8, ls="--")
    gains.set_yscale("symlog", linthresh=10.0)
    plain_ticks(gains.yaxis, (-20, -10, -5, 0, 5, 10, 30, 60))
    gains.set(xlabel="move d of the third peak (its sd)", ylim=(-25, 90),
              ylabel="F - F(separate) (nats)", title="Integrate?")
    gains.text(0.97, 0.05, "below 0: integrate", transform=gains.transAxes, ha="right",
               fontsize=8)
    gains.legend(loc="upper left", fontsize=7.5)
    looks = ((BLUE, "first alone"), (RED, "second alone"), (GREEN, "positions"),
             (ORANGE, "shared"))
    for row, ((color, name), mark) in enumerate(zip(looks, "oDs^", strict=True)):
        sds.plot(np.arange(PEAKS) + 0.12 * (row - 1.5), 1e3 * result.center_sd[row], mark, ms=5,
                 color=color, label=name)
    sds.set(xticks=np.arange(PEAKS), xlabel="peak", ylabel="posterior sd of its position (0.001)",
            title="What it buys, d = 0", yscale="log", ylim=(2, 100), xlim=(-0.5, 2.5))
    sds.set_xticklabels(["1", "2", "3"])
    plain_ticks(sds.yaxis, (2, 5, 10, 20, 50, 100))
    sds.legend(fontsize=7.5, ncols=2, loc="upper right")
    label_panels(axes)
    return {"two_spectra": figure}
