"""Pages of any ledger: of one that cannot make them itself, from its newest runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowcarb.ledger.base import Ledger
from lowcarb.ledger.query import Page, Query, Row, folded, summary_of
from lowcarb.ledger.record import site_of

NEWEST = 10_000
"""Runs that are looked through where a ledger makes no pages."""


def page_of(ledger: Ledger, query: Query, *, limit: int, after: str | None = None) -> Page:
    """A page of the runs that a query finds."""
    own: Any = getattr(ledger, "page", None)
    if own is not None:
        page: Page = own(query, limit=limit, after=after)
        return page
    found = []
    for run in ledger.runs(kind=query.kind, study=query.study, limit=NEWEST):
        attempts = ledger.attempts(run.id)
        if not attempts:
            continue
        told = summary_of([(one, site_of(one.document)) for one in attempts])
        row = Row(
            run, told.attempts, told.status, told.started_ns, told.ended_ns, told.energy_j, told.operational_g,
            told.site, tags_of(ledger, run.id),
        )  # fmt: skip
        if _fits(row, query):
            found.append(row)
    if query.order != "newest":
        name = {"energy": "energy_j", "carbon": "operational_g"}[query.order]
        found.sort(key=lambda row: -1.0 if getattr(row, name) is None else getattr(row, name), reverse=True)
    start = int(after) if after and after.isdecimal() else 0
    stop = start + limit
    return Page(tuple(found[start:stop]), str(stop) if stop < len(found) else None)


def tags_of(ledger: Ledger, run_id: str) -> Mapping[str, str]:
    """The tags of a run; none where the ledger keeps none."""
    own: Any = getattr(ledger, "tag", None)
    return {} if own is None else dict(own(run_id, {}))


def _fits(row: Row, query: Query) -> bool:
    made = row.run.created_ns
    return (
        (query.status is None or row.status == query.status)
        and (query.site is None or row.site == query.site)
        and (query.since_ns is None or made >= query.since_ns)
        and (query.until_ns is None or made < query.until_ns)
        and (query.text is None or folded(query.text) in folded(row.run.name))
        and all(row.tags.get(name) == value for name, value in query.tags.items())
    )
