"""The ledger as one flat table, an attempt a row: the columns of the CSV and Parquet files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lowcarb.core.units import NS_PER_S
from lowcarb.ledger.base import Attempt, Run
from lowcarb.ledger.exchange.clock import moment_of

Kind = Literal["text", "integer", "number", "time"]
FIGURES = {"energy_j": "energy_j", "operational_g": "operational_g", "embodied_g": "embodied_g", "water_l": "water_l",
           "cost": "cost_usd"}  # fmt: skip
"""Figures of a footprint: their columns."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An attempt with its run."""

    run: Run
    tags: Mapping[str, str]
    attempt: Attempt

    @property
    def document(self) -> Mapping[str, Any]:
        """All that is known of the attempt."""
        return self.attempt.document

    def part(self, name: str) -> Mapping[str, Any]:
        """A part of the document, empty where it has none."""
        found = self.document.get(name)
        return found if isinstance(found, Mapping) else {}

    def figure(self, name: str, bound: str) -> Any:
        """A bound, or the basis, of a figure of the footprint; None where it is unknown."""
        found = self.part("footprint").get(name)
        return found.get(bound) if isinstance(found, Mapping) else None


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, what stands in it, and where that comes from."""

    name: str
    kind: Kind
    value: Callable[[Entry], Any]


def _figures() -> list[Column]:
    return [
        Column(f"{column}_{bound}", "text" if bound == "basis" else "number", _figure(name, bound))
        for name, column in FIGURES.items()
        for bound in ("low", "mid", "high", "basis")
    ]


def _figure(name: str, bound: str) -> Callable[[Entry], Any]:
    return lambda entry: entry.figure(name, bound)


def _duration(entry: Entry) -> float | None:
    ended_ns = entry.attempt.ended_ns
    return None if ended_ns is None else (ended_ns - entry.attempt.started_ns) / NS_PER_S


def _devices(entry: Entry) -> str | None:
    found = entry.part("machine").get("devices") or ()
    return " + ".join(f"{one['count']:g} x {one['device']['name']}" for one in found) or None


def _mid(figure: Any) -> Any:
    return figure.get("mid") if isinstance(figure, Mapping) else None


COLUMNS: tuple[Column, ...] = (
    Column("run_id", "text", lambda one: one.run.id),
    Column("key", "text", lambda one: one.run.key),
    Column("kind", "text", lambda one: one.run.kind),
    Column("name", "text", lambda one: one.run.name),
    Column("study", "text", lambda one: one.run.study),
    Column("tags", "text", lambda one: json.dumps(dict(one.tags), sort_keys=True) if one.tags else None),
    Column("attempt_id", "text", lambda one: one.attempt.id),
    Column("attempt", "integer", lambda one: one.attempt.number),
    Column("status", "text", lambda one: one.attempt.status),
    Column("started", "time", lambda one: one.attempt.started_ns),
    Column("ended", "time", lambda one: one.attempt.ended_ns),
    Column("started_ns", "integer", lambda one: one.attempt.started_ns),
    Column("ended_ns", "integer", lambda one: one.attempt.ended_ns),
    Column("duration_s", "number", _duration),
    *_figures(),
    Column("measured_share", "number", lambda one: one.part("footprint").get("measured_share")),
    Column("coverage", "number", lambda one: one.part("energy").get("coverage")),
    Column("scope", "text", lambda one: one.part("footprint").get("scope")),
    Column("method", "text", lambda one: one.part("footprint").get("method")),
    Column("site", "text", lambda one: one.part("site").get("id")),
    Column("site_declared", "text", lambda one: _truth(one.part("site").get("declared"))),
    Column("intensity_g_per_kwh", "number", lambda one: _mid(one.part("site").get("intensity_g_per_kwh"))),
    Column("pue", "number", lambda one: _mid(one.part("site").get("pue"))),
    Column("machine", "text", lambda one: one.part("machine").get("name")),
    Column("devices", "text", _devices),
    Column("tokens", "integer", lambda one: one.document.get("tokens")),
    Column("steps", "integer", lambda one: one.document.get("steps")),
    Column("attribution", "text", lambda one: one.document.get("attribution")),
    Column("within", "text", lambda one: one.document.get("within")),
    Column("imported_from", "text", lambda one: one.part("provenance").get("program")),
    Column("faults", "text", lambda one: "; ".join(one.document.get("faults") or ()) or None),
)  # fmt: skip


def _truth(value: object) -> str | None:
    return None if value is None else ("true" if value else "false")


def cell_of(column: Column, entry: Entry) -> Any:
    """The value of a column, times in words: ISO 8601, UTC, to the microsecond."""
    value = column.value(entry)
    if column.kind == "time" and value is not None:
        return moment_of(value).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
