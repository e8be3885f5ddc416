"""How much a SIGKILL loses: python benchmarks/kill_loss.py [--kills 100] [--quick] [--seed N] [--json FILE]

A program measures at an interval of 1 s on a simulated GPU of constant power, is killed at a random moment 3 to 12 s
after its start, and what can be read back afterwards is held against the truth until the kill: lowcarb's from its
ledger, as the next `lowcarb ledger list` shows it; files that nobody can read are counted. Exits with 1 where the
GPU cannot be simulated (no C compiler) or a file was unreadable. `benchmarks/meter.py` does the same with the peers.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).with_name("meter")))

from hardware import Driver, Machine, gpu_machine, rig
from tools import KWH_J

POWER_W = 250.0
AT_ONCE = 4
"""Programs side by side; they only sleep."""

READ_BACK = """
import json, sys
from lowcarb import open_ledger
ledger = open_ledger()
for run in ledger.runs(limit=1_000_000):
    for attempt in ledger.attempts(run.id):
        devices = (attempt.document or {}).get("energy", {}).get("devices", [])
        energy_j = sum(one["energy_j"]["mid"] for one in devices if one["kind"] == "gpu")
        print(json.dumps([run.name, attempt.status, energy_j]))
ledger.close()
"""


@dataclass(frozen=True)
class Loss:
    """One kill."""

    ran_s: float
    """From the start until the kill [s]."""
    lost_s: float
    """Time whose energy cannot be read back [s]."""
    status: str
    """What is told of the run afterwards."""


@dataclass(frozen=True)
class Losses:
    """All kills of one tool."""

    kills: tuple[Loss, ...]
    unreadable: int
    """Files that nobody can read, and runs that left none."""

    @property
    def worst_s(self) -> float:
        return max(one.lost_s for one in self.kills)

    @property
    def mean_s(self) -> float:
        return mean(one.lost_s for one in self.kills)

    @property
    def share(self) -> float:
        """Lost of all that was run, 0 to 1."""
        return sum(one.lost_s for one in self.kills) / sum(one.ran_s for one in self.kills)


def losses(
    tool: str, python: Path, machine: Machine, count: int, after_s: tuple[float, float], seed: int = 1
) -> Losses | None:
    """Kill one tool's program so many times; None where the tool does not start."""
    random = Random(seed)
    moments_s = [random.uniform(*after_s) for _ in range(count)]
    home = machine.folder / f"{tool}-home"
    home.mkdir()

    def kill(number: int) -> tuple[float, float, Path] | None:
        label = f"kill-{number}"
        folder = home if tool == "lowcarb" else home / label
        folder.mkdir(exist_ok=True)
        with Driver.starting:
            driver = Driver(python, tool, "kill", machine, {"label": label, "folder": str(folder)})
            started_s = driver.wait_ready()
        killed_s = None
        if started_s is not None:
            time.sleep(max(0.0, started_s + moments_s[number] - time.monotonic()))
            with suppress(ProcessLookupError):
                killed_s = time.monotonic()
                os.kill(driver.process.pid, signal.SIGKILL)
        driver.end()
        return None if started_s is None or killed_s is None else (started_s, killed_s, folder)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(kill, range(count)))
    if None in done:
        return None
    found, unreadable = READERS[tool](python, home, count)
    return Losses(
        tuple(
            Loss(
                killed_s - started_s,
                killed_s - started_s - found[number][1] / POWER_W,
                found[number][0],
            )
            for number, (started_s, killed_s, _) in enumerate(one for one in done if one is not None)
        ),
        unreadable,
    )


Found = dict[int, tuple[str, float]]
"""Status and energy [J] by kill."""
Reader = Callable[[Path, Path, int], tuple[Found, int]]


def _lowcarb(python: Path, home: Path, count: int) -> tuple[Found, int]:
    done = subprocess.run(
        [str(python), "-c", READ_BACK], env={**os.environ, "LOWCARB_HOME": str(home)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: Found = dict.fromkeys(range(count), ("missing", 0.0))
    for name, status, energy_j in map(json.loads, done.stdout.splitlines()):
        found[int(name.partition("-")[2])] = (status, energy_j)
    left = [path for path in (home / "journals").iterdir() if path.is_file()]
    return found, max(len(left), sum(status == "missing" for status, _ in found.values()))


def _files(home: Path, count: int, pattern: str, read: Callable[[Path], float]) -> tuple[Found, int]:
    """What the files of each kill's folder hold; a kill that left none has lost all."""
    found: Found = {}
    unreadable = 0
    for number in range(count):
        energy_j, files = 0.0, list((home / f"kill-{number}").glob(pattern))
        for path in files:
            try:
                energy_j += read(path)
            except (ValueError, KeyError, IndexError):
                unreadable += 1
        found[number] = ("on disk" if files else "nothing on disk", energy_j)
    return found, unreadable


def _codecarbon(_: Path, home: Path, count: int) -> tuple[Found, int]:
    def read(path: Path) -> float:
        with path.open(newline="") as lines:
            return sum(float(row["gpu_energy"]) for row in csv.DictReader(lines)) * KWH_J

    return _files(home, count, "emissions*.csv", read)


def _zeus(_: Path, home: Path, count: int) -> tuple[Found, int]:
    def read(path: Path) -> float:
        with path.open(newline="") as lines:
            return sum(float(row["gpu0_energy"]) for row in csv.DictReader(lines))

    return _files(home, count, "windows.csv", read)


def _carbontracker(_: Path, home: Path, count: int) -> tuple[Found, int]:
    def read(path: Path) -> float:
        text = path.read_text()
        spans = re.findall(r"Duration: (\d+):(\d+):([\d.]+)", text)
        powers = re.findall(r"Average power usage \(W\) for gpu: \[?([\d.]+)", text)
        times_s = [3600 * int(hours) + 60 * int(minutes) + float(seconds) for hours, minutes, seconds in spans]
        return sum(time_s * float(power) for time_s, power in zip(times_s, powers, strict=False))

    return _files(home, count, "*_carbontracker.log", read)


READERS: dict[str, Reader] = {
    "lowcarb": _lowcarb,
    "codecarbon": _codecarbon,
    "zeus": _zeus,
    "carbontracker": _carbontracker,
}


def constant_machine() -> Machine:
    """A GPU of constant power, whose counter is exact to 20 ms."""
    return gpu_machine(rig.Constant(POWER_W), counter_renewal_s=0.02)


def moments(*, quick: bool) -> tuple[float, float]:
    """When programs are killed after their start, from and to [s]."""
    return (2.0, 4.0) if quick else (3.0, 12.0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="kill after 2 to 4 s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        machine = constant_machine()
    except rig.RigUnavailable as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    seen = losses("lowcarb", Path(sys.executable), machine, options.kills, moments(quick=options.quick), options.seed)
    machine.close()
    if seen is None:
        print("cannot measure: lowcarb did not start in its program", file=sys.stderr)
        return 1
    statuses: dict[str, int] = {}
    for one in seen.kills:
        statuses[one.status] = statuses.get(one.status, 0) + 1
    print(
        f"{len(seen.kills)} kills at 1 s sampling: at most {seen.worst_s:.2f} s lost, mean {seen.mean_s:.2f} s, "
        f"{100 * seen.share:.1f} % of the run time; {seen.unreadable} unreadable files; "
        + ", ".join(f"{count} {status}" for status, count in statuses.items())
    )
    if options.json is not None:
        document: dict[str, Any] = {"worst_s": seen.worst_s, "mean_s": seen.mean_s, **asdict(seen)}
        options.json.write_text(json.dumps(document, indent=1))
    return 1 if seen.unreadable else 0


if __name__ == "__main__":
    sys.exit(main())
