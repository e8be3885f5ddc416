"""Figures of a study: quality against carbon, and the comparisons as a forest. SVG text, made to a width in pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from lowcarb.report.digest import ArmView, Document, Metric, arms_of, metric_of, name_of
from lowcarb.report.format import Figure, Unit, figure, fixed, number, quantity, signed, unit_for, useless
from lowcarb.report.svg import (
    Axis,
    Box,
    axis_over,
    line,
    note,
    place_labels,
    shortened,
    span,
    svg,
    tag,
    text,
    text_width,
)

WIDE, NARROW = 760.0, 336.0
"""Widths that figures are made for [px]: a page, and a telephone."""
LOG_FROM = 10.0
"""The carbon axis is logarithmic where carbon spans more than this factor."""
SMALL = 11.0


class Dot(NamedTuple):
    """One arm in the plane of quality against carbon."""

    arm: ArmView
    carbon_g: float
    quality: float
    seeds: tuple[tuple[float, float], ...]


def quality_carbon(document: Document, width: float = WIDE) -> str:
    """Quality against operational carbon of training, a point an arm; empty where no arm has both."""
    dots = _dots(document)
    if not dots:
        return ""
    metric = metric_of(document)
    height = 400.0 if width > NARROW else 360.0
    plot = Box(46.0, 34.0, width - 12.0, height - 44.0)
    carbon = [c for dot in dots for c, _ in (*dot.seeds, (dot.carbon_g, dot.quality)) if c > 0]
    quality = [q for dot in dots for _, q in (*dot.seeds, (dot.carbon_g, dot.quality))]
    log = min(carbon) * LOG_FROM < max(carbon)
    x = axis_over(carbon, plot.left, plot.right, log=log, zero=not log, pad=0.08)
    y = axis_over(quality, plot.bottom, plot.top, pad=0.12)
    unit = unit_for([dot.carbon_g for dot in dots], "g")
    body = [
        *_grid(x, y, plot, unit, f"{metric.name}, {document['study']['split']} questions"),
        *_front(dots, x, y, plot),
        *(mark for dot in dots for mark in _seed_marks(dot, x, y, metric)),
        *_arm_labels(dots, x, y, plot),
        *(_arm_mark(dot, x, y, metric) for dot in dots),
    ]
    front = ", ".join(dot.arm.id for dot in dots if dot.arm.on_front)
    description = (
        f"{len(dots)} arms by carbon of training in {unit.name} CO2e and {metric.name}. No arm has both less carbon "
        f"and more quality than these: {front or 'none'}. The table that follows has the numbers."
    )
    return svg("quality-carbon", width, height, "Quality against carbon of training", description, body)


def _dots(document: Document) -> list[Dot]:
    study, dots = document["study"], []
    for arm in arms_of(document):
        carbon, quality = arm.footprint("operational_g"), arm.score(study["split"], study["metric"])
        if carbon is None or quality is None or carbon.mid <= 0:
            continue
        seeds = tuple(
            (float(t["footprint"]["operational_g"]["mid"]), float(t[study["split"]][study["metric"]]))
            for t in arm.trials
        )
        dots.append(Dot(arm, carbon.mid, quality.mid, seeds))
    return sorted(dots, key=lambda dot: (dot.carbon_g, -dot.quality))


def _grid(x: Axis, y: Axis, plot: Box, unit: Unit, y_title: str) -> list[str]:
    marks = []
    scaled = Axis(x.low / unit.size, x.high / unit.size, x.start, x.end, x.log)
    for value in scaled.ticks(6 if plot.right > NARROW else 4):
        at = scaled.at(value)
        marks += [
            line(at, plot.top, at, plot.bottom, "grid"),
            text(f"{value:g}", at, plot.bottom + 16, "tick", "middle"),
        ]
    for value in y.ticks(6):
        at = y.at(value)
        marks += [line(plot.left, at, plot.right, at, "grid"), text(f"{value:g}", plot.left - 7, at + 4, "tick", "end")]
    scale = ", log scale" if x.log else ""
    return [
        *marks,
        line(plot.left, plot.bottom, plot.right, plot.bottom, "axis"),
        text(f"↑ {y_title}", 2, 16, "axis-title"),
        text(f"carbon of training, {unit.name} CO2e{scale} →", plot.right, plot.bottom + 36, "axis-title", "end"),
    ]


def _front(dots: list[Dot], x: Axis, y: Axis, plot: Box) -> list[str]:
    """A staircase: the best quality to be had for so much carbon."""
    front = [(x.at(dot.carbon_g), y.at(dot.quality)) for dot in dots if dot.arm.on_front]
    if len(front) < 2:
        return []
    steps = [f"M{front[0][0]:.1f},{front[0][1]:.1f}"]
    steps += [f"H{px:.1f}V{py:.1f}" for px, py in front[1:]]
    steps.append(f"H{plot.right:.1f}")
    return [tag("path", d="".join(steps), class_="front")]


def _seed_marks(dot: Dot, x: Axis, y: Axis, metric: Metric) -> list[str]:
    if len(dot.seeds) < 2:
        return []
    centre = x.at(dot.carbon_g), y.at(dot.quality)
    marks = []
    for carbon, quality in dot.seeds:
        at = x.at(carbon), y.at(quality)
        words = f"{dot.arm.id}, one trial: {number(carbon)} g CO2e, {metric.name} {fixed(quality, metric.decimals)}"
        marks += [line(*centre, *at, "ray"), tag("circle", note(words), cx=at[0], cy=at[1], r=3, class_="seed")]
    return marks


def _arm_mark(dot: Dot, x: Axis, y: Axis, metric: Metric) -> str:
    kind = "scratch" if dot.arm.from_scratch else "on-front" if dot.arm.on_front else "beaten"
    words = f"{dot.arm.id}: {number(dot.carbon_g)} g CO2e, {metric.name} {fixed(dot.quality, metric.decimals)}"
    return tag("circle", note(words), cx=x.at(dot.carbon_g), cy=y.at(dot.quality), r=5.5, class_=f"arm {kind}")


def _arm_labels(dots: list[Dot], x: Axis, y: Axis, plot: Box) -> list[str]:
    points = [(x.at(dot.carbon_g), y.at(dot.quality)) for dot in dots]
    names = [shortened(dot.arm.id + (" (from scratch)" if dot.arm.from_scratch else ""), 200.0) for dot in dots]
    seeds = [
        Box(x.at(c) - 4, y.at(q) - 4, x.at(c) + 4, y.at(q) + 4)
        for dot in dots
        if len(dot.seeds) > 1
        for c, q in dot.seeds
    ]
    front = [(point[0], point[1]) for point, dot in zip(points, dots, strict=True) if dot.arm.on_front]
    steps = [Box(a[0], a[1] - 2, b[0], a[1] + 2) for a, b in zip(front, [*front[1:], (plot.right, 0.0)], strict=True)]
    steps += [Box(b[0] - 2, b[1], b[0] + 2, a[1]) for a, b in pairwise(front)]
    boxes = place_labels(points, [text_width(name) for name in names], plot, (*seeds, *steps))
    marks = []
    for name, box, (px, py) in zip(names, boxes, points, strict=True):
        if box is None:
            continue
        near = min(max(px, box.left), box.right), min(max(py, box.top + 3), box.bottom - 3)
        if abs(near[0] - px) + abs(near[1] - py) > 22:
            marks.append(line(px, py, *near, "leader"))
        anchor, at = ("end", box.right) if box.right <= px else ("start", box.left)
        if box.left < px < box.right:
            anchor, at = "middle", (box.left + box.right) / 2
        marks.append(text(name, at, box.bottom - 3.5, "label", anchor))
    return marks


def forest(document: Document, width: float = WIDE) -> str:
    """The comparisons: carbon ratio and change of quality, with intervals and verdicts; empty where there are none."""
    comparisons = document["comparisons"]
    if not comparisons:
        return ""
    metric, gap = metric_of(document), 28.0
    middle = width / 2.0
    ratios = [r for c in comparisons if (r := figure(c["carbon_ratio"]))]
    changes = [f for c in comparisons if (f := figure(c["quality_change"])) and c["factor"] != "device"]
    x = _ratio_axis(ratios, 8.0, middle - gap / 2)
    q = _change_axis(changes, metric, float(document["study"]["margin"]), middle + gap / 2, width - 8.0)
    top, row = 52.0, 54.0
    bottom = top + row * len(comparisons)
    body = [*_forest_frame(x, q, document, metric, top, bottom)]
    for index, comparison in enumerate(comparisons):
        body += _forest_row(document, comparison, x, q, metric, top + row * index, width)
    description = "; ".join(
        f"{name_of(document, c, 'arm')} against {name_of(document, c, 'baseline')}: carbon ratio "
        f"{quantity(c['carbon_ratio'], '')}, verdict {c['verdict']}"
        for c in comparisons
    )
    return svg("forest", width, bottom + 30, "Comparisons: carbon ratio and change of quality", description, body)


def _ratio_axis(ratios: list[Figure], start: float, end: float) -> Axis:
    known = [bound for r in ratios if not useless(r) for bound in r[:3]] + [r.mid for r in ratios]
    return axis_over([0.8, 1.25, *known], start, end, log=True)


def _change_axis(changes: list[Figure], metric: Metric, margin: float, start: float, end: float) -> Axis:
    known = [min(max(bound, -metric.span), metric.span) for c in changes for bound in c[:3]]
    return axis_over([-2.0 * margin, 2.0 * margin, *known] if margin else [-0.1, 0.1, *known], start, end)


def _forest_frame(x: Axis, q: Axis, document: Document, metric: Metric, top: float, bottom: float) -> list[str]:
    margin, marks = float(document["study"]["margin"]), []
    if margin > 0:
        left, right = q.at(-margin), q.at(margin)
        band = tag("rect", x=left, y=top, width=max(right - left, 1.0), height=bottom - top, class_="margin")
        marks.append(band)
    for axis, reference in ((x, 1.0), (q, 0.0)):
        for value in axis.ticks(5):
            at, label = axis.at(value), f"{value:g}" if axis is x else signed(value, 2).rstrip("0").rstrip(".") or "0"
            marks += [line(at, top, at, bottom, "grid"), text(label, at, bottom + 16, "tick", "middle")]
        marks.append(line(axis.at(reference), top, axis.at(reference), bottom, "reference"))
    return [
        *marks,
        text("Carbon ratio", x.start, 14, "axis-title strong"),
        text("← less carbon · more →", x.start, 30, "axis-title"),
        text(f"Change of {metric.name}", q.start, 14, "axis-title strong"),
        text("← loses · gains →", q.start, 30, "axis-title"),
    ]


def _forest_row(
    document: Document, comparison: Document, x: Axis, q: Axis, metric: Metric, top: float, width: float
) -> list[str]:
    verdict = str(comparison["verdict"])
    kind = verdict.replace(" ", "-")
    ratio, quality = figure(comparison["carbon_ratio"]), figure(comparison["quality_change"])
    verdict_width = text_width(verdict, SMALL) + 12
    name, base = (name_of(document, comparison, side) for side in ("arm", "baseline"))
    projected = " · projected" if comparison["factor"] == "device" else ""
    room = width - verdict_width - 16
    label = shortened(name, room)
    rest = shortened(f"against {base}{projected}", max(0.0, room - text_width(label) - 6), SMALL)
    marks = [
        line(0, top, width, top, "rule"),
        tag(
            "text",
            span(label, "strong"),
            span(rest, "muted", dx=7) if len(rest) > len("against …") else "",
            x=x.start,
            y=top + 18,
            class_="label",
        ),
        text(verdict, width - 8, top + 18, f"verdict {kind}", "end"),
    ]
    y = top + 38
    if ratio is not None:
        marks.append(_interval(ratio, x, y, kind, f"carbon ratio {quantity(ratio, '')}"))
    if projected:
        marks.append(text("quality taken as unchanged", q.at(0.0) + 9, y + 4, "tick halo"))
        marks.append(tag("circle", cx=q.at(0.0), cy=y, r=4, class_="point assumed"))
    elif quality is not None:
        words = f"change of {metric.name} {signed(quality.mid, metric.decimals)}"
        marks.append(_interval(quality, q, y, kind, words))
    return marks


def _interval(value: Figure, axis: Axis, y: float, kind: str, words: str) -> str:
    """A point with its interval; an end beyond the axis has an arrow instead of a cap."""
    left, right = axis.at(value.low), axis.at(value.high)
    marks = [note(words), line(left, y, right, y, f"whisker {kind}")]
    for end, bound, sign in ((left, value.low, -1.0), (right, value.high, 1.0)):
        if axis.low <= bound <= axis.high:
            marks.append(line(end, y - 4, end, y + 4, f"whisker {kind}"))
        else:
            points = f"M{end - sign * 6:.1f},{y - 4:.1f}L{end:.1f},{y:.1f}L{end - sign * 6:.1f},{y + 4:.1f}"
            marks.append(tag("path", d=points, class_=f"whisker {kind}"))
    marks.append(_verdict_mark(axis.at(value.mid), y, kind))
    return tag("g", *marks)


def _verdict_mark(x: float, y: float, kind: str) -> str:
    """A shape for each verdict, so that colour is never alone in saying it."""
    paths = {
        "better": f"M{x - 6:.1f},{y + 5:.1f}h12l-6,-11z",
        "worse": f"M{x - 6:.1f},{y - 5:.1f}h12l-6,11z",
        "not-inferior": f"M{x - 5:.1f},{y - 5:.1f}h10v10h-10z",
    }
    if kind in paths:
        return tag("path", d=paths[kind], class_=f"point {kind}")
    return tag("circle", cx=x, cy=y, r=5, class_="point undecided")
