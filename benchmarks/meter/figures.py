"""The figures: each runs every tool's driver on simulated hardware and compares with the known truth.

Truth is the energy between the driver's own clock right after `start` returned and right before `stop` was called: the
work, as its user sees it. Runs last no whole number of a counter's renewals or a curve's periods, so that no error
cancels by chance.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import hardware
from hardware import RATED_W, Document, Machine, cpu_machine, drive, gpu_machine, rig, whole_machine
from tools import IMPORTS

ODD_S = 0.0437
"""Added to the length of runs, so that they fit no renewal and no period [s]."""
AT_ONCE = 8
"""Runs that only sleep, side by side."""
WARNS = re.compile(r"warn|error|critical|fail|lost|went backwards|not available|exception|Traceback", re.IGNORECASE)
MB = 1e6
HOUR_S = 3600.0


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long."""

    pythons: dict[str, Path]
    """Interpreter by tool."""
    repeats: int
    counter_s: float
    fault_s: float
    cpu_s: float
    blocks: int

    @classmethod
    def of(cls, pythons: dict[str, Path], *, quick: bool) -> Plan:
        if quick:
            return cls(pythons, repeats=3, counter_s=10.0, fault_s=8.0, cpu_s=5.0, blocks=2)
        return cls(pythons, repeats=15, counter_s=60.0, fault_s=20.0, cpu_s=30.0, blocks=5)


@dataclass(frozen=True)
class Cell:
    """What one tool shows: a number where smaller is better, or words."""

    value: float | None
    text: str
    raw: Any = None
    good: bool | None = None
    """Whether it reaches the target, where that is more than the number's being small."""


Cells = dict[str, Cell]


# What is timed, with nothing beside it.


def imports(plan: Plan, which: int) -> Cells:
    """Wall time of importing, less that of starting the interpreter; interleaved, so that all share a moment."""
    walls: dict[str, list[float]] = {tool: [] for tool in plan.pythons}
    inside: dict[str, list[float]] = {tool: [] for tool in plan.pythons}
    for tool, python in plan.pythons.items():  # The first time writes bytecode and fills the page cache.
        _wall_s(python, IMPORTS[tool][which])
    for _ in range(plan.repeats):
        for tool, python in plan.pythons.items():
            bare_s = _wall_s(python, "pass")
            walls[tool].append(_wall_s(python, IMPORTS[tool][which]) - bare_s)
            timed = f"import time; t = time.perf_counter(); {IMPORTS[tool][which]}; print(time.perf_counter() - t)"
            inside[tool].append(float(_python(python, timed).splitlines()[-1]))
    return {
        tool: Cell(
            median(walls[tool]),
            f"{1e3 * median(walls[tool]):.0f} ms (inside {1e3 * median(inside[tool]):.0f})",
            {"wall_s": walls[tool], "inside_s": inside[tool]},
        )
        for tool in plan.pythons
    }


def foreign_modules(python: Path) -> list[str]:
    """What `import lowcarb` loads besides lowcarb and the standard library."""
    program = (
        "import sys; before = set(sys.modules); import lowcarb; "
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(*sorted(names - set(sys.stdlib_module_names) - {'lowcarb'}))"
    )
    return _python(python, program).split()


def start_stop(plan: Plan) -> tuple[Cells, Cells]:
    """Start and stop in fresh processes, interleaved."""
    seen: dict[str, list[Document]] = {tool: [] for tool in plan.pythons}
    machine = whole_machine()
    try:
        for number in range(plan.repeats + 1):
            for tool, python in plan.pythons.items():
                done = drive(python, tool, "start_stop", machine, {"kind": _kinds(tool), "run_s": 0.35})
                if number > 0:  # The first fills caches.
                    seen[tool].append(done)
    finally:
        machine.close()
    return tuple(  # type: ignore[return-value]
        {
            tool: _times([one[key] for one in done if key in one]) if any(key in one for one in done) else _failed(done)
            for tool, done in seen.items()
        }
        for key in ("start_s", "stop_s")
    )


def memory(plan: Plan, *, with_torch: bool) -> Cells:
    """Resident memory added by import, start and two seconds of running."""
    cells, machine = {}, whole_machine()
    try:
        for tool, python in plan.pythons.items():
            if with_torch and not _has_torch(python):
                cells[tool] = Cell(None, "no torch there")
                continue
            settings = {"kind": _kinds(tool), "run_s": 2.0, "with_torch": with_torch}
            done = [drive(python, tool, "memory", machine, settings) for _ in range(3)]
            added = [one["added_b"] / MB for one in done if "added_b" in one]
            if not added:
                cells[tool] = _failed(done)
                continue
            others = max(one["children_b"] for one in done if "added_b" in one) / MB
            text = f"{median(added):.1f} MB" + (f" + {others:.0f} in children" if others else "")
            cells[tool] = Cell(median(added), text, done)
    finally:
        machine.close()
    return cells


def cpu(plan: Plan, rate_hz: float) -> Cells:
    """Processor time of an idle run, less that of the same without a meter."""
    cells, machine = {}, whole_machine()
    settings = {"interval_s": 1.0 / rate_hz, "run_s": plan.cpu_s, "settle_s": 2.0}
    try:
        bare = drive(plan.pythons["lowcarb"], "none", "cpu", machine, settings, wait_s=plan.cpu_s)
        for tool, python in plan.pythons.items():
            done = drive(python, tool, "cpu", machine, {**settings, "kind": _kinds(tool)}, wait_s=plan.cpu_s)
            if "cpu_s" not in done:
                cells[tool] = _failed([done])
                continue
            per_hour_s = HOUR_S * (done["cpu_s"] / done["wall_s"] - bare["cpu_s"] / bare["wall_s"])
            cells[tool] = Cell(per_hour_s, f"{per_hour_s:.2f} s", {"bare": bare, **done})
    finally:
        machine.close()
    return cells


# What only sleeps, side by side.

Job = Callable[[], Any]


def together(jobs: dict[Any, Job]) -> dict[Any, Any]:
    """Results of jobs that are done side by side."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {key: pool.submit(job) for key, job in jobs.items()}
        return {key: future.result() for key, future in futures.items()}


def curves(run_s: float) -> dict[str, Any]:
    """Means of about 60 W, within 125 W."""
    return {
        "constant": rig.Constant(60.0),
        "square": rig.Square(20.0, 110.0, 3.1, 0.4),
        "sine": rig.Sine(60.0, 45.0, 7.3),
        "spikes": hardware.spikes(run_s, 30.0, 120.0),
    }


def counters(plan: Plan, kind: str) -> Cells:
    """Worst error over the curves, on a counter that wraps or on a GPU's."""
    run_s = plan.counter_s + ODD_S
    machines: dict[str, Machine] = {}
    for name, curve in curves(run_s).items():
        # About 60 W × the run, so at least one wrap, whenever a tool has started.
        machines[name] = (
            cpu_machine(curve, run_s, range_j=30.0 * run_s, start_j=15.0 * run_s)
            if kind == "cpu"
            else gpu_machine(curve)
        )
    settings = {"kind": kind, "run_s": run_s}
    jobs: dict[Any, Job] = {
        (tool, name): lambda tool=tool, python=python, machine=machine: _error(
            machine, kind, drive(python, tool, "run", machine, settings, wait_s=run_s)
        )
        for name, machine in machines.items()
        for tool, python in plan.pythons.items()
    }
    seen = together(jobs)
    for machine in machines.values():
        machine.close()
    return {tool: _worst({name: seen[tool, name] for name in machines}) for tool in plan.pythons}


def spikes(plan: Plan, **settings: Any) -> Cells:
    """Error on a GPU whose counter is refused, with spikes of 2 to 3 s."""
    run_s = plan.counter_s + ODD_S
    machine = gpu_machine(hardware.spikes(run_s), counter="refused", **settings)
    jobs: dict[Any, Job] = {
        tool: lambda tool=tool, python=python: _error(
            machine, "gpu", drive(python, tool, "run", machine, {"kind": "gpu", "run_s": run_s}, wait_s=run_s)
        )
        for tool, python in plan.pythons.items()
    }
    seen = together(jobs)
    machine.close()
    return {tool: _worst({"spikes": one}) for tool, one in seen.items()}


def lost_gpu(plan: Plan) -> Cells:
    """The second of two GPUs is lost at half time: what is kept of all energy until then, and what is said."""

    def job(tool: str, python: Path) -> Cell:
        run_s = plan.fault_s + ODD_S
        machine = gpu_machine(rig.Constant(200.0), count=2)
        lost = {}

        def lose(started_s: float) -> None:
            lost["at_s"] = started_s + 0.5 * run_s + 0.37
            machine.nvml.change(1, lost_s=lost["at_s"] - machine.nvml.zero_s)

        done = drive(python, tool, "run", machine, {"kind": "gpu", "run_s": run_s}, wait_s=run_s, on_ready=lose)
        machine.close()
        told_j = done.get("measured_j") or done.get("energy_j")
        if told_j is None:
            return _failed([done])
        start_s, end_s = done["started_s"], done["ended_s"]
        kept_j = machine.nvml.energy_j(0, start_s, end_s)
        truth_j = kept_j + machine.nvml.energy_j(1, start_s, lost["at_s"])
        error = told_j / truth_j - 1.0
        unseen_s = (truth_j - told_j) / 200.0
        stated = bool(done["marks"] or _warnings(done))
        text = f"{100 * error:+.1f} %" + (f" ({unseen_s:.1f} s before the loss)" if 0 <= unseen_s < 3.0 else "")
        gap_s, true_gap_s = done.get("gaps_s"), end_s - lost["at_s"]
        text += f", gap of {gap_s:.1f} s stated ({true_gap_s:.1f} s true)" if gap_s else _told(stated=stated)
        # The last good reading is one interval old at most, and the counter's renewal.
        good = abs(unseen_s) <= 1.2 and bool(gap_s)
        return Cell(abs(error), text, done | {"lost_s": lost["at_s"]}, good)

    return together({tool: lambda tool=tool, python=python: job(tool, python) for tool, python in plan.pythons.items()})


def short_blocks(plan: Plan, kind: str) -> Cells:
    """Blocks of 10, 50 and 200 ms within a load that changes: the worst error of those that are not marked.

    Run one tool after the other, with nothing beside it: a late sleep would be an error of the benchmark.
    """
    curve = rig.Square(40.0, 120.0, 0.73, 0.4) if kind == "cpu" else rig.Square(60.0, 300.0, 0.73, 0.4)
    settings = {"kind": kind, "lengths_s": [0.010, 0.050, 0.200], "repeats": plan.blocks, "apart_s": [0.61, 0.97, 0.79]}
    cells, run_s = {}, 20.0 + 5.0 * plan.blocks
    for tool, python in plan.pythons.items():
        machine = cpu_machine(curve, run_s) if kind == "cpu" else gpu_machine(curve)
        done = drive(python, tool, "blocks", machine, settings, wait_s=run_s)
        machine.close()
        cells[tool] = _blocks_cell(machine, kind, done)
    return cells


def _blocks_cell(machine: Machine, kind: str, done: Document) -> Cell:
    if "blocks" not in done:
        return _failed([done])
    parts, worst, marked = [], 0.0, 0
    for length_s in sorted({one["length_s"] for one in done["blocks"]}):
        same = [one for one in done["blocks"] if one["length_s"] == length_s]
        plain = [one for one in same if not one["marks"]]
        marked += len(same) - len(plain)
        errors = [
            abs((one["energy_j"] or 0.0) / machine.energy_j(kind, one["started_s"], one["ended_s"]) - 1.0)
            for one in plain
        ]
        worst = max([worst, *errors])
        parts.append(f"{1e3 * length_s:.0f} ms: " + (f"{100 * max(errors):.0f} %" if errors else "marked"))
    warned = _warnings(done)
    text = ", ".join(parts) + ("; warns" if warned else "")
    unmarked = marked < len(done["blocks"])
    return Cell(worst if unmarked else None, text, done, worst <= 0.05)


FAULTS = ("RAPL reset", "RAPL garbage", "RAPL negative", "GPU counter reset", "GPU counter garbage")


def faults(plan: Plan) -> dict[str, Cells]:
    """A counter that goes wrong for a while at half time: energy over the truth, and what is said."""
    jobs: dict[Any, Job] = {
        (fault, tool): lambda fault=fault, tool=tool, python=python: _fault(plan, fault, tool, python)
        for fault in FAULTS
        for tool, python in plan.pythons.items()
    }
    seen = together(jobs)
    return {fault: {tool: seen[fault, tool] for tool in plan.pythons} for fault in FAULTS}


def _fault(plan: Plan, fault: str, tool: str, python: Path) -> Cell:
    run_s, kind = plan.fault_s + ODD_S, "cpu" if fault.startswith("RAPL") else "gpu"
    machine = cpu_machine(rig.Constant(50.0), run_s) if kind == "cpu" else gpu_machine(rig.Constant(200.0))

    def strike(started_s: float) -> None:
        half_s = started_s + 0.5 * run_s + 0.37
        if fault == "GPU counter reset":
            machine.nvml.change(0, counter_reset_s=half_s - machine.nvml.zero_s)
            return
        time.sleep(max(0.0, half_s - time.monotonic()))
        if fault == "RAPL reset":
            machine.reset()
            return
        if kind == "cpu":
            machine.show("garbage" if fault == "RAPL garbage" else "-5000000")
        else:
            machine.nvml.change(0, counter="garbage")
        time.sleep(0.15 * run_s)
        if kind == "cpu":
            machine.show_energy()
        else:
            machine.nvml.change(0, counter="ok")

    done = drive(python, tool, "run", machine, {"kind": kind, "run_s": run_s}, wait_s=run_s, on_ready=strike)
    machine.close()
    if done.get("energy_j") is None:
        return _failed([done])
    length_s = done["ended_s"] - done["started_s"]
    ratio = done["energy_j"] / machine.energy_j(kind, done["started_s"], done["ended_s"])
    stated = bool(done["marks"] or _warnings(done))
    good = stated and 0.0 <= done["energy_j"] <= RATED_W[kind] * length_s
    return Cell(abs(ratio - 1.0), f"{100 * ratio:.4g} % of the truth" + _told(stated=stated), done, good)


# Words.


def _error(machine: Machine, kind: str, done: Document) -> Document:
    if done.get("energy_j") is not None:
        truth_j = machine.energy_j(kind, done["started_s"], done["ended_s"])
        done |= {"truth_j": truth_j, "error": done["energy_j"] / truth_j - 1.0}
    return done


def _worst(seen: dict[str, Document]) -> Cell:
    """The worst of several runs; where one fails, how."""
    failed = [one for one in seen.values() if "error" not in one]
    if failed:
        return _failed(failed, seen)
    name = max(seen, key=lambda name: abs(seen[name]["error"]))
    error = seen[name]["error"]
    text = f"{100 * error:+.3g} %" + (f" ({name})" if len(seen) > 1 else "")
    marks = [mark for one in seen.values() for mark in one["marks"]]
    return Cell(abs(error), text + ("; says so" if marks else ""), seen)


def _failed(done: Sequence[Document], raw: Any = None) -> Cell:
    for one in done:
        if "raised" in one:
            return Cell(None, f"raises {one['raised'].partition(':')[0]}", raw or list(done), good=False)
        if "ended" in one:
            return Cell(None, one["ended"], raw or list(done), good=False)
    return Cell(None, "tells nothing", raw or list(done), good=False)


def _told(*, stated: bool) -> str:
    return ", stated" if stated else ", not a word"


def _warnings(done: Document) -> list[str]:
    return [line for line in done.get("said", []) if WARNS.search(line)]


def _times(values_s: Sequence[float]) -> Cell:
    text = f"{1e3 * median(values_s):.3g} ms (most {1e3 * max(values_s):.3g})"
    return Cell(median(values_s), text, list(values_s))


def _kinds(tool: str) -> str:
    """carbontracker alone is told what to measure."""
    return "all" if tool == "carbontracker" else "gpu"


def _python(python: Path, program: str) -> str:
    done = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def _wall_s(python: Path, program: str) -> float:
    before_s = time.perf_counter()
    subprocess.run([str(python), "-c", program], capture_output=True, check=True, timeout=120)
    return time.perf_counter() - before_s


def _has_torch(python: Path) -> bool:
    done = subprocess.run(
        [str(python), "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"],
        check=False, timeout=60,
    )  # fmt: skip
    return done.returncode == 0
