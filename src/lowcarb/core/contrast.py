"""A run measured on one device, projected onto another: the same job, batch and code on both.

    speed ratio  = Π (roof of other ÷ roof of first) ^ exponent         `lowcarb.core.roofs`, ×/÷ its spread
    throughput   = throughput on the first × speed ratio
    watts        = share × rated power;   share = 0.88, less where the first was seen to idle
    energy ratio = (watts of other ÷ watts of first) ÷ speed ratio

The ratio is far better known than either speed: what makes both uncertain, the part of a roof that code reaches, is
mostly common to them. Ratios are symmetric: there and back again is 1, and a device beside itself is exactly 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, inf

from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device
from lowcarb.core.roofs import SPREAD, Job, Roof, kind_of, shares
from lowcarb.core.spread import of_estimate, spread_around
from lowcarb.errors import SettingError

__all__ = ["Contrast", "Job", "contrast_job", "speed_ratio"]

WATTS_SHARE = 0.88
"""Mean power over rated power of a GPU in training: BERT-base at the highest power limit draws 0.83 to 0.97 on V100,
A40 and RTX 6000, 0.65 to 0.71 on P100, 0.60 on an A40 at batch 8 (Zeus, NSDI 2023 traces)."""
BUSY_SHARE = 0.65
"""A first device at this share or more is busy, and its share is its own: carried over, it misses the other's by 10 %
at the median, `WATTS_SHARE` by 4 %. Below it the job leaves devices idle, and the other idles as much."""
WATTS_BELOW = 1.35
"""Low bound of the watts: the middle over this. A P100 draws 0.65, a 6B model's 256 A100 0.70 of the rated power."""
WATTS_ABOVE = 1.15
"""High bound of the watts: the middle times this, and the rated power at most."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """One job on another device."""

    other_throughput: Estimate | None
    """In the unit of the given throughput; None where none was given."""
    other_watts: Estimate
    """Mean power of the other device [W], its host left out."""
    speed_ratio: Estimate
    """Speed of the other over the first."""
    energy_ratio: Estimate
    """Energy of the job on the other over the first, hosts left out."""
    bound: str
    """What makes most of the difference: arithmetic, memory or power; nothing where there is none."""
    why: str
    """The same in a sentence, with each roof's factor."""


def contrast_job(
    job: Job, device: Device, other: Device, *, throughput: float | None = None, watts: float | None = None
) -> Contrast:
    """The job on `other`, given what it did on `device`: throughput in any unit, mean watts of the device.

    Raises:
        SettingError: throughput or watts not finite and above zero, or what `speed_ratio` refuses.
    """
    for name, value in (("throughput", throughput), ("watts", watts)):
        if value is not None and not 0.0 < value < inf:
            raise SettingError(name, value, "a finite number above 0")
    ratio = speed_ratio(job, device, other)
    other_watts = _watts(device, other, watts)
    return Contrast(
        other_throughput=None if throughput is None else ratio.scale(throughput),
        other_watts=other_watts,
        speed_ratio=ratio,
        energy_ratio=_energy_ratio(device, other, watts, other_watts, ratio),
        bound=_bound(shares(job, device, other)),
        why=_why(job, device, other),
    )


def speed_ratio(job: Job, device: Device, other: Device) -> Estimate:
    """Speed of `other` over speed of `device` at one job; exactly 1 for one device.

    The formula and its source stand in `lowcarb.core.roofs`.

    Raises:
        SettingError: an unknown phase or precision, a count not above zero, or a device whose peaks, bandwidth or
            rated power are unknown.
    """
    kind, parts = kind_of(job), shares(job, device, other)
    if device.id == other.id:
        return Estimate.exact(1.0, "modelled")
    return Estimate.around(exp(sum(parts.values())), SPREAD[kind], "modelled")


def _rated(device: Device) -> float:
    # `speed_ratio` has refused devices without one.
    return device.tdp_w or 0.0


def _watts(device: Device, other: Device, watts: float | None) -> Estimate:
    """Mean power of the other device [W]."""
    if watts is not None and device.id == other.id:
        return Estimate.exact(watts, "measured")
    busy = 1.0 if watts is None else min(1.0, watts / _rated(device) / BUSY_SHARE)
    mid = WATTS_SHARE * busy * _rated(other)
    return Estimate(mid / WATTS_BELOW, mid, min(mid * WATTS_ABOVE, _rated(other)), "modelled")


def _energy_ratio(
    device: Device, other: Device, watts: float | None, other_watts: Estimate, ratio: Estimate
) -> Estimate:
    """Energy on the other over the first: independent spreads of power and speed add in quadrature."""
    if device.id == other.id:
        return Estimate.exact(1.0, "modelled")
    first_w = WATTS_SHARE * _rated(device) if watts is None else watts
    mid = other_watts.mid / first_w / ratio.mid
    return spread_around(mid, (of_estimate("power", other_watts), of_estimate("speed", ratio)), "modelled")


def _bound(parts: Mapping[Roof, float]) -> str:
    """What makes most of the difference; the matrix units are arithmetic."""
    held = {
        "arithmetic": parts["arithmetic"] + parts["matrix units"],
        "memory": parts["memory"],
        "power": parts["power"],
    }
    widest = max(held, key=lambda name: abs(held[name]))
    return widest if held[widest] != 0.0 else "nothing"


def _why(job: Job, device: Device, other: Device) -> str:
    """Each roof's factor in words."""
    factors = ", ".join(f"{roof} ×{exp(part):.2f}" for roof, part in shares(job, device, other).items() if part != 0.0)
    return f"{other.id} over {device.id}, {kind_of(job)}: {factors or 'the same roofs'}"
