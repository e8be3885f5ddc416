"""From a ledger into files, a page at a time: a million runs are never held at once."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from lowcarb.errors import MissingExtra
from lowcarb.ledger.base import Attempt, Ledger, Run
from lowcarb.ledger.exchange.cells import defused
from lowcarb.ledger.exchange.codecarbon_out import HEADER, codecarbon_row
from lowcarb.ledger.exchange.flat import COLUMNS, Entry, cell_of
from lowcarb.ledger.exchange.lines import readings_lines, run_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowcarb.ledger.query import Query

PAGE = 500
"""Runs that are asked for at once."""
GROUP = 5_000
"""Rows that Parquet keeps together."""


def each_run(ledger: Ledger, query: Query) -> Iterator[tuple[Run, Mapping[str, str], Sequence[Attempt]]]:
    """The runs that a query finds, in its order, with tags and attempts; one page is held at a time."""
    after = None
    while True:
        page = ledger.page(query, limit=PAGE, after=after)
        for row in page.rows:
            yield row.run, row.tags, ledger.attempts(row.run.id)
        if page.next is None:
            return
        after = page.next


def each_attempt(ledger: Ledger, query: Query) -> Iterator[Entry]:
    """The attempts of the runs that a query finds, each run's in their order."""
    for run, tags, attempts in each_run(ledger, query):
        for attempt in attempts:
            yield Entry(run, tags, attempt)


def write_lines(ledger: Ledger, query: Query, file: TextIO) -> int:
    """Write JSONL, from which the same ledger can be made; the number of runs."""
    runs = 0
    for run, tags, attempts in each_run(ledger, query):
        file.write(run_line(run, tags, attempts) + "\n")
        for attempt in attempts:
            for line in readings_lines(attempt.id, ledger.readings(attempt.id)):
                file.write(line + "\n")
        runs += 1
    return runs


def write_csv(ledger: Ledger, query: Query, file: TextIO) -> int:
    """Write a CSV file, an attempt a row, nothing in it that a spreadsheet would run; the number of rows."""
    names = [column.name for column in COLUMNS]
    return _write_cells(
        file, names, ([cell_of(column, entry) for column in COLUMNS] for entry in each_attempt(ledger, query))
    )


def write_codecarbon(ledger: Ledger, query: Query, file: TextIO) -> int:
    """Write a CSV file with CodeCarbon's columns, an attempt that ended a row; the number of rows."""
    rows = (codecarbon_row(entry) for entry in each_attempt(ledger, query) if entry.attempt.ended_ns is not None)
    return _write_cells(file, HEADER, ([row[name] for name in HEADER] for row in rows))


def write_parquet(ledger: Ledger, query: Query, file: BinaryIO) -> int:
    """Write a Parquet file, an attempt a row, with typed columns; the number of rows.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  # optional, and large
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("Parquet (pyarrow)", "parquet") from error
    types = {
        "text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "time": pa.timestamp("ns", tz="UTC"),
    }  # fmt: skip
    schema = pa.schema([(column.name, types[column.kind]) for column in COLUMNS])
    count, entries = 0, each_attempt(ledger, query)
    with pq.ParquetWriter(file, schema) as writer:
        while group := list(islice(entries, GROUP)):
            columns = [
                pa.array([_typed(column.value(entry), column.kind) for entry in group], types[column.kind])
                for column in COLUMNS
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(group)
    return count


TEXT_FORMATS: Mapping[str, Callable[[Ledger, Query, TextIO], int]] = {
    "csv": write_csv, "jsonl": write_lines, "codecarbon": write_codecarbon,
}  # fmt: skip
FORMATS = (*TEXT_FORMATS, "parquet")


def write_file(ledger: Ledger, query: Query, format_: str, path: Path) -> int:
    """Write a file of one of `FORMATS`; it is there whole or not at all. The number of runs or rows.

    Raises:
        OSError: it cannot be written.
        MissingExtra: pyarrow is not installed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        if format_ == "parquet":
            with part.open("wb") as binary:
                count = write_parquet(ledger, query, binary)
        else:
            with part.open("w", encoding="utf-8", errors="replace", newline="") as text:
                count = TEXT_FORMATS[format_](ledger, query, text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _write_cells(file: TextIO, names: Sequence[str], rows: Iterator[Sequence[Any]]) -> int:
    # RFC 4180; and with this line end a carriage return in a cell is quoted as well.
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(names)
    count = 0
    for row in rows:
        writer.writerow([defused(cell) for cell in row])
        count += 1
    return count


def _typed(value: Any, kind: str) -> Any:
    """The value as its column's type takes it; text without what UTF-8 cannot say."""
    if value is None:
        return None
    if kind == "text":
        return str(value).encode("utf-8", "replace").decode("utf-8")
    return float(value) if kind == "number" else int(value)
