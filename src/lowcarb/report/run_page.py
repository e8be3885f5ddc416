"""The document of a run as a page and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lowcarb.core.units import PERCENT
from lowcarb.report import setting
from lowcarb.report.columns import Column, Table, measure, words
from lowcarb.report.digest import Document
from lowcarb.report.everyday import everyday_table, everyday_words
from lowcarb.report.figures import NARROW, WIDE
from lowcarb.report.foretold import Told, section_of, told_of, told_words
from lowcarb.report.format import UNKNOWN, exactly, figure, fixed, percent, plain, quantity, writable
from lowcarb.report.markdown import escaped, items, markdown_table
from lowcarb.report.page import BASES, Section, Tile, figure_section, sections_page, tile
from lowcarb.report.power import TITLE as POWER
from lowcarb.report.power import Trace, power_over_time, power_table, trace_of
from lowcarb.report.setting import Fact
from lowcarb.report.summary import measured_words
from lowcarb.report.where import TITLE as WHERE
from lowcarb.report.where import grid_of, where_figure, where_table

METHOD = (
    "Energy is power summed over time, E = ∫ P dt; time without readings is estimated and widens the interval.",
    (
        "Carbon of electricity is energy × PUE × carbon intensity of the site; carbon of the machine is the share of "
        "making it that this time carries, embodied ÷ lifetime × time."
    ),
    (
        "Intervals are carried bound by bound from what goes in: on the wide side, meant to hold the truth at least "
        "eight times out of ten. Equations, units, sources and limits: `docs/methods.md`."
    ),
)
NOT_COUNTED = (
    "Not counted: pretraining of a model that was started from, serving, networks, and people's own computers."
)


def render_run_html(document: Mapping[str, Any]) -> str:
    """A run document as one self-contained page: it loads nothing and runs no script."""
    return sections_page(
        title=_name(document),
        over=f"Carbon of {'a trial' if document['run']['kind'] == 'trial' else 'a tracked run'} · {_id(document)}",
        lead=lead(document),
        tiles=_tiles(document),
        notices=_notices(document),
        sections=_sections(document),
        sources=document["sources"],
    )


def render_run_markdown(document: Mapping[str, Any]) -> str:
    """A run document in short."""
    grid = grid_of(document["phases"])
    blocks = [
        f"# {escaped(_name(document))}",
        f"**{escaped(lead(document))}**",
        items(everyday_words(document)),
        markdown_table(attempts_table(document)),
        markdown_table(phases_table(document)),
        markdown_table(where_table(grid)) if grid else "",
        markdown_table(scores_table(document)),
        items(told_words(told_of_run(document))),
        items(_notices(document)),
        escaped(f"{measured_words(_share(document))}. {METHOD[0]} {METHOD[1]}"),
    ]
    return writable("\n\n".join(block for block in blocks if block) + "\n")


def _name(document: Document) -> str:
    return str(document["run"]["name"]) or _id(document)


def _id(document: Document) -> str:
    return f"run {str(document['run']['id'])[:12]}"


def _share(document: Document) -> float | None:
    share = document["totals"]["measured_share"]
    return None if share is None else float(share)


def lead(document: Document) -> str:
    """What the run cost, in a sentence or two."""
    totals = document["totals"]
    carbon, energy = figure(totals["carbon_g"]), figure(totals["energy_j"])
    if energy is None:
        return f"Nothing is known yet of what this run costs: it is {document['status'] or 'not begun'}."
    place = document["site"]["name"] if document["site"] and document["site"]["declared"] else "a place not declared"
    said = f"It took {quantity(energy, 'J')} of energy over {plain(totals['duration_s'], 's')}"
    said += f", and {quantity(carbon, 'g')} of carbon (CO₂e) at {place}." if carbon else ". Its carbon is not known."
    if document["status"] not in ("done", "running"):
        said += f" It ended {str(document['status']).replace('_', ' ')}, without a result."
    return said


def _tiles(document: Document) -> tuple[Tile, ...]:
    totals = document["totals"]
    attempts, share = document["attempts"], _share(document)
    count = "1 attempt" if len(attempts) == 1 else f"{len(attempts)} attempts"
    electricity = quantity(totals["operational_g"], "g", interval=False)
    status = str(document["status"] or "not begun").replace("_", " ")
    shown = [
        tile("Carbon", figure(totals["carbon_g"]), "g", f"{electricity} of it electricity; all attempts"),
        tile("Energy", figure(totals["energy_j"]), "J", f"over {plain(totals['duration_s'], 's')}; all attempts"),
        Tile("Measured", percent(share), "", "", measured_words(share)),
        Tile("Ended", status, "", "", f"{count}; began {document['run']['began']}"),
    ]
    water, cost = (figure((document["footprint"] or {}).get(name)) for name in ("water_l", "cost"))
    if water:
        shown.append(tile("Water", water, "l", "evaporated for cooling and in making the electricity"))
    if cost:
        shown.append(tile("Money", cost, "USD", "rent of the devices, or the electricity"))
    return tuple(shown)


def _notices(document: Document) -> list[str]:
    site, notes = document["site"], []
    if site and site["note"]:
        notes.append(f"No site was declared: {site['note']}")
    if document["totals"]["unmetered"]:
        notes.append(f"The energy of {document['totals']['unmetered']} attempts is not known, and is in no sum.")
    return notes


def _sections(document: Document) -> list[Section]:
    grid = grid_of(document["phases"])
    trace = trace_of(_name(document), document["power"])
    shown = [trace] if trace else []
    widths = (WIDE, NARROW)
    caption = ("Which device drew it, and in which phase. Whiskers span the interval of a phase's whole.",)
    breaks = ("From the start of the attempt that counts. A break is time without readings.",)
    return [
        Section("everyday", "As much as", tables=(_familiar(document),)),
        figure_section(
            "where", WHERE, lambda width: where_figure(grid, width), widths, table=where_table(grid), caption=caption
        ),
        Section("phases", "Phases", tables=(phases_table(document),)),
        _power(shown, widths, breaks),
        section_of(told_of_run(document)),
        Section("scores", "Quality", tables=(scores_table(document),)),
        Section("attempts", "Every attempt", tables=(attempts_table(document),)),
        _measured(document),
        Section("methods", "Methods", items=METHOD),
        Section("site", "Site", facts=setting.site(document) if document["site"] else ()),
        Section("machine", "Machine", facts=setting.machine(document)),
    ]


def told_of_run(document: Document) -> list[Told]:
    """The forecast against all that the run took: what was begun anew was spent too."""
    totals = document["totals"]
    outcome = {**totals, "duration_s": exactly(totals["duration_s"])} if document["footprint"] else None
    return told_of(_name(document), document["forecast"], outcome, str(document["status"]))


def _familiar(document: Document) -> Table:
    return everyday_table(document, document["sources"])


def _power(shown: Sequence[Trace], widths: tuple[float, float], caption: tuple[str, ...]) -> Section:
    return figure_section(
        "power", POWER, lambda width: power_over_time(shown, width), widths, table=power_table(shown), caption=caption
    )


def _measured(document: Document) -> Section:
    footprint, coverage = document["footprint"] or {}, document["coverage"]
    facts = [Fact(name, meaning) for name, meaning in BASES.items()]
    facts += [
        Fact("Energy covers", str(footprint.get("scope") or "nothing yet")),
        Fact("Got by", str(footprint.get("method") or "nothing yet")),
        Fact("Time with readings", UNKNOWN if coverage is None else f"{PERCENT * coverage:.4g} %"),
        Fact("Counts", "the process's share" if document["attribution"] == "process" else "all that the machine drew"),
    ]
    problems = [*document["faults"], *document["missing"]]
    facts.append(Fact("Faults and what was not read", "; ".join(map(str, problems)) or "none"))
    return Section(
        "measured", "What is measured and what is not", (f"{measured_words(_share(document))}. {NOT_COUNTED}",),
        facts=tuple(facts),
    )  # fmt: skip


def phases_table(document: Document) -> Table:
    """Time, energy and carbon by phase."""
    phases = document["phases"]
    footprints = [one["footprint"] or {} for one in phases]
    return Table(
        "Phases of the attempt that counts",
        (
            words("Phase", [str(one["name"]) for one in phases]),
            measure("Time", "s", [exactly(one["wall_s"], "measured") for one in phases]),
            measure("CPU time", "s", [exactly(one["cpu_s"], "measured") for one in phases]),
            measure("Energy", "J", [figure(one.get("energy_j")) for one in footprints]),
            measure("Carbon of electricity", "g", [figure(one.get("operational_g")) for one in footprints]),
        ),
    )


def attempts_table(document: Document) -> Table:
    """Every attempt, also those that came to nothing."""
    attempts = document["attempts"]
    footprints = [one["footprint"] or {} for one in attempts]
    return Table(
        "Every attempt, oldest first",
        (
            words("Attempt", [str(one["number"]) for one in attempts]),
            words("Status", [str(one["status"]).replace("_", " ") for one in attempts]),
            words("Began", [str(one["began"]) for one in attempts]),
            measure("Length", "s", [exactly(one["length_s"]) for one in attempts]),
            measure("Energy", "J", [figure(one.get("energy_j")) for one in footprints]),
            measure("Carbon of electricity", "g", [figure(one.get("operational_g")) for one in footprints]),
            words("Error", [str(one["error"] or UNKNOWN) for one in attempts]),
        ),
    )


def scores_table(document: Document) -> Table:
    """What a trial answers, by set of questions; without rows for a run that has no scores."""
    scores: Mapping[str, Mapping[str, Any]] = document["scores"]
    names = (("em", "EM", 1), ("f1", "F1", 1), ("cosine", "cosine", 2), ("sts", "STS", 2))
    columns: list[Column] = [words("Questions", list(scores))]
    columns += [
        words(title, [fixed(one.get(name), decimals) for one in scores.values()], numeric=True)
        for name, title, decimals in names
    ]
    return Table("Quality", tuple(columns))
