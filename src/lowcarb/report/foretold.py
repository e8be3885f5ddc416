"""Forecast against outcome: what was expected of a run before it ran, beside what it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lowcarb.core.units import PERCENT
from lowcarb.report.columns import Table, words
from lowcarb.report.format import UNKNOWN, Figure, figure, quantity
from lowcarb.report.page import Section

TITLE = "Forecast against outcome"
QUANTITIES = (
    ("Energy", "energy_j", "J"), ("Carbon of electricity", "operational_g", "g"), ("Time", "duration_s", "s"),
)  # fmt: skip

INSIDE, ABOVE, BELOW = "inside the interval", "above the interval", "below the interval"
UNFINISHED = "unfinished, so not to be compared"


class Told(NamedTuple):
    """One quantity of one run."""

    run: str
    quantity: str
    forecast: str
    outcome: str
    error: str
    inside: str


def told_of(name: str, forecast: object, outcome: Mapping[str, Any] | None, status: str = "done") -> list[Told]:
    """What a footprint that was forecast says of one that came out; empty where there is no forecast.

    Args:
        name: of the run.
        forecast: the document of a footprint; what is none, as any note of that name may be, is no forecast.
        outcome: the document of the footprint that came out.
        status: how the run ended. One that did not come to its end says nothing of the forecast but where it took
            more already.
    """
    rows: list[Told] = []
    if not isinstance(forecast, Mapping) or not outcome:
        return rows
    for title, field, unit in QUANTITIES:
        expected, found = _figure(forecast.get(field)), _figure(outcome.get(field))
        if expected is None or found is None:
            continue
        whole, error = status == "done", UNKNOWN
        if whole and found.mid > 0:
            error = f"{PERCENT * (expected.mid / found.mid - 1.0):+.0f} %".replace("-", "−")
        place = _place(expected, found.mid, whole=whole)
        rows.append(Told(name, title, quantity(expected, unit), quantity(found, unit), error, place))
    return rows


def told_words(rows: Iterable[Told]) -> list[str]:
    """The same as sentences."""
    return [f"{row.quantity}: forecast {row.forecast}, came out {row.outcome}; {row.inside}." for row in rows]


def _figure(value: object) -> Figure | None:
    """A figure of a document that anybody may have written; None where it is none."""
    try:
        return figure(value) if isinstance(value, (Mapping, Figure)) else None
    except (KeyError, TypeError, ValueError):
        return None


def _place(expected: Figure, found: float, *, whole: bool) -> str:
    """Where an outcome lies to the interval of its forecast."""
    if found > expected.high:
        return ABOVE
    if not whole:
        return UNFINISHED
    return BELOW if found < expected.low else INSIDE


def foretold_section(trials: Iterable[Mapping[str, Any]]) -> Section:
    """The section on a study's trials; empty where no forecast was kept."""
    rows = [
        row
        for trial in trials
        for row in told_of(_name(trial), trial.get("forecast"), trial.get("footprint"), _status(trial))
    ]
    return section_of(rows)


def _name(trial: Mapping[str, Any]) -> str:
    return f"{trial['arm']} seed {trial['seed']}"


def _status(trial: Mapping[str, Any]) -> str:
    return str(trial.get("status") or "done")


def section_of(rows: Iterable[Told]) -> Section:
    """The section around some rows."""
    shown = list(rows)
    names = ("Run", "Quantity", "Forecast", "Outcome", "Error", "The outcome lies")
    columns = tuple(words(name, [row[index] for row in shown]) for index, name in enumerate(names))
    text = "What was expected before it ran, beside what it took. Error: forecast over outcome."
    return Section("foretold", TITLE, (text,), tables=(Table(TITLE, columns),))
