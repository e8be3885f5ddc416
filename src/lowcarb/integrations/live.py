"""Live figures of a tracker for those who show them: what the exporters to other people's systems have in common.

One thread looks at the tracker every few seconds. Whoever wants to be told has a thread of its own, so that a server
that hangs holds up nobody; it is dropped, with one warning, when it raises or takes too long. Nothing here raises into
the program, and no thread keeps it from ending.

Counters never go backwards: not where an estimate is corrected downwards, not over attempts that follow one another.
What a counter gains is booked on the basis that it has: time in which a sensor is lost goes to `assumed`.
"""

from __future__ import annotations

import atexit
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from math import isfinite
from threading import Event, RLock, Thread
from typing import Any, Self

from lowcarb.core.documents import energy_as_dict
from lowcarb.core.energy import DeviceEnergy
from lowcarb.core.estimate import Basis
from lowcarb.core.footprint import Footprint
from lowcarb.errors import MissingExtra, SettingError
from lowcarb.tracker.guard import OWN_FAULTS, Guard
from lowcarb.tracker.ranks import local_rank
from lowcarb.tracker.track import Tracker

EVERY_S = 5.0
"""Time between two looks at the tracker [s]."""
HANG_S = 30.0
"""A listener that takes longer than this for one message is dropped [s]."""
STOP_S = 1.0
"""How long an end waits in all for the last figures to be seen, and told to everybody [s]."""
MOST_PHASES = 20
"""Phases that have a counter of their own; the energy of later ones goes to `others`. A name may be any text."""
OTHERS = "others"
STALE_LOOKS = 3
"""A device's power holds for so many looks without a new reading."""
LONGEST_TEXT = 200
"""Characters of a label."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one device has drawn, and draws."""

    id: str
    kind: str
    energy_j: Mapping[Basis, float]
    """Since the exporter began, over all attempts, by how it is known [J]."""
    power_w: float | None
    """Mean since the look before [W]; None where no reading tells."""
    basis: Basis
    """Of the power."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A tracker's figures at one time."""

    at_ns: int
    """UTC [ns]."""
    number: int
    """How many looks there were before in this attempt."""
    attempt_id: str
    status: str
    footprint: Footprint
    """Of this attempt."""
    power_w: float | None
    """All devices together [W]."""
    devices: tuple[Drawn, ...]
    hosts: tuple[Drawn, ...]
    """Whole machines: they contain the devices, and are in no sum with them."""
    energy_j: Mapping[Basis, float]
    """All devices together over all attempts [J]."""
    operational_g: Mapping[Basis, float]
    """Carbon of the electricity over all attempts [gCO2e]."""
    phase_j: Mapping[str, float]
    """Energy by phase over all attempts [J]."""


Listener = Callable[[Figures], object]


def needed(module: str, what: str, extra: str) -> Any:
    """A module of an optional package. Raises MissingExtra where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(what, extra) from error


def label(text: object) -> str:
    """Any text as a label: such as UTF-8 can say, and not too long."""
    return str(text)[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")


def document_of(tracker: Tracker) -> dict[str, object]:
    """All that a tracker tells of its attempt so far, in the words of `lowcarb track --json`."""
    return {
        "schema_version": 1,
        "attempt": tracker.attempt_id,
        "status": tracker.status,
        "footprint": tracker.footprint().as_dict(),
        "energy": energy_as_dict(tracker.energy()),
        "phases": [phase.as_dict() for phase in tracker.phases()],
        "faults": list(tracker.faults()),
        "meter": {"cost_cpu_s": tracker.meter_cpu_s},
    }


@dataclass(slots=True)
class _Counter:
    """A sum that only grows, by basis, over attempts."""

    by_basis: dict[Basis, float] = field(default_factory=dict)
    seen: float = 0.0
    """The most that this attempt has shown."""

    def add(self, now: float, basis: Basis) -> None:
        """The attempt stands here now."""
        gained = max(0.0, now - self.seen)
        self.seen += gained
        self.by_basis[basis] = self.by_basis.get(basis, 0.0) + gained


@dataclass(slots=True)
class _Device:
    """One device over time."""

    kind: str
    basis: Basis
    counter: _Counter = field(default_factory=_Counter)
    energy_j: float = 0.0
    gaps_s: float = 0.0
    duration_s: float = 0.0
    power_w: float | None = None
    unread: int = 0

    def look(self, id_: str, now: DeviceEnergy, duration_s: float) -> Drawn:
        """The device now, `duration_s` [s] after the attempt began."""
        gap = now.gaps_s > self.gaps_s + 1e-9  # a share of a second that rounding may be
        if not now.gaps_s:
            self.basis = now.energy_j.basis
        self.counter.add(now.energy_j.mid, "assumed" if gap else self.basis)
        passed_s = duration_s - self.duration_s
        if gap:
            self.power_w = None
        elif passed_s > 0:
            self.power_w, self.unread = max(0.0, now.energy_j.mid - self.energy_j) / passed_s, 0
        elif (unread := self.unread + 1) > STALE_LOOKS:
            self.power_w = None
        else:
            self.unread = unread
        self.energy_j, self.gaps_s, self.duration_s = now.energy_j.mid, now.gaps_s, duration_s
        return Drawn(id_, self.kind, dict(self.counter.by_basis), self.power_w, self.basis)

    def begin(self) -> None:
        """Another attempt begins."""
        self.counter.seen = self.energy_j = self.gaps_s = self.duration_s = 0.0
        self.power_w, self.unread = None, 0


class Live:
    """Looks at one tracker at a time, and tells listeners. Where another rank of the node speaks, it does nothing.

    Args:
        every_s: time between two looks [s], more than 0.

    Raises:
        SettingError: `every_s` is no such time.
    """

    def __init__(self, every_s: float = EVERY_S) -> None:
        if not isinstance(every_s, (int, float)) or isinstance(every_s, bool) or not 0 < every_s < float("inf"):
            raise SettingError("every_s", every_s, "seconds, more than 0")
        self.every_s = float(every_s)
        self.guard = Guard()
        self._latest: Figures | None = None
        self._tracker: Tracker | None = None
        self._posts: list[_Post] = []
        self._devices: dict[tuple[str, str], _Device] = {}
        self._energy, self._carbon = _Counter(), _Counter()
        self._phases: dict[str, _Counter] = {}
        self._number = 0
        self._lock, self._wake = RLock(), Event()
        self._thread: Thread | None = None
        self._pid, self._silent = os.getpid(), local_rank(os.environ) > 0

    @property
    def latest(self) -> Figures | None:
        """The figures of the last look; None before the first one, and in a forked child."""
        return self._latest if os.getpid() == self._pid else None

    def tell(self, what: str, listener: Listener) -> None:
        """Tell it the figures of each look from now on, in a thread of its own; late ones are left out."""
        self._posts.append(_Post(what, listener, self.guard))

    def follow(self, tracker: Tracker) -> Self:
        """Look at this tracker from now on; at one that was looked at before, a last time."""
        self.guard.run("live", lambda: self._follow(tracker), None)
        return self

    def look(self) -> Figures | None:
        """Look now, and tell."""
        return self.guard.run("live", self._look, None)

    def stop(self, within_s: float = STOP_S) -> float:
        """A last look; listeners have what is left of this time [s] to take it. May be called twice.

        Returns:
            What is left of the time [s]: who has more to end has so long.
        """
        until_s = time.monotonic() + within_s
        thread, self._thread = self._thread, None
        atexit.unregister(self.stop)
        if thread is None or os.getpid() != self._pid:
            return within_s
        self._wake.set()
        self.guard.within(within_s, "live", self._look)
        for post in self._posts:
            post.close(until_s)
        return max(0.0, until_s - time.monotonic())

    def _follow(self, tracker: Tracker) -> None:
        if self._silent or os.getpid() != self._pid:
            return
        with self._lock:
            if tracker is self._tracker:
                return
            self._look()
            self._tracker, self._number = tracker, 0
            for device in self._devices.values():
                device.begin()
            for counter in (self._energy, self._carbon, *self._phases.values()):
                counter.seen = 0.0
        if self._thread is None:
            self._wake = Event()
            self._thread = start_thread(self.guard, "live", lambda: self._run(self._wake))
            atexit.register(self.stop)

    def _run(self, wake: Event) -> None:
        while not wake.wait(self.every_s):
            self.look()

    def _look(self) -> Figures | None:
        with self._lock:
            tracker = self._tracker
            if tracker is None or tracker.status is None or os.getpid() != self._pid:
                return None
            figures = self._figures(tracker)
            self._latest, self._number = figures, self._number + 1
        for post in self._posts:
            post.put(figures)
        return figures

    def _figures(self, tracker: Tracker) -> Figures:
        energy, footprint = tracker.energy(), tracker.footprint()
        duration_s, running = energy.duration_s, tracker.status == "running"
        power_w = tracker.power_w() if running else None
        whole = [one for one in (*energy.checks, *energy.devices) if one.kind == "machine" and one.sensor != "none"]
        parts = [one for one in energy.devices if one.kind != "machine"]
        self._energy.add(footprint.energy_j.mid, footprint.energy_j.basis)
        self._carbon.add(footprint.operational_g.mid, footprint.operational_g.basis)
        for phase in tracker.phases():
            name = label(phase.name)
            name = name if name in self._phases or len(self._phases) < MOST_PHASES else OTHERS
            if name != OTHERS:
                self._phases.setdefault(name, _Counter()).add(phase.footprint.energy_j.mid, "assumed")
        if len(self._phases) >= MOST_PHASES:
            named = sum(phase.footprint.energy_j.mid for phase in tracker.phases() if label(phase.name) in self._phases)
            self._phases.setdefault(OTHERS, _Counter()).add(footprint.energy_j.mid - named, "assumed")
        return Figures(
            at_ns=time.time_ns(),
            number=self._number,
            attempt_id=tracker.attempt_id,
            status=tracker.status or "running",
            footprint=footprint,
            power_w=power_w if power_w is not None and isfinite(power_w) else None,
            devices=tuple(self._drawn("part", one, duration_s, running=running) for one in parts),
            hosts=tuple(self._drawn("whole", one, duration_s, running=running) for one in whole),
            energy_j=dict(self._energy.by_basis),
            operational_g=dict(self._carbon.by_basis),
            phase_j={name: sum(counter.by_basis.values()) for name, counter in self._phases.items()},
        )

    def _drawn(self, place: str, one: DeviceEnergy, duration_s: float, *, running: bool) -> Drawn:
        device = self._devices.setdefault((place, one.device), _Device(one.kind, one.energy_j.basis))
        drawn = device.look(label(one.device), one, duration_s)
        return drawn if running else Drawn(drawn.id, drawn.kind, drawn.energy_j, None, drawn.basis)


class _Post:
    """One listener with its thread: the latest message wins."""

    def __init__(self, what: str, listener: Listener, guard: Guard) -> None:
        self._what, self._listener, self._guard = what, listener, guard
        self._next: Figures | None = None
        self._came, self._idle = Event(), Event()
        self._idle.set()
        self._since_s: float | None = None
        self._dropped = self._closed = False
        self._thread: Thread | None = None

    def put(self, figures: Figures) -> None:
        """Hand over; never waits."""
        since_s = self._since_s
        if not self._dropped and since_s is not None and time.monotonic() - since_s > HANG_S:
            self._dropped = True
            self._guard.record(f"{self._what}: no answer for {HANG_S:g} s, and is told nothing more")
        if self._dropped or self._closed:
            return
        self._next = figures
        self._idle.clear()
        self._came.set()
        if self._thread is None:
            self._thread = start_thread(self._guard, self._what, self._run)

    def close(self, until_s: float) -> None:
        """End, after what was handed over was told, or at this time [s]: then it is said that the last was dropped."""
        if self._thread is not None and not self._dropped and not self._closed:
            told = self._idle.wait(max(0.0, until_s - time.monotonic()))
            if not told and not self._dropped:
                self._guard.record(f"{self._what}: no answer by the end; the last figures were not told")
        self._closed = True
        self._came.set()

    def _run(self) -> None:
        while not (self._closed or self._dropped):
            self._came.wait()
            self._came.clear()
            figures, self._next = self._next, None
            if figures is not None:
                self._since_s = time.monotonic()
                told = self._guard.run(f"{self._what} is told nothing more", lambda: self._tell(figures), False)  # noqa: B023, FBT003
                self._since_s = None
                self._dropped = self._dropped or not told
            if self._next is None:
                self._idle.set()

    def _tell(self, figures: Figures) -> bool:
        self._listener(figures)
        return True


def start_thread(guard: Guard, what: str, act: Callable[[], object]) -> Thread | None:
    """A daemon thread that takes no signal; None, and a fault, where the system allows no further one."""

    def run() -> None:
        guard.run(what, lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - OWN_FAULTS), None)
        guard.run(what, act, None)

    def start() -> Thread:
        thread = Thread(target=run, name=f"lowcarb-{what}", daemon=True)
        thread.start()
        return thread

    return guard.run(what, start, None)
