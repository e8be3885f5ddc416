"""The training loop: every optimizer step that makes the model, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import PreTrainedModel

from lowcarb.core.shape import BYTES_PER_ELEMENT, Method
from lowcarb.core.trial import Recipe
from lowcarb.core.workload import Cost, ModelSpec, step_cost
from lowcarb.lab.base import Diverged, OnStep, Step
from lowcarb.lab.features import Batch
from lowcarb.lab.looks import Looks, autocast, forward_cost
from lowcarb.lab.loss import batch_loss, inputs_for

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
    """Windows."""
    cost: Cost
    """FLOPs and bytes, from the shapes of the batches."""
    last_loss: float
    best_step: int | None = None
    """Of which the weights were kept, where held-out questions were looked at."""
    stopped_early: bool = False

    def with_more(self, other: Trained) -> Trained:
        """This training, with the work of another that was needed for it added to its own."""
        return replace(
            self, steps=self.steps + other.steps, zero_rate_steps=self.zero_rate_steps + other.zero_rate_steps,
            tokens=self.tokens + other.tokens, real_tokens=self.real_tokens + other.real_tokens,
            sequences=self.sequences + other.sequences, cost=self.cost + other.cost,
        )  # fmt: skip


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
    steps = max(1, math.ceil(recipe.epochs * batches_per_epoch / recipe.accumulation))
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


def method_of(recipe: Recipe) -> Method:
    """Which weights a recipe trains and what it computes twice, for the count of FLOPs."""
    name = "full" if recipe.lora_rank is None else "lora"
    return Method(name, recipe.lora_rank or 1, frozen_layers=recipe.frozen_layers, recompute=recipe.checkpointing)


def train(  # noqa: PLR0913  # a training has as many parts
    model: PreTrainedModel, spec: ModelSpec, batches: Iterator[Sequence[Batch]], recipe: Recipe, *, steps: int,
    steps_per_epoch: int, on_step: OnStep, teacher: PreTrainedModel | None = None,
    teacher_spec: ModelSpec | None = None, looks: Looks | None = None,
) -> Trained:  # fmt: skip
    """Train a model for so many steps on an endless stream of batches.

    Args:
        model: on its device; its weights change.
        spec: its shape, for the count of FLOPs.
        batches: as many a step as the recipe accumulates, each in parts.
        recipe: how.
        steps: at most so many optimizer steps; fewer where held-out questions gain nothing more.
        steps_per_epoch: optimizer steps of an epoch, for the schedule.
        on_step: told after each.
        teacher: whose start and end logits are learnt too.
        teacher_spec: its shape; needed with it.
        looks: at held-out questions; the weights of the best one are kept.

    Raises:
        Diverged: the loss was not a number.
    """
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(_groups(model, recipe), lr=recipe.learning_rate, fused=recipe.fused)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps, recipe, steps_per_epoch))
    scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
    # Compiled beside the model, not in place: answers are read out of it as it is.
    forward = torch.compile(model) if recipe.compile else model
    model.train()
    tokens = real_tokens = sequences = zero_rate_steps = taken = 0
    cost, loss_value = Cost(), math.nan
    while taken < steps and not (looks and looks.over):
        together = [part for _ in range(recipe.accumulation) for part in next(batches)]
        windows = sum(batch.windows for batch in together)
        zero_rate_steps += schedule.get_last_lr()[0] == 0.0
        optimizer.zero_grad(set_to_none=True)
        loss_value = 0.0
        for batch in together:
            inputs = inputs_for(model, batch, device)
            with autocast(recipe, device):
                # Weighed by windows: the gradient is that of one large batch.
                loss = batch_loss(forward, teacher, inputs, batch) * (batch.windows / windows)
            loss_value += float(loss.detach())
            if not math.isfinite(loss_value):
                raise Diverged(f"the loss is {loss_value} at step {taken + 1} of {steps}")
            scaler.scale(loss).backward()
            if teacher_spec is not None:
                cost += forward_cost(teacher_spec, batch, recipe.precision)
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        taken += 1
        tokens += sum(batch.size * (batch.length + batch.target_length) for batch in together)
        real_tokens += sum(batch.real_tokens for batch in together)
        sequences += windows
        cost += _step_cost(spec, together, recipe)
        if looks is not None:
            cost += looks.after(taken, steps, model, spec, cost.flops)
        on_step(Step(taken, steps, loss_value))
    if looks is not None:
        looks.restore(model)
    if device.type == "cuda":
        torch.cuda.synchronize()  # work that is still queued belongs to this phase
    best, early = (looks.best_step, taken < steps) if looks else (None, False)
    return Trained(taken, zero_rate_steps, tokens, real_tokens, sequences, cost, loss_value, best, early)


OPTIMIZER_ALONE = 7.0
"""Of the memory accesses of a weight in a step, those of the optimizer: weight, gradient and two moments read, weight
and two moments written (see `workload.OPTIMIZER_ACCESSES`)."""


def _step_cost(spec: ModelSpec, together: Sequence[Batch], recipe: Recipe) -> Cost:
    """Of the batches of one step; the optimizer's own part is taken once."""
    method = method_of(recipe)
    each = [step_cost(spec, b.size, b.length, b.target_length, recipe.precision, method) for b in together]
    update = OPTIMIZER_ALONE * BYTES_PER_ELEMENT["fp32"] * method.trainable_parameters(spec)
    return Cost(sum(c.flops for c in each), sum(c.bytes for c in each) - update * (len(each) - 1))


def _groups(model: PreTrainedModel, recipe: Recipe) -> list[dict[str, Any]]:
    """Weights with decay, and biases and norms without, as Devlin et al. (2019) fine-tune."""
    with_decay = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    without = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": with_decay, "weight_decay": recipe.weight_decay}, {"params": without, "weight_decay": 0.0}]
