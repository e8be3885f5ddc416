from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.apple import find_apple
from lowcarb.sensors.base import Sensor

FIELDS = (
    "cpu_total_mj", "efficiency_cores_mj", "performance_cores_mj", "efficiency_cluster_mj", "performance_cluster_mj",
    "efficiency_core_manager_mj", "performance_core_manager_mj", "dram_mj", "gpu_mj", "gpu_sram_mj", "ane_mj",
)  # fmt: skip
"""The fields of AppleEnergyMetrics in zeus-apple-silicon 1.1; those that a chip does not tell are None."""
M2_MAX = {"cpu_total_mj": 10_000, "dram_mj": 2_000, "gpu_mj": 30_000, "gpu_sram_mj": 500, "ane_mj": 0}


@dataclass
class FakeModule:
    """Answers as the module zeus_apple_silicon does."""

    told: dict[str, int]
    broken: bool = False

    def AppleEnergyMonitor(self):  # noqa: N802  # its own name
        if self.broken:
            raise RuntimeError("Failed to create IOReport subscription.")
        return self

    def get_cumulative_energy(self):
        return SimpleNamespace(**dict.fromkeys(FIELDS) | self.told)


def mac(module, chip="Apple M2 Max"):
    return find_apple(system="Darwin", machine="arm64", module=module, chip=lambda: chip)


def test_the_parts_of_the_chip_are_read_in_joules_each_once():
    sensor = mac(FakeModule(M2_MAX))

    channels, readings = sensor.channels(), sensor.read(3.0)

    assert isinstance(sensor, Sensor)
    assert [("cpu", "cpu"), ("apple-gpu", "gpu"), ("dram", "dram"), ("apple-ane", "npu")] == [
        (channel.device, channel.kind) for channel in channels
    ]
    assert [10.0, 30.5, 2.0, 0.0] == [reading.value for reading in readings]
    assert [channel.id for channel in channels] == [reading.channel for reading in readings]
    assert {"counter"} == {channel.quantity for channel in channels}
    assert ["Apple M2 Max"] == [gpu.name for gpu in sensor.gpus]


def test_what_a_chip_does_not_tell_is_left_out():
    sensor = mac(FakeModule({"cpu_total_mj": 10_000, "gpu_sram_mj": 5}))

    assert ["cpu"] == [channel.device for channel in sensor.channels()]
    assert () == sensor.gpus


def test_a_part_that_is_told_no_more_is_left_out():
    module = FakeModule(dict(M2_MAX))
    sensor = mac(module)
    del module.told["gpu_sram_mj"]

    assert ["apple:cpu", "apple:dram", "apple:ane"] == [reading.channel for reading in sensor.read(1.0)]


def test_the_second_die_of_an_ultra_chip_is_in_the_interval():
    usual, ultra = (mac(FakeModule(M2_MAX), chip).channels()[0] for chip in ("Apple M2 Max", "Apple M2 Ultra"))

    assert 2.0 * usual.high_ratio == ultra.high_ratio


@pytest.mark.parametrize("told", [{}, {"efficiency_cores_mj": 3}])
def test_a_chip_that_tells_nothing_is_unavailable(told):
    with pytest.raises(SensorUnavailable, match="no energy"):
        mac(FakeModule(told))


def test_a_chip_that_cannot_be_asked_is_unavailable():
    with pytest.raises(SensorUnavailable, match="subscription"):
        mac(FakeModule(M2_MAX, broken=True))


def test_a_mac_without_the_package_is_told_what_to_install():
    with pytest.raises(SensorUnavailable) as caught:
        find_apple(system="Darwin", machine="arm64")

    assert "pip install 'lowcarb[apple]'" == caught.value.remedy


@pytest.mark.parametrize(("system", "machine"), [("Linux", "aarch64"), ("Darwin", "x86_64")])
def test_elsewhere_there_is_nothing_to_install(system, machine):
    with pytest.raises(SensorUnavailable) as caught:
        find_apple(system=system, machine=machine, module=FakeModule(M2_MAX))

    assert "" == caught.value.remedy
