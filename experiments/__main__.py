"""The console command ``bayesmeas``: fit one's own data, rerun the papers' figures.

``fit``, ``resume``, ``show`` and ``compare`` are `sampler.__main__`; the verbs below rerun the
experiments of this repository.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from experiments import EXPERIMENTS, STORED
from sampler.errors import InputError
from sampler.interrupts import Interrupts
from sampler.streams import closed_pipe, say

HANDED_ON = ("fit", "resume", "show", "compare", "--version")
WIRING_CHECK = "a wiring check, not a result: few sweeps, nothing is judged"


def build_parser() -> argparse.ArgumentParser:
    """The options of the verbs that live here."""
    from sampler.__main__ import Parser

    parser = Parser(
        prog="bayesmeas", description="Which model, with what certainty?",
        epilog="Every verb has its own help (bayesmeas fit --help); --version prints the version.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB",
                                  parser_class=Parser)
    for verb, text in (("fit", "fit a measured curve and choose the number of components"),
                       ("resume", "count more sweeps of a saved run"),
                       ("show", "print a saved run"),
                       ("compare", "compare saved runs of the same data")):
        verbs.add_parser(verb, help=text, add_help=False)
    verbs.add_parser("list", help="the experiments, a line each")
    judge = verbs.add_parser("judge", help="run a sampler on problems with exact answers")
    judge.add_argument("--sampler", default="ours", metavar="NAME",
                       help="ours, emcee, dynesty, ultranest, nautilus, pymc or blackjax "
                            "(default: %(default)s); one of your own is judged from Python: "
                            "help('theory.judging')")
    judge.add_argument("--cases", default="line", metavar="WORDS",
                       help="families or names, separated by commas, or all (default: %(default)s)")
    judge.add_argument("--seeds", type=int, default=20, metavar="N",
                       help="runs of each case, seeds 1 to N (default: %(default)s)")
    judge.add_argument("--json", metavar="FILE", help="also write the tables as JSON")
    judge.add_argument("--html", metavar="FILE", help="also write the tables as a page")
    for verb, text in (
            ("reproduce", "rerun experiments: figures, table of claims, comparison with the "
                          "tracked results"),
            ("run", "the same for one experiment")):
        run = verbs.add_parser(verb, help=text)
        run.add_argument("names", nargs="*" if verb == "reproduce" else 1, metavar="NAME",
                         help="experiments; see bayesmeas list")
        run.add_argument("--quick", action="store_true", help=WIRING_CHECK)
        run.add_argument("--out", default="build/reproduce", metavar="DIR",
                         help="folder for figures and tables (default: %(default)s)")
        run.add_argument("--write-results", action="store_true",
                         help="also rewrite the tracked results")
        run.set_defaults(campaigns=None)
    run.add_argument("--campaigns", metavar="A1,B1",
                     help="of reliability: these, and the others keep their verdicts")
    for verb, text in (("draw", "draw figures from the tracked results"),
                       ("check", "print the claims of the tracked results")):
        again = verbs.add_parser(verb, help=text)
        again.add_argument("names", nargs="*", metavar="NAME", help="default: all")
        again.add_argument("--out", default="build/figures", metavar="DIR",
                           help=argparse.SUPPRESS if verb == "check" else "folder for figures")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code (0, 1 a claim failed, 2 bad input, 70, 130,
    141 nobody reads the output)."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in HANDED_ON:
        from sampler.__main__ import main as fit

        return fit(arguments)
    try:
        code = _run(build_parser().parse_args(arguments))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return closed_pipe()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (_Refused, InputError) as error:
        print(f"bayesmeas: {error}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        print("bayesmeas: internal error; please report it with the lines above", file=sys.stderr)
        return 70


class _Refused(Exception):
    """Bad input, in one sentence."""


def _run(options: argparse.Namespace) -> int:
    if options.verb == "judge":
        return _judge(options)
    if options.verb == "list":
        for name in EXPERIMENTS + STORED:
            module = import_module(f"experiments.{name}")
            print(f"{name:<28} {(module.__doc__ or '').splitlines()[0]}  "
                  f"(about {module.SECONDS:.0f} s)")
        return 0
    here = EXPERIMENTS if options.verb == "reproduce" else EXPERIMENTS + STORED
    unknown = [name for name in options.names if name not in here]
    if unknown:
        raise _Refused(f"NAME: received {unknown[0]!r}, expected one of {', '.join(here)}.")
    names = tuple(options.names) or _with_result(here, options.verb)
    if options.verb in ("reproduce", "run"):
        if options.quick and options.write_results:
            raise _Refused("--write-results: received with --quick, expected a full run.")
        return _with_guests(names, options, _some_campaigns(names, options))
    folder = _folder(options.out) if options.verb == "draw" else Path(options.out)
    return _tracked(names, options.verb, folder)


def _with_result(names: tuple[str, ...], verb: str) -> tuple[str, ...]:
    """Without campaigns that were never run, where it is their tracked results that are wanted."""
    from experiments.paths import RESULTS

    return tuple(name for name in names if verb == "reproduce" or name not in STORED
                 or (RESULTS / f"{name}.json").exists())


def _some_campaigns(names: tuple[str, ...], options: argparse.Namespace) -> dict[str, Any]:
    """Settings of reliability where only some of its campaigns are asked for."""
    if options.campaigns is None:
        return {}
    if names != ("reliability",) or options.quick:
        raise _Refused(f"--campaigns: received with {'--quick' if options.quick else names[0]}, "
                       "expected with a full run of reliability.")
    from experiments.reliability import Settings, every_campaign

    asked, every = tuple(options.campaigns.split(",")), every_campaign()
    for name in asked:
        if name not in every:
            raise _Refused(f"--campaigns: received {name!r}, expected names of {', '.join(every)}.")
    return {"reliability": Settings(asked)}


def _with_guests(names: tuple[str, ...], options: argparse.Namespace,
                 settings: Mapping[str, Any]) -> int:
    from experiments.guests import MissingGuest

    try:
        code = reproduce(names, _folder(options.out), options.quick, options.write_results,
                         settings)
    except MissingGuest as error:
        raise _Refused(f"{names[0]}: {error}") from None
    if options.verb == "reproduce" and not options.names:
        for name in STORED:
            target = {"guest_samplers": "peers"}.get(name, name)
            print(f"{name} (not recomputed; make {target} does): {_stored(name)}")
    return code


def _stored(name: str) -> str:
    """The verdict of a tracked result, with its date."""
    from experiments.results import load

    try:
        result = load(name)
    except FileNotFoundError:
        return "no tracked result"
    claims = import_module(f"experiments.{name}").check(result)
    wrong = [claim.claim for claim in claims if claim.holds is False]
    judged = sum(claim.holds is not None for claim in claims)
    return (f"{judged - len(wrong)} of {judged} claims hold, run on {result.date}"
            + "".join(f"\n  FAILS: {claim}" for claim in wrong))


def _judge(options: argparse.Namespace) -> int:
    """Refuse what cannot be judged, in one sentence; the rest is `experiments.judge_command`."""
    from experiments.guests import MissingGuest
    from experiments.judge_command import judge_sampler
    from theory import DomainError

    try:
        return judge_sampler(options.sampler, options.cases, options.seeds, options.json,
                             options.html)
    except MissingGuest as error:
        raise _Refused(f"--sampler: {error}.") from None
    except DomainError as error:
        raise _Refused(f"--{error}") from None


def _folder(text: str) -> Path:
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _Refused(f"--out: received {text!r}, expected a folder that can be written; "
                       f"{error.strerror}.") from None
    return folder


# ---- rerunning ----------------------------------------------------------------------------------


def reproduce(names: tuple[str, ...], folder: Path, quick: bool = False, write: bool = False,
              settings: Mapping[str, Any] = MappingProxyType({})) -> int:
    """Compute, draw, check and compare every experiment named; 1 if a claim fails.  Settings are
    the experiments' own where none are given."""
    from experiments.claims import plain
    from experiments.results import load, save

    modules = {name: import_module(f"experiments.{name}") for name in names}
    if quick:
        say(f"QUICK: {WIRING_CHECK}.\n\n")
    begin, table, seconds = time.monotonic(), {}, {}
    with _Progress({name: 5.0 if quick else m.SECONDS for name, m in modules.items()}) as progress:
        for name, module in modules.items():
            result = progress.timed(name, module, settings.get(
                name, module.QUICK if quick else module.SETTINGS))
            seconds[name] = progress.last
            save(name, result, folder)
            result = load(name, folder)         # what is judged and drawn is what is stored
            _save_figures(module.draw(result), folder)
            table[name] = module.check(result)
            say(f"== {name} ({progress.last:.0f} s) ==\n{plain(table[name], not quick)}\n"
                + ("" if quick else _comparison(name, table[name]) + "\n") + "\n")
            failed = any(c.holds is False for c in table[name])
            if write and (not failed or getattr(module, "WRITES_FAILURES", False)):
                save(name, result)
    _write_tables(table, folder, quick, seconds)
    return _verdict(table, folder, quick, time.monotonic() - begin)


def _verdict(table: dict[str, list[Any]], folder: Path, quick: bool, seconds: float) -> int:
    claims = [claim for rows in table.values() for claim in rows]
    failed = [claim for claim in claims if claim.holds is False]
    print(f"{len(table)} experiments in {seconds:.0f} s; figures, table.md and table.json are in "
          f"{folder}/")
    if quick:
        print(f"{len(claims)} claims not judged: this was {WIRING_CHECK}.")
        return 0
    judged = sum(claim.holds is not None for claim in claims)
    print(f"{judged - len(failed)} of {judged} claims hold"
          + "".join(f"\n  FAILS: {claim.claim}" for claim in failed))
    return 1 if failed else 0


def _comparison(name: str, claims: list[Any]) -> str:
    """How the numbers differ from the tracked ones: beyond 4 joint errors, or in verdict."""
    from experiments.results import load

    try:
        tracked = {c.claim: c for c in import_module(f"experiments.{name}").check(load(name))}
    except FileNotFoundError:
        return "tracked results: none yet"
    except TypeError:       # fields that the Result has now and the file has not, or the reverse
        return "tracked results: of another layout, not compared"
    same, apart = True, []
    for claim in claims:
        old = tracked.get(claim.claim)
        if old is None:
            apart.append(f"{claim.claim}: not in the tracked results")
            continue
        alike = (claim.ours == old.ours if isinstance(claim.ours, str) or isinstance(old.ours, str)
                 else abs(claim.ours - old.ours) <= 1e-6 * max(1.0, abs(old.ours)))
        same = same and alike
        joint = (claim.error**2 + old.error**2) ** 0.5
        far = not alike and (isinstance(claim.ours, str) or isinstance(old.ours, str)
                             or (joint > 0 and abs(claim.ours - old.ours) > 4 * joint))
        if far or claim.verdict != old.verdict:
            apart.append(f"{claim.claim}: {claim.row()[2]} here, {old.row()[2]} tracked")
    if apart:
        return "tracked results differ:\n  " + "\n  ".join(apart)
    return "tracked results: " + ("the same numbers" if same else "agree within 4 joint errors")


def _write_tables(table: dict[str, list[Any]], folder: Path, quick: bool,
                  seconds: dict[str, float]) -> None:
    from experiments.claims import WIRING, markdown
    from sampler.report import json_text

    head = f"**{WIRING_CHECK}**\n\n" if quick else ""
    text = "\n\n".join(f"## {name}\n\n{markdown(rows, not quick)}" for name, rows in table.items())
    (folder / "table.md").write_text(f"{head}{text}\n", encoding="utf-8")
    record = {"quick": quick, "seconds": {n: round(s, 1) for n, s in seconds.items()}, "claims": [
        {"experiment": name, "claim": c.claim, "compared_with": c.reference[0],
         "reference": c.reference[1], "ours": c.ours, "error": c.error,
         "verdict": WIRING if quick else c.verdict, "note": c.note}
        for name, rows in table.items() for c in rows]}
    (folder / "table.json").write_text(json_text(record), encoding="utf-8")


def _save_figures(figures: dict[str, Any], folder: Path) -> None:
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=200)
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})


def _tracked(names: tuple[str, ...], verb: str, folder: Path) -> int:
    """Draw or check the tracked results."""
    from experiments.claims import plain
    from experiments.results import load

    failed = False
    for name in names:
        module = import_module(f"experiments.{name}")
        try:
            result = load(name)
        except FileNotFoundError:
            raise _Refused(f"{name}: received no tracked result, expected "
                           f"experiments/results/{name}.json; make results writes it.") from None
        if verb == "draw":
            figures = module.draw(result)
            _save_figures(figures, folder)
            say("".join(f"{folder / stem}.png, .pdf\n" for stem in figures))
        else:
            claims = module.check(result)
            failed = failed or any(c.holds is False for c in claims)
            print(f"== {name} ==\n{plain(claims)}\n")
    if verb == "draw":
        print(f"figures are in {folder}/")      # last: whoever went away has all of them
    return int(failed)


class _Progress:
    """What runs, and how long all of it will still take, from the time spent so far.

    Ctrl-C makes `sampler.sample` return what it has; here the rest is not wanted either, so the
    next report of progress stops the experiment too.
    """

    def __init__(self, expected: dict[str, float]) -> None:
        self.expected, self.done = expected, 0.0
        self.begin, self.shown, self.last = time.monotonic(), time.monotonic(), 0.0
        self.name, self.started, self.unit = "", 0.0, "sweeps"
        self.interrupts = Interrupts()

    def __enter__(self) -> _Progress:
        self.interrupts.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.interrupts.__exit__()

    def timed(self, name: str, module: Any, settings: Any) -> Any:
        """Compute one experiment."""
        self.name, self.started = name, time.monotonic()
        self.unit = getattr(module, "UNIT", "sweeps")
        say(f"{name}: {self._left()}\n", sys.stderr)
        result = module.compute(settings, progress=self)
        self.interrupts.check()
        self.last = time.monotonic() - self.started
        self.done += self.expected[name]
        if sys.stderr.isatty():
            say("\r" + " " * 100 + "\r", sys.stderr)
        return result

    def __call__(self, done: int, total: int, words: str) -> None:
        self.interrupts.check()
        now = time.monotonic()
        live = sys.stderr.isatty()
        if now - self.shown < (0.5 if live else 30.0):
            return
        self.shown = now
        line = f"{self.name}, {words}: {done} of {total} {self.unit}; {self._left()}"
        say(f"\r{line[:100]:<100}" if live else f"{line}\n", sys.stderr)

    def _left(self) -> str:
        """Expected seconds of what is left, times how this machine compared so far: counted as
        equal for the first minute, in which much is compiling."""
        everything = sum(self.expected.values())
        spent = time.monotonic() - self.begin
        within = min(time.monotonic() - self.started, 0.95 * self.expected[self.name])
        pace = (spent + 60.0) / (self.done + within + 60.0)
        left = max(everything - self.done - within, 0.0) * pace
        return f"about {left:.0f} s left in all" if left < 100 else (
            f"about {left / 60:.0f} min left in all")


if __name__ == "__main__":
    sys.exit(main())
