"""What is known of stacks that were tried, which are kept, and what may be claimed."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.levers import Pulled, parse_pulled
from lowcarb.core.standing import (
    FAILING,
    SEED_DEVIATION,
    Confirmation,
    Look,
    Standing,
    clustered_error,
    failing,
    finalists,
    front,
    last_passed,
    one_sided,
    promoted,
    safe_saving,
    seed_deviation,
    standings,
)

CONFIRMATION = Confirmation(margin=1.0, seeds=5, question_ratio=1.0)


def stack(*names):
    return tuple(parse_pulled(name) for name in names)


def standing(saving, change, error=0.5, seeds=3, name="bf16"):
    return Standing((Pulled(name, (("at", saving),)),), math.log(saving), change, error / 2, error, seeds)


def looks(change, seeds):
    rng = random.Random(1)
    groups = tuple(number // 3 for number in range(60))
    return [
        Look(stack("bf16"), seed, math.log(3.0), tuple(change + rng.gauss(0, 8) for _ in groups), groups)
        for seed in range(seeds)
    ]


def test_more_seeds_make_a_standing_surer():
    one, three = (standings(looks(2.0, seeds), reference_seeds=2)[0] for seeds in (1, 3))

    assert (1, 3) == (one.seeds, three.seeds)
    assert three.error < one.error


def test_the_error_of_a_standing_holds_the_truth():
    rng = random.Random(7)
    inside = 0
    for _ in range(200):
        shift = rng.gauss(0, SEED_DEVIATION) - rng.gauss(0, SEED_DEVIATION)  # this seed's and the reference's
        groups = tuple(number // 3 for number in range(60))
        values = [rng.gauss(0, 6) for _ in range(20)]
        changes = tuple(2.0 + shift + values[group] + rng.gauss(0, 10) for group in groups)
        found = standings([Look((), 0, 1.0, changes, groups)], reference_seeds=1)[0]
        inside += abs(found.change - 2.0) < 1.645 * found.error

    assert 0.82 <= inside / 200 <= 0.97


def test_questions_of_one_paragraph_count_as_less_than_as_many_of_their_own():
    values = [0.0, 0.0, 9.0, 9.0] * 10

    assert clustered_error(values, [n // 2 for n in range(40)]) == pytest.approx(
        math.sqrt(2) * clustered_error(values, list(range(40)))
    )


def test_the_seed_deviation_moves_from_what_was_assumed_to_what_was_seen():
    assert seed_deviation([[1.0]]) == pytest.approx(SEED_DEVIATION)
    assert seed_deviation([[0.0, 10.0]] * 50) > 6.0


def test_a_stack_that_fails_on_some_seeds_is_less_likely_to_pass_than_one_that_does_not():
    groups = tuple(number // 3 for number in range(60))

    def stable_or_not(name, by_seed):
        return [Look(stack(name), seed, 1.0, (change,) * 60, groups) for seed, change in enumerate(by_seed)]

    steady, shaky = standings(
        [*stable_or_not("bf16", (4.0, 5.0, 6.0)), *stable_or_not("batch=4", (15.0, 15.0, -15.0))], reference_seeds=2
    )

    assert shaky.change == steady.change == 5.0
    assert CONFIRMATION.chance(shaky) < CONFIRMATION.chance(steady)


def test_a_better_or_surer_stack_has_a_better_chance():
    assert CONFIRMATION.chance(standing(3, 2.0)) > CONFIRMATION.chance(standing(3, 0.0))
    assert CONFIRMATION.chance(standing(3, 5.0, error=0.5)) > CONFIRMATION.chance(standing(3, 5.0, error=4.0))
    assert CONFIRMATION.chance(standing(3, -8.0)) < 0.01


def test_a_stack_that_costs_more_than_the_baseline_has_no_promise():
    assert CONFIRMATION.promise(standing(0.5, 9.0)) == 0.0


def test_who_gets_another_seed_is_who_promises_most():
    known = [
        standing(20, 3.0, seeds=1),
        standing(5, 3.0, seeds=1),
        standing(30, -9.0, seeds=1),
        standing(40, 9.0, seeds=2),
    ]

    assert [known[0].stack] == promoted(known, CONFIRMATION, seeds=1, keep=1)


def test_only_what_is_surely_within_the_margin_dominates_others():
    assert safe_saving([standing(20, 3.0, seeds=1), standing(9, -5.0)], 1.0) is None
    assert safe_saving([standing(20, 3.0), standing(9, 3.0)], 1.0) == pytest.approx(math.log(20))


def test_finalists_go_from_safe_to_bold():
    safe, bold, bad = standing(5, 6.0), standing(20, 2.5), standing(50, -10.0)

    chosen = finalists([bad, bold, safe], CONFIRMATION)

    assert [safe, bold] == chosen


def test_a_stack_that_another_beats_in_both_is_no_finalist():
    assert [standing(20, 6.0)] == finalists([standing(5, 3.0), standing(20, 6.0)], CONFIRMATION)


def test_there_are_no_finalists_where_nothing_saves_at_the_quality():
    assert [] == finalists([standing(10, -6.0), standing(0.8, 3.0)], CONFIRMATION)


@pytest.mark.parametrize(
    ("passed", "best"),
    [([True, True, False], 1), ([False, True], None), ([True], 0), ([True, False, True], 0), ([], None)],
)
def test_what_comes_after_a_failure_is_not_claimed(passed, best):
    assert last_passed(passed) == best


def test_the_front_holds_what_nothing_beats():
    cheap, good, beaten = standing(20, 1.0), standing(5, 4.0), standing(4, 2.0)

    assert [good, cheap] == front([cheap, beaten, good])


@given(st.floats(0.1, 5.0), st.integers(2, 10), st.floats(0.2, 3.0), st.floats(0.1, 5.0))
def test_a_stack_better_than_the_margin_by_the_noise_passes_half_of_the_time(margin, seeds, ratio, question_error):
    confirmation = Confirmation(margin, seeds, ratio)
    seen = Standing((), 1.0, 0.0, question_error, question_error, 2)

    at = replace(seen, change=confirmation.noise(seen) - margin)

    assert confirmation.chance(at) == pytest.approx(0.5)
    assert confirmation.noise(seen) > Confirmation(margin, seeds + 1, ratio).noise(seen)


def read(name, *f1s, reference=15.0, saving=30.0):
    groups = tuple(number // 3 for number in range(60))
    return [
        Look(stack(name), seed, math.log(saving), (f1 - reference,) * 60, groups, f1) for seed, f1 in enumerate(f1s)
    ]


def test_a_stack_that_read_on_each_seed_is_still_given_a_chance_to_fail_on_another():
    one, three = read("bf16", 40.0), read("bf16", 40.0, 38.0, 42.0)

    assert FAILING > failing(one) > failing(three) > 0.0
    assert failing(read("bf16", 40.0, 12.0)) > FAILING


def test_trainings_that_do_not_begin_to_read_do_not_blur_those_that_do():
    known = standings(read("bf16", 40.0, 12.0, 42.0), reference_seeds=2)[0]

    assert known.change == pytest.approx(41.0 - 15.0)
    assert known.drop == pytest.approx(41.0 - 12.0)
    assert known.expected < known.change
    assert known.seeds == 3
    assert known.deviation < 5.0


def test_a_drop_that_the_gain_can_bear_leaves_a_chance_and_one_that_it_cannot_takes_it():
    """One failure in five is borne against a baseline that does not read, and not against one that reads as well."""
    borne = standings(read("bf16", 40.0, 12.0, 42.0), reference_seeds=2)[0]
    fatal = standings(read("bf16", 40.0, 12.0, 42.0, reference=36.0), reference_seeds=2)[0]
    steady = standings(read("bf16", 40.0, 41.0, 42.0, reference=36.0), reference_seeds=2)[0]

    assert CONFIRMATION.chance(borne) > 0.7
    assert CONFIRMATION.chance(fatal) < 0.3 < CONFIRMATION.chance(steady)


def test_nothing_is_called_safe_that_may_fail_to_begin():
    assert safe_saving(standings(read("bf16", 40.0, 41.0, reference=39.5), reference_seeds=2), 1.0) is None
    assert safe_saving(standings(read("bf16", 40.0, 41.0), reference_seeds=2), 1.0) == pytest.approx(math.log(30.0))


@pytest.mark.parametrize(("freedom", "bound"), [(4, 2.132), (8, 1.860), (20, 1.725), (1000, 1.646)])
def test_the_bound_is_students(freedom, bound):
    """Published quantiles of Student's t, one-sided 95 %."""
    assert one_sided(freedom) == pytest.approx(bound, rel=0.01)


@given(st.floats(-20.0, 30.0), st.floats(0.0, 1.0), st.floats(0.0, 40.0), st.integers(2, 10))
def test_a_chance_is_one_and_a_risk_never_helps_a_stack_that_would_pass(change, risk, drop, seeds):
    confirmation = Confirmation(1.0, seeds, 1.0)
    seen = Standing((), 1.0, change, 1.0, 2.0, 2, failing=risk, drop=drop)
    without = confirmation.chance(replace(seen, failing=0.0))

    assert -1e-12 <= confirmation.chance(seen) <= 1.0 + 1e-12
    if without >= 0.5:
        assert confirmation.chance(seen) <= without + 1e-12


def test_a_chance_is_the_sum_over_how_many_seeds_fail_by_hand():
    """Two seeds, half of all trainings fail: a quarter with none, a half with one, a quarter with both."""
    confirmation = Confirmation(1.0, 2, 1.0)
    seen = Standing((), 1.0, 200.0, 1.0, 2.0, 2, failing=0.5, drop=400.0)

    # None failing passes surely; one failing has a mean of 0 and a spread of hundreds; both failing lose 200.
    assert confirmation.chance(replace(seen, failing=0.0)) == pytest.approx(1.0)
    assert 0.25 <= confirmation.chance(seen) < 0.27
