"""`lowcarb ledger`: what was run, and what each attempt came to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from lowcarb.cli.console import EXIT_FAILED, Json, LedgerPath, emit, out, say, show
from lowcarb.core.totals import Total, total_energy
from lowcarb.core.units import s_from_ns
from lowcarb.ledger import open_ledger
from lowcarb.ledger.base import Attempt, Ledger, Run
from lowcarb.ledger.home import home, ledger_path
from lowcarb.report.format import exactly, quantity
from lowcarb.tracker.document import spell_of
from lowcarb.tracker.recover import CUT_OFF, recover

app = typer.Typer(help="What was run, and what each attempt came to.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", min=1, help="Newest runs first, at most so many.")]
Kind = Annotated[str | None, typer.Option("--kind", help="Only trials or only tracked runs: trial or track.")]
StudyId = Annotated[str | None, typer.Option("--study", help="Only the trials of one study.")]


def opened(path: str | None) -> Ledger:
    """The ledger, with what was tracked since it was last opened taken in from the journals."""
    ledger = open_ledger(path)
    for attempt in recover(home(), ledger, None if path is None else ledger_path(path)):
        if CUT_OFF in attempt.document["faults"]:  # type: ignore[operator]  # a list
            say(f"recovered a run that was cut short: {attempt.id}")
    return ledger


@app.command("list")
def list_(
    *, limit: Limit = 50, kind: Kind = None, study: StudyId = None, ledger: LedgerPath = None, json: Json = False
) -> None:
    """Runs, newest first, each with its last attempt."""
    book = opened(ledger)
    try:
        entries = [(run, book.attempts(run.id)) for run in book.runs(kind=kind, study=study, limit=limit)]
    finally:
        book.close()
    together, carbon_g = _together([attempt for _, attempts in entries for attempt in attempts])
    if json:
        runs = [_run(run, attempts) for run, attempts in entries]
        emit({"runs": runs, "total": _total(together, carbon_g)}, kind="ledger")
        return
    rows = []
    for run, attempts in entries:
        last = attempts[-1]
        rows.append(
            (
                run.id[:12], _when(run.created_ns), run.kind, run.name, last.status, str(len(attempts)),
                quantity(exactly(last.energy_j), "J"), quantity(exactly(last.operational_g), "g"),
            )
        )  # fmt: skip
    show("Runs", ("id", "began (UTC)", "kind", "name", "status", "attempts", "energy", "carbon"), rows, right=(5, 6, 7))
    if rows:
        out().print(
            f"in all, each joule once: {quantity(together.energy_j, 'J')}, {quantity(exactly(carbon_g), 'g')} CO2e"
        )
    if together.overlaps:
        say(f"{quantity(exactly(together.counted_twice_j), 'J')} are in two of these: they ran at the same time")


@app.command()
def show_(
    name: Annotated[str, typer.Argument(metavar="ID", help="A run's id or the beginning of it, or an attempt's id.")],
    *, ledger: LedgerPath = None, json: Json = False,
) -> int:  # fmt: skip
    """One run in full, with every attempt."""
    book = opened(ledger)
    try:
        run = book.run(name) or _run_of_attempt(book, name)
        attempts = book.attempts(run.id) if run else ()
    finally:
        book.close()
    if run is None:
        say(f"error: the ledger has no run {name!r}; `lowcarb ledger list` lists them")
        return EXIT_FAILED
    if json:
        document = _run(run, attempts)
        for one, attempt in zip(document["attempts"], attempts, strict=True):
            one["document"] = attempt.document
        emit(document, kind="run")
        return 0
    out().print(f"{run.name}\n{run.id}  {run.kind}  {_when(run.created_ns)} UTC", markup=False)
    for attempt in attempts:
        _print_attempt(attempt)
    return 0


# `show` is the console's; the command is named below.
app.registered_commands[-1].name = "show"


def _run_of_attempt(book: Ledger, attempt_id: str) -> Run | None:
    for run in book.runs(limit=10_000):
        if any(attempt.id.startswith(attempt_id) for attempt in book.attempts(run.id)):
            return run
    return None


def _together(attempts: Sequence[Attempt]) -> tuple[Total, float]:
    """Energy of attempts, each joule once, and carbon [gCO2e] by the same shares."""
    spells = [spell for attempt in attempts if (spell := spell_of(attempt)) is not None]
    together = total_energy(spells)
    return together, sum((one.operational_g or 0.0) * together.shares.get(one.id, 0.0) for one in attempts)


def _total(together: Total, carbon_g: float) -> dict[str, Any]:
    return {
        "energy_j": together.energy_j.as_dict(),
        "operational_g": carbon_g,
        "counted_twice_j": together.counted_twice_j,
        "overlaps": [list(pair) for pair in together.overlaps],
    }


def _run(run: Run, attempts: Any) -> dict[str, Any]:
    return {
        "id": run.id,
        "key": run.key,
        "kind": run.kind,
        "name": run.name,
        "study": run.study,
        "created_ns": run.created_ns,
        "attempts": [
            {
                "id": a.id, "number": a.number, "status": a.status, "started_ns": a.started_ns, "ended_ns": a.ended_ns,
                "energy_j": a.energy_j, "operational_g": a.operational_g,
            }
            for a in attempts
        ],
    }  # fmt: skip


def _print_attempt(attempt: Attempt) -> None:
    document: Any = attempt.document
    out().print(f"\nattempt {attempt.number}: {attempt.status}, {_when(attempt.started_ns)} UTC", markup=False)
    rows = []
    for phase in document.get("phases", []):
        energy, carbon = (phase["footprint"][name] for name in ("energy_j", "operational_g"))
        rows.append(
            (
                phase["name"] + ("*" if phase.get("unresolved") else ""),
                f"{phase['wall_s']:.1f}", f"{phase['cpu_s']:.1f}",
                quantity(exactly(energy["mid"]), "J"), energy["basis"], quantity(exactly(carbon["mid"]), "g"),
            )
        )  # fmt: skip
    show("", ("phase", "wall s", "CPU s", "energy", "basis", "carbon"), rows, right=(1, 2, 3, 5))
    if any(phase.get("unresolved") for phase in document.get("phases", [])):
        say("* blocks too short for what the sensors resolve: the share of this phase is a guess, the total is not")
    for line in _beside(document):
        out().print(line, markup=False)
    for fault in document.get("faults", []):
        say(f"fault: {fault}")


def _beside(document: Any) -> list[str]:
    """What else is known: what checks the total, what metering itself took, and whose energy it is."""
    lines = []
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


def _when(ns: int) -> str:
    return datetime.fromtimestamp(s_from_ns(ns), UTC).strftime("%Y-%m-%d %H:%M:%S")
