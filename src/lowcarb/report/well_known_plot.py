"""Published figures against forecasts, both on logarithmic axes: a panel for hours, energy and carbon."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib.resources import files

from lowcarb.core.units import J_PER_KWH, KILO, MEGA
from lowcarb.report.figures import NARROW, WIDE
from lowcarb.report.format import Unit, quantity
from lowcarb.report.svg import Axis, Box, axis_over, line, note, place_labels, svg, tag, text, text_width
from lowcarb.report.well_known import QUANTITIES, TITLES, UNITS, Comparison

PANEL = 330.0
"""Height of a panel [px]."""
SHOWN = {
    "hours": Unit("h", 1.0, 0.0), "energy": Unit("MWh", KILO * J_PER_KWH, 0.0), "carbon": Unit("t CO₂e", MEGA, 0.0),
}  # fmt: skip
"""Units of the axes, by quantity."""
LABELS = 4
"""Rows of a panel that are named: those furthest off."""
LIGHT = {
    "paper": "#ffffff", "ink": "#1b2421", "soft": "#4f5b56", "line": "#dfe5e1", "grid": "#e9edea", "accent": "#1c6b5a",
    "undecided": "#59635f", "worse": "#a8431a", "not-inferior": "#167257",
}  # fmt: skip
"""Colours of the report on a light page by name, for a figure that stands alone: not every viewer knows variables."""
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
ALONE = "text{font-family:system-ui,sans-serif}"


def plot(rows: Sequence[Comparison], width: float = WIDE) -> str:
    """All rows with both figures: a point each, with the forecast's interval; on the line the two agree.

    Args:
        rows: of `comparisons`; those without a forecast, and published zeros, have no place on logarithmic axes.
        width: [px]; panels stand in a column on a telephone, side by side on a page.
    """
    panels = [(name, [row for row in rows if row.quantity == name and _drawable(row)]) for name in QUANTITIES]
    panels = [(name, mine) for name, mine in panels if mine]
    if not panels:
        return ""
    across = 1 if width <= NARROW else len(panels)
    each = width / across
    body: list[str] = []
    for number_, (name, mine) in enumerate(panels):
        left, top = (number_ % across) * each, (number_ // across) * PANEL
        body += _panel(name, mine, Box(left + 50.0, top + 42.0, left + each - 8.0, top + PANEL - 44.0))
    height = PANEL * (len(panels) // across)
    drawn = sum(len(mine) for _, mine in panels)
    description = (
        f"{drawn} published figures against lowcarb's forecasts, on logarithmic axes. On the dashed line the two "
        "agree; upright lines are 80 % intervals; hollow points are outside of theirs. The tables have the numbers."
    )
    return svg("well-known", width, height, "Published figures and forecasts", description, body)


def standalone(rows: Sequence[Comparison], width: float = 1080.0) -> str:
    """The figure as a file of its own, on light ground."""
    drawn = plot(rows, width)
    style = files("lowcarb.report").joinpath("templates/figure.css").read_text(encoding="utf-8")
    plain_style = re.sub(r"var\(--([a-z-]+)\)", lambda found: LIGHT.get(found[1], LIGHT["soft"]), style)
    ground = tag("rect", x=0.0, y=0.0, width=width, height=PANEL, fill=LIGHT["paper"])
    inside = f"<style>{ALONE}\n{plain_style}</style>{ground}"
    head, _, rest = drawn.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{inside}{rest}\n'


def _drawable(row: Comparison) -> bool:
    return row.forecast is not None and row.published > 0 and row.forecast.low > 0


def _panel(name: str, rows: Sequence[Comparison], area: Box) -> list[str]:
    unit = SHOWN[name]
    published = [row.published / unit.size for row in rows]
    forecasts = [f.mid / unit.size for row in rows if (f := row.forecast)]
    bounds = [bound / unit.size for row in rows if (f := row.forecast) for bound in (f.low, f.high)]
    x = axis_over([*published, *forecasts], area.left, area.right, log=True)
    y = axis_over([*published, *forecasts, *bounds], area.bottom, area.top, log=True)
    low, high = max(x.low, y.low), min(x.high, y.high)
    points = [(x.at(p), y.at(f)) for p, f in zip(published, forecasts, strict=True)]
    return [
        *_grid(x, y, area),
        line(x.at(low), y.at(low), x.at(high), y.at(high), "reference"),
        text(f"{TITLES[name]}, {unit.name}", area.left - 44.0, area.top - 24.0, "strong"),
        text("↑ forecast", area.left - 44.0, area.top - 8.0, "axis-title"),
        text("published →", area.right, area.bottom + 34.0, "axis-title", "end"),
        *(_mark(row, x, y, unit.size) for row in rows),
        *_labels(rows, points, area),
    ]


def _grid(x: Axis, y: Axis, area: Box) -> list[str]:
    marks = [line(area.left, area.bottom, area.right, area.bottom, "axis")]
    for value in x.ticks(4):
        at = x.at(value)
        marks += [line(at, area.top, at, area.bottom, "grid")]
        marks += [text(_tick(value), at, area.bottom + 16.0, "tick", "middle")]
    for value in y.ticks(7):
        at = y.at(value)
        marks += [
            line(area.left, at, area.right, at, "grid"),
            text(_tick(value), area.left - 5.0, at + 4.0, "tick", "end"),
        ]
    return marks


def _tick(value: float) -> str:
    """A value on an axis: a power of ten where it is not of a few digits."""
    power = math.floor(math.log10(value) + 1e-9)
    leading = round(value / 10.0**power)
    if -1 <= power <= 2:
        return f"{value:g}"
    times = "" if leading == 1 else f"{leading}·"
    return f"{times}10{str(power).translate(SUPERSCRIPT)}"


def _mark(row: Comparison, x: Axis, y: Axis, size: float) -> str:
    assert row.forecast is not None  # only drawable rows come here
    at, low, mid, high = (v / size for v in (row.published, row.forecast.low, row.forecast.mid, row.forecast.high))
    unit = UNITS[row.quantity]
    words = f"{row.name}: published {quantity(_plain(row.published), unit)}, forecast {quantity(row.forecast, unit)}"
    return tag(
        "g",
        note(words),
        line(x.at(at), y.at(low), x.at(at), y.at(high), "whisker" if row.inside else "whisker worse"),
        tag(
            "circle", cx=x.at(at), cy=y.at(mid), r=3.6, class_=f"point {'not-inferior' if row.inside else 'undecided'}"
        ),
    )


def _plain(value: float) -> dict[str, float]:
    return {"low": value, "mid": value, "high": value}


def _labels(rows: Sequence[Comparison], points: Sequence[tuple[float, float]], area: Box) -> list[str]:
    """Names of the rows that are furthest off, as far as there is room."""
    named = sorted(range(len(rows)), key=lambda index: _distance(rows[index]), reverse=True)[:LABELS]
    widths = [text_width(rows[i].name, 11.0) for i in named]
    clear = [Box(px - 5, py - 5, px + 5, py + 5) for px, py in points]
    boxes = place_labels([points[i] for i in named], widths, area, clear)
    return [
        text(rows[i].name, box.left, box.bottom - 3.0, "tick")
        for i, box in zip(named, boxes, strict=True) if box is not None
    ]  # fmt: skip


def _distance(row: Comparison) -> float:
    """How far a row is off, on a logarithmic axis."""
    return abs(math.log(row.forecast.mid / row.published)) if row.forecast else 0.0
