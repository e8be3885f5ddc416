from __future__ import annotations

import pytest

from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.battery import find_battery

BAT = {"type": "Battery", "status": "Discharging", "power_now": 12_500_000}
AC = {"type": "Mains", "online": 0}


@pytest.fixture
def sysfs(tmp_path):
    """Makes a sysfs root with these power supplies, or changes the files of those that are there."""

    def build(**supplies):
        for name, files in supplies.items():
            folder = tmp_path / "class" / "power_supply" / name
            folder.mkdir(parents=True, exist_ok=True)
            for file, content in files.items():
                (folder / file).write_text(f"{content}\n")
        return tmp_path

    return build


def watts(sensor):
    return [reading.value for reading in sensor.read(1.0)]


def test_a_battery_that_feeds_the_machine_tells_its_power_and_is_only_a_check(sysfs):
    sensor = find_battery(sysfs(BAT0=BAT, AC=AC))
    (channel,) = sensor.channels()

    assert isinstance(sensor, Sensor)
    assert ("machine", "machine", "power", "measured", True) == (
        channel.device, channel.kind, channel.quantity, channel.basis, channel.check,
    )  # fmt: skip
    assert channel.low_ratio <= 0.8
    assert [12.5] == watts(sensor)


def test_power_is_current_times_voltage_where_it_is_not_told(sysfs):
    current = {"type": "Battery", "status": "Discharging", "current_now": 1_500_000, "voltage_now": 12_000_000}

    assert pytest.approx([18.0]) == watts(find_battery(sysfs(BAT0=current)))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_of_a_discharge_is_the_drivers_taste(sysfs, sign):
    assert [7.0] == watts(find_battery(sysfs(BAT0={**BAT, "power_now": sign * 7_000_000})))


def test_two_batteries_feed_it_together_and_an_idle_one_not_at_all(sysfs):
    both = find_battery(sysfs(BAT0=BAT, BAT1=BAT))
    assert [25.0] == watts(both)

    sysfs(BAT1={"status": "Not charging"})
    assert [12.5] == watts(both)


@pytest.mark.parametrize(
    "supplies",
    [
        {"BAT0": {**BAT, "status": "Charging"}},
        {"BAT0": {**BAT, "status": "Full"}, "AC": AC},
        {"BAT0": BAT, "AC": {**AC, "online": 1}},
        {"BAT0": BAT, "ucsi-source-psy-USBC000:001": {"type": "USB", "online": 1}},
    ],
)
def test_a_machine_that_is_plugged_in_is_told_to_unplug(sysfs, supplies):
    with pytest.raises(SensorUnavailable) as caught:
        find_battery(sysfs(**supplies))

    assert "Unplug" in caught.value.remedy


def test_nothing_is_read_once_the_machine_is_plugged_in(sysfs):
    sensor = find_battery(sysfs(BAT0=BAT, AC=AC))

    sysfs(AC={"online": 1})
    assert [] == watts(sensor)

    sysfs(AC={"online": 0}, BAT0={"status": "Charging"})
    assert [] == watts(sensor)


@pytest.mark.parametrize(
    "supplies",
    [{}, {"AC": AC}, {"mouse": {**BAT, "scope": "Device"}}, {"BAT0": {**BAT, "present": 0}}],
)
def test_a_machine_without_a_battery_has_nothing_to_fix(sysfs, supplies):
    with pytest.raises(SensorUnavailable) as caught:
        find_battery(sysfs(**supplies))

    assert "" == caught.value.remedy


def test_a_battery_that_tells_neither_power_nor_current_is_unavailable(sysfs):
    with pytest.raises(SensorUnavailable, match="neither power nor current"):
        find_battery(sysfs(BAT0={**BAT, "power_now": "unknown"}))
