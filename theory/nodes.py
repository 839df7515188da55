"""Nodes and weights of Gauss's quadratures, each computed once."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@cache
def legendre(count: int) -> tuple[Array, Array]:
    """For the integral over [-1, 1].

    Parameters
    ----------
    count : int

    Returns
    -------
    nodes, weights : array (count,)

    Examples
    --------
    >>> nodes, weights = legendre(3)
    >>> round(float(weights @ nodes**4), 12)                                # 2/5
    0.4
    """
    return _fixed(*np.polynomial.legendre.leggauss(count))


@cache
def laguerre(count: int) -> tuple[Array, Array]:
    """For the integral of exp(-x) times a function over x > 0.

    Parameters
    ----------
    count : int

    Returns
    -------
    nodes, weights : array (count,)

    Examples
    --------
    >>> nodes, weights = laguerre(3)
    >>> round(float(weights @ nodes**4), 9)                                 # 4!
    24.0
    """
    return _fixed(*np.polynomial.laguerre.laggauss(count))


def _fixed(nodes: Array, weights: Array) -> tuple[Array, Array]:
    for array in (nodes, weights):
        array.setflags(write=False)
    return nodes, weights
