"""The outcome of a search for a cheaper recipe, as a page and as Markdown, from what `lowcarb reduce --json` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lowcarb.report.columns import Cell, Column, Table, changes, measure, words
from lowcarb.report.digest import METRICS
from lowcarb.report.figures import NARROW, WIDE
from lowcarb.report.format import UNKNOWN, Figure, exactly, figure, fixed, number, plain, quantity, signed, writable
from lowcarb.report.markdown import escaped, items, markdown_table
from lowcarb.report.page import Section, Tile, figure_section, sections_page, tile
from lowcarb.report.setting import Fact
from lowcarb.report.summary import points_words
from lowcarb.report.svg import Axis, Box, axis_over, line, note, place_labels, shortened, svg, tag, text, text_width

TITLE = "Energy against quality"
ERRORS = 1.645
"""Standard errors to each side of a mean that hold 90 % of a normal distribution."""


class Point(NamedTuple):
    """One recipe that was tried."""

    name: str
    energy: Figure
    """Energy over the baseline's."""
    change: Figure
    """Change of F1."""
    on_front: bool
    confirmed: bool


def render_reduce_html(document: Mapping[str, Any]) -> str:
    """The outcome of a search as one self-contained page: it loads nothing and runs no script."""
    points = points_of(document)
    recipe = document.get("recipe") or {}
    code = tuple(
        (title, str(recipe[name]))
        for name, title in (("study", "Study file"), ("training_arguments", "TrainingArguments"), ("code", "Code"))
        if recipe.get(name)
    )
    return sections_page(
        title="A cheaper recipe of the same quality" if _found(document) else "No cheaper recipe was shown",
        over=f"lowcarb reduce · {document['id']}",
        lead=lead(document),
        tiles=_tiles(document),
        notices=[] if _found(document) else [f"What it was: {document['reason']}."],
        sections=[
            figure_section(
                "front", TITLE, lambda width: pareto(document, points, width), (WIDE, NARROW),
                table=points_table(points),
                caption=(
                    "Left is less energy, up is more quality. Energy is over the baseline's, on a logarithmic axis.",
                    "Filled: no other recipe has both less energy and more quality. Ringed: confirmed on new seeds.",
                    "Whiskers span 90 % intervals; the band is the margin that counts as no loss.",
                ),
            ),
            Section("contributions", "What each lever adds", tables=(contributions_table(document),)),
            Section("drawbacks", "Drawbacks", items=tuple(map(str, document["drawbacks"]))),
            Section("confirmed", "Confirmed on new seeds", tables=(finalists_table(document),)),
            Section("recipe", "The recipe", code=code),
            Section("measured", "What this rests on", facts=_facts(document)),
        ],
        sources=[],
    )  # fmt: skip


def render_reduce_markdown(document: Mapping[str, Any]) -> str:
    """The outcome of a search in short."""
    drawbacks = items(map(str, document["drawbacks"]))
    blocks = [
        f"# {escaped('lowcarb reduce ' + str(document['id']))}",
        f"**{escaped(lead(document))}**",
        markdown_table(contributions_table(document)),
        markdown_table(points_table(points_of(document))),
        markdown_table(finalists_table(document)),
        f"## Drawbacks\n\n{drawbacks}" if drawbacks else "",
        items(f"{fact.name}: {fact.value}" for fact in _facts(document)),
    ]
    return writable("\n\n".join(block for block in blocks if block) + "\n")


def _found(document: Mapping[str, Any]) -> bool:
    return bool(document["best"]["levers"])


def lead(document: Mapping[str, Any]) -> str:
    """The answer in a sentence or two."""
    if not _found(document):
        return f"No recipe was shown to keep the quality for less energy: {document['reason']}."
    ratio, change = figure(document["ratio"]), figure(document["quality_change"])
    said = f"With {', '.join(document['best']['levers'])} the training takes "
    said += f"{quantity(ratio, '')} times less energy" if ratio else "less energy"
    if change:
        said += f", and F1 changes by {signed(change.mid, 1)} ({signed(change.low, 1)} to {signed(change.high, 1)})"
    return f"{said}: {document['verdict']}, at a margin of {points_words(METRICS['f1'], float(document['margin']))}."


def _tiles(document: Mapping[str, Any]) -> list[Tile]:
    baseline, best = document["baseline"], document["best"]
    even = document.get("break_even_with_confirmation")
    return [
        tile("Baseline", figure(baseline["energy_j"]), "J", f"one training, F1 {fixed(baseline['f1'], 1)}"),
        tile("Best", figure(best["energy_j"]), "J", f"one training, F1 {fixed(best['f1'], 1)}"),
        Tile("Looking", plain(document["search_energy_j"], "J"), "", "", "energy of the search itself"),
        Tile(
            "Pays off after", UNKNOWN if even is None else f"{number(even, 2)} trainings", "", "",
            "of the best instead of the baseline, search and confirmation counted",
        ),
    ]  # fmt: skip


def points_of(document: Mapping[str, Any]) -> tuple[Point, ...]:
    """All that was tried; of a recipe that was confirmed, the confirmed figures."""
    front = {tuple(one["levers"]) for one in document["pareto"]}
    finalists = {tuple(one["levers"]): one for one in document["finalists"]}
    found: list[Point] = []
    for one in [*document["tried"], *document["finalists"]]:
        levers = tuple(one["levers"])
        final = finalists.pop(levers, None)
        if final is None and any(point.name == _name(levers) for point in found):
            continue
        energy, change = _searched(one) if final is None else _confirmed(final)
        if energy is not None and change is not None and energy.mid > 0:
            found.append(Point(_name(levers), energy, change, levers in front, final is not None))
    return tuple(found)


def _name(levers: Sequence[str]) -> str:
    return " + ".join(map(str, levers)) or "baseline"


def _searched(one: Mapping[str, Any]) -> tuple[Figure | None, Figure | None]:
    # The search tells how many times less; the axis, as of all ratios here, is energy over the baseline's.
    ratio, change, error = one["energy_ratio"], one["quality_change"], one["quality_error"]
    if not ratio or change is None:
        return None, None
    aside = ERRORS * (error or 0.0)
    return exactly(1.0 / ratio, "measured"), figure(
        {"low": change - aside, "mid": change, "high": change + aside, "basis": "measured"}
    )


def _confirmed(one: Mapping[str, Any]) -> tuple[Figure | None, Figure | None]:
    ratio = figure(one["confirmed_ratio"])
    if ratio is None or ratio.low <= 0:
        return None, None
    energy = Figure(1.0 / ratio.high, 1.0 / ratio.mid, 1.0 / ratio.low, ratio.basis)
    return energy, figure(one["confirmed_quality_change"])


def pareto(document: Mapping[str, Any], points: Sequence[Point], width: float = WIDE) -> str:
    """Energy on a logarithmic axis against change of F1, with intervals; empty where nothing was tried."""
    if not points:
        return ""
    height, margin = 380.0, float(document["margin"])
    plot = Box(46.0, 34.0, width - 12.0, height - 44.0)
    x = axis_over([1.0, *(one.energy.mid for one in points)], plot.left, plot.right, log=True, pad=0.08)
    mids = [one.change.mid for one in points]
    reach = max(*(abs(mid) for mid in mids), 2.0 * margin, 1.0)
    bounds = [max(-2 * reach, min(2 * reach, b)) for one in points for b in (one.change.low, one.change.high)]
    y = axis_over([*mids, *bounds, -margin, margin, 0.0], plot.bottom, plot.top, pad=0.06)
    body = _ground(x, y, plot, margin)
    for one in points:
        body += _marks(one, x, y)
    return svg("reduce", width, height, TITLE, _described(points), [*body, *_labels(points, x, y, plot)])


def _described(points: Sequence[Point]) -> str:
    front = "; ".join(
        f"{one.name}: {number(one.energy.mid)} of the energy, change of F1 {signed(one.change.mid, 1)}"
        for one in points
        if one.on_front
    )
    return f"{len(points)} recipes. On the front: {front or 'none'}. The table that follows has the numbers."


def _ground(x: Axis, y: Axis, plot: Box, margin: float) -> list[str]:
    band = max(y.at(-margin) - y.at(margin), 1.0)
    marks = [tag("rect", x=plot.left, y=y.at(margin), width=plot.right - plot.left, height=band, class_="margin")]
    for value in x.ticks(6):
        at = x.at(value)
        marks += [line(at, plot.top, at, plot.bottom, "grid")]
        marks.append(text(f"{value:g}", at, plot.bottom + 16, "tick", "middle"))
    for value in y.ticks(6):
        label = f"{value:+g}".replace("-", "−").replace("+0", "0") if abs(value) < 1 else f"{value:+g}"
        marks += [line(plot.left, y.at(value), plot.right, y.at(value), "grid")]
        marks.append(text(label.replace("-", "−"), plot.left - 7, y.at(value) + 4, "tick", "end"))
    return [
        *marks,
        line(plot.left, y.at(0.0), plot.right, y.at(0.0), "reference"),
        line(x.at(1.0), plot.top, x.at(1.0), plot.bottom, "reference"),
        text("↑ change of F1, points", 2, 16, "axis-title"),
        text("energy over the baseline's, log scale →", plot.right, plot.bottom + 36, "axis-title", "end"),
    ]


def _marks(one: Point, x: Axis, y: Axis) -> list[str]:
    at, middle = x.at(one.energy.mid), y.at(one.change.mid)
    kind = "on-front" if one.on_front else "beaten"
    words_ = f"{one.name}: {number(one.energy.mid)} of the energy, F1 {signed(one.change.mid, 1)}"
    marks = [line(at, y.at(one.change.low), at, y.at(one.change.high), "ray")]
    if one.confirmed:
        marks.append(line(x.at(one.energy.low), middle, x.at(one.energy.high), middle, "whisker"))
        marks.append(tag("circle", cx=at, cy=middle, r=8.5, class_="ring"))
    return [*marks, tag("circle", note(words_), cx=at, cy=middle, r=5, class_=f"arm {kind}")]


def _labels(points: Sequence[Point], x: Axis, y: Axis, plot: Box) -> list[str]:
    """Names of what is on the front or confirmed; the table has the others."""
    named = sorted(points, key=lambda one: not (one.on_front or one.confirmed))
    places = [(x.at(one.energy.mid), y.at(one.change.mid)) for one in named]
    names = [shortened(one.name, 190.0) if one.on_front or one.confirmed else "" for one in named]
    boxes = place_labels(places, [text_width(name) for name in names], plot)
    return [
        text(name, box.left, box.bottom - 3.5, "label")
        for name, box in zip(names, boxes, strict=True)
        if name and box is not None
    ]


def points_table(points: Sequence[Point]) -> Table:
    """All that was tried, the least energy first."""
    rows = sorted(points, key=lambda one: one.energy.mid)
    return Table(
        "Recipes that were tried",
        (
            words("Levers", [one.name for one in rows]),
            measure("Energy over the baseline's", "", [one.energy for one in rows]),
            changes("Change of F1", [one.change for one in rows], 1),
            words("Beaten by no other", ["yes" if one.on_front else "no" for one in rows]),
            words("Confirmed on new seeds", ["yes" if one.confirmed else "no" for one in rows]),
        ),
    )


def contributions_table(document: Mapping[str, Any]) -> Table:
    """What the energy becomes when one lever is left out of the best recipe."""
    rows = document["contributions"]
    return Table(
        "Energy of the best recipe without one of its levers, over that with all",
        (
            words("Left out", [str(one["lever"]) for one in rows]),
            words("What it is", [str(one["title"]) for one in rows]),
            measure("Energy ratio", "", [figure(one["energy_ratio_without"]) for one in rows]),
            words("Benefits", ["; ".join(map(str, one["benefits"])) or UNKNOWN for one in rows]),
            words("Drawbacks", ["; ".join(map(str, one["drawbacks"])) or UNKNOWN for one in rows]),
        ),
    )


def finalists_table(document: Mapping[str, Any]) -> Table:
    """Recipes that were held against the baseline on seeds that the search had not seen."""
    rows = document["finalists"]
    return Table(
        "Confirmed on new seeds",
        (
            words("Levers", [_name(one["levers"]) for one in rows]),
            measure("Times less energy", "", [figure(one["confirmed_ratio"]) for one in rows]),
            changes("Change of F1", [figure(one["confirmed_quality_change"]) for one in rows], 1),
            Column("Verdict", tuple(Cell(str(one["verdict"])) for one in rows)),
            words("Why", [str(one["reason"]) for one in rows]),
        ),
    )


def _facts(document: Mapping[str, Any]) -> tuple[Fact, ...]:
    questions = document["questions"]
    return (
        Fact("Questions", ", ".join(f"{name}: {count}" for name, count in questions.items())),
        Fact("Seeds of the confirmation", str(document["confirmed_seeds"])),
        Fact("Trainings in all", str(document["trainings"])),
        Fact("Compared by", str(document["compared_by"])),
        Fact("Energy of the search", plain(document["search_energy_j"], "J")),
        Fact("Energy of the confirmation", plain(document["confirmation_energy_j"], "J")),
        Fact("Ended early by", str(document.get("ended") or "nothing")),
    )
