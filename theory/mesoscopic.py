r"""What matters of a data set, and of a question to it: a handful of numbers of order one.

The noise of N points enters a linear regression through its d components along orthonormal
directions of the design, d independent standard normal numbers, and one chi-square with N - d
degrees of freedom, the rest.  Everything that a fit says is a function of these; so are free
energies and their differences.  These are the mesoscopic variables of Katakami, Kashiwamura,
Nagata, Mizumaki and Okada, "Mesoscopic Bayesian Inference by Solvable Models", arXiv 2406.02869;
the formulas are derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError, finite, positive_number, squarable

Array = NDArray[np.float64]


class Mesoscopic(NamedTuple):
    """The three numbers that a data set of any size is worth to the two lines."""

    tau_slope: float     # along x: N(0, 1)
    tau_offset: float    # along the part of 1 that is orthogonal to x: N(0, 1)
    upsilon: float       # the rest of the noise: chi-square with N - 2 degrees of freedom


def mesoscopic(x: ArrayLike, noise: ArrayLike, sigma: float) -> Mesoscopic:
    """Reduce the noise of a data set to its mesoscopic variables.

    Parameters
    ----------
    x : array (points,)
    noise : array (points,)
        The noise itself, y minus the truth.
    sigma : float
        Its true standard deviation.

    Returns
    -------
    Mesoscopic

    Raises
    ------
    DomainError
        If x cannot tell slope from offset.

    Examples
    --------
    >>> mesoscopic([-1.0, 0.0, 1.0], [1.0, 1.0, 1.0], 1.0).tau_slope
    0.0
    """
    positions, n = finite("x", x, 1), finite("noise", noise, 1)
    if len(positions) != len(n):
        raise DomainError("noise", f"{len(n)} values for {len(positions)} of x", "equal lengths")
    s = positive_number("sigma", sigma)
    offset_weight(positions)
    positions = _scaled(positions)
    along = positions / float(np.linalg.norm(positions))
    # 1 - x Sx / Sxx, but for its length; so written it keeps its digits far from x = 0.
    middle = float(positions.mean())
    from_middle = positions - middle
    across = float(np.mean(from_middle**2)) - middle * from_middle
    across = across / float(np.linalg.norm(across))
    t1, t2 = float(along @ n) / s, float(across @ n) / s
    rest = n / s - along * t1 - across * t2
    return Mesoscopic(t1, t2, float(rest @ rest))


def offset_weight(x: ArrayLike) -> float:
    """S_b = N (1 - mean(x)^2 / mean(x^2)): how many points the offset is worth.

    Parameters
    ----------
    x : array (points,)

    Returns
    -------
    float
        N if x is centred.

    Raises
    ------
    DomainError
        If all x are equal or zero.

    Examples
    --------
    >>> offset_weight([-2.0, -1.0, 0.0, 1.0, 2.0])
    5.0
    """
    positions = finite("x", x, 1)
    relative = _scaled(positions)
    # N - Sx^2 / Sxx = N sum (x - mean)^2 / sum x^2, without the difference of two large numbers;
    # the spread has to be more than the rounding of x.
    around = relative - (relative.mean() if len(relative) else 0.0)
    if not len(positions) or np.max(np.abs(around)) <= 1e-14:
        raise DomainError("x", "positions that cannot tell the slope from the offset",
                          "two different positions or more")
    return len(positions) * float(around @ around) / float(relative @ relative)


def _scaled(x: Array) -> Array:
    """x in units of a power of two: nothing is rounded, and no square is out of range."""
    return np.ldexp(x, -int(np.frexp(np.max(np.abs(x), initial=0.0))[1]))


class Reduced(NamedTuple):
    """The numbers that a data set of any size is worth to a linear model with d parameters."""

    tau: Array           # (d,): along the orthonormal directions of the design, N(0, 1) each
    upsilon: float       # the rest of the noise: chi-square with N - d degrees of freedom
    triangle: Array      # (d, d): R of design = Q R; estimate = truth + sigma R^-1 tau


def reduced(design: ArrayLike, noise: ArrayLike, sigma: float) -> Reduced:
    """Reduce the noise of a data set to its mesoscopic variables, any number of parameters.

    The design is factored as Q R; tau = Q^T n / sigma.  The least squares estimate is
    theta + sigma R^-1 tau, its residual sum of squares sigma^2 upsilon, and leaving the last k
    parameters out adds (tau + R theta / sigma)^2 of the last k directions to upsilon.

    Parameters
    ----------
    design : array (points, parameters)
        Of full column rank.
    noise : array (points,)
        The noise itself, y minus the truth.
    sigma : float
        Its true standard deviation.

    Returns
    -------
    Reduced

    Raises
    ------
    DomainError
        For shapes that do not fit, or dependent columns.

    Examples
    --------
    >>> found = reduced([[1.0], [1.0], [1.0], [1.0]], [1.0, 3.0, 1.0, 3.0], 2.0)
    >>> round(abs(float(found.tau[0])), 12), round(found.upsilon, 12)
    (2.0, 1.0)
    """
    X, n = finite("design", design, 2), finite("noise", noise, 1)
    if len(X) != len(n) or not 0 < X.shape[1] <= len(X):
        raise DomainError("noise", f"{len(n)} values for a design of shape {X.shape}",
                          "one value per row, and as many rows as columns or more")
    s = positive_number("sigma", sigma)
    Q, R = np.linalg.qr(X)
    size = np.abs(np.diag(R))
    if np.any(size <= 1e-12 * np.linalg.norm(X, axis=0)):
        raise DomainError("design", "columns that depend on one another", "independent columns")
    tau = Q.T @ n / s
    rest = n / s - Q @ tau
    return Reduced(np.asarray(tau), float(rest @ rest), R)


@dataclass(frozen=True)
class Question:
    """Is there an offset?  Everything that the law of F2 - F1 depends on.

    Parameters
    ----------
    weight : float
        S_b of `offset_weight`; N for centred positions.
    offset : float
        The true b0.
    half_width : float
        xi_b: the prior of b is uniform on [-xi_b, xi_b], wide against its posterior.
    noise : float
        Standard deviation of the noise, known and true.
    assumed : float, optional
        Standard deviation that the free energies assume, if it is another one.

    Raises
    ------
    DomainError
        If weight, half_width, noise or assumed is not positive, or the box narrower than 1e-150
        posterior standard deviations.

    Examples
    --------
    >>> question = Question(weight=100, offset=0.3, half_width=10, noise=1.0)
    >>> round(question.delta, 12), round(question.threshold, 4)
    (9.0, 8.7588)
    """

    weight: float
    offset: float
    half_width: float
    noise: float
    assumed: float | None = None

    def __post_init__(self) -> None:
        for name in ("weight", "half_width", "noise"):
            positive_number(name, getattr(self, name))
        if self.assumed is not None:
            positive_number("assumed", self.assumed)
        shift = float(finite("offset", self.offset, 0)) * math.sqrt(self.weight) / self.noise
        squarable("offset", shift)
        narrow = self.half_width * math.sqrt(self.weight) / (self.assumed or self.noise)
        if narrow < 1e-150:
            raise DomainError("half_width", f"{narrow:.1g} posterior standard deviations",
                              "1e-150 or more", "choose other units")

    @property
    def ratio(self) -> float:
        """s^2 / s0^2, assumed over true noise variance."""
        return ((self.assumed or self.noise) / self.noise) ** 2

    @property
    def bound(self) -> float:
        """The largest value of F2 - F1, where the data show no offset at all, in nats."""
        s2 = (self.assumed or self.noise) ** 2
        return 0.5 * math.log(self.weight / (2 * math.pi * s2)) + math.log(2 * self.half_width)

    @property
    def threshold(self) -> float:
        """c: the offset is found where (tau + sqrt(delta))^2 passes it."""
        return self.ratio * max(2.0 * self.bound, 0.0)

    @property
    def delta(self) -> float:
        """S_b b0^2 / s0^2, the noncentrality."""
        return (math.sqrt(self.weight) * self.offset / self.noise) ** 2

    @property
    def room(self) -> float:
        """Posterior standard deviations between the estimate that turns the choice and the wall;
        from 4 on the wide formulas hold to about 1e-4."""
        turn = math.sqrt(self.threshold / self.weight) * self.noise
        return (self.half_width - turn) * math.sqrt(self.weight) / (self.assumed or self.noise)
