"""Trackio's real client on its local files."""

from __future__ import annotations

import time

import pytest

from lowcarb.tracker.track import track

trackio = pytest.importorskip("trackio", reason="the trackio extra is not installed")


@pytest.mark.filterwarnings("ignore")  # of Trackio's own
def test_live_and_final_figures_reach_the_active_run(settings):
    from lowcarb.integrations.trackio import logged  # noqa: PLC0415  # after the check

    told = []
    run = trackio.init(project="lowcarb-test", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    send = run.log_system
    run.log_system = lambda metrics: (told.append(metrics), send(metrics))
    with logged(track("work", **settings), every_s=0.2) as tracker:
        time.sleep(0.8)
    trackio.finish()

    assert len(told) >= 3
    assert "lowcarb/energy_j" in told[0]
    assert told[-1]["lowcarb/final/energy_j_mid"] == pytest.approx(tracker.footprint().energy_j.mid)
    assert "done" == told[-1]["lowcarb.status"]
