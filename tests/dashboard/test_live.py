"""Runs at work: a real one under the meter, seen through its journal, and what becomes of it when it is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from starlette.testclient import TestClient

from lowcarb.catalogue import Catalogue
from lowcarb.dashboard.app import make_app
from lowcarb.dashboard.guard import Access
from lowcarb.dashboard.live import LiveRuns
from lowcarb.dashboard.setup import Setup
from lowcarb.ledger import home
from lowcarb.tracker.recover import open_ledger

PATIENCE_S = 60.0


def wait_for(ask):
    """What a question gives as soon as it gives something."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        found = ask()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {PATIENCE_S} s")


@pytest.fixture
def looking(monkeypatch):
    """A dashboard over this test's own home, as `lowcarb serve` makes it."""
    monkeypatch.setattr("lowcarb.dashboard.live.TAKE_IN_S", 0.1)
    monkeypatch.setattr("lowcarb.dashboard.live.REFRESH_S", 0.1)
    ledger = open_ledger(None)
    live = LiveRuns(home(), ledger, lambda: open_ledger(None).close())
    yield TestClient(
        make_app(Setup(ledger, Catalogue.load(), live, Access("127.0.0.1", 8765))), base_url="http://127.0.0.1:8765"
    )
    ledger.close()


COMMAND = ("-m", "lowcarb", "track", "--name", "<i>at work", "--interval", "0.2", "--no-hook", "--", "sleep", "600")
LOWCARB_TRACK = (sys.executable, "-m", "lowcarb", "track", "--name", "budgeted")
TRAINING = """
import time, lowcarb
with lowcarb.track("training", interval_s=0.2) as run:
    run.note("budget", {"what": "energy", "limit": 2e6, "unit": "kJ"})
    run.note("max_steps", 400)
    while True:
        run.steps(1)
        time.sleep(0.1)
"""


@pytest.fixture
def tracked(request):
    """A command under the meter, that would take longer than any test."""
    process = subprocess.Popen(
        [sys.executable, *getattr(request, "param", COMMAND)],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_run_at_work_is_seen_and_a_killed_one_is_interrupted(looking, tracked):
    def metered():
        found = looking.get("/api/v1/live").json()["live"]
        return found and found[0]["power_w"] and found[0]["power"] and found[0]

    one = wait_for(metered)

    assert one["power_w"] > 0
    assert 0 < one["footprint"]["energy_j"]["low"] < one["footprint"]["energy_j"]["high"]
    assert all(watts is None or watts > 0 for trace in one["power"] for watts in trace["power_w"])
    assert "&lt;i&gt;at work" in looking.get("/").text
    words = looking.get("/live.json").json()["live"][0]
    assert words["power"].endswith("W")
    assert "J (" in words["energy_interval"]
    page = looking.get(f"/runs/{one['run']}").text
    assert "At work now" in page
    assert "Power over time" in page
    before_j = one["footprint"]["energy_j"]["mid"]
    wait_for(lambda: metered()["footprint"]["energy_j"]["mid"] > before_j)

    tracked.kill()
    tracked.wait()

    def ended():
        row = looking.get("/api/v1/runs").json()["runs"][0]
        return row["status"] != "running" and row

    row = wait_for(ended)
    assert row["status"] == "interrupted"
    assert row["energy_j"] >= before_j
    assert looking.get("/live.json").json()["live"] == []
    assert 'status interrupted">' in looking.get("/").text


STEPS = """
import time, lowcarb
with lowcarb.track("inside", joins=True) as run:
    for step in range(100_000):
        time.sleep(0.02)
        run.progress((step + 1) / 100_000)
"""


@pytest.fixture
def forecast(tmp_path):
    path = tmp_path / "forecast.json"
    one = {"low": 1.0, "mid": 2e6, "high": 3e6, "basis": "modelled"}
    figures = {"energy_j": one, "operational_g": one, "duration_s": one, "embodied_g": None, "water_l": None}
    facts = {"cost": None, "measured_share": 0.0, "scope": "all", "method": "a guess", "sources": []}
    path.write_text(json.dumps(figures | facts), encoding="utf-8")
    return str(path)


def test_a_command_with_a_budget_and_a_forecast_is_told_with_both(looking, forecast):
    options = ("--budget", "1 MJ", "--forecast", forecast, "--interval", "0.1")
    command = (*LOWCARB_TRACK, *options, "--", sys.executable, "-c", STEPS)
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: (found := looking.get("/api/v1/live").json()["live"]) and found[0]["outlook_energy_j"])
        (one,) = looking.get("/api/v1/live").json()["live"]
        words = looking.get("/live.json").json()["live"][0]
        pages = [looking.get(path).text for path in ("/", f"/runs/{one['run']}")]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    assert one["budget"] == {"what": "energy", "limit": 1e6, "unit": "MJ", "spent": one["budget"]["spent"]}
    assert one["budget"]["spent"] == pytest.approx(one["footprint"]["energy_j"]["mid"])
    assert one["footprint"]["energy_j"]["mid"] < one["outlook_energy_j"]["mid"]
    assert one["ends_within_s"][0] <= 0.0 <= one["ends_within_s"][1]
    assert 0.0 < one["progress"] < 1.0
    assert one["forecast"]["energy_j"]["mid"] == 2e6
    assert "in all" in words["budget_end"]
    for page in pages:
        assert "Budget of 1 MJ" in page
        assert "Forecast before it began" in page
        assert "Energy in all" in page


@pytest.mark.parametrize("tracked", [("-c", TRAINING)], indirect=True)
def test_a_training_is_told_with_its_budget_and_its_end(looking, tracked):
    def stepping():
        found = looking.get("/api/v1/live").json()["live"]
        return found and found[0]["progress"] and found[0]["budget"] and found[0]

    one = wait_for(stepping)

    assert one["progress"] == pytest.approx(one["steps"] / 400)
    whole_s = (one["ends_ns"] - one["started_ns"]) * 1e-9
    assert whole_s == pytest.approx(one["elapsed_s"] / one["progress"], rel=0.01)
    assert one["budget"]["spent"] == pytest.approx(one["footprint"]["energy_j"]["mid"])
    page = looking.get("/").text
    assert "Budget of 2000 kJ" in page
    assert "data-progress" in page
    assert tracked.poll() is None
