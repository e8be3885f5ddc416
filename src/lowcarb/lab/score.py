"""Quality of answers: exact match, F1, bag-of-words cosine, and semantic textual similarity.

EM and F1 follow SQuAD's evaluation: lower case, no punctuation, no articles, the best of the gold answers, times 100
(Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1). Cosine and STS are the two similarities that Liu & Yin (2024)
judge by. An empty answer scores zero everywhere, also where a sentence model would find it similar to something.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

from lowcarb.core.trial import Scores
from lowcarb.core.units import PERCENT
from lowcarb.lab.data import Question

Similarity = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""Cosine of the sentence embeddings of each pair of texts, -1 to 1."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """An answer as SQuAD compares it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, gold: str) -> float:
    """1 where both are the same once normalised, else 0."""
    return float(bool(answer.strip()) and normalised(answer) == normalised(gold))


def f1(answer: str, gold: str) -> float:
    """Harmonic mean of precision and recall of the words, 0 to 1."""
    given, wanted = normalised(answer).split(), normalised(gold).split()
    if not given or not wanted:
        # SQuAD's rule for two texts without words: they match only if both are empty, and an empty answer scores 0.
        return 0.0
    shared = sum((Counter(given) & Counter(wanted)).values())
    return 2.0 * shared / (len(given) + len(wanted))


def bag_cosine(answer: str, gold: str) -> float:
    """Cosine of the counts of lower-case words, 0 to 1."""
    a, b = Counter(answer.lower().split()), Counter(gold.lower().split())
    if not a or not b:
        return 0.0
    dot = sum(count * b[word] for word, count in a.items())
    return dot / math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))


def score(questions: Sequence[Question], answers: Sequence[str], similarity: Similarity) -> Scores:
    """Scores of one answer a question, each against the gold answer it matches best."""
    best_f1 = [max(f1(a, gold) for gold in q.answers) for q, a in zip(questions, answers, strict=True)]
    best_em = [max(exact_match(a, gold) for gold in q.answers) for q, a in zip(questions, answers, strict=True)]
    cosines = [max(bag_cosine(a, gold) for gold in q.answers) for q, a in zip(questions, answers, strict=True)]
    return Scores(
        em=PERCENT * fmean(best_em),
        f1=PERCENT * fmean(best_f1),
        cosine=fmean(cosines),
        sts=fmean(_sts(questions, answers, similarity)),
        questions=len(questions),
        per_question_f1=tuple(PERCENT * value for value in best_f1),
        groups=tuple(q.group for q in questions),
    )


def _sts(questions: Sequence[Question], answers: Sequence[str], similarity: Similarity) -> list[float]:
    pairs = [
        (index, answer, gold)
        for index, (q, answer) in enumerate(zip(questions, answers, strict=True))
        if answer.strip()
        for gold in q.answers
    ]
    best: dict[int, float] = {}
    cosines = similarity([p[1] for p in pairs], [p[2] for p in pairs]) if pairs else []
    for (index, _, _), cosine in zip(pairs, cosines, strict=True):
        best[index] = max(cosine, best.get(index, -1.0))
    return [best.get(index, 0.0) for index in range(len(questions))]
