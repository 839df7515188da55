"""The reliability campaigns: many runs, one question each, an answer with its false-alarm rate.

``evidence`` asks whether F and its error bar are right, ``choosing`` whether probabilities of
models are, and F where no posterior is normal, ``constants`` whether energies and constants are
right to the last digits, ``honesty`` whether bad runs are flagged,
``sampling`` whether draws follow the posterior, ``moves`` whether single steps and exchanges leave
it alone, ``geweke`` whether parameters and data keep their joint law, ``repeating`` whether a run
gives the same bits whatever interrupts it, ``stops`` what signals, full disks and other processes
leave behind, ``reruns`` whether F of every experiment scatters over seeds as it claims,
``mutation`` whether the tests would notice if any of it were wrong, ``three_peaks`` how little work
suffices.
`experiments.reliability` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Numbers = dict[str, Any]
Records = Mapping[str, Sequence[Numbers]]


@dataclass(frozen=True)
class Finding:
    """One number that a campaign must show.

    Parameters
    ----------
    claim : str
        In words, with its unit.
    expected : str
        The window, and where it comes from.
    found : float or str
    error : float
        Standard error of ``found``; 0 where it has none.
    holds : bool or None
        None where the number is listed and not judged.
    alarm : str
        How often correct software fails here.
    """

    claim: str
    expected: str
    found: float | str
    error: float
    holds: bool | None
    alarm: str


@dataclass(frozen=True)
class Campaign:
    """A question, the runs that answer it, and the answer.

    Parameters
    ----------
    name : str
        As in the list of figures to report: ``"A1"``, ``"B3"``, ...
    about : str
        The question.
    problems : tuple of str
        A run is one of these with one seed.
    seeds : range
        Fixed before looking, the same number for each problem.
    run : callable (problem, seed) -> numbers
        A function of a module, so that another process can be told to call it.  Its text belongs
        to the key of a stored run: a campaign that was changed is run anew.
    judge : callable (records by problem) -> findings
    seconds : float
        About, CPU seconds of one run.
    """

    name: str
    about: str
    problems: tuple[str, ...]
    seeds: range
    run: Callable[[str, int], Numbers]
    judge: Callable[[Records], list[Finding]]
    seconds: float


def seed_of(problem: str, seed: int) -> int:
    """The sampler's seed in one run: no two problems share random numbers.

    With equal seeds the bridge would draw the same uniforms on every problem, and errors that
    ought to be independent would all have one sign.

    Examples
    --------
    >>> seed_of("line", 1) != seed_of("wall", 1) != seed_of("line", 2)
    True
    """
    from zlib import crc32

    return (crc32(problem.encode()) << 24) + seed


def inside(claim: str, found: float, low: float, high: float, alarm: str, error: float = 0.0,
           source: str = "") -> Finding:
    """A number that must lie in a window.

    Examples
    --------
    >>> inside("mean z", 0.1, -0.25, 0.25, "5e-4").holds
    True
    """
    words = f"in [{low:g}, {high:g}]" if low > -1e300 else f"at most {high:g}"
    return Finding(claim, f"{words}{'; ' + source if source else ''}", float(found), error,
                   bool(low <= found <= high), alarm)


def chi_square(claim: str, z: Any, alarm: str = "2e-3") -> Finding:
    """The sum of squared normal scores against its law."""
    import numpy as np
    from scipy.special import gammaincc

    scores = np.asarray(z, dtype=float).ravel()
    p = float(gammaincc(0.5 * len(scores), 0.5 * float(np.sum(scores**2))))
    return inside(f"{claim}: chi-square p of {len(scores)} scores", p, 0.001, 0.999, alarm)


def at_least(claim: str, found: float, low: float, alarm: str, error: float = 0.0) -> Finding:
    """A number that must not be below a limit.

    Examples
    --------
    >>> at_least("share", 0.9, 0.95, "0").holds
    False
    """
    return Finding(claim, f"at least {low:g}", float(found), error, bool(found >= low), alarm)


def nothing(claim: str, faults: Sequence[str], alarm: str) -> Finding:
    """A list that must be empty.

    Examples
    --------
    >>> nothing("differences", ["seed 3"], "0").found
    'seed 3'
    """
    shown = ", ".join(faults[:6]) + (f" and {len(faults) - 6} more" if len(faults) > 6 else "")
    return Finding(claim, "none", shown or "none", 0.0, not faults, alarm)
