r"""Exact Bayes free energy of linear regression with Gaussian noise and a Gaussian prior.

The model is y = X theta + n, n_i ~ N(0, s_i^2), theta ~ N(m0, S0), for any design matrix X.
In this house

    U(theta) = sum_i (y_i - (X theta)_i)^2 / (2 s_i^2),     p_beta ~ prior * exp(-beta U),
    F~(beta) = -ln of the integral of prior * exp(-beta U),
    F        = F~(1) + sum_i ln(2 pi s_i^2) / 2.

Whitening the prior (theta = m0 + L z, S0 = L L^T) and the singular value decomposition of
X L / s split the integral into independent one-dimensional ones, a *mode* each, with an
eigenvalue kappa (how often the data are more precise than the prior) and a component c of the
data.  `derivation` does that one integral in sympy, step by step; every number of this module
comes from its lambdified results, summed over the modes.  How many digits a free energy keeps is
said in `theory.rounding`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError, finite, positive, positive_number, regression, squarable
from theory.rounding import condition, error_bound, residual, tell
from theory.stacked import fit

Array = NDArray[np.float64]


class Derivation(NamedTuple):
    """The steps from the integral of one mode to its free energy, as sympy expressions."""

    integrand: Any       # prior density of z times exp(-beta U)
    square: Any          # its exponent with the square in z completed
    partition: Any       # Z(beta), the integral over z
    free_energy: Any     # F~ = -ln Z
    mean_energy: Any     # <U> = d F~ / d beta
    heat_capacity: Any   # C = beta^2 Var U = -beta^2 d^2 F~ / d beta^2


@cache
def derivation() -> Derivation:
    """Integrate one mode in sympy: z ~ N(0, 1), U = (sqrt(kappa) z - c)^2 / 2.

    Returns
    -------
    Derivation
        Expressions in the symbols ``z``, ``beta``, ``kappa`` (positive) and ``c`` (real).

    Examples
    --------
    >>> derivation().partition
    exp(-beta*c**2/(2*beta*kappa + 2))/sqrt(beta*kappa + 1)
    >>> derivation().mean_energy
    c**2/(2*(beta*kappa + 1)**2) + kappa/(2*(beta*kappa + 1))
    """
    import sympy as sp

    beta, kappa = sp.symbols("beta kappa", positive=True)
    z, c = sp.symbols("z c", real=True)
    energy = (sp.sqrt(kappa) * z - c) ** 2 / 2
    integrand = sp.exp(-z**2 / 2 - beta * energy) / sp.sqrt(2 * sp.pi)
    # Completing the square: exponent = -(1 + beta kappa) (z - mean)^2 / 2 + rest.
    precision = 1 + beta * kappa
    mean = beta * sp.sqrt(kappa) * c / precision
    rest = -beta * c**2 / (2 * precision)
    square = -precision * (z - mean) ** 2 / 2 + rest
    # What is left is the integral of a normal density; its variance is 1 / precision.
    width = sp.Symbol("width", positive=True)
    gauss = sp.integrate(sp.exp(-z**2 / (2 * width**2)), (z, -sp.oo, sp.oo))
    partition = (gauss / sp.sqrt(2 * sp.pi)).subs(width, 1 / sp.sqrt(precision)) * sp.exp(rest)
    free = sp.log(precision) / 2 - rest
    # Prior and data apart: powers of c, each coefficient in lowest terms.
    mean_energy, heat = (sp.collect(sp.expand(term), c, sp.factor) for term in (
        sp.diff(free, beta), -(beta**2) * sp.diff(free, beta, 2)))
    return Derivation(integrand, square, partition, free, mean_energy, heat)


@cache
def _numbers(name: str) -> Callable[..., Any]:
    """One result of the derivation as a NumPy function of (beta, kappa, c), complex beta too."""
    import sympy as sp
    from sympy.codegen.cfunctions import log1p

    beta, kappa = sp.symbols("beta kappa", positive=True)
    c = sp.Symbol("c", real=True)
    # log(1 + u) would lose the digits of a small u near the prior.
    expression = getattr(derivation(), name).subs(sp.log(1 + beta * kappa), log1p(beta * kappa))
    function: Callable[..., Any] = sp.lambdify((beta, kappa, c), expression, modules="numpy")
    return function


@dataclass(frozen=True, eq=False)
class LinearRegression:
    """A linear model with Gaussian noise and a Gaussian prior, and its data.

    Parameters
    ----------
    design : array (points, parameters)
        X; column j is the model's response to parameter j.
    y : array (points,)
        The data.
    noise : float or array (points,)
        Standard deviation of the noise, in the units of y.
    prior_mean : float or array (parameters,)
        m0.
    prior_covariance : float, array (parameters,) or array (parameters, parameters)
        S0: a common variance, the variances, or the matrix.

    Raises
    ------
    DomainError
        For shapes that do not fit, NaN, noise <= 0, or a covariance that is not positive definite.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
    >>> y = [0.3, 1.1, 2.4, 2.7, 4.5, 6.2]
    >>> line = LinearRegression(np.stack([x, np.ones(6)], axis=1), y, noise=0.5,
    ...                         prior_covariance=[4.0, 1.0])
    >>> print(f"{free_energy(line):.10f}")
    6.9058222923
    """

    design: Array
    y: Array
    noise: Array
    prior_mean: Array
    prior_covariance: Array
    eigenvalues: Array        # kappa_j, one per mode
    components: Array         # c_j
    residual_energy: float    # U of the part of the data that no parameter reaches
    normalisation: float      # sum of ln(2 pi s_i^2) / 2, never tempered

    def __init__(self, design: ArrayLike, y: ArrayLike, noise: ArrayLike = 1.0,
                 prior_mean: ArrayLike = 0.0, prior_covariance: ArrayLike = 1.0) -> None:
        X, data = regression(design, y)
        points, d = X.shape
        s = _spread("noise", positive("noise", noise), points)
        m0 = _spread("prior_mean", finite("prior_mean", prior_mean, np.ndim(prior_mean)), d)
        S0 = finite("prior_covariance", prior_covariance, np.ndim(prior_covariance))
        if S0.ndim < 2:
            S0 = np.diag(_spread("prior_covariance", positive("prior_covariance", S0), d))
        L = _cholesky(S0, d)
        A = X @ L / s[:, None]
        for name, scaled in (("design", A), ("y", data / s), ("prior_mean", X * m0 / s[:, None])):
            squarable(name, scaled)
        left, singular, right = _singular(A)
        kappa = singular**2
        c = left.T @ (residual(X, data, m0) / s)
        # Once more from the residuals of the posterior mean: they keep their digits where the
        # data are far above the noise.
        theta = m0 + L @ (right.T @ (singular * c / (1.0 + kappa)))
        rest = residual(X, data, theta) / s
        beside = left.T @ rest
        c = singular * (right @ np.linalg.solve(L, theta - m0)) + beside
        rest = rest - left @ beside
        energy = 0.5 * float(rest @ rest)
        for name, value in (("design", X), ("y", data), ("noise", s), ("prior_mean", m0),
                            ("prior_covariance", S0), ("eigenvalues", kappa),
                            ("components", c), ("residual_energy", energy),
                            ("normalisation", float(np.sum(np.log(s * np.sqrt(2 * np.pi)))))):
            object.__setattr__(self, name, value)

    @property
    def dimension(self) -> int:
        """Number of parameters."""
        return int(self.design.shape[1])


def _spread(field: str, values: Array, length: int) -> Array:
    if values.ndim > 1 or (values.ndim == 1 and len(values) != length):
        raise DomainError(field, f"an array of shape {values.shape}", f"one number or {length}")
    return np.broadcast_to(values, (length,))


def _cholesky(S0: Array, d: int) -> Array:
    if S0.shape != (d, d):
        raise DomainError("prior_covariance", f"shape {S0.shape}", f"({d}, {d})")
    if not np.allclose(S0, S0.T, rtol=1e-12, atol=0):
        raise DomainError("prior_covariance", "a matrix that is not symmetric", "S0 = S0^T")
    try:
        return np.asarray(np.linalg.cholesky(S0), dtype=np.float64)
    except np.linalg.LinAlgError:
        raise DomainError("prior_covariance", "a matrix that is not positive definite",
                          "a covariance matrix") from None


def _singular(A: Array) -> tuple[Array, Array, Array]:
    """Singular values and vectors of A, left (points, modes) and right (modes, parameters).

    By Jacobi rotations of pairs of columns (Hestenes): each singular value keeps its own relative
    precision, however different the scales of the columns are (Demmel and Veselic, SIAM J. Matrix
    Anal. Appl. 13 (1992) 1204).  The usual decomposition keeps an absolute one, of the largest.
    """
    Q, R = np.linalg.qr(A)
    wide = R.shape[0] < R.shape[1]
    W, V = (R.T.copy() if wide else R.copy()), np.eye(min(R.shape))
    order = np.argsort(-np.linalg.norm(W, axis=0))
    # Columns as rows, those of W and V in one: both turn together.
    n, both = len(W), np.concatenate([W[:, order], V[:, order]]).T.copy()
    for _ in range(40):
        worst = 0.0
        for p, q in combinations(range(len(both)), 2):
            one, two = both[p], both[q]
            a, b, c = (float(u @ v) for u, v in ((one[:n], one[:n]), (two[:n], two[:n]),
                                                 (one[:n], two[:n])))
            if abs(c) <= 1e-15 * math.sqrt(a * b):
                continue
            worst = max(worst, abs(c) / math.sqrt(a * b))
            zeta = (b - a) / (2 * c)
            t = math.copysign(1.0, zeta) / (abs(zeta) + math.hypot(1.0, zeta))
            cosine = 1.0 / math.hypot(1.0, t)
            both[p], both[q] = cosine * (one - t * two), cosine * (t * one + two)
        if worst < 1e-14:
            break
    else:
        raise DomainError("design", "a matrix whose singular vectors do not converge",
                          "finite numbers", "choose other units")
    W, V = both[:, :n].T, both[:, n:].T
    values = np.linalg.norm(W, axis=0)
    U = W / np.where(values > 0, values, 1.0)
    return (Q @ V, values, U.T) if wide else (Q @ U, values, V.T)


def _over_modes(name: str, problem: LinearRegression, beta: Any) -> Any:
    """Sum of one derived quantity over the modes, for any array of beta."""
    b = np.asarray(beta)[..., None]
    terms = _numbers(name)(b, problem.eigenvalues, problem.components)
    return np.sum(np.broadcast_to(terms, (*b.shape[:-1], len(problem.eigenvalues))), axis=-1)


def _betas(beta: ArrayLike) -> Array:
    return positive("beta", beta, zero=True)


def reduced_free_energy(problem: LinearRegression, beta: ArrayLike = 1.0) -> Any:
    """F~(beta) = -ln Z(beta): the free energy without the noise's normalisation, in nats.

    Parameters
    ----------
    problem : LinearRegression
    beta : float or array
        Inverse temperature, >= 0; 0 is the prior, 1 the posterior.

    Returns
    -------
    float or array of the shape of beta

    Warns
    -----
    PrecisionWarning
        Where rounding may move it by more than 1e-6 nats.

    Examples
    --------
    >>> problem = LinearRegression([[1.0], [1.0]], [0.2, 0.4])
    >>> round(float(reduced_free_energy(problem, 0.0)), 12)
    0.0
    """
    b = _betas(beta)
    tell("reduced_free_energy", _error_bound(problem, b))
    return -np.real(log_partition(problem, b))


def log_partition(problem: LinearRegression, beta: Any) -> Any:
    """ln Z(beta) for real or complex beta with Re beta >= 0.

    The characteristic function of the energy on a rung is Z(beta - it) / Z(beta), so this one
    function holds the whole law of U at every temperature.

    Parameters
    ----------
    problem : LinearRegression
    beta : complex or array of complex

    Returns
    -------
    complex or array

    Raises
    ------
    DomainError
        For Re beta < 0 or NaN.
    """
    b = np.asarray(beta)
    if b.dtype.kind not in "buifc" or np.min(b.real, initial=0.0) < 0.0 or not np.all(
            np.isfinite(b)):
        raise DomainError("beta", repr(beta)[:60], "numbers with a real part >= 0")
    return -(_over_modes("free_energy", problem, beta)
             + np.asarray(beta) * problem.residual_energy)


def free_energy(problem: LinearRegression) -> float:
    """F = -ln p(y), with everything the penalty formula drops, in nats.

    Parameters
    ----------
    problem : LinearRegression

    Returns
    -------
    float

    Warns
    -----
    PrecisionWarning
        Where rounding may move it by more than 1e-6 nats.
    """
    constant = float(np.sum(np.abs(np.log(problem.noise * np.sqrt(2 * np.pi)))))
    tell("free_energy", _error_bound(problem, np.ones(()), constant))
    return -float(np.real(log_partition(problem, 1.0))) + problem.normalisation


def _error_bound(problem: LinearRegression, beta: Array, constant: float = 0.0) -> float:
    """Bound of the rounding error of F~, or of F with the terms of its constant, in nats."""
    b = np.max(beta, initial=0.0)
    determinant = float(np.sum(np.log1p(b * problem.eigenvalues)))
    terms = constant + 0.5 * determinant + abs(float(np.real(log_partition(problem, b))))
    # A direction that the data do not see counts as the prior, however dependent the columns are.
    seen = min(condition(problem.design / problem.noise[:, None]),
               float(np.sqrt(1.0 + b * np.max(problem.eigenvalues))))
    return error_bound(terms, float(np.max(np.abs(problem.y / problem.noise))), seen)


def mean_energy(problem: LinearRegression, beta: ArrayLike = 1.0) -> Any:
    """<U> on a rung, dimensionless.

    Parameters
    ----------
    problem : LinearRegression
    beta : float or array
        Inverse temperature, >= 0.

    Returns
    -------
    float or array of the shape of beta

    Examples
    --------
    >>> problem = LinearRegression([[1.0], [1.0]], [0.2, 0.4], prior_covariance=1e8)
    >>> round(float(mean_energy(problem)), 6)           # RSS/2 + d/2 when the prior is wide
    0.51
    """
    return _over_modes("mean_energy", problem, _betas(beta)) + problem.residual_energy


def heat_capacity(problem: LinearRegression, beta: ArrayLike = 1.0) -> Any:
    """C = beta^2 Var U on a rung; d/2 in the cold limit.

    Parameters
    ----------
    problem : LinearRegression
    beta : float or array
        Inverse temperature, >= 0.

    Returns
    -------
    float or array of the shape of beta
    """
    return _over_modes("heat_capacity", problem, _betas(beta))


def information(problem: LinearRegression, beta: ArrayLike = 1.0) -> Any:
    """KL divergence from the prior to the tempered posterior: F~ - beta <U>, in nats.

    Parameters
    ----------
    problem : LinearRegression
    beta : float or array
        Inverse temperature, >= 0.

    Returns
    -------
    float or array of the shape of beta
    """
    # By modes, where the part of the energy that no parameter reaches has gone out.
    b = _betas(beta)[..., None]
    k, c = problem.eigenvalues, problem.components
    share = b * k / (1.0 + b * k)
    return 0.5 * np.sum(np.log1p(b * k) - share + b * share * (c**2 / (1.0 + b * k)), axis=-1)


def posterior(problem: LinearRegression, beta: float = 1.0) -> tuple[Array, Array]:
    """Mean and covariance of the tempered posterior, which is normal.

    Parameters
    ----------
    problem : LinearRegression
    beta : float
        Inverse temperature, >= 0.

    Returns
    -------
    mean : array (parameters,)
    covariance : array (parameters, parameters)

    Warns
    -----
    PrecisionWarning
        Where rounding may move the mean, or a standard deviation, by more than 1e-6 of the latter;
        the last place of a mean that is larger than 1e10 of them apart.

    Examples
    --------
    >>> mean, covariance = posterior(LinearRegression([[1.0]], [1.0]))
    >>> round(float(mean[0]), 12), round(float(covariance[0, 0]), 12)
    (0.5, 0.5)
    """
    b = positive_number("beta", beta, zero=True)
    found = fit(problem.design, problem.y, problem.noise, problem.prior_mean,
                problem.prior_covariance, b)
    tell("posterior", found.lost, what="this mean and covariance to {} standard deviations")
    return found.mean, found.root @ found.root.T


def free_energy_of_noise(problem: LinearRegression, noise: ArrayLike) -> Any:
    """F for another noise level, read off the temperature ladder.

    Dividing every s_i by t multiplies the energy by t^2, so F(t s) follows from F~(beta = 1/t^2):
    one ladder of temperatures holds the free energy of every noise level.

    Parameters
    ----------
    problem : LinearRegression
        Its noise must be the same for all points.
    noise : float or array
        Standard deviation to ask about, in the units of y.

    Returns
    -------
    float or array of the shape of noise, in nats

    Raises
    ------
    DomainError
        If the problem's noise differs between points, or the noise asked for is not positive or
        less than 1e-145 of the problem's.
    """
    reference = problem.noise[0]
    if np.any(problem.noise != reference):
        raise DomainError("problem.noise", "different values", "one noise level for all points")
    s = positive("noise", noise)
    if np.min(s, initial=np.inf) < 1e-145 * reference:
        raise DomainError("noise", str(np.min(s)), f"1e-145 of the problem's {reference:g} or more",
                          "choose other units")
    betas = (reference / s) ** 2
    constant = len(problem.y) * (0.5 * math.log(2 * math.pi) + np.log(s))
    tell("free_energy_of_noise", _error_bound(problem, betas, float(
        np.max(np.abs(constant), initial=0.0))))
    return constant - np.real(log_partition(problem, betas))
