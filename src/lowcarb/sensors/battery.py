"""The battery of a laptop: while nothing else feeds the machine, what leaves it is what the whole machine draws."""

from __future__ import annotations

from pathlib import Path

from lowcarb.core.energy import Channel, Reading
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.sysfs import UW_PER_W, number, text, watts

RATIO = 0.25
"""`assumed`: a smart plug and a battery were seen to differ by 20 % (blog.fluxcoil.net, 2022-11, Laptop Battery vs.
Smartplug), a part of which is the loss of the charger; and firmware smooths its figure."""
RESOLUTION_S = 60.0
"""Firmware tells a mean over about a minute (ThinkWiki, How to measure power consumption; amas.sh, Power readings
desmoothed, where it is renewed every 8 s)."""


class Battery:
    """Power [W] out of the batteries. Make it with `find_battery`."""

    name = "battery"

    def __init__(self, power_supply: Path, batteries: tuple[Path, ...]) -> None:
        self._power_supply, self._batteries = power_supply, batteries
        self._channel = Channel(
            id="battery:machine",
            device="machine",
            kind="machine",
            quantity="power",
            sensor=self.name,
            basis="measured",
            low_ratio=1.0 - RATIO,
            high_ratio=1.0 + RATIO,
            rated_w=None,
            resolution_s=RESOLUTION_S,
            check=True,
        )

    def channels(self) -> tuple[Channel, ...]:
        """One channel: the machine, as a check of the others."""
        return (self._channel,)

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Present power; none while the machine is plugged in, when the battery says nothing about it."""
        if _plugged_in(self._power_supply):
            return ()
        powers_w = [power_w for one in self._batteries if _discharging(one) and (power_w := _power_w(one)) is not None]
        return (Reading(at_s, self._channel.id, sum(powers_w)),) if powers_w else ()

    def close(self) -> None:
        """Nothing is held."""


def find_battery(sysfs_root: Path) -> Battery:
    """Open the batteries that this machine runs on.

    Args:
        sysfs_root: where sysfs is mounted, `/sys` on a real machine.

    Raises:
        SensorUnavailable: no battery, or the machine is plugged in, or the battery does not tell its power.
    """
    power_supply = sysfs_root / "class" / "power_supply"
    batteries = tuple(path for path in sorted(power_supply.glob("*")) if _feeds_the_machine(path))
    if not batteries:
        raise SensorUnavailable("battery", "no battery", "")
    if _plugged_in(power_supply) or not any(_discharging(one) for one in batteries):
        raise SensorUnavailable(
            "battery",
            "the machine is plugged in, and then its battery does not tell what it draws",
            "Unplug it to check the other sensors against the battery",
        )
    battery = Battery(power_supply, batteries)
    if not battery.read(0.0):
        raise SensorUnavailable("battery", f"{batteries[0]} tells neither power nor current", "Nothing to do")
    return battery


def _feeds_the_machine(path: Path) -> bool:
    # The batteries of mice and headsets have the scope `Device`.
    return text(path / "type") == "Battery" and text(path / "scope") != "Device" and text(path / "present") != "0"


def _plugged_in(power_supply: Path) -> bool:
    """Whether a charger feeds the machine, alone or beside the battery."""
    return any(text(path / "type") != "Battery" and number(path / "online") for path in power_supply.glob("*"))


def _discharging(battery: Path) -> bool:
    return text(battery / "status") == "Discharging"


def _power_w(battery: Path) -> float | None:
    """Power out of a battery [W]; some drivers give it, and the current, with a minus sign."""
    power_w = watts(battery / "power_now")
    if power_w is None:
        current_ua, voltage_uv = number(battery / "current_now"), number(battery / "voltage_now")
        if current_ua is not None and voltage_uv is not None:
            # Microamperes and microvolts: the same prefix twice.
            power_w = current_ua / UW_PER_W * voltage_uv / UW_PER_W
    return None if power_w is None else abs(power_w)
