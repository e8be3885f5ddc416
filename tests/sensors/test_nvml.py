from __future__ import annotations

import pytest

from lowcarb.core.energy import integrate
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.nvml import find_nvml

A, B, C = "GPU-aaaa1111-0000", "GPU-bbbb2222-0000", "GPU-bbcc3333-0000"


def three(nvml, **all_of_them):
    return nvml(*({"uuid": uuid, **all_of_them} for uuid in (A, B, C)))


def devices(sensor):
    return [channel.device for channel in sensor.channels()]


def test_a_gpu_with_a_counter_gives_joules(nvml):
    sensor = find_nvml({}, nvml({"uuid": A, "energy_mj": 12_345_678}))

    (channel,) = sensor.channels()
    (reading,) = sensor.read(7.0)

    assert isinstance(sensor, Sensor)
    assert (channel.quantity, channel.basis, channel.device, channel.rated_w) == ("counter", "measured", A, 400.0)
    assert (channel.low_ratio, channel.high_ratio) == (0.95, 1.05)
    assert (7.0, channel.id, 12_345.678) == (reading.at_s, reading.channel, reading.value)


def test_a_gpu_without_a_counter_gives_watts_and_never_zero_energy(nvml):
    sensor = find_nvml({}, nvml({"uuid": A, "energy_mj": None, "power_mw": 70_500}))

    (channel,) = sensor.channels()
    readings = [reading for at_s in (0.0, 1.0, 2.0) for reading in sensor.read(at_s)]

    assert channel.quantity == "power"
    assert pytest.approx(integrate(sensor.channels(), readings, 0.0, 2.0, 1.0).energy_j.mid) == 141.0


def test_a_counter_that_stays_at_zero_counts_nothing_and_power_is_read(nvml):
    sensor = find_nvml({}, nvml({"uuid": A, "energy_mj": 0}))

    assert sensor.channels()[0].quantity == "power"


def test_a_gpu_lost_in_mid_run_does_not_spoil_the_others(nvml):
    module = three(nvml)
    sensor = find_nvml({}, module)
    module.gpus[1].lost = True

    assert [f"nvml:{A}", f"nvml:{C}"] == [reading.channel for reading in sensor.read(1.0)]


def test_a_gpu_that_is_lost_from_the_start_does_not_spoil_the_others(nvml):
    module = three(nvml)
    module.gpus[0].lost = True

    assert devices(find_nvml({}, module)) == [B, C]


def test_a_gpu_that_answers_nothing_is_named_with_a_reason(nvml):
    sensor = find_nvml({}, nvml({"uuid": A}, {"uuid": B, "energy_mj": None, "power_mw": None}))

    assert devices(sensor) == [A]
    assert B in str(sensor.missing[0])


def test_no_answer_from_any_gpu_is_unavailable_and_nvml_is_let_go(nvml):
    module = nvml({"uuid": A, "energy_mj": None, "power_mw": None})

    with pytest.raises(SensorUnavailable, match="neither energy nor power"):
        find_nvml({}, module)
    assert module.open == 0


def test_a_gpu_without_a_power_limit_has_no_rated_power(nvml):
    assert find_nvml({}, nvml({"uuid": A, "limit_mw": None})).channels()[0].rated_w is None


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


@pytest.mark.parametrize("setting", ["MIG-12345678-0000", "MIG-GPU-aaaa1111/1/0", f"{A},MIG-1"])
def test_a_mig_slice_is_unavailable_with_a_reason(nvml, setting):
    with pytest.raises(SensorUnavailable, match="whole GPUs only"):
        find_nvml({"CUDA_VISIBLE_DEVICES": setting}, three(nvml))


def test_a_gpu_in_mig_mode_is_unavailable_too(nvml):
    with pytest.raises(SensorUnavailable, match="MIG"):
        find_nvml({}, nvml({"uuid": A, "mig": 1}))


def test_a_gpu_that_knows_no_mig_is_read(nvml):
    assert devices(find_nvml({}, nvml({"uuid": A, "mig": None}))) == [A]


def test_no_driver_is_unavailable(nvml):
    with pytest.raises(SensorUnavailable, match="Shared Library Not Found"):
        find_nvml({}, nvml(broken=True))


def test_a_driver_without_gpus_is_unavailable(nvml):
    with pytest.raises(SensorUnavailable, match="no GPU"):
        find_nvml({}, nvml())


def test_closing_twice_lets_go_once(nvml):
    module = nvml({"uuid": A})
    sensor = find_nvml({}, module)

    sensor.close()
    sensor.close()

    assert module.open == 0
