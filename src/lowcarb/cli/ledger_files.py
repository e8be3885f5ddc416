"""`lowcarb ledger import` and `export`: what others recorded comes in, what is here goes out."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lowcarb.cli.console import EXIT_FAILED, Json, LedgerPath, emit, say
from lowcarb.cli.ledger_book import InSite, InStatus, Kind, Since, StudyId, Tags, Text, Until, opened, query_of
from lowcarb.errors import DataError, SettingError
from lowcarb.ledger.exchange import READERS, format_of, reader
from lowcarb.ledger.exchange.base import Item, Problem, Settings
from lowcarb.ledger.exchange.clock import zone_of
from lowcarb.ledger.exchange.enter import Taken, take_in
from lowcarb.ledger.exchange.out import FORMATS, TEXT_FORMATS, write_file

STDIN = "-"
SHOWN = 10
"""Problems that are shown; all are counted."""

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files, or folders of logs; - is standard input.")]
ReadFormat = Annotated[
    str | None,
    typer.Option("--format", help=f"One of {', '.join(READERS)}. Default: by the file's name."),
]
KeepGoing = Annotated[bool, typer.Option("--keep-going", help="Take what is whole, and exit 1, where some is broken.")]
Zone = Annotated[
    str, typer.Option("--zone", help="Time zone of times that have none: UTC, Europe/Paris, +02:00.")
]  # fmt: skip
OneNode = Annotated[
    bool,
    typer.Option(
        "--one-node", help="Runs of equal machines at the same time were on one machine: count each joule once."
    ),
]
WriteFormat = Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="PATH", help="A file. Default: stdout.")]


def import_(
    files: Files, *, format_: ReadFormat = None, keep_going: KeepGoing = False, zone: Zone = "UTC",
    one_node: OneNode = False, ledger: LedgerPath = None, json: Json = False,
) -> int:  # fmt: skip
    """Take in what other programs recorded. The same file twice gives each run once; a broken one changes nothing."""
    settings = Settings(zone=zone)
    zone_of(zone)
    with _on_disk(files, format_) as paths:
        readers = [(path, reader(format_ or format_of(path), path, settings)) for path in paths]
        where = ", ".join(str(path) for path in files)
        book = opened(ledger)
        try:
            taken = take_in(book, lambda: _chained(readers), where, keep_going=keep_going, one_node=one_node)
        finally:
            book.close()
    if json:
        emit(_told(taken, where), kind="import")
    else:
        _say(taken)
    return EXIT_FAILED if taken.broken else 0


def export(
    *, format_: WriteFormat = "csv", output: Output = None, kind: Kind = None, study: StudyId = None,
    tag: Tags = None, since: Since = None, until: Until = None, site: InSite = None, status: InStatus = None,
    text: Text = None, ledger: LedgerPath = None, json: Json = False,
) -> None:  # fmt: skip
    """Write runs to a file: CSV or Parquet, an attempt a row; JSONL, which import takes back; CodeCarbon's CSV."""
    if format_ not in FORMATS:
        raise SettingError("format", format_, f"one of {', '.join(FORMATS)}")
    if output is None and (json or format_ not in TEXT_FORMATS):
        raise SettingError("output", None, "a file, as stdout cannot take it: -o PATH")
    query = query_of(kind=kind, study=study, tags=tag, since=since, until=until, site=site, status=status, text=text)
    book = opened(ledger)
    try:
        if output is None:
            with suppress(AttributeError, ValueError):
                sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="")  # type: ignore[union-attr]
            TEXT_FORMATS[format_](book, query, sys.stdout)
            return
        try:
            count = write_file(book, query, format_, output)
        except OSError as error:
            raise DataError(str(output), [f"it cannot be written: {error.strerror or error}"]) from None
    finally:
        book.close()
    what = "runs" if format_ == "jsonl" else "attempts"
    if json:
        emit({"path": str(output.resolve()), "format": format_, what: count}, kind="export")
    else:
        say(f"{count} {what}: {output.resolve()}")


@contextmanager
def _on_disk(files: Sequence[Path], format_: str | None) -> Iterator[list[Path]]:
    """The files; standard input as one, since a file is read twice."""
    if not any(str(path) == STDIN for path in files):
        yield list(files)
        return
    if format_ is None:
        raise SettingError("format", None, f"one of {', '.join(READERS)}, as standard input has no name that tells")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "stdin"
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield [copy if str(path) == STDIN else path for path in files]


def _chained(readers: Sequence[tuple[Path, Callable[[], Iterator[Item]]]]) -> Iterator[Item]:
    """The items of all files; with several, a problem names its file."""
    remarks = set()
    for path, read in readers:
        try:
            for item in read():
                if isinstance(item, str):
                    if item not in remarks:
                        remarks.add(item)
                        yield item
                elif isinstance(item, Problem) and len(readers) > 1:
                    yield replace(item, what=f"{item.what} ({path})")
                else:
                    yield item
        except OSError as error:
            yield Problem(f"{path.name}: {error.strerror or error}")


def _told(taken: Taken, where: str) -> dict[str, Any]:
    return {
        "file": where,
        "runs": taken.runs,
        "known": taken.known,
        "updated": taken.updated,
        "readings": taken.readings,
        "overlaps": taken.overlaps,
        "broken": taken.broken,
        "problems": [{"line": one.line, "column": one.column, "what": one.what} for one in taken.problems],
        "remarks": taken.remarks,
    }


def _say(taken: Taken) -> None:
    for problem in taken.problems[:SHOWN]:
        say(f"left out: {problem}")
    if taken.broken > SHOWN:
        say(f"… and {taken.broken - SHOWN} more")
    for remark in taken.remarks:
        say(remark)
    if taken.overlaps:
        say(
            f"{taken.overlaps} runs ran at the same time as others of their project on an equal machine: where that "
            "was one machine, each counts all of it. If so, import again with --one-node, and each joule counts once"
        )
    say(f"{taken.runs} runs taken in, {taken.updated} brought up to date, {taken.known} known already")
    if taken.broken:
        say(f"{taken.broken} left out as broken")
