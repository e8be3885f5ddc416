"""How well a run measured on one device is projected onto another: `lowcarb.core.contrast` and simple rules.

    python benchmarks/contrast.py [--data FOLDER]

Reads gpu_training_throughput.csv. Two rows are a pair where everything about the job is equal (source, model, phase,
task, framework, precision group, devices, batch, sequence length) and the accelerators differ; fp32 and tf32 are one
group, as NVIDIA's tables pair them. Of several rows of one job on one accelerator the median counts. Zeus rows have
no throughput: one epoch over its time, at the highest power limit. MLPerf rows: one over time to train.

Refits the exponents on all pairs and prints them beside the shipped ones; then the errors with each job and with each
model left out of the fit. "Factor" is the one that eight in ten keep to, "held" the share inside the shipped interval.
Exits with 1 where the data is not there.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log
from pathlib import Path
from statistics import median

import numpy as np

from lowcarb.catalogue import Catalogue
from lowcarb.core.contrast import contrast_job
from lowcarb.core.hardware import Device
from lowcarb.core.roofs import EXPONENTS, SPREAD, Job, Kind, kind_of, log_ratios, precision_of
from lowcarb.core.units import PERCENT
from lowcarb.errors import CatalogueError, SettingError

DATA = Path(__file__).parents[2] / "shared" / "data"
FEATURES: Mapping[Kind, tuple[tuple[str, ...], ...]] = {
    "full": (("arithmetic",), ("matrix units",), ("memory",)),
    "mixed": (("arithmetic", "matrix units"), ("memory",)),
    "large": (("arithmetic", "matrix units"), ("memory",)),
    "inference": (("arithmetic",), ("matrix units",), ("memory",), ("power",)),
}
"""Roofs that share an exponent, by kind: twelve numbers, five of them for the training tables."""
PRIOR: Mapping[Kind, float] = {"full": 0.5, "mixed": 0.5, "large": 0.5, "inference": 0.25}
RIDGE: Mapping[Kind, float] = {"full": 0.1, "mixed": 0.1, "large": 0.1, "inference": 1.0}
"""How hard an exponent is pulled towards its prior."""
FAR = 0.1
"""Residuals [ln] beyond this count linearly, as Huber has it."""
TABLES = ("training", "MLPerf", "inference")


@dataclass(frozen=True, slots=True)
class Run:
    """A row of the table."""

    job: Job
    key: Hashable
    table: str
    device: Device
    speed: float
    watts: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """One job on two devices."""

    first: Run
    second: Run

    @property
    def kind(self) -> Kind:
        return kind_of(self.first.job)

    @property
    def seen(self) -> float:
        """ln(speed on the second ÷ speed on the first)."""
        return log(self.second.speed / self.first.speed)

    @property
    def roofs(self) -> list[float]:
        ratios = log_ratios(self.first.job, self.first.device, self.second.device)
        return [sum(ratios[roof] for roof in group) for group in FEATURES[self.kind]]


def whole(text: str) -> int | None:
    return int(float(text)) if text else None


def read_runs(path: Path) -> list[Run]:
    catalogue = Catalogue.load()
    with path.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    limits: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        limits[row["accelerator"]] = max(limits[row["accelerator"]], float(row["power_limit_w"] or 0.0))
    runs = []
    for row in rows:
        if row["power_limit_w"] and float(row["power_limit_w"]) < limits[row["accelerator"]]:
            continue
        try:
            run = one_run(row, catalogue.device(row["accelerator"]))
        except (CatalogueError, SettingError):
            continue
        if run is not None:
            runs.append(run)
    return runs


def one_run(row: Mapping[str, str], device: Device) -> Run | None:
    """None for rows without a speed, without a device's own share of it, or from a table that is not one of ours."""
    source = row["source_set"]
    timed = source.startswith(("MLPerf", "Zeus"))
    if source.startswith("MLPerf"):
        table = "MLPerf"
    elif source.startswith(("Zeus", "NVIDIA")):
        table = "inference" if row["phase"] == "inference" else "training"
    else:
        return None
    speed = 1.0 / float(row["time_to_train_s"]) if timed and row["time_to_train_s"] else float(row["throughput"] or 0.0)
    if not speed > 0.0 or device.kind == "tpu":
        return None
    # MLPerf lets each submitter choose the batch.
    batch = None if table == "MLPerf" else whole(row["batch_per_gpu"])
    count = float(row["n_accelerators"] or 1)
    if batch is None and row["global_batch"] and table != "MLPerf":
        batch = max(1, round(float(row["global_batch"]) / count))
    length = whole(row["seq_len"])
    job = Job(row["model"], row["phase"], row["framework"] or None, row["precision"], batch, length)
    task = () if table == "MLPerf" else (row["framework"], length, batch, row["throughput_unit"])
    key = (source, row["model"], row["phase"], row["task"], precision_of(row["precision"]), count, *task)
    watts = float(row["avg_power_w_per_gpu"]) if row["avg_power_w_per_gpu"] else None
    return Run(job, key, table, device, speed, watts)


def pairs_of(runs: Sequence[Run]) -> list[Pair]:
    """Every two devices of every job, once; of several rows of a job on a device, the one with the median speed."""
    by_job: defaultdict[Hashable, defaultdict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        by_job[run.key][run.device.id].append(run)
    pairs = []
    for of_device in by_job.values():
        typical = [sorted(same, key=lambda run: run.speed)[(len(same) - 1) // 2] for same in of_device.values()]
        pairs.extend(Pair(a, b) for a, b in combinations(sorted(typical, key=lambda run: run.device.id), 2))
    return pairs


def fitted(pairs: Sequence[Pair], kind: Kind) -> list[float]:
    """Exponents of a kind: least squares of ln with Huber's weights and a ridge towards the prior."""
    held = [(pair.roofs, pair.seen) for pair in pairs if pair.kind == kind]
    size = len(FEATURES[kind])
    prior, ridge = PRIOR[kind], RIDGE[kind]
    exponents = [prior] * size
    if not held:
        return exponents
    roofs, seen = np.array([one for one, _ in held]), np.array([one for _, one in held])
    pull = ridge * np.eye(size)
    for turn in range(15):
        misses = np.abs(seen - roofs @ exponents)
        weights = np.ones(len(held)) if turn == 0 else np.minimum(1.0, FAR / np.maximum(misses, 1e-9))
        matrix = (roofs * weights[:, None]).T @ roofs + pull
        exponents = np.linalg.solve(matrix, roofs.T @ (weights * seen) + ridge * prior).tolist()
    return exponents


def dot(first: Sequence[float], second: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


def misses_left_out(pairs: Sequence[Pair], group: Callable[[Pair], Hashable]) -> list[float]:
    """ln(formula ÷ seen) of each pair by the fit on the pairs of all other groups."""
    misses = []
    fits: dict[tuple[Hashable, Kind], list[float]] = {}
    for pair in pairs:
        at = (group(pair), pair.kind)
        if at not in fits:
            fits[at] = fitted([other for other in pairs if group(other) != at[0]], pair.kind)
        misses.append(dot(fits[at], pair.roofs) - pair.seen)
    return misses


def rule(arithmetic: float, memory: float) -> Callable[[Pair], float]:
    """ln(ratio) by the peak at the precision and the bandwidth, to these powers."""

    def ratio(pair: Pair) -> float:
        ratios = log_ratios(pair.first.job, pair.first.device, pair.second.device)
        return arithmetic * (ratios["arithmetic"] + ratios["matrix units"]) + memory * ratios["memory"]

    return ratio


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def line(name: str, pairs: Sequence[Pair], misses: Sequence[float], *, held: bool = True) -> str:
    relative = [abs(exp(miss) - 1.0) * PERCENT for miss in misses]
    factor = exp(quantile([abs(miss) for miss in misses], 0.8))
    inside = sum(abs(miss) <= log(SPREAD[pair.kind]) for pair, miss in zip(pairs, misses, strict=True)) / len(pairs)
    shown = f"{inside * PERCENT:6.0f} %" if held else "        "
    bias = (exp(median(misses)) - 1.0) * PERCENT
    return f"  {name:34}{median(relative):8.1f} %{quantile(relative, 0.9):8.1f} %{bias:+8.1f} %{factor:8.2f}{shown}"


def model_of(pair: Pair) -> Hashable:
    return pair.first.job.model


def job_of(pair: Pair) -> Hashable:
    return pair.first.key


def devices_of(pair: Pair) -> Hashable:
    return frozenset((pair.first.device.id, pair.second.device.id))


def are_unlike(pair: Pair) -> bool:
    """Whether the two are more than variants of one chip, such as V100 SXM2 and PCIe."""
    chips = {device.id.partition("-")[0] for device in (pair.first.device, pair.second.device)}
    return len(chips) > 1


def print_table(table: str, of: Sequence[Pair], only: Callable[[Pair], bool] | None = None) -> None:
    """The errors on some of the pairs; each is left out of a fit on all the others."""
    pairs = [pair for pair in of if only is None or only(pair)]
    print(f"\n{table}: {len(pairs)} pairs of {len({job_of(pair) for pair in pairs})} jobs")
    print(f"  {'':34}{'median':>10}{'90th':>10}{'bias':>10}{'factor':>8}{'held':>8}")
    for name, ratio in (
        ("peak FLOP/s", rule(1.0, 0.0)),
        ("bandwidth", rule(0.0, 1.0)),
        ("their geometric mean", rule(0.5, 0.5)),
    ):
        print(line(name, pairs, [ratio(pair) - pair.seen for pair in pairs], held=False))
    for name, group in (("each job", job_of), ("each model", model_of), ("each pair of devices", devices_of)):
        misses = [miss for pair, miss in zip(of, misses_left_out(of, group), strict=True) if only is None or only(pair)]
        print(line(f"lowcarb, {name} left out", pairs, misses))


def print_watts(pairs: Sequence[Pair]) -> None:
    """Both ways round, with the watts of the first given and not."""
    powered = [way for p in pairs for way in (p, Pair(p.second, p.first)) if p.first.watts and p.second.watts]
    if not powered:
        return
    print(f"\nwatts: {len(powered)} pairs, both ways round (nothing left out: the share is one number)")
    for name, given in (("watts of the first given", True), ("not given", False)):
        misses, held = [], 0
        for pair in powered:
            watts = pair.first.watts if given else None
            other = contrast_job(pair.first.job, pair.first.device, pair.second.device, watts=watts).other_watts
            truth = pair.second.watts or 0.0
            misses.append(abs(other.mid / truth - 1.0) * PERCENT)
            held += other.low <= truth <= other.high
        share = held / len(powered) * PERCENT
        print(f"  {name:34}{median(misses):8.1f} %{quantile(misses, 0.9):8.1f} %{share:26.0f} %")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    path = parser.parse_args(arguments).data / "gpu_training_throughput.csv"
    if not path.exists():
        print(f"{path} is not there", file=sys.stderr)
        return 1
    pairs = pairs_of(read_runs(path))
    by_table = {table: [pair for pair in pairs if pair.first.table == table] for table in TABLES}
    print("exponents: fitted here (shipped)")
    for kind, groups in FEATURES.items():
        held = [pair for pair in pairs if pair.kind == kind]
        if held:
            parts = zip(groups, fitted(held, kind), strict=True)
            print(
                f"  {kind:10}",
                ", ".join(f"{'+'.join(g)} {x:.2f} ({EXPONENTS[kind][g[0]]:.2f})" for g, x in parts),  # type: ignore[index]
            )
    for table, held in by_table.items():
        if held:
            print_table(table, held)
    print_table("training, unlike chips only", by_table["training"], are_unlike)
    print_watts(by_table["training"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
