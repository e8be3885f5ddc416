"""The energy of a run by the hours of the clock (UTC), as the carbon of a grid is known.

A run is cut where an hour of the wall clock begins. How long each part lasts is counted on the monotonic clock, so a
wall clock that is set while the run is on moves nothing, and summer time is none of UTC's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from lowcarb.core.energy import Energy
from lowcarb.core.estimate import Estimate
from lowcarb.core.units import NS_PER_HOUR, s_from_ns

EnergyBetween = Callable[[float, float], Energy]
"""Energy between two times [s] of the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Hour:
    """What was drawn in the part of a run that lies in one hour."""

    start_ns: int
    """The beginning of the whole hour, however little of it the run took [ns, UTC]."""
    energy_j: Estimate

    def as_dict(self) -> dict[str, object]:
        """The JSON form, by field name."""
        return {"start_ns": self.start_ns, "energy_j": self.energy_j.as_dict()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The hour whose JSON form this is."""
        return cls(int(document["start_ns"]), Estimate.from_dict(document["energy_j"]))


def by_hour(energy_between: EnergyBetween, start_s: float, end_s: float, started_ns: int) -> tuple[Hour, ...]:
    """The energy of a run, hour by hour; what the hours hold adds up to what the whole holds.

    Asks for the energy of the whole and of each part of an hour, once.

    Args:
        energy_between: energy of a part of the run.
        start_s: start of the run on the monotonic clock [s].
        end_s: its end [s].
        started_ns: its start on the wall clock [ns, UTC].
    """
    if not end_s > start_s:
        return ()
    first = started_ns // NS_PER_HOUR
    cuts_s = [start_s]
    while (cut_s := start_s + s_from_ns((first + len(cuts_s)) * NS_PER_HOUR - started_ns)) < end_s:
        cuts_s.append(cut_s)
    cuts_s.append(end_s)
    whole = energy_between(start_s, end_s).energy_j
    parts = [whole]
    if len(cuts_s) > 2:
        drawn = [energy_between(*between).energy_j for between in pairwise(cuts_s)]
        parts = _balanced(drawn, [(b - a) / (end_s - start_s) for a, b in pairwise(cuts_s)], whole)
    return tuple(Hour((first + number) * NS_PER_HOUR, part) for number, part in enumerate(parts))


def _balanced(parts: Sequence[Estimate], times: Sequence[float], whole: Estimate) -> list[Estimate]:
    """The parts, moved within their bounds until they add up to the whole.

    The energy of a gap is taken by the mean power of what was seen, and an hour has seen less than the whole run. So
    what is off is put where there is most room, which is in the gaps. Where there is no room the whole is shared out.
    """
    off_j = whole.mid - sum(part.mid for part in parts)
    rooms_j = [part.high - part.mid if off_j > 0 else part.mid - part.low for part in parts]
    room_j = sum(rooms_j)
    if off_j == 0:
        return list(parts)
    if abs(off_j) <= room_j:
        moved = [part.mid + off_j * (own_j / room_j) for part, own_j in zip(parts, rooms_j, strict=True)]
        return [
            Estimate(part.low, min(max(mid, part.low), part.high), part.high, part.basis)
            for part, mid in zip(parts, moved, strict=True)
        ]
    summed_j = sum(part.mid for part in parts)
    shares = [part.mid / summed_j for part in parts] if summed_j > 0 else times
    return [whole.scale(share).on(part.basis) for share, part in zip(shares, parts, strict=True)]
