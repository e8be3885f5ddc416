"""The report as one page of HTML: it loads nothing, runs no script, and reads well in light, in dark and on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from lowcarb.core.units import J_PER_KWH, KILO
from lowcarb.report import bars, figures, setting, table
from lowcarb.report.ablation import ablation_table
from lowcarb.report.columns import Table
from lowcarb.report.digest import Document, metric_of, name_of, status_counts, unfinished
from lowcarb.report.everyday import everyday_table, everyday_words
from lowcarb.report.figures import NARROW, WIDE
from lowcarb.report.foretold import foretold_section
from lowcarb.report.format import Unit, digits_of, figure, number, percent, plain, quantity, writable
from lowcarb.report.page import BASES, Section, Tile, environment, figure_section, safe_link, tile
from lowcarb.report.power import TITLE as POWER
from lowcarb.report.power import power_over_time, power_table, traces
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
from lowcarb.report.where import TITLE as WHERE
from lowcarb.report.where import grid_of, where_figure, where_table

WATT_HOUR = Unit("Wh", J_PER_KWH / KILO, 0.0)


class Chart(NamedTuple):
    """A figure for a page and for a telephone, with its table. Both are empty where there is nothing to draw."""

    wide: str
    narrow: str
    table: Table


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
        "recorded": _recorded(document),
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
        "everyday": everyday_words(document),
        "familiar": everyday_table(document, document["sources"]),
        "where": where_section([phase for trial in document["trials"] for phase in trial["phases"]]),
        "power": power_section(document),
        "foretold": foretold_section(document["trials"]),
        "sources": [{**one, "link": safe_link(one["url"])} for one in document["sources"]],
    }
    context["contents"] = _contents(context)
    return writable(environment().get_template("report.html.j2").render(context))


def _chart(draw: Callable[[Document, float], str], document: Document, as_table: Callable[[Document], Table]) -> Chart:
    return Chart(draw(document, WIDE), draw(document, NARROW), as_table(document))


def _recorded(document: Document) -> str:
    """When and on what a bundled recording was made; empty for a study of one's own."""
    recorded, machine = document.get("recorded"), document["machine"]
    if not recorded:
        return ""
    return f"{recorded['file']}, run on {recorded['date']} on {machine['name'] if machine else 'a machine not known'}"


def where_section(phases: Iterable[Mapping[str, Any]]) -> Section:
    """Energy by device and phase."""
    grid = grid_of(phases)
    return figure_section(
        "where", WHERE, lambda width: where_figure(grid, width), (WIDE, NARROW),
        table=where_table(grid),
        caption=("Which device drew it, and in which phase. Whiskers span the interval of a phase's whole.",),
    )  # fmt: skip


def power_section(document: Document) -> Section:
    """Power over time of one trial of each arm."""
    found = traces(document)
    return figure_section(
        "power", POWER, lambda width: power_over_time(found, width), (WIDE, NARROW),
        table=power_table(found),
        caption=(
            "The first done trial of each arm, from its start: mean power of each stretch, all devices stacked.",
            "A break is time without readings: nothing is drawn where nothing was seen.",
        ),
    )  # fmt: skip


def _contents(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The sections that the page has, in order."""
    sections = (
        ("answer", "In short", True),
        ("arms", "Costs and quality", True),
        ("front", "Quality against carbon", context["scatter"].wide),
        ("comparisons", "Comparisons", True),
        ("levers", "Levers", context["ablation"].rows),
        ("energy", "Energy by phase", context["phases"].wide),
        ("where", "Energy by device", not context["where"].empty),
        ("power", "Power over time", not context["power"].empty),
        ("foretold", "Forecast and outcome", not context["foretold"].empty),
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
        tile("Carbon", carbon, "g", f"{electricity} of electricity{making}; all trials, all phases"),
        tile("Energy", energy, "J", f"{wh}over {plain(totals.get('duration_s'), 's')} of computing"),
        Tile("Measured", percent(share), "", "", measured_words(share)),
        Tile(
            "Trials done", f"{counts['done']} of {len(document['trials'])}", "", "", ", ".join(rest) or "none was lost"
        ),
    ]
    if totals["wasted_j"]:
        words = "in attempts that failed or were interrupted: no result rests on it"
        shown.append(Tile("Energy lost", plain(totals["wasted_j"], "J", 2), "", "", words))
    return tuple(shown)


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
