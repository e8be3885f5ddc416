"""Scores against SQuAD's own rules and by hand."""

from __future__ import annotations

import pytest

from lowcarb.lab.data import Question
from lowcarb.lab.score import bag_cosine, exact_match, f1, score


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("The Spree.", "spree", 1.0),
        ("in 1973", "1973", 2 / 3),
        ("red blue", "blue green", 0.5),
        ("", "spree", 0.0),
        ("the", "a", 0.0),
        ("no", "yes", 0.0),
    ],
)
def test_f1_is_the_harmonic_mean_over_normalised_words(answer, gold, expected):
    assert expected == pytest.approx(f1(answer, gold))


@pytest.mark.parametrize(
    ("answer", "gold", "expected"), [("The  U.S.", "us", 1.0), ("us now", "us", 0.0), ("", "", 0.0)]
)
def test_exact_match_ignores_case_articles_and_punctuation(answer, gold, expected):
    assert expected == exact_match(answer, gold)


def test_cosine_counts_words():
    assert pytest.approx(0.5) == bag_cosine("a b", "b c")
    assert 0.0 == bag_cosine("", "b")


def ask(*golds, group=0):
    return Question("1", "?", "p", golds, tuple(0 for _ in golds), group)


def test_an_answer_counts_against_the_gold_it_matches_best():
    found = score([ask("one", "two")], ["two"], lambda a, b: [0.1 if y == "one" else 0.9 for y in b])

    assert (100.0, 100.0, 0.9) == (found.em, found.f1, found.sts)


def test_an_empty_answer_scores_zero_also_where_the_sentence_model_would_like_it():
    found = score([ask("one"), ask("one", group=1)], ["", "one"], lambda a, b: [1.0] * len(a))

    assert (50.0, 50.0, 0.5, 0.5) == (found.em, found.f1, found.cosine, found.sts)
    assert ((0.0, 100.0), (0, 1)) == (found.per_question_f1, found.groups)
