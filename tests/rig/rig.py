"""A machine with known power: a simulated NVML library and a simulated sysfs tree, for tests and benchmarks.

Power is a known function of the monotonic clock, so the true energy between any two times is exact, whatever the
sensors show of it. Needs the standard library only, and gcc (or cc) for NVML.

    nvml = SimulatedNvml(folder, [SimulatedGpu(curve=Square(60.0, 300.0, period_s=4.0))])
    subprocess.run([...], env={**os.environ, **nvml.env})      # nvidia-ml-py finds the library by LD_LIBRARY_PATH
    nvml.energy_j(0, start_s, end_s)                           # truth [J] between two values of time.monotonic()
    nvml.change(0, lost_s=nvml.now_s())                        # from this moment on; programs that run see it at once

    sysfs = SimulatedSysfs(folder, [Zone("package-0", Constant(50.0)), Zone("dram", Constant(5.0), parent="package-0")])
    with sysfs.driven():                                       # or set_j, to the joule
        subprocess.run([...], env={**os.environ, **sysfs.env})
    sysfs.energy_j("package-0", start_s, end_s)

Times of a GPU or a curve are seconds after `zero_s`, the moment of the making. What each setting does is told at the
fields; how the library behaves in detail, at the top of nvml.c.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import cos, floor, inf, isfinite, pi, sin
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

SOURCE = Path(__file__).with_name("nvml.c")
LIBRARY = "libnvidia-ml.so.1"
FUNCTION_NOT_FOUND, NOT_SUPPORTED, UNKNOWN = 13, 3, 999


class RigUnavailable(RuntimeError):
    """This machine cannot build the library; the message says why."""


class Curve(Protocol):
    """Power over time."""

    def power_w(self, at_s: float) -> float:
        """Power [W] at a time after the beginning."""
        ...

    def energy_j(self, at_s: float) -> float:
        """Energy [J] from the beginning to a time."""
        ...

    def lines(self, zero_s: float) -> list[str]:
        """How nvml.c is told."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same power for ever."""

    watts: float

    def power_w(self, at_s: float) -> float:
        return self.watts

    def energy_j(self, at_s: float) -> float:
        return self.watts * at_s

    def lines(self, zero_s: float) -> list[str]:
        return [f"curve constant {self.watts!r}"]


@dataclass(frozen=True)
class Square:
    """High for a share of each period, then low; spikes where the share is small."""

    low_w: float
    high_w: float
    period_s: float
    duty: float = 0.5

    def power_w(self, at_s: float) -> float:
        turns = at_s / self.period_s
        return self.high_w if turns - floor(turns) < self.duty else self.low_w

    def energy_j(self, at_s: float) -> float:
        turns = at_s / self.period_s
        high_s = self.period_s * (floor(turns) * self.duty + min(turns - floor(turns), self.duty))
        return self.low_w * at_s + (self.high_w - self.low_w) * high_s

    def lines(self, zero_s: float) -> list[str]:
        return [f"curve square {self.low_w!r} {self.high_w!r} {self.period_s!r} {self.duty!r}"]


@dataclass(frozen=True)
class Sine:
    """A wave about a mean."""

    mean_w: float
    amplitude_w: float
    period_s: float

    def power_w(self, at_s: float) -> float:
        return self.mean_w + self.amplitude_w * sin(2.0 * pi * at_s / self.period_s)

    def energy_j(self, at_s: float) -> float:
        wave_j = self.amplitude_w * self.period_s / (2.0 * pi) * (1.0 - cos(2.0 * pi * at_s / self.period_s))
        return self.mean_w * at_s + wave_j

    def lines(self, zero_s: float) -> list[str]:
        return [f"curve sine {self.mean_w!r} {self.amplitude_w!r} {self.period_s!r}"]


@dataclass(frozen=True)
class Steps:
    """Each power [W] from its time [s] on; none before the first. At most 64, in order of time."""

    steps: tuple[tuple[float, float], ...]

    def power_w(self, at_s: float) -> float:
        return next((watts for from_s, watts in reversed(self.steps) if from_s <= at_s), 0.0)

    def energy_j(self, at_s: float) -> float:
        ends = [from_s for from_s, _ in self.steps[1:]] + [inf]
        parts = zip(self.steps, ends, strict=True)
        return sum(watts * (min(end_s, at_s) - from_s) for (from_s, watts), end_s in parts if from_s < at_s)

    def lines(self, zero_s: float) -> list[str]:
        told = " ".join(f"{zero_s + from_s!r} {watts!r}" for from_s, watts in self.steps)
        return [f"curve steps {len(self.steps)} {told}"]


@dataclass(frozen=True)
class Sum:
    """Several curves at once; at most eight for NVML."""

    parts: tuple[Curve, ...]

    def power_w(self, at_s: float) -> float:
        return sum(part.power_w(at_s) for part in self.parts)

    def energy_j(self, at_s: float) -> float:
        return sum(part.energy_j(at_s) for part in self.parts)

    def lines(self, zero_s: float) -> list[str]:
        return [line for part in self.parts for line in part.lines(zero_s)]


def spikes(base_w: float, peak_w: float, times_s: Sequence[float], length_s: float) -> Steps:
    """A base with a peak of this length from each of these times on."""
    told = [(0.0, base_w)]
    for from_s in times_s:
        told += [(from_s, peak_w), (from_s + length_s, base_w)]
    return Steps(tuple(told))


# NVML.


@dataclass(frozen=True)
class SimulatedGpu:
    """One GPU. Times are seconds after the rig's `zero_s`; `inf` is never."""

    curve: Curve = Constant(250.0)
    uuid: str = ""
    """Made up from its place unless given."""
    name: str = "NVIDIA A100-SXM4-80GB"
    limit_w: float | None = 400.0
    """None: the call is refused."""
    memory_bytes: int = 80 * 2**30
    mig: int | None = 0
    """1: on. None: a GPU that knows no MIG."""
    architecture: int | None = 7
    """NVML_DEVICE_ARCH: 4 Pascal, 5 Volta, 7 Ampere, 9 Hopper. None: the call is refused."""
    counter: str = "ok"
    """ok, refused, zero, stuck (at its start), garbage."""
    counter_start_j: float = 12_345.678
    counter_renewal_s: float = 0.1
    counter_stops_s: float = inf
    counter_reset_s: float = inf
    power: str = "ok"
    """ok, refused, zero, garbage."""
    power_renewal_s: float = 0.1
    power_mean_s: float = 0.0
    """A power is the mean over so long before its renewal; 0: of the instant. 0.025 in 0.1: as on A100 and H100."""
    samples: int = 0
    """Length of the driver's buffer; 0: not supported."""
    samples_every_s: float = 0.02
    samples_stop_s: float = inf
    gain: float = 1.0
    """What counter and power show over the truth."""
    lost_s: float = inf
    """NVML_ERROR_GPU_IS_LOST from then on."""
    hang_s: float = inf
    """Calls do not return from then on."""
    back_s: float = inf
    """Neither lost nor hanging any more."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Code by function: what this GPU answers instead."""


class SimulatedNvml:
    """A folder with a libnvidia-ml.so.1 and what it is told to show.

    Args:
        folder: where it is put; is made if need be.
        gpus: in order of their index.
        missing: functions that the library does not have.
        errors: code by function, for all GPUs and for calls that belong to none.
        trace: note each call, for `calls`.

    Raises:
        RigUnavailable: there is no compiler, or it fails.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        gpus: Sequence[SimulatedGpu],
        *,
        missing: Sequence[str] = (),
        errors: Mapping[str, int] | None = None,
        trace: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.zero_s = time.monotonic()
        self.gpus = [one if one.uuid else replace(one, uuid=_uuid(place)) for place, one in enumerate(gpus)]
        self._errors, self._trace = dict(errors or {}), self.folder / "calls" if trace else None
        self._write()
        build_library(self.folder / LIBRARY, missing)

    @property
    def env(self) -> dict[str, str]:
        """What a program's environment needs so that it finds this library."""
        old = os.environ.get("LD_LIBRARY_PATH")
        return {"LD_LIBRARY_PATH": f"{self.folder}{os.pathsep}{old}" if old else str(self.folder)}

    def now_s(self) -> float:
        """Seconds since `zero_s`."""
        return time.monotonic() - self.zero_s

    def power_w(self, index: int, at_s: float) -> float:
        """True power [W] at a time of the monotonic clock."""
        return self.gpus[index].curve.power_w(at_s - self.zero_s)

    def energy_j(self, index: int, start_s: float, end_s: float) -> float:
        """True energy [J] between two times of the monotonic clock."""
        curve = self.gpus[index].curve
        return curve.energy_j(end_s - self.zero_s) - curve.energy_j(start_s - self.zero_s)

    def change(self, index: int, **changes: object) -> None:
        """Let a GPU be different from now on, also for programs that already run."""
        self.gpus[index] = replace(self.gpus[index], **changes)  # type: ignore[arg-type]  # by its fields' names
        self._write()

    def calls(self) -> list[tuple[int, str]]:
        """The calls so far, by process and function, if they are traced."""
        if self._trace is None or not self._trace.exists():
            return []
        return [(int(pid), name) for pid, name in (line.split() for line in self._trace.read_text().splitlines())]

    def _write(self) -> None:
        lines = [] if self._trace is None else [f"trace {self._trace}"]
        lines += [f"error {name} {code}" for name, code in self._errors.items()]
        for gpu in self.gpus:
            lines += _gpu_lines(gpu, self.zero_s)
        _replace_text(self.folder / "nvml.control", "\n".join(lines) + "\n")


def build_library(path: Path, missing: Sequence[str] = ()) -> None:
    """Compile nvml.c to a path, without some functions.

    Raises:
        RigUnavailable: there is no compiler, or it fails.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RigUnavailable("no C compiler (gcc or cc) on the path, so NVML cannot be simulated")
    without = [f"-D{name}=absent_{name}" for name in missing]
    command = [compiler, "-shared", "-fPIC", "-O1", *without, "-o", str(path), str(SOURCE)]
    done = subprocess.run([*command, "-lm", "-lpthread", "-ldl"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RigUnavailable(f"{compiler} cannot build {SOURCE.name}: {done.stderr.strip()}")


def _uuid(place: int) -> str:
    return f"GPU-{place:08x}-0000-4000-8000-000000000000"


def _gpu_lines(gpu: SimulatedGpu, zero_s: float) -> list[str]:
    times = {
        "counter_stops": gpu.counter_stops_s,
        "counter_reset": gpu.counter_reset_s,
        "samples_stop": gpu.samples_stop_s,
        "lost": gpu.lost_s,
        "hang": gpu.hang_s,
        "back": gpu.back_s,
    }
    return [
        "gpu",
        f"uuid {gpu.uuid}",
        f"name {gpu.name}",
        f"memory {gpu.memory_bytes}",
        f"limit {0 if gpu.limit_w is None else round(1000 * gpu.limit_w)}",
        f"mig {-1 if gpu.mig is None else gpu.mig}",
        f"architecture {-1 if gpu.architecture is None else gpu.architecture}",
        f"zero {zero_s!r}",
        f"counter {gpu.counter} {gpu.counter_start_j!r} {gpu.counter_renewal_s!r}",
        f"power {gpu.power} {gpu.power_renewal_s!r} {gpu.power_mean_s!r}",
        f"samples {gpu.samples} {gpu.samples_every_s!r}",
        f"gain {gpu.gain!r}",
        *gpu.curve.lines(zero_s),
        *(f"{key} {zero_s + at_s!r}" for key, at_s in times.items() if isfinite(at_s)),
        *(f"error {name} {code}" for name, code in gpu.errors.items()),
    ]


# sysfs.


@dataclass(frozen=True)
class Zone:
    """One domain of the powercap tree, a counter in microjoules."""

    name: str
    """What its file `name` says, such as package-0, dram, core, psys; unique together with the parent."""
    curve: Curve = Constant(50.0)
    parent: str | None = None
    """The zone that it lies in, by name."""
    range_j: float = 262_143.328850
    start_j: float = 1000.0
    limit_w: float | None = 125.0
    """Its long-term limit; None: the tree states none."""
    control_type: str = "intel-rapl"
    mode: int = 0o444
    """Permissions of energy_uj."""


@dataclass(frozen=True)
class Hwmon:
    """One chip of the hwmon class."""

    name: str
    """Such as amdgpu, power_meter, nvme."""
    curve: Curve = Constant(100.0)
    power: str | None = "power1_average"
    """The file that shows its power [µW]; None: it has none."""
    energy: str | None = None
    """The file that shows its energy [µJ], such as energy1_input."""
    files: Mapping[str, object] = field(default_factory=dict)
    """Further files."""


@dataclass(frozen=True)
class Card:
    """One graphics card of the drm class, with a hwmon chip of its own if it has one."""

    files: Mapping[str, object] = field(default_factory=lambda: {"vendor": "0x1002", "device": "0x740f"})
    """Files of its folder `device`."""
    hwmon: Hwmon | None = None
    driver: str = "amdgpu"


class SimulatedSysfs:
    """A folder in the form of /sys: powercap zones, hwmon chips and graphics cards.

    Args:
        folder: becomes the root; is made if need be.
        zones: parents before their children.
        hwmon: chips that belong to no card.
        cards: graphics cards, card0 first.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        zones: Sequence[Zone] = (),
        *,
        hwmon: Sequence[Hwmon] = (),
        cards: Sequence[Card] = (),
    ) -> None:
        self.root, self.zero_s = Path(folder), time.monotonic()
        self._zones: dict[str, tuple[Zone, Path]] = {}
        self._chips: list[tuple[Hwmon, Path]] = []
        self._offsets_j: dict[str, float] = {}
        for zone in zones:
            self._add_zone(zone)
        for chip in hwmon:
            self._add_chip(chip, None)
        for place, card in enumerate(cards):
            self._add_card(place, card)
        self.write()

    @property
    def env(self) -> dict[str, str]:
        """What lowcarb's environment needs so that it reads this tree."""
        return {"LOWCARB_SYSFS_ROOT": str(self.root)}

    def path(self, name: str) -> Path:
        """Folder of a zone, by its name or as `parent/name`."""
        return self._zones[name][1]

    def energy_j(self, name: str, start_s: float, end_s: float) -> float:
        """True energy [J] of a zone between two times of the monotonic clock, if it is driven by its curve."""
        curve = self._zones[name][0].curve
        return curve.energy_j(end_s - self.zero_s) - curve.energy_j(start_s - self.zero_s)

    def set_j(self, name: str, energy_j: float) -> None:
        """Let a zone's counter show this [J], whatever its curve says; its range is not applied."""
        _write_in_place(self.path(name) / "energy_uj", round(1e6 * energy_j))

    def reset(self, name: str) -> None:
        """Let a zone's counter begin at 0 again, as after a suspend."""
        zone = self._zones[name][0]
        self._offsets_j[name] = -zone.curve.energy_j(time.monotonic() - self.zero_s)
        self.write()

    def write(self) -> None:
        """Let every file show what its curve says of this moment."""
        since_s = time.monotonic() - self.zero_s
        for name, (zone, path) in self._zones.items():
            energy_j = self._offsets_j[name] + zone.curve.energy_j(since_s)
            _write_in_place(path / "energy_uj", round(1e6 * (energy_j % zone.range_j)))
        for chip, path in self._chips:
            if chip.power is not None:
                _write_in_place(path / chip.power, round(1e6 * chip.curve.power_w(since_s)))
            if chip.energy is not None:
                _write_in_place(path / chip.energy, round(1e6 * chip.curve.energy_j(since_s)))

    @contextmanager
    def driven(self, every_s: float = 0.005) -> Iterator[None]:
        """Within this, a thread writes the files anew every so often [s]; a reader sees what is at most as old."""
        ended = Event()

        def drive() -> None:
            while not ended.wait(every_s):
                self.write()

        thread = Thread(target=drive, name="simulated-sysfs", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _add_zone(self, zone: Zone) -> None:
        key = zone.name if zone.name not in self._zones else f"{zone.parent}/{zone.name}"
        siblings = sum(one.parent == zone.parent for one, _ in self._zones.values())
        above = zone.control_type if zone.parent is None else self.path(zone.parent).name
        path = self.root / "class" / "powercap" / f"{above}:{siblings}"
        path.mkdir(parents=True)
        limits: dict[str, object] = {}
        if zone.limit_w is not None:
            limit_uw = round(1e6 * zone.limit_w)
            limits = {"constraint_0_name": "long_term", "constraint_0_power_limit_uw": limit_uw}
            limits["constraint_0_max_power_uw"] = limit_uw
        _write_files(
            path, {"name": zone.name, "max_energy_range_uj": round(1e6 * zone.range_j), "enabled": 1, **limits}
        )
        (path / "energy_uj").touch()
        (path / "energy_uj").chmod(zone.mode | 0o200)
        self._zones[key], self._offsets_j[key] = (zone, path), zone.start_j

    def _add_chip(self, chip: Hwmon, device: Path | None) -> None:
        every = self.root / "class" / "hwmon"
        every.mkdir(parents=True, exist_ok=True)
        number = f"hwmon{len(self._chips)}"
        path = every / number if device is None else device / "hwmon" / number
        path.mkdir(parents=True)
        if device is not None:
            (every / number).symlink_to(path)
        _write_files(path, {"name": chip.name, **chip.files})
        self._chips.append((chip, path))

    def _add_card(self, place: int, card: Card) -> None:
        device = self.root / "class" / "drm" / f"card{place}" / "device"
        device.mkdir(parents=True)
        _write_files(device, {**card.files, "uevent": f"DRIVER={card.driver}"})
        if card.hwmon is not None:
            self._add_chip(card.hwmon, device)


def _write_files(folder: Path, files: Mapping[str, object]) -> None:
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


def _write_in_place(path: Path, number: int) -> None:
    """Show a number without a moment at which the file is empty; the blanks after it are what any reader strips."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(file, f"{number}\n".ljust(24).encode(), 0)
    finally:
        os.close(file)


def _replace_text(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)
