"""Times in a run at which nothing was read: the process was stopped, or the machine too busy to let it read.

A counter goes on counting meanwhile, so its energy is known; of a power it is a guess. Either is in the figures, as the
machine went on drawing. What was drawn in a pause is told apart all the same: it did not train anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lowcarb.core.energy import GAP_INTERVALS, Energy

MOST_PAUSES = 100
"""Pauses that are kept one by one, the longest."""
TOLD_FROM_S = 1.0
"""Pauses that take less are no fault: a busy machine has many [s]."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Time between two readings that are further apart than three intervals, of the monotonic clock [s]."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long it took [s]."""
        return self.end_s - self.start_s


class Pauses:
    """The pauses of a run, by the times at which something was read.

    Attributes:
        count: how many there were.
        total_s: what they took together [s].
    """

    def __init__(self, interval_s: float) -> None:
        self.count, self.total_s = 0, 0.0
        self._least_s = GAP_INTERVALS * interval_s
        self._last_s: float | None = None
        self._longest: list[Pause] = []

    def seen(self, at_s: float) -> None:
        """Something was read at this time [s]."""
        last_s, self._last_s = self._last_s, max(at_s, self._last_s or at_s)
        if last_s is None or at_s - last_s <= self._least_s:
            return
        pause = Pause(last_s, at_s)
        self.count, self.total_s = self.count + 1, self.total_s + pause.length_s
        self._longest.append(pause)
        if len(self._longest) > MOST_PAUSES:
            self._longest.remove(min(self._longest, key=lambda one: one.length_s))

    def faults(self) -> tuple[str, ...]:
        """What is to be told of them, where one was long."""
        longest_s = max((pause.length_s for pause in self._longest), default=0.0)
        if longest_s < TOLD_FROM_S:
            return ()
        return (f"nothing was read for {self.total_s:.1f} s, {longest_s:.1f} s of them at a stretch",)

    def as_dict(self, began_s: float, energy: Callable[[float, float], Energy]) -> dict[str, object]:
        """The JSON form: how many, how long, and of the longest when [s] after the start and how much energy [J]."""
        return {
            "count": self.count,
            "total_s": self.total_s,
            "longest": [
                {
                    "after_s": pause.start_s - began_s,
                    "length_s": pause.length_s,
                    "energy_j": energy(pause.start_s, pause.end_s).energy_j.as_dict(),
                }
                for pause in self._longest
            ],
        }
