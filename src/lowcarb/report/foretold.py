"""Forecast against outcome: what was expected of a run before it ran, beside what it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lowcarb.core.units import PERCENT
from lowcarb.report.columns import Table, words
from lowcarb.report.format import UNKNOWN, figure, quantity
from lowcarb.report.page import Section

TITLE = "Forecast against outcome"
QUANTITIES = (
    ("Energy", "energy_j", "J"), ("Carbon of electricity", "operational_g", "g"), ("Time", "duration_s", "s"),
)  # fmt: skip


class Told(NamedTuple):
    """One quantity of one run."""

    run: str
    quantity: str
    forecast: str
    outcome: str
    error: str
    inside: str


def told_of(name: str, forecast: Mapping[str, Any] | None, outcome: Mapping[str, Any] | None) -> list[Told]:
    """What a footprint that was forecast says of one that came out; empty where there is no forecast."""
    rows = []
    for title, field, unit in QUANTITIES if forecast and outcome else ():
        expected, found = figure((forecast or {}).get(field)), figure((outcome or {}).get(field))
        if expected is None or found is None:
            continue
        error = f"{PERCENT * (expected.mid / found.mid - 1.0):+.0f} %".replace("-", "−") if found.mid > 0 else UNKNOWN
        inside = "yes" if expected.low <= found.mid <= expected.high else "no"
        rows.append(Told(name, title, quantity(expected, unit), quantity(found, unit), error, inside))
    return rows


def foretold_section(trials: Iterable[Mapping[str, Any]]) -> Section:
    """The section on a study's trials; empty where no forecast was kept."""
    rows = [
        row
        for trial in trials
        for row in told_of(f"{trial['arm']} seed {trial['seed']}", trial.get("forecast"), trial.get("footprint"))
    ]
    return section_of(rows)


def section_of(rows: Iterable[Told]) -> Section:
    """The section around some rows."""
    shown = list(rows)
    names = ("Run", "Quantity", "Forecast", "Outcome", "Error", "Outcome inside the forecast's interval")
    columns = tuple(words(name, [row[index] for row in shown]) for index, name in enumerate(names))
    text = "What was expected before it ran, beside what it took. Error: forecast over outcome."
    return Section("foretold", TITLE, (text,), tables=(Table(TITLE, columns),))
