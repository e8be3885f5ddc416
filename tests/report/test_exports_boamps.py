"""BoAmps: valid by the schema, and each figure against one that was worked out by hand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.core.estimate import Estimate
from lowcarb.errors import SettingError
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.exports import account_of
from lowcarb.report.exports.boamps import quality_of, render_boamps

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
    published.validate("boamps", document)


def test_a_run_by_hand():
    """1 kWh of cards and 0.1 kWh of processor are 1.1 kWh; an hour; 110 million parameters are 0.11 billion."""
    document = json.loads(render_boamps(account_of(*made.one_run(), CATALOGUE)))

    validate(document)
    measure = document["measures"][0]
    assert pytest.approx(1.1) == measure["powerConsumption"]
    assert pytest.approx(3600.0) == measure["measurementDuration"]
    assert "2026-01-01 00:00:00" == measure["measurementDateTime"]
    assert "2026-01-01 01:00:00" == document["header"]["reportDatetime"]
    assert pytest.approx(0.11) == document["task"]["algorithms"][0]["parametersNumber"]
    assert ("France", 50.0) == (
        document["environment"]["country"], document["environment"]["powerSourceCarbonIntensity"],
    )  # fmt: skip
    assert "high" == document["quality"]  # 1.1 - 0.05 to 1.1 + 0.1: within 10 %
    assert "Measured share: 0.9091" in document["task"]["taskDescription"]
    assert "Not in it" in document["task"]["taskDescription"]


def test_memory_of_the_machine_is_a_component_of_its_own():
    """64 GiB are 68.7 GB, of 80 GiB cards each has 85.9 GB; a processor has none."""
    document = json.loads(render_boamps(account_of(*made.one_run(), CATALOGUE)))
    parts = {one["componentType"]: one for one in document["infrastructure"]["components"]}

    assert "memorySize" not in parts["cpu"]
    assert (2, 86) == (parts["gpu"]["nbComponent"], parts["gpu"]["memorySize"])
    assert (1, 69) == (parts["ram"]["nbComponent"], parts["ram"]["memorySize"])


def test_a_study_of_several_models_has_no_one_accuracy():
    assert "measuredAccuracy" not in json.loads(render_boamps(account_of(made.a_study(), "mine", CATALOGUE)))["task"]


def test_one_model_has_its_accuracy():
    """EM of 30 and 30.5 % of 100, on the mean of two seeds."""
    ledger = made.a_study(arms=(made.BIG, made.BIG))
    task = json.loads(render_boamps(account_of(ledger, "mine", CATALOGUE)))["task"]

    assert pytest.approx(0.3025, abs=0.003) == task["measuredAccuracy"]


def test_what_nobody_knows_to_be_a_training_is_not_called_one():
    ledger = MemoryLedger()
    doc = made.document({"body": made.energy(cpu_j=3.6e6)})
    task = json.loads(render_boamps(account_of(ledger, made.enter(ledger, "sleep", doc), CATALOGUE)))["task"]

    assert ("not known", "not known") == (task["taskStage"], task["taskFamily"])


@pytest.mark.parametrize("part", ["task", "measures", "infrastructure"])
def test_the_schema_refuses_a_report_without(part):
    document = json.loads(render_boamps(account_of(*made.one_run(), CATALOGUE)))
    del document[part]

    with pytest.raises(jsonschema.ValidationError):
        validate(document)


def test_a_study_is_valid_and_always_the_same():
    account = account_of(made.a_study(), "mine", CATALOGUE)

    validate(json.loads(render_boamps(account)))
    assert render_boamps(account) == render_boamps(account)


@pytest.mark.parametrize(("ratio", "word"), [(1.1, "high"), (1.2, "medium"), (1.5, "low"), (1.6, None)])
def test_quality_by_the_width_of_the_interval(ratio, word):
    assert word == quality_of(Estimate.around(1.0, ratio, "modelled"))


def test_without_energy_there_is_no_report():
    ledger = MemoryLedger()
    run = made.enter(ledger, "unmetered", None)

    with pytest.raises(SettingError, match="energy"):
        render_boamps(account_of(ledger, run, CATALOGUE))


@pytest.mark.parametrize("name", made.HOSTILE)
def test_hostile_names_survive(name):
    document = json.loads(render_boamps(account_of(*made.one_run(notes={"model": name}), CATALOGUE)))

    validate(document)
    assert name.replace("\ud800", "?") == document["task"]["algorithms"][0]["algorithmName"]
