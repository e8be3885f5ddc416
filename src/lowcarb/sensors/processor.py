"""Which processor this machine has, how much of it this process may use, and the rated power of that share."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from lowcarb.catalogue.records import Cpu, CpuFamily
from lowcarb.core.estimate import Estimate


class CpuCatalogue(Protocol):
    """What this package asks of a catalogue about processors."""

    def cpu(self, name: str) -> Cpu | None:
        """The processor with this model name, or None."""
        ...

    def cpu_family(self, vendor: str, family: int | None, model: int | None) -> CpuFamily:
        """The generation with these CPUID numbers; the wider what is not known of them, the wider its figures."""
        ...


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit on processor time that a control group sets."""

    cpus: float
    """Logical processors' worth of time."""
    usage: Path
    """The file that counts the time used under this limit."""


@dataclass(frozen=True, slots=True)
class Processor:
    """The processors of this machine and the share of them that this process may use."""

    name: str
    vendor: str
    family: int | None
    model: int | None
    sockets: int
    threads: int
    """Logical processors of the machine."""
    split_cores: bool
    """Whether it is seen that two logical processors share a core."""
    allowed: frozenset[int]
    """Logical processors that this process may run on; a set smaller than `threads` is a share."""
    quota: Quota | None
    memory_bytes: float
    """Memory that this process may use: of the machine, or what its control group leaves it."""
    virtual: bool
    """Whether a hypervisor runs this machine."""

    @property
    def usable_threads(self) -> float:
        """Logical processors' worth of time that this process may use."""
        pinned = float(min(len(self.allowed), self.threads))
        return pinned if self.quota is None else min(pinned, self.quota.cpus)


def read_processor(proc_root: Path, sysfs_root: Path) -> Processor:
    """Look at this machine.

    Args:
        proc_root: where procfs is mounted, `/proc` on a real machine.
        sysfs_root: where sysfs is mounted, `/sys` on a real machine.
    """
    cpuinfo = _read(proc_root / "cpuinfo")
    threads = psutil.cpu_count() or 1
    folders = _control_groups(proc_root, sysfs_root)
    siblings, cores = _integer(cpuinfo, "siblings"), _integer(cpuinfo, "cpu cores")
    return Processor(
        name=_field(cpuinfo, "model name") or platform.processor() or platform.machine(),
        vendor=_field(cpuinfo, "vendor_id"),
        family=_integer(cpuinfo, "cpu family"),
        model=_integer(cpuinfo, "model"),
        sockets=max(1, len(set(re.findall(r"^physical id\s*:\s*(\d+)", cpuinfo, re.MULTILINE)))),
        threads=threads,
        split_cores=siblings is not None and cores is not None and siblings > cores,
        allowed=_allowed(threads),
        quota=_quota(folders),
        memory_bytes=_memory_bytes(folders),
        virtual="hypervisor" in _field(cpuinfo, "flags").split(),
    )


def rated_w(processor: Processor, catalogue: CpuCatalogue) -> Estimate:
    """Rated power [W] of the share of the processors that this process may use.

    On bare metal TDP × sockets; on a virtual machine a logical processor's part of the TDP, times their number. A
    virtual machine that shows no core shared by two may hold whole cores, and then up to twice as much.
    """
    known = catalogue.cpu(processor.name)
    usable = processor.usable_threads
    if known is not None and not processor.virtual:
        return Estimate.exact(known.tdp_w * processor.sockets * usable / processor.threads, known.basis)
    if known is not None and known.threads is not None:
        mid_w = known.tdp_w / known.threads * usable
        threads_per_core = 1.0 if processor.split_cores or known.cores is None else known.threads / known.cores
        return Estimate(mid_w, mid_w, mid_w * threads_per_core, known.basis)
    family = catalogue.cpu_family(processor.vendor, processor.family, processor.model)
    return family.tdp_w_per_thread.scale(usable)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(cpuinfo: str, name: str) -> str:
    match = re.search(rf"^{name}\s*:[ \t]*(.*)$", cpuinfo, re.MULTILINE)
    return match.group(1).strip() if match else ""


def _integer(cpuinfo: str, name: str) -> int | None:
    text = _field(cpuinfo, name)
    return int(text) if text.isdecimal() else None


def _allowed(threads: int) -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(threads))


def _control_groups(proc_root: Path, sysfs_root: Path) -> list[Path]:
    """Folders of this process's control group (version 2) and those above it, the nearest first."""
    top = sysfs_root / "fs" / "cgroup"
    match = re.search(r"^0::/(.*)$", _read(proc_root / "self" / "cgroup"), re.MULTILINE)
    # A group outside of this process's namespace shows as a path with dots, which leads nowhere from here.
    nearest = top / match.group(1) if match and ".." not in match.group(1) else top
    return [folder for folder in (nearest, *nearest.parents) if folder.is_relative_to(top)]


def _quota(folders: list[Path]) -> Quota | None:
    """The tightest limit on processor time."""
    quotas = []
    for folder in folders:
        match = re.match(r"(\d+) (\d+)", _read(folder / "cpu.max"))
        if match and int(match.group(1)) > 0 and int(match.group(2)) > 0:
            quotas.append(Quota(int(match.group(1)) / int(match.group(2)), folder / "cpu.stat"))
    return min(quotas, key=lambda quota: quota.cpus, default=None)


def _memory_bytes(folders: list[Path]) -> float:
    limits = [float(text) for folder in folders if (text := _read(folder / "memory.max").strip()).isdecimal()]
    return min([float(psutil.virtual_memory().total), *limits])
