"""Levers on what is trained: the questions, the vocabulary, the model and the share of it that learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lowcarb.core.levers.base import OWN, Claim, Lever, assumed, recipe_with, within
from lowcarb.core.trial import TokenizerChoice, Trial
from lowcarb.errors import SettingError

SELECTIONS = ("random", "diverse", "deduplicated", "loss")
NO_FEWER_TOKENS = 16
"""Shortest window that a recipe may have [tokens]."""


def _trimmed(trial: Trial, settings: Any) -> Trial:
    recipe, length = trial.arm.recipe, settings["length"]
    within("trim-windows", "length", length, NO_FEWER_TOKENS, recipe.length - 1,
           f"from {NO_FEWER_TOKENS} to below the recipe's {recipe.length} tokens")  # fmt: skip
    # Half a window of overlap at most: an answer is then whole in one of the windows.
    return recipe_with(trial, length=length, stride=min(recipe.stride, length // 2), answer_windows=True)


def _extractive(trial: Trial) -> str | None:
    return "a T5 reads no answer off a window" if trial.arm.model.family == "t5" else None


def _share(trial: Trial, settings: Any) -> Trial:
    share, selection = settings["share"], settings["selection"]
    within("data-share", "share", share, 1e-3, 1.0, "above 0 and at most 1")
    within("data-share", "selection", float(selection in SELECTIONS), 1, 1, " or ".join(SELECTIONS))
    # A share of 1 picks nothing, whatever the rule, except that near-duplicates still go.
    if share == 1.0 and selection != "deduplicated":
        raise SettingError("data-share:share", share, "below 1, or selection=deduplicated")
    return recipe_with(trial, data_share=share, selection=selection)


def _vocabulary(trial: Trial, settings: Any) -> Trial:
    size = settings["vocabulary"]
    within("smaller-vocabulary", "vocabulary", size, 300, float("inf"), "at least 300 tokens")
    tokenizer = TokenizerChoice(f"wordpiece-{size}", "wordpiece", vocabulary=size)
    return replace(trial, arm=replace(trial.arm, tokenizer=tokenizer))


def _native(trial: Trial) -> str | None:
    if trial.arm.recipe.frozen_embeddings or trial.arm.recipe.lora_rank is not None:
        return "the new vocabulary's embeddings must be learnt, and the recipe does not train them"
    return None if trial.arm.tokenizer.kind == "native" else "the tokenizer is swapped already"


def _kept(trial: Trial, settings: Any) -> Trial:
    text = settings["layers"]
    parts = text.split("-")
    if not all(part.isdecimal() for part in parts):
        raise SettingError("fewer-layers:layers", text, "numbers of layers from 0 parted by hyphens, such as 0-2-4")
    layers = tuple(int(part) for part in parts)
    had, frozen = trial.arm.model.layers, trial.arm.recipe.frozen_layers
    if list(layers) != sorted(set(layers)) or (had is not None and not set(layers) < set(had)):
        expected = f"some of {'-'.join(map(str, had))}" if had is not None else "each layer once, the lowest first"
        raise SettingError("fewer-layers:layers", text, expected)
    if frozen >= len(layers):
        raise SettingError("fewer-layers:layers", text, f"more layers than the {frozen} that are frozen")
    return replace(trial, arm=replace(trial.arm, model=replace(trial.arm.model, layers=layers)))


def _pretrained(trial: Trial) -> str | None:
    return "a model from scratch has no layers to leave out: give it a smaller shape" if trial.arm.model.shape else None


def _distilled(trial: Trial, settings: Any) -> Trial:
    del settings
    return recipe_with(trial, teacher=trial.arm.model.id)


def _taught(trial: Trial) -> str | None:
    if trial.arm.model.family == "t5":
        return "a teacher's soft answers are of spans in the text, which a T5 does not mark"
    return "a model from scratch has no larger one to learn from" if trial.arm.model.from_scratch else None


def _learning(trial: Trial) -> str | None:
    return "the recipe trains adapters: the weights are frozen already" if trial.arm.recipe.lora_rank else None


def _tables_frozen(trial: Trial, settings: Any) -> Trial:
    del settings
    return recipe_with(trial, frozen_embeddings=True)


def _tables_needed(trial: Trial) -> str | None:
    if trial.arm.model.from_scratch:
        return "a model from scratch must learn its embeddings"
    if trial.arm.tokenizer.kind != "native":
        return "a swapped vocabulary's embeddings must be learnt"
    return _learning(trial)


def _layers_needed(trial: Trial) -> str | None:
    return "a model from scratch must learn all its layers" if trial.arm.model.from_scratch else _learning(trial)


def _frozen(trial: Trial, settings: Any) -> Trial:
    model, layers = trial.arm.model, settings["layers"]
    has = len(model.layers) if model.layers is not None else model.shape.layers if model.shape else None
    most = float("inf") if has is None else has - 1
    within("freeze-layers", "layers", layers, 1, most, "at least 1" + ("" if has is None else f", below all {has}"))
    return recipe_with(trial, frozen_layers=layers)


def _adapted(trial: Trial, settings: Any) -> Trial:
    within("lora", "rank", settings["rank"], 1, float("inf"), "at least 1")
    return recipe_with(trial, lora_rank=settings["rank"])


def _unfrozen(trial: Trial) -> str | None:
    recipe = trial.arm.recipe
    if trial.arm.model.from_scratch:
        return "a model from scratch has nothing to adapt: all its weights must be learnt"
    if recipe.frozen_layers or recipe.frozen_embeddings:
        return "the recipe freezes weights by layer: adapters freeze all of them"
    return None


FREEZING = ("freeze-embeddings", "freeze-layers")

CONTENT_LEVERS: tuple[Lever, ...] = (
    Lever(
        "data-share", "Train on a part of the questions", _share,
        {"share": (0.5, 0.7, 0.3), "selection": SELECTIONS}, (),
        Claim(assumed(0.45, 0.5, 0.6), assumed(-12.0, -5.0, 1.0),
              f"counted for half of them; {OWN}: F1 37.1 on 600 questions, 44.3 on 1,000", (OWN,)),
        ("saves in proportion, on every device",),
        ("fewer questions, fewer steps: quality falls where either is short",
         "choosing by loss costs a pass over all of them, which counts"),
        kind="data",
    ),
    Lever(
        "trim-windows", "Train on short windows around the answer", _trimmed, {"length": (128, 192, 256)}, (),
        Claim(assumed(0.45, 0.64, 0.9), assumed(-10.0, -3.0, 2.0),
              f"{OWN}: 1.57 times cheaper at 128 in place of 384 tokens; read out at 384, F1 35.3 on 700 questions "
              "against 37.1 on 600 untrimmed", (OWN,)),
        ("attention grows with the square of the length, and windows without an answer teach least",),
        ("answers are still read out of long windows, which training no longer shows",
         "the model sees no window without an answer"),
        kind="data", needs=("a model that marks the answer in the text", "windows longer than that"), unfit=_extractive,
    ),
    Lever(
        "smaller-vocabulary", "A small vocabulary fitted to the text", _vocabulary, {"vocabulary": (8000, 4000)},
        ("freeze-embeddings", "lora"),
        Claim(assumed(0.8, 0.92, 1.1), assumed(-15.0, -6.0, 2.0),
              "studies/LOG.md: byte-level BPE of 8,000 took 11 % less energy on JouleQA (5 to 16 %), undecided "
              "on SQuAD; its quality undecided, one WordPiece run 6 points below", (OWN,)),
        ("a smaller table of embeddings to move in every optimizer step",),
        ("more tokens a word: longer windows, in use as well",
         "pretrained embeddings are remapped and must be relearnt", "checkpoints with the old vocabulary do not fit"),
        kind="model", needs=("a model with its own tokenizer",), unfit=_native,
    ),
    Lever(
        "fewer-layers", "Leave layers out of the model", _kept, {"layers": ("0-2-4", "0-1-2", "0-1-2-3", "0-2")}, (),
        Claim(assumed(0.45, 0.52, 0.65), assumed(-30.0, -12.0, -1.0),
              "studies/LOG.md: three of six layers train for about half the carbon and lose far more than a point; "
              "published: up to 40 % of layers dropped at up to 98 % of the quality, on longer trainings",
              (OWN, "arXiv:2004.03844")),
        ("saves in every use of the model too",),
        ("the layers left do not know each other: a short training cannot mend that",),
        kind="model", needs=("a pretrained model with those layers",), unfit=_pretrained,
    ),
    Lever(
        "distill", "Learn from the whole model's answers too", _distilled, {}, (),
        Claim(assumed(1.5, 2.3, 4.0), assumed(-1.0, 1.1, 4.0),
              "counted: the teacher's training, and its forward pass beside the student's, are added; published: "
              "DistilBERT gains 1.1 F1 (85.8 to 86.9) on SQuAD by a second distillation",
              ("arXiv:1910.01108", "arXiv:1503.02531")),
        ("a small model comes closer to the large one: it pays in use, not in training",),
        ("the teacher is trained first, and its energy counts: training alone costs more than the teacher does",),
        kind="model",
        needs=("a model that marks the answer in the text", "layers left out, or it learns from its equal"),
        unfit=_taught,
    ),
    Lever(
        "freeze-embeddings", "Do not train the look-up tables", _tables_frozen, {}, ("lora", "smaller-vocabulary"),
        Claim(assumed(0.75, 0.85, 0.95), assumed(-4.0, 0.0, 5.0),
              f"{OWN}: 1.17 times cheaper at batch 4; F1 44.3 at a rate of 2e-4 against 39.7 at 1e-4 unfrozen", (OWN,)),
        ("more than a third of a small encoder's weights need no gradient and no optimizer step",),
        ("words that the pretraining saw seldom stay as they are",),
        kind="model", needs=("a pretrained model",),
        unfit=_tables_needed,
    ),
    Lever(
        "freeze-layers", "Do not train the lowest layers", _frozen, {"layers": (1, 2, 3)}, ("lora",),
        Claim(assumed(0.7, 0.9, 1.0), assumed(-27.0, -6.0, 1.0),
              f"{OWN}: with embeddings frozen, three of six layers more saved a quarter and F1 fell from 44.3 to "
              "17.3; one layer is a third of that", (OWN,)),
        ("no gradient is computed below the lowest layer that learns, if embeddings are frozen too",),
        ("small models need their lower layers: quality can fall far",),
        kind="model", needs=("a pretrained model with more layers than that",),
        unfit=_layers_needed,
    ),
    Lever(
        "lora", "Train low-rank adapters in place of the weights", _adapted, {"rank": (8, 4, 16, 32)},
        (*FREEZING, "smaller-vocabulary"),
        Claim(assumed(0.6, 0.8, 1.1), None,
              "published: 25 % faster than full fine-tuning of GPT-3 175B; that small encoders save less is "
              "a guess",
              ("arXiv:2106.09685",)),
        ("gradients and optimizer state of a few weights only: less memory, small checkpoints",),
        ("gradients still run through all layers", "on small encoders full fine-tuning reaches more",
         "the learning rate must be found anew"),
        kind="model", needs=("the peft library", "a pretrained model"), unfit=_unfrozen,
        unable=lambda able: None if able.adapters else "the peft library is not installed",
    ),
)  # fmt: skip
