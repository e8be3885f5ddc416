"""Workers, threads, trackers inside and beside each other: one row a run, each joule once."""

from __future__ import annotations

import json
import sys

import pytest


def totals(lowcarb):
    listed = lowcarb("ledger", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    document = json.loads(listed.stdout)
    return document["total"], {run["name"]: run["attempts"][-1] for run in document["runs"]}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_add_no_row_and_change_no_energy(start, attempts, tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(f"""
import multiprocessing, os, time
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.track import track
def work(number):
    time.sleep(0.1)
    return number
if __name__ == "__main__":
    with track("job", sensors=[Replay.steady(50.0)], interval_s=0.1) as t:
        with multiprocessing.get_context("{method}").Pool(2) as pool:
            t.tokens(sum(pool.map(work, range(4))))
""")
    program = start("", argv=[sys.executable, str(script)])
    _, error = program.communicate(timeout=60)
    assert program.returncode == 0, error

    (attempt,) = attempts()
    assert (attempt.status, attempt.document["tokens"]) == ("done", 6)
    assert attempt.energy_j == pytest.approx(50.0 * attempt.document["wall_s"], rel=0.01)


@pytest.mark.parametrize("way", ["os._exit(0)", "sys.exit(0)", "t.stop()", "os.kill(os.getpid(), 9)"])
def test_a_forked_child_ends_in_any_way_and_the_run_is_the_parents(run, attempts, way):
    done = run(f"""
with track("parent", **STEADY) as t:
    time.sleep(0.2)
    if os.fork() == 0:
        with t.phase("child"):
            t.tokens(99)
        {way}
        os._exit(0)
    os.wait()
    t.tokens(1)
    time.sleep(0.2)
""")
    assert done.returncode == 0, done.stderr

    (attempt,) = attempts()
    assert (attempt.status, attempt.document["tokens"]) == ("done", 1)
    assert "child" not in [phase["name"] for phase in attempt.document["phases"]]
    assert attempt.energy_j == pytest.approx(50.0 * attempt.document["wall_s"], rel=0.01)


def test_a_forked_child_that_tracks_itself_is_inside_its_parents(run, attempts, lowcarb):
    done = run("""
with track("outer", **STEADY):
    time.sleep(0.2)
    if os.fork() == 0:
        with track("inner", **STEADY):
            time.sleep(0.3)
        os._exit(0)
    os.wait()
    time.sleep(0.2)
""")
    assert done.returncode == 0, done.stderr

    total, rows = totals(lowcarb)
    assert {name: row["status"] for name, row in rows.items()} == {"outer": "done", "inner": "done"}
    assert total["energy_j"]["mid"] == pytest.approx(rows["outer"]["energy_j"], rel=0.01)
    outer, inner = attempts()
    assert inner.document["within"] == outer.id


def test_nested_and_overlapping_trackers_count_each_joule_once(run, lowcarb):
    done = run("""
a, b, c = (track(name, **STEADY) for name in "abc")
a.start(); time.sleep(0.4)
b.start(); time.sleep(0.4)
c.start(); time.sleep(0.2)
c.stop(); a.stop(); time.sleep(0.4)
b.stop()
""")
    assert done.returncode == 0, done.stderr

    total, rows = totals(lowcarb)
    span_s = 1e-9 * (max(row["ended_ns"] for row in rows.values()) - min(row["started_ns"] for row in rows.values()))
    assert total["energy_j"]["mid"] == pytest.approx(50.0 * span_s, rel=0.05)
    assert total["energy_j"]["low"] <= 50.0 * span_s * 1.01
    assert total["energy_j"]["high"] >= 50.0 * span_s * 0.99


@pytest.mark.parametrize("after_s", [0.3, 1.0])
def test_an_attempt_that_outlives_the_one_around_it_keeps_the_rest(run, lowcarb, after_s):
    done = run(f"""
outer, inner = (track(name, **STEADY) for name in ("outer", "inner"))
outer.start(); time.sleep(0.4)
inner.start(); time.sleep(0.2)
outer.stop(); time.sleep({after_s})
inner.stop()
""")
    assert done.returncode == 0, done.stderr

    total, rows = totals(lowcarb)
    span_s = 1e-9 * (rows["inner"]["ended_ns"] - rows["outer"]["started_ns"])
    assert total["energy_j"]["mid"] == pytest.approx(50.0 * span_s, rel=0.05)


def test_what_starts_in_the_background_outlives_the_command_and_counts_once(start, run, lowcarb, until, home):
    inner = "from lowcarb.sensors.replay import Replay; from lowcarb.tracker.track import track; import time\n"
    inner += "with track('late', sensors=[Replay.steady(50.0)], interval_s=0.1): time.sleep(1.5)"
    done = run(f"""
import subprocess
with track("command", **STEADY):
    kept = subprocess.Popen([sys.executable, "-c", {inner!r}], stdout=-3, stderr=-3)
    time.sleep(0.8)
os._exit(0)
""")
    assert done.returncode == 0, done.stderr
    until(lambda: {name: row["status"] for name, row in totals(lowcarb)[1].items()}.get("late") == "done")

    total, rows = totals(lowcarb)
    first_ns, last_ns = rows["command"]["started_ns"], rows["late"]["ended_ns"]
    assert total["energy_j"]["mid"] == pytest.approx(50e-9 * (last_ns - first_ns), rel=0.05)


def test_threads_that_start_and_stop_trackers_at_once(run, attempts):
    done = run("""
def work(number):
    for turn in range(5):
        with track(f"{number}", **STEADY) as t:
            with t.phase("p"):
                t.tokens(1)
                time.sleep(0.01)
threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert "LOWCARB_ATTEMPT" not in os.environ, os.environ["LOWCARB_ATTEMPT"]
""")
    assert done.returncode == 0, done.stderr

    found = attempts()
    assert [one.status for one in found] == ["done"] * 30
    assert sum(one.document["tokens"] for one in found) == 30


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        ("KeyboardInterrupt", -2, "interrupted"), ("SystemExit(3)", 3, "failed"), ("SystemExit(0)", 0, "done"),
        ("ValueError('no')", 1, "failed"),
        ("type('OutOfMemoryError', (RuntimeError,), {})('CUDA')", 1, "out_of_memory"),
    ],
)  # fmt: skip
def test_an_exception_leaves_the_block_unchanged_and_is_the_status(run, attempts, error, code, status):
    done = run(f"with track('x', **STEADY):\n    time.sleep(0.1)\n    raise {error}")

    assert done.returncode == code, done.stderr
    assert [one.status for one in attempts()] == [status]
    assert "During handling" not in done.stderr


def test_os_exit_and_a_crash_of_the_interpreter_leave_a_row(run, attempts):
    for way in ("os._exit(7)", "os.abort()"):
        run(f"with track('gone', **STEADY):\n    time.sleep(0.3)\n    {way}")

    assert [one.status for one in attempts()] == ["interrupted"] * 2


def test_two_hundred_starts_and_stops_leave_nothing_behind(run, attempts):
    done = run("""
def open_files():
    return len(os.listdir("/proc/self/fd"))
for number in range(200):
    with track("again", **STEADY):
        pass
    if number == 5:
        before = open_files()
until = time.monotonic() + 20
while threading.active_count() > 1 and time.monotonic() < until:
    time.sleep(0.02)
assert threading.active_count() == 1, threading.enumerate()
assert open_files() <= before, (before, open_files())
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
""")
    assert (done.returncode, done.stdout) == (0, "no child\n"), done.stderr
    found = attempts()
    assert [one.status for one in found] == ["done"] * 200
