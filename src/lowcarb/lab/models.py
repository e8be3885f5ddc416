"""Models: pretrained or from scratch, with layers left out, and with the embeddings of another vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    BertConfig,
    BertForQuestionAnswering,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
)

from lowcarb.core.trial import ModelChoice, Recipe, Shape
from lowcarb.core.workload import ModelSpec
from lowcarb.errors import SettingError
from lowcarb.lab.sources import pretrained_folder
from lowcarb.lab.tokenizers import Remap, native_tokenizer, remapped, same_vocabulary

POSITIONS = 512


@dataclass(frozen=True, slots=True)
class Built:
    """A model ready to train."""

    model: PreTrainedModel
    spec: ModelSpec
    remap: Remap | None
    """What a swapped tokenizer did to the embeddings; None without a swap."""
    parameters: int
    """Of the model itself, adapters left out."""
    trainable: int
    """That learn, adapters among them."""


def build_model(
    choice: ModelChoice, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, text: list[str], *, seed: int
) -> Built:
    """The model of an arm. The seed draws all weights that are not pretrained.

    Raises:
        SettingError: a layer that the source does not have, a source of another family, or something of the recipe
            that this model cannot do.
    """
    torch.manual_seed(seed)
    model, remap = (_scratch(choice, tokenizer), None) if choice.from_scratch else _pretrained(choice, tokenizer, text)
    if recipe.dropout is not None:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = recipe.dropout
    parameters = sum(p.numel() for p in model.parameters())
    spec = spec_of(choice.id, model.config)
    _set_attention(model, recipe)
    _freeze(model, recipe)
    if recipe.lora_rank is not None:
        _adapt(model, recipe.lora_rank)
    if recipe.checkpointing:
        if not model.supports_gradient_checkpointing:
            raise SettingError("recipe.checkpointing", value=True, expected=f"false: {choice.family} cannot do it")
        model.config.use_cache = False
        _checkpoint(model)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Built(model, spec, remap, parameters, trainable)


def _checkpoint(model: PreTrainedModel) -> None:
    if hasattr(model, "activation_checkpointing_enable"):  # its name from transformers 5.24 on
        model.activation_checkpointing_enable()
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def _set_attention(model: PreTrainedModel, recipe: Recipe) -> None:
    if model.config._attn_implementation != recipe.attention:  # noqa: SLF001  # has no other name
        model.set_attn_implementation(recipe.attention)
    if model.config._attn_implementation != recipe.attention:  # noqa: SLF001
        expected = f"what this model can do: {model.config._attn_implementation}"  # noqa: SLF001
        raise SettingError("recipe.attention", recipe.attention, expected)


def encoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The layers of the encoder, the lowest first."""
    if hasattr(model, "bert"):
        return model.bert.encoder.layer
    return model.distilbert.transformer.layer if hasattr(model, "distilbert") else model.encoder.block


def _freeze(model: PreTrainedModel, recipe: Recipe) -> None:
    """Take the weights below from the training; nothing is computed backward below the lowest that learns."""
    layers = encoder_layers(model)
    if recipe.frozen_layers >= len(layers):
        raise SettingError("recipe.frozen_layers", recipe.frozen_layers, f"below {len(layers)}, the model's layers")
    body = getattr(model, "bert", None) or getattr(model, "distilbert", None)
    if recipe.frozen_embeddings:
        # T5 has one table, which its decoder and its output share. Norms learn on: they are no look-up tables.
        tables = [m for m in body.embeddings.modules() if isinstance(m, nn.Embedding)] if body else [model.shared]
        for table in tables:
            table.requires_grad_(requires_grad=False)
    if recipe.frozen_layers:
        # All of the embeddings: a norm that learns would ask for the gradient through every frozen layer.
        (body.embeddings if body else model.shared).requires_grad_(requires_grad=False)
        for layer in layers[: recipe.frozen_layers]:
            layer.requires_grad_(requires_grad=False)


ADAPTED = {"bert": ["query", "value"], "distilbert": ["q_lin", "v_lin"], "t5": ["q", "v"]}
"""Matrices of queries and values (Hu et al. 2021, arXiv 2106.09685, section 4.2)."""


def _adapt(model: PreTrainedModel, rank: int) -> None:
    """Low-rank adapters in place; only they and a head that is new learn."""
    from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415  # heavy, and only for adapters

    targets = ADAPTED["t5" if model.config.is_encoder_decoder else model.config.model_type]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), model)
    head = getattr(model, "qa_outputs", None)
    if head is not None:
        head.requires_grad_(requires_grad=True)


def _scratch(choice: ModelChoice, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    shape = choice.shape or Shape(layers=2, width=128, heads=4, ff=256)
    common: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    if choice.family == "t5":
        config = T5Config(
            d_model=shape.width, d_ff=shape.ff, d_kv=shape.width // shape.heads, num_heads=shape.heads,
            num_layers=shape.layers, decoder_start_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id, **common,
        )  # fmt: skip
        return T5ForConditionalGeneration(config)
    if choice.family == "bert":
        return BertForQuestionAnswering(
            BertConfig(
                hidden_size=shape.width, intermediate_size=shape.ff, num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads, max_position_embeddings=POSITIONS, **common,
            )
        )  # fmt: skip
    return DistilBertForQuestionAnswering(
        DistilBertConfig(
            dim=shape.width, hidden_dim=shape.ff, n_layers=shape.layers, n_heads=shape.heads,
            max_position_embeddings=POSITIONS, **common,
        )
    )  # fmt: skip


def _pretrained(
    choice: ModelChoice, tokenizer: PreTrainedTokenizerBase, text: list[str]
) -> tuple[PreTrainedModel, Remap | None]:
    folder = pretrained_folder(choice.source)
    found = AutoConfig.from_pretrained(folder).model_type
    if choice.family == "t5":
        model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    elif choice.family == "distilbert" and found == "bert":
        model = distilbert_from_bert(BertForQuestionAnswering.from_pretrained(folder), choice.layers)
    elif choice.family == found:
        model = AutoModelForQuestionAnswering.from_pretrained(folder)
        if choice.layers is not None:
            _keep_layers(model, choice.layers)
    else:
        raise SettingError("models.source", choice.source, f"a {choice.family} model, not {found}")
    native = native_tokenizer(choice, text)
    if same_vocabulary(native, tokenizer):
        return model, None
    rows, remap = remapped(model.get_input_embeddings().weight.detach().clone(), native, tokenizer)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(rows)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.get_input_embeddings().padding_idx = tokenizer.pad_token_id
    return model, remap


def _keep_layers(model: PreTrainedModel, layers: tuple[int, ...]) -> None:
    encoder = model.bert.encoder if hasattr(model, "bert") else model.distilbert.transformer
    encoder.layer = nn.ModuleList(_chosen(list(encoder.layer), layers))
    model.config.num_hidden_layers = len(layers)


def _chosen(all_layers: list[nn.Module], layers: tuple[int, ...]) -> list[nn.Module]:
    if not layers or max(layers) >= len(all_layers) or min(layers) < 0:
        raise SettingError("models.layers", list(layers), f"numbers from 0 to {len(all_layers) - 1}")
    return [all_layers[index] for index in layers]


def distilbert_from_bert(source: PreTrainedModel, layers: tuple[int, ...] | None) -> PreTrainedModel:
    """A DistilBERT that starts from some layers of a BERT, as DistilBERT itself started.

    Sanh et al. 2019, arXiv 1910.01108, section 3. DistilBERT has no segment embeddings: BERT's for the first segment is
    added to the positions, so that a first-segment token looks the same to the first layer.
    """
    config = source.config
    kept = _chosen(list(source.bert.encoder.layer), layers or tuple(range(config.num_hidden_layers)))
    model = DistilBertForQuestionAnswering(
        DistilBertConfig(
            vocab_size=config.vocab_size, dim=config.hidden_size, hidden_dim=config.intermediate_size,
            n_layers=len(kept), n_heads=config.num_attention_heads,
            max_position_embeddings=config.max_position_embeddings, pad_token_id=config.pad_token_id,
            dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
        )
    )  # fmt: skip
    from_embeddings, to_embeddings = source.bert.embeddings, model.distilbert.embeddings
    to_embeddings.word_embeddings.load_state_dict(from_embeddings.word_embeddings.state_dict())
    to_embeddings.LayerNorm.load_state_dict(from_embeddings.LayerNorm.state_dict())
    with torch.no_grad():
        positions = from_embeddings.position_embeddings.weight + from_embeddings.token_type_embeddings.weight[0]
        to_embeddings.position_embeddings.weight.copy_(positions)
    for layer, target in zip(kept, model.distilbert.transformer.layer, strict=True):
        for old, new in (
            (layer.attention.self.query, target.attention.q_lin),
            (layer.attention.self.key, target.attention.k_lin),
            (layer.attention.self.value, target.attention.v_lin),
            (layer.attention.output.dense, target.attention.out_lin),
            (layer.attention.output.LayerNorm, target.sa_layer_norm),
            (layer.intermediate.dense, target.ffn.lin1),
            (layer.output.dense, target.ffn.lin2),
            (layer.output.LayerNorm, target.output_layer_norm),
        ):
            new.load_state_dict(old.state_dict())
    return model


def spec_of(model_id: str, config: Any) -> ModelSpec:
    """The shape of a model from its Hugging Face configuration."""
    if config.model_type == "t5":
        return ModelSpec(
            model_id, "encoder-decoder", config.num_layers, config.d_model, config.d_ff, config.num_heads,
            config.vocab_size, decoder_layers=config.num_decoder_layers,
            gated=bool(getattr(config, "is_gated_act", False)), output_vocabulary=True,
        )  # fmt: skip
    ff = getattr(config, "intermediate_size", None) or config.hidden_dim
    return ModelSpec(
        model_id, "encoder", config.num_hidden_layers, config.hidden_size, ff, config.num_attention_heads,
        config.vocab_size, positions=config.max_position_embeddings,
    )  # fmt: skip
