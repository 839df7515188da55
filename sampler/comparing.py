"""Saved runs side by side: of the same data only, F with errors, differences, p and a verdict.

Evidences of different data do not compare, so that runs whose data differ in a single digit are
refused; the file's name is no proof either way.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sampler.choice import Choice, choose
from sampler.errors import InputError
from sampler.exchange import Run
from sampler.posterior import Posterior
from sampler.priors import to_text
from sampler.tables import data_hash, name, noise_in_words


def load_runs(paths: Sequence[str | Path]) -> dict[str, Run]:
    """Saved runs of the same data, by the shortest ends of their paths that tell them apart.

    Parameters
    ----------
    paths : sequence of str or Path

    Returns
    -------
    mapping from label to Run

    Raises
    ------
    InputError
        For fewer than two files, the same file twice, or different data.
    """
    from sampler.checkpoint import load_run

    if len(paths) < 2:
        raise InputError("runs to compare", str(len(paths)), "two or more", "show prints one")
    labels = labels_of(paths)
    runs = {label: load_run(path) for label, path in zip(labels, paths, strict=True)}
    same_data(runs)
    for label, run in runs.items():
        if len(run.betas) < 2 and run.posterior.dimension:
            raise InputError(label, "a run of one temperature, which has no F",
                             "a run with a ladder")
    return runs


def labels_of(paths: Sequence[str | Path]) -> list[str]:
    """Names of files, with as much of their folders as tells them apart.

    Examples
    --------
    >>> labels_of(["fit/K1.npz", "fit/K2.npz"]), labels_of(["a/K1.npz", "b/K1.npz"])
    (['K1', 'K2'], ['a/K1', 'b/K1'])
    """
    parts = [Path(path).resolve().with_suffix("").parts for path in paths]
    twice = [str(path) for path, n in zip(paths, map(parts.count, parts), strict=True) if n > 1]
    if twice:
        raise InputError("runs to compare", f"{twice[0]} twice", "each file once")
    for depth in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(p[-depth:]) for p in parts]
        if len(set(labels)) == len(labels):
            return labels
    raise AssertionError("different paths have different parts")


def same_data(runs: Mapping[str, Run]) -> None:
    """Refuse runs of different data, by the hash of x and y."""
    hashes = {label: data_hash(run.posterior) for label, run in runs.items()}
    (first, wanted), *others = hashes.items()
    for label, found in others:
        if found != wanted:
            raise InputError(
                "runs to compare", f"different data: {first} ({_data(runs[first].posterior)}, "
                f"hash {wanted[:12]}) and {label} ({_data(runs[label].posterior)}, hash "
                f"{found[:12]})", "runs of the same data",
                "evidences of different data do not compare")


def _data(posterior: Posterior) -> str:
    sets = [block.data for block in posterior.blocks]
    return ", ".join(f"{data.name or 'unnamed'}, {data.size} points" for data in sets)


def compare(runs: Mapping[str, Run]) -> tuple[Choice, str]:
    """The choice among runs of the same data, and the comparison in words.

    Parameters
    ----------
    runs : mapping from label to Run
        See `load_runs`.

    Returns
    -------
    choice, text

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> data = Data([0, 1, 2, 3], [0.1, 0.9, 2.2, 2.8], noise=0.3)
    >>> runs = {n: sample(Posterior(Model.single(shapes.linear, offset=(-5, 5), slope=s), data),
    ...                   sweeps=2000, seed=1) for n, s in (("flat", 0.0), ("line", (-5, 5)))}
    >>> choice, text = compare(runs)
    >>> choice.best, text.splitlines()[2]
    ('line', 'line favoured, all others excluded.')
    """
    same_data(runs)
    choice = choose(runs)
    posterior = next(iter(runs.values())).posterior
    lines = [f"data: {_data(posterior)}, hash {data_hash(posterior)[:12]}", "", choice.verdict, "",
             choice.table, "", *differences(choice), *_notes(runs)]
    return choice, "\n".join(lines)


def differences(choice: Choice) -> list[str]:
    """F minus that of the favoured model, with the error of independent runs."""
    best = choice[choice.best].free_energy
    width = max(5, *(len(name(row.label)) for row in choice.rows))
    lines = [f"difference of F from {name(choice.best)} (nats; errors of independent runs):"]
    for row in choice.rows:
        if row.label == choice.best:
            continue
        gap = row.free_energy.value - best.value
        error = math.hypot(row.free_energy.error, best.error)
        odds = (f"odds {math.exp(-gap):.3g} to 1" if math.isfinite(gap) and abs(gap) < 700.0
                else "no odds worth a number")
        lines.append(f"  {name(row.label):<{width}}  {gap:+.3f} +- {error:.3f}  ({odds})")
    return lines


def _notes(runs: Mapping[str, Run]) -> list[str]:
    """What makes p or an error mean less than it says: a model or a seed twice, two noise laws."""
    lines = []
    kinds = {label: model_text(run.posterior) for label, run in runs.items()}
    for kind, n in Counter(kinds.values()).items():
        if n > 1:
            same = ", ".join(label for label, other in kinds.items() if other == kind)
            lines.append(f"note: {same} are runs of the same model: F should agree within the "
                         "errors, and p counts that model more than once")
            seeds = {run.seed for label, run in runs.items() if kinds[label] == kind}
            if len(seeds) < n:
                lines.append("note: some of them have the same seed, and so the same random "
                             "numbers: their errors are not independent")
    noises = {label: "; ".join(noise_in_words(b.data) for b in run.posterior.blocks)
              for label, run in runs.items()}
    if len(set(noises.values())) > 1:
        lines.append("note: the noise is part of the model here: "
                     + "; ".join(f"{label}: {words}" for label, words in noises.items()))
    return ["", *lines] if lines else []


def model_text(posterior: Posterior) -> str:
    """Formulas, names, priors, orders and noise of a posterior: equal for equal models."""
    def noise(data: Any) -> str:
        return f"{data.law} {data.tails} {data.noise_prior} {data.deviation.tobytes().hex()}"

    return repr([
        [[(term.formula.text(), term.names) for term in block.model.terms]
         for block in posterior.blocks], [noise(block.data) for block in posterior.blocks],
        sorted((n, to_text(p)) for n, p in posterior.priors.items()),
        sorted(posterior.fixed.items()), posterior.orderings])
