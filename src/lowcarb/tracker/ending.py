"""How an attempt ended, by the exception that ended it."""

from __future__ import annotations

from signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM
from typing import get_args

from lowcarb.errors import BudgetExceeded
from lowcarb.ledger.base import Status

ENDINGS = frozenset(get_args(Status)) - {"running"}
SIGNAL_CODES = frozenset(128 + number for number in (SIGHUP, SIGINT, SIGQUIT, SIGTERM))
"""Exit codes that say by convention that a signal asked for the end."""


def status_of(error: BaseException | None) -> Status:
    """How an attempt ended that this exception ended, or none."""
    if error is None:
        return "done"
    if isinstance(error, SystemExit):
        if error.code in SIGNAL_CODES:
            return "interrupted"
        return "done" if error.code in (None, 0) else "failed"
    if isinstance(error, BudgetExceeded):
        return "over_budget"
    # torch has a class of its own for it, and is not imported here.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out_of_memory"
    return "failed" if isinstance(error, Exception) else "interrupted"
