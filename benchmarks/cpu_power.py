"""How well processor power is modelled from load: the curve of `lowcarb.core.cpu_power` and the rules of others.

    python benchmarks/cpu_power.py [--data FOLDER]

Reads cpu_power_profiles.csv (measured package power by load), one weight per processor model. Chooses the exponent and
fits the curve on all processors but one, predicts that one, and so on in turn: what is printed as "left out" is
the error on processors that the fit has not seen. Exits with 1 where the data is not there.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from pathlib import Path

from lowcarb.core import cpu_power

DATA = Path("/work/shared/data")
GOOD = ("ok", "ok_aggregate")
EXPONENTS = (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One measured point: share of rated power drawn at a load, and the weight that makes all processors equal."""

    cpu: str
    load: float
    tdp_w: float
    watts: float
    weight: float
    aggregate: bool


Curve = tuple[float, float, float]
Rule = Callable[[Row], float]


def read_rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        good = [line for line in csv.DictReader(lines) if line["quality"] in GOOD]
    counts = Counter(line["cpu_model"] for line in good)
    return [
        Row(
            cpu=line["cpu_model"],
            load=min(1.0, float(line["load_pct"]) / 100.0),
            tdp_w=float(line["tdp_w_total"]),
            watts=float(line["package_w"]),
            weight=1.0 / counts[line["cpu_model"]],
            aggregate=line["quality"] == "ok_aggregate",
        )
        for line in good
    ]


def curve_w(curve: Curve, row: Row) -> float:
    idle, rise, exponent = curve
    return row.tdp_w * (idle + rise * row.load**exponent)


def loss(curve: Curve, rows: Sequence[Row]) -> float:
    return sum(row.weight * abs(log(curve_w(curve, row) / row.watts)) for row in rows)


def fit(rows: Sequence[Row], exponent: float) -> Curve:
    """Least weighted absolute error of the logarithm, by a grid that closes in."""
    idle, rise, idle_step, rise_step = 0.2, 0.8, 0.018, 0.06
    for _ in range(7):
        grid = [
            (max(0.01, idle + i * idle_step), max(0.05, rise + j * rise_step), exponent)
            for i in range(-10, 11)
            for j in range(-10, 11)
        ]
        idle, rise, _ = min(grid, key=lambda curve: loss(curve, rows))
        idle_step, rise_step = idle_step * 0.4, rise_step * 0.4
    return idle, rise, exponent


def left_out(rows: Sequence[Row], exponent: float) -> list[float]:
    """Power [W] of each row by the fit on all other processors."""
    curves = {cpu: fit([row for row in rows if row.cpu != cpu], exponent) for cpu in {row.cpu for row in rows}}
    return [curve_w(curves[row.cpu], row) for row in rows]


def quantile(values: Sequence[float], weights: Sequence[float], share: float) -> float:
    ordered = sorted(zip(values, weights, strict=True))
    passed, whole = 0.0, sum(weights)
    for value, weight in ordered:
        passed += weight
        if passed >= share * whole * (1.0 - 1e-12):
            return value
    return ordered[-1][0]


def score(rows: Sequence[Row], modelled_w: Sequence[float], *, weighted: bool) -> str:
    """Median and p90 absolute error, median signed error [%], and share of rows in the interval [%]."""
    weights = [row.weight if weighted else 1.0 for row in rows]
    errors = [model / row.watts - 1.0 for model, row in zip(modelled_w, rows, strict=True)]
    sizes = [abs(error) for error in errors]
    held = [
        cpu_power.CPU_LOW_RATIO * model <= row.watts <= cpu_power.CPU_HIGH_RATIO * model
        for model, row in zip(modelled_w, rows, strict=True)
    ]
    covered = sum(weight for weight, inside in zip(weights, held, strict=True) if inside) / sum(weights)
    middle, ninth, bias = (quantile(v, weights, q) for v, q in ((sizes, 0.5), (sizes, 0.9), (errors, 0.5)))
    return f"{100 * middle:7.1f} {100 * ninth:7.1f} {100 * bias:+7.1f} {100 * covered:9.0f}"


def teads(row: Row) -> float:
    points = ((0.0, 0.12), (0.1, 0.32), (0.5, 0.75), (1.0, 1.02))
    for (low, below), (high, above) in pairwise(points):
        if row.load <= high:
            return row.tdp_w * (below + (above - below) * (row.load - low) / (high - low))
    return row.tdp_w * 1.02


RULES: dict[str, Rule] = {
    "codecarbon, machine: TDP (0.1 + 0.9 load^3)": lambda row: row.tdp_w * (0.1 + 0.9 * row.load**3),
    "codecarbon, constant: 0.5 TDP": lambda row: row.tdp_w * 0.5,
    "linear: 0.12 TDP to TDP": lambda row: row.tdp_w * (0.12 + 0.88 * row.load),
    "Teads and BoaviztAPI: 0.12/0.32/0.75/1.02 TDP": teads,
    "root: TDP (0.12 + 0.7 load^0.5)": lambda row: row.tdp_w * (0.12 + 0.7 * row.load**0.5),
    "lowcarb, as shipped (in the fit)": lambda row: cpu_power.cpu_power_w(row.load, row.tdp_w).mid,
}


def report(rows: Sequence[Row]) -> None:
    print("exponent   idle   rise   mean |ln error| left out")
    losses = {}
    for exponent in EXPONENTS:
        outside = left_out(rows, exponent)
        losses[exponent] = sum(
            row.weight * abs(log(model / row.watts)) for row, model in zip(rows, outside, strict=True)
        ) / sum(row.weight for row in rows)
        idle, rise, _ = fit(rows, exponent)
        print(f"{exponent:8.2f} {idle:6.3f} {rise:6.3f} {losses[exponent]:8.3f}")
    best = min(losses, key=lambda exponent: losses[exponent])
    print(f"best exponent left out: {best}; shipped: {cpu_power.LOAD_EXPONENT}\n")
    outside = left_out(rows, cpu_power.LOAD_EXPONENT)
    scopes = (
        ("all rows, one weight per processor", list(range(len(rows))), True),
        ("RAPL rows", [i for i, row in enumerate(rows) if not row.aggregate], False),
        ("Teads aggregates", [i for i, row in enumerate(rows) if row.aggregate], False),
    )
    for title, picked, weighted in scopes:
        some = [rows[i] for i in picked]
        print(f"{f'{title} (n = {len(some)})':48} median     p90    bias  held, all in %")
        for name, rule in RULES.items():
            print(f"  {name:46} {score(some, [rule(row) for row in some], weighted=weighted)}")
        print(f"  {'lowcarb, left out':46} {score(some, [outside[i] for i in picked], weighted=weighted)}\n")
    ratio = cpu_power.CPU_HIGH_RATIO / cpu_power.CPU_LOW_RATIO
    print(f"interval: {cpu_power.CPU_LOW_RATIO} to {cpu_power.CPU_HIGH_RATIO} × mid, a factor of {ratio:.2f} wide")


def main() -> int:
    parser = argparse.ArgumentParser(description="Errors of processor power modelled from load.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that holds cpu_power_profiles.csv")
    path = parser.parse_args().data / "cpu_power_profiles.csv"
    if not path.is_file():
        print(f"{path} is not there: give its folder with --data", file=sys.stderr)
        return 1
    report(read_rows(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
