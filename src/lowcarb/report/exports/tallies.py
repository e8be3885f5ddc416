"""What some attempts took, told by how they ended, by phase and by device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lowcarb.core.estimate import Basis, Estimate, total, weakest
from lowcarb.core.footprint import Footprint
from lowcarb.report.exports.spending import Spent, phase_footprint, whole_footprint
from lowcarb.report.exports.trained import arm_of
from lowcarb.report.records import TRAIN

PRELIMINARY = "preliminary"
"""Of an attempt that is done, but that no result rests on: an earlier version of a study, a search, a repetition."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The attempts that ended in one way."""

    status: str
    """done, preliminary, failed, interrupted, out_of_memory, diverged, over_budget or running."""
    attempts: int
    unmetered: int
    """Of them, those whose energy is not known: it is in no sum."""
    energy_j: Estimate | None
    """[J]; None where none is known."""
    operational_g: Estimate | None
    duration_s: Estimate | None


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of all attempts together."""

    name: str
    footprint: Footprint


@dataclass(frozen=True, slots=True)
class ArmUse:
    """What one training of an arm took: the mean over its done ones."""

    id: str
    trials: int
    energy_j: Estimate
    operational_g: Estimate
    duration_s: Estimate


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """One kind of device that the machines had."""

    id: str
    """Of the catalogue; `processor` for the processors with the server around them."""
    name: str
    kind: str
    count: float
    """The most of one machine; may be a fraction, as of a virtual machine."""
    memory_bytes: float | None
    time_s: float
    """Time in use of all of them together [s]."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The energy of one kind of device."""

    kind: str
    sensors: tuple[str, ...]
    basis: Basis
    energy_j: Estimate


def outcomes_of(spent: Sequence[Spent]) -> tuple[Outcome, ...]:
    """Attempts by how they ended: done first, then preliminary, then the others."""
    statuses = dict.fromkeys(("done", PRELIMINARY, *sorted({one.status for one in spent})))
    found = []
    for status in statuses:
        same = [one for one in spent if one.status == status]
        known = [one for one in same if one.energy_j is not None]
        if same:
            carbons = [one.operational_g for one in known]
            whole = None if None in carbons or not known else total(c for c in carbons if c is not None)
            times = total(one.duration_s for one in known if one.duration_s) if known else None
            found.append(Outcome(status, len(same), len(same) - len(known), energy_of(known), whole, times))
    return tuple(found)


def energy_of(spent: Iterable[Spent]) -> Estimate | None:
    """The energy of some attempts together [J]; None where none is known."""
    known = [one.energy_j for one in spent if one.energy_j is not None]
    return total(known) if known else None


def arms_of(spent: Iterable[Spent]) -> tuple[ArmUse, ...]:
    """What a training of each arm took, by the attempts that results rest on: the phase `train`, else all of it."""
    by_arm: dict[str, list[Spent]] = {}
    for one in spent:
        if (arm := arm_of(one.attempt)) is not None:
            by_arm.setdefault(arm, []).append(one)
    found = []
    for arm, same in by_arm.items():
        took = phase_footprint(same, TRAIN) or whole_footprint(same, None)
        trials = len({one.attempt.run_id for one in same})
        if took is not None:
            figures = (took.energy_j, took.operational_g, took.duration_s)
            found.append(ArmUse(arm, trials, *(figure.scale(1.0 / trials) for figure in figures)))
    return tuple(found)


def drawn_of(spent: Sequence[Spent]) -> tuple[Drawn, ...]:
    """Energy by kind of device."""
    parts = [(device, one.share) for one in spent if one.energy for device in one.energy.devices]
    found = []
    for kind in dict.fromkeys(device.kind for device, _ in parts):
        same = [(device, share) for device, share in parts if device.kind == kind]
        sensors = tuple(dict.fromkeys(device.sensor for device, _ in same))
        basis = weakest(device.energy_j.basis for device, _ in same)
        found.append(Drawn(kind, sensors, basis, total(device.energy_j.scale(share) for device, share in same)))
    return tuple(found)


def devices_of(spent: Sequence[Spent]) -> tuple[DeviceUse, ...]:
    """The devices that the machines had, each kind once."""
    found: dict[str, DeviceUse] = {}
    for one in spent:
        time_s = one.duration_s.mid if one.duration_s else 0.0
        for installed in one.machine.devices if one.machine else ():
            device, before = installed.device, found.get(installed.device.id)
            count = max(installed.count, before.count if before else 0.0)
            used_s = installed.count * time_s + (before.time_s if before else 0.0)
            found[device.id] = DeviceUse(device.id, device.name, device.kind, count, device.memory_bytes, used_s)
    return tuple(found.values())
