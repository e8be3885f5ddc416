"""Forecast against outcome: inside, above or below, and nothing of what is unfinished or no forecast."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.estimate import Estimate
from lowcarb.report.foretold import ABOVE, BELOW, INSIDE, UNFINISHED, section_of, told_of, told_words


def document(low, mid, high):
    one = Estimate(low, mid, high, "modelled").as_dict()
    return {"energy_j": one, "operational_g": one, "duration_s": one}


FORECAST = document(5.0, 8.0, 12.0)


@pytest.mark.parametrize(
    ("found", "status", "lies", "error"),
    [
        (8.0, "done", INSIDE, "+0 %"),
        (5.0, "done", INSIDE, "+60 %"),
        (16.0, "done", ABOVE, "−50 %"),
        (4.0, "done", BELOW, "+100 %"),
        (0.0, "done", BELOW, "—"),
        (4.0, "interrupted", UNFINISHED, "—"),
        (8.0, "over_budget", UNFINISHED, "—"),
        # What took more already would not have taken less in the end.
        (16.0, "interrupted", ABOVE, "—"),
    ],
)
def test_where_an_outcome_lies(found, status, lies, error):
    rows = told_of("a", FORECAST, document(found, found, found), status)

    assert [(row.inside, row.error) for row in rows] == [(lies, error)] * 3


def test_it_is_said_in_words_with_both_figures():
    first, *_ = told_words(told_of("a", FORECAST, document(6.0, 7.0, 9.0)))

    assert first == "Energy: forecast 8.0 J (5.0–12), came out 7.0 J (6.0–9.0); inside the interval."


ANY = st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.integers())
NOTES = ANY | st.dictionaries(st.sampled_from([*FORECAST, "other"]), ANY | st.dictionaries(st.text(), ANY))


@given(NOTES)
def test_a_note_that_is_no_forecast_is_none(note):
    assert told_of("a", note, FORECAST) == []
    assert section_of(told_of("a", note, FORECAST)).empty


def test_without_an_outcome_there_is_nothing_to_say():
    assert told_of("a", FORECAST, None) == []
