"""A signal at any moment: the program ends by it as it would without the meter, and what was measured is kept."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from random import Random

import pytest

TRACKED = [str(Path(sys.executable).with_name("lowcarb")), "track", "--no-hook", "--", sys.executable, "-c"]
WORK = """
with track("victim", key="k", **STEADY) as t:
    with t.phase("train"):
        t.tokens(7)
        ready()
        time.sleep(60)
"""
OVER_AND_OVER = """
for number in range(1000):
    with track(f"turn {number}", **STEADY):
        pass
    ready(str(number))
"""
LAST_READING_S = 0.9 + 2 * 0.1 + 1.0
"""Written once a second, read ten times a second, and a second for a busy machine."""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_a_signal_ends_is_a_row_with_its_energy(start, hear, end, attempts, sent):
    program = start(WORK, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    hear(program)
    began_s = time.monotonic()
    time.sleep(1.2 if sent == signal.SIGKILL else 0.3)
    ran_s = time.monotonic() - began_s

    assert end(program, sent) == -sent
    (attempt,) = attempts()
    assert attempt.status == "interrupted"
    assert attempt.document["wall_s"] >= ran_s - LAST_READING_S
    assert attempt.energy_j == pytest.approx(50.0 * attempt.document["wall_s"], rel=0.02)
    if sent == signal.SIGKILL:
        assert attempt.document["footprint"]["measured_share"] == 1.0


def test_a_kill_at_any_moment_of_the_start_leaves_a_whole_ledger(start, attempts, home):
    random = Random(1)
    programs = [start(WORK) for _ in range(8)]
    for program in programs:
        time.sleep(random.uniform(0.0, 0.12))
        os.kill(program.pid, signal.SIGKILL)
    for program in programs:
        program.wait(60)

    found = attempts()
    assert {one.status for one in found} <= {"interrupted"}
    # One that died before its header was written whole has measured nothing; it is kept for an hour, then put aside.
    left = list((home / "journals").glob("*.jsonl"))
    assert all(b"\n" not in path.read_bytes() for path in left)


def test_a_kill_at_any_moment_of_a_stop_loses_no_run_that_has_ended(start, hear, attempts):
    program = start(OVER_AND_OVER)
    hear(program, "0")
    time.sleep(Random(2).uniform(0.1, 0.5))
    os.kill(program.pid, signal.SIGKILL)
    ended = 1 + len(program.stdout.read().split())
    program.wait(60)

    found = attempts()
    done = [one for one in found if one.status == "done"]
    assert ended <= len(done) <= ended + 1
    assert len(found) - len(done) <= 1
    assert len({one.id for one in found}) == len(found)


@pytest.mark.parametrize("sent", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)])
def test_a_second_signal_while_the_first_is_handled_loses_nothing(start, hear, end, attempts, sent):
    program = start("""
def save(number, frame):
    with t.phase("save"):
        time.sleep(0.1)
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, save)
t = track("careful", **STEADY)
with t:
    ready()
    time.sleep(60)
""")
    hear(program)

    assert end(program, *sent) in {128 + number for number in sent}
    (attempt,) = attempts()
    assert attempt.status == "interrupted"
    assert "save" in [phase["name"] for phase in attempt.document["phases"]]


def test_interrupts_in_the_middle_of_starts_and_stops_break_nothing(run, attempts):
    done = run("""
from random import Random
random = Random(3)
signal.signal(signal.SIGINT, signal.default_int_handler)
inside = threading.Event()
def annoy():
    for _ in range(40):
        time.sleep(random.uniform(0.0, 0.03))
        if inside.is_set():
            os.kill(os.getpid(), signal.SIGINT)
    inside.clear()
thread = threading.Thread(target=annoy)
thread.start()
caught = 0
while thread.is_alive():
    try:
        inside.set()
        with track("annoyed", **STEADY) as t:
            t.tokens(1)
    except KeyboardInterrupt:
        caught += 1
thread.join()
with track("after", **STEADY) as t:
    t.tokens(1)
assert t.status == "done" and not t.faults(), t.faults()
left = [one.name for one in threading.enumerate() if one.name == "lowcarb-meter"]
print(caught, len(left))
""")

    assert done.returncode == 0, done.stderr
    caught, left = map(int, done.stdout.split())
    assert caught > 0
    assert left <= 2  # those that are being ended at the moment
    found = attempts()
    assert {one.status for one in found} <= {"done", "interrupted"}
    # An interrupt of a start or a stop ends the attempt; nothing goes on to measure until the program's exit.
    assert max(one.document["wall_s"] for one in found) < 5.0


def test_a_run_that_just_ends_says_that_its_exit_code_was_not_seen(run, attempts):
    done = run("t = track('loose', **STEADY).start(); time.sleep(0.2); sys.exit(3)")

    assert done.returncode == 3
    (attempt,) = attempts()
    assert any("exit code is not seen" in fault for fault in attempt.document["faults"])
    assert attempt.energy_j > 0


def test_the_group_is_killed_as_out_of_memory_does(start, hear, attempts):
    inner = "import time; print('ready', flush=True); time.sleep(60)"
    program = start("", argv=[*TRACKED, inner])
    hear(program)
    time.sleep(1.2)
    os.killpg(program.pid, signal.SIGKILL)
    program.wait(60)

    (attempt,) = attempts()
    assert attempt.status == "interrupted"
    assert attempt.energy_j > 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_track_ends_as_its_child_does(start, hear, end, attempts, sent, code):
    program = start(
        "", argv=[*TRACKED, "import time; print('ready', flush=True); time.sleep(60)"],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    hear(program)

    assert end(program, sent) == code
    assert [one.status for one in attempts()] == ["interrupted"]


def test_a_child_that_ignores_the_signal_ends_in_its_own_time(start, hear, end, attempts):
    program = start(
        "",
        argv=[
            *TRACKED,
            """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(0.7)
sys.exit(9)
""",
        ],
    )
    hear(program)

    assert end(program, signal.SIGTERM, signal.SIGTERM) == 9
    assert [one.status for one in attempts()] == ["interrupted"]


def test_each_signal_is_passed_on_once(start, hear, attempts):
    program = start(
        "",
        argv=[
            *TRACKED,
            """
import signal, sys, time
seen = []
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: seen.append(number))
print("ready", flush=True)
until = time.monotonic() + 20
while len(seen) < 2 and time.monotonic() < until:
    time.sleep(0.02)
time.sleep(0.2)
print(sorted(seen), flush=True)
""",
        ],
    )
    hear(program)
    program.send_signal(signal.SIGTERM)
    program.send_signal(signal.SIGHUP)
    out, error = program.communicate(timeout=60)

    assert (program.returncode, out) == (0, "[1, 15]\n"), error


def test_a_signal_while_track_starts_ends_it_and_leaves_no_child(start, attempts, tmp_path, until):
    pid = tmp_path / "pid"
    program = start(
        "",
        argv=[
            *TRACKED,
            f"""
import os, pathlib, time
pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))
time.sleep(30)
""",
        ],
    )
    time.sleep(0.25)
    program.send_signal(signal.SIGTERM)

    assert program.wait(60) in (143, -15)
    assert {one.status for one in attempts()} <= {"interrupted"}
    if pid.exists() and pid.read_text():
        until(lambda: not Path(f"/proc/{pid.read_text()}").exists())


def test_a_grandchild_that_outlives_the_command_holds_nothing_up(lowcarb, attempts):
    began_s = time.monotonic()
    done = lowcarb("track", "--no-hook", "--", "sh", "-c", "sleep 40 >/dev/null 2>&1 & exit 3")

    assert done.returncode == 3
    assert time.monotonic() - began_s < 20
    assert [one.status for one in attempts()] == ["failed"]
