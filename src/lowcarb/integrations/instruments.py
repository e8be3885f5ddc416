"""The names and attributes under which live figures are exported, to OpenTelemetry and Prometheus alike.

`hw.*` are OpenTelemetry's semantic conventions for hardware (status: development); what they have no word for is in our
own namespace. Prometheus' names follow from these by its exporter's rules: dots become underscores, a unit is spelt
out, a counter ends in `_total`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from lowcarb.integrations.live import Drawn, Figures

TYPES: Mapping[str, str] = {"dram": "memory"}
"""The convention's word for a kind of device, where it is another than ours."""
BASIS = "lowcarb.basis"
UNITS: Mapping[str, str] = {"J": "_joules", "W": "_watts", "g": "_grams", "": ""}
"""Prometheus' words for units. A share has none: of `1` some exporters make `_ratio`, and others nothing."""

Attributes = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric."""

    name: str
    kind: Literal["counter", "gauge"]
    unit: str
    description: str
    attributes: tuple[str, ...]

    @property
    def family(self) -> str:
        """Prometheus' name, without `_total`."""
        return f"{self.name.replace('.', '_')}{UNITS[self.unit]}"


ENERGY = Instrument("hw.energy", "counter", "J", "Energy drawn by a device", ("hw.id", "hw.type", "hw.name", BASIS))
POWER = Instrument("hw.power", "gauge", "W", "Power drawn by a device", ("hw.id", "hw.type", "hw.name", BASIS))
HOST_ENERGY = Instrument("hw.host.energy", "counter", "J", "Energy drawn by the whole host", ("hw.id", BASIS))
HOST_POWER = Instrument("hw.host.power", "gauge", "W", "Power drawn by the whole host", ("hw.id", BASIS))
TOTAL = Instrument("lowcarb.energy", "counter", "J", "Energy of the run, each joule once", (BASIS,))
TOTAL_POWER = Instrument("lowcarb.power", "gauge", "W", "Power of all metered devices", ())
CARBON = Instrument("lowcarb.operational_carbon", "counter", "g", "Carbon of the electricity, CO2e", (BASIS,))
PHASE = Instrument("lowcarb.phase.energy", "counter", "J", "Energy by phase of the training", ("lowcarb.phase",))
BOUND = Instrument(
    "lowcarb.operational_carbon.bound", "gauge", "g", "Bounds of this attempt's carbon, CO2e", ("lowcarb.bound",)
)
SHARE = Instrument("lowcarb.measured_share", "gauge", "", "Share of this attempt's energy read off a sensor", ())

INSTRUMENTS = (ENERGY, POWER, HOST_ENERGY, HOST_POWER, TOTAL, TOTAL_POWER, CARBON, PHASE, BOUND, SHARE)


def observed(instrument: Instrument, figures: Figures) -> Iterator[tuple[float, Attributes]]:
    """The instrument's values, each with its attributes; what is not known is left out."""
    if instrument in (ENERGY, HOST_ENERGY):
        for one in figures.hosts if instrument is HOST_ENERGY else figures.devices:
            yield from ((value, _of(instrument, one, basis)) for basis, value in one.energy_j.items())
    elif instrument in (POWER, HOST_POWER):
        for one in figures.hosts if instrument is HOST_POWER else figures.devices:
            if one.power_w is not None:
                yield one.power_w, _of(instrument, one, one.basis)
    else:
        yield from _of_the_run(instrument, figures)


def _of_the_run(instrument: Instrument, figures: Figures) -> Iterator[tuple[float, Attributes]]:
    footprint = figures.footprint
    if instrument in (TOTAL, CARBON):
        sums = figures.energy_j if instrument is TOTAL else figures.operational_g
        yield from ((value, {BASIS: basis}) for basis, value in sums.items())
    elif instrument is PHASE:
        yield from ((value, {"lowcarb.phase": name}) for name, value in figures.phase_j.items())
    elif instrument is BOUND:
        yield footprint.operational_g.low, {"lowcarb.bound": "low"}
        yield footprint.operational_g.high, {"lowcarb.bound": "high"}
    elif instrument is SHARE:
        yield footprint.measured_share, {}
    elif figures.power_w is not None:
        yield figures.power_w, {}


def _of(instrument: Instrument, one: Drawn, basis: str) -> Attributes:
    type_ = TYPES.get(one.kind, one.kind)
    known = {"hw.id": one.id, "hw.type": type_, "hw.name": f"{type_} {one.id}", BASIS: basis}
    return {name: known[name] for name in instrument.attributes}
