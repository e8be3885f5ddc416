"""The share of some processes in the energy of a machine that others work on too.

    share = processor time of the processes / busy processor time of the machine, between two readings

Idle power is shared by the same key. GPUs are not shared out: who else computes on one cannot be told apart from here,
so they stay whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lowcarb.core.energy import Channel, Reading
from lowcarb.sensors.base import Sensor

LOW_RATIO, HIGH_RATIO = 0.7, 1.4
"""True share over the share of processor time: a second of wide vector arithmetic draws more than one of waiting for
memory, by up to some 40 % on one processor. `assumed`."""
SHARED_KINDS = frozenset({"cpu", "dram"})
SUFFIX = ", process share"


class Share:
    """A sensor of counters whose every step is scaled by the share that some processes have in it. See `share_of`."""

    def __init__(
        self, sensor: Sensor, machine_times: Callable[[], tuple[float, float]], process_s: Callable[[], float]
    ) -> None:
        self.name = sensor.name
        self._sensor, self._machine_times, self._process_s = sensor, machine_times, process_s
        self._channels = {channel.id: _shared(channel) for channel in sensor.channels()}
        self._last: dict[str, float] = {}
        self._sums: dict[str, float] = {}
        self._times: tuple[float, float] | None = None
        self._share = 0.0

    def channels(self) -> tuple[Channel, ...]:
        """The sensor's channels, as shares."""
        return tuple(self._channels.values())

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Energy of the processes since the first reading [J]; a step that is no step of a counter starts anew at 0."""
        readings = self._sensor.read(at_s)
        self._look()
        return tuple(
            Reading(r.at_s, r.channel, self._scaled(r)) if _is_shared(self._channels[r.channel]) else r
            for r in readings
        )

    def close(self) -> None:
        """Close the sensor."""
        self._sensor.close()

    def _look(self) -> None:
        """Take the share since the last look; the kernel counts in ticks, so it holds where none has passed."""
        process_s, (busy_s, _) = self._process_s(), self._machine_times()
        last = self._times or (process_s, busy_s)
        # A process that ended unseen took its time with it: none is then booked rather than a negative one.
        if busy_s > last[1]:
            self._share = min(1.0, max(0.0, (process_s - last[0]) / (busy_s - last[1])))
        self._times = process_s, busy_s

    def _scaled(self, reading: Reading) -> float:
        channel = self._channels[reading.channel]
        if channel.quantity == "power":
            return reading.value * self._share
        last = self._last.get(reading.channel, reading.value)
        self._last[reading.channel] = reading.value
        step = reading.value - last
        # A step back is a wrap or a reset: to zero, which the books take for the gap that it is.
        total = 0.0 if step < 0 else self._sums.get(reading.channel, 0.0) + step * self._share
        self._sums[reading.channel] = total
        return total


def share_of(
    sensor: Sensor, machine_times: Callable[[], tuple[float, float]], process_s: Callable[[], float]
) -> Sensor:
    """The sensor with the energy of processors and memory scaled to the share of some processes.

    Args:
        sensor: what reads the whole machine.
        machine_times: gives busy and whole processor time of the machine [s].
        process_s: gives the processor time of the processes [s].
    """
    if not any(_is_shared(channel) for channel in sensor.channels()):
        return sensor
    return Share(sensor, machine_times, process_s)


def _is_shared(channel: Channel) -> bool:
    return channel.kind in SHARED_KINDS and not channel.check


def _shared(channel: Channel) -> Channel:
    if not _is_shared(channel):
        return channel
    return replace(
        channel,
        sensor=channel.sensor + SUFFIX,
        basis="modelled" if channel.basis == "measured" else channel.basis,
        low_ratio=channel.low_ratio * LOW_RATIO,
        high_ratio=channel.high_ratio * HIGH_RATIO,
        range_j=None,
    )
