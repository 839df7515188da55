"""The one exception of the border: what was received, what was expected, what to do."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input, refused at the border with one sentence.

    Parameters
    ----------
    field : str
        What is wrong, in the user's words: ``"y[3]"``, ``"prior of peak1_width"``.
    received, expected : str
        What came and what should have come.
    remedy : str, optional
        What to do about it.

    Examples
    --------
    >>> raise InputError("sigma[2]", "-0.1", "a positive number")
    Traceback (most recent call last):
        ...
    sampler.errors.InputError: sigma[2]: received -0.1, expected a positive number.
    """

    def __init__(self, field: str, received: str, expected: str, remedy: str = "") -> None:
        self.field, self.received, self.expected, self.remedy = field, received, expected, remedy
        sentence = f"{field}: received {received}, expected {expected}"
        super().__init__(sentence + (f"; {remedy}." if remedy else "."))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str, str]]:
        return InputError, (self.field, self.received, self.expected, self.remedy)
