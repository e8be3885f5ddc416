"""carbontracker's logs: `*_carbontracker.log`, with power and time by epoch, and `*_carbontracker_output.log`.

Read as carbontracker 1.0 to 2.4 write them: `2022-11-14 15:42:43 - message`, older ones with thread and level between;
times are local, without a zone. The first file has the power [W] of each device without the building's share; the
second a sum in kWh that holds it. Where both lie beside each other they are one run. What carbontracker predicts for
epochs that it did not monitor, by default all but the first, is no measurement and is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from lowcarb.catalogue import Catalogue
from lowcarb.core.energy import DeviceEnergy
from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import DeviceKind
from lowcarb.core.site import Site
from lowcarb.core.units import S_PER_HOUR, S_PER_MINUTE, j_from_kwh
from lowcarb.errors import CatalogueError
from lowcarb.ledger.exchange.base import Incoming, IncomingAttempt, Item, Problem, Settings, content_id
from lowcarb.ledger.exchange.clock import is_twice, ns_of, read_time, zone_of
from lowcarb.ledger.exchange.outside import Outside, document_outside, drawn, machine_outside

PROGRAM = "carbontracker"
STANDARD, OUTPUT = "_carbontracker.log", "_carbontracker_output.log"
KINDS: Mapping[str, DeviceKind] = {"gpu": "gpu", "cpu": "cpu", "ane": "npu", "dram": "dram"}
READ_RATIO, MODELLED_RATIO = 1.1, 2.0
"""Factors within which a power that was read, and one that was taken from a rating, are known. `assumed`: NVML's 5 %
and polling each 1 to 10 s; carbontracker takes half of a processor's rating."""
GRID_RATIO = 1.25
"""A grid factor that is the mean of the run, or of a year that the log does not always name. `assumed`."""
PUE = Estimate(1.5, 1.58, 1.67, "assumed")
"""carbontracker's constant by version where the log does not name it."""
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:[,.]\d+)?) - (?:\S+ - [A-Z]+ - )?")
_COMPONENT = re.compile(r"(\w+) with device\(s\) (.*?)\.(?= \w+ with device|\s*$)")
_POWER = re.compile(r"Average power usage \(W\) for (\w+): (.*)", re.DOTALL)
_DURATION = re.compile(r"Duration: (.*)")
_CLOCK = re.compile(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_INTENSITY = re.compile(
    r"Average carbon intensity during training was ([\d.]+) gCO2e?q?/kWh at detected location: (.*?)\.?$", re.MULTILINE
)
_PUE = re.compile(r"PUE coefficient of ([\d.]+)")
_VERSION = re.compile(r"carbontracker version (\S+)")
_SUM = re.compile(r"(Actual|Predicted) consumption(?: for (\d+) epoch\(s\))?:\s+Time:\s*(\S+)\s+Energy:\s*(\S+) kWh\s+"
                  r"CO2e?q?:\s*(\S+) g")  # fmt: skip
_READ = re.compile(r"(cpu|dram)(:\d+)?", re.IGNORECASE)
_UNDECODED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class _Record:
    """A message with the lines that go on with it."""

    line: int
    at: datetime
    text: str


@dataclass(slots=True)
class _Epoch:
    ended: datetime
    duration_s: float
    powers_w: dict[str, list[float] | None] = field(default_factory=dict)
    """By component, a figure a device; None where nothing was read."""


def read_carbontracker(path: Path, settings: Settings) -> Iterator[Item]:
    """The run of a log, or the runs of a folder of logs.

    Raises:
        OSError: a file cannot be read.
        SettingError: there is no such zone.
    """
    zone, catalogue = zone_of(settings.zone), Catalogue.load()
    yield f"times have no zone: taken for {settings.zone}, change it with --zone"
    for standard, output in _pairs(path):
        yield from _run(standard, output, settings.zone, zone, catalogue)


def _pairs(path: Path) -> list[tuple[Path | None, Path | None]]:
    """Logs that belong together."""
    files = sorted(path.glob("*.log")) if path.is_dir() else [path]
    stems: dict[str, tuple[Path | None, Path | None]] = {}
    for file in files:
        for suffix, other in ((OUTPUT, STANDARD), (STANDARD, OUTPUT)):
            if not file.name.endswith(suffix):
                continue
            beside = file.with_name(file.name.removesuffix(suffix) + other)
            pair = (file, beside if beside.exists() else None)
            stems[file.name.removesuffix(suffix)] = pair if suffix == STANDARD else (pair[1], pair[0])
            break
        else:
            # Of another name: its content tells.
            if file == path:
                stems[file.name] = (file, file)
    return list(stems.values())


def _run(
    standard: Path | None, output: Path | None, zone_name: str, zone: tzinfo, catalogue: Catalogue
) -> Iterator[Item]:
    records: list[_Record] = []
    sums = ""
    for file in dict.fromkeys((standard, output)):
        if file is None:
            continue
        for item in _records(file, zone):
            if isinstance(item, Problem):
                yield item
                return
            if file == standard:
                records.append(item)
            if file == output:
                sums += item.text + "\n"
    epochs = _epochs(records)
    if isinstance(epochs, Problem):
        yield epochs
        return
    actual = next((found for found in _SUM.finditer(sums) if found[1] == "Actual"), None)
    file = standard or output
    if file is None or (not epochs and actual is None):
        yield Problem("no epoch was measured to its end", records[-1].line if records else 1, 1)
        return
    try:
        yield _incoming(file, records, epochs, sums, output, zone_name, zone, catalogue)
    except (ValueError, OverflowError) as error:
        yield Problem(f"it cannot be understood: {error}", 1, 1)


def _records(path: Path, zone: tzinfo) -> Iterator[_Record | Problem]:
    last: _Record | None = None
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            bad = _UNDECODED.search(line)
            if bad:
                yield Problem("not UTF-8", number, bad.start() + 1)
                return
            stamp = _STAMP.match(line.lstrip())
            if stamp is None:
                if last is None and line.strip():
                    yield Problem("a time, such as 2022-11-14 15:42:43, is expected", number, 1)
                    return
                last = replace(last, text=last.text + line) if last else None
                continue
            if last is not None:
                yield last
            try:
                at = read_time(stamp[1].replace(",", "."), zone)
            except ValueError as error:
                yield Problem(f"{stamp[1]!r} is not a time: {error}", number, 1)
                return
            last = _Record(number, at, line.lstrip()[stamp.end() :])
    if last is None:
        yield Problem("it is empty", 1, 1)
    else:
        yield last


def _epochs(records: Sequence[_Record]) -> list[_Epoch] | Problem:
    epochs: list[_Epoch] = []
    for record in records:
        duration, power = _DURATION.match(record.text), _POWER.match(record.text)
        if duration:
            seconds = _seconds(duration[1])
            if seconds is None or seconds <= 0:
                return Problem(f"{duration[1].strip()!r} is not a duration, such as 0:02:21.90", record.line, 1)
            epochs.append(_Epoch(record.at, seconds))
        elif power and epochs:
            try:
                numbers = [float(one) for one in re.split(r"[\s,]+", power[2].strip().strip("[]").strip())]
            except ValueError:
                if power[2].strip() != "None":
                    return Problem(f"{power[2].strip()[:40]!r} is not a list of watts", record.line, 1)
                numbers = []
            # A NaN is no reading either.
            epochs[-1].powers_w[power[1].lower()] = numbers if numbers and min(numbers) >= 0 else None
    return epochs


def _seconds(text: str) -> float | None:
    found = _CLOCK.fullmatch(text.strip())
    if not found:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return (days * 24 + hours) * S_PER_HOUR + minutes * S_PER_MINUTE + seconds


def _incoming(
    file: Path, records: Sequence[_Record], epochs: Sequence[_Epoch], sums: str, output: Path | None,
    zone_name: str, zone: tzinfo, catalogue: Catalogue,
) -> Incoming:  # fmt: skip
    text = "\n".join(record.text for record in records) + sums
    names = {one[0].lower(): [part.strip() for part in one[1].split(",")] for one in _COMPONENT.findall(_found(text))}
    actual = next((found for found in _SUM.finditer(sums) if found[1] == "Actual"), None)
    predicted = next((found for found in _SUM.finditer(sums) if found[1] == "Predicted"), None)
    pue = _PUE.search(text)
    factor = Estimate.exact(float(pue[1]), "assumed") if pue else PUE
    faults: list[str] = []
    if epochs:
        devices = _devices(epochs, names, faults)
        duration_s = sum(epoch.duration_s for epoch in epochs)
        started = epochs[0].ended - timedelta(seconds=epochs[0].duration_s)
        ended = epochs[-1].ended
        first = f"{epochs[0].ended.replace(tzinfo=None)} {epochs[0].duration_s} {epochs[0].powers_w}"
    else:
        if actual is None:
            raise ValueError("no sum")
        duration_s = _seconds(actual[3]) or 0.0
        if duration_s <= 0:
            raise ValueError(f"time {actual[3]}")
        energy_j = Estimate.around(j_from_kwh(float(actual[4])), MODELLED_RATIO, "modelled") / factor
        devices = (drawn("machine", "machine", PROGRAM, energy_j),)
        ended = _at(output, zone)
        started, first = ended - timedelta(seconds=duration_s), f"{ended.replace(tzinfo=None)} {actual[0]}"
    if predicted and predicted[2] and actual and predicted[2] != actual[2]:
        faults.append(f"{actual[2]} of {predicted[2]} epochs were monitored: the others are not in this")
    if is_twice(ended):
        faults.append("it ended in the hour that the clock showed twice: it may have been an hour later")
    site, told = _site(text, actual, factor, catalogue)
    faults += told
    version = _VERSION.search(text)
    key = f"{PROGRAM}:{content_id(first)}"
    machine = machine_outside(
        ", ".join(name for several in names.values() for name in several) or "a machine that nobody described",
        [(name, KINDS[part], 1.0) for part, several in names.items() if part in KINDS for name in several],
        software={"carbontracker": version[1]} if version else {},
    )
    document = document_outside(
        Outside(
            program=PROGRAM, started_ns=ns_of(started), duration_s=duration_s, devices=devices, machine=machine,
            site=site, faults=tuple(faults),
            provenance={
                "version": version[1] if version else None, "file": file.name, "line": 1, "zone": zone_name,
                "epochs": len(epochs) or None, "actual": actual[0] if actual else None,
                "predicted": predicted[0] if predicted else None,
            },
        )
    )  # fmt: skip
    attempt = IncomingAttempt(content_id(key, ""), "done", ns_of(started), max(ns_of(ended), ns_of(started)), document)
    stem = file.name.removesuffix(OUTPUT).removesuffix(STANDARD)
    return Incoming(file.name, key, "track", stem, None, (attempt,), {}, content_id(PROGRAM, machine.id))


def _found(text: str) -> str:
    return text.partition("The following components were found:")[2].partition("\n")[0]


def _devices(
    epochs: Sequence[_Epoch], names: Mapping[str, Sequence[str]], faults: list[str]
) -> tuple[DeviceEnergy, ...]:
    found: list[DeviceEnergy] = []
    whole_s = sum(epoch.duration_s for epoch in epochs)
    for part in dict.fromkeys(part for epoch in epochs for part in epoch.powers_w):
        seen = [epoch for epoch in epochs if epoch.powers_w.get(part)]
        covered_s = sum(epoch.duration_s for epoch in seen)
        count = max((len(epoch.powers_w[part] or ()) for epoch in seen), default=0)
        if not any(any(epoch.powers_w[part] or ()) for epoch in seen):
            faults.append(f"{part}: nothing but 0 was read, so what it drew is unknown and not in the total")
            continue
        called = names.get(part, ())
        read = part == "gpu" or all(_READ.fullmatch(name) for name in called)
        for number in range(count):
            drawn_w = [(epoch.powers_w[part] or [], epoch.duration_s) for epoch in seen]
            joules = sum(powers_w[number] * wall_s for powers_w, wall_s in drawn_w if number < len(powers_w))
            mid_j, ratio = joules * whole_s / covered_s, READ_RATIO if read else MODELLED_RATIO
            energy_j = Estimate.around(mid_j, ratio, "measured" if read else "modelled")
            if covered_s < whole_s:
                # What was seen is the least; the rest may have drawn twice its mean.
                high_j = (joules + 2 * (mid_j - joules)) * ratio
                energy_j = Estimate(joules / ratio, mid_j, high_j, "modelled")
            name = called[number] if number < len(called) else part
            device = drawn(f"{part}:{number} {name}", KINDS.get(part, "machine"), PROGRAM, energy_j)
            found.append(replace(device, coverage=covered_s / whole_s, gaps_s=whole_s - covered_s))
    return tuple(found)


def _at(output: Path | None, zone: tzinfo) -> datetime:
    """When the sum was written."""
    for record in _records(output, zone) if output else ():
        if isinstance(record, _Record) and "Actual consumption" in record.text:
            return record.at
    raise ValueError("the sum has no time")


def _site(
    text: str, actual: re.Match[str] | None, factor: Estimate, catalogue: Catalogue
) -> tuple[Site, tuple[str, ...]]:
    told = _INTENSITY.search(text)
    place = told[2].strip() if told else ""
    place = "" if place.lower() == "unknown" else place
    grams = float(told[1]) if told else None
    if grams is None and actual is not None and float(actual[4]) > 0 and actual[5].lower() != "nan":
        grams = float(actual[5]) / float(actual[4])
    if not grams:
        return catalogue.unknown_site(), ("the log has no grid factor: carbon is the world's mean, with wide bounds",)
    intensity = Estimate.around(grams, GRID_RATIO, "catalogue")
    faults: tuple[str, ...] = ()
    if not place:
        # What carbontracker takes where it cannot find the place is the mean of the world.
        world = catalogue.unknown_site().intensity_g_per_kwh
        intensity = Estimate(min(world.low, grams), grams, max(world.high, grams), "assumed")
        faults = ("the log names no place: its grid factor may be a mean of the world, so carbon has wide bounds",)
    id_ = "unknown"
    with suppress(CatalogueError):
        id_ = catalogue.site(place.rpartition(",")[2].strip() or "unknown").id
    site = Site(
        id=id_, name=place or "a place that the log does not name",
        intensity_g_per_kwh=intensity,
        accounting="location, lifecycle", pue=factor, wue_l_per_kwh=None, grid_water_l_per_kwh=None,
        price_per_kwh=None, year=None, declared=bool(place),
    )  # fmt: skip
    return site, faults
