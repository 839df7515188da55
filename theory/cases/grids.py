"""Gauss-Legendre panels, and the answers of a case that quadrature over them gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.cases.problem import Prior

Array = NDArray[np.float64]
# beta -> ln of the integrand at the nodes without the quadrature weights, and mean and covariance
# of the parameters that are normal given the nodes: (nodes,), (nodes, k), (nodes, k, k).
Conditional = Callable[[float], tuple[Array, Array, Array]]


@cache
def _legendre(count: int) -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(count)


def panels(edges: Sequence[float] | Array, count: int = 24) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on consecutive panels."""
    nodes, weights = _legendre(count)
    e = np.asarray(edges, dtype=float)
    half = 0.5 * np.diff(e)[:, None]
    return (e[:-1, None] + half * (nodes + 1.0)).ravel(), (half * weights).ravel()


def log_sum(log_terms: Array, weights: Array) -> float:
    """ln of the sum of weights * exp(log_terms)."""
    top = float(log_terms.max())
    return top + math.log(float(weights.ravel() @ np.exp(log_terms - top).ravel()))


def square(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    """Nodes (points, 2) and weights (points,) of the product of two rules."""
    (a, wa), (b, wb) = first, second
    return (np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2),
            np.outer(wa, wb).ravel())


@dataclass(frozen=True, eq=False)
class Quadrature:
    """A posterior on nodes: the parameters there, and those that are normal given them.

    Parameters
    ----------
    nodes : array (nodes, parameters left)
        What is integrated numerically.
    weights : array (nodes,)
    conditional : callable
        See `Conditional`.
    """

    nodes: Array
    weights: Array
    conditional: Conditional

    def log_z(self, beta: float) -> float:
        """ln of the integral at an inverse temperature."""
        return log_sum(self.conditional(beta)[0], self.weights)

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """Mean and covariance at beta = 1: first the normal parameters, then the nodes'."""
        log_p, centre, inner = self.conditional(1.0)
        p = self.weights * np.exp(log_p - log_sum(log_p, self.weights))
        both = np.column_stack([centre, self.nodes])
        mean = p @ both
        covariance = (p[:, None] * (both - mean)).T @ (both - mean)
        k = centre.shape[1]
        covariance[:k, :k] += np.einsum("n,nij->ij", p, inner)
        return mean, covariance


def in_two(log_likelihood: Callable[[Any], Any], priors: Sequence[Prior],
           edges: Sequence[Any]) -> Quadrature:
    """The quadrature of a case in two parameters, none of them normal given the other."""
    theta, weights = square(panels(edges[0]), panels(edges[1]))
    log_prior = sum(p.log_density(theta[:, i]) for i, p in enumerate(priors))
    log_l = np.asarray(log_likelihood(theta))
    none = np.zeros((len(theta), 0))
    return Quadrature(theta, weights, lambda beta: (
        log_prior + beta * log_l, none, none[:, :, None]))
