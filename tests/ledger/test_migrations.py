"""Ledgers of older versions are brought up, in a file and on a real server, with nothing lost."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from lowcarb.errors import LedgerError
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.ledger.query import GROUPS, Query
from lowcarb.ledger.record import run_id_of
from lowcarb.ledger.tables import METADATA, REVISIONS, SCHEMA_VERSION

RUNS = 603
"""More than are brought up at a time."""
FIRST_VERSION = """
CREATE TABLE run (id VARCHAR(32) NOT NULL, "key" TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, study TEXT,
    created_ns BIGINT NOT NULL, PRIMARY KEY (id));
CREATE INDEX run_by_study ON run (study);
CREATE INDEX run_by_time ON run (created_ns);
CREATE TABLE attempt (id TEXT NOT NULL, run_id VARCHAR(32) NOT NULL, number INTEGER NOT NULL, status TEXT NOT NULL,
    started_ns BIGINT NOT NULL, ended_ns BIGINT, energy_j FLOAT, operational_g FLOAT, document TEXT NOT NULL,
    PRIMARY KEY (id), UNIQUE (run_id, number), FOREIGN KEY(run_id) REFERENCES run (id));
CREATE TABLE lowcarb_version (version_num VARCHAR(32) NOT NULL, PRIMARY KEY (version_num));
INSERT INTO lowcarb_version VALUES ('0001');
"""
SECOND_VERSION_SUMS = """
DROP TABLE total;
CREATE TABLE total (month VARCHAR(7) NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, study TEXT,
    study_mark VARCHAR(32), site TEXT, site_mark VARCHAR(32), runs INTEGER NOT NULL, energy_j FLOAT NOT NULL,
    operational_g FLOAT NOT NULL, unknown INTEGER NOT NULL);
CREATE INDEX total_of ON total (month, kind, status, study_mark, site_mark);
UPDATE lowcarb_version SET version_num = '0002';
"""


def database(place):
    url = place.replace("postgresql:", "postgresql+psycopg:") if "://" in place else f"sqlite:///{place}"
    return create_engine(url, poolclass=NullPool)


def execute(place, statements, version):
    """Run statements, and write down the version of the schema where a file has it."""
    with database(place).begin() as connection:
        for one in statements.split(";\n"):
            if one.strip():
                connection.execute(text(one))
        if connection.dialect.name == "sqlite":
            connection.execute(text(f"PRAGMA application_id={0x4C434C47}"))
            connection.execute(text(f"PRAGMA user_version={version}"))


def steps(runs=RUNS):
    """What was done in a ledger that is brought up: attempts with their ends, of runs with up to three."""
    chance = random.Random(7)
    for number in range(runs):
        started_ns = 1_760_000_000_000_000_000 + number * 10**13
        for attempt in range(chance.choice((1, 1, 2, 3))):
            status = chance.choice(("done", "failed", "running"))
            energy_j = chance.choice((None, 0.5, 2.25, 1e6))
            document = {
                "site": {"id": chance.choice(("fra", "swe"))},
                "footprint": {"energy_j": {"mid": energy_j}, "operational_g": {"mid": energy_j}},
                "hours": [{"start_ns": 0, "energy_j": {"mid": 0.5}}] * attempt,
            }
            begun = {
                "attempt_id": f"{number}-{attempt}", "key": f"key {number}", "kind": ("track", "trial")[number % 2],
                "name": f"Näme {number}", "study": (None, "s", "x" * 3_000)[number % 3],
                "started_ns": started_ns + attempt,
            }  # fmt: skip
            yield begun, status, document


def do(ledger, done):
    for begun, status, document in done:
        ledger.begin(**begun)
        if status != "running":
            ledger.finish(begun["attempt_id"], status=status, ended_ns=begun["started_ns"] + 5, document=document)


def rows_of_first_version():
    runs, attempts = {}, []
    for begun, status, document in steps():
        run_id = run_id_of(begun["key"])
        facts = {"id": run_id, "created_ns": begun["started_ns"]} | {
            name: begun[name] for name in ("key", "kind", "name", "study")
        }
        runs.setdefault(run_id, facts)
        ended = status != "running"
        energy_j = document["footprint"]["energy_j"]["mid"] if ended else None
        number = 1 + sum(one["run_id"] == run_id for one in attempts[-3:])
        attempts.append({
            "id": begun["attempt_id"], "run_id": run_id, "number": number,
            "status": status, "started_ns": begun["started_ns"], "ended_ns": begun["started_ns"] + 5 if ended else None,
            "energy_j": energy_j, "operational_g": energy_j, "document": json.dumps(document) if ended else "{}",
        })  # fmt: skip
    return list(runs.values()), attempts


@pytest.fixture
def first(place):
    """A ledger as the first version left it."""
    execute(place, FIRST_VERSION, 1)
    with database(place).begin() as connection:
        for table, rows in zip(("run", "attempt"), rows_of_first_version(), strict=True):
            names = ", ".join(f":{name}" for name in rows[0])
            connection.execute(text(f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({names})"), rows)
    return place


def truth(runs=RUNS):
    """What it is to be."""
    ledger = MemoryLedger()
    do(ledger, steps(runs))
    return ledger


def all_rows(ledger):
    rows, after = [], None
    while True:
        page = ledger.page(Query(), limit=1_000, after=after)
        rows += page.rows
        if page.next is None:
            return rows
        after = page.next


def same(ledger, expected):
    assert all_rows(ledger) == all_rows(expected)
    for query in (Query(study="s"), Query(site="fra", kind="trial"), Query(text="näme 7", order="energy")):
        assert ledger.page(query).rows == expected.page(query).rows
    for by in (*GROUPS, "tag:project"):
        assert list(ledger.sums(Query(), by)) == list(expected.sums(Query(), by))
    some = run_id_of("key 32")
    assert list(ledger.attempts(some)) == list(expected.attempts(some))


def test_a_ledger_of_the_first_version_is_brought_up(opened, first):
    ledger, expected = opened(first), truth()

    same(ledger, expected)
    hours = sum(len(document["hours"]) for _, status, document in steps() if status != "running")
    with database(first).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM hour")).scalar() == hours
        assert connection.execute(text("SELECT version_num FROM lowcarb_version")).scalars().all() == [REVISIONS[-1]]
    for one in (ledger, expected):
        do(one, [({"attempt_id": "new", "key": "new", "kind": "track", "name": "n", "study": "s", "started_ns": 1},
                  "done", {"site": {"id": "fra"}})])  # fmt: skip
        one.tag(run_id_of("new"), {"project": "x"})
        one.add_readings("new", [("cpu", 1, 2.0)])
    same(ledger, expected)
    ledger.close()
    same(opened(first), expected)


def test_a_ledger_of_the_second_version_is_brought_up(opened, place):
    ledger = opened(place)
    do(ledger, steps(40))
    ledger.tag(run_id_of("key 1"), {"project": "x"})
    ledger.close()
    expected = truth(40)
    expected.tag(run_id_of("key 1"), {"project": "x"})
    execute(place, SECOND_VERSION_SUMS, 2)

    same(opened(place), expected)


def test_a_ledger_that_was_brought_up_has_the_schema_of_a_new_one(opened, first, tmp_path):
    opened(first).close()
    brought = schema(first)
    if "://" in first:
        with database(first).begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        new = first
    else:
        new = str(tmp_path / "new.db")
    opened(new).close()

    assert brought == schema(new)
    assert set(brought) == set(METADATA.tables)


def schema(place):
    seen = inspect(database(place))
    return {
        table: (
            sorted((one["name"], str(one["type"]), one["nullable"]) for one in seen.get_columns(table)),
            sorted((one["name"] or "", tuple(one["column_names"])) for one in seen.get_indexes(table)),
            seen.get_pk_constraint(table)["constrained_columns"],
        )
        for table in seen.get_table_names()
    }


OPEN = "import sys; from lowcarb.ledger import open_ledger; print(len(open_ledger(sys.argv[1]).runs(limit=10_000)))"


def test_processes_that_open_an_old_ledger_at_the_same_time_bring_it_up_once(opened, first):
    openers = [
        subprocess.Popen([sys.executable, "-c", OPEN, first], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]

    assert [one.communicate(timeout=120)[0].strip() for one in openers] == [str(RUNS)] * 4
    same(opened(first), truth())


def test_what_fails_on_the_way_leaves_the_ledger_as_it_was(opened, first):
    with database(first).begin() as connection:
        connection.execute(text("UPDATE attempt SET document = 'no JSON' WHERE id = '602-0'"))
    with pytest.raises((LedgerError, ValueError)):
        opened(first)

    assert set(schema(first)) == {"run", "attempt", "lowcarb_version"}
    with database(first).begin() as connection:
        assert connection.execute(text("SELECT version_num FROM lowcarb_version")).scalars().all() == ["0001"]
        connection.execute(text("UPDATE attempt SET document = '{}' WHERE id = '602-0'"))
    assert len(opened(first).runs(limit=10_000)) == RUNS


def test_a_newer_ledger_on_a_server_is_refused_and_left_alone(opened, empty_postgres):
    opened(empty_postgres).close()
    execute(empty_postgres, "UPDATE lowcarb_version SET version_num = '9999'", SCHEMA_VERSION)

    with pytest.raises(LedgerError, match="newer lowcarb"):
        opened(empty_postgres)
    assert "run" in schema(empty_postgres)


def test_a_file_keeps_the_mark_of_its_version(opened, tmp_path):
    place = tmp_path / "ledger.db"
    execute(str(place), FIRST_VERSION, 1)
    opened(place).close()

    with sqlite3.connect(place) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()
