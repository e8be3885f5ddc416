"""`ModelSpec`: the shape of a transformer, and what follows from it: parameters and the FLOPs of a forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lowcarb.errors import SettingError

ModelKind = Literal["encoder", "decoder", "encoder-decoder"]

BYTES_PER_ELEMENT = {"fp32": 4.0, "tf32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0}


@dataclass(frozen=True, slots=True)
class ForwardFlops:
    """FLOPs of a forward pass by part [FLOP]; the parts differ in what their backward pass costs."""

    matrices: float
    """Weights of the encoder's layers, or of a pure decoder's, times activations."""
    attention: float
    """Scores and weighted sums of those layers: activations times activations."""
    decoder_matrices: float
    """Of an encoder-decoder's decoder, cross-attention with it."""
    decoder_attention: float
    output: float
    """The output layer."""

    @property
    def total(self) -> float:
        """The whole pass [FLOP]."""
        return self.matrices + self.attention + self.decoder_matrices + self.decoder_attention + self.output


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The shape of a transformer: all that its cost depends on.

    Parameters are exact where the vectors (biases, norms) are given, as `catalogue.config.read_config` does, and
    about one percent low where they are not.

    Raises:
        SettingError: a size below one, or sizes that contradict each other; the error names the field.
    """

    id: str
    kind: ModelKind
    layers: int
    """Encoder layers; decoder layers of a pure decoder."""
    width: int
    ff: int
    """Width of the feed-forward layer."""
    heads: int
    vocabulary: int
    positions: int = 0
    """Learnt position embeddings."""
    decoder_layers: int = 0
    """Of an encoder-decoder only."""
    gated: bool = False
    """The feed-forward layer has a gate: three matrices for two."""
    output_vocabulary: bool = False
    """The model predicts tokens, so the output layer is as wide as the vocabulary."""
    kv_heads: int = 0
    """Heads of keys and values; 0: as many as `heads`."""
    head_width: int = 0
    """Of one query and key; 0: width ÷ heads."""
    value_head_width: int = 0
    """Of one value; 0: as `head_width`."""
    query_rank: int = 0
    """Queries pass through so narrow a vector first (multi-head latent attention); 0: they do not."""
    kv_rank: int = 0
    """Keys and values pass through so narrow a vector first (multi-head latent attention); 0: they do not."""
    rope_width: int = 0
    """Part of each latent-attention key that carries the position and that all heads share."""
    experts: int = 0
    """Feed-forward blocks to route among, shared ones left out; 0: a dense model."""
    experts_per_token: int = 0
    expert_ff: int = 0
    """Inner width of one expert; 0: as `ff`."""
    shared_ff: int = 0
    """Inner width of the experts that every token passes, added up."""
    dense_layers: int = 0
    """Of a mixture of experts: layers that have one feed-forward block of width `ff` instead."""
    distinct_layers: int = 0
    """Sets of weights that the layers share among them; 0: each layer has its own."""
    embedding_width: int = 0
    """Of the token and position tables where a matrix widens them to `width`; 0: `width`."""
    tied: bool = True
    """The output layer is the embedding table."""
    window: int = 0
    """Tokens that a windowed layer looks back; 0: all."""
    windowed_layers: int = 0
    relative_positions: int = 0
    """Rows that disentangled attention scores each token against, twice (DeBERTa)."""
    layer_vectors: int = 0
    """Biases and norms of one layer."""
    decoder_layer_vectors: int = 0
    """Biases and norms of one decoder layer of an encoder-decoder."""
    other_parameters: int = 0
    """Outside of layers and look-up tables: last norms, a pooler, segment embeddings, output biases."""
    rms: bool = False
    """Norms keep one more tensor for the backward pass (root-mean-square norms written out, not fused)."""
    ff_kept: int = 0
    """Tensors as wide as the feed-forward layer that its backward pass keeps; 0: 2, or 4 with a gate."""
    dropout: bool = True
    """It is trained with dropout, whose masks are kept."""
    qk_normed: bool = False
    """Queries and keys are normed, written out."""
    biased_scores: bool = False
    """Scores carry a learnt bias (T5), which fused attention does not save writing out."""
    remark: str = ""
    """What a reader must know, such as that the shape was read by the usual keys alone."""

    def __post_init__(self) -> None:
        for name in ("layers", "width", "ff", "heads", "vocabulary"):
            if getattr(self, name) < 1:
                raise SettingError(f"model.{name}", getattr(self, name), "1 or more")
        if self.experts_per_token > self.experts or (self.experts and not self.experts_per_token):
            raise SettingError("model.experts_per_token", self.experts_per_token, f"1 to {self.experts} experts")
        if self.dense_layers > self.layers or self.dense_layers < 0:
            raise SettingError("model.dense_layers", self.dense_layers, f"0 to {self.layers}")

    # Widths

    @property
    def query_width(self) -> int:
        """All heads of the queries together."""
        return self.heads * self.head_width if self.head_width else self.width

    @property
    def key_width(self) -> int:
        """All heads of the keys together, as they are computed: shared ones once."""
        if self.kv_rank:
            return self.query_width
        return self.query_width * (self.kv_heads or self.heads) // self.heads

    @property
    def attended_width(self) -> int:
        """All heads of the weighted sum of values."""
        return self.heads * self.value_head_width if self.value_head_width else self.query_width

    @property
    def value_width(self) -> int:
        """All heads of the values together, as they are computed: shared ones once."""
        if self.kv_rank:
            return self.attended_width
        return self.attended_width * (self.kv_heads or self.heads) // self.heads

    @property
    def table_width(self) -> int:
        """Of the token table."""
        return self.embedding_width or self.width

    # Parameters

    def attention_matrices(self) -> dict[str, int]:
        """Weights of one attention block by matrix: q, k, v, o (latent attention: keys and values under k)."""
        q = self.width * self.query_width
        k, v, o = self.width * self.key_width, self.width * self.value_width, self.attended_width * self.width
        if self.query_rank:
            q = self.query_rank * (self.width + self.query_width)
        if self.kv_rank:
            nope = self.query_width - self.heads * self.rope_width
            k = self.width * (self.kv_rank + self.rope_width) + self.kv_rank * (nope + self.attended_width)
            v = 0
        return {"q": q, "k": k, "v": v, "o": o}

    @property
    def attention_parameters(self) -> int:
        """Weights of one attention block."""
        return sum(self.attention_matrices().values())

    def _ff_parameters(self, inner: int) -> int:
        return (3 if self.gated else 2) * self.width * inner

    def _routed_parameters(self, experts: int) -> int:
        """The feed-forward part of a layer with so many of its experts, router and shared experts included."""
        one = self._ff_parameters(self.expert_ff or self.ff)
        shared = self._ff_parameters(self.shared_ff) if self.shared_ff else 0
        return experts * one + shared + self.width * self.experts

    def _ff_total(self, experts: int) -> int:
        """Feed-forward weights of all layers, so many experts counted."""
        routed = self.layers - self.dense_layers if self.experts else 0
        dense = (self.layers - routed) * self._ff_parameters(self.ff)
        return dense + (routed * self._routed_parameters(experts) if routed else 0)

    @property
    def layer_parameters(self) -> int:
        """Weights of one encoder (or pure decoder) layer, biases and norms left out; of a mixture with all experts."""
        ff = self._routed_parameters(self.experts) if self.experts else self._ff_parameters(self.ff)
        return self.attention_parameters + ff

    @property
    def embedding_parameters(self) -> int:
        """Rows of the look-up tables times width: they cost memory, not FLOPs."""
        return (self.vocabulary + self.positions) * self.table_width

    @property
    def widening_parameters(self) -> int:
        """The matrix that widens narrow embeddings."""
        return self.embedding_width * self.width

    @property
    def decoder_layer_parameters(self) -> int:
        """Weights of one decoder layer of an encoder-decoder: attention twice, and the feed-forward layer."""
        return 2 * self.attention_parameters + self._ff_parameters(self.ff)

    @property
    def body_parameters(self) -> int:
        """All weights that multiply activations, the output layer left out."""
        return self._body(self.experts, self.distinct_layers or self.layers)

    def _body(self, experts: int, layers: int) -> int:
        own = (self.layers * self.attention_parameters + self._ff_total(experts)) * layers // self.layers
        return own + self.decoder_layers * self.decoder_layer_parameters + self.widening_parameters

    @property
    def vector_parameters(self) -> int:
        """Biases, norms and whatever else is neither a matrix of a layer nor a look-up table."""
        own = (self.distinct_layers or self.layers) * self.layer_vectors
        return own + self.decoder_layers * self.decoder_layer_vectors + self.other_parameters

    @property
    def output_parameters(self) -> int:
        """An output layer that is not the embedding table."""
        return self.vocabulary * self.table_width if self.output_vocabulary and not self.tied else 0

    @property
    def parameters(self) -> int:
        """All weights [count]: exact where the vectors are given, else about one percent low."""
        return self.embedding_parameters + self.body_parameters + self.vector_parameters + self.output_parameters

    @property
    def active_parameters(self) -> int:
        """Weights that one token passes [count]: all but the experts that it is not routed to."""
        return self.parameters - self._ff_total(self.experts) + self._ff_total(self.experts_per_token)

    # FLOPs

    def forward_parts(self, batch: int, length: float, target_length: float = 0) -> ForwardFlops:
        """FLOPs of a forward pass over sequences padded to one length, by part.

        A multiplication and its addition count as two. Per token and layer that is 2 × weights for the matrices, and
        2 × length × (heads' width of queries + of values) for attention's scores and weighted sums (Kaplan et al.
        2020, arXiv 2001.08361, table 1). A causal mask saves nothing in this count, as in theirs, though fused
        kernels skip up to half of the scores. Softmax, norms and look-ups are left out, about 1-2 %.

        Args:
            batch: sequences.
            length: tokens of each, padding included.
            target_length: tokens of each target, for an encoder-decoder.
        """
        scored = self.query_width + self.attended_width
        windowed = self.windowed_layers if self.window else 0
        seen = (self.layers - windowed) * length + windowed * min(length, self.window)
        active = self.layers * self.attention_parameters + self._ff_total(self.experts_per_token)
        matrices = 2.0 * length * (active + self.widening_parameters)
        attention = 2.0 * length * seen * scored
        if self.relative_positions:
            # The rows are projected as keys and as queries once a layer and step, and scored against every token.
            rows = float(self.relative_positions)
            matrices += 4.0 * self.layers * rows * self.width * self.query_width / batch
            attention += 4.0 * self.layers * length * rows * self.query_width
        written, own, cross = float(length), 0.0, 0.0
        if self.kind == "encoder-decoder":
            written = float(target_length)
            part = self.attention_matrices()
            # Cross-attention projects queries and outputs of the target, keys and values of the source.
            own = 2.0 * written * (self.attention_parameters + self._ff_parameters(self.ff) + part["q"] + part["o"])
            own += 2.0 * length * (part["k"] + part["v"])
            cross = 2.0 * written * (written + length) * scored
        outputs = self.vocabulary if self.output_vocabulary else 2
        return ForwardFlops(
            batch * matrices, batch * attention, batch * self.decoder_layers * own, batch * self.decoder_layers * cross,
            batch * 2.0 * written * (self.table_width if self.output_vocabulary else self.width) * outputs,
        )  # fmt: skip

    def forward_flops(self, batch: int, length: int, target_length: int = 0) -> float:
        """FLOPs of a forward pass over sequences padded to one length: the sum of `forward_parts`."""
        return self.forward_parts(batch, length, target_length).total

    def activation_bytes(self, batch: int, length: int, target_length: int = 0, precision: str = "fp32") -> float:
        """Activations [bytes] that pass through memory in a forward pass, scores written out.

        34 bytes a token and unit of width, and 5 a head and pair of tokens, at two bytes an element
        (Korthikanti et al. 2022, arXiv 2205.05198, equation 2). What a run must hold at once: core/memory.py.
        """

        def layer(tokens: int) -> float:
            return tokens * self.width * 34.0 + 5.0 * self.heads * tokens**2

        half = batch * (self.layers * layer(length) + self.decoder_layers * layer(target_length) * 1.5)
        return half * BYTES_PER_ELEMENT[precision] / BYTES_PER_ELEMENT["fp16"]


@dataclass(frozen=True, slots=True)
class Method:
    """Which weights a training changes, and what it computes twice.

    Raises:
        SettingError: an unknown name or target, a rank below one, a negative count of frozen layers.
    """

    name: str = "full"
    """full (pretraining and fine-tuning alike) or lora (Hu et al. 2021, arXiv 2106.09685)."""
    lora_rank: int = 8
    lora_targets: tuple[str, ...] = ("q", "v")
    """Matrices that get an adapter: q, k, v, o of every attention block, ff for those of the feed-forward layers."""
    frozen_layers: int = 0
    """The lowest layers of the encoder (or pure decoder), which with the embeddings do not learn."""
    recompute: bool = False
    """Layers keep their input alone; the backward pass computes them again (Chen et al. 2016, arXiv 1604.06174)."""

    def __post_init__(self) -> None:
        if self.name not in ("full", "lora"):
            raise SettingError("method", self.name, "full or lora")
        if self.lora_rank < 1:
            raise SettingError("lora_rank", self.lora_rank, "1 or more")
        if self.frozen_layers < 0:
            raise SettingError("frozen_layers", self.frozen_layers, "0 or more")
        if not self.lora_targets or any(one not in ("q", "k", "v", "o", "ff") for one in self.lora_targets):
            raise SettingError("lora_targets", self.lora_targets, "some of q, k, v, o, ff")

    def check(self, model: ModelSpec) -> None:
        """Raises SettingError where more layers are frozen than the model has."""
        if self.frozen_layers > model.layers:
            raise SettingError("frozen_layers", self.frozen_layers, f"0 to {model.layers}, the layers of {model.id}")

    def adapter_parameters(self, model: ModelSpec) -> tuple[int, int]:
        """Weights of the adapters: of one layer, and of one decoder layer of an encoder-decoder [count]."""
        width, rank = model.width, self.lora_rank
        attention = {
            "q": width + model.query_width, "k": width + model.key_width,
            "v": width + model.value_width, "o": model.attended_width + width,
        }  # fmt: skip
        block = rank * sum(attention[one] for one in self.lora_targets if one in attention)
        ff = rank * (3 if model.gated else 2) * (width + model.ff) if "ff" in self.lora_targets else 0
        return block + ff, 2 * block + ff

    def trainable_parameters(self, model: ModelSpec) -> int:
        """Weights that learn [count]."""
        self.check(model)
        learning = model.layers - self.frozen_layers
        if self.name == "lora":
            layer, decoder_layer = self.adapter_parameters(model)
            return learning * layer + model.decoder_layers * decoder_layer
        if not self.frozen_layers:
            return model.parameters
        own = model.body_parameters - model.widening_parameters - model.decoder_layers * model.decoder_layer_parameters
        own += (model.distinct_layers or model.layers) * model.layer_vectors
        return model.parameters - model.embedding_parameters - round(own * self.frozen_layers / model.layers)


FULL = Method()
"""All weights learn and nothing is computed twice."""
