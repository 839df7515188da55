"""Quantities derived from the parameters, with credible intervals: ratios, areas, times, sums.

``NAME=FORMULA`` in the names of the parameters, read by `sampler.parsing` and evaluated in every
draw, so that correlations are carried along and nothing is linearised.  ``sum(...)`` adds over all
components what is written with names without a number: ``sum(peak_height*peak_width)``.

Numbers of exchangeable components mean nothing to the data.  In a formula they mean what they mean
in the table: the components are put in order in every draw (of centre, or rate), and each result
says so, unless it is the same under every numbering, as a sum over all components is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampler.choice import Choice
from sampler.diagnostics import effective_sample_size, rank_normalised_rhat
from sampler.errors import InputError
from sampler.exchange import Run
from sampler.labels import COMPONENT, Group, exchangeable, fold
from sampler.parsing import parse_formula
from sampler.posterior import evaluator
from sampler.series import series_errors
from sampler.shapes import Formula

Array = NDArray[np.float64]
QUANTILES = {"low95": 0.025, "low68": 0.16, "median": 0.5, "high68": 0.84, "high95": 0.975}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Area of a line by height and full width at half maximum; time of an exponential, T1 of a recovery.
_STANDARD = {
    "gaussian": ("area", "{height}*{width}*sqrt(pi/log(2))/2"),
    "lorentzian": ("area", "{height}*{width}*pi/2"),
    "pseudo_voigt": ("area", "{height}*{width}*({mixing}*pi/2"
                     " + (1 - {mixing})*sqrt(pi/log(2))/2)"),
    "exponential": ("time", "1/{rate}"), "recovery": ("T1", "1/{rate}")}


@dataclass(frozen=True, eq=False)
class Derived:
    """One derived quantity of one run: a value for every draw.

    Made by `derive`; printing it gives its median, intervals and what its component numbers mean.
    """

    name: str
    text: str            # the formula, as it was given
    values: Array        # (chains, sweeps) at beta = 1
    numbering: str       # what the numbers of components mean in it

    @property
    def undefined(self) -> float:
        """Share of the draws in which it has no value (a division by 0, the log of less)."""
        return float(1.0 - np.isfinite(self.values).mean())

    def row(self) -> dict[str, Any]:
        """Mean, sd, median, 68 and 95 % credible intervals, over the draws where it has a value;
        effective draws and R-hat where it has one in all."""
        known = self.values[np.isfinite(self.values)]
        out: dict[str, Any] = {"name": self.name, "formula": self.text}
        if not known.size:
            known = np.full(1, math.nan)
        out |= {"mean": float(known.mean()), "sd": float(known.std())}
        out |= {k: float(np.quantile(known, q)) for k, q in QUANTILES.items()}
        whole, varies = not self.undefined, known.min() < known.max()
        out |= {"ess": effective_sample_size(self.values) if whole and varies else math.nan,
                "rhat": rank_normalised_rhat(self.values) if whole and varies else math.nan}
        return out | {"undefined": self.undefined, "numbering": self.numbering}

    def __str__(self) -> str:
        from sampler.report import _digits

        if self.undefined == 1.0:
            return (f"{self.name} = {self.text}: without a value in every draw (a division by 0, "
                    "or the log or root of a negative number)")
        row = self.row()
        spread = 0.5 * (row["high68"] - row["low68"])      # the sd may be that of far tails
        low95, low68, median, high68, high95, mean = (_digits(row[k], spread) for k in (
            *QUANTILES, "mean"))
        sd = _digits(row["sd"], row["sd"])
        words = (f"{self.name} = {self.text}: median {median}, 68 % credible {low68} to {high68}, "
                 f"95 % {low95} to {high95}, mean {mean}, sd {sd}; {self.numbering}")
        return words + (f"; without a value in {self.undefined:.1%} of the draws"
                        if self.undefined else "")


def derive(run: Run, text: str) -> Derived:
    """A quantity derived from the parameters of a run, draw by draw.

    Parameters
    ----------
    run : Run
    text : str
        ``NAME=FORMULA`` in the names of the parameters, such as
        ``"ratio=peak1_height/peak2_height"`` or ``"total=sum(peak_height*peak_width)"``.

    Returns
    -------
    Derived
        Print it, or take its ``row()`` or ``values``.

    Raises
    ------
    InputError
        If the text is no formula, or names what the model does not have.

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> line = Model.single(shapes.linear, offset=(-1, 1), slope=(-10, 10))
    >>> run = sample(Posterior(line, Data([0, 1, 2], [0.1, 0.9, 2.2], noise=0.1)), 500, seed=1)
    >>> zero = derive(run, "crossing=-offset/slope")
    >>> zero.row()["low95"] < -0.02 < zero.row()["high95"]
    True
    """
    name, formula, whole = split(text)
    posterior = run.posterior
    names = (*posterior.names, *posterior.fixed)
    if name in names:
        raise InputError(f"derived {name}", "the name of a parameter", "another name")
    found = formula_of(name, formula, names)
    groups = exchangeable(posterior)
    draws = fold(groups, run.draws)

    def values(theta: Array) -> Array:
        table = posterior.values(theta)
        with np.errstate(all="ignore"):
            result = evaluator(found)(0.0, *(table[n][..., 0] for n in found.parameters))
        return np.broadcast_to(np.asarray(result, dtype=np.float64), theta.shape[:-1])

    return Derived(name, whole, values(draws), _numbering(found, groups, draws, values))


def split(text: str) -> tuple[str, str, str]:
    """``NAME=FORMULA`` as name, formula and the formula again for showing.

    Examples
    --------
    >>> split("T1 = 1/component1_rate")
    ('T1', '1/component1_rate', '1/component1_rate')
    """
    name, equals, formula = (part.strip() for part in str(text).partition("="))
    if not equals or not _NAME.fullmatch(name) or not formula:
        raise InputError("derived quantity", repr(text), "NAME=FORMULA",
                         'such as "ratio=peak1_height/peak2_height"')
    return name, formula, formula


def formula_of(name: str, text: str, names: Collection[str]) -> Formula:
    """The formula with its sums written out, for a model with these parameters.

    Parameters
    ----------
    name, text : str
    names : collection of str
        All parameters of the model, the fixed ones included.

    Returns
    -------
    Formula

    Raises
    ------
    InputError
        If it is none, or names what is not there.

    Examples
    --------
    >>> formula_of("h", "sum(peak_height)/2", ["peak1_height", "peak2_height"]).text()
    'peak1_height/2 + peak2_height/2'
    >>> formula_of("h", "sum(peak_height)", ["offset"]).text()
    '0'
    """
    field = f"derived {name}"
    formula = parse_formula(field, _sums_written_out(text, names, field))
    missing = sorted({s.name for s in formula.expression.free_symbols} - set(names))
    if missing:
        raise InputError(field, missing[0], f"parameters of the model: {', '.join(names)}")
    return formula


def _sums_written_out(text: str, names: Collection[str], field: str) -> str:
    """``sum(peak_height)`` as ``(peak1_height + peak2_height)``: text before and text after, which
    the parser reads like any other."""
    begin = re.search(r"(?<![A-Za-z0-9_])sum\s*\(", text)
    if not begin:
        return text
    level, end = 1, begin.end()
    while level and end < len(text):
        level += (text[end] == "(") - (text[end] == ")")
        end += 1
    inside = text[begin.end():end - 1]
    if level or re.search(r"(?<![A-Za-z0-9_])sum\s*\(", inside):
        raise InputError(field, repr(text[:60]), "sum( ... ) with its bracket closed, and no sum "
                         "inside another")
    numbered = [match for match in map(COMPONENT.match, names) if match]
    own: dict[str, set[str]] = {}       # short name -> numbers that have it
    for match in numbered:
        own.setdefault(f"{match.group(1)}_{match.group(3)}", set()).add(match.group(2))
    used = [n for n in dict.fromkeys(_NAME.findall(inside)) if n in own]
    if not used:
        if numbered or not _NAME.search(inside):
            raise InputError(field, repr(f"sum({inside})"[:60]), "a name without its number, one "
                             f"of {', '.join(own) or '(the model has none)'}")
        whole = "0"                     # no component, nothing to add
    else:
        numbers = sorted(set.intersection(*(own[n] for n in used)), key=int)
        prefixes = {n.partition("_")[0] for n in used}
        if len(prefixes) > 1:
            raise InputError(field, ", ".join(used), "components of one kind in a sum")
        parts = [_NAME.sub(lambda m, k=k: (  # type: ignore[misc]
            m.group().replace("_", f"{k}_", 1) if m.group() in used else m.group()), inside)
            for k in numbers]
        whole = "(" + " + ".join(f"({part})" for part in parts) + ")"
    return text[:begin.start()] + whole + _sums_written_out(text[end:], names, field)


def _numbering(formula: Formula, groups: tuple[Group, ...], draws: Array, values: Any) -> str:
    """What the numbers of components mean in this formula: tried by changing them."""
    if not any(COMPONENT.match(n) for n in formula.parameters):
        return "no component in it" if formula.parameters else "a constant"
    some = draws.reshape(-1, draws.shape[-1])[:: max(1, draws[..., 0].size // 200)]
    ordered = []
    for group in groups:
        for a, b in pairwise(range(group.size)):
            swapped = some.copy()
            for places in group.columns.values():
                swapped[:, [places[a], places[b]]] = some[:, [places[b], places[a]]]
            if not np.allclose(values(swapped), values(some), rtol=1e-9, atol=0.0, equal_nan=True):
                ordered.append(f"{group.prefix} by {group.key}")
                break
    if ordered:
        return f"components numbered in every draw: {', '.join(ordered)}"
    return ("the same however the components are numbered" if groups
            else "components told apart by their priors" if _several(formula) else "one component")


def _several(formula: Formula) -> bool:
    return len({m.group(2) for m in map(COMPONENT.match, formula.parameters) if m}) > 1


def standard(run: Run) -> list[Derived]:
    """What people ask for first: the area of every peak, the time 1/rate of every exponential
    (T1 of a recovery).

    Parameters
    ----------
    run : Run

    Returns
    -------
    list of Derived

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, sample, shapes
    >>> peak = Model.repeated(1, shapes.lorentzian, height=(0, 3), center=(0, 3), width=(0.1, 1))
    >>> run = sample(Posterior(peak, Data([0, 1, 2], [0.1, 0.9, 0.2], noise=0.1)), 100)
    >>> [(d.name, d.text) for d in standard(run)]
    [('peak1_area', 'peak1_height*peak1_width*pi/2')]
    """
    out = []
    for block in run.posterior.blocks:
        for term in block.model.terms:
            what, formula = _STANDARD.get(term.formula.name, ("", ""))
            stem = term.prefix.rstrip("_")
            name = f"{stem}_{what}"
            own = [n for n in term.names if n in run.posterior.names]
            if not what or not COMPONENT.match(name) or not own or name in run.posterior.names:
                continue
            names = dict(zip(term.formula.parameters, term.names, strict=True))
            out.append(derive(run, f"{name}={formula.format(**names)}"))
    return list({d.name: d for d in out}.values())


def known_in(texts: Iterable[str], models: Mapping[Any, Collection[str]], *,
             partial: bool = False) -> dict[Any, list[str]]:
    """Which of the derived quantities each model has; one that none has is refused.

    Parameters
    ----------
    texts : iterable of str
    models : mapping from label to the names of its parameters
    partial : bool
        Not all models are there (an interrupted fit): nothing is refused for that.

    Returns
    -------
    mapping from label to list of str
    """
    out: dict[Any, list[str]] = {label: [] for label in models}
    taken: set[str] = set()
    for text in texts:
        name, formula, _ = split(text)
        if name in taken:
            raise InputError(f"derived {name}", "given twice", "each name once")
        taken.add(name)
        refused: list[InputError] = []
        for label, names in models.items():
            if name in names:
                raise InputError(f"derived {name}", "the name of a parameter", "another name")
            try:
                formula_of(name, formula, names)
            except InputError as error:
                refused.append(error)
            else:
                out[label].append(text)
        if len(refused) == len(models) and not partial:
            raise refused[-1]
    return out


# ---- over several models ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Average:
    """A quantity over all models that are not excluded, each with its probability.

    Made by `averaged`; in units of the quantity, intervals are credible ones.
    """

    name: str
    text: str
    mean: float
    error: float                  # standard error of the mean: of the draws, and of F
    sd: float                     # within the models and between them
    low95: float
    low68: float
    median: float
    high68: float
    high95: float
    weights: Mapping[Any, float]  # p(model | data) among those averaged over
    means: Mapping[Any, float]    # in each of them
    numbering: Mapping[Any, str]  # what the numbers of components mean there

    def __str__(self) -> str:
        from sampler.report import _digits

        low95, median, high95, mean = (_digits(v, 0.5 * (self.high68 - self.low68)) for v in (
            self.low95, self.median, self.high95, self.mean))
        sd = _digits(self.sd, self.sd)
        shares = ", ".join(f"{p:.3f} {label if isinstance(label, str) else f'K={label}'}"
                           for label, p in self.weights.items())
        return (f"{self.name}, averaged over {shares}: median {median}, 95 % credible {low95} to "
                f"{high95}, mean {mean}, sd {sd}")


def averaged(choice: Choice, runs: Mapping[Any, Run], text: str) -> Average:
    """A parameter or derived quantity over all models that are not excluded.

    Its draws are those of every such model, each with the probability of its model (equal
    probability beforehand), so that the interval holds what the models leave open, too.  It is the
    same quantity in all of them only if its name means the same in all of them: ``peak1_center``
    among two peaks and among three does not.

    Parameters
    ----------
    choice : Choice
    runs : mapping from label to Run
    text : str
        The name of a parameter, or ``NAME=FORMULA`` as for `derive`.

    Returns
    -------
    Average

    Raises
    ------
    InputError
        If a model that is not excluded does not have it.

    Examples
    --------
    >>> from sampler import Data, Model, Posterior, choose, sample, shapes
    >>> data = Data([0, 1, 2, 3], [0.1, 0.9, 2.2, 2.8], noise=0.3)
    >>> runs = {s: sample(Posterior(Model.single(shapes.linear, offset=(-5, 5), slope=s), data),
    ...                   sweeps=1000, seed=1) for s in (0.9, 1.0)}
    >>> print(averaged(choose(runs), runs, "offset").weights.keys())
    dict_keys([0.9, 1.0])
    """
    labels = choice.not_excluded
    found = {label: _quantity(runs[label], text, label) for label in labels}
    F = np.array([choice[label].free_energy.value for label in labels])
    F_error = np.array([choice[label].free_energy.error for label in labels])
    p = np.exp(F.min() - F)
    p /= p.sum()
    values = [found[label].values for label in labels]
    if not all(np.isfinite(v).all() for v in values):
        raise InputError(f"average of {text}", "draws in which it has no value",
                         "a quantity with a value in every draw")
    means = np.array([v.mean() for v in values])
    mean = float(p @ means)
    own = np.array([max(series_errors(v)[:2]) if v.min() < v.max() else 0.0 for v in values])
    # d mean = -sum p_k (m_k - m) dF_k, to first order; a model that is alone has no such share.
    between = p * (means - mean) * np.where(np.isfinite(F_error), F_error, 0.0)
    sd = math.sqrt(float(p @ [float(v.var()) + (m - mean) ** 2
                              for v, m in zip(values, means, strict=True)]))
    flat = np.concatenate([v.ravel() for v in values])
    weight = np.concatenate([np.full(v.size, share / v.size)
                             for v, share in zip(values, p, strict=True)])
    ends = _weighted_quantiles(flat, weight, list(QUANTILES.values()))
    first = found[labels[0]]
    return Average(
        first.name, first.text, mean, math.hypot(*(p * own), *between), sd,
        **dict(zip(QUANTILES, ends, strict=True)),
        weights=dict(zip(labels, p.tolist(), strict=True)),
        means=dict(zip(labels, means.tolist(), strict=True)),
        numbering={label: found[label].numbering for label in labels})


def average_of(choice: Choice, runs: Mapping[Any, Run], text: str) -> Average | None:
    """`averaged`, or None where it has no value in some draw, so that there is no average."""
    if "=" in text and any(derive(runs[v], text).undefined for v in choice.not_excluded):
        return None
    return averaged(choice, runs, text)


def _quantity(run: Run, text: str, label: Any) -> Derived:
    posterior = run.posterior
    if "=" in text:
        return derive(run, text)
    if text not in (*posterior.names, *posterior.fixed):
        raise InputError(f"average of {text}", f"no {text} in the model {label}",
                         "a name that every model has that is not excluded")
    groups = exchangeable(posterior)
    values = posterior.values(fold(groups, run.draws))[text][..., 0]
    ordered = [f"{g.prefix} by {g.key}" for g in groups if text in {
        posterior.names[i] for places in g.columns.values() for i in places}]
    return Derived(text, text, values,
                   f"components numbered in every draw: {ordered[0]}" if ordered
                   else "one component" if COMPONENT.match(text) else "no component in it")


def _weighted_quantiles(values: Array, weight: Array, shares: list[float]) -> list[float]:
    """Of the step function of the weights, between its steps."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    middle = (total - 0.5 * weight[order]) / total[-1]
    return [float(np.interp(share, middle, values[order])) for share in shares]


def common(choice: Choice, runs: Mapping[Any, Run]) -> list[str]:
    """Parameters without a number that every model has that is not excluded: the same quantity in
    all of them."""
    known = [runs[label].posterior for label in choice.not_excluded]
    return [name for name in (*known[0].names, *known[0].fixed) if not COMPONENT.match(name)
            and all(name in (*p.names, *p.fixed) for p in known)
            and any(name in p.names for p in known)]
