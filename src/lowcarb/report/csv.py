"""The trials as CSV: one row a trial, stored units in the column names, nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from lowcarb.ledger.exchange.cells import defused
from lowcarb.report.digest import SCORES, SPLITS, Document, phases_of
from lowcarb.report.format import writable

__all__ = ["defused", "render_csv"]

FACTS = (
    "key", "arm", "model", "tokenizer", "device", "seed", "status", "attempt", "error", "from_scratch", "parameters",
    "fertility", "vocabulary", "steps", "tokens", "real_tokens", "flops", "cpu_s", "wall_s",
)  # fmt: skip
FIGURES = {"energy_j": "energy_j", "operational_g": "operational_g", "embodied_g": "embodied_g", "water_l": "water_l",
           "cost": "cost_usd", "duration_s": "duration_s"}  # fmt: skip
"""Figures of the training phase: their columns."""
PARTS = ("low", "mid", "high", "basis")


def render_csv(document: Mapping[str, Any]) -> str:
    """All trials of a study document, one a row; what is unknown is an empty cell."""
    rows = [_row(document, trial) for trial in document["trials"]]
    columns = list(_row(document, None))
    out = io.StringIO()
    # RFC 4180; and with this line end a carriage return in a cell is quoted as well.
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([defused(column) for column in columns])
    writer.writerows([defused(row[column]) for column in columns] for row in rows)
    return writable(out.getvalue())


def _row(document: Document, trial: Document | None) -> dict[str, object]:
    """A trial by column; of None, the columns with nothing in them."""
    one: Document = trial or {}
    row: dict[str, object] = {"study": document["study"]["id"] if trial else None}
    row |= {name: one.get(name) for name in FACTS}
    for split in SPLITS:
        row |= {f"{split}_{name}": (one.get(split) or {}).get(name) for name in (*SCORES, "questions")}
    footprint = one.get("footprint") or {}
    for name, column in FIGURES.items():
        row |= {f"{column}_{part}": (footprint.get(name) or {}).get(part) for part in PARTS}
    row |= {name: footprint.get(name) for name in ("measured_share", "scope", "method")}
    mine = {phase["name"]: phase for phase in one.get("phases", ())}
    for phase in phases_of(document):
        found = mine.get(phase, {})
        row[f"{phase}_wall_s"] = found.get("wall_s")
        row[f"{phase}_energy_j"] = ((found.get("footprint") or {}).get("energy_j") or {}).get("mid")
    return row
