"""Energy of a request, the training shared out, and when a smaller model pays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device
from lowcarb.core.serving import Request, break_even, request_j, request_ratio, shared_out, weights_read
from lowcarb.errors import SettingError

H100 = Device("h100", "H100", "gpu", {"bf16": 989e12}, 80e9, 3.35e12, 700.0)
CHAT = Request(prompt_tokens=500, output_tokens=250)

sizes = st.floats(1e7, 1e12)


@given(sizes, st.floats(1.1, 100.0))
def test_a_larger_model_takes_more_a_request(params, times):
    assert request_j(params * times, params * times, H100, CHAT).mid > request_j(params, params, H100, CHAT).mid


@given(sizes, st.integers(1, 512))
def test_answering_together_never_takes_more_a_request(params, batch):
    together = request_j(params, params, H100, Request(500, 250, batch + 1)).mid

    assert together <= request_j(params, params, H100, Request(500, 250, batch)).mid * (1 + 1e-12)


def test_a_classifier_reads_only():
    reading = request_j(110e6, 110e6, H100, Request(128, 0)).mid

    assert 0 < reading < request_j(110e6, 110e6, H100, Request(128, 10)).mid


@given(st.floats(0.01, 1.0), st.integers(1, 1000))
def test_a_mixture_reads_between_its_active_and_all_its_weights(share, batch):
    read = weights_read(1e9, share * 1e9, batch)

    assert share * 1e9 * (1 - 1e-9) <= read <= 1e9


@given(sizes, st.floats(1.5, 100.0))
def test_at_break_even_both_ways_cost_the_same(params, times):
    larger = times * params
    training = Estimate.around(1e9, 1.5, "modelled")
    request = request_j(larger, larger, H100, CHAT)
    ratio = request_ratio(params, params, larger, larger, CHAT, H100)

    found = break_even(training, request, ratio)

    assert training.mid + found.mid * request.mid * ratio.mid == pytest.approx(found.mid * request.mid)
    assert found.low <= found.mid
    assert found.high is None or found.mid <= found.high


def test_a_model_that_is_no_smaller_never_pays():
    training, request = Estimate.exact(1e9), Estimate.exact(10.0)

    assert break_even(training, request, Estimate(1.0, 1.1, 1.2, "assumed")).mid is None


def test_a_model_that_is_hardly_smaller_may_never_pay():
    found = break_even(Estimate.exact(1e9), Estimate.exact(10.0), Estimate(0.8, 0.9, 1.1, "assumed"))

    assert (found.mid, found.high) == (pytest.approx(1e9), None)


def test_each_request_bears_its_share_of_the_training():
    shared = shared_out(Estimate.exact(1e6), Estimate.exact(2.0), 1e6)

    assert shared.mid == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (lambda: Request(-1, 10), "prompt_tokens"),
        (lambda: Request(0, 0), "prompt_tokens"),
        (lambda: Request(1, 1, 0), "batch"),
        (lambda: request_j(0, 0, H100, CHAT), "params"),
        (lambda: request_j(1e9, 2e9, H100, CHAT), "active_params"),
        (lambda: request_j(1e9, 1e9, Device("x", "X", "gpu"), CHAT), "device"),
        (lambda: shared_out(Estimate.exact(1.0), Estimate.exact(1.0), 0), "requests"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong, field):
    with pytest.raises(SettingError) as refused:
        wrong()

    assert refused.value.field == field
