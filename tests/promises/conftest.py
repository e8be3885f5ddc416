"""What the tests of the promises share: real programs under the meter, on machines that are simulated.

The promises are numbered 1 to 13. A program runs as a user's does, in a process of its own, and what is asked
afterwards is the ledger. Programs that only wait run side by side: see `Bench.start`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_spec = importlib.util.spec_from_file_location("rig", Path(__file__).parents[1] / "rig" / "rig.py")
rig = importlib.util.module_from_spec(_spec)
sys.modules["rig"] = rig
_spec.loader.exec_module(rig)

LOWCARB = Path(sys.executable).with_name("lowcarb")
DEADLINE_S = 30.0
"""No program here works for longer."""
OVERRIDES = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of linux/capability.h: what lets root read and write what it may not."""
PR_CAPBSET_DROP = 24

PROLOGUE = """
import os, signal, sys, threading, time
import lowcarb
from lowcarb.sensors.replay import Replay
def says(*words):
    print(*words, flush=True)
"""


def bound_by_modes() -> None:
    """Have the permissions of files hold also for root, from the next `exec` on: for `preexec_fn`."""
    if os.getuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in OVERRIDES:
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@dataclass
class Ended:
    """A program that ended."""

    code: int
    out: str
    err: str
    home: Path

    def rows(self) -> list[dict[str, Any]]:
        """Its home's attempts with their documents, oldest first."""
        return rows_of(self.home)

    def row(self) -> dict[str, Any]:
        """The only one."""
        (row,) = self.rows()
        return row


@dataclass
class Program:
    """A program at work."""

    child: subprocess.Popen[str]
    home: Path

    @property
    def pid(self) -> int:
        return self.child.pid

    def until(self, word: str) -> str:
        """Wait until it says a line that begins so; that line."""
        while line := self.child.stdout.readline():
            if line.startswith(word):
                return line.strip()
        raise AssertionError(f"ended without a word of {word!r}: {self.child.communicate()[1]}")

    def kill(self, number: int) -> None:
        os.kill(self.child.pid, number)

    def end(self) -> Ended:
        """Wait for its end."""
        out, err = self.child.communicate(timeout=DEADLINE_S)
        return Ended(self.child.returncode, out, err, self.home)


class Bench:
    """Starts programs, each in a home of its own unless told otherwise, on a machine without counters and GPUs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        self._bare = rig.SimulatedSysfs(folder / "bare")
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self,
        program: str | None = None,
        *,
        argv: list[str | Path] | None = None,
        home: Path | None = None,
        env: dict[str, str] | None = None,
        without: tuple[str, ...] = (),
        preexec: Callable[[], None] | None = None,
        **more: Any,
    ) -> Program:
        """Start Python on some lines, after a prologue that imports what they need; or start any command."""
        home = home or self.home()
        environ = {name: text for name, text in os.environ.items() if not name.startswith("LOWCARB_")}
        environ |= {"LOWCARB_HOME": str(home), **self._bare.env, **(env or {})}
        for name in without:
            environ.pop(name, None)
        argv = argv or [sys.executable, "-c", PROLOGUE + (program or "")]
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **more}
        child = subprocess.Popen(argv, env=environ, text=True, preexec_fn=preexec, **settings)
        self._started.append(child)
        return Program(child, home)

    def run(self, program: str | None = None, **more: Any) -> Ended:
        """Start it and wait for its end."""
        return self.start(program, **more).end()

    def lowcarb(self, *arguments: str | Path, **more: Any) -> Ended:
        """The command line."""
        return self.run(argv=[LOWCARB, *arguments], **more)

    def home(self) -> Path:
        self._count += 1
        return self.folder / f"home-{self._count}"

    def tree(self, *zones: Any) -> Any:
        """A powercap tree; see the rig."""
        self._count += 1
        return rig.SimulatedSysfs(self.folder / f"sys-{self._count}", zones)

    def nvml(self, *gpus: Any) -> Any:
        """An NVML library; see the rig."""
        self._count += 1
        try:
            return rig.SimulatedNvml(self.folder / f"nvml-{self._count}", gpus)
        except rig.RigUnavailable as error:
            pytest.skip(str(error))

    def clear(self) -> None:
        for child in self._started:
            if child.poll() is None:
                child.kill()
                child.communicate()
            for pipe in (child.stdout, child.stderr, child.stdin):
                if pipe is not None:
                    pipe.close()


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.clear()


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory):
    """For programs that are started all at once and looked at one by one."""
    made = Bench(tmp_path_factory.mktemp("bench"))
    yield made
    made.clear()


def rows_of(home: Path) -> list[dict[str, Any]]:
    """All attempts of a home's ledger with their documents, oldest first, as `lowcarb ledger` would take them in."""
    from lowcarb.tracker.recover import open_ledger

    before = os.environ.get("LOWCARB_HOME")
    os.environ["LOWCARB_HOME"] = str(home)
    try:
        ledger = open_ledger()
        found = [
            {"name": run.name, "key": run.key, "run": run.id, "id": one.id, "status": one.status,
             "started_ns": one.started_ns, "ended_ns": one.ended_ns, "energy_j": one.energy_j, **one.document}
            for run in ledger.runs(limit=10_000)
            for one in ledger.attempts(run.id)
        ]  # fmt: skip
        ledger.close()
    finally:
        if before is None:
            del os.environ["LOWCARB_HOME"]
        else:
            os.environ["LOWCARB_HOME"] = before
    return sorted(found, key=lambda row: row["started_ns"])


def listed(bench: Bench, home: Path) -> dict[str, Any]:
    """What `lowcarb ledger list --json` says."""
    done = bench.lowcarb("ledger", "list", "--json", "--limit", "10000", home=home)
    assert done.code == 0, done.err
    return json.loads(done.out)


def until(holds: Callable[[], object], wait_s: float = 6.0) -> None:
    """Wait until something holds."""
    end_s = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < end_s, "did not come about in time"
        time.sleep(0.005)
