"""Hugging Face model card: grams, between our marks, and everything else byte for byte as it was."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.catalogue import Catalogue
from lowcarb.core.estimate import Estimate
from lowcarb.errors import SettingError
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.exports import account_of
from lowcarb.report.exports.model_card import BEGIN, BODY_BEGIN, BODY_END, END, edit_card, plain_number, quoted
from lowcarb.report.exports.model_card import render_model_card as render

_spec = importlib.util.spec_from_file_location("export_ledgers", Path(__file__).with_name("export_ledgers.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

CATALOGUE = Catalogue.load()
CARD = """---
# a comment that stays
license: mit   # and another
tags:
- text-classification
widget:
- text: "x"   # quoted
---

# A model

Words.
"""


def account(name="finetune", **changes):
    ledger, run = made.one_run(name, **changes)
    return account_of(ledger, run, CATALOGUE)


def loaded(tmp_path, card, hub):
    path = tmp_path / "README.md"
    path.write_bytes(card.encode("utf-8", "surrogateescape"))
    return hub.ModelCard.load(path)


@pytest.fixture
def hub():
    return pytest.importorskip("huggingface_hub", reason="reads the card as the hub does")


def without_ours(card, newline="\n"):
    """A card less what is between our marks, marks included."""
    front, _, rest = card.partition(BEGIN)
    _, _, after = rest.partition(END)
    body, _, tail = after.partition(BODY_BEGIN)
    return front, body, tail.partition(BODY_END)[2]


def test_the_hub_reads_grams_by_hand(tmp_path, hub):
    """1.1 kWh × PUE 1.2 × 50 g/kWh = 66 g, not 0.066 kg."""
    card = loaded(tmp_path, edit_card(CARD, account()), hub)

    said = card.data["co2_eq_emissions"]
    assert 66 == said["emissions"]
    assert isinstance(said["emissions"], (int, float))
    assert "France" == said["geographical_location"]
    assert "2 × NVIDIA A100 80GB, AMD EPYC 7742" == said["hardware_used"]
    assert "training_type" not in said
    assert "91 % measured" in said["source"]
    assert "mit" == card.data["license"]
    assert ["text-classification"] == card.data["tags"]
    assert "66 g" in card.text
    assert card.text.startswith("\n# A model\n\nWords.\n")


def test_a_new_card_is_one_too(tmp_path, hub):
    card = loaded(tmp_path, render(account()), hub)

    assert 66 == card.data["co2_eq_emissions"]["emissions"]
    assert card.text.lstrip().startswith(BODY_BEGIN)


def test_a_lab_training_says_its_type():
    one = account_of(made.a_study(), "mine", CATALOGUE)

    assert 'training_type: "fine-tuning"' in render(one)


def test_the_section_names_boundary_measured_share_and_sources():
    card = render(account())

    assert "91 % measured off energy counters, 9 % modelled" in card
    assert "The energy is that of GPUs and processors" in card
    assert "Not in it: the rest of the machine" in card
    assert "<https://" in card


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("card", [CARD, CARD.rstrip("\n"), CARD.replace("\n\n", "\n"), "---\nlicense: mit\n---",
                                  "---\n---\n# T\n", "# no front matter\n", "", "no newline at the end",
                                  "---\n\n---\n", "\n\n---\nlicense: mit\n--- \nbody"])  # fmt: skip
def test_all_else_stays_byte_for_byte(tmp_path, hub, card, newline, mark):
    before = mark + card.replace("\n", newline)

    after = edit_card(before, account())

    front, body, tail = without_ours(after)
    kept = (front + body + tail).replace("\r\n", "\n")
    assert kept.startswith(mark)
    # What goes in between are newlines, and a fence where there was none.
    assert [line for line in kept.split("\n") if line.strip("-\ufeff ")] == [
        line for line in card.split("\n") if line.strip("-\ufeff ")
    ]
    assert ("\r\n" in after) == (newline == "\r\n" and "\n" in card)
    assert "\r\n" not in after or after.count("\r\n") == after.count("\n")
    assert 66 == loaded(tmp_path, after, hub).data["co2_eq_emissions"]["emissions"]


def test_the_beginning_and_the_body_are_the_very_same():
    after = edit_card(CARD, account())

    assert after.startswith(CARD[: CARD.index("\n---\n\n#")])
    assert CARD[CARD.index("\n---\n\n#") :] in after


@given(
    title=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x85\u2028\u2029"), max_size=20),
    body=st.text(st.characters(exclude_categories=["Cs"]), max_size=200).filter(lambda t: "lowcarb:" not in t),
)
def test_any_text_stays(title, body):
    card = f"---\ntitle: {quoted(title)}\n---\n{body}"

    after = edit_card(card, account())

    assert after.startswith(f"---\ntitle: {quoted(title)}\n{BEGIN}")
    assert f"{END}\n---\n{body}" in after
    assert {"title": title} == {k: v for k, v in yaml.safe_load(after.split("\n---\n")[0]).items() if k == "title"}
    assert after == edit_card(after, account())


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_running_again_replaces_only_ours(newline):
    before = edit_card(CARD.replace("\n", newline), account())
    changed = before.replace("license: mit", "license: apache-2.0").replace("Words.", "Other words.")
    changed = changed.replace(f"{newline}---{newline}", f"{newline}datasets: [a]{newline}---{newline}", 1)
    other = account(site=replace(made.SITE, intensity_g_per_kwh=Estimate.exact(500.0, "catalogue")))

    after = edit_card(changed, other)

    assert "emissions: 660 " in after
    assert 1 == after.count("co2_eq_emissions")
    assert without_ours(changed) == without_ours(after)
    assert "apache-2.0" in after
    assert before == edit_card(before, account())


OTHERS = (
    "co2_eq_emissions: 83.5",
    "co2_eq_emissions:\n  emissions: 83.5\n  source: codecarbon",
    "co2_eq_emissions:\n    emissions: 83.5\n\n    source: >\n      codecarbon\n      folded",
    '"co2_eq_emissions": {emissions: 83.5,\n  source: codecarbon}',
)


@pytest.mark.parametrize("theirs", OTHERS)
def test_what_somebody_else_wrote_is_refused_and_replaced_by_force(theirs):
    card = f"---\nlicense: mit\n{theirs}\n# a comment\ntags: [a]\n---\nbody\n"

    with pytest.raises(SettingError, match="--force"):
        edit_card(card, account())
    after = edit_card(card, account(), force=True)

    front, body, _ = without_ours(after)
    assert "---\nlicense: mit\n" == front
    assert body.startswith("\n# a comment\ntags: [a]\n---\nbody\n")
    assert 66 == yaml.safe_load(after.split("---\n")[1])["co2_eq_emissions"]["emissions"]


def test_force_removes_a_second_one_beside_ours():
    card = edit_card(CARD, account()).replace("license: mit", "co2_eq_emissions: 1\nlicense: mit")

    after = edit_card(card, account(), force=True)

    assert 1 == after.count("co2_eq_emissions")
    assert edit_card(CARD, account()) == after


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (f"---\n{BEGIN}\nco2_eq_emissions: 1\n---\n", "one `# lowcarb: begin`"),
        (f"---\na: 1\n---\n{BODY_END}\n", "one `<!-- lowcarb: begin -->`"),
        (f"---\na: 1\n---\n{BODY_BEGIN}{BODY_END}{BODY_BEGIN}{BODY_END}\n", "or neither"),
        ("---\na: [1\n---\n", "line 2"),
        ("---\n- a\n- b\n---\n", "keys with values"),
        ("---\n{license: mit}\n---\n", "YAML"),
        ("---\na: 'open\n---\n", "YAML"),
    ],
)
def test_a_card_that_cannot_be_edited_surely_is_refused(card, said):
    with pytest.raises(SettingError, match="model card") as caught:
        edit_card(card, account())
    assert said in str(caught.value)


def test_a_key_inside_another_text_is_not_taken_for_one():
    card = "---\ndescription: |\n  co2_eq_emissions: 1\n# co2_eq_emissions: 2\n---\n"

    assert yaml.safe_load(edit_card(card, account()).split("---\n")[1])["description"] == "co2_eq_emissions: 1\n"


@pytest.mark.parametrize("hostile", made.HOSTILE)
def test_hostile_names_stay_in_their_place(tmp_path, hub, hostile):
    machine = replace(made.MACHINE, name=hostile, devices=(made.Installed(replace(made.GPU, name=hostile)),))
    one = account(hostile, machine=machine, site=replace(made.SITE, name=hostile))
    one = replace(one, notes=(hostile,), boundary=hostile)

    after = edit_card(CARD, one)

    front = yaml.safe_load(after.split("\n---\n")[0])
    assert {"license", "tags", "widget", "co2_eq_emissions"} == set(front)
    assert "mit" == front["license"]
    assert after == edit_card(after, one)
    assert "<script>" not in after
    assert 66 == loaded(tmp_path, after, hub).data["co2_eq_emissions"]["emissions"]
    after.encode("utf-8")
    assert len(after) < 15_000


def test_no_carbon_is_refused():
    ledger = MemoryLedger()
    run = made.enter(ledger, "running", None)

    with pytest.raises(SettingError, match="carbon is known"):
        render(account_of(ledger, run, CATALOGUE))


@pytest.mark.parametrize(
    ("value", "text"),
    [(66.0, "66"), (0.00001234567, "0.00001235"), (1234567.0, "1235000"), (0.0, "0"), (83.524, "83.52"), (1e-12, None)],
)
def test_grams_are_plain_numbers_in_yaml(value, text):
    said = plain_number(value)

    assert text in (None, said)
    assert pytest.approx(value, rel=1e-3, abs=1e-30) == yaml.safe_load(said)
    assert isinstance(yaml.safe_load(said), (int, float))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_text_is_read_as_it_was(text):
    assert text == yaml.safe_load(quoted(text))
