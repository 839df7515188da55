"""Which of these models?  A run of each, and the few numbers that a figure and a table need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

Progress = Any


def decide(posteriors: Mapping[Any, Any], sweeps: int | Mapping[Any, int], burn_in: int, seed: int,
           progress: Progress = None, words: str = "", chains: int = 4, doublings: int = 0
           ) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Sample every model and choose.

    Parameters
    ----------
    posteriors : mapping from the name of a model (a number of components, a word) to its posterior
    sweeps, burn_in : int
        For each chain; sweeps may differ from model to model.
    seed : int
        Of the first model; the next ones take the next.
    progress : callable (done, total, words), optional
    words : str
        In front of the model's name in the line of progress.
    chains : int
    doublings : int
        How often a run that is not trusted gets as many sweeps again.

    Returns
    -------
    runs : dict from name to Run
    decision : dict
        ``names``, ``F``, ``F_error`` (nats, the constant included), ``constant``, ``probability``,
        ``probability_error`` (arrays (models,)), ``trusted``, ``best`` (the favoured one's name),
        ``fits`` (does the favoured model describe the data at all: the smallest p of the three
        tests of the absolute fit).
    """
    from sampler import absolute_fit, choose, diagnose, free_energy, resume, sample

    runs = {}
    for k, (name, posterior) in enumerate(posteriors.items()):
        counted = sweeps if isinstance(sweeps, int) else sweeps[name]
        said = progress and _labelled(progress, f"{words}{name}")
        runs[name] = sample(posterior, counted, burn_in=burn_in, chains=chains, seed=seed + k,
                            progress=said)
        for _ in range(doublings):
            if not diagnose(runs[name]).trusted:
                runs[name] = resume(runs[name], runs[name].sweeps, progress=said)
    choice = choose(runs)
    found = [free_energy(run) for run in runs.values()]
    fit = absolute_fit(runs[choice.best])
    return runs, {
        "names": [str(name) for name in runs],
        "F": np.array([f.value for f in found]), "F_error": np.array([f.error for f in found]),
        "constant": float(found[0].constant),
        "probability": np.array([row.probability for row in choice.rows]),
        "probability_error": np.array([row.probability_error for row in choice.rows]),
        "trusted": [diagnose(run).trusted for run in runs.values()], "best": str(choice.best),
        "fits": min(fit.chi_square, fit.runs, fit.lag)}


def _labelled(progress: Progress, label: str) -> Callable[[int, int, str], None]:
    return lambda done, total, words: progress(done, total, f"{label}, {words}")


def difference(decision: Mapping[str, Any], first: str, second: str) -> tuple[float, float]:
    """F(first) - F(second) and its error (nats)."""
    at = {name: k for k, name in enumerate(decision["names"])}
    i, j = at[first], at[second]
    return (float(decision["F"][i] - decision["F"][j]),
            float(np.hypot(decision["F_error"][i], decision["F_error"][j])))


def in_order(run: Any, key: str) -> Any:
    """All draws, array (draws, parameters), exchangeable components sorted by one parameter."""
    from sampler.labels import exchangeable, fold

    groups = tuple(replace(group, key=key) for group in exchangeable(run.posterior))
    return fold(groups, run.draws.reshape(-1, run.draws.shape[-1]))


def draw_decision(ax: Any, decision: Mapping[str, Any], what: str = "number of components K",
                  top: float = 3000.0) -> None:
    """F above its minimum on a scale that shows one nat and a thousand."""
    from experiments.figures import BLUE, RED, plain_ticks

    names, F = decision["names"], np.asarray(decision["F"])
    place, low = np.arange(len(names)), float(F.min())
    ax.errorbar(place, F - low, 1.96 * np.asarray(decision["F_error"]), fmt="o", color=BLUE, ms=4)
    ax.axhline(1.0, color=RED, ls="--", lw=1.0, label="1 nat")
    ax.set_yscale("symlog", linthresh=3.0)
    ax.set(xlabel=what, ylabel=f"F {'-' if low >= 0 else '+'} {abs(low):.2f} (nats)", xticks=place,
           ylim=(-1.0, top))
    ax.set_xticklabels(names)
    ticks = [t for t in (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000) if t <= top]
    plain_ticks(ax.yaxis, ticks)
    ax.legend(loc="upper right")
