"""What the options of `lowcarb forecast` ask for, and what each device at each site answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from lowcarb.cli.batch import forecast_document
from lowcarb.core.contrast import Job, contrast_job
from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import Footprint
from lowcarb.core.forecast import PRECISIONS, Scenario, forecast_run
from lowcarb.core.hardware import Device
from lowcarb.core.memory import Setup, fits, memory_of, remedies
from lowcarb.core.roofline import CONTRAST_RATIO, LAUNCH_CONTRAST_RATIO, project
from lowcarb.core.shape import FULL, Method
from lowcarb.core.sides import Choice, Sides, sides
from lowcarb.core.site import Site
from lowcarb.core.workload import ModelSpec, training_workload
from lowcarb.errors import SettingError

LENGTH, BATCH = 384, 16
"""Of a fine-tuning of which nothing else is said: SQuAD as Liu & Yin 2024 train on it."""
SHARED = 3
"""Stage of sharding between several devices: weights, gradients and moments, as FSDP does."""
TARGET_LENGTH = 32
"""Tokens of an answer that an encoder-decoder learns to write: as for SQuAD by Raffel et al. 2020, rounded up."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What was measured in a short run, on one of the devices or on another one."""

    tokens_per_s: float
    """Of all devices together [tokens/s], padding included."""
    watts: float | None
    """Mean of one device [W]."""
    device: Device | None
    """Where it was measured; None: on the first device asked for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A pretraining by tokens, or a fine-tuning by examples."""

    params: float
    active_params: float | None
    tokens: float
    spec: ModelSpec | None
    """Shape of the model, where it is known."""
    family: str | None
    precision: str | None
    examples: int | None
    """None: a run that is known by its totals."""
    epochs: float
    batch: int
    length: int | None
    probe: Probe | None
    method: Method = FULL
    """Full training or LoRA, with or without recomputation."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A job on so many of one device at one site."""

    device: Device
    count: int
    site: Site
    power_w: Estimate
    bound: str | None
    """What limits the speed; None where the run is known by its totals only."""
    fits: bool | None
    footprint: Footprint
    energy_ratio: Estimate | None
    """Over the first device's; None for the first itself."""
    speed_ratio: Estimate | None
    sides: Sides
    details: dict[str, Any] = field(default_factory=dict)
    """What else there is to tell, by its JSON names: the precision always."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "device": self.device.id,
            "count": self.count,
            "site": self.site.id,
            "bound": self.bound,
            "fits": self.fits,
            "power_w": self.power_w.as_dict(),
            "energy_ratio_to_first": self.energy_ratio.as_dict() if self.energy_ratio else None,
            "speed_ratio_to_first": self.speed_ratio.as_dict() if self.speed_ratio else None,
            "benefits": list(self.sides.benefits),
            "drawbacks": list(self.sides.drawbacks),
            "footprint": self.footprint.as_dict(),
            **self.details,
        }


@dataclass(frozen=True, slots=True)
class _Answer:
    """One device's own answer, before it is put beside the first one's."""

    power_w: Estimate
    bound: str | None
    fits: bool | None
    details: dict[str, Any]
    footprint: Footprint


def outcomes(wanted: Wanted, devices: Sequence[Device], sites: Sequence[Site], count: int) -> list[Outcome]:
    """The job on each device at each site, the first device being what others are put beside.

    Raises:
        SettingError: a setting that cannot be, by name.
    """
    found: list[Outcome] = []
    for site in sites:
        answers = [_answer(wanted, device, devices[0], site, count) for device in devices]
        found += [
            _beside(wanted, device, devices[0], site, count, answer, answers[0])
            for device, answer in zip(devices, answers, strict=True)
        ]
    return found


def _answer(wanted: Wanted, device: Device, first: Device, site: Site, count: int) -> _Answer:
    if wanted.probe is None and wanted.examples is not None and wanted.spec is not None:
        precision = PRECISIONS.get(wanted.precision or "fp32", (wanted.precision or "fp32",))[0]
        workload = training_workload(
            wanted.spec, steps=max(1, round(wanted.examples * wanted.epochs / wanted.batch)), batch=wanted.batch,
            length=wanted.length or LENGTH, target_length=_target_length(wanted.spec), precision=precision,
            method=wanted.method.name, lora_rank=wanted.method.lora_rank, recompute=wanted.method.recompute,
        )  # fmt: skip
        projection = project(workload, device, site, count=count)
        return _Answer(
            projection.power_w, projection.bound, *_held(wanted, wanted.spec, device, precision, count),
            projection.footprint,
        )  # fmt: skip
    forecast = forecast_run(_scenario(wanted, device, first, site, count))
    details = forecast_document(forecast)
    del details["power_w"], details["fits"]
    return _Answer(forecast.power_w, None, forecast.fits, details, forecast.footprint)


def _held(
    wanted: Wanted, spec: ModelSpec, device: Device, precision: str, count: int
) -> tuple[bool | None, dict[str, Any]]:
    """Whether each device holds its part of a fine-tuning, and the memory that it takes, part by part."""
    setup = Setup(
        batch=ceil(wanted.batch / count), length=wanted.length or LENGTH, target_length=_target_length(spec),
        precision=precision, method=wanted.method, count=count, stage=SHARED if count > 1 else 0,
    )  # fmt: skip
    memory = memory_of(spec, setup)
    if device.memory_bytes is None:
        return None, {"precision": precision, "memory_bytes": memory.as_dict(), "remedies": []}
    held = fits(memory, device.memory_bytes)
    better = remedies(spec, setup, device.memory_bytes) if held is not True else ()
    return held, {"precision": precision, "memory_bytes": memory.as_dict(), "remedies": list(better)}


def _target_length(spec: ModelSpec) -> int:
    return TARGET_LENGTH if spec.kind == "encoder-decoder" else 0


def _scenario(wanted: Wanted, device: Device, first: Device, site: Site, count: int) -> Scenario:
    tokens_per_s: Estimate | None = None
    watts: Estimate | None = None
    if wanted.probe is not None:
        probed = wanted.probe.device or first
        told = contrast_job(
            _job(wanted), probed, device, throughput=wanted.probe.tokens_per_s, watts=wanted.probe.watts
        )
        tokens_per_s = told.other_throughput
        watts = told.other_watts if wanted.probe.watts is not None else None
    spec = wanted.spec
    return Scenario(
        params=wanted.params, tokens=wanted.tokens, device=device, site=site, count=count,
        active_params=wanted.active_params, layers=spec.layers + spec.decoder_layers if spec else None,
        width=spec.width if spec else None, length=wanted.length, family=wanted.family, precision=wanted.precision,
        tokens_per_s=tokens_per_s, watts=watts,
    )  # fmt: skip


def _job(wanted: Wanted) -> Job:
    return Job(
        model=wanted.spec.id if wanted.spec else "", phase="pretrain" if wanted.examples is None else "finetune",
        framework=None, precision=wanted.precision or "", batch=wanted.batch if wanted.examples else None,
        seq_len=wanted.length, params=wanted.params,
    )  # fmt: skip


def _beside(
    wanted: Wanted, device: Device, first: Device, site: Site, count: int, answer: _Answer, baseline: _Answer
) -> Outcome:
    """An answer beside the first device's."""
    energy_ratio = speed_ratio = None
    if answer is not baseline:
        # What makes both uncertain is common to them, so the ratio is far better known than their quotient.
        within = _ratio_known_within(wanted, device, first, answer, baseline)
        ratio = answer.footprint.energy_j.mid / baseline.footprint.energy_j.mid
        energy_ratio = Estimate.around(ratio, within, "modelled")
        ratio = baseline.footprint.duration_s.mid / answer.footprint.duration_s.mid
        speed_ratio = Estimate.around(ratio, within, "modelled")
    beside, start = (
        Choice(d, count, s, e, a.footprint.cost, a.footprint.embodied_g, a.fits)
        for d, s, e, a in ((device, speed_ratio, energy_ratio, answer), (first, None, None, baseline))
    )
    found = sides(start if answer is baseline else beside, start)
    return Outcome(
        device, count, site, answer.power_w, answer.bound, answer.fits, answer.footprint, energy_ratio, speed_ratio,
        found, answer.details,
    )  # fmt: skip


def _ratio_known_within(wanted: Wanted, device: Device, first: Device, answer: _Answer, baseline: _Answer) -> float:
    """Factor within which a ratio of two devices is known."""
    if wanted.probe is not None:
        ratio = contrast_job(_job(wanted), first, device).energy_ratio
        return ratio.high / ratio.mid
    return LAUNCH_CONTRAST_RATIO if "launches" in {answer.bound, baseline.bound} else CONTRAST_RATIO


def check_probe(probe: Probe | None) -> None:
    """Refuse a probe that cannot be.

    Raises:
        SettingError: a throughput or a power that is not above zero.
    """
    if probe is None:
        return
    if not probe.tokens_per_s > 0:
        raise SettingError("probe", probe.tokens_per_s, "more than 0 tokens/s")
    if probe.watts is not None and not probe.watts > 0:
        raise SettingError("probe-watts", probe.watts, "more than 0 W")
