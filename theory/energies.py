r"""The whole law of the energy on a rung: what the energies of a tempered sampler must look like.

Under a Gaussian prior U on the rung beta is a constant plus half a weighted sum of noncentral
chi-squares (`energy_law`); its transform is E exp(-sU) = Z(beta + s) / Z(beta), so that the free
energy of `theory.evidence` holds it all.  The distribution is that of `theory.quadratic`, and so is
that of the difference of two rungs' energies, which decides their exchange (`exchange_acceptance`).
Where the prior is wide the sum is a plain one,

    U - U_min ~ Gamma(d/2, rate beta),

by the same transform: (beta / (beta + s))^(d/2).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError, finite, positive_number, two_rungs, whole
from theory.evidence import LinearRegression, heat_capacity, mean_energy
from theory.quadratic import Quadratic, cumulative

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
        If the inversion does not settle to 1e-9.

    Examples
    --------
    >>> wide = LinearRegression(np.eye(2), [0.0, 0.0], 1.0, 0.0, 1e12)
    >>> round(float(energy_cumulative(wide, 1.0)), 9) == round(1 - math.exp(-1), 9)
    True
    """
    return cumulative(energy_law(problem, beta), energy)


def energy_law(problem: LinearRegression, beta: float = 1.0) -> Quadratic:
    """The law of U on a rung as a quadratic form of normal numbers.

    In a mode z is normal on the rung, of mean beta sqrt(kappa) c / (1 + beta kappa) and variance
    1 / (1 + beta kappa), and U = (sqrt(kappa) z - c)^2 / 2: weight kappa / (1 + beta kappa).

    Parameters
    ----------
    problem : LinearRegression
    beta : float
        Inverse temperature, >= 0.

    Returns
    -------
    theory.quadratic.Quadratic
        With its mean and variance; `theory.quadratic` has its density.

    Raises
    ------
    DomainError
        If no parameter changes the energy.

    Examples
    --------
    >>> problem = LinearRegression([[1.0], [1.0]], [0.2, 0.4])
    >>> abs(energy_law(problem).mean - float(mean_energy(problem))) < 1e-12
    True
    """
    b = positive_number("beta", beta, zero=True)
    kappa, c = problem.eigenvalues, problem.components
    seen = kappa > 0.0
    if not np.any(seen):
        raise DomainError("problem", "a design of zeros", "an energy that depends on a parameter")
    weights = kappa[seen] / (1.0 + b * kappa[seen])
    # What the data say of a mode and no parameter mends is constant.
    constant = problem.residual_energy + 0.5 * float(np.sum(c[~seen] ** 2))
    return Quadratic(constant, weights, -c[seen] / np.sqrt(weights) / (1.0 + b * kappa[seen]))


def exchange_acceptance(problem: LinearRegression, beta1: float, beta2: float) -> float:
    """Exchange rate of two rungs, A = 2 P(U1 < U2), at any distance of prior and data.

    The difference of two energies is a quadratic form with weights of both signs; the same number
    as `theory.exchange_rate.acceptance`, which needs Z only.

    Parameters
    ----------
    problem : LinearRegression
    beta1, beta2 : float
        Inverse temperatures, 0 <= beta1 < beta2.

    Returns
    -------
    float

    Raises
    ------
    DomainError
        If beta1 >= beta2.

    Examples
    --------
    >>> far = LinearRegression([[1.0], [1.0]], [50.0, 50.0])         # 50 prior widths away
    >>> round(exchange_acceptance(far, 0.9, 1.0), 6)
    0.151952
    """
    hot, cold = (energy_law(problem, beta) for beta in two_rungs(beta1, beta2))
    gap = Quadratic(0.0, np.concatenate([hot.weights, -cold.weights]),
                    np.concatenate([hot.shifts, cold.shifts]))
    return 2.0 * float(cumulative(gap, 0.0))


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

    d = whole("dimension", dimension, 1)
    u = finite("energy", energy, np.ndim(energy)) - float(finite("least", least, 0))
    return gammainc(0.5 * d, positive_number("beta", beta) * np.maximum(u, 0.0))


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

    Raises
    ------
    DomainError
        If no parameter changes the energy.

    Examples
    --------
    >>> problem = LinearRegression([[1.0], [1.0]], [0.2, 0.4], prior_covariance=1e8)
    >>> round(energy_score(problem, 0.61, 50.0), 6)            # 0.1 off, sd sqrt(1/2) / sqrt(50)
    1.0
    """
    b = positive_number("beta", beta)
    n = positive_number("n_effective", n_effective)
    error = math.sqrt(float(heat_capacity(problem, b)) / n) / b
    if not error > 0.0:
        raise DomainError("problem", "an energy that no parameter changes",
                          "an energy that scatters: its mean is scored by that")
    return (float(finite("mean", mean, 0)) - float(mean_energy(problem, b))) / error
