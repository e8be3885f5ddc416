"""Which sensors this machine offers: measured where it can be, modelled where it cannot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowcarb.core.cpu_power import cpu_power_w
from lowcarb.core.estimate import Estimate
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.cpu_model import CpuModel, DramModel, times_for
from lowcarb.sensors.nvml import Gpu, find_nvml
from lowcarb.sensors.processor import CpuCatalogue, Processor, rated_w, read_processor
from lowcarb.sensors.rapl import Rapl, find_rapl


@dataclass(frozen=True, slots=True)
class Found:
    """The sensors of this machine, what it does not offer and why, and what it is made of."""

    sensors: tuple[Sensor, ...]
    """The better first, each device once."""
    missing: tuple[SensorUnavailable, ...]
    """Each with its reason and remedy; where one is missing a model stands in, or the device is not counted."""
    processor: Processor
    rated_w: Estimate
    """Rated power of the processors' share that this process may use [W]."""
    gpus: tuple[Gpu, ...]
    """The GPUs that are read."""

    def close(self) -> None:
        """Let go of what the sensors hold."""
        for sensor in self.sensors:
            sensor.close()


def find_sensors(
    catalogue: CpuCatalogue,
    *,
    sysfs_root: Path | None = None,
    proc_root: Path = Path("/proc"),
    environ: Mapping[str, str] | None = None,
    nvml: Any = None,
) -> Found:
    """Open the sensors of this machine. Never fails: what is not there is in `missing`.

    Args:
        catalogue: knows processors.
        sysfs_root: where sysfs is mounted; LOWCARB_SYSFS_ROOT or `/sys` unless given.
        proc_root: where procfs is mounted.
        environ: the environment variables; those of this process unless given.
        nvml: the NVML module; `pynvml` unless given.
    """
    environ = os.environ if environ is None else environ
    sysfs_root = Path(environ.get("LOWCARB_SYSFS_ROOT", "/sys")) if sysfs_root is None else sysfs_root
    processor = read_processor(proc_root, sysfs_root)
    rated = rated_w(processor, catalogue)
    sensors: list[Sensor] = []
    missing: list[SensorUnavailable] = []
    gpus: tuple[Gpu, ...] = ()
    try:
        cards = find_nvml(environ, nvml)
        sensors.append(cards)
        missing += cards.missing
        gpus = cards.gpus
    except SensorUnavailable as error:
        missing.append(error)
    try:
        # The tree belongs to whole packages, also where this process may use a part of them.
        whole_w = rated.high * processor.threads / processor.usable_threads
        counters = find_rapl(sysfs_root, package_rated_w=cpu_power_w(1.0, whole_w / processor.sockets).high)
        sensors += [counters, *_complement(counters, processor)]
    except SensorUnavailable as error:
        missing.append(error)
        sensors += [CpuModel(rated, cpu_times=times_for(processor)), DramModel(processor.memory_bytes)]
    return Found(tuple(sensors), tuple(missing), processor, rated, gpus)


def _complement(counters: Rapl, processor: Processor) -> list[Sensor]:
    """What counters leave out: memory, unless a domain counts it or the whole board."""
    parts = {domain.part for domain in counters.domains}
    return [] if parts & {"dram", "psys"} else [DramModel(processor.memory_bytes)]
