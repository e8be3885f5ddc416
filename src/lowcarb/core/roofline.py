"""A run on hardware that is not here: `Workload` × `Device` × `Site` → `Footprint`, before anything runs.

A first, simple model: the slower of the two roofs, arithmetic and memory traffic, or the time to launch the kernels,
whichever is longest.

    seconds = max(FLOPs / speed, bytes / (efficiency × bandwidth), steps × layers × launch time)
    speed   = efficiency × peak, and in fp32 at most TDP / energy per FLOP
    watts   = TDP × (idle share + rest × how much of the time one of the roofs is busy)

The constants below are read off public training tables; the device table's name is in each line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import Footprint, footprint_of
from lowcarb.core.hardware import Device, Installed, Machine
from lowcarb.core.site import Site
from lowcarb.core.workload import (
    FLOPS_PER_PARAMETER_AND_TOKEN,
    STATE_BYTES_PER_PARAMETER,
    ModelSpec,
    Workload,
    step_cost,
    training_workload,
)
from lowcarb.errors import SettingError

FP32_EFFICIENCY = Estimate(0.42, 0.58, 0.75, "modelled")
"""Reached over peak, fp32 without tensor cores: BERT-large fine-tuning on V100, 0.49 (10.42 sequences/s of 384 tokens);
inference at batch 8, 0.70 on V100 and 0.74 on A100 (NVIDIA DeepLearningExamples, TensorFlow tables)."""
FP32_J_PER_FLOP = Estimate(22e-12, 28e-12, 36e-12, "modelled")
"""Energy of an fp32 operation, data movement included: what a card's rated power allows. A T4 reaches 2.4 of its 8.1
TFLOP/s at 70 W (BERT-large inference, 9.75 sequences/s of 384 tokens), an A100 14.4 of 19.5 at 400 W (58.4 sequences/s;
NVIDIA DeepLearningExamples)."""
TENSOR_EFFICIENCY = Estimate(0.14, 0.28, 0.45, "modelled")
"""Reached over dense peak on tensor cores, tf32, fp16 or bf16: BERT-large fine-tuning on A100 and V100, 0.24 to 0.30;
pretraining up to 0.45 (NVIDIA DeepLearningExamples)."""
BANDWIDTH_EFFICIENCY = Estimate(0.5, 0.7, 0.9, "modelled")
"""Reached over peak memory bandwidth by element-wise kernels."""
LAUNCH_S_PER_LAYER = Estimate(0.9e-3, 1.6e-3, 3.0e-3, "modelled")
"""Least time of a layer's forward and backward pass and update, however small the batch [s]: three times the 0.3 to
0.4 ms a layer of BERT-base inference at batch 1 on A100 and V100 (NVIDIA DeepLearningExamples), up to twice that for
frameworks that launch each kernel on its own."""
IDLE_SHARE = Estimate(0.35, 0.45, 0.6, "modelled")
"""Power over TDP of a device that waits for launches: BERT-base at batch 8 draws 0.60 of an A40's limit
(Zeus, NSDI 2023 traces)."""
BUSY_SHARE = Estimate(0.70, 0.90, 1.0, "modelled")
"""Power over TDP of a device at its roof: BERT-base on SQuAD draws 0.91 of a V100's limit, 0.90 of an A40's and of an
RTX 6000's, 0.70 of a P100's (Zeus, NSDI 2023 traces)."""
HOST_SHARE = Estimate(0.15, 0.35, 0.8, "modelled")
"""What processor, memory, fans and power supply of the host draw for one accelerator, over the accelerator's TDP: an
H100 node of eight draws 6.9 to 7.2 kW at the wall (MLPerf Training v4.0 power logs), about 5.0 kW of it in
accelerators rated 5.6 kW together."""
CONTRAST_RATIO = 1.5
"""A ratio between two devices is off by less than this factor eight times out of ten: rules by peak and bandwidth miss
pairs of the public training tables by 12 to 21 % at the median."""
LAUNCH_CONTRAST_RATIO = 2.5
"""The same where launches bound one of the two: no public pair of such trainings was at hand, so this is wide."""


@dataclass(frozen=True, slots=True)
class Projection:
    """A workload on one device."""

    device: Device
    count: int
    power_w: Estimate
    """Of one device [W], its host left out."""
    bound: str
    """What limits the speed: arithmetic, memory or launches."""
    fits: bool | None
    """Whether the devices together hold the run, sharded evenly; None where their memory is unknown."""
    footprint: Footprint


def project(workload: Workload, device: Device, site: Site, *, count: int = 1) -> Projection:
    """The workload on `count` devices, each with its share of a host, at a site.

    Raises:
        SettingError: a count below one, a precision the device does not have, or a device whose peak, bandwidth or
            rated power is unknown.
    """
    if count < 1:
        raise SettingError("count", count, "1 or more")
    peak = device.peak_for(workload.precision)
    if peak is None:
        known = ", ".join(device.peak_flops) or "none known"
        raise SettingError("precision", workload.precision, f"one that {device.id} has: {known}")
    if device.bandwidth_bytes_per_s is None or device.tdp_w is None:
        raise SettingError("device", device.id, "a device whose bandwidth and rated power are known")
    arithmetic_s = Estimate.exact(workload.flops / count, "catalogue") / _reached(
        peak, device.tdp_w, workload.precision
    )
    memory_s = Estimate.exact(workload.bytes / (device.bandwidth_bytes_per_s * count), "catalogue") / (
        BANDWIDTH_EFFICIENCY
    )
    layers = workload.model.layers + workload.model.decoder_layers
    launch_s = LAUNCH_S_PER_LAYER.scale(float(workload.steps * layers))
    duration_s = _longest(arithmetic_s, memory_s, launch_s)
    bound = max((arithmetic_s.mid, "arithmetic"), (memory_s.mid, "memory"), (launch_s.mid, "launches"))[1]
    busy = min(1.0, max(arithmetic_s.mid, memory_s.mid) / duration_s.mid)
    power_w = _between(IDLE_SHARE, BUSY_SHARE, busy).scale(device.tdp_w)
    machine = Machine(
        id=f"{count}x{device.id}", name=device.name, devices=(Installed(device, count),), threads=0, memory_bytes=0.0
    )
    footprint = footprint_of(
        (power_w + HOST_SHARE.scale(device.tdp_w)).scale(float(count)) * duration_s,
        duration_s,
        machine,
        site,
        measured_share=0.0,
        scope="device and its share of the host",
        method=f"roofline, bound by {bound}",
    )
    fits = None if device.memory_bytes is None else workload.memory_bytes <= device.memory_bytes * count
    return Projection(device, count, power_w, bound, fits, footprint)


def contrast_factor(*projections: Projection) -> float:
    """Factor within which a ratio between projections of one workload is known."""
    launched = any(projection.bound == "launches" for projection in projections)
    return LAUNCH_CONTRAST_RATIO if launched else CONTRAST_RATIO


def contrast(projection: Projection, baseline: Projection) -> Estimate:
    """Ratio of one device's energy to another's for the same workload.

    What makes both uncertain (the share of a roof that code reaches) is common to them, so the ratio is far better
    known than the quotient of their intervals would say.
    """
    ratio = projection.footprint.energy_j.mid / baseline.footprint.energy_j.mid
    return Estimate.around(ratio, contrast_factor(projection, baseline), "modelled")


def _reached(peak_flops: float, tdp_w: float, precision: str) -> Estimate:
    """Speed [FLOP/s] that a device reaches: a share of its peak, and no more than its rated power allows."""
    if precision != "fp32":
        return TENSOR_EFFICIENCY.scale(peak_flops)
    by_peak = FP32_EFFICIENCY.scale(peak_flops)
    by_power = Estimate.exact(tdp_w, "catalogue") / FP32_J_PER_FLOP
    return Estimate(
        min(by_peak.low, by_power.low), min(by_peak.mid, by_power.mid), min(by_peak.high, by_power.high), "modelled"
    )


def _longest(*durations: Estimate) -> Estimate:
    """The longest of some durations, bound by bound."""
    return Estimate(
        max(d.low for d in durations), max(d.mid for d in durations), max(d.high for d in durations), "modelled"
    )


def _between(idle: Estimate, busy: Estimate, share: float) -> Estimate:
    """The mix of two figures, `share` of the second."""
    return idle.scale(1.0 - share) + busy.scale(share)


def forecast_tokens(
    parameters: float, tokens: float, device: Device, site: Site, *, count: int = 1, precision: str | None = None
) -> Projection:
    """A pretraining of so many parameters on so many tokens: 6 × parameters × tokens FLOPs (Kaplan et al. 2020).

    Raises:
        SettingError: parameters or tokens not above zero, or what `project` refuses.
    """
    for name, value in (("params", parameters), ("tokens", tokens)):
        if not value > 0:
            raise SettingError(name, value, "more than 0")
    chosen = precision or next((p for p in ("bf16", "fp16", "fp32") if device.peak_for(p)), "fp32")
    # Twelve times layers × width² parameters, at the usual width of 128 × layers: only the launch floor depends on it.
    layers = max(1, round((parameters / (12 * 128**2)) ** (1 / 3)))
    shape = ModelSpec("given", "decoder", layers, 128 * layers, 512 * layers, 2 * layers, vocabulary=1)
    length, batch = 2048, max(1, round(2**19 / 2048))
    steps = max(1, round(tokens / (length * batch)))
    moved = steps * step_cost(shape, batch, length, precision=chosen).bytes
    workload = Workload(shape, steps, batch, length, chosen, FLOPS_PER_PARAMETER_AND_TOKEN * parameters * tokens, moved)
    projection = project(workload, device, site, count=count)
    # The batch is ours, and a real run would accumulate it: only what the weights need is sure.
    state = parameters * STATE_BYTES_PER_PARAMETER
    too_big = device.memory_bytes is not None and state > device.memory_bytes * count
    return replace(projection, fits=False if too_big else None)


def forecast_training(
    model: ModelSpec, device: Device, site: Site, *, examples: int, epochs: float, batch: int, length: int,
    precision: str = "fp32", count: int = 1,
) -> Projection:  # fmt: skip
    """A fine-tuning: so many examples, each padded to one length, over so many epochs.

    Raises:
        SettingError: a count that is not positive, or what `project` refuses.
    """
    for name, value in (("examples", examples), ("epochs", epochs), ("batch", batch)):
        if not value > 0:
            raise SettingError(name, value, "more than 0")
    steps = max(1, round(examples * epochs / batch))
    workload = training_workload(model, steps=steps, batch=batch, length=length, precision=precision)
    return project(workload, device, site, count=count)
