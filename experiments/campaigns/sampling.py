"""B: do the draws follow the posterior?  Calibration on simulated data, modes, walls, cusps.

Simulation-based calibration (Talts et al. 2018): a truth from the prior, data from the truth,
draws from the posterior of these data; then the rank of the truth among the draws is uniform, for
every quantity.  The log-likelihood is one of them (Modrak et al. 2023): ranks of parameters alone
are uniform too for a sampler that ignores the data.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.campaigns import Campaign, Finding, Numbers, Records, at_least, inside, seed_of

Array = NDArray[np.float64]
DRAWS, BINS = 255, 16


# ---- B1: calibration on simulated data -----------------------------------------------------------


@cache
def calibrated(name: str) -> tuple[Any, Any, dict[str, Any], int]:
    """Model, x, keywords of the data, and sweeps between the draws that are kept."""
    import sampler as s

    x = np.linspace(0.0, 3.0, 20)
    match name:
        case "line":
            return s.Model.single(s.shapes.linear, offset=s.Normal(0, 1), slope=(-2, 2)), x, {
                "noise": 0.5}, 6
        case "noisy line":
            return s.Model.single(s.shapes.linear, offset=s.Normal(0, 1), slope=(-2, 2)), x, {
                "noise": s.LogUniform(0.1, 2.0)}, 12
        case "peak":
            return s.Model.repeated(1, s.shapes.gaussian, height=s.Gamma(2, 1), center=(0, 3),
                                    width=s.LogUniform(0.2, 2.0)), x, {"noise": 0.3}, 40
        case "counts":
            return (s.Model.single(s.shapes.constant, offset=s.Gamma(2, 1))
                    + s.Model.single(s.shapes.exponential, amplitude=s.Gamma(2, 0.2),
                                     rate=s.InverseGamma(3, 2))), x, {"noise": "poisson"}, 40
        case _:
            return s.Model.repeated(2, s.shapes.gaussian, height=s.Normal(1, 1, lo=0),
                                    center=s.Ordered(s.Uniform(0, 3)), width=0.6), x, {
                "noise": 0.3}, 40


def simulated(name: str, seed: int) -> tuple[Any, Array]:
    """Posterior of simulated data, and the truth they came from, array (parameters,)."""
    from sampler import Data, Posterior

    model, x, law, _ = calibrated(name)
    blank = Posterior(model, Data(x, np.zeros(len(x)), **law))
    truth = blank.draw_prior(1, seed=seed_of(f"truth of {name}", seed))[0]
    generator, curve = np.random.default_rng(seed_of(f"data of {name}", seed)), blank.predict(truth)
    if law["noise"] == "poisson":
        y = generator.poisson(curve).astype(float)
    else:
        noise = law["noise"] if isinstance(law["noise"], float) else truth[
            blank.names.index(blank.blocks[0].data.noise_name)]
        y = curve + noise * generator.normal(size=len(x))
    return Posterior(model, Data(x, y, **law)), truth


def ranked_run(name: str, seed: int) -> Numbers:
    """Ranks of the truth among 255 thinned draws, for all quantities, and their effective size."""
    from sampler import sample
    from sampler.diagnostics import effective_sample_size

    posterior, truth = simulated(name, seed)
    every = calibrated(name)[3]
    run = sample(posterior, 64 * every, burn_in=600, seed=seed_of(name, seed), threads=1)
    kept = run.draws[:, every - 1::every]                      # (4 chains, 64, parameters)

    def quantities(theta: Array) -> Array:
        curve = posterior.predict(theta)[..., 10]              # one prediction, in the middle
        return np.concatenate([theta, -posterior.energy(theta)[..., None], curve[..., None]], -1)

    found, true = quantities(kept), quantities(truth)
    size = [effective_sample_size(found[..., q]) for q in range(len(true))]
    table = found.reshape(-1, len(true))[:DRAWS]
    return {"ranks": [int(v) for v in (table < true).sum(axis=0)],
            "ess": [round(float(v) / (kept.shape[0] * kept.shape[1]), 3) for v in size],
            "names": [*posterior.names, "log-likelihood", "prediction"]}


def uniform_p(ranks: Any) -> float:
    """Chi-square p of ranks 0 ... 255 in 16 bins.

    Examples
    --------
    >>> uniform_p(np.arange(1024) % 256), uniform_p(np.arange(1024) % 128) < 1e-9
    (1.0, True)
    """
    from scipy.special import gammaincc

    counts = np.bincount(np.asarray(ranks) * BINS // (DRAWS + 1), minlength=BINS)
    expected = len(ranks) / BINS
    return float(gammaincc(0.5 * (BINS - 1), 0.5 * np.sum((counts - expected) ** 2) / expected))


@cache
def _two_sided(runs: int) -> Array:
    """Two-sided binomial tail of every count (ranks, runs + 1) of the cumulative histogram."""
    from scipy.special import bdtr, bdtrc

    k, p = np.arange(runs + 1), (np.arange(1, DRAWS + 1) / (DRAWS + 1))[:, None]
    below, above = bdtr(k, runs, p), np.where(k > 0, bdtrc(np.maximum(k - 1, 0), runs, p), 1.0)
    return np.asarray(np.minimum(1.0, 2.0 * np.minimum(below, above)))


def narrowest(ranks: Any) -> float:
    """Smallest pointwise p of the empirical distribution function of the ranks."""
    counts = np.cumsum(np.bincount(np.asarray(ranks), minlength=DRAWS + 1))[:-1]
    return float(_two_sided(len(ranks))[np.arange(DRAWS), counts].min())


def band(runs: int, level: float) -> float:
    """The value of `narrowest` that uniform ranks fall below with that probability (Säilynoja,
    Bürkner, Vehtari 2022), from 40,000 simulated sets."""
    return float(_uniform_lows(runs)[max(0, int(level * 40_000) - 1)])


@cache
def _uniform_lows(runs: int) -> Array:
    generator, lows = np.random.default_rng(0), []
    for _ in range(40):
        counts = np.cumsum(generator.multinomial(runs, np.full(DRAWS + 1, 1 / (DRAWS + 1)), 1000),
                           axis=1)[:, :-1]
        lows.append(_two_sided(runs)[np.arange(DRAWS), counts].min(axis=1))
    return np.sort(np.concatenate(lows))


def judge_ranks(records: Records) -> list[Finding]:
    """B1: every quantity of every model uniform, in bins and as a distribution function."""
    out = []
    for name, rows in records.items():
        names, ranks = rows[0]["names"], np.array([r["ranks"] for r in rows])
        level = 1e-3 / len(names)
        p = [uniform_p(ranks[:, q]) for q in range(len(names))]
        low = [narrowest(ranks[:, q]) for q in range(len(names))]
        limit = band(len(rows), level)
        worst, edge = int(np.argmin(p)), int(np.argmin(low))
        share = np.array([r["ess"] for r in rows]).mean(axis=0)
        least = int(np.argmin(share))
        out += [
            at_least(f"{name}: chi-square p of {len(names)} quantities; lowest: {names[worst]}",
                     p[worst], level, "1e-3"),
            at_least(f"{name}: distance of the ranks' distribution function from the band; "
                     f"nearest: {names[edge]} (pointwise p over its limit)", low[edge] / limit,
                     1.0, "1e-3"),
            at_least(f"{name}: effective share of the thinned draws; lowest: {names[least]}",
                     float(share[least]), 0.9, "0")]
    return out


# ---- B6: weights of modes ------------------------------------------------------------------------


@cache
def two_modes() -> Any:
    """0.3 N(4 1, 1) + 0.7 N(-4 1, 1) in ten dimensions, in the box [-10, 10]^10."""
    import sympy as sp

    from sampler import Data, Formula, Model, Posterior

    t = sp.symbols("t1:11", real=True)
    left, right = (sp.log(sp.Float(w)) - sum((v - c) ** 2 for v in t) / 2 - 5 * sp.log(2 * sp.pi)
                   for w, c in ((0.7, -4), (0.3, 4)))
    log_density = (left + right) / 2 + sp.Abs(left - right) / 2 + sp.log(
        1 + sp.exp(-sp.Abs(left - right)))
    formula = Formula("mixture", -log_density, tuple(map(str, t)))
    boxes: dict[str, Any] = {str(v): (-10.0, 10.0) for v in t}
    counts = Data(np.zeros(1), np.zeros(1), noise="poisson")
    return Posterior(Model.single(formula, **boxes), counts)


def weighted_run(name: str, seed: int) -> Numbers:
    """Share of each mode, with its error, in the default run."""
    from sampler import diagnose, sample
    from sampler.series import series_errors

    if name == "two modes in 10 dimensions":
        posterior = two_modes()
        run = sample(posterior, seed=seed_of(name, seed), threads=1, max_sweeps=40_000)
        inside_mode = [(0.3, run.draws.sum(axis=-1) > 0.0)]
    else:
        from experiments.campaigns.evidence import problem
        from theory.cases import named

        run = sample(problem("eggbox")[0], seed=seed_of(name, seed), threads=1)
        inside_mode = [(m.weight, m.contains(run.draws)) for m in named("eggbox").modes]
    shares = []
    for weight, here in inside_mode:
        within, between, freedom = series_errors(here.astype(float))
        shares.append([weight, float(here.mean()), max(within, between), freedom])
    return {"shares": shares, "trusted": diagnose(run).trusted}


def judge_weights(records: Records) -> list[Finding]:
    """B6: weights right within their errors, no mode ever missed."""
    from experiments.campaigns import chi_square, nothing
    from sampler.evidence import normal_score

    out = []
    for name, rows in records.items():
        table = np.array([r["shares"] for r in rows])           # (seeds, modes, 4)
        missed = [f"seed {k + 1}" for k, row in enumerate(table)
                  if (row[:, 1] <= 0).any() or (row[:, 1] >= 1).any()]
        usable = table[..., 2] > 0
        z = normal_score((table[..., 1] - table[..., 0])[usable] / table[..., 2][usable],
                         int(table[0, 0, 3]))
        out.append(nothing(f"{name}: runs that missed a mode", missed, "0"))
        if table.shape[1] == 1:
            out += [chi_square(f"{name}: weight against its error", z),
                    inside(f"{name}: mean weight, exact {table[0, 0, 0]}",
                           float(table[:, 0, 1].mean()), *_around(table[:, 0]), "1e-4",
                           float(table[:, 0, 1].std(ddof=1) / math.sqrt(len(table))))]
        else:
            mean = (table[..., 1] - table[..., 0]).mean(axis=0)
            error = table[..., 1].std(axis=0, ddof=1) / math.sqrt(len(table))
            far = int(np.argmax(np.abs(mean / error)))
            out += [inside(f"{name}: mean weight of {len(mean)} modes off, in errors of the "
                           "scatter; farthest", float(mean[far] / error[far]), -4.5, 4.5, "1e-3"),
                    inside(f"{name}: rms of z of all weights", float(np.sqrt(np.mean(z**2))),
                           0.0, 1.25, "1e-3")]
    return out


def _around(table: Array) -> tuple[float, float]:
    error = float(table[:, 1].std(ddof=1) / math.sqrt(len(table)))
    return float(table[0, 0]) - 4 * error, float(table[0, 0]) + 4 * error


# ---- B7: walls -----------------------------------------------------------------------------------


def walled_run(name: str, seed: int) -> Numbers:
    """Draws thinned to independence in the exact distribution function of each marginal."""
    from experiments.campaigns.evidence import problem
    from sampler import sample

    run = sample(problem(name)[0], 8000, seed=seed_of(name, seed), threads=1)
    kept = run.draws[:, 39::40].reshape(-1, run.draws.shape[2])
    if name == "wall":
        k = np.array([1.0, 3.0, 10.0, 30.0, 100.0])
        law = np.expm1(-k * kept) / np.expm1(-k)
        outside = int(np.count_nonzero((run.draws < 0.0) | (run.draws > 1.0)))
    else:
        law = _line_wall_law(kept)
        outside = int(np.count_nonzero(np.abs(run.draws) > 1.0))
    return {"law": [[round(float(v), 6) for v in column] for column in law.T], "outside": outside}


@cache
def _line_wall_grid() -> tuple[Array, Array]:
    """Exact marginal distribution functions of both parameters on a grid, (2, points)."""
    from theory.cases import named
    from theory.cases.grids import panels

    case = named("line_wall")
    edges = np.linspace(-1.0, 1.0, 401)
    nodes, weights = panels(edges, 4)
    theta = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1)
    log_p = case.log_likelihood(theta)
    p = np.exp(log_p - log_p.max()) * weights[:, None] * weights
    cells = [(p.sum(axis=1 - axis)).reshape(-1, 4).sum(axis=1) for axis in (0, 1)]
    laws = [np.concatenate([[0.0], np.cumsum(c) / c.sum()]) for c in cells]
    return edges, np.array(laws)


def _line_wall_law(theta: Array) -> Array:
    from experiments.campaigns.evidence import problem
    from theory.cases import named

    order = [problem("line_wall")[0].names.index(n) for n in named("line_wall").names]
    edges, laws = _line_wall_grid()
    return np.stack([np.interp(theta[:, order[i]], edges, laws[i]) for i in (0, 1)], axis=1)


def judge_walls(records: Records) -> list[Finding]:
    """B7: nothing outside, no heap at the edge, the exact law."""
    from experiments.claims import kolmogorov

    out = []
    for name, rows in records.items():
        laws = [np.concatenate([r["law"][i] for r in rows]) for i in range(len(rows[0]["law"]))]
        p = [kolmogorov(law) for law in laws]
        out += [inside(f"{name}: draws outside the box", sum(r["outside"] for r in rows), 0, 0,
                       "0"),
                at_least(f"{name}: lowest Kolmogorov p of {len(p)} exact marginals, "
                         f"{len(laws[0])} draws", min(p), 1e-3, f"{len(p) * 1e-3:.0e}")]
    return out


def campaigns() -> tuple[Campaign, ...]:
    """B1, B6 and B7."""
    return (
        Campaign("B1", "is the truth's rank uniform among the draws?",
                 ("line", "noisy line", "peak", "counts", "two peaks"), range(1, 1001),
                 ranked_run, judge_ranks, 0.35),
        Campaign("B6", "do modes get their weights?", ("two modes in 10 dimensions", "eggbox"),
                 range(1, 51), weighted_run, judge_weights, 3.0),
        Campaign("B7", "is the posterior right where a wall cuts it?", ("wall", "line_wall"),
                 range(1, 11), walled_run, judge_walls, 1.0))
