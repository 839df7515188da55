"""The compiled kernel against the plain one: same state in, same decisions out.

Not statistical: both take their numbers from the same counters, so every accepted proposal,
every exchange and every exact draw must agree, sweep by sweep, except in a sweep where a
decision hangs on the last digits (|ln u - gain| < 1e-9; about one in 1e6 sweeps, and skipped).
"""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from sampler import data as data_module
from sampler import jumps, mixture, philox, priors, shapes
from sampler.data import Data
from sampler.exchange import buffers
from sampler.instruments import diffraction, mossbauer, scattering, xanes
from sampler.kernels import cpu, problem, reference
from sampler.model import Model
from sampler.posterior import Posterior, joint
from sampler.priors import (
    Bernoulli,
    Beta,
    Gamma,
    InverseGamma,
    LogUniform,
    Normal,
    Ordered,
    Uniform,
)

RUNGS, SWEEPS, FEW = 24, 200, 25
X = np.linspace(0.0, 3.0, 21)
SHAPES = [shapes.gaussian, shapes.lorentzian, shapes.pseudo_voigt, shapes.exponential,
          shapes.stretched_exponential, shapes.recovery, shapes.stretched_recovery,
          shapes.constant, shapes.linear, shapes.polynomial(2)]
LAWS = ["known", "unknown", "factor", "poisson", "student", "student_factor"]
KINDS = [Uniform(0.1, 3.0), LogUniform(0.05, 3.0), Normal(1.0, 0.5), Normal(0.5, 0.5, lo=0.2),
         Gamma(3.0, 2.0), Gamma(0.7, 1.0), InverseGamma(3.0, 2.0), Beta(2.0, 1.5),
         Bernoulli(0.5)]


INSTRUMENTS = [
    scattering.SPHERE, xanes.EDGE, xanes.WHITE_LINE,
    diffraction.pattern("phase", [0.5, 2.0], [1.0, 0.4], 0.3),
    *(term.formula for term in mossbauer.transmission(
        "sextet_quadrupole", 4.0, scale=1.0, depth=0.1, width=1.0, shift=0.0, field=1.0,
        quadrupole=0.1).terms),
    *(term.formula for drive in ("triangle", "sinusoid") for term in mossbauer.unfolded(
        ["outer"], 8, drive, {"velocity": 1.0, "fold": 0.0, "shift": 0.0, "field": 1.0,
                              "width": 1.0, "outer_depth": 1.0},
        level=1.0, cosine=0.0, sine=0.0).terms[-1:]),
    mossbauer.unfolded([], 8, level=1.0, cosine=0.0, sine=0.0).terms[0].formula]


def measured(law: str, x: np.ndarray = X) -> Data:
    """Synthetic, fixed; the sampler's decisions matter here, not the fit."""
    y = np.round(3.0 + 2.0 * np.sin(2.0 * x))
    spread = 0.4 + 0.1 * np.cos(x)
    match law:
        case "known":
            return Data(x, y, noise=spread)
        case "unknown":
            return Data(x, y, noise=LogUniform(0.05, 5.0))
        case "factor":
            return Data(x, y, noise=InverseGamma(3.0, 2.0), sigma=spread)
        case "student":
            return Data(x, y, noise=spread, tails=1.5)
        case "student_factor":
            return Data(x, y, noise=LogUniform(0.05, 5.0), sigma=spread, tails=4)
        case _:
            return Data(x, y, noise="poisson")


class Pair:
    """Both kernels on one posterior."""

    def __init__(self, posterior: Posterior, seed: int = 3) -> None:
        self.posterior, self.seed = posterior, seed
        self.p = problem.lower(posterior, compiled=True)
        d, n = posterior.dimension, len(self.p.y)
        c = int(self.p.padded[self.p.block].sum())
        zeros = problem.aligned_zeros
        self.chain = cpu.Chain(np.zeros((RUNGS, d)), zeros((RUNGS, c)), zeros((RUNGS, n)),
                               np.zeros((RUNGS, len(self.p.law))), np.zeros(RUNGS),
                               np.arange(RUNGS))
        self.work = cpu.Work(zeros((c,)), zeros((n,)), np.zeros(len(self.p.law)),
                             np.zeros(d + len(self.p.fixed)), np.zeros(64), np.zeros(d),
                             np.zeros(d))
        self.betas = np.concatenate([[0.0], 1.5 ** np.arange(2.0 - RUNGS, 1.0)])
        limits = problem.step_limits(posterior)
        shrink = np.minimum(1.0, 0.2 / np.sqrt(np.maximum(self.betas, 1e-4)))
        self.steps = shrink[:, None] * limits
        streams = (philox.START, philox.PRIOR, philox.WALK, philox.SWAP, philox.JUMP)
        self.keys = np.array([philox.stream_key(seed, s) for s in streams], dtype=np.uint64)
        self.jumps = jumps.nowhere(posterior, self.p, RUNGS)
        self.spare = buffers(self.p, d, 1)[0]
        self.accepted = 0
        self._start()

    def _start(self) -> None:
        for r in range(RUNGS):
            for attempt in range(1000):
                cpu.draw_prior(self.p.kind, self.p.prior, self.p.below, self.p.above, attempt, r,
                               self.keys[0], self.chain.theta[r])
                again = reference.draw_prior_at(self.p, attempt, r, int(self.keys[0]))
                np.testing.assert_allclose(self.chain.theta[r], again, rtol=1e-12)
                cpu.rebuild(self.p, self.chain, self.work, r)
                if np.isfinite(self.chain.energy[r]):
                    break

    def compiled(self, number: int) -> tuple[np.ndarray, ...]:
        shape = self.steps.shape
        out = (np.empty((1, RUNGS)), np.empty((1, RUNGS), np.int16), np.empty((1, shape[1])),
               np.zeros(shape, np.int64), np.zeros(shape, np.int64))
        arguments = (self.chain, self.work, self.betas, self.steps, self.keys, number, *out)
        self.jumped = np.zeros(RUNGS, np.int64)
        if self.jumps.on.any():
            jumping = cpu.Jumping(self.spare, np.zeros((5, 3 + 2 * shape[1])), self.jumped,
                                  np.zeros(RUNGS, np.int64), np.zeros((1, RUNGS, shape[1])))
            cpu.jumping_sweeps(cpu.address_of_sweeps(self.p, *arguments), self.p, self.jumps,
                               jumping, *arguments, 1)
            self.thetas = jumping.thetas
        else:
            cpu.sweeps(self.p, *arguments)
        return out

    def learn(self, sweeps: int = 300) -> None:
        """Jumps of all rungs but the prior's, fitted to what the walks have seen."""
        seen = np.empty((sweeps, *self.chain.theta.shape))
        for number in range(sweeps):
            self.compiled(1_000_000 + number)
            seen[number] = self.chain.theta[self.chain.rung]
        self.jumps = jumps.fit_jumps(self.posterior, self.jumps, seen, self.betas > 0.0,
                                     self.seed, 1)

    def locked(self, sweeps: int) -> int:
        """Run both, sweep by sweep from the same state; the number of sweeps compared."""
        compared = 0
        for number in range(1, sweeps + 1):
            theta, rung = self.chain.theta.copy(), self.chain.rung.copy()
            energy, replica, draw, accepted, _ = self.compiled(number)
            jumped, nearest = reference.jump(self.posterior, self.p, self.jumps, theta, rung,
                                             self.betas, self.seed, 0, number)
            trace = reference.sweep(self.posterior, self.p, theta, rung, self.betas, self.steps,
                                    self.seed, 0, number)
            self.accepted = self.accepted + self.jumped.sum()
            if min(nearest, trace.margin) < 1e-9:
                continue
            compared += 1
            np.testing.assert_array_equal(self.jumped, jumped)
            np.testing.assert_array_equal(replica[0], trace.replica)
            np.testing.assert_array_equal(accepted, trace.accepted)
            np.testing.assert_array_equal(self.chain.rung, rung)
            np.testing.assert_allclose(draw[0], trace.draw, rtol=1e-9, atol=1e-12)
            same = np.isinf(energy[0]) & np.isinf(trace.energy)
            with np.errstate(invalid="ignore"):
                off = np.abs(energy[0] - trace.energy) / (1.0 + np.abs(trace.energy))
            assert np.all(same | (off < 1e-12)), (number, off.max())
        self._states_are_models()
        return compared

    def _states_are_models(self) -> None:
        for b, block in enumerate(self.posterior.blocks):
            first = self.p.start[b]
            state = self.chain.state[:, first:first + block.data.size]
            model = self.posterior.predict(self.chain.theta, block=b)
            if block.data.law != data_module.POISSON:
                model = model - block.data.y
            ok = np.isfinite(model).all(axis=1)
            scale = 1.0 + np.abs(model[ok]).max()
            assert np.abs(state[ok] - model[ok]).max() < 1e-9 * scale


def rotated(formula: shapes.Formula, K: int, turn: int) -> Model:
    """K components; component k's parameter j has prior kind number (turn + 3k + j)."""
    model = Model.repeated(K, formula, "part", **dict.fromkeys(formula.parameters, (0.1, 3.0)))
    changes = {f"part{k + 1}_{n}": KINDS[(turn + 3 * k + j) % len(KINDS)]
               for k in range(K) for j, n in enumerate(formula.parameters)}
    return model.with_priors(changes)


def turns(formula: shapes.Formula, K: int) -> range:
    """Enough turns of the priors that each kind comes to lie on the shape; K = 3 starts at
    another one, so that a parameter meets other kinds than with K = 1."""
    step = min(3, len(formula.parameters))
    return range(0, len(KINDS), step) if K == 1 else range(1, 4, step)


def every_pair(formulas: list[shapes.Formula]) -> list:
    """Every formula with every noise law, for all sweeps in `make reliability`; for a few of them
    `make test` takes all laws of the first formula and one of each other, `make test-long` the
    rest."""
    return [pytest.param(formula, law, sweeps, id=f"{formula.name}-{law}-{sweeps}",
                         marks=[pytest.mark.slow] if sweeps == SWEEPS else
                         [pytest.mark.long] * (i > 0 and LAWS[i % len(LAWS)] != law))
            for i, formula in enumerate(formulas) for law in LAWS for sweeps in (FEW, SWEEPS)]


@pytest.mark.parametrize(("formula", "law", "sweeps"), every_pair(SHAPES))
def test_same_decisions_for_every_shape_noise_law_and_prior(formula, law, sweeps):
    """K = 1 and 3, each with every kind of prior on some parameter of the shape."""
    background = Model.single(shapes.constant, prefix="base_", offset=(0.5, 6.0))
    for K in (1, 3):
        seen = set()
        for turn in turns(formula, K):
            model = rotated(formula, K, turn)
            seen |= {repr(model.priors[name]) for name in model.free}
            pair = Pair(Posterior(background + model, measured(law)))
            assert pair.locked(sweeps) > sweeps - 5
        assert seen == {repr(kind) for kind in KINDS}


@pytest.mark.parametrize(("formula", "law", "sweeps"), every_pair(INSTRUMENTS))
def test_same_decisions_for_every_formula_of_an_instrument(formula, law, sweeps):
    """One component, each kind of prior on some parameter; q > 0, where a sphere scatters."""
    background = Model.single(shapes.constant, prefix="base_", offset=(0.5, 6.0))
    seen = set()
    for turn in turns(formula, 1):
        model = rotated(formula, 1, turn)
        seen |= {repr(model.priors[name]) for name in model.free}
        posterior = Posterior(background + model, measured(law, X + 0.1))
        assert Pair(posterior).locked(sweeps) > sweeps - 5
    assert seen == {repr(kind) for kind in KINDS}


@pytest.mark.parametrize("sweeps", [FEW, pytest.param(SWEEPS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("law", LAWS)
def test_same_decisions_for_mixed_shapes_shared_fixed_and_ordered(law, sweeps):
    """A Gaussian and two pseudo-Voigts of one shared width, ordered centres, a fixed slope."""
    width = {"width": LogUniform(0.1, 1.0)}
    model = (Model.single(shapes.linear, offset=(0.5, 6.0), slope=-0.1)
             + Model.single(shapes.gaussian, prefix="main_", height=Gamma(2, 1), center=(0, 3),
                            width="width", priors=width)
             + Model.repeated(2, shapes.pseudo_voigt, height=(0, 4), mixing=Beta(1.0, 2.0),
                              center=Ordered(Uniform(0, 3)), width="width", priors=width))
    pair = Pair(Posterior(model, measured(law)))
    assert pair.locked(sweeps) > sweeps - 5
    names = pair.posterior.names
    first, second = names.index("peak1_center"), names.index("peak2_center")
    assert np.all(pair.chain.theta[:, first] < pair.chain.theta[:, second])


def test_same_decisions_for_joint_data_with_selection():
    """Three data sets of different noise laws sharing a centre, two of them their scale; a 0/1
    switch on one line."""
    x, g, h, c = sp.symbols("x g h c", real=True)
    switched = shapes.Formula("switched", g * h * sp.exp(-(x - c) ** 2), ("g", "h", "c"))
    base = Model.single(shapes.constant, offset=(0.5, 6.0))
    line = Model.single(switched, g=Bernoulli(0.4), h=Normal(1.0, 1.0), c=(0.0, 3.0))
    one = Posterior(base + line, measured("unknown"))
    two = Posterior((base + line).renamed(h="h_b", offset="offset_b"), measured("poisson"))
    three = Posterior(Model.single(shapes.linear, offset="offset_b", slope=(-1, 1), priors={
        "offset_b": (0.5, 6.0)}), replace(measured("unknown"), tails=3))
    pair = Pair(joint(one, two, three))
    assert pair.locked(SWEEPS) > SWEEPS - 5
    assert set(np.unique(pair.chain.theta[:, pair.posterior.names.index("g")])) <= {0.0, 1.0}


def crowded() -> Posterior:
    """Every kind of bound and coordinate, two exchangeable groups and an ordered one."""
    kinds = [Uniform(0.1, 3.0), LogUniform(0.05, 3.0), Normal(1.0, 0.5), Normal(0.5, 0.5, lo=0.2),
             Normal(0.5, 0.5, hi=1.2), Gamma(3.0, 2.0), InverseGamma(3.0, 2.0), Beta(2.0, 1.5)]
    amplitudes, x = sp.symbols("a0:8", real=True), sp.Symbol("x", real=True)
    one = shapes.Formula("sum", sum(amplitudes) * sp.exp(-x / 4), tuple(map(str, amplitudes)))
    return Posterior(
        Model.single(one, **{f"a{i}": kind for i, kind in enumerate(kinds)})
        + Model.repeated(3, shapes.gaussian, height=(0, 4), center=(0, 3), width=(0.1, 1))
        + Model.repeated(2, shapes.exponential, "decay", amplitude=Gamma(2, 1), rate=(0.1, 3))
        + Model.repeated(2, shapes.lorentzian, "line", height=(0, 4), width=(0.1, 1),
                         center=Ordered(Uniform(0, 3))), measured("known"))


@pytest.mark.parametrize("what", [
    pytest.param("crowded", marks=pytest.mark.long), "few", "poisson"])
def test_same_decisions_for_jumps(what):
    """Jumps of fitted densities before each sweep: every kind of coordinate, labels folded and
    shuffled; both kernels jump alike, and often."""
    posterior = crowded() if what == "crowded" else Posterior(
        Model.single(shapes.constant, prefix="base_", offset=(0.5, 6.0))
        + rotated(shapes.gaussian, 2, 1).with_priors({"part1_height": (0.1, 3.0),
                                                      "part2_height": (0.1, 3.0)}),
        measured("unknown" if what == "few" else "poisson"))
    pair = Pair(posterior)
    pair.learn()
    assert pair.locked(60) > 55
    assert (20 if what == "crowded" else 100) < pair.accepted < 0.95 * 60 * (RUNGS - 1)
    assert cpu.FREEDOM == mixture.FREEDOM


@pytest.mark.parametrize("broken", ["sign of the exchange", "beta off by one", "stale step",
                                    "jump ratio"])
def test_a_broken_twin_is_caught(broken, monkeypatch):
    """The comparison has power: four planted defects in the plain kernel all show."""
    pair = Pair(Posterior(rotated(shapes.gaussian, 3, 0), measured("known")))
    if broken == "jump ratio":
        pair.learn()
        monkeypatch.setattr(reference, "_log_share", lambda *_: 0.0)
    elif broken == "sign of the exchange":
        good = reference._exchange
        monkeypatch.setattr(reference, "_exchange",
                            lambda rung, energy, *rest: good(rung, -energy, *rest))
    elif broken == "beta off by one":
        good_sweep = reference.sweep
        monkeypatch.setattr(
            reference, "sweep", lambda po, pr, th, ru, betas, *rest: good_sweep(
                po, pr, th, ru, np.concatenate([betas[:2], betas[1:-1]]), *rest))
    else:
        good_step = reference._step
        monkeypatch.setattr(reference, "_step",
                            lambda pr, p, old, step, u: good_step(pr, p, old, 1.01 * step, u))
    with pytest.raises(AssertionError):
        pair.locked(SWEEPS)


def test_constants_of_the_compiled_file_are_those_of_the_others():
    for module in (priors, problem, data_module):
        for name in ("UNIFORM", "LOG_UNIFORM", "NORMAL", "GAMMA", "INVERSE_GAMMA", "BETA",
                     "BERNOULLI", "WALK", "LINEAR", "FLIP", "GAUSSIAN", "GAUSSIAN_SCALED",
                     "POISSON", "STUDENT"):
            if hasattr(module, name):
                assert getattr(module, name) == getattr(cpu, name)
    assert cpu.DRAWS == philox.DRAWS


def test_philox_known_answers_and_compiled_twin():
    """The three published vectors of Random123 for philox4x32-10."""
    full, pi = 0xFFFFFFFF, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    known = [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((full,) * 4, (full, full), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (pi, (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1))]
    for counter, key, words in known:
        assert tuple(int(w) for w in philox.philox4x32(counter, key)) == words
    key = philox.stream_key(7, philox.WALK, 2)
    for sweep in (0, 1, 2**32 - 1, 2**32, 2**40 + 5):
        assert cpu.pair(sweep, 3, 4096, np.uint64(key)) == tuple(
            float(u) for u in philox.uniforms(sweep, 3, 4096, key))


def test_no_counter_is_used_twice_in_a_small_run():
    """Every (stream, chain) key differs, and draws of different parameters never overlap."""
    keys = [philox.stream_key(seed, stream, chain) for seed in range(20)
            for stream in range(1, 8) for chain in range(8)]
    assert len(set(keys)) == len(keys)
    # 32-bit draw counter: block-allocated per parameter.
    assert 200 * philox.DRAWS < 2**32


def test_exp2_and_log2_are_good_to_rounding():
    """Against NumPy on a fixed grid; special values as IEEE has them."""
    u = np.linspace(-1019.5, 1022.9, 20001)
    ours = np.array([cpu.vexp2(v) for v in u])
    assert np.max(np.abs(ours / np.exp2(u) - 1.0)) < 4.5e-16
    v = np.concatenate([np.geomspace(1e-300, 1e300, 20001), 1.0 + np.linspace(-1e-3, 1e-3, 999)])
    logs = np.array([cpu.vlog2(w) for w in v])
    assert np.max(np.abs(logs - np.log2(v)) / np.maximum(np.abs(np.log2(v)), 1.0)) < 4.5e-16
    assert np.isnan(cpu.vexp2(np.nan)) and np.isnan(cpu.vlog2(np.nan))
    assert np.isnan(cpu.vlog2(-1.0)) and cpu.vlog2(0.0) == -np.inf
    assert cpu.vexp2(5000.0) == np.inf and cpu.vexp2(-np.inf) < 1e-300
