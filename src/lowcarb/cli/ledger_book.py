"""What all `lowcarb ledger` commands share: the opened ledger, filters, and how a run is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from lowcarb.cli.console import say
from lowcarb.core.estimate import Estimate, total
from lowcarb.core.totals import Total, total_energy
from lowcarb.core.units import s_from_ns
from lowcarb.errors import LedgerError, SettingError
from lowcarb.ledger import ledger_name, ledger_path, open_ledger
from lowcarb.ledger.base import Attempt, Ledger, Run, Status
from lowcarb.ledger.exchange.clock import ns_of, read_time
from lowcarb.ledger.home import default_ledger_path, home, is_postgres
from lowcarb.tracker.document import spell_of
from lowcarb.tracker.recover import CUT_OFF, recover

if TYPE_CHECKING:
    from lowcarb.ledger.query import Query

Kind = Annotated[str | None, typer.Option("--kind", help="Only trials or only tracked runs: trial or track.")]
StudyId = Annotated[str | None, typer.Option("--study", help="Only the trials of one study.")]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="Only runs with this tag; repeat for several.")
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only runs that began then or later: 2026-05-01, with a time, or 7d."),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only runs that began before then.")]
InSite = Annotated[str | None, typer.Option("--site", metavar="ID", help="Only runs that ran there.")]
InStatus = Annotated[str | None, typer.Option("--status", help="Only runs whose last attempt stands so, such as done.")]
Text = Annotated[str | None, typer.Option("--text", help="Only runs with this in their name, in any case.")]
_AGO = re.compile(r"(\d+)([dhw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
KINDS = ("trial", "track")
STATUSES = get_args(Status)
FORMER_LIMIT = 10_000
"""Runs among which an attempt's id is looked for."""


SHOWN_RUNS = 3
"""Runs that are named where a beginning of an id fits several."""


def opened(path: str | None, *, there: bool = False) -> Ledger:
    """The ledger, with what was tracked since it was last opened taken in from the journals.

    Args:
        path: as --ledger names it; the user's own where it is None.
        there: whether a file that is not there is a mistake, as for a command that only reads.

    Raises:
        SettingError: a file is named that is not there, though it should be.
        LedgerError: a file is named that is none of ours. It is left as it is.
    """
    if path is not None and not is_postgres(path):
        _look(ledger_path(path), there=there)
    ledger = open_ledger(path)
    for attempt in recover(home(), ledger, None if path is None else ledger_name(path)):
        if CUT_OFF in attempt.document["faults"]:  # type: ignore[operator]  # a list
            say(f"recovered a run that was cut short: {attempt.id}")
    return ledger


def _look(path: Path, *, there: bool) -> None:
    """Refuse a file that the user named by mistake, before a ledger would set it aside and begin a new one there."""
    if path == default_ledger_path():
        return
    if not path.exists():
        if there:
            raise SettingError("ledger", str(path), "a ledger that is there; where none is named, your own is taken")
        return
    if path.is_file() and (reason := _not_ours(path)) is not None:
        raise LedgerError(
            str(path), f"{reason}, and is left as it is", "Name a ledger, or a file that is not there yet"
        )


def _not_ours(path: Path) -> str | None:
    """Why a file never was a ledger; None where it is or was one, damaged or not, is empty, or cannot be read here."""
    import sqlite3  # noqa: PLC0415  # only where a ledger is named
    from contextlib import closing  # noqa: PLC0415

    from lowcarb.ledger.file import is_stub  # noqa: PLC0415
    from lowcarb.ledger.sql import APPLICATION_ID  # noqa: PLC0415  # loads SQLAlchemy, as every ledger does

    if is_stub(path):
        return "it is not a ledger"
    # By SQLite itself: a file that is opened and closed beside it would lose the locks that this process holds on it.
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            (mark,) = connection.execute("PRAGMA application_id").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        return None
    except sqlite3.DatabaseError as error:
        return "it is not a ledger" if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB else None
    return None if mark == APPLICATION_ID or not (mark or tables) else "it is another program's database"


def query_of(
    *, kind: str | None = None, study: str | None = None, status: str | None = None, site: str | None = None,
    tags: Sequence[str] | None = None, since: str | None = None, until: str | None = None, text: str | None = None,
    order: str = "newest", now: datetime | None = None,
) -> Query:  # fmt: skip
    """The query that these options say.

    Raises:
        SettingError: one of them is not what it may be.
    """
    from lowcarb.ledger.query import Query  # noqa: PLC0415

    if kind is not None and kind not in KINDS:
        raise SettingError("kind", kind, f"one of {', '.join(KINDS)}")
    if order not in ("newest", "energy", "carbon"):
        raise SettingError("order", order, "one of newest, energy, carbon")
    if status is not None and status not in STATUSES:
        raise SettingError("status", status, f"one of {', '.join(STATUSES)}")
    moment = now or datetime.now(UTC)
    since_ns, until_ns = _time("since", since, moment), _time("until", until, moment)
    if since_ns is not None and until_ns is not None and since_ns >= until_ns:
        raise SettingError("since", since, f"a time before --until {until}")
    return Query(
        kind=kind, study=study, status=status, site=site, tags=tags_of(tags or ()),
        since_ns=since_ns, until_ns=until_ns, text=text,
        order=order,  # type: ignore[arg-type]  # checked above
    )  # fmt: skip


def tags_of(texts: Iterable[str]) -> dict[str, str]:
    """Tags by name, of texts such as `project=summaries`.

    Raises:
        SettingError: one has no name or no `=`.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise SettingError("tag", text, "NAME=VALUE")
        found[name] = value
    return found


def _time(option: str, text: str | None, now: datetime) -> int | None:
    if text is None:
        return None
    ago = _AGO.fullmatch(text.strip())
    try:
        return ns_of(now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else read_time(text, UTC))
    except (ValueError, OverflowError):
        expected = "a time in UTC, such as 2026-05-01 or 2026-05-01T12:00, or so long ago, such as 7d or 12h"
        raise SettingError(option, text, expected) from None


def run_of(book: Ledger, name: str) -> Run:
    """The run of an id, of the beginning of one, or of an attempt's.

    Raises:
        SettingError: the ledger has none, or several that begin so.
    """
    found = book.run(name) or run_of_attempt(book, name)
    if found is None:
        raise SettingError("run", name, "a run of the ledger; `lowcarb ledger list` lists them")
    return found


def run_of_attempt(book: Ledger, beginning: str) -> Run | None:
    """The run that has, or whose attempt has, an id that begins so.

    Raises:
        SettingError: nothing is asked for, or there are several.
    """
    if not beginning:
        raise SettingError("run", beginning, "a run's id, or the beginning of it")
    found: list[Run] = []
    for run in book.runs(limit=FORMER_LIMIT):
        if run.id.startswith(beginning) or any(one.id.startswith(beginning) for one in book.attempts(run.id)):
            found.append(run)
            if len(found) > SHOWN_RUNS:
                break
    if len(found) > 1:
        names = ", ".join(f"{run.id[:12]} ({run.name})" for run in found[:SHOWN_RUNS])
        more = " and more" if len(found) > SHOWN_RUNS else ""
        raise SettingError("run", beginning, f"more of one id: {names}{more} begin so, or have an attempt that does")
    return found[0] if found else None


def together(attempts: Sequence[Attempt]) -> tuple[Total, float]:
    """Energy of attempts, each joule once, and carbon [gCO2e] by the same shares."""
    spells = [spell for attempt in attempts if (spell := spell_of(attempt)) is not None]
    whole = total_energy(spells)
    return whole, sum((one.operational_g or 0.0) * whole.shares.get(one.id, 0.0) for one in attempts)


def carbon_of(attempts: Sequence[Attempt], shares: Mapping[str, float]) -> Estimate | None:
    """Carbon of attempts [gCO2e] with its interval, by their shares of the joules; None where none is known."""
    documents: list[tuple[str, Any]] = [(one.id, (one.document.get("footprint") or {})) for one in attempts]
    known = [
        Estimate.from_dict(footprint["operational_g"]).scale(shares.get(id_, 1.0))
        for id_, footprint in documents
        if footprint.get("operational_g")
    ]
    return total(known) if known else None


def total_dict(whole: Total, carbon_g: float) -> dict[str, Any]:
    """The JSON form of what attempts come to together."""
    return {
        "energy_j": whole.energy_j.as_dict(),
        "operational_g": carbon_g,
        "counted_twice_j": whole.counted_twice_j,
        "overlaps": [list(pair) for pair in whole.overlaps],
    }


def run_dict(run: Run, attempts: Sequence[Attempt], tags: Mapping[str, str]) -> dict[str, Any]:
    """The JSON form of a run with its attempts, less their documents."""
    return {
        "id": run.id,
        "key": run.key,
        "kind": run.kind,
        "name": run.name,
        "study": run.study,
        "created_ns": run.created_ns,
        "tags": dict(tags),
        "attempts": [
            {
                "id": a.id, "number": a.number, "status": a.status, "started_ns": a.started_ns, "ended_ns": a.ended_ns,
                "energy_j": a.energy_j, "operational_g": a.operational_g,
            }
            for a in attempts
        ],
    }  # fmt: skip


def when(ns: int) -> str:
    """A time for people, UTC."""
    return datetime.fromtimestamp(s_from_ns(ns), UTC).strftime("%Y-%m-%d %H:%M:%S")
