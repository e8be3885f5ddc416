"""Which stacks are tried, kept and claimed."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.levers import LEVERS, Able, Pulled, parse_pulled, pull
from lowcarb.core.search import (
    SEED_DEVIATION,
    Confirmation,
    Look,
    Standing,
    additive,
    axes_of,
    break_even,
    clustered_error,
    exact_stack,
    finalists,
    front,
    last_passed,
    promoted,
    repaired,
    safe_saving,
    seed_deviation,
    standings,
    starts,
)
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, Recipe, TokenizerChoice, Trial

PROCESSOR = Able(frozenset({"fp32", "bf16"}))
ARM = Arm(ModelChoice("bert", "bert", "embedded:minilm"), TokenizerChoice("native"), Recipe(padding="max"), Inference())
TRIAL = Trial("s", ARM, DataChoice("t", "v", "a"), "d", 0, "m")
AXES = axes_of(LEVERS.values(), TRIAL, PROCESSOR)
CONFIRMATION = Confirmation(margin=1.0, seeds=5, question_ratio=1.0)


def stack(*names):
    return tuple(parse_pulled(name) for name in names)


def standing(saving, change, error=0.5, seeds=3, name="bf16"):
    return Standing((Pulled(name, (("at", saving),)),), math.log(saving), change, error / 2, error, seeds)


def test_a_processor_is_offered_no_lever_that_it_cannot_pull():
    ids = {axis.lever.id for axis in AXES}

    assert {"bf16", "grouped-padding", "batch", "learning-rate", "data-share"} <= ids
    assert not ids & {"fp16", "fp8", "power-cap", "clock-lock"}
    for axis in AXES:
        for option in axis.options:
            assert pull(TRIAL, (option,), PROCESSOR) != TRIAL


def test_a_lever_that_costs_energy_for_nothing_is_not_tried():
    assert not {"checkpointing", "compile", "distill"} & {axis.lever.id for axis in AXES}


def always(stack, than):
    return stack != than


def test_the_exact_stack_changes_no_arithmetic_and_takes_the_best_of_those_that_conflict():
    exact = exact_stack(AXES, TRIAL, PROCESSOR, always)

    assert {"grouped-padding", "attention", "fused-optimizer"} == {one.lever for one in exact}
    after = pull(TRIAL, exact, PROCESSOR).arm.recipe
    assert (after.epochs, after.batch, after.learning_rate, after.precision, after.dropout) == (
        ARM.recipe.epochs, ARM.recipe.batch, ARM.recipe.learning_rate, "fp32", None,
    )  # fmt: skip


def test_the_exact_stack_holds_only_what_was_seen_to_save():
    def saves(stack, than):
        return {"split-padding"} == {one.lever for one in stack} - {one.lever for one in than}

    assert ["split-padding"] == [one.lever for one in exact_stack(AXES, TRIAL, PROCESSOR, saves)]
    assert () == exact_stack(AXES, TRIAL, PROCESSOR, lambda stack, than: False)


@given(st.permutations([option for axis in AXES for option in axis.options]))
def test_any_heap_of_levers_can_be_repaired_into_a_stack(heap):
    kept = repaired(TRIAL, heap, PROCESSOR)

    assert heap[0] in kept
    assert kept == repaired(TRIAL, kept, PROCESSOR)
    assert len(kept) == len(pull(TRIAL, kept, PROCESSOR).levers)


def test_the_starts_are_stacks_of_their_own_on_top_of_the_base():
    base = exact_stack(AXES, TRIAL, PROCESSOR, always)
    found = starts(AXES, TRIAL, PROCESSOR, base)

    assert len(found) >= 5
    assert len(set(found)) == len(found)
    assert all(set(base) <= set(one) for one in found)
    first = pull(TRIAL, found[0], PROCESSOR).arm.recipe
    assert ("bf16", 0.0, 4, 1.0) == (first.precision, first.dropout, first.batch, first.epochs)


def test_starts_leave_out_what_the_device_cannot_do():
    plain = Able(frozenset({"fp32"}))
    axes = axes_of(LEVERS.values(), TRIAL, plain)

    assert all("bf16" not in {one.lever for one in start} for start in starts(axes, TRIAL, plain, ()))


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


def test_a_search_pays_back_after_so_many_trainings():
    assert break_even(300.0, 110.0, 10.0) == pytest.approx(3.0)
    assert break_even(300.0, 10.0, 10.0) is None


def test_additive_effects_are_learnt_and_unseen_ones_are_the_prior():
    a, b, c = stack("bf16"), stack("no-dropout"), stack("batch=4")
    figure = additive([(a, 1.0), (b, 2.0), (a + b, 3.0)] * 20, lambda one: 0.5)

    assert figure(a) == pytest.approx(1.0, abs=0.1)
    assert figure(a + b) == pytest.approx(3.0, abs=0.1)
    assert figure(c) == 0.5


@given(st.floats(0.1, 5.0), st.integers(2, 10), st.floats(0.2, 3.0), st.floats(0.1, 5.0))
def test_a_stack_better_than_the_margin_by_the_noise_passes_half_of_the_time(margin, seeds, ratio, question_error):
    confirmation = Confirmation(margin, seeds, ratio)
    seen = Standing((), 1.0, 0.0, question_error, question_error, 2)

    at = replace(seen, change=confirmation.noise(seen) - margin)

    assert confirmation.chance(at) == pytest.approx(0.5)
    assert confirmation.noise(seen) > Confirmation(margin, seeds + 1, ratio).noise(seen)
