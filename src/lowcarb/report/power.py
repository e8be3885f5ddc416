"""Power over time: stacked by kind of device, a panel a trial, with a table of its mean and range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from lowcarb.core.units import s_from_ns
from lowcarb.report.bars import GAP, legend
from lowcarb.report.columns import Table, measure, words
from lowcarb.report.digest import Document
from lowcarb.report.figures import NARROW, WIDE
from lowcarb.report.format import Unit, exactly, plain, unit_for
from lowcarb.report.svg import Axis, line, note, shortened, svg, tag, text, text_width

TITLE = "Power over time"
HEIGHT, HEAD, FOOT = 96.0, 26.0, 34.0
"""Of a panel's plot, above it and beneath it [px]."""
MOST_PANELS = 8
KINDS = ("cpu", "dram", "gpu", "tpu", "npu", "machine")


class Trace(NamedTuple):
    """One attempt's power: by kind of device, the mean of each stretch [W], None where nothing was seen."""

    name: str
    step_s: float
    kinds: tuple[tuple[str, tuple[float | None, ...]], ...]

    @property
    def length_s(self) -> float:
        """How long it ran [s]."""
        return self.step_s * max((len(values) for _, values in self.kinds), default=0)

    @property
    def whole(self) -> tuple[float | None, ...]:
        """All devices together [W]; None where one of them is not known."""
        rows = zip(*(values for _, values in self.kinds), strict=False)
        return tuple(None if None in row else sum(value for value in row if value is not None) for row in rows)


def trace_of(name: str, power: Sequence[Mapping[str, Any]] | None) -> Trace | None:
    """The trace of an attempt's `power`; None where there is none, as of what an older lowcarb wrote."""
    if not power or not power[0]["power_w"]:
        return None
    kinds: dict[str, list[float | None]] = {}
    for one in power:
        kind, values = str(one.get("kind", one["device"])), list(one["power_w"])
        before = kinds.get(kind)
        kinds[kind] = values if before is None else [_sum(a, b) for a, b in zip(before, values, strict=False)]
    starts = power[0]["start_ns"]
    step_ns = power[0].get("step_ns") or (starts[1] - starts[0] if len(starts) > 1 else 0)
    if step_ns <= 0:
        return None
    ordered = sorted(kinds.items(), key=lambda pair: KINDS.index(pair[0]) if pair[0] in KINDS else len(KINDS))
    return Trace(name, s_from_ns(step_ns), tuple((kind, tuple(values)) for kind, values in ordered))


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def traces(document: Document) -> tuple[Trace, ...]:
    """Of a study, the first done trial of each arm that has its power, at most `MOST_PANELS`."""
    found: dict[str, Trace] = {}
    for trial in document["trials"]:
        arm = str(trial["arm"])
        if trial["status"] == "done" and arm not in found:
            trace = trace_of(f"{arm} seed {trial['seed']}", trial.get("power"))
            if trace is not None:
                found[arm] = trace
    return tuple(found.values())[:MOST_PANELS]


def power_over_time(shown: Sequence[Trace], width: float = WIDE) -> str:
    """The figure; empty where there is no trace with anything in it."""
    shown = [one for one in shown if any(value is not None for value in one.whole)]
    if not shown:
        return ""
    columns = 2 if width > NARROW and len(shown) > 1 else 1
    each = (width - GAP * (columns - 1)) / columns
    most_w = max(value for one in shown for value in one.whole if value is not None) or 1.0
    longest_s = max(one.length_s for one in shown)
    watts, seconds = unit_for([most_w], "W"), unit_for([longest_s], "s")
    kinds = tuple(dict.fromkeys(kind for one in shown for kind, _ in one.kinds))
    marks, top = legend([(kind, f"part kind {_class(kind)}") for kind in kinds], width)
    row = HEAD + HEIGHT + FOOT
    for index, trace in enumerate(shown):
        left, above = (index % columns) * (each + GAP), top + (index // columns) * row
        x = Axis(0.0, longest_s / seconds.size, left + 34.0, left + each - 12.0)
        y = Axis(0.0, 1.08 * most_w / watts.size, above + HEAD + HEIGHT, above + HEAD)
        marks += _panel(trace, x, y, (watts, seconds), above)
    rows = (len(shown) + columns - 1) // columns
    description = "; ".join(f"{one.name}: {_mean_words(one)} over {plain(one.length_s, 's')}" for one in shown)
    return svg("power", width, top + rows * row, TITLE, f"Mean power by device. {description}", marks)


def _mean_words(trace: Trace) -> str:
    known = [value for value in trace.whole if value is not None]
    return f"{plain(fmean(known), 'W')} in the mean" if known else "not known"


def _class(kind: str) -> str:
    return kind if kind in KINDS else "other"


def _panel(trace: Trace, x: Axis, y: Axis, units: tuple[Unit, Unit], above: float) -> list[str]:
    watts, seconds = units
    mean = _mean_words(trace)
    room = x.end - x.start + 34.0 - text_width(mean, 11.0) - 14.0
    marks = [
        text(shortened(trace.name, room), x.start - 34.0, above + 14, "label strong"),
        text(mean, x.end, above + 14, "value", "end"),
    ]
    for value in y.ticks(3):
        marks += [line(x.start, y.at(value), x.end, y.at(value), "grid")]
        marks.append(text(f"{value:g}", x.start - 6, y.at(value) + 4, "tick", "end"))
    floor: list[float] = [0.0] * len(trace.whole)
    for kind, values in trace.kinds:
        ceiling = [low + (value or 0.0) / watts.size for low, value in zip(floor, values, strict=False)]
        d = _area(floor, ceiling, trace, x, y, seconds)
        if d:
            marks.append(tag("path", note(f"{trace.name}, {kind}"), d=d, class_=f"part kind {_class(kind)}"))
        floor = ceiling
    marks.append(line(x.start, y.start, x.end, y.start, "axis"))
    ticks = x.ticks(4)
    for value in ticks:
        # The unit stands once, at the last tick, so that it cannot meet a label.
        label = f"{value:g} {seconds.name}" if value == ticks[-1] else f"{value:g}"
        marks.append(text(label, x.at(value), y.start + 15, "tick", "middle"))
    marks.append(text(watts.name, x.start - 34.0, y.end + 4, "tick"))
    return marks


def _area(
    floor: Sequence[float], ceiling: Sequence[float], trace: Trace, x: Axis, y: Axis, seconds: Unit
) -> str:  # fmt: skip
    """A stepped area between two heights, broken where the power is not known."""
    step, pieces, run = trace.step_s / seconds.size, [], []
    whole = trace.whole
    for index in range(len(whole) + 1):
        if index < len(whole) and whole[index] is not None:
            run.append(index)
            continue
        if run:
            up = "".join(f"V{y.at(ceiling[n]):.1f}H{x.at((n + 1) * step):.1f}" for n in run)
            down = "".join(f"V{y.at(floor[n]):.1f}H{x.at(n * step):.1f}" for n in reversed(run))
            pieces.append(f"M{x.at(run[0] * step):.1f},{y.at(floor[run[0]]):.1f}{up}{down}Z")
        run = []
    return "".join(pieces)


def power_table(shown: Sequence[Trace]) -> Table:
    """Mean, least and most power by kind of device."""
    rows = [(one, kind, [v for v in values if v is not None], values) for one in shown for kind, values in one.kinds]
    likes = [exactly(max(known)) if known else None for _, _, known, _ in rows]

    def column(title: str, figures: Sequence[float | None]) -> Any:
        return measure(title, "W", [exactly(value) for value in figures], like=likes)

    return Table(
        TITLE,
        (
            words("Run", [one.name for one, *_ in rows]),
            words("Device", [kind for _, kind, *_ in rows]),
            column("Mean power", [fmean(known) if known else None for *_, known, _ in rows]),
            column("Least", [min(known, default=None) for *_, known, _ in rows]),
            column("Most", [max(known, default=None) for *_, known, _ in rows]),
            measure("Time", "s", [exactly(one.length_s) for one, *_ in rows]),
            words("Stretches without readings", [str(sum(v is None for v in values)) for *_, values in rows]),
        ),
    )
