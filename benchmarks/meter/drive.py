"""Runs one tool once in its own environment: `python drive.py TOOL FIGURE SETTINGS`, with the settings as JSON.

Writes what it saw as JSON to the file that the settings name (`out`), and before that, once the tool has started, the
time of that to `ready`. All times are those of CLOCK_MONOTONIC, which is the same for all processes. Lines on the
standard error output that begin with @@ say where the tool's own words belong.
"""

# ruff: noqa: E402  # memory is looked at before anything is imported

from __future__ import annotations


def resident_b(pid: int | str = "self") -> int:
    """Resident memory of a process [B]."""
    with open(f"/proc/{pid}/status") as file:  # noqa: PTH123  # pathlib is not imported yet
        return next((1024 * int(line.split()[1]) for line in file if line.startswith("VmRSS:")), 0)


BARE_B = resident_b()

import importlib
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools import IMPORTS, TOOLS, Tool, listen

Settings = dict[str, Any]


def main() -> None:
    tool, figure, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    try:
        result = FIGURES[figure](tool, settings)
    except Exception as error:  # noqa: BLE001  # what a tool raises is what it shows
        say("stopped")
        result = {"raised": f"{type(error).__name__}: {error}"}
    write(settings["out"], result)
    sys.stdout.flush()
    # What a tool leaves running is not waited for.
    os._exit(0)


def run(tool: str, settings: Settings) -> dict[str, Any]:
    """Measures for a while and tells the energy."""
    meter = make(tool, settings)
    meter.start()
    started_s = ready(settings)
    time.sleep(settings["run_s"])
    ended_s = time.monotonic()
    meter.stop()
    say("stopped")
    told = meter.told()
    return {
        "started_s": started_s,
        "ended_s": ended_s,
        "energy_j": told.energy_j,
        "measured_j": told.measured_j,
        "gaps_s": told.gaps_s,
        "marks": told.marks,
    }


def blocks(tool: str, settings: Settings) -> dict[str, Any]:
    """Measures short blocks within a run."""
    meter = make(tool, settings)
    within = tool in ("lowcarb", "zeus")
    # The others measure by task or epoch in place of a whole run.
    if within:
        meter.start()
    ready(settings)
    seen = []
    for number, length_s in enumerate(settings["lengths_s"] * settings["repeats"]):
        time.sleep(settings["apart_s"][number % len(settings["apart_s"])])
        name = f"block {number}"
        meter.begin_block(name)
        started_s = time.monotonic()
        time.sleep(length_s)
        ended_s = time.monotonic()
        meter.end_block(name)
        seen.append({"name": name, "length_s": length_s, "started_s": started_s, "ended_s": ended_s})
    time.sleep(1.0)
    if within:
        meter.stop()
    say("stopped")
    for one in seen:
        told = meter.block(one["name"])
        one.update(energy_j=told.energy_j, marks=told.marks)
    return {"blocks": seen}


def start_stop(tool: str, settings: Settings) -> dict[str, Any]:
    """Times the making with the start, and the stop, in a fresh process that has imported the tool."""
    exec(IMPORTS[tool][1], {})
    before_s = time.perf_counter()
    meter = make(tool, settings)
    meter.start()
    start_s = time.perf_counter() - before_s
    time.sleep(settings["run_s"])
    before_s = time.perf_counter()
    meter.stop()
    return {"start_s": start_s, "stop_s": time.perf_counter() - before_s}


def memory(tool: str, settings: Settings) -> dict[str, Any]:
    """Resident memory that importing, starting and running adds: to nothing, or where told to what has torch."""
    before_b, driver_b = BARE_B, resident_b() - BARE_B
    if settings["torch_path"]:
        sys.path.append(settings["torch_path"])
        importlib.import_module("torch")
        before_b = resident_b()
    meter = make(tool, settings)
    meter.start()
    time.sleep(settings["run_s"])
    others = sum(resident_b(pid) for pid in children())
    return {"added_b": resident_b() - before_b, "children_b": others, "driver_b": driver_b}


def cpu(tool: str, settings: Settings) -> dict[str, Any]:
    """Processor time of an idle run, children included; the tool "none" runs without a meter."""
    meter = None if tool == "none" else make(tool, settings)
    if meter is not None:
        meter.start()
    # What starting leaves to do in the background is not running cost.
    time.sleep(settings["settle_s"])
    interval_s, before_s, before_cpu_s = settings["interval_s"], time.monotonic(), spent_s()
    number = 0
    while (now_s := time.monotonic()) < before_s + settings["run_s"]:
        if meter is not None:
            meter.tick()
        number += 1
        time.sleep(max(0.0, before_s + number * interval_s - now_s))
    return {"cpu_s": spent_s() - before_cpu_s, "wall_s": time.monotonic() - before_s}


def kill(tool: str, settings: Settings) -> dict[str, Any]:
    """Measures until it is killed."""
    meter = make(tool, settings)
    meter.start()
    ready(settings)
    while True:
        meter.tick()
        time.sleep(settings["interval_s"])


FIGURES = {
    "run": run,
    "blocks": blocks,
    "start_stop": start_stop,
    "memory": memory,
    "cpu": cpu,
    "kill": kill,
}


def make(tool: str, settings: Settings) -> Tool:
    listen()
    made: Tool = TOOLS[tool](
        settings["kind"], settings["interval_s"], Path(settings["folder"]), settings.get("label", "bench")
    )
    return made


def ready(settings: Settings) -> float:
    now_s = time.monotonic()
    say("started")
    write(settings["ready"], {"started_s": now_s})
    return now_s


def write(path: str, document: object) -> None:
    fresh = Path(f"{path}.new")
    fresh.write_text(json.dumps(document))
    fresh.replace(path)


def say(what: str) -> None:
    print(f"@@{what}", file=sys.stderr, flush=True)


def children() -> list[int]:
    """Processes that this one has started, and theirs."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, news = [], [os.getpid()]
    while news:
        news = [pid for pid, parent in parents.items() if parent in news]
        found += news
    return found


def spent_s() -> float:
    """Processor time of this process, all its threads and its children [s]."""
    total_s = time.process_time()
    for pid in children():
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(OSError, ValueError):
                total_s += 1e-9 * int(path.read_text().split()[0])
    return total_s


if __name__ == "__main__":
    main()
