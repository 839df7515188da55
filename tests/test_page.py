"""The page of a fit: whole, self-contained, escaped, and of the same numbers as the JSON."""

import base64
import csv
import dataclasses
import io
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statistics_helpers import conjugate_run

from sampler import Choice, Data, Model, Posterior, Run, choose, joint, metropolis, sample, shapes
from sampler.__main__ import main
from sampler.page import _robust, _trust, number, page, tag, with_error, write_page
from sampler.priors import Normal
from sampler.report import fit_curves, json_text, sorted_draws
from sampler.svg import Axis, Panel, figure
from sampler.tables import record, write_fit, write_tables

EVIL = "<script>alert(1)</script>\"'&"
X = np.linspace(0.0, 6.0, 60)
Y = np.exp(-((X - 2.0) ** 2) / 0.5) + 0.6 * np.exp(-((X - 4.0) ** 2) / 0.3) + 0.02 * np.cos(40 * X)
VOID = {"meta", "br", "hr", "img", "link", "input"}


def spectrum(K: int, **changes: Any) -> Posterior:
    data = Data(X, Y, noise="unknown", x_label=f"E {EVIL}", y_label=f"I {EVIL}",
                name=f"a{EVIL}.csv", notes=(f"recognised {EVIL}",))
    return Posterior(Model.repeated(K, shapes.gaussian, height=(0, 2), center=(0, 6),
                                    width=(0.3, 3)), dataclasses.replace(data, **changes))


@pytest.fixture(scope="module")
def runs() -> dict[Any, Run]:
    return {K: sample(spectrum(K), 800, burn_in=800, seed=K) for K in (0, 1, 2)}


@pytest.fixture(scope="module")
def choice(runs: dict[Any, Run]) -> Choice:
    return choose(runs)


@pytest.fixture(scope="module")
def numbers(choice: Choice, runs: dict[Any, Run]) -> dict[str, Any]:
    return record(choice, runs, asked=[0, 1, 2, 3], command=f"bayesmeas fit {EVIL}")


@pytest.fixture(scope="module")
def text(numbers: dict[str, Any], choice: Choice, runs: dict[Any, Run]) -> str:
    return page(numbers, choice, runs)


class Reader(HTMLParser):
    """Elements that are closed in order, the numbers in ``data``, and all visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.kinds: set[str] = set()
        self.addresses: list[str] = []
        self.numbers: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.value = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, kind: str, attributes: list[tuple[str, str | None]]) -> None:
        self.kinds.add(kind)
        for key, value in attributes:
            assert not key.startswith("on")
            if key in ("src", "href", "action", "data", "srcset", "poster", "xlink:href"):
                self.addresses.append(str(value))
            if kind == "data" and key == "value":
                self.value = str(value)
        if kind not in VOID:
            self.open.append(kind)

    def handle_startendtag(self, kind: str, attributes: list[tuple[str, str | None]]) -> None:
        self.kinds.add(kind)

    def handle_endtag(self, kind: str) -> None:
        assert self.open.pop() == kind

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "data":
            self.numbers.append((self.value, data))
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def leaves(record: Any) -> set[float]:
    if isinstance(record, dict):
        return set().union(*map(leaves, record.values()))
    if isinstance(record, list | tuple):
        return set().union(*map(leaves, record))
    return {float(record)} if isinstance(record, int | float) else set()


def test_the_page_is_one_file_that_asks_for_nothing(text: str) -> None:
    reader = Reader(text)
    assert not reader.kinds & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert all(address.startswith("data:application/json;base64,") for address in reader.addresses)
    assert "default-src 'none'" in text
    style = re.search("<style>(.*)</style>", text, re.DOTALL)
    assert style and not re.search(r"@import|url\(|@font-face", style.group(1))
    assert "://" not in re.sub("base64,[A-Za-z0-9+/=]*", "", text)


def test_every_text_of_a_user_is_escaped(text: str) -> None:
    """File name, column labels, notes and command hold a script; so may a model's label."""
    assert "<script" not in text
    assert "alert(1)" in text
    words = "".join(Reader(text).words)
    for whole in (f"a{EVIL}.csv", f"E {EVIL}", f"recognised {EVIL}", f"fit {EVIL}"):
        assert whole in words
    for drawing in re.findall(r"<svg class=.*?</svg></figure>|<svg class=.*?</svg>", text):
        assert "<script" not in drawing


def test_a_parameter_or_model_with_markup_in_its_name_is_escaped(runs: dict[Any, Run]) -> None:
    """Names of parameters are refused at the border; the page does not rely on it."""
    posterior = spectrum(1)
    names = (EVIL, *posterior.names[1:])
    object.__setattr__(posterior, "names", names)
    object.__setattr__(posterior, "priors", dict(zip(names, posterior.priors.values(),
                                                     strict=True)))
    run = dataclasses.replace(runs[1], posterior=posterior)
    real = record(choose({EVIL: runs[1]}), {EVIL: runs[1]})
    for row in real["parameters"][EVIL]:
        row["name"] = EVIL
    from sampler.page import _marginals, _pairs, _parameters

    made = [page(real, choose({EVIL: runs[1]}), {EVIL: runs[1]}), _marginals(run),
            *_pairs(run, np.eye(len(names)).tolist()), _parameters(real["parameters"][EVIL])]
    assert not [part for part in made if "<script" in part]
    assert all("alert(1)" in part for part in made)


def test_what_is_not_escaped_is_seen() -> None:
    """The broken twin of the two tests above."""
    from sampler.page import Markup

    assert "<script" in tag("p", Markup(EVIL))
    assert "<script" not in tag("p", EVIL) + tag("p", id=EVIL) + tag("p", tag("b", EVIL))


def test_the_pictures_are_well_formed(text: str) -> None:
    drawings = re.findall(r'<svg class="plot".*?</svg>(?=</figure>|</div>|<figcaption|<svg class)',
                          text, re.DOTALL)
    assert len(drawings) >= 4
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("aria-label")
        assert "nan" not in drawing and "inf" not in drawing.lower().replace("information", "")


def test_the_numbers_are_those_of_the_json(text: str, numbers: dict[str, Any]) -> None:
    """Each number of the page is a number of the JSON, bit for bit, and what is printed is that
    number rounded; and F, p, means and intervals of what is not excluded are all there."""
    known = leaves(json.loads(json_text(numbers)))
    shown = Reader(text).numbers
    assert len(shown) > 50
    for value, words in shown:
        assert float(value) in known
        printed = words.replace("\N{MINUS SIGN}", "-")
        mantissa, _, exponent = printed.partition("e")
        last = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        assert abs(float(printed) - float(value)) <= 0.5000001 * last
    there = {float(value) for value, _ in shown}
    for row in numbers["models"]:
        assert {row["F"], row["F_error"], row["probability"]} <= there
    for model in numbers["not_excluded"]:
        for row in numbers["parameters"][model]:
            assert {row[k] for k in ("mean", "sd", "low68", "high68", "low95", "high95")} <= there


def test_the_page_carries_its_json(text: str, numbers: dict[str, Any]) -> None:
    (link,) = Reader(text).addresses
    assert base64.b64decode(link.partition(",")[2]).decode() == json_text(numbers)


def test_the_record_is_that_of_the_choice_and_the_draws(
        numbers: dict[str, Any], choice: Choice, runs: dict[Any, Run]) -> None:
    assert numbers["verdict"] == choice.verdict.splitlines()
    for row, made in zip(numbers["models"], choice.rows, strict=True):
        assert (row["F"], row["F_error"]) == (made.free_energy.value, made.free_energy.error)
        assert row["fit"]["chi_square"] == made.fit.chi_square
    draws = sorted_draws(runs[2])[0].reshape(-1, 7)
    assert np.array(numbers["runs"]["K=2"]["correlation"]) == pytest.approx(
        np.corrcoef(draws.T), abs=1e-10)


def test_the_page_says_what_an_expert_asks_for(text: str, choice: Choice) -> None:
    words = " ".join("".join(Reader(text).words).split())
    for part in (choice.verdict.splitlines()[-1], "not run, and so not compared, are K=3",
                 "Nothing in the residuals speaks against it", "Can this run be trusted?",
                 "uniform from 0 to 2", "Other prior widths", "How to cite", "numpy",
                 "full width at half maximum", "in every draw: peak by center"):
        assert part in words


def test_a_misfit_is_said_first() -> None:
    flat = {0: sample(spectrum(0, noise=0.05, name="d"), 300, burn_in=300)}
    choice = choose(flat)
    text = page(record(choice, flat), choice, flat)
    words = "".join(Reader(text).words)
    assert "None of these models describes the data" in words
    assert "no free parameters; its F is exact" in words
    assert words.index("None of these models") < words.index("favoured")


def test_chains_that_do_not_agree_are_not_said_to(numbers: dict[str, Any]) -> None:
    row = next(r for r in numbers["models"] if r["model"] == "K=2")
    run = numbers["runs"]["K=2"]
    apart = run | {"diagnosis": run["diagnosis"] | {"rhat": 1.719}}
    words = "".join(_trust(numbers | {"runs": {"K=2": apart}}, row))
    assert "1.719" in words and "chains agree (" not in words and "above 1.01 too much" in words


def test_what_another_width_brings_back_is_said() -> None:
    """Excluded with p = 0.036, not with 0.07: the favoured model alone does not tell."""
    def answer(p: float) -> str:
        row = {"prior": "rate", "width": 2.0, "favoured": "K=1", "refit": {},
               "probability": {"K=1": 1.0 - p, "K=2": p}}
        return _robust({"sensitivity": [row], "best": "K=1", "not_excluded": ["K=1"],
                        "rules": {"within": 1.0, "excluded": 0.05}})

    assert "no longer excluded would be K=2 (prior of rate at double width)" in answer(0.07)
    assert "no longer excluded" not in answer(0.036)


def test_an_interrupted_run_is_marked(runs: dict[Any, Run]) -> None:
    cut = {1: dataclasses.replace(runs[1], stopped="interrupted")}
    choice = choose(cut)
    assert "K=1 has fewer sweeps than were asked for" in page(record(choice, cut), choice, cut)


def test_a_joint_posterior_shows_every_data_set() -> None:
    line = Model.single(shapes.linear, offset=(-1, 2), slope=(-2, 2))
    both = joint(*(Posterior(line, Data([0.0, 1.0, 2.0], [0.1, 1.1, 2.0], noise=0.2, name=name))
                   for name in ("first set", "second set")))
    made = {"line": sample(both, 300, burn_in=300)}
    choice = choose(made)
    text = page(record(choice, made), choice, made)
    assert text.count("with residuals") == 2
    assert "first set" in text and "second set" in text


def test_a_file_is_whole_or_not_there(tmp_path: Path, numbers: dict[str, Any], choice: Choice,
                                      runs: dict[Any, Run], monkeypatch: pytest.MonkeyPatch
                                      ) -> None:
    path = write_page(numbers, choice, runs, tmp_path / "report.html")
    before = path.read_text(encoding="utf-8")
    assert before.endswith("</html>\n")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sampler.page.os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_page(numbers, choice, runs, path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == before


def test_the_tables_are_those_of_the_record(tmp_path: Path, numbers: dict[str, Any],
                                            runs: dict[Any, Run]) -> None:
    write_tables(numbers, tmp_path)
    write_fit(runs[2], tmp_path / "fit_K2")
    parameters, models, fit = (
        list(csv.DictReader(io.StringIO((tmp_path / name).read_text(encoding="utf-8"))))
        for name in ("table.csv", "models.csv", "fit_K2.csv"))
    wanted = [(m, row) for m, rows in numbers["parameters"].items()
              for row in (*rows, *numbers["derived"][m])]
    assert "peak2_area" in {row["name"] for _, row in wanted}
    assert [(row["model"], row["parameter"]) for row in parameters] == [
        (m, row["name"]) for m, row in wanted]
    for row, (_, made) in zip(parameters, wanted, strict=True):
        assert float(row["mean"]) == pytest.approx(made["mean"], rel=1e-11)
    for row, made in zip(models, numbers["models"], strict=True):
        assert float(row["F"]) == pytest.approx(made["F"], rel=1e-11)
        assert row["trusted"] == str(made["trusted"])
    curves = fit_curves(runs[2])
    assert [float(row["fit"]) for row in fit] == pytest.approx(curves.at_data, rel=1e-11)
    summed = [float(row["peak1"]) + float(row["peak2"]) for row in fit]
    assert summed == pytest.approx(curves.at_data, rel=1e-9)
    assert [float(row[f"E {EVIL}"]) for row in fit] == pytest.approx(X, rel=1e-11)


def test_numbers_are_printed_with_their_error() -> None:
    assert with_error(-12.3456, 0.0234) == (
        '<span class="number"><data value="-12.3456">\N{MINUS SIGN}12.346</data> '
        '\N{PLUS-MINUS SIGN} <data value="0.0234">0.023</data></span>')
    assert "&infin;" in with_error(math.inf, 0.0)
    assert with_error(math.log(2.0), 1e-6) == (
        f'<span class="number"><data value="{math.log(2.0)!r}">0.69</data></span>')
    assert "0.00001" in with_error(math.log(2.0), 1e-5)
    assert number(math.nan) == "&ndash;"
    assert number(1.5e-12) == '<data value="1.5e-12">1.5e-12</data>'


def test_ticks_are_round_and_inside() -> None:
    generator = np.random.default_rng(11)
    for _ in range(300):
        size, middle = 10.0 ** generator.uniform(-9, 9), generator.normal()
        low = size * middle
        high = low + size * 10.0 ** generator.uniform(-4, 1)
        ticks = Axis(low, high).ticks(4)
        assert 1 <= len(ticks) <= 6
        air = 1e-6 * (high - low)
        for place, text in ticks:
            assert low - air <= place <= high + air
            assert float(text) == pytest.approx(place, abs=0.01 * (high - low))
        assert len({text for _, text in ticks}) == len(ticks)
    assert [text for _, text in Axis(1e-6, 1.0, log=True).ticks(3)] == ["1e-6", "0.001", "1"]


def test_what_is_drawn_is_where_it_belongs() -> None:
    """A line from corner to corner; a gap where a value is missing; nothing beyond the horizon."""
    panel = Panel(10, 20, 100, 50, Axis(0, 10), Axis(-1, 1))
    panel.line([0, 5, 10], [-1, 0, 1], "c0")
    assert panel.parts[-1] == '<path class="line c0" d="M0.0 50.0L50.0 25.0L100.0 0.0"/>'
    panel.line([0, 5, 10], [-1, math.nan, 1], "c0")
    assert panel.parts[-1] == '<path class="line c0" d="M0.0 50.0M100.0 0.0"/>'
    panel.bars([5], [0.0], [1.0], "c0", width=10)
    assert 'x="45.0" y="0.0" width="10.0" height="25.0"' in panel.parts[-1]
    panel.line([0, 1], [0, 1e300], "c0")
    assert "1e" not in panel.parts[-1]
    ElementTree.fromstring(figure([panel], 120, 90, "a <test>"))


def test_a_saved_run_has_a_report_of_its_own(tmp_path: Path, runs: dict[Any, Run],
                                             capsys: pytest.CaptureFixture[str]) -> None:
    from sampler import save_run

    save_run(runs[1], tmp_path / "K1.npz")
    out = tmp_path / "one.html"
    assert main(["show", str(tmp_path / "K1.npz"), "--report", str(out)]) in (0, 1)
    assert "K1 favoured: the only model given" in "".join(Reader(out.read_text("utf-8")).words)
    for wrong, words in (("x.txt", "a name that ends in .html"),
                         (str(tmp_path / "K1.npz/x.html"), "a file that can be written")):
        capsys.readouterr()
        assert main(["show", str(tmp_path / "K1.npz"), "--report", wrong]) == 2
        assert words in capsys.readouterr().err
    save_run(metropolis(runs[1].posterior, 100, burn_in=100), tmp_path / "one.npz")
    assert main(["show", str(tmp_path / "one.npz"), "--report", str(out)]) == 2
    assert "a run with a ladder" in capsys.readouterr().err


def test_no_figure_library_is_loaded_for_a_page() -> None:
    import subprocess
    import sys

    code = ("import sys; import sampler.page, sampler.tables; "
            "print([m for m in ('matplotlib', 'numba', 'scipy.stats') if m in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           cwd=Path(__file__).resolve().parent.parent)
    assert found.stdout.strip() == "[]"


@pytest.mark.long
def test_a_model_of_many_parameters_shows_its_first_pairs() -> None:
    names = [f"c{k}" for k in range(16)]
    prior = {f"c{k}": Normal(0, 1) for k in range(16)}
    model = Model.single(shapes.polynomial(15), **prior)
    x = np.linspace(-1, 1, 20)
    run = conjugate_run(Posterior(model, Data(x, x, noise=0.1)), np.array([0.0, 0.1, 1.0]), 100, 1)
    assert list(run.posterior.names) == names
    text = page(record(choose({"p": run}), {"p": run}), choose({"p": run}), {"p": run})
    assert "The first 14 of 16 parameters" in text
