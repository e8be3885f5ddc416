"""`lowcarb serve` over a ledger on a real PostgreSQL server: its pages and its API."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from lowcarb.ledger import open_ledger
from lowcarb.ledger.record import run_id_of

from ..report.export_ledgers import a_study  # noqa: TID252  # `tests` is no package that can be named
from .conftest import HOSTILE, fill

pytest.importorskip("psycopg", reason="a ledger in PostgreSQL needs the extra `postgres`")
pytest.importorskip("uvicorn", reason="`lowcarb serve` needs the extra `serve`")

_there = Path(__file__).parents[1] / "contracts" / "postgres_server.py"
_spec = importlib.util.spec_from_file_location("postgres_server", _there)
postgres_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(postgres_server)

PATIENCE_S = 120.0
SECRET = "s3cret"
FIRST, SECOND = run_id_of("key 0"), run_id_of("key 1")
RUNS = 2 + len(HOSTILE) + 4
"""Those of `fill`, and the study's four."""
PAGES = (
    "/", "/?order=energy&limit=3", "/?text=RUN", "/?status=failed&site=swe", "/runs.csv", "/runs.jsonl",
    f"/runs/{FIRST}", f"/runs/{FIRST}/report", f"/runs/{FIRST}/what-if", f"/compare?run={FIRST}&run={SECOND}",
    "/studies", "/study?id=mine", "/study/report?id=mine", "/totals", "/totals?by=study", "/totals?by=tag:project",
    "/totals?by=month&since=2026-01-02", "/live.json", "/static/dashboard.css", "/static/shared.css",
)  # fmt: skip


@pytest.fixture(scope="module")
def served(catalogue, tmp_path_factory):
    """The address of a server that runs over a ledger on a server, by a URL with a password."""
    if postgres_server.programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with postgres_server.server() as url:
        ledger = open_ledger(url)
        fill(ledger, catalogue)
        a_study(ledger=ledger)
        ledger.close()
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "lowcarb", "serve", "--port", str(port), "--ledger",
             url.replace("lowcarb@", f"lowcarb:{SECRET}@")],
            env={**os.environ, "LOWCARB_HOME": str(tmp_path_factory.mktemp("home"))}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s and server.poll() is None:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        assert server.poll() is None, server.stderr.read()
        yield f"http://127.0.0.1:{port}"
        server.terminate()
        _, said = server.communicate(timeout=PATIENCE_S)
        assert "Traceback" not in said
        assert SECRET not in said


def get(served, path, **given):
    with urllib.request.urlopen(urllib.request.Request(served + path, **given), timeout=PATIENCE_S) as answer:
        return answer.read().decode()


def test_every_page_is_there_and_none_has_the_password(served):
    for path in PAGES:
        assert SECRET not in get(served, path), path


def test_the_api_says_what_the_ledger_holds(served):
    runs = json.loads(get(served, "/api/v1/runs?limit=100"))["runs"]
    assert len(runs) == RUNS
    assert sum(run["status"] == "failed" for run in runs) == 1
    for by in ("month", "study", "site", "status", "kind"):
        groups = json.loads(get(served, f"/api/v1/totals?by={by}"))["totals"]
        assert sum(group["runs"] for group in groups) == RUNS, by
    assert json.loads(get(served, "/api/v1/live"))["live"] == []


def test_tags_that_are_set_are_counted(served):
    body = json.dumps({"project": "x"}).encode()
    headers = {"content-type": "application/json"}
    get(served, f"/api/v1/runs/{FIRST}/tags", data=body, headers=headers, method="PATCH")

    assert json.loads(get(served, f"/api/v1/runs/{FIRST}"))["tags"] == {"project": "x"}
    groups = json.loads(get(served, "/api/v1/totals?by=tag:project"))["totals"]
    assert {group["key"]: group["runs"] for group in groups} == {"x": 1, "": RUNS - 1}


def test_what_is_not_there_is_said_to_be_missing(served):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(served, f"/runs/{run_id_of('nobody')}")
