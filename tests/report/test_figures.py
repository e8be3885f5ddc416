"""The figures: what they show, and that labels do not overlap."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.report.bars import devices, energy_by_phase, trial_spread
from lowcarb.report.figures import NARROW, WIDE, forest, quality_carbon
from lowcarb.report.svg import Axis, Box, axis_over, place_labels, shortened, tag

FIGURES = (quality_carbon, forest, energy_by_phase, devices, trial_spread)
AREA = Box(40.0, 30.0, 748.0, 356.0)


def boxes_of(figure):
    """Rectangles and circles of a figure: left, top, right, bottom."""
    for one in figure.iter("rect"):
        x, y, width, height = (float(one.get(name)) for name in ("x", "y", "width", "height"))
        yield x, y, x + width, y + height
    for one in figure.iter("circle"):
        x, y, r = (float(one.get(name)) for name in ("cx", "cy", "r"))
        yield x - r, y - r, x + r, y + r


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("draw", FIGURES)
def test_figure_is_xml_inside_its_frame_or_nothing(variant, draw, width):
    drawn = draw(variant, width)
    if not drawn:
        return
    figure = ET.fromstring(drawn)
    _, _, right, bottom = map(float, figure.get("viewBox").split())

    assert "nan" not in drawn
    assert right == width
    for box in boxes_of(figure):
        assert box[0] >= -0.1
        assert box[1] >= -0.1
        assert box[2] <= right + 0.1
        assert box[3] <= bottom + 0.1


@pytest.mark.parametrize("draw", FIGURES)
def test_figure_is_nothing_where_nothing_is_done(make, draw):
    assert draw(make.document([make.pending()], [])) == ""


@pytest.mark.parametrize("draw", FIGURES)
def test_hostile_names_stay_text(hostile, draw):
    for width in (WIDE, NARROW):
        names = {one.tag for one in ET.fromstring(draw(hostile, width).encode("utf-8", "replace").decode()).iter()}

        assert names <= {"svg", "title", "desc", "g", "text", "tspan", "line", "rect", "circle", "path"}


def texts(drawn):
    return ["".join(one.itertext()) for one in ET.fromstring(drawn).iter("text")]


def test_carbon_axis_is_logarithmic_from_a_factor_of_ten_on(make):
    near = [make.trial("a/b", 0, energy_j=100.0), make.trial("c/d", 0, energy_j=500.0)]
    far = [make.trial("a/b", 0, energy_j=100.0), make.trial("c/d", 0, energy_j=5000.0)]

    assert "log scale" not in quality_carbon(make.document(near, []))
    assert "log scale" in quality_carbon(make.document(far, []))


def test_arms_from_scratch_are_hollow_and_say_so(make):
    drawn = quality_carbon(make.document(from_scratch=("distilbert/native",)))

    assert "distilbert/native (from scratch)" in texts(drawn)
    assert drawn.count('class="arm scratch"') == 1


def test_single_trials_are_drawn_behind_their_arm(document):
    drawn = quality_carbon(document)

    assert drawn.count('class="seed"') == 4
    assert drawn.rindex('class="seed"') < drawn.index('class="arm')


def test_forest_says_each_verdict_in_words_and_by_shape(make):
    verdicts = ("better", "not inferior", "worse", "undecided")
    found = [make.comparison(verdict=verdict) for verdict in verdicts]
    drawn = forest(make.document(comparisons=found))

    assert set(verdicts) <= set(texts(drawn))
    shapes = [one for one in ET.fromstring(drawn).iter() if (one.get("class") or "").startswith("point")]
    assert len({one.get("d", "circle").partition("h")[2] for one in shapes}) == 4


def test_interval_beyond_the_axis_ends_in_arrows_and_moves_no_other(make):
    wide = make.comparison(
        carbon_ratio=make.change(1e-5, 0.5, 2e4), quality_change=make.change(-500.0, -7.0, 490.0), verdict="undecided"
    )

    drawn = forest(make.document(comparisons=[make.comparison(), wide]))

    assert drawn.count('<path d="M') == 2 + 4  # two marks of `worse`, one a comparison's figure, and four arrows
    assert "+500" not in texts(drawn)


def test_front_is_a_staircase_over_the_arms_on_it(make):
    document = make.document()
    assert 'class="front"' not in quality_carbon(document)

    for point in document["pareto"]:
        point["on_front"] = True
    assert quality_carbon(document).count('class="front"') == 1


def test_phases_are_stacked_in_order(document):
    drawn = energy_by_phase(document)
    classes = [one.get("class") for one in ET.fromstring(drawn).iter("rect")][:5]

    assert classes == ["part prepare", "part train", "part evaluate", "part score", "part other"]


def test_device_figure_says_that_it_is_projected(document):
    assert "projected, not measured" in devices(document)
    assert {"Time, s", "Energy, J", "Carbon, g CO₂e", "Money, USD"} <= set(texts(devices(document)))


def test_trial_without_a_result_is_a_cross(document):
    assert trial_spread(document).count('class="trial lost"') == 3  # time, energy, and the legend


POINTS = st.lists(
    st.tuples(st.floats(AREA.left + 8, AREA.right - 8), st.floats(AREA.top + 8, AREA.bottom - 8)),
    min_size=1, max_size=12,
)  # fmt: skip


@given(POINTS, st.lists(st.floats(20.0, 200.0), min_size=12, max_size=12))
def test_labels_never_overlap(points, widths):
    placed = place_labels(points, widths[: len(points)], AREA)
    boxes = [box for box in placed if box is not None]

    assert all(box.inside(AREA) for box in boxes)
    assert not any(a.meets(b) for a, b in itertools.combinations(boxes, 2))
    assert not any(box.left < x < box.right and box.top < y < box.bottom for box in boxes for x, y in points)


def test_label_without_a_place_is_left_out():
    assert place_labels([(100.0, 100.0)], [2000.0], AREA) == (None,)


def test_scattered_labels_all_find_a_place():
    points = [(100.0 + 50.0 * n, 60.0 + 20.0 * n) for n in range(12)]

    assert None not in place_labels(points, [150.0] * 12, AREA)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=9), st.booleans())
def test_axis_holds_its_values_in_order(values, log):
    axis = axis_over(values, 10.0, 300.0, log=log)
    places = [axis.at(value) for value in sorted(values)]

    assert places == sorted(places)
    assert all(10.0 <= place <= 300.0 for place in places)


@given(st.floats(1e-6, 1e6), st.floats(1.001, 1e6), st.booleans())
def test_ticks_lie_on_the_axis(low, ratio, log):
    axis = Axis(low, low * ratio, 0.0, 1.0, log=log)

    ticks = axis.ticks(5)
    assert all(low * (1 - 1e-6) <= tick <= low * ratio * (1 + 1e-6) for tick in ticks)
    assert len(ticks) <= 7


def test_value_beyond_an_axis_is_held_at_its_end():
    assert Axis(1.0, 10.0, 0.0, 90.0, log=True).at(1e9) == 90.0
    assert Axis(1.0, 10.0, 0.0, 90.0).at(-5.0) == 0.0


def test_attributes_and_children_of_a_tag():
    assert (
        tag("rect", x=1.25, class_='a"b<c', stroke_width=2.0)
        == '<rect x="1.2" class="a&quot;b&lt;c" stroke-width="2"/>'
    )
    assert shortened("distilbert/native", 60.0) == "distilb…"
    assert shortened("short", 600.0) == "short"
