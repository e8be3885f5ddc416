"""A PostgreSQL server for the tests that need a real one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from lowcarb.ledger import open_ledger


@pytest.fixture(scope="session")
def postgres():
    """URL of a PostgreSQL server that is this session's own."""
    pytest.importorskip("psycopg")
    there = Path(__file__).parents[1] / "contracts" / "postgres_server.py"
    spec = importlib.util.spec_from_file_location("postgres_server", there)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with module.server() as url:
        yield url


@pytest.fixture
def empty_postgres(postgres):
    """The same, with an empty database."""
    engine = create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    return postgres


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    """Where an empty ledger may be made, in each kind of database."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    return request.getfixturevalue("empty_postgres")


@pytest.fixture
def opened():
    """Opens ledgers, and closes them when the test is over."""
    books = []

    def open_one(where):
        books.append(open_ledger(where))
        return books[-1]

    yield open_one
    for book in books:
        book.close()
