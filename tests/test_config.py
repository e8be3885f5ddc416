"""Shapes read from configurations, against the models that transformers builds from the same files."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.catalogue.config import read_config, spec_from_config
from lowcarb.catalogue.families import READERS
from lowcarb.errors import SettingError

BERT = {
    "model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2,
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "intermediate_size": 11008, "vocab_size": 32000, "tie_word_embeddings": False,
}  # fmt: skip
DISENTANGLED = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
VARIANTS = [
    ("deepseek_v2", {"num_hidden_layers": 3, "first_k_dense_replace": 1, "num_experts_per_tok": 6}),
    ("deepseek_v2", {"num_hidden_layers": 3, "q_lora_rank": None, "num_experts_per_tok": 6}),
    ("deepseek_v3", {"num_hidden_layers": 5}),
    ("deberta-v2", DISENTANGLED | {"position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True}),
    ("deberta-v2", DISENTANGLED | {"conv_kernel_size": 3, "position_biased_input": False}),
    (
        "opt",
        {"word_embed_proj_dim": 512, "do_layer_norm_before": False, "hidden_size": 1024, "num_attention_heads": 16},
    ),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 8, "hidden_size": 1024, "num_attention_heads": 16}),
    (
        "falcon",
        {"multi_query": False, "parallel_attn": False, "bias": True, "hidden_size": 512, "num_attention_heads": 8},
    ),
    ("stablelm", {"use_qkv_bias": True, "qk_layernorm": True, "use_parallel_residual": True}),
    ("llama", {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4, "tie_word_embeddings": True}),
    ("qwen2_moe", {"decoder_sparse_step": 2, "mlp_only_layers": [1], "num_hidden_layers": 6}),
    ("gemma", {"num_attention_heads": 8, "num_key_value_heads": 1, "hidden_size": 2048}),
    ("t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "d_kv": 128}),
    ("electra", {"embedding_size": 256, "hidden_size": 256}),
    ("albert", {"num_hidden_groups": 2}),
    ("falcon", {"num_attention_heads": 8, "hidden_size": 512, "alibi": True}),
]
PLAIN = [(kind, {}) for kind in READERS if kind != "deepseek_v2"]  # its class leaves the experts of a token open


@pytest.mark.parametrize(("kind", "changed"), [*PLAIN, *VARIANTS])
def test_parameters_are_exactly_those_that_transformers_builds(tmp_path, kind, changed):
    """Weight for weight, on the meta device: nothing is allocated. Encoders without a task's head."""
    torch = pytest.importorskip("torch", reason="the lab extra is not installed")
    transformers = pytest.importorskip("transformers", reason="the lab extra is not installed")
    if kind not in transformers.CONFIG_MAPPING:
        pytest.skip(f"this transformers does not know {kind}")
    config = transformers.CONFIG_MAPPING[kind](**changed)
    (tmp_path / "config.json").write_text(config.to_json_string(use_diff=False))

    spec = read_config(tmp_path)
    classes = {
        "encoder": transformers.AutoModel, "decoder": transformers.AutoModelForCausalLM,
        "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
    }  # fmt: skip
    with torch.device("meta"):
        model = classes[spec.kind].from_config(config)
    assert spec.parameters == model.num_parameters()
    assert spec.remark == ""
    assert spec.parameters >= spec.active_parameters > 0


def test_a_folder_and_its_file_give_the_same_shape(tmp_path):
    folder = tmp_path / "bert-base"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(BERT))

    assert read_config(folder) == read_config(str(folder / "config.json"))
    assert read_config(folder).id == "bert-base"
    assert read_config(folder).parameters == 109_482_240  # as published with the weights


def test_the_language_part_of_a_model_that_sees_is_read():
    assert spec_from_config({"model_type": "llava", "text_config": LLAMA}, "x").parameters == 6_738_415_616


def test_an_unknown_type_with_the_usual_keys_is_read_and_says_so():
    spec = spec_from_config(LLAMA | {"model_type": "newcomer"}, "x")

    assert spec.parameters == 6_738_415_616
    assert "newcomer" in spec.remark
    assert "usual keys" in spec.remark


def test_an_unknown_type_without_them_names_its_neighbours():
    with pytest.raises(SettingError, match=r"model_type = 'lama'.*llama"):
        spec_from_config({"model_type": "lama"}, "x")


@pytest.mark.parametrize("document", [BERT, LLAMA])
def test_a_missing_or_impossible_key_is_named_with_its_file(tmp_path, document):
    file = tmp_path / "config.json"
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"):
        for value in (None, "many", -1, 1.5, True, 0):
            file.write_text(json.dumps(document | {key: value}))
            with pytest.raises(SettingError) as raised:
                read_config(file)
            if value != 0:
                assert key in str(raised.value)
                assert str(file) in str(raised.value)


@pytest.mark.parametrize("text", ["{", "[]", "null", "", "\x00", "[" * 100_000])
def test_what_is_no_configuration_is_refused_with_its_place(tmp_path, text):
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(SettingError, match=r"config\.json"):
        read_config(tmp_path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SettingError, match="nowhere"):
        read_config(tmp_path / "nowhere")


ANYTHING = (
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | st.text(max_size=3) | st.lists(st.integers())
)  # fmt: skip
NAMES = [*LLAMA, "head_dim", "num_experts", "num_experts_per_tok", "mlp_only_layers", "text_config", "pos_att_type"]


@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING), st.sampled_from(sorted(READERS)))
def test_any_document_gives_a_shape_or_a_named_setting(changed, kind):
    """Nothing but SettingError comes out of a file that someone else wrote."""
    refused = None
    try:
        found = spec_from_config(LLAMA | {"model_type": kind} | changed, "x").parameters
    except SettingError as error:
        refused = error
    assert refused.field if refused else found > 0
