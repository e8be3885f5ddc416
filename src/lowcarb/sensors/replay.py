"""The public fake: a sensor that gives recorded readings, and fails when it is told to.

    sensor = Replay.steady(50.0)                                    50 W for ever
    sensor = Replay(channels, readings, [Fault("hang", 10.0)])      a recording that stops answering after 10 s

Times of the recording count from its first reading, and that moment is the first time it is read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from threading import Event
from typing import Literal

from lowcarb.core.energy import Channel, Reading
from lowcarb.core.hardware import DeviceKind


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong from one moment of the recording to another.

    Attributes:
        kind: `raise` an error, `hang` until the sensor is closed, or `lose` a channel: leave its reading out.
        from_s: when it begins, after the first reading [s].
        until_s: when it is over [s].
        channel: the channel that is lost; all of them if none is named.
    """

    kind: Literal["raise", "hang", "lose"]
    from_s: float = 0.0
    until_s: float = inf
    channel: str | None = None


class ReplayError(RuntimeError):
    """What a replay raises when it was told to."""


class Replay:
    """Recorded readings, in order of time: at each moment the latest one of each channel.

    Args:
        channels: what is read.
        readings: the recording, in any order; it needs readings on its channels only.
        faults: what goes wrong and when.
        hold_last: give the last reading for ever; otherwise a channel is lost when its recording ends.
        name: the sensor's name.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        readings: Iterable[Reading],
        faults: Sequence[Fault] = (),
        *,
        hold_last: bool = False,
        name: str = "replay",
    ) -> None:
        self.name = name
        self._channels, self._faults, self._hold_last = tuple(channels), tuple(faults), hold_last
        ordered = sorted(readings, key=lambda reading: reading.at_s)
        self._zero_s = ordered[0].at_s if ordered else 0.0
        self._series = {one.id: [r for r in ordered if r.channel == one.id] for one in self._channels}
        self._began_s: float | None = None
        self._closed = Event()

    @classmethod
    def steady(
        cls,
        power_w: float,
        faults: Sequence[Fault] = (),
        *,
        device: str = "replay-0",
        kind: DeviceKind = "gpu",
        name: str = "replay",
    ) -> Replay:
        """A device that draws the same power [W] for ever; it is rated at twice that."""
        channel = Channel(
            id=f"{name}:{device}",
            device=device,
            kind=kind,
            quantity="power",
            sensor=name,
            basis="measured",
            low_ratio=1.0,
            high_ratio=1.0,
            rated_w=2.0 * power_w,
        )
        return cls([channel], [Reading(0.0, channel.id, power_w)], faults, hold_last=True, name=name)

    def channels(self) -> tuple[Channel, ...]:
        """What is read."""
        return self._channels

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """The latest recorded values at this time, or the fault that was ordered for it.

        Raises:
            ReplayError: a `raise` fault is on.
        """
        if self._began_s is None:
            self._began_s = at_s
        now_s = at_s - self._began_s
        faults = [fault for fault in self._faults if fault.from_s <= now_s < fault.until_s]
        if any(fault.kind == "raise" for fault in faults):
            raise ReplayError(f"{self.name} was told to fail after {now_s:g} s")
        if any(fault.kind == "hang" for fault in faults):
            self._closed.wait()
        lost = {fault.channel for fault in faults if fault.kind == "lose"}
        if None in lost:
            return ()
        latest = [(one.id, self._value(one.id, now_s)) for one in self._channels if one.id not in lost]
        return tuple(Reading(at_s, channel, value) for channel, value in latest if value is not None)

    def close(self) -> None:
        """End a hang."""
        self._closed.set()

    def _value(self, channel: str, now_s: float) -> float | None:
        series = self._series[channel]
        # A sum of many steps of the clock may fall short of a recorded time by its last digits.
        place = bisect_right(series, now_s + self._zero_s + 1e-9, key=lambda reading: reading.at_s)
        if place == 0 or (place == len(series) and not self._hold_last and self._ended(series, now_s)):
            return None
        return series[place - 1].value

    def _ended(self, series: list[Reading], now_s: float) -> bool:
        return now_s + self._zero_s > series[-1].at_s + 1e-9
