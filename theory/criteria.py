r"""What the information criteria say of a linear model, exactly, and what they miss.

For a linear regression with known noise every criterion is a closed form in the residuals r_i at
the posterior mean and the leverages h_i = x_i^T Lambda^-1 x_i / s_i^2.  All are given as sums over
the data in nats, of the size of a free energy (multiply by two for the deviance scale).  AIC, WAIC
and LOO ask which model predicts the next data best; F, BIC and WBIC which one made these data.
They may differ, and both be right.

AIC, BIC: Akaike, Schwarz; DIC: Spiegelhalter et al.; WAIC: Watanabe, JMLR 11 (2010) 3571; WBIC:
Watanabe, arXiv 1208.6338.  The closed forms for the linear model are derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError, finite, positive, regression, squarable
from theory.rounding import condition, error_bound, residual, solved, tell

Array = NDArray[np.float64]


class Derivation(NamedTuple):
    """One point's share of every criterion, in sympy; residual r and noise s, leverage h."""

    predictive: Any      # p(y_i | y): the likelihood averaged over the posterior
    lppd: Any            # its logarithm
    p_waic: Any          # posterior variance of ln p(y_i | theta)
    loo: Any             # -ln p(y_i | the others): ln of the average of 1 / p(y_i | theta)
    deviance: Any        # mean of -ln p(y_i | theta) less its value at the mean: h / 2
    wbic: Any            # <U> at beta = 1 / ln n of d regular parameters, less its least
    loss: Any            # expected -ln p of a new datum at this place, less the entropy; E over y
    waic_mean: Any       # E over y of the WAIC of this point, less the entropy
    loo_mean: Any        # the same of LOO


@cache
def derivation() -> Derivation:
    """The criteria of one data point in sympy: the model's value f is normal under the posterior.

    f = m + s sqrt(h) z, z ~ N(0, 1), y = m + r.  The last three are for a wide prior and a right
    model: r ~ N(0, s^2 (1 - h)), and m misses the truth by N(0, s^2 h).

    Returns
    -------
    Derivation
        In ``r, s, h, n, d``.

    Examples
    --------
    >>> derivation().p_waic
    h**2/2 + h*r**2/s**2
    >>> derivation().loo_mean
    -log(1 - h)/2
    """
    import sympy as sp

    r, z = sp.symbols("r z", real=True)
    h, s, n, d = sp.symbols("h s n d", positive=True)
    posterior = sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)
    log_p = -((r - sp.sqrt(h) * s * z) ** 2) / (2 * s**2) - sp.log(2 * sp.pi * s**2) / 2

    def mean(value: Any) -> Any:
        return sp.expand(sp.integrate(sp.expand(value) * posterior, (z, -sp.oo, sp.oo)))

    # Averages of p and 1/p: one normal integral, with precision 1 + h and 1 - h (h < 1).
    q, b = sp.Symbol("q", positive=True), sp.Symbol("b", real=True)
    gauss = sp.integrate(sp.exp(-q * z**2 / 2 + b * z), (z, -sp.oo, sp.oo)) / sp.sqrt(2 * sp.pi)

    def average(sign: int) -> Any:
        """Of p(y_i | theta) ** sign over the posterior."""
        return sp.simplify(gauss.subs({q: 1 + sign * h, b: sign * sp.sqrt(h) * r / s}) * (
            sp.exp(-(r**2) / (2 * s**2)) / sp.sqrt(2 * sp.pi * s**2)) ** sign)

    predictive = average(1)
    loo = sp.expand_log(sp.log(average(-1)), force=True)
    width = 1 - h
    moving = log_p + sp.log(2 * sp.pi * s**2) / 2
    p_waic = sp.expand(mean(moving**2) - mean(moving) ** 2)
    deviance = sp.simplify(-mean(moving) - r**2 / (2 * s**2))
    lppd = sp.expand_log(sp.log(predictive), force=True)
    entropy = sp.log(2 * sp.pi * s**2) / 2 + sp.S.Half
    squared = s**2 * width                # E r^2

    def over_data(value: Any, second: Any) -> Any:
        return sp.expand_log(sp.simplify(sp.expand(value).subs(r**2, second) - entropy), force=True)

    loss = sp.simplify(over_data(-lppd, s**2 * (1 + h)))
    waic_mean = sp.simplify(over_data(-lppd + p_waic, squared))
    loo_mean = sp.simplify(over_data(loo, squared))
    beta = sp.Symbol("beta", positive=True)
    wbic = (d / (2 * beta)).subs(beta, 1 / sp.log(n))
    return Derivation(predictive, lppd, p_waic, loo, deviance, wbic, loss, waic_mean, loo_mean)


@dataclass(frozen=True)
class Criteria:
    """All criteria of one model, as sums over the data in nats.

    Parameters
    ----------
    log_likelihood : float
        The largest one, at the least squares estimate.
    aic, bic : float
        Half of the usual AIC and BIC.
    waic, p_waic : float
        -lppd + p_waic, and its penalty.
    wbic : float
        <U> at beta = 1/ln n with the noise's constant.
    loo : float
        Exact leave-one-out: -sum of ln p(y_i | the other data).
    dic, p_dic : float
        Half of the usual DIC, and its effective number of parameters.
    pareto : array (points,)
        Tail index of the importance weights of leave-one-out; the variance of the weights is
        infinite from 1/2 on.
    """

    log_likelihood: float
    aic: float
    bic: float
    waic: float
    p_waic: float
    wbic: float
    loo: float
    dic: float
    p_dic: float
    pareto: Array


def criteria(design: ArrayLike, y: ArrayLike, noise: ArrayLike, prior_mean: ArrayLike = 0.0,
             prior_covariance: ArrayLike | None = None) -> Criteria:
    """Every information criterion of a linear model with known noise, exactly.

    Parameters
    ----------
    design : array (points, parameters)
    y : array (points,)
    noise : float or array (points,)
        Standard deviation of the noise, in the units of y.
    prior_mean, prior_covariance
        A Gaussian prior as in `theory.evidence.LinearRegression`; without a covariance the prior
        is flat and wide.

    Returns
    -------
    Criteria

    Raises
    ------
    DomainError
        For shapes that do not fit, fewer than two points, or dependent columns under a flat prior.

    Warns
    -----
    PrecisionWarning
        Where rounding may move a criterion by more than 1e-6 nats.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
    >>> y = [0.3, 1.1, 2.4, 2.7, 4.5, 6.2]
    >>> found = criteria(np.stack([x, np.ones(6)], axis=1), y, 0.5)
    >>> print(f"{found.waic:.10f} {found.loo:.10f}")
    3.6018634355 3.6976999514
    """
    X, data = regression(design, y, points=2)
    n, d = X.shape
    s = positive("noise", noise)
    if s.shape not in ((), (n,)):
        raise DomainError("noise", f"an array of shape {s.shape}", f"one number or {n}")
    s = np.broadcast_to(s, (n,))
    A, b = X / s[:, None], data / s
    squarable("design", A)
    squarable("y", b)
    logs = np.log(s * math.sqrt(2 * math.pi))
    constant = float(logs.sum())
    best, rank = solved(X, data, s)
    least = residual(X, data, best) / s
    likelihood = -constant - 0.5 * float(least @ least)
    if prior_covariance is None:
        if rank < d:
            raise DomainError("design", f"rank {rank}", f"{d} independent columns")
        Q, _ = np.linalg.qr(A)
        h, r, lost = np.sum(Q**2, axis=1), least - Q @ (Q.T @ least), 0.0
        wbic = -likelihood + 0.5 * d * math.log(n)
    else:
        from theory.evidence import LinearRegression, mean_energy
        from theory.stacked import fit

        problem = LinearRegression(X, data, s, prior_mean, prior_covariance)
        found = fit(X, data, s, problem.prior_mean, problem.prior_covariance, 1.0)
        h, r, lost = np.sum(found.share**2, axis=1), found.rest, found.seen
        wbic = float(mean_energy(problem, 1.0 / math.log(n))) + constant
    if h.max() > 1 - 1e-12:
        raise DomainError(f"design[{int(h.argmax())}]", "a point of leverage 1",
                          "points whose loss leaves every parameter determined",
                          "give a prior_covariance" if prior_covariance is None else
                          "its prior_covariance is too wide beside the noise for float64 to tell; "
                          "a narrower one, or more points like it")
    size = float(np.abs(logs).sum()) + float(np.sum(r**2 / (1 - h)))
    tell("criteria", max(error_bound(size, float(np.max(np.abs(b))),
                                     condition(A) if prior_covariance is None else 1.0),
                         lost * (1.0 + size) / (1.0 - float(h.max()))))
    at_mean = constant + 0.5 * float(r @ r)
    lppd = -constant - 0.5 * float(np.sum(np.log1p(h) + r**2 / (1 + h)))
    p_waic = float(np.sum(r**2 * h + 0.5 * h**2))
    loo = constant + 0.5 * float(np.sum(-np.log1p(-h) + r**2 / (1 - h)))
    return Criteria(likelihood, -likelihood + d, -likelihood + 0.5 * d * math.log(n),
                    -lppd + p_waic, p_waic, wbic, loo, at_mean + float(h.sum()), float(h.sum()), h)


@dataclass(frozen=True)
class Bias:
    """Means over data sets, minus n times the entropy of the truth, in nats.

    Parameters
    ----------
    generalisation : float
        Of the loss on new data at the same positions: what WAIC and LOO estimate.
    waic, loo : float
        Of the two criteria; the excess over ``generalisation`` is their bias.
    aic : float
        Of AIC/2: half the number of parameters, at any n.
    """

    generalisation: float
    waic: float
    loo: float
    aic: float


def expected(design: ArrayLike) -> Bias:
    """Mean of the criteria over data sets of a right model: wide prior, fixed positions, any n.

    Parameters
    ----------
    design : array (points, parameters)
        Divided by the noise where that differs between points.

    Returns
    -------
    Bias

    Raises
    ------
    DomainError
        For dependent columns, or a point that alone determines a parameter (h_i = 1).

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
    >>> bias = expected(np.stack([x, np.ones(6)], axis=1))
    >>> print(f"{bias.generalisation:.10f} {bias.waic:.10f} {bias.loo:.10f}")
    0.8399836542 0.9876984663 1.3376842587
    """
    X = finite("design", design, 2)
    if not 0 < X.shape[1] <= len(X) or np.linalg.matrix_rank(X) < X.shape[1]:
        raise DomainError("design", f"an array of shape {X.shape}", "independent columns")
    Q, _ = np.linalg.qr(X)
    h = np.sum(Q**2, axis=1)
    if h.max() > 1 - 1e-12:
        raise DomainError(f"design[{int(h.argmax())}]", "a point of leverage 1",
                          "points whose loss leaves every parameter determined")
    half = 0.5 * float(np.sum(np.log1p(h)))
    return Bias(half, half + float(np.sum(h**2 / (1 + h) - 0.5 * h**2)),
                -0.5 * float(np.sum(np.log1p(-h))), 0.5 * X.shape[1])


def matching_temperature(problem: Any) -> float:
    """The one beta at which <U> equals F~(1): what WBIC approximates by 1/ln n.

    Parameters
    ----------
    problem : theory.evidence.LinearRegression

    Returns
    -------
    float

    Raises
    ------
    DomainError
        For anything that is not a LinearRegression.

    Examples
    --------
    >>> from theory.evidence import LinearRegression
    >>> x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
    >>> y = [0.3, 1.1, 2.4, 2.7, 4.5, 6.2]
    >>> line = LinearRegression(np.stack([x, np.ones(6)], 1), y, 0.5, 0.0, [4.0, 1.0])
    >>> print(f"{matching_temperature(line):.10f}")
    0.1665505374
    """
    from scipy.optimize import brentq

    from theory.evidence import LinearRegression, mean_energy, reduced_free_energy

    if not isinstance(problem, LinearRegression):
        raise DomainError("problem", f"a {type(problem).__name__}",
                          "a theory.LinearRegression: its prior is Gaussian")
    wanted = float(reduced_free_energy(problem, 1.0))
    if not np.any(problem.eigenvalues > 0.0):
        raise DomainError("problem", "a design of zeros", "an energy that depends on a parameter")
    # <U> falls from the prior's to the posterior's, and F~ is its mean over beta: between them.
    return float(math.exp(brentq(
        lambda t: float(mean_energy(problem, math.exp(t))) - wanted, -80.0, 0.0, xtol=1e-14)))
