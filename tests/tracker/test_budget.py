"""A budget warns, is told to those who ask, and ends a command; the outlook follows from progress."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from lowcarb.errors import BudgetExceeded, SettingError
from lowcarb.sensors.replay import Replay
from lowcarb.tracker import command
from lowcarb.tracker.command import run_command


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
            sensors=[Replay.steady(50.0)], budget="20 J",
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
