"""What to try next: the known starts first, then the most promising of several proposals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowcarb.core.levers import Able, Lever, Pulled
from lowcarb.core.search import Axis, Stack, additive, repaired
from lowcarb.core.standing import SEED_DEVIATION, Confirmation, Look, Standing, standings
from lowcarb.core.trial import Trial

PROPOSALS = 12
"""How many the sampler makes for one that is tried: a proposal costs nothing. `assumed`."""
UNKNOWN_LOSS = 4.0
"""F1 points that a lever of unknown quality is taken to lose for each e-fold that it saves. `assumed`: nothing that
saves much is free until it was seen to be."""
OFF = "-"


@dataclass(frozen=True, slots=True)
class Predictor:
    """What is expected of a stack before it is tried, from what was seen and from claims."""

    saving: Any
    change: Any
    error: float
    confirmation: Confirmation

    @classmethod
    def of(cls, looks: Sequence[Look], levers: Mapping[str, Lever], confirmation: Confirmation) -> Predictor:
        """Learnt from these looks; an effect that was not seen is the lever's claim."""
        known = standings(looks, reference_seeds=1) if looks else []

        def claimed_saving(one: Pulled) -> float:
            lever = levers.get(one.lever)
            return 0.0 if lever is None else -math.log(max(lever.claim.energy_ratio.mid, 1e-3))

        def claimed_change(one: Pulled) -> float:
            lever = levers.get(one.lever)
            if lever is None:
                return 0.0
            change = lever.claim.quality_change
            return change.mid if change is not None else -UNKNOWN_LOSS * max(0.0, claimed_saving(one))

        saving = additive([(one.stack, one.log_saving) for one in known], claimed_saving, strength=0.5)
        change = additive([(one.stack, one.change) for one in known], claimed_change)
        error = max((one.question_error for one in known), default=2.0)
        return cls(saving, change, math.hypot(error, SEED_DEVIATION), confirmation)

    def promise(self, stack: Stack) -> float:
        """Saving to expect, as of a stack that has been seen once."""
        return self.confirmation.promise(
            Standing(stack, self.saving(stack), self.change(stack), self.error, 2.0 * self.error, 1)
        )


class Proposals:
    """Stacks to try, by ask and tell."""

    def __init__(
        self, axes: Sequence[Axis], trial: Trial, able: Able, base: Stack, first: Sequence[Stack], *, seed: int = 0
    ) -> None:
        import optuna  # noqa: PLC0415  # heavy, and only for a search

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._axes, self._trial, self._able, self._base = axes, trial, able, base
        self._first = list(first)
        self._asked: set[Stack] = {base}
        self._optuna = optuna
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(1, len(self._first)))
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._options = {axis.lever.id: {str(option): option for option in axis.options} for axis in axes}
        self._space: dict[str, Any] = {
            name: optuna.distributions.CategoricalDistribution([OFF, *options])
            for name, options in self._options.items()
        }
        self._open: Any = None
        self._turn = 0

    def ask(self, predictor: Predictor, leader: Stack) -> Stack | None:
        """The next stack, in turn a neighbour of the leader and the sampler's; None where there is nothing new."""
        if not self._space:
            return None
        self._turn += 1
        if self._first:
            stack: Stack | None = self._first.pop(0)
        else:
            stack = self._neighbour(predictor, leader) if self._turn % 2 else None
        if stack is None:
            return self._sampled(predictor)
        self._study.enqueue_trial(self._parameters(stack))
        self._open = self._study.ask(self._space)
        self._asked.add(stack)
        return stack

    def _neighbour(self, predictor: Predictor, leader: Stack) -> Stack | None:
        """The most promising of the stacks that differ from the leader in one lever."""
        held = {one.lever for one in self._base}
        found = []
        for axis in self._axes:
            rest = [one for one in leader if one.lever != axis.lever.id]
            for option in (None, *axis.options):
                stack = repaired(self._trial, (*rest, *((option,) if option else ())), self._able)
                whole = held <= {one.lever for one in stack} and (option is None or option in stack)
                if whole and stack not in self._asked and stack not in found:
                    found.append(stack)
        return max(found, key=predictor.promise, default=None)

    def _sampled(self, predictor: Predictor) -> Stack | None:
        """The most promising of what the sampler proposes."""
        proposed: list[tuple[float, Stack, Any]] = []
        for _ in range(PROPOSALS):
            one = self._study.ask(self._space)
            stack = self._stack(one.params)
            if stack in self._asked or any(stack == other for _, other, _ in proposed):
                self._forget(one)
            else:
                proposed.append((predictor.promise(stack), stack, one))
        if not proposed:
            return None
        best = max(range(len(proposed)), key=lambda number: proposed[number][0])
        for number, (_, _, one) in enumerate(proposed):
            if number != best:
                self._forget(one)
        _, stack, self._open = proposed[best]
        self._asked.add(stack)
        return stack

    def tell(self, promise: float) -> None:
        """What the stack that was asked for last is worth."""
        self._study.tell(self._open, promise)

    def _forget(self, one: Any) -> None:
        self._study.tell(one, state=self._optuna.trial.TrialState.FAIL)

    def _stack(self, parameters: Mapping[str, str]) -> Stack:
        chosen = [self._options[name][value] for name, value in parameters.items() if value != OFF]
        return repaired(self._trial, (*self._base, *chosen), self._able)

    def _parameters(self, stack: Stack) -> dict[str, str]:
        pulled = {one.lever: str(one) for one in stack}
        return {name: pulled.get(name, OFF) for name in self._space}
