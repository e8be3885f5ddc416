"""CodeCarbon's `emissions.csv`, of all versions, read by column name.

What the columns hold (CodeCarbon 3.3.2 and its sources back to version 1): energies in kWh *with* the building's share
where there is a `pue`, emissions in kg, powers in W, memory in GB; `timestamp` is the end, in local time without a
zone. A tracker that is flushed writes a row each time, all with one `run_id` and the totals until then: the longest
counts. Files of tasks have a column `task_name`: each row is a part of one run.

Basis. GPUs were read off NVML or AMD SMI: measured. Of processors the file does not say whether they were read off a
counter or modelled from their rating, and memory is a rule of thumb: both are modelled, with wide bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from lowcarb.catalogue import Catalogue
from lowcarb.core.energy import DeviceEnergy
from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import DeviceKind, Machine
from lowcarb.core.site import Site
from lowcarb.core.units import BYTES_PER_GB, G_PER_KG, NS_PER_S, j_from_kwh
from lowcarb.errors import CatalogueError
from lowcarb.ledger.exchange.base import Incoming, IncomingAttempt, Item, Problem, Settings, content_id
from lowcarb.ledger.exchange.clock import is_twice, ns_of, read_time, zone_of
from lowcarb.ledger.exchange.outside import Outside, document_outside, drawn, machine_outside
from lowcarb.ledger.exchange.table import TableRow, read_table

PROGRAM = "codecarbon"
NEEDED = ("timestamp", "duration", "emissions")
PARTS: Mapping[str, tuple[DeviceKind, float]] = {
    "gpu_energy": ("gpu", 1.1), "cpu_energy": ("cpu", 2.0), "ram_energy": ("dram", 5.0),
}  # fmt: skip
"""Column, kind of device, and the factor within which its energy is known. `assumed`: GPUs by NVML's 5 % and
CodeCarbon's sampling each 15 s; processors by rated power at an unknown load; memory between the 0.07 W/GB of idle
large modules and CodeCarbon's 3 W per 8 GB, or 5 W a slot."""
WHOLE = ("machine", 2.0)
"""Of files that have only the total."""
GRID_RATIO = 1.25
"""CodeCarbon's grid factors are yearly means of a year that the file does not name. `assumed`."""
SAME_START = timedelta(seconds=5)
SAME_START_SHARE = 0.01
"""Rows of one run whose starts differ by less than this are totals of one go. `timestamp` has whole seconds, and
writing a row takes a moment. `assumed`."""
OFF = 0.01
"""Share by which parts and total may differ before it is said."""
DEFAULT_EXPERIMENT = "5b0fa12a-3dd7-45bb-9766-cc326314d9f1"
"""The experiment of those who named none (CodeCarbon 2 and 3)."""
_NUMBERS = (
    "duration", "emissions", "energy_consumed", "cpu_energy", "gpu_energy", "ram_energy", "pue", "cpu_count",
    "gpu_count", "ram_total_size",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row whose cells have been understood."""

    row: TableRow
    numbers: Mapping[str, float | None]
    ended: datetime

    @property
    def duration_s(self) -> float:
        return self.numbers["duration"] or 0.0

    @property
    def started(self) -> datetime:
        return self.ended - timedelta(seconds=self.duration_s)

    @property
    def run(self) -> str:
        """What rows of one run have in common."""
        own = self.row.text("run_id")
        return own or content_id("row", *(self.row.text(name) for name in self.row.columns))


def read_codecarbon(path: Path, settings: Settings) -> Iterator[Item]:
    """The runs of a CodeCarbon file, one for each `run_id`.

    Raises:
        OSError: the file cannot be read.
        SettingError: there is no such zone.
    """
    zone, catalogue = zone_of(settings.zone), Catalogue.load()
    entries: dict[str, list[_Entry]] = {}
    without = False
    for row in read_table(path, first="timestamp", needed=NEEDED):
        if isinstance(row, Problem):
            yield row
            continue
        entry = _entry(row, zone)
        if isinstance(entry, Problem):
            yield entry
            continue
        without = without or read_time(row.cells["timestamp"], zone).tzinfo is zone
        entries.setdefault(entry.run, []).append(entry)
    if without:
        yield f"times have no zone: taken for {settings.zone}, change it with --zone"
    for run, mine in entries.items():
        yield _incoming(run, mine, path, settings.zone, catalogue)


def _entry(row: TableRow, zone: tzinfo) -> _Entry | Problem:
    numbers: dict[str, float | None] = {}
    for name in _NUMBERS:
        value = row.number(name)
        if isinstance(value, Problem):
            return value
        if value is not None and value < 0:
            return row.problem(name, f"{value:g} is below zero")
        numbers[name] = value
    if not numbers["duration"]:
        return row.problem("duration", "a run that took some time is expected")
    if numbers["pue"] is not None and numbers["pue"] < 1.0:
        return row.problem("pue", "at least 1 is expected")
    if all(numbers[name] is None for name in ("energy_consumed", *PARTS)):
        return row.problem("energy_consumed", "there is no energy")
    try:
        return _Entry(row, numbers, read_time(row.cells["timestamp"], zone))
    except (ValueError, OverflowError):
        return row.problem("timestamp", f"{row.cells['timestamp'][:40]!r} is not a time, such as 2024-05-01T12:00:00")


def _incoming(run: str, entries: Sequence[_Entry], path: Path, zone: str, catalogue: Catalogue) -> Incoming:
    tasks = [entry for entry in entries if entry.row.text("task_name")]
    wholes = [entry for entry in entries if not entry.row.text("task_name")]
    key = f"{PROGRAM}:{run}"
    attempts = [
        _attempt(content_id(key, number or ""), same, path, zone, catalogue)
        for number, same in enumerate(_goes(wholes))
    ]
    if tasks:
        # The row of the whole run, from the other file, has this id: they are told to lie inside it.
        attempts.append(_attempt(content_id(key, "tasks"), tasks, path, zone, catalogue, within=content_id(key, "")))
    first = entries[0].row
    experiment = first.text("experiment_id")
    tags = {"project": first.text("project_name") or ""}
    if experiment and experiment != DEFAULT_EXPERIMENT and first.text("run_id"):
        tags["experiment"] = experiment
    return Incoming(
        place=f"line {first.line}",
        key=key,
        kind="track",
        name=first.text("project_name") or PROGRAM,
        study=None,
        attempts=tuple(attempts),
        tags={name: value for name, value in tags.items() if value},
        group=content_id(first.text("project_name"), first.text("experiment_id"), _machine(first, entries[0].numbers)),
    )


def _goes(entries: Iterable[_Entry]) -> list[list[_Entry]]:
    """Rows of one run, those with one start together, as they are totals of one go."""
    goes: list[list[_Entry]] = []
    for entry in entries:
        slack = max(SAME_START, timedelta(seconds=SAME_START_SHARE * entry.duration_s))
        same = next((go for go in goes if abs(go[0].started - entry.started) <= slack), None)
        if same is None:
            goes.append([entry])
        else:
            same.append(entry)
    return goes


def _attempt(
    id_: str, entries: Sequence[_Entry], path: Path, zone: str, catalogue: Catalogue, within: str | None = None
) -> IncomingAttempt:
    chosen = max(entries, key=lambda entry: entry.duration_s)
    parts: dict[str, tuple[float, tuple[DeviceEnergy, ...]]] = {}
    faults: list[str] = []
    if within is None:
        devices, told = _devices(chosen)
        faults += told
        started, ended, duration_s = chosen.started, chosen.ended, chosen.duration_s
        if len(entries) > 1:
            faults.append(f"{len(entries)} rows have this run_id and start: the longest is the total, and is counted")
    else:
        for entry in entries:
            drawn_here, told = _devices(entry)
            faults += told
            parts[_unused(entry.row.text("task_name") or "", parts)] = entry.duration_s, drawn_here
        devices = _summed([drawn_here for _, drawn_here in parts.values()])
        started, ended = min(entry.started for entry in entries), max(entry.ended for entry in entries)
        duration_s = sum(entry.duration_s for entry in entries)
    if is_twice(chosen.ended):
        faults.append("it ended in the hour that the clock showed twice: it may have been an hour later")
    site, site_fault = _site(chosen, catalogue)
    faults += site_fault
    ended_ns = ns_of(ended)
    started_ns = min(ns_of(started), ended_ns - round(duration_s * NS_PER_S)) if within is None else ns_of(started)
    row = chosen.row
    document = document_outside(
        Outside(
            program=PROGRAM,
            started_ns=started_ns,
            duration_s=duration_s,
            devices=devices,
            machine=_machine(row, chosen.numbers),
            site=site,
            provenance={
                "version": row.text("codecarbon_version"),
                "file": path.name,
                "line": row.line,
                "zone": zone,
                "fields": {name: cell for name, cell in row.cells.items() if cell},
            },
            faults=tuple(faults),
            parts=parts,
            attribution="process" if row.text("tracking_mode") == "process" else "machine",
            within=within,
        )
    )
    return IncomingAttempt(id_, "done", started_ns, ended_ns, document)


def _devices(entry: _Entry) -> tuple[tuple[DeviceEnergy, ...], list[str]]:
    """What each part drew, the building's share taken out, and what is wrong with it."""
    pue, faults = entry.numbers["pue"] or 1.0, []
    found = []
    for column, (kind, ratio) in PARTS.items():
        energy_kwh = entry.numbers[column]
        if energy_kwh is None:
            continue
        if energy_kwh == 0.0:
            if kind != "gpu" or (entry.numbers["gpu_count"] or 0) > 0:
                faults.append(f"{column} is 0: nothing was read of it, so what it drew is unknown and not in the total")
            continue
        basis = "measured" if kind == "gpu" else "modelled"
        energy_j = Estimate.around(j_from_kwh(energy_kwh) / pue, ratio, "measured" if kind == "gpu" else "modelled")
        found.append(drawn(_device_name(entry.row, kind), kind, f"{PROGRAM} ({basis})", energy_j))
    total_kwh = entry.numbers["energy_consumed"]
    if not found and total_kwh:
        whole = Estimate.around(j_from_kwh(total_kwh) / pue, WHOLE[1], "modelled")
        return (drawn("machine", "machine", PROGRAM, whole),), faults
    parts_j = sum(one.energy_j.mid for one in found)
    if total_kwh is not None and abs(parts_j * pue - j_from_kwh(total_kwh)) > OFF * j_from_kwh(total_kwh):
        whole_j = j_from_kwh(total_kwh)
        faults.append(f"the parts come to {parts_j * pue:.4g} J, the total to {whole_j:.4g} J: the parts are counted")
    return tuple(found), faults


def _device_name(row: TableRow, kind: DeviceKind) -> str:
    return (row.text("gpu_model") or "gpu") if kind == "gpu" else kind


def _summed(several: Iterable[Iterable[DeviceEnergy]]) -> tuple[DeviceEnergy, ...]:
    found: dict[str, DeviceEnergy] = {}
    for devices in several:
        for one in devices:
            before = found.get(one.device)
            found[one.device] = (
                drawn(one.device, one.kind, one.sensor, before.energy_j + one.energy_j) if before else one
            )
    return tuple(found.values())


def _unused(name: str, taken: Iterable[str]) -> str:
    names, number = set(taken), 2
    chosen = name
    while chosen in names:
        chosen, number = f"{name} ({number})", number + 1
    return chosen


def _machine(row: TableRow, numbers: Mapping[str, float | None]) -> Machine:
    devices: list[tuple[str, DeviceKind, float]] = []
    if row.text("cpu_model"):
        devices.append((row.text("cpu_model") or "", "cpu", 1.0))
    if row.text("gpu_model"):
        # "2 x Tesla T4"
        model = re.sub(r"^\d+ x ", "", row.text("gpu_model") or "")
        devices.append((model, "gpu", numbers["gpu_count"] or 1.0))
    name = " + ".join(f"{count:g} x {model}" for model, _, count in devices) or "a machine that nobody described"
    told = {"python": row.text("python_version"), "codecarbon": row.text("codecarbon_version"), "os": row.text("os")}
    return machine_outside(
        name, devices, threads=int(numbers["cpu_count"] or 0),
        memory_bytes=(numbers["ram_total_size"] or 0.0) * BYTES_PER_GB,
        software={package: version for package, version in told.items() if version},
    )  # fmt: skip


def _site(entry: _Entry, catalogue: Catalogue) -> tuple[Site, list[str]]:
    """The place as the row has it, with the grid factor that its own figures come to."""
    row = entry.row
    emissions_kg, country = entry.numbers["emissions"], row.text("country_iso_code")
    parts_kwh = sum(entry.numbers[name] or 0.0 for name in PARTS)
    energy_kwh = parts_kwh or entry.numbers["energy_consumed"]
    if not emissions_kg or not energy_kwh or not (country or row.text("cloud_region")):
        return catalogue.unknown_site(), ["no place or emissions: carbon is the world's mean, with a wide interval"]
    faults = []
    if country == "CAN" and (row.text("region") or "").lower() in ("quebec", "québec"):
        faults.append("Quebec, Canada is also what CodeCarbon takes where it cannot find the place: check it")
    intensity = Estimate.around(emissions_kg * G_PER_KG / energy_kwh, GRID_RATIO, "catalogue")
    pue = entry.numbers["pue"]
    site = Site(
        id=_site_id(row, catalogue),
        name=", ".join(filter(None, (row.text("cloud_region"), row.text("region"), row.text("country_name")))) or "?",
        intensity_g_per_kwh=intensity,
        accounting="location, lifecycle",
        pue=Estimate.exact(pue or 1.0, "assumed"),
        wue_l_per_kwh=None,
        grid_water_l_per_kwh=None,
        price_per_kwh=None,
        year=None,
        declared=True,
    )
    return site, faults


def _site_id(row: TableRow, catalogue: Catalogue) -> str:
    country, region = row.text("country_iso_code") or "", row.text("region") or ""
    names = [row.text("cloud_region") or "", f"us-{region}" if country == "USA" and region else "", country]
    for name in filter(None, names):
        with suppress(CatalogueError):
            return catalogue.site(name).id
    return country.lower() or "unknown"
