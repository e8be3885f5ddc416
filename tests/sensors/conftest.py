# ruff: noqa: N801, N802  # NVML's own names
"""Fakes that several tests of this folder share: an NVML module, a powercap tree, a clock, a catalogue."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from lowcarb.catalogue.records import Cpu, CpuFamily
from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device
from lowcarb.errors import CatalogueError


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):
    pass


class NVMLError_GpuIsLost(NVMLError):
    pass


@dataclass
class FakeGpu:
    uuid: str
    name: str = "NVIDIA A100-SXM4-80GB"
    energy_mj: int | None = 1_000_000
    power_mw: int | None = 250_000
    limit_mw: int | None = 400_000
    mig: int | None = 0
    lost: bool = False


@dataclass
class FakeNvml:
    """Answers as nvidia-ml-py does: milli-units, and errors of its own classes."""

    gpus: list[FakeGpu]
    broken: bool = False
    open: int = 0
    NVMLError: type[NVMLError] = field(default=NVMLError)

    def nvmlInit(self):
        if self.broken:
            raise NVMLError("NVML Shared Library Not Found")
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self._alive(self.gpus[index])

    def nvmlDeviceGetUUID(self, gpu):
        return self._alive(gpu).uuid

    def nvmlDeviceGetName(self, gpu):
        return self._alive(gpu).name

    def nvmlDeviceGetMemoryInfo(self, gpu):
        return SimpleNamespace(total=80 * 2**30)

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu):
        return self._given(gpu, gpu.limit_mw)

    def nvmlDeviceGetMigMode(self, gpu):
        return [self._given(gpu, gpu.mig), 0]

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        return self._given(gpu, gpu.energy_mj)

    def nvmlDeviceGetPowerUsage(self, gpu):
        return self._given(gpu, gpu.power_mw)

    def _alive(self, gpu):
        if gpu.lost:
            raise NVMLError_GpuIsLost("GPU is lost")
        return gpu

    def _given(self, gpu, value):
        if value is None:
            raise NVMLError_NotSupported("Not Supported")
        return self._alive(gpu) and value


@pytest.fixture
def nvml() -> Callable[..., FakeNvml]:
    """Makes a fake NVML module: `nvml(FakeGpu, …)` through keyword dictionaries, one a GPU."""
    return lambda *gpus, broken=False: FakeNvml([FakeGpu(**gpu) for gpu in gpus], broken)


@pytest.fixture
def powercap(tmp_path: Path) -> Callable[..., Path]:
    """Makes a sysfs root with one powercap zone for each `{zone: {file: content}}`."""

    def build(zones: dict[str, dict[str, object]]) -> Path:
        root = tmp_path / "sys"
        for zone, files in zones.items():
            folder = root / "class" / "powercap" / zone
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in {"energy_uj": 5_000_000, "max_energy_range_uj": 262_143_328_850, **files}.items():
                (folder / name).write_text(f"{content}\n")
        return root

    return build


class FakeClock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits until something holds, and fails after six seconds."""

    def wait(holds: Callable[[], object]) -> None:
        end = time.monotonic() + 6.0
        while not holds():
            assert time.monotonic() < end, "did not come about within 6 s"
            time.sleep(0.002)

    return wait


ANY_TDP_W_PER_THREAD = Estimate(1.0, 4.0, 9.0, "assumed")


@dataclass
class FakeCatalogue:
    cpus: dict[str, Cpu] = field(default_factory=dict)
    families: dict[tuple[str, int, int], Estimate] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)

    def cpu(self, name):
        return self.cpus.get(name)

    def cpu_family(self, vendor, family, model):
        per_thread = self.families.get((vendor, family, model), ANY_TDP_W_PER_THREAD)
        return CpuFamily("family", per_thread, ())

    def device(self, name):
        try:
            return self.devices[name]
        except KeyError:
            raise CatalogueError("device", name, self.devices) from None


@pytest.fixture
def catalogue() -> Callable[..., FakeCatalogue]:
    return FakeCatalogue


CPUINFO = """\
processor\t: {index}
vendor_id\t: {vendor}
cpu family\t: {family}
model\t\t: {model}
model name\t: {name}
physical id\t: {socket}
siblings\t: {siblings}
cpu cores\t: {cores}
flags\t\t: fpu sse2 {flags}

"""


@pytest.fixture
def procfs(tmp_path: Path) -> Callable[..., Path]:
    """Makes a procfs root whose cpuinfo shows so many sockets."""

    def build(
        *, name="Intel(R) Xeon(R) Gold 6230", vendor="GenuineIntel", family=6, model=85, sockets=1, siblings=4,
        cores=2, virtual=False, cgroup="0::/\n",
    ) -> Path:  # fmt: skip
        root = tmp_path / "proc"
        (root / "self").mkdir(parents=True, exist_ok=True)
        entries = [
            CPUINFO.format(
                index=socket * siblings + thread, vendor=vendor, family=family, model=model, name=name, socket=socket,
                siblings=siblings, cores=cores, flags="hypervisor" if virtual else "",
            )
            for socket in range(sockets)
            for thread in range(siblings)
        ]  # fmt: skip
        (root / "cpuinfo").write_text("".join(entries))
        (root / "self" / "cgroup").write_text(cgroup)
        return root

    return build
