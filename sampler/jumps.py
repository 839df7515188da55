"""Jumps between modes: an independence move from densities fitted to the run itself.

A walk that changes one parameter at a time seldom crosses between modes and crawls along
correlated directions.  So for the colder three quarters of the ladder a mixture of Student t
densities (`sampler.mixture`) is fitted, rung by rung, to the draws of all chains of the burn-in,
and frozen; then every sweep tries one draw of it for all parameters at once, accepted with
probability ``min(1, p(new) q(old) / p(old) q(new))`` (Tierney, Annals of Statistics 22 (1994)
1701).  Because the draws of all chains are pooled, what one chain has found is offered to all.
A rung keeps its jumps where more than one try in ten is accepted: above the true number of
components none is, and nothing is spent on it.

Coordinates: a parameter with two bounds as the logit of its place between them, one with a single
bound as the log of the distance to it, one without as it is; LogUniform and InverseGamma start
from the log of the parameter.  Labels: components of an exchangeable group are put in order
(`sampler.labels`), so that one ordering is fitted and jumped to, and numbered at random
afterwards.  One part in twenty is as broad as the prior.

A mode that no replica ever met is in no fit (`sampler.diagnostics` says where that begins).  Two
ways to meet more were measured and did not pay.  *One component put anew*, all its parameters drawn
from the prior, on every rung and sweep: with one and two components too many F by the bridge
scattered as before, at one and a half times the cost; a mode with 4e-4 of the prior was found by
38 of 40 default runs with it (in the burn-in) and by 28 of 30 without.  *Scouts*, fresh draws of
the prior quenched to beta = 1 for a twentieth of the burn-in, the deepest handed to each chain: a
spike of volume e**-11.6 was found by 16 of 30 runs instead of 9, as many runs as before (11) missed
it in silence, and of 90 runs on two hills that were right 12 distrusted themselves instead of 1.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sampler import philox
from sampler.kernels.problem import Problem
from sampler.labels import exchangeable, fold
from sampler.mixture import FREEDOM, PRIOR_SHARE, fit_mixture
from sampler.posterior import Posterior
from sampler.priors import INVERSE_GAMMA, LOG_UNIFORM, Bernoulli

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
PARTS = 6          # most fitted parts of a rung
KEPT = 0.1         # accepted share above which a rung goes on jumping
CLOSE = 0.01       # gain (nats a draw) at which a fit has settled
PRIOR_DRAWS = 512  # that the broad part is made of
FARTHEST = 40.0    # a draw on the edge of its range counts as this far out (e**-40 of the range)


class Jumps(NamedTuple):
    """The frozen densities as the kernels see them: M parts in P dimensions on each of L rungs."""

    on: IntArray       # (L,) 1 where the rung jumps
    edge: Array        # (L, M) cumulative weights
    height: Array      # (L, M) ln of the weight times the peak of the part's density
    mean: Array        # (L, M, P)
    root: Array        # (L, M, P, P) lower Cholesky factors of the scale matrices
    bounds: Array      # (P, 2) in the coordinate of the walk, infinite where there is none
    logarithmic: IntArray  # (P,) 1 where that coordinate is a logarithm
    groups: IntArray   # (G, 3) components, parameters of each, offset in `members`
    members: IntArray  # places in theta: for each parameter of a group its K places, the key first


def nowhere(posterior: Posterior, problem: Problem, rungs: int) -> Jumps:
    """No rung jumps; the tables that do not depend on a fit.

    Parameters
    ----------
    posterior : Posterior
    problem : Problem
    rungs : int

    Returns
    -------
    Jumps
    """
    d = posterior.dimension
    logarithmic = np.isin(problem.kind, (LOG_UNIFORM, INVERSE_GAMMA))
    with np.errstate(divide="ignore", invalid="ignore"):
        bounds = np.where(logarithmic[:, None], np.log(problem.prior[:, 2:4]),
                          problem.prior[:, 2:4])
    ordered = [{posterior.names.index(n) for n in group} for group in posterior.orderings]
    groups: list[list[int]] = []
    members: list[int] = []
    for group in exchangeable(posterior):
        keys = group.columns[group.key]
        if any(set(keys) <= order for order in ordered):
            continue                # an ordered prior has only the one ordering
        rows = [keys, *(places for name, places in group.columns.items() if name != group.key)]
        groups.append([group.size, len(rows), len(members)])
        members += [place for row in rows for place in row]
    return Jumps(np.zeros(rungs, dtype=np.int64), np.zeros((rungs, 0)), np.zeros((rungs, 0)),
                 np.zeros((rungs, 0, d)), np.zeros((rungs, 0, d, d)),
                 np.ascontiguousarray(bounds), logarithmic.astype(np.int64),
                 np.array(groups, dtype=np.int64).reshape(-1, 3),
                 np.array(members, dtype=np.int64))


def possible(posterior: Posterior) -> bool:
    """Whether all parameters are continuous."""
    return posterior.dimension > 0 and not any(
        isinstance(prior, Bernoulli) for prior in posterior.priors.values())


def coordinates(jumps: Jumps, theta: Array) -> Array:
    """Parameters (..., P) in the coordinates of the fit, within +-`FARTHEST` where bounded."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(jumps.logarithmic == 1, np.log(theta), theta)
        lo, hi = jumps.bounds.T
        low, high = np.isfinite(lo), np.isfinite(hi)
        below = np.where(low, np.log(x - np.where(low, lo, 0.0)), 0.0)
        above = np.where(high, np.log(np.where(high, hi, 0.0) - x), 0.0)
        inner = np.clip(np.nan_to_num(below - above, nan=0.0), -FARTHEST, FARTHEST)
    return np.asarray(np.where(low & high, inner, np.where(
        low | high, np.nan_to_num(below - above, neginf=-700.0, posinf=700.0), x)))


def fit_jumps(posterior: Posterior, jumps: Jumps, thetas: Array, wanted: Any, seed: int,
              number: int) -> Jumps:
    """Densities of the wanted rungs, fitted to their draws.

    Parameters
    ----------
    posterior : Posterior
    jumps : Jumps
        Its tables are taken over.
    thetas : array (draws, rungs, parameters)
        Of all chains.
    wanted : array (rungs,) of bool
    seed : int
    number : int
        Of the fit, so that no two use the same random numbers.

    Returns
    -------
    Jumps
    """
    rungs, d = thetas.shape[1:]
    edge, height = np.ones((rungs, PARTS + 1)), np.full((rungs, PARTS + 1), -np.inf)
    mean = np.zeros((rungs, PARTS + 1, d))
    root = np.broadcast_to(np.eye(d), (rungs, PARTS + 1, d, d)).copy()
    wide = coordinates(jumps, posterior.draw_prior(PRIOR_DRAWS))
    groups = exchangeable(posterior)
    key = philox.stream_key(seed, philox.FIT, number)
    uniform = philox.uniforms(0, 0, np.arange(PARTS), key)[0]
    found = None
    for level in np.flatnonzero(wanted)[::-1]:
        # From cold to hot, each from where its colder neighbour ended.
        t = coordinates(jumps, fold(groups, thetas[:, level]))
        found = fit_mixture(t, PARTS, uniform, start=found, close=CLOSE)
        n = len(found.weight)
        weight = np.append(found.weight, PRIOR_SHARE)
        edge[level, :n + 1] = np.cumsum(weight)
        mean[level, :n], root[level, :n] = found.mean, found.root
        # The broad part: as wide as draws of the prior, a tenth more for its tails.
        mean[level, n] = wide.mean(axis=0)
        root[level, n] = np.diag(1.1 * wide.std(axis=0) * math.sqrt(1.0 - 2.0 / FREEDOM))
        volume = np.log(np.diagonal(root[level, :n + 1], axis1=1, axis2=2)).sum(axis=1)
        height[level, :n + 1] = (
            np.log(weight) - volume + math.lgamma(0.5 * (FREEDOM + d))
            - math.lgamma(0.5 * FREEDOM) - 0.5 * d * math.log(FREEDOM * math.pi))
    edge[:, -1] = 1.0
    return jumps._replace(on=np.asarray(wanted, dtype=np.int64), edge=edge, height=height,
                          mean=mean, root=root)
