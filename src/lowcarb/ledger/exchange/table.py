"""Rows of a CSV file by column name, whatever wrote it: encodings, separators and decimal commas of the usual kinds."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from lowcarb.ledger.exchange.base import Problem

SEPARATORS = (",", ";", "\t")
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_UNDECODED = re.compile("[\udc80-\udcff]")
MOST_NAMES = 200
"""Columns from which on a file is none of the tables that are read here."""
HEAD = 2**16
"""Characters in which a line of column names ends."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row."""

    line: int
    """Where it begins in the file, from 1."""
    cells: Mapping[str, str]
    """By column name; of a column that is not there, nothing."""
    columns: Mapping[str, int]
    """Which cell of the row it is, from 1."""
    comma: bool
    """Whether a comma may stand before decimals."""

    def text(self, column: str) -> str | None:
        """A cell without white space around it; None where it is empty or says that there is nothing."""
        cell = self.cells.get(column, "").strip()
        return None if cell in ("", "nan", "NaN", "None", "null") else cell

    def problem(self, column: str, what: str) -> Problem:
        """A problem with a cell."""
        return Problem(f"{column}: {what}", self.line, self.columns.get(column))

    def number(self, column: str) -> float | Problem | None:
        """A cell as a number; a problem where it is none."""
        cell = self.text(column)
        if cell is None:
            return None
        try:
            value = float(cell.replace(",", ".") if self.comma and _COMMA.fullmatch(cell) else cell)
        except ValueError:
            return self.problem(column, f"{_short(cell)} is not a number")
        return value if isfinite(value) else self.problem(column, f"{_short(cell)} is not a finite number")


def read_table(path: Path, *, first: str, needed: Sequence[str]) -> Iterator[TableRow | Problem]:
    """The rows of a CSV file, with what is wrong in between. Holds one row at a time.

    A later line of column names, as where two files were put behind each other, is taken for what it is.

    Args:
        path: the file: UTF-8, or UTF-16 with a byte order mark; columns set apart by commas, semicolons or tabs.
        first: a column by which a line of column names is known.
        needed: columns that must be there.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as start:
        wide = start.read(2) in (b"\xff\xfe", b"\xfe\xff")
    with path.open(encoding="utf-16" if wide else "utf-8-sig", errors="surrogateescape", newline="") as file:
        head = file.readline(HEAD)
        separator = max(SEPARATORS, key=head.count)
        file.seek(0)
        lines = csv.reader(file, delimiter=separator, strict=True)
        names: dict[str, int] = {}
        while True:
            line = lines.line_num + 1
            try:
                cells = next(lines, None)
            except (csv.Error, UnicodeError) as error:
                yield Problem(f"{error}", line, 1)
                if isinstance(error, UnicodeError):
                    return
                continue
            if cells is None:
                break
            if not any(cells):
                continue
            if not names or first in cells:
                names, problems = _names(cells, line, needed)
                yield from problems
                if problems:
                    return
                continue
            yield _row(cells, names, line, comma=separator != ",")
        if not names:
            yield Problem("it is empty", 1, 1)


def _names(cells: Sequence[str], line: int, needed: Sequence[str]) -> tuple[dict[str, int], list[Problem]]:
    stripped = [cell.strip() for cell in cells[:MOST_NAMES]]
    problems = [Problem(f"column {name} is missing", line, 1) for name in needed if name not in stripped]
    problems += [
        Problem(f"column {name} is there more than once", line, stripped.index(name) + 1)
        for name in needed
        if stripped.count(name) > 1
    ]
    return {name: number for number, name in enumerate(stripped, start=1) if name}, problems


def _row(cells: Sequence[str], names: Mapping[str, int], line: int, *, comma: bool) -> TableRow | Problem:
    width = max(names.values())
    if len(cells) != width:
        what = (
            f"{len(cells)} cells under {width} column names: values may stand under names that are not theirs, as in"
            " files of versions that leave out empty columns"
        )
        return Problem(what, line, min(len(cells), width) + 1)
    for number, cell in enumerate(cells, start=1):
        if _UNDECODED.search(cell):
            return Problem("not UTF-8", line, number)
    by_name = {name: cells[number - 1] for name, number in names.items()}
    return TableRow(line, by_name, names, comma)


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:40] + "…")
