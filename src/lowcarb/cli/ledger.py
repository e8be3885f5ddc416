"""`lowcarb ledger`: what was run, what each attempt came to, and what goes in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from lowcarb.cli import ledger_change, ledger_compare, ledger_files
from lowcarb.cli.console import Json, LedgerPath, emit, out, say, show
from lowcarb.cli.ledger_book import (
    InSite,
    InStatus,
    Kind,
    Since,
    StudyId,
    Tags,
    Text,
    Until,
    carbon_of,
    opened,
    query_of,
    run_dict,
    run_of,
    together,
    total_dict,
    when,
)
from lowcarb.ledger.base import Attempt
from lowcarb.ledger.exchange.enter import MAY_BE_TWICE
from lowcarb.report.format import exactly, percent, quantity

__all__ = ["app", "opened"]

app = typer.Typer(help="What was run, what each attempt came to, and what goes in and out.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many runs.")]
Order = Annotated[str, typer.Option("--order", help="What comes first: newest, energy or carbon.")]
After = Annotated[str | None, typer.Option("--after", metavar="CURSOR", help="Go on from there, as `next` says.")]


FOR_INTERVALS = 110
"""Columns of a terminal from which on a list of runs has room for intervals; `show` and the total have them always."""


@app.command("list")
def list_(
    *, limit: Limit = 50, kind: Kind = None, study: StudyId = None, tag: Tags = None, since: Since = None,
    until: Until = None, site: InSite = None, status: InStatus = None, text: Text = None, order: Order = "newest",
    after: After = None, ledger: LedgerPath = None, json: Json = False,
) -> None:  # fmt: skip
    """Runs, newest first: how the last attempt stands, and what all attempts of it took together."""
    query = query_of(
        kind=kind, study=study, tags=tag, since=since, until=until, site=site, status=status, text=text, order=order
    )
    book = opened(ledger, there=True)
    try:
        page = book.page(query, limit=limit, after=after)
        entries = [(row, book.attempts(row.run.id)) for row in page.rows]
    finally:
        book.close()
    whole, carbon_g = together([attempt for _, attempts in entries for attempt in attempts])
    if json:
        runs = [run_dict(row.run, attempts, row.tags) | {"site": row.site} for row, attempts in entries]
        emit({"runs": runs, "total": total_dict(whole, carbon_g), "next": page.next}, kind="ledger")
        return
    wide = out().width >= FOR_INTERVALS
    rows = [
        (
            row.run.id[:12], when(row.run.created_ns), row.run.kind, row.run.name, row.status, str(len(attempts)),
            *_figures(attempts, interval=wide),
            " ".join(f"{name}={value}" for name, value in sorted(row.tags.items())),
        )
        for row, attempts in entries
    ]  # fmt: skip
    columns = ("id", "began (UTC)", "kind", "name", "status", "attempts", "energy", "carbon", "tags")
    tagged = any(row[-1] for row in rows)
    shown = rows if tagged else [row[:-1] for row in rows]
    show("Runs", columns if tagged else columns[:-1], shown, right=(5, 6, 7))
    if rows:
        which = f"these {len(rows)} of more" if page.next or after else "in all"
        carbon = quantity(carbon_of([one for _, attempts in entries for one in attempts], whole.shares), "g")
        out().print(f"{which}, each joule once: {quantity(whole.energy_j, 'J')}, {carbon} CO2e", markup=False)
    else:
        say("no run is there" if query == query_of() else "no run fits; without a filter `lowcarb ledger list` has all")
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
) -> None:  # fmt: skip
    """One run in full, with every attempt."""
    book = opened(ledger, there=True)
    try:
        run = run_of(book, name)
        attempts: Sequence[Attempt] = book.attempts(run.id)
        tags = book.tag(run.id, {})
    finally:
        book.close()
    if json:
        document = run_dict(run, attempts, tags)
        for one, attempt in zip(document["attempts"], attempts, strict=True):
            one["document"] = attempt.document
        emit(document, kind="run")
        return
    out().print(f"{run.name}\n{run.id}  {run.kind}  {when(run.created_ns)} UTC", markup=False)
    for tag, value in sorted(tags.items()):
        out().print(f"{tag} = {value}", markup=False)
    for attempt in attempts:
        _print_attempt(attempt)


app.command("compare")(ledger_compare.compare)
app.command("tag")(ledger_change.tag)
app.command("import")(ledger_files.import_)
app.command("export")(ledger_files.export)
app.command("reprice")(ledger_change.reprice_)
app.command("vacuum")(ledger_change.vacuum)


def _print_attempt(attempt: Attempt) -> None:
    document: Any = attempt.document
    out().print(f"\nattempt {attempt.number}: {attempt.status}, {when(attempt.started_ns)} UTC", markup=False)
    for line in _whole(document):
        out().print(line, markup=False, soft_wrap=True)
    rows = []
    for phase in document.get("phases", []):
        energy, carbon = (phase["footprint"][name] for name in ("energy_j", "operational_g"))
        rows.append(
            (
                phase["name"] + ("*" if phase.get("unresolved") else ""),
                _seconds(phase["wall_s"]), _seconds(phase["cpu_s"]),
                quantity(energy, "J"), energy["basis"], quantity(carbon, "g"),
            )
        )  # fmt: skip
    if rows:
        show("", ("phase", "wall s", "CPU s", "energy", "basis", "carbon"), rows, right=(1, 2, 3, 5))
    if any(phase.get("unresolved") for phase in document.get("phases", [])):
        say("* blocks too short for what the sensors resolve: the share of this phase is a guess, the total is not")
    for line in _beside(document):
        out().print(line, markup=False, soft_wrap=True)
    for fault in document.get("faults", []):
        say(f"fault: {fault}")


def _figures(attempts: Sequence[Attempt], *, interval: bool) -> tuple[str, str]:
    """Energy and carbon of a run's attempts together, each joule once."""
    whole, _ = together(attempts)
    known = [one for one in attempts if one.document.get("footprint")]
    energy_j, carbon_g = whole.energy_j if known else None, carbon_of(known, whole.shares)
    return quantity(energy_j, "J", interval=interval), quantity(carbon_g, "g", interval=interval)


def _whole(document: Any) -> list[str]:
    """What an attempt came to, each figure with its interval and basis, and where it ran."""
    footprint = document.get("footprint")
    if not footprint:
        return ["nothing is known of what it took yet"]
    units = {"duration_s": "s", "energy_j": "J", "operational_g": "g", "embodied_g": "g", "water_l": "l"}
    titles = {"duration_s": "time", "energy_j": "energy", "operational_g": "carbon", "embodied_g": "embodied",
              "water_l": "water"}  # fmt: skip
    lines = []
    for name, unit in units.items():
        figure = footprint.get(name)
        basis = f", {figure['basis']}" if figure and figure.get("basis") else ""
        lines.append(f"{titles[name]:10}{quantity(figure, unit)}{basis}")
    share = footprint.get("measured_share")
    method = f" ({footprint['method']})" if footprint.get("method") else ""
    lines.append(f"{'measured':10}{percent(share)} of the energy, which is of {footprint.get('scope') or '?'}{method}")
    site = document.get("site") or {}
    lines.append(f"{'site':10}{site.get('name') or 'unknown'}{'' if site.get('declared') else ', not declared'}")
    if machine := (document.get("machine") or {}).get("name"):
        lines.append(f"{'machine':10}{machine}")
    return lines


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
