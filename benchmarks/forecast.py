"""How well a training run is forecast from its totals, on families of models that the fit has not seen.

    python benchmarks/forecast.py [--data FOLDER] [--fit] [--rows]

Reads published_footprints.csv. Leaves out one family of models after the other, fits the constants of
`lowcarb.core.utilisation` and `lowcarb.core.power` to the others, and forecasts the family. Prints for each target the
median and the 90th percentile of |forecast ÷ published − 1|, the bias (median of ln(forecast ÷ published)), the
share of rows in the shipped 80 % interval, and its median width as a ratio; beside it the usual rule, 6 × parameters ×
tokens ÷ (0.4 × peak) hours at the rated power. `--fit` prints the constants fitted to all rows, `--rows` every row.
Exits with 1 where the data is not there.

Hours are also forecast with whole devices left out, with random halves of the families, and with the newer years left
out, so that the form is not chosen for one way of leaving out (decision 0020).

Not left out: the form of the model and how hard the fit pulls were chosen on these rows, among about 120 fits and 200
more; the TPU exponent was set in view of both families that it is tried on.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path
from statistics import median

import numpy as np

from lowcarb.catalogue import Catalogue
from lowcarb.catalogue.records import Published
from lowcarb.cli.batch import carbon_by_scope
from lowcarb.core import power, utilisation
from lowcarb.core.estimate import Estimate
from lowcarb.core.forecast import Forecast, Scenario, active_parameters, device_count, forecast_run, peak_of
from lowcarb.core.units import GIGA, J_PER_KWH, KILO, MEGA, S_PER_HOUR

DATA = Path(__file__).parents[2] / "shared" / "data"
RULE_MFU = 0.4
RIDGE = 1.0
"""Pull of the slopes towards zero, in rows."""
USUAL_PULL = 30.0
"""Pull of the base towards the MFU of the usual rule, in rows: it sums up more runs than are in the table."""
SHIPPED = (
    utilisation.LOG_BASE, utilisation.CROWD_EXPONENT, utilisation.FAST_EXPONENT, utilisation.TOKEN_EXPONENT,
    utilisation.HALF_LOSS,
)  # fmt: skip
"""The constants that lowcarb forecasts with, in the order of `utilisation.terms`."""
HUBER = 0.3
"""Residuals beyond this weigh as their size, not as its square [ln]."""
HALVES, HALVES_SEED = 50, 7
APART = "catalogue"
"""Source of runs that the catalogue holds and the table does not."""
THROUGHPUT_BASES = ("iteration", "derived_from_throughput", "derived_2.1")
"""Beginnings of `hours_basis` where hours were computed from a speed, so without restarts."""
SYSTEMS = {"mlperf": (1.25, 1.25), "p100": (271.0 / 250.0,)}
"""System power over rated power from elsewhere: H100 nodes (gpu_training_throughput.csv, g0000 and g0001: 6.86 and
7.16 kW of eight), P100 (Patterson et al. 2021, table 3, by the notes of transformer-big)."""


@dataclass(frozen=True, slots=True)
class Row:
    """A published run and lowcarb's forecast of it with the shipped constants."""

    facts: dict[str, str]
    forecast: Forecast

    @property
    def family(self) -> str:
        return self.facts["family"]

    def number(self, name: str) -> float | None:
        return float(self.facts[name]) if self.facts[name] else None

    def scored(self, what: str) -> bool:
        return self.facts[f"score_{what}"] == "1"

    @property
    def peak(self) -> float:
        return peak_of(self.forecast.scenario.device, self.forecast.scenario.precision)[1]

    @property
    def flops(self) -> float:
        scenario = self.forecast.scenario
        return 6.0 * active_parameters(scenario) * scenario.tokens

    @property
    def count(self) -> float:
        return float(self.forecast.scenario.count or utilisation.usual_count(self.flops, self.peak))

    @property
    def terms(self) -> tuple[float, ...]:
        scenario = self.forecast.scenario
        half = peak_of(scenario.device, scenario.precision)[0] == "fp16" and scenario.device.peak_for("bf16") is None
        return utilisation.terms(active_parameters(scenario), scenario.tokens, self.peak, self.count, float(half))

    @property
    def rule_hours(self) -> float:
        return self.flops / (RULE_MFU * self.peak * S_PER_HOUR)


def read_rows(folder: Path) -> list[Row]:
    """Runs with tokens, weights and a device that the catalogue knows."""
    catalogue = Catalogue.load()
    with (folder / "published_footprints.csv").open(encoding="utf-8") as lines:
        table = list(csv.DictReader(lines))
    held = {facts["id"] for facts in table}
    table += [_facts(one, list(table[0])) for one in catalogue.published() if one.id not in held]
    rows = []
    for facts in table:
        if not (facts["training_tokens_B"] and facts["params_active_B"] and facts["accelerator"]):
            continue
        site = catalogue.site("us")
        if facts["grid_gco2_kwh"]:
            site = replace(site, intensity_g_per_kwh=Estimate.exact(float(facts["grid_gco2_kwh"]), "catalogue"))
        scenario = Scenario(
            params=float(facts["params_total_B"]) * GIGA,
            tokens=float(facts["training_tokens_B"]) * GIGA,
            device=catalogue.device(facts["accelerator"]),
            site=site,
            count=int(facts["accelerator_count"]) if facts["accelerator_count"] else None,
            active_params=float(facts["params_active_B"]) * GIGA,
            family=facts["arch_type"],
            precision=facts["precision"],
        )
        pue = Estimate.exact(float(facts["pue"]), "catalogue") if facts["pue"] else None
        site = replace(site, pue=pue) if pue else catalogue.housed(site, device_count(scenario))
        rows.append(Row(facts, forecast_run(replace(scenario, site=site))))
    return rows


def _facts(run: Published, columns: Sequence[str]) -> dict[str, str]:
    """A published run of the catalogue that the table lacks, as a row of the table; scored on its hours."""
    told = {
        "id": run.id, "family": run.family, "year": str(run.year),
        "arch_type": "decoder" if run.arch == "moe" else run.arch,
        "sparsity": "moe" if run.arch == "moe" else "dense", "params_total_B": _billions(run.params),
        "params_active_B": _billions(run.active_params), "training_tokens_B": _billions(run.tokens),
        "accelerator": run.device or "", "accelerator_count": str(run.count or ""), "precision": run.precision,
        "accelerator_hours": str(run.accelerator_hours or ""), "hours_basis": run.hours_basis or "",
        "source": APART, "score_hours": "1", "score_energy": "0", "score_co2": "0",
    }  # fmt: skip
    return dict.fromkeys(columns, "") | told


def _billions(value: float | None) -> str:
    return "" if value is None else repr(value / GIGA)


def fit_hours(rows: Sequence[Row]) -> tuple[float, ...]:
    """The five constants of ln(MFU): ridge least squares, reweighted as Huber's, a family weighing √(its rows)."""
    rows = [row for row in rows if row.scored("hours")]
    sizes = Counter(row.family for row in rows)
    weight = np.array([sizes[row.family] ** -0.5 for row in rows])
    x = np.array([row.terms for row in rows])
    y = np.array([log(_mfu(row)) for row in rows])
    slopes = x.shape[1] - 1
    pull, now = np.diag([USUAL_PULL] + [RIDGE] * slopes), weight
    towards = np.array([USUAL_PULL * log(RULE_MFU)] + [0.0] * slopes)
    solution = np.zeros(1 + slopes)
    for _ in range(20):
        solution = np.linalg.solve((x * now[:, None]).T @ x + pull, (x * now[:, None]).T @ y + towards)
        now = weight / np.maximum(1.0, np.abs(y - x @ solution) / HUBER)
    return tuple(float(value) for value in solution)


def _mfu(row: Row) -> float:
    hours = row.number("accelerator_hours") or 0.0
    trained = 1.0 if row.facts["hours_basis"].startswith(THROUGHPUT_BASES) else utilisation.goodput(row.count)
    return row.flops / (hours * S_PER_HOUR * row.peak * trained)


def fit_power(rows: Sequence[Row]) -> tuple[float, float]:
    """System power of a TPU v3 chip [W] and of a GPU over its rated power: means of ln, a family weighing one."""
    tpu: dict[str, list[float]] = {}
    gpu: dict[str, list[float]] = {name: [log(value) for value in values] for name, values in SYSTEMS.items()}
    for row in rows:
        watts, device = row.number("avg_power_w"), row.forecast.scenario.device
        if row.facts["power_basis"] != "measured_system" or watts is None:
            continue
        if device.kind == "tpu":
            scale = (row.peak / power.TPU_PEAK_FLOPS) ** power.TPU_EXPONENT
            tpu.setdefault(row.family, []).append(log(watts / scale))
        else:
            gpu.setdefault(row.family, []).append(log(watts / (device.tdp_w or 0.0)))
    return _mean(tpu), _mean(gpu)


def _mean(families: dict[str, list[float]]) -> float:
    return exp(sum(sum(of) / len(of) for of in families.values()) / len(families))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the shipped forecast of a row is to be multiplied by to be one that has not seen the row's family."""

    hours: float
    system: float


def leave_out(rows: Sequence[Row]) -> dict[str, LeftOut]:
    """By row id."""
    result = {}
    shipped = SHIPPED
    for family in {row.family for row in rows}:
        others = [row for row in rows if row.family != family]
        constants, (tpu_w, gpu_share) = fit_hours(others), fit_power(others)
        for row in rows:
            if row.family == family:
                now = sum(c * t for c, t in zip(constants, row.terms, strict=True))
                then = sum(c * t for c, t in zip(shipped, row.terms, strict=True))
                tpu = row.forecast.scenario.device.kind == "tpu"
                ratio = (
                    tpu_w / power.TPU_SYSTEM_W if tpu else gpu_share / (power.GPU_DEVICE_SHARE + power.GPU_HOST_SHARE)
                )
                result[row.facts["id"]] = LeftOut(exp(then - now), ratio)
    return result


@dataclass(frozen=True, slots=True)
class Case:
    """One row of one target: published, forecast, rule, and the shipped interval's ratios."""

    id: str
    published: float
    forecast: float
    rule: float
    low_ratio: float
    high_ratio: float


def _case(row: Row, published: float, mid: float, rule: float, shape: Estimate) -> Case:
    return Case(row.facts["id"], published, mid, rule, shape.low / shape.mid, shape.high / shape.mid)


def hour_cases(rows: Sequence[Row], left: dict[str, LeftOut], only: Callable[[Row], bool]) -> list[Case]:
    return [
        _case(
            row, row.number("accelerator_hours") or 0.0,
            row.forecast.accelerator_hours.mid * left[row.facts["id"]].hours, row.rule_hours,
            row.forecast.accelerator_hours,
        )
        for row in rows
        if row.scored("hours") and only(row)
    ]  # fmt: skip


def _energy_kwh(row: Row, left: LeftOut) -> tuple[float, float, Estimate]:
    """Forecast and rule [kWh], in the scope that the row was published in."""
    forecast, scenario = row.forecast, row.forecast.scenario
    rule = row.rule_hours * (scenario.device.tdp_w or 0.0) / KILO
    if row.facts["energy_scope"] == "facility":
        pue = scenario.site.pue.mid
        return forecast.facility_j.mid * left.hours * left.system / J_PER_KWH, rule * pue, forecast.facility_j
    return forecast.accelerator_j.mid * left.hours / J_PER_KWH, rule, forecast.accelerator_j


def split_cases(splits: Sequence[tuple[Sequence[Row], Sequence[Row]]]) -> list[Case]:
    """Hours of the second rows of each split, by constants fitted to the first."""
    cases = []
    for known, unseen in splits:
        constants = fit_hours(known)
        for row in unseen:
            ratio = exp(sum((s - c) * t for s, c, t in zip(SHIPPED, constants, row.terms, strict=True)))
            shape = row.forecast.accelerator_hours
            published = row.number("accelerator_hours") or 0.0
            cases.append(_case(row, published, shape.mid * ratio, row.rule_hours, shape))
    return cases


def splits_of(rows: Sequence[Row]) -> dict[str, list[tuple[list[Row], list[Row]]]]:
    """Other ways of leaving out than by family, by name."""
    rows = [row for row in rows if row.scored("hours")]

    def apart(unseen: Callable[[Row], bool]) -> tuple[list[Row], list[Row]]:
        return [row for row in rows if not unseen(row)], [row for row in rows if unseen(row)]

    chance, families = random.Random(HALVES_SEED), sorted({row.family for row in rows})
    halves = [frozenset(chance.sample(families, len(families) // 2)) for _ in range(HALVES)]
    kinds = sorted({_kind(row) for row in rows})
    return {
        "kinds of device left out": [apart(lambda row, kind=kind: _kind(row) == kind) for kind in kinds],  # type: ignore[misc]
        f"half of the families left out, {HALVES} times": [
            apart(lambda row, half=half: row.family in half)
            for half in halves  # type: ignore[misc]
        ],
        "years after 2022 left out": [apart(lambda row: int(row.facts["year"]) > 2022)],
        "years after 2023 left out": [apart(lambda row: int(row.facts["year"]) > 2023)],
        "all runs apart from the table left out": [apart(_is_apart)],
    }


def _kind(row: Row) -> str:
    """A device, both sizes of the A100 being one."""
    device = row.forecast.scenario.device.id
    return "a100" if device.startswith("a100") else "v100" if device.startswith("v100") else device


def _any(_: Row) -> bool:
    return True


def _is_sparse(row: Row) -> bool:
    return row.facts["sparsity"] == "moe"


def _is_apart(row: Row) -> bool:
    return row.facts["source"] == APART


def _has_pue(row: Row) -> bool:
    return bool(row.facts["pue"])


def energy_cases(rows: Sequence[Row], left: dict[str, LeftOut], *, given_hours: bool) -> list[Case]:
    cases = []
    for row in rows:
        hours, published = row.number("accelerator_hours"), row.number("energy_mwh")
        if not row.scored("energy") or published is None or (hours is None and given_hours):
            continue
        mid, rule, shape = _energy_kwh(row, left[row.facts["id"]])
        if not given_hours and not row.scored("hours") and hours is not None:
            continue  # hours that do not follow from the tokens (Switch-C), or the same run twice (GLaM)
        if given_hours and hours is not None:
            mid *= hours / (row.forecast.accelerator_hours.mid * left[row.facts["id"]].hours)
            rule *= hours / row.rule_hours
            known = replace(row.forecast.scenario, accelerator_hours=hours)
            shape = forecast_run(known).facility_j if row.facts["energy_scope"] == "facility" else shape
        cases.append(_case(row, published * KILO, mid, rule, shape))
    return cases


def carbon_cases(
    rows: Sequence[Row], left: dict[str, LeftOut], only: Callable[[Row], bool], *, published_scope: bool
) -> list[Case]:
    """`published_scope`: where the paper multiplied rated power by hours, so do we, with its PUE or none."""
    cases = []
    for row in filter(only, _carbon_rows(rows)):
        published, site = row.number("tco2e_operational") or 0.0, row.forecast.scenario.site
        of, scenario = left[row.facts["id"]], row.forecast.scenario
        intensity = site.intensity_g_per_kwh.mid
        rated = row.facts["power_basis"] in ("tdp", "assumed_average")
        pue = (row.number("pue") or 1.0) if row.facts["co2_scope"] == "facility" else 1.0
        rule = row.rule_hours * (scenario.device.tdp_w or 0.0) / KILO * (row.number("pue") or 1.0) * intensity
        mid = row.forecast.footprint.operational_g.mid * of.hours * of.system
        if published_scope and rated:
            tdp = scenario.device.tdp_w or 0.0
            mid = row.forecast.accelerator_hours.mid * of.hours * tdp / KILO * pue * intensity
        elif published_scope and row.facts["power_basis"] == "measured_gpu":
            mid = row.forecast.accelerator_j.mid / J_PER_KWH * of.hours * pue * intensity
        cases.append(_case(row, published * MEGA, mid, rule, row.forecast.footprint.operational_g))
    return cases


def shipped_cases(rows: Sequence[Row], left: dict[str, LeftOut], scope: str) -> list[Case]:
    """Carbon as `lowcarb forecast --batch` gives it in a scope, whatever the publication counted."""
    cases = []
    for row, case in zip(_carbon_rows(rows), carbon_cases(rows, left, _any, published_scope=False), strict=True):
        of, figure = left[row.facts["id"]], carbon_by_scope(row.forecast)[scope]
        tpu = row.forecast.scenario.device.kind == "tpu"
        mid = figure.mid * of.hours * (of.system if tpu or scope != "published" else 1.0)
        cases.append(_case(row, case.published, mid, case.rule, figure))
    return cases


def _carbon_rows(rows: Sequence[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if row.scored("co2")
        and row.number("tco2e_operational")
        and (row.number("accelerator_hours") is None or row.scored("hours"))
    ]


def show(title: str, cases: Sequence[Case], *, every_row: bool) -> None:
    errors = [abs(case.forecast / case.published - 1.0) for case in cases]
    rule = [abs(case.rule / case.published - 1.0) for case in cases]
    ratios = [case.published / case.forecast for case in cases]
    held = [case.low_ratio <= ratio <= case.high_ratio for case, ratio in zip(cases, ratios, strict=True)]
    width = median(exp(log(case.high_ratio / case.low_ratio) / 2.0) for case in cases)
    bias = median(-log(ratio) for ratio in ratios)
    share = sum(held) / len(held)
    print(f"{title:46} {len(cases):3}  {_two(errors)}  {_two(rule)}  {bias:+.2f}  {share:5.0%}  x/{width:.2f}")
    if every_row:
        for case in cases:
            print(
                f"    {case.id:22} {case.published:12.4g} {case.forecast:12.4g} {case.forecast / case.published:6.2f}"
            )


def _two(errors: Sequence[float]) -> str:
    return f"{median(errors):6.1%} {float(np.quantile(errors, 0.9)):6.1%}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--fit", action="store_true", help="print the constants fitted to all rows")
    parser.add_argument("--rows", action="store_true", help="print every row")
    options = parser.parse_args()
    if not (options.data / "published_footprints.csv").is_file():
        print(f"no published_footprints.csv in {options.data}: name its folder with --data", file=sys.stderr)
        return 1
    rows = read_rows(options.data)
    if options.fit:
        base, crowd, fast, long, half = fit_hours(rows)
        tpu_w, gpu_share = fit_power(rows)
        print(f"LOG_BASE {base:.3f}  CROWD_EXPONENT {crowd:.3f}  FAST_EXPONENT {fast:.3f}")
        print(f"TOKEN_EXPONENT {long:.3f}  HALF_LOSS {half:.3f}")
        print(f"TPU_SYSTEM_W {tpu_w:.1f}  GPU system over rated power {gpu_share:.3f}")
    left = leave_out(rows)
    head = "left out by family"
    print(f"{head:46} rows  median    p90    rule    p90   bias   held  width")
    for title, cases in (
        ("accelerator-hours, no probe", hour_cases(rows, left, _any)),
        ("accelerator-hours, mixture of experts", hour_cases(rows, left, _is_sparse)),
        ("accelerator-hours, runs apart from the table", hour_cases(rows, left, _is_apart)),
        ("energy given hours, same scope", energy_cases(rows, left, given_hours=True)),
        ("energy end to end, same scope", energy_cases(rows, left, given_hours=False)),
        ("carbon, scope as published", carbon_cases(rows, left, _any, published_scope=True)),
        ("carbon, batch scope `published`", shipped_cases(rows, left, "published")),
        ("carbon as shipped, hosts in it", carbon_cases(rows, left, _any, published_scope=False)),
        ("the same, only rows with a PUE", carbon_cases(rows, left, _has_pue, published_scope=False)),
    ):
        show(title, cases, every_row=options.rows)
    print("accelerator-hours, left out otherwise")
    for title, splits in splits_of(rows).items():
        show(title, split_cases(splits), every_row=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
