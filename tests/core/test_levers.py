"""Levers: pure functions from a trial to a trial, refused by name where they cannot be pulled."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.design import lever_axis
from lowcarb.core.levers import LEVERS, Able, Pulled, clash, parse_pulled, pull
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, Recipe, Shape, TokenizerChoice, Trial
from lowcarb.errors import SettingError

ALL = Able(frozenset({"fp32", "bf16", "fp16", "fp8"}), gpu=True, power_limit=True, keep_memory=True)
BARE = Able(frozenset({"fp32"}), compile=False, adapters=False)
MODEL = ModelChoice("bert", "bert", "embedded:minilm")
NATIVE = TokenizerChoice("native")
PAPER = Recipe(padding="max", attention="eager")
"""The recipe that leaves the most to be done."""


def trial(model=MODEL, tokenizer=NATIVE, **recipe):
    arm = Arm(model, tokenizer, replace(PAPER, **recipe), Inference())
    return Trial("s", arm, DataChoice("t", "v", "a"), "digest", 0, "machine")


def options(lever):
    """A lever at each usual value of each setting, the others at their defaults."""
    yield Pulled(lever.id, lever.completed({}))
    for name, values in lever.settings.items():
        for value in values[1:]:
            yield Pulled(lever.id, lever.completed({name: value}))


def pullable(able=ALL):
    """Every usual form of every lever that can be pulled on the paper's recipe."""
    for lever in LEVERS.values():
        if lever.refusal(trial(), able) is None:
            for option in options(lever):
                try:
                    pull(trial(), [option], able)
                except SettingError:
                    continue
                yield option


PULLABLE = tuple(pullable())
stacks = st.lists(st.sampled_from(PULLABLE), unique_by=lambda one: one.lever, max_size=8).filter(
    lambda stack: clash(stack) is None
)


def attempt(stack, of=None):
    """The trial, or what the levers have to say against it."""
    try:
        return pull(of or trial(), stack, ALL)
    except SettingError as error:
        return error.field


def test_the_library_has_what_was_promised():
    wanted = (
        "grouped-padding packing trim-windows bf16 fp16 fp8 fused-optimizer checkpointing batch accumulation "
        "learning-rate schedule fewer-epochs early-stopping stop-by-gain keep-memory no-dropout "
        "freeze-embeddings freeze-layers lora fewer-layers "
        "distill data-share smaller-vocabulary compile attention workers power-cap clock-lock "
        "other-device greener-site greener-hour"
    )
    elsewhere = {"workers", "other-device", "greener-site", "greener-hour"}

    assert set(wanted.split()) <= set(LEVERS)
    assert set(LEVERS) - elsewhere == {one.lever for one in PULLABLE} == set(CHANGES)


@pytest.mark.parametrize("lever", LEVERS.values(), ids=list(LEVERS))
def test_each_lever_says_what_speaks_for_and_against_it(lever):
    claim = lever.claim

    assert all((lever.title, claim.where, lever.benefits, lever.drawbacks, *lever.benefits, *lever.drawbacks))
    assert "assumed" == claim.energy_ratio.basis
    assert claim.sources or re.match("counted|nothing measured|the energy is the same|depends", claim.where)
    assert all(re.match(r"arXiv:\d{4}\.\d{5}$|lowcarb's own", source) for source in claim.sources)


@pytest.mark.parametrize("lever", LEVERS.values(), ids=list(LEVERS))
def test_conflicts_are_with_levers_that_there_are_and_go_both_ways(lever):
    assert all(lever.id in LEVERS[other].conflicts and other != lever.id for other in lever.conflicts)


def test_a_lever_that_leaves_the_arithmetic_alone_claims_no_sure_change_of_quality():
    for lever in LEVERS.values():
        if lever.exact:
            assert lever.claim.quality_change.low <= 0.0 <= lever.claim.quality_change.high


@given(stacks, st.randoms())
def test_the_order_of_pulling_does_not_matter(stack, rng):
    shuffled = rng.sample(stack, len(stack))

    assert attempt(stack) == attempt(shuffled)


@given(stacks)
def test_pulling_one_after_the_other_is_pulling_all_at_once(stack):
    at_once = attempt(stack)
    current = trial()
    for one in stack:
        current = attempt([one], current)
        if isinstance(current, str):
            assert isinstance(at_once, str)
            return

    assert at_once == current


def test_pulling_nothing_changes_nothing():
    assert trial() == pull(trial(), [], BARE)


CHANGES = {
    "dynamic-padding": {"padding"}, "grouped-padding": {"padding"}, "split-padding": {"padding"},
    "packing": {"padding"}, "bf16": {"precision"},
    "trim-windows": {"length", "stride", "answer_windows"}, "fp16": {"precision"}, "fp8": {"precision"},
    "fused-optimizer": {"fused"}, "checkpointing": {"checkpointing"}, "batch": {"batch"},
    "accumulation": {"accumulation"}, "learning-rate": {"learning_rate"}, "schedule": {"schedule", "warmup"},
    "fewer-epochs": {"epochs"}, "early-stopping": {"patience"}, "no-dropout": {"dropout"},
    "freeze-embeddings": {"frozen_embeddings"}, "freeze-layers": {"frozen_layers"}, "lora": {"lora_rank"},
    "stop-by-gain": {"least_gain"}, "keep-memory": {"keep_memory"},
    "fewer-layers": set(), "distill": {"teacher"}, "data-share": {"data_share", "selection"},
    "smaller-vocabulary": set(), "compile": {"compile"}, "attention": {"attention"}, "power-cap": set(),
    "clock-lock": set(),
}  # fmt: skip


@pytest.mark.parametrize("option", PULLABLE, ids=str)
def test_a_lever_changes_only_what_it_says(option):
    before, after = trial(), pull(trial(), [option], ALL)

    old, new = before.arm.recipe, after.arm.recipe
    changed = {f.name for f in fields(old) if getattr(old, f.name) != getattr(new, f.name)}
    assert changed <= CHANGES[option.lever]
    assert before.arm.inference == after.arm.inference
    assert (before.arm.model == after.arm.model) == (option.lever != "fewer-layers")
    assert (before.arm.tokenizer == after.arm.tokenizer) == (option.lever != "smaller-vocabulary")
    assert before == replace(after, levers=(), arm=before.arm)
    assert (str(option),) == after.levers == after.arm.levers


@given(stacks)
def test_the_way_answers_are_read_out_never_changes(stack):
    found = attempt(stack)

    assert isinstance(found, str) or trial().arm.inference == found.arm.inference


@given(st.sampled_from([option for lever in LEVERS.values() for option in options(lever)]))
def test_what_was_pulled_reads_back_as_it_is_written(option):
    assert option == parse_pulled(str(option))


@given(st.floats(1e-7, 0.9), st.sampled_from(["random", "diverse", "deduplicated", "loss"]))
def test_any_setting_reads_back_as_the_very_same_number(share, selection):
    option = Pulled("data-share", (("share", share), ("selection", selection)))

    assert option == parse_pulled(str(option))


@pytest.mark.parametrize(
    ("text", "pulled", "written"),
    [
        ("bf16", Pulled("bf16"), "bf16"),
        ("freeze-layers=3", Pulled("freeze-layers", (("layers", 3),)), "freeze-layers=3"),
        ("freeze-layers", Pulled("freeze-layers", (("layers", 1),)), "freeze-layers=1"),
        ("lora:rank=8", Pulled("lora", (("rank", 8),)), "lora=8"),
        ("learning-rate=2e-4", Pulled("learning-rate", (("rate", 2e-4),)), "learning-rate=0.0002"),
        ("fewer-epochs=1", Pulled("fewer-epochs", (("epochs", 1.0),)), "fewer-epochs=1"),
        ("data-share=0.3", Pulled("data-share", (("share", 0.3), ("selection", "random"))), "data-share=0.3"),
        ("data-share:selection=loss", Pulled("data-share", (("share", 0.5), ("selection", "loss"))),
         "data-share:share=0.5,selection=loss"),
    ],
)  # fmt: skip
def test_levers_are_written_as_people_write_them(text, pulled, written):
    assert pulled == parse_pulled(text)
    assert written == str(pulled)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bf61", "did you mean bf16"),
        ("freeze_layers=3", "freeze-layers"),
        ("", "a lever's id"),
        ("lora:", "a lever's id"),
        ("bf16=3", "no settings"),
        ("lora:rnk=3", "a setting of lora: rank"),
        ("lora=x", "a whole number"),
        ("lora=1.5", "a whole number"),
        ("batch=1e999", "a whole number"),
        ("learning-rate=fast", "a number"),
        ("lora:rank=8,rank=4", "each once"),
        ("lora:rank", "setting=value"),
    ],
)
def test_what_is_no_lever_is_refused_with_what_is_near(text, said):
    with pytest.raises(SettingError, match=re.escape(said)):
        parse_pulled(text)


@given(st.text(max_size=30))
def test_any_text_is_a_lever_or_refused(text):
    try:
        pulled = parse_pulled(text)
    except SettingError:
        return

    assert pulled.lever in LEVERS


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["packing", "grouped-padding"], "grouped-padding conflicts with packing"),
        (["bf16", "fp16"], "conflicts with"),
        (["lora", "freeze-layers=2"], "conflicts with"),
        (["freeze-layers=1", "freeze-layers=2"], "freeze-layers is there twice"),
        (["freeze-layers=2", "fewer-layers=0-2"], "freeze"),
        (["fewer-epochs=3"], "this from before|fewer than"),
        (["fewer-epochs=5"], "fewer than the recipe's 3"),
        (["batch=16"], "this from before"),
        (["batch=0"], "at least 1"),
        (["trim-windows=384"], "below the recipe's 384"),
        (["data-share=1.0"], "below 1"),
        (["data-share=1.5"], "at most 1"),
        (["data-share:selection=best"], "diverse"),
        (["fewer-layers=2-0"], "lowest first"),
        (["fewer-layers=a"], "hyphens"),
        (["attention=flash"], "sdpa"),
        (["schedule=cosine"], "constant"),
        (["workers"], "dataloader_num_workers"),
        (["other-device"], "lowcarb forecast"),
        (["greener-site"], "lowcarb study show"),
        (["greener-hour"], "no hour"),
    ],
)
def test_each_impossible_pull_is_named(texts, said):
    with pytest.raises(SettingError, match=said):
        pull(trial(), [parse_pulled(text) for text in texts], ALL)


def test_the_levers_of_a_trial_count_when_more_are_pulled():
    once = pull(trial(), [parse_pulled("packing")], ALL)

    with pytest.raises(SettingError, match="conflicts with packing"):
        pull(once, [parse_pulled("grouped-padding")], ALL)
    with pytest.raises(SettingError, match="there twice"):
        pull(once, [parse_pulled("packing")], ALL)


@pytest.mark.parametrize("name", ["bf16", "fp16", "fp8", "compile", "lora", "power-cap", "clock-lock"])
def test_what_the_device_cannot_do_is_refused(name):
    lever = LEVERS[name]

    assert lever.refusal(trial(), BARE)
    assert lever.refusal(trial(), ALL) is None
    with pytest.raises(SettingError, match=name):
        pull(trial(), [parse_pulled(name)], BARE)


@pytest.mark.parametrize(
    ("of", "name"),
    [
        (trial(ModelChoice("t5", "t5", "scratch", shape=Shape(2, 64, 4, 128))), "trim-windows"),
        (trial(ModelChoice("t5", "t5", "scratch", shape=Shape(2, 64, 4, 128))), "fewer-layers"),
        (trial(ModelChoice("t5", "t5", "scratch", shape=Shape(2, 64, 4, 128))), "lora"),
        (trial(ModelChoice("t5", "t5", "scratch", shape=Shape(2, 64, 4, 128))), "freeze-embeddings"),
        (trial(ModelChoice("t5", "t5", "scratch", shape=Shape(2, 64, 4, 128))), "freeze-layers"),
        (trial(ModelChoice("t5", "t5", "scratch", shape=Shape(2, 64, 4, 128))), "distill"),
        (trial(ModelChoice("t5", "t5", "t5-small")), "distill"),
        (trial(ModelChoice("t5", "t5", "t5-small")), "packing"),
        (trial(tokenizer=TokenizerChoice("bpe", "bpe", vocabulary=8000)), "smaller-vocabulary"),
        (trial(tokenizer=TokenizerChoice("bpe", "bpe", vocabulary=8000)), "freeze-embeddings"),
        (trial(frozen_embeddings=True), "lora"),
        (trial(lora_rank=4), "freeze-layers"),
        (trial(padding="packed"), "grouped-padding"),
        (trial(padding="grouped"), "dynamic-padding"),
        (trial(ModelChoice("small", "bert", "embedded:minilm", layers=(0, 2))), "freeze-layers=2"),
        (trial(ModelChoice("small", "bert", "embedded:minilm", layers=(0, 2))), "fewer-layers=0-1"),
    ],
)
def test_what_the_trial_cannot_stand_is_refused(of, name):
    with pytest.raises(SettingError):
        pull(of, [parse_pulled(name)], ALL)


def test_trimming_leaves_windows_that_overlap_by_half_at_most():
    recipe = pull(trial(), [parse_pulled("trim-windows=128")], ALL).arm.recipe

    assert (128, 64, True) == (recipe.length, recipe.stride, recipe.answer_windows)


def test_a_student_learns_from_its_own_whole_model():
    student = pull(trial(), [parse_pulled("distill"), parse_pulled("fewer-layers=0-2")], ALL).arm

    assert ("bert", (0, 2)) == (student.recipe.teacher, student.model.layers)


def test_the_key_of_a_trial_without_levers_does_not_know_of_them():
    """Trials in ledgers keep their keys: written down when arms had no levers."""
    plain = trial()
    as_it_was = Trial("s", plain.arm, plain.data, plain.data_digest, 0, "machine")

    assert as_it_was.key == plain.key == replace(plain, arm=replace(plain.arm, levers=("bf16",))).key
    assert plain.key != pull(plain, [parse_pulled("power-cap")], ALL).key


LEAST = ["grouped-padding", "bf16", "no-dropout", "freeze-layers=3"]


def test_the_axis_makes_each_lever_alone_the_stack_and_each_on_top():
    axis = lever_axis(trial().arm, LEAST, ["bf16", "grouped-padding"], ALL)

    assert () == axis.problems
    assert ("grouped-padding", "bf16") == axis.stack
    assert {
        ("grouped-padding",), ("bf16",), ("no-dropout",), ("freeze-layers=3",), ("grouped-padding", "bf16"),
        ("grouped-padding", "bf16", "no-dropout"), ("freeze-layers=3", "grouped-padding", "bf16"),
    } == {arm.levers for arm in axis.arms}  # fmt: skip


def test_a_lever_of_a_larger_stack_is_told_from_the_stack_without_it():
    axis = lever_axis(trial().arm, ["bf16"], ["grouped-padding", "bf16", "fused-optimizer"], ALL)

    assert {("bf16",), ("grouped-padding", "fused-optimizer"), ("grouped-padding", "bf16", "fused-optimizer")} == {
        arm.levers for arm in axis.arms
    }


def test_a_lever_against_the_stack_is_tried_alone():
    axis = lever_axis(trial().arm, ["packing"], ["grouped-padding"], ALL)

    assert () == axis.problems
    assert {("packing",), ("grouped-padding",)} == {arm.levers for arm in axis.arms}


@pytest.mark.parametrize(
    ("levers", "stack", "where"),
    [
        (["bf61"], [], ("levers", 0)),
        (["bf16", "bf16"], [], ("levers", 1)),
        (["fp16"], [], ("levers", 0)),
        (["bf16"], ["grouped-padding", "packing"], ("stack", None)),
        (["bf16"], ["grouped-padding", "lora:rank=0"], ("stack", 1)),
        (["bf16"], ["bf16", "bf16"], ("stack", None)),
    ],
)
def test_each_problem_of_the_axis_has_its_place(levers, stack, where):
    axis = lever_axis(trial().arm, levers, stack, Able(frozenset({"fp32", "bf16"})))

    assert [where] == [(problem.section, problem.index) for problem in axis.problems]


def test_any_two_levers_clash_the_same_in_both_orders():
    assert all((clash((a, b)) is None) == (clash((b, a)) is None) for a, b in combinations(PULLABLE, 2))
