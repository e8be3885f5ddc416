"""The table of levers: alone, on top of the stack, and what was claimed."""

from __future__ import annotations

import pytest

from lowcarb.report.ablation import ablation_table
from lowcarb.report.html import render_html
from lowcarb.report.markdown import render_markdown
from lowcarb.report.setting import recipe
from lowcarb.report.table import study_table


def test_a_study_without_levers_has_no_rows(document):
    assert () == ablation_table(document).rows
    assert "Levers on" not in render_markdown(document) + render_html(document)


def test_what_is_not_known_is_a_dash_and_a_conflict_says_so(make):
    rows = ablation_table(make.with_levers()).plain.rows

    assert ["bf16", "no-dropout", "the whole stack"] == [row[0] for row in rows]
    assert ("not inferior", "—", "—", "—") == rows[0][3:7]
    assert ("—", "—", "—") == rows[1][1:4]
    assert "worse" == rows[1][6]
    assert ("—", "—") == rows[2][-2:]


def test_a_conflict_stands_where_there_is_no_verdict(make):
    ablation = make.ablation()
    ablation["levers"][1]["on_top"] = None

    assert "no-dropout conflicts with bf16" == ablation_table(make.document(ablation=ablation)).plain.rows[1][6]


def test_the_page_says_where_each_claim_comes_from(make):
    page = render_html(make.with_levers())

    assert "published: bf16 halves it." in page
    assert "arXiv of bf16" in page
    assert "The claim is for bf16." in page, "it is not that of no-dropout"
    assert '<a href="#levers">' in page


def test_short_reports_say_each_lever_once(make):
    document = make.with_levers()

    assert ["Arms", "Levers"] == [table.title.split()[0].strip(":") for table in study_table(document)]
    assert "## Comparisons" not in render_markdown(document)


@pytest.mark.parametrize("width", [140])
def test_the_table_for_a_terminal_has_no_claims(make, width):
    table = study_table(make.with_levers())[-1]

    assert not any("claimed" in column for column in table.columns)
    assert max(sum(map(len, row)) + 2 * len(row) for row in table.rows) <= width


def test_the_setting_shows_what_is_unusual_and_leaves_levers_to_their_table(make):
    document = make.with_levers()
    first, *others = document["study"]["arms"]
    first["recipe"] = first["recipe"] | {"lora_rank": 8, "accumulation": 1}
    for arm in others:
        arm["levers"] = ["bf16"]

    rows = {fact.name: fact.value for fact in recipe(document)}

    assert "8" == rows["Rank of adapters"]
    assert "Batches a step" not in rows
    assert not any("bf16" in value for value in rows.values())
