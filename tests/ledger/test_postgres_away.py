"""A ledger in PostgreSQL as tracking and the commands use it: also while its server is away."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from lowcarb.ledger import ledger_name, open_ledger
from lowcarb.tracker.recover import JOURNALS

psycopg = pytest.importorskip("psycopg")

_there = Path(__file__).parents[1] / "contracts" / "postgres_server.py"
_spec = importlib.util.spec_from_file_location("postgres_server", _there)
postgres_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(postgres_server)

SECRET = "s3cret"


class Server:
    """A server that can be stopped and started again; its URL carries a password."""

    def __init__(self, url: str, data: Path) -> None:
        self.url, self.data = url.replace("lowcarb@", f"lowcarb:{SECRET}@"), data

    def control(self, *words: str) -> None:
        as_user = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
        command = [*as_user, postgres_server.programs() / "pg_ctl", "-D", self.data, "-w", *words]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, cwd=self.data.parent, **quiet)

    def stop(self) -> None:
        self.control("-m", "immediate", "stop")

    def start(self) -> None:
        # The options of the first start, port and socket directory among them, as the server wrote them down.
        self.control("-l", str(self.data.parent / "log"), "restart")


@pytest.fixture
def server():
    if postgres_server.programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with postgres_server.server() as url:
        with psycopg.connect(url) as connection:
            data = Path(connection.execute("SHOW data_directory").fetchone()[0])
        one = Server(url, data)
        yield one
        with suppress(subprocess.CalledProcessError):
            one.start()


@pytest.fixture
def lowcarb(tmp_path):
    """Runs the command with a home of its own."""
    environ = {**os.environ, "LOWCARB_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    environ.pop("LOWCARB_LEDGER", None)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lowcarb", *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)

    run.home = tmp_path / "home"
    return run


def listed(lowcarb, url):
    done = lowcarb("ledger", "list", "--json", "--ledger", url)
    assert done.returncode == 0, done.stderr
    return [
        (run["name"], [attempt["status"] for attempt in run["attempts"]]) for run in json.loads(done.stdout)["runs"]
    ]


def test_a_tracked_command_is_in_the_ledger_once_and_in_no_file_is_its_password(server, lowcarb):
    done = lowcarb("track", "--name", "one", "--ledger", server.url, "--", "true")

    assert done.returncode == 0, done.stderr
    assert listed(lowcarb, server.url) == [("one", ["done"])]
    assert listed(lowcarb, server.url) == [("one", ["done"])]
    files = [one for one in lowcarb.home.rglob("*") if one.is_file()]
    assert any(ledger_name(server.url).encode() in one.read_bytes() for one in files)
    assert [one for one in files if SECRET.encode() in one.read_bytes()] == []
    assert not (lowcarb.home / "ledger.db").exists()


def test_a_server_that_goes_away_during_a_run_costs_neither_the_exit_code_nor_the_run(server, lowcarb):
    open_ledger(server.url).close()
    as_user = "runuser -u nobody -- " if os.geteuid() == 0 else ""
    stop = (
        f"cd {server.data.parent}; {as_user}{postgres_server.programs()}/pg_ctl -D {server.data} -m immediate -w stop"
    )

    done = lowcarb("track", "--name", "two", "--ledger", server.url, "--", "sh", "-c", f"{stop} >&2; exit 7")

    assert done.returncode == 7, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert len(list((lowcarb.home / JOURNALS).glob("*.jsonl"))) == 1
    refused = lowcarb("ledger", "list", "--ledger", server.url)
    assert refused.returncode not in (0, 7)
    assert SECRET not in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr
    server.start()
    assert listed(lowcarb, server.url) == [("two", ["failed"])]
    assert listed(lowcarb, server.url) == [("two", ["failed"])]
    assert list((lowcarb.home / JOURNALS).glob("*.jsonl")) == []


def test_a_run_is_not_taken_into_another_ledger(server, lowcarb):
    server.stop()
    assert lowcarb("track", "--name", "three", "--ledger", server.url, "--", "true").returncode == 0

    done = lowcarb("ledger", "list", "--json")

    assert json.loads(done.stdout)["runs"] == []


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:s3cret@host/db",
        "postgresql://me:s3cret@[",
        "postgresql://me:s3cret@host:port/db",
        "postgresql://me:a/s3cret@host/db",
    ],
)
def test_a_url_that_is_none_is_refused_or_kept_without_its_password(lowcarb, url):
    done = lowcarb("track", "--ledger", url, "--", "true")

    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    files = [one for one in lowcarb.home.rglob("*") if one.is_file()]
    assert [one for one in files if SECRET.encode() in one.read_bytes()] == []
