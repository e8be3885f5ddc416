from __future__ import annotations

import sys

import pytest

from lowcarb.sensors.surroundings import Job, Rank, amdsmi_fault, look_around


@pytest.fixture
def look(tmp_path):
    """Looks around in a file system with these files, as seen by a process with these environment variables."""

    def around(files=(), cgroup="0::/\n", **environ):
        contents = {"proc/self/cgroup": cgroup, **dict(files)}
        for name, content in contents.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return look_around(environ, root=tmp_path, proc_root=tmp_path / "proc", sysfs_root=tmp_path / "sys")

    return around


def test_where_nothing_surrounds_it_nothing_is_said(look):
    seen = look()

    assert (None, None, None, None, {}) == (seen.container, seen.cloud, seen.job, seen.rank, dict(seen.choices))


@pytest.mark.parametrize(
    ("files", "cgroup", "environ", "container"),
    [
        ({".dockerenv": ""}, "0::/\n", {}, "docker"),
        ({"run/.containerenv": ""}, "0::/\n", {}, "podman"),
        ({".dockerenv": ""}, "0::/\n", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({}, "0::/\n", {"APPTAINER_CONTAINER": "/x.sif"}, "apptainer"),
        ({}, "12:cpu:/docker/3f2a\n0::/docker/3f2a\n", {}, "docker"),
        ({}, "0::/kubepods.slice/kubepods-burstable.slice/x\n", {}, "kubernetes"),
        ({}, "0::/machine.slice/libpod-3f2a.scope\n", {}, "podman"),
        ({}, "0::/lxc/one\n", {}, "unknown"),
        ({}, "0::/\n", {"container": "oci"}, "unknown"),
        ({}, "0::/user.slice/user-1000.slice/session-3.scope\n", {}, None),
    ],
)
def test_the_container_is_known_by_what_it_leaves(look, files, cgroup, environ, container):
    assert container == look(files, cgroup, **environ).container


@pytest.mark.parametrize(
    ("vendor", "product", "cloud"),
    [
        ("Amazon EC2", "p4d.24xlarge", "Amazon EC2"),
        ("Google", "Google Compute Engine", "Google Cloud"),
        ("Microsoft Corporation", "Virtual Machine", "Microsoft Azure or Hyper-V"),
        ("Microsoft Corporation", "Surface Laptop 5", None),
        ("Dell Inc.", "PowerEdge R750", None),
    ],
)
def test_the_cloud_is_known_by_the_firmware(look, vendor, product, cloud):
    dmi = {"sys/class/dmi/id/sys_vendor": f"{vendor}\n", "sys/class/dmi/id/product_name": f"{product}\n"}

    assert cloud == look(dmi).cloud


def test_a_job_and_what_it_holds(look):
    environ = {"SLURM_JOB_ID": "4711", "SLURM_CPUS_ON_NODE": "8", "SLURM_JOB_GPUS": "0,3"}

    assert Job("4711", "8", "0,3") == look(**environ).job
    assert Job("4711", None, None) == look(SLURM_JOB_ID="4711").job


@pytest.mark.parametrize(
    ("environ", "rank"),
    [
        ({"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "8"}, Rank(9, 16, 1, 8)),
        ({"LOCAL_RANK": "0"}, Rank(0, 1, 0, 1)),
        ({"LOCAL_RANK": "first"}, None),
        ({"RANK": "3"}, None),
    ],
)
def test_a_rank_is_what_its_launcher_says(look, environ, rank):
    assert rank == look(**environ).rank


def test_the_choice_of_gpus_is_shown(look):
    assert {"CUDA_VISIBLE_DEVICES": "0,1"} == dict(look(CUDA_VISIBLE_DEVICES="0,1", OTHER="x").choices)


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("print('Unable to find libamd_smi.so')\nraise KeyError('libamd_smi.so')", "KeyError: 'libamd_smi.so'"),
        ("import os; os._exit(3)", "it ends with 3"),
        ("", None),
    ],
)
def test_an_amdsmi_that_cannot_be_imported_is_found_out_elsewhere(tmp_path, monkeypatch, program, fault):
    (tmp_path / "amdsmi.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)

    assert fault == amdsmi_fault()
    assert "amdsmi" not in sys.modules


def test_no_amdsmi_is_no_fault():
    assert amdsmi_fault("no such interpreter") is None


def test_an_interpreter_that_does_not_start_is_a_fault(tmp_path, monkeypatch):
    (tmp_path / "amdsmi.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    assert "FileNotFoundError" == amdsmi_fault(str(tmp_path / "none"))
