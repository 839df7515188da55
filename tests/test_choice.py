"""The choice between models: rules on made-up numbers, probabilities on exact ones.

The absolute fit is tested both ways: a right model is seldom blamed, a wrong one is caught.
"""

import dataclasses
import io
import itertools
import math

import numpy as np
import pytest
from statistics_helpers import Conjugate, as_run, conjugate_run, within

from sampler import bridge_sampling, evidence, shapes
from sampler import choice as choice_module
from sampler.choice import absolute_fit, choose, highest_probabilities, probabilities
from sampler.data import Data
from sampler.errors import InputError
from sampler.evidence import free_energy
from sampler.exchange import Run, sample
from sampler.model import Model
from sampler.posterior import Posterior, joint
from sampler.priors import Normal
from sampler.report import draw_choice

X = np.linspace(-1.0, 1.0, 12)
GENERATOR = np.random.default_rng(11)
DATA = Data(X, 0.4 + 0.5 * GENERATOR.normal(size=12), noise=0.5)
WIDE = Normal(0.0, 2.0)
BETAS = np.concatenate([[0.0], np.geomspace(0.004, 1.0, 11)])


def polynomial(degree: int, data: Data = DATA) -> Posterior:
    if degree == 0:
        return Posterior(Model.single(shapes.linear, offset=WIDE, slope=0.0), data)
    formula = shapes.polynomial(degree)
    return Posterior(Model.single(formula, **dict.fromkeys(formula.parameters, WIDE)), data)


@pytest.fixture(scope="module")
def runs() -> dict[int, Run]:
    """Polynomials of degree 0, 1, 2 on data of degree 0."""
    return {degree: conjugate_run(polynomial(degree), BETAS, 2000, degree, phi=0.3)
            for degree in range(3)}


def shifted(run: Run, nats: float) -> Run:
    """The same run with F moved by so much: every energy moves."""
    return dataclasses.replace(run, energy=run.energy + nats)


def untrusted(run: Run) -> Run:
    """No replica ever leaves its rung."""
    return dataclasses.replace(run, replica=np.broadcast_to(
        np.arange(len(BETAS), dtype=np.int16), run.replica.shape))


# ---- probabilities ------------------------------------------------------------------------------


def test_probabilities_are_exact(runs: dict[int, Run]) -> None:
    """p(degree | data) within 4 of its errors of the exact one; false alarm 2e-4."""
    exact = np.array([Conjugate(polynomial(k)).free_energy() for k in range(3)])
    p = np.exp(-exact) / np.exp(-exact).sum()
    found = choose(runs)
    assert within([row.probability for row in found.rows], p,
                  [row.probability_error for row in found.rows])
    assert sum(row.probability for row in found.rows) == pytest.approx(1.0)


def test_error_of_probabilities_against_repeats() -> None:
    """First order against 200,000 simulated F, errors 0.05: within 2 % (noise 0.2 %)."""
    F, error = np.array([3.0, 3.4, 5.0, 3.2]), np.array([0.05, 0.02, 0.05, 0.0])
    repeats = F + error * np.random.default_rng(0).normal(size=(200_000, 4))
    spread = (np.exp(-repeats) / np.exp(-repeats).sum(axis=1, keepdims=True)).std(axis=0)
    assert np.allclose(probabilities(F, error)[1], spread, rtol=0.02)


def test_highest_probability_is_a_quantile() -> None:
    """Two models: p is a function of one difference of F, so its 97.5 % quantile is exact, even
    for an error of 1 nat, where p + 1.96 sd (the twin) is far off."""
    F, error = np.array([0.0, 4.0]), np.array([0.6, 0.8])
    exact = 1.0 / (1.0 + np.exp(4.0 - 1.96))
    assert highest_probabilities(F, error)[1] == pytest.approx(exact)
    p, sd = probabilities(F, error)
    assert p[1] + 1.96 * sd[1] < 0.5 * exact


def test_no_overflow() -> None:
    F = np.array([0.0, 1e6, math.inf])
    p, error = probabilities(F, np.array([0.1, 0.1, math.inf]))
    assert p.tolist() == [1.0, 0.0, 0.0] and np.isfinite(error).all()
    assert highest_probabilities(F, np.array([0.1, 0.1, math.inf])).tolist()[0] == 1.0


# ---- the rules ----------------------------------------------------------------------------------


def test_fewest_parameters_within_one_nat(runs: dict[int, Run]) -> None:
    """F = 10.8, 10.4, 10: the simplest of three within 1 nat; with a limit of 0.1 the lowest."""
    F = {k: Conjugate(polynomial(k)).free_energy() for k in runs}
    made = {k: shifted(run, 10.8 - 0.4 * k - F[k]) for k, run in runs.items()}
    assert choose(made).best == 0
    assert choose(made, within=0.1).best == 2
    assert choose({k: shifted(run, 10.0 + 2.0 * k - F[k]) for k, run in runs.items()}).best == 0
    assert choose({k: shifted(run, 10.0 - 2.0 * k - F[k]) for k, run in runs.items()}).best == 2


def test_not_excluded_counts_the_error(runs: dict[int, Run],
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """p = 0.04 is below 0.05; a short run cannot exclude it, a long one can.  By BAR alone: the
    planted shift is one of the energies, which the bridge works out for itself."""
    monkeypatch.setattr(bridge_sampling, "bridge", lambda run: None)
    evidence._FREE.clear()
    off = math.log(0.96 / 0.04)
    for sweeps, expected in ((60, (0, 1)), (2000, (0,))):
        pair = {k: dataclasses.replace(runs[k], energy=runs[k].energy[:, :sweeps],
                                       replica=runs[k].replica[:, :sweeps]) for k in (0, 1)}
        gap = free_energy(pair[1]).value - free_energy(pair[0]).value
        found = choose(pair | {1: shifted(pair[1], off - gap)})
        assert found[1].probability == pytest.approx(0.04)
        assert found.not_excluded == expected
    F = {k: Conjugate(polynomial(k)).free_energy() for k in runs}
    far = {0: runs[0], 1: shifted(runs[1], F[0] - F[1] + off + 3.0)}
    assert choose(far).not_excluded == (0,)
    assert str(choose(far)).startswith("K=0 favoured, all others excluded.")
    assert str(choose(far)).splitlines()[-1] == (
        "favoured: the fewest parameters within 1 nat of the lowest F; not excluded: p >= 0.05, "
        "error included")
    assert "within 2 nat of the lowest F; not excluded: p >= 0.1," in str(
        choose(far, within=2.0, excluded=0.1))
    assert str(choose(pair | {1: runs[1]})).splitlines()[0] == (
        "K=0 favoured, K=1 not excluded.")


def test_many_equal_models_leave_something() -> None:
    """30 equal models have p = 0.033 each; the best is never itself excluded."""
    run = conjugate_run(polynomial(0), BETAS, 400, 0)
    found = choose({f"m{i}": run for i in range(30)})
    assert found.best in found.not_excluded and not found.misfits


def test_untrusted_runs(runs: dict[int, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """A doubtful run near the lowest F makes the answer uncertain; far above it is only marked.
    By BAR alone: moved energies tell the bridge nothing."""
    monkeypatch.setattr(bridge_sampling, "bridge", lambda run: None)
    near = choose({0: runs[0], 1: untrusted(runs[1])})
    assert near.doubtful == (1,) and not near.certain
    assert "NOT CERTAIN" in str(near) and "not trusted" in str(near)
    far = choose({0: runs[0], 1: shifted(untrusted(runs[1]), 20.0)})
    assert far.certain and not far[1].trusted
    assert "NOT CERTAIN" not in str(far) and "not trusted" in str(far)
    assert choose({0: runs[0], 1: untrusted(runs[1])}, trips=0).certain


def test_exact_model_among_sampled_ones(runs: dict[int, Run]) -> None:
    """K = 0: no free parameters, no error, no run."""
    fixed = Posterior(Model.single(shapes.linear, offset=0.4, slope=0.0), DATA)
    found = choose({"known": sample(fixed), "offset": runs[0]})
    assert found.best == "known" and found["known"].trusted
    assert found["known"].free_energy.error == 0.0 and "(exact)" in str(found)


def test_table(runs: dict[int, Run]) -> None:
    """One line for each model, columns aligned, F with and without the constant."""
    found = choose(runs)
    lines = str(found).splitlines()
    head = next(line for line in lines if line.startswith("model"))
    rows = [line for line in lines if line.startswith("K=") and "+-" in line]
    assert len(rows) == 3 and "without constant" in head
    end = head.index("p(model | data)") + len("p(model | data)")
    assert all(line[:end].rstrip().endswith(f"{row.probability_error:.3f}")
               for line, row in zip(rows, found.rows, strict=True))
    assert f"{found[1].free_energy.reduced:.2f}" in rows[1]


def test_one_model_wins_nothing(runs: dict[int, Run]) -> None:
    assert "the only model given" in str(choose({0: runs[0]}))


def test_different_data_are_refused(runs: dict[int, Run]) -> None:
    other = conjugate_run(polynomial(0, Data(X, DATA.y + 0.1, noise=0.5)), BETAS, 400, 0)
    with pytest.raises(InputError, match=r"K=1 and K=7 of different data"):
        choose({1: runs[1], 7: other})
    with pytest.raises(InputError, match="at least one run"):
        choose({})


def test_noise_laws_of_the_same_data_compare(runs: dict[int, Run]) -> None:
    """Another standard deviation is another model of the same data: its constant counts."""
    quiet = conjugate_run(polynomial(0, Data(X, DATA.y, noise=0.1)), BETAS, 400, 0)
    found = choose({"0.5": runs[0], "0.1": quiet})
    assert found.best == "0.5" and found.not_excluded == ("0.5",)


# ---- absolute fit -------------------------------------------------------------------------------


def posterior_draws(posterior: Posterior, seed: int) -> Run:
    return conjugate_run(posterior, np.ones(1), 100, seed)


def measured(points: int, seed: int, bend: float = 0.0) -> Posterior:
    """A straight line fitted to a line, or to a parabola."""
    x = np.linspace(-1.0, 1.0, points)
    noise = 0.5 * np.random.default_rng(seed).normal(size=points)
    return polynomial(1, Data(x, 0.4 + 0.9 * x + bend * x**2 + noise, noise=0.5))


@pytest.mark.parametrize("points", [8, 40, 100])
def test_right_model_is_seldom_blamed(points: int) -> None:
    """60 data sets: each test is allowed 0.001; none may fail (false alarm at most 17 %, in
    truth less, since the curve is fitted), and p < 0.1 at most 14 of 60 times (0.1 %)."""
    fits = [absolute_fit(posterior_draws(measured(points, seed), seed)) for seed in range(60)]
    assert not any(fit.failures for fit in fits)
    for name in ("chi_square", "runs", "lag"):
        assert sum(getattr(fit, name) < 0.1 for fit in fits) <= 14


def test_wrong_model_is_caught() -> None:
    """A parabola of 8 noise units under a straight line, 8 and 40 points; the twin is flat."""
    few = absolute_fit(posterior_draws(measured(8, 0, bend=6.0), 0))
    many = absolute_fit(posterior_draws(measured(40, 0, bend=6.0), 0))
    assert few.failures[0].startswith("residuals too large")
    assert len(many.failures) == 3


def test_none_describes_the_data() -> None:
    data = measured(40, 0, bend=6.0).blocks[0].data
    runs = {degree: conjugate_run(polynomial(degree, data), BETAS, 1000, degree)
            for degree in (0, 1)}
    found = choose(runs)
    assert found.misfits
    assert str(found).startswith("None of these models describes the data (residuals too large")
    assert "another shape, a background, more components, a larger noise, or for" in str(found)
    assert "conditional on that" in str(found)
    right = choose(runs | {2: conjugate_run(polynomial(2, data), BETAS, 1000, 2)})
    assert not right.misfits and right.best == 2
    assert "misfit" in str(right)  # the table still marks the lines below the parabola


def test_joint_posterior_counts_its_worst_data_set() -> None:
    """Two data sets, one of them bent: caught, and p is doubled for two chances."""
    good, bad = measured(40, 1), measured(40, 0, bend=6.0)
    names = bad.names
    both = joint(good, Posterior(bad.blocks[0].model.renamed(**{n: n + "_b" for n in names}),
                                 bad.blocks[0].data))
    single = [posterior_draws(p, 3) for p in (good, bad)]
    run = as_run(both, np.ones(1), single[0].energy, single[0].replica,
                 np.concatenate([r.draws for r in single], axis=-1))
    worst = absolute_fit(single[1])
    assert absolute_fit(run).chi_square == pytest.approx(2.0 * worst.chi_square)
    assert absolute_fit(run).failures


def test_runs_test_against_every_arrangement() -> None:
    """n = 8: P(runs <= seen) by counting all arrangements of the signs."""
    for plus in (2, 4):
        every = [np.isin(np.arange(8), where) for where in itertools.combinations(range(8), plus)]
        runs = np.array([1 + np.count_nonzero(s[1:] != s[:-1]) for s in every])
        for signs, seen in zip(every[::5], runs[::5], strict=True):
            p = choice_module._too_few_runs(np.where(signs, 1.0, -1.0))
            assert p == pytest.approx(np.mean(runs <= seen))


def test_correlation_test_against_every_order() -> None:
    """n = 7: P(correlation >= seen) over all 5040 orders, within 4 errors of 10,000 shuffles."""
    residual = np.random.default_rng(1).normal(size=7)
    centred = residual - residual.mean()
    orders = centred[np.array(list(itertools.permutations(range(7))))]
    lags = (orders[:, 1:] * orders[:, :-1]).sum(axis=1)
    for order in (centred, np.sort(centred)):
        exact = np.mean(lags >= (order[1:] * order[:-1]).sum() - 1e-12)
        p = choice_module._correlated(order)
        assert within(p, exact, math.sqrt(exact * (1 - exact) / 10_000) + 1e-4)


def counted(mu: float, y: np.ndarray) -> Run:
    """Counts under a constant whose value is known."""
    x = np.arange(len(y), dtype=float)
    posterior = Posterior(Model.single(shapes.linear, offset=(0.0, 100.0), slope=0.0),
                          Data(x, y, noise="poisson"))
    return as_run(posterior, np.ones(1), np.zeros((4, 50, 1)), np.zeros((4, 50, 1)),
                  mu * np.ones((4, 50, 1)))


def test_sparse_counts_of_a_right_model() -> None:
    """Mean 0.05, 60 points, most counts zero: 40 data sets, none blamed (false alarm 4 %).  The
    law of Gaussian signs, the twin, takes all-zero data for 60 residuals of one sign."""
    for seed in range(40):
        y = np.random.default_rng(seed).poisson(0.05, 60).astype(float)
        assert not absolute_fit(counted(0.05, y)).failures
    assert not absolute_fit(counted(0.05, np.zeros(60))).failures
    assert choice_module._too_few_runs(-np.ones(60)) < 0.001


def test_a_line_on_an_empty_background() -> None:
    """Residuals of counts are not exchangeable where nothing is expected on most of the range:
    the law of runs given the numbers of signs (the twin) blames a right model."""
    mean = np.where((np.arange(300) >= 120) & (np.arange(300) < 180), 50.0, 0.01)
    blamed, twin = 0, 0
    for seed in range(5):
        y = np.random.default_rng(seed).poisson(mean).astype(float)
        blamed += bool(choice_module._poisson_fit(np.tile(mean, (50, 1)), y).failures)
        twin += choice_module._too_few_runs(y - mean) < 0.001
    assert blamed == 0 and twin >= 4


def test_wrong_counts_are_caught() -> None:
    """A slope from 5 to 45 counts under a constant of 25."""
    y = np.random.default_rng(0).poisson(np.linspace(5.0, 45.0, 40)).astype(float)
    assert len(absolute_fit(counted(25.0, y)).failures) == 3


def test_unknown_noise_scales_the_residuals() -> None:
    """With the noise among the parameters the sum of squares cannot fail, but order can."""
    x = np.linspace(0.0, 1.0, 40)
    posterior = Posterior(Model.single(shapes.linear, offset=(-9, 9), slope=0.0),
                          Data(x, x, noise="unknown"))
    draws = np.tile([0.5, float(np.std(x))], (4, 50, 1))
    run = as_run(posterior, np.ones(1), np.zeros((4, 50, 1)), np.zeros((4, 50, 1)), draws)
    fit = absolute_fit(run)
    assert fit.chi_square > 0.1 and fit.runs < 0.001 and fit.lag < 0.001


def test_random_state_is_left_alone() -> None:
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    absolute_fit(counted(25.0, np.full(10, 25.0)))
    assert np.array_equal(before, np.random.get_state()[1])


def test_runs_that_tell_nothing_are_drawn_and_counted() -> None:
    """Two sweeps give no error, a model without a count where there were counts gives F = inf:
    the table and the figure say so, without a warning."""
    x, counts = np.arange(6.0), np.array([3, 0, 2, 4, 1, 2])
    data = Data(x, counts, noise="poisson")
    none = Posterior(Model.single(shapes.linear, offset=0.0, slope=0.0), data)
    level = Posterior(Model.single(shapes.linear, offset=(0.1, 9), slope=0.0), data)
    found = choose({0: sample(none), 1: sample(level, 2, burn_in=50)})
    assert found[0].free_energy.value == math.inf and found[1].free_energy.error == math.inf
    assert found[1].probability == 1.0 and np.isfinite(found[1].probability_error)
    draw_choice(found).savefig(io.BytesIO())
    assert "inf" in str(found)


def test_counts_whose_prior_allows_negative_rates() -> None:
    """Half of the prior's draws lie outside the support, and the ladder changes its size while it
    is tuned: F by quadrature over the slope and offset, |z| < 4, and nothing is lost."""
    x, counts = np.arange(8.0), np.array([5, 3, 4, 6, 2, 5, 7, 4])
    line = Posterior(Model.single(shapes.linear, offset=(-20, 20), slope=(-5, 5)),
                     Data(x, counts, noise="poisson"))
    run = sample(line, 1500, burn_in=1000, seed=3)
    assert np.isfinite(run.energy[..., 1:]).all() and np.isinf(run.energy[..., 0]).any()
    a, b = (np.arange(1500) + 0.5) * 20 / 1500, (np.arange(1500) + 0.5) * 6 / 1500 - 3
    theta = np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)
    log_weight = line.log_prior(theta) - line.energy(theta) + math.log(20 * 6 / 1500**2)
    exact = line.constant - np.logaddexp.reduce(log_weight)
    found = free_energy(run)
    assert within(found.value, exact, found.error) and within(found.bar, exact, found.bar_error)
