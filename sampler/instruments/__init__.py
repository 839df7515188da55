"""One file per measurement: formulas and priors, with units that follow from the data's range.

The bounds of a prior are part of the question: they say which values were thought possible
before the measurement, and F depends on them.  Defaults here follow the range of the data and are
printed in words with every fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sampler.errors import InputError


def given(priors: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """These priors, by name; the first that is missing is refused by name.

    Examples
    --------
    >>> given({"offset": (0, 1), "rate": 2.0}, ["offset"])
    {'offset': (0, 1)}
    """
    out = {}
    for name in names:
        if name not in priors:
            raise InputError(f"prior of {name}", "nothing", "a prior, (lo, hi) or a number")
        out[name] = priors[name]
    return out
