"""What the catalogue holds beyond the types of `core`: processors, models, equivalents."""

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
class ModelFacts:
    """The architecture of a published language model."""

    id: str
    family: str
    """bert, distilbert, roberta, minilm, t5, gpt, llama, moe."""
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
