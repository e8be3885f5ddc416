"""Power of processors and memory that no sensor reads: from load, rated power and installed bytes.

    P = TDP × (0.12 + 0.86 × load^0.75)          processor [W], load from 0 to 1 over all its logical processors
    P = 0.3725 W/GB × memory                     memory [W]

`benchmarks/cpu_power.py` fits the curve and prints how far it is off, beside the rules that others use.
"""

from __future__ import annotations

from math import isfinite

from lowcarb.core.estimate import Estimate
from lowcarb.core.units import BYTES_PER_GB

IDLE_W_PER_TDP_W = 0.12
"""Power at no load over rated power. Fit of 7 processors, one weight each: RAPL profiles of mlco2/codecarbon
(data/hardware/cpu_load_profiling, 2025-01, MIT) and the aggregates of Teads (EC2 bare metal, 2021)."""
RISE_W_PER_TDP_W = 0.86
"""Rise from no load to full load over rated power. From the same fit, which minimises |ln(model / measured)|."""
LOAD_EXPONENT = 0.75
"""Concave, as turbo clocks fall when more cores work. Best of 0.5 to 1 on processors left out of the fit."""
CPU_LOW_RATIO = 0.55
"""True power over the curve's, at least. With the next it holds, on processors left out of the fit, 78 % of the rows
and 89 % at one weight a processor. Older and power-saving machines lie at this end: at part load they clock low."""
CPU_HIGH_RATIO = 1.35
"""True power over the curve's, at most. Processors that reach their rated power at half load lie at this end."""

DRAM_W_PER_GB = 0.3725
"""Green Algorithms, referenceValues.csv (CC BY 4.0)."""
DRAM_LOW_W_PER_GB = 0.07
"""Idle 64 GB modules by BoaviztAPI 2.5.0: (3.0 + 0.055 × GB) × (0.7 + 0.3 × load) W a module. Large modules draw less
a byte, so a big server lies at this end."""
DRAM_HIGH_W_PER_GB = 0.45
"""Busy 8 GB modules by the same formula, 0.43; codecarbon's 3 W per 8 GB, 0.375, lies below."""


def cpu_power_w(load: float, rated_w: float) -> Estimate:
    """Power of a processor [W] at a load, with an interval meant to hold the truth eight times out of ten.

    Args:
        load: mean share of its logical processors that is busy, 0 to 1.
        rated_w: its rated power (TDP) [W]; of all sockets together, or of the share that a virtual machine holds.

    Raises:
        ValueError: the load is not between 0 and 1, or the rated power is not a positive number.
    """
    if not 0.0 <= load <= 1.0:
        raise ValueError(f"a load lies between 0 and 1, not at {load}")
    if not (isfinite(rated_w) and rated_w > 0.0):
        raise ValueError(f"a rated power is a positive number of watts, not {rated_w}")
    mid_w = rated_w * (IDLE_W_PER_TDP_W + RISE_W_PER_TDP_W * load**LOAD_EXPONENT)
    return Estimate(CPU_LOW_RATIO * mid_w, mid_w, CPU_HIGH_RATIO * mid_w, "modelled")


def dram_power_w(memory_bytes: float) -> Estimate:
    """Power of installed memory [W], whatever it does: refresh and standby make up most of it.

    Raises:
        ValueError: the size is negative or not a number.
    """
    if not (isfinite(memory_bytes) and memory_bytes >= 0.0):
        raise ValueError(f"a memory size is a number of bytes, not {memory_bytes}")
    per_gb = Estimate(DRAM_LOW_W_PER_GB, DRAM_W_PER_GB, DRAM_HIGH_W_PER_GB, "modelled")
    return per_gb.scale(memory_bytes / BYTES_PER_GB)
