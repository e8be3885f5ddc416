"""What the catalogue holds beyond the types of `core`: processors, models, published trainings, equivalents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lowcarb.core.estimate import Basis, Estimate

ModelKind = Literal["encoder", "decoder", "encoder-decoder"]


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor by its model name."""

    name: str
    tdp_w: float
    """Rated power of one package [W]."""
    cores: int | None
    """Physical cores of one package."""
    threads: int | None
    """Logical processors of one package."""
    sources: tuple[str, ...]
    basis: Basis
    """The weakest of its figures'."""
    clock_hz: float | None = None
    """Base clock [Hz]."""


@dataclass(frozen=True, slots=True)
class CpuFamily:
    """Server processors that share a design, for virtual machines whose model name says no more."""

    name: str
    tdp_w_per_thread: Estimate
    """Share of the rated power that falls to one virtual processor [W]: a hyper-thread of a thrifty part at the
    low end, a whole core of a fast part at the high end."""
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """A kind of memory. Unknown is None."""

    id: str
    name: str
    power_w_per_byte: Estimate | None
    """Mean draw of what is installed [W/byte]."""
    embodied_g_per_byte: Estimate | None
    """Carbon of making it [gCO2e/byte]."""
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The architecture of a published language model."""

    id: str
    family: str
    """Of shapes that are counted alike: bert, roberta, t5, bart; gpt has plain feed-forward blocks, llama gated ones,
    moe a mixture of gated experts."""
    kind: ModelKind
    layers: int
    """Of the encoder, or of the decoder where there is no encoder."""
    decoder_layers: int
    """Of the decoder of an encoder-decoder; 0 for the other kinds."""
    width: int
    """Of the residual stream."""
    ff: int
    """Inner width of the feed-forward blocks; of one expert in a mixture."""
    heads: int
    vocab: int
    positions: int
    """Longest sequence [tokens] that it was made for."""
    parameters: int
    """All weights, embeddings included, tied ones once."""
    active_parameters: int
    """Weights that one token passes through: fewer than `parameters` only in a mixture of experts."""
    sources: tuple[str, ...]
    basis: Basis
    kv_heads: int
    """Heads of keys and values; as many as `heads` unless queries share them."""
    experts: int
    """Feed-forward blocks to route among in a layer, shared ones left out; 1 in a dense model."""
    experts_per_token: int
    """Of them those that a token passes."""


EnergyScope = Literal["accelerator", "node", "facility"]
CarbonScope = Literal["accelerator", "node", "facility", "life-cycle"]
HoursBasis = Literal["reported", "rounded", "derived", "second-hand", "estimated", "upper-bound", "other-run"]
PowerBasis = Literal["rated", "measured-node", "measured-device", "reported", "assumed", "sampled-elsewhere"]
EnergyBasis = Literal[
    "measured", "one-node-measured", "rated-power", "assumed-power", "reported-power", "sampled-elsewhere", "unclear"
]
CarbonAccounting = Literal["location", "market", "net", "life-cycle", "unclear"]
"""Net is the location's grid less the carbon-free electricity bought for the same hours."""


@dataclass(frozen=True, slots=True)
class Published:
    """What was published on the training of one model, as it was published. What was not is None, never zero."""

    id: str
    name: str
    family: str
    """Runs that were published together: a judgement of one is none of the others'."""
    year: int
    organisation: str
    params: float | None
    active_params: float | None
    """Weights that one token passes through."""
    flop_params: float | None
    """Weights that count in 6ND: half of them where a token passes the encoder or the decoder."""
    tokens: float | None
    """Seen in training, repetitions included."""
    arch: str
    """encoder, decoder, encoder-decoder, moe or recurrent."""
    layers: int | None
    width: int | None
    precision: str
    """16bit where half precision was used and nobody said which."""
    device: str | None
    """Id in the catalogue; None where several kinds, or none, were named."""
    count: int | None
    accelerator_hours: float | None
    """Sum over the accelerators [h]."""
    hours_basis: HoursBasis | None
    power_w: float | None
    """Mean of one accelerator, or of its share of the node where the basis says so [W]."""
    power_basis: PowerBasis | None
    pue: float | None
    intensity_g_per_kwh: float | None
    site: str | None
    """Id in the catalogue."""
    energy_j: float | None
    energy_scope: EnergyScope | None
    energy_basis: EnergyBasis | None
    co2_g: float | None
    """Operational carbon [gCO2e]; that of a life cycle where the scope says so."""
    co2_scope: CarbonScope | None
    co2_accounting: CarbonAccounting | None
    remark: str
    """What a reader must know before comparing, in parts with semicolons between. A part that bears on power or carbon
    alone begins with that word and a colon."""
    sources: tuple[str, ...]
    basis: Basis


@dataclass(frozen=True, slots=True)
class Task:
    """A well-known fine-tuning, to forecast by name."""

    id: str
    title: str
    examples: int
    epochs: float
    batch: int
    """Examples a step."""
    length: int
    """Tokens an example is padded to."""
    sources: tuple[str, ...]
    basis: Basis


@dataclass(frozen=True, slots=True)
class Equivalent:
    """One unit of something familiar, to say a footprint in. Exactly one of carbon and energy is set."""

    id: str
    title: str
    """In the plural, to stand after a number: `smartphone charges`."""
    carbon_g: Estimate | None
    """Carbon of one [gCO2e]."""
    energy_j: Estimate | None
    """Energy of one [J]."""
    sources: tuple[str, ...]
