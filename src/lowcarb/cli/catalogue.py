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
from lowcarb.core.units import BYTES_PER_GB, FLOP_PER_TFLOP, GIGA, J_PER_KWH, KILO, MEGA, S_PER_YEAR
from lowcarb.errors import CatalogueError, SettingError

app = typer.Typer(help="Look a figure up, with its source.", no_args_is_help=True)

Id = Annotated[str | None, typer.Argument(metavar="ID", help="One entry, by id or usual name. Default: all.")]


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
        columns=("id", "year", "device", "device hours", "MWh", "scope of energy", "tCO2e", "scope of carbon", "basis"),
        row=lambda p: (
            p.id, str(p.year), p.device or "?", _over(p.accelerator_hours, 1.0), _over(p.energy_j, KILO * J_PER_KWH),
            p.energy_scope or "", _over(p.co2_g, MEGA), p.co2_scope or "", p.basis,
        ), right=(1, 3, 4, 6),
    )  # fmt: skip


@app.command()
def cpus(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A model name, as in /proc/cpuinfo. Default: all.")
    ] = None,
    *, json: Json = False,
) -> None:  # fmt: skip
    """Processors by model name: rated power, cores, threads."""
    catalogue = Catalogue.load()

    def one(wanted: str) -> Cpu:
        found = catalogue.cpu(wanted)
        if found is None:
            raise CatalogueError("cpu", wanted, catalogue.cpu_names())
        return found

    _answer(
        "cpus", catalogue, name, one, lambda: map(one, sorted(catalogue.cpu_names())), json=json,
        columns=("name", "TDP W", "cores", "threads", "basis"),
        row=lambda c: (c.name, _over(c.tdp_w, 1.0), *(str(n or "?") for n in (c.cores, c.threads)), c.basis),
        right=(1, 2, 3),
    )  # fmt: skip


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
                title, text = _told(field, value)
                out().print(f"{title:24} {text}", markup=False, soft_wrap=True)
        for source in document["sources"]:
            out().print(f"source  {source['title']} ({source['publisher']}, {source['published']})", markup=False,
                        soft_wrap=True)  # fmt: skip
            out().print(f"        {source['url']}", markup=False, soft_wrap=True)


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


UNITS = {
    "bytes": (BYTES_PER_GB, "GB"), "bytes_per_s": (BYTES_PER_GB, "GB/s"), "w": (1.0, "W"), "g": (KILO, "kg CO2e"),
    "s": (S_PER_YEAR, "years"), "g_per_kwh": (1.0, "g CO2e/kWh"), "l_per_kwh": (1.0, "l/kWh"),
    "per_kwh": (1.0, "USD/kWh"), "per_hour": (1.0, "USD/h"), "j": (KILO * J_PER_KWH, "MWh"), "hz": (GIGA, "GHz"),
    "w_per_byte": (1.0 / BYTES_PER_GB, "W/GB"), "g_per_byte": (1.0 / BYTES_PER_GB, "g CO2e/GB"),
    "flops": (FLOP_PER_TFLOP, "TFLOP/s"),
}  # fmt: skip
"""By the end of a field's name, which is its unit: the size and the name of the one that people read it in."""


def _told(field: str, value: Any) -> tuple[str, str]:
    """A field and its value for people: `memory_bytes` of 1.6e10 is `memory`, `16 GB`."""
    ends = [end for end in UNITS if field.endswith(f"_{end}")]
    if not ends:
        return field.replace("_", " "), _shown(value, 1.0)
    end = max(ends, key=len)
    size, unit = UNITS[end]
    title, text = field.removesuffix(f"_{end}").replace("_", " "), _shown(value, size)
    if text == "unknown":
        return title, text
    figure, comma, basis = text.rpartition(", ") if isinstance(value, dict) and "basis" in value else (text, "", "")
    return title, f"{figure} {unit}{comma}{basis}"


def _shown(value: Any, size: float) -> str:
    if isinstance(value, dict) and "basis" in value:
        low, mid, high = (f"{value[bound] / size:.4g}" for bound in ("low", "mid", "high"))
        return f"{mid} ({low} to {high}), {value['basis']}" if low != high else f"{mid}, {value['basis']}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {one / size:g}" for name, one in value.items()) or "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value / size:.15g}"
    return "unknown" if value is None else str(value)
