"""Student's t as the noise law, for data with outliers: energies, F, refusals, every reader of it.

``scipy.stats.t`` is the second route to the density; F is compared with quadratures of it.
"""

import json
import math
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import optimize, stats
from statistics_helpers import within

from sampler import (
    Data,
    InputError,
    LogUniform,
    Model,
    Normal,
    Posterior,
    Run,
    Uniform,
    checkpoint,
    choose,
    compare,
    criteria,
    free_energy,
    free_energy_of_noise,
    joint,
    load_run,
    resume,
    sample,
    save_run,
    shapes,
)
from sampler.__main__ import main
from sampler.choice import _normal_scores
from sampler.exchange import buffers
from sampler.information import log_likelihoods
from sampler.kernels import cpu
from sampler.kernels.problem import LINEAR, WALK, lower
from sampler.report import fit_curves
from sampler.tables import noise_in_words

X = np.linspace(0.0, 1.0, 15)
# Synthetic: a level of 0.4 with noise of 0.3, and one point far out.
Y = 0.4 + 0.3 * np.random.default_rng(8).normal(size=15) + np.where(np.arange(15) == 6, 5.0, 0.0)
SPREAD = 0.2 + 0.1 * X
NU = 3.0
LEVEL = Model.single(shapes.constant, offset=(-2.0, 3.0))
SCALE = LogUniform(0.02, 5.0)
LAWS: dict[str, dict[str, Any]] = {
    "known": {"noise": SPREAD}, "unknown": {"noise": SCALE},
    "factor": {"noise": SCALE, "sigma": SPREAD}}


def level(law: str, tails: float | None = NU) -> Posterior:
    return Posterior(LEVEL, Data(X, Y, tails=tails, **LAWS[law]))


def scales(law: str, s: np.ndarray) -> np.ndarray:
    """sigma_i of every point, (draws, points)."""
    return np.ones((len(s), 1)) * SPREAD if law == "known" else s[:, None] * (
        SPREAD if law == "factor" else np.ones(15))


def compiled(posterior: Posterior, theta: np.ndarray) -> np.ndarray:
    """U by the compiled kernel."""
    problem, out = lower(posterior, compiled=True), np.empty(len(theta))
    cpu.energies(problem, *buffers(problem, posterior.dimension, 1), theta, out)
    return out


# ---- energies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("nu", [0.3, 1.0, 4.0, 1e3])
def test_energy_and_constant_are_those_of_the_density(law: str, nu: float) -> None:
    """Both kernels and the likelihood of every point, against scipy.stats."""
    posterior = level(law, nu)
    theta = posterior.draw_prior(50, seed=1)
    sigma = scales(law, theta[:, -1])
    each = stats.t.logpdf((Y - theta[:, :1]) / sigma, nu) - np.log(sigma)
    np.testing.assert_allclose(log_likelihoods(posterior, theta), each, rtol=1e-10)
    exact = -each.sum(axis=1) - posterior.constant
    np.testing.assert_allclose(posterior.energy(theta), exact, rtol=1e-10)
    np.testing.assert_allclose(compiled(posterior, theta), exact, rtol=1e-10)


@pytest.mark.parametrize("law", LAWS)
def test_without_end_of_freedom_it_is_the_normal_law(law: str) -> None:
    """Energies and constants at nu = 1e9 to 1e-6; at nu = 100 they differ."""
    theta = level(law).draw_prior(50, seed=2)
    theta[:, 0] = np.clip(theta[:, 0], 0.0, 1.0)
    theta[:, -1] = theta[:, -1] if law == "known" else np.maximum(theta[:, -1], 0.5)
    normal = level(law, None)
    for nu, far in ((1e9, False), (100.0, True)):
        one = level(law, nu)
        for energy in (one.energy(theta), compiled(one, theta)):
            # The first term that is left out: r**4/4 - r**2/2 over nu, of every residual.
            r = (Y - theta[:, :1]) / scales(law, theta[:, -1])
            left = np.sum(r**4 / 4 - r**2 / 2, axis=1) / nu
            assert (np.abs(energy + left - normal.energy(theta)).max() > 1e-6) == far
        assert (abs(one.constant - normal.constant) > 1e-6) == far


def test_logarithm_of_the_kernel_is_good_to_rounding() -> None:
    """However small its argument, which a plain logarithm of 1 + z is not."""
    z = np.concatenate([[0.0], np.geomspace(1e-300, 1e300, 20001), np.linspace(0.0, 3.0, 5001)])
    ours = np.array([cpu.vlog1p(v) for v in z])
    assert np.max(np.abs(ours - np.log1p(z)) / np.maximum(np.log1p(z), 1e-300)) < 6e-16
    assert cpu.vlog1p(1e-10) == pytest.approx(float(mpmath.log1p(mpmath.mpf(1e-10))), rel=1e-15)
    assert abs(cpu.LN2 * cpu.vlog2(1.0 + 1e-10) / 1e-10 - 1.0) > 1e-8    # what a plain one says
    assert np.isnan(cpu.vlog1p(np.nan))


def test_residuals_of_any_size_have_an_energy() -> None:
    """Four points share a logarithm while the product of four is a number: beyond, each its own."""
    far = Posterior(Model.single(shapes.constant, offset=(-1e140, 1e140)),
                    Data(X, Y, noise=0.3, tails=4))
    theta = 10.0 ** np.arange(0.0, 139.0)[:, None]
    np.testing.assert_allclose(compiled(far, theta), far.energy(theta), rtol=1e-12)
    assert np.all(np.diff(far.energy(theta)) > 0.0)


# ---- F ------------------------------------------------------------------------------------------


def log_likelihood(law: str, offset: np.ndarray, s: np.ndarray) -> np.ndarray:
    sigma = scales(law, s)
    return np.sum(stats.t.logpdf((Y - offset[:, None]) / sigma, NU) - np.log(sigma), axis=1)


def exact_f(law: str, nodes: int) -> float:
    """-ln Z by Gauss and Legendre over the level (and ln s), priors uniform in both."""
    u, w = np.polynomial.legendre.leggauss(nodes)
    offset = 0.5 + 2.5 * u
    if law == "known":
        log_l, weight = log_likelihood(law, offset, np.ones(nodes)), 0.5 * w
    else:
        s = np.exp(0.5 * (math.log(0.02) + math.log(5.0)) + 0.5 * math.log(5.0 / 0.02) * u)
        a, b = (v.ravel() for v in np.meshgrid(offset, s))
        log_l, weight = log_likelihood(law, a, b), 0.25 * np.outer(w, w).ravel()
    top = log_l.max()
    return -float(top + math.log(np.sum(weight * np.exp(log_l - top))))


@pytest.mark.parametrize("law", LAWS)
def test_f_is_that_of_a_quadrature(law: str) -> None:
    """Two chains of 4000 sweeps; 4 of its own errors, false alarms 6e-5 each.  The twin: under
    normal noise F is hundreds of errors away."""
    exact = exact_f(law, 200)
    assert exact == pytest.approx(exact_f(law, 300), abs=1e-7)
    found = free_energy(sample(level(law), 4000, burn_in=1000, chains=2, seed=21))
    assert found.error < 0.05 and within(found.value, exact, found.error)
    assert found.bar is not None and within(found.bar, exact, found.bar_error)
    twin = free_energy(sample(level(law, None), 4000, burn_in=1000, chains=2, seed=21))
    assert abs(twin.value - exact) > 100.0 * max(twin.error, found.error)


def test_nothing_is_drawn_or_integrated_as_if_u_were_a_parabola() -> None:
    """The level walks; of two data sets only the amplitude of the normal one is drawn exactly."""
    assert list(lower(level("known", None)).move) == [LINEAR]
    assert list(lower(level("known")).move) == [WALK]
    both = joint(level("known"), Posterior(LEVEL.renamed(offset="other"), Data(X, Y, SPREAD)))
    assert list(lower(both).move) == [WALK, LINEAR]


def test_f_of_independent_data_of_two_laws_adds() -> None:
    """A bridge that integrates the normal amplitude beside a Student one that it must not.  Two
    chains of 4000 sweeps, 4 errors: false alarms 6e-5."""
    u, w = np.polynomial.legendre.leggauss(200)
    log_l = stats.norm.logpdf(Y, (0.5 + 2.5 * u)[:, None], SPREAD).sum(axis=1)
    normal = -float(log_l.max() + math.log(np.sum(0.5 * w * np.exp(log_l - log_l.max()))))
    both = joint(level("known"), Posterior(LEVEL.renamed(offset="other"), Data(X, Y, SPREAD)))
    found = free_energy(sample(both, 4000, burn_in=1000, chains=2, seed=22))
    assert found.estimator == "bridge"
    assert within(found.value, exact_f("known", 200) + normal, found.error)


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tails", [0, -1.0, math.nan, math.inf, "4", True, [4]])
def test_tails_that_are_none_are_refused(tails: Any) -> None:
    with pytest.raises(InputError, match=r"tails: received .*, expected degrees of freedom > 0"):
        Data(X, Y, noise=0.1, tails=tails)


def test_counts_have_no_tails() -> None:
    with pytest.raises(InputError, match="tails: received 4, expected none with noise poisson"):
        Data([0, 1], [3, 4], noise="poisson", tails=4)


def test_what_needs_normal_noise_refuses_by_name(run: Run) -> None:
    amplitude = LEVEL.with_priors({"offset": Normal(0.0, 1.0)})
    one = Posterior(amplitude, Data(X, Y, SPREAD))
    student = Posterior(amplitude.renamed(offset="b"), Data(X, Y, SPREAD, tails=4))
    counts = Posterior(LEVEL.renamed(offset="c"), Data([0, 1], [3, 4], noise="poisson"))
    for posterior, name in ((student, "Student's t"), (joint(one, student), "Student's t"),
                            (joint(one, counts), "Poisson")):
        with pytest.raises(InputError, match=f"data with {name} noise.*under Gaussian noise"):
            sample(posterior, 10, integrate_out="amplitudes")
    with pytest.raises(InputError, match=r"a run with Student's t noise.*noise='unknown'"):
        free_energy_of_noise(run)


# ---- those who read the law ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def run() -> Run:
    return sample(level("known"), 1500, burn_in=500, chains=2, seed=5)


@pytest.mark.parametrize("law", LAWS)
def test_a_run_comes_back_and_goes_on_bit_for_bit(law: str, tmp_path: Path) -> None:
    one = sample(level(law), 300, burn_in=200, chains=1, seed=6)
    again = load_run(save_run(one, tmp_path / "run.npz"))
    data = again.posterior.blocks[0].data
    assert (data.tails, data.law) == (NU, one.posterior.blocks[0].data.law)
    assert again.posterior.constant == one.posterior.constant
    np.testing.assert_array_equal(resume(again, 50).energy,
                                  sample(level(law), 350, burn_in=200, chains=1, seed=6).energy)


def test_a_file_from_before_there_were_tails_still_loads(tmp_path: Path) -> None:
    """Schema 3 had no such entry in its record."""
    path = save_run(sample(level("known", None), 200, burn_in=100, chains=1, seed=6),
                    tmp_path / "run.npz")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "sha256"}
    record = json.loads(bytes(arrays["record"]))
    assert record.pop("schema") == checkpoint.SCHEMA and record["blocks"][0].pop("tails") is None
    old = json.dumps({**record, "schema": 3}).encode()
    arrays["record"] = np.frombuffer(old, dtype=np.uint8)
    arrays["sha256"] = np.frombuffer(checkpoint._digest(arrays).encode(), dtype=np.uint8)
    np.savez(path, **arrays)
    assert load_run(path).posterior.blocks[0].data.tails is None


def test_normal_scores_are_exceeded_as_rarely() -> None:
    """Against the quantiles of scipy.stats; of a residual that no number reaches, the largest."""
    z = np.linspace(-8.0, 8.0, 41)
    scores = _normal_scores(z, Data(X, Y, noise=1.0, tails=3))
    np.testing.assert_allclose(scores, stats.norm.ppf(stats.t.cdf(z, 3)), rtol=1e-8, atol=1e-12)
    assert 30.0 < _normal_scores(np.array([1e200]), Data(X, Y, noise=1.0, tails=3))[0] < 40.0
    assert _normal_scores(z, Data(X, Y, noise=1.0)) is z


def test_an_outlier_is_no_misfit(run: Run) -> None:
    """Under the normal law no level describes the point far out, under Student's it does."""
    twin = sample(level("known", None), 1500, burn_in=500, chains=2, seed=5)
    assert choose({"a": run}).rows[0].fit.failures == ()
    assert "too large" in choose({"a": twin}).rows[0].fit.failures[0]


def test_criteria_know_the_largest_likelihood(run: Run) -> None:
    def minus(offset: float) -> float:
        return -float(log_likelihood("known", np.array([offset]), np.ones(1))[0])

    found = criteria(run)
    best = optimize.minimize_scalar(minus, bounds=(-2, 3), method="bounded",
                                    options={"xatol": 1e-9})
    assert found.least == pytest.approx(best.fun, abs=1e-6)
    assert abs(found.loo - found.waic) < 0.5 and found.unsafe == 0


def test_the_law_is_said_in_words(run: Run) -> None:
    assert noise_in_words(Data(X, Y, noise="unknown", tails=4)) == (
        "Student t with nu = 4, one unknown scale, inferred (sigma)")
    assert noise_in_words(Data(X, Y, noise="unknown", sigma=SPREAD, tails=2.5)) == (
        "Student t with nu = 2.5, scale 0.2 to 0.3, point by point, times an unknown factor, "
        "inferred (noise_factor)")
    np.testing.assert_array_equal(fit_curves(run, 0).sigma, SPREAD)
    other = sample(level("known", 8.0), 1500, burn_in=500, chains=2, seed=7)
    _, text = compare({"three": run, "eight": other})
    assert "the noise is part of the model here" in text and "nu = 3" in text and "nu = 8" in text
    assert "same model" not in text


# ---- the command line ---------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Synthetic: one line, and one point far out."""
    g = np.random.default_rng(9)
    x = np.linspace(0.0, 3.0, 61)
    y = np.exp(-((x - 1.2) / 0.3) ** 2) + 0.05 * g.normal(size=61)
    y[45] += 1.0
    path = tmp_path / "line.csv"
    path.write_text("x,y\n" + "".join(f"{a:.3f},{b:.4f}\n" for a, b in zip(x, y, strict=True)))
    return str(path)


@pytest.mark.parametrize(("noise", "words"), [
    ("0.05", "Student t with nu = 4, scale 0.05 (given)"),
    ("unknown", "Student t with nu = 4, one unknown scale, inferred (sigma)")])
def test_a_fit_of_data_with_an_outlier(noise: str, words: str, file: str, tmp_path: Path,
                                       undrawn: None, capsys: pytest.CaptureFixture[str]) -> None:
    """The law is in the page, the table and the saved run; show reads it."""
    out = tmp_path / "fit"
    code = main(["fit", file, "--instrument", "peaks", "--noise", noise, "--tails", "4", "--K",
                 "1", "--sweeps", "800", "--out", str(out)])
    assert code in (0, 1)
    assert json.loads((out / "table.json").read_text())["data"]["sets"][0]["noise"] == words
    assert words in (out / "report.html").read_text()
    assert load_run(out / "K1.npz").posterior.blocks[0].data.tails == 4.0
    capsys.readouterr()
    assert main(["show", str(out / "K1.npz"), "--criteria"]) in (0, 1)
    assert "peak1_center" in capsys.readouterr().out


@pytest.mark.parametrize(("tails", "noise", "words"), [
    ("0", "0.05", "--tails: received 0, expected degrees of freedom > 0"),
    ("-1", "0.05", "--tails: received -1, expected degrees of freedom > 0"),
    ("nan", "unknown", "--tails: received nan, expected degrees of freedom > 0"),
    ("many", "0.05", "--tails: received 'many', expected a number"),
    ("4", "poisson", "--tails: received 4, expected none with noise poisson; counts have")])
def test_the_command_line_refuses_in_one_sentence(
        tails: str, noise: str, words: str, file: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", file, "--instrument", "peaks", "--noise", noise, "--tails", tails, "--K",
                 "1", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


# ---- what it is for -----------------------------------------------------------------------------


SEEDS, POINTS, SIGMA = 20, 301, 0.1


def spectrum(seed: int, spikes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic: the two larger peaks of Nagata's three with noise of 0.1; with spikes, one point
    in a hundred (3 of 301) lies 10 to 20 sigma too high."""
    g = np.random.default_rng([7, seed])
    x = np.linspace(0.0, 3.0, POINTS)
    y = sum(a * np.exp(-b * (x - m) ** 2 / 2)
            for a, b, m in ((1.522, 146.8, 1.455), (1.183, 164.7, 1.703)))
    y = y + SIGMA * g.normal(size=POINTS)
    hit = g.choice(POINTS, 3, replace=False)
    y[hit] += SIGMA * g.uniform(10.0, 20.0, 3) * spikes
    return x, y


def favoured(seed: int, spikes: bool, tails: float | None) -> int:
    """K* of one to three peaks; widths from two spacings of x, as the default prior has it."""
    x, y = spectrum(seed, spikes)
    data = Data(x, y, noise=SIGMA, tails=tails)
    runs = {K: sample(Posterior(Model.repeated(
        K, shapes.gaussian, height=Uniform(0.0, 3.0), center=Uniform(0.0, 3.0),
        width=Uniform(0.02, 1.5)), data), 1500, burn_in=1500, chains=2, seed=100 * seed + K)
        for K in (1, 2, 3)}
    return int(choose(runs).best)


@pytest.mark.slow
def test_spikes_do_not_change_the_number_of_peaks() -> None:
    """Twenty seeds: under Student's law with nu = 4 the spectra with spikes have as many peaks as
    the same spectra without have under the normal law, in 19 of 20 at least; under the normal law
    they have not."""
    clean = [favoured(seed, False, None) for seed in range(SEEDS)]
    normal = [favoured(seed, True, None) for seed in range(SEEDS)]
    student = [favoured(seed, True, 4.0) for seed in range(SEEDS)]
    print(f"clean {clean}\nspikes, normal {normal}\nspikes, Student {student}")
    assert sum(a == b for a, b in zip(student, clean, strict=True)) >= 19
    assert sum(a == b for a, b in zip(normal, clean, strict=True)) <= 1
