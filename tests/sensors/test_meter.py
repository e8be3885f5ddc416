from __future__ import annotations

import os
import threading
import time
import warnings
from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowcarb.core.energy import Channel, Reading
from lowcarb.errors import SettingError
from lowcarb.sensors.meter import LEAST_INTERVAL_S, MARK_SPACING_S, Meter
from lowcarb.sensors.replay import Fault, Replay

HOUR_S = 3600.0
GOOD = Channel("good", "good-0", "cpu", "power", "odd", "measured", 1.0, 1.0, 100.0)


class Odd:
    """A sensor that answers whatever it is given, called or raised."""

    def __init__(self, answer, name="odd", channels=(GOOD,)):
        self.answer, self.name, self._channels = answer, name, channels

    def channels(self):
        if isinstance(self._channels, Exception):
            raise self._channels
        return self._channels

    def read(self, at_s):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer(at_s) if callable(self.answer) else self.answer

    def close(self):
        pass


@pytest.fixture
def started():
    """Starts meters, and stops them and lets their sensors go at the end."""
    meters, sensors = [], []

    def start(some, **options):
        meter = Meter(some, **options)
        meters.append(meter)
        sensors.extend(some)
        meter.start()
        return meter

    yield start
    for sensor in sensors:
        sensor.close()
    for meter in meters:
        meter.stop()


def at_times(meter, clock, until, times):
    """Makes the meter read at these times of the fake clock, besides its start."""
    until(lambda: meter.readings)
    for at_s in times:
        clock.now = at_s
        count = len(meter.readings)
        meter.mark()
        until(lambda count=count: len(meter.readings) > count or meter.faults())


@pytest.mark.parametrize("interval_s", [0, 0.0, -1, nan, inf, -inf, 1e9, LEAST_INTERVAL_S / 2, "1", None, True])
def test_an_impossible_interval_is_refused_at_construction(interval_s):
    with pytest.raises(SettingError, match="interval_s"):
        Meter([], interval_s=interval_s)


def test_a_steady_device_is_measured_to_the_joule(started, clock, until):
    meter = started([Replay.steady(50.0)], interval_s=2.0, clock=clock)
    at_times(meter, clock, until, [101.0, 102.0, 104.0])
    meter.stop()
    energy = meter.energy(100.0, 104.0)

    assert (energy.energy_j.mid, energy.coverage, energy.energy_j.basis) == (200.0, 1.0, "measured")
    assert meter.energy(101.0, 103.0).energy_j.mid == 100.0
    assert meter.faults() == ()


def test_marks_make_phases_exact(started, clock, until):
    counter = replace(GOOD, quantity="counter")
    recorded = [Reading(0.0, "good", 0.0), Reading(3.0, "good", 10.0), Reading(10.0, "good", 290.0)]
    meter = started([Replay([counter], recorded)], interval_s=HOUR_S, clock=clock)
    at_times(meter, clock, until, [103.0, 110.0])

    assert meter.energy(100.0, 103.0).energy_j.mid == 10.0
    assert meter.energy(103.0, 110.0).energy_j.mid == 280.0


def test_a_sensor_that_raises_is_a_fault_and_is_asked_again(started, clock, until):
    flaky = Replay.steady(50.0, [Fault("raise", 1.0, 2.0)], name="flaky")
    meter = started([flaky], interval_s=HOUR_S, clock=clock)
    at_times(meter, clock, until, [101.0])
    clock.now = 102.0
    meter.mark()
    until(lambda: len(meter.readings) == 2)

    assert meter.faults() == ("flaky: ReplayError: flaky was told to fail after 1 s (1 ×)",)
    assert meter.energy(100.0, 102.0).energy_j.mid == 100.0


def test_a_lost_channel_is_named_and_the_others_are_read(started, clock, until):
    two = (GOOD, replace(GOOD, id="lost", device="lost-0"))
    meter = started([Odd(lambda at_s: [Reading(at_s, "good", 5.0)], channels=two)], interval_s=1.0, clock=clock)
    at_times(meter, clock, until, [100.5])
    until(lambda: meter.faults() == ("odd: no reading of lost (2 ×)",))
    good, lost = meter.energy(100.0, 100.5).devices

    assert (good.energy_j.mid, good.coverage) == (2.5, 1.0)
    assert (lost.coverage, lost.energy_j.basis) == (0.0, "assumed")


def test_a_sensor_that_hangs_holds_up_neither_the_others_nor_the_end(started):
    stuck = Replay.steady(10.0, [Fault("hang")], device="stuck-0", name="stuck")
    began = time.monotonic()
    meter = started([stuck, Replay.steady(50.0, name="fine")], interval_s=0.05)
    start_took = time.monotonic() - began
    time.sleep(0.4)
    before = time.monotonic()
    meter.stop()
    stop_took = time.monotonic() - before
    stuck_device, fine = meter.energy(began, before).devices

    assert (start_took < 0.5, stop_took < 2.0) == (True, True)
    assert 50.0 * (before - began) == pytest.approx(fine.energy_j.mid, rel=0.05)
    assert stuck_device.energy_j.basis == "assumed"
    assert meter.faults() == ("stuck: no answer by the end (1 ×)",)


def test_a_sensor_that_keeps_hanging_is_named_while_the_run_goes_on(started, until):
    stuck = Replay.steady(10.0, [Fault("hang")], name="stuck")
    meter = started([stuck], interval_s=0.05)
    until(lambda: any(fault.startswith("stuck: no answer for more than 1 s") for fault in meter.faults()))


def test_a_slow_sensor_is_no_fault_and_no_brake(started, until, monkeypatch):
    # It is about a sensor within the limits, and how long a thread waits for a busy processor is not.
    for limit in ("meter.LATE_S", "worker.LATE_S", "meter.LAST_READING_S"):
        monkeypatch.setattr(f"lowcarb.sensors.{limit}", 60.0)
    quick, slow, over = [], [], threading.Event()

    def quickly(at_s):
        quick.append(at_s)
        return [Reading(at_s, "quick", 50.0)]

    def slowly(at_s):
        time.sleep(0.05)
        # It answers when the other one was read twice meanwhile, so it never answers where it is waited for.
        before = len(quick)
        until(lambda: len(quick) >= before + 2 or over.is_set())
        slow.append(at_s)
        return [Reading(at_s, "good", 5.0)]

    other = replace(GOOD, id="quick", device="quick-0")
    meter = started([Odd(slowly), Odd(quickly, "quick", (other,))], interval_s=0.05)
    until(lambda: len(slow) >= 3)
    over.set()
    meter.stop()

    assert meter.faults() == ()
    assert sum(reading.channel == "good" for reading in meter.readings) >= 3
    assert sum(reading.channel == "quick" for reading in meter.readings) >= 6


def test_an_answer_that_comes_too_late_is_dropped_and_the_sensor_is_asked_again(started, clock, until):
    slow = Replay.steady(50.0, [Fault("hang", 1.0)], name="slow")
    meter = started([slow], interval_s=1.0, clock=clock)
    until(lambda: meter.readings)
    clock.now = 101.0
    meter.mark()
    time.sleep(0.05)
    clock.now = 110.0
    slow.close()
    until(lambda: any("slow: answered after more than 1 s" in fault for fault in meter.faults()))
    clock.now = 111.0
    meter.mark()
    until(lambda: len(meter.readings) >= 2)

    assert not [reading for reading in meter.readings if 100.0 < reading.at_s < 110.0]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        7,
        "text",
        [None],
        [("a", "b")],
        [Reading(0.0, "good", "garbage")],
        [Reading(0.0, "good", None)],
        ValueError("no"),
        MemoryError(),
        [Reading(0.0, "unknown", 1.0)],
        SystemExit(70),
    ],
)
def test_whatever_a_sensor_answers_the_others_are_read(started, until, answer):
    meter = started([Odd(answer), Replay.steady(50.0)], interval_s=0.02)
    until(lambda: len(meter.readings) > 3)
    meter.stop()

    assert any(fault.startswith("odd: ") for fault in meter.faults())
    assert {"replay:replay-0"} == {reading.channel for reading in meter.readings}


@pytest.mark.parametrize("value", [nan, inf, -inf, -5.0, 1e300, 1e9])
def test_a_value_that_cannot_be_is_never_energy(started, clock, until, value):
    meter = started([Odd(lambda at_s: [Reading(nan, "good", value)])], interval_s=1.0, clock=clock)
    at_times(meter, clock, until, [101.0, 102.0])
    (device,) = meter.energy(100.0, 102.0).devices

    assert (device.coverage, device.energy_j.basis) == (0.0, "assumed")
    assert 0.0 <= device.energy_j.low <= device.energy_j.high <= 100.0 * 2.0


def test_a_sensor_that_cannot_say_what_it_reads_is_left_out(started, until):
    meter = started([Odd(None, channels=OSError("gone")), Replay.steady(50.0)], interval_s=0.02)
    until(lambda: meter.readings)

    assert meter.faults() == ("Odd: OSError: gone (1 ×)",)
    assert len(meter.channels) == 1


def test_a_second_sensor_on_the_same_channel_is_left_out():
    meter = Meter([Odd(None, "first"), Odd(None, "second")])

    assert meter.channels == (GOOD,)
    assert meter.faults() == ("second: another sensor already reads good (1 ×)",)


def test_a_sink_is_given_every_reading_from_the_sampling_thread(started, until):
    batches, threads = [], set()

    def sink(batch):
        batches.append(batch)
        threads.add(threading.current_thread().name)

    meter = started([Replay.steady(50.0), Replay.steady(9.0, name="two")], interval_s=0.02, sink=sink)
    until(lambda: len(batches) > 3)
    meter.stop()

    assert sorted(meter.readings, key=repr) == sorted((r for batch in batches for r in batch), key=repr)
    assert {"lowcarb-meter"} == threads


def test_a_sink_that_raises_is_a_fault_and_sampling_goes_on(started, until):
    def full(batch):
        raise OSError(28, "No space left on device")

    meter = started([Replay.steady(50.0)], interval_s=0.02, sink=full)
    until(lambda: len(meter.readings) > 3)
    meter.stop()

    (fault,) = meter.faults()
    assert fault.startswith("sink: OSError: [Errno 28] No space left on device (")


def test_a_sink_that_hangs_does_not_hold_up_the_end():
    release = threading.Event()
    meter = Meter([Replay.steady(50.0)], interval_s=0.02, sink=lambda batch: release.wait())
    meter.start()
    time.sleep(0.05)
    began = time.monotonic()
    meter.stop()
    took = time.monotonic() - began
    release.set()

    assert took < 5.0
    assert any("did not end in time" in fault for fault in meter.faults())


def test_a_sink_may_stop_the_meter(started, until):
    box = []
    meter = started([Replay.steady(50.0)], interval_s=0.02, sink=lambda batch: [one.stop() for one in box])
    box.append(meter)
    until(lambda: len(meter.readings) > 1)

    meter.stop()


def test_no_further_thread_is_a_fault_and_not_an_error(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    meter = Meter([Replay.steady(50.0)])
    meter.start()
    meter.mark()
    meter.stop()

    assert meter.faults() == ("meter: can't start new thread, so nothing is measured (1 ×)",)


def test_starting_stopping_and_marking_in_any_order_is_harmless():
    meter = Meter([Replay.steady(50.0)], interval_s=0.02)
    meter.mark()
    meter.stop()
    meter.start()
    meter.stop()
    other = Meter([Replay.steady(50.0)], interval_s=0.02)
    for call in (other.start, other.start, other.stop, other.stop, other.mark, other.start):
        call()

    assert meter.readings == ()
    assert 1 <= len(other.readings) <= 3


def test_a_meter_without_sensors_measures_nothing_and_says_so():
    meter = Meter([])
    meter.start()
    meter.stop()
    energy = meter.energy(0.0, 5.0)

    assert (energy.coverage, energy.gaps_s, meter.power_w()) == (0.0, 5.0, None)


@pytest.mark.parametrize("window", [(2.0, 1.0), (nan, 1.0), (0.0, inf)])
def test_an_impossible_window_holds_nothing(window):
    energy = Meter([Replay.steady(50.0)]).energy(*window)

    assert (energy.duration_s, energy.devices) == (0.0, ())


def test_a_forked_child_has_an_inert_meter_and_the_parent_goes_on(started, until):
    meter = started([Replay.steady(50.0)], interval_s=0.02)
    until(lambda: meter.readings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads, which is what is tested
        child = os.fork()
    if child == 0:
        count = len(meter.readings)
        meter.start()
        for _ in range(5):
            meter.mark()
            time.sleep(0.01)
        meter.stop()
        meter.energy(0.0, 1.0)
        ok = len(meter.readings) == count and not meter.faults()
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    count = len(meter.readings)
    until(lambda: len(meter.readings) > count)

    assert os.waitstatus_to_exitcode(status) == 0


def test_many_marks_cost_few_readings_and_no_time(started, until):
    meter = started([Replay.steady(50.0)], interval_s=HOUR_S)
    until(lambda: meter.readings)
    began = time.monotonic()
    for _ in range(20_000):
        meter.mark()
    took = time.monotonic() - began
    meter.stop()

    assert took < 1.0
    assert len(meter.readings) <= took / MARK_SPACING_S + 4


def test_readings_keep_to_the_grid_of_the_interval_and_do_not_drift(started, until):
    meter = started([Replay.steady(50.0)], interval_s=0.05, sink=lambda batch: time.sleep(0.015))
    until(lambda: len(meter.readings) >= 16)
    meter.stop()
    times = [reading.at_s for reading in meter.readings[:-1]]
    turns = [(at_s - times[0]) / 0.05 for at_s in times[1:]]
    off = sorted(abs(turn - round(turn)) for turn in turns)

    assert off[len(off) // 2] < 0.3


def test_recent_power_is_known_only_while_it_is_recent(started, clock, until):
    two = [Replay.steady(50.0), Replay.steady(20.0, device="two", name="two")]
    meter = started(two, interval_s=HOUR_S, clock=clock)
    assert meter.power_w() is None
    until(lambda: len(meter.readings) == 2)
    assert meter.power_w() is None
    clock.now = 101.0
    meter.mark()
    until(lambda: len(meter.readings) == 4)
    assert pytest.approx(meter.power_w()) == 70.0
    clock.now += 6 * HOUR_S
    assert meter.power_w() is None


def test_the_meter_knows_what_it_costs(started, until):
    meter = started([Replay.steady(50.0)], interval_s=0.02)
    until(lambda: len(meter.readings) > 5)
    meter.stop()

    assert 0.0 < meter.cost_cpu_s < 0.5


def test_a_meter_leaves_no_thread_behind(until):
    before = threading.active_count()
    for _ in range(5):
        meter = Meter([Replay.steady(50.0), Replay.steady(5.0, name="two")], interval_s=0.02)
        meter.start()
        meter.stop()

    until(lambda: threading.active_count() <= before)


faults = st.lists(
    st.builds(Fault, st.sampled_from(["raise", "lose"]), st.floats(0.0, 0.05), st.floats(0.0, 0.1)), max_size=3
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(faults, st.sampled_from([None, OSError, ValueError]))
def test_no_mixture_of_faults_reaches_the_program(some, sink_error):
    def sink(batch):
        if sink_error:
            raise sink_error("sink")

    meter = Meter([Replay.steady(50.0, some), Replay.steady(9.0, device="b", name="b")], interval_s=0.01, sink=sink)
    meter.start()
    meter.mark()
    time.sleep(0.03)
    end_s = time.monotonic()
    meter.stop()
    energy = meter.energy(end_s - 0.03, end_s)

    assert 0.0 <= energy.energy_j.low <= energy.energy_j.high <= 0.03 * (100.0 + 18.0) * 1.001
    assert len(energy.devices) == 2


def test_a_sensor_that_hangs_in_the_middle_of_a_run_is_left_behind(started, until):
    stuck = Replay.steady(10.0, [Fault("hang", 0.2)], device="stuck-0", name="stuck")
    meter = started([stuck, Replay.steady(50.0, name="fine")], interval_s=0.05)
    until(lambda: any(fault.startswith("stuck: no answer for more than 1 s") for fault in meter.faults()))
    count = sum(reading.channel == "fine:replay-0" for reading in meter.readings)
    until(lambda: sum(reading.channel == "fine:replay-0" for reading in meter.readings) > count + 3)
    began = time.monotonic()
    meter.stop()

    assert time.monotonic() - began < 2.0
    assert "stuck: no answer by the end (1 ×)" in meter.faults()


def test_a_sensor_that_comes_back_from_a_hang_is_read_again(started, until):
    stuck = Replay.steady(10.0, [Fault("hang", 0.2, 0.5)], name="stuck")
    meter = started([stuck], interval_s=0.05)
    until(lambda: any("no answer" in fault for fault in meter.faults()))
    stuck.close()
    count = len(meter.readings)
    until(lambda: len(meter.readings) > count + 3)


def test_a_system_that_allows_one_thread_only_measures_nothing_and_says_so(monkeypatch, until):
    begin, begun = threading.Thread.start, []

    def start(thread):
        if thread.name.startswith("lowcarb"):
            begun.append(thread.name)
            if len(begun) > 1:
                raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    meter = Meter([Replay.steady(50.0)], interval_s=0.02)
    meter.start()
    until(meter.faults)
    began = time.monotonic()
    meter.stop()

    assert time.monotonic() - began < 0.5
    assert meter.faults() == ("meter: can't start new thread, so nothing is measured (1 ×)",)
    assert meter.readings == ()
