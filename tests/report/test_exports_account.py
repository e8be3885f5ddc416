"""The account that every export reads: each joule once, what failed told apart, nothing invented."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.core.estimate import Estimate
from lowcarb.errors import SettingError
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.exports import EXPORTS, account_of
from lowcarb.report.exports.account import Market

_spec = importlib.util.spec_from_file_location("export_ledgers", Path(__file__).with_name("export_ledgers.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

CATALOGUE = Catalogue.load()


def account(ledger, name, site=None, **other):
    return account_of(ledger, name, CATALOGUE, site, **other)


def outcomes(one):
    return {o.status: (o.attempts, o.energy_j.mid if o.energy_j else None) for o in one.outcomes}


def test_a_run_by_hand():
    """1.1 kWh × 1.2 × 50 g/kWh = 66 g; two cards of 150 kg over 1.5e8 s, for an hour: 7.2 g."""
    ledger, run = made.one_run()

    one = account(ledger, run)

    assert ("run", run, "finetune", 1) == (one.kind, one.id, one.title, one.attempts)
    assert pytest.approx(1.1 * made.KWH) == one.whole.energy_j.mid
    assert pytest.approx((1.0 + 0.05) * made.KWH) == one.whole.energy_j.low
    assert pytest.approx(66.0) == one.whole.operational_g.mid
    assert pytest.approx(7.2) == one.whole.embodied_g.mid
    assert pytest.approx(1.1 * (0.5 + 1.2 * 2.0)) == one.whole.water_l.mid
    assert pytest.approx(1.0 / 1.1) == one.measured_share
    assert pytest.approx(0.99 * made.KWH) == one.training.energy_j.mid
    assert {"prepare": 0.11, "train": 0.99} == pytest.approx(
        {phase.name: phase.footprint.energy_j.mid / made.KWH for phase in one.phases}
    )
    assert [("gpu", "measured"), ("cpu", "modelled")] == [(drawn.kind, drawn.basis) for drawn in one.drawn]
    assert [("processor", 1.0, 3600.0), ("a100-80gb", 2.0, 7200.0)] == [(d.id, d.count, d.time_s) for d in one.devices]
    assert ("fra", "France", "FRA", False) == (one.site.id, one.place.country, one.place.country_code, one.place.cloud)
    assert one.location_g == one.whole.operational_g
    assert (2e6, 500, 3e17, 110_000_000, 3.0) == (
        one.trained.tokens, one.trained.steps, one.trained.flops, one.trained.parameters, one.trained.epochs,
    )  # fmt: skip
    assert {"ember-2026", "gsf-cloud"} == {source.id for source in one.sources}
    assert pytest.approx(1.1 * made.KWH) == sum(hour.energy_j.mid for hour in one.hours)
    assert "GPUs and processors" in one.boundary
    assert one.lost_j is None


def test_what_is_not_known_is_none():
    ledger = MemoryLedger()
    run = made.enter(ledger, "running", None)

    one = account(ledger, run)

    assert (None, None, None, None, None, ()) == (
        one.whole, one.training, one.location_g, one.measured_share, one.ended_ns, one.sites,
    )  # fmt: skip
    assert {"running": (1, None)} == outcomes(one)
    assert "not known" in one.notes[0]
    trained = (one.trained.tokens, one.trained.flops, one.trained.parameters, one.trained.training_type, one.place)
    assert (None,) * 5 == trained


def test_a_study_holds_failed_and_preliminary_attempts():
    """Done: 120 + 140 + 70 J; preliminary, of an earlier recipe: 55 J; failed: 30 J."""
    one = account(made.a_study(), "mine")

    assert {"done": (3, 330.0), "preliminary": (1, 55.0), "failed": (1, 30.0)} == outcomes(one)
    assert ["done", "preliminary", "failed"] == list(outcomes(one))
    assert pytest.approx(415.0) == one.whole.energy_j.mid
    assert pytest.approx(280.0) == one.training.energy_j.mid
    assert pytest.approx(85.0) == one.lost_j.mid
    assert {"train": 360.0, "evaluate": 55.0} == pytest.approx(
        {phase.name: phase.footprint.energy_j.mid for phase in one.phases}
    )
    assert "Does the smaller one do?" == one.question
    assert (3000.0, 3e12, 30) == (one.trained.tokens, one.trained.flops, one.trained.steps)
    assert ("fine-tuning", ("bert", "distilbert"), ("native",)) == (
        one.trained.training_type, one.trained.models, one.trained.tokenizers,
    )  # fmt: skip
    assert ("question-answering",) == one.trained.tasks


def test_arms_are_means_of_one_training():
    one = account(made.a_study(), "mine")

    assert {"bert/native": (2, 110.0, 10.0), "distilbert/native": (1, 60.0, 10.0)} == {
        arm.id: (arm.trials, arm.energy_j.mid, arm.duration_s.mid) for arm in one.arms
    }


def test_quality_of_seeds_is_a_range_and_of_one_seed_an_interval_over_paragraphs():
    """Of one seed: two paragraphs that are off by -20 and +20 in sum; √(2/1 × 800) / 4 = 10; ± 1.6449 × 10."""
    one = account(made.a_study(), "mine")
    found = {(q.subject, q.metric, q.split): q for q in one.qualities}

    several = found["bert/native", "f1", "validation"]
    assert (60.0, 60.5, 61.0, 2, 4) == (several.low, several.mid, several.high, several.trials, several.questions)
    single = found["distilbert/native", "f1", "validation"]
    assert pytest.approx((60.0 - 16.449, 60.0, 60.0 + 16.449)) == (single.low, single.mid, single.high)
    assert (None, None) == (found["distilbert/native", "em", "validation"].low,) * 2


def test_an_attempt_inside_another_counts_once():
    ledger = MemoryLedger()
    inner = made.document({"train": made.energy(0.5 * made.KWH, seconds=1800.0)}, within="outer")
    outer = made.document({"other": made.energy(1.0 * made.KWH)})
    made.enter(ledger, "outer", outer, attempt_id="outer", study="both")
    made.enter(ledger, "inner", inner, study="both", seconds=1800.0)

    one = account(ledger, "both")

    assert pytest.approx(1.0 * made.KWH) == one.whole.energy_j.mid
    assert pytest.approx(0.5 * made.KWH) == one.counted_twice_j
    assert pytest.approx(60.0) == one.whole.operational_g.mid
    assert pytest.approx(3600.0) == one.whole.duration_s.mid
    assert pytest.approx(7.2) == one.whole.embodied_g.mid


def test_two_jobs_at_the_same_time_on_one_machine_count_once():
    ledger = MemoryLedger()
    for name in ("a", "b"):
        made.enter(ledger, name, made.document({"train": made.energy(made.KWH)}), study="both")

    one = account(ledger, "both")

    assert pytest.approx(made.KWH) == one.whole.energy_j.mid == sum(o.energy_j.mid for o in one.outcomes)
    assert pytest.approx(3600.0) == one.whole.duration_s.mid


def test_a_training_that_was_taken_up_again_is_one_training():
    ledger = MemoryLedger()
    first = {"framework": "transformers 5.0", "total_flos": None}
    again = {"framework": "transformers 5.0", "resumed_at_step": 50, "total_flos": 2e15}
    for number, (notes, status) in enumerate(((first, "interrupted"), (again, "done"))):
        began_ns = made.BEGAN_NS + number * 2 * made.HOUR_NS
        doc = made.document({"train": made.energy(made.KWH)}, notes=notes, tokens=1000, steps=50, began_ns=began_ns)
        run = made.enter(ledger, "long", doc, status=status, key="long", began_ns=began_ns)

    one = account(ledger, run)

    assert pytest.approx(2 * made.KWH) == one.training.energy_j.mid
    assert (2000.0, 100, 2e15) == (one.trained.tokens, one.trained.steps, one.trained.flops)
    assert one.lost_j is None


def test_a_failed_run_has_lost_its_energy():
    ledger = MemoryLedger()
    run = made.enter(ledger, "broken", made.document({"train": made.energy(made.KWH)}), status="failed")

    assert pytest.approx(made.KWH) == account(ledger, run).lost_j.mid


def test_another_site_prices_everything_anew():
    ledger, run = made.one_run()
    there = replace(made.SITE, id="pol", name="Poland", intensity_g_per_kwh=Estimate.exact(500.0, "catalogue"))

    assert pytest.approx(660.0) == account(ledger, run, there).whole.operational_g.mid


def test_attempts_at_several_sites_are_priced_where_they_ran():
    ledger = MemoryLedger()
    other = replace(made.SITE, id="swe", name="Sweden", intensity_g_per_kwh=Estimate.exact(10.0, "catalogue"))
    for number, site in enumerate((made.SITE, other)):
        began_ns = made.BEGAN_NS + number * 2 * made.HOUR_NS
        doc = made.document({"train": made.energy(made.KWH)}, site=site, began_ns=began_ns)
        made.enter(ledger, site.id, doc, study="both", began_ns=began_ns)

    one = account(ledger, "both")

    assert pytest.approx(60.0 + 12.0) == one.whole.operational_g.mid
    assert (None, None, 2) == (one.site, one.place, len(one.sites))
    assert any("2 sites" in note for note in one.notes)


def test_an_undeclared_site_is_no_place():
    ledger, run = made.one_run(site=CATALOGUE.unknown_site())

    one = account(ledger, run)

    assert one.place is None
    assert any("world average" in note for note in one.notes)


def test_a_cloud_region_has_provider_and_country():
    ledger, run = made.one_run(site=CATALOGUE.site("gcp-europe-west1"))

    place = account(ledger, run).place

    assert ("Google Cloud", "europe-west1", "BEL", True) == (
        place.provider, place.region, place.country_code, place.cloud,
    )  # fmt: skip


def test_a_market_factor_changes_the_market_figure_alone():
    """1.1 kWh × 1.2 × 10 g/kWh = 13.2 g."""
    ledger, run = made.one_run()

    one = account(ledger, run, market=Market(Estimate.exact(10.0, "assumed"), "a contract"))

    assert pytest.approx(13.2) == one.market_g.mid
    assert pytest.approx(66.0) == one.location_g.mid


def test_an_imported_run_has_its_own_figures_and_no_more():
    ledger, _ = made.one_run()
    held = ledger.attempts(ledger.runs()[0].id)[0].document
    run = made.enter(ledger, "imported", {"footprint": held["footprint"]})

    one = account(ledger, run)

    assert pytest.approx(66.0) == one.whole.operational_g.mid
    assert ((), ()) == (one.sites, one.devices)


def test_carbon_that_another_program_recorded_stays_as_it_recorded_it():
    """Recorded: 100 g, whatever its energy at its site would come to; priced anew where the reader names a site."""
    ledger, _ = made.one_run()
    held = dict(ledger.attempts(ledger.runs()[0].id)[0].document)
    held["footprint"] = held["footprint"] | {"operational_g": made.EXACT(100.0, "modelled").as_dict()}
    run = made.enter(ledger, "imported", held)

    assert pytest.approx(100.0) == account(ledger, run).whole.operational_g.mid
    assert pytest.approx(66.0) == account(ledger, run, made.SITE).whole.operational_g.mid


@pytest.mark.parametrize("name", ["finetnue", "", "nothing at all"])
def test_a_name_that_is_not_there_is_refused(name):
    ledger, _ = made.one_run()

    with pytest.raises(SettingError, match="run or study") as caught:
        account(ledger, name)
    assert ("'finetune'" in str(caught.value)) == (name == "finetnue")


@pytest.mark.parametrize("hostile", made.HOSTILE)
def test_a_hostile_name_is_kept_as_it_is(hostile):
    ledger, run = made.one_run(hostile)

    assert hostile == account(ledger, run).title


def test_all_exports_are_there():
    assert {
        "model-card", "sci", "ghg", "neurips", "latex", "bibtex", "boamps", "eu-ai-act", "cyclonedx", "spdx",
    } == set(EXPORTS)  # fmt: skip
