"""Which stacks there are, and with which a search begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.levers import LEVERS, Able, parse_pulled, pull
from lowcarb.core.search import additive, axes_of, break_even, exact_stack, repaired, starts
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, Recipe, TokenizerChoice, Trial

PROCESSOR = Able(frozenset({"fp32", "bf16"}))
ARM = Arm(ModelChoice("bert", "bert", "embedded:minilm"), TokenizerChoice("native"), Recipe(padding="max"), Inference())
TRIAL = Trial("s", ARM, DataChoice("t", "v", "a"), "d", 0, "m")
AXES = axes_of(LEVERS.values(), TRIAL, PROCESSOR)


def stack(*names):
    return tuple(parse_pulled(name) for name in names)


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


def test_a_search_pays_back_after_so_many_trainings():
    assert break_even(300.0, 110.0, 10.0) == pytest.approx(3.0)
    assert break_even(300.0, 10.0, 10.0) is None


def test_additive_effects_are_learnt_and_unseen_ones_are_the_prior():
    a, b, c = stack("bf16"), stack("no-dropout"), stack("batch=4")
    figure = additive([(a, 1.0), (b, 2.0), (a + b, 3.0)] * 20, lambda one: 0.5)

    assert figure(a) == pytest.approx(1.0, abs=0.1)
    assert figure(a + b) == pytest.approx(3.0, abs=0.1)
    assert figure(c) == 0.5
