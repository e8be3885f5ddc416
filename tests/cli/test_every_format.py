"""Every form of a report and of the ledger's export, through the command, on a study that was really trained.

`tests/report/recorded/mini.jsonl.gz` is the ledger that `make study` left on 2026-11-24 (the one `lowcarb demo` shows),
as `lowcarb ledger export --format jsonl` writes it.
"""

from __future__ import annotations

import csv
import gzip
import importlib
import importlib.util
import io
import json
import re
from pathlib import Path

import pytest

from lowcarb.cli.app import run as command
from lowcarb.cli.report import FORMATS
from lowcarb.ledger import open_ledger
from lowcarb.ledger.exchange.out import FORMATS as EXPORT_FORMATS
from lowcarb.report.exports import EXPORTS

REPORT = Path(__file__).parents[1] / "report"
STUDY_J, STUDY_KWH = 9098.150843, 0.002527264
"""Of the recorded study, as the ledger's list says; over 3.6e6 J/kWh."""
ATTEMPTS = 8


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made, published = _module(REPORT / "export_ledgers.py"), _module(REPORT / "published.py")


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A ledger with the recorded study, a run, and a study with a failed and a preliminary attempt."""
    folder = tmp_path_factory.mktemp("recorded")
    lines = folder / "mini.jsonl"
    lines.write_bytes(gzip.decompress((REPORT / "recorded" / "mini.jsonl.gz").read_bytes()))
    path = folder / "ledger.db"
    assert 0 == command(["ledger", "import", str(lines), "--ledger", str(path)])
    ledger = open_ledger(path)
    made.one_run("finetune", ledger)
    made.a_study("mine", ledger)
    ledger.close()
    return path


@pytest.fixture
def cli(book, capsys):
    """Exit code and stdout of a command on that ledger."""

    def call(*words):
        capsys.readouterr()
        code = command([*map(str, words), "--ledger", str(book)])
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return code, shown.out

    return call


@pytest.mark.parametrize("name", FORMATS)
def test_every_report_of_the_recorded_study(cli, name):
    code, out = cli("report", "mini", "--format", name)

    assert 0 == code
    assert name == "bibtex" or re.search(r"kJ|kWh|MWh|energy_j|grams", out)


@pytest.mark.parametrize("name", [one for one in FORMATS if one != "csv"])
def test_every_report_of_a_run(cli, name):
    assert 0 == cli("report", "finetune", "--format", name)[0]


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("subject", ["mini", "finetune", "mine"])
def test_every_export_names_its_boundary_and_its_measured_share(cli, name, subject):
    out = cli("report", subject, "--format", name)[1]

    assert "The energy is that of" in out
    assert "Not in it" in out
    assert re.search(r"\d+ ?\\?% measured", out)


@pytest.mark.parametrize("name", [one for one in EXPORTS if one != "bibtex"])
def test_every_export_tells_of_attempts_that_failed_or_that_no_result_rests_on(cli, name):
    out = cli("report", "mine", "--format", name)[1].lower()

    assert "failed" in out
    assert "preliminary" in out


def test_one_energy_in_all_of_them(cli):
    """The same joules in kWh, MWh, kWh once more and, by number and unit, in text."""
    cyclonedx, boamps, sci, ghg = (
        json.loads(cli("report", "mini", "--format", name)[1]) for name in ("cyclonedx", "boamps", "sci", "ghg")
    )
    spdx = json.loads(cli("report", "mini", "--format", "spdx")[1])["@graph"]
    considered = cyclonedx["metadata"]["component"]["modelCard"]["considerations"]["environmentalConsiderations"]
    package = next(one for one in spdx if one["type"] == "ai_AIPackage")

    told = [
        considered["energyConsumptions"][0]["activityEnergyCost"]["value"],
        boamps["measures"][0]["powerConsumption"],
        sci["machine_energy_kwh"]["mid"],
        ghg["machine_energy_kwh"]["mid"],
        package["ai_energyConsumption"]["ai_trainingEnergyConsumption"][0]["ai_energyQuantity"],
    ]
    assert told == pytest.approx([STUDY_KWH] * 5, rel=1e-6)
    assert "2.53e-06" in cli("report", "mini", "--format", "eu-ai-act")[1]
    assert "9.1 kJ (2.7" in cli("report", "mini", "--format", "neurips")[1]


def test_one_carbon_in_all_of_them(cli):
    """2.527264 Wh × PUE 1.54 × 458.29 g/kWh = 1.78366 g: grams in a card, tonnes in a bill of materials."""
    grams = STUDY_KWH * 1.54 * 458.29
    ghg, sci, cyclonedx = (
        json.loads(cli("report", "mini", "--format", name)[1]) for name in ("ghg", "sci", "cyclonedx")
    )
    considered = cyclonedx["metadata"]["component"]["modelCard"]["considerations"]["environmentalConsiderations"]

    assert pytest.approx(grams, rel=1e-6) == ghg["location_based"]["g"]["mid"]
    assert pytest.approx(grams, rel=1e-6) == sci["O_g"]["mid"]
    assert pytest.approx(grams / 1e6, rel=1e-6) == considered["energyConsumptions"][0]["co2CostEquivalent"]["value"]
    assert "  emissions: 1.784 " in cli("report", "mini", "--format", "model-card")[1]
    assert "tCO2eq, assumed" in json.dumps(considered)


@pytest.mark.parametrize("subject", ["mini", "finetune", "mine"])
@pytest.mark.parametrize("name", published.SCHEMAS)
def test_forms_hold_against_the_published_schemas(cli, name, subject):
    published.validate(name, json.loads(cli("report", subject, "--format", name)[1]))


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_every_export_of_the_ledger(cli, tmp_path, name):
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    path = tmp_path / f"out.{name}"

    assert 0 == cli("ledger", "export", "--format", name, "--study", "mini", "-o", path)[0]
    energies_j = _energies_j(name, path)
    assert ATTEMPTS == len(energies_j)
    assert pytest.approx(STUDY_J, rel=1e-6) == sum(energies_j)


def _energies_j(name, path):
    """Energy of each attempt in a file [J]; of CodeCarbon's columns without the building's share."""
    if name == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        attempts = [attempt for row in rows if "run" in row for attempt in row["attempts"]]
        return [attempt["document"]["footprint"]["energy_j"]["mid"] for attempt in attempts]
    if name == "parquet":
        parquet = importlib.import_module("pyarrow.parquet")
        return parquet.read_table(path).column("energy_j_mid").to_pylist()
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    if name == "codecarbon":
        return [float(row["energy_consumed"]) * 3.6e6 / float(row["pue"]) for row in rows]
    return [float(row["energy_j_mid"]) for row in rows]


def test_what_went_out_as_lines_is_the_recording_again(cli, tmp_path):
    path = tmp_path / "again.jsonl"
    cli("ledger", "export", "--format", "jsonl", "--study", "mini", "-o", path)
    before = gzip.decompress((REPORT / "recorded" / "mini.jsonl.gz").read_bytes()).decode()

    assert sorted(before.splitlines()) == sorted(path.read_text().splitlines())
