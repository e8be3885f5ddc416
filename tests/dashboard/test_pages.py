"""What people see, and what programs get."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from lowcarb.dashboard.answers import disposition
from lowcarb.ledger.record import run_id_of

from .conftest import HOSTILE

FIRST, SECOND = run_id_of("key 0"), run_id_of("key 1")


def test_the_first_page_shows_runs_newest_first(client):
    text = client.get("/").text

    assert text.index("second run") < text.index("first run")


@pytest.mark.parametrize(
    ("words", "seen", "unseen"),
    [("text=SECOND", "second run", "first run"), ("status=failed", "second run", "first run"),
     ("site=fra", "first run", "second run"), ("until=2026-01-01", "first run", "second run"),
     ("since=2026-01-02&until=2026-01-02", "second run", "first run"),
     ("text=first&status=&kind=&study=&tag=&since=&until=&site=&order=newest", "first run", "second run")],
)  # fmt: skip
def test_filters_filter(client, words, seen, unseen):
    text = client.get(f"/?{words}").text

    assert seen in text
    assert unseen not in text


def test_pages_follow_each_other_to_the_last_run(client):
    seen, path = [], "/api/v1/runs?limit=3"
    while path:
        page = client.get(path).json()
        seen += [one["id"] for one in page["runs"]]
        path = page["next"] and f"/api/v1/runs?limit=3&after={page['next']}"

    assert len(seen) == len(set(seen)) == 2 + len(HOSTILE)


@pytest.mark.parametrize(
    "path", [f"/runs/{FIRST}", f"/runs/{FIRST}/what-if", f"/runs/{FIRST}/what-if?site=pol&device=t4",
             f"/compare?run={FIRST}&run={SECOND}", "/studies", "/totals", "/totals?by=site", "/totals?by=tag:project",
             "/live.json", "/runs.csv", "/runs.jsonl"]
)  # fmt: skip
def test_every_page_is_there(client, path):
    assert client.get(path).status_code == 200


def test_hostile_names_are_text_and_nothing_else(client):
    for path in ("/", *(f"/runs/{run_id_of(f'key {number}')}" for number in range(2, 2 + len(HOSTILE)))):
        text = client.get(path).text

        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "<b>a fault" not in text


class Seen(HTMLParser):
    """Every element of a page with its attributes, as a browser would have them."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


def test_pages_have_no_style_or_script_of_their_own(client):
    for path in ("/", f"/runs/{FIRST}", "/totals", f"/compare?run={FIRST}&run={SECOND}"):
        elements = Seen(client.get(path).text).elements

        assert {
            name for _, attributes in elements for name in attributes if name.startswith("on") or name == "style"
        } == set()
        assert [attributes for tag, attributes in elements if tag == "script"] == [
            {"src": "/static/dashboard.js", "defer": None}
        ]
        assert "style" not in {tag for tag, _ in elements}


def test_a_list_as_csv_has_no_formula_and_every_run(client):
    answer = client.get("/runs.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))

    assert len(rows) == 2 + len(HOSTILE)
    assert not any(row["name"].startswith("=") for row in rows)
    assert answer.headers["content-disposition"].startswith('attachment; filename="lowcarb-runs.csv"')


def test_names_of_files_lead_nowhere():
    for name in (*HOSTILE, 'a"; filename=b', "päron", "..", ""):
        header = disposition(name, ".json")

        header.encode("ascii")
        assert not re.search(r"[\r\n\0/\\]|\.\.", header)
        assert re.fullmatch(r'attachment; filename="[\w.-]+\.json"(; filename\*=UTF-8\'\'[\w%.~-]+)?', header)


def test_a_tag_is_set_and_removed_by_the_form_of_the_page(client, ledger):
    key = re.search(r'name="key" value="(\w+)"', client.get(f"/runs/{FIRST}").text)[1]

    done = client.post(f"/runs/{FIRST}/tags", data={"key": key, "name": "project", "value": "<i>"})

    assert done.status_code == 303
    assert ledger.tag(FIRST, {}) == {"project": "<i>"}
    assert "<i>" not in client.get("/").text
    client.post(f"/runs/{FIRST}/tags", data={"key": key, "name": "project", "do": "remove"})
    assert ledger.tag(FIRST, {}) == {}


@pytest.mark.parametrize("key", ["", "0" * 64, "é"])
def test_a_form_without_its_key_changes_nothing(client, ledger, key):
    done = client.post(f"/runs/{FIRST}/tags", data={"key": key, "name": "project", "value": "x"})

    assert done.status_code == 403
    assert ledger.tag(FIRST, {}) == {}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v1/runs?limit=0", 422), ("/api/v1/runs?nonsense=1", 400), ("/api/v1/runs?kind=", 422),
     ("/api/v1/runs?since=2026-02-30", 422), ("/api/v1/runs?after=zzz", 404), ("/api/v1/runs?text=%ff", 400),
     ("/api/v1/runs/ffff0000", 404), ("/api/v1/runs/nothex", 422), ("/api/v1/totals?by=name", 422),
     (f"/api/v1/runs/{FIRST}/what-if?site=atlantis", 404), (f"/api/v1/runs/{FIRST}/exports/none", 404),
     ("/api/v1/compare?run=abcd", 422), ("/api/v1/nowhere", 404)],
)  # fmt: skip
def test_what_is_wrong_is_told_as_problem_json(client, path, status):
    answer = client.get(path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_half_a_surrogate_pair_can_be_asked_for(client):
    assert client.get("/?text=%ED%A0%80").status_code == 200


def test_carbon_elsewhere_follows_the_grid(client):
    told = client.get(f"/api/v1/runs/{FIRST}/what-if?site=pol&site=fra").json()

    assert [one["site"] for one in told["sites"]] == ["fra", "pol"]
    assert told["sites"][0]["operational_g"]["mid"] == pytest.approx(told["operational_g"]["mid"])


def test_runs_at_one_site_are_compared_by_their_energy(client):
    told = client.get(f"/api/v1/compare?run={FIRST}&run={run_id_of('key 2')}").json()["runs"]

    assert told[1]["energy_ratio"]["mid"] == pytest.approx(3.0)
    assert told[1]["carbon_ratio"] == told[1]["energy_ratio"]
