"""Serving a model: energy of a request, the training shared out over requests, and when a smaller model pays.

    prompt   = 2 × active parameters × prompt tokens ÷ (efficiency × peak)                        device-seconds
    a token  = max(bytes of weights read ÷ batch ÷ (efficiency × bandwidth), 2 × active ÷ (efficiency × peak))
    request  = seconds × (busy power + host) + seconds × (1 ÷ share of the time in use − 1) × (idle power + host)

Two operations a weight and token are Kaplan et al. 2020 (arXiv 2001.08361, section 2.1); that a prompt is bound by
arithmetic and a token by the weights read is Pope et al. 2022 (arXiv 2211.05102, section 2). The shares are wide and
`assumed`: no serving was measured for them. Where a measured energy of a request is at hand, use that.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device
from lowcarb.errors import SettingError

FLOPS_PER_PARAMETER_AND_TOKEN = 2.0
"""Of a forward pass: a multiplication and an addition (Kaplan et al. 2020, section 2.1)."""
BYTES_PER_WEIGHT = 2.0
"""16-bit weights."""
ARITHMETIC_SHARE = Estimate(0.25, 0.45, 0.65, "assumed")
"""Of the dense peak that a forward pass of many tokens reaches."""
BANDWIDTH_SHARE = Estimate(0.4, 0.6, 0.8, "assumed")
"""Of the peak bandwidth that reading weights reaches."""
BUSY_SHARE = Estimate(0.5, 0.7, 0.95, "assumed")
"""Power over TDP while a request is answered."""
IDLE_SHARE = Estimate(0.1, 0.2, 0.35, "assumed")
"""Power over TDP while a loaded model waits for requests."""
HOST_SHARE = Estimate(0.15, 0.35, 0.8, "assumed")
"""The host's power for one device, over the device's TDP: as in training."""
IN_USE = Estimate(0.3, 0.6, 0.95, "assumed")
"""Share of the time that a serving device has work."""
MODEL_RATIO = 1.25
"""What two models on one device have in common cancels in their ratio; the rest is within this factor (assumed)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a model sees it.

    Raises:
        SettingError: no tokens at all, a negative number of them, or a batch below 1.
    """

    prompt_tokens: float
    output_tokens: float
    """0 for a model that only reads, such as a classifier."""
    batch: int = 8
    """Requests that are answered together."""

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "output_tokens"):
            if getattr(self, name) < 0:
                raise SettingError(name, getattr(self, name), "0 or more")
        if self.prompt_tokens + self.output_tokens <= 0:
            raise SettingError("prompt_tokens", self.prompt_tokens, "more than 0, or output tokens above 0")
        if self.batch < 1:
            raise SettingError("batch", self.batch, "1 or more")


@dataclass(frozen=True, slots=True)
class BreakEven:
    """How many requests it takes until training a smaller model was worth it."""

    low: float
    mid: float | None
    """None: it is not expected to pay at all."""
    high: float | None
    """None: it may never pay."""
    ratio: Estimate
    """A request of the smaller model over one of the larger."""


def request_j(params: float, active_params: float, device: Device, request: Request) -> Estimate:
    """Energy of one request [J], the device's and its host's, before the building's share.

    A model that needs several devices uses as many device-seconds on them as it would on one that held it.

    Raises:
        SettingError: parameters that are not positive, more active ones than there are, or a device without peak,
            bandwidth or rated power.
    """
    _check(params, active_params)
    peak = device.peak_for("bf16") or device.peak_for("fp16") or device.peak_for("fp32")
    if peak is None or device.bandwidth_bytes_per_s is None or device.tdp_w is None:
        raise SettingError("device", device.id, "a device whose peak, bandwidth and rated power are known")
    flops = FLOPS_PER_PARAMETER_AND_TOKEN * active_params
    per_flop = Estimate.exact(1.0 / peak, "catalogue") / ARITHMETIC_SHARE
    per_byte = Estimate.exact(1.0 / device.bandwidth_bytes_per_s, "catalogue") / BANDWIDTH_SHARE
    prompt_s = per_flop.scale(flops * request.prompt_tokens)
    read = BYTES_PER_WEIGHT * weights_read(params, active_params, request.batch) / request.batch
    token_s = _larger(per_byte.scale(read), per_flop.scale(flops))
    seconds = prompt_s + token_s.scale(request.output_tokens)
    waiting = Estimate(1.0 / IN_USE.high - 1.0, 1.0 / IN_USE.mid - 1.0, 1.0 / IN_USE.low - 1.0, IN_USE.basis)
    shares = BUSY_SHARE + HOST_SHARE + waiting * (IDLE_SHARE + HOST_SHARE)
    return (seconds * shares).scale(device.tdp_w)


def weights_read(params: float, active_params: float, batch: int) -> float:
    """Weights that one step of a batch reads: of a mixture of experts more of them, the more requests share the step.

    Each token takes `active ÷ all` of the weights, here at random: what no token of the batch takes is not read.
    """
    return params * (1.0 - (1.0 - active_params / params) ** batch)


def request_ratio(params: float, active_params: float, larger: float, larger_active: float, request: Request,
                  device: Device) -> Estimate:  # fmt: skip
    """Energy of a request to one model over that of a request to another on the same device."""
    ratio = (
        request_j(params, active_params, device, request).mid / request_j(larger, larger_active, device, request).mid
    )
    return Estimate.around(ratio, MODEL_RATIO, "assumed")


def shared_out(training: Estimate, request: Estimate, requests: float) -> Estimate:
    """A request with its share of the training, in the unit of both (J or gCO2e).

    Raises:
        SettingError: requests not above 0.
    """
    if not requests > 0:
        raise SettingError("requests", requests, "more than 0")
    return training.scale(1.0 / requests) + request


def break_even(training: Estimate, larger_request: Estimate, ratio: Estimate) -> BreakEven:
    """Requests until the training of a smaller model has saved what it took.

    requests = training ÷ (request to the larger model × (1 − ratio)). The two requests are never subtracted: what they
    have in common is in `ratio` once (law 4 of the house).

    Args:
        training: of the smaller model [J or gCO2e].
        larger_request: one request to the larger model, in the same unit.
        ratio: a request to the smaller over one to the larger.
    """
    trainings = training / larger_request

    def after(worth: float, saving: float) -> float | None:
        return worth / saving if saving > 0 else None

    mid, high = after(trainings.mid, 1.0 - ratio.mid), after(trainings.high, 1.0 - ratio.high)
    low = after(trainings.low, 1.0 - ratio.low)
    return BreakEven(low if low is not None else float("inf"), mid, high, ratio)


def _larger(one: Estimate, other: Estimate) -> Estimate:
    return Estimate(max(one.low, other.low), max(one.mid, other.mid), max(one.high, other.high), one.basis)


def _check(params: float, active_params: float) -> None:
    if not params > 0:
        raise SettingError("params", params, "more than 0")
    if not 0 < active_params <= params:
        raise SettingError("active_params", active_params, f"above 0 and at most params ({params:g})")
