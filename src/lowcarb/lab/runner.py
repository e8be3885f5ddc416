"""The runner that really trains: one trial, in this process, in four metered phases."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
import transformers

from lowcarb.core.trial import Trial
from lowcarb.lab.answer import answers
from lowcarb.lab.base import OnStep
from lowcarb.lab.data import Corpus, Question, load_corpus
from lowcarb.lab.features import Batch, Window, epoch_batches, extractive_windows, generative_windows
from lowcarb.lab.models import build_model
from lowcarb.lab.score import score
from lowcarb.lab.similarity import minilm_similarity
from lowcarb.lab.tokenizers import build_tokenizer, fertility, native_tokenizer, same_vocabulary
from lowcarb.lab.train import StepCount, Trained, device_for_training, planned_steps, train
from lowcarb.tracker.track import Tracker


class TorchRunner:
    """Trains with PyTorch and Hugging Face transformers."""

    def __init__(self, *, root: Path | None = None) -> None:
        self._root = root
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
        with tracker.phase("prepare"):
            corpus = self._load(trial)
            text = corpus.text()
            native = native_tokenizer(arm.model, text)
            tokenizer = build_tokenizer(arm.tokenizer, arm.model, text)
            built = build_model(arm.model, tokenizer, arm.recipe, text, seed=trial.seed)
            device = device_for_training()
            model = built.model.to(device)
            windows = _training_windows(corpus.train, tokenizer, trial, generative=model.config.is_encoder_decoder)
        steps_per_epoch = -(-len(windows) // arm.recipe.batch)
        batches = _endless(windows, corpus.train, trial, tokenizer.pad_token_id)
        with tracker.phase("train"), count.metering():
            # Dropout draws from here on, so that it does not depend on what building the model drew.
            torch.manual_seed(trial.seed)
            trained = train(
                model, built.spec, batches, arm.recipe, steps=planned_steps(steps_per_epoch, arm.recipe),
                steps_per_epoch=steps_per_epoch, on_step=on_step,
            )  # fmt: skip
            tracker.tokens(int(trained.tokens))
            tracker.steps(trained.steps)
        tests = {"validation": corpus.validation, "adversarial": corpus.adversarial}
        with tracker.phase("evaluate"):
            given = {name: answers(model, tokenizer, split, arm.inference) for name, split in tests.items()}
        with tracker.phase("score"):
            scores = {name: asdict(score(split, given[name], minilm_similarity)) for name, split in tests.items()}
        return {
            "scores": scores,
            "training": _training_facts(trained, count),
            "model": {
                "parameters": built.parameters, "spec": asdict(built.spec), "device": device.type,
                "from_scratch": arm.model.from_scratch, "remap": asdict(built.remap) if built.remap else None,
            },
            "tokenizer": {
                "vocabulary": len(tokenizer),
                "fertility": fertility(tokenizer, [q.paragraph for q in corpus.validation]),
                "same_vocabulary": arm.tokenizer.kind != "native" and same_vocabulary(native, tokenizer),
            },
        }  # fmt: skip

    def _load(self, trial: Trial) -> Corpus:
        """The study's questions, read once for all its trials."""
        if self._corpus is None or self._corpus[0] != trial.data_digest:
            self._corpus = (trial.data_digest, load_corpus(trial.data, root=self._root))
        return self._corpus[1]


def _training_windows(
    questions: tuple[Question, ...], tokenizer: transformers.PreTrainedTokenizerBase, trial: Trial, *, generative: bool
) -> list[Window]:
    recipe = trial.arm.recipe
    if generative:
        return generative_windows(questions, tokenizer, recipe.length, trial.arm.inference.answer_tokens)
    return extractive_windows(questions, tokenizer, recipe.length, recipe.stride)


def _endless(windows: list[Window], questions: tuple[Question, ...], trial: Trial, pad_id: int) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from epoch_batches(windows, questions, trial.arm.recipe, pad_id, seed=trial.seed, epoch=epoch)
        epoch += 1


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
