"""Measured patterns: lines of structures, columns, and the search over groups of columns.

What a run of exchange Monte Carlo must give is enumerated: every combination of groups, columns and
noise, its evidence from the n x n covariance of the data and the probability that all amounts are
positive.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import cauchy, multivariate_normal, norm, truncnorm

from experiments import crystal_phases_measured as measured
from experiments import grouped_search, results
from experiments.grouped_search import Prior, exchange, mean_field, products, spaced
from experiments.paths import data_file
from experiments.powder_profiles import (
    HEAD,
    MEAN,
    Lines,
    Variant,
    columns,
    indices,
    lattice,
    profile,
    read_lines,
    variants,
)
from sampler import InputError

LIBRARY = data_file("xrd/reference_lines.csv")
N, SIZES, F = 30, (3, 2, 2), 0.6
PRIOR = Prior(0.3, 1.5, (0.25, 0.35, 0.5))


# ---- lines --------------------------------------------------------------------------------------


def test_every_line_of_the_library_is_where_its_indices_put_it() -> None:
    """Two routes to an angle: as listed, and from hkl with the constants of the crystal system.

    56 structures, 3,372 lines, listed to 1e-4 degrees: a wrong sign, a wrong system or swapped
    indices move lines by a thousand times as much (next test).
    """
    library = read_lines(LIBRARY)
    assert len(library) == 56
    assert sum(len(lines.two_theta) for lines in library.values()) == 3372
    for lines in library.values():
        terms, coefficients, _ = lattice(lines)
        angle = 2.0 * np.degrees(np.arcsin(0.5 * MEAN * np.sqrt(terms @ coefficients)))
        assert np.abs(angle - lines.two_theta).max() < 1e-4
        assert lines.intensity.max() == pytest.approx(100.0, abs=1e-3)


def test_wrong_indices_are_seen() -> None:
    """Broken twin: h and l exchanged, in anatase."""
    lines = read_lines(LIBRARY)["TiO2_141"]
    terms, coefficients, _ = lattice(replace(lines, hkl=lines.hkl[:, ::-1]))
    sine = 0.5 * MEAN * np.sqrt(np.maximum(terms @ coefficients, 0.0))
    assert np.abs(2.0 * np.degrees(np.arcsin(sine)) - lines.two_theta).max() > 0.1


@pytest.mark.parametrize(("row", "words"), [
    ("MnO,225,34.97,61.7", "4 cells"),
    ("MnO,225,34.97,61.7,111,1", "6 cells"),
    ("MnO,cubic,34.97,61.7,111", "numbers in cells 2, 3 and 4"),
    ("MnO,225,nan,61.7,111", "an angle between 0 and 180"),
    ("MnO,225,34.97,inf,111", "an intensity > 0"),
    ("MnO,225,34.97,-1,111", "an intensity > 0"),
    ("MnO,231,34.97,61.7,111", "a space group from 1 to 230"),
    (",225,34.97,61.7,111", "a name"),
    ("MnO,225,34.97,61.7,11", "three or four Miller indices"),
    ("MnO,225,34.97,61.7,000", "not all 0"),
    ("MnO,225,34.97,61.7,11-1", "three or four Miller indices"),
    ("MnO2,164,34.97,61.7,1011", r"h \+ k \+ i = 0")])
def test_what_is_no_line_is_refused_with_its_place(row: str, words: str, tmp_path: Path) -> None:
    table = tmp_path / "lines.csv"
    table.write_text(f"# comment\n{HEAD}\nMnO,225,40.6,100,200\n{row}\n")
    with pytest.raises(InputError, match=words) as refusal:
        read_lines(table)
    assert "lines.csv, line 4" in str(refusal.value)


@pytest.mark.parametrize(("text", "words"), [("", "one line or more"), ("phase,hkl\n", HEAD)])
def test_a_table_without_lines_or_head_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "lines.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_lines(tmp_path / "lines.csv")


def test_rhombohedral_axes_become_hexagonal() -> None:
    """(1 0 -1) of a rhombohedron is (1 1 0) of its hexagonal cell, a plane along c."""
    assert indices("10(-1)") == (1, 0, -1)
    lines = read_lines(LIBRARY)["TiMnO3_161"]
    place = int(np.argmin(np.abs(lines.two_theta - 34.5168)))      # listed as 10(-1)
    assert lines.hkl[place].tolist() == [1.0, 1.0, 0.0]


# ---- columns ------------------------------------------------------------------------------------


def by_hand(x: np.ndarray, a: float, c: float, width: float, mixing: float) -> np.ndarray:
    """A tetragonal structure of two lines, typed a second time: 101 of area 60, 004 of area 100."""
    total = np.zeros(len(x))
    for (h, k, l), area in (((1, 0, 1), 60.0), ((0, 0, 4), 100.0)):      # noqa: E741
        d = 1.0 / math.sqrt((h * h + k * k) / a**2 + l * l / c**2)
        for wavelength, share in ((1.54056, 2.0), (1.54439, 1.0)):
            theta = math.asin(wavelength / (2.0 * d))
            fwhm = width / math.cos(theta)
            center = math.degrees(2.0 * theta)
            lorentz = cauchy(center, fwhm / 2.0)
            gauss = norm(center, fwhm / (2.0 * math.sqrt(2.0 * math.log(2.0))))
            # Shares of the height, as in `sampler.shapes`: both laws are of area 1.
            shares = mixing / lorentz.pdf(center), (1.0 - mixing) / gauss.pdf(center)
            total += share * area * (shares[0] * lorentz.pdf(x) + shares[1] * gauss.pdf(x)) / sum(
                shares)
    return total / total.max()


def two_lines(a: float, c: float) -> Lines:
    """The same as a table would have it."""
    hkl = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 4.0]])
    d = 1.0 / np.sqrt((hkl[:, 0] ** 2 + hkl[:, 1] ** 2) / a**2 + hkl[:, 2] ** 2 / c**2)
    return Lines(139, 2.0 * np.degrees(np.arcsin(MEAN / 2.0 / d)), np.array([60.0, 100.0]), hkl)


@pytest.mark.parametrize(("scale", "strain"), [(0.0, 0.0), (3e-3, 0.0), (-2e-3, 8e-3)])
def test_a_column_is_the_pattern_typed_by_hand(scale: float, strain: float) -> None:
    x, (a, c) = np.linspace(15.0, 60.0, 1501), (3.8, 9.5)
    column = profile(x, two_lines(a, c), Variant(0.2, scale, strain), 0.55)
    twin = by_hand(x, a * (1 + scale), c * (1 + scale) * (1 + strain), 0.2, 0.55)
    np.testing.assert_allclose(column, twin, rtol=0, atol=1e-12)
    # Broken twins: the strain on a, and one wavelength in place of two.
    wrong = by_hand(x, a * (1 + scale) * (1 + strain + 1e-3), c * (1 + scale), 0.2, 0.55)
    assert np.abs(column - wrong).max() > 1e-3


def test_variants_and_their_places() -> None:
    """A cubic structure has no strains; columns stand in the order of the structures."""
    library = read_lines(LIBRARY)
    some = {n: library[n] for n in ("MnO_225", "TiO2_141")}
    grid = {0.1: (np.array([-1e-3, 0.0, 1e-3]), np.zeros(1)),
            0.5: (np.zeros(1), np.array([-1e-2, 0.0, 1e-2]))}
    x = np.linspace(10.0, 100.0, 901)
    X, first, ways = columns(x, some, grid, 0.55)
    assert first.tolist() == [0, 4, 10] and X.shape == (901, 10) and len(ways) == 10
    assert {v.strain for v in ways[:4]} == {0.0}
    assert variants(some["TiO2_141"], grid) == ways[4:]
    np.testing.assert_array_equal(X[:, 7], profile(x, some["TiO2_141"], ways[7], 0.55))
    np.testing.assert_allclose(X.max(axis=0), 1.0)


def test_the_grid_of_the_experiment() -> None:
    """Steps of half a width at 60 degrees or a fifth more, 0 among them, and the reach as said; the
    coarsest two have their least number of steps."""
    grid = measured.grid(measured.SETTINGS.widths, measured.SETTINGS)
    assert [(len(s), len(e)) for s, e in grid.values()] == [(15, 1), (9, 1), (7, 1), (3, 7), (3, 5)]
    for s, e in grid.values():
        assert 0.0 in s and s.max() == -s.min() == 4.5e-3
        assert 0.0 in e and e.max() in (0.0, 1.05e-2)


# ---- the search ---------------------------------------------------------------------------------


def problem(seed: int, amounts: tuple[float, ...] = (0.9, 0.0, 0.0, 0.0, 0.0, 0.35, 0.0)
            ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Three groups of overlapping columns, a sloping background, weights that differ."""
    g = np.random.default_rng(seed)
    first = np.concatenate([[0], np.cumsum(SIZES)])
    x = np.linspace(0.0, 1.0, N)
    X = np.exp(-0.5 * ((x[:, None] - g.uniform(0.1, 0.9, first[-1])) / 0.15) ** 2)
    background = np.stack([np.ones(N), x], axis=1)
    sd = 0.7 + 0.6 * x
    y = X @ np.array(amounts) + 1.0 + 0.35 * sd * g.normal(size=N)
    return products(X, y, sd, background, first), X, y, sd, background


def enumerated(X: np.ndarray, y: np.ndarray, sd: np.ndarray, background: np.ndarray, f: float,
               prior: Prior, positive: bool = True) -> tuple[float, np.ndarray, np.ndarray]:
    """ln Z, inclusions and the law of s over all combinations.

    Data without their background are c = Q' (y/sd), Q a basis of what is orthogonal to it.  A
    normal likelihood to the power f is one of variance s2/f, times a constant; with amounts
    N(0, tau2) the data are normal with the covariance (s2/f) 1 + tau2 X'X; given the data amounts
    are normal, and half-normal priors count the orthant, 2**k times.
    """
    q = np.linalg.svd(background / sd[:, None])[0][:, background.shape[1]:]
    A, c = q.T @ (X / sd[:, None]), q.T @ (y / sd)
    n, tau2 = len(c), prior.amount**2
    first = np.concatenate([[0], np.cumsum(SIZES)])
    choices = [[None, *range(first[k], first[k + 1])] for k in range(len(SIZES))]
    logs, groups, levels = [], [], []
    for level, s in enumerate(prior.noise):
        v = s**2 / f
        for state in itertools.product(*choices):
            on = [j for j in state if j is not None]
            C = v * np.eye(n) + tau2 * A[:, on] @ A[:, on].T
            log = multivariate_normal(np.zeros(n), C).logpdf(c)
            log += 0.5 * n * math.log(2.0 * math.pi * v) - f * n * math.log(s)
            if on and positive:
                S = np.linalg.inv(A[:, on].T @ A[:, on] / v + np.eye(len(on)) / tau2)
                mean = S @ A[:, on].T @ c / v
                log += len(on) * math.log(2.0) + math.log(
                    multivariate_normal(np.zeros(len(on)), S).cdf(mean))
            for k, j in enumerate(state):
                log += (math.log(1.0 - prior.present) if j is None
                        else math.log(prior.present / SIZES[k]))
            logs.append(log)
            groups.append([j is not None for j in state])
            levels.append(level)
    w = np.exp(np.array(logs) - max(logs))
    total = w.sum()
    law = np.bincount(levels, w, len(prior.noise)) / total
    return max(logs) + math.log(total), w / total @ np.array(groups, dtype=float), law


def run(data: Any, f: float = F, **changes: Any) -> Any:
    """A short search whose cold end is f, f/2 among the rungs."""
    return exchange(data, PRIOR, (f / 2, f), **{"rungs": 5, "sweeps": 20_000, "rounds": 4,
                                                "seed": 3, **changes})


def standard_errors(data: Any, exact: np.ndarray, f: float = F, **changes: Any) -> np.ndarray:
    """Distances of the inclusions from the exact ones at f, in their errors."""
    p, error = measured.inclusion(run(data, f, **changes).present)
    return np.asarray(np.abs(p[1] - exact) / error[1])


@pytest.mark.parametrize("seed", range(3))
def test_exchange_gives_the_enumerated_probabilities(seed: int) -> None:
    """20,000 sweeps, two powers, three groups and the mean of s, each within 4 standard errors:
    24 numbers in all, a false alarm in 600 runs.  The next tests have its broken twins."""
    data, *rest = problem(seed)
    found = run(data)
    p, error = measured.inclusion(found.present)
    for q, f in enumerate((F / 2, F)):
        _, exact, law = enumerated(*rest, f, PRIOR)
        assert np.all(np.abs(p[q] - exact) < 4.0 * error[q])
        assert np.all(error[q] < 0.02)
        s = np.array(PRIOR.noise)
        spread = math.sqrt(float(law @ s**2 - (law @ s) ** 2))
        # The noise is redrawn in every sweep; 20 sweeps to forget is more than it takes.
        assert abs(found.noise[q, 0] - law @ s) < 4.0 * spread * math.sqrt(20.0 / 20_000)


@pytest.mark.parametrize("broken", ["signs", "power", "prior"])
def test_broken_twins_are_seen(broken: str) -> None:
    """Amounts of either sign, the power forgotten, groups weighted by their columns: the same
    comparison is off by more than 4 standard errors."""
    data, *rest = problem(0)
    if broken == "signs":
        _, exact, _ = enumerated(*rest, F, PRIOR, positive=False)
    elif broken == "power":
        _, exact, _ = enumerated(*rest, 1.0, PRIOR)
    else:
        _, exact, _ = enumerated(*rest, F, replace(PRIOR, present=0.45))
    assert standard_errors(data, exact).max() > 4.0


def test_a_trade_alone_keeps_the_law() -> None:
    """Five trades in each sweep instead of one: the same law; with none, too."""
    data, *rest = problem(1)
    _, exact, _ = enumerated(*rest, F, PRIOR)
    assert np.all(standard_errors(data, exact, trades=5) < 4.0)
    assert np.all(standard_errors(data, exact, trades=0) < 4.0)


def test_the_prior_is_the_hot_end() -> None:
    """A power of almost 0: 20,000 sweeps give the prior, within 4 standard errors (3 numbers)."""
    data, *_ = problem(2)
    assert np.all(standard_errors(data, np.full(3, PRIOR.present), f=1e-9) < 4.0)


def test_the_same_seed_gives_the_same_run() -> None:
    data, *_ = problem(0)
    one, two = run(data, sweeps=200), run(data, sweeps=200)
    assert np.array_equal(one.present, two.present) and np.array_equal(one.misfit, two.misfit)
    assert not np.array_equal(one.misfit, run(data, sweeps=200, seed=4).misfit)


@pytest.mark.parametrize("mean", [-6.0, -0.4, 0.5])
def test_positive_amounts(mean: float) -> None:
    """40,000 numbers by both branches, mean within 4 standard errors of SciPy's; the unbounded
    mean is the broken twin."""
    rng = np.random.default_rng(11)
    draws = np.array([grouped_search._positive_normal(mean, 0.8, rng) for _ in range(40_000)])
    law = truncnorm(-mean / 0.8, np.inf, loc=mean, scale=0.8)
    assert draws.min() > 0.0
    assert abs(draws.mean() - law.mean()) < 4.0 * law.std() / 200.0
    assert abs(draws.mean() - mean) > 4.0 * law.std() / 200.0


def test_odds_of_a_column_by_quadrature() -> None:
    """The compiled odds against the integral over the amount; also where Phi is tiny, and where
    exp(z**2/2) would overflow (in logs, by the law of the largest)."""
    tau = 1.5
    for z in (-30.0, -9.0, -7.9, -2.0, 0.0, 3.0, 7.0):
        a = 4.0
        b = z * math.sqrt(a)
        exact = quad(lambda h, a=a, b=b: 2.0 * norm.pdf(h, 0.0, tau) * math.exp(
            b * h - 0.5 * (a - tau**-2) * h * h), 0.0, max(0.5, 40.0 / abs(b + 1e-9)) if z < -5
            else 8.0 + z, epsabs=0.0, epsrel=1e-10, limit=500)[0]
        weight = np.zeros(1)
        top = grouped_search._weigh(0, 1, 0, np.full(1, -1), np.zeros(1), np.eye(1), np.array([b]),
                                    np.array([1.0 / math.sqrt(a)]),
                                    np.array([2.0 / (tau * math.sqrt(a))]), weight)
        assert weight[0] * math.exp(top) == pytest.approx(exact, rel=2e-6)
    top = grouped_search._weigh(0, 1, 0, np.full(1, -1), np.zeros(1), np.eye(1), np.array([1000.0]),
                                np.ones(1), np.ones(1), weight)
    assert top == 500_000.0 and weight[0] == pytest.approx(1.0)


def test_rungs_are_shared_out_by_the_barrier() -> None:
    """Powers stay; where swaps fail rungs gather, and between powers the barrier is even."""
    ladder, powers = np.array([0.0, 0.1, 0.2, 0.4, 0.8]), np.array([0.2, 0.8])
    new = spaced(ladder, np.array([0.2, 0.2, 0.9, 0.9]), powers, 7)
    assert len(new) == 7 and np.all(np.diff(new) > 0) and {0.0, 0.2, 0.8} <= set(new)
    assert np.sum(new < 0.2) > np.sum(new > 0.2)
    even = new[new <= 0.2]
    np.testing.assert_allclose(np.diff(even), np.diff(even)[0])


# ---- mean field ---------------------------------------------------------------------------------


def test_the_mean_field_is_exact_where_groups_do_not_overlap() -> None:
    """Orthogonal groups, one noise: the posterior is a product, and every number is enumerated."""
    g = np.random.default_rng(5)
    basis = np.linalg.qr(g.normal(size=(N, 7)))[0]
    X = np.empty((N, 7))
    for begin, size in zip((0, 3, 5), SIZES, strict=True):      # overlap within a group only
        X[:, begin:begin + size] = basis[:, begin:begin + size] @ (
            np.eye(size) + 0.5 * g.uniform(size=(size, size)))
    y = 0.9 * X[:, 0] + 0.5 * X[:, 5] + 0.35 * g.normal(size=N)
    prior, none = replace(PRIOR, noise=(0.35,)), np.zeros((N, 0))
    first = np.concatenate([[0], np.cumsum(SIZES)])
    data = products(X, y, np.ones(N), none, first)
    _, exact, _ = enumerated(X, y, np.ones(N), none, F, prior)
    found = mean_field(data, prior, F)
    np.testing.assert_allclose(found.inclusion, exact, atol=1e-6)
    assert np.ptp(exact) > 0.1
    assert np.abs(mean_field(data, prior, 1.0).inclusion - exact).max() > 1e-3


def test_the_mean_field_knows_the_mean_sum_of_squares() -> None:
    """200,000 draws from the product law against the formula, within 4 standard errors; with
    products of two columns of one group, as if both could be present, it is far off."""
    data, *_ = problem(0)
    g = np.random.default_rng(7)
    alpha = np.array([0.3, 0.2, 0.1, 0.5, 0.2, 0.3, 0.6])
    mean, spread = np.linspace(0.5, 1.5, 7), 0.2
    draws = np.zeros((200_000, 7))
    for k in range(3):
        part = range(int(data.first[k]), int(data.first[k + 1]))
        p = [alpha[j] for j in part]
        chosen = g.choice([*part, -1], size=len(draws), p=[*p, 1.0 - sum(p)])
        for j in part:
            draws[chosen == j, j] = g.normal(mean[j], spread, int((chosen == j).sum()))
    left = (data.square - 2.0 * draws @ data.pull
            + np.einsum("ij,ij->i", draws @ data.gram, draws))
    omega, second = alpha * mean, alpha * (mean**2 + spread**2)
    noise = np.array([0.9, 1.1])
    law = grouped_search._noise_law(data, omega, second, omega @ data.gram, noise, F)
    # The two probabilities tell the sum of squares that they were made of.
    log_odds = math.log(law[1] / law[0])
    change = 0.5 * F * (noise[0] ** -2 - noise[1] ** -2)
    implied = (log_odds + F * data.points * math.log(noise[1] / noise[0])) / change
    error = left.std() / math.sqrt(len(left))
    assert abs(implied - left.mean()) < 4.0 * error
    both = data.square - 2.0 * omega @ data.pull + omega @ data.gram @ omega
    assert abs(both - left.mean()) > 4.0 * error


# ---- the experiment -----------------------------------------------------------------------------


def test_products_are_those_of_what_the_background_leaves() -> None:
    """Least squares against the products: the sum of squares left by two columns."""
    data, X, y, sd, background = problem(1)
    design = np.column_stack([background, X[:, [0, 5]]]) / sd[:, None]
    left = np.linalg.lstsq(design, y / sd, rcond=None)[1][0]
    G, b = data.gram[np.ix_([0, 5], [0, 5])], data.pull[[0, 5]]
    assert data.square - b @ np.linalg.solve(G, b) == pytest.approx(left, rel=1e-9)
    assert data.points == N - 2


def test_the_power_repeats_itself() -> None:
    """f = 1/tau_int of the residual at f: to one part in fifty, for MnO with a few candidates."""
    settings = measured.QUICK
    x, _ = measured.measured("MnO", settings)
    X, first, _ = columns(x, measured.candidates(settings),
                          measured.grid(settings.widths, settings), settings.mixing)
    problem = measured.pattern("MnO", X, first, settings)
    f = measured.power(problem, 0.01)
    found = mean_field(problem.data, problem.prior, f)
    assert f * problem.correlation_length(found.amounts) == pytest.approx(1.0, abs=0.02)
    assert found.inclusion[0] > 0.95


def test_tracked_claims_can_fail() -> None:
    """Broken twins: each turns red what it is about."""
    stored = results.load("crystal_phases_measured")

    def fails(**changes: Any) -> list[str]:
        return [c.claim for c in measured.check(replace(stored, **changes)) if c.holds is False]

    assert not fails()
    lost, extra = stored.inclusion.copy(), stored.inclusion.copy()
    lost[1, 0, stored.names.index("Mn2O3_206")] = 0.9
    extra[3, 2, stored.names.index("MnO2_136")] = 0.06
    assert len(fails(inclusion=lost)) == 1 and "lowest" in fails(inclusion=lost)[0]
    assert len(fails(inclusion=extra)) == 1 and "any other" in fails(inclusion=extra)[0]
    white = stored.mean_field.copy()
    white[:, 3] = white[:, 1]
    assert len(fails(mean_field=white)) == 1
    assert len(fails(lowest_swap_rate=stored.lowest_swap_rate * 0.1)) == 1
    assert len(fails(round_trips=stored.round_trips * 0.0)) == 1
