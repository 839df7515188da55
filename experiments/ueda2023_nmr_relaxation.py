"""How many relaxation times has an NMR curve?  After Ueda et al. (2023), on synthetic curves.

Figures: three components; a single stretched one (each: curve, F of every model, the posteriors of
rates, amplitudes, stretching exponents and offset); six temperatures in the manner of SmS; and
what other priors make of two of these curves.  Ueda, Katakami, Yoshida, Koyama, Nakai, Mito,
Mizumaki and Okada, J. Phys. Soc. Jpn. 92, 054002 (2023).

The paper's, as shown in M. Okada's talk (2025-02-17): the model, a sum of stretched exponentials
and an offset; the prior of the stretching exponent, uniform on [0, 1] for want of physical
knowledge; the two tests, K = 3 and a single stretched exponential; the temperatures of SmS, and
what was found there: a single stretched component down to 100 K, as T. Koyama et al. had fitted it
with an exponent of 0.7, and two at 60 and 30 K.

Ours: every curve (synthetic: no measured curve of SmS is here), times, noise (known), the true
values, the other priors (log10 of the rate in 1/s uniform from -1.5 to 2.5, inside the measured
times; amplitudes 0 to 1.2; offset -0.1 to 0.1), pure exponentials beside the stretched ones, sweeps
and seeds.  The times run from 1 ms to 100 s, evenly in their logarithm.

What may be claimed: the smallest number of components within a nat of the lowest F is the true one
in all eight curves.  Not that a surplus component is excluded: it costs a nat or two, and a fourth
beside three less than one.  Pure exponentials need three components for one stretched one and lose
all the same.  F moves with the priors, exactly as their widths say where the posterior lies
inside; and with a rate prior that leaves the measured window, under a wide offset and twice the
noise, the single stretched curve is taken for two components.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, farthest, trust
from experiments.decisions import decide, difference, draw_decision, in_order
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 110.0
BINS = 60


class Truth(NamedTuple):
    """A synthetic curve: ``offset + sum amplitude exp(-(t / T1)**stretching)`` and white noise."""

    amplitude: tuple[float, ...]
    T1: tuple[float, ...]           # s
    stretching: tuple[float, ...]
    points: int = 100
    noise: float = 0.005
    offset: float = 0.02
    seed: int = 0


SINGLE = Truth((0.95,), (0.5,), (0.7,))
NOISIER = SINGLE._replace(points=60, noise=0.01)
THREE = Truth((0.30, 0.40, 0.25), (0.02, 0.5, 12.0), (0.9, 0.9, 0.9), points=60)
# By temperature (K).  Invented, in the manner of SmS; the seed of the noise is 1000 T.
SERIES = {T: Truth((0.95,), (T1,), (0.7,), seed=1000 * T)
          for T, T1 in ((260, 0.05), (200, 0.08), (140, 0.15), (100, 0.3))} | {
    60: Truth((0.60, 0.35), (0.2, 4.0), (0.9, 0.8), seed=60_000),
    30: Truth((0.50, 0.45), (0.3, 20.0), (0.9, 0.8), seed=30_000)}
PRIORS = {"offset": (-0.1, 0.1), "amplitude": (0.0, 1.2), "log10_rate": (-1.5, 2.5),
          "stretching": (0.0, 1.0)}
OTHERS = {"exponent, half": {"stretching": (0.5, 1.0)},
          "exponent, double": {"stretching": (0.0, 2.0)},
          "amplitude, half": {"amplitude": (0.0, 0.6)},
          "amplitude, double": {"amplitude": (0.0, 2.4)}}
WIDE = {"offset": (-0.5, 0.5), "amplitude": (0.0, 1.5), "log10_rate": (-2.0, 3.0)}
# F (without the constant) of a plain one-parameter exchange sampler, written before this one.
ANOTHER = {"stretched 1": 203.01, "stretched 2": 142.90, "stretched 3": 55.50,
           "stretched 4": 56.37}


@dataclass(frozen=True)
class Settings:
    """Ours.  Surplus components mix slowly, and so do three of them: few chains, but long ones."""

    temperatures: tuple[int, ...] = (260, 200, 140, 100, 60, 30)
    few_sweeps: int = 8_000       # pure exponentials, and not more components than there are
    sweeps: int = 36_000          # one more, or two
    most_sweeps: int = 48_000     # the curve of three components, two of them or more
    burn_in: int = 4_000
    chains: int = 2
    doublings: int = 2            # of a run that is not trusted
    seed: int = 2023


SETTINGS = Settings()
QUICK = Settings(temperatures=(260, 30), few_sweeps=60, sweeps=60, most_sweeps=60, burn_in=50,
                 doublings=0)


@dataclass(frozen=True)
class Result:
    """Decisions (see `decisions.decide`) and portraits (see `portrait`)."""

    settings: dict[str, Any]
    single: dict[str, Any]
    three: dict[str, Any]
    series: list[dict[str, Any]]         # by temperature
    single_is: dict[str, Any]            # of the favoured stretched model
    three_is: dict[str, Any]
    imitation: dict[str, Any]            # of the least number of components, in the curve of three
    series_is: list[dict[str, Any]]      # with as many components as there are
    exact: Array                         # F of one stretched component by quadrature
    exact_for: list[str]                 # ... in these curves
    ours: Array                          # what the runs say there
    ours_error: Array
    round_trips: Array                   # of the curve of three, by model
    priors: list[dict[str, Any]]         # decisions under other priors: "single", then "30 K"
    wide: dict[str, Any]                 # ... and under the wide ones, noisier curve


def times(points: int) -> Array:
    """1 ms to 100 s (s)."""
    return np.logspace(-3.0, 2.0, points)


def curve(t: Array, truth: Truth) -> Array:
    """The curve without its noise."""
    parts = zip(truth.amplitude, truth.T1, truth.stretching, strict=True)
    return truth.offset + sum((a * np.exp(-((t / T1) ** b)) for a, T1, b in parts),
                              start=np.zeros(len(t)))


def measured(truth: Truth) -> Any:
    """Synthetic data; the noise is known."""
    from sampler import Data

    t = times(truth.points)
    noise = np.random.default_rng(truth.seed).standard_normal(truth.points)
    return Data(t, curve(t, truth) + truth.noise * noise, noise=truth.noise)


def posterior(data: Any, model: str, **other: Any) -> Any:
    """A model by its name, ``"stretched 2"`` or ``"exponential 3"``; other priors by name."""
    from sampler import LogUniform, Posterior
    from sampler.instruments.relaxation import relaxation

    shape, K = model.split()
    ranges = PRIORS | other
    priors = {"offset": ranges["offset"], "amplitude": ranges["amplitude"],
              "rate": LogUniform(*(10.0**v for v in ranges["log10_rate"]))}
    if shape == "stretched":
        priors["stretching"] = ranges["stretching"]
    return Posterior(relaxation(int(K), shape, "decay", **priors), data)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Every model of every curve, then two of the curves under other priors."""
    from sampler import diagnose

    def choice(truth: Truth, models: list[str], seed: int, words: str,
               **other: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data = measured(truth)
        return decide({m: posterior(data, m, **other) for m in models},
                      {m: counted(m, truth, settings) for m in models}, settings.burn_in,
                      settings.seed + seed, progress, words, settings.chains, settings.doublings)

    pure = [f"exponential {K}" for K in (1, 2, 3)]
    runs, single = choice(SINGLE, stretched(1, 2, 3) + pure, 0, "single, ")
    single_is = portrait(runs["stretched 1"])
    runs, three = choice(THREE, stretched(1, 2, 3, 4), 100, "three, ")
    three_is, imitation = portrait(runs["stretched 3"]), portrait(runs["stretched 1"])
    trips = np.array([float(diagnose(run).round_trips) for run in runs.values()])
    series, series_is = [], []
    for k, T in enumerate(settings.temperatures):
        K = len(SERIES[T].T1)
        runs, found = choice(SERIES[T], stretched(*range(1, K + 2)) + pure[2:], 200 + 10 * k,
                             f"{T} K, ")
        series.append(found)
        series_is.append(portrait(runs[f"stretched {K}"]))
    priors = [dict(choice(truth, models, 300 + 100 * j + 10 * k, f"{name}, {words}, ",
                          **OTHERS[words])[1], curve=name, prior=words)
              for j, (name, truth, models, others) in enumerate((
                  # Half the amplitudes would leave the single one out.
                  ("single", SINGLE, stretched(1, 2), set(OTHERS) - {"amplitude, half"}),
                  ("30 K", SERIES[30], stretched(2, 3), set(OTHERS))))
              for k, words in enumerate(OTHERS) if words in others]
    wide = choice(NOISIER, stretched(1, 2), 500, "wide priors, ", **WIDE)[1]
    alone = {"single": (SINGLE, single)} | {
        f"{T} K": (SERIES[T], found)
        for T, found in zip(settings.temperatures, series, strict=True) if len(SERIES[T].T1) == 1}
    return Result(
        settings=asdict(settings), single=single, three=three, series=series, single_is=single_is,
        three_is=three_is, imitation=imitation, series_is=series_is,
        exact=np.array([one_component(measured(truth)) for truth, _ in alone.values()]),
        exact_for=list(alone), ours=np.array([found["F"][0] for _, found in alone.values()]),
        ours_error=np.array([found["F_error"][0] for _, found in alone.values()]),
        round_trips=trips, priors=priors, wide=wide)


def stretched(*components: int) -> list[str]:
    """Names of models.

    Examples
    --------
    >>> stretched(1, 2)
    ['stretched 1', 'stretched 2']
    """
    return [f"stretched {K}" for K in components]


def counted(model: str, truth: Truth, settings: Settings) -> int:
    """Sweeps for a model of a curve."""
    shape, K = model.split()
    if truth is THREE and int(K) > 1:
        return settings.most_sweeps
    return settings.sweeps if shape == "stretched" and int(K) > len(truth.T1) else (
        settings.few_sweeps)


def portrait(run: Any) -> dict[str, Any]:
    """What a run says about its parameters, components in order of falling rate.

    Returns
    -------
    dict
        ``t``, ``y``, ``fit`` (posterior mean at t); for each of ``log10_rate``, ``amplitude``,
        ``stretching`` (K rows) and ``offset`` (one row): mean, sd, 2.5 % and 97.5 %, as arrays
        (rows, 4); and under ``edges``, ``density`` the histograms of each, by its name.
    """
    data = run.posterior.blocks[0].data
    ordered = in_order(run, "rate")
    K = (ordered.shape[1] - 1) // 3
    parts = ordered[:, 1:].reshape(-1, K, 3)[:, ::-1]
    draws = {"offset": ordered[:, :1], "amplitude": parts[..., 0],
             "log10_rate": np.log10(parts[..., 1]), "stretching": parts[..., 2]}
    theta = ordered[:: max(1, len(ordered) // 500)]
    out: dict[str, Any] = {"t": data.x, "y": data.y,
                           "fit": run.posterior.predict(theta).mean(axis=0),
                           "edges": {}, "density": {}}
    for name, values in draws.items():
        out[name] = np.column_stack([values.mean(axis=0), values.std(axis=0),
                                     *np.quantile(values, [0.025, 0.975], axis=0)])
        histograms = [np.histogram(column, BINS, density=True) for column in values.T]
        out["density"][name] = np.array([h[0] for h in histograms])
        out["edges"][name] = np.array([h[1] for h in histograms])
    return out


def one_component(data: Any, nodes: int = 61) -> float:
    """F of one stretched component by quadrature.

    Amplitude and offset enter linearly: their integral is a normal one, without the walls, which
    are hundreds of standard deviations away.  log10 of the rate and exponent on a grid of +-8
    standard deviations around the mode, where the trapezoid rule is exact to rounding.
    """
    from scipy.optimize import minimize

    def energies(points: Array) -> Array:
        return given_shape(data, points)

    start = np.array([0.3, 0.7])
    mode = minimize(lambda p: energies(p[None])[0], start, method="Nelder-Mead",
                    options={"xatol": 1e-8, "fatol": 1e-9}).x
    step = 1e-4 * np.eye(2)
    curvature = np.array([[(energies((mode + i + j)[None]) + energies((mode - i - j)[None])
                            - energies((mode + i - j)[None]) - energies((mode - i + j)[None]))[0]
                           for i in step] for j in step]) / 4e-8
    root = np.linalg.cholesky(np.linalg.inv(curvature))
    axis = np.linspace(-8.0, 8.0, nodes)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    log_p = -energies(mode + grid @ root.T)
    top = float(log_p.max())
    integral = top + math.log(np.exp(log_p - top).sum()) + 2 * math.log(axis[1] - axis[0]) + float(
        np.log(np.diag(root)).sum())
    return float(data.constant - integral + sum(math.log(hi - lo) for lo, hi in PRIORS.values()))


def given_shape(data: Any, points: Array) -> Array:
    """-ln of the likelihood, its constant left out, integrated over amplitude and offset.

    Parameters
    ----------
    data : Data
    points : array (points, 2)
        log10 of the rate, and stretching exponent.
    """
    decay = np.exp(-((10.0 ** points[:, :1] * data.x) ** points[:, 1:]))
    basis = np.stack([decay, np.ones_like(decay)], axis=-1) / data.deviation[:, None]
    target = data.y / data.deviation
    gram = basis.swapaxes(1, 2) @ basis
    right = np.einsum("pnk,n->pk", basis, target)
    best = np.linalg.solve(gram, right[..., None])[..., 0]
    least = target @ target - np.einsum("pk,pk->p", best, right)
    return np.asarray(0.5 * least - math.log(2 * math.pi) + 0.5 * np.linalg.slogdet(gram)[1])


def favoured(decision: dict[str, Any]) -> str:
    """The stretched model with the fewest components within 1 nat of the lowest F of all, or
    whatever model has that.

    Examples
    --------
    >>> names = ["stretched 1", "stretched 2", "exponential 3"]
    >>> favoured({"names": names, "F": np.array([7.0, 6.5, 20.0])})
    'stretched 1'
    """
    F = np.asarray(decision["F"])
    return str(decision["names"][int(np.flatnonzero(F <= F.min() + 1.0)[0])])


def pure_excess(decision: dict[str, Any]) -> tuple[float, float]:
    """F of the best pure exponential minus that of the best stretched model, and its error."""
    names, F = decision["names"], decision["F"]
    best = [min((k for k, n in enumerate(names) if n.startswith(shape)), key=lambda k: F[k])
            for shape in ("exponential", "stretched")]
    return difference(decision, names[best[0]], names[best[1]])


def true_values(truth: Truth) -> dict[str, Array]:
    """Under the names of a portrait, the fastest component first.

    Examples
    --------
    >>> true_values(SERIES[60])["log10_rate"].round(3)
    array([ 0.699, -0.602])
    """
    order = np.argsort(truth.T1)
    return {"log10_rate": -np.log10(np.asarray(truth.T1))[order],
            "amplitude": np.asarray(truth.amplitude)[order],
            "stretching": np.asarray(truth.stretching)[order], "offset": np.array([truth.offset])}


def farthest_parameter(claim: str, shown: dict[str, tuple[dict[str, Any], Truth]],
                       sigmas: float = 4.0) -> Claim:
    """Of all parameters of some portraits the posterior mean that lies farthest from the truth, in
    posterior standard deviations."""
    rows = [(*found[name][k, :2], value,
             f"{words}{name.replace('_', ' of ')}" + (f" {k + 1}" if len(values) > 1 else ""))
            for words, (found, truth) in shown.items()
            for name, values in true_values(truth).items() for k, value in enumerate(values)]
    mean, sd, true, labels = zip(*rows, strict=True)
    return replace(farthest(claim, mean, true, sd, labels, sigmas),
                   paper=f"{true[int(np.argmax(abs(np.subtract(mean, true)) / sd))]:.4g} (truth)")


def shifts(result: Result) -> tuple[Array, Array, Array, list[str]]:
    """How far F of the true number of components moved under each prior, what the prior's width
    says, the joint error, and the names."""
    ours, exact, error, labels = [], [], [], []
    for decision in result.priors:
        K = 1 if decision["curve"] == "single" else 2
        base = (result.single if K == 1 else
                result.series[result.settings["temperatures"].index(30)])
        model = f"stretched {K}"
        i, j = decision["names"].index(model), base["names"].index(model)
        ours.append(decision["F"][i] - base["F"][j])
        error.append(math.hypot(decision["F_error"][i], base["F_error"][j]))
        exact.append(K * math.log(2.0) * (1 if "double" in decision["prior"] else -1))
        labels.append(f"{decision['curve']}, {decision['prior']}")
    return np.array(ours), np.array(exact), np.array(error), labels


def check(result: Result) -> Claims:
    """Against the truth, quadrature, the priors' widths, and runs of another sampler."""
    single, three = result.single, result.three
    at = {n: k for k, n in enumerate(single["names"])}
    pure, pure_error = pure_excess(single)
    few, few_error = difference(three, "stretched 2", "stretched 3")
    more, more_error = difference(three, "stretched 4", "stretched 3")
    reduced = three["F"] - three["constant"]
    off = np.array([reduced[k] - ANOTHER[n] for k, n in enumerate(three["names"])])
    worst = int(np.argmax(abs(off)))
    temperatures = result.settings["temperatures"]
    truths = [f"stretched {len(SERIES[T].T1)}" for T in temperatures]
    stars = [favoured(d) for d in result.series]
    cold = [difference(d, "stretched 1", "stretched 2") for d, star in zip(
        result.series, truths, strict=True) if star == "stretched 2"]
    warm = [difference(d, "stretched 2", "stretched 1") for d, star in zip(
        result.series, truths, strict=True) if star == "stretched 1"]
    excess = [pure_excess(d) for d in result.series]
    closest = int(np.argmin([e[0] for e in excess]))
    moved, width, joint, labels = shifts(result)
    wide, wide_error = difference(result.wide, "stretched 1", "stretched 2")
    beta, amplitude = (result.imitation[n][0] for n in ("stretching", "amplitude"))
    least = min(cold, key=lambda pair: pair[0])
    some = [k for k, d in enumerate(result.priors) if d["curve"] == "single"]
    others = [k for k, d in enumerate(result.priors) if d["curve"] == "30 K"]
    return Claims([
        farthest("F of one stretched component (nats)", result.ours, result.exact,
                 result.ours_error, result.exact_for),
        Claim("single stretched: favoured among six models", "stretched 1 (truth)",
              favoured(single), 0.0, favoured(single) == "stretched 1",
              "fewest components within 1 nat"),
        Claim("the same: p(stretched 1), equal p(model)", "-",
              float(single["probability"][at["stretched 1"]]),
              float(single["probability_error"][at["stretched 1"]]),
              bool(single["probability"][at["stretched 1"]] > 0.5), "> 0.5"),
        Claim("the same: best pure exponential - best stretched (nats)", "-", pure, pure_error,
              pure > 8.0, "> 8"),
        farthest_parameter("the same: parameters", {"": (result.single_is, SINGLE)}),
        Claim("three components: favoured", "stretched 3 (truth)", favoured(three), 0.0,
              favoured(three) == "stretched 3", "fewest components within 1 nat"),
        Claim("the same: F(2) - F(3) (nats)", "-", few, few_error, few > 80.0, "> 80"),
        Claim("the same: F(4) - F(3) (nats)", "-", more, more_error, None,
              "listed: a fourth component is not excluded"),
        Claim(f"the same: F against another sampler, farthest ({three['names'][worst]}) (nats)",
              "-", float(off[worst]), float(three["F_error"][worst]), bool(abs(off[worst]) < 0.4),
              "within 0.4"),
        Claim("the same: fewest round trips of a run", "-", float(result.round_trips.min()), 0.0,
              bool(result.round_trips.min() > 10), "> 10"),
        farthest_parameter("the same: parameters", {"": (result.three_is, THREE)}, 2.0),
        Claim("one component for three: its stretching exponent", "-", float(beta[0]),
              float(beta[1]), bool(abs(beta[0] - 0.265) < 0.01),
              "0.265 +- 0.01 (another sampler); error: posterior sd"),
        Claim("one component for three: its amplitude", "-", float(amplitude[0]),
              float(amplitude[1]), bool(amplitude[0] > 1.18), "> 1.18: at the wall, 1.2"),
        Claim("temperatures: K favoured at " + ", ".join(map(str, temperatures)) + " K",
              " ".join(t[-1] for t in truths) + " (truth)", " ".join(s[-1] for s in stars), 0.0,
              stars == truths, "fewest components within 1 nat, pure exponentials included"),
        Claim("the same: F(1) - F(2) where there are two, smaller (nats)", "-", *least,
              least[0] > 1000.0, "> 1000"),
        Claim("the same: F(2) - F(1) where there is one, smallest (nats)", "-",
              *min(warm, key=lambda pair: pair[0]), None,
              "listed: one is favoured, two not excluded"),
        Claim(f"the same: three pure exponentials - best stretched, smallest "
              f"({temperatures[closest]} K) (nats)", "-", *excess[closest],
              excess[closest][0] > 3.0, "> 3"),
        farthest_parameter("the same: parameters", {
            f"{T} K, ": (p, SERIES[T])
            for T, p in zip(temperatures, result.series_is, strict=True)}),
        farthest("other priors: shift of F(true K) (nats)", moved, width, joint, labels),
        *(Claim(f"other priors: p({'K = 1' if name == 'single' else 'K = 2'}) of two models, "
                f"{name}", "-", _range(result, rows), 0.0, None, "listed: lowest to highest")
          for name, rows in (("single", some), ("30 K", others))),
        Claim("wide priors, 60 points, twice the noise: F(1) - F(2) (nats)", "-", wide, wide_error,
              wide > 0.0, "> 0: the surplus component imitates the offset"),
        _all_trusted(result)])


def _range(result: Result, rows: list[int]) -> str:
    p = [float(result.priors[k]["probability"][0]) for k in rows]
    return f"{min(p):.2f} to {max(p):.2f}"


def _all_trusted(result: Result) -> Claim:
    named = [("single", result.single), ("three", result.three), ("wide", result.wide),
             *((f"{T} K", d) for T, d in zip(result.settings["temperatures"], result.series,
                                             strict=True)),
             *((f"{d['curve']}, {d['prior']}", d) for d in result.priors)]
    return trust([f"{words}: {name}" for words, d in named for name in d["names"]],
                 np.concatenate([d["F"] - d["F"].min() for _, d in named]),
                 np.concatenate([d["F_error"] for _, d in named]),
                 [good for _, d in named for good in d["trusted"]])


QUANTITIES = (("log10_rate", r"$\log_{10}$ rate (rate in 1/s)", "Relaxation rates"),
              ("amplitude", "amplitude (normalised)", "Amplitudes"),
              ("stretching", r"stretching exponent $\beta$", "Stretching exponents"),
              ("offset", "offset (normalised)", "Offset"))


@styled
def draw(result: Result) -> dict[str, Any]:
    """Three components; a single stretched one; six temperatures; other priors."""
    three = _one_curve(result.three, result.three_is, THREE, 300.0, result.imitation)
    return {"nmr_three": three, "nmr_single": _one_curve(result.single, result.single_is, SINGLE,
                                                         10_000.0),
            "nmr_temperatures": _temperatures(result), "nmr_priors": _priors(result)}


def _one_curve(decision: dict[str, Any], found: dict[str, Any], truth: Truth, top: float,
               imitation: dict[str, Any] | None = None) -> Any:
    """Curve, F of the models, and the posteriors of the favoured one's parameters."""
    from experiments.figures import BLACK, BLUE, GREEN, ORANGE, RED, label_panels, panels

    figure, axes = panels(2, 3, 9.6, 5.6)
    data, models, *rest = axes.flat
    data.plot(found["t"], found["y"], "o", color="0.55", ms=2.5, label="synthetic data")
    K = len(found["amplitude"])
    data.plot(found["t"], found["fit"], color=BLUE,
              label=f"{K} component{'s' if K > 1 else ''}, posterior mean")
    if imitation is not None:
        data.plot(found["t"], imitation["fit"], color=RED, ls="--", lw=1.1,
                  label=rf"one, $\beta$ = {imitation['stretching'][0][0]:.2f}")
    data.set(xscale="log", xlabel="time (s)", ylabel="magnetisation (normalised)",
             ylim=(-0.05, 1.3), title="Relaxation curve")
    data.legend(loc="upper right")
    draw_decision(models, dict(decision, names=[n.replace("stretched ", "str\n").replace(
        "exponential ", "exp\n") for n in decision["names"]]),
        "components, stretched (str)" + (
            " or pure (exp)" if "exponential 1" in decision["names"] else ""), top)
    models.set_title("Model selection (bars: 95 %)")
    exact = true_values(truth)
    for ax, (name, label, title) in zip(rest, QUANTITIES, strict=True):
        looks = ((BLACK, "fast"),) if name == "offset" else tuple(zip(
            (BLUE, GREEN, ORANGE), ("fastest", "middle", "slowest"), strict=True))
        for k, (density, edges) in enumerate(zip(found["density"][name], found["edges"][name],
                                                 strict=True)):
            ax.stairs(density, edges, fill=True, alpha=0.45, color=looks[k][0],
                      label=looks[k][1] if K > 1 and name != "offset" else None)
        for k, value in enumerate(exact[name]):
            ax.axvline(value, color=RED, ls="--", lw=1.0, label=None if k else "truth")
        ax.set(xlabel=label, ylabel="posterior density", title=title)
        if name == "stretching" and K > 1:
            ax.set_xlim(0.6, 1.0)
        ax.set_ylim(0.0, ax.get_ylim()[1] * (1.6 if K > 1 and name == "stretching" else 1.25))
        if K == 1 or name in ("amplitude", "stretching"):   # elsewhere it would hide a component
            ax.legend(loc="upper left" if name == "stretching" else "upper right", fontsize=7.5)
    label_panels(axes)
    return figure


def _temperatures(result: Result) -> Any:
    """Curves, F(K) and parameters against temperature."""
    from experiments.figures import (
        BLACK,
        BLUE,
        GREEN,
        ORANGE,
        PINK,
        RED,
        SKY,
        label_panels,
        panels,
        plain_ticks,
    )

    figure, axes = panels(2, 3, 9.6, 5.8)
    curves, energy, *rest = axes.flat
    temperatures = result.settings["temperatures"]
    looks = tuple(zip((RED, ORANGE, PINK, GREEN, SKY, BLUE), "os^vDP", strict=True))
    for (color, mark), T, found, decision in zip(
            looks, temperatures, result.series_is, result.series, strict=False):
        curves.plot(found["t"], found["y"], mark, color=color, ms=1.8, alpha=0.6)
        curves.plot(found["t"], found["fit"], color=color, lw=1.1, label=f"{T} K")
        rows = [k for k, n in enumerate(decision["names"]) if n.startswith("stretched")]
        F = decision["F"][rows]
        energy.errorbar(1 + np.arange(len(rows)), F - F.min(), 1.96 * decision["F_error"][rows],
                        marker=mark, ls="-", color=color, ms=4, lw=1.0, label=f"{T} K")
    curves.set(xscale="log", xlabel="time (s)", ylabel="magnetisation (normalised)",
               ylim=(-0.05, 1.1), title="Synthetic, in the manner of SmS")
    curves.legend(loc="lower left", fontsize=7.5)
    energy.axhline(1.0, color=BLACK, ls="--", lw=0.8, label="1 nat")
    energy.set_yscale("symlog", linthresh=4.0)
    plain_ticks(energy.yaxis, [0, 1, 2, 3, 4, 10, 100, 1000])
    energy.set(xlabel="number of stretched components K", ylabel="F above its minimum (nats)",
               xticks=(1, 2, 3), ylim=(-0.4, 5000),
               title="Free energy (bars: 95 %)")
    energy.legend(loc="upper right", fontsize=7.5)
    for ax, (name, label, title) in zip(rest, QUANTITIES, strict=True):
        for k, (color, mark, words) in enumerate(((BLUE, "o", "one, or the faster"),
                                                  (ORANGE, "s", "the slower"))):
            seen = [(T, p[name][k]) for T, p in zip(temperatures, result.series_is, strict=True)
                    if len(p[name]) > k]
            if not seen:
                continue
            value = np.array([row for _, row in seen])
            ax.errorbar([T for T, _ in seen], value[:, 0],
                        [value[:, 0] - value[:, 2], value[:, 3] - value[:, 0]], fmt=mark,
                        color=BLACK if name == "offset" else color, ms=3.5,
                        label="posterior mean" if name == "offset" else words)
        for j, T in enumerate(temperatures):
            for i, v in enumerate(true_values(SERIES[T])[name]):
                ax.plot(T, v, "_", color=RED, ms=11, mew=1.2, zorder=1,
                        label=None if i + j else "truth")
        ax.set(xlabel="temperature (K)", ylabel=label, xlim=(0, 290),
               title=f"{title} (bars: 95 %)")
        ax.legend(loc="lower right" if name in ("amplitude", "log10_rate") else "best",
                  fontsize=7.5)
    label_panels(axes)
    return figure


def _priors(result: Result) -> Any:
    """How F and p(K) move with the widths of the priors."""
    from experiments.figures import BLUE, ORANGE, RED, label_panels, panels

    figure, axes = panels(1, 2, 9.6, 3.6)
    shift, chance = axes.flat
    bases = {"single": result.single}
    bases["30 K"] = result.series[result.settings["temperatures"].index(30)]
    place, labels, own = 0.0, [], []
    for curve_name, base in bases.items():
        true = 1 if curve_name == "single" else 2
        rows = [d for d in result.priors if d["curve"] == curve_name]
        at = [base["names"].index(n) for n in rows[0]["names"]]
        weight = np.exp(-(base["F"][at] - base["F"][at].min()))
        chance.bar(place, weight[0] / weight.sum(), color="0.7", width=0.7)
        labels.append((place, "as it\nis"))
        for ax, height in ((shift, 3.3), (chance, 1.02)):
            ax.text(place - 0.35, height, {"single": "single stretched, K = 1",
                                           "30 K": "30 K, K = 2"}[curve_name], fontsize=8)
        for decision in rows:
            place += 1.0
            labels.append((place, decision["prior"].replace("exponent", r"$\beta$").replace(
                "amplitude", "A").replace(", ", "\n")))
            chance.bar(place, decision["probability"][0], color=BLUE, width=0.7,
                       yerr=1.96 * decision["probability_error"][0])
            exact = true * math.log(2.0) * (1 if "double" in decision["prior"] else -1)
            own.append((place, exact))
            for k, (color, mark, dx) in enumerate(((BLUE, "o", -0.12), (ORANGE, "s", 0.12))):
                shift.errorbar(
                    place + dx, decision["F"][k] - base["F"][at[k]],
                    1.96 * math.hypot(decision["F_error"][k], base["F_error"][at[k]]), fmt=mark,
                    color=color, ms=4,
                    label=("true K", "one more")[k] if len(own) == 1 else None)
        place += 1.6
    for k, (at_place, exact) in enumerate(own):
        shift.plot([at_place - 0.4, at_place + 0.4], [exact, exact], color=RED, lw=1.0, ls="--",
                   label=None if k else r"$\pm K \ln 2$", zorder=1)
    shift.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    for ax in (shift, chance):
        ax.set_xlim(-0.8, place - 0.8)
        ax.set_xticks([p for p, _ in labels])
        ax.set_xticklabels([w for _, w in labels], fontsize=7.5)
        ax.set_xlabel(r"prior of exponent $\beta$ or amplitude A: its width")
    shift.set(ylabel="change of F (nats)", title="Free energy (bars: 95 %)", ylim=(-2.5, 3.7))
    shift.legend(loc="upper left", bbox_to_anchor=(0.0, 0.92), fontsize=7.5)
    chance.set(ylim=(0, 1.1), yticks=np.arange(0.0, 1.01, 0.2), ylabel="p(true K), of two models",
               title="Probability (bars: 95 %)")
    label_panels(axes)
    return figure
