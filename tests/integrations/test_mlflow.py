"""MLflow's real client on a local database."""

from __future__ import annotations

import json
import time
from pathlib import Path
from threading import Event

import pytest

from lowcarb.tracker.track import track

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's own imports

mlflow = pytest.importorskip("mlflow", reason="the mlflow extra is not installed")
pytest.importorskip("sqlalchemy")


@pytest.fixture
def adapter():
    from lowcarb.integrations import mlflow as adapter  # noqa: PLC0415  # after the check

    return adapter


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One for all tests: its tables take MLflow seconds to make."""
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


@pytest.fixture
def store(database, monkeypatch):
    monkeypatch.chdir(database.parent)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{database}")
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


def test_live_and_final_figures_reach_the_active_run(adapter, store, settings, tmp_path):
    steps = iter(range(100, 200))
    meter = track("work", **settings)
    with mlflow.start_run() as active, adapter.logged(meter, every_s=0.2, step=lambda: next(steps)) as run:
        time.sleep(1.5)
    run_id = active.info.run_id

    history = store.get_metric_history(run_id, "lowcarb/energy_j")
    data = store.get_run(run_id).data
    assert len(history) >= 2
    assert sorted(one.value for one in history) == [one.value for one in sorted(history, key=lambda one: one.timestamp)]
    assert {one.step for one in history} <= set(range(100, 200))
    assert abs(history[-1].timestamp / 1e3 - time.time()) < 60
    assert data.metrics["lowcarb/power_w"] == pytest.approx(50.0, rel=0.05)
    footprint = run.footprint()
    assert data.metrics["lowcarb/final/operational_g_high"] == pytest.approx(footprint.operational_g.high)
    assert (run.attempt_id, "done") == (data.tags["lowcarb.run_id"], data.tags["lowcarb.status"])
    assert footprint.operational_g.basis == data.tags["lowcarb.basis.operational_g"]
    path = Path(
        mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=adapter.ARTIFACT, dst_path=str(tmp_path))
    )
    assert footprint.as_dict() == json.loads(path.read_text())["footprint"]


def test_a_footprint_goes_to_a_named_run(adapter, store, settings):
    with track("work", **settings) as run:
        time.sleep(0.1)
    with mlflow.start_run() as active:
        pass

    adapter.log(run.footprint(), active.info.run_id)

    metrics = store.get_run(active.info.run_id).data.metrics
    assert metrics["lowcarb/final/energy_j_mid"] == pytest.approx(run.footprint().energy_j.mid)


def test_without_an_active_run_nothing_is_logged_and_nothing_raises(adapter, store, settings, caplog):
    with adapter.logged(track("work", **settings)) as run:
        pass
    adapter.log(run)

    assert "done" == run.status
    assert "mlflow.start_run()" in caplog.text
    assert mlflow.active_run() is None


def test_an_error_of_the_training_is_the_attempts(adapter, store, settings):
    with mlflow.start_run(), pytest.raises(ZeroDivisionError), adapter.logged(track("work", **settings)) as run:
        raise ZeroDivisionError

    assert "failed" == run.status


def test_a_server_that_hangs_does_not_hold_up_the_end(adapter, store, settings, monkeypatch):
    """Not a measurement: the server would hang for a minute."""
    gate = Event()
    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", lambda *args, **named: gate.wait(60.0))
    with mlflow.start_run(), adapter.logged(track("work", **settings), every_s=0.1) as run:
        time.sleep(0.3)
        began_s = time.monotonic()
    passed_s = time.monotonic() - began_s
    gate.set()

    assert "done" == run.status
    assert passed_s < 30.0
