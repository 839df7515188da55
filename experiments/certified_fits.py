"""Certified least-squares fits, by sampling: where the mean is certified, and where the mode.

Figure: posterior means and standard deviations against the certified ones for Gauss2, Misra1a and
Chwirut2; and Lanczos3, three exponentials whose posterior is so skew that its mean lies a third of
a standard deviation from the certified values, which are its mode.

NIST's (StRD, nonlinear regression): the data, the formulas, the certified least-squares values and
standard deviations.  Gauss2: two slightly blended peaks on a decaying background, generated.
Misra1a: adsorption; Chwirut2: ultrasonic calibration; both observed.  Lanczos3: three exponentials
written down to five digits.

Ours: flat boxes as priors, wide enough that no wall is felt, and a log-uniform noise; sweeps and
seeds.  Lanczos3 is sampled along its bent ridge, with its amplitudes integrated out: in amplitudes
and rates as they stand a run of 6,000 sweeps crosses nothing, and says that it is not to be
trusted.  For Lanczos3 there is a second road, in which amplitudes and noise are integrated in
closed form and the three rates on a grid.

What may be claimed: with flat priors and unknown noise the means of the first three problems lie
within 0.3 certified standard deviations of the certificate, and the standard deviations within
15 %: a posterior of n points is Student's t, wider than the certificate by sqrt((n - p)/(n - p -
2)), and Misra1a has 14 points.  For Lanczos3 it is the mode that is certified; its means are
elsewhere, by both roads.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, farthest
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 30.0
REGULAR = ("Gauss2", "Misra1a", "Chwirut2")
# b1, b2, ...: certified value, certified standard deviation.
CERTIFIED = {
    "Gauss2": np.array([
        (99.018328406, 0.53748766879), (0.010994945399, 0.00013335306766),
        (101.88022528, 0.59217315772), (107.03095519, 0.15006798316),
        (23.578584029, 0.22695595067), (72.045589471, 0.61721965884),
        (153.27010194, 0.19466674341), (19.525972636, 0.26416549393)]),
    "Misra1a": np.array([(238.94212918, 2.7070075241), (5.5015643181e-4, 7.2668688436e-6)]),
    "Chwirut2": np.array([
        (0.16657666537, 0.038303286810), (0.0051653291286, 0.00066621605126),
        (0.012150007096, 0.0015304234767)]),
    "Lanczos3": np.array([
        (0.086816414977, 0.017197908859), (0.95498101505, 0.097041624475),
        (0.84400777463, 0.041488663282), (2.9515951832, 0.10766312506),
        (1.5825685901, 0.058371576281), (4.9863565084, 0.034436403035)])}
# Lanczos3, amplitudes and rates in turn: independent runs before this one, to 0.05 certified sd.
MEANS = np.array([0.0919, 0.974, 0.859, 2.983, 1.562, 4.998])
PRECISE = 0.05    # certified standard deviations
SLOWEST = (0.2, 1.6)    # range of Lanczos3's slowest rate in the quadrature


@dataclass(frozen=True)
class Settings:
    """Ours."""

    sweeps: int = 20_000
    burn_in: int = 5_000
    chains: int = 4
    seed: int = 1978


SETTINGS = Settings()
QUICK = Settings(sweeps=60, burn_in=50)


def posterior(name: str) -> Any:
    """NIST's formula with flat boxes and an unknown noise."""
    from experiments.paths import data_file
    from sampler import Data, LogUniform, Model, Posterior, parse_formula

    if name == "Gauss2":
        noise = LogUniform(0.3, 50)
        model = Model.single(parse_formula("background", "b1*exp(-b2*x)"), b1=(0, 200),
                             b2=(0, 0.1)) + Model.repeated(
            2, parse_formula("nist_peak", "height*exp(-((x-center)/width)**2)",
                             ("height", "center", "width")),
            height=(0, 200), center=(0, 250), width=(2, 60))
    elif name == "Misra1a":
        noise = LogUniform(0.01, 10)
        model = Model.single(parse_formula("misra1a", "b1*(1-exp(-b2*x))"), b1=(0, 1000),
                             b2=(0, 0.005))
    elif name == "Chwirut2":
        noise = LogUniform(0.3, 50)
        model = Model.single(parse_formula("chwirut2", "exp(-b1*x)/(b2+b3*x)"), b1=(0, 1),
                             b2=(0, 0.05), b3=(0, 0.1))
    else:
        return straightened()
    return Posterior(model, Data.from_csv(data_file(f"nist_strd/{name}.dat"), noise))


@dataclass(frozen=True)
class Result:
    """Posterior means and standard deviations, b1, b2, ... in the order of the certificate."""

    settings: dict[str, Any]
    means: dict[str, Array]          # by problem, of the sampler
    errors: dict[str, Array]         # Monte Carlo errors of the means
    sds: dict[str, Array]
    points: dict[str, float]         # how many the problem has
    trusted: dict[str, bool]
    problems: dict[str, list[str]]
    mode: Array                      # Lanczos3: of the sampler's best draw, polished
    skew: Array                      # Lanczos3: third standardised moments of the posterior
    exact: Array                     # Lanczos3 by quadrature: rows mean, sd
    cloud: Array                     # Lanczos3: (draws, 2) slowest and middle rate


def straightened() -> Any:
    """Lanczos3 along its ridge.

    The amplitudes are to be integrated out, for which they need normal priors: these are as good as
    flat, and move the means by less than a hundredth of a standard deviation.
    """
    import sympy as sp

    from experiments.paths import data_file
    from sampler import Data, Formula, LogUniform, Model, Normal, Posterior

    data = Data.from_csv(data_file("nist_strd/Lanczos3.dat"), LogUniform(1.5e-5, 0.01))
    x, *distances = sp.symbols("x slowest second third", real=True)
    priors: dict[str, Any] = {"slowest": (0.1, 2), "second": (-1, 1),
                              "third": (-0.1, 0.1)}
    model = Model()
    for k, rate in enumerate(ridge().rates(*distances), start=1):
        amplitude = sp.Symbol(f"amplitude{k}", real=True)
        term = Formula(f"exponential{k}", amplitude * sp.exp(-rate * x))
        model += Model.single(term, **{n: priors.get(n, Normal(1, 2.5)) for n in term.parameters})
    return Posterior(model, data)


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Four runs, and Lanczos3 a second time without the sampler."""
    from sampler import diagnose, sample

    runs = {}
    for k, name in enumerate((*REGULAR, "Lanczos3")):
        runs[name] = sample(posterior(name), settings.sweeps, burn_in=settings.burn_in,
                            chains=settings.chains,
                            integrate_out=() if name in REGULAR else "amplitudes",
                            seed=settings.seed + k, progress=progress and (
                                lambda d, t, w, name=name: progress(d, t, f"{name}, {w}")))
    tables = {name: moments(run) for name, run in runs.items()}
    draws = ordered(runs["Lanczos3"]).reshape(-1, 6)
    z = (draws - draws.mean(axis=0)) / draws.std(axis=0)
    data = runs["Lanczos3"].posterior.blocks[0].data
    verdicts = {name: diagnose(run) for name, run in runs.items()}
    return Result(
        settings=asdict(settings), means={n: t[0] for n, t in tables.items()},
        errors={n: t[1] for n, t in tables.items()}, sds={n: t[2] for n, t in tables.items()},
        points={n: float(run.posterior.size) for n, run in runs.items()},
        trusted={n: v.trusted for n, v in verdicts.items()},
        problems={n: list(v.problems) for n, v in verdicts.items()},
        mode=polished(runs["Lanczos3"]), skew=(z**3).mean(axis=0),
        exact=by_quadrature(data.x, data.y), cloud=draws[:: max(1, len(draws) // 1500), [1, 3]])


def ordered(run: Any) -> Array:
    """Draws as the certificate orders them (chains, sweeps, b), the noise left out: Gauss2's peaks
    by their centre, Lanczos3's terms by their rate."""
    from experiments.decisions import in_order
    from sampler.labels import exchangeable

    names = run.posterior.names
    if "slowest" in names:
        column = {n: run.draws[..., k] for k, n in enumerate(names)}
        rates = ridge().rates(*(column[n] for n in ("slowest", "second", "third")))
        return np.stack([v for k in (1, 2, 3) for v in (column[f"amplitude{k}"], rates[k - 1])], -1)
    draws = (in_order(run, "center") if exchangeable(run.posterior) else
             run.draws.reshape(-1, len(names)))
    return np.asarray(draws[:, :-1].reshape(*run.draws.shape[:2], -1))


def moments(run: Any) -> tuple[Array, Array, Array]:
    """Means, their Monte Carlo errors, standard deviations."""
    from sampler.diagnostics import effective_sample_size

    theta = ordered(run)
    flat = theta.reshape(-1, theta.shape[-1])
    worth = np.array([effective_sample_size(theta[..., j]) for j in range(theta.shape[-1])])
    return flat.mean(axis=0), flat.std(axis=0) / worth**0.5, flat.std(axis=0)


def polished(run: Any) -> Array:
    """The mode next to the draw of largest posterior density.

    With flat priors the mode has the least squares, whatever the noise.
    """
    from scipy.optimize import least_squares

    posterior = run.posterior
    draws, theta = run.draws.reshape(-1, run.draws.shape[-1]), ordered(run).reshape(-1, 6)
    best = int(np.argmin(posterior.energy(draws) - posterior.log_prior(draws)))
    data, noise = posterior.blocks[0].data, draws[best, -1]

    def residuals(b: Array) -> Array:
        return np.asarray((three(b, data.x) - data.y) / noise)

    return np.asarray(least_squares(residuals, theta[best], x_scale=theta.std(axis=0), xtol=1e-15,
                                    ftol=1e-15, gtol=1e-15).x)


def three(b: Array, x: Array) -> Array:
    """Lanczos's sum of exponentials, amplitudes and rates in turn."""
    return np.asarray(sum(a * np.exp(-r * x) for a, r in zip(b[::2], b[1::2], strict=True)))


def given_rates(x: Array, y: Array, log_rates: Array) -> tuple[Array, Array, Array]:
    """Lanczos3 with amplitudes and noise integrated out.

    Given the rates r the model is linear.  With flat amplitudes and p(noise) ~ 1/noise the integral
    is det(X'X)**(-1/2) RSS(r)**(-(n - 3)/2), and the amplitudes are Student's t around the least-
    squares ones.

    Returns
    -------
    array (points,), arrays (points, 3)
        ln of the density in ln r, not normalised, for flat priors of r; means and variances of the
        amplitudes.
    """
    q, r = np.linalg.qr(np.exp(-np.exp(log_rates)[:, None, :] * x[:, None]))
    inverse, found = np.linalg.inv(r), np.einsum("pnk,n->pk", q, y)
    rss = ((y - np.einsum("pnk,pk->pn", q, found)) ** 2).sum(axis=1)
    log_p = (log_rates.sum(axis=1) - np.log(abs(np.einsum("pkk->pk", r))).sum(axis=1)
             - 0.5 * (len(x) - 3) * np.log(rss))
    return (log_p, np.einsum("pij,pj->pi", inverse, found),
            (inverse**2).sum(axis=2) * rss[:, None] / (len(x) - 5))


def slices(x: Array, y: Array, nodes: int = 41, inner: int = 25) -> list[tuple[Array, ...]]:
    """Lanczos3's ridge, slice by slice along the logarithm of the slowest rate; see `_across`.

    It is bent, but nearly straight across: at every slowest rate the other two have a mode of their
    own, and a grid of +-8 standard deviations around it.
    """
    amplitudes, rates = CERTIFIED["Lanczos3"][::2, 0], CERTIFIED["Lanczos3"][1::2, 0]
    decays = np.exp(-rates * x[:, None])
    slopes = np.concatenate([decays, -amplitudes * rates * x[:, None] * decays], axis=1)
    r = np.linalg.qr(slopes).R
    residual = y - three(CERTIFIED["Lanczos3"][:, 0], x)
    width = np.linalg.inv(r.T @ r)[3:, 3:] * (residual @ residual) / (len(x) - 6)
    narrow = np.linalg.cholesky(width[1:, 1:] - np.outer(width[1:, 0], width[0, 1:]) / width[0, 0])

    slowest = along(nodes)
    middle = int(np.argmin(abs(slowest - np.log(rates[0]))))
    found: dict[int, tuple[Array, ...]] = {}
    for k in (*range(middle, nodes), *range(middle - 1, -1, -1)):
        step = 1 if k > middle else -1     # from the middle outwards, each from its neighbours
        near, far = found.get(k - step), found.get(k - 2 * step)
        guess = np.log(rates[1:]) if near is None else (
            near[0] if far is None else 2 * near[0] - far[0])
        found[k] = _across(x, y, slowest[k], guess, narrow, inner)
    return [found[k] for k in range(nodes)]


def along(nodes: int) -> Array:
    """Logarithms of the slowest rate."""
    return np.asarray(np.linspace(np.log(SLOWEST[0]), np.log(SLOWEST[1]), nodes))


def by_quadrature(x: Array, y: Array, nodes: int = 41, inner: int = 25) -> Array:
    """Means and standard deviations of Lanczos3 without a random number.

    Returns
    -------
    array (2, 6)
        Rows mean, standard deviation; amplitudes and rates in turn.
    """
    parts = slices(x, y, nodes, inner)
    log_p, value, variance = (np.concatenate([part[i] for part in parts]) for i in (1, 2, 3))
    weight = np.exp(log_p - log_p.max())
    weight /= weight.sum()
    ends = weight.reshape(nodes, -1).sum(axis=1)[[0, -1]]
    if not ends.max() < 1e-6:
        raise ArithmeticError(f"slowest rate: {ends} of the mass at the ends of {SLOWEST}")
    mean = weight @ value
    return np.stack([mean, np.sqrt(weight @ ((value - mean) ** 2 + variance))])


@dataclass(frozen=True)
class Ridge:
    """Lanczos3's middle and fastest rate as polynomials of the slowest one, from its certified
    value, and how the fastest follows the middle one."""

    middle: tuple[float, ...]
    fastest: tuple[float, ...]
    slope: float

    def rates(self, slowest: Any, second: Any, third: Any) -> tuple[Any, Any, Any]:
        """The three rates from the slowest one and two distances from the ridge: a shear, which
        leaves volumes alone, so that flat priors stay flat."""
        d = slowest - float(CERTIFIED["Lanczos3"][1, 0])
        middle, fastest = (sum(c * d**k for k, c in enumerate(line))
                           for line in (self.middle, self.fastest))
        return slowest, middle + second, fastest + self.slope * second + third


@cache
def ridge() -> Ridge:
    """Polynomials of fourth degree through the modes of the slices near the middle."""
    from numpy.polynomial.polynomial import polyfit

    from experiments.paths import data_file
    from sampler import Data

    data = Data.from_csv(data_file("nist_strd/Lanczos3.dat"), 1.0)
    slowest, parts = np.exp(along(41)), slices(data.x, data.y, 41, 3)
    near = (slowest > 0.6) & (slowest < 1.35)
    modes = np.exp([part[0] for part in parts])[near]
    d = slowest[near] - CERTIFIED["Lanczos3"][1, 0]
    center = parts[int(np.argmin(abs(slowest - CERTIFIED["Lanczos3"][1, 0])))][2]
    corner = center.reshape(3, 3, 6)[2, 1] - center.reshape(3, 3, 6)[0, 1]
    middle, fastest = (tuple(float(c) for c in polyfit(d, column, 4)) for column in modes.T)
    return Ridge(middle, fastest, float(corner[5] / corner[3]))


def _across(x: Array, y: Array, slowest: float, guess: Array, narrow: Array, inner: int
            ) -> tuple[Array, ...]:
    """At one slowest rate: mode of the other two (ln r), and over a grid around it ln density with
    the cell's size, amplitudes and rates in turn, and their variances given the rates."""
    from scipy.optimize import minimize

    def at(pairs: Array) -> Array:
        return np.column_stack([np.full(len(pairs), slowest), pairs])

    def fall(pairs: Array) -> Array:
        return -given_rates(x, y, at(pairs))[0]

    mode = guess + narrow @ minimize(
        lambda z: float(fall((guess + narrow @ z)[None])[0]), np.zeros(2), method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-8, "maxiter": 2000}).x
    unit = 0.1 * narrow.T
    corners = np.array([[mode + a * i + b * j for a, b in ((1, 1), (-1, -1), (1, -1), (-1, 1))]
                        for i in unit for j in unit])
    curvature = fall(corners.reshape(-1, 2)).reshape(2, 2, 4) @ [1, 1, -1, -1] / (4 * 0.1**2)
    root = narrow @ np.linalg.cholesky(np.linalg.inv(curvature))
    axis = np.linspace(-8.0, 8.0, inner)
    square = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    points = at(mode + square @ root.T)
    log_p, amplitudes, variances = given_rates(x, y, points)
    value = np.stack([amplitudes, np.exp(points)], axis=-1).reshape(-1, 6)
    variance = np.stack([variances, np.zeros_like(variances)], axis=-1).reshape(-1, 6)
    return mode, log_p + np.log(abs(np.linalg.det(root))), value, variance


def worst(distance: Array) -> int:
    """Index of the entry largest in size."""
    return int(np.argmax(abs(distance)))


def biases(result: Result, name: str) -> tuple[Array, Array, Array]:
    """Distance of the means from the certificate and its error, in certified sd; sd / theirs."""
    value, sd = CERTIFIED[name].T
    return ((result.means[name] - value) / sd, result.errors[name] / sd, result.sds[name] / sd)


def student(points: float, parameters: int) -> float:
    """How much wider a posterior with unknown noise is than the certificate, were the model linear.

    Examples
    --------
    >>> round(student(14, 2), 4)
    1.0954
    """
    free = points - parameters
    return float((free / (free - 2)) ** 0.5)


def check(result: Result) -> Claims:
    """Against the certificates, and Lanczos3 by two roads."""
    claims = []
    for name in REGULAR:
        bias, error, ratio = biases(result, name)
        k, j = worst(bias), worst(ratio - 1.0)
        claims += [
            Claim(f"{name}: posterior mean, worst (b{k + 1})", "0 (certified)", float(bias[k]),
                  float(error[k]), bool(abs(bias[k]) < 0.3), "certified sd, within 0.3"),
            Claim(f"{name}: posterior sd / certified sd, worst (b{j + 1})", "1 (certified)",
                  float(ratio[j]), 0.0, bool(abs(ratio[j] - 1.0) < 0.15),
                  f"within 15 %; {student(result.points[name], len(ratio)):.3f} were the model "
                  "linear")]
    value, sd = CERTIFIED["Lanczos3"].T
    mode = (result.mode - value) / sd
    off = (result.means["Lanczos3"] - MEANS) / sd
    bias, error, ratio = biases(result, "Lanczos3")
    k, j, m, s = worst(mode), worst(off), worst(bias), worst(result.skew)
    claims += [
        Claim(f"Lanczos3: mode, worst (b{k + 1})", "0 (certified)", float(mode[k]), 0.0,
              bool(abs(mode[k]) < PRECISE), f"certified sd, within {PRECISE:g}"),
        Claim(f"Lanczos3: means against those given before, worst (b{j + 1})", "-",
              float(off[j]), float(error[j]), bool(abs(off[j]) < PRECISE),
              f"certified sd, within {PRECISE:g}"),
        farthest("Lanczos3: means against quadrature", result.means["Lanczos3"], result.exact[0],
                 result.errors["Lanczos3"], [f"b{i + 1}" for i in range(6)]),
        Claim(f"Lanczos3: means against the certificate, worst (b{m + 1})", "0 (certified)",
              float(bias[m]), float(error[m]), None, "certified sd; listed: the mean is elsewhere"),
        Claim("Lanczos3: posterior sd / certified sd", "1 (certified)",
              f"{ratio.min():.2f} to {ratio.max():.2f}", 0.0, None,
              f"listed; {student(result.points['Lanczos3'], 6):.3f} were the model linear"),
        Claim(f"Lanczos3: skewness, largest (b{s + 1})", "-", float(result.skew[s]), 0.0, None,
              "listed; 0 for a normal law")]
    doubted = [name for name, good in result.trusted.items() if not good]
    claims.append(Claim("runs that are not trusted", "-", ", ".join(doubted) or "none", 0.0,
                        not doubted, "none"))
    return Claims(claims)


@styled
def draw(result: Result) -> dict[str, Any]:
    """Means and standard deviations against the certificates; the skew of Lanczos3."""
    from experiments.figures import BLACK, BLUE, GREEN, ORANGE, RED, SKY, label_panels, panels

    figure, axes = panels(2, 2, 7.6, 5.8)
    regular, ratios, roads, ridge = axes.flat
    place, ticks = 0.0, []
    for name, color, mark in zip(REGULAR, (BLUE, ORANGE, GREEN), "os^", strict=True):
        bias, error, ratio = biases(result, name)
        at = place + np.arange(len(bias))
        regular.errorbar(at, bias, 1.96 * error, fmt=mark, color=color, ms=4, label=name)
        ratios.plot(at, ratio, mark, color=color, ms=4, label=name)
        ratios.hlines(student(result.points[name], len(bias)), at[0] - 0.4, at[-1] + 0.4,
                      color=color, lw=1.0, ls="--")
        ticks += list(zip(at, (f"b{k + 1}" for k in range(len(bias))), strict=True))
        place = at[-1] + 2.0
    for ax, middle, reach in ((regular, 0.0, 0.3), (ratios, 1.0, 0.15)):
        ax.axhspan(middle - reach, middle + reach, color="0.93", lw=0, zorder=0)
        ax.axhline(middle, color=RED, lw=1.0, ls="--", label="certified")
        ax.set_xticks([t for t, _ in ticks])
        ax.set_xticklabels([w for _, w in ticks], fontsize=7)
        ax.set_xlabel("parameter")
        ax.set_ylim(middle - 1.25 * reach, middle + 2.0 * reach)
        ax.legend(loc="upper left", ncols=2, fontsize=7.5)
    regular.set(ylabel="(mean - certified) / certified sd", title="Means (grey: asked for)")
    ratios.set(ylabel="posterior sd / certified sd", title="Widths (dashed: Student's t)")
    value, sd = CERTIFIED["Lanczos3"].T
    at = np.arange(6.0)
    roads.errorbar(at, (result.means["Lanczos3"] - value) / sd,
                   1.96 * result.errors["Lanczos3"] / sd, fmt="o", color=BLUE, ms=4,
                   label="mean, sampler")
    roads.plot(at, (result.exact[0] - value) / sd, "s", color=ORANGE, ms=8, mfc="none",
               label="mean, quadrature")
    roads.plot(at, (result.mode - value) / sd, "x", color=BLACK, ms=6, label="mode")
    roads.axhline(0.0, color=RED, lw=1.0, ls="--", label="certified")
    roads.axhspan(-0.3, 0.3, color="0.93", lw=0, zorder=0)
    roads.set(xticks=at, xlabel="parameter", ylabel="(found - certified) / certified sd",
              ylim=(-0.6, 1.0), title="Lanczos3: mean and mode (95 %)")
    roads.set_xticklabels([f"b{k + 1}" for k in range(6)])
    roads.legend(loc="upper left", ncols=2, fontsize=7.5)
    ridge.plot(*result.cloud.T, ".", color=SKY, ms=2.0, alpha=0.6, label="draws")
    ridge.plot(value[1], value[3], "x", color=RED, ms=8, mew=2, label="certified")
    ridge.plot(result.means["Lanczos3"][1], result.means["Lanczos3"][3], "+", color=BLACK, ms=9,
               mew=2, label="posterior mean")
    ridge.set(xlabel="slowest rate b2 (1/unit of x)", ylabel="middle rate b4 (1/unit of x)",
              title="Lanczos3: a bent ridge")
    ridge.legend(loc="lower right", fontsize=7.5)
    label_panels(axes)
    return {"certified_fits": figure}
