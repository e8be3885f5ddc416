"""The versions of the schema, and how a database comes to the latest. Alembic is loaded only where one is behind."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, select

from lowcarb.ledger.tables import METADATA, REVISIONS, VERSION


def create(connection: Connection) -> None:
    """Make the whole schema, as of the latest version, in an empty database."""
    METADATA.create_all(connection)
    if connection.execute(select(VERSION.c.version_num)).first() is None:
        connection.execute(VERSION.insert().values(version_num=REVISIONS[-1]))


def upgrade(connection: Connection, version: str | None) -> None:
    """Bring a database of a version to the latest, inside the transaction that the connection is in.

    Args:
        connection: to the database.
        version: what it has; None where it is empty.
    """
    from alembic import command  # noqa: PLC0415  # heavy, and seldom needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    if version is not None:
        VERSION.create(connection, checkfirst=True)
        if connection.execute(select(VERSION.c.version_num)).first() is None:
            connection.execute(VERSION.insert().values(version_num=version))
    command.upgrade(config, "head")
