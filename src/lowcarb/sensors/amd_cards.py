"""Which AMD GPUs the kernel shows, and which of them a process may use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowcarb.core.units import BYTES_PER_GIB
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.sysfs import number, text, watts

VENDOR = "0x1002"
IDS = Path("/usr/share/libdrm/amdgpu.ids")
"""The names of AMD's GPUs by device and revision; part of libdrm."""
LEAST_VRAM_GIB = 2.0
"""A GPU with less memory of its own has borrowed it from the processor. `assumed`; firmware reserves 0.5 GiB as a
rule, and no separate GPU that could train a language model has so little."""
SOCKETS_WITH_GPU = ("0x74a0",)
"""Sockets that hold processors, GPU and memory together: MI300A. Their power is that of all three."""

BY_NUMBER = r"(^|,)\s*\d"
"""Whether a choice of GPUs has an index in it."""


@dataclass(frozen=True, slots=True)
class Card:
    """One AMD GPU."""

    folder: Path
    """Its device under sysfs."""
    address: str
    """Its place on the PCI bus, such as 0000:c1:00.0."""
    unique_id: str
    """The id that its maker gave it, 16 hexadecimal digits; empty where it has none."""
    chip: str
    """PCI device id, such as 0x74a1."""
    name: str
    memory_bytes: float | None
    limit_w: float | None
    """Power limit [W]; None where the device does not say."""
    hwmon: Path | None
    """Where its power is shown."""

    @property
    def device(self) -> str:
        """The id of the physical device, in ROCm's form where it has one."""
        return f"GPU-{self.unique_id}" if self.unique_id else self.address

    @property
    def slot(self) -> str:
        """The address less its function, which may number the parts of a GPU."""
        return self.address.rpartition(".")[0]

    @property
    def is_socket(self) -> bool:
        """Whether it is a socket of a server that holds processors and memory too."""
        return self.chip in SOCKETS_WITH_GPU

    @property
    def is_integrated(self) -> bool:
        """Whether it is a part of the processor, so that its power is that of the processor's package."""
        # Of AMD's GPUs only the integrated ones show the voltage of a northbridge (kernel, amdgpu, hwmon).
        northbridge = self.hwmon is not None and text(self.hwmon / "in1_label") == "vddnb"
        least_bytes = LEAST_VRAM_GIB * BYTES_PER_GIB
        borrowed = self.memory_bytes is not None and self.memory_bytes < least_bytes
        return not self.is_socket and (northbridge or borrowed)

    def power_w(self) -> float | None:
        """Present power [W]: the mean that the driver shows where it has one, the instant where not.

        The driver renews the mean whenever it fetches the firmware's metrics, which reading does.
        """
        if self.hwmon is None:
            return None
        mean_w = watts(self.hwmon / "power1_average")
        return watts(self.hwmon / "power1_input") if mean_w is None else mean_w


def cards(sysfs_root: Path, *, dev_root: Path | None, ids: Path = IDS) -> list[Card]:
    """The AMD GPUs, in the kernel's order.

    Args:
        sysfs_root: where sysfs is mounted, `/sys` on a real machine.
        dev_root: where device files are: a GPU without one there is another container's, though sysfs shows it. None
            to take all that sysfs shows.
        ids: a list of names.
    """
    folders = [path for path in (sysfs_root / "class" / "drm").glob("card*") if re.fullmatch(r"card\d+", path.name)]
    folders.sort(key=lambda path: int(path.name.removeprefix("card")))
    devices = [folder / "device" for folder in folders if text(folder / "device" / "vendor") == VENDOR]
    names = _names(ids) if devices else {}
    return [_card(device, names) for device in devices if dev_root is None or _is_ours(device, dev_root)]


def _is_ours(device: Path, dev_root: Path) -> bool:
    nodes = [path.name for path in (device / "drm").glob("renderD*")]
    return not nodes or any((dev_root / "dri" / node).exists() for node in nodes)


def _card(device: Path, names: Mapping[tuple[str, str], str]) -> Card:
    slot = re.search(r"^PCI_SLOT_NAME=(\S+)", text(device / "uevent"), re.MULTILINE)
    hwmon = next(iter(sorted((device / "hwmon").glob("hwmon*"))), None)
    chip, revision = text(device / "device").lower(), text(device / "revision").lower()
    unique_id = text(device / "unique_id").lower().removeprefix("0x")
    return Card(
        folder=device,
        address=slot.group(1).lower() if slot else device.resolve().name,
        unique_id=unique_id.zfill(16) if unique_id.strip("0") else "",
        chip=chip,
        name=text(device / "product_name") or names.get((chip, revision)) or f"AMD GPU {chip}",
        memory_bytes=number(device / "mem_info_vram_total"),
        limit_w=(watts(hwmon / "power1_cap") or None) if hwmon else None,
        hwmon=hwmon,
    )


def _names(ids: Path) -> dict[tuple[str, str], str]:
    lines = re.findall(r"^([0-9A-Fa-f]+),\s*([0-9A-Fa-f]+),\s*(.+?)\s*$", text(ids), re.MULTILINE)
    return {(f"0x{chip.lower()}", f"0x{revision.lower()}"): name for chip, revision, name in lines}


def visible(environ: Mapping[str, str], found: Sequence[Card], sysfs_root: Path) -> list[Card]:
    """The GPUs that ROCm gives to this process, of all there are.

    ROCR_VISIBLE_DEVICES chooses by index, in the order of the KFD topology, or by the beginning of a unique id; the
    first entry that fits no GPU, or one that is there twice, ends the list (ROCR-Runtime, amd_filter_device.cpp). Of
    what is left HIP_VISIBLE_DEVICES chooses, or CUDA_VISIBLE_DEVICES where that is empty (clr, rocdevice.cpp); an empty
    value chooses nothing there, and so hides nothing.

    Raises:
        SensorUnavailable: nothing is left, an entry is a part of a GPU, or the order of the indices cannot be known.
    """
    low = environ.get("ROCR_VISIBLE_DEVICES")
    name = "HIP_VISIBLE_DEVICES" if environ.get("HIP_VISIBLE_DEVICES") else "CUDA_VISIBLE_DEVICES"
    high = environ.get(name) or None
    if low is None and high is None:
        return list(found)
    left = _as_rocm_counts(found, sysfs_root, by_number=bool(re.search(BY_NUMBER, f"{low},{high}")))
    if low is not None:
        left = _picked(low, left)
    if high is not None:
        before, left = left, _picked(high, left)
        chose = 0 < len(left) < len(before)
        # HIP numbers what ROCr gives it in an order of its own where GPUs differ (ROCm issues, such as SwarmUI #566).
        if chose and len({card.chip for card in before}) > 1 and re.search(BY_NUMBER, high):
            raise SensorUnavailable(
                "amd",
                f"GPUs differ, and HIP's order of them is not known: {name}={high} is ambiguous",
                "Choose by ROCR_VISIBLE_DEVICES instead, with ids such as GPU-7a3c… (`rocminfo` shows them)",
            )
    if not left:
        raise SensorUnavailable(
            "amd",
            "ROCR_VISIBLE_DEVICES, HIP_VISIBLE_DEVICES or CUDA_VISIBLE_DEVICES hides every GPU",
            "Nothing to do if the run is meant for the processor; otherwise unset it",
        )
    return left


def _as_rocm_counts(found: Sequence[Card], sysfs_root: Path, *, by_number: bool) -> list[Card]:
    """The GPUs that ROCm can use, integrated ones too, in its order.

    Raises:
        SensorUnavailable: the driver does not tell the order, or counts parts of GPUs.
    """
    by_slot = {card.slot: card for card in found}
    ordered = [by_slot[slot] for slot in _topology(sysfs_root) if slot in by_slot]
    if len(ordered) != len(set(ordered)):
        raise SensorUnavailable(
            "amd",
            "GPUs are partitioned, and their energy is counted for whole GPUs only",
            "Measure on whole GPUs (`amd-smi set --compute-partition SPX` by the administrator), or unset the choice",
        )
    if ordered or len(found) == 1 or not by_number:
        return ordered or list(found)
    raise SensorUnavailable(
        "amd",
        f"GPUs are chosen by number, and {sysfs_root / 'class' / 'kfd'} does not tell how ROCm numbers them",
        "Load the driver with ROCm's support (/dev/kfd), or unset the choice to count all GPUs",
    )


def _topology(sysfs_root: Path) -> list[str]:
    """The slots of ROCm's GPU nodes, in their order."""
    slots = []
    nodes = (sysfs_root / "class" / "kfd" / "kfd" / "topology" / "nodes").glob("[0-9]*")
    for node in sorted(nodes, key=lambda path: int(path.name)):
        facts = dict(re.findall(r"^(\w+) (\d+)$", text(node / "properties"), re.MULTILINE))
        if int(facts.get("simd_count", 0)):
            place = int(facts.get("location_id", 0))
            # As PCI does: 8 bits of bus, 5 of device, 3 of function.
            slots.append(f"{int(facts.get('domain', 0)):04x}:{place >> 8 & 0xFF:02x}:{place >> 3 & 0x1F:02x}")
    return slots


def _picked(setting: str, left: Sequence[Card]) -> list[Card]:
    picked: list[Card] = []
    for entry in (part.strip() for part in setting.split(",")):
        card = _named(entry, left)
        if card is None or card in picked:
            break
        picked.append(card)
    return picked


def _named(entry: str, left: Sequence[Card]) -> Card | None:
    if entry.isdecimal():
        return left[int(entry)] if int(entry) < len(left) else None
    prefix = entry.upper().removeprefix("GPU-")
    if not entry.upper().startswith("GPU-") or not prefix:
        return None
    matches = [card for card in left if card.unique_id.upper().startswith(prefix)]
    return matches[0] if len(matches) == 1 else None
