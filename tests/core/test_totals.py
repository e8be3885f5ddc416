"""Each joule once: overlapping attempts in one total."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.energy import DeviceEnergy, Energy
from lowcarb.core.estimate import Estimate
from lowcarb.core.totals import LATE_NS, Spell, devices_of, total_energy
from lowcarb.core.units import NS_PER_HOUR

HOUR = NS_PER_HOUR
joules = st.just(0.0) | st.floats(1e-3, 1e6)
GPU = "GPU-3b2c9a4e-0d1f-4c55-9c7d-1e2f3a4b5c6d"


def spell(attempt, start=0, end=HOUR, energy_j=100.0, *, within=None, node="n", device="cpu", hours=None, ratio=1.1):
    energy = Estimate(energy_j / ratio, energy_j, energy_j * ratio, "measured")
    return Spell(attempt, within, node, start, end, {device: energy}, hours or {})


def energies(spells):
    return [sum(one.mid for one in s.devices.values()) for s in spells]


@st.composite
def spells_of_one_machine(draw):
    """Attempts at any times, with any energies, nested by name or not, on few nodes and devices."""
    count = draw(st.integers(1, 7))
    found = []
    for number in range(count):
        start, length = draw(st.integers(0, 12)), draw(st.integers(0, 12))
        devices = draw(st.dictionaries(st.sampled_from(["cpu", "dram", GPU]), joules, min_size=1, max_size=3))
        hours = draw(st.dictionaries(st.integers(0, 8), st.floats(0.0, 10.0), max_size=4))
        found.append(
            Spell(
                attempt=f"a{number}",
                within=draw(st.sampled_from([None, *(f"a{n}" for n in range(count))])),
                node=draw(st.sampled_from(["n", "m", None])),
                started_ns=start * HOUR // 3,
                ended_ns=(start + length) * HOUR // 3,
                devices={name: Estimate(j * 0.9, j, j * 1.2, "measured") for name, j in devices.items()},
                hours={start_h * HOUR: joules for start_h, joules in hours.items()},
            )
        )
    return found


@given(spells_of_one_machine())
def test_a_total_is_at_most_the_sum_and_at_least_each(spells):
    total, each = total_energy(spells), energies(spells)

    assert max(each) * (1 - 1e-6) <= total.energy_j.mid <= sum(each) * (1 + 1e-6)
    assert sum(each) == pytest.approx(total.energy_j.mid + total.counted_twice_j, abs=1e-6)


@given(spells_of_one_machine())
def test_a_total_is_at_least_what_attempts_one_after_the_other_took(spells):
    """Energies of times that do not overlap add up, whatever else was metered beside them."""
    alike = [
        replace(s, node="n", within=None, devices={"cpu": Estimate.exact(e)}, hours={})
        for s, e in zip(spells, energies(spells), strict=True)
    ]
    after_another, until = 0.0, 0
    for one in sorted(alike, key=lambda s: s.ended_ns):
        if one.started_ns >= until and one.ended_ns > one.started_ns:
            after_another, until = after_another + one.devices["cpu"].mid, one.ended_ns

    assert after_another * (1 - 1e-6) <= total_energy(alike).energy_j.mid


@given(spells_of_one_machine())
def test_the_shares_give_the_total(spells):
    total = total_energy(spells)

    assert {s.attempt for s in spells} == set(total.shares)
    assert all(0.0 <= share <= 1.0 for share in total.shares.values())
    shared = sum(total.shares[s.attempt] * e for s, e in zip(spells, energies(spells), strict=True))
    assert shared == pytest.approx(total.energy_j.mid, abs=1e-6)


@given(spells_of_one_machine(), st.randoms(use_true_random=False))
def test_the_order_of_attempts_does_not_matter(spells, rng):
    shuffled = list(spells)
    rng.shuffle(shuffled)

    assert total_energy(spells) == total_energy(shuffled)


@given(st.lists(st.tuples(st.integers(0, HOUR), st.integers(1, HOUR), joules), max_size=20))
def test_attempts_one_after_the_other_are_summed(pairs):
    spells, at = [], 0
    for number, (pause, length, energy_j) in enumerate(pairs):
        spells.append(spell(f"a{number}", at + pause, at + pause + length, energy_j))
        at += pause + length
    total = total_energy(spells)

    assert sum(energies(spells)) == pytest.approx(total.energy_j.mid)
    assert (0.0, ()) == (total.counted_twice_j, total.overlaps)
    assert {1.0} >= set(total.shares.values())
    assert "measured" == total.energy_j.basis


@given(st.integers(1, 6), st.floats(1.0, 1e6))
def test_the_same_time_metered_several_times_counts_once(count, energy_j):
    total = total_energy([spell(f"a{n}", energy_j=energy_j) for n in range(count)])

    assert Estimate(energy_j / 1.1, energy_j, energy_j * 1.1, "measured") == total.energy_j
    assert (count - 1) * energy_j == pytest.approx(total.counted_twice_j)
    assert count * (count - 1) // 2 == len(total.overlaps)


@st.composite
def trees(draw):
    """True power of a machine [J an interval], and windows that lie inside or beside each other."""
    power = draw(st.lists(st.floats(0.0, 300.0), min_size=8, max_size=24))

    def inside(start, end, depth):
        cuts = sorted(draw(st.sets(st.integers(start, end), max_size=5)))
        for a, b in pairwise(cuts):
            if draw(st.booleans()):
                windows.append((a, b))
                if depth:
                    inside(a, b, depth - 1)

    windows = []
    inside(0, len(power), 3)
    return power, windows


@given(trees(), st.booleans())
def test_a_tree_of_attempts_gives_exactly_what_was_drawn(tree, with_hours):
    """Whatever the power was: who lies inside another is in its energy."""
    power, windows = tree
    unit = HOUR // 4
    spells = [
        spell(
            f"a{n}", a * unit, b * unit, sum(power[a:b]),
            hours={h // 4 * HOUR: sum(power[max(a, h) : min(b, h + 4)]) for h in range(a // 4 * 4, b, 4)}
            if with_hours and n % 2 else None,
        )
        for n, (a, b) in enumerate(windows)
    ]  # fmt: skip
    covered = {moment for a, b in windows for moment in range(a, b)}

    assert sum(power[moment] for moment in covered) == pytest.approx(total_energy(spells).energy_j.mid, abs=1e-6)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8), st.sampled_from(["n", None]))
def test_a_chain_of_attempts_inside_each_other_is_the_outermost(shares, node):
    energy_j, spells = 1000.0, [spell("a0", 0, 100 * HOUR, 1000.0, node="n")]
    for number, share in enumerate(shares, start=1):
        energy_j *= share
        spells.append(
            spell(f"a{number}", number * HOUR, (100 - number) * HOUR, energy_j, within=f"a{number - 1}", node=node)
        )
    total = total_energy(spells)

    assert 1000.0 == pytest.approx(total.energy_j.mid)
    assert () == total.overlaps
    assert 1.0 == total.shares["a0"]
    assert {0.0} == {total.shares[f"a{n}"] for n in range(1, len(spells)) if energies(spells)[n] > 0} | {0.0}


def test_an_inner_attempt_counts_where_the_outer_one_is_not_at_hand():
    inner = spell("inner", within="outer")

    assert 100.0 == total_energy([inner]).energy_j.mid


def test_devices_that_the_outer_attempt_did_not_meter_count():
    outer, inner = spell("outer", energy_j=50.0), spell("inner", within="outer", energy_j=20.0)
    inner = replace(inner, devices={**inner.devices, GPU: Estimate.exact(60.0)})
    total = total_energy([outer, inner])

    assert 110.0 == total.energy_j.mid
    assert {"outer": 1.0, "inner": 0.75} == total.shares


def test_an_inner_attempt_on_another_node_counts():
    outer, inner = spell("outer", node="login"), spell("inner", within="outer", node="worker")

    assert 200.0 == total_energy([outer, inner]).energy_j.mid


def test_what_an_inner_attempt_drew_after_the_outer_had_ended_counts():
    """As of a job that a launcher leaves in the background."""
    outer, inner = spell("outer", 0, HOUR, 100.0), spell("inner", HOUR // 2, 10 * HOUR, 950.0, within="outer")

    assert 1000.0 == pytest.approx(total_energy([outer, inner]).energy_j.mid)


def test_an_inner_attempt_that_ended_with_a_later_reading_is_inside_all_the_same():
    outer = spell("outer", 0, HOUR, 100.0)
    inner = spell("inner", -LATE_NS // 2, HOUR + LATE_NS, 90.0, within="outer")

    assert outer.devices["cpu"] == total_energy([outer, inner]).energy_j


def test_a_meter_that_failed_takes_nothing_away_from_those_inside():
    broken = spell("broken", 0, 10 * HOUR, 1.0)
    first, second = spell("first", HOUR, 2 * HOUR, 60.0), spell("second", 3 * HOUR, 4 * HOUR, 70.0)
    total = total_energy([broken, first, second])

    assert 130.0 == total.energy_j.mid
    assert {"broken": 0.0, "first": 1.0, "second": 1.0} == total.shares


def test_a_little_more_inside_than_outside_changes_a_little():
    """Two meters never agree to the last digit; the total must not jump where they cross."""
    outer = spell("outer", 0, 10 * HOUR, 100.0)
    less, more = (
        total_energy([outer, spell("inner", HOUR, 2 * HOUR, j)]).energy_j.mid for j in (99.9, 100.1)
    )  # fmt: skip

    assert (100.0, 100.1) == (less, more)


def test_attempts_that_overlap_in_part_count_each_moment_once_and_are_less_sure():
    total = total_energy([spell("a", 0, 2 * HOUR), spell("b", HOUR, 3 * HOUR)])

    assert 150.0 == pytest.approx(total.energy_j.mid)
    assert (("a", "b"),) == total.overlaps
    assert "modelled" == total.energy_j.basis
    assert total.energy_j.low < 150.0 / 1.1
    assert total.energy_j.high > 150.0 * 1.1


def test_power_by_the_hour_tells_what_an_overlap_drew():
    early = spell("early", 0, 2 * HOUR, 100.0, hours={0: 90.0, HOUR: 10.0})
    late = spell("late", HOUR, 3 * HOUR, 50.0, hours={HOUR: 10.0, 2 * HOUR: 40.0})

    assert 140.0 == pytest.approx(total_energy([early, late]).energy_j.mid)


def test_the_first_hour_may_be_known_by_its_beginning_before_the_attempt():
    half = HOUR // 2
    early = spell("early", half, HOUR + half, 100.0, hours={0: 20.0, HOUR: 80.0})
    late = spell("late", HOUR, 2 * HOUR, 160.0)

    assert 180.0 == pytest.approx(total_energy([early, late]).energy_j.mid)


def test_hours_that_are_none_are_of_no_use_and_do_no_harm():
    strange = {0: float("nan"), HOUR // 2: 1.0, HOUR: float("inf"), 7 * HOUR: 3.0, -HOUR: 1.0, HOUR // 2 + 1: 2.0}
    total = total_energy([spell("a", 0, 2 * HOUR, hours=strange), spell("b", HOUR, 3 * HOUR, hours={99 * HOUR: 1.0})])

    assert 100.0 <= total.energy_j.mid <= 200.0


@pytest.mark.parametrize(
    ("one", "other", "counted"),
    [
        (("n", "cpu"), ("n", "cpu"), 100.0),
        (("n", "cpu"), ("m", "cpu"), 200.0),
        (("n", "cpu"), (None, "cpu"), 200.0),
        ((None, "cpu"), (None, "cpu"), 200.0),
        (("n", "cpu"), ("n", "dram"), 200.0),
        (("n", GPU), ("m", GPU.lower()), 100.0),
        ((None, GPU), ("m", GPU), 100.0),
    ],
)
def test_what_is_the_same_device(one, other, counted):
    a, b = (spell(name, node=node, device=device) for name, (node, device) in (("a", one), ("b", other)))

    assert counted == total_energy([a, b]).energy_j.mid


def test_an_inner_attempt_of_an_unknown_node_is_where_the_outer_is():
    outer, inner = spell("outer", node=None), spell("inner", within="outer", node=None, energy_j=10.0)

    assert 100.0 == total_energy([outer, inner]).energy_j.mid


def test_an_attempt_without_length_counts_as_it_is():
    """Its start and end were read off a clock that was set meanwhile."""
    total = total_energy([spell("long"), spell("short", HOUR // 2, HOUR // 2 - 5, 7.0)])

    assert (107.0, ()) == (total.energy_j.mid, total.overlaps)


def test_nothing_is_nothing():
    total = total_energy([])

    assert (Estimate.exact(0.0), 0.0, (), {}) == (
        total.energy_j, total.counted_twice_j, total.overlaps, total.shares,
    )  # fmt: skip


def test_sockets_that_one_sensor_reads_are_the_processor_that_another_models():
    def device(name, kind, energy_j):
        return DeviceEnergy(name, kind, "fake", Estimate.exact(energy_j), 1.0, 0.0)

    read = Energy(1.0, (device("package-0", "cpu", 30.0), device("package-1", "cpu", 40.0), device(GPU, "gpu", 5.0)))
    modelled = Energy(1.0, (device("cpu", "cpu", 60.0),))

    assert {"cpu": Estimate.exact(70.0), GPU: Estimate.exact(5.0)} == devices_of(read)
    assert devices_of(read).keys() >= devices_of(modelled).keys()
