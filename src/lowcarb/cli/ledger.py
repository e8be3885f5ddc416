"""`lowcarb ledger`: what was run, what each attempt came to, and what goes in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from lowcarb.cli import ledger_change, ledger_compare, ledger_files
from lowcarb.cli.console import EXIT_FAILED, Json, LedgerPath, emit, out, say, show
from lowcarb.cli.ledger_book import (
    InSite,
    InStatus,
    Kind,
    Since,
    StudyId,
    Tags,
    Text,
    Until,
    opened,
    query_of,
    run_dict,
    run_of_attempt,
    together,
    total_dict,
    when,
)
from lowcarb.ledger.base import Attempt
from lowcarb.ledger.exchange.enter import MAY_BE_TWICE
from lowcarb.ledger.exchange.pages import page_of, tags_of
from lowcarb.report.format import exactly, quantity

__all__ = ["app", "opened"]

app = typer.Typer(help="What was run, what each attempt came to, and what goes in and out.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many runs.")]
Order = Annotated[str, typer.Option("--order", help="What comes first: newest, energy or carbon.")]
After = Annotated[str | None, typer.Option("--after", metavar="CURSOR", help="Go on from there, as `next` says.")]


@app.command("list")
def list_(
    *, limit: Limit = 50, kind: Kind = None, study: StudyId = None, tag: Tags = None, since: Since = None,
    until: Until = None, site: InSite = None, status: InStatus = None, text: Text = None, order: Order = "newest",
    after: After = None, ledger: LedgerPath = None, json: Json = False,
) -> None:  # fmt: skip
    """Runs, newest first, each with its last attempt."""
    query = query_of(
        kind=kind, study=study, tags=tag, since=since, until=until, site=site, status=status, text=text, order=order
    )
    book = opened(ledger)
    try:
        page = page_of(book, query, limit=limit, after=after)
        entries = [(row, book.attempts(row.run.id)) for row in page.rows]
    finally:
        book.close()
    whole, carbon_g = together([attempt for _, attempts in entries for attempt in attempts])
    if json:
        runs = [run_dict(row.run, attempts, row.tags) | {"site": row.site} for row, attempts in entries]
        emit({"runs": runs, "total": total_dict(whole, carbon_g), "next": page.next}, kind="ledger")
        return
    rows = [
        (
            row.run.id[:12], when(row.run.created_ns), row.run.kind, row.run.name, row.status, str(len(attempts)),
            quantity(exactly(row.energy_j), "J"), quantity(exactly(row.operational_g), "g"),
            " ".join(f"{name}={value}" for name, value in sorted(row.tags.items())),
        )
        for row, attempts in entries
    ]  # fmt: skip
    columns = ("id", "began (UTC)", "kind", "name", "status", "attempts", "energy", "carbon", "tags")
    tagged = any(row[-1] for row in rows)
    shown = rows if tagged else [row[:-1] for row in rows]
    show("Runs", columns if tagged else columns[:-1], shown, right=(5, 6, 7))
    if rows:
        out().print(
            f"in all, each joule once: {quantity(whole.energy_j, 'J')}, {quantity(exactly(carbon_g), 'g')} CO2e"
        )
    if whole.overlaps:
        say(f"{quantity(exactly(whole.counted_twice_j), 'J')} are in two of these: they ran at the same time")
    doubtful = sum(MAY_BE_TWICE in str(one.document.get("faults")) for _, attempts in entries for one in attempts)
    if doubtful:
        say(f"{doubtful} imported runs overlap on equal machines: if that was one machine, the total has it too often")
    if page.next is not None:
        say(f"there are more: --after {page.next}")


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(metavar="ID", help="A run's id or the beginning of it, or an attempt's id.")],
    *, ledger: LedgerPath = None, json: Json = False,
) -> int:  # fmt: skip
    """One run in full, with every attempt."""
    book = opened(ledger)
    try:
        run = book.run(name) or run_of_attempt(book, name)
        attempts: Sequence[Attempt] = book.attempts(run.id) if run else ()
        tags = tags_of(book, run.id) if run else {}
    finally:
        book.close()
    if run is None:
        say(f"error: the ledger has no run {name!r}; `lowcarb ledger list` lists them")
        return EXIT_FAILED
    if json:
        document = run_dict(run, attempts, tags)
        for one, attempt in zip(document["attempts"], attempts, strict=True):
            one["document"] = attempt.document
        emit(document, kind="run")
        return 0
    out().print(f"{run.name}\n{run.id}  {run.kind}  {when(run.created_ns)} UTC", markup=False)
    for tag, value in sorted(tags.items()):
        out().print(f"{tag} = {value}", markup=False)
    for attempt in attempts:
        _print_attempt(attempt)
    return 0


app.command("compare")(ledger_compare.compare)
app.command("tag")(ledger_change.tag)
app.command("import")(ledger_files.import_)
app.command("export")(ledger_files.export)
app.command("reprice")(ledger_change.reprice_)
app.command("vacuum")(ledger_change.vacuum)


def _print_attempt(attempt: Attempt) -> None:
    document: Any = attempt.document
    out().print(f"\nattempt {attempt.number}: {attempt.status}, {when(attempt.started_ns)} UTC", markup=False)
    rows = []
    for phase in document.get("phases", []):
        energy, carbon = (phase["footprint"][name] for name in ("energy_j", "operational_g"))
        rows.append(
            (
                phase["name"] + ("*" if phase.get("unresolved") else ""),
                _seconds(phase["wall_s"]), _seconds(phase["cpu_s"]),
                quantity(exactly(energy["mid"]), "J"), energy["basis"], quantity(exactly(carbon["mid"]), "g"),
            )
        )  # fmt: skip
    if rows or not document.get("footprint"):
        show("", ("phase", "wall s", "CPU s", "energy", "basis", "carbon"), rows, right=(1, 2, 3, 5))
    else:
        energy, carbon = (document["footprint"][name] for name in ("energy_j", "operational_g"))
        told = (
            f"{quantity(exactly(energy['mid']), 'J')} ({energy['basis']}), {quantity(exactly(carbon['mid']), 'g')} CO2e"
        )
        out().print(told, markup=False)
    if any(phase.get("unresolved") for phase in document.get("phases", [])):
        say("* blocks too short for what the sensors resolve: the share of this phase is a guess, the total is not")
    for line in _beside(document):
        out().print(line, markup=False)
    for fault in document.get("faults", []):
        say(f"fault: {fault}")


def _beside(document: Any) -> list[str]:
    """What else is known: what checks the total, what metering itself took, and whose energy it is."""
    lines = []
    provenance = document.get("provenance") or {}
    if provenance:
        zone = f", times taken for {provenance['zone']}" if provenance.get("zone") else ""
        lines.append(f"imported from {provenance.get('program')}: {provenance.get('file')}{zone}")
    for one in document.get("repriced") or ():
        site, carbon = one["site"], one["operational_g"]
        lines.append(f"at {site['name']} ({site['id']}): {quantity(exactly(carbon['mid']), 'g')} CO2e, computed later")
    counted_j = document.get("footprint", {}).get("energy_j", {}).get("mid")
    for check in document.get("energy", {}).get("checks", []):
        drawn_j = check["energy_j"]["mid"]
        lines.append(f"checked by {check['sensor']}: {quantity(exactly(drawn_j), 'J')} drawn by {check['device']}")
        if counted_j and check["coverage"] > 0.9 and counted_j > check["energy_j"]["high"]:
            lines.append(
                f"  more is counted ({quantity(exactly(counted_j), 'J')}): a model or a sensor here reads high"
            )
    cost_s, cost_j = (document.get("meter", {}).get(name) for name in ("cost_cpu_s", "cost_j"))
    if cost_s is not None:
        energy = f", about {quantity(exactly(cost_j['mid']), 'J')}" if cost_j else ""
        lines.append(f"metering took {cost_s:.2g} s of processor time{energy}")
    if document.get("attribution") == "process":
        lines.append("processor and memory: this process tree's share; GPUs whole")
    return lines


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
