"""Footprints: hand-computed vectors and monotony."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcarb.core.energy import DeviceEnergy, Energy
from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import footprint_from_dict, footprint_of, measured_footprint
from lowcarb.core.hardware import Device, Installed, Machine
from lowcarb.core.site import Site
from lowcarb.core.units import j_from_kwh, s_from_hours, s_from_years
from lowcarb.errors import SettingError


def exact(value):
    return Estimate.exact(value, "catalogue")


def site(intensity=400.0, pue=1.5, **changes):
    settings = {
        "id": "here", "name": "Here", "intensity_g_per_kwh": exact(intensity), "accounting": "location, lifecycle",
        "pue": exact(pue), "wue_l_per_kwh": exact(0.5), "grid_water_l_per_kwh": exact(2.0),
        "price_per_kwh": exact(0.25), "year": 2025, "declared": True, "sources": ("a",),
    }  # fmt: skip
    return Site(**(settings | changes))


GPU = Device("gpu", "GPU", "gpu", embodied_g=exact(150e3), lifetime_s=exact(s_from_years(4)), sources=("b",))
MACHINE = Machine("m", "M", (Installed(GPU, 2),), 8, 1e9)


def of(energy_kwh=10.0, hours=5.0, where=None, machine=MACHINE):
    return footprint_of(
        Estimate.exact(j_from_kwh(energy_kwh)), Estimate.exact(s_from_hours(hours)), machine, where or site(),
        measured_share=1.0, scope="gpu", method="given",
    )  # fmt: skip


def test_a_footprint_is_what_a_pocket_calculator_says():
    footprint = of()

    assert 10 * 1.5 * 400 == pytest.approx(footprint.operational_g.mid)
    assert 2 * 150e3 * 5 / (4 * 8766) == pytest.approx(footprint.embodied_g.mid)
    assert 10 * 0.5 + 10 * 1.5 * 2.0 == pytest.approx(footprint.water_l.mid)
    assert 10 * 1.5 * 0.25 == pytest.approx(footprint.cost.mid)
    assert ("a", "b") == footprint.sources


def test_rent_takes_the_place_of_electricity_where_a_device_is_rented():
    rented = Machine("m", "M", (Installed(Device("g", "G", "gpu", price_per_hour=exact(3.0)), 2),), 8, 1e9)

    assert 2 * 3.0 * 5 == pytest.approx(of(machine=rented).cost.mid)


def test_what_is_unknown_is_none_and_never_zero():
    bare = Machine("m", "M", (), 8, 1e9)
    where = site(wue_l_per_kwh=None, price_per_kwh=None)

    footprint = of(where=where, machine=bare)

    assert (None, None, None) == (footprint.embodied_g, footprint.water_l, footprint.cost)


@given(st.floats(0.1, 1e3), st.floats(1.0, 3.0), st.floats(0.0, 1e3), st.floats(0.0, 1e3))
def test_carbon_grows_with_energy_intensity_and_pue(energy, pue, intensity, more):
    here, there = site(intensity, pue), site(intensity + more, pue + more / 1e3)

    assert of(energy, where=here).operational_g.mid <= of(energy + more, where=there).operational_g.mid * (1 + 1e-12)


def test_the_measured_share_counts_only_what_was_measured():
    devices = (
        DeviceEnergy("gpu", "gpu", "nvml", Estimate.around(300.0, 1.05, "measured"), 1.0, 0.0),
        DeviceEnergy("cpu", "cpu", "cpu-model", Estimate.around(100.0, 1.5, "modelled"), 1.0, 0.0),
    )

    footprint = measured_footprint(Energy(10.0, devices), MACHINE, site())

    assert 0.75 == footprint.measured_share
    assert ("modelled", "gpu+cpu") == (footprint.energy_j.basis, footprint.scope)


@pytest.mark.parametrize("wrong", [{"wue_l_per_kwh": exact(-0.1)}, {"intensity_g_per_kwh": exact(-1.0)}])
def test_impossible_sites_are_refused_by_name(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        site(**wrong)


def test_a_pue_below_one_is_refused():
    with pytest.raises(SettingError, match="pue"):
        site(pue=0.9)


def test_the_json_form_comes_back_unchanged():
    assert of() == footprint_from_dict(of().as_dict())
