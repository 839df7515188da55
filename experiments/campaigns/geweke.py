"""B2: does the kernel keep the joint law of parameters and data?

Geweke (JASA 99, 799, 2004) compared two ways of drawing (theta, y): theta from the prior and then
y from theta, or theta by the sampler under test and y from theta, in turn.  The second makes a
chain, whose error bar is itself an estimate.  Here is the strong form, where all draws are
independent: theta from the prior, y from theta, so that theta is one exact draw of the posterior
given y; a second draw of the prior sits at beta = 0.  Then the compiled kernel sweeps both rungs,
with exchanges, and (theta', y) must have the law that (theta, y) had.

Each moment function is compared with its value at the draw that the replica started from: given
the data, the difference has mean zero whatever the function, and its variance is counted, not
estimated from a chain.  A kernel that does not move at all would pass; so it is also asked that
every parameter moved, and that replicas were exchanged.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from experiments.campaigns import Campaign, Finding, Numbers, Records, at_least, nothing, seed_of

Array = NDArray[np.float64]
REPLICAS, SWEEPS, MOMENTS = 50_000, 4, 20     # two of the sweeps exchange, the last not
MODELS = ("amplitudes", "ordered peaks", "counts", "switch", "joint")


@cache
def posterior(name: str) -> Any:
    """Models that between them use every move, prior and noise law; their data are drawn anew."""
    import sampler as s

    x = np.linspace(0.0, 2.0, 7)         # seven: the kernels pad to eight
    y = np.zeros(7)
    match name:
        case "amplitudes":               # exact draws under all three priors, and one walk
            model = s.Model.single(s.shapes.linear, offset=s.Normal(0, 1),
                                   slope=(-1, 1.5)) + s.Model.single(
                s.shapes.exponential, amplitude=s.Gamma(2, 1.5), rate=s.Normal(1, 0.5, lo=0.2))
            return s.Posterior(model, s.Data(x, y, noise=np.linspace(0.8, 1.3, 7)))
        case "ordered peaks":            # an order, a logarithmic walk, an inferred noise
            model = s.Model.repeated(
                2, s.shapes.gaussian, "peak", height=s.Gamma(1.0, 1.0),
                center=s.Ordered(s.Uniform(0, 2)), width="width",
                priors={"width": s.LogUniform(0.2, 1.5)})
            return s.Posterior(model, s.Data(x, y, noise=s.InverseGamma(3, 1.5)))
        case "counts":                   # amplitudes that can only walk
            model = s.Model.single(s.shapes.constant, offset=s.Gamma(2, 1)) + s.Model.single(
                s.shapes.exponential, amplitude=s.Gamma(2, 0.5), rate=s.InverseGamma(3, 3))
            return s.Posterior(model, s.Data(x, y, noise="poisson"))
        case "switch":                   # a term that is there or not, a share, a wall
            text = s.parse_formula("mixed", "on*height*(share*exp(-x) + (1 - share)*x)",
                                   ("on", "height", "share"))
            model = s.Model.single(text, on=s.Bernoulli(0.4), height=s.Normal(1, 0.7, lo=0),
                                   share=s.Beta(2, 1.5))
            return s.Posterior(model, s.Data(x, y, noise=0.6))
        case _:                          # two data sets that share a parameter, one noise factor
            decay = s.Model.single(s.shapes.exponential, amplitude=s.Gamma(2.5, 2),
                                   rate=s.Gamma(3, 3))
            one = s.Posterior(decay, s.Data(x, y, noise="poisson"))
            two = s.Posterior(decay.renamed(amplitude="height"), s.Data(
                x[:4], y[:4], noise=s.LogUniform(0.5, 2), sigma=np.linspace(0.4, 0.8, 4)))
            return s.joint(one, two)


def simulated(name: str, theta: Array, generator: np.random.Generator) -> list[Array]:
    """Data of every block, one row for each theta."""
    one, out = posterior(name), []
    for b, block in enumerate(one.blocks):
        mean = one.predict(theta, block=b)
        if _counts(block):
            out.append(generator.poisson(mean).astype(float))
            continue
        scale = _scale(one, block, theta)[:, None] * block.data.deviation
        out.append(mean + scale * generator.normal(size=mean.shape))
    return out


def _counts(block: Any) -> bool:
    from sampler.data import POISSON

    return bool(block.data.law == POISSON)


def _scale(one: Any, block: Any, theta: Array) -> Array:
    """The noise factor of a block, one for each theta."""
    if not block.data.noise_prior:
        return np.ones(len(theta))
    return np.asarray(theta[:, one.names.index(block.data.noise_name)])


def energy(name: str, theta: Array, y: list[Array]) -> Array:
    """U of each theta under its own row of data, by the table of `sampler.data`, anew."""
    from scipy.special import xlogy

    one, total = posterior(name), np.zeros(len(theta))
    for b, block in enumerate(one.blocks):
        mean = one.predict(theta, block=b)
        if _counts(block):
            total += np.sum(mean - xlogy(y[b], mean), axis=1)
            continue
        scale = _scale(one, block, theta)
        total += block.data.size * np.log(scale) + 0.5 * np.sum(
            ((y[b] - mean) / block.data.deviation) ** 2, axis=1) / scale**2
    return total


def moments(name: str, theta: Array, y: list[Array]) -> dict[str, Array]:
    """Twenty functions of (theta, y), one number for each replica.

    Every parameter as the share of its prior below it, the energy, their squares and products,
    and their products with two bounded functions of the data; all of the first kind, and of the
    rest as many as are missing, in an order that was drawn once.
    """
    from scipy.special import expit

    from sampler.cube import to_logit
    from sampler.priors import Bernoulli

    one = posterior(name)
    first = {n: theta[:, p] if isinstance(prior, Bernoulli)
             else expit(to_logit(prior, theta[:, p]))
             for p, (n, prior) in enumerate(one.priors.items())}
    first["energy"] = energy(name, theta, y) / one.size
    shown = np.concatenate([(v - v.mean(axis=0)) / v.std(axis=0) for v in y], axis=1)
    data = {"level": np.tanh(shown.mean(axis=1)),
            "tilt": np.tanh(shown @ np.linspace(-1.0, 1.0, shown.shape[1]))}
    pairs = [(a, b) for k, a in enumerate(first) for b in (*list(first)[k:], *data)
             if a != b or not isinstance(one.priors.get(a), Bernoulli)]
    order = np.random.default_rng(crc32(name.encode())).permutation(len(pairs))
    chosen = [pairs[k] for k in order[:MOMENTS - len(first)]]
    return first | {f"{a} x {b}": first[a] * (first | data)[b] for a, b in chosen}


class Replicas:
    """Many pairs of rungs, beta = 0 and 1, each pair under data of its own, exactly drawn."""

    def __init__(self, name: str, size: int, seed: int) -> None:
        from sampler import philox
        from sampler.exchange import buffers
        from sampler.kernels import cpu
        from sampler.kernels.problem import lower, step_limits

        self.cpu, self.name, one = cpu, name, posterior(name)
        generator = np.random.default_rng(seed)
        both = one.draw_prior(2 * size, seed)
        self.hot, self.cold = both[:size], both[size:]
        self.y = simulated(name, self.cold, generator)
        self.problem = lower(one, compiled=True)
        self.chain, self.work = buffers(self.problem, one.dimension, 2)
        self.steps = np.tile(0.5 * step_limits(one), (2, 1))
        streams = (philox.START, philox.PRIOR, philox.WALK, philox.SWAP, philox.JUMP)
        self.keys = np.array([philox.stream_key(seed, s) for s in streams], dtype=np.uint64)

    def swept(self, plant: str = "") -> tuple[Array, Array, float]:
        """theta' at beta = 1, the kernel's energy of it, and the share of exchanges done."""
        after, kept = np.empty_like(self.cold), np.empty(len(self.cold))
        exchanged = 0
        for i in range(len(self.cold)):
            for b, first in enumerate(self.problem.start):
                row = self.y[b][i]
                self.problem.y[first:first + len(row)] = row
            self.chain.theta[0], self.chain.theta[1] = self.hot[i], self.cold[i]
            self.chain.rung[:] = 0, 1
            for r in range(2):
                self.cpu.rebuild(self.problem, self.chain, self.work, r)
            for t in range(SWEEPS):
                before = int(self.chain.rung[1])
                self._sweep(2 + SWEEPS * i + t, plant)
                exchanged += self.chain.rung[1] != before
            after[i] = self.chain.theta[self.chain.rung[1]]
            kept[i] = self.chain.energy[self.chain.rung[1]]
        return after, kept, exchanged / (len(self.cold) * (SWEEPS // 2))

    def _sweep(self, number: int, plant: str) -> None:
        """One sweep of the compiled kernel, or of one with a defect."""
        betas, steps, problem = np.array([0.0, 1.0]), self.steps, self.problem
        match plant:
            case "steps that follow the state":        # a Hastings term would be needed
                steps = steps * (0.5 + np.abs(self.chain.theta[self.chain.rung]))
            case "exact draws of twice the precision" if number % 2:   # no exchange in these
                problem = problem._replace(weight=2.0 * problem.weight)
            case "a colder last rung":
                betas[1] = 1.1
            case "a Jacobian forgotten":               # InverseGamma walks in its logarithm
                prior = problem.prior.copy()
                prior[problem.kind == self.cpu.INVERSE_GAMMA, 0] += 1.0
                problem = problem._replace(prior=prior)
            case "exchanges that are always accepted":
                betas = np.array([0.0, 1.0]) if number % 2 else np.array([1.0, 1.0])
        counts = np.zeros((2, *self.steps.shape), dtype=np.int64)
        self.cpu.sweeps(problem, self.chain, self.work, betas, steps, self.keys, number,
                        np.empty((1, 2)), np.empty((1, 2), np.int16),
                        np.empty((1, self.steps.shape[1])), counts[0], counts[1])
        if problem.weight is not self.problem.weight:
            for r in range(2):
                self.cpu.rebuild(self.problem, self.chain, self.work, r)


PLANTS = ("steps that follow the state in counts",
          "exact draws of twice the precision in amplitudes", "a colder last rung in joint",
          "a Jacobian forgotten in ordered peaks", "exchanges that are always accepted in switch")


def joint_run(problem: str, seed: int, replicas: int = REPLICAS) -> Numbers:
    """Sums of the differences of twenty moments, what moved, and whether energies are true."""
    plant, _, name = problem.removeprefix("planted: ").rpartition(" in ")
    many = Replicas(name, replicas, seed_of(f"joint law of {problem}", seed))
    after, kept, exchanged = many.swept(plant)
    old, new = moments(name, many.cold, many.y), moments(name, after, many.y)
    gaps = {k: new[k] - old[k] for k in old}
    off = np.abs(kept - energy(name, after, many.y)) / (1.0 + np.abs(kept))
    return {"replicas": replicas, "sums": {k: float(v.sum()) for k, v in gaps.items()},
            "squares": {k: float(v @ v) for k, v in gaps.items()}, "off": float(off.max()),
            "moved": float(np.min(np.mean(after != many.cold, axis=0))), "exchanged": exchanged}


def scores(rows: Any) -> dict[str, float]:
    """z of every moment, all seeds together; 0 where nothing changed.

    Examples
    --------
    >>> scores([{"sums": {"a": 3.0}, "squares": {"a": 4.0}}] * 4)
    {'a': 3.0}
    """
    out = {}
    for key in rows[0]["sums"]:
        square = sum(r["squares"][key] for r in rows)
        out[key] = sum(r["sums"][key] for r in rows) / math.sqrt(square) if square else 0.0
    return out


def judge_joint(records: Records) -> list[Finding]:
    """B2: every moment of every model within four errors; every planted defect is not."""
    real = {k: rows for k, rows in records.items() if not k.startswith("planted")}
    z = {f"{name}: {k}": v for name, rows in real.items() for k, v in scores(rows).items()}
    far = max(z, key=lambda k: abs(z[k]))
    size = min(sum(r["replicas"] for r in rows) for rows in real.values())
    every = [r for rows in real.values() for r in rows]
    missed = [name for name, rows in records.items() if name.startswith("planted")
              and max(map(abs, scores(rows).values())) < 4.0]
    return [
        nothing(f"moments of {len(z)}, each over {size} replicas, that changed by 4 errors or more "
                f"(farthest: {far}, z = {z[far]:.2f})",
                [f"{k} ({v:.1f})" for k, v in z.items() if not abs(v) < 4.0],
                f"{6.3e-5 * len(z):.0e}"),
        at_least("share of replicas in which the laziest parameter moved",
                 min(r["moved"] for r in every), 0.1, "0"),
        at_least("share of exchanges that were accepted, lowest",
                 min(r["exchanged"] for r in every), 0.05, "0"),
        nothing("energies of the kernel that are off by 1e-9 of them or more",
                [f"{name}: {r['off']:.1e}" for name, rows in real.items() for r in rows
                 if not r["off"] < 1e-9], "0"),
        nothing("planted, not caught", missed, "0")]


def campaigns() -> tuple[Campaign, ...]:
    """B2 with its planted defects."""
    return (Campaign("B2", "do parameters and data keep their joint law under the kernel?",
                     (*(f"right in {name}" for name in MODELS), *(f"planted: {p}" for p in PLANTS)),
                     range(1, 6), joint_run, judge_joint, 5.0),)
