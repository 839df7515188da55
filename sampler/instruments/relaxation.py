"""Relaxation curves: K components, pure or stretched, towards an offset (NMR T1, muons).

decay:     m(t) = offset + sum_k amplitude_k exp(-(rate_k t)**stretching_k)
recovery:  m(t) = offset - sum_k amplitude_k exp(-(rate_k t)**stretching_k)

Rates are in 1/(unit of x), T1 = 1/rate; amplitudes and offset in the unit of y; the stretching
exponent is dimensionless, and absent (1) for the pure exponential.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sampler import shapes
from sampler.data import Data
from sampler.errors import InputError
from sampler.instruments import given
from sampler.model import Model
from sampler.priors import LogUniform, Uniform

SHAPES = ("exponential", "stretched")
DIRECTIONS = ("decay", "recovery")
_FORMULA = {("exponential", "decay"): shapes.exponential,
            ("stretched", "decay"): shapes.stretched_exponential,
            ("exponential", "recovery"): shapes.recovery,
            ("stretched", "recovery"): shapes.stretched_recovery}


def relaxation(K: int, shape: str = "exponential", direction: str = "decay",
               prefix: str = "component", **priors: Any) -> Model:
    """K relaxing components and an offset.

    Parameters
    ----------
    K : int
    shape : "exponential" or "stretched"
    direction : "decay" (towards the offset from above) or "recovery" (from below)
    **priors
        offset, amplitude, rate and, if stretched, stretching: each a prior, ``(lo, hi)``, a
        number or a name.

    Returns
    -------
    Model

    Examples
    --------
    >>> relaxation(1, offset=(0, 1), amplitude=(0, 2), rate=LogUniform(0.1, 10)).free
    ('offset', 'component1_amplitude', 'component1_rate')
    """
    for field, value, known in (("shape", shape, SHAPES), ("direction", direction, DIRECTIONS)):
        if value not in known:
            raise InputError(field, repr(value), f"one of {', '.join(known)}")
    return Model.single(shapes.constant, **given(priors, ["offset"])) + Model.repeated(
        K, _FORMULA[shape, direction], prefix,
        **{n: p for n, p in priors.items() if n != "offset"})


def default_priors(data: Data, shape: str = "exponential") -> dict[str, Any]:
    """What the data's own range suggests: said with every fit, to be replaced by knowledge.

    Rates from a third of the inverse of the longest time to three times the inverse of the
    shortest; amplitudes up to 5 times the spread of y and the offset within 4 spreads of the data,
    wide enough for a curve that has not come near its plateau; the stretching exponent between 0
    and 1 where no physics says more.

    Examples
    --------
    >>> data = Data([0.1, 1, 10], [0.0, 0.6, 1.0], noise=0.1)
    >>> default_priors(data)["rate"]
    LogUniform(lo=0.03333333333333333, hi=30.0)
    """
    times = np.unique(data.x[data.x > 0.0])
    if data.x.min() < 0.0 or not len(times):
        raise InputError("x", f"{data.x.min():g}", "times >= 0, one of them > 0",
                         "restrict --range")
    lo, hi = float(data.y.min()), float(data.y.max())
    spread = (hi - lo) or abs(hi) or 1.0
    out: dict[str, Any] = {
        "offset": Uniform(lo - 4.0 * spread, hi + 4.0 * spread),
        "amplitude": Uniform(0.0, 5.0 * spread),
        "rate": LogUniform(1.0 / (3.0 * float(times[-1])), 3.0 / float(times[0]))}
    if shape == "stretched":
        out["stretching"] = Uniform(0.0, 1.0)
    return out
