"""The forecast of a run from its totals: against published runs, by its laws, and at its edges."""

from __future__ import annotations

import csv
from dataclasses import replace
from math import exp, log
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.catalogue import Catalogue
from lowcarb.core import forecast as module
from lowcarb.core.estimate import Estimate
from lowcarb.core.forecast import Scenario, forecast_run
from lowcarb.core.hardware import Device
from lowcarb.core.spread import Factor, dominant, of_estimate, spread_around, within
from lowcarb.core.units import GIGA, J_PER_KWH, S_PER_HOUR
from lowcarb.core.utilisation import goodput, mfu
from lowcarb.errors import SettingError

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published_footprints.csv"
CATALOGUE = Catalogue.load()
SITE = CATALOGUE.site("us")
A100, H100, V100, P100, TPU = (CATALOGUE.device(name) for name in ("A100-80", "H100", "V100", "P100", "TPUv3"))
DEVICES = st.sampled_from([A100, H100, V100, P100, TPU])
LLAMA = Scenario(params=7e9, tokens=2e12, device=A100, site=SITE, count=1024)
SIZES = st.floats(1e7, 1e12)
TOKENS = st.floats(1e6, 1e14)
COUNTS = st.integers(1, 100_000)


def row(name):
    if not PUBLISHED.is_file():
        pytest.skip(f"{PUBLISHED} is not here: published runs cannot be read")
    with PUBLISHED.open(encoding="utf-8") as lines:
        return next(line for line in csv.DictReader(lines) if line["id"] == name)


def scenario_of(facts, **change):
    return Scenario(
        params=float(facts["params_total_B"]) * GIGA,
        tokens=float(facts["training_tokens_B"]) * GIGA,
        device=CATALOGUE.device(facts["accelerator"]),
        site=SITE,
        count=int(facts["accelerator_count"]) if facts["accelerator_count"] else None,
        active_params=float(facts["params_flop_B"]) * GIGA,
        family=facts["arch_type"],
        precision=facts["precision"],
        **change,
    )


def holds(estimate, value):
    return estimate.low <= value <= estimate.high


@pytest.mark.parametrize(
    ("params", "tokens", "device", "count", "hours"),
    [
        pytest.param(405.85e9, 15.6e12, H100, 16384, 30.84e6, id="Llama 3.1 405B, its model card"),
        pytest.param(175e9, 300e9, V100, 10000, 3.552e6, id="GPT-3, Patterson et al. 2021, table 4"),
        pytest.param(176.25e9, 366e9, A100, 384, 1.08299e6, id="BLOOM, Luccioni et al. 2022, table 1"),
        pytest.param(6.857e9, 299.9e9, A100, 128, 33500.0, id="Pythia 6.9B, Biderman et al. 2023, table 5"),
        pytest.param(70.55e9, 15e12, H100, None, 7.0e6, id="Llama 3.1 70B, its model card"),
    ],
)
def test_published_hours_lie_in_the_interval(params, tokens, device, count, hours):
    assert holds(forecast_run(Scenario(params, tokens, device, SITE, count)).accelerator_hours, hours)


@pytest.mark.parametrize("name", ["deepseek-v2", "jetmoe-8b", "phi-3.5-moe", "glam-280b-tokens", "gshard-600b"])
def test_published_hours_of_a_mixture_of_experts_lie_in_the_interval(name):
    facts = row(name)

    assert holds(forecast_run(scenario_of(facts)).accelerator_hours, float(facts["accelerator_hours"]))


@pytest.mark.parametrize("name", ["meena", "gshard-600b", "switch-c", "gpt3-175b", "glam-280b-tokens"])
def test_the_energy_of_known_hours_is_within_a_fifth_of_what_was_measured(name):
    """The facility's, published with the PUE."""
    facts = row(name)
    scenario = scenario_of(facts, accelerator_hours=float(facts["accelerator_hours"]))
    pue = Estimate.exact(float(facts["pue"]), "catalogue")

    facility_j = forecast_run(replace(scenario, site=replace(SITE, pue=pue))).facility_j

    assert facility_j.mid / J_PER_KWH / 1e3 == pytest.approx(float(facts["energy_mwh"]), rel=0.2)


def test_intervals_hold_most_published_hours_and_not_all():
    """In the fit, so an easier test than the benchmark's: 80 % are meant."""
    row("gpt3-175b")
    with PUBLISHED.open(encoding="utf-8") as lines:
        scored = [line for line in csv.DictReader(lines) if line["score_hours"] == "1"]
    held = [holds(forecast_run(scenario_of(f)).accelerator_hours, float(f["accelerator_hours"])) for f in scored]

    assert 0.7 <= sum(held) / len(held) <= 0.95


def test_the_hours_of_a_run_follow_from_its_utilisation():
    forecast = forecast_run(LLAMA)
    share = mfu(7e9, 2e12, 312e12, 1024.0, 0.0) * goodput(1024.0)

    assert forecast.accelerator_hours.mid == pytest.approx(6 * 7e9 * 2e12 / (share * 312e12) / S_PER_HOUR)
    assert forecast.duration_s is not None
    assert forecast.duration_s.mid == pytest.approx(forecast.accelerator_hours.mid * S_PER_HOUR / 1024)


@given(SIZES, TOKENS, DEVICES, COUNTS, st.floats(1.0, 100.0))
def test_hours_grow_with_the_tokens_and_by_less_since_long_trainings_run_well(params, tokens, device, count, times):
    few, many = (
        forecast_run(Scenario(params, t, device, SITE, count)).accelerator_hours for t in (tokens, tokens * times)
    )

    assert few.mid * times**0.85 * 0.999 <= many.mid <= few.mid * times * 1.001


@given(SIZES, TOKENS, DEVICES, st.floats(1.0, 10.0))
def test_more_tokens_never_take_fewer_hours_where_the_count_is_unknown(params, tokens, device, times):
    few, many = (
        forecast_run(Scenario(params, t, device, SITE, None)).accelerator_hours for t in (tokens, tokens * times)
    )

    assert many.mid >= few.mid * 0.999


@given(SIZES, st.floats(1.0, 10.0), TOKENS, DEVICES, COUNTS)
def test_a_larger_model_never_takes_fewer_hours(params, times, tokens, device, count):
    small, large = (
        forecast_run(Scenario(p, tokens, device, SITE, count)).accelerator_hours for p in (params, params * times)
    )

    assert large.mid >= small.mid * 0.999


@given(SIZES, TOKENS, DEVICES, COUNTS, st.integers(0, 10_000))
def test_more_devices_never_take_fewer_accelerator_hours(params, tokens, device, count, more):
    few, many = (forecast_run(Scenario(params, tokens, device, SITE, n)) for n in (count, count + more))

    assert many.accelerator_hours.mid >= few.accelerator_hours.mid
    assert many.duration_s.mid <= few.duration_s.mid * 1.001


@given(SIZES, TOKENS, DEVICES, st.one_of(st.none(), COUNTS), st.one_of(st.none(), st.floats(50.0, 300.0)))
def test_scopes_lie_inside_one_another(params, tokens, device, count, watts):
    forecast = forecast_run(Scenario(params, tokens, device, SITE, count, watts=watts))

    for inner, outer in ((forecast.accelerator_j, forecast.node_j), (forecast.node_j, forecast.facility_j)):
        assert inner.low <= outer.low
        assert inner.mid <= outer.mid
        assert inner.high <= outer.high


@given(SIZES, TOKENS, DEVICES, COUNTS)
def test_carbon_is_the_facilitys_energy_at_the_grids_intensity(params, tokens, device, count):
    forecast = forecast_run(Scenario(params, tokens, device, SITE, count))

    carbon = forecast.footprint.operational_g
    assert carbon.mid == pytest.approx(forecast.facility_j.mid * SITE.intensity_g_per_kwh.mid / J_PER_KWH)
    assert carbon.high / carbon.low >= forecast.facility_j.high / forecast.facility_j.low
    assert forecast.footprint.energy_j == forecast.node_j


def test_an_exact_site_leaves_the_carbon_no_wider_than_the_target():
    """Issue 4 asks for ×/÷ 1.6."""
    exact = replace(SITE, pue=Estimate.exact(1.1, "catalogue"), intensity_g_per_kwh=Estimate.exact(385.0, "catalogue"))

    for figure in (forecast_run(replace(LLAMA, site=exact)).footprint.operational_g, forecast_run(LLAMA).node_j):
        assert figure.high / figure.mid <= 1.6


@pytest.mark.parametrize(
    ("probe", "mid"),
    [({"accelerator_hours": 100_000.0}, 100_000.0), ({"tokens_per_s": 2.0e6}, 1024 * 1e6 / 3600 / goodput(1024.0))],
    ids=["hours", "throughput"],
)
def test_a_probe_takes_the_place_of_the_model_and_narrows_the_interval(probe, mid):
    without, with_probe = forecast_run(LLAMA), forecast_run(replace(LLAMA, **probe))

    assert with_probe.accelerator_hours.mid == pytest.approx(mid)
    for name in ("accelerator_hours", "accelerator_j", "node_j", "facility_j"):
        wide, narrow = getattr(without, name), getattr(with_probe, name)
        assert narrow.high / narrow.low < wide.high / wide.low


def test_measured_power_takes_the_place_of_the_model_and_narrows_the_energy():
    without, with_probe = forecast_run(LLAMA), forecast_run(replace(LLAMA, watts=300.0))

    assert 300.0 == with_probe.power_w.mid
    assert "measured" == with_probe.power_w.basis
    assert with_probe.accelerator_hours == without.accelerator_hours
    assert with_probe.node_j.high / with_probe.node_j.low < without.node_j.high / without.node_j.low


def test_a_probe_may_have_an_interval_and_hands_it_on():
    sharp = forecast_run(replace(LLAMA, tokens_per_s=2e6, watts=300.0))
    blurred = forecast_run(
        replace(
            LLAMA, tokens_per_s=Estimate.around(2e6, 1.3, "modelled"), watts=Estimate(200.0, 300.0, 330.0, "modelled")
        )
    )

    assert blurred.accelerator_hours.mid == pytest.approx(sharp.accelerator_hours.mid)
    assert blurred.accelerator_hours.high / blurred.accelerator_hours.mid > 1.3
    assert (200.0, 330.0) == pytest.approx((blurred.power_w.low, blurred.power_w.high))
    assert "throughput on the other device" == replace_exact_site(blurred).dominant
    assert {"low", "mid", "high", "basis"} == set(blurred.as_dict()["scenario"]["watts"])


def replace_exact_site(forecast):
    pue, intensity = Estimate.exact(1.1, "catalogue"), Estimate.exact(385.0, "catalogue")
    return forecast_run(replace(forecast.scenario, site=replace(SITE, pue=pue, intensity_g_per_kwh=intensity)))


def test_what_is_known_no_longer_dominates():
    exact = replace(SITE, pue=Estimate.exact(1.1, "catalogue"), intensity_g_per_kwh=Estimate.exact(385.0, "catalogue"))
    scenario = replace(LLAMA, site=exact)

    assert "utilisation" == forecast_run(scenario).dominant
    assert "power of the device" == forecast_run(replace(scenario, accelerator_hours=1e5)).dominant
    assert "power of the host" == forecast_run(replace(scenario, accelerator_hours=1e5, watts=300.0)).dominant
    assert "power usage effectiveness" == forecast_run(replace(LLAMA, accelerator_hours=1e5)).dominant


def test_a_run_far_outside_of_the_published_sizes_is_known_less_well():
    usual, short = (forecast_run(replace(LLAMA, tokens=t)).accelerator_hours for t in (2e12, 1e6))

    assert short.high / short.mid > 2 * usual.high / usual.mid
    assert "size outside of the published runs" == forecast_run(replace(LLAMA, tokens=1e6, count=1)).dominant


def test_an_unknown_count_is_no_count_and_its_duration_no_number():
    known, unknown = forecast_run(LLAMA), forecast_run(replace(LLAMA, count=None))

    assert unknown.duration_s is None
    assert "assumed" == unknown.footprint.duration_s.basis
    assert unknown.fits is None
    assert unknown.accelerator_hours.high / unknown.accelerator_hours.mid > (
        known.accelerator_hours.high / known.accelerator_hours.mid
    )


def test_a_token_passes_half_of_an_encoder_decoder_unless_told_otherwise():
    """Raffel et al. 2020: 12 + 12 layers cost what 12 layers of a decoder cost on the same text."""
    whole, half = forecast_run(LLAMA), forecast_run(replace(LLAMA, family="encoder-decoder", count=512))
    no_news = forecast_run(replace(LLAMA, family="encoder-decoder", count=512, active_params=LLAMA.params))
    told = forecast_run(replace(LLAMA, family="encoder-decoder", active_params=0.999 * LLAMA.params))

    assert half.accelerator_hours.mid == pytest.approx(whole.accelerator_hours.mid / 2, rel=0.01)
    assert no_news.accelerator_hours == half.accelerator_hours
    assert told.accelerator_hours.mid == pytest.approx(whole.accelerator_hours.mid, rel=0.01)


def test_attention_of_long_sequences_costs_hours():
    short, usual, long = (
        forecast_run(replace(LLAMA, layers=32, width=4096, length=length)).accelerator_hours.mid
        for length in (512, 2048, 32768)
    )

    assert short == usual
    assert long == pytest.approx(usual * (1 + 32 * 4096 * (32768 - 2048) / 7e9))


@pytest.mark.parametrize(("name", "means"), [("16bit", "bf16"), ("bf16", "bf16"), ("FP32", "fp32"), ("tf32", "tf32")])
def test_a_precision_is_known_by_its_usual_names(name, means):
    assert (means, A100.peak_flops[means]) == module.peak_of(A100, name)


def test_where_no_precision_is_given_the_fastest_usual_one_is_taken():
    assert ["bf16", "fp16", "fp16", "bf16"] == [module.peak_of(d, None)[0] for d in (A100, V100, P100, TPU)]


def test_slower_arithmetic_takes_more_hours():
    hours = [forecast_run(replace(LLAMA, precision=p)).accelerator_hours.mid for p in ("16bit", "tf32", "fp32")]

    assert sorted(hours) == hours


def test_a_run_that_cannot_fit_says_what_would_make_it_fit():
    forecast = forecast_run(replace(LLAMA, params=70e9, count=8))

    assert forecast.fits is False
    assert "14 or more devices" in forecast.remedies[0]
    assert "140 GB" in forecast.remedies[1]
    assert any("LoRA" in remedy for remedy in forecast.remedies)
    assert forecast_run(replace(LLAMA, params=70e9, count=14)).fits is None
    assert forecast_run(replace(LLAMA, params=70e9, count=64)).fits is True
    assert any("sharding" in remedy for remedy in forecast_run(replace(LLAMA, params=70e9, count=64)).remedies)


def test_every_figure_is_in_the_json_form():
    document = forecast_run(LLAMA).as_dict()

    assert {"low", "mid", "high", "basis"} == set(document["accelerator_hours"])
    assert "a100-sxm4-80gb" == document["scenario"]["device"]
    assert SITE.id == document["scenario"]["site"]
    assert {"energy_j", "operational_g", "embodied_g"} <= set(document["footprint"])


def test_embodied_carbon_and_rent_are_of_all_devices_together():
    known, unknown = (forecast_run(replace(LLAMA, count=count, accelerator_hours=1e5)).footprint for count in (8, None))

    assert known.embodied_g is not None
    assert known.cost is not None
    assert (known.embodied_g, known.cost) == (unknown.embodied_g, unknown.cost)
    assert known.cost.mid == pytest.approx(A100.price_per_hour.mid * 1e5)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"params": 0.0}, "params"),
        ({"params": float("nan")}, "params"),
        ({"tokens": 0}, "tokens"),
        ({"tokens": float("inf")}, "tokens"),
        ({"count": -8}, "count"),
        ({"count": 0}, "count"),
        ({"count": 1.5}, "count"),
        ({"active_params": 8e9}, "active_params"),
        ({"active_params": -1.0}, "active_params"),
        ({"layers": 0}, "layers"),
        ({"precision": "fp8"}, "precision"),
        ({"precision": "int3"}, "precision"),
        ({"device": V100, "precision": "bf16"}, "precision"),
        ({"accelerator_hours": 0.0}, "accelerator_hours"),
        ({"tokens_per_s": 1e9}, "tokens_per_s"),
        ({"tokens_per_s": 1e6, "accelerator_hours": 1e5}, "tokens_per_s"),
        ({"tokens_per_s": 1e6, "count": None}, "count"),
        ({"watts": 4000.0}, "watts"),
        ({"tokens_per_s": Estimate(0.0, 1e6, 2e6, "modelled")}, "tokens_per_s"),
        ({"device": Device("new", "New", "gpu", {"bf16": 1e15})}, "device"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_cannot_be_is_refused_by_the_name_of_its_field(change, field):
    with pytest.raises(SettingError) as refused:
        forecast_run(replace(LLAMA, **change))

    assert field == refused.value.field


FACTORS = st.lists(st.builds(within, st.just("a"), st.floats(1.0, 10.0)), max_size=5)


@given(st.floats(0.0, 1e20), FACTORS)
def test_independent_spreads_add_to_less_than_their_sum_and_to_no_less_than_the_widest(mid, factors):
    figure = spread_around(mid, factors, "modelled")
    widest, summed = max((f.above for f in factors), default=0.0), sum(f.above for f in factors)

    assert figure.low <= mid <= figure.high
    assert mid * exp(widest) * 0.999 <= figure.high <= mid * exp(summed) * 1.001


def test_a_figure_that_may_be_zero_keeps_its_low_bound_at_zero():
    factor = of_estimate("sun", Estimate(0.0, 10.0, 20.0, "catalogue"))

    assert 0.0 == spread_around(5.0, [factor, within("b", 1.2)], "modelled").low
    assert factor.above == pytest.approx(log(2.0))


def test_the_widest_factor_dominates_and_none_where_all_is_exact():
    assert "b" == dominant([within("a", 1.1), Factor("b", 0.0, 0.4), within("c", 1.2)])
    assert "nothing" == dominant([within("a", 1.0)])


def test_a_grid_without_carbon_gives_no_carbon():
    clean = replace(SITE, intensity_g_per_kwh=Estimate(0.0, 0.0, 30.0, "catalogue"))

    carbon = forecast_run(replace(LLAMA, site=clean)).footprint.operational_g

    assert 0.0 == carbon.mid < carbon.high
