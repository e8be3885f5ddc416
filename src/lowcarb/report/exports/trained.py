"""What is known of the trainings: model, tokenizer, data, tokens, FLOPs and quality, from what attempts noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import fmean
from typing import Any, Literal, TypeVar

from lowcarb.core.trial import Recipe
from lowcarb.ledger.base import Attempt
from lowcarb.report.exports.use import Use, use_of

QUESTION_ANSWERING = "question-answering"
"""The task of every training of the lab."""
SPAN: Mapping[str, float] = {"em": 100.0, "f1": 100.0, "cosine": 1.0, "sts": 1.0}
"""The best that a metric can be."""
SPLITS = ("validation", "adversarial")
BOUND = 1.6449
"""Standard errors from the mean to the 5th and to the 95th percentile of a normal distribution."""


Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Quality:
    """One score: of one training, or the mean over the seeds of one arm."""

    metric: str
    """em, f1, cosine or sts, or whatever the training calls it."""
    split: str
    subject: str
    """The arm that was scored; empty for a run."""
    mid: float
    low: float | None
    high: float | None
    """None where the interval is not known."""
    interval: str
    """What the interval is, in words."""
    best: float | None
    """The best that the metric can be; None where nobody knows."""
    trials: int
    questions: int | None

    @property
    def name(self) -> str:
        """`f1 on validation`."""
        return f"{self.metric} on {self.split}" if self.split else self.metric


@dataclass(frozen=True, slots=True)
class Trained:
    """What is known of some trainings together. Unknown, or not the same for all, is None."""

    tokens: float | None
    """Trained on, padding included, of all of them."""
    steps: int | None
    flops: float | None
    """Of all of them [FLOP]."""
    flops_method: str | None
    """How the FLOPs were counted, in words."""
    parameters: int | None
    layers: int | None
    epochs: float | None
    batch: int | None
    precision: str | None
    training_type: Literal["pre-training", "fine-tuning"] | None
    framework: str | None
    models: tuple[str, ...]
    model_sources: tuple[str, ...]
    """Where their weights came from: a hub id, a folder, `embedded:NAME` or `scratch`."""
    tokenizers: tuple[str, ...]
    datasets: tuple[str, ...]
    tasks: tuple[str, ...]
    qualities: tuple[Quality, ...]
    uses: tuple[Use, ...]
    """What reading with each model computes."""


def trained_of(attempts: Sequence[Attempt]) -> Trained:
    """What is known of the trainings that a result rests on.

    Args:
        attempts: those on which the result rests, oldest first; of a training that was taken up again all its parts.
    """
    found = [_Facts(attempt) for attempt in attempts]
    data = [_map(one.trial.get("data")) for one in found]
    scratch = {bool(model["source"] == "scratch") for one in found if (model := one.model_choice)}
    flops, flops_method = _flops(found)
    return Trained(
        tokens=_sum(one.tokens for one in found),
        steps=_whole(_sum(one.steps for one in found)),
        flops=flops,
        flops_method=flops_method,
        parameters=_whole(_only(_number(one.fact("model", "parameters")) for one in found)),
        layers=_whole(_only(one.layers for one in found)),
        epochs=_only(_number(one.epochs) for one in found),
        batch=_whole(_only(_number(one.recipe.get("batch")) for one in found)),
        precision=_only(one.precision for one in found),
        training_type=("pre-training" if scratch == {True} else "fine-tuning") if len(scratch) == 1 else None,
        framework=_only(_text(one.notes.get("framework")) for one in found),
        models=_texts(one.model_name for one in found),
        model_sources=_texts(_text(one.model_choice.get("source")) for one in found),
        tokenizers=_texts(one.tokenizer_name for one in found),
        datasets=_texts(_text(one.get(split)) for one in data for split in ("train", *SPLITS)),
        tasks=_texts(QUESTION_ANSWERING if one.trial else None for one in found),
        qualities=tuple(_qualities(found)),
        uses=_uses(found),
    )


class _Facts:
    """The notes of one attempt: of the lab, or of an integration."""

    def __init__(self, attempt: Attempt) -> None:
        self.document: Mapping[str, Any] = attempt.document
        self.notes = _map(self.document.get("notes"))
        self.result, self.trial = _map(self.notes.get("result")), _map(self.notes.get("trial"))
        self.arm = _map(self.trial.get("arm"))
        self.model_choice, self.recipe = _map(self.arm.get("model")), _map(self.arm.get("recipe"))

    def fact(self, part: str, name: str) -> object:
        """A fact of the result's part, else the note of that name."""
        held = _map(self.result.get(part)).get(name)
        return self.notes.get(name) if held is None else held

    @property
    def tokens(self) -> float | None:
        """None where nobody counted: a tracker's count is then zero."""
        return _number(_map(self.result.get("training")).get("tokens")) or _number(self.document.get("tokens")) or None

    @property
    def steps(self) -> float | None:
        return _number(_map(self.result.get("training")).get("steps")) or _number(self.document.get("steps")) or None

    @property
    def spec(self) -> Mapping[str, Any]:
        return _map(_map(self.result.get("model")).get("spec"))

    @property
    def layers(self) -> float | None:
        return _number(self.spec.get("layers"))

    @property
    def length(self) -> int:
        return _whole(_number(self.recipe.get("length"))) or Recipe().length

    @property
    def epochs(self) -> object:
        # A lab training with a most of steps ends by that.
        if self.recipe:
            return self.recipe.get("epochs", Recipe().epochs) if self.recipe.get("max_steps") is None else None
        return self.notes.get("epochs")

    @property
    def precision(self) -> str | None:
        return _text(self.recipe.get("precision")) or _text(self.notes.get("precision"))

    @property
    def model_name(self) -> str | None:
        held = self.notes.get("model")
        return _text(self.model_choice.get("id")) or (_text(held) if isinstance(held, str) else None)

    @property
    def tokenizer_name(self) -> str | None:
        chosen = _map(self.arm.get("tokenizer"))
        return _text(chosen.get("id"))


def arm_of(attempt: Attempt) -> str | None:
    """The arm that an attempt is of, `model/tokenizer` with what was pulled; None where it is no trial of a study."""
    return _arm_id(_Facts(attempt)) or None


def _flops(found: Sequence[_Facts]) -> tuple[float | None, str | None]:
    """FLOPs of some trainings [FLOP], and how they were counted."""
    counted = [_number(_map(one.result.get("training")).get("flops")) for one in found]
    if found and all(counted):
        return _sum(counted), "counted pass by pass from the model's shape and the tokens that it saw"
    # A Trainer that goes on from a checkpoint goes on counting.
    told = [flops for one in found if (flops := _number(one.notes.get("total_flos")))]
    if told:
        return max(told), "6 x parameters without embeddings x tokens, as the Hugging Face Trainer counts (total_flos)"
    return None, None


def _uses(found: Sequence[_Facts]) -> tuple[Use, ...]:
    """One for each arm, by its last training."""
    last = {_arm_id(one): one for one in found}
    uses = [
        use_of(arm, one.spec, _number(one.fact("model", "parameters")), one.length) for arm, one in last.items()
    ]  # fmt: skip
    return tuple(use for use in uses if use is not None)


def _qualities(found: Sequence[_Facts]) -> Iterable[Quality]:
    by_arm: dict[str, list[_Facts]] = {}
    for one in found:
        if one.result.get("scores"):
            by_arm.setdefault(_arm_id(one), []).append(one)
    for arm, same in by_arm.items():
        for split in SPLITS:
            for metric in SPAN:
                quality = _quality([_map(_map(one.result["scores"]).get(split)) for one in same], metric, split, arm)
                if quality is not None:
                    yield quality


def _quality(scores: Sequence[Mapping[str, Any]], metric: str, split: str, arm: str) -> Quality | None:
    values = [value for one in scores if (value := _number(one.get(metric))) is not None]
    if not values or len(values) < len(scores):
        return None
    questions = _whole(_only(_number(one.get("questions")) for one in scores))
    if len(values) > 1:
        words = f"lowest to highest of {len(values)} seeds"
        return Quality(metric, split, arm, fmean(values), min(values), max(values), words, SPAN[metric], len(values),
                       questions)  # fmt: skip
    error = _clustered_error(scores[0]) if metric == "f1" else None
    low, high = (None, None) if error is None else (max(0.0, values[0] - BOUND * error), values[0] + BOUND * error)
    high = None if high is None else min(high, SPAN[metric])
    words = "" if error is None else "5th to 95th percentile over the questions, by paragraph; one seed"
    return Quality(metric, split, arm, values[0], low, high, words, SPAN[metric], 1, questions)


def _clustered_error(scores: Mapping[str, Any]) -> float | None:
    """Standard error of the mean F1 over questions that come in paragraphs.

    (Cameron & Miller 2015, A Practitioner's Guide to Cluster-Robust Inference, section II, for a mean.)
    """
    values, groups = scores.get("per_question_f1") or (), scores.get("groups") or ()
    if len(values) < 2 or len(values) != len(groups):
        return None
    mean = fmean(values)
    sums: dict[object, float] = {}
    for value, group in zip(values, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + value - mean
    if len(sums) < 2:
        return None
    return sqrt(len(sums) / (len(sums) - 1) * sum(one * one for one in sums.values())) / len(values)


def _arm_id(one: _Facts) -> str:
    if not one.arm:
        return ""
    parts = (_map(one.arm.get("model")).get("id"), _map(one.arm.get("tokenizer")).get("id"))
    return "+".join(("/".join(map(str, parts)), *map(str, one.arm.get("levers") or ())))


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    return float(value) if good else None  # type: ignore[arg-type]  # a number, by the line above


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum; None where one is not known."""
    parts = list(values)
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _only(values: Iterable[Value | None]) -> Value | None:
    """What all of some values are; None where they differ, or one is not known."""
    kinds = set(values)
    return kinds.pop() if len(kinds) == 1 else None
