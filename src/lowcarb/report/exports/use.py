"""What using a trained model computes [FLOP], for a task that is named: reckoned, not benchmarked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lowcarb.core.serving import FLOPS_PER_PARAMETER_AND_TOKEN
from lowcarb.core.shape import ModelSpec
from lowcarb.errors import SettingError

TASK_TOKENS = 100_000
"""Tokens of the task: what the Model Documentation Form names as an example (GPAI Code of Practice, 10 July 2025)."""


@dataclass(frozen=True, slots=True)
class Use:
    """Reading `TASK_TOKENS` with one model."""

    subject: str
    """The arm; empty for a run."""
    flops: float
    """[FLOP]"""
    method: str


def use_of(subject: str, spec: Mapping[str, Any], parameters: float | None, length: int) -> Use | None:
    """The computation by the model's shape, else by its parameters; None where neither is known.

    Args:
        subject: the arm; empty for a run.
        spec: fields of a `ModelSpec`; empty where the shape is not known.
        parameters: weights [count].
        length: window in which the model reads [tokens].
    """
    shape = _shape(spec)
    if shape is not None and length > 0:
        flops = shape.forward_flops(1, length) / length * TASK_TOKENS
        reading = "reading alone, what it writes is not in it" if shape.kind == "encoder-decoder" else "forward passes"
        return Use(subject, flops, f"from the model's shape, in windows of {length} tokens, {reading}")
    if parameters is None or parameters <= 0:
        return None
    flops = FLOPS_PER_PARAMETER_AND_TOKEN * parameters * TASK_TOKENS
    return Use(subject, flops, "2 x parameters x tokens, attention's products left out; of a dense model")


def _shape(spec: Mapping[str, Any]) -> ModelSpec | None:
    known = {one.name for one in fields(ModelSpec)}
    try:
        return ModelSpec(**{name: value for name, value in spec.items() if name in known}) if spec else None
    except (TypeError, ValueError, SettingError):
        return None
