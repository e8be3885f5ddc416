"""NVIDIA GPUs through NVML: the energy counter where the device has one, its power where not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from lowcarb.core.energy import Channel, Reading
from lowcarb.core.units import MJ_PER_J
from lowcarb.errors import SensorUnavailable

COUNTER_RATIO = 0.05
"""NVML API reference, nvmlDeviceGetPowerUsage: accurate to ±5 W or 5 %. The energy counter sums that sensor."""
POWER_RATIO = 0.10
"""A single power reading looks at a part of the time only, on A100 and H100 a quarter: Yang et al. 2023, arXiv
2312.02741, find up to 10 % beyond the sensor's own error for loads that vary."""
MW_PER_W = MJ_PER_J


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as NVML describes it."""

    uuid: str
    name: str
    memory_bytes: float | None
    limit_w: float | None
    """Enforced power limit [W]; None where the device does not say."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A GPU with its handle, and what it answers."""

    gpu: Gpu
    handle: Any
    quantity: Literal["counter", "power"]

    def channel(self) -> Channel:
        ratio = COUNTER_RATIO if self.quantity == "counter" else POWER_RATIO
        return Channel(
            id=f"nvml:{self.gpu.uuid}",
            device=self.gpu.uuid,
            kind="gpu",
            quantity=self.quantity,
            sensor="nvml",
            basis="measured",
            low_ratio=1.0 - ratio,
            high_ratio=1.0 + ratio,
            rated_w=self.gpu.limit_w,
        )


class Nvml:
    """Energy [J] or power [W] of the GPUs that this process may use. Make it with `find_nvml`.

    Attributes:
        gpus: the GPUs that are read.
        missing: the GPUs that answer neither energy nor power, each with its reason.
    """

    name = "nvml"

    def __init__(self, nvml: Any, gpus: tuple[_Open, ...], missing: tuple[SensorUnavailable, ...]) -> None:
        self._nvml, self._open = nvml, gpus
        self._channels = tuple(one.channel() for one in gpus)
        self._closed = False
        self.gpus = tuple(one.gpu for one in gpus)
        self.missing = missing

    def channels(self) -> tuple[Channel, ...]:
        """One channel a GPU."""
        return self._channels

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Present values; a GPU that was lost is left out, and does not spoil the others."""
        readings = []
        for one, channel in zip(self._open, self._channels, strict=True):
            value = _answer(self._nvml, one.quantity, one.handle)
            if value is not None:
                readings.append(Reading(at_s, channel.id, value))
        return tuple(readings)

    def close(self) -> None:
        """Let NVML go."""
        if not self._closed:
            self._closed = True
            _shut(self._nvml)


def find_nvml(environ: Mapping[str, str], nvml: Any = None) -> Nvml:
    """Open the NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves to this process.

    Args:
        environ: the environment variables.
        nvml: the NVML module; `pynvml` of nvidia-ml-py unless given.

    Raises:
        SensorUnavailable: no driver, no GPU, none left visible, a MIG slice, or none that answers.
    """
    if nvml is None:
        nvml = _module()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise SensorUnavailable(
            "nvml",
            f"NVML does not start ({error})",
            "Nothing to do without an NVIDIA GPU; with one, check `nvidia-smi`, and in a container pass `--gpus all`",
        ) from error
    try:
        return _opened(nvml, environ)
    except SensorUnavailable:
        _shut(nvml)
        raise
    except nvml.NVMLError as error:
        _shut(nvml)
        raise SensorUnavailable("nvml", f"NVML fails ({error})", "See whether `nvidia-smi` lists the GPUs") from error


def _module() -> Any:
    try:
        return import_module("pynvml")
    except ImportError as error:
        raise SensorUnavailable("nvml", f"no NVML binding ({error})", "pip install nvidia-ml-py") from error


def _opened(nvml: Any, environ: Mapping[str, str]) -> Nvml:
    listed = [_describe(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    # A board that fell off the bus keeps its index but cannot be used by CUDA either.
    alive = [one for one in listed if one is not None]
    if not alive:
        raise SensorUnavailable("nvml", "the driver lists no GPU that answers", "In a container pass `--gpus all`")
    opened, missing = [], []
    for index in visible(environ, [gpu for gpu, _ in alive]):
        gpu, handle = alive[index]
        if _has_mig(nvml, handle):
            raise _mig(gpu.uuid)
        quantity = _quantity(nvml, handle)
        if quantity is None:
            reason = f"{gpu.name} ({gpu.uuid}) answers neither energy nor power"
            missing.append(SensorUnavailable("nvml", reason, "A virtual GPU is measured on its host, if at all"))
        else:
            opened.append(_Open(gpu, handle, quantity))
    if not opened:
        raise missing[0]
    return Nvml(nvml, tuple(opened), tuple(missing))


def visible(environ: Mapping[str, str], gpus: list[Gpu]) -> list[int]:
    """Indices of the GPUs that CUDA gives to this process, by the rules of the CUDA Programming Guide, 5.2.1.1.

    Entries are indices or the beginnings of UUIDs; the first that fits no GPU hides itself and all after it.

    Raises:
        SensorUnavailable: nothing is left, an entry is a MIG slice, or the order of the indices cannot be known.
    """
    setting = environ.get("CUDA_VISIBLE_DEVICES")
    if setting is None:
        return list(range(len(gpus)))
    picked: list[int] = []
    by_index = False
    for entry in (part.strip() for part in setting.split(",")):
        if entry.startswith("MIG-"):
            raise _mig(entry)
        found = _find(entry, gpus)
        if found is None:
            break
        by_index |= entry.isdecimal()
        if found not in picked:
            picked.append(found)
    if not picked:
        raise SensorUnavailable(
            "nvml",
            f"CUDA_VISIBLE_DEVICES={setting!r} hides every GPU",
            "Nothing to do if the run is meant for the processor; otherwise unset it",
        )
    order_matters = len(picked) < len(gpus) and len({gpu.name for gpu in gpus}) > 1
    if by_index and order_matters and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise SensorUnavailable(
            "nvml",
            f"GPUs differ, and CUDA counts them by speed but NVML by slot: CUDA_VISIBLE_DEVICES={setting} is ambiguous",
            "Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the GPUs by UUID (`nvidia-smi -L`)",
        )
    return picked


def _find(entry: str, gpus: list[Gpu]) -> int | None:
    if entry.isdecimal():
        return int(entry) if int(entry) < len(gpus) else None
    if not entry.startswith("GPU-"):
        return None
    matches = [index for index, gpu in enumerate(gpus) if gpu.uuid.lower().startswith(entry.lower())]
    return matches[0] if len(matches) == 1 else None


def _mig(name: str) -> SensorUnavailable:
    return SensorUnavailable(
        "nvml",
        f"{name} is a slice of a GPU (MIG), and NVML counts the energy of whole GPUs only",
        "Measure on a whole GPU (`nvidia-smi -mig 0` by its administrator), or give the energy by hand",
    )


def _describe(nvml: Any, index: int) -> tuple[Gpu, Any] | None:
    """A GPU and its handle; None where the board does not answer at all."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid, name = str(nvml.nvmlDeviceGetUUID(handle)), str(nvml.nvmlDeviceGetName(handle))
    except nvml.NVMLError:
        return None
    memory = _optional(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    limit_mw = _optional(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    return (
        Gpu(
            uuid=uuid,
            name=name,
            memory_bytes=None if memory is None else float(memory.total),
            limit_w=limit_mw / MW_PER_W if limit_mw else None,
        ),
        handle,
    )


def _has_mig(nvml: Any, handle: Any) -> bool:
    mode = _optional(nvml, nvml.nvmlDeviceGetMigMode, handle)
    return mode is not None and mode[0] == 1


def _quantity(nvml: Any, handle: Any) -> Literal["counter", "power"] | None:
    # Some devices list the counter and then refuse it, so only a true answer counts.
    if _answer(nvml, "counter", handle):
        return "counter"
    return "power" if _answer(nvml, "power", handle) is not None else None


def _answer(nvml: Any, quantity: Literal["counter", "power"], handle: Any) -> float | None:
    if quantity == "counter":
        energy_mj = _optional(nvml, nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        return None if energy_mj is None else energy_mj / MJ_PER_J
    power_mw = _optional(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    return None if power_mw is None else power_mw / MW_PER_W


def _optional(nvml: Any, ask: Any, handle: Any) -> Any:
    try:
        return ask(handle)
    except nvml.NVMLError:
        return None


def _shut(nvml: Any) -> None:
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return
