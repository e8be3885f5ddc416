"""`lowcarb ledger`: what was run, and what each attempt came to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from lowcarb.cli.console import EXIT_FAILED, Json, LedgerPath, emit, out, say, show
from lowcarb.core.units import s_from_ns
from lowcarb.ledger import open_ledger
from lowcarb.ledger.base import Attempt, Ledger, Run
from lowcarb.ledger.home import home, ledger_path
from lowcarb.report.format import exactly, quantity
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
    if json:
        emit({"runs": [_run(run, attempts) for run, attempts in entries]}, kind="ledger")
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
                phase["name"], f"{phase['wall_s']:.1f}", f"{phase['cpu_s']:.1f}",
                quantity(exactly(energy["mid"]), "J"), energy["basis"], quantity(exactly(carbon["mid"]), "g"),
            )
        )  # fmt: skip
    show("", ("phase", "wall s", "CPU s", "energy", "basis", "carbon"), rows, right=(1, 2, 3, 5))
    for fault in document.get("faults", []):
        say(f"fault: {fault}")


def _when(ns: int) -> str:
    return datetime.fromtimestamp(s_from_ns(ns), UTC).strftime("%Y-%m-%d %H:%M:%S")
