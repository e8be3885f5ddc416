"""How a training ends whose framework does not say so, and how processes agree to stop."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import timedelta
from threading import Thread

import pytest

from lowcarb.integrations.agreement import ALL, ALONE, _outcome
from lowcarb.integrations.training import run_key
from lowcarb.tracker.recover import open_ledger

BEGIN = """
import gc, sys
from pathlib import Path
from lowcarb.integrations.training import Training
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.track import track

class Owner:
    def __init__(self):
        tracker = track("work", sensors=[Replay.steady(50.0)], joins=True)
        self.training = Training(tracker, self)
        self.training.begin("train")

owner = Owner()
"""


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        ("raise MemoryError", "out_of_memory"),
        ("raise KeyboardInterrupt", "interrupted"),
        ("try:\n    raise MemoryError\nexcept MemoryError:\n    pass", "failed"),
        ("del owner; gc.collect()", "failed"),
        ("owner.training.end('done')", "done"),
    ],
)
def test_a_training_that_nobody_ends(rest, status):
    program = textwrap.dedent(BEGIN) + rest

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert "lowcarb" not in done.stderr
    ledger = open_ledger()
    (attempt,) = ledger.attempts(ledger.runs()[0].id)
    ledger.close()
    assert status == attempt.status


def test_what_makes_attempts_one_run(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    assert run_key("a", "chosen", "saved") == "chosen"
    assert run_key("a", None, "saved") == "saved"
    assert run_key("a", None, None) != run_key("a", None, None)


def test_a_job_that_torchrun_starts_anew_is_the_same_run(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job-7")
    first = run_key("fresh name", None, None)
    monkeypatch.setattr("lowcarb.integrations.training._begun", {})

    assert first == run_key("fresh name", None, None)
    assert first != run_key("fresh name", None, None)


@pytest.mark.parametrize(("here", "outcome"), [(3, ALL), (2, ALONE)])
def test_all_processes_come_to_one_conclusion(here, outcome):
    dist = pytest.importorskip("torch.distributed")
    store, concluded = dist.HashStore(), []
    store.set_timeout(timedelta(seconds=5))

    def conclude(number):
        concluded.append(_outcome(store, "x", last=number == 3, tired_s=0.2 if here < 3 else 5.0))

    threads = [Thread(target=conclude, args=(number,)) for number in range(1, here + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if here < 3:
        conclude(3)  # too late

    assert [outcome] * 3 == concluded
