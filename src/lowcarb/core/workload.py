"""`Workload`: FLOPs, bytes and memory of a training run, from the shape of its model and how it is trained.

What it must hold in memory at once, part by part and with an interval, and what would make it fit: memory.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowcarb.core.shape import BYTES_PER_ELEMENT, FULL, Method, ModelKind, ModelSpec
from lowcarb.errors import SettingError

__all__ = [
    "BYTES_PER_ELEMENT", "FLOPS_PER_PARAMETER_AND_TOKEN", "FULL", "OPTIMIZER_ACCESSES", "STATE_BYTES_PER_PARAMETER",
    "TRAINING_PASSES", "Cost", "Method", "ModelKind", "ModelSpec", "Workload", "step_cost", "training_flops",
    "training_workload",
]  # fmt: skip

TRAINING_PASSES = 3.0
"""A backward pass costs two forward passes (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)."""
FLOPS_PER_PARAMETER_AND_TOKEN = 6.0
"""Two of the forward pass and four of the backward pass, attention left out (Kaplan et al. 2020, section 2.1)."""
OPTIMIZER_ACCESSES = 10.0
"""Times that a step of AdamW moves each fp32 weight through memory: read in the forward and in the backward pass,
its gradient written, then weight, gradient and two moments read, and weight and two moments written (Loshchilov &
Hutter 2019, arXiv 1711.05101, algorithm 2, counted)."""
FROZEN_ACCESSES = 2.0
"""Of a weight that does not learn: read in the forward and in the backward pass."""
STATE_BYTES_PER_PARAMETER = 16.0
"""fp32 weight, gradient and two moments of Adam (Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1)."""


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
    method: Method = FULL
    padding_share: float = 0.0
    """Of the tokens, those that are padding: they cost as much as any. Packed sequences have none."""

    @property
    def tokens(self) -> float:
        """Tokens seen, padding included."""
        return self.steps * self.batch * self.length

    @property
    def useful_tokens(self) -> float:
        """Tokens seen, padding left out."""
        return self.tokens * (1.0 - self.padding_share)

    @property
    def memory_bytes(self) -> float:
        """Memory that the run needs at once [bytes]: weights, gradients, moments, and activations with scores.

        The plain sum that the roofline bounds a run by; `memory.memory_of` says it part by part with intervals.
        """
        learning = self.method.trainable_parameters(self.model)
        frozen = self.model.parameters - learning if self.method.name == "full" else self.model.parameters
        state = learning * STATE_BYTES_PER_PARAMETER + frozen * BYTES_PER_ELEMENT["fp32"]
        return state + self.model.activation_bytes(self.batch, round(self.length), precision=self.precision)


def training_workload(  # noqa: PLR0913  # a training has as many settings
    model: ModelSpec, *, steps: int, batch: int, length: int, target_length: int = 0, precision: str = "fp32",
    method: str = "full", lora_rank: int = 8, frozen_layers: int = 0, recompute: bool = False,
    padding_share: float = 0.0,
) -> Workload:  # fmt: skip
    """The workload of a training with every sequence padded (or packed) to one length.

    Args:
        model: its shape.
        steps: optimizer steps.
        batch: sequences a step, of all devices together.
        length: tokens of each, padding included.
        target_length: tokens of each target, for an encoder-decoder.
        precision: of the computation: fp32, tf32, bf16, fp16 or fp8.
        method: full (pretraining and fine-tuning alike) or lora.
        lora_rank: of the adapters of queries and values, under lora.
        frozen_layers: the lowest layers, which with the embeddings do not learn.
        recompute: layers keep their input alone and are computed again in the backward pass.
        padding_share: of the tokens, those that are padding, 0 to below 1.

    Raises:
        SettingError: a count below one, an unknown precision or method, a share outside 0 to 1, or more layers frozen
            than there are; the error names the field.
    """
    for name, value in (("steps", steps), ("batch", batch), ("length", length)):
        if value < 1:
            raise SettingError(name, value, "1 or more")
    if target_length < 0:
        raise SettingError("target_length", target_length, "0 or more")
    if not 0.0 <= padding_share < 1.0:
        raise SettingError("padding_share", padding_share, "0 or more and below 1")
    chosen = Method(method, lora_rank, frozen_layers=frozen_layers, recompute=recompute)
    step = step_cost(model, batch, length, target_length, precision, chosen)
    return Workload(
        model, steps, batch, length, precision, steps * step.flops, steps * step.bytes, chosen, padding_share
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOPs and bytes of some work; adds up."""

    flops: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


def step_cost(
    model: ModelSpec, batch: int, length: int, target_length: int = 0, precision: str = "fp32", method: Method = FULL
) -> Cost:
    """FLOPs and bytes of one optimizer step on one batch.

    Bytes are the weights as the optimizer moves them, and activations written once and read once; recomputation reads
    all weights and writes the activations once more.

    Raises:
        SettingError: an unknown precision, or more layers frozen than the model has.
    """
    if precision not in BYTES_PER_ELEMENT:
        raise SettingError("precision", precision, f"one of {', '.join(BYTES_PER_ELEMENT)}")
    method.check(model)
    learning = method.trainable_parameters(model)
    frozen = model.parameters - (learning if method.name == "full" else 0)
    accesses = learning * OPTIMIZER_ACCESSES + frozen * FROZEN_ACCESSES + model.parameters * method.recompute
    activations = (2.0 + method.recompute) * model.activation_bytes(batch, length, target_length, precision)
    flops = training_flops(model, batch, length, target_length, method)
    return Cost(flops, accesses * BYTES_PER_ELEMENT["fp32"] + activations)


def training_flops(
    model: ModelSpec, batch: int, length: float, target_length: float = 0, method: Method = FULL
) -> float:
    """FLOPs of one step's passes.

    A matrix that learns costs its forward pass twice more: the gradient of its input and of its weights. One that does
    not learn costs the gradient of its input alone, and below the lowest layer that learns nothing at all. Attention's
    products always cost twice more. Layers that are recomputed cost one more forward pass.
    """
    forward = model.forward_parts(batch, length, target_length)
    share = (model.layers - method.frozen_layers) / model.layers
    frozen_tables = method.frozen_layers > 0 or method.name == "lora"
    matrices, attention = share * forward.matrices, share * forward.attention
    layers = matrices + attention + forward.decoder_matrices + forward.decoder_attention
    flops = forward.total + (layers if method.recompute else 0.0)
    flops += 2.0 * (attention + forward.decoder_attention)
    flops += (1.0 if frozen_tables and model.output_vocabulary and model.tied else 2.0) * forward.output
    if method.name == "full":
        return flops + 2.0 * (matrices + forward.decoder_matrices)
    if model.output_vocabulary and not model.tied:
        flops -= forward.output
    flops += matrices + forward.decoder_matrices - _first_projections(model, batch, length, target_length, method)
    return flops + _adapter_flops(model, batch, length, target_length, method)


def _first_projections(
    model: ModelSpec, batch: int, length: float, target_length: float, method: Method
) -> float:  # fmt: skip
    """Input gradients that nobody needs: of the lowest learning layer's queries, keys and values, under LoRA."""
    part = model.attention_matrices()
    weights = part["q"] + part["k"] + part["v"]
    below = 2.0 * batch * length * weights if method.frozen_layers < model.layers else 0.0
    return below + (2.0 * batch * target_length * weights if model.decoder_layers else 0.0)


def _adapter_flops(model: ModelSpec, batch: int, length: float, target_length: float, method: Method) -> float:
    layer, decoder_layer = method.adapter_parameters(model)
    weights = (
        model.layers - method.frozen_layers
    ) * layer * length + model.decoder_layers * decoder_layer * target_length
    return TRAINING_PASSES * 2.0 * batch * weights * (1.0 + method.recompute / TRAINING_PASSES)
