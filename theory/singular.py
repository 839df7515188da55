r"""Singular models: posteriors that never become Gaussian, with exact partition functions.

Where parameters act only through a product or coincide, the posterior does not shrink to a point
and (d/2) ln N is wrong: F = n S + lambda ln n - (m - 1) ln ln n + O(1), with the learning
coefficient lambda < d/2 and its multiplicity m (Watanabe).  The product y = a b x is solvable: its
energy is U = c (ab - t)^2 with c growing like the number of data, and the density of the product of
two uniform numbers is -ln|t| / 2.

The learning coefficients of reduced rank regression (Aoyagi and Watanabe, Neural Networks 18 (2005)
924) and of peaks are quoted, not derived; `peaks_learning_coefficient` says how far they are known.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from theory.errors import DomainError, finite, positive, whole
from theory.nodes import laguerre, legendre


class Learning(NamedTuple):
    """Learning coefficient and its multiplicity: F = n S + lambda ln n - (m - 1) ln ln n."""

    coefficient: float
    multiplicity: int


class Derivation(NamedTuple):
    """The product y = abx, from the density of ab to the two temperatures' laws, in sympy."""

    density: Any          # of t = |ab| on (0, 1), a and b uniform on (0, 1)
    moment: Any           # E t^(2n) under it
    partition: Any        # Z(c) = sum of (-c)^n / n! times the moments
    leading: Any          # Z for large c: the box of t may end at infinity
    energy: Any           # beta <U> = -d ln Z / d ln c of the leading form
    heat_capacity: Any    # C = c^2 d^2 ln Z / dc^2 of the leading form
    normal: Any           # Z with a and b standard normal


@cache
def derivation() -> Derivation:
    """Z of the product y = abx on [-1, 1]^2, from the density of ab, in sympy.

    Symbols: ``c`` (sharpness, beta times n), ``t``, ``n``.

    Returns
    -------
    Derivation

    Examples
    --------
    >>> derivation().partition
    hyper((1/2, 1/2), (3/2, 3/2), -c)
    >>> derivation().leading
    sqrt(pi)*(log(4*c) + EulerGamma)/(4*sqrt(c))
    """
    import sympy as sp

    a, c, t = sp.symbols("a c t", positive=True)
    n = sp.Symbol("n", integer=True, nonnegative=True)
    density = sp.integrate(1 / a, (a, t, 1))
    moment = sp.factor(sp.integrate(density * t ** (2 * n), (t, 0, 1), conds="none"))
    partition = sp.summation((-c) ** n / sp.factorial(n) * moment, (n, 0, sp.oo))
    leading = sp.simplify(sp.integrate(density * sp.exp(-c * t**2), (t, 0, sp.oo)))
    # In L = ln 4c + Euler's constant, dL = dc / c; beta^2 Var U = c^2 d^2 ln Z / dc^2.
    L, whole = sp.Symbol("L", positive=True), sp.log(4 * c) + sp.EulerGamma
    energy, heat = (sp.apart(sp.simplify(value).subs(sp.log(4 * c), L - sp.EulerGamma), L)
                    .subs(L, whole) for value in (-c * sp.diff(sp.log(leading), c),
                                                  c**2 * sp.diff(sp.log(leading), c, 2)))
    # Given a, b is normal: 1 / sqrt(1 + 2 c a^2); a Meijer function, in other words K_0.
    normal = 2 * sp.integrate(sp.exp(-(a**2) / 2) / sp.sqrt(2 * sp.pi) / sp.sqrt(1 + 2 * c * a**2),
                              (a, 0, sp.oo))
    return Derivation(density, moment, partition, leading, energy, heat, normal)


class Coalescence(NamedTuple):
    """Two peaks of areas 1 : alpha at alpha u and -u, taken for one: what no width can mend."""

    third: Any            # third cumulant times the area; eta: how far the two widths are apart
    fourth: Any           # the fourth at eta = 0, where the third vanishes
    even: Any             # the fourth of two equal peaks, for any eta
    misfit: Any           # least integral of the squared difference / 2, peak height and sd 1


@cache
def coalescence() -> Coalescence:
    """Why two peaks nearly one are singular: the third and the fourth moment of the pair, in sympy.

    Area, centre and variance of the pair are those of the one peak.  What is left is a third moment
    3 alpha u eta and a fourth of the order u^4: with both zero at u = 0 for every alpha, and a
    normal crossing of u and eta in between (lambda = 1/2, m = 2).

    Symbols: ``alpha`` (ratio of the areas), ``u``, ``eta``.

    Returns
    -------
    Coalescence

    Examples
    --------
    >>> coalescence().third
    3*alpha*eta*u
    >>> coalescence().fourth
    -2*alpha*u**4*(alpha + 1)*(alpha**2 + alpha + 1)/3
    >>> coalescence().misfit                          # alpha = 1: sqrt(pi) u^8 / 192
    sqrt(pi)*alpha**2*u**8*(alpha**2 + alpha + 1)**2/1728
    """
    import sympy as sp

    u, alpha = sp.symbols("u alpha", positive=True)
    eta, one, two, x = sp.symbols("eta v_1 v_2 x", real=True)
    # Excess variances: the total second moment is mended, and eta is zero where the third is.
    excess = sp.solve([alpha**2 * u**2 + one + alpha * (u**2 + two),
                       one - two - eta + (alpha**2 - 1) * u**2 / 3], (one, two))
    places = ((1, alpha * u, excess[one]), (alpha, -u, excess[two]))
    third = sp.factor(sum(w * (p**3 + 3 * p * v) for w, p, v in places))
    fourth = sp.factor(sum(w * (p**4 + 6 * p**2 * v + 3 * v**2) for w, p, v in places))
    # The fourth derivative of the peak, less what its height, centre and width can follow.
    H4 = x**4 - 3 * x**2 + sp.Rational(3, 4)
    norm = sp.integrate(H4**2 * sp.exp(-(x**2)), (x, -sp.oo, sp.oo))
    level = fourth.subs(eta, 0)
    misfit = sp.factor(norm / 2 * (level / (24 * (1 + alpha))) ** 2)
    return Coalescence(third, sp.factor(level), sp.factor(fourth.subs(alpha, 1)), misfit)


def product_partition(sharpness: ArrayLike, factors: int = 2) -> Any:
    """Z of exp(-c (a_1 a_2 ... )^2) with every a uniform on [-1, 1].

    A ridge along all axes: lambda = 1/2 with multiplicity ``factors``.

    Parameters
    ----------
    sharpness : float, complex or array
        c, Re c >= 0; grows like the number of data.  Complex values give the law of the energy, so
        that `theory.exchange_rate.acceptance` takes the logarithm of this function.
    factors : int
        How many parameters are multiplied, 1 or more.

    Returns
    -------
    float, complex or array

    Raises
    ------
    DomainError
        For a c with a negative real part or NaN, or factors that are no whole number >= 1.

    Examples
    --------
    >>> print(f"{product_partition(1000.0):.10f} {product_partition(1000.0, 3):.10f}")
    0.1243084103 0.2929804237
    >>> from theory.exchange_rate import acceptance
    >>> print(f"{acceptance(lambda c: np.log(product_partition(c)), 1000.0, 2000.0):.10f}")
    0.8192929600
    """
    if np.iscomplexobj(sharpness):
        return _complex_partition(np.asarray(sharpness), whole("factors", factors, 1))
    return _moments(sharpness, factors, 0)


def _complex_partition(c: Any, factors: int) -> Any:
    """The same for complex c: by the panels of `_moments` while the phase turns a few times, and
    beyond as the integral over all t > 0 less the part t > 1 along the ray t^2 = 1 + x / c."""
    positive("sharpness", c.real, zero=True)
    finite("sharpness", c.imag, c.ndim)
    near = np.abs(c) < 40.0
    found = np.empty(c.shape, dtype=complex)
    if np.any(near):
        found[near] = _panelled(c[near], factors, 0)
    found[~near] = _over_the_line(c[~near], factors)
    # exp(-60) of it is below every digit.
    both = ~near & (c.real < 60.0)
    found[both] -= _beyond_one(c[both], factors)
    return found if c.ndim else complex(found)


def _over_the_line(c: Any, factors: int) -> Any:
    """Integral of (-ln t)^(m-1) / (m-1)! exp(-c t^2) over all t > 0.

    The coefficient of (-p)^(m-1) in that of t^p exp(-c t^2), Gamma((1+p)/2) c^(-(1+p)/2) / 2: the
    exponential of a power series in p (`derivation().leading` is m = 2).
    """
    from scipy.special import polygamma

    slopes = [float(polygamma(k - 1, 0.5)) / (2**k * math.factorial(k)) for k in range(1, factors)]
    terms = [np.sqrt(math.pi / c) / 2]
    for n in range(1, factors):
        terms.append(sum(k * (slopes[k - 1] - (0.5 * np.log(c) if k == 1 else 0.0)) * terms[n - k]
                         for k in range(1, n + 1)) / n)
    return (-1) ** (factors - 1) * terms[-1]


def _beyond_one(c: Any, factors: int) -> Any:
    nodes, weights = laguerre(40)
    s = 1.0 + nodes / c[..., None]
    values = (-0.5 * np.log(s)) ** (factors - 1) / np.sqrt(s)
    return np.exp(-c) / (2 * c * math.factorial(factors - 1)) * (values @ weights)


def product_energy(sharpness: ArrayLike, factors: int = 2) -> tuple[Any, Any]:
    """c<U/c> and the heat capacity of the same model: both tend to 1/2, slower than any power.

    Parameters
    ----------
    sharpness, factors
        As in `product_partition`.

    Returns
    -------
    energy, heat_capacity : float or array
        beta <U> and C, dimensionless.

    Examples
    --------
    >>> energy, heat = product_energy(1000.0)
    >>> print(f"{energy:.10f} {heat:.10f}")
    0.3872765084 0.3745699229
    """
    Z, first, second = (_moments(sharpness, factors, k) for k in (0, 1, 2))
    mean = first / Z
    return mean, np.maximum(second / Z - mean**2, 0.0)


def _moments(sharpness: ArrayLike, factors: int, power: int) -> Any:
    """E[(c t^2)^power exp(-c t^2)], t the product, by Gauss-Legendre panels in u = -ln|t|.

    -ln|t| is a sum of exponential numbers: u ~ Gamma(factors, 1).  The hypergeometric series of
    `derivation` is the same, and converges for small c only.
    """
    c = positive("sharpness", sharpness, zero=True)
    found = _panelled(c, whole("factors", factors, 1), power)
    return found if c.ndim else float(found)


def _panelled(c: Any, factors: int, power: int) -> Any:
    nodes, weights = legendre(32)
    reach = 0.5 * math.log(max(float(np.abs(c).max(initial=1.0)), 1.0)) + 45.0 + 4.0 * factors
    edges = np.linspace(0.0, reach, 2 * math.ceil(reach))
    half = 0.5 * np.diff(edges)[:, None]
    u = (edges[:-1, None] + half * (nodes + 1.0)).ravel()
    log_p = (factors - 1) * np.log(u) - math.lgamma(factors) - u
    energy = c[..., None] * np.exp(-2 * u)
    # Where exp(-energy) is nothing, its product with a power is nothing.
    grown = np.minimum(energy, 800.0) ** power if power else 1.0
    return (np.exp(log_p - energy) * grown) @ (half * weights).ravel()


def normal_product_partition(sharpness: ArrayLike) -> Any:
    """Z of exp(-c (ab)^2) with a and b standard normal: a Bessel function.

    Parameters
    ----------
    sharpness : float, complex or array
        c, not 0, Re c >= 0.

    Returns
    -------
    float, complex or array

    Raises
    ------
    DomainError
        For c = 0, a negative real part or NaN.

    Examples
    --------
    >>> print(f"{normal_product_partition(1000.0):.10f}")
    0.0812157057
    """
    from scipy.special import kve

    c = np.asarray(sharpness)
    if c.dtype.kind not in "uifc":
        raise DomainError("sharpness", repr(sharpness)[:60], "numbers")
    positive("sharpness", np.abs(c))
    positive("sharpness", c.real, zero=True)
    small = np.abs(c) < 1e-5            # 1 - c E(ab)^2 + c^2 E(ab)^4 / 2 - ...; kve ends at 1e9
    safe = np.where(small, 1.0, c)
    tiny = np.where(small, c, 0.0)
    series = 1.0 - tiny + 4.5 * tiny**2 - 37.5 * tiny**3
    return np.where(small, series, kve(0, 1 / (8 * safe)) / np.sqrt(4 * math.pi * safe))[()]


def normal_crossing(powers: ArrayLike, prior_powers: ArrayLike = 0.0) -> Learning:
    """Learning coefficient of an energy prod w_j^(2 k_j) under a prior prod |w_j|^(h_j).

    lambda = min (h_j + 1) / (2 k_j), m = how many j reach it.

    Parameters
    ----------
    powers : array (parameters,)
        k_j > 0.
    prior_powers : float or array (parameters,)
        h_j > -1.

    Returns
    -------
    Learning

    Raises
    ------
    DomainError
        Without powers, for a power <= 0, or prior powers <= -1 or of another number.

    Examples
    --------
    >>> normal_crossing([1, 1])
    Learning(coefficient=0.5, multiplicity=2)
    """
    k = positive("powers", finite("powers", powers, 1))
    h = finite("prior_powers", prior_powers, np.ndim(prior_powers))
    if not len(k) or h.shape not in ((), k.shape) or np.any(h <= -1):
        raise DomainError("prior_powers", f"{h.tolist()} for {len(k)} powers",
                          "numbers > -1, one for each power")
    h = np.broadcast_to(h, k.shape)
    ratio = (h + 1) / (2 * k)
    least = float(ratio.min())
    return Learning(least, int(np.sum(np.isclose(ratio, least, rtol=1e-12))))


def reduced_rank(inputs: int, outputs: int, hidden: int, rank: int) -> Learning:
    """Learning coefficient of reduced rank regression (Aoyagi and Watanabe 2005, quoted).

    The tests find it again by quadrature for two inputs, one to five outputs and two to eight
    hidden units where zero is true; true directions are regular and leave a smaller matrix.

    Parameters
    ----------
    inputs, outputs, hidden : int
        M, N and H: y = B A x with A (H, M) and B (N, H).
    rank : int
        r of the true matrix, at most H.

    Returns
    -------
    Learning

    Examples
    --------
    >>> reduced_rank(2, 2, 1, 1), reduced_rank(3, 3, 2, 1)
    (Learning(coefficient=1.5, multiplicity=1), Learning(coefficient=3.5, multiplicity=2))
    """
    M, N = whole("inputs", inputs, 1), whole("outputs", outputs, 1)
    H, r = whole("hidden", hidden, 0), whole("rank", rank, 0)
    if r > min(H, M, N):
        raise DomainError("rank", str(r), f"at most {min(H, M, N)}")
    if M + H < N + r:
        return Learning((H * M - H * r + N * r) / 2, 1)
    if N + H < M + r:
        return Learning((H * N - H * r + M * r) / 2, 1)
    if M + N < H + r:
        return Learning(M * N / 2, 1)
    odd = (M + N + H + r) % 2
    value = -((H + r) ** 2) - M**2 - N**2 + 2 * (H + r) * (M + N) + 2 * M * N + odd
    return Learning(value / 8, 1 + odd)


def tanh_network(hidden: int) -> Learning:
    """Learning coefficient of a one-input tanh network when the truth is zero.

    Quoted; the tests find it again by quadrature for one, two and three hidden units, and lambda
    alone, to 3 %, for four.

    Parameters
    ----------
    hidden : int
        H >= 1.

    Returns
    -------
    Learning

    Examples
    --------
    >>> [round(tanh_network(H).coefficient, 4) for H in (1, 2, 3, 4)]
    [0.5, 0.6667, 0.8333, 1.0]
    """
    H = whole("hidden", hidden, 1)
    root = math.isqrt(H)
    return Learning((H + root**2 + root) / (4 * root + 2), 2 if root**2 == H else 1)


def peaks_learning_coefficient(true: int, fitted: int) -> Learning:
    """Learning coefficient of K Gaussian peaks fitted where fewer are true.

    (0, 1): 1/2, m = 1.  (K, K): 3K/2, regular.  (1, 2): 2, m = 3; lambda is derived from the
    `coalescence` of the two peaks, the multiplicity from a Newton polygon and not proved.  Other
    surplus peaks are not known here.

    Parameters
    ----------
    true, fitted : int
        Number of peaks, 3 parameters each, free width.

    Returns
    -------
    Learning

    Raises
    ------
    DomainError
        Where the answer is not known.

    Examples
    --------
    >>> peaks_learning_coefficient(1, 2)
    Learning(coefficient=2.0, multiplicity=3)
    """
    true, fitted = whole("true", true, 0), whole("fitted", fitted, 0)
    if fitted == true:
        return Learning(1.5 * true, 1)
    if (true, fitted) == (0, 1):
        return Learning(0.5, 1)
    if (true, fitted) == (1, 2):
        return Learning(2.0, 3)
    raise DomainError("fitted", f"{fitted} for {true} true peaks", "(0, 1), (1, 2) or (K, K)",
                      "the coefficient of other surplus peaks is not known here")
