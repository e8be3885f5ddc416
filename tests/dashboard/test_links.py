"""Every address that a page names is there, and no word in an address is too much for the server."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from urllib.parse import quote, urljoin, urlsplit

import pytest

from lowcarb.dashboard.api import ROUTES
from lowcarb.dashboard.pages import PAGES
from lowcarb.ledger.record import run_id_of

from ..report.export_ledgers import a_study  # noqa: TID252  # `tests` is no package that can be named

BASE = "http://127.0.0.1:8765"
FIRST, SECOND = run_id_of("key 0"), run_id_of("key 1")


class Links(HTMLParser):
    """The addresses that a page names."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def cursor(*words):
    return base64.urlsafe_b64encode(json.dumps(words).encode()).decode().rstrip("=")


VALUES = (
    "\0", "a\0b", "\ud800", "a\udfffz", "x" * 10_000, "x" * 20_000, "😀" * 2_000, "%", "\\", "'\"--", "\r\n", "=", "a=",
    "=b", "a=\0", "a=\ud800", "tag:", "tag:\0", "tag:\ud800", "-1", "1e9", "9" * 30, "9999-12-31", "0001-01-01",
    "2026-02-30", "[" * 5_000, cursor("newest", 1, "a"), cursor("newest", 2**63, "a"), cursor("newest", -(2**63), "a"),
    cursor("newest", 1e308, "a"), cursor("newest", float("nan"), "a"), cursor("energy", float("inf"), "a"),
    cursor("newest", None, "é"), cursor("newest", 10**400, "a"), base64.urlsafe_b64encode(b"[" * 9_000).decode(),
)  # fmt: skip
in_a_file = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
WORDS = {
    path: sorted({word.name for word in one.parameters if word.place == "query"})
    for prefix, routes in (("", PAGES), ("/api/v1", ROUTES))
    for one in routes
    for path in (prefix + one.path,)
    if one.method == "GET"
}


def filled(path):
    return path.replace("{run}", FIRST).replace("{export}", "bibtex")


@in_a_file
@pytest.mark.parametrize(("path", "word"), [(path, word) for path, words in WORDS.items() for word in words])
def test_no_word_of_an_address_is_a_fault_of_the_server(client, path, word):
    for value in VALUES:
        said = f"{word}={quote(value.encode('utf-8', 'surrogatepass'), safe='')}"
        answer = client.get(f"{filled(path)}?{said}")

        assert answer.status_code in (200, 400, 404, 422), (said[:80], answer.text[-300:])


@in_a_file
@pytest.mark.parametrize("path", [path for path in WORDS if "{" in path])
def test_no_part_of_a_path_is_a_fault_of_the_server(client, path):
    for value in VALUES:
        part = quote(value.encode("utf-8", "surrogatepass"), safe="")
        for whole in (path.replace("{run}", part).replace("{export}", "bibtex"),
                      path.replace("{run}", FIRST).replace("{export}", part)):  # fmt: skip
            assert client.get(whole).status_code in (200, 400, 404, 422)


@in_a_file
def test_every_address_that_a_page_names_is_there(client, ledger):
    a_study(ledger=ledger)
    waiting, seen = ["/", f"/compare?run={FIRST}&run={SECOND}", "/study?id=mine&id=mine"], {}
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        answer = client.get(path)
        seen[path] = answer.status_code
        if answer.headers["content-type"].startswith("text/html"):
            for link in Links(answer.text).found:
                parts = urlsplit(urljoin(BASE + path, link))
                if parts.netloc == urlsplit(BASE).netloc:
                    waiting.append(parts.path + (f"?{parts.query}" if parts.query else ""))

    assert {path: status for path, status in seen.items() if status != 200} == {}
    kinds = ("/study?", "/study/report", "/study/export", "/runs.csv", "/totals?", "/static/")
    assert all(any(path.startswith(kind) for path in seen) for kind in kinds)
    assert any(path.endswith("/what-if") for path in seen)
    assert any(path.endswith("/report") for path in seen)


def test_a_run_of_which_nothing_is_known_yet_promises_nothing(client, ledger):
    begun = ledger.begin(attempt_id="b", key="begun", kind="track", name="begun", study=None, started_ns=1)

    page = client.get(f"/runs/{begun.run_id}")

    assert page.status_code == 200
    for link in Links(page.text).found:
        if link.startswith("/"):
            assert client.get(link).status_code == 200
