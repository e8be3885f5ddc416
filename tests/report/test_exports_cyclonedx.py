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
referencing = pytest.importorskip("referencing")
HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("export_ledgers", HERE / "export_ledgers.py")
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)
CATALOGUE = Catalogue.load()


def validate(document):
    files = {path.name: json.loads(path.read_text()) for path in (HERE / "schemas").glob("cdx-*.json")}
    resources = [(one["$id"], referencing.Resource.from_contents(one)) for one in files.values()]
    # This copy of the schema refers to its neighbours by the names that they have in the package it came from.
    base = "http://cyclonedx.org/schema/"
    resources += [
        (f"{base}{name}.SNAPSHOT.schema.json", referencing.Resource.from_contents(files[f"cdx-{name}.schema.json"]))
        for name in ("spdx", "jsf-0.82")
    ]
    registry = referencing.Registry().with_resources(resources)
    jsonschema.Draft7Validator(files["cdx-bom-1.6.schema.json"], registry=registry).validate(document)


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
