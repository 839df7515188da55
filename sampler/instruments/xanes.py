"""X-ray absorption near an edge: the step, its white line, and K transitions below it (XANES).

mu(E) = height (1/2 + arctan(2 (E - position) / width) / pi)                        the edge
      + amplitude exp(-4 ln 2 ((E - position - shift) / width_of_the_line)**2)      the white line
      + K Gaussian lines below the edge

Energies and widths (FWHM) are in the unit of x, heights and amplitudes in the unit of y.  The white
line is placed from the edge, so that it moves with it.  Source: Kashiwamura et al., JPSJ 91 (2022)
074009, equation 2; the priors are ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from sampler.data import Data
from sampler.errors import InputError
from sampler.instruments import given
from sampler.instruments.peaks import peaks
from sampler.model import Model
from sampler.priors import Uniform
from sampler.shapes import Formula, x

_h, _e, _w, _a, _s = sp.symbols("height position width amplitude shift", real=True)
EDGE = Formula("absorption_edge", _h * (sp.Rational(1, 2) + sp.atan(2 * (x - _e) / _w) / sp.pi),
               ("height", "position", "width"))
WHITE_LINE = Formula("white_line", _a * sp.exp(-4 * sp.log(2) * ((x - _e - _s) / _w) ** 2),
                     ("amplitude", "position", "shift", "width"))


def xanes(K: int, shape: str = "gaussian", **priors: Any) -> Model:
    """An absorption edge with its white line, and K transitions below it.

    Parameters
    ----------
    K : int
        Number of lines below the edge, named ``transition1_height``, ...
    shape : "gaussian", "lorentzian" or "pseudo_voigt"
        Of these lines.
    **priors
        edge_height, edge_position, edge_width, line_amplitude, line_shift, line_width (of the
        white line) and height, center, width (FWHM) and, for pseudo-Voigt lines, mixing of the
        transitions: each a prior, ``(lo, hi)`` or a number.

    Returns
    -------
    Model

    Raises
    ------
    InputError
        If a prior is missing or unknown.

    Examples
    --------
    >>> model = xanes(1, edge_height=1.0, edge_position=(0, 10), edge_width=(0.5, 8),
    ...               line_amplitude=0.0, line_shift=0.0, line_width=1.0,
    ...               height=(0, 0.3), center=(-10, 0), width=(0.5, 4))
    >>> model.free
    ('edge_position', 'edge_width', 'transition1_height', 'transition1_center', 'transition1_width')
    """
    edge = given(priors, ("edge_height", "edge_position", "edge_width"))
    line = given(priors, ("line_amplitude", "line_shift", "line_width"))
    lines = {n: p for n, p in priors.items() if n not in edge | line}
    return (Model.single(EDGE, "edge_", **_own(edge))
            + Model.single(WHITE_LINE, "line_", position="edge_position",
                           priors={"edge_position": edge["edge_position"]}, **_own(line))
            + peaks(K, shape, "transition", **lines))


def _own(priors: dict[str, Any]) -> dict[str, Any]:
    """The names of the formula: edge_height is its height."""
    return {name.partition("_")[2]: prior for name, prior in priors.items()}


def default_priors(data: Data, shape: str = "gaussian") -> dict[str, Any]:
    """What the data's own range suggests: said with every fit, to be replaced by knowledge.

    The step is as high as y rises, to a half more or less; it lies where y passes its middle, to a
    quarter of the range of x; its width and that of the white line go up to half that range.  The
    white line rises at most as high as y does and lies less than a quarter of the range above the
    edge.  Transitions lie between the start of the data and the middle of the rise, reach up to a
    third of its height, and are from two point spacings to a quarter of the range of x wide.

    Raises
    ------
    InputError
        If y does not rise over the range of x.

    Examples
    --------
    >>> data = Data([0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 0.1, 0, 0, 0.5, 1, 1, 1], noise=0.1)
    >>> default_priors(data)["edge_position"]
    Uniform(lo=3.0, hi=7.0)
    """
    order = np.argsort(data.x, kind="stable")
    x_, y = data.x[order], data.y[order]
    few = max(1, len(y) // 20)
    low, high = float(np.median(y[:few])), float(np.median(y[-few:]))
    rise, (lo, hi) = high - low, data.x_range
    if not (rise > 0.0 and hi > lo):
        raise InputError("y", f"{low:g} at the start and {high:g} at the end",
                         "an absorption that rises over an edge", "check the columns and --range")
    middle = float(x_[int(np.argmax(y - low >= 0.5 * rise))])
    spacing, span = float(np.median(np.diff(np.unique(x_)))), hi - lo
    narrow = min(2.0 * spacing, 0.1 * span)
    out: dict[str, Any] = {
        "edge_height": Uniform(0.5 * rise, 1.5 * rise),
        "edge_position": Uniform(middle - 0.25 * span, middle + 0.25 * span),
        "edge_width": Uniform(narrow, 0.5 * span),
        "line_amplitude": Uniform(0.0, rise), "line_shift": Uniform(0.0, 0.25 * span),
        "line_width": Uniform(narrow, 0.5 * span),
        "height": Uniform(0.0, rise / 3.0), "center": Uniform(lo, middle),
        "width": Uniform(narrow, 0.25 * span)}
    if shape == "pseudo_voigt":
        out["mixing"] = Uniform(0.0, 1.0)
    return out
