"""A cell of a scan is what the scalar forecast says of the same scenario."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy", reason="the plan extra is not installed")

from lowcarb.catalogue import Catalogue  # noqa: E402
from lowcarb.core.forecast import forecast_run  # noqa: E402
from lowcarb.errors import SettingError  # noqa: E402
from lowcarb.scan import Run, scan  # noqa: E402

CATALOGUE = Catalogue.load()
DEVICES = [CATALOGUE.device(name) for name in ("v100", "a100-sxm4-80gb", "h100-sxm5", "tpu-v4", "mi250x", "p100")]
SITES = [CATALOGUE.site(name) for name in ("fra", "us-ca", "pol")] + [CATALOGUE.unknown_site()]

runs = st.builds(
    Run,
    params=st.floats(1e7, 2e12), tokens=st.floats(1e6, 1e14),
    layers=st.none() | st.integers(1, 200), width=st.none() | st.integers(64, 20000),
    length=st.none() | st.integers(128, 100_000), family=st.sampled_from([None, "encoder-decoder", "moe", "anything"]),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    st.lists(runs, min_size=1, max_size=3), st.lists(st.sampled_from(DEVICES), min_size=1, max_size=3),
    st.lists(st.integers(1, 30_000), min_size=1, max_size=3), st.lists(st.sampled_from(SITES), min_size=1, max_size=2),
    st.data(),
)  # fmt: skip
def test_a_cell_is_the_scalar_forecast(some, devices, counts, sites, data):
    hours = data.draw(st.none() | st.just(np.linspace(1.0, 700.0, 2 * len(sites)).reshape(len(sites), 2)))
    found = scan(some, devices, counts, sites, hours)
    r, d, c, s, h = (
        data.draw(st.integers(0, n - 1)) for n in (*map(len, (some, devices, counts, sites)), 1 if hours is None else 2)
    )

    expected = forecast_run(found.scenario(r, d, c, s, h))

    for cell, estimate in (
        (found.accelerator_hours.at(r, d, c), expected.accelerator_hours),
        (found.duration_s.at(r, d, c), expected.duration_s),
        (found.node_j.at(r, d, c), expected.node_j),
        (found.operational_g.at(r, d, c, s, h), expected.footprint.operational_g),
    ):
        assert cell == pytest.approx((estimate.low, estimate.mid, estimate.high), rel=1e-12)
    assert bool(found.too_big[r, d, c]) == (expected.fits is False)


def test_the_carbon_has_an_axis_for_each_choice():
    found = scan([Run(7e9, 2e12), Run(1e9, 1e11)], DEVICES[:3], [8, 64], SITES, np.full((4, 24), 100.0))

    assert (2, 3, 2, 4, 24) == found.operational_g.mid.shape


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (lambda: scan([], DEVICES, [1], SITES), "runs"),
        (lambda: scan([Run(7e9, 0)], DEVICES, [1], SITES), "tokens"),
        (lambda: scan([Run(7e9, 1e9)], DEVICES, [8, 0], SITES), "count"),
        (lambda: scan([Run(7e9, 1e9, precision="fp8")], DEVICES, [1], SITES), "precision"),
        (lambda: scan([Run(7e9, 1e9)], DEVICES, [1], SITES, [[1.0]]), "intensities_g_per_kwh"),
        (lambda: scan([Run(7e9, 1e9)], DEVICES, [1], SITES[:1], [[-1.0]]), "intensities_g_per_kwh"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong, field):
    with pytest.raises(SettingError) as refused:
        wrong()

    assert refused.value.field == field


def test_without_numpy_the_extra_is_named():
    program = "import sys; sys.modules['numpy'] = None; import lowcarb.scan"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 1
    assert "pip install 'lowcarb[plan]'" in done.stderr
