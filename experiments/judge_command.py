"""``bayesmeas judge``: one sampler on some cases, over seeds, as text, JSON and a page."""

from __future__ import annotations

import html
import json
import sys
import time
from pathlib import Path
from statistics import median

from experiments.guests import SAMPLERS, Scored, run
from theory import DomainError, judge_many
from theory.cases import Case, named, select
from theory.judging import Judgement, Verdict


def judge_sampler(sampler: str, words: str, seeds: int, json_file: str | None = None,
                  html_file: str | None = None) -> int:
    """Run, judge, print; returns 0 whatever is found.

    Parameters
    ----------
    sampler : str
        A key of `experiments.guests.SAMPLERS`.
    words : str
        Families or names of cases; see `theory.cases.select`.
    seeds : int
        Runs of each case, from seed 1 on; with one run there is a table and no verdict.
    json_file, html_file : str, optional
        Where to write the tables too.

    Raises
    ------
    DomainError
        For an unknown sampler or case, seeds below 1, or a file that cannot be written.
    MissingGuest
        If the sampler is not installed here.
    """
    if sampler not in SAMPLERS:
        raise DomainError("sampler", repr(sampler), f"one of {', '.join(SAMPLERS)}")
    if seeds < 1:
        raise DomainError("seeds", str(seeds), "a number of runs, 1 or more")
    names = select(words)
    for field, file in (("json", json_file), ("html", html_file)):
        _write(field, file, "")                 # before hours of work, not after
    records, tables = [], []
    for name in names:
        case = named(name)
        runs = [_run(sampler, case, seed, seeds) for seed in range(1, seeds + 1)]
        judged: Judgement | Verdict = (judge_many([one.verdict for one in runs]) if seeds > 1
                                       else runs[0].verdict)
        power = f"\n  {judged.power}" if isinstance(judged, Judgement) else ""
        print(f"{judged}{power}\n  {_cost(runs)}\n", flush=True)
        records.append({**json.loads(judged.to_json()), "seeds": seeds,
                        "seconds": [round(one.seconds, 3) for one in runs],
                        "evaluations": [one.evaluations for one in runs],
                        "trusted": [one.trusted for one in runs]})
        head = judged.verdict if isinstance(judged, Judgement) else f"{sampler} on {name}: one run"
        tables.append(f"<h2>{html.escape(head)}</h2><p>{html.escape(_cost(runs))}</p>"
                      f"{judged.to_html()}")
    date = time.strftime("%Y-%m-%d", time.gmtime())
    from sampler.report import json_text

    _write("json", json_file, json_text({"sampler": sampler, "date": date, "cases": records}))
    _write("html", html_file, "<!DOCTYPE html><html lang='en'><meta charset='utf-8'>"
           f"<title>{sampler} judged</title><h1>{sampler}, {seeds} seeds, {date}</h1>"
           + "".join(tables) + "</html>\n")
    return 0


def _run(sampler: str, case: Case, seed: int, seeds: int) -> Scored:
    if sys.stderr.isatty():
        print(f"\r{sampler}: seed {seed} of {seeds}  ", end="", file=sys.stderr, flush=True)
    scored = run(sampler, case, seed)
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    return scored


def _cost(runs: list[Scored]) -> str:
    doubted = sum(one.trusted is False for one in runs)
    return (f"{median(one.seconds for one in runs):.2g} CPU s and "
            f"{median(one.evaluations for one in runs):.2g} evaluations a run"
            + (f"; {doubted} of {len(runs)} runs not trusted by the sampler itself"
               if doubted else ""))


def _write(field: str, file: str | None, text: str) -> None:
    if file is None:
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DomainError(field, repr(file), "a file that can be written",
                          str(error.strerror)) from None
