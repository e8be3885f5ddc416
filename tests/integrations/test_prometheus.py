"""The Prometheus exporter on a real registry, page and file, with a real tracker on a replayed sensor."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from urllib.request import urlopen

import pytest

from lowcarb.core.energy import Channel, Reading
from lowcarb.errors import SettingError
from lowcarb.sensors.replay import Fault, Replay
from lowcarb.tracker.track import track

client = pytest.importorskip("prometheus_client", reason="the prometheus extra is not installed")

from lowcarb.integrations.live import STOP_S  # noqa: E402  # after the check
from lowcarb.integrations.prometheus import LowcarbCollector, push, serve, textfile  # noqa: E402  # after the check

EVERY_S = 3600.0
"""So long that only the tests look."""


def page_of(registry):
    return client.generate_latest(registry).decode()


def values(registry):
    """Sample values by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def sums(registry, name):
    return sum(value for (found, *_), value in values(registry).items() if found == name)


def total_j(registry):
    return sums(registry, "hw_energy_joules_total")


@pytest.fixture
def registry():
    return client.CollectorRegistry()


@pytest.fixture
def collector(registry):
    made = LowcarbCollector(registry, labels={"project": "a\nb\ud800"}, every_s=EVERY_S)
    yield made
    made.close()


def work(live, seconds=0.3):
    time.sleep(seconds)
    return live.look()


def test_nothing_is_said_before_the_first_look(registry, collector):
    assert {} == values(registry)


def test_names_values_and_labels(registry, collector, settings):
    with track("work", **settings) as run:
        collector.follow(run)
        with run.phase("train"):
            work(collector.live)
            figures = work(collector.live)
        found = values(registry)

    device = (("hw_id", "replay-0"), ("hw_name", "gpu replay-0"), ("hw_type", "gpu"), ("lowcarb_basis", "measured"))
    assert found["hw_power_watts", *device] == pytest.approx(50.0, rel=0.01)
    assert found["hw_energy_joules_total", *device] == pytest.approx(figures.footprint.energy_j.mid)
    assert sums(registry, "lowcarb_operational_carbon_grams_total") == pytest.approx(
        figures.footprint.operational_g.mid
    )
    assert 1.0 == found["lowcarb_measured_share",]
    assert ("lowcarb_phase_energy_joules_total", ("lowcarb_phase", "train")) in found
    assert {"lowcarb_run_info"} == {name for name, *labels in found if "run_id" in dict(labels)}


def test_counters_go_on_over_attempts(registry, collector, settings):
    seen = []
    for _ in range(3):
        with track("work", **settings | {"sensors": [Replay.steady(50.0)]}) as run:
            collector.follow(run)
            for phase in ("train", "evaluate"):
                with run.phase(phase):
                    work(collector.live, 0.1)
                    seen.append(total_j(registry))
        collector.live.look()
        seen.append(total_j(registry))

    assert sorted(seen) == seen
    assert seen[-1] > 2.5 * seen[2] > 0


def test_a_lost_sensor_has_no_power_and_its_energy_is_assumed(registry, collector, settings):
    settings["sensors"] = [Replay.steady(50.0, [Fault("lose", 0.3)])]
    with track("work", **settings) as run:
        collector.follow(run)
        seen = []
        for _ in range(6):
            work(collector.live, 0.2)
            seen.append(total_j(registry))
        found = values(registry)

    assert not [name for name in found if name[0] == "hw_power_watts"]
    assert {"measured", "assumed"} == {
        dict(labels)["lowcarb_basis"] for name, *labels in found if name == "hw_energy_joules_total"
    }
    assert sorted(seen) == seen


def test_a_whole_host_is_never_among_the_devices(registry, collector, settings):
    host = Channel("board:machine", "machine", "machine", "power", "board", "measured", 0.9, 1.1, None, check=True)
    settings["sensors"].append(Replay([host], [Reading(0.0, host.id, 80.0)], hold_last=True, name="board"))
    with track("work", **settings) as run:
        collector.follow(run)
        work(collector.live)
        work(collector.live)
        found = values(registry)

    (power_w,) = [value for (name, *_), value in found.items() if name == "hw_host_power_watts"]
    assert power_w == pytest.approx(80.0, rel=0.01)
    assert {"gpu"} == {dict(labels)["hw_type"] for name, *labels in found if name == "hw_energy_joules_total"}


def test_where_nothing_can_be_read_no_device_is_named(registry, collector, settings):
    with track("work", **settings | {"sensors": []}) as run:
        collector.follow(run)
        work(collector.live)
        found = values(registry)

    assert not [name for name in found if name[0].startswith("hw_")]
    assert 0.0 == found["lowcarb_measured_share",]


def test_promtool_finds_no_fault(registry, collector, settings):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt install prometheus")
    with track("work", **settings) as run:
        collector.follow(run)
        work(collector.live)
        page = page_of(registry)

    done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True)

    assert (0, "") == (done.returncode, done.stderr)


def test_the_page_is_served_here_only(settings):
    with track("work", **settings) as run:
        exporter = serve(0, every_s=EVERY_S).follow(run)
        work(exporter.live)
        with urlopen(f"http://127.0.0.1:{exporter.port}/metrics") as answer:
            page = answer.read().decode()
        exporter.close()

    assert "hw_energy_joules_total{" in page
    assert exporter.port is None


def test_a_port_that_is_taken_does_not_stop_the_training(settings):
    first = serve(0)
    second = serve(first.port)
    with track("work", **settings) as run:
        second.follow(run)
    first.close()
    second.close()

    assert second.live.guard.faults()
    assert "done" == run.status


def test_a_port_that_is_taken_is_refused_where_nothing_has_begun():
    first = serve(0)
    with pytest.raises(SettingError, match="in use"):
        serve(first.port, strict=True)
    first.close()


@pytest.fixture
def silent_port():
    """A server that takes connections, and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(20)
        yield silent.getsockname()[1]


def test_a_gateway_that_hangs_holds_up_the_end_for_a_second_and_what_was_dropped_is_said(settings, silent_port):
    exporter = push(f"127.0.0.1:{silent_port}", every_s=EVERY_S)
    others = [exporter.live.tell(f"hanging {number}", lambda _: time.sleep(20.0)) for number in range(3)]
    with track("work", **settings) as run:
        exporter.follow(run)
        work(exporter.live, 0.1)
        began_s = time.monotonic()
        exporter.close()
        took_s = time.monotonic() - began_s

    faults = exporter.live.guard.faults()
    # All four together, and not one after the other.
    assert took_s < STOP_S * 4
    assert [fault for fault in faults if fault.startswith("prometheus push: no answer by the end")]
    assert len(faults) == 1 + len(others)
    assert "done" == run.status


def test_a_wrong_port_is_said_at_once():
    with pytest.raises(SettingError, match="port"):
        serve(-1)


def test_a_text_file_is_written(settings, tmp_path):
    path = tmp_path / "lowcarb.prom"
    exporter = textfile(path, every_s=EVERY_S)
    with track("work", **settings) as run:
        exporter.follow(run)
        work(exporter.live)
    exporter.close()

    assert "lowcarb_energy_joules_total{" in path.read_text()


@pytest.mark.parametrize("how", ["raise", "hang"])
def test_a_listener_that_fails_or_hangs_is_dropped_with_one_warning(collector, settings, monkeypatch, how):
    monkeypatch.setattr("lowcarb.integrations.live.HANG_S", 0.1)
    told = []

    def bad(figures):
        if how == "raise":
            raise OSError("no such server")
        time.sleep(2.0)

    collector.live.tell("bad", bad)
    collector.live.tell("good", told.append)
    with track("work", **settings) as run:
        collector.follow(run)
        for _ in range(4):
            work(collector.live, 0.1)

    faults = [fault for fault in collector.live.guard.faults() if fault.startswith("bad")]
    assert 1 == len(faults)
    assert "(1 ×)" in faults[0]
    assert len(told) >= 3
