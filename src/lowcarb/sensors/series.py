"""The readings of a run, kept small: 16 bytes a reading, and old ones of a counter thinned to one a minute."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from lowcarb.core.energy import Channel, Reading

MOST_READINGS = 131_072
"""A counter with more readings than this is thinned: 36 hours at one a second, 2 MB."""
WIDEST_STEP_S = 60.0
"""Thinning leaves no two readings further apart, so that no wrap can hide between them."""


class Series:
    """Readings of one channel in order of time.

    One thread appends; any thread may read at the same time, as readers look at as many values as there are times,
    and thinning puts new columns in the old ones' place. There is no lock, so a process that was forked in the middle
    of an append finds none held.
    """

    def __init__(self, channel: Channel, most: int = MOST_READINGS) -> None:
        self._channel, self._most, self._limit = channel, most, most
        self._columns: tuple[array[float], array[float]] = (array("d"), array("d"))

    def __len__(self) -> int:
        return len(self._columns[0])

    def append(self, at_s: float, value: float) -> None:
        """Keep a reading; one from before the last is dropped, as the clock is monotonic."""
        times, values = self._columns
        if times and at_s < times[-1]:
            return
        values.append(value)
        times.append(at_s)
        if self._channel.quantity == "counter" and len(times) > self._limit:
            self._columns = _thinned(times, values)
            self._limit = max(self._most, len(self) + self._most // 8)

    def last_s(self) -> float | None:
        """Time of the latest reading [s]."""
        times = self._columns[0]
        return times[-1] if times else None

    def first_s(self) -> float | None:
        """Time of the first reading [s]."""
        times = self._columns[0]
        return times[0] if times else None

    def between(self, start_s: float, end_s: float) -> list[Reading]:
        """The readings of a window, with two before it and two after it, which make its ends exact."""
        times, values = self._columns
        first = max(0, bisect_left(times, start_s) - 2)
        last = min(len(times), bisect_right(times, end_s) + 2)
        return [Reading(times[i], self._channel.id, values[i]) for i in range(first, last)]


def _thinned(times: array[float], values: array[float]) -> tuple[array[float], array[float]]:
    """The columns without every second reading of the older half.

    A counter's step is the sum of its parts, so nothing is lost but the moment; where it stepped back, a wrap or a
    reset, all is kept.
    """
    half = len(times) // 2
    kept = [i for i in range(half) if i % 2 == 0 or not _dispensable(times, values, i)]
    return (
        array("d", [times[i] for i in kept]) + times[half:],
        array("d", [values[i] for i in kept]) + values[half:],
    )


def _dispensable(times: array[float], values: array[float], i: int) -> bool:
    return values[i - 1] <= values[i] <= values[i + 1] and times[i + 1] - times[i - 1] <= WIDEST_STEP_S
