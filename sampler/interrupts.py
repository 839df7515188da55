"""Ctrl-C that cannot get lost.

A KeyboardInterrupt is raised wherever Python happens to be, and that may be a place where
exceptions are ignored (a finaliser, a callback from the compiler): then a run of hours goes on as
if nobody had asked.  `Interrupts` remembers; whoever reports progress asks it.
"""

from __future__ import annotations

import signal
from types import FrameType


class Interrupts:
    """While it is entered, Ctrl-C raises KeyboardInterrupt and is remembered.

    Outside the main thread Ctrl-C is somebody else's, and nothing changes.

    Examples
    --------
    >>> with Interrupts() as interrupts:
    ...     try:
    ...         signal.raise_signal(signal.SIGINT)
    ...     except KeyboardInterrupt:
    ...         pass        # swallowed somewhere
    ...     interrupts.pressed
    True
    """

    def __init__(self) -> None:
        self.pressed = False

    def __enter__(self) -> Interrupts:
        def note(number: int, frame: FrameType | None) -> None:
            self.pressed = True
            raise KeyboardInterrupt

        try:
            self.before = signal.signal(signal.SIGINT, note)
        except ValueError:
            self.before = None
        return self

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.pressed:
            raise KeyboardInterrupt
