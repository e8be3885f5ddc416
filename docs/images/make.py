# ruff: noqa: INP001, T201  # a script beside the pictures that it makes
"""Make the screenshots of the documentation: the demo report, and the dashboard over a small ledger.

    python docs/images/make.py [FOLDER]

The report is the one of `lowcarb demo`, at desktop and telephone width, light and dark. The ledger of the dashboard
holds the study that the demo shows (really trained, `tests/report/recorded`), invented rows of a CodeCarbon file, so
that there are several months, sites and projects, and a command that runs while the pictures are taken.

Needs playwright and Chromium (/usr/bin/chromium).
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

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
WIDTH, HEIGHT = 1180, 860
LOWEST, TALLEST = 400, 1500
"""Of a picture of a page of the dashboard [px]."""
MOST_BYTES = 300_000
RECORDED = Path(__file__).parents[2] / "tests" / "report" / "recorded" / "mini.jsonl.gz"
PATIENCE_S = 120.0
AT_WORK_S = 20.0
"""How long the command has run when its picture is taken: enough for a curve."""
BUSY = "import math, time\nend = time.time() + 600\nwhile time.time() < end: sum(map(math.sqrt, range(100_000)))\n"
EXAMPLES = (
    # project, country, ISO code, region, grid [kg/kWh], GPU, hours and GPU energy [kWh] by month from August on
    ("summaries", "France", "FRA", "ile-de-france", 0.056, "Tesla T4", (3.0, 5.5, 8.0), (0.19, 0.34, 0.51)),
    ("translation", "Sweden", "SWE", "", 0.041, "NVIDIA A100-SXM4-40GB", (2.0, 6.0, 4.0), (0.62, 1.85, 1.21)),
    ("search", "Germany", "DEU", "", 0.381, "NVIDIA A100-SXM4-40GB", (1.5, 2.5, 9.0), (0.44, 0.71, 2.72)),
)
"""Invented, in the shape of what CodeCarbon writes."""


def main(folder: Path) -> None:
    """Write all pictures."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        report(browser, Path(scratch), folder)
        dashboard(browser, Path(scratch) / "home", folder)
        browser.close()


def report(browser: Browser, scratch: Path, folder: Path) -> None:
    """The demo's report."""
    page_file = scratch / "demo.html"
    page_file.write_text(render_html(recording()), encoding="utf-8")
    for name, width, colours, section in SHOTS:
        page: Page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=colours)  # type: ignore[arg-type]
        page.goto(page_file.as_uri())
        if section != "answer":
            page.evaluate(f"document.getElementById('{section}').scrollIntoView({{behavior: 'instant'}})")
        _keep(page, folder / f"{name}.png")
        page.close()


def dashboard(browser: Browser, home: Path, folder: Path) -> None:
    """The dashboard's pages over a ledger of their own."""
    home.mkdir()
    _fill(home)
    listed = json.loads(_lowcarb(home, "ledger", "list", "--json", "--limit", "100"))["runs"]
    ids = {one["name"]: one["id"] for one in reversed(listed)}
    bert, distilbert = ids["mini: bert/native seed 0"], ids["mini: distilbert/native seed 0"]
    places = "&".join(f"site={one}" for one in ("fra", "swe", "deu", "us-ca", "pol"))
    pages = (
        ("history", "/?limit=12"), ("run", f"/runs/{bert}"), ("compare", f"/compare?run={bert}&run={distilbert}"),
        ("totals", "/totals?by=tag:project"), ("what-if", f"/runs/{bert}/what-if?{places}"),
        ("study", "/study?id=mini"),
    )  # fmt: skip
    with _served(home) as address:
        for name, path in pages:
            page = browser.new_page(viewport={"width": WIDTH, "height": LOWEST}, color_scheme="light")
            page.goto(address + path)
            _whole(page, folder / f"dashboard-{name}.png")
            page.close()
        with _at_work(home):
            page = browser.new_page(viewport={"width": WIDTH, "height": LOWEST}, color_scheme="light")
            _wait_until(lambda: json.loads(page.goto(f"{address}/live.json").text())["live"])
            page.goto(address + "/?limit=5")
            page.wait_for_timeout(AT_WORK_S * 1000.0)
            _whole(page, folder / "dashboard-live.png")
            page.close()


def _fill(home: Path) -> None:
    lines, rows = home / "mini.jsonl", home / "emissions.csv"
    lines.write_bytes(gzip.decompress(RECORDED.read_bytes()))
    with rows.open("w", newline="") as file:
        written = [row for example in EXAMPLES for row in _rows(*example)]
        writer = csv.DictWriter(file, list(written[0]))
        writer.writeheader()
        writer.writerows(written)
    _lowcarb(home, "ledger", "import", str(rows), str(lines))


def _rows(
    project: str, country: str, code: str, region: str, grid: float, gpu: str, hours: Any, energies_kwh: Any
) -> Iterator[dict[str, Any]]:  # fmt: skip
    for month, (wall_h, gpu_kwh) in enumerate(zip(hours, energies_kwh, strict=True), start=8):
        parts = {"cpu_energy": 0.04 * wall_h, "gpu_energy": gpu_kwh, "ram_energy": 0.01 * wall_h}
        whole_kwh = sum(parts.values())
        yield {
            "timestamp": f"2026-{month:02}-{7 + len(project)}T18:00:00", "project_name": project,
            "run_id": f"{project}-{month}", "duration": 3600.0 * wall_h, "emissions": grid * whole_kwh, **parts,
            "energy_consumed": whole_kwh, "country_name": country, "country_iso_code": code, "region": region,
            "os": "Linux", "python_version": "3.11.9", "codecarbon_version": "3.3.2", "cpu_count": 16,
            "cpu_model": "AMD EPYC 7V12", "gpu_count": 1, "gpu_model": f"1 x {gpu}", "ram_total_size": 110.0,
            "tracking_mode": "machine", "pue": 1.0,
        }  # fmt: skip


def _lowcarb(home: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603  # this package's own command
        [sys.executable, "-m", "lowcarb", *words], env=_environment(home), capture_output=True, text=True, check=True
    )
    return done.stdout


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "LOWCARB_HOME": str(home)}


@contextmanager
def _served(home: Path) -> Iterator[str]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-m", "lowcarb", "serve", "--port", str(port)]
    server = subprocess.Popen(command, env=_environment(home), stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        _wait_until(lambda: _answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _wait_until(ready: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not ready() and time.monotonic() < end_s:
        time.sleep(0.5)


@contextmanager
def _at_work(home: Path) -> Iterator[None]:
    """A command under the meter, with a budget."""
    command = [
        sys.executable, "-m", "lowcarb", "track", "--name", "fine-tune at work", "--site", "fra", "--budget", "5 Wh",
        "--", sys.executable, "-c", BUSY,
    ]  # fmt: skip
    process = subprocess.Popen(command, env=_environment(home), stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _whole(page: Page, path: Path) -> None:
    """The whole page, up to a height that a document bears."""
    tall = int(page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": WIDTH, "height": max(LOWEST, min(tall, TALLEST))})
    page.wait_for_timeout(300.0)
    _keep(page, path)


def _keep(page: Page, path: Path) -> None:
    page.screenshot(path=path)
    size = path.stat().st_size
    print(f"{path}: {size} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} is larger than {MOST_BYTES} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
