"""B3 to B5: does one step leave the posterior alone?  Reversibility, frozen steps, exchanges.

A move is reversible if the pair (before, after), started from the tempered posterior, has the same
law as (after, before).  Models of one parameter make this exact: its distribution function is
known by quadrature, thousands of replicas start from independent draws of it, and the kernel moves
each once.  Both coordinates are mapped to uniform numbers; the table of their eighths must be
symmetric and its margins flat.

The false-alarm rate is sequential: p > alpha passes, p < alpha/1000 fails, anything between is
repeated with four times as many replicas, three times at most.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.campaigns import Campaign, Finding, Numbers, Records, inside, nothing, seed_of

Array = NDArray[np.float64]
ALPHA, REPLICAS, CELLS, LEVELS = 1e-5, 16_384, 8, 3
BETAS = (0.0, 0.1, 1.0)
WALKS = ("Uniform", "LogUniform", "Normal", "Gamma", "InverseGamma", "Beta")
DRAWS = ("Uniform", "Normal", "Gamma")


def prior(kind: str) -> Any:
    """A prior of that kind, asymmetric where it can be, its walls within reach of the data."""
    import sampler as s

    return {"Uniform": s.Uniform(0.2, 2.0), "LogUniform": s.LogUniform(0.1, 3.0),
            "Normal": s.Normal(1.2, 0.6, lo=0.3), "Gamma": s.Gamma(2.5, 2.0),
            "InverseGamma": s.InverseGamma(3.0, 2.0), "Beta": s.Beta(2.0, 1.5),
            "Bernoulli": s.Bernoulli(0.3)}[kind]


@cache
def posterior(move: str) -> Any:
    """One parameter: ``walk KIND`` enters nonlinearly, ``draw KIND`` linearly, ``noise`` scales
    the noise, ``switch`` turns a term on."""
    from sampler import Data, LogUniform, Model, Posterior, parse_formula

    x = np.linspace(0.0, 2.0, 7)
    how, _, kind = move.partition(" ")
    text = "exp(-v*x)" if how == "walk" else "v*exp(-x)"
    model = Model.single(parse_formula("curve", text, ("v",)), v=prior(kind or "Bernoulli"))
    y = np.exp(-1.1 * x) + 0.2 * np.cos(9.0 * x)
    if how == "noise":
        model = Model.single(parse_formula("curve", "v*exp(-x)", ("v",)), v=1.0)
        return Posterior(model, Data(x, y, noise=LogUniform(0.05, 2.0)))
    return Posterior(model, Data(x, y, noise=0.25))


@cache
def law(move: str, beta: float) -> tuple[Array, Array]:
    """Points and their exact distribution function at an inverse temperature, by quadrature in
    the quantile of the prior."""
    from sampler.cube import from_logit

    one = posterior(move)
    t = np.linspace(-24.0, 24.0, 120_001)
    theta = from_logit(next(iter(one.priors.values())), t)
    log_p = -beta * one.energy(theta[:, None]) - np.logaddexp(0, t) - np.logaddexp(0, -t)
    p = np.exp(log_p - log_p.max())
    total = np.concatenate([[0.0], np.cumsum(0.5 * (p[1:] + p[:-1]))])
    return theta, total / total[-1]


class Replicas:
    """Many replicas of a one-parameter posterior, independent draws of its tempered law."""

    def __init__(self, move: str, betas: Array, seed: int) -> None:
        from sampler.exchange import buffers
        from sampler.kernels import cpu
        from sampler.kernels.problem import lower

        self.cpu, self.move, self.betas = cpu, move, betas
        self.jumps: Any = None
        self.problem = lower(posterior(move), compiled=True)
        self.chain, self.work = buffers(self.problem, 1, len(betas))
        generator = np.random.default_rng(seed_of(f"replicas of {move}", seed))
        u = generator.random(len(betas))
        for beta in np.unique(betas):
            here = betas == beta
            if move == "switch":
                self.chain.theta[here, 0] = u[here] < self._on(beta)
            else:
                points, distribution = law(move, float(beta))
                self.chain.theta[here, 0] = np.interp(u[here], distribution, points)
        for r in range(len(betas)):
            cpu.rebuild(self.problem, self.chain, self.work, r)

    def _on(self, beta: float) -> float:
        weight = prior("Bernoulli").p * np.exp(-beta * posterior("switch").energy([1.0]))
        other = (1 - prior("Bernoulli").p) * np.exp(-beta * posterior("switch").energy([0.0]))
        return float(weight / (weight + other))

    def sweep(self, number: int, steps: Array, seed: int) -> None:
        """One sweep of the compiled kernel."""
        from sampler import philox

        size = len(self.betas)
        streams = (philox.START, philox.PRIOR, philox.WALK, philox.SWAP, philox.JUMP)
        keys = np.array([philox.stream_key(seed, s) for s in streams], dtype=np.uint64)
        counts = np.zeros((4, size), dtype=np.int64)
        arguments = (self.chain, self.work, self.betas, steps.reshape(size, 1), keys, number,
                     np.empty((1, size)), np.empty((1, size), np.int16), np.empty((1, 1)),
                     counts[0].reshape(size, 1), counts[1].reshape(size, 1))
        if self.jumps is None:
            self.cpu.sweeps(self.problem, *arguments)
            return
        from sampler.exchange import buffers

        jumping = self.cpu.Jumping(buffers(self.problem, 1, 1)[0], np.empty((5, 5)), counts[2],
                                   counts[3], np.empty((0, size, 1)))
        self.cpu.jumping_sweeps(self.cpu.address_of_sweeps(self.problem, *arguments), self.problem,
                                self.jumps, jumping, *arguments, number + 1)

    def fit_jumps(self, wrong: bool) -> None:
        """Densities fitted to 300 of the replicas, the same for all; ``wrong`` plants a ratio
        that takes the first part for an eighth as likely as it is drawn."""
        from sampler.jumps import fit_jumps, nowhere

        one = posterior(self.move)
        jumps = fit_jumps(one, nowhere(one, self.problem, 1), self.chain.theta[:300, None],
                          np.array([True]), 1, 1)
        if wrong:
            jumps.height[0, 0] -= math.log(8.0)
        size = len(self.betas)
        self.jumps = jumps._replace(**{
            name: np.repeat(getattr(jumps, name), size, axis=0)
            for name in ("on", "edge", "height", "mean", "root")})


def cells(move: str, beta: float, theta: Array) -> NDArray[np.int64]:
    """Which eighth of the exact law each value lies in (0 or 1 for a switch)."""
    if move == "switch":
        return theta.astype(np.int64)
    points, distribution = law(move, beta)
    u = np.interp(theta, points, distribution)
    return np.asarray(np.minimum((u * CELLS).astype(np.int64), CELLS - 1))


def symmetry_p(before: NDArray[np.int64], after: NDArray[np.int64], size: int,
               flat: bool = True) -> float:
    """Twice the smaller p of two chi-squares: table symmetric, margin of ``after`` flat.

    Examples
    --------
    >>> g = np.random.default_rng(0)
    >>> a, b = g.integers(0, 8, (2, 10_000))
    >>> symmetry_p(a, b, 8) > 1e-3, symmetry_p(a, (a + 1) % 8, 8) < 1e-9
    (True, True)
    """
    from scipy.special import gammaincc

    table = np.bincount(before * size + after, minlength=size * size).reshape(size, size)
    i, j = np.triu_indices(size, 1)
    both = table[i, j] + table[j, i]
    seen = both > 0
    skew = float(np.sum((table[i, j] - table[j, i])[seen] ** 2 / both[seen]))
    p = [float(gammaincc(0.5 * max(1, seen.sum()), 0.5 * skew))]
    if flat:
        margin, expected = table.sum(axis=0), len(after) / size
        p.append(float(gammaincc(0.5 * (size - 1), 0.5 * np.sum((margin - expected) ** 2)
                                 / expected)))
    return min(1.0, 2.0 * min(p))


def step_of(move: str, beta: float) -> float:
    """A step such as tuning gives: some spread of the tempered law."""
    if move == "switch":
        return 1.0
    points, distribution = law(move, beta)
    low, high = np.interp([0.1, 0.9], distribution, points)
    logarithmic = move in ("noise", "walk LogUniform", "walk InverseGamma")
    return float(math.log(high / low) if logarithmic else high - low)


def reversible_p(move: str, beta: float, replicas: int, seed: int,
                 planted: bool = False) -> float:
    """p of one level; ``planted`` are steps that follow the present state, or a wrong ratio of
    jumps."""
    before, after = [], []
    jumping, move = move.startswith("jump"), move.replace("jump", "walk")
    for part in range(math.ceil(replicas / REPLICAS)):
        number = seed_of(f"{move} {beta} {part}", seed)
        # No rung at beta = 0 jumps, where the prior is drawn anew: next to it.
        many = Replicas(move, np.full(REPLICAS, max(beta, 1e-12) if jumping else beta), number)
        start = many.chain.theta[:, 0].copy()
        steps = np.full(REPLICAS, 0.0 if jumping else step_of(move, beta))
        if jumping:
            many.fit_jumps(planted)
        elif planted:
            steps *= 0.5 + start / np.median(start)
        many.sweep(1, steps, number)
        before.append(cells(move, beta, start))
        after.append(cells(move, beta, many.chain.theta[:, 0]))
    size = 2 if move == "switch" else CELLS
    return symmetry_p(np.concatenate(before), np.concatenate(after), size, move != "switch")


def exchange_p(replicas: int, seed: int) -> float:
    """p of exchanges alone: pairs of rungs, steps of no length."""
    move, hot, cold = "walk Gamma", 0.1, 1.0
    before, after = [], []
    for part in range(math.ceil(replicas / REPLICAS)):
        number = seed_of(f"exchange {part}", seed)
        many = Replicas(move, np.tile([hot, cold], REPLICAS // 2), number)

        def joint(many: Replicas = many) -> NDArray[np.int64]:
            theta = many.chain.theta[many.chain.rung, 0]
            return 4 * (cells(move, hot, theta[::2]) // 2) + cells(move, cold, theta[1::2]) // 2

        before.append(joint())
        many.sweep(2, np.zeros(REPLICAS), number)
        after.append(joint())
    return symmetry_p(np.concatenate(before), np.concatenate(after), 16)


def reversible_run(name: str, seed: int) -> Numbers:
    """A move at one beta, by the sequential scheme."""
    move, _, beta = name.rpartition(" at ")
    planted = move.startswith("planted: ")
    move = move.removeprefix("planted: ")
    p = 0.0
    for level in range(LEVELS):
        size = REPLICAS * 4**level
        p = (exchange_p(size, seed + level) if move == "exchange" else
             reversible_p(move, float(beta), size, seed + level, planted))
        if p > ALPHA or p < ALPHA / 1000:
            break
    return {"p": p, "passed": p > ALPHA, "levels": level + 1}


MOVES = (*(f"{how} {k}" for how in ("walk", "jump") for k in WALKS),
         *(f"draw {k}" for k in DRAWS), "noise", "switch")
PLANTS = (*(f"planted: walk {k} at {b:g}" for k in ("Gamma", "LogUniform") for b in (0.1, 1.0)),
          "planted: jump Uniform at 0.1", "planted: jump Gamma at 1")


def judge_reversible(records: Records) -> list[Finding]:
    """B3: every move passes; B4: steps that follow the state are caught."""
    rows = {name: r[0] for name, r in records.items()}
    real = {k: r for k, r in rows.items() if not k.startswith("planted")}
    least = min(real, key=lambda k: real[k]["p"])
    return [
        nothing(f"moves that are not reversible, of {len(real)} (lowest p: {least}, "
                f"{real[least]['p']:.1e})", [k for k, r in real.items() if not r["passed"]],
                f"{1e-5 * len(real):.0e}"),
        nothing("planted, not caught: steps that adapt to the state, jumps of a wrong ratio",
                [k for k, r in rows.items() if k.startswith("planted") and r["passed"]], "0")]


# ---- B4, B5: frozen, exchanged, visited ----------------------------------------------------------


def exchanged_run(name: str, seed: int) -> Numbers:
    """Exchange rates of a straight line on a given ladder, counted in four pieces."""
    from experiments.campaigns.evidence import problem
    from sampler import Ladder, resume, sample
    from sampler.evidence import normal_score
    from sampler.series import series_errors

    run = sample(problem("straight_line")[0], 5000, burn_in=1000, threads=1,
                 seed=seed_of(name, seed), ladder=Ladder.geometric(12, 2.0))
    frozen = {run.steps.tobytes() + run.betas.tobytes()}
    for _ in range(3):
        run = resume(run, 5000, threads=1)
        frozen.add(run.steps.tobytes() + run.betas.tobytes())
    chance = np.exp(np.minimum(np.diff(run.betas) * np.diff(run.energy, axis=-1), 0.0))
    z = []
    for k, exact in enumerate(_exact_rates(tuple(run.betas.tolist()))):
        within, between, freedom = series_errors(chance[..., k])
        z.append(normal_score((chance[..., k].mean() - exact) / max(within, between), freedom))
    return {"frozen": len(frozen) == 1, "z": [round(float(v), 4) for v in z]}


@cache
def _exact_rates(betas: tuple[float, ...]) -> Array:
    """By the inversion of the characteristic function of the energies (theory.exchange_rate)."""
    from theory.cases import named
    from theory.evidence import LinearRegression, log_partition
    from theory.exchange_rate import acceptance

    data = named("straight_line").data[0]
    line = LinearRegression(np.stack([data.x, np.ones(len(data.x))], axis=1), data.y, data.noise,
                            0.0, 100.0)
    return np.array([acceptance(lambda b: log_partition(line, b), hot, cold)
                     for hot, cold in pairwise(betas)])


def judge_exchanges(records: Records) -> list[Finding]:
    """B4 and B5: steps and ladder frozen to the bit, every pair exchanges at its exact rate."""
    rows = records["straight_line"]
    z = np.array([r["z"] for r in rows])
    mean = z.mean(axis=0) * math.sqrt(len(z))
    return [
        nothing("runs whose steps or ladder changed while counting",
                [f"seed {k + 1}" for k, r in enumerate(rows) if not r["frozen"]], "0"),
        inside(f"exchange rate of {z.shape[1]} pairs against the exact one, {len(z)} runs: "
               "mean z in its errors, farthest", float(mean[np.argmax(np.abs(mean))]), -4.0, 4.0,
               "1e-3"),
        inside("rms of z", float(np.sqrt(np.mean(z**2))), 0.7, 1.2, "1e-3")]


def permutation_run(name: str, seed: int) -> Numbers:
    """A million sweeps of a line with five rungs: who sits where."""
    from experiments.campaigns.evidence import problem
    from sampler import Ladder, resume, sample

    run = sample(problem("poisson_gamma")[0], 10, burn_in=200, chains=1, threads=1,
                 seed=seed_of(name, seed), ladder=Ladder.geometric(5, 4.0))
    run = resume(run, 10**6 - 10, threads=1)
    everywhere = [len(np.unique(run.replica[0][:, k])) for k in range(5)]
    return {"permutation": bool(np.all(np.sort(run.replica, axis=-1) == np.arange(5))),
            "visited": min(everywhere)}


def judge_permutation(records: Records) -> list[Finding]:
    """B5: after a million sweeps still a permutation, and everybody has been everywhere."""
    row = records["a million sweeps"][0]
    return [nothing("sweeps in which a rung is empty or taken twice",
                    [] if row["permutation"] else ["some"], "0"),
            inside("replicas that the least visited rung has seen, of 5", row["visited"], 5, 5,
                   "0")]


def campaigns() -> tuple[Campaign, ...]:
    """B3 with the planted bug, B4 and B5."""
    names = (*(f"{move} at {beta:g}" for move in MOVES for beta in BETAS), "exchange at 1",
             *PLANTS)
    return (
        Campaign("B3", "is every elementary move reversible at beta = 0, 0.1 and 1?", names,
                 range(1, 2), reversible_run, judge_reversible, 0.5),
        Campaign("B4", "frozen while counting, and every pair at its exact exchange rate?",
                 ("straight_line",), range(1, 21), exchanged_run, judge_exchanges, 0.6),
        Campaign("B5", "do exchanges only ever exchange?", ("a million sweeps",), range(1, 2),
                 permutation_run, judge_permutation, 5.0))
