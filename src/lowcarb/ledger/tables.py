"""The schema of a ledger, for SQLite and PostgreSQL alike. What came when is in `lowcarb.ledger.migrations`.

What a list is filtered and sorted by stands on the run itself, and sums over all runs stand in `total`, at three
levels (`lowcarb.ledger.totals`): both are written in the transaction that writes the attempt. A `mark` stands for a
text in an index, as PostgreSQL's cannot hold one of more than 2,700 bytes.
"""

from __future__ import annotations

import re

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

from lowcarb.ledger.record import RUN_ID_BYTES

SCHEMA_VERSION = 3
REVISIONS = ("0001", "0002", "0003")
"""Alembic's name of each version, oldest first."""
VERSION_TABLE = "lowcarb_version"
MARK = String(2 * RUN_ID_BYTES)


class Verbatim(TypeDecorator[str]):
    r"""Text that comes back unchanged, NUL and lone surrogates included: those, and `\`, are stored as escapes."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """What the database stores."""
        del dialect
        return None if value is None else re.sub(r"[\\\0\ud800-\udfff]", lambda one: f"\\{ord(one[0]):04x}", value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """What was handed in."""
        del dialect
        return None if value is None else re.sub(r"\\([0-9a-f]{4})", lambda one: chr(int(one[1], 16)), value)


METADATA = MetaData()
VERSION = Table(VERSION_TABLE, METADATA, Column("version_num", String(32), primary_key=True))
RUN = Table(
    "run",
    METADATA,
    Column("id", MARK, primary_key=True),
    Column("key", Verbatim, nullable=False),
    Column("kind", Verbatim, nullable=False),
    Column("name", Verbatim, nullable=False),
    Column("study", Verbatim),
    Column("created_ns", BigInteger, nullable=False),
    Column("folded", Text, nullable=False, server_default=""),
    Column("month", String(7), nullable=False, server_default=""),
    Column("study_mark", MARK),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("status", Verbatim, nullable=False, server_default="running"),
    Column("started_ns", BigInteger, nullable=False, server_default="0"),
    Column("ended_ns", BigInteger),
    Column("energy_j", Float),
    Column("operational_g", Float),
    Column("energy_rank", Float, nullable=False, server_default="-1"),
    Column("carbon_rank", Float, nullable=False, server_default="-1"),
    Column("site", Verbatim),
    Column("site_mark", MARK),
    Index("run_newest", "created_ns", "id"),
    Index("run_newest_of_kind", "kind", "created_ns", "id"),
    Index("run_newest_of_study", "study_mark", "created_ns", "id"),
    Index("run_newest_of_status", "status", "created_ns", "id"),
    Index("run_newest_of_site", "site_mark", "created_ns", "id"),
    Index("run_by_energy", "energy_rank", "id"),
    Index("run_by_carbon", "carbon_rank", "id"),
)
ATTEMPT = Table(
    "attempt",
    METADATA,
    Column("id", Verbatim, primary_key=True),
    Column("run_id", ForeignKey("run.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    Column("energy_j", Float),
    Column("operational_g", Float),
    Column("document", Text, nullable=False),
    Column("site", Verbatim),
    UniqueConstraint("run_id", "number"),
)
TAG = Table(
    "tag",
    METADATA,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("name_mark", MARK, primary_key=True),
    Column("value_mark", MARK, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("name", Verbatim, nullable=False),
    Column("value", Verbatim, nullable=False),
    Index("tag_newest", "name_mark", "value_mark", "created_ns", "run_id"),
)
TOTAL = Table(
    "total",
    METADATA,
    Column("level", Integer, nullable=False),
    Column("month", String(7), nullable=False),
    Column("kind", Verbatim, nullable=False),
    Column("status", Verbatim, nullable=False),
    Column("study", Verbatim),
    Column("study_mark", MARK),
    Column("site", Verbatim),
    Column("site_mark", MARK),
    Column("runs", Integer, nullable=False),
    Column("energy_j", Float, nullable=False),
    Column("operational_g", Float, nullable=False),
    Column("unknown", Integer, nullable=False),
    Index("total_of", "level", "study_mark", "month", "kind", "status", "site_mark"),
)
HOUR = Table(
    "hour",
    METADATA,
    Column("attempt_id", ForeignKey("attempt.id"), nullable=False),
    Column("device", Verbatim, nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("energy_j", Float, nullable=False),
    Index("hour_of_attempt", "attempt_id", "start_ns"),
    Index("hour_by_time", "start_ns"),
)
CHANNEL = Table(
    "channel",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("attempt_id", ForeignKey("attempt.id"), nullable=False),
    Column("name_mark", MARK, nullable=False),
    Column("name", Verbatim, nullable=False),
    UniqueConstraint("attempt_id", "name_mark"),
)
READING = Table(
    "reading",
    METADATA,
    Column("channel_id", ForeignKey("channel.id"), primary_key=True),
    Column("at_ns", BigInteger, primary_key=True),
    Column("value", Float),
    sqlite_with_rowid=False,
)
