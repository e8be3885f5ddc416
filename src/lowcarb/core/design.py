"""`Study` → trials: paired seeds, randomised order; and the arms that its levers make."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowcarb.core.levers import Able, Pulled, clash, in_order, parse_pulled, pull
from lowcarb.core.trial import Arm, DataChoice, Study, Trial
from lowcarb.errors import SettingError


def design(study: Study, *, data_digest: str, machine: str) -> tuple[Trial, ...]:
    """The trials of a study in the order to run them.

    One block a seed, each with every arm in an order of its own, drawn from the study's id: whatever drifts over the
    hours (heat, neighbours on a shared host) meets all arms alike, and a study that is cut short leaves whole pairs.
    """
    trials = []
    for seed in study.seeds:
        arms = list(study.arms)
        random.Random(f"{study.id}/{seed}").shuffle(arms)  # noqa: S311  # an order, not a secret
        trials += [
            Trial(study.id, arm, study.data, data_digest, seed, machine, study.threads, arm.levers) for arm in arms
        ]
    return tuple(trials)


@dataclass(frozen=True, slots=True)
class AxisProblem:
    """A lever that cannot be tried."""

    section: str
    """`levers` or `stack`."""
    index: int | None
    """In the section; None where it is about all of it."""
    message: str


@dataclass(frozen=True, slots=True)
class LeverAxis:
    """The arms that the levers of a study make, or what is wrong with them."""

    levers: tuple[str, ...]
    stack: tuple[str, ...]
    arms: tuple[Arm, ...]
    problems: tuple[AxisProblem, ...]


def lever_axis(baseline: Arm, levers: Sequence[str], stack: Sequence[str], able: Able) -> LeverAxis:
    """Each lever alone on the baseline; the stack; each lever on top of it.

    What a lever of the stack does on top of the others shows against the stack without it, which is an arm too. A lever
    that conflicts with the stack is tried alone only.

    Args:
        baseline: the arm that levers are pulled on.
        levers: to be tried one by one, as `parse_pulled` reads them.
        stack: to be pulled together.
        able: what the device can do.
    """
    problems: list[AxisProblem] = []
    singles, whole = _read("levers", levers, problems), _read("stack", stack, problems)
    trial = Trial("", baseline, DataChoice("", "", ""), "", 0, "")
    made: dict[tuple[str, ...], Arm] = {}

    def arm_of(pulled: Sequence[Pulled], section: str, index: int | None) -> Arm | None:
        try:
            return pull(trial, pulled, able).arm
        except SettingError as error:
            problems.append(AxisProblem(section, index, str(error)))
            return None

    for index, one in singles.items():
        arm = arm_of((one,), "levers", index)
        if arm is not None and arm.levers in made:
            problems.append(AxisProblem("levers", index, f"{one} is there twice"))
        elif arm is not None:
            made[arm.levers] = arm
    for index, one in whole.items():
        arm_of((one,), "stack", index)
    conflict = clash(whole.values())
    if conflict is not None:
        problems.append(AxisProblem("stack", None, f"{conflict}: they cannot be pulled together"))
    together = in_order(whole.values())
    for pulled in () if problems else _with_the_stack(tuple(singles.values()), together):
        arm = arm_of(pulled, "stack", None)
        if arm is not None:
            made.setdefault(arm.levers, arm)
    written = tuple(map(str, singles.values())), tuple(map(str, together))
    return LeverAxis(*written, tuple(made.values()), tuple(problems))


def _read(section: str, texts: Sequence[str], problems: list[AxisProblem]) -> dict[int, Pulled]:
    found = {}
    for index, text in enumerate(texts):
        try:
            found[index] = parse_pulled(text)
        except SettingError as error:
            problems.append(AxisProblem(section, index, str(error)))
    return found


def _with_the_stack(singles: tuple[Pulled, ...], stack: tuple[Pulled, ...]) -> list[tuple[Pulled, ...]]:
    """The stack, it without each of its levers that is tried, and each other lever on top of it."""
    if not stack:
        return []
    rests = [tuple(other for other in stack if other != one) for one in singles if one in stack]
    tops = [(*stack, one) for one in singles if clash((*stack, one)) is None]
    return [stack, *(rest for rest in rests if rest), *tops]


def apart(study: Study) -> Mapping[str, str]:
    """The levers that cannot be pulled on top of the stack, each with why."""
    stack = [parse_pulled(text) for text in study.stack]
    found = {}
    for text in study.levers:
        conflict = None if text in study.stack or not stack else clash([*stack, parse_pulled(text)])
        if conflict is not None:
            found[text] = conflict
    return found


def lever_pairs(study: Study) -> tuple[tuple[Arm, Arm], ...]:
    """The (arm, reference) whose difference is a lever: alone against the baseline, on top against the stack.

    The whole stack is held against the baseline; for what a lever of the stack does on top of the others, it is held
    against the stack without that lever.
    """
    by_levers = {arm.levers: arm for arm in study.arms if arm.levers}
    baseline, whole = study.arm(study.baseline), by_levers.get(study.stack)
    found = []
    for levers, arm in by_levers.items():
        if len(levers) == 1 or arm is whole:
            found.append((arm, baseline))
        if whole is not None and len(levers) == len(study.stack) + 1 and set(levers) > set(study.stack):
            found.append((arm, whole))
        if arm is whole:
            rests = (by_levers.get(tuple(o for o in levers if o != one)) for one in levers if one in study.levers)
            found += [(arm, rest) for rest in rests if rest is not None]
    return tuple(found)
