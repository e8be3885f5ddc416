"""What the keys of a Hugging Face `config.json` mean, family by family: keys → `ModelSpec`.

The names of the keys are those of transformers' configuration classes; what they build (which biases and norms there
are, which tables are tied) is checked against the models that transformers builds from them, weight for weight, in
tests/test_config.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lowcarb.core.shape import ModelSpec
from lowcarb.errors import SettingError


@dataclass(frozen=True, slots=True)
class Keys:
    """The document of a configuration, and where it came from."""

    document: Mapping[str, Any]
    where: str

    def count(self, *names: str, default: int | None = None) -> int:
        """The first of some keys that is there, a whole number.

        Raises:
            SettingError: none is there and there is no default, or it is no whole number of 0 or more.
        """
        for name in names:
            value = self.document.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise SettingError(name, value, f"a whole number in {self.where}")
            return value
        if default is None:
            raise SettingError(names[0], None, f"the key {' or '.join(names)} in {self.where}")
        return default

    def size(self, *names: str, default: int | None = None) -> int:
        """As `count`, of 1 or more."""
        value = self.count(*names, default=default)
        if value < 1:
            raise SettingError(names[0], value, f"1 or more in {self.where}")
        return value

    def numbers(self, name: str) -> tuple[int, ...]:
        """A key that is a list of whole numbers; empty where it is not there."""
        value = self.document.get(name) or []
        if not isinstance(value, list) or not all(isinstance(one, int) for one in value):
            raise SettingError(name, value, f"a list of whole numbers in {self.where}")
        return tuple(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """A key that is true or false."""
        value = self.document.get(name)
        return default if value is None else bool(value)

    def text(self, name: str, default: str = "") -> str:
        """A key that is a word."""
        return str(self.document.get(name) or default)


def kept(keys: Keys, *, gated: bool, dropout: bool) -> dict[str, Any]:
    """What the backward pass keeps of a feed-forward layer's activation, and of dropout."""
    word = ""
    for name in ("hidden_act", "hidden_activation", "activation_function", "activation", "feed_forward_proj"):
        word = word or keys.text(name)
    # ReLU is its own memory; the written-out tanh form of GELU keeps three tensors more than a fused function.
    tensors = 1 if "relu" in word else 5 if word in ("gelu_new", "gated-gelu") else 2
    shares = [value for key, value in keys.document.items() if "drop" in key and isinstance(value, int | float)]
    return {"ff_kept": tensors + 2 * gated, "dropout": any(shares) if shares else dropout}


@dataclass(frozen=True, slots=True)
class Traits:
    """What a family of decoders builds without saying so in its configuration."""

    norm: int = 1
    """Vectors a norm has: 1 root-mean-square, 2 with a bias, 0 without weights."""
    norms: int = 2
    """Norms of a layer."""
    gated: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    ff_bias: bool = False
    qk_norm: str = ""
    """Queries and keys are normed: each head by one vector, or all heads by a full one."""
    tied: bool = False
    output_bias: bool = False


ALL_BIASES = Traits(norm=2, gated=False, qkv_bias=True, out_bias=True, ff_bias=True, tied=True)
LLAMA = Traits()
DECODERS = {
    "bloom": ALL_BIASES,
    "codegen": Traits(norm=2, norms=1, gated=False, ff_bias=True, output_bias=True),
    "cohere": Traits(norms=1, tied=True),
    "falcon": Traits(norm=2, gated=False, tied=True),
    "gemma": Traits(tied=True),
    "gemma2": Traits(norms=4, tied=True),
    "gpt2": ALL_BIASES,
    "gpt_bigcode": ALL_BIASES,
    "gpt_neo": Traits(norm=2, gated=False, out_bias=True, ff_bias=True, tied=True),
    "gpt_neox": Traits(norm=2, gated=False, qkv_bias=True, out_bias=True, ff_bias=True),
    "gptj": Traits(norm=2, norms=1, gated=False, ff_bias=True, output_bias=True),
    "granite": LLAMA,
    "llama": LLAMA,
    "mistral": LLAMA,
    "mixtral": LLAMA,
    "mpt": Traits(gated=False, tied=True),
    "olmo": Traits(norm=0),
    "olmo2": Traits(qk_norm="full"),
    "olmoe": Traits(qk_norm="full"),
    "opt": ALL_BIASES,
    "phi": Traits(norm=2, norms=1, gated=False, qkv_bias=True, out_bias=True, ff_bias=True, output_bias=True),
    "phi3": LLAMA,
    "qwen2": Traits(qkv_bias=True),
    "qwen2_moe": Traits(qkv_bias=True),
    "qwen3": Traits(qk_norm="head"),
    "qwen3_moe": Traits(qk_norm="head"),
    "smollm3": Traits(tied=True),
    "stablelm": Traits(norm=2),
    "starcoder2": Traits(norm=2, gated=False, qkv_bias=True, out_bias=True, ff_bias=True, tied=True),
}
WIDTH = ("hidden_size", "n_embd", "d_model", "n_embed", "dim")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
FF = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "hidden_dim", "d_ff")
POSITIONS = ("max_position_embeddings", "n_positions")


def decoder(name: str, keys: Keys, kind: str, remark: str = "") -> ModelSpec:
    """A decoder of the layout that nearly all share, by its family's traits."""
    traits = DECODERS.get(kind, LLAMA)
    width, layers, heads = keys.size(*WIDTH), keys.size(*LAYERS), keys.size(*HEADS)
    gated = traits.gated
    ff = keys.count(*FF, default=None if gated else _expansion(keys) * width)
    kv_heads = _kv_heads(keys, kind, heads)
    head = keys.count("head_dim", default=0) or width // heads
    query, key = heads * head, kv_heads * head
    norms = _norms(keys, kind, traits)
    qkv_bias, out_bias, ff_bias = _biases(keys, kind, traits)
    vectors = norms * traits.norm * width + qkv_bias * (query + 2 * key) + out_bias * width
    vectors += ff_bias * ((2 if gated else 1) * ff + width)
    vectors += {"": 0, "head": 2 * head, "full": query + key}[traits.qk_norm]
    if keys.flag("qk_layernorm", default=False) and kind == "stablelm":
        vectors += query + key
    vocabulary = keys.count("vocab_size")
    positions, embedding, other = _decoder_tables(keys, kind, width)
    last = not keys.flag("_remove_final_layer_norm", default=False) and keys.flag("do_layer_norm_before", default=True)
    other += traits.norm * width * last
    other += vocabulary * traits.output_bias
    routing = _routing(keys, kind, layers, ff)
    if kind == "qwen2_moe":
        other += width * (layers - routing.get("dense_layers", 0))  # the shared expert's own gate
    window, windowed = _windows(keys, kind, layers)
    return ModelSpec(
        name, "decoder", layers, width, ff, heads, vocabulary, positions=positions, gated=gated,
        output_vocabulary=True, kv_heads=kv_heads, head_width=head, **routing, embedding_width=embedding,
        tied=keys.flag("tie_word_embeddings", default=traits.tied), window=window, windowed_layers=windowed,
        layer_vectors=vectors, other_parameters=other, rms=traits.norm == 1 and gated, remark=remark,
        qk_normed=bool(traits.qk_norm), **kept(keys, gated=gated, dropout=traits.norm == 2),
    )  # fmt: skip


def _expansion(keys: Keys) -> int:
    return keys.count("expansion_ratio", default=4)


def _kv_heads(keys: Keys, kind: str, heads: int) -> int:
    if kind == "falcon" and not keys.flag("new_decoder_architecture", default=False):
        return 1 if keys.flag("multi_query", default=True) else heads
    if kind == "gpt_bigcode":
        return 1 if keys.flag("multi_query", default=True) else heads
    return keys.count("num_key_value_heads", "num_kv_heads", default=heads) or heads


def _norms(keys: Keys, kind: str, traits: Traits) -> int:
    if kind == "falcon" and keys.flag("parallel_attn", default=True):
        two = keys.flag("new_decoder_architecture", default=False)
        return keys.count("num_ln_in_parallel_attn", default=2) if two else 1
    if kind == "stablelm" and keys.flag("use_parallel_residual", default=False):
        return 1
    return traits.norms


def _biases(keys: Keys, kind: str, traits: Traits) -> tuple[bool, bool, bool]:
    """Of queries, keys and values, of attention's output, of the feed-forward layer."""
    if kind == "falcon":
        every = keys.flag("bias", default=False)
        return every, every, every
    if kind == "starcoder2":
        every = keys.flag("use_bias", default=True)
        return every, every, every
    qkv = keys.flag("qkv_bias", default=traits.qkv_bias) or keys.flag("use_qkv_bias", default=False)
    qkv, out = keys.flag("attention_bias", default=qkv), keys.flag("attention_bias", default=traits.out_bias)
    return qkv, out, keys.flag("mlp_bias", default=traits.ff_bias)


def _decoder_tables(keys: Keys, kind: str, width: int) -> tuple[int, int, int]:
    """Learnt positions, the width of a narrow token table or 0, and parameters beside them."""
    if kind in ("gpt2", "gpt_neo", "gpt_bigcode"):
        return keys.count(*POSITIONS), 0, 0
    if kind == "bloom":
        return 0, 0, 2 * width  # a norm of the embeddings
    if kind == "opt":
        rows = keys.count(*POSITIONS) + 2  # the first two are for padding
        narrow = keys.count("word_embed_proj_dim", default=width)
        return (rows, 0, 0) if narrow == width else (0, narrow, rows * width + narrow * width)
    return 0, 0, 0


def _routing(keys: Keys, kind: str, layers: int, ff: int) -> dict[str, Any]:
    experts = keys.count("num_local_experts", "num_experts", "n_routed_experts", default=0)
    if not experts:
        return {}
    inner = keys.count("moe_intermediate_size", default=ff)
    shared = keys.count("shared_expert_intermediate_size", default=keys.count("n_shared_experts", default=0) * inner)
    dense = keys.count("first_k_dense_replace", default=0)
    if kind.startswith("qwen"):
        every, only = keys.size("decoder_sparse_step", default=1), keys.numbers("mlp_only_layers")
        dense = sum(layer in only or (layer + 1) % every != 0 for layer in range(layers))
    return {
        "experts": experts,
        "experts_per_token": keys.count("num_experts_per_tok"),
        "expert_ff": inner,
        "shared_ff": 0 if kind == "qwen3_moe" else shared,
        "dense_layers": dense,
    }


def _windows(keys: Keys, kind: str, layers: int) -> tuple[int, int]:
    """The window [tokens] and how many layers have it."""
    if kind == "gpt_neo":
        return keys.count("window_size", default=256), layers // 2
    if not keys.flag("use_sliding_window", default=not kind.startswith(("qwen", "smollm"))):
        return 0, 0
    window = keys.count("sliding_window", default=0)
    if kind == "gemma2":
        return window, (layers + 1) // 2
    if kind.startswith("qwen"):
        return window, max(0, layers - keys.count("max_window_layers", default=layers))
    return window, layers if window else 0


def deepseek(name: str, keys: Keys, _kind: str) -> ModelSpec:
    """Multi-head latent attention and a mixture of experts, shared ones among them."""
    width, layers, heads = keys.size(*WIDTH), keys.size(*LAYERS), keys.size(*HEADS)
    ff, query_rank, kv_rank = keys.count(*FF), keys.count("q_lora_rank", default=0), keys.count("kv_lora_rank")
    rope = keys.count("qk_rope_head_dim")
    bias = keys.flag("attention_bias", default=False) * (query_rank + kv_rank + rope + width)
    return ModelSpec(
        name, "decoder", layers, width, ff, heads, keys.count("vocab_size"), gated=True, output_vocabulary=True,
        head_width=keys.count("qk_nope_head_dim") + rope, value_head_width=keys.count("v_head_dim"),
        query_rank=query_rank, kv_rank=kv_rank, rope_width=rope, **_routing(keys, "deepseek", layers, ff),
        tied=keys.flag("tie_word_embeddings", default=False),
        layer_vectors=2 * width + query_rank + kv_rank + bias, other_parameters=width, rms=True,
        **kept(keys, gated=True, dropout=False),
    )  # fmt: skip


def encoder(name: str, keys: Keys, kind: str) -> ModelSpec:
    """An encoder of BERT's layout; the tables and what follows the layers differ."""
    width, layers, heads = keys.size(*WIDTH), keys.size(*LAYERS), keys.size(*HEADS)
    ff = keys.count("hidden_dim" if kind == "distilbert" else "intermediate_size")
    table = keys.count("embedding_size", default=128 if kind in ("albert", "electra") else width)
    segments = 0 if kind in ("distilbert", "mpnet") else keys.count("type_vocab_size", default=_segments(kind))
    narrow = kind == "albert" or table != width
    other = (segments + 2) * table + (width if narrow and kind != "deberta-v2" else 0)
    if kind not in ("distilbert", "electra", "deberta-v2"):
        other += width * (width + 1)  # the pooler
    if kind == "mpnet":
        other += keys.count("relative_attention_num_buckets", default=32) * heads
    distinct = keys.count("num_hidden_groups", default=1) * keys.count("inner_group_num", default=1)
    return ModelSpec(
        name, "encoder", layers, width, ff, heads, keys.count("vocab_size"), positions=keys.count(*POSITIONS),
        distinct_layers=distinct if kind == "albert" else 0, embedding_width=table if narrow else 0,
        layer_vectors=9 * width + ff, other_parameters=other, **kept(keys, gated=False, dropout=True),
    )  # fmt: skip


def _segments(kind: str) -> int:
    return {"deberta-v2": 0, "roberta": 1, "xlm-roberta": 1, "camembert": 1}.get(kind, 2)


def deberta(name: str, keys: Keys, kind: str) -> ModelSpec:
    """BERT's layout with disentangled attention."""
    plain = encoder(name, keys, kind)
    width, other, vectors = plain.width, plain.other_parameters, plain.layer_vectors
    rows = 0
    if keys.flag("relative_attention", default=False):
        # Minus one means that there are none.
        spans = (keys.document.get("position_buckets"), keys.document.get("max_relative_positions"))
        rows = 2 * next((one for one in spans if isinstance(one, int) and one > 0), plain.positions)
        other += rows * width + (2 * width if "layer_norm" in keys.text("norm_rel_ebd") else 0)
        kinds = keys.document.get("pos_att_type") or ()
        kinds = kinds.split("|") if isinstance(kinds, str) else kinds if isinstance(kinds, list) else ()
        if not keys.flag("share_att_key", default=False):
            vectors += sum(one in kinds for one in ("c2p", "p2c")) * width * (width + 1)
    kernel = keys.count("conv_kernel_size", default=0)
    other += kernel * width * width + 3 * width if kernel else 0
    positions = plain.positions if keys.flag("position_biased_input", default=True) else 0
    return ModelSpec(
        name, "encoder", plain.layers, width, plain.ff, plain.heads, plain.vocabulary, positions=positions,
        embedding_width=plain.embedding_width, relative_positions=rows, layer_vectors=vectors, other_parameters=other,
        ff_kept=plain.ff_kept, dropout=plain.dropout,
    )  # fmt: skip


def modernbert(name: str, keys: Keys, _kind: str) -> ModelSpec:
    """Gated, without biases, most layers with a window."""
    width, layers = keys.size(*WIDTH), keys.size(*LAYERS)
    every = keys.size("global_attn_every_n_layers", default=3)
    return ModelSpec(
        name, "encoder", layers, width, keys.count("intermediate_size"), keys.size(*HEADS), keys.count("vocab_size"),
        gated=True, window=keys.count("local_attention", default=128), windowed_layers=layers - -(-layers // every),
        # Two norms a layer, but none before the first attention; one after the embeddings and one at the end.
        layer_vectors=2 * width, other_parameters=width, **kept(keys, gated=True, dropout=False),
    )  # fmt: skip


def t5(name: str, keys: Keys, kind: str) -> ModelSpec:
    """No biases, scores shifted by distance, root-mean-square norms."""
    width, heads, layers = keys.size("d_model"), keys.size("num_heads"), keys.size("num_layers")
    own = keys.count("num_decoder_layers", default=layers)
    shifts = keys.count("relative_attention_num_buckets", default=32) * heads
    each = shifts if kind == "umt5" else 0
    gated = keys.text("feed_forward_proj", "gated-gelu" if kind != "t5" else "relu").startswith("gated")
    return ModelSpec(
        name, "encoder-decoder", layers, width, keys.count("d_ff"), heads, keys.count("vocab_size"),
        decoder_layers=own, gated=gated, output_vocabulary=True, head_width=keys.count("d_kv"),
        tied=keys.flag("tie_word_embeddings", default=True), layer_vectors=2 * width + each,
        decoder_layer_vectors=3 * width + each, other_parameters=2 * width + (0 if each else 2 * shifts), rms=True,
        biased_scores=True, **kept(keys, gated=gated, dropout=True),
    )  # fmt: skip


def bart(name: str, keys: Keys, kind: str) -> ModelSpec:
    """All biases, learnt positions of the source and of the target apart."""
    width, ff, heads = keys.size("d_model"), keys.count("encoder_ffn_dim"), keys.size("encoder_attention_heads")
    for key, value in (("decoder_ffn_dim", ff), ("decoder_attention_heads", heads)):
        if keys.count(key, default=value) != value:
            raise SettingError(key, keys.count(key), f"{value}, as in the encoder ({keys.where})")
    positions = keys.count(*POSITIONS) + (0 if kind == "pegasus" else 2)
    norms = {"bart": 1, "mbart": 2, "pegasus": 1}[kind]
    return ModelSpec(
        name, "encoder-decoder", keys.size("encoder_layers"), width, ff, heads, keys.count("vocab_size"),
        positions=2 * positions, decoder_layers=keys.count("decoder_layers"), output_vocabulary=True,
        tied=keys.flag("tie_word_embeddings", default=True), layer_vectors=9 * width + ff,
        decoder_layer_vectors=15 * width + ff, other_parameters=norms * 4 * width,
        **kept(keys, gated=False, dropout=True),
    )  # fmt: skip


READERS: dict[str, Callable[[str, Keys, str], ModelSpec]] = {
    **dict.fromkeys(DECODERS, decoder),
    **dict.fromkeys(
        ("bert", "roberta", "xlm-roberta", "camembert", "electra", "albert", "distilbert", "mpnet"), encoder
    ),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3"), deepseek),
    **dict.fromkeys(("t5", "mt5", "umt5"), t5),
    **dict.fromkeys(("bart", "mbart", "pegasus"), bart),
    "deberta-v2": deberta,
    "modernbert": modernbert,
}
"""By model type."""
