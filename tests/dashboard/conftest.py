"""A dashboard over ledgers in memory and in a file, with runs of every kind, hostile names among them."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("starlette", reason="the dashboard needs the extra `serve`")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")

from starlette.testclient import TestClient

from lowcarb.catalogue import Catalogue
from lowcarb.core.documents import energy_as_dict, machine_as_dict, site_as_dict
from lowcarb.core.energy import DeviceEnergy, Energy
from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import measured_footprint
from lowcarb.core.hardware import Device, Installed, Machine
from lowcarb.dashboard.app import make_app
from lowcarb.dashboard.guard import Access
from lowcarb.dashboard.live import LiveRuns
from lowcarb.dashboard.setup import Setup
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.ledger.sql import SqlLedger

T0 = 1_767_225_600 * 10**9  # 2026-01-01
HOSTILE = (
    "a\nb\r\nc", "=HYPERLINK(1)", "<script>alert(1)</script>", "../../etc/passwd", "nul\0nul", "half \ud800 pair",
    "x" * 10_000, '"><img src=x onerror=alert(1)>',
)  # fmt: skip


@pytest.fixture(scope="session")
def catalogue():
    return Catalogue.load()


def estimate(mid):
    return {"low": mid * 0.9, "mid": mid, "high": mid * 1.1, "basis": "measured"}


def document(catalogue, energy_j, site="fra"):
    """A document as the tracker writes it, of a run on a processor."""
    place = catalogue.site(site)
    machine = Machine(
        "m", "a machine", (Installed(Device("processor", "a processor", "cpu")),), 8, 16e9, {}, virtual=False
    )
    device = DeviceEnergy("cpu", "cpu", "rapl", Estimate.from_dict(estimate(energy_j)), 1.0, 0.0)
    energy = Energy(100.0, (device,))
    footprint = measured_footprint(energy, machine, place).as_dict()
    phase = {"name": "train", "wall_s": 100.0, "cpu_s": 90.0, "blocks": 1, "unresolved": [],
             "energy": energy_as_dict(energy), "footprint": footprint}  # fmt: skip
    return {
        "schema_version": 1, "machine": machine_as_dict(machine), "site": site_as_dict(place), "phases": [phase],
        "energy": energy_as_dict(energy), "footprint": footprint, "wall_s": 100.0, "cpu_s": 90.0, "tokens": 0,
        "hours": [{"start_ns": T0, "energy_j": estimate(energy_j)}], "faults": ["<b>a fault</b>"], "notes": {},
        "power": [{"device": "cpu", "kind": "cpu", "start_ns": [T0, T0 + 10**9], "step_ns": 10**9,
                   "power_w": [10.0, None]},
                  {"device": "cpu", "kind": "cpu", "start_ns": [T0, T0 + 10**9], "step_ns": 10**9,
                   "power_w": [10.0, 12.0]}],
    }  # fmt: skip


def fill(book, catalogue):
    """A run for each of the names, a day apart."""
    for number, name in enumerate(("first run", "second run", *HOSTILE)):
        started = T0 + number * 86_400 * 10**9
        book.begin(attempt_id=f"a{number}", key=f"key {number}", kind="track", name=name, study=None,
                   started_ns=started)  # fmt: skip
        book.finish(f"a{number}", status="failed" if number == 1 else "done", ended_ns=started + 100 * 10**9,
                    document=document(catalogue, 3.6e6 * (number + 1), "swe" if number == 1 else "fra"))  # fmt: skip
    return book


@pytest.fixture(scope="session")
def filled_file(catalogue, tmp_path_factory):
    """An SQLite file with those runs, to be copied."""
    path = tmp_path_factory.mktemp("filled") / "ledger.db"
    fill(SqlLedger(path), catalogue).close()
    return path


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, catalogue, tmp_path):
    if request.param == "memory":
        return fill(MemoryLedger(), catalogue)
    path = tmp_path / "ledger.db"
    shutil.copy(request.getfixturevalue("filled_file"), path)
    return SqlLedger(path)


@pytest.fixture
def make_client(ledger, catalogue, tmp_path):
    def make(host="127.0.0.1", token=None, url="http://127.0.0.1:8765", names=()):
        live = LiveRuns(tmp_path, ledger, lambda: None)
        app = make_app(Setup(ledger, catalogue, live, Access(host, 8765, token, names)))
        return TestClient(app, base_url=url, follow_redirects=False)

    return make


@pytest.fixture
def client(make_client):
    return make_client()
