"""The power of the whole machine from its own board: ACPI power meters, which hwmon shows."""

from __future__ import annotations

import re
from pathlib import Path

from lowcarb.core.energy import MOST_W, Channel, Reading
from lowcarb.core.units import MILLI, PERCENT
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.sysfs import number, text, watts

RATIO = 0.10
"""`assumed` for boards and management controllers that do not state their accuracy."""
RESOLUTION_S = 1.0
"""`assumed` where a meter does not tell over what time its value is a mean."""
FILE = "power1_average"
WHOLE = "LNXSY"
"""A meter that measures the system's root (LNXSYSTM, LNXSYBUS) measures the machine (ACPI 6.5, 10.4.5, _PMD)."""


def machine_channel(sensor: str, *, ratio: float = RATIO, resolution_s: float = RESOLUTION_S) -> Channel:
    """The channel of a sensor that gives the power of the whole machine: a check of the others, in no total."""
    return Channel(
        id=f"{sensor}:machine",
        device="machine",
        kind="machine",
        quantity="power",
        sensor=sensor,
        basis="measured",
        low_ratio=1.0 - ratio,
        high_ratio=1.0 + ratio,
        rated_w=None,
        resolution_s=resolution_s,
        check=True,
    )


class Board:
    """Power [W] that an ACPI power meter tells. Make it with `find_board`."""

    name = "board"

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        interval_ms = number(folder / "power1_average_interval")
        self._channel = machine_channel(
            self.name,
            ratio=_ratio(text(folder / "power1_accuracy")),
            resolution_s=interval_ms * MILLI if interval_ms else RESOLUTION_S,
        )

    def channels(self) -> tuple[Channel, ...]:
        """One channel: the machine, as a check of the others."""
        return (self._channel,)

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Present power; none while the meter gives no number."""
        power_w = watts(self._file)
        return () if power_w is None else (Reading(at_s, self._channel.id, power_w),)

    def close(self) -> None:
        """Nothing is held."""


def find_board(sysfs_root: Path) -> Board:
    """Open the ACPI power meter of this machine.

    Other chips under hwmon measure single rails, and what is behind a rail is not known from its name.

    Args:
        sysfs_root: where sysfs is mounted, `/sys` on a real machine.

    Raises:
        SensorUnavailable: no such meter, or several, or one that measures a part or gives nothing.
    """
    meters = [folder for one in sorted((sysfs_root / "class" / "hwmon").glob("hwmon*")) if (folder := _meter(one))]
    if not meters:
        raise SensorUnavailable("board", "no ACPI power meter", "")
    whole = [folder for folder in meters if _measures_all(folder)]
    if len(whole) != 1:
        raise SensorUnavailable(
            "board",
            f"of {len(meters)} ACPI power meters {len(whole)} measure the whole machine",
            "Nothing to do: it would have to be exactly one; IPMI or Redfish may tell it",
        )
    if not 0.0 < (watts(whole[0] / FILE) or 0.0) <= MOST_W["machine"]:
        raise SensorUnavailable("board", f"{whole[0]} gives no power", "See whether the firmware's power meter is on")
    return Board(whole[0])


def _meter(hwmon: Path) -> Path | None:
    """The folder with the files of an ACPI power meter that is no battery, or None."""
    if text(hwmon / "name") != "power_meter":
        return None
    # The files are those of the ACPI device on kernels before hwmon_device_register_with_info.
    folder = hwmon if (hwmon / FILE).exists() else hwmon / "device"
    return None if text(folder / "power1_is_battery") == "1" else folder


def _measures_all(folder: Path) -> bool:
    places = (folder / "measures", folder / "device" / "measures")
    measured = [part.name for place in places for part in place.glob("*")]
    return not measured or any(name.startswith(WHOLE) for name in measured)


def _ratio(accuracy: str) -> float:
    """How far a meter may be off: what is missing of an accuracy such as `95.0%`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%", accuracy)
    off = 1.0 - float(match.group(1)) / PERCENT if match else RATIO
    return off if 0.0 < off < 1.0 else RATIO
