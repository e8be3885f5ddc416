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
    return Process(pid, started(pid), boot_id(), socket.gethostname(), _namespace())


def is_alive(process: Process) -> bool | None:
    """Whether the process is still at work; None where that cannot be told from here: another host or container."""
    if process.host != socket.gethostname():
        return None
    if process.boot != boot_id():
        return False
    if process.namespace != _namespace():
        return None
    present = started(process.pid)
    if present is None or process.started is None:
        return present is not None
    return abs(present - process.started) <= SAME_START_S


def cpu_s() -> float:
    """Processor time of this process and of its children that have ended [s]."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def tree_cpu_s(pid: int) -> float:
    """Processor time of a process, its children at work and those that have ended [s]; 0 where none can be seen."""
    total_ticks, todo = 0, [pid]
    while todo:
        one = todo.pop()
        fields = _stat(one)
        if fields:
            total_ticks += sum(int(ticks) for ticks in fields[11:15])
            todo += _children(one)
    return total_ticks / os.sysconf("SC_CLK_TCK")


def own_tree_cpu_s() -> float:
    """The same of this process."""
    return tree_cpu_s(os.getpid())


def descendants(pid: int) -> list[int]:
    """Children of a process and theirs, the nearest first."""
    found, place = _children(pid), 0
    while place < len(found):
        found += _children(found[place])
        place += 1
    return found


def slept_s() -> float:
    """Time that the machine was suspended since boot [s]; 0 where nobody counts it."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if boottime is None else time.clock_gettime(boottime) - time.monotonic()


def started(pid: int) -> float | None:
    """When a process started, in ticks after boot or seconds elsewhere; None where there is none, or its remains."""
    fields = _stat(pid)
    if fields:
        return None if fields[0] in "ZXx" else float(fields[19])
    return None if (_PROC / "self").exists() else _started_elsewhere(pid)


def boot_id() -> str | None:
    """Id of this boot of the machine, the same for all its containers; None where there is none."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _stat(pid: int) -> list[str]:
    """The fields of a process's state by proc_pid_stat(5), from the third on; none where it cannot be seen."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name of the program stands in parentheses and may hold spaces and parentheses itself.
    return stat.rpartition(")")[2].split()


def _children(pid: int) -> list[int]:
    try:
        tasks = list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []
    found = []
    for task in tasks:
        try:
            found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
        except OSError:
            continue
    return found


def _started_elsewhere(pid: int) -> float | None:
    import psutil  # noqa: PLC0415  # on Linux it is not needed

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def _namespace() -> str | None:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return None
