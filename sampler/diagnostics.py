"""Can this run be trusted?  Every alarm is a number, and a sentence with what to do.

The strongest alarm is *replica memory*: in equilibrium every replica that visits a rung sees the
same energies there; where some replicas keep to a deep mode and others never find it, their mean
energies differ for as long as the run lasts.

What no statistic of a run can see: a mode that no replica ever met.  A first-order transition
whose volume ratio exceeds about e**8 is easily missed, and then round trips even rise and error
bars fall; so round trips are printed and are no certificate.  Measured in ten dimensions, 30 runs
of 4 chains and 6500 sweeps each (campaign D5 modes): at volume ratios up to e**8.3 all are right;
at e**9.9 23 are, 6 say that they cannot be trusted and 1 is silent; at e**11.6 9, 10 and 11; at
e**13.9 none is right and all are silent.  The remedies are outside the run: priors that do not
reach where nothing is expected, more chains and longer burn-in, several seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from sampler.bridge_sampling import bridge
from sampler.evidence import colder, free_energy, summed
from sampler.exchange import Run
from sampler.labels import COMPONENT
from sampler.series import autocorrelation_time, series_errors

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Diagnosis:
    """The verdict on a run and the numbers behind it; printing it gives the sentences.

    What it cannot know is said in the module: a mode that no replica ever met.
    """

    trusted: bool
    problems: tuple[str, ...]    # sentences: what is wrong and what to do
    faults: tuple[str, ...]      # the same by name: "memory", "rhat", ...
    replica_memory: float        # 0 in equilibrium, 1 if replicas never forget
    heat_capacity_ratio: float   # peak of beta**2 Var U along the colder two thirds / (d/2)
    heat_capacity_error: float   # relative error of that peak: small where it is crossed often
    heat_capacity_beta: float    # where along the ladder it lies
    between_within: float        # spread of F between chains / what each chain claims
    direction_gap: float         # |forward - reverse stepping stone| / joint error
    bridge_gap: float            # |bridge - BAR| / joint error; 0 where there is no bridge
    uncovered: float             # share of the draws where the bridge's density hardly reaches
    lowest_swap_rate: float      # draws of the prior outside the support left out
    barrier: float               # Lambda: summed rejection; about 2 Lambda rungs are best
    round_trips: int             # hot to cold and back, all replicas and chains
    rhat: float                  # largest, over U and the label-free quantities
    ess: float                   # effective draws of U at beta = 1, all chains

    @property
    def only_short(self) -> bool:
        """True if nothing is wrong that more sweeps of the same kind would not mend."""
        return set(self.faults) <= {"trips", "rhat", "ess"}

    def __str__(self) -> str:
        head = "trusted" if self.trusted else "NOT TRUSTED"
        return "\n".join([
            f"{head}: R-hat {self.rhat:.3f}, effective draws {self.ess:.0f}, round trips "
            f"{self.round_trips}, lowest swap rate {self.lowest_swap_rate:.2f}, barrier "
            f"{self.barrier:.1f}, replica memory {self.replica_memory:.2f}",
            *(f"- {problem}" for problem in self.problems)])


def diagnose(run: Run, *, memory: float = 0.3, heat_capacity: float = 3.0,
             crossed: float = 0.1, between: float = 3.0,
             gap: float = 3.0, apart: float = 3.0, coverage: float = 0.1,
             swap_rate: float = 0.1, trips: int = 5, rhat: float = 1.01,
             ess: float = 400.0, bridged: bool = True) -> Diagnosis:
    """Say whether a run can be trusted, and what to do if not.

    Parameters
    ----------
    run : Run
    memory, heat_capacity, crossed, between, gap, apart, coverage, swap_rate, trips, rhat, ess
        Limits of the alarms; the defaults are the house's.  A peak of the heat capacity alone is
        no fault (an unknown noise gives one, and for d = 1 the measure d/2 is so small that any
        narrow line in a wide range does): it alarms where its own relative error exceeds
        ``crossed``, that is, where the transition was crossed too seldom.
    bridged : bool
        False leaves out the two alarms that need the bridge, which costs as much as a short run:
        for a first look between rounds.

    Returns
    -------
    Diagnosis

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> line = Model.single(shapes.linear, offset=(-1, 1), slope=(-10, 10))
    >>> data = Data([0, 1, 2], [0.1, 0.9, 2.2], noise=0.5)
    >>> diagnose(sample(Posterior(line, data), sweeps=4000, seed=1)).trusted
    True
    """
    if run.sampled == 0:
        return Diagnosis(
            True, (), (), 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0, 1.0, math.inf)
    found = {**_ladder_numbers(run), **(_bridge_numbers(run) if bridged else _NO_BRIDGE)}
    alarms = {
        "one temperature": (
            len(run.betas) < 2, "one temperature only: nothing shows that other modes were "
            "looked for; use sample instead of metropolis"),
        "memory": (
            found["replica_memory"] > memory, "replicas remember where they came from (memory "
            f"{found['replica_memory']:.2f} > {memory:g}): modes are not mixed; run longer, or "
            "with more chains"),
        "heat capacity": (
            found["heat_capacity_ratio"] > heat_capacity and found["heat_capacity_error"] > crossed,
            f"the heat capacity peaks at beta = {found['heat_capacity_beta']:.2g} with "
            f"{found['heat_capacity_ratio']:.1f} times d/2 (> {heat_capacity:g}) and is known to "
            f"{found['heat_capacity_error']:.0%} only: the ladder crosses a sharp transition too "
            "seldom; run longer and compare seeds"),
        "between": (
            found["between_within"] > between, "chains disagree: F spreads "
            f"{found['between_within']:.1f} times what each claims (> {between:g}); run longer"),
        "gap": (
            found["direction_gap"] > gap, "forward and reverse stepping stones differ by "
            f"{found['direction_gap']:.1f} joint errors (> {gap:g}): neighbouring rungs overlap "
            "too little; add rungs"),
        "bridge": (
            found["bridge_gap"] > apart, "bridge and BAR differ by "
            f"{found['bridge_gap']:.1f} joint errors (> {apart:g}): neither is certain; run "
            "longer"),
        "coverage": (
            found["uncovered"] > coverage,
            f"{found['uncovered']:.0%} of the draws of one half of the run lie where the other "
            f"half has hardly been (> {coverage:.0%}): a mode was found late; run longer"),
        "swap rate": (
            found["lowest_swap_rate"] < swap_rate, "a pair of neighbours exchanges at "
            f"{found['lowest_swap_rate']:.2f} only (< {swap_rate:g}): add rungs there, or let "
            "the ladder be tuned"),
        "trips": (
            found["round_trips"] < trips and len(run.betas) > 1,
            f"{found['round_trips']} round trips between hot and cold (< {trips}): run longer"),
        "rhat": (
            not found["rhat"] <= rhat,
            f"chains have not mixed (R-hat {found['rhat']:.3f} > {rhat:g}): run longer"),
        "ess": (
            found["ess"] < ess,
            f"only {found['ess']:.0f} effective draws (< {ess:g}): run longer")}
    raised = {name: words for name, (on, words) in alarms.items() if on}
    return Diagnosis(not raised, tuple(raised.values()), tuple(raised), **found)


_NO_BRIDGE: dict[str, Any] = {"bridge_gap": 0.0, "uncovered": 0.0}
_KNOWN: WeakKeyDictionary[Run, dict[str, Any]] = WeakKeyDictionary()


def _bridge_numbers(run: Run) -> dict[str, Any]:
    found = bridge(run)
    if found is None:
        return _NO_BRIDGE
    return {"bridge_gap": free_energy(run).apart if len(run.betas) > 1 else 0.0,
            "uncovered": found.uncovered}


def _ladder_numbers(run: Run) -> dict[str, Any]:
    """What the other alarms look at, worked out once for each run."""
    if run not in _KNOWN:
        _KNOWN[run] = _measured(run)
    return _KNOWN[run]


def _measured(run: Run) -> dict[str, Any]:
    swaps = run.swap_rate if len(run.betas) > 1 else np.ones(0)
    cold = run.energy[..., -1]
    quantities = [cold, *(series for _, series in label_free(run))]
    between, gap = _disagreements(run) if len(run.betas) > 1 else (0.0, 0.0)
    peak, peak_error, peak_beta = _heat_capacity_peak(run)
    return {
        "replica_memory": replica_memory(run) if len(run.betas) > 1 else 0.0,
        "heat_capacity_ratio": peak / (0.5 * run.sampled),
        "heat_capacity_error": peak_error, "heat_capacity_beta": peak_beta,
        "between_within": between, "direction_gap": gap,
        "lowest_swap_rate": float(swaps.min()) if len(swaps) else 1.0,
        "barrier": float((1.0 - swaps).sum()), "round_trips": round_trips(run.replica),
        "rhat": max(rank_normalised_rhat(q) for q in quantities),
        "ess": effective_sample_size(cold)}


def _heat_capacity_peak(run: Run) -> tuple[float, float, float]:
    """Largest beta**2 Var U of the colder rungs, its relative error, and its beta."""
    peaks = [float(run.betas[k] ** 2 * run.energy[..., k].var()) for k in colder(run)]
    level = colder(run)[int(np.argmax(peaks))]
    u = run.energy[..., level]
    error = max(series_errors((u - u.mean()) ** 2)[:2])
    relative = error / float(u.var()) if u.var() > 0.0 else 0.0
    return max(peaks), relative, float(run.betas[level])


def _disagreements(run: Run) -> tuple[float, float]:
    """Spread of F between chains over what each claims; forward against reverse stepping stone
    over the colder rungs, in joint errors."""
    sums = summed(run)
    if not np.isfinite(sums.influence).all():  # two neighbours that never met
        return math.inf, math.inf
    claimed = math.sqrt(float(np.mean([chain.var() * autocorrelation_time(chain[None])
                                       for chain in sums.influence])) / run.sweeps)
    spread = float(sums.influence.mean(axis=1).std(ddof=1)) if run.chains > 1 else 0.0
    joint = max(series_errors(sums.cold_influence)[:2])
    return (spread / claimed if claimed > 0.0 else 0.0,
            abs(sums.cold_difference) / joint if joint > 0 else 0.0)


def replica_memory(run: Run) -> float:
    """How much of the energy variance at a rung is a lasting property of the replica.

    At each rung of the colder two thirds the mean energy of every replica is taken in the first
    and in the second half of the run; the covariance of the two halves over replicas, in units
    of Var U, is free of the noise of finite visits.  0 in equilibrium; the largest rung counts.

    Parameters
    ----------
    run : Run

    Returns
    -------
    float

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> line = Model.single(shapes.linear, offset=(-1, 1), slope=(-10, 10))
    >>> data = Data([0, 1, 2], [0.1, 0.9, 2.2], noise=0.5)
    >>> replica_memory(sample(Posterior(line, data), sweeps=1000, seed=1)) < 0.1
    True
    """
    rungs = len(run.betas)
    half = run.sweeps // 2
    if half < 1:
        return 0.0
    worst = 0.0
    offset = (np.arange(run.chains) * rungs)[:, None]
    for level in colder(run):
        u = run.energy[..., level]
        who = run.replica[..., level] + offset
        means, visits = [], []
        for part in (slice(0, half), slice(half, 2 * half)):
            count = np.bincount(who[:, part].ravel(), minlength=run.chains * rungs)
            total = np.bincount(who[:, part].ravel(), u[:, part].ravel(), run.chains * rungs)
            visits.append(count)
            means.append(total / np.maximum(count, 1))
        seen = (visits[0] > 0) & (visits[1] > 0)
        weight = np.where(seen, 1.0 / (1.0 / np.maximum(visits[0], 1)
                                       + 1.0 / np.maximum(visits[1], 1)), 0.0)
        variance = float(u.var())
        if seen.sum() > 1 and variance > 0.0:
            a, b = (m - np.average(m, weights=weight) for m in means)
            worst = max(worst, float(np.average(a * b, weights=weight)) / variance)
    return worst


def round_trips(replica: NDArray[np.int16]) -> int:
    """Journeys from the hot end to the cold end and back, over all replicas and chains.

    Parameters
    ----------
    replica : integer array (chains, sweeps, rungs)
        Which replica sat at each rung.

    Examples
    --------
    >>> swapped = np.array([[[0, 1], [1, 0], [0, 1]]], dtype=np.int16)
    >>> round_trips(swapped)
    1
    """
    sweeps, rungs = replica.shape[1:]
    if rungs < 2:
        return 0
    total = 0
    for chain in replica:
        who = np.stack([chain[:, 0], chain[:, -1]], axis=1).ravel()
        end = np.tile([0, 1], sweeps)
        order = np.argsort(who, kind="stable")  # by replica, then by time
        who, end = who[order], end[order]
        new = np.ones(len(who), dtype=bool)
        new[1:] = (who[1:] != who[:-1]) | (end[1:] != end[:-1])
        who, end = who[new], end[new]
        # Now ends alternate within a replica: count hot, cold, hot.
        total += int(np.sum((who[2:] == who[:-2]) & (end[2:] == 0)))
    return total


def effective_sample_size(series: Array) -> float:
    """Number of independent draws that the series is worth, all chains together.

    Parameters
    ----------
    series : array (chains, sweeps)

    Examples
    --------
    >>> white = np.random.default_rng(0).normal(size=(4, 1000))
    >>> 3000 < effective_sample_size(white) < 5500
    True
    """
    return series.size / autocorrelation_time(series)


def rank_normalised_rhat(series: Array) -> float:
    """Split R-hat of rank-normalised draws, the larger of bulk and tails (Vehtari et al. 2021).

    Parameters
    ----------
    series : array (chains, sweeps)

    Returns
    -------
    float
        1 where the chains agree; infinite for fewer than 4 sweeps.

    Examples
    --------
    >>> white = np.random.default_rng(0).normal(size=(4, 1000))
    >>> round(rank_normalised_rhat(white), 2)
    1.0
    """
    half = series.shape[1] // 2
    if half < 2:
        return math.inf
    split = np.concatenate([series[:, :half], series[:, -half:]])
    folded = np.abs(split - np.median(split))
    return max(_rhat(_normal_scores(split)), _rhat(_normal_scores(folded)))


def _normal_scores(values: Array) -> Array:
    from scipy.special import ndtri

    flat = values.ravel()
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    # Equal values share the mean of their ranks.
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(first, len(flat)))
    ranks = np.empty(len(flat))
    ranks[order] = np.repeat(first + 0.5 * (sizes + 1), sizes)
    return np.asarray(ndtri((ranks - 0.375) / (len(flat) + 0.25))).reshape(values.shape)


def _rhat(scores: Array) -> float:
    length = scores.shape[1]
    within = float(scores.var(axis=1, ddof=1).mean())
    between = float(scores.mean(axis=1).var(ddof=1))
    if within == 0.0:
        return 1.0 if between == 0.0 else math.inf
    return math.sqrt((length - 1) / length + between / within)


def label_free(run: Run) -> Iterator[tuple[str, Array]]:
    """Quantities at beta = 1 that do not depend on how exchangeable components are numbered.

    Parameters of single terms as they are; of K components the mean over the components.
    """
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(run.posterior.names):
        match = COMPONENT.match(name)
        key = f"mean {match.group(1)}_{match.group(3)}" if match else name
        groups.setdefault(key, []).append(i)
    for key, columns in groups.items():
        yield key, run.draws[..., columns].mean(axis=-1)
