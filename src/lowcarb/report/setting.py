"""Where, on what and how a study ran, as rows of name, value and basis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from lowcarb.core.trial import Recipe
from lowcarb.core.units import BYTES_PER_GIB
from lowcarb.report.digest import Document, metric_of
from lowcarb.report.format import figure, number, percent, quantity
from lowcarb.report.summary import points_words


class Fact(NamedTuple):
    """A row."""

    name: str
    value: str
    basis: str = ""


RECIPE = (
    ("epochs", "epochs"), ("max_steps", "at most steps"), ("batch", "questions a step"),
    ("learning_rate", "learning rate"), ("schedule", "schedule"), ("warmup", "warm-up share"),
    ("weight_decay", "weight decay"), ("dropout", "dropout"), ("precision", "precision"), ("padding", "padding"),
    ("length", "window, tokens"), ("stride", "overlap, tokens"), ("fused", "fused optimizer step"),
    ("unmetered_epochs", "epochs outside the meter"),
)  # fmt: skip

UNUSUAL = (
    ("accumulation", "batches a step"), ("frozen_embeddings", "embeddings frozen"),
    ("frozen_layers", "lowest layers frozen"), ("lora_rank", "rank of adapters"),
    ("checkpointing", "activations computed anew"), ("compile", "compiled kernels"), ("attention", "attention"),
    ("data_share", "share of the questions"), ("selection", "which of them"),
    ("answer_windows", "only windows with the answer"), ("patience", "looks without a gain"), ("teacher", "teacher"),
    ("keep_memory", "freed memory kept"), ("least_gain", "least gain, points a training"),
)  # fmt: skip
"""Shown only where an arm has them otherwise than by default."""


def site(document: Document) -> tuple[Fact, ...]:
    """Where the energy was priced."""
    one = document["site"]
    rows = [Fact("Place", f"{one['name']} ({one['id']})" if one["declared"] else f"{one['name']}: not declared")]
    for name, title, unit in (
        ("intensity_g_per_kwh", "Carbon intensity", "g CO₂e/kWh"),
        ("pue", "PUE", ""),
        ("wue_l_per_kwh", "Water for cooling", "l/kWh"),
        ("grid_water_l_per_kwh", "Water of the electricity", "l/kWh"),
        ("price_per_kwh", "Price of electricity", "USD/kWh"),
    ):
        found = figure(one[name])
        rows.append(Fact(title, quantity(found, unit) if found else "not known", found.basis if found else ""))
    rows.append(Fact("Accounting", str(one["accounting"])))
    rows.append(Fact("Year of the intensity", str(one["year"] or "not known")))
    return tuple(rows)


def machine(document: Document) -> tuple[Fact, ...]:
    """What the trials ran on."""
    one = document["machine"]
    if one is None:
        return (Fact("Machine", "no trial has run yet"),)
    rows = [Fact("Machine", str(one["name"])), Fact("Virtual", "yes" if one["virtual"] else "no")]
    rows.append(Fact("Threads", str(one["threads"])))
    if one["memory_bytes"]:
        rows.append(Fact("Memory", f"{number(one['memory_bytes'] / BYTES_PER_GIB)} GiB"))
    for installed in one["devices"]:
        device = installed["device"]
        making = figure(device["embodied_g"])
        words = f"{installed['count']:g} × {device['name']}"
        rows.append(Fact(str(device["kind"]).upper(), words))
        if making:
            rows.append(Fact("Carbon of making it", quantity(making, "g"), making.basis))
    rows.append(Fact("Software", ", ".join(f"{name} {version}" for name, version in one["software"].items()) or "—"))
    return tuple(rows)


def design(document: Document) -> tuple[Fact, ...]:
    """What was asked, and of which data."""
    study, metric = document["study"], metric_of(document)
    data = study["data"]
    return (
        Fact("Question", str(study["question"])),
        Fact("Baseline", str(study["baseline"])),
        Fact("Judged by", f"{metric.name} on {study['split']} questions"),
        Fact("Margin", points_words(metric, float(study["margin"]))),
        Fact("Seeds", ", ".join(map(str, study["seeds"])) or "none"),
        Fact("Training questions", _data(data["train"], data["train_questions"])),
        Fact("Validation questions", _data(data["validation"], data["test_questions"])),
        Fact("Adversarial questions", _data(data["adversarial"], data["test_questions"])),
    )


def _data(name: str, most: int | None) -> str:
    return f"{name}, at most {most}" if most else str(name)


def recipe(document: Document) -> tuple[Fact, ...]:
    """How the arms were trained: what is common to all, and by arm what is not; levers are told elsewhere."""
    recipes = {
        f"{arm['model']['id']}/{arm['tokenizer']['id']}": arm["recipe"]
        for arm in document["study"]["arms"]
        if not arm.get("levers")
    }
    usual = asdict(Recipe())
    rows = []
    unusual = [(n, t) for n, t in UNUSUAL if any(one.get(n, usual[n]) != usual[n] for one in recipes.values())]
    for name, title in (*RECIPE, *unusual):
        values = {arm: _value(one[name]) for arm, one in recipes.items() if name in one}
        kinds = dict.fromkeys(values.values())
        if not any(kind != "—" for kind in kinds):
            continue
        if len(kinds) == 1:
            rows.append(Fact(title.capitalize(), next(iter(kinds))))
        else:
            rows.append(Fact(title.capitalize(), "; ".join(f"{arm}: {value}" for arm, value in values.items())))
    return tuple(rows)


def _value(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def coverage(document: Document) -> tuple[Fact, ...]:
    """What the energy covers, and how it was got."""
    footprints = [p["footprint"] for t in document["trials"] for p in t["phases"] if p["footprint"]]
    return (
        Fact("Energy covers", _joined(footprints, "scope")),
        Fact("Got by", _method(footprints)),
        Fact("Time, CPU time", "clocks of the machine", "measured" if footprints else ""),
        Fact("Quality", "answers scored against the data's own", "measured" if footprints else ""),
        Fact("Carbon", "energy priced at the site", _basis(footprints)),
    )


def _joined(footprints: Iterable[Mapping[str, Any]], name: str) -> str:
    return "; ".join(dict.fromkeys(str(one[name]) for one in footprints)) or "nothing yet"


def _method(footprints: Sequence[Mapping[str, Any]]) -> str:
    """How the energy was got: what most of it was first, then each other way with its share."""
    energy_j: dict[str, float] = {}
    for one in footprints:
        energy_j[str(one["method"])] = energy_j.get(str(one["method"]), 0.0) + one["energy_j"]["mid"]
    first, *others = sorted(energy_j, key=lambda method: -energy_j[method]) or ["nothing yet"]
    whole_j = sum(energy_j.values()) or 1.0
    return "; ".join([first, *(f"{percent(energy_j[other] / whole_j)} of it: {other}" for other in others)])


def _basis(footprints: Iterable[Mapping[str, Any]]) -> str:
    return next((str(one["operational_g"]["basis"]) for one in footprints), "")
