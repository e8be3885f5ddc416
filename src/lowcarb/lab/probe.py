"""Probes: a few steps of a training, and what the whole of it would take."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lowcarb.core.levers import pull
from lowcarb.core.search import Stack
from lowcarb.lab.base import Step
from lowcarb.lab.holdout import Part
from lowcarb.lab.task import Task
from lowcarb.lab.trying import Bill, Try, Workshop

PROBE_STEPS = (4, 12)
"""Fewest and most steps of a probe. `assumed`: enough to pass the first step's making ready."""
PROBE_SHARE = 0.04
"""Share of the steps that a probe takes, between those bounds."""
WORTH = 0.97
"""A probe must be cheaper by this factor to say that something saves: less is noise. `assumed`."""


@dataclass(frozen=True, slots=True)
class Prober:
    """Probes stacks of one task, each once."""

    task: Task
    workshop: Workshop
    _done: dict[tuple[Bill, str], Try] = field(default_factory=dict)

    def probe(self, stack: Stack, bill: Bill, part: Part, seed: int = 0) -> Try:
        """A few steps of a training; `projected` tells what the whole would take."""
        trial = pull(self.task.trial(part, seed), stack, self.task.able)
        least, most = PROBE_STEPS

        def enough(step: Step, taken: float) -> str | None:
            del taken
            wanted = min(step.steps, max(least, min(most, math.ceil(PROBE_SHARE * step.steps))))
            return f"probed for {wanted} steps" if step.step >= wanted else None

        # What is asked for twice is on the bill once.
        known = (bill, trial.key)
        if known not in self._done:
            self._done[known] = self.workshop.run(trial, stack, bill, stop=enough, name="probe")
        return self._done[known]

    def projected(self, probe: Try) -> float:
        """What the whole training takes [currency], its first step left out of the rate where that can be told."""
        if probe.step is None or probe.steps is None:
            return math.inf
        whole, begun = self.workshop.value(probe.train), self.workshop.value(probe.first)
        if probe.step > 1 and 0.0 < begun < whole / 2.0:
            return (whole - begun) / (probe.step - 1) * probe.steps
        return whole / probe.step * probe.steps

    def cost(self, stack: Stack) -> float:
        """What a training with this stack takes [currency], infinite where it does not train."""
        return self.projected(self.probe(stack, "search", self.task.holdout.search))

    def saves(self, stack: Stack, than: Stack) -> bool:
        """Whether a stack surely costs less than another."""
        return self.cost(stack) < WORTH * self.cost(than)
