"""A study with levers, from its file to its tables: each lever alone, the stack, and each lever on top of it."""

from __future__ import annotations

import json
import re

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.core.hardware import Machine
from lowcarb.lab.base import DryRunner
from lowcarb.lab.data import Corpus
from lowcarb.lab.study import Bench, run_study
from lowcarb.lab.studyfile import read_study
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.ablation import ablation_table
from lowcarb.report.html import render_html
from lowcarb.report.markdown import render_markdown
from lowcarb.report.records import read_study as recorded
from lowcarb.report.study import study_document
from lowcarb.report.table import study_table
from lowcarb.sensors.replay import Replay

CATALOGUE = Catalogue.load()
SITE = CATALOGUE.site("fra")
FILE = """\
id: s
question: which lever?
data: {train: t.json, validation: v.json, adversarial: a.json}
models: [{id: bert, family: bert, source: "embedded:minilm"}]
seeds: [0, 1]
levers: [grouped-padding, bf16, packing, freeze-layers=3]
stack: [grouped-padding, bf16]
"""
LOST = 27.0
"""Points of F1 that freezing layers costs in these trials."""


def f1(trial):
    return 50.0 + trial.seed - LOST * any(lever.startswith("freeze-layers") for lever in trial.levers)


class Quiet:
    def progress(self, progress):
        pass

    def ended(self, trial, number, trials, status, error):
        assert "done" == status, error

    def skipped(self, trial, number, trials):
        raise AssertionError(f"{trial.name} has the key of another trial")


def run(tmp_path, text=FILE):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    ledger = MemoryLedger()
    machine = Machine("m", "M", (), 2, 1e9)
    bench = Bench(ledger, CATALOGUE, machine, SITE, (Replay.steady(20.0),), interval_s=0.1)
    assert run_study(read_study(path), Corpus((), (), ()), DryRunner(f1), bench, Quiet())
    return study_document(*recorded(ledger, "s"), CATALOGUE, SITE)


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    return run(tmp_path_factory.mktemp("study"))


def test_every_arm_of_the_axis_is_a_trial_of_its_own(document):
    assert 14 == len(document["trials"]) == len({trial["key"] for trial in document["trials"]})
    assert {"done"} == {trial["status"] for trial in document["trials"]}


def test_each_lever_is_compared_alone_and_on_top_of_the_stack(document):
    found = json.loads(json.dumps(document["ablation"], allow_nan=False))

    def pairs(name):
        return {one["lever"]: one[name] and (one[name]["arm"], one[name]["baseline"]) for one in found["levers"]}

    base = "bert/native"
    stack = f"{base}+grouped-padding+bf16"
    assert {lever: (f"{base}+{lever}", base) for lever in pairs("alone")} == pairs("alone")
    assert {
        "grouped-padding": (stack, f"{base}+bf16"),
        "bf16": (stack, f"{base}+grouped-padding"),
        "packing": None,
        "freeze-layers=3": (f"{base}+freeze-layers=3+grouped-padding+bf16", stack),
    } == pairs("on_top")
    assert (stack, base) == (found["whole"]["arm"], found["whole"]["baseline"])
    assert "packing conflicts with grouped-padding" == found["levers"][2]["conflict"]


def test_the_effect_of_a_lever_is_paired_and_carries_its_own_drawbacks(document):
    frozen = document["ablation"]["levers"][3]

    for one in (frozen["alone"], frozen["on_top"]):
        assert ("lever", 2, -LOST) == (one["factor"], one["pairs"], one["quality_change"]["mid"])
        assert "worse" == one["verdict"]
        assert any("lower layers" in drawback for drawback in one["drawbacks"])
    assert 0.0 == document["ablation"]["levers"][0]["alone"]["quality_change"]["mid"]


def test_the_claim_stands_beside_with_the_setting_it_is_of(document):
    claim = document["ablation"]["levers"][3]["claim"]

    assert "freeze-layers=1" == claim["of"]
    assert {"low", "mid", "high", "basis"} == set(claim["energy_ratio"])
    assert claim["where"]


def test_one_table_has_all_levers_and_the_whole_stack(document):
    table = ablation_table(document).plain

    assert [
        "Lever", "alone Carbon ratio", "alone Change of F1", "alone Verdict", "on the stack Carbon ratio",
        "on the stack Change of F1", "on the stack Verdict", "claimed Energy ratio", "claimed Change of F1",
    ] == list(table.columns)  # fmt: skip
    assert ["grouped-padding", "bf16", "packing", "freeze-layers=3", "the whole stack"] == [r[0] for r in table.rows]
    assert "packing conflicts with grouped-padding" == table.rows[2][6]
    assert re.match(r"[-−]27\.0", table.rows[3][2])


def test_the_table_is_in_markdown_html_and_on_the_terminal(document):
    markdown, page, shown = render_markdown(document), render_html(document), study_table(document)

    heading = "Levers on bert/native; the stack is grouped-padding, bf16"
    assert heading in markdown
    assert "| freeze-layers=3 |" in markdown
    assert heading == shown[-1].title
    assert 'id="levers"' in page
    assert heading in page
    assert "Where the claims come from" in page
    assert "The claim is for freeze-layers=1." in page


def test_a_study_without_levers_has_no_such_table(tmp_path):
    found = run(tmp_path, re.sub("(?m)^(levers|stack):.*$", "", FILE))

    assert found["ablation"] is None
    assert "Levers on" not in render_markdown(found)
    assert 'id="levers"' not in render_html(found)


def test_levers_without_a_stack_are_only_tried_alone(tmp_path):
    found = run(tmp_path, re.sub("(?m)^stack:.*$", "", FILE))

    assert [None] * 4 == [one["on_top"] for one in found["ablation"]["levers"]]
    assert not any("stack" in column for column in ablation_table(found).plain.columns)
    assert 4 == len(ablation_table(found).rows)


def test_one_seed_leaves_every_lever_undecided(tmp_path):
    found = run(tmp_path, FILE.replace("[0, 1]", "[0]"))

    verdicts = {one["alone"]["verdict"] for one in found["ablation"]["levers"]}
    assert {"undecided"} == verdicts
    assert "interval not known" in ablation_table(found).plain.rows[0][1]
