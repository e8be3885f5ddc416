"""The training loop: every optimizer step that makes the model, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import PreTrainedModel

from lowcarb.core.trial import Recipe
from lowcarb.core.workload import Cost, ModelSpec, step_cost
from lowcarb.lab.base import Diverged, OnStep, Step
from lowcarb.lab.features import Batch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
MAX_GRADIENT_NORM = 1.0
"""As in the reference fine-tuning of BERT (Devlin et al. 2019, arXiv 1810.04805, its published code)."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training did."""

    steps: int
    zero_rate_steps: int
    """Steps that were taken at a learning rate of zero."""
    tokens: float
    """Seen, padding included."""
    real_tokens: float
    """Seen, padding left out."""
    sequences: int
    cost: Cost
    """FLOPs and bytes, from the shapes of the batches."""
    last_loss: float


class StepCount:
    """Counts every optimizer step of this process, and those taken while the meter's training phase is open.

    The optimizers tell it, not the loop: a step that is taken anywhere else is seen as well, so that the linter can
    hold one number against the other.
    """

    def __init__(self) -> None:
        self.steps = self.metered = 0
        self._open = False
        self._hook: Any = None

    def __enter__(self) -> Self:
        self._hook = register_optimizer_step_post_hook(self._count)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()

    @contextmanager
    def metering(self) -> Iterator[None]:
        """The time inside is metered as training."""
        self._open = True
        try:
            yield
        finally:
            self._open = False

    def _count(self, optimizer: object, arguments: object, named: object) -> None:
        del optimizer, arguments, named
        self.steps += 1
        self.metered += self._open


def planned_steps(batches_per_epoch: int, recipe: Recipe) -> int:
    """Optimizer steps that a recipe asks for."""
    steps = max(1, math.ceil(recipe.epochs * batches_per_epoch))
    return min(steps, recipe.max_steps) if recipe.max_steps is not None else steps


def rate_at(step: int, steps: int, recipe: Recipe, steps_per_epoch: int) -> float:
    """Learning rate over its peak at a step, counted from 0."""
    warmup = round(recipe.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    if recipe.schedule == "constant":
        return 1.0
    end = steps if recipe.decay_epochs is None else max(1, round(recipe.decay_epochs * steps_per_epoch))
    return max(0.0, (end - step) / max(1, end - warmup))


def device_for_training() -> torch.device:
    """The accelerator that is there, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def train(
    model: PreTrainedModel, spec: ModelSpec, batches: Iterator[Batch], recipe: Recipe, *, steps: int,
    steps_per_epoch: int, on_step: OnStep,
) -> Trained:  # fmt: skip
    """Train a model for so many steps on an endless stream of batches.

    Raises:
        Diverged: the loss was not a number.
    """
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(_groups(model, recipe), lr=recipe.learning_rate, fused=recipe.fused)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps, recipe, steps_per_epoch))
    scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
    model.train()
    tokens = real_tokens = sequences = zero_rate_steps = 0
    cost, loss_value = Cost(), math.nan
    for step in range(1, steps + 1):
        batch = next(batches)
        with torch.autocast(device.type, DTYPES.get(recipe.precision), enabled=recipe.precision in DTYPES):
            loss = model(**inputs_for(model, batch, device)).loss
        loss_value = float(loss.detach())
        if not math.isfinite(loss_value):
            raise Diverged(f"the loss is {loss_value} at step {step} of {steps}")
        zero_rate_steps += schedule.get_last_lr()[0] == 0.0
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        tokens += batch.size * (batch.length + batch.target_length)
        real_tokens += batch.real_tokens
        sequences += batch.size
        cost += step_cost(spec, batch.size, batch.length, batch.target_length, recipe.precision)
        on_step(Step(step, steps, loss_value))
    if device.type == "cuda":
        torch.cuda.synchronize()  # work that is still queued belongs to this phase
    return Trained(steps, zero_rate_steps, tokens, real_tokens, sequences, cost, loss_value)


def _groups(model: PreTrainedModel, recipe: Recipe) -> list[dict[str, Any]]:
    """Weights with decay, and biases and norms without, as Devlin et al. (2019) fine-tune."""
    with_decay = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    without = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": with_decay, "weight_decay": recipe.weight_decay}, {"params": without, "weight_decay": 0.0}]


def inputs_for(model: PreTrainedModel, batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """The tensors of a batch that a model takes: DistilBERT has no segments."""
    without_segments = model.config.model_type != "bert"
    return {
        name: tensor.to(device)
        for name, tensor in batch.tensors.items()
        if not (name == "token_type_ids" and without_segments)
    }
