"""The books balance: phases sum to the whole, however they were cut and settled."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.energy import Channel, Reading, integrate
from lowcarb.tracker import books as module
from lowcarb.tracker.books import OTHER, Books, merged

CHANNEL = Channel("c", "d", "gpu", "counter", "replay", "measured", 0.9, 1.1, 1000.0, None)


class Bench:
    """Books over a counter whose readings are given one a second."""

    def __init__(self):
        self.readings = []
        self.books = Books(self.energy)
        self.books.begin(0.0, 0.0)

    def energy(self, start_s, end_s):
        return integrate([CHANNEL], self.readings, start_s, end_s, 1.0)

    def read(self, at_s, joules):
        reading = Reading(at_s, "c", joules)
        self.readings.append(reading)
        self.books.seen([reading])


def test_settling_changes_no_figure(monkeypatch):
    def run():
        bench = Bench()
        for second in range(60):
            bench.read(float(second), 3.0 * second**1.5)
            if second % 7 == 3:
                bench.books.turn_to(f"p{second % 2}", second + 0.4, second / 2)
        bench.read(60.0, 3.0 * 60**1.5)
        return bench.books.until(60.0, 30.0)

    whole = run()
    monkeypatch.setattr(module, "MOST_UNSETTLED", 2)
    cut = run()

    assert [entry.name for entry in cut] == [entry.name for entry in whole] == [OTHER, "p1", "p0"]
    for one, other in zip(cut, whole, strict=True):
        assert one.wall_s == pytest.approx(other.wall_s)
        assert one.cpu_s == pytest.approx(other.cpu_s)
        assert one.energy.energy_j.mid == pytest.approx(other.energy.energy_j.mid)
    assert sum(entry.wall_s for entry in whole) == pytest.approx(60.0)
    assert sum(entry.energy.energy_j.mid for entry in whole) == pytest.approx(3.0 * 60**1.5)


def test_a_sensor_that_falls_silent_is_waited_for_and_then_no_more():
    books = Books(lambda start_s, end_s: integrate([], [], start_s, end_s, 1.0))
    assert books.horizon_s() is None
    books.seen([Reading(10.0, "a", 1.0), Reading(5.0, "b", 1.0)])
    assert books.horizon_s() == 5.0
    books.seen([Reading(5.0 + module.PATIENCE_S + 1, "a", 1.0)])
    assert books.horizon_s() == 5.0 + module.PATIENCE_S + 1


def test_phases_too_short_to_be_told_apart_share_the_energy_by_time():
    bench = Bench()
    bench.read(0.0, 0.0)
    at_s = 1.0
    bench.books.turn_to("train", at_s, 0.0)
    for _ in range(1000):
        at_s += 0.003
        bench.books.turn_to("step", at_s, 0.0)
        at_s += 0.001
        bench.books.turn_to("train", at_s, 0.0)
    bench.read(10.0, 100.0)
    entries = {entry.name: entry for entry in bench.books.until(10.0, 0.0)}

    assert len(bench.books._closed) == 0
    assert entries["step"].wall_s == pytest.approx(1.0)
    assert entries["step"].energy.energy_j.mid == pytest.approx(10.0, rel=0.01)
    assert sum(entry.energy.energy_j.mid for entry in entries.values()) == pytest.approx(100.0)
    assert sum(entry.energy.duration_s for entry in entries.values()) == pytest.approx(10.0)


def test_time_that_comes_in_the_wrong_order_is_no_time():
    bench = Bench()
    bench.books.turn_to("a", 5.0, 1.0)
    bench.books.turn_to("b", 4.0, 0.5)

    assert [(entry.name, entry.wall_s, entry.cpu_s) for entry in bench.books.until(6.0, 2.0)] == [
        (OTHER, 5.0, 1.0),
        ("a", 0.0, 0.0),
        ("b", 1.0, 1.5),
    ]


def test_before_it_begins_there_is_nothing_to_turn():
    with pytest.raises(ValueError, match="begun"):
        Books(lambda start_s, end_s: integrate([], [], start_s, end_s, 1.0)).turn_to("a", 1.0, 1.0)


powers = st.lists(st.floats(0, 100), min_size=2, max_size=20)


@given(powers=powers, turns=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), max_size=8))
def test_phases_sum_to_the_whole_window(powers, turns):
    bench = Bench()
    joules = 0.0
    end_s = float(len(powers) - 1)
    for name, share in sorted(turns, key=lambda turn: turn[1]):
        bench.books.turn_to(name, share * end_s, share)
    for second, power_w in enumerate(powers):
        bench.read(float(second), joules)
        joules += power_w
    entries = bench.books.until(end_s, 2.0)
    whole = bench.energy(0.0, end_s)
    sums = merged([entry.energy for entry in entries])

    for bound in ("low", "mid", "high"):
        assert getattr(sums.energy_j, bound) == pytest.approx(getattr(whole.energy_j, bound), rel=1e-6, abs=1e-6)
    assert sums.duration_s == pytest.approx(whole.duration_s)
    assert sums.coverage == pytest.approx(whole.coverage)
    assert sum(entry.cpu_s for entry in entries) == pytest.approx(2.0)


def test_merging_sums_gaps_and_keeps_each_kind_of_fault_once():
    readings = [Reading(0.0, "c", 5.0), Reading(1.0, "c", 3.0), Reading(2.0, "c", 4.0), Reading(3.0, "c", inf)]
    parts = [integrate([CHANNEL], readings, 0.0, 1.5, 1.0), integrate([CHANNEL], readings, 1.5, 3.0, 1.0)]
    (device,) = merged(parts).devices

    assert device.gaps_s == parts[0].gaps_s + parts[1].gaps_s
    assert device.coverage == pytest.approx(1 - device.gaps_s / 3.0)
    assert device.faults == ("reading negative or not a number", "counter was reset")
    assert merged([]).devices == ()
