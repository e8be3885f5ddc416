"""`lowcarb demo`: the full report of a study that was recorded, in seconds, without training anything."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from lowcarb.cli.console import say
from lowcarb.errors import SettingError
from lowcarb.report.demo import recording
from lowcarb.report.html import render_html

USUAL = Path("lowcarb-demo.html")

Output = Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="Where to write the page.")]
Open = Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")]


def demo(*, output: Output = USUAL, open_: Open = True) -> None:
    """Show the report of a recorded run of studies/mini.yaml: what you would get, with no training."""
    document = recording()
    path = output.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render_html(document), encoding="utf-8")
    except OSError as error:
        raise SettingError("output", str(output), f"a file that can be written ({error.strerror})") from error
    recorded, machine = document["recorded"], document["machine"]
    say(f"report: {path}")
    say(f"recorded on {recorded['date']} on {machine['name']} from {recorded['file']}; nothing was trained now")
    if open_ and not webbrowser.open(path.as_uri()):
        say("no browser was found: open the file yourself")
