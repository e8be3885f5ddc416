"""The document of a search: what it found, what that rests on, what it cost, and how to take it away."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from lowcarb.core.estimate import Estimate
from lowcarb.core.levers import Pulled, pull
from lowcarb.core.search import Stack, break_even
from lowcarb.core.standing import Standing, front
from lowcarb.core.trial import Arm, DataChoice
from lowcarb.lab.paste import code, recipe_changes, study_file, training_arguments
from lowcarb.lab.task import CONFIRMED_FROM, Confirmed, Found, Task
from lowcarb.lab.trying import Cost, Workshop

NOTHING = "nothing found"


def outcome(task: Task, workshop: Workshop, found: Found, data: DataChoice) -> dict[str, Any]:
    """The JSON form of a search.

    Args:
        task: what was searched for.
        workshop: what it cost.
        found: what came out.
        data: the questions as the user named them.
    """
    won = found.confirmed[found.best] if found.best is not None else None
    stack: Stack = won.standing.stack if won else ()
    arm = pull(task.trial(task.holdout.judge, 0), stack, task.able).arm
    baseline = _side(task.baseline, found.baseline_j, found.baseline_f1, ()) | {
        "quality_by": "its twin: " + " + ".join(map(str, found.twin)) if found.twin else "its own trainings",
        "energy_by": "its first steps, with each seed" if found.twin else "its own trainings",
    }
    joules = workshop.joules
    spent_j = sum(workshop.value(workshop.spent.get(bill, Cost())) for bill in ("search", "contribution")) * joules
    confirming_j = workshop.value(workshop.spent.get("confirmation", Cost())) * joules
    best_j = won.energy_j if won else found.baseline_j
    return {
        "id": task.id,
        "margin": task.margin,
        "verdict": won.effect.verdict if won else NOTHING,
        "reason": won.effect.reason if won else found.reason,
        "baseline": baseline,
        "best": _side(arm, best_j, won.f1, stack) if won else baseline,
        "ratio": (_ratio(won) if won else Estimate.exact(1.0)).as_dict(),
        "quality_change": (won.effect.quality_change if won else Estimate.exact(0.0)).as_dict(),
        "search_energy_j": spent_j,
        "search_trainings": spent_j / found.baseline_j.mid,
        "confirmation_energy_j": confirming_j,
        "break_even_trainings": break_even(spent_j, found.baseline_j.mid, best_j.mid),
        "break_even_with_confirmation": break_even(spent_j + confirming_j, found.baseline_j.mid, best_j.mid),
        "recipe": _recipe(task, arm, data, found=won is not None),
        "contributions": [_contribution(task, one, ratio) for one, ratio in found.contributions.items()],
        "drawbacks": list(dict.fromkeys(text for one in stack for text in _lever(task, one).drawbacks)),
        "pareto": [_standing(one) for one in front(found.standings)],
        "tried": [_standing(one) for one in found.standings],
        "finalists": [_finalist(one) for one in found.confirmed],
        "confirmed_seeds": found.seeds,
        "compared_by": {"cpu": "process CPU seconds x one power model", "energy": "energy"}[workshop.currency],
        "questions": {
            "train": task.holdout.train_questions,
            "search": task.holdout.search.questions,
            "judge": task.holdout.judge.questions,
        },
        "trainings": workshop.tries,
        "ended": str(found.ended) if found.ended else None,
    }


def _side(arm: Arm, energy_j: Estimate, f1: float | None, stack: Stack) -> dict[str, Any]:
    return {
        "levers": [str(one) for one in stack],
        "model": asdict(arm.model),
        "recipe": recipe_changes(arm.recipe),
        "energy_j": energy_j.as_dict(),
        "f1": f1,
    }


def _ratio(one: Confirmed) -> Estimate:
    """The baseline's energy over the best's: the effect's ratio turned round."""
    ratio = one.effect.carbon_ratio
    return Estimate(1.0 / ratio.high, 1.0 / ratio.mid, 1.0 / ratio.low, ratio.basis)


def _recipe(task: Task, arm: Arm, data: DataChoice, *, found: bool) -> dict[str, Any]:
    arms = {"baseline": task.baseline} | ({"best": arm} if found else {})
    seeds = tuple(range(task.confirm_seeds))
    return {
        "study": study_file(task.id, arms, data, seeds=seeds, margin=task.margin, threads=task.threads),
        "training_arguments": training_arguments(arm.recipe),
        "code": code(arm),
    }


def _contribution(task: Task, one: Pulled, ratio: Estimate) -> dict[str, Any]:
    lever = _lever(task, one)
    return {
        "lever": str(one),
        "title": lever.title,
        "energy_ratio_without": ratio.as_dict(),
        "benefits": list(lever.benefits),
        "drawbacks": list(lever.drawbacks),
    }


def _lever(task: Task, one: Pulled) -> Any:
    return next(lever for lever in task.levers if lever.id == one.lever)


def _standing(one: Standing) -> dict[str, Any]:
    return {
        "levers": [str(lever) for lever in one.stack],
        "energy_ratio": math.exp(one.log_saving),
        "quality_change": one.change,
        "quality_error": one.error,
        "seeds": one.seeds,
        "failing": one.failing,
    }


def _finalist(one: Confirmed) -> dict[str, Any]:
    return _standing(one.standing) | {
        "confirmed_ratio": _ratio(one).as_dict(),
        "confirmed_quality_change": one.effect.quality_change.as_dict(),
        "first_seed": CONFIRMED_FROM,
        "verdict": one.effect.verdict,
        "reason": one.effect.reason,
    }
