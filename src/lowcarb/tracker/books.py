"""The books of a run: time and energy by phase, kept up as it goes on.

Phases are consecutive: each moment belongs to the phase that was opened last and is still open, or to `other`. The
total is the sum of the phases, so the books balance by construction.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any

from lowcarb.core.documents import energy_as_dict, energy_from_dict
from lowcarb.core.energy import DeviceEnergy, Energy, Reading, with_lag
from lowcarb.core.footprint import Footprint, footprint_from_dict, measured_footprint
from lowcarb.core.hardware import Machine
from lowcarb.core.site import Site

OTHER = "other"
"""The phase of the time that is in no phase."""
MOST_UNSETTLED = 3_000
"""Readings of an open phase that are integrated anew for each live figure: about a hundredth of a second's work, and
half a megabyte."""
GRAIN_S = 0.02
"""Phases shorter than this are booked together, and share their energy by time: the meter reads no faster."""
SETTLING_S = 0.05
"""How long the sampling thread works on the books at a time [s]."""
PATIENCE_S = 120.0
"""A sensor that has been silent for longer is not waited for [s]."""

EnergyBetween = Callable[[float, float], Energy]


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase of a run took; a phase that was opened several times is one."""

    name: str
    wall_s: float
    cpu_s: float
    """Processor time of the process and its ended children [s]."""
    blocks: int
    """How many times it was opened."""
    energy: Energy
    footprint: Footprint

    @property
    def unresolved(self) -> tuple[str, ...]:
        """The devices whose readings are too slow for blocks as short as this phase's: their share of it is a guess."""
        return self.energy.unresolved(self.blocks)

    def as_dict(self) -> dict[str, object]:
        """The JSON form, by field name."""
        return {
            "name": self.name,
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "blocks": self.blocks,
            "unresolved": list(self.unresolved),
            "energy": energy_as_dict(self.energy),
            "footprint": self.footprint.as_dict(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Phase:
        """The phase whose JSON form this is."""
        return cls(
            document["name"],
            document["wall_s"],
            document["cpu_s"],
            document["blocks"],
            energy_from_dict(document["energy"]),
            footprint_from_dict(document["footprint"]),
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """Time and energy of a phase before any site is applied."""

    name: str
    wall_s: float
    cpu_s: float
    blocks: int
    energy: Energy

    def phase(self, machine: Machine, site: Site) -> Phase:
        """The phase, on a machine at a site."""
        energy = with_lag(self.energy, self.blocks)
        return Phase(self.name, self.wall_s, self.cpu_s, self.blocks, energy, measured_footprint(energy, machine, site))


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Time without a gap: one phase, or several short ones."""

    start_s: float
    end_s: float
    parts: Mapping[str, tuple[float, float, int]]
    """Time and processor time [s] by phase, and how many times it was opened."""

    def joined(self, name: str, end_s: float, cpu_s: float) -> _Stretch:
        """This stretch and the phase that follows it."""
        wall_s, before_cpu_s, blocks = self.parts.get(name, (0.0, 0.0, 0))
        part = (wall_s + end_s - self.end_s, before_cpu_s + cpu_s, blocks + 1)
        return _Stretch(self.start_s, end_s, {**self.parts, name: part})

    def entries(self, energy: Energy) -> list[Entry]:
        """The phases, with their shares of the energy of the whole."""
        length_s = self.end_s - self.start_s
        if len(self.parts) == 1:
            return [Entry(name, length_s, cpu_s, blocks, energy) for name, (_, cpu_s, blocks) in self.parts.items()]
        return [
            Entry(name, wall_s, cpu_s, blocks, _share(energy, wall_s / length_s if length_s > 0 else 0.0))
            for name, (wall_s, cpu_s, blocks) in self.parts.items()
        ]


class Books:
    """Phases by time. `turn_to` may be called from any thread and waits for nothing longer than an append.

    Args:
        energy: energy between two times [s] of the meter's clock.
    """

    def __init__(self, energy: EnergyBetween) -> None:
        self._energy = energy
        # A signal's handler may come in the middle of a turn, and ask for figures or end the attempt.
        self._marks = RLock()
        self._sums = RLock()
        self._closed: deque[_Stretch] = deque()
        self._short: _Stretch | None = None
        self._open: tuple[str, float, float] | None = None
        self.began: tuple[float, float] | None = None
        """Time and processor time at the start [s]."""
        self._entries: dict[str, Entry] = {}
        self._latest: dict[str, float] = {}
        self._unsettled = 0

    @property
    def turns(self) -> tuple[str, float, float] | None:
        """Something that is another thing after each turn."""
        return self._open

    def begin(self, at_s: float, cpu_s: float) -> bool:
        """Start the first phase, `other`, at this time [s] and processor time [s]; False where it has been started."""
        with self._marks:
            if self._open is not None:
                return False
            self._open = (OTHER, at_s, cpu_s)
            self.began = (at_s, cpu_s)
            return True

    def turn_to(self, name: str, at_s: float, cpu_s: float) -> None:
        """From this time [s] and processor time [s] on, it is this phase.

        Raises:
            ValueError: nothing has begun.
        """
        with self._marks:
            if self._open is None:
                raise ValueError("a phase before the run has begun")
            before, start_s, start_cpu_s = self._open
            # Two threads may come in the wrong order by a hair: time never runs backwards in the books.
            at_s = max(at_s, start_s)
            self._close(before, start_s, at_s, max(0.0, cpu_s - start_cpu_s))
            self._open = (name, at_s, cpu_s)

    def seen(self, readings: Iterable[Reading]) -> None:
        """Take note of new readings, and settle the phases that they complete."""
        for reading in readings:
            self._latest[reading.channel] = max(reading.at_s, self._latest.get(reading.channel, reading.at_s))
            self._unsettled += 1
        horizon_s = self.horizon_s()
        if horizon_s is None:
            return
        with self._sums:
            until_s = time.monotonic() + SETTLING_S
            while self._closed and self._closed[0].end_s <= horizon_s and time.monotonic() < until_s:
                self._settle(self._closed[0])
                self._closed.popleft()
            if not self._closed:
                self._cut(horizon_s)

    def horizon_s(self) -> float | None:
        """The time [s] up to which every sensor that still answers has been read; None before the first reading."""
        latest = list(self._latest.values())
        return min((at_s for at_s in latest if at_s >= max(latest) - PATIENCE_S), default=None)

    def until(self, at_s: float, cpu_s: float) -> tuple[Entry, ...]:
        """The phases up to this time [s] and processor time [s], in the order in which they were first opened."""
        with self._sums:
            with self._marks:
                stretches = [*self._closed, *([self._short] if self._short else [])]
                if self._open is not None:
                    name, start_s, start_cpu_s = self._open
                    stretches.append(_alone(name, start_s, max(start_s, at_s), max(0.0, cpu_s - start_cpu_s)))
            entries = dict(self._entries)
            for stretch in stretches:
                self._enter(entries, stretch)
        return tuple(entries.values())

    def _close(self, name: str, start_s: float, end_s: float, cpu_s: float) -> None:
        """Put a phase that is over with the closed ones, or with the short ones that are booked together."""
        if end_s - start_s >= GRAIN_S:
            self._close_short()
            self._closed.append(_alone(name, start_s, end_s, cpu_s))
            return
        if self._short is None:
            self._short = _alone(name, start_s, end_s, cpu_s)
        else:
            self._short = self._short.joined(name, end_s, cpu_s)
        if self._short.end_s - self._short.start_s >= GRAIN_S:
            self._close_short()

    def _close_short(self) -> None:
        if self._short is not None:
            self._closed.append(self._short)
            self._short = None

    def _settle(self, stretch: _Stretch) -> None:
        self._enter(self._entries, stretch)
        self._unsettled = 0

    def _cut(self, horizon_s: float) -> None:
        """Settle a long open phase up to now, so that a live figure never takes long."""
        if self._unsettled < MOST_UNSETTLED:
            return
        with self._marks:
            if self._closed or self._short or self._open is None or self._open[1] >= horizon_s:
                return
            name, start_s, cpu_s = self._open
            self._open = (name, horizon_s, cpu_s)
        self._settle(_alone(name, start_s, horizon_s, 0.0))

    def _enter(self, entries: dict[str, Entry], stretch: _Stretch) -> None:
        for entry in stretch.entries(self._energy(stretch.start_s, stretch.end_s)):
            before = entries.get(entry.name)
            entries[entry.name] = entry if before is None else _sum(before, entry)


def _alone(name: str, start_s: float, end_s: float, cpu_s: float) -> _Stretch:
    return _Stretch(start_s, end_s, {name: (end_s - start_s, cpu_s, 1)})


def _sum(one: Entry, other: Entry) -> Entry:
    energy = merged((one.energy, other.energy))
    return Entry(one.name, one.wall_s + other.wall_s, one.cpu_s + other.cpu_s, one.blocks + other.blocks, energy)


def _share(energy: Energy, share: float) -> Energy:
    def part(devices: Sequence[DeviceEnergy]) -> tuple[DeviceEnergy, ...]:
        return tuple(replace(d, energy_j=d.energy_j.scale(share), gaps_s=d.gaps_s * share) for d in devices)

    return Energy(energy.duration_s * share, part(energy.devices), part(energy.checks))


def merged(energies: Sequence[Energy]) -> Energy:
    """The energy of several windows together, device by device."""
    duration_s = sum(energy.duration_s for energy in energies)
    return Energy(
        duration_s,
        _merged_devices([energy.devices for energy in energies], duration_s),
        _merged_devices([energy.checks for energy in energies], duration_s),
    )


def _merged_devices(windows: Sequence[Sequence[DeviceEnergy]], duration_s: float) -> tuple[DeviceEnergy, ...]:
    devices: dict[str, DeviceEnergy] = {}
    for one in (device for window in windows for device in window):
        before = devices.get(one.device)
        devices[one.device] = one if before is None else _both(before, one)
    return tuple(
        replace(one, coverage=1.0 - one.gaps_s / duration_s if duration_s > 0 else 1.0) for one in devices.values()
    )


def _both(one: DeviceEnergy, other: DeviceEnergy) -> DeviceEnergy:
    return replace(
        one,
        energy_j=one.energy_j + other.energy_j,
        gaps_s=one.gaps_s + other.gaps_s,
        faults=_kinds((*one.faults, *other.faults)),
        resolution_s=max(one.resolution_s, other.resolution_s),
        lag_j=max(one.lag_j, other.lag_j),
    )


def _kinds(faults: Iterable[str]) -> tuple[str, ...]:
    """The kinds of some faults. Their counts are left out: two windows look at the readings between them twice."""
    return tuple(dict.fromkeys(fault.rpartition(" (")[0] or fault for fault in faults))
