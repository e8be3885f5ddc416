"""Where files go."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

from lowcarb.ledger.home import default_ledger_path, home


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
