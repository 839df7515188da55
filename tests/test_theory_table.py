"""Every number that the theory of the project is quoted with, one row each: from which public
function it comes, to the digits printed, and which test holds its second, independent route.

The rows are the place to look a number up; the tests named in the last column are the proof.  One
number is quoted only: m of a tanh network of four hidden units, whose lambda quadrature finds again
to 3 %; of one, two and three units it finds both.
"""

import ast
import math
import warnings
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import exact_references
import mpmath as mp
import numpy as np
import pytest

from experiments import peak_resolution
from theory import (
    box,
    choice,
    criteria,
    energies,
    evidence,
    exchange_rate,
    joint,
    large_n,
    noise,
    singular,
    targets,
)
from theory.box import BoxLine
from theory.choice import Question
from theory.errors import ValidityWarning
from theory.evidence import LinearRegression

SETS = {"R5": (np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), np.array([-1.9, -0.8, 0.4, 0.9, 2.3])),
        "Q6": (np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0]), np.array([0.3, 1.1, 2.4, 2.7, 4.5, 6.2])),
        "T4": (np.array([-1.0, 0.0, 1.0, 3.0]), np.array([-0.7, 0.1, 1.4, 3.0]))}
X, Y = SETS["Q6"]


def design(x: Any) -> np.ndarray:
    return np.stack([x, np.ones(len(x))], axis=1)


LINE = LinearRegression(design(X), Y, 0.5, 0.0, [4.0, 1.0])
FINE, HALVES = np.r_[0.0, 1.5 ** np.arange(-30.0, 1)], np.r_[0.0, 2.0 ** np.arange(-15.0, 1)]


@cache
def line(name: str, K: int, xi: float = 10.0) -> BoxLine:
    return BoxLine(*SETS[name], 0.5, (-xi, xi), (-xi, xi) if K == 2 else None)


@cache
def wide(K: int) -> noise.WideBox:
    return noise.wide_box(design(X)[:, :K], Y, 20.0**K)


@cache
def conjugate() -> noise.NormalInverseGamma:
    return noise.normal_inverse_gamma(design(X), Y, 3.0, 1.0, 0.0, [4.0, 1.0])


@cache
def scores(name: str) -> criteria.Criteria:
    A, prior = {"K=1": (X[:, None], None), "K=2": (design(X), None),
                "K=2 prior": (design(X), [4.0, 1.0])}[name]
    return criteria.criteria(A, Y, 0.5, 0.0, prior)


@cache
def estimates() -> list[joint.Estimate]:
    return [joint.estimate(design(x), y, math.sqrt(v)) for (x, y), v in zip(
        SETS.values(), (0.25, 0.5, 0.4), strict=True)]


def growing(N: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(-1, 1, N)
    return design(x), x + 0.5 * np.cos(np.arange(1, N + 1))


def expansion(N: int) -> large_n.Expansion:
    return large_n.expansion(*growing(N), 0.5, lambda p: -0.5 * p @ p - math.log(2 * math.pi))


def integrated(N: int, gap: float) -> float:
    x = np.linspace(-1, 1, N)
    width = np.diag([1 / (x @ x), 1 / N])
    return joint.probability_of_integration(width, width, [gap, 0.0], 400.0)


def power(N: float, offset: float, xi: float = 10.0) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)       # two rows are wrong on purpose
        return choice.probability_of_offset(Question(N, offset, xi, 1.0))


def gain(name: str) -> float:
    """How much better the line with an offset fits, in nats."""
    return line(name, 1).minimum - line(name, 2).minimum


class Row(NamedTuple):
    """A number of the theory."""

    section: str
    words: str
    value: Callable[[], Any]
    digits: str
    route: str                  # the test that holds the second route


def table() -> list[Row]:
    rows: list[Row] = []

    def add(section: str, route: str, *lines: tuple[str, Callable[[], Any], str]) -> None:
        rows.extend(Row(section, words, value, digits, route) for words, value, digits in lines)

    add("slips", "test_what_the_penalty_alone_says_of_the_five_points",
        ("F2 - F1 of five points", lambda: box.free_energy(line("R5", 2))
         - box.free_energy(line("R5", 1)), "3.2506598771"),
        ("the same by ln(5)/2 and the fit alone", lambda: math.log(5) / 2 - gain("R5"),
         "0.4807189562"),
        ("what a half width of 10 adds to the threshold", lambda: 2 * (
            Question(9, 0, 10, 1).bound - Question(9, 0, 0.5, 1).bound), "5.99"),
        ("worth a factor in N", lambda: math.exp(2 * (
            Question(9, 0, 10, 1).bound - Question(9, 0, 0.5, 1).bound)), "400"))
    add("conventions", "test_least_squares_of_the_two_data_sets",
        ("slope of the five", lambda: line("R5", 2).estimate[0], "1.0100000000"),
        ("offset of the five", lambda: line("R5", 2).estimate[1], "0.1800000000"),
        ("Sxx of the five", lambda: line("R5", 1).hessian[0, 0] / 4, "10.000000000"),
        ("slope of the six", lambda: line("Q6", 2).estimate[0], "1.0000000000"),
        ("offset of the six", lambda: line("Q6", 2).estimate[1], "0.2000000000"),
        ("RSS of the six", lambda: line("Q6", 2).minimum / 2, "0.4000000000"),
        ("slope through zero", lambda: line("Q6", 1).estimate[0], "1.0484848"),
        ("RSS through zero", lambda: line("Q6", 1).minimum / 2, "0.4848484848"),
        ("Sxx of the six", lambda: line("Q6", 2).hessian[0, 0] / 4, "66.000000000"),
        ("Sx of the six", lambda: line("Q6", 2).hessian[0, 1] / 4, "16.000000000"))

    for (name, K, xi), F in zip(product(SETS, (1, 2), (10.0, 1.0)), (
            "5.6681902306", "4.1104973239", "8.9188501078", "5.0586948149", "7.1892133775",
            "6.4218353627", "10.1654511690", "6.2734108688"), strict=False):
        add("box priors", "test_box_reference_values_by_two_routes",
            (f"F{K} of {name}, half width {xi:g}",
             lambda key=(name, K, xi): box.free_energy(line(*key)), F))
    for beta, U, C in ((1.0, "1.118000000", "0.5000000000"), (0.01, "50.6179891635",
                       "0.4999981939"), (1e-4, "647.8091260639", "0.0038754441")):
        add("box priors", "test_box_energy_and_heat_capacity",
            (f"<U> at beta {beta:g}", lambda b=beta: box.mean_energy(line("R5", 1), b), U),
            (f"C at beta {beta:g}", lambda b=beta: box.heat_capacity(line("R5", 1), b), C))

    for beta, *wanted in ((0.1, "2.8642163657", "8.0666011527", "0.5990839361"),
                          (1.0, "5.5510741764", "1.7471541233", "0.8998205474")):
        for name, function, digits in zip(("F~", "<U>", "C"), (
                evidence.reduced_free_energy, evidence.mean_energy, evidence.heat_capacity),
                wanted, strict=True):
            add("Gaussian prior", "test_gaussian_prior_reference_values_by_three_routes",
                (f"{name} at beta {beta}", lambda f=function, b=beta: f(LINE, b), digits))
    add("Gaussian prior", "test_gaussian_prior_totals",
        ("U beyond the columns", lambda: LINE.residual_energy, "0.8000000000"),
        *((f"kappa {k + 1}", lambda k=k: np.sort(LINE.eigenvalues)[k], digits)
          for k, digits in enumerate(("8.3610247546", "1071.6389752454"))),
        *((f"|c| {k + 1}", lambda k=k: np.sort(abs(LINE.components))[k], digits)
          for k, digits in enumerate(("0.3987002210", "17.0411571829"))),
        ("F", lambda: evidence.free_energy(LINE), "6.9058222923"),
        ("information", lambda: evidence.information(LINE), "3.8039200531"),
        ("<U> of the prior", lambda: evidence.mean_energy(LINE, 0.0), "686.0800000000"),
        ("Var U of the prior", lambda: energies.energy_law(LINE, 0.0).variance, "885446.4"))

    add("unknown noise", "test_conjugate_noise_by_quadrature_over_the_variance",
        ("F, conjugate", lambda: conjugate().free_energy, "6.5429739530"),
        ("shape of the posterior", lambda: conjugate().shape, "6.0000000000"),
        ("its rate", lambda: conjugate().rate, "1.3414199759"))
    for K, v, F, summed in ((1, "0.0969696970", "6.3518604314", "8.4836963054"),
                            (2, "0.1000000000", "9.5328697052", "11.5449560008")):
        add("unknown noise", "test_wide_box_noise",
            (f"variance estimated, K = {K}", lambda K=K: noise.empirical_bayes(wide(K))[0], v),
            (f"F there, K = {K}", lambda K=K: noise.empirical_bayes(wide(K))[1], F),
            (f"F, log-uniform, K = {K}", lambda K=K: noise.log_uniform(wide(K), 1e-3, 1e3), summed))
    for N, *ends in ((5, "0.0719317609", "3.1161345348"), (100, "0.7398055051", "1.2987966568")):
        add("unknown noise", "test_law_of_the_noise_estimate",
            *((f"{p:.1%} of the estimate over the truth, N = {N}",
               lambda p=p, N=N: noise.estimate_quantile(p, N - 2), digits)
              for p, digits in zip((0.025, 0.975), ends, strict=True)))
    add("unknown noise", "test_a_real_box_at_large_noise_is_not_the_wide_one",
        ("sd of the offset at variance 1000", lambda: math.sqrt(1e3 / choice.offset_weight(X)),
         "21.7"))

    for N, wanted in {
            5: ("0.0163668668", "0.0190815770", "0.1000336505", "0.4346460511"),
            10: ("0.0110567553", "0.0151890953", "0.1686065030", "0.7328244376"),
            100: ("0.0030811886", "0.0250635198", "0.9793487376", "1.0000000000"),
            1000: ("0.0008814628", "0.4350300913", "1.0000000000", "1.0000000000"),
            10000: ("0.0002565105", "0.9999999999", "1.0000000000", "1.0000000000")}.items():
        for offset, digits in zip((0.0, 0.1, 0.5, 1.0), wanted, strict=True):
            add("law of the choice", "test_probability_of_the_offset",
                (f"P(K=2), N = {N}, offset {offset}",
                 lambda N=N, b=offset: power(N, b), digits))
    add("law of the choice", "test_the_law_of_delta_f_over_data_sets",
        ("P(K=2), N = 100, offset 0.3", lambda: power(100, 0.3), "0.5161448403"),
        ("mean F2 - F1 there", lambda: choice.moments(Question(100, 0.3, 10, 1))[0],
         "-0.6206211667"),
        ("its variance", lambda: choice.moments(Question(100, 0.3, 10, 1))[1], "9.5000000000"))
    for offset, digits in ((1.0, "5.9343439662"), (0.5, "30.2526904003"), (0.3, "96.9786478903"),
                           (0.1, "1117.21848615")):
        add("law of the choice", "test_even_points_and_points_needed",
            (f"N*, offset {offset}", lambda b=offset: choice.even_points(b, 10.0, 1.0), digits))
    add("law of the choice", "test_walls_of_the_offset",
        *((f"{words}, N = {N}, half width {xi}", lambda f=f, N=N, xi=xi: f(N, xi), digits)
          for words, N, xi, f, digits in (
            ("estimate at the turn", 5, 1.0, lambda N, xi: choice.critical_estimate(N, xi, 1.0),
             "0.5471374756"),
            ("P(K=2)", 5, 1.0, lambda N, xi: choice.probability_with_box(N, 0, xi, 1.0),
             "0.2211648410"),
            ("P(K=2), walls forgotten", 5, 1.0, lambda N, xi: power(N, 0, xi), "0.2819107961"),
            ("estimate at the turn", 2, 0.5, lambda N, xi: choice.critical_estimate(N, xi, 1.0),
             "0.7246395386"),
            ("P(K=2)", 2, 0.5, lambda N, xi: choice.probability_with_box(N, 0, xi, 1.0),
             "0.3054598963"),
            ("P(K=2), walls forgotten", 2, 0.5, lambda N, xi: power(N, 0, xi), "1.0000000000"))))
    for N, offset, digits in ((5, 0.0, "0.0251928461"), (5, 1.0, "0.2984376898"),
                              (100, 0.0, "0.0031578417"), (100, 0.3, "0.4984393800")):
        add("law of the choice", "test_estimated_noise_by_simulation",
            (f"P(K=2), noise estimated, N = {N}, offset {offset}",
             lambda N=N, b=offset: choice.probability_with_estimated_noise(N, b, 10.0, 1.0),
             digits))

    add("several data sets", "test_integration_of_two_and_three_sets",
        ("F_int - F_sep of two", lambda: joint.difference(estimates()[:2], 400.0),
         "-6.4549582880"),
        ("F_int - F_sep of three", lambda: joint.difference(estimates(), 400.0),
         "-13.0545801195"))
    add("several data sets", "test_disagreement_of_the_two_sets",
        ("chi-square of the two", lambda: 2 * (
            joint.difference(estimates()[:2], 400.0) - joint.difference(
                [joint.Estimate(np.zeros(2), e.covariance) for e in estimates()[:2]], 400.0)),
         "0.0024285714"))
    add("several data sets", "test_integration_of_a_part",
        ("the slope shared", lambda: joint.difference(estimates()[:2], 20.0, [0]),
         "-3.6106369401"))
    add("several data sets", "test_integration_under_a_gaussian_prior",
        ("Gaussian prior", lambda: joint.gaussian_difference([
            LinearRegression(design(x), y, math.sqrt(v), 0.0, [4.0, 1.0])
            for (x, y), v in zip(SETS.values(), (0.25, 0.5), strict=False)]), "-3.2530993830"))
    for N, gap, digits in ((5, 0.0, "0.9911142341"), (5, 1.0, "0.9538958002"),
                           (100, 0.0, "0.9994612747"), (100, 0.5, "0.9495592131")):
        add("several data sets", "test_probability_of_integration",
            (f"P(integrate), N = {N}, slopes apart by {gap}",
             lambda N=N, g=gap: integrated(N, g), digits))

    for N, digits in ((5, "5.0418373733"), (10, "8.2603027138"), (100, "53.4005885778"),
                      (1000, "483.9395527151"), (10000, "4768.484201422")):
        add("large N", "test_large_n_reference_values_by_two_routes",
            (f"F, N = {N}", lambda N=N: evidence.free_energy(LinearRegression(*growing(N), 0.5)),
             digits))
    add("large N", "test_penalty_constant_and_what_remains",
        ("O(1), N = 1e6", lambda: expansion(10**6).constant, "1.3370"))
    add("large N", "test_criteria_choose_without_the_prior",
        ("false alarms of BIC, N = 100", lambda: choice.probability_by_penalty(
            100, 0.0, 1.0, math.log(100) / 2), "0.0318756893"),
        ("of AIC, any N", lambda: choice.probability_by_penalty(100, 0.0, 1.0, 1.0),
         "0.1572992071"))

    for shape, ratio, digits in ((0.5, 2, "0.7836531041"), (1, 2, "0.6666666667"),
                                 (1.5, 2, "0.5835828116"), (2, 1.5, "0.7040000000"),
                                 (5, 1.2, "0.7787253962"), (10, 1.5, "0.3721840428")):
        add("exchange", "test_power_law_reference_values_by_three_routes",
            (f"A, shape {shape}, ratio {ratio}",
             lambda k=shape, r=ratio: exchange_rate.power_law(k, r), digits))
    add("exchange", "test_barrier_is_the_first_order_of_the_law",
        ("by erfc, shape 10, ratio 1.5", lambda: exchange_rate.power_law_erfc(10, 1.5),
         "0.3528697693"),
        ("to first order", lambda: exchange_rate.power_law_linear(10, 1.5), "0.119"),
        *((f"barrier constant, shape {k}", lambda k=k: exchange_rate.barrier_constant(k), digits)
          for k, digits in ((0.5, "0.3183098862"), (1, "0.5000000000"), (1.5, "0.6366197724"),
                            (3, "0.9375000000"))))
    add("exchange", "test_divergence_of_two_rungs",
        ("two rungs' divergence, shape 1.5, ratio 2.5",
         lambda: exchange_rate.symmetrised_divergence(1.5, 2.5), "1.3500000000"))
    add("exchange", "test_round_trip_rates_of_a_simulated_index_process",
        ("round trips, even and odd in turn", lambda: exchange_rate.round_trip_rate([0.2] * 11),
         "0.133333"),
        ("round trips, by a coin", lambda: exchange_rate.round_trip_rate([0.2] * 11, True),
         "0.036364"))
    for hot, cold, digits in ((0.5, 1.0, "0.6887888009"), (0.01, 0.02, "0.7893655902"),
                              (0.0, 0.001, "0.7329127935")):
        add("exchange", "test_exchange_as_a_quadratic_form",
            (f"A of {hot} and {cold}, Gaussian prior",
             lambda a=hot, b=cold: energies.exchange_acceptance(LINE, a, b), digits))

    for name, wanted in {
            "K=1": ("2.3244450856", "3.3244450856", "3.2203248202", "3.2203248202",
                    "0.4289164371", "3.0798226782", "3.1240631519"),
            "K=2": ("2.1547481159", "4.1547481159", "3.9465075851", "3.9465075851",
                    "0.7388571429", "3.6018634355", "3.6976999514"),
            "K=2 prior": (None, None, None, "3.7897876745", None, "3.5190972058",
                          "3.6020773280")}.items():
        for field, digits in zip(("log_likelihood", "aic", "bic", "wbic", "p_waic", "waic", "loo"),
                                 wanted, strict=True):
            if digits:
                sign = -1 if field == "log_likelihood" else 1
                add("criteria", "test_criteria_by_definition",
                    (f"{field}, {name}",
                     lambda n=name, f=field, s=sign: s * getattr(scores(n), f), digits))
    add("criteria", "test_temperature_at_which_wbic_would_be_exact",
        ("beta at which <U> = F~", lambda: criteria.matching_temperature(LINE), "0.1665505374"))
    for field, digits in (("generalisation", "0.8399836542"), ("waic", "0.9876984663"),
                          ("loo", "1.3376842587")):
        add("criteria", "test_expected_criteria_by_simulation",
            (f"bias of {field}", lambda f=field: getattr(criteria.expected(design(X)), f), digits))
    add("criteria", "test_leverages_and_what_a_finite_sample_sees_of_them",
        ("tail index of x = 6, K = 2", lambda: scores("K=2").pareto[-1], "0.642857"),
        ("tail index of x = 6, K = 1", lambda: scores("K=1").pareto[-1], "0.545455"))

    add("singular", "test_product_partition_by_quadrature",
        ("Z of ab, c = 1000", lambda: singular.product_partition(1000.0), "0.1243084103"),
        ("Z of abc, c = 1000", lambda: singular.product_partition(1000.0, 3), "0.2929804237"),
        ("beta <U>, c = 1000", lambda: singular.product_energy(1000.0)[0], "0.3872765084"),
        ("C, c = 1000", lambda: singular.product_energy(1000.0)[1], "0.3745699229"),
        ("beta <U>, c = 1e6", lambda: singular.product_energy(1e6)[0], "0.4366"))
    add("singular", "test_product_asymptotics_and_reference_values",
        ("Z of ab, normal priors", lambda: singular.normal_product_partition(1000.0),
         "0.0812157057"))
    add("singular", "test_exchange_of_the_products_by_two_routes",
        ("A of c = 1000 and 2000", lambda: exchange_rate.acceptance(
            lambda c: np.log(singular.product_partition(c)), 1000.0, 2000.0), "0.8192929600"))
    for sizes, wanted in {(1, 1, 1, 0): ("0.5", "2"), (2, 2, 1, 0): ("1.0", "2"),
                          (2, 2, 1, 1): ("1.5", "1"), (2, 2, 2, 1): ("2.0", "2"),
                          (2, 2, 2, 0): ("1.5", "1"), (3, 3, 2, 1): ("3.5", "2")}.items():
        add("singular", "test_reduced_rank_in_the_corners_that_are_known",
            *((f"{words}, reduced rank {sizes}", lambda s=sizes, k=k: singular.reduced_rank(*s)[k],
               wanted[k]) for k, words in enumerate(("lambda", "m"))))
    for hidden, wanted in enumerate((("0.5000", "2"), ("0.6667", "1"), ("0.8333", "1"),
                                     ("1.0000", "2")), start=1):
        add("singular", "test_tanh_networks_by_quadrature",
            *((f"{words}, {hidden} hidden", lambda H=hidden, k=k: singular.tanh_network(H)[k],
               wanted[k]) for k, words in enumerate(("lambda", "m"))))
    add("singular", "test_multiplicity_of_coalescing_peaks_by_quadrature",
        ("lambda, one peak on none", lambda: singular.peaks_learning_coefficient(0, 1)[0], "0.5"),
        ("m, one peak on none", lambda: singular.peaks_learning_coefficient(0, 1)[1], "1"),
        ("lambda, two peaks on one", lambda: singular.peaks_learning_coefficient(1, 2)[0], "2.0"),
        ("m, two peaks on one", lambda: singular.peaks_learning_coefficient(1, 2)[1], "3"),
        ("ln n in F2 - F1", lambda: singular.peaks_learning_coefficient(1, 2)[0]
         - singular.peaks_learning_coefficient(1, 1)[0], "0.5"))
    add("singular", "test_the_misfit_of_coalescing_peaks_by_least_squares",
        *((f"power of u around {math.sqrt(a * b):.3f}",
           lambda a=a, b=b: peak_resolution.power_between(peak_resolution.coalescence, a, b),
           digits) for (a, b), digits in zip(
               zip(peak_resolution.STEPS, peak_resolution.STEPS[1:], strict=False),
               ("8.04", "8.10", "8.20"), strict=True)))

    for d, s, digits in ((1, 2.4, "0.4422841232"), (2, 1.7, "0.3523515799"),
                         (5, 1.0, "0.3143726376")):
        add("samplers", "test_random_walk_acceptance_by_simulation",
            (f"random walk, d = {d}, step {s}",
             lambda d=d, s=s: targets.random_walk_acceptance(d, s), digits))
    add("samplers", "test_random_walk_of_any_covariance_by_simulation",
        ("random walk on the six", lambda: targets.random_walk_acceptance_of(
            line("Q6", 2).hessian, 0.1), "0.5381691268"),
        ("random walk in a flat box", lambda: targets.flat_acceptance(4.0), "0.8005324324"))
    for d, eps, L, digits in ((1, 1.0, 2, "0.9208331517"), (10, 0.8, 5, "0.8240541038")):
        add("samplers", "test_leapfrog_acceptance_by_simulation",
            (f"leapfrog, d = {d}", lambda d=d, e=eps, L=L: targets.leapfrog_acceptance(d, e, L),
             digits))
    for d, digits in ((1, "0.8069805049"), (2, "0.7152201475"), (5, "0.5515478165")):
        add("samplers", "test_stretch_acceptance_by_simulation",
            (f"stretch move, d = {d}", lambda d=d: targets.stretch_acceptance(d), digits))
    for K, digits in ((1, "3.4212334674"), (2, "6.4958933445")):
        add("samplers", "test_information_and_volume_of_nested_sampling",
            (f"information of the five, K = {K}",
             lambda K=K: targets.nested_information(line("R5", K)), digits))
    add("samplers", "test_stepping_stones_and_ladders",
        ("variance of a stepping stone", lambda: targets.increment_variance(LINE, 0.5, 0.5),
         "0.2909035318"),
        ("trapezoid on 1.5^-k", lambda: targets.integration_bias(LINE, FINE), "0.0924561316"),
        ("trapezoid on 2^-k", lambda: targets.integration_bias(LINE, HALVES), "0.2733424266"),
        ("the same, corrected", lambda: targets.integration_bias(LINE, HALVES, True),
         "-0.0230953922"))
    add("samplers", "test_rectangles_by_placketts_derivative",
        ("correlation of the six", lambda: np.linalg.inv(line("Q6", 2).hessian)[0, 1] / math.sqrt(
            np.prod(np.diag(np.linalg.inv(line("Q6", 2).hessian)))), "-0.804"))
    return rows


ROWS = table()


def agrees(value: float, digits: str) -> bool:
    """Within 0.6 of a unit of the last digit printed (some are cut, not rounded)."""
    unit = 10.0 ** -len(digits.partition(".")[2])
    return abs(value - float(digits)) <= 0.6 * unit


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.section}: {row.words}" for row in ROWS])
def test_a_number_of_the_theory(row: Row) -> None:
    assert agrees(float(row.value()), row.digits), f"{float(row.value())!r}"


def test_a_unit_in_the_last_digit_is_caught() -> None:
    for row in ROWS[::7]:
        unit = 10.0 ** -len(row.digits.partition(".")[2])
        assert not agrees(float(row.digits) + unit, row.digits)


def test_every_second_route_is_a_test() -> None:
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        found |= {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body
                  if isinstance(node, ast.FunctionDef)}
    assert not {row.route for row in ROWS} - found
    assert len({(row.section, row.words) for row in ROWS}) == len(ROWS)


def test_what_remains_of_a_hundred_thousand_points() -> None:
    """N (F - fit - ln N - O(1)) tends to 1/8; ten digits at N = 1e5, which float64 cannot hold (it
    gives 0.125000): F and its leading terms with 130 digits, from sums without rounding."""
    N = 100_000
    A, y = growing(N)
    (reduced, _), = exact_references.gaussian(A, y, 0.5, [0, 0], [1, 1], [1.0])
    rss, log_det = exact_references.least_squares(A, y)
    theta = np.linalg.lstsq(A, y, rcond=None)[0]
    with mp.workdps(40):
        lead = 2 * rss + log_det / 2 - mp.log(mp.mpf("0.25")) + mp.mpf(theta @ theta) / 2
        # The N ln(2 pi s^2) / 2 of both, and the 2 pi of box and prior, are gone.
        left = float(N * (reduced - lead))
    assert left == pytest.approx(0.1250008786, abs=6e-11)
    # To first order sum (1 - z^2) / 2 kappa, over the modes: the next is of order 1/N.
    kappa, axes = np.linalg.eigh(A.T @ A / 0.25)
    first = N * np.sum((1 - (axes.T @ theta) ** 2) / (2 * kappa))
    assert left == pytest.approx(first, rel=3 / N) != pytest.approx(0.12494073, abs=1e-6)
