"""`lowcarb catalogue`: entries, near misses, published figures and their forecasts."""

from __future__ import annotations

import json

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.cli.app import run


@pytest.fixture
def lowcarb(capsys):
    """Run a command in this process: exit code, stdout, stderr."""

    def command(*arguments):
        code = run(["catalogue", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.mark.parametrize("kind", ["devices", "sites", "models", "published", "sources"])
def test_every_kind_lists_all_its_entries(lowcarb, kind):
    code, out, _ = lowcarb(kind, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema_version"] == 1
    assert len(document[kind]) == len(tuple(getattr(Catalogue.load(), kind)()))


@pytest.mark.parametrize(
    ("kind", "name", "id_"),
    [
        ("devices", "TPUv4", "tpu-v4"), ("sites", "France", "fra"),
        ("models", "meta-llama/Llama-3.1-405B", "llama3.1-405b"),
        ("published", "GPT-3", "gpt3-175b"), ("sources", "patterson-2021", "patterson-2021"),
    ],
)  # fmt: skip
def test_one_entry_is_shown_in_full(lowcarb, kind, name, id_):
    code, out, _ = lowcarb(kind, name, "--json")
    assert code == 0
    assert json.loads(out)["id"] == id_
    code, out, _ = lowcarb(kind, name)
    assert code == 0
    assert id_ in out


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [
        ("devices", "a100-sxm-4", "a100-sxm4"), ("sites", "Frnace", "france"),
        ("models", "llama-3.1-405", "llama-3.1-405b"),
        ("published", "blom", "bloom"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_answered_with_the_nearest(lowcarb, kind, name, near):
    code, out, err = lowcarb(kind, name)
    assert code == 2
    assert out == ""
    assert near in " ".join(err.split())


def test_a_processor_is_shown_by_the_name_that_linux_gives_it(lowcarb):
    code, out, _ = lowcarb("cpus", "AMD EPYC 7763 64-Core Processor", "--json")
    assert code == 0
    assert json.loads(out)["tdp_w"] == 280
    code, _, err = lowcarb("cpus", "AMD EPYC 77633")
    assert code == 2
    assert "amd epyc 7763" in " ".join(err.split())


@pytest.mark.parametrize(("kind", "id_"), [("memory", "dram"), ("tasks", "squad")])
def test_short_tables_are_listed(lowcarb, kind, id_):
    code, out, _ = lowcarb(kind, "--json")
    assert code == 0
    assert id_ in {one["id"] for one in json.loads(out)[kind]}
    assert lowcarb(kind, id_)[0] == lowcarb(kind)[0] == 0


def test_a_models_footprint_is_its_published_figures_beside_the_forecasts(lowcarb):
    code, out, _ = lowcarb("models", "bloom", "--footprint", "--json")
    document = json.loads(out)
    assert code == 0
    rows = {row["quantity"]: row for row in document["footprints"]}
    assert set(rows) == {"hours", "energy", "carbon"}
    assert rows["hours"]["published"] == 1_082_990
    assert set(rows["hours"]["forecast"]) == {"low", "mid", "high", "basis"}
    assert rows["carbon"]["error"] == pytest.approx(rows["carbon"]["forecast"]["mid"] / rows["carbon"]["published"] - 1)
    assert "calibrated" in document["note"]


def test_all_footprints_are_printed_with_a_summary(lowcarb):
    code, out, _ = lowcarb("models", "--footprint")
    assert code == 0
    for one in Catalogue.load().published():
        assert one.name.split()[0] in out
    assert "in the median" in out


def test_the_page_is_written_with_its_figure(lowcarb, tmp_path):
    target = tmp_path / "page.md"
    code, out, err = lowcarb("models", "--footprint", "--page", str(target))
    assert code == 0
    assert out == ""
    assert "page.md" in err
    assert "(page.svg)" in target.read_text(encoding="utf-8")
    assert (tmp_path / "page.svg").read_text(encoding="utf-8").startswith("<svg")


def test_a_page_that_cannot_be_written_is_refused(lowcarb, tmp_path):
    code, _, err = lowcarb("models", "--footprint", "--page", str(tmp_path / "no" / "such.md"))
    assert code == 2
    assert "--page" in err


def test_a_page_without_footprints_is_refused(lowcarb, tmp_path):
    code, _, err = lowcarb("models", "--page", str(tmp_path / "page.md"))
    assert code == 2
    assert "--footprint" in err


def test_an_entry_is_told_in_units_that_people_read(lowcarb):
    out = lowcarb("devices", "t4")[1]
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert lines["memory"].endswith("16 GB")
    assert lines["bandwidth"].endswith("320 GB/s")
    assert "4 (3 to 6) years, assumed" in lines["lifetime"]
    assert "fp32 8.141, fp16 65 TFLOP/s" in lines["peak"]
    assert "e+" not in out


def test_what_is_unknown_has_no_unit(lowcarb):
    assert "price                    unknown" in lowcarb("sites", "fra")[1]


def test_processors_can_be_listed_as_the_message_says(lowcarb):
    code, out, _ = lowcarb("cpus", "--json")
    assert code == 0
    assert len(json.loads(out)["cpus"]) == len(set(Catalogue.load().cpu_names()))


def test_a_part_of_a_name_leads_to_the_whole(lowcarb):
    code, _, said = lowcarb("cpus", "8275CL")
    assert code == 2
    assert "did you mean" in said
    assert "8275cl" in said.lower()
