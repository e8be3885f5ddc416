from __future__ import annotations

import subprocess
import sys
from math import exp, inf, log, nan
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.cpu_power import (
    CPU_HIGH_RATIO,
    CPU_LOW_RATIO,
    DRAM_HIGH_W_PER_GB,
    DRAM_LOW_W_PER_GB,
    MOST_DEMAND,
    UNSURE_HIGH_RATIO,
    UNSURE_LOW_RATIO,
    cpu_power_w,
    dram_power_w,
    ratio_of_product,
)
from lowcarb.core.units import BYTES_PER_GB

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "cpu_power.py"
PROFILES = Path(__file__).parents[3] / "shared" / "data" / "cpu_power_profiles.csv"

loads = st.floats(0.0, 1.0)
rated = st.floats(1.0, 1000.0)
counts = st.none() | st.floats(0.5, 256.0)
clocks = st.none() | st.floats(0.5e9, 6e9)

TEADS = [(0.0, 0.12), (0.1, 0.32), (0.5, 0.75), (1.0, 1.02)]
"""Share of rated power by load: Teads, EC2 bare metal."""
MEASURED = [
    ("Xeon Platinum 8259CL ×2, idle", 0.0, 420.0, 48, 2.5e9, 55.0),
    ("Xeon Platinum 8259CL ×2, half", 0.5, 420.0, 48, 2.5e9, 307.0),
    ("Xeon Platinum 8124M ×2, full", 1.0, 480.0, 36, 3.0e9, 424.0),
    ("Xeon E5-2686 v4 ×2, tenth", 0.1, 290.0, 36, 2.3e9, 100.0),
    ("Threadripper 1950X, 36 %", 0.364, 180.0, 16, 3.4e9, 105.61),
    ("Threadripper 1950X, 45 %", 0.448, 180.0, 16, 3.4e9, 127.58),
    ("Threadripper 1950X, full", 1.0, 180.0, 16, 3.4e9, 165.32),
    ("Xeon E5-2620 v3 ×2, full", 1.0, 170.0, 12, 2.4e9, 104.97),
    ("Xeon E5-2620 v3 ×2, half", 0.502, 170.0, 12, 2.4e9, 61.49),
    ("Xeon E3-1240 v2, 4 of 8 threads", 0.5, 69.0, 4, 3.4e9, 42.76),
    ("Xeon E3-1240 v2, full", 1.0, 69.0, 4, 3.4e9, 49.41),
]
"""Package power: mlco2/codecarbon load profiles and Teads aggregates."""


@given(rated, loads, loads, counts, clocks)
def test_power_grows_with_load(rated_w, one, other, cores, clock_hz):
    low, high = sorted((one, other))
    facts = {"cores": cores, "clock_hz": clock_hz}
    assert cpu_power_w(low, rated_w, **facts).mid <= cpu_power_w(high, rated_w, **facts).mid


@given(loads, rated, rated, counts, clocks)
def test_power_grows_with_rated_power(load, one, other, cores, clock_hz):
    low, high = sorted((one, other))
    facts = {"cores": cores, "clock_hz": clock_hz}
    assert cpu_power_w(load, low, **facts).mid <= cpu_power_w(load, high, **facts).mid * (1 + 1e-12)


@given(loads, rated, counts, counts, clocks)
def test_power_grows_with_cores(load, rated_w, one, other, clock_hz):
    fewer, more = sorted((one or 1.0, other or 2.0))
    few, many = (cpu_power_w(load, rated_w, cores=cores, clock_hz=clock_hz).mid for cores in (fewer, more))
    assert few <= many


@given(loads, rated, counts, clocks)
def test_power_is_modelled_lies_in_its_interval_and_is_never_more_than_the_rated(load, rated_w, cores, clock_hz):
    power_w = cpu_power_w(load, rated_w, cores=cores, clock_hz=clock_hz)

    assert power_w.basis == "modelled"
    assert 0.0 < power_w.low < power_w.mid < power_w.high
    assert power_w.mid <= rated_w


@given(loads, rated)
def test_a_processor_of_which_less_is_known_has_a_wider_interval(load, rated_w):
    unsure = cpu_power_w(load, rated_w)
    known = cpu_power_w(load, rated_w, cores=rated_w / 8, clock_hz=2.5e9)

    assert pytest.approx(unsure.low / unsure.mid) == UNSURE_LOW_RATIO < CPU_LOW_RATIO
    assert pytest.approx(unsure.high / unsure.mid) == UNSURE_HIGH_RATIO > CPU_HIGH_RATIO
    assert pytest.approx((known.low / known.mid, known.high / known.mid)) == (CPU_LOW_RATIO, CPU_HIGH_RATIO)
    assert unsure == cpu_power_w(load, rated_w, clock_hz=2.5e9)


def test_few_slow_cores_do_not_reach_the_rated_power_but_the_interval_does():
    power_w = cpu_power_w(1.0, 80.0, cores=4, clock_hz=2.4e9)

    assert pytest.approx(3.9 * 4 * 2.4) == power_w.mid
    assert pytest.approx(80.0) == power_w.high


def test_many_fast_cores_reach_the_rated_power_before_full_load():
    powers_w = [cpu_power_w(load, 280.0, cores=64, clock_hz=2.45e9).mid for load in (0.0, 0.7, 0.8, 1.0)]

    assert pytest.approx(0.12 * MOST_DEMAND * 280.0) == powers_w[0]
    assert powers_w[1] < 280.0 == powers_w[2] == powers_w[3]


@pytest.mark.parametrize(("load", "share"), TEADS)
def test_the_interval_holds_the_published_ratios_of_teads(load, share):
    unknown = cpu_power_w(load, 100.0)
    server = cpu_power_w(load, 210.0, cores=24, clock_hz=2.5e9)

    assert unknown.low <= 100.0 * share <= unknown.high
    assert server.low <= 210.0 * share <= server.high


@pytest.mark.parametrize(("case", "load", "rated_w", "cores", "clock_hz", "watts"), MEASURED)
def test_the_interval_holds_measured_values(case, load, rated_w, cores, clock_hz, watts):
    for power_w in (cpu_power_w(load, rated_w, cores=cores, clock_hz=clock_hz), cpu_power_w(load, rated_w)):
        assert power_w.low <= watts <= power_w.high


def test_the_curve_has_the_documented_form():
    facts = {"cores": 20, "clock_hz": 2.0e9}

    assert pytest.approx(cpu_power_w(0.25, 200.0, **facts).mid) == 3.9 * 20 * 2.0 * (0.12 + 0.88 * 0.25**0.68)
    assert pytest.approx(cpu_power_w(0.25, 100.0).mid) == 90.0 * (0.12 + 0.88 * 0.25**0.6)


@pytest.mark.parametrize(("load", "rated_w"), [(-0.1, 100.0), (1.1, 100.0), (nan, 100.0), (0.5, 0.0), (0.5, nan)])
def test_impossible_input_is_refused(load, rated_w):
    with pytest.raises(ValueError):
        cpu_power_w(load, rated_w)


@pytest.mark.parametrize("facts", [{"cores": 0}, {"cores": -1.0}, {"clock_hz": 0.0}, {"clock_hz": nan}, {"cores": inf}])
def test_impossible_facts_are_refused(facts):
    with pytest.raises(ValueError, match=next(iter(facts)).split("_")[0].removesuffix("s")):
        cpu_power_w(0.5, 100.0, **facts)


def benchmark(folder):
    command = [sys.executable, str(BENCHMARK), "--data", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not PROFILES.is_file(), reason=f"the measured load profiles are not here: {PROFILES}")
def test_on_processors_left_out_of_the_fit_the_model_is_as_good_as_is_said():
    sections = benchmark(PROFILES.parent).stdout.split("\n\n")
    figures = {
        (section.partition(" (n =")[0], line[2:48].strip()): [float(text) for text in line[48:].split()]
        for section in sections
        for line in section.splitlines()
        if line.startswith("  ") and "left out" in line
    }

    for scope, most in (("all rows, one weight a row", 10.0), ("RAPL rows", 12.0), ("Teads aggregates", 5.0)):
        median, _, _, held = figures[scope, "lowcarb, left out"]
        assert median <= most
        assert held >= 80.0
    for stress in ("lowcarb, sources left out", "lowcarb, makers left out"):
        assert figures["all rows, one weight a row", stress][0] <= 15.0


def test_the_benchmark_says_what_it_misses(tmp_path):
    done = benchmark(tmp_path)

    assert done.returncode == 1
    assert f"{tmp_path / 'cpu_power_profiles.csv'} is not there" in done.stderr


def test_ratios_of_a_product_are_combined_by_the_root_of_the_sum_of_squares():
    assert pytest.approx(exp(0.5)) == ratio_of_product(exp(0.3), exp(0.4))
    assert pytest.approx(exp(-0.5)) == ratio_of_product(exp(-0.4), exp(-0.3))
    assert ratio_of_product(1.0, 1.0) == 1.0


@given(st.floats(1.0, 20.0), st.floats(1.0, 20.0))
def test_a_product_is_less_sure_than_its_factors_but_not_as_bad_as_both_ends_at_once(one, other):
    ratio = ratio_of_product(one, other)

    assert max(one, other) * (1 - 1e-12) <= ratio <= one * other * (1 + 1e-12)
    assert pytest.approx(1 / ratio) == ratio_of_product(1 / one, 1 / other)


@pytest.mark.parametrize("skew", [0.0, 1.0])
def test_the_combined_interval_holds_eight_times_out_of_ten(skew):
    """Also where errors are not normal: ratios that reach further up than down."""
    draw = Random(7)

    def error(low, high):
        normal = draw.gauss(0.0, 1.0) / 1.2816
        return normal * (high if normal > 0 else low)

    first, second = (log(1.25), log(1.2) * (1 + skew)), (log(1.3), log(2.6) * (1 + skew))
    low, high = (log(ratio_of_product(exp(a), exp(b))) for a, b in zip(first, second, strict=True))
    held = sum(-low <= error(*first) + error(*second) <= high for _ in range(4000)) / 4000

    assert 0.77 <= held <= 0.86


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
