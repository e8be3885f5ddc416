"""What is measured for how long, and what a tool shows of a figure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from hardware import Document

WARNS = re.compile(r"warn|error|critical|fail|lost|went backwards|not available|exception|Traceback", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long."""

    pythons: dict[str, Path]
    """Interpreter by tool."""
    repeats: int
    counter_s: float
    fault_s: float
    cpu_s: float
    blocks: int

    @classmethod
    def of(cls, pythons: dict[str, Path], *, quick: bool) -> Plan:
        if quick:
            return cls(pythons, repeats=3, counter_s=10.0, fault_s=8.0, cpu_s=5.0, blocks=2)
        return cls(pythons, repeats=15, counter_s=60.0, fault_s=20.0, cpu_s=30.0, blocks=5)


@dataclass(frozen=True)
class Cell:
    """What one tool shows: a number where smaller is better, or words."""

    value: float | None
    text: str
    raw: Any = None
    good: bool | None = None
    """Whether it reaches the target, where that is more than the number's being small."""


Cells = dict[str, Cell]


def failed(done: Sequence[Document], raw: Any = None) -> Cell:
    """How runs failed."""
    for one in done:
        if "raised" in one:
            return Cell(None, f"raises {one['raised'].partition(':')[0]}", raw or list(done), good=False)
        if "ended" in one:
            return Cell(None, one["ended"], raw or list(done), good=False)
    return Cell(None, "tells nothing", raw or list(done), good=False)


def told(*, stated: bool) -> str:
    """Whether a user is told."""
    return ", stated" if stated else ", not a word"


def warnings(done: Document) -> list[str]:
    """What a tool said while it ran that a user takes for a warning."""
    return [line for line in done.get("said", []) if WARNS.search(line)]


def times(values_s: Sequence[float]) -> Cell:
    """The median of some times [s], and the longest."""
    text = f"{1e3 * median(values_s):.3g} ms (most {1e3 * max(values_s):.3g})"
    return Cell(median(values_s), text, list(values_s))
