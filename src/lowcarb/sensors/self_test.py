"""A few seconds of metering with the sensors that were found: what they give, whether they agree, what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic, sleep

from lowcarb.core.cpu_power import cpu_power_w
from lowcarb.core.energy import DeviceEnergy, Energy
from lowcarb.core.estimate import Estimate, total
from lowcarb.core.units import S_PER_HOUR
from lowcarb.sensors.find import Found
from lowcarb.sensors.meter import Meter

USUAL_INTERVAL_S = 1.0
"""Time between readings of a meter that nobody told another one."""
LEAST_READINGS = 8.0
"""A test so short that it would hold fewer readings at the usual interval is read more often."""
LEAST_INTERVAL_S = 0.05
ON_BOARD = ("cpu", "dram")
"""What psys contains for certain; cards have their own supply."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A sensor that contains others, beside what those say."""

    whole: DeviceEnergy
    parts: tuple[str, ...]
    """The devices that it contains."""
    whole_w: Estimate
    parts_w: Estimate

    @property
    def agrees(self) -> bool | None:
        """Whether the parts can be in the whole: no part draws less than nothing. None where the whole was not read."""
        return None if self.whole.coverage == 0.0 else self.parts_w.low <= self.whole_w.high


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What a self-test gave."""

    interval_s: float
    energy: Energy
    agreements: tuple[Agreement, ...]
    faults: tuple[str, ...]
    """What went wrong with metering as a whole."""
    cost_cpu_s_per_hour: float
    """Processor time that metering takes at the usual interval, in an hour [s]."""
    cost_j_per_hour: Estimate
    """The energy of that [J]."""


def self_test(found: Found, seconds: float) -> SelfTest:
    """Meter this machine as it is for so many seconds.

    Args:
        found: its sensors, open.
        seconds: how long [s], more than 0.
    """
    interval_s = min(USUAL_INTERVAL_S, max(LEAST_INTERVAL_S, seconds / LEAST_READINGS))
    meter = Meter(found.sensors, interval_s=interval_s)
    meter.start()
    start_s = monotonic()
    sleep(seconds)
    end_s = monotonic()
    meter.stop()
    energy = meter.energy(start_s, end_s)
    # What a reading costs stays the same; how many there are in an hour does not.
    cost_s = meter.cost_cpu_s * interval_s / USUAL_INTERVAL_S * S_PER_HOUR / energy.duration_s
    return SelfTest(
        interval_s=interval_s,
        energy=energy,
        agreements=tuple(_agreement(check, energy) for check in energy.checks),
        faults=meter.faults(),
        cost_cpu_s_per_hour=cost_s,
        cost_j_per_hour=thread_w(found).scale(cost_s),
    )


def power_w(device: DeviceEnergy, duration_s: float) -> Estimate:
    """Mean power of a device over a test [W]."""
    return device.energy_j.scale(1.0 / duration_s)


def thread_w(found: Found) -> Estimate:
    """What one busy logical processor of an idle machine adds to its power [W], by the model of processors."""
    share = 1.0 / max(1.0, found.processor.usable_threads)
    busy, idle = (cpu_power_w(load, found.rated_w.mid) for load in (share, 0.0))
    rise_w = busy.mid - idle.mid
    rated = found.rated_w.scale(rise_w / found.rated_w.mid)
    return rated.widened(busy.low / busy.mid, busy.high / busy.mid).on("modelled")


def _agreement(check: DeviceEnergy, energy: Energy) -> Agreement:
    parts = [device for device in energy.devices if check.device != "psys" or device.kind in ON_BOARD]
    return Agreement(
        whole=check,
        parts=tuple(device.device for device in parts),
        whole_w=power_w(check, energy.duration_s),
        parts_w=_total_w(parts, energy.duration_s),
    )


def _total_w(devices: Iterable[DeviceEnergy], duration_s: float) -> Estimate:
    return total(power_w(device, duration_s) for device in devices)
