"""NVIDIA GPUs through NVML: the energy counter where the device has one that counts, its power summed up where not.

Some devices list the counter and refuse it, some show 0 or a constant for ever. To see it move takes up to 100 ms,
longer than opening may take, so that is checked while it is read: see `power_counter.WatchedCounter`.

Power is asked for with nvmlDeviceGetPowerUsage and not as NVML_FI_DEV_POWER_INSTANT: every driver has it, and where the
two differ, on Ampere and newer, it is the mean of the last second, whose sum misses nothing between two looks.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from math import nan
from typing import Any

from lowcarb.core.energy import MOST_W, Channel, Reading
from lowcarb.core.units import MJ_PER_J
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.gpu import Gpu, visible
from lowcarb.sensors.power_counter import PowerCounter, WatchedCounter
from lowcarb.sensors.worker import MOST_VALUE

LIBRARY = "libnvidia-ml.so.1"
COUNTER_RATIO = 0.05
"""NVML API reference, nvmlDeviceGetPowerUsage: accurate to ±5 W or 5 %. The energy counter sums that sensor."""
POWER_RATIO = 0.10
"""A single power reading looks at a part of the time only, on A100 and H100 a quarter: Yang et al. 2023, arXiv
2312.02741, find up to 10 % beyond the sensor's own error for loads that vary."""
COUNTER_RESOLUTION_S = 0.1
"""NVML refreshes every 20 to 100 ms, by device (Yang et al. 2023, arXiv 2312.02741)."""
MEAN_RESOLUTION_S = 1.0
"""NVML API reference, nvmlDeviceGetPowerUsage: the mean of the last second on Ampere (but GA100) and newer, the
instant before."""
MOST_LIMIT_W = 5000.0
"""A limit beyond this is garbage, three times the largest board sold by 2026: `assumed`."""
MW_PER_W = MJ_PER_J
AMPERE = 7
"""NVML_DEVICE_ARCH_AMPERE."""


@dataclass(frozen=True, slots=True)
class _Card:
    """A GPU, and how it is asked; what it does not answer is None, whatever the reason."""

    nvml: Any
    handle: Any
    gpu: Gpu

    def energy_j(self) -> float | None:
        """Its counter [J]; None where it shows 0, as it does where it counts nothing."""
        energy_mj = _ask(self.nvml, "nvmlDeviceGetTotalEnergyConsumption", self.handle)
        return energy_mj / MJ_PER_J if energy_mj and energy_mj <= MOST_VALUE else None

    def power_w(self) -> float | None:
        """Its power [W]."""
        power_mw = _ask(self.nvml, "nvmlDeviceGetPowerUsage", self.handle)
        return None if power_mw is None else power_mw / MW_PER_W

    def buffered(self, after_us: int) -> Sequence[tuple[int, float]] | None:
        """Samples [µs, W] of the driver's buffer that are newer than a time; None where it keeps none."""
        kind = getattr(self.nvml, "NVML_TOTAL_POWER_SAMPLES", 0)
        none_newer = getattr(self.nvml, "NVMLError_NotFound", ())
        try:
            value_type, samples = self.nvml.nvmlDeviceGetSamples(self.handle, kind, after_us)
        except none_newer:
            return ()
        except (self.nvml.NVMLError, AttributeError):
            return None
        # "Power, Utilization and Clock samples are returned as type unsigned int" (NVML API reference).
        if value_type != getattr(self.nvml, "NVML_VALUE_TYPE_UNSIGNED_INT", 1):
            return None
        return [(int(one.timeStamp), one.sampleValue.uiVal / MW_PER_W) for one in samples]

    def power_counter(self, clock: Callable[[], float], start_j: float) -> PowerCounter:
        """A counter made from its power, not yet started."""
        most_w = MOST_W["gpu"] if self.gpu.limit_w is None else self.gpu.limit_w
        return PowerCounter(self.power_w, buffered=self.buffered, most_w=most_w, start_j=start_j, clock=clock)


class _GpuSensor:
    """Reads one GPU. What goes wrong with it is its own."""

    name = "nvml"

    def __init__(self, card: _Card, first_j: float | None, clock: Callable[[], float]) -> None:
        self.gpu = card.gpu
        self.reading, self._closed, self._pid = False, False, os.getpid()
        self._counter = WatchedCounter(
            card.energy_j, card.power_w, lambda start_j: card.power_counter(clock, start_j), first_j, clock
        )
        ratio = POWER_RATIO if first_j is None else COUNTER_RATIO
        self.channel = Channel(
            id=f"nvml:{card.gpu.uuid}",
            device=card.gpu.uuid,
            kind="gpu",
            quantity="counter",
            sensor="nvml",
            basis="measured",
            low_ratio=1.0 - ratio,
            high_ratio=1.0 + ratio,
            rated_w=card.gpu.limit_w,
            resolution_s=_power_resolution_s(card) if first_j is None else COUNTER_RESOLUTION_S,
        )

    def channels(self) -> tuple[Channel, ...]:
        """The one."""
        return (self.channel,)

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Its value, beside one that is no number where answers were refused, so that the fault is told."""
        if self._closed or os.getpid() != self._pid:
            return ()
        self.reading = True
        try:
            value = self._counter.read()
        finally:
            self.reading = False
        if value is None:
            return ()
        reading = Reading(at_s, self.channel.id, value)
        return (Reading(at_s, self.channel.id, nan), reading) if self._counter.faults() else (reading,)

    def close(self) -> None:
        """Let its thread end."""
        self._closed = True
        self._counter.close()

    def has_ended(self) -> bool:
        """Whether `close` left no thread behind, and nobody waits for an answer of its."""
        return not self.reading and self._counter.has_ended()

    @property
    def cost_cpu_s(self) -> float:
        """Processor time that its own thread has taken so far [s]."""
        return self._counter.cost_cpu_s


class Nvml:
    """Energy [J] of the GPUs that this process may use. Make it with `find_nvml`.

    A meter reads its parts, the GPUs, each as a sensor of its own, so that one that hangs holds up none of the others.
    In a forked child nothing is read: NVML's handles belong to the process that opened them.

    Attributes:
        parts: a sensor of each GPU.
        gpus: the GPUs that are read.
        missing: the GPUs that are not, each with its reason.
    """

    name = "nvml"

    def __init__(self, nvml: Any, sensors: tuple[_GpuSensor, ...], missing: tuple[SensorUnavailable, ...]) -> None:
        self._nvml, self.parts = nvml, sensors
        self._channels = tuple(sensor.channel for sensor in sensors)
        self._closed, self._pid = False, os.getpid()
        self.gpus = tuple(sensor.gpu for sensor in sensors)
        self.missing = missing

    def channels(self) -> tuple[Channel, ...]:
        """One channel a GPU."""
        return self._channels

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Present values, one after the other; a GPU that was lost is left out, and does not spoil the others."""
        if len(self.parts) == 1:
            return self.parts[0].read(at_s)
        readings: list[Reading] = []
        for part in self.parts:
            with suppress(Exception):
                readings += part.read(at_s)
        return tuple(readings)

    def close(self) -> None:
        """Let NVML go, and the threads; but not where a thread hangs inside it."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        for part in self.parts:
            part.close()
        if all(part.has_ended() for part in self.parts):
            _shut(self._nvml)

    @property
    def cost_cpu_s(self) -> float:
        """Processor time that threads of this sensor have taken so far [s]; whoever calls `read` counts its own."""
        return sum(part.cost_cpu_s for part in self.parts)


def find_nvml(environ: Mapping[str, str], nvml: Any = None, *, clock: Callable[[], float] = time.monotonic) -> Nvml:
    """Open the NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves to this process.

    Args:
        environ: the environment variables.
        nvml: NVML as `pynvml` of nvidia-ml-py shows it; found unless given.
        clock: a monotonic clock [s].

    Raises:
        SensorUnavailable: no driver, no GPU, none left visible, MIG slices only, or none that answers.
    """
    if nvml is None:
        nvml = _module()
    try:
        _start(nvml)
    except nvml.NVMLError as error:
        raise _no_start(error) from error
    try:
        return _opened(nvml, environ, clock)
    except SensorUnavailable:
        _shut(nvml)
        raise
    except nvml.NVMLError as error:
        _shut(nvml)
        raise SensorUnavailable("nvml", f"NVML fails ({error})", "See whether `nvidia-smi` lists the GPUs") from error


def _no_start(error: Exception) -> SensorUnavailable:
    remedy = "Nothing to do without an NVIDIA GPU; with one, check `nvidia-smi`, and in a container pass `--gpus all`"
    return SensorUnavailable("nvml", f"NVML does not start ({error})", remedy)


def _module() -> Any:
    """NVML: by nvidia-ml-py where it is loaded anyhow, or knows better where the library lies, else by its own name."""
    if sys.platform == "linux" and "pynvml" not in sys.modules:
        from lowcarb.sensors.nvml_library import NvmlLibrary  # noqa: PLC0415  # ctypes, for a library most lack

        try:
            return NvmlLibrary(LIBRARY)
        except OSError as error:
            raise _no_start(error) from error
    try:
        return import_module("pynvml")
    except ImportError as error:
        raise SensorUnavailable("nvml", f"no NVML binding ({error})", "pip install nvidia-ml-py") from error


def _start(nvml: Any) -> None:
    try:
        nvml.nvmlInit()
    except getattr(nvml, "NVMLError_FunctionNotFound", ()):
        # nvidia-ml-py asks for nvmlInitWithFlags only, which came with driver 396; the library is loaded by now.
        first = getattr(nvml.nvmlLib, "nvmlInit_v2", None) or getattr(nvml.nvmlLib, "nvmlInit", None)
        if first is None:
            raise
        if code := first():
            raise nvml.NVMLError(code) from None


def _opened(nvml: Any, environ: Mapping[str, str], clock: Callable[[], float]) -> Nvml:
    listed = [_described(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    # A board that fell off the bus keeps its index but cannot be used by CUDA either.
    cards = [card for card in listed if card is not None]
    if not cards:
        raise SensorUnavailable("nvml", "the driver lists no GPU that answers", "In a container pass `--gpus all`")
    shown, slices = visible(environ, [card.gpu for card in cards])
    missing = [_mig(name) for name in slices]
    if "CUDA_VISIBLE_DEVICES" not in environ:
        missing += [_silent(index) for index, card in enumerate(listed) if card is None]
    sensors = []
    for card in (cards[index] for index in shown):
        first_j = card.energy_j()
        mode = _ask(nvml, "nvmlDeviceGetMigMode", card.handle)
        if mode is not None and mode[0] == 1:
            missing.append(_mig(card.gpu.uuid))
        elif first_j is None and card.power_w() is None:
            reason = f"{card.gpu.name} ({card.gpu.uuid}) answers neither energy nor power"
            missing.append(SensorUnavailable("nvml", reason, "A virtual GPU is measured on its host, if at all"))
        else:
            sensors.append(_GpuSensor(card, first_j, clock))
    if not sensors:
        raise missing[0]
    return Nvml(nvml, tuple(sensors), tuple(missing))


def _mig(name: str) -> SensorUnavailable:
    return SensorUnavailable(
        "nvml",
        f"{name} is a slice of a GPU (MIG), and NVML counts the energy of whole GPUs only",
        "Measure on a whole GPU (`nvidia-smi -mig 0` by its administrator), or give the energy by hand",
    )


def _silent(index: int) -> SensorUnavailable:
    return SensorUnavailable("nvml", f"GPU {index} does not answer", "See what `nvidia-smi` and the kernel's log say")


def _described(nvml: Any, index: int) -> _Card | None:
    """A GPU with its handle; None where the board does not answer at all."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = str(nvml.nvmlDeviceGetUUID(handle))
    except nvml.NVMLError:
        return None
    name = str(_ask(nvml, "nvmlDeviceGetName", handle) or "NVIDIA GPU")
    memory = _ask(nvml, "nvmlDeviceGetMemoryInfo", handle)
    memory_bytes = None if memory is None else float(memory.total)
    limits = ("nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit")
    limit_mw = next((told for call in limits if (told := _ask(nvml, call, handle))), None)
    limit_w = limit_mw / MW_PER_W if limit_mw and limit_mw / MW_PER_W <= MOST_LIMIT_W else None
    return _Card(nvml, handle, Gpu(uuid, name, memory_bytes, limit_w))


def _power_resolution_s(card: _Card) -> float:
    architecture = _ask(card.nvml, "nvmlDeviceGetArchitecture", card.handle)
    return COUNTER_RESOLUTION_S if architecture is not None and architecture < AMPERE else MEAN_RESOLUTION_S


def _ask(nvml: Any, what: str, handle: Any) -> Any:
    """What a device answers; None where it refuses, is lost, or the library has no such function."""
    ask = getattr(nvml, what, None)
    try:
        return None if ask is None else ask(handle)
    except nvml.NVMLError:
        return None


def _shut(nvml: Any) -> None:
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return
