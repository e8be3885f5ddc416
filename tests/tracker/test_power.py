"""Power over time as an attempt's document keeps it: few points, all of the energy, and gaps where nothing was seen."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.energy import Channel, Reading, integrate
from lowcarb.tracker.document import MOST_POINTS, power_of

CHANNEL = Channel(
    id="c", device="d", kind="gpu", quantity="counter", sensor="s", basis="measured", low_ratio=0.9, high_ratio=1.1,
    rated_w=500.0,
)  # fmt: skip


def kept(readings, end_s, interval_s=1.0):
    header = SimpleNamespace(started_s=0.0, started_ns=10**18, interval_s=interval_s)
    return power_of(lambda a, b: integrate((CHANNEL,), readings, a, b, interval_s), header, end_s)


def counted(watts, seconds):
    return [Reading(float(at_s), "c", watts * at_s) for at_s in range(seconds + 1)]


@given(st.integers(min_value=1, max_value=1500), st.floats(min_value=1.0, max_value=400.0))
def test_points_are_few_and_hold_all_of_the_energy(seconds, watts):
    (one,) = kept(counted(watts, seconds), float(seconds))

    assert len(one["power_w"]) == len(one["start_ns"]) == min(MOST_POINTS, seconds)
    assert sum(one["power_w"]) * one["step_ns"] / 1e9 == pytest.approx(watts * seconds, rel=1e-3)
    assert one["start_ns"][0] == 10**18
    assert sorted(one["start_ns"]) == one["start_ns"]


def test_time_without_readings_is_none():
    readings = [reading for reading in counted(100.0, 10) if reading.at_s <= 4.0]

    (one,) = kept(readings, 10.0)

    assert one["power_w"][:4] == [100.0] * 4
    assert one["power_w"][6:] == [None] * 4


def test_nothing_ran_is_nothing():
    assert kept([], 0.0) == []


def test_run_shorter_than_the_interval_is_one_point():
    (one,) = kept([Reading(0.0, "c", 0.0), Reading(0.5, "c", 25.0)], 0.5)

    assert one["power_w"] == [50.0]
