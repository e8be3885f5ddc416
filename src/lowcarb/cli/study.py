"""`lowcarb study`: run a study, check it without running, show what it found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from lowcarb.catalogue import Catalogue
from lowcarb.cli.console import (
    EXIT_FAILED,
    EXIT_USAGE,
    Json,
    LedgerPath,
    SiteId,
    counted,
    emit,
    out,
    say,
    show,
    writable,
)
from lowcarb.cli.ledger import opened
from lowcarb.cli.progress import ProgressLine
from lowcarb.core.site import Site
from lowcarb.errors import MissingExtra, SettingError
from lowcarb.integrations.trial_limits import may_limit, trial_limits
from lowcarb.lab.study import Bench, checked, run_study
from lowcarb.ledger.base import Ledger
from lowcarb.report.html import render_html
from lowcarb.report.records import read_study as recorded_study
from lowcarb.report.study import study_document
from lowcarb.report.table import study_table
from lowcarb.sensors.find import find_sensors
from lowcarb.sensors.machine import describe_machine

app = typer.Typer(help="Run a study, check it without running, show what it found.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A study file, such as studies/mini.yaml.")]
Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the file; repeatable.")]
Executor = Annotated[str, typer.Option("--executor", help="Where trials run: local.")]
ReportPath = Annotated[Path | None, typer.Option("--report", metavar="PATH", help="Write the HTML report here.")]


@app.command()
def run(
    file: File, *, site: SiteId = None, ledger: LedgerPath = None, report: ReportPath = None,
    executor: Executor = "local", set_: Set = [], json: Json = False,  # noqa: B006  # typer reads it, nobody writes
) -> int:  # fmt: skip
    """Run a study: every trial once, under the meter. Run it again to go on after a break."""
    if executor != "local":
        raise SettingError("executor", executor, "local: there is no other yet")
    from lowcarb.lab.studyfile import priced_at, read_study  # noqa: PLC0415  # pydantic models, built when needed

    report = writable("report", report)
    catalogue = Catalogue.load()
    study = priced_at(read_study(file, set_), site)
    place = _site(catalogue, study.site)
    _quiet_hub()
    try:
        from lowcarb.lab.preflight import preflight  # noqa: PLC0415  # loads torch
        from lowcarb.lab.runner import TorchRunner  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("a study", "lab") from error
    corpus, facts = preflight(study, file.parent, catalogue, may_limit=may_limit)
    findings = checked(study, facts)
    for finding in findings:
        say(f"{finding.level}: {finding.where}: {finding.message} [{finding.check}]")
    book = opened(ledger)
    try:
        with bench_here(book, catalogue, place) as bench:
            whole = run_study(study, corpus, TorchRunner(root=file.parent, limits=trial_limits), bench, ProgressLine())
        document = _document(book, study.id, catalogue, place, findings)
    finally:
        book.close()
    _tell(document, json=json)
    if report is not None:
        report.write_text(render_html(document), encoding="utf-8")
        say(f"report: {report.resolve()}")
    return 0 if whole else EXIT_FAILED


@app.command()
def check(
    file: File, *, set_: Set = [], json: Json = False  # noqa: B006  # typer reads it, nobody writes
) -> int:  # fmt: skip
    """Check a study without running it: its file, its data, and the traps that make a comparison mean nothing."""
    from lowcarb.core.check import check as lint  # noqa: PLC0415
    from lowcarb.lab.studyfile import read_study  # noqa: PLC0415

    study = read_study(file, set_)
    _quiet_hub()
    try:
        from lowcarb.lab.preflight import preflight  # noqa: PLC0415  # loads torch
    except ImportError as error:
        raise MissingExtra("checking a study's models", "lab") from error
    _, facts = preflight(study, file.parent, Catalogue.load(), may_limit=may_limit)
    findings = lint(study, facts)
    errors = [finding for finding in findings if finding.level == "error"]
    if json:
        document = {"study": study.id, "trials": len(study.arms) * len(study.seeds), "ok": not errors}
        emit({**document, "checks": [finding.as_dict() for finding in findings]}, kind="checks")
    else:
        for finding in findings:
            out().print(f"{finding.level:8} {finding.check}: {finding.where}: {finding.message}", markup=False)
            out().print(f"{'':8} → {finding.remedy}", markup=False)
        parts = counted(len(study.arms), "arm"), counted(len(study.seeds), "seed"), counted(len(errors), "error")
        out().print("{}: {} × {}, {}".format(study.id, *parts), markup=False)
    return EXIT_USAGE if errors else 0


@app.command("show")
def show_study(
    name: Annotated[str, typer.Argument(metavar="FILE_OR_ID", help="A study's id, or its file.")],
    *, site: SiteId = None, ledger: LedgerPath = None, json: Json = False,
) -> int:  # fmt: skip
    """What a study has found until now; with --site, priced for another place."""
    catalogue = Catalogue.load()
    book = opened(ledger, there=True)
    try:
        document = read_document(book, name, catalogue, site)
    finally:
        book.close()
    _tell(document, json=json)
    return 0


def read_document(book: Ledger, name: str, catalogue: Catalogue, site: str | None) -> dict[str, Any]:
    """The document of a study in the ledger, by the study's id or its file.

    Raises:
        SettingError: the ledger knows no such study.
    """
    study_id = name
    if Path(name).suffix in (".yaml", ".yml"):
        from lowcarb.lab.studyfile import read_study  # noqa: PLC0415

        study_id = read_study(Path(name)).id
    found = recorded_study(book, study_id)
    if found is None:
        known = sorted({run.study for run in book.runs(kind="trial", limit=10_000) if run.study})
        raise SettingError("study", study_id, f"one that the ledger has: {', '.join(known) or 'it has none yet'}")
    return study_document(*found, catalogue, _site(catalogue, site or found[0].site))


def _document(book: Ledger, study_id: str, catalogue: Catalogue, site: Site, findings: Any) -> dict[str, Any]:
    found = recorded_study(book, study_id)
    if found is None:
        raise SettingError("study", study_id, "a study with at least one attempt")
    return study_document(*found, catalogue, site, findings)


def _site(catalogue: Catalogue, name: str | None) -> Site:
    return catalogue.unknown_site() if name is None else catalogue.site(name)


@contextmanager
def bench_here(book: Ledger, catalogue: Catalogue, site: Site) -> Iterator[Bench]:
    """What trials run on here; its sensors are let go at the end."""
    found = find_sensors(catalogue)
    try:
        yield Bench(book, catalogue, describe_machine(catalogue, found), site, found.sensors)
    finally:
        found.close()


def _quiet_hub() -> None:
    """Keep the hub's own progress bars out of ours."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def _tell(document: dict[str, Any], *, json: bool) -> None:
    if json:
        emit({name: value for name, value in document.items() if name not in ("schema_version", "kind")}, kind="study")
        return
    for table in study_table(document):
        show(table.title, table.columns, table.rows, right=table.right)
        out().print()
