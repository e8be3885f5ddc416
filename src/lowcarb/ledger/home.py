"""Where lowcarb keeps its files: `LOWCARB_HOME`, or the user's data directory, or at last a temporary one."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote_plus

from lowcarb.errors import LedgerError, SettingError

LEDGER_FILE = "ledger.db"
SQLITE_SCHEME = "sqlite:///"
POSTGRES_SCHEMES = ("postgresql://", "postgres://", "postgresql+psycopg://")
PRIVATE_DIRECTORY = 0o700
_SECRETS = ("password", "sslpassword")
"""Parameters of libpq that hold a password."""
_USER = re.compile(r"(?:([^:/?@]*)(?::[^@]*)?@)?(.*)", re.DOTALL)
"""User and the rest of a URL after its scheme. A password ends at an @ only, as SQLAlchemy reads it."""

_log = logging.getLogger(__name__)


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of ledger and journals, made if need be for this user's eyes only.

    Where neither `LOWCARB_HOME` is set nor the user has a data directory that can be written, it is a temporary
    directory named after the user's id, and a warning says so. A `LOWCARB_HOME` is taken as it is, writable or not.

    Raises:
        LedgerError: not even the temporary directory can be had.
    """
    chosen = environ.get("LOWCARB_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path  # noqa: PLC0415  # only where it decides

    usual = user_data_path("lowcarb")
    # Without HOME and without an entry in the user database, the path still begins with "~".
    if usual.is_absolute() and _usable(usual):
        return usual
    return _temporary(usual)


def default_ledger_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The ledger that is used where none is named."""
    return home(environ) / LEDGER_FILE


def ledger_path(url_or_path: str | os.PathLike[str]) -> Path:
    """The file that a ledger's path or `sqlite:///` URL names. Nothing is opened or made.

    Raises:
        SettingError: it is empty, or a URL of another kind.
    """
    text = os.fspath(url_or_path)
    scheme = text.partition("://")[0] + "://" if "://" in text else ""
    if text.startswith(SQLITE_SCHEME):
        text = text.removeprefix(SQLITE_SCHEME)
    elif scheme:
        # The rest of a URL may hold a password: only its scheme is shown.
        raise SettingError("ledger", f"{scheme}…", f"a file's path, or {SQLITE_SCHEME}PATH")
    if not text or "\0" in text:
        raise SettingError("ledger", text, f"a file's path, or {SQLITE_SCHEME}PATH")
    return Path(text).expanduser().absolute()


def is_postgres(url_or_path: str | os.PathLike[str]) -> bool:
    """Whether it is the URL of a PostgreSQL database."""
    return os.fspath(url_or_path).startswith(POSTGRES_SCHEMES)


def ledger_name(url_or_path: str | os.PathLike[str]) -> str:
    """What journals call a ledger: the path of its file, or its URL without the password. Nothing is opened.

    Raises:
        SettingError: it is empty, or a URL of another kind.
    """
    if not is_postgres(url_or_path):
        return str(ledger_path(url_or_path))
    text = os.fspath(url_or_path).partition("://")[2]
    if "\0" in text:
        raise SettingError("ledger", "postgresql://…", "postgresql://USER@HOST:PORT/DATABASE")
    user, rest = _USER.fullmatch(text).groups()  # type: ignore[union-attr]  # it matches any text
    place, _, query = rest.partition("?")
    host, slash, database = place.partition("/")
    # What stands before another @ was meant for the password.
    place = host.rpartition("@")[2] + slash + database
    kept = [one for one in query.split("&") if unquote_plus(one.partition("=")[0]).lower() not in (*_SECRETS, "")]
    return "postgresql://" + (f"{user}@" if user else "") + place + ("?" + "&".join(kept) if kept else "")


def _usable(directory: Path) -> bool:
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)


def _temporary(usual: Path) -> Path:
    import tempfile  # noqa: PLC0415  # seldom needed, and not small

    directory = Path(tempfile.gettempdir()) / f"lowcarb-{os.getuid()}"
    if _usable(directory) and not directory.is_symlink() and directory.stat().st_uid == os.getuid():
        _log.warning(
            "%s cannot be used, so ledger and journals go to %s, which may not last: set LOWCARB_HOME", usual, directory
        )
        return directory
    raise LedgerError(str(directory), "no directory can be written", "Set LOWCARB_HOME to one that can")
