from __future__ import annotations

import sys
from dataclasses import dataclass, field
from time import monotonic

import pytest

from lowcarb.core.energy import integrate
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.amd import find_amd, find_apu
from lowcarb.sensors.base import Sensor

GIB = 2**30
MI300X = {"device": "0x74a1", "revision": "0x00", "mem_info_vram_total": 192 * GIB}
MI210 = {"device": "0x740f", "revision": "0x02", "mem_info_vram_total": 64 * GIB}
INTEGRATED = {"device": "0x164e", "revision": "0xc4", "mem_info_vram_total": GIB // 2}
POWER = {"power1_average": 250_000_000, "power1_cap": 750_000_000}


@pytest.fixture
def sysfs(tmp_path):
    """Makes a sysfs root with one card for each `(facts, hwmon files)`, at PCI bus 1, 2 and so on."""

    def build(*found, topology=True, order=None):
        root = tmp_path / f"sys{len(list(tmp_path.glob('sys*')))}"
        (root / "class" / "drm").mkdir(parents=True)
        for number, (facts, hwmon) in enumerate(found):
            device = root / "class" / "drm" / f"card{number}" / "device"
            files = {"vendor": "0x1002", "uevent": f"DRIVER=amdgpu\nPCI_SLOT_NAME=0000:0{number + 1}:00.0", **facts}
            write(device, files)
            (device / "drm" / f"renderD{128 + number}").mkdir(parents=True)
            write(device / "hwmon" / f"hwmon{number + 3}", {"name": "amdgpu", **hwmon})
        (root / "class" / "drm" / "card0-DP-1").mkdir()
        nodes = root / "class" / "kfd" / "kfd" / "topology" / "nodes"
        for node, bus in enumerate(order or [number + 1 for number in range(len(found))] if topology else []):
            write(nodes / str(node + 1), {"properties": f"simd_count 440\nlocation_id {bus << 8}\ndomain 0"})
        write(nodes / "0", {"properties": "cpu_cores_count 64\nsimd_count 0"})
        return root

    return build


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


def hwmon(root, card=0):
    return next((root / "class" / "drm" / f"card{card}" / "device" / "hwmon").glob("*"))


@dataclass
class FakeSmi:
    """Answers as amdsmi 7 does, for GPUs by PCI address: a counter in steps of 15.3 µJ that runs with the clock."""

    powers_w: dict[str, float]
    speed: float = 1.0
    broken: bool = False
    counts: bool = True
    open: int = 0
    powers: dict[str, object] = field(default_factory=dict)

    def amdsmi_init(self):
        if self.broken:
            raise KeyError("libamd_smi.so")
        self.open += 1

    def amdsmi_shut_down(self):
        self.open -= 1

    def amdsmi_get_processor_handles(self):
        return list(self.powers_w)

    def amdsmi_get_gpu_device_bdf(self, handle):
        return handle.upper()

    def amdsmi_get_energy_count(self, handle):
        if not self.counts:
            raise RuntimeError("AMDSMI_STATUS_NOT_SUPPORTED")
        energy_j = self.speed * self.powers_w[handle] * monotonic()
        return {"energy_accumulator": int(energy_j * 1e6 / 15.3), "counter_resolution": 15.3, "timestamp": 0}

    def amdsmi_get_power_info(self, handle):
        return self.powers


def only(sensor):
    (channel,) = sensor.channels()
    return channel


def close(*sensors):
    for sensor in sensors:
        sensor.close()


def test_without_amdsmi_the_power_that_the_driver_shows_is_summed_up(sysfs):
    root = sysfs(({**MI300X, "unique_id": "7a3c00000000beef"}, POWER))

    sensor = find_amd(root, {})
    channel = only(sensor)
    readings = [*sensor.read(0.0), *sensor.read(0.1)]
    close(sensor)

    assert isinstance(sensor, Sensor)
    assert ("GPU-7a3c00000000beef", "gpu", "measured", 750.0) == (
        channel.device, channel.kind, channel.basis, channel.rated_w,
    )  # fmt: skip
    assert channel.resolution_s > 0.0
    assert [channel.id] * 2 == [reading.channel for reading in readings]
    assert readings[0].value <= readings[1].value


def test_power_is_told_in_watts(sysfs):
    root = sysfs((MI300X, POWER))
    sensor = find_amd(root, {})
    first_s = monotonic()

    readings = list(sensor.read(first_s))
    while (now_s := monotonic()) < first_s + 0.1:
        readings += sensor.read(now_s)
    close(sensor)
    (device,) = integrate(sensor.channels(), readings, first_s, readings[-1].at_s, 1.0).devices

    assert pytest.approx(250.0, rel=0.2) == device.energy_j.mid / (readings[-1].at_s - first_s)


def test_the_instant_power_stands_for_the_mean_where_that_is_not_shown(sysfs):
    root = sysfs((MI300X, {"power1_input": 99_000_000}))

    sensor = find_amd(root, {})
    close(sensor)

    assert 1 == len(sensor.gpus)
    assert only(sensor).rated_w is None


def test_a_gpu_has_one_id_whichever_way_it_is_read(sysfs):
    root = sysfs(({**MI300X, "unique_id": "7a3c"}, POWER), (MI300X, POWER))
    smi = FakeSmi({"0000:01:00.0": 250.0, "0000:02:00.0": 250.0})

    by_driver, by_smi = find_amd(root, {}), find_amd(root, {}, smi=smi)
    close(by_driver, by_smi)

    devices = [[channel.device for channel in sensor.channels()] for sensor in (by_driver, by_smi)]
    assert [["GPU-0000000000007a3c", "0000:02:00.0"]] * 2 == devices


def test_the_counter_of_amdsmi_is_in_its_resolution_of_microjoules(sysfs):
    smi = FakeSmi({"0000:01:00.0": 250.0})
    sensor = find_amd(sysfs((MI300X, POWER)), {}, smi=smi)

    before_s = monotonic()
    (reading,) = sensor.read(0.0)
    after_s = monotonic()

    assert 250.0 * before_s - 0.01 <= reading.value <= 250.0 * after_s + 0.01
    assert 1 == smi.open
    close(sensor, sensor)
    assert 0 == smi.open


def test_a_counter_is_nearer_to_the_truth_than_power(sysfs):
    root = sysfs((MI300X, POWER))
    counter, power = find_amd(root, {}, smi=FakeSmi({"0000:01:00.0": 250.0})), find_amd(root, {})
    close(counter, power)

    assert only(counter).high_ratio < only(power).high_ratio
    assert only(counter).resolution_s < only(power).resolution_s


@pytest.mark.parametrize("speed", [0.0, 0.001, 1000.0])
def test_a_counter_that_stands_or_is_in_another_unit_is_left_for_power(sysfs, speed):
    root = sysfs((MI300X, POWER))

    sensor = find_amd(root, {}, smi=FakeSmi({"0000:01:00.0": 250.0}, speed=speed))
    (reading,) = sensor.read(0.0)
    close(sensor)

    assert only(sensor).resolution_s == only(find_amd(root, {})).resolution_s
    assert reading.value < 1000.0


def test_a_counter_under_hwmon_is_read_where_it_moves(sysfs, monkeypatch):
    root = sysfs((MI300X, {"energy1_input": 5_000_000}))
    file = hwmon(root) / "energy1_input"

    with pytest.raises(SensorUnavailable, match="neither energy nor power"):
        find_amd(root, {})
    monkeypatch.setattr("lowcarb.sensors.amd.sleep", lambda seconds: file.write_text("7000000\n"))
    sensor = find_amd(root, {})
    file.write_text("9500000\n")
    (reading,) = sensor.read(0.0)
    close(sensor)

    assert 9.5 == reading.value


def test_a_broken_amdsmi_is_told_and_done_without(sysfs):
    sensor = find_amd(sysfs((MI300X, POWER)), {}, smi=FakeSmi({}, broken=True))
    close(sensor)

    (missing,) = sensor.missing
    assert ("amdsmi", True, True) == (
        missing.sensor, "KeyError" in missing.reason, "pip uninstall amdsmi" in missing.remedy,
    )  # fmt: skip
    assert 1 == len(sensor.channels())


def test_an_installed_amdsmi_that_fails_on_import_prints_nothing(sysfs, tmp_path, monkeypatch, capsys):
    (tmp_path / "amdsmi.py").write_text("print('Unable to find libamd_smi.so')\nraise KeyError('libamd_smi.so')\n")
    monkeypatch.syspath_prepend(tmp_path)

    sensor = find_amd(sysfs((MI300X, POWER)), {})
    close(sensor)
    sys.modules.pop("amdsmi", None)

    assert ["amdsmi"] == [missing.sensor for missing in sensor.missing]
    assert "" == capsys.readouterr().out


def test_amdsmi_tells_the_power_where_the_driver_does_not(sysfs):
    smi = FakeSmi({"0000:01:00.0": 250.0}, counts=False, powers={"average_socket_power": "N/A", "socket_power": 88})

    sensor = find_amd(sysfs((MI300X, {})), {}, smi=smi)
    readings = sensor.read(0.0)
    close(sensor)

    assert 1 == len(readings)


def test_the_second_die_of_a_card_shows_nothing_and_is_told(sysfs):
    sensor = find_amd(sysfs((MI210, POWER), (MI210, {"power1_average": 0, "power1_cap": 0})), {})
    close(sensor)

    assert ["amd:0000:01:00.0"] == [channel.id for channel in sensor.channels()]
    assert "two dies" in str(sensor.missing[0])


def test_names_come_from_the_board_else_from_the_list(sysfs, tmp_path):
    ids = tmp_path / "amdgpu.ids"
    ids.write_text("# device_id,\trevision_id,\tproduct_name\n\n1.0.0\n740F,\t02,\tAMD Instinct MI210\n")
    root = sysfs((MI210, POWER), ({**MI300X, "product_name": "AMD Instinct MI300X"}, POWER), (MI300X, POWER))

    sensor = find_amd(root, {}, ids=ids)
    close(sensor)

    assert ["AMD Instinct MI210", "AMD Instinct MI300X", "AMD GPU 0x74a1"] == [gpu.name for gpu in sensor.gpus]
    assert [64 * GIB, 192 * GIB, 192 * GIB] == [gpu.memory_bytes for gpu in sensor.gpus]


def test_cards_of_others_are_not_read(sysfs):
    root = sysfs(({**MI300X, "vendor": "0x10de"}, POWER))

    with pytest.raises(SensorUnavailable) as caught:
        find_amd(root, {})

    assert "" == caught.value.remedy


@pytest.mark.parametrize("facts", [INTEGRATED, {**INTEGRATED, "mem_info_vram_total": 96 * GIB}])
def test_an_integrated_gpu_is_the_processor_and_no_gpu(sysfs, facts):
    root = sysfs((facts, {"power1_average": 15_000_000, "in1_label": "vddnb"}))

    with pytest.raises(SensorUnavailable):
        find_amd(root, {})
    package = find_apu(root)
    (reading,) = package.read(0.0)
    close(package)

    assert ("cpu", "cpu", "measured", False) == (
        only(package).device, only(package).kind, only(package).basis, only(package).check,
    )  # fmt: skip
    assert only(package).id == reading.channel


@pytest.mark.parametrize("shown", [{}, {"power1_average": 15_000}, {"power1_average": 0}])
def test_a_package_that_tells_no_power_that_can_be_is_unavailable(sysfs, shown):
    with pytest.raises(SensorUnavailable, match="no power"):
        find_apu(sysfs((INTEGRATED, shown)))


def test_a_separate_gpu_is_no_package(sysfs):
    with pytest.raises(SensorUnavailable) as caught:
        find_apu(sysfs((MI300X, POWER)))

    assert "" == caught.value.remedy


def test_a_socket_with_gpu_processors_and_memory_says_so(sysfs):
    socket, card = (find_amd(sysfs(({**MI300X, "device": chip}, POWER)), {}) for chip in ("0x74a0", "0x74a1"))
    close(socket, card)

    assert (True, False) == (socket.holds_processors, card.holds_processors)


FOUR = tuple(({**MI300X, "unique_id": f"{digit * 16}"}, POWER) for digit in "abcd")


def buses(root, **environ):
    sensor = find_amd(root, environ)
    close(sensor)
    return [channel.id.split(":")[2] for channel in sensor.channels()]


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({}, ["01", "02", "03", "04"]),
        ({"ROCR_VISIBLE_DEVICES": "0,2"}, ["01", "03"]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-CCCC,0"}, ["03", "01"]),
        ({"ROCR_VISIBLE_DEVICES": "1,7,2"}, ["02"]),
        ({"ROCR_VISIBLE_DEVICES": "1,1,2"}, ["02"]),
        ({"HIP_VISIBLE_DEVICES": "3"}, ["04"]),
        ({"CUDA_VISIBLE_DEVICES": "3,2"}, ["04", "03"]),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "3"}, ["01"]),
        ({"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": ""}, ["01", "02", "03", "04"]),
        ({"ROCR_VISIBLE_DEVICES": "1,2", "HIP_VISIBLE_DEVICES": "1"}, ["03"]),
        ({"HIP_VISIBLE_DEVICES": "GPU-bbbbbbbbbbbbbbbb"}, ["02"]),
    ],
)
def test_gpus_are_those_that_rocm_gives_to_the_process(sysfs, environ, chosen):
    assert chosen == buses(sysfs(*FOUR), **environ)


def test_rocm_numbers_gpus_by_its_topology_and_not_by_slot(sysfs):
    assert ["03"] == buses(sysfs(*FOUR, order=[3, 1, 2, 4]), ROCR_VISIBLE_DEVICES="0")


def test_integrated_gpus_have_numbers_too(sysfs):
    root = sysfs((INTEGRATED, POWER), (MI300X, POWER), (MI300X, POWER))

    assert ["02"] == buses(root, ROCR_VISIBLE_DEVICES="1")
    with pytest.raises(SensorUnavailable, match="only an integrated GPU"):
        find_amd(root, {"ROCR_VISIBLE_DEVICES": "0"})


@pytest.mark.parametrize("environ", [{"ROCR_VISIBLE_DEVICES": ""}, {"HIP_VISIBLE_DEVICES": "-1"}])
def test_no_gpu_left_is_unavailable(sysfs, environ):
    with pytest.raises(SensorUnavailable, match="hides every GPU"):
        find_amd(sysfs(*FOUR), environ)


def test_hips_order_of_unlike_gpus_is_not_guessed(sysfs):
    root = sysfs(({**MI210, "unique_id": "a" * 16}, POWER), ({**MI300X, "unique_id": "b" * 16}, POWER))

    with pytest.raises(SensorUnavailable, match="ambiguous"):
        find_amd(root, {"HIP_VISIBLE_DEVICES": "1"})
    assert ["01", "02"] == buses(root, HIP_VISIBLE_DEVICES="0,1")
    assert ["02"] == buses(root, HIP_VISIBLE_DEVICES="GPU-bbbb")
    assert ["02"] == buses(root, ROCR_VISIBLE_DEVICES="1")


def test_numbers_without_a_topology_are_not_guessed(sysfs):
    root = sysfs(*FOUR, topology=False)

    with pytest.raises(SensorUnavailable, match="how ROCm numbers them"):
        find_amd(root, {"ROCR_VISIBLE_DEVICES": "1"})
    assert ["02"] == buses(root, ROCR_VISIBLE_DEVICES="GPU-bbbb")


def test_a_part_of_a_gpu_is_not_measured_as_a_whole(sysfs):
    root = sysfs((MI300X, POWER), (MI300X, POWER), order=[1, 1, 2, 2])

    assert ["01", "02"] == buses(root)
    with pytest.raises(SensorUnavailable, match="partitioned"):
        find_amd(root, {"ROCR_VISIBLE_DEVICES": "0"})


def test_a_gpu_of_another_container_is_not_read(sysfs, tmp_path):
    root, dev = sysfs((MI300X, POWER), (MI300X, POWER)), tmp_path / "dev"
    (dev / "dri").mkdir(parents=True)
    (dev / "dri" / "renderD129").touch()

    sensor = find_amd(root, {"ROCR_VISIBLE_DEVICES": "0"}, dev_root=dev)
    close(sensor)

    assert ["amd:0000:02:00.0"] == [channel.id for channel in sensor.channels()]


def test_a_gpu_that_goes_away_is_left_out(sysfs):
    root = sysfs((MI300X, POWER), (MI300X, POWER))
    sensor = find_amd(root, {})
    sensor.read(0.0)
    (hwmon(root, 0) / "power1_average").unlink()

    # Its sum stays fresh for a moment after the last look, and no longer.
    end_s = monotonic() + 2.0
    while len(sensor.read(1.0)) > 1 and monotonic() < end_s:
        pass
    left = {reading.channel for reading in sensor.read(2.0)}
    close(sensor)

    assert {"amd:0000:02:00.0"} == left
