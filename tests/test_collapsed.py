"""Amplitudes integrated out, components put in and out: the second engine.

Step-locked against a plain twin (no chance involved), exact enumeration of all combinations,
reversibility of every move, equal bits however a run is cut, and what is refused.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.special import logsumexp
from statistics_helpers import Conjugate, within

from sampler import (
    Bernoulli,
    Data,
    Gamma,
    InputError,
    Ladder,
    LogUniform,
    Model,
    Normal,
    Posterior,
    Run,
    diagnose,
    exchange,
    free_energy,
    free_energy_of_noise,
    joint,
    load_run,
    philox,
    resume,
    sample,
    save_run,
    shapes,
    summary,
)
from sampler.kernels import amplitudes, collapsed, problem, reference_collapsed

RUNGS = 6
BETAS = np.array([0.0, 0.01, 0.05, 0.2, 0.6, 1.0])
X = np.linspace(0.0, 6.0, 31)
_x, _g, _h, _c, _b = sp.symbols("x g h c b", real=True)
SWITCHED = shapes.Formula("switched", _g * _h * sp.exp(-((_x - _c) ** 2)), ("g", "h", "c"))
Y = (0.5 + np.exp(-((X - 2.5) ** 2)) + 0.4 * np.exp(-((X - 4.0) ** 2))
     + 0.15 * np.sin(17.0 * X) * np.cos(5.0 * X))      # fixed; stands for noise
DATA = Data(X, Y, noise=0.15 + 0.05 * np.cos(X))


def candidates(centres: Any, present: float = 0.3, height: Any = None, **more: Any) -> Model:
    """One switched line at each centre (a number: known; an interval: free)."""
    model = Model()
    for k, centre in enumerate(centres):
        prior = Normal(0.1 * (k % 3), 1.0 + 0.2 * k) if height is None else height
        model += Model.single(SWITCHED, prefix=f"line{k + 1}_",
                              g=Bernoulli(present + 0.03 * (k % 8)), h=prior, c=centre, **more)
    return model


LEVEL = Model.single(shapes.constant, offset=Normal(0.3, 1.0))
PEAKS = Model.repeated(2, shapes.gaussian, height=Normal(0.5, 1.0), center=(0, 6),
                       width=LogUniform(0.3, 3.0))


def _switch_in_the_shape() -> Model:
    line = _h * sp.exp(-_b * (_x - _c) ** 2 - 2 * _g)
    formula = shapes.Formula("two", line, ("h", "b", "c", "g"))
    return Model.single(formula, h=Normal(0, 1), b=Gamma(2.0, 1.0), c=(0, 6), g=Bernoulli(0.4))


MODELS = {
    "selection": (Posterior(LEVEL + candidates(range(7)), DATA), "amplitudes"),
    "selection, nothing always in": (Posterior(candidates(np.linspace(0, 6, 5)), DATA),
                                     "amplitudes"),
    "selection, unknown noise": (
        Posterior(LEVEL + candidates(range(5)), Data(X, Y, noise=LogUniform(0.05, 2.0))),
        "amplitudes"),
    "selection of lines that move": (
        Posterior(LEVEL + candidates([(0, 3), 2.0, (3.0, 6.0)]), DATA), "amplitudes"),
    "peaks": (Posterior(LEVEL + PEAKS, DATA), "amplitudes"),
    "peaks, noise factor, fixed slope": (
        Posterior(Model.single(shapes.linear, offset=Normal(0, 1), slope=0.05) + PEAKS,
                  Data(X, Y, noise=LogUniform(0.2, 3.0), sigma=0.15 + 0.05 * np.cos(X))),
        "amplitudes"),
    "some amplitudes walk": (Posterior(LEVEL + PEAKS, DATA), ("peak2_height", "offset")),
    "a uniform height": (
        Posterior(LEVEL + Model.single(shapes.gaussian, height=(0, 2), center=(0, 6),
                                       width=(0.3, 3)), DATA), "amplitudes"),
    "a positive height": (
        Posterior(LEVEL + Model.single(shapes.gaussian, height=Normal(0.2, 1, lo=0), center=(0, 6),
                                       width=(0.3, 3)), DATA), "amplitudes"),
    "a switch in the shape": (Posterior(LEVEL + _switch_in_the_shape(), DATA), "amplitudes"),
    "two data sets": (
        joint(Posterior(LEVEL + PEAKS, DATA), Posterior(
            (LEVEL + PEAKS).renamed(offset="offset_b"),
            Data(X[::2], Y[::2] - 0.2, noise=LogUniform(0.05, 1.0)))), "amplitudes"),
}


def keys_of(seed: int) -> np.ndarray:
    streams = (philox.START, philox.PRIOR, philox.WALK, philox.SWAP, philox.JUMP, philox.TRADE,
               philox.AMPLITUDE)
    return np.array([philox.stream_key(seed, s) for s in streams], dtype=np.uint64)


class Pair:
    """Both sweeps on one posterior."""

    def __init__(self, posterior: Posterior, wanted: Any, seed: int = 5) -> None:
        self.posterior, self.seed = posterior, seed
        self.tables = amplitudes.tables(posterior, amplitudes.integrable(posterior, wanted))
        self.chain, self.work = collapsed.buffers(self.tables, posterior.dimension, RUNGS)
        self.keys = keys_of(seed)
        shrink = np.minimum(1.0, 0.2 / np.sqrt(np.maximum(BETAS, 1e-4)))
        self.steps = shrink[:, None] * problem.step_limits(posterior)
        for r in range(RUNGS):
            self.chain.theta[r] = posterior.draw_prior(RUNGS, seed)[r]
            collapsed.rebuild(self.tables, self.chain, self.work, r)

    def compiled(self, number: int, count: int = 1) -> tuple[np.ndarray, ...]:
        shape = self.steps.shape
        out = (np.empty((count, RUNGS)), np.empty((count, RUNGS), np.int16),
               np.empty((count, shape[1])), np.zeros(shape, np.int64), np.zeros(shape, np.int64))
        collapsed.sweeps(self.tables, self.chain, self.work, BETAS, self.steps, self.keys, number,
                         *out)
        return out

    def locked(self, sweeps: int) -> int:
        """Run both, sweep by sweep from the same state; the number of sweeps compared."""
        compared = 0
        for number in range(1, sweeps + 1):
            theta, rung = self.chain.theta.copy(), self.chain.rung.copy()
            energy, replica, draw, accepted, _ = self.compiled(number)
            trace = reference_collapsed.sweep(self.posterior, self.tables, theta, rung, BETAS,
                                              self.steps, self.seed, 0, number)
            if trace.margin < 1e-8:
                continue
            compared += 1
            np.testing.assert_array_equal(replica[0], trace.replica)
            np.testing.assert_array_equal(accepted, trace.accepted)
            np.testing.assert_array_equal(self.chain.rung, rung)
            np.testing.assert_allclose(draw[0], trace.draw, rtol=1e-7, atol=1e-9)
            # An n x n covariance has lost some digits where a Gram matrix has not.
            np.testing.assert_allclose(energy[0], trace.energy, rtol=1e-9, atol=1e-9)
        return compared


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] * (name == "selection")) for name in MODELS])
def test_same_decisions_as_the_law_of_the_data(name: str) -> None:
    assert Pair(*MODELS[name]).locked(40) > 35


def _defect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good_trade, good_moved = reference_collapsed._Replica.trade, reference_collapsed._Replica.moved
    if name == "no trades":
        monkeypatch.setattr(reference_collapsed._Replica, "trade", lambda self, key: None)
    elif name == "trade forgets the prior":
        def even(self: Any, key: int) -> None:
            kept = self.tables.problem.prior.copy()
            self.tables.problem.prior[:, :2] = math.log(0.5)
            good_trade(self, key)
            self.tables.problem.prior[...] = kept
        monkeypatch.setattr(reference_collapsed._Replica, "trade", even)
    elif name == "gaps closed otherwise":
        def sorted_lists(self: Any, j: int) -> None:
            good_moved(self, j)
            self.outside.sort()
        monkeypatch.setattr(reference_collapsed._Replica, "moved", sorted_lists)
    else:
        good = reference_collapsed.collapsed_energy
        monkeypatch.setattr(reference_collapsed, "collapsed_energy",
                            lambda *args: good(*args) * (1.0 + 1e-8))


@pytest.mark.parametrize("name", ["no trades", "trade forgets the prior", "gaps closed otherwise",
                                  "energies off by 1e-8"])
def test_a_broken_twin_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(*MODELS["selection"])
    _defect(name, monkeypatch)
    with pytest.raises(AssertionError):
        pair.locked(60)


# ---- exact answers ------------------------------------------------------------------------------


SEARCH = Posterior(LEVEL + candidates(np.linspace(0.5, 5.5, 8), present=0.15), DATA)


def enumerated(posterior: Posterior, beta: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """All 2**p combinations of the switches and the logarithms of their weights at beta, U_c of
    each from the law of the data: no factor and no Gram matrix."""
    tables = amplitudes.tables(posterior, amplitudes.integrable(posterior, "amplitudes"))
    switch = tables.amplitudes.switch[tables.amplitudes.switch >= 0]
    log_p = np.array([[math.log1p(-posterior.priors[posterior.names[q]].p),
                       math.log(posterior.priors[posterior.names[q]].p)] for q in switch])
    states = np.array(list(itertools.product([0, 1], repeat=len(switch))))
    weights = []
    for state in states:
        theta = np.zeros(posterior.dimension)
        theta[switch] = state
        weights.append(log_p[np.arange(len(switch)), state].sum() - beta *
                       reference_collapsed.collapsed_energy(posterior, tables, theta))
    return states, np.array(weights)


@pytest.fixture(scope="module")
def search() -> Run:
    return sample(SEARCH, 6000, burn_in=1000, seed=11, integrate_out="amplitudes")


def indicators(run: Run) -> np.ndarray:
    places = [p for p, n in enumerate(run.posterior.names) if n.endswith("_g")]
    return run.draws[..., places]


def shares(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Inclusion and pair probabilities and their errors; in units where none ever changed, as if
    one more draw had."""
    from sampler.series import autocorrelation_time

    g = indicators(run)
    both = g[..., :, None] * g[..., None, :]
    flat = both.reshape(*g.shape[:2], -1)
    p = flat.mean(axis=(0, 1))
    size = flat.shape[0] * flat.shape[1]
    tau = np.array([autocorrelation_time(flat[..., i]) if 0 < p[i] < 1 else 1.0
                    for i in range(len(p))])
    return p, np.sqrt(np.maximum(p * (1 - p), 1.0 / size) * tau / size)


def test_all_combinations_of_eight(search: Run) -> None:
    """F, inclusion and pair probabilities against all 256 combinations; 24 000 draws, 4 errors,
    36 distinct numbers: false alarm 2e-3 over seeds."""
    states, weights = enumerated(SEARCH)
    found = free_energy(search)
    assert diagnose(search).trusted and found.estimator == "bar"
    assert within(found.value, SEARCH.constant - logsumexp(weights), found.error)
    assert found.error < 0.05
    w = np.exp(weights - logsumexp(weights))
    exact = np.einsum("s,si,sj->ij", w, states, states)
    p, error = shares(search)
    assert within(p, exact.ravel(), error)
    # Broken twin: probabilities of the same search at beta = 0.7 are told apart.
    w = np.exp((other := enumerated(SEARCH, 0.7)[1]) - logsumexp(other))
    assert not within(p, np.einsum("s,si,sj->ij", w, states, states).ravel(), error)


def test_amplitudes_come_back_from_their_exact_law(search: Run) -> None:
    """Mean of h over all draws with the component in, against the mixture of all combinations;
    while it is out, h follows its prior.  4 errors, 16 numbers: false alarm 1e-3."""
    states, weights = enumerated(SEARCH)
    w = np.exp(weights - logsumexp(weights))
    means = []
    for state in states:            # posterior mean of h given the combination, all candidates
        one = Posterior(SEARCH.blocks[0].model.with_priors(
            {f"line{k + 1}_g": float(s) for k, s in enumerate(state)}), DATA)
        means.append(Conjugate(one).tempered(1.0)[0][1:])
    g = indicators(search)
    h = search.draws[..., [p for p, n in enumerate(SEARCH.names) if n.endswith("_h")]]
    for k in range(8):
        on = g[..., k] == 1
        if on.sum() > 400:
            exact = float(w @ (states[:, k] * np.array(means)[:, k]) / (w @ states[:, k]))
            # Successive draws of a combination are correlated: 10 draws count as one.
            assert within(h[..., k][on].mean(), exact, h[..., k][on].std() * (10 / on.sum())**0.5)
        prior, off = SEARCH.priors[f"line{k + 1}_h"], h[..., k][~on]
        if len(off) > 400:
            assert within(off.mean(), prior.mean, prior.sd / len(off) ** 0.5)
            assert within(off.var(), prior.sd**2, prior.sd**2 * (2 / len(off)) ** 0.5)


@pytest.mark.parametrize("noise", [0.2, LogUniform(0.05, 2.0)])
def test_nothing_left_to_move_or_only_the_noise(noise: Any) -> None:
    """A polynomial with normal coefficients: F is exact, or an integral over the noise alone."""
    line = Model.single(shapes.polynomial(2), **{f"c{i}": Normal(0.5, 1.0) for i in range(3)})
    known = Posterior(line, Data(X, Y, noise=0.2))
    run = sample(Posterior(line, Data(X, Y, noise=noise)), 1000, burn_in=300, seed=3,
                 integrate_out="amplitudes")
    found = free_energy(run)
    if noise == 0.2:
        exact = Conjugate(known).free_energy() + known.constant
        assert found.value == pytest.approx(exact, abs=1e-9) and found.estimator == "exact"
        assert diagnose(run).trusted
        mean, covariance = Conjugate(known).tempered(1.0)
        draws = run.draws.reshape(-1, 3)
        assert within(draws.mean(axis=0), mean, np.sqrt(np.diag(covariance) / len(draws)))
        white = np.linalg.solve(np.linalg.cholesky(covariance), (draws - mean).T)
        assert np.abs(white @ white.T / len(draws) - np.eye(3)).max() < 4 * math.sqrt(
            2 / len(draws))
        return
    log_s = np.linspace(math.log(0.05), math.log(2.0), 4001)
    F = np.array([Conjugate(Posterior(line, Data(X, Y, noise=float(s)))).free_energy()
                  + len(X) * math.log(s) for s in np.exp(log_s)])
    top = F.min()
    Z = np.trapezoid(np.exp(top - F), log_s) / math.log(40.0)
    exact = top - math.log(Z) + run.posterior.constant
    assert within(found.value, exact, found.error) and found.error < 0.05


@pytest.mark.long
@pytest.mark.parametrize("name", ["peaks", "a uniform height", "selection of lines that move"])
def test_the_same_free_energy_as_with_amplitudes_drawn(name: str) -> None:
    """F does not depend on what is integrated out; 4 joint errors, false alarm 2e-4."""
    posterior, wanted = MODELS[name]
    one = free_energy(sample(posterior, 2000, burn_in=1000, seed=8, integrate_out=wanted))
    two = free_energy(sample(posterior, 2000, burn_in=1000, seed=9))
    assert within(one.value, two.value, math.hypot(one.error, two.error))
    assert max(one.error, two.error) < 0.2
    assert abs(one.bar - two.bar) < 4 * math.hypot(one.bar_error, two.bar_error)


def test_an_interval_under_a_parabola() -> None:
    """Against quadrature in 30 digits, from flat to sharp, in the middle and far in a tail."""
    import mpmath as mp

    for precision, pull, lo, hi in [
            (0.0, 0.0, 0.0, 1.0), (1e-9, 3.0, 0.0, 1.0), (0.0, 500.0, -2.0, 1.0),
            (3.0, -40.0, 0.2, 1.7), (1e4, 2e3, 0.0, 1.0), (1e4, -2e3, 0.0, 1.0),
            (1e6, 2e6, 0.0, 1.0), (2.0, 1.0, -1.0, math.inf), (1.0, -60.0, 0.0, math.inf),
            (4.0, 0.0, -math.inf, -3.0), (1e-3, 0.1, 0.0, 1e3)]:
        with mp.workdps(30):
            p, b = mp.mpf(precision), mp.mpf(pull)
            if precision:
                root, mean = mp.sqrt(p), b / p
                ends = [mp.mpf(v) if math.isfinite(v) else mp.sign(v) * mp.inf for v in (lo, hi)]
                low, high = ((v - mean) * root / mp.sqrt(2) for v in ends)
                tail = (low, high) if low > 0 else (-high, -low)
                mass = mp.erfc(tail[0]) - mp.erfc(tail[1])
                exact = b * mean / 2 + mp.log(mp.sqrt(mp.pi / 2) / root * mass)
            else:
                exact = mp.log((mp.exp(b * hi) - mp.exp(b * lo)) / b) if b else mp.log(hi - lo)
        found = collapsed.log_interval(precision, pull, lo, hi)
        assert found == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


# ---- each move leaves the tempered law alone ----------------------------------------------------


MOVES = ("flip", "trade")
SMALL = Posterior(LEVEL + candidates([1.0, 2.2, 2.8, 4.1], present=0.3), DATA)
REPLICAS = 20_000


def symmetry(move: str, beta: float, broken: str = "") -> float:
    """p-value: (before, after) of one move has the law of (after, before), from exact starts.

    ``broken``: starts from the law of another temperature, or of other priors.
    """
    from scipy.special import gammaincc

    from experiments.campaigns.moves import symmetry_p

    tables = amplitudes.tables(SMALL, amplitudes.integrable(SMALL, "amplitudes"))
    a, switch = tables.amplitudes, tables.amplitudes.switch
    held = np.array(a.move)
    first = switch[switch >= 0][1 if move == "flip" else 0]
    for q in switch[switch >= 0]:
        if move == "trade" or q != first:
            held[q] = problem.WALK        # with a step of nought: it stays
    tables = tables._replace(amplitudes=a._replace(move=held, trades=int(move == "trade")))
    states, weights = enumerated(SMALL, 0.9 * beta + 0.1 if broken == "temperature" else beta)
    if broken == "prior":
        weights = weights + np.where(states[:, 1] == 1, 0.4, 0.0)
    law = np.exp(weights - logsumexp(weights))
    generator = np.random.default_rng(77)
    before = generator.choice(len(states), REPLICAS, p=law)
    chain, work = collapsed.buffers(tables, SMALL.dimension, REPLICAS)
    chain.theta[:, switch[switch >= 0]] = states[before]
    size, P = REPLICAS, SMALL.dimension
    collapsed.sweeps(tables, chain, work, np.full(size, max(beta, 1e-300)), np.zeros((size, P)),
                     keys_of(21), 1, np.empty((1, size)), np.empty((1, size), np.int16),
                     np.empty((1, P)), np.zeros((size, P), np.int64), np.zeros((size, P), np.int64))
    after = chain.theta[:, switch[switch >= 0]] @ (2.0 ** np.arange(len(states[0]))[::-1])
    after = after.astype(np.int64)
    assert 0.01 < np.mean(before != after)
    expected = law * REPLICAS
    seen = expected > 5
    miss = np.sum((np.bincount(after, minlength=len(states)) - expected)[seen] ** 2
                  / expected[seen])
    flat = float(gammaincc(0.5 * (seen.sum() - 1), 0.5 * miss))
    return min(1.0, 2.0 * min(flat, symmetry_p(before, after, len(states), flat=False)))


@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("move", MOVES)
def test_flip_and_trade_are_reversible(move: str, beta: float) -> None:
    """20 000 replicas from the exact law over 16 combinations, one move each; p > 1e-5."""
    assert symmetry(move, beta) > 1e-5


@pytest.mark.parametrize(("move", "broken"), [
    (move, broken) for move in MOVES for broken in ("temperature", "prior")])
def test_a_move_for_another_law_is_caught(move: str, broken: str) -> None:
    assert symmetry(move, 0.1, broken) < 1e-9


def test_rounding_does_not_add_up_within_a_sweep() -> None:
    """80 candidates, half of them in: after 80 flips and 40 trades the energy carried on is that
    of a factor made anew."""
    crowd = Posterior(candidates(np.linspace(0, 6, 80), height=Normal(0, 3.0), present=0.1),
                      Data(X, Y, noise=0.01))
    tables = amplitudes.tables(crowd, amplitudes.integrable(crowd, "amplitudes"))
    chain, work = collapsed.buffers(tables, crowd.dimension, 1)
    switch = tables.amplitudes.switch
    chain.theta[0, switch] = np.arange(80) % 2
    shape = (1, crowd.dimension)
    accepted = np.zeros(shape, np.int64)
    collapsed.sweeps(tables, chain, work, np.full(1, 1e-4), np.zeros(shape), keys_of(3), 1,
                     np.empty((1, 1)), np.empty((1, 1), np.int16), np.empty(shape), accepted,
                     np.zeros(shape, np.int64))
    assert accepted.sum() > 20
    carried = float(chain.energy[0])
    collapsed.rebuild(tables, chain, work, 0)
    assert carried == pytest.approx(float(chain.energy[0]), rel=1e-9)


# ---- equal bits, saved runs, what is refused ----------------------------------------------------


def same(a: Run, b: Run) -> bool:
    return all(np.array_equal(getattr(a, n), getattr(b, n))
               for n in ("betas", "energy", "replica", "draws", "steps")) and all(
        np.array_equal(getattr(a.state, f.name), getattr(b.state, f.name))
        for f in dataclasses.fields(exchange.State)) and a.integrated == b.integrated


@pytest.mark.parametrize("name", ["selection", "selection of lines that move", "two data sets"])
def test_equal_bits_over_threads_cuts_and_the_disk(name: str, monkeypatch: pytest.MonkeyPatch,
                                                   tmp_path: Path) -> None:
    posterior, wanted = MODELS[name]

    def run(sweeps: int, **more: Any) -> Run:
        return sample(posterior, sweeps, burn_in=60, chains=3, seed=4, integrate_out=wanted, **more)

    whole = run(90, threads=1)
    assert same(whole, run(90, threads=3))
    half = load_run(save_run(run(37), tmp_path / "half.npz"))
    assert same(whole, resume(half, 53))
    monkeypatch.setattr(exchange, "SLICE_SECONDS", 0.0)      # slices of one sweep
    assert same(whole, run(90))


def test_a_file_cannot_name_amplitudes_that_are_none(tmp_path: Path) -> None:
    run = sample(*MODELS["peaks"][:1], 5, burn_in=5, ladder=Ladder.geometric(4, 2.0),
                 integrate_out="amplitudes")
    wrong = dataclasses.replace(run, integrated=("peak1_center",))
    with pytest.raises(InputError, match="not linear"):
        load_run(save_run(wrong, tmp_path / "wrong.npz"))


def test_the_table_says_what_was_integrated_out(search: Run) -> None:
    assert "integrated out of U, drawn afterwards" in summary(search)
    with pytest.raises(InputError, match="integrated out of U"):
        free_energy_of_noise(search, 1.0, 2.0)


@pytest.mark.parametrize(("model", "wanted", "words"), [
    (PEAKS, "heights", "expected 'amplitudes'"),
    (PEAKS, ("peak1_width",), "a parameter that is not linear"),
    (PEAKS, ("peak3_height",), "a free parameter"),
    (PEAKS, 3, "expected 'amplitudes'"),
    (PEAKS.with_priors({"peak_height": Gamma(2, 1)}), "amplitudes", "leave integrate_out away"),
    (PEAKS.with_priors({"peak_height": (0, 2)}) + LEVEL, "amplitudes",
     "bounds on peak1_height, peak2_height.*integrate_out=..offset"),
    (Model.single(shapes.gaussian, height=1.0, center=(0, 6), width=(0.3, 3)), "amplitudes",
     "a model without linear amplitudes"),
    (Model.single(shapes.Formula("product", _g * _h * sp.exp(-_x), ("g", "h")), g=Normal(0, 1),
                  h=Normal(0, 1)), "amplitudes", "g and h, which multiply each other"),
    (LEVEL.with_priors({"offset": Normal(0, 1e9)}) + PEAKS, "amplitudes", "narrow its prior")])
def test_what_has_no_closed_form_is_refused_by_name(model: Model, wanted: Any,
                                                    words: str) -> None:
    with pytest.raises(InputError, match=words):
        sample(Posterior(model, DATA), 10, burn_in=10, integrate_out=wanted)


def test_poisson_counts_are_refused() -> None:
    with pytest.raises(InputError, match="under Gaussian noise"):
        sample(Posterior(LEVEL, Data([0, 1], [3, 4], noise="poisson")), 10,
               integrate_out="amplitudes")


def test_the_cache_of_this_file_knows_the_other() -> None:
    """Numba's key of the compiled entry holds the digest of cpu.py."""
    one, other = collapsed._advance, collapsed._compiled(collapsed.STAMP + 1)
    codegen = one.targetctx.codegen()
    keys = [f._cache._index_key((), codegen) for f in (one, other)]
    assert keys[0] != keys[1]
    assert keys[0] == collapsed._compiled(collapsed.STAMP)._cache._index_key((), codegen)
