"""Hostile names survive, harm nothing, and the ledger is listed whatever it is called."""

from __future__ import annotations

import json
import os

import pytest

HOSTILE = [
    "plain", "naïve 模型 🌱", "half \udc80 pair", "high \ud83d half",
    "two\nlines\r\ttab", "nul \0 in it", "x" * 100_000,
    "../../etc/passwd", "=cmd|' /C calc'!A0", "[bold]markup[/bold] [/]", "<script>alert(1)</script>",
    "'; DROP TABLE runs;--",
    "\x1b[31mred\x07", "\u202egnp.exe", " ",
]  # fmt: skip

NAMED = """
import json
for name in json.loads(sys.argv[1]):
    with track(name, key=name, study=name, **STEADY) as t:
        with t.phase(name):
            t.note(name, name)
"""


@pytest.fixture
def named(run):
    done = run(NAMED, json.dumps(HOSTILE))
    assert (done.returncode, done.stderr) == (0, "")


def test_names_come_back_as_they_were(named, attempts, lowcarb):
    listed = lowcarb("ledger", "list", "--json", env={"PYTHONIOENCODING": "utf-8:strict"})
    assert listed.returncode == 0, listed.stderr
    runs = json.loads(listed.stdout)["runs"]

    assert {run["name"] for run in runs} == set(HOSTILE)
    documents = [attempt.document for attempt in attempts()]
    assert {key for document in documents for key in document["notes"]} == set(HOSTILE)
    assert set(HOSTILE) <= {phase["name"] for document in documents for phase in document["phases"]}


@pytest.mark.parametrize("encoding", ["ascii:strict"])
def test_a_table_of_hostile_names_is_printed_under_any_encoding(named, lowcarb, encoding):
    listed = lowcarb("ledger", "list", env={"PYTHONIOENCODING": encoding}, text=False)

    assert listed.returncode == 0, listed.stderr
    assert b"[bold]markup[/bold] [/]" in listed.stdout


def test_one_run_is_shown_under_any_encoding(named, lowcarb):
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    runs = json.loads(lowcarb("ledger", "list", "--json").stdout)["runs"]
    odd = next(run["id"] for run in runs if run["name"] == "half \udc80 pair")

    for words in ((), ("--json",)):
        shown = lowcarb("ledger", "show", odd, *words, env=strict)
        assert shown.returncode == 0, shown.stderr


def test_a_name_that_the_command_line_cannot_decode_is_a_name(lowcarb, attempts):
    done = lowcarb("track", "--no-hook", "--name", b"caf\xe9", "--", "true")

    assert done.returncode == 0, done.stderr
    listed = json.loads(lowcarb("ledger", "list", "--json", env={"PYTHONIOENCODING": "utf-8:strict"}).stdout)
    assert [os.fsencode(run["name"]) for run in listed["runs"]] == [b"caf\xe9"]


def test_no_name_is_a_path(named, home, tmp_path, attempts):
    attempts()

    assert {path.name for path in tmp_path.iterdir()} == {"home"}
    assert {path.name.partition("-")[0] for path in home.iterdir()} <= {"journals", "ledger.db", "run"}
    assert all(len(path.stem) == 32 for path in (home / "journals" / "done").iterdir())
