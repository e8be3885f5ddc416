from __future__ import annotations

from itertools import accumulate, pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowcarb.core.energy import Channel, integrate
from lowcarb.sensors.series import WIDEST_STEP_S, Series

COUNTER = Channel("c", "d", "cpu", "counter", "fake", "measured", 1.0, 1.0, 100.0, 10_000.0)
POWER = Channel("p", "d", "cpu", "power", "fake", "measured", 1.0, 1.0, 100.0)


def filled(channel, values, most, step_s=1.0):
    series = Series(channel, most)
    for index, value in enumerate(values):
        series.append(index * step_s, value)
    return series


def test_a_window_comes_with_two_readings_before_and_after_it():
    series = filled(POWER, range(20), 100)

    assert [reading.at_s for reading in series.between(5.0, 7.0)] == [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert len(series.between(-inf, inf)) == 20
    assert (series.first_s(), series.last_s()) == (0.0, 19.0)


def test_an_empty_series_has_no_times():
    assert (Series(POWER).first_s(), Series(POWER).last_s(), Series(POWER).between(0.0, 1.0)) == (None, None, [])


def test_a_reading_from_before_the_last_is_dropped():
    series = filled(POWER, [1.0, 2.0], 100)
    series.append(0.5, 9.0)

    assert [reading.value for reading in series.between(-inf, inf)] == [1.0, 2.0]


@settings(max_examples=25)
@given(st.lists(st.floats(0.0, 100.0), min_size=300, max_size=400))
def test_thinning_a_counter_keeps_every_joule_and_every_wrap(watts):
    values = [total % 10_000.0 for total in accumulate(watts, initial=9_900.0)]
    series = filled(COUNTER, values, 64)
    readings = series.between(-inf, inf)
    end_s = float(len(values) - 1)

    (device,) = integrate([COUNTER], readings, 0.0, end_s, 1.0).devices

    assert len(readings) < len(values) / 2
    assert (sum(watts), ()) == (pytest.approx(device.energy_j.mid), device.faults)


def test_thinning_keeps_the_newest_as_they_are_and_old_ones_within_a_minute():
    series = filled(COUNTER, [float(i) for i in range(9_000)], 512)
    times = [reading.at_s for reading in series.between(-inf, inf)]
    widest = max(after - before for before, after in pairwise(times))

    assert times[-1] - times[-2] == 1.0
    assert widest <= WIDEST_STEP_S
    assert len(times) < 1_000


def test_power_readings_are_never_thinned():
    assert len(filled(POWER, [50.0] * 500, 64)) == 500
