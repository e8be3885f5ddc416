"""Trouble with the disk costs data only while it lasts: the program goes on, and what was there stays whole."""

from __future__ import annotations

import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lowcarb.ledger import open_ledger

WORK = """
with track("work", **STEADY) as t:
    for number in range(5):
        t.tokens(1)
        time.sleep(0.02)
print("result")
"""


def homes(tmp_path):
    """Places that are no home, each for a reason of its own."""
    file = tmp_path / "file"
    file.write_text("precious")
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere" / "at" / "all")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    return {
        "a file": file, "below a file": file / "home", "a dangling link": dangling, "a loop": loop,
        "a device": "/dev/null", "no file system for it": "/proc/lowcarb", "too long": tmp_path / ("x" * 300),
        "odd": tmp_path / "naïve \udcff\n dir",
    }  # fmt: skip


PLACES = ("a file", "a dangling link", "no file system for it", "too long", "odd")


@pytest.mark.parametrize("place", PLACES)
def test_a_home_that_cannot_be_ends_no_program(run, tmp_path, place):
    done = run(WORK, env={"LOWCARB_HOME": str(homes(tmp_path)[place])})

    assert (done.returncode, done.stdout) == (0, "result\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("place", ["a file", "odd"])
def test_a_home_that_cannot_be_ends_no_command(lowcarb, tmp_path, place):
    done = lowcarb(
        "track", "--no-hook", "--json", "--", "sh", "-c", "echo out; exit 3",
        env={"LOWCARB_HOME": str(homes(tmp_path)[place])},
    )  # fmt: skip

    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("out\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["journals", "ledger.db"])
def test_something_else_in_the_place_of_its_files_ends_no_program(run, lowcarb, home, name):
    home.mkdir()
    (home / name).write_text("precious") if name != "ledger.db" else (home / name).mkdir()

    assert run(WORK).returncode == 0
    done = lowcarb("track", "--no-hook", "--", "sh", "-c", "exit 3")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    if name != "ledger.db":
        assert (home / name).read_text() == "precious"


@pytest.mark.parametrize("most_bytes", [0, 500])
def test_a_quota_ends_no_program_and_tears_no_row(run, attempts, home, most_bytes):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    done = run(WORK, preexec_fn=limit)
    assert (done.returncode, done.stdout) == (0, "result\n"), done.stderr

    # The next run is whole, and what is left of the first one is at most a row.
    assert run(WORK).returncode == 0
    found = attempts()
    assert 1 <= len(found) <= 2
    assert found[-1].status == "done"
    assert found[-1].document["tokens"] == 5


def test_a_disk_that_is_full_for_a_while_costs_nothing(run, attempts):
    done = run("""
import errno
import lowcarb.tracker.journal as journal
write, full = os.write, False
def refuse(descriptor, data):
    if full:
        raise OSError(errno.ENOSPC, "No space left on device")
    return write(descriptor, data)
os.write = refuse
with track("full", **STEADY) as t:
    time.sleep(0.5)
    full = True
    time.sleep(2.0)
    full = False
    t.tokens(5)
print(len([fault for fault in t.faults() if "space" in fault]))
""")

    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert done.stderr.count("No space left") == 1
    (attempt,) = attempts()
    assert (attempt.status, attempt.document["tokens"]) == ("done", 5)
    assert attempt.energy_j == pytest.approx(50.0 * attempt.document["wall_s"], rel=0.01)
    assert attempt.document["footprint"]["measured_share"] == 1.0


def test_a_home_that_is_deleted_meanwhile_ends_no_program(run, home):
    done = run("""
import shutil
with track("work", **STEADY) as t:
    time.sleep(0.3)
    shutil.rmtree(os.environ["LOWCARB_HOME"])
    time.sleep(1.2)
print("result")
""")

    assert (done.returncode, done.stdout) == (0, "result\n"), done.stderr
    assert "Traceback" not in done.stderr


def test_a_working_directory_that_is_deleted_ends_no_program(run, attempts, tmp_path):
    done = run(f"""
os.makedirs({str(tmp_path / "gone")!r})
os.chdir({str(tmp_path / "gone")!r})
os.rmdir({str(tmp_path / "gone")!r})
{WORK}""")

    assert done.returncode == 0, done.stderr
    assert [one.status for one in attempts()] == ["done"]


def test_no_descriptor_is_left_ends_no_program(run):
    done = run("""
import resource
t = track("work", **STEADY)
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
kept = []
try:
    while True:
        kept.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
with t:
    time.sleep(0.3)
print("result")
""")

    assert (done.returncode, done.stdout) == (0, "result\n"), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_what_it_makes_is_for_the_user_only_whatever_the_mask(run, attempts, home, mask):
    done = run(f"os.umask({mask})\n{WORK}")
    assert done.returncode == 0, done.stderr

    attempts()
    for path in (home, *home.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & (0o077 if path.is_dir() else 0o177) == 0, path


def test_a_home_several_folders_deep_is_for_the_user_only(lowcarb, tmp_path):
    deep = tmp_path / "a" / "b" / "home"
    done = lowcarb("track", "--no-hook", "--", "true", env={"LOWCARB_HOME": str(deep)})

    assert done.returncode == 0, done.stderr
    assert [stat.S_IMODE(path.stat().st_mode) for path in (deep, deep / "journals")] == [0o700, 0o700]
    assert stat.S_IMODE((deep / "ledger.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("env", [{}, {"HOME": "/dev/null", "XDG_DATA_HOME": "relative"}])
def test_no_home_at_all_ends_no_command(tmp_path, env):
    words = [Path(sys.executable).with_name("lowcarb")]
    temporary = {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*words, "track", "--no-hook", "--json", "--", "/bin/sh", "-c", "exit 3"],
        env={**temporary, **env}, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_ledger_is_set_aside_and_the_run_is_in_the_new_one(lowcarb, home):
    home.mkdir()
    (home / "ledger.db").write_bytes(b"precious" * 1000)
    done = lowcarb("track", "--no-hook", "--", "sh", "-c", "exit 3")

    assert done.returncode == 3, done.stderr
    (aside,) = home.glob("ledger.db.aside-*")
    assert aside.read_bytes() == b"precious" * 1000
    assert len(open_ledger(home / "ledger.db").runs()) == 1
