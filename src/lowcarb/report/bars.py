"""Figures in rows: energy by phase, devices side by side, trials one by one. Each row has its words above its mark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lowcarb.report.digest import Document, added, arms_of, device_names, metric_of, phases_of
from lowcarb.report.figures import NARROW, SMALL, WIDE
from lowcarb.report.format import Figure, Unit, bounds, digits_of, figure, number, quantity, unit_for
from lowcarb.report.summary import contrast_arm, device_carbon
from lowcarb.report.svg import Axis, axis_over, line, note, shortened, svg, tag, text, text_width

GAP = 32.0
"""Between two panels [px]."""
ROW = 42.0
HEAD = 30.0
BAR = 12.0
KNOWN_PHASES = frozenset(("prepare", "train", "evaluate", "score"))


class Part(NamedTuple):
    """A piece of a bar."""

    name: str
    value: float
    class_: str


class Row(NamedTuple):
    """A bar, or the dots of some trials, with words above it."""

    name: str
    words: str
    parts: tuple[Part, ...] = ()
    whisker: Figure | None = None
    dots: tuple[Part, ...] = ()


class Panel(NamedTuple):
    """Rows over one axis that begins at zero."""

    title: str
    rows: tuple[Row, ...]
    unit: Unit

    @property
    def height(self) -> float:
        """How tall it is [px]."""
        return HEAD + ROW * len(self.rows) + 24.0


def energy_by_phase(document: Document, width: float = WIDE) -> str:
    """Where the energy of a trial goes: a bar an arm, mean over its done trials; empty where nothing was metered."""
    phases, rows, totals = phases_of(document), [], []
    for arm in arms_of(document):
        by_phase = {phase: arm.phase_energy(phase) for phase in phases}
        whole: Figure | None = None
        for found in by_phase.values():
            whole = found if whole is None else added(whole, found)
        if whole is None or whole.mid <= 0:
            continue
        parts = tuple(Part(name, one.mid, _phase_class(name)) for name, one in by_phase.items() if one is not None)
        rows.append((arm.id, parts, whole))
        totals.append(whole.high)
    if not rows:
        return ""
    unit = unit_for([whole.mid for *_, whole in rows], "J")
    made = tuple(Row(name, quantity(whole, "J", shown=unit), parts, whole) for name, parts, whole in rows)
    key, legend_height = legend([(phase, _phase_class(phase)) for phase in phases], width)
    panel = Panel(f"Energy of one trial, {unit.name}, mean over seeds", made, unit)
    body = [*panel_marks(panel, 0.0, legend_height, width), *key]
    description = "; ".join(f"{row.name}: {row.words}" for row in made)
    return svg("phases", width, legend_height + panel.height, "Where the energy went, by phase", description, body)


def _phase_class(name: str) -> str:
    return f"part {name}" if name in KNOWN_PHASES else "part other"


def legend(entries: Sequence[tuple[str, str]], width: float) -> tuple[list[str], float]:
    """What the colours stand for: name and class of each; markup and height [px]."""
    marks, x, y = [], 0.0, 12.0
    for name, class_ in entries:
        room = text_width(name) + 34
        if x + room > width and x > 0:
            x, y = 0.0, y + 18.0
        marks += [
            tag("rect", x=x, y=y - 9, width=10, height=10, rx=2, class_=class_),
            text(shortened(name, width - 30), x + 15, y, "tick"),
        ]
        x += room
    return marks, y + 14.0


def devices(document: Document, width: float = WIDE) -> str:
    """Time, energy, carbon and money of one arm's training on each device, projected; empty without projections."""
    arm, names = contrast_arm(document), device_names(document)
    if arm is None or not names:
        return ""
    panels = []
    for title, unit, name in (("Time", "s", "duration_s"), ("Energy", "J", "energy_j"), ("Money", "USD", "cost")):
        figures = {device: arm.projected(device, name) for device in names}
        panels.append(_device_panel(title, unit, names, figures, f"part {name.partition('_')[0]}"))
    carbon = {device: device_carbon(arm, device) for device in names}
    parts = {
        device: tuple(
            Part(word, one.mid, f"part {word}")
            for word in ("operational", "embodied")
            if (one := arm.projected(device, f"{word}_g"))
        )
        for device in names
    }
    panels.insert(2, _device_panel("Carbon", "g", names, carbon, "", parts))
    body, height = side_by_side([panel for panel in panels if panel.rows], width)
    key, legend_height = legend(
        [("carbon of the electricity", "part operational"), ("of making the device", "part embodied")], width
    )
    description = "; ".join(f"{panel.title}: {row.name} {row.words}" for panel in panels for row in panel.rows)
    moved = tag("g", *key, transform=f"translate(0,{height + 6:.0f})")
    title = f"{arm.id} on other devices: projected, not measured"
    return svg("devices", width, height + legend_height + 6, title, description, [*body, moved])


def _device_panel(
    title: str,
    unit: str,
    names: dict[str, str] | Document,
    figures: dict[str, Figure | None],
    class_: str,
    parts: dict[str, tuple[Part, ...]] | None = None,
) -> Panel:
    known = {device: one for device, one in figures.items() if one is not None}
    shown = unit_for([one.high for one in known.values()], unit)
    rows = tuple(
        Row(
            names[device],
            quantity(one, unit, shown=shown),
            parts[device] if parts else (Part(title.lower(), one.mid, class_),),
            one,
        )
        for device, one in known.items()
    )
    kind = f"{shown.name} CO₂e" if unit == "g" else shown.name
    return Panel(f"{title}, {kind}", rows, shown)


def trial_spread(document: Document, width: float = WIDE) -> str:
    """Quality, time and energy of each trial's training, a row an arm; empty where no arm has two trials."""
    metric = metric_of(document)
    split, name = document["study"]["split"], document["study"]["metric"]
    panels = []
    for title, unit, read in (
        (metric.name, "", lambda trial: (trial[split] or {}).get(name)),
        ("Time of training", "s", lambda trial: _mid(trial, "duration_s")),
        ("Energy of training", "J", lambda trial: _mid(trial, "energy_j")),
    ):
        by_arm = {arm["id"]: _trial_dots(document, arm["id"], read) for arm in document["arms"]}
        shown = unit_for([dot.value for dots in by_arm.values() for dot in dots], unit)
        rows = tuple(Row(arm, _range_words(dots, shown), dots=dots) for arm, dots in by_arm.items() if dots)
        panels.append(Panel(f"{title}, {shown.name}" if shown.name else title, rows, shown))
    if not any(len(row.dots) > 1 for panel in panels for row in panel.rows):
        return ""
    body, height = side_by_side([panel for panel in panels if panel.rows], width, most=3)
    key, legend_height = legend([("done", "trial done"), ("ended without a result", "trial lost")], width)
    description = "; ".join(f"{panel.title}: {row.name} {row.words}" for panel in panels for row in panel.rows)
    moved = tag("g", *key, transform=f"translate(0,{height + 6:.0f})")
    title = f"{metric.name}, time and energy, trial by trial"
    return svg("spread", width, height + legend_height + 6, title, description, [*body, moved])


def _mid(trial: Document, name: str) -> float | None:
    found = figure((trial["footprint"] or {}).get(name))
    return found.mid if found else None


def _trial_dots(document: Document, arm: str, read: Callable[[Document], float | None]) -> tuple[Part, ...]:
    dots = []
    for trial in document["trials"]:
        value = read(trial) if trial["arm"] == arm else None
        if value is not None:
            kind = "done" if trial["status"] == "done" else "lost"
            dots.append(Part(f"seed {trial['seed']}, {trial['status']}", value, f"trial {kind}"))
    return tuple(dots)


def _range_words(dots: Sequence[Part], unit: Unit) -> str:
    values = [dot.value for dot in dots if dot.class_ == "trial done"] or [dot.value for dot in dots]
    whole = Figure(min(values), sum(values) / len(values), max(values))
    inside = bounds(whole, unit)
    return inside or number(whole.mid / unit.size, digits_of(whole))


def side_by_side(panels: Sequence[Panel], width: float, most: int = 2) -> tuple[list[str], float]:
    """Panels side by side where there is room, else one under the other; markup and height."""
    columns = min(most, len(panels)) if width > NARROW else 1
    each = (width - GAP * (columns - 1)) / columns
    marks: list[str] = []
    y = 0.0
    for start in range(0, len(panels), columns):
        line_of = panels[start : start + columns]
        for index, panel in enumerate(line_of):
            marks += panel_marks(panel, index * (each + GAP), y, each)
        y += max(panel.height for panel in line_of) + 14.0
    return marks, y - 14.0


def panel_marks(panel: Panel, left: float, top: float, width: float) -> list[str]:
    """The markup of a panel."""
    values = [0.0]
    for row in panel.rows:
        values += [sum(part.value for part in row.parts), *(dot.value for dot in row.dots)]
        values += [row.whisker.high] if row.whisker else []
    # The last tick's label is centred on its tick: the axis ends a little before the panel does.
    axis = axis_over(values, left + 1.0, left + width - 10.0, zero=True, pad=0.02)
    first, last = top + HEAD, top + HEAD + ROW * len(panel.rows)
    marks = [text(panel.title, left, top + 12, "axis-title strong")]
    scaled = Axis(0.0, axis.high / panel.unit.size, axis.start, axis.end)
    for value in scaled.ticks(5 if width > NARROW else 4):
        at = scaled.at(value)
        marks += [line(at, first - 8, at, last, "grid"), text(f"{value:g}", at, last + 15, "tick", "middle")]
    for index, row in enumerate(panel.rows):
        marks += _row(row, axis, left, first + ROW * index, width)
    return marks


def _row(row: Row, axis: Axis, left: float, top: float, width: float) -> list[str]:
    room = width - text_width(row.words, SMALL) - 14.0
    marks = [
        text(shortened(row.name, room), left, top + 9, "label halo"),
        text(row.words, left + width, top + 9, "value halo", "end"),
    ]
    y, at = top + 16.0, axis.start
    for part in row.parts:
        wide = axis.at(part.value) - axis.start
        words = f"{row.name}, {part.name}"
        marks.append(tag("rect", note(words), x=at, y=y, width=max(wide, 0.4), height=BAR, class_=part.class_))
        at += wide
    if row.whisker is not None and row.whisker.high > row.whisker.low:
        low, high, middle = axis.at(row.whisker.low), axis.at(row.whisker.high), y + BAR / 2
        marks += [line(low, middle, high, middle, "error")]
        marks += [line(end, middle - 3.5, end, middle + 3.5, "error") for end in (low, high)]
    if row.dots:
        marks.append(line(axis.start, y + BAR / 2, axis.end, y + BAR / 2, "rule"))
    for dot in row.dots:
        marks.append(_dot(dot, axis.at(dot.value), y + BAR / 2, row.name))
    return marks


def _dot(dot: Part, x: float, y: float, name: str) -> str:
    words = note(f"{name}, {dot.name}")
    if dot.class_ == "trial lost":
        d = f"M{x - 4:.1f},{y - 4:.1f}l8,8M{x - 4:.1f},{y + 4:.1f}l8,-8"
        return tag("path", words, d=d, class_=dot.class_)
    return tag("circle", words, cx=x, cy=y, r=4.5, class_=dot.class_)
