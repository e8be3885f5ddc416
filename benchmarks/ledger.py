"""The ledger's targets: writers that are killed, a million runs, ingest of readings.

    python benchmarks/ledger.py --runs 1000000 [--postgres]
    python benchmarks/ledger.py --runs 1000000 --ledger PATH_OR_URL

`--postgres` starts a server of its own, from Debian's package. `--ledger` keeps what it fills, to be asked again or
shown by `lowcarb serve`, and leaves writers and readings out. Prints one row a figure.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from lowcarb.ledger import open_ledger, totals
from lowcarb.ledger.book import new_run
from lowcarb.ledger.query import Query, rank
from lowcarb.ledger.record import mark_of, run_id_of
from lowcarb.ledger.tables import ATTEMPT, RUN, TAG

BATCH, REPEATS, WRITERS, EACH = 10_000, 15, 8, 50
FIRST_NS, EVERY_NS, DAY_NS = 1_600_000_000_000_000_000, 200_000_000_000, 86_400_000_000_000
"""The first run, and the time from one to the next; a day [ns]."""
DOCUMENT = json.dumps({"filling": "x" * 1_000})
"""As a stand-in: what is tracked takes some kilobytes a run."""
KILLING_S = 120.0
"""No writer is killed after so long, so that an overloaded machine comes to an end too [s]."""
WRITER = """
import sys
from lowcarb.ledger import open_ledger
ledger = open_ledger(sys.argv[1])
print("open", flush=True)
for number in range(50):
    one = f"{sys.argv[2]}-{number}"
    begun = ledger.begin(attempt_id=one, key=one, kind="track", name="n", study=None, started_ns=number)
    if begun.status != "done":
        ledger.finish(one, status="done", ended_ns=number, document={})
"""


def killed_writers(url: str) -> tuple[int, int, int]:
    """Runs and attempts that are there after 8 writers of 50, one killed a second and begun again; and kills.

    Only a writer that has the ledger open is killed: to start one may take longer than a second.
    """

    def start(number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WRITER, url, str(number)], stdout=subprocess.PIPE)

    open_ledger(url).close()
    writers, kills = [start(number) for number in range(WRITERS)], 0
    began_s = last_s = time.monotonic()
    while any(one.poll() != 0 for one in writers):
        time.sleep(0.02)
        at_work = [one for one in writers if one.poll() is None and select.select([one.stdout], [], [], 0)[0]]
        now_s = time.monotonic()
        if at_work and now_s - last_s >= 1.0 and now_s - began_s < KILLING_S:
            random.choice(at_work).kill()
            last_s, kills = now_s, kills + 1
        for number, one in enumerate(writers):
            if one.poll() not in (None, 0):
                writers[number] = start(number)
    ledger = open_ledger(url)
    runs = ledger.runs(limit=10_000)
    attempts = [one for run in runs for one in ledger.attempts(run.id)]
    assert all(one.status == "done" for one in attempts)
    return len(runs), len({one.id for one in attempts}) if len(attempts) == len(runs) else -1, kills


def fill(ledger: Any, runs: int) -> None:
    """Put runs in by the tables and the database's own bulk way, as beginning and ending a million takes an hour.

    Indexes are made when all are in, so they are denser than those that have grown.
    """
    made = dict.fromkeys((RUN, ATTEMPT, TAG))
    indexes = [index for table in made for index in table.indexes]

    def work(connection: Any) -> None:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA cache_size=-1000000")
        for index in indexes:
            index.drop(connection)
        for start in range(0, runs, BATCH):
            rows = zip(*map(rows_of, range(start, min(runs, start + BATCH))), strict=True)
            for table, some in zip(made, rows, strict=True):
                put(connection, table, some)
        for index in indexes:
            index.create(connection)

    ledger._do(work, write=True)  # noqa: SLF001
    ledger.vacuum()


def rows_of(number: int) -> tuple[dict[str, object], dict[str, object], dict[str, object]]:
    """A run, its attempt and its tag: one of 1,000 studies, 7 sites, 20 projects, over six years."""
    key, site, tag = f"run {number}", f"site {number % 7}", ("project", f"project {number % 20}")
    made_ns = FIRST_NS + number * EVERY_NS
    run = new_run(run_id_of(key), key, ("track", "trial")[number % 2], key, f"study {number % 1000}", made_ns)
    figures = {
        "status": "failed" if number % 10 == 0 else "done", "ended_ns": made_ns + 1,
        "energy_j": None if number % 50 == 0 else float(number % 97), "operational_g": 1.0,
    }  # fmt: skip
    ranks = {"energy_rank": rank(figures["energy_j"]), "carbon_rank": 1.0, "site": site, "site_mark": mark_of(site)}
    attempt = {"id": key, "run_id": run["id"], "number": 1, "started_ns": made_ns, "document": DOCUMENT, "site": site}
    marks = {"name_mark": mark_of(tag[0]), "value_mark": mark_of(tag[1]), "name": tag[0], "value": tag[1]}
    tagged = {"run_id": run["id"], "created_ns": made_ns, **marks}
    return {**run, **figures, **ranks, "attempts": 1}, {**attempt, **figures}, tagged


def put(connection: Any, table: Any, rows: Sequence[Mapping[str, object]]) -> None:
    """Rows into a table. The texts here have nothing to escape, so that they go in as they are."""
    into = f"{table.name} ({', '.join(rows[0])})"
    if connection.dialect.name == "sqlite":
        places = ", ".join("?" * len(rows[0]))
        connection.exec_driver_sql(f"INSERT INTO {into} VALUES ({places})", [tuple(row.values()) for row in rows])
        return
    with connection.connection.driver_connection.cursor().copy(f"COPY {into} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))


def times_ms(work: Callable[[], object]) -> tuple[float, float]:
    """The median of some tries, and the least, which says more where the machine is shared."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e3)
    return median(times), min(times)


def questions(ledger: Any, runs: int) -> dict[str, Callable[[], object]]:
    """What is asked of a ledger, by name: the targets first."""
    some = run_id_of(f"run {runs // 2}")
    asked: dict[str, Callable[[], object]] = {
        "list page": lambda: ledger.page(Query()),
        "filter by status, site and text": lambda: ledger.page(Query(status="failed", site="site 3", text="7")),
        "filter by study": lambda: ledger.page(Query(study="study 7")),
        "filter by tag": lambda: ledger.page(Query(tags={"project": "project 7"})),
        "filter by text of one run": lambda: ledger.page(Query(text=f"un {runs // 2}")),
        "filter by text that no run has": lambda: ledger.page(Query(text="nowhere")),
        "list page by energy": lambda: ledger.page(Query(order="energy")),
        "one run": lambda: (ledger.run(some), ledger.attempts(some)),
    }
    last_ns = FIRST_NS + runs * EVERY_NS
    filters = {
        "": Query(),
        "of a kind": Query(kind="trial"),
        "of a status": Query(status="failed"),
        "of a site": Query(site="site 3"),
        "of a study": Query(study="study 7"),
        "since some day": Query(since_ns=last_ns - 300 * DAY_NS),
        "of 30 days": Query(since_ns=last_ns - 90 * DAY_NS, until_ns=last_ns - 60 * DAY_NS),
        "of a tag": Query(tags={"project": "project 7"}),
        "of a text": Query(text=f"un {runs // 2}"),
    }
    for words, query in filters.items():
        for by in ("month", "study", "site", "status", "kind", "tag:project"):
            asked[f"totals by {by} {words}".strip()] = lambda query=query, by=by: ledger.sums(query, by)
    return asked


def report(what: str, url: str, killed_url: str | None, runs: int) -> None:
    """Print the figures of one kind of ledger, each as soon as it is known."""

    def row(text: str) -> None:
        print(f"{what}: {text}", flush=True)

    ledger = open_ledger(url)
    if not ledger.runs(limit=1):
        began = time.perf_counter()
        fill(ledger, runs)
        row(f"{runs:,} runs put in, in {time.perf_counter() - began:.1f} s")
        began = time.perf_counter()
        ledger._do(totals.rebuild, write=True)  # noqa: SLF001
        row(f"sums reckoned anew in {time.perf_counter() - began:.1f} s")
    for name, work in questions(ledger, runs).items():
        middle, least = times_ms(work)
        row(f"{name} {middle:.1f} ms (median of {REPEATS}, the least {least:.1f}, {runs:,} runs)")
    if killed_url is None:
        return
    ledger.begin(attempt_id="r", key="r", kind="track", name="r", study=None, started_ns=1)
    rows = [(f"c{number % 8}", number, 1.0) for number in range(200_000)]
    began = time.perf_counter()
    for start in range(0, len(rows), BATCH):
        ledger.add_readings("r", rows[start : start + BATCH])
    row(f"ingest {len(rows) / (time.perf_counter() - began):,.0f} readings a second")
    ledger.close()
    there, whole, kills = killed_writers(killed_url)
    row(f"{there} of {WRITERS * EACH} runs, {whole} attempts, {kills} kills")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--ledger", help="fill this one where it is empty, ask it, and leave it there")
    asked = parser.parse_args()
    if asked.ledger:
        report(asked.ledger.partition(":")[0], asked.ledger, None, asked.runs)
        return
    with tempfile.TemporaryDirectory() as place:
        report("SQLite", f"{place}/ledger.db", f"{place}/killed.db", asked.runs)
    if asked.postgres:
        there = Path(__file__).parents[1] / "tests" / "contracts" / "postgres_server.py"
        spec = importlib.util.spec_from_file_location("postgres_server", there)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with module.server() as killed_url, module.server() as url:
            report("PostgreSQL", url, killed_url, asked.runs)


if __name__ == "__main__":
    main()
