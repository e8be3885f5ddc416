"""Losses: of a batch to learn from, and of each window to look at.

A span's loss is the mean of the cross-entropies of its start and its end (Devlin et al. 2019, arXiv 1810.04805,
section 4.2), over the window's own tokens. Libraries count padding as possible answers too, so that what a model learns
depends on how long its batch was padded; here it does not, and levers on padding leave the gradient as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from lowcarb.lab.features import IGNORED, Batch

OUTSIDE = -1e4
"""Logit of what is not of the window: its probability is 0 in fp32, and 0 times its logarithm stays 0."""
TEMPERATURE = 2.0
"""Of soft labels; as in DistilBERT's published code for SQuAD."""
SOFT_SHARE = 0.5
"""Of the loss that soft labels make up: as much as the hard ones."""


def inputs_for(model: PreTrainedModel, batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """The tensors of a batch that a model takes: DistilBERT has no segments."""
    without_segments = model.config.model_type != "bert"
    inputs = {
        name: tensor.to(device)
        for name, tensor in batch.tensors.items()
        if not (name == "token_type_ids" and without_segments)
    }
    mask = inputs["attention_mask"]
    if mask.dtype == torch.bool and model.config._attn_implementation == "eager":  # noqa: SLF001  # has no other name
        # Eager attention adds its mask to the scores: True would add 1.
        inputs["attention_mask"] = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, OUTSIDE)
    return inputs


def batch_loss(model: Any, teacher: PreTrainedModel | None, inputs: dict[str, torch.Tensor], batch: Batch) -> Any:
    """Mean loss of the windows of a batch; with a teacher, half of it is of the teacher's start and end logits.

    Args:
        model: the student, compiled or not.
        teacher: in evaluation mode; None teaches by the hard labels alone.
        inputs: of `inputs_for`.
        batch: where windows lie, if they are packed.
    """
    output = model(**inputs)
    generative = "labels" in inputs
    loss = output.loss if generative else span_losses(output, inputs, batch).mean()
    if teacher is None:
        return loss
    unlabelled = {name: tensor for name, tensor in inputs.items() if not name.endswith("_positions")}
    with torch.no_grad():
        taught = span_logits(teacher(**unlabelled), inputs, batch)
    soft = sum(
        functional.kl_div(
            functional.log_softmax(mine / TEMPERATURE, -1), functional.softmax(theirs / TEMPERATURE, -1),
            reduction="batchmean",
        )
        for mine, theirs in zip(span_logits(output, inputs, batch), taught, strict=True)
    )  # fmt: skip
    # Hinton et al. 2015, arXiv 1503.02531, section 2: the square of the temperature keeps the gradients' size.
    return (1.0 - SOFT_SHARE) * loss + SOFT_SHARE * TEMPERATURE**2 * soft / 2.0


def window_losses(model: PreTrainedModel, inputs: dict[str, torch.Tensor], batch: Batch) -> torch.Tensor:
    """Loss of each window, shape (windows,), in fp32."""
    output = model(**inputs)
    if "labels" not in inputs:
        return span_losses(output, inputs, batch)
    labels = inputs["labels"]
    each = functional.cross_entropy(
        output.logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    return each.sum(1) / (labels != IGNORED).sum(1)


def span_losses(output: Any, inputs: dict[str, torch.Tensor], batch: Batch) -> torch.Tensor:
    """Loss of each window over its own tokens alone, shape (windows,)."""
    device = inputs["input_ids"].device
    starts, ends = _labels(inputs, batch, device)
    start, end = span_logits(output, inputs, batch)
    return (
        functional.cross_entropy(start, starts, reduction="none")
        + functional.cross_entropy(end, ends, reduction="none")
    ) / 2.0


def _labels(
    inputs: dict[str, torch.Tensor], batch: Batch, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    if batch.packed is None:
        return inputs["start_positions"], inputs["end_positions"]
    return batch.packed.starts.to(device), batch.packed.ends.to(device)


def span_logits(output: Any, inputs: dict[str, torch.Tensor], batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Start and end logits of each window over its own tokens, shape (windows, longest window), fp32."""
    if batch.packed is None:
        outside = inputs["attention_mask"] == 0
        return (
            output.start_logits.float().masked_fill(outside, OUTSIDE),
            output.end_logits.float().masked_fill(outside, OUTSIDE),
        )
    places = batch.packed.places.to(inputs["input_ids"].device)
    start, end = (
        logits.float().flatten()[places.clamp(min=0)].masked_fill(places < 0, OUTSIDE)
        for logits in (output.start_logits, output.end_logits)
    )
    return start, end
