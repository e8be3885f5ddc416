"""Templates to pages: everything is escaped, whatever it is called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote_from_bytes

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from lowcarb import __version__
from lowcarb.core.units import NS_PER_S, s_from_ns
from lowcarb.report.format import UNKNOWN, exactly, number, percent, plain, quantity

MOST_NAME = 160
"""Characters of a name that a page shows; the whole is in the ledger."""
CONTROL_PICTURES = 0x2400
DELETE, DELETE_PICTURE = 0x7F, "␡"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lowcarb.dashboard"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "named": named, "energy": energy, "carbon": carbon, "power": power, "seconds": seconds, "when": when,
        "day": day, "estimate": estimate, "percent": percent, "count": count, "words": words,
    }  # fmt: skip
    environment.globals |= {"link": link, "version": __version__}
    return environment


def render(template: str, **context: Any) -> str:
    """A page of a template."""
    return _environment().get_template(template).render(**context)


def named(text: object, most: int = MOST_NAME) -> str:
    """A name that a page can show: its control characters as pictures, cut where it is too long."""
    shown = "".join(_shown(one) for one in str(text)[: most + 1])
    return shown[: most - 1] + "…" if len(shown) > most else shown or "(no name)"


def _shown(one: str) -> str:
    code = ord(one)
    if code < ord(" "):
        return chr(CONTROL_PICTURES + code)
    if code == DELETE:
        return DELETE_PICTURE
    # Marks that turn the direction of writing would make a name read as another one; halves of pairs are no text.
    return "\ufffd" if unicodedata.category(one) in ("Cf", "Cs", "Cc", "Co", "Zl", "Zp") and code != 0x200D else one


def link(path: str, words: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> str:
    """An address of this dashboard with its words; those that are None or empty are left out."""
    pairs = words.items() if isinstance(words, Mapping) else words
    said: list[str] = []
    for name, value in pairs:
        values = value if isinstance(value, (list, tuple)) else [value]
        said += [f"{_quoted(name)}={_quoted(one)}" for one in values if one is not None and one != ""]
    return path + ("?" + "&".join(said) if said else "")


def _quoted(text: object) -> str:
    return quote_from_bytes(str(text).encode("utf-8", "surrogatepass"), safe="")


def energy(value: float | None) -> str:
    """An energy [J] for people."""
    return quantity(exactly(value), "J")


def carbon(value: float | None) -> str:
    """An amount of carbon [gCO2e] for people."""
    return quantity(exactly(value), "g")


def power(value: float | None) -> str:
    """A power [W] for people."""
    return plain(value, "W")


def seconds(value: float | None) -> str:
    """A duration [s] for people."""
    return plain(value, "s")


def estimate(value: Any, unit: str) -> str:
    """A figure with its interval for people; its stored unit is given."""
    return quantity(value, unit)


def count(value: float | None) -> str:
    """A count for people: in full, in groups of three."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}".replace(",", "\u202f") if abs(value) < 1e7 else number(value)


def when(ns: int | None) -> str:
    """A time [ns, UTC] for people."""
    return UNKNOWN if ns is None else _date(ns, "%Y-%m-%d %H:%M")


def day(ns: int | None) -> str:
    """A day [ns, UTC] for people."""
    return UNKNOWN if ns is None else _date(ns, "%Y-%m-%d")


def iso(ns: int) -> str | None:
    """A time [ns, UTC] for machines; None where the calendar does not go so far."""
    found = _date(ns, "%Y-%m-%dT%H:%M:%SZ")
    return None if found == UNKNOWN else found


def _date(ns: int, form: str) -> str:
    try:
        return datetime.fromtimestamp(ns // NS_PER_S, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return UNKNOWN


def ago(ns: int, now_ns: int) -> str:
    """How long ago a time [ns] was, for people."""
    return f"{plain(max(0.0, s_from_ns(now_ns - ns)), 's', 2)} ago"


def words(text: object) -> str:
    """An id as words: `out_of_memory` is out of memory."""
    return re.sub(r"[_-]+", " ", str(text))
