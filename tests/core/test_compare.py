"""Comparisons: pairs, intervals, verdicts, the Pareto front."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from lowcarb.core.compare import (
    Spread,
    contrasts,
    device_effects,
    effects,
    factor_between,
    interval,
    judge,
    pareto,
)
from lowcarb.core.estimate import Estimate
from lowcarb.core.trial import (
    Arm,
    DataChoice,
    Inference,
    ModelChoice,
    Recipe,
    Result,
    Scores,
    Shape,
    Study,
    TokenizerChoice,
    Trial,
)

BERT = ModelChoice("bert", "bert", "embedded:minilm")
SMALL = ModelChoice("distilbert", "distilbert", "embedded:minilm", layers=(0, 2, 4))
SCRATCH = ModelChoice("t5", "t5", "scratch", shape=Shape(2, 64, 4, 128))
NATIVE, OTHER = TokenizerChoice("native"), TokenizerChoice("bpe", "bpe", vocabulary=8000)
DATA = DataChoice("train", "validation", "adversarial")


def arm(model=BERT, tokenizer=NATIVE, **recipe):
    return Arm(model, tokenizer, Recipe(**recipe), Inference())


def study(*arms, seeds=(0, 1, 2), margin=1.0):
    return Study("s", "?", DATA, arms, arms[0].id, seeds, margin=margin)


def result(of, seed, energy_j, f1, *, questions=40, status="done", spread=10.0, basis="modelled"):
    rng = random.Random(seed)
    marks = [f1 + rng.uniform(-spread, spread) for _ in range(questions)]
    f1 = sum(marks) / questions
    scores = Scores(f1, f1, 0.5, 0.5, questions, tuple(marks), tuple(i // 4 for i in range(questions)))
    trial = Trial("s", of, DATA, "digest", seed, "machine")
    return Result(trial, status, 1, energy_j, basis, 1.0, 1.0, {"validation": scores, "adversarial": scores})


def outcome(of, energies, scores):
    return [result(of, seed, e, f) for seed, (e, f) in enumerate(zip(energies, scores, strict=True))]


def test_less_carbon_and_more_quality_beyond_their_intervals_is_better():
    base, small = arm(), arm(SMALL)
    results = outcome(base, [100, 101, 99], [40, 40, 40]) + outcome(small, [50, 50.6, 49.4], [50, 50, 50])

    (effect,) = effects(study(base, small), results)

    assert ("model", "better", 3) == (effect.factor, effect.verdict, effect.pairs)
    assert 0.48 < effect.carbon_ratio.low < 0.5 < effect.carbon_ratio.high < 0.52


def test_less_carbon_within_the_margin_is_not_inferior():
    base, small = arm(), arm(SMALL)
    results = outcome(base, [100, 101, 99], [40, 40, 40]) + outcome(small, [50, 50.5, 49.5], [39.9, 39.9, 39.9])

    (effect,) = effects(study(base, small), results)

    assert "not inferior" == effect.verdict


def test_a_loss_beyond_the_margin_is_worse_however_much_carbon_it_saves():
    base, small = arm(), arm(SMALL)
    results = outcome(base, [100, 101, 99], [50, 50, 50]) + outcome(small, [10, 10, 10], [30, 30.5, 29.5])

    (effect,) = effects(study(base, small), results)

    assert "worse" == effect.verdict
    assert "20.0 of quality" in effect.drawbacks


def test_one_seed_never_decides():
    base, small = arm(), arm(SMALL)
    results = outcome(base, [100], [20]) + outcome(small, [1], [90])

    (effect,) = effects(study(base, small, seeds=(0,)), results)

    assert "undecided" == effect.verdict
    assert ("assumed", "assumed") == (effect.carbon_ratio.basis, effect.quality_change.basis)


def test_a_comparison_is_measured_only_where_both_energies_were():
    base, small = arm(), arm(SMALL)
    counted = [
        replace(r, basis="measured") for r in outcome(base, [100, 101], [50, 50]) + outcome(small, [50, 51], [50, 50])
    ]
    half = [*counted[:2], *(replace(r, basis="modelled") for r in counted[2:])]

    assert ["measured", "modelled"] == [effects(study(base, small), r)[0].carbon_ratio.basis for r in (counted, half)]


def test_a_result_without_energy_is_not_compared():
    base, small = arm(), arm(SMALL)

    assert () == effects(study(base, small), outcome(base, [100, 100], [50, 50]) + outcome(small, [0, 0], [50, 50]))


def test_a_model_from_scratch_is_not_judged_by_quality():
    base, scratch = arm(), arm(SCRATCH)
    results = outcome(base, [100, 101, 99], [50, 50, 50]) + outcome(scratch, [10, 10, 10], [3, 3, 3])

    (effect,) = effects(study(base, scratch), results)

    assert "undecided" == effect.verdict
    assert "scratch" in effect.reason


def test_only_complete_results_of_the_same_seed_are_paired():
    base, small = arm(), arm(SMALL)
    results = [
        *outcome(base, [100, 100, 100], [50, 50, 50]),
        result(small, 0, 50, 50),
        result(small, 1, 50, 50, status="interrupted"),
        result(small, 7, 50, 50),
    ]

    (effect,) = effects(study(base, small), results)

    assert 1 == effect.pairs


def test_trials_on_two_machines_are_not_pairs():
    base, small = arm(), arm(SMALL)
    there = [replace(r, trial=replace(r.trial, machine="other")) for r in outcome(small, [50, 50], [50, 50])]

    assert () == effects(study(base, small), outcome(base, [100, 100], [50, 50]) + there)


def test_the_order_of_results_does_not_matter():
    base, small = arm(), arm(SMALL)
    results = outcome(base, [100, 103, 99], [50, 51, 49]) + outcome(small, [50, 52, 49], [45, 47, 44])
    shuffled = results[::-1]

    assert effects(study(base, small), results) == effects(study(base, small), shuffled)


def test_an_arm_that_differs_in_two_factors_is_held_against_its_own_models_native_arm():
    base, small, swapped = arm(), arm(SMALL), arm(SMALL, OTHER)

    found = [(a.id, b.id, factor) for a, b, factor in contrasts(study(base, small, swapped))]

    assert [
        ("distilbert/native", "bert/native", "model"),
        ("distilbert/bpe", "distilbert/native", "tokenizer"),
    ] == found
    assert factor_between(swapped, base) is None


def test_a_learning_rate_of_its_own_is_part_of_choosing_a_model_but_a_factor_within_one():
    assert "model" == factor_between(arm(SMALL, learning_rate=1e-3), arm())
    assert "recipe" == factor_between(arm(learning_rate=1e-3), arm())
    assert factor_between(arm(SMALL, epochs=1), arm()) is None


def pulled(*levers, **recipe):
    return replace(arm(**recipe), levers=levers)


def test_levers_are_held_against_what_they_were_pulled_on():
    stack = ("grouped-padding", "bf16")
    arms = [
        arm(), arm(SMALL), pulled("bf16"), pulled("no-dropout"), pulled("grouped-padding"), pulled(*stack),
        pulled(*stack, "no-dropout"),
    ]  # fmt: skip
    whole = replace(study(*arms), levers=("bf16", "no-dropout"), stack=stack)

    found = {(a.id, b.id, factor) for a, b, factor in contrasts(whole)}

    base = "bert/native"
    assert {
        ("distilbert/native", base, "model"),
        (f"{base}+bf16", base, "lever"),
        (f"{base}+no-dropout", base, "lever"),
        (f"{base}+grouped-padding", base, "lever"),
        (f"{base}+grouped-padding+bf16", base, "lever"),
        (f"{base}+grouped-padding+bf16", f"{base}+grouped-padding", "lever"),
        (f"{base}+grouped-padding+bf16+no-dropout", f"{base}+grouped-padding+bf16", "lever"),
    } == found


def test_an_arm_with_levers_is_no_reference_for_one_without():
    swapped = arm(SMALL, OTHER, epochs=1)
    levered = replace(arm(SMALL, epochs=1), levers=("fewer-epochs=1",))

    assert () == contrasts(study(arm(), swapped, levered))[:-1]


def test_a_lever_brings_its_own_drawbacks_and_the_saving_comes_first():
    base, fast = arm(), pulled("bf16", precision="bf16")
    results = outcome(base, [100, 101, 99], [40, 40, 40]) + outcome(fast, [50, 50.6, 49.4], [40, 40, 40])

    (effect,) = effects(replace(study(base, fast), levers=("bf16",)), results)

    assert ("lever", "not inferior") == (effect.factor, effect.verdict)
    assert "50 % less carbon" == effect.benefits[0]
    assert any("mantissa" in drawback for drawback in effect.drawbacks)


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 3), (1, 5), (5, 2)])
def test_intervals_hold_the_truth_about_nine_times_out_of_ten(comparisons, seeds):
    """Where a percentile bootstrap of two pairs would hold it half of the time at most."""
    rng = random.Random(comparisons * 10 + seeds)
    held = 0
    for _ in range(300):
        groups = [[rng.gauss(0.0, 1.0) for _ in range(seeds)] for _ in range(comparisons)]
        low, _, high = interval(groups[0], Spread.pooled(groups), rng)
        held += low <= 0.0 <= high

    assert 0.84 <= held / 300 <= 0.96


def test_question_noise_widens_the_interval_of_quality():
    base, small = arm(), arm(SMALL)
    few = outcome(base, [100, 101], [50, 50]) + outcome(small, [50, 51], [45, 45])
    noisy = [
        replace(
            r,
            scores={
                "validation": replace(
                    r.scores["validation"],
                    per_question_f1=tuple(0.0 if (i * 7 + len(r.trial.arm.id)) % 3 else 100.0 for i in range(40)),
                )
            },
        )
        for r in few
    ]

    calm, wide = effects(study(base, small), few)[0], effects(study(base, small), noisy)[0]

    assert wide.quality_change.high - wide.quality_change.low > calm.quality_change.high - calm.quality_change.low


def estimate(low, high):
    return Estimate(low, (low + high) / 2, high, "modelled")


@pytest.mark.parametrize(
    ("ratio", "change", "verdict"),
    [
        ((0.4, 0.6), (0.1, 2.0), "better"),
        ((0.4, 0.6), (-0.9, 0.5), "not inferior"),
        ((0.4, 0.6), (-1.5, 0.5), "undecided"),
        ((0.4, 0.6), (-5.0, -2.0), "worse"),
        ((0.9, 1.1), (1.0, 2.0), "undecided"),
        ((1.1, 1.3), (-0.5, 0.5), "worse"),
        ((1.1, 1.3), (2.0, 4.0), "undecided"),
    ],
)
def test_verdicts_follow_from_the_intervals(ratio, change, verdict):
    assert verdict == judge(estimate(*ratio), estimate(*change), 1.0, pairs=3)[0]


def test_the_front_holds_what_nothing_beats():
    points = pareto({"cheap": (1.0, 10.0), "good": (5.0, 50.0), "beaten": (6.0, 40.0), "same": (5.0, 50.0)})

    assert {"cheap": True, "good": True, "same": True, "beaten": False} == {p.arm: p.on_front for p in points}


def test_a_device_whose_projection_is_surely_below_is_not_inferior_and_has_drawbacks():
    (effect,) = device_effects({"t4": [(10.0, 1.5)] * 2, "a100": [(4.0, 1.5)] * 2}, "t4")

    assert ("not inferior", "device") == (effect.verdict, effect.factor)
    assert math.isclose(0.4, effect.carbon_ratio.mid)
    assert effect.drawbacks
    assert "assumed" == effect.quality_change.basis
