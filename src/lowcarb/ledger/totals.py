"""Sums over runs: kept up to date with every write, and reckoned anew when asked. Called inside a transaction.

They are kept at three levels, as a year's sums by month would else read a row for each study and month. A row of
level `EACH` is of one month and one study; of `ALL_STUDIES`, of one month; of `ALL_MONTHS`, of one study. All are of
one kind, status and site.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, case, func, literal, select

from lowcarb.ledger.query import TAG as TAG_PREFIX
from lowcarb.ledger.query import Query, Sum, folded, month_of, month_start_ns
from lowcarb.ledger.record import mark_of
from lowcarb.ledger.tables import RUN, TAG, TOTAL

EACH, ALL_STUDIES, ALL_MONTHS = 0, 1, 2
_LEFT_OUT: dict[int, dict[str, str | None]] = {
    EACH: {},
    ALL_STUDIES: {"study": None, "study_mark": None},
    ALL_MONTHS: {"month": ""},
}
"""What a level does not tell apart, and what its rows say of it."""
_FACTS = ("month", "kind", "status", "study", "study_mark", "site", "site_mark")
_MARKED = {"study": "study_mark", "site": "site_mark"}
_KEY = ("level", "month", "kind", "status", "study_mark", "site_mark")
_SUMS = ("runs", "energy_j", "operational_g", "unknown")
LAST_NS = 2**63 - 1
"""The last time that a database holds, in nanoseconds since 1970; the first is as long before."""


def count(connection: Connection, run: Any, sign: int) -> None:
    """Add a run, a row of its table, to the sums (+1), or take it out of them (-1)."""
    columns = TOTAL.c
    change = {
        "runs": sign,
        "energy_j": sign * (run.energy_j or 0.0),
        "operational_g": sign * (run.operational_g or 0.0),
        "unknown": 0 if run.energy_j is not None else sign,
    }
    for level, left_out in _LEFT_OUT.items():
        facts = {"level": level, **{name: getattr(run, name) for name in _FACTS}, **left_out}
        here = and_(*(_is(columns[name], facts[name]) for name in _KEY))
        done = connection.execute(
            TOTAL.update().where(here).values({name: columns[name] + value for name, value in change.items()})
        )
        if done.rowcount == 0:
            connection.execute(TOTAL.insert().values({**facts, **change}))
        elif sign < 0:
            # What is left of sums of floats is no zero.
            connection.execute(TOTAL.delete().where(here, columns.runs <= 0))


def rebuild(connection: Connection) -> None:
    """Reckon all sums anew."""
    connection.execute(TOTAL.delete())
    _fill(connection, RUN, EACH, _figures())
    for level in (ALL_STUDIES, ALL_MONTHS):
        _fill(connection, TOTAL, level, [func.sum(TOTAL.c[name]) for name in _SUMS])


def _fill(connection: Connection, table: Table, level: int, figures: list[Any]) -> None:
    """Sum the rows of a table, or its finest where it has levels, to those of a level."""
    chosen: dict[str, Any] = {
        # A text goes with its mark: to group by marks alone is faster.
        name: func.min(table.c[name], type_=table.c[name].type) if name in _MARKED else table.c[name]
        for name in _FACTS
    }
    chosen |= {name: literal(value, TOTAL.c[name].type) for name, value in _LEFT_OUT[level].items()}
    groups = [table.c[name] for name in _FACTS if name not in _MARKED and name not in _LEFT_OUT[level]]
    asked = select(literal(level), *(chosen[name] for name in _FACTS), *figures).group_by(*groups)
    if table is TOTAL:
        asked = asked.where(TOTAL.c.level == EACH)
    connection.execute(TOTAL.insert().from_select(["level", *_FACTS, *_SUMS], asked))


def conditions(query: Query, table: Table = RUN) -> list[ColumnElement[bool]]:
    """What a query asks of the columns that runs and sums have; tags are joined."""
    return [
        _is(table.c[_MARKED.get(name, name)], mark_of(value) if name in _MARKED else value)
        for name in ("kind", "status", "study", "site")
        if (value := getattr(query, name)) is not None
    ]


def of_runs(query: Query) -> list[ColumnElement[bool]]:
    """What a query asks of a run's columns."""
    found = conditions(query)
    if query.since_ns is not None:
        found.append(RUN.c.created_ns >= query.since_ns)
    if query.until_ns is not None:
        found.append(RUN.c.created_ns < query.until_ns)
    if query.text:
        found.append(RUN.c.folded.contains(folded(query.text), autoescape=True))
    return found


def sums(connection: Connection, query: Query, by: str) -> Sequence[Sum]:
    """Sums by a field or a tag, in the order of their keys."""
    kept = not (query.tags or query.text or by.startswith(TAG_PREFIX))
    found: dict[str, Sum] = {}
    for asked in _parts(query, by) if kept else [_of_runs(query, by)]:
        for row in connection.execute(asked):
            one = Sum(row[0] or "", row[1], row[2] or 0.0, row[3] or 0.0, row[4])
            found[one.key] = _together(found[one.key], one) if one.key in found else one
    return sorted(found.values(), key=lambda one: one.key)


def _together(one: Sum, other: Sum) -> Sum:
    return Sum(
        one.key,
        one.runs + other.runs,
        one.energy_j + other.energy_j,
        one.operational_g + other.operational_g,
        one.unknown + other.unknown,
    )


def _parts(query: Query, by: str) -> Iterator[Select[Any]]:
    """What is to be added up: whole months out of the sums, and the pieces of months at both ends out of the runs."""
    since_ns, until_ns = query.since_ns, query.until_ns
    first_ns = None if since_ns is None else month_start_ns(since_ns, later=True)
    end_ns = None if until_ns is None else month_start_ns(until_ns, later=False)
    # At either end of what a database can tell of time, no month is whole.
    beyond = (first_ns or 0) > LAST_NS or (end_ns or 0) < -LAST_NS
    if beyond or (first_ns is not None and end_ns is not None and first_ns >= end_ns):
        yield _of_runs(query, by)
        return
    yield _of_totals(query, by, first_ns, end_ns)
    if since_ns != first_ns:
        yield _of_runs(replace(query, until_ns=first_ns), by)
    if until_ns != end_ns:
        yield _of_runs(replace(query, since_ns=end_ns), by)


def _of_totals(query: Query, by: str, first_ns: int | None, end_ns: int | None) -> Select[Any]:
    columns = TOTAL.c
    months = [] if first_ns is None else [columns.month >= month_of(first_ns)]
    months += [] if end_ns is None else [columns.month < month_of(end_ns)]
    level = EACH if months or by == "month" else ALL_MONTHS
    if by != "study" and query.study is None:
        level = ALL_STUDIES
    key, groups = _group(TOTAL, by)
    figures = [func.sum(columns[name]) for name in _SUMS]
    return select(key, *figures).where(columns.level == level, *conditions(query, TOTAL), *months).group_by(*groups)


def _of_runs(query: Query, by: str) -> Select[Any]:
    source: Any = RUN
    for name, value in query.tags.items():
        tag = TAG.alias()
        source = source.join(tag, tagged(tag, name, value))
    if by.startswith(TAG_PREFIX):
        tag = TAG.alias()
        mark = mark_of(by.removeprefix(TAG_PREFIX))
        source = source.outerjoin(tag, and_(tag.c.run_id == RUN.c.id, tag.c.name_mark == mark))
        key, groups = func.min(tag.c.value, type_=tag.c.value.type), [tag.c.value_mark]
    else:
        key, groups = _group(RUN, by)
    return select(key, *_figures()).select_from(source).where(*of_runs(query)).group_by(*groups)


def tagged(tag: Any, name: str, value: str) -> ColumnElement[bool]:
    """That a row of tags is of the run, and says this."""
    return and_(tag.c.run_id == RUN.c.id, tag.c.name_mark == mark_of(name), tag.c.value_mark == mark_of(value))


def _group(table: Table, by: str) -> tuple[Any, list[Any]]:
    column = table.c[by]
    if by in _MARKED:
        return func.min(column, type_=column.type), [table.c[_MARKED[by]]]
    return column, [column]


def _figures() -> list[Any]:
    return [
        func.count(),
        func.coalesce(func.sum(RUN.c.energy_j), literal(0.0)),
        func.coalesce(func.sum(RUN.c.operational_g), literal(0.0)),
        func.coalesce(func.sum(case((RUN.c.energy_j.is_(None), 1), else_=0)), 0),
    ]


def _is(column: ColumnElement[Any], value: object) -> ColumnElement[bool]:
    return column.is_(None) if value is None else column == value
