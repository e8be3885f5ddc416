from __future__ import annotations

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.cpu_power import (
    CPU_HIGH_RATIO,
    CPU_LOW_RATIO,
    DRAM_HIGH_W_PER_GB,
    DRAM_LOW_W_PER_GB,
    cpu_power_w,
    dram_power_w,
)
from lowcarb.core.units import BYTES_PER_GB

loads = st.floats(0.0, 1.0)
rated = st.floats(1.0, 1000.0)

TEADS = [(0.0, 0.12), (0.1, 0.32), (0.5, 0.75), (1.0, 1.02)]
"""Share of rated power by load: Teads, EC2 bare metal."""
MEASURED = [
    ("Xeon Platinum 8259CL ×2, idle", 0.0, 420.0, 55.0),
    ("Xeon Platinum 8259CL ×2, half", 0.5, 420.0, 307.0),
    ("Xeon Platinum 8124M ×2, full", 1.0, 480.0, 424.0),
    ("Threadripper 1950X, 36 %", 0.364, 180.0, 105.61),
    ("Threadripper 1950X, full", 1.0, 180.0, 165.32),
    ("Xeon E5-2620 v3 ×2, full", 1.0, 170.0, 104.97),
    ("Xeon E3-1240 v2, 4 of 8 threads", 0.5, 69.0, 42.76),
]
"""Package power: mlco2/codecarbon load profiles and Teads aggregates."""


@given(rated, loads, loads)
def test_power_grows_with_load(rated_w, one, other):
    low, high = sorted((one, other))
    assert cpu_power_w(low, rated_w).mid <= cpu_power_w(high, rated_w).mid


@given(loads, rated, rated)
def test_power_grows_with_rated_power(load, one, other):
    low, high = sorted((one, other))
    assert cpu_power_w(load, low).mid <= cpu_power_w(load, high).mid


@given(loads, rated)
def test_power_is_modelled_and_lies_in_its_interval(load, rated_w):
    power_w = cpu_power_w(load, rated_w)

    assert power_w.basis == "modelled"
    assert 0.0 < power_w.low < power_w.mid < power_w.high <= CPU_HIGH_RATIO * rated_w


@pytest.mark.parametrize(("load", "share"), TEADS)
def test_the_interval_holds_the_published_ratios_of_teads(load, share):
    power_w = cpu_power_w(load, 100.0)

    assert power_w.low <= 100.0 * share <= power_w.high


@pytest.mark.parametrize(("case", "load", "rated_w", "watts"), MEASURED)
def test_the_interval_holds_measured_values(case, load, rated_w, watts):
    power_w = cpu_power_w(load, rated_w)

    assert power_w.low <= watts <= power_w.high


def test_the_curve_has_the_published_form():
    assert pytest.approx(cpu_power_w(0.0, 100.0).mid) == 12.0
    assert pytest.approx(cpu_power_w(0.25, 100.0).mid) == 12.0 + 86.0 * 0.25**0.75
    assert pytest.approx(cpu_power_w(1.0, 100.0).mid) == 98.0
    assert pytest.approx(cpu_power_w(1.0, 100.0).low) == 98.0 * CPU_LOW_RATIO


@pytest.mark.parametrize(("load", "rated_w"), [(-0.1, 100.0), (1.1, 100.0), (nan, 100.0), (0.5, 0.0), (0.5, nan)])
def test_impossible_input_is_refused(load, rated_w):
    with pytest.raises(ValueError):
        cpu_power_w(load, rated_w)


def test_memory_draws_the_reference_value_of_green_algorithms():
    assert pytest.approx(dram_power_w(64 * BYTES_PER_GB).mid) == 64 * 0.3725


@pytest.mark.parametrize("module_gb", [8, 16, 32, 64])
@pytest.mark.parametrize("load", [0.0, 0.5, 1.0])
def test_the_interval_of_memory_holds_the_rules_of_others(module_gb, load):
    boavizta_w_per_gb = (3.0 + 0.055 * module_gb) * (0.7 + 0.3 * load) / module_gb
    codecarbon_w_per_gb = 3.0 / 8.0

    assert DRAM_LOW_W_PER_GB <= boavizta_w_per_gb <= DRAM_HIGH_W_PER_GB
    assert DRAM_LOW_W_PER_GB <= codecarbon_w_per_gb <= DRAM_HIGH_W_PER_GB


@pytest.mark.parametrize("memory_bytes", [-1.0, nan])
def test_impossible_memory_is_refused(memory_bytes):
    with pytest.raises(ValueError):
        dram_power_w(memory_bytes)
