"""Budgets as people write them, and what a run will have taken in the end."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.budget import (
    EXPECTED,
    LEAST_PROGRESS,
    MOST_MARKS,
    Budget,
    Mark,
    Marks,
    Outlook,
    can_be_kept,
    outlook,
    parse_budget,
    spent,
    tell,
)
from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import Footprint
from lowcarb.errors import SettingError


def footprint(energy_j=1000.0, operational_g=100.0, cost=1.0, *, low=0.5, high=2.0, basis="measured"):
    def figure(mid):
        return None if mid is None else Estimate(mid * low, mid, mid * high, basis)

    return Footprint(
        figure(energy_j), figure(operational_g), None, None, figure(cost), Estimate.exact(10.0), 1.0, "gpu", "fake", ()
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "what", "limit"),
    [
        ("500 g", "carbon", 500.0),
        ("500g", "carbon", 500.0),
        ("0.5 kg", "carbon", 500.0),
        (".5 KG", "carbon", 500.0),
        ("2 t", "carbon", 2e6),
        ("5e2 gCO2e", "carbon", 500.0),
        ("0.5 kgCO2e", "carbon", 500.0),
        ("0.5 kg CO₂-eq", "carbon", 500.0),
        ("500 gco2", "carbon", 500.0),
        ("5 mg", "carbon", 0.005),
        ("2 kWh", "energy", 7.2e6),
        ("2kwh", "energy", 7.2e6),
        ("2 KWH", "energy", 7.2e6),
        ("2 kW·h", "energy", 7.2e6),
        ("300 Wh", "energy", 1.08e6),
        ("1.5 MJ", "energy", 1.5e6),
        ("1.5 Mj", "energy", 1.5e6),
        ("1.5 mJ", "energy", 1.5e-3),
        ("40 kJ", "energy", 4e4),
        ("100 J", "energy", 100.0),
        ("3 MWh", "energy", 1.08e10),
        ("3 USD", "cost", 3.0),
        ("3usd", "cost", 3.0),
        ("$3", "cost", 3.0),
        ("$ 3.50", "cost", 3.5),
        ("US$3", "cost", 3.0),
        ("USD 3", "cost", 3.0),
        ("$3 USD", "cost", 3.0),
        ("3 $", "cost", 3.0),
        ("  3\u00a0USD ", "cost", 3.0),
    ],
)
def test_an_amount_is_read_as_a_person_means_it(text, what, limit):
    budget = parse_budget(text)

    assert (what, pytest.approx(limit)) == (budget.what, budget.limit)


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "g", "500", 500, 500.0, True, nan, inf, b"500 g", ["500 g"], "nan g", "inf kWh", "1e999 g", "0 g",
        "0.0 J", "1e-999 J", "-5 g", "-$3", "5 W", "5 kW", "2 h", "5 BTU", "5 ton", "5 lbs", "5 gal", "2 Mg", "2 MG",
        "5 mj", "5 mwh", "5 kWh CO2e", "3 USD CO2", "$3 kg", "1,000 g", "1.2.3 g", "1 000 g", "5 g 3", "5\ng", "0x5 g",
        "5e g", "１ 2 g", "$", "3 e", "1e308 kt",
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(value):
    with pytest.raises(SettingError) as caught:
        parse_budget(value)

    assert ("budget", EXPECTED) == (caught.value.field, caught.value.expected)
    assert value is caught.value.value


@pytest.mark.parametrize("text", ["3 EUR", "€3", "3€", "3 eur", "3 £", "¥300", "C$3", "3 A$", "20 CHF", "3 gbp"])
def test_money_of_another_country_is_refused_with_the_reason(text):
    with pytest.raises(SettingError, match="prices are in USD"):
        parse_budget(text)


def test_nothing_is_no_budget_and_a_budget_is_one():
    budget = Budget("energy", 5.0)

    assert (None, budget) == (parse_budget(None), parse_budget(budget))


@given(st.text(max_size=20) | st.floats() | st.integers() | st.none())
def test_whatever_is_given_is_a_budget_or_refused(value):
    try:
        budget = parse_budget(value)
    except SettingError:
        return

    assert budget is None if value is None else 0 < budget.limit < inf


@given(st.floats(1e-6, 1e12), st.sampled_from(["mJ", "kJ", "Wh", "kWh", "GWh", "mg", "g", "kg", "t", "USD"]))
def test_a_budget_that_was_written_is_read_as_the_same(number, unit):
    budget = parse_budget(f"{number!r} {unit}")

    assert unit == budget.unit
    assert budget.limit == pytest.approx(parse_budget(str(budget)).limit, rel=1e-5)
    assert budget == Budget(**json.loads(json.dumps(budget.as_dict())))


@pytest.mark.parametrize(("what", "limit", "unit"), [
    ("energy", 0.0, "J"), ("energy", nan, "J"), ("energy", 1.0, "g"), ("time", 1.0, "s"), ("cost", 1.0, "EUR"),
])  # fmt: skip
def test_a_budget_that_cannot_be_is_refused(what, limit, unit):
    with pytest.raises(SettingError):
        Budget(what, limit, unit)


def test_a_budget_goes_by_the_middle_of_what_was_taken():
    taken = footprint(energy_j=7.0, operational_g=8.0, cost=9.0)

    assert [7.0, 8.0, 9.0] == [spent(Budget(what, 10.0), taken) for what in ("energy", "carbon", "cost")]


def test_a_budget_of_money_cannot_be_kept_where_no_price_is_known():
    budget, priced, unpriced = Budget("cost", 3.0), footprint(), footprint(cost=None)

    assert (True, False) == (can_be_kept(budget, priced), can_be_kept(budget, unpriced))
    assert spent(budget, unpriced) is None
    assert "cannot be kept" in tell(budget, unpriced, None)


# What a run will have taken.

rates = st.floats(1e-3, 1e6)
shares = st.lists(st.floats(0.001, 1.0), min_size=3, max_size=12, unique=True).map(sorted)


def marks_of(progresses, rate, start_up=0.0):
    """Marks of a run that takes the same for each part of its work, after a start-up."""
    return [Mark(p, start_up + rate * p, 0.1 * (start_up + rate * p), None, 50.0 + 100.0 * p) for p in progresses]


@given(shares, rates, st.floats(0.0, 1e6), st.booleans())
def test_at_a_constant_rate_the_outlook_is_the_truth(progresses, rate, start_up, told):
    """However long the start-up took, and whether or not there is a mark of this moment."""
    progress = progresses[-1]
    marks = marks_of(progresses if told else progresses[:-1], rate, start_up)
    now = start_up + rate * progress
    coming = outlook(marks, footprint(now, 0.1 * now, low=0.9, high=1.2), progress)

    if len(marks) < 3 or marks[-1].progress - marks[0].progress < LEAST_PROGRESS:
        assert coming is None
        return
    truth = start_up + rate
    assert truth == pytest.approx(coming.energy_j.mid, rel=1e-6)
    assert 0.1 * truth == pytest.approx(coming.operational_g.mid, rel=1e-6)
    assert (0.9 * truth, 1.2 * truth) == (
        pytest.approx(coming.energy_j.low, rel=1e-6), pytest.approx(coming.energy_j.high, rel=1e-6),
    )  # fmt: skip
    assert 100.0 * (1.0 - progress) == pytest.approx(coming.left_s.mid, abs=1e-6)


@st.composite
def uneven(draw):
    """Marks of a run that takes now more, now less; and what is taken now, at the last of them or later."""
    steps = draw(st.lists(st.tuples(st.floats(0.004, 0.09), st.floats(0.0, 1e4)), min_size=3, max_size=11))
    progress, energy_j, marks = 0.0, draw(st.floats(1.0, 1e4)), []
    for step, taken_j in steps:
        progress, energy_j = progress + step, energy_j + taken_j
        marks.append(Mark(progress, energy_j, energy_j, energy_j, 1000.0 * progress))
    return marks, energy_j + draw(st.floats(0.0, 1e4)), progress + draw(st.sampled_from([0.0, 0.001]))


@given(uneven())
def test_no_less_than_what_is_taken_now_will_have_been_taken(run):
    marks, now_j, progress = run
    now = footprint(now_j, now_j, now_j)
    coming = outlook(marks, now, progress)

    if coming is not None:
        for name in ("energy_j", "operational_g", "cost"):
            taken, foreseen = getattr(now, name), getattr(coming, name)
            assert taken.low <= foreseen.low * (1 + 1e-12)
            assert taken.mid <= foreseen.mid
            assert taken.high <= foreseen.high * (1 + 1e-12)
            assert "modelled" == foreseen.basis


@given(uneven())
def test_at_the_end_the_outlook_is_now(run):
    marks, now_j, _ = run
    now = footprint(now_j, 2 * now_j, None)
    coming = outlook(marks, now, 1.0)

    if coming is not None:
        assert (now.energy_j, now.operational_g, None) == (coming.energy_j, coming.operational_g, coming.cost)
        assert (0.0, 0.0) == (coming.left_s.mid, coming.left_s.high)


@given(uneven(), st.floats(1.0, 10.0))
def test_more_taken_is_more_foreseen(run, factor):
    marks, now_j, progress = run
    more = [m._replace(energy_j=m.energy_j * factor) for m in marks]
    less_coming = outlook(marks, footprint(now_j), progress)
    more_coming = outlook(more, footprint(now_j * factor), progress)

    assert (less_coming is None) == (more_coming is None)
    if less_coming is not None:
        assert less_coming.energy_j.mid * (1 - 1e-9) <= more_coming.energy_j.mid


def test_a_rate_that_varies_makes_the_outlook_wide():
    even, changing = (
        outlook([Mark(0.1 * n, e, e, None, float(n)) for n, e in enumerate(energies)], footprint(energies[-1]), 0.4)
        for energies in ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 1.5, 3.5, 3.6, 5.0])
    )

    assert even.energy_j.mid == pytest.approx(changing.energy_j.mid)
    assert even.energy_j.low > 1.2 * changing.energy_j.low
    assert even.energy_j.high < 0.8 * changing.energy_j.high


def test_what_came_after_the_last_progress_was_told_is_work_on_the_way():
    """Progress that is told once an epoch must not count the epoch under way twice."""
    marks = marks_of([0.1, 0.2, 0.3], 100.0)

    assert 100.0 == pytest.approx(outlook(marks, footprint(39.0, 3.9), 0.3).energy_j.mid)


@pytest.mark.parametrize(
    ("marks", "progress"),
    [
        ([], 0.5),
        (marks_of([0.1, 0.2], 1.0), 0.5),
        (marks_of([0.001, 0.002, 0.009], 1.0), 0.009),
        (marks_of([0.5, 0.501, 0.502], 1.0), 0.502),
        (marks_of([0.2, 0.2, 0.2], 1.0), 0.2),
        (marks_of([0.1, 0.2, 0.3], 1.0), 0.2),
        (marks_of([0.1, 0.2, 0.3], 1.0), nan),
    ],
)
def test_too_little_to_go_by_gives_no_outlook(marks, progress):
    assert outlook(marks, footprint(), progress) is None


def test_an_energy_that_nobody_sees_has_no_outlook():
    marks = [Mark(p, 0.0, 0.0, None, p) for p in (0.1, 0.2, 0.3)]

    assert outlook(marks, footprint(0.0, 0.0, None), 0.3) is None


def test_a_cost_that_was_unknown_at_first_is_unknown():
    marks = [Mark(p, p, p, None if p < 0.2 else p, p) for p in (0.1, 0.2, 0.3)]

    assert outlook(marks, footprint(), 0.3).cost is None


def test_over_is_said_of_the_middle_and_not_of_what_is_unknown():
    coming = Outlook(Estimate(1.0, 5.0, 9.0, "modelled"), None, None, Estimate.exact(0.0), 0.5)

    assert (True, False, False) == (
        coming.over(Budget("energy", 4.9)), coming.over(Budget("energy", 5.0)), coming.over(Budget("cost", 1.0)),
    )  # fmt: skip


def test_an_outlook_comes_back_from_json():
    coming = outlook(marks_of([0.1, 0.2, 0.3], 10.0), footprint(3.0, 0.3, None), 0.3)

    assert coming == Outlook.from_dict(json.loads(json.dumps(coming.as_dict())))


# Marks.


def added(progresses):
    marks = Marks()
    for number, progress in enumerate(progresses):
        marks.add(progress, footprint(float(number), float(number), float(number)), float(number))
    return marks


@given(st.integers(0, 3000))
def test_marks_are_few_and_hold_the_first_and_the_last(count):
    progresses = [(n + 1) / 3000 for n in range(count)]
    kept = [mark.progress for mark in added(progresses)]

    assert min(count, MOST_MARKS // 2) <= len(kept) <= MOST_MARKS
    assert progresses[:1] + progresses[-1:] == kept[:1] + kept[-1:]
    steps = [b - a for a, b in pairwise(kept[:-1])]
    assert not steps or max(steps) == pytest.approx(min(steps))


def test_there_is_no_mark_before_the_first_work_nor_two_of_one_progress():
    assert [(0.1, 2.0), (0.2, 4.0)] == [(m.progress, m.at_s) for m in added([0.0, 0.0, 0.1, 0.1, 0.2, 0.2, nan])]


def test_progress_that_goes_back_begins_anew():
    assert [0.1, 0.3] == [mark.progress for mark in added([0.5, 0.6, 0.1, 0.3])]


@given(rates, st.integers(100, 2000))
def test_marks_that_were_thinned_give_the_same_outlook(rate, steps):
    marks = Marks()
    for step in range(1, steps // 2 + 1):
        now = footprint(rate * step / steps, rate * step / steps, rate * step / steps)
        marks.add(step / steps, now, float(step))
    progress = (steps // 2) / steps

    assert rate == pytest.approx(outlook(marks, now, progress).energy_j.mid)


# What is told.

FAR = Outlook(None, Estimate(880.0, 930.0, 990.0, "modelled"), None, Estimate.exact(60.0, "modelled"), progress=0.43)
NEAR = replace(FAR, operational_g=Estimate(501.0, 503.0, 505.0, "modelled"))
UNKNOWN = replace(FAR, operational_g=None)
DONE = replace(FAR, progress=1.0)


@pytest.mark.parametrize(
    ("text", "taken_g", "coming", "told"),
    [
        ("0.5 kg", 1e-3, None, "under 1 % of the budget of 0.5 kg is used"),
        ("0.5 kg", 400.0, None, "80 % of the budget of 0.5 kg is used"),
        ("0.5 kg", 499.9, None, "over 99 % of the budget of 0.5 kg is used"),
        ("0.5 kg", 512.3, None, "the budget of 0.5 kg is used up (0.512 kg taken)"),
        ("500 g", 400.0, UNKNOWN, "80 % of the budget of 500 g is used after 43 % of the work"),
        ("500 g", 400.0, DONE, "80 % of the budget of 500 g is used after 100 % of the work"),
    ],
)
def test_how_a_budget_stands_is_told_in_its_own_unit(text, taken_g, coming, told):
    assert told == tell(parse_budget(text), footprint(operational_g=taken_g), coming)


@pytest.mark.parametrize(
    ("text", "coming", "told"),
    [
        ("500 g", FAR, "; it would take about 930 g (880 to 990 g) in all"),
        ("0.5 kg", FAR, "; it would take about 0.93 kg (0.88 to 0.99 kg) in all"),
        ("500 g", NEAR, "; it would take about 503 g (501 to 505 g) in all"),
        ("500 g", replace(FAR, operational_g=Estimate.exact(503.2)), "; it would take about 503 g in all"),
    ],
)
def test_what_a_run_would_take_is_told_with_the_digits_that_it_bears(text, coming, told):
    line = tell(parse_budget(text), footprint(operational_g=400.0), coming)

    assert f"80 % of the budget of {text} is used after 43 % of the work{told}" == line
