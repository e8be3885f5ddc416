"""The document of a run that another program metered, in the shape of the tracker's own.

So whatever reads the ledger reads these too. What the other program did not tell is None or left out, and
`provenance` keeps what it did tell, word for word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lowcarb.core.documents import energy_as_dict, machine_as_dict, site_as_dict
from lowcarb.core.energy import DeviceEnergy, Energy
from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import footprint_of
from lowcarb.core.hardware import Device, DeviceKind, Installed, Machine
from lowcarb.core.hours import by_hour
from lowcarb.core.site import Site
from lowcarb.ledger.exchange.base import content_id

SCHEMA_VERSION = 1
IMPORTED = "imported"


@dataclass(frozen=True, slots=True)
class Outside:
    """What is known of a run that another program metered."""

    program: str
    """Such as `codecarbon`."""
    started_ns: int
    duration_s: float
    devices: tuple[DeviceEnergy, ...]
    machine: Machine
    site: Site
    provenance: Mapping[str, object]
    faults: tuple[str, ...] = ()
    parts: Mapping[str, tuple[float, tuple[DeviceEnergy, ...]]] = field(default_factory=dict)
    """Time [s] and energy by phase, where it told them."""
    notes: Mapping[str, object] = field(default_factory=dict)
    attribution: str = "machine"
    node: str | None = None
    within: str | None = None
    operational_g: Estimate | None = None
    """Carbon as it was recorded; None where it follows from energy and site."""


def document_outside(run: Outside) -> dict[str, object]:
    """The document of an attempt. Its energy is spread evenly over its hours, as nothing else is known."""
    energy = Energy(run.duration_s, run.devices)

    def between(start_s: float, end_s: float) -> Energy:
        share = (end_s - start_s) / run.duration_s
        return energy if share >= 1.0 else _share(energy, share)

    figures = {
        "phases": [_phase(name, wall_s, devices, run) for name, (wall_s, devices) in run.parts.items()],
        "energy": energy_as_dict(energy),
        "hours": [hour.as_dict() for hour in by_hour(between, 0.0, run.duration_s, run.started_ns)],
        "footprint": _footprint(energy, run, run.operational_g),
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": machine_as_dict(run.machine),
        "site": site_as_dict(run.site),
        # A sum over no devices would be 0, and what nobody read is not 0.
        **(figures if run.devices else {}),
        "cpu_s": None,
        "wall_s": run.duration_s,
        "tokens": 0,
        "steps": 0,
        "faults": list(dict.fromkeys(run.faults)),
        "notes": dict(run.notes),
        "meter": {"cost_cpu_s": None, "cost_j": None, "interval_s": None, "pauses": None, "missing": []},
        "attribution": run.attribution,
        "node": run.node,
        "within": run.within,
        "provenance": {"kind": IMPORTED, "program": run.program, **run.provenance},
    }


def machine_outside(
    name: str, devices: Sequence[tuple[str, DeviceKind, float]], *, threads: int = 0, memory_bytes: float = 0.0,
    software: Mapping[str, str] | None = None,
) -> Machine:  # fmt: skip
    """A machine by what another program says of it: names, kinds and counts of its devices; nothing of what they draw.

    Equal descriptions have equal ids; that two machines are one, they do not say.
    """
    installed = tuple(Installed(Device(id=f"{kind}:{model}", name=model, kind=kind), n) for model, kind, n in devices)
    fingerprint = content_id("machine", name, *devices, threads, memory_bytes)
    return Machine(
        id=f"{IMPORTED}-{fingerprint[:12]}", name=name, devices=installed, threads=threads, memory_bytes=memory_bytes,
        software=dict(software or {}),
    )  # fmt: skip


def drawn(device: str, kind: DeviceKind, sensor: str, energy_j: Estimate) -> DeviceEnergy:
    """What another program says that a device drew, over the whole of the run."""
    return DeviceEnergy(device=device, kind=kind, sensor=sensor, energy_j=energy_j, coverage=1.0, gaps_s=0.0)


def _share(energy: Energy, share: float) -> Energy:
    devices = tuple(replace(one, energy_j=one.energy_j.scale(share).on("modelled")) for one in energy.devices)
    return Energy(energy.duration_s * share, devices)


def _phase(name: str, wall_s: float, devices: tuple[DeviceEnergy, ...], run: Outside) -> dict[str, object]:
    energy = Energy(wall_s, devices)
    return {
        "name": name,
        "wall_s": wall_s,
        "cpu_s": None,
        "blocks": 1,
        "unresolved": [],
        "energy": energy_as_dict(energy),
        "footprint": _footprint(energy, run, None),
    }


def _footprint(energy: Energy, run: Outside, operational_g: Estimate | None) -> dict[str, object]:
    footprint = footprint_of(
        energy.energy_j,
        Estimate.exact(energy.duration_s),
        run.machine,
        run.site,
        measured_share=energy.measured_share,
        scope="+".join(dict.fromkeys(device.kind for device in energy.devices)) or "nothing",
        method=f"imported from {run.program}",
    )
    return (replace(footprint, operational_g=operational_g) if operational_g else footprint).as_dict()
