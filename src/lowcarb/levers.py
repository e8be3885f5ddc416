"""Levers on your own Hugging Face training: `apply` to its `TrainingArguments`, `prepare` to its model.

    arguments = lowcarb.levers.apply(arguments, ["bf16", "grouped-padding", "fewer-epochs=1"])
    model = lowcarb.levers.prepare(model, ["freeze-layers=3", "no-dropout"])
    with lowcarb.levers.keep_memory():
        trainer.train()

Levers are written as everywhere in lowcarb (`lowcarb.core.levers`). Nothing is left out in silence: a lever that
cannot be said here is an error that says where it can be.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lowcarb.core.levers import Pulled, clash, parse_pulled
from lowcarb.errors import SettingError

__all__ = ["apply", "keep_memory", "prepare"]

Settings = Mapping[str, Any]

ELSEWHERE = {
    "dynamic-padding": "give the Trainer a collator that pads to the longest, such as DataCollatorWithPadding, and "
    "tokenize without padding",
    "split-padding": "sort each batch by length in the training step and add up the gradients of its parts",
    "packing": "pack in the data collator, such as DataCollatorWithFlattening",
    "fp8": "use Accelerate: `accelerate launch --mixed_precision fp8`",
    "early-stopping": "add transformers.EarlyStoppingCallback to the Trainer, on questions held out from training",
    "stop-by-gain": "stop in a callback's on_evaluate where lowcarb.core.gain.gain_to_come(looks) is below the points",
    "keep-memory": "with lowcarb.levers.keep_memory(): trainer.train(); or in the environment, without code: "
    "MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000 MALLOC_TOP_PAD_=67108864",
    "attention": "load the model with attn_implementation='sdpa'",
    "data-share": "pass the Trainer a smaller data set: train.shuffle(seed).select(range(n))",
    "trim-windows": "tokenize with a shorter max_length and keep the windows that hold the answer",
    "smaller-vocabulary": "train a tokenizer, and resize the model's embeddings, before the Trainer is made",
    "distill": "override Trainer.compute_loss with a teacher's logits; `lowcarb study run` does it",
    "power-cap": "it needs the device: see lowcarb.integrations.limits",
    "clock-lock": "it needs the device: see lowcarb.integrations.limits",
    "other-device": "start the training on that device",
    "greener-site": "start the training there",
    "greener-hour": "start the training then",
}
"""What cannot be said through arguments or the model, and where to do it."""


def _group_by_length(settings: Settings, names: set[str]) -> dict[str, Any]:
    # transformers 5 renamed the switch.
    del settings
    if "train_sampling_strategy" in names:
        return {"train_sampling_strategy": "group_by_length"}
    return {"group_by_length": True}


def _checkpointing(settings: Settings, names: set[str]) -> dict[str, Any]:
    # transformers 5.24 renamed the switch, and the old name clears itself.
    del settings
    new = "activation_checkpointing"
    return {new if new in names else "gradient_checkpointing": True}


def _epochs(settings: Settings, names: set[str]) -> dict[str, Any]:
    # A number of steps would take precedence over the epochs.
    del names
    return {"num_train_epochs": settings["epochs"], "max_steps": -1}


def _schedule(settings: Settings, names: set[str]) -> dict[str, Any]:
    shape = settings["shape"]
    # transformers 5 reads a share below 1 in warmup_steps; before, it had a name of its own.
    share = "warmup_ratio" if "warmup_ratio" in names else "warmup_steps"
    return {"lr_scheduler_type": "constant_with_warmup" if shape == "constant" else shape, share: settings["warmup"]}


def _workers(settings: Settings, names: set[str]) -> dict[str, Any]:
    del names
    return {
        "dataloader_num_workers": settings["count"], "dataloader_pin_memory": True,
        "dataloader_persistent_workers": True,
    }  # fmt: skip


ALWAYS: Mapping[str, Mapping[str, Any]] = {
    "bf16": {"bf16": True, "fp16": False},
    "fp16": {"fp16": True, "bf16": False},
    "fused-optimizer": {"optim": "adamw_torch_fused"},
    "compile": {"torch_compile": True},
}
"""By lever without settings, the fields of `TrainingArguments` that say it."""
NAMED: Mapping[str, tuple[str, str]] = {
    "batch": ("size", "per_device_train_batch_size"),
    "accumulation": ("batches", "gradient_accumulation_steps"),
    "learning-rate": ("rate", "learning_rate"),
}
"""By lever with one setting, its name and the field that takes it."""
MADE: Mapping[str, Callable[[Settings, set[str]], dict[str, Any]]] = {
    "grouped-padding": _group_by_length,
    "checkpointing": _checkpointing,
    "fewer-epochs": _epochs,
    "schedule": _schedule,
    "workers": _workers,
}
"""By lever, what makes its fields from its settings and from the fields that there are."""
ARGUMENTS = frozenset({*ALWAYS, *NAMED, *MADE})
"""The levers that arguments can say."""


def _said(one: Pulled, names: set[str]) -> dict[str, Any]:
    settings = dict(one.settings)
    if one.lever in MADE:
        return MADE[one.lever](settings, names)
    if one.lever in NAMED:
        setting, field = NAMED[one.lever]
        return {field: settings[setting]}
    return dict(ALWAYS[one.lever])


def apply(args: Any, levers: Iterable[str]) -> Any:
    """A copy of `TrainingArguments` with levers pulled; the one given stays as it is.

    Args:
        args: `transformers.TrainingArguments` or a subclass.
        levers: such as `bf16` or `fewer-epochs=1`.

    Raises:
        SettingError: an unknown lever, two that conflict, or one that arguments cannot say, with what to do instead.
    """
    names = {field.name for field in dataclasses.fields(args) if field.init}
    changes: dict[str, Any] = {}
    for one in _parsed(levers):
        if one.lever in MODEL:
            raise SettingError("levers", str(one), "a lever of the arguments: this one is for lowcarb.levers.prepare()")
        if one.lever not in ARGUMENTS:
            raise SettingError("levers", str(one), f"a lever that TrainingArguments can say: {_remedy(one)}")
        said = _said(one, names)
        unknown = sorted(set(said) - names)
        if unknown:
            expected = f"a transformers whose TrainingArguments have {', '.join(unknown)}: upgrade it"
            raise SettingError("levers", str(one), expected)
        changes |= said
    return _with(args, changes)


def _with(args: Any, changes: Mapping[str, Any]) -> Any:
    """A copy in which what depends on the changed fields is set up anew."""
    new = copy.deepcopy(args)
    for name, value in changes.items():
        setattr(new, name, value)
    if changes:
        new.__post_init__()
    return new


def _parsed(levers: Iterable[str]) -> list[Pulled]:
    if isinstance(levers, str):
        raise SettingError("levers", levers, f"a list: [{levers!r}]")
    pulled = [parse_pulled(text) for text in levers]
    conflict = clash(pulled)
    if conflict is not None:
        raise SettingError("levers", ", ".join(map(str, pulled)), f"levers that go together: {conflict}")
    return pulled


def _remedy(one: Pulled) -> str:
    return ELSEWHERE.get(one.lever, "`lowcarb levers` says what it needs")


def _layers(model: Any) -> Any:
    """The list of the lowest stack of layers, the lowest first, and what holds it."""
    for path in ("encoder.layer", "transformer.layer", "encoder.block", "layers", "h", "decoder.layers"):
        *above, name = path.split(".")
        holder = getattr(model, "base_model", model)
        for part in above:
            holder = getattr(holder, part, None)
        if holder is not None and hasattr(holder, name):
            return holder, name
    raise SettingError("model", type(model).__name__, "a model whose layers are found: freeze them by hand")


def _no_dropout(model: Any, settings: Settings) -> Any:
    del settings
    import torch  # noqa: PLC0415  # heavy

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout"):  # a rate that a module keeps as a number
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model


def _freeze_embeddings(model: Any, settings: Settings) -> Any:
    del settings
    model.get_input_embeddings().requires_grad_(requires_grad=False)
    embeddings = getattr(getattr(model, "base_model", model), "embeddings", None)
    if embeddings is not None:
        import torch  # noqa: PLC0415  # heavy

        for table in embeddings.modules():
            if isinstance(table, torch.nn.Embedding):
                table.requires_grad_(requires_grad=False)
    return model


def _freeze_layers(model: Any, settings: Settings) -> Any:
    holder, name = _layers(model)
    layers, count = getattr(holder, name), settings["layers"]
    if count >= len(layers):
        raise SettingError("freeze-layers:layers", count, f"below {len(layers)}, the model's layers")
    # A norm beside the tables that learns would ask for the gradient through every frozen layer.
    embeddings = getattr(getattr(model, "base_model", model), "embeddings", None)
    (model.get_input_embeddings() if embeddings is None else embeddings).requires_grad_(requires_grad=False)
    for layer in layers[:count]:
        layer.requires_grad_(requires_grad=False)
    return model


def _fewer_layers(model: Any, settings: Settings) -> Any:
    import torch  # noqa: PLC0415  # heavy

    if model.config.is_encoder_decoder:
        raise SettingError("levers", "fewer-layers", "an encoder or a decoder alone: choose layers of both by hand")
    holder, name = _layers(model)
    layers, kept = getattr(holder, name), [int(part) for part in settings["layers"].split("-")]
    if max(kept) >= len(layers):
        raise SettingError("fewer-layers:layers", settings["layers"], f"numbers from 0 to {len(layers) - 1}")
    setattr(holder, name, torch.nn.ModuleList(layers[number] for number in kept))
    model.config.num_hidden_layers = len(kept)
    return model


def _lora(model: Any, settings: Settings) -> Any:
    try:
        from peft import LoraConfig, get_peft_model  # noqa: PLC0415  # heavy, and only for adapters
    except ImportError as error:
        raise SettingError("levers", "lora", "the peft library: pip install peft") from error
    head = [name for name in ("qa_outputs", "classifier", "score") if hasattr(model, name)]
    rank = settings["rank"]
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, modules_to_save=head or None))


MODEL: Mapping[str, Callable[[Any, Settings], Any]] = {
    "fewer-layers": _fewer_layers,
    "freeze-embeddings": _freeze_embeddings,
    "freeze-layers": _freeze_layers,
    "no-dropout": _no_dropout,
    "lora": _lora,
}
"""By lever, in the order in which they are pulled, what is done to the model."""


def prepare(model: Any, levers: Iterable[str]) -> Any:
    """The model with levers pulled that are the model's: changed in place, and returned (LoRA wraps it).

    Args:
        model: a `transformers.PreTrainedModel`, before its Trainer is made.
        levers: such as `freeze-layers=3`, `no-dropout`, `lora=8` or `fewer-layers=0-2-4`.

    Raises:
        SettingError: an unknown lever, two that conflict, one that is not the model's, or layers that it has not.
    """
    pulled = {one.lever: one for one in _parsed(levers)}
    for name, one in pulled.items():
        if name in ARGUMENTS:
            raise SettingError("levers", str(one), "a lever of the model: this one is for lowcarb.levers.apply()")
        if name not in MODEL:
            raise SettingError("levers", str(one), f"a lever that a model can take: {_remedy(one)}")
    for name, pull in MODEL.items():
        if name in pulled:
            model = pull(model, dict(pulled[name].settings))
    return model


@contextmanager
def keep_memory() -> Iterator[None]:
    """Within the block, memory that is freed stays with this process: the lever `keep-memory`, around your training.

        with lowcarb.levers.keep_memory():
            trainer.train()

    For trainings on a processor, on 64-bit Linux with glibc; on a GPU it changes nothing. It is taken back at the end.

    Raises:
        SettingError: memory is not managed by glibc's malloc.
    """
    from lowcarb.lab.heap import memory_kept  # noqa: PLC0415  # nothing heavy, but of use to few

    with memory_kept():
        yield
