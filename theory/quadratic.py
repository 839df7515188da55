r"""The law of half a weighted sum of squared normal numbers, weights of either sign.

Every difference of two free energies of linear models with known noise is a constant plus

    Q = (1/2) sum_j w_j (z_j + v_j)^2,     z_j ~ N(0, 1) independent,

over data sets.  Its cumulants are held by E exp(sQ) = prod (1 - s w_j)^(-1/2)
exp(s w_j v_j^2 / 2 (1 - s w_j)) (`derivation`); the distribution is the inverse Laplace transform
along a hyperbola through the saddle point of exp(K(s) - s q), whose arms wrap one of the two cuts
of K on the real axis.  On it the trapezoid rule converges geometrically (Trefethen and Weideman,
SIAM Review 56 (2014) 385).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError, finite

Array = NDArray[np.float64]


class Derivation(NamedTuple):
    """One squared normal number, in sympy."""

    transform: Any       # E exp(s w (z + v)^2 / 2)
    cumulant: Any        # its logarithm K
    mean: Any            # K'(0)
    variance: Any        # K''(0)


@cache
def derivation() -> Derivation:
    """The transform of one term and its first two cumulants, in ``s, w, v``; for s w < 1.

    Returns
    -------
    Derivation

    Examples
    --------
    >>> derivation().mean, derivation().variance
    (v**2*w/2 + w/2, v**2*w**2 + w**2/2)
    """
    import sympy as sp

    s, w, v, z, b = sp.symbols("s w v z b", real=True)
    p = sp.Symbol("p", positive=True)                       # 1 - s w
    gauss = sp.integrate(sp.exp(-p * z**2 / 2 + b * z), (z, -sp.oo, sp.oo)) / sp.sqrt(2 * sp.pi)
    transform = (gauss * sp.exp(s * w * v**2 / 2)).subs({p: 1 - s * w, b: s * w * v})
    cumulant = -sp.log(1 - s * w) / 2 + s * w * v**2 / (2 * (1 - s * w))
    mean, variance = (sp.expand(sp.diff(cumulant, s, k).subs(s, 0)) for k in (1, 2))
    return Derivation(transform, cumulant, mean, variance)


@dataclass(frozen=True, eq=False)
class Quadratic:
    """constant + (1/2) sum w_j (z_j + v_j)^2, a difference of free energies over data sets.

    Parameters
    ----------
    constant : float
        In nats.
    weights : array (terms,)
        w_j, of either sign, not all zero.
    shifts : array (terms,)
        v_j: what the truth adds to the noise, in units of the noise.

    Raises
    ------
    DomainError
        For unequal lengths, NaN, or weights that are all zero.

    Examples
    --------
    >>> gain = Quadratic(-2.0, [1.0, 1.0], [0.0, 0.0])         # an exponential law from -2 on
    >>> gain.mean, gain.variance, round(cumulative(gain, -1.0), 9) == round(1 - math.exp(-1), 9)
    (-1.0, 1.0, True)
    """

    constant: float
    weights: Array
    shifts: Array

    def __init__(self, constant: float, weights: ArrayLike, shifts: ArrayLike) -> None:
        w, v = finite("weights", weights, 1), finite("shifts", shifts, 1)
        if len(w) != len(v):
            raise DomainError("shifts", f"{len(v)} numbers", f"{len(w)}, one for each weight")
        # What rounding left of a zero has no say, and would put a branch point far out.
        counts = np.abs(w) > 1e-14 * np.max(np.abs(w), initial=0.0)
        if not np.any(counts):
            raise DomainError("weights", str(w.tolist()), "one that is not zero")
        size = np.abs(w[counts])
        if size.max() > 1e140 or size.min() < 1e-140 or np.max(np.abs(v)) > 1e145:
            raise DomainError("weights", f"{size.max():.1g}, with shifts up to "
                              f"{np.max(np.abs(v)):.1g}", "weights between 1e-140 and 1e140",
                              "choose other units")
        object.__setattr__(self, "constant", float(finite("constant", constant, 0)))
        object.__setattr__(self, "weights", w[counts])
        object.__setattr__(self, "shifts", v[counts])

    @property
    def mean(self) -> float:
        """Over data sets, in nats."""
        return self.constant + 0.5 * float(self.weights @ (1.0 + self.shifts**2))

    @property
    def variance(self) -> float:
        """Over data sets, in nats squared."""
        return float(self.weights**2 @ (0.5 + self.shifts**2))

    def log_transform(self, s: Any) -> Any:
        """K(s) = ln E exp(s Q) without the constant, s of any shape, also complex."""
        p = 1.0 - np.multiply.outer(s, self.weights)
        energy = np.multiply.outer(s, self.weights * self.shifts**2)
        return np.sum(0.5 * energy / p - 0.5 * np.log(p), axis=-1)


def cumulative(law: Quadratic, value: ArrayLike) -> Any:
    """P(constant + Q <= value).

    Parameters
    ----------
    law : Quadratic
    value : float or array
        In nats.

    Returns
    -------
    float or array

    Raises
    ------
    ArithmeticError
        If the inversion does not settle to 1e-9.
    """
    return _each(law, value, _below)


def density(law: Quadratic, value: ArrayLike) -> Any:
    """Density of constant + Q, per nat; infinite where a single square starts.

    Parameters
    ----------
    law : Quadratic
    value : float or array
        In nats.

    Returns
    -------
    float or array

    Raises
    ------
    ArithmeticError
        If the inversion does not settle to 1e-9 of the largest density of that width.
    """
    return _each(law, value, _rate)


def _each(law: Quadratic, value: ArrayLike, one: Any) -> Any:
    q = finite("value", value, np.ndim(value)) - law.constant
    found = np.array([one(law, float(v)) for v in q.ravel()])
    return found.reshape(q.shape) if q.ndim else float(found[0])


def _beyond(law: Quadratic, q: float) -> float | None:
    """P(Q <= q) where all weights have one sign and q is past the end of the law."""
    if np.all(law.weights > 0.0) and q <= 0.0:
        return 0.0
    return 1.0 if np.all(law.weights < 0.0) and q >= 0.0 else None


def _below(law: Quadratic, q: float) -> float:
    if (certain := _beyond(law, q)) is not None:
        return certain
    saddle = _saddle(law, q)
    # The pole of 1/s belongs to the side on which the contour passes it.
    least = 0.3 / math.sqrt(law.variance + 1e-300)
    left, right = _cuts(law)
    if saddle > 0.0:
        middle = max(saddle, min(least, 0.5 * right))
    else:
        middle = min(saddle, max(-least, 0.5 * left))
    part = _invert(law, q, middle, pole=True)
    return min(max(1.0 - part if middle > 0.0 else -part, 0.0), 1.0)


def _rate(law: Quadratic, q: float) -> float:
    if _beyond(law, q) is not None:
        return math.inf if q == 0.0 and len(law.weights) == 1 else 0.0
    return max(_invert(law, q, _saddle(law, q), pole=False), 0.0)


def _cuts(law: Quadratic) -> tuple[float, float]:
    """Where K ends on the real axis."""
    least, largest = float(law.weights.min()), float(law.weights.max())
    return 1 / least if least < 0.0 else -math.inf, 1 / largest if largest > 0.0 else math.inf


def _saddle(law: Quadratic, q: float) -> float:
    """The real s at which K'(s) = q; K' grows from cut to cut."""
    w, v2 = law.weights, law.shifts**2

    def slope(s: float) -> float:
        p = 1.0 - s * w
        return float(np.sum(0.5 * w / p + 0.5 * w * v2 / p**2)) - q

    low, high = _cuts(law)
    unit = 1.0 / float(np.max(np.abs(w)))
    for sign in (-1, 1):
        reach = unit
        while math.isinf(low if sign < 0 else high):
            if sign * slope(sign * reach) > 0.0 or reach > 1e60 * unit:
                low, high = (-reach, high) if sign < 0 else (low, reach)
            reach *= 4.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) < 0.0 else (low, middle)
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            break
    return 0.5 * (low + high)


def _invert(law: Quadratic, q: float, middle: float, pole: bool) -> float:
    """(1 / 2 pi i) times the integral of exp(K - s q) (over s) along the hyperbola."""
    w, v2, p = law.weights, law.shifts**2, 1.0 - middle * law.weights
    curvature = float(np.sum(0.5 * w**2 / p**2 + w**2 * v2 / p**3))
    scale = 1.0 / math.sqrt(curvature + (1.0 / middle**2 if pole else 0.0))
    arms = math.copysign(0.5, q) if q else 0.0
    # In units of its value at the saddle point: far in a tail that is below all floats.
    level = float(np.real(law.log_transform(middle))) - middle * q
    def terms(step: float, end: float) -> Array:
        u = np.arange(step / 2, end, step)                # the other half is its conjugate
        s = middle + scale * (arms * (np.cosh(u) - 1.0) + 1j * np.sinh(u))
        slope = scale * (arms * np.sinh(u) + 1j * np.cosh(u))
        value = np.exp(law.log_transform(s) - s * q - level) * slope
        return np.asarray(value / s if pole else value)

    # At q = 0 only powers of s are left on the arms; elsewhere they end soon.
    values = terms(0.04, 75.0)
    size = np.abs(values)
    end = 0.04 * (1 + int(np.flatnonzero(size > 1e-18 * size.max(initial=0.0))[-1]))
    coarse, fine = (math.exp(level) * float(step * np.sum(v.imag) / math.pi)
                    for step, v in ((0.04, values), (0.02, terms(0.02, end))))
    if not abs(fine - coarse) <= 1e-9 * max(1.0, 0.0 if pole else 1.0 / math.sqrt(law.variance)):
        raise ArithmeticError(f"the law at {q + law.constant:g}: two inversions differ by "
                              f"{abs(fine - coarse):.1g}")
    return fine
