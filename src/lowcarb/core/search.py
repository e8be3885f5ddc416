"""Which stacks of levers to try, which to keep, and what may be claimed in the end. Pure: nothing here trains.

A *stack* is some pulled levers, in the order in which they are pulled. A search looks at stacks with few seeds and few
questions, so three things keep it honest:

- *halving*: all stacks get one seed, the more promising half a second one, half of those a third. A stack that was
  lucky once is found out before it costs more.
- *promise*: what is expected of a stack is its saving times the chance that it will pass the confirmation, with the
  noise of both the search and the confirmation in that chance. A large saving that will not pass is worth nothing.
- *fixed sequence*: the finalists are confirmed from the safest to the boldest, in an order that is set before, and the
  first that fails ends it. So the chance of any false claim stays that of a single test (Maurer, Hothorn & Lehmacher
  1995; Wiens 2003, Pharm. Stat. 2, 211-215), however many finalists there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from statistics import NormalDist, fmean, stdev

from lowcarb.core.levers import Able, Lever, Pulled, in_order, pull
from lowcarb.core.trial import Trial
from lowcarb.errors import LowcarbError

Stack = tuple[Pulled, ...]

ONE_SIDED = NormalDist().inv_cdf(0.95)
"""Standard errors between a mean and its one-sided bound at 95 %."""
SEED_DEVIATION = 2.0
"""F1 points from seed to seed, before anything is known of it. `assumed`: of seeds that all learn to read. Where some
fail to, they differ by up to 30 (studies/LOG.md): second and third seeds are there to find such stacks out."""
PRIOR_FREEDOM = 4
"""How many degrees of freedom that assumption is worth. `assumed`."""
NOT_TRAINED = ("hardware", "place")
"""Kinds of lever that leave the training as it is: no search is needed to know what they do to its quality."""
DEAREST = 1.5
"""What a lever may cost in energy, by its claim, to be tried for the quality that others then save on. `assumed`."""
FINALISTS = 3
LEAST_CHANCE = 0.3
"""A stack that is less likely to pass than this is not confirmed: it would cost more than it is expected to bring."""


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


QUICK: Mapping[str, object] = {"precision": "bf16", "dropout": 0.0, "batch": 4, "epochs": 1.0, "warmup": 0.1}
"""What most starts share. The rate rises first, as in the fine-tuning of Devlin et al. (2019): without that, short
trainings at a high rate fail to begin on some seeds (studies/LOG.md)."""

STARTS: tuple[Mapping[str, object], ...] = (
    {**QUICK, "learning_rate": 1e-4},
    {**QUICK, "learning_rate": 2e-4, "frozen_embeddings": True},
    {**QUICK, "learning_rate": 2e-4, "frozen_embeddings": True, "data_share": 0.7},
    {**QUICK, "learning_rate": 3e-4, "frozen_embeddings": True, "data_share": 0.5},
    {**QUICK, "batch": 8, "learning_rate": 2e-4, "frozen_embeddings": True},
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


@dataclass(frozen=True, slots=True)
class Look:
    """One training of a stack, seen on the search's questions."""

    stack: Stack
    seed: int
    log_saving: float
    """ln of the baseline's energy over this training's."""
    changes: tuple[float, ...]
    """F1 points of each question against the reference's mean."""
    groups: tuple[int, ...]
    """Paragraph of each question."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a stack from all looks at it."""

    stack: Stack
    log_saving: float
    change: float
    """Mean change of F1 [points]."""
    question_error: float
    """Standard error of it from the draw of questions [points]."""
    error: float
    """Standard error of it, seeds included [points]."""
    seeds: int
    deviation: float = SEED_DEVIATION
    """Of its F1 from seed to seed [points]."""


def standings(looks: Iterable[Look], *, reference_seeds: int) -> list[Standing]:
    """What is known of each stack, in the order of the first looks.

    The spread over seeds is each stack's own, drawn towards what is pooled over all of them.
    """
    by_stack: dict[Stack, list[Look]] = {}
    for look in looks:
        by_stack.setdefault(look.stack, []).append(look)
    means = {stack: [fmean(look.changes) for look in held] for stack, held in by_stack.items()}
    pooled = seed_deviation(means.values())
    found = []
    for stack, held in by_stack.items():
        by_question = [fmean(values) for values in zip(*(look.changes for look in held), strict=True)]
        question_error = clustered_error(by_question, held[0].groups)
        deviation = seed_deviation([means[stack]], pooled)
        seed_error = deviation * math.sqrt(1.0 / len(held) + 1.0 / max(1, reference_seeds))
        found.append(
            Standing(
                stack, fmean(look.log_saving for look in held), fmean(by_question), question_error,
                math.hypot(question_error, seed_error), len(held), deviation,
            )
        )  # fmt: skip
    return found


def seed_deviation(samples: Iterable[Sequence[float]], before: float = SEED_DEVIATION) -> float:
    """Pooled standard deviation from seed to seed [points], with what is known of it before."""
    spread = [sample for sample in samples if len(sample) > 1]
    freedom = sum(len(sample) - 1 for sample in spread)
    squares = sum(stdev(sample) ** 2 * (len(sample) - 1) for sample in spread)
    return math.sqrt((before**2 * PRIOR_FREEDOM + squares) / (PRIOR_FREEDOM + freedom))


def clustered_error(values: Sequence[float], groups: Sequence[int]) -> float:
    """Standard error of a mean whose values go together by group (Liang & Zeger 1986, without small-sample factor)."""
    mid = fmean(values)
    sums: dict[int, float] = {}
    for value, group in zip(values, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + value - mid
    return math.sqrt(sum(one * one for one in sums.values())) / len(values)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How sharp the confirmation will be."""

    margin: float
    """Loss of F1 that is allowed [points]."""
    seeds: int
    question_ratio: float
    """Questions of the search over questions of the confirmation."""

    def error(self, standing: Standing) -> float:
        """Standard error of a stack's change in the confirmation [points]: questions and seeds."""
        return math.hypot(
            standing.question_error * math.sqrt(self.question_ratio), standing.deviation * math.sqrt(2.0 / self.seeds)
        )

    def noise(self, standing: Standing) -> float:
        """What a stack must be better than the margin by, to pass half of the time [points]."""
        return ONE_SIDED * self.error(standing)

    def chance(self, standing: Standing) -> float:
        """How likely a stack is to pass: its change, less the margin, against the noise of search and confirmation."""
        spare = standing.change + self.margin - self.noise(standing)
        return NormalDist().cdf(spare / math.hypot(standing.error, self.error(standing)))

    def promise(self, standing: Standing) -> float:
        """Saving to expect of a stack: ln of its energy ratio times its chance to pass."""
        return max(0.0, standing.log_saving) * self.chance(standing)


def promoted(known: Sequence[Standing], confirmation: Confirmation, *, seeds: int, keep: int) -> list[Stack]:
    """The most promising stacks among those with so many seeds: who gets one more."""
    waiting = [one for one in known if one.seeds == seeds and confirmation.promise(one) > 0.0]
    ordered = sorted(waiting, key=confirmation.promise, reverse=True)
    return [one.stack for one in ordered[:keep]]


def safe_saving(known: Sequence[Standing], margin: float) -> float | None:
    """The largest ln saving of a stack whose quality is already surely within the margin; None where there is none."""
    safe = [one.log_saving for one in known if one.seeds > 1 and one.change - ONE_SIDED * one.error > -margin]
    return max(safe, default=None)


def finalists(known: Sequence[Standing], confirmation: Confirmation, *, count: int = FINALISTS) -> list[Standing]:
    """The sequence to confirm, safest and least saving first: the one with the largest expected saving.

    Each step is reached only if those before it passed, so a sequence is worth Σ (chance of all until here) × (what
    this one saves more than the one before).
    """
    able = [one for one in known if one.log_saving > 0.0 and confirmation.chance(one) >= LEAST_CHANCE]
    twice = [one for one in able if one.seeds > 1]
    ordered = sorted(twice or able, key=lambda one: one.log_saving)
    decisive = [
        one
        for number, one in enumerate(ordered)
        if all(confirmation.chance(one) > confirmation.chance(bolder) for bolder in ordered[number + 1 :])
    ]
    sequences = [list(chosen) for size in range(1, count + 1) for chosen in combinations(decisive, size)]
    return max(sequences, key=lambda chosen: _expected(chosen, confirmation), default=[])


def _expected(sequence: Sequence[Standing], confirmation: Confirmation) -> float:
    chance, before, worth = 1.0, 0.0, 0.0
    for one in sequence:
        chance *= confirmation.chance(one)
        worth += chance * (one.log_saving - before)
        before = one.log_saving
    return worth


def last_passed(passed: Sequence[bool]) -> int | None:
    """Number of the boldest finalist that may be claimed: the last before the first that fails; None where none may."""
    until_first = next((number for number, one in enumerate(passed) if not one), len(passed))
    return until_first - 1 if until_first else None


def front(known: Iterable[Standing]) -> list[Standing]:
    """The stacks that no other beats in both saving and quality, the least saving first."""
    kept: list[Standing] = []
    best = -math.inf
    for one in sorted(known, key=lambda one: (one.log_saving, one.change), reverse=True):
        if one.change > best:
            kept.append(one)
            best = one.change
    return kept[::-1]


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
