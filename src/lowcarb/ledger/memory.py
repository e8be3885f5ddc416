"""A ledger in memory: the public fake, and a scratch ledger where nothing should be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from threading import Lock
from typing import Literal

from lowcarb.errors import LedgerError
from lowcarb.ledger.base import Attempt, Run, Status
from lowcarb.ledger.query import (
    TAG,
    Page,
    Query,
    Row,
    Sum,
    cursor,
    folded,
    group_of,
    month_of,
    page_size,
    place_of,
    rank,
    summary_of,
)
from lowcarb.ledger.record import decode, encode, headline, run_id_of, site_of

WHERE = "in memory"


@dataclass(frozen=True, slots=True)
class _Row:
    """An attempt with its document as text, so that what is given back is never what was handed in."""

    attempt: Attempt
    text: str
    site: str | None

    def read(self) -> Attempt:
        return replace(self.attempt, document=decode(self.text))


class MemoryLedger:
    """Keeps runs and attempts until it is closed, by the contract of `lowcarb.ledger.base.Ledger`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs: dict[str, Run] = {}
        self._rows: dict[str, _Row] = {}
        self._attempts: dict[str, list[str]] = {}
        """Ids of each run's attempts."""
        self._tags: dict[str, dict[str, str]] = {}
        self._readings: dict[str, dict[tuple[int, str], float]] = {}
        self._closed = False

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
        with self._open():
            if attempt_id not in self._rows:
                run_id = run_id_of(key)
                self._runs.setdefault(run_id, Run(run_id, key, kind, name, study, started_ns))
                others = self._attempts.setdefault(run_id, [])
                attempt = Attempt(attempt_id, run_id, 1 + len(others), "running", started_ns, None, None, None, {})
                self._rows[attempt_id] = _Row(attempt, "{}", None)
                others.append(attempt_id)
            return self._rows[attempt_id].read()

    def finish(self, attempt_id: str, *, status: Status, ended_ns: int, document: Mapping[str, object]) -> Attempt:
        """The attempt with its outcome."""
        text = encode(document, WHERE)
        with self._open():
            if attempt_id not in self._rows:
                raise LedgerError(WHERE, f"no attempt {attempt_id!r}", "Begin an attempt before finishing it")
            energy_j, operational_g = headline(document)
            ended = replace(
                self._rows[attempt_id].attempt,
                status=status,
                ended_ns=ended_ns,
                energy_j=energy_j,
                operational_g=operational_g,
            )
            self._rows[attempt_id] = _Row(ended, text, site_of(decode(text)))
            return self._rows[attempt_id].read()

    def runs(self, *, kind: str | None = None, study: str | None = None, limit: int = 100) -> Sequence[Run]:
        """Runs, newest first."""
        with self._open():
            found = [
                run
                for run in self._runs.values()
                if (kind is None or run.kind == kind) and (study is None or run.study == study)
            ]
        return sorted(found, key=lambda run: (-run.created_ns, run.id))[: max(limit, 0)]

    def run(self, id_or_key: str) -> Run | None:
        """The run with this id, unambiguous beginning of an id, or key."""
        with self._open():
            exact = self._runs.get(run_id_of(id_or_key)) or self._runs.get(id_or_key)
            near = [run for run in self._runs.values() if id_or_key and run.id.startswith(id_or_key)]
        return exact or (near[0] if len(near) == 1 else None)

    def attempts(self, run_id: str) -> Sequence[Attempt]:
        """A run's attempts, oldest first."""
        with self._open():
            return [row.read() for row in self._of(run_id)]

    def page(self, query: Query, *, limit: int = 50, after: str | None = None) -> Page:
        """Runs that a query asks for, a page at a time."""
        size = page_size(limit)
        last = None if after is None else place_of(after, query.order)
        rows = sorted(self._found(query), key=lambda row: _place(row, query), reverse=True)
        rows = [row for row in rows if last is None or _place(row, query) < last]
        more = cursor(query.order, *_place(rows[size - 1], query)) if 0 < size < len(rows) else None
        return Page(tuple(rows[:size]), more)

    def sums(self, query: Query, by: str) -> Sequence[Sum]:
        """Sums of the runs that a query asks for."""
        groups: dict[str, list[Row]] = {}
        by = group_of(by)
        for row in self._found(query):
            groups.setdefault(_key(row, by), []).append(row)
        return [
            Sum(
                key,
                len(rows),
                sum(row.energy_j or 0.0 for row in rows),
                sum(row.operational_g or 0.0 for row in rows),
                sum(row.energy_j is None for row in rows),
            )
            for key, rows in sorted(groups.items())
        ]

    def tag(self, run_id: str, changes: Mapping[str, str | None]) -> Mapping[str, str]:
        """A run's tags after these changes."""
        with self._open():
            if run_id not in self._runs:
                raise LedgerError(WHERE, f"no run {run_id!r}", "`lowcarb ledger list` lists them")
            merged = {**self._tags.get(run_id, {}), **changes}
            tags = {name: value for name, value in sorted(merged.items()) if value is not None}
            self._tags[run_id] = tags
            return dict(tags)

    def add_readings(self, attempt_id: str, readings: Sequence[tuple[str, int, float]]) -> None:
        """Keep readings of an attempt."""
        with self._open():
            if attempt_id not in self._rows:
                raise LedgerError(WHERE, f"no attempt {attempt_id!r}", "Begin an attempt before its readings")
            kept = self._readings.setdefault(attempt_id, {})
            for channel, at_ns, value in readings:
                kept.setdefault((at_ns, channel), nan if value is None else value)

    def readings(self, attempt_id: str) -> Sequence[tuple[str, int, float]]:
        """The readings of an attempt by time, then channel."""
        with self._open():
            kept = sorted(self._readings.get(attempt_id, {}).items())
        return [(channel, at_ns, value) for (at_ns, channel), value in kept]

    def vacuum(self) -> None:
        """Nothing is kept of what was removed."""
        with self._open():
            pass

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._runs, self._rows, self._attempts, self._tags, self._readings = {}, {}, {}, {}, {}

    def _open(self) -> Lock:
        if self._closed:
            raise LedgerError(WHERE, "it is closed", "Open it again")
        return self._lock

    def _of(self, run_id: str) -> list[_Row]:
        """A run's attempts, oldest first."""
        rows = [self._rows[attempt_id] for attempt_id in self._attempts.get(run_id, ())]
        return sorted(rows, key=lambda row: (row.attempt.started_ns, row.attempt.number))

    def _found(self, query: Query) -> list[Row]:
        with self._open():
            rows = [self._summed(run) for run in self._runs.values()]
        return [row for row in rows if _matches(row, query)]

    def _summed(self, run: Run) -> Row:
        one = summary_of([(row.attempt, row.site) for row in self._of(run.id)])
        tags = dict(self._tags.get(run.id, {}))
        return Row(
            run, one.attempts, one.status, one.started_ns, one.ended_ns, one.energy_j, one.operational_g, one.site, tags
        )


def _matches(row: Row, query: Query) -> bool:
    asked = (
        (query.kind, row.run.kind), (query.study, row.run.study), (query.status, row.status), (query.site, row.site),
        *((value, row.tags.get(name)) for name, value in query.tags.items()),
    )  # fmt: skip
    return (
        all(wanted is None or wanted == found for wanted, found in asked)
        and (query.since_ns is None or row.run.created_ns >= query.since_ns)
        and (query.until_ns is None or row.run.created_ns < query.until_ns)
        and folded(query.text or "") in folded(row.run.name)
    )


def _place(row: Row, query: Query) -> tuple[float, str]:
    values = {"newest": row.run.created_ns, "energy": rank(row.energy_j), "carbon": rank(row.operational_g)}
    return values[query.order], row.run.id


def _key(row: Row, by: str) -> str:
    if by.startswith(TAG):
        return row.tags.get(by.removeprefix(TAG), "")
    values = {
        "month": month_of(row.run.created_ns), "study": row.run.study, "site": row.site, "status": row.status,
        "kind": row.run.kind,
    }  # fmt: skip
    return values[by] or ""
