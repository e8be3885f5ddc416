"""What tables are made of: cells, and columns with their unit, basis and digits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lowcarb.report.digest import Document, spread_unknown, weakest
from lowcarb.report.format import (
    UNKNOWN,
    Figure,
    aligned,
    bounds,
    digits_of,
    exactly,
    fixed,
    number,
    signed,
    unit_for,
)

CO2E = " CO₂e"


class Cell(NamedTuple):
    """What stands in one place of a table."""

    text: str
    interval: str = ""
    tags: tuple[str, ...] = ()

    @property
    def plain(self) -> str:
        """All of it as one string."""
        text = self.text.rstrip("\u2007\u2008 ")
        text = f"{text} ({self.interval})" if self.interval else text
        return f"{text} [{', '.join(self.tags)}]" if self.tags else text


class Column(NamedTuple):
    """A column with its cells."""

    title: str
    cells: tuple[Cell, ...]
    unit: str = ""
    basis: str = ""
    numeric: bool = False
    group: str = ""

    @property
    def heading(self) -> str:
        """Title with its unit, and its group where it has one."""
        title = f"{self.group} {self.title}" if self.group else self.title
        return f"{title}, {self.unit}" if self.unit else title


class PlainTable(NamedTuple):
    """A table of strings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...]
    """Numbers of the columns that are set flush right."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the first column names its rows."""

    caption: str
    columns: tuple[Column, ...]

    @property
    def rows(self) -> tuple[tuple[Cell, ...], ...]:
        """Its cells, row by row."""
        return tuple(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def basis(self) -> str:
        """What all its figures rest on, where that is one thing: then it is said once."""
        bases = {column.basis for column in self.columns if column.basis}
        return bases.pop() if len(bases) == 1 else ""

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """The groups of columns, each with how many it spans; empty where no column has one."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return tuple(spans) if any(column.group for column in self.columns) else ()

    def without(self, *titles: str) -> Table:
        """The table without some of its columns."""
        return Table(self.caption, tuple(column for column in self.columns if column.title not in titles))

    @property
    def known(self) -> Table:
        """The table without the columns in which nothing is known."""
        kept = (c for c in self.columns if not c.cells or any(cell.text != UNKNOWN for cell in c.cells))
        return Table(self.caption, tuple(kept))

    @property
    def plain(self) -> PlainTable:
        """The same as strings."""
        return PlainTable(
            self.caption,
            tuple(column.heading for column in self.columns),
            tuple(tuple(cell.plain for cell in row) for row in self.rows),
            tuple(index for index, column in enumerate(self.columns) if column.numeric),
        )


def words(title: str, texts: Iterable[str], *, numeric: bool = False) -> Column:
    """A column of texts."""
    return Column(title, tuple(Cell(text) for text in texts), numeric=numeric)


def measure(
    title: str, unit: str, figures: Sequence[Figure | None], *, like: Sequence[Figure | None] | None = None
) -> Column:
    """A column of figures in one unit, each with the digits that its interval bears.

    Args:
        title: its heading.
        unit: the stored unit.
        figures: what stands in it.
        like: the figures that choose the unit, where other columns are to be in the same one.
    """
    shown = unit_for([one.mid for one in (like or figures) if one is not None], unit)
    texts = aligned(number(one.mid / shown.size, digits_of(one)) if one else UNKNOWN for one in figures)
    cells = tuple(Cell(text, bounds(one, shown) if one else "") for text, one in zip(texts, figures, strict=True))
    name = shown.name + CO2E if unit == "g" else shown.name
    return Column(title, cells, name, weakest(one.basis for one in figures if one), numeric=True)


def changes(
    title: str, figures: Sequence[Figure | None], decimals: int, *, plus: bool = True, group: str = ""
) -> Column:
    """A column of scores, or of their changes with a sign, with so many decimals."""

    def written(value: float) -> str:
        return signed(value, decimals) if plus else fixed(value, decimals)

    cells = []
    for one in figures:
        if one is None:
            cells.append(Cell(UNKNOWN))
            continue
        low, high = written(one.low), written(one.high)
        between = f"{low} to {high}" if plus else f"{low}–{high}"
        cells.append(Cell(written(one.mid), between if low != high else ""))
    basis = weakest(one.basis for one in figures if one)
    return Column(title, tuple(cells), "", basis, numeric=True, group=group)


def told(value: Figure | None, comparison: Document) -> Figure | None:
    """The figure; without its interval where that stands for nothing known."""
    return exactly(value.mid, value.basis) if value and spread_unknown(comparison) else value


def untold(column: Column, comparisons: Sequence[Document]) -> Column:
    """The column, saying where an interval is not known."""
    cells = (
        cell._replace(interval="interval not known") if spread_unknown(one) and cell.text != UNKNOWN else cell
        for cell, one in zip(column.cells, comparisons, strict=True)
    )
    return column._replace(cells=tuple(cells))
