"""What a user sees of a run: the summary, its numbers, and the figures."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
    metropolis,
    sample,
    shapes,
    summary,
)
from sampler.report import parameter_rows, pressing, sorted_draws

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
