"""Data: what was measured, and the law of its noise.

The energy is minus the log likelihood *without* its constant (tempering acts on the energy,
never on the constant; the constant is always added to the reported free energy):

===========================  ======================================  =========================
noise                        energy U                                constant
===========================  ======================================  =========================
Gaussian, sigma known        sum r_i**2 / (2 sigma_i**2)             sum ln(2 pi sigma_i**2)/2
Gaussian, sigma a parameter  n ln sigma + sum r_i**2 / (2 sigma**2)  (n/2) ln 2 pi
sigma_i times a factor s     n ln s + sum r_i**2/(2 s**2 sigma_i**2)  sum ln(2 pi sigma_i**2)/2
Poisson counts               sum (mu_i - y_i ln mu_i)                sum ln y_i!
Student t, sigma known       (nu+1)/2 sum ln(1 + r_i**2/             sum ln sigma_i + n c(nu)
                             (nu sigma_i**2))
Student t, sigma_i times s   n ln s + (nu+1)/2 sum ln(1 + r_i**2/    sum ln sigma_i + n c(nu)
                             (nu s**2 sigma_i**2))
===========================  ======================================  =========================

With c(nu) = ln B(1/2, nu/2) + ln(nu)/2, which is ln(2 pi)/2 for nu to infinity.  Student's law with
nu degrees of freedom is the normal law of a residual whose variance is not quite known; sigma is
its scale, and its standard deviation is sigma sqrt(nu/(nu-2)) (infinite for nu <= 2).  A residual
far out costs (nu+1) ln |r| and not r**2/2, so that an outlier moves no curve and invents no peak.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.errors import InputError
from sampler.priors import LogUniform, Scalar, support

Array = NDArray[np.float64]
GAUSSIAN, GAUSSIAN_SCALED, POISSON, STUDENT = range(4)
QUADRATIC = (GAUSSIAN, GAUSSIAN_SCALED)    # U is a parabola in the model: exact draws, integrals
LARGEST = 1e150


@dataclass(frozen=True, eq=False)
class Data:
    """A measured curve with its noise law.

    Parameters
    ----------
    x, y : arrays (points,)
        Positions and values, in the units of the file.
    noise : float, array (points,), ``"unknown"``, a prior, or ``"poisson"``
        A known standard deviation (same unit as y), for all points or for each;
        ``"unknown"``: one standard deviation for all points, inferred, log-uniform over the
        range that the data allow; a prior: inferred under that prior; ``"poisson"``: counts.
    sigma : array (points,), optional
        With an unknown noise: the standard deviations are these times an unknown factor.
    noise_name : str, optional
        Name of the inferred noise parameter (default ``"sigma"``, or ``"noise_factor"``).
    x_label, y_label : str
        Column names, with their units if known.
    name : str
        Where the data come from.
    notes : tuple of str
        What was recognised while reading, in words.
    tails : float, optional
        Degrees of freedom nu > 0: every residual follows Student's t of scale sigma in place of a
        normal law, for data with outliers (typically 4; the smaller, the heavier the tails).

    Raises
    ------
    InputError
        For empty, non-finite or misshapen arrays, sigma <= 0, counts that are not counts, tails
        of counts.

    Examples
    --------
    >>> data = Data([0, 1, 2], [1.0, 2.1, 2.9], noise=0.1)
    >>> data.size, round(data.constant, 4)
    (3, -4.1509)
    """

    x: Array
    y: Array
    noise: Any
    sigma: Any = None
    noise_name: str = ""
    x_label: str = "x"
    y_label: str = "y"
    name: str = ""
    notes: tuple[str, ...] = ()
    tails: float | None = None
    law: int = field(init=False, default=GAUSSIAN)
    deviation: Array = field(init=False, repr=False, default_factory=lambda: np.ones(1))
    noise_prior: Scalar | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "x", _column(self.x, "x"))
        put(self, "y", _column(self.y, "y"))
        if len(self.x) != len(self.y):
            raise InputError("y", f"{len(self.y)} values", f"as many as x, {len(self.x)}")
        noise = self.noise
        if isinstance(noise, tuple) and len(noise) == 2 and self.sigma is None:
            raise InputError("noise", repr(noise), "a number, an array, 'unknown', 'poisson' or a "
                             "prior such as LogUniform(0.01, 1)")
        if isinstance(noise, str) and noise == "poisson":
            if self.sigma is not None:
                raise InputError("sigma", "given", "no sigma: counts have their own noise law")
            self._counts()
        elif isinstance(noise, str) and noise == "unknown":
            self._inferred(_noise_range(self.y) if self.sigma is None else LogUniform(0.1, 10))
        elif isinstance(noise, Scalar):
            self._inferred(noise)
        elif isinstance(noise, str) or noise is None:
            raise InputError("noise", repr(noise),
                             "a standard deviation, one for each point, 'unknown' or 'poisson'")
        else:
            if self.sigma is not None:
                raise InputError("sigma", "given twice", "either noise or sigma as the column")
            put(self, "deviation", _deviations(noise, len(self.x), "noise"))
            put(self, "noise", self.deviation)
        if self.tails is not None:
            put(self, "tails", degrees_of_freedom(self.tails, "tails", self.law == POISSON))
            put(self, "law", STUDENT)

    def _inferred(self, prior: Scalar) -> None:
        lo, _ = support(prior)
        if lo < 0.0:
            raise InputError("prior of the noise", repr(prior), "a prior on positive values")
        scale = (np.ones(len(self.x)) if self.sigma is None
                 else _deviations(self.sigma, len(self.x), "sigma"))
        put = object.__setattr__
        put(self, "law", GAUSSIAN_SCALED)
        put(self, "deviation", scale)
        put(self, "noise_prior", prior)
        put(self, "noise", prior)
        name = self.noise_name or ("sigma" if self.sigma is None else "noise_factor")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            raise InputError("noise_name", repr(name), "letters, digits and underscores")
        put(self, "noise_name", name)

    def _counts(self) -> None:
        whole = np.round(self.y)
        bad = np.flatnonzero((self.y < 0) | (np.abs(self.y - whole) > 1e-3))
        if len(bad):
            i = int(bad[0])
            raise InputError(f"y[{i}]", f"{self.y[i]:g}", "a count (a whole number >= 0)",
                             "give the noise as a standard deviation, or as unknown")
        put = object.__setattr__
        if np.any(whole != self.y):
            put(self, "notes", (*self.notes, "counts were within 0.001 of whole numbers: rounded"))
            put(self, "y", _frozen(whole))
        put(self, "law", POISSON)
        put(self, "deviation", _frozen(np.ones(len(self.x))))

    @property
    def size(self) -> int:
        """Number of points n."""
        return len(self.x)

    @property
    def x_range(self) -> tuple[float, float]:
        """Smallest and largest x."""
        return float(self.x.min()), float(self.x.max())

    @property
    def constant(self) -> float:
        """The untempered constant that is added to the free energy (nats)."""
        if self.law == POISSON:
            return math.fsum(math.lgamma(v + 1.0) for v in self.y)
        return math.fsum(self.log_norm + math.log(v) for v in self.deviation)

    @property
    def log_norm(self) -> float:
        """ln of the integral of exp(-U) over one residual in units of its scale (not of counts)."""
        if self.tails is None:
            return 0.5 * math.log(2 * math.pi)
        from scipy.special import betaln

        return float(betaln(0.5, 0.5 * self.tails)) + 0.5 * math.log(self.tails)

    @staticmethod
    def from_csv(path: str | Path, noise: Any, **columns: Any) -> Data:
        """Read a table of numbers; see `sampler.files.read_table` for the keywords."""
        from sampler.files import read_data

        return read_data(path, noise, **columns)


def degrees_of_freedom(value: Any, field: str, counts: bool = False) -> float:
    """The nu of Student's law, checked.

    Parameters
    ----------
    value : float
    field : str
        What to call it in a refusal.
    counts : bool
        Whether the data are Poisson counts, which have no tails to choose.

    Returns
    -------
    float

    Raises
    ------
    InputError

    Examples
    --------
    >>> degrees_of_freedom(4, "tails")
    4.0
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 1.0 / LARGEST <= value <= LARGEST:
        raise InputError(field, f"{value:g}" if number else repr(value),
                         "degrees of freedom > 0, typically 4",
                         "left away, the noise is normal")
    if counts:
        raise InputError(field, f"{value:g}", "none with noise poisson",
                         "counts have their own noise law")
    return float(value)


def _column(values: Any, field: str) -> Array:
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        raise InputError(field, "masked values", "numbers", "remove the masked points first")
    if isinstance(values, Mapping):
        raise InputError(field, "a mapping", "an array of numbers")
    raw = np.asarray(values)
    if raw.dtype.kind not in "iuf" or raw.dtype.itemsize > 8:
        try:
            if raw.dtype.kind not in "Of":
                raise TypeError
            raw = raw.astype(np.float64)
        except (TypeError, ValueError):
            raise InputError(field, f"values of type {raw.dtype}", "real numbers") from None
    if raw.ndim != 1:
        raise InputError(field, f"an array of shape {raw.shape}", "one dimension (points,)")
    if not len(raw):
        raise InputError(field, "no values", "at least one point")
    out = np.array(raw, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(out))
    if len(bad):
        raise InputError(f"{field}[{bad[0]}]", f"{out[bad[0]]}", "a finite number")
    bad = np.flatnonzero(np.abs(out) > LARGEST)
    if len(bad):
        raise InputError(f"{field}[{bad[0]}]", f"{out[bad[0]]:g}", f"at most {LARGEST:g} in size",
                         "use other units: squares of larger numbers are infinite")
    size = float(np.abs(out).max())
    if 0.0 < size < 1.0 / LARGEST:
        raise InputError(field, f"{size:g} at most", f"values of {1.0 / LARGEST:g} or more in size",
                         "use other units: squares of smaller numbers are zero")
    return _frozen(out)


def _one(value: Any, field: str) -> float:
    try:
        return float(_column([value], field)[0])
    except InputError as error:
        raise InputError(field, error.received, error.expected, error.remedy) from None


def _deviations(values: Any, points: int, field: str) -> Array:
    if np.ndim(values) == 0:
        value = np.full(points, _one(values, field))
        _usable(value[:1], lambda _: field)
        return _frozen(value)
    out = _column(values, field)
    if len(out) != points:
        raise InputError(field, f"{len(out)} values", f"one, or as many as x, {points}")
    _usable(out, lambda i: f"{field}[{i}]")
    return out


def _usable(deviations: Array, name: Callable[[int], str]) -> None:
    bad = np.flatnonzero(deviations <= 0.0)
    if len(bad):
        raise InputError(name(bad[0]), f"{deviations[bad[0]]:g}", "a standard deviation > 0")
    bad = np.flatnonzero(deviations < 1.0 / LARGEST)
    if len(bad):
        raise InputError(name(bad[0]), f"{deviations[bad[0]]:g}", f"at least {1.0 / LARGEST:g}",
                         "use other units: squares of smaller numbers are zero")


def _noise_range(y: Array) -> LogUniform:
    """From a ten-thousandth of the spread of y to the whole of it."""
    spread = float(y.max() - y.min()) or abs(float(y[0])) or 1.0
    return LogUniform(1e-4 * spread, spread)


def _frozen(values: Array) -> Array:
    values.setflags(write=False)
    return values
