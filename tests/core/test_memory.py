"""Memory of a training run, against what PyTorch saves for its backward pass and against published sizes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.catalogue.config import spec_from_config
from lowcarb.core.estimate import total
from lowcarb.core.memory import Setup, activation_bytes, fits, memory_of, remedies
from lowcarb.core.shape import Method, ModelSpec
from lowcarb.errors import SettingError

BERT_BASE = ModelSpec("bert-base", "encoder", 12, 768, 3072, 12, 30522, positions=512)
LLAMA = ModelSpec(
    "llama-2-7b", "decoder", 32, 4096, 11008, 32, 32000, gated=True, output_vocabulary=True, tied=False, rms=True,
    dropout=False,
)  # fmt: skip
GB = 1e9

SMALL = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 300}
SAVED = {
    "bert": SMALL | {"intermediate_size": 512},
    "opt": SMALL | {"ffn_dim": 512, "word_embed_proj_dim": 128},
    "gpt2": {"n_embd": 128, "n_layer": 4, "n_head": 4, "vocab_size": 300},
    "llama": SMALL | {"num_key_value_heads": 2, "intermediate_size": 344},
    "qwen3": SMALL | {"num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 344},
    "mixtral": SMALL | {"num_key_value_heads": 2, "intermediate_size": 344, "num_local_experts": 4},
    "t5": {"d_model": 128, "num_layers": 3, "num_heads": 4, "d_kv": 32, "d_ff": 512, "vocab_size": 300},
}


def _saved_bytes(kind, *, attention, mixed, adapted=None):
    """Bytes of the storages that a forward pass saves, weights left out, and the shape of the model."""
    torch = pytest.importorskip("torch", reason="the lab extra is not installed")
    transformers = pytest.importorskip("transformers", reason="the lab extra is not installed")
    config = transformers.CONFIG_MAPPING[kind](**SAVED[kind])
    for key in config.to_dict():
        # The CPU keeps dropout's masks as wide numbers, accelerators do not.
        if "drop" in key and isinstance(getattr(config, key, None), float):
            setattr(config, key, 0.0)
    spec = spec_from_config(json.loads(config.to_json_string(use_diff=False)), kind)
    model = transformers.AutoModel.from_config(config, attn_implementation=attention).train()
    if adapted is not None:
        adapted(model, 4)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    shapes = {tuple(sorted(weight.shape)) for weight in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        # Narrowed copies of weights belong to the weights.
        if storage.data_ptr() not in weights and tuple(sorted(tensor.shape)) not in shapes:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    ids = torch.randint(3, 300, (3, 128), generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": ids} | ({"decoder_input_ids": ids[:, :96]} if spec.decoder_layers else {})
    if kind != "bert":
        inputs["use_cache"] = False
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=mixed),
    ):
        held = model(**inputs).last_hidden_state
    assert held.requires_grad
    return sum(size for size, _ in kept.values()), spec


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in SAVED if kind != "gpt2"])  # whose projections are one and not linear
def test_activations_under_adapters_are_those_that_pytorch_saves(kind, mixed, attention, add_adapters):
    saved, spec = _saved_bytes(kind, attention=attention, mixed=mixed, adapted=add_adapters)
    setup = Setup(
        3, 128, 96 if spec.decoder_layers else 0, precision="bf16" if mixed else "fp32",
        attention="fused" if attention == "sdpa" else "eager", method=Method("lora", 4),
    )  # fmt: skip

    found = memory_of(spec, setup).activations_bytes
    assert found.low <= saved <= found.high


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("kind", SAVED)
def test_activations_are_those_that_pytorch_saves(kind, mixed, attention):
    saved, spec = _saved_bytes(kind, attention=attention, mixed=mixed)
    setup = Setup(
        3, 128, 96 if spec.decoder_layers else 0, precision="bf16" if mixed else "fp32",
        attention="fused" if attention == "sdpa" else "eager",
    )  # fmt: skip

    found = memory_of(spec, setup).activations_bytes
    assert found.low <= saved <= found.high
    if not (mixed and (spec.experts or attention == "eager")):
        assert saved == pytest.approx(activation_bytes(spec, setup), rel=0.15)


def test_states_are_sixteen_bytes_a_weight_and_are_shared_as_zero_shares_them():
    """Rajbhandari et al. 2020 (arXiv 1910.02054), figure 1: 7.5e9 weights over 64 devices hold 120, 31.4, 16.6 and
    1.9 GB of states, in mixed precision with weights and gradients of two bytes; ours are four and four."""
    spec = replace(LLAMA, layers=36)
    weights = spec.parameters
    found = {}
    for stage in (0, 1, 2, 3):
        memory = memory_of(spec, Setup(1, 128, count=64, stage=stage))
        found[stage] = memory.weights_bytes.mid + memory.gradients_bytes.mid + memory.optimizer_bytes.mid

    assert found[0] == pytest.approx(16 * weights)
    assert found[1] == pytest.approx((8 + 8 / 64) * weights)
    assert found[2] == pytest.approx((4 + 12 / 64) * weights)
    assert 16 / 64 * weights < found[3] < found[2] / 4


def test_adapters_of_a_7b_model_fit_where_a_full_fine_tuning_does_not():
    """One of the most usual choices: 24 GB hold LoRA on 7B weights in bf16, 80 GB do not hold all moments."""
    setup = Setup(1, 512, precision="bf16", method=Method(recompute=True))
    lora = replace(setup, method=Method("lora", recompute=True))

    assert fits(memory_of(LLAMA, setup), 80 * GB) is False
    assert fits(memory_of(LLAMA, lora), 24 * GB) is True


def test_scores_over_a_large_vocabulary_are_counted():
    small, large = (memory_of(replace(LLAMA, vocabulary=one), Setup(4, 1024)).logits_bytes for one in (1000, 128256))

    assert large.mid - small.mid == pytest.approx(127256 * 4 * 1024 * 12)


@given(
    st.integers(1, 64), st.integers(1, 2048), st.sampled_from(["fp32", "bf16"]), st.sampled_from(["full", "lora"]),
    st.booleans(), st.sampled_from([0, 1, 2, 3]),
)  # fmt: skip
def test_parts_add_up_and_more_sequences_need_more(batch, length, precision, method, recompute, stage):
    setup = Setup(
        batch, length, precision=precision, method=Method(method, recompute=recompute), count=8, stage=stage
    )  # fmt: skip
    memory = memory_of(BERT_BASE, setup)
    parts = total(
        (memory.weights_bytes, memory.gradients_bytes, memory.optimizer_bytes, memory.activations_bytes)
    ) + memory.logits_bytes  # fmt: skip

    assert parts.mid == pytest.approx(memory.total_bytes.mid)
    assert memory.total_bytes.mid < memory_of(BERT_BASE, replace(setup, batch=batch + 1)).total_bytes.mid
    assert activation_bytes(BERT_BASE, replace(setup, method=Method(method, recompute=True))) <= activation_bytes(
        BERT_BASE, setup
    )


@given(st.integers(2, 256), st.floats(2e9, 200e9), st.sampled_from([BERT_BASE, LLAMA]))
def test_what_is_advised_makes_it_fit(batch, device, model):
    setup = Setup(batch, 384, precision="bf16")
    advice = remedies(model, setup, device)

    if fits(memory_of(model, setup), device):
        assert advice == ()
    for one in advice:
        if one.startswith("batch"):
            smaller = replace(setup, batch=int(one.split()[1]))
            assert fits(memory_of(model, smaller), device) is not False
            assert smaller.batch < batch
        elif one == "gradient checkpointing":
            assert fits(memory_of(model, replace(setup, method=Method(recompute=True))), device) is not False
        elif one == "LoRA":
            assert fits(memory_of(model, replace(setup, method=Method("lora"))), device) is not False
        elif one.startswith("shard"):
            shared = replace(setup, count=int(one.split()[2]), stage=3)
            assert fits(memory_of(model, shared), device) is not False
        elif one.startswith("a device"):
            assert fits(memory_of(model, setup), float(one.split()[3]) * GB) is not False


def test_a_run_that_fits_needs_no_advice_and_one_that_does_not_gets_some():
    assert remedies(BERT_BASE, Setup(8, 128), 16 * GB) == ()
    advice = remedies(BERT_BASE, Setup(256, 384), 16 * GB)
    assert any(one.startswith("batch ") for one in advice)
    assert "gradient checkpointing" in advice
    assert "LoRA" not in advice  # activations are the trouble


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0}, {"length": 0}, {"target_length": -1}, {"precision": "int4"}, {"attention": "flash"},
        {"count": 0}, {"stage": 4},
    ],
)  # fmt: skip
def test_impossible_setups_are_refused_by_name(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Setup(**({"batch": 1, "length": 8} | wrong))


def test_a_device_without_memory_is_refused():
    with pytest.raises(SettingError, match="memory_bytes"):
        fits(memory_of(BERT_BASE, Setup(1, 8)), 0.0)
