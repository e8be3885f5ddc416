"""What a tracker measures with: sensors, meter and machine. Whatever of it cannot be had, the rest goes on without."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import cached_property
from threading import Lock

from lowcarb.core.energy import Channel, Energy, Reading, integrate
from lowcarb.core.hardware import Machine
from lowcarb.sensors.cpu_model import machine_times
from lowcarb.sensors.find import Found, find_sensors
from lowcarb.sensors.machine import describe_machine
from lowcarb.sensors.meter import Meter
from lowcarb.sensors.share import share_of
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.plan import Plan, TrackCatalogue, usual_catalogue
from lowcarb.tracker.process import own_tree_cpu_s

UNSEEN = Channel(
    id="unseen",
    device="machine",
    kind="machine",
    quantity="power",
    sensor="none",
    basis="assumed",
    low_ratio=0.0,
    high_ratio=1.0,
    rated_w=None,
)
"""Stands in where nothing can be read: between nothing and the most that a machine draws."""


FIND_S = 20.0
"""How long sensors are looked for [s]: without its persistence daemon, NVIDIA's driver takes seconds a GPU to open.
After that those are taken that need no NVML, which is what hangs if anything does."""


class HangingNvml:
    """Stands in for an NVML that does not answer."""

    class NVMLError(Exception):
        """Its errors."""

    @classmethod
    def nvmlInit(cls) -> None:  # noqa: N802  # NVML's own name
        """Raise what NVML raises where it cannot be used."""
        raise cls.NVMLError(f"no answer for {FIND_S:g} s")


class Rig:
    """The meter with its sensors, opened by `open`; until then, and where that fails, every figure is a wide guess."""

    def __init__(self, plan: Plan, guard: Guard) -> None:
        self._plan, self._guard = plan, guard
        self._found: Found | None = None
        self._choosing = Lock()
        self._meter: Meter | None = None
        self.machine = plan.machine or unknown_machine()
        self.missing: tuple[str, ...] = ()
        """What this machine does not let be read, and why."""
        self.tree_times: Callable[[], float] = own_tree_cpu_s
        """Gives the processor time of the processes whose share is asked for [s]."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What is read."""
        return (self._meter.channels if self._meter else ()) or (UNSEEN,)

    @property
    def cost_cpu_s(self) -> float | None:
        """Processor time that metering has taken so far [s]."""
        return self._meter.cost_cpu_s if self._meter else None

    def open(self, sink: Callable[[tuple[Reading, ...]], object]) -> None:
        """Find the sensors; reads nothing yet."""
        plan = self._plan
        if plan.sensors is None and not self._guard.within(FIND_S, "sensors", self._find):
            self._guard.run("sensors", lambda: self._take(find_sensors(self._catalogue, nvml=HangingNvml)), None)
        sensors = plan.sensors if plan.sensors is not None else self._found.sensors if self._found else ()
        if plan.attribution == "process":
            sensors = tuple(share_of(sensor, machine_times, self.tree_times) for sensor in sensors)
        self._meter = self._guard.run("meter", lambda: Meter(sensors, interval_s=plan.interval_s, sink=sink), None)

    def _find(self) -> None:
        self._take(find_sensors(self._catalogue))

    def _take(self, found: Found) -> None:
        """Take these sensors, unless others were taken while they were looked for."""
        with self._choosing:
            late = self._found is not None
            if not late:
                self._found = found
                self.missing = tuple(f"{one.sensor}: {one.reason}" for one in found.missing)
        if late:
            found.close()

    def start(self) -> None:
        """Begin to read."""
        if self._meter is not None:
            self._guard.run("meter", self._meter.start, None)

    def describe(self, told: Callable[[Machine], object]) -> None:
        """Find out what the machine is, which takes longer than to measure it, and tell."""
        if self._plan.machine is None:
            self._guard.run("machine", lambda: told(self._described()), None)

    def mark(self) -> None:
        """Ask for a reading now."""
        if self._meter is not None:
            self._guard.run("meter", self._meter.mark, None)

    def stop(self) -> None:
        """Take a last reading and let go of the sensors that were found here."""
        if self._meter is not None:
            self._guard.run("meter", self._meter.stop, None)
            self._guard.run("meter", self._report, None)
        if self._found is not None:
            self._guard.run("sensors", self._found.close, None)

    def faults(self) -> tuple[str, ...]:
        """What went wrong with reading so far, until `stop` hands it to the guard."""
        nothing: tuple[str, ...] = ()
        return nothing if self._meter is None else self._guard.run("meter", self._meter.faults, nothing)

    def energy(self, start_s: float, end_s: float) -> Energy:
        """Energy between two times of the monotonic clock [s]."""
        if self._meter is None or not self._meter.channels:
            return unseen_energy(start_s, end_s)
        return self._meter.energy(start_s, end_s)

    def power_w(self) -> float | None:
        """Mean power over the last few intervals [W]; None where it is not known."""
        return None if self._meter is None else self._guard.run("meter", self._meter.power_w, None)

    def _report(self) -> None:
        if self._meter is not None:
            self._guard.report(self._meter.faults())

    def _described(self) -> Machine:
        found = self._found or find_sensors(self._catalogue)
        self.machine = describe_machine(self._catalogue, found)
        if found is not self._found:
            found.close()
        return self.machine

    @cached_property
    def _catalogue(self) -> TrackCatalogue:
        return self._plan.catalogue or usual_catalogue()


def unseen_energy(start_s: float, end_s: float) -> Energy:
    """Energy of a time [s] that nobody saw: assumed, and as wide as can be."""
    return integrate([UNSEEN], (), start_s, max(start_s, end_s), interval_s=1.0)


def unknown_machine() -> Machine:
    """What any system tells of itself, where nothing better can be had."""
    try:
        memory_bytes = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        memory_bytes = float("nan")
    return Machine("unknown", platform.machine() or "unknown", (), os.cpu_count() or 1, memory_bytes)
