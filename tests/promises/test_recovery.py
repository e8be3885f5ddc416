"""Journals that were torn, garbled, left behind, or taken in by several at once: nothing lost, doubled or invented."""

from __future__ import annotations

import json
import os
import signal
import threading

import pytest

from lowcarb.ledger import open_ledger
from lowcarb.tracker.record import read_journal
from lowcarb.tracker.recover import recover

WORK = """
with track("victim", key="k", **STEADY) as t:
    with t.phase("train"):
        for _ in range(12):
            t.tokens(1)
            time.sleep(0.1)
    ready()
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """The journal of a run that was killed."""
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    home = tmp_path_factory.mktemp("left")
    opening = (
        "import os, time\nfrom lowcarb.sensors.replay import Replay\nfrom lowcarb.tracker.track import track\n"
        "STEADY = dict(sensors=[Replay.steady(50.0)], interval_s=0.1)\ndef ready(): os.write(1, b'ready\\n')\n"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", opening + WORK], env={**os.environ, "LOWCARB_HOME": str(home)}, stdout=subprocess.PIPE
    )
    assert program.stdout.readline() == b"ready\n"
    program.kill()
    program.wait(60)
    program.stdout.close()
    (path,) = (home / "journals").glob("*.jsonl")
    return path.name, path.read_bytes()


@pytest.fixture
def put(home, left):
    """Puts a journal into the home, with other content."""

    def put(change=lambda content: content, name=None):
        path = home / "journals" / (name or left[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(change(left[1]))
        return path

    return put


def test_a_tail_torn_at_any_byte_is_what_was_before_it(tmp_path, left):
    path, content = tmp_path / left[0], left[1]
    whole = content.splitlines(keepends=True)
    path.write_bytes(content)
    longest_s = read_journal(path).last_s
    before_s = 0.0
    for cut in range(len(content) - len(b"".join(whole[-3:])), len(content)):
        path.write_bytes(content[:cut])
        record = read_journal(path)
        assert record.last_s <= longest_s
        assert record.last_s >= before_s
        assert record.skipped_lines <= 1
        before_s = record.last_s


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 4096, b"[]\n", b'{"readings": 1}\n', b"{" * 100_000 + b"\n",
        b'{"readings":[[1e308,1,1e308]],"counts":[1,1],"at_s":1e308,"cpu_s":0}\n',
        b'{"channels":[],"missing":[],"started_s":0,"started_cpu_s":0}\n', b'{"phase":"x","at_s":NaN,"cpu_s":0}\n',
    ],
    ids=range(7),
)  # fmt: skip
def test_garbage_in_the_middle_costs_itself_only(put, attempts, left, garbage):
    lines = left[1].splitlines(keepends=True)
    put(lambda content: b"".join([*lines[:4], garbage, *lines[4:]]))

    (attempt,) = attempts()
    assert attempt.status == "interrupted"
    assert attempt.document["wall_s"] > 0.5
    assert attempt.energy_j == pytest.approx(50.0 * attempt.document["wall_s"], rel=0.01)


@pytest.mark.parametrize("kind", ["directory", "link to nowhere", "empty", "fifo"])
def test_something_else_among_the_journals_stops_nobody(put, attempts, home, kind):
    put()
    odd = home / "journals" / "odd.jsonl"
    if kind == "directory":
        odd.mkdir()
    elif kind == "link to nowhere":
        odd.symlink_to(home / "nowhere")
    elif kind == "empty":
        odd.touch()
    else:
        os.mkfifo(odd)
    found = []
    thread = threading.Thread(target=lambda: found.extend(attempts()), daemon=True)
    thread.start()
    thread.join(20)

    assert [one.status for one in found] == ["interrupted"]


def test_four_recoveries_at_once_take_each_journal_once(start, home, put, attempts, left):
    for number in range(12):
        attempt_id = f"{number:032x}"
        put(lambda content, of=attempt_id: content.replace(left[0][:-6].encode(), of.encode()), f"{attempt_id}.jsonl")
    programs = [start("from lowcarb import open_ledger; open_ledger().close()") for _ in range(4)]
    for program in programs:
        assert program.wait(60) == 0, program.stderr.read()

    found = attempts()
    assert sorted(one.id for one in found) == [f"{number:032x}" for number in range(12)]
    assert sorted(one.number for one in found) == list(range(1, 13))
    assert list((home / "journals").glob("*.jsonl")) == []


def test_a_recovery_that_is_killed_is_done_by_the_next(start, put, attempts, left, home):
    for number in range(30):
        attempt_id = f"{number:032x}"
        put(lambda content, of=attempt_id: content.replace(left[0][:-6].encode(), of.encode()), f"{attempt_id}.jsonl")
    program = start("from lowcarb import open_ledger; ready(); open_ledger().close()")
    program.stdout.readline()
    while program.poll() is None and not list((home / "journals").glob("done/*")):
        pass
    program.kill()
    program.wait(60)

    found = attempts()
    assert sorted(one.id for one in found) == [f"{number:032x}" for number in range(30)]
    assert {one.status for one in found} == {"interrupted"}


def test_runs_that_end_while_the_ledger_is_read_are_there_once(start, home):
    program = start("""
for number in range(60):
    with track(f"{number}", **STEADY) as t:
        t.tokens(1)
ready()
""")
    ledger = open_ledger(home / "ledger.db")
    taken = []
    while program.poll() is None:
        taken += [one.id for one in recover(home, ledger)]
    taken += [one.id for one in recover(home, ledger)]
    found = [one for run in ledger.runs(limit=1000) for one in ledger.attempts(run.id)]
    ledger.close()

    assert len(taken) == len(set(taken)) == 60
    assert sorted(taken) == sorted(one.id for one in found)
    assert [one.status for one in found] == ["done"] * 60
    assert sum(one.document["tokens"] for one in found) == 60


def test_a_journal_without_its_end_is_running_while_its_process_lives(start, hear, end, attempts, home):
    program = start("""
t = track("ended", **STEADY)
with t:
    time.sleep(0.3)
ready()
time.sleep(60)
""")
    hear(program)
    (path,) = (home / "journals").glob("*.jsonl")
    *lines, last = path.read_bytes().splitlines(keepends=True)
    assert json.loads(last)["end"] == "done"
    path.write_bytes(b"".join(lines))

    assert [one.status for one in attempts()] == ["running"]
    end(program, signal.SIGKILL)
    (attempt,) = attempts()
    assert attempt.status == "interrupted"
    assert attempt.energy_j > 0


def test_an_end_that_the_disk_refuses_is_in_the_ledger_all_the_same(run, attempts):
    done = run("""
import errno
write, full = os.write, False
def refuse(descriptor, data):
    if full and descriptor > 2:
        raise OSError(errno.ENOSPC, "No space left on device")
    return write(descriptor, data)
os.write = refuse
with track("full", **STEADY) as t:
    t.tokens(3)
    time.sleep(0.3)
    full = True
""")
    assert done.returncode == 0, done.stderr

    assert [(one.status, one.document["tokens"]) for one in attempts()] == [("done", 3)]


def test_eight_writers_at_once_lose_and_double_nothing(start, attempts):
    programs = [
        start("for number in range(10):\n    with track('many', **STEADY) as t:\n        t.tokens(1)") for _ in range(8)
    ]
    for program in programs:
        assert program.wait(60) == 0, program.stderr.read()

    found = attempts()
    assert [one.status for one in found] == ["done"] * 80
    assert len({one.id for one in found}) == 80
