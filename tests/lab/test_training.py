"""The lab's own parts: windows, order, schedules, swaps, answers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the lab extra is not installed")

from lowcarb.core.check import TrainedFacts, check_trained  # noqa: E402
from lowcarb.core.trial import ModelChoice, Recipe, Shape, TokenizerChoice  # noqa: E402
from lowcarb.lab.answer import _best_span  # noqa: E402
from lowcarb.lab.base import Diverged  # noqa: E402
from lowcarb.lab.data import load_questions  # noqa: E402
from lowcarb.lab.features import Window, epoch_batches, extractive_windows, padded  # noqa: E402
from lowcarb.lab.models import build_model  # noqa: E402
from lowcarb.lab.similarity import minilm_similarity  # noqa: E402
from lowcarb.lab.tokenizers import (  # noqa: E402
    build_tokenizer,
    fertility,
    native_tokenizer,
    remapped,
    same_vocabulary,
)
from lowcarb.lab.train import StepCount, planned_steps, rate_at, train  # noqa: E402

QUESTIONS = load_questions("embedded:jouleqa/validation")[:24]
TEXT = [q.paragraph for q in load_questions("embedded:jouleqa/train")[::8]]
BERT = ModelChoice("bert", "bert", "embedded:minilm")
TINY = ModelChoice("tiny", "bert", "scratch", shape=Shape(1, 16, 2, 32))
NATIVE = native_tokenizer(BERT, TEXT)
SWAPS = [TokenizerChoice(kind, kind, vocabulary=1500) for kind in ("wordpiece", "bpe", "unigram")]


@pytest.mark.parametrize("choice", [TokenizerChoice("native"), *SWAPS], ids=lambda choice: choice.id)
def test_a_window_points_at_the_answer_whatever_the_tokenizer(choice):
    tokenizer = build_tokenizer(choice, BERT, TEXT)

    windows = extractive_windows(QUESTIONS, tokenizer, length=384, stride=64)

    for window in windows:
        question = QUESTIONS[window.question]
        first, last = window.offsets[window.start], window.offsets[window.end]
        found = question.paragraph[first[0] : last[1]].strip()
        assert question.answers[0] in found
        assert len(found) <= len(question.answers[0]) + 12


def test_a_long_paragraph_gives_overlapping_windows_of_which_one_holds_the_answer():
    windows = extractive_windows(QUESTIONS, NATIVE, length=64, stride=16)

    assert len(windows) > len(QUESTIONS)
    assert all(len(window.ids) <= 64 for window in windows)
    held = {window.question for window in windows if window.end > 0}
    assert len(held) == len(QUESTIONS)


@pytest.mark.parametrize("padding", ["max", "longest", "grouped"])
def test_two_tokenizers_see_the_questions_in_one_order(padding):
    recipe = Recipe(batch=4, padding=padding, length=384)
    orders = []
    for choice in (TokenizerChoice("native"), SWAPS[1]):
        tokenizer = build_tokenizer(choice, BERT, TEXT)
        windows = extractive_windows(QUESTIONS, tokenizer, 384, 64)
        by_ids = {tuple(w.ids): w.question for w in windows}
        batches = epoch_batches(windows, QUESTIONS, recipe, tokenizer.pad_token_id, seed=3, epoch=0)
        rows = [
            row[: int(mask.sum())].tolist()
            for parts in batches
            for batch in parts
            for row, mask in zip(batch.tensors["input_ids"], batch.tensors["attention_mask"], strict=True)
        ]
        orders.append([by_ids[tuple(row)] for row in rows])

    assert orders[0] == orders[1]
    assert sorted(orders[0]) == list(range(len(QUESTIONS)))


def test_grouping_by_length_pads_less_than_random_batches():
    windows = extractive_windows(QUESTIONS, NATIVE, 384, 64)

    def seen(padding):
        recipe = Recipe(batch=4, padding=padding)
        batches = epoch_batches(windows, QUESTIONS, recipe, 0, seed=0, epoch=0)
        return sum(part.size * part.length for parts in batches for part in parts)

    assert seen("grouped") < seen("longest") < seen("max")


@pytest.mark.parametrize("choice", SWAPS, ids=lambda choice: choice.id)
def test_a_swapped_vocabulary_meets_no_foreign_row(choice):
    tokenizer = build_tokenizer(choice, BERT, TEXT)
    rows = torch.arange(len(NATIVE) * 2, dtype=torch.float32).reshape(-1, 2)

    new, remap = remapped(rows, NATIVE, tokenizer)

    assert (len(tokenizer), 2) == tuple(new.shape)
    assert 1.0 == pytest.approx(remap.copied + remap.averaged + remap.fresh)
    assert remap.copied > 0.5
    for name in ("cls_token", "sep_token", "pad_token", "unk_token"):
        old_id, new_id = (t.convert_tokens_to_ids(getattr(t, name)) for t in (NATIVE, tokenizer))
        assert torch.equal(new[new_id], rows[old_id])
    (old_id,), (new_id,) = (t(" energy", add_special_tokens=False)["input_ids"] for t in (NATIVE, tokenizer))
    assert torch.equal(new[new_id], rows[old_id])


def test_a_tokenizer_swapped_for_itself_is_the_same_vocabulary():
    assert same_vocabulary(NATIVE, native_tokenizer(BERT, TEXT))
    assert not same_vocabulary(NATIVE, build_tokenizer(SWAPS[0], BERT, TEXT))


def test_a_smaller_vocabulary_needs_more_tokens_a_word():
    few, many = (build_tokenizer(TokenizerChoice("w", "wordpiece", vocabulary=v), BERT, TEXT) for v in (500, 3000))

    assert fertility(few, TEXT) > fertility(many, TEXT) > 1.0


def test_layers_that_are_left_out_are_gone():
    small = ModelChoice("distilbert", "distilbert", "embedded:minilm", layers=(0, 2, 4))

    whole, part = (build_model(m, NATIVE, Recipe(dropout=0.0), TEXT, seed=0) for m in (BERT, small))

    assert (6, 3) == (whole.spec.layers, part.spec.layers)
    assert part.parameters < whole.parameters
    kept = whole.model.bert.encoder.layer[2].intermediate.dense.weight
    assert torch.equal(kept, part.model.distilbert.transformer.layer[1].ffn.lin1.weight)


def test_the_seed_draws_the_new_weights():
    heads = [build_model(BERT, NATIVE, Recipe(), TEXT, seed=seed).model.qa_outputs.weight for seed in (0, 0, 1)]

    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


@pytest.mark.parametrize(("step", "expected"), [(0, 0.1), (9, 1.0), (10, 1.0), (55, 0.5), (99, 1 / 90), (100, 0.0)])
def test_the_linear_schedule_rises_and_falls_to_zero_at_the_end(step, expected):
    assert expected == pytest.approx(rate_at(step, 100, Recipe(warmup=0.1), steps_per_epoch=50))


def test_a_schedule_that_ends_early_leaves_a_rate_of_zero():
    assert 0.0 == rate_at(60, 100, Recipe(decay_epochs=1.0), steps_per_epoch=50)


def test_max_steps_bounds_the_training():
    assert 300 == planned_steps(100, Recipe(epochs=3))
    assert 42 == planned_steps(100, Recipe(epochs=3, max_steps=42))


def batches_of(windows):
    while True:
        yield (padded(windows[:4], NATIVE.pad_token_id),)


def trained(recipe, *, steps=4, poison=False):
    tokenizer = NATIVE
    built = build_model(TINY, tokenizer, recipe, TEXT, seed=0)
    if poison:
        with torch.no_grad():
            built.model.qa_outputs.weight.fill_(math.nan)
    windows = extractive_windows(QUESTIONS, tokenizer, 128, 32)
    told = []
    torch.manual_seed(0)
    result = train(
        built.model, built.spec, batches_of(windows), recipe, steps=steps, steps_per_epoch=2, on_step=told.append
    )
    return result, told, built.model


def test_training_counts_what_it_does():
    result, told, _ = trained(Recipe(batch=4, learning_rate=1e-3))

    assert (4, 0, 16) == (result.steps, result.zero_rate_steps, result.sequences)
    assert 0 < result.real_tokens <= result.tokens
    assert result.cost.flops > 0
    assert [1, 2, 3, 4] == [step.step for step in told]


def test_a_step_outside_the_meter_is_counted_and_found():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    weight.grad = torch.ones(1)

    with StepCount() as count:
        optimizer.step()
        with count.metering():
            optimizer.step()
            optimizer.step()
    optimizer.step()
    trained = TrainedFacts("bert/native", 0, count.steps, count.metered, 0)

    assert (3, 2) == (count.steps, count.metered)
    assert ["outside-the-meter"] == [finding.check for finding in check_trained(trained)]


def test_steps_at_a_rate_of_zero_are_found_but_not_the_last_one_of_a_schedule():
    found = [[f.check for f in check_trained(TrainedFacts("a", 0, 9, 9, zero))] for zero in (0, 1, 2)]

    assert [[], [], ["learning-rate-zero"]] == found


def test_the_same_seed_trains_the_same_model():
    models = [trained(Recipe(batch=4, learning_rate=1e-3))[2] for _ in range(2)]

    assert all(torch.equal(a, b) for a, b in zip(*(m.parameters() for m in models), strict=True))


def test_a_loss_that_is_no_number_ends_the_training():
    with pytest.raises(Diverged, match="step 1"):
        trained(Recipe(batch=4), poison=True)


def test_steps_at_a_rate_of_zero_are_counted():
    assert 2 == trained(Recipe(batch=4, decay_epochs=1.0))[0].zero_rate_steps


def test_the_best_span_lies_in_the_paragraph_in_order_and_is_not_too_long():
    paragraph = "one two three"
    window = Window(0, [1, 2, 3, 4, 5], [], [None, (0, 3), (4, 7), (8, 13), None], 0, 0, [])
    start, end = torch.tensor([9.0, 1.0, 5.0, 0.0, 9.0]), torch.tensor([9.0, 6.0, 1.0, 4.0, 9.0])

    assert "two three" == _best_span(window, start, end, paragraph, longest=3)[1]
    assert "one" == _best_span(window, start, end, paragraph, longest=1)[1]


def test_similar_texts_have_similar_embeddings():
    same, near, far = minilm_similarity(["a coal plant"] * 3, ["a coal plant", "a coal-fired power station", "Tuesday"])

    assert same == pytest.approx(1.0, abs=1e-4)
    assert same > near > far


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when its compiler loads
def test_compiled_kernels_come_to_the_same_loss():
    recipe = Recipe(batch=4, dropout=0.0, learning_rate=1e-3)
    losses = [trained(replace(recipe, compile=compiled), steps=2)[0].last_loss for compiled in (False, True)]

    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
