"""The runner that really trains: one trial, in this process, in four metered phases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch
import transformers

from lowcarb.core.trial import Trial
from lowcarb.errors import SettingError
from lowcarb.lab.answer import answers
from lowcarb.lab.base import OnStep, Step
from lowcarb.lab.data import Corpus, Question, load_corpus
from lowcarb.lab.distill import Lesson, question_losses, taught, teacher_recipe, trained_teacher
from lowcarb.lab.features import extractive_windows, generative_windows
from lowcarb.lab.heap import memory_kept_from
from lowcarb.lab.models import Built, build_model
from lowcarb.lab.score import score
from lowcarb.lab.selection import Material, held_out, selected
from lowcarb.lab.similarity import minilm_similarity
from lowcarb.lab.support import check_arm, of_the_device
from lowcarb.lab.tokenizers import build_tokenizer, fertility, native_tokenizer, same_vocabulary
from lowcarb.lab.train import StepCount, Trained, device_for_training
from lowcarb.tracker.track import Tracker

DeviceLimits = Callable[[Sequence[str]], AbstractContextManager[object]]
"""From levers as they are written to a block in which what they ask of the device is in force."""


class TorchRunner:
    """Trains with PyTorch and Hugging Face transformers."""

    def __init__(self, *, root: Path | None = None, limits: DeviceLimits | None = None) -> None:
        """A runner.

        Args:
            root: where data files are, by relative path.
            limits: puts the limits that the levers of a trial ask of the device in force for a block and takes them
                back after it; None refuses trials that ask for any.
        """
        self._root, self._limits = root, limits
        self._corpus: tuple[str, Corpus] | None = None
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        # Forked tokenizer threads would deadlock; lowcarb forks none, and the library warns all the same.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    def run(self, trial: Trial, tracker: Tracker, on_step: OnStep) -> Mapping[str, object]:
        """Train and score one trial; see `Runner`."""
        with StepCount() as count:
            return self._run(trial, tracker, on_step, count)

    def _run(self, trial: Trial, tracker: Tracker, on_step: OnStep, count: StepCount) -> Mapping[str, object]:
        if trial.threads is not None:
            torch.set_num_threads(trial.threads)
        arm = trial.arm
        check_arm(arm)
        if self._limits is None and of_the_device(trial.levers):
            asked = ", ".join(of_the_device(trial.levers))
            raise SettingError("lever", asked, "one that this runner sets: it was given nothing that limits the device")
        with tracker.phase("prepare"):
            corpus = self._load(trial)
            text = corpus.text()
            native = native_tokenizer(arm.model, text)
            tokenizer = build_tokenizer(arm.tokenizer, arm.model, text)
            built = build_model(arm.model, tokenizer, arm.recipe, text, seed=trial.seed)
            device = device_for_training()
            model = built.model.to(device)
            teacher = _teacher(trial, tokenizer, text, device)
            material = _material(corpus.train, tokenizer, trial, generative=model.config.is_encoder_decoder)
        lesson = Lesson(arm.recipe, trial.seed, tokenizer.pad_token_id, on_step)
        with self._limited(trial), tracker.phase("train"), count.metering(), _memory(lesson) as lesson:
            trained, facts = _trained(lesson, built, teacher, material)
            tracker.tokens(int(trained.tokens))
            tracker.steps(trained.steps)
        tests = {"validation": corpus.validation, "adversarial": corpus.adversarial}
        with tracker.phase("evaluate"):
            given = {name: answers(model, tokenizer, split, arm.inference) for name, split in tests.items()}
        with tracker.phase("score"):
            scores = {name: asdict(score(split, given[name], minilm_similarity)) for name, split in tests.items()}
        return {
            "scores": scores,
            "training": _training_facts(trained, count) | facts,
            "model": {
                "parameters": built.parameters, "trainable": built.trainable, "spec": asdict(built.spec),
                "device": device.type,
                "from_scratch": arm.model.from_scratch, "remap": asdict(built.remap) if built.remap else None,
            },
            "tokenizer": {
                "vocabulary": len(tokenizer),
                "fertility": fertility(tokenizer, [q.paragraph for q in corpus.validation]),
                "same_vocabulary": arm.tokenizer.kind != "native" and same_vocabulary(native, tokenizer),
            },
        }  # fmt: skip

    def _limited(self, trial: Trial) -> AbstractContextManager[object]:
        """What the levers ask of the device, in force within."""
        asked = of_the_device(trial.levers)
        return self._limits(asked) if self._limits is not None and asked else nullcontext()

    def _load(self, trial: Trial) -> Corpus:
        """The study's questions, read once for all its trials."""
        if self._corpus is None or self._corpus[0] != trial.data_digest:
            self._corpus = (trial.data_digest, load_corpus(trial.data, root=self._root))
        return self._corpus[1]


@contextmanager
def _memory(lesson: Lesson) -> Iterator[Lesson]:
    """The lesson, in which memory is kept from the first step on where its recipe says so."""
    if not lesson.recipe.keep_memory:
        yield lesson
        return
    with memory_kept_from() as begin:

        def on_step(step: Step) -> None:
            begin()
            lesson.on_step(step)

        yield replace(lesson, on_step=on_step)


def _material(
    questions: tuple[Question, ...], tokenizer: transformers.PreTrainedTokenizerBase, trial: Trial, *, generative: bool
) -> Material:
    recipe = trial.arm.recipe
    if generative:
        windows = generative_windows(questions, tokenizer, recipe.length, trial.arm.inference.answer_tokens)
        return Material(questions, tuple(windows))
    material = Material(questions, tuple(extractive_windows(questions, tokenizer, recipe.length, recipe.stride)))
    if not recipe.answer_windows:
        return material
    answering = material.with_answer()
    if not answering.windows:
        expected = f"false: no window of {recipe.length} tokens holds an answer"
        raise SettingError("recipe.answer_windows", recipe.answer_windows, expected)
    return answering


def _teacher(
    trial: Trial, tokenizer: transformers.PreTrainedTokenizerBase, text: list[str], device: torch.device
) -> Built | None:
    """The arm's own model with all its layers, not trained yet."""
    arm = trial.arm
    if arm.recipe.teacher is None:
        return None
    recipe = teacher_recipe(arm.recipe)
    built = build_model(replace(arm.model, layers=None), tokenizer, recipe, text, seed=trial.seed)
    built.model.to(device)
    return built


def _trained(
    lesson: Lesson, built: Built, teacher: Built | None, material: Material
) -> tuple[Trained, dict[str, object]]:
    """Train the model, and before it whatever its recipe asks for: all that is metered as training."""
    recipe, held, before = lesson.recipe, None, []
    if recipe.looks:
        rest, looked_at = held_out(material.questions, lesson.seed)
        held, material = material.part(looked_at), material.part(rest)
        if not held.windows or not material.windows:
            name = "patience" if recipe.patience is not None else "least_gain"
            expected = "None: too few paragraphs to hold a tenth out"
            raise SettingError(f"recipe.{name}", getattr(recipe, name), expected)
    if recipe.data_share < 1.0 or recipe.selection == "deduplicated":
        losses = None
        if recipe.selection == "loss":
            losses, scouting = question_losses(lesson, built, material)
            before.append(("scout", scouting))
        material = material.part(selected(material.questions, recipe, lesson.seed, losses))
    if teacher is not None:
        before.append(("teacher", trained_teacher(lesson, teacher, material)))
    trained = taught(
        lesson, built, material, held=held, teacher=teacher.model if teacher else None,
        teacher_spec=teacher.spec if teacher else None,
    )  # fmt: skip
    facts: dict[str, object] = {
        "questions": len(material.questions),
        "windows": len(material.windows),
        "held_out": len(held.questions) if held else 0,
        "best_step": trained.best_step,
        "stopped_early": trained.stopped_early,
    }
    for name, done in before:
        facts[f"{name}_steps"], facts[f"{name}_flops"] = done.steps, done.cost.flops
        trained = trained.with_more(done)
    return trained, facts


def _training_facts(trained: Trained, count: StepCount) -> dict[str, object]:
    return {
        "steps": count.steps,
        "metered_steps": count.metered,
        "zero_rate_steps": trained.zero_rate_steps,
        "tokens": trained.tokens,
        "real_tokens": trained.real_tokens,
        "sequences": trained.sequences,
        "flops": trained.cost.flops,
        "bytes": trained.cost.bytes,
        "last_loss": trained.last_loss,
    }
