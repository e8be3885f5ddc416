"""Rows of `devices.csv`, one fact each, put together to devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from lowcarb.catalogue.tables import Row, choice, figure, scalar, sources
from lowcarb.core.hardware import Device, DeviceKind

_PEAK = "peak_"
FIELDS = (
    "name", "vendor", "kind", "peak_fp32", "peak_tf32", "peak_bf16", "peak_fp16", "peak_fp8",
    "memory", "bandwidth", "tdp", "idle", "embodied", "lifetime", "price",
)  # fmt: skip
"""All facts that a device may have in the table."""


def devices(rows: Iterable[Row]) -> Mapping[str, Device]:
    """Devices by id, in the order of the table.

    Raises:
        ValueError: a field is none of `FIELDS`.
    """
    facts: dict[str, dict[str, Row]] = {}
    for row in rows:
        choice(row["field"], FIELDS)
        facts.setdefault(row["device"], {})[row["field"]] = row
    return {id_: _device(id_, of) for id_, of in facts.items()}


def _device(id_: str, facts: Mapping[str, Row]) -> Device:
    numbers = {name: scalar(facts[name]) for name in ("memory", "bandwidth", "tdp", "idle") if name in facts}
    estimates = {name: figure(facts[name]) for name in ("embodied", "lifetime", "price") if name in facts}
    return Device(
        id=id_,
        name=facts["name"]["value"],
        kind=choice(facts["kind"]["value"], get_args(DeviceKind)),
        peak_flops={name.removeprefix(_PEAK): scalar(row) for name, row in facts.items() if name.startswith(_PEAK)},
        memory_bytes=numbers.get("memory"),
        bandwidth_bytes_per_s=numbers.get("bandwidth"),
        tdp_w=numbers.get("tdp"),
        idle_w=numbers.get("idle"),
        embodied_g=estimates.get("embodied"),
        lifetime_s=estimates.get("lifetime"),
        price_per_hour=estimates.get("price"),
        sources=sources(*facts.values()),
    )
