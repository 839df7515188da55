"""One line of the verdict: what is claimed, what the paper says, what we found, does it hold?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

WIRING = "not judged (wiring)"
# What a number is compared with, where that is not a paper's: theory, a law in some limit, ...
_KINDS = re.compile(r"(.*) \((exact|law|limit|series|certified|truth|nominal)\)")


@dataclass(frozen=True)
class Claim:
    """A statement that a result must support.

    Parameters
    ----------
    claim : str
        The statement, in words and with its unit.
    paper : str
        What the paper says; ``"-"`` if nothing.  Where it is not a paper that says it, its kind
        comes behind in brackets: ``"6.9058 (exact)"``, ``"2 (certified)"``.
    ours : float or str
        What we found.
    error : float
        Standard error of ``ours``; 0 where it has none.
    holds : bool or None
        The verdict; None where the value is listed and not judged.
    note : str
        The tolerance, or what is to be kept in mind.

    Examples
    --------
    >>> Claim("F(2) - F(3)", "large", 96.62, 0.11, True, "> 90").row()
    ('F(2) - F(3)', 'large', '96.62 ± 0.11', 'holds', '> 90')
    """

    claim: str
    paper: str
    ours: float | str
    error: float = 0.0
    holds: bool | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """``holds``, ``FAILS`` or ``listed``."""
        return {True: "holds", False: "FAILS", None: "listed"}[
            None if self.holds is None else bool(self.holds)]

    @property
    def reference(self) -> tuple[str, str]:
        """Who says it, and what.

        Examples
        --------
        >>> Claim("F", "6.9058 (exact)", 6.9043).reference, Claim("K", "3", 3.0).reference
        (('exact', '6.9058'), ('paper', '3'))
        """
        found = _KINDS.fullmatch(self.paper)
        return (found[2], found[1]) if found else ("paper", self.paper)

    def row(self, judged: bool = True) -> tuple[str, str, str, str, str]:
        """The five cells of the table."""
        verdict = self.verdict if judged else WIRING
        return self.claim, self.paper, with_error(self.ours, self.error), verdict, self.note


class Claims(tuple[Claim, ...]):
    """The claims of one experiment; printing them gives the table.

    Examples
    --------
    >>> print(Claims([Claim("best K", "3", 3.0, 0.0, True, "exactly 3")]))
    holds   best K  3  paper: 3; exactly 3
    """

    def __str__(self) -> str:
        return plain(self)


def with_error(value: float | str, error: float) -> str:
    """A number with its error, to two digits of the error.

    Examples
    --------
    >>> with_error(172.1439, 0.0312), with_error(3.0, 0.0), with_error("K=1", 0.0)
    ('172.144 ± 0.031', '3', 'K=1')
    """
    if isinstance(value, str):
        return value
    if not error > 0.0:
        return f"{value:.5g}"
    if error < 1e-5:
        return f"{value:.1e} ± {error:.0e}"
    digits = max(0, 1 - int(f"{error:e}".split("e")[1]))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def trust(labels: Iterable[Any], F: Any, errors: Any,
          trusted: Sequence[bool]) -> Claim:
    """The runs that the answer rests on (F within 5 nats + 3 errors of the lowest) are trusted."""
    best = min(range(len(F)), key=lambda i: F[i])
    rests = [f"{label}" for label, f, e, good in zip(labels, F, errors, trusted, strict=True)
             if not good and f - F[best] <= 5.0 + 3.0 * (e**2 + errors[best] ** 2) ** 0.5]
    return Claim("runs the answer rests on that are not trusted", "-",
                 ", ".join(rests) or "none", 0.0, not rests, "none")


def farthest(claim: str, found: ArrayLike, exact: ArrayLike, errors: ArrayLike,
             labels: Sequence[str], sigmas: float = 4.0) -> Claim:
    """Of many numbers the one that lies farthest from its exact value, in its own errors.

    Parameters
    ----------
    claim : str
    found, exact, errors : array (numbers,)
        An error that is not a positive number proves nothing, and fails.
    labels : sequence of str
        What each number is.
    sigmas : float
        All of them have to lie within so many errors.

    Examples
    --------
    >>> print(Claims([farthest("mean", [1.1, 2.0], [1.0, 2.0], [0.1, 0.1], ["first", "second"])]))
    holds   mean (farthest of 2: first)  1.10 ± 0.10  exact: 1; z = +1.0, |z| < 4
    """
    value, truth, error = (np.asarray(v, dtype=float) for v in (found, exact, errors))
    usable = np.isfinite(error) & (error > 0.0) & np.isfinite(value)
    z = np.divide(value - truth, error, out=np.full(value.shape, np.inf), where=usable)
    at = int(np.argmax(np.abs(z)))
    return Claim(f"{claim} (farthest of {len(z)}: {labels[at]})", f"{truth[at]:.6g} (exact)",
                 float(value[at]), float(error[at]), bool(abs(z[at]) < sigmas),
                 f"z = {z[at]:+.1f}, |z| < {sigmas:g}")


def kolmogorov(law: ArrayLike) -> float:
    """Kolmogorov's p-value: do draws follow a law?

    Parameters
    ----------
    law : array (draws,)
        The exact distribution function at every draw; uniform on [0, 1] if they do.

    Examples
    --------
    >>> even = (np.arange(1000) + 0.5) / 1000
    >>> kolmogorov(even) > 0.99, kolmogorov(even**1.2) < 0.001
    (True, True)
    """
    from scipy.special import kolmogorov as tail

    u = np.sort(np.asarray(law, dtype=float))
    steps = np.arange(len(u) + 1) / len(u)
    distance = max(np.abs(u - steps[1:]).max(), np.abs(u - steps[:-1]).max())
    return float(tail(np.sqrt(len(u)) * distance))


def markdown(claims: Iterable[Claim], judged: bool = True) -> str:
    """The table in Markdown; its second column is headed by who says it, "exact" or "paper", and
    left out where there is nobody.

    Examples
    --------
    >>> print(markdown([Claim("best K", "3", 3.0, 0.0, True)]))
    | claim | paper | ours ± error | verdict | tolerance, note |
    | --- | --- | --- | --- | --- |
    | best K | 3 | 3 | holds |  |
    >>> print(markdown([Claim("F", "6.9058 (exact)", 6.9043, 0.0015, True)]).splitlines()[0])
    | claim | exact | ours ± error | verdict | tolerance, note |
    """
    every = list(claims)
    kinds = dict.fromkeys(claim.reference[0] for claim in every if claim.paper != "-")
    head = ("claim", " or ".join(kinds), "ours ± error", "verdict", "tolerance, note")
    rows: list[tuple[str, ...]] = [head, ("---",) * 5]
    for claim in every:
        name, paper, ours, verdict, note = claim.row(judged)
        rows.append((name, claim.reference[1] if len(kinds) == 1 else paper, ours, verdict, note))
    if not kinds:
        rows = [(row[0], *row[2:]) for row in rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|").replace("<", r"\<")
                                       for cell in row) + " |" for row in rows)


def plain(claims: Iterable[Claim], judged: bool = True) -> str:
    """The table for a terminal, in columns.

    Examples
    --------
    >>> print(plain([Claim("best K", "3", 3.0, 0.0, True, "exactly 3")]))
    holds   best K  3  paper: 3; exactly 3
    """
    every = list(claims)
    rows = [claim.row(judged) for claim in every]
    wide = [max((len(row[k]) for row in rows), default=0) for k in range(4)]
    return "\n".join(
        f"{verdict:<{max(wide[3], 7)}} {name:<{wide[0]}}  {ours:<{wide[2]}}  "
        f"{'; '.join(p for p in (says, note) if p)}".rstrip()
        for (name, _, ours, verdict, note), says in zip(rows, map(_says, every), strict=True))


def _says(claim: Claim) -> str:
    return "" if claim.paper == "-" else ": ".join(claim.reference)
