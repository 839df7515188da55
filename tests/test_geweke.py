"""The joint law of parameters and data: kept by the kernel, and by no broken one.

4000 replicas of every model, seed fixed before looking; twenty moments of each within four of
their errors (false alarm 6e-5 each, 6e-3 in all; fixed seeds: it happens now or never).
"""

from typing import Any

import numpy as np
import pytest

from experiments.campaigns import geweke

SIZE = 4000


def failing(findings: Any) -> list[str]:
    return [f.claim for f in findings if f.holds is False]


def farthest(problem: str) -> float:
    return max(map(abs, geweke.scores([geweke.joint_run(problem, 1, SIZE)]).values()))


@pytest.fixture(scope="module")
def records() -> dict[str, list[Any]]:
    return {p: [geweke.joint_run(p, 1, SIZE)] for p in geweke.campaigns()[0].problems}


@pytest.mark.long
def test_the_kernel_keeps_the_joint_law_and_broken_ones_do_not(
        records: dict[str, list[Any]]) -> None:
    """Five models, twenty moments each; each planted defect moves one by four errors or more."""
    assert not failing(geweke.judge_joint(records))
    assert all(len(rows[0]["sums"]) == geweke.MOMENTS for rows in records.values())


@pytest.mark.long
@pytest.mark.parametrize("broken", ["moment", "lazy", "alone", "stale", "not caught"])
def test_the_judge_sees_one_thing_wrong(broken: str, records: dict[str, list[Any]]) -> None:
    rows = {name: [dict(r) for r in several] for name, several in records.items()}
    first = rows["right in counts"][0]
    match broken:
        case "moment":
            key = next(iter(first["sums"]))
            shift = 5.0 * first["squares"][key] ** 0.5
            first["sums"] = {**first["sums"], key: shift}
        case "lazy":
            first["moved"] = 0.0
        case "alone":
            first["exchanged"] = 0.0
        case "stale":
            first["off"] = float("nan")
        case _:
            rows[f"planted: {geweke.PLANTS[0]}"] = [first]
    assert len(failing(geweke.judge_joint(rows))) == 1


def test_every_kind_of_move_and_noise_is_under_test() -> None:
    """Kinds of prior, moves and noise laws of the five models: all that there are."""
    from sampler.kernels import cpu
    from sampler.kernels.problem import lower

    tables = [lower(geweke.posterior(name)) for name in geweke.MODELS]
    assert {int(k) for t in tables for k in t.kind} == set(range(cpu.BERNOULLI + 1))
    assert {int(m) for t in tables for m in t.move} == {cpu.WALK, cpu.LINEAR, cpu.FLIP}
    assert {int(v) for t in tables for v in t.law} == {
        cpu.GAUSSIAN, cpu.GAUSSIAN_SCALED, cpu.POISSON}
    drawn = {int(k) for t in tables for k, m in zip(t.kind, t.move, strict=True)
             if m == cpu.LINEAR}
    assert drawn == {cpu.UNIFORM, cpu.NORMAL, cpu.GAMMA}
    assert any(np.any(t.below >= 0) for t in tables) and any(len(t.law) > 1 for t in tables)


def test_data_of_other_parameters_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twin of the test itself: data that were not drawn from the parameters in the replica."""
    true = geweke.simulated

    def other(name: str, theta: Any, generator: Any) -> Any:
        return true(name, theta * np.array([1.0, 1.1, 1.0]), generator)

    assert farthest("right in counts") < 4.0
    monkeypatch.setattr(geweke, "simulated", other)
    assert farthest("right in counts") > 4.0


def test_data_are_drawn_from_the_law_that_the_energy_is_of() -> None:
    """Mean and variance of data given one theta, 100,000 rows: within 5 errors (6e-7 each); and
    differences of the energy are those of the posterior whose data are that row."""
    from sampler import Data, Posterior

    g = np.random.default_rng(8)
    for name in ("amplitudes", "ordered peaks", "counts"):
        one = geweke.posterior(name)
        block = one.blocks[0]
        theta = one.draw_prior(2, seed=4)
        y, = geweke.simulated(name, np.repeat(theta[:1], 100_000, axis=0), g)
        mean = one.predict(theta[0])
        scale = geweke._scale(one, block, theta[:1])[0] * block.data.deviation
        variance = mean if name == "counts" else scale**2
        assert np.all(np.abs(y.mean(axis=0) - mean) < 5 * np.sqrt(variance / len(y)))
        spread = np.std((y - mean) ** 2, axis=0) / np.sqrt(len(y))
        assert np.all(np.abs(np.mean((y - mean) ** 2, axis=0) - variance) < 5 * spread)
        again = Posterior(block.model, Data(block.data.x, y[0], noise=block.data.noise))
        np.testing.assert_allclose(geweke.energy(name, theta, [y[[0, 0]]]), again.energy(theta),
                                   rtol=1e-12)
