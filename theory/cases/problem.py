"""What a case is: callables on NumPy arrays, its data and formulas, and its exact answers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError, ValidityWarning, finite, positive, whole

Array = NDArray[np.float64]
LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Uniform:
    """Uniform prior of one parameter between lo and hi."""

    lo: float
    hi: float

    def log_density(self, value: Array) -> Array:
        """ln of the density; -inf outside."""
        inside = (value >= self.lo) & (value <= self.hi)
        return np.where(inside, -math.log(self.hi - self.lo), -np.inf)

    def quantile(self, u: Array) -> Array:
        """The value below which the prior has the share u."""
        return self.lo + (self.hi - self.lo) * u


@dataclass(frozen=True)
class LogUniform:
    """Log-uniform prior of one positive parameter between lo and hi, density ~ 1/v."""

    lo: float
    hi: float

    def log_density(self, value: Array) -> Array:
        """ln of the density; -inf outside."""
        inside = (value >= self.lo) & (value <= self.hi)
        safe = np.where(inside, value, 1.0)
        return np.where(inside, -np.log(safe) - math.log(math.log(self.hi / self.lo)), -np.inf)

    def quantile(self, u: Array) -> Array:
        """The value below which the prior has the share u."""
        return np.asarray(np.clip(self.lo * (self.hi / self.lo) ** u, self.lo, self.hi))


@dataclass(frozen=True)
class Normal:
    """Normal prior of one parameter."""

    mean: float
    sd: float

    def log_density(self, value: Array) -> Array:
        """ln of the density."""
        return np.asarray(-0.5 * ((value - self.mean) / self.sd) ** 2
                          - math.log(self.sd) - 0.5 * LOG_2PI)

    def quantile(self, u: Array) -> Array:
        """The value below which the prior has the share u."""
        from scipy.special import ndtri

        return np.asarray(self.mean + self.sd * ndtri(u))


@dataclass(frozen=True)
class Gamma:
    """Gamma prior of one positive parameter, density ~ v^(shape-1) exp(-rate v)."""

    shape: float
    rate: float

    def log_density(self, value: Array) -> Array:
        """ln of the density; -inf below zero."""
        safe = np.where(value > 0, value, 1.0)
        log_p = (self.shape * math.log(self.rate) - math.lgamma(self.shape)
                 + (self.shape - 1) * np.log(safe) - self.rate * safe)
        return np.where(value > 0, log_p, -np.inf)

    def quantile(self, u: Array) -> Array:
        """The value below which the prior has the share u."""
        from scipy.special import gammaincinv

        return np.asarray(gammaincinv(self.shape, u) / self.rate)


Prior = Uniform | LogUniform | Normal | Gamma


@dataclass(frozen=True)
class Mode:
    """One hill of a posterior with several.

    Parameters
    ----------
    name : str
    weight : float
        Its exact share of the posterior.
    contains : callable
        theta (..., parameters) -> bool (...).
    """

    name: str
    weight: float
    contains: Callable[[Array], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Points (synthetic, dimensionless), the curve that describes them, and their noise law.

    Parameters
    ----------
    x, y : arrays (points,)
    curve : callable
        () -> sympy expression in ``x`` and the parameters; `formula` builds it once.
    noise : float or str
        The standard deviation of y; ``"poisson"`` for counts; or the name of the parameter that
        is the standard deviation.
    """

    x: Array
    y: Array
    curve: Callable[[], Any]
    noise: float | str

    @cached_property
    def formula(self) -> Any:
        """The curve as a sympy expression in ``x`` and the parameters (real symbols)."""
        return self.curve()


@dataclass(frozen=True, eq=False)
class Case:
    """A problem, its callables, and its exact answers.

    A sampler needs `dimension` and either `log_posterior` (Markov chains; start them from
    `prior_samples`) or `log_likelihood` with `prior_transform` (nested sampling).  All take and
    return NumPy arrays of any leading shape, the parameters last.

    Parameters
    ----------
    name, about : str
        ``about`` says what the case tests and how its answers are known.
    names : tuple of str
        The parameters.
    log_likelihood : callable
        theta (..., parameters) -> (...), in nats, with all constants.
    priors : tuple
        One per parameter, independent.
    tempered : callable
        beta > 0 -> exact ln of the integral of prior * likelihood^beta; see `log_evidence_at`.
    mean : array (parameters,)
        Of the posterior, exact.
    covariance : array (parameters, parameters)
        Of the posterior, exact.
    quantile : callable or None
        p -> (parameters,) exact marginal quantiles of the posterior.
    modes : tuple of Mode
        Empty for one hill.
    data : tuple of DataSet
        Empty where the case is a bare density.
    density : callable or None
        For a bare density: () -> ln likelihood as a sympy expression in the parameters.
    bound : float
        For a bare density: ln likelihood is nowhere above it.
    coldest : float
        Largest beta at which ``tempered`` holds to 1e-8 nats; infinite for closed forms.

    Examples
    --------
    >>> from theory.cases import straight_line
    >>> case = straight_line()
    >>> case.dimension, case.prior_transform([0.5, 0.5]).tolist()
    (2, [0.0, 0.0])
    >>> case.log_posterior(case.mean) > case.log_posterior(case.mean + 1.0)
    True
    >>> case.formulas
    (a*x + b,)
    >>> round(case.log_evidence, 4), case.log_evidence_at(0.0)
    (-33.9412, 0.0)
    """

    name: str
    about: str
    names: tuple[str, ...]
    log_likelihood: Callable[[Any], Any]
    priors: tuple[Prior, ...]
    tempered: Callable[[float], float]
    mean: Array
    covariance: Array
    quantile: Callable[[float], Array] | None = None
    modes: tuple[Mode, ...] = ()
    data: tuple[DataSet, ...] = ()
    density: Callable[[], Any] | None = None
    bound: float = math.inf
    coldest: float = math.inf

    def __post_init__(self) -> None:
        """The callables, behind a check of what they are given."""
        likelihood, quantile = self.log_likelihood, self.quantile
        object.__setattr__(self, "log_likelihood", lambda theta: likelihood(self._theta(theta)))
        if quantile is not None:
            object.__setattr__(self, "quantile", lambda p: quantile(_probability(p)))

    @property
    def dimension(self) -> int:
        """Number of parameters."""
        return len(self.names)

    @cached_property
    def formulas(self) -> tuple[Any, ...]:
        """The case in sympy: the curve of each data set, or ln likelihood of a bare density."""
        if self.density is not None:
            return (self.density(),)
        return tuple(one.formula for one in self.data)

    @cached_property
    def log_evidence(self) -> float:
        """Exact ln Z in nats: the prior is normalised and no constant is left out."""
        return float(self.tempered(1.0))

    def log_evidence_at(self, beta: ArrayLike) -> Any:
        """ln of the integral of prior * likelihood^beta, the likelihood taken whole.

        Parameters
        ----------
        beta : float or array (...)
            Inverse temperature >= 0; 0 is the prior (exactly 0), 1 the posterior.

        Returns
        -------
        float or array (...)
            In nats.

        Raises
        ------
        DomainError
            For a negative or non-finite beta.

        Warns
        -----
        ValidityWarning
            Beyond `coldest`, where the quadrature of this case is too coarse.
        """
        b = positive("beta", beta, zero=True)
        if np.max(b, initial=0.0) > self.coldest:
            warnings.warn(f"log_evidence_at: {self.name} is known to 1e-8 up to beta = "
                          f"{self.coldest:g}; colder, its quadrature is too coarse",
                          ValidityWarning, stacklevel=2)
        found = np.array([self.tempered(float(v)) if v > 0 else 0.0 for v in b.ravel()])
        return found.reshape(b.shape) if b.ndim else float(found[0])

    def log_prior(self, theta: ArrayLike) -> Any:
        """ln of the prior density, theta (..., parameters) -> (...)."""
        t = self._theta(theta)
        return sum(p.log_density(t[..., i]) for i, p in enumerate(self.priors))

    def log_posterior(self, theta: ArrayLike) -> Any:
        """ln of prior times likelihood; -inf outside the prior."""
        t = self._theta(theta)
        prior = np.asarray(self.log_prior(t))
        with np.errstate(all="ignore"):
            likelihood = np.asarray(self.log_likelihood(t))
        total = np.where(np.isfinite(prior), prior + likelihood, -np.inf)
        return total if total.ndim else float(total)

    def prior_transform(self, u: ArrayLike) -> Array:
        """A point of the unit cube (..., parameters) as a parameter vector."""
        cube = self._theta(u)
        outside = ~((cube >= 0) & (cube <= 1))              # NaN, too
        if np.any(outside):
            raise DomainError("u", str(cube[outside][0]), "numbers from 0 to 1")
        return np.stack([p.quantile(cube[..., i]) for i, p in enumerate(self.priors)], axis=-1)

    def prior_samples(self, n: int, seed: int = 0) -> Array:
        """n independent draws from the prior, (n, parameters)."""
        whole("n", n, 0)
        whole("seed", seed, 0)
        return self.prior_transform(np.random.default_rng(seed).random((n, self.dimension)))

    def _theta(self, theta: ArrayLike) -> Array:
        try:
            t = np.asarray(theta, dtype=np.float64)
        except (TypeError, ValueError):
            raise DomainError("theta", repr(theta)[:60], "numbers") from None
        if t.ndim == 0 or t.shape[-1] != self.dimension:
            raise DomainError("theta", f"an array of shape {t.shape}",
                              f"(..., {self.dimension}): {', '.join(self.names)}")
        return t


def _probability(p: Any) -> float:
    """One number from 0 to 1."""
    value = float(finite("p", p, 0))
    if not 0.0 <= value <= 1.0:
        raise DomainError("p", str(value), "a probability from 0 to 1")
    return value
