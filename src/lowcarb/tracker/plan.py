"""The settings of a tracker, checked at the door: what is wrong raises here, before a training, and never later."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, Protocol, TypedDict, get_args

from lowcarb.core.budget import Budget, parse_budget
from lowcarb.core.footprint import Footprint
from lowcarb.core.hardware import Machine
from lowcarb.core.site import Site
from lowcarb.errors import SettingError
from lowcarb.ledger.base import Ledger
from lowcarb.ledger.home import is_postgres, ledger_name, ledger_path
from lowcarb.sensors.base import Sensor
from lowcarb.sensors.machine import HardwareCatalogue
from lowcarb.sensors.meter import LEAST_INTERVAL_S, MOST_INTERVAL_S

Attribution = Literal["machine", "process"]
"""Whose energy it is: all that the machine draws, or the share of this process and its children in the processor."""


class TrackCatalogue(HardwareCatalogue, Protocol):
    """What a tracker asks of a catalogue."""

    def site(self, name: str) -> Site:
        """The site with this id or alias. Raises CatalogueError."""
        ...

    def unknown_site(self) -> Site:
        """A site of which nothing is known: a wide estimate."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """Checked settings. See `lowcarb.tracker.track.track` for what they mean."""

    name: str
    kind: Literal["trial", "track"]
    key: str | None
    study: str | None
    site: Site
    interval_s: float
    ledger: Ledger | Path | str | None = field(repr=False)
    """A ledger at work, a file, or a PostgreSQL URL. The URL may hold a password: a journal gets its `ledger_name`."""
    sensors: tuple[Sensor, ...] | None
    machine: Machine | None
    catalogue: TrackCatalogue | None
    home: Path | None
    budget: Budget | None
    attribution: Attribution
    joins: bool
    forecast: Footprint | None = None


class Settings(TypedDict, total=False):
    """What `track` takes besides name and kind, for those who pass it on."""

    key: str | None
    study: str | None
    site: Site | str | None
    interval_s: float
    ledger: Ledger | str | os.PathLike[str] | None
    sensors: Sequence[Sensor] | None
    machine: Machine | None
    catalogue: TrackCatalogue | None
    home: str | os.PathLike[str] | None
    budget: Budget | str | None
    attribution: Attribution
    joins: bool
    forecast: Footprint | str | os.PathLike[str] | None


def make_plan(  # noqa: PLR0913  # all that `track` takes
    name: str,
    *,
    kind: Literal["trial", "track"],
    key: str | None,
    study: str | None,
    site: Site | str | None,
    interval_s: float,
    ledger: Ledger | str | os.PathLike[str] | None,
    sensors: Sequence[Sensor] | None,
    machine: Machine | None,
    catalogue: TrackCatalogue | None,
    home: str | os.PathLike[str] | None,
    budget: Budget | str | None,
    attribution: Attribution,
    joins: bool,
    forecast: Footprint | str | os.PathLike[str] | None,
) -> Plan:
    """The settings, if they are good.

    Raises:
        SettingError: one of them is not.
        CatalogueError: the catalogue has no such site.
    """
    if kind not in ("trial", "track"):
        raise SettingError("kind", kind, "'trial' or 'track'")
    if attribution not in get_args(Attribution):
        raise SettingError("attribution", attribution, "'machine' or 'process'")
    if not isinstance(joins, bool):
        raise SettingError("joins", joins, "True or False")
    good = isinstance(interval_s, (int, float)) and not isinstance(interval_s, bool)
    if not (good and LEAST_INTERVAL_S <= interval_s <= MOST_INTERVAL_S):
        raise SettingError("interval_s", interval_s, f"seconds from {LEAST_INTERVAL_S:g} to {MOST_INTERVAL_S:g}")
    if not isinstance(site, Site):
        catalogue = catalogue or usual_catalogue()
    return Plan(
        name=_text("name", name),
        kind=kind,
        key=None if key is None else _text("key", key),
        study=None if study is None else _text("study", study),
        site=_site(site, catalogue),
        interval_s=float(interval_s),
        ledger=_ledger(ledger),
        sensors=_sensors(sensors),
        machine=_is_a("machine", machine, Machine, "a Machine or None"),
        catalogue=catalogue,
        home=_home(home),
        budget=parse_budget(budget),
        attribution=attribution,
        joins=joins,
        forecast=None if forecast is None else _forecast(forecast),
    )


@cache
def usual_catalogue() -> TrackCatalogue:
    """The catalogue that comes with the package; its tables are read when they are first needed."""
    from lowcarb.catalogue import Catalogue  # noqa: PLC0415  # reads files; not needed where one is given

    return Catalogue.load()


def _forecast(forecast: Footprint | str | os.PathLike[str]) -> Footprint:
    from lowcarb.tracker.foretold import read_forecast  # noqa: PLC0415  # for the few runs that have one

    return read_forecast(forecast)


def _text(field: str, value: str) -> str:
    if not isinstance(value, str) or not value:
        raise SettingError(field, value, "text of at least one character")
    return value


def _site(site: Site | str | None, catalogue: TrackCatalogue | None) -> Site:
    if isinstance(site, Site):
        return site
    if catalogue is None or not (site is None or isinstance(site, str)):
        raise SettingError("site", site, "a site's id, a Site, or None where the place is unknown")
    return catalogue.unknown_site() if site is None else catalogue.site(site)


def _ledger(ledger: Ledger | str | os.PathLike[str] | None) -> Ledger | Path | str | None:
    if isinstance(ledger, str) and is_postgres(ledger):
        ledger_name(ledger)  # refuses what is no URL; the server may be away until the run is taken in
        return ledger
    if isinstance(ledger, (str, os.PathLike)):
        return _found("ledger", lambda: ledger_path(ledger), ledger)
    if ledger is not None and not (hasattr(ledger, "begin") and hasattr(ledger, "finish")):
        raise SettingError("ledger", ledger, "a Ledger, a file's path, a postgresql:// URL, or None for the user's own")
    return ledger


def _sensors(sensors: Sequence[Sensor] | None) -> tuple[Sensor, ...] | None:
    if sensors is None:
        return None
    if not isinstance(sensors, (list, tuple)):
        raise SettingError("sensors", sensors, "a list of sensors, or None for those of this machine")
    for sensor in sensors:
        if not isinstance(sensor, Sensor):
            raise SettingError("sensors", sensor, "sensors, with name, channels, read and close")
    return tuple(sensors)


def _home(home: str | os.PathLike[str] | None) -> Path | None:
    if home is None:
        return None
    if not isinstance(home, (str, os.PathLike)) or not os.fspath(home) or "\0" in os.fspath(home):
        raise SettingError("home", home, "a directory's path, or None for the user's own")
    return _found("home", lambda: Path(home).expanduser().absolute(), home)


def _found(field: str, find: Callable[[], Path], named: object) -> Path:
    """A path; the user whose home it begins with, or the directory that it is relative to, may not be there."""
    try:
        return find()
    except (RuntimeError, OSError) as error:
        raise SettingError(field, named, "a path that leads somewhere, such as one that begins with /") from error


def _is_a(field: str, value: Machine | None, kind: type[Machine], expected: str) -> Machine | None:
    if value is not None and not isinstance(value, kind):
        raise SettingError(field, value, expected)
    return value
