"""`lowcarb track -- CMD` exits as the command does, whatever becomes of what lowcarb itself has to say."""

from __future__ import annotations

import json
import os

import pytest


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143)],
)
def test_the_exit_code_is_the_childs(lowcarb, attempts, script, code):
    done = lowcarb("track", "--no-hook", "--", "sh", "-c", script)

    assert done.returncode == code, done.stderr
    assert [one.status for one in attempts()] == ["done" if code == 0 else "failed"]


@pytest.mark.parametrize("deaf", ["full", "pipe", "closed"])
@pytest.mark.parametrize(
    ("numbers", "json_"),
    [((1,), ("--json",)), ((1, 2), ())],
    ids=["stdout-json", "both-text"],
)
def test_nobody_to_hear_changes_no_exit_code(lowcarb, attempts, json_, deaf, numbers):

    def deafen():
        for number in numbers:
            if deaf == "closed":
                os.close(number)
            else:
                reading, writing = os.pipe()
                os.close(reading)
                full = os.open("/dev/full", os.O_WRONLY)
                os.dup2(full if deaf == "full" else writing, number)

    done = lowcarb("track", "--no-hook", *json_, "--", "sh", "-c", "exit 3", preexec_fn=deafen)

    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert [one.status for one in attempts()] == ["failed"]


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_a_stdout_that_cannot_say_a_name_changes_no_exit_code(lowcarb, encoding):
    done = lowcarb(
        "track", "--no-hook", "--json", "--name", "naïve \udcff µ", "--", "sh", "-c", "exit 3",
        env={"PYTHONIOENCODING": encoding},
    )  # fmt: skip

    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["name"] == "naïve \udcff µ"


def test_an_odd_terminal_width_changes_no_exit_code(lowcarb):
    done = lowcarb("track", "--no-hook", "--", "sh", "-c", "exit 3", env={"COLUMNS": "garbage"})

    assert done.returncode == 3, done.stderr


def test_no_stdin_changes_nothing(lowcarb):
    done = lowcarb("track", "--no-hook", "--", "sh", "-c", "exit 5", preexec_fn=lambda: os.close(0))

    assert done.returncode == 5, done.stderr


def test_the_childs_streams_are_its_own(lowcarb):
    done = lowcarb("track", "--no-hook", "--", "sh", "-c", "cat; echo said >&2", stdin=None, input="given\n")

    assert done.stdout == "given\n"
    assert "said\n" in done.stderr


def test_a_ledger_that_cannot_be_made_changes_no_exit_code(lowcarb, tmp_path):
    (tmp_path / "file").touch()
    done = lowcarb("track", "--no-hook", "--ledger", tmp_path / "file" / "ledger.db", "--", "sh", "-c", "exit 3")

    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
