"""Questions: read from SQuAD-format files, from the embedded set, or from the hub; checked before anything trains.

A set of questions is named by a string:

- `embedded:jouleqa/train`, `…/validation`, `…/adversarial`: the set that ships with lowcarb;
- a path to a JSON file in the format of SQuAD 1.1;
- `hub:ID/SPLIT` or `hub:ID/CONFIG/SPLIT`: a data set of the Hugging Face hub with SQuAD's columns, such as
  `hub:rajpurkar/squad/train` (needs the package `datasets` and the network).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from lowcarb.core.check import SplitFacts
from lowcarb.core.trial import DataChoice
from lowcarb.errors import DataError, MissingExtra

EMBEDDED = "embedded:"
HUB = "hub:"


@dataclass(frozen=True, slots=True)
class Question:
    """A question on a paragraph, with the spans that answer it."""

    id: str
    text: str
    paragraph: str
    answers: tuple[str, ...]
    starts: tuple[int, ...]
    """Character at which each answer starts."""
    group: int
    """Number of the paragraph in its file."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The three sets of a study."""

    train: tuple[Question, ...]
    validation: tuple[Question, ...]
    adversarial: tuple[Question, ...]

    @property
    def splits(self) -> Mapping[str, tuple[Question, ...]]:
        """The sets by name."""
        return {"train": self.train, "validation": self.validation, "adversarial": self.adversarial}

    @property
    def digest(self) -> str:
        """Hash of every question, answer and paragraph, in order."""
        whole = hashlib.sha256()
        for questions in self.splits.values():
            for q in questions:
                whole.update(json.dumps([q.text, q.paragraph, q.answers, q.starts]).encode())
            whole.update(b"|")
        return whole.hexdigest()[:24]

    def text(self) -> list[str]:
        """The training text, for tokenizers: each paragraph once, and every question."""
        return [*dict.fromkeys(q.paragraph for q in self.train), *(q.text for q in self.train)]


def load_corpus(choice: DataChoice, *, root: Path | None = None) -> Corpus:
    """The three sets that a study names, cut to its limits.

    The training questions of a limit are drawn at random but always the same, whole paragraphs first come first:
    see `limited`.

    Raises:
        DataError: a file is missing, empty or not in SQuAD format, or a span does not match its paragraph; all
            problems of a file at once.
        MissingExtra: a hub id without the package `datasets`.
    """
    train = limited(load_questions(choice.train, root=root), choice.train_questions)
    tests = (limited(load_questions(name, root=root), choice.test_questions) for name in _tests(choice))
    return Corpus(train, *tests)


def _tests(choice: DataChoice) -> tuple[str, str]:
    return choice.validation, choice.adversarial


def limited(questions: Sequence[Question], limit: int | None) -> tuple[Question, ...]:
    """At most so many questions, drawn without regard to their order, kept in it."""
    if limit is None or limit >= len(questions):
        return tuple(questions)
    chosen = sorted(random.Random(0).sample(range(len(questions)), limit))  # noqa: S311  # a draw, not a secret
    return tuple(questions[index] for index in chosen)


def load_questions(name: str, *, root: Path | None = None) -> tuple[Question, ...]:
    """The questions of one set; relative paths start at `root`, by default the working directory."""
    if name.startswith(EMBEDDED):
        return _embedded(name)
    if name.startswith(HUB):
        return _from_hub(name)
    path = (root or Path()) / name
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(str(path), [f"cannot be read: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise DataError(str(path), [f"is not UTF-8 text (byte {error.start})"]) from error
    return parse_squad(text, where=str(path))


def _embedded(name: str) -> tuple[Question, ...]:
    file = files("lowcarb.lab") / "data" / f"{name.removeprefix(EMBEDDED)}.json"
    if not file.is_file():
        known = ", ".join(f"embedded:jouleqa/{split}" for split in ("train", "validation", "adversarial"))
        raise DataError(name, [f"there is no such embedded set; there are {known}"])
    return parse_squad(file.read_text(encoding="utf-8"), where=name)


def _from_hub(name: str) -> tuple[Question, ...]:
    try:
        from datasets import load_dataset  # noqa: PLC0415  # heavy, and only for hub ids
    except ImportError as error:
        raise MissingExtra(f"the hub data set {name}", "hub") from error
    *path, split = name.removeprefix(HUB).split("/")
    # An owner and a name make an id; a third part names a configuration.
    dataset_id, config = "/".join(path[:2]), (path[2] if len(path) > 2 else None)
    rows = load_dataset(dataset_id, config, split=split)
    paragraphs: dict[str, int] = {}
    return tuple(
        Question(
            id=str(row["id"]),
            text=row["question"],
            paragraph=row["context"],
            answers=tuple(row["answers"]["text"]),
            starts=tuple(row["answers"]["answer_start"]),
            group=paragraphs.setdefault(row["context"], len(paragraphs)),
        )
        for row in rows
    )


def parse_squad(text: str, *, where: str) -> tuple[Question, ...]:
    """The questions of a document in the format of SQuAD 1.1.

    Raises:
        DataError: all that is wrong with it, each with its place.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(where, [f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"]) from error
    articles = document.get("data") if isinstance(document, dict) else None
    if not isinstance(articles, list):
        raise DataError(where, ['is not in SQuAD format: it has no list "data"'])
    problems: list[str] = []
    questions: list[Question] = []
    group = 0
    for a, article in enumerate(articles):
        for p, paragraph in enumerate(_list(article, "paragraphs")):
            place = f"data[{a}].paragraphs[{p}]"
            context = paragraph.get("context") if isinstance(paragraph, dict) else None
            if not isinstance(context, str) or not context.strip():
                problems.append(f"{place}: no context")
                continue
            for q, row in enumerate(_list(paragraph, "qas")):
                question = _question(row, context, group, f"{place}.qas[{q}]", problems)
                if question is not None:
                    questions.append(question)
            group += 1
    if not questions and not problems:
        problems.append("holds no questions")
    if problems:
        raise DataError(where, problems)
    return tuple(questions)


def _list(holder: object, name: str) -> list[dict[str, object]]:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, list) else []


def _question(row: object, context: str, group: int, place: str, problems: list[str]) -> Question | None:
    if not isinstance(row, dict) or not isinstance(row.get("question"), str) or not row["question"].strip():
        problems.append(f"{place}: no question")
        return None
    answers = _list(row, "answers")
    if not answers:
        problems.append(f"{place}: no answer")
        return None
    texts, starts = [], []
    for answer in answers:
        text, start = answer.get("text"), answer.get("answer_start")
        if not isinstance(text, str) or not isinstance(start, int) or not text:
            problems.append(f"{place}: an answer needs text and answer_start")
            return None
        if context[start : start + len(text)] != text:
            problems.append(f"{place}: answer {text!r} is not at character {start} of its paragraph")
            return None
        texts.append(text)
        starts.append(start)
    return Question(str(row.get("id", place)), row["question"], context, tuple(texts), tuple(starts), group)


def split_facts(questions: Iterable[Question]) -> SplitFacts:
    """Hashes of paragraphs and questions, white space and case aside, for the linter."""

    def digest(*parts: str) -> str:
        return hashlib.sha256("\n".join(" ".join(part.lower().split()) for part in parts).encode()).hexdigest()[:16]

    rows = tuple(questions)
    return SplitFacts(
        paragraphs=frozenset(digest(q.paragraph) for q in rows),
        questions=frozenset(digest(q.text, q.paragraph) for q in rows),
    )
