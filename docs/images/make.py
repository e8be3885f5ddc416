# ruff: noqa: INP001, T201  # a script beside the pictures that it makes
"""Make the screenshots of the documentation: the demo report at desktop and telephone width, light and dark.

    python docs/images/make.py [FOLDER]

Needs playwright and Chromium (/usr/bin/chromium).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from lowcarb.report.demo import recording
from lowcarb.report.html import render_html

CHROMIUM = "/usr/bin/chromium"
SHOTS = (
    ("report-light", 1180, "light", "answer"), ("report-dark", 1180, "dark", "answer"),
    ("report-front", 1180, "light", "front"), ("report-power", 1180, "light", "power"),
    ("report-where", 1180, "dark", "where"), ("report-phone", 390, "light", "answer"),
    ("report-phone-power", 390, "dark", "power"),
)  # fmt: skip
"""Name, width [px], colours, section."""
HEIGHT = 860


def main(folder: Path) -> None:
    """Write all pictures."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        page_file = Path(scratch) / "demo.html"
        page_file.write_text(render_html(recording()), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, width, colours, section in SHOTS:
            page: Page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=colours)  # type: ignore[arg-type]
            page.goto(page_file.as_uri())
            if section != "answer":
                page.evaluate(f"document.getElementById('{section}').scrollIntoView({{behavior: 'instant'}})")
            target = folder / f"{name}.png"
            page.screenshot(path=target)
            print(f"{target}: {target.stat().st_size} bytes")
            page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
