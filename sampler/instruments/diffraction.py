"""Powder diffraction: which of many candidate phases are in a measured pattern?

A candidate is a list of lines (positions in the units of x, say degrees 2-theta; relative
intensities).  Its pattern is switched by a 0/1 parameter ``present`` and scaled by ``amount``
(unit of y, if the strongest line of the list is 1).  With `sampler.sample` and
``integrate_out="amplitudes"`` all 2**K combinations are searched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from sampler import shapes
from sampler.errors import InputError
from sampler.model import Model
from sampler.priors import Bernoulli
from sampler.shapes import Formula


def pattern(name: str, positions: Any, intensities: Any, width: float,
            mixing: float = 0.5) -> Formula:
    """One phase as a formula in ``present`` and ``amount``: pseudo-Voigt lines at known places.

    Parameters
    ----------
    name : str
        Of the phase.
    positions, intensities : arrays (lines,)
        Units of x; relative, not negative.
    width : float
        Full width at half maximum (FWHM) of every line, units of x.
    mixing : float
        Lorentzian share of a line, 0 to 1 (dimensionless).

    Returns
    -------
    Formula

    Raises
    ------
    InputError
        For lines that are not finite, or a width or mixing out of range.

    Examples
    --------
    >>> pattern("salt", [27.3, 31.7, 45.4], [0.1, 1.0, 0.6], width=0.2).parameters
    ('present', 'amount')
    """
    at = np.asarray(positions, dtype=np.float64)
    high = np.asarray(intensities, dtype=np.float64)
    if at.ndim != 1 or at.shape != high.shape or not len(at):
        raise InputError(f"lines of {name}", f"positions {at.shape} and intensities {high.shape}",
                         "two lists of equal length, one line or more")
    bad = np.flatnonzero(~(np.isfinite(at) & np.isfinite(high) & (high >= 0.0)))
    if len(bad):
        raise InputError(f"lines of {name}[{bad[0]}]", f"{at[bad[0]]:g}, {high[bad[0]]:g}",
                         "a finite position and an intensity >= 0")
    if not 0.0 < width < np.inf or not 0.0 <= mixing <= 1.0:
        raise InputError(f"lines of {name}", f"width {width:g}, mixing {mixing:g}",
                         "a width > 0 and a mixing from 0 to 1")
    height, center, fwhm, share, present, amount = sp.symbols(
        "height center width mixing present amount", real=True)
    line = shapes.pseudo_voigt.expression.xreplace(
        {fwhm: sp.Float(float(width)), share: sp.Float(float(mixing))})
    lines = sp.Add(*(line.xreplace({height: sp.Float(float(i)), center: sp.Float(float(p))})
                     for p, i in zip(at, high, strict=True)))
    return Formula(name, present * amount * lines, ("present", "amount"))


def phase_search(candidates: Mapping[str, tuple[Any, Any]], width: float, mixing: float = 0.5,
                 present: float = 0.05, **amount: Any) -> Model:
    """A model in which every candidate phase may or may not be there.

    Parameters
    ----------
    candidates : mapping from name to (positions, intensities)
        Names of letters, digits and underscores.
    width, mixing : float
        Of every line, as in `pattern`.
    present : float
        Probability that a candidate is there, before the measurement.
    amount : prior
        ``amount=Normal(0, 1)``: of the strongest line, unit of y.

    Returns
    -------
    Model
        With parameters ``NAME_present`` and ``NAME_amount``.

    Examples
    --------
    >>> from sampler import Data, Normal, Posterior, sample
    >>> x = np.linspace(20, 50, 301)
    >>> known = {"salt": ([27.3, 31.7, 45.4], [0.1, 1.0, 0.6]), "quartz": ([20.9, 26.6], [0.2, 1])}
    >>> y = 0.7 / (1 + (10 * (x - 26.6)) ** 2) + 0.1 / (1 + (10 * (x - 20.9)) ** 2)
    >>> model = phase_search(known, width=0.2, mixing=1.0, amount=Normal(0, 1))
    >>> run = sample(Posterior(model, Data(x, y, noise=0.05)), 500, burn_in=200,
    ...              integrate_out="amplitudes")
    >>> dict(zip(run.posterior.names[::2], run.draws.mean(axis=(0, 1))[::2].round(1)))
    {'salt_present': np.float64(0.0), 'quartz_present': np.float64(1.0)}
    """
    if set(amount) != {"amount"}:
        raise InputError("phase_search", ", ".join(sorted(amount)) or "no amount",
                         "amount=, the prior of a phase's strongest line")
    if not candidates:
        raise InputError("candidates", "none", "one phase or more")
    model = Model()
    for name, (positions, intensities) in candidates.items():
        model += Model.single(pattern(name, positions, intensities, width, mixing), f"{name}_",
                              present=Bernoulli(present), amount=amount["amount"])
    return model
