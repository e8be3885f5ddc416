"""Several processes and several jobs: leaders that die, stop or talk nonsense hold up nobody who follows."""

from __future__ import annotations

import os
import signal
import time

import pytest

LEAD = """
t = track("leader", **STEADY)
print(t.own.lead(), flush=True)
with t:
    ready()
    time.sleep(60)
"""
FOLLOW = """
t = track("follower", joins=True, **STEADY)
began_s = time.monotonic()
t.start()
assert time.monotonic() - began_s < 4, "start"
ready(str(t.follows))
sys.stdin.readline()
began_s = time.monotonic()
with t.phase("train"):
    for _ in range(50):
        t.tokens(1)
        t.footprint()
began_stop_s = time.monotonic()
t.stop()
print(time.monotonic() - began_stop_s < 8, time.monotonic() - began_s < 30, flush=True)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_a_leader_that_is_gone_or_stopped_holds_no_follower_up(start, hear, attempts, sent):
    leader = start(LEAD)
    path = leader.stdout.readline().strip()
    hear(leader)
    follower = start(FOLLOW, env={"LOWCARB_LEADER": path}, stdin=-1)
    hear(follower, "True")
    os.kill(leader.pid, sent)
    out, error = follower.communicate("go\n", timeout=60)

    assert (follower.returncode, out) == (0, "True True\n"), error
    leader.kill()
    leader.wait(60)
    assert [one.status for one in attempts()] == ["interrupted"]


@pytest.mark.parametrize("place", ["nothing", "nobody listens"])
def test_a_leader_that_is_none_leaves_the_program_on_its_own(run, attempts, tmp_path, place):
    path = tmp_path / "socket"
    if place == "nobody listens":
        import socket  # noqa: PLC0415

        bound = socket.socket(socket.AF_UNIX)
        bound.bind(str(path))
        bound.close()
    done = run(
        "with track('own', joins=True, **STEADY) as t:\n    t.tokens(1)\n    time.sleep(0.1)\nprint(t.follows)",
        env={"LOWCARB_LEADER": str(path)},
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
    assert [one.status for one in attempts()] == ["done"]


def test_a_follower_that_is_killed_leaves_the_leader_whole(start, hear, end, attempts):
    leader = start(LEAD.replace("time.sleep(60)", "sys.stdin.readline()"), stdin=-1)
    path = leader.stdout.readline().strip()
    hear(leader)
    follower = start(FOLLOW, env={"LOWCARB_LEADER": path}, stdin=-1)
    hear(follower, "True")
    end(follower, signal.SIGKILL)
    _, error = leader.communicate("go\n", timeout=60)

    assert leader.returncode == 0, error
    assert [(one.status, one.document["phases"][0]["name"]) for one in attempts()] == [("done", "other")]


def test_jobs_on_one_machine_count_each_joule_once(start, hear, lowcarb):
    import json  # noqa: PLC0415

    began_s = time.monotonic()
    programs = [start(f"with track('{name}', **STEADY):\n    ready()\n    time.sleep(1.0)") for name in ("a", "b", "c")]
    for program in programs:
        assert program.wait(60) == 0
    span_s = time.monotonic() - began_s
    document = json.loads(lowcarb("ledger", "list", "--json").stdout)

    parts = [run["attempts"][0]["energy_j"] for run in document["runs"]]
    assert max(parts) <= document["total"]["energy_j"]["mid"] <= 50.0 * span_s
    assert sum(parts) - document["total"]["energy_j"]["mid"] == pytest.approx(document["total"]["counted_twice_j"])


def test_ranks_whose_first_is_killed_end_in_their_own_time(start, hear, attempts):
    ranks = {"LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"}
    work = """
with track("rank", **STEADY) as t:
    ready()
    for _ in range(10):
        t.tokens(1)
        time.sleep(0.1)
"""
    first, second = (start(work, env={**ranks, "LOCAL_RANK": number, "RANK": number}) for number in "01")
    hear(first)
    hear(second)
    first.kill()

    assert second.wait(60) == 0
    assert [one.status for one in attempts()] == ["interrupted"]


def test_a_home_whose_sockets_were_left_behind_is_no_obstacle(start, hear, end, attempts):
    for _ in range(2):
        leader = start(LEAD)
        leader.stdout.readline()
        hear(leader)
        end(leader, signal.SIGKILL)

    assert [one.status for one in attempts()] == ["interrupted"] * 2
