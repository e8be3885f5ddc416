"""The answer in sentences: never more than the verdict."""

from __future__ import annotations

import pytest

from lowcarb.report.setting import coverage
from lowcarb.report.summary import contrast_arm, exchange, lead, measured_words, sentence, sentences


def test_choice_that_is_not_inferior_is_named_first(make):
    found = [
        make.comparison(
            "distilbert/native", verdict="not inferior", ratio=0.5, quality_change=make.change(-0.9, 0.1, 1)
        ),
        make.comparison("tiny/native", verdict="worse", ratio=0.1),
    ]

    assert lead(make.document(comparisons=found)) == (
        "distilbert/native can take the place of bert/native: it trains for 50 % less carbon (49–51 %) and loses less "
        "than 1 point of F1."
    )


def test_choice_that_is_better_is_named_beside_the_one_with_the_least_carbon(make):
    found = [
        make.comparison("a/b", verdict="better", ratio=0.8, quality_change=make.change(0.4, 1.2, 2.1)),
        make.comparison("c/d", verdict="not inferior", ratio=0.4),
        make.comparison("e/f", verdict="not inferior", ratio=0.6),
    ]

    text = lead(make.document(comparisons=found))

    assert text.index("c/d can take") < text.index("a/b can take")
    assert "e/f" not in text


@pytest.mark.parametrize("verdict", ["worse", "undecided"])
def test_no_choice_is_named_without_a_verdict_for_it(make, verdict):
    text = lead(make.document(comparisons=[make.comparison(verdict=verdict)]))

    assert text == (
        "No other choice is shown to keep the quality of bert/native, to within 1 point of F1, for less carbon."
    )


def test_saving_between_two_other_arms_is_not_one_against_the_baseline(make):
    text = lead(make.document(comparisons=[make.comparison("a/b", "a/native", verdict="better", factor="tokenizer")]))

    assert text.startswith("No other choice is shown to keep the quality of bert/native")
    assert "a/b can take the place of a/native" in text


def test_nothing_is_said_before_anything_is_done(make):
    assert lead(make.document([make.pending()], [])) == "No trial is done yet, so there is nothing to compare."
    assert lead(make.document([make.trial()], [])).startswith("Nothing can be compared yet")


def test_sentence_of_a_clear_difference(document):
    assert sentence(document, document["comparisons"][0]).plain == (
        "Against bert/native, distilbert/native trains for 50 % less carbon (49–51 %) and loses 7.0 points of F1 "
        "(5.0–9.0): worse."
    )


def test_sentence_of_a_device_is_a_projection_and_says_nothing_of_quality(document):
    assert sentence(document, document["comparisons"][1]).plain == (
        "Projected onto NVIDIA A100 instead of NVIDIA T4, the same training takes 2.30 times the carbon (2.25–2.35): "
        "worse."
    )


def test_interval_around_none_is_no_change(make):
    one = make.comparison(
        carbon_ratio=make.change(0.95, 1.02, 1.1), quality_change=make.change(-3.0, -0.6, 2.0), verdict="undecided",
        reason="too wide",
    )  # fmt: skip

    assert sentence(make.document(comparisons=[one]), one).plain == (
        "Against bert/native, distilbert/native shows no sure change of carbon (5 % less to 10 % more) and shows no "
        "sure change of F1 (−3.0 to +2.0): undecided (too wide)."
    )


def test_intervals_of_a_single_pair_are_not_printed_as_if_they_were_some(make):
    one = make.comparison(
        carbon_ratio=make.change(1e-5, 0.5, 2e4), quality_change=make.change(-9.5, 0.5, 10.5), pairs=1,
        verdict="undecided", reason="one seed",
    )  # fmt: skip

    assert sentence(make.document(comparisons=[one]), one).plain == (
        "Against bert/native, distilbert/native shows no sure change of carbon or F1 (intervals too wide to be of use)"
        ": undecided (one seed)."
    )


def test_figures_that_are_not_known_are_said_to_be(make):
    one = make.comparison(quality_change=make.change(float("-inf"), 0.0, 1.0))

    assert sentence(make.document(), one).predicate.endswith("and has a change of F1 that is not known")


def test_quality_of_a_start_from_scratch_is_not_compared(make):
    document = make.document(from_scratch=("distilbert/native",))

    assert "is not compared in F1, since distilbert starts from scratch" in sentences(document)[0].text
    both = make.document(from_scratch=("distilbert/native", "bert/native"))
    assert "loses 7.0 points of F1" in sentences(both)[0].text


def test_gain_is_called_a_gain(make):
    one = make.comparison(quality_change=make.change(0.5, 1.0, 1.5), verdict="better")

    assert "gains 1.0 points of F1 (0.5–1.5)" in sentence(make.document(), one).text


def test_exchange_names_what_the_faster_device_gives_and_asks(document):
    found = exchange(document, document["comparisons"][1])

    assert found.arm == "bert/native"
    assert [words.partition(":")[0] for words in found.gives] == ["time", "money"]
    assert [words.partition(":")[0] for words in found.asks] == ["energy", "carbon"]


def test_exchange_needs_projections(make, document):
    unprojected = make.document([make.trial(devices=False)], [])

    assert exchange(unprojected, document["comparisons"][1]) is None
    assert contrast_arm(unprojected) is None


def test_measured_share_in_words():
    assert measured_words(None) == "nothing was metered yet"
    assert measured_words(0.0).startswith("0 % measured, 100 % modelled")
    assert measured_words(0.999) == "over 99 % measured off energy counters, under 1 % modelled"
    assert measured_words(1.0).startswith("100 % measured")


def test_how_the_energy_was_got_begins_with_how_most_of_it_was():
    def phase(method, mid):
        figures = {"energy_j": {"mid": mid}, "operational_g": {"basis": "assumed"}}
        return {"footprint": {**figures, "method": method, "scope": "cpu"}}

    facts = coverage({"trials": [{"phases": [phase("a guess", 1.0), phase("metered", 999.0)]}]})

    assert next(fact.value for fact in facts if fact.name == "Got by") == "metered; under 1 % of it: a guess"
