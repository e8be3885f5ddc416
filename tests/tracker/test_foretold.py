"""A forecast goes with a run: from a file or a footprint into the document; what is none is refused at the door."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import Footprint
from lowcarb.errors import SettingError
from lowcarb.tracker.foretold import read_forecast

FOOTPRINT = Footprint(
    energy_j=Estimate(5.0, 8.0, 12.0, "modelled"), operational_g=Estimate(0.1, 0.2, 0.3, "catalogue"), embodied_g=None,
    water_l=None, cost=None, duration_s=Estimate(1.0, 2.0, 3.0, "modelled"), measured_share=0.0, scope="gpu",
    method="roofline", sources=("a-2024",),
)  # fmt: skip
HELD = FOOTPRINT.as_dict()
SCENARIO = {"device": "t4", "count": 1, "footprint": HELD}


@pytest.fixture
def written(tmp_path):
    def write(document):
        path = tmp_path / "f.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "document",
    [HELD, {"footprint": HELD, "kind": "run"}, {"schema_version": 1, "kind": "forecast", "scenarios": [SCENARIO]}],
    ids=["footprint", "run", "forecast"],
)
def test_what_our_commands_print_is_read(written, document):
    assert read_forecast(written(document)) == FOOTPRINT
    assert read_forecast(str(written(document))) == FOOTPRINT


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[1]", "no footprint"),
        ({}, "energy_j is missing"),
        ({"scenarios": []}, "0 scenarios"),
        ({"scenarios": [SCENARIO, SCENARIO]}, "2 scenarios"),
        ({"scenarios": [3]}, "energy_j is missing"),
        ({"footprint": None}, "energy_j is missing"),
        (HELD | {"energy_j": 3}, "energy_j in it is no estimate"),
        (HELD | {"energy_j": None}, "energy_j is missing"),
        (HELD | {"energy_j": {"low": 1.0, "mid": 2.0, "basis": "modelled"}}, "high is missing"),
        (HELD | {"energy_j": {"low": 3.0, "mid": 2.0, "high": 4.0, "basis": "modelled"}}, "energy_j in it is no"),
        (HELD | {"energy_j": {"low": -1.0, "mid": 2.0, "high": 4.0, "basis": "modelled"}}, "energy_j in it is below"),
        (HELD | {"water_l": {"low": 1.0, "mid": 1.0, "high": 1.0, "basis": "guessed"}}, "water_l in it is no"),
        (HELD | {"duration_s": {"low": 1.0, "mid": 1.0, "high": float("nan"), "basis": "modelled"}}, "duration_s"),
        ({name: value for name, value in HELD.items() if name != "scope"}, "scope is missing"),
        (HELD | {"measured_share": "all"}, "all"),
    ],
)
def test_what_is_none_is_one_error_that_names_what_is_wrong(written, make, document, said):
    with pytest.raises(SettingError, match=said) as error:
        make(forecast=written(document))
    assert error.value.field == "forecast"


@pytest.mark.parametrize("value", [3, "", b"f.json", [], {}])
def test_only_footprints_and_paths_are_forecasts(make, value):
    with pytest.raises(SettingError, match="forecast"):
        make(forecast=value)


def test_a_file_that_is_not_there_or_no_file_is_an_error(make, tmp_path):
    for path in (tmp_path / "missing.json", tmp_path, "nul\0.json"):
        with pytest.raises(SettingError, match="forecast"):
            make(forecast=path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from([*HELD, "footprint", "scenarios"]), one),
    max_leaves=20,
)


@given(ANYTHING)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_read_or_refused(written, document):
    # Any other error would fail the test.
    with suppress(SettingError):
        assert read_forecast(written(document)).energy_j.low >= 0.0


def test_it_is_in_the_document_of_each_attempt_and_beside_the_outcome(make, attempts):
    with make(forecast=FOOTPRINT):
        pass

    @make("again", forecast=FOOTPRINT)
    def work():
        pass

    work()

    assert [one.document["notes"]["forecast"] for one in attempts()] == [HELD] * 2


def test_without_one_there_is_none(make, attempts):
    with make():
        pass

    assert "forecast" not in attempts()[0].document["notes"]
