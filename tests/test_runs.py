"""The run: equal bits, the straight line against its exact answer, and what a ladder may be.

The statistical test draws 100 runs (5 settings x 20 seeds, seeds fixed before looking).
"""

import dataclasses
import math
import threading
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statistics_helpers import within

from sampler import (
    Data,
    InputError,
    Ladder,
    Model,
    Normal,
    Posterior,
    Run,
    diagnose,
    free_energy,
    metropolis,
    resume,
    sample,
    shapes,
)
from sampler.evidence import normal_score
from sampler.ladder import equalised, first_ladder, swap_acceptance
from theory import box, evidence, exchange_rate
from theory.box import BoxLine
from theory.evidence import LinearRegression

X = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
Y = np.array([0.3, 1.1, 2.4, 2.7, 4.5, 6.2])
PEAK = Posterior(
    Model.single(shapes.constant, offset=(-1, 1)) + Model.repeated(
        2, shapes.gaussian, height=(0, 3), center=(0, 6), width=(0.5, 4)),
    Data(np.linspace(0, 6, 40), np.exp(-((np.linspace(0, 6, 40) - 2.5) ** 2)), noise=0.1))


def line(x: Any, y: Any, noise: float, slope: Any, offset: Any) -> Posterior:
    return Posterior(Model.single(shapes.linear, slope=slope, offset=offset),
                     Data(x, y, noise=noise))


def gaussian(x: Any, y: Any, noise: float, slope_sd: float, offset_sd: float) -> Any:
    """The sampler's problem and its exact F: normal priors."""
    exact = LinearRegression(np.stack([x, np.ones(len(x))], 1), y, noise, 0.0,
                             [slope_sd**2, offset_sd**2])
    return (line(x, y, noise, Normal(0, slope_sd), Normal(0, offset_sd)),
            evidence.free_energy(exact))


def boxed(x: Any, y: Any, noise: float, slope: Any, offset: Any) -> Any:
    """The same with box priors, walls included."""
    return line(x, y, noise, slope, offset), box.free_energy(BoxLine(x, y, noise, slope, offset))


SETTINGS = {
    "wide": gaussian(X, Y, 0.5, 10.0, 10.0),
    "wall": boxed(X, Y, 0.5, (-1.0, 1.0), (-1.0, 1.0)),        # the estimate sits on the wall
    "correlated": boxed(X + 20.0, Y, 0.5, (-5.0, 5.0), (-100.0, 100.0)),
    "small sigma": gaussian(X, Y, 0.01, 2.0, 1.0),
    "two points": gaussian(X[:2], Y[:2], 0.5, 2.0, 1.0),
}
SEEDS = range(20)
SWEEPS, CHAINS = 1500, 4


@pytest.fixture(scope="module")
def campaign() -> dict[str, Any]:
    """value, error and freedom of F for each estimator, setting and seed."""
    out: dict[str, Any] = {"BAR": {}, "bridge": {}}
    for k, (name, (posterior, exact)) in enumerate(SETTINGS.items()):
        rows = []
        for seed in SEEDS:
            found = free_energy(sample(posterior, SWEEPS, burn_in=1000, chains=CHAINS,
                                       seed=1000 * k + seed))
            assert found.bridge is not None
            rows.append(((found.bar, found.bar_error, 2 * CHAINS - 1),
                         (found.bridge, found.bridge_error, 3)))
        for which, table in zip(("BAR", "bridge"), np.moveaxis(np.array(rows), 1, 0), strict=True):
            out[which][name] = (table, exact)
    return out


def scores(campaign: dict[str, Any], factor: float = 1.0) -> np.ndarray:
    """Normal scores of (F - exact) / error, all settings; ``factor`` plants a wrong error."""
    return np.concatenate([
        [normal_score((value - exact) / (factor * error), int(freedom))
         for value, error, freedom in rows] for rows, exact in campaign.values()])


@pytest.mark.slow      # test_straight_line asks the same of other settings with every test run
@pytest.mark.parametrize("estimator", ["BAR", "bridge"])
def test_claimed_errors_of_f_are_right_on_the_straight_line(campaign: dict[str, Any],
                                                            estimator: str) -> None:
    """Sum of 100 squared scores against chi-square, p in [0.001, 0.999] (false alarm 0.2 %);
    mean score within 0.35 (3.5 standard errors: 5e-4); claimed error within 20 % of the scatter
    (standard error of a scatter over 100 runs: 7 %; false alarm 0.5 %)."""
    campaign = campaign[estimator]
    z = scores(campaign)
    assert 0.001 < stats.chi2.sf(np.sum(z**2), len(z)) < 0.999
    assert abs(z.mean()) < 0.35
    scatter = math.sqrt(np.mean([np.mean((rows[:, 0] - exact) ** 2)
                                 / np.mean(rows[:, 1] ** 2) for rows, exact in campaign.values()]))
    # The larger of two estimates is claimed: its mean square exceeds the variance of F.
    nu = 7 if estimator == "BAR" else 3
    caution = np.mean(np.maximum(1.0, np.random.default_rng(0).chisquare(nu, 10**6) / nu))
    assert 0.8 < scatter * math.sqrt(caution) < 1.2


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["BAR", "bridge"])
def test_errors_half_or_twice_as_large_are_caught(campaign: dict[str, Any],
                                                  estimator: str) -> None:
    """Broken twins of the test above."""
    campaign = campaign[estimator]
    for factor in (0.5, 2.0):
        z = scores(campaign, factor)
        assert not 0.001 < stats.chi2.sf(np.sum(z**2), len(z)) < 0.999
    shifted = {name: (rows, exact - 0.5 * rows[:, 1].mean())
               for name, (rows, exact) in campaign.items()}
    assert abs(scores(shifted).mean()) > 0.35


def test_exchange_rate_of_every_rung_is_the_exact_one() -> None:
    """Two exact laws (Gil-Pelaez for the normal prior, a double integral for the box), 39 and 11
    pairs of rungs, |z| < 4 for each: false alarm 0.3 % for all."""
    from experiments.straight_line import exchange_rates

    problem = LinearRegression(np.stack([X, np.ones(6)], 1), Y, 0.5, 0.0, [4.0, 1.0])
    run = sample(line(X, Y, 0.5, Normal(0, 2), Normal(0, 1)), 8000, burn_in=1000, seed=5,
                 ladder=Ladder.geometric(20, 2.0))
    exact = [exchange_rate.acceptance(lambda b: evidence.log_partition(problem, b), hot, cold)
             for hot, cold in zip(run.betas, run.betas[1:], strict=False)]
    rate, error = exchange_rates(run)
    assert within(rate, exact, error)
    assert within(run.swap_rate, exact, 1.3 * error)      # counted swaps scatter more
    shifted = [exchange_rate.power_law(1.0, 2.0)] * len(exact)
    assert not within(rate, shifted, error)               # the infinite prior's law is caught

    walled = BoxLine(X, Y, 0.5, (-1.0, 1.0))
    run = sample(line(X, Y, 0.5, (-1.0, 1.0), 0.0), 8000, burn_in=1000, seed=6,
                 ladder=Ladder.geometric(12, 2.0))
    exact = [box.acceptance(walled, hot, cold)
             for hot, cold in zip(run.betas, run.betas[1:], strict=False)]
    rate, error = exchange_rates(run)
    assert within(rate, exact, error)
    wide = [box.acceptance(BoxLine(X, Y, 0.5, (-10.0, 10.0)), hot, cold)
            for hot, cold in zip(run.betas, run.betas[1:], strict=False)]
    assert not within(rate, wide, error)


def test_one_peak_of_nagata_by_quadrature() -> None:
    """F(1) = 367.2867 (quadrature over three parameters), within 4 claimed errors."""
    from experiments.nagata2012_number_of_peaks import SETTINGS as PAPER
    from experiments.nagata2012_number_of_peaks import posterior

    found = free_energy(sample(posterior(1, PAPER), 4000, burn_in=2000, seed=11))
    assert within(found.reduced, 367.2867, found.error)
    assert found.error < 0.1
    assert not within(found.reduced, 367.2867 + 8 * found.error, found.error)


@pytest.mark.long
def test_one_peak_of_nagata_second_route() -> None:
    """The quadrature itself: height in closed form is not needed, a grid of 3 x 61 points on
    +-8 posterior standard deviations does it to four digits."""
    from experiments.nagata2012_number_of_peaks import SETTINGS as PAPER
    from experiments.nagata2012_number_of_peaks import posterior

    problem = posterior(1, PAPER)
    draws = sample(problem, 1500, burn_in=1500, seed=12).draws.reshape(-1, 3)
    mean, root = draws.mean(0), np.linalg.cholesky(np.cov(draws.T))
    z = np.linspace(-8, 8, 61)
    grid = np.stack(np.meshgrid(z, z, z, indexing="ij"), -1).reshape(-1, 3) @ root.T + mean
    log_p = np.concatenate([problem.log_prior(part) - problem.energy(part)
                            for part in np.array_split(grid, 60)])
    cell = (z[1] - z[0]) ** 3 * np.prod(np.diag(root))
    top = log_p.max()
    assert -(top + math.log(np.exp(log_p - top).sum() * cell)) == pytest.approx(367.2867, abs=2e-3)


# --- equal bits --------------------------------------------------------------------------------


def same(a: Run, b: Run) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name))
               for name in ("betas", "energy", "replica", "draws", "steps"))


def test_equal_seeds_give_equal_bits_on_any_number_of_threads() -> None:
    runs = [sample(PEAK, 300, burn_in=200, seed=4, threads=threads) for threads in (1, 2, 4)]
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])
    assert not same(runs[0], sample(PEAK, 300, burn_in=200, seed=5))


def test_equal_bits_however_the_run_is_cut() -> None:
    """200 sweeps, then 1, then 63 and 36: over a rebuild of the columns, which falls on multiples
    of 64 whatever the cuts are."""
    whole = sample(PEAK, 300, burn_in=200, seed=4)
    part = sample(PEAK, 200, burn_in=200, seed=4)
    for more in (1, 63, 36):
        part = resume(part, more)
    assert same(whole, part)
    assert part.sweeps == 300


def test_the_callers_generator_and_arrays_stay_untouched() -> None:
    x, y = X.copy(), Y.copy()
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    sample(line(x, y, 0.5, (-5, 5), (-5, 5)), 100, burn_in=100)
    assert np.array_equal(np.random.get_state()[1], before)
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)


def test_runs_in_two_threads_do_not_disturb_each_other() -> None:
    alone = [sample(PEAK, 200, burn_in=100, seed=s) for s in (1, 2)]
    together: dict[int, Run] = {}
    workers = [threading.Thread(target=lambda s=s: together.update(
        {s: sample(PEAK, 200, burn_in=100, seed=s)})) for s in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert same(alone[0], together[1])
    assert same(alone[1], together[2])


@pytest.mark.long
def test_interrupted_while_counting_returns_a_valid_run_that_resume_completes() -> None:
    def press(done: int, total: int, words: str) -> None:
        if words == "counting":
            raise KeyboardInterrupt

    whole = sample(PEAK, 40_000, burn_in=200, seed=4)
    part = sample(PEAK, 40_000, burn_in=200, seed=4, progress=press)
    assert part.stopped == "interrupted"
    assert 0 < part.sweeps < 40_000
    assert same(whole, resume(part, 40_000 - part.sweeps))


def test_interrupted_in_burn_in_is_an_interrupt() -> None:
    def press(done: int, total: int, words: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(PEAK, 40_000, burn_in=40_000, progress=press)


# --- control -----------------------------------------------------------------------------------


def test_until_stops_at_the_wanted_error_and_trusted() -> None:
    run = sample(line(X, Y, 0.5, (-5, 5), (-5, 5)), until=0.05, seed=2)
    assert free_energy(run).error <= 0.05
    assert diagnose(run).trusted
    assert run.stopped == "until"


@pytest.mark.long
def test_a_limit_that_is_too_low_is_said() -> None:
    run = sample(PEAK, until=1e-4, max_sweeps=3000, seed=2)
    assert run.stopped == "limit"
    assert run.burn_in + run.sweeps == 3000
    with pytest.raises(InputError, match="max_sweeps: received 100, expected more than burn_in"):
        sample(PEAK, max_sweeps=100, burn_in=100)


@pytest.mark.parametrize("limit", [4001, 9000, 11_000, 23_000])
def test_the_limit_never_throws_away_what_it_cannot_count_again(
        limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is never trusted counts anew after each tuning; the last round keeps at least as
    many sweeps as the one before it, so that F has an error at the limit too."""
    import sampler.diagnostics

    kept: list[int] = []

    def doubtful(run: Run, bridged: bool) -> Any:
        kept.append(run.sweeps)
        return diagnose(run, memory=-1.0, bridged=bridged)  # never met; more of the same is no cure

    monkeypatch.setattr(sampler.diagnostics, "diagnose", doubtful)
    run = sample(line(X, Y, 0.5, (-5, 5), (-5, 5)), chains=2, max_sweeps=limit, seed=2)
    assert run.stopped == "limit"
    assert run.burn_in + run.sweeps == limit
    assert kept == sorted(kept) and kept[-1] == run.sweeps >= 2000
    assert math.isfinite(free_energy(run).error)


def test_a_given_ladder_is_run_exactly() -> None:
    run = sample(PEAK, 50, burn_in=100, ladder=Ladder.geometric(24, 1.5))
    assert np.array_equal(run.betas, Ladder.geometric(24, 1.5).betas)
    assert run.betas == pytest.approx([0.0, *(1.5 ** np.arange(-22.0, 1.0))], rel=1e-15)


def test_a_model_without_parameters_is_exact() -> None:
    data = Data(X, Y, noise=0.5)
    run = sample(Posterior(Model(), data))
    exact = -stats.norm(0, 0.5).logpdf(Y).sum()
    assert free_energy(run).value == pytest.approx(exact, rel=1e-12)
    assert free_energy(run).error == 0.0
    assert diagnose(run).trusted


def test_steps_and_ladder_are_frozen_while_counting() -> None:
    first = sample(PEAK, 64, burn_in=400, seed=9)
    later = resume(first, 640)
    assert np.array_equal(first.steps, later.steps)
    assert np.array_equal(first.betas, later.betas)
    assert later.burn_in == first.burn_in


def test_metropolis_samples_the_posterior_of_a_line() -> None:
    """Means against the exact posterior; 4 chains x 20,000 sweeps, 4 standard errors, 2e-4."""
    from sampler.diagnostics import effective_sample_size

    run = metropolis(line(X, Y, 0.5, Normal(0, 2), Normal(0, 1)), 20_000, seed=3)
    mean, covariance = evidence.posterior(
        LinearRegression(np.stack([X, np.ones(6)], 1), Y, 0.5, 0.0, [4.0, 1.0]))
    order = [run.posterior.names.index(n) for n in ("slope", "offset")]
    draws = run.draws[..., order]
    error = [math.sqrt(covariance[i, i] / effective_sample_size(draws[..., i])) for i in (0, 1)]
    assert within(draws.mean(axis=(0, 1)), mean, error)


@pytest.mark.parametrize(("change", "field"), [
    ({"sweeps": 0}, "sweeps"), ({"sweeps": 1.5}, "sweeps"), ({"until": 0.0}, "until"),
    ({"until": math.nan}, "until"), ({"chains": 0}, "chains"), ({"burn_in": -1}, "burn_in"),
    ({"seed": -1}, "seed"), ({"seed": "one"}, "seed"), ({"threads": 0}, "threads"),
    ({"max_sweeps": 0}, "max_sweeps")])
def test_bad_numbers_are_refused_by_name(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=field):
        sample(PEAK, **change)


def test_data_that_no_point_of_the_prior_explains_are_refused() -> None:
    never = Posterior(Model.single(shapes.constant, offset=(-2, -1)),
                      Data([0.0, 1.0], [3.0, 4.0], noise="poisson"))
    with pytest.raises(InputError, match="prior"):
        sample(never, 100)


# --- ladders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("betas", [[0.0], [0.1, 1.0], [0.0, 0.5], [0.0, 0.5, 0.5, 1.0],
                                   [0.0, 0.7, 0.3, 1.0], [0.0, math.nan, 1.0], [[0.0, 1.0]]])
def test_bad_ladders_are_refused(betas: Any) -> None:
    with pytest.raises(InputError, match="ladder"):
        Ladder(betas)


@pytest.mark.parametrize(("rungs", "ratio"), [(1, 2.0), (3, 1.0), (3, math.inf), (2.5, 2.0)])
def test_bad_geometric_ladders_are_refused(rungs: Any, ratio: Any) -> None:
    with pytest.raises(InputError, match=r"rungs|ratio"):
        Ladder.geometric(rungs, ratio)


def test_equal_acceptance_under_a_power_law_is_geometric() -> None:
    """Acceptances of the exact law on an uneven ladder; the equalised one has equal ratios."""
    uneven = np.concatenate([[0.0], np.geomspace(1e-3, 1, 25) ** 1.3])
    A = [1.0, *exchange_rate.power_law(2.0, uneven[2:] / uneven[1:-1])]
    even = equalised(uneven, np.array(A), rungs=12)
    ratios = even[3:] / even[2:-1]
    assert len(even) == 12
    assert (even[0], even[-1]) == (0.0, 1.0)
    assert ratios.max() / ratios.min() < 1.1
    assert (uneven[3:] / uneven[2:-1]).max() / (uneven[3:] / uneven[2:-1]).min() == pytest.approx(1)


def test_swap_acceptance_is_the_mean_of_the_rule() -> None:
    energy = np.random.default_rng(0).gamma(2.0, 1.0, size=(2, 500, 3)) / [0.2, 0.5, 1.0]
    betas = np.array([0.2, 0.5, 1.0])
    rule = np.minimum(1, np.exp(np.diff(betas) * np.diff(energy, axis=2))).mean(axis=(0, 1))
    assert swap_acceptance(betas, energy) == pytest.approx(rule, rel=1e-12)


def test_the_first_ladder_reaches_the_prior() -> None:
    """Its second rung still exchanges with the prior, whatever the scale of the energies."""
    for scale in (1e-3, 1.0, 1e6):
        energy = scale * np.random.default_rng(1).gamma(1.5, size=4000)
        betas = first_ladder(energy)
        assert betas[0] == 0.0
        assert betas[-1] == 1.0
        assert np.all(np.diff(betas) > 0)
        if len(betas) > 2:
            assert betas[1] * energy.std() < 3.0


def test_runs_are_frozen() -> None:
    run = sample(PEAK, 10, burn_in=20)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.seed = 1                           # type: ignore[misc]
