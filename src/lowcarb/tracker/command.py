"""Any command under the meter, without a change to it."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Unpack

from lowcarb.core.footprint import Footprint
from lowcarb.errors import SettingError
from lowcarb.ledger.base import Status
from lowcarb.tracker.books import Phase
from lowcarb.tracker.plan import Settings
from lowcarb.tracker.track import WITHIN, Tracker, track

NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128
"""Exit codes as shells give them; the last is added to a signal's number."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
FROM_KEYBOARD = frozenset({signal.SIGINT, signal.SIGQUIT})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command."""

    exit_code: int
    """The command's own; 128+n where signal n ended it; 127 where there is no such command, 126 where it cannot run."""
    footprint: Footprint
    phases: tuple[Phase, ...]
    attempt_id: str


def run_command(argv: Sequence[str], *, name: str | None = None, **settings: Unpack[Settings]) -> Outcome:
    """Run a command under the meter, and wait for it to end in its own time.

    It has this process's terminal, and is sent the signals that this process is sent (interrupt, terminate, hang-up,
    quit); from another thread than the main one, signals cannot be forwarded. Its arguments are not recorded: they
    may hold secrets. What it is called, and its exit code, are notes of the attempt. Why it could not be run is
    logged as an error.

    Args:
        argv: the command and its arguments.
        name: for people; the command's own name where None.
        settings: as in `lowcarb.tracker.track.track`: key, study, site, interval_s, ledger, sensors, machine,
            catalogue, home.

    Raises:
        SettingError: a setting is not what it may be.
        CatalogueError: the catalogue has no such site.
    """
    if isinstance(argv, (str, bytes)) or not argv or not all(isinstance(word, str) for word in argv) or not argv[0]:
        raise SettingError("argv", argv, "a command and its arguments, one text each")
    program = Path(argv[0]).name or argv[0]
    tracker = track(name or program, **settings)
    with _Forwarding() as forwarding:
        tracker.start()
        exit_code = _run(list(argv), tracker, forwarding)
        tracker.note("command", program)
        tracker.note("exit_code", exit_code)
        footprint = tracker.stop(_status(exit_code, interrupted=bool(forwarding.received)))
    return Outcome(exit_code, footprint, tracker.phases(), tracker.attempt_id)


class _Forwarding:
    """Passes signals on to a child, from entering to leaving."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._child: subprocess.Popen[bytes] | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> _Forwarding:
        if threading.current_thread() is threading.main_thread():
            for number in FORWARDED:
                # What is ignored stays ignored, here and in the child: that is how nohup works.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what `signal.signal` gave

    def to(self, child: subprocess.Popen[bytes]) -> None:
        """Send on to this child, also what came before it was there."""
        self._child = child
        for number in list(self.received):
            child.send_signal(number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received.append(number)
        # The terminal sends what is typed to every process in its foreground: the child has it already, and to many
        # programs a second interrupt means to give up on saving.
        if self._child is not None and not (number in FROM_KEYBOARD and _in_foreground()):
            self._child.send_signal(number)


def _run(argv: list[str], tracker: Tracker, forwarding: _Forwarding) -> int:
    try:
        child = subprocess.Popen(argv, env={**os.environ, WITHIN: tracker.attempt_id})  # noqa: S603  # that is the task
    except FileNotFoundError:
        _log.error("%s: command not found", shlex.quote(argv[0]))  # a trace would tell the user nothing
        return NOT_FOUND
    except (OSError, ValueError) as error:
        _log.error("%s: cannot be run: %s", shlex.quote(argv[0]), error)
        return NOT_EXECUTABLE
    forwarding.to(child)
    code = child.wait()
    return code if code >= 0 else SIGNALLED - code


def _status(exit_code: int, *, interrupted: bool) -> Status:
    if interrupted:
        return "interrupted"
    return "done" if exit_code == 0 else "failed"


def _in_foreground() -> bool:
    """Whether what is typed at the terminal reaches this process and its children."""
    for stream in range(3):
        try:
            return os.tcgetpgrp(stream) == os.getpgrp()
        except OSError:
            continue
    return False
