"""The meters that are compared, each behind the same few verbs. Runs in each tool's own environment.

Energy [J] is that of the simulated device only, a GPU (`gpu`) or processor package (`cpu`): what a tool adds for
memory, or multiplies by for a data centre, is left out. Where a tool reads powercap at a fixed path, its constant
is set to the simulated tree's; no file of it is changed.
"""

# ruff: noqa: PLC0415  # each tool is there in its own environment only

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

KWH_J = 3.6e6
EPOCH_S = 2.5
"""Length of the epochs of a run that does not know its own end [s]: carbontracker's only unit."""


@dataclass(frozen=True)
class Told:
    """What a tool says of a run or a block."""

    energy_j: float | None
    """None: nothing."""
    measured_j: float | None = None
    """The part of it that was read off the device, where the tool tells."""
    gaps_s: float | None = None
    """Time that it says it did not see [s], where it tells."""
    marks: tuple[str, ...] = field(default=())
    """What it says is wrong with this number, in the result itself."""


class Tool(Protocol):
    """One run of one tool."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def told(self) -> Told: ...
    def begin_block(self, name: str) -> None: ...
    def end_block(self, name: str) -> None: ...
    def block(self, name: str) -> Told: ...
    def tick(self) -> None:
        """Called once an interval while a run lasts; for tools that have no clock of their own."""


class Lowcarb:
    name = "lowcarb"

    def __init__(self, kind: str, interval_s: float, folder: Path, label: str) -> None:
        from lowcarb import track

        self._kind, self._open = kind, {}
        self._run = track(label, interval_s=interval_s, home=folder)

    def start(self) -> None:
        self._run.start()

    def stop(self) -> None:
        self._run.stop()

    def told(self) -> Told:
        parts = [self._of(phase) for phase in self._run.phases()]
        return Told(
            sum(part.energy_j for part in parts),
            sum(part.measured_j for part in parts),
            max(part.gaps_s for part in parts),
            tuple(dict.fromkeys((*(mark for part in parts for mark in part.marks), *self._run.faults()))),
        )

    def begin_block(self, name: str) -> None:
        self._open[name] = self._run.phase(name)
        self._open[name].__enter__()

    def end_block(self, name: str) -> None:
        self._open.pop(name).__exit__(None, None, None)

    def block(self, name: str) -> Told:
        return self._of(next(phase for phase in self._run.phases() if phase.name == name))

    def tick(self) -> None:
        pass

    def _of(self, phase: Any) -> Told:
        devices = [device for device in phase.energy.devices if device.kind == self._kind]
        marks = [f"{device.device}: {fault}" for device in devices for fault in device.faults]
        marks += [f"{device.device}: {device.gaps_s:.1f} s not seen" for device in devices if device.gaps_s > 0]
        marks += [f"{device.device}: unresolved" for device in devices if device.device in phase.unresolved]
        return Told(
            sum(device.energy_j.mid for device in devices),
            # A gap is filled with the mean power of the time that was seen.
            sum(device.energy_j.mid * device.coverage for device in devices),
            max((device.gaps_s for device in devices), default=0.0),
            tuple(marks),
        )


class Codecarbon:
    name = "codecarbon"

    def __init__(self, kind: str, interval_s: float, folder: Path, label: str) -> None:
        from codecarbon import OfflineEmissionsTracker
        from codecarbon.core import cpu
        from codecarbon.external.hardware import CPU

        tree = str(powercap() / "intel-rapl")
        cpu.is_rapl_available.__defaults__ = (tree,)
        CPU.__init__.__defaults__ = tuple(  # type: ignore[misc]
            tree if str(value).startswith("/sys/class/powercap") else value for value in CPU.__init__.__defaults__ or ()
        )
        self._kind, self._blocks = kind, {}
        self._tracker = OfflineEmissionsTracker(
            project_name=label,
            country_iso_code="FRA",
            measure_power_secs=interval_s,
            output_dir=str(folder),
            log_level="warning",
        )

    def start(self) -> None:
        self._tracker.start()

    def stop(self) -> None:
        self._tracker.stop()

    def told(self) -> Told:
        return Told(getattr(self._tracker, f"_total_{self._kind}_energy").kWh * KWH_J)

    def begin_block(self, name: str) -> None:
        self._tracker.start_task(name)

    def end_block(self, name: str) -> None:
        self._blocks[name] = self._tracker.stop_task(name)

    def block(self, name: str) -> Told:
        return Told(getattr(self._blocks[name], f"{self._kind}_energy") * KWH_J)

    def tick(self) -> None:
        pass


class Zeus:
    name = "zeus"

    def __init__(self, kind: str, interval_s: float, folder: Path, label: str) -> None:
        from zeus.device.cpu import rapl
        from zeus.monitor import ZeusMonitor

        del interval_s
        rapl.RAPL_DIR = str(powercap() / "intel-rapl")
        self._kind, self._label, self._windows, self._number = kind, label, {}, 0
        self._monitor = ZeusMonitor(log_file=folder / "windows.csv")

    # Its default waits for torch's GPU work and raises without torch; there is no such work here.

    def start(self) -> None:
        self.begin_block(self._label)

    def stop(self) -> None:
        self.end_block(self._label)

    def told(self) -> Told:
        return self.block(self._label)

    def begin_block(self, name: str) -> None:
        self._monitor.begin_window(name, sync_execution=False)

    def end_block(self, name: str) -> None:
        self._windows[name] = self._monitor.end_window(name, sync_execution=False)

    def block(self, name: str) -> Told:
        energies = getattr(self._windows[name], f"{self._kind}_energy")
        return Told(sum(energies.values()) if energies else None)

    def tick(self) -> None:
        """A window an interval: without one it reads nothing between start and stop."""
        if self._number:
            self.end_block(f"interval {self._number}")
        self._number += 1
        self.begin_block(f"interval {self._number}")


class Carbontracker:
    name = "carbontracker"

    def __init__(self, kind: str, interval_s: float, folder: Path, label: str) -> None:
        from carbontracker.components.cpu import intel
        from carbontracker.tracker import CarbonTracker

        intel.RAPL_DIR = f"{powercap()}/"
        self._epochs: list[str] = []
        self._per_epoch: list[float] = []
        # More epochs than there will be, so that it neither predicts nor ends by itself.
        self._tracker = CarbonTracker(
            epochs=1_000_000,
            epochs_before_pred=0,
            update_interval=interval_s,
            components=kind,
            log_dir=str(folder),
            log_file_prefix=label,
        )
        self._label, self._ends_s = label, time.monotonic() + EPOCH_S

    def start(self) -> None:
        self.begin_block(self._label)

    def stop(self) -> None:
        if len(self._per_epoch) < len(self._epochs):
            self.end_block(self._label)
        self._tracker.stop()

    def told(self) -> Told:
        return self.block(self._label)

    def begin_block(self, name: str) -> None:
        self._epochs.append(name)
        self._tracker.epoch_start()

    def end_block(self, name: str) -> None:
        from carbontracker import constants

        del name
        self._tracker.epoch_end()
        self._per_epoch = [
            float(energy_kwh) / constants.PUE_2023 * KWH_J
            for energy_kwh in self._tracker.tracker.total_energy_per_epoch()
        ]

    def block(self, name: str) -> Told:
        return Told(self._per_epoch[self._epochs.index(name)])

    def tick(self) -> None:
        if time.monotonic() >= self._ends_s:
            self.end_block("")
            self.begin_block("")
            self._ends_s = time.monotonic() + EPOCH_S


TOOLS: dict[str, Any] = {tool.name: tool for tool in (Lowcarb, Codecarbon, Zeus, Carbontracker)}
IMPORTS = {
    "lowcarb": ("import lowcarb", "from lowcarb import track"),
    "codecarbon": ("import codecarbon", "from codecarbon import OfflineEmissionsTracker"),
    "zeus": ("import zeus", "from zeus.monitor import ZeusMonitor"),
    "carbontracker": ("import carbontracker", "from carbontracker.tracker import CarbonTracker"),
}
"""What a tool's user writes: the package, and the name that starts a meter."""


def powercap() -> Path:
    """The simulated powercap tree."""
    return Path(os.environ["LOWCARB_SYSFS_ROOT"]) / "class" / "powercap"


def listen() -> None:
    """Let warnings through to the standard error output, as an application's usual logging does."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s %(levelname)s %(message)s")
