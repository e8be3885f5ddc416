"""A forecast that a run is held against: a footprint, or a file that `lowcarb forecast --json` wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import Footprint, footprint_from_dict
from lowcarb.errors import SettingError

FIELD = "forecast"
FIGURES = ("energy_j", "operational_g", "embodied_g", "water_l", "cost", "duration_s")
KNOWN = ("energy_j", "operational_g", "duration_s")
"""What every footprint knows."""
FACTS = ("measured_share", "scope", "method", "sources")
MOST_BYTES = 16 * 2**20
"""A file of forecasts is some kilobytes: a larger one is another file."""
WANTED = "a Footprint, or the path of what `lowcarb forecast --json` printed"


def read_forecast(value: Footprint | str | os.PathLike[str]) -> Footprint:
    """The footprint that was forecast.

    Args:
        value: a footprint; or the path of a JSON file: what `lowcarb forecast --json` prints for one device at one
            site, what `lowcarb track --json` prints, or a footprint alone.

    Raises:
        SettingError: it is none, or the file cannot be read or holds no footprint, or several: what is wrong in it is
            named.
    """
    if isinstance(value, Footprint):
        return value
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise SettingError(FIELD, value, WANTED)
    shown = os.fspath(value)
    return _footprint(_document(Path(value), shown), shown)


def _document(path: Path, shown: object) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SettingError(FIELD, shown, f"{WANTED}; it cannot be read ({why})") from error
    try:
        found = json.loads(text) if len(text) <= MOST_BYTES else None
    except (ValueError, RecursionError) as error:
        raise SettingError(FIELD, shown, f"{WANTED}; it is no JSON") from error
    if not isinstance(found, Mapping):
        raise SettingError(FIELD, shown, f"{WANTED}; it holds no footprint")
    return found


def _footprint(document: Mapping[str, Any], shown: object) -> Footprint:
    scenarios = document.get("scenarios")
    if isinstance(scenarios, list):
        if len(scenarios) != 1:
            raise SettingError(FIELD, shown, f"one device at one site; the file has {len(scenarios)} scenarios")
        document = scenarios[0] if isinstance(scenarios[0], Mapping) else {}
    held = document.get("footprint", document)
    if not isinstance(held, Mapping) or "energy_j" not in held:
        raise SettingError(FIELD, shown, f"{WANTED}; energy_j is missing in it")
    for name in FIGURES:
        _check(name, held, shown)
    for name in FACTS:
        if name not in held:
            raise SettingError(FIELD, shown, f"{WANTED}; {name} is missing in it")
    try:
        return footprint_from_dict(held)
    except (ValueError, TypeError) as error:
        raise SettingError(FIELD, shown, f"{WANTED}; {error}") from error


def _check(name: str, held: Mapping[str, Any], shown: object) -> None:
    """Refuse a figure that is none, by its name."""
    if name not in held or (held[name] is None and name in KNOWN):
        raise SettingError(FIELD, shown, f"{WANTED}; {name} is missing in it")
    if held[name] is not None and not isinstance(held[name], Mapping):
        raise SettingError(FIELD, shown, f"{WANTED}; {name} in it is no estimate: low, mid, high and basis")
    try:
        figure = None if held[name] is None else Estimate.from_dict(held[name])
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise SettingError(FIELD, shown, f"{WANTED}; {name} in it is no estimate: {why}") from error
    if figure is not None and figure.low < 0.0:
        raise SettingError(FIELD, shown, f"{WANTED}; {name} in it is below zero")
