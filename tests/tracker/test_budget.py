"""A budget warns, is told to those who ask, and ends a command; the outlook follows from progress."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from lowcarb.core.budget import Budget, Outlook
from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import Footprint
from lowcarb.errors import BudgetExceeded, SettingError
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.sensors.replay import Replay
from lowcarb.tracker import command
from lowcarb.tracker.command import run_command
from lowcarb.tracker.recover import recover
from lowcarb.tracker.watch import Watch

ONE = Estimate.exact(1.0)
SPENT = Footprint(
    energy_j=ONE, operational_g=ONE, embodied_g=None, water_l=None, cost=None, duration_s=ONE, measured_share=1.0,
    scope="", method="", sources=(),
)  # fmt: skip


def until(seen, wait_s=5.0):
    end_s = time.monotonic() + wait_s
    while not seen() and time.monotonic() < end_s:
        time.sleep(0.01)
    return seen()


def test_a_budget_that_is_used_up_is_told_at_each_step_and_is_the_status(make, attempts, caplog):
    with make(budget="10 J", interval_s=0.05) as t:
        assert t.over_budget is False
        t.check_budget()
        assert until(lambda: t.over_budget)
        with pytest.raises(BudgetExceeded, match="energy budget of 10 J"):
            t.check_budget()

    assert [one.status for one in attempts()] == ["over_budget"] == [t.status]
    assert t.footprint().energy_j.mid >= 10
    assert caplog.text.count("the budget of 10 J is used up") == 1


def test_without_a_budget_nothing_is_over(make):
    with make() as t:
        assert t.over_budget is False
        t.check_budget()


def test_a_failure_is_a_failure_also_beyond_the_budget(make, attempts):
    def work(t):
        assert until(lambda: t.over_budget)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), make(budget="1 J", interval_s=0.05) as t:
        work(t)

    assert [one.status for one in attempts()] == ["failed"]


def test_a_budget_in_money_that_nobody_can_count_says_so(make, caplog):
    with make(budget="1 USD", interval_s=0.05) as t:
        assert until(lambda: "cannot be kept" in caplog.text)
        assert t.over_budget is False


@pytest.mark.parametrize("budget", ["", "5", 5, "-1 g", "nan J", "3 EUR", "0 kWh"])
def test_a_bad_budget_is_refused_at_the_door(make, budget):
    with pytest.raises(SettingError, match="budget"):
        make(budget=budget)


@pytest.mark.parametrize(("field", "value"), [("attribution", "all"), ("joins", 1)])
def test_other_bad_settings_are_refused_at_the_door(make, field, value):
    with pytest.raises(SettingError, match=field):
        make(**{field: value})


def test_the_end_is_forecast_from_progress(make):
    with make(interval_s=0.05) as t:
        assert t.outlook() is None
        for step in range(1, 9):
            time.sleep(0.1)
            t.progress(step / 16)
        assert until(lambda: t.outlook() is not None)
        outlook = t.outlook()
        t.progress(2.0)
        t.progress("x")

    assert outlook.energy_j.low <= outlook.energy_j.mid <= outlook.energy_j.high
    assert outlook.energy_j.mid == pytest.approx(50.0 * 1.6, rel=0.25)
    assert len(t.faults()) == 2


def notes_of(home, key):
    """What the journals of a home note under a key, in order."""
    texts = [path.read_bytes() for path in (home / "journals").rglob("*.jsonl")]
    # What comes after the last end of a line is being written.
    lines = [json.loads(line) for text in texts for line in text.split(b"\n")[:-1] if line]
    return [line["note"][1] for line in lines if "note" in line and line["note"][0] == key]


def test_those_who_look_from_outside_are_told_of_budget_and_outlook(make, home, monkeypatch):
    monkeypatch.setattr("lowcarb.tracker.watch.NEWS_S", 0.0)
    with make(interval_s=0.05, budget="2 kJ") as t:
        for step in range(1, 9):
            time.sleep(0.1)
            t.progress(step / 16)
        assert until(lambda: len(notes_of(home, "outlook")) >= 2)
        (budget,) = notes_of(home, "budget")
        at_work = [Outlook.from_dict(one) for one in notes_of(home, "outlook")]
        assert until(lambda: t.outlook().progress == 0.5)
        last = t.outlook()
    told = notes_of(home, "outlook")

    assert Budget(**budget) == t.own.budget
    assert [one.progress for one in at_work] == sorted({one.progress for one in at_work})
    assert Outlook.from_dict(told[-1]).progress == last.progress == 0.5
    assert Outlook.from_dict(told[-1]).left_s == last.left_s
    assert [one["at_s"] for one in told] == sorted(one["at_s"] for one in told)


def test_of_a_killed_run_the_last_outlook_is_kept(home):
    program = """
import sys, time
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.track import track
with track("victim", key="k", budget="1 kJ", sensors=[Replay.steady(50.0)], interval_s=0.05, home=sys.argv[1]) as t:
    for step in range(1, 1000):
        time.sleep(0.02)
        t.progress(step / 1000)
"""
    victim = subprocess.Popen([sys.executable, "-c", program, str(home)])
    assert until(lambda: notes_of(home, "outlook"), 30.0)
    victim.kill()
    victim.wait()
    ledger = MemoryLedger()
    (attempt,) = recover(home, ledger)

    assert attempt.status == "interrupted"
    assert attempt.document["notes"]["budget"] == {"what": "energy", "limit": 1000.0, "unit": "kJ"}
    assert 0.0 < Outlook.from_dict(attempt.document["notes"]["outlook"]).progress < 1.0


@pytest.mark.parametrize("days", [1, 30])
def test_what_is_written_of_the_outlook_grows_slowly_however_long_the_run(days):
    looks, length_s, watch = 2000, 86_400.0 * days, Watch(None)
    written = 0
    for look in range(1, looks + 1):
        share = look / looks
        watch.progress(share)
        watch.look(replace(SPENT, energy_j=ONE.scale(share), operational_g=ONE.scale(share)), share * length_s)
        written += watch.news(share * length_s) is not None

    # Each look until half a percent of the time is longer than between two looks, and then by the logarithm.
    assert 300 < written < 1000
    assert [watch.news(length_s, last=True) for _ in range(2)][-1] is None


def test_an_outlook_without_new_work_is_written_once():
    watch = Watch(None)
    now = Estimate.exact(1.0)
    watch._marks.add(0.4, SPENT, 90.0)
    watch.outlook = Outlook(now, now, None, now, 0.4)

    assert watch.news(100.0)["at_s"] == 90.0
    assert watch.news(1000.0) is None
    assert watch.news(1000.0, last=True) is None


SLEEPS = "import time; time.sleep(30)"
SAVES = """
import signal, sys, time
def save(number, frame):
    print("saved", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
time.sleep(30)
"""
FOLLOWS = """
import sys, time
from lowcarb.tracker.track import track
with track("job", joins=True) as t:
    assert t.follows
    for step in range(1000):
        time.sleep(0.01)
        t.steps()
        if t.over_budget:
            print("saved", flush=True)
            break
"""


@pytest.fixture
def run(machine, site, ledger, home):
    def run(*argv):
        return run_command(
            argv, machine=machine, site=site, ledger=ledger, home=home, interval_s=0.05,
            sensors=[Replay.steady(50.0)], budget="100 J",
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [(SLEEPS, 128 + signal.SIGTERM, ""), (SAVES, 0, "saved\n"), (FOLLOWS, 0, "saved\n")],
    ids=["asked to terminate", "saves when asked", "is told and ends by itself"],
)
def test_a_command_that_has_used_up_its_budget_ends(run, attempts, capfd, program, code, said):
    began_s = time.monotonic()
    outcome = run(sys.executable, "-c", program)

    assert time.monotonic() - began_s < 20
    assert (outcome.exit_code, outcome.status) == (code, "over_budget")
    assert capfd.readouterr().out == said
    assert [one.status for one in attempts()] == ["over_budget"]


def test_the_children_of_a_shell_end_with_it(run):
    run("sh", "-c", f"{sys.executable} -c '{SLEEPS}'; true")

    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in listed.splitlines() if line.endswith(SLEEPS) and "python" in line.split()[0]]


def test_a_command_that_does_not_end_when_asked_is_killed(run, monkeypatch):
    monkeypatch.setattr(command, "GRACE_S", 0.5)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(30)"
    outcome = run(sys.executable, "-c", stubborn)

    assert (outcome.exit_code, outcome.status) == (128 + signal.SIGKILL, "over_budget")
