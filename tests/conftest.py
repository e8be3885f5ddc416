"""For all tests: no network, a home of their own, and no sight of this machine's sensors by accident."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("quiet", deadline=None)
settings.load_profile("quiet")

# Under nohup and in the background these are ignored, and what tests start would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

POSTGRES = Path(__file__).parent / "contracts" / "postgres_server.py"
_connect = socket.socket.connect


def _local_only(self, address):
    host = address[0] if isinstance(address, tuple) else address
    if self.family != socket.AF_UNIX and host not in ("127.0.0.1", "::1", "localhost"):
        raise RuntimeError(f"a test reached for the network: {address}")
    return _connect(self, address)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", _local_only)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LOWCARB_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def postgres():
    """URL of a PostgreSQL server that is this session's own."""
    pytest.importorskip("psycopg")
    spec = importlib.util.spec_from_file_location("postgres_server", POSTGRES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with module.server() as url:
        yield url


@pytest.fixture
def empty_postgres(postgres):
    """The same, with an empty database."""
    from sqlalchemy import create_engine, text  # noqa: PLC0415  # for the few tests that need it
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    engine = create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    return postgres
