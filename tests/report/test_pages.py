"""Pages of runs and of searches, power over time, familiar things: whole, harmless, and honest on what is unknown."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.core.estimate import Estimate
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.demo import recording
from lowcarb.report.everyday import everyday, everyday_words
from lowcarb.report.html import render_html
from lowcarb.report.power import power_over_time, power_table, trace_of
from lowcarb.report.reduce import render_reduce_html, render_reduce_markdown
from lowcarb.report.run import render_run_html, render_run_markdown, run_document

CHROMIUM = Path("/usr/bin/chromium")
BAD = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "lone \ud800",
    "{{ 7 * 7 }}",
    "a\nb|c" + "x" * 9999,
)


class Elements(HTMLParser):
    """The elements of a page in order, with their attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def assert_whole(page):
    elements = Elements(page).found
    names = [name for name, _ in elements]
    levels = [int(name[1]) for name in names if re.fullmatch(r"h[1-6]", name)]
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert {"header", "nav", "main", "footer"} <= set(names)
    assert not {"script", "link", "img", "iframe", "form", "object"} & set(names)
    assert not [key for _, attributes in elements for key in attributes if key.startswith("on") or key == "src"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(ids) == len(set(ids))
    for index, name in enumerate(names):
        if name == "svg":
            after = names[index + 1 :]
            assert "table" in after[: after.index("section") if "section" in after else None]
    assert page.encode("utf-8")


def energy(joules):
    device = {
        "device": "cpu", "kind": "cpu", "sensor": "cpu-model", "coverage": 1.0, "gaps_s": 0.0, "faults": [],
        "energy_j": {"low": joules / 2, "mid": joules, "high": joules * 2, "basis": "modelled"},
    }  # fmt: skip
    return {"duration_s": 10.0, "devices": [device], "checks": []}


@pytest.fixture
def held():
    """A document of an attempt, with its site and machine from the bundled recording."""
    recorded = recording()
    footprint = recorded["trials"][0]["footprint"]
    return {
        "machine": recorded["machine"], "energy": energy(100.0), "footprint": footprint,
        "phases": [{"name": "train", "wall_s": 10.0, "cpu_s": 9.0, "energy": energy(100.0), "footprint": footprint}],
        "power": [
            {"device": "cpu", "kind": "cpu", "start_ns": [0, 10**9, 2 * 10**9], "step_ns": 10**9,
             "power_w": [10.0, None, 12.0]},
        ],
        "faults": [], "notes": {"error": None}, "meter": {"missing": []}, "attribution": "machine",
        "site": {name: value for name, value in recorded["site"].items() if name != "note"},
    }  # fmt: skip


def entered(name, *documents, status="done"):
    ledger = MemoryLedger()
    for number, document in enumerate(documents):
        ledger.begin(
            attempt_id=f"attempt{number}", key="key", kind="track", name=name, study=None, started_ns=number * 10**9
        )
        if document is not None:
            ledger.finish(f"attempt{number}", status=status, ended_ns=(number + 10) * 10**9, document=document)
    (run,) = ledger.runs()
    return run_document(ledger, run, Catalogue.load())


def test_run_page_is_whole_and_says_what_it_cost(held):
    document = entered("train.py", held)
    page = render_run_html(document)

    assert_whole(page)
    assert json.dumps(document, allow_nan=False)
    assert document["totals"]["energy_j"]["mid"] == held["footprint"]["energy_j"]["mid"]
    for words in ("Power over time", "Energy by device and phase", "Every attempt", "What is measured"):
        assert words in page
    assert "## Every attempt" in render_run_markdown(document)


@pytest.mark.parametrize("missing", ["power", "phases", "site", "machine", "footprint", "energy", "meter", "notes"])
def test_run_page_is_made_whatever_an_attempt_lacks(held, missing):
    del held[missing]

    document = entered("x", held)

    assert_whole(render_run_html(document))
    assert render_run_markdown(document).startswith("# x")


def test_run_that_goes_on_has_unknown_figures_not_zero():
    document = entered("x", None)

    assert document["totals"]["energy_j"] is None
    assert "Nothing is known yet" in render_run_html(document)
    assert_whole(render_run_html(document))


def test_all_attempts_of_a_run_are_on_the_bill(held):
    one, two = entered("x", held), entered("x", held, held)

    assert two["totals"]["energy_j"]["mid"] == pytest.approx(2 * one["totals"]["energy_j"]["mid"])
    assert len(two["attempts"]) == 2


@pytest.mark.parametrize("bad", BAD)
def test_hostile_names_are_harmless_in_a_run(held, bad):
    held["notes"]["error"] = bad
    held["phases"][0]["name"] = bad
    held["faults"] = [bad]

    document = entered(bad, held, status="failed")

    assert_whole(render_run_html(document))
    assert "<" not in render_run_markdown(document)


def test_forecast_that_was_noted_stands_beside_the_outcome(held):
    held["notes"]["forecast"] = held["footprint"]

    page = render_run_html(entered("x", held))

    assert "Forecast against outcome" in page
    assert "+0 %" in page


def test_power_is_broken_where_nothing_was_seen(held):
    trace = trace_of("x", held["power"])

    assert trace.whole == (10.0, None, 12.0)
    assert re.search(r'd="M[^"]*ZM[^"]*Z"', power_over_time([trace]))
    assert power_table([trace]).plain.rows[0][-1] == "1"


@pytest.mark.parametrize("power", [None, [], [{"device": "a", "start_ns": [], "power_w": []}]])
def test_without_power_there_is_no_figure(power):
    assert trace_of("x", power) is None
    assert power_over_time([]) == ""


def test_devices_of_one_kind_are_one_layer(held):
    (one,) = held["power"]

    trace = trace_of("x", [one, one | {"device": "cpu 1", "power_w": [1.0, 1.0, 1.0]}])

    assert trace.kinds == (("cpu", (11.0, None, 13.0)),)


def test_familiar_things_have_sources_and_fitting_units():
    rows = everyday(Estimate.exact(0.5), Estimate.exact(100.0), Catalogue.load().equivalents())
    words = everyday_words({"everyday": rows})

    assert all(row["sources"] for row in rows)
    assert any(re.match(r"2\.\d+ metres driven", one) for one in words)
    assert everyday(None, None, Catalogue.load().equivalents()) == []


def outcome(*, found=True, name="bf16"):
    ratio = {"low": 1.8, "mid": 2.0, "high": 2.2, "basis": "measured"}
    change = {"low": -1.0, "mid": 0.2, "high": 1.4, "basis": "measured"}
    side = {"levers": [], "model": {}, "recipe": {}, "energy_j": ratio | {"mid": 2.1}, "f1": 50.0}
    tried = {"levers": [name], "energy_ratio": 2.0, "quality_change": 0.1, "quality_error": 0.5, "seeds": 2}
    final = tried | {
        "confirmed_ratio": ratio, "confirmed_quality_change": change, "first_seed": 100, "verdict": "not inferior",
        "reason": name,
    }  # fmt: skip
    return {
        "id": name, "margin": 1.0, "verdict": "not inferior" if found else "nothing found", "reason": name,
        "baseline": side, "best": side | {"levers": [name] if found else []}, "ratio": ratio, "quality_change": change,
        "search_energy_j": 900.0, "search_trainings": 4.0, "confirmation_energy_j": 300.0, "break_even_trainings": None,
        "break_even_with_confirmation": 12.0, "drawbacks": [name] if found else [],
        "recipe": {"study": name, "training_arguments": "", "code": ""},
        "contributions": [
            {"lever": name, "title": name, "energy_ratio_without": ratio, "benefits": [], "drawbacks": [name]}
        ],
        "pareto": [tried], "tried": [tried, tried | {"levers": []}], "finalists": [final] if found else [],
        "confirmed_seeds": 3, "compared_by": "energy", "questions": {"train": 9, "search": 9, "judge": 9},
        "trainings": 7, "ended": None,
    }  # fmt: skip


@pytest.mark.parametrize("found", [True, False])
def test_page_of_a_search_is_whole(found):
    page = render_reduce_html(outcome(found=found))

    assert_whole(page)
    assert ("2.0 (1.8–2.2) times less energy" in page.replace("\u2060", "")) is found
    assert render_reduce_markdown(outcome(found=found)).startswith("# lowcarb reduce")


@pytest.mark.parametrize("bad", BAD)
def test_hostile_names_are_harmless_in_a_search(bad):
    assert_whole(render_reduce_html(outcome(name=bad)))
    assert "<" not in render_reduce_markdown(outcome(name=bad))


def test_search_without_tries_has_no_figure():
    assert "<svg" not in render_reduce_html(outcome(found=False) | {"tried": [], "pareto": []})


def test_recorded_study_has_every_section():
    page = render_html(recording())

    assert_whole(page)
    for anchor in ("front", "comparisons", "energy", "where", "power", "devices", "trials", "measured", "sources"):
        assert f'<section id="{anchor}"' in page
    assert recording()["recorded"]["date"] in page
    assert len(page.encode()) < 1_000_000


@pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not installed")
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1180, 390])
def test_page_in_chromium(tmp_path, colours, width):
    """No request besides the page itself, no message on the console, nothing wider than the window, both colours."""
    api = pytest.importorskip("playwright.sync_api")
    file = tmp_path / "page.html"
    file.write_text(render_html(recording()), encoding="utf-8")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=colours)
        requests, messages = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(file.as_uri())
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        wide = page.evaluate("document.documentElement.scrollWidth")
        browser.close()

    assert requests == [file.as_uri()]
    assert messages == []
    assert wide <= width
    assert background == ("rgb(255, 255, 255)" if colours == "light" else "rgb(17, 22, 20)")
