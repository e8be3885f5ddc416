from __future__ import annotations

from pathlib import Path

import pytest

from lowcarb.core.energy import integrate
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.rapl import find_rapl

PACKAGE = {"name": "package-0"}
SECOND = {"name": "package-1"}
CORE, UNCORE, DRAM, PSYS = ({"name": name} for name in ("core", "uncore", "dram", "psys"))


def devices(sensor):
    return [channel.device for channel in sensor.channels()]


def set_uj(root, zone, value):
    (root / "class" / "powercap" / zone / "energy_uj").write_text(str(value))


def test_a_single_package_gives_joules_of_a_processor(powercap):
    sensor = find_rapl(powercap({"intel-rapl:0": {**PACKAGE, "energy_uj": 2_500_000}}))

    (channel,) = sensor.channels()
    (reading,) = sensor.read(3.0)

    assert isinstance(sensor, Sensor)
    assert (
        channel.kind, channel.quantity, channel.basis, channel.device,
    ) == ("cpu", "counter", "measured", "package-0")  # fmt: skip
    assert channel.range_j == 262_143.32885
    assert (reading.at_s, reading.value) == (3.0, 2.5)


def test_package_and_dram_are_both_read_and_core_is_not(powercap):
    root = powercap({"intel-rapl:0": PACKAGE, "intel-rapl:0:0": CORE, "intel-rapl:0:1": UNCORE, "intel-rapl:0:2": DRAM})

    sensor = find_rapl(root)

    assert devices(sensor) == ["package-0", "package-0-dram"]
    assert [channel.kind for channel in sensor.channels()] == ["cpu", "dram"]


def test_two_sockets_are_two_devices_each_with_its_dram(powercap):
    root = powercap({"intel-rapl:0": PACKAGE, "intel-rapl:0:0": DRAM, "intel-rapl:1": SECOND, "intel-rapl:1:0": DRAM})

    assert devices(find_rapl(root)) == ["package-0", "package-0-dram", "package-1", "package-1-dram"]


def test_psys_beside_a_package_that_it_contains_is_a_check_and_in_no_total(powercap):
    root = powercap({"intel-rapl:0": PACKAGE, "intel-rapl:0:0": DRAM, "intel-rapl:1": PSYS})
    sensor = find_rapl(root)

    readings = list(sensor.read(0.0))
    for zone in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1"):
        set_uj(root, zone, 15_000_000)
    readings += sensor.read(1.0)
    energy = integrate(sensor.channels(), readings, 0.0, 1.0, 1.0)

    assert [("package-0", False), ("package-0-dram", False), ("psys", True)] == [
        (channel.device, channel.check) for channel in sensor.channels()
    ]
    assert 20.0 == energy.energy_j.mid
    assert [("psys", 10.0)] == [(check.device, check.energy_j.mid) for check in energy.checks]


def test_a_locked_or_dead_psys_is_done_without(powercap):
    zones = {"intel-rapl:0": PACKAGE, "intel-rapl:1": PSYS}

    assert ["package-0"] == devices(find_rapl(powercap(zones), read_text=denied("intel-rapl:1")))
    zones["intel-rapl:1"] = {**PSYS, "energy_uj": 0}
    assert ["package-0"] == devices(find_rapl(powercap(zones)))


def test_psys_is_read_where_there_is_no_package(powercap):
    (channel,) = find_rapl(powercap({"intel-rapl:0": PSYS})).channels()

    assert (channel.device, channel.kind, channel.check) == ("psys", "machine", False)


def test_core_and_uncore_are_read_where_nothing_contains_them(powercap):
    root = powercap({"intel-rapl:0": {"name": "other"}, "intel-rapl:0:0": CORE, "intel-rapl:0:1": UNCORE})

    assert devices(find_rapl(root)) == ["other-core", "other-uncore"]


def test_the_same_package_behind_mmio_is_counted_once(powercap):
    root = powercap(
        {"intel-rapl-mmio:0": {**PACKAGE, "energy_uj": 1}, "intel-rapl:0": {**PACKAGE, "energy_uj": 9_000_000}}
    )

    assert [reading.value for reading in find_rapl(root).read(0.0)] == [9.0]


def test_a_package_that_only_mmio_shows_is_read(powercap):
    assert devices(find_rapl(powercap({"intel-rapl-mmio:0": PACKAGE}))) == ["package-0"]


def test_a_tree_with_nested_folders_is_read_too(powercap):
    root = powercap({"intel-rapl/intel-rapl:0": PACKAGE, "intel-rapl/intel-rapl:0/intel-rapl:0:0": DRAM})

    assert devices(find_rapl(root)) == ["package-0", "package-0-dram"]


def test_rated_power_is_the_largest_limit_that_makes_sense(powercap):
    limits = {
        "constraint_0_max_power_uw": 125_000_000,
        "constraint_0_power_limit_uw": 125_000_000,
        "constraint_1_power_limit_uw": 253_000_000,
        "constraint_2_power_limit_uw": 4_095_875_000,
    }

    assert find_rapl(powercap({"intel-rapl:0": {**PACKAGE, **limits}})).channels()[0].rated_w == 253.0


@pytest.mark.parametrize("limits", [{}, {"constraint_0_max_power_uw": 0}, {"constraint_0_max_power_uw": "what"}])
def test_a_tree_without_limits_takes_the_rated_power_that_is_given(powercap, limits):
    root = powercap({"intel-rapl:0": {**PACKAGE, **limits}})

    assert find_rapl(root).channels()[0].rated_w is None
    assert find_rapl(root, package_rated_w=280.0).channels()[0].rated_w == 280.0


def test_a_wrap_is_unwrapped(powercap):
    root = powercap({"intel-rapl:0": {**PACKAGE, "energy_uj": 999_000_000, "max_energy_range_uj": 1_000_000_000}})
    sensor = find_rapl(root, package_rated_w=100.0)

    readings = list(sensor.read(0.0))
    set_uj(root, "intel-rapl:0", 49_000_000)
    readings += sensor.read(1.0)

    assert pytest.approx(integrate(sensor.channels(), readings, 0.0, 1.0, 1.0).energy_j.mid) == 50.0


def test_a_reset_is_a_gap_and_not_a_wrap(powercap):
    root = powercap({"intel-rapl:0": {**PACKAGE, "energy_uj": 100_000_000}})
    sensor = find_rapl(root, package_rated_w=100.0)

    readings = list(sensor.read(0.0))
    set_uj(root, "intel-rapl:0", 150_000_000)
    readings += sensor.read(1.0)
    set_uj(root, "intel-rapl:0", 1_000)
    readings += sensor.read(2.0)
    (device,) = integrate(sensor.channels(), readings, 0.0, 2.0, 1.0).devices

    assert device.faults == ("counter was reset (1 ×)",)
    assert (device.gaps_s, device.coverage, device.energy_j.basis) == (1.0, 0.5, "assumed")
    assert device.energy_j.high <= 100.0 * 2.0


def test_a_domain_that_vanishes_in_mid_run_is_left_out(powercap):
    root = powercap({"intel-rapl:0": PACKAGE, "intel-rapl:0:0": DRAM})
    sensor = find_rapl(root)
    (root / "class" / "powercap" / "intel-rapl:0" / "energy_uj").unlink()

    assert [reading.channel for reading in sensor.read(1.0)] == ["rapl:package-0-dram"]


def test_garbage_in_mid_run_is_left_out(powercap):
    root = powercap({"intel-rapl:0": PACKAGE})
    sensor = find_rapl(root)
    set_uj(root, "intel-rapl:0", "")

    assert sensor.read(1.0) == ()


def denied(*zones):
    """A reader that may not read the energy of some zones, as an ordinary user may not."""

    def read_text(path: Path) -> str:
        if path.name == "energy_uj" and path.parent.name in zones:
            raise PermissionError(13, "Permission denied", str(path))
        return path.read_text()

    return read_text


def test_a_locked_counter_is_unavailable_with_a_remedy_that_keeps_it_locked_for_others(powercap):
    root = powercap({"intel-rapl:0": PACKAGE})

    with pytest.raises(SensorUnavailable) as caught:
        find_rapl(root, read_text=denied("intel-rapl:0"))

    assert str(root / "class" / "powercap" / "intel-rapl:0" / "energy_uj") in caught.value.reason
    assert 'SUBSYSTEM=="powercap"' in caught.value.remedy
    assert "0440" in caught.value.remedy
    assert not any(bad in caught.value.remedy for bad in ("sudo", "0444", "a+r", "o+r"))


def test_one_locked_package_of_two_is_unavailable_rather_than_half_the_truth(powercap):
    root = powercap({"intel-rapl:0": PACKAGE, "intel-rapl:1": SECOND})

    with pytest.raises(SensorUnavailable, match="intel-rapl:1"):
        find_rapl(root, read_text=denied("intel-rapl:1"))


def test_locked_dram_is_left_out_beside_an_open_package(powercap):
    root = powercap({"intel-rapl:0": PACKAGE, "intel-rapl:0:0": DRAM})

    assert devices(find_rapl(root, read_text=denied("intel-rapl:0:0"))) == ["package-0"]


def test_a_counter_that_stays_at_zero_is_unavailable(powercap):
    with pytest.raises(SensorUnavailable, match="stays at 0"):
        find_rapl(powercap({"intel-rapl:0": {**PACKAGE, "energy_uj": 0}}))


def test_a_counter_that_gives_no_number_is_unavailable(powercap):
    with pytest.raises(SensorUnavailable, match="gives no number"):
        find_rapl(powercap({"intel-rapl:0": {**PACKAGE, "energy_uj": "n/a"}}))


def test_no_tree_is_unavailable(tmp_path):
    with pytest.raises(SensorUnavailable, match="no energy counters"):
        find_rapl(tmp_path)
