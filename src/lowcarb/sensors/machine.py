"""What a run ran on: a `Machine`, without its name or address."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import Counter
from contextlib import suppress
from typing import Protocol
from zlib import crc32

from lowcarb.core.cpu_power import cpu_power_w
from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device, Installed, Machine
from lowcarb.core.units import BYTES_PER_GIB, G_PER_KG, s_from_years
from lowcarb.errors import CatalogueError
from lowcarb.sensors.find import Found
from lowcarb.sensors.gpu import Gpu
from lowcarb.sensors.processor import CpuCatalogue, Processor, clock_hz, usable_cores

SERVER_KG = Estimate(650.0, 1500.0, 3000.0, "assumed")
"""Making of a two-socket server without GPUs [kgCO2e]: 48 footprints by Dell and HP in Boavizta's
environmental-footprint-data (ODbL 1.0) lie between 465 and 2,503 with little memory, 9 of 10 above 678, median 1,216;
memory and disks of a server in use add to it."""
GPU_SERVER_KG = Estimate(3000.0, 5000.0, 7000.0, "assumed")
"""The same for the host of eight GPUs [kgCO2e]: 3,550 (TPU v6e host, EcoLogits after Schneider et al. 2025), 5,700
(p5.48xlarge by BoaviztAPI) and 6,000 (DGX H200, EcoLogits)."""
GPU_SERVER_FROM_GPUS = 4
SERVER_YEARS = Estimate(4.0, 5.0, 6.0, "assumed")
"""Time in service: 4 years at Google, 6 at AWS and Azure, by their carbon tools."""
SERVER_THREADS = Estimate(48.0, 128.0, 384.0, "assumed")
"""Logical processors of a two-socket server that nobody knows: two 12-core Xeons to two 96-core EPYCs. A smaller
machine, such as a laptop, counts as a part of the smallest."""
SOCKETS_OF_SERVER = 2.0
SOFTWARE = ("torch", "transformers")
"""Packages whose version changes what a training costs."""


class HardwareCatalogue(CpuCatalogue, Protocol):
    """What this module asks of a catalogue."""

    def device(self, name: str) -> Device:
        """The device with this id or alias. Raises CatalogueError."""
        ...


def describe_machine(catalogue: HardwareCatalogue, found: Found) -> Machine:
    """The machine as far as this process may use it. Equal ids mean that two runs may be compared."""
    processor = found.processor
    threads = max(1, int(processor.usable_threads))
    software = _software()
    names = sorted(gpu.name for gpu in found.gpus)
    return Machine(
        id=_fingerprint(processor, threads, names, software),
        name=_name(processor, threads, names),
        devices=(_processor_share(catalogue, found), *_cards(catalogue, found.gpus)),
        threads=threads,
        memory_bytes=processor.memory_bytes,
        software=software,
        virtual=processor.virtual,
    )


def _fingerprint(processor: Processor, threads: int, gpus: list[str], software: dict[str, str]) -> str:
    facts = [
        [processor.name, processor.vendor, processor.family, processor.model],
        threads,
        _gib(processor),
        gpus,
        software,
    ]
    # A check sum does: nobody forges it, and a stronger one would take a training 4 MB.
    return f"{crc32(json.dumps(facts, sort_keys=True).encode()):08x}"


def _name(processor: Processor, threads: int, gpus: list[str]) -> str:
    parts = [f"{count} × {name}" for name, count in sorted(Counter(gpus).items())]
    count = "1 thread" if threads == 1 else f"{threads} threads"
    return ", ".join([*parts, processor.name, count, f"{_gib(processor)} GiB"])


def _gib(processor: Processor) -> int:
    return round(processor.memory_bytes / BYTES_PER_GIB)


def _software() -> dict[str, str]:
    """Versions by package, found without importing any."""
    versions = {"python": platform.python_version()}
    return versions | {package: text for package in SOFTWARE if (text := _version(package)) is not None}


def _version(package: str) -> str | None:
    # A training has loaded it; looking it up among the files takes memory that a meter should not take.
    loaded = getattr(sys.modules.get(package), "__version__", None)
    if loaded is not None:
        return str(loaded)
    # By the name of the folder that an installation leaves beside the package (PEP 376 and 427): importlib.metadata
    # would load a parser of e-mails, and with it 2 MB.
    for folder in sys.path:
        # One by one, as there may be thousands.
        with suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                stem, _, ending = entry.name.rpartition(".")
                whose, _, version = stem.partition("-")
                if ending in ("dist-info", "egg-info") and whose.lower() == package and version:
                    return version.partition("-")[0]
    return None


def _processor_share(catalogue: CpuCatalogue, found: Found) -> Installed:
    """The processors with the server around them, as far as this process may use it."""
    processor = found.processor
    server_kg = GPU_SERVER_KG if len(found.gpus) >= GPU_SERVER_FROM_GPUS else SERVER_KG
    embodied_kg = server_kg * _share_of_server(catalogue, processor)
    cores = usable_cores(processor, catalogue)
    return Installed(
        Device(
            id="processor",
            name=processor.name,
            kind="cpu",
            memory_bytes=processor.memory_bytes,
            tdp_w=found.rated_w.mid,
            idle_w=cpu_power_w(0.0, found.rated_w.mid, cores=cores, clock_hz=clock_hz(processor, catalogue)).mid,
            embodied_g=embodied_kg.scale(G_PER_KG),
            lifetime_s=SERVER_YEARS.scale(s_from_years(1.0)),
        )
    )


def _share_of_server(catalogue: CpuCatalogue, processor: Processor) -> Estimate:
    """Usable logical processors over those of the server, at most 1."""
    per_socket = _threads_per_socket(catalogue, processor)
    threads = SERVER_THREADS
    if per_socket is not None:
        threads = Estimate.exact(max(SOCKETS_OF_SERVER * per_socket, SERVER_THREADS.low), "assumed")
    usable = processor.usable_threads
    low, mid, high = (min(1.0, usable / count) for count in (threads.high, threads.mid, threads.low))
    return Estimate(low, mid, high, threads.basis)


def _threads_per_socket(catalogue: CpuCatalogue, processor: Processor) -> float | None:
    if not processor.virtual:
        return processor.threads / processor.sockets
    known = catalogue.cpu(processor.name)
    return None if known is None else known.threads


def _cards(catalogue: HardwareCatalogue, gpus: tuple[Gpu, ...]) -> list[Installed]:
    """The GPUs, each kind once with its count."""
    devices = [_card(catalogue, gpu) for gpu in gpus]
    counts = Counter(device.id for device in devices)
    kinds = {device.id: device for device in devices}
    return [Installed(kinds[name], float(count)) for name, count in counts.items()]


def _card(catalogue: HardwareCatalogue, gpu: Gpu) -> Device:
    try:
        return catalogue.device(gpu.name)
    except CatalogueError:
        name = gpu.name.lower().replace(" ", "-")
        return Device(id=name, name=gpu.name, kind="gpu", memory_bytes=gpu.memory_bytes, tdp_w=gpu.limit_w)
