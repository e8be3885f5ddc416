"""EU AI Act: each field against one that was worked out by hand."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.core.units import s_from_hours
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.exports import account_of
from lowcarb.report.exports.eu_ai_act import eu_ai_act_document, range_of, render_eu_ai_act

_spec = importlib.util.spec_from_file_location("export_ledgers", Path(__file__).with_name("export_ledgers.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)
CATALOGUE = Catalogue.load()


def test_a_run_by_hand():
    """1.1 kWh = 0.00110 MWh, × 1.2 = 0.00132; an hour = 0.0417 days, of two cards 0.0833; 3e17 FLOP."""
    one = eu_ai_act_document(account_of(*made.one_run(), CATALOGUE))

    assert ("0.00110", "0.00132") == (one["training_energy"]["mwh"], one["training_energy"]["facility_mwh"][:7])
    assert ("10^17", "3.0e+17") == (one["training_compute"]["order_of_magnitude_flop"], one["training_compute"]["flop"])
    assert ("<1 month", "0.0417") == (one["training_time"]["range"], one["training_time"]["wall_clock_days"])
    assert one["training_time"]["hardware_days"].startswith("0.0833 (")
    assert pytest.approx(1.0 / 1.1) == one["measured_share"]
    assert 70 <= len(one["training_energy"]["methodology"].split()) <= 180


def test_inference_by_hand():
    """2 × 110e6 parameters × 100,000 tokens are 2.2e13 FLOP, and it is said that nothing was run."""
    one = eu_ai_act_document(account_of(*made.one_run(), CATALOGUE))["inference_compute"]

    assert "2.2e+13" == one["flop"]
    assert "100000 tokens" in one["methodology"]
    assert "nothing was run" in one["methodology"]


def test_inference_of_each_arm_by_its_shape():
    """Two layers 64 wide, feed-forward 128: 2 × 2 × (4 × 64² + 2 × 64 × 128) = 131,072 FLOP a token of matrices;
    attention over 384 tokens 2 × 2 × 384 × (64 + 64) = 196,608; two outputs a token 2 × 64 × 2 = 256.
    """
    one = eu_ai_act_document(account_of(made.a_study(), "mine", CATALOGUE))["inference_compute"]

    flop = 100_000 * (131_072 + 196_608 + 256)
    assert f"{flop:.1e} (bert/native); {flop:.1e} (distilbert/native)" == one["flop"]
    assert "in windows of 384 tokens" in one["methodology"]


def test_wall_clock_days_are_of_the_calendar_and_hardware_days_of_the_machines():
    """Two machines for the same hour: 0.0417 days by the clock, 0.0833 of machines with one processor each."""
    ledger = MemoryLedger()
    for node in ("a", "b"):
        doc = made.document({"train": made.energy(cpu_j=3.6e6)}) | {"node": node}
        run = made.enter(ledger, "two nodes", doc, attempt_id=node)
    one = eu_ai_act_document(account_of(ledger, run, CATALOGUE))["training_time"]

    assert "0.0417" == one["wall_clock_days"]
    assert one["hardware_days"].startswith("0.167 (NVIDIA")  # two cards in each


@pytest.mark.parametrize(
    ("days", "said"),
    [(30, "<1 month"), (31, "1-3 months"), (92, "3-6 months"), (180, "3-6 months"), (183, ">6 months")],
)
def test_ranges_of_training_time(days, said):
    assert said == range_of(s_from_hours(24.0 * days))


def test_the_level_names_what_the_energy_is_of():
    account = account_of(made.a_study(), "mine", CATALOGUE)

    assert "parts of a node (processors)" == eu_ai_act_document(account)["boundary"]["level"]


def test_what_is_not_known_says_what_is_missing():
    ledger = MemoryLedger()
    one = eu_ai_act_document(account_of(ledger, made.enter(ledger, "unmetered", None), CATALOGUE))

    for part in ("training_time", "training_compute", "training_energy", "inference_compute"):
        assert all(value.startswith("N/A: ") for value in one[part].values())


@pytest.mark.parametrize("name", made.HOSTILE)
def test_hostile_names_are_harmless_and_the_json_in_it_reads(name):
    account = account_of(*made.one_run(name=name), CATALOGUE)
    text = render_eu_ai_act(account)
    before, body, _ = re.split(r"\n`{3,}(?:json)?\n", text)

    assert name.replace("\ud800", "?") == json.loads(body)["subject"]["title"]
    assert "<script" not in before
    assert all(words in before for words in ("Art. 53(1)(a)", "A person must compare", "Measured share", "Boundary"))
    assert text == render_eu_ai_act(account)
