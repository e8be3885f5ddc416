"""What is stored beside a result comes back as it was."""

from __future__ import annotations

import json

import pytest

from lowcarb.core.documents import (
    channel_as_dict,
    channel_from_dict,
    machine_as_dict,
    machine_from_dict,
    plain,
    site_as_dict,
    site_from_dict,
)
from lowcarb.core.energy import Channel
from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device, Installed, Machine
from lowcarb.core.site import Site
from lowcarb.errors import SettingError

GPU = Device(
    id="gpu-x",
    name="GPU X",
    kind="gpu",
    peak_flops={"fp32": 1e12, "bf16": 4e12},
    memory_bytes=8e9,
    bandwidth_bytes_per_s=1e11,
    tdp_w=100.0,
    idle_w=10.0,
    embodied_g=Estimate(1.0, 2.0, 3.0, "catalogue"),
    lifetime_s=Estimate(1e8, 1.2e8, 1.5e8, "assumed"),
    price_per_hour=Estimate.exact(1.5, "catalogue"),
    sources=("a", "b"),
)
BARE = Device(id="cpu", name="CPU", kind="cpu")
MACHINE = Machine("m", "one", (Installed(GPU, 2.0), Installed(BARE, 0.5)), 8, 1e10, {"torch": "2.9"}, virtual=True)
SITE = Site(
    id="fra",
    name="Île-de-France",
    intensity_g_per_kwh=Estimate(40.0, 50.0, 60.0, "catalogue"),
    accounting="location, lifecycle",
    pue=Estimate(1.1, 1.2, 1.5, "assumed"),
    wue_l_per_kwh=None,
    grid_water_l_per_kwh=Estimate.exact(1.0, "catalogue"),
    price_per_kwh=None,
    year=2025,
    declared=True,
    sources=("grid",),
)
CHANNEL = Channel("c", "d", "gpu", "counter", "nvml", "measured", 0.95, 1.05, None, 2.0**32)


def through_json(document):
    return json.loads(json.dumps(document, allow_nan=False))


def test_a_machine_comes_back():
    assert machine_from_dict(through_json(machine_as_dict(MACHINE))) == MACHINE


def test_a_site_comes_back():
    assert site_from_dict(through_json(site_as_dict(SITE))) == SITE


def test_a_channel_comes_back():
    assert channel_from_dict(through_json(channel_as_dict(CHANNEL))) == CHANNEL


def test_a_site_that_cannot_be_does_not_come_back():
    document = site_as_dict(SITE) | {"pue": Estimate.exact(0.5).as_dict()}

    with pytest.raises(SettingError, match="pue"):
        site_from_dict(document)


def test_what_is_unknown_or_not_finite_is_null_and_a_tuple_is_a_list():
    assert plain({"a": float("nan"), "b": (1, float("inf")), 3: None, "c": True}) == {
        "a": None,
        "b": [1, None],
        "3": None,
        "c": True,
    }


def test_what_json_cannot_say_is_refused_or_said_otherwise():
    assert plain([{1}], str) == ["{1}"]
    with pytest.raises(TypeError, match="set"):
        plain([{1}])
