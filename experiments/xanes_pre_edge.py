"""How many transitions lie below an absorption edge?  A synthetic edge, and a vanadium foil.

Figure: data and fit with the transitions below the edge, and F(K), for both.
The model (an arctan step, a white line tied to it, and Gaussian lines in the low-energy domain with
priors of their own) is that of Kashiwamura et al., JPSJ 91 (2022) 074009, equation 2.

The paper's: the model, and the question.  Its priors, data and numbers are not printed where we
could read them.

Measured: the vanadium K edge of a foil in transmission, APS 13-BM-D 2005, 5445 to 5490 eV.

Ours: the truth of the synthetic edge (step 1 at 5 eV, 3 eV wide; white line 0.5, 4 eV above it and
5 eV wide; transitions of 0.08 and 0.05 at -6 and -3.5 eV, 1.5 eV wide; 201 points, noise 0.01,
known), all priors, sweeps and seeds; for the foil a constant below the edge, K = 0 to 3, the noise
inferred.

What may be claimed: of the synthetic edge, K = 2, and positions to 0.2 eV.  Of the foil, that the
feature at 5466 eV is there and where it is; not how many transitions a metal has: above the edge
its absorption is no arctan and one Gaussian, every further line pays for that, and the absolute fit
says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, trust
from experiments.decisions import decide, difference, draw_decision, in_order
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 32.0
TRUTH = {"edge_height": 1.0, "edge_position": 5.0, "edge_width": 3.0, "line_amplitude": 0.5,
         "line_shift": 4.0, "line_width": 5.0, "transition1_height": 0.08,
         "transition1_center": -6.0, "transition1_width": 1.5, "transition2_height": 0.05,
         "transition2_center": -3.5, "transition2_width": 1.5}
SYNTHETIC: dict[str, Any] = {
    "edge_height": (0.5, 1.5), "edge_position": (0, 10), "edge_width": (0.5, 8),
    "line_amplitude": (0, 1.5), "line_shift": (0, 10), "line_width": (1, 12),
    "height": (0, 0.3), "center": (-10, 0), "width": (0.5, 4)}
FOIL: dict[str, Any] = {
    "edge_height": (0.5, 3.5), "edge_position": (5465, 5485), "edge_width": (0.5, 20),
    "line_amplitude": (0, 2.5), "line_shift": (0, 12), "line_width": (0.5, 25),
    "height": (0, 1), "center": (5460, 5475), "width": (0.5, 12)}


@dataclass(frozen=True)
class Settings:
    """Ours; the same for every K."""

    K: tuple[int, ...] = (0, 1, 2, 3)
    sweeps: int = 5_000
    burn_in: int = 3_000
    foil_sweeps: int = 10_000
    foil_burn_in: int = 6_000
    noise: float = 0.01
    data_seed: int = 0
    seed: int = 74009


SETTINGS = Settings()
QUICK = Settings(sweeps=60, burn_in=50, foil_sweeps=60, foil_burn_in=50)


@dataclass(frozen=True)
class Result:
    """Of each measurement: the decision, the data, and the favoured model's fit."""

    settings: dict[str, Any]
    synthetic: dict[str, Any]
    names: list[str]
    mean: Array                # of the parameters of K = 2, transitions in order of their centre
    sd: Array
    foil: dict[str, Any]
    feature: Array             # (K = 1 ..., 2): centre of the line nearest 5466 eV, and its sd (eV)
    x: Array
    y: Array
    fit: Array                 # of K = 2, posterior mean
    lines: Array               # its transitions, each (2, points)
    foil_x: Array
    foil_y: Array
    foil_fit: Array            # of the favoured K
    foil_noise: float


def spectrum(settings: Settings = SETTINGS) -> Any:
    """The synthetic edge: the truth above and white noise."""
    from sampler import Data, Posterior
    from sampler.instruments.xanes import xanes

    x = np.linspace(-15.0, 25.0, 201)
    sharp = Posterior(xanes(2, **SYNTHETIC), Data(x, np.zeros(201), noise=1.0))
    curve = sharp.predict([TRUTH[name] for name in sharp.names])
    noise = settings.noise * np.random.default_rng(settings.data_seed).normal(size=201)
    return Data(x, curve + noise, noise=settings.noise)


def foil() -> Any:
    """Vanadium, around its K edge; the noise is inferred, the file has none."""
    from experiments.paths import data_file
    from sampler import Data, LogUniform

    data = Data.from_csv(data_file("tidy/xas_v_foil.csv"), LogUniform(1e-4, 0.3))
    inside = (data.x >= 5445.0) & (data.x <= 5490.0)
    return Data(data.x[inside], data.y[inside], noise=LogUniform(1e-4, 0.3))


def foil_model(K: int) -> Any:
    """A constant, the edge, and K transitions."""
    from sampler import Model, shapes
    from sampler.instruments.xanes import xanes

    return Model.single(shapes.constant, "background_", offset=(-0.7, -0.4)) + xanes(K, **FOIL)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Every K for both measurements."""
    from sampler import Posterior
    from sampler.instruments.xanes import xanes

    data, metal = spectrum(settings), foil()
    runs, synthetic = decide(
        {K: Posterior(xanes(K, **SYNTHETIC), data) for K in settings.K},
        settings.sweeps, settings.burn_in, settings.seed, progress, "synthetic, K = ")
    two = runs[2]
    theta = in_order(two, "center")
    posterior = two.posterior
    some = theta[:: max(1, len(theta) // 1000)]
    at = {name: k for k, name in enumerate(posterior.names)}
    lines = np.stack([_line(some[:, [at[f"transition{k}_{p}"] for p in
                                     ("height", "center", "width")]], data.x) for k in (1, 2)])
    foils, decision = decide(
        {K: Posterior(foil_model(K), metal) for K in settings.K},
        settings.foil_sweeps, settings.foil_burn_in, settings.seed + 100, progress, "foil, K = ")
    best = foils[int(decision["best"])]
    flat = best.draws.reshape(-1, best.draws.shape[-1])
    return Result(
        settings=asdict(settings), synthetic=synthetic, names=list(posterior.names),
        mean=theta.mean(axis=0), sd=theta.std(axis=0), foil=decision,
        feature=np.array([_feature(foils[K]) for K in settings.K if K]),
        x=data.x, y=data.y, fit=posterior.predict(some).mean(axis=0), lines=lines,
        foil_x=metal.x, foil_y=metal.y,
        foil_fit=best.posterior.predict(flat[:: max(1, len(flat) // 500)]).mean(axis=0),
        foil_noise=float(flat[:, -1].mean()))


def _line(parameters: Array, x: Array) -> Array:
    height, center, width = parameters.T[..., None]
    return np.asarray((height * 0.5 ** ((2 * (x - center) / width) ** 2)).mean(axis=0))


def _feature(run: Any) -> tuple[float, float]:
    """Centre of the line nearest 5466 eV, in every draw."""
    names = run.posterior.names
    centres = run.draws[..., [k for k, n in enumerate(names) if n.endswith("_center")]]
    centres = centres.reshape(-1, centres.shape[-1])
    nearest = centres[np.arange(len(centres)), np.argmin(abs(centres - 5466.0), axis=1)]
    return float(nearest.mean()), float(nearest.std())


def check(result: Result) -> Claims:
    """Against the truth of the synthetic edge; what the foil says, and what it does not."""
    truth = np.array([TRUTH[name] for name in result.names])
    centres = [k for k, name in enumerate(result.names) if name.endswith("_center")]
    off = result.mean[centres] - truth[centres]
    worst = int(np.argmax(abs(off)))
    z = (result.mean - truth) / result.sd
    gap, error = difference(result.synthetic, "1", "2")
    more, more_error = difference(result.synthetic, "3", "2")
    seen, seen_error = difference(result.foil, "0", "1")
    settled = result.feature[1:]
    return Claims([
        Claim("synthetic: K favoured", "2 (truth)", float(result.synthetic["best"]), 0.0,
              result.synthetic["best"] == "2", "exactly 2"),
        Claim("synthetic: F(1) - F(2) (nats)", "-", gap, error, gap > 30, "> 30"),
        Claim("synthetic: F(3) - F(2) (nats)", "-", more, more_error, None, "listed"),
        Claim("synthetic: transition farthest from its true position (eV)", "0 (truth)",
              float(off[worst]), float(result.sd[centres][worst]), bool(abs(off[worst]) < 0.2),
              "within 0.2; error: posterior sd"),
        Claim("synthetic: parameter farthest from the truth (posterior sd)", "0 (truth)",
              float(z[np.argmax(abs(z))]), 0.0, bool(np.max(abs(z)) < 3.5),
              f"|z| < 3.5 for all {len(z)}: {result.names[int(np.argmax(abs(z)))]}"),
        trust(result.synthetic["names"], result.synthetic["F"], result.synthetic["F_error"],
              result.synthetic["trusted"]),
        Claim("vanadium: F(0) - F(1) (nats)", "-", seen, seen_error, seen > 50, "> 50"),
        Claim("vanadium: the line nearest 5466 eV, K = 2 and 3 (eV)", "-",
              float(settled[:, 0].mean()), float(settled[:, 1].max()),
              bool(np.ptp(settled[:, 0]) < 0.3 and np.all(abs(settled[:, 0] - 5466.2) < 0.4)),
              "5466.2 +- 0.4 in both, 0.3 apart at most"),
        Claim("vanadium: does the favoured model describe the data?", "-",
              f"p = {result.foil['fits']:.0e}", 0.0, bool(result.foil["fits"] < 1e-3),
              f"no (p < 0.001), so K = {result.foil['best']} is no count of transitions")])


@styled
def draw(result: Result) -> dict[str, Any]:
    """Both edges with their fits, and F(K) of both."""
    from experiments.figures import BLUE, GREEN, ORANGE, RED, label_panels, panels

    figure, axes = panels(2, 2, 7.2, 5.4)
    edge, energy, metal, many = axes.flat
    edge.plot(result.x, result.y, ".", color="0.6", ms=3, label="synthetic, σ = 0.01")
    edge.plot(result.x, result.fit, color=BLUE, lw=1.0, label="K = 2, posterior mean")
    edge.set(xlabel="energy - reference (eV)", ylabel="absorption (step = 1)",
             title="A synthetic edge", ylim=(-0.08, 1.75))
    edge.legend(loc="upper left")
    inset = edge.inset_axes((0.68, 0.15, 0.31, 0.31))
    low = result.x < 0.0
    inset.plot(result.x[low], result.y[low], ".", color="0.6", ms=2.5)
    inset.plot(result.x[low], result.fit[low], color=BLUE, lw=1.0)
    for line, color, style in zip(result.lines, (ORANGE, GREEN), ("--", "-."), strict=True):
        inset.plot(result.x[low], line[low], color=color, ls=style, lw=1.0)
    inset.tick_params(labelsize=6.5)
    inset.set_title("below the edge", fontsize=7.5)
    draw_decision(energy, result.synthetic, "number of transitions K")
    energy.set_title("Free energy, synthetic")
    metal.plot(result.foil_x, result.foil_y, ".", color="0.6", ms=3,
               label="vanadium foil (APS 2005)")
    metal.plot(result.foil_x, result.foil_fit, color=RED, lw=1.0,
               label=f"K = {result.foil['best']}, σ inferred: {result.foil_noise:.3f}")
    metal.axvline(result.feature[-1, 0], color="0.5", ls=":", lw=1.0)
    metal.annotate(f"{result.feature[-1, 0]:.1f} eV", (result.feature[-1, 0], -0.2), (-4, 0),
                   textcoords="offset points", ha="right", fontsize=8)
    metal.set(xlabel="photon energy (eV)", ylabel="ln(I0/I)", title="A measured one",
              ylim=(-0.7, 3.0))
    metal.legend(loc="upper left")
    draw_decision(many, result.foil, "number of transitions K")
    many.set_title("Free energy, foil: no model fits")
    label_panels(axes)
    return {"xanes_pre_edge": figure}
