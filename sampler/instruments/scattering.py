"""Small-angle scattering: K populations of dilute spheres, each of one size, on a flat background.

I(q) = background + sum_k intensity_k [3 (sin u - u cos u) / u**3]**2,   u = q radius_k

``q`` is x, in the inverse of the unit of the radius; an intensity is what the population scatters
towards q = 0, in the unit of y (its number, contrast and volume squared are not told apart by one
curve).  Source: Rayleigh, Proc. R. Soc. A 84 (1910) 25; Hayashi et al., arXiv 2303.04983, ask how
long one has to measure.
"""

from __future__ import annotations

from math import factorial
from typing import Any

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
