"""Limits on GPUs are in force within the block and gone after it, whatever ends the program."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_RIG = Path(__file__).parents[1] / "rig" / "rig.py"
_spec = importlib.util.spec_from_file_location("rig_for_limits", _RIG)
rig = importlib.util.module_from_spec(_spec)
sys.modules["rig_for_limits"] = rig
_spec.loader.exec_module(rig)

SOURCE = Path(__file__).with_name("limits_nvml.c")
COMPILER = shutil.which("gcc") or shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler: NVML cannot be simulated")

BEGIN = "from lowcarb.integrations.limits import gpu_limits, leftover, restore_leftover\nimport os, signal, sys, time\n"
FULL_MW, CAPPED_MW = 400_000, 280_000
WAIT_S = 30


class Cards:
    """Simulated GPUs, and programs that run on them."""

    def __init__(self, folder: Path, count: int = 1, **changes: object) -> None:
        self.folder, self.home = folder / "nvml", folder / "home"
        self.nvml = rig.SimulatedNvml(self.folder, [rig.SimulatedGpu(**changes) for _ in range(count)])
        library = self.folder / rig.LIBRARY
        subprocess.run(
            [COMPILER, "-shared", "-fPIC", "-O1", f'-DRIG="{_RIG.with_name("nvml.c")}"', "-o", library, SOURCE,
             "-lm", "-lpthread", "-ldl"], check=True, capture_output=True,
        )  # fmt: skip

    def env(self, **more: str) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        return {**env, **self.nvml.env, "LOWCARB_HOME": str(self.home), **more}

    def start(self, program: str, **more: str) -> subprocess.Popen[str]:
        code = BEGIN + textwrap.dedent(program)
        return subprocess.Popen(
            [sys.executable, "-c", code], env=self.env(**more), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, program: str, **more: str) -> tuple[int, str, str]:
        child = self.start(program, **more)
        out, err = child.communicate(timeout=WAIT_S)
        return child.returncode, out.strip(), err

    def held(self, program: str = "with gpu_limits(share=0.7, clock_hz=1.2e9):\n    print('on', flush=True)\n"
             "    time.sleep(60)\n") -> subprocess.Popen[str]:  # fmt: skip
        """A program that holds limits and waits."""
        child = self.start(program)
        assert child.stdout.readline() == "on\n", child.stderr.read()
        return child

    def state(self, index: int = 0) -> tuple[int, int]:
        """Power limit [mW] and locked clock [MHz], as the driver has them."""
        path = self.folder / f"limits.{index}"
        if not path.exists():
            return FULL_MW, 0
        milliwatts, mhz = path.read_text().split()
        return int(milliwatts), int(mhz)

    def notes(self) -> list[Path]:
        folder = self.home / "limits"
        return sorted(folder.iterdir()) if folder.exists() else []


@pytest.fixture
def cards(tmp_path):
    return Cards(tmp_path)


def test_limits_are_in_force_within_the_block_and_gone_after_it(cards):
    code, out, err = cards.run("""
        import pynvml
        with gpu_limits(power_w=280.0, clock_hz=1.2e9) as limits:
            handle = pynvml.nvmlDeviceGetHandleByIndex(0)
            print(pynvml.nvmlDeviceGetPowerManagementLimit(handle))
            one, = limits.gpus
            print(one.power_w, one.power_before_w, one.clock_hz, limits.refused)
    """)

    assert (code, out) == (0, "280000\n280.0 400.0 1200000000.0 ()"), err
    assert cards.state() == (FULL_MW, 0)
    assert cards.notes() == []


def test_a_limit_that_was_there_before_is_there_again(cards):
    (cards.folder / "limits.0").write_text("300000 0\n")

    code, _, err = cards.run("with gpu_limits(share=0.5): pass")

    assert code == 0, err
    assert cards.state() == (300_000, 0)


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("raise ValueError('no')", 1),
        ("sys.exit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", -signal.SIGINT),
    ],
)
def test_limits_are_gone_after_an_end_in_the_middle(cards, ending, expected):
    code, _, err = cards.run(f"""
        with gpu_limits(share=0.7, clock_hz=1.2e9):
            print('on')
            {ending}
    """)

    assert code == expected, err
    assert cards.state() == (FULL_MW, 0)
    assert cards.notes() == []


def test_limits_are_gone_where_the_program_ends_without_leaving_the_block(cards):
    code, _, err = cards.run("""
        block = gpu_limits(share=0.7)
        block.__enter__()
    """)

    assert code == 0, err
    assert cards.state() == (FULL_MW, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_limits_are_gone_after_a_signal_and_the_program_still_ends_by_it(cards, number):
    child = cards.held()
    assert cards.state() == (CAPPED_MW, 1200)

    child.send_signal(number)

    child.communicate(timeout=WAIT_S)
    assert child.returncode == -number
    assert cards.state() == (FULL_MW, 0)
    assert cards.notes() == []


def test_the_program_keeps_its_own_handler(cards):
    child = cards.held("""
        signal.signal(signal.SIGTERM, lambda *_: (print('mine', flush=True), sys.exit(7)))
        with gpu_limits(share=0.7):
            print('on', flush=True)
            time.sleep(60)
    """)

    child.send_signal(signal.SIGTERM)

    out, _ = child.communicate(timeout=WAIT_S)
    assert (child.returncode, out) == (7, "mine\n")
    assert cards.state() == (FULL_MW, 0)


def test_a_handler_is_as_before_after_the_block(cards):
    code, out, err = cards.run("""
        with gpu_limits(share=0.7): pass
        print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    """)

    assert (code, out) == (0, "True"), err


def test_after_a_kill_a_note_says_what_to_type_and_the_next_start_takes_the_limits_back(cards):
    child = cards.held()
    child.kill()
    child.communicate(timeout=WAIT_S)
    assert cards.state() == (CAPPED_MW, 1200)

    uuid = cards.nvml.gpus[0].uuid
    code, out, err = cards.run("print(*leftover())")
    assert code == 0, err
    assert f"sudo nvidia-smi -i {uuid} -pl 400 && sudo nvidia-smi -i {uuid} -rgc" in out
    assert cards.state() == (CAPPED_MW, 1200)  # only told

    code, _, err = cards.run("with gpu_limits(share=0.5): pass")
    assert code == 0, err
    assert "taken back" in err
    assert cards.state() == (FULL_MW, 0)
    assert cards.notes() == []


def test_leftovers_can_be_taken_back_by_themselves_once(cards):
    child = cards.held()
    child.kill()
    child.communicate(timeout=WAIT_S)

    code, out, err = cards.run("print(len(restore_leftover()), len(restore_leftover()))")

    assert (code, out) == (0, "1 0"), err
    assert cards.state() == (FULL_MW, 0)


def test_leftovers_that_may_not_be_taken_back_stay_noted_with_the_command(cards):
    child = cards.held()
    child.kill()
    child.communicate(timeout=WAIT_S)
    (cards.folder / "denied").touch()

    code, out, err = cards.run("print(*restore_leftover())")

    assert code == 0, err
    assert "-pl 400" in out
    assert len(cards.notes()) == 1


def test_a_limit_that_somebody_else_set_since_is_left(cards):
    child = cards.held("""
        with gpu_limits(share=0.7):
            print('on', flush=True)
            sys.stdin.read()
    """)
    (cards.folder / "limits.0").write_text("350000 0\n")
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=WAIT_S)

    assert cards.state() == (350_000, 0)


def test_a_run_that_lives_is_left_alone_and_named_to_a_second_one(cards):
    child = cards.held()
    try:
        code, _, err = cards.run("print(restore_leftover())\nwith gpu_limits(share=0.5): pass")

        assert code == 1
        assert f"process {child.pid} limits it" in err
        assert cards.state() == (CAPPED_MW, 1200)
    finally:
        child.terminate()
        child.communicate(timeout=WAIT_S)
    assert cards.state() == (FULL_MW, 0)


def test_a_refusal_is_named_with_the_command_and_leaves_nothing(cards):
    (cards.folder / "denied").touch()
    uuid = cards.nvml.gpus[0].uuid

    code, _, err = cards.run("with gpu_limits(power_w=200.0): print('never')")

    assert code == 1
    assert f"sudo nvidia-smi -i {uuid} -pl 200" in err
    assert cards.notes() == []


def test_a_run_may_go_on_without_what_is_refused(cards):
    (cards.folder / "denied").touch()

    code, out, err = cards.run("""
        with gpu_limits(share=0.5, clock_hz=1.2e9, required=False) as limits:
            print(len(limits.refused), limits.gpus[0].power_w, limits.gpus[0].clock_hz)
    """)

    assert (code, out) == (0, "2 None None"), err
    assert err.count("not limited") == 2
    assert "left" not in err
    assert cards.notes() == []


def test_one_gpu_that_refuses_leaves_none_of_the_others_limited(tmp_path):
    cards = Cards(tmp_path, count=2)
    cards.nvml.change(1, errors={"nvmlDeviceSetPowerManagementLimit": 4})

    code, _, err = cards.run("with gpu_limits(share=0.5): print('never')")

    assert code == 1, err
    assert (cards.state(0), cards.state(1)) == ((FULL_MW, 0), (FULL_MW, 0))
    assert cards.notes() == []


def test_only_the_gpus_of_this_process_are_limited(tmp_path):
    cards = Cards(tmp_path, count=2)

    code, out, err = cards.run(
        "with gpu_limits(share=0.5) as limits: print(*(g.uuid for g in limits.gpus))", CUDA_VISIBLE_DEVICES="1"
    )

    assert (code, out) == (0, cards.nvml.gpus[1].uuid), err
    assert not (cards.folder / "limits.0").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("power_w=50.0", "100 to 400 W"),
        ("share=0.1", "0.25 to 1.00 of the default"),
        ("share=1.5", "at most 1"),
        ("power_w=0.0", "above 0"),
        ("power_w=float('nan')", "above 0"),
        ("clock_hz=9e9", "at most 1.98e+09"),
        ("power_w=200.0, share=0.5", "both are the cap"),
        ("", "a cap [W]"),
    ],
)
def test_what_a_gpu_does_not_allow_is_named_before_anything_is_set(cards, settings, said):
    code, _, err = cards.run(f"with gpu_limits({settings}): print('never')")

    assert code == 1
    assert "SettingError" in err
    assert said in err
    assert not (cards.folder / "limits.0").exists()


def test_a_gpu_without_a_power_limit_is_named(tmp_path):
    code, _, err = Cards(tmp_path, limit_w=None).run("with gpu_limits(share=0.5): pass")

    assert code == 1
    assert "tells no power limit" in err


def test_a_forked_child_takes_nothing_back(cards):
    code, out, err = cards.run("""
        import pynvml
        with gpu_limits(share=0.7):
            child = os.fork()
            if child == 0:
                sys.exit(0)
            os.waitpid(child, 0)
            print(pynvml.nvmlDeviceGetPowerManagementLimit(pynvml.nvmlDeviceGetHandleByIndex(0)))
    """)

    assert (code, out) == (0, str(CAPPED_MW)), err
    assert cards.state() == (FULL_MW, 0)


def test_garbage_among_the_notes_does_no_harm(cards):
    folder = cards.home / "limits"
    folder.mkdir(parents=True)
    (folder / "GPU-0.json").write_text("{torn")
    (folder / "GPU-1.json").write_text(json.dumps({"process": 3}))

    code, _, err = cards.run("print(leftover(), restore_leftover())\nwith gpu_limits(share=0.7): pass")

    assert code == 0, err
    assert cards.state() == (FULL_MW, 0)


def test_without_nvml_it_is_said(monkeypatch, tmp_path):
    env = {**os.environ, "LOWCARB_HOME": str(tmp_path)}
    env.pop("LD_LIBRARY_PATH", None)
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is an NVIDIA driver here")
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + "with gpu_limits(share=0.7): pass"], env=env, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert "NVML does not start" in done.stderr


def test_a_lock_may_be_a_share_of_the_highest_clock(cards):
    code, out, err = cards.run("""
        with gpu_limits(clock_share=0.5) as limits:
            print(limits.gpus[0].clock_hz)
    """)

    assert (code, out) == (0, "990000000.0"), err
    assert cards.state() == (FULL_MW, 0)


TRIAL = """
    import pynvml, tempfile
    from lowcarb.core.hardware import Machine
    from lowcarb.core.trial import *
    from lowcarb.integrations.trial_limits import may_limit, trial_limits
    from lowcarb.lab.runner import TorchRunner
    from lowcarb.lab.study import train_under
    from lowcarb.ledger.memory import MemoryLedger
    from lowcarb.sensors.replay import Replay
    from lowcarb.tracker.track import track
    model = ModelChoice("bert", "bert", "scratch", shape=Shape(1, 16, 2, 32))
    recipe = Recipe(batch=4, max_steps=2, length=64, stride=16)
    data = DataChoice("embedded:jouleqa/train", "embedded:jouleqa/validation", "embedded:jouleqa/adversarial", 8, 2)
    arm = Arm(model, TokenizerChoice("native"), recipe, Inference(length=64, stride=16), levers=LEVERS)
    trial = Trial("s", arm, data, "digest", 0, "m", threads=1, levers=LEVERS)
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)

    def look(step):
        print(step.step, pynvml.nvmlDeviceGetPowerManagementLimit(handle))
        if FAILS:
            raise RuntimeError("in the middle")

    tracker = track("t", site="fra", ledger=MemoryLedger(), machine=Machine("m", "M", (), 2, 1e9),
                    sensors=[Replay.steady(20.0)])
    with tracker:
        print(*train_under(trial, TorchRunner(limits=trial_limits), tracker, look))
    print(pynvml.nvmlDeviceGetPowerManagementLimit(handle))
"""
LONG_WAIT_S = 600
"""PyTorch is loaded, on machines that do other things at the time."""


def trained(cards, levers, *, fails=False):
    """What a real trial of these levers prints: each step with the limit in force, how it ended, and the limit then."""
    child = cards.start(f"LEVERS, FAILS = {levers!r}, {fails!r}\n" + textwrap.dedent(TRIAL))
    out, err = child.communicate(timeout=LONG_WAIT_S)
    assert child.returncode == 0, err
    return out.strip().splitlines()


@pytest.fixture
def _lab():
    pytest.importorskip("torch", reason="the lab extra is not installed")
    pytest.importorskip("transformers", reason="the lab extra is not installed")


@pytest.mark.usefixtures("_lab")
def test_a_trial_with_a_power_cap_trains_under_it_and_takes_it_back(cards):
    assert ["1 280000", "2 280000", "done None", "400000"] == trained(cards, ("power-cap=0.7",))
    assert cards.notes() == []


@pytest.mark.usefixtures("_lab")
def test_a_trial_that_fails_takes_its_cap_back(cards):
    told = trained(cards, ("power-cap=0.7",), fails=True)

    assert ["1 280000", "failed RuntimeError: in the middle", "400000"] == told
    assert cards.notes() == []


@pytest.mark.usefixtures("_lab")
def test_a_trial_that_may_not_be_capped_does_not_train(cards):
    (cards.folder / "denied").touch()

    ended, after = trained(cards, ("power-cap=0.7",))
    assert ended.startswith("failed SensorUnavailable")
    assert "sudo nvidia-smi" in ended
    assert after == "400000"


def test_a_lever_of_a_trial_locks_the_clock_and_others_ask_for_nothing(cards):
    code, out, err = cards.run("""
        from lowcarb.integrations.trial_limits import trial_limits
        state = lambda: open(os.environ["LIMITS"]).read().split()[1] if os.path.exists(os.environ["LIMITS"]) else "0"
        with trial_limits(["bf16", "clock-lock=0.8"]):
            print(state())
        with trial_limits(["bf16"]):
            print(state())
    """, LIMITS=str(cards.folder / "limits.0"))  # fmt: skip

    assert (code, out.split()) == (0, ["1584", "0"]), err


@pytest.mark.parametrize("denied", [False, True])
def test_whether_limits_may_be_set_is_found_out_without_changing_any(cards, denied):
    (cards.folder / "limits.0").write_text("300000 0\n")
    if denied:
        (cards.folder / "denied").touch()

    code, out, err = cards.run("from lowcarb.integrations.trial_limits import may_limit; print(may_limit())")

    assert (code, out) == (0, str(not denied)), err
    assert cards.state() == (300_000, 0)


def test_without_a_driver_no_limit_may_be_set(monkeypatch):
    from lowcarb.integrations import limit_cards  # noqa: PLC0415
    from lowcarb.integrations.trial_limits import may_limit  # noqa: PLC0415

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(limit_cards, "import_module", absent)

    assert not may_limit()
