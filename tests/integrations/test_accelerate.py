"""A real Accelerator with the meter among its trackers."""

from __future__ import annotations

import time

import pytest

from lowcarb.errors import BudgetExceeded, SettingError

accelerate = pytest.importorskip("accelerate", reason="the hf extra is not installed")

from accelerate.tracking import GeneralTracker  # noqa: E402  # after the check

from lowcarb.integrations.accelerate import LowcarbTracker  # noqa: E402  # after the check

KEYS = {"lowcarb/energy_kwh", "lowcarb/co2e_g", "lowcarb/measured_share"}


class Other(GeneralTracker):
    """Stands for a tracker of the user's."""

    name, requires_logging_directory = "other", False

    def __init__(self):
        super().__init__()
        self.logs = []

    @property
    def tracker(self):
        return None

    def log(self, values, step=None, **named):
        self.logs.append((step, dict(values)))


@pytest.fixture
def start():
    """An Accelerator with these trackers, on the processor."""

    def start(*trackers):
        accelerator = accelerate.Accelerator(cpu=True, log_with=list(trackers))
        accelerator.init_trackers("project", config={"lr": 0.1})
        return accelerator

    yield start
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def test_trackers_after_ours_see_our_figures(start, settings, attempts, phases):
    meter, other = LowcarbTracker("work", **settings), Other()
    accelerator = start(meter, other)

    meter.tokens(128)
    accelerator.log({"loss": 1.0}, step=1)
    with accelerator.get_tracker("lowcarb", unwrap=True).phase("evaluate"):
        time.sleep(0.05)
    accelerator.log({"loss": 0.5}, step=3)
    accelerator.end_training()

    assert [1, 3] == [step for step, _ in other.logs]
    assert all(values.keys() >= {"loss", *KEYS} for _, values in other.logs)
    assert "lowcarb/tokens_per_kwh" in other.logs[-1][1]
    (attempt,) = attempts()
    assert ("done", 128, 3) == (attempt.status, attempt.document["tokens"], attempt.document["steps"])
    assert {"lr": 0.1} == attempt.document["notes"]["config"]
    assert {"other", "train", "evaluate"} == set(phases(attempt))


def test_a_loop_can_end_by_its_budget(start, settings, attempts):
    meter = LowcarbTracker(budget="1 J", **settings)
    accelerator = start(meter)

    while not meter.tracker.over_budget:
        time.sleep(0.01)
    with pytest.raises(BudgetExceeded):
        meter.tracker.check_budget()
    accelerator.end_training()

    assert ["over_budget"] == [attempt.status for attempt in attempts()]


def test_settings_are_checked_where_the_tracker_is_made():
    with pytest.raises(SettingError):
        LowcarbTracker(interval_s=-1.0)
