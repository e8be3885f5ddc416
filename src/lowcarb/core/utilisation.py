"""What share of its peak a device reaches over a whole training run, and how long the run so takes.

    accelerator-seconds = FLOPs ÷ (MFU × peak × goodput)
    MFU     = 0.39 × (1 + X ÷ 5e6 tokens/s)^−0.41 × (peak ÷ 312 TFLOP/s)^−0.23 × (tokens ÷ 1e12)^0.12 × 0.77^half
    X       = devices × peak ÷ (6 × active)                  tokens/s that the devices would do at their peak
    goodput = 0.97 ÷ (1 + devices ÷ 165 000)

The second power counts only above 312 TFLOP/s. What the terms stand for:

- **X**: a batch has a few million tokens, however many devices share it. The more of it they could do in a second, the
  shorter a step, and the more of it goes into what does not shrink with it: gradients sent, launches, waiting.
- **peak**: devices faster than an A100 wait longer for their memory and network, which grew less than the peak.
- **tokens**: the longest trainings are the newest, by people who tuned their code first. It stands in for the year,
  which a forecast is not told and which explains more; it is not carried on outside of the published runs.
- **half**: tensor cores that know fp16 but not bf16 (Volta, Turing) were fed by the software and memory of their time.

Mixture-of-experts models need no term of their own: with the active parameters in X, their residuals are no larger than
others'. MFU here counts 6 FLOPs a parameter and token and no attention; attention up to 2048 tokens, recomputation and
embeddings are so in the constants.

`benchmarks/forecast.py` fits the constants (`python benchmarks/forecast.py --fit`) to 72 published runs and prints what
the fit does on families of models, devices and years that it has not seen. How the form was chosen: decision 0020.
"""

from __future__ import annotations

from math import exp, log

from lowcarb.core.units import s_from_hours
from lowcarb.core.workload import FLOPS_PER_PARAMETER_AND_TOKEN

# The five of the fit: `python benchmarks/forecast.py --fit`. Slopes are pulled to zero, the base to the usual 0.4.
LOG_BASE = -0.950
"""ln of the MFU of a large model on few A100."""
CROWD_EXPONENT = 0.410
FAST_EXPONENT = 0.231
TOKEN_EXPONENT = 0.121
HALF_LOSS = 0.261
CROWD_TOKENS_PER_S = 5e6
"""Tokens/s at peak from which steps are short. One of eight tried from 2e6 to 80e6; the fit hardly minds."""
FAST_FLOPS = 312e12
"""Peak of an A100 in 16 bits [FLOP/s]: the device that most of the runs were trained on."""
LONG_TOKENS = 1e12
"""Tokens of a run whose software is neither old nor new."""
FEWEST_TOKENS, MOST_TOKENS = 1e9, 4e13
"""Of the published runs that the constants were fitted to, rounded outwards."""
MOST_MFU = 0.75
"""A bound for other constants than these: no published run is above 0.69."""
PLAIN_GOODPUT = 0.97
"""Share of the time that trains when nothing fails; the rest is checkpoints and evaluation. `assumed`."""
GOODPUT_DEVICES = 165_000.0
"""Devices at which half of the time is lost to failures: 16 384 H100 had 419 unexpected interruptions in 54 days and
trained more than 90 % of the time (Llama 3, arXiv 2407.21783, section 3.3.4)."""
USUAL_WALL_S = s_from_hours(1_000.0)
"""Duration [s] that people buy devices for: where the count is unknown, so many are taken that the run lasts this long
at an MFU of 0.35. `assumed`: the runs whose count is published last 4 days to 4 months."""
USUAL_MFU = 0.35
FEWEST_DEVICES = 8.0
"""One node: the least number taken where the count is unknown."""
ATTENTION_LENGTH = 2048
"""Sequence length whose attention the constants hold."""


def training_flops(active: float, tokens: float, layers: float, width: float, length: float) -> float:
    """FLOPs of a training: 6 a parameter and token (Kaplan et al. 2020), and the attention of positions beyond 2048.

    Attention costs 12 × layers × width × length FLOPs a token, half of it where it is causal (Chowdhery et al. 2022,
    appendix B); zero layers or width leave it out.
    """
    beyond = max(0.0, length - ATTENTION_LENGTH)
    return FLOPS_PER_PARAMETER_AND_TOKEN * (active + layers * width * beyond) * tokens


def usual_count(flops: float, peak_flops: float) -> float:
    """Devices that a run of so many FLOPs is usually given, not rounded."""
    return max(FEWEST_DEVICES, flops / (USUAL_MFU * peak_flops * USUAL_WALL_S))


def terms(
    active: float, tokens: float, peak_flops: float, count: float, half: float
) -> tuple[float, float, float, float, float]:
    """What the five constants of the fit are multiplied by; the sum is ln(MFU). Arguments as of `mfu`."""
    crowd = count * peak_flops / (FLOPS_PER_PARAMETER_AND_TOKEN * active * CROWD_TOKENS_PER_S)
    fast = max(0.0, log(peak_flops / FAST_FLOPS))
    long = log(min(MOST_TOKENS, max(FEWEST_TOKENS, tokens)) / LONG_TOKENS)
    return 1.0, -log(1.0 + crowd), -fast, long, -half


def mfu(active: float, tokens: float, peak_flops: float, count: float, half: float) -> float:
    """Share of the peak that so many devices reach on a model of so many active parameters, over so many tokens.

    `half` is 1.0 where tensor cores know fp16 but not bf16, else 0.0.
    """
    one, crowd, fast, long, old = terms(active, tokens, peak_flops, count, half)
    share = exp(
        LOG_BASE * one + CROWD_EXPONENT * crowd + FAST_EXPONENT * fast + TOKEN_EXPONENT * long + HALF_LOSS * old
    )
    return min(MOST_MFU, share)


def goodput(count: float) -> float:
    """Share of the time that trains, the rest being restarts, lost steps, checkpoints and evaluation."""
    return PLAIN_GOODPUT / (1.0 + count / GOODPUT_DEVICES)


def accelerator_s(flops: float, active: float, tokens: float, peak_flops: float, count: float, half: float) -> float:
    """Seconds of one device [s], all devices' added up, that a training takes."""
    return flops / (mfu(active, tokens, peak_flops, count, half) * peak_flops * goodput(count))
