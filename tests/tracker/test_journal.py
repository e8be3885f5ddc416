"""The journal: whole lines on disk, whatever the disk does, and a reader that takes what there is."""

from __future__ import annotations

import json
import os
import resource
import stat
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lowcarb.core.energy import Channel, Reading
from lowcarb.errors import LedgerError
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.journal import Header, Journal
from lowcarb.tracker.process import this_process
from lowcarb.tracker.record import read_journal

CHANNELS = tuple(
    Channel(f"c{n}", f"d{n}", "gpu", "power", "replay", "measured", 0.9, 1.1, 100.0, None) for n in range(2)
)
READINGS = [Reading(100.0 + n, channel.id, 50.0 + n) for n in range(10) for channel in CHANNELS]


@pytest.fixture
def header(machine, site):
    return Header(
        attempt_id="abc",
        key="k\ud800",
        kind="track",
        name="n\0\n",
        study=None,
        within=None,
        ledger=None,
        process=this_process(),
        started_ns=1_700_000_000_000_000_000,
        started_s=100.0,
        started_cpu_s=1.0,
        interval_s=1.0,
        attribution="machine",
        machine=machine,
        site=site,
        channels=CHANNELS,
    )


@pytest.fixture
def path(home):
    return home / "journals" / "abc.jsonl"


@pytest.fixture
def guard():
    return Guard()


def put(journal, readings, tokens=0, steps=0, at_s=None, cpu_s=1.0):
    """Write readings, at the time of the latest of them."""
    journal.write(readings, tokens, steps, at_s or max(reading.at_s for reading in readings), cpu_s)


def written(path, header, guard=None):
    journal = Journal(guard or Guard())
    journal.open(path, header)
    journal.mark("train", 102.0, 2.0)
    for reading in READINGS:
        put(journal, [reading])
    journal.add({"note": ["loss", 0.5]})
    put(journal, [], 10, 2, 109.0, 5.0)
    journal.end({"end": "done", "at_s": 109.5, "cpu_s": 5.5, "faults": ["f"], "meter_cpu_s": 0.1})
    return journal


def test_what_was_written_is_read_back(path, header):
    written(path, header)
    record = read_journal(path)

    assert record.header == header
    assert record.readings == tuple(sorted(READINGS, key=lambda reading: reading.at_s))
    assert (record.tokens, record.steps, record.notes, record.skipped_lines) == (10, 2, {"loss": 0.5}, 0)
    assert (record.last_s, record.cpu_s, record.end["end"]) == (109.5, 5.5, "done")
    entries = {entry.name: entry for entry in record.entries()}
    assert {name: (entry.wall_s, entry.cpu_s) for name, entry in entries.items()} == {
        "other": (2.0, 1.0),
        "train": (7.5, 3.5),
    }


def test_a_value_that_is_not_finite_comes_back_as_not_a_number(path, header):
    journal = Journal(Guard())
    journal.open(path, header)
    put(journal, [Reading(100.0, "c0", float("inf")), Reading(100.0, "nobody", 1.0)])

    (reading,) = read_journal(path).readings
    assert reading.value != reading.value


def test_the_file_is_for_the_user_only_and_each_line_is_json(path, header):
    written(path, header)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_a_written_line_is_in_the_file_at_once(path, header):
    journal = Journal(Guard())
    journal.open(path, header)
    put(journal, READINGS[:3])

    assert len(read_journal(path).readings) == 3


def test_a_journal_that_is_there_already_is_not_touched(path, header, guard):
    path.parent.mkdir(parents=True)
    path.write_text("another's")
    written(path, header, guard)

    assert path.read_text() == "another's"
    assert any("FileExistsError" in fault for fault in guard.faults())


def test_a_torn_tail_costs_its_own_line_only(path, header):
    written(path, header)
    path.write_bytes(path.read_bytes()[:-20])
    record = read_journal(path)

    assert record.end is None
    assert record.skipped_lines == 1
    assert (len(record.readings), record.last_s) == (len(READINGS), 109.0)


GARBAGE = [
    b"\xff\xfe\x00garbage",
    b"{}",
    b"[]",
    b"null",
    b'"text"',
    b"12",
    b'{"readings": [[101.0, 99, 2.0]], "counts": [1, 1], "at_s": 101.0, "cpu_s": 0}',
    b'{"readings": [[101.0, -1, 2.0]], "counts": [1, 1], "at_s": 101.0, "cpu_s": 0}',
    b'{"readings": [[1e999, 0, 2.0]], "counts": [1, 1], "at_s": 101.0, "cpu_s": 0}',
    b'{"readings": [[1e12, 0, 2.0]], "counts": [1, 1], "at_s": 101.0, "cpu_s": 0}',
    b'{"readings": [], "counts": [1, 1], "at_s": 1e12, "cpu_s": 0}',
    b'{"readings": [[101.0, 0, 2.0]]}',
    b'{"readings": 5}',
    b'{"phase": "x"}',
    b'{"phase": "x", "at_s": NaN, "cpu_s": 0}',
    b'{"readings": [], "counts": [1], "at_s": 101.0, "cpu_s": 0}',
    b'{"readings": [], "counts": ["a", "b"], "at_s": 101.0, "cpu_s": 0}',
    b'{"note": [1, 2, 3]}',
    b'{"other": 1, "at_s": 101.0, "cpu_s": 0}',
    b"[" * 100_000,
    b"1" * 10_000,
]


def test_garbage_in_between_is_skipped_and_counted(path, header):
    written(path, header)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*GARBAGE, lines[0], *GARBAGE, *lines[1:], *GARBAGE]) + b"\n")
    record = read_journal(path)

    assert record.skipped_lines == 3 * len(GARBAGE)
    assert record.readings == tuple(sorted(READINGS, key=lambda reading: reading.at_s))
    assert record.last_s == 109.5


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 5_000), tail=st.binary(max_size=60))
@example(cut=0, tail=b"")
def test_a_journal_cut_anywhere_gives_what_was_before(path, header, cut, tail):
    if not path.exists():
        written(path, header)
    part = path.with_name("part")
    whole = path.read_bytes()
    part.write_bytes(whole[:cut] + b"\n" + tail)
    if cut < whole.index(b"\n"):
        with pytest.raises(LedgerError, match="header"):
            read_journal(part)
    else:
        record = read_journal(part)
        assert set(record.readings) <= set(READINGS)
        assert len(record.readings) >= whole[:cut].count(b'"readings"') - 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=500))
def test_any_bytes_are_a_journal_or_a_ledger_error(tmp_path, content):
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)

    with pytest.raises(LedgerError):
        read_journal(path)


def test_a_missing_journal_and_one_of_a_newer_format_are_ledger_errors(path, header):
    with pytest.raises(LedgerError):
        read_journal(path)
    written(path, header)
    path.write_bytes(path.read_bytes().replace(b'"lowcarb_journal":1', b'"lowcarb_journal":2'))
    with pytest.raises(LedgerError):
        read_journal(path)


def test_while_the_disk_refuses_lines_wait_and_then_follow_whole(path, header, guard):
    journal = Journal(guard)
    journal.open(path, header)
    put(journal, READINGS[:2])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # A quota that cuts a line in two: the next write ends in its middle, and the following ones fail whole.
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
        for number, reading in enumerate(READINGS[2:6]):
            put(journal, [reading], at_s=102.0 + number)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.read_bytes().endswith(b"\n")
    put(journal, READINGS[6:], at_s=110.0)
    record = read_journal(path)

    assert sorted(record.readings, key=str) == sorted(READINGS, key=str)
    assert record.skipped_lines == 1
    assert len(guard.faults()) == 1
    assert "(4 ×)" in guard.faults()[0]


def test_a_place_that_cannot_be_written_at_first_is_tried_again(path, header, home, guard):
    home.touch()
    journal = Journal(guard)
    journal.mark("train", 101.0, 1.0)
    journal.open(path, header)
    put(journal, READINGS[:2])
    home.unlink()
    put(journal, READINGS[2:])
    record = read_journal(path)

    assert record.header == header
    assert len(record.readings) == len(READINGS)
    assert [entry.name for entry in record.entries()] == ["other", "train"]


def test_a_descriptor_that_went_away_is_a_fault_and_no_error(path, header, guard):
    journal = Journal(guard)
    journal.open(path, header)
    os.close(journal._descriptor)
    put(journal, READINGS)
    journal.end({"end": "done", "at_s": 110.0, "cpu_s": 1.0})

    assert any("Bad file descriptor" in fault for fault in guard.faults())


def test_lines_that_wait_are_so_many_at_most_and_the_header_stays(path, header, home, guard, monkeypatch):
    monkeypatch.setattr("lowcarb.tracker.journal.MOST_PENDING", 5)
    home.touch()
    journal = Journal(guard)
    journal.open(path, header)
    for number, reading in enumerate(READINGS):
        put(journal, [reading], at_s=101.0 + number)
    home.unlink()
    put(journal, [], at_s=130.0)
    record = read_journal(path)

    assert record.header == replace(header)
    assert [reading.at_s for reading in record.readings] == [reading.at_s for reading in READINGS[-3:]]
