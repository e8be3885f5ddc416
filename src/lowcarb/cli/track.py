"""`lowcarb track -- CMD`: any command under the meter."""

from __future__ import annotations

from typing import Annotated

import typer

from lowcarb.cli.console import EXIT_USAGE, Json, LedgerPath, SiteId, emit, say
from lowcarb.report.format import quantity
from lowcarb.tracker.command import run_command

Name = Annotated[
    str | None,
    typer.Option("--name", help="What to call the run. Default: the program's name; its arguments may hold secrets."),
]
Interval = Annotated[float, typer.Option("--interval", metavar="SECONDS", help="Time between readings.")]


def track(
    context: typer.Context, *, name: Name = None, site: SiteId = None, interval: Interval = 1.0,
    ledger: LedgerPath = None, json: Json = False,
) -> int:  # fmt: skip
    """Run a command under the meter: `lowcarb track -- python train.py`.

    Its exit code is the command's own, 128+n for a signal. The command's output stays where it was; the footprint goes
    to stderr, or with --json to stdout after the command has ended.
    """
    command = list(context.args)
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        typer.echo("track needs a command: lowcarb track -- python train.py", err=True)
        return EXIT_USAGE
    outcome = run_command(command, name=name, site=site, interval_s=interval, ledger=ledger)
    if json:
        emit(
            {
                "name": name or command[0],
                "exit_code": outcome.exit_code,
                "attempt": outcome.attempt_id,
                "footprint": outcome.footprint.as_dict(),
                "phases": [
                    {"name": p.name, "wall_s": p.wall_s, "cpu_s": p.cpu_s, "footprint": p.footprint.as_dict()}
                    for p in outcome.phases
                ],
            },
            kind="run",
        )
    else:
        footprint = outcome.footprint
        say(f"energy  {quantity(footprint.energy_j, 'J')}, {footprint.energy_j.basis} ({footprint.scope})")
        say(f"carbon  {quantity(footprint.operational_g, 'g')} CO2e, {footprint.operational_g.basis}")
        if site is None:
            say("        nobody said where this ran: --site fra, say, narrows the carbon")
        say(f"kept as {outcome.attempt_id}: lowcarb ledger show {outcome.attempt_id}")
    return outcome.exit_code
