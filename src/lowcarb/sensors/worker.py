"""One sensor, read in a thread of its own, so that one that hangs holds up nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from queue import SimpleQueue
from threading import Thread

from lowcarb.core.energy import Reading
from lowcarb.sensors.base import Sensor

LATE_S = 1.0
"""A reading that took longer than this is dropped: nobody knows which moment its value belongs to."""
MOST_VALUE = 1e15
"""No counter and no power gets there; a larger value is garbage, and could overflow a sum."""
_TEXT_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question to a sensor."""

    worker: Worker
    readings: tuple[Reading, ...]
    faults: tuple[str, ...]


class Worker:
    """Asks one sensor when told to, and puts its answer into a queue that it shares with other workers."""

    def __init__(self, sensor: Sensor, answers: SimpleQueue[Answer | None], clock: Callable[[], float]) -> None:
        self._sensor, self._answers, self._clock = sensor, answers, clock
        self._questions: SimpleQueue[bool] = SimpleQueue()
        self.name = sensor.name
        self.channels = tuple(sensor.channels())
        self.busy = False
        """Whether a question is open; set by the thread that asks, cleared by it when it takes the answer."""
        self._asked_s = 0.0
        self.cost_cpu_s = 0.0
        """Processor time that the sensor has taken so far [s]."""

    def start(self) -> None:
        """Begin to wait for questions. Raises RuntimeError where the system allows no further thread."""
        Thread(target=self._run, name=f"lowcarb-{self.name}", daemon=True).start()

    def ask(self) -> None:
        """Ask for a reading, without waiting for it."""
        self.busy = True
        self._asked_s = time.monotonic()
        self._questions.put(True)  # noqa: FBT003  # the queue's only other message is its end

    def is_overdue(self) -> bool:
        """Whether an answer has been awaited for so long that it will be dropped."""
        return self.busy and time.monotonic() - self._asked_s > LATE_S

    def end(self) -> None:
        """Let the thread go as soon as it is free."""
        self._questions.put(False)  # noqa: FBT003

    def _run(self) -> None:
        while self._questions.get():
            try:
                answer = self._read()
            except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a sensor raises is its own fault alone
                answer = Answer(self, (), (f"{self.name}: {type(error).__name__}: {error}"[:_TEXT_LENGTH],))
            self.cost_cpu_s = time.thread_time()
            self._answers.put(answer)

    def _read(self) -> Answer:
        at_s = self._clock()
        readings = tuple(self._sensor.read(at_s))
        if self._clock() - at_s > LATE_S:
            return Answer(self, (), (f"{self.name}: answered after more than {LATE_S:g} s",))
        known = {channel.id for channel in self.channels}
        good = tuple(Reading(at_s, r.channel, _sane(r.value)) for r in readings if r.channel in known)
        missing = sorted(known - {reading.channel for reading in good})
        return Answer(self, good, tuple(f"{self.name}: no reading of {channel}" for channel in missing))


def _sane(value: float) -> float:
    """The value, or not-a-number for garbage, which is counted as a fault when it is integrated."""
    return float(value) if abs(value) <= MOST_VALUE else nan
