"""`lowcarb report`: what a study found, as a file for somebody else."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lowcarb.catalogue import Catalogue
from lowcarb.cli.console import LedgerPath, SiteId, say
from lowcarb.cli.ledger import opened
from lowcarb.cli.study import read_document
from lowcarb.errors import SettingError
from lowcarb.report.csv import render_csv
from lowcarb.report.html import render_html
from lowcarb.report.markdown import render_markdown


def _render_json(document: Mapping[str, Any]) -> str:
    return json_module.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "html": render_html,
    "md": render_markdown,
    "json": _render_json,
    "csv": render_csv,
}

Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="PATH", help="A file. Default: stdout.")]


def report(
    name: Annotated[str | None, typer.Argument(metavar="STUDY", help="A study's id. Default: the newest.")] = None,
    *, format_: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "html",
    output: Output = None, site: SiteId = None, ledger: LedgerPath = None,
) -> None:  # fmt: skip
    """Write what a study found: one self-contained HTML page, Markdown, JSON, or a CSV of its trials."""
    if format_ not in FORMATS:
        raise SettingError("format", format_, f"one of {', '.join(FORMATS)}")
    book = opened(ledger)
    try:
        newest = next((run.study for run in book.runs(kind="trial", limit=1) if run.study), None)
        if name is None and newest is None:
            raise SettingError("study", None, "a study in the ledger: run one with `lowcarb study run FILE`")
        document = read_document(book, name or str(newest), Catalogue.load(), site)
    finally:
        book.close()
    text = FORMATS[format_](document)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
        say(f"report: {output.resolve()}")
