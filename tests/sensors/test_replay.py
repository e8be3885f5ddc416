from __future__ import annotations

import threading

import pytest

from lowcarb.core.energy import Channel, Reading, integrate
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.replay import Fault, Replay, ReplayError

GPU = Channel("gpu", "gpu-0", "gpu", "counter", "replay", "measured", 1.0, 1.0, 100.0)
CPU = Channel("cpu", "cpu-0", "cpu", "power", "replay", "measured", 1.0, 1.0, 100.0)
RECORDED = [
    Reading(1000.0, "gpu", 0.0), Reading(1000.0, "cpu", 30.0),
    Reading(1002.0, "gpu", 90.0), Reading(1001.0, "gpu", 50.0),
    Reading(1002.0, "cpu", 40.0),
]  # fmt: skip


def values(sensor, at_s):
    return {reading.channel: reading.value for reading in sensor.read(at_s)}


def test_recorded_readings_come_in_order_of_time_on_the_clock_that_asks():
    sensor = Replay([GPU, CPU], RECORDED)

    assert isinstance(sensor, Sensor)
    assert sensor.channels() == (GPU, CPU)
    assert values(sensor, 5.0) == {"gpu": 0.0, "cpu": 30.0}
    assert values(sensor, 5.9) == {"gpu": 0.0, "cpu": 30.0}
    assert values(sensor, 6.0) == {"gpu": 50.0, "cpu": 30.0}
    assert {6.5} == {reading.at_s for reading in sensor.read(6.5)}
    assert values(sensor, 7.0) == {"gpu": 90.0, "cpu": 40.0}


def test_a_channel_is_lost_when_its_recording_ends_unless_it_is_held():
    sensor, held = Replay([GPU], RECORDED), Replay([GPU], RECORDED, hold_last=True)
    for one in (sensor, held):
        one.read(0.0)

    assert values(sensor, 2.5) == {}
    assert values(held, 99.0) == {"gpu": 90.0}


def test_an_empty_recording_gives_nothing():
    assert Replay([GPU], []).read(0.0) == ()


def test_a_steady_device_draws_its_power_for_ever():
    sensor = Replay.steady(50.0, device="gpu-7")
    readings = [reading for at_s in range(11) for reading in sensor.read(float(at_s))]
    energy = integrate(sensor.channels(), readings, 0.0, 10.0, 1.0)

    assert (energy.devices[0].device, energy.energy_j.mid, energy.coverage) == ("gpu-7", 500.0, 1.0)


def test_it_raises_while_it_is_told_to():
    sensor = Replay.steady(50.0, [Fault("raise", 1.0, 2.0)])
    sensor.read(0.0)

    with pytest.raises(ReplayError, match="told to fail"):
        sensor.read(1.5)
    assert len(sensor.read(2.0)) == 1


def test_it_loses_a_channel_while_it_is_told_to():
    sensor = Replay([GPU, CPU], RECORDED, [Fault("lose", 1.0, channel="gpu")], hold_last=True)

    assert values(sensor, 0.0) == {"gpu": 0.0, "cpu": 30.0}
    assert values(sensor, 1.0) == {"cpu": 30.0}


def test_it_loses_every_channel_where_none_is_named():
    assert Replay([GPU, CPU], RECORDED, [Fault("lose")]).read(0.0) == ()


def test_it_hangs_until_it_is_closed():
    sensor = Replay.steady(50.0, [Fault("hang")])
    thread = threading.Thread(target=sensor.read, args=(0.0,), daemon=True)
    thread.start()

    thread.join(0.05)
    assert thread.is_alive()
    sensor.close()
    thread.join(2.0)
    assert not thread.is_alive()
