"""The report as one page of HTML: it loads nothing, runs no script, and reads well in light, in dark and on paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from lowcarb.core.units import J_PER_KWH, KILO
from lowcarb.report import bars, figures, setting, table
from lowcarb.report.ablation import ablation_table
from lowcarb.report.columns import Table
from lowcarb.report.digest import Document, metric_of, name_of, status_counts, unfinished
from lowcarb.report.figures import NARROW, WIDE
from lowcarb.report.format import Unit, bounds, digits_of, figure, number, percent, plain, quantity, unit_for, writable
from lowcarb.report.summary import (
    contrast_arm,
    exchange,
    lead,
    measured_words,
    points_words,
    sentence,
    sentences,
    total_carbon,
)
from lowcarb.report.well_known_page import well_known_section

BASES = {
    "measured": "read off a sensor, a clock or a score here",
    "modelled": "computed by a model from what was measured here",
    "catalogue": "looked up in a sourced table",
    "assumed": "taken for want of anything better, with a wide interval",
}


WATT_HOUR = Unit("Wh", J_PER_KWH / KILO, 0.0)


class Chart(NamedTuple):
    """A figure for a page and for a telephone, with its table. Both are empty where there is nothing to draw."""

    wide: str
    narrow: str
    table: Table


class Tile(NamedTuple):
    """A headline figure."""

    name: str
    value: str
    interval: str
    basis: str
    more: str


def render_html(document: Mapping[str, Any], *, title: str | None = None) -> str:
    """A study document as one self-contained page.

    Args:
        document: of `study_document`.
        title: the page's title instead of the study's question.
    """
    study = document["study"]
    cards = [(one, _card(document, one)) for one in document["comparisons"]]
    arm, table_of_levers = contrast_arm(document), ablation_table(document)
    context = {
        "title": title or study["question"] or study["id"],
        "study": study,
        "schema_version": document["schema_version"],
        "bases": BASES,
        "lead": lead(document),
        "said": sentences(document),
        "tiles": tiles(document),
        "site_note": document["site"]["note"],
        "lost": _lost(document),
        "costs": table.costs_table(document),
        "quality": table.quality_table(document),
        "scatter": _chart(figures.quality_carbon, document, table.points_table),
        "tree": _chart(figures.forest, document, table.comparisons_table),
        "ablation": table_of_levers,
        "claims": _claims(document),
        "phases": _chart(bars.energy_by_phase, document, table.phases_table),
        "devices": _chart(bars.devices, document, table.devices_table),
        "spread": _chart(bars.trial_spread, document, table.trials_table),
        "margin": points_words(metric_of(document), float(study["margin"])),
        "cards": [card for one, card in cards if one["factor"] != "device"],
        "device_cards": [card for one, card in cards if one["factor"] == "device"],
        "device_arm": arm.id if arm else "",
        "trials_words": _trials_words(document),
        "checks": document["checks"],
        "measured": measured_words(document["totals"].get("measured_share")),
        "coverage": setting.coverage(document),
        "site": setting.site(document),
        "machine": setting.machine(document),
        "design": setting.design(document),
        "recipe": setting.recipe(document),
        "well_known": well_known_section(),
        "sources": [{**one, "link": safe_link(one["url"])} for one in document["sources"]],
    }
    context["contents"] = _contents(context)
    return writable(_environment().get_template("report.html.j2").render(context))


@cache
def _environment() -> Environment:
    # Templates end in .j2: escape whatever the name, so that no later one is missed.
    environment = Environment(
        loader=PackageLoader("lowcarb.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    environment.filters["unbroken"] = unbroken
    return environment


def _chart(draw: Callable[[Document, float], str], document: Document, as_table: Callable[[Document], Table]) -> Chart:
    return Chart(draw(document, WIDE), draw(document, NARROW), as_table(document))


def _contents(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The sections that the page has, in order."""
    sections = (
        ("answer", "In short", True),
        ("arms", "Costs and quality", True),
        ("front", "Quality against carbon", context["scatter"].wide),
        ("comparisons", "Comparisons", True),
        ("levers", "Levers", context["ablation"].rows),
        ("energy", "Energy by phase", context["phases"].wide),
        ("devices", "Other devices", context["devices"].wide),
        ("trials", "Trials", True),
        ("checks", "Findings", True),
        ("measured", "What is measured", True),
        ("methods", "Methods", True),
        ("setting", "Setting", True),
        ("well-known", "Well-known models", True),
        ("sources", "Sources", True),
    )
    return [(anchor, name) for anchor, name, there in sections if there]


def tiles(document: Document) -> tuple[Tile, ...]:
    """The headline figures: carbon and energy of the study, what was measured, how many trials, what was lost."""
    totals = document["totals"]
    carbon, energy, embodied = total_carbon(document), figure(totals["energy_j"]), figure(totals.get("embodied_g"))
    making = f", {quantity(embodied, 'g', interval=False)} of making the machine" if embodied else ""
    electricity = quantity(totals["operational_g"], "g", interval=False)
    small = energy is not None and energy.mid < J_PER_KWH / 10.0
    wh = f"{number(energy.mid / WATT_HOUR.size, digits_of(energy))} {WATT_HOUR.name}, " if energy and small else ""
    share = totals.get("measured_share")
    counts = status_counts(document)
    rest = [f"{count} {status}" for status, count in counts.items() if status != "done"]
    shown = [
        _tile("Carbon", carbon, "g", f"{electricity} of electricity{making}; all trials, all phases"),
        _tile("Energy", energy, "J", f"{wh}over {plain(totals.get('duration_s'), 's')} of computing"),
        Tile("Measured", percent(share), "", "", measured_words(share)),
        Tile(
            "Trials done", f"{counts['done']} of {len(document['trials'])}", "", "", ", ".join(rest) or "none was lost"
        ),
    ]
    if totals["wasted_j"]:
        words = "in attempts that failed or were interrupted: no result rests on it"
        shown.append(Tile("Energy lost", plain(totals["wasted_j"], "J", 2), "", "", words))
    return tuple(shown)


def _tile(name: str, value: Any, unit: str, more: str) -> Tile:
    if value is None:
        return Tile(name, "not known yet", "", "", "no attempt was metered yet")
    shown: Unit = unit_for([value.mid], unit)
    unit_name = f"{shown.name} CO₂e" if unit == "g" else shown.name
    text = f"{number(value.mid / shown.size, digits_of(value))} {unit_name}"
    return Tile(name, text, bounds(value, shown), value.basis, more)


def _card(document: Document, comparison: Document) -> dict[str, Any]:
    """What a verdict card says."""
    pairs, device = comparison["pairs"], comparison["factor"] == "device"
    counted = "projection" if device else "pair"
    said = sentence(document, comparison)
    return {
        "arm": name_of(document, comparison, "arm"),
        "baseline": name_of(document, comparison, "baseline"),
        "verdict": comparison["verdict"],
        "text": said.predicate[:1].upper() + said.predicate[1:],
        "reason": comparison["reason"],
        "pairs": f"Changes the {comparison['factor']}; {pairs} {counted}{'' if pairs == 1 else 's'}",
        "benefits": comparison["benefits"],
        "drawbacks": comparison["drawbacks"],
        "exchange": exchange(document, comparison) if device else None,
    }


def _claims(document: Document) -> list[dict[str, str]]:
    """What is said of each lever elsewhere, with where from."""
    found = (document.get("ablation") or {"levers": []})["levers"]
    return [
        {
            "lever": one["lever"],
            "title": one["title"],
            "of": one["claim"]["of"],
            "where": one["claim"]["where"],
            "sources": ", ".join(one["claim"]["sources"]),
        }
        for one in found
    ]


def _lost(document: Document) -> list[dict[str, Any]]:
    """The trials that ended without a result, with what they had cost by then."""
    found = []
    for trial in unfinished(document):
        spent = [p["footprint"] for p in trial["phases"] if p["footprint"]]
        energy = sum(one["energy_j"]["mid"] for one in spent)
        wall = sum(phase["wall_s"] for phase in trial["phases"])
        cost = f"{plain(wall, 's')} and {plain(energy, 'J', 2)} spent by then" if spent else "nothing was metered"
        found.append(
            {
                "name": f"{trial['arm']} seed {trial['seed']}",
                "status": trial["status"],
                "attempt": trial["attempt"],
                "error": trial["error"],
                "cost": cost,
            }
        )
    return found


def _trials_words(document: Document) -> str:
    counts, wasted = status_counts(document), document["totals"]["wasted_j"]
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    lost = f"{plain(wasted, 'J', 2)} went into attempts without a result." if wasted else "No energy was lost."
    return f"{words}. {lost}"


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
