"""The questions of a search, in sets that share no paragraph: to train on, to decide on, to be judged on.

The search trains on the first set and decides on the second; the third is opened once, to confirm. A runner scores two
sets a trial, so each of the two test sets is dealt in two halves, by paragraph: no question is answered twice.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowcarb.core.trial import DataChoice, Scores, Split
from lowcarb.errors import DataError, StudyError
from lowcarb.lab.data import Corpus, Question, limited, load_questions, split_facts

LEAST_QUESTIONS = 20
"""Questions of a test set below which no interval is worth having. `assumed`."""


@dataclass(frozen=True, slots=True)
class Part:
    """A test set with the training set, as trials name them."""

    data: DataChoice
    digest: str
    questions: int


@dataclass(frozen=True, slots=True)
class Holdout:
    """What a search decides on, and what it is judged on."""

    search: Part
    judge: Part
    train_questions: int
    digest: str


def hold_out(
    data: DataChoice, judge: str | None, *, folder: Path, root: Path | None = None, split: Split | None = None
) -> Holdout:
    """The sets of a search, checked to share no paragraph, the dealt halves written below `folder`.

    Args:
        data: names the training and test questions; its limit on test questions is not used.
        judge: the questions to be judged on, with the validation ones to decide on.
        folder: where files are put, under names that follow from their content.
        root: where relative names start.
        split: without a judge, the test set of the data to be judged on; the other one is decided on. Where it is
            None, or both hold a paragraph, half of the validation paragraphs are kept back to judge.

    Raises:
        DataError: a file cannot be used, or holds too few questions.
        StudyError: sets share paragraphs.
    """
    train = limited(load_questions(data.train, root=root), data.train_questions)
    validation, judged = data.validation, judge
    if judge is None and split is not None and _are_apart(data.validation, data.adversarial, root):
        validation, judged = data.validation, data.adversarial
        if split == "validation":
            validation, judged = judged, validation
    search_set = load_questions(validation, root=root)
    if judged is None:
        search_set, judge_set = _dealt(search_set)
    else:
        judge_set = load_questions(judged, root=root)
    names = {"train": data.train, "validation": validation, "judge": judged or f"{validation} (kept back)"}
    _check_apart({"train": train, "validation": search_set, "judge": judge_set}, names)
    for name, questions in (("validation", search_set), ("judge", judge_set)):
        if len(questions) < LEAST_QUESTIONS:
            raise DataError(
                names[name], [f"{len(questions)} questions are too few to decide on: at least {LEAST_QUESTIONS}"]
            )
    whole = hashlib.sha256("".join(_digest(one) for one in (train, search_set, judge_set)).encode()).hexdigest()[:12]
    train_name = _absolute(data.train, root)
    parts = []
    for name, questions in (("search", search_set), ("judge", judge_set)):
        halves = _dealt(questions)
        if not all(halves):
            raise DataError(names[name], ["one paragraph is too few to decide on: at least 2"])
        paths = [_written(half, folder / f"{name}-{_digest(half)}.json") for half in halves]
        choice = DataChoice(train_name, paths[0], paths[1], train_questions=data.train_questions)
        parts.append(Part(choice, Corpus(train, *halves).digest, len(questions)))
    return Holdout(parts[0], parts[1], len(train), whole)


def _are_apart(first: str, second: str, root: Path | None) -> bool:
    a, b = (split_facts(load_questions(name, root=root)).paragraphs for name in (first, second))
    return not a & b


def _absolute(name: str, root: Path | None) -> str:
    return name if ":" in name else str(((root or Path()) / name).resolve())


def _dealt(questions: Sequence[Question]) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Two halves by paragraph, drawn without regard to order but always the same."""
    paragraphs = sorted({q.paragraph for q in questions})
    random.Random(len(paragraphs)).shuffle(paragraphs)  # noqa: S311  # a deal, not a secret
    first = set(paragraphs[::2])
    return (
        tuple(q for q in questions if q.paragraph in first),
        tuple(q for q in questions if q.paragraph not in first),
    )


def _check_apart(sets: dict[str, Sequence[Question]], names: dict[str, str]) -> None:
    facts = {name: split_facts(questions) for name, questions in sets.items()}
    problems = []
    for first, second in (("train", "judge"), ("train", "validation"), ("validation", "judge")):
        shared = len(facts[first].paragraphs & facts[second].paragraphs)
        if shared:
            problems.append(
                f"{second} ({names[second]}): {shared} of its {len(facts[second].paragraphs)} paragraphs are also in "
                f"{first} ({names[first]}) [leakage]; split by paragraph, better by article"
            )
    if problems:
        raise StudyError("data of the search", problems)


def _digest(questions: Sequence[Question]) -> str:
    content = [[q.id, q.text, q.paragraph, q.answers, q.starts] for q in questions]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _written(questions: Sequence[Question], path: Path) -> str:
    """A SQuAD-format file of these questions; its path."""
    if not path.exists():
        paragraphs: dict[str, list[Question]] = {}
        for question in questions:
            paragraphs.setdefault(question.paragraph, []).append(question)
        document = {
            "data": [
                {
                    "title": "",
                    "paragraphs": [
                        {"context": paragraph, "qas": [_row(question) for question in held]}
                        for paragraph, held in paragraphs.items()
                    ],
                }
            ]
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(document), encoding="utf-8")
        partial.replace(path)
    return str(path)


def _row(question: Question) -> dict[str, object]:
    answers = [
        {"text": text, "answer_start": start} for text, start in zip(question.answers, question.starts, strict=True)
    ]
    return {"id": question.id, "question": question.text, "answers": answers}


def together(first: Scores, second: Scores) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """F1 [points] and paragraph of every question of the two halves; no paragraph is in both."""
    offset = max(first.groups, default=-1) + 1
    return (
        first.per_question_f1 + second.per_question_f1,
        first.groups + tuple(group + offset for group in second.groups),
    )
