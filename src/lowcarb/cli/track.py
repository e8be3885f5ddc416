"""`lowcarb track -- CMD`: any command under the meter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from lowcarb.cli.console import EXIT_BUDGET, EXIT_USAGE, Json, LedgerPath, SiteId, emit, say, tell
from lowcarb.cli.ledger import opened
from lowcarb.core.documents import energy_as_dict
from lowcarb.core.footprint import Footprint
from lowcarb.errors import SettingError
from lowcarb.integrations.hook import hook_environment
from lowcarb.report.format import quantity
from lowcarb.tracker.command import Outcome, run_command
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.plan import Attribution
from lowcarb.tracker.track import Tracker

Name = Annotated[
    str | None,
    typer.Option("--name", help="What to call the run. Default: the program's name; its arguments may hold secrets."),
]
Interval = Annotated[float, typer.Option("--interval", metavar="SECONDS", help="Time between readings.")]
Key = Annotated[
    str | None, typer.Option("--key", help="What makes two runs the same work: its restarts are one run's attempts.")
]
BudgetText = Annotated[
    str | None,
    typer.Option(
        "--budget", metavar="AMOUNT", help="What it may take, such as '500 g', '2 kWh' or '3 USD'; then it ends."
    ),
]
Attributed = Annotated[
    str,
    typer.Option(
        "--attribution", help="machine: all that it draws. process: the command's share in processor and memory."
    ),
]
Forecast = Annotated[
    str | None,
    typer.Option(
        "--forecast",
        metavar="PATH",
        help="What `lowcarb forecast --json` printed: reports hold the outcome against it.",
    ),
]
Prometheus = Annotated[
    int | None,
    typer.Option(
        "--prometheus",
        metavar="PORT",
        help="Serve live metrics at http://127.0.0.1:PORT/metrics meanwhile; 0: any port.",
    ),
]
Hook = Annotated[
    bool,
    typer.Option("--hook/--no-hook", help="Learn phases, steps and tokens from Python programs that use a Trainer."),
]


def track(
    context: typer.Context, *, name: Name = None, key: Key = None, site: SiteId = None, interval: Interval = 1.0,
    budget: BudgetText = None, forecast: Forecast = None, attribution: Attributed = "machine", hook: Hook = True,
    prometheus: Prometheus = None, ledger: LedgerPath = None, json: Json = False,
) -> int:  # fmt: skip
    """Run a command under the meter: `lowcarb track -- python train.py`.

    Its exit code is the command's own, 128+n for a signal; 4 where its budget was used up. The command's output stays
    where it was; the footprint goes to stderr, or with --json to stdout after the command has ended.
    """
    command = list(context.args)
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        typer.echo("track needs a command: lowcarb track -- python train.py", err=True)
        return EXIT_USAGE
    if command[0].startswith("-"):
        raise SettingError("option", command[0], "one of `lowcarb track --help`, or a command after --")
    expected = None if forecast is None else _forecast(forecast)
    with _served(prometheus) as started:
        outcome = run_command(
            command,
            name=name,
            environ=hook_environment(os.environ) if hook else None,
            started=started,
            key=key,
            site=site,
            interval_s=interval,
            ledger=ledger,
            budget=budget,
            attribution=_attribution(attribution),
            forecast=expected,
        )
    # The command has ended, and its exit code is known: nothing that comes now may change it.
    tell(lambda: _settle(ledger))
    document = _document(name or command[0], outcome, expected)
    tell(lambda: emit(document, kind="run") if json else _print(outcome, site, expected))
    return EXIT_BUDGET if outcome.status == "over_budget" else outcome.exit_code


@contextmanager
def _served(port: int | None) -> Iterator[Callable[[Tracker], object] | None]:
    """What is to be called with the tracker, so that its metrics are served until the block ends.

    Raises:
        SettingError, MissingExtra: they cannot be served; nothing has begun then.
    """
    if port is None:
        yield None
        return
    from lowcarb.integrations.prometheus import serve  # noqa: PLC0415  # an extra, and for those only who ask

    collector = serve(port, strict=True)
    say(f"metrics at http://127.0.0.1:{collector.port}/metrics")
    try:
        yield collector.follow
    finally:
        collector.close()


def _forecast(path: str) -> Footprint:
    from lowcarb.tracker.foretold import read_forecast  # noqa: PLC0415  # for the few runs that have one

    return read_forecast(path)


def _attribution(text: str) -> Attribution:
    # Whatever else it is, the tracker's settings refuse it by name.
    return text  # type: ignore[return-value]


def _settle(ledger: str | None) -> None:
    """Have the run in the ledger now; where that cannot be had, it is in the journal."""
    guard = Guard()
    guard.run("ledger", lambda: opened(ledger).close(), None)
    for fault in guard.faults():
        say(f"the run is in its journal for now: {fault}")


def _document(name: str, outcome: Outcome, expected: Footprint | None) -> dict[str, object]:
    return {
        "name": name,
        "exit_code": outcome.exit_code,
        "status": outcome.status,
        "attempt": outcome.attempt_id if outcome.recorded else None,
        "footprint": outcome.footprint.as_dict() if outcome.recorded else None,
        "energy": energy_as_dict(outcome.energy) if outcome.recorded else None,
        "phases": [
            {
                "name": p.name, "wall_s": p.wall_s, "cpu_s": p.cpu_s, "blocks": p.blocks,
                "unresolved": list(p.unresolved), "footprint": p.footprint.as_dict(),
            }
            for p in outcome.phases
        ],
        "meter": {"cost_cpu_s": outcome.meter_cpu_s},
        "outlook": outcome.outlook.as_dict() if outcome.outlook else None,
        "forecast": expected.as_dict() if expected else None,
    }  # fmt: skip


def _print(outcome: Outcome, site: str | None, expected: Footprint | None) -> None:
    if not outcome.recorded:
        say("nothing was measured: the first process of this job on this node has no tracker to follow")
        return
    footprint = outcome.footprint
    say(f"energy  {quantity(footprint.energy_j, 'J')}, {footprint.energy_j.basis} ({footprint.scope})")
    say(f"carbon  {quantity(footprint.operational_g, 'g')} CO2e, {footprint.operational_g.basis}")
    if site is None:
        say("        nobody said where this ran: --site fra, say, narrows the carbon")
    if expected is not None:
        from lowcarb.report.foretold import told_of, told_words  # noqa: PLC0415  # for the few runs that have one

        for line in told_words(told_of("", expected.as_dict(), footprint.as_dict(), outcome.status)):
            say(line)
    if outcome.status == "over_budget":
        say("ended   its budget was used up; what was done until then is kept")
    if outcome.meter_cpu_s is not None:
        say(f"meter   {outcome.meter_cpu_s:.2g} s of processor time went into metering")
    say(f"kept as {outcome.attempt_id}: lowcarb ledger show {outcome.attempt_id}")
