"""Small-angle scattering: K populations of dilute spheres, each of one size, on a flat background;
and droplets with a shell, of many sizes, that keep each other away (`droplets`).

I(q) = background + sum_k intensity_k [3 (sin u - u cos u) / u**3]**2,   u = q radius_k

``q`` is x, in the inverse of the unit of the radius; an intensity is what the population scatters
towards q = 0, in the unit of y (its number, contrast and volume squared are not told apart by one
curve).  Source: Rayleigh, Proc. R. Soc. A 84 (1910) 25; Hayashi et al., arXiv 2303.04983, ask how
long one has to measure.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import Any

import numpy as np
import sympy as sp

from sampler import shapes
from sampler.data import Data
from sampler.errors import InputError
from sampler.instruments import given
from sampler.model import Model
from sampler.priors import LogUniform
from sampler.shapes import Formula, x

_s, _r = sp.symbols("intensity radius", real=True)


def _amplitude(u: Any) -> Any:
    """3 (sin u - u cos u) / u**3; below u = 1, where the difference cancels, its series, which at
    eight terms is right to the last digit."""
    terms = [sp.Rational((-1) ** (k + 1) * 6 * k, factorial(2 * k + 1)) for k in range(1, 9)]
    series = sum(c * u ** (2 * k) for k, c in enumerate(terms))
    return sp.Piecewise((series, u < 1), (3 * (sp.sin(u) - u * sp.cos(u)) / u**3, True))


SPHERE = Formula("sphere", _s * _amplitude(x * _r) ** 2, ("intensity", "radius"))


_p, _t, _reach, _fraction = sp.symbols("spread shell reach fraction", real=True)
CONTRASTS = ("core", "shell", "drop")
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(7)


def droplets(contrast: str) -> Formula:
    """Droplets of a core and a uniform shell, of many sizes, seen under one contrast.

    Parameters
    ----------
    contrast : str
        What scatters differently from the solvent: ``"core"``, ``"shell"`` or ``"drop"`` (both).

    Returns
    -------
    Formula
        Of ``intensity`` (towards q = 0, neighbours included), ``radius`` of the core and
        ``spread`` (median, and standard deviation of the logarithm, of a log-normal law in which
        each droplet counts by the square of its core's volume: the median by number is
        radius exp(-6 spread**2)), ``shell`` (thickness; not for ``"core"``), ``reach`` (radius at
        which neighbours meet as hard spheres) and the volume ``fraction`` of these.

    Raises
    ------
    InputError
        For another contrast.

    Notes
    -----
    Sizes by seven nodes of Gauss and Hermite: to a thousandth of the forward intensity for spreads
    up to 0.25 and q radius up to 10; wider laws want more.  Neighbours by the Percus-Yevick
    closure: Wertheim, Phys. Rev. Lett. 10 (1963) 321; Thiele, J. Chem. Phys. 39 (1963) 474.

    Examples
    --------
    >>> droplets("shell").parameters
    ('intensity', 'radius', 'spread', 'shell', 'reach', 'fraction')
    """
    if contrast not in CONTRASTS:
        raise InputError("contrast", repr(contrast), " or ".join(CONTRASTS))
    core = [_r * sp.exp(_p * float(z)) for z in _NODES]
    outer = [r + _t for r in core]
    share = [sp.Float(float(w)) for w in _WEIGHTS / _WEIGHTS.sum()]
    swell = [(1 + _t / r) ** 3 for r in core]
    match contrast:
        case "core":
            seen, forward = [_amplitude(x * r) for r in core], [sp.Integer(1)] * len(core)
        case "drop":
            seen = [g * _amplitude(x * r) for g, r in zip(swell, outer, strict=True)]
            forward = swell
        case _:
            seen = [g * _amplitude(x * o) - _amplitude(x * r)
                    for g, o, r in zip(swell, outer, core, strict=True)]
            forward = [g - 1 for g in swell]
    mean, at_zero = (sum(w * a**2 for w, a in zip(share, part, strict=True))
                     for part in (seen, forward))
    names = ("intensity", "radius", "spread", *(["shell"] * (contrast != "core")), "reach",
             "fraction")
    neighbours = structure_factor(2 * x * _reach, _fraction) / (
        (1 - _fraction) ** 4 / (1 + 2 * _fraction) ** 2)
    return Formula(f"{contrast}_of_droplets", _s * mean / at_zero * neighbours, names)


def structure_factor(u: Any, fraction: Any) -> Any:
    """S(q) of hard spheres by Percus and Yevick, u = q times their diameter.

    Parameters
    ----------
    u, fraction : sympy expressions
        The volume fraction is that of the hard spheres.

    Examples
    --------
    >>> round(float(structure_factor(sp.Float(1e-6), sp.Rational(1, 10))), 6)    # 0.9**4 / 1.2**2
    0.455625
    """
    inner = _bowl(lambda s, c, v: s - v * c, 3, u)
    middle = _bowl(lambda s, c, v: 2 * v * s + (2 - v**2) * c - 2, 4, u)
    far = _bowl(lambda s, c, v: -v**4 * c + 4 * ((3 * v**2 - 6) * c + (v**3 - 6 * v) * s + 6), 6, u)
    whole = (1 + 2 * fraction) ** 2 / (1 - fraction) ** 4
    contact = -6 * fraction * (1 + fraction / 2) ** 2 / (1 - fraction) ** 4
    return 1 / (1 + 24 * fraction * (whole * inner + contact * middle
                                     + fraction * whole / 2 * far))


def _bowl(numerator: Callable[[Any, Any, Any], Any], power: int, u: Any) -> Any:
    """numerator(sin u, cos u, u) / u**power; below u = 2, where it cancels, its Taylor series,
    which is right to the last digit there."""
    v, last = sp.Symbol("v"), power + 24
    sine, cosine = (sum((-1) ** (k // 2) * v**k / sp.factorial(k) for k in range(first, last, 2))
                    for first in (1, 0))
    found = sp.Poly(numerator(sine, cosine, v), v)
    series = sum(found.coeff_monomial(v**k) * u ** (k - power) for k in range(power, last))
    return sp.Piecewise((series, u < 2), (numerator(sp.sin(u), sp.cos(u), u) / u**power, True))


def spheres(K: int, prefix: str = "population", **priors: Any) -> Model:
    """K populations of spheres, named ``population1_intensity``, ``population1_radius``, ...

    Parameters
    ----------
    K : int
    **priors
        background, intensity (unit of y) and radius (inverse unit of x): each a prior,
        ``(lo, hi)``, a number or a name.

    Returns
    -------
    Model

    Raises
    ------
    InputError
        If a prior is missing or unknown.

    Examples
    --------
    >>> spheres(1, background=0.1, intensity=LogUniform(1, 1000), radius=(0.5, 10)).free
    ('population1_intensity', 'population1_radius')
    """
    (background,) = given(priors, ["background"]).values()
    return Model.single(shapes.constant, "background_", offset=background) + Model.repeated(
        K, SPHERE, prefix, **{n: p for n, p in priors.items() if n != "background"})


def default_priors(data: Data) -> dict[str, Any]:
    """What the data's own range suggests: said with every fit, to be replaced by knowledge.

    Radii, log-uniform, from 1/q at the largest q (smaller spheres scatter as flatly as the
    background) to pi/q at the smallest (the forward scattering of larger ones lies outside);
    intensities over four decades up to ten times the highest y; the background over five decades up
    to the highest y.

    Raises
    ------
    InputError
        If some q is not positive, or no y is.

    Examples
    --------
    >>> priors = default_priors(Data([0.1, 1.0, 2.0], [50.0, 10.0, 1.0], noise=1.0))
    >>> priors["radius"]
    LogUniform(lo=0.5, hi=31.41592653589793)
    """
    lo, hi = data.x_range
    if not lo > 0.0:
        raise InputError("x", f"{lo:g}", "scattering vectors q > 0", "restrict --range")
    top = float(data.y.max())
    if not top > 0.0:
        raise InputError("y", f"{top:g} at most", "an intensity above 0 somewhere")
    return {"background": LogUniform(1e-5 * top, top),
            "intensity": LogUniform(1e-3 * top, 10.0 * top),
            "radius": LogUniform(1.0 / hi, float(sp.pi) / lo)}
