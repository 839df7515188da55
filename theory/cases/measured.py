"""Cases with data (synthetic, dimensionless): curves under Gaussian noise, and counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.cases.grids import Quadrature, in_two, log_sum, panels, square
from theory.cases.problem import (
    LOG_2PI,
    Case,
    DataSet,
    Gamma,
    LogUniform,
    Mode,
    Normal,
    Uniform,
)
from theory.errors import DomainError, positive_number, whole
from theory.evidence import LinearRegression, log_partition, posterior

Array = NDArray[np.float64]


def _symbols(names: str) -> Any:
    import sympy as sp

    return sp.symbols(names, real=True)


def _normaliser(points: int, noise: float) -> float:
    return points * (0.5 * LOG_2PI + math.log(noise))


# ---- linear in every parameter: closed form ------------------------------------------------------


def _linear(name: str, about: str, names: Sequence[str], problem: LinearRegression,
            data: tuple[DataSet, ...]) -> Case:
    """A case from a regression with independent normal priors."""
    from scipy.special import ndtri

    mean, covariance = posterior(problem)
    sd = np.sqrt(np.diag(covariance))
    X, y, s = problem.design, problem.y, problem.noise
    constant = problem.normalisation

    def log_likelihood(theta: Any) -> Any:
        r = (y - np.asarray(theta) @ X.T) / s
        return -0.5 * np.sum(r * r, axis=-1) - constant

    def quantile(p: float) -> Array:
        return np.asarray(mean + sd * ndtri(p))

    def tempered(beta: float) -> float:
        return float(np.real(log_partition(problem, beta))) - beta * constant

    priors = tuple(Normal(float(m), float(math.sqrt(v))) for m, v in zip(
        problem.prior_mean, np.diag(problem.prior_covariance), strict=True))
    return Case(name, about, tuple(names), log_likelihood, priors, tempered, mean, covariance,
                quantile, data=data)


def _line() -> Any:
    a, b, x = _symbols("a b x")
    return a * x + b


def straight_line(points: int = 30, noise: float = 0.5, prior_width: float = 10.0,
                  seed: int = 3) -> Case:
    """y = a x + b on [-1, 1], normal priors of standard deviation prior_width.

    Parameters
    ----------
    points : int
    noise, prior_width : float
    seed : int
        Of the synthetic noise; the truth is a = 1, b = 0.3.

    Returns
    -------
    Case

    Raises
    ------
    DomainError
        For fewer than one point, or a noise or width that is not positive.
    """
    noise, prior_width = (positive_number(n, v) for n, v in (("noise", noise),
                                                             ("prior_width", prior_width)))
    points = whole("points", points, 1)
    x = np.linspace(-1.0, 1.0, points)
    y = x + 0.3 + noise * np.random.default_rng(seed).normal(size=points)
    problem = LinearRegression(np.stack([x, np.ones(points)], axis=1), y, noise, 0.0,
                               prior_width**2)
    return _linear("straight_line", "two parameters, closed form", ("a", "b"), problem,
                   (DataSet(x, y, _line, noise),))


def polynomial(degree: int) -> Case:
    """A polynomial of degree 0 to 8 through 24 points: correlated posteriors, closed form.

    Parameters
    ----------
    degree : int

    Returns
    -------
    Case
    """
    if whole("degree", degree, 0) > 8:
        raise DomainError("degree", repr(degree), "a whole number from 0 to 8")
    x = np.linspace(0.0, 2.0, 24)
    y = np.cos(2.0 * x) + 0.1 * np.random.default_rng(11).normal(size=24)
    problem = LinearRegression(x[:, None] ** np.arange(degree + 1), y, 0.1, 0.0, 25.0)
    names = [f"c{k}" for k in range(degree + 1)]

    def curve() -> Any:
        return sum(_symbols(c) * _symbols("x") ** k for k, c in enumerate(names))

    return _linear(f"polynomial_{degree}", f"{degree + 1} parameters, correlated, closed form",
                   names, problem, (DataSet(x, y, curve, 0.1),))


def shared_slope() -> Case:
    """Two data sets of unequal noise that share a slope and have their own offsets."""
    x = np.linspace(-1, 1, 9), np.linspace(0, 3, 12)
    noise, offsets = (0.1, 0.4), ("offset_1", "offset_2")
    g = np.random.default_rng(5)
    y = [0.8 * x[i] + (0.5, -1.0)[i] + noise[i] * g.normal(size=len(x[i])) for i in (0, 1)]

    def curve(offset: str) -> Callable[[], Any]:
        return lambda: _symbols("slope") * _symbols("x") + _symbols(offset)

    own = np.repeat(np.eye(2), [9, 12], axis=0)
    problem = LinearRegression(np.column_stack([np.concatenate(x), own]), np.concatenate(y),
                               np.repeat(noise, [9, 12]), 0.0, 4.0)
    return _linear("shared_slope", "two data sets, one common parameter, closed form",
                   ("slope", *offsets), problem,
                   tuple(DataSet(x[i], y[i], curve(offsets[i]), noise[i]) for i in (0, 1)))


def _shape(x: Any, center: Any, sd: Any) -> Any:
    return np.exp(-0.5 * ((x - center) / sd) ** 2)


def peak(height: str = "height", center: str | float = "center", sd: str | float = "sd") -> Any:
    """height * exp(-(x - center)^2 / (2 sd^2)) in sympy; center and sd are names or numbers.

    Examples
    --------
    >>> peak()
    height*exp(-(-center + x)**2/(2*sd**2))
    """
    import sympy as sp

    x, h = _symbols("x"), _symbols(height)
    c, s = (_symbols(v) if isinstance(v, str) else sp.Rational(str(v)) for v in (center, sd))
    return h * sp.exp(-((x - c) ** 2) / (2 * s**2))


def linear_peaks() -> Case:
    """Heights of five overlapping peaks of fixed position and width: closed form."""
    x, centers = np.linspace(0.0, 6.0, 80), (1.5, 2.3, 2.9, 3.6, 4.8)
    shapes = _shape(x[:, None], np.array(centers), 0.4)
    y = shapes @ [1.0, 0.4, 0.9, 0.0, 0.6] + 0.05 * np.random.default_rng(7).normal(size=80)
    problem = LinearRegression(shapes, y, 0.05, 0.0, 1.0)

    def curve() -> Any:
        return sum(peak(f"h{k}", c, 0.4) for k, c in enumerate(centers, 1))

    return _linear("linear_peaks", "five overlapping shapes, closed form",
                   [f"h{k}" for k in range(1, 6)], problem, (DataSet(x, y, curve, 0.05),))


def correlated_normal() -> Case:
    """20 harmonics seen over part of their period: a strongly correlated normal posterior."""
    x, k = np.linspace(0.0, 2.0, 60), np.arange(20)
    design, g = np.cos(x[:, None] * k), np.random.default_rng(20)
    names = [f"t{i}" for i in k]

    def curve() -> Any:
        import sympy as sp

        return sum(_symbols(t) * sp.cos(i * _symbols("x")) for i, t in enumerate(names))

    y = design @ g.normal(size=20) + 0.1 * g.normal(size=60)
    problem = LinearRegression(design, y, 0.1, 0.0, 1.0)
    return _linear("correlated_normal", "20 parameters, condition number 8e3, closed form",
                   names, problem, (DataSet(x, y, curve, 0.1),))


# ---- lines in a box: evidence in closed form, moments by quadrature ------------------------------


def line_box() -> Case:
    """A line under wide boxes; its evidence is the exact one of `theory.box`."""
    return _boxed_line("line_box", "box priors, walls far away", 10.0, (-2, -1, 0, 1, 2),
                       (-1.9, -0.8, 0.4, 0.9, 2.3), (1.01, 0.18), (0.2, 0.3))


def line_wall() -> Case:
    """A line whose estimate sits exactly on the wall of its box, and correlated."""
    return _boxed_line("line_wall", "the posterior is cut by a wall", 1.0, (0, 1, 2, 3, 4, 6),
                       (0.3, 1.1, 2.4, 2.7, 4.5, 6.2), (1.0, 0.2), (0.2, 0.6))


def _boxed_line(name: str, about: str, xi: float, xs: Sequence[float], ys: Sequence[float],
                centre: tuple[float, float], scale: tuple[float, float]) -> Case:
    from theory.box import BoxLine, reduced_free_energy

    x, y = np.array(xs, dtype=float), np.array(ys, dtype=float)
    constant = _normaliser(len(x), 0.5)

    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        r = (y - t[..., :1] * x - t[..., 1:2]) / 0.5
        return -0.5 * np.sum(r * r, axis=-1) - constant

    edges = [np.unique(np.clip(c + s * np.linspace(-10, 10, 13), -xi, xi))
             for c, s in zip(centre, scale, strict=True)]
    edges = [np.union1d(e, [-xi, xi]) for e in edges]
    priors = (Uniform(-xi, xi), Uniform(-xi, xi))
    mean, covariance = in_two(log_likelihood, priors, edges).moments
    line = BoxLine(x, y, 0.5, (-xi, xi), (-xi, xi))

    def tempered(beta: float) -> float:
        return -reduced_free_energy(line, beta) - beta * constant

    return Case(name, f"{about}; evidence in closed form", ("a", "b"), log_likelihood, priors,
                tempered, mean, covariance, data=(DataSet(x, y, _line, 0.5),))


# ---- linear in some parameters: those exactly, the others by quadrature --------------------------


def relaxation() -> Case:
    """One decay A exp(-r x): amplitude normal, rate uniform; quadrature over the rate."""
    x = np.linspace(0.0, 4.0, 25)
    y = 1.2 * np.exp(-0.9 * x) + 0.05 * np.random.default_rng(9).normal(size=25)
    constant = _normaliser(25, 0.05)

    def curve() -> Any:
        import sympy as sp

        A, r, x = _symbols("A r x")
        return A * sp.exp(-r * x)

    def log_likelihood(theta: Any) -> Any:
        v = np.asarray(theta)
        r = (y - v[..., :1] * np.exp(-v[..., 1:2] * x)) / 0.05
        return -0.5 * np.sum(r * r, axis=-1) - constant

    rate, w = panels(np.r_[np.linspace(0, 2, 41), np.linspace(2, 5, 11)[1:]])
    shapes = np.exp(-rate[:, None] * x)

    def given_rate(beta: float) -> tuple[Array, Array, Array]:
        log_p, centre, variance = _one_amplitude(shapes, y, 0.05, 2.0, beta)
        return log_p - beta * constant - math.log(5.0), centre, variance

    grid = Quadrature(rate[:, None], w, given_rate)
    return Case("relaxation", "a rate enters nonlinearly; quadrature over it", ("A", "r"),
                log_likelihood, (Normal(0.0, 2.0), Uniform(0.0, 5.0)), grid.log_z, *grid.moments,
                data=(DataSet(x, y, curve, 0.05),), coldest=100.0)


def _one_amplitude(shapes: Array, y: Array, noise: float, width: float, beta: float
                   ) -> tuple[Array, Array, Array]:
    """ln of the integral over a normal amplitude (0 +- width) of each shape (nodes, points), and
    the amplitude's conditional mean and variance; without the noise's constant."""
    precision = width**-2 + beta * np.sum(shapes**2, axis=1) / noise**2
    pull = beta * (shapes @ y) / noise**2
    log_p = (0.5 * pull**2 / precision - 0.5 * np.log(width**2 * precision)
             - 0.5 * beta * float(y @ y) / noise**2)
    return log_p, (pull / precision)[:, None], (1 / precision)[:, None, None]


def unknown_noise() -> Case:
    """A level and the noise itself: quadrature over the noise, the level exactly."""
    y = 0.7 + 0.4 * np.random.default_rng(13).normal(size=12)
    n, total, squares = 12, float(y.sum()), float(y @ y)
    lo, hi = 0.02, 20.0

    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        rss = np.sum((y - t[..., :1]) ** 2, axis=-1)
        return -n * (np.log(t[..., 1]) + 0.5 * LOG_2PI) - 0.5 * rss / t[..., 1] ** 2

    log_s, w = panels(np.linspace(math.log(lo), math.log(hi), 71))

    def given_noise(beta: float) -> tuple[Array, Array, Array]:
        weight = beta * np.exp(-2 * log_s)
        precision, pull = 1.0 + weight * n, weight * total
        log_p = (0.5 * pull**2 / precision - 0.5 * np.log(precision) - 0.5 * weight * squares
                 - beta * n * (log_s + 0.5 * LOG_2PI) - math.log(math.log(hi / lo)))
        return log_p, (pull / precision)[:, None], (1 / precision)[:, None, None]

    grid = Quadrature(np.exp(log_s)[:, None], w, given_noise)
    return Case("unknown_noise", "the noise is inferred; quadrature over it", ("level", "sigma"),
                log_likelihood, (Normal(0.0, 1.0), LogUniform(lo, hi)), grid.log_z, *grid.moments,
                data=(DataSet(np.arange(12.0), y, lambda: _symbols("level"), "sigma"),),
                coldest=100.0)


def one_peak() -> Case:
    """Height, centre and width of one peak: the height exactly, the rest by quadrature."""
    x = np.linspace(0.0, 5.0, 40)
    y = 1.1 * _shape(x, 2.2, 0.5) + 0.1 * np.random.default_rng(17).normal(size=40)
    constant = _normaliser(40, 0.1)

    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        r = (y - t[..., :1] * _shape(x, t[..., 1:2], t[..., 2:])) / 0.1
        return -0.5 * np.sum(r * r, axis=-1) - constant

    nodes, weights = square(
        panels(np.union1d(np.linspace(0, 5, 21), np.linspace(1.6, 2.8, 13)), 16),
        panels(np.union1d(np.linspace(0.1, 2, 11), np.linspace(0.2, 0.9, 15)), 16))
    shapes = _shape(x, nodes[:, :1], nodes[:, 1:])

    def given_shape(beta: float) -> tuple[Array, Array, Array]:
        log_p, centre, variance = _one_amplitude(shapes, y, 0.1, 1.0, beta)
        return log_p - beta * constant - math.log(5.0 * 1.9), centre, variance

    grid = Quadrature(nodes, weights, given_shape)
    return Case("one_peak", "position and width enter nonlinearly; quadrature",
                ("height", "center", "sd"), log_likelihood,
                (Normal(0.0, 1.0), Uniform(0.0, 5.0), Uniform(0.1, 2.0)), grid.log_z,
                *grid.moments, data=(DataSet(x, y, peak, 0.1),), coldest=5.0)


def two_peaks() -> Case:
    """Two overlapping peaks in either order: heights exactly, both centres by quadrature."""
    x = np.linspace(0.0, 5.0, 50)
    y = (1.0 * _shape(x, 2.0, 0.4) + 0.6 * _shape(x, 2.9, 0.4)
         + 0.1 * np.random.default_rng(19).normal(size=50))
    constant = _normaliser(50, 0.1)

    def curve() -> Any:
        return peak("height1", "center1", 0.4) + peak("height2", "center2", 0.4)

    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        model = (t[..., :1] * _shape(x, t[..., 1:2], 0.4)
                 + t[..., 2:3] * _shape(x, t[..., 3:], 0.4))
        return -0.5 * np.sum(((y - model) / 0.1) ** 2, axis=-1) - constant

    c, w = panels(np.linspace(0.0, 5.0, 31), 14)
    shapes = _shape(x, c[:, None], 0.4)
    nodes, weights = square((c, w), (c, w))
    own, cross, pull = np.sum(shapes**2, axis=1) / 0.01, shapes @ shapes.T / 0.01, shapes @ y / 0.01

    def given_centers(beta: float) -> tuple[Array, Array, Array]:
        p1, p2 = (v.ravel() for v in np.broadcast_arrays(
            1.0 + beta * own[:, None], 1.0 + beta * own))
        g1, g2 = (v.ravel() for v in np.broadcast_arrays(beta * pull[:, None], beta * pull))
        off = beta * cross.ravel()
        det = p1 * p2 - off**2
        centre = np.stack([p2 * g1 - off * g2, p1 * g2 - off * g1], axis=1) / det[:, None]
        inner = np.stack([p2, -off, -off, p1], axis=1).reshape(-1, 2, 2) / det[:, None, None]
        log_p = (0.5 * (centre[:, 0] * g1 + centre[:, 1] * g2) - 0.5 * np.log(det)
                 - beta * (0.5 * float(y @ y) / 0.01 + constant) - 2 * math.log(5.0))
        return log_p, centre, inner

    grid = Quadrature(nodes, weights, given_centers)
    order = [0, 2, 1, 3]          # (height1, height2, center1, center2) -> names
    mean, covariance = grid.moments
    modes = tuple(Mode(label, 0.5, contains) for label, contains in (
        ("1 left of 2", lambda t: np.asarray(t[..., 1] < t[..., 3])),
        ("2 left of 1", lambda t: np.asarray(t[..., 3] < t[..., 1]))))
    return Case("two_peaks", "exchangeable peaks, each order with weight 1/2; quadrature",
                ("height1", "center1", "height2", "center2"), log_likelihood,
                (Normal(0.0, 1.0), Uniform(0.0, 5.0)) * 2, grid.log_z, mean[order],
                covariance[np.ix_(order, order)], modes=modes,
                data=(DataSet(x, y, curve, 0.1),), coldest=2.0)


def funnel() -> Case:
    """A scale v and four effects z_i exp(v/2), each seen once: a funnel, quadrature over v."""
    y = np.array([0.3, -0.5, 1.9, -0.1])

    def curve(i: int) -> Callable[[], Any]:
        def build() -> Any:
            import sympy as sp

            return _symbols(f"z{i}") * sp.exp(_symbols("v") / 2)
        return build

    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        r = y - t[..., 1:] * np.exp(0.5 * t[..., :1])
        return -0.5 * np.sum(r * r, axis=-1) - 2 * LOG_2PI

    v, w = panels(np.linspace(-30.0, 30.0, 241))

    def given_scale(beta: float) -> tuple[Array, Array, Array]:
        precision = 1.0 + beta * np.exp(v)
        log_p = (-0.5 * (v / 3.0) ** 2 - math.log(3.0) - 0.5 * LOG_2PI - 2 * np.log(precision)
                 - 0.5 * beta * float(y @ y) / precision - 2 * beta * LOG_2PI)
        centre = beta * np.exp(0.5 * v)[:, None] * y / precision[:, None]
        return log_p, centre, np.eye(4) / precision[:, None, None]

    grid = Quadrature(v[:, None], w, given_scale)
    mean, covariance = grid.moments
    order = [4, 0, 1, 2, 3]
    return Case("funnel", "a scale that opens and closes; quadrature over it",
                ("v", "z1", "z2", "z3", "z4"), log_likelihood,
                (Normal(0.0, 3.0), *(Normal(0.0, 1.0),) * 4), grid.log_z, mean[order],
                covariance[np.ix_(order, order)],
                data=tuple(DataSet(np.zeros(1), y[i:i + 1], curve(i + 1), 1.0) for i in range(4)),
                coldest=1e4)


# ---- singular: only a product is seen ------------------------------------------------------------


def product() -> Case:
    """y = a b x on [-1, 1]^2, true slope 0: a singular cross that never becomes normal."""
    return _product(("a", "b"))


def product_of_three() -> Case:
    """y = a b c x on [-1, 1]^3, true slope 0: ridges along three planes."""
    return _product(("a", "b", "c"))


def _product(names: tuple[str, ...]) -> Case:
    """With t the product, u = -ln|t| is a sum of exponential numbers: one integral is left."""
    d, x = len(names), np.linspace(-1.0, 1.0, 41)
    y = 0.1 * np.random.default_rng(23).normal(size=41)
    constant, c = _normaliser(41, 0.1), float(x @ x) / 0.02
    slope = float(x @ y) / float(x @ x)
    rest = float(np.sum((y - slope * x) ** 2)) / 0.02

    def curve() -> Any:
        import sympy as sp

        return sp.Mul(_symbols("x"), *(_symbols(n) for n in names))

    def log_likelihood(theta: Any) -> Any:
        t = np.prod(np.asarray(theta), axis=-1)
        return -c * (t - slope) ** 2 - rest - constant

    u, w = panels(np.linspace(0.0, 60.0, 121))
    t = np.concatenate([-np.exp(-u), np.exp(-u)])
    weights = 0.5 * np.tile(w, 2)
    log_density = np.tile((d - 1) * np.log(u) - math.lgamma(d) - u, 2)

    def log_terms(beta: float) -> Array:
        return np.asarray(log_density - beta * (c * (t - slope) ** 2 + rest + constant))

    def tempered(beta: float) -> float:
        return log_sum(log_terms(beta), weights)

    p = weights * np.exp(log_terms(1.0) - tempered(1.0))
    # Given u, ln|a| takes a share of it that is Beta(1, d - 1).
    k = 2 * np.tile(u, 2)
    share = -np.expm1(-k) / k
    square_mean = share if d == 2 else 2 * (1 - share) / k
    # Signs flip in pairs, so that means vanish; a b alone has a mean where there are two.
    covariance = np.eye(d) * float(p @ square_mean)
    if d == 2:
        covariance[0, 1] = covariance[1, 0] = float(p @ t)
    return Case("product" if d == 2 else "product_of_three",
                f"singular: learning coefficient 1/2, multiplicity {d}; one integral", names,
                log_likelihood, (Uniform(-1.0, 1.0),) * d, tempered, np.zeros(d), covariance,
                data=(DataSet(x, y, curve, 0.1),), coldest=1e4)


# ---- counts -------------------------------------------------------------------------------------


def poisson_gamma() -> Case:
    """Counts with one rate under its conjugate prior: closed form, exact quantiles."""
    counts = np.array([4.0, 7.0, 3.0, 5.0, 8.0, 2.0, 6.0, 5.0])
    shape, rate, n, total = 2.0, 0.5, len(counts), float(counts.sum())
    constant = math.fsum(math.lgamma(v + 1) for v in counts)

    def log_likelihood(theta: Any) -> Any:
        mu = np.asarray(theta)[..., 0]
        safe = np.where(mu > 0, mu, 1.0)
        return np.where(mu > 0, total * np.log(safe) - n * safe - constant, -np.inf)

    def tempered(beta: float) -> float:
        a, b = shape + beta * total, rate + beta * n
        return (shape * math.log(rate) - math.lgamma(shape) + math.lgamma(a) - a * math.log(b)
                - beta * constant)

    a, b = shape + total, rate + n
    law = Gamma(a, b)
    return Case("poisson_gamma", "skewed, positive; closed form", ("rate",), log_likelihood,
                (Gamma(shape, rate),), tempered, np.array([a / b]), np.array([[a / b**2]]),
                lambda p: law.quantile(np.array([p])),
                data=(DataSet(np.arange(8.0), counts, lambda: _symbols("rate"), "poisson"),))


def counts_peak() -> Case:
    """A peak of known shape on a flat background, seen as counts: quadrature over both."""
    x = np.linspace(0.0, 6.0, 31)
    shape = _shape(x, 3.0, 0.5)
    y = np.random.default_rng(29).poisson(1.5 + 6.0 * shape).astype(float)
    constant = math.fsum(math.lgamma(v + 1) for v in y)

    def curve() -> Any:
        return _symbols("background") + peak("height", 3.0, 0.5)

    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        mu = t[..., :1] + t[..., 1:] * shape
        return np.sum(y * np.log(mu) - mu, axis=-1) - constant

    priors = (Uniform(0.1, 5.0), Uniform(0.0, 20.0))
    grid = in_two(log_likelihood, priors,
                  (np.geomspace(0.1, 5.0, 13), np.linspace(0.0, 20.0, 13)))
    return Case("counts_peak", "Poisson noise, never negative; quadrature",
                ("background", "height"), log_likelihood, priors, grid.log_z, *grid.moments,
                data=(DataSet(x, y, curve, "poisson"),), coldest=30.0)
