"""The laws of `Estimate`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.estimate import BASES, Estimate, total, weakest

finite = st.floats(-1e9, 1e9, allow_nan=False)


@st.composite
def estimates(draw, values=finite):
    low, mid, high = sorted(draw(st.tuples(values, values, values)))
    return Estimate(low, mid, high, draw(st.sampled_from(BASES)))


def inside(draw, estimate):
    return draw(st.floats(estimate.low, estimate.high))


positive = estimates(st.floats(1e-3, 1e6))


@given(st.data(), estimates(), estimates())
def test_a_sum_of_inputs_inside_their_bounds_is_inside_its_bounds(data, a, b):
    x, y = inside(data.draw, a), inside(data.draw, b)

    result = a + b

    assert result.low <= x + y <= result.high


@given(st.data(), estimates(), estimates())
def test_a_product_of_inputs_inside_their_bounds_is_inside_its_bounds(data, a, b):
    x, y = inside(data.draw, a), inside(data.draw, b)

    result = a * b

    slack = 1e-9 * max(abs(result.low), abs(result.high), 1.0)
    assert result.low - slack <= x * y <= result.high + slack


@given(st.data(), estimates(), positive)
def test_a_quotient_of_inputs_inside_their_bounds_is_inside_its_bounds(data, a, b):
    x, y = inside(data.draw, a), inside(data.draw, b)

    result = a / b

    slack = 1e-9 * max(abs(result.low), abs(result.high), 1.0)
    assert result.low - slack <= x / y <= result.high + slack


def test_ten_over_two_to_five_is_two_to_five():
    """The example at which an interval type without laws was seen to fail."""
    result = Estimate.exact(10.0) / Estimate(2.0, 4.0, 5.0, "modelled")

    assert (2.0, 2.5, 5.0) == (result.low, result.mid, result.high)


def test_division_by_what_may_be_zero_is_refused():
    with pytest.raises(ValueError, match="may be zero"):
        Estimate.exact(1.0) / Estimate(-1.0, 0.5, 1.0, "assumed")


@given(estimates(), st.floats(-1e3, 1e3))
def test_scaling_keeps_the_order_of_the_bounds(a, factor):
    result = a.scale(factor)

    assert result.low <= result.mid <= result.high


@given(st.lists(estimates(), max_size=5))
def test_a_result_takes_the_weakest_basis(parts):
    assert weakest(part.basis for part in parts) == total(parts).basis


@pytest.mark.parametrize("bounds", [(2.0, 1.0, 3.0), (0.0, float("nan"), 1.0), (0.0, 1.0, float("inf"))])
def test_bounds_out_of_order_or_not_finite_are_refused(bounds):
    with pytest.raises(ValueError):
        Estimate(*bounds, "measured")


@given(estimates())
def test_the_json_form_comes_back_unchanged(a):
    assert a == Estimate.from_dict(a.as_dict())
