"""Apple silicon: the energy that the chip counts for itself, through the package `zeus-apple-silicon`."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib import import_module
from typing import Any

from lowcarb.core.energy import Channel, Reading
from lowcarb.core.hardware import DeviceKind
from lowcarb.core.units import MJ_PER_J
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.gpu import Gpu

LOW_RATIO, HIGH_RATIO = 0.75, 1.35
"""`assumed`: the chip models its energy from what its parts do (zeus-apple-silicon, README, Accuracy), Apple calls the
figures estimates (`man powermetrics`), and nobody has published a check against a meter."""
RESOLUTION_S = 0.01
"""The counters step by 1 mJ, which dominates windows under some 10 ms (zeus-apple-silicon, README, Accuracy)."""
ULTRA_DIES = 2.0
"""Ultra chips count each of two dies (macmon: channel DIE_{}_CPU Energy), and zeus-apple-silicon 1.1 keeps the last."""
PACKAGE = "zeus_apple_silicon"
_PARTS: tuple[tuple[str, DeviceKind, tuple[str, ...]], ...] = (
    ("cpu", "cpu", ("cpu_total_mj",)),
    ("gpu", "gpu", ("gpu_mj", "gpu_sram_mj")),
    ("dram", "dram", ("dram_mj",)),
    ("ane", "npu", ("ane_mj",)),
)
"""Device, its kind, and the counters that together are its energy."""


class Apple:
    """Energy [J] of the parts of the chip. Make it with `find_apple`.

    Attributes:
        gpus: the chip's GPU, if it is counted.
    """

    name = "apple"

    def __init__(self, monitor: Any, fields: dict[str, tuple[str, ...]], chip: str) -> None:
        self._monitor, self._fields = monitor, fields
        self._channels = tuple(_channel(device, kind, chip) for device, kind, _ in _PARTS if device in fields)
        self.gpus = (Gpu("apple-gpu", chip, None, None),) if "gpu" in fields else ()

    def channels(self) -> tuple[Channel, ...]:
        """One channel a part; no part lies in another."""
        return self._channels

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Present counters; a part that is not told is left out."""
        told = self._monitor.get_cumulative_energy()
        readings = []
        for channel, fields in zip(self._channels, self._fields.values(), strict=True):
            counts_mj = [getattr(told, name) for name in fields]
            if None not in counts_mj:
                readings.append(Reading(at_s, channel.id, sum(counts_mj) / MJ_PER_J))
        return tuple(readings)

    def close(self) -> None:
        """Nothing is held."""


def find_apple(
    *,
    system: str | None = None,
    machine: str | None = None,
    module: Any = None,
    chip: Callable[[], str] | None = None,
) -> Apple:
    """Open the counters of an Apple chip.

    Args:
        system: the operating system, and
        machine: its processor's architecture; those of this machine unless given.
        module: the module `zeus_apple_silicon`; the installed one unless given.
        chip: gives the chip's name; asks the system unless given.

    Raises:
        SensorUnavailable: another machine, no package, or a chip that tells nothing.
    """
    system, machine = system or platform.system(), machine or platform.machine()
    if (system, machine) != ("Darwin", "arm64"):
        raise SensorUnavailable("apple", "not a Mac with Apple silicon", "")
    try:
        monitor = (module or import_module(PACKAGE)).AppleEnergyMonitor()
        told = monitor.get_cumulative_energy()
    except ImportError as error:
        raise SensorUnavailable("apple", f"{PACKAGE} is not installed", "pip install 'lowcarb[apple]'") from error
    except RuntimeError as error:
        raise SensorUnavailable("apple", f"the chip does not tell its energy ({error})", "Update macOS") from error
    fields = {
        device: present
        for device, _, names in _PARTS
        if (present := tuple(name for name in names if getattr(told, name) is not None)) and names[0] in present
    }
    if not fields:
        raise SensorUnavailable("apple", "the chip tells no energy", "Update macOS and zeus-apple-silicon")
    return Apple(monitor, fields, (chip or _chip)())


def _chip() -> str:
    import subprocess  # noqa: PLC0415  # on a Mac only

    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True)  # noqa: S603  # fixed
    except (OSError, subprocess.SubprocessError):
        return "Apple silicon"
    return done.stdout.strip() or "Apple silicon"


def _channel(device: str, kind: DeviceKind, chip: str) -> Channel:
    dies = ULTRA_DIES if device == "cpu" and "Ultra" in chip else 1.0
    return Channel(
        id=f"apple:{device}",
        device=device if device in ("cpu", "dram") else f"apple-{device}",
        kind=kind,
        quantity="counter",
        sensor="apple",
        basis="measured",
        low_ratio=LOW_RATIO,
        high_ratio=HIGH_RATIO * dies,
        rated_w=None,
        resolution_s=RESOLUTION_S,
    )
