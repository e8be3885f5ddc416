"""Which sensors this machine offers: measured where it can be, modelled where it cannot."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lowcarb.core.cpu_power import cpu_power_w
from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import DeviceKind
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.amd import find_amd, find_apu
from lowcarb.sensors.apple import find_apple
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.battery import find_battery
from lowcarb.sensors.board import find_board
from lowcarb.sensors.cpu_model import CpuModel, DramModel, times_for
from lowcarb.sensors.gpu import Gpu
from lowcarb.sensors.ipmi import find_ipmi
from lowcarb.sensors.nvml import find_nvml
from lowcarb.sensors.processor import CpuCatalogue, Processor, clock_hz, rated_w, read_processor, usable_cores
from lowcarb.sensors.rapl import find_rapl

SYSFS = Path("/sys")
REDFISH_URL = "LOWCARB_REDFISH_URL"

AnySensor = TypeVar("AnySensor", bound=Sensor)


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
    dev_root: Path = Path("/dev"),
    environ: Mapping[str, str] | None = None,
    nvml: Any = None,
    amdsmi: Any = None,
) -> Found:
    """Open the sensors of this machine. Never fails: what is not there is in `missing`.

    What a machine has no part for, such as a battery, is not missing.

    Args:
        catalogue: knows processors.
        sysfs_root: where sysfs is mounted; LOWCARB_SYSFS_ROOT or `/sys` unless given.
        proc_root: where procfs is mounted.
        dev_root: where device files are.
        environ: the environment variables; those of this process unless given.
        nvml: the NVML module; `pynvml` unless given.
        amdsmi: the module of AMD's GPUs; the installed one, if there is one, unless given.
    """
    environ = os.environ if environ is None else environ
    sysfs_root = Path(environ.get("LOWCARB_SYSFS_ROOT", SYSFS)) if sysfs_root is None else sysfs_root
    processor = read_processor(proc_root, sysfs_root)
    rated = rated_w(processor, catalogue)
    # Device files tell which GPUs are this container's; they say nothing of another tree, such as a recorded one.
    nodes = dev_root if sysfs_root == SYSFS else None
    hunt = _Hunt()
    hunt.open("nvml", lambda: find_nvml(environ, nvml))
    amd = hunt.open("amd", lambda: find_amd(sysfs_root, environ, dev_root=nodes, smi=amdsmi))
    hunt.open("apple", find_apple)
    if amd is None or not amd.holds_processors:
        _find_processors(hunt, catalogue, processor, rated, sysfs_root, nodes)
    _find_machine(hunt, sysfs_root, dev_root, environ)
    gpus = tuple(gpu for sensor in hunt.sensors for gpu in getattr(sensor, "gpus", ()))
    return Found(tuple(hunt.sensors), tuple(hunt.missing), processor, rated, gpus)


class _Hunt:
    """What was found and what was not; no finder can spoil another."""

    def __init__(self) -> None:
        self.sensors: list[Sensor] = []
        self.missing: list[SensorUnavailable] = []

    def open(self, name: str, finder: Callable[[], AnySensor]) -> AnySensor | None:
        """What a finder opens; None where it does not, and then its reason is kept if something can be done."""
        try:
            sensor = finder()
        except SensorUnavailable as error:
            # A part that the machine does not have leaves nothing to do, and no remedy.
            self.missing += [error] if error.remedy else []
            return None
        except Exception as error:  # noqa: BLE001  # a library that fails in a new way is no reason to measure nothing
            reason = f"looking for it failed ({type(error).__name__}: {error})"
            self.missing.append(SensorUnavailable(name, reason, "Please report this; all else is measured"))
            return None
        self.sensors.append(sensor)
        self.missing += getattr(sensor, "missing", ())
        return sensor

    def counts(self, kind: DeviceKind) -> bool:
        """Whether what was found counts a kind of device."""
        channels = (channel for sensor in self.sensors for channel in sensor.channels())
        return any(channel.kind == kind and not channel.check for channel in channels)


def _find_processors(
    hunt: _Hunt, catalogue: CpuCatalogue, processor: Processor, rated: Estimate, sysfs_root: Path, nodes: Path | None
) -> None:
    """Counters of processors and memory, and models of what has none."""
    if not hunt.counts("cpu"):
        # The tree belongs to whole packages, also where this process may use a part of them.
        whole_w = rated.high * processor.threads / processor.usable_threads
        package_w = cpu_power_w(1.0, whole_w / processor.sockets).high
        hunt.open("rapl", lambda: find_rapl(sysfs_root, package_rated_w=package_w))
    if hunt.counts("machine"):
        return
    if not hunt.counts("cpu") and not hunt.open("amd-apu", lambda: find_apu(sysfs_root, dev_root=nodes)):
        cores = usable_cores(processor, catalogue)
        hunt.sensors.append(
            CpuModel(rated, cpu_times=times_for(processor), cores=cores, clock_hz=clock_hz(processor, catalogue))
        )
    if not hunt.counts("dram"):
        hunt.sensors.append(DramModel(processor.memory_bytes))


def _find_machine(hunt: _Hunt, sysfs_root: Path, dev_root: Path, environ: Mapping[str, str]) -> None:
    """One sensor of the whole machine, as a check: what the user asked for, else the one that answers fastest."""
    if environ.get(REDFISH_URL):
        from lowcarb.sensors.redfish import find_redfish  # noqa: PLC0415  # hardly anybody asks for it

        if hunt.open("redfish", lambda: find_redfish(environ)):
            return
    finders: tuple[tuple[str, Callable[[], Sensor]], ...] = (
        ("board", lambda: find_board(sysfs_root)),
        ("ipmi", lambda: find_ipmi(environ, dev_root=dev_root)),
        ("battery", lambda: find_battery(sysfs_root)),
    )
    for name, finder in finders:
        if hunt.open(name, finder):
            return
