"""The catalogue's tables as rows, and their cells as figures in SI units."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from lowcarb.core.estimate import BASES, Basis, Estimate
from lowcarb.core.units import BYTES_PER_GB, FLOP_PER_TFLOP, G_PER_KG, S_PER_YEAR

Row = Mapping[str, str]
Choice = TypeVar("Choice", bound=str)

DATA = Path(__file__).with_name("data")
SI_PER_UNIT: Mapping[str, float] = {
    "1": 1.0,
    "W": 1.0,
    "J": 1.0,
    "gCO2e": 1.0,
    "l/kWh": 1.0,
    "USD/h": 1.0,
    "kgCO2e": G_PER_KG,
    "W/GB": 1.0 / BYTES_PER_GB,
    "kgCO2e/GB": G_PER_KG / BYTES_PER_GB,
    "years": S_PER_YEAR,
    "GB": BYTES_PER_GB,
    "GB/s": BYTES_PER_GB,
    "TFLOP/s": FLOP_PER_TFLOP,
}
"""Every unit that a table may use, and what one of it is in the unit that lowcarb stores."""

COLUMNS: Mapping[str, str] = {
    "aliases": "kind,alias,id",
    "cpu_families": (
        "vendor_id,family,model,name,tdp_w_per_thread_low,tdp_w_per_thread,tdp_w_per_thread_high,basis,source"
    ),
    "cpus": "name,tdp_w,cores,threads,clock_ghz,basis,source",
    "devices": "device,field,value,low,high,unit,basis,source",
    "equivalents": "id,title,value,low,high,unit,basis,source",
    "memory": "id,name,field,value,low,high,unit,basis,source",
    "models": (
        "id,family,kind,layers,decoder_layers,width,ff,heads,vocab,positions,parameters,"
        "active_parameters,kv_heads,experts,experts_per_token,source,basis"
    ),
    "published": (
        "id,name,family,year,organisation,params,active_params,flop_params,tokens,arch,layers,width,"
        "precision,device,count,accelerator_hours,hours_basis,power_w,power_basis,pue,"
        "intensity_g_per_kwh,site,energy_mwh,energy_scope,energy_basis,co2_t,co2_scope,co2_accounting,"
        "remark,basis,source"
    ),
    "site_facts": "site,field,value,low,high,unit,year,basis,source",
    "sites": "id,name,level,parent,iso2,year,intensity_g_per_kwh,low,high,accounting,basis,source",
    "sources": "id,title,publisher,url,published,retrieved,license",
    "tasks": "id,title,examples,epochs,batch,length,source,basis",
}
"""The columns of every table, in order: another one is refused, so that none is filled in and never read."""


def read(table: str, words: Sequence[str] = ()) -> tuple[Row, ...]:
    """The rows of one table that ships with the package, cells by column name.

    Args:
        table: its name.
        words: in lower case; only rows with all of them are read, which is far quicker where the table is long.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: its columns are not those of `COLUMNS`.
    """
    # Line by line, as a training that looks up its one processor should not hold thousands.
    with (DATA / f"{table}.csv").open(encoding="utf-8") as file:
        head = next(file, "").rstrip("\n")
        check_columns(table, head)
        lines = (line for line in file if all(map(line.lower().__contains__, words))) if words else file
        return tuple(csv.DictReader(lines, head.split(",")))


def check_columns(table: str, head: str) -> None:
    """Refuse a table whose first line names other columns than `COLUMNS`.

    Raises:
        ValueError: the columns that are too many, or missing.
    """
    if head != COLUMNS[table]:
        found, wanted = head.split(","), COLUMNS[table].split(",")
        unknown, missing = (sorted(set(a) - set(b)) for a, b in ((found, wanted), (wanted, found)))
        raise ValueError(f"{table}.csv: unknown columns {unknown}, missing columns {missing}")


def choice(text: str, options: tuple[Choice, ...]) -> Choice:
    """A cell that holds one of some words.

    Raises:
        ValueError: it holds another.
    """
    return options[options.index(text)]


def basis(row: Row) -> Basis:
    """The basis that a row states.

    Raises:
        ValueError: it states none.
    """
    return choice(row["basis"], BASES)


def sources(*rows: Row) -> tuple[str, ...]:
    """The source ids that some rows name, each once, in order: a cell may name several, with spaces between."""
    return tuple(dict.fromkeys(source for row in rows for source in row["source"].split()))


def count(cell: str) -> int | None:
    """A whole number, or None of an empty cell."""
    return int(cell) if cell else None


def optional(cell: str) -> float | None:
    """A number, or None of an empty cell."""
    return float(cell) if cell else None


def scalar(row: Row) -> float:
    """The `value` of a row in the stored unit.

    Raises:
        KeyError: the row's unit is not in `SI_PER_UNIT`.
    """
    return float(row["value"]) * SI_PER_UNIT[row["unit"]]


def figure(row: Row, mid: str = "value", low: str = "low", high: str = "high") -> Estimate:
    """The figure of a row in the stored unit; an empty bound is the value itself.

    Raises:
        KeyError: the row's unit is not in `SI_PER_UNIT`.
        ValueError: a cell is not a number, or the bounds do not hold the value.
    """
    per_unit = SI_PER_UNIT[row.get("unit", "1")]
    lowest, middle, highest = (float(row[column] or row[mid]) * per_unit for column in (low, mid, high))
    return Estimate(lowest, middle, highest, basis(row))
