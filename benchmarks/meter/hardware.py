"""The simulated machine that all tools are measured on, and how a tool's driver is run on it.

GPUs are those of tests/rig: a library that stands in NVML's place, with energy counters that renew every 100 ms. The
powercap tree is of the same rig. Where accuracy is measured, powercap.c is preloaded, which makes its counters exact to
the millisecond; where cost is, it is not, and a thread writes the tree's files.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("drive.py")
PACKAGE = "package-0"
RATED_W = {"cpu": 125.0, "gpu": 400.0}
"""As the simulated devices tell it."""
START_S = 60.0
"""How long a tool may take to start [s]; the slowest peer, without a network, takes 18 s."""
STOP_S = 60.0
REFRESH_S = 0.001
"""How often a preloaded counter moves [s], as RAPL's."""
WRITE_S = 0.02
"""Time between two writes of a tree that is not preloaded [s]."""
NOT_PASSED_ON = ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK", "PYTHONDONTWRITEBYTECODE")
"""Variables that would change what is measured: without bytecode, each process compiles what it imports."""
STARTING_AT_ONCE = 2
"""Drivers that start side by side: as many as the smallest machine has threads."""

Document = dict[str, Any]


def _load_rig() -> Any:
    spec = importlib.util.spec_from_file_location("rig", ROOT / "tests" / "rig" / "rig.py")
    if spec is None or spec.loader is None:
        raise ImportError("tests/rig/rig.py is not there")
    module = importlib.util.module_from_spec(spec)
    sys.modules["rig"] = module
    spec.loader.exec_module(module)
    return module


rig = _load_rig()


def spikes(run_s: float, base_w: float = 60.0, peak_w: float = 300.0, seed: int = 7) -> Any:
    """A base with peaks of 2 to 3 s, 3 to 7 s apart, from the beginning until some time after the run [s]."""
    random = Random(seed)
    at_s, steps = 0.0, [(0.0, base_w)]
    while at_s < run_s + START_S and len(steps) < 62:
        at_s += random.uniform(3.0, 7.0)
        length_s = random.uniform(2.0, 3.0)
        steps += [(at_s, peak_w), (at_s + length_s, base_w)]
        at_s += length_s
    return rig.Steps(tuple(steps))


def environment() -> dict[str, str]:
    """The environment of this process, as a program that is measured gets it."""
    return {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}


@dataclass
class Machine:
    """Simulated devices, and the environment in which a program finds them. `close` removes all that was written."""

    gpus: Sequence[Any] = ()
    zones: Sequence[Any] = ()
    exact_s: float = 0.0
    """For how long the counters are preloaded [s]; 0: they are files that are written."""
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="lowcarb-bench-")))

    def __post_init__(self) -> None:
        self.nvml = rig.SimulatedNvml(self.folder / "nvml", self.gpus) if self.gpus else None
        self.sysfs = rig.SimulatedSysfs(self.folder / "sys", self.zones)
        # Kernels link each zone below its control type too; two of the peers look there.
        nested = self.sysfs.root / "class" / "powercap" / "intel-rapl"
        nested.mkdir(parents=True, exist_ok=True)
        for zone in self.sysfs.root.glob("class/powercap/intel-rapl:*"):
            (nested / zone.name).symlink_to(zone)
        tools = self.folder / "bin"
        tools.mkdir()
        # codecarbon looks for a GPU by whether this program runs.
        (tools / "nvidia-smi").write_text("#!/bin/sh\nexit 0\n")
        (tools / "nvidia-smi").chmod(0o755)
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write, name="powercap", daemon=True)
        if self.exact_s:
            self._preload = _preload(self.folder)
            self._tabulate()
        elif self.zones:
            self._writer.start()

    @property
    def env(self) -> dict[str, str]:
        """The environment of a program on this machine."""
        env = environment() | self.sysfs.env
        if self.nvml is not None:
            env |= self.nvml.env
            env["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{env.get('PATH', '')}"
        if self.exact_s:
            env["LD_PRELOAD"] = str(self._preload)
        return env

    def energy_j(self, kind: str, start_s: float, end_s: float) -> float:
        """True energy of all devices of a kind [J] between two times of the monotonic clock."""
        if kind == "cpu":
            return float(self.sysfs.energy_j(PACKAGE, start_s, end_s))
        return float(sum(self.nvml.energy_j(index, start_s, end_s) for index in range(len(self.gpus))))

    def close(self) -> None:
        self._ended.set()
        if self._writer.is_alive():
            self._writer.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What befalls a preloaded counter.

    def reset(self) -> None:
        """The package's counter begins at 0 again, as after a suspend."""
        self._tabulate(-float(self.sysfs.energy_j(PACKAGE, self.sysfs.zero_s, time.monotonic())))

    def show(self, text: str) -> None:
        """The package's counter shows this in place of its energy."""
        self._counter.write_text(f"{text}\n")
        self._table.rename(self._table.with_suffix(".off"))

    def show_energy(self) -> None:
        """It shows its energy again."""
        self._table.with_suffix(".off").rename(self._table)

    @property
    def _counter(self) -> Path:
        return Path(self.sysfs.path(PACKAGE) / "energy_uj")

    @property
    def _table(self) -> Path:
        return self._counter.with_name("energy_uj.table")

    def _tabulate(self, offset_j: float | None = None) -> None:
        zone = next(zone for zone in self.zones if zone.name == PACKAGE)
        offset_j = zone.start_j if offset_j is None else offset_j
        steps = range(round(self.exact_s / REFRESH_S))
        counter_uj = (1e6 * ((offset_j + zone.curve.energy_j(REFRESH_S * step)) % zone.range_j) for step in steps)
        fresh = self._table.with_suffix(".new")
        fresh.write_bytes(array("d", [self.sysfs.zero_s, *counter_uj]).tobytes())
        fresh.replace(self._table)

    def _write(self) -> None:
        while not self._ended.wait(WRITE_S):
            self.sysfs.write()


def _preload(folder: Path) -> Path:
    source, library = Path(__file__).with_name("powercap.c"), folder / "powercap.so"
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise rig.RigUnavailable("no C compiler (gcc or cc) on the path, so counters cannot be simulated")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def gpu_machine(curve: Any, count: int = 1, **settings: Any) -> Machine:
    return Machine(gpus=[rig.SimulatedGpu(curve=curve, limit_w=RATED_W["gpu"], **settings)] * count)


def cpu_machine(curve: Any, run_s: float, **settings: Any) -> Machine:
    """A processor with an exact counter, for a run of so long [s]."""
    zone = rig.Zone(PACKAGE, curve, limit_w=RATED_W["cpu"], **settings)
    return Machine(zones=[zone], exact_s=run_s + START_S + STOP_S)


def whole_machine() -> Machine:
    """A GPU and a processor, for figures of cost."""
    zones = [rig.Zone(PACKAGE, rig.Constant(50.0)), rig.Zone("dram", rig.Constant(5.0), parent=PACKAGE)]
    return Machine(gpus=[rig.SimulatedGpu(curve=rig.Constant(250.0))], zones=zones)


class Driver:
    """A running tool."""

    starting = threading.BoundedSemaphore(STARTING_AT_ONCE)

    def __init__(self, python: Path, tool: str, figure: str, machine: Machine, settings: Document) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{tool}-", dir=machine.folder))
        self._out, self._ready = self.folder / "out.json", self.folder / "ready.json"
        self._log = (self.folder / "log").open("wb")
        settings = {
            "kind": "gpu",
            "interval_s": 1.0,
            "folder": str(self.folder),
            **settings,
            "out": str(self._out),
            "ready": str(self._ready),
        }
        self.process = subprocess.Popen(
            [str(python), str(DRIVER), tool, figure, json.dumps(settings)],
            env={**machine.env, "LOWCARB_HOME": settings["folder"]},
            cwd=self.folder,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def wait_ready(self) -> float | None:
        """When the tool had started; None where it never does."""
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s:
            if self._ready.exists():
                return float(json.loads(self._ready.read_text())["started_s"])
            if self.process.poll() is not None:
                return None
            time.sleep(0.02)
        return None

    def result(self, timeout_s: float) -> Document:
        """What the driver wrote, beside what the tool said while it ran; `ended` where the tool ended the program."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
        hung = self.process.poll() is None
        self.end()
        if self._out.exists():
            return {**json.loads(self._out.read_text()), "said": self.said()}
        return {"ended": "hangs" if hung else f"ends the program ({self.process.returncode})", "said": self.said()}

    def end(self) -> None:
        """Kill what is left of it, with all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()

    def said(self) -> list[str]:
        """Lines of the tool between its start and its end, as an application would show them."""
        text = (self.folder / "log").read_text(errors="replace")
        return text.partition("@@started")[2].partition("@@stopped")[0].strip().splitlines()


def drive(
    python: Path,
    tool: str,
    figure: str,
    machine: Machine,
    settings: Document | None = None,
    *,
    wait_s: float = 0.0,
    on_ready: Callable[[float], None] | None = None,
) -> Document:
    """Run a driver to its end, at most so long [s] after its start; `on_ready` is told when the tool had started."""
    if figure not in ("run", "blocks"):
        return Driver(python, tool, figure, machine, settings or {}).result(START_S + STOP_S + wait_s)
    with Driver.starting:
        driver = Driver(python, tool, figure, machine, settings or {})
        started_s = driver.wait_ready()
    if started_s is not None and on_ready is not None:
        on_ready(started_s)
    return driver.result(STOP_S + wait_s if started_s is not None else 1.0)
