"""What lists are filtered and sorted by, tags, sums, energy by hour, readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from lowcarb.ledger.book import bare, hour_rows, sought, summed
from lowcarb.ledger.query import summary_of
from lowcarb.ledger.record import decode, site_of
from lowcarb.ledger.tables import ATTEMPT, HOUR, METADATA, RUN

revision, down_revision = "0002", "0001"
BATCH = 500
"""Runs that are filled at a time."""


def upgrade() -> None:
    """Add columns, tables and indexes, and fill them from what is there. The sums are made by the next version."""
    connection = op.get_bind()
    op.drop_index("run_by_time", "run")
    op.drop_index("run_by_study", "run")
    for table in (RUN, ATTEMPT):
        there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
        for column in table.c:
            if column.name not in there:
                added = sa.Column(
                    column.name, column.type, nullable=column.nullable, server_default=column.server_default
                )
                op.add_column(table.name, added)
    METADATA.create_all(connection)
    for runs in _batches(connection):
        _fill(connection, runs)
    # Only now, so that filling need not keep them up to date.
    for index in sorted(RUN.indexes, key=lambda one: str(one.name)):
        index.create(connection)


def _batches(connection: sa.Connection) -> Iterator[Sequence[Any]]:
    asked = sa.select(RUN.c.id, RUN.c.name, RUN.c.study, RUN.c.created_ns).order_by(RUN.c.id).limit(BATCH)
    last = ""
    while runs := connection.execute(asked.where(RUN.c.id > last)).all():
        yield runs
        last = runs[-1].id


def _fill(connection: sa.Connection, runs: Sequence[Any]) -> None:
    """Fill what is new of all runs from the first of these to the last."""
    asked = sa.select(ATTEMPT).where(ATTEMPT.c.run_id.between(runs[0].id, runs[-1].id))
    asked = asked.order_by(ATTEMPT.c.run_id, ATTEMPT.c.started_ns, ATTEMPT.c.number)
    sums, sites, hours = [], [], []
    for run_id, rows in groupby(connection.execute(asked), lambda row: row.run_id):
        attempts = []
        for row in rows:
            document = decode(row.document)
            site = site_of(document)
            attempts.append((bare(row), site))
            sites.append({"of": row.id, "site": site})
            hours += hour_rows(row.id, document)
        sums.append({"of": run_id, **summed(summary_of(attempts))})
    facts = [{"of": run.id, **sought(run.name, run.study, run.created_ns)} for run in runs]
    _update(connection, RUN, facts)
    _update(connection, RUN, sums)
    _update(connection, ATTEMPT, sites)
    if hours:
        connection.execute(HOUR.insert(), hours)


def _update(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Set columns of the rows whose ids are under `of`."""
    if rows:
        connection.execute(table.update().where(table.c.id == sa.bindparam("of")), rows)
