r"""The free energy for many data points: the penalty (d/2) ln N, and everything it drops.

    F = [fit] + (d/2) ln N + [O(1)] + remainder

with fit = (N/2) ln 2 pi s^2 + RSS / 2 s^2 and O(1) = ln det(X^T X / 2 pi s^2 N) / 2 - ln prior
at the estimate.  The remainder falls like 1/N under a Gaussian prior and exponentially under a
box.  Model selection by "half a ln N for each parameter" (BIC) keeps the first two terms; the
O(1) term holds the prior, and at any N one will ever have it decides with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError, positive_number, regression
from theory.rounding import condition, error_bound, least_squares, residual, tell

Array = NDArray[np.float64]


class Derivation(NamedTuple):
    """One mode for many data, in sympy."""

    expansion: Any       # ln(N)/2 + O(1)
    remainder: Any       # N times what is left, at N -> infinity


@cache
def derivation() -> Derivation:
    """Expand one mode of the exact free energy for large N in sympy.

    A mode of `theory.evidence` gathers precision in proportion to the data, kappa = k N, while
    its estimate z = c / sqrt(kappa) stays.

    Returns
    -------
    Derivation
        In the symbols ``N``, ``k`` and ``z``.

    Examples
    --------
    >>> derivation()[0]
    z**2/2 + log(N)/2 + log(k)/2
    >>> derivation()[1]
    -(z - 1)*(z + 1)/(2*k)
    """
    import sympy as sp

    from theory.evidence import derivation as exact

    N, k = sp.symbols("N k", positive=True)
    z = sp.Symbol("z", real=True)
    beta, kappa = sp.symbols("beta kappa", positive=True)
    c = sp.Symbol("c", real=True)
    free = exact().free_energy.subs({beta: 1, c: z * sp.sqrt(kappa)}).subs(kappa, k * N)
    penalty = sp.log(N) / 2
    constant = sp.limit(free - penalty, N, sp.oo)
    constant = sp.expand_log(sp.expand(constant))
    remainder = sp.limit(N * (free - penalty - constant), N, sp.oo)
    return Derivation(penalty + constant, sp.factor(remainder))


@dataclass(frozen=True)
class Expansion:
    """The terms of F for many data points, in nats.

    Parameters
    ----------
    fit : float
        -ln of the largest likelihood; grows like N.
    penalty : float
        (d/2) ln N.
    constant : float
        The O(1) term: shape of the design, and the prior density at the estimate.
    """

    fit: float
    penalty: float
    constant: float

    @property
    def value(self) -> float:
        """F up to the remainder."""
        return self.fit + self.penalty + self.constant

    @property
    def half_bic(self) -> float:
        """BIC/2: what is left of F when the O(1) term is dropped."""
        return self.fit + self.penalty


def expansion(design: ArrayLike, y: ArrayLike, noise: float,
              log_prior: Callable[[Array], float]) -> Expansion:
    """Split the free energy of a linear regression into fit, (d/2) ln N and O(1).

    Parameters
    ----------
    design : array (points, parameters)
        X, of full column rank.
    y : array (points,)
        The data.
    noise : float
        Standard deviation of the noise, in the units of y.
    log_prior : callable
        ln of the prior density at a parameter vector (parameters,).

    Returns
    -------
    Expansion

    Raises
    ------
    DomainError
        For shapes that do not fit, NaN, noise <= 0, or columns that depend on one another.

    Warns
    -----
    PrecisionWarning
        Where rounding may move the sum by more than 1e-6 nats.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 100)
    >>> y = x + 0.5 * np.cos(np.arange(1, 101))
    >>> terms = expansion(np.stack([x, np.ones(100)], axis=1), y, 0.5,
    ...                   lambda p: -0.5 * p @ p - np.log(2 * np.pi))
    >>> print(f"{terms.fit:.3f} + {terms.penalty:.3f} + {terms.constant:.3f}")
    47.440 + 4.605 + 1.354
    """
    X, data = regression(design, y)
    s, (points, d) = positive_number("noise", noise), X.shape
    estimate = least_squares(X, data)
    r = residual(X, data, estimate) / s
    entropy = 0.5 * points * math.log(2 * math.pi * s**2)
    fit = entropy + 0.5 * float(r @ r)
    triangle = np.linalg.qr(X / (s * math.sqrt(2 * math.pi * points)))[1]
    curvature = 2.0 * float(np.sum(np.log(np.abs(np.diag(triangle)))))
    tell("expansion", error_bound(abs(entropy) + 0.5 * float(r @ r) + abs(curvature),
                                  float(np.max(np.abs(data))) / s, condition(X)))
    density = float(log_prior(np.asarray(estimate, dtype=np.float64)))
    if not np.isfinite(density):
        raise DomainError("log_prior", f"{density} at the estimate {estimate.tolist()}",
                          "a finite log density: the estimate lies inside the prior's support")
    return Expansion(float(fit), 0.5 * d * float(np.log(points)), 0.5 * curvature - density)


def entropy_rate(noise: float) -> float:
    """Expected fit per data point at the truth, ln(2 pi e s^2) / 2, in nats.

    E[F] = N times this + (d/2) ln N + O(1) - d/2: the fit of d parameters to the noise is
    worth half a nat each.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise.

    Returns
    -------
    float

    Examples
    --------
    >>> round(entropy_rate(1.0), 10)
    1.4189385332
    """
    s = positive_number("noise", noise)
    return 0.5 * math.log(2 * math.pi * math.e) + math.log(s)
