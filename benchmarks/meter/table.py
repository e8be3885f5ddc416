"""The table: one row a figure, with the target, each tool's cell, and how many times as much the best peer takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cells import Cell, Cells


@dataclass(frozen=True)
class Row:
    """One figure of all tools."""

    figure: str
    cells: Cells
    reach: float | None = None
    """The target in the cells' unit; None: the row is there for comparison."""
    target: str = ""


def markdown(rows: Sequence[Row], tools: Sequence[str]) -> str:
    heads = ["figure", "target", *tools, "best peer ÷ lowcarb", "target met"]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in rows:
        cells = [row.cells[tool].text if tool in row.cells else "–" for tool in tools]
        lines.append("| " + " | ".join([row.figure, row.target or "–", *cells, ratio(row), verdict(row)]) + " |")
    return "\n".join(lines)


def ratio(row: Row) -> str:
    """How many times lowcarb's number the best peer's is."""
    own = row.cells["lowcarb"].value
    peers = [cell.value for tool, cell in row.cells.items() if tool != "lowcarb" and cell.value is not None]
    if own is None or own <= 0.0 or not peers:
        return "–"
    return f"{min(peers) / own:.2g}"


def met(row: Row) -> bool | None:
    """Whether lowcarb reaches the target; None where there is none."""
    if row.reach is None and not row.target:
        return None
    own: Cell = row.cells["lowcarb"]
    if own.good is not None:
        return own.good
    return own.value is not None and row.reach is not None and own.value <= row.reach


def verdict(row: Row) -> str:
    return {True: "yes", False: "**no**", None: "–"}[met(row)]


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            "figure": row.figure,
            "target": row.target,
            "met": met(row),
            "best_peer_ratio": ratio(row),
            "tools": {
                tool: {"value": cell.value, "text": cell.text, "good": cell.good, "raw": cell.raw}
                for tool, cell in row.cells.items()
            },
        }
        for row in rows
    ]
