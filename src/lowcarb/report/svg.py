"""Small helpers for figures: elements, axes, and labels that do not overlap.

Colours are classes, so that the page's style sheet sets them for light, dark and paper.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

CHAR_WIDTH = 0.56
"""Mean width of a character over the font size; on the wide side, since the reader's font is unknown."""
LABEL_HEIGHT = 15.0


def tag(name: str, *children: str, **attributes: str | float) -> str:
    """An element. Children are markup; attribute values are escaped here.

    In an attribute's name, `_` stands for `-`, and a trailing one is dropped: `class_`, `text_anchor`.
    """
    pairs = (f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    inside = "".join(children)
    return f"<{name}{''.join(pairs)}>{inside}</{name}>" if inside else f"<{name}{''.join(pairs)}/>"


def _value(value: str | float) -> str:
    return html.escape(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def text(content: str, x: float, y: float, class_: str = "", anchor: str = "start") -> str:
    """A line of text, escaped."""
    return tag("text", html.escape(content), x=x, y=y, class_=class_, text_anchor=anchor)


def span(content: str, class_: str, dx: float = 0.0) -> str:
    """A part of a line of text in another style, escaped."""
    return tag("tspan", html.escape(content), class_=class_, dx=dx)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def note(content: str) -> str:
    """The words that a pointer resting on a mark brings up."""
    return tag("title", html.escape(content))


def svg(name: str, width: float, height: float, title: str, description: str, body: Iterable[str]) -> str:
    """A figure that a screen reader reads as one image: its title, then what it shows."""
    key = f"{name}-{width:.0f}"
    return tag(
        "svg",
        tag("title", html.escape(title), id=f"{key}-title"),
        tag("desc", html.escape(description), id=f"{key}-desc"),
        *body,
        role="img",
        aria_labelledby=f"{key}-title",
        aria_describedby=f"{key}-desc",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=width,
        height=height,
        class_="figure",
    )


def text_width(content: str, size: float = 12.0) -> float:
    """About how wide a text is [px]."""
    return CHAR_WIDTH * size * len(content)


def shortened(content: str, width: float, size: float = 12.0) -> str:
    """The text, cut with an ellipsis where it would be wider than this [px]."""
    most = max(1, int(width / (CHAR_WIDTH * size)))
    return content if len(content) <= most else content[: most - 1] + "…"


@dataclass(frozen=True, slots=True)
class Axis:
    """Values along a line of pixels; values beyond its ends are held at the ends."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value lies [px]."""
        held = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(held / self.low) / math.log(self.high / self.low)
        else:
            share = (held - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int) -> tuple[float, ...]:
        """Round values on the axis, at most so many."""
        return _log_ticks(self.low, self.high, most) if self.log else _linear_ticks(self.low, self.high, most)


def axis_over(
    values: Sequence[float], start: float, end: float, *, log: bool = False, zero: bool = False, pad: float = 0.06
) -> Axis:
    """An axis that holds all values, with some air at both ends.

    Args:
        values: what it must hold, at least one.
        start: pixel of its low end.
        end: pixel of its high end.
        log: whether it is logarithmic; all values are then above zero.
        zero: whether it begins at zero, without air there.
        pad: air at an end, over the axis' length.
    """
    low, high = min(values), max(values)
    if log:
        air = max(math.log(high / low) * pad, math.log(1.1))
        return Axis(low * math.exp(-air), high * math.exp(air), start, end, log=True)
    air = (high - (0.0 if zero else low)) * pad or max(abs(high) * 0.1, 1e-12)
    return Axis(0.0 if zero else low - air, high + air, start, end)


def _linear_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1.0, 2.0, 5.0, 10.0) if power * m >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(n * step, 12) + 0.0 for n in range(first, last + 1))


def _log_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for leading in ((1.0, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = tuple(m * 10.0**p for p in powers for m in leading if low <= m * 10.0**p <= high)
        if len(ticks) <= most:
            return ticks if len(ticks) > 1 else _linear_ticks(low, high, most)
    stride = math.ceil(len(powers) / max(1, most))
    return tuple(10.0**p for p in powers[::stride] if low <= 10.0**p <= high)


class Box(NamedTuple):
    """A rectangle [px]."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two have a point in common."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def inside(self, other: Box) -> bool:
        """Whether the other holds it."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


def place_labels(
    points: Sequence[tuple[float, float]], widths: Sequence[float], area: Box, keep_clear: Sequence[Box] = ()
) -> tuple[Box | None, ...]:
    """Where labels go, each as near to its point as can be: inside the area, clear of points, labels and `keep_clear`.

    None for a label that has no place left; the table beside the figure has it.
    """
    taken = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in points] + list(keep_clear)
    placed: list[Box | None] = []
    for (x, y), width in zip(points, widths, strict=True):
        others = [point for point in points if point != (x, y)]
        box = next(
            (
                b
                for b in _places(x, y, width, area)
                if b.inside(area) and not any(map(b.meets, taken)) and _in_sight(b, x, y, others)
            ),
            None,
        )
        placed.append(box)
        if box is not None:
            taken.append(box)
    return tuple(placed)


def nearest(box: Box, x: float, y: float) -> tuple[float, float]:
    """The place on a label where a line from its point ends."""
    return min(max(x, box.left), box.right), min(max(y, box.top + 3.0), box.bottom - 3.0)


def _in_sight(box: Box, x: float, y: float, others: Sequence[tuple[float, float]]) -> bool:
    """Whether the line from a point to its label passes no other point."""
    end = nearest(box, x, y)
    steps = [(x + (end[0] - x) * n / 20.0, y + (end[1] - y) * n / 20.0) for n in range(21)]
    return not any(math.hypot(px - ox, py - oy) < 7.0 for px, py in steps for ox, oy in others)


def _places(x: float, y: float, width: float, area: Box) -> Iterable[Box]:
    """Boxes for a label of a point: right, left, above, below, then all over the area, nearest first."""
    half = LABEL_HEIGHT / 2
    for left, top in (
        (x + 9, y - half), (x - 9 - width, y - half), (x - width / 2, y - 9 - LABEL_HEIGHT), (x - width / 2, y + 9),
        (x + 6, y - 6 - LABEL_HEIGHT), (x + 6, y + 6), (x - 6 - width, y - 6 - LABEL_HEIGHT), (x - 6 - width, y + 6),
    ):  # fmt: skip
        yield Box(left, top, left + width, top + LABEL_HEIGHT)
    rows = range(int(area.top), int(area.bottom - LABEL_HEIGHT) + 1, 8)
    columns = range(int(area.left), int(area.right - width) + 1, 12)
    grid = [Box(left, top, left + width, top + LABEL_HEIGHT) for top in rows for left in columns]
    yield from sorted(grid, key=lambda b: math.hypot(max(b.left - x, 0, x - b.right), max(b.top - y, 0, y - b.bottom)))
