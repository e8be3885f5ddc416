from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import pytest

from lowcarb.catalogue.records import Cpu
from lowcarb.core.hardware import Device
from lowcarb.core.units import BYTES_PER_GIB
from lowcarb.sensors import Found, describe_machine, find_sensors
from lowcarb.sensors.machine import SOFTWARE

GOLD = "Intel(R) Xeon(R) Gold 6230"
KNOWN = {GOLD: Cpu(GOLD, 125.0, 20, 40, (), "catalogue")}
PACKAGE, DRAM = {"name": "package-0"}, {"name": "dram"}
A100 = Device(id="a100-sxm4-80gb", name="NVIDIA A100 SXM4 80GB", kind="gpu", tdp_w=400.0)


@pytest.fixture
def find(procfs, nvml, catalogue, tmp_path):
    opened = []

    def found(sysfs_root=None, gpus=(), environ=None, cards=None, **facts):
        opened.append(
            find_sensors(
                catalogue(KNOWN, devices={"NVIDIA A100-SXM4-80GB": A100}),
                sysfs_root=sysfs_root or tmp_path / "empty",
                proc_root=procfs(**facts),
                dev_root=tmp_path / "dev",
                environ=environ or {},
                nvml=nvml(*gpus, broken=not gpus) if cards is None else cards,
            )
        )
        return opened[-1]

    yield found
    for one in opened:
        one.close()


@pytest.fixture
def sysfs(tmp_path):
    """Adds files below the sysfs root that `powercap` makes: `{path: content}`."""

    def add(files):
        for name, content in files.items():
            path = tmp_path / "sys" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")
        return tmp_path / "sys"

    return add


def card(chip="0x74a1", vram=192 * BYTES_PER_GIB, number=0):
    """The files of an AMD GPU that draws 40 W."""
    device = f"class/drm/card{number}/device"
    return {
        f"{device}/vendor": "0x1002",
        f"{device}/device": chip,
        f"{device}/uevent": f"PCI_SLOT_NAME=0000:0{number + 1}:00.0",
        f"{device}/product_name": "AMD Instinct MI300X",
        f"{device}/mem_info_vram_total": int(vram),
        f"{device}/hwmon/hwmon0/power1_average": 40_000_000,
    }


METER = {"class/hwmon/hwmon1/name": "power_meter", "class/hwmon/hwmon1/power1_average": 90_000_000}
BATTERY = {
    "class/power_supply/BAT0/type": "Battery",
    "class/power_supply/BAT0/status": "Discharging",
    "class/power_supply/BAT0/power_now": 20_000_000,
}


def names(found):
    return [sensor.name for sensor in found.sensors]


def test_without_counters_processor_and_memory_are_modelled_and_it_is_said_why(find):
    found = find()

    assert names(found) == ["cpu-model", "dram-model"]
    assert [missing.sensor for missing in found.missing] == ["nvml", "rapl"]


def test_with_package_and_dram_nothing_is_modelled(find, powercap):
    found = find(powercap({"intel-rapl:0": PACKAGE, "intel-rapl:0:0": DRAM}))

    assert names(found) == ["rapl"]


def test_memory_is_modelled_beside_a_package_without_dram(find, powercap):
    assert names(find(powercap({"intel-rapl:0": PACKAGE}))) == ["rapl", "dram-model"]


def test_a_board_total_leaves_nothing_to_model(find, powercap):
    assert names(find(powercap({"intel-rapl:0": {"name": "psys"}}))) == ["rapl"]


def test_a_package_without_limits_is_rated_by_the_catalogue_so_that_a_reset_is_seen(find, powercap):
    found = find(powercap({"intel-rapl:0": PACKAGE}))

    assert pytest.approx(found.sensors[0].channels()[0].rated_w) == 125.0 * 0.98 * 1.35


def test_gpus_come_first_and_every_device_once(find):
    found = find(gpus=[{"uuid": "GPU-a"}, {"uuid": "GPU-b"}])
    devices = [channel.device for sensor in found.sensors for channel in sensor.channels()]

    assert names(found) == ["nvml", "cpu-model", "dram-model"]
    assert devices == ["GPU-a", "GPU-b", "cpu", "dram"]
    assert [missing.sensor for missing in found.missing] == ["rapl"]


def test_a_gpu_that_answers_nothing_is_among_the_missing(find):
    found = find(gpus=[{"uuid": "GPU-a"}, {"uuid": "GPU-b", "energy_mj": None, "power_mw": None}])

    assert "GPU-b" in str(found.missing[0])


def test_amd_gpus_are_found_beside_the_models(find, sysfs):
    found = find(sysfs(card()))

    assert ["amd", "cpu-model", "dram-model"] == names(found)
    assert ["AMD Instinct MI300X"] == [gpu.name for gpu in found.gpus]
    assert ["nvml", "rapl"] == [missing.sensor for missing in found.missing]


def test_gpus_of_both_makers_are_in_one_list(find, sysfs):
    found = find(sysfs(card()), gpus=[{"uuid": "GPU-a"}])

    assert ["nvml", "amd", "cpu-model", "dram-model"] == names(found)
    assert ["NVIDIA A100-SXM4-80GB", "AMD Instinct MI300X"] == [gpu.name for gpu in found.gpus]


def test_a_package_with_a_gpu_inside_is_read_where_rapl_is_not(find, sysfs):
    found = find(sysfs(card("0x164e", vram=BYTES_PER_GIB / 2)))

    assert ["amd-apu", "dram-model"] == names(found)
    assert ["nvml", "rapl"] == [missing.sensor for missing in found.missing]
    assert () == found.gpus


def test_a_package_with_a_gpu_inside_is_not_counted_twice(find, powercap, sysfs):
    powercap({"intel-rapl:0": PACKAGE})

    assert ["rapl", "dram-model"] == names(find(sysfs(card("0x164e", vram=BYTES_PER_GIB / 2))))


def test_a_socket_that_holds_everything_leaves_nothing_to_model(find, powercap, sysfs):
    powercap({"intel-rapl:0": PACKAGE})

    assert ["amd"] == names(find(sysfs(card("0x74a0"))))


def test_the_whole_machine_is_a_check_by_one_sensor_only(find, sysfs):
    sysfs(BATTERY)
    battery, board = find(sysfs({})), find(sysfs(METER))

    assert ["cpu-model", "dram-model", "battery"] == names(battery)
    assert ["cpu-model", "dram-model", "board"] == names(board)
    assert [False, False, True] == [channel.check for one in board.sensors for channel in one.channels()]


def test_what_the_machine_has_but_does_not_tell_comes_with_a_remedy(find, sysfs):
    found = find(sysfs({**BATTERY, "class/power_supply/BAT0/status": "Charging"}))

    assert ["nvml", "rapl", "battery"] == [missing.sensor for missing in found.missing]
    assert all(missing.remedy for missing in found.missing)


def test_redfish_is_asked_only_where_the_user_asks(find, sysfs):
    found = find(sysfs(METER), environ={"LOWCARB_REDFISH_URL": "ftp://bmc/"})

    assert ["nvml", "rapl", "redfish"] == [missing.sensor for missing in found.missing]
    assert ["cpu-model", "dram-model", "board"] == names(found)


def test_a_finder_that_fails_in_a_new_way_spoils_no_other(find, powercap, sysfs):
    class Surprise:
        NVMLError = ()

        def nvmlInit(self):  # noqa: N802  # NVML's own name
            raise ZeroDivisionError("in the driver")

    powercap({"intel-rapl:0": PACKAGE, "intel-rapl:0:0": DRAM})
    found = find(sysfs(METER), cards=Surprise())

    assert ["rapl", "board"] == names(found)
    (missing,) = found.missing
    assert ("nvml", True) == (missing.sensor, "ZeroDivisionError: in the driver" in missing.reason)


def test_no_module_of_the_network_is_loaded_for_those_who_do_not_ask():
    program = "import sys, lowcarb.sensors.find; print({'ssl', 'urllib.request', 'amdsmi'} & set(sys.modules))"

    assert "set()\n" == subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout


def test_the_environment_can_move_sysfs(catalogue, powercap, nvml, procfs):
    root = powercap({"intel-rapl:0": PACKAGE})
    environ = {"LOWCARB_SYSFS_ROOT": str(root)}

    found = find_sensors(catalogue(), environ=environ, proc_root=procfs(), dev_root=root, nvml=nvml(broken=True))

    assert names(found) == ["rapl", "dram-model"]


def test_this_machine_offers_something(catalogue):
    found = find_sensors(catalogue())

    assert isinstance(found, Found)
    assert found.sensors
    assert all(reading.value >= 0.0 for sensor in found.sensors for reading in sensor.read(1.0))
    found.close()


def describe(found, catalogue):
    return describe_machine(catalogue(KNOWN, devices={"NVIDIA A100-SXM4-80GB": A100}), found)


def test_a_machine_lists_its_gpus_by_kind_and_its_processor(find, catalogue):
    new = {"uuid": "GPU-c", "name": "NVIDIA New", "limit_mw": 700_000}
    found = find(gpus=[{"uuid": "GPU-a"}, {"uuid": "GPU-b"}, new])
    processor, *cards = describe(found, catalogue).devices

    assert (processor.device.kind, processor.device.name) == ("cpu", GOLD)
    assert [(one.device, one.count) for one in cards[:1]] == [(A100, 2.0)]
    unknown = cards[1].device
    assert (
        unknown.id, unknown.name, unknown.tdp_w, unknown.memory_bytes,
    ) == ("nvidia-new", "NVIDIA New", 700.0, 80 * BYTES_PER_GIB)  # fmt: skip
    assert unknown.embodied_g is None
    assert unknown.peak_flops == {}


@pytest.mark.parametrize(
    ("threads", "sockets", "virtual", "name", "share"),
    [
        (80, 2, False, GOLD, (1.0, 1.0, 1.0)),
        (40, 1, False, GOLD, (0.5, 0.5, 0.5)),
        (8, 1, False, "A laptop", (8 / 48, 8 / 48, 8 / 48)),
        (8, 1, True, GOLD, (0.1, 0.1, 0.1)),
        (8, 1, True, "AMD EPYC", (8 / 384, 8 / 128, 8 / 48)),
        (1000, 1, True, "AMD EPYC", (1.0, 1.0, 1.0)),
    ],
)
def test_the_processor_carries_its_share_of_a_server(find, catalogue, threads, sockets, virtual, name, share):
    found = find(name=name, sockets=sockets, virtual=virtual)
    processor = replace(found.processor, threads=threads, allowed=frozenset(range(threads)))
    machine = describe(replace(found, processor=processor), catalogue)
    embodied_g = machine.devices[0].device.embodied_g

    assert (embodied_g.low, embodied_g.mid, embodied_g.high) == pytest.approx(
        (650e3 * share[0], 1500e3 * share[1], 3000e3 * share[2])
    )
    assert embodied_g.basis == "assumed"
    assert machine.embodied_g_per_s is not None
    assert machine.threads == threads


def test_a_host_of_many_gpus_took_more_to_make(find, catalogue):
    hosts = [find(gpus=[{"uuid": f"GPU-{i}"} for i in range(count)]) for count in (1, 8)]
    few, many = (describe(host, catalogue).devices[0].device.embodied_g for host in hosts)

    assert few.mid < many.mid


def test_equal_machines_have_equal_ids_and_others_not(find, catalogue):
    one, same, other, with_gpu = find(), find(), find(name="Other"), find(gpus=[{"uuid": "GPU-a"}])
    ids = [describe(found, catalogue).id for found in (one, same, other, with_gpu)]

    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_a_machine_names_its_parts_and_software_and_not_itself(find, catalogue):
    machine = describe(find(gpus=[{"uuid": "GPU-a"}]), catalogue)

    assert machine.name.startswith(f"1 × NVIDIA A100-SXM4-80GB, {GOLD}, ")
    assert platform.node() not in machine.name
    assert platform.python_version() == machine.software["python"]
    assert "GPU-a" not in repr(machine)


@pytest.mark.parametrize("package", SOFTWARE)
def test_versions_are_those_of_the_installed_packages(find, catalogue, package, monkeypatch):
    try:
        expected = version(package)
    except PackageNotFoundError:
        pytest.skip(f"needs {package}")
    # As in a program that has not loaded it.
    monkeypatch.delitem(sys.modules, package, raising=False)

    assert expected == describe_machine(catalogue(KNOWN), find()).software[package]
