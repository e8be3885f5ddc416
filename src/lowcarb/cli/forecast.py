"""`lowcarb forecast`: the footprint of a training before it runs, on hardware that is not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from lowcarb.catalogue import Catalogue, ModelFacts
from lowcarb.cli.console import Json, emit, out, say, show
from lowcarb.core.estimate import Estimate
from lowcarb.core.forecast import Projection, contrast, forecast_tokens, forecast_training
from lowcarb.core.hardware import Device
from lowcarb.core.site import Site
from lowcarb.core.workload import ModelSpec
from lowcarb.errors import SettingError
from lowcarb.report.format import quantity

ModelId = Annotated[str | None, typer.Option("--model", metavar="ID", help="A model of the catalogue.")]
Params = Annotated[float | None, typer.Option("--params", help="Parameters, such as 7e9, with --tokens.")]
Tokens = Annotated[float | None, typer.Option("--tokens", help="Tokens to train on, such as 2e12.")]
Task = Annotated[str | None, typer.Option("--task", metavar="ID", help="A fine-tuning task of the catalogue: squad.")]
Examples = Annotated[int | None, typer.Option("--examples", help="Training examples, with --model.")]
Epochs = Annotated[float | None, typer.Option("--epochs", help="Passes over the examples.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="Examples a step.")]
Length = Annotated[int | None, typer.Option("--length", help="Tokens an example is padded to.")]
Precision = Annotated[str | None, typer.Option("--precision", help="fp32, tf32, bf16, fp16 or fp8.")]
Devices = Annotated[list[str], typer.Option("--device", metavar="ID", help="A device of the catalogue; repeatable.")]
Count = Annotated[int, typer.Option("--count", help="How many of the device.")]
Sites = Annotated[list[str], typer.Option("--site", metavar="ID", help="Where it would run; repeatable.")]


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be trained: a pretraining by tokens or a fine-tuning by examples."""

    params: float | None
    tokens: float | None
    model: ModelFacts | None
    examples: int | None
    epochs: float | None
    batch: int | None
    length: int | None
    precision: str | None

    def on(self, device: Device, site: Site, count: int) -> Projection:
        """The job on one device at one site."""
        if self.model is not None and self.examples is not None:
            return forecast_training(
                _spec(self.model), device, site, examples=self.examples, epochs=self.epochs or 1.0,
                batch=self.batch or 16, length=self.length or 384, precision=self.precision or "fp32", count=count,
            )  # fmt: skip
        params = self.params if self.model is None else float(self.model.active_parameters)
        if params is None or self.tokens is None:
            raise SettingError(
                "forecast",
                None,
                "--params and --tokens, or --model with --tokens, or --model with --task or --examples",
            )
        return forecast_tokens(params, self.tokens, device, site, count=count, precision=self.precision)


def forecast(
    *, model: ModelId = None, params: Params = None, tokens: Tokens = None, task: Task = None,
    examples: Examples = None, epochs: Epochs = None, batch_size: BatchSize = None, length: Length = None,
    precision: Precision = None, device: Devices, count: Count = 1,
    site: Sites = [], json: Json = False,  # noqa: B006  # typer reads it, nobody writes
) -> None:  # fmt: skip
    """What a training will cost, before it runs: energy, carbon, water, time and money, each with its interval."""
    catalogue = Catalogue.load()
    if model is not None and params is not None:
        raise SettingError("params", params, "either --model or --params, not both")
    preset = catalogue.task(task) if task is not None else None
    job = Job(
        params, tokens, catalogue.model(model) if model is not None else None,
        examples or (preset.examples if preset else None), epochs or (preset.epochs if preset else None),
        batch_size or (preset.batch if preset else None), length or (preset.length if preset else None), precision,
    )  # fmt: skip
    places = [catalogue.site(one) for one in site] or [catalogue.unknown_site()]
    scenarios = [(place, job.on(catalogue.device(name), place, count)) for place in places for name in device]
    if json:
        emit({"scenarios": _documents(scenarios)}, kind="forecast")
    else:
        _print(scenarios)


def _spec(model: ModelFacts) -> ModelSpec:
    return ModelSpec(
        model.id, model.kind, model.layers, model.width, model.ff, model.heads, model.vocab, model.positions,
        model.decoder_layers, output_vocabulary=model.kind != "encoder",
    )  # fmt: skip


def _ratio(projection: Projection, first: Projection) -> Estimate | None:
    """Energy over that of the first device; None for the first itself."""
    return None if projection is first else contrast(projection, first)


def _documents(scenarios: list[tuple[Site, Projection]]) -> list[dict[str, Any]]:
    first = scenarios[0][1]
    documents = []
    for site, projection in scenarios:
        ratio = _ratio(projection, first)
        documents.append(
            {
                "device": projection.device.id,
                "count": projection.count,
                "site": site.id,
                "bound": projection.bound,
                "fits": projection.fits,
                "power_w": projection.power_w.as_dict(),
                "energy_ratio_to_first": ratio.as_dict() if ratio else None,
                "footprint": projection.footprint.as_dict(),
            }
        )
    return documents


def _print(scenarios: list[tuple[Site, Projection]]) -> None:
    first = scenarios[0][1]
    rows = []
    for site, projection in scenarios:
        footprint, ratio = projection.footprint, _ratio(projection, first)
        rows.append(
            (
                f"{projection.count} × {projection.device.id}",
                site.id,
                quantity(footprint.duration_s, "s"),
                quantity(footprint.energy_j, "J"),
                quantity(footprint.operational_g, "g"),
                quantity(footprint.embodied_g, "g") if footprint.embodied_g else "unknown",
                quantity(footprint.water_l, "l") if footprint.water_l else "unknown",
                quantity(footprint.cost, "USD") if footprint.cost else "unknown",
                f"×{ratio.mid:.2f} ({ratio.low:.2f}-{ratio.high:.2f})" if ratio else "×1",
                projection.bound + ("" if projection.fits is not False else ", does not fit"),
            )
        )
    show(
        "Forecast, modelled: middle (from - to)",
        (
            "device",
            "site",
            "time",
            "energy",
            "carbon, operational",
            "embodied",
            "water",
            "rent",
            "energy ratio",
            "bound by",
        ),
        rows,
    )
    if any(not site.declared for site, _ in scenarios):
        say("no --site given: the carbon is for a world average and wide")
    out().print(
        "Energy is that of the devices with their share of a host; the building's share (PUE) is in the carbon."
    )
