"""What the page says of a run at work: how its budget stands, how it will end, and how that is to what was expected."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.budget import Budget, Outlook
from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import Footprint
from lowcarb.dashboard.live import Coming, Live, Spending
from lowcarb.dashboard.live_words import CHART_HEIGHT, CHART_WIDTH, fields, live_words, path_of, standing

STARTED_NS = 1_767_225_600 * 10**9  # 2026-01-01
NOW_NS = STARTED_NS + 100 * 10**9


def around(mid):
    return Estimate(mid * 0.9, mid, mid * 1.1, "modelled")


def footprint(energy_j, duration_s=100.0):
    return Footprint(
        energy_j=around(energy_j), operational_g=around(energy_j / 100.0), embodied_g=None, water_l=None, cost=None,
        duration_s=around(duration_s), measured_share=0.0, scope="", method="", sources=(),
    )  # fmt: skip


OUTLOOK = Outlook(around(2000.0), around(20.0), None, Estimate(80.0, 100.0, 130.0, "modelled"), 0.5)
COMING = Coming(0.5, STARTED_NS + 200 * 10**9, (-20.0, 30.0), OUTLOOK)
LIVE = Live(
    header=SimpleNamespace(attempt_id="a", name="n", started_ns=STARTED_NS, site=SimpleNamespace(name="France")),
    run_id="r", phase="train", power_w=10.0, footprint=footprint(1000.0), elapsed_s=100.0, tokens=0, steps=0,
    coming=COMING, spending=None, forecast=None, recent_w=(10.0, 12.0), recent_s=100.0, power=(), silent_s=0.0,
)  # fmt: skip


def spending(spent, limit=4000.0):
    return Spending(Budget("energy", limit, "kJ"), spent)


def test_the_end_is_told_with_its_interval():
    words = live_words(LIVE, NOW_NS)

    assert words["ends"] == "2026-01-01 00:03"
    assert words["left"] == "in 100 s (80–130)"
    assert words["whole_energy"] == "2.0 kJ (1.8–2.2)"
    assert words["whole"] == "20 g (18–22)"


def test_an_end_that_is_over_is_no_forecast_any_more():
    words = live_words(LIVE, STARTED_NS + 300 * 10**9)

    assert words["ends"] == "later than 2026-01-01 00:03"
    assert words["left"] == ""


def test_what_only_steps_tell_says_so_and_has_no_energy():
    words = live_words(replace(LIVE, coming=Coming(0.5, COMING.ends_ns, None)), NOW_NS)

    assert words["left"] == "in about 100 s, by its steps so far"
    assert words["whole"] == words["whole_energy"] == ""


def test_where_nothing_is_known_of_the_end_nothing_is_made_up():
    words = live_words(replace(LIVE, coming=None), NOW_NS)

    assert (words["ends"], words["left"], words["progress"], words["budget"]) == ("not known", "", None, "")


@pytest.mark.parametrize(
    ("spent", "limit", "said", "level"),
    [
        (1000.0, 4000.0, "25 % used, 1 kJ", ""),
        # It is not used up, but will be.
        (1000.0, 1500.0, "67 % used, 1 kJ", "over"),
        (6000.0, 4000.0, "used up, 6 kJ: 150 %", "over"),
        (None, 4000.0, "what is spent is not known", ""),
    ],
)
def test_how_a_budget_stands(spent, limit, said, level):
    words = live_words(replace(LIVE, spending=spending(spent, limit)), NOW_NS)

    assert (words["spent"], words["level"]) == (said, level)
    assert words["budget_end"] == f"About 2 kJ (1.8 to 2.2 kJ) in all: {200_000 / limit:.0f} % of it."


def test_a_budget_without_an_outlook_says_nothing_of_the_end():
    words = live_words(replace(LIVE, coming=None, spending=spending(1000.0)), NOW_NS)

    assert (words["budget_end"], words["share"]) == ("", 0.25)


def test_a_forecast_stands_beside_what_it_will_come_to():
    words = fields(live_words(replace(LIVE, forecast=footprint(1500.0, 200.0)), NOW_NS))

    assert words["standing_energy"] == "67 % of it so far; 2.0 kJ (1.8–2.2) in all, above it"
    assert words["standing_time"] == "50 % of it so far; 3.3 min (3.0–3.8) in all, inside it"
    assert "foretold" not in words


def test_what_took_more_than_the_forecast_already_is_above_it():
    assert standing(around(100.0), around(200.0), None, "J") == "200 J (180–220) so far, above it already"
    assert standing(Estimate.exact(0.0), Estimate.exact(0.0), None, "g") == "nothing of it so far"


@given(st.lists(st.none() | st.floats(min_value=0.0, max_value=1e9), max_size=60))
def test_the_small_chart_stays_in_its_frame_and_breaks_where_nothing_was_read(watts):
    path = path_of(watts)
    known = [one for one in watts if one is not None]
    points = path.replace("M", " ").replace("L", " ").split()

    assert len(points) == (2 * len(known) if len(watts) > 1 else 0)
    assert all(0.0 <= float(x) <= CHART_WIDTH + 0.1 for x in points[::2])
    assert all(0.0 <= float(y) <= CHART_HEIGHT for y in points[1::2])
    if points:
        starts = [one for one, before in zip(watts, [None, *watts], strict=False) if one is not None and before is None]
        assert path.count("M") == len(starts)
