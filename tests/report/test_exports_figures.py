"""SCI and GHG Protocol: each figure against one that was worked out by hand."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.core.estimate import Estimate
from lowcarb.errors import SettingError
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.exports import EXPORTS, account_of
from lowcarb.report.exports.account import Market
from lowcarb.report.exports.ghg import DIRECT, FALLBACK, LIFECYCLE, ghg_document
from lowcarb.report.exports.sci import sci_document

_spec = importlib.util.spec_from_file_location("export_ledgers", Path(__file__).with_name("export_ledgers.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

CATALOGUE = Catalogue.load()
BOTH = ("sci", "ghg")


def account(ledger_and_run=None, market=None, **changes):
    ledger, run = ledger_and_run or made.one_run(**changes)
    return account_of(ledger, run, CATALOGUE, market=market)


def study(**other):
    return account_of(made.a_study(**other), "mine", CATALOGUE)


# SCI = (O + M) per R


def test_sci_of_a_run_by_hand():
    """E = 1.1 kWh × 1.2 = 1.32 kWh; O = 1.32 × 50 = 66 g; M = 150 kg × (3600 s / 1.5e8 s) × 2 = 7.2 g; 73.2 g a run."""
    one = sci_document(account())

    assert pytest.approx(73.2) == one["score"]["mid"]
    assert "gCO2e per training run" == one["unit"]
    assert pytest.approx((1.32, 50.0, 66.0, 7.2)) == (
        one["E_kwh"]["mid"], one["I_g_per_kwh"]["mid"], one["O_g"]["mid"], one["M_g"]["mid"],
    )  # fmt: skip
    assert pytest.approx(1.32 * 50.0) == one["E_kwh"]["mid"] * one["I_g_per_kwh"]["mid"]
    assert [] == one["missing"]


def test_sci_adds_up_its_parts():
    one = sci_document(account())

    assert {"R", "E_kwh", "I_g_per_kwh", "O_g", "M_g"} <= set(one)
    assert [150_000.0] == [part["TE_g"]["mid"] for part in one["M_parts"] if part["TE_g"]]
    assert pytest.approx(one["M_g"]["mid"]) == sum(part["M_g"]["mid"] for part in one["M_parts"] if part["M_g"])
    assert pytest.approx(one["score"]["mid"]) == (one["O_g"]["mid"] + one["M_g"]["mid"]) / one["R"]["amount"]["mid"]


def test_sci_per_million_tokens_by_hand():
    """2 million tokens: 73.2 / 2."""
    one = sci_document(account(), "tokens")

    assert pytest.approx(36.6) == one["score"]["mid"]
    assert "gCO2e per million tokens trained on" == one["unit"]


def test_sci_per_unit_of_quality_by_hand():
    """One trial of 70 J at 1.2 × 50 g/kWh, 12 s on two cards, F1 60 on the validation questions."""
    ledger = made.a_study()
    run = next(run for run in ledger.runs() if "distilbert" in run.name)
    carbon_g = 70.0 / 3.6e6 * 60.0 + 2 * 150_000.0 * 12.0 / 1.5e8

    one = sci_document(account((ledger, run.id)), "quality")

    assert pytest.approx(carbon_g / 60.0) == one["score"]["mid"]
    assert "gCO2e per unit of f1 on validation" == one["unit"]
    assert one["score"]["low"] < one["score"]["mid"] < one["score"]["high"]


def test_sci_of_a_study_is_a_mean_over_its_results_and_holds_what_failed():
    """415 J in all, over 3 done trainings; 70 s of two cards."""
    carbon_g = 415.0 / 3.6e6 * 60.0 + 2 * 150_000.0 * (5 * 10.0 + 4 * 2.0) / 1.5e8

    one = sci_document(study())

    assert 3.0 == one["R"]["amount"]["mid"]
    assert pytest.approx(carbon_g / 3.0) == one["score"]["mid"]
    assert "1 failed" in one["attempts"]


@pytest.mark.parametrize(
    ("subject", "per", "missing"),
    [
        (lambda: account(tokens=0), "tokens", "R: nobody counted the tokens"),
        (account, "quality", "R: no quality is known"),
        (study, "quality", "several arms"),
        (lambda: account(machine=replace(made.MACHINE, devices=(made.Installed(made.CPU),))), "run", "M: "),
    ],
)
def test_sci_without_a_part_has_no_score_and_says_which(subject, per, missing):
    one = sci_document(subject(), per)

    assert one["score"] is None
    assert any(missing in reason for reason in one["missing"])


def test_sci_leaves_the_market_out():
    market = Market(Estimate.exact(0.0, "assumed"), "certificates")

    assert sci_document(account()) == sci_document(account(market=market))


def test_sci_of_a_site_that_is_priced_by_a_market_is_refused():
    with pytest.raises(SettingError, match="location-based"):
        sci_document(account(site=replace(made.SITE, accounting="market")))


def test_sci_knows_three_units():
    with pytest.raises(SettingError, match="run, tokens, quality"):
        sci_document(account(), "pflop")


# GHG Protocol


def test_ghg_gives_both_figures_by_hand():
    """1.1 kWh × 1.2 = 1.32 kWh bought: × 50 g/kWh = 66 g by location, × 10 g/kWh = 13.2 g by the contract."""
    one = ghg_document(account(market=Market(Estimate.exact(10.0, "assumed"), "a power purchase agreement")))

    assert pytest.approx(1.32) == one["electricity_kwh"]["mid"]
    assert pytest.approx(66.0) == one["location_based"]["g"]["mid"]
    assert pytest.approx(13.2) == one["market_based"]["g"]["mid"]
    assert ("a power purchase agreement", False) == (
        one["market_based"]["instrument"], one["market_based"]["fallback"],
    )  # fmt: skip


def test_ghg_without_a_contract_falls_back_and_says_so():
    one = ghg_document(account())

    assert one["location_based"]["g"] == one["market_based"]["g"]
    assert (True, FALLBACK) == (one["market_based"]["fallback"], one["market_based"]["disclosure"])


@pytest.mark.parametrize(("accounting", "remark"), [("location, lifecycle", LIFECYCLE), ("location, direct", DIRECT)])
def test_ghg_says_what_the_factor_holds(accounting, remark):
    one = ghg_document(account(site=replace(made.SITE, accounting=accounting)))

    assert [remark] == one["location_based"]["remarks"]


def test_ghg_keeps_energy_by_hour():
    one = ghg_document(study())

    assert ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"] == [hour["hour"] for hour in one["hourly"]][:2]
    assert pytest.approx(415.0 / 3.6e6) == sum(hour["machine_energy_kwh"]["mid"] for hour in one["hourly"])
    assert "2026-01-01T00:00:00Z" == one["period"]["began"]


def test_ghg_leaves_the_scope_to_the_reader_and_making_out():
    one = ghg_document(account())

    assert "scope 3" in one["whose_scope"]
    assert pytest.approx(66.0) == one["location_based"]["g"]["mid"]
    assert pytest.approx(7.2) == one["embodied_g"]["mid"]


# Both


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("make", [account, study])
def test_boundary_measured_share_place_and_sources_are_named(name, make):
    one = json.loads(EXPORTS[name].render(make()))

    assert one["boundary"].startswith("The energy is that of")
    assert 0.0 <= one["measured_share"] <= 1.0
    assert "measured" in one["measured"]
    assert "France" in one["place"]
    assert {"title", "url", "license"} <= set(one["sources"][0])
    assert 1 == one["schema_version"]


@pytest.mark.parametrize("name", BOTH)
def test_nothing_metered_is_refused(name):
    ledger = MemoryLedger()
    run = made.enter(ledger, "running", None)

    with pytest.raises(SettingError, match="known"):
        EXPORTS[name].render(account((ledger, run)))


@pytest.mark.parametrize("name", BOTH)
def test_a_sum_over_two_sites_has_no_one_intensity(name):
    ledger = MemoryLedger()
    other = replace(made.SITE, id="swe", name="Sweden", intensity_g_per_kwh=Estimate.exact(10.0, "catalogue"))
    for number, site in enumerate((made.SITE, other)):
        began_ns = made.BEGAN_NS + number * 2 * made.HOUR_NS
        doc = made.document({"train": made.energy(made.KWH)}, site=site, began_ns=began_ns)
        made.enter(ledger, site.id, doc, study="both", began_ns=began_ns)

    one = json.loads(EXPORTS[name].render(account((ledger, "both"))))

    assert pytest.approx(72.0) == (one["O_g"] if name == "sci" else one["location_based"]["g"])["mid"]
    assert one["E_kwh" if name == "sci" else "electricity_kwh"] is None


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("hostile", made.HOSTILE)
def test_hostile_names_are_text(name, hostile):
    machine = replace(made.MACHINE, devices=(made.Installed(replace(made.GPU, name=hostile)),))
    market = Market(Estimate.exact(1.0, "assumed"), hostile)

    text = EXPORTS[name].render(account(made.one_run(hostile, machine=machine), market=market))

    text.encode("utf-8")
    assert json.loads(text)["subject"]["title"]
    assert "\u202e" not in text
    assert len(text) < 15_000
