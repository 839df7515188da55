"""What a user sees of a run: the summary, its numbers, and the figures."""

import dataclasses
import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statistics_helpers import as_run

from sampler import (
    Data,
    InputError,
    Model,
    Posterior,
    Run,
    choose,
    draw,
    draw_choice,
    draw_fit,
    draw_ladder,
    lettering,
    metropolis,
    sample,
    shapes,
    summary,
)
from sampler.instruments.relaxation import relaxation
from sampler.priors import LogUniform
from sampler.report import lettering as lettering_of
from sampler.report import parameter_rows, pressing, relaxation_times, sorted_draws

X = np.linspace(0.0, 6.0, 60)
Y = np.exp(-((X - 2.0) ** 2) / 0.5) + 0.6 * np.exp(-((X - 4.0) ** 2) / 0.3) + 0.02 * np.cos(40 * X)


def two_peaks(**changes: Any) -> Posterior:
    priors = {"height": (0, 2), "center": (0, 6), "width": (0.3, 3), **changes}
    return Posterior(Model.repeated(2, shapes.gaussian, **priors),
                     Data(X, Y, noise=0.05, x_label="energy (eV)", y_label="counts",
                          name="made up"))


@pytest.fixture(scope="module")
def run() -> Run:
    return sample(two_peaks(), 1500, burn_in=1000, seed=1)


def test_the_summary_names_units_intervals_and_priors(run: Run) -> None:
    text = summary(run)
    for words in ("nats", "68 % credible", "95 % credible", "energy (eV)", "counts",
                  "peak_width (each)", "sorted after sampling: peak by center",
                  "uniform from 0 to 2"):
        assert words in text
    for name in run.posterior.names:
        assert re.search(rf"^{name} ", text, re.MULTILINE)


def test_the_numbers_are_those_of_the_draws(run: Run) -> None:
    draws, key = sorted_draws(run)
    assert key == "peak by center"
    names = run.posterior.names
    centers = [draws[..., names.index(f"peak{k}_center")] for k in (1, 2)]
    assert np.all(centers[0] < centers[1])
    for i, row in enumerate(parameter_rows(run, draws)):
        values = draws[..., i].ravel()
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert row["sd"] == pytest.approx(values.std(), rel=1e-12)
        assert [row[k] for k in ("low95", "low68", "high68", "high95")] == pytest.approx(
            np.quantile(values, [0.025, 0.16, 0.84, 0.975]), rel=1e-12)
        assert 0 < row["ess"] <= 2 * values.size
    # Sorting moves whole peaks: each draw keeps its set of (height, center, width).
    before = np.sort(run.draws.reshape(-1, 2, 3), axis=1)[:, :, 0]
    after = np.sort(draws.reshape(-1, 2, 3), axis=1)[:, :, 0]
    assert np.array_equal(before, after)


def test_a_posterior_on_its_prior_wall_is_said() -> None:
    walled = sample(two_peaks(width=(0.3, 0.6)), 600, burn_in=600, seed=1)
    assert any("peak1_width presses on its prior bound 0.6" in line for line in pressing(walled))
    assert "presses" in summary(walled)


def test_the_width_is_said_to_be_the_full_width_at_half_maximum(run: Run) -> None:
    said = "peak_width is the full width at half maximum (FWHM), in units of x"
    assert summary(run).count(said) == 1
    line = Posterior(Model.single(shapes.linear, offset=(0, 1), slope=(-1, 1)), Data(
        X, Y, noise=0.5))
    assert "FWHM" not in summary(sample(line, 50, burn_in=50))


def test_relaxation_times_are_those_of_the_draws() -> None:
    """Two recoveries, their numbers exchanged in every other draw: T1 of either, in the order of
    the table; none for a stretched component or a background."""
    T = np.random.default_rng(5).gamma(400.0, [[0.005], [0.0005]], (2, 400)).T.reshape(4, 100, 2)
    draws = np.empty((4, 100, 5))
    draws[..., 0], draws[..., 1], draws[..., 3] = 1.0, 0.5, 0.6
    draws[..., 2], draws[..., 4] = 1 / T[..., 0], 1 / T[..., 1]
    draws[:, ::2] = draws[:, ::2][..., [0, 3, 4, 1, 2]]
    model = relaxation(2, "exponential", "recovery", offset=(0, 2), amplitude=(0, 1),
                       rate=LogUniform(0.01, 100))
    data = Data([0.0, 1.0, 2.0, 3.0], [0.0, 0.5, 0.8, 0.9], noise=0.1, x_label="delay (s)")
    lines = relaxation_times(made_up(Posterior(model, data), draws))
    assert len(lines) == 2
    for line, name, values in zip(lines, ("component1_rate", "component2_rate"),
                                  (T[..., 0], T[..., 1]), strict=True):
        assert line.startswith(f"T1 = 1/{name}: ") and "'delay (s)'" in line
        found = [float(v) for v in re.findall(r"(?:mean|sd|credible|to) ([\d.]+)", line)]
        assert found == pytest.approx(
            [values.mean(), values.std(), *np.quantile(values, [0.025, 0.975])],
            abs=0.06 * values.std())        # two digits of the sd are printed
    assert all(line in summary(made_up(Posterior(model, data), draws)) for line in lines)
    stretched = relaxation(1, "stretched", offset=(0, 2), amplitude=(0, 1), rate=(0.1, 1),
                           stretching=(0, 1))
    base = Model.single(shapes.exponential, "background_", amplitude=(0, 1), rate=(0.1, 1))
    for other, size in ((stretched, 4), (base, 2)):
        assert relaxation_times(made_up(Posterior(other, data), np.full((4, 9, size), 0.5))) == []


def test_what_presses_is_what_the_table_shows() -> None:
    """A peak at the wall in 16 % of the draws, under either number in half of these: in order of
    centre, as in the table, it is peak 1 in all of them; by the sampler's numbers 8 % each."""
    draws = np.tile([1.0, 2.0, 0.6, 0.8, 4.0, 0.7], (4, 100, 1))
    draws[:, :8, 1] = 0.05
    draws[:, 8:16, 4] = 0.05
    (line,) = pressing(made_up(two_peaks(), draws))
    assert line.startswith("peak1_center presses on its prior bound 0 (16% of the draws")


def test_nothing_presses_where_nothing_does(run: Run) -> None:
    assert pressing(run) == []


def test_the_fit_shows_data_band_components_and_residuals(run: Run, tmp_path: Path) -> None:
    figure = draw_fit(run)
    main, residual = figure.axes
    labels = {text.get_text() for text in main.get_legend().get_texts()}
    assert {"made up", "95 % band", "posterior mean"} <= labels
    assert len(labels) == 5
    assert main.get_ylabel() == "counts"
    assert residual.get_xlabel() == "energy (eV)"
    mean = next(line for line in main.lines if line.get_label() == "posterior mean")
    x, y = mean.get_data()
    truth = np.interp(2.0, x, y)
    assert truth == pytest.approx(1.0, abs=0.1)
    shown = residual.lines[0].get_ydata()
    assert len(shown) == 60
    assert np.std(shown) < 2.0
    figure.savefig(tmp_path / "fit.png")


def test_every_figure_is_drawn_and_labelled(run: Run, tmp_path: Path) -> None:
    choice = choose({1: sample(Posterior(Model.repeated(
        1, shapes.gaussian, height=(0, 2), center=(0, 6), width=(0.3, 3)),
        run.posterior.blocks[0].data), 1500, burn_in=500, seed=2), 2: run})
    for name, figure in (("fit", draw(run)), ("choice", draw(choice)),
                         ("again", draw_choice(choice)), ("ladder", draw_ladder(run))):
        for ax in figure.axes:
            assert ax.get_ylabel() or ax.get_xlabel()
        figure.savefig(tmp_path / f"{name}.png", dpi=50)
        assert (tmp_path / f"{name}.png").stat().st_size > 2000
    with pytest.raises(InputError, match="result"):
        draw(3.0)


def test_one_temperature_has_no_free_energy(run: Run) -> None:
    text = summary(metropolis(run.posterior, 200, burn_in=200, seed=1))
    assert "one temperature: no free energy" in text


def test_a_model_without_parameters_is_summarised() -> None:
    text = summary(sample(Posterior(Model(), Data(X, Y, noise=0.5))))
    assert "no free parameters" in text
    assert "exact" in text


def test_x_from_zero_over_decades_is_drawn_linearly() -> None:
    """x = 0 has no logarithm: the axis is linear, and no warning is raised."""
    x = np.array([0.0, 0.01, 0.1, 1.0, 10.0])
    posterior = Posterior(Model.single(shapes.exponential, amplitude=(0, 2), rate=(0.01, 10)),
                          Data(x, np.exp(-x), noise=0.1))
    figure = draw_fit(sample(posterior, 100, burn_in=100))
    assert figure.axes[1].get_xscale() == "linear"
    later = Posterior(posterior.blocks[0].model, Data(x[1:], np.exp(-x[1:]), noise=0.1))
    assert draw_fit(sample(later, 100, burn_in=100)).axes[1].get_xscale() == "log"


# --- made-up draws: what is printed and drawn is what was given ----------------------------------


def made_up(posterior: Posterior, draws: np.ndarray) -> Run:
    """A run whose draws at beta = 1 are given; its energies are only there to be plotted."""
    generator = np.random.default_rng(0)
    betas = np.array([0.0, 0.01, 0.1, 1.0])
    energy = 20.0 + generator.gamma(2.0, 1.0, (*draws.shape[:2], 4)) / (betas + 0.005)
    order = np.argsort(generator.random(energy.shape), axis=-1)
    return as_run(posterior, betas, energy, order, draws)


LINE = Posterior(Model.single(shapes.linear, offset=(-10, 10), slope=(-10, 10)),
                 Data(np.arange(8.0), 1.0 + 2.0 * np.arange(8.0), noise=np.arange(1.0, 9.0),
                      x_label="time (s)", y_label="signal (mV)", name="made up"))


def test_printed_intervals_are_the_quantiles_of_the_draws() -> None:
    """0, 1, ..., 1000 in any order: quantiles by hand, to two digits of the sd."""
    values = np.random.default_rng(1).permutation(1001.0 * np.ones(1001)).cumsum() / 1001.0 - 1.0
    draws = np.stack([values / 1000.0, 1e-7 * values], axis=-1)[None]
    text = summary(made_up(LINE, np.concatenate([draws, draws])))
    row = next(line.split() for line in text.splitlines() if line.startswith("offset "))
    assert row[1:7] == ["0.50", "0.29", "0.16", "0.84", "0.03", "0.97"]
    row = next(line.split() for line in text.splitlines() if line.startswith("slope "))
    assert [float(v) for v in row[1:7]] == pytest.approx(
        [5e-5, 2.89e-5, 1.6e-5, 8.4e-5, 2.5e-6, 9.75e-5], abs=1e-6)
    assert "units: x in 'time (s)', y in 'signal (mV)'" in text


@pytest.mark.parametrize(("value", "sd", "text"), [
    (1234.5678, 12.3, "1235"), (0.00012345, 1e-5, "0.000123"), (5.0, 0.0, "5"),
    (-3.14159, 0.01, "-3.142"), (1e-9, 1e-10, "1.00e-09"), (float("inf"), 1.0, "inf")])
def test_numbers_are_printed_to_two_digits_of_their_sd(value: float, sd: float, text: str) -> None:
    from sampler.report import _digits

    assert _digits(value, sd) == text


def test_components_are_sorted_as_wholes_and_by_draw() -> None:
    """Every draw swaps labels at random: sorted, each component has one height again."""
    generator = np.random.default_rng(2)
    truth = np.array([[1.0, 2.0, 0.5], [0.4, 4.0, 0.7]])       # height, center, width
    swap = generator.random((2, 400)) < 0.5
    pairs = np.where(swap[..., None, None], truth[::-1], truth)
    run = made_up(two_peaks(), pairs.reshape(2, 400, 6))
    draws, key = sorted_draws(run)
    assert key == "peak by center"
    assert np.array_equal(draws, np.broadcast_to(truth.ravel(), draws.shape))
    assert run.draws is not draws and not np.array_equal(run.draws, draws)   # the run is untouched


def test_components_with_priors_of_their_own_keep_their_names() -> None:
    """They are not exchangeable: sorting would hand one's draws to the other's prior."""
    own = two_peaks()
    model = own.blocks[0].model.with_priors({"peak1_height": (0.7, 2), "peak2_height": (0, 0.7)})
    posterior = Posterior(model, own.blocks[0].data)
    draws = np.broadcast_to([1.0, 4.0, 0.5, 0.4, 2.0, 0.7], (2, 50, 6))
    found, key = sorted_draws(made_up(posterior, draws))
    assert key == "" and np.array_equal(found, draws)


def test_the_fit_is_the_mean_and_the_band_the_quantiles() -> None:
    draws = np.random.default_rng(3).normal([1.0, 2.0], [0.5, 0.1], (2, 200, 2))
    figure = draw_fit(made_up(LINE, draws))
    main, residual = figure.axes
    lines = {line.get_label(): line for line in main.lines}
    grid, mean = lines["posterior mean"].get_data()
    curves = draws.reshape(-1, 2) @ np.stack([np.ones_like(grid), grid])
    assert mean == pytest.approx(curves.mean(axis=0), rel=1e-10)
    band = main.collections[-1].get_paths()[0].vertices
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    middle = len(grid) // 2
    at_middle = band[np.isclose(band[:, 0], grid[middle]), 1]
    assert sorted(at_middle) == pytest.approx([low[middle], high[middle]], rel=1e-10)
    x, scaled = residual.lines[0].get_data()
    data = LINE.blocks[0].data
    assert scaled == pytest.approx(
        (data.y - draws[..., 0].mean() - draws[..., 1].mean() * x) / data.deviation, abs=1e-10)
    assert (residual.get_xlabel(), main.get_ylabel()) == ("time (s)", "signal (mV)")
    assert residual.get_ylabel() == "residual / σ"


def test_residuals_are_in_units_of_the_right_noise() -> None:
    """Counts: the root of the curve; a factor that is inferred: times the given deviations."""
    x = np.arange(1.0, 6.0)
    counts = Posterior(Model.single(shapes.constant, offset=(1, 50)),
                       Data(x, [7.0, 9, 16, 4, 9], noise="poisson"))
    shown = draw_fit(made_up(counts, np.full((2, 40, 1), 9.0))).axes[1].lines[0].get_ydata()
    assert shown == pytest.approx([-2 / 3, 0, 7 / 3, -5 / 3, 0])
    scaled = Posterior(Model.single(shapes.constant, offset=(1, 50)),
                       Data(x, [7.0, 9, 16, 4, 9], noise="unknown", sigma=x))
    draws = np.broadcast_to([9.0, 2.0], (2, 40, 2))
    assert scaled.names == ("offset", "noise_factor")
    shown = draw_fit(made_up(scaled, draws)).axes[1].lines[0].get_ydata()
    assert shown == pytest.approx(np.array([-2, 0, 7, -5, 0]) / (2 * x))


def test_the_ladder_shows_the_run(run: Run) -> None:
    """Four panels, each with named axes, units where there are any, and the run's own numbers."""
    rates, journey, energy, heat = draw_ladder(run).axes
    for ax in (rates, journey, energy, heat):
        assert ax.get_xlabel() and ax.get_ylabel() and ax.get_title(loc="left")
    assert (energy.get_ylabel(), heat.get_ylabel()) == ("⟨U⟩ (nats)", "β² Var U (dimensionless)")
    assert np.array_equal(rates.lines[0].get_ydata(), run.swap_rate)
    assert rates.lines[1].get_ydata()[0] == 0.1                        # the alarm
    place = journey.lines[0].get_ydata()
    assert np.all(run.replica[0, np.arange(len(place)), place] == 0)   # one and the same replica
    assert energy.lines[0].get_xdata() == pytest.approx(run.betas[1:])
    assert energy.lines[0].get_ydata() == pytest.approx(run.energy[..., 1:].mean(axis=(0, 1)))
    assert heat.lines[0].get_ydata() == pytest.approx(
        run.betas[1:] ** 2 * run.energy[..., 1:].var(axis=(0, 1)), rel=1e-2)


def test_the_choice_shows_f_and_p_of_every_model(run: Run) -> None:
    data = run.posterior.blocks[0].data
    one = sample(Posterior(Model.repeated(
        1, shapes.gaussian, height=(0, 2), center=(0, 6), width=(0.3, 3)), data), 600,
        burn_in=500, seed=2)
    choice = choose({1: one, 2: run})
    left, right = draw_choice(choice).axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["K=1", "K=2"]
    assert [bar.get_height() for bar in right.patches] == [r.probability for r in choice.rows]
    F = [r.free_energy.value for r in choice.rows]
    assert left.lines[0].get_ydata() == pytest.approx(np.array(F) - min(F))
    assert left.get_ylabel().endswith("(nats)") and right.get_ylabel() == "p(model | data)"
    lower, upper = left.collections[0].get_segments()[0][:, 1]
    assert (upper - lower) / 2 == pytest.approx(1.96 * choice.rows[0].free_energy.error)


def test_drawing_leaves_the_global_state_of_matplotlib_alone(run: Run) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw_fit(run), draw_ladder(run)
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_the_style_holds_to_the_last_stroke(run: Run) -> None:
    """Legends and titles read the style when they are made, not when the axes are."""
    main = draw_fit(run).axes[0]
    assert not main.get_legend().get_frame_on()
    assert main.get_legend().get_texts()[0].get_fontsize() == 8.0
    assert draw_ladder(run).axes[0].get_title() == ""       # nothing in the centre
    assert not main.spines["top"].get_visible()


# ---- names in any script ------------------------------------------------------------------------


def test_names_without_a_font_are_replaced_and_said(run: Run) -> None:
    """No box in the figure, no warning (warnings are errors here), one sentence; a name with
    dollar signs is no formula."""
    data = dataclasses.replace(run.posterior.blocks[0].data, x_label="\U000f0000", name="",
                               y_label="$cost$ ($)")
    named = dataclasses.replace(run, posterior=Posterior(run.posterior.blocks[0].model, data))
    main, residual = draw_fit(named).axes
    assert residual.get_xlabel() == "x (no font for its name)"
    assert main.get_ylabel() == r"\$cost\$ (\$)"
    main.figure.savefig(io.BytesIO())
    assert lettering_of(named).startswith("no installed font has the characters of '\\U000f0000'")
    assert lettering_of(run) == ""


def test_a_font_that_is_installed_helps_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """matplotlib brings STIX; an old letter stands for a script that its usual font lacks."""
    from matplotlib.font_manager import findfont, get_font

    usual, stix = (set(get_font(findfont(name)).get_charmap()) for name in ("DejaVu Sans",
                                                                        "STIXGeneral"))
    letter = chr(min(c for c in stix - usual if chr(c).isalpha()))
    assert lettering.without_font([letter]) == [letter]
    monkeypatch.setattr(lettering, "HELPERS", ("STIXGeneral", "no such font"))
    assert lettering.without_font([letter]) == []
    data = dataclasses.replace(run.posterior.blocks[0].data, x_label=letter)
    named = dataclasses.replace(run, posterior=Posterior(run.posterior.blocks[0].model, data))
    figure = draw_fit(named)
    assert figure.axes[1].get_xlabel() == letter
    figure.savefig(io.BytesIO())
