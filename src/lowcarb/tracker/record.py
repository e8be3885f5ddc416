"""Reading a journal back, whatever became of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any, NoReturn

from lowcarb.core.documents import channel_from_dict, machine_from_dict
from lowcarb.core.energy import Energy, Reading, integrate
from lowcarb.core.units import s_from_years
from lowcarb.errors import LedgerError, LowcarbError
from lowcarb.sensors.series import Series
from lowcarb.tracker.books import Books, Entry
from lowcarb.tracker.journal import Header
from lowcarb.tracker.pauses import Pauses

_GARBAGE = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError, LowcarbError)
"""What a line that is none of ours may raise when it is read as one."""

LONGEST_S = s_from_years(10.0)
"""No run lasts so long: a line that says so is garbage [s]."""
SLACK_S = 3600.0
"""A mark may come from a moment before the start [s]."""


class Record:
    """A journal that was read: the header, and all that came after it.

    Attributes:
        header: what the attempt is.
        notes: facts by key.
        tokens, steps: counts at the last word of them.
        last_s: time of the last line that has one [s]: the run was alive then.
        cpu_s: processor time at the last word of it [s].
        end: the last line of a run that ended, None of one that was cut off.
        skipped_lines: lines that could not be read.
        pauses: when nothing was read.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.notes: dict[str, object] = {}
        self.tokens, self.steps = 0, 0
        self.end: Mapping[str, Any] | None = None
        self.skipped_lines = 0
        self.pauses = Pauses(header.interval_s)
        self._first = 0
        """Number of the first channel."""
        self._series = [Series(channel) for channel in header.channels]
        self.last_s, self.cpu_s = header.started_s, header.started_cpu_s
        self._begin()

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All readings, in order of time."""
        every = [reading for series in self._series for reading in series.between(-inf, inf)]
        return tuple(sorted(every, key=lambda reading: reading.at_s))

    @property
    def count(self) -> int:
        """How many readings there are."""
        return sum(len(series) for series in self._series)

    def energy(self, start_s: float, end_s: float) -> Energy:
        """Energy between two times of the run's clock [s]."""
        readings = [reading for series in self._series for reading in series.between(start_s, end_s)]
        return integrate(self.header.channels, readings, start_s, end_s, self.header.interval_s)

    def entries(self) -> tuple[Entry, ...]:
        """Time and energy by phase, up to the end or the last line."""
        return self._books.until(self.last_s, self.cpu_s)

    def take(self, line: Mapping[str, Any]) -> None:
        """Take in one line.

        Raises:
            ValueError, KeyError, TypeError and the like: it is none that a journal has; nothing of it was taken.
        """
        if "readings" in line:
            counts = [int(count) for count in line["counts"]]
            now_s, cpu_s = self._time(line["at_s"]), _finite(line["cpu_s"])
            rows = [(self._time(at_s), self._of(number), _value(value)) for at_s, number, value in line["readings"]]
            for at_s, series, value in rows:
                series.append(at_s, value)
            if rows:
                self.pauses.seen(max(at_s for at_s, _, _ in rows))
            self.tokens, self.steps = counts
            self.last_s, self.cpu_s = max(self.last_s, now_s), cpu_s
        elif "note" in line:
            key, value = line["note"]
            self.notes[str(key)] = value
        elif "channels" in line:
            self._equip(line)
        elif "machine" in line:
            self.header = replace(self.header, machine=machine_from_dict(line["machine"]))
        else:
            self._take_mark(line, self._time(line["at_s"]), _finite(line["cpu_s"]))

    def _take_mark(self, line: Mapping[str, Any], at_s: float, cpu_s: float) -> None:
        if "phase" in line:
            self._books.turn_to(str(line["phase"]), at_s, cpu_s)
        elif "end" in line:
            self.end = line
        else:
            raise ValueError("no line of a journal")
        # A reading may come in after the end, and belongs to nobody.
        self.last_s, self.cpu_s = at_s if self.end else max(self.last_s, at_s), cpu_s

    def _time(self, at_s: float) -> float:
        if not 0.0 <= _finite(at_s) - self.header.started_s + SLACK_S <= LONGEST_S:
            raise ValueError(f"{at_s} is no time of this run")
        return float(at_s)

    def _of(self, number: int) -> Series:
        if not 0 <= number - self._first < len(self._series):
            raise ValueError(f"no channel {number!r}")
        return self._series[number - self._first]

    def _equip(self, line: Mapping[str, Any]) -> None:
        if any(self._series):
            raise ValueError("what is read is told before the first reading")
        began_s, began_cpu_s = self._time(line["started_s"]), _finite(line["started_cpu_s"])
        channels = tuple(channel_from_dict(one) for one in line["channels"])
        missing = tuple(str(one) for one in line["missing"])
        self.header = replace(
            self.header, channels=channels, missing=missing, started_s=began_s, started_cpu_s=began_cpu_s
        )
        self._first += len(self._series)
        self._series = [Series(channel) for channel in channels]
        self._begin()

    def _begin(self) -> None:
        self.last_s, self.cpu_s = self.header.started_s, self.header.started_cpu_s
        self._books = Books(self.energy)
        self._books.begin(self.last_s, self.cpu_s)


def read_journal(path: Path) -> Record:
    """The journal in a file. A torn tail and garbage in between are skipped, and counted.

    Raises:
        LedgerError: the file cannot be read, or no line of it is a header.
    """
    record: Record | None = None
    skipped = 0
    try:
        for line in _documents(path):
            try:
                if line is None:
                    skipped += 1
                elif record is None:
                    record = Record(Header.from_dict(line))
                else:
                    record.take(line)
            except _GARBAGE:
                skipped += 1
    except OSError as error:
        raise LedgerError(
            str(path), f"the journal cannot be read ({error.strerror})", "Check its permissions"
        ) from error
    if record is None:
        raise LedgerError(str(path), "the journal has no header that can be read", "Nothing can be booked from it")
    record.skipped_lines = skipped
    return record


def _documents(path: Path) -> Iterator[Any]:
    """What each line says in JSON, None where it says nothing."""
    with path.open("rb") as file:
        for line in file:
            try:
                yield json.loads(line, parse_constant=_refuse)
            except (ValueError, RecursionError):
                yield None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number that we write")


def _finite(value: float) -> float:
    if not isfinite(value):  # 1e999 is JSON
        raise ValueError(f"{value} is no time")
    return float(value)


def _value(value: float | None) -> float:
    return nan if value is None else float(value)
