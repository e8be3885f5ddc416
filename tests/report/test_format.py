"""Numbers for people."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.estimate import Estimate
from lowcarb.report.format import (
    SCALES,
    UNKNOWN,
    Figure,
    aligned,
    change,
    digits_of,
    figure,
    fixed,
    number,
    percent,
    plain,
    quantity,
    signed,
    unit_for,
    writable,
)

UNITS = ("J", "g", "s", "l", "W", "USD", "FLOP", "")
POSITIVE = st.floats(min_value=1e-30, max_value=1e30)
SUPERSCRIPT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def read(text):
    """The number that a text begins with."""
    found = re.match(r"(−?[\d\u202f]+(?:\.\d+)?)(?: × 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", text)
    value = float(found[1].replace("\u202f", "").replace("−", "-"))
    return value * 10.0 ** int(found[2].translate(SUPERSCRIPT)) if found[2] else value


@given(POSITIVE, st.floats(1.0, 100.0), st.floats(1.0, 100.0), st.sampled_from(UNITS))
def test_quantity_keeps_its_unit_and_its_order_of_magnitude(mid, below, above, unit):
    text = quantity({"low": mid / below, "mid": mid, "high": mid * above, "basis": "modelled"}, unit)
    shown = unit_for([mid], unit)

    assert shown.name in text
    assert read(text) * shown.size == pytest.approx(mid, rel=0.06)
    assert "nan" not in text
    assert "inf" not in text


@given(st.sampled_from([math.nan, math.inf, -math.inf]), st.sampled_from(UNITS))
def test_quantity_of_what_is_no_number_is_a_dash(value, unit):
    assert quantity(Figure(0.0, value, 1.0), unit) == UNKNOWN
    assert plain(value, unit) == UNKNOWN
    assert number(value) == fixed(value, 2) == percent(value) == UNKNOWN


@given(st.floats(-1e30, 1e30), st.integers(1, 6))
def test_number_is_right_to_its_digits(value, digits):
    assert read(number(value, digits)) == pytest.approx(value, rel=0.51 * 10.0 ** (1 - digits))


@given(POSITIVE, POSITIVE)
def test_wider_intervals_bear_no_more_digits(mid, width):
    narrow = Figure(mid, mid, mid + width)
    wide = Figure(mid, mid, mid + 10.0 * width)

    assert digits_of(narrow) >= digits_of(wide) or narrow.high == mid


@given(st.floats(1e-3, 1e3), st.floats(1.0, 3.0), st.floats(1.0, 3.0))
def test_change_claims_less_or_more_only_beyond_the_interval(mid, below, above):
    words = change(Figure(mid / below, mid, mid * above), "carbon")

    if mid / below < 1.0 < mid * above:
        assert words.startswith("no sure change of carbon")
    elif mid * above < 1.0:
        assert "less carbon" in words
    elif mid / below > 1.0:
        assert "more carbon" in words or "times the carbon" in words


@pytest.mark.parametrize(
    ("estimate", "unit", "text"),
    [
        (Figure(0.10, 0.39, 1.2), "g", "0.39 g (0.10–1.2)"),
        (Figure(974.0, 1949.0, 2815.0), "J", "1.9 kJ (0.97–2.8)"),
        (Figure(1.2e6, 2.5e6, 3e6), "J", "0.69 kWh (0.33–0.83)"),
        (Figure(3.6e9, 7.2e9, 9e9), "J", "2.0 MWh (1.0–2.5)"),
        (Figure(5e5, 1.5e6, 2e6), "g", "1.5 t (0.50–2.0)"),
        (Figure(108.0, 108.0, 108.0), "s", "108 s"),
        (Figure(1117.0, 1117.0, 1117.0), "s", "18.6 min"),
        (Figure(1e5, 1e5, 1e5), "s", "27.8 h"),
        (Figure(0.0, 0.0, 0.0), "g", "0 g"),
        (Figure(2.7e-3, 2.7e-3, 2.7e-3), "l", "2.70 ml"),
        (Figure(40.0, 470.0, 800.0), "g CO₂e/kWh", "470 g CO₂e/kWh (40–800)"),
        (Estimate(0.10, 0.39, 1.2, "assumed"), "g", "0.39 g (0.10–1.2)"),
        (None, "g", "—"),
    ],
)
def test_quantity(estimate, unit, text):
    assert quantity(estimate, unit) == text


def test_quantity_can_leave_the_interval_out():
    assert quantity(Figure(0.10, 0.39, 1.2), "g", interval=False) == "0.39 g"


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        ((0.4935, 0.5066, 0.52), "49 % less carbon (48–51 %)"),
        ((2.7, 4.06, 6.1), "4.1 times the carbon (2.7–6.1)"),
        ((1.0687, 1.0969, 1.126), "10 % more carbon (7–13 %)"),
        ((0.9998, 1.026, 1.053), "no sure change of carbon (0 % to 5 % more)"),
        ((0.97, 1.01, 1.02), "no sure change of carbon (3 % less to 2 % more)"),
        ((1e-5, 0.5, 1e4), "no sure change of carbon (interval too wide to be of use)"),
        ((1.0, 1.0, 1.0), "the same carbon"),
        ((1e-4, 2e-4, 4e-4), "over 99.9 % less carbon"),
    ],
)
def test_change(ratio, words):
    assert change(Figure(*ratio), "carbon") == words


def test_column_is_written_in_the_unit_of_its_largest():
    assert unit_for([1.0, None, 5e3], "g").name == "kg"
    assert unit_for([], "g").name == "g"
    assert unit_for([math.nan, None], "J").name == "J"


@pytest.mark.parametrize("unit", SCALES)
def test_units_grow_in_order(unit):
    scale = SCALES[unit]

    assert scale[0].least == 0.0
    assert sorted(one.size for one in scale) == [one.size for one in scale]
    assert sorted(one.least for one in scale) == [one.least for one in scale]


def test_numbers_align_on_the_point_and_keep_their_digits():
    assert aligned(["0.39", "0.072", "12", "—"]) == ("0.39\u2007", "0.072", "12\u2008\u2007\u2007\u2007", "—")
    assert aligned(["1", "20"]) == ("1", "20")
    assert aligned([]) == ()


def test_signs_and_shares():
    assert [signed(1.5, 1), signed(-16.65, 1), signed(-0.01, 1)] == ["+1.5", "−16.6", "0.0"]
    assert [percent(0.0), percent(0.001), percent(0.5), percent(0.999), percent(1.0), percent(None)] == [
        "0 %", "under 1 %", "50 %", "over 99 %", "100 %", "—",
    ]  # fmt: skip


def test_figure_reads_documents_and_estimates():
    assert figure({"low": 1, "mid": 2, "high": 3, "basis": "measured"}) == Figure(1.0, 2.0, 3.0, "measured")
    assert figure(Estimate(1.0, 2.0, 3.0, "assumed")) == Figure(1.0, 2.0, 3.0, "assumed")
    assert figure(None) is None


def test_half_a_surrogate_pair_is_written_as_a_question_mark():
    assert writable("a\ud800b ü 😀") == "a?b ü 😀"
