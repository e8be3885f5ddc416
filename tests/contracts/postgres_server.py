"""A PostgreSQL server of one's own, in a temporary directory, for tests and benchmarks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """Where initdb and pg_ctl are; None where they are not installed."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    return next((one for one in [*places, *([Path(found).parent] if found else [])] if (one / "initdb").exists()), None)


@contextmanager
def server() -> Iterator[str]:
    """URL of the server's database; it runs as an ordinary user, which it insists on."""
    there = programs()
    if there is None:
        raise FileNotFoundError("PostgreSQL is not installed (Debian: postgresql)")
    with tempfile.TemporaryDirectory(prefix="lowcarb-postgres-", dir="/tmp") as place:
        as_user = []
        if os.geteuid() == 0:
            shutil.chown(place, "nobody")
            as_user = ["runuser", "-u", "nobody", "--"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data = f"{place}/data"
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": place}
        init = ["-D", data, "-U", "lowcarb", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run([*as_user, there / "initdb", *init], **quiet)
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {place}"
        subprocess.run(
            [*as_user, there / "pg_ctl", "-D", data, "-w", "-l", f"{place}/log", "-o", options, "start"], **quiet
        )
        try:
            yield f"postgresql://lowcarb@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*as_user, there / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], **quiet)
