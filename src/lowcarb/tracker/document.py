"""What the ledger keeps of an attempt, written the same way by a run that ends and for one that was cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from lowcarb.core.documents import energy_as_dict, energy_from_dict, machine_as_dict, site_as_dict
from lowcarb.core.energy import Energy, metering_j, with_lag
from lowcarb.core.footprint import measured_footprint
from lowcarb.core.hours import by_hour
from lowcarb.core.totals import Spell, devices_of
from lowcarb.core.units import NS_PER_S
from lowcarb.ledger.base import Attempt, Ledger, Status
from lowcarb.tracker.books import EnergyBetween, Entry, merged
from lowcarb.tracker.journal import Header
from lowcarb.tracker.pauses import Pauses

SCHEMA_VERSION = 1
MOST_POINTS = 200
"""Points of power over time that are kept of a device: a figure is a few hundred pixels wide."""
LEAST_COVERAGE = 0.5
"""Of a stretch that readings cover less than this, its power is a guess: it is left out."""
POWER_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of an attempt besides its phases."""

    status: Status
    ended_ns: int
    """Wall clock at the start plus monotonic time since, UTC, for display."""
    tokens: int = 0
    steps: int = 0
    notes: Mapping[str, object] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    meter_cpu_s: float | None = None
    """Processor time that metering took [s]; None where the run was cut off before it was summed up."""
    pauses: Pauses | None = None
    """When nothing was read; None where nobody looked."""


def document_of(
    header: Header, entries: Sequence[Entry], ending: Ending, energy_between: EnergyBetween
) -> dict[str, object]:
    """The document of an attempt."""
    energy = with_lag(merged([entry.energy for entry in entries]))
    ended_s = header.started_s + energy.duration_s
    cost_j = metering_j(energy, ending.meter_cpu_s, header.machine.threads)
    pauses = ending.pauses or Pauses(header.interval_s)
    faults = (
        *ending.faults,
        *pauses.faults(),
        *(f"{one.device}: {fault}" for one in energy.devices for fault in one.faults),
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": machine_as_dict(header.machine),
        "site": site_as_dict(header.site),
        "phases": [entry.phase(header.machine, header.site).as_dict() for entry in entries],
        "energy": energy_as_dict(energy),
        "hours": [hour.as_dict() for hour in by_hour(energy_between, header.started_s, ended_s, header.started_ns)],
        "power": power_of(energy_between, header, ended_s),
        "footprint": measured_footprint(energy, header.machine, header.site).as_dict(),
        "cpu_s": sum(entry.cpu_s for entry in entries),
        "wall_s": sum(entry.wall_s for entry in entries),
        "tokens": ending.tokens,
        "steps": ending.steps,
        "faults": list(dict.fromkeys(faults)),
        "notes": dict(ending.notes),
        "meter": {
            "cost_cpu_s": ending.meter_cpu_s,
            "cost_j": cost_j.as_dict() if cost_j else None,
            "interval_s": header.interval_s,
            "pauses": pauses.as_dict(header.started_s, energy_between),
            "missing": list(header.missing),
        },
        "attribution": header.attribution,
        "node": header.process.boot or header.process.host,
        "within": header.within,
    }


def power_of(energy_between: EnergyBetween, header: Header, ended_s: float) -> list[dict[str, object]]:
    """Mean power over time, by device, in at most `MOST_POINTS` stretches of one length.

    Each reading is integrated once, so this takes about as long as the energy of the whole does.

    Args:
        energy_between: energy of a part of the run.
        header: when it began, and how often it was read.
        ended_s: its end on the monotonic clock [s].

    Returns:
        By device: its kind, where each stretch starts [ns, UTC], how long each is [ns], and the mean power in it [W],
        None where readings cover too little of it.
    """
    length_s = ended_s - header.started_s
    if not length_s > 0:
        return []
    count = max(1, min(MOST_POINTS, int(length_s / header.interval_s)))
    step_s = length_s / count
    cuts_s = [header.started_s + number * step_s for number in range(count)] + [ended_s]
    parts = [energy_between(*between) for between in pairwise(cuts_s)]
    starts_ns = [header.started_ns + round(number * step_s * NS_PER_S) for number in range(count)]
    kinds = {device.device: device.kind for part in parts for device in part.devices}
    return [
        {
            "device": device,
            "kind": kind,
            "start_ns": starts_ns,
            "step_ns": round(step_s * NS_PER_S),
            "power_w": [_mean_w(part, device) for part in parts],
        }
        for device, kind in kinds.items()
    ]


def _mean_w(part: Energy, device: str) -> float | None:
    """Mean power of a device over a part [W]; None where too little of it was seen."""
    found = next((one for one in part.devices if one.device == device), None)
    if found is None or found.coverage < LEAST_COVERAGE or not part.duration_s > 0:
        return None
    return round(found.energy_j.mid / part.duration_s, POWER_DECIMALS)


def spell_of(attempt: Attempt) -> Spell | None:
    """An attempt as a part of a total; None where its document holds no energy, as while it runs."""
    document: Mapping[str, Any] = attempt.document
    if "energy" not in document or attempt.ended_ns is None:
        return None
    return Spell(
        attempt=attempt.id,
        within=document.get("within"),
        node=document.get("node"),
        started_ns=attempt.started_ns,
        ended_ns=attempt.ended_ns,
        devices=devices_of(energy_from_dict(document["energy"])),
        hours={hour["start_ns"]: hour["energy_j"]["mid"] for hour in document.get("hours", ())},
    )


def enter(ledger: Ledger, header: Header, ending: Ending, document: Mapping[str, object]) -> Attempt | None:
    """The attempt as the ledger now has it; None where it had its outcome already. May be done twice.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    if begin(ledger, header).status != "running":
        return None
    return ledger.finish(header.attempt_id, status=ending.status, ended_ns=ending.ended_ns, document=document)


def begin(ledger: Ledger, header: Header) -> Attempt:
    """The attempt, begun in the ledger if it was not."""
    return ledger.begin(
        attempt_id=header.attempt_id,
        key=header.key,
        kind=header.kind,
        name=header.name,
        study=header.study,
        started_ns=header.started_ns,
    )
