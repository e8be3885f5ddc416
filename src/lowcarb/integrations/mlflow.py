"""MLflow: the footprint beside the metrics of the run that is active.

    with mlflow.start_run(), lowcarb.integrations.mlflow.logged(lowcarb.track("fine-tune", site="fra")):
        train()

Never starts a run: where none is active, it says so once and logs nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from lowcarb.core.footprint import Footprint
from lowcarb.core.units import KILO, NS_PER_S
from lowcarb.integrations.live import EVERY_S, Figures, document_of, needed
from lowcarb.integrations.logged import final_figures, final_words, footprint_of, live_figures, logging
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.ranks import local_rank
from lowcarb.tracker.track import Tracker

ARTIFACT = "lowcarb/report.json"
LONGEST_TAG = 5000
"""Characters of a tag's value that every MLflow store keeps."""


def log(subject: Tracker | Footprint, run_id: str | None = None) -> None:
    """Log the estimates as metrics, their basis as tags and the whole as an artifact.

    Args:
        subject: a tracker, best after its end, or a footprint.
        run_id: MLflow's; the active run where None.

    Raises:
        MissingExtra: mlflow is not installed.
    """
    mlflow, guard = needed("mlflow", "MLflow", "mlflow"), Guard()
    guard.run("mlflow", lambda: _log(mlflow, subject, run_id or _active(mlflow)), None)


def logged(
    tracker: Tracker, run_id: str | None = None, *, every_s: float = EVERY_S, step: Callable[[], int] | None = None
) -> AbstractContextManager[Tracker]:
    """A context manager that logs while its block runs, and all in the end.

    Args:
        tracker: one that was not started yet is started and ended with the block.
        run_id: MLflow's; the one that is active now where None.
        every_s: time between two entries [s].
        step: gives the training's present step; the count of entries where None.

    Raises:
        MissingExtra: mlflow is not installed.
        SettingError: `every_s` is not what it may be.
    """
    mlflow, guard = needed("mlflow", "MLflow", "mlflow"), Guard()
    where = run_id or guard.run("mlflow", lambda: _active(mlflow), None)

    def tell(figures: Figures) -> None:
        if where is not None:
            _batch(mlflow, where, live_figures(figures), figures.at_ns, step() if step else figures.number)

    def finish() -> None:
        if where is not None:
            _log(mlflow, tracker, where)

    return logging(tracker, "mlflow", every_s, tell, finish)


def _active(mlflow: Any) -> str:
    run = mlflow.active_run()
    if run is None:
        raise LookupError("no run is active, so nothing is logged: mlflow.start_run()")
    return str(run.info.run_id)


def _log(mlflow: Any, subject: Tracker | Footprint, run_id: str) -> None:
    if local_rank(os.environ) > 0:
        return
    client, entities = mlflow.MlflowClient(), mlflow.entities
    tags = [entities.RunTag(key, value[:LONGEST_TAG]) for key, value in final_words(subject).items()]
    client.log_batch(run_id, tags=tags)
    _batch(mlflow, run_id, final_figures(footprint_of(subject)), time.time_ns(), 0)
    document = document_of(subject) if isinstance(subject, Tracker) else {"footprint": subject.as_dict()}
    client.log_dict(run_id, document, ARTIFACT)


def _batch(mlflow: Any, run_id: str, values: dict[str, float], at_ns: int, step: int) -> None:
    at_ms = int(at_ns / NS_PER_S * KILO)
    metrics = [mlflow.entities.Metric(key, value, at_ms, step) for key, value in values.items()]
    mlflow.MlflowClient().log_batch(run_id, metrics=metrics)
