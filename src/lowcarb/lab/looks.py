"""Looks at held-out questions while a model trains: when to stop, and which weights to keep.

The questions are taken from the training set, never from what a study is judged on. A look costs energy: it happens in
the metered training phase.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from lowcarb.core.gain import gain_to_come
from lowcarb.core.shape import BYTES_PER_ELEMENT, ModelSpec
from lowcarb.core.trial import Recipe
from lowcarb.core.workload import Cost
from lowcarb.lab.features import Batch
from lowcarb.lab.loss import inputs_for, window_losses

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
LOOKS_PER_EPOCH = 4
PERCENT = 100.0


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """The precision of a recipe, for what is computed inside."""
    return torch.autocast(device.type, DTYPES.get(recipe.precision), enabled=recipe.precision in DTYPES)


def forward_cost(spec: ModelSpec, batch: Batch, precision: str) -> Cost:
    """FLOPs and bytes of a forward pass alone: weights read once, activations written once and read once."""
    activations = 2.0 * spec.activation_bytes(batch.size, batch.length, batch.target_length, precision)
    weights = spec.parameters * BYTES_PER_ELEMENT["fp32"]
    return Cost(spec.forward_flops(batch.size, batch.length, batch.target_length), weights + activations)


def losses_of(model: PreTrainedModel, batches: Sequence[Batch], recipe: Recipe) -> list[float]:
    """Loss of each window, in order; the model is left in the mode that it was in."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    found: list[float] = []
    with torch.no_grad(), autocast(recipe, device):
        for batch in batches:
            found += window_losses(model, inputs_for(model, batch, device), batch).tolist()
    model.train(training)
    return found


def _chance(loss: float) -> float:
    """That the model gives to the right answer: of a span, the geometric mean of those of its start and its end."""
    return math.exp(-loss)


class Looks:
    """Ends a training by patience or by the gain to come, and keeps the weights of the lowest loss."""

    def __init__(self, batches: Sequence[Batch], recipe: Recipe, steps_per_epoch: int) -> None:
        self._batches, self._recipe = batches, recipe
        self._every = max(1, steps_per_epoch // LOOKS_PER_EPOCH)
        self._best, self._without_gain = math.inf, 0
        self._weights: dict[str, torch.Tensor] = {}
        self.best_step: int | None = None
        self.losses: list[float] = []
        """Mean over the held-out windows, by look."""
        self.course: list[tuple[float, float]] = []
        """By look, the energy spent until then, as a share of a whole training's without looks, and the score: the
        chance in percent that the model gives to the right answer, mean over the windows. It is smoother than F1."""
        self._looked = 0.0

    @property
    def over(self) -> bool:
        """Whether the patience is used up, or going on is predicted to bring too little."""
        patience, least = self._recipe.patience, self._recipe.least_gain
        if patience is not None and self._without_gain >= patience:
            return True
        to_come = gain_to_come(self.course) if least is not None else None
        return least is not None and to_come is not None and to_come < least

    def after(self, step: int, steps: int, model: PreTrainedModel, spec: ModelSpec, flops: float) -> Cost:
        """Look, if it is time to, or the last step; what it cost.

        Args:
            step: that was taken.
            steps: of the whole training.
            model: as it is now.
            spec: its shape.
            flops: of the training so far, looks included. Energy is taken to go with them: what a training does must
                not depend on what a meter reads.
        """
        if step % self._every and step != steps:
            return Cost()
        each = losses_of(model, self._batches, self._recipe)
        loss = sum(each) / len(each)
        self.losses.append(loss)
        self.course.append((self._share(step, steps, flops), PERCENT * sum(map(_chance, each)) / len(each)))
        if loss < self._best:
            self._best, self._without_gain, self.best_step = loss, 0, step
            self._weights = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        else:
            self._without_gain += 1
        cost = sum((forward_cost(spec, b, self._recipe.precision) for b in self._batches), Cost())
        self._looked += cost.flops
        return cost

    def _share(self, step: int, steps: int, flops: float) -> float:
        return flops / (flops - self._looked) * step / steps

    def restore(self, model: PreTrainedModel) -> None:
        """Put the weights of the best look back."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in self._weights:
                    parameter.copy_(self._weights[name])
