"""A ledger in an SQLite file, through SQLAlchemy Core. Imported only when a ledger is opened.

Every transaction is whole or absent, whatever dies. A connection lives as long as one transaction: nothing is held
between, so a forked child has nothing to break and any thread may ask.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.exc import DatabaseError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator

from lowcarb.errors import LedgerError
from lowcarb.ledger.base import Attempt, Run, Status
from lowcarb.ledger.file import bears_wal, is_stub, make_private, set_aside
from lowcarb.ledger.record import RUN_ID_BYTES, decode, encode, headline, run_id_of

APPLICATION_ID = 0x4C_43_4C_47
"""`LCLG`: the mark of a lowcarb ledger in the file's header."""
SCHEMA_VERSION = 1
BUSY_S = 10.0
"""Time to wait for another writer [s]."""
RETRY_S = 0.02
SET_ASIDE_TRIES = 3
"""Another process may put a bad file in the place of one set aside, but hardly again and again."""
CHECKED_BYTES = 32 * 2**20
"""Up to this size a ledger is checked through when it is opened; it takes about a tenth of a second."""
MOVE_IT = "Name a ledger in another place, or give the file and its directory back to this user"
HEXADECIMAL = re.compile("[0-9a-f]+")

Result = TypeVar("Result")


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
RUN = Table(
    "run",
    METADATA,
    Column("id", String(2 * RUN_ID_BYTES), primary_key=True),
    Column("key", Verbatim, nullable=False),
    Column("kind", Verbatim, nullable=False),
    Column("name", Verbatim, nullable=False),
    Column("study", Verbatim),
    Column("created_ns", BigInteger, nullable=False),
    Index("run_by_time", "created_ns"),
    Index("run_by_study", "study"),
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
    UniqueConstraint("run_id", "number"),
)


class SqlLedger:
    """Keeps runs and attempts in a file, by the contract of `lowcarb.ledger.base.Ledger`.

    A file that is no ledger, or a damaged one, is renamed and a new ledger begun, with a warning in the log.

    Args:
        path: the file; made with its directory where it is not there.
        mounts: the table of mounted file systems, which decides on the write-ahead log.

    Raises:
        LedgerError: the file cannot be made, or was written by a newer lowcarb.
    """

    def __init__(self, path: Path, *, mounts: Path = Path("/proc/mounts")) -> None:
        self.path = path
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
        run_id = run_id_of(key)

        def work(connection: Connection) -> Attempt:
            known = connection.execute(select(ATTEMPT).where(ATTEMPT.c.id == attempt_id)).one_or_none()
            if known is not None:
                return _attempt(known)
            if connection.execute(select(RUN.c.id).where(RUN.c.id == run_id)).one_or_none() is None:
                connection.execute(
                    RUN.insert().values(id=run_id, key=key, kind=kind, name=name, study=study, created_ns=started_ns)
                )
            last = connection.execute(select(func.max(ATTEMPT.c.number)).where(ATTEMPT.c.run_id == run_id)).scalar_one()
            number = 1 + (last or 0)
            connection.execute(
                ATTEMPT.insert().values(
                    id=attempt_id,
                    run_id=run_id,
                    number=number,
                    status="running",
                    started_ns=started_ns,
                    document="{}",
                )
            )
            return Attempt(attempt_id, run_id, number, "running", started_ns, None, None, None, {})

        return self._do(work, write=True)

    def finish(self, attempt_id: str, *, status: Status, ended_ns: int, document: Mapping[str, object]) -> Attempt:
        """The attempt with its outcome."""
        text = encode(document, str(self.path))
        energy_j, operational_g = headline(document)
        values = {
            "status": status,
            "ended_ns": ended_ns,
            "energy_j": energy_j,
            "operational_g": operational_g,
            "document": text,
        }

        def work(connection: Connection) -> Attempt:
            connection.execute(ATTEMPT.update().where(ATTEMPT.c.id == attempt_id).values(**values))
            found = connection.execute(select(ATTEMPT).where(ATTEMPT.c.id == attempt_id)).one_or_none()
            if found is None:
                raise LedgerError(str(self.path), f"no attempt {attempt_id!r}", "Begin an attempt before finishing it")
            return _attempt(found)

        return self._do(work, write=True)

    def runs(self, *, kind: str | None = None, study: str | None = None, limit: int = 100) -> Sequence[Run]:
        """Runs, newest first."""
        query = select(RUN).order_by(RUN.c.created_ns.desc(), RUN.c.id).limit(max(limit, 0))
        if kind is not None:
            query = query.where(RUN.c.kind == kind)
        if study is not None:
            query = query.where(RUN.c.study == study)
        return [_run(row) for row in self._do(lambda connection: connection.execute(query).all(), write=False)]

    def run(self, id_or_key: str) -> Run | None:
        """The run with this id, unambiguous beginning of an id, or key."""
        by_key = select(RUN).where(RUN.c.id == run_id_of(id_or_key))
        by_id = select(RUN).where(func.substr(RUN.c.id, 1, len(id_or_key)) == id_or_key).limit(2)

        def work(connection: Connection) -> Run | None:
            found = connection.execute(by_key).all()
            if not found and HEXADECIMAL.fullmatch(id_or_key):
                found = connection.execute(by_id).all()
            return _run(found[0]) if len(found) == 1 else None

        return self._do(work, write=False)

    def attempts(self, run_id: str) -> Sequence[Attempt]:
        """A run's attempts, oldest first."""
        if not HEXADECIMAL.fullmatch(run_id):
            return []
        query = select(ATTEMPT).where(ATTEMPT.c.run_id == run_id).order_by(ATTEMPT.c.started_ns, ATTEMPT.c.number)
        return [_attempt(row) for row in self._do(lambda connection: connection.execute(query).all(), write=False)]

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
    return None if tables >= set(METADATA.tables) else "has lost its tables"


def _prepare(connection: Connection, mode: str) -> None:
    """Set the journal mode, and make the tables where the file is empty."""
    # The mode cannot be changed inside a transaction, and is kept in the file.
    connection.exec_driver_sql("COMMIT")
    if str(_pragma(connection, "journal_mode")).upper() != mode:
        connection.exec_driver_sql(f"PRAGMA journal_mode={mode}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    if _pragma(connection, "user_version") != SCHEMA_VERSION:
        METADATA.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")


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


def _run(row: Row[Any]) -> Run:
    return Run(row.id, row.key, row.kind, row.name, row.study, row.created_ns)


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        row.id,
        row.run_id,
        row.number,
        row.status,
        row.started_ns,
        row.ended_ns,
        row.energy_j,
        row.operational_g,
        decode(row.document),
    )
