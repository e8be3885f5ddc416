from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
import threading
from itertools import pairwise
from math import floor, inf
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.energy import Channel, Reading, integrate
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.meter import Meter
from lowcarb.sensors.nvml import find_nvml
from lowcarb.sensors.power_counter import PERIOD_S, PowerCounter, PowerSum, WatchedCounter

_spec = importlib.util.spec_from_file_location("rig", Path(__file__).parents[1] / "rig" / "rig.py")
rig = importlib.util.module_from_spec(_spec)
sys.modules["rig"] = rig
_spec.loader.exec_module(rig)

A, B, C = "GPU-aaaa1111-0000", "GPU-bbbb2222-0000", "GPU-bbcc3333-0000"
MIG = "a slice of a GPU"


def three(nvml, **all_of_them):
    return nvml(*({"uuid": uuid, **all_of_them} for uuid in (A, B, C)))


def devices(sensor):
    return [channel.device for channel in sensor.channels()]


@pytest.fixture
def opened():
    """Opens GPUs, and lets go of them after the test."""
    sensors = []

    def find(*args, **named):
        sensors.append(find_nvml(*args, **named))
        return sensors[-1]

    yield find
    for sensor in sensors:
        sensor.close()


# Which GPUs are read, and how.


def test_a_gpu_with_a_counter_gives_joules(nvml, opened):
    sensor = opened({}, nvml({"uuid": A, "energy_mj": 12_345_678}))

    (channel,) = sensor.channels()
    (reading,) = sensor.read(7.0)

    assert isinstance(sensor, Sensor)
    assert (channel.quantity, channel.basis, channel.device, channel.rated_w) == ("counter", "measured", A, 400.0)
    assert (channel.low_ratio, channel.high_ratio, channel.resolution_s) == (0.95, 1.05, 0.1)
    assert (7.0, channel.id, 12_345.678) == (reading.at_s, reading.channel, reading.value)


@pytest.mark.parametrize("energy_mj", [None, 0, 2**64 - 1], ids=["refused", "zero", "garbage"])
def test_a_gpu_without_a_counter_that_counts_is_read_by_its_power(nvml, opened, clock, energy_mj):
    sensor = opened({}, nvml({"uuid": A, "energy_mj": energy_mj, "power_mw": 70_500}), clock=clock)

    (channel,) = sensor.channels()
    readings = []
    for _ in range(3):
        readings += sensor.read(clock.now)
        clock.now += 1.0

    assert (0.9, 1.1) == (channel.low_ratio, channel.high_ratio)
    assert pytest.approx(integrate(sensor.channels(), readings, 100.0, 102.0, 1.0).energy_j.mid) == 141.0


@pytest.mark.parametrize(("architecture", "expected"), [(4, 0.1), (7, 1.0), (None, 1.0)])
def test_a_power_that_may_be_a_mean_over_a_second_is_resolved_to_a_second(nvml, architecture, expected):
    module = nvml({"uuid": A, "energy_mj": None})
    if architecture is not None:
        module.nvmlDeviceGetArchitecture = lambda _: architecture

    assert expected == find_nvml({}, module).channels()[0].resolution_s


def test_a_gpu_lost_in_mid_run_does_not_spoil_the_others(nvml, opened):
    module = three(nvml)
    sensor = opened({}, module)
    module.gpus[1].lost = True

    assert {f"nvml:{A}", f"nvml:{C}"} == {reading.channel for reading in sensor.read(1.0)}


def test_a_gpu_whose_driver_does_the_unheard_of_does_not_spoil_the_others(nvml, opened):
    module = three(nvml)
    sensor = opened({}, module)
    module.gpus[2].energy_mj = "no number"

    assert {f"nvml:{A}", f"nvml:{B}"} == {reading.channel for reading in sensor.read(1.0)}


def test_gpus_are_read_in_one_thread_until_one_hangs_which_is_left_behind_alone(nvml, opened, until):
    module, stuck, release = three(nvml), [], threading.Event()
    ask = module.nvmlDeviceGetTotalEnergyConsumption

    def answer(gpu):
        if gpu.uuid in stuck:
            release.wait(20.0)
        gpu.energy_mj += 1_000
        return ask(gpu)

    module.nvmlDeviceGetTotalEnergyConsumption = answer
    sensor = opened({}, module)
    meter = Meter([sensor], interval_s=0.02)

    def count(uuid):
        return sum(reading.channel == f"nvml:{uuid}" for reading in meter.readings)

    meter.start()
    try:
        until(lambda: min(map(count, (A, B, C))) > 3 and "lowcarb-nvml" not in [t.name for t in threading.enumerate()])
        stuck.append(B)
        until(lambda: any("nvml: no answer for more than 1 s" in fault for fault in meter.faults()))
        before = {uuid: count(uuid) for uuid in (A, B, C)}
        until(lambda: min(count(A) - before[A], count(C) - before[C]) > 3)
        assert count(B) == before[B]
        meter.stop()
        sensor.close()
        # NVML is not taken away from a thread that hangs inside it.
        assert module.open == 1
    finally:
        release.set()
        meter.stop()


def test_a_gpu_that_is_lost_from_the_start_does_not_spoil_the_others_and_is_told(nvml):
    module = three(nvml)
    module.gpus[0].lost = True
    sensor = find_nvml({}, module)

    assert [B, C] == devices(sensor)
    assert ["GPU 0 does not answer"] == [missing.reason for missing in sensor.missing]
    assert () == find_nvml({"CUDA_VISIBLE_DEVICES": B}, module).missing


def test_a_gpu_that_answers_nothing_is_named_with_a_reason(nvml):
    sensor = find_nvml({}, nvml({"uuid": A}, {"uuid": B, "energy_mj": None, "power_mw": None}))

    assert devices(sensor) == [A]
    assert B in str(sensor.missing[0])


def test_no_answer_from_any_gpu_is_unavailable_and_nvml_is_let_go(nvml):
    module = nvml({"uuid": A, "energy_mj": None, "power_mw": None})

    with pytest.raises(SensorUnavailable, match="neither energy nor power"):
        find_nvml({}, module)
    assert module.open == 0


@pytest.mark.parametrize("limit_mw", [None, 0, 2**32 - 1], ids=["refused", "none", "garbage"])
def test_a_gpu_without_a_power_limit_has_no_rated_power(nvml, limit_mw):
    assert find_nvml({}, nvml({"uuid": A, "limit_mw": limit_mw})).channels()[0].rated_w is None


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("0", [A]),
        ("2,0", [C, A]),
        ("0, 1", [A, B]),
        ("1,1", [B]),
        ("0,-1,2", [A]),
        ("0,9,2", [A]),
        (B, [B]),
        ("GPU-a", [A]),
        ("GPU-bbc,GPU-aaaa", [C, A]),
        ("GPU-bb,0", None),
        ("", None),
        ("-1", None),
        ("none", None),
        ("²", None),
    ],
)
def test_only_the_gpus_that_cuda_shows_are_read(nvml, setting, expected):
    environ = {"CUDA_VISIBLE_DEVICES": setting}

    if expected is None:
        with pytest.raises(SensorUnavailable, match="hides every GPU"):
            find_nvml(environ, three(nvml))
    else:
        assert expected == devices(find_nvml(environ, three(nvml)))


def test_an_index_among_unlike_gpus_is_refused_unless_the_order_is_known(nvml):
    mixed = ({"uuid": A, "name": "NVIDIA T4"}, {"uuid": B, "name": "NVIDIA A100"})
    pinned = {"CUDA_VISIBLE_DEVICES": "1"}

    with pytest.raises(SensorUnavailable, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        find_nvml(pinned, nvml(*mixed))
    assert devices(find_nvml({**pinned, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, nvml(*mixed))) == [B]
    assert devices(find_nvml({"CUDA_VISIBLE_DEVICES": B}, nvml(*mixed))) == [B]
    assert devices(find_nvml({"CUDA_VISIBLE_DEVICES": "1,0"}, nvml(*mixed))) == [B, A]


@pytest.mark.parametrize("setting", ["MIG-12345678-0000", "MIG-GPU-aaaa1111/1/0", "MIG-1,MIG-2", "MIG-1,9"])
def test_a_mig_slice_alone_is_unavailable_with_a_reason(nvml, setting):
    with pytest.raises(SensorUnavailable, match="whole GPUs only"):
        find_nvml({"CUDA_VISIBLE_DEVICES": setting}, three(nvml))


@pytest.mark.parametrize("setting", [f"{A},MIG-1", f"MIG-1,{A}"])
def test_a_mig_slice_beside_a_whole_gpu_is_missing_and_the_gpu_is_read(nvml, setting):
    sensor = find_nvml({"CUDA_VISIBLE_DEVICES": setting}, three(nvml))

    assert [A] == devices(sensor)
    assert MIG in sensor.missing[0].reason


def test_a_gpu_in_mig_mode_is_missing_and_the_others_are_read(nvml):
    sensor = find_nvml({}, nvml({"uuid": A, "mig": 1}, {"uuid": B}, {"uuid": C, "mig": None}))

    assert [B, C] == devices(sensor)
    assert A in sensor.missing[0].reason
    with pytest.raises(SensorUnavailable, match=MIG):
        find_nvml({}, nvml({"uuid": A, "mig": 1}))


def test_no_driver_is_unavailable(nvml):
    with pytest.raises(SensorUnavailable, match="Shared Library Not Found"):
        find_nvml({}, nvml(broken=True))


def test_a_driver_without_gpus_is_unavailable(nvml):
    with pytest.raises(SensorUnavailable, match="no GPU"):
        find_nvml({}, nvml())


def test_closing_twice_lets_go_once_and_a_closed_sensor_reads_nothing(nvml):
    module = nvml({"uuid": A})
    sensor = find_nvml({}, module)

    sensor.close()
    sensor.close()

    assert module.open == 0
    assert () == sensor.read(1.0)


# Power summed up, in time that a test makes pass.


def channel(**changes):
    facts = {
        "id": "gpu", "device": "gpu", "kind": "gpu", "quantity": "counter", "sensor": "nvml", "basis": "measured",
        "low_ratio": 0.9, "high_ratio": 1.1, "rated_w": 400.0,
    }  # fmt: skip
    return Channel(**{**facts, **changes})


class Watch:
    """A power counter and its device, whose time passes as fast as it can be reckoned."""

    def __init__(self, clock, curve, *, seed=0, start_j=1.0, **device):
        self.clock, self.curve, self.zero_s = clock, curve, clock.now
        self.answers = lambda power_w: power_w
        self.counter = PowerCounter(self.power_w, most_w=400.0, clock=clock, seed=seed, start_j=start_j, **device)
        self.readings = []

    def power_w(self):
        return self.answers(self.curve.power_w(self.clock.now - self.zero_s))

    def read(self):
        value = self.counter.read()
        if value is not None:
            self.readings.append(Reading(self.clock.now, "gpu", value))
        return value

    def runs(self, duration_s, interval_s=1.0):
        """Let the thread look as it would, and the meter read once an interval."""
        begun_s, turns = self.clock.now, 0
        look_s = begun_s + self.counter.pause_s()
        while (read_s := begun_s + turns * interval_s) <= begun_s + duration_s:
            if look_s < read_s:
                self.clock.now = look_s
                self.counter.look()
                look_s += self.counter.pause_s()
            else:
                self.clock.now, turns = read_s, turns + 1
                self.read()
        return self

    def energy(self, start_s=0.0, end_s=None):
        end_s = self.clock.now if end_s is None else self.zero_s + end_s
        return integrate([channel()], self.readings, self.zero_s + start_s, end_s, 1.0)

    def error(self):
        """Of the whole, relative."""
        return self.energy().energy_j.mid / self.curve.energy_j(self.clock.now - self.zero_s) - 1.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length_s", [2.0, 3.0])
def test_spikes_of_two_or_three_seconds_are_seen_within_three_per_cent(clock, length_s, seed):
    at_s = [3.1 + 0.37 * seed + 9.0 * spike for spike in range(3)]
    watch = Watch(clock, rig.spikes(60.0, 390.0, at_s, length_s), seed=seed).runs(30.0)

    assert abs(watch.error()) < 0.03
    assert watch.energy().coverage == 1.0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("period_s", [PERIOD_S, 2 * PERIOD_S, PERIOD_S / 2, 1.0], ids="{:g} s".format)
def test_a_load_that_beats_in_time_with_the_looks_or_the_readings_is_not_taken_for_another(clock, period_s, seed):
    watch = Watch(clock, rig.Square(100.0, 390.0, period_s), seed=seed).runs(300.0)

    assert abs(watch.error()) < 0.03


def test_the_irregular_times_leave_the_programs_random_numbers_alone(clock):
    before = random.getstate()

    Watch(clock, rig.Constant(100.0), seed=None).runs(2.0)

    assert before == random.getstate()


def test_what_nobody_watched_is_a_gap(clock):
    watch = Watch(clock, rig.Constant(200.0)).runs(10.0)
    clock.now += 5.0
    watch.runs(10.0)
    energy = watch.energy().devices[0]

    assert pytest.approx(5.0) == energy.gaps_s
    assert pytest.approx((20.0 * 200.0 * 0.9, 25.0 * 200.0)) == (energy.energy_j.low, energy.energy_j.mid)
    assert energy.energy_j.basis == "assumed"
    assert ("counter was reset (1 ×)",) == energy.faults


def test_a_device_that_is_lost_is_not_read_and_its_absence_is_a_gap_when_it_is_back(clock):
    watch = Watch(clock, rig.Constant(200.0)).runs(4.0)
    watch.answers = lambda _: None
    watch.runs(3.0)
    assert watch.readings[-1].at_s == watch.zero_s + 4.0
    watch.answers = lambda power_w: power_w
    watch.runs(4.0)

    assert 3.0 <= watch.energy().gaps_s <= 4.0
    assert pytest.approx(11.0 * 200.0) == watch.energy().energy_j.mid


def test_breaks_one_after_the_other_are_gaps_each(clock):
    watch = Watch(clock, rig.Constant(200.0)).runs(1.0)
    for _ in range(20):
        clock.now += 1.5
        watch.read()

    assert pytest.approx(30.0) == watch.energy().gaps_s


@pytest.mark.parametrize("garbage", [-5.0, inf, float("nan"), 601.0, 4_294_967.295])
def test_a_power_that_the_device_cannot_draw_is_a_fault_and_no_number(clock, garbage):
    watch = Watch(clock, rig.Constant(200.0)).runs(1.0)
    assert watch.counter.faults() == 0
    told = iter([garbage] * 3)
    watch.answers = lambda power_w: next(told, power_w)
    watch.runs(1.0)

    assert 3 == watch.counter.faults()
    assert pytest.approx(400.0) == watch.energy().energy_j.mid
    watch.answers = lambda _: garbage
    watch.runs(2.0)
    assert 2.0 == watch.readings[-1].at_s - watch.zero_s


def test_an_answer_that_came_late_is_stale_and_no_number(clock):
    watch = Watch(clock, rig.Constant(200.0)).runs(1.0)

    def late(power_w):
        clock.now += 0.6
        return power_w

    watch.answers = late

    assert watch.read() is None
    assert 1 == watch.counter.faults()


def test_a_device_that_shows_no_power_at_all_is_not_read_as_drawing_none(clock):
    watch = Watch(clock, rig.Steps(((0.0, 0.0), (5.0, 100.0), (7.0, 0.0)))).runs(4.0)
    assert [] == watch.readings
    watch.runs(5.0)

    assert 5.0 == watch.readings[0].at_s - watch.zero_s
    assert pytest.approx(200.0, rel=0.05) == watch.readings[-1].value - watch.readings[0].value


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 700.0)), max_size=40))
def test_a_sum_of_power_never_goes_on_as_if_nothing_had_happened_after_a_break(steps):
    total, at_s, told = PowerSum(), 0.0, 1.0
    total.add(at_s, 100.0)
    for step_s, power_w in steps:
        before_s, at_s = at_s, at_s + step_s
        broken = at_s - before_s > 1.0
        total.add(at_s, power_w)
        now = total.read()
        assert (now < told) if broken else (now >= told)
        assert now > 0.0
        told = now


# The driver's buffer of samples.


class Buffer:
    """A driver that keeps so many samples, with times of another clock."""

    def __init__(self, clock, curve, *, every_s=0.02, length=119, watts_per=1.0):
        self.clock, self.curve, self.zero_s = clock, curve, clock.now
        self.every_s, self.length, self.watts_per = every_s, length, watts_per
        self.wall_s, self.stops_s, self.asked = 1.7e9, inf, 0

    def __call__(self, after_us):
        self.asked += 1
        newest = floor(min(self.clock.now, self.stops_s) / self.every_s + 1e-9)
        times = [place * self.every_s for place in range(newest - self.length + 1, newest + 1)]
        told = [(round(1e6 * (self.wall_s + at_s)), at_s) for at_s in times]
        return [
            (at_us, self.watts_per * self.curve.power_w(at_s - self.zero_s)) for at_us, at_s in told if at_us > after_us
        ]


def buffered(clock, curve, **facts):
    buffer = Buffer(clock, curve, **facts)
    return buffer, Watch(clock, curve, buffered=buffer)


def test_a_buffer_is_emptied_twice_a_second_and_gives_every_sample_once(clock):
    curve = rig.spikes(60.0, 390.0, [3.0, 12.0], 2.0)
    buffer, watch = buffered(clock, curve)
    watch.runs(20.0)

    assert abs(watch.error()) < 0.005
    assert buffer.asked < 70


@given(st.lists(st.tuples(st.sampled_from(["look", "read"]), st.floats(0.001, 0.6)), min_size=1, max_size=30))
def test_no_order_of_looks_and_readings_counts_a_sample_twice(calls):
    clock = SimpleNamespace(now=100.0)
    curve = rig.Constant(200.0)
    buffer = Buffer(SimpleNamespace(now=100.0), curve)
    buffer.clock = clock
    counter = PowerCounter(lambda: 200.0, most_w=400.0, buffered=buffer, clock=lambda: clock.now)
    first = counter.read()
    for call, step_s in calls:
        clock.now += step_s
        getattr(counter, call)()
    last = counter.read()

    assert pytest.approx(200.0 * (clock.now - 100.0), abs=200.0 * 0.021) == last - first


def test_meters_that_read_seldom_lose_nothing_of_a_short_buffer(clock):
    _, watch = buffered(clock, rig.Constant(200.0))
    watch.runs(60.0, interval_s=15.0)

    assert 1.0 == watch.energy().coverage
    assert pytest.approx(60.0 * 200.0, rel=0.001) == watch.energy().energy_j.mid


def test_a_buffer_that_dries_up_is_a_gap_and_power_is_asked_for_from_then_on(clock):
    buffer, watch = buffered(clock, rig.Constant(200.0))
    buffer.stops_s = clock.now + 5.0
    watch.runs(20.0)

    assert 1.0 <= watch.energy().gaps_s <= 3.0
    assert pytest.approx(20.0 * 200.0, rel=0.01) == watch.energy().energy_j.mid
    assert watch.counter.pause_s() < 0.1


def test_no_time_is_lost_before_it_is_known_whether_there_is_a_buffer(clock):
    for buffer in (None, lambda _: None, Buffer(clock, rig.Constant(200.0))):
        assert Watch(clock, rig.Constant(200.0), buffered=buffer).counter.pause_s() <= 1.5 * PERIOD_S


@pytest.mark.parametrize("watts_per", [0.001, 1000.0, 0.0])
def test_a_buffer_in_other_units_is_not_believed(clock, watts_per):
    buffer, watch = buffered(clock, rig.Constant(200.0), watts_per=watts_per)
    watch.runs(5.0)

    assert 1 == buffer.asked
    assert pytest.approx(5.0 * 200.0) == watch.energy().energy_j.mid


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_a_wall_clock_that_jumps_costs_a_gap_and_invents_nothing(clock, jump_s):
    buffer, watch = buffered(clock, rig.Constant(200.0))
    watch.runs(5.0)
    clock.now += 0.4
    buffer.wall_s += jump_s
    watch.runs(10.0)

    assert 0.4 <= watch.energy().gaps_s <= 3.0
    assert pytest.approx(15.4 * 200.0, rel=0.01) == watch.energy().energy_j.mid


def test_garbage_in_a_buffer_is_a_fault_and_no_number(clock):
    buffer, watch = buffered(clock, rig.Constant(200.0))
    watch.runs(2.0)
    clean = buffer.curve
    buffer.curve = rig.Steps(((0.0, 4_294_967.0), (2.1, 200.0)))
    watch.runs(3.0)

    assert 0 < watch.counter.faults() <= 6
    assert pytest.approx(5.0 * 200.0, rel=0.01) == watch.energy().energy_j.mid
    assert clean is not buffer.curve


# A counter that may be none.


class Device:
    """A device with a counter and a power that both follow a curve, until they are told otherwise."""

    def __init__(self, clock, curve):
        self.clock, self.curve, self.zero_s = clock, curve, clock.now
        self.stops_s, self.refuses, self.power = inf, False, lambda power_w: power_w
        self.watches = []

    def energy_j(self):
        return None if self.refuses else 5000.0 + self.curve.energy_j(min(self.clock.now - self.zero_s, self.stops_s))

    def power_w(self):
        return self.power(self.curve.power_w(self.clock.now - self.zero_s))

    def power_counter(self, start_j):
        watch = Watch(self.clock, self.curve, start_j=start_j)
        watch.zero_s, watch.answers = self.zero_s, self.power
        watch.counter.start = lambda: None  # The test looks in its place.
        self.watches.append(watch.counter)
        return watch.counter

    def read(self, duration_s, interval_s=1.0):
        """Energy by the readings of so long."""
        counter = WatchedCounter(self.energy_j, self.power_w, self.power_counter, self.energy_j(), self.clock)
        readings, steps = [], round(duration_s / 0.05)
        for step in range(steps + 1):
            self.clock.now = self.zero_s + 0.05 * step
            for watch in self.watches:
                watch.look()
            if step % round(interval_s / 0.05) == 0:
                value = counter.read()
                readings += [] if value is None else [Reading(self.clock.now, "gpu", value)]
        self.faults = counter.faults()
        return integrate([channel()], readings, self.zero_s, self.zero_s + duration_s, interval_s)


@pytest.fixture
def device(clock):
    return Device(clock, rig.Square(100.0, 300.0, 4.0))


def test_a_counter_that_moves_is_believed_and_the_power_no_longer_watched(device):
    energy = device.read(8.0)

    assert pytest.approx(1600.0) == energy.energy_j.mid
    assert 0 == device.faults
    assert all(watch.has_ended() for watch in device.watches)


@pytest.mark.parametrize("interval_s", [0.05, 0.1, 0.2, 0.5, 1.0])
def test_a_counter_that_never_moves_is_none_and_nothing_is_lost(device, interval_s):
    device.stops_s = -1.0
    energy = device.read(8.0, interval_s)

    assert pytest.approx(1600.0, rel=0.03) == energy.energy_j.mid
    assert energy.coverage > 0.99
    assert 1 == device.faults


@pytest.mark.parametrize("interval_s", [0.1, 0.2, 0.5, 1.0])
def test_a_counter_that_stops_in_mid_run_leaves_a_gap_and_then_power_is_read(device, interval_s):
    device.stops_s = 9.95
    energy = device.read(20.0, interval_s)

    assert 0.9 <= energy.gaps_s <= 3.0
    assert energy.energy_j.low <= 4000.0 <= energy.energy_j.high
    assert pytest.approx(4000.0, rel=0.1) == energy.energy_j.mid


def test_a_counter_stands_still_where_the_device_is_switched_off(clock):
    device = Device(clock, rig.Steps(((0.0, 100.0), (4.0, 0.0), (16.0, 100.0))))
    energy = device.read(20.0)

    assert pytest.approx(800.0) == energy.energy_j.mid
    assert 1.0 == energy.coverage


def test_a_counter_that_stands_still_where_no_power_is_told_is_not_read(device):
    device.stops_s, device.power = -1.0, lambda _: None

    assert device.read(8.0).coverage < 0.2


def test_a_counter_that_is_refused_once_goes_on_without_a_gap(device):
    refusals = iter([False] * 5 + [True] * 2 + [False] * 100)
    counted = device.energy_j
    device.energy_j = lambda: None if next(refusals) else counted()
    energy = device.read(12.0)

    assert 1.0 == energy.coverage
    assert pytest.approx(2400.0) == energy.energy_j.mid


def test_a_counter_that_is_refused_for_good_leaves_a_gap_and_then_power_is_read(device):
    refusals = iter([False] * 5 + [True] * 100)
    counted = device.energy_j
    device.energy_j = lambda: None if next(refusals) else counted()
    energy = device.read(20.0)

    assert 3.0 <= energy.gaps_s <= 5.0
    assert pytest.approx(4000.0, rel=0.1) == energy.energy_j.mid


# The whole, in a process of its own, through the loader, to a library with known power.

PROGRAM = """
import json, os, sys, threading, time
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors import Meter
from lowcarb.sensors.nvml import find_nvml
duration_s, child = float(sys.argv[1]), None
try:
    sensor = find_nvml(os.environ)
except SensorUnavailable as error:
    print(json.dumps({"unavailable": str(error)}))
    sys.exit()
meter = Meter([sensor], interval_s=0.1)
meter.start()
start_s = time.monotonic()
if "fork" in sys.argv:
    time.sleep(0.3)
    child = os.fork()
    if child == 0:
        assert sensor.read(0.0) == ()
        sensor.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
time.sleep(duration_s)
end_s = time.monotonic()
meter.stop()
energy = meter.energy(start_s, end_s)
sensor.close()
time.sleep(0.1)
print(json.dumps({
    "start_s": start_s, "end_s": end_s, "child": child, "missing": [one.reason for one in sensor.missing],
    "devices": {one.device: [one.energy_j.low, one.energy_j.high, one.coverage] for one in energy.devices},
    "threads": [one.name for one in threading.enumerate()],
    "bindings": [name for name in ("pynvml", "lowcarb.sensors.nvml_library") if name in sys.modules],
}))
"""


@pytest.fixture
def run(tmp_path):
    """Reads simulated GPUs for so long in a process of its own: what it told, and the rig."""

    def measured(gpus, duration_s=0.8, *words, before="", **library):
        try:
            nvml = rig.SimulatedNvml(tmp_path / "nvml", gpus, **library)
        except rig.RigUnavailable as error:
            pytest.skip(str(error))
        environ = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        command = [sys.executable, "-W", "error::RuntimeWarning", "-c", f"{before}\n{PROGRAM}", str(duration_s), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**environ, **nvml.env})
        assert "" == done.stderr
        return json.loads(done.stdout), nvml

    return measured


POWER_ONLY = {"counter": "refused", "curve": rig.Constant(200.0), "power_renewal_s": 0.02}
FEW = [
    "nvmlInitWithFlags", "nvmlShutdown", "nvmlErrorString", "nvmlDeviceGetName", "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetSamples", "nvmlDeviceGetFieldValues", "nvmlDeviceGetMigMode", "nvmlDeviceGetArchitecture",
    "nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit",
]  # fmt: skip


def test_every_kind_of_gpu_is_measured_beside_each_other(run):
    told, nvml = run(
        [
            rig.SimulatedGpu(curve=rig.Constant(300.0), counter_renewal_s=0.02),
            rig.SimulatedGpu(**POWER_ONLY),
            rig.SimulatedGpu(**POWER_ONLY, samples=119),
            rig.SimulatedGpu(**{**POWER_ONLY, "counter": "stuck"}),
            rig.SimulatedGpu(mig=1),
            rig.SimulatedGpu(counter="refused", power="refused"),
        ],
        1.0,
    )

    for index in range(4):
        low, high, coverage = told["devices"][nvml.gpus[index].uuid]
        assert low <= nvml.energy_j(index, told["start_s"], told["end_s"]) <= high
        assert coverage > 0.9
    assert 4 == len(told["devices"])
    assert [MIG, "neither energy nor power"] == [
        phrase for reason in told["missing"] for phrase in (MIG, "neither energy nor power") if phrase in reason
    ]
    assert ["MainThread"] == [name for name in told["threads"] if not name.startswith("lowcarb-meter")]


@pytest.mark.parametrize("missing", [FEW, [*FEW, "nvmlDeviceGetTotalEnergyConsumption"]], ids=["counter", "power"])
def test_a_library_of_few_functions_is_enough(run, missing):
    told, nvml = run([rig.SimulatedGpu(curve=rig.Constant(200.0), counter_renewal_s=0.02)], missing=missing)

    ((low, high, coverage),) = told["devices"].values()
    assert low <= nvml.energy_j(0, told["start_s"], told["end_s"]) <= high
    assert coverage > 0.9


@pytest.mark.skipif(importlib.util.find_spec("pynvml") is None, reason="needs nvidia-ml-py")
def test_the_binding_that_the_program_has_loaded_is_used(run):
    told, nvml = run([rig.SimulatedGpu(curve=rig.Constant(200.0), counter_renewal_s=0.02)], before="import pynvml")

    ((low, high, coverage),) = told["devices"].values()
    assert low <= nvml.energy_j(0, told["start_s"], told["end_s"]) <= high
    assert coverage > 0.9
    assert "pynvml" in told["bindings"]


def test_a_program_that_has_loaded_no_binding_is_not_made_to(run):
    told, _ = run([rig.SimulatedGpu(curve=rig.Constant(200.0), counter_renewal_s=0.02)])

    assert told["bindings"] == ["lowcarb.sensors.nvml_library"]


def test_a_library_that_cannot_tell_its_gpus_is_unavailable(run):
    told, _ = run([rig.SimulatedGpu()], missing=["nvmlDeviceGetCount_v2"])

    assert "Function Not Found" in told["unavailable"]


def test_a_gpu_that_hangs_holds_up_none_of_the_others(run):
    told, nvml = run([rig.SimulatedGpu(curve=rig.Constant(200.0)), rig.SimulatedGpu(hang_s=1.0)], 2.5)
    well, hanging = (told["devices"][gpu.uuid] for gpu in nvml.gpus)

    assert well[0] <= nvml.energy_j(0, told["start_s"], told["end_s"]) <= well[1]
    assert well[2] > 0.9
    assert hanging[2] < 0.9


def test_a_forked_child_never_touches_nvml_and_the_parent_goes_on(run):
    told, nvml = run([rig.SimulatedGpu(**POWER_ONLY)], 0.4, "fork", trace=True)

    assert told["child"] is not None
    assert told["child"] not in {pid for pid, _ in nvml.calls()}
    ((_, _, coverage),) = told["devices"].values()
    assert coverage > 0.9


def test_the_rig_knows_the_energy_of_its_curves():
    curves = (
        rig.Constant(50.0),
        rig.Square(60.0, 300.0, 0.7, 0.3),
        rig.Sine(200.0, 100.0, 1.3),
        rig.spikes(60.0, 390.0, [0.5, 2.5], 1.0),
    )
    for curve in (*curves, rig.Sum(curves)):
        times = [0.0001 * place for place in range(50_001)]
        summed = sum(0.5 * (curve.power_w(a) + curve.power_w(b)) * (b - a) for a, b in pairwise(times))
        assert pytest.approx(summed, rel=1e-3) == curve.energy_j(5.0)


def test_watching_ends_when_it_is_closed():
    counter = PowerCounter(lambda: 100.0, most_w=400.0)
    counter.start()
    counter.read()
    counter.close()

    assert counter.has_ended()
