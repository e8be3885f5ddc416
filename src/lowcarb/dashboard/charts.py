"""Figures of the dashboard, in the report's way: SVG text, styled by classes alone.

Each is drawn twice, for a wide and for a narrow screen; the style sheet shows one of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lowcarb.ledger.query import Sum
from lowcarb.report.figures import NARROW, WIDE
from lowcarb.report.format import plain
from lowcarb.report.power import power_over_time, trace_of
from lowcarb.report.svg import axis_over, note, shortened, svg, tag, text

MOST_BARS = 24
BAR, HEAD = 26.0, 24.0
"""Height of a bar with its gap, and of what is above the first [px]."""
NAMES, VALUES = 150.0, 90.0
"""Room for names before the bars, and for figures after them [px]."""


def power_chart(name: str, power: Sequence[Mapping[str, Any]]) -> str:
    """Power over time, stacked by kind of device; empty where nothing was read.

    Args:
        name: what it is of, for people.
        power: `{"device", "kind", "start_ns", "step_ns", "power_w"}` by device, a gap as None.
    """
    trace = trace_of(name, power)
    return "" if trace is None else _twice(lambda width: power_over_time([trace], width))


def sums_chart(sums: Sequence[Sum], *, by_time: bool) -> str:
    """Carbon by group, a bar each; empty where there is none."""
    shown = [one for one in sums if one.operational_g > 0][:MOST_BARS]
    if by_time:
        shown = sorted(shown, key=lambda one: one.key)
    return _twice(lambda width: _bars(shown, width)) if shown else ""


def _twice(draw: Callable[[float], str]) -> str:
    wide = draw(WIDE)
    return f'<div class="wide">{wide}</div><div class="narrow">{draw(NARROW)}</div>' if wide else ""


def _bars(shown: Sequence[Sum], width: float) -> str:
    left = min(NAMES, 0.3 * width)
    x = axis_over([0.0, *(one.operational_g for one in shown)], left, width - VALUES, zero=True)
    body = [text("carbon of electricity, CO₂e", left, 14, "axis-title")]
    for number, one in enumerate(shown):
        top, end = HEAD + BAR * number, x.at(one.operational_g)
        body += [
            text(shortened(one.key or "(none)", left - 12.0), left - 8, top + 14, "tick", "end"),
            tag(
                "rect", note(one.key), x=left, y=top, width=max(1.0, end - left), height=18.0, rx=3.0,
                class_="part operational",
            ),
            text(plain(one.operational_g, "g"), end + 7, top + 14, "value"),
        ]  # fmt: skip
    height = HEAD + BAR * len(shown) + 6.0
    return svg("sums", width, height, "Carbon by group", f"{len(shown)} groups; the table has the numbers.", body)
