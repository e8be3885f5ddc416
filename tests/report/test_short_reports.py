"""Markdown, the terminal's tables and CSV: the same content, short."""

from __future__ import annotations

import csv
import io

import pytest

from lowcarb.report.csv import defused, render_csv
from lowcarb.report.markdown import render_markdown
from lowcarb.report.table import (
    arms_table,
    comparisons_table,
    costs_table,
    devices_table,
    phases_table,
    points_table,
    quality_table,
    study_table,
    trials_table,
)

TABLES = (
    arms_table, comparisons_table, costs_table, devices_table, phases_table, points_table, quality_table, trials_table,
)  # fmt: skip


def test_markdown_is_made_whatever_is_missing(variant):
    text = render_markdown(variant)

    assert text.startswith("# ")
    assert "nan" not in text.lower().split()
    assert "None" not in text


def test_markdown_has_the_answer_the_drawbacks_the_findings_and_the_lost_trials(document):
    text = render_markdown(document)

    assert "Against bert/native, distilbert/native trains for 50 % less carbon" in text
    assert "a drawback of distilbert/native" in text
    assert "every verdict will be" in text
    assert "distilbert/native seed 2: interrupted, attempt 1: ended by SIGTERM" in text
    assert "docs/methods.md" in text


def test_markdown_tables_have_as_many_cells_in_each_row(hostile):
    blocks = [block.splitlines() for block in render_markdown(hostile).split("\n\n") if block.startswith("|")]

    assert len(blocks) >= 3
    for lines in blocks:
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_markdown_lets_no_html_through(hostile):
    text = render_markdown(hostile)

    assert "<" not in text
    assert text.encode("utf-8")


@pytest.mark.parametrize("make_table", TABLES)
def test_tables_are_rectangular(variant, make_table):
    table = make_table(variant).plain

    assert {len(row) for row in table.rows} <= {len(table.columns)}
    assert all(isinstance(cell, str) and cell for row in table.rows for cell in row)
    assert all(0 < index < len(table.columns) for index in table.right)


def test_terminal_has_the_arms_and_the_comparisons(document):
    arms, comparisons = study_table(document)

    assert [row[0] for row in arms.rows] == ["bert/native [baseline]", "distilbert/native"]
    assert [row[-1] for row in comparisons.rows] == ["worse", "worse"]
    assert comparisons.rows[1][:2] == ("NVIDIA A100", "NVIDIA T4")


def test_terminal_has_no_comparisons_where_there_are_none(make):
    assert len(study_table(make.document(comparisons=[]))) == 1


def test_interval_that_stands_for_nothing_known_is_not_printed(make):
    one = make.comparison(
        carbon_ratio=make.change(1e-5, 0.5, 2e4), quality_change=make.change(-70.0, 0.0, 70.0), pairs=1
    )
    (row,) = comparisons_table(make.document(comparisons=[one])).plain.rows

    assert row[3:6] == ("0.500 (interval not known)", "no sure change of carbon", "0.0 (interval not known)")


def test_unknown_money_is_a_dash_in_the_costs_and_left_out_of_the_short_table(document):
    costs, arms = costs_table(document).plain, arms_table(document).plain

    assert {row[costs.columns.index("Money, USD")] for row in costs.rows} == {"—"}
    assert "Money, USD" not in arms.columns


def test_figures_of_a_column_are_in_one_unit_with_their_intervals(document):
    costs = costs_table(document).plain

    energy = costs.columns.index("Energy, J")
    assert [row[energy] for row in costs.rows] == ["100 (51–200)", "50 (25–100)"]


def test_csv_has_a_row_a_trial_and_reads_back(variant):
    rows = list(csv.DictReader(io.StringIO(render_csv(variant))))

    assert len(rows) == len(variant["trials"])
    for row, trial in zip(rows, variant["trials"], strict=True):
        assert (row["arm"], row["seed"], row["status"]) == (trial["arm"], str(trial["seed"]), trial["status"])
        assert None not in row
        if trial["footprint"]:
            assert float(row["energy_j_mid"]) == trial["footprint"]["energy_j"]["mid"]
            assert row["energy_j_basis"] == "modelled"
        else:
            assert row["energy_j_mid"] == ""


def test_csv_is_defused_and_reads_back(hostile):
    text = render_csv(hostile)
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]

    assert not [cell for cell in cells if cell[:1] in {"=", "+", "@", "\t", "\r"}]
    name = hostile["study"]["id"].replace("\ud800", "?")
    assert {row["study"] for row in csv.DictReader(io.StringIO(text))} <= {name, f"'{name}"}


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-2+3", "'-2+3"),
        ("@sum", "'@sum"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("-1.5", "-1.5"),
        ("+2e-3", "+2e-3"),
        ("-", "'-"),
        ("bert/native", "bert/native"),
        (-1.5, -1.5),
        (None, ""),
        (True, "true"),
    ],
)
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(cell, safe):
    assert defused(cell) == safe
