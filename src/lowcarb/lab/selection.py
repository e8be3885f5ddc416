"""Which of the training questions are trained on, and which are held out to look at.

Everything is drawn from the training questions and the seed alone: two arms with one seed and one selection get the
same questions, whatever their model or tokenizer. Only `loss` asks a model, the arm's own, so that it is the same for
arms of one model.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from lowcarb.core.trial import Recipe
from lowcarb.lab.data import Question
from lowcarb.lab.features import Window
from lowcarb.lab.score import normalised

HELD_OUT = 0.1
"""Share of the training questions that early stopping looks at."""
ALIKE = 0.7
"""Share of words, of those that either has, from which two questions with one answer are near-duplicates."""


@dataclass(frozen=True, slots=True)
class Material:
    """Questions with their windows."""

    questions: tuple[Question, ...]
    windows: tuple[Window, ...]

    def part(self, numbers: Iterable[int]) -> Material:
        """Some of the questions, in the order given, with their windows."""
        chosen = list(numbers)
        new = {old: place for place, old in enumerate(chosen)}
        windows = tuple(replace(w, question=new[w.question]) for w in self.windows if w.question in new)
        return Material(tuple(self.questions[n] for n in chosen), windows)

    def with_answer(self) -> Self:
        """Only the windows that hold the answer; all questions stay, so that their order is drawn alike."""
        return replace(self, windows=tuple(w for w in self.windows if w.end > 0))


def held_out(questions: Sequence[Question], seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Numbers of the questions to train on, and of a tenth to look at: whole paragraphs, so that none is in both."""
    groups = list(dict.fromkeys(q.group for q in questions))
    _draw(seed, "held out").shuffle(groups)
    wanted, looked_at, count = max(1, round(HELD_OUT * len(questions))), set(), 0
    for group in groups[:-1]:
        if count >= wanted:
            break
        looked_at.add(group)
        count += sum(q.group == group for q in questions)
    numbers = range(len(questions))
    return (
        tuple(n for n in numbers if questions[n].group not in looked_at),
        tuple(n for n in numbers if questions[n].group in looked_at),
    )


def selected(
    questions: Sequence[Question], recipe: Recipe, seed: int, losses: Sequence[float] | None = None
) -> tuple[int, ...]:
    """Numbers of the questions that a recipe trains on, in their order.

    Args:
        questions: all that may be trained on.
        recipe: its `data_share` and `selection`.
        seed: of the trial.
        losses: of each question under a model that has seen a few; needed for `loss`.
    """
    count = max(1, round(recipe.data_share * len(questions)))
    numbers = list(range(len(questions)))
    _draw(seed, "selection").shuffle(numbers)
    if recipe.selection == "diverse":
        numbers = _spread(numbers, questions)
    elif recipe.selection == "deduplicated":
        numbers = _without_duplicates(numbers, questions)
    elif recipe.selection == "loss":
        if losses is None:
            raise ValueError("selection by loss needs the losses")
        numbers.sort(key=lambda n: -losses[n])
    return tuple(sorted(numbers[:count]))


def _draw(seed: int, what: str) -> random.Random:
    return random.Random(f"{seed}/{what}")  # noqa: S311  # a draw, not a secret


def _spread(numbers: list[int], questions: Sequence[Question]) -> list[int]:
    """One question of each paragraph, then a second of each, and so on."""
    turn: dict[int, int] = {}
    turns = []
    for number in numbers:
        group = questions[number].group
        turn[group] = turn.get(group, 0) + 1
        turns.append((turn[group], number))
    return [number for _, number in sorted(turns, key=lambda pair: pair[0])]


def _without_duplicates(numbers: list[int], questions: Sequence[Question]) -> list[int]:
    """The first of each set of questions with one answer and nearly the same words."""
    seen: dict[str, list[frozenset[str]]] = {}
    kept = []
    for number in numbers:
        question = questions[number]
        words = frozenset(normalised(question.text).split())
        others = seen.setdefault(normalised(question.answers[0]), [])
        if all(len(words & other) < ALIKE * len(words | other) for other in others):
            others.append(words)
            kept.append(number)
    return kept
