r"""Exact rate at which two neighbouring temperatures exchange their states.

In equilibrium two rungs beta1 < beta2 (hot, cold) with continuous energies U1, U2 exchange at

    A = 2 P(U1 < U2),

whatever the model.  The law of U on a rung is held by Z alone, so that A follows from the free
energy (Gil-Pelaez inversion).  Where the density of states is a power law, as it is for a
posterior of d regular parameters with lambda = d/2, A depends on the ratio of the two
temperatures only, and a geometric ladder exchanges evenly (Predescu et al. 2004; Nagata and
Watanabe 2008 give its first order for singular models, where lambda is the learning coefficient).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DomainError, finite, positive, two_rungs

Array = NDArray[np.float64]


class Derivation(NamedTuple):
    """Two power-law rungs, from the densities of their energies to the barrier, in sympy."""

    density: Any         # of U on a rung: Gamma(lambda, rate beta)
    share: Any           # density of v = beta1 U1 / (beta1 U1 + beta2 U2): a Beta law
    acceptance: Any      # A = 2 P(v < 1 / (1 + r)), an integral for symbolic lambda
    constant: Any        # c = -dA/dr at r = 1
    barrier: Any         # integral of c / beta over a range of temperatures
    divergence: Any      # (beta2 - beta1) (<U>_1 - <U>_2)


@cache
def derivation() -> Derivation:
    """A of two power-law rungs as an integral that sympy does for a given lambda.

    With U ~ Gamma(lambda, rate beta), the share of the hot rung in U1 + U2 is Beta distributed
    once the energies are measured in their own temperatures; U1 < U2 cuts that law at
    1 / (1 + r), r = beta2 / beta1.  The general law A = 2 P(U1 < U2) is detailed balance; its
    inversion from Z is Gil-Pelaez's theorem (Biometrika 38 (1951) 481), quoted.

    Returns
    -------
    Derivation
        In ``lambda, r, v, U, beta, beta_1, beta_2``; substitute lambda in ``acceptance``, then
        ``doit()``.

    Examples
    --------
    >>> import sympy as sp
    >>> law = derivation().acceptance
    >>> power, ratio = sp.symbols("lambda r", positive=True)
    >>> sp.simplify(law.subs(power, 1).doit())
    2/(r + 1)
    >>> sp.simplify(law.subs(power, 2).doit() - (6*ratio + 2)/(ratio + 1)**3)
    0
    >>> derivation().constant
    gamma(lambda + 1/2)/(sqrt(pi)*gamma(lambda))
    """
    import sympy as sp

    power, r, v, U, beta, low, high = sp.symbols("lambda r v U beta beta_1 beta_2", positive=True)
    density = beta**power * U ** (power - 1) * sp.exp(-beta * U) / sp.gamma(power)
    # Energies in units of their temperatures: u v and u (1 - v), Jacobian u, with u integrated out.
    u = sp.Symbol("u", positive=True)
    one = density.subs(beta, 1)
    joint = sp.powsimp(sp.expand(one.subs(U, u * v) * one.subs(U, u * (1 - v)) * u), force=True)
    share = sp.simplify(sp.integrate(sp.expand_power_base(joint, force=True), (u, 0, sp.oo)))
    law = 2 * sp.Integral(share, (v, 0, 1 / (1 + r)))
    constant = sp.gammasimp(sp.simplify(-law.diff(r).subs(r, 1).doit()))
    barrier = sp.expand_log(sp.integrate(constant / beta, (beta, low, high)))
    mean = power / beta                  # of the Gamma law
    divergence = sp.factor(((high - low) * (mean.subs(beta, low) - mean.subs(beta, high)))
                           .subs(high, r * low))
    return Derivation(density, share, law, constant, barrier, divergence)


def power_law(shape: ArrayLike, ratio: ArrayLike) -> Any:
    """Exchange rate of two rungs whose energies follow a power-law density of states.

    A = 2 I_{1/(1+r)}(lambda, lambda), the regularised incomplete beta function.

    Parameters
    ----------
    shape : float or array
        lambda > 0: half the number of regular parameters, or the learning coefficient.
    ratio : float or array
        r = beta2 / beta1 >= 1.

    Returns
    -------
    float or array

    Raises
    ------
    DomainError
        If shape <= 0, ratio < 1, or the two are arrays of shapes that do not fit.

    Examples
    --------
    >>> round(float(power_law(1.5, 2.0)), 10)
    0.5835828116
    """
    from scipy.special import betainc

    power, r = _shape_and_ratio(shape, ratio)
    return 2.0 * betainc(power, power, 1.0 / (1.0 + r))


def power_law_erfc(shape: ArrayLike, ratio: ArrayLike) -> Any:
    """Approximate `power_law` by an error function: erfc(sqrt(lambda + 1/2) ln(r) / 2).

    Parameters
    ----------
    shape, ratio : float or array
        As in `power_law`.

    Returns
    -------
    float or array

    Examples
    --------
    >>> round(float(power_law_erfc(10, 1.5)), 10), round(float(power_law(10, 1.5)), 10)
    (0.3528697693, 0.3721840428)
    """
    from scipy.special import erfc

    power, r = _shape_and_ratio(shape, ratio)
    return erfc(0.5 * np.sqrt(power + 0.5) * np.log(r))


def power_law_linear(shape: ArrayLike, ratio: ArrayLike) -> Any:
    """First order of `power_law` in r - 1: 1 - c (r - 1), the low-temperature limit formula.

    Right for neighbouring rungs only: at lambda = 10, r = 1.5 it says 0.12 where 0.37 is true.

    Parameters
    ----------
    shape, ratio : float or array
        As in `power_law`.

    Returns
    -------
    float or array

    Examples
    --------
    >>> round(float(power_law_linear(10, 1.5)), 3)
    0.119
    """
    power, r = _shape_and_ratio(shape, ratio)
    return 1.0 - barrier_constant(power) * (r - 1.0)


def barrier_constant(shape: ArrayLike) -> Any:
    """c of the rejection rate of two neighbouring rungs, 1 - A = c d(beta) / beta.

    c = Gamma(lambda + 1/2) / (sqrt(pi) Gamma(lambda)); c / beta is the local communication
    barrier of non-reversible parallel tempering (Syed et al. 2022).

    Parameters
    ----------
    shape : float or array
        lambda > 0.

    Returns
    -------
    float or array

    Examples
    --------
    >>> round(float(barrier_constant(3)), 10)
    0.9375
    """
    from scipy.special import gamma, rgamma

    power = _shape(shape)
    # Two large logarithms of gamma functions would leave nothing of their difference; from 20 on
    # it is the series ln(w)/2 - sum of E_2k / (4^(2k+1) k w^2k), Euler's numbers, w = lambda - 1/4.
    small, w = np.minimum(power, 20.0), np.maximum(power, 20.0) - 0.25
    u = (1.0 / w) ** 2
    series = u * (1 / 64 + u * (-5 / 2048 + u * (61 / 49152 - u * 1385 / 1048576)))
    return np.where(power < 20.0, gamma(small + 0.5) * rgamma(small),
                    np.sqrt(w) * np.exp(series))[()] / np.sqrt(np.pi)


def barrier(shape: ArrayLike, beta_min: ArrayLike, beta_max: ArrayLike) -> Any:
    """Global communication barrier of a power law between two temperatures: c ln(ratio).

    The sum of the rejection rates along a ladder whose gaps become ever smaller: n even gaps refuse
    barrier / n each, once n is several times the barrier.  Half of all proposals are refused by
    more gaps than that first order has it, 1.78 barrier for lambda = 1/2 to 1.86 for large lambda.

    Parameters
    ----------
    shape : float or array
        lambda > 0.
    beta_min, beta_max : float or array
        Ends of the range, 0 < beta_min <= beta_max.

    Returns
    -------
    float or array
        Refused exchanges, summed over the gaps.

    Raises
    ------
    DomainError
        If a number is not positive, beta_max < beta_min, or arrays do not fit.

    Examples
    --------
    >>> float(barrier(1.0, 1.0, np.e**2))
    1.0
    """
    power, lowest, highest = _together(shape=_shape(shape), beta_min=positive(
        "beta_min", beta_min), beta_max=positive("beta_max", beta_max))
    below = highest < lowest
    if np.any(below):
        raise DomainError("beta_max", str(highest[below].flat[0]),
                          f"beta_min = {lowest[below].flat[0]} or more")
    with np.errstate(over="ignore"):
        ratio = highest / lowest
    return barrier_constant(power) * np.where(np.isfinite(ratio), np.log(ratio), np.log(
        highest) - np.log(lowest))[()]


def symmetrised_divergence(shape: ArrayLike, ratio: ArrayLike) -> Any:
    """Sum of the two Kullback-Leibler divergences between two power-law rungs, in nats.

    (beta2 - beta1) (<U>_1 - <U>_2) = lambda (r - 1)^2 / r.

    Parameters
    ----------
    shape, ratio : float or array
        As in `power_law`.

    Returns
    -------
    float or array

    Examples
    --------
    >>> round(float(symmetrised_divergence(1.5, 2.5)), 12)
    1.35
    """
    power, r = _shape_and_ratio(shape, ratio)
    return power * (r - 1.0) ** 2 / r


def round_trip_rate(rejections: ArrayLike, reversible: bool = False) -> float:
    """Round trips of all replicas together per sweep, at best.

    From the hottest rung to the coldest and back; each replica makes its share, one in N + 1.
    Assumes energies that are independent after every sweep (Syed et al. 2022): a ladder of N
    gaps with rejection rates rho makes 1 / (2 + 2 sum rho/(1-rho)) round trips with the
    alternating even/odd scheme, 1 / (2N + 2 sum rho/(1-rho)) with random pairing.

    Parameters
    ----------
    rejections : array (gaps,)
        Rejection rate of each pair of neighbours, in [0, 1).
    reversible : bool
        True for random pairing, False for the alternating (non-reversible) scheme.

    Returns
    -------
    float
        Round trips per sweep, summed over the N + 1 replicas.

    Examples
    --------
    >>> round(round_trip_rate([0.2] * 11), 6), round(round_trip_rate([0.2] * 11, True), 6)
    (0.133333, 0.036364)
    """
    rho = positive("rejections", finite("rejections", rejections, 1), zero=True)
    if not len(rho) or rho.max() >= 1.0:
        raise DomainError("rejections", f"{rho.tolist()}", "one number in [0, 1) for each gap")
    gaps = len(rho) if reversible else 1
    return float(1.0 / (2.0 * gaps + 2.0 * np.sum(rho / (1.0 - rho))))


def acceptance(log_partition: Callable[[Any], Any], beta1: float, beta2: float) -> float:
    """Exchange rate of two rungs of any model whose Z(beta) is known for complex beta.

    A = 1 - (2/pi) int_0^inf dt/t Im[Z(beta1 - it) Z(beta2 + it) / Z(beta1) Z(beta2)]:
    Gil-Pelaez's inversion of the characteristic function of U1 - U2.

    Parameters
    ----------
    log_partition : callable
        ln Z of an array of complex beta, such as
        ``lambda beta: theory.evidence.log_partition(problem, beta)``.
    beta1, beta2 : float
        Inverse temperatures, 0 <= beta1 < beta2.

    Returns
    -------
    float

    Raises
    ------
    DomainError
        If beta1 >= beta2, or ln Z is not finite on one of them.
    ArithmeticError
        If the integral cannot be done to 1e-9: energies bounded from above (box priors), whose
        characteristic function oscillates for ever.

    Examples
    --------
    >>> round(acceptance(lambda beta: -1.5 * np.log(beta), 1.0, 2.0), 10)   # a power law
    0.5835828116
    """
    hot, cold = two_rungs(beta1, beta2)
    with np.errstate(all="ignore"):
        at_rest = np.sum(log_partition(np.array([hot + 0j, cold + 0j])))
    if not np.isfinite(at_rest):
        raise DomainError("log_partition", f"{at_rest} at beta = {hot:g} and {cold:g}",
                          "finite numbers: a law that is defined on both rungs")

    def integrand(u: Array) -> Array:
        """Im[...] at t = exp(u): dt/t = du, smooth, and zero at both ends."""
        t = np.exp(u)
        ratio = np.exp(log_partition(hot - 1j * t) + log_partition(cold + 1j * t) - at_rest)
        return np.asarray(ratio.imag)

    # The singularities of Z lie at real negative beta, half pi away in u: the trapezoid rule
    # converges like exp(-pi^2 / step).  Left end: below 1e-18 per step for differences of U up
    # to 1e8 of the cold temperature; right end: where the tail has died.
    left = np.log(cold) - 65.0
    right = np.log(cold) + 10.0
    while right < np.log(cold) + 150.0 and np.abs(integrand(right + np.linspace(0, 5, 41))
                                                  ).max() > 1e-16:
        right += 5.0
    # Halved until two agree; at 0.04 and 0.08 to 1e-9 at least.
    step = 0.32
    fine = step * float(integrand(np.arange(left, right, step)).sum())
    while True:
        coarse, between = fine, integrand(np.arange(left + 0.5 * step, right, step))
        step *= 0.5
        fine = 0.5 * coarse + step * float(between.sum())
        if abs(fine - coarse) < 1e-14 or step < 0.05:
            break
    if not abs(fine - coarse) < 1e-9:
        raise ArithmeticError(
            f"acceptance between {hot} and {cold}: the integral changes by {abs(fine - coarse):.1g}"
            " when its step is halved; the energy of this model seems bounded from above, or the "
            "data far from the prior (theory.energies.exchange_acceptance has linear models)")
    return float(1.0 - 2.0 / np.pi * fine)


def _shape(shape: ArrayLike) -> Array:
    return positive("shape", shape)


def _shape_and_ratio(shape: ArrayLike, ratio: ArrayLike) -> list[Array]:
    """Both checked, r >= 1, and of one shape."""
    r = finite("ratio", ratio, np.ndim(ratio))
    if np.any(r < 1.0):
        raise DomainError("ratio", str(r[r < 1.0].flat[0]), "beta2 / beta1 >= 1")
    return _together(shape=_shape(shape), ratio=r)


def _together(**values: Array) -> list[Array]:
    """Arrays of one shape, or numbers for all of them alike."""
    try:
        return list(np.broadcast_arrays(*values.values()))
    except ValueError:
        names = " and ".join(values)
        shapes = " and ".join(str(value.shape) for value in values.values())
        raise DomainError(names, f"arrays of shapes {shapes}", "one shape") from None
