"""Where the energy went: device by phase, as a figure and a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lowcarb.core.energy import Energy
from lowcarb.report.bars import Panel, Part, Row, legend, panel_marks
from lowcarb.report.columns import Table, measure, words
from lowcarb.report.digest import added
from lowcarb.report.figures import WIDE
from lowcarb.report.format import Figure, figure, quantity, unit_for
from lowcarb.report.svg import svg

TITLE = "Energy by device and phase"
KINDS = frozenset(("cpu", "dram", "gpu", "tpu", "npu", "machine"))
Grid = Mapping[str, Mapping[str, Figure]]
"""Energy [J] by phase, then by kind of device."""


def drawn(energy: Energy) -> list[dict[str, object]]:
    """The JSON form of an energy by device."""
    return [
        {"device": one.device, "kind": one.kind, "sensor": one.sensor, "energy_j": one.energy_j.as_dict()}
        for one in energy.devices
    ]


def grid_of(phases: Iterable[Mapping[str, Any]]) -> Grid:
    """The energy of some phases together, by name and by kind of device; those that do not tell it are left out."""
    found: dict[str, dict[str, Figure]] = {}
    for phase in phases:
        for one in phase.get("devices") or ():
            value = figure(one["energy_j"])
            if value is not None:
                row = found.setdefault(str(phase["name"]), {})
                row[one["kind"]] = added(row.get(one["kind"]), value) or value
    return found


def where_figure(grid: Grid, width: float = WIDE) -> str:
    """A bar a phase, its parts the devices; empty where nothing is known."""
    rows = []
    for phase, kinds in grid.items():
        whole = _whole(kinds)
        if whole is not None and whole.mid > 0:
            parts = tuple(Part(kind, one.mid, f"part kind {_class(kind)}") for kind, one in kinds.items())
            rows.append((phase, parts, whole))
    if not rows:
        return ""
    unit = unit_for([whole.mid for *_, whole in rows], "J")
    made = tuple(Row(phase, quantity(whole, "J", shown=unit), parts, whole) for phase, parts, whole in rows)
    names = dict.fromkeys(kind for kinds in grid.values() for kind in kinds)
    marks, top = legend([(kind, f"part kind {_class(kind)}") for kind in names], width)
    panel = Panel(f"Energy, {unit.name}, by phase", made, unit)
    description = "; ".join(f"{row.name}: {row.words}" for row in made)
    return svg("where", width, top + panel.height, TITLE, description, [*panel_marks(panel, 0.0, top, width), *marks])


def _class(kind: str) -> str:
    return kind if kind in KINDS else "other"


def _whole(kinds: Mapping[str, Figure]) -> Figure | None:
    whole: Figure | None = None
    for one in kinds.values():
        whole = one if whole is None else added(whole, one)
    return whole


def where_table(grid: Grid) -> Table:
    """The same as numbers."""
    kinds = dict.fromkeys(kind for row in grid.values() for kind in row)
    wholes = [_whole(row) for row in grid.values()]
    columns = [measure(kind, "J", [row.get(kind) for row in grid.values()], like=wholes) for kind in kinds]
    return Table(TITLE, (words("Phase", list(grid)), *columns, measure("All devices", "J", wholes)))
