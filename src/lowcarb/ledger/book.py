"""What a ledger does in a database, whichever it is. Imported only when a ledger is opened.

Every transaction is whole or absent, whatever dies; one that writes is alone, so what it has read stays true.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import isnan, nan
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Select, func, select, tuple_

from lowcarb.errors import LedgerError
from lowcarb.ledger import totals
from lowcarb.ledger.base import Attempt, Run, Status
from lowcarb.ledger.query import (
    Page,
    Query,
    Row,
    Sum,
    Summary,
    cursor,
    folded,
    group_of,
    month_of,
    page_size,
    place_of,
    rank,
    summary_of,
)
from lowcarb.ledger.record import decode, encode, headline, hours_of, mark_of, run_id_of, site_of
from lowcarb.ledger.tables import ATTEMPT, CHANNEL, HOUR, READING, RUN, TAG

HEXADECIMAL = re.compile("[0-9a-f]+")
_PLACES = {"newest": RUN.c.created_ns, "energy": RUN.c.energy_rank, "carbon": RUN.c.carbon_rank}
_AFTER_HEXADECIMAL = "g"
_FIGURES = tuple(column for column in ATTEMPT.c if column.name != "document")

Result = TypeVar("Result")


class Book(ABC):
    """Keeps runs and attempts in a database, by the contract of `lowcarb.ledger.base.Ledger`.

    Attributes:
        name: what the ledger is called where it is named: a path, or a URL without its password.
    """

    name: str

    def begin(
        self,
        *,
        attempt_id: str,
        key: str,
        kind: Literal["trial", "track"],
        name: str,
        study: str | None,
        started_ns: int,
    ) -> Attempt:
        """A new attempt, `running`, or the one that has this id already."""
        run_id = run_id_of(key)

        def work(connection: Connection) -> Attempt:
            known = connection.execute(select(ATTEMPT).where(ATTEMPT.c.id == attempt_id)).one_or_none()
            if known is not None:
                return _attempt(known)
            if connection.execute(select(RUN.c.id).where(RUN.c.id == run_id)).one_or_none() is None:
                connection.execute(RUN.insert().values(new_run(run_id, key, kind, name, study, started_ns)))
            last = connection.execute(select(func.max(ATTEMPT.c.number)).where(ATTEMPT.c.run_id == run_id)).scalar_one()
            attempt = Attempt(attempt_id, run_id, 1 + (last or 0), "running", started_ns, None, None, None, {})
            connection.execute(
                ATTEMPT.insert().values(
                    id=attempt_id, run_id=run_id, number=attempt.number, status="running", started_ns=started_ns,
                    document="{}",
                )
            )  # fmt: skip
            summarise(connection, run_id)
            return attempt

        return self._do(work, write=True)

    def finish(self, attempt_id: str, *, status: Status, ended_ns: int, document: Mapping[str, object]) -> Attempt:
        """The attempt with its outcome."""
        text = encode(document, self.name)
        energy_j, operational_g = headline(document)
        values = {
            "status": status, "ended_ns": ended_ns, "energy_j": energy_j, "operational_g": operational_g,
            "document": text, "site": site_of(document),
        }  # fmt: skip

        def work(connection: Connection) -> Attempt:
            connection.execute(ATTEMPT.update().where(ATTEMPT.c.id == attempt_id).values(**values))
            found = connection.execute(select(ATTEMPT).where(ATTEMPT.c.id == attempt_id)).one_or_none()
            if found is None:
                raise LedgerError(self.name, f"no attempt {attempt_id!r}", "Begin an attempt before finishing it")
            _keep_hours(connection, attempt_id, document)
            summarise(connection, found.run_id)
            return _attempt(found)

        return self._do(work, write=True)

    def runs(self, *, kind: str | None = None, study: str | None = None, limit: int = 100) -> Sequence[Run]:
        """Runs, newest first."""
        asked = select(RUN).where(*totals.of_runs(Query(kind=kind, study=study)))
        asked = asked.order_by(RUN.c.created_ns.desc(), RUN.c.id).limit(max(limit, 0))
        return [_run(row) for row in self._do(lambda connection: connection.execute(asked).all(), write=False)]

    def run(self, id_or_key: str) -> Run | None:
        """The run with this id, unambiguous beginning of an id, or key."""
        by_key = select(RUN).where(RUN.c.id == run_id_of(id_or_key))
        by_id = select(RUN).where(RUN.c.id >= id_or_key, RUN.c.id < id_or_key + _AFTER_HEXADECIMAL).limit(2)

        def work(connection: Connection) -> Run | None:
            found = connection.execute(by_key).all()
            if not found and HEXADECIMAL.fullmatch(id_or_key):
                found = connection.execute(by_id).all()
            return _run(found[0]) if len(found) == 1 else None

        return self._do(work, write=False)

    def attempts(self, run_id: str) -> Sequence[Attempt]:
        """A run's attempts, oldest first."""
        if not HEXADECIMAL.fullmatch(run_id):
            return []
        asked = select(ATTEMPT).where(ATTEMPT.c.run_id == run_id).order_by(ATTEMPT.c.started_ns, ATTEMPT.c.number)
        return [_attempt(row) for row in self._do(lambda connection: connection.execute(asked).all(), write=False)]

    def page(self, query: Query, *, limit: int = 50, after: str | None = None) -> Page:
        """Runs that a query asks for, a page at a time."""
        size = page_size(limit)
        asked = _asked(query, after).limit(size + 1)

        def work(connection: Connection) -> Page:
            found = connection.execute(asked).all() if size else []
            rows, tags = found[:size], _tags(connection, [row.id for row in found[:size]])
            more = cursor(query.order, _place(rows[-1], query), rows[-1].id) if len(found) > size else None
            return Page(tuple(_row(row, tags.get(row.id, {})) for row in rows), more)

        return self._do(work, write=False)

    def sums(self, query: Query, by: str) -> Sequence[Sum]:
        """Sums of the runs that a query asks for."""
        by = group_of(by)
        return self._do(lambda connection: totals.sums(connection, query, by), write=False)

    def tag(self, run_id: str, changes: Mapping[str, str | None]) -> Mapping[str, str]:
        """A run's tags after these changes."""

        def work(connection: Connection) -> Mapping[str, str]:
            found = None
            if HEXADECIMAL.fullmatch(run_id):
                found = connection.execute(select(RUN.c.created_ns).where(RUN.c.id == run_id)).one_or_none()
            if found is None:
                raise LedgerError(self.name, f"no run {run_id!r}", "`lowcarb ledger list` lists them")
            for name, value in changes.items():
                connection.execute(TAG.delete().where(TAG.c.run_id == run_id, TAG.c.name_mark == mark_of(name)))
                if value is not None:
                    connection.execute(TAG.insert().values(_tag(run_id, found.created_ns, name, value)))
            return _tags(connection, [run_id]).get(run_id, {})

        return self._do(work, write=bool(changes))

    def add_readings(self, attempt_id: str, readings: Sequence[tuple[str, int, float]]) -> None:
        """Keep readings of an attempt."""

        def work(connection: Connection) -> None:
            if connection.execute(select(ATTEMPT.c.id).where(ATTEMPT.c.id == attempt_id)).one_or_none() is None:
                raise LedgerError(self.name, f"no attempt {attempt_id!r}", "Begin an attempt before its readings")
            numbers = _channels(connection, attempt_id, dict.fromkeys(channel for channel, _, _ in readings))
            rows = [(numbers[one], at, None if value is None or isnan(value) else value) for one, at, value in readings]
            if rows:
                self._keep(connection, rows)

        self._do(work, write=True)

    def readings(self, attempt_id: str) -> Sequence[tuple[str, int, float]]:
        """The readings of an attempt by time, then channel."""
        asked = (
            select(CHANNEL.c.name, READING.c.at_ns, READING.c.value)
            .join(READING, READING.c.channel_id == CHANNEL.c.id)
            .where(CHANNEL.c.attempt_id == attempt_id)
        )
        found = self._do(lambda connection: connection.execute(asked).all(), write=False)
        rows = [(name, at_ns, nan if value is None else value) for name, at_ns, value in found]
        return sorted(rows, key=lambda row: (row[1], row[0]))

    @abstractmethod
    def _do(self, work: Callable[[Connection], Result], *, write: bool) -> Result:
        """What the work gives, done in one transaction."""

    @abstractmethod
    def _keep(self, connection: Connection, rows: Sequence[tuple[int, int, float | None]]) -> None:
        """Insert readings that are not there."""


def new_run(run_id: str, key: str, kind: str, name: str, study: str | None, created_ns: int) -> dict[str, object]:
    """A run's columns, before its first attempt."""
    return {
        "id": run_id, "key": key, "kind": kind, "name": name, "study": study, "created_ns": created_ns,
        **sought(name, study, created_ns), "started_ns": created_ns,
    }  # fmt: skip


def sought(name: str, study: str | None, created_ns: int) -> dict[str, object]:
    """The columns of a run that it is sought by and that follow from others."""
    return {"folded": folded(name), "month": month_of(created_ns), "study_mark": mark_of(study)}


def summed(one: Summary) -> dict[str, object]:
    """The columns of a run that its attempts give."""
    return {
        "attempts": one.attempts, "status": one.status, "started_ns": one.started_ns, "ended_ns": one.ended_ns,
        "energy_j": one.energy_j, "operational_g": one.operational_g, "energy_rank": rank(one.energy_j),
        "carbon_rank": rank(one.operational_g), "site": one.site, "site_mark": mark_of(one.site),
    }  # fmt: skip


def hour_rows(attempt_id: str, document: Mapping[str, object]) -> list[dict[str, object]]:
    """The energy by hour of an attempt's document, as rows."""
    return [
        {"attempt_id": attempt_id, "device": hour.device, "start_ns": hour.start_ns, "energy_j": hour.energy_j}
        for hour in hours_of(document)
    ]


def _keep_hours(connection: Connection, attempt_id: str, document: Mapping[str, object]) -> None:
    connection.execute(HOUR.delete().where(HOUR.c.attempt_id == attempt_id))
    rows = hour_rows(attempt_id, document)
    if rows:
        connection.execute(HOUR.insert(), rows)


def summarise(connection: Connection, run_id: str) -> None:
    """Bring what stands on a run of its attempts, and the sums over all runs, up to date."""
    here = RUN.c.id == run_id
    before = connection.execute(select(RUN).where(here)).one()
    asked = select(*_FIGURES).where(ATTEMPT.c.run_id == run_id).order_by(ATTEMPT.c.started_ns, ATTEMPT.c.number)
    found = connection.execute(asked).all()
    one = summary_of([(bare(row), row.site) for row in found])
    connection.execute(RUN.update().where(here).values(summed(one)))
    if before.attempts:
        totals.count(connection, before, -1)
    totals.count(connection, connection.execute(select(RUN).where(here)).one(), 1)


def _asked(query: Query, after: str | None) -> Select[Any]:
    """The rows of a query from a place on, without a limit."""
    source: Any = RUN
    place, last = _PLACES[query.order], RUN.c.id
    for number, (name, value) in enumerate(query.tags.items()):
        tag = TAG.alias()
        source = source.join(tag, totals.tagged(tag, name, value))
        if number == 0 and query.order == "newest":
            # The same values, out of the index of the tags.
            place, last = tag.c.created_ns, tag.c.run_id
    asked = select(RUN).select_from(source).where(*totals.of_runs(query))
    if after is not None:
        asked = asked.where(tuple_(place, last) < tuple_(*place_of(after, query.order)))
    return asked.order_by(place.desc(), last.desc())


def _place(row: Any, query: Query) -> float:
    value: float = getattr(row, _PLACES[query.order].name)
    return value


def _tags(connection: Connection, run_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    if run_ids:
        for row in connection.execute(select(TAG).where(TAG.c.run_id.in_(run_ids))):
            found.setdefault(row.run_id, {})[row.name] = row.value
    return {run_id: dict(sorted(tags.items())) for run_id, tags in found.items()}


def _tag(run_id: str, created_ns: int, name: str, value: str) -> dict[str, object]:
    return {
        "run_id": run_id, "name_mark": mark_of(name), "value_mark": mark_of(value), "created_ns": created_ns,
        "name": name, "value": value,
    }  # fmt: skip


def _channels(connection: Connection, attempt_id: str, names: Mapping[str, object]) -> dict[str, int]:
    """The numbers of an attempt's channels; those that have none get one."""
    found = connection.execute(select(CHANNEL.c.name, CHANNEL.c.id).where(CHANNEL.c.attempt_id == attempt_id))
    numbers: dict[str, int] = {name: number for name, number in found}  # noqa: C416  # rows are not tuples to mypy
    for name in names:
        if name not in numbers:
            values = {"attempt_id": attempt_id, "name_mark": mark_of(name), "name": name}
            numbers[name] = connection.execute(CHANNEL.insert().values(values).returning(CHANNEL.c.id)).scalar_one()
    return numbers


def _run(row: Any) -> Run:
    return Run(row.id, row.key, row.kind, row.name, row.study, row.created_ns)


def _row(row: Any, tags: Mapping[str, str]) -> Row:
    return Row(
        _run(row), row.attempts, row.status, row.started_ns, row.ended_ns, row.energy_j, row.operational_g, row.site,
        tags,
    )  # fmt: skip


def bare(row: Any) -> Attempt:
    """An attempt without its document."""
    return Attempt(
        row.id, row.run_id, row.number, row.status, row.started_ns, row.ended_ns, row.energy_j, row.operational_g, {}
    )


def _attempt(row: Any) -> Attempt:
    return Attempt(
        row.id, row.run_id, row.number, row.status, row.started_ns, row.ended_ns, row.energy_j, row.operational_g,
        decode(row.document),
    )  # fmt: skip
