"""Mean power of a device in training, and of its share of the host.

    GPU and others:  device = 0.84 × TDP               host = 0.30 × TDP
    TPU:             device = 0.68 × system            host = 0.32 × system
                     system = 270 W × (peak ÷ 123 TFLOP/s)^0.29

A TPU's rated power says little: a v3 is rated 450 W, and a v3 with its share of the host drew 245 to 310 W.
"""

from __future__ import annotations

GPU_DEVICE_SHARE = 0.84
"""Mean over rated power, the mean of six. Highest power limit, BERT-base: V100 0.90, A40 0.90, RTX 6000 0.95, P100 0.70
(Zeus, NSDI 2023); a 6B model on 256 A100: 0.70 (CodeCarbon's documentation); Olmo 3 on H100: 0.91, 146 MWh in 234 000
hours and 681 in 1.05 million (quoted in a public page)."""
GPU_HOST_SHARE = 0.30
"""Processor, memory, network, fans and power supply for one device, over its rated power: what is left of 1.14, the
geometric mean of systems over rated power: V100 1.10 (GPT-3, Patterson et al. 2021, table 4), P100 1.08 (same, table
3), H100 1.25 (MLPerf Training v4.0, at the plug, code tuned for the benchmark)."""
TPU_SYSTEM_W = 270.0
"""Mean system power for a TPU v3 chip, fitted to both families that measured it (`benchmarks/forecast.py --fit`): T5
310, Meena 289, GShard 288, Switch 245 W on v3 (Patterson et al. 2021, table 4), GLaM 326 W on v4 (Du et al. 2021)."""
TPU_PEAK_FLOPS = 123e12
"""Peak of a TPU v3 chip [FLOP/s]."""
TPU_EXPONENT = 0.29
"""How system power grows with the peak from one TPU to the next. `assumed`: from 208 W of a v2 (Evolved Transformer,
Patterson et al. 2021, quoted from memory) to v3 and v4."""
TPU_DEVICE_SHARE = 0.68
"""Of the system's power. `assumed`: nobody publishes both for one run."""


def gpu_watts(tdp_w: float) -> tuple[float, float]:
    """Mean power of a device and of its share of the host [W, W] by its rated power."""
    return GPU_DEVICE_SHARE * tdp_w, GPU_HOST_SHARE * tdp_w


def tpu_watts(peak_flops: float) -> tuple[float, float]:
    """Mean power of a TPU chip and of its share of the host [W, W] by its 16-bit peak."""
    system = TPU_SYSTEM_W * (peak_flops / TPU_PEAK_FLOPS) ** TPU_EXPONENT
    return TPU_DEVICE_SHARE * system, (1.0 - TPU_DEVICE_SHARE) * system
