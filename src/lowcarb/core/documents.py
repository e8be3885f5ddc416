"""JSON forms of what is stored beside a result: machine, site, channels and energy.

`x_from_dict(x_as_dict(x)) == x` for each of them, so that a journal can be booked, and a ledger repriced, without the
catalogue that the figures came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from math import isfinite
from typing import Any

from lowcarb.core.energy import Channel, DeviceEnergy, Energy
from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device, Installed, Machine
from lowcarb.core.site import Site

_DEVICE_ESTIMATES = ("embodied_g", "lifetime_s", "price_per_hour")
_SITE_ESTIMATES = ("intensity_g_per_kwh", "pue", "wue_l_per_kwh", "grid_water_l_per_kwh", "price_per_kwh")


def plain(value: object, otherwise: Callable[[object], object] | None = None) -> Any:
    """A value as JSON can say it: a number that is not finite is unknown, so None; a tuple is a list.

    Args:
        value: what is to be stored.
        otherwise: what to make of a value that JSON has no word for, such as `str`.

    Raises:
        TypeError: there is such a value and no `otherwise`.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(one, otherwise) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one, otherwise) for one in value]
    if otherwise is None:
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return otherwise(value)


def machine_as_dict(machine: Machine) -> dict[str, object]:
    """The JSON form of a machine, by field name."""
    return {
        "id": machine.id,
        "name": machine.name,
        "devices": [{"device": _device_as_dict(one.device), "count": one.count} for one in machine.devices],
        "threads": machine.threads,
        "memory_bytes": machine.memory_bytes,
        "software": dict(machine.software),
        "virtual": machine.virtual,
    }


def machine_from_dict(document: Mapping[str, Any]) -> Machine:
    """The machine whose JSON form this is."""
    devices = tuple(Installed(_device_from_dict(one["device"]), one["count"]) for one in document["devices"])
    return Machine(**{**document, "devices": devices})


def site_as_dict(site: Site) -> dict[str, object]:
    """The JSON form of a site, by field name."""
    return _flat(site) | {"sources": list(site.sources)}


def site_from_dict(document: Mapping[str, Any]) -> Site:
    """The site whose JSON form this is.

    Raises:
        SettingError: it is not a site that can be.
    """
    return Site(**{**document, **_estimates(document, _SITE_ESTIMATES), "sources": tuple(document["sources"])})


def channel_as_dict(channel: Channel) -> dict[str, object]:
    """The JSON form of a channel, by field name."""
    return _flat(channel)


def channel_from_dict(document: Mapping[str, Any]) -> Channel:
    """The channel whose JSON form this is."""
    return Channel(**document)


def energy_as_dict(energy: Energy) -> dict[str, object]:
    """The JSON form of an energy: what the ledger keeps, and what any site can be applied to later."""
    return {
        "duration_s": energy.duration_s,
        "coverage": energy.coverage,
        "gaps_s": energy.gaps_s,
        "measured_share": energy.measured_share,
        "unresolved": list(energy.unresolved()),
        "devices": [_drawn_as_dict(device) for device in energy.devices],
        "checks": [_drawn_as_dict(device) for device in energy.checks],
    }


def energy_from_dict(document: Mapping[str, Any]) -> Energy:
    """The energy whose JSON form this is."""
    devices, checks = (tuple(_drawn_from_dict(one) for one in document[name]) for name in ("devices", "checks"))
    return Energy(float(document["duration_s"]), devices, checks)


def _device_as_dict(device: Device) -> dict[str, object]:
    return _flat(device) | {"peak_flops": dict(device.peak_flops), "sources": list(device.sources)}


def _device_from_dict(document: Mapping[str, Any]) -> Device:
    return Device(**{**document, **_estimates(document, _DEVICE_ESTIMATES), "sources": tuple(document["sources"])})


def _flat(record: Device | Site | Channel) -> dict[str, object]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: value.as_dict() if isinstance(value, Estimate) else value for name, value in values.items()}


def _estimates(document: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Estimate | None]:
    return {name: None if document[name] is None else Estimate.from_dict(document[name]) for name in names}


def _drawn_as_dict(device: DeviceEnergy) -> dict[str, object]:
    return {
        "device": device.device,
        "kind": device.kind,
        "sensor": device.sensor,
        "energy_j": device.energy_j.as_dict(),
        "coverage": device.coverage,
        "gaps_s": device.gaps_s,
        "faults": list(device.faults),
        "resolution_s": device.resolution_s,
        "lag_j": device.lag_j,
    }


def _drawn_from_dict(document: Mapping[str, Any]) -> DeviceEnergy:
    energy_j, faults = Estimate.from_dict(document["energy_j"]), tuple(document["faults"])
    return DeviceEnergy(**{**document, "energy_j": energy_j, "faults": faults})
