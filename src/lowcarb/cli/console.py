"""What goes where: the result to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

EXIT_FAILED, EXIT_USAGE, EXIT_NOTHING_MEASURABLE, EXIT_BUDGET, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

SCHEMA_VERSION = 1

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")]
LedgerPath = Annotated[
    str | None, typer.Option("--ledger", metavar="PATH", help="The ledger. Default: in the user's data directory.")
]
SiteId = Annotated[
    str | None,
    typer.Option("--site", metavar="ID", help="Where it runs, such as fra or us-ca. Default: unknown, a wide average."),
]

# A file or a pipe has no width: wide enough there that no table is folded.
WIDTH = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "140"))


def out() -> Console:
    """For the result."""
    return Console(width=WIDTH, highlight=False)


def err() -> Console:
    """For progress, warnings and errors."""
    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """A line for people, to stderr, as it stands."""
    err().print(message, markup=False, soft_wrap=True)


def emit(document: Any, *, kind: str) -> None:
    """The JSON document of a command."""
    body = {"schema_version": SCHEMA_VERSION, "kind": kind, **document}
    sys.stdout.write(json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table to stdout. Cells are text, not markup.

    Args:
        title: above the table.
        columns: their headings.
        rows: their cells.
        right: numbers of the columns that are set flush right.
    """
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    out().print(table)


def _plain(cell: str) -> str:
    from rich.markup import escape  # noqa: PLC0415  # a name may hold brackets

    return escape(cell)
