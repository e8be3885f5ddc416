"""Power of the whole machine: ACPI meters, IPMI through a fake ipmitool, Redfish through a server on this machine."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.board import find_board, machine_channel
from lowcarb.sensors.ipmi import find_ipmi
from lowcarb.sensors.redfish import find_redfish
from lowcarb.sensors.slow import SlowPower

METER = {"name": "power_meter", "power1_average": 305_000_000, "power1_is_battery": 0}


@pytest.fixture
def sysfs(tmp_path):
    """Makes a sysfs root with one hwmon chip for each `{file: content}`; a file may lie below a folder."""

    def build(*chips):
        for number, files in enumerate(chips):
            for name, content in files.items():
                path = tmp_path / "class" / "hwmon" / f"hwmon{number}" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{content}\n")
        return tmp_path

    return build


def values(sensor):
    return [reading.value for reading in sensor.read(1.0)]


def test_a_meter_tells_the_machines_power_and_is_only_a_check(sysfs):
    sensor = find_board(sysfs({"name": "coretemp"}, METER))
    (channel,) = sensor.channels()

    assert isinstance(sensor, Sensor)
    assert ("machine", "machine", "power", "measured", True) == (
        channel.device, channel.kind, channel.quantity, channel.basis, channel.check,
    )  # fmt: skip
    assert [305.0] == values(sensor)


def test_the_files_of_older_kernels_lie_in_the_device(sysfs):
    assert [305.0] == values(find_board(sysfs({"name": "power_meter", "device/power1_average": 305_000_000})))


def test_accuracy_and_time_of_the_mean_are_those_that_the_meter_states(sysfs):
    (channel,) = find_board(sysfs({**METER, "power1_accuracy": "95.0%", "power1_average_interval": 30_000})).channels()

    assert pytest.approx((0.95, 1.05, 30.0)) == (channel.low_ratio, channel.high_ratio, channel.resolution_s)


@pytest.mark.parametrize("stated", ["100.0%", "0.0%", "unknown", "-3%"])
def test_an_accuracy_that_cannot_be_is_not_believed(sysfs, stated):
    (channel,) = find_board(sysfs({**METER, "power1_accuracy": stated})).channels()

    assert machine_channel("board").low_ratio == channel.low_ratio < 1.0


def test_a_meter_of_the_system_is_told_from_one_of_a_part(sysfs):
    part = {**METER, "power1_average": 40_000_000, "measures/ACPI0007:00": ""}

    assert [305.0] == values(find_board(sysfs(part, {**METER, "measures/LNXSYBUS:00": ""})))


@pytest.mark.parametrize(
    ("chips", "reason"),
    [
        ([{**METER, "measures/ACPI0007:00": ""}], "0 measure the whole"),
        ([METER, METER], "2 measure the whole"),
        ([{**METER, "power1_average": 0}], "gives no power"),
        ([{**METER, "power1_average": 4_294_967_295_000}], "gives no power"),
        ([{**METER, "power1_average": "error"}], "gives no power"),
    ],
)
def test_a_meter_that_does_not_tell_the_machines_power_is_unavailable(sysfs, chips, reason):
    with pytest.raises(SensorUnavailable, match=reason) as caught:
        find_board(sysfs(*chips))

    assert caught.value.remedy


@pytest.mark.parametrize("chips", [[], [{"name": "nct6775"}], [{**METER, "power1_is_battery": 1}]])
def test_a_machine_without_a_meter_has_nothing_to_fix(sysfs, chips):
    with pytest.raises(SensorUnavailable) as caught:
        find_board(sysfs(*chips))

    assert "" == caught.value.remedy


def test_a_meter_that_fails_in_mid_run_is_left_out(sysfs):
    root = sysfs(METER)
    sensor = find_board(root)
    (root / "class" / "hwmon" / "hwmon0" / "power1_average").write_text("")

    assert [] == values(sensor)


# A slow question, by a clock that is put forward by hand.


class Questions:
    """Answers in turn; an error among the answers is raised."""

    def __init__(self, *answers):
        self.answers, self.asked, self.go = list(answers), 0, threading.Event()
        self.go.set()

    def __call__(self):
        self.go.wait(5.0)
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def slow(questions, clock):
    return SlowPower(machine_channel("slow"), questions, period_s=5.0, clock=clock)


def test_a_slow_answer_is_told_again_until_the_next_is_due(clock, until):
    questions = Questions(100.0, 200.0)
    sensor = slow(questions, clock)
    sensor.first()

    assert [100.0] == values(sensor)
    clock.now += 4.9
    assert ([100.0], 1) == (values(sensor), questions.asked)
    clock.now += 0.2
    sensor.read(1.0)
    until(lambda: values(sensor) == [200.0])
    assert 2 == questions.asked


def test_a_question_that_hangs_holds_up_nobody_and_is_not_put_twice(clock):
    questions = Questions(100.0)
    questions.go.clear()
    sensor = slow(questions, clock)
    sensor.first(0.0)

    assert [] == values(sensor)
    clock.now += 100.0
    assert [] == values(sensor)
    questions.go.set()


def test_an_answer_grows_stale_and_then_the_fault_is_told(clock, until):
    sensor = slow(Questions(100.0, *[OSError("gone")] * 9), clock)
    sensor.first()

    for _ in range(3):
        clock.now += 5.0
        assert [100.0] == values(sensor)
        until(lambda: not any(thread.name == "lowcarb-slow-ask" for thread in threading.enumerate()))
    clock.now += 0.1
    with pytest.raises(OSError, match="gone"):
        sensor.read(1.0)


# IPMI, through a program that answers as ipmitool does.

READING = """
    Instantaneous power reading:                   {watts} Watts
    Minimum during sampling period:                  4 Watts
    Average power reading over sample period:       99 Watts
    IPMI timestamp:                           Mon Nov 24 08:00:00 2025
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   {state}
"""
ACTIVE = READING.format(watts=220, state="activated")


@pytest.fixture
def bmc(tmp_path):
    """Makes a /dev with a controller, and an environment whose PATH has an ipmitool that prints this."""

    def build(printed=ACTIVE, code=0, *, tool=True):
        (tmp_path / "dev").mkdir()
        (tmp_path / "dev" / "ipmi0").touch()
        program = tmp_path / "ipmitool"
        if tool:
            program.write_text(
                f'#!/bin/sh\n[ "$*" = "dcmi power reading" ] || exit 9\ncat <<E\n{printed}\nE\nexit {code}\n'
            )
            program.chmod(0o755)
        return {"PATH": str(tmp_path)}, tmp_path / "dev"

    return build


def test_the_controller_tells_the_machines_power(bmc):
    environ, dev = bmc()

    sensor = find_ipmi(environ, dev_root=dev, wait_s=10.0)
    (channel,) = sensor.channels()

    assert [220.0] == values(sensor)
    assert ("ipmi", "machine", True) == (channel.sensor, channel.device, channel.check)
    assert channel.resolution_s >= 5.0


@pytest.mark.parametrize(
    ("printed", "code", "reason"),
    [
        (READING.format(watts=0, state="activated"), 0, "0 W"),
        (READING.format(watts=220, state="deactivated"), 0, "deactivated"),
        ("DCMI request failed", 0, "no power"),
        ("", 1, "ends with 1"),
    ],
)
def test_a_controller_that_tells_no_power_is_unavailable(bmc, printed, code, reason):
    environ, dev = bmc(printed, code)

    with pytest.raises(SensorUnavailable, match=reason):
        find_ipmi(environ, dev_root=dev, wait_s=10.0)


def test_without_a_controller_there_is_nothing_to_fix(tmp_path):
    with pytest.raises(SensorUnavailable) as caught:
        find_ipmi({}, dev_root=tmp_path)

    assert "" == caught.value.remedy


def test_without_ipmitool_it_is_told_what_to_install(bmc):
    environ, dev = bmc(tool=False)

    with pytest.raises(SensorUnavailable, match="Install the package ipmitool"):
        find_ipmi(environ, dev_root=dev)


def test_a_controller_that_may_not_be_opened_comes_with_a_remedy(bmc):
    environ, dev = bmc()

    with pytest.raises(SensorUnavailable) as caught:
        find_ipmi(environ, dev_root=dev, may_open=lambda device: False)

    assert 'KERNEL=="ipmi*"' in caught.value.remedy


# Redfish, from a server on this machine.

METRICS = {"@odata.type": "#EnvironmentMetrics.v1_3_1.EnvironmentMetrics", "PowerWatts": {"Reading": 374}}
POWER = {"PowerControl": [{"PowerConsumedWatts": 590, "PowerCapacityWatts": 1600}, {"PowerConsumedWatts": 100}]}
USER, PASSWORD = "root", "s3cret-p4ss"
NAMED = {"LOWCARB_REDFISH_USER": USER, "LOWCARB_REDFISH_PASSWORD": PASSWORD}


@contextmanager
def controller(body, status=200, headers=()):
    """A server that answers so to everything; yields its URL and the headers of the requests that it got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            got.append(dict(self.headers))
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/redfish/v1/Chassis/1/Power", got
        finally:
            server.shutdown()
            thread.join()


def redfish(url, **environ):
    return find_redfish({"LOWCARB_REDFISH_URL": url, **environ}, wait_s=10.0)


@pytest.mark.parametrize(
    ("document", "watts"),
    [(METRICS, 374.0), (POWER, 590.0), ({"Reading": 12.5, "ReadingUnits": "W", "ReadingType": "Power"}, 12.5)],
)
def test_a_resource_tells_the_machines_power(document, watts):
    with controller(document) as (url, _):
        sensor = redfish(url)
        (channel,) = sensor.channels()

        assert [watts] == values(sensor)
        assert ("redfish", "machine", True) == (channel.sensor, channel.device, channel.check)


def test_name_and_password_go_to_the_controller():
    with controller(METRICS) as (url, got):
        redfish(url, **NAMED)

    assert f"{USER}:{PASSWORD}".encode() == b64decode(got[0]["Authorization"].removeprefix("Basic "))


def test_without_them_none_are_sent():
    with controller(METRICS) as (url, got):
        redfish(url)

    assert "Authorization" not in got[0]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"@odata.type": "#PowerSubsystem.v1_1_0.PowerSubsystem", "CapacityWatts": 1600}, 200, "tells no power"),
        ({"PowerControl": [{"PowerConsumedWatts": None}]}, 200, "tells no power"),
        ({"PowerControl": []}, 200, "tells no power"),
        ({"PowerWatts": {"Reading": True}}, 200, "tells no power"),
        ({"PowerWatts": {"Reading": -1}}, 200, "tells no power"),
        (b'{"PowerWatts": {"Reading": NaN}}', 200, "tells no power"),
        (b"[" * 50_000, 200, "no JSON"),
        (b"<html>", 200, "no JSON"),
        (b"\xff\xfe", 200, "no JSON"),
        (b" " * 1_000_002, 200, "does not come to an end"),
        ({}, 401, "answers 401"),
        ({}, 500, "answers 500"),
    ],
)
def test_an_answer_without_a_power_is_told_without_the_password(body, status, reason):
    with (
        controller(body, status) as (url, _),
        pytest.raises(SensorUnavailable, match=reason) as caught,
    ):
        redfish(url, **NAMED)

    assert PASSWORD not in f"{caught.value!r} {caught.value}"


def test_a_redirect_is_not_followed():
    with controller(METRICS) as (elsewhere, got), controller({}, 302, [("Location", elsewhere)]) as (url, _):
        with pytest.raises(SensorUnavailable, match="answers 302"):
            redfish(url, **NAMED)

        assert [] == got


def test_a_proxy_of_the_environment_sees_nothing(monkeypatch):
    with controller({}, 500) as (proxy, seen), controller(METRICS) as (url, _):
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy)

        assert [374.0] == values(redfish(url, **NAMED))
        assert [] == seen


@pytest.mark.parametrize(
    ("url", "environ", "reason"),
    [
        ("file:///etc/passwd", {}, "no http"),
        ("bmc/redfish/v1", {}, "no http"),
        ("https://", {}, "no http"),
        ("https://bmc:port/", {}, "no http"),
        (f"https://{USER}:{PASSWORD}@bmc/redfish", {}, "holds a name or password"),
        ("https://bmc/redfish", {"LOWCARB_REDFISH_USER": USER}, "only one"),
        ("https://bmc/redfish", {"LOWCARB_REDFISH_PASSWORD": PASSWORD}, "only one"),
        ("http://bmc/redfish", NAMED, "unencrypted"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_asked(url, environ, reason):
    with pytest.raises(SensorUnavailable, match=reason) as caught:
        redfish(url, **environ)

    assert PASSWORD not in str(caught.value)
    assert caught.value.remedy


def test_a_controller_that_nobody_answers_for_is_unavailable():
    with controller(METRICS) as (url, _):
        pass

    with pytest.raises(SensorUnavailable, match="cannot be asked"):
        redfish(url)


def test_a_certificate_file_that_is_not_there_is_unavailable(tmp_path):
    with pytest.raises(SensorUnavailable, match="cannot be asked"):
        redfish("https://127.0.0.1:9/redfish", LOWCARB_REDFISH_CA=str(tmp_path / "none.pem"))


@pytest.mark.parametrize("environ", [{}, {"LOWCARB_REDFISH_URL": ""}, NAMED])
def test_nothing_is_asked_unless_a_resource_is_named(environ):
    with pytest.raises(SensorUnavailable) as caught:
        find_redfish(environ)

    assert "" == caught.value.remedy
