"""The reliability campaigns: their judges have power, their runs are kept, what is stored is shown.

The campaigns themselves run for hours (``make reliability``); here every judge sees records that
are right by construction, and then the same records with one thing wrong.
"""

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest

from experiments import EXPERIMENTS, reliability, results
from experiments.campaigns import (
    choosing,
    constants,
    evidence,
    honesty,
    moves,
    mutation,
    repeating,
    reruns,
    sampling,
    seed_of,
    three_peaks,
)
from experiments.paths import ROOT
from experiments.run_store import RunStore
from sampler import Data, Gamma, philox
from sampler.choice import probabilities
from sampler.kernels import reference
from theory.cases import BUILDERS, named
from theory.singular import product_partition


def failing(findings: Any) -> list[str]:
    return [f.claim for f in findings if f.holds is False]


def honest_errors(count: int, freedom: int, generator: Any) -> tuple[Any, Any]:
    """Distances and errors as an honest estimate has them: the larger of two error bars."""
    error = 0.05 * np.maximum(1.0, np.sqrt(generator.chisquare(freedom, count) / freedom))
    return 0.05 * generator.normal(size=count), error


def default_records(factor: float = 1.0, shift: float = 0.0) -> dict[str, list[Any]]:
    generator = np.random.default_rng(7)
    out = {}
    for name in evidence.PROBLEMS:
        value, error = honest_errors(200, 3, generator)
        bar, bar_error = honest_errors(200, 7, generator)
        moments = [honest_errors(200, 7, generator) for _ in range(4)]
        out[name] = [{
            "value": value[k] + shift, "error": factor * error[k], "freedom": 3,
            "bar": bar[k] + shift, "bar_error": factor * bar_error[k],
            "gap": abs(value[k]) / error[k], "apart": abs(bar[k]) / bar_error[k],
            "trusted": True, "moments": [[m[k] + shift, factor * e[k], 7] for m, e in moments]}
            for k in range(200)]
    return out


def test_honest_errors_pass_and_wrong_ones_do_not() -> None:
    """2400 records; twins: errors 20 % too small, and values off by a third of an error."""
    good, narrow, off = default_records(), default_records(0.8), default_records(shift=0.02)
    for judge in (evidence.judge_scores, evidence.judge_coverage, evidence.judge_moments):
        assert not failing(judge(good))
        assert failing(judge(narrow))
    assert not failing(evidence.judge_agreement(good))
    assert failing(evidence.judge_scores(off)) and failing(evidence.judge_moments(off))
    apart = {k: [{**r, "gap": 1.4 * r["gap"]} for r in rows] for k, rows in good.items()}
    assert failing(evidence.judge_agreement(apart))


def test_a_bias_that_stays_and_a_scatter_that_does_not_fall_are_caught() -> None:
    def records(bias: float, power: float) -> dict[str, list[Any]]:
        g = np.random.default_rng(5)
        return {"line": [{str(f): {k: bias + 0.04 * f**-power * g.normal()
                                   for k in ("value", "bar")} for f in (1, 4, 16)}
                         for _ in range(400)]}

    assert not failing(evidence.judge_bias(records(0.0, 0.5)))
    assert len(failing(evidence.judge_bias(records(0.02, 0.5)))) >= 2
    assert failing(evidence.judge_bias(records(0.0, 0.35)))


def test_uniform_ranks_pass_and_a_sampler_that_ignores_the_data_does_not() -> None:
    """1000 data sets; the twins: draws 15 % too narrow, and log-likelihoods of prior draws."""
    def records(spoil: Any) -> dict[str, list[Any]]:
        u = np.random.default_rng(3).random((1000, 4))
        ranks = np.minimum((spoil(u) * 256).astype(int), 255)
        return {"line": [{"ranks": row.tolist(), "ess": [1.0] * 4,
                          "names": ["a", "b", "log-likelihood", "prediction"]} for row in ranks]}

    def narrow(u: Any) -> Any:
        from scipy.special import ndtr, ndtri

        return np.column_stack([ndtr(1.15 * ndtri(u[:, 0])), u[:, 1:]])

    assert not failing(sampling.judge_ranks(records(lambda u: u)))
    caught = failing(sampling.judge_ranks(records(narrow)))
    assert any("a" in claim for claim in caught)
    assert failing(sampling.judge_ranks(records(lambda u: np.column_stack(
        [u[:, :2], u[:, 2] ** 0.3, u[:, 3]]))))


def test_the_band_holds_uniform_ranks_as_often_as_it_says() -> None:
    """2000 sets of 200 ranks against a level of 5 %: within 4 standard errors (0.02)."""
    g = np.random.default_rng(2)
    out = np.mean([sampling.narrowest(g.integers(0, 256, 200)) < sampling.band(200, 0.05)
                   for _ in range(2000)])
    assert abs(out - 0.05) < 4 * (0.05 * 0.95 / 2000) ** 0.5


def test_flags_are_counted_on_both_sides() -> None:
    def records(hard: int, easy: int) -> dict[str, list[Any]]:
        def rows(flagged: int) -> list[Any]:
            return [{"trusted": k >= flagged, "faults": ["rhat"] * (k < flagged)}
                    for k in range(50)]
        return {**{k: rows(hard) for k in honesty.HARD}, **{k: rows(easy) for k in honesty.EASY}}

    assert not failing(honesty.judge_flags(records(48, 1)))
    assert len(failing(honesty.judge_flags(records(47, 2)))) == 2
    spike = {"off": 2.3, "error": 0.01, "faults": []}
    assert not failing(honesty.judge_spike({"spike_and_slab": [{**spike, "trusted": False}]}))
    assert failing(honesty.judge_spike({"spike_and_slab": [{**spike, "trusted": True}]}))


def mode_records() -> dict[str, list[Any]]:
    """Two hills weighed to 1 %; a tenth of the runs on each spike wrong, seen, and flagged."""
    g = np.random.default_rng(5)

    def row(off: float, trusted: bool, seen: bool, share: float) -> Any:
        return {"off": off, "trusted": trusted, "seen": seen, "share": share}

    spikes = {name: [row(1.5 * (k < 3), k >= 3, True, 0.9) for k in range(30)]
              for name in honesty.SPIKES}
    return {"two hills": [row(0.02 * g.normal(), True, True, 0.5 + 0.01 * g.normal())
                          for _ in range(30)],
            "slab alone": [row(0.0, k >= 3, False, 1.0) for k in range(30)], **spikes}


@pytest.mark.parametrize("broken", ["", "not found", "rms", "weight", "silent", "control"])
def test_narrow_modes_are_found_and_weighed_or_flagged(broken: str) -> None:
    """Records that hold, and five twins with one thing wrong: each is caught, by one finding."""
    records = mode_records()
    for k, row in enumerate(records["two hills"]):
        if broken == "not found" and k < 3:
            row["share"] = 0.0
        if broken == "rms":
            row["off"] += 0.1
        if broken == "weight":
            row["share"] += 0.02
    for name in honesty.SPIKES:
        for row in records[name]:
            row["trusted"] |= broken == "silent"
    records["slab alone"][5]["trusted"] = broken != "control"
    assert len(failing(honesty.judge_modes(records))) == bool(broken)


def test_a_spike_that_nobody_saw_may_be_silent_and_is_counted() -> None:
    records = mode_records()
    for row in records[honesty.SPIKES[-1]]:
        row.update(off=2.3, trusted=True, seen=False)
    findings = honesty.judge_modes(records)
    assert not failing(findings) and findings[-1].found == "30 of 30"


def short_records(bridge: float, bar: float, factor: float = 1.0) -> dict[str, list[Any]]:
    """40 runs of each setting: errors of the given size, claimed right, or wrong by a factor."""
    generator = np.random.default_rng(23)
    out: dict[str, list[Any]] = {}
    for name, (K, *_) in three_peaks.SETTINGS.items():
        truth, _ = three_peaks.REFERENCE[K]
        out[name] = [{
            "bridge": truth + bridge * z, "bridge_error": factor * bridge * e / 0.05,
            "bar": truth + bar * w, "bar_error": factor * bar * f / 0.05, "estimator": "bridge",
            "seconds": 1.0, "estimate_seconds": 0.2} for z, e, w, f in zip(
                *(v / 0.05 * np.array(u) for v, u in zip(
                    (1.0, 0.05, 1.0, 0.05),
                    (*honest_errors(40, 3, generator), *honest_errors(40, 7, generator)),
                    strict=True)), strict=True)]
    return out


def test_short_runs_are_held_to_their_true_error() -> None:
    """Twins: errors twice as large, error bars a third as large, a bridge that was not made."""
    assert not failing(three_peaks.judge_short(short_records(0.01, 0.08)))
    assert [c for c in failing(three_peaks.judge_short(short_records(0.03, 0.2)))
            if c.startswith("rms")] == ["rms error of F (nats), bridge, K=3, 4 x 1000",
                                        "rms error of F (nats), BAR, K=3, 4 x 1000"]
    proud = failing(three_peaks.judge_short(short_records(0.01, 0.08, 1 / 3)))
    assert proud == ["sd of 160 normal scores, bridge",
                     "95 % intervals that hold the truth, bridge",
                     "sd of 120 normal scores, BAR", "95 % intervals that hold the truth, BAR"]
    missing = short_records(0.01, 0.08)
    missing["K=3, 1 x 500"][7].update(bridge=None, bridge_error=None)
    assert "rms error of F (nats), bridge, K=3, 1 x 500" in failing(
        three_peaks.judge_short(missing))


def test_the_reference_of_the_short_runs_is_checked_by_two_routes() -> None:
    def rows(bridge: float, bar: float) -> Any:
        return {name: [{"bridge": three_peaks.REFERENCE[K][0] + bridge, "bridge_error": 0.003,
                        "bar": three_peaks.REFERENCE[K][0] + bar, "bar_error": 0.02}] * 6
                for name, (K, _) in three_peaks.LONG.items()}

    assert not failing(three_peaks.judge_reference(rows(0.001, -0.005)))
    assert len(failing(three_peaks.judge_reference(rows(0.0, 0.04)))) == 3
    assert len(failing(three_peaks.judge_reference(rows(0.05, 0.05)))) == 3


def test_the_edge_is_found_or_the_run_is_flagged() -> None:
    """20 records, the first ones off; nobody who met the mode may be silent about it."""
    def rows(off: int, trusted: bool, share: float, told: float = -21.035) -> Any:
        return {"fourth peak": [
            {"F": -21.04 + 6.4 * (k < off), "trusted": trusted or k >= off,
             "told": told, "share": share if k < off else 0.99} for k in range(20)]}

    assert not failing(honesty.judge_edge(rows(0, True, 0.99)))
    assert not failing(honesty.judge_edge(rows(3, False, 0.2)))
    never = honesty.judge_edge(rows(3, True, 0.0))
    assert not failing(never) and never[-1].found == "3 of 20"
    assert failing(honesty.judge_edge(rows(1, True, 0.2))) == [
        "default runs that met it and are off and silent"]
    assert len(failing(honesty.judge_edge(rows(6, False, 0.2)))) == 1
    # A reference that is off makes every run off, and silent.
    assert len(failing(honesty.judge_edge(rows(0, True, 0.99, -20.9)))) == 3


def test_what_is_added_to_the_restricted_evidence_is_its_share_of_the_prior() -> None:
    """ln(4 P(-0.8 < mu < 0.1)) for mu ~ N(1.5, 1/5), by 10,000 midpoints of the density."""
    posterior, more = honesty.edge(True)
    assert posterior.dimension == honesty.edge(False)[0].dimension == 12
    step = (honesty.EDGE[1] - honesty.EDGE[0]) / 10_000
    mu = honesty.EDGE[0] + step * (np.arange(10_000) + 0.5)
    mass = np.sum(np.exp(-2.5 * (mu - 1.5) ** 2)) * step * np.sqrt(2.5 / np.pi)
    assert more == pytest.approx(-np.log(4.0 * mass), abs=1e-6)
    at = posterior.draw_prior(5)        # the same curve, whichever peak is called the edge's
    assert honesty.edge(False)[0].energy(at) == pytest.approx(posterior.energy(at), rel=1e-12)
    edges = at[:, posterior.names.index("edge_mu")]
    assert np.all((honesty.EDGE[0] < edges) & (edges < honesty.EDGE[1]))


@pytest.mark.slow
def test_a_run_on_a_spike_that_it_finds() -> None:
    """Volume ratio e**8.3, where 30 of 30 are right: F and the weight 0.9 within 4.5 errors; the
    twin has no spike, and there is none to be seen."""
    row = honesty.mode_run("spike 2.3", 1)
    assert row["seen"] and abs(row["off"]) < 4.5 * row["error"] < 0.1
    assert abs(row["share"] - 0.9) < 4.5 * row["share_error"] < 0.2
    assert not honesty.mode_run("slab alone", 1)["seen"]


def test_beyond_a_ball_of_3e_13_of_the_prior_the_spike_is_not_there() -> None:
    """The radius by bisection along ten rays from the ball's centre, which is not the spike's."""
    case = named("spike_and_slab")
    g, centre = np.random.default_rng(3), np.full(8, 2.0 + 3.0 / (0.5**2 / 0.02**2 - 1.0))
    radii = []
    for ray in g.normal(size=(10, 8)):
        low, high, ray = 0.0, 5.0, ray / np.linalg.norm(ray)
        for _ in range(50):
            middle = 0.5 * (low + high)
            inside = case.modes[1].contains(centre + middle * ray)
            low, high = (middle, high) if inside else (low, middle)
        radii.append(low)
    assert np.ptp(radii) < 1e-9
    volume = np.pi**4 / 24 * radii[0] ** 8 / 16.0**8
    assert honesty.spike_share() == pytest.approx(volume, rel=1e-6)


def test_a_missed_mode_and_a_wrong_weight_are_caught() -> None:
    def records(weight: float, error: float = 0.02) -> dict[str, list[Any]]:
        g = np.random.default_rng(11)
        rows = []
        for _ in range(50):
            found = float(np.clip(weight + 0.02 * g.normal(), 0.0, 1.0))
            rows.append({"shares": [[0.3, found, max(error, 0.02 * np.sqrt(
                max(1.0, g.chisquare(7) / 7))), 7]]})
        return {"two modes": rows}

    assert not failing(sampling.judge_weights(records(0.3)))
    assert failing(sampling.judge_weights(records(0.33)))
    lost = records(0.3)
    lost["two modes"][3]["shares"][0][1] = 0.0
    assert failing(sampling.judge_weights(lost))


def test_a_heap_at_the_wall_is_caught() -> None:
    u = np.random.default_rng(1).random(2000)
    assert not failing(sampling.judge_walls({"wall": [{"law": [u.tolist()], "outside": 0}]}))
    heap = np.where(u < 0.1, 0.0, u)
    assert failing(sampling.judge_walls({"wall": [{"law": [heap.tolist()], "outside": 0}]}))
    assert failing(sampling.judge_walls({"wall": [{"law": [u.tolist()], "outside": 1}]}))


def test_no_two_runs_share_a_seed() -> None:
    every = [c for c in reliability.every_campaign().values() if c.seconds]
    seeds = {(c.run.__name__, p, s): seed_of(p, s) for c in every for p in c.problems
             for s in c.seeds}
    by_run: dict[str, list[int]] = {}
    for (run, _, _), seed in seeds.items():
        by_run.setdefault(run, []).append(seed)
    assert all(len(set(v)) == len(v) and max(v) < 2**64 for v in by_run.values())


# ---- experiments again, with other seeds ---------------------------------------------------------


def reran(scale: float, models: int = 6, levels: int = 1) -> dict[str, list[Any]]:
    """Ten seeds of one experiment; errors claimed are `scale` times the true ones.  Along one
    ladder (levels > 1) all F of a run are off by the same."""
    g = np.random.default_rng(12)
    true = np.geomspace(0.01, 0.1, models)[:, None] * np.ones(levels)
    true[0, 0] = 0.0 if levels > 1 else true[0, 0]           # beta = 0 is exact
    return {"nagata": [{"F": (100.0 + true * g.normal(size=(models, 1))).tolist(),
                        "error": (scale * true).tolist()} for _ in range(10)]}


@pytest.mark.parametrize("levels", [1, 8])
def test_error_bars_of_experiments_that_are_wrong_are_caught(levels: int) -> None:
    """54 degrees of freedom: honest bars pass, of half the size and of twice the size do not; an F
    without scatter and without error (K = 0) is left out."""
    honest = reran(1.0, levels=levels)
    assert not failing(reruns.judge(honest))
    assert failing(reruns.judge(reran(0.5, levels=levels)))
    assert failing(reruns.judge(reran(2.0, levels=levels)))
    for run in honest["nagata"]:
        run["F"].append([7.0] * levels)
        run["error"].append([0.0] * levels)
    assert reruns.judge(honest) == reruns.judge(reran(1.0, levels=levels))


def test_every_experiment_that_reports_an_error_of_F_is_rerun() -> None:
    """But sequential design, whose sequence of choices differs from seed to seed."""
    for name in EXPERIMENTS:
        values, errors = reruns.free_energies(results.load(name))
        assert len(values) == len(errors)
        assert (name in reruns.SAMPLED) == (len(values) > 0 and name != "sequential_design")


# ---- choices, singular posteriors, constants -----------------------------------------------------


def regression_by_covariance(design: Any, y: Any, noise: float) -> float:
    """F of a linear model with prior variances 1, as the density of y: mean 0, one covariance."""
    C = noise**2 * np.eye(len(y)) + design @ design.T
    return float(0.5 * (y @ np.linalg.solve(C, y) + np.linalg.slogdet(2 * np.pi * C)[1]))


def test_exact_free_energies_of_the_choices_by_second_routes() -> None:
    """Linear models by the covariance of y; peaks by the quadrature of `theory.cases` (two) and by
    a plain grid over height and centre (one); n = 10,000 by finer panels."""
    x, y, noise = choosing.spectrum("degree")
    for k in choosing.CHOICES["degree"]:
        by_density = regression_by_covariance(np.vander(x, k + 1), y, noise)
        assert choosing.exact("degree", k) == pytest.approx(by_density, abs=1e-9)
    x, y, noise = choosing.spectrum("second peak in place")
    curves = np.exp(-((x[:, None] - [2.0, 2.6]) ** 2) / 0.32)
    for k in (1, 2):
        by_density = regression_by_covariance(curves[:, :k], y, noise)
        assert choosing.exact("second peak in place", k) == pytest.approx(by_density, abs=1e-9)
    two = named("two_peaks")
    assert choosing.peaks_free_energy(two.data[0].x, two.data[0].y, 0.1, 2) == pytest.approx(
        -two.log_evidence, abs=1e-8)
    x, y, noise = choosing.spectrum("second peak anywhere")
    h, c = np.linspace(-8.0, 8.0, 1601), np.linspace(0.0, 5.0, 2001)
    fit = np.exp(-((x - c[:, None]) ** 2) / 0.32)
    chi = (y @ y - 2 * np.outer(h, fit @ y) + np.outer(h**2, np.sum(fit**2, axis=1))) / noise**2
    mass = np.trapezoid(np.trapezoid(np.exp(-0.5 * (chi - chi.min() + h[:, None] ** 2)), c), h)
    plain = (0.5 * chi.min() - np.log(mass / 5.0 / np.sqrt(2 * np.pi))
             + len(x) * np.log(noise * np.sqrt(2 * np.pi)))
    assert choosing.exact("second peak anywhere", 1) == pytest.approx(plain, abs=1e-5)
    x, y, noise = choosing.spectrum("two peaks for one 10000")
    assert choosing.peaks_free_energy(x, y, noise, 2, nodes=12) == pytest.approx(
        choosing.peaks_free_energy(x, y, noise, 2), abs=1e-6)


def test_exact_free_energy_of_the_product_by_second_routes() -> None:
    """In a and b on a plain grid; the closed form where the data have no slope at all."""
    x, y, noise = choosing.spectrum("product 100")
    a = (np.arange(2000) + 0.5) / 1000 - 1.0
    t = np.outer(a, a)
    energy = (y @ y - 2 * t * (x @ y) + t**2 * (x @ x)) / (2 * noise**2)
    low = energy.min()
    plain = low - np.log(np.mean(np.exp(low - energy))) + 100 * np.log(
        noise * np.sqrt(2 * np.pi))
    assert choosing.product_free_energy(x, y, noise) == pytest.approx(plain, abs=1e-5)
    level = y - x * (x @ y) / (x @ x)
    closed = (0.5 * level @ level / noise**2 + 100 * np.log(noise * np.sqrt(2 * np.pi))
              - np.log(product_partition(0.5 * (x @ x) / noise**2)))
    assert choosing.product_free_energy(x, level, noise) == pytest.approx(closed, abs=1e-9)


@pytest.mark.long
def test_the_sampler_gets_the_models_whose_probabilities_are_known() -> None:
    """One run of each kind; z as in the campaign, beyond 4.5 once in 1e5."""
    for name in ("second peak in place", "second peak anywhere"):
        row = choosing.chosen_run(name, 1)
        off = np.abs(np.array(row["p"]) - choosing.exact_shares(name))
        assert off.max() < 0.02 and np.all(off < 4.5 * np.array(row["error"]))
    for name in ("product 100", "two peaks for one 10"):
        row = choosing.singular_run(name, 1)
        assert abs(row["off"]) < 4.5 * row["error"] < 0.1
    posterior = choosing.model("degree", 3)
    design = choosing.spectrum("degree")[0][:, None] ** np.arange(4)
    theta = np.array([0.3, -0.2, 0.5, 0.1])
    rest = (choosing.spectrum("degree")[1] - design @ theta) / 0.5
    assert posterior.energy(theta) == pytest.approx(0.5 * rest @ rest, rel=1e-12)
    assert posterior.log_prior(theta) == pytest.approx(
        -0.5 * theta @ theta - 2 * np.log(2 * np.pi), rel=1e-12)


def chosen_records(shift: float = 0.0, factor: float = 1.0, size: float = 0.1) -> Any:
    """50 choices of each kind from F with honest errors of 5 millinats; the last model's F off by
    ``shift``, probabilities' errors wrong by a factor."""
    g = np.random.default_rng(31)
    out: dict[str, list[Any]] = {}
    for name, labels in choosing.CHOICES.items():
        out[name] = []
        for _ in range(50):
            z, e = honest_errors(len(labels), 3, g)
            F = np.array([choosing.exact(name, k) for k in labels]) + size * z
            F[-1] += shift
            p, error = probabilities(F, size * e)
            out[name].append({"p": p.tolist(), "error": (factor * error).tolist(),
                              "certain": True})
    return out


def test_probabilities_that_are_off_are_caught() -> None:
    """Twins: orderings counted twice in K = 2; a hundredth of a nat on it; errors a third of what
    they are; F known to 0.1 nats only."""
    peaks = [name for name in choosing.CHOICES if name != "degree"]

    def caught(records: Any, words: str) -> list[str]:
        return [name for name in peaks
                if any(c.startswith(name) and words in c for c in failing(
                    choosing.judge_choice(records)))]

    assert not failing(choosing.judge_choice(chosen_records()))
    assert caught(chosen_records(np.log(2.0)), "share") == peaks
    slight = chosen_records(0.01)
    assert caught(slight, "mean p") == peaks and not caught(slight, "share")
    assert caught(chosen_records(factor=1 / 3), "rms") == peaks
    assert caught(chosen_records(size=2.0), "share") == peaks


def singular_records(spoil: Any = lambda kind, n: 0.0, factor: float = 1.0) -> Any:
    g = np.random.default_rng(37)
    out: dict[str, list[Any]] = {}
    for kind in choosing.SINGULAR:
        for n in choosing.POINTS:
            off, error = honest_errors(20, 3, g)
            out[f"{kind} {n}"] = [
                {"off": 0.2 * z + spoil(kind, n), "error": 0.2 * factor * e, "freedom": 3,
                 "trusted": True} for z, e in zip(off, error, strict=True)]
    return out


def test_a_law_of_large_numbers_that_does_not_hold_is_caught() -> None:
    """Twins: (d/2) ln n in place of the singular law; 0.08 nats at one end; error bars a fifth."""
    assert not failing(choosing.judge_singular(singular_records()))
    surplus = {"product": 0.5, "two peaks for one": 1.0}       # d/2 less lambda, about
    regular = failing(choosing.judge_singular(singular_records(
        lambda kind, n: surplus[kind] * np.log(n))))
    assert sum("exact difference" in c for c in regular) == 6
    end = failing(choosing.judge_singular(singular_records(
        lambda kind, n: 0.08 * (kind == "product" and n == 10_000), 10.0)))
    assert end == ["product: mean of F(10000) - F(1000) less the exact difference (nats)"]
    proud = failing(choosing.judge_singular(singular_records(factor=0.2)))
    assert proud and all("standard errors" in c for c in proud)


def test_every_formula_is_held_against_many_digits() -> None:
    assert constants._names() == tuple(constants.formulas())
    good = {name: [constants.energy_run(name, 1)] for name in ("lorentzian", "sphere")}
    assert not failing(constants.judge_energies(good))
    for key in ("compiled", "plain", "of a run", "constant"):
        wrong = {name: [{law: {**v, key: 1e-11 if law == "poisson" else v[key]}
                         for law, v in rows[0].items()}] for name, rows in good.items()}
        assert len(failing(constants.judge_energies(wrong))) == 1


def test_a_half_width_and_a_lost_constant_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a Lorentzian whose width is half as wide; ln(2 pi) / 2 of each point forgotten."""
    with monkeypatch.context() as patch:
        patch.setitem(constants.WRITTEN, "lorentzian",
                      lambda m, x, a, c, w: a / (1 + ((x - c) / w) ** 2))
        wrong = failing(constants.judge_energies({"l": [constants.energy_run("lorentzian", 1)]}))
        assert len(wrong) == 12 and not any("constant" in claim for claim in wrong)
    monkeypatch.setattr(Data, "constant", property(
        lambda data: float(np.sum(np.log(data.deviation)))))
    found = constants.energy_run("lorentzian", 1)
    assert {k for law in constants.LAWS for k, v in found[law].items() if v > 1e-12} == {
        "constant"}
    wrong = failing(constants.judge_cases({"line": [constants.case_run("straight_line", 1)]}))
    assert {claim.split(":")[0] for claim in wrong} == {
        "ln likelihood of the case + U + constant, relative",
        "constant of the sampler, relative error"}


def test_conventions_of_a_case_and_a_constant_that_is_not_tempered(
        monkeypatch: pytest.MonkeyPatch) -> None:
    case = named("straight_line")
    good = {name: [constants.case_run(name, 1)] for name in ("straight_line", "counts_peak")}
    assert not failing(constants.judge_cases(good))
    cold = case.data[0].y.size * np.log(0.5 * np.sqrt(2 * np.pi))
    planted = replace(case, tempered=lambda beta: case.tempered(beta) - (1 - beta) * cold)
    monkeypatch.setitem(BUILDERS, "straight_line", lambda: planted)
    wrong = failing(constants.judge_cases({"line": [constants.case_run("straight_line", 1)]}))
    assert wrong == ["F(beta) of the whole likelihood, relative error: largest of 1 cases (line)"]


def test_the_many_digits_of_a_line_by_their_own_derivative() -> None:
    """<E> is dF/dbeta; F(1) is the density of y; a twin: <E> without half a degree of freedom."""
    case = named("shared_slope")
    h = 1e-6
    F, E, constant = constants.linear_answers(case, (0.1 - h, 0.1, 0.1 + h, 1.0))
    slope = float((F[2] - F[0]) / (2 * h))
    assert float(E[1]) == pytest.approx(slope, rel=1e-7)
    assert abs(float(E[1]) - 0.5 - slope) > 1e-3
    assert float(F[3] + constant) == pytest.approx(-case.log_evidence, rel=1e-12)
    assert float(constants.written("sphere")(mpmath, 2.0, 1.5, 0.7)) == pytest.approx(
        1.5 * (3 * (np.sin(1.4) - 1.4 * np.cos(1.4)) / 1.4**3) ** 2, rel=1e-12)


# ---- the runner ---------------------------------------------------------------------------------


def test_a_campaign_goes_on_where_it_stopped_and_after_a_change_begins_anew(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, int]] = []

    def one(todo: Any, known: RunStore, settings: Any, progress: Any) -> None:
        for key, (_, problem, seed) in todo.items():
            made.append((problem, seed))
            known.add(key, {"cpu": 1.0, "found": {"off": 0.0, "error": 1.0, "trusted": True,
                                                  "faults": []}})

    monkeypatch.setattr(reliability, "_run_all", one)
    store, settings = tmp_path / "runs.jsonl", reliability.Settings(("D5 spike",), most_seeds=3)
    first = reliability.compute(settings, store=store)
    assert [seed for _, seed in made] == [1, 2, 3] and first.seconds == {"D5 spike": 3.0}
    lines = store.read_text().splitlines()
    store.write_text("\n".join([*lines[:2], lines[2][:30]]))
    again = reliability.compute(settings, store=store)
    assert len(made) == 4 and again.found == first.found
    assert reliability.compute(settings, store=store).found == first.found and len(made) == 4
    monkeypatch.setattr(reliability, "sampler_digest", lambda: "another")
    reliability.compute(settings, store=store)
    assert len(made) == 7
    results.save("reliability", again, tmp_path)
    assert reliability.table(results.load("reliability", tmp_path)).startswith("**D5 spike")


@pytest.mark.long
def test_verdicts_of_campaigns_that_were_not_run_again_are_kept_with_their_version(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never with the present one: D5 spike is judged anew, what was whole before stays, and what
    never was is not judged."""
    def one(todo: Any, known: RunStore, settings: Any, progress: Any) -> None:
        for key in todo:
            known.add(key, {"cpu": 1.0, "found": {"off": 0.0, "error": 1.0, "trusted": True,
                                                  "faults": []}})

    old = results.load("reliability")
    kept = {"campaign": ["B1", "A3"], "claim": ["ranks", "not judged"], "expected": ["-", "-"],
            "found": ["none", "0 of 1200"], "error": [0.0, 0.0], "holds": [True, None],
            "alarm": ["-", "-"]}
    before = {"date": "2026-01-01", "sampler": "before"}
    old = replace(old, origin=dict.fromkeys(("B1", "A3"), old.origin["A1"] | before),
                  runs={"B1": [5000, 5000, 1, 1000], "A3": [0, 1200, 1, 400]},
                  seconds={"B1": 1.0, "A3": 0.0}, about={"B1": "ranks?", "A3": "bias?"}, **kept)
    monkeypatch.setattr(reliability, "_tracked", lambda: old)
    monkeypatch.setattr(reliability, "_run_all", one)
    new = reliability.compute(reliability.Settings(("D5 spike",)), store=tmp_path / "runs.jsonl")
    assert {name for name, origin in new.origin.items() if origin["sampler"] == "before"} == {"B1"}
    assert ": B1." in reliability.age(new)
    at = {name: [h for h, c in zip(new.holds, new.campaign, strict=True) if c == name]
          for name in new.about}
    assert at["B1"] == [True] and at["A3"] == at["A1"] == [None] and True in at["D5 spike"]
    assert set(new.about) == set(reliability.every_campaign())
    results.save("reliability", new, tmp_path)
    assert "2026-01-01" in reliability.table(results.load("reliability", tmp_path))


def test_some_campaigns_are_asked_for_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    from experiments.__main__ import main

    for words, received in ((["reliability", "--campaigns", "Z9"], "'Z9'"),
                            (["straight_line", "--campaigns", "A1"], "straight_line"),
                            (["reliability", "--quick", "--campaigns", "A1"], "--quick")):
        assert main(["run", *words]) == 2
        assert f"received {received}" in capsys.readouterr().err.replace("with ", "")


def test_readers_and_reports_stay_outside_the_digest_of_a_run(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As modules or as packages, at any depth; what a run depends on does not."""
    import sampler

    house = tmp_path / "files" / "sampler"       # where it lies does not matter
    monkeypatch.setattr(sampler, "__file__", str(house / "__init__.py"))

    def digest(name: str) -> str:
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).write_text("1\n")
        return reliability.sampler_digest()

    before = digest("exchange.py")
    for name in ("files.py", "files/vamas.py", "files/deep/x.py", "report.py", "report/page.py",
                 "__main__.py", "__init__.py", "kernels/__init__.py", "instruments/peaks.py"):
        assert digest(name) == before
    for name in ("kernels/cpu.py", "profiles.py", "kernels/deep/x.py"):
        assert digest(name) != before
        (house / name).unlink()
    assert reliability.sampler_digest() == before


def test_a_run_that_crashes_is_a_failure_of_its_campaign(tmp_path: Path) -> None:
    campaign = reliability.every_campaign()["D5 spike"]
    future: Future[Any] = Future()
    future.set_exception(ValueError("no root"))
    found = reliability.kept(future)
    assert found == {"failed": "ValueError: no root", "cpu": 0.0}
    lost: Future[Any] = Future()
    lost.set_exception(BrokenProcessPool("killed"))
    with pytest.raises(BrokenProcessPool):
        reliability.kept(lost)
    digest, store = reliability.sampler_digest(), RunStore(tmp_path / "runs.jsonl")
    store.add(reliability._key(campaign, "spike_and_slab", 1, digest), found)
    result = reliability._judged({"D5 spike": campaign}, digest, store,
                                 reliability.Settings(most_seeds=1))
    assert result.holds == [False]
    assert [c.holds for c in reliability.check(result)] == [False]


@pytest.mark.long
def test_a_real_run_in_a_process_of_its_own(tmp_path: Path) -> None:
    result = reliability.compute(replace(reliability.QUICK, campaigns=("B1",)),
                                 store=tmp_path / "runs.jsonl")
    assert result.runs["B1"][:2] == [5.0, 5.0] and result.seconds["B1"] > 0.0
    assert result.found[0] == "none"


def test_the_stored_campaigns_are_shown_as_they_are(tmp_path: Path) -> None:
    """Failures included: what is stored must be complete and readable, not green."""
    result = results.load("reliability")
    assert set(result.about) <= set(reliability.every_campaign())
    claims = reliability.check(result)
    assert len(claims) == len(result.campaign) and set(result.origin) == set(result.about)
    assert all(len(origin["sampler"]) == 12 for origin in result.origin.values())
    for made, wanted, *_ in result.runs.values():
        assert 0 <= made <= wanted
    assert all(name in reliability.table(result) for name in result.about)
    for stem, figure in reliability.draw(result).items():
        figure.savefig(tmp_path / f"{stem}.png", dpi=40)
        assert (tmp_path / f"{stem}.png").stat().st_size > 3000


# ---- moves and bits: the quick part of the campaigns themselves ----------------------------------


@pytest.mark.parametrize("move", moves.MOVES)
def test_every_move_is_reversible(move: str) -> None:
    """16,384 independent replicas, moved once, at beta = 1; p > 1e-5 by the sequential scheme."""
    assert moves.reversible_run(f"{move} at 1", 1)["passed"]


def test_exchanges_are_reversible_and_adapting_steps_are_not() -> None:
    assert moves.reversible_run("exchange at 1", 1)["passed"]
    for name in moves.PLANTS[1::2]:
        assert not moves.reversible_run(name, 1)["passed"]


def test_a_kernel_with_a_wrong_density_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twin: a walk under a gamma prior of half again the rate."""
    true, plain = moves.posterior, moves.prior

    def other(kind: str) -> Any:
        return Gamma(2.5, 3.0) if kind == "Gamma" else plain(kind)

    moves.law("walk Gamma", 1.0)            # the law of the right prior is kept
    monkeypatch.setattr(moves, "prior", other)
    true.cache_clear()
    try:
        assert not moves.reversible_run("walk Gamma at 1", 1)["passed"]
    finally:
        monkeypatch.undo()
        true.cache_clear()


@pytest.mark.long
def test_rates_frozen_steps_permutations_and_their_judges() -> None:
    rows = [moves.exchanged_run("straight_line", 1)]
    assert rows[0]["frozen"] and max(map(abs, rows[0]["z"])) < 4.5
    off = [{"frozen": False, "z": [3.0] * 11}] * 20
    assert len(failing(moves.judge_exchanges({"straight_line": off}))) == 3
    broken = {"a million sweeps": [{"permutation": False, "visited": 4}]}
    assert len(failing(moves.judge_permutation(broken))) == 2


def test_no_counter_is_used_twice_and_a_shared_stream_is_caught(
        monkeypatch: pytest.MonkeyPatch) -> None:
    found = repeating.counters_run("line", 1)
    assert found["twice"] == 0 and found["counters"] > 1000
    monkeypatch.setattr(reference, "SWAP_STREAM", philox.WALK)
    assert repeating.counters_run("line", 1)["twice"] > 0


@pytest.mark.long
def test_the_bits_of_a_killed_run_and_their_judges() -> None:
    found = repeating.killed_run("counts", 1)
    assert found["same"] and found["kills"] >= 1
    assert not failing(repeating.judge_kills({"counts": [found]}))
    assert failing(repeating.judge_kills({"counts": [{**found, "same": False}]}))
    row = {"wrong": ["4 threads"], "digest": "a"}
    assert len(failing(repeating.judge_same({"line": [row, row]}))) == 2
    assert failing(repeating.judge_repeats({"line": [{"digest": d, "process": 1} for d in "ab"]}))
    assert failing(repeating.judge_untouched({"line": [{"changed": [0, 99]}]}))
    assert repeating.untouched_run("line", 1)["changed"] == []


# ---- planted defects ----------------------------------------------------------------------------


def test_every_planted_defect_fits_its_file_and_there_are_enough() -> None:
    """Texts that no longer stand in the sources would be defects that are never planted."""
    names = [d.name for d in mutation.PLANTED]
    assert len(set(names)) == len(names) >= 40 and not set(names) & set(mutation.drawn())
    for one in (*mutation.PLANTED, *mutation.drawn().values()):
        text = (ROOT / "sampler" / one.file).read_text(encoding="utf-8")
        assert text.count(one.old) == 1 and one.old != one.new, one.name
        compile(text.replace(one.old, one.new), one.file, "exec")
    assert {Path(d.file).stem for d in mutation.drawn().values()} == {
        "cpu", "problem", "reference", "exchange", "evidence"}


def test_a_survivor_and_a_control_that_fails_are_said() -> None:
    good = {name: [{"noticed": name != mutation.CONTROL, "by": "test"}]
            for name in (mutation.CONTROL, *(d.name for d in mutation.PLANTED))}
    assert not failing(mutation.judge_mutants(good))
    survived = {**good, "sign of the exchange": [{"noticed": False, "by": ""}]}
    assert len(failing(mutation.judge_mutants(survived))) == 1
    assert "sign of the exchange" in str(mutation.judge_mutants(survived)[-1].found)
    broken = {**good, mutation.CONTROL: [{"noticed": True, "by": "test"}]}
    assert failing(mutation.judge_mutants(broken))
