"""The energy of several attempts together, each joule once, by device.

Attempts overlap: one runs inside another, or two jobs on one node each metered the whole machine. Plain addition then
counts the same joules twice. What is counted instead, device by device:

- An attempt that lies inside another's time is in the other's energy already. Of an attempt and those inside it the
  side with more energy counts, so that a meter that failed takes nothing away.
- Of attempts that overlap only in part, each moment counts once, with the power of the one that drew most in it. Power
  within an attempt is known by its hours where they are given, else by those inside it; the rest is taken to be even.

So a total is at most the sum and at least the energy of each, and it does not depend on the order. It is exact where
overlapping attempts lie inside each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from math import inf
from typing import NamedTuple

from lowcarb.core.energy import Energy
from lowcarb.core.estimate import Estimate, total
from lowcarb.core.units import NS_PER_HOUR, NS_PER_S

CUT_RATIO = 2.0
"""The power in a part of an attempt is off its mean by less than this factor eight times out of ten. `assumed`."""
LATE_NS = 2 * NS_PER_S
"""An attempt that ends after the one it runs inside of, or begins before it, by no more than this, is taken apart
there: its energy inside is in the other's already, the rest, by its share of the time, is its own. `assumed`."""
SLIGHT = 0.01
"""A rest of less than this share of its time is no rest: two that are killed together end with their last readings, and
a clock may be set meanwhile. `assumed`."""
TOGETHER = ("cpu", "dram")
"""Kinds of devices of which a node's are taken as one."""
ROUNDING = 1e-9
"""A share closer to none or all than this is none or all."""

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Spell:
    """One attempt on one node, as far as its energy goes."""

    attempt: str
    """Its id."""
    within: str | None
    """Id of the attempt that it ran inside of."""
    node: str | None
    """Which machine it ran on; None where nobody knows, and then it is no other's, but that which it ran within."""
    started_ns: int
    ended_ns: int
    """UTC [ns]; of an attempt that runs, the time of its figures."""
    devices: Mapping[str, Estimate]
    """Energy by device [J]. A device with a UUID is one thing everywhere, any other name is one thing on one node."""
    hours: Mapping[int, float] = field(default_factory=dict)
    """Energy [J] by the beginning of the UTC hour [ns], where it is known: only the proportions count."""


@dataclass(frozen=True, slots=True)
class Total:
    """What some attempts took together."""

    energy_j: Estimate
    """Each joule once [J]."""
    counted_twice_j: float
    """What plain addition would have counted too much [J], mid estimate."""
    overlaps: tuple[tuple[str, str], ...]
    """Ids of attempts that metered the same device at the same time, those apart that ran one within the other."""
    shares: Mapping[str, float]
    """Share of its own energy (mid) that the total counts, 0 to 1, by attempt: for its carbon and money too."""


def devices_of(energy: Energy) -> dict[str, Estimate]:
    """Energy by device [J], as a spell holds it: processors as one and memory as one, accelerators each for itself.

    What one sensor reads by the socket, another models as a whole; on one node they are the same thing.
    """
    found: dict[str, Estimate] = {}
    for one in energy.devices:
        name = one.kind if one.kind in TOGETHER else one.device
        found[name] = found[name] + one.energy_j if name in found else one.energy_j
    return found


def total_energy(spells: Iterable[Spell]) -> Total:
    """The energy of some attempts together, each joule once."""
    ordered = sorted(spells, key=lambda spell: (spell.started_ns, -spell.ended_ns, spell.attempt, spell.node or ""))
    outer = {spell.attempt: spell for spell in reversed(ordered)}
    parts: dict[tuple[str, ...], list[_Part]] = {}
    for spell in ordered:
        for device, energy_j in spell.devices.items():
            for start, end, share in _stretches(spell, outer):
                part = _Part(spell.attempt, energy_j.scale(share), start, end, spell.hours)
                parts.setdefault(_place(device, spell, outer), []).append(part)
    counted: list[Estimate] = []
    own_j, twice_j = dict.fromkeys(outer, 0.0), dict.fromkeys(outer, 0.0)
    overlaps: set[tuple[str, str]] = set()
    for same in parts.values():
        overlaps |= {pair for pair in _overlapping(same) if not _nested(*pair, outer)}
        for part, share in zip(same, _shares(same), strict=True):
            counted.append(_cut(part.energy_j, share))
            own_j[part.attempt] += part.energy_j.mid
            twice_j[part.attempt] += part.energy_j.mid - counted[-1].mid
    return Total(
        energy_j=total(counted),
        counted_twice_j=sum(twice_j.values()),
        overlaps=tuple(sorted(overlaps)),
        shares={attempt: 1.0 - twice_j[attempt] / own if own > 0 else 1.0 for attempt, own in own_j.items()},
    )


def _place(device: str, spell: Spell, outer: Mapping[str, Spell]) -> tuple[str, ...]:
    """What makes a device the same physical thing in two attempts."""
    if _UUID.search(device):
        return (device.lower(),)
    around = [spell, *_around(spell, outer)]
    node = next((one.node for one in around if one.node is not None), None)
    return ("node", node, device) if node is not None else ("attempt", around[-1].attempt, device)


def _around(spell: Spell, outer: Mapping[str, Spell]) -> Iterator[Spell]:
    """The attempts that this one ran inside of, nearest first, as far as they are among those at hand."""
    seen = {spell.attempt}
    while spell.within is not None and spell.within in outer and spell.within not in seen:
        spell = outer[spell.within]
        seen.add(spell.attempt)
        yield spell


def _stretches(spell: Spell, outer: Mapping[str, Spell]) -> Iterator[tuple[int, int, float]]:
    """Start and end [ns] of an attempt's parts, each inside of what it ran within or outside, and share of its time."""
    start, end = spell.started_ns, spell.ended_ns
    slight_ns = SLIGHT * (end - start)
    cuts = set()
    for around in _around(spell, outer):
        early, late = around.started_ns - start, end - around.ended_ns
        if 0 < early <= slight_ns and early <= LATE_NS:
            start = around.started_ns
        elif 0 < early <= LATE_NS:
            cuts.add(around.started_ns)
        if 0 < late <= slight_ns and late <= LATE_NS:
            end = around.ended_ns
        elif 0 < late <= LATE_NS:
            cuts.add(around.ended_ns)
    times = [start, *sorted(at for at in cuts if start < at < end), end]
    for one, other in pairwise(times):
        yield one, other, (other - one) / (end - start) if len(times) > 2 else 1.0


def _nested(one: str, other: str, outer: Mapping[str, Spell]) -> bool:
    """Whether one of two attempts ran inside the other."""
    return any(around.attempt == b for a, b in ((one, other), (other, one)) for around in _around(outer[a], outer))


def _cut(energy_j: Estimate, share: float) -> Estimate:
    """A share of an energy; less sure where the rest is left out, as that is known by its mean power only."""
    if share in (0.0, 1.0):
        return energy_j.scale(share)
    rest = 1.0 - share
    low, high = max(0.0, 1.0 - CUT_RATIO * rest), 1.0 - rest / CUT_RATIO
    return energy_j * Estimate(low, share, high, "modelled")


class _Part(NamedTuple):
    """One device in one attempt."""

    attempt: str
    energy_j: Estimate
    start: int
    end: int
    hours: Mapping[int, float]

    @property
    def length(self) -> int:
        return self.end - self.start


class _Piece(NamedTuple):
    """Time in which power is taken to be even, and the energy in it [J]."""

    start: int
    end: int
    joules: float


_Profile = Sequence[_Piece]
"""How the energy of something is spread over time: pieces that do not overlap, in order."""


def _shares(same: Sequence[_Part]) -> list[float]:
    """Share of each that counts, of attempts that metered one device."""
    shares = [1.0 if part.length <= 0 else 0.0 for part in same]
    # Whatever holds another comes before it; of equals the one with most energy is the one that holds the others.
    kept = sorted(
        (index for index, part in enumerate(same) if part.length > 0),
        key=lambda index: (same[index].start, -same[index].end, -same[index].energy_j.mid, same[index].attempt),
    )
    while True:
        roots, inside = _forest(same, kept)
        profiles: dict[int, _Profile] = {}
        failed = set()
        for index in reversed(kept):
            _, profile = _sweep(same, inside[index], profiles)
            if sum(piece.joules for piece in profile) > same[index].energy_j.mid * (1.0 + ROUNDING):
                failed.add(index)
            profiles[index] = _profile(same[index], profile)
        if not failed:
            break
        kept = [index for index in kept if index not in failed]
    counted, _ = _sweep(same, roots, profiles)
    for index, share in counted.items():
        shares[index] = _rounded(share)
    return shares


def _forest(same: Sequence[_Part], order: Sequence[int]) -> tuple[list[int], dict[int, list[int]]]:
    """The attempts that lie inside no other; and by attempt those inside it, each in the shortest that it lies in."""
    roots: list[int] = []
    inside: dict[int, list[int]] = {index: [] for index in order}
    under_way: list[int] = []
    for index in order:
        under_way = [one for one in under_way if same[one].end > same[index].start]
        around = [one for one in under_way if same[one].end >= same[index].end]
        holder = min(reversed(around), key=lambda one: same[one].length, default=None)
        (roots if holder is None else inside[holder]).append(index)
        under_way.append(index)
    return roots, inside


def _profile(part: _Part, inside: _Profile) -> _Profile:
    """How an attempt's energy is spread: by its hours, else by those inside it and evenly over the rest of its time."""
    hours = sorted((start, joules) for start, joules in part.hours.items() if 0 < joules < inf)
    limits = [*(start for start, _ in hours[1:]), part.end]
    by_hour = [
        _Piece(max(start, part.start), min(start + NS_PER_HOUR, limit, part.end), joules)
        for (start, joules), limit in zip(hours, limits, strict=False)
    ]
    by_hour = [piece for piece in by_hour if piece.end > piece.start]
    told = by_hour or inside
    told_j = sum(piece.joules for piece in told)
    if told_j <= 0:
        return [_Piece(part.start, part.end, part.energy_j.mid)]
    ends = [part.start, *(end for piece in inside for end in (piece.start, piece.end)), part.end]
    idle = [_Piece(start, end, 0.0) for start, end in zip(ends[::2], ends[1::2], strict=True) if end > start]
    if by_hour or not idle:
        return [piece._replace(joules=piece.joules * (part.energy_j.mid / told_j)) for piece in told]
    rest_j, idle_ns = max(0.0, part.energy_j.mid - told_j), sum(piece.end - piece.start for piece in idle)
    filled = [piece._replace(joules=rest_j * ((piece.end - piece.start) / idle_ns)) for piece in idle]
    return sorted([*inside, *filled])


def _sweep(
    same: Sequence[_Part], chosen: Sequence[int], profiles: Mapping[int, _Profile]
) -> tuple[dict[int, float], _Profile]:
    """Share of each that counts, of attempts of which none lies inside another; and what they drew together.

    The longest counts first, the others by how much more they drew.
    """
    ranked = sorted(chosen, key=lambda index: (-same[index].length, same[index].start, same[index].attempt))
    events = [
        event
        for rank, index in enumerate(ranked)
        for piece in profiles[index]
        for event in ((piece.start, 1, rank, piece), (piece.end, 0, rank, piece))
    ]
    shares = dict.fromkeys(ranked, 0.0)
    together: list[_Piece] = []
    active: dict[int, _Piece] = {}
    before = 0
    for at, group in groupby(sorted(events), key=lambda event: event[0]):
        if active:
            told_j = _count(same, ranked, active, (before, at), shares)
            together.append(_Piece(before, at, told_j))
        for _, starts, rank, piece in group:
            if starts:
                active[rank] = piece
            else:
                del active[rank]
        before = at
    return shares, together


def _count(
    same: Sequence[_Part], ranked: Sequence[int], active: Mapping[int, _Piece], between: tuple[int, int],
    shares: dict[int, float],
) -> float:  # fmt: skip
    """Count a stretch of time once [J], and add to the shares of those who drew it."""
    told_j = 0.0
    for number, (rank, piece) in enumerate(sorted(active.items())):
        index = ranked[rank]
        joules = piece.joules * ((between[1] - between[0]) / (piece.end - piece.start))
        whole_j = same[index].energy_j.mid
        if whole_j <= 0:
            shares[index] += (between[1] - between[0]) / same[index].length if number == 0 else 0.0
        else:
            shares[index] += max(0.0, joules - told_j) / whole_j
        told_j = max(told_j, joules)
    return told_j


def _rounded(share: float) -> float:
    return 0.0 if share < ROUNDING else 1.0 if share > 1.0 - ROUNDING else share


def _overlapping(same: Sequence[_Part]) -> Iterator[tuple[str, str]]:
    """Ids of each two attempts that metered one device at the same time, the lesser id first."""
    under_way: list[_Part] = []
    for part in sorted((part for part in same if part.length > 0), key=lambda part: part.start):
        under_way = [one for one in under_way if one.end > part.start]
        for one in under_way:
            a, b = sorted((one.attempt, part.attempt))
            if a != b:
                yield a, b
        under_way.append(part)
