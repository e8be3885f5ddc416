"""What the tracker's tests share: a machine, a site, and a tracker on a steady sensor."""

from __future__ import annotations

import pytest

from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device, Installed, Machine
from lowcarb.core.site import Site
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.track import track

DEVICE = Device(
    "gpu-x",
    "GPU X",
    "gpu",
    peak_flops={"fp32": 1e12},
    tdp_w=100.0,
    embodied_g=Estimate(1e5, 1.5e5, 2e5, "catalogue"),
    lifetime_s=Estimate(1e8, 1.2e8, 1.5e8, "assumed"),
    sources=("maker-2024",),
)


@pytest.fixture
def machine():
    return Machine("m1", "one GPU X", (Installed(DEVICE, 1.0),), 4, 8e9, {"torch": "2.9"})


@pytest.fixture
def site():
    exact = Estimate.exact
    return Site(
        id="fra",
        name="France",
        intensity_g_per_kwh=exact(50.0, "catalogue"),
        accounting="location, lifecycle",
        pue=Estimate(1.1, 1.2, 1.5, "assumed"),
        wue_l_per_kwh=exact(0.2, "assumed"),
        grid_water_l_per_kwh=exact(1.0, "catalogue"),
        price_per_kwh=None,
        year=2025,
        declared=True,
        sources=("grid-2025",),
    )


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def make(machine, site, ledger, home):
    """A tracker on a sensor that reads 50 W five times a second, by default."""

    def make(name="work", **settings):
        usual = {
            "machine": machine, "site": site, "ledger": ledger, "home": home, "interval_s": 0.2,
            "sensors": [Replay.steady(50.0)],
        }  # fmt: skip
        return track(name, **{**usual, **settings})

    return make


@pytest.fixture
def attempts(ledger):
    """All attempts of the ledger."""
    return lambda: [one for run in ledger.runs() for one in ledger.attempts(run.id)]
