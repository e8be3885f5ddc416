"""Figures of a study: quality against carbon, and the comparisons as a forest. SVG text, made to a width in pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from lowcarb.report.digest import ArmView, Document, Metric, arms_of, metric_of, name_of, spread_unknown
from lowcarb.report.format import Figure, Unit, change, figure, fixed, number, signed, unit_for, useless
from lowcarb.report.svg import (
    Axis,
    Box,
    axis_over,
    line,
    nearest,
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
        f"{len(dots)} arms by carbon of training in {unit.name} CO₂e and {metric.name}. No arm has both less carbon "
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
        text(f"carbon of training, {unit.name} CO₂e{scale} →", plot.right, plot.bottom + 36, "axis-title", "end"),
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
        words = f"{dot.arm.id}, one trial: {number(carbon)} g CO₂e, {metric.name} {fixed(quality, metric.decimals)}"
        marks += [line(*centre, *at, "ray"), tag("circle", note(words), cx=at[0], cy=at[1], r=3, class_="seed")]
    return marks


def _arm_mark(dot: Dot, x: Axis, y: Axis, metric: Metric) -> str:
    kind = "scratch" if dot.arm.from_scratch else "on-front" if dot.arm.on_front else "beaten"
    words = f"{dot.arm.id}: {number(dot.carbon_g)} g CO₂e, {metric.name} {fixed(dot.quality, metric.decimals)}"
    return tag("circle", note(words), cx=x.at(dot.carbon_g), cy=y.at(dot.quality), r=5.5, class_=f"arm {kind}")


def _arm_labels(dots: list[Dot], x: Axis, y: Axis, plot: Box) -> list[str]:
    points = [(x.at(dot.carbon_g), y.at(dot.quality)) for dot in dots]
    most = 190.0 if plot.right > NARROW else 150.0
    names = [shortened(dot.arm.id, most) + (" (from scratch)" if dot.arm.from_scratch else "") for dot in dots]
    seeds = [
        Box(x.at(c) - 4, y.at(q) - 4, x.at(c) + 4, y.at(q) + 4)
        for dot in dots
        if len(dot.seeds) > 1
        for c, q in dot.seeds
    ]
    front = [(point[0], point[1]) for point, dot in zip(points, dots, strict=True) if dot.arm.on_front]
    steps = [Box(a[0], a[1] - 2, b[0], a[1] + 2) for a, b in zip(front, [*front[1:], (plot.right, 0.0)], strict=True)]
    steps += [Box(b[0] - 2, b[1], b[0] + 2, a[1]) for a, b in pairwise(front)]
    boxes = place_labels(
        points, [text_width(name) for name in names], plot._replace(right=plot.right + 12.0), (*seeds, *steps)
    )
    marks = []
    for name, box, (px, py) in zip(names, boxes, points, strict=True):
        if box is None:
            continue
        near = nearest(box, px, py)
        if abs(near[0] - px) + abs(near[1] - py) > 22:
            marks.append(line(px, py, *near, "leader"))
        anchor, at = ("end", box.right) if box.right <= px else ("start", box.left)
        if box.left < px < box.right:
            anchor, at = "middle", (box.left + box.right) / 2
        marks.append(text(name, at, box.bottom - 3.5, "label", anchor))
    return marks


class Lanes(NamedTuple):
    """Where the parts of the forest's rows go [px]: on a page beside each other, on a telephone words above marks."""

    ratio: Axis
    change: Axis
    row: float
    marks: float
    """From a row's top to the top of its marks' lane."""
    wide: bool


TOP = 44.0
"""Above the forest's first row [px]."""


def forest(document: Document, width: float = WIDE) -> str:
    """The comparisons: carbon ratio and change of quality, with intervals and verdicts; empty where there are none."""
    comparisons = document["comparisons"]
    if not comparisons:
        return ""
    metric, wide = metric_of(document), width > NARROW
    ratios = [r for c in comparisons if (r := figure(c["carbon_ratio"]))]
    changes = [
        # Of an interval that stands for nothing known only the middle moves the axis.
        (f.mid, f.mid, f.mid) if spread_unknown(c) else (f.low, f.mid, f.high)
        for c in comparisons
        if c["factor"] != "device" and (f := figure(c["quality_change"]))
    ]
    left, right = (216.0, width - 100.0) if wide else (6.0, width - 6.0)
    middle = (left + right) / 2.0
    lanes = Lanes(
        _ratio_axis(ratios, left, middle - 14.0),
        _change_axis(changes, float(document["study"]["margin"]), middle + 14.0, right),
        row=44.0 if wide else 56.0,
        marks=0.0 if wide else 26.0,
        wide=wide,
    )
    body = _forest_head(lanes, metric)
    for index, comparison in enumerate(comparisons):
        top = TOP + lanes.row * index
        body += _lane(lanes, top, float(document["study"]["margin"]))
        body += _forest_words(document, comparison, lanes, top, width)
        body += _forest_marks(comparison, lanes, metric, top)
    bottom = TOP + lanes.row * len(comparisons)
    body += _forest_ticks(lanes, bottom)
    description = "; ".join(
        f"{name_of(document, c, 'arm')} against {name_of(document, c, 'baseline')}: "
        f"{_ratio_words(figure(c['carbon_ratio']))}, verdict {c['verdict']}"
        for c in comparisons
    )
    return svg("forest", width, bottom + 24, "Comparisons: carbon ratio and change of quality", description, body)


def _ratio_words(ratio: Figure | None) -> str:
    return change(ratio, "carbon") if ratio else "carbon not known"


def _ratio_axis(ratios: list[Figure], start: float, end: float) -> Axis:
    known = [bound for r in ratios if not useless(r) for bound in r[:3]] + [r.mid for r in ratios]
    return axis_over([0.8, 1.25, *known], start, end, log=True)


def _change_axis(changes: list[tuple[float, float, float]], margin: float, start: float, end: float) -> Axis:
    known = [bound for change_ in changes for bound in change_]
    return axis_over([-2.0 * margin, 2.0 * margin, *known] if margin else [-0.1, 0.1, *known], start, end)


def _forest_head(lanes: Lanes, metric: Metric) -> list[str]:
    ratio, change = lanes.ratio.start, lanes.change.start
    return [
        text("Carbon ratio", ratio, 14, "axis-title strong"),
        text("← less · more carbon →", ratio, 30, "axis-title"),
        text(f"Change of {metric.name}", change, 14, "axis-title strong"),
        text("← loses · gains →", change, 30, "axis-title"),
    ]


def _forest_ticks(lanes: Lanes, bottom: float) -> list[str]:
    marks = []
    for axis in (lanes.ratio, lanes.change):
        for value in axis.ticks(5):
            label = f"{value:g}" if axis is lanes.ratio else f"{value:+g}".replace("-", "−").replace("+0", "0")
            marks.append(text(label, axis.at(value), bottom + 16, "tick", "middle"))
    return marks


def _lane(lanes: Lanes, top: float, margin: float) -> list[str]:
    """The ground of one row: margin, grid and lines of no change."""
    first, last, change = top + lanes.marks, top + lanes.row, lanes.change
    marks = []
    if margin > 0:
        left, right = change.at(-margin), change.at(margin)
        band = max(right - left, 1.0)
        marks.append(tag("rect", x=left, y=first, width=band, height=last - first, class_="margin"))
    for axis, reference in ((lanes.ratio, 1.0), (change, 0.0)):
        marks += [line(axis.at(v), first, axis.at(v), last, "grid") for v in axis.ticks(5)]
        marks.append(line(axis.at(reference), first, axis.at(reference), last, "reference"))
    return marks


def _forest_words(document: Document, comparison: Document, lanes: Lanes, top: float, width: float) -> list[str]:
    verdict = str(comparison["verdict"])
    name, base = (name_of(document, comparison, side) for side in ("arm", "baseline"))
    against = f"against {base}{', projected' if comparison['factor'] == 'device' else ''}"
    class_ = f"verdict {verdict.replace(' ', '-')}"
    marks = [line(0, top, width, top, "rule")]
    if lanes.wide:
        room = lanes.ratio.start - 10.0
        return [
            *marks,
            text(shortened(name, room), 0, top + 19, "label strong"),
            text(shortened(against, room, SMALL), 0, top + 34, "tick"),
            text(verdict, width, top + 27, class_, "end"),
        ]
    room = width - text_width(verdict) - 12.0
    label = shortened(name, room)
    rest = shortened(against, max(0.0, room - text_width(label) - 7.0), SMALL)
    inner = [span(label, "strong"), span(rest, "muted", dx=7) if len(rest) > len("against a/b…") else ""]
    return [
        *marks,
        tag("text", *inner, x=0, y=top + 18, class_="label"),
        text(verdict, width, top + 18, class_, "end"),
    ]


def _forest_marks(comparison: Document, lanes: Lanes, metric: Metric, top: float) -> list[str]:
    kind = str(comparison["verdict"]).replace(" ", "-")
    ratio, quality = figure(comparison["carbon_ratio"]), figure(comparison["quality_change"])
    y, marks = top + (lanes.marks + lanes.row) / 2.0, []
    if ratio is not None:
        marks.append(_interval(ratio, lanes.ratio, y, kind, _ratio_words(ratio)))
    if comparison["factor"] == "device":
        at = lanes.change.at(0.0)
        left = at > (lanes.change.start + lanes.change.end) / 2.0
        words = text("unchanged", at + (-9 if left else 9), y + 4, "tick halo", "end" if left else "start")
        marks += [words, tag("circle", cx=at, cy=y, r=4, class_="point assumed")]
    elif quality is not None:
        words = f"change of {metric.name} {signed(quality.mid, metric.decimals)}"
        marks.append(_interval(quality, lanes.change, y, kind, words))
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
