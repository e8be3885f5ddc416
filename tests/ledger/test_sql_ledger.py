"""The SQLite file: private, shared between processes, and never overwritten."""

from __future__ import annotations

import json
import logging
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from lowcarb.errors import LedgerError, SettingError
from lowcarb.ledger import open_ledger
from lowcarb.ledger.file import bears_wal, filesystem_of, set_aside
from lowcarb.ledger.query import Query, Sum
from lowcarb.ledger.record import run_id_of
from lowcarb.ledger.sql import SqlLedger
from lowcarb.ledger.tables import REVISIONS, SCHEMA_VERSION


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "ledger.db"


def begin(ledger, attempt_id="a1", **given):
    facts = {"key": "k", "kind": "track", "name": "n", "study": None, "started_ns": 1, **given}
    return ledger.begin(attempt_id=attempt_id, **facts)


def pragma(path, name):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]
    finally:
        connection.close()


def test_what_one_process_wrote_another_reads(path):
    begin(SqlLedger(path))

    assert [run.key for run in SqlLedger(path).runs()] == ["k"]


def test_files_and_directory_are_for_the_user_only(path):
    begin(SqlLedger(path))

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}


def test_the_file_carries_its_mark_and_version(path):
    SqlLedger(path)

    assert (pragma(path, "application_id"), pragma(path, "user_version")) == (0x4C434C47, SCHEMA_VERSION)


@pytest.mark.parametrize(("kind", "mode"), [("ext4", "wal"), ("nfs4", "delete"), ("fuse.sshfs", "delete")])
def test_the_write_ahead_log_is_used_only_off_network_file_systems(path, tmp_path, kind, mode):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / {kind} rw 0 0\n")
    begin(SqlLedger(path, mounts=mounts))

    assert pragma(path, "journal_mode") == mode


def test_a_ledger_that_moved_to_a_network_file_system_leaves_the_write_ahead_log(path, tmp_path):
    mounts = tmp_path / "mounts"
    for kind in ("ext4", "lustre"):
        mounts.write_text(f"/dev/sda / {kind} rw 0 0\n")
        begin(SqlLedger(path, mounts=mounts))

    assert pragma(path, "journal_mode") == "delete"


def test_the_innermost_and_latest_mount_decides(tmp_path):
    mounts = "a / ext4 rw\nb /home nfs4 rw\nc /home/my\\040disk xfs rw\nd /data ext4 rw\ne /data cifs rw\nbroken\n"

    assert [
        filesystem_of(tmp_path.__class__(one), mounts)
        for one in ("/x", "/home/x", "/home/my disk/x", "/data/x", "/homer")
    ] == ["ext4", "nfs4", "xfs", "cifs", "ext4"]


def test_without_a_table_of_mounts_there_is_no_write_ahead_log(tmp_path):
    assert not bears_wal(tmp_path, tmp_path / "nothing")


def test_a_newer_ledger_is_refused_and_left_alone(path):
    begin(SqlLedger(path))
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()

    with pytest.raises(LedgerError, match="newer lowcarb"):
        SqlLedger(path)
    assert [one.name for one in path.parent.iterdir()] == ["ledger.db"]


def foreign_database(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmark (url TEXT)")
    connection.commit()
    connection.close()


def cut_in_half(path):
    ledger = SqlLedger(path)
    begin(ledger)
    ledger.finish("a1", status="done", ended_ns=1, document={"long": "x" * 50_000})
    path.write_bytes(path.read_bytes()[:20_480])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("short"),
        lambda path: path.write_text("a,b\n1,2\n" * 1_000),
        lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4_080),
        foreign_database,
        cut_in_half,
    ],
    ids=["short", "csv", "garbage", "foreign", "cut"],
)
def test_a_foreign_or_damaged_file_is_set_aside_with_a_warning_and_never_overwritten(path, spoil, caplog):
    path.parent.mkdir()
    spoil(path)
    before = path.read_bytes()

    with caplog.at_level(logging.WARNING):
        ledger = SqlLedger(path)
    begin(ledger)

    (aside,) = (one for one in path.parent.glob("ledger.db.aside-*") if one.suffix[-1].isdigit())
    assert aside.read_bytes() == before
    assert "set aside" in caplog.text
    assert len(ledger.runs()) == 1


def test_companion_files_go_with_the_file_set_aside(path):
    path.parent.mkdir()
    path.write_text("short")
    path.with_name("ledger.db-wal").write_text("stale")

    SqlLedger(path)

    assert [one.read_text() for one in path.parent.glob("ledger.db.aside-*-wal")] == ["stale"]


def test_setting_aside_at_the_same_time_spares_the_new_ledger(path):
    path.parent.mkdir()
    path.write_text("short")
    threads = [threading.Thread(target=SqlLedger, args=(path,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [one.read_text() for one in path.parent.glob("ledger.db.aside-*")] == ["short"]
    set_aside(path.with_name("gone"), "is gone")


def test_an_empty_file_is_a_new_ledger(path):
    path.parent.mkdir()
    path.touch()
    begin(SqlLedger(path))

    assert [one.name for one in path.parent.iterdir()] == ["ledger.db"]


def test_damage_that_appears_while_open_is_a_ledger_error(path):
    ledger = SqlLedger(path)
    begin(ledger)
    path.write_text("a,b\n1,2\n" * 1_000)

    with pytest.raises(LedgerError, match="damaged"):
        ledger.runs()


@pytest.mark.parametrize("name", ["", "no/such\0place"])
def test_a_path_that_cannot_be_is_refused(name):
    with pytest.raises(SettingError, match="ledger"):
        open_ledger(name)


def test_a_url_of_another_kind_is_refused_without_showing_its_password():
    with pytest.raises(SettingError, match="mysql://") as caught:
        open_ledger("mysql://me:secret@host/db")
    assert "secret" not in str(caught.value)


def test_a_directory_or_a_place_below_a_file_is_a_ledger_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "ledger.db"):
        with pytest.raises(LedgerError):
            SqlLedger(path)


def test_a_url_opens_the_file_it_names(path):
    begin(open_ledger(f"sqlite:///{path}"))

    assert len(open_ledger(path).runs()) == 1


WRITER = """
import sys, uuid
from lowcarb.ledger import open_ledger
ledger = open_ledger(sys.argv[1])
for number in range(10):
    one = uuid.uuid4().hex
    ledger.begin(attempt_id=one, key=f"key {number % 5}", kind="track", name="n", study=None, started_ns=number)
    ledger.finish(one, status="done", ended_ns=number, document={"x": "y" * 5000})
"""


def test_eight_processes_lose_and_double_nothing(path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) for _ in range(8)]
    assert [writer.wait(60) for writer in writers] == [0] * 8

    ledger = SqlLedger(path)
    attempts = [one for run in ledger.runs() for one in ledger.attempts(run.id)]
    assert len({one.id for one in attempts}) == len(attempts) == 80
    assert {one.status for one in attempts} == {"done"}
    assert len(ledger.runs()) == 5
    assert sorted(one.number for one in ledger.attempts(ledger.run("key 0").id)) == list(range(1, 17))
    assert list(path.parent.glob("*aside*")) == []


FIRST_VERSION = """
CREATE TABLE run (id VARCHAR(32) NOT NULL, "key" TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, study TEXT,
    created_ns BIGINT NOT NULL, PRIMARY KEY (id));
CREATE INDEX run_by_study ON run (study);
CREATE INDEX run_by_time ON run (created_ns);
CREATE TABLE attempt (id TEXT NOT NULL, run_id VARCHAR(32) NOT NULL, number INTEGER NOT NULL, status TEXT NOT NULL,
    started_ns BIGINT NOT NULL, ended_ns BIGINT, energy_j FLOAT, operational_g FLOAT, document TEXT NOT NULL,
    PRIMARY KEY (id), UNIQUE (run_id, number), FOREIGN KEY(run_id) REFERENCES run (id));
PRAGMA application_id=0x4C434C47;
PRAGMA user_version=1;
"""
HOURS = {"site": {"id": "fra"}, "hours": [{"start_ns": 0, "energy_j": {"mid": 2.5}}]}


@pytest.fixture
def old(path):
    """A file as the first version left it, with a run of two attempts."""
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript(FIRST_VERSION)
    run = (run_id_of("k\0"), "k\\0000", "track", "Näme", "s", 1_793_500_000_000_000_000)
    connection.execute("INSERT INTO run VALUES (?, ?, ?, ?, ?, ?)", run)
    for one in (
        ("a1", run[0], 1, "interrupted", run[-1], 5, 2.5, 0.25, json.dumps(HOURS)),
        ("a2", run[0], 2, "running", run[-1] + 1, None, None, None, "{}"),
    ):
        connection.execute("INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", one)
    connection.commit()
    connection.close()
    return path


def test_a_ledger_of_the_first_version_is_brought_up_with_nothing_lost(old):
    ledger = SqlLedger(old)

    run = ledger.run("k\0")
    assert (run.key, run.name, run.study) == ("k\0", "Näme", "s")
    first, second = ledger.attempts(run.id)
    assert (first.id, first.energy_j, first.document) == ("a1", 2.5, HOURS)
    (row,) = ledger.page(Query(study="s", text="näme")).rows
    assert (row.attempts, row.status, row.energy_j, row.site) == (2, second.status, 2.5, None)
    assert list(ledger.sums(Query(), "month")) == [Sum("2026-11", 1, 2.5, 0.25, 0)]
    assert pragma(old, "user_version") == SCHEMA_VERSION
    with sqlite3.connect(old) as connection:
        assert connection.execute("SELECT * FROM hour").fetchall() == [("a1", "", 0, 2.5)]
        assert connection.execute("SELECT * FROM lowcarb_version").fetchall() == [(REVISIONS[-1],)]
    connection.close()
    ledger.finish("a2", status="done", ended_ns=9, document=HOURS)
    assert len(SqlLedger(old).page(Query(site="fra")).rows) == 1


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(old, monkeypatch):
    monkeypatch.setattr("lowcarb.ledger.record.json.loads", lambda text: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        SqlLedger(old)
    monkeypatch.undo()

    assert pragma(old, "user_version") == 1
    assert len(SqlLedger(old).runs()) == 1


def test_an_upgraded_ledger_and_a_new_one_have_the_same_schema(old, tmp_path):
    SqlLedger(old)
    SqlLedger(tmp_path / "new.db")

    def columns(path):
        connection = sqlite3.connect(path)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index') ORDER BY name")
        found = {name: connection.execute(f"PRAGMA table_xinfo('{name}')").fetchall() for (name,) in tables.fetchall()}
        connection.close()
        return {name: sorted((c[1] or "", c[2], c[3]) for c in facts) for name, facts in found.items()}

    assert columns(old) == columns(tmp_path / "new.db")


def test_opening_a_current_ledger_loads_no_alembic(path):
    SqlLedger(path)
    program = "import sys; from lowcarb.ledger import open_ledger; open_ledger(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)

    assert not {"alembic", "psycopg"} & set(done.stdout.split())
