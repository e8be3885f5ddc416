"""Runs that are at work now, by their journals on this machine. Journals are read and never touched.

A journal is read on from where it was left, so that looking costs what was written since. Figures are made anew after
a while that grows with what they take, so that many who look cost no more than one.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

from lowcarb.core.budget import Budget, Outlook, spent
from lowcarb.core.energy import GAP_INTERVALS, with_lag
from lowcarb.core.footprint import Footprint, footprint_from_dict, measured_footprint
from lowcarb.core.units import NS_PER_S
from lowcarb.errors import LowcarbError
from lowcarb.ledger.base import Ledger
from lowcarb.tracker.books import OTHER
from lowcarb.tracker.journal import Header
from lowcarb.tracker.process import is_alive
from lowcarb.tracker.record import Record
from lowcarb.tracker.recover import JOURNALS, SILENT_S, SUFFIX

GARBAGE = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError, LowcarbError)
REFRESH_S, REFRESH_RATIO = 1.0, 20.0
"""Figures hold for so long [s], and for so many times what making them took."""
POWER_S = 10.0
"""Power now is the mean of so long [s]."""
SLOTS = 120
"""Points of power over time."""
RECENT_S, RECENT_SLOTS = 300.0, 60
"""Power over so long [s] until now, in so many points."""
TAKE_IN_S = 5.0
"""Least time between two goes at taking in what has ended [s]."""
MOST_BYTES = 64 * 2**20
"""Of a journal, read at a time."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Coming:
    """How it will go on, by how it has gone."""

    progress: float | None
    """Share of the work that is done, 0 to 1."""
    ends_ns: int | None
    """When it will be done, UTC [ns]."""
    within_s: tuple[float, float] | None
    """From when to when that may be, about the middle [s]."""
    outlook: Outlook | None = None
    """What the whole will have taken; None where only the count of steps is known."""


@dataclass(frozen=True, slots=True)
class Spending:
    """How a budget stands."""

    budget: Budget
    spent: float | None
    """[J, gCO2e or USD]."""

    @property
    def share(self) -> float | None:
        """Of the budget that is used."""
        return None if self.spent is None else self.spent / self.budget.limit


@dataclass(frozen=True, slots=True)
class Live:
    """A run at work."""

    header: Header
    run_id: str
    phase: str
    power_w: float | None
    """Mean of the last ten seconds [W]."""
    footprint: Footprint
    elapsed_s: float
    tokens: int
    steps: int
    coming: Coming | None
    spending: Spending | None
    forecast: Footprint | None
    """What was expected of the whole before it began."""
    recent_w: tuple[float | None, ...]
    """Mean power of all devices together in stretches of one length, the last one ending now; a gap as None [W]."""
    recent_s: float
    """Length of all of them [s]."""
    power: tuple[Mapping[str, Any], ...]
    """Power over time by device: `{"device", "kind", "start_ns": […], "step_ns", "power_w": […]}`, a gap as None."""
    silent_s: float
    """Time since it was last written to [s]."""


class _Journal:
    """A journal that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record: Record | None = None
        self.phase = OTHER
        self._read = 0
        self._torn = b""
        self._made: tuple[float, float, Live] | None = None
        self.run_id: str | None = None

    def catch_up(self) -> None:
        """Read what was written since. Raises OSError."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            while chunk := file.read(MOST_BYTES):
                self._read += len(chunk)
                *lines, self._torn = (self._torn + chunk).split(b"\n")
                for line in lines:
                    self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line, parse_constant=_refuse)
            if self.record is None:
                self.record = Record(Header.from_dict(said))
                return
            self.record.take(said)
        except GARBAGE:
            return
        if "phase" in said:
            self.phase = str(said["phase"])

    def live(self, run_id: str) -> Live | None:
        """The figures, made anew where that is due; None where nothing can be made of the journal."""
        now_s = time.monotonic()
        if self._made is not None:
            made_s, took_s, live = self._made
            if now_s - made_s < max(REFRESH_S, REFRESH_RATIO * took_s):
                return live
        if self.record is None:
            return None
        try:
            live = _live(self.record, run_id, self.phase, _silent_s(self.path))
        except GARBAGE as error:
            _log.warning("journal %s: %s", self.path.name, error)
            return None
        self._made = now_s, time.monotonic() - now_s, live
        return live


class LiveRuns:
    """All runs at work whose journals are in a home, and that belong into a ledger.

    Args:
        home: where the journals are.
        ledger: what they belong into. A run that it does not know belongs into another one.
        take_in: has the ledger take in what has ended, and show what has begun.
    """

    def __init__(self, home: Path, ledger: Ledger, take_in: Callable[[], None]) -> None:
        self._home, self._ledger, self._take_in = home, ledger, take_in
        self._lock = Lock()
        self._journals: dict[str, _Journal] = {}
        self._settled: frozenset[tuple[str, bool]] = frozenset()
        """Names of journals, each with whether it was at work, that the ledger has been told of."""
        self._taken_s = -TAKE_IN_S

    def look(self) -> None:
        """Have the ledger told of what has begun or ended since, before it is asked."""
        with self._lock:
            self._catch_up()

    def now(self) -> tuple[Live, ...]:
        """The runs at work, the newest first."""
        with self._lock:
            journals = self._catch_up()
            found = [live for one in journals if (id_ := self._run_id(one)) and (live := one.live(id_)) is not None]
        return tuple(sorted(found, key=lambda live: -live.header.started_ns))

    def of(self, run_id: str) -> Live | None:
        """The newest attempt at work of a run."""
        return next((live for live in self.now() if live.run_id == run_id), None)

    def _catch_up(self) -> list[_Journal]:
        names = {path.name: path for path in (self._home / JOURNALS).glob(f"*{SUFFIX}") if path.is_file()}
        self._journals = {name: self._journals.get(name) or _Journal(path) for name, path in names.items()}
        at_work: list[str] = []
        seen: set[tuple[str, bool]] = set()
        for name, journal in self._journals.items():
            try:
                journal.catch_up()
            except OSError:
                continue
            record = journal.record
            working = record is not None and _is_at_work(record, journal.path)
            seen.add((name, working))
            if working:
                at_work.append(name)
        self._settle(frozenset(seen))
        return [self._journals[name] for name in at_work]

    def _settle(self, seen: frozenset[tuple[str, bool]]) -> None:
        """Have taken in what is over, and shown what is new: once, and not more often than every few seconds."""
        if seen <= self._settled:
            self._settled = seen
            return
        now_s = time.monotonic()
        if now_s - self._taken_s < TAKE_IN_S:
            return
        self._taken_s = now_s
        try:
            self._take_in()
        except (LowcarbError, OSError) as error:
            _log.warning("what was tracked cannot be taken in now: %s", error)
            return
        self._settled = seen

    def _run_id(self, journal: _Journal) -> str | None:
        if journal.run_id is None and journal.record is not None:
            try:
                run = self._ledger.run(journal.record.header.key)
            except LowcarbError:
                return None
            journal.run_id = run.id if run else None
        return journal.run_id


def _is_at_work(record: Record, path: Path) -> bool:
    if record.end is not None:
        return False
    alive = is_alive(record.header.process)
    return _silent_s(path) <= SILENT_S if alive is None else alive


def _silent_s(path: Path) -> float:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return 0.0


def _live(record: Record, run_id: str, phase: str, silent_s: float) -> Live:
    header, end_s = record.header, record.last_s
    energy = with_lag(record.energy(header.started_s, end_s))
    footprint = measured_footprint(energy, header.machine, header.site)
    elapsed_s = max(0.0, end_s - header.started_s)
    budget = _budget(record.notes.get("budget"))
    recent_w, recent_s = _recent(record)
    return Live(
        header=header,
        run_id=run_id,
        phase=phase,
        power_w=_power_w(record),
        footprint=footprint,
        elapsed_s=elapsed_s,
        tokens=record.tokens,
        steps=record.steps,
        coming=_coming(record, elapsed_s),
        spending=Spending(budget, spent(budget, footprint)) if budget else None,
        forecast=_forecast(record.notes.get("forecast")),
        recent_w=recent_w,
        recent_s=recent_s,
        power=_power(record),
        silent_s=silent_s,
    )


def _power_w(record: Record) -> float | None:
    length_s = max(POWER_S, GAP_INTERVALS * record.header.interval_s)
    start_s = max(record.header.started_s, record.last_s - length_s)
    if not record.last_s > start_s:
        return None
    return _mean_w(record, start_s, record.last_s)


def _recent(record: Record) -> tuple[tuple[float | None, ...], float]:
    """Power over the last minutes [W], and how long that is [s]."""
    header = record.header
    length_s = min(RECENT_S, record.last_s - header.started_s)
    # A stretch holds two readings, so that none is empty since a reading was a little late.
    slots = min(RECENT_SLOTS, int(length_s / max(1.0, 2.0 * header.interval_s)))
    if slots < 2:
        return (), 0.0
    step_s = length_s / slots
    starts_s = [record.last_s - (slots - slot) * step_s for slot in range(slots)]
    return tuple(_mean_w(record, start_s, start_s + step_s) for start_s in starts_s), length_s


def _mean_w(record: Record, start_s: float, end_s: float) -> float | None:
    energy = record.energy(start_s, end_s)
    return energy.energy_j.mid / energy.duration_s if energy.devices and energy.coverage > 0 else None


def _power(record: Record) -> tuple[Mapping[str, Any], ...]:
    header = record.header
    length_s = record.last_s - header.started_s
    slots = min(SLOTS, int(length_s / max(1.0, 2.0 * header.interval_s)))
    if slots < 2:
        return ()
    step_s = length_s / slots
    traces: dict[tuple[str, str], list[float | None]] = {}
    for slot in range(slots):
        start_s = header.started_s + slot * step_s
        for one in record.energy(start_s, start_s + step_s).devices:
            trace = traces.setdefault((one.device, one.kind), [None] * slots)
            trace[slot] = one.energy_j.mid / step_s if one.coverage > 0 else None
    starts_ns = [header.started_ns + round(slot * step_s * NS_PER_S) for slot in range(slots)]
    return tuple(
        {"device": name, "kind": kind, "start_ns": starts_ns, "step_ns": round(step_s * NS_PER_S), "power_w": watts}
        for (name, kind), watts in traces.items()
    )


def _budget(said: object) -> Budget | None:
    try:
        return Budget(**said) if isinstance(said, Mapping) else None
    except (TypeError, LowcarbError):
        return None


def _forecast(said: object) -> Footprint | None:
    try:
        return footprint_from_dict(said) if isinstance(said, Mapping) else None
    except GARBAGE:
        return None


def _coming(record: Record, elapsed_s: float) -> Coming | None:
    """By the outlook that the run told of; else by its steps, where it told how many there will be."""
    said: Any = record.notes.get("outlook")
    header = record.header
    try:
        if isinstance(said, Mapping):
            outlook = Outlook.from_dict(said)
            told_s = min(max(float(said.get("at_s", record.last_s)), header.started_s), record.last_s)
            ends_ns = header.started_ns + round((told_s - header.started_s + outlook.left_s.mid) * NS_PER_S)
            within_s = (outlook.left_s.low - outlook.left_s.mid, outlook.left_s.high - outlook.left_s.mid)
            return Coming(outlook.progress, ends_ns, within_s, outlook)
    except GARBAGE:
        return None
    most: Any = record.notes.get("max_steps")
    first: Any = record.notes.get("resumed_at_step") or 0
    if isinstance(most, bool) or not isinstance(most, int) or not isinstance(first, int) or not most > first >= 0:
        return None
    progress = min(1.0, record.steps / (most - first))
    if not progress > 0:
        return Coming(0.0, None, None)
    ends_ns = header.started_ns + round(elapsed_s / progress * NS_PER_S)
    return Coming(progress, ends_ns, None)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number that journals have")
