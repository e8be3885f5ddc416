"""From readings to `Energy`: integrate power, unwrap counters, count gaps.

A sensor returns `Reading`s on `Channel`s and knows nothing more. What a channel gives is either the cumulated energy
of a device (`counter`, J) or its power at an instant (`power`, W). `integrate` turns them into energy over any
window, and is the one place that decides what a reading is worth:

- a counter that steps back has wrapped, if its range is known and the unwrapped step is one that the device can draw;
  otherwise it was reset, and that step is a gap; so is a step in which it could have wrapped unseen;
- a step that the device could not have drawn (rated power × time) is a fault, and a gap;
- a power that is negative, not finite or above what the device can draw is a fault;
- two power readings further apart than three intervals are a gap;
- a gap is never zero: its energy lies between none and rated power × time, and takes the basis `assumed`;
- a window too short for what the readings resolve is marked, and its bounds are as wide as that makes them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite, sqrt
from typing import Literal

from lowcarb.core.estimate import Basis, Estimate, total
from lowcarb.core.hardware import DeviceKind

ROUNDING = 1e-9
"""Share of a window below which uncovered time is rounding."""
GAP_INTERVALS = 3.0
"""Readings further apart than this many intervals leave the time between them uncovered."""
RATED_MARGIN = 1.5
"""A device may draw more than its rated power for a moment; beyond this ratio a reading is a fault.
Transients of GPUs reach about 1.5 × the limit over milliseconds; a mean over a sampling interval stays below."""

MOST_W: Mapping[DeviceKind, float] = {
    "gpu": 1400.0, "tpu": 1000.0, "npu": 1000.0, "cpu": 1000.0, "dram": 200.0, "machine": 15_000.0,
}  # fmt: skip
"""The most that one device of a kind draws [W], for a gap of a device whose rated power nobody knows: the largest
rated power on the market in 2026, rounded up. `assumed`."""
REFRESH_S = 0.2
"""A counter shows its energy at most this late: NVML refreshes every 20 to 100 ms (Yang et al. 2023, arXiv
2312.02741), RAPL every millisecond. Two readings closer together than this may show the energy of a longer time."""


RESOLVED_FROM = 20.0
"""A window of so many resolutions or more is told to 5 %: at each end a reading lags by one resolution at most."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One quantity that a sensor reads, of one device."""

    id: str
    device: str
    """The physical device, so that each joule is counted once: a UUID where there is one."""
    kind: DeviceKind
    quantity: Literal["counter", "power"]
    sensor: str
    basis: Basis
    low_ratio: float
    """True value over reading, at least: 0.95 for a sensor that may read 5 % high."""
    high_ratio: float
    rated_w: float | None
    """The most that the device draws for longer than a moment [W]; None where nobody knows."""
    range_j: float | None = None
    """A counter's value at which it starts again from zero [J]."""
    resolution_s: float = 0.0
    """How far a reading lags at most, or the time that its value is a mean of [s]."""
    check: bool = False
    """Whether it only checks the others: the power of a whole machine contains theirs, and is in no total."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sensor returned: a value [J or W] on a channel at a time [s] of the monotonic clock."""

    at_s: float
    channel: str
    value: float


@dataclass(frozen=True, slots=True)
class DeviceEnergy:
    """The energy of one device over a window."""

    device: str
    kind: DeviceKind
    sensor: str
    energy_j: Estimate
    coverage: float
    """Share of the window that readings cover, 0 to 1."""
    gaps_s: float
    """Time in the window that no reading covers [s]; its energy is in `energy_j`, estimated."""
    faults: tuple[str, ...] = ()
    """What was wrong with readings, one line a kind."""
    resolution_s: float = 0.0
    """How far its readings lag at most [s]."""
    lag_j: float = 0.0
    """Energy that the device draws in that time at most [J]: at each end of a window so much may be missing, or be of
    before. It is not in the bounds of `energy_j`, as it cancels where one window follows another: see `with_lag`."""


@dataclass(frozen=True, slots=True)
class Energy:
    """The energy of a run, by device, each device once."""

    duration_s: float
    devices: tuple[DeviceEnergy, ...]
    checks: tuple[DeviceEnergy, ...] = ()
    """What contains devices, such as a whole machine: to compare the total with, and no part of it."""

    @property
    def energy_j(self) -> Estimate:
        """All devices together [J]."""
        return total(device.energy_j for device in self.devices)

    @property
    def coverage(self) -> float:
        """Share of the window that readings cover: the worst of the devices, and 0 without any."""
        return min((device.coverage for device in self.devices), default=0.0)

    @property
    def gaps_s(self) -> float:
        """Uncovered time [s]: that of the worst device, and all of it without any."""
        return max((device.gaps_s for device in self.devices), default=self.duration_s)

    @property
    def measured_share(self) -> float:
        """Share of the energy (mid) that was read off a sensor, 0 to 1."""
        whole = self.energy_j.mid
        measured = sum(device.energy_j.mid for device in self.devices if device.energy_j.basis == "measured")
        return measured / whole if whole > 0 else 0.0

    def unresolved(self, blocks: int = 1) -> tuple[str, ...]:
        """The devices whose readings do not resolve a window of this length, or blocks that make up this length."""
        block_s = self.duration_s / max(1, blocks)
        return tuple(d.device for d in self.devices if block_s < RESOLVED_FROM * d.resolution_s)


@dataclass(frozen=True, slots=True)
class _Segment:
    """A stretch between two good readings and the energy drawn in it."""

    start_s: float
    end_s: float
    joules: float

    def within(self, start_s: float, end_s: float) -> tuple[float, float]:
        """Covered time [s] and energy [J] of the part of this stretch that lies in a window."""
        covered = min(self.end_s, end_s) - max(self.start_s, start_s)
        return (covered, self.joules * covered / (self.end_s - self.start_s)) if covered > 0 else (0.0, 0.0)


def integrate(
    channels: Sequence[Channel], readings: Iterable[Reading], start_s: float, end_s: float, interval_s: float
) -> Energy:
    """Energy of every device between two times of the monotonic clock.

    Readings of a channel that is not listed are left out. Where two channels give the same device, the first listed
    wins: list the better sensor first.

    Args:
        channels: what the sensors read.
        readings: in any order; a few from before and after the window make its ends exact.
        start_s: start of the window [s].
        end_s: end of the window [s], not before its start.
        interval_s: time between readings that the meter aimed at [s].
    """
    if end_s < start_s:
        raise ValueError(f"a window ends at {end_s}, before it starts at {start_s}")
    series: dict[str, list[Reading]] = {channel.id: [] for channel in channels}
    for reading in readings:
        if reading.channel in series:
            series[reading.channel].append(reading)
    devices: dict[str, DeviceEnergy] = {}
    checks: dict[str, DeviceEnergy] = {}
    for channel in channels:
        place = checks if channel.check else devices
        if channel.device not in place:
            ordered = sorted(series[channel.id], key=lambda reading: reading.at_s)
            place[channel.device] = _device_energy(channel, ordered, start_s, end_s, interval_s)
    return Energy(end_s - start_s, tuple(devices.values()), tuple(checks.values()))


def _device_energy(
    channel: Channel, readings: Sequence[Reading], start_s: float, end_s: float, interval_s: float
) -> DeviceEnergy:
    segments, faults = (_counter_segments if channel.quantity == "counter" else _power_segments)(
        channel, readings, interval_s
    )
    if segments and segments[0].start_s <= readings[0].at_s:
        segments = _held_before(segments, start_s, interval_s)
    if segments and segments[-1].end_s >= readings[-1].at_s:
        segments = _held_after(segments, end_s, interval_s)
    parts = [segment.within(start_s, end_s) for segment in segments]
    covered_s, joules = sum(part[0] for part in parts), sum(part[1] for part in parts)
    duration_s = end_s - start_s
    resolution_s = max(channel.resolution_s, interval_s if channel.quantity == "power" else 0.0)
    gaps_s = max(0.0, duration_s - covered_s)
    if gaps_s <= ROUNDING * max(1.0, duration_s):
        gaps_s = 0.0
    energy = Estimate(joules * channel.low_ratio, joules, joules * channel.high_ratio, channel.basis)
    if gaps_s > 0:
        energy += _gap_energy(channel, gaps_s, covered_s, joules)
    return DeviceEnergy(
        device=channel.device,
        kind=channel.kind,
        sensor=channel.sensor,
        energy_j=energy,
        coverage=1.0 if duration_s == 0 else 1.0 - gaps_s / duration_s,
        gaps_s=gaps_s,
        faults=_tally(faults),
        resolution_s=resolution_s,
        lag_j=resolution_s * _most_w(channel),
    )


def _counter_segments(
    channel: Channel, readings: Sequence[Reading], interval_s: float
) -> tuple[list[_Segment], list[str]]:
    """Stretches between counter readings. A long stretch is no gap: the counter went on counting."""
    del interval_s
    segments, faults = [], []
    good = [r for r in readings if isfinite(r.value) and r.value >= 0]
    faults += ["reading negative or not a number"] * (len(readings) - len(good))
    for before, after in pairwise(good):
        elapsed_s = after.at_s - before.at_s
        if elapsed_s <= 0:
            continue
        step, fault = _step_j(channel, after.value - before.value, max(elapsed_s, REFRESH_S))
        if fault:
            faults.append(fault)
        else:
            segments.append(_Segment(before.at_s, after.at_s, step))
    return segments, faults


def _step_j(channel: Channel, step: float, elapsed_s: float) -> tuple[float, str]:
    """Energy of a counter's step [J], unwrapped; and what is wrong with it, or nothing."""
    if step < 0:
        # A value beyond its range comes with a range that is wrong.
        unwrapped = step + (channel.range_j or 0.0)
        if not (unwrapped >= 0 and _can_draw(channel, unwrapped, elapsed_s)):
            return 0.0, "counter was reset"
        step = unwrapped
    elif not _can_draw(channel, step, elapsed_s):
        return 0.0, "counter jumped by more than the device can draw"
    if channel.range_j is not None and _can_draw(channel, step + channel.range_j, elapsed_s):
        return 0.0, "counter may have wrapped unseen"
    return step, ""


def _power_segments(
    channel: Channel, readings: Sequence[Reading], interval_s: float
) -> tuple[list[_Segment], list[str]]:
    """Stretches between power readings, by the trapezoid rule."""
    segments, faults = [], []
    good = [r for r in readings if isfinite(r.value) and r.value >= 0 and _can_draw(channel, r.value, 1.0)]
    faults += ["power negative, not a number or above what the device can draw"] * (len(readings) - len(good))
    for before, after in pairwise(good):
        elapsed_s = after.at_s - before.at_s
        if 0 < elapsed_s <= GAP_INTERVALS * interval_s:
            segments.append(_Segment(before.at_s, after.at_s, 0.5 * (before.value + after.value) * elapsed_s))
    return segments, faults


def _can_draw(channel: Channel, joules: float, elapsed_s: float) -> bool:
    return joules <= _most_w(channel) * RATED_MARGIN * elapsed_s


def _most_w(channel: Channel) -> float:
    return MOST_W[channel.kind] if channel.rated_w is None else channel.rated_w


def _held_before(segments: list[_Segment], start_s: float, interval_s: float) -> list[_Segment]:
    """The stretches, the first prolonged to the start at its own power, over at most one interval.

    A phase begins between two readings; that rest is no gap. Where a reading lies in it, that reading was faulty.
    """
    first = segments[0]
    lead_s = first.start_s - start_s
    if not 0 < lead_s <= interval_s:
        return segments
    joules = first.joules / (first.end_s - first.start_s) * lead_s
    return [_Segment(start_s, first.start_s, joules), *segments]


def _held_after(segments: list[_Segment], end_s: float, interval_s: float) -> list[_Segment]:
    """The stretches, the last prolonged to the end in the same way."""
    last = segments[-1]
    rest_s = end_s - last.end_s
    if not 0 < rest_s <= interval_s:
        return segments
    joules = last.joules / (last.end_s - last.start_s) * rest_s
    return [*segments, _Segment(last.end_s, end_s, joules)]


def _gap_energy(channel: Channel, gaps_s: float, covered_s: float, joules: float) -> Estimate:
    """Energy of uncovered time [J]: from none to rated power, at the mean power of the covered time."""
    mean_w = joules / covered_s if covered_s > 0 else None
    most_w = _most_w(channel)
    mid_w = mean_w if mean_w is not None else 0.5 * most_w
    return Estimate(0.0, mid_w * gaps_s, max(most_w, mid_w) * gaps_s, "assumed")


def _tally(faults: Sequence[str]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for fault in faults:
        counts[fault] = counts.get(fault, 0) + 1
    return tuple(f"{fault} ({count} ×)" for fault, count in counts.items())


def power_at(channels: Sequence[Channel], readings: Sequence[Reading], at_s: float, span_s: float) -> float:
    """Mean power of all devices [W] over the last `span_s` seconds before a time; for a progress line."""
    recent = readings[bisect_left(readings, at_s - 2 * span_s, key=lambda reading: reading.at_s) :]
    energy = integrate(channels, recent, at_s - span_s, at_s, span_s)
    return energy.energy_j.mid / span_s


def without(energy: Energy, kinds: Iterable[str]) -> Energy:
    """The same energy less the devices of some kinds, such as a machine total that contains the others."""
    left_out = frozenset(kinds)
    return Energy(energy.duration_s, tuple(d for d in energy.devices if d.kind not in left_out), energy.checks)


def with_lag(energy: Energy, blocks: int = 1) -> Energy:
    """The energy with bounds that hold what readings that lag may have missed, or have taken from before.

    Args:
        energy: of one window, or of several blocks together.
        blocks: how many; what one lacks has nothing to do with what another does, so it grows with their root.
    """

    def wide(device: DeviceEnergy) -> DeviceEnergy:
        aside_j, known = device.lag_j * sqrt(blocks), device.energy_j
        bounds = Estimate(max(0.0, known.low - aside_j), known.mid, known.high + aside_j, known.basis)
        return replace(device, energy_j=bounds, lag_j=0.0)

    return replace(energy, devices=tuple(map(wide, energy.devices)), checks=tuple(map(wide, energy.checks)))


def metering_j(energy: Energy, meter_cpu_s: float | None, threads: int) -> Estimate | None:
    """Energy that metering itself took [J]: the processors', by its share of the processor time that there was.

    Args:
        energy: of the run.
        meter_cpu_s: processor time of metering [s]; None where nobody counted it.
        threads: logical processors that there were.
    """
    processors = [device.energy_j for device in energy.devices if device.kind == "cpu"]
    if meter_cpu_s is None or not processors or energy.duration_s <= 0:
        return None
    drawn = total(processors)
    share = min(1.0, meter_cpu_s / (energy.duration_s * max(1, threads)))
    # One logical processor at work may draw all that an otherwise idle machine draws.
    most = min(1.0, meter_cpu_s / energy.duration_s)
    return Estimate(0.0, drawn.mid * share, drawn.high * most, "modelled")
