"""The meter against its peers, in one run on simulated counters with known truth.

    python benchmarks/meter.py [--peers codecarbon,zeus,carbontracker|none] [--venvs DIR] [--quick] [--json FILE]

Makes an environment for each peer, measures every figure on the same simulated hardware (a libnvidia-ml and a powercap
tree, tests/rig), and prints one table. Needs Linux, a C compiler, and pip's network for the peers. In full it takes
about 22 minutes on two cores, with `--quick` 6, and with no peers 2. The machine should do nothing else: its load at
the beginning and the end is printed. Exits with 1 where a peer cannot be installed (and measures the others), or
nothing can be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).with_name("meter")))

import cost
import kill_loss
import peers
import truth
from cells import Cell, Cells, Plan
from hardware import rig
from table import Row, as_json, markdown, met

KILLS, QUICK_KILLS = 20, 4
NOTES = (
    "Each figure is lower-is-better. Import, start, stop: median of processes, interleaved.",
    "zeus reads at the ends of a window only: for CPU time and kills it is given a window an interval.",
    "carbontracker tells of whole epochs, after a kill here of 2.5 s; a reading of RAPL takes it 1 s, also at 10 Hz.",
    "Energies are those of the simulated device alone, without what a tool adds for memory or a data centre.",
    "Stated: in the result itself or, for a peer, in what it logs as a warning or an error.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    pythons, failed = _tools(options)
    if "lowcarb" not in pythons:
        print(f"{sys.executable} has no lowcarb: run this with the interpreter of its environment", file=sys.stderr)
        return 1
    try:
        kill_loss.constant_machine().close()
    except rig.RigUnavailable as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    began_s = time.monotonic()
    head = {**_machine(), "versions": {tool: peers.version(python, tool) for tool, python in pythons.items()}}
    head["load_before"] = os.getloadavg()[0]
    print("\n".join(f"{name}: {value}" for name, value in head.items()), flush=True)
    plan = Plan.of(pythons, quick=options.quick)
    rows = measure(plan, quick=options.quick)
    head |= {"load_after": os.getloadavg()[0], "minutes": (time.monotonic() - began_s) / 60.0}
    notes = [*NOTES, *(f"{peer} could not be installed and was left out" for peer in failed)]
    missed = [row.figure for row in rows if met(row) is False]
    print(f"load at the end: {head['load_after']:.1f}; took {head['minutes']:.1f} min\n")
    print(markdown(rows, list(pythons)))
    print("\nTargets missed: " + ("; ".join(missed) if missed else "none"))
    print("\n".join(notes))
    if options.json is not None:
        document = {**head, "quick": options.quick, "rows": as_json(rows), "notes": notes, "missed": missed}
        options.json.write_text(json.dumps(document, indent=1, default=str))
    return 1 if failed else 0


def measure(plan: Plan, *, quick: bool) -> list[Row]:
    """All figures: first those that are timed, with nothing beside them."""
    rows: list[Row] = []

    began_s = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began_s:5.0f} s: {what}", file=sys.stderr, flush=True)

    tell("imports")
    foreign = cost.foreign_modules(plan.pythons["lowcarb"])
    package = cost.imports(plan, 0)
    own = package["lowcarb"]
    only = f"loads {', '.join(foreign)}" if foreign else "standard library only"
    good = own.value is not None and own.value <= 0.030 and not foreign
    package["lowcarb"] = Cell(own.value, f"{own.text}, {only}", own.raw, good)
    rows += [
        Row("import of the package", package, 0.030, "30 ms, standard library only"),
        Row("import of what starts it", cost.imports(plan, 1)),
    ]
    tell("start and stop")
    starts, stops = cost.start_stop(plan)
    rows += [Row("start", starts, 0.010, "10 ms"), Row("stop", stops, 0.005, "5 ms")]
    tell("memory")
    rows += [
        Row("memory added to a bare Python", cost.memory(plan, with_torch=False), 5.0, "5 MB"),
        Row("memory added, torch there already", cost.memory(plan, with_torch=True), 5.0, "5 MB"),
    ]
    tell("processor time")
    rows += [
        Row("CPU seconds an hour at 1 Hz", cost.cpu(plan, 1.0), 0.5, "0.5 s"),
        Row("CPU seconds an hour at 10 Hz", cost.cpu(plan, 10.0), 4.0, "4 s"),
    ]
    tell("short blocks")
    for kind, name in (("gpu", "GPU, 100 ms"), ("cpu", "RAPL, 1 ms")):
        rows.append(Row(f"error of a short block ({name})", truth.short_blocks(plan, kind), 0.05, "5 % or marked"))
    tell("counters")
    seconds = f"{plan.counter_s:.0f} s"
    # What is lost at the ends weighs more in a shorter run.
    reach = 0.0005 * 60.0 / plan.counter_s
    wrapping, renewing = (truth.counters(plan, kind) for kind in ("cpu", "gpu"))
    rows += [
        Row(f"RAPL error over {seconds}, worst of 4 curves, through a wrap", wrapping, reach, f"{100 * reach:.2g} %"),
        Row(f"GPU counter (100 ms) error over {seconds}, worst of 4 curves", renewing),
    ]
    tell("GPUs without a counter")
    pascal = truth.spikes(plan, architecture=4)
    virtual = truth.spikes(plan, architecture=7, samples=119)
    rows += [
        Row("GPU older than Volta, power only, spikes of 2-3 s", pascal, 0.03, "3 %"),
        Row("GPU that refuses its counter, spikes of 2-3 s", virtual, 0.03, "3 %"),
    ]
    tell("a lost GPU")
    rows.append(Row("one of two GPUs lost: energy until then", truth.lost_gpu(plan), None, "kept, gap stated"))
    tell("counters that go wrong")
    for fault, cells in truth.faults(plan).items():
        rows.append(Row(fault, cells, None, "≤ rated power × time, stated"))
    tell("kills")
    rows += kills(plan, quick=quick)
    return rows


def kills(plan: Plan, *, quick: bool) -> list[Row]:
    machine = kill_loss.constant_machine()
    worst: Cells = {}
    mean: Cells = {}
    for tool, python in plan.pythons.items():
        seen = kill_loss.losses(tool, python, machine, QUICK_KILLS if quick else KILLS, kill_loss.moments(quick=quick))
        if seen is None:
            worst[tool] = mean[tool] = Cell(None, "does not start", good=False)
            continue
        good = seen.worst_s <= 2.2 and not seen.unreadable
        text = f"{seen.worst_s:.2f} s; {seen.unreadable} unreadable files"
        worst[tool] = Cell(seen.worst_s, text, seen.kills, good)
        mean[tool] = Cell(seen.mean_s, f"{seen.mean_s:.2f} s ({100 * seen.share:.0f} % of all)")
    machine.close()
    return [
        Row("SIGKILL at 1 s sampling, worst loss", worst, 2.2, "2.2 s, 0 unreadable files"),
        Row("SIGKILL at 1 s sampling, mean loss", mean, 1.0, "1 s"),
    ]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", default=",".join(peers.PEERS), help="which, with commas between, or none")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    parser.add_argument("--venvs", type=Path, default=cache / "lowcarb-bench", help="where the peers are installed")
    parser.add_argument("--quick", action="store_true", help="short runs and few repeats: checks this program only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    options = parser.parse_args(arguments)
    options.peers = [] if options.peers == "none" else options.peers.split(",")
    if unknown := set(options.peers) - set(peers.PEERS):
        parser.error(f"unknown peers {', '.join(sorted(unknown))}; there are {', '.join(peers.PEERS)}")
    return options


def _tools(options: argparse.Namespace) -> tuple[dict[str, Path], list[str]]:
    """Interpreters by tool, and the peers that could not be installed."""
    own = Path(sys.executable)
    pythons = {"lowcarb": own} if peers.version(own, "lowcarb") else {}
    failed = []
    for peer in options.peers:
        python = peers.install(peer, options.venvs.absolute())
        if python is None:
            failed.append(peer)
        else:
            pythons[peer] = python
    return pythons, failed


def _machine() -> dict[str, object]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "machine": f"{os.cpu_count()} threads of {model}, {platform.platform()}",
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main())
