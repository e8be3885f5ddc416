from __future__ import annotations

from dataclasses import replace

import pytest

from lowcarb.core.energy import Channel, Reading
from lowcarb.core.estimate import Estimate
from lowcarb.sensors import Fault, Found, Replay
from lowcarb.sensors.processor import Processor
from lowcarb.sensors.self_test import power_w, self_test, thread_w

PROCESSOR = Processor(
    name="A processor", vendor="GenuineIntel", family=6, model=85, sockets=1, threads=8, split_cores=True,
    allowed=frozenset(range(8)), quota=None, memory_bytes=8e9, virtual=False,
)  # fmt: skip
RATED_W = Estimate(90.0, 100.0, 110.0, "catalogue")
SECONDS = 0.3


def found(*sensors):
    return Found(sensors, (), PROCESSOR, RATED_W, ())


def whole(watts, device="machine", faults=()):
    """A sensor of the whole machine."""
    channel = Channel(
        id=f"whole:{device}", device=device, kind="machine", quantity="power", sensor="whole", basis="measured",
        low_ratio=0.9, high_ratio=1.1, rated_w=None, check=True,
    )  # fmt: skip
    return Replay([channel], [Reading(0.0, channel.id, watts)], faults, hold_last=True, name="whole")


def cpu(watts):
    return Replay.steady(watts, device="cpu", kind="cpu", name="cpu")


def gpu(watts):
    return Replay.steady(watts, device="gpu", name="gpu")


def test_each_device_tells_its_mean_power_and_how_much_of_the_time_was_covered():
    test = self_test(found(cpu(30.0), gpu(200.0)), SECONDS)

    powers = {one.device: power_w(one, test.energy.duration_s).mid for one in test.energy.devices}
    assert pytest.approx({"cpu": 30.0, "gpu": 200.0}) == powers
    assert pytest.approx(1.0, abs=0.05) == test.energy.coverage
    assert () == test.faults
    assert () == test.agreements


@pytest.mark.parametrize(("watts", "agrees"), [(300.0, True), (230.0, True), (100.0, False)])
def test_parts_cannot_draw_more_than_the_whole(watts, agrees):
    test = self_test(found(cpu(30.0), gpu(200.0), whole(watts)), SECONDS)
    (agreement,) = test.agreements

    assert (agrees, ("cpu", "gpu")) == (agreement.agrees, agreement.parts)
    assert pytest.approx((watts, 230.0)) == (agreement.whole_w.mid, agreement.parts_w.mid)
    assert pytest.approx(230.0 * test.energy.duration_s) == test.energy.energy_j.mid


def test_psys_is_held_against_what_is_on_the_board_only():
    (agreement,) = self_test(found(cpu(30.0), gpu(200.0), whole(45.0, device="psys")), SECONDS).agreements

    assert (("cpu",), True) == (agreement.parts, agreement.agrees)


def test_a_whole_that_was_not_read_agrees_with_nothing():
    test = self_test(found(cpu(30.0), whole(45.0, faults=[Fault("raise")])), SECONDS)

    assert [None] == [one.agrees for one in test.agreements]
    assert any("told to fail" in fault for fault in test.faults)


def test_a_longer_test_is_read_at_the_usual_interval_and_a_short_one_more_often():
    assert pytest.approx(SECONDS / 8.0, abs=0.02) == self_test(found(cpu(30.0)), SECONDS).interval_s


def test_what_metering_costs_is_told_for_an_hour_and_in_joules():
    test = self_test(found(cpu(30.0)), SECONDS)

    assert 0.0 < test.cost_cpu_s_per_hour < 3600.0
    assert pytest.approx(test.cost_cpu_s_per_hour * thread_w(found()).mid) == test.cost_j_per_hour.mid


def test_a_busy_thread_adds_less_than_the_whole_and_more_than_its_even_share_of_the_rise():
    thread = thread_w(found())

    assert 0.88 * 100.0 / 8 * 0.5 < thread.mid < 100.0
    assert thread.low < thread.mid < thread.high
    assert "catalogue" == thread.basis


def test_of_a_single_thread_the_whole_rise_is_told():
    single = replace(PROCESSOR, threads=1, allowed=frozenset({0}))

    assert thread_w(Found((), (), single, RATED_W, ())).mid > thread_w(found()).mid
