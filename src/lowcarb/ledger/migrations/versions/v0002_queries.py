"""What lists are filtered and sorted by, tags, sums, energy by hour, readings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lowcarb.ledger.book import keep_hours, summarise
from lowcarb.ledger.query import folded, month_of
from lowcarb.ledger.record import decode, mark_of, site_of
from lowcarb.ledger.tables import ATTEMPT, METADATA, RUN

revision, down_revision = "0002", "0001"
BATCH = 500
"""Attempts whose documents are in memory at a time."""


def upgrade() -> None:
    """Add columns, tables and indexes, and fill them from what is there."""
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
    for index in sorted(RUN.indexes, key=lambda one: str(one.name)):
        index.create(connection)
    METADATA.create_all(connection)
    _fill_runs(connection)
    _fill_attempts(connection)
    for run_id in connection.execute(sa.select(RUN.c.id)).scalars().all():
        if connection.execute(sa.select(ATTEMPT.c.id).where(ATTEMPT.c.run_id == run_id).limit(1)).first():
            summarise(connection, run_id)


def _fill_runs(connection: sa.Connection) -> None:
    for run in connection.execute(sa.select(RUN.c.id, RUN.c.name, RUN.c.study, RUN.c.created_ns)).all():
        facts = {"folded": folded(run.name), "month": month_of(run.created_ns), "study_mark": mark_of(run.study)}
        connection.execute(RUN.update().where(RUN.c.id == run.id).values(facts))


def _fill_attempts(connection: sa.Connection) -> None:
    ids = connection.execute(sa.select(ATTEMPT.c.id)).scalars().all()
    for start in range(0, len(ids), BATCH):
        asked = sa.select(ATTEMPT.c.id, ATTEMPT.c.document).where(ATTEMPT.c.id.in_(ids[start : start + BATCH]))
        for attempt in connection.execute(asked).all():
            document = decode(attempt.document)
            connection.execute(ATTEMPT.update().where(ATTEMPT.c.id == attempt.id).values(site=site_of(document)))
            keep_hours(connection, attempt.id, document)
