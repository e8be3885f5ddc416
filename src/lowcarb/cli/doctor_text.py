"""What `lowcarb doctor` prints for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowcarb.cli.console import out, show
from lowcarb.core.units import PERCENT


def show_diagnosis(document: Mapping[str, Any]) -> None:
    """Print all that doctor found."""
    machine = document["machine"]
    _line(f"{machine['name']}{', virtual' if machine['virtual'] else ''}")
    _metered(document)
    if document["self_test"] is not None:
        _tested(document["self_test"])
    _around(document)
    if not document["measurable"]:
        _line("No sensor here reads energy: all figures will be modelled from load, and say so.")
    for missing in document["missing"]:
        _line(f"no {missing['sensor']}: {missing['reason']}. {missing['remedy']}")
    for warning in document["warnings"]:
        _line(f"note: {warning}")
    absent = [name for name, found in document["packages"].items() if found is None]
    if absent:
        _line(f"not installed: {', '.join(absent)}; studies need them: pip install 'lowcarb[lab]'")


def _metered(document: Mapping[str, Any]) -> None:
    show(
        f"What is metered, every {document['interval_s']:g} s",
        ("device", "kind", "sensor", "basis", "within", "rated W", "lags s"),
        [
            (
                c["device"], c["kind"], f"{c['sensor']} ({'a check' if c['check'] else c['quantity']})", c["basis"],
                f"×{c['low_ratio']:.2f} to ×{c['high_ratio']:.2f}",
                "?" if c["rated_w"] is None else f"{c['rated_w']:.0f}",
                f"{c['resolution_s']:g}",
            )
            for c in document["channels"]
        ],
        right=(5, 6),
    )  # fmt: skip


def _tested(test: Mapping[str, Any]) -> None:
    show(
        f"What {test['duration_s']:.1f} s of metering gave",
        ("device", "W", "between", "basis", "covered", "tells runs from", "faults"),
        [
            (
                d["device"], f"{d['power_w']['mid']:.1f}", f"{d['power_w']['low']:.1f} and {d['power_w']['high']:.1f}",
                d["power_w"]["basis"], f"{d['coverage'] * PERCENT:.0f} %", _length(d["resolves_from_s"]),
                "; ".join(d["faults"]) or "none",
            )
            for d in (*test["devices"], *test["checks"])
        ],
        right=(1,),
    )  # fmt: skip
    for check in test["checks"]:
        _line(_verdict(check))
    for fault in test["faults"]:
        _line(f"fault: {fault}")
    cost = test["cost"]
    joules = cost["energy_j_per_hour"]
    _line(
        f"Metering itself takes {cost['cpu_s_per_hour']:.1f} s of processor time an hour, so about "
        f"{joules['mid']:.0f} J ({joules['low']:.0f} to {joules['high']:.0f}, {joules['basis']})."
    )


def _length(seconds: float) -> str:
    return f"{seconds:g} s" if seconds else "any length"


def _verdict(check: Mapping[str, Any]) -> str:
    """Whether a sensor of the whole agrees with those of its parts, in a sentence."""
    names = f"{check['device']} by {check['sensor']}"
    if check["agrees"] is None:
        return f"check: {names} gave nothing to compare with in this time."
    whole, parts = check["power_w"], check["contained_w"]
    figures = f"{names} {whole['mid']:.1f} W, its parts together {parts['mid']:.1f} W"
    if check["agrees"]:
        return f"check: {figures}: they can both be right."
    return f"check: {figures}: parts cannot draw more than the whole, so one of them is wrong or counts what others do."


def _around(document: Mapping[str, Any]) -> None:
    around, processor, files = document["surroundings"], document["processor"], document["files"]
    quota = "" if processor["quota_cpus"] is None else f", a control group grants {processor['quota_cpus']:g}"
    _line(f"processor: {processor['usable_threads']:g} of {processor['threads']} threads may be used{quota}")
    inside = [
        f"{around['container']} container" if around["container"] else "",
        f"virtual machine{' at ' + around['cloud'] if around['cloud'] else ''}" if processor["virtual"] else "",
        _job(around["job"]) if around["job"] else "",
    ]
    _line(f"inside: {', '.join(part for part in inside if part) or 'nothing that is seen'}")
    for name, value in around["choices"].items():
        _line(f"{name}={value}")
    if files["directory"] is not None:
        _line(f"ledger: {files['ledger']}, journals: {files['journals']}")
    if not files["home_is_set"]:
        _line("HOME is not set")


def _job(job: Mapping[str, Any]) -> str:
    held = [f"{job['cpus']} threads" if job["cpus"] else "", f"GPUs {job['gpus']}" if job["gpus"] else ""]
    parts = ", ".join(part for part in held if part)
    return f"SLURM job {job['id']}" + (f" ({parts})" if parts else "")


def _line(text: str) -> None:
    """A line of the result, as it stands."""
    out().print(text, markup=False, soft_wrap=True)
