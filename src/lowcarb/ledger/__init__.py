"""The memory: runs, their attempts, and what each of them cost."""

from __future__ import annotations

import os

from lowcarb.ledger.base import Attempt, Ledger, Run, Status
from lowcarb.ledger.home import default_ledger_path, home, is_postgres, ledger_name, ledger_path

__all__ = [
    "Attempt",
    "Ledger",
    "Run",
    "Status",
    "default_ledger_path",
    "home",
    "ledger_name",
    "ledger_path",
    "open_ledger",
]


def open_ledger(url_or_path: str | os.PathLike[str] | None = None) -> Ledger:
    """The ledger in this file, made where it is not there; without one, the user's own.

    Args:
        url_or_path: a file's path, `sqlite:///PATH`, or `postgresql://…` (extra `postgres`).

    Raises:
        SettingError: a URL of another kind.
        LedgerError: the ledger cannot be opened, or was written by a newer lowcarb.
    """
    if url_or_path is not None and is_postgres(url_or_path):
        from lowcarb.ledger.postgres import PostgresLedger  # noqa: PLC0415  # as below

        return PostgresLedger(os.fspath(url_or_path))
    path = default_ledger_path() if url_or_path is None else ledger_path(url_or_path)
    # SQLAlchemy takes a third of a second to import, and not every command opens a ledger.
    from lowcarb.ledger.sql import SqlLedger  # noqa: PLC0415

    return SqlLedger(path)
