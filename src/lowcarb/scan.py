"""Many forecasts at once, for planning: runs × devices × counts × sites × hours, as arrays.

The formulas are those of `lowcarb.core.forecast`, written for numpy (extra `plan`); `tests/test_scan.py` holds that a
cell of a scan is what `forecast_run` says of the same scenario. Each figure is an `Interval` of three arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from lowcarb.core.estimate import Estimate
from lowcarb.core.forecast import (
    DEVICE_POWER_RATIO,
    FEWEST_ACTIVE,
    HOST_POWER_RATIO,
    MOST_ACTIVE,
    RANGE_EXPONENT,
    UTILISATION_RATIO,
    Scenario,
    active_parameters,
    forecast_run,
    peak_of,
)
from lowcarb.core.hardware import Device
from lowcarb.core.power import gpu_watts, tpu_watts
from lowcarb.core.site import Site
from lowcarb.core.spread import Factor, of_estimate, within
from lowcarb.core.units import J_PER_KWH, S_PER_HOUR
from lowcarb.core.utilisation import (
    ATTENTION_LENGTH,
    CROWD_EXPONENT,
    CROWD_TOKENS_PER_S,
    FAST_EXPONENT,
    FAST_FLOPS,
    FEWEST_TOKENS,
    GOODPUT_DEVICES,
    HALF_LOSS,
    LOG_BASE,
    LONG_TOKENS,
    MOST_MFU,
    MOST_TOKENS,
    PLAIN_GOODPUT,
    TOKEN_EXPONENT,
    training_flops,
)
from lowcarb.core.workload import FLOPS_PER_PARAMETER_AND_TOKEN, STATE_BYTES_PER_PARAMETER
from lowcarb.errors import MissingExtra, SettingError

try:
    import numpy as np
except ImportError as error:
    raise MissingExtra("lowcarb.scan", "plan") from error


@dataclass(frozen=True, slots=True)
class Run:
    """What is trained: the part of a `Scenario` that no device, count or site changes."""

    params: float
    tokens: float
    active_params: float | None = None
    layers: int | None = None
    width: int | None = None
    length: int | None = None
    family: str | None = None
    precision: str | None = None

    def on(self, device: Device, count: int, site: Site) -> Scenario:
        """The scenario of this run on so many of a device at a site."""
        return Scenario(
            self.params, self.tokens, device, site, count, self.active_params, self.layers, self.width, self.length,
            self.family, self.precision,
        )  # fmt: skip


class Interval(NamedTuple):
    """Estimates as three arrays of one shape."""

    low: Any
    mid: Any
    high: Any

    def at(self, *index: int) -> tuple[float, float, float]:
        """One of them: low, mid, high."""
        return float(self.low[index]), float(self.mid[index]), float(self.high[index])


@dataclass(frozen=True)
class Scan:
    """Forecasts of every combination; axes in the order of the fields below."""

    runs: tuple[Run, ...]
    devices: tuple[Device, ...]
    counts: tuple[int, ...]
    sites: tuple[Site, ...]
    intensities_g_per_kwh: Any
    """By site and hour; None where each site has its own yearly mean, and the last axis has one entry."""
    accelerator_hours: Interval
    """Axes runs, devices, counts."""
    node_j: Interval
    """Devices with their share of hosts [J]. Axes runs, devices, counts."""
    operational_g: Interval
    """Building included [gCO2e]. Axes runs, devices, counts, sites, hours."""

    @cached_property
    def duration_s(self) -> Interval:
        """Axes runs, devices, counts."""
        counts = np.asarray(self.counts, dtype=np.float64)
        return Interval(*(bound * (S_PER_HOUR / counts) for bound in self.accelerator_hours))

    @cached_property
    def too_big(self) -> Any:
        """Where weights, gradients and optimizer state surely do not fit. Axes runs, devices, counts."""
        state = np.array([run.params for run in self.runs]) * STATE_BYTES_PER_PARAMETER
        memory = np.array([device.memory_bytes or np.inf for device in self.devices])
        return state[:, None, None] > memory[None, :, None] * np.array(self.counts)[None, None, :]

    def scenario(self, run: int, device: int, count: int, site: int, hour: int = 0) -> Scenario:
        """The scenario of one cell, for `forecast_run`."""
        place = self.sites[site]
        if self.intensities_g_per_kwh is not None:
            figure = Estimate.exact(float(self.intensities_g_per_kwh[site, hour]), "catalogue")
            place = replace(place, intensity_g_per_kwh=figure)
        return self.runs[run].on(self.devices[device], self.counts[count], place)


def scan(
    runs: Sequence[Run], devices: Sequence[Device], counts: Sequence[int], sites: Sequence[Site],
    intensities_g_per_kwh: Any = None,
) -> Scan:  # fmt: skip
    """The forecast of every run on every count of every device at every site in every hour.

    Args:
        runs: what is trained.
        devices: on what.
        counts: on how many of it.
        sites: where.
        intensities_g_per_kwh: by site and hour, shape (sites, hours); each site's own yearly mean unless given.

    Raises:
        SettingError: an empty axis, intensities of another shape or below zero, or what `forecast_run` refuses.
    """
    for name, axis in (("runs", runs), ("devices", devices), ("counts", counts), ("sites", sites)):
        if not len(axis):
            raise SettingError(name, axis, "at least one")
    for run in runs:
        forecast_run(run.on(devices[0], counts[0], sites[0]))
    for device in devices:
        for run in {run.precision: run for run in runs}.values():
            forecast_run(run.on(device, counts[0], sites[0]))
    for count in counts:
        forecast_run(runs[0].on(devices[0], count, sites[0]))
    hourly = _hourly(intensities_g_per_kwh, len(sites))
    seconds = _seconds(runs, devices, counts)
    outside = np.array([_outside(run) for run in runs])
    hour_spread = (within("utilisation", UTILISATION_RATIO).below ** 2 + outside**2)[:, None, None]
    power_w, power_spread = _power(devices)
    node = seconds * power_w[None, :, None]
    node_spread = hour_spread + power_spread[None, :, None]
    return Scan(
        tuple(runs), tuple(devices), tuple(counts), tuple(sites), hourly,
        _interval(seconds / S_PER_HOUR, np.sqrt(hour_spread), np.sqrt(hour_spread)),
        _interval(node, np.sqrt(node_spread), np.sqrt(node_spread)),
        _carbon(node, node_spread, sites, hourly),
    )  # fmt: skip


def _hourly(intensities: Any, sites: int) -> Any:
    if intensities is None:
        return None
    hourly = np.asarray(intensities, dtype=np.float64)
    if hourly.ndim != 2 or hourly.shape[0] != sites or not hourly.shape[1]:
        raise SettingError("intensities_g_per_kwh", hourly.shape, f"the shape ({sites} sites, hours)")
    if not (np.isfinite(hourly) & (hourly >= 0)).all():
        raise SettingError("intensities_g_per_kwh", float(hourly.min()), "zero or more, and finite")
    return hourly


def _seconds(runs: Sequence[Run], devices: Sequence[Device], counts: Sequence[int]) -> Any:
    """Seconds of one device, all devices' added up [s]: axes runs, devices, counts (utilisation.py)."""
    scenarios = [run.on(devices[0], 1, _ANYWHERE) for run in runs]
    active = np.array([active_parameters(scenario) for scenario in scenarios])[:, None, None]
    flops = np.array([
        training_flops(a, run.tokens, run.layers or 0.0, run.width or 0.0, run.length or ATTENTION_LENGTH)
        for a, run in zip(active.ravel().tolist(), runs, strict=True)
    ])[:, None, None]  # fmt: skip
    used = {
        precision: [peak_of(device, precision) for device in devices] for precision in {run.precision for run in runs}
    }
    peak = np.array([[found[1] for found in used[run.precision]] for run in runs])[:, :, None]
    half = np.array([
        [float(found[0] == "fp16" and device.peak_for("bf16") is None)
         for found, device in zip(used[run.precision], devices, strict=True)]
        for run in runs
    ])[:, :, None]  # fmt: skip
    count = np.asarray(counts, dtype=np.float64)[None, None, :]
    crowd = count * peak / (FLOPS_PER_PARAMETER_AND_TOKEN * active * CROWD_TOKENS_PER_S)
    fast = np.maximum(0.0, np.log(peak / FAST_FLOPS))
    tokens = np.array([float(run.tokens) for run in runs])[:, None, None]
    long = np.log(np.clip(tokens, FEWEST_TOKENS, MOST_TOKENS) / LONG_TOKENS)
    mfu = np.exp(
        LOG_BASE - CROWD_EXPONENT * np.log(1.0 + crowd) - FAST_EXPONENT * fast + TOKEN_EXPONENT * long
        - HALF_LOSS * half
    )  # fmt: skip
    goodput = PLAIN_GOODPUT / (1.0 + count / GOODPUT_DEVICES)
    return flops / (np.minimum(MOST_MFU, mfu) * peak * goodput)


def _outside(run: Run) -> float:
    """How much wider a run outside of the published sizes is, as ln of a ratio."""
    active = active_parameters(run.on(_NOTHING, 1, _ANYWHERE))
    times = max(1.0, FEWEST_TOKENS / run.tokens, run.tokens / MOST_TOKENS) * max(
        1.0, FEWEST_ACTIVE / active, active / MOST_ACTIVE
    )
    return within("size", times**RANGE_EXPONENT).below


def _power(devices: Sequence[Device]) -> tuple[Any, Any]:
    """Power of a device with its share of the host [W], and the squared spread of the two, by device."""
    watts, spreads = [], []
    for device in devices:
        if device.kind == "tpu":
            own, host = tpu_watts(device.peak_for("bf16") or peak_of(device, None)[1])
        else:
            own, host = gpu_watts(device.tdp_w or 0.0)
        share = own / (own + host)
        parts = (
            within("power of the device", DEVICE_POWER_RATIO).shared(share),
            within("power of the host", HOST_POWER_RATIO).shared(1.0 - share),
        )
        watts.append(own + host)
        spreads.append(sum(part.below**2 for part in parts))
    return np.array(watts), np.array(spreads)


def _carbon(node: Any, node_spread: Any, sites: Sequence[Site], hourly: Any) -> Interval:
    """Carbon [gCO2e] of node energy [J] at each site in each hour: axes of `node`, sites, hours."""
    pue = np.array([site.pue.mid for site in sites])
    own = np.array([[site.intensity_g_per_kwh.mid] for site in sites])
    intensity = own if hourly is None else hourly
    mid = node[..., None, None] * pue[:, None] * intensity / J_PER_KWH
    buildings = [of_estimate("building", site.pue) for site in sites]
    below, above = _squares(buildings, "below"), _squares(buildings, "above")
    if hourly is None:
        grids = [_grid(site.intensity_g_per_kwh) for site in sites]
        below, above = below + _squares(grids, "below"), above + _squares(grids, "above")
    spread = node_spread[..., None, None]
    return _interval(mid, np.sqrt(spread + below[:, None]), np.sqrt(spread + above[:, None]))


def _grid(intensity: Estimate) -> Factor:
    return of_estimate("grid", intensity) if intensity.mid > 0 else within("grid", 1.0)


def _squares(factors: Iterable[Factor], side: str) -> Any:
    return np.array([getattr(factor, side) ** 2 for factor in factors])


def _interval(mid: Any, below: Any, above: Any) -> Interval:
    return Interval(mid * np.exp(-below), mid, mid * np.exp(above))


_NOTHING = Device("none", "None", "gpu")
_ANYWHERE = Site(
    "anywhere", "Anywhere", Estimate.exact(0.0, "assumed"), "location, lifecycle", Estimate.exact(1.0, "assumed"),
    None, None, None, None, declared=False,
)  # fmt: skip
