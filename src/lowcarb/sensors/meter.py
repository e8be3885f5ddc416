"""The meter: reads sensors in the background of a training, which it never breaks, slows or outlives.

One thread keeps the schedule and owns what was read. A sensor is first read in a thread of its own; one that is quick
is from then on read by the thread that keeps the schedule, since handing over costs more than most sensors do. If it
hangs there one day, a second thread, which looks every other second, sees that and goes on without it. The program
that is measured only ever puts a word into a queue or reads what lies there, so nothing in it waits for a sensor.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from math import floor, inf, isfinite
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread

from lowcarb.core.energy import Channel, Energy, Reading, integrate
from lowcarb.errors import SettingError
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.series import Series
from lowcarb.sensors.worker import LATE_S, Answer, Worker

LEAST_INTERVAL_S = 0.01
MOST_INTERVAL_S = 3600.0
SLOW_S = 0.02
"""A sensor that takes longer gets a thread of its own: NVML and sysfs take a millisecond at most."""
GUARD_S = 2.0
"""How often it is looked whether a sensor hangs [s]."""
GATHER_S = 0.1
"""How long a batch waits for its slowest sensor; what comes later makes a batch of its own."""
MARK_SPACING_S = 0.02
"""Marks closer together than this share a reading, so that a mark in an inner loop costs little."""
LAST_READING_S = 1.0
"""How long the last readings are waited for at the end of a run."""
STOP_S = 2.0
"""How much longer `stop` waits for the thread, whose sink may be writing to a disk that hangs."""
MOST_FAULTS = 50
"""Different faults that are kept by name."""
RECENT_INTERVALS = 5.0
"""The recent power is a mean over so many intervals."""

Sink = Callable[[tuple[Reading, ...]], object]


class Meter:
    """Reads sensors at a fixed rate between `start` and `stop`, and gives the energy of any time between them.

    After construction nothing here raises. The sensors are not closed: who opened them closes them. In a forked
    child the meter does nothing. One set of sensors belongs to one meter at a time.

    Args:
        sensors: what is read; where two give the same device, the first wins.
        interval_s: time between readings [s], 0.01 to 3600.
        clock: a monotonic clock [s].
        sink: is given each batch of readings, in the sampling thread, within a fraction of a second of its making.

    Raises:
        SettingError: the interval is not a number in its range.
    """

    def __init__(
        self,
        sensors: Sequence[Sensor],
        *,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sink: Sink | None = None,
    ) -> None:
        good = isinstance(interval_s, (int, float)) and not isinstance(interval_s, bool)
        if not (good and LEAST_INTERVAL_S <= interval_s <= MOST_INTERVAL_S):
            raise SettingError("interval_s", interval_s, f"seconds from {LEAST_INTERVAL_S:g} to {MOST_INTERVAL_S:g}")
        self.interval_s = float(interval_s)
        self._clock, self._sink, self._pid = clock, sink, os.getpid()
        self._faults: dict[str, int] = {}
        self._news: SimpleQueue[Answer | None] = SimpleQueue()
        self._workers = self._hired(sensors)
        self._inline: list[Worker] = []
        """Those that have shown to be quick, and are read by the thread that keeps the schedule."""
        self._turn = 0
        """Number of that thread: where one hangs, the next goes on."""
        self._reading: tuple[Worker, float] | None = None
        """Who is read by it at present, and since when."""
        self._passing = Lock()
        """Held by who finds that a reading is done, or that it hangs: one of both it is."""
        self._over: SimpleQueue[None] = SimpleQueue()
        self._series = {channel.id: Series(channel) for channel in self.channels}
        self._thread: Thread | None = None
        self._marked, self._stopping = False, False
        self._cost_cpu_s, self._guard_cpu_s = 0.0, 0.0

    # What the measured program calls.

    def start(self) -> None:
        """Begin to read. Does not wait for the first reading; does nothing if called twice or after `stop`."""
        if self._thread is not None or self._stopping or not self._mine():
            return
        try:
            self._go_on()
        except (RuntimeError, MemoryError, OSError) as error:
            self._end_early(error)

    def mark(self) -> None:
        """Ask for a reading now, so that a phase is measured to the moment. Waits for nothing."""
        if self._mine() and not self._marked:
            self._marked = True
            self._news.put(None)

    def stop(self) -> None:
        """Take a last reading and end. Returns within 5 s whatever the sensors and the sink do; may be called twice."""
        if self._stopping or not self._mine():
            return
        self._stopping = True
        if self._thread is None:
            return
        self._news.put(None)
        if current_thread() is self._thread:
            return
        self._thread.join(LAST_READING_S)
        if self._thread.is_alive() and self._pass_by(0.0):
            self._thread.join(LAST_READING_S)
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        if self._thread.is_alive():
            self._fault("meter: the sampling thread did not end in time")
            self._dismiss()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What is read."""
        return tuple(channel for worker in self._workers for channel in worker.channels)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All that was read so far, in order of time; very long runs keep one reading a minute of old counters."""
        every = [reading for series in self._series.values() for reading in series.between(-inf, inf)]
        return tuple(sorted(every, key=lambda reading: reading.at_s))

    def energy(self, start_s: float, end_s: float) -> Energy:
        """Energy between two times [s] of the meter's clock; no time at all if they are in the wrong order."""
        if not (isfinite(start_s) and isfinite(end_s) and start_s <= end_s):
            return Energy(0.0, ())
        readings = [r for series in self._series.values() for r in series.between(start_s, end_s)]
        return integrate(self.channels, readings, start_s, end_s, self.interval_s)

    def power_w(self) -> float | None:
        """Mean power of the last few intervals [W]; None while nothing, or nothing recent, was read."""
        firsts = [at_s for series in self._series.values() if (at_s := series.first_s()) is not None]
        lasts = [at_s for series in self._series.values() if (at_s := series.last_s()) is not None]
        if not lasts:
            return None
        span_s, end_s = RECENT_INTERVALS * self.interval_s, max(lasts)
        start_s = max(min(firsts), end_s - span_s)
        if start_s >= end_s or self._clock() - end_s > span_s:
            return None
        seen = [device for device in self.energy(start_s, end_s).devices if device.coverage > 0.0]
        return sum(device.energy_j.mid for device in seen) / (end_s - start_s) if seen else None

    def faults(self) -> tuple[str, ...]:
        """What went wrong so far, one line a kind with its count; empty if all is well."""
        return tuple(f"{fault} ({count} ×)" for fault, count in dict(self._faults).items())

    @property
    def cost_cpu_s(self) -> float:
        """Processor time that the meter itself has taken so far [s]."""
        return self._cost_cpu_s + self._guard_cpu_s + sum(worker.all_cpu_s for worker in self._workers)

    # What runs in the sampling thread.

    def _run(self, turn: int) -> None:
        before_s = self._cost_cpu_s
        try:
            if turn == 0 and not self._staff():
                return
            self._keep_schedule(turn, before_s)
            if self._turn == turn and self._sweep(turn, LAST_READING_S):
                for worker in self._workers:
                    if worker.busy:
                        self._fault(f"{worker.name}: no answer by the end")
        except Exception as error:  # noqa: BLE001  # the meter never breaks the training
            self._fault(f"meter: sampling ended early: {type(error).__name__}: {error}")
        if self._turn == turn:
            self._dismiss()
            self._cost_cpu_s = before_s + time.thread_time()

    def _staff(self) -> bool:
        """Start the other threads: here, as each takes a moment to begin, for which the program need not wait."""
        try:
            for worker in self._workers:
                worker.start()
            Thread(target=self._guard, name="lowcarb-guard", daemon=True).start()
        except (RuntimeError, MemoryError, OSError) as error:
            self._end_early(error)
            return False
        return True

    def _end_early(self, error: BaseException) -> None:
        self._fault(f"meter: {error}, so nothing is measured")
        self._stopping = True
        self._dismiss()

    def _keep_schedule(self, turn: int, before_s: float) -> None:
        began_s = self._clock()
        last_s = due_s = began_s
        while not self._stopping and self._turn == turn:
            now_s = self._clock()
            wake_s = max(now_s, last_s + MARK_SPACING_S) if self._marked else due_s
            if now_s < wake_s:
                self._hand_over(self._taken(wake_s - now_s))
                continue
            self._marked = False
            last_s = now_s
            if not self._sweep(turn, GATHER_S):
                return
            self._cost_cpu_s = before_s + time.thread_time()
            # From the beginning and not from the last reading, so that nothing drifts; missed turns are left out.
            turns = floor((self._clock() - began_s) / self.interval_s) + 1
            due_s = began_s + turns * self.interval_s

    def _sweep(self, turn: int, wait_s: float) -> bool:
        """Read all sensors, and hand over what there is; whether this thread is still the one that does."""
        # As a rule all are quick, and nobody else is asked.
        asked = self._ask() if len(self._inline) < len(self._workers) else []
        batch: list[Reading] = []
        for worker in tuple(self._inline):
            self._reading = (worker, time.monotonic())
            answer = worker.answer()
            with self._passing:
                passed_by = self._turn != turn
                self._reading = self._reading if passed_by else None
            if passed_by:
                self._news.put(answer)
                return False
            batch += self._kept(answer)
            if answer.took_s > SLOW_S:
                self._move_out(worker)
        if asked:
            batch += self._gathered(asked, wait_s)
        self._hand_over(batch)
        return True

    def _ask(self) -> list[Worker]:
        """Ask those that have a thread of their own."""
        asked = []
        for worker in self._workers:
            if worker in self._inline:
                continue
            if worker.is_overdue():
                self._fault(f"{worker.name}: no answer for more than {LATE_S:g} s, so it was not asked again")
            if not worker.busy:
                worker.ask()
                asked.append(worker)
        return asked

    def _gathered(self, asked: Sequence[Worker], wait_s: float) -> list[Reading]:
        """What those who were asked have answered, when all have or this time [s] is over."""
        batch: list[Reading] = []
        until_s = time.monotonic() + wait_s
        while any(worker.busy for worker in asked) and (left_s := until_s - time.monotonic()) > 0:
            batch += self._taken(left_s)
        return batch

    def _taken(self, wait_s: float) -> Sequence[Reading]:
        """Readings of the next answer, waiting at most this long [s] for one or for a word from outside."""
        try:
            answer = self._news.get(timeout=wait_s)
        except Empty:
            return ()
        if answer is None:
            return ()
        worker = answer.worker
        worker.busy = False
        if answer.took_s <= SLOW_S and worker not in self._inline:
            worker.end()
            self._inline.append(worker)
        return self._kept(answer)

    def _kept(self, answer: Answer) -> Sequence[Reading]:
        for fault in answer.faults:
            self._fault(fault)
        for reading in answer.readings:
            self._series[reading.channel].append(reading.at_s, reading.value)
        return answer.readings

    def _hand_over(self, batch: Sequence[Reading]) -> None:
        if self._sink is None or not batch:
            return
        try:
            self._sink(tuple(batch))
        except Exception as error:  # noqa: BLE001  # a full disk is no reason to end a training
            self._fault(f"sink: {type(error).__name__}: {error}")

    # What runs beside it.

    def _guard(self) -> None:
        while True:
            try:
                self._over.get(timeout=GUARD_S)
            except Empty:
                self._pass_by(LATE_S)
            else:
                return
            self._guard_cpu_s = time.thread_time()

    def _pass_by(self, late_s: float) -> bool:
        """Go on without the sensor that has been read for so long [s], if there is one."""
        with self._passing:
            reading = self._reading
            if reading is None or time.monotonic() - reading[1] < late_s:
                return False
            self._reading = None
            self._turn += 1
        reading[0].passed_by(reading[1])
        # What hangs in one device may hang in its like, and each would cost as long. Those that are quick come back.
        for worker in [worker for worker in self._inline if worker.name == reading[0].name]:
            self._move_out(worker)
        try:
            self._go_on()
        except (RuntimeError, MemoryError, OSError) as error:
            self._fault(f"meter: {error}, so sampling ended early")
        return True

    def _go_on(self) -> None:
        """Keep the schedule in a new thread. Raises RuntimeError where the system allows none."""
        thread = Thread(target=self._run, args=(self._turn,), name="lowcarb-meter", daemon=True)
        thread.start()
        self._thread = thread

    def _move_out(self, worker: Worker) -> None:
        """Have a sensor read by a thread of its own from now on."""
        self._inline.remove(worker)
        try:
            worker.start()
        except (RuntimeError, MemoryError, OSError) as error:
            worker.busy = True
            self._fault(f"{worker.name}: {error}, so it is not read any more")

    # What both share.

    def _hired(self, sensors: Sequence[Sensor]) -> list[Worker]:
        workers: list[Worker] = []
        for sensor in (part for whole in sensors for part in _parts(whole)):
            try:
                worker = Worker(sensor, self._news, self._clock)
                taken = {channel.id for other in workers for channel in other.channels}
                twice = [channel.id for channel in worker.channels if channel.id in taken]
            except Exception as error:  # noqa: BLE001  # a sensor that cannot say what it reads is no sensor
                self._fault(f"{type(sensor).__name__}: {type(error).__name__}: {error}")
                continue
            if twice:
                self._fault(f"{worker.name}: another sensor already reads {', '.join(twice)}")
            else:
                workers.append(worker)
        return workers

    def _dismiss(self) -> None:
        self._over.put(None)
        for worker in self._workers:
            worker.end()

    def _mine(self) -> bool:
        """Whether this is the process that made the meter; a forked child has its memory but not its threads."""
        return os.getpid() == self._pid

    def _fault(self, what: str) -> None:
        known = what in self._faults or len(self._faults) < MOST_FAULTS
        what = what if known else "meter: further faults of other kinds"
        self._faults[what] = self._faults.get(what, 0) + 1


def _parts(sensor: Sensor) -> tuple[Sensor, ...]:
    """The sensors that a sensor consists of; itself where it does not say."""
    try:
        parts = tuple(getattr(sensor, "parts", ()))
    except Exception:  # noqa: BLE001  # what it says instead comes out when it is read
        parts = ()
    return parts if parts and all(isinstance(part, Sensor) for part in parts) else (sensor,)
