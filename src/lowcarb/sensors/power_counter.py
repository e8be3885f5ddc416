"""The energy of a device that shows its power only: watched by a light thread of its own and summed up.

Power that is read once a second misses or doubles what lasts for two, and a load that beats in time with the readings
is seen at its peaks only. So the driver's own buffer of samples is emptied where it keeps one. Where not, power is
asked for about as often as the device renews it, at irregular times, which fit to no beat. Both are summed by the
trapezoid rule into one number that only grows, so the meter reads it like a counter. Where nobody watched for too long,
the sum steps back, which `lowcarb.core.energy` takes for what it is: a gap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import isfinite
from threading import Event, Lock, Thread

from lowcarb.core.energy import RATED_MARGIN, REFRESH_S
from lowcarb.core.units import US_PER_S

PERIOD_S = 0.05
"""Mean time between two looks at the power. Devices renew it every 20 to 100 ms (Yang et al. 2023, arXiv 2312.02741).
A look takes 0.1 ms of processor time, so this is 0.2 % of one core; a spike of 2 s is met within 1 % as a rule."""
JITTER = (0.5, 1.5)
"""The time to the next look lies evenly between these shares of the mean, so that no period of a load is favoured."""
DRAIN_S = 0.5
"""Time between two looks at a driver's buffer: it holds 119 samples, 2.4 s where they come every 20 ms."""
MOST_STEP_S = 1.0
"""Two samples further apart leave the time between them unseen. Longer than a busy interpreter keeps a thread waiting
as a rule, and shorter than the spikes of a training that pauses to save or to evaluate."""
LATE_S = 0.5
"""An answer that took longer is stale: nobody knows which moment it belongs to."""
FRESH_S = 0.25
"""A sum whose last sample is older says nothing of now: the slowest renewal, a long pause and some delay."""
UNITS_RATIO = 50.0
"""A buffer whose newest sample is so many times more or less than the power asked for is not in the units it should
be: `assumed`, between the ratio of full load to idle, about 20, and the smallest mistake of units, a thousand."""
STILL_S = 1.0
"""A counter that has moved and then shows one value for so long has stopped: ten of the slowest refreshes, 100 ms."""
MOST_REFUSALS = 3
"""A counter that is refused so many times in a row is gone; once may be chance, and costs no gap."""
END_S = 0.2
"""How long a thread that watches power may take to end: one look, where nothing hangs."""

Buffered = Callable[[int], Sequence[tuple[int, float]] | None]
"""Samples [µs, W] newer than a time [µs], none if there are none; None where the driver keeps no buffer."""


class PowerSum:
    """Energy [J] summed up from power by the trapezoid rule; after a stretch that nobody saw, it steps back.

    Args:
        start_j: what it begins at, above 0 so that there is room to step back.
    """

    def __init__(self, start_j: float = 1.0) -> None:
        self._total_j = self._told_j = start_j
        self._last: tuple[float, float] | None = None
        self._broken = False

    def add(self, at_s: float, power_w: float) -> None:
        """Take in a sample; one that is not newer than the last is left out, so none counts twice."""
        if self._last is not None:
            step_s = at_s - self._last[0]
            if step_s <= 0:
                return
            if step_s > MOST_STEP_S:
                self._broken = True
            else:
                self._total_j += 0.5 * (power_w + self._last[1]) * step_s
        self._last = at_s, power_w

    def break_off(self) -> None:
        """Begin anew with the next sample, whose clock may be another one; what lies before it is a gap."""
        self._broken, self._last = self._broken or self._last is not None, None

    def read(self) -> float:
        """The sum [J]; the first time after a break less than the time before, else never less."""
        if self._broken:
            self._total_j, self._broken = 0.5 * self._told_j, False
        self._told_j = self._total_j
        return self._total_j


class PowerCounter:
    """A counter [J] made from the power of one device.

    Nothing here raises but what the two callables raise inside `look` and `read`. `start` it once; the thread is a
    daemon and ends with `close`. In a forked child it has no thread and must not be read.

    Args:
        power_w: asks for the power [W]; None where the device does not answer.
        buffered: asks for the driver's samples; None where there is no such call.
        most_w: the most that the device draws for longer than a moment [W]; far more is a fault and no number.
        start_j: what the counter begins at, above 0.
        clock: a monotonic clock [s].
        seed: of the irregular times; by chance unless given.
    """

    def __init__(
        self,
        power_w: Callable[[], float | None],
        *,
        most_w: float,
        buffered: Buffered | None = None,
        start_j: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self._power_w, self._buffered, self._most_w, self._clock = power_w, buffered, RATED_MARGIN * most_w, clock
        self._sum, self._lock, self._ended = PowerSum(start_j), Lock(), Event()
        from random import Random  # noqa: PLC0415  # a quarter of a megabyte, for devices without a counter

        self._random = Random(seed)  # noqa: S311  # its own, so that the program's random numbers stay what they are
        self._thread: Thread | None = None
        self._looking, self._seen_power, self._faults = False, False, 0
        self._good_s: float | None = None
        self._newest_us = 0
        self.cost_cpu_s = 0.0
        """Processor time that the thread has taken so far [s]."""

    def start(self) -> None:
        """Begin to watch. Where the system allows no further thread, only `read` looks."""
        if self._thread is None and not self._ended.is_set():
            self._thread = Thread(target=self._watch, name="lowcarb-power", daemon=True)
            with suppress(RuntimeError):
                self._thread.start()

    def read(self) -> float | None:
        """Energy [J] until now, by a look of its own; None while the device does not tell its power."""
        if not self._looking:  # A look that hangs is not joined by a second one.
            self.look()
        with self._lock:
            if self._good_s is None or self._clock() - self._good_s > FRESH_S:
                return None
            return self._sum.read()

    def look(self) -> None:
        """Take in what the device shows now."""
        if self._buffered is not None and not self._drain(self._buffered):
            with self._lock:
                self._buffered = None
                self._sum.break_off()
        if self._buffered is None:
            self._ask()

    def pause_s(self) -> float:
        """Time until the next look [s]."""
        drains = self._buffered is not None and self._newest_us > 0  # Once it is known that there is a buffer.
        return DRAIN_S if drains else PERIOD_S * self._random.uniform(*JITTER)

    def faults(self) -> int:
        """How many answers were no power of this device since this was last asked."""
        with self._lock:
            count, self._faults = self._faults, 0
            return count

    def close(self) -> None:
        """Let the thread end. May be called twice."""
        self._ended.set()

    def has_ended(self) -> bool:
        """Whether, after `close`, the thread ends within `END_S`; the device may hold it up."""
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(END_S)
        return self._thread is None or not self._thread.is_alive()

    def _watch(self) -> None:
        # Whatever a driver does, it ends the watching of this device at most, and what follows is a gap.
        with suppress(Exception):
            while not self._ended.wait(self.pause_s()):
                self._looking = True
                self.look()
                self._looking = False
                self.cost_cpu_s = time.thread_time()

    def _ask(self) -> None:
        asked_s = self._clock()
        power_w = self._power_w()
        if power_w is None:
            return
        with self._lock:
            if self._clock() - asked_s <= LATE_S and self._is_power(power_w):
                self._sum.add(asked_s, power_w)
                self._good_s = asked_s
            else:
                self._faults += 1

    def _drain(self, buffered: Buffered) -> bool:
        """Whether the buffer was good for all there is to know of the time since it was last emptied."""
        after_us = self._newest_us
        asked_s = self._clock()
        samples = buffered(after_us)
        if samples is None:
            return False
        samples = sorted(sample for sample in samples if sample[0] > after_us)
        if after_us == 0:  # The past before the first look is nobody's.
            samples = samples[-1:]
            if not samples or not self._agrees(samples[0][1]):
                return False
        with self._lock:
            if self._buffered is None:  # Another look gave it up meanwhile, and its clock is not ours.
                return False
            for at_us, power_w in samples:
                if self._is_power(power_w):
                    self._sum.add(at_us / US_PER_S, power_w)
                    self._good_s = asked_s
                else:
                    self._faults += 1
            self._newest_us = max([self._newest_us, *(at_us for at_us, _ in samples)])
            return self._good_s is not None and asked_s - self._good_s <= MOST_STEP_S

    def _agrees(self, sample_w: float) -> bool:
        """Whether a sample of the buffer may be the power that the device shows; so where it shows none."""
        power_w = self._power_w()
        return power_w is None or sample_w <= UNITS_RATIO * power_w <= UNITS_RATIO**2 * sample_w

    def _is_power(self, power_w: float) -> bool:
        """Whether a device can draw this. Some virtual ones show 0 for ever: until more was seen, it is no number."""
        if not (isfinite(power_w) and 0.0 <= power_w <= self._most_w):
            return False
        self._seen_power = self._seen_power or power_w > 0
        return self._seen_power


class WatchedCounter:
    """The cumulated energy [J] of a device: by its own counter while that counts, by its power from then on.

    A counter that stands still while power is drawn is no counter. Every one is believed at first; until it moves, the
    power is summed up beside it, and goes on from the counter's value where it never does. One that stops in mid-run
    is left for the power too, with a gap, as nobody watched the power until then.

    Args:
        energy_j: asks for the counter [J]; None where the device does not answer.
        power_w: asks for the power [W]; None where the device does not answer.
        power_counter: makes a counter from the power, which begins at a value [J].
        first_j: what the counter showed at opening; None where there is none, and power alone is read.
        clock: a monotonic clock [s].
    """

    def __init__(
        self,
        energy_j: Callable[[], float | None],
        power_w: Callable[[], float | None],
        power_counter: Callable[[float], PowerCounter],
        first_j: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask_j, self._ask_w, self._make, self._clock = energy_j, power_w, power_counter, clock
        self._energy_j, self._moved_s = first_j or 0.0, clock()
        self._counts, self._proven, self._refused, self._left_off = first_j is not None, False, 0, False
        self._drew = False
        self._power: PowerCounter | None = None
        self._made: list[PowerCounter] = []

    def read(self) -> float | None:
        """Energy until now [J]; None where the device does not tell."""
        return self._read_counter() if self._counts else self._watched(1.0).read()

    def faults(self) -> int:
        """How many answers were worth nothing since this was last asked."""
        count = int(self._left_off) + (self._power.faults() if self._power else 0)
        self._left_off = False
        return count

    def close(self) -> None:
        """Let the threads end. May be called twice."""
        for counter in self._made:
            counter.close()

    def has_ended(self) -> bool:
        """Whether, after `close`, they end within `END_S`."""
        return all(counter.has_ended() for counter in self._made)

    @property
    def cost_cpu_s(self) -> float:
        """Processor time that watching the power has taken so far [s]."""
        return sum(counter.cost_cpu_s for counter in self._made)

    def _watched(self, start_j: float) -> PowerCounter:
        """The counter made from the power, which begins now, and at this value, if it was not there."""
        if self._power is None:
            self._power = self._make(start_j)
            self._made.append(self._power)
            self._power.start()
        return self._power

    def _read_counter(self) -> float | None:
        energy_j, now_s = self._ask_j(), self._clock()
        if energy_j is not None and energy_j != self._energy_j:
            self._energy_j, self._moved_s, self._proven, self._refused = energy_j, now_s, True, 0
            self._drew = False
            if self._power is not None:
                self._power.close()
                self._power = None
            return energy_j
        self._refused = self._refused + 1 if energy_j is None else 0
        if not self._proven and self._power is None:
            # From this first reading on, so that nothing is lost should the counter prove to be none.
            self._watched(self._energy_j).read()
            self._moved_s, self._drew = now_s, bool(self._ask_w())
            return energy_j
        if energy_j is None and self._refused < MOST_REFUSALS:
            return None
        still_s = now_s - self._moved_s
        return energy_j if energy_j is not None and still_s < REFRESH_S else self._instead(energy_j, still_s)

    def _instead(self, energy_j: float | None, still_s: float) -> float | None:
        """What to say where the counter stands still: its value if nothing is drawn, else the sum of the power.

        What draws power again after it was switched off is seen once before its counter moves, so it is asked twice.
        Meanwhile nothing is said: should the counter move again, it has counted all the time.
        """
        power_w = self._ask_w()
        if power_w == 0:
            self._moved_s, self._drew = self._clock(), False
            return energy_j
        if power_w is None or not self._drew or (self._proven and still_s < STILL_S):
            self._drew = power_w is not None
            return None
        self._counts, self._left_off = False, True
        # Below what was read last where the power was not watched, so that the stretch until now is seen as a gap.
        return self._watched(0.5 * self._energy_j).read()
