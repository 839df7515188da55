"""The borders of the exact results: numbers at the ends of the floats, and input that they refuse.

Second routes are mpmath's; each broken twin is the textbook's formula, whose digits are gone there.
"""

import math
import warnings

import mpmath as mp
import numpy as np
import pytest
from scipy import optimize, special

from theory import (
    box,
    cases,
    choice,
    criteria,
    energies,
    evidence,
    exchange_rate,
    large_n,
    noise,
    singular,
    targets,
)
from theory.box import BoxLine
from theory.choice import Question
from theory.errors import DomainError, PrecisionWarning
from theory.evidence import LinearRegression

X = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
Y = np.array([0.3, 1.1, 2.4, 2.7, 4.5, 6.2])
LINE = np.stack([X, np.ones(6)], axis=1)
CASE = cases.straight_line()


# --- numbers at the ends of the floats ------------------------------------------------------------


def test_barrier_constant_of_any_shape() -> None:
    """Both sides of where the series takes over, and up to the largest shapes; the difference of
    two logarithms of gamma functions has no digit left at 1e16."""
    shapes = [1e-300, 1e-9, 0.5, 3.0, 19.99, 20.0, 20.01, 35.5, 300.0, 1e5, 1e10, 1e15, 1e16, 1e300]
    with mp.workdps(400):
        wanted = [float(1 / mp.beta(mp.mpf(shape), mp.mpf(1) / 2)) if shape < 1e6 else float(
            mp.sqrt(mp.mpf(shape) / mp.pi) * (1 - 1 / (8 * mp.mpf(shape)))) for shape in shapes]
    found = exchange_rate.barrier_constant(shapes)
    assert found == pytest.approx(wanted, rel=1e-14, abs=0)
    assert exchange_rate.barrier_constant(1e16) == found[-2]
    twin = math.exp(special.gammaln(1e16 + 0.5) - special.gammaln(1e16)) / math.sqrt(math.pi)
    assert abs(twin / found[-2] - 1) > 0.5


@pytest.mark.parametrize("excess", [1, 3, 98])
def test_quantiles_of_the_noise_estimate_in_both_tails(excess: int) -> None:
    """The quantile put back into mpmath's incomplete gamma function is the probability again; the
    same from 1 - p is 0 for small p."""
    for p in (1e-100, 1e-17, 1e-9, 0.3, 0.5, 0.7, 1 - 1e-9):
        found = noise.estimate_quantile(p, excess)
        with mp.workdps(40):
            half = mp.mpf(excess) / 2
            tail = mp.gammainc(half, 0, half * mp.mpf(found), regularized=True)
            # What rounding the quantile does to 1 - p near one is not its error.
            off = float((tail - p) / min(p, 1 - mp.mpf(p)))
        assert off == pytest.approx(0.0, abs=1e-12 * excess)
    assert noise.estimate_quantile(1e-17, 3) == pytest.approx(3.723e-12, rel=1e-3)
    assert special.chdtri(excess, 1.0 - 1e-17) == 0.0


@pytest.mark.parametrize(("lowest", "highest"), [
    (1e-300, 1e300), (1e-3, 1e3), (0.1, 0.1 * (1 + 1e-12)), (1e250, 1e300)])
def test_log_uniform_noise_between_any_bounds(lowest: float, highest: float) -> None:
    """An incomplete gamma function with 700 digits; the quotient of the first bounds is infinite,
    that of two bounds side by side has four digits."""
    found = noise.wide_box(LINE, Y, 1e307)
    with mp.workdps(700):
        nu, half = mp.mpf(2), mp.mpf(found.rss) / 2
        # Gamma(2, a) - Gamma(2, b) in closed form.
        a, b = half / mp.mpf(highest), half / mp.mpf(lowest)
        mass = (1 + a) * mp.exp(-a) - (1 + b) * mp.exp(-b)
        wanted = float(nu * mp.log(2 * mp.pi * half) + found.log_volume + found.log_det / 2
                       + mp.log(mp.log(mp.mpf(highest) / mp.mpf(lowest))) - mp.log(mass))
    assert noise.log_uniform(found, lowest, highest) == pytest.approx(wanted, rel=1e-12)
    assert math.isinf(1e300 / 1e-300)


# --- input that is refused ------------------------------------------------------------------------

ZEROS = LinearRegression(np.zeros((3, 1)), [1.0, 2.0, 3.0])

REFUSED = {
    "text for a noise": (lambda: Question(9, 0, 1, 1, "a"), "assumed: received 'a'"),
    "negative noise": (lambda: Question(9, 0, 1, 1, -1), "assumed: received -1"),
    "three for two": (lambda: singular.normal_crossing([1, 2], [0, 0, 0]),
                      r"prior_powers: received \[0.0, 0.0, 0.0\] for 2 powers"),
    "no powers": (lambda: singular.normal_crossing([], []), "prior_powers: received .* for 0"),
    "no parameters": (lambda: targets.random_walk_acceptance_of(np.zeros((0, 0)), 1.0),
                      r"precision: received an array of shape \(0, 0\)"),
    "no scatter": (lambda: energies.energy_score(ZEROS, 7.0, 10.0), "no parameter changes"),
    "no freedom": (lambda: noise.WideBox(6, 6, 0.1, 1, 1), "points: received 6 for 6 parameters"),
    "half a point": (lambda: noise.WideBox(6.5, 2, 0.1, 1, 1), "points: received 6.5"),
    "negative squares": (lambda: noise.WideBox(6, 2, -1.0, 1, 1), "rss: received -1"),
    "no squares": (lambda: noise.WideBox(6, 2, math.nan, 1, 1), "rss: received nan"),
    "no volume": (lambda: noise.WideBox(6, 2, 1.0, -math.inf, 1), "log_volume: received -inf"),
    "far too little noise": (lambda: noise.log_uniform(noise.WideBox(6, 2, 1e200, 1, 1), 1e-300,
                                                       1e-200), "highest: received 1e-200"),
    "ratios": (lambda: exchange_rate.power_law([1, 2], [2, 3, 4]),
               r"shape and ratio: received arrays of shapes \(2,\) and \(3,\), expected one shape"),
    "ratios, erfc": (lambda: exchange_rate.power_law_erfc([1, 2], [2, 3, 4]), "expected one shape"),
    "ratios, linear": (lambda: exchange_rate.power_law_linear([1, 2], [2, 3, 4]), "one shape"),
    "ratios, divergence": (lambda: exchange_rate.symmetrised_divergence([1, 2], [2, 3, 4]),
                           "expected one shape"),
    "ranges": (lambda: exchange_rate.barrier(1.0, [0.1, 0.2], [1, 2, 3]), "beta_min and beta_max"),
    "range": (lambda: exchange_rate.barrier(1.0, 2.0, 1.0), "beta_max: received 1.0"),
    "three of two": (lambda: CASE.log_likelihood([1.0, 2.0, 3.0]),
                     r"theta: received an array of shape \(3,\), expected \(..., 2\): a, b"),
    "text for theta": (lambda: CASE.log_likelihood("ab"), "theta: received 'ab'"),
    "fewer than none": (lambda: CASE.prior_samples(-1), "n: received -1"),
    "half a draw": (lambda: CASE.prior_samples(2.5), "n: received 2.5"),
    "no seed": (lambda: CASE.prior_samples(2, -1), "seed: received -1"),
    "noise without square": (lambda: evidence.free_energy_of_noise(
        LinearRegression(LINE, Y), [1.0, 1e-300]), "noise: received 1e-300, expected 1e-145 of"),
    "y without squares": (lambda: noise.wide_box(LINE, 1e200 * Y, 1.0),
                          "y: received numbers of size 6e.200, .* choose other units"),
    "y of no size": (lambda: noise.wide_box(LINE, 1e-200 * Y, 1.0), "y: received numbers of size"),
    "design without squares": (lambda: noise.wide_box(1e200 * LINE, Y, 1.0), "design: .* units"),
    "more than all": (lambda: CASE.quantile(2), "p: received 2.0, expected a probability"),
    "text for p": (lambda: CASE.quantile("a"), "p: received 'a'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_its_field(name: str) -> None:
    call, pattern = REFUSED[name]
    with pytest.raises(DomainError, match=pattern):
        call()


def test_what_fits_goes_through() -> None:
    """The other side of each border: arrays of one shape, no draws, the ends of a quantile."""
    assert exchange_rate.power_law([1, 2], [2, 3]) == pytest.approx(
        [exchange_rate.power_law(1, 2), exchange_rate.power_law(2, 3)], rel=1e-15)
    assert exchange_rate.barrier([[1.0], [2.0]], 0.1, [1, 2]).shape == (2, 2)
    assert exchange_rate.barrier(1.0, 1e-300, 1e300) == pytest.approx(300 * math.log(10), rel=1e-14)
    assert singular.normal_crossing([1, 2], 1) == singular.normal_crossing([1, 2], [1, 1])
    assert CASE.prior_samples(0).shape == (0, 2)
    assert CASE.log_likelihood(CASE.mean[None]).shape == (1,)
    assert np.all(CASE.quantile(0.5) == pytest.approx(CASE.mean, rel=1e-9))
    # A volume whose largest variance has no float: no walls, and no overflow.
    vast = noise.WideBox(6, 1, 0.5, 160 * math.log(10), 1.0)
    assert noise.wide_box(LINE[:, :1], Y, 1e160).largest_variance == math.inf
    assert noise.empirical_bayes(vast)[0] == 0.1


# --- what the words say, by numbers ---------------------------------------------------------------


def test_what_even_points_means() -> None:
    """20,000 data sets of N* points, each fitted twice: the chance and the mean of F2 - F1 within 4
    standard errors (6e-5 each), the median like the chance; that the means cross is caught."""
    N, half_width = 20, 10.0
    offset = math.sqrt(2 * (0.5 * math.log(N / (2 * math.pi)) + math.log(2 * half_width)) / N)
    assert choice.even_points(offset, half_width, 1.0) == pytest.approx(N, rel=1e-12)
    x = np.linspace(-1.0, 1.0, N)
    both = np.stack([x, np.ones(N)], axis=1)
    y = (both @ [0.7, offset])[:, None] + np.random.default_rng(11).normal(size=(N, 20_000))
    rss = [np.linalg.lstsq(design, y, rcond=None)[1] for design in (both[:, :1], both)]
    # Wide boxes; that of the slope is the same in both models.
    difference = 0.5 * (rss[1] - rss[0]) + math.log(2 * half_width) + 0.5 * math.log(
        N / (2 * math.pi))
    error = difference.std() / math.sqrt(len(y[0]))
    assert abs(difference.mean() + 0.5) < 4 * error < abs(difference.mean())
    assert abs(np.mean(difference < 0) - 0.5) < 4 * 0.5 / math.sqrt(len(y[0]))
    assert choice.probability_of_offset(Question(N, offset, half_width, 1.0)) == pytest.approx(
        0.5 + special.ndtr(-2 * offset * math.sqrt(N)), rel=1e-12)


def test_how_many_gaps_refuse_half() -> None:
    """The gap that is refused half the time by root finding, against the barrier; and the barrier
    over the number of gaps where that is large."""
    factor = []
    for shape in (0.5, 1.0, 3.0, 30.0, 1e4):
        log_r = optimize.brentq(lambda u, k=shape: exchange_rate.power_law(k, math.exp(u)) - 0.5,
                                1e-4, 5.0)
        factor.append(1.0 / (log_r * exchange_rate.barrier_constant(shape)))
        fine = 1e-3 / exchange_rate.barrier_constant(shape)
        assert 1 - exchange_rate.power_law(shape, math.exp(fine)) == pytest.approx(1e-3, rel=2e-3)
    assert factor == sorted(factor)
    assert (factor[0], factor[-1]) == pytest.approx((1.78, 1.86), abs=0.005)
    # 12.6 gaps at a barrier of 6.9, lambda = 1.
    assert 6.9 * factor[1] == pytest.approx(12.6, abs=0.05)


@pytest.mark.parametrize("reversible", [False, True])
def test_round_trips_are_those_of_all_replicas(reversible: bool) -> None:
    """64 ladders of 12 rungs, 2500 sweeps after 500, every swap refused in one of five: trips per
    sweep, all replicas counted, within 4 standard errors (6e-5); one replica's are caught."""
    g, ladders, rungs, rejected = np.random.default_rng(5), 64, 12, 0.2
    rows = np.arange(ladders)
    at = np.tile(np.arange(rungs), (ladders, 1))        # the replica on every rung
    down = np.zeros((ladders, rungs), dtype=bool)       # replicas that were at the top last
    trips = np.zeros(ladders)
    for sweep in range(3000):
        first = g.integers(2, size=ladders) if reversible else np.full(ladders, sweep % 2)
        swap = g.random((ladders, rungs - 1)) > rejected
        swap &= (np.arange(rungs - 1) % 2) == first[:, None]
        for k in range(rungs - 1):
            on = rows[swap[:, k]]
            at[on, k], at[on, k + 1] = at[on, k + 1], at[on, k].copy()
        down[rows, at[:, -1]] = True
        back = down[rows, at[:, 0]]
        down[rows, at[:, 0]] = False
        trips += back * (sweep >= 500)
    rate, error = trips.mean() / 2500, trips.std(ddof=1) / math.sqrt(ladders) / 2500
    exact = exchange_rate.round_trip_rate([rejected] * (rungs - 1), reversible)
    assert error < 0.01 * exact
    assert abs(rate - exact) < 4 * error < abs(rate - exact / rungs)


def test_entropy_of_any_noise() -> None:
    """ln s by itself; the logarithm of s^2 is -inf below 1e-162."""
    for s in (1e-300, 1e-200, 0.3, 1e200):
        assert large_n.entropy_rate(s) == pytest.approx(0.5 + math.log(s) + 0.5 * math.log(
            2 * math.pi), rel=1e-14)
    problem = LinearRegression(LINE, Y)
    for s in (1e-140, 0.3, 1e200):          # at high temperature the constant is all
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrecisionWarning)
            found = evidence.free_energy_of_noise(problem, s)
            reduced = float(evidence.reduced_free_energy(problem, s**-2.0)) if s < 1 else 0.0
        constant = 6 * (0.5 * math.log(2 * math.pi) + math.log(s))
        assert found == pytest.approx(constant + reduced, rel=1e-12)


@pytest.mark.parametrize("beta", [1e-100, 1e-20, 1e-9, 1e-5, 1e-4, 1e-3])
def test_information_of_hot_rungs(beta: float) -> None:
    """ln of the average of exp(-beta U) and <U> over slopes in (-1, 3) with many digits; with an
    offset, the difference where it still has eight.  It has two at 1e-9 and none below."""
    line = BoxLine(X, Y, 0.5, (-1, 3))
    with mp.workdps(250 if beta < 1e-20 else 60):
        S, a = mp.fsum(mp.mpf(x) ** 2 for x in X), mp.mpf(float(line.estimate[0]))
        stiff = S / mp.mpf(0.25)

        def average(power: int) -> mp.mpf:
            return mp.quad(lambda t: (stiff * (t - a) ** 2 / 2) ** power * mp.exp(
                -beta * stiff * (t - a) ** 2 / 2), mp.linspace(-1, 3, 5)) / 4

        wanted = float(-mp.log(average(0)) - beta * average(1) / average(0))
    assert box.information(line, beta) == pytest.approx(wanted, rel=1e-9, abs=0)
    twin = float(box.reduced_free_energy(line, beta)) - beta * box.mean_energy(line, beta)
    assert (abs(twin / wanted - 1) > 1e-3) == (beta <= 1e-9)
    line = BoxLine(X, Y, 0.5, (-1, 3), (-2, 8))
    if 1e-5 <= beta <= 1e-4:
        plain = float(box.reduced_free_energy(line, beta)) - beta * box.mean_energy(line, beta)
        assert plain < 1e-3 and box.information(line, beta) == pytest.approx(plain, rel=1e-8)


def test_dic_under_a_prior_by_summation() -> None:
    """Half of DIC is twice the mean energy less the energy of the mean, over the posterior on a
    grid; p_D is less than the number of parameters, and DIC with that number is caught."""
    x, s = np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.5, 1.0, 0.7, 2.0])
    y, design = np.array([0.3, 1.4, 1.9, 4.5]), np.stack([x, np.ones(4)], axis=1)
    axes = np.linspace(-1.5, 3.0, 401), np.linspace(-3.0, 3.0, 401)
    a, b = (axis.ravel() for axis in np.meshgrid(*axes))
    U = 0.5 * sum(((v - a * u - b) / e) ** 2 for u, v, e in zip(x, y, s, strict=True))
    weight = np.exp(-U - 0.5 * ((a - 0.4) ** 2 / 0.1 + (b - 0.4) ** 2 / 0.2))
    weight /= weight.sum()
    constant = float(np.sum(np.log(s * math.sqrt(2 * math.pi))))
    at_mean = 0.5 * float(np.sum(((y - design @ [weight @ a, weight @ b]) / s) ** 2))
    found = criteria.criteria(design, y, s, 0.4, [0.1, 0.2])
    assert found.p_dic == pytest.approx(2 * (weight @ U - at_mean), rel=1e-9)
    assert found.dic == pytest.approx(constant + 2 * float(weight @ U) - at_mean, rel=1e-9)
    assert abs(found.dic - (constant + at_mean + 2)) > 0.5
