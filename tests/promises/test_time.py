"""Clocks that jump, programs that are stopped: time is monotonic, and what nobody saw is told apart."""

from __future__ import annotations

import os
import signal
import time

import pytest

SHIFTED = """
real, real_ns, shift_s = time.time, time.time_ns, 0.0
time.time = lambda: real() + shift_s
time.time_ns = lambda: real_ns() + int(shift_s * 1e9)
began_s = time.monotonic()
with track("clock", **STEADY) as t:
    time.sleep(0.6)
    shift_s = float(sys.argv[1])
    time.sleep(0.6)
print(time.monotonic() - began_s)
"""


@pytest.mark.parametrize("shift_s", [3600.0, -3600.0])
def test_a_jump_of_the_clock_changes_neither_duration_nor_energy(run, attempts, shift_s):
    done = run(SHIFTED, shift_s)
    assert done.returncode == 0, done.stderr

    (attempt,) = attempts()
    assert attempt.status == "done"
    assert 1.2 <= attempt.document["wall_s"] <= float(done.stdout)
    assert attempt.energy_j == pytest.approx(50.0 * attempt.document["wall_s"], rel=0.01)
    assert attempt.ended_ns - attempt.started_ns == pytest.approx(1e9 * attempt.document["wall_s"], rel=0.01)


def test_a_jump_of_the_clock_in_a_run_that_is_killed(start, hear, end, attempts):
    program = start(SHIFTED.replace("print(", "ready(); time.sleep(60); print(").replace(
        "    time.sleep(0.6)\nready", "    time.sleep(1.0)\n    ready"), -1.6e9)  # fmt: skip
    hear(program)
    end(program, signal.SIGKILL)

    (attempt,) = attempts()
    assert attempt.status == "interrupted"
    assert 0.0 < attempt.document["wall_s"] < 30.0
    assert attempt.ended_ns >= attempt.started_ns


def test_a_stop_and_go_on_is_a_pause_that_is_told(start, hear, attempts):
    program = start("""
with track("paused", **STEADY) as t:
    ready()
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        time.sleep(0.05)
""")
    hear(program)
    time.sleep(0.4)
    program.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    program.send_signal(signal.SIGCONT)
    assert program.wait(60) == 0

    (attempt,) = attempts()
    assert attempt.status == "done"
    pauses = attempt.document["meter"]["pauses"]
    assert any("paus" in fault or "read" in fault for fault in attempt.document["faults"]), attempt.document["faults"]
    assert pauses


def test_a_run_that_is_stopped_is_running_and_is_not_taken_in(start, hear, end, attempts):
    program = start("with track('w', **STEADY):\n    ready()\n    time.sleep(60)")
    hear(program)
    os.kill(program.pid, signal.SIGSTOP)
    for _ in range(2):
        assert [one.status for one in attempts()] == ["running"]

    end(program, signal.SIGKILL)
    assert [one.status for one in attempts()] == ["interrupted"]
