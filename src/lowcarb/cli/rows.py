"""Rows of a CSV file that a user hands over; all that is wrong with them comes in one error."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import TypeVar

from lowcarb.cli.console import say
from lowcarb.errors import CatalogueError, DataError, SettingError

Answer = TypeVar("Answer")

ALMOST = 0.8
"""Likeness (0 to 1, `difflib`) from which on an unknown column is taken for a known one misspelt."""


class Cells:
    """The cells of one row by column name. An empty cell, or a column that is not there, is None."""

    def __init__(self, row: Mapping[str, str | None]) -> None:
        self._row = row

    def text(self, column: str) -> str | None:
        """A cell as it stands, without the white space around it."""
        return (self._row.get(column) or "").strip() or None

    def number(self, column: str) -> float | None:
        """A cell as a number.

        Raises:
            SettingError: it is not one, or not finite.
        """
        text = self.text(column)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            raise SettingError(column, text, "a number, such as 7e9") from None
        if not isfinite(value):
            raise SettingError(column, text, "a finite number")
        return value

    def count(self, column: str) -> int | None:
        """A cell as a whole number.

        Raises:
            SettingError: it is not one.
        """
        value = self.number(column)
        if value is not None and value != int(value):
            raise SettingError(column, self.text(column), "a whole number")
        return None if value is None else int(value)

    def needed(self, column: str) -> float:
        """A cell as a number that must be there.

        Raises:
            SettingError: it is empty, or not a number.
        """
        value = self.number(column)
        if value is None:
            raise SettingError(column, "", "a number, such as 7e9")
        return value

    def needed_text(self, column: str) -> str:
        """A cell that must not be empty.

        Raises:
            SettingError: it is.
        """
        value = self.text(column)
        if value is None:
            raise SettingError(column, "", "a value")
        return value


def answer_rows(
    path: Path, answer: Callable[[Cells], Answer], *, columns: Sequence[str], needed: Sequence[str]
) -> list[Answer]:
    """The answer to each row of a CSV file, in order.

    Args:
        path: the file; `-` is standard input.
        answer: what to make of a row; it may raise `SettingError` or `CatalogueError`.
        columns: those that mean something. Others are left alone, and said so.
        needed: those that must be there.

    Raises:
        DataError: the file cannot be read, or rows are wrong: all of them, each with its line.
    """
    lines = _read(path)
    names = [name.strip() for name in next(lines, [])]
    problems = [*_columns(names, columns, needed)]
    answers: list[Answer] = []
    if not problems:
        for number, line in enumerate(lines, start=2):
            if not line:
                continue
            if len(line) > len(names):
                problems.append(f"line {number}: {len(line)} cells under {len(names)} column names")
                continue
            try:
                answers.append(answer(Cells(dict(zip(names, line, strict=False)))))
            except (SettingError, CatalogueError) as error:
                problems.append(f"line {number}: {error}")
        if not answers and not problems:
            problems.append("it has no rows")
    if problems:
        raise DataError(str(path), problems)
    return answers


def _columns(names: Sequence[str], columns: Sequence[str], needed: Sequence[str]) -> Iterable[str]:
    """What is wrong with the column names."""
    for name in needed:
        if name not in names:
            yield f"column {name} is missing; columns are {', '.join(columns)}"
    for name in {name for name in names if names.count(name) > 1}:
        yield f"column {name} is there more than once"
    unknown = [name for name in names if name not in columns]
    near = {name: get_close_matches(name, columns, n=1, cutoff=ALMOST) for name in unknown}
    for name, likely in near.items():
        if likely and likely[0] not in names:
            yield f"no column {name}: did you mean {likely[0]}?"
    ignored = [name for name in unknown if name and not near[name]]
    if ignored:
        say(f"columns that mean nothing here are left alone: {', '.join(ignored)}")


def _read(path: Path) -> Iterator[list[str]]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), [f"{error}"]) from None
    return iter(csv.reader(text.splitlines()))
