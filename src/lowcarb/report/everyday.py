"""A footprint in familiar things, each with its source: how many have the same carbon, or take as much energy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lowcarb.catalogue.records import Equivalent
from lowcarb.core.estimate import Estimate
from lowcarb.core.units import KILO, MEGA, S_PER_MINUTE
from lowcarb.report.columns import Table, measure, words
from lowcarb.report.format import Figure, digits_of, figure, number, quantity

MOST_SHOWN = 4
NO_THING = frozenset(("world-kwh",))
"""Electricity beside electricity of another place says nothing to a reader who has the energy before them."""
SMALLER: Mapping[str, tuple[tuple[str, float], ...]] = {
    "kilometres": (("metres", KILO), ("millimetres", MEGA)),
    "passenger-kilometres": (("passenger-metres", KILO), ("passenger-millimetres", MEGA)),
    "litres": (("millilitres", KILO),),
    "hours": (("minutes", S_PER_MINUTE), ("seconds", S_PER_MINUTE * S_PER_MINUTE)),
    "kilowatt-hours": (("watt-hours", KILO),),
}
"""By the first word of a title: smaller units of it, and how many make one."""


def everyday(
    carbon_g: Estimate | None, energy_j: Estimate | None, equivalents: Iterable[Equivalent]
) -> list[dict[str, Any]]:
    """How many of each familiar thing a footprint amounts to.

    Args:
        carbon_g: of the electricity and, where it is known, of the machine's making [gCO2e].
        energy_j: of the machine [J].
        equivalents: of the catalogue.

    Returns:
        The part of a document: id, title in the plural, count as an estimate, what of, ids of sources.
    """
    found = []
    for one in equivalents:
        if one.id in NO_THING:
            continue
        of, whole, part = "carbon", carbon_g, one.carbon_g
        if part is None:
            of, whole, part = "energy", energy_j, one.energy_j
        if whole is not None and part is not None and whole.mid > 0:
            count = (whole / part).as_dict()
            found.append({"id": one.id, "title": one.title, "count": count, "of": of, "sources": list(one.sources)})
    return found


def everyday_words(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The familiar things whose number is the easiest to grasp, in words: `1.5 smartphone charges (0.9–4.1)`."""
    rows = [(one, value) for one in document.get("everyday") or () if (value := figure(one["count"]))]
    near = sorted(rows, key=lambda row: abs(math.log(max(_scaled(row[0]["title"], row[1])[1].mid, 1e-300) / KILO**0.5)))
    return tuple(_words(one, value) for one, value in near[:MOST_SHOWN])


def _scaled(title: str, count: Figure) -> tuple[str, Figure]:
    """The title and the count in a unit that leaves a number of one or more, where there is such a unit."""
    first, _, rest = title.partition(" ")
    units = [(first, 1.0), *SMALLER.get(first, ())]
    name, factor = next((unit for unit in units if count.mid * unit[1] >= 1.0), units[-1])
    scaled = Figure(count.low * factor, count.mid * factor, count.high * factor, count.basis)
    return f"{name} {rest}", scaled


def _words(one: Mapping[str, Any], value: Figure) -> str:
    title, scaled = _scaled(str(one["title"]), value)
    counted = f"{number(scaled.mid, digits_of(scaled))} {title}"
    inside = quantity(scaled, "").partition("(")[2]
    return f"{counted} ({inside}" if inside else counted


def everyday_table(document: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]) -> Table:
    """All familiar things with the source of each."""
    rows: Sequence[Mapping[str, Any]] = document.get("everyday") or ()
    titles = {one["id"]: f"{one['publisher']} {one['published']}" for one in sources}
    cells = [_scaled(str(one["title"]), value) for one in rows if (value := figure(one["count"]))]
    return Table(
        "Familiar things with the same carbon or energy",
        (
            words("Thing", [title for title, _ in cells]),
            measure("Number", "", [value for _, value in cells]),
            words("Same", [str(one["of"]) for one in rows]),
            words("Source", ["; ".join(titles.get(name, name) for name in one["sources"]) for one in rows]),
        ),
    )
