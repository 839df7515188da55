"""Cases without data: bare densities with walls, tails, curved valleys and several modes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.cases.grids import in_two, log_sum, panels
from theory.cases.problem import LOG_2PI, Case, Mode, Uniform

Array = NDArray[np.float64]


def _symbols(names: Sequence[str]) -> Any:
    import sympy as sp

    return sp.symbols(list(names), real=True)


# ---- one hill, or a hill that is no hill ---------------------------------------------------------


def wall() -> Case:
    """exp(-sum k_i t_i) in the unit cube of five dimensions: all of it on the walls."""
    k = np.array([1.0, 3.0, 10.0, 30.0, 100.0])
    names = tuple(f"t{i}" for i in range(1, 6))

    def log_likelihood(theta: Any) -> Any:
        return -(np.asarray(theta) @ k)

    def tempered(beta: float) -> float:
        return float(np.sum(np.log(-np.expm1(-beta * k) / (beta * k))))

    # A cut exponential law in every coordinate.
    mean = 1 / k - 1 / np.expm1(k)
    variance = 1 / k**2 - np.exp(k) / np.expm1(k) ** 2

    def quantile(p: float) -> Array:
        return np.asarray(-np.log1p(p * np.expm1(-k)) / k)

    return Case("wall", "the mode is a corner; closed form", names, log_likelihood,
                (Uniform(0.0, 1.0),) * 5, tempered, mean, np.diag(variance), quantile,
                density=lambda: -sum(int(f) * t for f, t in zip(k, _symbols(names), strict=True)),
                bound=0.0)


def rosenbrock() -> Case:
    """-(1 - a)^2 - 20 (b - a^2)^2: a thin curved valley; exact across it, quadrature along it."""
    from scipy.special import log_ndtr, ndtr

    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        return -((1.0 - t[..., 0]) ** 2) - 20.0 * (t[..., 1] - t[..., 0] ** 2) ** 2

    def density() -> Any:
        a, b = _symbols("ab")
        return -((1 - a) ** 2) - 20 * (b - a**2) ** 2

    a, w = panels(np.linspace(-5.0, 5.0, 161))

    def log_terms(beta: float) -> Array:
        # b is normal around a^2, cut to [-5, 30]; a^2 <= 25 keeps both walls beyond the mean.
        root = math.sqrt(40.0 * beta)
        outside = ndtr(root * (-5.0 - a**2)) + np.exp(log_ndtr(-root * (30.0 - a**2)))
        return np.asarray(-beta * (1.0 - a) ** 2 + np.log1p(-outside)
                          + 0.5 * LOG_2PI - math.log(root) - math.log(350.0))

    p = w * np.exp(log_terms(1.0) - log_sum(log_terms(1.0), w))
    both = np.column_stack([a, a**2])
    mean = p @ both
    covariance = (p[:, None] * (both - mean)).T @ (both - mean)
    covariance[1, 1] += 1 / 40
    return Case("rosenbrock", "a curved valley; quadrature along it", ("a", "b"), log_likelihood,
                (Uniform(-5.0, 5.0), Uniform(-5.0, 30.0)), lambda beta: log_sum(log_terms(beta), w),
                mean, covariance, density=density, bound=0.0, coldest=1e4)


def shell() -> Case:
    """A thin ring of radius 2 and width 0.1 in a box of half width 6: radial integral."""
    radius, width, box = 2.0, 0.1, 6.0
    top = -math.log(width) - 0.5 * LOG_2PI

    def log_likelihood(theta: Any) -> Any:
        r = np.sqrt(np.sum(np.asarray(theta) ** 2, axis=-1))
        return -0.5 * ((r - radius) / width) ** 2 + top

    def density() -> Any:
        import sympy as sp

        a, b = _symbols("ab")
        return -50 * (sp.sqrt(a**2 + b**2) - 2) ** 2 - sp.log(2 * sp.pi / 100) / 2

    # Whole circles up to the wall; beyond it four arcs, smooth in the angle where the wall cuts.
    r, w = panels(np.union1d(np.linspace(0.0, box, 61), np.linspace(1.0, 3.0, 81)))
    angle, wa = panels(np.linspace(0.0, math.pi / 4, 13))
    far = box / np.cos(angle)
    radii = np.concatenate([r, far])
    arcs = np.concatenate([2 * math.pi * r * w, 8 * far * (math.pi / 4 - angle)
                           * wa * box * np.sin(angle) / np.cos(angle) ** 2]) / (2 * box) ** 2

    def log_terms(beta: float) -> Array:
        return beta * (-0.5 * ((radii - radius) / width) ** 2 + top)

    def tempered(beta: float) -> float:
        return log_sum(log_terms(beta), arcs)

    spread = float(arcs @ (np.exp(log_terms(1.0) - tempered(1.0)) * radii**2)) / 2
    return Case("shell", "no direction is long, all are curved; radial quadrature", ("a", "b"),
                log_likelihood, (Uniform(-box, box),) * 2, tempered, np.zeros(2),
                spread * np.eye(2), density=density, bound=top, coldest=1e3)


def heavy_tails() -> Case:
    """Student's t with 3 degrees of freedom in two directions, wide box: closed form."""
    from scipy.special import stdtr, stdtrit

    nu, centre, box = 3.0, np.array([1.0, -2.0]), 50.0
    constant = math.lgamma(0.5 * (nu + 1)) - math.lgamma(0.5 * nu) - 0.5 * math.log(nu * math.pi)

    def log_likelihood(theta: Any) -> Any:
        z2 = (np.asarray(theta) - centre) ** 2
        return np.sum(constant - 0.5 * (nu + 1) * np.log1p(z2 / nu), axis=-1)

    def density() -> Any:
        import sympy as sp

        a, b = _symbols("ab")
        return (2 * sp.log(2 / (sp.pi * sp.sqrt(3))) - 2 * sp.log(1 + (a - 1) ** 2 / 3)
                - 2 * sp.log(1 + (b + 2) ** 2 / 3))

    graded = np.r_[-np.geomspace(60, 0.1, 60), np.geomspace(0.1, 60, 60)]
    grids = [panels(np.unique(np.clip(graded, -box - c, box - c))) for c in centre]

    def log_terms(z: Array, beta: float) -> Array:
        return np.asarray(beta * (constant - 0.5 * (nu + 1) * np.log1p(z**2 / nu))
                          - math.log(2 * box))

    low, high = stdtr(nu, -box - centre), stdtr(nu, box - centre)

    def tempered(beta: float) -> float:
        if beta == 1.0:
            return float(np.sum(np.log(high - low))) - 2 * math.log(2 * box)
        return sum(log_sum(log_terms(z, beta), w) for z, w in grids)

    mean, variance = np.zeros(2), np.zeros(2)
    for i, (z, w) in enumerate(grids):
        p = w * np.exp(log_terms(z, 1.0) - log_sum(log_terms(z, 1.0), w))
        mean[i] = centre[i] + p @ z
        variance[i] = p @ z**2 - (p @ z) ** 2

    def quantile(p: float) -> Array:
        return np.asarray(centre + stdtrit(nu, low + p * (high - low)))

    return Case("heavy_tails", "tails like a power; closed form", ("a", "b"), log_likelihood,
                (Uniform(-box, box),) * 2, tempered, mean, np.diag(variance), quantile,
                density=density, bound=2 * constant, coldest=1e3)


# ---- several modes -------------------------------------------------------------------------------


def eggbox() -> Case:
    """(2 + cos(a/2) cos(b/2))^5 on [0, 10 pi]^2: eighteen hills, some cut by walls; quadrature.

    Eight hills stand free, eight on a wall are halved and two in a corner quartered: weights 2/25,
    1/25 and 1/50.
    """
    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        return (2.0 + np.cos(0.5 * t[..., 0]) * np.cos(0.5 * t[..., 1])) ** 5

    def density() -> Any:
        import sympy as sp

        a, b = _symbols("ab")
        return (2 + sp.cos(a / 2) * sp.cos(b / 2)) ** 5

    def around(i: int, j: int) -> Callable[[Array], NDArray[np.bool_]]:
        # The cell of a summit at 2 pi (i, j) is the diamond around it.
        def contains(theta: Array) -> NDArray[np.bool_]:
            gap = np.abs(np.asarray(theta) / (2 * math.pi) - np.array([i, j]))
            return np.asarray(gap.sum(axis=-1) < 1.0)
        return contains

    summits = [(i, j) for i in range(6) for j in range(6) if (i + j) % 2 == 0]
    modes = tuple(Mode(f"({2 * i} pi, {2 * j} pi)",
                       0.08 * 0.5 ** ((i in (0, 5)) + (j in (0, 5))), around(i, j))
                  for i, j in summits)
    edges = np.linspace(0, 10 * math.pi, 41)
    priors = (Uniform(0.0, 10 * math.pi),) * 2
    grid = in_two(log_likelihood, priors, (edges, edges))
    return Case("eggbox", "eighteen modes; quadrature", ("a", "b"), log_likelihood, priors,
                grid.log_z, *grid.moments, modes=modes, density=density, bound=243.0,
                coldest=5.0)


def _mixture(name: str, about: str, weights: Sequence[float], centres: Array, sds: Sequence[float],
             box: float, labels: Sequence[str], tempered: Callable[[float], float],
             coldest: float = math.inf) -> Case:
    """Isotropic normal hills inside a box whose walls are ten standard deviations away."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    d = centres.shape[1]
    names = tuple(f"t{i}" for i in range(1, d + 1))
    log_w = np.log(np.asarray(weights)) - d * (np.log(np.asarray(sds)) + 0.5 * LOG_2PI)
    widths = np.asarray(sds)

    def hills(theta: Any) -> Array:
        gap = (np.asarray(theta)[..., None, :] - centres) / widths[:, None]
        return np.asarray(log_w - 0.5 * np.sum(gap * gap, axis=-1))

    def log_likelihood(theta: Any) -> Any:
        h = hills(theta)
        top = h.max(axis=-1, keepdims=True)
        return top[..., 0] + np.log(np.sum(np.exp(h - top), axis=-1))

    def density() -> Any:
        import sympy as sp

        # Two at a time, as mean + |gap|/2 + ln(1 + exp(-|gap|)): nothing overflows or vanishes.
        total = None
        for k, centre in enumerate(centres):
            gap2 = sum((t - sp.Float(c)) ** 2 for t, c in zip(_symbols(names), centre, strict=True))
            hill = sp.Float(log_w[k]) - gap2 / sp.Float(2 * widths[k] ** 2)
            if total is None:
                total = hill
                continue
            gap = sp.Abs(total - hill)
            total = (total + hill) / 2 + gap / 2 + sp.log(1 + sp.exp(-gap))
        return total

    share = np.asarray(weights) / math.fsum(weights)
    mean = share @ centres
    between = np.einsum("k,ki,kj->ij", share, centres - mean, centres - mean)
    covariance = between + float(share @ widths**2) * np.eye(d)

    def quantile(p: float) -> Array:
        return np.array([brentq(lambda v, i=i: share @ ndtr((v - centres[:, i]) / widths) - p,
                                -box, box, xtol=1e-13) for i in range(d)])

    def member(k: int) -> Callable[[Array], NDArray[np.bool_]]:
        return lambda theta: np.asarray(hills(theta).argmax(axis=-1) == k)

    modes = tuple(Mode(label, float(s), member(k))
                  for k, (label, s) in enumerate(zip(labels, share, strict=True)))
    return Case(name, about, names, log_likelihood, (Uniform(-box, box),) * d, tempered, mean,
                covariance, quantile, modes, density=density,
                bound=float(log_w.max() + math.log(len(weights))), coldest=coldest)


def _hill_and_spike(weights: tuple[float, float], centres: Array, sds: tuple[float, float],
                    box: float) -> Callable[[float], float]:
    r"""ln Z(beta) of a wide hill (first) and a narrow one, by one radial integral.

    With h the logarithms of the two, L^beta = exp(beta h_wide) (1 + exp(D))^beta, D = h_narrow -
    h_wide.  D depends only on the distance r from one point, the centre of the sphere D = 0:
    D = A - B r^2.  So Z is the wide hill's own (error functions) plus an integral over r in which
    exp(beta h_wide) is averaged over spheres (a Bessel function).  The sphere lies inside the box.
    """
    from scipy.special import gammaln, ive, log_ndtr, logsumexp

    d = centres.shape[1]
    log_w = np.log(weights) - d * (np.log(sds) + 0.5 * LOG_2PI)
    wide, narrow = np.square(sds)
    apart = float(np.linalg.norm(centres[1] - centres[0]))
    B = 0.5 * (1 / narrow - 1 / wide)
    A = float(log_w[1] - log_w[0]) + 0.5 * apart**2 / (wide - narrow)
    D = apart * wide / (wide - narrow)          # from the wide centre to that of the sphere
    r, w = panels(np.linspace(0.0, math.sqrt((A + 45.0) / B), 81))
    excess = A - B * r**2
    order = 0.5 * d - 1
    log_area = math.log(2) + 0.5 * d * math.log(math.pi) - gammaln(0.5 * d) + (d - 1) * np.log(r)

    def tempered(beta: float) -> float:
        kappa = beta * r * D / wide
        log_sphere = (gammaln(0.5 * d) + order * np.log(2 / kappa) + np.log(ive(order, kappa))
                      + kappa - 0.5 * beta * (r**2 + D**2) / wide)
        grown = beta * np.logaddexp(0.0, excess)
        more = np.where(grown > 700.0, grown, np.log(np.expm1(np.minimum(grown, 700.0))))
        bump = log_sum(log_area + log_sphere + more, w)
        root = math.sqrt(beta / wide)
        sides = (log_ndtr(root * (box - centres[0])) + np.log1p(-np.exp(
            log_ndtr(-root * (box + centres[0])) - log_ndtr(root * (box - centres[0])))))
        hill = float(np.sum(sides)) + d * (0.5 * LOG_2PI - math.log(root))
        return float(beta * log_w[0] + logsumexp([hill, bump]) - d * math.log(2 * box))

    return tempered


def two_modes() -> Case:
    """Two hills of weight 0.8 and 0.2, far apart: does the sampler weigh them?"""
    weights, sds = (0.8, 0.2), (0.5, 0.1)
    centres = np.array([[-3.0, 1.0], [4.0, -2.0]])
    return _mixture("two_modes", "two separate modes of known weight; exact", weights, centres, sds,
                    10.0, ("left", "right"), _hill_and_spike(weights, centres, sds, 10.0),
                    1e3)


def spike_and_slab() -> Case:
    """A narrow deep hill that holds 90 % and a broad one that a hot sampler sees: 8 dimensions.

    A first-order transition: <U> jumps with the temperature, and a ladder without rungs at the
    jump misses the spike.
    """
    weights, sds = (0.1, 0.9), (0.5, 0.02)
    centres = np.array([[-1.0] * 8, [2.0] * 8])
    return _mixture("spike_and_slab", "a first-order transition; exact", weights, centres, sds, 8.0,
                    ("slab", "spike"), _hill_and_spike(weights, centres, sds, 8.0), 1e3)


def labels() -> Case:
    """Three exchangeable components: 3! copies of one hill, each with weight 1/6."""
    values, s, box = np.array([0.0, 2.0, 5.0]), 0.15, 8.0
    orders = list(permutations(values))
    names = ["".join(f"{v:.0f}" for v in order) for order in orders]
    return _mixture("labels", "six equal copies under relabelling; exact", (1 / 6,) * 6,
                    np.array(orders), (s,) * 6, box, names, _exchangeable(values, s, box), 10.0)


def _exchangeable(values: Array, s: float, box: float) -> Callable[[float], float]:
    """ln Z(beta) of equal hills at all orders of three values.

    In the sector t1 < t2 = t1 + u < t3 = t2 + v the hill in order is the nearest, and its ratio to
    the others depends on u and v only: t1 is integrated exactly, u and v on panels.
    """
    from scipy.special import ndtr

    fine = np.r_[0.0, np.geomspace(0.01, 0.32, 6), np.arange(0.5, 16.01, 0.25)] / (2 * box)
    part, wp = panels(fine, 10)
    u = 2 * box * part[:, None]
    room = 2 * box - u
    v = room * part
    weights = 2 * box * wp[:, None] * room * wp
    swap = sum(np.exp(-(u * (values[1:].sum() - c[1] - c[2]) + v * (values[2] - c[2])) / s**2)
               for c in permutations(values))
    log_swap = np.log(swap)
    gaps = np.stack([np.broadcast_to(g, v.shape) for g in (
        values[0] + 0 * u, values[1] - u, values[2] - u - v)])
    middle = gaps.mean(axis=0)
    spread = np.sum((gaps - middle) ** 2, axis=0)
    top = -math.log(6) - 3 * (math.log(s) + 0.5 * LOG_2PI)

    def tempered(beta: float) -> float:
        root = math.sqrt(3 * beta) / s
        lo, hi = root * (-box - middle), root * (box - u - v - middle)
        # The smaller tail of both, for the difference of two numbers near 1 would lose digits.
        flip = lo > 0
        inside = ndtr(np.where(flip, -lo, hi)) - ndtr(np.where(flip, -hi, lo))
        log_terms = beta * (log_swap - 0.5 * spread / s**2) + np.log(np.maximum(inside, 1e-300))
        return float(log_sum(log_terms, weights) + math.log(6) + 0.5 * LOG_2PI - math.log(root)
                + beta * top - 3 * math.log(2 * box))

    return tempered
