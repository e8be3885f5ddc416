"""The ledger in the columns of CodeCarbon's `emissions.csv`, for those who have programs that read it.

The columns and their order are those of CodeCarbon 3.3.2. Its units: kWh with the building's share, kg, W, GB; its
`timestamp` is the end, without a zone: here UTC. What the ledger does not know is an empty cell, never 0. Intervals,
basis and embodied carbon have no column there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowcarb.core.units import BYTES_PER_GB, G_PER_KG, kwh_from_j, s_from_ns
from lowcarb.ledger.exchange.clock import moment_of
from lowcarb.ledger.exchange.codecarbon import PROGRAM
from lowcarb.ledger.exchange.flat import Entry

HEADER = (
    "timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions", "emissions_rate", "cpu_power",
    "gpu_power", "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed", "water_consumed",
    "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region", "os", "python_version",
    "codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude", "latitude",
    "ram_total_size", "tracking_mode", "cpu_utilization_percent", "gpu_utilization_percent",
    "ram_utilization_percent", "ram_used_gb", "on_cloud", "pue", "wue",
)  # fmt: skip
KINDS = {"cpu": ("cpu",), "gpu": ("gpu", "tpu", "npu"), "ram": ("dram",)}
ALPHA_3 = 3
KEPT = (
    "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region", "os", "python_version",
    "codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude", "latitude", "on_cloud",
    "cpu_utilization_percent", "gpu_utilization_percent", "ram_utilization_percent", "ram_used_gb", "experiment_id",
)  # fmt: skip
"""Columns of a row that was CodeCarbon's own, which go out as they came in."""


def codecarbon_row(entry: Entry) -> dict[str, Any]:
    """The cells of an attempt by column name; of what is unknown, None."""
    attempt, site = entry.attempt, entry.part("site")
    row: dict[str, Any] = dict.fromkeys(HEADER)
    if attempt.ended_ns is not None:
        row["timestamp"] = moment_of(attempt.ended_ns).strftime("%Y-%m-%dT%H:%M:%S")
        row["duration"] = s_from_ns(attempt.ended_ns - attempt.started_ns)
    pue = _mid(site.get("pue"))
    emissions_g = entry.figure("operational_g", "mid")
    row |= {
        "project_name": entry.tags.get("project") or entry.run.name,
        "run_id": attempt.id,
        "experiment_id": entry.run.study or entry.run.id,
        "emissions": None if emissions_g is None else emissions_g / G_PER_KG,
        "energy_consumed": _kwh(entry.figure("energy_j", "mid"), pue),
        "water_consumed": entry.figure("water_l", "mid"),
        "country_name": site.get("name") if site.get("declared") else None,
        "country_iso_code": _iso(site),
        "tracking_mode": {"process": "process", "machine": "machine"}.get(entry.document.get("attribution") or ""),
        "pue": pue,
        "wue": _mid(site.get("wue_l_per_kwh")),
        **_machine(entry),
    }
    for part, kinds in KINDS.items():
        energy_j = _drawn_j(entry, kinds)
        row[f"{part}_energy"] = _kwh(energy_j, pue)
        row[f"{part}_power"] = energy_j / row["duration"] if energy_j is not None and row["duration"] else None
    if row["emissions"] is not None and row["duration"]:
        row["emissions_rate"] = row["emissions"] / row["duration"]
    provenance = entry.part("provenance")
    if provenance.get("program") == PROGRAM and isinstance(provenance.get("fields"), Mapping):
        row |= {name: cell for name, cell in provenance["fields"].items() if name in KEPT}
    return row


def _machine(entry: Entry) -> dict[str, Any]:
    machine = entry.part("machine")
    found: dict[str, Any] = {"cpu_count": machine.get("threads") or None}
    memory_bytes = machine.get("memory_bytes")
    found["ram_total_size"] = memory_bytes / BYTES_PER_GB if memory_bytes else None
    software = machine.get("software") or {}
    found["python_version"], found["os"] = software.get("python"), software.get("os")
    devices = machine.get("devices") or ()
    for part in ("cpu", "gpu"):
        mine = [one for one in devices if one["device"]["kind"] in KINDS[part]]
        found[f"{part}_model"] = ", ".join(dict.fromkeys(one["device"]["name"] for one in mine)) or None
        if part == "gpu" and mine:
            found["gpu_count"] = sum(one["count"] for one in mine)
    return found


def _drawn_j(entry: Entry, kinds: tuple[str, ...]) -> float | None:
    drawn = [one["energy_j"]["mid"] for one in entry.part("energy").get("devices") or () if one["kind"] in kinds]
    return sum(drawn) if drawn else None


def _kwh(energy_j: float | None, pue: float | None) -> float | None:
    return None if energy_j is None else kwh_from_j(energy_j) * (pue or 1.0)


def _iso(site: Mapping[str, Any]) -> str | None:
    """The country of a site whose id says it: `fra`, or `us-ca` for a state."""
    id_ = site.get("id") or ""
    if not site.get("declared"):
        return None
    if id_.startswith("us-"):
        return "USA"
    return id_.upper() if len(id_) == ALPHA_3 and id_.isalpha() else None


def _mid(figure: Any) -> float | None:
    return figure.get("mid") if isinstance(figure, Mapping) else None
