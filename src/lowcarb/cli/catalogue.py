"""`lowcarb catalogue`: look a figure up, with its source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, is_dataclass
from typing import Annotated, Any

import typer

from lowcarb.catalogue import Catalogue
from lowcarb.cli.console import Json, emit, out, show
from lowcarb.core.documents import plain
from lowcarb.core.estimate import Estimate
from lowcarb.core.units import BYTES_PER_GB, FLOP_PER_TFLOP

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
def models(name: Id = None, *, json: Json = False) -> None:
    """Well-known language models: their shapes."""
    catalogue = Catalogue.load()
    _answer(
        "models", catalogue, name, catalogue.model, catalogue.models, json=json,
        columns=("id", "kind", "layers", "width", "parameters"),
        row=lambda m: (m.id, m.kind, str(m.layers + m.decoder_layers), str(m.width), f"{m.parameters:,}"),
        right=(2, 3, 4),
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
