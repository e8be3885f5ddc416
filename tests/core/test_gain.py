"""What going on would bring: nothing on a flat curve, more on a rising one, and less the flatter it gets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.gain import LAST_LOOKS, LEAST_LOOKS, gain_to_come

scores = st.floats(0.0, 100.0)
counts = st.integers(LEAST_LOOKS, 24)


def evenly(count, score, *, share=1 / 24):
    """Looks at even distances, with the score of each share."""
    return [((n + 1) * share, score((n + 1) * share)) for n in range(count)]


@given(counts, scores)
def test_a_flat_curve_has_nothing_to_come(count, score):
    assert gain_to_come(evenly(count, lambda share: score)) == 0.0


@given(counts, st.floats(0.01, 500.0))
def test_a_curve_that_rises_evenly_goes_on_to_at_no_more_than_its_rate(count, rate):
    to_come = gain_to_come(evenly(count, lambda share: rate * share))

    assert rate / (LAST_LOOKS + 1) < to_come < rate


@given(counts, st.floats(0.01, 500.0))
def test_a_curve_that_falls_has_a_loss_to_come(count, rate):
    assert gain_to_come(evenly(count, lambda share: 50.0 - rate * share)) < 0.0


@given(counts, st.floats(0.1, 30.0))
def test_a_logarithmic_curve_is_predicted_as_it_goes_on(count, rise):
    course = evenly(count + 1, lambda share: rise * math.log(share))

    really = (course[-1][1] - course[-2][1]) / (course[-1][0] - course[-2][0])
    assert gain_to_come(course[:-1]) == pytest.approx(really)


@given(st.lists(scores, min_size=LEAST_LOOKS, max_size=12), st.floats(-50.0, 50.0), st.floats(0.1, 10.0))
def test_where_the_scale_begins_does_not_matter_and_its_unit_does(held, offset, factor):
    course = [((n + 1) / 12, score) for n, score in enumerate(held)]
    moved = [(share, factor * score + offset) for share, score in course]

    assert gain_to_come(moved) == pytest.approx(factor * gain_to_come(course), abs=1e-6)


@given(st.integers(LAST_LOOKS, 20), scores, st.integers(0, LAST_LOOKS - 1))
def test_one_look_that_is_off_promises_little(count, off, where):
    course = evenly(count, lambda share: 40.0)
    course[-1 - where] = (course[-1 - where][0], off)

    # Six of the ten pairs of five looks have nothing to do with it.
    assert gain_to_come(course) == 0.0


def test_a_curve_that_levels_off_has_less_and_less_to_come():
    course = evenly(24, lambda share: 60.0 * (1.0 - math.exp(-4.0 * share)))

    to_come = [gain_to_come(course[:count]) for count in range(LAST_LOOKS, 25)]
    assert to_come == sorted(to_come, reverse=True)
    assert to_come[0] > 60.0 > 10.0 > to_come[-1] > 0.0


@pytest.mark.parametrize("count", range(LEAST_LOOKS))
def test_few_looks_predict_nothing(count):
    assert gain_to_come(evenly(count, lambda share: share)) is None


@pytest.mark.parametrize("shares", [(0.0, 0.1, 0.2, 0.3), (0.1, 0.1, 0.2, 0.3), (0.2, 0.1, 0.3, 0.4), (math.nan,) * 4])
def test_shares_must_rise(shares):
    with pytest.raises(ValueError, match="must rise"):
        gain_to_come([(share, 1.0) for share in shares])
