"""What the tests of the promises share: programs under the meter in processes of their own, and what is left of them.

Each test attacks from outside, as a machine, a user or a disk does: it starts a program, does something to it, and
looks at its exit code, what it said, and what the ledger then knows.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lowcarb.ledger import open_ledger
from lowcarb.tracker.recover import recover

LOWCARB = Path(sys.executable).with_name("lowcarb")
PATIENCE_S = 60.0
"""Longer than anything takes on a busy machine: who waits so long waits for ever."""
FACTS_OF_A_JOB = (
    "LOWCARB_LEADER", "LOWCARB_HOOK", "LOWCARB_ATTEMPT", "LOWCARB_SYSFS_ROOT", "LOCAL_RANK", "LOCAL_WORLD_SIZE",
    "CUDA_VISIBLE_DEVICES",
)  # fmt: skip

OPENING = """
import os, signal, sys, threading, time
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.track import track

STEADY = dict(sensors=[Replay.steady(50.0)], interval_s=0.1)

def ready(word="ready"):
    os.write(1, (word + "\\n").encode())
"""
"""What each program begins with: a sensor that shows 50 W, and a way to say how far it is."""


def load_rig():
    """The simulated hardware of tests/rig."""
    if "rig" not in sys.modules:
        spec = importlib.util.spec_from_file_location("rig", Path(__file__).parents[1] / "rig" / "rig.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["rig"] = module
        spec.loader.exec_module(module)
    return sys.modules["rig"]


@pytest.fixture(scope="session")
def rig():
    return load_rig()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def environ(home):
    """The environment of the programs: a home of their own, and no job that they belong to."""
    inherited = {name: value for name, value in os.environ.items() if name not in FACTS_OF_A_JOB}
    return {**inherited, "LOWCARB_HOME": str(home)}


@pytest.fixture
def start(environ):
    """Starts a Python program in a session of its own; what is left of it is killed at the end of the test."""
    programs = []

    def start(code, *words, argv=None, env=None, **how):
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **how}
        program = subprocess.Popen(
            argv or [sys.executable, "-c", OPENING + code, *map(str, words)],
            env={**environ, **(env or {})}, text=True, start_new_session=True, **how,
        )  # fmt: skip
        programs.append(program)
        return program

    yield start
    for program in programs:
        with suppress(OSError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait(PATIENCE_S)
        for stream in (program.stdin, program.stdout, program.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


@pytest.fixture
def run(start):
    """Runs a Python program to its end: exit code, stdout, stderr."""

    def run(code, *words, **how):
        program = start(code, *words, **how)
        out, error = program.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(program.args, program.returncode, out, error)

    return run


@pytest.fixture
def lowcarb(environ):
    """Runs the command line."""

    def lowcarb(*words, env=None, **how):
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True, **how}
        return subprocess.run([LOWCARB, *words], env={**environ, **(env or {})}, timeout=PATIENCE_S, **how)

    return lowcarb


@pytest.fixture
def attempts(home):
    """What the home's ledger knows once the journals are taken in, oldest first."""

    def attempts(where=None):
        place = where or home
        ledger = open_ledger(place / "ledger.db")
        try:
            recover(place, ledger)
            found = [one for run in ledger.runs(limit=10_000) for one in ledger.attempts(run.id)]
        finally:
            ledger.close()
        return sorted(found, key=lambda one: one.started_ns)

    return attempts


@pytest.fixture
def until():
    """Waits until something is so."""

    def until(fact, what="it never came"):
        deadline_s = time.monotonic() + PATIENCE_S
        while not fact():
            assert time.monotonic() < deadline_s, what
            time.sleep(0.01)

    return until


@pytest.fixture
def hear():
    """Waits until a program says a word."""

    def hear(program, word="ready"):
        said = program.stdout.readline().strip()
        assert said == word, (said, program.stderr.read())

    return hear


@pytest.fixture
def end():
    """Sends a program signals, waits for its end, and gives its return code."""

    def end(program, *sent):
        for number in sent:
            with suppress(ProcessLookupError):
                os.kill(program.pid, number)
        return program.wait(PATIENCE_S)

    return end
