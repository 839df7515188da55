"""Inside a run: what is exchanged when, what is counted, and what an interrupt leaves behind.

`test_runs` holds what a user sees of a run; here are the parts: the exchanges against their own
rule, the ladder against laws of energy that are known, and Ctrl-C at every line of the counting.
"""

import dataclasses
import itertools
import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import betainc, gammainc

from sampler import (
    Data,
    InputError,
    Ladder,
    Model,
    Normal,
    Posterior,
    Run,
    exchange,
    free_energy,
    metropolis,
    resume,
    sample,
    shapes,
)
from sampler.ladder import MOST, equalised, first_ladder, swap_acceptance

X = np.linspace(0.0, 6.0, 30)
DATA = Data(X, 0.2 + np.exp(-((X - 2.5) ** 2)) + 0.05 * np.sin(19.0 * X), noise=0.1)
PEAK = Posterior(Model.single(shapes.constant, offset=(-1, 1)) + Model.repeated(
    1, shapes.gaussian, height=(0, 3), center=(0, 6), width=(0.5, 4)), DATA)
LINE = Posterior(Model.single(shapes.linear, offset=Normal(0, 2), slope=Normal(0, 2)), DATA)
FIELDS = ("betas", "energy", "replica", "draws", "steps")


def same(a: Run, b: Run) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in FIELDS) and all(
        np.array_equal(getattr(a.state, f.name), getattr(b.state, f.name))
        for f in dataclasses.fields(exchange.State))


@pytest.fixture(scope="module")
def run() -> Run:
    return sample(PEAK, 4000, burn_in=2000, chains=2, seed=1)


# ---- what is counted ----------------------------------------------------------------------------


@pytest.mark.parametrize("sweeps", [1, 7, 301])
@pytest.mark.parametrize("burn_in", [0, 1, 50])
def test_sweeps_and_burn_in_are_exact(sweeps: int, burn_in: int) -> None:
    run = sample(PEAK, sweeps, burn_in=burn_in, chains=3, seed=2)
    assert run.energy.shape == run.replica.shape == (3, sweeps, len(run.betas))
    assert run.draws.shape == (3, sweeps, 4)
    assert (run.burn_in, run.state.sweep) == (burn_in, burn_in + sweeps + 1)
    walked = run.state.proposed > 0        # none at beta = 0, where draws come from the prior
    assert np.all(run.state.proposed[walked] == 3 * sweeps) and np.all(walked[-1, 2:])
    assert np.all(run.state.accepted <= run.state.proposed)


def test_burn_in_is_at_least_2000_and_a_quarter() -> None:
    for sweeps, burn_in in ((10, 2000), (8000, 2000), (12_000, 3000)):
        assert sample(LINE, sweeps, chains=1).burn_in == burn_in


def test_ladder_and_steps_do_not_know_how_long_will_be_counted() -> None:
    """Frozen before counting: a longer run begins with the bits of the shorter one."""
    short, long = (sample(PEAK, sweeps, burn_in=300, seed=3) for sweeps in (40, 700))
    assert np.array_equal(short.steps, long.steps) and np.array_equal(short.betas, long.betas)
    assert np.array_equal(short.energy, long.energy[:, :40])
    assert np.array_equal(short.draws, long.draws[:, :40])
    tuned_longer = sample(PEAK, 40, burn_in=330, seed=3)
    assert not np.array_equal(short.steps, tuned_longer.steps)


def test_chains_are_independent_and_a_chain_knows_nothing_of_the_others() -> None:
    """With the ladder given and no burn-in, chain c is the same whatever the number of chains."""
    ladder = Ladder.geometric(8, 2.0)
    two, five = (sample(PEAK, 60, burn_in=0, chains=c, seed=4, ladder=ladder) for c in (2, 5))
    assert np.array_equal(two.energy, five.energy[:2])
    assert len({chain.tobytes() for chain in five.energy}) == 5


def test_slices_of_any_size_give_equal_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wall time decides only where a run is cut: slices of one sweep, and one slice for all."""
    whole = sample(PEAK, 130, burn_in=120, seed=5)
    for seconds in (0.0, 1e9):
        monkeypatch.setattr(exchange, "SLICE_SECONDS", seconds)
        assert same(whole, sample(PEAK, 130, burn_in=120, seed=5))


def test_progress_counts_every_sweep_once() -> None:
    told: list[tuple[int, int, str]] = []
    sample(PEAK, 500, burn_in=100, seed=6, progress=lambda *words: told.append(words))
    done = [number for number, _, _ in told]
    assert done == sorted(set(done)) and done[-1] == 600
    assert all(number <= total == 600 for number, total, _ in told)
    assert all((words == "counting") == (number > 100) for number, _, words in told)


def test_draws_are_the_parameters_of_the_last_rung(run: Run) -> None:
    """Energies of the coldest rung, recorded by the kernel, against the plain formula."""
    assert np.allclose(PEAK.energy(run.draws), run.energy[..., -1], rtol=1e-10, atol=1e-9)
    assert not np.allclose(PEAK.energy(run.draws[:, 1:]), run.energy[:, :-1, -1], rtol=1e-3)


# ---- exchanges ----------------------------------------------------------------------------------


def exchanged(run: Run) -> np.ndarray:
    """(chains, sweeps - 1, pairs): True where the two rungs swapped their replicas."""
    before, after = run.replica[:, :-1], run.replica[:, 1:]
    return (before[..., :-1] == after[..., 1:]) & (before[..., 1:] == after[..., :-1])


def test_replicas_are_permuted_by_pairs_even_and_odd_in_turn(run: Run) -> None:
    rungs = len(run.betas)
    assert np.all(np.sort(run.replica, axis=-1) == np.arange(rungs))
    swapped = exchanged(run)
    # Undoing the swaps seen gives the arrangement before: nothing else has moved.
    moved = np.zeros(run.replica[:, 1:].shape, dtype=bool)
    moved[..., :-1] |= swapped
    moved[..., 1:] |= swapped
    assert np.array_equal(moved, run.replica[:, 1:] != run.replica[:, :-1])
    first = int(np.argmax(swapped[0].any(axis=0)))
    turns = [{int(t) % 2 for t in np.flatnonzero(swapped[..., pair].any(axis=0))}
             for pair in range(first, rungs - 1)]
    assert all(len(turn) == 1 for turn in turns)                    # every second sweep only
    assert all(a != b for a, b in itertools.pairwise(turns))  # neighbours in turn


def exchange_scores(run: Run, betas: np.ndarray) -> np.ndarray:
    """Swaps seen minus expected from the energies, in standard errors, for each pair.

    Given the energies each decision is a coin of known bias, so that the sum of (decision - bias)
    is a martingale with variance sum p (1 - p), however correlated the energies are.
    """
    swapped = exchanged(run)
    energy = run.energy[:, :-1]
    p = np.exp(np.minimum(np.diff(betas) * np.diff(energy, axis=-1), 0.0))
    scores = []
    for pair in range(p.shape[-1]):
        turn = int(np.flatnonzero(swapped[..., pair].any(axis=0))[0]) % 2
        seen, bias = swapped[:, turn::2, pair], p[:, turn::2, pair]
        scores.append((seen - bias).sum() / np.sqrt((bias * (1 - bias)).sum()))
    return np.array(scores)


def test_swaps_happen_as_often_as_the_energies_say(run: Run) -> None:
    """4000 sweeps of 2 chains; each pair within 4 standard errors, about 16 pairs: false alarm
    1e-3; the sum of squares below its 1e-4 quantile."""
    scores = exchange_scores(run, run.betas)
    assert np.abs(scores).max() < 4.0
    assert gammainc(0.5 * len(scores), 0.5 * np.sum(scores**2)) < 0.9999
    # Broken twin: a rule with its inverse temperatures half as far apart.
    assert np.abs(exchange_scores(run, 0.5 * run.betas)).max() > 8.0


def test_swap_rate_and_barrier_follow_from_the_energies(run: Run) -> None:
    by_hand = [np.mean([min(1.0, np.exp((run.betas[k + 1] - run.betas[k]) * (row[k + 1] - row[k])))
                        for row in run.energy.reshape(-1, len(run.betas))])
               for k in range(len(run.betas) - 1)]
    assert run.swap_rate == pytest.approx(by_hand, rel=1e-12)
    # A prior draw outside the support may go nowhere colder, and says nothing of the ladder.
    outside = run.energy.copy()
    outside[:, ::2, 0] = np.inf
    assert swap_acceptance(run.betas, outside)[0] == pytest.approx(
        swap_acceptance(run.betas, run.energy[:, 1::2])[0], rel=1e-12)
    outside[..., 0] = np.inf
    assert swap_acceptance(run.betas, outside)[0] == 0.0


def test_steps_are_tuned_to_the_wanted_acceptance(run: Run) -> None:
    """Walks away from the prior accept near 0.44; a step that reaches its limit accepts more.
    8000 proposals: standard error below 0.02 even at an autocorrelation time of 10."""
    rate = run.acceptance[len(run.betas) // 2:, 2:]
    assert np.all(rate > 0.25) and np.all(rate < 0.75)
    assert abs(np.median(rate) - exchange.TARGET_ACCEPTANCE) < 0.12
    assert np.all(np.diff(run.steps[len(run.betas) // 2:, 2]) < 0)   # colder is narrower


# ---- interrupts ---------------------------------------------------------------------------------

COUNTING = ("_sweeps", "_slice", "_counted", "_state", "count", "run")


class Interrupter:
    """Raises KeyboardInterrupt at the n-th line executed in the counting code."""

    def __init__(self, n: int) -> None:
        self.left, self.counting = n, False

    def told(self, done: int, total: int, words: str) -> None:
        self.counting = words == "counting"

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code.co_filename != exchange.__file__ or code.co_name not in COUNTING:
            return None
        if event == "line" and self.counting:
            self.left -= 1
            if self.left == 0:
                self.counting = False
                raise KeyboardInterrupt
        return self


@pytest.mark.long
def test_an_interrupt_at_any_line_leaves_a_run_that_resumes_to_the_bits_of_the_uncut_one(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C does not wait for a good moment: every line of two slices of counting in turn, until
    a run ends before its interrupt comes."""
    monkeypatch.setattr(exchange, "SLICE_SECONDS", 0.0)       # slices shrink to one sweep
    short = {"burn_in": 40, "chains": 2, "seed": 7, "ladder": Ladder.geometric(5, 3.0)}
    whole = sample(PEAK, 5, **short)
    lengths = []
    for n in range(1, 400):
        interrupter = Interrupter(n)
        before = sys.gettrace()
        sys.settrace(interrupter)
        try:
            part = sample(PEAK, 5, progress=interrupter.told, **short)
        finally:
            sys.settrace(before)
        if interrupter.left > 0:
            break
        lengths.append(part.sweeps)
        assert part.stopped in ("interrupted", "sweeps")
        more = 5 - part.sweeps
        assert same(resume(part, more) if more else part, whole)
    assert n > 50 and n < 399 and set(lengths) >= {1, 2, 3, 4}
    assert np.abs(np.diff(lengths)).max() == 1      # a slice under way is finished or dropped
    # Broken twin: a state that is one sweep ahead of its record does not continue to these bits.
    part = sample(PEAK, 3, **short)
    ahead = dataclasses.replace(part, state=dataclasses.replace(part.state, sweep=45))
    assert not same(resume(ahead, 2), whole)


def test_an_interrupted_resume_keeps_what_it_counted() -> None:
    def press(done: int, total: int, words: str) -> None:
        raise KeyboardInterrupt

    begun, whole = (sample(PEAK, sweeps, burn_in=60, seed=8) for sweeps in (50, 20_050))
    part = resume(begun, 20_000, progress=press)
    assert part.stopped == "interrupted" and 50 < part.sweeps < 20_050
    assert same(resume(part, 20_050 - part.sweeps), whole)


def test_an_interrupt_while_tuning_again_returns_what_had_been_counted(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """`until` throws away a first count that it does not trust; Ctrl-C before the next one has
    begun must not lose it."""
    monkeypatch.setattr(exchange, "FIRST_COUNT", 30)      # too short to be trusted
    counted = []

    def press(done: int, total: int, words: str) -> None:
        if words == "counting":
            counted.append(done)
        elif counted:
            raise KeyboardInterrupt

    run = sample(PEAK, until=1e-3, burn_in=100, seed=9, progress=press)
    assert (run.stopped, run.sweeps, run.burn_in) == ("interrupted", 30, 100)
    assert same(resume(run, 20), sample(PEAK, 50, burn_in=100, seed=9))


# ---- ladders ------------------------------------------------------------------------------------


def truncated_gamma_acceptance(betas: np.ndarray, k: float, top: float) -> np.ndarray:
    """Exact acceptance between neighbours where U has density U**(k-1) exp(-beta U) on (0, top):
    twice the probability that the colder one has the higher energy."""
    u = np.concatenate([[0.0], np.geomspace(1e-9, 1.0, 40_001)]) * top

    def distribution(beta: float) -> np.ndarray:
        return gammainc(k, beta * u) / gammainc(k, beta * top) if beta else (u / top) ** k

    out = []
    for hot, cold in itertools.pairwise(betas):
        lower, mass = distribution(hot), np.diff(distribution(cold))
        out.append(2.0 * np.sum(mass * 0.5 * (lower[1:] + lower[:-1])))
    return np.array(out)


def test_the_exact_acceptance_of_a_power_law() -> None:
    """Far from the truncation the acceptance is 2 I(k, k; 1/(1+r)): the same for equal ratios."""
    betas = np.array([0.01, 0.02, 0.06, 1.0])
    closed = 2.0 * betainc(1.5, 1.5, 1.0 / (1.0 + betas[1:] / betas[:-1]))
    assert truncated_gamma_acceptance(betas, 1.5, 1e4) == pytest.approx(closed, rel=1e-5)
    generator = np.random.default_rng(0)
    U = generator.gamma(1.5, 1.0, (400_000, 4)) / betas
    # 400,000 draws, standard error of each rate below 8e-4: 4 errors.
    assert swap_acceptance(betas, U) == pytest.approx(closed, abs=3.2e-3)


def test_equalised_ladders_reject_equally_and_become_geometric() -> None:
    """Fed with exact acceptances, the ladder settles where every pair rejects alike; where the
    law is a power law, that is geometric; a constant ratio to the prior's end is not."""
    k, top = 1.5, 1e4
    betas = np.concatenate([[0.0], np.geomspace(1e-6, 1.0, 30) ** 0.7])
    for _ in range(12):
        betas = equalised(betas, truncated_gamma_acceptance(betas, k, top), rungs=20)
    rejection = 1.0 - truncated_gamma_acceptance(betas, k, top)
    assert len(betas) == 20 and betas[0] == 0.0 and betas[-1] == 1.0
    assert rejection.max() / rejection.min() < 1.02
    deep = betas * top > 30.0
    ratios = betas[deep][1:] / betas[deep][:-1]
    assert len(ratios) > 8 and ratios.max() / ratios.min() < 1.02
    geometric = Ladder.geometric(20, float(ratios.mean())).betas
    apart = 1.0 - truncated_gamma_acceptance(geometric, k, top)
    assert apart.max() / apart.min() > 1.1


def test_equalised_chooses_twice_the_barrier_of_rungs() -> None:
    betas = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 40)])
    assert len(equalised(betas, np.full(40, 0.1))) == 73           # 2 * 40 * 0.9 + 1
    assert len(equalised(betas, np.full(40, 0.99))) == 16          # never fewer
    many = np.concatenate([[0.0], np.geomspace(1e-9, 1.0, 200)])
    assert len(equalised(many, np.zeros(200))) == MOST             # never more
    same_law = equalised(betas, np.full(40, 0.5), rungs=41)
    assert same_law[1:] == pytest.approx(betas[1:], rel=1e-12)     # equal already: unchanged


def test_the_first_rung_above_the_prior_keeps_half_of_its_draws() -> None:
    """U ~ Gamma(k, 1): the effective share at beta is ((1 + 2b) / (1 + b)**2)**k = 1/2.
    200,000 draws give b to 1 % (standard error 0.3 %), whatever the zero of energy, and in
    inverse proportion to its unit."""
    k = 1.5
    b = brentq(lambda v: ((1 + 2 * v) / (1 + v) ** 2) ** k - 0.5, 1e-3, 100.0)
    U = np.random.default_rng(1).gamma(k, 1.0, 200_000)
    for shift, unit in ((0.0, 30.0), (1e6, 30.0), (-50.0, 3000.0)):
        betas = first_ladder(shift + unit * U)
        assert betas[1] * unit == pytest.approx(b, rel=0.01)
        ratios = betas[2:] / betas[1:-1]
        assert ratios == pytest.approx(ratios[0], rel=1e-9) and ratios[0] <= 1.6
    half_outside = np.where(np.arange(200_000) % 2 == 0, 30.0 * U, np.inf)
    assert first_ladder(half_outside)[1] * 30.0 == pytest.approx(b, rel=0.02)


def test_a_ladder_for_a_prior_of_equal_energies_is_harmless() -> None:
    betas = first_ladder(np.full(256, 3.0))
    assert betas[1] == 0.5 and np.all(np.diff(betas) > 0)


# ---- one temperature ----------------------------------------------------------------------------


def test_metropolis_has_one_rung_and_no_exact_draws() -> None:
    run = metropolis(LINE, 300, burn_in=300, chains=2, seed=1)
    assert run.betas.tolist() == [1.0] and run.energy.shape == (2, 300, 1)
    assert np.all(run.replica == 0) and np.all(run.state.proposed == 600)
    assert np.all((run.acceptance > 0.2) & (run.acceptance < 0.7))
    assert np.isnan(sample(LINE, 300, burn_in=300, chains=2).acceptance).all()   # exact draws
    with pytest.raises(InputError, match="one temperature"):
        free_energy(run)
    assert same(run, metropolis(LINE, 300, burn_in=300, chains=2, seed=1, threads=1))


@pytest.mark.parametrize(("change", "field"), [
    ({"sweeps": 0}, "sweeps"), ({"burn_in": -1}, "burn_in"), ({"chains": 2.0}, "chains"),
    ({"seed": 2**64}, "seed"), ({"threads": True}, "threads")])
def test_metropolis_refuses_bad_numbers_by_name(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=f"^{field}: received"):
        metropolis(LINE, **{"sweeps": 5, **change})


def test_resume_refuses_bad_numbers(run: Run) -> None:
    for sweeps in (0, -1, 1.5, True):
        with pytest.raises(InputError, match=r"^sweeps: received"):
            resume(run, sweeps)      # type: ignore[arg-type]


def test_equal_seeds_give_equal_bits_wherever_memory_lies() -> None:
    """Eight points, so few that all arrays of the kernels would fit side by side: 25 runs among
    garbage of many sizes.  Where arrays lay too near each other, compiled loops rounded otherwise
    in some runs (59 of 59 repeats differed from the first)."""
    few = Posterior(Model.repeated(1, shapes.exponential, amplitude=(0, 3), rate=(0.1, 5))
                    + Model.single(shapes.constant, offset=(-1, 1)),
                    Data(X[:8], np.exp(-X[:8]), noise="unknown"))
    first, garbage = sample(few, 40, burn_in=200, seed=0), []
    for k in range(25):
        garbage.append([bytearray(16 * (j + 1)) for j in range(k, 60 + k)])
        assert same(first, sample(few, 40, burn_in=200, seed=0, threads=1 + k % 4))
