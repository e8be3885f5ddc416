"""What is trained beside the model, inside the metered training: a teacher, and a scout that finds hard questions.

Both are trained by the same loop as the model, so that their steps, tokens and FLOPs are counted as its own are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel

from lowcarb.core.trial import Recipe
from lowcarb.core.workload import Cost, ModelSpec
from lowcarb.lab.base import OnStep
from lowcarb.lab.features import Batch, epoch_batches, padded
from lowcarb.lab.looks import Looks, forward_cost, losses_of
from lowcarb.lab.models import Built
from lowcarb.lab.selection import Material
from lowcarb.lab.train import Trained, planned_steps, train

SCOUT_SHARE = 8
"""A scout is trained on one of so many questions: enough that its losses tell questions apart."""
LOOK_BATCH = 32
"""Windows of a batch that is only looked at."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """How all models of a trial are trained."""

    recipe: Recipe
    seed: int
    pad_id: int
    on_step: OnStep


def taught(
    lesson: Lesson, built: Built, material: Material, *, held: Material | None = None,
    teacher: PreTrainedModel | None = None, teacher_spec: ModelSpec | None = None,
) -> Trained:  # fmt: skip
    """Train a model on some material, from the lesson's seed."""
    recipe = lesson.recipe
    batches_per_epoch = -(-len(material.windows) // recipe.batch)
    steps_per_epoch = max(1, -(-batches_per_epoch // recipe.accumulation))
    looks = Looks(at_a_look(held, lesson.pad_id), recipe, steps_per_epoch) if held else None
    # Dropout draws from here on, so that it does not depend on what was drawn before.
    torch.manual_seed(lesson.seed)
    return train(
        built.model, built.spec, endless(material, lesson), recipe, steps=planned_steps(batches_per_epoch, recipe),
        steps_per_epoch=steps_per_epoch, on_step=lesson.on_step, teacher=teacher, teacher_spec=teacher_spec,
        looks=looks,
    )  # fmt: skip


def endless(material: Material, lesson: Lesson) -> Iterator[tuple[Batch, ...]]:
    """Epoch after epoch."""
    epoch = 0
    while True:
        yield from epoch_batches(
            material.windows, material.questions, lesson.recipe, lesson.pad_id, seed=lesson.seed, epoch=epoch
        )
        epoch += 1


def at_a_look(material: Material, pad_id: int) -> list[Batch]:
    """All windows in batches of like length."""
    ordered = sorted(material.windows, key=lambda window: len(window.ids))
    return [padded(ordered[n : n + LOOK_BATCH], pad_id) for n in range(0, len(ordered), LOOK_BATCH)]


def trained_teacher(lesson: Lesson, teacher: Built, material: Material) -> Trained:
    """Train the teacher as its student will be, by the hard labels, and leave it in evaluation mode."""
    done = taught(replace(lesson, recipe=teacher_recipe(lesson.recipe)), teacher, material)
    teacher.model.eval()
    teacher.model.requires_grad_(requires_grad=False)
    return done


def teacher_recipe(recipe: Recipe) -> Recipe:
    """The student's, without a teacher and to the end."""
    return replace(recipe, teacher=None, patience=None, least_gain=None)


def question_losses(lesson: Lesson, built: Built, material: Material) -> tuple[list[float], Trained]:
    """Loss of each question under a copy of the model that has learnt an eighth of them; and what finding out took.

    An untrained head finds all questions equally hard, so some training comes first. The copy is thrown away.
    """
    scout = replace(built, model=copy.deepcopy(built.model))
    recipe = replace(teacher_recipe(lesson.recipe), epochs=1.0, max_steps=None, decay_epochs=None, compile=False)
    few = material.part(range(0, len(material.questions), SCOUT_SHARE))
    done = taught(replace(lesson, recipe=recipe), scout, few)
    batches = at_a_look(material, lesson.pad_id)
    ordered = sorted(material.windows, key=lambda window: len(window.ids))
    sums = [0.0] * len(material.questions)
    counts = [0] * len(material.questions)
    for window, loss in zip(ordered, losses_of(scout.model, batches, recipe), strict=True):
        sums[window.question] += loss
        counts[window.question] += 1
    cost = sum((forward_cost(built.spec, batch, recipe.precision) for batch in batches), Cost())
    means = [total / count if count else 0.0 for total, count in zip(sums, counts, strict=True)]
    return means, replace(done, cost=done.cost + cost)
