"""Runs and attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "run",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("study", sa.Text),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
    )
    op.create_index("run_by_time", "run", ["created_ns"])
    op.create_index("run_by_study", "run", ["study"])
    op.create_table(
        "attempt",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("run_id", sa.String(32), sa.ForeignKey("run.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("started_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("energy_j", sa.Float),
        sa.Column("operational_g", sa.Float),
        sa.Column("document", sa.Text, nullable=False),
        sa.UniqueConstraint("run_id", "number"),
    )
