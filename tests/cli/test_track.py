"""`lowcarb track` and what `lowcarb ledger` then says, as a user runs them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

LOWCARB = Path(sys.executable).with_name("lowcarb")


@pytest.fixture
def lowcarb(tmp_path):
    """Runs a command in a home of its own."""

    def run(*arguments, **environ):
        return subprocess.run(
            [LOWCARB, *arguments], env={**os.environ, "LOWCARB_HOME": str(tmp_path), **environ},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    return run


def test_json_is_one_document_after_the_commands_own_output(lowcarb):
    done = lowcarb("track", "--site", "fra", "--json", "--no-hook", "--", "sh", "-c", "echo said; exit 3")

    said, _, document = done.stdout.partition("\n")
    run = json.loads(document)
    assert (done.returncode, said) == (3, "said")
    assert (run["kind"], run["exit_code"], run["status"]) == ("run", 3, "failed")
    assert run["footprint"]["energy_j"]["mid"] > 0
    assert run["meter"]["cost_cpu_s"] >= 0


def test_the_run_is_in_the_ledger_at_once_and_the_total_counts_it(lowcarb):
    lowcarb("track", "--name", "first", "--", "sleep", "0.2")
    lowcarb("track", "--name", "second", "--key", "k", "--", "sleep", "0.2")
    listed = json.loads(lowcarb("ledger", "list", "--json").stdout)

    assert [run["name"] for run in listed["runs"]] == ["second", "first"]
    parts = [run["attempts"][0]["energy_j"] for run in listed["runs"]]
    assert listed["total"]["energy_j"]["mid"] == pytest.approx(sum(parts))
    assert listed["total"]["overlaps"] == []


def test_a_tracked_command_in_a_tracked_command_counts_once(lowcarb):
    inner = f"{LOWCARB} track --name inner -- sleep 0.5"
    lowcarb("track", "--name", "outer", "--", "sh", "-c", inner)
    listed = json.loads(lowcarb("ledger", "list", "--json").stdout)

    energies = {run["name"]: run["attempts"][0]["energy_j"] for run in listed["runs"]}
    assert set(energies) == {"outer", "inner"}
    assert listed["total"]["energy_j"]["mid"] == pytest.approx(energies["outer"])
    assert listed["total"]["overlaps"] == []
    assert "each joule once" in lowcarb("ledger", "list").stdout


def test_a_budget_ends_the_command_with_exit_code_4(lowcarb):
    done = lowcarb("track", "--budget", "0.5 J", "--interval", "0.1", "--", "sleep", "30")

    assert done.returncode == 4
    assert "the budget of 0.5 J is used up" in done.stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--budget", "5"), "budget"),
        (("--interval", "0"), "interval_s"),
        (("--attribution", "all"), "attribution"),
        (("--site", "frannce"), "site"),
        (("--ledger", "mysql://x"), "ledger"),
        (("--forecast", "/missing.json"), "forecast"),
        (("--forecast", "/dev/null"), "forecast"),
        (("--prometheus", "99999"), "prometheus"),
    ],
)
def test_a_bad_setting_is_one_error_before_the_command_runs(lowcarb, tmp_path, options, named):
    done = lowcarb("track", *options, "--", "touch", str(tmp_path / "ran"))

    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_port_in_use_is_one_error_before_the_command_runs(lowcarb, tmp_path):
    pytest.importorskip("prometheus_client", reason="the prometheus extra is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = lowcarb("track", "--prometheus", str(port), "--", "touch", str(tmp_path / "ran"))

    assert (done.returncode, done.stdout) == (2, "")
    (said,) = done.stderr.splitlines()
    assert f"prometheus = {port}" in said
    assert "in use" in said
    assert not (tmp_path / "ran").exists()


SCRAPE = """
import sys, time, urllib.request
until_s = time.monotonic() + 50.0
while time.monotonic() < until_s:
    page = urllib.request.urlopen(sys.argv[1]).read().decode()
    if "lowcarb_run_info{" in page:
        break
    time.sleep(0.2)
print(page)
"""


def test_live_metrics_are_scraped_while_the_command_runs_and_gone_afterwards(lowcarb):
    client = pytest.importorskip("prometheus_client.parser", reason="the prometheus extra is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/metrics"
    done = lowcarb("track", "--prometheus", str(port), "--site", "fra", "--", sys.executable, "-c", SCRAPE, address)
    families = {family.name: family for family in client.text_string_to_metric_families(done.stdout)}
    (energy_j,) = [sample.value for sample in families["lowcarb_energy_joules"].samples]
    (run,) = [sample.labels["run_id"] for sample in families["lowcarb_run_info"].samples]

    assert done.returncode == 0
    assert address in done.stderr
    assert energy_j > 0
    assert run in done.stderr
    with pytest.raises(URLError):
        urlopen(address)


def test_a_forecast_is_held_against_the_outcome_by_terminal_document_and_report(lowcarb, tmp_path):
    options = ("--params", "1e6", "--tokens", "1e6", "--device", "t4", "--site", "fra")
    path = tmp_path / "f.json"
    path.write_text(lowcarb("forecast", *options, "--json").stdout, encoding="utf-8")
    (scenario,) = json.loads(path.read_text(encoding="utf-8"))["scenarios"]
    done = lowcarb("track", "--forecast", str(path), "--json", "--", "sleep", "0.2")
    run = json.loads(done.stdout)
    (listed,) = json.loads(lowcarb("ledger", "list", "--json").stdout)["runs"]
    said = lowcarb("track", "--forecast", str(path), "--", "sleep", "0.1").stderr

    assert run["forecast"] == scenario["footprint"]
    assert "Energy: forecast" in said
    assert "the interval" in said
    page = lowcarb("report", listed["id"], "--format", "md").stdout
    assert "Energy: forecast" in page
    assert "came out" in page


def test_it_works_where_nothing_is_set(tmp_path):
    done = subprocess.run(
        [LOWCARB, "track", "--json", "--", "/bin/true"],
        env={}, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "done"


def test_attempts_of_one_key_are_one_run_and_show_says_what_metering_took(lowcarb):
    for _ in range(2):
        lowcarb("track", "--name", "again", "--key", "k", "--attribution", "process", "--", "sleep", "0.1")
    (run,) = json.loads(lowcarb("ledger", "list", "--json").stdout)["runs"]
    shown = lowcarb("ledger", "show", run["id"]).stdout

    assert [attempt["number"] for attempt in run["attempts"]] == [1, 2]
    assert "metering took" in shown
    assert "this process tree's share" in shown


def test_a_rank_that_finds_nobody_to_follow_gives_no_figure_that_could_be_added_up(lowcarb):
    done = lowcarb("track", "--json", "--no-hook", "--", "true", LOCAL_RANK="1", LOCAL_WORLD_SIZE="2")

    run = json.loads(done.stdout)
    assert (run["footprint"], run["energy"], run["attempt"]) == (None, None, None)
    assert "nothing was recorded" in done.stderr


def test_an_option_that_there_is_not_is_no_command(lowcarb, tmp_path):
    done = lowcarb("track", "--bogus", "--", "true")

    assert done.returncode == 2
    assert "--bogus" in done.stderr
    assert not list(tmp_path.glob("**/*.jsonl"))
