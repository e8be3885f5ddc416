"""`lowcarb catalogue`: look a figure up, with its source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lowcarb.catalogue import Catalogue, Cpu, Published
from lowcarb.cli.console import Json, emit, out, say, show
from lowcarb.core.documents import plain
from lowcarb.core.estimate import Estimate
from lowcarb.core.units import BYTES_PER_GB, FLOP_PER_TFLOP, J_PER_KWH, KILO, MEGA
from lowcarb.errors import CatalogueError, SettingError

app = typer.Typer(help="Look a figure up, with its source.", no_args_is_help=True)

Id = Annotated[str | None, typer.Argument(help="One entry, by id or usual name. Default: all.")]


@app.command()
def devices(name: Id = None, *, json: Json = False) -> None:
    """Accelerators: peak speed, memory, power, embodied carbon, rent."""
    catalogue = Catalogue.load()
    _answer(
        "devices", catalogue, name, catalogue.device, catalogue.devices, json=json,
        columns=("id", "name", "TFLOP/s fp32", "fp16/bf16", "memory GB", "TDP W"),
        row=lambda d: (
            d.id, d.name, _over(d.peak_for("fp32"), FLOP_PER_TFLOP),
            _over(d.peak_for("bf16") or d.peak_for("fp16"), FLOP_PER_TFLOP), _over(d.memory_bytes, BYTES_PER_GB),
            _over(d.tdp_w, 1.0),
        ), right=(2, 3, 4, 5),
    )  # fmt: skip


@app.command()
def sites(name: Id = None, *, json: Json = False) -> None:
    """Grids and cloud regions: carbon of the electricity, PUE, water."""
    catalogue = Catalogue.load()
    _answer(
        "sites", catalogue, name, catalogue.site, catalogue.sites, json=json,
        columns=("id", "name", "gCO2e/kWh", "from", "to", "accounting", "year"),
        row=lambda s: (
            s.id, s.name, f"{s.intensity_g_per_kwh.mid:.0f}", f"{s.intensity_g_per_kwh.low:.0f}",
            f"{s.intensity_g_per_kwh.high:.0f}", s.accounting, str(s.year or "?"),
        ), right=(2, 3, 4),
    )  # fmt: skip


@app.command()
def models(
    name: Id = None,
    *,
    footprint: Annotated[
        bool, typer.Option("--footprint", help="Published figures beside lowcarb's forecasts, with the error.")
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option("--page", metavar="FILE.md", help="With --footprint: write it as a page, with a figure."),
    ] = None,
    json: Json = False,
) -> None:
    """Well-known language models: their shapes, and what their training cost."""
    catalogue = Catalogue.load()
    if page is not None and not footprint:
        raise SettingError("--page", str(page), "--footprint beside it: the page is of footprints")
    if footprint:
        _footprints(catalogue, name, page, json=json)
        return
    _answer(
        "models", catalogue, name, catalogue.model, catalogue.models, json=json,
        columns=("id", "kind", "layers", "width", "parameters", "active"),
        row=lambda m: (
            m.id, m.kind, str(m.layers + m.decoder_layers), str(m.width), f"{m.parameters:,}",
            f"{m.active_parameters:,}" if m.active_parameters < m.parameters else "",
        ), right=(2, 3, 4, 5),
    )  # fmt: skip


@app.command()
def published(name: Id = None, *, json: Json = False) -> None:
    """What was published on the training of well-known models, as it was published."""
    catalogue = Catalogue.load()
    _answer(
        "published", catalogue, name, catalogue.published_run, catalogue.published, json=json,
        columns=("id", "year", "device", "hours", "MWh", "scope", "tCO2e", "scope", "basis"),
        row=lambda p: (
            p.id, str(p.year), p.device or "?", _over(p.accelerator_hours, 1.0), _over(p.energy_j, KILO * J_PER_KWH),
            p.energy_scope or "", _over(p.co2_g, MEGA), p.co2_scope or "", p.basis,
        ), right=(1, 3, 4, 6),
    )  # fmt: skip


@app.command()
def cpus(
    name: Annotated[str, typer.Argument(help="A model name, as in /proc/cpuinfo.")], *, json: Json = False
) -> None:
    """A processor by its model name: rated power, cores, threads."""
    catalogue = Catalogue.load()

    def one(wanted: str) -> Cpu:
        found = catalogue.cpu(wanted)
        if found is None:
            raise CatalogueError("cpu", wanted, catalogue.cpu_names())
        return found

    _answer("cpus", catalogue, name, one, tuple, json=json, columns=(), row=lambda _: ())


@app.command()
def memory(name: Id = None, *, json: Json = False) -> None:
    """Memory: power and embodied carbon of a gigabyte."""
    catalogue = Catalogue.load()
    _answer(
        "memory", catalogue, name, catalogue.memory, catalogue.memories, json=json,
        columns=("id", "name", "W/GB", "gCO2e/GB"),
        row=lambda m: (m.id, m.name, _per_gb(m.power_w_per_byte), _per_gb(m.embodied_g_per_byte)),
        right=(2, 3),
    )  # fmt: skip


@app.command()
def tasks(name: Id = None, *, json: Json = False) -> None:
    """Well-known fine-tunings, to forecast by name."""
    catalogue = Catalogue.load()
    _answer(
        "tasks", catalogue, name, catalogue.task, catalogue.tasks, json=json,
        columns=("id", "title"), row=lambda t: (t.id, t.title),
    )  # fmt: skip


@app.command()
def sources(name: Id = None, *, json: Json = False) -> None:
    """Where the figures were read."""
    catalogue = Catalogue.load()
    _answer(
        "sources", catalogue, name, catalogue.source, catalogue.sources, json=json,
        columns=("id", "title", "published", "licence"),
        row=lambda s: (s.id, s.title, s.published, s.license),
    )  # fmt: skip


def _per_gb(figure: Estimate | None) -> str:
    if figure is None:
        return "?"
    low, mid, high = (f"{bound * BYTES_PER_GB:g}" for bound in (figure.low, figure.mid, figure.high))
    return f"{mid} ({low} to {high})" if low != high else mid


def _footprints(catalogue: Catalogue, name: str | None, page: Path | None, *, json: bool) -> None:
    """Every published figure beside its forecast: of one model, or of all."""
    from lowcarb.report import well_known as known  # noqa: PLC0415  # only where asked for
    from lowcarb.report import well_known_page as paper  # noqa: PLC0415
    from lowcarb.report.well_known_plot import standalone  # noqa: PLC0415

    runs = None if name is None else (_published_of(catalogue, name),)
    rows = known.comparisons(catalogue, runs)
    if page is not None:
        figure = page.with_suffix(".svg")
        try:
            figure.write_text(standalone(rows), encoding="utf-8")
            page.write_text(paper.page(rows, figure.name), encoding="utf-8")
        except OSError as error:
            raise SettingError("--page", str(page), f"a file that can be written: {error.strerror}") from None
        say(f"written: {page} and {figure}")
    if json:
        summaries = [one.as_dict() for one in known.summaries(rows)]
        emit({"note": paper.CALIBRATED, "footprints": [row.as_dict() for row in rows], "summaries": summaries},
             kind="model-footprints")  # fmt: skip
    elif page is None:
        columns = paper.COLUMNS if name is not None else paper.COLUMNS[:-1]
        for quantity in known.QUANTITIES:
            mine = [paper.cells(row)[: len(columns)] for row in rows if row.quantity == quantity]
            if mine:
                show(known.TITLES[quantity], columns, mine, right=paper.RIGHT)
        for one in known.summaries(rows) if name is None else ():
            out().print(paper.summary_line(one), markup=False)
        out().print(paper.CALIBRATED, markup=False)


def _published_of(catalogue: Catalogue, name: str) -> Published:
    """The published run of an id, or of the usual name of a model of the catalogue."""
    try:
        return catalogue.published_run(name)
    except CatalogueError:
        try:
            return catalogue.published_run(catalogue.model(name).id)
        except CatalogueError:
            pass
        raise


def _over(value: float | None, unit: float) -> str:
    return "?" if value is None else f"{value / unit:g}"


def _answer(
    kind: str, catalogue: Catalogue, name: str | None, one: Callable[[str], Any], all_: Callable[[], Iterable[Any]],
    *, json: bool, columns: Sequence[str], row: Callable[[Any], Sequence[str]], right: Sequence[int] = (),
) -> None:  # fmt: skip
    """One entry in full with its sources, or all of them in a table."""
    entries = [one(name)] if name is not None else list(all_())
    if json:
        documents = [_document(entry, catalogue, with_sources=name is not None) for entry in entries]
        emit(documents[0] if name is not None else {kind: documents}, kind=kind.removesuffix("s"))
    elif name is None:
        show(kind, columns, [row(entry) for entry in entries], right=right)
    else:
        document = _document(entries[0], catalogue, with_sources=True)
        for field, value in document.items():
            if field != "sources":
                out().print(f"{field:24} {_shown(value)}", markup=False)
        for source in document["sources"]:
            out().print(f"source  {source['title']} ({source['publisher']}, {source['published']})", markup=False)
            out().print(f"        {source['url']}", markup=False)


def _document(entry: Any, catalogue: Catalogue, *, with_sources: bool) -> dict[str, Any]:
    document: dict[str, Any] = plain({name: _json(value) for name, value in _fields(entry).items()})
    if with_sources:
        ids = getattr(entry, "sources", ())
        document["sources"] = [source.as_dict() for source in catalogue.sources(ids)] if ids else []
    return document


def _fields(entry: Any) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__dataclass_fields__}


def _json(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.as_dict()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "basis" in value:
        return f"{value['mid']:g} ({value['low']:g} to {value['high']:g}), {value['basis']}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {one:g}" for name, one in value.items())
    return "unknown" if value is None else str(value)
