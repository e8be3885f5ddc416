"""Where files go."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lowcarb.errors import SettingError
from lowcarb.ledger.home import default_ledger_path, home, is_postgres, ledger_name


def test_lowcarb_home_decides(tmp_path):
    assert home({"LOWCARB_HOME": str(tmp_path)}) == tmp_path
    assert default_ledger_path({"LOWCARB_HOME": str(tmp_path)}) == tmp_path / "ledger.db"


def in_process(environ):
    code = "import logging; logging.basicConfig(); from lowcarb.ledger import home; print(home())"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip()), done.stderr


def test_the_users_data_directory_is_made_for_the_user_only(tmp_path):
    found, words = in_process({"XDG_DATA_HOME": str(tmp_path)})

    assert found == tmp_path / "lowcarb"
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert words == ""


def test_where_the_data_directory_cannot_be_made_a_temporary_one_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    found, words = in_process({"XDG_DATA_HOME": str(blocked), "TMPDIR": str(tmp_path)})

    assert found.parent == tmp_path
    assert found.name.startswith("lowcarb-")
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert "LOWCARB_HOME" in words


def test_an_empty_environment_still_has_a_place():
    found, _ = in_process({})

    assert found.is_absolute()
    assert found.is_dir()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://me@host:5433/runs", "postgresql://me@host:5433/runs"),
        ("postgresql://me:s3cret@host/runs", "postgresql://me@host/runs"),
        ("postgres://me:s3cret@host/runs", "postgresql://me@host/runs"),
        ("postgresql+psycopg://me:s3cret@[::1]:1/runs", "postgresql://me@[::1]:1/runs"),
        ("postgresql://me:s3/cr?et@host/runs", "postgresql://me@host/runs"),
        ("postgresql://me:s3@cret@host/runs", "postgresql://me@host/runs"),
        ("postgresql://me:s3cret@/runs?host=/run/sock", "postgresql://me@/runs?host=/run/sock"),
        ("postgresql://host/runs?password=s3cret&user=me", "postgresql://host/runs?user=me"),
        ("postgresql://host/runs?pass%77ord=s3cret", "postgresql://host/runs"),
        ("postgresql://host/runs?sslmode=require&sslpassword=s3cret", "postgresql://host/runs?sslmode=require"),
        ("postgresql:///runs", "postgresql:///runs"),
    ],
)
def test_the_name_of_a_ledger_on_a_server_has_no_password_and_is_its_own_name(url, name):
    assert is_postgres(url)
    assert ledger_name(url) == name
    assert ledger_name(name) == name


def test_the_name_of_a_ledger_in_a_file_is_its_path(tmp_path):
    assert ledger_name(tmp_path / "l.db") == ledger_name(f"sqlite:///{tmp_path}/l.db") == str(tmp_path / "l.db")


def test_a_ledger_of_another_kind_has_no_name():
    with pytest.raises(SettingError, match="mysql://") as caught:
        ledger_name("mysql://me:s3cret@host/db")
    assert "s3cret" not in str(caught.value)
