"""Lightning's Trainer under the meter.

    from lowcarb.integrations.lightning import LowcarbCallback

    trainer = Trainer(..., callbacks=[LowcarbCallback(site="fra", budget="20 g")])

The class is made when it is first asked for, since Lightning is heavy and comes under two names, `lightning.pytorch`
and `pytorch_lightning`. Whenever a Trainer is made, Lightning asks this module for callbacks, by its entry points.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Unpack

from lowcarb.integrations.hook import is_on
from lowcarb.integrations.training import (
    EVALUATE,
    PREPARE,
    SAVE,
    TRAIN,
    UNNAMED,
    Brake,
    Training,
    event,
    joining,
    run_key,
)
from lowcarb.ledger.base import Status
from lowcarb.tracker.ending import status_of
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.plan import Settings
from lowcarb.tracker.track import track

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
SAVED_AS = "lowcarb"
"""Under this name a checkpoint keeps which run it is of."""
NO_TOKENS = "unknown: LowcarbCallback(tokens=lambda batch: ...) counts those of a batch"


class LowcarbEvents:
    """Meters each `fit` of a Trainer, phase by phase, and stops it at its budget with a checkpoint.

    In a distributed training every process has it, and the first of each node measures.

    Args:
        name: for people; the module's class where None.
        tokens: counts the tokens of a batch; used where one process trains alone.
        settings: as in `lowcarb.tracker.track.track`: site, budget, key, study, interval_s, ledger, and so on.

    Raises:
        SettingError: a setting is not what it may be.
        CatalogueError: the catalogue has no such site.
    """

    def __init__(
        self, name: str | None = None, *, tokens: Callable[[Any], int] | None = None, **settings: Unpack[Settings]
    ) -> None:
        self._name, self._count_batch, self._settings = name, tokens, joining(settings)
        self._guard = Guard()
        self._training: Training | None = None
        self._brake: Brake | None = None
        self._key: str | None = None
        self._saved_key: str | None = None
        self._steps, self._all_steps = 0, math.inf
        self._stopped = False

    # From beginning to end.

    @event
    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        """First of all: no checkpoint has been read yet."""
        del trainer, module
        if stage == "fit":
            self._saved_key = None

    @event
    def on_load_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        """Which run a checkpoint is of, from which the training goes on."""
        del trainer, module
        self._saved_key = checkpoint.get(SAVED_AS, {}).get("key")

    @event
    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Before anything else of the training."""
        self._end("failed")  # whatever was begun and is not heard of any more
        self._stopped = False
        if trainer.local_rank != 0 or _first(trainer) is not self:
            return
        name = self._name or type(module).__name__ or UNNAMED
        self._key = run_key(name, self._settings.get("key"), self._saved_key)
        settings: Settings = {**self._settings, "key": self._key}
        self._training = Training(track(name, **settings), self)
        self._training.begin(PREPARE)

    @event
    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Before the first batch."""
        self._steps = trainer.global_step
        training = self._training
        if training is not None:
            self._all_steps = self._guard.run("progress", lambda: float(trainer.estimated_stepping_batches), math.inf)
            self._guard.run("notes", lambda: training.note(_facts(trainer, module)), None)
            if self._count_batch is None or trainer.world_size > 1:
                training.tracker.note("tokens", NO_TOKENS)
            training.turn_to(TRAIN)
        if _first(trainer) is self:
            self._brake = Brake(training.tracker if training else None, self._settings.get("budget"), self._guard)

    @event
    def on_fit_end(self, trainer: Any, module: Any) -> None:
        """After a training that did not raise."""
        del trainer, module
        if self._brake is not None:
            self._brake.close()
        self._end("done")

    @event
    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """After one that did."""
        del trainer, module
        self._end(status_of(exception))

    # Phases.

    @event
    def on_sanity_check_start(self, trainer: Any, module: Any) -> None:
        """A little evaluation before the training."""
        del trainer, module
        self._turn_to(EVALUATE)

    @event
    def on_sanity_check_end(self, trainer: Any, module: Any) -> None:
        """After it."""
        del trainer, module
        self._turn_to(PREPARE)

    @event
    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        """Whatever went before, this is training."""
        del trainer, module, batch, batch_idx
        self._turn_to(TRAIN)

    @event
    def on_validation_start(self, trainer: Any, module: Any) -> None:
        """Before an evaluation."""
        del trainer, module
        self._turn_to(EVALUATE)

    @event
    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """After an evaluation."""
        del module
        self._turn_to(PREPARE if trainer.sanity_checking else TRAIN)

    @event
    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        """Before a checkpoint is written; there is no sign after it but what comes next."""
        del trainer, module
        # Not as the callback's state: whoever goes on without this callback would be told to bring it.
        if self._key is not None:
            checkpoint[SAVED_AS] = {"key": self._key}
        self._turn_to(SAVE)

    @event
    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After a batch, and perhaps an optimizer step."""
        del outputs, batch_idx
        stepped, self._steps = trainer.global_step - self._steps, trainer.global_step
        training = self._training
        if training is not None:
            self._guard.run("counts", lambda: self._count(training, trainer, batch, stepped), None)
        if self._brake is not None and self._brake.pulled() and not self._stopped:
            self._stop(trainer)
        # Lightning takes a millisecond to take them in, and passes them on at such steps only.
        due = stepped > 0 and self._steps % max(1, trainer.log_every_n_steps) == 0
        if training is not None and trainer.is_global_zero and (due or trainer.should_stop):
            module.log_dict(training.figures(), on_step=True, on_epoch=False, batch_size=1, rank_zero_only=True)

    def _count(self, training: Training, trainer: Any, batch: Any, stepped: int) -> None:
        training.tracker.steps(stepped)
        if 0 < self._all_steps < math.inf:
            training.tracker.progress(min(1.0, self._steps / self._all_steps))
        if self._count_batch is not None and trainer.world_size == 1:
            training.count_tokens(training.tokens + self._count_batch(batch))

    def _stop(self, trainer: Any) -> None:
        """All processes come here together."""
        self._stopped = True
        if self._training is not None:
            self._training.tracker.end_as("over_budget")
        trainer.should_stop = True
        folder = getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.default_root_dir
        trainer.save_checkpoint(Path(folder) / f"over-budget-step={trainer.global_step}.ckpt")
        self._turn_to(TRAIN)

    def _turn_to(self, phase: str) -> None:
        if self._training is not None:
            self._training.turn_to(phase)

    def _end(self, status: Status) -> None:
        if self._training is not None:
            self._training.end(status, self._guard.faults())
        self._training = self._brake = None


def _first(trainer: Any) -> object:
    """The callback that meters: a user's own comes before the hook's."""
    return next(one for one in trainer.callbacks if isinstance(one, LowcarbEvents))


def _facts(trainer: Any, module: Any) -> dict[str, object]:
    """What is noted of a training."""
    package = sys.modules[type(trainer).__module__.partition(".")[0]]
    return {
        "framework": f"{package.__name__} {package.__version__}",
        "model": type(module).__name__,
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "trainable_parameters": sum(p.numel() for p in module.parameters() if p.requires_grad),
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "processes": trainer.world_size,
        "epochs": trainer.max_epochs,
        "max_steps": trainer.max_steps,
        "resumed_at_step": trainer.global_step or None,
        "precision": trainer.precision,
        "output_dir": trainer.default_root_dir,
    }


# The classes, and what Lightning's entry points name.


@functools.cache
def _class_for(package: str) -> type[LowcarbEvents]:
    """The callback for a Trainer of this package."""
    base = import_module(package).Callback
    names = {"__module__": __name__, "__doc__": LowcarbEvents.__doc__}
    return type("LowcarbCallback", (LowcarbEvents, base), names)


def callbacks_factory() -> list[LowcarbEvents]:
    """What a Trainer of `lightning.pytorch` is given: nothing, unless it runs under `lowcarb track`."""
    return [_class_for(PACKAGES[0])()] if is_on(os.environ) else []


def pytorch_lightning_factory() -> list[LowcarbEvents]:
    """The same for a Trainer of `pytorch_lightning`."""
    return [_class_for(PACKAGES[1])()] if is_on(os.environ) else []


def __getattr__(name: str) -> type[LowcarbEvents]:
    if name != "LowcarbCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    loaded = [package for package in PACKAGES if package in sys.modules]
    installed = [package for package in PACKAGES if find_spec(package.partition(".")[0])]
    return _class_for((*loaded, *installed, PACKAGES[0])[0])
