"""The commands, and how an error becomes a message and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from lowcarb import __version__
from lowcarb.cli import advise, catalogue, demo, doctor, forecast, ledger, levers, reduce, report, serve, study, track
from lowcarb.cli.console import (
    EXIT_BUDGET,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    say,
)
from lowcarb.errors import BudgetExceeded, CatalogueError, DataError, LowcarbError, SettingError, StudyError

# Typer carries its own copy of click or uses the installed one, by version: so the base class is found by its name.
BadUsage: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="lowcarb",
    help="The carbon footprint of training language models: forecast it, measure it, compare it, reduce it.",
    no_args_is_help=True,
    # A traceback's local variables may hold tokens.
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("doctor")(doctor.doctor)
app.command("detect", hidden=True)(doctor.doctor)  # what others call it
app.command("forecast")(forecast.forecast)
app.command(
    "track",
    # All after the first `--`, or after the first word that is no option, belongs to the command.
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)(track.track)
app.add_typer(study.app, name="study")
app.command("advise")(advise.advise)
app.command("levers")(levers.levers)
app.command("reduce")(reduce.reduce)
app.command("report")(report.report)
app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.add_typer(catalogue.app, name="catalogue")
app.add_typer(ledger.app, name="ledger")


def _version(value: bool) -> None:  # noqa: FBT001  # typer's callback
    if value:
        typer.echo(f"lowcarb {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *, version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version.")
) -> None:
    del version


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code.

    0 done, 1 failed, 2 usage or bad input, 3 nothing measurable under --strict, 4 budget exceeded, 130 interrupted;
    `track` passes the child's own.
    """
    try:
        result = app(list(arguments), standalone_mode=False)
    except typer.Exit as error:
        return error.exit_code
    except BadUsage as error:
        error.show()
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted; what was measured until now is in the ledger, and the same command goes on from there")
        return EXIT_INTERRUPTED
    except BudgetExceeded as error:
        say(f"stopped: {error}. What was done until now is kept")
        return EXIT_BUDGET
    except (SettingError, CatalogueError, StudyError, DataError) as error:
        say(f"error: {error}")
        return EXIT_USAGE
    except LowcarbError as error:
        say(f"error: {error}")
        return EXIT_FAILED
    return result if isinstance(result, int) else 0
