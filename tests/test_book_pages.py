"""What the pages of the book promise and their build cannot see.

The build runs every cell, solutions included; a solution that asserts nothing would pass.  A term
without its Japanese, a public name without its place in the reference, a first command that leaves
no report: none of these stops a build.
"""

import doctest
import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

import sampler
import theory

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(BOOK.glob("*.md"))}
EXERCISE = re.compile(r"^\*\*(\d+)\.\*\* ", re.MULTILINE)
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TERM = re.compile(r"^(\S.*)\n\{ja\}`(.+)`\n  (.+)$", re.MULTILINE)
WITH_EXERCISES = sorted(name for name, text in PAGES.items() if "\n## Exercises\n" in text)


def exercises(text: str) -> list[str]:
    """The exercises of a page, each with its solution."""
    section = text.split("\n## Exercises\n")[1].split("\n## ")[0]
    starts = [found.start() for found in EXERCISE.finditer(section)]
    return [section[a:b] for a, b in zip(starts, [*starts[1:], len(section)], strict=True)]


def faults(text: str) -> list[str]:
    """What is wrong with the exercises of a page."""
    given, wrong = exercises(text), []
    numbers = [int(EXERCISE.findall(one)[0]) for one in given]
    if numbers != list(range(1, len(given) + 1)) or not 3 <= len(given) <= 6:
        wrong.append(f"exercises {numbers}")
    for number, one in zip(numbers, given, strict=True):
        cells = CELL.findall(one)
        if not cells or not all(cell.startswith(":tags: [hide-cell]\n") for cell in cells):
            wrong.append(f"{number}: no folded solution")
        elif not re.search(r"^ *assert ", cells[-1], re.MULTILINE):
            wrong.append(f"{number}: its solution asserts nothing")
    return wrong


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_every_exercise_has_a_solution_that_asserts(name: str) -> None:
    assert faults(PAGES[name]) == []


def test_the_chapters_have_exercises() -> None:
    assert {"straight_line", "choosing", "laws", "how_many_peaks", "noise_and_peaks", "relaxation",
            "integration_of_measurements", "judging"} <= set(WITH_EXERCISES)


@pytest.mark.parametrize(("broken", "said"), [
    ("assert ", "print "), (":tags: [hide-cell]", ":tags: [hide-input]"), ("**3.**", "**5.**")])
def test_a_broken_exercise_is_seen(broken: str, said: str) -> None:
    before, section = PAGES["straight_line"].split("\n## Exercises\n")
    assert faults(before + "\n## Exercises\n" + section.replace(broken, said, 1)) != []


def test_the_glossary_has_both_languages_and_points_to_pages() -> None:
    entries = TERM.findall(PAGES["glossary"])
    assert len(entries) >= 60
    assert len(entries) == PAGES["glossary"].count("{ja}`")
    english = [term for term, _, _ in entries]
    assert len(set(english)) == len(english) == len({japanese for _, japanese, _ in entries})
    for term, japanese, sentence in entries:
        assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", japanese), term
        targets = re.findall(r"\]\((\w+)\)", sentence)
        assert targets and all(target in PAGES for target in targets), term
    wanted = {"自由エネルギー", "交換モンテカルロ法", "ベイズ計測", "事後分布"}
    assert all(any(word in japanese for _, japanese, _ in entries) for word in wanted)


def test_every_public_name_has_its_place_in_the_reference() -> None:
    text = "".join(text for name, text in PAGES.items() if name.startswith("api_"))
    documented = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)$", text, re.MULTILINE))
    modules = {name for name in documented if re.search(rf"automodule:: {name}$", text, re.M)}
    for name in sampler.__all__:
        assert f"sampler.{name}" in documented or any(
            module.startswith(f"sampler.{name}") for module in modules), name
    for name in theory.__all__:
        assert f"theory.{name}" in modules or getattr(
            theory, name).__module__ in modules, name


def docstrings() -> ModuleType:
    path = BOOK / "_extensions" / "docstrings.py"
    spec = importlib.util.spec_from_file_location("docstrings", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_fields_of_a_result_reach_the_reference() -> None:
    from sampler.diagnostics import Diagnosis

    module, lines = docstrings(), ["The verdict."]
    assert doctest.testmod(module).failed == 0
    module.before(None, "class", "", Diagnosis, None, lines)
    at = lines.index("rhat : float")
    assert lines[at + 1].startswith("    largest, over U")


@pytest.mark.long
def test_the_first_command_of_your_own_data_leaves_a_report(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sampler.__main__ import main

    (command,) = re.findall(r"^\.venv/bin/bayesmeas ((?:.*\\\n)*.*)$", PAGES["your_own_data"], re.M)
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command.replace("\\\n", " "))) == 0
    assert "<svg" in (tmp_path / "first_fit" / "report.html").read_text(encoding="utf-8")
