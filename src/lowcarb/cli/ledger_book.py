"""What all `lowcarb ledger` commands share: the opened ledger, filters, and how a run is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lowcarb.cli.console import say
from lowcarb.core.totals import Total, total_energy
from lowcarb.core.units import s_from_ns
from lowcarb.errors import SettingError
from lowcarb.ledger import ledger_name, open_ledger
from lowcarb.ledger.base import Attempt, Ledger, Run
from lowcarb.ledger.exchange.clock import ns_of, read_time
from lowcarb.ledger.home import home
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
FORMER_LIMIT = 10_000
"""Runs among which an attempt's id is looked for."""


def opened(path: str | None) -> Ledger:
    """The ledger, with what was tracked since it was last opened taken in from the journals."""
    ledger = open_ledger(path)
    for attempt in recover(home(), ledger, None if path is None else ledger_name(path)):
        if CUT_OFF in attempt.document["faults"]:  # type: ignore[operator]  # a list
            say(f"recovered a run that was cut short: {attempt.id}")
    return ledger


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
    moment = now or datetime.now(UTC)
    return Query(
        kind=kind, study=study, status=status, site=site, tags=tags_of(tags or ()),
        since_ns=_time("since", since, moment), until_ns=_time("until", until, moment), text=text,
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
        SettingError: the ledger has none.
    """
    found = book.run(name) or run_of_attempt(book, name)
    if found is None:
        raise SettingError("run", name, "a run of the ledger; `lowcarb ledger list` lists them")
    return found


def run_of_attempt(book: Ledger, attempt_id: str) -> Run | None:
    """The run whose attempt has this id, or one that begins so."""
    for run in book.runs(limit=FORMER_LIMIT):
        if any(attempt.id.startswith(attempt_id) for attempt in book.attempts(run.id)):
            return run
    return None


def together(attempts: Sequence[Attempt]) -> tuple[Total, float]:
    """Energy of attempts, each joule once, and carbon [gCO2e] by the same shares."""
    spells = [spell for attempt in attempts if (spell := spell_of(attempt)) is not None]
    whole = total_energy(spells)
    return whole, sum((one.operational_g or 0.0) * whole.shares.get(one.id, 0.0) for one in attempts)


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
