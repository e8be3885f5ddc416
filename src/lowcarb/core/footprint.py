"""Energy × site, machine → `Footprint`. A forecast and a measurement return this one type.

operational_g = energy × PUE × intensity                          (GHG Protocol scope 2, location-based)
embodied_g    = Σ devices (embodied / lifetime) × duration        (ISO/IEC 21031:2024, the term M)
water_l       = energy × WUE + energy × PUE × grid water          (Li et al. 2023, arXiv 2304.03271, eq. 1-3)
cost          = rent of the devices × duration, or energy × PUE × price where nothing is rented
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lowcarb.core.energy import Energy
from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Machine
from lowcarb.core.site import Site
from lowcarb.core.units import J_PER_KWH, S_PER_HOUR


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a run costs, forecast or measured. Unknown is None, never zero."""

    energy_j: Estimate
    """Energy of what `scope` names, before the building's share [J]."""
    operational_g: Estimate
    """Carbon of the electricity, the building's share (PUE) included [gCO2e]."""
    embodied_g: Estimate | None
    """Share of the carbon of making the devices [gCO2e]."""
    water_l: Estimate | None
    """Water evaporated on site and consumed in making the electricity [l]."""
    cost: Estimate | None
    """Rent of the devices, or the electricity where nothing is rented [USD]."""
    duration_s: Estimate
    measured_share: float
    """Share of the energy that was read off a sensor, 0 to 1."""
    scope: str
    """What the energy covers, in words."""
    method: str
    """How it was got, in words."""
    sources: tuple[str, ...]
    """Ids of the catalogue's sources."""

    def as_dict(self) -> dict[str, object]:
        """The JSON form, by field name."""
        return {
            "energy_j": self.energy_j.as_dict(),
            "operational_g": self.operational_g.as_dict(),
            "embodied_g": self.embodied_g.as_dict() if self.embodied_g else None,
            "water_l": self.water_l.as_dict() if self.water_l else None,
            "cost": self.cost.as_dict() if self.cost else None,
            "duration_s": self.duration_s.as_dict(),
            "measured_share": self.measured_share,
            "scope": self.scope,
            "method": self.method,
            "sources": list(self.sources),
        }


def operational_g(energy_j: Estimate, site: Site) -> Estimate:
    """Carbon of the electricity [gCO2e] of machine energy [J] drawn at a site."""
    return (energy_j * site.pue * site.intensity_g_per_kwh).scale(1.0 / J_PER_KWH)


def embodied_g(machine: Machine, duration_s: Estimate) -> Estimate | None:
    """Share of the devices' making [gCO2e] that a time of use carries; None where nothing is known of them."""
    per_s = machine.embodied_g_per_s
    return None if per_s is None else per_s * duration_s


def water_l(energy_j: Estimate, site: Site) -> Estimate | None:
    """Water [l] of machine energy [J] drawn at a site; None unless both the building's and the grid's are known."""
    if site.wue_l_per_kwh is None or site.grid_water_l_per_kwh is None:
        return None
    return (energy_j * (site.wue_l_per_kwh + site.pue * site.grid_water_l_per_kwh)).scale(1.0 / J_PER_KWH)


def cost(energy_j: Estimate, duration_s: Estimate, machine: Machine, site: Site) -> Estimate | None:
    """Money [USD]: the devices' rent, or the electricity where they have none; None where neither is known."""
    if machine.price_per_hour is not None:
        return (machine.price_per_hour * duration_s).scale(1.0 / S_PER_HOUR)
    if site.price_per_kwh is not None:
        return (energy_j * site.pue * site.price_per_kwh).scale(1.0 / J_PER_KWH)
    return None


def footprint_of(
    energy_j: Estimate,
    duration_s: Estimate,
    machine: Machine,
    site: Site,
    *,
    measured_share: float,
    scope: str,
    method: str,
) -> Footprint:
    """Footprint of machine energy [J] drawn over a duration [s] by a machine at a site."""
    device_sources = (source for one in machine.devices for source in one.device.sources)
    return Footprint(
        energy_j=energy_j,
        operational_g=operational_g(energy_j, site),
        embodied_g=embodied_g(machine, duration_s),
        water_l=water_l(energy_j, site),
        cost=cost(energy_j, duration_s, machine, site),
        duration_s=duration_s,
        measured_share=measured_share,
        scope=scope,
        method=method,
        sources=tuple(dict.fromkeys((*site.sources, *device_sources))),
    )


def measured_footprint(energy: Energy, machine: Machine, site: Site) -> Footprint:
    """Footprint of what the meter saw."""
    sensors = ", ".join(dict.fromkeys(device.sensor for device in energy.devices)) or "no sensor"
    short = energy.unresolved()
    too_short = f"; too short for the readings of {', '.join(short)}, so a guess" if short else ""
    return footprint_of(
        energy.energy_j,
        Estimate.exact(energy.duration_s),
        machine,
        site,
        measured_share=energy.measured_share,
        scope="+".join(dict.fromkeys(device.kind for device in energy.devices)) or "nothing",
        method=f"metered: {sensors}; coverage {energy.coverage:.0%}{too_short}",
    )


def footprint_from_dict(document: Mapping[str, object]) -> Footprint:
    """The footprint whose JSON form this is."""

    def figure(name: str) -> Estimate | None:
        value = document[name]
        return None if value is None else Estimate.from_dict(value)  # type: ignore[arg-type]

    energy, operational, duration = figure("energy_j"), figure("operational_g"), figure("duration_s")
    if energy is None or operational is None or duration is None:
        raise ValueError("a footprint has energy_j, operational_g and duration_s")
    return Footprint(
        energy_j=energy,
        operational_g=operational,
        embodied_g=figure("embodied_g"),
        water_l=figure("water_l"),
        cost=figure("cost"),
        duration_s=duration,
        measured_share=float(document["measured_share"]),  # type: ignore[arg-type]
        scope=str(document["scope"]),
        method=str(document["method"]),
        sources=tuple(document["sources"]),  # type: ignore[arg-type]
    )
