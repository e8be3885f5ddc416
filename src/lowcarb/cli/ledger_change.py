"""`lowcarb ledger tag`, `reprice` and `vacuum`: what is added to a ledger afterwards; what was recorded stays."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from lowcarb.catalogue import Catalogue
from lowcarb.cli.console import Json, LedgerPath, emit, out, say, show
from lowcarb.cli.ledger_book import Kind, Since, StudyId, Tags, Until, opened, query_of, run_of, tags_of, together
from lowcarb.core.site import Site
from lowcarb.errors import CatalogueError, SettingError
from lowcarb.ledger.base import Attempt, Ledger, Run
from lowcarb.ledger.exchange.out import each_run
from lowcarb.ledger.exchange.reprice import Repriced, annotated, reprice
from lowcarb.report.format import exactly, quantity

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of it.")]
NewTags = Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE...", help="Tags; project=NAME groups runs.")]
Remove = Annotated[list[str] | None, typer.Option("--remove", metavar="NAME", help="A tag to take away.")]
Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Only these. Default: all that fit.")]
NewSite = Annotated[
    str | None,
    typer.Option("--site", metavar="ID", help="At this site. Default: at each run's own, by today's catalogue."),
]
Write = Annotated[bool, typer.Option("--write", help="Keep the answer in the ledger, beside what was recorded.")]


def tag(
    name: RunName, tags: NewTags = None, *, remove: Remove = None, ledger: LedgerPath = None, json: Json = False
) -> None:
    """Give a run tags of your own, or take them away; without any, show those it has."""
    changes: dict[str, str | None] = {**tags_of(tags or ()), **dict.fromkeys(remove or ())}
    both = set(tags_of(tags or ())) & set(remove or ())
    if both:
        raise SettingError("remove", ", ".join(sorted(both)), "a tag that is not set in the same command")
    book = opened(ledger, there=True)
    try:
        run = run_of(book, name)
        _known(book.tag(run.id, {}), remove or ())
        now = book.tag(run.id, changes)
    finally:
        book.close()
    if json:
        emit({"run": run.id, "tags": dict(now)}, kind="tags")
    elif now:
        show("", ("tag", "value"), sorted(now.items()))
    else:
        say("it has no tags; NAME=VALUE gives it one")


def _known(tags: Mapping[str, str], names: Sequence[str]) -> None:
    """Refuse to take away a tag that is not there: its name is likely misspelt."""
    for name in names:
        if name not in tags:
            raise SettingError("remove", name, f"a tag that it has: {', '.join(sorted(tags)) or 'it has none'}")


def reprice_(
    names: Runs = None, *, site: NewSite = None, kind: Kind = None, study: StudyId = None, tag: Tags = None,
    since: Since = None, until: Until = None, write: Write = False, ledger: LedgerPath = None, json: Json = False,
) -> None:  # fmt: skip
    """The carbon of runs at another site, or by today's catalogue, from their energy by hour.

    What was recorded is never changed: with --write the answer is kept beside it.
    """
    catalogue = Catalogue.load()
    place = catalogue.site(site) if site else None
    query = query_of(kind=kind, study=study, tags=tag, since=since, until=until)
    book = opened(ledger, there=True)
    rows: list[tuple[Run, Repriced, float]] = []
    left = 0
    try:
        chosen = _chosen(book, names) if names else ((run, found) for run, _, found in each_run(book, query))
        for run, attempts in chosen:
            shares = together(attempts)[0].shares
            for attempt in attempts:
                there = place or _own_site(attempt, catalogue)
                one = reprice(attempt, there) if there is not None else None
                if one is None:
                    left += 1
                    continue
                rows.append((run, one, shares.get(attempt.id, 1.0)))
        if write:
            _write(book, [one for _, one, _ in rows])
    finally:
        book.close()
    if json:
        emit({"attempts": [_told(*row) for row in rows], "left_out": left, "written": write}, kind="reprice")
    else:
        _show(rows, left, written=write)


def vacuum(*, ledger: LedgerPath = None, json: Json = False) -> None:
    """Give back the space of what is no longer in the ledger, and bring its statistics up to date."""
    book = opened(ledger, there=True)
    try:
        book.vacuum()
    finally:
        book.close()
    if json:
        emit({"done": True}, kind="vacuum")
    else:
        say("done")


def _chosen(book: Ledger, names: Sequence[str]) -> Iterator[tuple[Run, Sequence[Attempt]]]:
    for name in names:
        run = run_of(book, name)
        yield run, book.attempts(run.id)


def _own_site(attempt: Attempt, catalogue: Catalogue) -> Site | None:
    """The attempt's site as the catalogue has it now; None where it has none of that id."""
    told: Any = attempt.document.get("site")
    if not told:
        return None
    if not told.get("declared"):
        return catalogue.unknown_site()
    with suppress(CatalogueError):
        return catalogue.site(told["id"])
    return None


def _write(book: Ledger, several: Sequence[Repriced]) -> None:
    now_ns = time.time_ns()
    for one in several:
        attempt = one.attempt
        if attempt.ended_ns is not None:
            book.finish(
                attempt.id, status=attempt.status, ended_ns=attempt.ended_ns, document=annotated(one, now_ns)
            )  # fmt: skip


def _told(run: Run, one: Repriced, share: float) -> dict[str, Any]:
    document: Any = one.attempt.document
    return {
        "run": run.id,
        "attempt": one.attempt.id,
        "name": run.name,
        "site_before": (document.get("site") or {}).get("id"),
        "before_g": one.before_g.as_dict() if one.before_g else None,
        "site_after": one.site.id,
        "after_g": one.after_g.as_dict(),
        "hours": one.hours,
        "share": share,
    }


def _show(rows: Sequence[tuple[Run, Repriced, float]], left: int, *, written: bool) -> None:
    cells = []
    for run, one, _ in rows:
        document: Any = one.attempt.document
        cells.append(
            (
                run.id[:12], run.name, (document.get("site") or {}).get("id") or "?",
                quantity(one.before_g, "g") if one.before_g else "unknown", one.site.id, quantity(one.after_g, "g"),
            )
        )  # fmt: skip
    show("", ("id", "name", "site", "carbon", "site now", "carbon now"), cells, right=(3, 5))
    if len(rows) > 1:
        before_g = sum(one.before_g.mid * share for _, one, share in rows if one.before_g)
        after_g = sum(one.after_g.mid * share for _, one, share in rows)
        out().print(f"in all {quantity(exactly(before_g), 'g')}, now {quantity(exactly(after_g), 'g')} CO2e")
    if left:
        say(f"{left} attempts are left out: their energy is unknown, or the catalogue has no site of their id")
    if not rows:
        say("no attempt fits")
    elif written:
        say(f"kept beside what was recorded: {len(rows)} {'answer' if len(rows) == 1 else 'answers'}")
    else:
        say("nothing is changed; with --write the answer is kept beside what was recorded")
