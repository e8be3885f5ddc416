"""Sums that are kept say what a look at every run says, whatever was done in what order and by whom."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from lowcarb.core.units import NS_PER_S
from lowcarb.ledger import open_ledger, totals
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.ledger.query import GROUPS, Query, Sum, month_of, month_start_ns
from lowcarb.ledger.record import run_id_of
from lowcarb.ledger.tables import TOTAL

STARTS_NS = tuple(
    int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * NS_PER_S
    for year, month in ((2025, 12), (2026, 1), (2026, 2))
)
TIMES_NS = tuple(start + step for start in STARTS_NS for step in (-1, 0, 1, 10**15))
STUDIES, SITES, STATUSES = (None, "s", "t", "x" * 3_000, "*", ""), (None, "fra", "swe"), ("done", "failed", "running")
BYS = (*GROUPS, "tag:project")


@dataclass(frozen=True)
class Step:
    """Something that is done to a ledger."""

    what: str
    attempt: int
    """Of the run of half its number, so that runs have up to two."""
    study: str | None
    site: str | None
    status: str
    at_ns: int
    quarters_j: int | None
    """Energy in quarters, so that sums are exact in any order."""

    def to(self, ledger):
        number = self.attempt // 2
        key, attempt_id = f"run {number}", f"attempt {self.attempt}"
        energy_j = None if self.quarters_j is None else self.quarters_j / 4
        if self.what == "vacuum":
            ledger.vacuum()
        elif self.what == "tag":
            if ledger.run(key) is not None:
                ledger.tag(run_id_of(key), {"project": self.site, "who": self.study})
        else:
            ledger.begin(
                attempt_id=attempt_id, key=key, kind=("trial", "track")[number % 2], name=f"Run {number}",
                study=self.study, started_ns=self.at_ns,
            )  # fmt: skip
            if self.what == "end":
                footprint = {"energy_j": {"mid": energy_j}, "operational_g": {"mid": energy_j}}
                document = {"footprint": footprint, "site": {"id": self.site}}
                ledger.finish(attempt_id, status=self.status, ended_ns=self.at_ns + 1, document=document)


steps = st.builds(
    Step, st.sampled_from(("begin", "end", "end", "end", "end", "tag", "tag", "vacuum")), st.integers(0, 9),
    st.sampled_from(STUDIES), st.sampled_from(SITES), st.sampled_from(STATUSES), st.sampled_from(TIMES_NS),
    st.none() | st.integers(0, 1_000),
)  # fmt: skip
sometimes = [st.none(), st.none()]
BOUNDS_NS = (*TIMES_NS, 2**63 - 1, 1 - 2**63)
queries = st.builds(
    Query, kind=st.one_of(*sometimes, st.sampled_from(("trial", "track"))),
    study=st.one_of(*sometimes, st.sampled_from(STUDIES)), status=st.one_of(*sometimes, st.sampled_from(STATUSES)),
    site=st.one_of(*sometimes, st.sampled_from(SITES)), since_ns=st.one_of(*sometimes, st.sampled_from(BOUNDS_NS)),
    until_ns=st.one_of(*sometimes, st.sampled_from(BOUNDS_NS)),
    text=st.one_of(*sometimes, st.sampled_from(("run", "N 1"))),
    tags=st.just({}) | st.sampled_from(({"project": "fra"}, {"who": "s"})),
)  # fmt: skip
histories = given(st.lists(steps, max_size=25), st.lists(queries, min_size=1, max_size=6))


def agree(ledger, history, asked):
    """Whether a ledger's sums are those of the ledger in memory, which looks at every run; also once reckoned anew."""
    truth = MemoryLedger()
    for step in history:
        step.to(truth)
        step.to(ledger)
    for query in (Query(), *asked):
        for by in BYS:
            assert list(ledger.sums(query, by)) == list(truth.sums(query, by)), (query, by)
    assert kept(ledger) == reckoned(ledger)


def kept(ledger):
    """All that the table of sums holds."""
    rows = ledger._do(lambda connection: connection.execute(select(TOTAL)).all(), write=False)
    return sorted(map(tuple, rows), key=repr)


def reckoned(ledger):
    ledger._do(totals.rebuild, write=True)
    return kept(ledger)


@settings(max_examples=30)
@histories
def test_sums_in_a_file_are_those_of_all_runs_whatever_was_done(history, asked):
    with TemporaryDirectory() as there:
        ledger = open_ledger(Path(there) / "ledger.db")
        agree(ledger, history, asked)
        ledger.close()


@pytest.fixture(scope="module")
def on_a_server(postgres):
    ledger = open_ledger(postgres)
    yield ledger
    ledger.close()


@settings(max_examples=15)
@histories
def test_sums_on_a_server_are_those_of_all_runs_whatever_was_done(on_a_server, history, asked):
    on_a_server._do(
        lambda connection: connection.exec_driver_sql("TRUNCATE run, attempt, tag, total, hour, channel, reading"),
        write=True,
    )
    agree(on_a_server, history, asked)


@given(st.integers(0, 2**63 - 1) | st.sampled_from(TIMES_NS))
def test_the_months_on_both_sides_of_a_time_meet_there(time_ns):
    before, after = month_start_ns(time_ns, later=False), month_start_ns(time_ns, later=True)

    assert before <= time_ns <= after
    assert month_of(before) == month_of(time_ns)
    if after == time_ns:
        assert before == after
    else:
        assert month_of(after - 1) == month_of(time_ns)
        assert month_of(after) > month_of(time_ns)


WRITER = """
import sys
from lowcarb.errors import LedgerError
from lowcarb.ledger import open_ledger

def again(work, *words, **given):
    # On an overloaded machine others may write for longer than is waited for. All may be done twice.
    for _ in range(100):
        try:
            return work(*words, **given)
        except LedgerError as error:
            refused = error
    raise refused

ledger = again(open_ledger, sys.argv[1])
for number in range(12):
    one = f"{sys.argv[2]}-{number}"
    study = f"study {number % 2}"
    again(ledger.begin, attempt_id=one, key=f"key {number}", kind="track", name="n", study=study, started_ns=number)
    figures = {"energy_j": {"mid": 0.5}, "operational_g": {"mid": 0.25}}
    again(ledger.finish, one, status="done", ended_ns=number, document={"footprint": figures})
    again(ledger.tag, ledger.run(f"key {number}").id, {"project": sys.argv[2]})
"""
PATIENCE_S = 600


def test_writers_at_the_same_time_lose_no_count(opened, place):
    opened(place).close()
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, place, str(number)]) for number in range(5)]
    assert [writer.wait(PATIENCE_S) for writer in writers] == [0] * 5

    ledger = opened(place)
    # Five goes at each of twelve runs: 2.5 J and 1.25 g each.
    assert list(ledger.sums(Query(), "month")) == [Sum("1970-01", 12, 30.0, 15.0, 0)]
    assert list(ledger.sums(Query(), "study")) == [Sum(f"study {one}", 6, 15.0, 7.5, 0) for one in (0, 1)]
    assert list(ledger.sums(Query(study="study 1"), "status")) == [Sum("done", 6, 15.0, 7.5, 0)]
    assert sum(one.runs for one in ledger.sums(Query(), "tag:project")) == 12
    assert kept(ledger) == reckoned(ledger)


def test_a_killed_writer_leaves_sums_that_are_right(opened, place):
    opened(place).close()
    for _ in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, place, str(random.random())])
        try:
            writer.wait(random.uniform(0.8, 2.0))
        except subprocess.TimeoutExpired:
            writer.kill()
            writer.wait()

    ledger = opened(place)
    assert kept(ledger) == reckoned(ledger)
