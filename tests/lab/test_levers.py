"""Every field of a recipe does what it says, for each family of models, or is refused by name."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from functools import cache

import pytest

torch = pytest.importorskip("torch", reason="the lab extra is not installed")

from lowcarb.core.hardware import Machine  # noqa: E402
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, Recipe, Shape, TokenizerChoice, Trial  # noqa: E402
from lowcarb.errors import SettingError  # noqa: E402
from lowcarb.lab.data import load_questions  # noqa: E402
from lowcarb.lab.features import Window, epoch_batches, extractive_windows, packed, padded  # noqa: E402
from lowcarb.lab.heap import memory_kept, why_not  # noqa: E402
from lowcarb.lab.looks import Looks, losses_of  # noqa: E402
from lowcarb.lab.loss import batch_loss, inputs_for, span_logits, window_losses  # noqa: E402
from lowcarb.lab.models import build_model, encoder_layers  # noqa: E402
from lowcarb.lab.paste import code  # noqa: E402
from lowcarb.lab.runner import TorchRunner  # noqa: E402
from lowcarb.lab.selection import held_out, selected  # noqa: E402
from lowcarb.lab.support import able_here  # noqa: E402
from lowcarb.lab.tokenizers import native_tokenizer  # noqa: E402
from lowcarb.lab.train import train  # noqa: E402
from lowcarb.ledger.memory import MemoryLedger  # noqa: E402
from lowcarb.sensors.replay import Replay  # noqa: E402
from lowcarb.tracker.track import track  # noqa: E402

QUESTIONS = load_questions("embedded:jouleqa/train")[:48]
TEXT = [q.paragraph for q in QUESTIONS[::4]]
SMALL = Shape(3, 16, 2, 32)
BERT, DISTILBERT, T5 = (ModelChoice(family, family, "scratch", shape=SMALL) for family in ("bert", "distilbert", "t5"))
ENCODERS = pytest.mark.parametrize("choice", [BERT, DISTILBERT], ids=lambda choice: choice.id)
FAMILIES = pytest.mark.parametrize("choice", [BERT, DISTILBERT, T5], ids=lambda choice: choice.id)
DATA = DataChoice(
    "embedded:jouleqa/train", "embedded:jouleqa/validation", "embedded:jouleqa/adversarial",
    train_questions=48, test_questions=6,
)  # fmt: skip
CPU = torch.device("cpu")
FAST = Recipe(batch=4, max_steps=3, learning_rate=1e-3, length=96, stride=24, padding="grouped")


@pytest.fixture(scope="module")
def runner():
    return TorchRunner()


@pytest.fixture
def ran(runner, tmp_path):
    """The facts of a trial with a recipe, really trained, metered and scored."""

    def ran(choice=BERT, seed=0, levers=(), **changes):
        arm = Arm(
            choice, TokenizerChoice("native"), replace(FAST, **changes),
            Inference(length=96, stride=24, answer_tokens=4),
        )  # fmt: skip
        machine = Machine("m", "M", (), 2, 1e9)
        trial = Trial("s", arm, DATA, "digest", seed, "m", threads=1, levers=levers)
        tracker = track(
            "t", site="fra", ledger=MemoryLedger(), home=tmp_path, machine=machine, sensors=[Replay.steady(20.0)]
        )
        with tracker:
            return runner.run(trial, tracker, lambda step: None)

    return ran


@cache
def tokenizer_of(choice):
    return native_tokenizer(choice, TEXT)


def built(choice, recipe=FAST, seed=0):
    return build_model(choice, tokenizer_of(choice), replace(recipe, dropout=0.0), TEXT, seed=seed)


def batch_of(choice, count):
    """A batch for a model of any family: some tokens in, and for T5 some to write."""
    windows = windows_of(choice if choice is not T5 else BERT, count)
    if choice is not T5:
        return padded(windows, 0)
    return padded([replace(w, ids=[n % 50 for n in w.ids], labels=[3, 1]) for w in windows], 0)


def windows_of(choice, count=9):
    return extractive_windows(QUESTIONS, tokenizer_of(choice), 96, 24)[:count]


def trained(choice, batches, recipe, steps):
    """Each batch is one part, or is given as its parts."""
    parted = [one if isinstance(one, tuple) else (one,) for one in batches]
    model = built(choice, recipe)
    train(model.model, model.spec, iter(parted), recipe, steps=steps, steps_per_epoch=steps, on_step=lambda step: None)
    return model.model


@ENCODERS
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_windows_have_the_losses_that_they_have_alone(choice, attention):
    model = built(choice, replace(FAST, attention=attention)).model.eval()
    windows = windows_of(choice)
    together = packed(windows, 0, length=300)

    with torch.no_grad():
        losses = window_losses(model, inputs_for(model, together, CPU), together)
        each = [padded([window], 0) for window in windows]
        alone = [batch_loss(model, None, inputs_for(model, one, CPU), one) for one in each]

    assert together.size < len(windows) == together.windows
    assert torch.allclose(torch.stack(alone), losses, atol=1e-4)


def test_packing_leaves_no_window_out_and_pads_less_than_the_window():
    windows = windows_of(BERT, count=30)

    def epoch(padding):
        recipe = replace(FAST, padding=padding, length=384, batch=8)
        return [part for parts in epoch_batches(windows, QUESTIONS, recipe, 0, seed=0, epoch=0) for part in parts]

    def rows_by_length(batches):
        return sum(b.size * b.length for b in batches)

    batches = epoch("packed")

    assert sum(b.windows for b in batches) == len(windows)
    assert sum(b.real_tokens for b in batches) == sum(len(w.ids) for w in windows)
    assert all(b.length <= 384 for b in batches)
    assert rows_by_length(batches) < rows_by_length(epoch("max")) / 2


def test_two_batches_to_a_step_have_the_gradient_of_one_batch_of_both():
    windows = windows_of(BERT, 6)
    # Padded alike, in parts of unequal size: each window weighs the same all the same.
    parts = [padded(windows[:1], 0, 96), padded(windows[1:], 0, 96)]
    one = trained(BERT, [padded(windows, 0, 96)], FAST, 1)
    two = trained(BERT, parts, replace(FAST, accumulation=2), 1)

    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        assert a.grad is None or torch.allclose(a.grad, b.grad, atol=1e-6)


def test_split_batches_take_the_steps_of_whole_ones_with_less_padding():
    windows = extractive_windows(QUESTIONS, tokenizer_of(BERT), 384, 24)[:12]

    def epoch(padding):
        recipe = replace(FAST, padding=padding, length=384, batch=8)
        return list(epoch_batches(windows, QUESTIONS, recipe, 0, seed=0, epoch=0))

    split, whole = epoch("split"), epoch("max")
    two = [trained(BERT, batches, replace(FAST, dropout=0.0), 1) for batches in (split, whole)]

    assert len(split) == len(whole) == 2
    assert sum(p.size * p.length for b in split for p in b) < sum(p.size * p.length for b in whole for p in b)
    for a, b in zip(two[0].parameters(), two[1].parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        assert a.grad is None or torch.allclose(a.grad, b.grad, atol=1e-5)


def test_grouped_batches_stay_together_where_a_question_has_several_windows():
    # One long paragraph in front: its extra windows must not push the batches behind it out of step.
    windows = [
        *(Window(0, [1] * 90, [0] * 90, [], 0, 0, []) for _ in range(3)),
        *(Window(n, [1] * (10 + n), [0] * (10 + n), [], 0, 0, []) for n in range(1, 40)),
    ]
    questions = [replace(QUESTIONS[0], paragraph="word " * (90 if n == 0 else 10 + n)) for n in range(40)]
    recipe = replace(FAST, padding="grouped", batch=4)

    batches = list(epoch_batches(windows, questions, recipe, 0, seed=0, epoch=0))

    assert sum(part.windows for parts in batches for part in parts) == len(windows)
    spreads = [
        int(mask.max() - mask.min()) for mask in (parts[0].tensors["attention_mask"].sum(1) for parts in batches)
    ]
    assert sum(spread > 4 for spread in spreads) <= 1


@FAMILIES
def test_frozen_layers_do_not_move_and_no_gradient_runs_through_them(choice):
    recipe = replace(FAST, frozen_layers=2)
    model = built(choice, recipe)
    layers = encoder_layers(model.model)
    asks_for_gradient = []
    for layer in layers:
        layer.register_forward_hook(
            lambda module, given, output: asks_for_gradient.append(
                (output[0] if isinstance(output, tuple) else output).requires_grad
            )
        )
    before = copy.deepcopy(list(layers))
    batches = iter([(batch_of(choice, 4),)])
    train(model.model, model.spec, batches, recipe, steps=1, steps_per_epoch=1, on_step=lambda step: None)
    moved = [
        any(not torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True))
        for old, new in zip(before, layers, strict=True)
    ]

    assert [False, False, True] == moved
    assert [False, False, True] == asks_for_gradient


@FAMILIES
def test_frozen_embeddings_do_not_learn_and_the_rest_does(choice):
    recipe = replace(FAST, frozen_embeddings=True)
    model = built(choice, recipe)
    table = model.model.get_input_embeddings().weight
    weight = next(p for name, p in encoder_layers(model.model)[0].named_parameters() if name.endswith("weight"))
    before = table.detach().clone(), weight.detach().clone()
    batches = iter([(batch_of(choice, 4),)])
    train(model.model, model.spec, batches, recipe, steps=1, steps_per_epoch=1, on_step=lambda step: None)

    assert torch.equal(before[0], table)
    assert not torch.equal(before[1], weight)


@FAMILIES
def test_lora_trains_adapters_and_a_new_head_alone(choice):
    model = built(choice, replace(FAST, lora_rank=2)).model
    learning = {name for name, p in model.named_parameters() if p.requires_grad}

    assert learning
    assert all("lora_" in name or "qa_outputs" in name for name in learning)
    assert choice is T5 or any("qa_outputs" in name for name in learning)


@FAMILIES
def test_checkpointing_gives_the_same_gradients(choice):
    batch = batch_of(choice, 3)
    gradients = []
    for on in (False, True):
        model = built(choice, replace(FAST, checkpointing=on)).model.train()
        batch_loss(model, None, inputs_for(model, batch, CPU), batch).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])

    assert gradients[0]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


@ENCODERS
@pytest.mark.parametrize("padding", ["longest", "packed"])
def test_a_student_of_itself_loses_nothing_by_soft_labels_and_of_another_does(choice, padding):
    model, other = (built(choice, seed=seed).model.eval() for seed in (0, 1))
    windows = windows_of(choice, 4)
    batch = packed(windows, 0, 200) if padding == "packed" else padded(windows, 0)
    inputs = inputs_for(model, batch, CPU)
    with torch.no_grad():
        hard, own, others = (batch_loss(model, teacher, inputs, batch) for teacher in (None, model, other))

    assert float(hard) / 2 == pytest.approx(float(own), abs=1e-5)
    assert float(others) > float(hard) / 2
    assert span_logits(model(**inputs), inputs, batch)[0].shape[0] == 4


@pytest.mark.parametrize("selection", ["random", "diverse", "deduplicated", "loss"])
def test_a_selection_depends_on_questions_and_seed_alone(selection):
    recipe = Recipe(data_share=0.25, selection=selection)
    losses = [float(n) for n in range(len(QUESTIONS))]
    first, again, other = (selected(QUESTIONS, recipe, seed, losses) for seed in (0, 0, 1))

    assert first == again == tuple(sorted(set(first)))
    assert len(first) == 12
    assert (first == other) == (selection == "loss")


def test_a_diverse_selection_meets_more_paragraphs_and_one_by_loss_the_hardest():
    def groups(selection):
        chosen = selected(QUESTIONS, Recipe(data_share=0.25, selection=selection), 0, None)
        return len({QUESTIONS[n].group for n in chosen})

    losses = [float(n % 7) for n in range(len(QUESTIONS))]
    hardest = selected(QUESTIONS, Recipe(data_share=1 / 12, selection="loss"), 0, losses)

    assert groups("diverse") == min(12, len({q.group for q in QUESTIONS})) >= groups("random")
    assert {6.0} == {losses[n] for n in hardest}


def test_near_duplicates_go_and_other_questions_stay():
    one = QUESTIONS[0]
    copies = [replace(one, id=str(n), text=one.text + " " * n, group=900 + n) for n in range(5)]
    apart = replace(one, text="Which entirely different thing is asked about here now?")

    assert len(selected([*copies, apart], Recipe(selection="deduplicated"), 0)) == 2


def test_what_is_held_out_is_a_tenth_of_other_paragraphs():
    rest, looked_at = held_out(QUESTIONS, seed=0)

    assert sorted([*rest, *looked_at]) == list(range(len(QUESTIONS)))
    assert not {QUESTIONS[n].group for n in rest} & {QUESTIONS[n].group for n in looked_at}
    assert 4 <= len(looked_at) <= 12


REFUSED = [
    (T5, {"padding": "packed"}, "padding"),
    (T5, {"answer_windows": True}, "answer_windows"),
    (T5, {"teacher": "t5"}, "teacher"),
    (BERT, {"teacher": "another"}, "teacher"),
    (BERT, {"precision": "fp8"}, "precision"),
    (BERT, {"frozen_layers": 3}, "frozen_layers"),
    (BERT, {"lora_rank": 2, "frozen_layers": 1}, "lora_rank"),
    (BERT, {"selection": "diverse"}, "selection"),
    (BERT, {"accumulation": 0}, "accumulation"),
    (BERT, {"data_share": 0.0}, "data_share"),
    (BERT, {"patience": 0}, "patience"),
    (BERT, {"least_gain": 0.0}, "least_gain"),
]


@pytest.mark.parametrize(
    ("choice", "changes", "field"), REFUSED, ids=lambda value: str(value) if isinstance(value, str) else None
)
def test_what_cannot_be_done_is_refused_by_name_and_not_left_out(ran, choice, changes, field):
    with pytest.raises(SettingError, match=f"recipe.{field}"):
        ran(choice, **changes)


def test_compiling_without_a_compiler_is_refused(ran, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)

    with pytest.raises(SettingError, match="compile"):
        ran(compile=True)


WHOLE = [
    (BERT, {"padding": "packed", "answer_windows": True, "accumulation": 2}),
    (DISTILBERT, {"padding": "packed", "precision": "bf16", "frozen_layers": 1, "checkpointing": True}),
    (BERT, {"lora_rank": 2, "data_share": 0.5, "selection": "diverse"}),
    (T5, {"lora_rank": 2, "accumulation": 2, "data_share": 0.5, "selection": "loss"}),
    (T5, {"frozen_layers": 1, "patience": 1, "attention": "eager"}),
]


@pytest.mark.parametrize(
    ("choice", "changes"), WHOLE, ids=lambda value: value.id if isinstance(value, ModelChoice) else "+".join(value)
)
def test_a_whole_trial_runs_and_every_step_is_metered(ran, choice, changes):
    training = ran(choice, **changes)["training"]

    assert training["steps"] == training["metered_steps"] >= 3
    assert training["flops"] > 0


def test_the_same_trial_twice_gives_the_same_scores(ran):
    student = ModelChoice("minilm", "bert", "embedded:minilm", layers=(0,))
    recipe = {"padding": "packed", "patience": 2, "data_share": 0.5, "selection": "loss", "max_steps": 2}
    first, again = (ran(student, **recipe) for _ in range(2))

    assert first == again


def test_a_teachers_steps_and_flops_count(ran):
    student = replace(BERT, shape=SMALL)
    alone, taught = ran(student), ran(student, teacher="bert")

    assert alone["training"]["metered_steps"] == 3
    assert taught["training"]["metered_steps"] == taught["training"]["steps"] == 6
    # The teacher's training, and its forward pass beside the student's.
    assert taught["training"]["flops"] > 2.2 * alone["training"]["flops"]
    assert taught["training"]["teacher_steps"] == 3


def test_choosing_by_loss_is_metered_too(ran):
    plain, chosen = (ran(data_share=0.5, selection=selection)["training"] for selection in ("random", "loss"))

    assert chosen["metered_steps"] == chosen["steps"] == plain["steps"] + chosen["scout_steps"]
    assert chosen["flops"] > plain["flops"]


def test_a_training_that_gains_nothing_stops_early(ran):
    # At a rate of zero nothing is learnt, whatever vocabulary and weights the model starts with.
    training = ran(BERT, max_steps=40, learning_rate=0.0, schedule="constant", patience=2)["training"]

    assert training["stopped_early"]
    assert training["metered_steps"] < 40
    assert training["best_step"] < training["metered_steps"]
    assert training["held_out"] >= 4


def test_a_training_stops_where_the_next_joules_are_predicted_to_gain_too_little(ran):
    # At a rate of zero nothing is learnt, so there is nothing to come; four looks are an epoch, less than 40 steps.
    training = ran(BERT, max_steps=40, learning_rate=0.0, schedule="constant", least_gain=0.01)["training"]

    assert training["stopped_early"]
    assert training["metered_steps"] == training["steps"] < 40
    assert training["held_out"] >= 4


def test_a_training_that_learns_is_not_stopped_by_a_gain_that_it_makes():
    # It learns the very windows that are looked at, so what it gains does not hang on what they have in common.
    windows = windows_of(BERT, 8)
    courses = []
    for least in (0.001, 1e4):
        recipe = replace(FAST, least_gain=least, learning_rate=5e-3, schedule="constant", dropout=0.0)
        model = built(BERT, recipe)
        looks = Looks([padded(windows, 0)], recipe, steps_per_epoch=24)
        endless = iter(lambda: (padded(windows, 0),), None)
        done = train(
            model.model, model.spec, endless, recipe, steps=48, steps_per_epoch=24, on_step=lambda step: None,
            looks=looks,
        )  # fmt: skip
        courses.append((done.steps, done.stopped_early, looks.course))

    (steps, early, course), (few, sooner, _) = courses
    assert (48, False) == (steps, early)
    assert (24, True) == (few, sooner)
    assert course[-1][1] > course[0][1] + 1.0
    shares = [share for share, _ in course]
    # Looks cost energy too, so more than a training's worth is spent in the end.
    assert shares == sorted(set(shares))
    assert 1.0 < shares[-1] < 1.5


@pytest.mark.skipif(why_not() is not None, reason="memory is not managed by glibc's malloc here")
def test_keeping_memory_changes_not_one_number(ran):
    recipe = {"padding": "longest", "batch": 8, "dropout": 0.1}
    plain, kept = ran(**recipe), ran(**recipe, keep_memory=True)

    assert plain == kept


@pytest.mark.skipif(why_not() is not None, reason="memory is not managed by glibc's malloc here")
def test_keeping_memory_leaves_gradients_as_they_are_bit_for_bit():
    batch = padded(windows_of(BERT, 8), 0)

    def gradients():
        torch.manual_seed(7)
        model = built(BERT).model.train()
        batch_loss(model, None, inputs_for(model, batch, CPU), batch).backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    plain = gradients()
    with memory_kept():
        kept = gradients()

    assert plain
    assert all(torch.equal(a, b) for a, b in zip(plain, kept, strict=True))


def test_keeping_memory_is_refused_by_name_where_there_is_no_glibc(ran, monkeypatch):
    monkeypatch.delattr(os, "confstr")

    with pytest.raises(SettingError, match=r"recipe.keep_memory.*glibc"):
        ran(keep_memory=True)
    assert not able_here().keep_memory


def test_code_to_take_away_keeps_memory_and_says_when_to_stop():
    recipe = replace(FAST, keep_memory=True, least_gain=10.0)
    text = code(Arm(BERT, TokenizerChoice("native"), recipe, Inference()))

    compile(text, "taken away", "exec")
    assert text.endswith("with lowcarb.levers.keep_memory():\n    trainer.train()\n")
    assert "gain_to_come(looks) < 10.0" in text


def test_limits_that_nobody_sets_are_refused_and_not_left_out(ran):
    with pytest.raises(SettingError, match="power-cap"):
        ran(levers=("power-cap=0.7",))


def test_after_the_patience_the_weights_of_the_best_look_are_put_back():
    recipe = replace(FAST, patience=2)
    model = built(BERT, recipe)
    model.model.eval()
    batches = [padded(windows_of(BERT, 8), 0)]
    looks = Looks(batches, recipe, steps_per_epoch=1)
    looks.after(1, 9, model.model, model.spec, 1e9)
    best = losses_of(model.model, batches, recipe)

    for step in (2, 3):
        # Uphill: a small step along the gradient makes the loss larger.
        assert not looks.over
        model.model.zero_grad()
        model.model(**inputs_for(model.model, batches[0], CPU)).loss.backward()
        with torch.no_grad():
            for weight in model.model.parameters():
                if weight.grad is not None:
                    weight.add_(weight.grad, alpha=0.05)
        looks.after(step, 9, model.model, model.spec, 1e9 * step)

    assert looks.over
    assert (looks.best_step, looks.losses[0]) == (1, min(looks.losses))
    assert losses_of(model.model, batches, recipe) != best
    looks.restore(model.model)
    assert losses_of(model.model, batches, recipe) == best


@pytest.mark.parametrize("changes", [{"frozen_layers": 2}, {"lora_rank": 2}])
def test_the_count_of_flops_knows_what_is_not_trained(changes):
    windows = windows_of(BERT, 8)
    counts = []
    for recipe in (FAST, replace(FAST, **changes)):
        model = built(BERT, recipe)
        batches = iter([(padded(windows, 0),)])
        done = train(model.model, model.spec, batches, recipe, steps=1, steps_per_epoch=1, on_step=lambda step: None)
        counts.append(done.cost.flops)

    assert counts[1] < counts[0]
