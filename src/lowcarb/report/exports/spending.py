"""What some attempts took together: each joule once, priced where each ran, and by what they came to.

A ledger's attempts may overlap (`lowcarb.core.totals`): of each attempt the share counts that no other has counted, and
its carbon, water, making and money count by the same share. Time of one machine is counted once too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lowcarb.core.documents import energy_from_dict, machine_from_dict, site_from_dict
from lowcarb.core.energy import Energy
from lowcarb.core.estimate import Estimate, total
from lowcarb.core.footprint import Footprint, cost, embodied_g, footprint_from_dict, operational_g, water_l
from lowcarb.core.hardware import Machine
from lowcarb.core.hours import Hour
from lowcarb.core.site import Site
from lowcarb.core.totals import Spell, Total, devices_of, total_energy
from lowcarb.core.units import s_from_ns
from lowcarb.ledger.base import Attempt

ALL_DEVICES = "all"
"""The one device of an attempt of which only the sum is known, as of an imported one."""


@dataclass(frozen=True, slots=True)
class Spent:
    """One attempt with what its document says, and how much of it counts."""

    attempt: Attempt
    status: str
    """As the ledger has it, or `preliminary`: done, but no result rests on it."""
    counts: bool
    """Whether the result rests on it."""
    lost: bool
    """Whether nothing rests on it, not even a later attempt that went on from its checkpoint."""
    energy: Energy | None
    recorded: Footprint | None
    machine: Machine | None
    site: Site | None
    """Where it is priced; None where neither it nor the reader says."""
    anew: bool = False
    """Whether that site is the reader's: else the carbon is as it was recorded."""
    share: float = 1.0
    """Of its energy, what no other attempt has counted, 0 to 1."""
    time_share: float = 1.0
    """Of its time, the same."""

    @property
    def energy_j(self) -> Estimate | None:
        """Its energy that counts [J]; None where nothing was metered."""
        whole = self.energy.energy_j if self.energy else self.recorded.energy_j if self.recorded else None
        return None if whole is None else whole.scale(self.share)

    @property
    def duration_s(self) -> Estimate | None:
        """Its time that counts [s]."""
        if self.energy:
            return Estimate.exact(self.energy.duration_s * self.time_share)
        return self.recorded.duration_s.scale(self.time_share) if self.recorded else None

    @property
    def measured_share(self) -> float | None:
        """Share of its energy that a sensor read, 0 to 1."""
        if self.energy:
            return self.energy.measured_share
        return self.recorded.measured_share if self.recorded else None

    @property
    def operational_g(self) -> Estimate | None:
        """Carbon of its electricity that counts [gCO2e]: as it was recorded, unless it is priced anew."""
        if self.recorded and not (self.anew and self.site):
            return self.recorded.operational_g.scale(self.share)
        return operational_g(self.energy_j, self.site) if self.energy_j is not None and self.site else None


def spent_of(attempt: Attempt, status: str, *, counts: bool, lost: bool, site: Site | None) -> Spent:
    """An attempt as a part of a whole, priced at this site; at its own where None."""
    document: Mapping[str, Any] = attempt.document
    energy, footprint = document.get("energy"), document.get("footprint")
    machine, own = document.get("machine"), document.get("site")
    known = energy_from_dict(energy) if energy else None
    return Spent(
        attempt=attempt,
        status=status,
        counts=counts,
        lost=lost,
        energy=known if known and known.devices else None,
        recorded=footprint_from_dict(footprint) if footprint else None,
        machine=machine_from_dict(machine) if machine else None,
        site=site or (site_from_dict(own) if own else None),
        anew=site is not None,
    )


def shared(spent: Sequence[Spent]) -> tuple[tuple[Spent, ...], Total]:
    """The attempts with the shares that count, and the total of their energy."""
    spells = {one.attempt.id: spell for one in spent if (spell := spell_of(one)) is not None}
    together = total_energy(spells.values())
    # The time of an attempt that ran inside another is in the other's.
    outermost = [spell for spell in spells.values() if spell.within not in spells]
    times = _time_shares(outermost)
    by_attempt = {spell.attempt: times[_node(spell)] for spell in outermost}
    return tuple(
        replace(
            one,
            share=together.shares.get(one.attempt.id, 1.0),
            time_share=by_attempt.get(one.attempt.id, 0.0 if one.attempt.id in spells else 1.0),
        )
        for one in spent
    ), together


def spell_of(one: Spent) -> Spell | None:
    """An attempt as a part of a total; None where its energy is not known, as while it runs."""
    document: Mapping[str, Any] = one.attempt.document
    if one.attempt.ended_ns is None or (one.energy is None and one.recorded is None):
        return None
    devices = devices_of(one.energy) if one.energy else {ALL_DEVICES: one.recorded.energy_j} if one.recorded else {}
    return Spell(
        attempt=one.attempt.id,
        within=document.get("within"),
        node=document.get("node"),
        started_ns=one.attempt.started_ns,
        ended_ns=one.attempt.ended_ns,
        devices=devices,
        hours={hour["start_ns"]: hour["energy_j"]["mid"] for hour in document.get("hours", ())},
    )


def _node(spell: Spell) -> str:
    return spell.node or f"attempt {spell.attempt}"


def _time_shares(spells: Iterable[Spell]) -> dict[str, float]:
    """By machine, the time that it was in use over the sum of the attempts' times: each moment counts once."""
    by_node: dict[str, list[Spell]] = {}
    for spell in spells:
        by_node.setdefault(_node(spell), []).append(spell)
    return {node: _union_share(same) for node, same in by_node.items()}


def _union_share(ordered: Sequence[Spell]) -> float:
    whole = sum(one.ended_ns - one.started_ns for one in ordered)
    union = _union_ns([(one.started_ns, one.ended_ns) for one in ordered])
    return union / whole if whole > 0 else 1.0


def _union_ns(spans: Iterable[tuple[int, int]]) -> int:
    """How long at least one of some spans lasts [ns]."""
    union, until = 0, None
    for began_ns, ended_ns in sorted(spans):
        union += max(0, ended_ns - (began_ns if until is None else max(until, began_ns)))
        until = ended_ns if until is None else max(until, ended_ns)
    return union


def wall_clock_s(spent: Iterable[Spent]) -> float | None:
    """Time during which at least one attempt ran, on whatever machine [s]; None where none has ended."""
    attempts = [one.attempt for one in spent]
    spans = [(one.started_ns, one.ended_ns) for one in attempts if one.ended_ns is not None]
    return s_from_ns(_union_ns(spans)) if spans else None


def whole_footprint(spent: Sequence[Spent], together: Total | None) -> Footprint | None:
    """What some attempts took together; None where the energy of none is known, or nobody knows their carbon.

    Args:
        spent: the attempts, shared.
        together: the total of their energy; None to add up what each counts.
    """
    known = [one for one in spent if one.energy_j is not None]
    energy_j = together.energy_j if together else total(one.energy_j for one in known if one.energy_j)
    carbons = [one.operational_g for one in known]
    if not known or any(carbon is None for carbon in carbons):
        return None
    times = total(one.duration_s for one in known if one.duration_s)
    return Footprint(
        energy_j=energy_j,
        operational_g=total(carbon for carbon in carbons if carbon is not None),
        embodied_g=_sum(known, _embodied_g),
        water_l=_sum(known, _water_l),
        cost=_sum(known, _cost),
        duration_s=times,
        measured_share=measured_share(known) or 0.0,
        scope=_scope(known),
        method=_method(known),
        sources=sources_of(known),
    )


def phase_footprint(spent: Sequence[Spent], phase: str) -> Footprint | None:
    """What one phase of some attempts took together; None where none of them has it."""
    parts = [
        replace(one, energy=energy_from_dict(found["energy"]), recorded=footprint_from_dict(found["footprint"]))
        for one in spent
        for found in one.attempt.document.get("phases", ())  # type: ignore[attr-defined]  # a list
        if found["name"] == phase
    ]
    return whole_footprint(parts, None)


def phases_of(spent: Iterable[Spent]) -> tuple[str, ...]:
    """The names of all phases, in the order in which they were first met."""
    documents: Iterable[Mapping[str, Any]] = (one.attempt.document for one in spent)
    return tuple(dict.fromkeys(phase["name"] for document in documents for phase in document.get("phases", ())))


def measured_share(spent: Iterable[Spent]) -> float | None:
    """Share of the energy of some attempts that a sensor read, 0 to 1; None of no energy."""
    parts = [(one.energy_j.mid, one.measured_share or 0.0) for one in spent if one.energy_j is not None]
    whole_j = sum(joules for joules, _ in parts)
    return sum(joules * share for joules, share in parts) / whole_j if whole_j > 0 else None


def sources_of(spent: Iterable[Spent]) -> tuple[str, ...]:
    """Ids of the sources of all sites and devices, each once."""
    found: list[str] = []
    for one in spent:
        found += one.site.sources if one.site else one.recorded.sources if one.recorded else ()
        found += [source for device in (one.machine.devices if one.machine else ()) for source in device.device.sources]
    return tuple(dict.fromkeys(found))


def hours_of(spent: Iterable[Spent]) -> tuple[Hour, ...]:
    """The energy by UTC hour, each attempt by its share, so that any accounting can be done later."""
    found: dict[int, Estimate] = {}
    for one in spent:
        for told in one.attempt.document.get("hours", ()):  # type: ignore[attr-defined]  # a list
            hour = Hour.from_dict(told)
            energy_j = hour.energy_j.scale(one.share)
            found[hour.start_ns] = found[hour.start_ns] + energy_j if hour.start_ns in found else energy_j
    return tuple(Hour(start_ns, energy_j) for start_ns, energy_j in sorted(found.items()))


def _sum(spent: Iterable[Spent], part: Callable[[Spent], Estimate | None]) -> Estimate | None:
    """The sum over some attempts; None where one of them is not known."""
    parts = [part(one) for one in spent]
    known = [one for one in parts if one is not None]
    return total(known) if known and len(known) == len(parts) else None


def _embodied_g(one: Spent) -> Estimate | None:
    if one.machine is None or one.energy is None:
        return one.recorded.embodied_g.scale(one.share) if one.recorded and one.recorded.embodied_g else None
    return embodied_g(one.machine, Estimate.exact(one.energy.duration_s * one.time_share))


def _water_l(one: Spent) -> Estimate | None:
    if one.site is None or one.energy_j is None:
        return one.recorded.water_l.scale(one.share) if one.recorded and one.recorded.water_l else None
    return water_l(one.energy_j, one.site)


def _cost(one: Spent) -> Estimate | None:
    if one.site is None or one.machine is None or one.energy_j is None or one.duration_s is None:
        return one.recorded.cost.scale(one.share) if one.recorded and one.recorded.cost else None
    return cost(one.energy_j, one.duration_s, one.machine, one.site)


def _scope(spent: Iterable[Spent]) -> str:
    kinds = [kind for one in spent for kind in kinds_of(one)]
    return "+".join(dict.fromkeys(kinds)) or "nothing"


def kinds_of(one: Spent) -> Sequence[str]:
    """The kinds of devices whose energy an attempt holds."""
    if one.energy:
        return [device.kind for device in one.energy.devices]
    return one.recorded.scope.split("+") if one.recorded else []


def _method(spent: Sequence[Spent]) -> str:
    sensors = dict.fromkeys(device.sensor for one in spent if one.energy for device in one.energy.devices)
    words = [f"metered: {', '.join(sensors)}; coverage {coverage_of(spent):.0%}"] if sensors else []
    words += dict.fromkeys(one.recorded.method for one in spent if not one.energy and one.recorded)
    return "; ".join(words) or "nothing was metered"


def coverage_of(spent: Iterable[Spent]) -> float:
    """Share of the time that readings cover, 0 to 1, of all that was metered."""
    timed = [(one.energy.duration_s, one.energy.coverage) for one in spent if one.energy]
    whole_s = sum(duration_s for duration_s, _ in timed)
    return sum(duration_s * coverage for duration_s, coverage in timed) / whole_s if whole_s > 0 else 0.0
