"""One component is enough: a measured NMR inversion-recovery curve.

Figure: the eight delays with the fit of one exponential, and p(model) over exponentials with
K = 1, 2, 3 and stretched exponentials with K = 1, 2.  The question is that of Ueda et al.
(JPSJ 92, 054002 (2023)); their SmS curves are not public.

Measured: eight delays of an inversion-recovery experiment on the water line (DNPLab example data,
TopSpin 304, MIT licence; see data/PROVENANCE.md).

Ours: the model m = c - sum A exp(-(r t)**beta); the priors c uniform 0.5 to 1.5, A uniform 0 to 3,
log10 r uniform -1.5 to 2.5 (r in 1/s), beta uniform 0 to 1 (the only one from the talk), noise
log-uniform 0.002 to 0.1; sweeps and seeds.

What may be claimed: one exponential first, two second (a weak second component costs little),
stretched behind.  Under beta uniform on [0, 1] the posterior of beta presses on the wall at 1: a
prior that allowed beta > 1 would change the order.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, trust
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 17.0
# F of one exponential: rate and noise on a grid, offset and amplitude by `theory.box`.
QUADRATURE = -11.4165


@dataclass(frozen=True)
class Settings:
    """Ours."""

    models: tuple[str, ...] = ("exponential K=1", "exponential K=2", "exponential K=3",
                               "stretched K=1", "stretched K=2")
    burn_in: int = 6_000
    sweeps: int = 100_000
    chains: int = 4
    seed: int = 304


SETTINGS = Settings()
QUICK = Settings(burn_in=50, sweeps=60)


@dataclass(frozen=True)
class Result:
    """What the figure and the table need."""

    settings: dict[str, Any]
    x: Array
    y: Array
    models: list[str]
    F: Array
    F_error: Array
    probability: Array
    probability_error: Array
    trusted: list[bool]
    problems: list[list[str]]
    best: str
    T1: Array             # mean, sd of 1/r of the single exponential (s)
    T1_histogram: Array   # counts
    T1_edges: Array
    sigma: Array          # mean, sd of the noise
    stretching: Array     # mean, sd, and share of draws above 0.95, stretched K = 1
    grid: Array           # delays for the curve (s)
    fit: Array
    low: Array
    high: Array


def posterior(label: str) -> Any:
    """A model by its label, ``"stretched K=2"``."""
    from experiments.paths import data_file
    from sampler import Data, LogUniform, Model, Posterior, shapes

    shape, K = label.split(" K=")
    formula = {"exponential": shapes.recovery, "stretched": shapes.stretched_recovery}[shape]
    priors: dict[str, Any] = {"amplitude": (0, 3), "rate": LogUniform(10**-1.5, 10**2.5)}
    if shape == "stretched":
        priors["stretching"] = (0, 1)
    data = Data.from_csv(data_file("nmr/t1_inversion_recovery_dnplab304.csv"),
                         LogUniform(0.002, 0.1))
    model = Model.single(shapes.constant, offset=(0.5, 1.5)) + Model.repeated(
        int(K), formula, "component", **priors)
    return Posterior(model, data)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Every model, then T1 of the single exponential."""
    from sampler import choose, diagnose, free_energy, sample

    runs = {label: sample(posterior(label), settings.sweeps, burn_in=settings.burn_in,
                          chains=settings.chains, seed=settings.seed + i,
                          progress=progress and (
                              lambda d, t, w, label=label: progress(d, t, f"{label}, {w}")))
            for i, label in enumerate(settings.models)}
    choice, one = choose(runs), runs["exponential K=1"]
    T1 = 1.0 / one.draws[..., 2].ravel()
    beta = runs["stretched K=1"].draws[..., 3]
    data = one.posterior.blocks[0].data
    grid = np.geomspace(0.01, 40.0, 200)
    curves = one.posterior.predict(one.draws[:, ::20].reshape(-1, one.draws.shape[-1]), x=grid)
    counts, edges = np.histogram(T1, bins=np.linspace(2.0, 2.35, 71))
    sigma = one.draws[..., -1]
    found = [free_energy(run) for run in runs.values()]
    return Result(
        settings=asdict(settings), x=data.x, y=data.y, models=list(settings.models),
        F=np.array([f.value for f in found]), F_error=np.array([f.error for f in found]),
        probability=np.array([row.probability for row in choice.rows]),
        probability_error=np.array([row.probability_error for row in choice.rows]),
        trusted=[diagnose(run).trusted for run in runs.values()],
        problems=[list(diagnose(run).problems) for run in runs.values()], best=str(choice.best),
        T1=np.array([T1.mean(), T1.std()]), T1_histogram=counts.astype(float), T1_edges=edges,
        sigma=np.array([sigma.mean(), sigma.std()]),
        stretching=np.array([beta.mean(), beta.std(), (beta > 0.95).mean()]), grid=grid,
        fit=curves.mean(axis=0), low=np.quantile(curves, 0.025, axis=0),
        high=np.quantile(curves, 0.975, axis=0))


def check(result: Result) -> Claims:
    """What must come out; tolerances from independent runs."""
    at = {label: i for i, label in enumerate(result.models)}
    one, two = at["exponential K=1"], at["exponential K=2"]
    order = [result.models[i] for i in np.argsort(result.F)]
    behind = min(result.F[at[m]] for m in result.models if m.startswith("stretched"))
    return Claims([
        Claim("lowest F", "-", order[0], 0.0, order[0] == "exponential K=1", "exponential K=1"),
        Claim("second lowest F", "-", order[1], 0.0, order[1] == "exponential K=2",
              "exponential K=2"),
        Claim("best stretched model - two exponentials (nats)", "-",
              float(behind - result.F[two]),
              float(np.hypot(result.F_error[at["stretched K=1"]], result.F_error[two])),
              bool(behind > result.F[two]), "> 0"),
        Claim("F, one exponential (nats)", f"{QUADRATURE} (exact)", float(result.F[one]),
              float(result.F_error[one]),
              bool(abs(result.F[one] - QUADRATURE) < 4 * result.F_error[one]), "4 errors"),
        Claim("p(one exponential), equal p(model)", "-", float(result.probability[one]),
              float(result.probability_error[one]),
              bool(0.6 < result.probability[one] < 0.8), "about 0.7: [0.6, 0.8]"),
        Claim("T1 (s)", "-", float(result.T1[0]), float(result.T1[1]),
              bool(abs(result.T1[0] - 2.165) < 0.02), "2.165 +- 0.02; error: posterior sd"),
        Claim("posterior sd of T1 (s)", "-", float(result.T1[1]), 0.0,
              bool(abs(result.T1[1] - 0.035) < 0.01), "0.035 +- 0.01"),
        Claim("stretched: share of the posterior with beta > 0.95", "-",
              float(result.stretching[2]), 0.0, bool(result.stretching[2] > 0.5),
              "> 0.5: presses on the prior's wall at 1"),
        trust(result.models, result.F, result.F_error, result.trusted),
    ])


@styled
def draw(result: Result) -> dict[str, Any]:
    """Data and fit, residuals, p(model), T1."""
    from experiments.figures import BLUE, SKY, label_panels, panels

    figure, axes = panels(2, 2, 7.2, 5.4)
    curve, models, residual, times = axes.flat
    curve.fill_between(result.grid, result.low, result.high, color=SKY, alpha=0.5, lw=0,
                       label="95 % band (as narrow as the line)")
    curve.plot(result.grid, result.fit, color=BLUE, label="one exponential")
    curve.plot(result.x, result.y, "o", color="0.2", ms=3, label="data")
    curve.set(xscale="log", xlabel="delay (s)", ylabel="magnetisation (normalised)",
              title="Inversion recovery")
    curve.set_ylim(-1.0, 1.75)
    curve.legend(loc="upper left")
    fit = np.interp(np.log(result.x), np.log(result.grid), result.fit)
    residual.fill_between(result.grid, result.low - result.fit, result.high - result.fit, color=SKY,
                          alpha=0.5, lw=0, label="95 % band of the curve")
    residual.axhline(0.0, color=BLUE, lw=1.0)
    residual.errorbar(result.x, result.y - fit, result.sigma[0], fmt="o", color="0.2", ms=3,
                      label=r"data - fit, bar: $\langle\sigma\rangle$")
    residual.set(xscale="log", xlabel="delay (s)", ylabel="residual (normalised)",
                 title="What the fit leaves")
    residual.set_ylim(top=1.9 * residual.get_ylim()[1])
    residual.legend(loc="upper right")
    position = np.arange(len(result.models))
    models.bar(position, result.probability, yerr=result.probability_error, color=BLUE)
    models.set(xticks=position, ylabel="p(model | data)", title="Which model? (bars: 1 sd)",
               ylim=(0, 1))
    models.set_xticklabels([m.replace("exponential K=", "exp\n").replace("stretched K=", "str\n")
                            for m in result.models])
    models.set_xlabel("exponential, stretched; components")
    times.stairs(result.T1_histogram / result.T1_histogram.sum() / np.diff(result.T1_edges),
                 result.T1_edges, fill=True, color=BLUE, alpha=0.6)
    times.set(xlabel=r"$T_1$ (s)", ylabel="posterior density (1/s)",
              title=f"$T_1$ = {result.T1[0]:.3f} ± {result.T1[1]:.3f} s")
    label_panels(axes)
    return {"t1_inversion_recovery": figure}
