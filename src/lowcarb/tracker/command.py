"""Any command under the meter, without a change to it."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Unpack

from lowcarb.core.budget import Outlook
from lowcarb.core.energy import Energy
from lowcarb.core.footprint import Footprint
from lowcarb.errors import LowcarbError, SettingError
from lowcarb.ledger.base import Status
from lowcarb.tracker.books import Phase
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.plan import Settings
from lowcarb.tracker.process import cpu_s, descendants, tree_cpu_s
from lowcarb.tracker.ranks import LEADER, WITHIN
from lowcarb.tracker.track import Tracker, track

NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128
"""Exit codes as shells give them; the last is added to a signal's number."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
FROM_KEYBOARD = frozenset({signal.SIGINT, signal.SIGQUIT})
TOLD = frozenset({"out_of_memory", "diverged", "failed", "interrupted", "over_budget"})
"""Endings that a follower knows better than an exit code does."""

_log = logging.getLogger(__name__)


GRACE_S = 300.0
"""How long a command that was told of its budget has to save and end, before it is asked to terminate; and then again
before it is killed [s]. `assumed`: a checkpoint of a large model takes minutes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command."""

    exit_code: int
    """The command's own; 128+n where signal n ended it; 127 where there is no such command, 126 where it cannot run."""
    status: Status
    footprint: Footprint
    energy: Energy
    phases: tuple[Phase, ...]
    attempt_id: str
    meter_cpu_s: float | None
    """Processor time that metering took [s]."""
    outlook: Outlook | None
    """What it would have taken in all, where it said how far it had come."""
    recorded: bool = True
    """Whether its energy is on record: a rank whose first process has no tracker measures nothing."""


def run_command(
    argv: Sequence[str],
    *,
    name: str | None = None,
    environ: Mapping[str, str] | None = None,
    started: Callable[[Tracker], object] | None = None,
    **settings: Unpack[Settings],
) -> Outcome:
    """Run a command under the meter, and wait for it to end in its own time.

    It has this process's terminal, and is sent the signals that this process is sent (interrupt, terminate, hang-up,
    quit); from another thread than the main one, signals cannot be forwarded. Its arguments are not recorded: they
    may hold secrets. What it is called, and its exit code, are notes of the attempt. Why it could not be run is
    logged as an error. Trackers in it that join report to this one.

    A command that reaches its budget is told so, if a tracker in it follows, and has `GRACE_S` to save and end; it, or
    at once one that cannot be told, is then asked to terminate with all its children, and is killed where it has not
    done so after `GRACE_S` more. Its status is `over_budget`.

    Args:
        argv: the command and its arguments.
        name: for people; the command's own name where None.
        environ: environment variables for the command, beside those of this process.
        started: called with the tracker once it measures, before the command is begun: for those who show its figures
            elsewhere. What it raises is logged, and no more.
        settings: as in `lowcarb.tracker.track.track`: key, study, site, interval_s, ledger, sensors, machine,
            catalogue, home, budget, attribution, joins, forecast.

    Raises:
        SettingError: a setting is not what it may be.
        CatalogueError: the catalogue has no such site.
    """
    if isinstance(argv, (str, bytes)) or not argv or not all(isinstance(word, str) for word in argv) or not argv[0]:
        raise SettingError("argv", argv, "a command and its arguments, one text each")
    program = Path(argv[0]).name or argv[0]
    tracker = track(name or program, **settings)
    with _Forwarding() as forwarding:
        work = _Work(tracker, forwarding)
        tracker.start()
        if started is not None:
            Guard().run("started", lambda: started(tracker), None)
        exit_code = work.run(list(argv), environ or {})
        tracker.note("command", program)
        tracker.note("exit_code", exit_code)
        footprint = tracker.stop(work.status(exit_code))
    return Outcome(
        exit_code=exit_code,
        status=tracker.status or "done",
        footprint=footprint,
        energy=tracker.energy(),
        phases=tracker.phases(),
        attempt_id=tracker.attempt_id,
        meter_cpu_s=tracker.meter_cpu_s,
        outlook=tracker.outlook(),
        recorded=tracker.recorded,
    )


class _Forwarding:
    """Passes signals on to a child, from entering to leaving."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._early: list[int] = []
        """What came before there was a child."""
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
        # What comes from now on is sent on by the handler, once.
        while self._early:
            self._send(child, self._early.pop(0))

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received.append(number)
        # The terminal sends what is typed to every process in its foreground: the child has it already, and to many
        # programs a second interrupt means to give up on saving.
        if self._child is None:
            self._early.append(number)
        elif not (number in FROM_KEYBOARD and _in_foreground()):
            self._send(self._child, number)

    @staticmethod
    def _send(child: subprocess.Popen[bytes], number: int) -> None:
        with suppress(OSError):  # it may have become another user's, as with sudo
            child.send_signal(number)


class _Work:
    """The command at work: who measures it, and who ends it when its budget is used up."""

    def __init__(self, tracker: Tracker, forwarding: _Forwarding) -> None:
        self._tracker, self._forwarding = tracker, forwarding
        self._child: subprocess.Popen[bytes] | None = None
        self._over = False
        own = tracker.own
        own.cpu_clock = lambda: cpu_s() + (tree_cpu_s(self._child.pid) if self._child else 0.0)
        own.on_over_budget = self._end_by_budget
        with suppress(LowcarbError, OSError):  # no home, so nobody follows; what else comes of it the tracker tells
            own.lead()

    def run(self, argv: list[str], environ: Mapping[str, str]) -> int:
        """Run it to its end; its exit code as a shell gives it."""
        told = {**os.environ, **environ, WITHIN: self._tracker.attempt_id}
        if self._tracker.leads_at is not None:
            told[LEADER] = str(self._tracker.leads_at)
        try:
            child = subprocess.Popen(argv, env=told)  # noqa: S603  # that is the task
        except FileNotFoundError:
            _log.error("%s: command not found", shlex.quote(argv[0]))  # a trace would tell the user nothing
            return NOT_FOUND
        except (OSError, ValueError) as error:
            _log.error("%s: cannot be run: %s", shlex.quote(argv[0]), error)
            return NOT_EXECUTABLE
        self._child = child
        self._forwarding.to(child)
        code = child.wait()
        self._child = None
        return code if code >= 0 else SIGNALLED - code

    def status(self, exit_code: int) -> Status:
        """How it ended."""
        if self._over:
            return "over_budget"
        if self._forwarding.received:
            return "interrupted"
        heard = self._tracker.own.heard
        if exit_code != 0:
            return heard if heard in TOLD else "failed"
        return "done"

    def _end_by_budget(self) -> None:
        self._over = True
        threading.Thread(target=self._end, name="lowcarb-budget", daemon=True).start()

    def _end(self) -> None:
        if self._tracker.own.followers and self._ended_within(GRACE_S):
            return
        self._send(signal.SIGTERM)
        if not self._ended_within(GRACE_S):
            self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        child = self._child
        if child is None:
            return
        # A shell that is ended leaves its children at work, where nobody measures them.
        for pid in (child.pid, *descendants(child.pid)):
            with suppress(OSError):
                os.kill(pid, number)

    def _ended_within(self, wait_s: float) -> bool:
        until_s = time.monotonic() + wait_s
        while self._child is not None and time.monotonic() < until_s:
            time.sleep(0.1)
        return self._child is None


def _in_foreground() -> bool:
    """Whether what is typed at the terminal reaches this process and its children."""
    for stream in range(3):
        try:
            return os.tcgetpgrp(stream) == os.getpgrp()
        except OSError:
            continue
    return False
