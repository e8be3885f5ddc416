"""The ledger's targets: writers that are killed, a million runs, ingest of readings.

    python benchmarks/ledger.py --runs 1000000 [--postgres]

`--postgres` starts a server of its own, from Debian's package. Prints one row a figure.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from lowcarb.ledger import open_ledger, totals
from lowcarb.ledger.book import new_run
from lowcarb.ledger.query import Query
from lowcarb.ledger.record import mark_of, run_id_of
from lowcarb.ledger.tables import ATTEMPT, RUN

BATCH, REPEATS, WRITERS, EACH = 10_000, 15, 8, 50
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
    """Put runs in by the tables, as beginning and ending a million takes an hour."""
    for start in range(0, runs, BATCH):
        rows, attempts = [], []
        for number in range(start, min(runs, start + BATCH)):
            key, study, site = f"run {number}", f"study {number % 1000}", f"site {number % 7}"
            made_ns = 1_600_000_000_000_000_000 + number * 200_000_000_000
            row = new_run(run_id_of(key), key, "track", key, study, made_ns)
            status = "failed" if number % 10 == 0 else "done"
            figures = {"status": status, "ended_ns": made_ns + 1, "energy_j": number % 97, "operational_g": 1.0}
            marks = {"energy_rank": number % 97, "carbon_rank": 1.0, "site": site, "site_mark": mark_of(site)}
            rows.append({**row, **figures, **marks, "attempts": 1})
            one = {"id": key, "run_id": row["id"], "number": 1, "started_ns": made_ns, "document": "{}", "site": site}
            attempts.append({**one, **figures})

        def work(connection: Any, rows: list[Any] = rows, attempts: list[Any] = attempts) -> None:
            connection.execute(RUN.insert(), rows)
            connection.execute(ATTEMPT.insert(), attempts)

        ledger._do(work, write=True)  # noqa: SLF001
    ledger._do(totals.rebuild, write=True)  # noqa: SLF001
    ledger.vacuum()


def median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e3)
    return median(times)


def report(what: str, url: str, killed_url: str, runs: int) -> None:
    """Print the figures of one kind of ledger, each as soon as it is known."""

    def row(text: str) -> None:
        print(f"{what}: {text}", flush=True)

    ledger = open_ledger(url)
    began = time.perf_counter()
    fill(ledger, runs)
    row(f"{runs:,} runs put in, in {time.perf_counter() - began:.1f} s")
    some = run_id_of(f"run {runs // 2}")
    for name, work in {
        "list page": lambda: ledger.page(Query()),
        "filter by status, site and text": lambda: ledger.page(Query(status="failed", site="site 3", text="7")),
        "filter by text that no run has": lambda: ledger.page(Query(text="nowhere")),
        "filter by study": lambda: ledger.page(Query(study="study 7")),
        "one run": lambda: (ledger.run(some), ledger.attempts(some)),
        "totals by month": lambda: ledger.sums(Query(), "month"),
    }.items():
        row(f"{name} {median_ms(work):.1f} ms (median of {REPEATS}, {runs:,} runs)")
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
    asked = parser.parse_args()
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
