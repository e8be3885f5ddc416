"""Any command under the meter: its own exit code, its own signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from lowcarb.errors import SettingError
from lowcarb.ledger import open_ledger
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.command import run_command
from lowcarb.tracker.recover import recover


@pytest.fixture
def run(machine, site, ledger, home):
    def run(*argv, **more):
        settings = {
            "machine": machine, "site": site, "ledger": ledger, "home": home, "interval_s": 0.05,
            "sensors": [Replay.steady(50.0)],
        }  # fmt: skip
        return run_command(argv, **{**settings, **more})

    return run


@pytest.mark.parametrize(
    ("script", "code", "status"),
    [
        ("exit 0", 0, "done"),
        ("exit 3", 3, "failed"),
        ("kill -9 $$", 137, "failed"),
        ("kill -SEGV $$", 139, "failed"),
    ],
)
def test_the_exit_code_is_the_commands_own(run, attempts, script, code, status):
    outcome = run("sh", "-c", script)

    assert outcome.exit_code == code
    (attempt,) = attempts()
    assert (attempt.id, attempt.status) == (outcome.attempt_id, status)
    assert attempt.document["notes"] == {"command": "sh", "exit_code": code}


def test_the_command_is_metered_with_its_processor_time(run):
    outcome = run(sys.executable, "-c", "sum(range(5_000_000))")

    assert outcome.footprint.energy_j.mid == pytest.approx(50.0 * outcome.footprint.duration_s.mid, rel=0.05)
    assert sum(phase.cpu_s for phase in outcome.phases) > 0.05


@pytest.mark.parametrize(("argv", "code"), [(["no-such-command-here"], 127), ([os.curdir], 126), (["a\0b"], 126)])
def test_a_command_that_cannot_be_run_is_said_clearly(run, attempts, caplog, argv, code):
    outcome = run(*argv)

    assert outcome.exit_code == code
    assert "not found" in caplog.text or "cannot be run" in caplog.text
    assert [one.status for one in attempts()] == ["failed"]


@pytest.mark.parametrize("argv", [[], "ls -l", [""], [1]])
def test_what_is_no_command_is_refused(argv):
    with pytest.raises(SettingError, match="argv"):
        run_command(argv)


def test_arguments_are_not_recorded(run, attempts):
    run("true", "--token", "secret")

    (attempt,) = attempts()
    assert "secret" not in str(attempt)


def test_the_command_knows_which_attempt_it_runs_inside_of(run, tmp_path):
    seen = tmp_path / "seen"
    outcome = run("sh", "-c", f"echo $LOWCARB_ATTEMPT > {seen}")

    assert seen.read_text().strip() == outcome.attempt_id


def test_signal_handlers_are_as_they_were(run):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run("true")

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


PARENT = """
import signal, sys
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.command import run_command
outcome = run_command(
    sys.argv[2:], name="x", key="k", sensors=[Replay.steady(50.0)], interval_s=0.2, home=sys.argv[1]
)
sys.exit(outcome.exit_code)
"""
CAREFUL = """
import signal, sys, time
def save(number, frame):
    time.sleep(0.2)
    print("saved", number, flush=True)
    sys.exit(5)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, save)
print("ready", flush=True)
time.sleep(60)
"""
CARELESS = "import time; print('ready', flush=True); time.sleep(60)"


def start_parent(home, program):
    argv = [sys.executable, "-c", PARENT, str(home), sys.executable, "-c", program]
    # A shell starts what it puts in the background with SIGINT ignored, and what is ignored stays ignored.
    parent = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert parent.stdout.readline() == "ready\n"
    return parent


def statuses(home):
    ledger = open_ledger(home / "ledger.db")
    recover(home, ledger)
    return [one.status for one in ledger.attempts(ledger.run("k").id)]


@pytest.mark.parametrize(
    ("program", "sent", "code", "said"),
    [
        (CARELESS, signal.SIGTERM, 143, ""),
        (CARELESS, signal.SIGINT, 130, ""),
        (CAREFUL, signal.SIGTERM, 5, "saved 15\n"),
        (CAREFUL, signal.SIGHUP, 5, "saved 1\n"),
    ],
)
def test_signals_are_passed_on_and_the_command_ends_in_its_own_time(home, program, sent, code, said):
    parent = start_parent(home, program)
    parent.send_signal(sent)
    out, error = parent.communicate(timeout=20)

    assert (parent.returncode, out) == (code, said), error
    assert statuses(home) == ["interrupted"]


def test_a_killed_parent_leaves_a_journal_that_can_be_recovered(home):
    parent = start_parent(home, CARELESS)
    time.sleep(1.3)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent.pid)], capture_output=True, text=True, check=True
    )
    parent.kill()
    parent.wait(10)
    os.kill(int(children.stdout), signal.SIGKILL)
    parent.communicate()
    (attempt,) = recover(home, open_ledger(home / "ledger.db"))

    assert attempt.status == "interrupted"
    assert attempt.energy_j > 10


def test_a_signal_that_is_ignored_stays_ignored(home):
    argv = ["sh", "-c", 'trap "" HUP; exec "$0" "$@"', sys.executable, "-c", PARENT, str(home)]
    program = "import signal; print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    done = subprocess.run([*argv, sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "True\n"
