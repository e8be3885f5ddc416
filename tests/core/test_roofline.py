"""The roofline forecast: against public training tables, and at its edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device
from lowcarb.core.roofline import contrast, forecast_tokens, forecast_training, project
from lowcarb.core.site import Site
from lowcarb.core.units import s_from_years
from lowcarb.core.workload import ModelSpec, training_workload
from lowcarb.errors import SettingError

BERT_LARGE = ModelSpec("bert-large", "encoder", 24, 1024, 4096, 16, 30522, positions=512)
TINY = ModelSpec("tiny", "encoder", 2, 64, 128, 2, 1000)
SITE = Site(
    "here", "Here", Estimate(90.0, 100.0, 110.0, "catalogue"), "location, lifecycle", Estimate.exact(1.2, "catalogue"),
    None, None, None, 2025, declared=True,
)  # fmt: skip


def device(name, fp32, fp16, bandwidth, tdp, memory=16e9):
    return Device(
        name, name, "gpu", {"fp32": fp32, "fp16": fp16}, memory, bandwidth, tdp,
        embodied_g=Estimate.around(150e3, 2.0, "catalogue"), lifetime_s=Estimate.exact(s_from_years(5), "assumed"),
    )  # fmt: skip


V100 = device("v100", 15.67e12, 125e12, 897e9, 300.0)
A100 = device("a100", 19.49e12, 312e12, 1555e9, 400.0, 40e9)
T4 = device("t4", 8.141e12, 65e12, 320e9, 70.0)


@pytest.mark.parametrize(
    ("where", "precision", "sequences_per_s"), [(V100, "fp32", 10.42), (V100, "fp16", 51.02), (A100, "fp16", 102.26)]
)
def test_bert_large_on_squad_takes_the_time_that_was_published(where, precision, sequences_per_s):
    """NVIDIA DeepLearningExamples, BERT-large fine-tuning, 384 tokens, TensorFlow tables."""
    batch, steps = 24, 100

    forecast = project(
        training_workload(BERT_LARGE, steps=steps, batch=batch, length=384, precision=precision), where, SITE
    )

    duration = forecast.footprint.duration_s
    assert duration.low < steps * batch / sequences_per_s < duration.high


def test_work_too_small_for_the_device_is_bound_by_launches():
    assert "launches" == forecast_training(TINY, A100, SITE, examples=64, epochs=1, batch=8, length=32).bound


def test_a_run_that_does_not_fit_says_so():
    big = ModelSpec("big", "decoder", 40, 5120, 20480, 40, 32000)

    assert forecast_training(big, T4, SITE, examples=8, epochs=1, batch=1, length=512).fits is False


def test_every_figure_of_a_forecast_is_modelled_or_weaker():
    footprint = forecast_tokens(7e9, 2e9, A100, SITE).footprint

    assert 0.0 == footprint.measured_share
    assert {"modelled"} == {footprint.energy_j.basis, footprint.duration_s.basis}
    assert "catalogue" == footprint.operational_g.basis


@given(st.integers(1, 8))
def test_more_devices_finish_sooner_for_no_less_energy(count):
    one, many = (forecast_tokens(1e9, 1e9, A100, SITE, count=n).footprint for n in (1, count))

    assert many.duration_s.mid <= one.duration_s.mid
    assert many.energy_j.mid >= one.energy_j.mid * 0.999


def test_a_contrast_is_known_better_than_the_quotient_of_its_figures():
    a, b = (forecast_training(BERT_LARGE, d, SITE, examples=800, epochs=1, batch=8, length=384) for d in (A100, T4))
    ratio, quotient = contrast(a, b), a.footprint.energy_j / b.footprint.energy_j

    assert ratio.mid == pytest.approx(quotient.mid)
    assert ratio.high / ratio.low < quotient.high / quotient.low


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tokens": 0.0}, "tokens"),
        ({"parameters": -1.0}, "params"),
        ({"count": 0}, "count"),
        ({"precision": "fp8"}, "precision"),
    ],
)
def test_impossible_forecasts_are_refused_by_name(change, field):
    with pytest.raises(SettingError, match=field):
        forecast_tokens(**({"parameters": 1e9, "tokens": 1e9, "device": A100, "site": SITE} | change))


def both(model, batch):
    return [
        forecast_training(model, device, SITE, examples=800, epochs=1, batch=batch, length=384) for device in (A100, T4)
    ]


def test_a_contrast_of_work_bound_by_launches_is_known_less_well():
    big, tiny = (contrast(*both(model, 16)) for model in (BERT_LARGE, TINY))

    assert tiny.high / tiny.low > big.high / big.low


def test_a_t4_and_an_a100_take_about_the_energy_that_was_published_for_fp32():
    """BERT-large inference at batch 8 and 384 tokens: 9.75 sequences/s at 70 W and 58.4 at 400 W (NVIDIA
    DeepLearningExamples): at rated power the A100 draws 0.95 times the energy of the T4. The interval holds it."""
    ratio = contrast(*both(BERT_LARGE, 8))

    assert ratio.low < 0.95 < ratio.high


def test_a_pretraining_whose_weights_do_not_fit_says_so_and_whether_the_rest_fits_is_unknown():
    fits = [forecast_tokens(7e9, 1e9, A100, SITE, count=count).fits for count in (1, 8)]

    assert [False, None] == fits
