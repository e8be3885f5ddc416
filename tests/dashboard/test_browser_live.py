"""A run at work in Chromium: `lowcarb serve` beside a real `lowcarb track --budget`, and figures that move."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from .test_browser import CHROMIUM, PATIENCE_S, free_port, room_missing, sync_api
from .test_live import STEPS

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")


@pytest.fixture
def started(tmp_path):
    """Starts commands of lowcarb in a home of their own, and ends them with all that they started."""
    running = []

    def start(*arguments):
        environ = {**os.environ, "LOWCARB_HOME": str(tmp_path)}
        one = subprocess.Popen(
            [sys.executable, "-m", "lowcarb", *arguments], env=environ, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        running.append(one)

    yield start
    for one in running:
        os.killpg(one.pid, signal.SIGKILL)
        one.wait()


@pytest.fixture
def page(started):
    port = free_port()
    started("serve", "--port", str(port))
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = chromium.new_page(base_url=f"http://127.0.0.1:{port}")
        wrong = []
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        yield page
        chromium.close()
    assert wrong == []


def load_until(page, path, locator):
    """The page, loaded anew until it has this."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        try:
            page.goto(path)
        except sync_api.Error:  # it is not served yet
            time.sleep(0.2)
            continue
        if page.locator(locator).count():
            return
        time.sleep(0.5)
    raise AssertionError(f"no {locator} within {PATIENCE_S} s")


def test_budget_outlook_and_power_are_shown_and_move_without_a_new_load(page, started):
    started("track", "--name", "at work", "--budget", "1 MJ", "--interval", "0.2", "--", sys.executable, "-c", STEPS)
    load_until(page, "/", "[data-field=whole_energy]")
    for path in ("/", None):
        if path is None:
            page.get_by_role("link", name="at work").first.click()
        card = page.locator("[data-attempt]")
        before = card.locator("[data-field=elapsed]").inner_text()
        line = card.locator("[data-path]").get_attribute("d")
        page.wait_for_function(
            "before => document.querySelector('[data-field=elapsed]').textContent !== before", arg=before
        )

        assert card.locator("[data-path]").get_attribute("d") != line
        assert "in all" in card.locator("[data-field=budget_end]").inner_text()
        assert "used" in card.locator("[data-field=spent]").inner_text()
        assert card.locator("progress").count() == 2
        assert card.locator("[data-field=left]").inner_text().startswith("in ")
        assert page.locator("#live-note").inner_text() == ""
        page.set_viewport_size({"width": 360, "height": 700})
        assert room_missing(page) <= 0
        page.set_viewport_size({"width": 1100, "height": 800})
