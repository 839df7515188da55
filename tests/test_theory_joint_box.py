"""Integration with walls: values by direct free energies, the law by simulation, by its two limits
and by sympy's slope.

Simulations fix their seeds, state their draws, and have a broken twin.
"""

import math
from contextlib import nullcontext
from typing import Any

import exact_references as exact
import mpmath as mp
import numpy as np
import pytest
from scipy import integrate, interpolate, optimize, special, stats

from theory import choice, joint, joint_box, quadratic
from theory.box import BoxLine
from theory.errors import DomainError, ValidityWarning
from theory.joint import Estimate

X = [np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])]
Y = [np.array([-1.9, -0.8, 0.4, 0.9, 2.3]), np.array([0.3, 1.1, 2.4, 2.7, 4.5, 6.2])]


def truths(values: tuple[float, float], sds: tuple[float, float]) -> list[Estimate]:
    return [Estimate(np.array([v]), np.array([[s * s]]))
            for v, s in zip(values, sds, strict=True)]


@pytest.mark.parametrize("walls", [
    pytest.param(((-10.0, 10.0), (-10.0, 10.0)), marks=pytest.mark.slow),
    ((-10.0, 10.0), None), ((-1.0, 1.0), (-1.0, 1.0)), ((-1.0, 1.0), None)])
def test_difference_of_two_sets_with_walls(walls: tuple[Any, Any]) -> None:
    """Noise 1/2 and 1/4: three free energies of 130 digits; far walls are the wide limit."""
    s = [np.full(5, 0.5), np.full(6, 0.25)]
    lines = [BoxLine(x, y, e[0], *walls) for x, y, e in zip(X, Y, s, strict=True)]
    x, y, both = (np.concatenate(v) for v in (X, Y, s))
    F = [float(exact.line_in_a_box(a / e, b / e, 1.0, *walls, 1.0, one=1 / e)[0])
         for a, b, e in ((x, y, both), (X[0], Y[0], s[0]), (X[1], Y[1], s[1]))]
    found = joint_box.difference_with_box(lines)
    assert found == pytest.approx(F[0] - F[1] - F[2], rel=1e-11)
    wide = [joint.estimate(np.stack([a, np.ones(len(a))], 1)[:, :len(lines[0].boxes)], b, e[0])
            for a, b, e in zip(X, Y, s, strict=True)]
    volume = math.prod(hi - lo for lo, hi in lines[0].boxes)
    if walls[0] == (-10.0, 10.0):
        assert found == pytest.approx(joint.difference(wide, volume), rel=1e-12)
    else:                                                # broken twin: no walls
        assert abs(joint.difference(wide, volume) - found) > 0.05
    with pytest.raises(DomainError, match="lines: received different boxes"):
        joint_box.difference_with_box([lines[0], BoxLine(X[0], Y[0], 0.5, (-7.0, 7.0))])
    with pytest.raises(DomainError, match="two data sets or more"):
        joint_box.difference_with_box(lines[:1])


# true values, standard deviations, box: walls on the truth, beyond it, narrow, one-sided
SETTINGS = [((0.9, 0.9), (0.2, 0.2), (-1.0, 1.0)), ((0.9, 0.5), (0.2, 0.4), (-1.0, 1.0)),
            ((1.5, 0.9), (0.2, 0.3), (-1.0, 1.0)), ((0.0, 0.3), (1.0, 1.0), (-0.5, 0.5)),
            ((2.0, 1.8), (0.5, 0.8), (0.0, 2.0))]


def simulated(values: tuple[float, float], sds: tuple[float, float], box: tuple[float, float],
              count: int, seed: int) -> np.ndarray:
    """F_int - F_sep of pairs of estimates as three single integrals; scipy's normal law."""
    (v1, v2), (s1, s2), (lo, hi) = values, sds, box
    g = np.random.default_rng(seed)
    a, b = v1 + s1 * g.normal(size=count), v2 + s2 * g.normal(size=count)

    def free(m: np.ndarray, s: float) -> np.ndarray:
        share = stats.norm.cdf((hi - m) / s) - stats.norm.cdf((lo - m) / s)
        return math.log(hi - lo) - np.log(share) - 0.5 * math.log(2 * math.pi * s * s)

    s = s1 * s2 / math.hypot(s1, s2)
    m = s * s * (a / s1**2 + b / s2**2)
    rest = 0.5 * ((a - m) / s1) ** 2 + 0.5 * ((b - m) / s2) ** 2
    return free(m, s) + rest - free(a, s1) - free(b, s2)


@pytest.mark.parametrize(("values", "sds", "box"), SETTINGS)
def test_law_of_integration_with_walls(values: tuple[float, float], sds: tuple[float, float],
                                       box: tuple[float, float]) -> None:
    """100,000 pairs: shares below five levels within 4 standard errors (false alarm 3e-4 each
    setting); the law without walls is caught."""
    found = simulated(values, sds, box, 100_000, 5)
    levels = np.quantile(found, [0.02, 0.2, 0.5, 0.9, 0.995])
    levels = np.append(levels[:4], max(levels[4], 0.0))
    p = joint_box.cumulative_with_box(truths(values, sds), box, levels)
    share = np.array([np.mean(found <= q) for q in levels])
    error = np.sqrt(p * (1 - p) / 100_000)
    assert np.all(np.abs(share - p) < 4 * error)
    # A box of ten standard deviations is wide by its volume, and yet its wall is on the truth.
    said = nullcontext() if values == (0.9, 0.9) else pytest.warns(
        ValidityWarning, match="theory.joint_box keeps them")
    with said:
        wide = joint.law_of_difference(truths(values, sds), box[1] - box[0])
    assert np.any(np.abs(share - quadratic.cumulative(wide, levels)) > 10 * error)


@pytest.mark.parametrize(("room", "wide"), [
    pytest.param(1.0, False, marks=pytest.mark.long),
    *(pytest.param(room, False, marks=pytest.mark.slow) for room in (2.0, 3.0)),
    (7.5, True)])
def test_law_of_difference_near_a_wall(room: float, wide: bool) -> None:
    """100,000 pairs whose truths are some standard deviations from a wall of a box that is wide by
    its volume: Kolmogorov-Smirnov p > 1e-3 of the law with walls (false alarm 0.4 % for all).  The
    law without passes where it says nothing and nowhere else; the law of truths on the other side
    of the wall is caught."""
    sds, box = (0.2, 0.3), (-3.0, 3.0)
    values = (3.0 - 0.2 * room, 3.0 - 0.3 * room)
    found = simulated(values, sds, box, 100_000, 9)
    knots = np.unique(np.quantile(found, np.linspace(0.0, 1.0, 301)))

    def p_value(law: np.ndarray) -> float:
        return float(stats.kstest(interpolate.PchipInterpolator(knots, law)(found),
                                  "uniform").pvalue)

    assert p_value(joint_box.cumulative_with_box(truths(values, sds), box, knots)) > 1e-3
    with nullcontext() if wide else pytest.warns(
            ValidityWarning, match=rf"^law_of_difference: a wall is {room:.1f} standard"):
        without = joint.law_of_difference(truths(values, sds), 6.0, boxes=[box])
    assert (p_value(quadratic.cumulative(without, knots)) > 1e-3) == wide
    beyond = (6.0 - values[0], 6.0 - values[1])
    if not wide:
        assert p_value(joint_box.cumulative_with_box(truths(beyond, sds), box, knots)) < 1e-3
    for bad in ([(-3.0, 4.0)], [(-3.0, 3.0)] * 2, [(3.0, -3.0)]):
        with pytest.raises(DomainError, match=r"^boxes: "):
            joint.law_of_difference(truths(values, sds), 6.0, boxes=bad)


@pytest.mark.slow
def test_law_on_whole_data_sets() -> None:
    """300 pairs of data sets by `difference_with_box`: Kolmogorov-Smirnov p > 1e-3; equal truths
    are caught."""
    g, found = np.random.default_rng(8), []
    x = [np.linspace(0.2, 1.0, 6), np.linspace(-1.0, 1.0, 9)]
    noise, slopes, box = (0.3, 0.6), (0.8, 0.2), (-1.0, 1.0)
    for _ in range(300):
        found.append(joint_box.difference_with_box([
            BoxLine(x[m], slopes[m] * x[m] + noise[m] * g.normal(size=len(x[m])), noise[m], box)
            for m in (0, 1)]))
    sds = tuple(s / math.sqrt(v @ v) for s, v in zip(noise, x, strict=True))

    knots = np.quantile(found, np.linspace(0, 1, 41))        # between them by monotone cubics

    def p_value(values: tuple[float, float]) -> float:
        law = interpolate.PchipInterpolator(knots, joint_box.cumulative_with_box(
            truths(values, (sds[0], sds[1])), box, knots))
        return float(stats.kstest(law(found), "uniform").pvalue)

    assert p_value(slopes) > 1e-3
    assert p_value((0.8, 0.8)) < 1e-3


@pytest.mark.long
def test_law_by_roots_one_by_one() -> None:
    """The ends of the interval of D by scipy's root finder, from the least difference by its
    search, at 601 values of J, trapezoid: 1e-6.  Broken twin: estimates of equal weight."""
    for values, sds, box in (SETTINGS[1], SETTINGS[2], SETTINGS[4]):
        found = joint_box.cumulative_with_box(truths(values, sds), box)
        assert found == pytest.approx(by_roots(values, sds, box, sds), abs=1e-6)
        assert abs(found - by_roots(values, sds, box, sds[::-1])) > 1e-3


def by_roots(values: tuple[float, float], sds: tuple[float, float], box: tuple[float, float],
             weighed: tuple[float, float]) -> float:
    (lo, hi), (s1, s2), S = box, sds, math.hypot(*sds)
    inner, D0 = s1 * s2 / S, values[0] - values[1]
    J0 = (values[0] * weighed[1] ** 2 + values[1] * weighed[0] ** 2) / S**2

    def log_share(m: float, s: float) -> float:
        m = 0.5 * (lo + hi) - abs(m - 0.5 * (lo + hi))
        return float(np.log(special.ndtr((hi - m) / s) - special.ndtr((lo - m) / s))) if (
            lo - m < 5 * s) else float(special.log_ndtr((m - lo) / s) + np.log1p(-np.exp(
                special.log_ndtr((m - hi) / s) - special.log_ndtr((m - lo) / s))))

    def difference(D: float, J: float) -> float:
        return (0.5 * (D / S) ** 2 + 0.5 * math.log(2 * math.pi * S * S) - math.log(hi - lo)
                + log_share(J + D * (s1 / S) ** 2, s1) + log_share(J - D * (s2 / S) ** 2, s2)
                - log_share(J, inner))

    J, chance = np.linspace(J0 - 8 * inner, J0 + 8 * inner, 601), []
    for j in map(float, J):
        least = optimize.minimize_scalar(difference, bounds=(-30 * S, 30 * S), args=(j,),
                                         method="bounded", options={"xatol": 1e-9}).x
        if difference(least, j) > 0.0:
            chance.append(0.0)
            continue
        ends = [optimize.brentq(difference, least, least + side * 40 * S, (j,))
                for side in (-1, 1)]
        chance.append(float(np.subtract(*special.ndtr((np.array(ends[::-1]) - D0) / S))))
    return float(np.trapezoid(np.array(chance) * stats.norm.pdf(J, J0, inner), J))


def test_walls_that_are_far_are_the_wide_law() -> None:
    """Half a noncentral chi-square, to 1e-9, in any units."""
    for values, sds in (((0.0, 0.0), (1.0, 1.0)), ((0.0, 3.0), (1.0, 0.4)),
                        ((5.0, 4.0), (0.1, 2.0))):
        pair = truths(values, sds)
        wide = joint.law_of_difference(pair, 80.0)
        levels = wide.constant + np.array([1e-3, 0.1, 1.0, 4.0, 30.0])
        exact_p = quadratic.cumulative(wide, levels)
        assert joint_box.cumulative_with_box(pair, (-40.0, 40.0), levels) == pytest.approx(
            exact_p, abs=1e-9)
        small = truths((1e-6 * values[0], 1e-6 * values[1]), (1e-6 * sds[0], 1e-6 * sds[1]))
        assert joint_box.cumulative_with_box(small, (-4e-5, 4e-5), levels) == pytest.approx(
            exact_p, abs=1e-9)
        assert joint_box.cumulative_with_box(pair, (-40.0, 40.0), wide.constant - 0.1) == 0.0


@pytest.mark.parametrize("half", [1e-2, 1e-5, 1e-9])
def test_a_box_much_smaller_than_the_likelihoods(half: float) -> None:
    """There the sets are integrated where both likelihoods rise to the same side: two independent
    normal numbers of the same sign; up to half^2.  The free energies themselves are equal to
    half^2, and float64 sees nothing of it in their difference."""
    for values, sds in (((0.3, 0.7), (1.0, 0.5)), ((-0.4, 0.5), (0.8, 1.5))):
        u = [v / s for v, s in zip(values, sds, strict=True)]
        wanted = math.prod(stats.norm.cdf(u)) + math.prod(stats.norm.cdf(-np.array(u)))
        found = joint_box.cumulative_with_box(truths(values, sds), (-half, half))
        assert found == pytest.approx(wanted, abs=half**2 + 1e-12)
        differences = simulated(values, sds, (-half, half), 20_000, 6)
        if half == 1e-9:
            assert abs(np.mean(differences < 0) - wanted) > 0.02


@pytest.mark.parametrize("half", [1e-5, 1e-8])
@pytest.mark.parametrize(("values", "sds"), [
    ((0.0, 0.0), (0.065, 4.2)), ((0.0, 0.0), (16.0, 0.11)), ((0.001, 9.4), (0.05, 13.6))])
def test_a_tiny_box_and_uneven_sets(values: tuple[float, float], sds: tuple[float, float],
                                    half: float) -> None:
    """The same where one set is a hundred times the sharper: the difference of the estimates
    decides within a layer of the sharper variance, which cuts at its standard deviation miss by up
    to 1e-5."""
    u = np.array(values) / sds
    wanted = math.prod(stats.norm.cdf(u)) + math.prod(stats.norm.cdf(-u))
    found = joint_box.cumulative_with_box(truths(values, sds), (-half, half))
    assert found == pytest.approx(wanted, abs=(half / min(sds)) ** 2 + 1e-9)


def test_both_estimates_far_below_a_box() -> None:
    """The sharper posterior lies on the lower wall, 2.5e6 standard deviations above its estimate:
    integrated where the broader likelihood is larger there than on average, its estimate in the
    first third of the box or below, to second order in the box."""
    values, sds, box = (-6877.0, -11065.0), (0.0027, 8409.0), (3.3, 12.0)
    wanted = stats.norm.cdf(((2 * box[0] + box[1]) / 3 - values[1]) / sds[1])
    found = joint_box.cumulative_with_box(truths(values, sds), box)
    assert found == pytest.approx(wanted, abs=1e-8)


def test_the_least_difference_is_never_above_zero() -> None:
    """Where both posteriors have the same mean the sets are integrated, whatever the box: 300
    designs.  Three standard deviations from there it is above zero in over a third."""
    g, above = np.random.default_rng(4), 0
    for _ in range(300):
        ratio, half = np.exp(g.normal(size=2) * (2.0, 2.0))
        pair = joint_box._Pair(np.zeros(2), np.array([1.0, ratio]) / math.hypot(1.0, ratio), half)
        J = g.normal(size=8) * (1.0 + half)
        least, D = joint_box._least(pair, J, np.zeros(8))
        assert np.all(least <= 1e-13)
        assert np.all(np.abs(pair.difference(J, D)[1]) <= 1e-3 * (1.0 + np.abs(D)))
        above += int(np.sum(pair.difference(J, D + 3.0)[0] > 0.0))
    assert above > 800


def test_one_set_that_knows_its_parameter_is_the_choice_of_an_offset() -> None:
    """To integrate with a set of no noise at zero is to leave the offset out: `theory.choice`."""
    for N, offset, xi in ((4, 0.3, 1.0), (1, 0.0, 1.0), (9, 1.2, 0.5)):
        pair = truths((0.0, offset), (1e-7, 1 / math.sqrt(N)))
        assert joint_box.cumulative_with_box(pair, (-xi, xi)) == pytest.approx(
            1 - choice.probability_with_box(N, offset, xi, 1.0), abs=1e-6)


def test_one_set_that_knows_and_one_that_does_not() -> None:
    """Standard deviations of 1e-5 and 1e5 in a box of half width 1: to first order integrated where
    u z > (u^2 - 1) / 6, u and z normal; by quadrature over u.  Values that differ by 1e-10."""
    wanted = 2 * integrate.quad(lambda u: stats.norm.pdf(u) * stats.norm.cdf((1 - u * u) / (6 * u)),
                                0, 9, epsabs=1e-12)[0]
    found = joint_box.cumulative_with_box(truths((0.0, 0.0), (1e5, 1e-5)), (-1.0, 1.0))
    assert found == pytest.approx(wanted, abs=2e-9)


def test_the_pieces_by_mpmath() -> None:
    """The difference and its slope at single points: sympy's expressions with 40 digits, and the
    integrals themselves; estimates up to 18 standard deviations outside the box."""
    steps = joint_box.derivation()
    pair_of = {s.name: s for s in steps.difference.free_symbols}
    for J, D, s1, s2, half in ((0.3, 0.4, 0.6, 0.8, 0.5), (9.0, -1.0, 0.6, 0.8, 0.5),
                               (0.01, 2.0, 0.28, 0.96, 0.02)):
        pair = joint_box._Pair(np.zeros(2), np.array([s1, s2]), half)
        with mp.workdps(120):
            S = mp.mpf(s1) ** 2 + mp.mpf(s2) ** 2
            ones = (J + D * mp.mpf(s1) ** 2 / S, J - D * mp.mpf(s2) ** 2 / S)

            def moments(squares: list[tuple[Any, Any]], half: float = half) -> tuple[Any, Any]:
                """ln of the evidence, from the largest density (quad's tolerance is absolute), and
                the mean."""
                def exponent(t: Any) -> Any:
                    return -mp.fsum((t - m) ** 2 / (2 * mp.mpf(s) ** 2) for m, s in squares)

                edges = mp.linspace(-half, half, 9)
                top = max(exponent(t) for t in edges)
                Z, first = (mp.quad(lambda t, k=k: t**k * mp.exp(exponent(t) - top), edges)
                            for k in (0, 1))
                return top + mp.log(Z / (2 * mp.mpf(half))), first / Z

            one, two = [(ones[0], s1)], [(ones[1], s2)]
            with mp.workdps(30):
                both, first, second = (moments(q) for q in (one + two, one, two))
                wanted = float(first[0] + second[0] - both[0])
                apart = float(first[1] - second[1])
        at = {"J": J, "D": D, "s_1": s1, "s_2": s2, "lo": -half, "hi": half}
        values = {symbol: at[name] for name, symbol in pair_of.items()}
        # The derivation's own digits, where the shares do not cancel.
        symbolic = [complex(e.subs(values).evalf(40, maxn=2000)).real
                    for e in (steps.difference, steps.slope)]
        assert symbolic == pytest.approx([wanted, apart / float(S)], rel=1e-9, abs=1e-12)
        Js, Ds = np.array([J]), np.array([D])
        found = [float(v[0]) for v in pair.difference(Js, Ds)]
        assert found[0] == pytest.approx(wanted, rel=1e-11, abs=1e-13)
        assert found[1] == pytest.approx(apart, rel=1e-10, abs=1e-13)


def test_the_slope_is_the_difference_of_the_means_and_both_evidences_are_integrals() -> None:
    steps = joint_box.derivation()
    at: dict[str, Any] = {"J": 0.3, "D": 0.7, "s_1": 0.6, "s_2": 1.1, "lo": -0.4, "hi": 0.9}

    def number(expression: Any, **more: Any) -> float:
        values = {**at, **more}
        at_names = {q: values[q.name] for q in expression.free_symbols}
        return float(expression.subs(at_names).evalf(25))

    S = 0.6**2 + 1.1**2
    ones = (0.3 + 0.7 * 0.6**2 / S, 0.3 - 0.7 * 1.1**2 / S)
    means = [number(steps.mean, m=m, s=s) for m, s in zip(ones, (0.6, 1.1), strict=True)]
    assert number(steps.slope) == pytest.approx((means[0] - means[1]) / S, rel=1e-12)
    t = np.linspace(-0.4, 0.9, 200_001)
    L = [np.exp(-0.5 * ((t - m) / s) ** 2) for m, s in zip(ones, (0.6, 1.1), strict=True)]
    Z = [np.trapezoid(q, t) / 1.3 for q in (*L, L[0] * L[1])]
    assert [number(steps.separate, m=m, s=s) for m, s in zip(ones, (0.6, 1.1), strict=True)] == \
        pytest.approx(Z[:2], rel=1e-9)
    assert number(steps.together) == pytest.approx(Z[2], rel=1e-9)
    assert number(steps.difference) == pytest.approx(-math.log(Z[2] / Z[0] / Z[1]), rel=1e-8)
    assert np.trapezoid(t * L[0], t) / np.trapezoid(L[0], t) == pytest.approx(means[0], rel=1e-8)


BAD = {
    "three": (lambda: joint_box.cumulative_with_box(truths((0, 0), (1, 1)) * 2, (-1, 1)),
              "truths: received 4"),
    "two parameters": (lambda: joint_box.cumulative_with_box(
        [Estimate(np.zeros(2), np.eye(2))] * 2, (-1, 1)), r"truths\[0\]: .*one parameter"),
    "no estimate": (lambda: joint_box.cumulative_with_box([0.0, 1.0], (-1, 1)), r"truths\[0\]"),
    "box": (lambda: joint_box.cumulative_with_box(truths((0, 0), (1, 1)), (1, -1)), "box: "),
    "no variance": (lambda: joint_box.cumulative_with_box(
        [Estimate(np.zeros(1), np.zeros((1, 1)))] * 2, (-1, 1)), r"truths\[0\]"),
    "far": (lambda: joint_box.cumulative_with_box(truths((1e200, 0), (1, 1)), (-1, 1)),
            "choose other units"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_its_field(name: str) -> None:
    call, pattern = BAD[name]
    with pytest.raises(DomainError, match=pattern):
        call()
