"""Rows that may have metered one machine at the same time, and so count it more than once.

Under torchrun each rank of a CodeCarbon before its run writes a row for the whole machine. The rows say what kind of
machine it was, not which: so they are flagged, and counted once only where the user says that it was one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lowcarb.core.units import NS_PER_S

SLIGHT_NS = NS_PER_S
"""Times have whole seconds: runs that follow each other overlap by less than this. `assumed`."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """When an attempt ran, and what it has in common with those that may have metered the same machine."""

    attempt: str
    group: str
    started_ns: int
    ended_ns: int


def overlapping(stretches: Iterable[Stretch]) -> Mapping[str, int]:
    """How many others of its group each attempt overlaps; those that overlap none are left out.

    An overlap counts from a second on, or from half of the shorter one's time.
    """
    groups: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        groups.setdefault(stretch.group, []).append(stretch)
    found: dict[str, int] = {}
    for group in groups.values():
        running: list[Stretch] = []
        for stretch in sorted(group, key=lambda one: (one.started_ns, one.ended_ns, one.attempt)):
            running = [one for one in running if one.ended_ns > stretch.started_ns]
            for other in running:
                shared = min(other.ended_ns, stretch.ended_ns) - stretch.started_ns
                shorter = min(one.ended_ns - one.started_ns for one in (other, stretch))
                if shared > SLIGHT_NS or 2 * shared > shorter:
                    for one in (other, stretch):
                        found[one.attempt] = found.get(one.attempt, 0) + 1
            running.append(stretch)
    return found
