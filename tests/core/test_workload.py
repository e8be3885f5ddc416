"""FLOPs, bytes and memory against published figures."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.catalogue.config import spec_from_config
from lowcarb.core.workload import Method, ModelSpec, step_cost, training_flops, training_workload
from lowcarb.errors import SettingError

BERT_BASE = ModelSpec("bert-base", "encoder", 12, 768, 3072, 12, 30522, positions=512)
BERT_LARGE = ModelSpec("bert-large", "encoder", 24, 1024, 4096, 16, 30522, positions=512)
T5_BASE = ModelSpec("t5-base", "encoder-decoder", 12, 768, 3072, 12, 32128, decoder_layers=12, output_vocabulary=True)


@pytest.mark.parametrize(("spec", "published"), [(BERT_BASE, 110e6), (BERT_LARGE, 340e6), (T5_BASE, 223e6)])
def test_parameters_match_the_papers(spec, published):
    """Devlin et al. 2019, section 3; Raffel et al. 2020, section 2.1 (t5-base, tied embeddings)."""
    assert published == pytest.approx(spec.parameters, rel=0.02)


def test_a_forward_pass_of_bert_base_takes_the_flops_that_electra_counted():
    """Clark et al. 2020 (arXiv 2003.10555), table 1: BERT-base infers 128 tokens in 2.9e10 FLOPs; they count the
    output layer over the vocabulary for pretraining apart, and so do we."""
    assert 2.2e10 < BERT_BASE.forward_flops(1, 128) < 2.9e10


def test_training_costs_six_flops_a_weight_and_token_where_attention_is_short():
    cost = step_cost(BERT_LARGE, batch=1, length=128)

    assert 6 * BERT_LARGE.body_parameters * 128 == pytest.approx(cost.flops, rel=0.05)


@given(st.integers(1, 64), st.integers(1, 512), st.integers(1, 511))
def test_longer_sequences_and_larger_batches_never_cost_less(batch, length, more):
    less, longer = BERT_BASE.forward_flops(batch, length), BERT_BASE.forward_flops(batch, length + more)

    assert less < longer
    assert less < BERT_BASE.forward_flops(batch + 1, length)


def test_a_full_fine_tuning_of_bert_base_at_batch_16_fits_a_t4():
    """The paper's own setting: batch 16, 384 tokens, on a 16 GB T4."""
    workload = training_workload(BERT_BASE, steps=1, batch=16, length=384)

    assert 3e9 < workload.memory_bytes < 16e9


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": -1}, {"length": 0}, {"precision": "fp64"}])
def test_impossible_settings_are_refused_by_name(wrong):
    settings = {"steps": 1, "batch": 1, "length": 8} | wrong

    with pytest.raises(SettingError, match=next(iter(wrong))):
        training_workload(BERT_BASE, **settings)


# Against the operations that PyTorch counts


SMALL = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 300}
LATENT = {
    "q_lora_rank": 48, "kv_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32, "v_head_dim": 32,
}  # fmt: skip
COUNTED = {
    "bert": SMALL | {"intermediate_size": 512},
    "albert": SMALL | {"intermediate_size": 512, "embedding_size": 64},
    "deberta-v2": SMALL
    | {"intermediate_size": 512, "relative_attention": True, "position_buckets": 32, "norm_rel_ebd": "layer_norm"}
    | {"share_att_key": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
    "gpt2": {"n_embd": 128, "n_layer": 4, "n_head": 4, "vocab_size": 300},
    "llama": SMALL | {"num_key_value_heads": 2, "intermediate_size": 344},
    "falcon": SMALL,
    "t5": {"d_model": 128, "num_layers": 3, "num_heads": 4, "d_kv": 32, "d_ff": 512, "vocab_size": 300},
    "mixtral": SMALL | {"num_key_value_heads": 2, "intermediate_size": 344, "num_local_experts": 4},
    "deepseek_v3": SMALL
    | {"num_key_value_heads": 4, "intermediate_size": 344, "moe_intermediate_size": 64, "n_routed_experts": 8}
    | {"num_experts_per_tok": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
    | LATENT,
}


def _small_model(kind):
    """A model that transformers builds, its shape as read from its configuration, and a batch for it."""
    torch = pytest.importorskip("torch", reason="the lab extra is not installed")
    transformers = pytest.importorskip("transformers", reason="the lab extra is not installed")
    config = transformers.CONFIG_MAPPING[kind](**COUNTED[kind])
    config.decoder_start_token_id = config.pad_token_id = 0
    spec = spec_from_config(json.loads(config.to_json_string(use_diff=False)), kind)
    classes = {
        "encoder": transformers.AutoModelForQuestionAnswering, "decoder": transformers.AutoModelForCausalLM,
        "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
    }  # fmt: skip
    more = {"experts_implementation": "batched_mm"} if spec.experts else {}
    model = classes[spec.kind].from_config(config, attn_implementation="eager", **more).train()
    ids = torch.randint(3, 300, (2, 64), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids}
    if spec.kind == "encoder":
        batch |= {"start_positions": ids[:, 0] % 60, "end_positions": ids[:, 1] % 60}
    else:
        batch |= {"labels": ids[:, :48].contiguous() if spec.decoder_layers else ids}
    if spec.kind == "decoder":
        batch["use_cache"] = False
    return model, spec, batch


def _counted_flops(model, batch):
    counting = pytest.importorskip("torch.utils.flop_counter")

    with counting.FlopCounterMode(display=False) as counter:
        model(**batch).loss.backward()
    return counter.get_total_flops()


def _target(spec):
    return 48 if spec.decoder_layers else 0


@pytest.mark.parametrize("kind", COUNTED)
def test_a_training_step_takes_the_flops_that_pytorch_counts(kind):
    model, spec, batch = _small_model(kind)

    assert _counted_flops(model, batch) == pytest.approx(training_flops(spec, 2, 64, _target(spec)), rel=0.01)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_frozen_layers_save_the_flops_that_pytorch_saves(kind):
    """Within 4 %: of the lowest layer that learns, the gradient of its input is left out where nobody needs it."""
    model, spec, batch = _small_model(kind)
    nn = pytest.importorskip("torch.nn")

    layers = next(one for one in model.modules() if isinstance(one, nn.ModuleList) and len(one) == spec.layers)
    frozen = [*layers[:2], *(one for one in model.modules() if isinstance(one, nn.Embedding))]
    for weight in (weight for module in frozen for weight in module.parameters()):
        weight.requires_grad = False

    expected = training_flops(spec, 2, 64, method=Method(frozen_layers=2))
    if kind == "bert":
        model.bert.embeddings.LayerNorm.requires_grad_(requires_grad=False)
    assert _counted_flops(model, batch) == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("kind", ["bert", "llama", "t5"])
def test_adapters_take_the_flops_that_pytorch_counts(kind, add_adapters):
    model, spec, batch = _small_model(kind)
    add_adapters(model, 4)
    method = Method("lora", lora_rank=4)

    assert sum(one.numel() for one in model.parameters() if one.requires_grad) == method.trainable_parameters(spec)
    expected = training_flops(spec, 2, 64, _target(spec), method)
    assert _counted_flops(model, batch) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_recomputation_costs_one_more_forward_pass_of_the_layers(kind):
    """Within 7 %: PyTorch stops recomputing a layer at the last tensor that it keeps, so before its last matrix."""
    model, spec, batch = _small_model(kind)
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable()

    counted = _counted_flops(model, batch)
    expected = training_flops(spec, 2, 64, method=Method(recompute=True))
    assert training_flops(spec, 2, 64) < counted <= expected * 1.001
    assert counted == pytest.approx(expected, rel=0.07)


# Method, padding


def test_adapters_cost_about_two_thirds_of_a_full_fine_tuning():
    llama = ModelSpec("llama", "decoder", 32, 4096, 11008, 32, 32000, gated=True, output_vocabulary=True, tied=False)
    settings = {"steps": 10, "batch": 8, "length": 512}
    full, lora = (training_workload(llama, **settings, method=one) for one in ("full", "lora"))

    assert 0.64 < lora.flops / full.flops < 0.70
    assert lora.bytes < full.bytes
    assert full.memory_bytes - lora.memory_bytes == pytest.approx(12 * llama.parameters, rel=0.01)


def test_padding_costs_as_much_as_any_token_but_is_not_useful():
    settings = {"steps": 10, "batch": 8, "length": 384}
    packed, padded = (training_workload(BERT_BASE, **settings, padding_share=share) for share in (0.0, 0.25))

    assert padded.flops == packed.flops
    assert padded.tokens == packed.tokens == packed.useful_tokens
    assert padded.useful_tokens == 0.75 * padded.tokens


@given(st.integers(0, 11))
def test_each_frozen_layer_saves_and_recomputation_never_does(count):
    def flops(**settings):
        return training_workload(BERT_BASE, steps=1, batch=1, length=128, **settings).flops

    assert flops(frozen_layers=count + 1) < flops(frozen_layers=count)
    assert flops(frozen_layers=count) < flops(frozen_layers=count, recompute=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "prefix"}, {"lora_rank": 0}, {"frozen_layers": 13}, {"frozen_layers": -1}, {"padding_share": 1.0},
        {"padding_share": -0.1}, {"padding_share": float("nan")}, {"target_length": -1},
    ],
)  # fmt: skip
def test_impossible_methods_are_refused_by_name(wrong):
    settings = {"steps": 1, "batch": 1, "length": 8} | wrong

    with pytest.raises(SettingError, match=next(iter(wrong))):
        training_workload(BERT_BASE, **settings)
