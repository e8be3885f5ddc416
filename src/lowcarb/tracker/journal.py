"""The crash-safe journal of an attempt: one JSON document a line, appended, so a kill loses no whole line.

    {"lowcarb_journal": 1, "attempt_id": …, "key": …, "process": …, "machine": …, "site": …, "channels": […], …}
    {"channels": […], "missing": […], "started_s": …, "started_cpu_s": …}
                                                    what is read and since when; the numbers follow the header's
    {"readings": [[at_s, channel number, value], …], "counts": [tokens, steps], "at_s": …, "cpu_s": …}
    {"phase": name, "at_s": …, "cpu_s": …}          from then on it is this phase
    {"note": [key, value]}
    {"machine": …}                                  what is known of it now
    {"end": status, "at_s": …, "cpu_s": …, "faults": […], "meter_cpu_s": …}

A reader skips what is not such a line. Times are seconds of the monotonic clock.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from threading import RLock
from typing import Any, Literal

from lowcarb.core.documents import (
    channel_as_dict,
    channel_from_dict,
    machine_as_dict,
    machine_from_dict,
    plain,
    site_as_dict,
    site_from_dict,
)
from lowcarb.core.energy import Channel, Reading
from lowcarb.core.hardware import Machine
from lowcarb.core.site import Site
from lowcarb.tracker.books import GRAIN_S
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.process import Process

FORMAT = 1
WRITE_S = 0.7
"""Least time between two writes [s]: what is read each second is written each second, and all of it within one."""
SYNC_S = 10.0
"""Time between two syncs [s]. What is written outlives the process at once; only a power cut asks for a sync, which
costs more than all the rest of a reading."""
MOST_PENDING = 20_000
"""Lines that are kept while the disk refuses them: some hours; then the oldest are given up."""
PRIVATE_DIRECTORY, PRIVATE_FILE = 0o700, 0o600
_FACTS = (
    "attempt_id", "key", "kind", "name", "study", "within", "ledger",
    "started_ns", "started_s", "started_cpu_s", "interval_s", "attribution",
)  # fmt: skip
_EQUIPMENT = ("channels", "missing", "started_s", "started_cpu_s")
_sync = getattr(os, "fdatasync", os.fsync)


@dataclass(frozen=True, slots=True)
class Header:
    """What an attempt is: all that is needed to book it when nobody is left to ask."""

    attempt_id: str
    key: str
    kind: Literal["trial", "track"]
    name: str
    study: str | None
    within: str | None
    """Attempt that this one runs inside of: its energy is in that one's already."""
    ledger: str | None
    """Ledger that it belongs in, a path or a URL without its password; None for the one of the home."""
    process: Process
    started_ns: int
    """Wall clock, UTC, for display."""
    started_s: float
    started_cpu_s: float
    """Processor time at the start [s]."""
    interval_s: float
    attribution: str
    """Whose energy it is: `machine`, or `process` for the share of its own processes."""
    machine: Machine
    site: Site
    channels: tuple[Channel, ...]
    missing: tuple[str, ...] = ()
    """What the machine does not let be read, and why."""

    def as_dict(self) -> dict[str, object]:
        """The JSON form: the journal's first line."""
        return {
            "lowcarb_journal": FORMAT,
            **{name: getattr(self, name) for name in _FACTS},
            "process": self.process.as_dict(),
            "machine": machine_as_dict(self.machine),
            "site": site_as_dict(self.site),
            "channels": [channel_as_dict(channel) for channel in self.channels],
            "missing": list(self.missing),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Header:
        """The header whose JSON form this is.

        Raises:
            ValueError, KeyError, TypeError: it is none, or of another format.
        """
        if document["lowcarb_journal"] != FORMAT:
            raise ValueError(f"journal format {document['lowcarb_journal']!r}, not {FORMAT}")
        numbers = {name: float(document[name]) for name in ("started_s", "started_cpu_s", "interval_s")}
        return cls(
            **{**{name: document[name] for name in _FACTS}, **numbers},
            process=Process.from_dict(document["process"]),
            machine=machine_from_dict(document["machine"]),
            site=site_from_dict(document["site"]),
            channels=tuple(channel_from_dict(one) for one in document["channels"]),
            missing=tuple(str(one) for one in document.get("missing", ())),
        )


class Journal:
    """Appends an attempt's lines to a file of its own. Nothing here raises: what the disk refuses, the guard records.

    `add` may be called from any thread and only remembers; `write` and `end` put on disk what there is. While the disk
    refuses, lines are kept; when it takes them again, they follow on a new line.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._path: Path | None = None
        self._numbers: dict[str, int] = {}
        self._header = b""
        self._pending: list[bytes] = []
        self._mark: tuple[bytes, float] = (b"", 0.0)
        # A signal's handler may come in the middle of an append, and append itself.
        self._remember = RLock()
        self._disk = RLock()
        self._descriptor: int | None = None
        self._torn, self._named = False, False
        self._written_s = -WRITE_S
        self._synced_s = -SYNC_S

    def open(self, path: Path, header: Header) -> None:
        """Begin the file with its header; what was added before comes after it."""
        self._numbers = {channel.id: number for number, channel in enumerate(header.channels)}
        with self._remember:
            self._header = _line(header.as_dict())
            self._pending.insert(0, self._header)
        self._path = path
        # Not synced: that may take a disk long, and a program waits for its start. The first reading's write will.
        self._guard.run("journal", lambda: self._put_all(sync=False), False)  # noqa: FBT003  # if it fails

    def equip(self, header: Header) -> None:
        """Have it written what is read, what is missing, and when the run began: before the first reading.

        The numbers go on after the first header's, so that no reading is taken for another where this line is lost.
        """
        line = _line({name: whole for name, whole in header.as_dict().items() if name in _EQUIPMENT})
        with self._remember:
            first = len(self._numbers)
            self._numbers = {channel.id: first + number for number, channel in enumerate(header.channels)}
            if self._pending and self._pending[0] is self._header:
                self._pending[0] += line
            else:
                self._pending.insert(0, line)

    def add(self, line: Mapping[str, object]) -> None:
        """Remember a line for the next write."""
        self._append(_line(line))

    def mark(self, name: str, at_s: float, cpu_s: float) -> None:
        """Remember which phase it is from now on. Of phases too short to be told apart, the last one stays."""
        line = _line({"phase": name, "at_s": at_s, "cpu_s": cpu_s})
        with self._remember:
            mark, marked_s = self._mark
            if self._pending and self._pending[-1] is mark and at_s - marked_s < GRAIN_S:
                self._pending[-1] = line
                self._mark = line, marked_s
            else:
                self._pending.append(line)
                self._mark = line, at_s

    def write(self, readings: Sequence[Reading], tokens: int, steps: int, at_s: float, cpu_s: float) -> None:
        """Put readings on disk, with counts and processor time at a time [s]; written at most once in `WRITE_S`."""
        self.keep(readings, tokens, steps, at_s, cpu_s)
        if at_s - self._written_s >= WRITE_S:
            self._written_s = at_s
            self._flush()

    def keep(self, readings: Sequence[Reading], tokens: int, steps: int, at_s: float, cpu_s: float) -> None:
        """Remember readings for the next write, with counts and processor time at a time [s]."""
        numbers = self._numbers
        rows = ",".join(
            [
                f"[{r.at_s!r},{numbers[r.channel]},{r.value if isfinite(r.value) else 'null'!s}]"
                for r in readings
                if r.channel in numbers
            ]
        )
        self._append(
            f'{{"readings":[{rows}],"counts":[{tokens},{steps}],"at_s":{at_s!r},"cpu_s":{cpu_s!r}}}\n'.encode()
        )

    def end(self, line: Mapping[str, object]) -> bool:
        """Write the last line, and let go of the file; whether all is on disk."""
        self.add(line)
        self._synced_s = -SYNC_S
        whole = self._guard.run("journal", self._put_all, False) and self._path is not None  # noqa: FBT003  # if it fails
        with self._disk:
            descriptor, self._descriptor = self._descriptor, None
            self._path = None
        if descriptor is not None:
            self._guard.run("journal", lambda: os.close(descriptor), None)
        return whole

    def _append(self, line: bytes) -> None:
        with self._remember:
            self._pending.append(line)
            if len(self._pending) > MOST_PENDING:
                # The first may say what the attempt is and what is read, without which the rest is worth nothing.
                del self._pending[1]

    def _flush(self) -> None:
        self._guard.run("journal", self._put_all, False)  # noqa: FBT003  # if it fails

    def _put_all(self, *, sync: bool = True) -> bool:
        with self._disk:
            if self._path is None:
                return False
            if self._descriptor is None:
                self._descriptor = _create(self._path)
            with self._remember:
                lines, self._pending = self._pending, []
            written = 0
            try:
                # After a line that was torn, a new one begins.
                text = memoryview((b"\n" if self._torn else b"") + b"".join(lines))
                while written < len(text):
                    written += os.write(self._descriptor, text[written:])
                self._torn, lines = False, []
            finally:
                if lines:
                    self._keep(lines, written - self._torn)
            if sync:
                self._sync(self._descriptor, self._path.parent)
            return True

    def _keep(self, lines: list[bytes], written: int) -> None:
        """Keep the lines that were not written whole, by the number of their bytes that were."""
        done = 0
        while done < len(lines) and written >= len(lines[done]):
            written -= len(lines[done])
            done += 1
        self._torn = (self._torn and written < 0) or written > 0
        with self._remember:
            self._pending[:0] = lines[done:]

    def _sync(self, descriptor: int, folder: Path) -> None:
        now_s = time.monotonic()
        if now_s - self._synced_s >= SYNC_S:
            self._synced_s = now_s
            _sync(descriptor)
            if not self._named:
                self._named = True
                _sync_folder(folder)


def _line(document: Mapping[str, object]) -> bytes:
    return json.dumps(plain(document), separators=(",", ":")).encode("ascii") + b"\n"


def make_private_directory(path: Path) -> None:
    """Make a folder of the home, and the home, for this user's eyes only. What is there stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    # The mode is for the last of them only.
    path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    path.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)


def _create(path: Path) -> int:
    make_private_directory(path.parent)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    return os.open(path, flags, PRIVATE_FILE)


def _sync_folder(path: Path) -> None:
    """Put a file's name on disk, which it is only once its folder is; some file systems do not do that."""
    with suppress(Exception):
        folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
