"""Every prior as the same one: logit of the share of the prior below a value.

In the coordinate ``t = ln(u / (1 - u))``, u the prior's distribution function, every continuous
prior has the density ``u (1 - u)`` and no bounds.  Densities are fitted to draws there.  Both tails
keep their digits: u and 1 - u are worked out apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.priors import Beta, Gamma, InverseGamma, LogUniform, Normal, Scalar, Uniform

Array = NDArray[np.float64]


def to_logit(prior: Scalar, value: Array) -> Any:
    """ln(u / (1 - u)) of values of one parameter.

    Parameters
    ----------
    prior : any continuous prior of one parameter
    value : array (...)

    Examples
    --------
    >>> to_logit(Uniform(0, 4), np.array([2.0, 3.0])).round(4).tolist()
    [0.0, 1.0986]
    """
    from scipy import special

    v = np.asarray(value, dtype=np.float64)
    with np.errstate(divide="ignore"):
        match prior:
            case Uniform():
                return np.log(v - prior.lo) - np.log(prior.hi - v)
            case LogUniform():
                return np.log(np.log(v / prior.lo)) - np.log(np.log(prior.hi / v))
            case Normal():
                low, x, high = ((b - prior.mean) / prior.sd for b in (prior.lo, v, prior.hi))
                return log_normal_mass(low, x) - log_normal_mass(x, high)
            case Gamma():
                x = prior.rate * v
                return np.log(special.gammainc(prior.shape, x)) - np.log(
                    special.gammaincc(prior.shape, x))
            case InverseGamma():
                x = prior.scale / v
                return np.log(special.gammaincc(prior.shape, x)) - np.log(
                    special.gammainc(prior.shape, x))
            case Beta():
                return np.log(special.betainc(prior.a, prior.b, v)) - np.log(
                    special.betainc(prior.b, prior.a, 1.0 - v))
    raise AssertionError(prior)


def from_logit(prior: Scalar, t: Array) -> Any:
    """The values whose `to_logit` is t; inside the support whatever t is.

    Examples
    --------
    >>> from_logit(Uniform(0, 4), np.array([0.0])).tolist()
    [2.0]
    """
    from scipy import special

    below, above = special.expit(t), special.expit(-t)
    match prior:
        case Uniform():
            v = np.where(t < 0, prior.lo + (prior.hi - prior.lo) * below,
                         prior.hi - (prior.hi - prior.lo) * above)
            return np.asarray(np.clip(v, prior.lo, prior.hi))
        case LogUniform():
            span = np.log(prior.hi / prior.lo)
            v = np.where(t < 0, prior.lo * np.exp(span * below), prior.hi * np.exp(-span * above))
            return np.asarray(np.clip(v, prior.lo, prior.hi))
        case Normal():
            low, high = ((b - prior.mean) / prior.sd for b in (prior.lo, prior.hi))
            x = normal_between(low, high, special.log_expit(t), special.log_expit(-t))
            return np.asarray(np.clip(prior.mean + prior.sd * x, prior.lo, prior.hi))
        case Gamma():
            return np.where(t < 0, special.gammaincinv(prior.shape, below),
                            special.gammainccinv(prior.shape, above)) / prior.rate
        case InverseGamma():
            return prior.scale / np.where(t < 0, special.gammainccinv(prior.shape, below),
                                          special.gammaincinv(prior.shape, above))
        case Beta():
            return np.where(t < 0, special.betaincinv(prior.a, prior.b, below),
                            1.0 - special.betaincinv(prior.b, prior.a, above))
    raise AssertionError(prior)


def log_prior(t: Array) -> Array:
    """ln of the prior density in the coordinate t, arrays (...): ln u (1 - u)."""
    return -np.logaddexp(0.0, t) - np.logaddexp(0.0, -t)


def log_normal_mass(a: Array | float, b: Array | float) -> Array:
    """ln(Phi(b) - Phi(a)) for a <= b, from the nearer tail."""
    from scipy.special import log_ndtr

    a, b = np.broadcast_arrays(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
    flip = a > 0.0
    low, high = np.where(flip, -b, a), np.where(flip, -a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        small, large = log_ndtr(low), log_ndtr(high)
        gap = np.where(np.isneginf(small), -np.inf, small - large)
        return np.asarray(large + np.log1p(-np.exp(np.minimum(gap, 0.0))))


def normal_between(a: Array | float, b: Array | float, log_u: Array, log_v: Array) -> Array:
    """The standard normal cut to [a, b] at its quantile u, given ln u and ln(1 - u).

    Parameters
    ----------
    a, b : arrays (...)
        a < b; infinite is allowed.
    log_u, log_v : arrays (...)
        ln u and ln(1 - u), so that neither tail loses its digits.

    Examples
    --------
    >>> round(float(normal_between(10.0, np.inf, np.log(0.5), np.log(0.5))), 4)
    10.0684
    """
    from scipy.special import log_ndtr, ndtri_exp

    a, b, log_u, log_v = np.broadcast_arrays(*(
        np.asarray(v, dtype=np.float64) for v in (a, b, log_u, log_v)))
    mass = log_normal_mass(a, b)
    # Phi(x) = Phi(a) + u mass from below, Phi(-x) = Phi(-b) + (1 - u) mass from above: the
    # smaller of the two keeps its digits.
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.logaddexp(log_ndtr(a), log_u + mass)
        above = np.logaddexp(log_ndtr(-b), log_v + mass)
        x = np.where(below < above, ndtri_exp(np.minimum(below, 0.0)),
                     -ndtri_exp(np.minimum(above, 0.0)))
    return np.asarray(np.clip(x, a, b))
