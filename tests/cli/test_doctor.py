from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lowcarb.cli.app import run
from lowcarb.cli.doctor import diagnosis

BIN = Path(sys.executable).parent
SECONDS = 0.25
KEYS = {"machine", "measurable", "channels", "missing", "packages", "self_test", "surroundings", "warnings", "files"}


@pytest.fixture
def environ(tmp_path):
    """The environment of a process that sees a sysfs with these files, `{path: content}`, and a home of its own."""

    def build(files=(), **more):
        for name, content in dict(files).items():
            path = tmp_path / "sys" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")
        return {
            "LOWCARB_SYSFS_ROOT": str(tmp_path / "sys"),
            "LOWCARB_HOME": str(tmp_path / "home"),
            "HOME": str(tmp_path),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            **more,
        }

    return build


def zone(name, index, **files):
    every = {"name": name, "energy_uj": 5_000_000, "max_energy_range_uj": 262_143_328_850, **files}
    return {f"class/powercap/intel-rapl:{index}/{file}": content for file, content in every.items()}


METER = {"class/hwmon/hwmon0/name": "power_meter", "class/hwmon/hwmon0/power1_average": 90_000_000}


def lowcarb(environment, *arguments):
    return subprocess.run(
        [BIN / "lowcarb", "doctor", *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


def test_in_an_empty_environment_it_prints_one_document_and_nothing_else():
    done = lowcarb({"PATH": os.environ["PATH"]}, "--json", "--seconds", "0")

    document = json.loads(done.stdout)
    assert (0, 1, "doctor") == (done.returncode, document["schema_version"], document["kind"])
    assert set(document) >= KEYS
    assert document["self_test"] is None
    assert document["files"]["home_is_set"] is False


@pytest.mark.parametrize(("files", "code"), [({}, 3), (zone("package-0", 0), 0), (METER, 3)])
def test_strict_ends_with_3_where_nothing_is_measured_but_a_check(environ, monkeypatch, capsys, files, code):
    for name, value in environ(files).items():
        monkeypatch.setenv(name, value)

    assert code == run(["doctor", "--json", "--strict", "--seconds", "0"])
    assert (code == 0) == json.loads(capsys.readouterr().out)["measurable"]


@pytest.mark.parametrize("seconds", ["-1", "1e9", "nan"])
def test_a_time_that_cannot_be_is_refused(environ, capsys, seconds):
    assert 2 == run(["doctor", "--seconds", seconds])

    captured = capsys.readouterr()
    assert ("", True) == (captured.out, "--seconds" in captured.err)


def test_for_people_it_says_what_is_metered_what_it_gave_what_it_costs_and_what_to_fix(environ, monkeypatch, capsys):
    for name, value in environ({**zone("package-0", 0), **METER}).items():
        monkeypatch.setenv(name, value)

    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_JOB_GPUS", "0,3")

    assert 0 == run(["doctor", "--seconds", str(SECONDS)])

    said = capsys.readouterr().out
    for part in (
        "What is metered, every 1 s", "package-0", "rapl (counter)", "board (a check)", "s of metering gave",
        "check: machine by board 90.0 W", "SLURM job 4711 (GPUs 0,3)", "Metering itself takes", "no nvml:", "ledger: ",
    ):  # fmt: skip
        assert part in said, part


def test_channels_tell_basis_resolution_and_whether_they_are_a_check(environ):
    document = diagnosis(environ({**zone("package-0", 0), **METER}), 0.0)

    by_device = {channel["device"]: channel for channel in document["channels"]}
    assert {"package-0": False, "dram": False, "machine": True} == {
        device: channel["check"] for device, channel in by_device.items()
    }
    assert "measured" == by_device["package-0"]["basis"]
    assert by_device["machine"]["resolution_s"] > 0.0
    assert document["interval_s"] == 1.0


def test_the_self_test_tells_power_coverage_and_cost(environ):
    test = diagnosis(environ(METER), SECONDS)["self_test"]

    assert {"cpu", "dram"} == {device["device"] for device in test["devices"]}
    for device in test["devices"]:
        assert 0.0 < device["power_w"]["low"] <= device["power_w"]["mid"] <= device["power_w"]["high"]
        assert pytest.approx(1.0, abs=0.1) == device["coverage"]
    (check,) = test["checks"]
    assert pytest.approx(90.0) == check["power_w"]["mid"]
    assert 20.0 == check["resolves_from_s"]
    assert ["cpu", "dram"] == sorted(check["contains"])
    assert isinstance(check["agrees"], bool)
    assert test["cost"]["cpu_s_per_hour"] > 0.0
    assert {"low", "mid", "high", "basis"} == set(test["cost"]["energy_j_per_hour"])


def test_a_counter_that_stands_still_is_told(environ):
    document = diagnosis(environ(zone("package-0", 0)), SECONDS)

    assert any("package-0 by rapl gave nothing" in warning for warning in document["warnings"])
    assert not any("dram" in warning for warning in document["warnings"])


def warnings(environment):
    return " | ".join(diagnosis(environment, 0.0)["warnings"])


def test_whole_packages_of_which_the_process_holds_a_part_are_told(environ):
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        pytest.skip("one processor cannot be shared")
    os.sched_setaffinity(0, {min(cpus)})
    try:
        assert "whole processors" not in warnings(environ())
        assert "rapl counts whole processors, and this process may use" in warnings(environ(zone("package-0", 0)))
    finally:
        os.sched_setaffinity(0, cpus)


def test_a_job_a_rank_and_a_choice_of_gpus_are_told(environ):
    environment = environ(
        SLURM_JOB_ID="4711", SLURM_CPUS_ON_NODE="1", CUDA_VISIBLE_DEVICES="0,1",
        RANK="5", WORLD_SIZE="8", LOCAL_RANK="1", LOCAL_WORLD_SIZE="4",
    )  # fmt: skip
    document = diagnosis(environment, 0.0)
    said = " | ".join(document["warnings"])

    assert "SLURM job 4711" in said
    assert "local rank 1 of 4: one meter a node is used" in said
    assert {"CUDA_VISIBLE_DEVICES": "0,1"} == document["surroundings"]["choices"]
    assert {"rank": 5, "world": 8, "local_rank": 1, "local_world": 4} == document["surroundings"]["rank"]


def test_where_ledger_and_journals_go_and_whether_they_can(environ, tmp_path):
    files = diagnosis(environ(), 0.0)["files"]
    assert (str(tmp_path / "home" / "ledger.db"), True) == (files["ledger"], files["writable"])

    (tmp_path / "file").write_text("in the way")
    environment = environ(LOWCARB_HOME=str(tmp_path / "file" / "home"))
    assert diagnosis(environment, 0.0)["files"]["writable"] is False
    assert "cannot be written, so nothing is kept" in warnings(environment)


def test_a_home_in_a_directory_that_may_not_be_seen_is_told(environ, monkeypatch):
    exists = Path.exists

    def denied(self):
        if "locked" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return exists(self)

    monkeypatch.setattr(Path, "exists", denied)

    assert diagnosis(environ(LOWCARB_HOME="/locked/home"), 0.0)["files"]["directory"] == "/locked/home"


def test_an_amdsmi_that_cannot_be_imported_is_to_be_uninstalled(environ, tmp_path, monkeypatch):
    (tmp_path / "amdsmi.py").write_text("raise KeyError('libamd_smi.so')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)

    assert "pip uninstall amdsmi" in warnings(environ())


def test_each_rank_under_torchrun_prints_one_document(environ):
    pytest.importorskip("torch", reason="the lab extra is not installed")
    done = subprocess.run(
        [BIN / "torchrun", "--nproc_per_node=2", "--no-python", BIN / "lowcarb", "doctor", "--json", "--seconds", "0"],
        env=environ(OMP_NUM_THREADS="1"), capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    assert 2 == done.stdout.count('"schema_version"')
    assert [0, 1] == sorted(int(part.split(",")[0]) for part in done.stdout.split('"local_rank": ')[1:])
