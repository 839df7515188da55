"""Output that may have no reader any more (``bayesmeas ... | head``).

A closed pipe is no reason to lose the files of a long computation: what is told on the way is told
by `say`, which lets it pass; the answer itself is printed last and ends with exit code 141.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

CLOSED_PIPE = 141      # as the shell reports a program that a closed pipe ended


def say(text: str, stream: TextIO | None = None) -> None:
    """Print at once, if anybody reads it.

    Parameters
    ----------
    text : str
        With its own line ends.
    stream : text file, optional
        Standard output if not given.

    Examples
    --------
    >>> say("half of it is done\\n")
    half of it is done
    """
    try:
        print(text, end="", file=stream or sys.stdout, flush=True)
    except BrokenPipeError:
        return


def closed_pipe() -> int:
    """Leave quietly after a BrokenPipeError: what is still in the buffer has no reader.

    Returns
    -------
    int
        The exit code, 141.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CLOSED_PIPE
