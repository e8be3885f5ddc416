"""First page of the dashboard in Chromium, and the server's memory, on a ledger that is given.

    python benchmarks/dashboard.py LEDGER

Prints the median time to the load event of nine visits, the least and the most [ms], hosts that were asked, console
errors, and the server's resident memory [MB]. Needs the extra `serve`, playwright and Chromium (/usr/bin/chromium).
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

PORT, VISITS = 8799, 9
URL = f"http://127.0.0.1:{PORT}/"


def main(ledger: str) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "lowcarb", "serve", "--ledger", ledger, "--port", str(PORT)], stderr=subprocess.DEVNULL
    )
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page()
            hosts, errors, times_ms = set(), [], []
            page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
            page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
            _wait(page)
            for _ in range(VISITS):
                began = time.perf_counter()
                page.goto(URL, wait_until="load")
                times_ms.append((time.perf_counter() - began) * 1000)
            browser.close()
        status = Path(f"/proc/{server.pid}/status").read_text()
        rss_mb = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000
        middle, least, most = statistics.median(times_ms), min(times_ms), max(times_ms)
        print(f"first page: {middle:.0f} ms (median of {VISITS}; the least {least:.0f}, the most {most:.0f})")
        print(f"hosts asked: {', '.join(hosts)}; console errors: {len(errors)}; server: {rss_mb:.0f} MB resident")
    finally:
        server.terminate()
        server.wait()


def _wait(page) -> None:  # noqa: ANN001
    for _ in range(100):
        try:
            page.goto(URL)
        except Exception:  # noqa: BLE001  # not up yet
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    main(sys.argv[1])
