"""Sums over runs: kept up to date with every write, and reckoned anew when asked. Called inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, case, func, literal, select

from lowcarb.ledger.query import TAG as TAG_PREFIX
from lowcarb.ledger.query import Query, Sum, folded
from lowcarb.ledger.record import mark_of
from lowcarb.ledger.tables import RUN, TAG, TOTAL

_FACTS = ("month", "kind", "status", "study", "study_mark", "site", "site_mark")
_MARKED = {"study": "study_mark", "site": "site_mark"}
_KEY = ("month", "kind", "status", "study_mark", "site_mark")


def count(connection: Connection, run: Any, sign: int) -> None:
    """Add a run, a row of its table, to the sums (+1), or take it out of them (-1)."""
    columns = TOTAL.c
    here = and_(*(_is(columns[name], getattr(run, name)) for name in _KEY))
    known = run.energy_j is not None
    change = {
        "runs": sign,
        "energy_j": sign * (run.energy_j or 0.0),
        "operational_g": sign * (run.operational_g or 0.0),
        "unknown": 0 if known else sign,
    }
    done = connection.execute(
        TOTAL.update().where(here).values({name: columns[name] + value for name, value in change.items()})
    )
    if done.rowcount == 0:
        connection.execute(TOTAL.insert().values({**{name: getattr(run, name) for name in _FACTS}, **change}))
    elif sign < 0:
        # What is left of sums of floats is no zero.
        connection.execute(TOTAL.delete().where(here, columns.runs <= 0))


def rebuild(connection: Connection) -> None:
    """Reckon all sums anew."""
    connection.execute(TOTAL.delete())
    groups = [RUN.c[name] for name in _FACTS]
    names = [*_FACTS, "runs", "energy_j", "operational_g", "unknown"]
    connection.execute(TOTAL.insert().from_select(names, select(*groups, *_figures()).group_by(*groups)))


def conditions(query: Query, table: Table = RUN) -> list[ColumnElement[bool]]:
    """What a query asks of the run's columns; tags are joined."""
    found = [
        _is(table.c[_MARKED.get(name, name)], mark_of(value) if name in _MARKED else value)
        for name in ("kind", "status", "study", "site")
        if (value := getattr(query, name)) is not None
    ]
    if query.since_ns is not None:
        found.append(table.c.created_ns >= query.since_ns)
    if query.until_ns is not None:
        found.append(table.c.created_ns < query.until_ns)
    if query.text:
        found.append(table.c.folded.contains(folded(query.text), autoescape=True))
    return found


def sums(connection: Connection, query: Query, by: str) -> Sequence[Sum]:
    """Sums by a field or a tag, in the order of their keys."""
    plain = not (query.tags or query.text or query.since_ns is not None or query.until_ns is not None)
    asked = _of_totals(query, by) if plain and not by.startswith(TAG_PREFIX) else _of_runs(query, by)
    found = [Sum(row[0] or "", row[1], row[2] or 0.0, row[3] or 0.0, row[4]) for row in connection.execute(asked)]
    return sorted(found, key=lambda one: one.key)


def _of_totals(query: Query, by: str) -> Select[Any]:
    columns = TOTAL.c
    key, groups = _group(TOTAL, by)
    figures = [func.sum(columns[name]) for name in ("runs", "energy_j", "operational_g", "unknown")]
    return select(key, *figures).where(*conditions(query, TOTAL)).group_by(*groups)


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
    return select(key, *_figures()).select_from(source).where(*conditions(query)).group_by(*groups)


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
