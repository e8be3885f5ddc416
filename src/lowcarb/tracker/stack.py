"""Which phase it is: the block opened last that is still open, or the ground that a program turns to by events."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import RLock

from lowcarb.tracker.books import OTHER

Turn = Callable[[str, float], None]
"""Told which phase it is from which time on [s]."""


class Block:
    """One opening of a phase."""

    def __init__(self, name: str) -> None:
        self.name = name


class Stack:
    """Open blocks above a ground. Any thread may open, close and turn."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        # A signal's handler may come in the middle of a turn, and open or ask itself.
        self._lock = RLock()
        self._open: list[Block] = []
        self._ground = OTHER

    def open(self, block: Block) -> None:
        """The time from now on belongs to this block."""
        with self._lock:
            self._open.append(block)
            self._tell(time.monotonic())

    def close(self, block: Block) -> None:
        """This block is over; one that is not open changes nothing."""
        with self._lock:
            if block in self._open:
                self._open.remove(block)
                self._tell(time.monotonic())

    def ground(self, name: str, at_s: float | None = None) -> None:
        """The time in no block is from now on, or from a time [s] that lies a little back, of this phase."""
        name = str(name)
        with self._lock:
            self._ground = name
            now_s = time.monotonic()
            self._tell(now_s if at_s is None else min(now_s, at_s))

    def _tell(self, at_s: float) -> None:
        self._turn(self._open[-1].name if self._open else self._ground, at_s)
