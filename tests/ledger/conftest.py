"""Ledgers in each kind of database."""

from __future__ import annotations

import pytest

from lowcarb.ledger import open_ledger


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
