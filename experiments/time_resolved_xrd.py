"""A reaction in twenty diffraction frames: one model for all of them, or a fit of each?

Figure: four of twenty frames with the joint fit, the share of the new phase from separate fits and
from the joint one, the time and the order of the reaction, and the width of the lines frame by
frame.

The paper's: the question, that of the Bayesian treatment of several spectra of a time series by
Yokoyama, Kawaguchi and others (SPring-8 Research Frontiers 2023, p. 58); their numbers are not
printed where we could read them.

Ours: everything else, and the data are synthetic.  Phase A (lines at 14, 22 and 31 degrees, of 30,
50 and 20 counts) turns into phase B (17, 24.5 and 34 degrees; 40, 25 and 30 counts) by Avrami's law
xi = 1 - exp(-(t/tau)**m), tau = 8, m = 2, at t = 1 ... 20; FWHM 0.5 degrees, half Lorentzian, 5
counts of background, 300 points from 10 to 40 degrees, Poisson counts.  Priors uniform: heights 0
to 100, centres within 1 degree, width 0.2 to 1.5, mixing 0 to 1, background 0 to 20, tau 1 to 40,
m 0.5 to 5.  Joint: 17 parameters for 6,000 points.  Separate: 15 parameters for each frame, and
then a fit of Avrami's law to the shares of B, with the ratio of the pure phases free or known.

What may be claimed: the joint model wins by some 30 nats for each frame, its lines are known as
much better as 20 frames are better than one, and tau and m come out.  Positive heights keep
separate fits off 0 and 1 where a phase is not there: those shares are biased, and two steps pass
the bias on.  The truth is of the joint form here; where the law is wrong, F would say so.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, trust
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 140.0
PHASES = {"a": ((14.0, 22.0, 31.0), (30.0, 50.0, 20.0)),
          "b": ((17.0, 24.5, 34.0), (40.0, 25.0, 30.0))}
TRUTH = {"tau": 8.0, "order": 2.0, "width": 0.5, "mixing": 0.5, "background_offset": 5.0}


@dataclass(frozen=True)
class Settings:
    """Ours."""

    frames: int = 20
    shown: tuple[int, ...] = (0, 5, 9, 19)
    points: int = 300
    joint_sweeps: int = 2_300
    joint_burn_in: int = 700
    sweeps: int = 1_200
    burn_in: int = 400
    chains: int = 2
    data_seed: int = 0
    seed: int = 2014


SETTINGS = Settings()
QUICK = Settings(frames=4, shown=(0, 1, 2, 3), joint_sweeps=60, joint_burn_in=60, sweeps=60,
                 burn_in=60)


@dataclass(frozen=True)
class Result:
    """F of one model and of many, and what each says of the reaction."""

    settings: dict[str, Any]
    time: Array             # (frames,)
    x: Array                # degrees
    counts: Array           # (shown, points)
    fits: Array             # (shown, points) joint model
    F: Array                # (1 + frames,) joint, then each alone (nats; without `saturated`)
    F_error: Array
    joint: dict[str, Any]   # mean and sd of each parameter
    width: Array            # (frames, 2) mean and sd, separate
    share: Array            # (frames, 2) of phase B in the summed heights, separate
    joint_share: Array      # (frames, 2) the same from the joint model
    two_step: Array         # (2, 2, 2) tau and m with sd, ratio of the phases free and known
    trusted: bool           # the joint run
    problems: list[str]     # what its diagnosis says
    trusted_frames: int     # of the separate ones


def share_of_b(t: Any, tau: Any, order: Any, ratio: Any = 0.95) -> Any:
    """Share of B in the summed heights; `ratio` is that of pure B to pure A."""
    xi = 1.0 - np.exp(-((t / tau) ** order))
    return ratio * xi / (1.0 - xi + ratio * xi)


def frames(settings: Settings = SETTINGS) -> tuple[Array, list[Any]]:
    """Times, and the synthetic counts of every frame."""
    from sampler import Data

    t, x = np.arange(1.0, settings.frames + 1), np.linspace(10.0, 40.0, settings.points)

    def lines(phase: str) -> Array:
        return np.asarray(np.sum([h * (0.5 / (1 + u**2) + 0.5 * np.exp(-math.log(2) * u**2))
                                  for c, h in zip(*PHASES[phase], strict=True)
                                  for u in [2 * (x - c) / TRUTH["width"]]], axis=0))

    left = np.exp(-((t / TRUTH["tau"]) ** TRUTH["order"]))[:, None]
    mean = left * lines("a") + (1 - left) * lines("b") + TRUTH["background_offset"]
    counts = np.random.default_rng(settings.data_seed).poisson(mean).astype(float)
    return t, [Data(x, y, noise="poisson") for y in counts]


def posterior(data: Any, time: float | None = None) -> Any:
    """One frame: alone, or at a time of the reaction, with names that frames joined share."""
    import sympy as sp

    from sampler import Formula, Model, Posterior, Uniform, shapes

    tau, order, when = sp.symbols("tau order time", real=True)
    left = sp.exp(-((when / tau) ** order))
    shared: dict[str, Any] = {"width": Uniform(0.2, 1.5), "mixing": Uniform(0, 1)}
    if time is not None:
        # The time is a fixed parameter with the frame's name: one formula serves all frames.
        shared |= {"tau": Uniform(1, 40), "order": Uniform(0.5, 5), f"time{time:g}": time}
    model = Model.single(shapes.constant, "background_", offset=(0, 20))
    line = shapes.pseudo_voigt
    for phase, weight in (("a", left), ("b", 1 - left)):
        formula = line if time is None else Formula(
            f"line_of_{phase}", weight * line.expression,
            (*line.parameters, "tau", "order", "time"))
        names = {name.rstrip("0123456789"): name for name in shared}
        for k, center in enumerate(PHASES[phase][0]):
            model += Model.single(formula, f"{phase}{'xyz'[k]}_", priors=shared, height=(0, 100),
                                  center=(center - 1, center + 1), **names)
    return Posterior(model, data)


def saturated(counts: Array) -> float:
    """Energy of a model that meets every count, and one where there is none, sum over all."""
    y = np.maximum(counts, 1.0)
    return float(np.sum(y - counts * np.log(y)))


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Every frame alone, then all of them."""
    from sampler import diagnose, free_energy, free_energy_along, joint, sample

    def run(what: Any, sweeps: int, burn_in: int, seed: int, label: str) -> Any:
        return sample(what, sweeps, burn_in=burn_in, chains=settings.chains, seed=seed,
                      progress=progress and (lambda d, t, w: progress(d, t, f"{label}, {w}")))

    t, data = frames(settings)
    alone, width, share, good = [], [], [], 0
    for k, frame in enumerate(data):
        one = run(posterior(frame), settings.sweeps, settings.burn_in, settings.seed + 1 + k,
                  f"frame {k + 1}")
        # BAR along the ladder: the bridge would cost more than the run, and decide nothing here.
        F = free_energy_along(one)
        alone.append((float(F.free_energy[-1]) - saturated(frame.y),
                      float(F.free_energy_error[-1])))
        table = _columns(one)
        width.append(_mean_sd(table["width"]))
        share.append(_mean_sd(_sum(table, "b") / (_sum(table, "a") + _sum(table, "b"))))
        good += diagnose(one).trusted
    every = run(joint(*(posterior(frame, time) for frame, time in zip(data, t, strict=True))),
                settings.joint_sweeps, settings.joint_burn_in, settings.seed, "joint")
    found, table = free_energy(every), _columns(every)
    theta = every.draws.reshape(-1, every.draws.shape[-1])[::20]
    ratio = _sum(table, "b") / _sum(table, "a")
    of_all = [_mean_sd(share_of_b(time, table["tau"], table["order"], ratio)) for time in t]
    return Result(
        settings=asdict(settings), time=t, x=data[0].x,
        counts=np.array([data[k].y for k in settings.shown]),
        fits=np.array([every.posterior.predict(theta, block=k).mean(axis=0)
                       for k in settings.shown]),
        F=np.array([found.reduced - sum(saturated(f.y) for f in data), *(f for f, _ in alone)]),
        F_error=np.array([found.error, *(e for _, e in alone)]),
        joint={name: list(_mean_sd(v)) for name, v in table.items()},
        width=np.array(width), share=np.array(share), joint_share=np.array(of_all),
        two_step=two_steps(t, np.array(share)), trusted=bool(diagnose(every).trusted),
        problems=list(diagnose(every).problems), trusted_frames=int(good))


def _columns(run: Any) -> dict[str, Array]:
    theta = run.draws.reshape(-1, run.draws.shape[-1])
    return {name: theta[:, k] for k, name in enumerate(run.posterior.names)}


def _sum(table: dict[str, Array], phase: str) -> Array:
    return np.asarray(sum(table[f"{phase}{k}_height"] for k in "xyz"))


def _mean_sd(values: Array) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values))


def two_steps(t: Array, share: Array) -> Array:
    """tau and m with their sds by least squares on the shares of separate fits, (2, 2, 2): first
    with the ratio of the pure phases free, then known."""
    from scipy.optimize import curve_fit

    def fitted(start: tuple[float, ...], high: list[float]) -> Array:
        best, covariance = curve_fit(share_of_b, t, share[:, 0], p0=start, sigma=share[:, 1],
                                     absolute_sigma=True, bounds=([0.5, 0.2, 0.1][: len(start)],
                                                                  high))
        return np.stack([best, np.sqrt(np.diag(covariance))], axis=1)[:2]

    return np.stack([fitted((8.0, 2.0, 1.0), [60.0, 8.0, 10.0]), fitted((8.0, 2.0), [60.0, 8.0])])


def check(result: Result) -> Claims:
    """One model or many, what it knows, and what separate fits get wrong."""
    n = len(result.time)
    gain = float(result.F[0] - result.F[1:].sum())
    error = float(np.linalg.norm(result.F_error))
    claims = [
        Claim("F(joint) - F(separate) (nats)", "-", gain, error, gain < -500, "< -500"),
        Claim("the same for each frame (nats)", "-", gain / n, error / n, None, "listed")]
    for name, words in (("tau", "tau"), ("order", "m"), ("width", "width (degrees)"),
                        ("mixing", "mixing"), ("background_offset", "background (counts)")):
        mean, sd = result.joint[name]
        claims.append(Claim(f"joint: {words}", f"{TRUTH[name]:g} (truth)", mean, sd,
                            abs(mean - TRUTH[name]) < 3 * sd, "within 3; error: posterior sd"))
    ratio = float(result.width[:, 1].mean() / result.joint["width"][1])
    claims.append(Claim("sd of the width, mean of the frames over joint", "-", ratio, 0.0,
                        3.5 < ratio < 6, f"about the root of {n} frames: 3.5 to 6"))
    true = share_of_b(result.time, TRUTH["tau"], TRUTH["order"])
    for k, words in ((0, "first"), (-1, "last")):
        mean, sd = result.share[k]
        off = float(mean - true[k])
        claims.append(Claim(f"separate: share of B in the {words} frame less the truth",
                            "0 (truth)", off, float(sd), off > 0 if k == 0 else off < 0,
                            "pushed off the wall; error: posterior sd"))
    z = (result.joint_share[:, 0] - true) / result.joint_share[:, 1]
    worst = float(z[np.argmax(abs(z))])
    claims.append(Claim("joint: share of B farthest from the truth (posterior sds)", "0 (truth)",
                        worst, 0.0, abs(worst) < 3.5, "|z| < 3.5"))
    for fit, known in zip(result.two_step, ("free", "known"), strict=True):
        for (mean, sd), name, words in zip(fit, ("tau", "order"), ("tau", "m"), strict=True):
            claims.append(Claim(
                f"two steps, ratio of the phases {known}: {words}", f"{TRUTH[name]:g} (truth)",
                float(mean), float(sd), None, f"listed: {(mean - TRUTH[name]) / sd:+.1f} sds"))
    claims.append(trust(["joint"], [0.0], [0.0], [result.trusted]))
    claims.append(Claim("separate runs that are trusted", "-", f"{result.trusted_frames} of {n}",
                        0.0, None, "listed: the answer, hundreds of nats away, does not rest on "
                        "them"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """Frames, shares of B, tau and m, widths."""
    from experiments.figures import BLUE, GREEN, ORANGE, RED, label_panels, panels

    figure, axes = panels(2, 2, 7.6, 6.0)
    shown, share, reaction, width = axes.flat
    step = 55.0
    for row, (k, y, fit) in enumerate(zip(result.settings["shown"], result.counts, result.fits,
                                          strict=True)):
        shown.plot(result.x, y + step * row, ".", color="0.6", ms=2)
        shown.plot(result.x, fit + step * row, color=BLUE, lw=1.1)
        shown.text(39.8, step * row + 13, f"t = {result.time[int(k)]:g}", fontsize=8, ha="right")
    shown.set(xlabel="2θ (degrees)", ylabel="counts, shifted by 55 each",
              title=f"{len(result.counts)} of {len(result.time)} synthetic frames")
    fine = np.linspace(0.5, float(result.time[-1]), 200)
    share.plot(fine, share_of_b(fine, TRUTH["tau"], TRUTH["order"]), color="0.3", ls="--", lw=1.0,
               label="truth")
    share.errorbar(result.time, result.share[:, 0], 1.96 * result.share[:, 1], fmt="o", ms=3,
                   color=RED, lw=0.8, label="separate, 95 %")
    share.fill_between(result.time, *(result.joint_share[:, 0] + s * result.joint_share[:, 1]
                                      for s in (-1.96, 1.96)), color=BLUE, alpha=0.5, lw=0,
                       label="joint, 95 %")
    share.set(xlabel="time t", ylabel="share of phase B", title="The reaction", ylim=(-0.02, 1.05))
    share.legend(loc="lower right")
    (tau, tau_sd), (order, order_sd) = result.joint["tau"], result.joint["order"]
    for fit, mark, known in zip(result.two_step, "oD", ("free", "known"), strict=True):
        reaction.errorbar(*fit[:, 0], xerr=1.96 * fit[0, 1], yerr=1.96 * fit[1, 1], fmt=mark,
                          color=RED if known == "free" else ORANGE, ms=4,
                          label=f"two steps, ratio {known}")
    reaction.errorbar(tau, order, xerr=1.96 * tau_sd, yerr=1.96 * order_sd, fmt="s", color=BLUE,
                      ms=4, label="joint")
    reaction.plot(TRUTH["tau"], TRUTH["order"], "*", color=GREEN, ms=11, label="truth", zorder=4)
    reaction.set(xlabel="time of the reaction τ", ylabel="order m", title="Time and order (95 %)")
    reaction.legend(loc="lower right", fontsize=7.5)
    width.errorbar(result.time, result.width[:, 0], 1.96 * result.width[:, 1], fmt="o", ms=3,
                   color=RED, lw=0.8, label="separate, 95 %")
    mean, sd = result.joint["width"]
    width.axhspan(mean - 1.96 * sd, mean + 1.96 * sd, color=BLUE, alpha=0.5, lw=0,
                  label="joint, 95 %")
    width.axhline(TRUTH["width"], color="0.3", ls="--", lw=1.0, label="truth")
    width.set(xlabel="time t", ylabel="width of the lines (degrees)", title="A shared width")
    low, high = width.get_ylim()
    width.set_ylim(low, high + 0.3 * (high - low))
    width.legend(loc="upper left", ncols=3, fontsize=7.5, columnspacing=1.0, handlelength=1.5)
    label_panels(axes)
    return {"time_resolved_xrd": figure}
