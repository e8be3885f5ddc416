"""SPDX 3.0.1: what the AI profile requires, and kWh against figures that were worked out by hand."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.exports import account_of
from lowcarb.report.exports.spdx import render_spdx

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("export_ledgers", HERE / "export_ledgers.py")
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)
_spec = importlib.util.spec_from_file_location("published", HERE / "published.py")
published = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(published)
jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
CATALOGUE = Catalogue.load()


def one_of(document, kind):
    return next(one for one in document["@graph"] if one["type"] == kind)


def test_a_run_by_hand():
    """3.6 MJ of cards and 0.36 MJ of processor are 1.1 kWh."""
    document = json.loads(render_spdx(account_of(*made.one_run(), CATALOGUE)))

    consumption = one_of(document, "ai_AIPackage")["ai_energyConsumption"]
    described = consumption["ai_trainingEnergyConsumption"][0]
    assert pytest.approx(1.1) == described["ai_energyQuantity"]
    assert "kilowattHour" == described["ai_energyUnit"]
    statement = one_of(document, "Annotation")["statement"]
    assert "Measured share: 0.9091" in statement
    assert "Not in it" in statement
    assert "mid 66," in statement


def test_what_is_required_is_there_and_every_reference_leads_somewhere():
    document = json.loads(render_spdx(account_of(made.a_study(), "mine", CATALOGUE)))

    assert {"specVersion", "created", "createdBy"} <= set(one_of(document, "CreationInfo"))
    elements = [one for one in document["@graph"] if one["type"] != "CreationInfo"]
    ids = {one["spdxId"] for one in elements}
    assert len(elements) == len(ids)
    assert all(one["creationInfo"] == one_of(document, "CreationInfo")["@id"] for one in elements)
    root = one_of(document, "SpdxDocument")
    assert set(root["element"]) | set(root["rootElement"]) | {one_of(document, "Annotation")["subject"]} <= ids


@pytest.mark.parametrize("account", [made.one_run(), (made.a_study(), "mine")], ids=["run", "study"])
def test_the_published_schema_takes_it(account):
    published.validate("spdx", json.loads(render_spdx(account_of(*account, CATALOGUE))))


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("ai_AIPackage", "ai_energyConsumption", {"type": "ai_EnergyConsumption", "ai_trainingEnergyConsumption": [
            {"type": "ai_EnergyConsumptionDescription", "ai_energyQuantity": 1.1, "ai_energyUnit": "joule"}]}),
        ("ai_AIPackage", "builtTime", "2026-01-01 01:00:00"),
        ("ai_AIPackage", "software_primaryPurpose", "weights"),
        ("ai_AIPackage", "ai_domain", "question-answering"),
        ("ai_AIPackage", "carbon", 66.0),
        ("Annotation", "subject", None),
        ("CreationInfo", "specVersion", "3"),
    ],
)  # fmt: skip
def test_the_published_schema_refuses_what_is_wrong(kind, field, value):
    document = json.loads(render_spdx(account_of(*made.one_run(), CATALOGUE)))
    one_of(document, kind)[field] = value

    with pytest.raises(jsonschema.ValidationError):
        published.validate("spdx", document)


def test_no_conformance_is_claimed_that_needs_facts_of_the_publisher():
    """SPDX 3.0.1, AI: two licence relationships a package; AIPackage: supplier, version, location, release time."""
    root = one_of(json.loads(render_spdx(account_of(*made.one_run(), CATALOGUE))), "SpdxDocument")

    assert "ai" not in root["profileConformance"]
    assert "licence" in root["comment"]


def test_the_object_model_takes_it():
    model = pytest.importorskip("spdx_python_model.bindings.v3_0_1.model", reason="spdx-python-model is not installed")
    objects = model.SHACLObjectSet()

    text = render_spdx(account_of(made.a_study(), "mine", CATALOGUE))
    model.JSONLDDeserializer().read(io.BytesIO(text.encode()), objects)

    assert 1 == len(list(objects.foreach_type(model.ai_AIPackage)))


def test_unknown_energy_stays_out():
    ledger = MemoryLedger()
    document = json.loads(render_spdx(account_of(ledger, made.enter(ledger, "unmetered", None), CATALOGUE)))

    assert "ai_energyConsumption" not in one_of(document, "ai_AIPackage")


@pytest.mark.parametrize("name", made.HOSTILE)
def test_hostile_names_survive(name):
    text = render_spdx(account_of(*made.one_run(name=name), CATALOGUE))

    assert name.replace("\ud800", "?") == one_of(json.loads(text), "ai_AIPackage")["name"]
    assert text == render_spdx(account_of(*made.one_run(name=name), CATALOGUE))
