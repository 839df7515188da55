"""F under other prior widths, reweighted from one run, against exact answers."""

import dataclasses
import math

import numpy as np
import pytest
from statistics_helpers import Conjugate, as_run, conjugate_run, within

from sampler import Data, Model, Posterior, Run, choose, shapes
from sampler.priors import (
    Beta,
    Gamma,
    InverseGamma,
    LogUniform,
    Normal,
    Uniform,
    log_density,
    support,
)
from sampler.sensitivity import TOGETHER, families, scaled, sensitivity, shift

BETAS = np.array([0.0, 0.003, 0.03, 0.3, 1.0])
X = np.linspace(-1.0, 1.0, 12)
LINE = Data(X, 0.4 + 0.9 * X + 0.3 * np.cos(9 * X), noise=0.5)


def line(offset: Normal, slope: Normal) -> Posterior:
    return Posterior(Model.single(shapes.linear, offset=offset, slope=slope), LINE)


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("names", [["offset"], ["slope"], ["offset", "slope"], []])
def test_normal_priors_against_the_marginal_law_of_the_data(factor: float,
                                                            names: list[str]) -> None:
    """4 x 5000 independent draws, 4 standard errors: 8 comparisons, false alarm 1 in 2000.  F' by
    the determinant of the data's covariance, a route without draws."""
    old = {"offset": Normal(0.2, 1.0), "slope": Normal(0.0, 1.5)}
    new = {n: scaled(p, factor) if n in names else p for n, p in old.items()}
    exact = Conjugate(line(**new)).free_energy() - Conjugate(line(**old)).free_energy()
    found = shift(conjugate_run(line(**old), BETAS, 5000, 7), names, factor)
    if not names:
        assert (found.change, found.error, exact) == (0.0, 0.0, 0.0)
        return
    assert found.error < 0.05
    assert within(found.change, exact, found.error)
    # Broken twin: the sign of the logarithm.
    assert not within(-found.change, exact, found.error)


def level(lo: float, hi: float, mean: float = 0.0, sd: float = 0.1, seed: int = 3) -> Run:
    """A constant of uniform prior, one point y = mean with noise sd: exact draws by inversion."""
    posterior = Posterior(Model.single(shapes.constant, offset=(lo, hi)),
                          Data([0.0], [mean], noise=sd))
    draws = np.random.default_rng(seed).normal(mean, sd, (40, 20_000))
    draws = draws[(draws > lo) & (draws < hi)][:16_000].reshape(4, 4000, 1)
    energy = posterior.energy(draws)
    rungs = np.repeat(energy[..., None], 2, axis=-1)
    return as_run(posterior, [0.0, 1.0], rungs, np.zeros_like(rungs), draws)


def log_Z(lo: float, hi: float, mean: float = 0.0, sd: float = 0.1) -> float:
    """Of `level`, without its constant: the normal's mass inside over the width."""
    mass = 0.5 * (math.erf((hi - mean) / sd / math.sqrt(2)) - math.erf((lo - mean) / sd
                                                                       / math.sqrt(2)))
    return math.log(mass / (hi - lo))


@pytest.mark.parametrize(("lo", "hi", "mean"), [(-1.0, 1.0, 0.0), (0.0, 3.0, 0.9), (-1, 1, 0.45),
                                                 (0.0, 0.8, 0.35), (-1.0, 1.0, 0.6)])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_uniform_priors_against_erf(lo: float, hi: float, mean: float, factor: float) -> None:
    """16,000 draws, 4 standard errors plus what lies outside the wall; the last two cut into the
    posterior when halved."""
    new = scaled(Uniform(lo, hi), factor)
    assert isinstance(new, Uniform)
    exact = log_Z(lo, hi, mean) - log_Z(new.lo, new.hi, mean)
    found = shift(level(lo, hi, mean), ["offset"], factor)
    assert found.change is not None
    assert abs(found.change - exact) <= 4.0 * found.error + 0.005


def test_a_posterior_on_a_wall_asks_for_a_refit() -> None:
    """Half of it lies beyond the wall: the run has no draws there, and ln 2 would be wrong by
    ln 2.  Widening away from that wall changes nothing at it."""
    found = shift(level(-1.0, 1.0, 1.0), ["offset"], 2.0)
    assert found.change is None
    assert found.why.startswith("offset reaches its bound 1 (")
    exact = log_Z(-1.0, 1.0, 1.0) - log_Z(-2.0, 2.0, 1.0)
    assert abs(math.log(2.0) - exact) > 0.6
    anchored = shift(level(0.0, 2.0, 0.0), ["offset"], 2.0)     # its wall at 0 stays
    assert anchored.change == pytest.approx(math.log(2.0), abs=1e-12)


def test_a_prior_that_no_draw_has_reached_asks_for_a_refit() -> None:
    assert "no draw lies inside" in shift(level(-1.0, 1.0, 0.9, 0.02), ["offset"], 0.5).why
    few = shift(level(-1.0, 1.0, 0.85, 0.1), ["offset"], 0.5)   # 3.5 sd away: 3 draws of 16,000
    assert few.change is None and "too few draws" in few.why


@pytest.mark.parametrize("prior", [Uniform(-3, 5), Uniform(0.1, 4), LogUniform(0.01, 7),
                                   Normal(1, 0.3, 0), Gamma(5, 2), InverseGamma(6, 2)])
def test_a_scaled_prior_is_normalised_and_has_the_width_asked_for(prior: object) -> None:
    """Widths by quadrature on a fine grid; relative sd for a Gamma, and of 1/x for its inverse."""
    from scipy.integrate import quad

    assert scaled(Beta(2, 3), 2.0) is None
    for factor in (0.5, 2.0):
        new = scaled(prior, factor)                             # type: ignore[arg-type]
        assert new is not None
        low, high = (max(-50.0, support(new)[0]), min(400.0, support(new)[1]))
        mass = quad(lambda v, p=new: math.exp(float(log_density(p, v))), low, high, limit=400,
                    points=[0.01, 0.1, 1.0, 10.0] if low < 0.01 else None)[0]
        assert mass == pytest.approx(1.0, abs=2e-4)
    lo, hi = (support(p) for p in (scaled(Uniform(0.1, 4), 2.0), scaled(Uniform(2, 4), 2.0)))
    assert lo == pytest.approx((0.1, 7.9)) and hi == (1.0, 5.0)
    wide = scaled(LogUniform(0.01, 7), 2.0)
    assert math.log(wide.hi / wide.lo) == pytest.approx(2 * math.log(700.0))
    assert math.sqrt(wide.hi * wide.lo) == pytest.approx(math.sqrt(0.07))
    gamma = scaled(Gamma(5, 2), 0.5)
    assert (gamma.shape / gamma.rate, gamma.shape**-0.5) == pytest.approx((2.5, 0.5 * 5**-0.5))


def test_components_share_a_width_and_shares_have_none() -> None:
    two = Model.repeated(2, shapes.pseudo_voigt, height=(0, 3), center=(0, 3), width=(0.1, 1),
                         mixing=(0, 1))
    posterior = Posterior(two, Data([0, 1, 2], [0.1, 0.9, 0.2], noise="unknown"))
    draws = np.tile([1.0, 1.0, 0.5, 0.5, 1.0, 2.0, 0.5, 0.5, 0.1], (4, 100, 1))
    run = as_run(posterior, [0.0, 1.0], np.zeros((4, 100, 2)), np.zeros((4, 100, 2)), draws)
    known = families(run)
    assert list(known) == ["peak_height", "peak_center", "peak_width", "sigma"]
    assert shift(run, known["peak_height"], 2.0).change == pytest.approx(2 * math.log(2.0))


def test_the_choice_moves_as_f_does() -> None:
    """Two lines, one with a slope: doubling its prior costs it ln 2 and more, and p follows."""
    flat = Posterior(Model.single(shapes.linear, offset=Normal(0, 1), slope=0.0), LINE)
    runs = {"flat": conjugate_run(flat, BETAS, 3000, 1),
            "line": conjugate_run(line(Normal(0, 1), Normal(0, 1)), BETAS, 3000, 2)}
    choice = choose(runs)
    rows = {(w.prior, w.factor): w for w in sensitivity(choice, runs)}
    assert set(rows) == {(p, f) for p in ("offset", "slope", TOGETHER) for f in (0.5, 2.0)}
    wide = rows["slope", 2.0]
    assert wide.shifts["flat"].change == 0.0
    F = {k: choice[k].free_energy.value + wide.shifts[k].change for k in runs}
    odds = math.exp(F["flat"] - F["line"])
    assert wide.probability["line"] == pytest.approx(odds / (1 + odds), rel=1e-9)
    assert wide.favoured == "line" and wide.refit == ()
    assert wide.option == "slope=Normal(0.0, 2.0, -inf, inf)"
    both = rows[TOGETHER, 2.0].shifts["line"]
    exact = Conjugate(line(Normal(0, 2), Normal(0, 2))).free_energy() - Conjugate(
        line(Normal(0, 1), Normal(0, 1))).free_energy()
    assert within(both.change, exact, both.error)


def test_what_cannot_be_told_is_not_told() -> None:
    pressed, free = level(-1.0, 1.0, 1.0), level(-1.0, 1.0)
    free = dataclasses.replace(free, posterior=Posterior(
        free.posterior.blocks[0].model, pressed.posterior.blocks[0].data))
    runs = {"a": pressed, "b": free}
    choice = choose(runs)
    row = next(w for w in sensitivity(choice, runs) if w.factor == 2.0)
    assert row.refit == ("a",)
    assert row.favoured is None and row.probability == {}
