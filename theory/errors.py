"""The one exception of the border, and the two warnings of what an answer is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class DomainError(ValueError):
    """A question that the formula does not answer, refused with one sentence.

    Parameters
    ----------
    field : str
        What is wrong, in the caller's words: ``"noise"``, ``"design[3]"``.
    received, expected : str
        What came and what should have come.
    remedy : str, optional
        What to do about it.

    Examples
    --------
    >>> raise DomainError("noise", "-0.1", "a positive standard deviation")
    Traceback (most recent call last):
        ...
    theory.errors.DomainError: noise: received -0.1, expected a positive standard deviation.
    """

    def __init__(self, field: str, received: str, expected: str, remedy: str = "") -> None:
        self.field, self.received, self.expected, self.remedy = field, received, expected, remedy
        sentence = f"{field}: received {received}, expected {expected}"
        super().__init__(sentence + (f"; {remedy}." if remedy else "."))

    def __reduce__(self) -> tuple[type[DomainError], tuple[str, str, str, str]]:
        return DomainError, (self.field, self.received, self.expected, self.remedy)


class PrecisionWarning(UserWarning):
    """A free energy that float64 may not hold to 1e-6 nats; the message names the function."""


class ValidityWarning(UserWarning):
    """A limit formula outside its range; the message names the function and the exact one."""


def finite(field: str, values: ArrayLike, ndim: int) -> NDArray[np.float64]:
    """A float array of the wanted number of dimensions, without NaN or infinity."""
    try:
        array = np.array(values, dtype=np.float64)
        text = values is None or np.asarray(values).dtype.kind in "US"
    except (TypeError, ValueError):
        text = True
    if text:             # NumPy would read "5" as a number and None as NaN
        raise DomainError(field, _short(values), "numbers")
    if array.ndim != ndim:
        raise DomainError(field, f"an array of shape {array.shape}", f"{ndim} dimension(s)")
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))[0]
        index = ", ".join(str(i) for i in bad)
        raise DomainError(f"{field}[{index}]" if ndim else field,
                          str(array[tuple(bad)]), "a finite number")
    array.setflags(write=False)
    return array


def positive(field: str, values: ArrayLike, zero: bool = False) -> NDArray[np.float64]:
    """Finite numbers above zero (``zero``: or equal to it), of any shape."""
    array = finite(field, values, np.ndim(values))
    wrong = array < 0 if zero else array <= 0
    if wrong.any():
        bad = np.argwhere(wrong)[0]
        place = f"[{', '.join(str(i) for i in bad)}]" if array.ndim else ""
        raise DomainError(field + place, str(array[tuple(bad)]),
                          "a number >= 0" if zero else "a positive number")
    return array


def positive_number(field: str, value: ArrayLike, zero: bool = False) -> float:
    """One finite number above zero (``zero``: or equal to it)."""
    return float(positive(field, finite(field, value, 0), zero))


def whole(field: str, value: Any, least: int) -> int:
    """A whole number that is large enough; True is none."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise DomainError(field, _short(value), f"a whole number of {least} or more")
    return int(value)


def two_rungs(beta1: ArrayLike, beta2: ArrayLike) -> tuple[float, float]:
    """Inverse temperatures of a hotter and a colder rung, the prior's 0 among them."""
    hot, cold = (positive_number(f"beta{k}", beta, zero=True)
                 for k, beta in ((1, beta1), (2, beta2)))
    if not hot < cold:
        raise DomainError("beta1", f"{hot} with beta2 = {cold}", "beta1 < beta2")
    return hot, cold


def regression(design: ArrayLike, y: ArrayLike, points: int = 1
               ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A design (points, parameters) and its data (points,), at least so many points."""
    X, data = finite("design", design, 2), finite("y", y, 1)
    if len(data) != len(X) or len(X) < points or not X.shape[1]:
        rows = f"{points} rows or more, " if points > 1 else ""
        raise DomainError("y", f"{len(data)} values for a design of shape {X.shape}",
                          f"one value per row of the design, {rows}and at least one column")
    return X, data


def squarable(field: str, values: ArrayLike) -> None:
    """Refuse numbers, in units of the noise, whose sums of squares pass the range of float64."""
    largest = float(np.max(np.abs(values), initial=0.0))
    if not largest < 1e145:
        raise DomainError(field, f"{largest:.1g} times the noise", "less than 1e145 times",
                          "choose other units")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
