"""Energies against the known truth: counters, power, short blocks, losses, faults. Runs that only sleep, side by side.

Truth is the energy between the driver's own clock right after `start` returned and right before `stop` was called: the
work, as its user sees it. Runs last no whole number of a counter's renewals or a curve's periods, so that no error
cancels by chance.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hardware
from cells import Cell, Cells, Plan, failed, told, warnings
from hardware import RATED_W, Document, Machine, cpu_machine, drive, gpu_machine, rig

ODD_S = 0.0437
"""Added to the length of runs, so that they fit no renewal and no period [s]."""
AT_ONCE = 16
"""Runs that only sleep, side by side."""


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
            return failed([done])
        start_s, end_s = done["started_s"], done["ended_s"]
        kept_j = machine.nvml.energy_j(0, start_s, end_s)
        truth_j = kept_j + machine.nvml.energy_j(1, start_s, lost["at_s"])
        error = told_j / truth_j - 1.0
        unseen_s = (truth_j - told_j) / 200.0
        stated = bool(done["marks"] or warnings(done))
        text = f"{100 * error:+.1f} %" + (f" ({unseen_s:.1f} s before the loss)" if 0 <= unseen_s < 3.0 else "")
        gap_s, true_gap_s = done.get("gaps_s"), end_s - lost["at_s"]
        text += f", gap of {gap_s:.1f} s stated ({true_gap_s:.1f} s true)" if gap_s else told(stated=stated)
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
        return failed([done])
    parts, worst, marked = [], 0.0, 0
    for length_s in sorted({one["length_s"] for one in done["blocks"]}):
        same = [one for one in done["blocks"] if one["length_s"] == length_s]
        plain = [one for one in same if not any("unresolved" in mark for mark in one["marks"])]
        marked += len(same) - len(plain)
        errors = [
            abs((one["energy_j"] or 0.0) / machine.energy_j(kind, one["started_s"], one["ended_s"]) - 1.0)
            for one in plain
        ]
        worst = max([worst, *errors])
        parts.append(f"{1e3 * length_s:.0f} ms: " + (f"{100 * max(errors):.0f} %" if errors else "marked"))
    warned = warnings(done)
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
        return failed([done])
    length_s = done["ended_s"] - done["started_s"]
    ratio = done["energy_j"] / machine.energy_j(kind, done["started_s"], done["ended_s"])
    stated = bool(done["marks"] or warnings(done))
    good = stated and 0.0 <= done["energy_j"] <= RATED_W[kind] * length_s
    # No value: a hundredth of a per cent between tools that are all right would make a ratio of hundreds.
    return Cell(None, f"{100 * ratio:.4g} % of the truth" + told(stated=stated), done, good)


def _error(machine: Machine, kind: str, done: Document) -> Document:
    if done.get("energy_j") is not None:
        truth_j = machine.energy_j(kind, done["started_s"], done["ended_s"])
        done |= {"truth_j": truth_j, "error": done["energy_j"] / truth_j - 1.0}
    return done


def _worst(seen: dict[str, Document]) -> Cell:
    """The worst of several runs; where one fails, how."""
    bad = [one for one in seen.values() if "error" not in one]
    if bad:
        return failed(bad, seen)
    name = max(seen, key=lambda name: abs(seen[name]["error"]))
    error = seen[name]["error"]
    text = f"{100 * error:+.3g} %" + (f" ({name})" if len(seen) > 1 else "")
    marks = [mark for one in seen.values() for mark in one["marks"]]
    return Cell(abs(error), text + ("; says so" if marks else ""), seen)
