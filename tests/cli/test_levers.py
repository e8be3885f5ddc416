"""`lowcarb levers`: the library as a list, one lever in full, and both as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lowcarb.cli.app import run
from lowcarb.cli.levers import levers
from lowcarb.core.levers import LEVERS
from lowcarb.errors import SettingError


def test_the_list_has_every_lever(capsys):
    assert 0 == levers()

    shown = capsys.readouterr().out
    assert all(f"\n{name}" in shown for name in LEVERS)


def test_one_lever_is_told_with_claim_conflicts_and_drawbacks(capsys):
    levers("freeze-layers=3")

    shown = " ".join(capsys.readouterr().out.split())
    lever = LEVERS["freeze-layers"]
    assert all(word in shown for word in (lever.title, "lora", "assumed", *lever.drawbacks, *lever.claim.sources))


def test_json_has_all_that_is_known_of_a_lever(capsys):
    levers("bf16", json=True)

    found = json.loads(capsys.readouterr().out)
    (one,) = found["levers"]
    assert (1, "levers") == (found["schema_version"], found["kind"])
    assert ["fp16", "fp8"] == one["conflicts"]
    assert {"low", "mid", "high", "basis"} == set(one["claim"]["energy_ratio"]) == set(one["claim"]["quality_change"])
    assert one["drawbacks"]
    assert one["needs"]
    assert "arXiv:1905.12322" in one["claim"]["sources"]


def test_json_of_all_is_one_document(capsys):
    levers(json=True)

    assert list(LEVERS) == [one["id"] for one in json.loads(capsys.readouterr().out)["levers"]]


def test_a_lever_that_there_is_not_is_refused_with_what_is_near():
    with pytest.raises(SettingError, match="did you mean bf16"):
        levers("bf61")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("recipe.frozen_layers=9", "below 6, the model's layers"),
        ("levers=[fp16]", "fp16"),
        ("levers=[freeze-layers=7]", "below 6, the model's layers"),
    ],
)
def test_what_the_model_or_this_machine_cannot_do_is_named_before_anything_trains(changes, said, capsys):
    torch = pytest.importorskip("torch", reason="the lab extra is not installed")
    if torch.cuda.is_available():
        pytest.skip("this machine computes in fp16")

    code = run(["study", "check", str(Path(__file__).parents[2] / "studies" / "mini.yaml"), "--set", changes])

    assert code == 2
    assert said in "".join(capsys.readouterr())
