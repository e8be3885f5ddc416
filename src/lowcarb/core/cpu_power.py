"""Power of processors and memory that no sensor reads: from load, rated power, cores, clock and installed bytes.

    P = TDP × min(1, D × (0.12 + 0.88 × load^0.68))        processor [W], load from 0 to 1 over its logical processors
    D = min(1.2, 3.9 W/GHz × cores × base clock ÷ TDP)     what its busy cores ask for, over what it is rated for
    P = TDP × 0.9 × (0.12 + 0.88 × load^0.6)               where cores are unknown
    P = 0.3725 W/GB × memory                               memory [W]

A rated power says how much heat a package may give off, not how much its cores ask for. Few or slow cores never reach
it: two Xeon E5-2620 v3 draw 0.62 of it at full load. Many or fast cores ask for more and are held to it by their clock:
a Threadripper 1950X draws 0.97 of it at 52 % load already. What a busy core asks for is nearly proportional to its
clock, and nearly the same from 2012 to 2019, so that cores × clock ÷ TDP tells one from the other.

Three numbers are fitted (least mean |ln(model ÷ measured)|, one weight a processor) to 80 rows of 7 processors: RAPL
profiles of mlco2/codecarbon (data/hardware/cpu_load_profiling, 2025-01, MIT) and the aggregates of Teads (EC2 bare
metal, 2021). `benchmarks/cpu_power.py` prints the fit, its error on each processor left out of it, how often the
interval holds, and the same for the rules that others use; BENCHMARKS.md repeats the table.

Tried without gain on processors left out: the clock at the moment (what Linux shows is a mean that idle cores pull
down), whether few processors are busy or all a little, a knee where hyper-threads begin to share cores. Outside of the
fit: vector code, which draws more than the load generator did; machines that save power by a low clock at part load,
which draw down to a third; by SPECpower servers at idle and full load, cores up to 2011, which ask for half as much
again, and from Zen 2 on, which ask for less.
"""

from __future__ import annotations

from math import exp, hypot, isfinite, log

from lowcarb.core.estimate import Estimate
from lowcarb.core.units import BYTES_PER_GB, GIGA

CORE_W_PER_GHZ = 3.9
"""Power that a busy core, with its share of the rest of the package, asks for at each gigahertz of base clock. Fit."""
IDLE_SHARE = 0.12
"""Power at no load over what is asked for at full load. Fit; Teads publishes 0.12 of the rated power."""
LOAD_EXPONENT = 0.68
"""Concave: the first busy core wakes what all share, the second thread of a core adds little, clocks fall when more
cores work. Fit."""
MOST_DEMAND = 1.2
"""The most that cores are taken to ask for, over the rated power: the highest of the processors in the fit."""
TYPICAL_DEMAND = 0.9
"""The same where cores are unknown. SPECpower servers since 2012 rise by 0.79 of their rated power from no load to full
(median of 72 processors, 92 % of the power at the plug), so to 0.90 with idle; fans and memory are in it. The fit gives
0.84 to 0.97, as processors with many rows weigh more or less."""
TYPICAL_EXPONENT = 0.6
"""The exponent where cores are unknown: lower, as a part of all processors reaches its rated power before full load.
Rounded from 0.62 to 0.66, the fits at either weighting, towards that."""
TYPICAL_CLOCK_HZ = 2.9e9
"""Base clock where it is unknown: median of the 704 processors of the catalogue whose clock BoaviztAPI 2.5.0 lists."""
CPU_LOW_RATIO = 0.8
"""True power over the model's, at least, where cores and clock are known. With the next it holds 85 % of the rows with
each processor left out of the fit, 92 % at one weight a processor; 82 % and 85 % with each source left out."""
CPU_HIGH_RATIO = 1.2
"""True power over the model's, at most, where cores and clock are known; or what makes it the rated power at full load,
which vector code reaches on a processor that does not reach it otherwise."""
UNSURE_LOW_RATIO = 0.55
"""The same where cores or clock are unknown. With the next it holds 81 % of the rows with each processor left out, 90 %
at one weight a processor; 80 % and 83 % with each source left out."""
UNSURE_HIGH_RATIO = 1.47
"""So 1.32 × the rated power at full load: desktop processors may draw about that for long (AMD's AM4: 1.35 × TDP)."""

DRAM_W_PER_GB = 0.3725
"""Green Algorithms, referenceValues.csv (CC BY 4.0)."""
DRAM_LOW_W_PER_GB = 0.07
"""Idle 64 GB modules by BoaviztAPI 2.5.0: (3.0 + 0.055 × GB) × (0.7 + 0.3 × load) W a module. Large modules draw less
a byte, so a big server lies at this end."""
DRAM_HIGH_W_PER_GB = 0.45
"""Busy 8 GB modules by the same formula, 0.43; codecarbon's 3 W per 8 GB, 0.375, lies below."""


def cpu_power_w(load: float, rated_w: float, *, cores: float | None = None, clock_hz: float | None = None) -> Estimate:
    """Power of a processor [W] at a load, with an interval meant to hold the truth eight times out of ten.

    Args:
        load: mean share of its logical processors that is busy, 0 to 1.
        rated_w: its rated power (TDP) [W]; of all sockets together, or of the share that a virtual machine holds.
        cores: physical cores that the rated power is for; half the logical processors where each core runs two.
        clock_hz: their base clock [Hz]; the clock that is seen with all of them busy will do.

    Raises:
        ValueError: the load is not between 0 and 1, or a rated power, core count or clock is not a positive number.
    """
    if not 0.0 <= load <= 1.0:
        raise ValueError(f"a load lies between 0 and 1, not at {load}")
    for name, value in (("rated power", rated_w), ("core count", cores), ("clock", clock_hz)):
        if value is not None and not (isfinite(value) and value > 0.0):
            raise ValueError(f"a {name} is a positive number, not {value}")
    demand = _demand(rated_w, cores, clock_hz)
    exponent = TYPICAL_EXPONENT if cores is None else LOAD_EXPONENT
    mid_w = rated_w * min(1.0, demand * (IDLE_SHARE + (1.0 - IDLE_SHARE) * load**exponent))
    low, high = UNSURE_LOW_RATIO, UNSURE_HIGH_RATIO
    if cores is not None and clock_hz is not None:
        low, high = CPU_LOW_RATIO, max(CPU_HIGH_RATIO, 1.0 / demand)
    return Estimate(low * mid_w, mid_w, high * mid_w, "modelled")


def _demand(rated_w: float, cores: float | None, clock_hz: float | None) -> float:
    """What all cores ask for at full load over the rated power."""
    if cores is None:
        return TYPICAL_DEMAND
    asked_w = CORE_W_PER_GHZ * cores * (TYPICAL_CLOCK_HZ if clock_hz is None else clock_hz) / GIGA
    return min(MOST_DEMAND, asked_w / rated_w)


def ratio_of_product(first: float, second: float) -> float:
    """How far a product may lie off when one factor is off by the ratio `first` and the other by `second`.

    Both ratios lie on one side of 1. Each is meant to hold eight times out of ten and they have nothing to do with each
    other, so both are seldom at their ends together: logarithms add as independent errors do, by the root of the sum of
    their squares. For normal errors of the logarithm this is exact (JCGM 100:2008, 5.1.2); the product of the two ends
    would hold more often than is claimed.
    """
    distance = hypot(log(first), log(second))
    return exp(distance if max(first, second) > 1.0 else -distance)


def dram_power_w(memory_bytes: float) -> Estimate:
    """Power of installed memory [W], whatever it does: refresh and standby make up most of it.

    Raises:
        ValueError: the size is negative or not a number.
    """
    if not (isfinite(memory_bytes) and memory_bytes >= 0.0):
        raise ValueError(f"a memory size is a number of bytes, not {memory_bytes}")
    per_gb = Estimate(DRAM_LOW_W_PER_GB, DRAM_W_PER_GB, DRAM_HIGH_W_PER_GB, "modelled")
    return per_gb.scale(memory_bytes / BYTES_PER_GB)
