"""A tracker measures phases, ends with the right status, and never gets in the way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowcarb.core.energy import Reading
from lowcarb.errors import BudgetExceeded, LowcarbError, SettingError
from lowcarb.ledger.base import Attempt
from lowcarb.sensors.replay import Fault, Replay
from lowcarb.tracker import own as running
from lowcarb.tracker.books import OTHER, Phase, merged
from lowcarb.tracker.recover import open_ledger

STEADY_W = 50.0


def test_energy_is_power_times_time(make):
    with make() as t:
        time.sleep(0.4)

    duration_s = t.footprint().duration_s.mid
    assert 0.4 <= duration_s < 1.0
    assert t.footprint().energy_j.mid == pytest.approx(STEADY_W * duration_s, rel=0.01)
    assert t.footprint().measured_share == 1.0


def test_phases_sum_to_the_footprint_and_the_rest_is_other(make):
    with make() as t:
        with t.phase("train"):
            time.sleep(0.15)
        with t.phase("evaluate"):
            time.sleep(0.1)
        with t.phase("train"):
            time.sleep(0.15)

    phases, footprint = t.phases(), t.footprint()
    assert [phase.name for phase in phases] == [OTHER, "train", "evaluate"]
    assert 0.3 <= phases[1].wall_s < 0.6
    for name in ("energy_j", "operational_g", "embodied_g", "water_l", "duration_s"):
        low, mid, high = (sum(getattr(getattr(p.footprint, name), b) for p in phases) for b in ("low", "mid", "high"))
        whole = getattr(footprint, name)
        assert whole.mid == pytest.approx(mid, rel=1e-9)
        # What lags at the end of one phase is in the next one: the whole is known better than its parts.
        assert low * (1 - 1e-9) <= whole.low <= whole.high <= high * (1 + 1e-9)
    assert sum(phase.wall_s for phase in phases) == pytest.approx(footprint.duration_s.mid)
    assert merged([phase.energy for phase in phases]).energy_j.mid == pytest.approx(footprint.energy_j.mid)


def test_a_phase_inside_another_takes_its_time(make):
    with make() as t, t.phase("outer"):
        with t.phase("inner"):
            time.sleep(0.2)
        time.sleep(0.05)

    by_name = {phase.name: phase.wall_s for phase in t.phases()}
    assert by_name["inner"] >= 0.2
    assert 0.05 <= by_name["outer"] < 0.2


def test_processor_time_is_booked_on_the_phase_that_used_it(make):
    with make() as t:
        with t.phase("busy"):
            until_s = time.process_time() + 0.2
            while time.process_time() < until_s:
                pass
        with t.phase("idle"):
            time.sleep(0.1)

    by_name = {phase.name: phase.cpu_s for phase in t.phases()}
    assert by_name["busy"] >= 0.2
    assert by_name["idle"] < 0.1


def test_children_that_ended_count_as_processor_time(make):
    with make() as t, t.phase("child"):
        subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)

    assert {phase.name: phase.cpu_s for phase in t.phases()}["child"] > 0.02


def test_the_document_holds_all_there_is_to_know(make, attempts):
    with make("fine-tune", key="k", study="s", kind="trial") as t:
        t.note("before", 1)
        with t.phase("train"):
            t.tokens(100)
            t.tokens(28)
            t.steps()
            t.steps(2)
            t.note("loss", float("nan"))
            t.note("path", os.curdir)
            t.note("odd", {1: {2}})
    (attempt,) = attempts()
    document = attempt.document

    assert set(document) == {
        "schema_version", "machine", "site", "phases", "energy", "hours", "footprint", "cpu_s", "wall_s", "tokens",
        "steps", "faults", "notes", "meter", "attribution", "node", "within", "power",
    }  # fmt: skip
    assert (document["schema_version"], document["tokens"], document["steps"]) == (1, 128, 3)
    assert document["notes"] == {"before": 1, "loss": None, "path": ".", "odd": {"1": "{2}"}}
    assert document["machine"]["id"] == "m1"
    assert document["site"]["id"] == "fra"
    assert document["meter"]["interval_s"] == 0.2
    assert document["meter"]["cost_cpu_s"] > 0
    assert document["faults"] == []
    assert document["footprint"] == t.footprint().as_dict()
    assert [Phase.from_dict(one) for one in document["phases"]] == list(t.phases())
    assert (attempt.id, attempt.status, attempt.energy_j) == (t.attempt_id, "done", t.footprint().energy_j.mid)


def test_an_attempt_is_in_the_ledger_while_it_runs(make, attempts):
    with make() as t:
        assert [(one.id, one.status) for one in attempts()] == [(t.attempt_id, "running")]
        assert t.status == "running"
    assert t.status == "done"


def test_live_figures_grow(make):
    with make() as t:
        time.sleep(0.2)
        early = t.footprint()
        time.sleep(0.3)
        late = t.footprint()

        assert 0 < early.energy_j.mid < late.energy_j.mid
        assert late.measured_share == 1.0
        assert t.power_w() == pytest.approx(STEADY_W)
    assert t.power_w() is None
    assert t.footprint().energy_j.mid >= late.energy_j.mid


def test_a_phase_is_among_the_live_phases_at_once(make):
    with make() as t:
        for name in ("a", "b", "c"):
            with t.phase(name):
                assert t.phases()[-1].name == name


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), "failed"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(143), "interrupted"),
        (SystemExit(3), "failed"),
        (SystemExit(0), "done"),
        (SystemExit(), "done"),
        (MemoryError(), "out_of_memory"),
        (OutOfMemoryError(), "out_of_memory"),
        (BudgetExceeded("energy", 1.0, 2.0, "J"), "over_budget"),
        (GeneratorExit(), "interrupted"),
    ],
    ids=repr,
)
def test_an_exception_passes_unchanged_and_decides_the_status(make, attempts, error, status):
    with pytest.raises(type(error)) as caught, make() as t, t.phase("train"):
        raise error

    assert caught.value is error
    assert [one.status for one in attempts()] == [status] == [t.status]


def test_a_status_that_was_set_comes_first(make, attempts):
    with make() as t:
        t.end_as("diverged")
        t.end_as("running")
        t.end_as(["nonsense"])

    assert [one.status for one in attempts()] == ["diverged"]
    assert any("running" in fault for fault in t.faults())


def test_start_and_stop_do_the_same_as_with(make, attempts):
    t = make().start()
    t.start()
    footprint = t.stop("failed")

    assert t.stop() == footprint
    assert [one.status for one in attempts()] == ["failed"]


def test_after_the_end_nothing_changes(make):
    with make() as t:
        pass
    before = t.phases(), t.footprint()
    with t.phase("late"):
        t.tokens(1)
        t.note("late", 1)

    assert (t.phases(), t.footprint()) == before


def test_before_the_start_there_is_nothing_and_nothing_raises(make):
    t = make()

    assert t.phases() == ()
    assert t.footprint().duration_s.mid == 0
    assert (t.power_w(), t.status, t.faults()) == (None, None, ())
    assert t.stop().duration_s.mid == 0


def test_two_attempts_of_one_key_are_one_run(make, ledger):
    for _ in range(2):
        with make(key="same"):
            pass

    run = ledger.run("same")
    assert [one.number for one in ledger.attempts(run.id)] == [1, 2]
    assert len(ledger.runs()) == 1


def test_without_a_key_each_attempt_is_a_run(make, ledger):
    for _ in range(2):
        with make():
            pass

    assert len(ledger.runs()) == 2


def test_a_decorated_function_is_an_attempt_at_each_call(make, attempts):
    @make("double")
    def double(number, *, plus=0):
        """Twice the number."""
        return 2 * number + plus

    assert (double(2), double(3, plus=1), double.__doc__) == (4, 7, "Twice the number.")
    assert [one.status for one in attempts()] == ["done", "done"]


def test_a_decorated_coroutine_is_measured_until_it_ends(make, attempts):
    @make("wait")
    async def wait():
        await asyncio.sleep(0.1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(wait())
    (attempt,) = attempts()
    assert attempt.status == "failed"
    assert attempt.document["wall_s"] >= 0.1


def test_one_inside_another_says_so(make, attempts):
    with make("outer") as outer, make("inner", sensors=[Replay.steady(1.0)]) as inner:
        pass

    within = {one.id: one.document["within"] for one in attempts()}
    assert within == {outer.attempt_id: None, inner.attempt_id: outer.attempt_id}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", None),
        ("kind", "other"),
        ("key", ""),
        ("study", 3),
        ("interval_s", 0),
        ("interval_s", -1.0),
        ("interval_s", float("nan")),
        ("interval_s", "1"),
        ("interval_s", True),
        ("site", 3),
        ("ledger", 3),
        ("ledger", "mysql://me@host/db"),
        ("sensors", "nvml"),
        ("sensors", [object()]),
        ("machine", "mine"),
        ("home", ""),
        ("home", 3),
    ],
)
def test_a_bad_setting_is_refused_before_anything_runs(make, field, value):
    settings = {field: value}
    with pytest.raises(SettingError, match=field):
        make(**settings) if field != "name" else make(value)


def test_an_unknown_site_id_is_refused_with_the_near_ones(make):
    with pytest.raises(LowcarbError, match="france"):
        make(site="frannce")


def test_without_a_site_the_carbon_is_a_wide_estimate_for_the_world(make, attempts):
    with make(site=None):
        pass

    (attempt,) = attempts()
    assert attempt.document["site"]["declared"] is False
    grams = attempt.document["footprint"]["operational_g"]
    assert grams["low"] < grams["mid"] < grams["high"]


@pytest.mark.parametrize("name", ["a\nb", "nul\0", "\ud800", "x" * 10_000, "../../x"])
def test_hostile_names_survive(make, ledger, home, name):
    with make(name, key=name, study=name) as t:
        t.note(name, name)
        with t.phase(name):
            pass

    run = ledger.run(name)
    (attempt,) = ledger.attempts(run.id)
    assert (run.name, run.study, attempt.document["notes"]) == (name, name, {name: name})
    assert [phase["name"] for phase in attempt.document["phases"]] == [OTHER, name]
    assert {one.name for one in home.parent.iterdir()} == {"home"}


def test_a_jump_of_the_wall_clock_changes_nothing(make, attempts, monkeypatch):
    with make() as t:
        now_ns = time.time_ns
        for jump_s in (3600, -7200):
            monkeypatch.setattr(time, "time_ns", lambda jump_s=jump_s: now_ns() + jump_s * 10**9)
            time.sleep(0.1)

    (attempt,) = attempts()
    assert t.footprint().duration_s.mid < 2.0
    assert t.footprint().energy_j.mid == pytest.approx(STEADY_W * t.footprint().duration_s.mid, rel=0.01)
    assert attempt.ended_ns - attempt.started_ns < 2 * 10**9


def test_threads_may_open_phases_at_the_same_time(make):
    def work(t, name):
        for _ in range(30):
            with t.phase(name):
                t.tokens(1)

    with make() as t:
        threads = [threading.Thread(target=work, args=(t, f"p{number}")) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert t.faults() == ()
    assert sum(phase.wall_s for phase in t.phases()) == pytest.approx(t.footprint().duration_s.mid)
    assert t.own._desk.tokens == 120


# Faults. None of them may reach the program.


class BrokenLedger:
    def begin(self, **facts):
        raise OSError("server away")

    def finish(self, *facts, **more):
        raise OSError("server away")

    def close(self):
        raise OSError("server away")


class HangingLedger(BrokenLedger):
    def begin(self, **facts):
        time.sleep(60)


class BrokenSensor:
    name = "broken"

    def channels(self):
        raise RuntimeError("no channels")

    def read(self, at_s):
        raise RuntimeError("no reading")

    def close(self):
        raise RuntimeError("no closing")


class Moody:
    """A ledger and a sensor that fail at the moments that were drawn."""

    name = "moody"

    def __init__(self, moods):
        self._moods = iter(moods)

    def _maybe(self):
        error = next(self._moods, None)
        if error is not None:
            raise error

    def begin(self, **facts):
        self._maybe()
        return Attempt(facts["attempt_id"], "r", 1, "running", 1, None, None, None, {})

    def finish(self, *facts, **more):
        self._maybe()

    def channels(self):
        self._maybe()
        return Replay.steady(50.0).channels()

    def read(self, at_s):
        self._maybe()
        return (Reading(at_s, "replay:replay-0", 50.0),)

    def close(self):
        self._maybe()


errors = st.sampled_from([OSError("disk"), ValueError("value"), MemoryError(), RecursionError(), StopIteration()])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moods=st.lists(st.none() | errors, max_size=12))
def test_whatever_fails_inside_the_program_goes_on(make, moods):
    moody = Moody(moods)
    with make(sensors=[moody], ledger=moody, interval_s=0.01) as t:
        with t.phase("train"):
            t.tokens(1)
            time.sleep(0.01)
        t.footprint()
        reached = True

    assert reached
    assert t.footprint().duration_s.mid >= 0.01
    assert t.footprint().energy_j.high > 0


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def test_a_ledger_that_is_away_costs_the_program_nothing(make, home):
    with make(ledger=BrokenLedger()) as t:
        time.sleep(0.1)

    assert t.footprint().energy_j.mid > 0
    assert any("server away" in fault for fault in t.faults())
    assert [one.suffix for one in (home / "journals").iterdir()] == [".jsonl"]


def test_a_ledger_that_hangs_holds_the_program_up_for_so_long_only(make, monkeypatch):
    assert running.START_S < 2.0
    assert running.STOP_S < 5.0
    monkeypatch.setattr(running, "START_S", 0.2)
    monkeypatch.setattr(running, "STOP_S", 0.4)
    t = make(ledger=HangingLedger())
    began_s = time.monotonic()
    t.start()
    started_s = time.monotonic()
    t.stop()

    assert started_s - began_s < 1.5
    assert time.monotonic() - started_s < 2.0


def test_a_sensor_that_hangs_holds_nothing_up(make, attempts):
    began_s = time.monotonic()
    sensors = [Replay.steady(50.0), Replay.steady(50.0, [Fault("hang")], device="other", name="stuck")]
    with make(sensors=sensors, interval_s=0.2):
        time.sleep(0.4)
    sensors[1].close()

    assert time.monotonic() - began_s < 4.0
    (attempt,) = attempts()
    gaps_s = {one["device"]: one["gaps_s"] for one in attempt.document["energy"]["devices"]}
    assert gaps_s["replay-0"] == 0
    assert gaps_s["other"] > 0.4
    assert attempt.document["faults"]


@pytest.mark.parametrize("sensors", [[], [BrokenSensor()]], ids=["none", "broken"])
def test_where_nothing_is_read_the_energy_is_a_wide_guess_and_never_zero(make, attempts, sensors):
    with make(sensors=sensors) as t:
        time.sleep(0.1)

    energy_j = t.footprint().energy_j
    assert energy_j.basis == "assumed"
    assert 0 == energy_j.low < energy_j.mid < energy_j.high
    assert t.footprint().measured_share == 0
    assert [one.status for one in attempts()] == ["done"]


def test_a_home_that_cannot_be_is_a_fault_and_the_ledger_still_knows(make, attempts, tmp_path):
    (tmp_path / "file").touch()
    with make(home=tmp_path / "file" / "home") as t:
        time.sleep(0.1)

    assert [one.status for one in attempts()] == ["done"]
    assert any(fault.startswith("journal") for fault in t.faults())


def test_no_call_raises_whatever_it_is_given(make, attempts):
    with make() as t:
        t.tokens("many")
        t.tokens(-1)
        t.steps(None)
        t.note(Unprintable(), 1)
        t.note("x", Unprintable())
        cycle = []
        cycle.append(cycle)
        t.note("cycle", cycle)
        t.end_as(Unprintable())
        with t.phase(Unprintable()):
            pass

    assert [one.status for one in attempts()] == ["done"]
    assert len(t.faults()) >= 6


def test_each_kind_of_fault_is_logged_once(make, caplog):
    with make() as t:
        for _ in range(5):
            t.tokens(-1)

    assert caplog.text.count("a count only grows") == 1
    assert any("(5 ×)" in fault for fault in t.faults())


# Other processes.


def test_a_forked_child_records_nothing(make, attempts, home):
    with make() as t:
        pid = os.fork()
        if pid == 0:
            try:
                with t.phase("child"):
                    t.tokens(5)
                    t.note("child", 1)
                    t.footprint()
                    t.phases()
                t.stop("failed")
            finally:
                os._exit(0 if t._mine() is False else 1)
        assert os.waitpid(pid, 0)[1] == 0
        t.tokens(1)

    (attempt,) = attempts()
    assert (attempt.status, attempt.document["tokens"], attempt.document["notes"]) == ("done", 1, {})
    assert [phase["name"] for phase in attempt.document["phases"]] == [OTHER]
    assert len(list((home / "journals" / "done").iterdir())) == 1


SCRIPT = """
import os, sys, time
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.track import track
t = track("script", sensors=[Replay.steady(50.0)], interval_s=0.05).start()
{rest}
"""


def run_script(rest, home):
    environ = {**os.environ, "LOWCARB_HOME": str(home)}
    code = SCRIPT.format(rest=rest)
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("rest", "code", "status"),
    [
        ("time.sleep(0.1)", 0, "done"),
        ("raise ValueError('no')", 1, "failed"),
        ("if os.fork() == 0: sys.exit(0)\nos.wait()", 0, "done"),
    ],
    ids=["end", "exception", "fork"],
)
def test_a_script_that_just_ends_is_recorded_once(home, monkeypatch, rest, code, status):
    done = run_script(rest, home)
    monkeypatch.setenv("LOWCARB_HOME", str(home))
    ledger = open_ledger()
    attempts = [one for run in ledger.runs() for one in ledger.attempts(run.id)]

    assert done.returncode == code, done.stderr
    assert [one.status for one in attempts] == [status]
    assert attempts[0].energy_j > 0
    assert "Exception ignored" not in done.stderr


def test_importing_the_tracker_loads_nothing_heavy():
    code = (
        "import sys, lowcarb.tracker; print([m for m in ('torch', 'numpy', 'sqlalchemy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
