"""Certified least-squares fits, by sampling: where posterior means are the certificate, and where
they cannot be.

Figures: posterior means and standard deviations against the certified ones for Gauss2, Misra1a and
Chwirut2; and Lanczos3, three exponentials whose posterior is so skew that its mean lies a third of a
standard deviation from the certified values, which are its mode.

NIST's (StRD, nonlinear regression): the data, the formulas, the certified least-squares values and
standard deviations.  Gauss2: two slightly blended peaks on a decaying background, generated.
Misra1a: adsorption; Chwirut2: ultrasonic calibration; both observed.  Lanczos3: three exponentials
written down to five digits.

Ours: flat boxes as priors, wide enough that no wall is felt, and a log-uniform noise; sweeps and
seeds; for Lanczos3 a second road, in which amplitudes and noise are integrated in closed form and
the three rates are drawn by importance.

What may be claimed: with flat priors and unknown noise the means of the first three problems lie
within 0.3 certified standard deviations of the certificate, and the standard deviations within
15 %: a posterior of n points is Student's t, wider than the certificate by sqrt((n - p)/(n - p -
2)), and Misra1a has 14 points.  For Lanczos3 it is the mode that is certified; its means are given,
by both roads, and not the certificate.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims import Claim, Claims, farthest
from experiments.figures import styled

Array = NDArray[np.float64]
SECONDS = 60.0
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


@dataclass(frozen=True)
class Settings:
    """Ours."""

    sweeps: int = 20_000
    burn_in: int = 5_000
    chains: int = 4
    long_sweeps: int = 40_000     # Lanczos3
    long_burn_in: int = 20_000
    proposals: int = 400_000      # of the second road
    seed: int = 1978


SETTINGS = Settings()
QUICK = Settings(sweeps=300, burn_in=200, long_sweeps=300, long_burn_in=200, proposals=2000)


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
        noise = LogUniform(1e-6, 1.0)
        model = Model.repeated(3, parse_formula("exponential", "amplitude*exp(-rate*x)"),
                               amplitude=(0, 3), rate=(0, 10))
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
    second: Array                    # Lanczos3, second road: rows mean, its error, sd
    effective: float                 # draws that the second road is worth
    cloud: Array                     # Lanczos3: (draws, 2) slowest and middle rate
    slowest: Array                   # Lanczos3: histogram of the slowest rate, density
    slowest_edges: Array


def compute(settings: Settings = SETTINGS, progress: Any = None) -> Result:
    """Four runs, and Lanczos3 a second time without the sampler."""
    from sampler import diagnose, sample

    runs = {}
    for k, name in enumerate((*REGULAR, "Lanczos3")):
        sweeps, burn_in = ((settings.sweeps, settings.burn_in) if name in REGULAR else
                           (settings.long_sweeps, settings.long_burn_in))
        runs[name] = sample(posterior(name), sweeps, burn_in=burn_in, chains=settings.chains,
                            seed=settings.seed + k, progress=progress and (
                                lambda d, t, w, name=name: progress(d, t, f"{name}, {w}")))
    tables = {name: moments(run) for name, run in runs.items()}
    draws = ordered(runs["Lanczos3"]).reshape(-1, 6)
    z = (draws - draws.mean(axis=0)) / draws.std(axis=0)
    density, edges = np.histogram(draws[:, 1], 60, density=True)
    data = runs["Lanczos3"].posterior.blocks[0].data
    second, effective = by_importance(data.x, data.y, settings.proposals, settings.seed)
    verdicts = {name: diagnose(run) for name, run in runs.items()}
    return Result(
        settings=asdict(settings), means={n: t[0] for n, t in tables.items()},
        errors={n: t[1] for n, t in tables.items()}, sds={n: t[2] for n, t in tables.items()},
        points={n: float(run.posterior.size) for n, run in runs.items()},
        trusted={n: v.trusted for n, v in verdicts.items()},
        problems={n: list(v.problems) for n, v in verdicts.items()},
        mode=polished(runs["Lanczos3"]), skew=(z**3).mean(axis=0), second=second,
        effective=effective, cloud=draws[:: max(1, len(draws) // 1500), [1, 3]], slowest=density,
        slowest_edges=edges)


def ordered(run: Any) -> Array:
    """Draws as the certificate orders them (chains, sweeps, b): components by centre or rate, the
    noise left out."""
    from experiments.decisions import in_order
    from sampler.labels import exchangeable

    groups = exchangeable(run.posterior)
    draws = in_order(run, groups[0].key) if groups else run.draws.reshape(-1, run.draws.shape[-1])
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


def by_importance(x: Array, y: Array, proposals: int, seed: int) -> tuple[Array, float]:
    """Means, their errors and standard deviations of Lanczos3 without a Markov chain.

    Given the rates r the model is linear.  With flat amplitudes and p(noise) ~ 1/noise their
    integral is det(X'X)**(-1/2) RSS(r)**(-(n - 3)/2), and the amplitudes given r are Student's t
    around the least-squares ones.  The rates are drawn from a t of 5 degrees of freedom in
    ln r, around the mode.

    Returns
    -------
    array (3, 6), float
        Rows mean, its error, standard deviation; and the effective number of draws.
    """
    from scipy.optimize import minimize

    n = len(x)

    def linear(log_rates: Array) -> tuple[Array, Array, Array]:
        """ln density in ln r; least-squares amplitudes; their variances."""
        rates = np.exp(log_rates)
        q, r = np.linalg.qr(np.exp(-rates[:, None, :] * x[:, None]))
        inverse = np.linalg.inv(r)
        found = np.einsum("pnk,n->pk", q, y)
        rss = ((y - np.einsum("pnk,pk->pn", q, found)) ** 2).sum(axis=1)
        log_p = (log_rates.sum(axis=1) - np.log(abs(np.einsum("pkk->pk", r))).sum(axis=1)
                 - 0.5 * (n - 3) * np.log(rss))
        return (log_p, np.einsum("pij,pj->pi", inverse, found),
                (inverse**2).sum(axis=2) * rss[:, None] / (n - 5))

    start = np.log(CERTIFIED["Lanczos3"][1::2, 0])
    scale = CERTIFIED["Lanczos3"][1::2, 1] / CERTIFIED["Lanczos3"][1::2, 0]
    mode = start + scale * minimize(lambda z: -linear((start + scale * z)[None])[0][0],
                                    np.zeros(3), method="Nelder-Mead",
                                    options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000}).x
    step = np.diag(0.02 * scale)
    curvature = -np.array([[(linear((mode + i + j)[None])[0] + linear((mode - i - j)[None])[0]
                             - linear((mode + i - j)[None])[0] - linear((mode - i + j)[None])[0])[0]
                            / (4 * i.sum() * j.sum()) for i in step] for j in step])
    root = 1.2 * np.linalg.cholesky(np.linalg.inv(curvature))
    generator = np.random.default_rng(seed)
    normal = generator.standard_normal((proposals, 3))
    z = normal / np.sqrt(generator.chisquare(5.0, proposals) / 5.0)[:, None]
    log_rates = mode + z @ root.T
    parts = [linear(part) for part in np.array_split(log_rates, max(1, proposals // 20_000))]
    log_p, amplitudes, variances = (np.concatenate([part[k] for part in parts]) for k in range(3))
    log_w = log_p + 0.5 * (5 + 3) * np.log1p((z**2).sum(axis=1) / 5.0)
    inside = np.all(np.diff(log_rates, axis=1) > 0, axis=1) & np.all(amplitudes > 0, axis=1)
    w = np.where(inside, np.exp(log_w - log_w[inside].max()), 0.0)
    w /= w.sum()
    value = np.stack([amplitudes, np.exp(log_rates)], axis=-1).reshape(-1, 6)
    spread = np.stack([variances, np.zeros_like(variances)], axis=-1).reshape(-1, 6)
    mean = w @ value
    error = np.sqrt((w**2) @ (value - mean) ** 2)
    sd = np.sqrt(w @ ((value - mean) ** 2 + spread))
    return np.stack([mean, error, sd]), float(1.0 / (w**2).sum())
