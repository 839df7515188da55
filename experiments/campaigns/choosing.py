"""A6 and B8: are probabilities of models right, and F where no posterior is normal?

Three choices whose exact answer is open: the degree of a polynomial, a second peak of known place
(closed forms), and a second peak of unknown place that is not there (quadrature).  Then F over
four decades of points where a posterior never becomes normal: y = a b x, and two peaks fitted to
one.  Data are synthetic and dimensionless, the same for every seed of the sampler.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.campaigns import (
    Campaign,
    Finding,
    Numbers,
    Records,
    at_least,
    inside,
    seed_of,
)

Array = NDArray[np.float64]
UNTIL = 0.02           # nats, both campaigns
CLOSE = 0.02           # largest distance of a probability from the exact one
CHOICES: dict[str, tuple[int, ...]] = {
    "degree": (0, 1, 2, 3, 4, 5, 6), "second peak in place": (1, 2), "second peak anywhere": (1, 2)}
WIDTH, BOX = 0.4, 5.0  # standard deviation of every peak; centres lie between 0 and BOX
PLACES = (2.0, 2.6)    # of the peaks in place
POINTS = (10, 100, 1_000, 10_000)
SINGULAR = ("product", "two peaks for one")
SEPARATE = 0.05        # nats: what a difference of F between two decades may be off


# ---- data, and exact F ---------------------------------------------------------------------------


def shape(x: Array, centre: Any) -> Any:
    """A peak of height 1 at each centre (...), arrays (..., points)."""
    return np.exp(-0.5 * ((x - np.asarray(centre)[..., None]) / WIDTH) ** 2)


@cache
def spectrum(name: str) -> tuple[Array, Array, float]:
    """x, y and the noise: of a choice, or of a singular model and its number of points."""
    draw = np.random.default_rng
    if name == "degree":
        x = np.linspace(0.0, 2.0, 24)
        return x, np.cos(2.0 * x) + 0.5 * draw(2).normal(size=24), 0.5
    if name == "second peak in place":
        x = np.linspace(0.0, BOX, 40)
        y = shape(x, PLACES[0]) + 0.2 * shape(x, PLACES[1]) + 0.2 * draw(2).normal(size=40)
        return x, y, 0.2
    if name == "second peak anywhere":
        x = np.linspace(0.0, BOX, 40)
        return x, shape(x, 2.2) + 0.3 * draw(1).normal(size=40), 0.3
    kind, _, points = name.rpartition(" ")
    n = int(points)
    if kind == "product":
        return np.linspace(-1.0, 1.0, n), 0.3 * draw(5).normal(size=n), 0.3
    x = np.linspace(0.0, BOX, n)
    return x, shape(x, 2.2) + 0.3 * draw(4).normal(size=n), 0.3


@cache
def exact(name: str, label: int) -> float:
    """F of one model of a choice, the constant included (nats)."""
    from theory.evidence import LinearRegression, free_energy

    x, y, noise = spectrum(name)
    if name == "degree":
        design = x[:, None] ** np.arange(label + 1)
    elif name == "second peak in place":
        design = shape(x, PLACES[:label]).T
    else:
        return peaks_free_energy(x, y, noise, label)
    return free_energy(LinearRegression(design, y, noise, 0.0, 1.0))


def _edges(x: Array, y: Array, noise: float) -> Array:
    """Edges of panels over a centre: as fine as its error at the best place, coarser farther off.

    The integrand over two centres has a ridge along their diagonal as narrow as that error, but
    away from the best place nothing of the posterior lies on it.
    """
    c = np.linspace(0.0, BOX, 2_001)
    best = float(c[np.argmax(_one_height(x, y, noise, c))])
    slope = shape(x, best) * (x - best) / WIDTH**2
    error = noise / math.sqrt(float(slope @ slope))
    away = [0.0]
    while away[-1] < BOX:
        away.append(away[-1] + min(1.5 * max(error, 0.2 * away[-1]), 0.45))
    edges = np.concatenate([best - np.array(away[::-1]), best + np.array(away[1:])])
    return np.concatenate([[0.0], edges[(edges > 0.0) & (edges < BOX)], [BOX]])


def _one_height(x: Array, y: Array, noise: float, centre: Array) -> Array:
    """ln of the likelihood at each centre over that without a peak, its height (0 +- 1) averaged
    over."""
    curves = shape(x, centre)
    precision = 1.0 + np.sum(curves**2, axis=1) / noise**2
    return np.asarray(0.5 * (curves @ y / noise**2) ** 2 / precision - 0.5 * np.log(precision))


def peaks_free_energy(x: Array, y: Array, noise: float, K: int, nodes: int = 16) -> float:
    """F of one or two peaks: heights normal (0 +- 1) and exact, centres by quadrature.

    Parameters
    ----------
    x, y : arrays (points,)
    noise : float
    K : 1 or 2
        Peaks of sd 0.4 whose centres are uniform on [0, 5].
    nodes : int
        Of each panel; the default is right to 1e-8 nats.

    Returns
    -------
    float
        In nats, the constant included.
    """
    from theory.cases.grids import log_sum, panels

    c, weights = panels(_edges(x, y, noise), nodes)
    nothing = len(x) * math.log(noise * math.sqrt(2 * math.pi)) + 0.5 * float(y @ y) / noise**2
    if K == 1:
        return nothing + math.log(BOX) - log_sum(_one_height(x, y, noise, c), weights)
    curves = shape(x, c) / noise
    pull, cross = curves @ (y / noise), curves @ curves.T
    own = 1.0 + np.diag(cross)
    det = np.outer(own, own) - cross**2
    energy = np.outer(pull**2, own) + np.outer(own, pull**2) - 2 * cross * np.outer(pull, pull)
    terms = 0.5 * energy / det - 0.5 * np.log(det)
    return nothing + 2 * math.log(BOX) - log_sum(terms, np.outer(weights, weights))


def product_free_energy(x: Array, y: Array, noise: float) -> float:
    """F of y = a b x, a and b uniform on [-1, 1]: one integral over u = -ln |ab|, whose density
    is u exp(-u); nats, the constant included."""
    from theory.cases.grids import log_sum, panels

    c, slope = 0.5 * float(x @ x) / noise**2, float(x @ y) / float(x @ x)
    rest = 0.5 * float(np.sum((y - slope * x) ** 2)) / noise**2
    u, weights = panels(np.linspace(0.0, 60.0, 121))
    terms = [np.log(u) - u - c * (sign * np.exp(-u) - slope) ** 2 for sign in (1.0, -1.0)]
    return (len(x) * math.log(noise * math.sqrt(2 * math.pi)) + rest
            - log_sum(np.concatenate(terms), 0.5 * np.tile(weights, 2)))


@cache
def exact_shares(name: str) -> tuple[float, ...]:
    """Exact probabilities of the models of a choice, equal before the data."""
    F = np.array([exact(name, label) for label in CHOICES[name]])
    weights = np.exp(F.min() - F)
    return tuple(float(v) for v in weights / weights.sum())


# ---- the same for the sampler --------------------------------------------------------------------


@cache
def model(name: str, label: int) -> Any:
    """A posterior of the sampler: one model of a choice."""
    from sampler import Data, Model, Normal, Posterior, parse_formula, shapes

    x, y, noise = spectrum(name)
    if name == "degree":
        curve = shapes.polynomial(label)
        described = Model.single(curve, priors={n: Normal(0.0, 1.0) for n in curve.parameters},
                                 **{n: n for n in curve.parameters})
    else:
        peak = parse_formula("peak", f"h*exp(-(x - c)**2/(2*{WIDTH}**2))", ("h", "c"))
        if name == "second peak in place":
            described = Model()
            for k in range(label):
                described = described + Model.single(peak, f"peak{k + 1}_", h=Normal(0.0, 1.0),
                                                     c=PLACES[k])
        else:
            described = Model.repeated(label, peak, h=Normal(0.0, 1.0), c=(0.0, BOX))
    return Posterior(described, Data(x, y, noise=noise))


@cache
def singular(name: str) -> tuple[Any, float]:
    """A posterior that never becomes normal, and its exact F."""
    from sampler import Data, Model, Posterior, parse_formula

    x, y, noise = spectrum(name)
    if name.startswith("product"):
        line = Model.single(parse_formula("product", "a*b*x", ("a", "b")), a=(-1.0, 1.0),
                            b=(-1.0, 1.0))
        return Posterior(line, Data(x, y, noise=noise)), product_free_energy(x, y, noise)
    return model(name, 2), peaks_free_energy(x, y, noise, 2)


# ---- A6 ------------------------------------------------------------------------------------------


def chosen_run(name: str, seed: int) -> Numbers:
    """Every model until F is known to 0.02 nats, and the choice between them."""
    from sampler import choose, sample

    runs = {label: sample(model(name, label), until=UNTIL, threads=1,
                          seed=seed_of(f"{name} {label}", seed)) for label in CHOICES[name]}
    choice = choose(runs)
    return {"p": [row.probability for row in choice.rows],
            "error": [row.probability_error for row in choice.rows],
            "F": [row.free_energy.value for row in choice.rows],
            "F_error": [row.free_energy.error for row in choice.rows],
            "best": choice.best, "certain": choice.certain}


def judge_choice(records: Records) -> list[Finding]:
    """A6: probabilities near the exact ones, without a bias, within their errors."""
    out = []
    for name, rows in records.items():
        truth = np.array(exact_shares(name))
        off = np.array([r["p"] for r in rows]) - truth
        n, open_one = len(rows), int(np.argmin(np.abs(truth - 0.5)))
        words = f"{name}, exact p of {CHOICES[name][open_one]}: {truth[open_one]:.3f}"
        far, mine = np.abs(off).max(axis=1), off[:, open_one]
        z = mine / np.array([r["error"][open_one] for r in rows])
        error = float(mine.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
        out += [
            at_least(f"{words}: share of {n} choices with every p within {CLOSE:g} of exact",
                     float(np.mean(far <= CLOSE)), 0.95, _alarm(truth, n)),
            inside(f"{words}: mean p - exact, in errors of its scatter",
                   float(mine.mean()) / error if error else math.inf, -4.0, 4.0, "2e-4"),
            inside(f"{words}: rms of (p - exact)/error", float(np.sqrt(np.mean(z**2))), 0.0,
                   1 + 4 / math.sqrt(2 * n), "3e-5", 1 / math.sqrt(2 * n)),
            Finding(f"{words}: largest |p - exact|", "-", float(far.max()), 0.0, None, "-")]
    doubtful = sum(not r["certain"] for rows in records.values() for r in rows)
    out.append(Finding("choices that rest on a run its diagnosis does not trust (all are judged)",
                       "-", f"{doubtful} of {sum(map(len, records.values()))}", 0.0, None, "-"))
    return out


def _alarm(truth: Array, n: int) -> str:
    """How often more than a twentieth of n choices are too far off, if every F is normal with an
    error of 0.02 nats; first order in the error, the models' distances added up."""
    from scipy.special import bdtrc, ndtr

    sd = UNTIL * truth * np.sqrt(1.0 - 2.0 * truth + float(truth @ truth))
    one = float(np.sum(2.0 * ndtr(-CLOSE / np.maximum(sd, 1e-9))))
    return f"at most {bdtrc(math.floor(0.05 * n), n, min(one, 1.0)):.0e}"


# ---- B8 ------------------------------------------------------------------------------------------


def singular_run(name: str, seed: int) -> Numbers:
    """Until the error of F is 0.02 nats."""
    from sampler import diagnose, free_energy, sample

    posterior, truth = singular(name)
    run = sample(posterior, until=UNTIL, threads=1, seed=seed_of(name, seed))
    found = free_energy(run)
    return {"off": found.value - truth, "error": found.error, "freedom": found.freedom,
            "estimator": found.estimator, "bar": found.bar - truth, "bar_error": found.bar_error,
            "trusted": diagnose(run).trusted, "sweeps": run.sweeps}


def judge_singular(records: Records) -> list[Finding]:
    """B8: F at each number of points, and its differences between decades."""
    from sampler.evidence import coverage

    out = []
    off: dict[str, Array] = {}
    for name, rows in records.items():
        off[name] = np.array([r["off"] for r in rows])
        z = off[name] / [r["error"] for r in rows]
        alarm = sum(1.0 - coverage(4.0, int(r["freedom"])) for r in rows)
        far = int(np.argmax(np.abs(z)))
        out.append(inside(f"{name} points: farthest F of {len(rows)}, in its standard errors",
                          float(z[far]), -4.0, 4.0, f"{alarm:.0e}"))
    for kind in SINGULAR:
        for few, many in pairwise(POINTS):
            gap = off[f"{kind} {many}"] - off[f"{kind} {few}"]
            error = float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else 0.0
            out.append(inside(
                f"{kind}: mean of F({many}) - F({few}) less the exact difference (nats)",
                float(gap.mean()), -SEPARATE, SEPARATE, "1e-9", error))
    flagged = sum(not r["trusted"] for rows in records.values() for r in rows)
    out.append(Finding("runs that their own diagnosis did not trust (all are judged)", "-",
                       f"{flagged} of {sum(map(len, records.values()))}", 0.0, None, "-"))
    return out


def campaigns() -> tuple[Campaign, ...]:
    """A6 and B8."""
    return (
        Campaign("A6", "are probabilities of models right?", tuple(CHOICES), range(1, 51),
                 chosen_run, judge_choice, 5.0),
        Campaign("B8", "is F right where the posterior never becomes normal?",
                 tuple(f"{kind} {n}" for kind in SINGULAR for n in POINTS), range(1, 21),
                 singular_run, judge_singular, 5.0))
