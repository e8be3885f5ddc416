"""A ledger in PostgreSQL, through psycopg 3 (extra `postgres`). Imported only when one is opened.

A transaction that writes takes one advisory lock, so writers come one after the other, as in SQLite; readers wait for
none. A connection that the server has dropped is made anew once: every write may be done twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, create_engine, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from lowcarb.errors import LedgerError, MissingExtra, SettingError
from lowcarb.ledger import totals
from lowcarb.ledger.book import Book
from lowcarb.ledger.home import ledger_name
from lowcarb.ledger.migrations import create, upgrade
from lowcarb.ledger.tables import REVISIONS, RUN, VERSION, VERSION_TABLE

LOCK = 0x4C_43_4C_47
"""`LCLG`: the number of the writers' lock."""
CONNECT_S = 5
"""Time to wait for the server [s]."""
BUSY_S = 10
"""Time to wait for another writer [s]."""
AWAY = "Check that the server runs and lets you in; what is tracked stays in the journal until then"
_INSERT = "INSERT INTO reading SELECT * FROM unnest(%s::int[], %s::bigint[], %s::float8[]) ON CONFLICT DO NOTHING"

Result = TypeVar("Result")


class PostgresLedger(Book):
    """Keeps runs and attempts in a PostgreSQL database, by the contract of `lowcarb.ledger.base.Ledger`.

    Args:
        url: `postgresql://USER@HOST/DATABASE`, as libpq takes it; the tables are made where they are not there.

    Raises:
        SettingError: it is no such URL.
        MissingExtra: psycopg is not installed.
        LedgerError: the server is away, or the ledger was written by a newer lowcarb.
    """

    def __init__(self, url: str) -> None:
        if find_spec("psycopg") is None:
            raise MissingExtra("a ledger in PostgreSQL", "postgres")
        there = _url(url)
        self.name = ledger_name(url)
        self._closed, self._pid = False, os.getpid()
        self._engine = create_engine(
            there,
            pool_size=2,
            connect_args={
                "connect_timeout": CONNECT_S,
                "options": f"-c lock_timeout={BUSY_S}s -c client_encoding=UTF8",
            },
        )
        with ExitStack() as refused:
            refused.callback(self._engine.dispose)
            if self._do(self._version, write=False) != REVISIONS[-1]:
                self._do(self._prepare, write=True)
            refused.pop_all()

    def vacuum(self) -> None:
        """Give back the space of what was removed, and reckon the sums anew."""
        self._do(totals.rebuild, write=True)
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE"))
        except SQLAlchemyError as error:
            raise self._refusal(error) from error

    def close(self) -> None:
        """Let go of the connections."""
        self._closed = True
        if os.getpid() == self._pid:
            self._engine.dispose()

    def _do(self, work: Callable[[Connection], Result], *, write: bool) -> Result:
        if self._closed:
            raise LedgerError(self.name, "it is closed", "Open it again")
        if os.getpid() != self._pid:
            # A forked child: the connections are its parent's.
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        try:
            return self._once(work, write=write)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise self._refusal(error) from error
        except (SQLAlchemyError, OverflowError) as error:
            raise self._refusal(error) from error
        try:
            return self._once(work, write=write)
        except SQLAlchemyError as error:
            raise self._refusal(error) from error

    def _once(self, work: Callable[[Connection], Result], *, write: bool) -> Result:
        with self._engine.begin() as connection:
            if write:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            return work(connection)

    def _keep(self, connection: Connection, rows: Sequence[tuple[int, int, float | None]]) -> None:
        channels, times, values = (list(column) for column in zip(*rows, strict=True))
        connection.exec_driver_sql(_INSERT, (channels, times, values))

    def _version(self, connection: Connection) -> str | None:
        """The version of the schema; None where there is none."""
        seen = inspect(connection)
        if not seen.has_table(VERSION_TABLE):
            if seen.has_table(RUN.name):
                raise LedgerError(self.name, "is another program's database", "Name an empty database")
            return None
        version: str | None = connection.execute(select(VERSION.c.version_num)).scalar_one_or_none()
        if version is not None and version not in REVISIONS:
            raise LedgerError(
                self.name,
                f"it was written by a newer lowcarb (its version is {version}, this one knows {REVISIONS[-1]})",
                "Upgrade: pip install --upgrade lowcarb",
            )
        return version

    def _prepare(self, connection: Connection) -> None:
        version = self._version(connection)
        if version is None:
            create(connection)
        elif version != REVISIONS[-1]:
            upgrade(connection, version)

    def _refusal(self, error: Exception) -> LedgerError:
        cause: Any = getattr(error, "orig", None) or error
        if type(cause).__name__ == "LockNotAvailable":
            return LedgerError(self.name, f"others have been writing for {BUSY_S} s", "Try again")
        return LedgerError(self.name, " ".join(str(cause).split()), AWAY)


def _url(url: str) -> URL:
    try:
        return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:
        # What was given may hold a password.
        raise SettingError("ledger", "postgresql://…", "postgresql://USER@HOST:PORT/DATABASE") from error
