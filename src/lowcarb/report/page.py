"""What pages are made of: the template engine, headline figures, and sections of text, figure and table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from lowcarb.report.columns import Table
from lowcarb.report.format import Unit, bounds, digits_of, number, unit_for, writable
from lowcarb.report.setting import Fact

BASES = {
    "measured": "read off a sensor, a clock or a score here",
    "modelled": "computed by a model from what was measured here",
    "catalogue": "looked up in a sourced table",
    "assumed": "taken for want of anything better, with a wide interval",
}


class Tile(NamedTuple):
    """A headline figure."""

    name: str
    value: str
    interval: str
    basis: str
    more: str


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a page. A figure's table stands folded beneath it; without a figure the tables stand open."""

    anchor: str
    title: str
    texts: tuple[str, ...] = ()
    wide: str = ""
    """The figure as SVG, for a page."""
    narrow: str = ""
    """The same for a telephone."""
    caption: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    items: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    code: tuple[tuple[str, str], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.wide or self.items or self.facts or self.code or any(table.rows for table in self.tables))


@cache
def environment() -> Environment:
    """The template engine: all that is no markup of ours is escaped, and a missing value is an error."""
    # Templates end in .j2: escape whatever the name, so that no later one is missed.
    made = Environment(
        loader=PackageLoader("lowcarb.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["prose"] = prose
    made.filters["unbroken"] = unbroken
    return made


def sections_page(
    *,
    title: str,
    over: str,
    lead: str,
    tiles: Sequence[Tile],
    notices: Iterable[str],
    sections: Iterable[Section],
    sources: Sequence[Mapping[str, Any]],
) -> str:
    """A self-contained page: the answer first, then those sections that have something to show, then sources."""
    shown = [one for one in sections if not one.empty]
    contents = [("answer", "In short"), *((one.anchor, one.title) for one in shown)]
    context = {
        "title": title,
        "over": over,
        "lead": lead,
        "tiles": tiles,
        "notices": list(notices),
        "sections": shown,
        "sources": [{**one, "link": safe_link(one["url"])} for one in sources],
        "contents": [*contents, ("sources", "Sources")] if sources else contents,
        "bases": BASES,
    }
    return writable(environment().get_template("sections.html.j2").render(context).lstrip())


def tile(name: str, value: Any, unit: str, more: str) -> Tile:
    """A headline figure of an estimate in a stored unit; unknown is said so."""
    if value is None:
        return Tile(name, "not known yet", "", "", "no attempt was metered yet")
    shown: Unit = unit_for([value.mid], unit)
    unit_name = f"{shown.name} CO₂e" if unit == "g" else shown.name
    text = f"{number(value.mid / shown.size, digits_of(value))} {unit_name}"
    return Tile(name, text, bounds(value, shown), value.basis, more)


def figure_section(
    anchor: str,
    title: str,
    draw: Callable[[float], str],
    widths: tuple[float, float],
    *,
    table: Table,
    texts: tuple[str, ...] = (),
    caption: tuple[str, ...] = (),
) -> Section:
    """A section around a figure that is drawn to two widths [px], with its table."""
    wide, narrow = (draw(width) for width in widths)
    return Section(anchor, title, texts, wide, narrow, caption, (table,))


def prose(text: object) -> list[tuple[str, bool]]:
    """A text in pieces, each with whether it is code: what stands in backticks, and options such as `--site`."""
    pieces = re.split(r"(`[^`]+`|(?<!\S)--[a-z][a-z-]*)", str(text))
    return [(piece.strip("`"), index % 2 == 1) for index, piece in enumerate(pieces) if piece]


def unbroken(text: str) -> str:
    """A sentence in which no line breaks between a number and its unit, nor inside an interval."""
    text = re.sub(r"(?<=\d)–(?=\d)", "\u2060–\u2060", text)
    return re.sub(r"(?<=\d) (?=%|points?\b|times\b|[µmkMG]?(?:g|J|s|l|W|Wh)\b|min\b|h\b|t\b|USD\b)", "\u00a0", text)


def safe_link(url: str) -> str:
    """The address if it is one of the web; empty for anything else that a link could run."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        return ""
    return url if scheme in ("http", "https") else ""
