"""Processor and memory energy where no counter can be read: modelled from load, rated power and installed bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic

from lowcarb.core import cpu_power
from lowcarb.core.energy import Channel, Reading
from lowcarb.core.estimate import Estimate
from lowcarb.core.units import NS_PER_S, US_PER_S
from lowcarb.sensors.processor import Processor, Quota
from lowcarb.sensors.sysfs import KeptFile, read_small

STAT = Path("/proc/stat")
MOST_SUMS = 8
"""Sums of /proc/stat that are looked at; what follows is in them, or belongs to other lines."""
LINE_BYTES = 256
"""More than a processor's line of /proc/stat takes: ten numbers of at most twenty digits, by proc_stat(5)."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

CpuTimes = Callable[[], tuple[float, float]]
"""Gives two sums since some fixed moment: processor time that was busy, and processor time that there was [s]."""


def machine_times(read: Callable[[], str | bytes] | None = None) -> tuple[float, float]:
    """Busy and whole time of all logical processors of this machine [s]; `read` gives what /proc/stat holds."""
    try:
        # After the name: the sums of all processors, in the first line.
        ticks = (read() if read else read_small(STAT)).split(None, MOST_SUMS + 1)[1 : MOST_SUMS + 1]
    except OSError:
        return _told_by_psutil(None)
    return _busy_and_whole([int(count) for count in ticks])


def times_of(cpus: frozenset[int]) -> tuple[float, float]:
    """Busy and whole time of some logical processors [s], such as those that this process may run on."""
    try:
        # The machine's line comes first; a processor that is off has none.
        lines = read_small(STAT, LINE_BYTES * (max(cpus) + 2)).splitlines()[1:]
    except OSError:
        return _told_by_psutil(cpus)
    busy_s = whole_s = 0.0
    for line in lines:
        name, *sums = line.split(None, MOST_SUMS + 1)[: MOST_SUMS + 1]
        if not name.startswith("cpu"):
            break
        if int(name.removeprefix("cpu")) in cpus:
            busy, whole = _busy_and_whole([int(count) for count in sums])
            busy_s, whole_s = busy_s + busy, whole_s + whole
    return busy_s, whole_s


def times_under(quota: Quota) -> tuple[float, float]:
    """Time used under a control group's limit, and the time that the limit grants [s]."""
    return _used_s(quota.usage), monotonic() * quota.cpus


def _used_s(usage: Path) -> float:
    text = read_small(usage)
    # Version 1 counts in a file of its own.
    if text.strip().isdecimal():
        return int(text) / NS_PER_S
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "usage_usec":
            return int(value) / US_PER_S
    raise ValueError(f"{usage} does not say usage_usec")


def times_for(processor: Processor) -> CpuTimes | None:
    """How to read the load of the share of the processors that this process may use; None where that is all of them."""
    quota = processor.quota
    if quota is not None and quota.cpus <= len(processor.allowed):
        return lambda: times_under(quota)
    if len(processor.allowed) < processor.threads:
        return lambda: times_of(processor.allowed)
    return None


def _busy_and_whole(ticks: Sequence[int]) -> tuple[float, float]:
    """Of a line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal and guests, by proc_stat(5)."""
    # Guest time is already in user time. Time stolen by the host was another machine's work, and here idle.
    whole = sum(ticks[:8])
    unused = sum(ticks[3:5]) + sum(ticks[7:8])
    return (whole - unused) / TICKS_PER_S, whole / TICKS_PER_S


def _told_by_psutil(cpus: frozenset[int] | None) -> tuple[float, float]:
    """Busy and whole time [s] of some logical processors, or of all."""
    import psutil  # noqa: PLC0415  # where procfs does not say it in one line

    by_cpu = psutil.cpu_times(percpu=True)
    busy_s = whole_s = 0.0
    for times in (times for index, times in enumerate(by_cpu) if cpus is None or index in cpus):
        whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        unused = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "steal", 0.0)
        busy_s, whole_s = busy_s + whole - unused, whole_s + whole
    return busy_s, whole_s


class CpuModel:
    """Energy of the processors [J], cumulated from their mean load since the last reading.

    Args:
        rated_w: rated power of what `cpu_times` covers [W]: TDP × sockets, or the share that a virtual machine holds.
        cpu_times: busy and whole processor time; of the whole machine unless given.
        cores: physical cores that the rated power is for; None where unknown, and the interval is wider.
        clock_hz: their base clock [Hz]; None where unknown, and the interval is wider.
    """

    name = "cpu-model"

    def __init__(
        self,
        rated_w: Estimate,
        *,
        cpu_times: CpuTimes | None = None,
        cores: float | None = None,
        clock_hz: float | None = None,
    ) -> None:
        self._power_w = partial(cpu_power.cpu_power_w, rated_w=rated_w.mid, cores=cores, clock_hz=clock_hz)
        self._stat = KeptFile(STAT)
        self._cpu_times = cpu_times or partial(machine_times, self._stat)
        self._energy_j = 0.0
        self._load = 0.0
        self._last: tuple[float, float, float] | None = None
        full = self._power_w(1.0)
        # How far off the model is has nothing to do with how well the rated power is known.
        low_ratio = cpu_power.ratio_of_product(full.low / full.mid, rated_w.low / rated_w.mid)
        high_ratio = cpu_power.ratio_of_product(full.high / full.mid, rated_w.high / rated_w.mid)
        self._channel = Channel(
            id="model:cpu",
            device="cpu",
            kind="cpu",
            quantity="counter",
            sensor=self.name,
            # The load is measured here; how well the rated power is known shows in the interval.
            basis="modelled",
            low_ratio=low_ratio,
            high_ratio=high_ratio,
            rated_w=max(full.mid * high_ratio, rated_w.high),
            # The kernel counts processor time in ticks.
            resolution_s=1.0 / TICKS_PER_S,
        )

    def channels(self) -> tuple[Channel, ...]:
        """One channel: all processors together."""
        return (self._channel,)

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Energy since the first reading [J]; the first is 0."""
        busy_s, whole_s = self._cpu_times()
        if self._last is None:
            self._last = (at_s, busy_s, whole_s)
        last_at_s, last_busy_s, last_whole_s = self._last
        # The kernel counts in ticks: readings closer together than one keep the load that was seen last.
        if whole_s > last_whole_s:
            self._load = min(1.0, max(0.0, (busy_s - last_busy_s) / (whole_s - last_whole_s)))
        elapsed_s = max(0.0, at_s - last_at_s)
        self._energy_j += self._power_w(self._load).mid * elapsed_s
        self._last = (max(at_s, last_at_s), busy_s, whole_s)
        return (Reading(at_s, self._channel.id, self._energy_j),)

    def close(self) -> None:
        """Close the file."""
        self._stat.close()


class DramModel:
    """Energy of the memory [J] at constant power.

    Args:
        memory_bytes: installed memory, or the share that a virtual machine or container holds.
    """

    name = "dram-model"

    def __init__(self, memory_bytes: float) -> None:
        power_w = cpu_power.dram_power_w(memory_bytes)
        self._power_w = power_w.mid
        self._began_s: float | None = None
        self._channel = Channel(
            id="model:dram",
            device="dram",
            kind="dram",
            quantity="counter",
            sensor=self.name,
            basis="modelled",
            low_ratio=cpu_power.DRAM_LOW_W_PER_GB / cpu_power.DRAM_W_PER_GB,
            high_ratio=cpu_power.DRAM_HIGH_W_PER_GB / cpu_power.DRAM_W_PER_GB,
            rated_w=power_w.high,
        )

    def channels(self) -> tuple[Channel, ...]:
        """One channel: all memory together."""
        return (self._channel,)

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Energy since the first reading [J]; the first is 0."""
        if self._began_s is None:
            self._began_s = at_s
        return (Reading(at_s, self._channel.id, self._power_w * max(0.0, at_s - self._began_s)),)

    def close(self) -> None:
        """Nothing is held."""
