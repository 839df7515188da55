"""The README's own lines run, and say what it says they say."""

import re
import shlex
from pathlib import Path

import pytest

from experiments.__main__ import HANDED_ON
from experiments.__main__ import build_parser as experiments_parser
from sampler.__main__ import build_parser as fit_parser

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.long
def test_the_ten_lines_run_and_draw_the_figure(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    promised = re.search(r"print\(choice\) +# (.*)", code)
    assert promised
    assert promised.group(1) in capsys.readouterr().out
    assert (tmp_path / "fit.png").stat().st_size > 10_000


def test_the_judge_finds_the_lost_mode(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (block for block in blocks("py") if "judge" in block)
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if "weight of right" in line)
    assert float(line.split(" z ")[1]) < -4
    assert "not given by this sampler" in out


def test_the_lines_from_lmfit_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The centre of five points near 5, as any reader of the numbers would put it."""
    (code,) = (block for block in blocks("py") if "lmfit" in block)
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "line_amplitude: uniform from 0 to 10\n" in out
    row = next(line.split() for line in out.splitlines() if line.startswith("line_center "))
    assert float(row[1]) == pytest.approx(5.0, abs=0.2)


def test_every_command_of_the_readme_and_the_book_is_understood() -> None:
    text = README + "".join(p.read_text(encoding="utf-8") for p in (ROOT / "book").glob("*.md"))
    commands = re.findall(r"^(?:\.venv/bin/)?bayesmeas ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        words = shlex.split(command.replace("\\\n", " "))
        parser = fit_parser() if words[0] in HANDED_ON else experiments_parser()
        parser.parse_args(words)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets


def test_what_the_readme_points_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
    for folder in re.findall(r"^\| `(\w+)/` \|", README, re.MULTILINE):
        assert (ROOT / folder).is_dir()
