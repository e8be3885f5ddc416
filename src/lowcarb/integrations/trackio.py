"""Trackio: the footprint beside the metrics of the run that is active.

    trackio.init(project="fine-tune")
    with lowcarb.integrations.trackio.logged(lowcarb.track("fine-tune", site="fra")):
        train()
    trackio.finish()

Never starts a run: where none is active, it says so once and logs nothing. Figures go to Trackio's system metrics,
which are kept by time and so do not count as steps of the training.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Any

from lowcarb.core.footprint import Footprint
from lowcarb.integrations.live import EVERY_S, Figures, needed
from lowcarb.integrations.logged import final_figures, final_words, footprint_of, live_figures, logging
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.ranks import local_rank
from lowcarb.tracker.track import Tracker


def log(subject: Tracker | Footprint, run: Any = None) -> None:
    """Log the estimates as system metrics, and their basis beside them.

    Args:
        subject: a tracker, best after its end, or a footprint.
        run: Trackio's; the active one where None.

    Raises:
        MissingExtra: trackio is not installed.
    """
    needed("trackio", "Trackio", "trackio")
    guard = Guard()
    guard.run("trackio", lambda: _log(subject, run or _active()), None)


def logged(tracker: Tracker, run: Any = None, *, every_s: float = EVERY_S) -> AbstractContextManager[Tracker]:
    """A context manager that logs while its block runs, and all in the end.

    Args:
        tracker: one that was not started yet is started and ended with the block.
        run: Trackio's; the one that is active now where None.
        every_s: time between two entries [s].

    Raises:
        MissingExtra: trackio is not installed.
        SettingError: `every_s` is not what it may be.
    """
    needed("trackio", "Trackio", "trackio")
    guard = Guard()
    where = run or guard.run("trackio", _active, None)

    def tell(figures: Figures) -> None:
        if where is not None:
            where.log_system(live_figures(figures))

    def finish() -> None:
        if where is not None:
            _log(tracker, where)

    return logging(tracker, "trackio", every_s, tell, finish)


def _active() -> Any:
    # The run is in a context variable, which another thread does not have.
    run = needed("trackio.context_vars", "Trackio", "trackio").current_run.get()
    if run is None:
        raise LookupError("no run is active, so nothing is logged: trackio.init()")
    return run


def _log(subject: Tracker | Footprint, run: Any) -> None:
    if local_rank(os.environ) == 0:
        run.log_system({**final_figures(footprint_of(subject)), **final_words(subject)})
