"""Law 2 in one place: what goes wrong in the meter stays out of the training, and is remembered."""

from __future__ import annotations

import logging
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

MOST_FAULTS = 50
"""Different faults that are kept by name."""

OWN_FAULTS = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS}
)
"""Signals that a thread causes itself, and that must not be blocked."""

_log = logging.getLogger(__name__)

Given = TypeVar("Given")


class Guard:
    """Runs what must neither raise nor hang in user code. Each kind of fault is logged once, and counted."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._reported: tuple[str, ...] = ()

    def run(self, what: str, act: Callable[[], Given], otherwise: Given) -> Given:
        """What the act gives, or the other value where it raises."""
        try:
            return act()
        except Exception as error:  # noqa: BLE001  # the meter never breaks the training: the fault is kept instead
            # To say what is wrong needs memory too. What others have noted on the error comes after its first line.
            with suppress(Exception):
                self.record(f"{what}: {traceback.format_exception_only(error)[0].strip()}")
            return otherwise

    def within(self, limit_s: float, what: str, act: Callable[[], object]) -> bool:
        """Whether the act came to its end in this time [s]; if not, it goes on in the background.

        Where the system allows no further thread, it is done here and takes the time it takes.
        """
        thread = Thread(target=lambda: self._apart(what, act), name=f"lowcarb-{what}", daemon=True)
        try:
            thread.start()
        except Exception:  # noqa: BLE001  # too many threads, no memory for one: all the same
            self.run(what, act, None)
            return True
        thread.join(limit_s)
        if thread.is_alive():
            self.record(f"{what}: not done within {limit_s:g} s")
        return not thread.is_alive()

    def beside(self, what: str, act: Callable[[], object]) -> None:
        """Do it in the background, or where the system allows no further thread, now."""
        try:
            Thread(target=lambda: self._apart(what, act), name=f"lowcarb-{what}", daemon=True).start()
        except Exception:  # noqa: BLE001  # as above
            self.run(what, act, None)

    def _apart(self, what: str, act: Callable[[], object]) -> None:
        """Do it in a thread that takes no signal, nor does any thread that it starts.

        Python's handlers run in the main thread: a signal that the system gave to another one would wait until the
        program's own call returns, and Ctrl-C would not interrupt its sleep.
        """
        with suppress(Exception):
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - OWN_FAULTS)
        self.run(what, act, None)

    def record(self, fault: str) -> None:
        """Keep a fault, and say so once."""
        if fault not in self._counts:
            if len(self._counts) >= MOST_FAULTS:
                return
            _say(fault)
        self._counts[fault] = self._counts.get(fault, 0) + 1

    def report(self, faults: tuple[str, ...]) -> None:
        """Keep faults that were counted elsewhere, and say them."""
        self._reported = faults
        for fault in faults:
            _say(fault)

    def faults(self) -> tuple[str, ...]:
        """What went wrong so far, one line a kind with its count."""
        return (*(f"{fault} ({count} ×)" for fault, count in dict(self._counts).items()), *self._reported)


def _say(fault: str) -> None:
    # A user's log handler may raise too.
    with suppress(Exception):
        _log.warning("%s", fault)
