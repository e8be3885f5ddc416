"""Which process is at work on an attempt, and whether it still is."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

SAME_START_S = 1.0
"""Start times closer than this are the same: they are told in ticks, or by a clock that is being set."""
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process such that no other one, before or after it, here or elsewhere, is taken for it."""

    pid: int
    started: float | None
    """When it started, in ticks [1/s] after boot on Linux and in seconds elsewhere: to be compared only."""
    boot: str | None
    """Id of the machine's boot."""
    host: str
    namespace: str | None
    """What the process number counts in: a container has numbers of its own."""

    def as_dict(self) -> dict[str, object]:
        """The JSON form, by field name."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Process:
        """The process whose JSON form this is."""
        started = document["started"]
        return cls(
            int(document["pid"]),
            None if started is None else float(started),
            document["boot"],
            document["host"],
            document["namespace"],
        )


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    return Process(pid, _started(pid), _boot(), socket.gethostname(), _namespace())


def is_alive(process: Process) -> bool | None:
    """Whether the process is still at work; None where that cannot be told from here: another host or container."""
    if process.host != socket.gethostname():
        return None
    if process.boot != _boot():
        return False
    if process.namespace != _namespace():
        return None
    started = _started(process.pid)
    if started is None or process.started is None:
        return started is not None
    return abs(started - process.started) <= SAME_START_S


def cpu_s() -> float:
    """Processor time of this process and of its children that have ended [s]."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def slept_s() -> float:
    """Time that the machine was suspended since boot [s]; 0 where nobody counts it."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if boottime is None else time.clock_gettime(boottime) - time.monotonic()


def _started(pid: int) -> float | None:
    """When a process started; None where there is none, or only its remains."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None if (_PROC / "self").exists() else _started_elsewhere(pid)
    except OSError:
        return None
    # The name of the program stands in parentheses and may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZXx" else float(fields[19])


def _started_elsewhere(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def _boot() -> str | None:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _namespace() -> str | None:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return None
