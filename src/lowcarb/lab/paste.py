"""A recipe to take away: as a study file, as `TrainingArguments`, and as code around a Hugging Face `Trainer`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from lowcarb.core.trial import Arm, DataChoice, Recipe
from lowcarb.lab.sources import MINILM

MINILM_ON_HUB = "sentence-transformers/all-MiniLM-L6-v2"
"""The same weights as the embedded ones, where the package is not at hand."""


def study_file(
    name: str, arms: Mapping[str, Arm], data: DataChoice, *, seeds: tuple[int, ...], margin: float, threads: int | None
) -> dict[str, Any]:
    """A study that holds arms against the first of them, as `lowcarb study run` reads it.

    Args:
        name: id of the study.
        arms: by the name that the model gets; with one way to read answers out.
        data: the questions.
        seeds: of the study.
        margin: loss of F1 that counts as not inferior [points].
        threads: processor threads of a training; None is all.
    """
    first = next(iter(arms.values()))
    names = [f"{model_id}/{arm.tokenizer.id}" for model_id, arm in arms.items()]
    document: dict[str, Any] = {
        "id": name,
        "question": "Is the quality the same for less energy?",
        "data": _said(asdict(data)),
        "models": [_model(model_id, arm) for model_id, arm in arms.items()],
        "tokenizers": [_said(asdict(one)) for one in dict.fromkeys(arm.tokenizer for arm in arms.values())],
        "arms": names,
        "baseline": names[0],
        "inference": asdict(first.inference),
        "seeds": list(seeds),
        "margin": margin,
    }
    return document if threads is None else document | {"threads": threads}


def _model(model_id: str, arm: Arm) -> dict[str, Any]:
    return _said(asdict(arm.model)) | {"id": model_id, "recipe": recipe_changes(arm.recipe)}


def _said(document: Mapping[str, Any]) -> dict[str, Any]:
    """What is said, in the types of JSON and YAML."""
    return {name: list(one) if isinstance(one, tuple) else one for name, one in document.items() if one is not None}


def recipe_changes(recipe: Recipe) -> dict[str, Any]:
    """The fields of a recipe that are not the default."""
    usual = Recipe()
    return {
        field.name: getattr(recipe, field.name)
        for field in fields(recipe)
        if getattr(recipe, field.name) != getattr(usual, field.name)
    }


def training_arguments(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe `transformers.TrainingArguments` (version 5) can say."""
    arguments: dict[str, Any] = {
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": recipe.batch,
        "gradient_accumulation_steps": recipe.accumulation,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.schedule if recipe.schedule == "linear" else "constant_with_warmup",
        "warmup_steps": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch_fused" if recipe.fused else "adamw_torch",
        "bf16": recipe.precision == "bf16",
        "fp16": recipe.precision == "fp16",
        "train_sampling_strategy": "group_by_length" if recipe.padding == "grouped" else "random",
    }
    switched = {"gradient_checkpointing": recipe.checkpointing, "torch_compile": recipe.compile}
    arguments |= {name: True for name, on in switched.items() if on}
    return arguments if recipe.max_steps is None else arguments | {"max_steps": recipe.max_steps}


def code(arm: Arm) -> str:
    """Code that sets up a Hugging Face training by an arm: model, data, arguments. The user's own parts are named."""
    recipe = arm.recipe
    source = MINILM_ON_HUB if arm.model.source == MINILM else arm.model.source
    auto = "AutoModelForSeq2SeqLM" if arm.model.family == "t5" else "AutoModelForQuestionAnswering"
    lines = [
        "import torch",
        f"from transformers import {auto}, Trainer, TrainingArguments",
        "",
        f"model = {auto}.from_pretrained({source!r}, attn_implementation={recipe.attention!r})",
        *_of_model(arm),
        *_of_data(recipe),
        "arguments = TrainingArguments(",
        '    output_dir="out",',
        *(f"    {name}={value!r}," for name, value in training_arguments(recipe).items()),
        ")",
        "trainer = Trainer(model=model, args=arguments, train_dataset=train, data_collator=collator)",
        *_train(recipe),
    ]
    return "\n".join(lines) + "\n"


def _train(recipe: Recipe) -> list[str]:
    if not recipe.keep_memory:
        return ["trainer.train()"]
    return ["import lowcarb.levers", "with lowcarb.levers.keep_memory():", "    trainer.train()"]


LAYERS = {"bert": "base_model.encoder.layer", "distilbert": "base_model.transformer.layer", "t5": "encoder.block"}
"""Where a model of a family keeps its encoder's layers."""
EMBEDDINGS = {"bert": "base_model.embeddings", "distilbert": "base_model.embeddings", "t5": "shared"}


def _of_model(arm: Arm) -> list[str]:
    recipe, lines = arm.recipe, []
    layers, embeddings = f"model.{LAYERS[arm.model.family]}", f"model.{EMBEDDINGS[arm.model.family]}"
    if arm.model.layers is not None:
        lines += [
            f"kept = {list(arm.model.layers)}",
            f"{layers} = torch.nn.ModuleList({layers}[i] for i in kept)",
            "model.config.num_hidden_layers = len(kept)",
        ]
    if recipe.dropout is not None:
        lines += [
            "for module in model.modules():",
            "    if isinstance(module, torch.nn.Dropout):",
            f"        module.p = {recipe.dropout!r}",
        ]
    # With layers frozen, trained embeddings beneath them would have the backward pass go through them all the same.
    if recipe.frozen_embeddings or recipe.frozen_layers:
        lines += [f"{embeddings}.requires_grad_(False)"]
    if recipe.frozen_layers:
        lines += [
            f"for layer in {layers}[:{recipe.frozen_layers}]:",
            "    layer.requires_grad_(False)",
        ]
    if recipe.lora_rank is not None:
        lines += [
            "from peft import LoraConfig, get_peft_model",
            'parts = {"target_modules": ["query", "value"], "modules_to_save": ["qa_outputs"]}',
            f"model = get_peft_model(model, LoraConfig(r={recipe.lora_rank}, **parts))",
        ]
    return lines


def _of_data(recipe: Recipe) -> list[str]:
    pad = "the longest of the batch" if recipe.padding in ("longest", "grouped") else "the whole window"
    lines = [f"# train: your tokenized data set, windows of {recipe.length} tokens that overlap by {recipe.stride}"]
    lines += [f"# collator: pads to {pad}" + ("; several windows in one row" if recipe.padding == "packed" else "")]
    if recipe.answer_windows:
        lines += ["# train: only the windows that hold the answer"]
    if recipe.data_share < 1.0:
        lines += [
            f"# {recipe.selection} selection of the questions",
            f"train = train.shuffle(seed=0).select(range(round({recipe.data_share!r} * len(train))))",
        ]
    if recipe.patience is not None:
        lines += [f"# EarlyStoppingCallback(early_stopping_patience={recipe.patience}) on a held-out tenth"]
    if recipe.least_gain is not None:
        lines += [f"# stop where lowcarb.core.gain.gain_to_come(looks) < {recipe.least_gain!r} on a held-out tenth"]
    return lines
