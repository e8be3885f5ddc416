"""What the integrations' tests share: settings of a tracker on a steady sensor, and what its ledger holds."""

from __future__ import annotations

import pytest

from lowcarb.core.hardware import Machine
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.sensors.replay import Replay

STEADY_W = 50.0


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """No tracker leads these tests, whoever runs them."""
    for name in ("LOWCARB_LEADER", "LOWCARB_HOOK", "LOWCARB_ATTEMPT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def settings(ledger, tmp_path):
    """A tracker's settings: a sensor that reads 50 W every 50 ms, and a ledger in memory."""
    return {
        "machine": Machine("m1", "a test", (), 4, 8e9), "site": "fra", "ledger": ledger, "home": tmp_path / "home",
        "interval_s": 0.05, "sensors": [Replay.steady(STEADY_W)],
    }  # fmt: skip


@pytest.fixture
def attempts(ledger):
    """All attempts of the ledger, oldest first."""
    return lambda: sorted(
        (one for run in ledger.runs() for one in ledger.attempts(run.id)), key=lambda one: one.started_ns
    )


@pytest.fixture
def phases():
    """Names of an attempt's phases, in the order in which they were first opened, with how often."""
    return lambda attempt: {phase["name"]: phase["blocks"] for phase in attempt.document["phases"]}
