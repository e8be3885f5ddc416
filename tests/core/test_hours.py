"""The energy of a run by the hours of the clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.energy import Channel, DeviceEnergy, Energy, Reading, integrate
from lowcarb.core.estimate import Estimate, total
from lowcarb.core.hours import Hour, by_hour
from lowcarb.core.units import NS_PER_HOUR, NS_PER_S, S_PER_HOUR

COUNTER = Channel("c", "gpu", "gpu", "counter", "fake", "measured", 0.95, 1.05, 1000.0)
POWER = Channel("p", "gpu", "gpu", "power", "fake", "measured", 0.95, 1.05, 1000.0)
EXACT = Channel("x", "gpu", "gpu", "power", "fake", "measured", 1.0, 1.0, None)

instants_ns = st.integers(-(10**18), 4 * 10**18)


def at(text):
    """Wall clock [ns] of a UTC time."""
    since = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1000


def steady(power_w, asked=None):
    """Energy at constant power, known exactly."""

    def between(start_s, end_s):
        if asked is not None:
            asked.append((start_s, end_s))
        joules = Estimate.exact(power_w * (end_s - start_s))
        return Energy(end_s - start_s, (DeviceEnergy("gpu", "gpu", "fake", joules, 1.0, 0.0),))

    return between


def metered(channel, readings, interval_s=60.0):
    return lambda start_s, end_s: integrate([channel], readings, start_s, end_s, interval_s)


def test_a_run_is_cut_where_an_hour_of_utc_begins():
    hours = by_hour(steady(1.0), 500.0, 500.0 + 2 * S_PER_HOUR, at("2026-03-29T00:45:00"))

    assert [
        (at("2026-03-29T00:00:00"), 900.0),
        (at("2026-03-29T01:00:00"), 3600.0),
        (at("2026-03-29T02:00:00"), 2700.0),
    ] == [(hour.start_ns, pytest.approx(hour.energy_j.mid)) for hour in hours]


def test_a_run_inside_an_hour_is_one_part():
    hours = by_hour(steady(2.0), 0.0, 10.0, at("2026-03-29T00:59:50"))

    assert (Hour(at("2026-03-29T00:00:00"), Estimate.exact(20.0)),) == hours


def test_a_run_that_begins_with_an_hour_has_no_part_before_it():
    hours = by_hour(steady(1.0), 7.0, 7.0 + 2 * S_PER_HOUR, at("2026-03-29T05:00:00"))

    assert [at("2026-03-29T05:00:00"), at("2026-03-29T06:00:00")] == [hour.start_ns for hour in hours]


@given(instants_ns, st.floats(0.0, 1e7), st.floats(1e-3, 3e5), st.floats(0.0, 1e4))
def test_the_hours_add_up_to_the_whole(started_ns, start_s, length_s, power_w):
    hours = by_hour(steady(power_w), start_s, start_s + length_s, started_ns)
    whole = steady(power_w)(start_s, start_s + length_s).energy_j

    summed = total(hour.energy_j for hour in hours)
    for bound in ("low", "mid", "high"):
        assert getattr(whole, bound) == pytest.approx(getattr(summed, bound), rel=1e-9, abs=1e-9)
    assert whole.basis == summed.basis


@given(instants_ns, st.floats(0.0, 1e7), st.floats(1e-3, 3e5))
def test_hours_follow_one_another_from_that_of_the_start_to_that_of_the_end(started_ns, start_s, length_s):
    starts = [hour.start_ns for hour in by_hour(steady(1.0), start_s, start_s + length_s, started_ns)]
    slack_ns = NS_PER_S // 1000

    assert list(range(starts[0], starts[-1] + 1, NS_PER_HOUR)) == starts
    assert starts[0] <= started_ns < starts[0] + NS_PER_HOUR
    assert starts[-1] - slack_ns <= started_ns + length_s * NS_PER_S <= starts[-1] + NS_PER_HOUR + slack_ns


@given(
    st.lists(st.tuples(st.floats(1.0, 2500.0), st.floats(0.0, 1000.0)), min_size=1, max_size=20),
    st.integers(0, NS_PER_HOUR - 1),
    st.sampled_from([COUNTER, POWER, EXACT]),
)
def test_what_a_meter_read_with_gaps_adds_up_all_the_same(pairs, started_ns, channel):
    """The energy of a gap is estimated, by the mean power of the time that is asked for."""
    readings, now_s, joules = [], 0.0, 0.0
    for wait_s, power_w in pairs:
        now_s, joules = now_s + wait_s, joules + wait_s * power_w
        readings.append(Reading(now_s, channel.id, joules if channel is COUNTER else power_w))
    between = metered(channel, readings)
    end_s = now_s + 5000.0
    hours = by_hour(between, 0.0, end_s, started_ns)

    whole, summed = between(0.0, end_s).energy_j, total(hour.energy_j for hour in hours)
    for bound in ("low", "mid", "high"):
        assert getattr(whole, bound) == pytest.approx(getattr(summed, bound), rel=1e-9, abs=1e-6)


def test_an_hour_without_a_gap_keeps_what_was_measured_in_it():
    """The rest of a run may be a guess; this hour is none."""
    seen = [Reading(float(at_s), "p", 100.0) for at_s in range(0, 5400, 60)]
    seen += [Reading(float(at_s), "p", 300.0) for at_s in range(9000, 10801, 60)]
    first, second, third = by_hour(metered(POWER, seen), 0.0, 10800.0, 0)

    assert ("measured", "assumed", "assumed") == (first.energy_j.basis, second.energy_j.basis, third.energy_j.basis)
    assert 360_000.0 == pytest.approx(first.energy_j.mid, rel=0.01)
    assert 342_000.0 == pytest.approx(first.energy_j.low)


def test_a_year_is_asked_for_once_an_hour():
    """So the work is in proportion to the length of the run; and once for the whole."""
    asked = []
    hours = by_hour(steady(1.0, asked), 0.0, 8783.5 * S_PER_HOUR, NS_PER_HOUR // 4)

    assert (8784, 8785) == (len(hours), len(asked))


@pytest.mark.parametrize("end_s", [5.0, 4.0])
def test_no_time_has_no_hours(end_s):
    assert () == by_hour(steady(1.0), 5.0, end_s, 0)


def test_a_sensor_that_contradicts_itself_is_shared_out():
    """The whole is what counts: it is on the bill."""

    def between(start_s, end_s):
        joules = Estimate.exact(90.0 if end_s - start_s > S_PER_HOUR else 10.0)
        return Energy(end_s - start_s, (DeviceEnergy("gpu", "gpu", "fake", joules, 1.0, 0.0),))

    assert [30.0, 30.0, 30.0] == [hour.energy_j.mid for hour in by_hour(between, 0.0, 3 * S_PER_HOUR, 0)]


@pytest.mark.parametrize("drawn_j", [0.0, 90.0])
def test_hours_in_which_nothing_was_seen_share_by_time(drawn_j):
    def between(start_s, end_s):
        joules = Estimate.exact(drawn_j if end_s - start_s > S_PER_HOUR else 0.0)
        return Energy(end_s - start_s, (DeviceEnergy("gpu", "gpu", "fake", joules, 1.0, 0.0),))

    hours = by_hour(between, 0.0, 3 * S_PER_HOUR, 0)

    assert [drawn_j / 3] * 3 == [hour.energy_j.mid for hour in hours]


@given(instants_ns, st.floats(0.0, 1e9))
def test_an_hour_comes_back_from_json(start_ns, energy_j):
    hour = Hour(start_ns // NS_PER_HOUR * NS_PER_HOUR, Estimate(energy_j * 0.5, energy_j, energy_j * 2, "modelled"))

    assert hour == Hour.from_dict(json.loads(json.dumps(hour.as_dict())))
