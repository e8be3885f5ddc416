"""What a meter costs: time to import, start and stop, memory, processor time. Measured with nothing beside it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from statistics import median

from cells import Cell, Cells, Plan, failed, times
from hardware import Document, drive, environment, whole_machine
from tools import IMPORTS

MB = 1e6
HOUR_S = 3600.0


def imports(plan: Plan, which: int) -> Cells:
    """Wall time of importing, less that of starting the interpreter; interleaved, so that all share a moment."""
    walls: dict[str, list[float]] = {tool: [] for tool in plan.pythons}
    inside: dict[str, list[float]] = {tool: [] for tool in plan.pythons}
    timed = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    for number in range(plan.repeats + 1):
        for tool, python in plan.pythons.items():
            bare_s, _ = _timed(python, "pass")
            wall_s, said = _timed(python, timed.format(IMPORTS[tool][which]))
            if number > 0:  # The first writes bytecode and fills the page cache.
                walls[tool].append(wall_s - bare_s)
                inside[tool].append(float(said.splitlines()[-1]))
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
    return _timed(python, program)[1].split()


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
            tool: times([one[key] for one in done if key in one]) if any(key in one for one in done) else failed(done)
            for tool, done in seen.items()
        }
        for key in ("start_s", "stop_s")
    )


def memory(plan: Plan, *, with_torch: bool) -> Cells:
    """Resident memory added by import, start and two seconds of running.

    Without torch, to an interpreter that has imported nothing, so that the modules of the standard library count that
    this program itself imports; with it, to one that has: lowcarb's own environment's for all, which comes last on the
    path of the peers.
    """
    torch_path = _torch_path(plan.pythons["lowcarb"]) if with_torch else None
    if with_torch and torch_path is None:
        return {tool: Cell(None, "no torch there") for tool in plan.pythons}
    cells, machine = {}, whole_machine()
    try:
        for tool, python in plan.pythons.items():
            settings = {"kind": _kinds(tool), "run_s": 2.0, "torch_path": torch_path}
            done = [drive(python, tool, "memory", machine, settings) for _ in range(3)]
            added = [one["added_b"] / MB for one in done if "added_b" in one]
            if not added:
                cells[tool] = failed(done)
                continue
            others = max(one["children_b"] for one in done if "added_b" in one) / MB
            own = median(one["driver_b"] for one in done if "added_b" in one) / MB
            text = f"{median(added):.1f} MB" + (f" + {others:.0f} in children" if others else "")
            text += "" if with_torch else f" ({own:.1f} before the tool is imported)"
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
                cells[tool] = failed([done])
                continue
            per_hour_s = HOUR_S * (done["cpu_s"] / done["wall_s"] - bare["cpu_s"] / bare["wall_s"])
            cells[tool] = Cell(per_hour_s, f"{per_hour_s:.2f} s", {"bare": bare, **done})
    finally:
        machine.close()
    return cells


def _kinds(tool: str) -> str:
    """carbontracker alone is told what to measure."""
    return "all" if tool == "carbontracker" else "gpu"


def _timed(python: Path, program: str) -> tuple[float, str]:
    """Wall time of a program [s], and what it prints."""
    before_s = time.perf_counter()
    command = [str(python), "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment())
    return time.perf_counter() - before_s, done.stdout


def _torch_path(python: Path) -> str | None:
    """Where an interpreter's torch lies."""
    program = "import importlib.util as u; s = u.find_spec('torch'); print(s.origin if s else '')"
    origin = _timed(python, program)[1].strip()
    return str(Path(origin).parents[1]) if origin else None
