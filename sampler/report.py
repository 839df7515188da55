"""Reports: a table of parameters, and the figures of a fit, a ladder and a choice.

Figures are matplotlib `Figure` objects (no global state is touched); save them with
``figure.savefig("name.pdf")``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

from sampler.choice import Choice
from sampler.data import POISSON
from sampler.diagnostics import diagnose, effective_sample_size, rank_normalised_rhat
from sampler.errors import InputError
from sampler.evidence import free_energy, free_energy_along
from sampler.exchange import Run
from sampler.labels import COMPONENT, exchangeable, fold
from sampler.lettering import drawable, families, without_font
from sampler.posterior import Posterior
from sampler.priors import Bernoulli, LogUniform, Ordered, in_words, support

Array = NDArray[np.float64]
PRIOR_DRAWS = 200     # at which a formula is looked at for x where it has no value
# The palette of Okabe and Ito, safe for colour-blind readers.
_BLUE, _ORANGE, _GREEN, _RED, _PINK, _SKY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_STYLE = {"font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False,
          "legend.frameon": False, "legend.fontsize": 8.0, "axes.titlelocation": "left",
          "axes.titlesize": 9.5, "lines.linewidth": 1.4}
_UNNAMED = "(no font for its name)"
_P = ParamSpec("_P")


def sorted_draws(run: Run) -> tuple[Array, str]:
    """Draws with exchangeable components in order of centre (or rate), sorted after sampling.

    Returns
    -------
    draws, key
        (chains, sweeps, parameters) and the quantity sorted by, ``""`` if there is nothing to
        sort.
    """
    groups = exchangeable(run.posterior)
    return fold(groups, run.draws), ", ".join(f"{g.prefix} by {g.key}" for g in groups)


def summary(run: Run) -> str:
    """The parameters in words and numbers: mean, sd, 68 and 95 % credible intervals, effective
    draws and R-hat, of components in order where their numbers mean nothing.

    Parameters
    ----------
    run : Run

    Returns
    -------
    str
    """
    posterior, data = run.posterior, run.posterior.blocks[0].data
    lines = [str(free_energy(run)) if len(run.betas) > 1 or not posterior.dimension
             else "one temperature: no free energy", str(diagnose(run))]
    if not posterior.dimension:
        return "\n".join([*lines, "no free parameters"])
    draws, key = sorted_draws(run)
    if key:
        lines.append(f"components sorted after sampling: {key}")
    if run.integrated:
        lines.append("integrated out of U, drawn afterwards (from the prior while switched off): "
                     + ", ".join(run.integrated))
    lines += [f"units: x in {data.x_label!r}, y in {data.y_label!r}", *_widths(run), ""]
    lines += _parameter_table(run, draws)
    times = relaxation_times(run, draws)
    lines += ["", *times] if times else []
    lines += ["", "priors (their bounds are part of the question; F depends on them):"]
    lines += [f"  {name}: {words}" for name, words in priors_in_words(run)]
    lines += _outside(run)
    pressed = pressing(run, draws)
    lines += ["", *pressed] if pressed else []
    return "\n".join(lines)


def _outside(run: Run) -> list[str]:
    """How much of the prior the curve or the noise law forbids: it is part of F like a bound."""
    if run.betas[0] > 0.0:
        return []
    inside = float(np.isfinite(run.energy[..., 0]).mean())
    if inside == 1.0 or inside == 0.0:
        return []
    name, at, share = undefined(run.posterior)
    counts = any(block.data.law == POISSON for block in run.posterior.blocks)
    why = ["a mean count < 0"] if counts else []
    why += [f"{name} has no real value at some x, most often at {at:g}"] if share else []
    return [f"  of the prior {1.0 - inside:.1%} lies outside the support ("
            f"{', or '.join(why) or 'no real value, or one beyond floating point'}), which "
            f"is {-math.log(inside):.2f} nats of F"]


def undefined(posterior: Posterior) -> tuple[str, float, float]:
    """Where a formula has no real value: such parameters have no likelihood (energy inf).

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    name, x, share
        Of the formula with the largest share of `PRIOR_DRAWS` draws of the prior that have an x
        without a value, and the x where most of them have none; share 0 if there is no such.

    Examples
    --------
    >>> from sampler import Data, Model, parse_formula
    >>> root = Model.single(parse_formula("root", "sqrt(x - b)"), b=(1, 2))
    >>> undefined(Posterior(root, Data([0, 1, 2, 3], [0, 0, 0, 1], noise=0.1)))
    ('root', 0.0, 1.0)
    """
    theta, out = posterior.draw_prior(PRIOR_DRAWS), ("", math.nan, 0.0)
    for i, block in enumerate(posterior.blocks):
        curves = posterior.terms(theta, block=i).values()
        for term, curve in zip(block.model.terms, curves, strict=True):
            bad = np.isnan(curve)
            share = float(bad.any(axis=1).mean())
            if share > out[2]:
                out = (term.formula.name, float(block.data.x[bad.sum(axis=0).argmax()]), share)
    return out


def _parameter_table(run: Run, draws: Array) -> list[str]:
    names = run.posterior.names
    width = max(9, *(len(n) for n in names))
    head = (f"{'parameter':<{width}}  {'mean':>11}  {'sd':>9}  {'68 % credible':>23}  "
            f"{'95 % credible':>23}  {'ESS':>7}  {'R-hat':>5}")
    lines = [head]
    for row in parameter_rows(run, draws):
        mean, sd, low68, high68, low95, high95 = (
            _digits(row[key], row["sd"])
            for key in ("mean", "sd", "low68", "high68", "low95", "high95"))
        lines.append(f"{row['name']:<{width}}  {mean:>11}  {sd:>9}  {low68:>11} {high68:>11}  "
                     f"{low95:>11} {high95:>11}  {row['ess']:>7.0f}  "
                     f"{row['rhat']:>5.3f}")
    return lines


def _widths(run: Run) -> list[str]:
    """What is called the width of a line: conventions differ by a factor of 2.35."""
    names = dict.fromkeys(
        _short(term.names[term.formula.parameters.index("width")])
        for block in run.posterior.blocks for term in block.model.terms
        if term.formula.name in ("gaussian", "lorentzian", "pseudo_voigt"))
    return [f"{name} is the full width at half maximum (FWHM), in units of x" for name in names]


def _short(name: str) -> str:
    """``peak_width`` for ``peak1_width``."""
    match = COMPONENT.match(name)
    return f"{match.group(1)}_{match.group(3)}" if match else name


def relaxation_times(run: Run, draws: Array | None = None) -> list[str]:
    """A sentence with 1/rate for each pure exponential component: T1, if it is a recovery.

    Parameters
    ----------
    run : Run
    draws : array (chains, sweeps, parameters), optional
        Sorted as in the table, which is the default.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from sampler import Data, Posterior, sample
    >>> from sampler.instruments.relaxation import default_priors, relaxation
    >>> data = Data([1, 2, 4, 8], [0.4, 0.6, 0.9, 1.0], noise=0.05, x_label="t (s)")
    >>> model = relaxation(1, direction="recovery", **default_priors(data))
    >>> relaxation_times(sample(Posterior(model, data), sweeps=500, seed=1))[0].split(":")[0]
    'T1 = 1/component1_rate'
    """
    draws = sorted_draws(run)[0] if draws is None else draws
    lines = []
    for block in run.posterior.blocks:
        for term in block.model.terms:
            symbol = {"recovery": "T1", "exponential": "T"}.get(term.formula.name)
            rate = term.names[-1] if symbol else ""
            if not COMPONENT.match(rate) or rate not in run.posterior.names:
                continue
            time = 1.0 / draws[..., run.posterior.names.index(rate)]
            mean, sd = float(time.mean()), float(time.std())
            low, high = (_digits(float(v), sd) for v in np.quantile(time, [0.025, 0.975]))
            lines.append(f"{symbol} = 1/{rate}: mean {_digits(mean, sd)}, sd {_digits(sd, sd)}, "
                         f"95 % credible {low} to {high}, in units of x ({block.data.x_label!r})")
    return lines


def _digits(value: float, sd: float) -> str:
    """As many decimals as two digits of the sd need.

    Examples
    --------
    >>> _digits(179.0012, 0.1234), _digits(0.010497, 0.000114), _digits(3.2e8, 4.1e5)
    ('179.00', '0.01050', '3.2000e+08')
    >>> _digits(0.4712, 118.0)              # never rounded to nothing
    '0.5'
    """
    if not sd > 0.0 or not math.isfinite(value):
        return f"{value:.5g}"
    place = math.floor(math.log10(sd))
    if value:
        place = min(place, math.floor(math.log10(abs(value))) + 1)
    if -6 <= place and abs(value) < 1e6:
        return f"{value:.{max(0, 1 - place)}f}"
    size = math.floor(math.log10(abs(value))) if value else place
    return f"{value:.{max(1, size - place + 1)}e}"


def parameter_rows(run: Run, draws: Array | None = None) -> list[dict[str, Any]]:
    """The table of `summary` as numbers, one mapping for each parameter."""
    draws = sorted_draws(run)[0] if draws is None else draws
    rows = []
    for i, name in enumerate(run.posterior.names):
        values = draws[..., i]
        low95, low68, high68, high95 = np.quantile(values, [0.025, 0.16, 0.84, 0.975])
        rows.append({"name": name, "mean": float(values.mean()), "sd": float(values.std()),
                     "low68": float(low68), "high68": float(high68), "low95": float(low95),
                     "high95": float(high95), "ess": effective_sample_size(values),
                     "rhat": rank_normalised_rhat(values)})
    return rows


def priors_in_words(run: Run) -> list[tuple[str, str]]:
    """Each distinct prior once; ``peak1_width`` and ``peak2_width`` together if they are equal."""
    out: dict[tuple[str, str], None] = {}
    ordered = {name for group in run.posterior.orderings for name in group}
    for name, prior in run.posterior.priors.items():
        short = f"{_short(name)} (each)" if COMPONENT.match(name) else name
        words = in_words(Ordered(prior) if name in ordered else prior)
        out[(short, words)] = None
    for name, value in run.posterior.fixed.items():
        out[(name, f"fixed at {value:g}")] = None
    return list(out)


def json_text(record: Any) -> str:
    """A table as JSON; what is infinite or not known (F of a model that cannot give the data) is
    null, because JSON has no such numbers.

    Parameters
    ----------
    record : mappings and sequences of numbers and strings

    Returns
    -------
    str

    Examples
    --------
    >>> json.loads(json_text({"F": math.inf, "rows": (1.5, math.nan)}))
    {'F': None, 'rows': [1.5, None]}
    """
    return json.dumps(_finite(record), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def pressing(run: Run, draws: Array | None = None) -> list[str]:
    """A sentence for each parameter of the table whose posterior leans on a bound of its prior."""
    draws = sorted_draws(run)[0] if draws is None else draws
    lines = []
    for i, (name, prior) in enumerate(run.posterior.priors.items()):
        lo, hi = support(prior)
        if not (math.isfinite(lo) and math.isfinite(hi)) or isinstance(prior, Bernoulli):
            continue
        place = (draws[..., i] - lo) / (hi - lo)
        if isinstance(prior, LogUniform):
            place = np.log(draws[..., i] / lo) / math.log(hi / lo)
        for share, bound in ((np.mean(place < 0.02), lo), (np.mean(place > 0.98), hi)):
            if share > 0.1:
                lines.append(f"{name} presses on its prior bound {bound:g} "
                             f"({share:.0%} of the draws lie in the last 2 %): the answer depends "
                             "on that bound")
    return lines


def draw(result: Any) -> Any:
    """The figure of a result: the fit of a Run, or the free energies of a Choice.

    Parameters
    ----------
    result : Run or Choice

    Returns
    -------
    matplotlib Figure
    """
    if isinstance(result, Run):
        return draw_fit(result)
    if isinstance(result, Choice):
        return draw_choice(result)
    raise InputError("result", type(result).__name__, "a Run or a Choice")


def _styled(drawing: Callable[_P, Any]) -> Callable[_P, Any]:
    """Draw in the house's style from beginning to end: titles and legends read it when made."""
    @wraps(drawing)
    def styled(*args: _P.args, **keywords: _P.kwargs) -> Any:
        import matplotlib

        with matplotlib.rc_context({**_STYLE, "font.family": families()}):
            return drawing(*args, **keywords)
    return styled


def _figure(rows: int, columns: int, size: tuple[float, float], **more: Any) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


@dataclass(frozen=True, eq=False)
class Curves:
    """A fit as curves: posterior means and the 95 % band on a grid (G), and at the n points."""

    grid: Array               # (G,)
    decades: bool             # the grid is even in log x
    mean: Array               # (G,)
    low: Array                # (G,) 2.5 %
    high: Array               # (G,) 97.5 %
    terms: dict[str, Array]   # (G,) each summand, if there are several
    at_data: Array            # (n,)
    low_at_data: Array        # (n,)
    high_at_data: Array       # (n,)
    terms_at_data: dict[str, Array]    # (n,) every summand
    sigma: Array              # (n,) standard deviation of the noise


def fit_curves(run: Run, block: int = 0) -> Curves:
    """What `draw_fit` draws: of up to 1000 draws, components in order.

    Parameters
    ----------
    run : Run
    block : int
        Which data set of a joint posterior.

    Returns
    -------
    Curves
    """
    posterior, data = run.posterior, run.posterior.blocks[block].data
    theta = sorted_draws(run)[0].reshape(-1, posterior.dimension)
    theta = theta[:: max(1, len(theta) // 500)]
    # Delays are often spread over decades, positions in a spectrum evenly.
    decades = bool(data.x.min() > 0.0 and data.x.max() > 100.0 * data.x.min()
                   and np.median(data.x) < 0.1 * data.x.max())
    grid = (np.geomspace if decades else np.linspace)(*data.x_range, 600)
    curves, points = posterior.predict(theta, x=grid, block=block), posterior.predict(
        theta, block=block)
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    at_data = points.mean(axis=0)
    low_at_data, high_at_data = np.quantile(points, [0.025, 0.975], axis=0)
    terms, terms_at_data = ({name: part.mean(axis=0) for name, part in posterior.terms(
        theta, x=x, block=block).items()} for x in (grid, None))
    return Curves(grid, decades, curves.mean(axis=0), low, high, terms if len(terms) > 1 else {},
                  at_data, low_at_data, high_at_data, terms_at_data,
                  _sigma(run, theta, at_data, block))


@_styled
def draw_fit(run: Run, block: int = 0) -> Any:
    """Data, posterior mean with its 95 % band, components, and residuals in units of sigma.

    Parameters
    ----------
    run : Run
    block : int
        Which data set of a joint posterior.

    Returns
    -------
    matplotlib Figure
    """
    data, shown = run.posterior.blocks[block].data, fit_curves(run, block)
    grid, at_data, sigma = shown.grid, shown.at_data, shown.sigma
    figure, axes = _figure(2, 1, (6.4, 4.6), sharex=True,
                           gridspec_kw={"height_ratios": [3, 1]})
    main, residual = axes.flat
    known = data.size <= 150
    main.errorbar(data.x, data.y, sigma if known else None, fmt="o", ms=2.5, color="0.45",
                  elinewidth=0.8, label=drawable(data.name or "data", "data"), zorder=1)
    main.fill_between(grid, shown.low, shown.high, color=_SKY, alpha=0.45, lw=0,
                      label="95 % band", zorder=2)
    colors = (_ORANGE, _GREEN, _PINK, _RED, "0.5", "#F0E442")
    for k, (label, part) in enumerate(shown.terms.items()):
        main.plot(grid, part, color=colors[k % len(colors)], lw=1.0, label=label, zorder=2)
    main.plot(grid, shown.mean, color=_BLUE, label="posterior mean", zorder=3)
    main.set_ylabel(drawable(data.y_label, f"y {_UNNAMED}"))
    main.legend(ncols=2 if len(shown.terms) > 3 else 1)
    residual.axhspan(-2.0, 2.0, color="0.93", lw=0)
    residual.plot(data.x, (data.y - at_data) / sigma, "o", ms=2.5, color="0.45")
    residual.axhline(0.0, color=_BLUE, lw=1.0)
    reach = max(3.0, 1.15 * float(np.abs((data.y - at_data) / sigma).max()))
    residual.set(xlabel=drawable(data.x_label, f"x {_UNNAMED}"), ylabel="residual / σ",
                 ylim=(-reach, reach))
    if shown.decades:
        residual.set_xscale("log")
    return figure


def lettering(run: Run) -> str:
    """A sentence on names of columns that no installed font can write; ``""`` if there are none.

    Parameters
    ----------
    run : Run

    Returns
    -------
    str
    """
    data = run.posterior.blocks[0].data
    lost = without_font([data.x_label, data.y_label, data.name])
    return (f"no installed font has the characters of {', '.join(map(repr, lost))}: the figures "
            "say x, y or data instead") if lost else ""


def _sigma(run: Run, theta: Array, curve: Array, block: int) -> Array:
    data = run.posterior.blocks[block].data
    if data.law == POISSON:
        return np.sqrt(np.maximum(curve, 1e-12))
    if data.noise_prior is None:
        return data.deviation
    scale = run.posterior.values(theta)[data.noise_name].mean()
    return np.asarray(scale * data.deviation)


@_styled
def draw_ladder(run: Run) -> Any:
    """Exchange rates, one replica's journey, mean energy and heat capacity along the ladder.

    Parameters
    ----------
    run : Run

    Returns
    -------
    matplotlib Figure
    """
    along = free_energy_along(run)
    figure, axes = _figure(2, 2, (7.0, 5.2))
    rates, journey, energy, heat = axes.flat
    rungs = len(run.betas)
    for axis in (rates.xaxis, journey.yaxis):
        axis.get_major_locator().set_params(integer=True)
    rates.plot(np.arange(1, rungs), run.swap_rate, "o-", color=_BLUE, ms=3.5)
    rates.axhline(0.1, color=_RED, ls="--", lw=1.0)
    rates.set(xlabel="pair of neighbours (hot to cold)", ylabel="exchange rate", ylim=(0, 1),
              title="(a) Exchange (dashed: alarm)")
    shown = min(run.sweeps, 2000)
    place = np.argmax(run.replica[0, :shown] == 0, axis=1)
    journey.plot(np.arange(shown), place, color=_BLUE, lw=0.6)
    journey.set(xlabel="sweep", ylabel="rung (0: prior)", title="(b) One replica's journey")
    warm = (run.betas > 0) & np.isfinite(along.mean_energy)
    energy.errorbar(run.betas[warm], along.mean_energy[warm], along.mean_energy_error[warm],
                    fmt="o-", ms=3, color=_BLUE)
    energy.set(xscale="log", yscale="log" if np.all(along.mean_energy[warm] > 0) else "linear",
               xlabel="inverse temperature β (dimensionless)", ylabel="⟨U⟩ (nats)",
               title="(c) Mean energy (bars: 1 sd)")
    heat.errorbar(run.betas[warm], along.heat_capacity[warm], along.heat_capacity_error[warm],
                  fmt="o-", ms=3, color=_BLUE)
    heat.axhline(0.5 * run.sampled, color="0.4", ls=":", lw=1.0)
    heat.set(xscale="log", xlabel="inverse temperature β (dimensionless)",
             ylabel="β² Var U (dimensionless)", title="(d) Heat capacity (dotted: d/2)")
    for axes in (energy, heat):     # decades without their ninths: half the time of the drawing
        axes.minorticks_off()
    return figure


@_styled
def draw_choice(choice: Choice) -> Any:
    """F of every model with 95 % intervals, and p(model | data).

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    matplotlib Figure
    """
    figure, axes = _figure(1, 2, (7.0, 3.0))
    left, right = axes.flat
    rows, position = choice.rows, np.arange(len(choice.rows))
    names = [f"K={r.label}" if isinstance(r.label, int) else
             drawable(str(r.label), f"model {k + 1}") for k, r in enumerate(rows)]
    F = np.array([r.free_energy.value for r in rows])
    bars = np.array([1.96 * r.free_energy.error for r in rows])
    known = np.isfinite(F)      # F = inf: the model cannot give the data at all
    values = F - F[known].min() if known.any() else np.zeros_like(F)
    bars = np.where(np.isfinite(bars), bars, 0.0)
    left.errorbar(position[known], values[known], bars[known], fmt="o", color=_BLUE, ms=4)
    for k in np.flatnonzero(~known | ~np.isfinite([r.free_energy.error for r in rows])):
        words = "no error" if known[k] else "F = inf"
        left.annotate(words, (position[k], values[k] if known[k] else 0.0), rotation=90,
                      xytext=(3, 4), textcoords="offset points", fontsize=7)
    left.axhline(1.0, color=_RED, ls="--", lw=1.0)
    left.set(ylabel="F − lowest F (nats)", title="(a) Free energy (bars: 95 %; dashed: 1 nat)")
    left.set_yscale("symlog", linthresh=3.0)
    top = max(4.0, 2.5 * float((values + bars)[known].max(initial=0.0)))
    _plain_ticks(left.yaxis, top)
    left.set(ylim=(-1.5, top), xlim=(-0.5, len(rows) - 0.5))
    spread = np.nan_to_num([r.probability_error for r in rows], nan=0.0)
    right.bar(position, [r.probability for r in rows], yerr=spread,
              color=[_BLUE if r.trusted else "0.7" for r in rows], capsize=2)
    right.set(ylabel="p(model | data)", ylim=(0, 1.05), title="(b) Probability (grey: not trusted)")
    tilted = len(names) > 5 or max(len(name) for name in names) > 6
    for ax in (left, right):
        ax.set_xticks(position, names, rotation=45 if tilted else 0,
                      ha="right" if tilted else "center")
    return figure


def _plain_ticks(axis: Any, top: float) -> None:
    """0, 1, 3, 10, 30 ... nats in plain digits; over many decades 0, 1, 10, 100 ..."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    marks = (1.0, 3.0) if top < 1e4 else (1.0,)
    steps = [m * 10.0**k for k in range(16) for m in marks]
    axis.set_major_locator(FixedLocator([0.0, *steps]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(
        lambda value, _: f"{value:,.0f}" if value < 1e5 else f"{value:.0e}"))
