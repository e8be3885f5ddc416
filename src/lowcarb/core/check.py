"""The study linter: what would make a study's numbers mean something else than they seem to.

Each check has a name and answers one of the traps that published comparisons fell into. An `error` stops the study
before anything trains; a `warning` goes into the report; a `note` tells a reader what to bear in mind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lowcarb.core.design import apart
from lowcarb.core.levers import Able, lever_of, parse_pulled
from lowcarb.core.trial import Arm, Study

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the linter has to say."""

    check: str
    """Name of the check."""
    level: Level
    where: str
    """The field, arm or file it is about."""
    message: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        """The JSON form, by field name."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """What the linter needs to know of one file of questions."""

    paragraphs: frozenset[str]
    """Hashes of the normalised paragraphs."""
    questions: frozenset[str]
    """Hashes of question and paragraph together."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a study beyond its file. What is left out is not checked."""

    splits: Mapping[str, SplitFacts] = field(default_factory=dict)
    """By name: train, validation, adversarial."""
    same_vocabulary: Mapping[str, bool] = field(default_factory=dict)
    """By arm: whether a swapped tokenizer has the very vocabulary of the model's own."""
    able: Able | None = None
    """What the device can do."""


@dataclass(frozen=True, slots=True)
class TrainedFacts:
    """What a finished trial says of its own training."""

    arm: str
    seed: int
    steps: int
    metered_steps: int
    zero_rate_steps: int
    """Metered optimizer steps at a learning rate of zero: energy spent on nothing."""


def check(study: Study, facts: Facts | None = None) -> tuple[Finding, ...]:
    """All findings on a study before it runs, errors first."""
    known = facts or Facts()
    findings = [
        *_leakage(known),
        *_metering(study),
        *_learning_rate(study),
        *_vocabulary(study, known),
        *_arms(study),
        *_seeds(study),
        *_grids(study),
        *_windows(study),
        *_budgets(study),
        *_starting_points(study),
        *_levers(study, known),
    ]
    return tuple(sorted(findings, key=lambda finding: ("error", "warning", "note").index(finding.level)))


def check_trained(trained: TrainedFacts) -> Iterator[Finding]:
    """Findings on what a finished trial really did."""
    where = f"{trained.arm} seed {trained.seed}"
    if trained.metered_steps != trained.steps:
        yield Finding(
            "outside-the-meter", "error", where,
            f"{trained.steps - trained.metered_steps} of {trained.steps} optimizer steps ran outside the meter",
            "leave this trial out",
        )  # fmt: skip
    # A linear schedule ends at zero: its last step may have been taken at a rate of zero without any harm.
    if trained.zero_rate_steps > 1:
        yield Finding(
            "learning-rate-zero", "error", where,
            f"{trained.zero_rate_steps} metered steps had a learning rate of zero: energy without training",
            "schedule the learning rate over the steps that are taken",
        )  # fmt: skip


def _leakage(facts: Facts) -> Iterator[Finding]:
    train = facts.splits.get("train")
    if train is None:
        return
    for name, split in facts.splits.items():
        if name == "train":
            continue
        rows = len(train.questions & split.questions)
        if rows:
            yield Finding(
                "scoring-on-training-rows", "error", f"data.{name}",
                f"{rows} of its {len(split.questions)} questions are training questions: scores would show memory",
                "score on questions that no trial trains on",
            )  # fmt: skip
        shared = len(train.paragraphs & split.paragraphs)
        if shared:
            yield Finding(
                "leakage", "error", f"data.{name}",
                f"{shared} of its {len(split.paragraphs)} paragraphs are also in the training file",
                "split by paragraph, better by article",
            )  # fmt: skip


def _metering(study: Study) -> Iterator[Finding]:
    for arm in study.arms:
        outside = arm.recipe.unmetered_epochs
        if outside > 0:
            yield Finding(
                "outside-the-meter", "error", arm.id,
                f"{outside:g} of {arm.recipe.epochs:g} epochs train before the meter starts: the footprint would not "
                "be that of the model which is scored",
                "set recipe.unmetered_epochs to 0",
            )  # fmt: skip


def _learning_rate(study: Study) -> Iterator[Finding]:
    for arm in study.arms:
        recipe = arm.recipe
        if recipe.learning_rate == 0:
            yield Finding(
                "learning-rate-zero", "error", arm.id, "the learning rate is zero: nothing would be learnt",
                "set recipe.learning_rate above 0",
            )  # fmt: skip
        elif recipe.schedule == "linear" and recipe.decay_epochs is not None and recipe.decay_epochs < recipe.epochs:
            yield Finding(
                "learning-rate-zero", "error", arm.id,
                f"the learning rate is zero from epoch {recipe.decay_epochs:g} on, of {recipe.epochs:g}: the meter "
                "would count energy that trains nothing",
                "leave recipe.decay_epochs out, so that the rate falls over all of the training",
            )  # fmt: skip


def _vocabulary(study: Study, facts: Facts) -> Iterator[Finding]:
    for arm in study.arms:
        swapped = arm.tokenizer.kind != "native"
        same = facts.same_vocabulary.get(arm.id)
        if swapped and same:
            yield Finding(
                "no-op-swap", "warning", arm.id,
                f"the tokenizer {arm.tokenizer.id} has the very vocabulary of {arm.model.id}: the swap changes nothing",
                "swap in a tokenizer with another vocabulary, or leave the arm out",
            )  # fmt: skip
        elif swapped and arm.tokenizer.embeddings == "keep":
            yield Finding(
                "swapped-vocabulary", "error", arm.id,
                f"ids of {arm.tokenizer.id} would look up rows that {arm.model.id} learnt for other tokens",
                "set embeddings: remap on the tokenizer",
            )  # fmt: skip


def _seeds(study: Study) -> Iterator[Finding]:
    if not study.seeds:
        yield Finding("no-seeds", "error", "seeds", "no seed: nothing would be repeatable", "seeds: [0, 1, 2]")
    elif len(study.seeds) == 1:
        yield Finding(
            "one-seed", "warning", "seeds",
            "one seed cannot tell a difference from noise: every verdict will be `undecided`",
            "seeds: [0, 1, 2]",
        )  # fmt: skip
    if len(set(study.seeds)) < len(study.seeds):
        yield Finding("no-seeds", "error", "seeds", "a seed is there twice: repeats would be copies", "seeds: [0, 1]")


def _arms(study: Study) -> Iterator[Finding]:
    if len(study.arms) < 2 and len(study.devices) < 2:
        yield Finding(
            "no-comparison", "warning", "arms", "one arm alone compares nothing", "name a second arm, or levers"
        )


def _grids(study: Study) -> Iterator[Finding]:
    sites = {arm.site or study.site or "world" for arm in study.arms}
    if len(sites) > 1:
        yield Finding(
            "unequal-grids", "error", "site",
            f"arms are priced with different grids ({', '.join(sorted(sites))}): their carbon would differ by place, "
            "not by recipe",
            "give one site for the whole study; `lowcarb study show --site` prices it anew for another",
        )  # fmt: skip


def _windows(study: Study) -> Iterator[Finding]:
    windows = {arm.inference for arm in study.arms}
    if len(windows) > 1:
        lengths = sorted({window.length for window in windows})
        yield Finding(
            "unequal-windows", "error", "inference",
            f"arms read answers out in different windows (lengths {', '.join(map(str, lengths))}): scores would differ "
            "by read-out, not by training",
            "give one inference section for the whole study",
        )  # fmt: skip


def _budgets(study: Study) -> Iterator[Finding]:
    base = study.arm(study.baseline) if any(arm.id == study.baseline for arm in study.arms) else None
    if base is None:
        return

    def asked(arm: Arm) -> tuple[float, int | None, int]:
        return arm.recipe.epochs, arm.recipe.max_steps, arm.recipe.batch

    # What a lever changes is the point of it, and held against what it was pulled on.
    for arm in (one for one in study.arms if not one.levers):
        if asked(arm) != asked(base):
            yield Finding(
                "unequal-training", "warning", arm.id,
                "trains over another number of epochs, steps or questions a step than the baseline: model and recipe "
                "change together",
                "give all arms one epochs, max_steps and batch",
            )  # fmt: skip


def _levers(study: Study, facts: Facts) -> Iterator[Finding]:
    for text, conflict in apart(study).items():
        yield Finding(
            "lever-conflict", "note", f"levers.{text}",
            f"is tried alone only, not on top of the stack: {conflict}",
            "leave one of the two out",
        )  # fmt: skip
    if facts.able is None:
        return
    for text in dict.fromkeys((*study.levers, *study.stack)):
        reason = lever_of(parse_pulled(text).lever).beyond(facts.able)
        if reason is not None:
            yield Finding(
                "lever-refused", "error", f"levers.{text}", f"cannot be pulled on this device: {reason}",
                "leave it out, or run the study where the device can",
            )  # fmt: skip


def _starting_points(study: Study) -> Iterator[Finding]:
    scratch = sorted({arm.model.id for arm in study.arms if arm.model.from_scratch})
    pretrained = any(not arm.model.from_scratch for arm in study.arms)
    if scratch and pretrained:
        yield Finding(
            "from-scratch", "note", ", ".join(scratch),
            "starts from scratch beside pretrained models: compare its carbon, not its quality",
            "give it a pretrained source",
        )  # fmt: skip
    if any(arm.model.source == "embedded:minilm" for arm in study.arms):
        yield Finding(
            "scorer-is-a-start", "note", "sts",
            "the sentence model behind the STS score is also the starting point of models in this study",
            "read EM and F1 first",
        )  # fmt: skip
