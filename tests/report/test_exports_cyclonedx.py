"""CycloneDX: valid by the published schema, and kWh and tonnes against figures that were worked out by hand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.exports import account_of
from lowcarb.report.exports.cyclonedx import render_cyclonedx

jsonschema = pytest.importorskip("jsonschema")
HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("export_ledgers", HERE / "export_ledgers.py")
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)
_spec = importlib.util.spec_from_file_location("published", HERE / "published.py")
published = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(published)
CATALOGUE = Catalogue.load()


def validate(document):
    published.validate("cyclonedx", document)


def environment(document):
    card = document["metadata"]["component"]["modelCard"]
    return card["considerations"]["environmentalConsiderations"]


def test_a_run_by_hand():
    """1.1 kWh; 1.1 × PUE 1.2 × 50 g/kWh = 66 g = 0.000066 t."""
    document = json.loads(render_cyclonedx(account_of(*made.one_run(), CATALOGUE)))

    validate(document)
    one = environment(document)["energyConsumptions"][0]
    assert ("training", "kWh", "tCO2eq") == (
        one["activity"], one["activityEnergyCost"]["unit"], one["co2CostEquivalent"]["unit"],
    )  # fmt: skip
    assert pytest.approx((1.1, 6.6e-5)) == (one["activityEnergyCost"]["value"], one["co2CostEquivalent"]["value"])
    told = {entry["name"]: entry["value"] for entry in one["properties"]}
    assert "0.9091" == told["lowcarb:measuredShare"]
    assert "Not in it" in told["lowcarb:boundary"]


def test_the_schema_refuses_kilograms():
    document = json.loads(render_cyclonedx(account_of(*made.one_run(), CATALOGUE)))
    environment(document)["energyConsumptions"][0]["co2CostEquivalent"]["unit"] = "kgCO2eq"

    with pytest.raises(jsonschema.ValidationError):
        validate(document)


def test_the_serial_number_follows_from_the_content():
    first, again = (render_cyclonedx(account_of(*made.one_run(), CATALOGUE)) for _ in range(2))
    other = render_cyclonedx(account_of(*made.one_run(tokens=1, name="other"), CATALOGUE))

    assert first == again
    assert json.loads(first)["serialNumber"] != json.loads(other)["serialNumber"]


def test_the_span_of_two_seeds_is_no_confidence_interval():
    document = json.loads(render_cyclonedx(account_of(made.a_study(), "mine", CATALOGUE)))
    metrics = document["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    several = next(one for one in metrics if "bert/native, validation" in one["slice"] and one["type"] == "f1")
    single = next(one for one in metrics if "distilbert/native, validation" in one["slice"] and one["type"] == "f1")

    assert "confidenceInterval" not in several
    assert "60 to 61, lowest to highest of 2 seeds" in several["slice"]
    assert {"lowerBound", "upperBound"} == set(single["confidenceInterval"])


def test_the_interval_of_the_carbon_is_told():
    document = json.loads(render_cyclonedx(account_of(*made.one_run(), CATALOGUE)))
    told = {one["name"]: one["value"] for one in environment(document)["energyConsumptions"][0]["properties"]}

    # 1.05 to 1.2 kWh × PUE 1.2, which is assumed, × 50 g/kWh
    assert "6.3e-05 to 7.2e-05 tCO2eq, assumed" == told["lowcarb:carbonInterval"]


def test_a_study_is_valid():
    validate(json.loads(render_cyclonedx(account_of(made.a_study(), "mine", CATALOGUE))))


def test_unknown_energy_stays_out():
    ledger = MemoryLedger()
    document = json.loads(render_cyclonedx(account_of(ledger, made.enter(ledger, "unmetered", None), CATALOGUE)))

    validate(document)
    assert "energyConsumptions" not in environment(document)


@pytest.mark.parametrize("name", made.HOSTILE)
def test_hostile_names_survive(name):
    document = json.loads(render_cyclonedx(account_of(*made.one_run(name=name), CATALOGUE)))

    validate(document)
    assert name.replace("\ud800", "?") == document["metadata"]["component"]["name"]
