"""What a training run must hold at once on one device, part by part, and what would make it fit.

    weights, gradients, optimizer    counted, and divided by the devices that share them (ZeRO, FSDP)
    activations                      what each layer keeps for its backward pass, counted tensor by tensor
    logits                           scores over the vocabulary as the loss holds them, and working space

The count of states is Rajbhandari et al. 2020 (arXiv 1910.02054, section 3.1), that of a layer's activations follows
Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1) with gates, shared heads and fused attention added, and is held
against what PyTorch really saves in tests/core/test_memory.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

from lowcarb.core.estimate import Estimate, total
from lowcarb.core.shape import BYTES_PER_ELEMENT, FULL, Method, ModelSpec
from lowcarb.core.units import BYTES_PER_GB
from lowcarb.errors import SettingError

FULL_BYTES = 4.0
"""Of a weight, a gradient or a moment in fp32."""
MOMENTS = 2.0
"""Of Adam (Kingma & Ba 2015, arXiv 1412.6980)."""
ACTIVATION_RATIO = 1.25
"""×/÷ on activations: implementations keep more or fewer copies. Of our own measurements, tests/core/test_memory.py."""
EAGER_RATIO = 1.6
"""Where scores are written out: families differ in the precision of their softmax. Measured there too."""
EXPERTS_RATIO = 1.7
"""Of experts under mixed precision, whose kernels differ in the copies they narrow. Measured there too."""
STATE_RATIO = 1.1
"""Of gathered weights and gradients: buckets and buffers of the sharding. `assumed`."""
USABLE_SHARE = 0.94
"""Of a device's memory, beside driver, context and fragments of the allocator. `assumed`."""
MASK_BYTES = 1.0
"""Of an element of a dropout mask (Korthikanti et al. 2022, section 4.1)."""

Attention = Literal["fused", "eager"]


@dataclass(frozen=True, slots=True)
class Setup:
    """How a training is laid out on its devices.

    Raises:
        SettingError: a setting that is impossible; the error names the field.
    """

    batch: int
    """Sequences at once on one device: of a micro-batch where gradients are accumulated."""
    length: int
    """Tokens of each, padding included."""
    target_length: int = 0
    """Tokens of each target, for an encoder-decoder."""
    precision: str = "fp32"
    """Of the computation."""
    method: Method = FULL
    pure: bool = False
    """Weights, gradients and moments are held in `precision` too; else in fp32 (automatic mixed precision)."""
    attention: Attention = "fused"
    """fused never writes the scores out (SDPA, flash attention: Dao et al. 2022, arXiv 2205.14135); eager does."""
    count: int = 1
    """Devices that share the states."""
    stage: int = 0
    """ZeRO's: 0 nothing is shared, 1 moments, 2 gradients too, 3 weights too (FSDP)."""

    def __post_init__(self) -> None:
        for name in ("batch", "length", "count"):
            if getattr(self, name) < 1:
                raise SettingError(name, getattr(self, name), "1 or more")
        if self.target_length < 0:
            raise SettingError("target_length", self.target_length, "0 or more")
        if self.precision not in BYTES_PER_ELEMENT:
            raise SettingError("precision", self.precision, f"one of {', '.join(BYTES_PER_ELEMENT)}")
        if self.attention not in ("fused", "eager"):
            raise SettingError("attention", self.attention, "fused or eager")
        if self.stage not in (0, 1, 2, 3):
            raise SettingError("stage", self.stage, "0, 1, 2 or 3")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one device at the peak of a step [bytes]."""

    weights_bytes: Estimate
    gradients_bytes: Estimate
    optimizer_bytes: Estimate
    activations_bytes: Estimate
    logits_bytes: Estimate
    """Scores over the vocabulary with their gradient, and the largest gradient of an activation."""
    total_bytes: Estimate

    def as_dict(self) -> dict[str, dict[str, float | str]]:
        """The JSON form: each part by field name."""
        return {field.name: getattr(self, field.name).as_dict() for field in fields(Memory)}


def memory_of(model: ModelSpec, setup: Setup) -> Memory:
    """What one device must hold at the peak of a step.

    Raises:
        SettingError: more layers frozen than the model has.
    """
    weights, gradients, optimizer = _states(model, setup)
    ratio = EAGER_RATIO if setup.attention == "eager" else ACTIVATION_RATIO
    if model.experts and BYTES_PER_ELEMENT[setup.precision] < FULL_BYTES:
        ratio = EXPERTS_RATIO
    kept = _between(activation_bytes(model, setup), ratio)
    logits = _logits(model, setup)
    parts = (weights, gradients, optimizer, kept, logits)
    return Memory(*parts, total(parts))


def _between(mid: float, ratio: float) -> Estimate:
    return Estimate.around(mid, ratio, "modelled") if mid else Estimate.exact(0.0, "modelled")


def _states(model: ModelSpec, setup: Setup) -> tuple[Estimate, Estimate, Estimate]:
    """Weights, gradients and moments."""
    learning = setup.method.trainable_parameters(model)
    element = BYTES_PER_ELEMENT[setup.precision]
    half = element < FULL_BYTES
    held = element if setup.pure else FULL_BYTES
    weight_share = setup.count if setup.stage >= 3 else 1
    gradient_share = setup.count if setup.stage >= 2 else 1
    moment_share = setup.count if setup.stage >= 1 else 1
    if setup.method.name == "lora":
        # Frozen weights are held as they are computed with; the adapters in fp32.
        weights, held = model.parameters * element + learning * FULL_BYTES, FULL_BYTES
    else:
        # Autocast keeps a copy of the matrices in the narrower precision through a step.
        weights = model.parameters * held
        weights += model.body_parameters * element if half and not setup.pure and setup.stage < 3 else 0.0
    shared = weights / weight_share
    if weight_share > 1:
        shared += 2.0 * element * _largest_layer(model)  # one layer in use, the next on its way
    spread = STATE_RATIO if weight_share > 1 else 1.02
    return (
        _between(shared, spread),
        _between(learning * held / gradient_share, STATE_RATIO if gradient_share > 1 else 1.02),
        _between(learning * held * MOMENTS / moment_share, 1.02),
    )


def _largest_layer(model: ModelSpec) -> int:
    return max(model.layer_parameters, model.decoder_layer_parameters if model.decoder_layers else 0)


def activation_bytes(model: ModelSpec, setup: Setup) -> float:
    """What the layers keep for the backward pass [bytes], the middle figure."""
    setup.method.check(model)
    learning = model.layers - setup.method.frozen_layers
    own = _layer_bytes(model, setup, setup.length, 0)
    written = _layer_bytes(model, setup, setup.target_length, setup.length) if model.decoder_layers else 0.0
    if setup.method.recompute:
        # Between layers, mixed precision adds in fp32.
        element = BYTES_PER_ELEMENT[setup.precision] if setup.pure else FULL_BYTES
        inputs = learning * setup.length + model.decoder_layers * setup.target_length
        return setup.batch * (inputs * model.width * element + max(own if learning else 0.0, written))
    return setup.batch * (learning * own + model.decoder_layers * written)


def _layer_bytes(model: ModelSpec, setup: Setup, tokens: int, source: int) -> float:
    """What one layer keeps of one sequence; with a source it is a decoder layer with cross-attention."""
    element = BYTES_PER_ELEMENT[setup.precision]
    lora = setup.method.name == "lora"
    blocks = 2 if source else 1
    mixed = element < FULL_BYTES and not setup.pure
    # A norm keeps its input, in fp32 under mixed precision; written out, it keeps the normed input too.
    stream = FULL_BYTES if mixed or model.rms else element
    normed = FULL_BYTES if mixed else element
    norm = stream + model.rms * normed * (not lora)
    # A matrix that learns keeps its input; mixed precision narrows it anew for each of them.
    read = (3.0 * blocks + 1.0 + model.gated) if mixed else 1.0 + blocks
    if lora:
        read = blocks * (2.0 if mixed else 1.0)
    per_token = ((1 + blocks) * norm + read * element) * model.width
    # Attention keeps queries, keys, values and its result.
    attention = blocks * (model.query_width + model.attended_width) + model.key_width + model.value_width
    per_token += element * (attention + _ff_kept(model, lora=lora))
    per_token += model.qk_normed * 2.0 * normed * (model.query_width + model.key_width)
    per_token += model.dropout * (1 + blocks) * model.width * MASK_BYTES
    kept = tokens * per_token + source * element * (model.key_width + model.value_width)
    pairs = tokens * (tokens + source)
    if setup.attention == "eager" or (model.biased_scores and not lora):
        # Softmax in fp32, its copy in the narrower precision, what dropout leaves of it and the mask.
        score = FULL_BYTES + (element if element < FULL_BYTES else 0.0) + model.dropout * (element + MASK_BYTES)
        return kept + model.heads * pairs * score
    return kept + blocks * model.heads * tokens * FULL_BYTES  # one normaliser a head and token


def _ff_kept(model: ModelSpec, *, lora: bool) -> float:
    """Width of all that the feed-forward part keeps of one token, on the mean of the layers."""
    # The input of the last matrix is not needed where that does not learn; ReLU keeps it anyway.
    tensors = max(1, (model.ff_kept or (4 if model.gated else 2)) - lora)
    if not model.experts:
        return float(tensors * model.ff)
    routed = model.experts_per_token * (model.expert_ff or model.ff) + model.shared_ff
    # Each expert gathers its tokens and its weighted result is kept before they are added up.
    routed_kept = tensors * routed + 2 * model.experts_per_token * model.width
    dense = model.dense_layers / model.layers
    return dense * tensors * model.ff + (1.0 - dense) * routed_kept


def _logits(model: ModelSpec, setup: Setup) -> Estimate:
    """Scores as computed, in fp32, as log-probabilities, and their gradient; beside them the work of one layer."""
    element = BYTES_PER_ELEMENT[setup.precision]
    tokens = setup.batch * (setup.target_length if model.kind == "encoder-decoder" else setup.length)
    work = setup.batch * max(setup.length, setup.target_length) * element * 2.0 * max(model.ff, model.width)
    if not model.output_vocabulary:
        return _between(work, 2.0)
    scores = float(tokens * model.vocabulary)
    copy = element if element < FULL_BYTES else 0.0
    # Chunked or fused losses hold one copy; at worst gradients exist in both precisions.
    low, mid, high = (scores * one for one in (FULL_BYTES, copy + 3 * FULL_BYTES, 2 * copy + 4 * FULL_BYTES))
    return Estimate(low, mid, high, "modelled") + _between(work, 2.0)


def fits(memory: Memory, device_memory_bytes: float) -> bool | None:
    """Whether a device holds so much: True or False where the whole interval says so, else None.

    Raises:
        SettingError: a memory of zero or less.
    """
    if device_memory_bytes <= 0:
        raise SettingError("memory_bytes", device_memory_bytes, "above 0")
    usable = device_memory_bytes * USABLE_SHARE
    if memory.total_bytes.high <= usable:
        return True
    return False if memory.total_bytes.low > usable else None


SIZES_GB = (16.0, 24.0, 32.0, 40.0, 48.0, 80.0, 96.0, 141.0, 192.0, 288.0)
"""Memory that accelerators are sold with."""


def remedies(model: ModelSpec, setup: Setup, device_memory_bytes: float) -> tuple[str, ...]:
    """Single changes after which the middle estimate fits, each computed again; none where it fits already.

    Where no single change is enough, recomputation is combined with the others. An empty result of a run that does
    not fit means that none of these is enough.
    """
    usable = device_memory_bytes * USABLE_SHARE
    if _fitting(model, setup, usable):
        return ()
    single = tuple(_changes(model, setup, usable, ""))
    if single or setup.method.recompute:
        return single
    again = replace(setup, method=replace(setup.method, recompute=True))
    return tuple(_changes(model, again, usable, "gradient checkpointing and "))


def _fitting(model: ModelSpec, setup: Setup, usable: float) -> bool:
    return memory_of(model, setup).total_bytes.mid <= usable


def _changes(model: ModelSpec, setup: Setup, usable: float, first: str) -> Iterator[str]:
    batch = _largest_batch(model, setup, usable)
    if 0 < batch < setup.batch:
        yield f"{first}batch {batch} or less on a device"
    method = setup.method
    if not method.recompute and _fitting(model, replace(setup, method=replace(method, recompute=True)), usable):
        yield f"{first}gradient checkpointing"
    if setup.attention == "eager" and _fitting(model, replace(setup, attention="fused"), usable):
        yield f"{first}fused attention"
    if setup.precision in ("fp32", "tf32") and _fitting(model, replace(setup, precision="bf16"), usable):
        yield f"{first}bf16"
    if method.name == "full" and _fitting(model, replace(setup, method=replace(method, name="lora")), usable):
        yield f"{first}LoRA"
    for count in (2**power for power in range(1, 14)):
        if count > setup.count and _fitting(model, replace(setup, count=count, stage=3), usable):
            yield f"{first}shard over {count} devices"
            break
    needed = memory_of(model, setup).total_bytes.mid / USABLE_SHARE
    size = next((one for one in SIZES_GB if one * BYTES_PER_GB >= needed), None)
    if size is not None:
        yield f"{first}a device with {size:g} GB or more"


def _largest_batch(model: ModelSpec, setup: Setup, usable: float) -> int:
    """The largest batch that fits, 0 where not even one sequence does: by halving, for memory grows with it."""
    low, high = 0, setup.batch
    while low < high:
        middle = (low + high + 1) // 2
        if _fitting(model, replace(setup, batch=middle), usable):
            low = middle
        else:
            high = middle - 1
    return low
