"""A sensor's fault is never a number: whatever it answers, the energy is possible and what is missing is stated."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from itertools import count

import pytest

RATED_W = 125.0
PROGRAM = """
import json, os, sys, time
from lowcarb.tracker.track import track
from lowcarb.core.documents import energy_as_dict
began_s = time.monotonic()
t = track("run", interval_s=0.1).start()
started_s = time.monotonic() - began_s
os.write(1, b"ready\\n")
sys.stdin.readline()
time.sleep(float(sys.argv[1]))
ended_s = time.monotonic()
t.stop()
told = {"started_s": started_s, "stopped_s": time.monotonic() - ended_s, "energy": energy_as_dict(t.energy())}
print(json.dumps({**told, "faults": t.faults(), "wall_s": time.monotonic() - began_s}))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Runs a program on a rig, does something to the rig in the middle, and gives what it was told."""

    def measured(rigged, fault=lambda: None, rest_s=0.8):
        inherited = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rest_s)], stdin=-1, stdout=-1, stderr=-1, text=True,
            env={**inherited, **rigged.env, "LOWCARB_HOME": str(tmp_path_factory.mktemp("home"))},
        )  # fmt: skip
        assert program.stdout.readline() == "ready\n"
        time.sleep(0.6)
        fault()
        out, error = program.communicate("go\n", timeout=60)
        assert program.returncode == 0, error
        assert "Traceback" not in error
        told = json.loads(out)
        assert told["started_s"] < 2.5  # 2 s are promised, and the machine may be busy
        assert told["stopped_s"] < 5.5
        return told

    return measured


def device(told, name):
    return next((one for one in told["energy"]["devices"] if one["device"] == name), None)


def is_possible(one, rated_w, wall_s):
    energy_j = one["energy_j"]
    assert 0.0 <= energy_j["low"] <= energy_j["mid"] <= energy_j["high"]
    # A counter of a processor may for a moment draw more than it is rated for: twice is beyond all of them.
    assert energy_j["mid"] <= rated_w * wall_s
    assert energy_j["high"] <= 2.0 * rated_w * wall_s


def broken(content):
    """A counter that shows this from now on."""
    numbers = count(1)

    def breaking(zone):
        path = zone / "energy_uj"
        if content is None:
            path.unlink()
        elif content == "directory":
            path.unlink()
            path.mkdir()
        elif content == "zone":
            shutil.rmtree(path.parent)
        else:
            path.write_text(content.format(next(numbers)))

    return breaking


FAULTS = {
    "vanished": broken(None), "a directory": broken("directory"), "its zone gone": broken("zone"), "empty": broken(""),
    "garbage": broken("gar bage\n"), "negative": broken("-5000000\n"),
    "infinite": broken("1e999\n"), "beyond its range": broken("9" * 40 + "\n"),
    "backward": broken("3\n"),
}  # fmt: skip


@pytest.fixture(scope="module")
def broken_tree(measured, rig, tmp_path_factory):
    """A machine of many packages, of which each breaks in its own way in the middle of the run."""
    names = {fault: f"package-{number}" for number, fault in enumerate((*FAULTS, "reset", "wraps", "stands still"))}
    zones = [
        rig.Zone(name, rig.Constant(50.0), **({"range_j": 40.0, "start_j": 0.0} if fault == "wraps" else {}))
        for fault, name in names.items()
    ]
    tree = rig.SimulatedSysfs(tmp_path_factory.mktemp("rig") / "sys", zones)

    def fault():
        tree.reset(names["reset"])
        # What nobody drives any more stands still.
        driven = tree._zones
        tree._zones = {name: driven[name] for name in (names["reset"], names["wraps"])}
        time.sleep(0.05)
        for one, breaking in FAULTS.items():
            breaking(driven[names[one]][1])

    with tree.driven():
        told = measured(tree, fault, 1.2)
    return told, names


@pytest.mark.parametrize("fault", FAULTS)
def test_a_counter_that_breaks_in_the_middle_is_a_gap(broken_tree, fault):
    told, names = broken_tree
    one = device(told, names[fault])

    is_possible(one, RATED_W, told["wall_s"])
    assert one["coverage"] < 0.95
    assert one["gaps_s"] > 0.0
    assert one["faults"] or told["faults"]
    assert one["energy_j"]["low"] <= 50.0 * told["energy"]["duration_s"] <= one["energy_j"]["high"]


def test_a_counter_that_is_reset_is_not_taken_for_a_wrap(broken_tree):
    told, names = broken_tree
    one = device(told, names["reset"])

    is_possible(one, RATED_W, told["wall_s"])
    assert one["coverage"] > 0.5
    assert one["energy_j"]["mid"] == pytest.approx(50.0 * told["energy"]["duration_s"], rel=0.25)


def test_a_counter_that_wraps_is_right(broken_tree):
    told, names = broken_tree
    one = device(told, names["wraps"])

    is_possible(one, RATED_W, told["wall_s"])
    assert one["energy_j"]["low"] <= 50.0 * told["energy"]["duration_s"] <= one["energy_j"]["high"]


def test_a_counter_that_stands_still_is_a_gap_and_not_nothing(broken_tree):
    told, names = broken_tree
    one = device(told, names["stands still"])

    is_possible(one, RATED_W, told["wall_s"])
    assert one["coverage"] < 0.9
    assert one["energy_j"]["high"] >= 50.0 * told["energy"]["duration_s"]


@pytest.mark.parametrize("broken_root", ["missing", "a file"])
def test_a_tree_that_is_none_ends_no_program(run, tmp_path, broken_root):
    root = tmp_path / "sys"
    if broken_root == "a file":
        root.write_text("no tree")
    done = run(
        """
with track("run", interval_s=0.1) as t:
    time.sleep(0.3)
energy_j = t.footprint().energy_j
assert 0.0 <= energy_j.low < energy_j.high and energy_j.mid > 0.0
assert energy_j.basis != "measured"
""",
        env={"LOWCARB_SYSFS_ROOT": str(root)},
    )

    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def gpus(rig, tmp_path_factory):
    def gpus(*each, **library):
        try:
            folder = tmp_path_factory.mktemp("nvml")
            return rig.SimulatedNvml(folder, [rig.SimulatedGpu(**one) for one in each], **library)
        except rig.RigUnavailable as error:
            pytest.skip(str(error))

    return gpus


CONSTANT = {"counter_renewal_s": 0.02}
GPU_FAULTS = {
    "lost": lambda nvml: {"lost_s": nvml.now_s()},
    "hangs": lambda nvml: {"hang_s": nvml.now_s()},
    "counter stands still": lambda nvml: {"counter": "stuck"},
    "counter reset": lambda nvml: {"counter_reset_s": nvml.now_s()},
    "counter garbage": lambda nvml: {"counter": "garbage"},
    "counter refused": lambda nvml: {"counter": "refused"},
    "all refused": lambda nvml: {"counter": "refused", "power": "refused"},
    "lost and back": lambda nvml: {"lost_s": nvml.now_s(), "back_s": nvml.now_s() + 0.4},
}


@pytest.fixture(scope="module")
def broken_gpus(measured, gpus):
    """A machine of many GPUs, of which each but the first breaks in its own way in the middle of the run."""
    nvml = gpus(CONSTANT, *[CONSTANT] * len(GPU_FAULTS))

    def fault():
        for number, change in enumerate(GPU_FAULTS.values(), 1):
            nvml.change(number, **change(nvml))

    told = measured(nvml, fault, 1.6)
    return told, dict(zip(("well", *GPU_FAULTS), (device(told, gpu.uuid) for gpu in nvml.gpus), strict=True))


@pytest.mark.parametrize("fault", GPU_FAULTS)
def test_a_gpu_that_breaks_is_possible_energy_and_the_other_is_right(broken_gpus, fault):
    told, devices = broken_gpus
    well, ill = devices["well"], devices[fault]

    assert well["coverage"] > 0.9
    assert well["energy_j"]["mid"] == pytest.approx(250.0 * told["energy"]["duration_s"], rel=0.05)
    is_possible(ill, 400.0, told["wall_s"])
    # All until the fault is there, and the truth is inside of what is told.
    assert ill["energy_j"]["high"] >= 250.0 * told["energy"]["duration_s"] * 0.99
    assert ill["energy_j"]["mid"] >= 250.0 * 0.3
    if fault in ("lost", "hangs", "all refused"):
        assert ill["coverage"] < 0.9
        assert ill["faults"] or told["faults"]


@pytest.mark.parametrize(
    "library",
    [{"missing": ["nvmlDeviceGetCount_v2"]}, {"errors": {"nvmlInitWithFlags": 9}}],
    ids=["no count", "no driver"],
)
def test_a_driver_that_fails_leaves_the_rest(measured, gpus, library):
    told = measured(gpus(CONSTANT, **library), rest_s=0.1)

    assert told["energy"]["devices"]


def test_a_driver_that_hangs_at_opening_holds_up_neither_start_nor_stop(measured, gpus):
    told = measured(gpus({**CONSTANT, "hang_s": 0.0}), rest_s=0.1)

    assert any("start" in fault for fault in told["faults"]), told["faults"]


def test_a_library_that_is_none_leaves_the_rest(run, tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"no library")
    done = run(
        """
with track("run", interval_s=0.1) as t:
    time.sleep(0.2)
assert t.energy().devices
""",
        env={"LD_LIBRARY_PATH": str(tmp_path)},
    )

    assert done.returncode == 0, done.stderr
