"""The Hugging Face Trainer under the meter; TRL's trainers are Trainers too.

    trainer = Trainer(..., callbacks=[LowcarbCallback(site="fra", budget="20 g")])
    trainer.train()

or `attach(trainer, site="fra")` for one that is there already. What is logged goes to every tracker that the user has
(`lowcarb/energy_kwh` and its like), and into `trainer_state.json`.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Unpack

import transformers
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import DefaultFlowCallback
from transformers.trainer_pt_utils import get_model_param_count
from transformers.trainer_utils import get_last_checkpoint

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

SAVED_AS = "lowcarb"
"""Under this name a checkpoint's `trainer_state.json` keeps, among the states of callbacks, which run it is of."""
WRAPPED = "lowcarb_wrapped"
"""By this attribute `Trainer.train` is known to be wrapped already."""
STATE_FILE = "trainer_state.json"
PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
NO_TOKENS = "unknown: TrainingArguments(include_num_input_tokens_seen='all') counts them"


class LowcarbCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not looked into
    """Meters each training of a Trainer, phase by phase, and stops it at its budget with a checkpoint.

    The first one that is made has `Trainer.train` wrapped, once and for all: that is how the time before the first step
    is seen, and how a training ends that raises. A Trainer without this callback is not touched by it.

    In a distributed training every process has it, and the first of each node measures.

    Args:
        name: for people; the `run_name` of the training's arguments, or its output directory's, where None.
        settings: as in `lowcarb.tracker.track.track`: site, budget, key, study, interval_s, ledger, and so on.

    Raises:
        SettingError: a setting is not what it may be.
        CatalogueError: the catalogue has no such site.
    """

    def __init__(self, name: str | None = None, **settings: Unpack[Settings]) -> None:
        self._name, self._settings = name, joining(settings)
        self._guard = Guard()
        self._training: Training | None = None
        self._brake: Brake | None = None
        self._key: str | None = None
        self._called = False
        self._tokens_before: int | None = None
        _wrap_train()

    # What a Trainer tells.

    @event
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **named: Any) -> None:
        """Before the first step: what was prepared before is known where `Trainer.train` is wrapped."""
        del control, named
        if self._training is None or self._training.phase != PREPARE:
            # Within one call the Trainer begins anew only where it looks for a batch size that fits.
            self._end("out_of_memory" if self._called else "failed")
            self._key = self._key if self._called else None
        if state.is_local_process_zero:
            self._prepare(args, _saved_key(state.stateful_callbacks))
        training = self._training
        if training is not None:
            self._tokens_before = state.num_input_tokens_seen if _counts_tokens(args) else None
            self._guard.run("notes", lambda: training.note(_facts(args, state, model)), None)
            # Not as an ExportableState: that would be made anew from the file, without sensors and in the last place.
            state.stateful_callbacks[SAVED_AS] = {"args": {}, "attributes": {"key": self._key}}
            training.turn_to(EVALUATE if args.eval_on_start else TRAIN)
        self._brake = Brake(training.tracker if training else None, self._settings.get("budget"), self._guard)

    @event
    def on_step_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Whatever went before, this is training."""
        del args, state, control, named
        self._turn_to(TRAIN)

    @event
    def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """After an optimizer step: what comes next stands in the flags that the Trainer has set by now."""
        del named
        training = self._training
        if training is not None:
            self._guard.run("counts", lambda: self._count(training, args, state), None)
        if self._brake is not None and self._brake.pulled():
            control.should_training_stop = control.should_save = True
            if training is not None:
                training.tracker.end_as("over_budget")
        self._turn_to(_next(control))

    @event
    def on_epoch_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """After an epoch, which may be evaluated and saved."""
        del args, state, named
        self._turn_to(_next(control))

    @event
    def on_prediction_step(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """After a batch of an evaluation, which may have come without any sign before."""
        del args, state, control, named
        self._turn_to(EVALUATE)

    @event
    def on_evaluate(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """After an evaluation."""
        del args, state, named
        self._turn_to(_next(control))

    @event
    def on_save(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """After a checkpoint."""
        del args, state, control, named
        self._turn_to(TRAIN)

    @event
    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **named: Any) -> None:
        """Our figures, for all callbacks that come after this one, and for `trainer_state.json`."""
        del args, named
        if self._training is None:
            return
        if state.is_world_process_zero:
            figures = self._training.figures()
            # An evaluation logs the very dictionary that it returns, and a search for hyperparameters sums that up.
            if logs is not None and self._training.phase != EVALUATE:
                logs.update(figures)
            if state.log_history:
                state.log_history[-1].update(figures)
        if self._training.phase == TRAIN:
            self._training.turn_to(_next(control))

    @event
    def on_train_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """After a training that did not raise."""
        del args, control, named
        if self._training is not None:
            self._training.tracker.note("total_flos", state.total_flos)
        if self._brake is not None:
            self._brake.close()
        self._end("done")

    @event
    def on_train_called(self, trainer: Trainer, resume: object) -> None:
        """`Trainer.train` is called, to go on from a checkpoint or not."""
        _place(trainer, self)
        self._end("failed")  # whatever was begun and is not heard of any more
        self._called, self._key = True, None
        if trainer.is_local_process_zero():
            self._prepare(trainer.args, _checkpoint_key(trainer.args, resume))

    @event
    def on_train_left(self, kind: object, error: BaseException | None, trace: object) -> None:
        """`Trainer.train` comes back, or raises."""
        del kind, trace
        self._called = False
        self._end(status_of(error))

    # From beginning to end.

    def _prepare(self, args: Any, saved_key: str | None) -> None:
        if self._training is not None:
            return
        name = self._name or args.run_name or Path(args.output_dir or UNNAMED).name or UNNAMED
        self._key = self._key or run_key(name, self._settings.get("key"), saved_key)
        settings: Settings = {**self._settings, "key": self._key}
        self._training = Training(track(name, **settings), self)
        self._training.begin(PREPARE)

    def _count(self, training: Training, args: Any, state: Any) -> None:
        training.tracker.steps(1)
        if self._tokens_before is not None:
            training.count_tokens((state.num_input_tokens_seen - self._tokens_before) * _node_share(args))
        if state.max_steps > 0:
            training.tracker.progress(min(1.0, state.global_step / state.max_steps))

    def _turn_to(self, phase: str) -> None:
        if self._training is not None:
            self._training.turn_to(phase)

    def _end(self, status: Status) -> None:
        if self._training is not None:
            self._training.end(status, self._guard.faults())
        self._training = self._brake = None


def attach(trainer: Trainer, name: str | None = None, **settings: Unpack[Settings]) -> LowcarbCallback:
    """Put a `LowcarbCallback` into a Trainer, unless it has one; give the one it has.

    Raises:
        SettingError: a setting is not what it may be.
        CatalogueError: the catalogue has no such site.
    """
    callback = callback_of(trainer) or LowcarbCallback(name, **settings)
    _place(trainer, callback)
    return callback


def callback_of(trainer: Trainer) -> LowcarbCallback | None:
    """The Trainer's `LowcarbCallback`; None where it has none."""
    return next((one for one in trainer.callback_handler.callbacks if isinstance(one, LowcarbCallback)), None)


def _place(trainer: Trainer, callback: LowcarbCallback) -> None:
    """Put it right after the callback that sets the flags: all that log come after it, and see what it adds."""
    callbacks = trainer.callback_handler.callbacks
    if callback in callbacks:
        callbacks.remove(callback)
    flow = [place for place, one in enumerate(callbacks) if isinstance(one, DefaultFlowCallback)]
    callbacks.insert(flow[0] + 1 if flow else 0, callback)


def _wrap_train() -> None:
    """Have `Trainer.train` tell when it begins and how it ends; does nothing the second time."""
    train: Callable[..., Any] = Trainer.train
    if getattr(train, WRAPPED, False):
        return

    @functools.wraps(train)
    def metered(self: Trainer, *args: Any, **named: Any) -> Any:
        callback = callback_of(self)
        if callback is None:
            return train(self, *args, **named)
        with ExitStack() as stack:
            stack.push(callback.on_train_left)
            callback.on_train_called(self, args[0] if args else named.get("resume_from_checkpoint"))
            return train(self, *args, **named)

    setattr(metered, WRAPPED, True)
    Trainer.train = metered


def _next(control: Any) -> str:
    """What the Trainer does next: it logs first, which belongs to what went before, then evaluates, then saves."""
    if control.should_log:
        return TRAIN
    return EVALUATE if control.should_evaluate else SAVE if control.should_save else TRAIN


def _counts_tokens(args: Any) -> bool:
    """Whether the Trainer counts them; before transformers 5 the argument was True or False."""
    return args.include_num_input_tokens_seen not in ("no", False)


def _node_share(args: Any) -> float:
    """This node's share of the tokens, which the Trainer counts over all processes."""
    return float(int(os.environ.get("LOCAL_WORLD_SIZE", args.world_size)) / args.world_size)


def _saved_key(states: Any) -> str | None:
    """The run that a checkpoint is of, among the callbacks' states that it keeps."""
    key = states.get(SAVED_AS, {}).get("attributes", {}).get("key")
    return key if isinstance(key, str) and key else None


def _checkpoint_key(args: Any, resume: object) -> str | None:
    """The run that goes on with this `resume_from_checkpoint`; None where that is not known."""
    folder = get_last_checkpoint(args.output_dir) if resume is True else resume
    if not isinstance(folder, (str, os.PathLike)):
        return None
    try:
        state = json.loads((Path(folder) / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return _saved_key(state.get("stateful_callbacks") or {})


def _facts(args: Any, state: Any, model: Any) -> dict[str, object]:
    """What is noted of a training."""
    facts: dict[str, object] = {
        "framework": f"transformers {transformers.__version__}",
        "model": getattr(getattr(model, "config", None), "model_type", None) or type(model).__name__,
        "batch_per_device": args.per_device_train_batch_size,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "processes": args.world_size,
        "epochs": state.num_train_epochs,
        "max_steps": state.max_steps,
        "resumed_at_step": state.global_step or None,
        "precision": _precision(args, model),
        "output_dir": args.output_dir,
    }
    if not _counts_tokens(args):
        facts["tokens"] = NO_TOKENS
    if not args.fsdp:  # there a process sees its own shard only
        facts["parameters"] = get_model_param_count(model)
        facts["trainable_parameters"] = get_model_param_count(model, trainable_only=True)
    return facts


def _precision(args: Any, model: Any) -> str:
    """The precision of the computing, else that of the weights."""
    if args.bf16 or args.fp16:
        return "bf16" if args.bf16 else "fp16"
    name = str(next(model.parameters()).dtype).removeprefix("torch.")
    return PRECISIONS.get(name, name)
