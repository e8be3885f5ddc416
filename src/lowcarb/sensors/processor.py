"""Which processor this machine has, how much of it this process may use, and the rated power of that share."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lowcarb.catalogue.records import Cpu, CpuFamily
from lowcarb.core.cpu_power import ratio_of_product
from lowcarb.core.estimate import Estimate
from lowcarb.core.units import GIGA, KILO, MEGA

THREADS_PER_CORE = 2.0
"""Logical processors of a core that runs more than one: of every server processor by Intel and AMD that does."""


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
    """The file that counts the time used under this limit: `cpu.stat`, or `cpuacct.usage` of version 1."""


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
    clock_hz: float | None = None
    """Base clock [Hz]; None where the machine does not tell it."""

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
    text = _read(proc_root / "cpuinfo")
    cpuinfo = _fields(text)
    threads = os.cpu_count() or 1
    name = cpuinfo.get("model name") or platform.processor() or platform.machine()
    virtual = "hypervisor" in cpuinfo.get("flags", "").split()
    siblings, cores = _integer(cpuinfo, "siblings"), _integer(cpuinfo, "cpu cores")
    return Processor(
        name=name,
        vendor=cpuinfo.get("vendor_id", ""),
        family=_integer(cpuinfo, "cpu family"),
        model=_integer(cpuinfo, "model"),
        sockets=max(1, len({line for line in text.splitlines() if line.startswith("physical id")})),
        threads=threads,
        split_cores=siblings is not None and cores is not None and siblings > cores,
        allowed=_allowed(threads),
        quota=_quota(proc_root, sysfs_root),
        memory_bytes=_memory_bytes(proc_root, sysfs_root),
        virtual=virtual,
        clock_hz=_clock_hz(name, cpuinfo.get("cpu MHz", "") if virtual else "", sysfs_root),
    )


def rated_w(processor: Processor, catalogue: CpuCatalogue) -> Estimate:
    """Rated power [W] of the share of the processors that this process may use.

    On bare metal TDP × sockets; on a virtual machine a logical processor's part of the TDP, times their number. Clouds
    rent logical processors. Where it is not seen that two share a core, each may be a whole one, and then the share is
    up to twice as much. For a processor known by its family only, that has nothing to do with how fast a part it is:
    their ratios are combined as `ratio_of_product` does.
    """
    known = catalogue.cpu(processor.name)
    usable = processor.usable_threads
    if known is not None and not processor.virtual:
        return Estimate.exact(known.tdp_w * processor.sockets * usable / processor.threads, known.basis)
    if known is not None and known.threads is not None:
        mid_w = known.tdp_w / known.threads * usable
        whole_cores = 1.0 if processor.split_cores else _threads_per_core(known)
        return Estimate(mid_w, mid_w, mid_w * whole_cores, known.basis)
    family = catalogue.cpu_family(processor.vendor, processor.family, processor.model)
    per_thread = family.tdp_w_per_thread
    # The family's upper end is a whole core of a fast part.
    fast_part = max(1.0, per_thread.high / THREADS_PER_CORE / per_thread.mid)
    high_ratio = fast_part if processor.split_cores else ratio_of_product(fast_part, THREADS_PER_CORE)
    high_w = min(per_thread.high, per_thread.mid * high_ratio)
    return Estimate(per_thread.low, per_thread.mid, high_w, per_thread.basis).scale(usable)


def usable_cores(processor: Processor, catalogue: CpuCatalogue) -> float:
    """Physical cores of the share that this process may use, as `rated_w` takes them at mid."""
    if processor.split_cores:
        return processor.usable_threads / THREADS_PER_CORE
    if not processor.virtual:
        return processor.usable_threads
    known = catalogue.cpu(processor.name)
    return processor.usable_threads / (THREADS_PER_CORE if known is None else _threads_per_core(known))


def clock_hz(processor: Processor, catalogue: CpuCatalogue) -> float | None:
    """Base clock [Hz]: as the machine tells it, else as the catalogue knows it."""
    known = catalogue.cpu(processor.name)
    return processor.clock_hz or (None if known is None else known.clock_hz)


def _threads_per_core(known: Cpu) -> float:
    return THREADS_PER_CORE if known.threads is None or known.cores is None else known.threads / known.cores


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _fields(cpuinfo: str) -> dict[str, str]:
    """The first value of each name: that of the first logical processor, or of what stands alone."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def _integer(cpuinfo: Mapping[str, str], name: str) -> int | None:
    text = cpuinfo.get(name, "")
    return int(text) if text.isdecimal() else None


def _allowed(threads: int) -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(threads))


def _clock_hz(name: str, virtual_mhz: str, sysfs_root: Path) -> float | None:
    """Base clock: as in the name of many Intel processors, as the kernel tells it, as a hypervisor shows it.

    On bare metal `cpu MHz` is the clock at the moment, and tells nothing.
    """
    in_name, unit, _ = name.partition("@")[2].partition("GHz")
    folder = sysfs_root / "devices" / "system" / "cpu" / "cpu0"
    told = (
        (in_name if unit else "", GIGA),
        (_read(folder / "cpufreq" / "base_frequency"), KILO),
        (_read(folder / "acpi_cppc" / "nominal_freq"), MEGA),
        (virtual_mhz, MEGA),
    )
    clocks = [float(text) * unit for text, unit in told if text.strip().replace(".", "", 1).isdecimal()]
    return next((clock_hz for clock_hz in clocks if clock_hz > 0.0), None)


def _groups(controller: str, proc_root: Path, sysfs_root: Path) -> list[Path]:
    """Folders of this process's control group and those above it, the nearest first.

    A controller of version 1 is mounted in a folder of its own or together with others. Version 2, which is the
    controller "", is mounted at the top, or in `unified` beside version 1.
    """
    mounts = sysfs_root / "fs" / "cgroup"
    names, path = controller, ""
    for line in _read(proc_root / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        named, _, told = rest.partition(":")
        if controller in named.split(",") and told.startswith("/"):
            names, path = named, told[1:]
            break
    if controller:
        top = next((folder for folder in (mounts / controller, mounts / names) if folder.is_dir()), mounts / controller)
    else:
        top = mounts / "unified" if (mounts / "unified").is_dir() else mounts
    # A group outside of this process's namespace shows as a path with dots, which leads nowhere from here.
    nearest = top if ".." in path else top / path
    return [folder for folder in (nearest, *nearest.parents) if folder.is_relative_to(top)]


def _quota(proc_root: Path, sysfs_root: Path) -> Quota | None:
    """The tightest limit on processor time."""
    quotas = [*_quotas_of_version_2(proc_root, sysfs_root), *_quotas_of_version_1(proc_root, sysfs_root)]
    return min(quotas, key=lambda quota: quota.cpus, default=None)


def _quotas_of_version_2(proc_root: Path, sysfs_root: Path) -> Iterator[Quota]:
    for folder in _groups("", proc_root, sysfs_root):
        quota_us, _, period_us = _read(folder / "cpu.max").strip().partition(" ")
        if (cpus := _cpus(quota_us, period_us)) is not None:
            yield Quota(cpus, folder / "cpu.stat")


def _quotas_of_version_1(proc_root: Path, sysfs_root: Path) -> Iterator[Quota]:
    folders = _groups("cpu", proc_root, sysfs_root)
    top_of_counters = _groups("cpuacct", proc_root, sysfs_root)[-1]
    for folder in folders:
        cpus = _cpus(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))
        # The time used is counted by another controller: in the same folder where both are mounted together.
        beside = top_of_counters / folder.relative_to(folders[-1])
        usages = [path / "cpuacct.usage" for path in (folder, beside) if (path / "cpuacct.usage").is_file()]
        if cpus is not None and usages:
            yield Quota(cpus, usages[0])


def _cpus(quota_us: str, period_us: str) -> float | None:
    """Logical processors' worth of a limit; None without one, which is written `max`, or -1 in version 1."""
    quota_us, period_us = quota_us.strip(), period_us.strip()
    if not (quota_us.isdecimal() and period_us.isdecimal() and int(quota_us) > 0 and int(period_us) > 0):
        return None
    return int(quota_us) / int(period_us)


def _memory_bytes(proc_root: Path, sysfs_root: Path) -> float:
    """Memory of the machine or the tightest limit; no limit is `max`, in version 1 more than any machine has."""
    texts = [_read(folder / "memory.max") for folder in _groups("", proc_root, sysfs_root)]
    texts += [_read(folder / "memory.limit_in_bytes") for folder in _groups("memory", proc_root, sysfs_root)]
    limits = [float(text) for text in map(str.strip, texts) if text.isdecimal()]
    return min([float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")), *limits])
