"""All numbers of a choice as one record, for JSON, CSV and the page: what is printed anywhere is
taken from here, so that no two of them can differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sampler.choice import Choice, Row
from sampler.data import POISSON, Data
from sampler.derived import average_of, common, derive, known_in, standard
from sampler.diagnostics import diagnose
from sampler.evidence import free_energy_along
from sampler.exchange import Run
from sampler.posterior import Posterior
from sampler.report import (
    fit_curves,
    json_text,
    parameter_rows,
    pressing,
    priors_in_words,
    sorted_draws,
)
from sampler.sensitivity import Widening, sensitivity

COLUMNS = ("mean", "sd", "low68", "high68", "low95", "high95", "ess")


def record(choice: Choice, runs: Mapping[Any, Run], *, asked: Iterable[Any] = (),
           command: str = "", derived: Iterable[str] = ()) -> dict[str, Any]:
    """Every number and sentence of an answer.

    Parameters
    ----------
    choice : Choice
    runs : mapping from label to Run
        Those that were chosen from.
    asked : labels, optional
        All models that were asked for; those without a run are named.
    command : str
        What was typed.
    derived : iterable of str
        Derived quantities (see `sampler.derived`), in the models that have them.

    Returns
    -------
    mapping
        ``json_text`` writes it; F and its error in nats.
    """
    first, wanted = next(iter(runs.values())), list(derived)
    posteriors = {label: run.posterior for label, run in runs.items()}
    mine = known_in(wanted, {label: (*p.names, *p.fixed) for label, p in posteriors.items()},
                    partial=True)
    return {
        "command": command, "data": data_record(first.posterior),
        "verdict": choice.verdict.splitlines(), "best": name(choice.best),
        "not_excluded": [name(v) for v in choice.not_excluded],
        "certain": choice.certain, "doubtful": [name(v) for v in choice.doubtful],
        "misfits": choice.misfits, "rules": {"within": choice.within, "excluded": choice.excluded},
        "not_run": [name(v) for v in asked if v not in runs],
        "models": [_model(row, runs[row.label]) for row in choice.rows],
        "parameters": {name(label): parameter_rows(run) for label, run in runs.items()},
        "derived": {name(label): _derived(run, mine[label]) for label, run in runs.items()},
        "averaged": _averages(choice, runs, [
            text for text in wanted if all(text in mine[v] for v in choice.not_excluded)]),
        "runs": {name(label): _run(run, label in choice.not_excluded)
                 for label, run in runs.items()},
        "sensitivity": [_widening(w) for w in sensitivity(choice, runs)],
        "versions": dict(first.versions)}


def name(label: Any) -> str:
    """``K=2`` for 2; any other label as it is."""
    return f"K={label}" if isinstance(label, int) else str(label)


def data_hash(posterior: Posterior) -> str:
    """SHA-256 of x and y of every data set, and whether they are counts: equal for equal data,
    whatever their file is called.

    Examples
    --------
    >>> from sampler import Model
    >>> one, two = (Posterior(Model(), Data([0, 1], [2, y], noise=0.1)) for y in (3.0, 3.5))
    >>> data_hash(one) == data_hash(one) != data_hash(two)
    True
    """
    digest = hashlib.sha256()
    for block in posterior.blocks:
        data = block.data
        digest.update(f"{data.size} {data.law == POISSON} ".encode())
        for column in (data.x, data.y):
            digest.update((column + 0.0).astype("<f8").tobytes())     # -0.0 and 0.0 are equal
    return digest.hexdigest()


def data_record(posterior: Posterior) -> dict[str, Any]:
    """What was measured, in words and numbers."""
    return {"sha256": data_hash(posterior), "sets": [
        {"name": data.name, "points": data.size, "x_label": data.x_label, "y_label": data.y_label,
         "x_low": data.x_range[0], "x_high": data.x_range[1], "noise": noise_in_words(data),
         "notes": list(data.notes)}
        for data in (block.data for block in posterior.blocks)]}


def noise_in_words(data: Data) -> str:
    """The noise law as a physicist would say it.

    Examples
    --------
    >>> noise_in_words(Data([0, 1], [2, 3], noise=0.1))
    'Gaussian, standard deviation 0.1 (given)'
    >>> noise_in_words(Data([0, 1], [2, 3], noise="unknown"))
    'Gaussian, one unknown standard deviation, inferred (sigma)'
    >>> noise_in_words(Data([0, 1], [2, 3], noise=0.1, tails=4))
    'Student t with nu = 4, scale 0.1 (given)'
    """
    low, high = float(data.deviation.min()), float(data.deviation.max())
    given = f"{low:g}" if low == high else f"{low:g} to {high:g}, point by point"
    if data.law == POISSON:
        return "Poisson counts"
    law, width = (("Gaussian", "standard deviation") if data.tails is None
                  else (f"Student t with nu = {data.tails:g}", "scale"))
    if data.noise_prior is None:
        return f"{law}, {width} {given} (given)"
    if low == high == 1.0:
        return f"{law}, one unknown {width}, inferred ({data.noise_name})"
    return f"{law}, {width} {given}, times an unknown factor, inferred ({data.noise_name})"


def _model(row: Row, run: Run) -> dict[str, Any]:
    f = row.free_energy
    return {
        "model": name(row.label), "parameters": row.parameters, "F": f.value, "F_error": f.error,
        "F_low68": f.interval68[0], "F_high68": f.interval68[1],
        "F_low95": f.interval95[0], "F_high95": f.interval95[1],
        "F_without_constant": f.reduced, "estimator": f.estimator, "F_by_BAR": f.bar,
        "F_by_BAR_error": f.bar_error, "F_by_bridge": f.bridge, "F_by_bridge_error": f.bridge_error,
        "probability": row.probability, "probability_error": row.probability_error,
        "trusted": row.trusted, "problems": list(row.problems),
        "fit": {"chi_square": row.fit.chi_square, "runs": row.fit.runs, "lag": row.fit.lag,
                "failures": list(row.fit.failures)},
        "presses": pressing(run) if run.posterior.dimension else [],
        "priors": [list(pair) for pair in priors_in_words(run)]}


def _derived(run: Run, texts: list[str]) -> list[dict[str, Any]]:
    """The user's quantities after the usual ones, of which one of the same name gives way."""
    own = [derive(run, text) for text in texts]
    usual = [d for d in standard(run) if d.name not in {o.name for o in own}]
    return [d.row() for d in (*usual, *own)]


def _averages(choice: Choice, runs: Mapping[Any, Run], texts: list[str]) -> list[dict[str, Any]]:
    """Over the models that are not excluded, if there are several."""
    if len(choice.not_excluded) < 2:
        return []
    out = []
    for text in (*common(choice, runs), *texts):
        found = average_of(choice, runs, text)
        if found is not None:
            row = asdict(found)
            row |= {key: {name(k): v for k, v in row[key].items()}
                    for key in ("weights", "means", "numbering")}
            out.append(row)
    return out


def _run(run: Run, whole: bool) -> dict[str, Any]:
    """How it was run; for a model that is not excluded, what every rung says (which takes time)."""
    found = asdict(diagnose(run))
    out: dict[str, Any] = {"seed": str(run.seed), "chains": run.chains, "sweeps": run.sweeps,
           "burn_in": run.burn_in, "stopped": run.stopped, "seconds": run.seconds,
           "integrated": list(run.integrated),
           "correlation": _correlation(run),
           "diagnosis": {k: v for k, v in found.items() if k not in ("problems", "faults")}}
    if run.sampled and len(run.betas) > 1:
        out["ladder"] = {"beta": run.betas.tolist(), "swap_rate": run.swap_rate.tolist()}
        if whole:
            along = asdict(free_energy_along(run))
            out["ladder"] |= {k: v.tolist() for k, v in along.items() if k != "betas"}
    return out


def _correlation(run: Run) -> list[list[float]]:
    """Posterior correlation of the parameters, components in order; 0 where one does not vary."""
    draws = sorted_draws(run)[0].reshape(run.chains * run.sweeps, run.posterior.dimension)
    z = draws - draws.mean(axis=0)
    z /= np.where(z.std(axis=0) > 0.0, z.std(axis=0), 1.0)
    return [row.tolist() for row in np.einsum("ni,nj->ij", z, z) / len(z)]


def _widening(w: Widening) -> dict[str, Any]:
    return {
        "prior": w.prior, "width": w.factor, "words": w.words, "option": w.option,
        "favoured": None if w.favoured is None else name(w.favoured),
        "change": {name(k): s.change for k, s in w.shifts.items()},
        "change_error": {name(k): None if s.change is None else s.error
                         for k, s in w.shifts.items()},
        "probability": {name(k): p for k, p in w.probability.items()},
        "refit": {name(k): w.shifts[k].why for k in w.refit}}


def write_tables(numbers: Mapping[str, Any], folder: Path) -> None:
    """``table.json`` with everything, ``table.csv`` (parameters, derived
    quantities, averages over models) and ``models.csv`` (F and p).

    Parameters
    ----------
    numbers : mapping
        What `record` gives.
    folder : Path
    """
    (folder / "table.json").write_text(json_text(numbers), encoding="utf-8")
    rows = [[model, row["name"], *(row[k] for k in COLUMNS), row["rhat"]]
            for model, table in numbers["parameters"].items()
            for row in (*table, *numbers["derived"][model])]
    rows += [["averaged", row["name"], *(row.get(k) for k in COLUMNS), None]
             for row in numbers["averaged"]]
    _write_csv(folder / "table.csv", ["model", "parameter", *COLUMNS, "rhat"], rows)
    keys = [k for k, v in numbers["models"][0].items() if not isinstance(v, list | dict)]
    tests = ("chi_square", "runs", "lag")
    _write_csv(folder / "models.csv", [*keys, *(f"p_{k}" for k in tests)], [
        [row[k] for k in keys] + [row["fit"][k] for k in tests] for row in numbers["models"]])


def write_fit(run: Run, stem: Path) -> None:
    """The fit at the measured points, for one's own plots: ``STEM.csv`` for the first data set,
    ``STEM_set2.csv`` for the second, and so on.

    Columns: x, y, sigma, the posterior mean with its 95 % band, the residual over sigma, and every
    summand of the model.

    Parameters
    ----------
    run : Run
    stem : Path
    """
    for b, block in enumerate(run.posterior.blocks):
        data, fit = block.data, fit_curves(run, b)
        columns = [(data.x_label, data.x), (data.y_label, data.y), ("sigma", fit.sigma),
                   ("fit", fit.at_data), ("fit_low95", fit.low_at_data),
                   ("fit_high95", fit.high_at_data),
                   ("residual_over_sigma", (data.y - fit.at_data) / fit.sigma),
                   *fit.terms_at_data.items()]
        table = np.column_stack([np.broadcast_to(v, data.x.shape) for _, v in columns])
        path = stem.with_name(f"{stem.name}{f'_set{b + 1}' if b else ''}.csv")
        _write_csv(path, [label for label, _ in columns], table.tolist())


def _write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    lines = [",".join(map(cell, head)), *(",".join(map(cell, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def cell(value: Any) -> str:
    """A CSV cell that no spreadsheet takes for a formula; numbers to eight digits, F to twelve
    because differences count; empty where there is none.

    Examples
    --------
    >>> cell("=1+1"), cell(-0.5), cell("a,b"), cell(None), cell(float('inf'))
    ("'=1+1", '-0.5', '"a,b"', '', 'inf')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.12g}"
    if not isinstance(value, str):
        return str(value)
    safe = "'" + value if value[:1] in tuple("=+-@\t\r") else value
    return '"' + safe.replace('"', '""') + '"' if any(c in safe for c in ',"\r\n') else safe
