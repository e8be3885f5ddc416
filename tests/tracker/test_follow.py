"""One meter a node: the processes of a job follow their first one, and a program follows the command that runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from lowcarb.sensors.replay import Replay
from lowcarb.tracker.books import OTHER
from lowcarb.tracker.process import descendants, own_tree_cpu_s
from lowcarb.tracker.ranks import LEADER, WITHIN, launched_key, local_rank, socket_path
from lowcarb.tracker.recover import open_ledger
from lowcarb.tracker.wire import Follower, Listener


def until(seen, wait_s=5.0):
    """Whether it comes to be seen."""
    end_s = time.monotonic() + wait_s
    while not seen() and time.monotonic() < end_s:
        time.sleep(0.01)
    return seen()


@pytest.fixture
def lead(make, monkeypatch):
    """A tracker that leads, and an environment in which trackers that join find it."""

    def lead(**settings):
        leader = make("leader", **settings)
        monkeypatch.setenv(LEADER, str(leader.own.lead()))
        return leader

    return lead


def test_who_joins_follows_and_its_phases_and_counts_are_the_leaders(lead, make, attempts):
    with lead() as leader:
        with make("follower", joins=True) as t:
            assert t.follows
            assert until(lambda: t.attempt_id == leader.attempt_id)
            t.turn_to("train")
            time.sleep(0.15)
            t.tokens(100)
            t.steps(2)
            with t.phase("evaluate"):
                time.sleep(0.1)
            t.note("seed", 3)
            live = t.footprint()
            assert live.energy_j.mid > 0
            assert t.power_w() == pytest.approx(50.0)
        assert t.phases() == ()
        assert until(lambda: "seed" in leader.own.notes)

    (attempt,) = attempts()
    wall_s = {phase["name"]: phase["wall_s"] for phase in attempt.document["phases"]}
    assert set(wall_s) == {OTHER, "train", "evaluate"}
    assert wall_s["train"] >= 0.15
    assert 0.1 <= wall_s["evaluate"] < 1.0
    assert (attempt.document["tokens"], attempt.document["steps"]) == (100, 2)
    assert attempt.document["notes"] == {"seed": 3}
    assert t.footprint().energy_j.mid <= leader.footprint().energy_j.mid


def test_where_nobody_leads_who_would_join_is_on_its_own(make, attempts, monkeypatch, tmp_path):
    monkeypatch.setenv(LEADER, str(tmp_path / "nobody.sock"))
    with make(joins=True) as t:
        assert not t.follows

    assert [one.id for one in attempts()] == [t.attempt_id]


def test_a_tracker_that_does_not_join_keeps_a_row_of_its_own_inside_the_leaders(lead, make, attempts):
    with lead() as leader, make("own") as t:
        assert not t.follows

    within = {one.id: one.document["within"] for one in attempts()}
    assert within == {leader.attempt_id: None, t.attempt_id: leader.attempt_id}


def test_a_rank_other_than_the_first_follows_and_only_its_tokens_count(lead, make, attempts, monkeypatch):
    with lead() as leader:
        monkeypatch.setenv("LOCAL_RANK", "1")
        with make("rank", joins=True) as t:
            t.turn_to("train")
            t.steps(5)
            t.tokens(7)
        monkeypatch.delenv("LOCAL_RANK")
        assert until(lambda: leader.own._desk.tokens == 7)

    (attempt,) = attempts()
    assert (attempt.document["tokens"], attempt.document["steps"]) == (7, 0)
    assert [phase["name"] for phase in attempt.document["phases"]] == [OTHER]


def test_a_rank_without_a_leader_says_that_nothing_was_recorded(make, attempts, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with make() as t:
        time.sleep(0.05)

    assert attempts() == []
    energy_j = t.footprint().energy_j
    assert (energy_j.basis, energy_j.low) == ("assumed", 0)
    assert energy_j.mid > 0
    assert any("no tracker to follow" in fault for fault in t.faults())


def test_a_leader_that_goes_away_stops_nobody(lead, make):
    leader = lead().start()
    with make(joins=True) as t:
        leader.stop()
        for _ in range(3):
            t.steps()
            t.turn_to("late")
            assert t.over_budget is False
        assert t.footprint().energy_j.mid > 0


RANK = """
import os, sys, time
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.track import track
with track("job", sensors=[Replay.steady(50.0)], interval_s=0.1) as t:
    t.turn_to("train")
    for _ in range(20):
        time.sleep(0.02)
        t.tokens(1)
print(t.follows, t.footprint().energy_j.mid > 0)
"""


def run_ranks(home, restart):
    """Two ranks of one launcher, this process."""
    environ = {
        **os.environ, "LOWCARB_HOME": str(home), "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2",
        "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": str(restart),
    }  # fmt: skip
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK], env={**environ, "LOCAL_RANK": str(rank)}, stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    return [rank.communicate(timeout=30)[0].split() for rank in ranks]


def test_two_ranks_have_one_meter_and_a_job_that_is_started_anew_is_one_run(home, monkeypatch):
    said = [run_ranks(home, restart) for restart in range(2)]

    assert said == [[["False", "True"], ["True", "True"]]] * 2
    monkeypatch.setenv("LOWCARB_HOME", str(home))
    ledger = open_ledger()
    (run,) = ledger.runs()
    attempts = ledger.attempts(run.id)
    assert [(one.number, one.status) for one in attempts] == [(1, "done"), (2, "done")]
    assert all(20 <= one.document["tokens"] <= 40 for one in attempts)


@pytest.mark.parametrize(("text", "rank"), [("0", 0), ("3", 3), ("", 0), ("-1", 0), ("x", 0)])
def test_the_local_rank_is_a_number_or_zero(text, rank):
    assert local_rank({"LOCAL_RANK": text}) == rank


def test_only_a_launched_job_has_a_key_of_its_own():
    job = {"TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_RUN_ID": "j"}

    assert launched_key({}, "n", 0) is None
    assert launched_key(job, "n", 0) == "torchrun:j:n:0"
    assert launched_key({**job, "TORCHELASTIC_RUN_ID": "none"}, "n", 0) == launched_key(
        {**job, "TORCHELASTIC_RUN_ID": ""}, "n", 0
    )


def test_programs_that_are_started_know_which_attempt_they_run_inside_of(make, monkeypatch):
    monkeypatch.setenv(WITHIN, "outermost")
    with make() as outer:
        assert os.environ[WITHIN] == outer.attempt_id
        with make() as inner:
            assert os.environ[WITHIN] == inner.attempt_id
        assert os.environ[WITHIN] == outer.attempt_id
    assert os.environ[WITHIN] == "outermost"


def test_a_socket_has_a_short_name_wherever_the_home_is(tmp_path):
    near, far = socket_path(tmp_path, "x"), socket_path(tmp_path / ("d" * 200), "x")

    assert near == tmp_path / "run" / "x.sock"
    assert len(os.fsencode(far)) < 100


def test_who_talks_nonsense_is_not_listened_to_any_more(tmp_path):
    heard, followers = [], []
    listener = Listener(tmp_path / "x.sock", "a", lambda said: heard.append(said["ask"]) if "ask" in said else None)
    listener.open()
    try:
        for nonsense in (b"no json\n", b"\xff\xfe\n"):
            rude = Follower(tmp_path / "x.sock", speaks=True)
            followers.append(rude)
            assert rude.connect()
            rude._socket.sendall(nonsense)
        good = Follower(tmp_path / "x.sock", speaks=True)
        followers.append(good)
        assert good.connect()
        good._say({"ask": 1})
        assert until(lambda: heard == [1])
        assert until(lambda: listener.followers == 1)
        for follower in followers:
            follower.end("done")
    finally:
        listener.close()


def test_a_follower_counts_on_where_its_leader_comes_late(tmp_path):
    path, heard = tmp_path / "late.sock", []
    follower = Follower(path, speaks=True)
    follower.count(3, 1)
    listener = Listener(path, "a", lambda said: heard.append(said["counts"]) if "counts" in said else None)
    listener.open()
    try:
        time.sleep(0.25)
        follower.count(4, 1)
        assert until(lambda: heard == [[7, 2]])
        follower.end("done")
    finally:
        listener.close()


def test_processor_time_of_children_at_work_is_seen():
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before_s = own_tree_cpu_s()
        assert child.pid in descendants(os.getpid())
        assert until(lambda: own_tree_cpu_s() - before_s > 0.2)
    finally:
        child.kill()
        child.wait()


def test_the_share_of_a_process_tree_is_labelled_and_below_the_whole(make, attempts):
    with make("whole", sensors=[Replay.steady(50.0, kind="cpu")]) as whole, make(
        "share", sensors=[Replay.steady(50.0, kind="cpu")], attribution="process", interval_s=0.05
    ) as share:  # fmt: skip
        time.sleep(0.3)

    documents = {one.document["attribution"]: one.document for one in attempts()}
    assert set(documents) == {"machine", "process"}
    (device,) = documents["process"]["energy"]["devices"]
    assert (device["sensor"], device["energy_j"]["basis"]) == ("replay, process share", "modelled")
    assert share.footprint().energy_j.mid <= whole.footprint().energy_j.mid
