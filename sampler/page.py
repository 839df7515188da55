"""One self-contained HTML page for an answer: to be read, printed and handed on.

The page asks the network for nothing, runs no script, and says so to the browser (its
Content-Security-Policy allows neither).  Every text that came from a file or a user is escaped: a
string becomes HTML only through `tag`, which escapes all that is not markup already.  Numbers are
those of `sampler.tables.record`, each with its full value in a ``data`` element.
"""

from __future__ import annotations

import base64
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.choice import Choice
from sampler.derived import known_in
from sampler.exchange import Run
from sampler.priors import log_density
from sampler.report import _digits, fit_curves, json_text, sorted_draws
from sampler.sensitivity import TOGETHER
from sampler.svg import COLOURS, Axis, Panel, figure, span
from sampler.tables import name, record

Array = NDArray[np.float64]
DRAWN = 5000        # measured points in a figure, at most
PAIRED = 14         # parameters in the plot of pairs, at most
CLOUD = 200         # draws in each of its panels
_WIDTH = 560.0      # of a figure; larger type than in a figure made for paper, because it is scaled


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(kind: str, *inside: Any, **attributes: str) -> Markup:
    """An element; what is inside is escaped unless it is `Markup`.

    Examples
    --------
    >>> tag("p", "a < b, ", tag("em", "x"), id='"')
    '<p id="&quot;">a &lt; b, <em>x</em></p>'
    """
    words = "".join(f' {key.rstrip("_")}="{escape(str(value))}"'
                    for key, value in attributes.items())
    body = "".join(v if isinstance(v, Markup) else escape(str(v)) for v in inside)
    return Markup(f"<{kind}{words}>{body}</{kind}>")


def number(value: float | None, text: str | None = None) -> Markup:
    """A number as it is printed, with its full value beside it.

    Examples
    --------
    >>> number(0.123456, "0.12"), number(None)
    ('<data value="0.123456">0.12</data>', '&ndash;')
    """
    if value is None or not math.isfinite(value):
        return Markup("&ndash;") if value is None or math.isnan(value) else Markup(
            "&infin;" if value > 0 else "&minus;&infin;")
    words = f"{value:.3g}" if text is None else text
    return tag("data", words if "e" in words else words.replace("-", "\N{MINUS SIGN}"),
               value=repr(value))


def with_error(value: float, error: float) -> Markup:
    """Value and error, to two digits of the error; none that five decimals do not show."""
    error = 0.0 if 0.0 < error < 5e-6 else error
    if not math.isfinite(value) or not 0.0 < error < math.inf:
        text = f"{value:.2f}" if error == 0.0 else f"{value:.3g}"
        tail = [] if error == 0.0 else [" \N{PLUS-MINUS SIGN} ", number(error)]
        return tag("span", number(value, text), *tail, class_="number")
    digits = min(max(2, 1 - math.floor(math.log10(error))), 5)
    return tag("span", number(value, f"{value:.{digits}f}"), " \N{PLUS-MINUS SIGN} ",
               number(error, f"{error:.{digits}f}"), class_="number")


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], words: str = "") -> Markup:
    """A table that scrolls on a narrow screen; the first cell of a row is its heading."""
    lines = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", v) for v in row[1:]))
             for row in rows]
    top = tag("thead", tag("tr", *(tag("th", v, scope="col") for v in head)))
    caption = [tag("caption", words)] if words else []
    return tag("div", tag("table", *caption, top, tag("tbody", *lines)), class_="wide",
               tabindex="0")


def paragraphs(lines: Iterable[Any], kind: str = "p") -> list[Markup]:
    """One element for each line."""
    return [tag(kind, line) for line in lines]


# ---- the page ---------------------------------------------------------------------------------


def page(numbers: Mapping[str, Any], choice: Choice, runs: Mapping[Any, Run]) -> str:
    """The whole page as text.

    Parameters
    ----------
    numbers : mapping
        What `sampler.tables.record` gives for this choice.
    choice : Choice
    runs : mapping from label to Run

    Returns
    -------
    str
    """
    first = numbers["data"]["sets"][0]
    title = first["name"] or "Bayesian Measurement"
    models = [tag("section", *_model(numbers, label, runs[label]), id=f"m{k}", class_="model")
              for k, label in enumerate(choice.not_excluded)]
    body = tag(
        "main", tag("header", tag("p", "Bayesian Measurement: which model, with what certainty",
                                  class_="kicker"), tag("h1", title), *_verdict(numbers)),
        tag("section", *_choice(numbers)), *models,
        tag("section", *_averages(numbers)),
        tag("section", *_widths(numbers)), tag("section", *_doubts(numbers)),
        tag("section", *_made(numbers, runs)), tag("section", *_citing(numbers)))
    head = [Markup('<meta charset="utf-8">'),
            Markup('<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
                   "style-src 'unsafe-inline'; img-src data:\">"),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="color-scheme" content="light dark">'),
            tag("title", f"{title}: " + (
                "none of these models describes the data" if numbers["misfits"]
                else numbers["verdict"][0])),
            Markup(f"<style>{_STYLE}</style>")]
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', body), lang='en')}\n"


def write_report(choice: Choice, runs: Mapping[Any, Run], path: str | Path, *,
                 derived: Iterable[str] = ()) -> Path:
    """Write a self-contained HTML page about a choice: what `bayesmeas fit` writes.

    Parameters
    ----------
    choice : Choice
    runs : mapping from label to Run
        Those that were chosen from.
    path : str or Path
        Ending ``.html``; an older file is replaced.
    derived : iterable of str, optional
        Derived quantities such as ``"ratio=peak1_height/peak2_height"``.

    Returns
    -------
    Path
    """
    wanted = list(derived)
    known_in(wanted, {label: (*run.posterior.names, *run.posterior.fixed)
                      for label, run in runs.items()})
    return write_page(record(choice, runs, derived=wanted), choice, runs, path)


def write_page(numbers: Mapping[str, Any], choice: Choice, runs: Mapping[Any, Run],
               path: str | Path) -> Path:
    """Write the page, whole or not at all.

    Parameters
    ----------
    numbers : mapping
        What `sampler.tables.record` gives for this choice.
    choice : Choice
    runs : mapping from label to Run
    path : str or Path

    Returns
    -------
    Path
    """
    target = Path(path)
    temporary = target.with_name(f"{target.name}.tmp")
    try:
        temporary.write_text(page(numbers, choice, runs), encoding="utf-8")
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target


def _verdict(numbers: Mapping[str, Any]) -> list[Markup]:
    """That no model describes the data comes before the answer, all other doubts after it."""
    lines = list(numbers["verdict"])
    first = [lines.pop(0)] if numbers["misfits"] else []
    answer, *warnings = lines
    out = [*(tag("p", line, class_="warning") for line in first),
           tag("p", answer, class_="answer")]
    if numbers["not_run"]:
        warnings.append("Interrupted: not run, and so not compared, are "
                        f"{', '.join(numbers['not_run'])}.")
    cut = [model for model, run in numbers["runs"].items() if run["stopped"] == "interrupted"]
    if cut:
        warnings.append(f"Interrupted while counting: {', '.join(cut)} has fewer sweeps than were "
                        "asked for.")
    out += [tag("p", line, class_="warning") for line in warnings]
    doubts = [f"{row['model']}: {line}" for row in numbers["models"]
              if row["model"] in numbers["doubtful"] for line in row["problems"]]
    if doubts:
        out.append(tag("ul", *paragraphs(doubts, "li"), class_="small"))
    standing = set(numbers["not_excluded"])
    presses = [f"{row['model']}: {line}" for row in numbers["models"]
               if row["model"] in standing for line in row["presses"]]
    if presses:
        out.append(tag("div", *paragraphs(presses), class_="note"))
    return out


def _choice(numbers: Mapping[str, Any]) -> list[Markup]:
    rows = []
    standing = set(numbers["not_excluded"])
    for row in numbers["models"]:
        marks = [word for word, on in (
            ("favoured", row["model"] == numbers["best"]),
            ("not excluded", row["model"] in standing and row["model"] != numbers["best"]),
            ("not trusted", not row["trusted"]), ("misfit", bool(row["fit"]["failures"]))) if on]
        exact = row["estimator"] == "exact"
        rows.append([
            row["model"], row["parameters"], with_error(row["F"], row["F_error"]),
            "exact" if exact else with_error(row["F_by_BAR"], row["F_by_BAR_error"]),
            tag("span", number(row["probability"], f"{row['probability']:.3f}"),
                " \N{PLUS-MINUS SIGN} ",
                number(row["probability_error"], f"{row['probability_error']:.3f}"),
                class_="number"), ", ".join(marks)])
    rule = numbers["rules"]
    return [
        tag("h2", "Which model"), _choice_figure(numbers),
        table(["model", "parameters", "F (nats)", "F by the ladder (BAR)", "p(model | data)", ""],
              rows),
        tag("p", "F = \N{MINUS SIGN}ln p(data | model), the free energy: lower is better, and a "
            "difference of 1 nat is a factor of 2.7 in probability. Errors are standard errors of "
            "the computation. p is for equal probability of all models beforehand. Favoured is the "
            f"model of fewest parameters within {rule['within']:g} nat of the lowest F; not "
            f"excluded is every model with p \N{GREATER-THAN OR EQUAL TO} {rule['excluded']:g}, "
            "error included. Components of equal kind may be numbered in any order; F counts all "
            "orders.", class_="small")]


def _model(numbers: Mapping[str, Any], label: Any, run: Run) -> list[Markup]:
    """Fit, parameters, marginals, pairs and trust of one model."""
    title = name(label)
    row = next(r for r in numbers["models"] if r["model"] == title)
    state = "favoured" if title == numbers["best"] else "not excluded"
    out = [tag("h2", f"{title} ({state})"), *_describes(row)]
    if not run.posterior.dimension:
        return [*out, tag("p", "This model has no free parameters; its F is exact.")]
    for block in range(len(run.posterior.blocks)):
        out += _fit_figure(run, block)
    out += [tag("h3", "Parameters"), _parameters(numbers["parameters"][title]), _units(run)]
    out += _derived(numbers["derived"][title])
    out += [tag("h3", "Marginals and pairs"), _marginals(run),
            tag("p", "Filled: posterior (dark: 68 %, light: 95 % credible). Dashed: prior.",
                class_="small"), *_pairs(run, numbers["runs"][title]["correlation"])]
    out += [tag("h3", "Priors"), tag("p", "F depends on them; their bounds are part of the "
                                     "question."),
            tag("dl", *(element for what, words in row["priors"]
                        for element in (tag("dt", what), tag("dd", words))))]
    out += [tag("h3", "Can this run be trusted?"), *_trust(numbers, row)]
    return out


def _describes(row: Mapping[str, Any]) -> list[Markup]:
    """The absolute fit: does the model describe the data at all?"""
    fit = row["fit"]
    words = ["p of the sum of squares ", number(fit["chi_square"]), ", of the runs of equal sign ",
             number(fit["runs"]), ", of the correlation of neighbours ", number(fit["lag"])]
    if fit["failures"]:
        return [tag("p", f"This model does not describe the data: {'; '.join(fit['failures'])}. "
                    "Whatever it says of its parameters is conditional on that. (", *words, ")",
                    class_="warning")]
    return [tag("p", "Nothing in the residuals speaks against it (", *words,
                "; below 0.001 would).")]


def _interval(row: Mapping[str, Any], share: int, spread: float) -> Markup:
    low, high = row[f"low{share}"], row[f"high{share}"]
    return tag("span", number(low, _digits(low, spread)), " to ",
               number(high, _digits(high, spread)), class_="number")


def _spread(row: Mapping[str, Any]) -> float:
    """What the digits of a derived quantity go by: the sd of a ratio may be that of its tails."""
    return float(0.5 * (row["high68"] - row["low68"]))


def _medians(row: Mapping[str, Any]) -> list[Markup]:
    spread = _spread(row)
    return [number(row["median"], _digits(row["median"], spread)), _interval(row, 68, spread),
            _interval(row, 95, spread)]


def _parameters(rows: Sequence[Mapping[str, Any]]) -> Markup:
    return table(
        ["parameter", "mean", "sd", "68 % credible", "95 % credible", "ESS", "R-hat"],
        [[row["name"], number(row["mean"], _digits(row["mean"], row["sd"])),
          number(row["sd"], _digits(row["sd"], row["sd"])), _interval(row, 68, row["sd"]),
          _interval(row, 95, row["sd"]), number(row["ess"], f"{row['ess']:.0f}"),
          number(row["rhat"], f"{row['rhat']:.3f}")]
         for row in rows])


def _derived(rows: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Derived quantities: the median first, because a ratio need not have a mean."""
    if not rows:
        return []
    alike: dict[str, list[str]] = {}
    for row in rows:
        alike.setdefault(row["numbering"] + (
            f", without a value in {row['undefined']:.1%} of the draws" if row["undefined"]
            else ""), []).append(row["name"])
    notes = [f"{', '.join(names)}: {words}" for words, names in alike.items()]
    return [tag("h3", "Derived quantities"), table(
        ["quantity", "formula", "median", "68 % credible", "95 % credible", "mean", "sd"],
        [[row["name"], tag("code", row["formula"]), *_medians(row),
          number(row["mean"], _digits(row["mean"], _spread(row))),
          number(row["sd"], _digits(row["sd"], row["sd"]))] for row in rows]),
        tag("p", "; ".join(notes) + ".", class_="small")]


def _averages(numbers: Mapping[str, Any]) -> list[Markup]:
    """Quantities over all models that are not excluded."""
    rows = numbers["averaged"]
    if not rows:
        return []
    shares = rows[0]["weights"]
    notes = dict.fromkeys(f"{row['name']} in {model}: {words}" for row in rows
                          for model, words in row["numbering"].items() if "every draw" in words)
    out = [tag("h2", "Whichever of these models"), tag(
        "p", "Averaged over the models that are not excluded, each with its probability among them "
        "(", *(part for k, (model, p) in enumerate(shares.items()) for part in (
            ", " * bool(k) + f"{model}: ", number(p, f"{p:.3f}"))), ")."), table(
        ["quantity", "median", "68 % credible", "95 % credible", "mean", "sd"],
        [[row["name"], *_medians(row), with_error(row["mean"], row["error"]),
          number(row["sd"], _digits(row["sd"], row["sd"]))] for row in rows])]
    words = ("The sd holds the spread within the models and between them. A name with a number "
             "need not mean the same component in all models.")
    return [*out, tag("p", words + "".join(f" {line}." for line in notes), class_="small")]


def _units(run: Run) -> Markup:
    from sampler.report import _widths as widths

    key = sorted_draws(run)[1]
    words = [f"Units: x in '{b.data.x_label}', y in '{b.data.y_label}'"
             for b in run.posterior.blocks]
    words += widths(run)
    if key:
        words.append(f"components are numbered after sampling, in every draw: {key}")
    if run.integrated:
        words.append("integrated out of the energy exactly, and drawn afterwards: "
                     + ", ".join(run.integrated))
    words.append("ESS is the effective number of draws, R-hat 1 where the chains agree")
    return tag("p", "; ".join(dict.fromkeys(words)) + ".", class_="small")


def _trust(numbers: Mapping[str, Any], row: Mapping[str, Any]) -> list[Markup]:
    """The ladder's diagnosis in words."""
    run = numbers["runs"][row["model"]]
    found, ladder = run["diagnosis"], run.get("ladder")
    if ladder is None:
        return [tag("p", "One temperature: nothing shows that other modes were looked for.")]
    out = [tag("p", tag("strong", "Yes, as far as a run can tell." if row["trusted"] else "No."))]
    out += [tag("p", problem, class_="warning") for problem in row["problems"]]
    gap, apart = found["direction_gap"], found["bridge_gap"]
    out.append(tag(
        "p", f"{run['chains']} independent chains of {run['sweeps']} sweeps (after "
        f"{run['burn_in']} of burn-in) exchanged states over {len(ladder['beta'])} temperatures "
        "between the prior and the posterior. Neighbours exchanged at a rate of ",
        number(found["lowest_swap_rate"], f"{found['lowest_swap_rate']:.2f}"), " or more, and ",
        f"{found['round_trips']} times a state travelled from the prior to the posterior and back. "
        "Memory of where a replica came from: ",
        number(found["replica_memory"], f"{found['replica_memory']:.2f}"),
        " (0: none, 1: all; above 0.3 modes would not be mixed). Forward and reverse estimates of "
        "F along the ladder differ by ", number(gap, f"{gap:.1f}"),
        " joint errors, the two roads to F by ", number(apart, f"{apart:.1f}"),
        " (3 would be too many). R-hat of the chains is ",
        number(found["rhat"], f"{found['rhat']:.3f}"),
        " (1 where they agree, above 1.01 too much), and together they are worth ",
        number(found["ess"], f"{found['ess']:.0f}"), " independent draws."))
    out.append(_ladder_figure(ladder, run, row))
    out.append(tag("p", "What no run can see from inside: a mode that none of its replicas ever "
                   "met. Another seed, or a wider prior, is the test.", class_="small"))
    return out


def _widths(numbers: Mapping[str, Any]) -> list[Markup]:
    """Prior sensitivity at half and double width."""
    rows, standing = numbers["sensitivity"], numbers["not_excluded"]
    if not rows:
        return [tag("h2", "Other prior widths"), tag("p", "No prior here has a width to change.")]

    def change(row: Mapping[str, Any], model: str) -> Any:
        value = row["change"][model]
        return "refit" if value is None else with_error(value, row["change_error"][model])

    out = [tag("h2", "Other prior widths"), tag("p", _robust(numbers), class_="answer2")]
    out.append(table(
        ["prior", "width", "prior then", *(f"change of F, {m} (nats)" for m in standing),
         "favoured then"],
        [[row["prior"], {0.5: "half", 2.0: "double"}.get(row["width"], f"{row['width']:g} times"),
          row["words"], *(change(row, m) for m in standing), row["favoured"] or "refit"]
         for row in rows]))
    refits = [(row, model) for row in rows for model in row["refit"] if model in standing]
    out.append(tag("p", "Reweighted from the draws of these runs. A narrower prior lies inside the "
                   "old one. A wider uniform prior costs ln 2 for each parameter where nothing of "
                   "the posterior leans on the old bound; where it does, or where too few draws "
                   "lie inside a narrower one, only a refit can tell.", class_="small"))
    if refits:
        out.append(tag("ul", *(tag(
            "li", f"{row['prior']} at {'half' if row['width'] < 1 else 'double'} width, {model}: "
            f"{row['refit'][model]}"
            + (f"; refit with --prior \"{row['option']}\"" if row["option"] else ""))
            for row, model in refits), class_="small"))
    return out


def _robust(numbers: Mapping[str, Any]) -> str:
    rows = [row for row in numbers["sensitivity"] if row["prior"] != TOGETHER]
    told = [row for row in rows if row["favoured"] is not None]
    if not told:
        return "Whether other widths change the answer cannot be told without a refit."
    best = numbers["best"]
    others = [f"{row['favoured']} (prior of {row['prior']} at "
              f"{'half' if row['width'] < 1 else 'double'} width)"
              for row in told if row["favoured"] != best]
    p = [row["probability"][best] for row in told if best in row["probability"]]
    words = (f"The favoured model would be {', '.join(others)}; otherwise {best}" if others else
             f"At half or double width of any one prior the favoured model stays {best}")
    ends = list(dict.fromkeys(f"{v:.3f}" for v in (min(p), max(p)))) if p else []
    words += f", with probability {' to '.join(ends)}" if ends else ""
    back = {model: f"{model} (prior of {row['prior']} at "
            f"{'half' if row['width'] < 1 else 'double'} width)"
            for row in told for model, v in row["probability"].items()
            if v >= numbers["rules"]["excluded"] and model not in numbers["not_excluded"]}
    words += f"; no longer excluded would be {', '.join(back.values())}" if back else ""
    left = len(rows) - len(told)
    return words + (f"; {left} of {len(rows)} cases need a refit." if left else ".")


def _doubts(numbers: Mapping[str, Any]) -> list[Markup]:
    standing = set(numbers["not_excluded"])
    lines = [f"{row['model']}: {line}" for row in numbers["models"]
             if row["model"] not in standing for line in (
                 *row["problems"], *row["fit"]["failures"], *row["presses"])]
    if not lines:
        return []
    return [tag("h2", "Of the excluded models"), tag("ul", *paragraphs(lines, "li"))]


def _made(numbers: Mapping[str, Any], runs: Mapping[Any, Run]) -> list[Markup]:
    out: list[tuple[str, Any]] = []
    for k, data in enumerate(numbers["data"]["sets"]):
        tail = f" (set {k + 1})" if len(numbers["data"]["sets"]) > 1 else ""
        out += [(f"data{tail}", f"{data['name'] or 'unnamed'}: {data['points']} points, "
                 f"x = {data['x_label']} from {data['x_low']:g} to {data['x_high']:g}, "
                 f"y = {data['y_label']}"), (f"noise{tail}", data["noise"])]
        out += [(f"reading{tail}", note) for note in data["notes"]]
    out.append(("hash of x and y", tag("code", numbers["data"]["sha256"])))
    if numbers["command"]:
        out.append(("command", tag("code", numbers["command"])))
    out += [(f"seed of {model}", f"{run['seed']} ({run['chains']} chains, {run['sweeps']} sweeps, "
             f"{run['burn_in']} of burn-in, {run['seconds']:.1f} s; "
             f"{_STOPPED.get(run['stopped'], run['stopped'])})")
            for model, run in numbers["runs"].items()]
    out.append(("versions", ", ".join(f"{k} {v}" for k, v in numbers["versions"].items())))
    out.append(("written", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())))
    text = base64.b64encode(json_text(numbers).encode()).decode()
    link = tag("a", "all numbers as JSON", href=f"data:application/json;base64,{text}",
               download="table.json")
    return [tag("h2", "How it was made"),
            tag("dl", *(element for what, words in out
                        for element in (tag("dt", what), tag("dd", words)))),
            tag("p", "This page holds ", link, " and needs no network.", class_="noprint")]


_STOPPED = {"sweeps": "as many sweeps as were asked for", "until": "the wanted error was reached",
            "limit": "stopped at the limit of sweeps", "interrupted": "interrupted"}
PAPERS = (
    ("exchange Monte Carlo", "K. Hukushima and K. Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996)"),
    ("number of components by free energy",
     "K. Nagata, S. Sugita and M. Okada, Neural Networks 28, 82 (2012)"),
    ("F along the ladder", "C. H. Bennett, J. Comput. Phys. 22, 245 (1976)"),
    ("F by the bridge", "X.-L. Meng and W. H. Wong, Statistica Sinica 6, 831 (1996)"))


def _citing(numbers: Mapping[str, Any]) -> list[Markup]:
    version = numbers["versions"].get("bayesian-measurement", "")
    return [tag("h2", "How to cite"),
            tag("p", "The Bayesian Measurement developers, ", tag("cite", "Bayesian Measurement"),
                f", version {version}, BSD-3-Clause." if version else ", BSD-3-Clause.",
                " For the methods:"),
            tag("ul", *(tag("li", f"{what}: {paper}") for what, paper in PAPERS))]


# ---- figures ----------------------------------------------------------------------------------


def _captioned(drawing: str, *words: Any) -> Markup:
    return tag("figure", Markup(drawing), *([tag("figcaption", *words)] if words else []))


def _key(css: str, words: str) -> Markup:
    """One entry of a legend."""
    return tag("span", tag("i", class_=f"key {css}"), words, class_="entry")


def _choice_figure(numbers: Mapping[str, Any]) -> Markup:
    """F above the lowest, and p; nats are drawn evenly to 3, then by ratios."""
    rows = numbers["models"]
    F = np.array([row["F"] for row in rows], dtype=float)
    known = np.isfinite(F)
    if not known.any():
        return Markup("")
    gap = F - F[known].min()
    bar = np.array([1.96 * row["F_error"] for row in rows])
    bar[~np.isfinite(bar)] = 0.0

    def stretched(v: Any) -> Array:
        return np.arcsinh(np.asarray(v, dtype=float) / 3.0)

    top = max(4.0, 2.5 * float((gap + bar)[known].max()))
    marks = [m * 10.0**k for k in range(16) for m in ((1.0, 3.0) if top < 1e4 else (1.0,))]
    low, high = float(stretched(-1.5)), float(stretched(top))
    ticks: list[tuple[float, str]] = []
    for m in (0.0, *marks):
        at = float(stretched(m))
        if m < top and (not ticks or at - ticks[-1][0] > 0.075 * (high - low)):
            ticks.append((at, f"{m:,.0f}" if m < 1e5 else f"{m:.0e}".replace("e+", "e")))
    y = Axis(low, high, "F \N{MINUS SIGN} lowest F (nats)", marks=ticks)
    names = [row["model"].removeprefix("K=") if all(
        r["model"].startswith("K=") for r in rows) else row["model"] for row in rows]
    short = [text if len(text) <= 12 else f"{k + 1}" for k, text in enumerate(names)]
    label = "K" if names != [row["model"] for row in rows] else "model"
    x = Axis(-0.5, len(rows) - 0.5, label, marks=list(enumerate(short)))
    left = Panel(78, 26, 195, 190, x, y)
    right = Panel(355, 26, 195, 190, x, Axis(0, 1.05, "p(model | data)"))
    left.title("Free energy (bars: 95 %)")
    right.title("Probability")
    at_models = np.arange(len(rows))
    left.level(float(stretched(1.0)), "soft dashed")
    left.bars(at_models[known], stretched((gap - bar)[known]), stretched((gap + bar)[known]), "c0")
    left.dots(at_models[known], stretched(gap[known]), "c0 large")
    for unknown in np.flatnonzero(~known):
        left.note(float(unknown), float(stretched(0.0)), "F = \N{INFINITY}", "soft")
    p = np.array([row["probability"] for row in rows])
    spread = np.nan_to_num([row["probability_error"] for row in rows])
    for k, row in enumerate(rows):
        right.bars([k], [0.0], [p[k]], "c0" if row["trusted"] else "soft",
                   width=min(40.0, 0.7 * 195 / len(rows)))
    right.bars(at_models, np.maximum(p - spread, 0.0), p + spread, "ink")
    words = "; ".join(f"{row['model']}: p = {row['probability']:.3f}" for row in rows)
    extra = [f"{k + 1}: {text}" for k, text in enumerate(names) if text != short[k]]
    doubt = "" if all(row["trusted"] for row in rows) else " Grey bars: not trusted."
    return _captioned(figure([left, right], _WIDTH, 262, f"Free energies and {words}"),
                      "Dashed: 1 nat above the lowest." + doubt
                      + (f" Models {', '.join(extra)}." if extra else ""))


def _fit_figure(run: Run, block: int) -> list[Markup]:
    """Data, fit with components and band, and residuals in units of sigma."""
    data, fit = run.posterior.blocks[block].data, fit_curves(run, block)
    step = max(1, math.ceil(data.size / DRAWN))
    at = slice(None, None, step)
    terms = list(fit.terms.items())
    few = data.size <= 150         # with their error bars
    bar = fit.sigma if few else np.zeros(data.size)
    shown = np.concatenate([data.y - bar, data.y + bar, fit.low, fit.high,
                            *(part for _, part in terms)])
    low, high = span(fit.grid if fit.decades else data.x, 0.02)
    if fit.decades:
        low, high = float(data.x.min()) / 1.1, float(data.x.max()) * 1.1
    residual = (data.y - fit.at_data) / fit.sigma
    reach = max(3.0, 1.15 * float(np.abs(residual).max()))
    ticks = [(v, f"{v:.0f}".replace("-", "\N{MINUS SIGN}")) for v in (-2.0, 0.0, 2.0)]
    x, bare = Axis(low, high, data.x_label, fit.decades), Axis(low, high, "", fit.decades, marks=[])
    main = Panel(78, 12, 470, 230, bare, Axis(*span(shown), data.y_label))
    below = Panel(78, 258, 470, 78, x, Axis(
        -reach, reach, "residual/\N{GREEK SMALL LETTER SIGMA}",
        marks=ticks if reach < 8.0 else None))
    if few:
        main.bars(data.x, data.y - bar, data.y + bar, "soft thin")
    if not few:
        main.dots(data.x[at], data.y[at], "soft")
    main.area(fit.grid, fit.low, fit.high, "c0")
    for k, (_, part) in enumerate(terms):
        main.line(fit.grid, part, f"c{1 + k % COLOURS}")
    main.line(fit.grid, fit.mean, "c0 thick")
    if few:                        # on top, where the curve would hide them
        main.dots(data.x, data.y, "ink large" if data.size <= 40 else "ink")
    below.area([low, high], [-2.0, -2.0], [2.0, 2.0], "soft")
    below.dots(data.x[at], residual[at],
               "soft" if not few else "ink large" if data.size <= 40 else "ink")
    below.level(0.0, "c0")
    thinned = f" (every {step}th point)" if step > 1 else ""
    legend = [_key("ink" if few else "soft", f"{data.name or 'data'}{thinned}"),
              _key("c0", "posterior mean, 95 % band"),
              *(_key(f"c{1 + k % COLOURS}", label) for k, (label, _) in enumerate(terms))]
    words = f"Data and fit of {data.name or 'the data'} with residuals"
    return [_captioned(figure([main, below], _WIDTH, 384, words), *legend, tag(
        "span", " Residuals: grey band 2\N{GREEK SMALL LETTER SIGMA}.", class_="entry"))]


def _ladder_figure(ladder: Mapping[str, Any], run: Mapping[str, Any],
                   row: Mapping[str, Any]) -> Markup:
    swaps, beta = np.array(ladder["swap_rate"]), np.array(ladder["beta"])
    left = Panel(60, 26, 200, 150, Axis(0.5, len(swaps) + 0.5, "pair, hot to cold"),
                 Axis(0, 1, "exchange rate"))
    left.title("Exchange (dashed: alarm)")
    left.level(0.1, "c3 dashed")
    left.line(np.arange(1, len(swaps) + 1), swaps, "c0")
    left.dots(np.arange(1, len(swaps) + 1), swaps, "c0 large")
    warm = beta > 0
    heat, error = (np.array(ladder[k])[warm] for k in ("heat_capacity", "heat_capacity_error"))
    error = np.where(np.isfinite(error), error, 0.0)
    right = Panel(340, 26, 208, 150, Axis(float(beta[warm].min()) / 1.3, 1.3,
                                          "inverse temperature \N{GREEK SMALL LETTER BETA}", True),
                  Axis(0.0, span([0.0, *(heat + error)])[1],
                       "\N{GREEK SMALL LETTER BETA}\N{SUPERSCRIPT TWO} Var U"))
    right.title("Heat capacity (dotted: d/2)")
    right.level(0.5 * row["parameters"], "soft dotted")
    right.bars(beta[warm], heat - error, heat + error, "c0 thin")
    right.line(beta[warm], heat, "c0")
    right.dots(beta[warm], heat, "c0 large")
    return _captioned(figure([left, right], _WIDTH, 222, "Exchange rates and heat capacity"))


def _marginals(run: Run) -> Markup:
    """A small panel for each parameter, with the prior's density."""
    draws = sorted_draws(run)[0].reshape(-1, run.posterior.dimension)
    out = []
    for i, (what, prior) in enumerate(run.posterior.priors.items()):
        values = draws[:, i]
        low, high = span(np.quantile(values, [0.001, 0.999]), 0.15)
        count, edge = np.histogram(values, bins=44, range=(low, high), density=True)
        x, y = np.repeat(edge, 2)[1:-1], np.repeat(count, 2)
        panel = Panel(10, 22, 200, 92, Axis(low, high), Axis(0.0, 1.08 * float(count.max()),
                                                           marks=[]))
        panel.title(what)
        for share in (0.025, 0.16):
            a, b = np.quantile(values, [share, 1.0 - share])
            inside = np.clip(x, a, b)
            panel.area(inside, np.zeros_like(y), np.where((x >= a) & (x <= b), y, np.interp(
                inside, 0.5 * (edge[1:] + edge[:-1]), count)), "c0")
        panel.line(x, y, "c0")
        grid = np.linspace(low, high, 121)
        panel.line(grid, np.exp(log_density(prior, grid)), "ink dashed")
        out.append(Markup(figure([panel], 220, 140, f"Marginal of {what}")))
    return tag("div", *out, class_="grid")


def _pairs(run: Run, correlation: Sequence[Sequence[float]]) -> list[Markup]:
    """Draws of every pair below the diagonal, their correlation above it."""
    names = run.posterior.names[:PAIRED]
    if len(names) < 2:
        return []
    draws = sorted_draws(run)[0].reshape(-1, run.posterior.dimension)
    cloud = draws[:: max(1, len(draws) // CLOUD)]
    ranges = [span(np.quantile(draws[:, i], [0.001, 0.999]), 0.1) for i in range(len(names))]
    longest = max(map(len, names))
    margin, size = 14.0 + 5.4 * longest, min(140.0, 620.0 / len(names))
    panels = []
    for i, what in enumerate(names):
        for j, other in enumerate(names):
            panel = Panel(margin + j * size, 6 + i * size, size - 5, size - 5,
                          Axis(*ranges[j], marks=[]), Axis(*ranges[i], marks=[]), j <= i)
            if j < i:
                panel.dots(cloud[:, j], cloud[:, i], "c0 faint")
            elif j == i:
                count, edge = np.histogram(draws[:, i], bins=30, range=ranges[i])
                low, high = ranges[i]
                panel.area(np.repeat(edge, 2)[1:-1], np.full(60, low),
                           np.repeat(low + 0.95 * (high - low) * count / count.max(), 2), "c0")
            else:
                r = correlation[i][j]
                text = f"{r + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")
                panel.beside(size / 2 - 2, size / 2 + 3, text,
                             "mid" if abs(r) >= 0.3 else "mid soft")
            if j == 0:
                panel.beside(-8, size / 2 + 3, what, "end")
            if i == len(names) - 1:
                panel.beside(size / 2 + 4, size + 4, other, "end", -50)
            panels.append(panel)
    side = margin + len(names) * size
    more = (f" The first {PAIRED} of {run.posterior.dimension} parameters." if
            run.posterior.dimension > PAIRED else "")
    drawing = figure(panels, side, 12 + len(names) * size + 4.4 * longest,
                     "Draws of every pair of parameters")
    return [tag("figure", tag("div", Markup(drawing), class_="wide pairs", tabindex="0"),
                tag("figcaption", f"{len(cloud)} draws of each pair over the ranges shown above; "
                    f"above the diagonal the correlation of all draws.{more}"))]


_STYLE = """
:root{--paper:#fff;--ink:#1b1b1b;--quiet:#5c5c5c;--rule:#d8d8d8;--tint:#f4f6f8;--alarm:#a33a00;
--c0:#0072b2;--c1:#d98f00;--c2:#008f68;--c3:#d55e00;--c4:#b65a8d;--c5:#6b6b6b;--c6:#7a6a00}
@media screen and (prefers-color-scheme:dark){:root{--paper:#15181b;--ink:#e8e8e6;--quiet:#a9adb1;
--rule:#3b4045;--tint:#1e2327;--alarm:#ff9d66;--c0:#5cb3e8;--c1:#f0b232;--c2:#3cc79c;--c3:#ff8a47;
--c4:#e08fbd;--c5:#b3b3b3;--c6:#e6d84a}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Hiragino Sans",sans-serif}
main{max-width:46rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1,h2,h3{line-height:1.25;overflow-wrap:anywhere}
h1{font-size:1.7rem;margin:.2rem 0 1rem}
h2{font-size:1.3rem;margin:2.6rem 0 .8rem;padding-top:.6rem;border-top:1px solid var(--rule)}
h3{font-size:1.05rem;margin:1.8rem 0 .5rem}
p{margin:.6rem 0;overflow-wrap:anywhere}
.kicker,.small,caption,figcaption{color:var(--quiet);font-size:.86rem}
.kicker{margin:0}
.answer{font-size:1.25rem;font-weight:600}
.answer2{font-weight:600}
.warning,.note{background:var(--tint);border-left:4px solid var(--alarm);padding:.5rem .8rem}
.note{border-color:var(--c1);font-size:.92rem}.note p{margin:.2rem 0}
.wide{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-size:.88rem;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.28rem .6rem .28rem 0;text-align:left;border-bottom:1px solid var(--rule);
vertical-align:top}
thead th{color:var(--quiet);font-weight:600;vertical-align:bottom}
tbody th{font-weight:600}
.number,tbody th,data{white-space:nowrap}
dl{display:grid;grid-template-columns:minmax(7rem,auto) 1fr;gap:.15rem 1rem;font-size:.9rem;
margin:.6rem 0}
dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}
code{font:.85em ui-monospace,"SFMono-Regular",Menlo,Consolas,monospace;overflow-wrap:anywhere}
figure{margin:1rem 0}
figcaption{margin-top:.3rem}
.entry{display:inline-block;margin-right:1rem;overflow-wrap:anywhere}
.key{display:inline-block;width:1.1rem;height:.25rem;border-radius:2px;margin-right:.35rem;
vertical-align:middle;background:currentColor}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:.4rem}
svg.plot{display:block;overflow:visible;width:100%;height:auto;font-size:11px;fill:var(--ink)}
.pairs svg.plot{min-width:36rem;font-size:9.5px}
.grid svg.plot{font-size:13px}.grid .tick{font-size:12px}
a{color:var(--c0)}
.c0{color:var(--c0)}.c1{color:var(--c1)}.c2{color:var(--c2)}.c3{color:var(--c3)}
.c4{color:var(--c4)}.c5{color:var(--c5)}.c6{color:var(--c6)}
.soft{color:var(--quiet)}.ink{color:var(--ink)}text.soft{fill:var(--quiet)}
.line{fill:none;stroke:currentColor;stroke-width:1.5;stroke-linejoin:round}
.thick{stroke-width:2.2}.thin{stroke-width:.8}
.dashed{stroke-dasharray:5 4}.dotted{stroke-dasharray:1.5 3}
.area{fill:currentColor;fill-opacity:.25;stroke:none}.area.soft{fill-opacity:.12}
.dots{fill:none;stroke:currentColor;stroke-width:3.2;stroke-linecap:round}
.dots.large{stroke-width:6}.dots.faint{stroke-width:1.7;stroke-opacity:.6}
.bar{fill:currentColor;fill-opacity:.8}
.axis{fill:none;stroke:var(--quiet);stroke-width:1}
.tick{fill:var(--quiet);font-size:10.5px}.mid{text-anchor:middle}.end{text-anchor:end}
@media (max-width:480px){main{padding:1rem .8rem 3rem}h1{font-size:1.35rem}
.answer{font-size:1.1rem}dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}
svg.plot{font-size:15px}.tick{font-size:14px}.grid svg.plot{font-size:17px}
.grid .tick{font-size:15px}}
.key,.warning,.note{print-color-adjust:exact;-webkit-print-color-adjust:exact}
@media print{@page{margin:15mm}body{font-size:10pt}main{max-width:none;padding:0}
figure,tr,.warning,.note,.grid svg{break-inside:avoid}h2,h3{break-after:avoid}
.model{break-before:page}.wide{overflow:visible}.pairs svg.plot{min-width:0;max-width:15cm}
table{font-size:8.5pt}.noprint{display:none}}
"""
