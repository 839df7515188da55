"""Free energies of linear regression with many digits: exact integers, then mpmath.

Every float64 number is an integer times a power of two, so that sums of products over any number
of data points are exact; the rest is done with as many digits as the cancellations need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mpmath as mp
import numpy as np

DIGITS = 130


def exact_sums(columns: Sequence[Any]) -> list[list[mp.mpf]]:
    """Sums over the points of all products of two columns, without rounding."""
    integers, scale = [], []
    for column in columns:
        mantissa, exponent = np.frexp(np.asarray(column, dtype=float))
        low = int(exponent[mantissa != 0].min(initial=0)) - 53
        shifts = (exponent - 53 - low).tolist()
        whole = (mantissa * 2.0**53).astype(np.int64).tolist()
        integers.append([m << s if m else 0 for m, s in zip(whole, shifts, strict=True)])
        scale.append(low)
    return [[mp.ldexp(mp.mpf(sum(map(int.__mul__, a, b))), i + j)
             for b, j in zip(integers, scale, strict=True)]
            for a, i in zip(integers, scale, strict=True)]


def gaussian(design: Any, y: Any, noise: float, prior_mean: Any, prior_variance: Any,
             betas: Sequence[float]) -> list[tuple[mp.mpf, mp.mpf]]:
    """F~ at every beta, and the sum of the absolute values of its terms, for one noise level."""
    with mp.workdps(DIGITS):
        d = design.shape[1]
        sums = exact_sums([*design.T, y])
        v = mp.mpf(noise) ** 2
        G = mp.matrix(d, d)
        for i in range(d):
            for j in range(d):
                G[i, j] = sums[i][j] / v
        m0 = mp.matrix([mp.mpf(float(m)) for m in prior_mean])
        Xy = mp.matrix([sums[i][d] / v for i in range(d)])
        pull = Xy - G * m0
        square = sums[d][d] / v - 2 * (m0.T * Xy)[0] + (m0.T * G * m0)[0]
        precision = mp.diag([1 / mp.mpf(float(p)) for p in prior_variance])
        out = []
        for beta in map(mp.mpf, betas):
            P = precision + beta * G
            energy = (beta * square - beta**2 * (pull.T * mp.lu_solve(P, pull))[0]) / 2
            volume = mp.log(mp.det(P) / mp.det(precision)) / 2
            out.append((energy + volume, abs(energy) + abs(volume)))
        return out


def least_squares(design: Any, y: Any) -> tuple[mp.mpf, mp.mpf]:
    """RSS and ln det X^T X."""
    with mp.workdps(DIGITS):
        d = design.shape[1]
        sums = exact_sums([*design.T, y])
        G = mp.matrix([row[:d] for row in sums[:d]])
        Xy = mp.matrix([row[d] for row in sums[:d]])
        return sums[d][d] - (Xy.T * mp.lu_solve(G, Xy))[0], mp.log(mp.det(G))


def line_in_a_box(x: Any, y: Any, noise: float, slope: tuple[float, float],
                  offset: tuple[float, float] | None, beta: float,
                  one: Any = None) -> tuple[mp.mpf, mp.mpf]:
    """F~ and the sum of its absolute terms; error functions inside, quadrature outside.  ``one``
    is the offset's column where the data have been divided by their own noise."""
    with mp.workdps(DIGITS):
        sums = exact_sums([x, np.ones(len(x)) if one is None else one, y])
        v = mp.mpf(noise) ** 2 / mp.mpf(beta)
        Sxx, Sx, Sxy, N, Sy, Syy = (t / v for t in (
            sums[0][0], sums[0][1], sums[0][2], sums[1][1], sums[1][2], sums[2][2]))
        (lo, hi) = map(mp.mpf, slope)
        if offset is None:
            top, log_z = _normal_mass(Sxx, Sxy, lo, hi)
            energy, volume = Syy / 2 - top, mp.log(hi - lo)
        else:
            low, high = map(mp.mpf, offset)

            def profile(a: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
                peak, mass = _normal_mass(N, Sy - a * Sx, low, high)
                return peak - a * a * Sxx / 2 + a * Sxy, mass

            top, log_z, _ = _log_concave(profile, lo, hi)
            energy, volume = Syy / 2 - top, mp.log((hi - lo) * (high - low))
        return energy + volume - log_z, abs(energy) + abs(volume) + abs(log_z)


def unknown_noise(x: Any, y: Any, slope: tuple[float, float], lowest: float, highest: float
                  ) -> tuple[mp.mpf, mp.mpf, float]:
    """F of a slope in a box with ln v uniform between two bounds, the sum of its absolute terms,
    and the likeliest noise; error functions inside, quadrature over ln v outside."""
    with mp.workdps(DIGITS):
        sums = exact_sums([x, y])
        half, (lo, hi) = mp.mpf(len(y)) / 2, map(mp.mpf, slope)
        bounds = [mp.log(mp.mpf(v)) for v in (lowest, highest)]

        def profile(u: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
            v = mp.exp(u)
            top, mass = _normal_mass(sums[0][0] / v, sums[0][1] / v, lo, hi)
            return top - sums[1][1] / (2 * v) - half * (mp.log(2 * mp.pi) + u), mass

        level, log_z, mode = _log_concave(profile, *bounds)
        terms = [half * (mp.log(2 * mp.pi) + mode), level, log_z, mp.log(hi - lo),
                 mp.log(bounds[1] - bounds[0])]
        F = -level - log_z + terms[3] + terms[4]
        return F, mp.fsum(map(abs, terms)), float(mp.exp(mode / 2))


def _normal_mass(curvature: mp.mpf, pull: mp.mpf, lo: mp.mpf, hi: mp.mpf) -> tuple[Any, Any]:
    """Largest exponent of pull t - curvature t^2 / 2 on [lo, hi], ln of the integral below it."""
    centre, root = pull / curvature, mp.sqrt(curvature / 2)
    mode = min(max(centre, lo), hi)
    top = pull * mode - curvature * mode**2 / 2
    a, b = root * (lo - centre), root * (hi - centre)
    if b < 0:
        a, b = -b, -a
    # Only where the whole interval is in one tail do the error functions cancel.
    part = mp.erfc(a) - mp.erfc(b) if a > 0 else mp.erf(b) - mp.erf(a)
    return top, mp.log(mp.sqrt(mp.pi) / (2 * root) * part) + curvature * (mode - centre) ** 2 / 2


def _log_concave(function: Any, lo: mp.mpf, hi: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf]:
    """A level near the largest, ln of the integral of exp(function - level), and where it is."""
    def value(a: mp.mpf) -> mp.mpf:
        return mp.fsum(function(a))

    left, right = lo, hi
    for _ in range(150):                       # golden sections
        step = (right - left) * mp.mpf("0.381966011250105")
        if value(left + step) < value(right - step):
            left += step
        else:
            right -= step
    mode = (left + right) / 2
    level = value(mode)
    edges = [mode]
    for wall in (lo, hi):                      # where it has fallen by 60
        near, far = mode, wall
        if value(wall) < level - 60:
            for _ in range(200):
                middle = (near + far) / 2
                near, far = (middle, far) if value(middle) > level - 60 else (near, middle)
                if abs(far - near) < abs(far - mode) / 1000:
                    break
        edges += [mode + (far - mode) * mp.mpf(k) / 12 for k in range(1, 13)]
    with mp.workdps(40):
        integral = mp.mpf(0)
        nodes, weights = _nodes()
        for a, b in zip(sorted(edges)[:-1], sorted(edges)[1:], strict=True):
            half = (b - a) / 2
            for node, weight in zip(nodes, weights, strict=True):
                with mp.workdps(DIGITS):
                    u = value(a + half * (1 + node)) - level
                integral += half * weight * mp.exp(u)
    return level, mp.log(integral), mode


def _nodes() -> tuple[list[mp.mpf], list[mp.mpf]]:
    if not _CACHE:
        with mp.workdps(40):
            rule = mp.calculus.quadrature.GaussLegendre(mp.mp).calc_nodes(4, 130)
            _CACHE.append(([n for n, _ in rule], [w for _, w in rule]))
    return _CACHE[0]


_CACHE: list[tuple[list[mp.mpf], list[mp.mpf]]] = []
