"""What goes where: the result to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lowcarb.errors import SettingError

EXIT_FAILED, EXIT_USAGE, EXIT_NOTHING_MEASURABLE, EXIT_BUDGET, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

SCHEMA_VERSION = 1

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")]
LedgerPath = Annotated[
    str | None,
    typer.Option(
        "--ledger", metavar="PATH",
        help="The ledger: a file, or postgresql://… Default: in LOWCARB_HOME, or the user's data directory.",
    ),
]  # fmt: skip
SiteId = Annotated[
    str | None,
    typer.Option("--site", metavar="ID", help="Where it runs, such as fra or us-ca. Default: unknown, a wide average."),
]

WIDE = 240
"""Columns of a file or a pipe, which have no width: so many that no table is folded."""
GLUED = re.compile(r"(?<=\d) (?=[^\W\d]|[%×])|(?<=×) (?=\d)|[\u202f\u00a0]")
"""Spaces at which a figure must not be folded: between its digits, before its unit, around its power of ten."""
GLUES = {" ": "\ue000", "\u202f": "\ue001", "\u00a0": "\ue002"}
"""What stands for each of them while a table is laid out: private characters of one column, at which nothing folds."""


GAP = 2
"""Columns between two columns of a table."""
FOLDED_FROM = 24
"""Columns of a word from which on it may be folded: no figure is so long, but a name or an address may be."""


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

    Where the terminal is too narrow for its longest words, each row is told in lines of its own: no figure is cut.

    Args:
        title: above the table.
        columns: their headings.
        rows: their cells.
        right: numbers of the columns that are set flush right.
    """
    cells = [[GLUED.sub(lambda found: GLUES[found[0]], cell) for cell in row] for row in rows]
    console = out()
    widths = _widths([columns, *cells], console.width - GAP * (len(columns) - 1))
    with console.capture() as laid_out:
        if widths is None:
            _in_lines(console, title, columns, cells)
        else:
            console.print(_table(title, columns, cells, right, widths))
    text = laid_out.get()
    for space, glue in GLUES.items():
        text = text.replace(glue, space)
    console.print(Text.from_ansi(text), soft_wrap=True, end="")


def _table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int], widths: Sequence[int]
) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        justify: Literal["left", "right"] = "right" if number in right else "left"
        table.add_column(column, justify=justify, overflow="fold", width=widths[number])
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _in_lines(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Each row as lines of heading and cell."""
    if title:
        console.print(title, style="bold", markup=False)
    for number, row in enumerate(rows):
        if number:
            console.print()
        grid = Table.grid(padding=(0, GAP, 0, 0))
        grid.add_column(no_wrap=True, style="bold")
        grid.add_column(overflow="fold")
        for heading, cell in zip(columns, row, strict=True):
            grid.add_row(escape(heading), escape(cell))
        console.print(grid)


def _widths(rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Widths of columns that fit the room and cut no word: the widest are folded first. None where there are none."""
    columns = list(zip(*rows, strict=True))
    widths = [max(max(map(cell_len, cell.splitlines()), default=0) for cell in column) for column in columns]
    least = [max(map(_longest_word, column)) for column in columns]
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda number: (widths[number] > least[number], widths[number]))
        widths[widest] -= 1
    return widths


def _longest_word(text: str) -> int:
    """Columns of what cannot be folded, but long names of files or runs can."""
    return max((min(cell_len(word), FOLDED_FROM) for word in text.split()), default=0)


def writable(option: str, path: Path | None) -> Path | None:
    """The file that an option names, its directory made: asked before the work whose outcome it is to hold.

    Raises:
        SettingError: it cannot be written.
    """
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        with path.open("ab"):
            pass
        if new:
            path.unlink()
    except OSError as error:
        raise SettingError(option, str(path), f"a file that can be written: {error.strerror}") from None
    return path


def counted(count: int, what: str) -> str:
    """So many of something: `1 seed`, `2 seeds`."""
    return f"{count} {what}{'' if count == 1 else 's'}"
