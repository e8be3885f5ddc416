"""Sums over all studies and over all months, beside those of each."""

from __future__ import annotations

from alembic import op

from lowcarb.ledger import totals
from lowcarb.ledger.tables import TOTAL

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    """Make the table of sums anew: all that is in it follows from the runs."""
    connection = op.get_bind()
    TOTAL.drop(connection)
    TOTAL.create(connection)
    totals.rebuild(connection)
