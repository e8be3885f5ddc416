from __future__ import annotations

from dataclasses import replace

import psutil
import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.catalogue.records import Cpu
from lowcarb.core.cpu_power import ratio_of_product
from lowcarb.core.estimate import Estimate
from lowcarb.sensors.processor import rated_w, read_processor, usable_cores

GOLD = "Intel(R) Xeon(R) Gold 6230"
KNOWN = {GOLD: Cpu(GOLD, 125.0, 20, 40, (), "catalogue")}


@pytest.fixture
def look(procfs, tmp_path):
    """Reads a machine and gives it so many logical processors, all of them usable."""

    def read(threads=8, **facts):
        found = read_processor(procfs(**facts), tmp_path / "sys")
        return replace(found, threads=threads, allowed=frozenset(range(threads)))

    return read


def test_cpuinfo_tells_name_numbers_sockets_and_hypervisor(procfs, tmp_path):
    found = read_processor(procfs(sockets=2, siblings=4, cores=2, virtual=True), tmp_path)

    assert (found.name, found.vendor, found.family, found.model) == (GOLD, "GenuineIntel", 6, 85)
    assert (found.sockets, found.split_cores, found.virtual) == (2, True, True)
    assert psutil.cpu_count() == found.threads


def test_a_name_without_a_number_names_no_processor():
    # A virtual machine with such a name is known by its family, for which the long table is not read.
    assert all(any(letter.isdigit() for letter in name) for name in Catalogue.load().cpu_names())
    assert Catalogue.load().cpu("AMD EPYC Processor") is None


def test_a_machine_without_procfs_is_still_described(tmp_path):
    found = read_processor(tmp_path / "proc", tmp_path / "sys")

    assert (found.sockets, found.virtual, found.quota) == (1, False, None)
    assert found.name
    assert found.usable_threads >= 1


def test_bare_metal_is_rated_at_tdp_times_sockets(look, catalogue):
    machine = look(threads=80, sockets=2, siblings=40, cores=20)

    assert Estimate.exact(250.0, "catalogue") == rated_w(machine, catalogue(KNOWN))


def test_a_process_pinned_to_a_part_is_rated_at_that_part(look, catalogue):
    machine = replace(look(threads=40, siblings=40, cores=20), allowed=frozenset(range(4)))

    assert rated_w(machine, catalogue(KNOWN)).mid == 12.5


def test_a_virtual_machine_is_rated_by_its_threads(look, catalogue):
    machine = look(threads=8, virtual=True, siblings=8, cores=4)

    assert Estimate.exact(25.0, "catalogue") == rated_w(machine, catalogue(KNOWN))


def test_a_virtual_machine_that_may_hold_whole_cores_may_draw_twice_as_much(look, catalogue):
    machine = look(threads=8, virtual=True, siblings=8, cores=8)

    assert (rated_w(machine, catalogue(KNOWN)).mid, rated_w(machine, catalogue(KNOWN)).high) == (25.0, 50.0)


MILAN = {("AuthenticAMD", 25, 1): Estimate(1.5, 2.0, 8.0, "assumed")}
"""From a hyper-thread of a thrifty part to a core of a fast one, whose hyper-threads are rated at 4 W."""


def test_hyper_threads_that_are_seen_are_no_whole_cores_of_an_unnamed_processor(look, catalogue):
    machine = look(threads=4, name="AMD EPYC", vendor="AuthenticAMD", family=25, model=1, virtual=True)

    assert Estimate(6.0, 8.0, 16.0, "assumed") == rated_w(machine, catalogue({}, MILAN))


def test_a_virtual_processor_that_may_be_a_core_or_of_a_fast_part_is_seldom_both(look, catalogue):
    machine = look(
        threads=4, siblings=4, cores=4, name="AMD EPYC", vendor="AuthenticAMD", family=25, model=1, virtual=True
    )

    rated = rated_w(machine, catalogue({}, MILAN))

    assert pytest.approx(8.0 * ratio_of_product(2.0, 2.0)) == rated.high
    assert 16.0 < rated.high < 32.0
    assert (rated.low, rated.mid) == (6.0, 8.0)


def test_a_family_without_hyper_threads_keeps_its_upper_end(look, catalogue):
    forest = {("GenuineIntel", 6, 175): Estimate(1.7, 2.0, 2.3, "assumed")}
    machine = look(threads=1, siblings=1, cores=1, name="Intel Xeon", model=175, virtual=True)

    assert rated_w(machine, catalogue({}, forest)).high == 2.3


def test_an_unknown_processor_has_a_wide_assumed_rated_power(look, catalogue):
    assert rated_w(look(), catalogue()) == Estimate(8.0, 32.0, 36.0, "assumed")
    assert rated_w(look(siblings=2, cores=2), catalogue()).high > 64.0


@pytest.mark.parametrize(
    ("facts", "cores"),
    [
        ({"siblings": 8, "cores": 4}, 4.0),
        ({"siblings": 8, "cores": 8}, 8.0),
        ({"siblings": 8, "cores": 4, "virtual": True}, 4.0),
        ({"siblings": 8, "cores": 8, "virtual": True}, 4.0),
        ({"siblings": 8, "cores": 8, "virtual": True, "name": "Who Knows"}, 4.0),
    ],
)
def test_cores_are_seen_or_taken_as_the_rated_power_takes_them(look, catalogue, facts, cores):
    assert cores == usable_cores(look(**facts), catalogue(KNOWN))


def test_the_clock_is_in_the_name_of_many_processors(look):
    assert look(name=f"{GOLD} CPU @ 2.10GHz").clock_hz == 2.1e9
    assert look(name="AMD EPYC 7571").clock_hz is None


@pytest.mark.parametrize(
    ("file", "text", "clock_hz"),
    [
        ("cpufreq/base_frequency", "2100000\n", 2.1e9),
        ("acpi_cppc/nominal_freq", "2450\n", 2.45e9),
        ("acpi_cppc/nominal_freq", "0\n", None),
        ("cpufreq/base_frequency", "<unknown>\n", None),
    ],
)
def test_the_kernel_may_tell_the_clock(procfs, tmp_path, file, text, clock_hz):
    path = tmp_path / "sys/devices/system/cpu/cpu0" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)

    assert clock_hz == read_processor(procfs(), tmp_path / "sys").clock_hz


@pytest.mark.parametrize(("flags", "clock_hz"), [("hypervisor", 2.6e9), ("", None)])
def test_a_hypervisor_shows_the_base_clock_but_bare_metal_that_of_the_moment(tmp_path, flags, clock_hz):
    (tmp_path / "cpuinfo").write_text(
        f"processor\t: 0\nmodel name\t: Xeon\ncpu MHz\t\t: 2600.000\nflags\t\t: {flags}\n"
    )

    assert clock_hz == read_processor(tmp_path, tmp_path / "sys").clock_hz


def test_a_virtual_machine_whose_processor_has_an_unknown_count_is_rated_by_its_family(look, catalogue):
    machine = look(threads=8, virtual=True)

    assert rated_w(machine, catalogue({GOLD: Cpu(GOLD, 125.0, None, None, (), "catalogue")})).mid == 32.0


@pytest.fixture
def groups(tmp_path):
    """Makes a control group tree from `{folder: {file: content}}`."""

    def build(folders):
        for folder, files in folders.items():
            path = tmp_path / "sys" / "fs" / "cgroup" / folder
            path.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (path / name).write_text(content)
        return tmp_path / "sys"

    return build


def test_the_tightest_limit_on_the_way_up_holds(procfs, groups):
    sysfs = groups(
        {
            "": {"cpu.stat": "usage_usec 1"},
            "job": {"cpu.max": "50000 100000", "memory.max": "2000000000"},
            "job/step": {"cpu.max": "max 100000", "memory.max": "max"},
        }
    )

    found = read_processor(procfs(cgroup="0::/job/step\n"), sysfs)

    assert (0.5, sysfs / "fs/cgroup/job/cpu.stat") == (found.quota.cpus, found.quota.usage)
    assert found.usable_threads == 0.5
    assert found.memory_bytes == 2e9


def test_a_container_sees_its_limit_at_the_top(procfs, groups):
    sysfs = groups({"": {"cpu.max": "150000 100000"}})

    assert read_processor(procfs(cgroup="0::/not/visible/here\n"), sysfs).quota.cpus == 1.5


def test_a_path_that_leads_out_of_the_tree_is_not_followed(procfs, groups, tmp_path):
    (tmp_path / "sys" / "fs").mkdir(parents=True)
    (tmp_path / "sys" / "fs" / "cpu.max").write_text("1000 100000")

    assert read_processor(procfs(cgroup="0::/../\n"), groups({"": {}})).quota is None


@pytest.mark.parametrize("text", ["", "max 100000", "0 100000", "100000 0", "what"])
def test_no_limit_is_no_quota(procfs, groups, text):
    assert read_processor(procfs(), groups({"": {"cpu.max": text}})).quota is None


LIMIT_1 = {"cpu.cfs_quota_us": "150000\n", "cpu.cfs_period_us": "100000\n"}
NO_LIMIT_1 = {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}
USED_1 = {"cpuacct.usage": "2500000000\n"}


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_version_1_limits_and_counts_in_one_folder(procfs, groups, mount):
    sysfs = groups({mount: NO_LIMIT_1 | USED_1, f"{mount}/job": LIMIT_1 | USED_1})

    found = read_processor(procfs(cgroup="4:cpu,cpuacct:/job\n1:name=systemd:/x\n"), sysfs)

    assert (1.5, sysfs / f"fs/cgroup/{mount}/job/cpuacct.usage") == (found.quota.cpus, found.quota.usage)


def test_version_1_may_count_in_another_folder(procfs, groups):
    sysfs = groups({"cpu/job": LIMIT_1, "cpuacct/job": USED_1})

    found = read_processor(procfs(cgroup="2:cpuacct:/job\n1:cpu:/job\n"), sysfs)

    assert (1.5, sysfs / "fs/cgroup/cpuacct/job/cpuacct.usage") == (found.quota.cpus, found.quota.usage)


def test_a_container_sees_its_limit_of_version_1_at_the_top(procfs, groups):
    sysfs = groups({"cpu,cpuacct": LIMIT_1 | USED_1, "memory": {"memory.limit_in_bytes": "1000000000\n"}})

    found = read_processor(procfs(cgroup="5:memory:/docker/4f\n4:cpu,cpuacct:/docker/4f\n"), sysfs)

    assert (1.5, 1e9) == (found.quota.cpus, found.memory_bytes)


def test_a_limit_of_version_1_whose_use_nobody_counts_is_not_followed(procfs, groups):
    assert read_processor(procfs(cgroup="1:cpu:/\n"), groups({"cpu": LIMIT_1})).quota is None


def test_without_a_limit_version_1_is_the_whole_machine(procfs, groups):
    unlimited = {"memory.limit_in_bytes": "9223372036854771712\n"}
    sysfs = groups({"cpu": NO_LIMIT_1 | USED_1, "memory": unlimited, "memory/job": unlimited})

    found = read_processor(procfs(cgroup="5:memory:/job\n1:cpu,cpuacct:/\n"), sysfs)

    assert (None, float(psutil.virtual_memory().total)) == (found.quota, found.memory_bytes)


def test_the_tightest_memory_limit_of_version_1_holds(procfs, groups):
    sysfs = groups(
        {"memory/a": {"memory.limit_in_bytes": "2000000000"}, "memory/a/b": {"memory.limit_in_bytes": "3000000000"}}
    )

    assert read_processor(procfs(cgroup="5:memory:/a/b\n"), sysfs).memory_bytes == 2e9


def test_the_tighter_of_both_versions_holds_where_they_are_mixed(procfs, groups):
    sysfs = groups({"cpu,cpuacct/job": LIMIT_1 | USED_1, "unified/slice": {"cpu.max": "50000 100000"}})

    found = read_processor(procfs(cgroup="4:cpu,cpuacct:/job\n0::/slice\n"), sysfs)

    assert (0.5, sysfs / "fs/cgroup/unified/slice/cpu.stat") == (found.quota.cpus, found.quota.usage)
