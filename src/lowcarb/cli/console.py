"""What goes where: the result to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
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

WIDE = 140
"""Columns of a file or a pipe, which have no width: so many that no table is folded."""


def _width() -> int | None:
    # A program may be started without a stdout: then there is none here either.
    if sys.stdout is not None and sys.stdout.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    return max(1, int(columns)) if columns.isdecimal() else WIDE


WIDTH = _width()


def out() -> Console:
    """For the result. What its encoding cannot say, such as half a surrogate pair in a name, is shown escaped."""
    with suppress(AttributeError, ValueError):
        if sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # else it has none
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
    # Any name can be said in ASCII, whatever stdout's encoding is.
    text = json.dumps(body, indent=2, ensure_ascii=True, allow_nan=False)
    if sys.stdout is not None:
        sys.stdout.write(text + "\n")


def tell(what: Callable[[], object]) -> None:
    """Say it, if there is anybody to hear: neither a full disk nor a closed pipe changes the exit code."""
    try:
        what()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    # rich ends the program where a pipe is closed.
    except (OSError, ValueError, SystemExit):
        _hush()


def _hush() -> None:
    """Have what is still to be written go nowhere, so that the interpreter's own end finds nothing to complain of."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


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
