"""The dashboard asks only for what the exporter gives."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from lowcarb.core.energy import Channel, Reading
from lowcarb.integrations.instruments import INSTRUMENTS
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.track import track

DASHBOARD = json.loads((files("lowcarb.integrations") / "grafana" / "lowcarb-training.json").read_text())
LABELS = {
    one.family + ("_total" if one.kind == "counter" else ""): {name.replace(".", "_") for name in one.attributes}
    for one in INSTRUMENTS
}
"""Labels by metric; that these names are the page's is tested beside the exporters."""
FROM_SCRAPING = {"instance", "job"}
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
LEGENDS = [
    (target["expr"], set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])))
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]


def metric_of(expression):
    (metric,) = re.findall(r"\b(?:hw|lowcarb)_\w+(?=\{)", expression)
    return metric


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_query_names_what_the_exporter_gives(expression):
    metric = metric_of(expression)
    matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    grouped = {name for names in re.findall(r"by \(([^)]*)\)", expression) for name in names.split(", ")}

    assert matched | grouped <= LABELS[metric] | FROM_SCRAPING


@pytest.mark.parametrize(("expression", "legend"), LEGENDS)
def test_a_legend_names_labels_that_the_query_leaves(expression, legend):
    grouped = re.search(r"by \(([^)]*)\)", expression)
    left = set(grouped[1].split(", ")) if grouped else LABELS[metric_of(expression)] | FROM_SCRAPING

    assert legend <= left


def test_every_panel_has_its_place_and_the_chosen_source():
    panels = DASHBOARD["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {"${datasource}"} == {target["datasource"]["uid"] for panel in panels for target in panel["targets"]}
    assert "datasource" in {one["name"] for one in DASHBOARD["templating"]["list"] if one["type"] == "datasource"}
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_every_metric_but_the_totals_power_is_shown_or_summed():
    assert set(LABELS) == {metric_of(expression) for expression in EXPRESSIONS}


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed: apt install prometheus")
def test_every_query_has_an_answer_in_a_real_prometheus(settings, tmp_path):
    pytest.importorskip("prometheus_client", reason="the prometheus extra is not installed")
    from lowcarb.integrations.prometheus import serve  # noqa: PLC0415  # after the check

    host = Channel("board:machine", "machine", "machine", "power", "board", "measured", 0.9, 1.1, None, check=True)
    settings["sensors"].append(Replay([host], [Reading(0.0, host.id, 80.0)], hold_last=True, name="board"))
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with track("work", **settings) as run:
        exporter = serve(0, every_s=0.2).follow(run)
        (tmp_path / "prometheus.yml").write_text(
            "global: {scrape_interval: 500ms}\n"
            f"scrape_configs: [{{job_name: lowcarb, static_configs: [{{targets: ['127.0.0.1:{exporter.port}']}}]}}]\n"
        )
        words = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
        server = subprocess.Popen([*words, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
        try:
            unanswered, until_s = set(EXPRESSIONS), time.monotonic() + 30.0
            while unanswered and time.monotonic() < until_s:
                time.sleep(0.5)
                unanswered = {one for one in unanswered if not answer_of(port, one)}
        finally:
            server.kill()
            server.wait()
            exporter.close()

    assert set() == unanswered


def answer_of(port, expression):
    query = expression.replace("$instance", ".*").replace("$__rate_interval", "5s")
    try:
        with urlopen(f"http://127.0.0.1:{port}/api/v1/query?{urlencode({'query': query})}", timeout=5) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return []


def test_the_guide_names_every_metric():
    guide = (Path(__file__).parents[2] / "docs" / "guide-trackers.md").read_text()

    assert set(LABELS) <= set(re.findall(r"`((?:hw|lowcarb)_\w+)`", guide))
    for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL):
        compile(block, "guide-trackers.md", "exec")
