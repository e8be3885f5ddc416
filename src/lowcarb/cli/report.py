"""`lowcarb report`: what a study or a run came to, as a file for somebody else."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from stat import S_IMODE
from typing import Annotated, Any

import typer

from lowcarb.catalogue import Catalogue
from lowcarb.cli.console import LedgerPath, SiteId, say
from lowcarb.cli.ledger import opened
from lowcarb.cli.study import read_document
from lowcarb.core.estimate import Estimate
from lowcarb.core.site import Site
from lowcarb.errors import SettingError
from lowcarb.ledger.base import Ledger, Run
from lowcarb.report.csv import render_csv
from lowcarb.report.exports import EXPORTS, Account, account_of
from lowcarb.report.exports.account import Market, run_of_attempt
from lowcarb.report.format import writable
from lowcarb.report.html import render_html
from lowcarb.report.markdown import render_markdown

Document = Mapping[str, Any]
CARD = "model-card"
REPLACEMENT = "\ufffd"
INSTRUMENT = "as told on the command line: a contract, a supplier's factor or a residual mix"


def _render_json(document: Document) -> str:
    return json_module.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


REPORTS: Mapping[str, Callable[[Document], str]] = {
    "html": render_html,
    "md": render_markdown,
    "json": _render_json,
    "csv": render_csv,
}
"""The reports of a study; of a run there are the first three."""
FORMATS = (*REPORTS, *EXPORTS)

Name = Annotated[
    str | None,
    typer.Argument(metavar="RUN_OR_STUDY", help="A study's id or file, or a run's id. Default: the newest."),
]
Format = Annotated[str | None, typer.Option("--format", help=f"One of {', '.join(FORMATS)}. Default: html.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="PATH", help="A file. Default: stdout.")]
CardPath = Annotated[
    Path | None,
    typer.Option("--card", metavar="PATH", help="A model card to edit in place: only what lowcarb wrote is replaced."),
]
Force = Annotated[bool, typer.Option("--force", help="With --card: replace emissions that somebody else wrote.")]
PerUnit = Annotated[
    str | None, typer.Option("--per", help="With sci: run, tokens (a million) or quality. Default: run.")
]
MarketFactor = Annotated[
    float | None,
    typer.Option("--market", metavar="G_PER_KWH", help="With ghg: what your contract or residual mix emits."),
]
Instrument = Annotated[
    str | None, typer.Option("--instrument", metavar="TEXT", help="With --market: which contract or mix that is.")
]


def report(
    name: Name = None, *, format_: Format = None, output: Output = None, card: CardPath = None, force: Force = False,
    per: PerUnit = None, market: MarketFactor = None, instrument: Instrument = None, site: SiteId = None,
    ledger: LedgerPath = None,
) -> None:  # fmt: skip
    """Write what a study or a run came to: a page, Markdown, JSON, CSV, or the form that somebody asks for."""
    chosen = _format(format_ or (CARD if card else "html"))
    _check_options(chosen, card=card, force=force, output=output, per=per, market=market, instrument=instrument)
    catalogue = Catalogue.load()
    place = None if site is None else catalogue.site(site)
    said = _market(market, instrument)
    book = opened(ledger)
    try:
        subject = _newest(book) if name is None else _study_of_file(name)
        if chosen in EXPORTS:
            account = account_of(book, subject, catalogue, place, market=said)
            text = _export(chosen, account, per, card, force=force)
        else:
            text = _report(chosen, book, subject, catalogue, site, place)
    finally:
        book.close()
    _write(text, output, card)


def _format(name: str) -> str:
    """A format that there is.

    Raises:
        SettingError: there is none of this name; the error names all, and near ones.
    """
    if name in FORMATS:
        return name
    near = get_close_matches(name.lower().replace("_", "-"), FORMATS, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise SettingError("format", name, f"one of {', '.join(FORMATS)}{hint}")


def _check_options(chosen: str, *, card: Path | None, force: bool, output: Path | None, **others: object) -> None:
    """Refuse an option that the format has no use for.

    Raises:
        SettingError: there is one.
    """
    if card is not None and (chosen != CARD or output is not None):
        raise SettingError("card", str(card), f"to be used with --format {CARD} and without --output")
    if force and card is None:
        raise SettingError("force", force, "to be used with --card")
    for option, format_ in (("per", "sci"), ("market", "ghg"), ("instrument", "ghg")):
        if others[option] is not None and chosen != format_:
            raise SettingError(option, others[option], f"to be used with --format {format_}")
    if others["instrument"] is not None and others["market"] is None:
        raise SettingError("instrument", others["instrument"], "to be used with --market")


def _market(intensity_g_per_kwh: float | None, instrument: str | None) -> Market | None:
    if intensity_g_per_kwh is None:
        return None
    if not 0.0 <= intensity_g_per_kwh < float("inf"):
        raise SettingError("market", intensity_g_per_kwh, "grams of CO2e a kilowatt-hour, zero or more")
    return Market(Estimate.exact(intensity_g_per_kwh, "assumed"), instrument or INSTRUMENT)


def _newest(book: Ledger) -> str:
    """The newest run's id, or that of its study.

    Raises:
        SettingError: the ledger has no run.
    """
    newest = next(iter(book.runs(limit=1)), None)
    if newest is None:
        raise SettingError("run or study", None, "one in the ledger, which has none yet: `lowcarb track -- CMD`")
    return newest.study or newest.id


def _study_of_file(name: str) -> str:
    if Path(name).suffix not in (".yaml", ".yml"):
        return name
    from lowcarb.lab.studyfile import read_study  # noqa: PLC0415  # pydantic models, built when needed

    return read_study(Path(name)).id


def _export(chosen: str, account: Account, per: str | None, card: Path | None, *, force: bool) -> str:
    if card is not None:
        from lowcarb.report.exports.model_card import edit_card  # noqa: PLC0415  # one format of many

        return edit_card(_card_text(card), account, force=force)
    if per is not None:
        from lowcarb.report.exports.sci import render_sci  # noqa: PLC0415

        return render_sci(account, per)
    return EXPORTS[chosen].render(account)


def _report(
    chosen: str, book: Ledger, subject: str, catalogue: Catalogue, site: str | None, place: Site | None
) -> str:  # fmt: skip
    """The report of a study, or of a run where it names one."""
    run = None if book.runs(study=subject, limit=1) else book.run(subject) or run_of_attempt(book, subject)
    if run is None:
        return REPORTS[chosen](read_document(book, subject, catalogue, site))
    return _run_report(chosen, book, run, catalogue, place)


def _run_report(chosen: str, book: Ledger, run: Run, catalogue: Catalogue, place: Site | None) -> str:
    from lowcarb.report.run import render_run_html, render_run_markdown, run_document  # noqa: PLC0415

    renderers = {"html": render_run_html, "md": render_run_markdown, "json": _render_json}
    if chosen not in renderers:
        raise SettingError("format", chosen, "html, md or json for a run; `lowcarb ledger export` writes runs as CSV")
    text: str = renderers[chosen](run_document(book, run, catalogue, place))
    return text


def _card_text(path: Path) -> str:
    """A card's text, its newlines and even what is no UTF-8 as they are; empty where there is no file yet."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SettingError("card", str(path), f"a file that can be read ({error.strerror})") from error


def _write(text: str, output: Path | None, card: Path | None) -> None:
    """Write to a file, whole or not at all, or to stdout."""
    path = card or output
    # What was no UTF-8 in a card goes back as it came; half a surrogate pair in a name becomes a question mark, and a
    # NUL, with which a text counts as none, what HTML and Markdown put in its place.
    text = text if card else writable(text).replace("\0", REPLACEMENT)
    if path is None:
        typer.echo(text, nl=False)
        return
    content = text.encode("utf-8", "surrogateescape" if card else "strict")
    target = path.resolve()  # a link stays a link
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, content)
    except OSError as error:
        raise SettingError("output", str(path), f"a file that can be written ({error.strerror})") from error
    say(f"report: {target}")


def _replace(target: Path, content: bytes) -> None:
    """Put a whole new file in the place of another, with its permissions; write to what is no file, such as a pipe."""
    if target.exists() and not target.is_file():
        target.write_bytes(content)
        return
    new = target.with_name(f".{target.name[:50]}.{os.getpid()}")
    try:
        with new.open("xb") as file:
            file.write(content)
        if target.exists():
            new.chmod(S_IMODE(target.stat().st_mode))
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
