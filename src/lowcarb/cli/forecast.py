"""`lowcarb forecast`: the footprint of a training before it runs, on hardware that is not here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lowcarb.catalogue import Catalogue, ModelFacts
from lowcarb.catalogue.config import read_config
from lowcarb.cli.batch import contrast_rows, forecast_rows, given
from lowcarb.cli.console import Json, LedgerPath, emit, out, say, show
from lowcarb.cli.jobs import BATCH, LENGTH, Outcome, Probe, Wanted, check_probe, outcomes
from lowcarb.cli.ledger import opened
from lowcarb.cli.measured import Measured, measured
from lowcarb.cli.serving import Serving, serving
from lowcarb.core.shape import FULL, Method
from lowcarb.core.site import Site
from lowcarb.core.workload import ModelSpec
from lowcarb.errors import SettingError
from lowcarb.report.format import quantity

ModelId = Annotated[str | None, typer.Option("--model", metavar="ID", help="A model of the catalogue.")]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="PATH", help="A Hugging Face config.json, or the folder it is in.")
]
Params = Annotated[float | None, typer.Option("--params", help="Parameters, such as 7e9, with --tokens.")]
Active = Annotated[
    float | None, typer.Option("--active-params", help="Parameters that each token passes, of a mixture of experts.")
]
Tokens = Annotated[float | None, typer.Option("--tokens", help="Tokens to train on, such as 2e12.")]
Task = Annotated[str | None, typer.Option("--task", metavar="ID", help="A fine-tuning task of the catalogue: squad.")]
Examples = Annotated[int | None, typer.Option("--examples", help="Training examples, with --model or --config.")]
Epochs = Annotated[float | None, typer.Option("--epochs", help="Passes over the examples.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="Examples a step.")]
Length = Annotated[int | None, typer.Option("--length", help="Tokens an example is padded to, or of a sequence.")]
Family = Annotated[str | None, typer.Option("--family", help="encoder, decoder, encoder-decoder, or any other word.")]
Precision = Annotated[str | None, typer.Option("--precision", help="fp32, tf32, bf16, fp16, 16bit or fp8.")]
Lora = Annotated[int | None, typer.Option("--lora", metavar="RANK", help="Train adapters of this rank: fine-tunings.")]
Checkpointing = Annotated[bool, typer.Option("--checkpointing", help="Compute activations anew: fine-tunings.")]
Devices = Annotated[list[str], typer.Option("--device", metavar="ID", help="A device of the catalogue; repeatable.")]
Count = Annotated[int | None, typer.Option("--count", help="How many of the device. Default: 1, or the run's.")]
Sites = Annotated[list[str], typer.Option("--site", metavar="ID", help="Where it would run; repeatable.")]
Pue = Annotated[float | None, typer.Option("--pue", help="Facility over machine energy, in place of the site's.")]
Intensity = Annotated[
    float | None, typer.Option("--intensity", metavar="G_PER_KWH", help="Of the grid, in place of the site's.")
]
ProbeSpeed = Annotated[
    float | None, typer.Option("--probe", metavar="TOKENS/S", help="Measured throughput of all devices together.")
]
ProbeWatts = Annotated[float | None, typer.Option("--probe-watts", help="Measured mean power of one device.")]
ProbeDevice = Annotated[
    str | None, typer.Option("--probe-device", metavar="ID", help="Where the probe ran. Default: the first --device.")
]
Run = Annotated[str | None, typer.Option("--run", metavar="ID", help="A tracked run as the probe, with its tokens.")]
Requests = Annotated[float | None, typer.Option("--requests", help="Requests it will answer: training shared out.")]
Prompt = Annotated[float, typer.Option("--prompt-tokens", help="Of a request.")]
Output = Annotated[float, typer.Option("--output-tokens", help="Of a request; 0 for a model that only reads.")]
InsteadOf = Annotated[
    str | None, typer.Option("--instead-of", metavar="ID", help="The larger model it would replace, or its parameters.")
]  # fmt: skip
Batch = Annotated[
    Path | None, typer.Option("--batch", metavar="CSV", help="Scenarios, one a row, columns named as the options.")
]
Contrast = Annotated[
    Path | None, typer.Option("--contrast", metavar="CSV", help="Jobs measured on one device, wanted on another.")
]


def forecast(
    *, model: ModelId = None, config: Config = None, params: Params = None, active_params: Active = None,
    tokens: Tokens = None, task: Task = None, examples: Examples = None, epochs: Epochs = None,
    batch_size: BatchSize = None, length: Length = None, family: Family = None, precision: Precision = None,
    lora: Lora = None, checkpointing: Checkpointing = False,
    device: Devices = [], count: Count = None, site: Sites = [], pue: Pue = None, intensity: Intensity = None,  # noqa: B006  # typer reads them, nobody writes
    probe: ProbeSpeed = None, probe_watts: ProbeWatts = None, probe_device: ProbeDevice = None, run: Run = None,
    ledger: LedgerPath = None,
    requests: Requests = None, prompt_tokens: Prompt = 500.0, output_tokens: Output = 250.0,
    instead_of: InsteadOf = None, batch: Batch = None, contrast: Contrast = None, json: Json = False,
) -> None:  # fmt: skip
    """What a training will cost, before it runs: energy, carbon, water, time and money, each with its interval."""
    catalogue = Catalogue.load()
    places = _places(catalogue, site, intensity, pue)
    if batch is not None or contrast is not None:
        _many(batch, contrast, places[0])
        return
    if not device:
        raise SettingError("device", "", "one of `lowcarb catalogue devices`, such as --device a100-sxm4-80gb")
    devices = [catalogue.device(name) for name in device]
    told = _probe(catalogue, probe, probe_watts, probe_device)
    if run is not None:
        seen = _measured(catalogue, ledger, run, told)
        told, tokens, count = seen.probe, _stated(tokens, seen.tokens), _stated(count, seen.count)
        params = params if params is not None or model is not None or config is not None else seen.params
    facts = catalogue.model(model) if model is not None else None
    spec = read_config(config) if config is not None else _spec(facts) if facts is not None else None
    preset = catalogue.task(task) if task is not None else None
    if examples is None and preset is None and epochs is not None:
        raise SettingError("epochs", epochs, "--examples or --task with it; --tokens counts those of all epochs")
    wanted = _wanted(
        facts, spec, params=params, active_params=active_params, tokens=tokens, family=family, precision=precision,
        examples=_stated(examples, preset.examples if preset else None),
        epochs=_stated(epochs, preset.epochs if preset else 1.0),
        batch=_stated(batch_size, preset.batch if preset else BATCH),
        length=_stated(length, preset.length if preset else None), probe=told,
        method=_method(lora, recompute=checkpointing),
    )  # fmt: skip
    many = 1 if count is None else count
    found = outcomes(wanted, devices, [catalogue.housed(place, many) for place in places], many)
    answered = None
    if requests is not None or instead_of is not None:
        answered = serving(
            catalogue, wanted, found[0], requests=requests, prompt_tokens=prompt_tokens, output_tokens=output_tokens,
            instead_of=instead_of,
        )  # fmt: skip
    if json:
        document: dict[str, Any] = {"scenarios": [outcome.as_dict() for outcome in found]}
        emit(document | ({"serving": answered.as_dict()} if answered else {}), kind="forecast")
    else:
        _print(found)
        _print_serving(answered)


def _stated(value: Any, otherwise: Any) -> Any:
    """What was said, be it a 0 that is refused by name later; otherwise what stands for it."""
    return otherwise if value is None else value


def _many(batch: Path | None, contrast: Path | None, place: Site) -> None:
    """The batch forms: documents only, whether --json is said or not."""
    if batch is not None and contrast is not None:
        raise SettingError("contrast", str(contrast), "either --batch or --contrast, not both")
    if batch is not None:
        emit({"scenarios": forecast_rows(batch, place)}, kind="forecast")
    elif contrast is not None:
        emit({"contrasts": contrast_rows(contrast)}, kind="contrast")


def _places(catalogue: Catalogue, names: Sequence[str], intensity: float | None, pue: float | None) -> list[Site]:
    """The sites asked for, with the figures that the user states; a world average where none is."""
    sites = [catalogue.site(name) for name in names] or [catalogue.unknown_site()]
    return [given(site, intensity, pue) for site in sites]


def _probe(catalogue: Catalogue, speed: float | None, watts: float | None, device: str | None) -> Probe | None:
    """What was measured in a short run, as the options say it."""
    if speed is None:
        if watts is not None or device is not None:
            raise SettingError("probe", None, "tokens/s, where --probe-watts or --probe-device is given")
        return None
    probe = Probe(speed, watts, catalogue.device(device) if device else None)
    check_probe(probe)
    return probe


def _measured(catalogue: Catalogue, ledger: str | None, run: str, told: Probe | None) -> Measured:
    """What a run of the ledger says, in place of a probe."""
    if told is not None:
        raise SettingError("run", run, "either --run or --probe, not both")
    book = opened(ledger)
    try:
        return measured(book, run, catalogue)
    finally:
        book.close()


def _method(lora: int | None, *, recompute: bool) -> Method:
    return Method(recompute=recompute) if lora is None else Method("lora", lora_rank=lora, recompute=recompute)


def _wanted(
    facts: ModelFacts | None, spec: ModelSpec | None, *, params: float | None, active_params: float | None,
    tokens: float | None, family: str | None, precision: str | None, examples: int | None, epochs: float, batch: int,
    length: int | None, probe: Probe | None, method: Method,
) -> Wanted:  # fmt: skip
    """What is to be trained, from options that must not contradict each other."""
    _agree(spec, params=params, tokens=tokens, examples=examples, method=method)
    for name, value in (("examples", examples), ("epochs", epochs), ("batch-size", batch), ("length", length)):
        if value is not None and not value > 0:
            raise SettingError(name, value, "more than 0")
    if facts is not None:
        params, active_params = float(facts.parameters), _stated(active_params, float(facts.active_parameters))
    elif spec is not None:
        params, active_params = float(spec.parameters), _stated(active_params, float(spec.active_parameters))
    if examples is not None:
        tokens = examples * epochs * (length or LENGTH)
    if params is None or tokens is None:
        raise SettingError(
            "forecast", None, "--params and --tokens, or a model with --tokens, or a model with --task or --examples"
        )
    return Wanted(
        params, active_params, tokens, spec, family or (spec.kind if spec else None), precision, examples, epochs,
        batch, length, probe, method,
    )  # fmt: skip


def _agree(
    spec: ModelSpec | None, *, params: float | None, tokens: float | None, examples: int | None, method: Method
) -> None:
    """Refuse options that contradict each other."""
    if spec is not None and params is not None:
        raise SettingError("params", params, "either --params or a model, not both")
    if tokens is not None and examples is not None:
        raise SettingError("tokens", tokens, "either --tokens or examples of a task, not both")
    if examples is not None and spec is None:
        raise SettingError("model", None, "--model or --config: the cost of a fine-tuning depends on the shape")
    if examples is None and method != FULL:
        raise SettingError("lora", method.lora_rank, "a fine-tuning by examples: --task or --examples, with a model")


def _spec(model: ModelFacts) -> ModelSpec:
    """The shape of a model of the catalogue: embeddings tied or not, whichever comes nearer to its parameters."""
    routed, modern = model.experts > 1, model.family in ("llama", "moe")
    shape = ModelSpec(
        model.id, model.kind, model.layers, model.width, model.ff, model.heads, model.vocab,
        0 if modern else model.positions, model.decoder_layers, gated=modern, output_vocabulary=model.kind != "encoder",
        kv_heads=model.kv_heads, experts=model.experts if routed else 0,
        experts_per_token=model.experts_per_token if routed else 0, rms=modern, dropout=not modern,
    )  # fmt: skip
    return min((shape, replace(shape, tied=False)), key=lambda one: abs(one.parameters - model.parameters))


def _print(found: list[Outcome]) -> None:
    rows = []
    for outcome in found:
        footprint, ratio = outcome.footprint, outcome.energy_ratio
        rows.append(
            (
                f"{outcome.count} × {outcome.device.id}, {outcome.details['precision']}",
                outcome.site.id,
                quantity(footprint.duration_s, "s"),
                quantity(footprint.energy_j, "J"),
                quantity(footprint.operational_g, "g"),
                quantity(footprint.embodied_g, "g") if footprint.embodied_g else "unknown",
                quantity(footprint.water_l, "l") if footprint.water_l else "unknown",
                quantity(footprint.cost, "USD") if footprint.cost else "unknown",
                f"×{ratio.mid:.2f} ({ratio.low:.2f}-{ratio.high:.2f})" if ratio else "×1",
                outcome.bound or f"known least: {outcome.details.get('dominant')}",
            )
        )
    show(
        "Forecast, modelled: middle (from - to)",
        ("device", "site", "time", "energy", "carbon, operational", "embodied", "water", "rent", "energy ratio",
         "bound by"),
        rows,
    )  # fmt: skip
    for outcome in {outcome.device.id: outcome for outcome in found}.values():
        for mark, words in (("+", outcome.sides.benefits), ("-", outcome.sides.drawbacks)):
            if words:
                out().print(f"{mark} {outcome.device.id}: {'; '.join(words)}", markup=False)
        remedies = outcome.details.get("remedies", ())
        if remedies:
            lead = "does not fit; one of these would do" if outcome.fits is False else "fits with"
            out().print(f"  {outcome.device.id} {lead}: {'; '.join(remedies)}", markup=False)
    if any(not outcome.site.declared for outcome in found):
        say("no --site given: the carbon is for a world average and wide")
    out().print(
        "Energy is that of the devices with their share of a host; the building's share (PUE) is in the carbon."
    )


def _print_serving(answered: Serving | None) -> None:
    if answered is not None:
        for line in answered.lines():
            out().print(line, markup=False)
