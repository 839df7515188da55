r"""Named problems with exact answers, for any sampler in the world.

A `Case` is a likelihood, a prior, and what is exactly known of them: the evidence (at every
temperature), means and covariance, marginal quantiles, the weights of its modes.  A guest needs
nothing of ours but callables on NumPy arrays; ``theta`` is (..., parameters) everywhere and ``u`` a
point of the unit cube.

Temperature here is that of most samplers: ``log_evidence_at(beta)`` is ln of the integral of
prior * likelihood^beta, the likelihood taken whole.

Answers are closed forms where there are some, otherwise Gauss-Legendre quadrature to 1e-8 or
better over the few parameters that do not enter linearly; every case says which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError
from theory.evidence import LinearRegression, log_partition, posterior

Array = NDArray[np.float64]
LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Uniform:
    """Uniform prior of one parameter between lo and hi."""

    lo: float
    hi: float

    def log_density(self, value: Array) -> Array:
        """ln of the density; -inf outside."""
        inside = (value >= self.lo) & (value <= self.hi)
        return np.where(inside, -math.log(self.hi - self.lo), -np.inf)

    def quantile(self, u: Array) -> Array:
        """The value below which the prior has the share u."""
        return self.lo + (self.hi - self.lo) * u


@dataclass(frozen=True)
class Normal:
    """Normal prior of one parameter."""

    mean: float
    sd: float

    def log_density(self, value: Array) -> Array:
        """ln of the density."""
        return np.asarray(-0.5 * ((value - self.mean) / self.sd) ** 2
                          - math.log(self.sd) - 0.5 * LOG_2PI)

    def quantile(self, u: Array) -> Array:
        """The value below which the prior has the share u."""
        from scipy.special import ndtri

        return np.asarray(self.mean + self.sd * ndtri(u))


@dataclass(frozen=True)
class Gamma:
    """Gamma prior of one positive parameter, density ~ v^(shape-1) exp(-rate v)."""

    shape: float
    rate: float

    def log_density(self, value: Array) -> Array:
        """ln of the density; -inf below zero."""
        safe = np.where(value > 0, value, 1.0)
        log_p = (self.shape * math.log(self.rate) - math.lgamma(self.shape)
                 + (self.shape - 1) * np.log(safe) - self.rate * safe)
        return np.where(value > 0, log_p, -np.inf)

    def quantile(self, u: Array) -> Array:
        """The value below which the prior has the share u."""
        from scipy.special import gammaincinv

        return np.asarray(gammaincinv(self.shape, u) / self.rate)


Prior = Uniform | Normal | Gamma


@dataclass(frozen=True)
class Mode:
    """One hill of a posterior with several.

    Parameters
    ----------
    name : str
    weight : float
        Its exact share of the posterior.
    contains : callable
        theta (..., parameters) -> bool (...).
    """

    name: str
    weight: float
    contains: Callable[[Array], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Case:
    """A problem, its callables, and its exact answers.

    Parameters
    ----------
    name, about : str
        ``about`` says what the case tests and how its answers are known.
    names : tuple of str
        The parameters.
    log_likelihood : callable
        theta (..., parameters) -> (...), in nats, with all constants.
    priors : tuple
        One per parameter, independent.
    log_evidence : float
        Exact ln Z.
    mean : array (parameters,)
    covariance : array (parameters, parameters)
        Of the posterior, exact.
    log_evidence_at : callable or None
        beta -> ln of the integral of prior * likelihood^beta.
    quantile : callable or None
        p -> (parameters,) exact marginal quantiles of the posterior.
    modes : tuple of Mode
        Empty for one hill.
    formula : str
        The model in the language of sympy; empty where there is no curve.
    x, y : array (points,)
        The data; empty where there are none.

    Examples
    --------
    >>> case = straight_line()
    >>> case.dimension, case.prior_transform([0.5, 0.5]).tolist()
    (2, [0.0, 0.0])
    >>> case.log_posterior(case.mean) > case.log_posterior(case.mean + 1.0)
    True
    """

    name: str
    about: str
    names: tuple[str, ...]
    log_likelihood: Callable[[Any], Any]
    priors: tuple[Prior, ...]
    log_evidence: float
    mean: Array
    covariance: Array
    log_evidence_at: Callable[[float], float] | None = None
    quantile: Callable[[float], Array] | None = None
    modes: tuple[Mode, ...] = ()
    formula: str = ""
    x: Array = field(default_factory=lambda: np.zeros(0))
    y: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def dimension(self) -> int:
        """Number of parameters."""
        return len(self.names)

    def log_prior(self, theta: ArrayLike) -> Any:
        """ln of the prior density, theta (..., parameters) -> (...)."""
        t = self._theta(theta)
        return sum(p.log_density(t[..., i]) for i, p in enumerate(self.priors))

    def log_posterior(self, theta: ArrayLike) -> Any:
        """ln of prior times likelihood; -inf outside the prior."""
        t = self._theta(theta)
        prior = np.asarray(self.log_prior(t))
        with np.errstate(all="ignore"):
            likelihood = np.asarray(self.log_likelihood(t))
        total = np.where(np.isfinite(prior), prior + likelihood, -np.inf)
        return total if total.ndim else float(total)

    def prior_transform(self, u: ArrayLike) -> Array:
        """A point of the unit cube (..., parameters) as a parameter vector."""
        cube = self._theta(u)
        if np.any((cube < 0) | (cube > 1)):
            raise DomainError("u", str(cube[(cube < 0) | (cube > 1)][0]), "numbers from 0 to 1")
        return np.stack([p.quantile(cube[..., i]) for i, p in enumerate(self.priors)], axis=-1)

    def prior_samples(self, n: int, seed: int = 0) -> Array:
        """n independent draws from the prior, (n, parameters)."""
        return self.prior_transform(np.random.default_rng(seed).random((n, self.dimension)))

    def _theta(self, theta: ArrayLike) -> Array:
        t = np.asarray(theta, dtype=np.float64)
        if t.ndim == 0 or t.shape[-1] != self.dimension:
            raise DomainError("theta", f"an array of shape {t.shape}",
                              f"(..., {self.dimension}): {', '.join(self.names)}")
        return t


# ---- lines and other linear models --------------------------------------------------------------


def _linear(name: str, about: str, names: Sequence[str], problem: LinearRegression,
            formula: str, x: Array) -> Case:
    """A case from a regression with independent normal priors."""
    mean, covariance = posterior(problem)
    sd = np.sqrt(np.diag(covariance))
    X, y, s = problem.design, problem.y, problem.noise
    constant = problem.normalisation

    def log_likelihood(theta: Any) -> Any:
        r = (y - np.asarray(theta) @ X.T) / s
        return -0.5 * np.sum(r * r, axis=-1) - constant

    def quantile(p: float) -> Array:
        from scipy.special import ndtri

        return np.asarray(mean + sd * ndtri(p))

    def at(beta: float) -> float:
        return float(np.real(log_partition(problem, beta))) - beta * constant

    priors = tuple(Normal(float(m), float(math.sqrt(v))) for m, v in zip(
        problem.prior_mean, np.diag(problem.prior_covariance), strict=True))
    return Case(name, about, tuple(names), log_likelihood, priors, at(1.0), mean, covariance, at,
                quantile, formula=formula, x=x, y=y)


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
    """
    x = np.linspace(-1.0, 1.0, points)
    y = x + 0.3 + noise * np.random.default_rng(seed).normal(size=points)
    problem = LinearRegression(np.stack([x, np.ones(points)], axis=1), y, noise, 0.0,
                               prior_width**2)
    return _linear("straight_line", "two parameters, closed form", ("a", "b"), problem,
                   "a*x + b", x)


def polynomial(degree: int) -> Case:
    """A polynomial of degree 0 to 8 through 24 points: correlated posteriors, closed form.

    Parameters
    ----------
    degree : int

    Returns
    -------
    Case
    """
    if isinstance(degree, bool) or degree not in range(9):
        raise DomainError("degree", repr(degree), "a whole number from 0 to 8")
    x = np.linspace(0.0, 2.0, 24)
    y = np.cos(2.0 * x) + 0.1 * np.random.default_rng(11).normal(size=24)
    problem = LinearRegression(x[:, None] ** np.arange(degree + 1), y, 0.1, 0.0, 25.0)
    names = [f"c{k}" for k in range(degree + 1)]
    formula = " + ".join(f"c{k}*x**{k}" for k in range(degree + 1))
    return _linear(f"polynomial_{degree}", f"{degree + 1} parameters, correlated, closed form",
                   names, problem, formula, x)


def shared_slope() -> Case:
    """Two data sets of unequal noise that share a slope and have their own offsets."""
    x = np.concatenate([np.linspace(-1, 1, 9), np.linspace(0, 3, 12)])
    noise = np.repeat([0.1, 0.4], [9, 12])
    own = np.repeat([[1.0, 0.0], [0.0, 1.0]], [9, 12], axis=0)
    y = 0.8 * x + own @ [0.5, -1.0] + noise * np.random.default_rng(5).normal(size=21)
    problem = LinearRegression(np.column_stack([x, own]), y, noise, 0.0, 4.0)
    return _linear("shared_slope", "two data sets, one common parameter, closed form",
                   ("slope", "offset_1", "offset_2"), problem,
                   "slope*x + Piecewise((offset_1, first), (offset_2, True))", x)


def linear_peaks() -> Case:
    """Heights of five overlapping peaks of fixed position and width: closed form."""
    x = np.linspace(0.0, 6.0, 80)
    shapes = np.exp(-0.5 * ((x[:, None] - np.array([1.5, 2.3, 2.9, 3.6, 4.8])) / 0.4) ** 2)
    y = shapes @ [1.0, 0.4, 0.9, 0.0, 0.6] + 0.05 * np.random.default_rng(7).normal(size=80)
    problem = LinearRegression(shapes, y, 0.05, 0.0, 1.0)
    formula = " + ".join(f"h{k}*exp(-((x - {c})/0.4)**2/2)"
                         for k, c in enumerate((1.5, 2.3, 2.9, 3.6, 4.8), 1))
    return _linear("linear_peaks", "five overlapping shapes, closed form",
                   [f"h{k}" for k in range(1, 6)], problem, formula, x)


def correlated_normal() -> Case:
    """A 20-dimensional normal posterior, condition number about 1e4: closed form."""
    g = np.random.default_rng(20)
    rotation, _ = np.linalg.qr(g.normal(size=(20, 20)))
    design = rotation * np.geomspace(1.0, 100.0, 20)
    problem = LinearRegression(design, design @ g.normal(size=20) + g.normal(size=20), 1.0, 0.0, 1)
    return _linear("correlated_normal", "20 parameters, condition 1e4, closed form",
                   [f"t{k}" for k in range(20)], problem, "", np.zeros(0))


# ---- two parameters by quadrature ---------------------------------------------------------------


@cache
def _legendre(count: int) -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(count)


def _panels(edges: Sequence[float] | Array, count: int = 24) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on consecutive panels."""
    nodes, weights = _legendre(count)
    e = np.asarray(edges, dtype=float)
    half = 0.5 * np.diff(e)[:, None]
    return (e[:-1, None] + half * (nodes + 1.0)).ravel(), (half * weights).ravel()


def _by_quadrature(log_likelihood: Callable[[Any], Any], priors: Sequence[Prior],
                   edges: Sequence[Any]) -> tuple[float, Array, Array, Callable[[float], float]]:
    """ln Z, mean, covariance and ln Z(beta) of a problem in two parameters on a tensor grid."""
    (a, wa), (b, wb) = (_panels(e) for e in edges)
    theta = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2)
    log_w = (np.log(wa)[:, None] + np.log(wb)).ravel()
    log_w = log_w + sum(p.log_density(theta[:, i]) for i, p in enumerate(priors))
    log_l = np.asarray(log_likelihood(theta))

    def at(beta: float) -> float:
        terms = log_w + beta * log_l
        top = float(terms.max())
        return top + math.log(float(np.exp(terms - top).sum()))

    log_z = at(1.0)
    p = np.exp(log_w + log_l - log_z)
    mean = p @ theta
    gap = theta - mean
    return log_z, mean, (p[:, None] * gap).T @ gap, at


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
    constant = 0.5 * len(x) * math.log(2 * math.pi * 0.25)

    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        r = (y - t[..., :1] * x - t[..., 1:2]) / 0.5
        return -0.5 * np.sum(r * r, axis=-1) - constant

    edges = [np.unique(np.clip(c + s * np.linspace(-10, 10, 13), -xi, xi))
             for c, s in zip(centre, scale, strict=True)]
    edges = [np.union1d(e, [-xi, xi]) for e in edges]
    priors = (Uniform(-xi, xi), Uniform(-xi, xi))
    _, mean, covariance, _ = _by_quadrature(log_likelihood, priors, edges)
    line = BoxLine(x, y, 0.5, (-xi, xi), (-xi, xi))

    def at(beta: float) -> float:
        return -reduced_free_energy(line, beta) - beta * constant

    return Case(name, f"{about}; evidence in closed form", ("a", "b"), log_likelihood, priors,
                at(1.0), mean, covariance, at, formula="a*x + b", x=x, y=y)


def relaxation() -> Case:
    """One decay A exp(-r t): amplitude normal, rate uniform; quadrature."""
    t = np.linspace(0.0, 4.0, 25)
    y = 1.2 * np.exp(-0.9 * t) + 0.05 * np.random.default_rng(9).normal(size=25)
    constant = 25 * (0.5 * LOG_2PI + math.log(0.05))

    def log_likelihood(theta: Any) -> Any:
        v = np.asarray(theta)
        r = (y - v[..., :1] * np.exp(-v[..., 1:2] * t)) / 0.05
        return -0.5 * np.sum(r * r, axis=-1) - constant

    # Given r the amplitude is normal: only r is left to integrate.
    r, w = _panels(np.r_[np.linspace(0, 2, 41), np.linspace(2, 5, 11)[1:]])
    curve = np.exp(-r[:, None] * t)

    def given_rate(beta: float) -> tuple[Array, Array, Array]:
        """ln of the integral over A, and A's conditional mean and variance."""
        precision = 0.25 + beta * np.sum(curve**2, axis=1) / 0.05**2
        pull = beta * (curve @ y) / 0.05**2
        log_p = (0.5 * pull**2 / precision - 0.5 * np.log(4.0 * precision)
                 - beta * (0.5 * float(y @ y) / 0.05**2 + constant) - math.log(5.0))
        return log_p, pull / precision, 1 / precision

    return _given(given_rate, r, w, Case(
        "relaxation", "a rate enters nonlinearly; quadrature over it", ("A", "r"), log_likelihood,
        (Normal(0.0, 2.0), Uniform(0.0, 5.0)), 0.0, np.zeros(2), np.eye(2), formula="A*exp(-r*x)",
        x=t, y=y))


def unknown_noise() -> Case:
    """A level and the logarithm of the noise: quadrature over the noise, the level exactly."""
    y = 0.7 + 0.4 * np.random.default_rng(13).normal(size=12)
    n, total, squares = 12, float(y.sum()), float(y @ y)

    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        rss = np.sum((y - t[..., :1]) ** 2, axis=-1)
        return -n * (t[..., 1] + 0.5 * LOG_2PI) - 0.5 * rss * np.exp(-2 * t[..., 1])

    s, w = _panels(np.linspace(-4.0, 3.0, 71))

    def given_noise(beta: float) -> tuple[Array, Array, Array]:
        """ln of the integral over the level, and its conditional mean and variance."""
        weight = beta * np.exp(-2 * s)
        precision, pull = 1.0 + weight * n, weight * total
        log_p = (0.5 * pull**2 / precision - 0.5 * np.log(precision) - 0.5 * weight * squares
                 - beta * n * (s + 0.5 * LOG_2PI) - math.log(7.0))
        return log_p, pull / precision, 1 / precision

    return _given(given_noise, s, w, Case(
        "unknown_noise", "the noise is inferred; quadrature over it", ("level", "log_sigma"),
        log_likelihood, (Normal(0.0, 1.0), Uniform(-4.0, 3.0)), 0.0, np.zeros(2), np.eye(2),
        formula="level", x=np.arange(12.0), y=y))


def _given(conditional: Callable[[float], tuple[Array, Array, Array]], nodes: Array,
           weights: Array, case: Case) -> Case:
    """Fill in the answers of a case whose first parameter is normal given the second."""
    def at(beta: float) -> float:
        log_p = conditional(beta)[0]
        top = float(log_p.max())
        return top + math.log(float(weights @ np.exp(log_p - top)))

    log_p, centre, variance = conditional(1.0)
    p = weights * np.exp(log_p - at(1.0))
    both = np.column_stack([centre, nodes])
    mean = p @ both
    covariance = (p[:, None] * (both - mean)).T @ (both - mean)
    covariance[0, 0] += p @ variance
    return replace(case, log_evidence=at(1.0), mean=mean, covariance=covariance,
                   log_evidence_at=at)


def one_peak() -> Case:
    """Height, centre and width of one peak: the height exactly, the rest by quadrature."""
    x = np.linspace(0.0, 5.0, 40)
    noise = 0.1 * np.random.default_rng(17).normal(size=40)
    y = 1.1 * np.exp(-0.5 * ((x - 2.2) / 0.5) ** 2) + noise
    constant = 40 * (0.5 * LOG_2PI + math.log(0.1))

    def curve(c: Any, s: Any) -> Array:
        return np.asarray(np.exp(-0.5 * ((x - c) / s) ** 2))

    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        r = (y - t[..., :1] * curve(t[..., 1:2], t[..., 2:])) / 0.1
        return -0.5 * np.sum(r * r, axis=-1) - constant

    (c, wc), (s, ws) = (_panels(np.union1d(np.linspace(0, 5, 21), np.linspace(1.6, 2.8, 13)), 16),
                        _panels(np.union1d(np.linspace(0.1, 2, 11), np.linspace(0.2, 0.9, 15)), 16))
    grid = np.stack(np.meshgrid(c, s, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = np.outer(wc, ws).ravel()
    g = curve(grid[:, :1], grid[:, 1:])
    gg, gy = np.sum(g * g, axis=1) / 0.01, g @ y / 0.01

    def given(beta: float) -> tuple[Array, Array, Array]:
        precision, pull = 1.0 + beta * gg, beta * gy
        log_p = (0.5 * pull**2 / precision - 0.5 * np.log(precision)
                 - beta * (0.5 * float(y @ y) / 0.01 + constant) - math.log(5.0 * 1.9))
        return log_p, pull / precision, 1 / precision

    return _given(given, grid, weight, Case(
        "one_peak", "position and width enter nonlinearly; quadrature", ("height", "center", "sd"),
        log_likelihood, (Normal(0.0, 1.0), Uniform(0.0, 5.0), Uniform(0.1, 2.0)), 0.0, np.zeros(3),
        np.eye(3), formula="height*exp(-((x - center)/sd)**2/2)", x=x, y=y))


def funnel() -> Case:
    """A scale v and four effects z_i exp(v/2) seen through noise: a funnel, quadrature over v."""
    y = np.array([0.3, -0.5, 1.9, -0.1])

    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        r = y - t[..., 1:] * np.exp(0.5 * t[..., :1])
        return -0.5 * np.sum(r * r, axis=-1) - 2 * LOG_2PI

    v, w = _panels(np.linspace(-30.0, 30.0, 241))

    def terms(beta: float) -> tuple[Array, Array]:
        """ln of the integrand over v and the precision of every z given v."""
        precision = 1.0 + beta * np.exp(v)
        log_p = (-0.5 * (v / 3.0) ** 2 - math.log(3.0) - 0.5 * LOG_2PI - 2 * np.log(precision)
                 - 0.5 * beta * float(y @ y) / precision - 2 * beta * LOG_2PI)
        return log_p, precision

    def at(beta: float) -> float:
        log_p = terms(beta)[0]
        top = float(log_p.max())
        return top + math.log(float(w @ np.exp(log_p - top)))

    log_p, precision = terms(1.0)
    p = w * np.exp(log_p - at(1.0))
    centre = np.exp(0.5 * v)[:, None] * y / precision[:, None]
    both = np.column_stack([v, centre])
    mean = p @ both
    covariance = (p[:, None] * (both - mean)).T @ (both - mean)
    covariance[1:, 1:] += np.eye(4) * float(p @ (1 / precision))
    return Case("funnel", "a scale that opens and closes; quadrature over it",
                ("v", "z1", "z2", "z3", "z4"), log_likelihood,
                (Normal(0.0, 3.0), *(Normal(0.0, 1.0),) * 4), at(1.0), mean, covariance, at)


def eggbox() -> Case:
    """(2 + cos(a/2) cos(b/2))^5 on [0, 10 pi]^2: eighteen equal hills; quadrature."""
    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        return (2.0 + np.cos(0.5 * t[..., 0]) * np.cos(0.5 * t[..., 1])) ** 5

    edges = np.linspace(0, 10 * math.pi, 41)
    priors = (Uniform(0.0, 10 * math.pi),) * 2
    log_z, mean, covariance, at = _by_quadrature(log_likelihood, priors, (edges, edges))
    return Case("eggbox", "many equal modes; quadrature", ("a", "b"), log_likelihood, priors,
                log_z, mean, covariance, at)


def rosenbrock() -> Case:
    """-(1 - a)^2 - 20 (b - a^2)^2: a thin curved valley; quadrature along it."""
    def log_likelihood(theta: Any) -> Any:
        t = np.asarray(theta)
        return -((1.0 - t[..., 0]) ** 2) - 20.0 * (t[..., 1] - t[..., 0] ** 2) ** 2

    edges = (np.linspace(-5, 5, 81), np.linspace(-5, 30, 281))
    priors = (Uniform(-5.0, 5.0), Uniform(-5.0, 30.0))
    log_z, mean, covariance, at = _by_quadrature(log_likelihood, priors, edges)
    return Case("rosenbrock", "a curved valley; quadrature", ("a", "b"), log_likelihood, priors,
                log_z, mean, covariance, at)


def shell() -> Case:
    """A thin ring of radius 2 and width 0.1 in a box of half width 6: radial integral."""
    radius, width = 2.0, 0.1

    def log_likelihood(theta: Any) -> Any:
        r = np.sqrt(np.sum(np.asarray(theta) ** 2, axis=-1))
        return -0.5 * ((r - radius) / width) ** 2 - math.log(width) - 0.5 * LOG_2PI

    r, w = _panels(np.linspace(0.5, 3.5, 61))
    ring = w * r * np.exp(-0.5 * ((r - radius) / width) ** 2) / (width * math.sqrt(2 * math.pi))
    total = float(ring.sum())
    log_z = math.log(2 * math.pi * total / 144.0)
    spread = float(ring @ r**2) / total / 2
    return Case("shell", "no direction is long, all are curved; radial quadrature", ("a", "b"),
                log_likelihood, (Uniform(-6.0, 6.0),) * 2, log_z, np.zeros(2), spread * np.eye(2))


def product() -> Case:
    """exp(-1000 (ab)^2) on [-1, 1]^2: a singular cross that never becomes normal."""
    return _product(2)


def product_of_three() -> Case:
    """exp(-1000 (abc)^2) on [-1, 1]^3: ridges along three planes."""
    return _product(3)


def _product(factors: int) -> Case:
    from theory.singular import product_partition

    c = 1000.0

    def log_likelihood(theta: Any) -> Any:
        return -c * np.prod(np.asarray(theta), axis=-1) ** 2

    def at(beta: float) -> float:
        return math.log(product_partition(beta * c, factors))

    # Given one factor a, the others are the same problem at c a^2; by symmetry 0 < a < 1.
    a, w = _panels(np.r_[0.0, np.geomspace(1e-6, 1.0, 61)])
    inner = product_partition(c * a**2, factors - 1)
    variance = float(w @ (a**2 * inner) / (w @ inner))
    names = ("a", "b", "c")[:factors]
    return Case("product" if factors == 2 else "product_of_three",
                "singular: learning coefficient 1/2; exact", names, log_likelihood,
                (Uniform(-1.0, 1.0),) * factors, at(1.0), np.zeros(factors),
                variance * np.eye(factors), at)


# ---- counts, walls, tails, several modes ---------------------------------------------------------


def poisson_gamma() -> Case:
    """Counts with one rate under its conjugate prior: closed form, exact quantiles."""
    counts = np.array([4.0, 7.0, 3.0, 5.0, 8.0, 2.0, 6.0, 5.0])
    shape, rate, n, total = 2.0, 0.5, len(counts), float(counts.sum())
    constant = math.fsum(math.lgamma(v + 1) for v in counts)

    def log_likelihood(theta: Any) -> Any:
        mu = np.asarray(theta)[..., 0]
        safe = np.where(mu > 0, mu, 1.0)
        return np.where(mu > 0, total * np.log(safe) - n * safe - constant, -np.inf)

    def at(beta: float) -> float:
        a, b = shape + beta * total, rate + beta * n
        return (shape * math.log(rate) - math.lgamma(shape) + math.lgamma(a) - a * math.log(b)
                - beta * constant)

    a, b = shape + total, rate + n
    law = Gamma(a, b)
    return Case("poisson_gamma", "skewed, positive; closed form", ("rate",), log_likelihood,
                (Gamma(shape, rate),), at(1.0), np.array([a / b]), np.array([[a / b**2]]), at,
                lambda p: law.quantile(np.array([p])), x=np.arange(8.0), y=counts)


def wall() -> Case:
    """exp(-sum k_i t_i) in the unit cube of five dimensions: all of it on the walls."""
    k = np.array([1.0, 3.0, 10.0, 30.0, 100.0])

    def log_likelihood(theta: Any) -> Any:
        return -(np.asarray(theta) @ k)

    def at(beta: float) -> float:
        b = np.maximum(beta * k, 1e-300)
        return float(np.sum(np.log(-np.expm1(-b) / b)))

    # A cut exponential law in every coordinate.
    mean = 1 / k - 1 / np.expm1(k)
    variance = 1 / k**2 - np.exp(k) / np.expm1(k) ** 2

    def quantile(p: float) -> Array:
        return np.asarray(-np.log1p(p * np.expm1(-k)) / k)

    return Case("wall", "the mode is a corner; closed form", tuple(f"t{i}" for i in range(1, 6)),
                log_likelihood, (Uniform(0.0, 1.0),) * 5, at(1.0), mean, np.diag(variance), at,
                quantile)


def heavy_tails() -> Case:
    """Student's t with 3 degrees of freedom in two directions, wide box: closed form."""
    nu, centre, box = 3.0, np.array([1.0, -2.0]), 50.0
    constant = math.lgamma(0.5 * (nu + 1)) - math.lgamma(0.5 * nu) - 0.5 * math.log(nu * math.pi)

    def log_likelihood(theta: Any) -> Any:
        z2 = (np.asarray(theta) - centre) ** 2
        return np.sum(constant - 0.5 * (nu + 1) * np.log1p(z2 / nu), axis=-1)

    from scipy.special import stdtr, stdtrit

    low, high = stdtr(nu, -box - centre), stdtr(nu, box - centre)
    mean, variance = np.zeros(2), np.zeros(2)
    for i in range(2):
        t, q = _panels(np.union1d(np.r_[-np.geomspace(90, 0.1, 80), np.geomspace(0.1, 90, 80)].clip(
            -box - centre[i], box - centre[i]), [-box - centre[i], box - centre[i]]))
        p = q * np.exp(constant - 0.5 * (nu + 1) * np.log1p(t**2 / nu))
        p /= p.sum()
        mean[i] = centre[i] + p @ t
        variance[i] = p @ t**2 - (p @ t) ** 2
    log_z = float(np.sum(np.log(high - low))) - 2 * math.log(2 * box)

    def quantile(p: float) -> Array:
        return np.asarray(centre + stdtrit(nu, low + p * (high - low)))

    return Case("heavy_tails", "tails like a power; closed form", ("a", "b"), log_likelihood,
                (Uniform(-box, box),) * 2, log_z, mean, np.diag(variance), None, quantile)


def _mixture(name: str, about: str, weights: Sequence[float], centres: Array, sds: Sequence[float],
             box: float, labels: Sequence[str]) -> Case:
    """Isotropic normal hills inside a box whose walls are ten standard deviations away."""
    d = centres.shape[1]
    log_w = np.log(np.asarray(weights)) - d * (np.log(np.asarray(sds)) + 0.5 * LOG_2PI)
    widths = np.asarray(sds)

    def hills(theta: Any) -> Array:
        gap = (np.asarray(theta)[..., None, :] - centres) / widths[:, None]
        return np.asarray(log_w - 0.5 * np.sum(gap * gap, axis=-1))

    def log_likelihood(theta: Any) -> Any:
        h = hills(theta)
        top = h.max(axis=-1, keepdims=True)
        return top[..., 0] + np.log(np.sum(np.exp(h - top), axis=-1))

    share = np.asarray(weights) / math.fsum(weights)
    mean = share @ centres
    between = np.einsum("k,ki,kj->ij", share, centres - mean, centres - mean)
    covariance = between + float(share @ widths**2) * np.eye(d)

    def member(k: int) -> Callable[[Array], NDArray[np.bool_]]:
        return lambda theta: np.asarray(hills(theta).argmax(axis=-1) == k)

    modes = tuple(Mode(label, float(s), member(k))
                  for k, (label, s) in enumerate(zip(labels, share, strict=True)))
    return Case(name, about, tuple(f"t{i}" for i in range(1, d + 1)), log_likelihood,
                (Uniform(-box, box),) * d, math.log(math.fsum(weights)) - d * math.log(2 * box),
                mean, covariance, modes=modes)


def two_modes() -> Case:
    """Two hills of weight 0.8 and 0.2, far apart: does the sampler weigh them?"""
    return _mixture("two_modes", "two separate modes of known weight; exact", (0.8, 0.2),
                    np.array([[-3.0, 1.0], [4.0, -2.0]]), (0.3, 0.2), 10.0, ("left", "right"))


def labels() -> Case:
    """Three exchangeable components: 3! copies of one hill, each with weight 1/6."""
    orders = list(permutations((0.0, 2.0, 5.0)))
    return _mixture("labels", "six equal copies under relabelling; exact", (1 / 6,) * 6,
                    np.array(orders), (0.15,) * 6, 8.0,
                    ["".join(f"{v:.0f}" for v in order) for order in orders])


def spike_and_slab() -> Case:
    """A narrow deep hill that holds 90 % and a broad one that a hot sampler sees: 8 dimensions.

    A first-order transition: <U> jumps with the temperature, and a ladder without rungs at the
    jump misses the spike.
    """
    return _mixture("spike_and_slab", "a first-order transition; exact", (0.9, 0.1),
                    np.array([[2.0] * 8, [-1.0] * 8]), (0.02, 0.5), 8.0, ("spike", "slab"))


BUILDERS: dict[str, Callable[[], Case]] = {
    "straight_line": straight_line, "line_box": line_box, "line_wall": line_wall,
    **{f"polynomial_{k}": partial(polynomial, k) for k in range(9)},
    "shared_slope": shared_slope, "linear_peaks": linear_peaks,
    "correlated_normal": correlated_normal, "relaxation": relaxation, "one_peak": one_peak,
    "unknown_noise": unknown_noise, "funnel": funnel, "eggbox": eggbox,
    "rosenbrock": rosenbrock, "shell": shell, "product": product,
    "product_of_three": product_of_three, "poisson_gamma": poisson_gamma, "wall": wall,
    "heavy_tails": heavy_tails, "two_modes": two_modes, "labels": labels,
    "spike_and_slab": spike_and_slab,
}


def named(name: str) -> Case:
    """A case by its name; `BUILDERS` lists them.

    Parameters
    ----------
    name : str

    Returns
    -------
    Case

    Examples
    --------
    >>> round(named("eggbox").log_evidence, 3)
    235.856
    """
    if name not in BUILDERS:
        raise DomainError("name", repr(name), f"one of {', '.join(BUILDERS)}")
    return BUILDERS[name]()
