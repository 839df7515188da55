r"""Least squares with a Gaussian prior as further rows, in float64 without ever squaring a matrix.

Data and prior of a linear model are one least squares problem,

    | sqrt(beta) (y - X theta) / s |^2 + | L^-1 (theta - m0) |^2,     S0 = L L^T,

and its triangle R, with R^T R the precision of the posterior, comes from Householder reflections.
Rows sorted by size and columns pivoted, each entry is wrong by a rounding error of its own row or
of its own column, whichever is smaller (Cox and Higham, in "Numerical Analysis 1997", Longman
1998, p. 57): the prior's rows keep their digits below data that are 1e16 times as precise, and
small columns beside large ones.  What these errors move is added up in `Fit.lost` and `Fit.seen`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from theory.rounding import ROUNDING, condition, residual

Array = NDArray[np.float64]


class Factor(NamedTuple):
    """A tall matrix B = Q R, its columns in units of their own."""

    Q: Array             # (rows, columns), orthonormal columns
    inverse: Array       # (columns, columns): B inverse is Q^T, this and the units of the columns
    log_det: float       # ln |det R|
    sizes: Array         # (rows, columns): an entry's rounding error, in units of one rounding


def factor(B: Array) -> Factor:
    """Factor a matrix of full column rank whose rows and columns differ in scale.

    Parameters
    ----------
    B : array (rows, columns)

    Returns
    -------
    Factor

    Examples
    --------
    >>> found = factor(np.array([[1e12, 1e12], [1.0, 0.0], [0.0, 1.0]]))
    >>> print(f"{found.inverse[0] @ found.inverse[0]:.12f}")        # the variance of the first
    0.500000000000
    """
    from scipy.linalg import qr, solve_triangular

    rows = np.max(np.abs(B), axis=1)
    order = np.argsort(-rows, kind="stable")
    turned, R, pivots = qr(B[order], mode="economic", pivoting=True, check_finite=False)
    Q, inverse = np.empty_like(turned), np.empty_like(R)
    Q[order] = turned
    inverse[pivots] = solve_triangular(R, np.eye(len(R)), check_finite=False)
    return Factor(Q, inverse, float(np.sum(np.log(np.abs(np.diag(R))))),
                  np.minimum(rows[:, None], np.linalg.norm(B, axis=0)))


class Fit(NamedTuple):
    """The posterior of a linear model at one temperature."""

    mean: Array          # (parameters,)
    root: Array          # (parameters, parameters); the covariance is root root^T
    share: Array         # (points, parameters); leverages are the rows' squares
    rest: Array          # (points,): (y - X mean) / s, not tempered, at the mean before rounding
    lost: float          # bound of the rounding error, in posterior standard deviations
    seen: float          # the same of leverages and of ``rest``, which the data see


def fit(design: Array, y: Array, noise: Array, prior_mean: Array, prior_covariance: Array,
        beta: float) -> Fit:
    """Posterior of theta ~ N(m0, S0) and y ~ N(X theta, s^2) to the power beta.

    Parameters
    ----------
    design : array (points, parameters)
    y, noise : array (points,)
    prior_mean : array (parameters,)
    prior_covariance : array (parameters, parameters)
    beta : float

    Returns
    -------
    Fit

    Examples
    --------
    >>> one = np.ones(1)
    >>> found = fit(np.array([[1.0, 1.0]]), one, 1e-8 * one, np.zeros(2), np.eye(2), 1.0)
    >>> found.mean.round(12).tolist()
    [0.5, 0.5]
    """
    # Parameters in units of their prior, by powers of two, which are exact.
    unit = np.exp2(np.round(0.5 * np.log2(np.diag(prior_covariance))))
    L = np.linalg.cholesky(prior_covariance / unit[:, None] / unit)
    prior, heat = np.linalg.inv(L), float(np.sqrt(beta))
    stack = factor(np.concatenate([heat * (design * unit / noise[:, None]), prior]))
    points, mean = len(y), np.array(prior_mean, dtype=np.float64)
    for _ in range(4):              # each round has the residuals of the last one's mean
        data = residual(design, y, mean) / noise
        rest = np.concatenate([heat * data, prior @ ((prior_mean - mean) / unit)])
        step = stack.inverse @ (stack.Q.T @ rest)
        mean = mean + unit * step
    share, sd = stack.Q[:points], np.linalg.norm(stack.inverse, axis=1)
    stored = ROUNDING * (condition(prior) ** 2 - 1.0)
    return Fit(mean, unit[:, None] * stack.inverse, share,
               data - (design * unit / noise[:, None]) @ step,
               stored + _moved(stack, rest, stack.inverse / sd[:, None]),
               stored + _moved(stack, rest, share))


def _moved(stack: Factor, rest: Array, rows: Array) -> float:
    """How far rounding of the entries moves c.R^-T Q^T rest, or the square of c, for these c."""
    wide, along = np.abs(stack.inverse), np.abs(rows)
    # A change E of B changes B^T B by B^T E and its transpose, and the mean by (B^T B)^-1 E^T rest.
    squares = np.einsum("ij,jk,ik->i", along, np.abs(stack.Q).T @ stack.sizes @ wide, along)
    means = along @ (wide.T @ (stack.sizes.T @ np.abs(rest)))
    return ROUNDING * float(np.max(squares + means))
