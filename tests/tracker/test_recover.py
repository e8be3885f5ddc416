"""A killed run is an attempt of the ledger, marked as such, with all that was measured."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.ledger import open_ledger
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.run import render_run_html, run_document
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.journal import Header, Journal
from lowcarb.tracker.process import is_alive, this_process
from lowcarb.tracker.record import read_journal
from lowcarb.tracker.recover import KEPT, put_away, recover

INTERVAL_S = 0.2
VICTIM = """
import os, sys, time
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.track import track
with track("victim", key="k", sensors=[Replay.steady(50.0)], interval_s=0.2, home=sys.argv[1]) as t:
    with t.phase("prepare"):
        time.sleep(0.3)
    with t.phase("train"):
        t.tokens(7)
        t.note("seed", 3)
        print("ready", flush=True)
        time.sleep(60)
"""


def start_victim(home):
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, str(home)], stdout=subprocess.PIPE)
    assert victim.stdout.readline() == b"ready\n"
    return victim


def end_victim(victim, sent=signal.SIGKILL):
    victim.send_signal(sent)
    ended_s = time.monotonic()
    victim.wait(10)
    victim.stdout.close()
    return ended_s


def kill_one(home):
    """A run that was killed after some readings were on disk, as its journal tells of it."""
    victim = start_victim(home)
    (path,) = (home / "journals").glob("*.jsonl")
    end_s = time.monotonic() + 30.0
    while read_journal(path).count < 3 and time.monotonic() < end_s:
        time.sleep(0.05)
    end_victim(victim)
    return read_journal(path), path


@pytest.fixture
def journal_of(home, machine, site):
    """A journal as a process would have left it."""

    def journal_of(process, attempt_id="abc"):
        header = Header(
            attempt_id, "k", "track", "n", None, None, None, process, 1, 100.0, 0.0, 1.0, "machine", machine, site, ()
        )
        path = home / "journals" / f"{attempt_id}.jsonl"
        journal = Journal(Guard())
        journal.open(path, header)
        os.close(journal._descriptor)
        return path

    return journal_of


def test_a_killed_run_is_recovered_with_its_energy_up_to_the_last_reading(home):
    victim = start_victim(home)
    time.sleep(0.7)
    killed_s = end_victim(victim)
    (path,) = (home / "journals").glob("*.jsonl")
    ran_s = killed_s - read_journal(path).header.started_s
    ledger = open_ledger(home / "ledger.db")
    (attempt,) = recover(home, ledger)

    assert attempt.status == "interrupted"
    document = attempt.document
    assert ran_s - document["wall_s"] <= 2.2 * INTERVAL_S + 0.5  # half a second for a busy machine
    assert attempt.energy_j == pytest.approx(50.0 * document["wall_s"], rel=0.01)
    assert document["footprint"]["measured_share"] == 1.0
    assert [phase["name"] for phase in document["phases"]] == ["other", "prepare", "train"]
    assert (document["tokens"], document["notes"]) == (7, {"seed": 3})
    assert document["cpu_s"] > 0
    assert any("cut off" in fault for fault in document["faults"])
    assert attempt.ended_ns - attempt.started_ns == pytest.approx(document["wall_s"] * 1e9, rel=1e-6)


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_the_readings_of_a_killed_run_are_in_the_ledger_once(home, kind):
    record, path = kill_one(home)
    ledger = open_ledger(home / "ledger.db") if kind == "sqlite" else MemoryLedger()
    (attempt,) = recover(home, ledger)
    kept = ledger.readings(attempt.id)

    assert len(kept) == record.count >= 3
    assert {channel for channel, _, _ in kept} == {channel.id for channel in record.header.channels}
    assert {value for _, _, value in kept} == {50.0}
    between = [(late - early) * 1e-9 for (_, early, _), (_, late, _) in itertools.pairwise(kept)]
    assert between == pytest.approx([b.at_s - a.at_s for a, b in itertools.pairwise(record.readings)], abs=1e-6)
    assert all(attempt.started_ns - 1e9 <= at_ns <= attempt.ended_ns + 1e9 for _, at_ns, _ in kept)
    # The journal came back, as where the process that took it in was killed before it put it away.
    (done,) = (home / "journals" / "done").iterdir()
    done.rename(path)
    assert recover(home, ledger) == []
    assert ledger.readings(attempt.id) == kept


def test_a_long_run_leaves_its_readings_in_its_journal(home, monkeypatch):
    monkeypatch.setattr("lowcarb.tracker.recover.MOST_READINGS", 1)
    kill_one(home)
    ledger = MemoryLedger()
    (attempt,) = recover(home, ledger)

    assert attempt.document["power"]
    assert ledger.readings(attempt.id) == []


def test_the_report_of_a_killed_run_has_its_power_over_time(home):
    kill_one(home)
    ledger = open_ledger(home / "ledger.db")
    (attempt,) = recover(home, ledger)
    document = run_document(ledger, ledger.run("k"), Catalogue.load())
    (trace,) = document["power"]
    watts = [one for one in trace["power_w"] if one is not None]

    assert watts == pytest.approx([50.0] * len(watts), rel=0.01)
    assert sum(watts) * trace["step_ns"] * 1e-9 == pytest.approx(attempt.energy_j, rel=0.05)
    assert "Power over time" in render_run_html(document)


def test_recovering_twice_changes_nothing(home, journal_of, ledger):
    journal_of(replace(this_process(), boot="another"))
    first = recover(home, ledger)
    run = ledger.run("k")

    assert recover(home, ledger) == []
    assert ledger.attempts(run.id) == first
    # Not even where the journal came back, as from a backup.
    (done,) = (home / "journals" / "done").iterdir()
    done.rename(home / "journals" / done.name)
    assert recover(home, ledger) == []
    assert ledger.attempts(run.id) == first


def test_a_run_that_goes_on_is_shown_as_running(home, make):
    ledger = MemoryLedger()
    with make(ledger=None) as t:
        assert recover(home, ledger) == []
        (attempt,) = ledger.attempts(ledger.runs()[0].id)
        assert (attempt.id, attempt.status) == (t.attempt_id, "running")
    assert [(one.id, one.status) for one in recover(home, ledger)] == [(t.attempt_id, "done")]


def test_an_unreaped_process_is_dead():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    deadline_s = time.monotonic() + 5
    while is_alive(replace(this_process(), pid=pid, started=None)) and time.monotonic() < deadline_s:
        time.sleep(0.01)

    assert is_alive(replace(this_process(), pid=pid, started=None)) is False
    os.waitpid(pid, 0)


def test_an_attempt_whose_ledger_was_away_comes_later_and_once(home, make):
    with make("late", ledger=home / "away.db") as t:
        time.sleep(0.1)
        t.tokens(5)
        # The ledger cannot be opened.
        (home / "away.db").mkdir()
        t.end_as("diverged")
    ledger = MemoryLedger()
    assert recover(home, ledger) == []
    (attempt,) = recover(home, ledger, home / "away.db")

    assert (attempt.id, attempt.status) == (t.attempt_id, "diverged")
    assert attempt.document["tokens"] == 5
    assert attempt.document["footprint"] == t.footprint().as_dict()
    assert recover(home, ledger, home / "away.db") == []


def test_many_may_recover_at_the_same_time(home, journal_of):
    journal_of(replace(this_process(), boot="another"))
    taken = []
    threads = [
        threading.Thread(target=lambda: taken.extend(recover(home, open_ledger(home / "ledger.db")))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ledger = open_ledger(home / "ledger.db")
    assert [one.status for one in ledger.attempts(ledger.run("k").id)] == ["interrupted"]
    assert {one.id for one in taken} == {"abc"}


def test_another_boot_or_another_start_of_the_same_number_is_dead(home, journal_of, ledger):
    here = this_process()
    journal_of(replace(here, boot="another"), "a")
    journal_of(replace(here, started=here.started - 100), "b")
    journal_of(here, "c")

    assert [one.id for one in recover(home, ledger)] == ["a", "b"]


@pytest.mark.parametrize("elsewhere", [{"host": "other"}, {"namespace": "pid:[1]"}])
def test_a_run_on_another_host_is_given_up_after_an_hour_of_silence(home, journal_of, ledger, elsewhere):
    path = journal_of(replace(this_process(), pid=1, **elsewhere))
    assert recover(home, ledger) == []

    hour_ago_s = time.time() - 3700
    os.utime(path, (hour_ago_s, hour_ago_s))
    assert [one.status for one in recover(home, ledger)] == ["interrupted"]


def test_a_journal_without_a_reading_has_no_duration_and_no_made_up_energy(home, journal_of, ledger):
    journal_of(replace(this_process(), boot="another"))
    (attempt,) = recover(home, ledger)

    assert attempt.document["wall_s"] == 0


def test_an_unreadable_journal_is_kept_out_of_the_way_and_the_others_are_taken_in(home, journal_of, ledger):
    journal_of(replace(this_process(), boot="another"), "good")
    bad = home / "journals" / "bad.jsonl"
    bad.write_text("no journal")
    os.utime(bad, (0, 0))

    assert [one.id for one in recover(home, ledger)] == ["good"]
    assert bad.with_suffix(".unreadable").read_text() == "no journal"


def test_figures_that_cannot_be_are_not_booked(home, journal_of, ledger):
    path = journal_of(replace(this_process(), boot="another"))
    with path.open("a") as file:
        file.write(
            '{"readings": [], "counts": [0, 0], "at_s": 1e308, "cpu_s": 1e308}\n'
            '{"phase": "x", "at_s": 1e308, "cpu_s": -1e308}\n'
        )

    (attempt,) = recover(home, ledger)
    assert (attempt.energy_j, attempt.document["wall_s"]) == (0, 0)
    assert "2 lines of the journal could not be read" in attempt.document["faults"]
    assert not path.exists()


def test_only_the_newest_journals_are_kept(tmp_path):
    for number in range(KEPT + 5):
        path = tmp_path / f"{number}.jsonl"
        path.touch()
        os.utime(path, (number, number))
        put_away(path)

    assert len(list((tmp_path / "done").iterdir())) == KEPT
    assert not (tmp_path / "done" / "0.jsonl").exists()


def test_no_home_means_nothing_to_recover(tmp_path, ledger):
    assert recover(tmp_path / "nothing", ledger) == []
