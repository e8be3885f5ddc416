"""One sensor and how it is asked: by whoever keeps the schedule, or by a thread of its own where it is slow."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import nan
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

from lowcarb.core.energy import Reading
from lowcarb.sensors.base import Sensor

LATE_S = 1.0
"""A reading that took longer than this is dropped: nobody knows which moment its value belongs to."""
MOST_VALUE = 1e15
"""No counter and no power gets there; a larger value is garbage, and could overflow a sum."""
_TEXT_LENGTH = 200


class Answer(NamedTuple):
    """What came of one question to a sensor."""

    worker: Worker
    readings: tuple[Reading, ...]
    faults: tuple[str, ...]
    took_s: float = 0.0
    """How long the sensor took [s]."""


class Worker:
    """Asks one sensor.

    `answer` does it here and now. After `start`, `ask` has it done by a thread of its own, which puts the answer into a
    queue that it shares with other workers.
    """

    def __init__(self, sensor: Sensor, answers: SimpleQueue[Answer | None], clock: Callable[[], float]) -> None:
        self._sensor, self._answers, self._clock = sensor, answers, clock
        self._questions: SimpleQueue[bool] = SimpleQueue()
        self.name = sensor.name
        self.channels = tuple(sensor.channels())
        self._known = frozenset(channel.id for channel in self.channels)
        self.busy = False
        """Whether a question is open; set by the thread that asks, cleared by it when it takes the answer."""
        self._asked_s = 0.0
        self._began_s: float | None = None
        self.cost_cpu_s = 0.0
        """Processor time that the thread has taken so far [s]."""

    @property
    def all_cpu_s(self) -> float:
        """The same, with what threads of the sensor itself have taken, which it tells as `cost_cpu_s` [s]."""
        return self.cost_cpu_s + float(getattr(self._sensor, "cost_cpu_s", 0.0))

    def answer(self) -> Answer:
        """What the sensor says now; waits for it as long as it takes, and never raises."""
        began_s = time.monotonic()
        try:
            readings, faults = self._read()
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a sensor raises is its own fault alone
            readings, faults = (), (f"{self.name}: {type(error).__name__}: {error}"[:_TEXT_LENGTH],)
        return Answer(self, readings, faults, time.monotonic() - began_s)

    def start(self) -> None:
        """Begin to wait for questions. Raises RuntimeError where the system allows no further thread."""
        Thread(target=self._run, name=f"lowcarb-{self.name}", daemon=True).start()

    def ask(self) -> None:
        """Ask for a reading, without waiting for it."""
        self.busy = True
        self._asked_s = time.monotonic()
        self._questions.put(True)  # noqa: FBT003  # the queue's only other message is its end

    def passed_by(self, since_s: float) -> None:
        """Whoever read this sensor has waited for it since then [s of the monotonic clock], and will no longer."""
        self.busy = True
        self._asked_s = since_s

    def is_overdue(self) -> bool:
        """Whether an answer has been awaited for so long that it will be dropped."""
        return self.busy and time.monotonic() - self._asked_s > LATE_S

    def end(self) -> None:
        """Let the thread go as soon as it is free."""
        self._questions.put(False)  # noqa: FBT003

    def _run(self) -> None:
        while self._questions.get():
            answer = self.answer()
            self.cost_cpu_s = time.thread_time()
            self._answers.put(answer)

    def _read(self) -> tuple[tuple[Reading, ...], tuple[str, ...]]:
        at_s = self._clock()
        began_s = self._began_s = at_s if self._began_s is None else self._began_s
        readings = self._sensor.read(at_s)
        if self._clock() - at_s > LATE_S:
            return (), (f"{self.name}: answered after more than {LATE_S:g} s",)
        good, left = [], len(self._known)
        for reading in readings:
            if reading.channel not in self._known:
                continue
            # A value may be of an earlier moment, of which the sensor has told; of no other.
            if not (began_s <= reading.at_s <= at_s and -MOST_VALUE <= reading.value <= MOST_VALUE):
                reading = _mended(reading, began_s, at_s)  # noqa: PLW2901  # seldom, and the rest is taken as it is
            good.append(reading)
            left -= 1
        if left <= 0 and len(good) == len(self._known):
            return tuple(good), ()
        missing = self._known.difference([reading.channel for reading in good])
        return tuple(good), tuple(f"{self.name}: no reading of {channel}" for channel in sorted(missing))


def _mended(reading: Reading, began_s: float, at_s: float) -> Reading:
    """The reading at this time [s] if at none of the run, and not-a-number for garbage, a fault when integrated."""
    known = began_s <= reading.at_s <= at_s
    value = float(reading.value) if abs(reading.value) <= MOST_VALUE else nan
    return Reading(reading.at_s if known else at_s, reading.channel, value)
