r"""Integration of measurements: do several data sets share their parameters?  Exactly.

Every data set m is a linear regression with estimate theta_m and covariance Sigma_m of its
likelihood.  Shared parameters give one free energy F_int, separate ones the sum F_sep; their
difference depends on the estimates' disagreement only:

    F_int - F_sep = -ln [ V N(theta_1 - theta_2; 0, Sigma_1 + Sigma_2) ]

for two sets under a wide box of volume V, and the analogous products for more sets, for a part of
the parameters, and for Gaussian priors (where no width has to be large).  Over data sets each
difference is half a quadratic form of normal numbers (`law_of_difference`,
`law_of_gaussian_difference`; `theory.quadratic` has its distribution): how often sets are
integrated is known before they are measured.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import (
    DomainError,
    ValidityWarning,
    finite,
    positive_number,
    regression,
    whole,
)
from theory.evidence import LinearRegression
from theory.quadratic import Quadratic, cumulative
from theory.rounding import ROUNDING, condition, least_squares, tell
from theory.stacked import Factor, factor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """What one data set says of its parameters: the normal likelihood in theta.

    Parameters
    ----------
    value : array (parameters,)
        Least squares estimate.
    covariance : array (parameters, parameters)
        s^2 (X^T X)^-1.
    triangle : array (parameters, parameters), optional
        R with R^T R the inverse of the covariance, from the data themselves (`estimate`); used in
        place of the covariance where it is given.  At positions far from zero it keeps the digits
        that the entries of a covariance no longer hold.
    """

    value: Array
    covariance: Array
    triangle: Array | None = None


class Derivation(NamedTuple):
    """Shared against separate parameters, integral by integral, in sympy; one parameter each."""

    separate: Any        # the evidence of one set under a wide box: s sqrt(2 pi) / V
    together: Any        # the evidence of two sets that share it
    difference: Any      # F_int - F_sep of two sets
    three: Any           # of three sets, by their means and precisions
    gaussian: Any        # of two sets under N(0, S0), exactly
    quadratic: Any       # D^T (Sigma_1 + Sigma_2)^-1 D of two parameters: twice the misfit


@cache
def derivation() -> Derivation:
    """The difference of two and three sets, wide box and Gaussian prior, in sympy.

    More parameters are the same integrals with matrices; ``quadratic`` is the misfit of two
    parameters, whose equality with the sum over both sets a test proves.

    Returns
    -------
    Derivation
        In ``D`` (difference of the estimates), ``s_1, s_2`` (their standard deviations), ``V``;
        ``theta_1`` ... (estimates), ``p_1`` ... (precisions); ``S_0``.

    Examples
    --------
    >>> derivation().difference
    D**2/(2*s_1**2 + 2*s_2**2) - log(V) + log(2*pi*(s_1**2 + s_2**2))/2
    """
    import sympy as sp

    theta, D = sp.symbols("theta D", real=True)
    V, s1, s2, S0 = sp.symbols("V s_1 s_2 S_0", positive=True)

    def evidence(exponent: Any, prior: Any = 1 / V) -> Any:
        """Integral of exp(-exponent) over theta, times the height of the prior."""
        a, b, c = sp.Poly(sp.expand(exponent), theta).all_coeffs()
        return prior * sp.sqrt(sp.pi / a) * sp.exp(b**2 / (4 * a) - c)

    one, two = theta**2 / (2 * s1**2), (theta - D) ** 2 / (2 * s2**2)
    separate, together = sp.simplify(evidence(one)), sp.simplify(evidence(one + two))
    width = s1**2 + s2**2
    # Minus the logarithm of together / (separate(1) separate(2)), in its simplest form.
    difference = D**2 / (2 * width) + sp.log(2 * sp.pi * width) / 2 - sp.log(V)
    t, p = sp.symbols("theta_1:4", real=True), sp.symbols("p_1:4", positive=True)
    total = sum(p)
    mean = sum(q * v for q, v in zip(p, t, strict=True)) / total
    three = (sum(q * (v - mean) ** 2 for q, v in zip(p, t, strict=True)) / 2
             + sp.log(total / sp.prod(p)) / 2 + 2 * (sp.log(2 * sp.pi) / 2 - sp.log(V)))

    def free(precision: Any, pull: Any) -> Any:
        return sp.log(precision) / 2 - pull**2 / (2 * precision)

    L = [1 / S0 + q for q in p[:2]]
    pulls = [q * v for q, v in zip(p[:2], t[:2], strict=True)]
    gaussian = (free(L[0] + L[1] - 1 / S0, pulls[0] + pulls[1]) - free(L[0], pulls[0])
                - free(L[1], pulls[1]) - sp.log(S0) / 2)
    A = sp.Matrix(2, 2, sp.symbols("A_11 A_12 A_12 A_22", real=True))
    B = sp.Matrix(2, 2, sp.symbols("B_11 B_12 B_12 B_22", real=True))
    gap = sp.Matrix(sp.symbols("D_1 D_2", real=True))
    quadratic = sp.factor((gap.T * (A + B).inv() * gap)[0])
    return Derivation(separate, together, difference, three, gaussian, quadratic)


def estimate(design: ArrayLike, y: ArrayLike, noise: float) -> Estimate:
    """Least squares estimate and covariance of one data set.

    Parameters
    ----------
    design : array (points, parameters)
    y : array (points,)
    noise : float
        Standard deviation of the noise, in the units of y.

    Returns
    -------
    Estimate

    Raises
    ------
    DomainError
        For shapes that do not fit, or a design that does not determine the parameters.

    Examples
    --------
    >>> found = estimate([[1.0], [1.0]], [0.0, 2.0], 1.0)
    >>> round(float(found.value[0]), 12), round(float(found.covariance[0, 0]), 12)
    (1.0, 0.5)
    """
    X, data = regression(design, y)
    s, value = positive_number("noise", noise), least_squares(X, data)
    R = np.linalg.qr(X)[1] / s
    inverse = np.linalg.inv(R)
    return Estimate(value, inverse @ inverse.T, R)


def difference(estimates: Sequence[Estimate], volume: float,
               shared: Sequence[int] | None = None) -> float:
    """F_int - F_sep under wide boxes: negative where the sets are better integrated.

    Parameters
    ----------
    estimates : sequence of Estimate
        Two data sets or more.
    volume : float
        Volume of the prior box of the *shared* parameters.
    shared : sequence of int, optional
        Which parameters are shared (all if not given); the others are each set's own.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    DomainError
        For fewer than two sets, unequal numbers of parameters, or a volume that is not positive.

    Warns
    -----
    ValidityWarning
        If the box is less than eight standard deviations of an estimate wide.
    PrecisionWarning
        Where rounding, of the estimates and covariances as they are stored or on the way, may move
        it by more than 1e-6 nats.

    Examples
    --------
    >>> one = Estimate(np.array([0.0]), np.array([[1.0]]))
    >>> print(f"{difference([one, one], 100 * math.sqrt(4 * math.pi)):.6f}")        # -ln 100
    -4.605170
    """
    log_v = math.log(positive_number("volume", volume))
    sets = _blocks(estimates, shared)
    _wide("difference", sets, log_v)
    misfit, constant = _parts("difference", sets, log_v)
    return misfit + constant


class _Sets(NamedTuple):
    """Data sets by their estimates and the roots of their precisions."""

    values: Array        # (sets, parameters)
    roots: Array         # (sets, parameters, parameters): W with W^T W the inverse covariance
    lost: float          # relative rounding error of the roots


def _parts(function: str, sets: _Sets, log_volume: float) -> tuple[float, float]:
    """Half the squared distances of M values from their mean, and what does not depend on them.

    Both from one triangle of all roots below one another: no precision is ever formed, which would
    square the condition.
    """
    M, d = sets.values.shape
    together, _, rest, size = _stacked(sets)
    misfit = 0.5 * float(rest @ rest)
    # One Gaussian integral in place of M; each has (2 pi)^(d/2) sqrt(det Sigma) / V.
    log_det = 2.0 * (_log_det(together) - sum(_log_det(W) for W in sets.roots))
    lost, moved = ROUNDING * condition(together) + sets.lost, ROUNDING * size
    tell(function, lost * (M * d + 2.0 * misfit) + moved * (math.sqrt(2.0 * misfit) + moved),
         level=4)
    return misfit, 0.5 * log_det + (M - 1) * (0.5 * d * math.log(2 * math.pi) - log_volume)


def _stacked(sets: _Sets) -> tuple[Array, Array, Array, float]:
    """Triangle of all sets together, their mean, what separates them from it in standard
    deviations, and the size of the values in these."""
    M, d = sets.values.shape
    Q, R = np.linalg.qr(sets.roots.reshape(M * d, d))
    mean = sets.values[0]
    # Each round measures from the last one's mean: a common part, however large, cancels before
    # anything is rounded.
    for _ in range(3):
        gaps = np.einsum("mij,mj->mi", sets.roots, sets.values - mean).ravel()
        mean = mean + np.linalg.solve(R, Q.T @ gaps)
    size = np.max(np.einsum("mij,mj->mi", np.abs(sets.roots), np.abs(sets.values)))
    return R, mean, gaps - Q @ (Q.T @ gaps), float(size)


def _log_det(root: Array) -> float:
    """ln |det| of a root, by its triangle: rows and columns of any scale."""
    return float(np.sum(np.log(np.abs(np.diag(np.linalg.qr(root)[1])))))


def _wide(function: str, sets: _Sets, log_volume: float) -> None:
    """Warn where the box, by its volume, is not eight posterior standard deviations wide."""
    d = sets.values.shape[1]
    widths = math.exp((log_volume + min(_log_det(W) for W in sets.roots)) / d)
    if widths < 8.0:
        warnings.warn(f"{function}: the box is {widths:.1f} standard deviations of an estimate "
                      "wide and its walls count; theory.joint_box keeps them, and "
                      "gaussian_difference is exact for its prior", ValidityWarning, stacklevel=3)


def integrated(estimates: Sequence[Estimate]) -> Estimate:
    """The estimate of all data sets together: precisions add.

    Parameters
    ----------
    estimates : sequence of Estimate

    Returns
    -------
    Estimate
        With its triangle.

    Raises
    ------
    DomainError
        For fewer than two sets, or unequal numbers of parameters.

    Warns
    -----
    PrecisionWarning
        Where rounding may move the value by more than 1e-6 of its standard deviations.
    """
    sets = _blocks(estimates, None)
    R, value, rest, size = _stacked(sets)
    inverse = np.linalg.inv(R)
    lost = (ROUNDING * condition(R) + sets.lost) * (1.0 + float(np.linalg.norm(rest)))
    tell("integrated", lost + ROUNDING * size, what="the estimate to {} standard deviations")
    return Estimate(value, inverse @ inverse.T, R)


def law_of_difference(truths: Sequence[Estimate], volume: float,
                      shared: Sequence[int] | None = None, *,
                      boxes: Sequence[tuple[float, float]] | None = None) -> Quadratic:
    """The law of `difference` over data sets: half a noncentral chi-square, plus a constant.

    (M - 1) d degrees of freedom; the noncentrality is the misfit of the true parameters.  A volume
    does not say where the walls are: with ``boxes`` one within reach of a truth is said;
    `theory.joint_box.cumulative_with_box` keeps it (two sets, one parameter).

    Parameters
    ----------
    truths : sequence of Estimate
        The *true* parameters of each set, and the covariance that its estimate will have.
    volume, shared
        As in `difference`.
    boxes : sequence of (lo, hi), optional
        Of the shared parameters in their order, the product of whose widths is the volume.

    Returns
    -------
    theory.quadratic.Quadratic
        With its mean and variance; `theory.quadratic.cumulative` and ``density`` take it.

    Raises
    ------
    DomainError
        As `difference`; or boxes that do not have the volume, or not one for each parameter.

    Warns
    -----
    ValidityWarning
        If the box is less than eight standard deviations of an estimate wide, or a wall of
        ``boxes`` less than seven from a truth: three that an estimate may be off, and four that its
        likelihood needs.
    PrecisionWarning
        Where rounding, of the estimates and covariances as they are stored or on the way, may move
        it by more than 1e-6 nats.

    Examples
    --------
    >>> from theory.quadratic import cumulative
    >>> x = np.linspace(-1, 1, 5)
    >>> width = np.diag([1 / (x @ x), 1 / 5])
    >>> law = law_of_difference([Estimate(np.array([2.0, 0.0]), width),
    ...                          Estimate(np.array([1.0, 0.0]), width)], 400.0)
    >>> print(f"{law.mean:.6f} {law.variance:.3f} {cumulative(law, 0.0):.10f}")
    -3.098305 2.250 0.9538958002
    """
    log_v = math.log(positive_number("volume", volume))
    sets = _blocks(truths, shared)
    _wide("law_of_difference", sets, log_v)
    if boxes is not None:
        _walls(sets, log_v, finite("boxes", boxes, 2))
    return _law("law_of_difference", sets, log_v)


def _walls(sets: _Sets, log_volume: float, boxes: Array) -> None:
    """Warn where a wall is within reach of a truth."""
    d = sets.values.shape[1]
    widths = boxes[:, 1] - boxes[:, 0] if boxes.shape == (d, 2) else np.zeros(1)
    if not (np.all(widths > 0.0) and abs(float(np.sum(np.log(widths))) - log_volume) < 1e-9):
        raise DomainError("boxes", str(boxes.tolist()), f"{d} of (lo, hi) with lo < hi that have "
                          "the volume together")
    sds = np.linalg.norm(np.linalg.inv(sets.roots), axis=2)
    room = float(np.min(np.minimum(boxes[:, 1] - sets.values, sets.values - boxes[:, 0]) / sds))
    if room < 7.0:
        warnings.warn(f"law_of_difference: a wall is {room:.1f} standard deviations from a truth "
                      "and counts; theory.joint_box.cumulative_with_box keeps it (two sets, one "
                      "parameter)", ValidityWarning, stacklevel=3)


def _law(function: str, sets: _Sets, log_volume: float) -> Quadratic:
    misfit, constant = _parts(function, sets, log_volume)
    freedom = (len(sets.values) - 1) * sets.values.shape[1]
    shifts = np.zeros(freedom)
    shifts[0] = math.sqrt(max(2.0 * misfit, 0.0))
    return Quadratic(constant, np.ones(freedom), shifts)


def probability_of_integration(first: ArrayLike, second: ArrayLike, gap: ArrayLike,
                               volume: float) -> float:
    """How often two sets are integrated, over data sets, when their true parameters differ.

    `law_of_difference` at zero, for two sets that share all parameters.

    Parameters
    ----------
    first, second : array (parameters, parameters)
        Covariances of the two estimates.
    gap : array (parameters,)
        True difference of the parameters; zeros if they are the same.
    volume : float
        Volume of the prior box.

    Returns
    -------
    float

    Raises
    ------
    DomainError
        For shapes that do not fit, or matrices that are not covariances.

    Warns
    -----
    ValidityWarning
        If the box is less than eight standard deviations of an estimate wide.
    PrecisionWarning
        Where rounding, of the estimates and covariances as they are stored or on the way, may move
        it by more than 1e-6 nats.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 5)
    >>> covariance = np.diag([1 / (x @ x), 1 / 5])
    >>> print(f"{probability_of_integration(covariance, covariance, [1.0, 0.0], 400):.10f}")
    0.9538958002
    """
    D = finite("gap", gap, 1)
    log_v = math.log(positive_number("volume", volume))
    roots, lost = zip(*(_root(*given, len(D)) for given in (("first", first),
                                                           ("second", second))), strict=True)
    pair = _Sets(np.stack([D, 0.0 * D]), np.stack(roots), max(lost))
    _wide("probability_of_integration", pair, log_v)
    return float(cumulative(_law("probability_of_integration", pair, log_v), 0.0))


def _root(field: str, matrix: ArrayLike, d: int) -> tuple[Array, float]:
    """W with W^T W the inverse of a covariance, by Cholesky's factor of the correlations, and the
    relative error that the rounding of the entries themselves may have in it."""
    C = finite(field, matrix, 2)
    try:
        if (C.shape != (d, d) or np.any(np.diag(C) <= 0.0)
                or np.any(np.abs(C - C.T) > 1e-9 * np.max(np.abs(C), initial=0.0))):
            raise np.linalg.LinAlgError
        sd = np.sqrt(np.diag(C))
        scaled = C / sd[:, None] / sd
        W = np.linalg.inv(np.linalg.cholesky(0.5 * (scaled + scaled.T))) / sd
    except np.linalg.LinAlgError:
        raise DomainError(field, f"an array of shape {C.shape}",
                          f"a covariance, ({d}, {d})") from None
    return W, ROUNDING * condition(W) ** 2


def _triangle(field: str, matrix: ArrayLike, d: int) -> Array:
    R = finite(field, matrix, 2)
    if R.shape != (d, d) or not np.all(np.diag(np.linalg.qr(R)[1])):
        raise DomainError(field, f"an array of shape {R.shape}",
                          f"a root of the precision, ({d}, {d})")
    return R


def gaussian_difference(problems: Sequence[LinearRegression]) -> float:
    """F_int - F_sep under one Gaussian prior of all sets, exactly and at any width.

    Parameters
    ----------
    problems : sequence of LinearRegression
        With the same prior.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    DomainError
        For fewer than two sets, or different priors.

    Examples
    --------
    >>> one = LinearRegression([[1.0]], [0.5])
    >>> gaussian_difference([one, one]) < 0            # the same value twice: integrate
    True
    """
    from theory.evidence import free_energy

    joint = _together(problems)
    return free_energy(joint) - sum(free_energy(p) for p in problems)


def _together(problems: Sequence[LinearRegression]) -> LinearRegression:
    """All data sets as one regression on the shared parameters."""
    if len(problems) < 2:
        raise DomainError("problems", f"{len(problems)}", "two data sets or more")
    first = problems[0]
    for other in problems[1:]:
        if not (np.array_equal(first.prior_mean, other.prior_mean)
                and np.array_equal(first.prior_covariance, other.prior_covariance)):
            raise DomainError("problems", "different priors", "one prior of the shared parameters")
    return LinearRegression(np.concatenate([p.design for p in problems]),
                            np.concatenate([p.y for p in problems]),
                            np.concatenate([p.noise for p in problems]),
                            first.prior_mean, first.prior_covariance)


def law_of_gaussian_difference(problems: Sequence[LinearRegression], truths: ArrayLike
                               ) -> Quadratic:
    """The law of `gaussian_difference` over data sets, exactly and at any width of the prior.

    Each free energy is quadratic in the data; along the columns of the designs, which is all that
    counts, F~ = const + t^T (1 + R S0 R^T)^-1 t / 2 with t normal about R (theta - m0), R the
    triangle of the design in units of the noise.

    Parameters
    ----------
    problems : sequence of LinearRegression
        With the same prior, their noise known and true; their y does not enter.
    truths : array (sets, parameters)
        True parameters of each set.

    Returns
    -------
    theory.quadratic.Quadratic

    Raises
    ------
    DomainError
        For fewer than two sets, different priors, or truths that do not fit.

    Warns
    -----
    PrecisionWarning
        Where rounding may move its mean by more than 1e-6 nats.

    Examples
    --------
    >>> one = LinearRegression([[1.0], [1.0]], [0.0, 0.0])          # prior N(0, 1), noise 1
    >>> law = law_of_gaussian_difference([one, one], [[0.3], [0.3]])
    >>> apart = law_of_gaussian_difference([one, one], [[3.3], [0.3]])
    >>> law.mean < 0.0 < apart.mean
    True
    """
    first = _together(problems)
    theta = finite("truths", truths, 2)
    if theta.shape != (len(problems), first.dimension):
        raise DomainError("truths", f"an array of shape {theta.shape}",
                          f"({len(problems)}, {first.dimension}): the parameters of each set")
    # Parameters and truths in units of the prior, from its mean: theta = m0 + L u.
    L = np.asarray(np.linalg.cholesky(first.prior_covariance), dtype=np.float64)
    rows = [np.linalg.qr(p.design / p.noise[:, None])[1] @ L for p in problems]
    u = np.asarray(np.linalg.solve(L, (theta - first.prior_mean).T).T, dtype=np.float64)
    law, lost = _between(rows, u)
    tell("law_of_gaussian_difference", lost + ROUNDING * (condition(L.T) ** 2 - 1.0))
    return law


def _between(rows: list[Array], u: Array) -> tuple[Quadratic, float]:
    """Law of the difference under N(0, 1), C_m the rows of set m and t_m ~ N(C_m u_m, 1),

        F_int - F_sep = const + t^T [(1 + C C^T)^-1 - diag_m (1 + C_m C_m^T)^-1] t / 2,

    and a bound of its rounding error in nats.
    """
    stacks = [factor(np.concatenate([C, np.eye(u.shape[1])]))
              for C in (np.concatenate(rows), *rows)]
    signs = [1.0] + [-1.0] * len(rows)
    # All sets together: at the truth of the first one, and what the others' truths are beside it.
    apart = np.concatenate([C @ (v - u[0]) for C, v in zip(rows, u, strict=True)])
    parts = [_prior_and_rest(f, v, e) for f, v, e in zip(
        stacks, (u[0], *u), (apart, *(np.zeros(len(C)) for C in rows)), strict=True)]
    form, pull = -_inside(stacks[0]), parts[0].pull
    ends = np.cumsum([len(C) for C in rows])
    for f, part, C, end in zip(stacks[1:], parts[1:], rows, ends, strict=True):
        own = slice(end - len(C), end)
        form[own, own] += _inside(f)
        pull[own] -= part.pull
    weights, axes = np.linalg.eigh(form)
    counts = np.abs(weights) > 1e-14 * np.max(np.abs(weights))
    shifts = (axes.T @ pull)[counts] / weights[counts]
    # A weight that is small against one is wrong by the rounding of one; the variance of its term
    # is right by its shift, and the mean by the constant.
    constant = sum(s * (f.log_det + 0.5 * part.least)
                   for s, f, part in zip(signs, stacks, parts, strict=True))
    lost = sum(part.lost for part in parts) + ROUNDING * float(np.abs(parts[0].pull) @ np.repeat(
        [np.max(np.abs(C) @ np.abs(v - u[0])) for C, v in zip(rows, u, strict=True)],
        [len(C) for C in rows]))
    return Quadratic(constant - 0.5 * float(weights[counts] @ shifts**2), weights[counts],
                     shifts), lost


class _Pull(NamedTuple):
    """(1 + C C^T)^-1 t at t = C u + e, t^T times it, and a bound of what rounding moves."""

    pull: Array
    least: float
    lost: float


def _prior_and_rest(stack: Factor, u: Array, e: Array) -> _Pull:
    """The least of |t - C v|^2 + |v|^2, as |e - C w|^2 + |u + w|^2 with v = u + w: nothing large
    is subtracted where sets agree, however wide the prior is."""
    target = np.concatenate([e, -u])
    along = stack.Q.T @ target
    rest = target - stack.Q @ along
    shaken = stack.sizes @ np.abs(stack.inverse)
    return _Pull(rest[:len(e)], float(rest @ rest), ROUNDING * float(
        np.sum(np.abs(stack.Q) * shaken) + np.abs(rest) @ (shaken @ np.abs(along))))


def _inside(stack: Factor) -> Array:
    """1 - (1 + C C^T)^-1 = Q Q^T of the rows of C."""
    Q = stack.Q[:-stack.Q.shape[1]]
    return np.asarray(Q @ Q.T)


def _blocks(estimates: Sequence[Estimate], shared: Sequence[int] | None) -> _Sets:
    """The shared parameters of every set, the rest integrated out: the marginal of a normal law."""
    if len(estimates) < 2:
        raise DomainError("estimates", f"{len(estimates)}", "two data sets or more")
    for m, e in enumerate(estimates):
        if not isinstance(e, Estimate):
            raise DomainError(f"estimates[{m}]", f"a {type(e).__name__}", "a theory.joint.Estimate")
    values = [finite(f"estimates[{m}].value", e.value, 1) for m, e in enumerate(estimates)]
    index = _shared([len(v) for v in values], shared)
    roots, lost = zip(*(_marginal(f"estimates[{m}]", e, index)
                        for m, e in enumerate(estimates)), strict=True)
    return _Sets(np.stack([v[index] for v in values]), np.stack(roots), max(lost))


def _shared(sizes: list[int], shared: Sequence[int] | None) -> list[int]:
    try:
        index = list(range(min(sizes))) if shared is None else [whole("shared", i, 0)
                                                               for i in shared]
    except TypeError:
        raise DomainError("shared", repr(shared), "a sequence of indices") from None
    if (shared is None and len(set(sizes)) > 1) or not index or max(index) >= min(sizes) \
            or len(set(index)) != len(index):
        raise DomainError("shared", str(shared), "parameters that every data set has, once each")
    return index


def _marginal(field: str, given: Estimate, index: list[int]) -> tuple[Array, float]:
    """Root of the precision of some parameters of one set, and its relative error."""
    d = len(given.value)
    if given.triangle is None:
        root, lost = _root(f"{field}.covariance", given.covariance, d)
    else:
        root = _triangle(f"{field}.triangle", given.triangle, d)
        lost = ROUNDING * condition(root)
        if finite(f"{field}.covariance", given.covariance, 2).shape != (d, d):
            raise DomainError(f"{field}.covariance", f"shape {np.shape(given.covariance)}",
                              f"a covariance, ({d}, {d})")
    # With the shared columns last, the corner of the triangle is what the others leave of them.
    others = [j for j in range(d) if j not in index]
    return np.linalg.qr(root[:, others + index])[1][len(others):, len(others):], lost
