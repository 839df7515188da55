r"""The whole law of the energy on a rung: what the energies of a tempered sampler must look like.

Under a Gaussian prior U on the rung beta is a constant plus half a weighted sum of noncentral
chi-squares; its Laplace transform is E exp(-sU) = Z(beta + s) / Z(beta), so that the free energy of
`theory.evidence` holds it all.  There is no closed form of the distribution; it is inverted along
Talbot's contour (J. Inst. Maths Applics 23 (1979) 97), which converges geometrically because every
singularity of Z lies at real negative beta.  Where the prior is wide the sum is a plain one,

    U - U_min ~ Gamma(d/2, rate beta),

by the same transform: (beta / (beta + s))^(d/2).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError, finite, positive
from theory.evidence import LinearRegression, heat_capacity, log_partition, mean_energy

Array = NDArray[np.float64]


def energy_cumulative(problem: LinearRegression, energy: ArrayLike, beta: float = 1.0) -> Any:
    """P(U <= energy) on a rung, Gaussian prior, any temperature.

    Parameters
    ----------
    problem : LinearRegression
    energy : float or array
        Dimensionless.
    beta : float
        Inverse temperature, >= 0.

    Returns
    -------
    float or array

    Raises
    ------
    ArithmeticError
        If the inversion does not settle to 1e-8.

    Examples
    --------
    >>> wide = LinearRegression(np.eye(2), [0.0, 0.0], 1.0, 0.0, 1e12)
    >>> round(float(energy_cumulative(wide, 1.0)), 9) == round(1 - math.exp(-1), 9)
    True
    """
    u = finite("energy", energy, np.ndim(energy))
    b = float(positive("beta", finite("beta", beta, 0), zero=True))
    above = u.ravel() - problem.residual_energy
    out = np.zeros(above.shape)
    inside = above > 0.0
    if np.any(inside):
        coarse, fine = (_inverted(problem, b, above[inside], nodes) for nodes in (24, 32))
        gap = float(np.max(np.abs(fine - coarse)))
        if not gap < 1e-8:
            raise ArithmeticError(f"energy_cumulative at beta = {b}: two inversions differ by "
                                  f"{gap:.1g}; the prior and the data disagree too much for it")
        out[inside] = np.clip(fine, 0.0, 1.0)
    return out.reshape(u.shape) if u.ndim else float(out[0])


def _inverted(problem: LinearRegression, beta: float, above: Array, nodes: int) -> Array:
    """Inverse Laplace transform of Z(beta + s) / (Z(beta) s) on the cotangent contour.

    Trefethen, Weideman and Schmelzer, BIT 46 (2006) 653, eq. 3.1: the error falls like 3.89^-nodes.
    """
    theta = (2 * np.arange(nodes) + 1) * math.pi / nodes - math.pi
    cot = 1.0 / np.tan(0.6407 * theta)
    z = nodes * (0.5017 * theta * cot - 0.6122 + 0.2645j * theta)
    slope = nodes * (0.5017 * cot - 0.5017 * 0.6407 * theta / np.sin(0.6407 * theta) ** 2 + 0.2645j)
    s = z / above[:, None]
    # U_min is taken out of both: what is left is the energy above it.
    rest = problem.residual_energy
    log_ratio = (log_partition(problem, beta + s) + (beta + s) * rest
                 - log_partition(problem, beta) - beta * rest)
    terms = np.exp(z + log_ratio) / s * slope / above[:, None]
    return np.asarray((terms.sum(axis=1) / (1j * nodes)).real)


def wide_energy_cumulative(dimension: int, energy: ArrayLike, least: float = 0.0,
                           beta: float = 1.0) -> Any:
    """P(U <= energy) on a rung of d regular parameters whose prior is wide: a gamma law.

    Parameters
    ----------
    dimension : int
        d.
    energy : float or array
        Dimensionless.
    least : float
        U at the least squares estimate.
    beta : float
        Inverse temperature, > 0.

    Returns
    -------
    float or array

    Examples
    --------
    >>> round(float(wide_energy_cumulative(2, 1.5, 0.5)), 12) == round(1 - math.exp(-1), 12)
    True
    """
    from scipy.special import gammainc

    if isinstance(dimension, bool) or not isinstance(dimension, int | np.integer) or dimension < 1:
        raise DomainError("dimension", repr(dimension), "a whole number of 1 or more")
    u = finite("energy", energy, np.ndim(energy)) - float(finite("least", least, 0))
    return gammainc(0.5 * dimension, float(positive("beta", beta)) * np.maximum(u, 0.0))


def energy_score(problem: LinearRegression, mean: float, n_effective: float,
                 beta: float = 1.0) -> float:
    """How many exact standard errors a sampler's mean energy on a rung is off.

    (mean - <U>) / sqrt(Var U / n_effective), with the exact variance C / beta^2: of the sampler's
    own claims only its number of independent draws enters.

    Parameters
    ----------
    problem : LinearRegression
    mean : float
        The sampler's mean of U.
    n_effective : float
        Its number of independent draws.
    beta : float
        Inverse temperature, > 0.

    Returns
    -------
    float
        Standard normal, about, if the sampler is right.

    Examples
    --------
    >>> problem = LinearRegression([[1.0], [1.0]], [0.2, 0.4], prior_covariance=1e8)
    >>> round(energy_score(problem, 0.61, 50.0), 6)            # 0.1 off, sd sqrt(1/2) / sqrt(50)
    1.0
    """
    b = float(positive("beta", finite("beta", beta, 0)))
    n = float(positive("n_effective", finite("n_effective", n_effective, 0)))
    error = math.sqrt(float(heat_capacity(problem, b)) / n) / b
    return (float(finite("mean", mean, 0)) - float(mean_energy(problem, b))) / error
