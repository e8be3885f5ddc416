"""One training under the meter, told by a framework's events: what the integrations have in common.

Law 2 holds here as in the tracker: once its settings were found good, nothing raises into the training.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import uuid
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Thread
from typing import Any, Protocol, TypeVar

from lowcarb.core.units import J_PER_KWH
from lowcarb.integrations.agreement import agree, is_distributed
from lowcarb.ledger.base import Status
from lowcarb.tracker.books import OTHER
from lowcarb.tracker.ending import status_of
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.plan import Settings
from lowcarb.tracker.ranks import LEADER, launched_key
from lowcarb.tracker.track import Tracker, track

ENERGY, POWER, CARBON = "lowcarb/energy_kwh", "lowcarb/power_w", "lowcarb/co2e_g"
YIELD, SHARE = "lowcarb/tokens_per_kwh", "lowcarb/measured_share"
PREPARE, TRAIN, EVALUATE, SAVE = "prepare", "train", "evaluate", "save"
UNNAMED = "training"

_begun: dict[str, int] = {}
"""How many runs of each name this process has begun."""

Event = TypeVar("Event", bound=Callable[..., None])


class Guarded(Protocol):
    """Something with events that must not raise."""

    _guard: Guard


def event(method: Event) -> Event:
    """A method that a framework calls in the middle of a training: what goes wrong in it is kept as a fault."""

    @functools.wraps(method)
    def call(self: Guarded, *args: object, **named: object) -> None:
        self._guard.run(method.__name__, lambda: method(self, *args, **named), None)

    return call  # type: ignore[return-value]  # same signature


def joining(settings: Settings) -> Settings:
    """The settings of an integration's tracker: it joins the one that it runs under.

    Raises:
        SettingError, CatalogueError: they are not good.
    """
    joined: Settings = {**settings, "joins": True}
    track(UNNAMED, **joined)
    return joined


def run_key(name: str, chosen: str | None, saved: str | None) -> str:
    """What makes attempts one run: what the user chose, what the checkpoint says, what torchrun calls the job, or new.

    torchrun starts a job anew after a failure, and the n-th training of a name in each process is then the same one.
    """
    ordinal = _begun.get(name, 0)
    _begun[name] = ordinal + 1
    return chosen or saved or launched_key(os.environ, name, ordinal) or uuid.uuid4().hex


def figures_of(tracker: Tracker, tokens: int) -> dict[str, float]:
    """What is logged: the attempt's energy so far and the carbon of that electricity, both mid estimates, and the like.

    Args:
        tracker: the attempt's.
        tokens: how many were trained on since it began; 0 where nobody counts them.
    """
    footprint, power_w = tracker.footprint(), tracker.power_w()
    energy_kwh = footprint.energy_j.mid / J_PER_KWH
    figures = {ENERGY: energy_kwh, CARBON: footprint.operational_g.mid, SHARE: footprint.measured_share}
    if power_w is not None:
        figures[POWER] = power_w
    if tokens and energy_kwh > 0:
        figures[YIELD] = tokens / energy_kwh
    return figures


class Training:
    """One attempt at a training, in the process that speaks for its node.

    How it ended is told by `end`. Where nobody tells, since the training raised and its framework has no event for
    that, the attempt is ended as failed: when its owner is garbage, or else at the exit of the program, then by the
    error that the program ends with, if it does.

    Args:
        tracker: not started yet.
        owner: the object without which nothing of this training can come any more.
    """

    def __init__(self, tracker: Tracker, owner: object) -> None:
        self.tracker = tracker
        self.phase = OTHER
        self.tokens = 0
        self._at_exit = functools.partial(_end_at_exit, tracker)
        self._lost = weakref.finalize(owner, _lose, tracker, os.getpid())
        self._lost.atexit = False  # at the exit, the error is known

    def begin(self, phase: str) -> None:
        """Begin to measure, in this phase."""
        self.tracker.start()
        # Called before the tracker's own, which would take a training that nobody ended for one that is done.
        atexit.register(self._at_exit)
        self.turn_to(phase)

    def turn_to(self, phase: str) -> None:
        """From now on it is this phase."""
        if phase != self.phase:
            self.phase = phase
            self.tracker.turn_to(phase)

    def note(self, facts: Mapping[str, object]) -> None:
        """Facts for the document of the attempt."""
        for key, value in facts.items():
            self.tracker.note(key, value)

    def count_tokens(self, total: float) -> None:
        """So many tokens were trained on in all since the beginning."""
        self.tracker.tokens(int(total) - self.tokens)
        self.tokens = int(total)

    def figures(self) -> dict[str, float]:
        """What is logged, since the beginning of the attempt."""
        return figures_of(self.tracker, self.tokens)

    def end(self, status: Status, faults: tuple[str, ...] = ()) -> None:
        """End the attempt, with what went wrong in the integration; does nothing the second time."""
        self._lost.detach()
        atexit.unregister(self._at_exit)
        if faults:
            self.tracker.note("integration_faults", list(faults))
        self.tracker.stop(status)


class Brake:
    """Whether a training has to stop since its budget was reached; every process of it has one.

    Args:
        tracker: this process's, where it has one.
        budget: the budget that every process was given, or None; a tracker may follow one that has a budget.
        guard: keeps what goes wrong: then nothing is stopped.
    """

    def __init__(self, tracker: Tracker | None, budget: object, guard: Guard) -> None:
        self._tracker, self._guard = tracker, guard
        wanted = budget is not None or (tracker is not None and tracker.follows)
        # Every process must come to the same conclusion here, or some would wait for the others.
        seek = is_distributed() and (budget is not None or bool(os.environ.get(LEADER)))
        self._alone = not is_distributed()
        self._agreement = guard.run("budget", lambda: agree(wanted=wanted), None) if seek else None

    def pulled(self) -> bool:
        """To be asked after each optimizer step, in every process, whatever else went wrong in it: whether to stop."""
        tracker, agreement = self._tracker, self._agreement
        reached = tracker is not None and self._guard.run("budget", lambda: tracker.over_budget, False)  # noqa: FBT003
        if agreement is not None:
            return self._guard.run("budget", lambda: agreement.step(reached=reached), False)  # noqa: FBT003
        return reached and self._alone

    def close(self) -> None:
        """To be called where all processes have come to the end of the training."""
        if self._agreement is not None:
            self._guard.run("budget", self._agreement.close, None)


def _end_at_exit(tracker: Tracker) -> None:
    # The interpreter leaves here the exception that it ended with; at a prompt it may be an old one.
    error: Any = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    tracker.stop("failed" if error is None else status_of(error))


def _lose(tracker: Tracker, pid: int) -> None:
    """End what nobody will end any more.

    This is called in the middle of anything, perhaps while a lock is held that ending needs: so another thread does it.
    """
    if os.getpid() == pid:
        with suppress(RuntimeError):  # no thread can be had at the very end
            Thread(target=tracker.stop, args=("failed",), name="lowcarb-lost").start()
