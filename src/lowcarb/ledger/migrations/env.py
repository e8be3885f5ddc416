"""Alembic's environment: the connection is given, and so is its transaction."""

from __future__ import annotations

from alembic import context

from lowcarb.ledger.tables import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    transactional_ddl=False,  # the caller's transaction holds all of it
)
context.run_migrations()
