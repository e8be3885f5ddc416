"""Accelerate's trackers, with the meter as one of them.

    meter = LowcarbTracker(site="fra")
    accelerator = Accelerator(log_with=[meter, "wandb"])
    accelerator.init_trackers("my-project", config={"lr": 1e-4})
    ...
    accelerator.end_training()

Each `accelerator.log` then carries our figures too, to all trackers that stand after ours. The loop is the user's own:
it tells of phases and budgets by `meter.tracker`, and of tokens by `meter.tokens`. A run that raises ends as failed at
the exit of the program; attempts are one run where they are given one `key`.
"""

from __future__ import annotations

from typing import Any, Unpack

from accelerate.tracking import GeneralTracker

from lowcarb.integrations.training import TRAIN, UNNAMED, event, figures_of, joining
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.plan import Settings
from lowcarb.tracker.track import Tracker, track


class LowcarbTracker(GeneralTracker):  # type: ignore[misc]  # accelerate is not looked into
    """Meters from `init_trackers` to `end_training`.

    Accelerate starts its trackers in the first process of all, so on several nodes it is that one's node that is
    measured; `lowcarb track` on each node measures them all.

    Args:
        run_name: for people.
        settings: as in `lowcarb.tracker.track.track`: site, budget, key, study, interval_s, ledger, and so on.

    Raises:
        SettingError: a setting is not what it may be.
        CatalogueError: the catalogue has no such site.
    """

    name = "lowcarb"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, run_name: str = UNNAMED, **settings: Unpack[Settings]) -> None:
        super().__init__()
        self._settings = joining(settings)
        self._guard = Guard()
        self._tracker = track(run_name, **self._settings)
        self._step = self._tokens = 0

    @property
    def tracker(self) -> Tracker:
        """The meter itself, with its verbs: `turn_to`, `phase`, `progress`, `check_budget`, and so on."""
        return self._tracker

    def tokens(self, count: int) -> None:
        """Count so many more tokens as trained on, for the ledger and for what is logged."""
        self._tokens += count
        self._tracker.tokens(count)

    @event
    def start(self) -> None:
        """Begin to measure; it is training until the user says another phase."""
        self._tracker.start()
        self._tracker.turn_to(TRAIN)

    @event
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Keep the configuration among the notes of the attempt."""
        self._tracker.note("config", values)

    @event
    def log(self, values: dict[str, Any], step: int | None = None, **named: Any) -> None:
        """Add our figures to what is logged; the step is the user's own count of optimizer steps."""
        del named
        if step is not None and step > self._step:
            self._tracker.steps(step - self._step)
            self._step = step
        values.update(figures_of(self._tracker, self._tokens))

    @event
    def finish(self) -> None:
        """End the attempt."""
        self._tracker.stop()
