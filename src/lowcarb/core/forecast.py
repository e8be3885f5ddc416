"""A training run from its totals, before it starts: `Scenario` → `Forecast`, each figure with a calibrated interval.

    accelerator-seconds = FLOPs ÷ (MFU × peak × goodput)          utilisation.py
    accelerator energy  = accelerator-seconds × device power      power.py
    node energy         = accelerator-seconds × (device + host)
    facility energy     = node energy × PUE
    operational carbon  = facility energy × grid intensity

Three scopes, because published figures are in all three: the devices alone, with their share of the host, with the
building. A probe (known hours, measured tokens/s, measured watts) takes the place of what the model would have said.
The middle of an interval is the model's figure; its width comes from families of models that the fit did not see, and
grows outside of the sizes and lengths that were published. How spreads combine: spread.py.

`project`, `forecast_training` and `forecast_tokens`, the roofline of one step's shape, live in roofline.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from math import ceil, isfinite
from typing import cast

from lowcarb.core.estimate import Basis, Estimate, weakest
from lowcarb.core.footprint import Footprint, footprint_of
from lowcarb.core.hardware import Device, Installed, Machine
from lowcarb.core.power import gpu_watts, tpu_watts
from lowcarb.core.roofline import (
    Projection,
    contrast,
    contrast_factor,
    forecast_tokens,
    forecast_training,
    project,
)
from lowcarb.core.site import Site
from lowcarb.core.spread import Factor, dominant, of_estimate, spread_around, within
from lowcarb.core.units import BYTES_PER_GB, J_PER_KWH, S_PER_HOUR
from lowcarb.core.utilisation import (
    ATTENTION_LENGTH,
    FEWEST_TOKENS,
    MOST_TOKENS,
    accelerator_s,
    goodput,
    training_flops,
    usual_count,
)
from lowcarb.core.workload import STATE_BYTES_PER_PARAMETER
from lowcarb.errors import SettingError

__all__ = [
    "Forecast", "Projection", "Scenario", "contrast", "contrast_factor", "forecast_run", "forecast_tokens",
    "forecast_training", "project",
]  # fmt: skip

# Half-widths of 80 % intervals, as ratios; `python benchmarks/forecast.py` prints how often they hold.
UTILISATION_RATIO = 1.45
"""Of hours, on families left out of the fit: it holds 85 % of 72 runs, 83 % with half of the families left out, 78 %
with whole devices left out; of runs newer than those of the fit 54 to 73 %."""
UNKNOWN_COUNT_RATIO = 1.15
"""More, where the number of devices is guessed: a count four times off moves hours by 1.1 to 1.5. `assumed`."""
THROUGHPUT_RATIO = 1.08
"""Between a measured throughput and the run's mean: restarts and evaluation, the goodput. `assumed`."""
DEVICE_POWER_RATIO = 1.15
"""Between the shares of rated power in power.py."""
HOST_POWER_RATIO = 1.3
MEASURED_POWER_RATIO = 1.05
"""Between a measured mean power and the run's. NVIDIA states ±5 % for the reading of its boards."""
RANGE_EXPONENT = 0.2
"""How the interval grows outside of the published sizes: ×/÷ (how many times outside)^0.2. `assumed`."""
FEWEST_ACTIVE, MOST_ACTIVE = 6e7, 6e11
"""The published runs that the constants were fitted to, rounded outwards."""
COUNT_RATIO = 4.0
"""Within which the duration is guessed where the count is unknown."""
SURE_FIT = 0.6
"""Share of the memory that weights, gradients and optimizer may fill while activations surely still fit. `assumed`."""
MOST_OF_TDP = 1.5
"""A measured power above so many times the rated power is a power of something else."""

PRECISIONS = {
    "16bit": ("bf16", "fp16"), "16-bit": ("bf16", "fp16"), "mixed": ("bf16", "fp16"), "half": ("bf16", "fp16"),
    "bf16": ("bf16",), "bfloat16": ("bf16",), "fp16": ("fp16",), "float16": ("fp16",),
    "fp32": ("fp32",), "float32": ("fp32",), "tf32": ("tf32",), "fp8": ("fp8",),
}  # fmt: skip
"""Names of a precision, and which of the device's peaks they mean: the first that it has."""
WHOLE = ("count", "layers", "width", "length")
HALVES = ("encoder-decoder", "seq2seq")
"""Families whose every token passes one half of the weights."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A training run as its totals say it."""

    params: float
    """All weights."""
    tokens: float
    device: Device
    site: Site
    count: int | None = 1
    """Devices; None where unknown."""
    active_params: float | None = None
    """Weights that each token passes, where they are not all: of a mixture of experts, of an encoder-decoder."""
    layers: int | None = None
    width: int | None = None
    length: int | None = None
    """Tokens of a sequence."""
    family: str | None = None
    """Free text; `encoder-decoder` means that each token passes half of the weights unless active_params says else."""
    precision: str | None = None
    """One of `PRECISIONS`; unless given, 16 bits where the device has them, else fp32."""
    accelerator_hours: float | None = None
    """Known hours of one device, all devices' added up."""
    tokens_per_s: float | Estimate | None = None
    """Throughput of all devices together [tokens/s]: measured, or an estimate from a probe on another device."""
    watts: float | Estimate | None = None
    """Mean power of one device [W]: measured, or an estimate."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a scenario costs. Unknown is None, never zero."""

    scenario: Scenario
    accelerator_hours: Estimate
    """Hours of one device, all devices' added up."""
    duration_s: Estimate | None
    """None where the count is unknown."""
    power_w: Estimate
    """Mean of one device, its host left out [W]."""
    accelerator_j: Estimate
    """Devices alone [J]."""
    node_j: Estimate
    """Devices with their share of hosts [J]."""
    facility_j: Estimate
    """Node energy with the building's share [J]."""
    footprint: Footprint
    """Of the node energy at the site."""
    dominant: str
    """The assumption that makes the carbon's interval widest, in words."""
    fits: bool | None
    """Whether the devices hold weights, gradients and optimizer, sharded evenly; None where that cannot be said."""
    remedies: tuple[str, ...]
    """What would make it fit."""

    def as_dict(self) -> dict[str, object]:
        """The JSON form: the figures by field name, and the scenario with device and site by id."""
        scenario = {field.name: getattr(self.scenario, field.name) for field in fields(Scenario)}
        scenario |= {name: value.as_dict() for name, value in scenario.items() if isinstance(value, Estimate)}
        scenario |= {"device": self.scenario.device.id, "site": self.scenario.site.id}
        return {
            "scenario": scenario,
            "accelerator_hours": self.accelerator_hours.as_dict(),
            "duration_s": self.duration_s.as_dict() if self.duration_s else None,
            "power_w": self.power_w.as_dict(),
            "accelerator_j": self.accelerator_j.as_dict(),
            "node_j": self.node_j.as_dict(),
            "facility_j": self.facility_j.as_dict(),
            "footprint": self.footprint.as_dict(),
            "dominant": self.dominant,
            "fits": self.fits,
            "remedies": list(self.remedies),
        }


def forecast_run(scenario: Scenario) -> Forecast:
    """What a run will cost.

    Raises:
        SettingError: a total, a count or a probe that is impossible, a precision that the device does not have, probes
            that contradict each other, or a device whose peak or rated power is unknown; the error names the field.
    """
    _check(scenario)
    seconds, hour_factors, hour_basis = _seconds(scenario)
    device_w, host_w, power_factor, power_basis = _watts(scenario)
    share = device_w / (device_w + host_w)
    host_factor = within("power of the host", HOST_POWER_RATIO)
    node_factors = (*hour_factors, power_factor.shared(share), host_factor.shared(1.0 - share))
    node_mid, basis = seconds * (device_w + host_w), weakest((hour_basis, power_basis, "modelled"))
    pue_factor = of_estimate("power usage effectiveness", scenario.site.pue)
    node_j = spread_around(node_mid, node_factors, basis)
    hours = spread_around(seconds / S_PER_HOUR, hour_factors, hour_basis)
    footprint, widest = _footprint(scenario, node_j, hours, (*node_factors, pue_factor))
    fits, remedies = _fit(scenario)
    return Forecast(
        scenario=scenario,
        accelerator_hours=hours,
        duration_s=hours.scale(S_PER_HOUR / scenario.count) if scenario.count is not None else None,
        power_w=spread_around(device_w, (power_factor,), power_basis),
        accelerator_j=spread_around(
            seconds * device_w, (*hour_factors, power_factor), weakest((hour_basis, power_basis))
        ),
        node_j=node_j,
        facility_j=spread_around(
            node_mid * scenario.site.pue.mid, (*node_factors, pue_factor), weakest((basis, scenario.site.pue.basis))
        ),
        footprint=footprint,
        dominant=widest,
        fits=fits,
        remedies=remedies,
    )


def active_parameters(scenario: Scenario) -> float:
    """Weights that each token passes: those given, or half of an encoder-decoder's, or all.

    A dense model's "active" weights are published as all of them, an encoder-decoder's too: that is no news.
    """
    if scenario.active_params is not None and scenario.active_params < scenario.params:
        return scenario.active_params
    halved = any(word in (scenario.family or "").lower() for word in HALVES)
    return scenario.params / 2.0 if halved else scenario.params


def device_count(scenario: Scenario) -> float:
    """Devices of a run; where nobody says, as many as such a run is usually given."""
    if scenario.count is not None:
        return float(scenario.count)
    return usual_count(_flops(scenario), peak_of(scenario.device, scenario.precision)[1])


def _flops(scenario: Scenario) -> float:
    return training_flops(
        active_parameters(scenario), scenario.tokens, scenario.layers or 0.0, scenario.width or 0.0,
        scenario.length or ATTENTION_LENGTH,
    )  # fmt: skip


def peak_of(device: Device, precision: str | None) -> tuple[str, float]:
    """Which of a device's precisions a run uses, and its peak [FLOP/s].

    Raises:
        SettingError: nobody calls a precision so, or the device does not have it.
    """
    if precision is None:
        names: tuple[str, ...] = ("bf16", "fp16", "fp32")
    else:
        names = PRECISIONS.get(precision.strip().lower(), ())
    for name in names:
        peak = device.peak_for(name)
        if peak is not None:
            return name, peak
    known = ", ".join(device.peak_flops) or "none known"
    raise SettingError("precision", precision, f"one that {device.id} has: {known}")


def _check(scenario: Scenario) -> None:
    """Refuse what cannot be."""
    for name in ("params", "tokens"):
        _positive(name, getattr(scenario, name))
    for name in ("count", "active_params", "layers", "width", "length", "accelerator_hours", "tokens_per_s", "watts"):
        value = getattr(scenario, name)
        if value is not None:
            _positive(name, value.low if isinstance(value, Estimate) else value)
            if name in WHOLE and value != int(value):
                raise SettingError(name, value, "a whole number")
    if scenario.active_params is not None and scenario.active_params > scenario.params:
        raise SettingError("active_params", scenario.active_params, f"at most params, {scenario.params:g}")
    peak = peak_of(scenario.device, scenario.precision)[1]
    if scenario.device.tdp_w is None and scenario.device.kind != "tpu":
        raise SettingError("device", scenario.device.id, "a device whose rated power is known")
    if scenario.watts is not None:
        _check_power(scenario.device, _probe(scenario.watts).mid)
    if scenario.tokens_per_s is not None:
        _check_throughput(scenario, _probe(scenario.tokens_per_s).mid, peak)


def _positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or not value > 0:
        raise SettingError(name, value, "more than 0")


def _probe(value: float | Estimate) -> Estimate:
    """A probe with its interval; a plain number was measured."""
    return value if isinstance(value, Estimate) else Estimate.exact(value, "measured")


def _check_power(device: Device, watts: float) -> None:
    if device.tdp_w is not None and watts > MOST_OF_TDP * device.tdp_w:
        raise SettingError("watts", watts, f"mean power of one device, which is rated {device.tdp_w:g} W")


def _check_throughput(scenario: Scenario, tokens_per_s: float, peak_flops: float) -> None:
    if scenario.accelerator_hours is not None:
        raise SettingError("tokens_per_s", tokens_per_s, "not both this and accelerator_hours")
    if scenario.count is None:
        raise SettingError("count", None, "a number: tokens_per_s is of all devices together")
    most = scenario.count * peak_flops / training_flops(active_parameters(scenario), 1.0, 0.0, 0.0, 0.0)
    if tokens_per_s > most:
        raise SettingError("tokens_per_s", tokens_per_s, f"at most {most:.3g}, the peak of the devices")


def _seconds(scenario: Scenario) -> tuple[float, tuple[Factor, ...], Basis]:
    """Seconds of one device, all devices' added up [s], how well they are known, and on which basis."""
    if scenario.accelerator_hours is not None:
        return scenario.accelerator_hours * S_PER_HOUR, (), "measured"
    if scenario.tokens_per_s is not None:
        count = float(cast("int", scenario.count))
        speed = _probe(scenario.tokens_per_s)
        seconds = scenario.tokens / speed.mid * count / goodput(count)
        slower = of_estimate("throughput on the other device", Estimate.exact(1.0) / speed.scale(1.0 / speed.mid))
        return seconds, (within("restarts and evaluation", THROUGHPUT_RATIO), slower), speed.on("modelled").basis
    active = active_parameters(scenario)
    name, peak = peak_of(scenario.device, scenario.precision)
    flops, count = _flops(scenario), device_count(scenario)
    half = float(name == "fp16" and scenario.device.peak_for("bf16") is None)
    outside = _outside(scenario.tokens, FEWEST_TOKENS, MOST_TOKENS) * _outside(active, FEWEST_ACTIVE, MOST_ACTIVE)
    factors = (
        within("utilisation", UTILISATION_RATIO),
        within("unknown number of devices", UNKNOWN_COUNT_RATIO if scenario.count is None else 1.0),
        within("size outside of the published runs", outside**RANGE_EXPONENT),
    )
    return accelerator_s(flops, active, scenario.tokens, peak, count, half), factors, "modelled"


def _outside(value: float, fewest: float, most: float) -> float:
    """How many times a value lies outside of a range; 1 inside."""
    return max(1.0, fewest / value, value / most)


def _watts(scenario: Scenario) -> tuple[float, float, Factor, Basis]:
    """Mean power of one device and of its share of the host [W, W], how well the first is known, and its basis."""
    device = scenario.device
    if device.kind == "tpu":
        device_w, host_w = tpu_watts(device.peak_for("bf16") or peak_of(device, scenario.precision)[1])
    else:
        device_w, host_w = gpu_watts(cast("float", device.tdp_w))
    if scenario.watts is not None:
        probe = _probe(scenario.watts)
        if probe.low == probe.high:
            return probe.mid, host_w, within("measured power", MEASURED_POWER_RATIO), probe.basis
        return probe.mid, host_w, of_estimate("power of the device", probe), probe.basis
    return device_w, host_w, within("power of the device", DEVICE_POWER_RATIO), "modelled"


def _footprint(
    scenario: Scenario, node_j: Estimate, hours: Estimate, factors: tuple[Factor, ...]
) -> tuple[Footprint, str]:
    """Footprint of the node energy, and what makes its carbon uncertain."""
    site, device, known = scenario.site, scenario.device, scenario.count
    # All figures but the duration follow from device-hours, so one device that runs them all stands in for any count.
    machine = Machine(
        id=f"{known or '?'}x{device.id}", name=device.name, devices=(Installed(device, 1),), threads=0, memory_bytes=0.0
    )
    footprint = footprint_of(
        node_j,
        hours.scale(S_PER_HOUR),
        machine,
        site,
        measured_share=0.0,
        scope="devices and their share of hosts",
        method="run from totals",
    )
    duration_s = hours.scale(S_PER_HOUR / known) if known else _guessed_duration(scenario, hours)
    footprint = replace(footprint, duration_s=duration_s)
    if not site.intensity_g_per_kwh.mid > 0.0:
        return footprint, dominant(factors)
    held = (*factors, of_estimate("carbon intensity of the grid", site.intensity_g_per_kwh))
    mid = node_j.mid * site.pue.mid * site.intensity_g_per_kwh.mid / J_PER_KWH
    carbon = spread_around(mid, held, footprint.operational_g.basis)
    return replace(footprint, operational_g=carbon), dominant(held)


def _guessed_duration(scenario: Scenario, hours: Estimate) -> Estimate:
    """Duration [s] on as many devices as such a run is usually given."""
    peak = peak_of(scenario.device, scenario.precision)[1]
    flops = training_flops(active_parameters(scenario), scenario.tokens, 0.0, 0.0, 0.0)
    return Estimate.around(hours.mid * S_PER_HOUR / usual_count(flops, peak), COUNT_RATIO, "assumed")


def _fit(scenario: Scenario) -> tuple[bool | None, tuple[str, ...]]:
    """Whether weights, gradients and optimizer fit the devices, and what would make them fit."""
    memory, count = scenario.device.memory_bytes, scenario.count
    state = scenario.params * STATE_BYTES_PER_PARAMETER
    if memory is None or count is None:
        return None, ()
    shard: Iterable[str] = ("sharding weights, gradients and optimizer state over the devices",)
    if state <= memory * count:
        sure = state <= SURE_FIT * memory * count
        return sure or None, tuple(shard) if state > memory and count > 1 else ()
    needed = ceil(state / memory)
    return False, (
        f"{needed} or more devices, with the optimizer state sharded over them",
        f"a device with more memory: {ceil(state / count / BYTES_PER_GB)} GB or more each",
        "LoRA: gradients and optimizer state of the adapters alone",
    )
