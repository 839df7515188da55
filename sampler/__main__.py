"""``bayesmeas fit``, ``resume``, ``show`` and ``compare``: from a measured file to an answer.

Exit codes: 0 done; 1 the answer rests on a run that cannot be trusted; 2 bad input; 70 internal
error; 130 interrupted, with a valid partial run saved where counting had begun; 141 the reader of
the output went away (a closed pipe), all files written.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shlex
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from sampler.errors import InputError
from sampler.interrupts import Interrupts
from sampler.streams import closed_pipe, say

INSTRUMENTS = {"peaks": ("gaussian", "lorentzian", "pseudo_voigt"),
               "relaxation": ("exponential", "stretched")}
BACKGROUNDS = ("none", "constant", "linear", "exponential")
POSITIVE = re.compile(r"(peak\d*_width|component\d*_rate|sigma|noise_factor)")
_SHAPE = (rf"((({'|'.join(shape for known in INSTRUMENTS.values() for shape in known)})_)?K\d+|"
          r"model\d+)")
OURS = re.compile(rf"\.lock|{_SHAPE}\.npz(\.previous|\.lock)?|(fit|ladder)_{_SHAPE}\.(png|pdf)|"
                  rf"fit_{_SHAPE}\.csv|choice\.(png|pdf)|table\.(csv|json)|models\.csv|"
                  r"report\.html")                           # what a fit leaves in its folder
LARGE_K = 12
NOISES = "column, a number, unknown or poisson"


# argparse's own refusals, as ours: field, received, expected.
_COMPLAINTS = (
    (r"argument (\S+): invalid int value: (.*)", r"\2", "a whole number"),
    (r"argument (\S+): invalid float value: (.*)", r"\2", "a number"),
    (r"argument (\S+): invalid choice: (.*) \(choose from (.*)\)", r"\2", r"one of \3"),
    (r"argument (\S+): expected one argument", "nothing", "a value"),
    (r"argument (\S+): not allowed with argument (\S+)", "given", r"it without \2"),
    (r"the following arguments are required: (.*)", "nothing", "a value"),
    (r"(unrecognized arguments): (.*)", r"\2", "known options"),
)


class Parser(argparse.ArgumentParser):
    """Options that are refused in one sentence, by InputError."""

    def error(self, message: str) -> NoReturn:
        see = f"see {self.prog} --help"
        for pattern, received, expected in _COMPLAINTS:
            found = re.fullmatch(pattern, message)
            if found:
                raise InputError(found.expand(r"\1"), found.expand(received),
                                 found.expand(expected), see)
        raise InputError("command line", message, "what the help says", see)


def build_parser(prog: str = "bayesmeas") -> argparse.ArgumentParser:
    """The command line, with all its help."""
    parser = Parser(prog=prog, description="Which model, how many components, how certain.")
    parser.add_argument("--version", action="version", version=f"{prog} {_version()}")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Parser)
    fit = verbs.add_parser(
        "fit", help="fit a measured file and choose the number of components",
        description="Fit FILE with every K asked for, and say which is favoured and which is not "
        "excluded. Columns: x, y and, if there is one, the standard deviation.",
        epilog="Favoured is the model of fewest parameters within 1 nat of the lowest F, which "
        "need not be the most probable one; not excluded is every model with p(model | data) >= "
        "0.05, error included. Example: bayesmeas fit spectrum.csv --instrument peaks "
        "--shape gaussian --background linear --noise column --K 0:4 --out fit")
    fit.add_argument("file", metavar="FILE", help="CSV, TSV, xy, dat or NIST StRD table; XDI, "
                     ".xmu or KEK-PF 9809; VAMAS or Scienta text; canSAS XML or PDH; a Bruker "
                     "folder with ser and vdlist; HDF5 or NeXus (with h5py). FILE:PART for one of "
                     "several spectra: a block, region or entry by name or number, or the path "
                     "inside an HDF5 file (scan.nxs:/entry/data)")
    fit.add_argument("--instrument", choices=INSTRUMENTS,
                     help="peaks, or relaxation (this or --model is required)")
    fit.add_argument("--shape", default=None, help="one or several, separated by commas: "
                     "gaussian, lorentzian, pseudo_voigt (peaks); exponential, stretched "
                     "(relaxation); the first of these by default")
    fit.add_argument("--direction", choices=("decay", "recovery"), default=None,
                     help="relaxation: towards the offset from above (+A) or below (-A); by "
                     "default what the ends of the curve suggest")
    fit.add_argument("--background", choices=BACKGROUNDS, default="none",
                     help="peaks: what lies under the lines (default none)")
    fit.add_argument("--prior", action="append", default=[], metavar="NAME=PRIOR",
                     help='for example "component_rate=LogUniform(0.03,300)" or '
                     '"peak_width=Uniform(0.1,2)"; repeatable; a name without its number means '
                     "every component, but those given with their number (peak1_width=...), in "
                     "whichever order; peak_width is the full width at half maximum (FWHM); "
                     "also for the noise (sigma=...)")
    fit.add_argument("--fix", action="append", default=[], metavar="NAME=VALUE",
                     help='hold a parameter at a number, such as "peak1_center=284.8"; repeatable; '
                     "names as for --prior")
    fit.add_argument("--tie", action="append", default=[], metavar="NAME=FORMULA",
                     help='let a parameter follow others: "peak2_height=peak1_height/2", '
                     '"peak2_center=peak1_center + 1.6"; it has no prior of its own, and --derive '
                     "shows its value; repeatable; models without a parameter of that name are "
                     "left alone")
    fit.add_argument("--K", default=None, help="numbers of components: 2, 0:4 or 0,2,3 (required "
                     "with --instrument)")
    fit.add_argument("--model", action="append", default=[], metavar="FORMULA",
                     help='a formula of your own in place of --instrument and --K, such as '
                     '"a*exp(-b*(x-m)**2/2) + c": x, parameters, pi and exp, log, sqrt, sin, cos, '
                     "tan, atan, erf, abs; every parameter needs a --prior; repeatable: several "
                     "formulas are compared")
    fit.add_argument("--noise", default=None, help=f"{NOISES} (required)")
    fit.add_argument("--tails", type=float, metavar="NU", help="for data with outliers: Student's "
                     "t with NU degrees of freedom (typically 4) in place of normal noise, sigma "
                     "its scale; not with --noise poisson")
    fit.add_argument("--x", help="column of x, by name or number from 1")
    fit.add_argument("--y", help="column of y")
    fit.add_argument("--sigma", help="column of standard deviations; with --noise unknown they "
                     "are known up to a factor")
    fit.add_argument("--range", metavar="LO:HI", help="use only this range of x")
    fit.add_argument("--mask", action="append", default=[], metavar="LO:HI",
                     help="leave out this range of x; repeatable")
    _derive_option(fit)
    length = fit.add_mutually_exclusive_group()
    length.add_argument("--sweeps", type=int, help="counted sweeps per chain, after a burn-in of "
                        "2000 or a quarter of them, whichever is more")
    length.add_argument("--until", type=float, help="wanted error of F in nats (default 0.1)")
    fit.add_argument("--seed", type=int, default=0, help="seed (default 0); every model draws its "
                     "own from it by its name, whichever others are asked for")
    fit.add_argument("--out", default=None, metavar="DIR",
                     help="folder for report.html, figures, tables and runs, new or empty "
                     "(default: FILE's name + _fit)")
    fit.add_argument("--overwrite", action="store_true",
                     help="first remove the results of another fit from that folder")
    again = verbs.add_parser("resume", help="count more sweeps of a saved run",
        description="Count more sweeps of a saved run. The tables and figures of the fit that it "
        "came from are not rewritten; show prints the longer run.")
    again.add_argument("run", metavar="RUN.npz")
    again.add_argument("--sweeps", type=int, required=True, help="further sweeps per chain")
    again.add_argument("--out", default=None, metavar="RUN.npz", help="default: the same file")
    show = verbs.add_parser("show", help="print a saved run")
    show.add_argument("run", metavar="RUN.npz")
    show.add_argument("--figure", default=None, metavar="FILE", help="also draw the fit")
    show.add_argument("--report", default=None, metavar="FILE", help="also write a report of this "
                      "run alone: one HTML file that needs no network")
    _derive_option(show)
    show.add_argument("--criteria", action="store_true",
                      help="also print WBIC, BIC, AIC, WAIC and LOO beside F, with their errors")
    several = verbs.add_parser(
        "compare", help="compare saved runs of the same data",
        description="F of saved runs with errors, their differences, p and a verdict. Runs of "
        "different data are refused, whatever their files are called.")
    several.add_argument("runs", nargs="+", metavar="RUN.npz")
    several.add_argument("--report", default=None, metavar="FILE", help="also write a report of "
                         "them all: one HTML file that needs no network")
    _derive_option(several)
    return parser


def _derive_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--derive", action="append", default=[], metavar="NAME=FORMULA",
                      help='a quantity of the parameters, with its credible intervals, such as '
                      '"T1=1/component1_rate", "ratio=peak1_height/peak2_height" or, over all '
                      'components, "total=sum(peak_height*peak_width)"; repeatable; peaks are '
                      "numbered by their centre, relaxation components by their rate")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bayesian-measurement")
    except PackageNotFoundError:
        return "(not installed)"


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    try:
        return _run(argv)
    except BrokenPipeError:
        return closed_pipe()
    except InputError as error:
        print(f"bayesmeas: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception:
        traceback.print_exc()
        print("bayesmeas: internal error; please report it with the lines above", file=sys.stderr)
        return 70


def _run(argv: list[str] | None) -> int:
    try:
        words = sys.argv[1:] if argv is None else argv
        options = build_parser().parse_args(_joined(words))
        options.command = f"bayesmeas {shlex.join(words)}"
        return {"fit": _fit, "resume": _resume, "show": _show,
                "compare": _compare}[options.verb](options)
    finally:
        sys.stdout.flush()


def _joined(argv: list[str]) -> list[str]:
    """``--range -5:20`` as ``--range=-5:20``: argparse takes what begins with a minus sign, and is
    not a plain number, for another option.

    Examples
    --------
    >>> _joined(["fit", "--range", "-5:20", "--K", "2"])
    ['fit', '--range=-5:20', '--K', '2']
    >>> _joined(["--model", "-a*x"])
    ['--model=-a*x']
    """
    out: list[str] = []
    for word in argv:
        negative = r"-[^-]" if out and out[-1] == "--model" else r"-[\d.]"
        if out and out[-1].startswith("--") and "=" not in out[-1] and re.match(negative, word):
            out[-1] += f"={word}"
        else:
            out.append(word)
    return out


def _fit(options: argparse.Namespace) -> int:
    from sampler.files import read_data

    Ks = _numbers_of_components(options.K)
    bounds = _range(options.range, "--range") if options.range is not None else None
    masks = [_range(text, "--mask") for text in options.mask]
    _required(options, bounds)
    shapes = [] if options.model else _shapes(options)
    changes = _priors(options.prior, options.fix)
    ties = _ties(options.tie, changes)
    noise, noise_change = _noise(options.noise, changes)
    _positive_where_needed(options, noise_change)
    tails = _tails(options)
    data = read_data(options.file, noise, x=options.x, y=options.y, sigma=options.sigma,
                     range=bounds, mask=masks, tails=tails)
    if noise_change and data.noise_prior is not None and data.noise_name not in noise_change:
        raise InputError(f"--prior {next(iter(noise_change))}", "given",
                         f"{data.noise_name}, the noise parameter of these data")
    _check_run_options(options)
    if options.model:
        models = _own_models(options, data, changes, ties)
    else:
        models = {label: _model(options, data, shape, K, changes)
                  for label, shape, K in _labels(shapes, Ks)}
        _known_priors(models.values(), changes, data.noise_name, options)
        _positive_where_needed(options, changes)
    models = _tied(models, ties)
    if options.derive:
        from sampler.derived import known_in

        known_in(options.derive, {label: [*model.names, *filter(None, [data.noise_name])]
                                  for label, model in models.items()})
    with _folder(options) as folder:
        head = f"{data.name}: {data.size} points, x = {data.x_label}, y = {data.y_label}"
        say("\n  ".join([head, *data.notes]) + "\n", sys.stdout)
        for label, text in zip(models, options.model, strict=False):
            say(f"{label}: {text.strip()}\n", sys.stdout)
        for name, formula in ties.items():
            say(f"tied: {name} = {formula.text()}\n", sys.stdout)
        if max(Ks, default=0) > LARGE_K:
            print(f"warning: K up to {max(Ks)}: every component adds parameters and temperatures, "
                  f"and above {LARGE_K} a fit can take very long", file=sys.stderr)
        return _run_all(options, data, models, folder)


def _run_all(options: argparse.Namespace, data: Any, models: dict[Any, Any], folder: Path) -> int:
    from sampler.checkpoint import save_run
    from sampler.exchange import sample
    from sampler.posterior import Posterior

    runs: dict[Any, Any] = {}
    interrupted = False
    seeds = (_own_seeds(models, options.seed) if options.model
             else _seeds(models, _shapes(options)[0], options.seed))
    for i, (label, model) in enumerate(models.items()):
        length = {"sweeps": options.sweeps} if options.sweeps else {"until": options.until or 0.1}
        posterior = Posterior(model, data)
        try:
            with _Progress(f"{_name(label)} ({i + 1} of {len(models)})") as progress:
                runs[label] = sample(posterior, seed=seeds[label], progress=progress, **length)
        except InputError as error:
            raise _explained(error, posterior) from None
        except KeyboardInterrupt:           # before anything was counted of this one
            if not runs:
                raise
            interrupted = True
            break
        save_run(runs[label], folder / f"{_file_name(label)}.npz")
        if runs[label].stopped == "interrupted":
            interrupted = True
            break
    code = _answer(runs, folder, list(models), options)
    return 130 if interrupted else code


def _explained(error: InputError, posterior: Any) -> InputError:
    """Why nothing of a prior is allowed, if it is that the formula has no value there."""
    from sampler.report import PRIOR_DRAWS, undefined

    if error.field != "prior":
        return error
    name, x, share = undefined(posterior)
    if share < 1.0:
        return error
    return InputError(f"formula {name}", f"no real value at some x in all of {PRIOR_DRAWS} draws "
                      f"of the prior, most often at x = {x:g}",
                      "a prior that allows a value at every x",
                      "the root or log of a negative number has none; --range and --mask leave "
                      "points out")


def _answer(runs: dict[Any, Any], folder: Path, asked: list[Any],
            options: argparse.Namespace) -> int:
    from sampler.choice import choose
    from sampler.page import write_page
    from sampler.report import draw_choice, draw_fit, draw_ladder, lettering, pressing, summary
    from sampler.tables import record, write_fit, write_tables

    choice = choose(runs)
    numbers = record(choice, runs, asked=asked, command=options.command, derived=options.derive)
    write_tables(numbers, folder)
    write_page(numbers, choice, runs, folder / "report.html")
    for label in choice.not_excluded:
        if runs[label].posterior.dimension:
            write_fit(runs[label], folder / f"fit_{_file_name(label)}")
            _save(draw_fit(runs[label]), folder / f"fit_{_file_name(label)}")
    if runs[choice.best].posterior.dimension:
        _save(draw_ladder(runs[choice.best]), folder / f"ladder_{_file_name(choice.best)}")
    _save(draw_choice(choice), folder / "choice")
    # Printed last: a reader who goes away (head) loses no file.
    pressed = {label: [f"{_name(label)}: {line}" for line in pressing(run)]
               for label, run in runs.items() if run.posterior.dimension}
    standing = choice.not_excluded          # the favoured one among them
    print("\n".join(["", *_cut_short(runs, asked), choice.verdict,
                     *(s for v in standing for s in pressed.get(v, ()))]))
    print(f"\n{choice.table}\n")
    for label in standing:
        print(f"== {_name(label)} ==\n{summary(runs[label])}\n")
    _print_derived(options.derive, choice, runs)
    for label in pressed:
        if label not in standing and pressed[label]:
            print("\n".join(pressed[label]))
    said = lettering(runs[choice.best])
    print(f"{said}\n" * bool(said)
          + f"report.html, figures, tables and runs are in {folder}/")
    return 0 if choice.certain else 1


def _cut_short(runs: dict[Any, Any], asked: list[Any]) -> list[str]:
    """What Ctrl-C left out of a verdict."""
    lines = [f"INTERRUPTED: {_name(label)} counts {run.sweeps} sweeps only"
             for label, run in runs.items() if run.stopped == "interrupted"]
    left = [_name(label) for label in asked if label not in runs]
    return [*lines, *([f"INTERRUPTED: not run, and so not compared: {', '.join(left)}"]
                      if left else [])]


def _print_derived(texts: list[str], choice: Any, runs: dict[Any, Any]) -> None:
    """In every model that is not excluded and has it, and over them if all have it."""
    from sampler.derived import average_of, derive, known_in

    names = {v: (*runs[v].posterior.names, *runs[v].posterior.fixed) for v in choice.not_excluded}
    mine = known_in(texts, names, partial=True)
    for text in texts:
        having = [v for v in names if text in mine[v]]
        print("\n".join(f"{_name(v)}: {derive(runs[v], text)}" for v in having)
              or f"{text}: no model that is not excluded has it")
        whole = average_of(choice, runs, text) if len(having) == len(names) > 1 else None
        print(f"{whole}\n" if whole else "")


def _resume(options: argparse.Namespace) -> int:
    from sampler.checkpoint import claimed, load_run, save_run
    from sampler.diagnostics import diagnose
    from sampler.report import summary

    load_run(_saved(options.run))       # a file that cannot be read is refused first
    target = Path(options.run if options.out is None else options.out)
    if options.sweeps < 1:
        raise InputError("--sweeps", str(options.sweeps), "a whole number of 1 or more")
    if target.suffix != ".npz" or target.is_dir():
        raise InputError("--out", repr(str(target)), "the name of a file that ends in .npz")
    _can_be_written(target.parent)
    from sampler.exchange import resume

    with claimed(target):
        run = load_run(_saved(options.run))
        with _Progress(Path(options.run).name) as progress:
            run = resume(run, options.sweeps, progress=progress)
        save_run(run, target)
    print(summary(run))
    print(f"\n{target} is saved; tables and figures of a fit are not rewritten")
    return 130 if run.stopped == "interrupted" else int(not diagnose(run).trusted)


def _show(options: argparse.Namespace) -> int:
    from sampler.checkpoint import load_run
    from sampler.choice import choose
    from sampler.derived import derive
    from sampler.diagnostics import diagnose
    from sampler.report import draw_fit, summary

    if options.figure:
        _figure_name(options.figure)
    _report_name(options.report)
    run = load_run(_saved(options.run))
    found = [derive(run, text) for text in options.derive]
    if options.report:
        if len(run.betas) < 2 and run.posterior.dimension:
            raise InputError("--report", "a run of one temperature", "a run with a ladder")
        runs = {Path(options.run).stem: run}
        _report(choose(runs), runs, options)
    if options.figure:
        try:
            Path(options.figure).parent.mkdir(parents=True, exist_ok=True)
            draw_fit(run).savefig(options.figure)
        except OSError as error:
            raise InputError("--figure", repr(options.figure), "a file that can be written",
                             str(error.strerror)) from None
    print(f"{run.chains} chains of {run.sweeps} sweeps after {run.burn_in} of burn-in, seed "
          f"{run.seed}, {len(run.betas)} rungs, stopped by {run.stopped}")
    print("\n".join([summary(run), *([""] if found else []), *map(str, found)]))
    if options.criteria:
        from sampler.information import criteria_table

        print(f"\n{criteria_table({Path(options.run).stem: run})}")
    return int(not diagnose(run).trusted)


def _compare(options: argparse.Namespace) -> int:
    from sampler.comparing import compare, load_runs
    from sampler.derived import known_in

    _report_name(options.report)
    runs = load_runs([_saved(path) for path in options.runs])
    known_in(options.derive, {label: (*run.posterior.names, *run.posterior.fixed)
                              for label, run in runs.items()})
    choice, text = compare(runs)
    if options.report:
        _report(choice, runs, options)
    print(text)
    if options.derive:
        print()
        _print_derived(options.derive, choice, runs)
    return 0 if choice.certain else 1


def _report_name(path: str | None) -> None:
    if path and Path(path).suffix.lower() not in (".html", ".htm"):
        raise InputError("--report", repr(path), "a name that ends in .html")


def _report(choice: Any, runs: dict[Any, Any], options: argparse.Namespace) -> None:
    from sampler.page import write_page
    from sampler.tables import record

    numbers = record(choice, runs, command=options.command, derived=options.derive)
    try:
        Path(options.report).parent.mkdir(parents=True, exist_ok=True)
        write_page(numbers, choice, runs, options.report)
    except OSError as error:
        raise InputError("--report", repr(options.report), "a file that can be written",
                         str(error.strerror)) from None


# ---- reading the options ----------------------------------------------------------------------


def _saved(path: str) -> str:
    if Path(path).is_dir():
        runs = sorted(p.name for p in Path(path).glob("*.npz"))
        raise InputError(path, "a folder", "a saved run (.npz)",
                         f"such as {Path(path) / runs[0]}" if runs else "there is none in it")
    return path


def _figure_name(path: str) -> None:
    from matplotlib.figure import Figure

    known = sorted(Figure().canvas.get_supported_filetypes())
    if Path(path).suffix[1:].lower() not in known:
        raise InputError("--figure", repr(path),
                         f"a name that ends in {', '.join(f'.{ending}' for ending in known)}")


def _required(options: argparse.Namespace, bounds: tuple[float, float] | None) -> None:
    """No silent default for instrument, noise or K: list the choices and what the file suggests."""
    if options.model:
        _formulas_alone(options)
    if options.noise and (options.model or (options.instrument and options.K)):
        return
    from sampler.files import read_table, short_name

    table = read_table(options.file)
    hint = f"{short_name(options.file)} has the columns {', '.join(table.names)}"
    ix, iy = table.column(options.x, "x") or 0, table.column(options.y, "y") or 0
    x, y = table.columns[ix], table.columns[iy]
    if (ix, iy) != (0, 1):
        hint += f" (x = {table.names[ix]}, y = {table.names[iy]})"
    if not (options.instrument or options.model):
        hint += _suggested(x, y)
        raise InputError("--instrument", "nothing", f"one of {', '.join(INSTRUMENTS)}, or --model "
                         "with a formula", hint)
    if not options.noise:
        counts = bool((y >= 0).all() and (abs(y - y.round()) < 1e-3).all())
        if table.sigma is not None:
            hint += (f": {table.names[table.sigma]} may be standard deviations "
                     "(--noise column)")
        elif counts:
            hint += ": y are whole numbers >= 0, which may be counts (--noise poisson)"
        else:
            hint += ": nothing says how large the noise is (--noise unknown infers it)"
        raise InputError("--noise", "nothing", NOISES, hint)
    raise InputError("--K", "nothing", "numbers of components such as 0:4, 2 or 0,2,3", hint)


def _suggested(x: Any, y: Any) -> str:
    """Which instrument the curve looks like, as one clause; nothing if it looks like neither."""
    y = y[x.argsort(kind="stable")]
    few = max(1, len(y) // 10)
    first, last, spread = y[:few].mean(), y[-few:].mean(), y.max() - y.min()
    if not spread > 0.0:                    # flat, or not a number somewhere
        return ""
    if y.max() - max(first, last) > 0.4 * spread:
        return ": y has a hump between the ends, as a spectrum has (--instrument peaks)"
    if x.min() >= 0.0 and abs(first - last) > 0.6 * spread:
        way = "falls" if first > last else "rises"
        return (f": y {way} from end to end over x >= 0, as relaxation does "
                "(--instrument relaxation)")
    return ""


def _numbers_of_components(text: str | None) -> list[int]:
    if text is None:
        return []
    wrong = InputError("--K", repr(text), "whole numbers from 0 to 100, such as 0:4, 2 or 0,2,3")
    try:
        if ":" in text:
            lo, hi = (int(v) for v in text.split(":"))
            Ks = list(range(lo, hi + 1))
        else:
            Ks = [int(v) for v in text.split(",")]
    except ValueError:
        raise wrong from None
    if not Ks:
        raise InputError("--K", repr(text), "FIRST:LAST such as 0:4",
                         "the first is larger than the last")
    if min(Ks) < 0 or max(Ks) > 100:
        raise wrong
    if len(set(Ks)) != len(Ks):
        raise InputError("--K", repr(text), "each number once")
    return Ks


def _range(text: str, option: str) -> tuple[float, float]:
    try:
        lo, hi = (float(v) for v in text.split(":"))
    except ValueError:
        raise InputError(option, repr(text), "LO:HI, two numbers") from None
    if lo != lo or hi != hi:
        raise InputError(option, repr(text), "LO:HI, two numbers", "nan is none")
    if not lo < hi:
        raise InputError(option, repr(text), "LO:HI with LO < HI")
    return lo, hi


def _shapes(options: argparse.Namespace) -> list[str]:
    known = INSTRUMENTS[options.instrument]
    shapes = [known[0]] if options.shape is None else options.shape.split(",")
    for shape in shapes:
        if shape not in known:
            raise InputError("--shape", repr(shape),
                             f"one of {', '.join(known)} ({options.instrument})")
    if len(set(shapes)) != len(shapes):
        raise InputError("--shape", repr(options.shape), "each shape once")
    if options.direction and options.instrument != "relaxation":
        raise InputError("--direction", options.direction, "nothing for peaks")
    if options.background != "none" and options.instrument != "peaks":
        raise InputError("--background", options.background, "none: relaxation has its offset")
    return shapes


def _priors(texts: list[str], fixed: list[str]) -> dict[str, Any]:
    """What --prior and --fix say, by name."""
    from sampler.priors import as_prior, from_text

    changes: dict[str, Any] = {}
    for option, text in [*(("--prior", t) for t in texts), *(("--fix", t) for t in fixed)]:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise InputError(option, repr(text), *{
                "--prior": ('NAME=PRIOR', 'such as "peak_width=Uniform(0.1,2)"'),
                "--fix": ("NAME=VALUE", 'such as "peak1_center=284.8"')}[option])
        if name in changes:
            raise InputError(f"{option} {name}", "given twice", "each name once")
        if option == "--prior":
            changes[name] = from_text(value, f"--prior {name}")
            continue
        if name in ("sigma", "noise_factor"):
            raise InputError(f"--fix {name}", value, "a parameter of the curve",
                             "a known noise is said by --noise")
        try:
            changes[name] = as_prior(float(value), f"--fix {name}")
        except ValueError:
            raise InputError(f"--fix {name}", repr(value), "a number") from None
    return changes


def _ties(texts: list[str], changes: dict[str, Any]) -> dict[str, Any]:
    from sampler.instruments.ties import read_ties

    ties = read_ties(texts)
    twice = next((name for name in ties if name in changes), "")
    if twice:
        raise InputError(f"--tie {twice}", "given beside a prior or a value of it", "one of them")
    return ties


def _tied(models: dict[Any, Any], ties: dict[str, Any]) -> dict[Any, Any]:
    """Every model with the ties that concern it; a tie that concerns none is refused."""
    from sampler.instruments.ties import tied

    for name in ties:
        if not any(name in model.names for model in models.values()):
            known = dict.fromkeys(n for model in models.values() for n in model.names)
            raise InputError(f"--tie {name}", name, "a parameter of the models asked for: "
                             + ", ".join(known))
    return {label: tied(model, ties) for label, model in models.items()}


def _positive_where_needed(options: argparse.Namespace, changes: dict[str, Any]) -> None:
    said = {text.partition("=")[0].strip(): (option, text.partition("=")[2].strip())
            for option, texts in (("--prior", options.prior), ("--fix", options.fix))
            for text in texts}
    for name in changes:
        if POSITIVE.fullmatch(name) and not _positive(changes[name]):
            option, text = said[name]
            raise InputError(f"{option} {name}", text, *{
                "--prior": ("a prior on positive values",
                            "let it begin above 0, such as Uniform(0.1,2)"),
                "--fix": ("a value above 0", "")}[option])


def _positive(prior: Any) -> bool:
    """Is every value that the prior allows above 0?"""
    from sampler.priors import Beta, Fixed, Gamma, InverseGamma, support

    if isinstance(prior, Fixed):
        return prior.value > 0.0
    return isinstance(prior, Beta | Gamma | InverseGamma) or support(prior)[0] > 0.0


def _noise(text: str, changes: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The noise option, with a prior for its parameter if one was given."""
    noisy: dict[str, Any] = {n: changes.pop(n) for n in ("sigma", "noise_factor")
                             if n in changes}
    if text == "unknown":
        return (next(iter(noisy.values())) if noisy else "unknown"), noisy
    if noisy:
        raise InputError(f"--prior {next(iter(noisy))}", "given", "--noise unknown with it")
    if text in ("column", "poisson"):
        return text, {}
    try:
        value = float(text)
    except ValueError:
        raise InputError("--noise", repr(text), NOISES) from None
    return value, {}


def _tails(options: argparse.Namespace) -> float | None:
    from sampler.data import degrees_of_freedom

    if options.tails is None:
        return None
    return degrees_of_freedom(options.tails, "--tails", options.noise == "poisson")


def _check_run_options(options: argparse.Namespace) -> None:
    if options.sweeps is not None and options.sweeps < 1:
        raise InputError("--sweeps", str(options.sweeps), "a whole number of 1 or more")
    if options.until is not None and not 0.0 < options.until < float("inf"):
        raise InputError("--until", str(options.until), "a wanted error of F in nats, > 0")
    if options.out is not None and not options.out.strip():
        raise InputError("--out", repr(options.out), "the name of a folder")
    if not 0 <= options.seed < 2**63:
        raise InputError("--seed", str(options.seed), "a whole number from 0 to 2**63 - 1")


def _labels(shapes: list[str], Ks: list[int]) -> list[tuple[Any, str, int]]:
    """One label for each model; K = 0 is the same for all shapes and appears once."""
    if len(shapes) == 1:
        return [(K, shapes[0], K) for K in Ks]
    zero = [(0, shapes[0], 0)] if 0 in Ks else []
    return zero + [(f"{shape} K={K}", shape, K) for shape in shapes for K in Ks if K]


def _seeds(labels: Iterable[Any], shape: str, seed: int) -> dict[Any, int]:
    """The seed of each model: the first 63 bits of SHA-256 of ``SEED SHAPE K=K``, so that a model
    is the same run whichever others are asked for (K = 0 has no shape)."""
    out = {}
    for label in labels:
        name = label if isinstance(label, str) else f"{shape} K={label}" if label else "K=0"
        digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
        out[label] = int.from_bytes(digest[:8], "big") >> 1
    return out


def _model(options: argparse.Namespace, data: Any, shape: str, K: int,
           changes: dict[str, Any]) -> Any:
    from sampler.instruments import peaks, relaxation

    if options.instrument == "peaks":
        model = peaks.background(options.background, data) + peaks.peaks(
            K, shape, **peaks.default_priors(data, shape))
    else:
        first, last = data.y[data.x.argmin()], data.y[data.x.argmax()]
        direction = options.direction or ("decay" if first > last else "recovery")
        model = relaxation.relaxation(K, shape, direction,
                                      **relaxation.default_priors(data, shape))
    mine = {n: p for n, p in changes.items() if _concerns(model, n)}
    return model.with_priors(mine)


def _formulas_alone(options: argparse.Namespace) -> None:
    """A formula says by itself what an instrument would be asked."""
    for option, value in (("--instrument", options.instrument), ("--K", options.K),
                          ("--shape", options.shape), ("--direction", options.direction),
                          ("--background", options.background.replace("none", ""))):
        if value:
            raise InputError(option, value, "it without --model")


def _own_models(options: argparse.Namespace, data: Any, changes: dict[str, Any],
                ties: dict[str, Any]) -> dict[Any, Any]:
    """A tied parameter needs no prior: a number holds its place until it is tied."""
    from sampler.instruments.own_formula import formula_models

    words = {word for text in options.model for word in re.findall(r"\w+", text)}
    places = {name: 0.0 for name in ties if name in words}
    return dict(formula_models(options.model, changes | places, data))


def _own_seeds(models: dict[Any, Any], seed: int) -> dict[Any, int]:
    """By the formula, so that it is the same run whichever others stand beside it."""
    texts = {label: model.terms[0].formula.text() for label, model in models.items()}
    return {label: _seeds([text], "", seed)[text] for label, text in texts.items()}


def _known_priors(models: Iterable[Any], changes: dict[str, Any], noise: str,
                  options: argparse.Namespace) -> None:
    """Refuse a prior that none of the models has a use for."""
    models = list(models)
    fixed = {text.partition("=")[0].strip() for text in options.fix}
    for name in changes:
        if not any(_concerns(model, name) for model in models):
            known = dict.fromkeys(n for model in models for n in model.priors)
            numbered = any(c.isdigit() for c in name)
            shown = known if numbered else dict.fromkeys(
                re.sub(r"\d+_", "_", n, count=1) for n in known)
            raise InputError("--fix" if name in fixed else "--prior", name,
                             "a parameter of the models asked for: "
                             + ", ".join([*shown, *([noise] if noise else [])]))


def _concerns(model: Any, name: str) -> bool:
    """Does the model have this parameter (K = 0 has no components, one shape no mixing)?"""
    try:
        model.with_priors({name: 1.0})
    except InputError:
        return False
    return True


def _can_be_written(folder: Path) -> None:
    """Known before anything is counted, not after."""
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError("--out", str(folder), "a folder that can be written",
                         str(error.strerror)) from None


@contextmanager
def _folder(options: argparse.Namespace) -> Iterator[Path]:
    """A folder for this fit alone: results of two fits side by side would pass for one."""
    from sampler.checkpoint import claimed
    from sampler.files import default_stem

    folder = Path(f"{default_stem(options.file)}_fit" if options.out is None else options.out)
    _can_be_written(folder)
    with claimed(folder):
        _emptied(folder, options)
        yield folder


def _emptied(folder: Path, options: argparse.Namespace) -> None:
    try:
        earlier = sorted(p for p in folder.iterdir() if p.name != ".lock")
        foreign = next((p.name for p in earlier if p.is_dir() or not OURS.fullmatch(p.name)), "")
        if foreign:
            raise InputError("--out", f"{folder}, which holds {foreign}", "a new or empty folder")
        if earlier and not options.overwrite:
            raise InputError("--out", f"{folder}, which holds the results of another fit",
                             "a new or empty folder", "--overwrite removes those results first")
        for path in earlier:
            path.unlink()
    except OSError as error:
        raise InputError("--out", str(folder), "a folder that can be written",
                         str(error.strerror)) from None


# ---- writing ----------------------------------------------------------------------------------


class _Progress:
    """One line on stderr that says what runs and how long it will still take."""

    def __init__(self, title: str) -> None:
        self.title, self.begin, self.shown = title, time.monotonic(), 0.0
        self.interrupts = Interrupts()

    def __enter__(self) -> _Progress:
        self.interrupts.__enter__()
        return self

    def __call__(self, done: int, total: int, words: str) -> None:
        self.interrupts.check()
        now = time.monotonic()
        if now - self.shown < 0.5 or not sys.stderr.isatty():
            return
        self.shown = now
        left = (now - self.begin) * (total - done) / max(done, 1)
        say(f"\r{self.title}: {words}, {done} of {total} sweeps, about {left:.0f} s left   ",
             sys.stderr)

    def __exit__(self, *_: object) -> None:
        self.interrupts.__exit__()
        if self.shown:
            say("\r" + " " * 78 + "\r", sys.stderr)
        say(f"{self.title}: {time.monotonic() - self.begin:.1f} s\n", sys.stderr)


def _save(figure: Any, stem: Path) -> None:
    figure.savefig(f"{stem}.png", dpi=200, pil_kwargs={"compress_level": 3})
    figure.set_layout_engine("none")  # laid out already: the second file need not do it again
    figure.savefig(f"{stem}.pdf")


def _name(label: Any) -> str:
    return f"K={label}" if isinstance(label, int) else str(label)


def _file_name(label: Any) -> str:
    return _name(label).replace(" ", "_").replace("=", "")


if __name__ == "__main__":
    sys.exit(main())
