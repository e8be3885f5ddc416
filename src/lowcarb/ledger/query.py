"""What a ledger can be asked for: pages of runs, and sums over them.

A run's energy is the sum over its attempts that have ended. It is known only where the energy of each of them is;
an attempt at work has none yet, and is left out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, get_args

from lowcarb.core.units import NS_PER_S
from lowcarb.errors import SettingError
from lowcarb.ledger.base import Attempt, Run, Status

Order = Literal["newest", "energy", "carbon"]
MOST_ROWS = 1_000
"""Rows of a page, at most."""
GROUPS = ("month", "study", "site", "status", "kind")
TAG = "tag:"
"""What a sum by tags begins with: `tag:project`."""
UNKNOWN_RANK = -1.0
"""Where what is unknown stands in an order by size: after all that is known."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which runs, and in what order; what is None or empty asks for nothing."""

    kind: str | None = None
    study: str | None = None
    status: str | None = None
    """Of the last attempt."""
    site: str | None = None
    """Id of the site in the last attempt's document."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Every one must match."""
    since_ns: int | None = None
    """Made then or later [ns, UTC]."""
    until_ns: int | None = None
    """Made before [ns, UTC]."""
    text: str | None = None
    """Part of the name, in any case."""
    order: Order = "newest"
    """Largest or newest first; what is unknown comes last."""

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise SettingError("order", self.order, "newest, energy or carbon")


@dataclass(frozen=True, slots=True)
class Row:
    """A run, summed over its attempts."""

    run: Run
    attempts: int
    status: Status
    """Of the last attempt."""
    started_ns: int
    """Of the first attempt."""
    ended_ns: int | None
    """Of the last attempt."""
    energy_j: float | None
    operational_g: float | None
    site: str | None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of many."""

    rows: tuple[Row, ...]
    next: str | None
    """Where the next page begins, to be handed back as it is; None after the last."""


@dataclass(frozen=True, slots=True)
class Sum:
    """What the runs of one group took. A run that ran inside of another is in both; `core.totals` tells them apart."""

    key: str
    """The month as `2026-11`, the study, and so on; empty for the runs that have none."""
    runs: int
    energy_j: float
    operational_g: float
    unknown: int
    """Runs whose energy is not known, which is in no sum."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What is kept beside a run of its attempts."""

    attempts: int
    status: Status
    started_ns: int
    ended_ns: int | None
    energy_j: float | None
    operational_g: float | None
    site: str | None


def summary_of(attempts: Sequence[tuple[Attempt, str | None]]) -> Summary:
    """The sum of attempts, oldest first, each with its site's id. There is at least one."""
    last, site = attempts[-1]
    ended = [one for one, _ in attempts if one.status != "running"]
    return Summary(
        attempts=len(attempts),
        status=last.status,
        started_ns=attempts[0][0].started_ns,
        ended_ns=last.ended_ns,
        energy_j=_sum(one.energy_j for one in ended),
        operational_g=_sum(one.operational_g for one in ended),
        site=site,
    )


def _sum(values: Iterable[float | None]) -> float | None:
    every = list(values)
    known = [value for value in every if value is not None]
    return sum(known) if known and len(known) == len(every) else None


def month_of(time_ns: int) -> str:
    """The month of a time, UTC: `2026-11`."""
    # In whole seconds: as a float, the last nanoseconds of a month are the next one's.
    one = datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
    return f"{one.year:04}-{one.month:02}"


def month_start_ns(time_ns: int, *, later: bool) -> int:
    """The nearest beginning of a month, UTC: at the time or after it, or else at the time or before it."""
    one = datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
    start_ns = int(datetime(one.year, one.month, 1, tzinfo=UTC).timestamp()) * NS_PER_S
    if not later or start_ns == time_ns:
        return start_ns
    following = datetime(one.year + one.month // 12, one.month % 12 + 1, 1, tzinfo=UTC)
    return int(following.timestamp()) * NS_PER_S


def folded(name: str) -> str:
    """A name as it is searched: in one case, and with what a database cannot hold replaced."""
    clean = "".join("\ufffd" if one == "\0" or "\ud800" <= one <= "\udfff" else one for one in name)
    return clean.casefold()


def group_of(by: str) -> str:
    """The field that sums are asked by, if it is one.

    Raises:
        SettingError: it is none.
    """
    if by in GROUPS or by.startswith(TAG):
        return by
    raise SettingError("by", by, f"{', '.join(GROUPS)} or {TAG}NAME")


def page_size(limit: int) -> int:
    """How many rows a page has: as asked for, from none to `MOST_ROWS`."""
    return min(max(limit, 0), MOST_ROWS)


def rank(value: float | None) -> float:
    """Where a figure stands in an order by size."""
    return UNKNOWN_RANK if value is None else value


def cursor(order: Order, value: float, run_id: str) -> str:
    """Where a page ends, as text."""
    return base64.urlsafe_b64encode(json.dumps([order, value, run_id]).encode()).decode().rstrip("=")


def place_of(text: str, order: Order) -> tuple[float, str]:
    """What a cursor says: value and id of the last row before it.

    Raises:
        SettingError: it is none, or of another order.
    """
    try:
        said, value, run_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        good = said == order and isinstance(value, (int, float)) and isinstance(run_id, str) and run_id.isalnum()
        good = good and run_id.isascii() and abs(value) < 2**63
    except (ValueError, TypeError, RecursionError):
        good = False
    if not good:
        raise SettingError("after", text, "the `next` of a page in the same order")
    return value, run_id
