"""A ledger in an SQLite file, through SQLAlchemy Core. Imported only when a ledger is opened.

Every transaction is whole or absent, whatever dies. A connection lives as long as one transaction: nothing is held
between, so a forked child has nothing to break and any thread may ask.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DatabaseError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from lowcarb.errors import LedgerError
from lowcarb.ledger import totals
from lowcarb.ledger.book import Book
from lowcarb.ledger.file import bears_wal, is_stub, make_private, set_aside
from lowcarb.ledger.migrations import create, upgrade
from lowcarb.ledger.tables import METADATA, REVISIONS, SCHEMA_VERSION

APPLICATION_ID = 0x4C_43_4C_47
"""`LCLG`: the mark of a lowcarb ledger in the file's header."""
BUSY_S = 10.0
"""Time to wait for another writer [s]."""
RETRY_S = 0.02
SET_ASIDE_TRIES = 3
"""Another process may put a bad file in the place of one set aside, but hardly again and again."""
CHECKED_BYTES = 32 * 2**20
"""Up to this size a ledger is checked through when it is opened; it takes about a tenth of a second."""
MOVE_IT = "Name a ledger in another place, or give the file and its directory back to this user"
FIRST_TABLES = {"run", "attempt"}
"""Those of version 1."""

Result = TypeVar("Result")


class SqlLedger(Book):
    """Keeps runs and attempts in a file, by the contract of `lowcarb.ledger.base.Ledger`.

    A file that is no ledger, or a damaged one, is renamed and a new ledger begun, with a warning in the log.

    Args:
        path: the file; made with its directory where it is not there.
        mounts: the table of mounted file systems, which decides on the write-ahead log.

    Raises:
        LedgerError: the file cannot be made, or was written by a newer lowcarb.
    """

    def __init__(self, path: Path, *, mounts: Path = Path("/proc/mounts")) -> None:
        self.path, self.name = path, str(path)
        self._closed = False
        self._engine = create_engine("sqlite://", creator=self._connect, poolclass=NullPool)
        event.listen(self._engine, "begin", _begin)
        make_private(path)
        for _ in range(SET_ASIDE_TRIES):
            problem = self._problem()
            if problem is None:
                break
            set_aside(path, problem)
            make_private(path)
        mode = "WAL" if bears_wal(path, mounts) else "DELETE"
        self._do(lambda connection: _prepare(connection, mode), write=False)

    def vacuum(self) -> None:
        """Give back the space of what was removed, and reckon the sums anew."""
        self._do(totals.rebuild, write=True)
        self._do(_compact, write=False)

    def close(self) -> None:
        """Refuse from now on. Nothing is held open between two calls."""
        self._closed = True
        self._engine.dispose()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
        # Full, so that a power cut takes nothing that was told to be written.
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def _do(self, work: Callable[[Connection], Result], *, write: bool) -> Result:
        """What the work gives, done in one transaction."""
        if self._closed:
            raise LedgerError(str(self.path), "it is closed", "Open it again")
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                with self._engine.connect().execution_options(immediate=write) as connection, connection.begin():
                    return work(connection)
            except (SQLAlchemyError, sqlite3.Error, OverflowError) as error:
                # SQLite does not wait for every lock itself: not for the one that changes the journal mode.
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise _refusal(self.path, error) from error
            time.sleep(RETRY_S)

    def _keep(self, connection: Connection, rows: Sequence[tuple[int, int, float | None]]) -> None:
        connection.exec_driver_sql("INSERT OR IGNORE INTO reading VALUES (?, ?, ?)", list(rows))

    def _problem(self) -> str | None:
        """Why the file is no ledger of ours; None where it is one or is empty.

        Raises:
            LedgerError: it is one, but of a newer version.
        """
        try:
            if is_stub(self.path):
                return "is not a ledger"
            checked = self.path.stat().st_size <= CHECKED_BYTES
            return self._do(lambda connection: _foreign(connection, self.path, checked=checked), write=False)
        except FileNotFoundError:  # set aside by another process just now
            return "vanished"
        except LedgerError as error:
            if isinstance(error.__cause__, DatabaseError) and _is_damage(error.__cause__):
                return "is damaged, or not a ledger"
            raise


def _begin(connection: Connection) -> None:
    # A writer takes its lock at once: two that read first and then write would both have to give way.
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _pragma(connection: Connection, name: str) -> Any:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def _foreign(connection: Connection, path: Path, *, checked: bool) -> str | None:
    mark, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    tables = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
    if mark != APPLICATION_ID:
        return "is another program's database" if mark or version or tables else None
    if version > SCHEMA_VERSION:
        raise LedgerError(
            str(path),
            f"it was written by a newer lowcarb (its version is {version}, this one knows {SCHEMA_VERSION})",
            "Upgrade: pip install --upgrade lowcarb",
        )
    if checked and _pragma(connection, "quick_check(1)") != "ok":
        return "is damaged"
    expected = FIRST_TABLES if version < SCHEMA_VERSION else set(METADATA.tables)
    return None if tables >= expected else "has lost its tables"


def _prepare(connection: Connection, mode: str) -> None:
    """Set the journal mode, and make the tables, or bring them to the latest version."""
    # The mode cannot be changed inside a transaction, and is kept in the file.
    connection.exec_driver_sql("COMMIT")
    if str(_pragma(connection, "journal_mode")).upper() != mode:
        connection.exec_driver_sql(f"PRAGMA journal_mode={mode}")
    if _pragma(connection, "user_version") == SCHEMA_VERSION:
        connection.exec_driver_sql("BEGIN")  # nothing to write: no writer is waited for
        return
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    version = _pragma(connection, "user_version")
    if version != SCHEMA_VERSION:
        if version:
            upgrade(connection, REVISIONS[version - 1])
        else:
            create(connection)
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")


def _compact(connection: Connection) -> None:
    # It cannot be done inside a transaction.
    connection.exec_driver_sql("COMMIT")
    connection.exec_driver_sql("VACUUM")
    connection.exec_driver_sql("ANALYZE")
    connection.exec_driver_sql("BEGIN")


def _is_busy(error: BaseException) -> bool:
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _is_damage(error: DatabaseError) -> bool:
    return getattr(error.orig, "sqlite_errorname", "").startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))


def _refusal(path: Path, error: Exception) -> LedgerError:
    cause = getattr(error, "orig", None) or error
    if isinstance(error, DatabaseError) and _is_damage(error):
        return LedgerError(str(path), f"it is damaged ({cause})", "Open it again: it is set aside and a new one begun")
    if _is_busy(error):
        return LedgerError(str(path), f"others have been writing for {BUSY_S:g} s", "Try again")
    return LedgerError(str(path), f"{cause}", MOVE_IT)
