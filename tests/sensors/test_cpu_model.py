from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lowcarb.core.cpu_power import (
    CPU_HIGH_RATIO,
    CPU_LOW_RATIO,
    UNSURE_HIGH_RATIO,
    UNSURE_LOW_RATIO,
    cpu_power_w,
    dram_power_w,
    ratio_of_product,
)
from lowcarb.core.energy import integrate
from lowcarb.core.estimate import Estimate
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.cpu_model import CpuModel, DramModel, machine_times, times_for, times_of, times_under
from lowcarb.sensors.processor import Processor, Quota

RATED = Estimate.exact(100.0, "catalogue")


def loaded(*loads, threads=4):
    """Processor times that show these loads, one second each."""
    busy_s = whole_s = 0.0
    answers = [(busy_s, whole_s)]
    for load in loads:
        busy_s, whole_s = busy_s + load * threads, whole_s + threads
        answers.append((busy_s, whole_s))
    return iter(answers).__next__


def test_energy_is_the_modelled_power_of_each_stretch_times_its_length():
    sensor = CpuModel(RATED, cpu_times=loaded(1.0, 0.25, 0.0))

    values = [sensor.read(float(t))[0].value for t in range(4)]

    watts = [cpu_power_w(load, 100.0).mid for load in (1.0, 0.25, 0.0)]
    assert [0.0, watts[0], sum(watts[:2]), sum(watts)] == pytest.approx(values)


def test_the_channel_tells_that_it_is_modelled_and_how_well():
    (channel,) = CpuModel(RATED).channels()

    assert isinstance(CpuModel(RATED), Sensor)
    assert (channel.kind, channel.quantity, channel.basis) == ("cpu", "counter", "modelled")
    assert pytest.approx((channel.low_ratio, channel.high_ratio)) == (UNSURE_LOW_RATIO, UNSURE_HIGH_RATIO)
    assert cpu_power_w(1.0, 100.0).high == pytest.approx(channel.rated_w)


def test_cores_and_clock_make_the_model_surer():
    facts = {"cores": 10.0, "clock_hz": 2.5e9}
    sensor = CpuModel(RATED, cpu_times=loaded(0.5), **facts)
    (channel,) = sensor.channels()

    values = [sensor.read(float(t))[0].value for t in range(2)]

    assert pytest.approx((channel.low_ratio, channel.high_ratio)) == (CPU_LOW_RATIO, CPU_HIGH_RATIO)
    assert [0.0, cpu_power_w(0.5, 100.0, **facts).mid] == pytest.approx(values)


def test_a_gap_of_a_processor_with_few_slow_cores_may_hold_its_rated_power():
    (channel,) = CpuModel(RATED, cores=4.0, clock_hz=2.0e9).channels()

    assert pytest.approx(100.0) == channel.rated_w


def test_an_uncertain_rated_power_widens_the_interval_as_independent_errors_do():
    (channel,) = CpuModel(Estimate(50.0, 100.0, 200.0, "assumed")).channels()

    assert channel.basis == "modelled"
    assert ratio_of_product(UNSURE_LOW_RATIO, 0.5) == pytest.approx(channel.low_ratio)
    assert ratio_of_product(UNSURE_HIGH_RATIO, 2.0) == pytest.approx(channel.high_ratio)


def test_readings_within_one_tick_of_the_kernel_keep_the_last_load():
    times = iter([(0.0, 0.0), (4.0, 4.0), (4.0, 4.0)]).__next__
    sensor = CpuModel(RATED, cpu_times=times)

    first, second, third = (sensor.read(at_s)[0].value for at_s in (0.0, 1.0, 1.004))

    assert cpu_power_w(1.0, 100.0).mid * 0.004 == pytest.approx(third - second)
    assert first < second


def test_times_that_step_back_or_run_over_stay_a_load_from_zero_to_one():
    times = iter([(10.0, 10.0), (5.0, 14.0), (50.0, 18.0)]).__next__
    sensor = CpuModel(RATED, cpu_times=times)

    values = [sensor.read(float(t))[0].value for t in range(3)]

    assert [0.0, cpu_power_w(0.0, 100.0).mid] == pytest.approx(values[:2])
    assert cpu_power_w(1.0, 100.0).mid == pytest.approx(values[2] - values[1])


def test_a_failed_look_at_the_times_is_made_up_for_by_the_next():
    answers = iter([(0.0, 0.0), OSError("no /proc/stat"), (8.0, 8.0)])

    def times():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    sensor = CpuModel(RATED, cpu_times=times)
    readings = list(sensor.read(0.0))
    with pytest.raises(OSError, match="stat"):
        sensor.read(1.0)
    readings += sensor.read(2.0)

    energy = integrate(sensor.channels(), readings, 0.0, 2.0, 1.0)
    assert pytest.approx((energy.energy_j.mid, energy.coverage)) == (2 * cpu_power_w(1.0, 100.0).mid, 1.0)


def test_memory_draws_constant_power():
    sensor = DramModel(64e9)
    readings = [*sensor.read(5.0), *sensor.read(15.0)]
    power_w = dram_power_w(64e9)

    energy_j = integrate(sensor.channels(), readings, 5.0, 15.0, 1.0).energy_j

    assert isinstance(sensor, Sensor)
    assert energy_j.basis == "modelled"
    assert [10 * power_w.low, 10 * power_w.mid, 10 * power_w.high] == pytest.approx(
        [energy_j.low, energy_j.mid, energy_j.high]
    )


def test_busy_time_of_this_machine_grows_with_work():
    before_busy_s, before_whole_s = machine_times()
    total, began_s = 0, os.times().user
    while os.times().user < began_s + 0.1:
        total += 1
    busy_s, whole_s = machine_times()

    # Both are sums of ticks of a hundredth of a second, which round as floats do.
    assert 0.05 <= busy_s - before_busy_s <= whole_s - before_whole_s + 1e-6


def test_times_of_all_processors_are_those_of_the_machine():
    count = os.cpu_count() or 1

    assert machine_times()[1] == pytest.approx(times_of(frozenset(range(count)))[1], rel=0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/stat is Linux's")
def test_times_of_one_processor_are_read_without_a_library_that_every_training_would_load():
    code = "import sys; from lowcarb.sensors.cpu_model import times_of; print(*times_of({0}), 'psutil' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    busy_s, whole_s, loaded = done.stdout.split()
    first = psutil.cpu_times(percpu=True)[0]

    assert loaded == "False"
    assert float(whole_s) == pytest.approx(sum(first) - first.guest - first.guest_nice, rel=0.01, abs=5.0)
    assert float(busy_s) == pytest.approx(float(whole_s) - first.idle - first.iowait - first.steal, rel=0.05, abs=5.0)


def processor(**changes):
    facts = {
        "name": "x", "vendor": "x", "family": None, "model": None, "sockets": 1, "threads": 8, "split_cores": False,
        "allowed": frozenset(range(8)), "quota": None, "memory_bytes": 1e9, "virtual": False, **changes,
    }  # fmt: skip
    return Processor(**facts)


def test_a_process_that_may_use_all_is_measured_by_the_machine():
    assert times_for(processor()) is None


def test_a_pinned_process_is_measured_by_its_processors():
    busy_s, whole_s = times_for(processor(allowed=frozenset({0})))()

    assert 0.0 <= busy_s <= whole_s < machine_times()[1] or os.cpu_count() == 1


def test_a_limited_process_is_measured_by_its_control_group(tmp_path: Path):
    usage = tmp_path / "cpu.stat"
    usage.write_text("usage_usec 2500000\nuser_usec 1\n")

    first, later = times_for(processor(quota=Quota(2.0, usage)))(), times_under(Quota(2.0, usage))

    assert first[0] == 2.5
    assert later[1] >= first[1] > 0.0


def test_a_control_group_of_version_1_counts_nanoseconds(tmp_path: Path):
    usage = tmp_path / "cpuacct.usage"
    usage.write_text("2500000000\n")

    assert times_under(Quota(2.0, usage))[0] == 2.5


def test_a_control_group_without_usage_is_an_error(tmp_path: Path):
    usage = tmp_path / "cpu.stat"
    usage.write_text("nr_periods 0\n")

    with pytest.raises(ValueError, match="usage_usec"):
        times_under(Quota(2.0, usage))
