"""Priors: what is known about a parameter before the measurement.

A prior is a small frozen record of numbers; the densities below are normalised, because the
free energy counts them.  ``(lo, hi)`` is accepted for ``Uniform(lo, hi)`` and a number for a
fixed parameter wherever a prior is expected.

Gamma and InverseGamma are given by shape and *rate* (Gamma: density proportional to
``a**(shape-1) * exp(-rate*a)``; InverseGamma: ``v**(-shape-1) * exp(-scale/v)``).
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.errors import InputError

Array = NDArray[np.float64]

# The integer by which the kernels know a prior; see kernels/reference.py for the formulas.
UNIFORM, LOG_UNIFORM, NORMAL, GAMMA, INVERSE_GAMMA, BETA, BERNOULLI = range(7)


@dataclass(frozen=True)
class Uniform:
    """Every value between ``lo`` and ``hi`` is equally plausible.

    Examples
    --------
    >>> Uniform(0, 2)
    Uniform(lo=0.0, hi=2.0)
    """

    lo: float
    hi: float

    def __post_init__(self) -> None:
        _numbers(self)
        _increasing(self, self.lo, self.hi)
        _normalised(self)


@dataclass(frozen=True)
class LogUniform:
    """Every order of magnitude between ``lo`` and ``hi`` is equally plausible.

    Examples
    --------
    >>> LogUniform(0.01, 100)
    LogUniform(lo=0.01, hi=100.0)
    """

    lo: float
    hi: float

    def __post_init__(self) -> None:
        _numbers(self)
        _positive(self, "lo", self.lo)
        _increasing(self, self.lo, self.hi)
        _normalised(self)


@dataclass(frozen=True)
class Normal:
    """A value known as ``mean`` plus or minus ``sd``, optionally cut to ``[lo, hi]``.

    Examples
    --------
    >>> Normal(1.5, 0.2, lo=0)
    Normal(mean=1.5, sd=0.2, lo=0.0, hi=inf)
    """

    mean: float
    sd: float
    lo: float = -math.inf
    hi: float = math.inf

    def __post_init__(self) -> None:
        _numbers(self, infinite=("lo", "hi"))
        _positive(self, "sd", self.sd)
        _increasing(self, self.lo, self.hi)
        if not self._mass() > 0.0:
            raise InputError(
                "Normal", f"[{self.lo:g}, {self.hi:g}]",
                f"bounds within 38 sd of the mean {self.mean:g}",
            )

    def _mass(self) -> float:
        return _normal_mass((self.lo - self.mean) / self.sd, (self.hi - self.mean) / self.sd)


@dataclass(frozen=True)
class Gamma:
    """A positive quantity with mean ``shape / rate`` and relative sd ``1 / sqrt(shape)``.

    Examples
    --------
    >>> Gamma(shape=5, rate=5)
    Gamma(shape=5.0, rate=5.0)
    """

    shape: float
    rate: float

    def __post_init__(self) -> None:
        _numbers(self)
        _positive(self, "shape", self.shape)
        _positive(self, "rate", self.rate)
        _normalised(self)


@dataclass(frozen=True)
class InverseGamma:
    """The conjugate prior of a variance: ``v**(-shape-1) exp(-scale/v)``.

    Examples
    --------
    >>> InverseGamma(shape=3, scale=1)
    InverseGamma(shape=3.0, scale=1.0)
    """

    shape: float
    scale: float

    def __post_init__(self) -> None:
        _numbers(self)
        _positive(self, "shape", self.shape)
        _positive(self, "scale", self.scale)
        _normalised(self)


@dataclass(frozen=True)
class Beta:
    """A fraction between 0 and 1: density proportional to ``f**(a-1) (1-f)**(b-1)``.

    Examples
    --------
    >>> Beta(2, 3)
    Beta(a=2.0, b=3.0)
    """

    a: float
    b: float

    def __post_init__(self) -> None:
        _numbers(self)
        _positive(self, "a", self.a)
        _positive(self, "b", self.b)
        _normalised(self)


@dataclass(frozen=True)
class Bernoulli:
    """A switch: 1 (present) with probability ``p``, else 0 (absent).

    Examples
    --------
    >>> Bernoulli(0.06)
    Bernoulli(p=0.06)
    """

    p: float

    def __post_init__(self) -> None:
        _numbers(self)
        if not 0.0 < self.p < 1.0:
            raise InputError("Bernoulli.p", f"{self.p:g}", "a probability strictly inside (0, 1)")


Scalar = Uniform | LogUniform | Normal | Gamma | InverseGamma | Beta | Bernoulli


@dataclass(frozen=True)
class Ordered:
    """The same prior for every component, restricted to increasing order (density K! higher).

    It removes the K! equivalent orderings of exchangeable components; probabilities of the
    number of components are unchanged by it.

    Examples
    --------
    >>> Ordered(Uniform(0, 3))
    Ordered(base=Uniform(lo=0.0, hi=3.0))
    """

    base: Scalar

    def __post_init__(self) -> None:
        if isinstance(self.base, tuple):
            object.__setattr__(self, "base", as_prior(self.base, "Ordered"))
        if not isinstance(self.base, Scalar) or isinstance(self.base, Bernoulli):
            raise InputError("Ordered.base", repr(self.base), "a continuous prior")


@dataclass(frozen=True)
class Fixed:
    """A parameter held at a known value."""

    value: float

    def __post_init__(self) -> None:
        _numbers(self)


Prior = Scalar | Fixed
KIND: dict[type, int] = {
    Uniform: UNIFORM, LogUniform: LOG_UNIFORM, Normal: NORMAL, Gamma: GAMMA,
    InverseGamma: INVERSE_GAMMA, Beta: BETA, Bernoulli: BERNOULLI,
}


def as_prior(value: Any, field: str) -> Prior:
    """Convert the accepted spellings ``(lo, hi)`` and a number to Uniform and Fixed."""
    if isinstance(value, Scalar | Fixed):
        return value
    if isinstance(value, bool):
        raise InputError(field, repr(value), "a prior, (lo, hi) or a number")
    if isinstance(value, int | float | np.integer | np.floating):
        return Fixed(value)  # type: ignore[arg-type]
    if isinstance(value, tuple) and len(value) == 2:
        return Uniform(*value)
    raise InputError(field, repr(value), "a prior, (lo, hi) or a number")


def support(prior: Scalar) -> tuple[float, float]:
    """Smallest interval outside which the density is zero.

    Examples
    --------
    >>> support(Gamma(5, 5))
    (0.0, inf)
    """
    if isinstance(prior, Uniform | LogUniform | Normal):
        return prior.lo, prior.hi
    if isinstance(prior, Beta | Bernoulli):
        return 0.0, 1.0
    return 0.0, math.inf


def kernel_numbers(prior: Scalar) -> tuple[float, float, float, float, float]:
    """The prior as the kernels see it: two numbers, two bounds, and minus its log normaliser."""
    lo, hi = support(prior)
    match prior:
        case Uniform():
            return 0.0, 0.0, lo, hi, -math.log(hi - lo)
        case LogUniform():
            return 0.0, 0.0, lo, hi, -math.log(math.log(hi / lo))
        case Normal():
            log_mass = math.log(prior._mass())
            return prior.mean, prior.sd, lo, hi, -math.log(prior.sd) - 0.5 * math.log(
                2 * math.pi) - log_mass
        case Gamma():
            return prior.shape, prior.rate, lo, hi, prior.shape * math.log(
                prior.rate) - math.lgamma(prior.shape)
        case InverseGamma():
            return prior.shape, prior.scale, lo, hi, prior.shape * math.log(
                prior.scale) - math.lgamma(prior.shape)
        case Beta():
            return prior.a, prior.b, lo, hi, math.lgamma(prior.a + prior.b) - math.lgamma(
                prior.a) - math.lgamma(prior.b)
        case Bernoulli():
            return math.log(prior.p), math.log1p(-prior.p), lo, hi, 0.0


def log_density(prior: Scalar, value: Any) -> Array:
    """Normalised log density of a prior at one or many values, -inf outside its support.

    Parameters
    ----------
    prior : any prior of one parameter
    value : float or array (...)

    Returns
    -------
    array (...)

    Examples
    --------
    >>> float(log_density(Uniform(0, 2), 1.0))
    -0.6931471805599453
    """
    v = np.asarray(value, dtype=np.float64)
    one, two, lo, hi, constant = kernel_numbers(prior)
    with np.errstate(all="ignore"):
        match prior:
            case Uniform():
                shape = np.zeros_like(v)
            case LogUniform():
                shape = -np.log(v)
            case Normal():
                shape = -0.5 * ((v - one) / two) ** 2
            case Gamma():
                shape = (one - 1.0) * np.log(v) - two * v
            case InverseGamma():
                shape = -(one + 1.0) * np.log(v) - two / v
            case Beta():
                # A power of nought is 1 at the end too, not nought times minus infinity.
                shape = ((one - 1.0) * np.log(v) if one != 1.0 else 0.0) + (
                    (two - 1.0) * np.log1p(-v) if two != 1.0 else 0.0 * v)
            case Bernoulli():
                shape = np.where(v == 1.0, one, np.where(v == 0.0, two, -np.inf))
        inside = (v >= lo) & (v <= hi)
        if isinstance(prior, Gamma | InverseGamma):
            inside &= v > 0.0
        return np.where(inside & ~np.isnan(shape), shape + constant, -np.inf)


def typical_width(prior: Scalar) -> float:
    """A length of the size of the prior's spread (in the log for LogUniform, InverseGamma)."""
    match prior:
        case Uniform():
            return 0.5 * (prior.hi - prior.lo)
        case LogUniform():
            return 0.5 * math.log(prior.hi / prior.lo)
        case Normal():
            return min(prior.sd, 0.5 * (prior.hi - prior.lo))
        case Gamma():
            return math.sqrt(prior.shape) / prior.rate
        case InverseGamma():
            return 1.0
        case _:
            return 0.5


def _from_to(lo: float, hi: float) -> str:
    """With as many digits as tell the two apart.

    Examples
    --------
    >>> _from_to(0.0, 0.30000000000000004), _from_to(1e9, 1e9 + 3.0)
    ('from 0 to 0.3', 'from 1000000000 to 1000000003')
    """
    apart = math.log10(max(abs(lo), abs(hi)) / (hi - lo))
    digits = min(max(6, 4 + math.ceil(apart)), 17)
    return f"from {lo:.{digits}g} to {hi:.{digits}g}"


def in_words(prior: Prior | Ordered) -> str:
    """The prior as a physicist would say it.

    Examples
    --------
    >>> in_words(LogUniform(0.01, 100))
    'log-uniform from 0.01 to 100'
    """
    match prior:
        case Ordered():
            return in_words(prior.base) + ", in increasing order"
        case Fixed():
            return f"fixed at {prior.value:g}"
        case Uniform():
            return f"uniform {_from_to(prior.lo, prior.hi)}"
        case LogUniform():
            return f"log-uniform {_from_to(prior.lo, prior.hi)}"
        case Normal():
            cut = "" if math.isinf(prior.lo) and math.isinf(prior.hi) else (
                f", cut to [{prior.lo:g}, {prior.hi:g}]")
            return f"normal, {prior.mean:g} +- {prior.sd:g}{cut}"
        case Gamma():
            return f"Gamma with shape {prior.shape:g} and rate {prior.rate:g}"
        case InverseGamma():
            return f"inverse Gamma with shape {prior.shape:g} and scale {prior.scale:g}"
        case Beta():
            return f"Beta with a = {prior.a:g} and b = {prior.b:g}"
        case Bernoulli():
            return f"present with probability {prior.p:g}"


def to_text(prior: Prior) -> str:
    """Canonical text, e.g. ``Uniform(0.0, 3.0)``: what saved runs hold, read by `from_text`."""
    return f"{type(prior).__name__}({', '.join(repr(v) for v in astuple(prior))})"


_BY_NAME: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (Uniform, LogUniform, Normal, Gamma, InverseGamma, Beta, Bernoulli, Fixed)
}


def from_text(text: str, field: str = "prior") -> Prior:
    """Read ``"LogUniform(0.01, 100)"``, ``"Normal(0, 1, lo=0)"``, ``"0.5"`` or ``"0:3"``.

    Only numbers are read: no expression in the text is ever evaluated.

    Examples
    --------
    >>> from_text("LogUniform(0.01, 100)")
    LogUniform(lo=0.01, hi=100.0)
    """
    known = ", ".join(_BY_NAME)
    body = text.strip()
    name, bracket, rest = body.partition("(")
    try:
        if not bracket:
            ends = [float(part) for part in body.split(":")]
            if len(ends) > 2:
                raise ValueError
            return as_prior(ends[0] if len(ends) == 1 else (ends[0], ends[1]), field)
        cls = _BY_NAME[name.strip()]
        if not rest.endswith(")"):
            raise ValueError
        values: list[float] = []
        named: dict[str, float] = {}
        for part in rest[:-1].split(","):
            key, equals, number = part.partition("=")
            if equals:
                if key.strip() not in {f.name for f in fields(cls)} or key.strip() in named:
                    raise ValueError
                named[key.strip()] = float(number)
            else:
                values.append(float(part))
        prior: Prior = cls(*values, **named)
        return prior
    except InputError as error:
        raise InputError(f"{field}: {error.field}", error.received, error.expected) from None
    except (ValueError, TypeError, KeyError):
        raise InputError(
            field, repr(text), f"a number, lo:hi or a prior such as Uniform(0, 3) (known: {known})"
        ) from None


def _numbers(prior: Any, infinite: tuple[str, ...] = ()) -> None:
    for field in fields(prior):
        value = getattr(prior, field.name)
        label = f"{type(prior).__name__}.{field.name}"
        if isinstance(value, bool | str | bytes | complex) or value is None:
            raise InputError(label, repr(value), "a number")
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise InputError(label, repr(value), "a number") from None
        except OverflowError:
            raise InputError(label, "a number beyond 1.8e308", "a finite number") from None
        if math.isnan(number) or (math.isinf(number) and field.name not in infinite):
            raise InputError(label, repr(value), "a finite number")
        object.__setattr__(prior, field.name, number)


def _increasing(prior: Any, lo: float, hi: float) -> None:
    if not lo < hi:
        raise InputError(
            type(prior).__name__, f"lo = {lo:g}, hi = {hi:g}", "lo < hi", "swap or widen the bounds"
        )


def _positive(prior: Any, name: str, value: float) -> None:
    if not value > 0.0:
        raise InputError(f"{type(prior).__name__}.{name}", f"{value:g}", "a positive number")


def _normalised(prior: Any) -> None:
    try:
        usable = (math.isfinite(kernel_numbers(prior)[4])
                  and 0.0 < typical_width(prior) < math.inf)
    except (OverflowError, ValueError):
        usable = False
    if not usable:
        raise InputError(type(prior).__name__, repr(prior), "numbers that make a density",
                         "they are too far apart, too near or too large for floating point")


def _normal_mass(lo: float, hi: float) -> float:
    """Probability of a standard normal between lo and hi, without cancellation in the tails."""
    if lo > 0.0:
        lo, hi = -hi, -lo
    if hi < 0.0:
        return 0.5 * (math.erfc(-hi / math.sqrt(2)) - math.erfc(-lo / math.sqrt(2)))
    return 0.5 * (math.erf(hi / math.sqrt(2)) - math.erf(lo / math.sqrt(2)))
