"""The ledger's file: private, never overwritten, and in a journal mode that its file system bears."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path

from lowcarb.errors import LedgerError
from lowcarb.ledger.home import PRIVATE_DIRECTORY

PRIVATE_FILE = 0o600
SMALLEST_DATABASE = 512
"""Bytes of the smallest SQLite database; SQLite takes a shorter file for an empty one and writes over it."""
COMPANIONS = ("-wal", "-shm", "-journal")
"""Files that belong to a database file; a stale one would be read into the next database of that name."""
# fmt: off
NETWORK_FILESYSTEMS = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
})
# fmt: on
"""Where SQLite's write-ahead log must not be: its index is shared memory, which these do not share between hosts.
(sqlite.org/wal.html)"""

_log = logging.getLogger(__name__)


def make_private(path: Path) -> None:
    """Make the file and its directory, if they are not there, for this user's eyes only.

    Raises:
        LedgerError: they cannot be made.
    """
    try:
        path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        if not path.exists():
            # Not exclusively: another process may be making it too, and both may go on.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, PRIVATE_FILE))
    except OSError as error:
        raise LedgerError(
            str(path), f"it cannot be made ({error.strerror})", "Name a ledger in another place"
        ) from error


def is_stub(path: Path) -> bool:
    """Whether the file is neither empty nor long enough for a database. Told without opening it.

    Opening and closing it would take from SQLite the locks that this process may hold on it.
    """
    return 0 < path.stat().st_size < SMALLEST_DATABASE


def set_aside(path: Path, reason: str) -> None:
    """Rename a file that is no ledger, with what belongs to it; nothing is deleted. Logs a warning.

    Two processes may find the same bad file: the lock and the second look see to it that the one who comes later does
    not rename the good ledger that the first has made since.

    Raises:
        LedgerError: it cannot be renamed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _stuck(path, reason, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
            return
        aside = path.with_name(f"{path.name}.aside-{time.time_ns()}")
        for suffix in COMPANIONS:
            companion = path.with_name(path.name + suffix)
            if companion.exists():
                companion.rename(aside.with_name(aside.name + suffix))
        path.rename(aside)
    except OSError as error:
        raise _stuck(path, reason, error) from error
    finally:
        os.close(descriptor)
    _log.warning("%s %s: it was set aside as %s and a new ledger begun", path, reason, aside.name)


def filesystem_of(path: Path, mounts: str) -> str | None:
    """Type of the file system that holds a path, by the text of `/proc/mounts`; None where that does not tell."""
    best, kind = -1, None
    for line in mounts.splitlines():
        parts = line.split()
        if len(parts) < 3:
            continue
        mount = parts[1].encode("latin-1", "replace").decode("unicode_escape")  # \040 is a space
        # A later mount on the same point covers the earlier one.
        if path.is_relative_to(mount) and len(mount) >= best:
            best, kind = len(mount), parts[2]
    return kind


def bears_wal(path: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether SQLite's write-ahead log may be used there: only on a file system known to be this machine's own."""
    try:
        kind = filesystem_of(path.resolve(), mounts.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return False
    return kind is not None and kind not in NETWORK_FILESYSTEMS and not kind.startswith("fuse")


def _stuck(path: Path, reason: str, error: OSError) -> LedgerError:
    return LedgerError(
        str(path), f"{reason}, and it cannot be set aside ({error.strerror})", "Name a ledger in another place"
    )
