"""Which columns of a linear model are needed?  The mean-field answer, to be compared with ours.

Spike and slab: y = sum_j g_j h_j x_j + background + noise, with g_j ~ Bernoulli(rho) and
h_j ~ N(0, tau**2).  Instead of the law of all 2**m combinations, the best product of independent
laws, one for each column, is looked for by coordinate ascent (CAVI; Titsias and Lazaro-Gredilla,
NIPS 24 (2011) 2339; Carbonetto and Stephens, Bayesian Anal. 7 (2012) 73):

    s_j**2   = 1 / (G_jj + 1/tau**2)
    mu_j     = s_j**2 (b_j - sum_{k != j} G_jk alpha_k mu_k)
    logit alpha_j = logit rho + ln(s_j/tau) + mu_j**2 / (2 s_j**2)

G and b are the products of columns and data, the background integrated out of both.  Every update
raises a lower bound of ln Z; what it cannot see is that two columns exclude each other.

The same code runs on NumPy and on CuPy arrays, and on many measurements at once: it takes its
functions from the arrays it is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, eq=False)
class Products:
    """What the data say, in m columns, for B measurements on the same positions."""

    gram: Any       # (m, m)
    pull: Any       # (B, m)
    log_empty: Any  # (B,) ln Z with no column in (nats)


@dataclass(frozen=True, eq=False)
class MeanField:
    """The best product law of each of B measurements."""

    inclusion: Any  # (B, m) alpha, probability that a column is in
    mean: Any       # (B, m) mu, of its amplitude if it is in
    sd: Any         # (m,) s
    bound: Any      # (B,) lower bound of ln Z (nats)
    sweeps: int


def products(columns: Any, y: Any, sigma: float, background: Any, background_sd: float) -> Products:
    """Gram matrix and right-hand sides, the background integrated out.

    Parameters
    ----------
    columns : array (n, m)
    y : array (B, n)
    sigma : float
        Standard deviation of the noise, unit of y.
    background : array (n, c)
        Columns that are always in.
    background_sd : float
        Standard deviation of their normal prior around 0.

    Returns
    -------
    Products
    """
    xp = array_module(columns)
    n = columns.shape[0]
    A = background * (background_sd / sigma)
    root = xp.linalg.cholesky(xp.eye(A.shape[1]) + A.T @ A)

    def projected(v: Any) -> Any:
        """L^-1 A' v: what the background takes away of a product."""
        return xp.linalg.solve(root, A.T @ v)

    X, Y = columns / sigma, y.T / sigma
    of_x, of_y = projected(X), projected(Y)
    square = (Y**2).sum(axis=0) - (of_y**2).sum(axis=0)
    log_det = xp.log(xp.diagonal(root)).sum() + n * math.log(sigma)
    return Products(X.T @ X - of_x.T @ of_x, (X.T @ Y - of_x.T @ of_y).T,
                    -0.5 * square - log_det - 0.5 * n * math.log(2.0 * math.pi))


def mean_field(data: Products, rho: float, tau: float, start: Any = None,
               tolerance: float = 1e-8, most: int = 1000) -> MeanField:
    """Coordinate ascent until no inclusion moves by more than the tolerance.

    Parameters
    ----------
    data : Products
    rho : float
        Prior probability that a column is in.
    tau : float
        Prior standard deviation of an amplitude.
    start : array (B, m), optional
        Inclusions to start from; rho if not given.
    tolerance : float
    most : int
        Sweeps at most.

    Returns
    -------
    MeanField

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 1, 50)
    >>> columns = np.stack([np.cos(3 * x), np.sin(40 * x)], axis=1)
    >>> data = products(columns, 0.5 * columns[:, 0][None], 0.1, np.ones((50, 1)), 10.0)
    >>> mean_field(data, rho=0.1, tau=1.0).inclusion.round(1).tolist()
    [[1.0, 0.0]]
    """
    xp = array_module(data.gram)
    G, b = data.gram, data.pull
    m = G.shape[0]
    variance = 1.0 / (xp.diagonal(G) + tau**-2)
    alpha = xp.full(b.shape, rho) if start is None else xp.array(start, dtype=float)
    mu = variance * b
    omega = alpha * mu
    odds = math.log(rho / (1.0 - rho)) + 0.5 * xp.log(variance / tau**2)
    sweeps, moved = 0, math.inf
    while sweeps < most and moved >= tolerance:
        sweeps, before = sweeps + 1, alpha.copy()
        for j in range(m):
            mu[:, j] = variance[j] * (b[:, j] - omega @ G[:, j] + G[j, j] * omega[:, j])
            alpha[:, j] = _expit(xp, odds[j] + 0.5 * mu[:, j] ** 2 / variance[j])
            omega[:, j] = alpha[:, j] * mu[:, j]
        moved = float(xp.abs(alpha - before).max())
    return MeanField(alpha, mu, xp.sqrt(variance),
                     lower_bound(data, rho, tau, alpha, mu, variance), sweeps)


def lower_bound(data: Products, rho: float, tau: float, alpha: Any, mu: Any, variance: Any) -> Any:
    """ln Z minus the divergence of the product law from the posterior, array (B,).

    Parameters
    ----------
    data : Products
    rho, tau : float
    alpha, mu : arrays (B, m)
    variance : array (m,)
    """
    xp = array_module(data.gram)
    omega, own = alpha * mu, xp.diagonal(data.gram)
    fit = ((omega * data.pull).sum(axis=1) - 0.5 * ((omega @ data.gram) * omega).sum(axis=1)
           - 0.5 * (own * (alpha * (mu**2 + variance) - omega**2)).sum(axis=1))
    slab = 0.5 * alpha * (1.0 + xp.log(variance / tau**2) - (variance + mu**2) / tau**2)
    tiny = 1e-300
    out = 1.0 - alpha
    entropy = (alpha * (xp.log(alpha + tiny) - math.log(rho))
               + out * (xp.log(out + tiny) - math.log1p(-rho)))
    return data.log_empty + fit + (slab - entropy).sum(axis=1)


def _expit(xp: Any, t: Any) -> Any:
    return 1.0 / (1.0 + xp.exp(-xp.clip(t, -700.0, 700.0)))


def array_module(array: Any) -> Any:
    """numpy for a NumPy array, cupy for a CuPy one.

    Parameters
    ----------
    array : array
    """
    return import_module(type(array).__module__.split(".")[0])
