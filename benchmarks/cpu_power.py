"""How well processor power is modelled: the formula of `lowcarb.core.cpu_power` and the rules of others.

    python benchmarks/cpu_power.py [--data FOLDER]

Reads cpu_power_profiles.csv (measured package power by load). Fits the formula on all processors but one, predicts that
one, and so on in turn: what is printed as "left out" is the error on processors that the fit has not seen. The same
with all processors of a source or of a maker left out shows what happens far from the fit. "Held" is the share of rows
in the shipped interval around a rule's figure. Exits with 1 where the data is not there.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import log
from pathlib import Path

from lowcarb.core import cpu_power
from lowcarb.core.estimate import Estimate
from lowcarb.core.units import GIGA, KILO, PERCENT

DATA = Path(__file__).parents[2] / "shared" / "data"
GOOD = ("ok", "ok_aggregate")
BASE_CLOCK_GHZ = {
    "AMD Ryzen Threadripper 1950X": 3.4,
    "Intel Xeon E3-1240 V2": 3.4,
    "Intel Xeon E5-2620 v3": 2.4,
    "Intel Xeon E5-2686 v4": 2.3,
    "Intel Xeon Platinum 8124M": 3.0,
    "Intel Xeon Platinum 8175M": 2.5,
    "Intel Xeon Platinum 8259CL": 2.5,
}
"""As Intel's model names end on Linux, `@ 2.40GHz`; AMD's by BoaviztAPI 2.5.0. Of another processor the highest clock
in its rows is taken, and none where they have none."""
STARTS = ((0.12, 0.7, 4.0), (0.2, 0.5, 3.0), (0.08, 0.9, 5.0))
"""Where the search for a fit begins: idle share, exponent, watts per core and gigahertz."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured point, and the weight that makes all processors equal."""

    cpu: str
    vendor: str
    load: float
    rated_w: float
    cores: float
    clock_hz: float | None
    watts: float
    weight: float
    aggregate: bool


Fit = tuple[float, float, float]
"""Idle share, exponent, and power of a core at a gigahertz [W]; or, without cores, what they ask for over the TDP."""
Formula = Callable[[Fit, Row], float]
Rule = Callable[[Row], float]


def read_rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        good = [line for line in csv.DictReader(lines) if line["quality"] in GOOD]
    counts = Counter(line["cpu_model"] for line in good)
    seen_hz: defaultdict[str, float] = defaultdict(float)
    for line in good:
        seen_hz[line["cpu_model"]] = max(seen_hz[line["cpu_model"]], float(line["freq_mhz"] or 0.0) * GIGA / KILO)
    return [
        Row(
            cpu=line["cpu_model"],
            vendor=line["vendor"],
            load=min(1.0, float(line["load_pct"]) / PERCENT),
            rated_w=float(line["tdp_w_total"]),
            cores=float(line["cores_total"]),
            clock_hz=BASE_CLOCK_GHZ.get(line["cpu_model"], 0.0) * GIGA or seen_hz[line["cpu_model"]] or None,
            watts=float(line["package_w"]),
            weight=1.0 / counts[line["cpu_model"]],
            aggregate=line["quality"] == "ok_aggregate",
        )
        for line in good
    ]


def with_cores(fit: Fit, row: Row) -> float:
    """The formula as shipped, with other numbers [W]."""
    idle, exponent, core_w_per_ghz = fit
    asked_w = core_w_per_ghz * row.cores * (row.clock_hz or cpu_power.TYPICAL_CLOCK_HZ) / GIGA
    demand = min(cpu_power.MOST_DEMAND, asked_w / row.rated_w)
    return row.rated_w * min(1.0, demand * (idle + (1.0 - idle) * float(row.load**exponent)))


def without_cores(fit: Fit, row: Row) -> float:
    """The formula from load and rated power alone [W]."""
    idle, exponent, demand = fit
    return row.rated_w * demand * (idle + (1.0 - idle) * float(row.load**exponent))


def loss(formula: Formula, rows: Sequence[Row], fit: Fit) -> float:
    if min(fit) <= 0.0 or fit[0] >= 1.0:
        return float("inf")
    return sum(row.weight * abs(log(formula(fit, row) / row.watts)) for row in rows)


def fitted(formula: Formula, rows: Sequence[Row]) -> Fit:
    """Least weighted absolute error of the logarithm: from each start along each number, in ever smaller steps."""
    return min((_descend(partial(loss, formula, rows), start) for start in STARTS), key=partial(loss, formula, rows))


def _descend(cost: Callable[[Fit], float], fit: Fit) -> Fit:
    step = 0.2
    while step > 0.0005:
        ways = [(a, b, c) for a in (-step, 0, step) for b in (-step, 0, step) for c in (-step, 0, step)]
        near = [(fit[0] * (1 + a), fit[1] * (1 + b), fit[2] * (1 + c)) for a, b, c in ways]
        best = min(near, key=cost)
        if cost(best) < cost(fit):
            fit = best
        else:
            step /= 2.0
    return fit


def left_out(formula: Formula, rows: Sequence[Row], group: Callable[[Row], object]) -> list[float]:
    """Power [W] of each row by the fit on all rows of other groups."""
    fits = {name: fitted(formula, [row for row in rows if group(row) != name]) for name in {group(row) for row in rows}}
    return [formula(fits[group(row)], row) for row in rows]


def quantile(values: Sequence[float], weights: Sequence[float], share: float) -> float:
    passed, whole = 0.0, sum(weights)
    ordered = sorted(zip(values, weights, strict=True))
    for value, weight in ordered:
        passed += weight
        if passed >= share * whole * (1.0 - 1e-12):
            return value
    return ordered[-1][0]


def score(rows: Sequence[Row], modelled_w: Sequence[float], *, weighted: bool, known: bool = True) -> str:
    """Median and p90 absolute error, median signed error [%], and share of rows in the interval [%]."""
    weights = [row.weight if weighted else 1.0 for row in rows]
    errors = [model / row.watts - 1.0 for model, row in zip(modelled_w, rows, strict=True)]
    held = 0.0
    for model, row, weight in zip(modelled_w, rows, weights, strict=True):
        shipped = shipped_w(row) if known else cpu_power.cpu_power_w(row.load, row.rated_w)
        inside = shipped.low / shipped.mid <= row.watts / model <= shipped.high / shipped.mid
        held += weight if inside else 0.0
    sizes = [abs(error) for error in errors]
    middle, ninth, bias = (quantile(v, weights, q) for v, q in ((sizes, 0.5), (sizes, 0.9), (errors, 0.5)))
    return f"{100 * middle:7.1f} {100 * ninth:7.1f} {100 * bias:+7.1f} {100 * held / sum(weights):9.0f}"


def shipped_w(row: Row) -> Estimate:
    return cpu_power.cpu_power_w(row.load, row.rated_w, cores=row.cores, clock_hz=row.clock_hz)


def teads(row: Row) -> float:
    points = ((0.0, 0.12), (0.1, 0.32), (0.5, 0.75), (1.0, 1.02))
    for (low, below), (high, above) in pairwise(points):
        if row.load <= high:
            return row.rated_w * (below + (above - below) * (row.load - low) / (high - low))
    return row.rated_w * 1.02


RULES: dict[str, Rule] = {
    "codecarbon, machine: TDP (0.1 + 0.9 load^3)": lambda row: row.rated_w * (0.1 + 0.9 * row.load**3),
    "codecarbon, constant: 0.5 TDP": lambda row: row.rated_w * 0.5,
    "linear: 0.12 TDP to TDP": lambda row: row.rated_w * (0.12 + 0.88 * row.load),
    "Teads and BoaviztAPI: 0.12/0.32/0.75/1.02 TDP": teads,
    "root: TDP (0.12 + 0.7 load^0.5)": lambda row: row.rated_w * (0.12 + 0.7 * row.load**0.5),
    "lowcarb before: TDP (0.12 + 0.86 load^0.75)": lambda row: row.rated_w * (0.12 + 0.86 * row.load**0.75),
    "lowcarb without cores, as shipped (in the fit)": lambda row: cpu_power.cpu_power_w(row.load, row.rated_w).mid,
    "lowcarb as shipped (in the fit)": lambda row: shipped_w(row).mid,
}


def report(rows: Sequence[Row]) -> None:
    shipped = (cpu_power.IDLE_SHARE, cpu_power.LOAD_EXPONENT, cpu_power.CORE_W_PER_GHZ)
    print("                       idle  exponent  W/GHz")
    for title, fit in (("fit on all processors", fitted(with_cores, rows)), ("shipped", shipped)):
        print(f"{title:21} {fit[0]:6.3f} {fit[1]:9.3f} {fit[2]:6.2f}")
    alone = fitted(without_cores, rows)
    print(f"fit without cores     {alone[0]:6.3f} {alone[1]:9.3f}, demand {alone[2]:.2f} × TDP\n")
    outside = {
        "lowcarb, left out": left_out(with_cores, rows, lambda row: row.cpu),
        "lowcarb, sources left out": left_out(with_cores, rows, lambda row: row.aggregate),
        "lowcarb, makers left out": left_out(with_cores, rows, lambda row: row.vendor),
        "lowcarb without cores, left out": left_out(without_cores, rows, lambda row: row.cpu),
    }
    everything = list(range(len(rows)))
    scopes = (
        ("all rows, one weight a row", everything, False),
        ("all rows, one weight a processor", everything, True),
        ("RAPL rows", [i for i in everything if not rows[i].aggregate], False),
        ("Teads aggregates", [i for i in everything if rows[i].aggregate], False),
    )
    for title, picked, weighted in scopes:
        some = [rows[i] for i in picked]
        if not some:
            continue
        print(f"{f'{title} (n = {len(some)})':48} median     p90    bias  held, all in %")
        for name, rule in RULES.items():
            known = "without" not in name
            print(f"  {name:46} {score(some, [rule(row) for row in some], weighted=weighted, known=known)}")
        for name, modelled_w in outside.items():
            known = "without" not in name
            print(f"  {name:46} {score(some, [modelled_w[i] for i in picked], weighted=weighted, known=known)}")
        print()
    narrow = (cpu_power.CPU_LOW_RATIO, cpu_power.CPU_HIGH_RATIO)
    wide = (cpu_power.UNSURE_LOW_RATIO, cpu_power.UNSURE_HIGH_RATIO)
    for title, (low, high) in (("cores and clock known", narrow), ("unknown", wide)):
        print(f"interval, {title}: {low} to {high} × mid, a factor of {high / low:.2f} wide")


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
