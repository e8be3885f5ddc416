"""Which stacks of levers there are and which to begin with. Pure: nothing here trains.

A *stack* is some pulled levers, in the order in which they are pulled. What is known of stacks that were tried, and
which of them to keep, is in `lowcarb.core.standing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from lowcarb.core.levers import Able, Lever, Pulled, in_order, pull
from lowcarb.core.trial import Trial
from lowcarb.errors import LowcarbError

Stack = tuple[Pulled, ...]

NOT_TRAINED = ("hardware", "place")
"""Kinds of lever that leave the training as it is: no search is needed to know what they do to its quality."""
DEAREST = 1.5
"""What a lever may cost in energy, by its claim, to be tried for the quality that others then save on. `assumed`."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A lever with the settings in which it may be pulled, on this trial and this device."""

    lever: Lever
    options: tuple[Pulled, ...]


def options_of(lever: Lever) -> tuple[Pulled, ...]:
    """A lever at its usual settings, and with each other value of one of them."""
    usual = {name: values[0] for name, values in lever.settings.items()}
    several = [usual, *(usual | {name: value} for name, values in lever.settings.items() for value in values[1:])]
    return tuple(Pulled(lever.id, tuple(one.items())) for one in several)


def possible(trial: Trial, stack: Sequence[Pulled], able: Able) -> bool:
    """Whether the whole stack can be pulled, and every lever of it changes something."""
    try:
        pull(trial, stack, able)
    except LowcarbError:
        return False
    return True


def repaired(trial: Trial, stack: Iterable[Pulled], able: Able) -> Stack:
    """The stack, in the order in which levers are pulled, without those that the ones named before them rule out."""
    kept: Stack = ()
    for one in stack:
        if possible(trial, (*kept, one), able):
            kept = (*kept, one)
    return in_order(kept)


def axes_of(levers: Iterable[Lever], trial: Trial, able: Able, *, without: frozenset[str] = frozenset()) -> list[Axis]:
    """The levers worth a try here: not refused, tried before, and not known to cost energy for nothing."""
    found = []
    for lever in levers:
        if lever.id in without or not lever.tried or lever.kind in NOT_TRAINED or not _worth_a_try(lever):
            continue
        options = tuple(
            one for one in options_of(lever)
            if possible(trial, (one,), able) and _trains_once(pull(trial, (one,), able))
        )  # fmt: skip
        if options:
            found.append(Axis(lever, options))
    return found


def _trains_once(trial: Trial) -> bool:
    """Whether nothing else is trained first: what a few steps cost would say nothing of such a training."""
    return trial.arm.recipe.selection != "loss" and trial.arm.recipe.teacher is None


def _worth_a_try(lever: Lever) -> bool:
    ratio, change = lever.claim.energy_ratio.mid, lever.claim.quality_change
    # At a ratio of 1 it saves nothing by itself, as a learning rate does not: it may let others save.
    return ratio <= 1.0 or (ratio <= DEAREST and change is not None and change.mid > 0.0)


def exact_stack(
    axes: Iterable[Axis], trial: Trial, able: Able, saves: Callable[[Stack, Stack], bool], *, first: Stack = ()
) -> Stack:
    """The levers that leave the arithmetic as it is and save: there is no reason to wait.

    Args:
        axes: of all levers.
        trial: the baseline's.
        able: what the device can do.
        saves: whether the first stack costs less than the second, from a few steps of both.
        first: what is pulled already.

    Returns:
        `first` with what saves on top of it, tried in the order of what is claimed.
    """
    exact = [axis for axis in axes if axis.lever.exact and axis.lever.claim.energy_ratio.mid < 1.0]
    held = first
    for axis in sorted(exact, key=lambda axis: axis.lever.claim.energy_ratio.mid):
        stack = repaired(trial, (*held, axis.options[0]), able)
        if axis.options[0] in stack and axis.options[0] not in held and saves(stack, held):
            held = stack
    return held


def changed(before: Trial, after: Trial) -> dict[str, object]:
    """What a lever did to a trial: recipe fields, and `layers`, by name with the new value."""
    old, new = before.arm.recipe, after.arm.recipe
    found = {f.name: getattr(new, f.name) for f in fields(new) if getattr(new, f.name) != getattr(old, f.name)}
    return found | ({"layers": after.arm.model.layers} if before.arm.model != after.arm.model else {})


QUICK: Mapping[str, object] = {
    "precision": "bf16", "dropout": 0.0, "batch": 4, "epochs": 1.0, "warmup": 0.1, "fused": True
}  # fmt: skip
"""What most starts share. The rate rises first, as in the fine-tuning of Devlin et al. (2019): without that, short
trainings at a high rate fail to begin on some seeds (studies/LOG.md)."""

STARTS: tuple[Mapping[str, object], ...] = (
    {**QUICK, "learning_rate": 2e-4, "frozen_embeddings": True},
    {**QUICK, "learning_rate": 2e-4, "frozen_embeddings": True, "epochs": 2.0},
    {**QUICK, "learning_rate": 2e-4, "frozen_embeddings": True, "data_share": 0.7},
    {**QUICK, "learning_rate": 1e-4, "frozen_embeddings": True, "epochs": 2.0},
    {**QUICK, "learning_rate": 2e-4, "frozen_embeddings": True, "batch": 2, "data_share": 0.5},
    {**QUICK, "learning_rate": 2e-4, "frozen_embeddings": True, "data_share": 0.7, "answer_windows": True,
     "length": 192, "stride": 96},
    {"precision": "bf16", "dropout": 0.0, "frozen_embeddings": True},
    {"precision": "bf16", "dropout": 0.0, "frozen_embeddings": True, "data_share": 0.7},
)  # fmt: skip
"""What a search tries first: what small encoders were seen to stand, boldest settings apart. Short trainings lack steps
before they lack examples, so a smaller batch and a higher rate come together. Where a lever for a value is not at hand,
that value is left out."""


def starts(axes: Sequence[Axis], trial: Trial, able: Able, base: Stack) -> list[Stack]:
    """The stacks to begin with, each on top of `base`, no two alike."""
    effects = [(option, changed(trial, pull(trial, (option,), able))) for axis in axes for option in axis.options]
    found: list[Stack] = []
    for wanted in STARTS:
        on_device = wanted if able.gpu else {**wanted, "attention": "eager"}
        chosen = [
            option for option, effect in effects if effect and all(_meets(on_device, *item) for item in effect.items())
        ]
        stack = repaired(trial, (*base, *chosen), able)
        if stack != base and stack not in found:
            found.append(stack)
    return found


def _meets(wanted: Mapping[str, object], name: str, value: object) -> bool:
    return name in wanted and wanted[name] == value


def break_even(spent_j: float, baseline_j: float, best_j: float) -> float | None:
    """Trainings after which what was spent on the search is saved; None where nothing is saved per training."""
    return spent_j / (baseline_j - best_j) if baseline_j > best_j else None


def additive(
    seen: Sequence[tuple[Stack, float]], prior: Callable[[Pulled], float], *, strength: float = 1.0, rounds: int = 20
) -> Callable[[Stack], float]:
    """A figure of a stack as the sum of its levers' effects, learnt from what was seen and drawn towards the prior.

    Ridge regression by coordinates: each effect in turn takes the mean of what the others leave over, with `strength`
    looks' worth of the prior in it.
    """
    effects = {one: prior(one) for stack, _ in seen for one in stack}

    def figure(stack: Stack) -> float:
        return sum(effects.get(one, prior(one)) for one in stack)

    for _ in range(rounds):
        for one, effect in list(effects.items()):
            left = [value - figure(stack) + effect for stack, value in seen if one in stack]
            effects[one] = (strength * prior(one) + sum(left)) / (strength + len(left))
    return figure
