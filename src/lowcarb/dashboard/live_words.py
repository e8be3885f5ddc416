"""A run at work, in words for a page: what it has taken, how its budget stands, how it will end, what was expected."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import Footprint
from lowcarb.core.units import NS_PER_S, PERCENT
from lowcarb.dashboard.live import Coming, Live, Spending
from lowcarb.dashboard.render import estimate, named, power, seconds, when
from lowcarb.report.format import Figure, percent, quantity

CHART_WIDTH, CHART_HEIGHT = 300.0, 40.0
"""The small chart of power [px]."""
HEAD_ROOM = 1.1
"""Top of that chart over the largest power in it."""
UNKNOWN_END = "not known"
FORETOLD = (
    ("energy", "Energy", "energy_j", "J"), ("carbon", "Carbon", "operational_g", "g"),
    ("time", "Time", "duration_s", "s"),
)  # fmt: skip
"""What a forecast is held against: key, title, field of a footprint, stored unit."""


def live_words(live: Live, now_ns: int | None = None) -> dict[str, Any]:
    """A run at work, in words.

    Args:
        live: the run.
        now_ns: the time now, UTC [ns]; the clock's where None.

    Returns:
        Texts by the names that the page's cells have; `progress` and `share` are numbers for bars, or None.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    coming, spending = live.coming, live.spending
    outlook = coming.outlook if coming else None
    return {
        "attempt": live.header.attempt_id, "run": live.run_id, "name": live.header.name,
        "power": power(live.power_w), "recent": path_of(live.recent_w), "recent_words": _recent(live),
        "energy_interval": estimate(live.footprint.energy_j, "J"),
        "carbon_interval": estimate(live.footprint.operational_g, "g"), "elapsed": seconds(live.elapsed_s),
        "phase": named(live.phase, 40), "began": when(live.header.started_ns), "site": live.header.site.name,
        "progress": coming.progress if coming else None, "done": percent(coming.progress) if coming else "",
        "ends": ends_words(coming, now_ns), "left": left_words(coming, now_ns),
        "whole": estimate(outlook.operational_g, "g") if outlook and outlook.operational_g else "",
        "whole_energy": estimate(outlook.energy_j, "J") if outlook and outlook.energy_j else "",
        "budget": str(spending.budget) if spending else "", "spent": spent_words(spending),
        "share": spending.share if spending else None, "budget_end": budget_end(spending, coming),
        "level": _level(spending, coming), "foretold": foretold(live),
    }  # fmt: skip


def ends_words(coming: Coming | None, now_ns: int) -> str:
    """When it will be done; a time that is over is no forecast any more."""
    if coming is None or coming.ends_ns is None:
        return UNKNOWN_END
    return when(coming.ends_ns) if coming.ends_ns >= now_ns else f"later than {when(coming.ends_ns)}"


def left_words(coming: Coming | None, now_ns: int) -> str:
    """In how long it will be done, with the interval where one is known; empty where that is over or not known."""
    if coming is None or coming.ends_ns is None or coming.ends_ns < now_ns:
        return ""
    left_s = (coming.ends_ns - now_ns) / NS_PER_S
    if coming.within_s is None:
        return f"in about {seconds(left_s)}, by its steps so far"
    early_s, late_s = coming.within_s
    return f"in {quantity(Figure(max(0.0, left_s + early_s), left_s, left_s + late_s), 's')}"


def spent_words(spending: Spending | None) -> str:
    """How much of a budget is used; over the whole of it too."""
    if spending is None:
        return ""
    if spending.spent is None or spending.share is None:
        return "what is spent is not known"
    share, amount = f"{PERCENT * spending.share:.0f} %", spending.budget.amount(spending.spent, digits=3)
    return f"{share} used, {amount}" if spending.share < 1.0 else f"used up, {amount}: {share}"


def budget_end(spending: Spending | None, coming: Coming | None) -> str:
    """What the whole will have taken of a budget; empty where that is not known."""
    taken = _taken(spending, coming)
    if spending is None or taken is None:
        return ""
    budget = spending.budget
    low, mid, high = (budget.amount(bound, digits=2) for bound in (taken.low, taken.mid, taken.high))
    inside = f"{low.partition(' ')[0]} to {high}"
    return f"About {mid} ({inside}) in all: {PERCENT * taken.mid / budget.limit:.0f} % of it."


def _taken(spending: Spending | None, coming: Coming | None) -> Estimate | None:
    return coming.outlook.taken(spending.budget) if spending and coming and coming.outlook else None


def _level(spending: Spending | None, coming: Coming | None) -> str:
    """`over` where a budget is used up or will be."""
    if spending is None:
        return ""
    taken = _taken(spending, coming)
    return "over" if (spending.share or 0.0) >= 1.0 or (taken and taken.mid > spending.budget.limit) else ""


def foretold(live: Live) -> list[dict[str, str]]:
    """What was expected before it began beside how it goes: by quantity its key, title, forecast and standing."""
    if live.forecast is None:
        return []
    ends: dict[str, Estimate | None] = dict.fromkeys((field for _, _, field, _ in FORETOLD), None)
    if live.coming and live.coming.outlook:
        outlook = live.coming.outlook
        ends = {"energy_j": outlook.energy_j, "operational_g": outlook.operational_g, "duration_s": _length_s(live)}
    return [
        {
            "key": key, "title": title, "forecast": estimate(_figure(live.forecast, field), unit),
            "standing": standing(_figure(live.forecast, field), _figure(live.footprint, field), ends[field], unit),
        }
        for key, title, field, unit in FORETOLD
    ]  # fmt: skip


def _length_s(live: Live) -> Estimate | None:
    """How long the whole will have taken [s]."""
    coming = live.coming
    if coming is None or coming.ends_ns is None or coming.within_s is None:
        return None
    mid_s = (coming.ends_ns - live.header.started_ns) / NS_PER_S
    early_s, late_s = coming.within_s
    return Estimate(max(0.0, mid_s + early_s), mid_s, mid_s + late_s, "modelled")


def _figure(footprint: Footprint, field: str) -> Estimate:
    found: Estimate = getattr(footprint, field)
    return found


def standing(expected: Estimate, so_far: Estimate, in_all: Estimate | None, unit: str) -> str:
    """How a quantity stands to its forecast, so far and, where its progress tells, in the end."""
    if so_far.mid > expected.high:
        return f"{quantity(so_far, unit)} so far, above it already"
    # Of nothing there is no share: a site may be without carbon.
    text = f"{PERCENT * so_far.mid / expected.mid:.0f} % of it so far" if expected.mid > 0.0 else "nothing of it so far"
    return text if in_all is None else f"{text}; {quantity(in_all, unit)} in all, {place(expected, in_all.mid)} it"


def place(expected: Estimate, value: float) -> str:
    """Where a value lies to an interval: inside, above or below."""
    return "above" if value > expected.high else "below" if value < expected.low else "inside"


def path_of(watts: Sequence[float | None]) -> str:
    """The line of the small chart, as an SVG path: it starts anew after a gap; empty where nothing was read."""
    known = [one for one in watts if one is not None]
    if len(watts) < 2 or not known:
        return ""
    top, step = max(known) * HEAD_ROOM or 1.0, CHART_WIDTH / (len(watts) - 1)
    parts, pen = [], "M"
    for number, one in enumerate(watts):
        if one is None:
            pen = "M"
            continue
        parts.append(f"{pen}{number * step:.1f} {CHART_HEIGHT * (1.0 - one / top):.1f}")
        pen = "L"
    return " ".join(parts)


def _recent(live: Live) -> str:
    """The small chart in words."""
    known = [one for one in live.recent_w if one is not None]
    if not known:
        return ""
    low, high = power(min(known)), power(max(known))
    return f"Power over the last {seconds(live.recent_s)}: {low if low == high else f'{low} to {high}'}"


def fields(words: Mapping[str, Any]) -> dict[str, Any]:
    """The words of a run, flat, as the page's script writes them into its cells."""
    flat = {name: value for name, value in words.items() if name != "foretold"}
    return flat | {f"standing_{row['key']}": row["standing"] for row in words["foretold"]}
