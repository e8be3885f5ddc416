"""`Device` and `Machine`: what computes, what it draws and what it took to make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lowcarb.core.estimate import Estimate

DeviceKind = Literal["gpu", "tpu", "npu", "cpu", "dram", "machine"]


@dataclass(frozen=True, slots=True)
class Device:
    """A kind of device, as the catalogue describes it. Unknown is None, never zero."""

    id: str
    name: str
    kind: DeviceKind
    peak_flops: Mapping[str, float] = field(default_factory=dict)
    """Dense peak [FLOP/s] by precision: fp32, tf32, bf16, fp16, fp8."""
    memory_bytes: float | None = None
    bandwidth_bytes_per_s: float | None = None
    tdp_w: float | None = None
    """Rated power of the whole device [W]."""
    idle_w: float | None = None
    embodied_g: Estimate | None = None
    """Carbon of making the device [gCO2e]."""
    lifetime_s: Estimate | None = None
    """Time in service over which the embodied carbon is spread [s]."""
    price_per_hour: Estimate | None = None
    """On-demand rent of one device with its share of the host [USD/h]."""
    sources: tuple[str, ...] = ()
    """Ids of the catalogue's sources."""

    def peak_for(self, precision: str) -> float | None:
        """Peak [FLOP/s] at a precision, or None where the device does not have it."""
        return self.peak_flops.get(precision)


@dataclass(frozen=True, slots=True)
class Installed:
    """So many of one device in a machine."""

    device: Device
    count: float = 1.0
    """May be a fraction: a virtual machine holds a share of a processor."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run ran on: stored beside every result, so that no two machines are compared unawares."""

    id: str
    """A fingerprint of hardware and core software: equal ids may be compared."""
    name: str
    devices: tuple[Installed, ...]
    threads: int
    """Logical processors that the run could use."""
    memory_bytes: float
    software: Mapping[str, str] = field(default_factory=dict)
    """Version by package."""
    virtual: bool = False

    @property
    def embodied_g_per_s(self) -> Estimate | None:
        """Embodied carbon that each second of use carries [gCO2e/s]; None where no device's is known."""
        shares = [
            (one.device.embodied_g / one.device.lifetime_s).scale(one.count)
            for one in self.devices
            if one.device.embodied_g is not None and one.device.lifetime_s is not None
        ]
        if not shares:
            return None
        result = shares[0]
        for share in shares[1:]:
            result += share
        return result

    @property
    def price_per_hour(self) -> Estimate | None:
        """Rent of the devices [USD/h]; None unless every accelerator has a price."""
        prices = [one.device.price_per_hour for one in self.devices]
        rented = [p.scale(one.count) for p, one in zip(prices, self.devices, strict=True) if p is not None]
        if not rented:
            return None
        result = rented[0]
        for price in rented[1:]:
            result += price
        return result
