"""Docstrings for the API pages: what reads well in the source is made to read well on a page.

Bars and double stars are text, not markup.  The fields of a result are explained by the comments
beside them, which autodoc does not see: they become a section.  And a property's "one line: more"
is not a type and its description, as napoleon takes it to be.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

FIELD = re.compile(r"    (?P<name>[a-z]\w*): (?P<type>[^=#]+?)(?: = [^#]*)?(?:\s+# (?P<said>.*))?")
MORE = re.compile(r"\s+# (?P<said>.*)")
LETTER = re.compile(r"^(\s*[A-Z])\.")          # "N." would begin a list
LITERAL = re.compile(r"(``.+?``)")


def fields(source: str) -> list[tuple[str, str, str]]:
    """Name, type and comment of the annotated fields of a class that have a comment.

    Examples
    --------
    >>> fields("class A:\\n    rate: float = 1.0    # in 1/s,\\n                 # at 300 K\\n")
    [('rate', 'float', 'in 1/s, at 300 K')]
    """
    found: list[tuple[str, str, str]] = []
    last = False                      # whether the line before was a field with a comment
    for line in source.splitlines():
        if re.match(r"    def |    @", line):
            break
        field, more = FIELD.fullmatch(line), MORE.fullmatch(line)
        if field:
            last = field["said"] is not None
            if last:
                found.append((field["name"], field["type"].strip(), field["said"]))
        elif more and last:
            name, kind, said = found[-1]
            found[-1] = (name, kind, f"{said} {more['said']}")
        else:
            last = False
    return found


def escaped(lines: list[str]) -> list[str]:
    """Bars, double stars and a line that is one letter as text, outside literals and examples.

    Examples
    --------
    >>> escaped(["|x| beyond 2**3, ``2**3``", "", ">>> 2**3", "8"])
    ['\\\\|x\\\\| beyond 2\\\\*\\\\*3, ``2**3``', '', '>>> 2**3', '8']
    """
    out, example = [], False
    for line in lines:
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        parts = [line] if example else LITERAL.split(LETTER.sub(r"\1\.", line))
        out.append("".join(part if example or part.startswith("``") else
                           part.replace("|", r"\|").replace("**", r"\*\*") for part in parts))
    return out


def before(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    if what == "class":
        found = fields(inspect.getsource(thing))
        if found:
            lines += ["", "Fields", "------"]
            for field, kind, said in found:
                lines += [f"{field} : {kind}", f"    {said}"]
            lines.append("")
    lines[:] = escaped(lines)


def after(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    if what in ("attribute", "property"):
        kinds = [i for i, line in enumerate(lines) if line.startswith(":type: ")]
        if kinds:
            lines[0] = f"{lines.pop(kinds[-1]).removeprefix(':type: ')}: {lines[0]}"


def skip(app: Any, what: str, name: str, thing: Any, skipped: bool, options: Any) -> bool | None:
    """The fields of a named tuple, whose docstring says their number only."""
    return True if (thing.__doc__ or "").startswith("Alias for field number") else None


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", before, priority=400)     # napoleon: 500
    app.connect("autodoc-process-docstring", after, priority=600)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
