"""The energy of a run by the hours of the clock (UTC), as the carbon of a grid is known.

A run is cut where an hour of the wall clock begins. How long each part lasts is counted on the monotonic clock, so a
wall clock that is set while the run is on moves nothing, and summer time is none of UTC's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any, Self

from lowcarb.core.energy import ROUNDING, Energy
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
    whole = energy_between(start_s, end_s)
    parts = [energy_between(*between) for between in pairwise(cuts_s)] if len(cuts_s) > 2 else [whole]
    hours = zip(range(first, first + len(parts)), _balanced(parts, whole), strict=True)
    return tuple(Hour(number * NS_PER_HOUR, energy_j) for number, energy_j in hours)


def _balanced(parts: Sequence[Energy], whole: Energy) -> list[Estimate]:
    """The energies of the parts, moved a little until they add up to the whole, bound by bound.

    The energy of a gap is taken by the mean power of what was seen, and an hour has seen less than the whole run. So
    the hours with gaps are moved, inside their bounds, and the others keep what was measured in them. Where there is
    no room for what is off, the whole is shared out.
    """
    energies, goal = [part.energy_j for part in parts], whole.energy_j
    lows, mids, highs = ([getattr(energy, bound) for energy in energies] for bound in ("low", "mid", "high"))
    gaps = [part.gaps_s > 0 for part in parts]
    down = [low if gap else mid for low, mid, gap in zip(lows, mids, gaps, strict=True)]
    up = [high if gap else mid for high, mid, gap in zip(highs, mids, gaps, strict=True)]
    over = [high + goal.high if gap else high for high, gap in zip(highs, gaps, strict=True)]
    try:
        mids = _fitted(mids, goal.mid, down, up)
        lows = _fitted(lows, goal.low, [0.0] * len(parts), mids)
        highs = _fitted(highs, goal.high, mids, over)
    except ValueError:
        return _shared(whole, parts)
    return [
        Estimate(min(low, mid), mid, max(mid, high), energy.basis)  # against the last digit
        for low, mid, high, energy in zip(lows, mids, highs, energies, strict=True)
    ]


def _fitted(values: list[float], goal: float, floors: Sequence[float], ceilings: Sequence[float]) -> list[float]:
    """The values, each moved in proportion to its room until they add up to the goal; a rounding is left as it is.

    Raises:
        ValueError: there is too little room.
    """
    off = goal - sum(values)
    if abs(off) <= ROUNDING * abs(goal):
        return values
    limits = ceilings if off > 0 else floors
    rooms = [abs(limit - value) for value, limit in zip(values, limits, strict=True)]
    share = abs(off) / sum(rooms) if sum(rooms) > 0 else inf
    if share > 1:
        raise ValueError(f"{off} is off, and there is room for {sum(rooms)}")
    return [value + share * (limit - value) for value, limit in zip(values, limits, strict=True)]


def _shared(whole: Energy, parts: Sequence[Energy]) -> list[Estimate]:
    """The energy of the whole in the proportions of the parts; by time where nothing was drawn."""
    weights = [part.energy_j.mid for part in parts]
    if not sum(weights) > 0:
        weights = [part.duration_s for part in parts]
    return [
        whole.energy_j.scale(weight / sum(weights)).on(part.energy_j.basis)
        for weight, part in zip(weights, parts, strict=True)
    ]
