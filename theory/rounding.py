"""What float64 keeps of a free energy, and the two places where it needs help to keep it.

Residuals y - X theta of data far above their noise lose digits to cancellation: `residual` computes
them with error-free products and sums (Dekker 1971; Ogita, Rump and Oishi, SIAM J. Sci. Comput. 26
(2005) 1955), so that each value is rounded once.  With it the error of a free energy F stays below

    error_bound = 1e-12 S max(1, 1e-5 max|y| / s),     S = 1 + sum of |terms of F|,

tested against mpmath; columns that are nearly dependent add 1e-5 times the `condition` of scaled
columns to the maximum.  Where the bound passes 1e-6 nats the function that was called says so in a
`theory.errors.PrecisionWarning`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.errors import DomainError, PrecisionWarning

Array = NDArray[np.float64]

# The relative error of a number after one step, with room for the few that follow.
ROUNDING = 1e-15


def residual(design: Array, y: Array, theta: Any) -> Array:
    """y - X theta, as if computed with twice the digits and rounded once.

    Parameters
    ----------
    design : array (points, parameters)
    y : array (points,)
    theta : array (parameters,)

    Returns
    -------
    array (points,)

    Examples
    --------
    >>> x, theta = np.array([[0.1]]), np.array([3.0])
    >>> float(residual(x, np.array([0.3]), theta)[0])        # 0.3 - 0.1 * 3 of these doubles
    -2.7755575615628914e-17
    """
    high, low = y, np.zeros(len(y))
    for column, value in zip(design.T, theta, strict=True):
        product, lost = _product(-column, value)
        high, gone = _sum(high, product)
        low = low + (gone + lost)
    return np.asarray(high + low)


def least_squares(design: Array, y: Array) -> Array:
    """The least squares estimate, refused where the design does not determine it.

    Parameters
    ----------
    design : array (points, parameters)
    y : array (points,)

    Returns
    -------
    array (parameters,)

    Raises
    ------
    DomainError
        For columns that depend on one another.

    Examples
    --------
    >>> least_squares(np.array([[1.0], [1.0]]), np.array([0.0, 2.0])).round(12).tolist()
    [1.0]
    """
    theta, rank = solved(design, y)
    if rank < design.shape[1]:
        raise DomainError("design", f"rank {rank}", f"{design.shape[1]} independent columns")
    return theta


def solved(design: Array, y: Array, noise: Any = 1.0) -> tuple[Array, int]:
    """A least squares estimate, whether or not it is the only one, and the rank of the design.

    Parameters
    ----------
    design : array (points, parameters)
    y : array (points,)
    noise : float or array (points,)

    Returns
    -------
    theta : array (parameters,)
    rank : int
        Of the columns, each scaled to length one.

    Examples
    --------
    >>> theta, rank = solved(np.array([[1e9, 1.0], [1e9 + 1, 1.0]]), np.array([0.0, 1.0]))
    >>> rank, theta.round(9).tolist()
    (2, [1.0, -1000000000.0])
    """
    # Columns of one size, by powers of two: which is exact, and what a rank is about.
    weighted = design / np.broadcast_to(noise, y.shape)[:, None]
    lengths = np.linalg.norm(weighted, axis=0)
    unit = np.exp2(np.round(np.log2(np.where(lengths > 0.0, lengths, 1.0))))
    scaled = weighted / unit
    theta, _, rank, _ = np.linalg.lstsq(scaled, y / noise, rcond=None)
    theta = theta / unit
    for _ in range(2):              # once more from the residuals, which keep their digits
        rest = residual(design, y, theta) / noise
        theta = theta + np.linalg.lstsq(scaled, rest, rcond=None)[0] / unit
    return np.asarray(theta), int(rank)


def _sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b and what its rounding lost (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """a * b and what its rounding lost (Dekker, with Veltkamp's splitting)."""
    product = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return product, a2 * b2 - (((product - a1 * b1) - a2 * b1) - a1 * b2)


def _halves(a: Any) -> tuple[Any, Any]:
    shifted = 134217729.0 * a       # 2^27 + 1
    high = shifted - (shifted - a)
    return high, a - high


def condition(design: Array) -> float:
    """Condition number of the columns, each scaled to length one.

    Parameters
    ----------
    design : array (points, parameters)

    Returns
    -------
    float
        1 for orthogonal columns; infinite for dependent ones.

    Examples
    --------
    >>> condition(np.eye(3) * [1.0, 10.0, 1e6])
    1.0
    """
    lengths = np.linalg.norm(design, axis=0)
    scaled = np.linalg.svd(design / np.where(lengths > 0, lengths, 1.0), compute_uv=False)
    return float(scaled[0] / scaled[-1]) if scaled[-1] > 0 else np.inf


def error_bound(terms: float, largest: float, conditioned: float = 1.0) -> float:
    """Bound of the rounding error of a free energy, in nats.

    Parameters
    ----------
    terms : float
        Sum of the absolute values of the terms that F is made of.
    largest : float
        max |y| / s.
    conditioned : float
        Condition of the design as far as the answer sees it; counts from 1e5 on.

    Returns
    -------
    float

    Examples
    --------
    >>> error_bound(99.0, 100.0), error_bound(99.0, 1e9)
    (1e-10, 1e-06)
    """
    return 1e-12 * (1.0 + terms) * max(1.0, 1e-5 * largest, 1e-5 * conditioned)


def tell(function: str, bound: float, level: int = 3,
         what: str = "this free energy to {} nats") -> None:
    """Warn, by the name of the function, where float64 may not hold an answer to 1e-6.

    Parameters
    ----------
    function : str
    bound : float
        Of the error; from `error_bound` for a free energy.
    level : int
        Frames between this function and the caller to be shown.
    what : str
        The answer and its unit, with braces for the bound.

    Warns
    -----
    PrecisionWarning
    """
    if not bound <= 1e-6:
        warnings.warn(f"{function}: float64 holds {what.format(f'{bound:.0e}')} only",
                      PrecisionWarning, stacklevel=level)
