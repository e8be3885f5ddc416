"""The dashboard as people have it: `lowcarb serve` over a ledger in a file, in Chromium."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lowcarb.ledger.record import run_id_of
from lowcarb.ledger.sql import SqlLedger

from ..report.export_ledgers import a_study  # noqa: TID252  # `tests` is no package that can be named
from .conftest import HOSTILE, fill

sync_api = pytest.importorskip("playwright.sync_api", reason="driving a browser needs playwright")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")

PATIENCE_S = 60.0
FIRST, SECOND = run_id_of("key 0"), run_id_of("key 1")
RUNS = 2 + len(HOSTILE) + 4
"""Those of `fill`, and the study's four."""
PAGES = (
    "/", "/?order=energy&limit=3", f"/runs/{FIRST}", f"/runs/{FIRST}/report", f"/runs/{FIRST}/what-if",
    f"/compare?run={FIRST}&run={SECOND}", "/studies", "/study?id=mine", "/study/report?id=mine", "/totals",
    "/totals?by=study",
)  # fmt: skip
BADLY_NAMED = tuple(f"/runs/{run_id_of(f'key {number}')}" for number in range(2, 2 + len(HOSTILE)))
STRICT = """addEventListener("securitypolicyviolation", (event) => console.error("policy", event.blockedURI))"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def served(catalogue, tmp_path_factory):
    """The address of a server that runs over such a file."""
    home = tmp_path_factory.mktemp("served")
    ledger = SqlLedger(home / "ledger.db")
    fill(ledger, catalogue)
    a_study(ledger=ledger)
    ledger.close()
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "lowcarb", "serve", "--port", str(port)],
        env={**os.environ, "LOWCARB_HOME": str(home)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s and server.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    assert server.poll() is None
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    _, said = server.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def browser(served):
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, served):
    """A page that minds what it must not do: ask another host, or complain."""
    context = browser.new_context(base_url=served)
    page = context.new_page()
    page.add_init_script(STRICT)
    wrong = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if is_own(asked.url, served) else wrong.append(asked.url))
    page.on("response", lambda answer: None if answer.status < 400 else wrong.append(f"{answer.status} {answer.url}"))
    yield page
    context.close()
    assert wrong == []


def is_own(url, served):
    return urlsplit(url).netloc == urlsplit(served).netloc


def room_missing(page):
    """By how much a page is wider than its window [px]."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def names(page):
    return page.locator("tbody th[scope=row] a").all_inner_texts()


def test_pages_ask_nobody_else_and_complain_of_nothing(page):
    for path in (*PAGES, *BADLY_NAMED):
        answer = page.goto(path, wait_until="load")

        assert answer.status == 200
        assert page.locator("h1").count() >= 1
        assert room_missing(page) <= 0, path


def test_all_runs_of_the_file_are_listed_newest_first(page):
    page.goto("/")

    assert len(names(page)) == RUNS
    assert names(page).index("second run") < names(page).index("first run")


def test_pages_are_followed_to_the_end(page):
    page.goto("/?limit=5")
    seen = names(page)
    while page.get_by_role("link", name="Next page").count():
        page.get_by_role("link", name="Next page").click()
        seen += names(page)

    assert len(seen) == RUNS


def test_runs_are_filtered_with_the_keyboard_alone(page):
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in range(40):
        if page.evaluate("document.activeElement.name") == "text":
            break
        page.keyboard.press("Tab")
    page.keyboard.type("SECOND")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=SECOND**")

    assert names(page) == ["second run"]
    assert page.locator("input[name=text]").input_value() == "SECOND"


def test_runs_are_ticked_and_compared(page):
    page.goto("/")
    page.get_by_label("Compare first run").press("Space")
    page.get_by_label("Compare second run").press("Space")
    page.get_by_role("button", name="Compare the ticked").press("Enter")

    assert sorted(names(page)) == ["first run", "second run"]


def test_a_tag_is_set_and_found_and_removed(page):
    page.goto(f"/runs/{SECOND}")
    page.locator("#tags input[name=name]").fill("project")
    page.locator("#tags input[name=value]").fill("<b>bold</b>")
    page.get_by_role("button", name="Set").click()
    page.goto("/")
    page.get_by_role("link", name="project: <b>bold</b>").click()

    assert names(page) == ["second run"]
    page.goto(f"/runs/{SECOND}")
    page.get_by_role("button", name="Remove project").click()
    page.goto("/")
    assert page.get_by_text("<b>bold</b>").count() == 0


def test_the_figure_is_drawn_and_fits(page):
    page.goto(f"/runs/{FIRST}")

    assert page.locator(".wide svg .part").first.is_visible()
    page.set_viewport_size({"width": 360, "height": 700})
    assert not page.locator(".wide svg").first.is_visible()
    assert page.locator(".narrow svg").first.is_visible()
    for path in ("/", "/study?id=mine", "/totals", BADLY_NAMED[HOSTILE.index("x" * 10_000)]):
        page.goto(path)
        assert room_missing(page) <= 0, path


def test_an_export_is_kept_as_a_file(page):
    page.goto(f"/runs/{FIRST}")
    with page.expect_download() as kept:
        page.get_by_role("link", name="BibTeX of the sources").click()

    assert kept.value.suggested_filename == "first run bibtex.bib"
    assert "@" in Path(kept.value.path()).read_text(encoding="utf-8")


def test_all_works_without_scripts(browser, served):
    context = browser.new_context(base_url=served, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    page.locator("input[name=text]").fill("first")
    page.get_by_role("button", name="Show").click()
    assert names(page) == ["first run"]
    page.get_by_role("link", name="first run").click()
    assert page.get_by_role("heading", name="first run").is_visible()
    page.get_by_role("link", name="Full report").click()
    assert page.get_by_role("heading", level=1).is_visible()
    page.goto("/study?id=mine")
    page.get_by_role("link", name="Full report").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Does the smaller one do?"
    context.close()
