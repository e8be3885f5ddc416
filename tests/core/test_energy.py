from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.documents import energy_as_dict, energy_from_dict
from lowcarb.core.energy import (
    GAP_INTERVALS,
    MOST_W,
    RATED_MARGIN,
    Channel,
    Reading,
    integrate,
    power_at,
    with_lag,
    without,
)

COUNTER = Channel("c", "gpu-0", "gpu", "counter", "fake", "measured", 0.95, 1.05, 100.0, 1000.0)
POWER = Channel("p", "gpu-1", "gpu", "power", "fake", "measured", 0.9, 1.1, 100.0)

steps = st.lists(st.tuples(st.floats(0.3, 3.0), st.floats(0.0, 100.0)), min_size=2, max_size=30)
"""Time to the next reading [s], and power until then [W]."""


def counted(pairs, channel=COUNTER):
    """Readings of a counter that wraps at its range, and the energy drawn in all [J]."""
    times = list(accumulate((wait for wait, _ in pairs), initial=0.0))
    totals = list(accumulate((wait * watts for wait, watts in pairs), initial=990.0))
    return [Reading(t, channel.id, j % channel.range_j) for t, j in zip(times, totals, strict=True)], totals[-1] - 990.0


def powered(pairs):
    times = list(accumulate((wait for wait, _ in pairs), initial=0.0))
    watts = [pairs[0][1], *(w for _, w in pairs)]
    return [Reading(t, "p", w) for t, w in zip(times, watts, strict=True)]


def of(channel, readings, start_s, end_s, interval_s=1.0):
    (device,) = integrate([channel], readings, start_s, end_s, interval_s).devices
    return device


@given(steps)
def test_a_counter_that_wraps_gives_what_was_drawn(pairs):
    readings, drawn_j = counted(pairs)
    device = of(COUNTER, readings, 0.0, readings[-1].at_s)

    assert drawn_j == pytest.approx(device.energy_j.mid, abs=1e-6)
    assert (device.coverage, device.gaps_s, device.faults) == (1.0, 0.0, ())


@given(steps, st.floats(0.0, 1.0))
def test_energy_is_additive_over_a_split_of_the_window(pairs, share):
    for channel, readings in ((COUNTER, counted(pairs)[0]), (POWER, powered(pairs))):
        end_s = readings[-1].at_s
        middle_s = end_s * share
        whole = of(channel, readings, 0.0, end_s)
        first, second = of(channel, readings, 0.0, middle_s), of(channel, readings, middle_s, end_s)
        assert whole.gaps_s == pytest.approx(first.gaps_s + second.gaps_s, abs=1e-6)
        if whole.gaps_s == 0.0:
            assert whole.energy_j.mid == pytest.approx(first.energy_j.mid + second.energy_j.mid, abs=1e-6)


@given(steps, st.lists(st.floats(0.0, 1.0), min_size=2, max_size=6))
def test_an_unwrapped_counter_never_decreases(pairs, shares):
    readings, _ = counted(pairs)
    ends = sorted(share * readings[-1].at_s for share in shares)
    energies = [of(COUNTER, readings, 0.0, end_s).energy_j.mid for end_s in ends]

    assert all(before <= after + 1e-9 for before, after in pairwise(energies))


wild = st.lists(
    st.tuples(st.floats(0.3, 20.0), st.one_of(st.floats(-1e6, 1e6), st.sampled_from([nan, inf, -inf, 1e300, 0.0]))),
    min_size=1,
    max_size=20,
)


@given(wild, st.booleans(), st.booleans())
def test_no_reading_makes_energy_negative_or_more_than_can_be_drawn(pairs, is_counter, is_rated):
    channel = replace(COUNTER if is_counter else POWER, rated_w=100.0 if is_rated else None)
    times = list(accumulate(wait for wait, _ in pairs))
    readings = [Reading(t, channel.id, value) for t, (_, value) in zip(times, pairs, strict=True)]
    end_s = times[-1] + 5.0
    device = of(channel, readings, 0.0, end_s)
    most_w = channel.rated_w or MOST_W["gpu"]

    assert 0.0 <= device.energy_j.low <= device.energy_j.mid
    assert device.energy_j.mid <= most_w * RATED_MARGIN * end_s * (1 + 1e-9)
    assert device.energy_j.high <= most_w * RATED_MARGIN * channel.high_ratio * end_s * (1 + 1e-9)


@given(st.permutations(range(12)))
def test_the_order_of_readings_does_not_matter(order):
    readings, _ = counted([(1.0, 80.0)] * 11)
    shuffled = [readings[i] for i in order]

    assert of(COUNTER, readings, 0.5, 10.5) == of(COUNTER, shuffled, 0.5, 10.5)


@given(st.floats(1.0, 1e4), st.booleans())
def test_a_gap_is_never_zero_energy(duration_s, is_rated):
    channel = POWER if is_rated else replace(POWER, rated_w=None)
    device = of(channel, [], 0.0, duration_s)

    assert device.energy_j.mid > 0.0
    assert ("assumed", 0.0, duration_s) == (device.energy_j.basis, device.coverage, device.gaps_s)
    assert (channel.rated_w or MOST_W["gpu"]) * duration_s == pytest.approx(device.energy_j.high)


@given(st.floats(0.1, 5.0))
def test_power_readings_further_apart_than_three_intervals_leave_a_gap(interval_s):
    far_s = (GAP_INTERVALS + 0.01) * interval_s
    near, far = [Reading(0.0, "p", 50.0), Reading(interval_s, "p", 50.0)], Reading(interval_s + far_s, "p", 50.0)
    device = of(POWER, [*near, far], 0.0, far.at_s, interval_s)

    assert far_s == pytest.approx(device.gaps_s)
    assert device.energy_j.low <= 50.0 * far.at_s <= device.energy_j.high


def test_a_long_step_of_a_counter_is_no_gap_as_it_went_on_counting():
    channel = replace(COUNTER, range_j=None)
    device = of(channel, [Reading(0.0, "c", 0.0), Reading(600.0, "c", 30_000.0)], 0.0, 600.0)

    assert (device.energy_j.mid, device.gaps_s, device.energy_j.basis) == (30_000.0, 0.0, "measured")


def test_a_counter_that_could_have_wrapped_unseen_is_a_gap():
    device = of(COUNTER, [Reading(0.0, "c", 0.0), Reading(60.0, "c", 500.0)], 0.0, 60.0)

    assert device.faults == ("counter may have wrapped unseen (1 ×)",)
    assert device.gaps_s == 60.0


@pytest.mark.parametrize(("range_j", "rated_w"), [(262_143.0, 100.0), (262_143.0, None), (None, 100.0)])
def test_a_reset_is_a_gap_and_adds_no_range(range_j, rated_w):
    channel = replace(COUNTER, range_j=range_j, rated_w=rated_w)
    readings = [Reading(float(t), "c", 5000.0 + 50.0 * t) for t in range(4)]
    readings += [Reading(4.0 + t, "c", 50.0 * t) for t in range(4)]
    device = of(channel, readings, 0.0, 7.0)

    assert device.faults == ("counter was reset (1 ×)",)
    assert device.gaps_s == 1.0
    assert pytest.approx(device.energy_j.mid) == 350.0


def test_a_jump_beyond_what_the_device_can_draw_is_a_fault():
    readings = [Reading(0.0, "c", 0.0), Reading(1.0, "c", 50.0), Reading(2.0, "c", 900.0), Reading(3.0, "c", 950.0)]
    device = of(replace(COUNTER, range_j=None), readings, 0.0, 3.0)

    assert device.faults == ("counter jumped by more than the device can draw (1 ×)",)
    assert pytest.approx(device.energy_j.mid) == 150.0


def test_readings_closer_than_a_counter_refreshes_are_no_fault():
    readings = [Reading(0.0, "c", 0.0), Reading(0.02, "c", 9.0), Reading(0.04, "c", 9.0), Reading(1.0, "c", 95.0)]
    device = of(COUNTER, readings, 0.0, 1.0)

    assert device.faults == ()
    assert pytest.approx(device.energy_j.mid) == 95.0


def test_a_fault_at_the_end_is_a_gap_and_not_held_over():
    readings = [Reading(0.0, "p", 50.0), Reading(1.0, "p", 50.0), Reading(2.0, "p", -3.0)]
    device = of(POWER, readings, 0.0, 2.0)

    assert device.gaps_s == 1.0
    assert device.faults == ("power negative, not a number or above what the device can draw (1 ×)",)


def test_the_rest_between_the_last_reading_and_the_end_is_held():
    device = of(POWER, [Reading(0.3, "p", 50.0), Reading(1.3, "p", 50.0)], 0.0, 2.0)

    assert (device.gaps_s, device.coverage) == (0.0, 1.0)
    assert pytest.approx(device.energy_j.mid) == 100.0


def test_a_device_that_two_channels_give_is_counted_once_by_the_first():
    twice = replace(POWER, device="gpu-0")
    readings = [Reading(float(t), c, v) for t in range(3) for c, v in (("c", 40.0 * t), ("p", 70.0))]

    energy = integrate([COUNTER, twice], readings, 0.0, 2.0, 1.0)

    assert [device.device for device in energy.devices] == ["gpu-0"]
    assert pytest.approx(energy.energy_j.mid) == 80.0


def test_readings_of_unlisted_channels_are_left_out():
    readings = [Reading(0.0, "c", 0.0), Reading(0.5, "x", 9e9), Reading(1.0, "c", 10.0)]

    assert of(COUNTER, readings, 0.0, 1.0).energy_j.mid == 10.0


def test_the_sensor_error_widens_the_bounds():
    energy_j = of(COUNTER, [Reading(0.0, "c", 0.0), Reading(1.0, "c", 100.0)], 0.0, 1.0).energy_j

    assert pytest.approx((energy_j.low, energy_j.mid, energy_j.high)) == (95.0, 100.0, 105.0)


def test_a_window_of_no_length_holds_nothing():
    device = of(COUNTER, counted([(1.0, 50.0)] * 3)[0], 1.0, 1.0)

    assert (device.energy_j.mid, device.coverage) == (0.0, 1.0)


def test_a_window_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValueError, match="before it starts"):
        integrate([COUNTER], [], 1.0, 0.0, 1.0)


def test_the_whole_is_the_sum_of_its_devices_and_no_better_than_the_worst():
    readings = [Reading(float(t), "c", 50.0 * t) for t in range(5)]
    energy = integrate([COUNTER, POWER], readings, 0.0, 4.0, 1.0)

    assert sum(device.energy_j.mid for device in energy.devices) == energy.energy_j.mid
    assert (energy.coverage, energy.gaps_s) == (0.0, 4.0)
    assert pytest.approx(energy.measured_share) == 0.5


def test_no_devices_measure_nothing_and_cover_nothing():
    energy = integrate([], [], 0.0, 4.0, 1.0)

    assert (energy.coverage, energy.gaps_s, energy.measured_share) == (0.0, 4.0, 0.0)


def test_recent_power_is_a_mean_over_the_last_span():
    readings = [Reading(float(t), "p", 20.0 if t < 10 else 60.0) for t in range(20)]

    assert pytest.approx(power_at([POWER], readings, 19.0, 3.0)) == 60.0


def test_kinds_can_be_left_out():
    readings = [Reading(0.0, "c", 0.0), Reading(1.0, "c", 10.0)]
    board = replace(POWER, device="board", kind="machine")

    rest = without(integrate([COUNTER, board], readings, 0.0, 1.0, 1.0), ["machine"])

    assert [device.device for device in rest.devices] == ["gpu-0"]


@given(steps)
def test_the_json_form_comes_back_as_it_was(pairs):
    energy = integrate([COUNTER, POWER], [*counted(pairs)[0], *powered(pairs)], 0.0, 5.0, 1.0)

    assert energy == energy_from_dict(energy_as_dict(energy))


def test_a_window_too_short_for_its_readings_is_marked_and_its_bounds_say_how_much_may_be_missing():
    slow = replace(COUNTER, low_ratio=1.0, high_ratio=1.0, range_j=None, resolution_s=0.1)
    readings = [Reading(0.0, slow.id, 0.0), Reading(1.0, slow.id, 50.0), Reading(60.0, slow.id, 3000.0)]
    block, run = (with_lag(integrate([slow], readings, 0.0, end_s, 1.0)) for end_s in (1.0, 60.0))

    assert block.unresolved() == (slow.device,)
    assert (block.energy_j.low, block.energy_j.mid, block.energy_j.high) == (40.0, 50.0, 60.0)
    assert run.unresolved() == ()
    assert run.energy_j.high - run.energy_j.low == 20.0
    assert run.unresolved(blocks=100) == (slow.device,)


def test_what_contains_devices_checks_them_and_is_in_no_total():
    wall = replace(POWER, id="wall", device="machine", kind="machine", check=True)
    readings = [Reading(at_s, channel, 10.0) for at_s in (0.0, 1.0) for channel in (POWER.id, "wall")]
    energy = integrate([POWER, wall], readings, 0.0, 1.0, 1.0)

    assert energy.energy_j.mid == 10.0
    assert [(check.device, check.energy_j.mid) for check in energy.checks] == [("machine", 10.0)]
    assert energy == energy_from_dict(energy_as_dict(energy))
