"""Study files: read, or refused with every problem, its line and its field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lowcarb.core.check import Facts, SplitFacts, check
from lowcarb.core.levers import Able
from lowcarb.errors import StudyError
from lowcarb.lab.studyfile import read_study

STUDIES = Path(__file__).parents[2] / "studies"
GOOD = """\
id: s
question: which?
data: {train: t.json, validation: v.json, adversarial: a.json}
models:
  - {id: bert, family: bert, source: "embedded:minilm"}
  - {id: small, family: distilbert, source: "embedded:minilm", layers: [0, 2]}
tokenizers: [{id: native}, {id: bpe, kind: bpe, vocabulary: 4000}]
seeds: [0, 1]
"""


def written(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["mini", "paper"])
def test_the_studies_of_the_repository_are_valid_and_pass_the_linter(name):
    study = read_study(STUDIES / f"{name}.yaml")

    assert name == study.id
    assert [] == [finding for finding in check(study) if finding.level == "error"]


def test_without_arms_every_model_meets_every_tokenizer(tmp_path):
    study = read_study(written(tmp_path, GOOD))

    assert ["bert/native", "bert/bpe", "small/native", "small/bpe"] == [arm.id for arm in study.arms]
    assert "bert/native" == study.baseline


def test_all_problems_come_at_once_with_their_lines(tmp_path):
    bad = GOOD.replace("bert, family: bert", "bert, family: brt").replace("seeds: [0, 1]", "seeds: [x]\nbudgte: 3")
    bad += "recipe: {epochs: -1}\n"

    with pytest.raises(StudyError) as caught:
        read_study(written(tmp_path, bad))

    problems = "\n".join(caught.value.problems)
    assert 4 == len(caught.value.problems)
    assert "line 5, models.0.family" in problems
    assert "line 8, seeds.0" in problems
    assert "line 9, budgte: unknown key" in problems
    assert "line 10, recipe.epochs" in problems


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("", "arms: [bert/native, bart/native]\n"), "no such arm"),
        (("", "baseline: bert/xyz\n"), "is none of the arms"),
        (("", "recipe: {length: 4096}\n"), "512 positions"),
        (("", "recipe: {length: 64, stride: 64}\n"), "not below the length"),
        (("", "budget: {carbon_g: -1}\n"), "greater than 0"),
        (("", "margin: 0\n"), "greater than 0"),
        (("seeds: [0, 1]\n", ""), "seeds: is missing"),
        (("vocabulary: 4000", "vocabulary: 3"), "vocabulary"),
        ((", vocabulary: 4000", ""), "needs a size"),
        (("id: small", "id: bert"), "twice"),
        (("layers: [0, 2]", "layers: []"), "by number"),
        (('"embedded:minilm", layers: [0, 2]', "scratch, shape: {layers: 1, width: 10, heads: 3, ff: 4}"), "divide"),
        (("id: s\n", "id: 'A b'\n"), "pattern"),
    ],
)
def test_each_impossible_setting_is_named(tmp_path, change, said):
    old, new = change

    with pytest.raises(StudyError, match=said):
        read_study(written(tmp_path, GOOD.replace(old, new) if old else GOOD + new))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [1\n", "\x00"])
def test_what_is_no_study_is_refused(tmp_path, text):
    with pytest.raises(StudyError):
        read_study(written(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(StudyError, match="cannot be read"):
        read_study(tmp_path / "none.yaml")


def test_overrides_reach_lists_by_id_and_by_number(tmp_path):
    study = read_study(
        written(tmp_path, GOOD),
        ["recipe.max_steps=7", "models.bert.source=/m", "tokenizers.1.vocabulary=5000", "seeds.0=9"],
    )

    assert 7 == study.arms[0].recipe.max_steps
    assert "/m" == study.arm("bert/native").model.source
    assert 5000 == study.arm("bert/bpe").tokenizer.vocabulary
    assert (9, 1) == study.seeds


@pytest.mark.parametrize("override", ["nonsense", "models.brt.source=x", "seeds.5=1"])
def test_a_bad_override_is_named(tmp_path, override):
    with pytest.raises(StudyError, match="--set"):
        read_study(written(tmp_path, GOOD), [override])


LEVERS = "levers: [grouped-padding, bf16, packing, freeze-layers=3]\nstack: [bf16, grouped-padding]\n"


def test_levers_are_pulled_on_the_baseline_alone_and_on_top_of_the_stack(tmp_path):
    study = read_study(written(tmp_path, GOOD + LEVERS))

    assert [
        "bert/native+grouped-padding",
        "bert/native+bf16",
        "bert/native+packing",
        "bert/native+freeze-layers=3",
        "bert/native+grouped-padding+bf16",
        "bert/native+freeze-layers=3+grouped-padding+bf16",
    ] == [arm.id for arm in study.arms if arm.levers]
    assert ("grouped-padding", "bf16") == study.stack
    assert "grouped" == study.arm("bert/native+grouped-padding").recipe.padding
    assert {study.arm("bert/native").inference} == {arm.inference for arm in study.arms}


def test_a_study_without_levers_is_what_it_was(tmp_path):
    study = read_study(written(tmp_path, GOOD))

    assert ((), (), 4) == (study.levers, study.stack, len(study.arms))


def test_wrong_levers_come_all_at_once_with_their_lines(tmp_path):
    levers = "levers:\n  - bf61\n  - fp8\n  - lora:rank=0\n  - bf16\n  - bf16\nstack: [packing, grouped-padding]\n"

    with pytest.raises(StudyError) as caught:
        read_study(written(tmp_path, GOOD + levers))

    assert [(place, said) for place, said in (
        ("line 10, levers.0", "did you mean bf16"),
        ("line 11, levers.1", "does not compute in fp8"),
        ("line 12, levers.2", "at least 1"),
        ("line 14, levers.4", "twice"),
        ("line 15, stack", "grouped-padding conflicts with packing"),
    ) if not any(place in problem and said in problem for problem in caught.value.problems)] == []  # fmt: skip
    assert 5 == len(caught.value.problems)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("levers: bf16\n", "list"),
        ("levers: [1]\n", "string"),
        ("levers: [workers]\n", "dataloader_num_workers"),
        ("levers: [dynamic-padding]\n", "pads less"),
        ("recipe: {precision: fp8}\n", "precision"),
    ],
)
def test_levers_that_a_study_cannot_try_are_named(tmp_path, more, said):
    with pytest.raises(StudyError, match=said):
        read_study(written(tmp_path, GOOD + more))


def test_what_the_device_cannot_do_is_refused_before_training(tmp_path):
    plain = Able(frozenset({"fp32"}), adapters=False)
    path = written(tmp_path, GOOD + "levers: [bf16, lora, no-dropout]\n")

    findings = check(read_study(path), Facts(able=plain))
    with pytest.raises(StudyError) as caught:
        read_study(path, able=plain)

    assert ["levers.bf16", "levers.lora=8"] == [f.where for f in findings if f.check == "lever-refused"]
    assert 2 == len(caught.value.problems)
    assert "line 9, levers.0" in caught.value.problems[0]


def test_limits_on_a_gpu_are_pulled_where_they_may_be_set(tmp_path):
    study = read_study(written(tmp_path, GOOD + "levers: [power-cap]\n"))
    gpu = Able(frozenset({"fp32"}), gpu=True)

    def refused(able):
        return [f.where for f in check(study, Facts(able=able)) if f.check == "lever-refused"]

    assert ("power-cap=0.7",) == study.arms[-1].levers
    assert ["levers.power-cap=0.7"] == refused(gpu) == refused(Able(frozenset({"fp32"}), power_limit=True))
    assert [] == refused(replace(gpu, power_limit=True))


def test_a_lever_against_the_stack_is_a_note_and_its_other_training_no_trap(tmp_path):
    study = read_study(written(tmp_path, GOOD + LEVERS.replace("freeze-layers=3", "batch=4")))

    checks = {finding.check: finding for finding in check(study)}

    assert ("note", "levers.packing") == (checks["lever-conflict"].level, checks["lever-conflict"].where)
    assert "unequal-training" not in checks


def found(path):
    return {finding.check for finding in check(read_study(path)) if finding.level == "error"}


TRAPS = Path(__file__).parents[1] / "traps"


OF_DATA = ("leakage", "scoring-on-training-rows", "no-op-swap")
"""Traps that only data and tokenizers give away: tests/lab/test_traps.py."""


@pytest.mark.parametrize(
    "trap", [path for path in sorted(TRAPS.glob("*.yaml")) if path.stem not in OF_DATA], ids=lambda path: path.stem
)
def test_each_trap_is_caught_by_the_check_of_its_name(trap):
    """The name of a fixture says which checks it must set off; `+` parts them."""
    levels = {finding.check: finding.level for finding in check(read_study(trap))}

    assert set(trap.stem.split("+")) <= set(levels)


def test_the_notebook_behind_the_paper_is_refused_for_what_it_did():
    assert {"outside-the-meter", "learning-rate-zero"} <= found(TRAPS / "outside-the-meter+learning-rate-zero.yaml")


def test_shared_paragraphs_and_questions_are_told_apart():
    study = read_study(STUDIES / "mini.yaml")
    train = SplitFacts(frozenset("ab"), frozenset("xy"))
    facts = Facts({"train": train, "validation": SplitFacts(frozenset("bc"), frozenset("z")), "adversarial": train})

    checks = [(f.check, f.where) for f in check(study, facts) if f.level == "error"]

    assert ("leakage", "data.validation") in checks
    assert ("scoring-on-training-rows", "data.adversarial") in checks
    assert ("scoring-on-training-rows", "data.validation") not in checks


def test_a_swap_to_the_same_vocabulary_is_called_a_no_op():
    study = read_study(STUDIES / "mini.yaml")
    facts = Facts(same_vocabulary={"distilbert/bpe": True})

    assert [("no-op-swap", "distilbert/bpe")] == [
        (f.check, f.where) for f in check(study, facts) if f.check == "no-op-swap"
    ]
