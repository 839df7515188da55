"""A mixture of Student t densities fitted to draws: the importance density of the bridge.

Student's t with 6 degrees of freedom has tails that a posterior hardly ever exceeds.  One part of
the mixture is the prior itself, so that no place the prior allows is ever without density.  Fitted
by expectation maximisation (Liu and Rubin, Statistica Sinica 5 (1995) 19) in the logit coordinate
of `sampler.cube`, where the prior is a product of logistic densities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampler.cube import log_prior

Array = NDArray[np.float64]
FREEDOM = 6.0         # degrees of freedom of every part
PRIOR_SHARE = 0.05    # weight of the prior
ROUNDS = 100
CLOSE = 1e-3          # gain of the mean log density (nats a draw) at which a fit has settled


@dataclass(frozen=True, eq=False)
class Mixture:
    """K parts in d dimensions, and the prior.

    Parameters
    ----------
    weight : array (K,)
        Sums to 1 - `PRIOR_SHARE`.
    mean : array (K, d)
    root : array (K, d, d)
        Lower Cholesky factors of the scale matrices.
    orderings : float
        Number of orderings that were folded into one; the prior part is that many times denser.
    """

    weight: Array
    mean: Array
    root: Array
    orderings: float

    def log_density(self, t: Array) -> Array:
        """ln q at points t (n, d), array (n,).  Of the folded region only: t is taken as sorted."""
        parts = np.log(self.weight) + _log_t(t, self.mean, self.root)
        hot = math.log(PRIOR_SHARE * self.orderings) + log_prior(t).sum(axis=1)
        return np.asarray(np.logaddexp(np.logaddexp.reduce(parts, axis=1), hot))

    def draw(self, uniform: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Points (n, d) from uniforms (n, 2 d + 4), and which of them are draws of the prior.

        The prior's draws are those of all orderings; sort them.
        """
        d = self.mean.shape[1]
        edges = np.append(np.cumsum(self.weight), 1.0)
        part = np.minimum(np.searchsorted(edges, uniform[:, 0], side="right"), len(self.weight))
        hot = part == len(self.weight)
        part = np.where(hot, 0, part)
        # Box and Muller; the chi-square of an even number of degrees is a sum of exponentials.
        size = np.sqrt(-2.0 * np.log(uniform[:, 4:4 + d]))
        normal = size * np.cos(2.0 * math.pi * uniform[:, 4 + d:])
        chi2 = -2.0 * np.log(uniform[:, 1:4]).sum(axis=1)
        step = np.einsum("nij,nj->ni", self.root[part], normal)
        t = self.mean[part] + step * np.sqrt(FREEDOM / chi2)[:, None]
        u = uniform[:, 4:4 + d]
        return np.where(hot[:, None], np.log(u) - np.log1p(-u), t), hot


def fit_mixture(t: Array, parts: int, uniform: Array, orderings: float = 1.0, *,
                start: Mixture | None = None, close: float = CLOSE) -> Mixture:
    """Fit a mixture to draws.

    Parameters
    ----------
    t : array (n, d)
        Draws in the logit coordinate.
    parts : int
        Most parts; fewer where draws are few or parts die out.
    uniform : array (parts,)
        Random numbers that choose the starting centres.
    orderings : float
        See `Mixture`.
    start : Mixture, optional
        Begin there, with its number of parts, instead of at chosen centres.
    close : float
        Gain of the mean log density (nats a draw) at which to stop.

    Returns
    -------
    Mixture

    Examples
    --------
    >>> g = np.random.default_rng(0)
    >>> t = np.concatenate([g.normal(-5, 1, (700, 1)), g.normal(5, 0.5, (300, 1))])
    >>> found = fit_mixture(t, 2, g.random(2))
    >>> sorted((found.weight / 0.95).round(2).tolist())
    [0.3, 0.7]
    """
    n, d = t.shape
    centre, spread = t.mean(axis=0), np.maximum(t.std(axis=0), 1e-12)
    z = (t - centre) / spread
    if start is None:
        parts = max(1, min(parts, n // (4 * (d + 1))))
        mean = _far_apart(z, parts, uniform)
        root = np.broadcast_to(np.linalg.cholesky(_covariance(z, np.ones(n), z.mean(axis=0))),
                               (parts, d, d)) * parts ** (-1.0 / d)
        weight = np.full(parts, 1.0 / parts)
    else:
        mean, root = (start.mean - centre) / spread, start.root / spread[:, None]
        weight = start.weight / start.weight.sum()
    before = -math.inf
    for _ in range(ROUNDS):
        distance = _distance(z, mean, root)
        joint = np.log(weight) + _log_t_of(distance, root)
        total = np.logaddexp.reduce(joint, axis=1)
        share = np.exp(joint - total[:, None])
        pull = share * (FREEDOM + d) / (FREEDOM + distance)
        keep = share.sum(axis=0) > 2.0 * (d + 1)
        if not keep.all() and keep.any():
            weight, mean, root = weight[keep] / weight[keep].sum(), mean[keep], root[keep]
            before = -math.inf
            continue
        mean = (np.einsum("nk,nd->kd", pull, z) / pull.sum(axis=0)[:, None])
        root = np.stack([np.linalg.cholesky(
            _covariance(z, pull[:, k], mean[k]) * pull[:, k].sum() / share[:, k].sum()
            + 1e-9 * np.eye(d)) for k in range(len(weight))])
        weight = share.mean(axis=0)
        after = float(total.mean())
        if after - before < close:
            break
        before = after
    return Mixture((1.0 - PRIOR_SHARE) * weight, centre + spread * mean,
                   spread[None, :, None] * root, orderings)


def _far_apart(z: Array, parts: int, uniform: Array) -> Array:
    """Starting centres, each drawn by its squared distance from those before (k-means++)."""
    chosen = [z[int(uniform[0] * len(z))]]
    nearest = np.full(len(z), np.inf)
    for u in uniform[1:parts]:
        nearest = np.minimum(nearest, ((z - chosen[-1]) ** 2).sum(axis=1))
        chosen.append(z[min(int(np.searchsorted(np.cumsum(nearest), u * nearest.sum())),
                            len(z) - 1)])
    return np.array(chosen)


def _covariance(z: Array, weight: Array, mean: Array) -> Array:
    gap = z - mean
    # Not by a threaded matrix product: the last digits must not depend on the number of threads.
    return np.asarray(np.einsum("ni,nj->ij", weight[:, None] * gap, gap) / weight.sum()
                      + 1e-12 * np.eye(z.shape[1]))


def _distance(t: Array, mean: Array, root: Array) -> Array:
    """Squared Mahalanobis distances (n, K)."""
    inverse = np.linalg.inv(root)
    out = np.empty((len(t), len(mean)))
    for k in range(len(mean)):
        out[:, k] = (np.einsum("nj,ij->ni", t - mean[k], inverse[k]) ** 2).sum(axis=1)
    return out


def _log_t(t: Array, mean: Array, root: Array) -> Array:
    return _log_t_of(_distance(t, mean, root), root)


def _log_t_of(distance: Array, root: Array) -> Array:
    d = root.shape[1]
    volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    return np.asarray(
        math.lgamma(0.5 * (FREEDOM + d)) - math.lgamma(0.5 * FREEDOM)
        - 0.5 * d * math.log(FREEDOM * math.pi) - volume
        - 0.5 * (FREEDOM + d) * np.log1p(distance / FREEDOM))
