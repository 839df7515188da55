"""Shared by statistical tests: one rule for tolerances, and runs whose exact answer is known.

The runs are drawn, not sampled: for a model linear in its parameters with Gaussian noise and
independent normal priors, the tempered density is a normal distribution at every beta, so that
energies of every rung can be drawn exactly, with a planted correlation in time and between rungs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.signal import lfilter

from sampler.exchange import Run
from sampler.posterior import Posterior


def within(estimate: Any, exact: Any, error: Any, sigmas: float = 4) -> bool:
    """True if every estimate lies within ``sigmas`` of *its own* standard error from the truth.

    The factor is applied here and nowhere else.  An error that is not a positive finite number
    proves nothing and fails.  Chance of a false alarm for one number at 4 sigmas: 6e-5.

    Examples
    --------
    >>> within(1.3, 1.0, 0.1), within(1.5, 1.0, 0.1), within(9.0, 1.0, math.inf)
    (True, False, False)
    """
    estimate, exact, error = (np.asarray(v, dtype=float) for v in (estimate, exact, error))
    usable = np.isfinite(error) & (error > 0.0)
    return bool(np.all(usable & (np.abs(estimate - exact) <= sigmas * np.where(usable, error, 1))))


class Conjugate:
    """Exact tempered posterior of a linear model with Gaussian noise and normal priors.

    In units of the noise, U = |y - A theta|**2 / 2; the prior is theta ~ N(m, S).
    """

    def __init__(self, posterior: Posterior) -> None:
        self.posterior = posterior
        data, d = posterior.blocks[0].data, posterior.dimension
        at_zero = posterior.predict(np.zeros(d))
        self.A = ((posterior.predict(np.eye(d)) - at_zero) / data.deviation).T
        self.y = (data.y - at_zero) / data.deviation
        self.m = np.array([prior.mean for prior in posterior.priors.values()])
        self.S = np.diag([prior.sd**2 for prior in posterior.priors.values()])

    def tempered(self, beta: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of p_beta."""
        covariance = np.linalg.inv(np.linalg.inv(self.S) + beta * self.A.T @ self.A)
        return covariance @ (np.linalg.solve(self.S, self.m) + beta * self.A.T @ self.y), covariance

    def free_energy(self, beta: float = 1.0) -> float:
        """F~(beta) = -ln of the integral of prior * exp(-beta U), by the marginal law of y."""
        C = np.eye(len(self.y)) + beta * self.A @ self.S @ self.A.T
        r = self.y - self.A @ self.m
        return 0.5 * np.linalg.slogdet(C)[1] + 0.5 * beta * r @ np.linalg.solve(C, r)

    def energy_moments(self, beta: float) -> tuple[float, float]:
        """Mean and variance of U, a quadratic form in a normal vector."""
        mean, covariance = self.tempered(beta)
        r, H = self.y - self.A @ mean, self.A.T @ self.A
        M, b = H @ covariance, self.A.T @ r
        return (0.5 * (r @ r) + 0.5 * np.trace(M),
                b @ covariance @ b + 0.5 * np.trace(M @ M))

    def energy(self, theta: np.ndarray) -> np.ndarray:
        """U of theta (..., parameters)."""
        quadratic = np.einsum("...i,ij,...j->...", theta, self.A.T @ self.A, theta)
        return 0.5 * (quadratic - 2.0 * theta @ (self.A.T @ self.y) + self.y @ self.y)


def ar1(phi: float, shape: tuple[int, ...], generator: np.random.Generator,
        axis: int = 1) -> np.ndarray:
    """Stationary AR(1) noise of unit variance along an axis; tau = (1 + phi) / (1 - phi)."""
    noise = generator.normal(size=shape)
    if phi == 0.0:
        return noise
    scaled = math.sqrt(1.0 - phi**2) * noise
    first = (slice(None),) * axis + (0,)
    scaled[first] = noise[first]
    return lfilter([1.0], [1.0, -phi], scaled, axis=axis)


def conjugate_run(posterior: Posterior, betas: np.ndarray, sweeps: int, seed: int, *,
                  chains: int = 4, phi: float = 0.0, shared: float = 0.0) -> Run:
    """A Run drawn from the exact law of every rung.

    ``phi``: correlation of successive sweeps; ``shared``: the part of the variance that all
    rungs have in common (a slow mode that travels along the ladder).  The law of each rung is
    exact whatever the two are.
    """
    generator = np.random.default_rng(seed)
    truth, d = Conjugate(posterior), posterior.dimension
    common = ar1(phi, (chains, sweeps, d), generator)
    energy = np.empty((chains, sweeps, len(betas)))
    for level, beta in enumerate(betas):
        own = ar1(phi, (chains, sweeps, d), generator)
        z = math.sqrt(shared) * common + math.sqrt(1.0 - shared) * own
        mean, covariance = truth.tempered(beta)
        theta = mean + z @ np.linalg.cholesky(covariance).T
        energy[..., level] = truth.energy(theta)
    order = np.argsort(generator.random(energy.shape), axis=-1)
    return as_run(posterior, betas, energy, order, theta)


def as_run(posterior: Posterior, betas: Any, energy: np.ndarray, replica: np.ndarray,
           draws: np.ndarray) -> Run:
    """A Run of given arrays; nothing was sampled, so there is no state."""
    steps = np.zeros((len(betas), posterior.dimension))
    return Run(posterior, np.asarray(betas, dtype=float), energy, replica.astype(np.int16), draws,
               steps, 0, 0, "sweeps", 0.0, None, {})  # type: ignore[arg-type]
