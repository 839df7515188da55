r"""Exact free energy of linear regression when the noise variance is unknown: three answers.

* *Normal-inverse-gamma*: v = s^2 ~ InverseGamma(shape, scale), theta | v ~ N(m0, v V0); the
  evidence is a Student-t density, in closed form at any N.
* *Empirical Bayes*: the v that minimises F(v) under a wide box prior; it is RSS / (N - K), the
  unbiased estimate, and its law is a scaled chi-square.
* *Log-uniform*: v uniform in ln v between two bounds, wide box prior; an incomplete gamma
  function.

`derivation` lets sympy do the integral over v that the first and the last share.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.box import BoxLine
from theory.errors import (
    DomainError,
    ValidityWarning,
    finite,
    positive,
    positive_number,
    regression,
    whole,
)
from theory.nodes import legendre
from theory.rounding import condition, error_bound, least_squares, residual, tell
from theory.walls import log_integrals

Array = NDArray[np.float64]


class Derivation(NamedTuple):
    """The steps of the integral over the noise variance, in sympy."""

    integrand: Any      # prior density of v times the likelihood with theta integrated out
    partition: Any      # its integral over v
    free_energy: Any    # -ln of it
    of_variance: Any    # F(v) of a wide box
    stationary: Any     # the v at which that is least
    empirical: Any      # F there
    log_uniform: Any    # exp(-F) with v uniform in ln v between v_lo and v_hi
    student: Any        # marginal density of one parameter under the inverse gamma posterior


@cache
def derivation() -> Derivation:
    """Integrate the noise variance v out, in sympy.

    Symbols: ``N`` points, ``K`` parameters, ``alpha`` and ``gamma`` (shape and scale of the
    inverse gamma prior), ``Q`` (what remains of the squares when theta is integrated out under
    N(m0, v V0)), ``D`` (det V0 P), ``RSS``; ``V`` (volume of the box), ``det`` (det X^T X),
    ``v_lo, v_hi``; ``a, g`` (shape and rate of the posterior of v), ``C`` and ``x`` (scale and
    distance of one parameter).

    Returns
    -------
    Derivation

    Examples
    --------
    >>> derivation().stationary
    RSS/(-K + N)
    """
    import sympy as sp

    v, alpha, gamma, Q, D, N = sp.symbols("v alpha gamma Q D N", positive=True)
    RSS, K, excess = sp.symbols("RSS K excess", positive=True)
    prior = gamma**alpha / sp.gamma(alpha) * v ** (-alpha - 1) * sp.exp(-gamma / v)
    likelihood = (2 * sp.pi * v) ** (-N / 2) * D ** sp.Rational(-1, 2) * sp.exp(-Q / (2 * v))
    integrand = prior * likelihood
    # With t = 1/v it is Euler's integral.
    t, a, c = sp.symbols("t a c", positive=True)
    euler = sp.integrate(t ** (a - 1) * sp.exp(-c * t), (t, 0, sp.oo))
    partition = (gamma**alpha / sp.gamma(alpha) * (2 * sp.pi) ** (-N / 2)
                 * D ** sp.Rational(-1, 2)
                 * euler.subs({a: alpha + N / 2, c: gamma + Q / 2}, simultaneous=True))
    free = sp.expand_log(-sp.log(partition), force=True)
    # F(v) of a wide box; excess = N - K.
    V, det, lo, hi = sp.symbols("V det v_lo v_hi", positive=True)
    of_variance = (excess / 2 * sp.log(2 * sp.pi * v) + RSS / (2 * v) + sp.log(V)
                   + sp.log(det) / 2)
    (least,) = sp.solve(sp.diff(of_variance, v), v)
    empirical = sp.simplify(of_variance.subs(v, least))
    # ln v uniform; with w = RSS / 2v, dv/v = -dw/w: an incomplete gamma function.
    nu = excess / 2
    mass = sp.uppergamma(nu, RSS / (2 * hi)) - sp.uppergamma(nu, RSS / (2 * lo))
    log_uniform = (RSS / 2) ** (-nu) * mass / (
        (2 * sp.pi) ** nu * V * sp.sqrt(det) * sp.log(hi / lo))
    # theta | v ~ N(m, v C), v ~ InverseGamma(a, g): Euler's integral again, a Student-t law.
    x, C, g = sp.symbols("x C g", positive=True)     # x the distance of theta from m
    student = g**a / sp.gamma(a) / sp.sqrt(2 * sp.pi * C) * euler.subs(
        {a: a + sp.S.Half, c: g + x**2 / (2 * C)}, simultaneous=True)

    def counted(expression: Any) -> Any:
        return expression.subs(excess, N - K)

    return Derivation(integrand, partition, free, counted(of_variance), counted(least),
                      counted(empirical), counted(log_uniform), student)


@dataclass(frozen=True)
class NormalInverseGamma:
    """The posterior of parameters and noise variance under the conjugate prior.

    Parameters
    ----------
    free_energy : float
        F in nats.
    mean : array (parameters,)
        Posterior mean of theta (location of its Student-t law).
    scale : array (parameters, parameters)
        Scale matrix of that law; its covariance is ``scale * freedom / (freedom - 2)``.
    freedom : float
        Degrees of freedom of that law.
    shape, rate : float
        v | y ~ InverseGamma(shape, rate).
    """

    free_energy: float
    mean: Array
    scale: Array
    freedom: float
    shape: float
    rate: float


def normal_inverse_gamma(design: ArrayLike, y: ArrayLike, shape: float, rate: float,
                         prior_mean: ArrayLike = 0.0,
                         prior_covariance: ArrayLike = 1.0) -> NormalInverseGamma:
    """Exact evidence and posterior with v ~ InverseGamma(shape, rate), theta | v ~ N(m0, v V0).

    Parameters
    ----------
    design : array (points, parameters)
    y : array (points,)
    shape, rate : float
        Of the inverse gamma prior of the variance, density ~ v^-(shape+1) exp(-rate / v); rate
        in units of y^2.
    prior_mean, prior_covariance
        m0 and V0 (covariance of theta in units of v), as in `theory.evidence.LinearRegression`.

    Returns
    -------
    NormalInverseGamma

    Raises
    ------
    DomainError
        For shapes that do not fit, NaN, or numbers that are not positive.

    Warns
    -----
    PrecisionWarning
        Where rounding may move F by more than 1e-6 nats, or the mean or a width by more than 1e-6
        standard deviations.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
    >>> y = [0.3, 1.1, 2.4, 2.7, 4.5, 6.2]
    >>> answer = normal_inverse_gamma(np.stack([x, np.ones(6)], axis=1), y, 3.0, 1.0,
    ...                               prior_covariance=[4.0, 1.0])
    >>> print(f"{answer.free_energy:.10f}")
    6.5429739530
    """
    from theory.evidence import LinearRegression
    from theory.stacked import fit

    alpha, gamma = positive_number("shape", shape), positive_number("rate", rate)
    # With unit noise the regression holds everything that theta contributes: Q / 2 is its energy
    # with theta integrated out, and D = det V0 P.
    unit = LinearRegression(design, y, 1.0, prior_mean, prior_covariance)
    kappa, c, N = unit.eigenvalues, unit.components, len(unit.y)
    half_q = unit.residual_energy + 0.5 * float(np.sum(c**2 / (1.0 + kappa)))
    log_det = float(np.sum(np.log1p(kappa)))
    a, g = alpha + 0.5 * N, gamma + half_q
    free = (0.5 * N * math.log(2 * math.pi) + 0.5 * log_det - alpha * math.log(gamma)
            + a * math.log(g) - math.lgamma(a) + math.lgamma(alpha))
    terms = (0.5 * N * math.log(2 * math.pi) + 0.5 * log_det + alpha * abs(math.log(gamma))
             + a * abs(math.log(g)) + abs(math.lgamma(a)) + abs(math.lgamma(alpha)))
    tell("normal_inverse_gamma", error_bound(
        terms, float(np.max(np.abs(unit.y))) / math.sqrt(g / a),
        min(condition(unit.design), math.sqrt(1.0 + float(np.max(kappa))))))
    found = fit(unit.design, unit.y, unit.noise, unit.prior_mean, unit.prior_covariance, 1.0)
    # Its bound is for unit noise; residuals count in units of the noise that there is.
    tell("normal_inverse_gamma", found.lost * max(1.0, math.sqrt(a / g)),
         what="this mean and scale to {} standard deviations")
    return NormalInverseGamma(free, found.mean, g / a * found.root @ found.root.T, 2.0 * a, a, g)


@dataclass(frozen=True)
class WideBox:
    """A linear regression whose flat prior reaches far beyond the posterior.

    Parameters
    ----------
    points, parameters : int
    rss : float
        Residual sum of squares at the least squares estimate, in units of y^2.
    log_volume : float
        ln of the volume of the box.
    log_det : float
        ln det X^T X.
    largest, conditioned : float
        max |y| and the condition of the design: what rounding depends on.

    Raises
    ------
    DomainError
        For numbers that are not finite, rss <= 0, or no more points than parameters.
    """

    points: int
    parameters: int
    rss: float
    log_volume: float
    log_det: float
    largest: float = 0.0
    conditioned: float = 1.0

    def __post_init__(self) -> None:
        for name in ("points", "parameters"):
            whole(name, getattr(self, name), 1)
        if self.excess < 1:
            raise DomainError("points", f"{self.points} for {self.parameters} parameters",
                              "more points than parameters")
        positive_number("rss", self.rss)
        for name in ("log_volume", "log_det"):
            finite(name, getattr(self, name), 0)
        positive_number("largest", self.largest, zero=True)

    @property
    def largest_variance(self) -> float:
        """The v up to which the box is, by its volume, eight posterior standard deviations wide
        for each parameter; beyond, its walls count."""
        logarithm = (2 / self.parameters * (self.log_volume + 0.5 * self.log_det)
                     - 2 * math.log(8))
        return math.exp(logarithm) if logarithm < 709.0 else math.inf

    @property
    def excess(self) -> int:
        """N - K, the degrees of freedom of the residuals."""
        return self.points - self.parameters


def wide_box(design: ArrayLike, y: ArrayLike, volume: float) -> WideBox:
    """What a wide flat prior leaves of the data: N, K, RSS, det X^T X and the volume.

    Parameters
    ----------
    design : array (points, parameters)
    y : array (points,)
    volume : float
        Product of the widths of the prior's boxes.

    Returns
    -------
    WideBox

    Raises
    ------
    DomainError
        For shapes that do not fit, dependent columns, a perfect fit, N <= K, or numbers whose
        squares have no float.

    Examples
    --------
    >>> wide_box([[1.0], [1.0], [1.0]], [0.0, 1.0, 2.0], 20.0).rss
    2.0
    """
    X, data = regression(design, y)
    V, (N, K) = positive_number("volume", volume), X.shape
    if K >= N:
        raise DomainError("design", f"{N} points and {K} parameters",
                          "more points than parameters: the noise is estimated from the rest")
    for field, values in (("design", X), ("y", data)):
        largest = float(np.max(np.abs(values)))
        if largest and not 1e-145 < largest < 1e145:
            raise DomainError(field, f"numbers of size {largest:.1g}", "sizes from 1e-145 to 1e145",
                              "choose other units")
    rest = residual(X, data, least_squares(X, data))
    Q, R = np.linalg.qr(X)
    rest = rest - Q @ (Q.T @ rest)
    rss = float(rest @ rest)
    if rss <= (1e-14 * float(np.linalg.norm(data))) ** 2:
        raise DomainError("y", "data that the model fits perfectly",
                          "residuals: without them the noise level has no estimate")
    return WideBox(N, K, rss, math.log(V), 2.0 * float(np.sum(np.log(np.abs(np.diag(R))))),
                   float(np.max(np.abs(data))), condition(X))


def free_energy(box: WideBox, variance: ArrayLike) -> Any:
    """F(v) of a wide box at an assumed noise variance, in nats.

    Parameters
    ----------
    box : WideBox
    variance : float or array
        v = s^2, in units of y^2.

    Returns
    -------
    float or array of the shape of variance

    Warns
    -----
    ValidityWarning
        Above `WideBox.largest_variance`, where the walls count; `theory.box` has them.
    PrecisionWarning
        Where rounding may move it by more than 1e-6 nats.
    """
    v = positive("variance", variance)
    _tell("free_energy", box, float(np.min(v, initial=math.inf)))
    _walls("free_energy", box, float(np.max(v, initial=0.0)))
    return _wide(box, v)


def _walls(function: str, box: WideBox, v: float) -> None:
    """Warn where the posterior is not well inside the box."""
    if v > box.largest_variance:
        warnings.warn(f"{function}: at a noise variance of {v:.3g} the posterior is not well "
                      f"inside the box, as it is up to {box.largest_variance:.3g}; theory.box has "
                      "its walls", ValidityWarning, stacklevel=3)


def _wide(box: WideBox, v: Any) -> Any:
    return (0.5 * box.excess * np.log(2 * np.pi * v) + box.rss / (2 * v) + box.log_volume
            + 0.5 * box.log_det)


def _tell(function: str, box: WideBox, v: float) -> None:
    """Warn where float64 does not hold F to 1e-6 nats at this variance."""
    terms = (0.5 * box.excess * abs(math.log(2 * math.pi * v)) + box.rss / (2 * v)
             + abs(box.log_volume) + 0.5 * abs(box.log_det))
    tell(function, error_bound(terms, box.largest / math.sqrt(v), box.conditioned), level=4)


def empirical_bayes(box: WideBox) -> tuple[float, float]:
    """The noise variance of least free energy, and that free energy.

    v^ = RSS / (N - K): the unbiased estimate, not the maximum of the likelihood, RSS / N.
    For N - K of 1 or 2 it is small by chance so often that choices by it are erratic.

    Parameters
    ----------
    box : WideBox

    Returns
    -------
    variance, free_energy : float

    Warns
    -----
    ValidityWarning
        For N - K of 1 or 2, or an estimate above `WideBox.largest_variance`.
    PrecisionWarning
        Where rounding may move F by more than 1e-6 nats.

    Examples
    --------
    >>> variance, F = empirical_bayes(WideBox(6, 1, 16 / 33, np.log(20), np.log(66)))
    >>> print(f"{variance:.10f} {F:.10f}")
    0.0969696970 6.3518604314
    """
    variance = box.rss / box.excess
    _tell("empirical_bayes", box, variance)
    _walls("empirical_bayes", box, variance)
    if box.excess <= 2:
        warnings.warn(f"empirical_bayes: {box.points} points for {box.parameters} parameters; with "
                      "N - K of 1 or 2 the estimate runs away to zero by chance; "
                      "normal_inverse_gamma is exact", ValidityWarning, stacklevel=2)
    return variance, float(_wide(box, variance))


def estimate_quantile(probability: ArrayLike, excess: int) -> Any:
    """Quantile of v^ / v0 when the model is right: chi-square with N - K degrees, over N - K.

    Parameters
    ----------
    probability : float or array
        In (0, 1).
    excess : int
        N - K.

    Returns
    -------
    float or array

    Examples
    --------
    >>> [round(float(q), 10) for q in estimate_quantile([0.025, 0.975], 3)]
    [0.0719317609, 3.1161345348]
    """
    from scipy.special import gammainccinv, gammaincinv

    p = finite("probability", probability, np.ndim(probability))
    if np.any((p <= 0) | (p >= 1)):
        raise DomainError("probability", str(probability), "numbers between 0 and 1")
    half = 0.5 * positive_number("excess", excess)
    # Either tail by itself: 1 - p has no digits of a small p.
    return np.where(p < 0.5, gammaincinv(half, p), gammainccinv(half, 1.0 - p))[()] / half


def log_uniform(box: WideBox, lowest: float, highest: float) -> float:
    """F with v uniform in ln v between two bounds, theta under the improper density 1/volume.

    The box has to be wide at *every* v that counts: where the posterior at the largest v is
    wider than the box, this is the value for a flat density of height 1/volume without walls.

    Parameters
    ----------
    box : WideBox
    lowest, highest : float
        Bounds of v = s^2, in units of y^2.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    DomainError
        If the bounds are not positive and increasing, or so far below the residuals that their
        energy has no float.

    Warns
    -----
    ValidityWarning
        If variances at which the posterior is not well inside the box hold more than 1e-4 of the
        posterior probability; `log_uniform_with_walls` is exact there.
    PrecisionWarning
        Where rounding may move it by more than 1e-6 nats.

    Examples
    --------
    >>> one = WideBox(6, 1, 16 / 33, np.log(20), np.log(66))
    >>> print(f"{log_uniform(one, 1e-3, 1e3):.10f}")
    8.4836963054
    """
    lo, hi = _bounds(lowest, highest)
    nu, half = 0.5 * box.excess, 0.5 * box.rss
    log_mass = _log_gamma_between(nu, half, lo, hi)
    valid = box.largest_variance
    if valid < hi:
        beyond = math.exp(_log_gamma_between(nu, half, max(valid, lo), hi) - log_mass)
        if beyond > 1e-4:
            warnings.warn(f"log_uniform: variances above {valid:.3g}, where the posterior is not "
                          f"well inside the box, hold {beyond:.1g} of the posterior probability; "
                          "log_uniform_with_walls is exact", ValidityWarning, stacklevel=2)
    _tell("log_uniform", box, min(max(box.rss / box.excess, lo), hi))
    return (nu * math.log(2 * math.pi) + box.log_volume + 0.5 * box.log_det
            + math.log(_log_ratio(hi, lo)) + nu * math.log(half) - log_mass)


def log_uniform_with_walls(line: BoxLine, lowest: float, highest: float) -> float:
    """F with v uniform in ln v between two bounds, the walls of the boxes included.

    The average of exp(-F(v)) over ln v by quadrature, F(v) read off the temperature ladder of
    `theory.box`, beta = s^2 / v, at all v together (`theory.walls.log_integrals`).

    Parameters
    ----------
    line : theory.box.BoxLine
        Data and boxes; its noise is only the unit of the ladder.
    lowest, highest : float
        Bounds of v = s^2, in units of y^2.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    DomainError
        If the bounds are not positive and increasing, or the noise differs between points.

    Warns
    -----
    PrecisionWarning
        Where rounding may move it by more than 1e-6 nats.

    Examples
    --------
    >>> line = BoxLine([0, 1, 2, 3, 4, 6], [0.3, 1.1, 2.4, 2.7, 4.5, 6.2], 0.5, (-10, 10))
    >>> print(f"{log_uniform_with_walls(line, 1e-3, 1e3):.8f}")       # nothing near the walls
    8.48369631
    """
    lo, hi = _bounds(lowest, highest)
    if np.ndim(line.noise):
        raise DomainError("line.noise", "different values", "one noise level for all points")
    N, least = len(line.y), 2.0 * line.noise**2 * line.ground.least         # least of the squares
    v, left, right = _that_counts(N, len(line.boxes), least, lo, hi)
    # In w, v exp(w) the variance, the density is about a gamma law of N degrees: smooth on the
    # scale 1 / sqrt(N); walls come and go within a few e-folds.
    panels = math.ceil((right - left) / min(12.0 / math.sqrt(N), 4.0))
    edges = np.linspace(left, right, panels + 1)
    nodes, weights = legendre(32)
    half = 0.5 * np.diff(edges)[:, None]
    w = (edges[:-1, None] + half * (nodes + 1.0)).ravel()
    beta = line.noise**2 / v * np.exp(-w)
    log_integral = -0.5 * sum(np.log(beta * h / (2 * math.pi)) for h in line.curvatures)
    # Nine standard deviations from every wall they hold back 1e-18 of the posterior.
    room = min(min(high - value, value - low) / sd for (low, high), value, sd in zip(
        line.boxes, line.estimate, line.widths, strict=True))
    near = room * np.sqrt(beta) < 9.0
    log_integral[near] = log_integrals(line.ground, beta[near])
    log_density = log_integral - _rise(w, N, least / v)
    log_top = float(log_density.max())
    total = float((half * weights).ravel() @ np.exp(log_density - log_top))
    terms = (0.5 * N * math.log(2 * math.pi * v), 0.5 * least / v, -log_top, -math.log(total),
             sum(math.log(high - low) for low, high in line.boxes), math.log(_log_ratio(hi, lo)))
    tell("log_uniform_with_walls", error_bound(
        sum(map(abs, terms)), float(np.max(np.abs(line.y))) / math.sqrt(v),
        condition(line.design)))
    return sum(terms)


def _rise(w: Any, points: float, squares: float) -> Any:
    """What N / 2 ln v + squares / 2v gains from w = 0 on, v growing by exp(w)."""
    return 0.5 * (points * w + squares * np.expm1(-w))


def _that_counts(points: int, parameters: int, least: float, lo: float, hi: float
                 ) -> tuple[float, float, float]:
    """A variance v and the range of ln of variances over it that hold all but e^-60 of the
    posterior.

    F is N/2 ln v + least / 2v less the logarithm of an integral over the box that grows with v,
    but no faster than v^d (the energy is convex), d parameters.
    """
    v = min(max(least / points, lo), hi)
    left = _halved(lambda w: -_rise(w, points, least / v), -_log_ratio(v, lo))
    slowest = points - 2 * parameters
    if slowest <= 0:
        return v, left, _log_ratio(hi, v)
    top = min(max(least / slowest, lo), hi)
    right = _halved(lambda w: -_rise(w, slowest, least / top), _log_ratio(hi, top))
    return v, left, _log_ratio(top, v) + right


def _bounds(lowest: float, highest: float) -> tuple[float, float]:
    lo, hi = positive_number("lowest", lowest), positive_number("highest", highest)
    if not lo < hi:
        raise DomainError("lowest", f"{lo} with highest = {hi}", "lowest < highest")
    return lo, hi


def _log_ratio(one: float, two: float) -> float:
    """ln(one / two), also where the two are nearly equal or their quotient has no float."""
    ratio = one / two
    if 0.5 < ratio < 2.0:
        return math.log1p((one - two) / two)
    return math.log(ratio) if 1e-300 < ratio < 1e300 else math.log(one) - math.log(two)


def _log_gamma_between(a: float, half: float, lowest: float, highest: float) -> float:
    """ln of the integral of t^(a-1) exp(-t) over t = half / v, however far in a tail.

    In w = ln(t / mode) the integrand is log-concave; a sum of positive terms over the part of it
    that counts, measured from its largest value.
    """
    likeliest = min(max(half / a, lowest), highest)
    mode = half / likeliest
    if not math.isfinite(mode):
        raise DomainError("highest", f"{highest}", "variances that are not so far below the "
                          "residuals", "choose larger bounds")

    def exponent(w: Any) -> Any:
        return (a - mode) * w - mode * (np.expm1(w) - w)

    left, right = (_halved(exponent, _log_ratio(likeliest, v)) for v in (highest, lowest))
    nodes, weights = legendre(32)
    edges = np.union1d(np.linspace(left, 0.0, 17), np.linspace(0.0, right, 17))
    steps = 0.5 * np.diff(edges)[:, None]
    w = edges[:-1, None] + steps * (nodes + 1.0)
    log_mode = _log_ratio(half, likeliest)
    return a * log_mode - mode + math.log(float(np.sum(steps * weights * np.exp(exponent(w)))))


def _halved(exponent: Callable[[Any], Any], end: float) -> float:
    """The end nearest to 0 beyond which a concave exponent lies below -60, to a quarter."""
    while exponent(0.8 * end) < -60.0:
        end *= 0.8
    return end
