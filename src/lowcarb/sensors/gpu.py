"""A GPU as its driver describes it, and which of them CUDA gives to a process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lowcarb.errors import SensorUnavailable


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU."""

    uuid: str
    name: str
    memory_bytes: float | None
    limit_w: float | None
    """Enforced power limit [W]; None where the device does not say."""


def visible(environ: Mapping[str, str], gpus: list[Gpu]) -> tuple[list[int], list[str]]:
    """Indices of the GPUs that CUDA gives to this process, by the rules of the CUDA Programming Guide, 5.2.1.1.

    Entries are indices or the beginnings of UUIDs; the first that fits no GPU hides itself and all after it. Slices of
    a GPU (MIG) are returned by name.

    Raises:
        SensorUnavailable: nothing is left, or the order of the indices cannot be known.
    """
    setting = environ.get("CUDA_VISIBLE_DEVICES")
    if setting is None:
        return list(range(len(gpus))), []
    picked: list[int] = []
    slices: list[str] = []
    by_index = False
    for entry in (part.strip() for part in setting.split(",")):
        if entry.startswith("MIG-"):
            slices.append(entry)
            continue
        found = _find(entry, gpus)
        if found is None:
            break
        by_index |= entry.isdecimal()
        if found not in picked:
            picked.append(found)
    if not picked and not slices:
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
    return picked, slices


def _find(entry: str, gpus: list[Gpu]) -> int | None:
    if entry.isdecimal():
        return int(entry) if int(entry) < len(gpus) else None
    if not entry.startswith("GPU-"):
        return None
    matches = [index for index, gpu in enumerate(gpus) if gpu.uuid.lower().startswith(entry.lower())]
    return matches[0] if len(matches) == 1 else None
