from __future__ import annotations

from dataclasses import replace

import psutil
import pytest

from lowcarb.catalogue.records import Cpu
from lowcarb.core.estimate import Estimate
from lowcarb.sensors.processor import rated_w, read_processor

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


def test_an_unnamed_processor_is_rated_by_its_family(look, catalogue):
    per_thread = Estimate(1.5, 2.2, 4.0, "assumed")
    machine = look(threads=4, name="AMD EPYC", vendor="AuthenticAMD", family=25, model=1, virtual=True)
    families = {("AuthenticAMD", 25, 1): per_thread}

    assert per_thread.scale(4.0) == rated_w(machine, catalogue({}, families))


def test_an_unknown_processor_has_a_wide_assumed_rated_power(look, catalogue):
    assert rated_w(look(), catalogue()) == Estimate(8.0, 32.0, 72.0, "assumed")


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
