"""The second sweep in plain NumPy: amplitudes integrated out by the law of the data itself.

With normal amplitudes the data are normal too: y ~ N(rest + D mean, noise + D S D').  So U_c is
written down from that n x n covariance, straight from the formulas, without a Gram matrix, a
factor or an update of one; components that are out are columns of zeros.  The random numbers are
those of `collapsed`, so that both take the same decisions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampler.kernels.amplitudes import INTEGRATED, SWITCH, Tables
from sampler.kernels.problem import FLIP
from sampler.kernels.reference import (
    Trace,
    _Draws,
    _exchange,
    _inside,
    _step,
    _walk_density,
    draw_prior_at,
    truncated_normal,
)
from sampler.philox import AMPLITUDE, DRAWS, PRIOR, TRADE, WALK, stream_key, uniforms
from sampler.posterior import Posterior

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


def collapsed_energy(posterior: Posterior, tables: Tables, theta: Array) -> float:
    """U_c of one point; the integrated amplitudes in theta (P,) have no meaning.

    Parameters
    ----------
    posterior : Posterior
    tables : Tables
    theta : array (P,)

    Returns
    -------
    float
        inf outside the support.
    """
    a, parts = tables.amplitudes, _whitened(posterior, tables, theta)
    D, gap, n_log = parts.directions, parts.gap, parts.n_log
    if not (np.isfinite(D).all() and np.isfinite(gap).all()):
        return math.inf
    free = D[:, :-1] if a.bounded else D
    covariance = np.eye(len(gap)) + free @ free.T
    half_log = 0.5 * float(np.linalg.slogdet(covariance)[1])
    gap = gap - free @ a.centre[:free.shape[1]]
    if not a.bounded:
        return n_log + half_log + 0.5 * float(gap @ np.linalg.solve(covariance, gap))
    # Quadratic in the amplitude with bounds, whose own density is cut to them.
    one = D[:, -1]
    solved = np.linalg.solve(covariance, np.stack([gap, one], axis=1))
    precision, pull = a.own + float(one @ solved[:, 1]), float(one @ solved[:, 0])
    pull += a.own * a.centre[-1]
    energy = n_log + half_log + 0.5 * float(gap @ solved[:, 0])
    return float(energy + 0.5 * a.own * a.centre[-1] ** 2 - a.log_norm - _log_interval(
        precision, pull, a.bounds[0], a.bounds[1]))


def _log_interval(precision: float, pull: float, lo: float, hi: float) -> float:
    """ln of the integral of exp(pull z - precision z**2/2) from lo to hi: by adaptive quadrature
    where it is finite and not sharp, else by the normal law."""
    from scipy.integrate import quad
    from scipy.special import log_ndtr

    if math.isfinite(hi - lo) and precision * (hi - lo) ** 2 < 100.0:
        top = min(max(pull / precision if precision > 0 else math.copysign(1e300, pull), lo), hi)
        peak = pull * top - 0.5 * precision * top**2
        mass = quad(lambda z: math.exp(pull * z - 0.5 * precision * z**2 - peak), lo, hi,
                    epsabs=0.0, epsrel=1e-13, points=[top])[0]
        return peak + math.log(mass)
    sd, mean = precision**-0.5, pull / precision
    alpha, omega = (lo - mean) / sd, (hi - mean) / sd
    if alpha > 0.0:
        alpha, omega = -omega, -alpha
    high, low = float(log_ndtr(omega)), float(log_ndtr(alpha))
    return (0.5 * pull * mean + 0.5 * math.log(2.0 * math.pi) + math.log(sd) + high
            + math.log1p(-math.exp(low - high)))


@dataclass(frozen=True)
class _Parts:
    directions: Array  # (n, m), in units of the noise and of the priors' sd
    gap: Array         # (n,) data minus the rest, in units of the noise
    n_log: float       # n ln s of an unknown noise


def _whitened(posterior: Posterior, tables: Tables, theta: Array) -> _Parts:
    a = tables.amplitudes
    none = np.array(theta)
    none[a.linear] = 0.0
    points = np.tile(none, (len(a.linear) + 1, 1))
    points[1 + np.arange(len(a.linear)), a.linear] = 1.0
    directions, gaps, n_log = [], [], 0.0
    for b, block in enumerate(posterior.blocks):
        data = block.data
        sigma = data.deviation
        if data.noise_prior is not None:
            s = float(posterior.values(none)[data.noise_name][0])
            sigma, n_log = sigma * s, n_log + data.size * math.log(s)
        with np.errstate(all="ignore"):
            curves = posterior.predict(points, block=b) / sigma
            gaps.append(data.y / sigma - curves[0])
            directions.append((curves[1:] - curves[0]) * a.scale[:, None])
    return _Parts(np.concatenate(directions, axis=1).T, np.concatenate(gaps), n_log)


def sweep(posterior: Posterior, tables: Tables, theta: Array, rung: IntArray, betas: Array,
          steps: Array, seed: int, chain: int, number: int) -> Trace:
    """Sweep ``number`` of one chain; ``theta`` (R, P) and ``rung`` (L,) are updated in place."""
    accepted = np.zeros((len(betas), theta.shape[1]), dtype=np.int64)
    energy, margin = np.empty(len(betas)), math.inf
    for level, r in enumerate(rung):
        if betas[level] == 0.0:
            theta[r] = draw_prior_at(tables.problem, number, int(r),
                                     stream_key(seed, PRIOR, chain))
        replica = _Replica(posterior, tables, theta[r], float(betas[level]), number, int(r))
        if betas[level] > 0.0:
            replica.move(steps[level], stream_key(seed, WALK, chain), accepted[level])
            replica.trade(stream_key(seed, TRADE, chain))
        energy[r], margin = replica.energy, min(margin, replica.margin)
    draw = theta[rung[-1]].copy()
    draw_amplitudes(posterior, tables, draw, number, int(rung[-1]),
                    stream_key(seed, AMPLITUDE, chain))
    trace = Trace(energy[rung], rung.copy(), draw, accepted, margin)
    trace.margin = min(margin, _exchange(rung, energy, betas, number, seed, chain))
    return trace


class _Replica:
    """One replica in one sweep: its energy, and the components that are in and out, as lists."""

    def __init__(self, posterior: Posterior, tables: Tables, theta: Array, beta: float,
                 number: int, r: int) -> None:
        self.posterior, self.tables, self.theta, self.beta = posterior, tables, theta, beta
        self.number, self.r, self.margin = number, r, math.inf
        self.energy = collapsed_energy(posterior, tables, theta)
        self.list_them()

    def list_them(self) -> None:
        """In the order of the candidates, as when the factor is made anew."""
        switch = self.tables.amplitudes.switch
        self.inside = [j for j, q in enumerate(switch) if q >= 0 and self.theta[q] == 1.0]
        self.outside = [j for j, q in enumerate(switch) if q >= 0 and self.theta[q] == 0.0]

    def accept(self, proposal: Array, prior_gain: float, log_u: float) -> bool:
        """Metropolis' rule."""
        new = collapsed_energy(self.posterior, self.tables, proposal)
        gain = prior_gain - self.beta * (new - self.energy)
        self.margin = min(self.margin, abs(log_u - gain))
        if log_u < gain:
            self.theta[:], self.energy = proposal, new
            return True
        return False

    def move(self, steps: Array, key: int, accepted: IntArray) -> None:
        """Every parameter that is not integrated out, one after the other."""
        problem, a = self.tables.problem, self.tables.amplitudes
        for p in np.flatnonzero(a.move != INTEGRATED).tolist():
            u, v = uniforms(self.number, self.r, p * DRAWS, key)
            proposal = self.theta.copy()
            if a.move[p] in (SWITCH, FLIP):
                proposal[p] = 1.0 - proposal[p]
            else:
                proposal[p] = _step(problem, p, self.theta[p], steps[p], u)
            if not _inside(problem, p, proposal[None])[0]:
                continue
            density = _walk_density(problem, p, np.array([proposal[p], self.theta[p]]))
            if self.accept(proposal, float(density[0] - density[1]), math.log(v)):
                accepted[p] += 1
                if a.move[p] == SWITCH:
                    self.moved(int(a.switched[p]))
                else:
                    self.list_them()

    def moved(self, j: int) -> None:
        """A component that comes in stands last; one that goes out too, its gap is closed by the
        last of the others."""
        if j in self.outside:
            last = self.outside.pop()
            if last != j:
                self.outside[self.outside.index(j)] = last
            self.inside.append(j)
        else:
            self.inside.remove(j)
            self.outside.append(j)

    def trade(self, key: int) -> None:
        """One component out and another in."""
        a, prior = self.tables.amplitudes, self.tables.problem.prior
        for i in range(a.trades):
            u, v = uniforms(self.number, self.r, i, key)
            pairs = len(self.inside) * len(self.outside)
            if not pairs:
                return
            row, place = divmod(min(int(u * pairs), pairs - 1), len(self.outside))
            old, new = self.inside[row], self.outside[place]
            one, other = a.switch[old], a.switch[new]
            proposal = self.theta.copy()
            proposal[one], proposal[other] = 0.0, 1.0
            odds = prior[other, 0] - prior[other, 1] - prior[one, 0] + prior[one, 1]
            if self.accept(proposal, float(odds), math.log(v)):
                self.inside.pop(row)
                self.inside.append(new)
                self.outside[place] = old


def draw_amplitudes(posterior: Posterior, tables: Tables, theta: Array, number: int, r: int,
                    key: int) -> None:
    """The integrated amplitudes of theta (P,) from their law given all else, in place."""
    a, parts = tables.amplitudes, _whitened(posterior, tables, theta)
    m = len(a.linear)
    u, v = uniforms(number, r, a.linear * DRAWS, key)
    e = np.sqrt(-2.0 * np.log(u)) * np.cos(2.0 * np.pi * v)
    z, D = a.centre + e, parts.directions
    always = [j for j in range(m - a.bounded) if a.switch[j] < 0]
    active = always + [j for j in range(m) if a.switch[j] >= 0 and theta[a.switch[j]] == 1.0]
    gap = parts.gap
    if a.bounded:
        free = D[:, active]
        covariance = np.eye(len(gap)) + free @ free.T
        rest = gap - free @ a.centre[active]
        solved = np.linalg.solve(covariance, np.stack([rest, D[:, -1]], axis=1))
        precision = a.own + float(D[:, -1] @ solved[:, 1])
        pull = float(D[:, -1] @ solved[:, 0]) + a.own * a.centre[-1]
        lo, hi = (float(v) for v in a.bounds)
        z[-1] = truncated_normal(pull / precision, precision**-0.5, lo, hi,
                                 _Draws((number, r, int(a.linear[-1]) * DRAWS, key)), math.nan)
        gap = gap - D[:, -1] * z[-1]
    if active:
        A = D[:, active]
        root = np.linalg.cholesky(np.eye(len(active)) + A.T @ A)
        solved = np.linalg.solve(root, A.T @ gap + a.centre[active])
        z[active] = np.linalg.solve(root.T, solved + e[active])
    theta[a.linear] = a.scale * z
