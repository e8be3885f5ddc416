"""`ModelSpec` and `Workload`: FLOPs, bytes and memory of a training run, from its shape alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lowcarb.errors import SettingError

ModelKind = Literal["encoder", "decoder", "encoder-decoder"]

TRAINING_PASSES = 3.0
"""A backward pass costs two forward passes (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)."""
FLOPS_PER_PARAMETER_AND_TOKEN = 6.0
"""Two of the forward pass and four of the backward pass, attention left out (Kaplan et al. 2020, section 2.1)."""
OPTIMIZER_ACCESSES = 10.0
"""Times that a step of AdamW moves each fp32 weight through memory: read in the forward and in the backward pass,
its gradient written, then weight, gradient and two moments read, and weight and two moments written (Loshchilov &
Hutter 2019, arXiv 1711.05101, algorithm 2, counted)."""
STATE_BYTES_PER_PARAMETER = 16.0
"""fp32 weight, gradient and two moments of Adam (Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1)."""
BYTES_PER_ELEMENT = {"fp32": 4.0, "tf32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The shape of a transformer: all that its cost depends on."""

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

    def __post_init__(self) -> None:
        for name in ("layers", "width", "ff", "heads", "vocabulary"):
            if getattr(self, name) < 1:
                raise SettingError(f"model.{name}", getattr(self, name), "1 or more")

    @property
    def embedding_parameters(self) -> int:
        """Rows of the look-up tables times width: they cost memory, not FLOPs."""
        return (self.vocabulary + self.positions) * self.width

    @property
    def layer_parameters(self) -> int:
        """Weights of one encoder (or pure decoder) layer, biases and norms left out."""
        return 4 * self.width**2 + (3 if self.gated else 2) * self.width * self.ff

    @property
    def body_parameters(self) -> int:
        """All weights that multiply activations, the output layer left out."""
        decoder_layer = self.layer_parameters + 4 * self.width**2
        return self.layers * self.layer_parameters + self.decoder_layers * decoder_layer

    @property
    def parameters(self) -> int:
        """All weights [count], within about one percent: biases and norms are left out."""
        return self.embedding_parameters + self.body_parameters

    def forward_flops(self, batch: int, length: int, target_length: int = 0) -> float:
        """FLOPs of a forward pass over sequences padded to one length.

        A multiplication and its addition count as two. Per token and layer that is 2 × weights for the matrices, and
        4 × length × width for attention's scores and weighted sums (Kaplan et al. 2020, table 1); the softmax, the
        norms and the look-ups are left out, about 1-2 %.

        Args:
            batch: sequences.
            length: tokens of each, padding included.
            target_length: tokens of each target, for an encoder-decoder.
        """
        per_layer = 2.0 * length * self.layer_parameters + 4.0 * length**2 * self.width
        flops = self.layers * per_layer
        written = target_length if self.kind == "encoder-decoder" else length
        if self.kind == "encoder-decoder":
            own = 2.0 * target_length * self.layer_parameters + 4.0 * target_length**2 * self.width
            # Cross-attention projects queries and outputs of the target, keys and values of the source.
            cross = 4.0 * (target_length + length) * self.width**2 + 4.0 * target_length * length * self.width
            flops += self.decoder_layers * (own + cross)
        outputs = self.vocabulary if self.output_vocabulary else 2
        return batch * (flops + 2.0 * written * self.width * outputs)

    def activation_bytes(self, batch: int, length: int, target_length: int = 0, precision: str = "fp32") -> float:
        """Activations [bytes] that a forward pass keeps for the backward pass.

        34 bytes a token and unit of width, and 5 a head and pair of tokens, at two bytes an element
        (Korthikanti et al. 2022, arXiv 2205.05198, equation 2).
        """

        def layer(tokens: int) -> float:
            return tokens * self.width * 34.0 + 5.0 * self.heads * tokens**2

        half = batch * (self.layers * layer(length) + self.decoder_layers * layer(target_length) * 1.5)
        return half * BYTES_PER_ELEMENT[precision] / BYTES_PER_ELEMENT["fp16"]


@dataclass(frozen=True, slots=True)
class Workload:
    """What a training run asks of the hardware."""

    model: ModelSpec
    steps: int
    """Optimizer steps."""
    batch: int
    """Sequences a step."""
    length: float
    """Mean tokens of a sequence, padding included."""
    precision: str
    flops: float
    """All passes of all steps [FLOP]."""
    bytes: float
    """Moved through memory [bytes]."""

    @property
    def tokens(self) -> float:
        """Tokens seen, padding included."""
        return self.steps * self.batch * self.length

    @property
    def memory_bytes(self) -> float:
        """Memory that the run needs at once [bytes]: weights, gradients, moments and activations."""
        state = self.model.parameters * STATE_BYTES_PER_PARAMETER
        return state + self.model.activation_bytes(self.batch, round(self.length), precision=self.precision)


def training_workload(
    model: ModelSpec, *, steps: int, batch: int, length: int, target_length: int = 0, precision: str = "fp32"
) -> Workload:
    """The workload of a full fine-tuning with every sequence of one length.

    Raises:
        SettingError: a count below one, or an unknown precision.
    """
    for name, value in (("steps", steps), ("batch", batch), ("length", length)):
        if value < 1:
            raise SettingError(name, value, "1 or more")
    if precision not in BYTES_PER_ELEMENT:
        raise SettingError("precision", precision, f"one of {', '.join(BYTES_PER_ELEMENT)}")
    step = step_cost(model, batch, length, target_length, precision)
    return Workload(model, steps, batch, length, precision, steps * step.flops, steps * step.bytes)


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOPs and bytes of some work; adds up."""

    flops: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


def step_cost(model: ModelSpec, batch: int, length: int, target_length: int = 0, precision: str = "fp32") -> Cost:
    """FLOPs and bytes of one optimizer step on one batch.

    Bytes are the weights as the optimizer moves them, and activations written once and read once.
    """
    weights = model.parameters * OPTIMIZER_ACCESSES * BYTES_PER_ELEMENT["fp32"]
    activations = 2.0 * model.activation_bytes(batch, length, target_length, precision)
    return Cost(TRAINING_PASSES * model.forward_flops(batch, length, target_length), weights + activations)
