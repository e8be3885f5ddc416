"""Figures of the dashboard, in the report's way: SVG text, styled by classes alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lowcarb.dashboard.render import day, when
from lowcarb.ledger.query import Sum
from lowcarb.report.figures import WIDE
from lowcarb.report.format import plain, unit_for
from lowcarb.report.svg import axis_over, line, note, shortened, svg, tag, text

HEIGHT = 220.0
MOST_BARS = 24
MOST_DEVICES = 8


def power_chart(traces: Sequence[Mapping[str, Any]], width: float = WIDE) -> str:
    """Power over time, a line a device; empty where nothing was read."""
    shown = [one for one in traces if any(w is not None for w in one.get("power_w", ()))][:MOST_DEVICES]
    if not shown:
        return ""
    watts = [float(w) for one in shown for w in one["power_w"] if w is not None]
    times = [float(ns) for one in shown for ns in one["start_ns"]]
    if max(times) <= min(times):
        return ""
    left, right, top, bottom = 46.0, width - 12.0, 30.0, HEIGHT - 30.0
    unit = unit_for(watts, "W")
    y = axis_over([0.0, *watts], bottom, top, zero=True)
    x = axis_over(times, left, right, pad=0.0)
    body = [text(f"↑ power, {unit.name}", 2, 14, "axis-title")]
    for value in y.ticks(5):
        at = y.at(value)
        body += [line(left, at, right, at, "grid"), text(f"{value / unit.size:g}", left - 7, at + 4, "tick", "end")]
    for number, one in enumerate(shown):
        class_ = f"trace trace-{number % MOST_DEVICES}"
        for points in _runs_of(zip(one["start_ns"], one["power_w"], strict=False)):
            path = " ".join(f"{x.at(ns):.1f},{y.at(w):.1f}" for ns, w in points)
            body.append(tag("polyline", note(str(one["device"])), points=path, class_=class_))
        body.append(text(shortened(str(one["device"]), 200.0), right, 14 + 14 * number, f"label {class_}", "end"))
    body += [
        text(when(int(min(times))), left, HEIGHT - 8, "tick"),
        text(when(int(max(times))), right, HEIGHT - 8, "tick", "end"),
    ]
    description = (
        f"Mean power of {len(shown)} devices from {day(int(min(times)))} on, at most {plain(max(watts), 'W')}."
    )
    return svg("power", width, HEIGHT, "Power over time", description, body)


def _runs_of(points: Iterable[tuple[float, float | None]]) -> Iterable[list[tuple[float, float]]]:
    """Stretches without a gap."""
    found: list[tuple[float, float]] = []
    for ns, watts in points:
        if watts is None:
            if found:
                yield found
            found = []
        else:
            found.append((ns, float(watts)))
    if found:
        yield found


def sums_chart(sums: Sequence[Sum], *, by_time: bool, width: float = WIDE) -> str:
    """Carbon by group, a bar each; empty where there is none."""
    shown = [one for one in sums if one.operational_g > 0][:MOST_BARS]
    if not shown:
        return ""
    if by_time:
        shown = sorted(shown, key=lambda one: one.key)
    unit = unit_for([one.operational_g for one in shown], "g")
    height = 26.0 * len(shown) + 30.0
    x = axis_over([0.0, *(one.operational_g for one in shown)], 150.0, width - 90.0, zero=True)
    body = [text(f"carbon of electricity, {unit.name} CO₂e", 150, 14, "axis-title")]
    for number, one in enumerate(shown):
        top = 24.0 + 26.0 * number
        end = x.at(one.operational_g)
        body += [
            text(shortened(one.key or "(none)", 138.0), 142, top + 14, "tick", "end"),
            tag(
                "rect",
                note(one.key),
                x=150.0,
                y=top,
                width=max(1.0, end - 150.0),
                height=18.0,
                rx=3.0,
                class_="part operational",
            ),
            text(plain(one.operational_g, "g"), end + 7, top + 14, "value"),
        ]
    return svg("sums", width, height, "Carbon by group", f"{len(shown)} groups; the table has the numbers.", body)
