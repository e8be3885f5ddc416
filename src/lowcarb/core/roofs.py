"""How high a device's roofs are for a kind of job, and how much each roof counts from one device to another.

    ln(speed on other ÷ speed on first) = Σ exponent(kind, roof) × ln(roof of other ÷ roof of first)

The roofs are fp32 arithmetic, what matrix units lift it by (tf32 or 16 bits over fp32), memory bandwidth and rated
power. A job never gets the whole of a faster peak: the exponents say how much of each it gets. They are few, pulled
towards equal shares of arithmetic and bandwidth, and know neither models nor makers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from re import IGNORECASE, search
from typing import Literal

from lowcarb.core.hardware import Device
from lowcarb.core.units import GIGA
from lowcarb.errors import SettingError

Kind = Literal["full", "mixed", "large", "inference"]
"""Training in fp32 or tf32; in mixed precision; tuned or large training in reduced precision; inference."""
Roof = Literal["arithmetic", "matrix units", "memory", "power"]

EXPONENTS: Mapping[Kind, Mapping[Roof, float]] = {
    "full": {"arithmetic": 0.68, "matrix units": 0.29, "memory": 0.84, "power": 0.0},
    "mixed": {"arithmetic": 0.21, "matrix units": 0.21, "memory": 0.59, "power": 0.0},
    "large": {"arithmetic": 0.66, "matrix units": 0.66, "memory": 0.39, "power": 0.0},
    "inference": {"arithmetic": 0.26, "matrix units": 0.00, "memory": 0.50, "power": 0.39},
}
"""Fitted by `python benchmarks/contrast.py` on public tables: full and mixed on NVIDIA DeepLearningExamples and Zeus
(NSDI 2023), large on MLPerf Training v0.7 to v5.1, inference on NVIDIA DeepLearningExamples. There the matrix units
came out at -0.05, taken as none: a faster unit slows nothing down."""
SPREAD: Mapping[Kind, float] = {"full": 1.25, "mixed": 1.25, "large": 1.53, "inference": 1.55}
"""About eight ratios in ten lie within this factor of the formula when their job, their model or their two devices are
left out of the fit (same command: 89, 79 and 82 % of the training tables)."""
LARGE_PARAMETERS = 1e9
"""Training of so many parameters in reduced precision is `large`: arithmetic holds it back. The smaller models of the
`mixed` tables have 0.34e9 at most, the larger ones of MLPerf 8e9 at least; where between is `assumed`."""
FP32_OF_REDUCED = 1.0 / 8.0
"""fp32 over 16-bit peak where the first is not known: of V100, T4, RTX 6000 and MI300X in the catalogue."""

_WORDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("best", "reduced", "fp8", "fp4", "int8"), "large"),
    (("mixed", "amp", "16", "half", "o1", "o2"), "mixed"),
    (("32", "full", "single", "default"), "full"),
)
_TRAINING = (
    "train", "training", "pretrain", "pre-train", "pretraining", "pre-training", "finetune", "fine-tune", "finetuning",
    "fine-tuning",
)  # fmt: skip
_INFERENCE = ("inference", "infer", "serve", "serving")


@dataclass(frozen=True, slots=True)
class Job:
    """What is run on both devices. Unknown is None."""

    model: str
    """Any name, also an unknown one; a size in it such as `70B` is read where `params` is None."""
    phase: str
    """train, pretrain, finetune or inference."""
    framework: str | None
    """Kept for the record: the fit found no use for it."""
    precision: str
    """fp32, tf32, bf16, fp16, or words around them: `mixed (AMP)`, `best submitted`. Empty: mixed."""
    batch: int | None = None
    """Examples on one device. The ratio is that of equal batches."""
    seq_len: int | None = None
    params: float | None = None


def parameters_of(job: Job) -> float | None:
    """Parameters of the job's model, given or read from a size in its name; None where neither says."""
    if job.params is not None:
        return job.params
    found = search(r"(?<![\d.])(\d+(?:\.\d+)?)\s*B\b", job.model, IGNORECASE)
    return float(found[1]) * GIGA if found else None


def kind_of(job: Job) -> Kind:
    """The kind of a job by its phase, precision and size.

    Raises:
        SettingError: an unknown phase, words that name no precision, or a count that is not above zero.
    """
    for name, count in (("batch", job.batch), ("seq_len", job.seq_len), ("params", job.params)):
        if count is not None and not count > 0:
            raise SettingError(name, count, "more than 0")
    phase = job.phase.strip().lower()
    if phase not in (*_TRAINING, *_INFERENCE):
        raise SettingError("phase", job.phase, "one of train, pretrain, finetune, inference")
    precision = precision_of(job.precision)
    if phase in _INFERENCE:
        return "inference"
    if precision == "mixed" and (parameters_of(job) or 0.0) >= LARGE_PARAMETERS:
        return "large"
    return precision


def precision_of(words: str) -> Literal["full", "mixed", "large"]:
    """The group that words for a precision belong to; mixed where there are none.

    Raises:
        SettingError: words that name no precision.
    """
    text = words.strip().lower()
    if not text:
        return "mixed"
    for signs, group in _WORDS:
        if any(sign in text for sign in signs):
            return group  # type: ignore[return-value]  # the table above holds no other
    raise SettingError("precision", words, "fp32, tf32, fp16, bf16, fp8, mixed or words around them")


def roofs(device: Device, *, full: bool, field: str = "device") -> Mapping[Roof, float]:
    """Roofs of a device: FLOP/s, ratio, bytes/s, W.

    `full` asks for fp32, which runs as tf32 where a device has it, as NVIDIA's tables pair them. A device without the
    precision asked for takes the next that it has.

    Raises:
        SettingError: a device without any peak, or whose bandwidth or rated power is unknown; `field` names it.
    """
    peaks = device.peak_flops
    reduced = next((peaks[name] for name in ("fp16", "bf16") if name in peaks), None)
    plain = peaks.get("fp32") or (reduced * FP32_OF_REDUCED if reduced is not None else None)
    if plain is None:
        raise SettingError(field, device.id, "a device whose peak in fp32, fp16 or bf16 is known")
    if device.bandwidth_bytes_per_s is None:
        raise SettingError(field, device.id, "a device whose memory bandwidth is known")
    if device.tdp_w is None:
        raise SettingError(field, device.id, "a device whose rated power is known")
    lifted = peaks.get("tf32") if full else reduced
    return {
        "arithmetic": plain,
        "matrix units": (lifted or plain) / plain,
        "memory": device.bandwidth_bytes_per_s,
        "power": device.tdp_w,
    }


def log_ratios(job: Job, device: Device, other: Device) -> Mapping[Roof, float]:
    """ln(roof of other ÷ roof of device) for each roof, before any exponent.

    Raises:
        SettingError: what `kind_of` and `roofs` refuse.
    """
    full = precision_of(job.precision) == "full"
    first = roofs(device, full=full)
    second = roofs(other, full=full, field="other_device")
    return {roof: log(second[roof] / first[roof]) for roof in first}


def shares(job: Job, device: Device, other: Device) -> Mapping[Roof, float]:
    """What each roof adds to ln(speed on other ÷ speed on device).

    Raises:
        SettingError: what `kind_of` and `roofs` refuse.
    """
    exponents = EXPONENTS[kind_of(job)]
    return {roof: exponents[roof] * ratio for roof, ratio in log_ratios(job, device, other).items()}
