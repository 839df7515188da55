"""Spectra: K lines of one shape on a background (XPS, Raman, XRD, and the like).

Positions and widths are in the units of x, heights in the units of y.  ``width`` is the full
width at half maximum (FWHM); ``mixing`` is the Lorentzian share of a pseudo-Voigt line
(dimensionless, 0 Gaussian, 1 Lorentzian).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sampler import shapes
from sampler.data import Data
from sampler.errors import InputError
from sampler.model import Model
from sampler.priors import Uniform

SHAPES = {"gaussian": shapes.gaussian, "lorentzian": shapes.lorentzian,
          "pseudo_voigt": shapes.pseudo_voigt}
BACKGROUNDS = ("none", "constant", "linear", "exponential")


def peaks(K: int, shape: str = "gaussian", prefix: str = "peak", **priors: Any) -> Model:
    """K lines of one shape, named ``peak1_height``, ``peak1_center``, ``peak1_width``, ...

    Parameters
    ----------
    K : int
    shape : "gaussian", "lorentzian" or "pseudo_voigt"
    **priors
        height (unit of y), center and width (FWHM; unit of x) and, for pseudo-Voigt lines,
        mixing: each a prior, ``(lo, hi)``, a number (fixed) or a name (shared).

    Returns
    -------
    Model

    Examples
    --------
    >>> peaks(1, height=(0, 2), center=(0, 3), width=(0.05, 1)).free
    ('peak1_height', 'peak1_center', 'peak1_width')
    """
    if shape not in SHAPES:
        raise InputError("shape", repr(shape), f"one of {', '.join(SHAPES)}")
    return Model.repeated(K, SHAPES[shape], prefix, **priors)


def default_priors(data: Data, shape: str = "gaussian") -> dict[str, Any]:
    """What the data's own range suggests: said with every fit, to be replaced by knowledge.

    Heights up to 1.2 times the spread of y; centres within the x range; FWHM from two point
    spacings (a quarter of the x range if that is less) to half the x range; mixing 0 to 1.

    Examples
    --------
    >>> data = Data([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 1, 2, 9, 2, 1, 0, 0, 0, 0], noise=1)
    >>> default_priors(data)["width"]
    Uniform(lo=2.0, hi=4.5)
    """
    lo, hi = data.x_range
    if not hi > lo:
        raise InputError("x", "a single position", "two positions or more for peaks")
    spacing = float(np.median(np.diff(np.unique(data.x))))
    spread = float(data.y.max() - data.y.min()) or abs(float(data.y[0])) or 1.0
    widest = 0.5 * (hi - lo)
    out: dict[str, Any] = {
        "height": Uniform(0.0, 1.2 * spread), "center": Uniform(lo, hi),
        "width": Uniform(min(2.0 * spacing, 0.5 * widest), widest)}
    if shape == "pseudo_voigt":
        out["mixing"] = Uniform(0.0, 1.0)
    return out


def background(kind: str, data: Data) -> Model:
    """A background by name: none, constant, linear or exponential, with default priors."""
    builders = {"none": lambda _: Model(), "constant": constant_background,
                "linear": linear_background, "exponential": exponential_background}
    if kind not in builders:
        raise InputError("background", repr(kind), f"one of {', '.join(BACKGROUNDS)}")
    return builders[kind](data)


def constant_background(data: Data) -> Model:
    """A level (unit of y): uniform over the range of y, a tenth beyond it at either end."""
    return Model.single(shapes.constant, "background_", offset=_level(data))


def linear_background(data: Data) -> Model:
    """A sloping line, ``background_offset + background_slope * x``.

    The slope may change y by 1.2 times its spread over the x range, up or down; the offset at
    x = 0 is free enough for any such line that meets the data.
    """
    lo, hi = data.x_range
    level = _level(data)
    steep = (level.hi - level.lo) / ((hi - lo) or 1.0)
    reach = steep * max(abs(lo), abs(hi))
    return Model.single(shapes.linear, "background_", offset=(level.lo - reach, level.hi + reach),
                        slope=(-steep, steep))


def exponential_background(data: Data) -> Model:
    """A decay ``amplitude * exp(-rate * x)``: rate up to ten decays over the x range."""
    lo, hi = data.x_range
    top = 2.0 * max(float(data.y.max()), float(data.y.max() - data.y.min()))
    return Model.single(shapes.exponential, "background_",
                        amplitude=(0.0, top or 1.0), rate=(0.0, 10.0 / ((hi - lo) or 1.0)))


def _level(data: Data) -> Uniform:
    lo, hi = float(data.y.min()), float(data.y.max())
    margin = 0.1 * (hi - lo) or abs(hi) or 1.0
    return Uniform(lo - margin, hi + margin)
