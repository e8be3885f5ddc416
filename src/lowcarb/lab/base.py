"""The seam to training: what a runner is, and what it reports while it runs. `DryRunner` is the public fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from lowcarb.core.trial import Trial
from lowcarb.core.workload import ModelSpec
from lowcarb.tracker.track import Tracker


@dataclass(frozen=True, slots=True)
class Step:
    """How far a training is."""

    step: int
    steps: int
    loss: float


class Stopped(Exception):
    """Ended on purpose by who watches the training: it has shown what it was to show."""


class Diverged(Exception):
    """The loss is not a number: training on would be energy for nothing."""


OnStep = Callable[[Step], None]
"""Called after each optimizer step; may raise to stop the training."""


class Runner(Protocol):
    """Trains and scores one trial under a tracker.

    The tracker has been started and is stopped by the caller. The runner opens the phases `prepare`, `train`,
    `evaluate` and `score`, in which all optimizer steps lie in `train` and nothing else does.
    """

    def run(self, trial: Trial, tracker: Tracker, on_step: OnStep) -> Mapping[str, object]:
        """The facts of the trial, as JSON: scores by split, training facts, model and tokenizer facts.

        Raises:
            Diverged: the loss was not a number.
            MemoryError: the device or the machine has too little memory.
            DataError: a file cannot be used.
        """
        ...


DRY_SPEC = ModelSpec("dry", "encoder", layers=1, width=8, ff=16, heads=2, vocabulary=100)


class DryRunner:
    """A runner that trains nothing: phases of no length and given scores. For tests of what is around a runner."""

    def __init__(self, scores: Callable[[Trial], float] = lambda trial: 50.0 + trial.seed, steps: int = 3) -> None:
        self._scores, self._steps = scores, steps

    def run(self, trial: Trial, tracker: Tracker, on_step: OnStep) -> Mapping[str, object]:
        """Facts made up from the trial alone."""
        with tracker.phase("prepare"):
            pass
        with tracker.phase("train"):
            for step in range(1, self._steps + 1):
                on_step(Step(step, self._steps, 1.0 / step))
        f1 = self._scores(trial)
        scores = {
            "em": f1 / 2, "f1": f1, "cosine": f1 / 100, "sts": f1 / 100, "questions": 4,
            "per_question_f1": [f1] * 4, "groups": [0, 0, 1, 1],
        }  # fmt: skip
        with tracker.phase("evaluate"), tracker.phase("score"):
            pass
        return {
            "scores": {"validation": scores, "adversarial": scores},
            "training": {
                "steps": self._steps, "metered_steps": self._steps, "zero_rate_steps": 0, "tokens": 100.0,
                "real_tokens": 90.0, "sequences": 12, "flops": 1e12, "bytes": 1e10, "last_loss": 1.0,
            },
            "model": {"parameters": 1000, "spec": asdict(DRY_SPEC)},
            "tokenizer": {"vocabulary": 100, "fertility": 1.2, "same_vocabulary": False},
        }  # fmt: skip
