"""Published figures beside forecasts: none hidden, errors as recomputed, the page as the command makes it."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.core.estimate import Estimate
from lowcarb.core.forecast import Scenario, forecast_run
from lowcarb.core.units import J_PER_KWH
from lowcarb.report.well_known import QUANTITIES, comparisons, summaries, unpublished, well_known
from lowcarb.report.well_known_page import CALIBRATED, page, signed_percent, well_known_section
from lowcarb.report.well_known_plot import plot, standalone

DOCS = Path(__file__).parents[2] / "docs"
CATALOGUE = Catalogue.load()
ROWS = well_known()
BY_KEY = {(row.id, row.quantity): row for row in ROWS}


def test_no_published_figure_is_hidden():
    wanted = {
        (run.id, quantity)
        for run in CATALOGUE.published()
        for quantity, figure in zip(QUANTITIES, (run.accelerator_hours, run.energy_j, run.co2_g), strict=True)
        if figure is not None
    }
    assert {(row.id, row.quantity) for row in ROWS} == wanted
    assert len(ROWS) == len(wanted)
    assert unpublished(CATALOGUE) == ()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.id}-{row.quantity}")
def test_a_row_holds_together(row):
    assert row.sources
    assert CATALOGUE.published_run(row.id).name == row.name
    if row.forecast is None:
        assert row.error is row.inside is None
        assert row.why[0].startswith("no forecast")
        return
    if row.published == 0:
        assert row.error is row.inside is None
        assert any("market" in part for part in row.why)
        return
    assert row.error == pytest.approx(row.forecast.mid / row.published - 1)
    assert row.inside is (row.forecast.low <= row.published <= row.forecast.high)
    if not row.inside:
        assert row.why, "a miss is explained"


def test_hours_are_those_of_a_forecast_from_totals():
    run = CATALOGUE.published_run("pythia-6.9b")
    made = forecast_run(
        Scenario(
            params=run.params, tokens=run.tokens, device=CATALOGUE.device(run.device), site=CATALOGUE.unknown_site(),
            count=run.count, active_params=run.flop_params, layers=run.layers, width=run.width, family=run.arch,
            precision=run.precision,
        )
    )  # fmt: skip
    assert BY_KEY["pythia-6.9b", "hours"].forecast == made.accelerator_hours


def test_carbon_of_a_whole_facility_uses_the_published_grid_and_building():
    row, energy = BY_KEY["gpt3-175b", "carbon"], BY_KEY["gpt3-175b", "energy"]
    assert row.scope == energy.scope == "facility"
    assert row.forecast.mid == pytest.approx(energy.forecast.mid / J_PER_KWH * 429)


def test_figures_that_leave_out_the_hosts_are_compared_without_them():
    row = BY_KEY["llama1-65b", "energy"]
    run = CATALOGUE.published_run("llama1-65b")
    site = replace(CATALOGUE.site("usa"), pue=Estimate.exact(1.1, "catalogue"))
    made = forecast_run(
        Scenario(
            params=run.params, tokens=run.tokens, device=CATALOGUE.device(run.device), site=site, count=run.count,
            active_params=run.flop_params, layers=run.layers, width=run.width, family=run.arch, precision=run.precision,
        )
    )  # fmt: skip
    assert row.scope == "devices × PUE"
    assert row.forecast.mid == pytest.approx(made.accelerator_j.mid * 1.1)
    assert row.forecast.mid < made.facility_j.mid
    assert BY_KEY["bloom-176b", "carbon"].scope == "devices"
    assert BY_KEY["bloom-176b", "carbon"].forecast.mid == pytest.approx(
        BY_KEY["bloom-176b", "energy"].forecast.mid / J_PER_KWH * 57
    )


def test_a_forecast_from_hours_stands_where_the_tokens_were_not_published():
    row = BY_KEY["distilgpt2", "carbon"]
    assert row.forecast is None
    assert row.given_hours.low < row.published < 2 * row.given_hours.high


def test_a_remark_stands_where_it_bears_on_the_figure():
    assert not any("power alone" in part for part in BY_KEY["bloom-176b", "hours"].why)
    assert any("power alone" in part for part in BY_KEY["bloom-176b", "carbon"].why)
    assert any("of one node" in part for part in BY_KEY["olmo2-7b", "energy"].why)


def test_a_miss_of_hours_names_the_shares_of_the_peak():
    (part,) = [part for part in BY_KEY["switch-c", "hours"].why if "of the peak" in part]
    run, row = CATALOGUE.published_run("switch-c"), BY_KEY["switch-c", "hours"]
    peak = CATALOGUE.device("tpu-v3").peak_for("bf16")
    share = 6 * run.flop_params * run.tokens / (row.published * 3600 * peak)
    assert f"come to {100 * share:.2g} %" in part


def test_a_life_cycle_is_not_compared_with_a_training():
    row = BY_KEY["mistral-large-2", "carbon"]
    assert (row.scope, row.forecast) == ("life cycle", None)


def test_summaries_are_of_all_rows_with_an_error():
    by_quantity = {one.quantity: one for one in summaries(ROWS)}
    for quantity in QUANTITIES:
        errors = sorted(abs(row.error) for row in ROWS if row.quantity == quantity and row.error is not None)
        one = by_quantity[quantity]
        assert one.compared == len(errors)
        assert errors[(len(errors) - 1) // 2] <= one.median <= errors[len(errors) // 2]
        assert sum(error <= one.ninth_decile for error in errors) >= 0.9 * len(errors)
        assert one.published == sum(row.quantity == quantity for row in ROWS)


def test_one_model_can_be_asked_for():
    rows = comparisons(CATALOGUE, [CATALOGUE.published_run("bloom")])
    assert [row.quantity for row in rows] == ["hours", "energy", "carbon"]


# Page and figure


def test_the_page_of_the_documentation_is_what_the_command_makes():
    text = (DOCS / "well-known-models.md").read_text(encoding="utf-8")
    assert text == page(ROWS), "run the command that the page names"
    assert (DOCS / "well-known-models.svg").read_text(encoding="utf-8") == standalone(ROWS)


def test_the_page_says_what_it_was_calibrated_on_and_has_every_row():
    text = page(ROWS)
    assert CALIBRATED in text
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| Model", "| ---"))]
    assert len(lines) == len(ROWS)
    assert len({line.count("|") - line.count("\\|") for line in lines}) == 1


@pytest.mark.parametrize("width", [336.0, 760.0, 1080.0])
def test_the_figure_has_a_point_for_every_pair_and_stays_inside(width):
    root = ET.fromstring(plot(ROWS, width))
    pairs = [row for row in ROWS if row.forecast and row.published]
    circles = root.findall(".//circle")
    assert len(circles) == len(pairs)
    height = float(root.get("height"))
    assert all(0 < float(c.get("cx")) < width and 0 < float(c.get("cy")) < height for c in circles)
    hollow = sum("undecided" in c.get("class") for c in circles)
    assert hollow == sum(row.inside is False for row in pairs)


def test_a_point_lies_above_the_line_where_the_forecast_is_too_high():
    over = [row for row in ROWS if row.error and row.error > 0.5 and row.quantity == "hours"][:1]
    under = [row for row in ROWS if row.error and row.error < -0.5 and row.quantity == "hours"][:1]
    root = ET.fromstring(plot([*over, *under, BY_KEY["gpt3-175b", "hours"], BY_KEY["pythia-160m", "hours"]]))
    diagonal = next(one for one in root.findall(".//line") if one.get("class") == "reference")
    x1, y1, x2, y2 = (float(diagonal.get(name)) for name in ("x1", "y1", "x2", "y2"))
    points = [(float(c.get("cx")), float(c.get("cy"))) for c in root.findall(".//circle")]
    on_line = [y1 + (x - x1) / (x2 - x1) * (y2 - y1) for x, _ in points]
    assert points[0][1] < on_line[0]
    assert points[1][1] > on_line[1]


def test_the_file_of_the_figure_needs_no_other():
    text = standalone(ROWS)
    ET.fromstring(text)
    assert "var(" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_section_is_markup_without_script_and_holds_every_row():
    section = well_known_section()
    assert section.startswith("<section")
    assert "<script" not in section
    assert section.count('<th scope="row">') == len(ROWS)
    assert section.count("<svg") == 2
    for name in re.findall(r"<(section|table|figure|details|ul)\b", section):
        assert section.count(f"<{name}") == section.count(f"</{name}>")


@pytest.mark.parametrize(
    ("share", "text"), [(0.124, "+12 %"), (-0.3, "−30 %"), (None, "—"), (9.0, "×10.0"), (174.6, "×176")]
)
def test_errors_are_written_with_their_sign(share, text):
    assert signed_percent(share) == text


def test_rows_have_a_json_form_without_infinities():
    for row in ROWS:
        document = row.as_dict()
        assert document["published"] == row.published
        assert all(math.isfinite(v) for v in document.values() if isinstance(v, float))
